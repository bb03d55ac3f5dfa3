"""`graphrack run`: models' predictions, or any of their tensors, on the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphrack.cli.failures import FAILED, complain, reporting
from graphrack.cli.inspect import tags_of
from graphrack.errors import GraphrackError, UnknownName, closest

if TYPE_CHECKING:
    from graphrack.engines.choice import Engine
    from graphrack.formats.tensor_spec import TensorSpec
    from graphrack.model import Model

Results = dict[str, Any]


def run(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]PATH...",
            help="One model or several: whatever `inspect` shows a graph of. NAME is for results and messages; the "
            "file's name if not given.",
        ),
    ],
    feed: Annotated[
        list[str] | None,
        typer.Option(
            "--feed",
            "-f",
            metavar="NAME=VALUE",
            help="A value for an input, or for any tensor; repeat for several. VALUE is a number, a list (`[[1,2],[3,"
            '4]]`), text (`"50"` in quotes for text that looks like a number), or @FILE: .npy, .npz (@FILE:KEY), '
            ".json, .txt (one string), .png or .jpg (uint8 [height, width, channels], without channels if gray; a "
            "leading 1 is added where the input has such a dimension), or @- for JSON on stdin.",
        ),
    ] = None,
    fetch: Annotated[
        list[str] | None,
        typer.Option(
            "--fetch",
            metavar="NAME",
            help="What to compute: an output's key, a tensor or an operation; repeat for several. Without it, the "
            "model's prediction.",
        ),
    ] = None,
    signature: Annotated[
        str | None, typer.Option("--signature", "-s", metavar="S", help="Which signature's inputs and outputs.")
    ] = None,
    tags: Annotated[
        str | None, typer.Option("--tags", metavar="T[,T…]", help="Which MetaGraph of a SavedModel that has several.")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", "-c", metavar="C", help="Prefix of a checkpoint to take the values from."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option("--engine", metavar="E", help="What runs the models: auto, numpy, openvino or tensorflow."),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option("--precision", metavar="P", help="What OpenVINO computes in: f32, or bf16 (faster, 3 digits)."),
    ] = "f32",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the results to a .npy (one output) or .npz file (by name; of several models as MODEL/NAME).",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: results by model and output, with dtype, shape and value.")
    ] = False,
) -> None:
    """Run one model or several, and print what they give.

    Several models are given the same feeds; one that fails does not keep the others from running.
    """
    with reporting():
        from graphrack.cli.feeds import parse_feeds
        from graphrack.cli.results import check_output, write_output

        paths = named_paths(models)
        choice = _choice(engine, precision)
        if output is not None:
            check_output(output)
        feeds = parse_feeds(feed or [])
        results: dict[str, Results] = {}
        errors: dict[str, GraphrackError] = {}
        for name, path in paths.items():
            try:
                results[name] = _run(name, path, feeds, fetch or [], signature, tags_of(tags), checkpoint, choice)
            except GraphrackError as error:
                errors[name] = error
        if output is not None and not errors:
            write_output(output, results)
        if as_json:
            _print_json(paths, results, errors, output)
        else:
            _print(results, several=len(paths) > 1, output=output if not errors else None)
        if errors:
            many = f"{len(errors)} of {len(paths)} models failed: " if len(paths) > 1 else ""
            unwritten = [f"{output} was not written"] if output is not None else []
            complain(many + "; ".join([*map(str, errors.values()), *unwritten]))
            raise typer.Exit(FAILED)


def named_paths(models: list[str]) -> dict[str, str]:
    """Names to paths; a path that has a `=` itself is taken as it is where something lies there."""
    found: dict[str, str] = {}
    for text in models:
        name, equals, path = text.partition("=")
        if not equals or "/" in name or os.sep in name or any(os.path.exists(text + e) for e in ("", ".meta")):
            path, name = text, os.path.basename(os.path.abspath(text)).removesuffix(".meta")
        if not name or not path:
            raise typer.BadParameter(f"{text!r}: NAME=PATH was expected, or a path", param_hint="models")
        if name in found:
            raise typer.BadParameter(
                f"two models are called {name!r}: {found[name]} and {path}; name them: first={found[name]} "
                f"second={path}",
                param_hint="models",
            )
        found[name] = path
    return found


def _choice(engine: str, precision: str) -> Engine:
    from graphrack.engines.choice import ENGINES, PRECISIONS, Engine

    for value, known, option in ((engine, ENGINES, "--engine"), (precision, PRECISIONS, "--precision")):
        if value not in known:
            raise typer.BadParameter(f"{value!r} doesn't exist; there are: {', '.join(known)}", param_hint=option)
    return Engine(engine, precision)


def _run(
    name: str,
    path: str,
    feeds: Mapping[str, Any],
    fetches: list[str],
    signature: str | None,
    tags: list[str] | None,
    checkpoint: str | None,
    engine: Engine,
) -> Results:
    """One model's results, by the names of outputs."""
    from graphrack.cli.feeds import Picture
    from graphrack.loading import load

    model = load(path, checkpoint=checkpoint, tags=tags, name=name, engine=engine.name, precision=engine.precision)
    takes, gives = model.inputs, model.outputs
    if signature is not None:
        known = model.signatures
        if signature not in known:
            raise UnknownName(f"model {name!r} has no signature {signature!r}{closest(signature, known)}")
        takes, gives = known[signature].inputs, known[signature].outputs
    values = {
        key: value.fitting(_shape_of(model, takes, key)) if isinstance(value, Picture) else value
        for key, value in feeds.items()
    }
    if not fetches:
        result = model(values, signature=signature)
        return dict(result) if isinstance(result, dict) else {next(iter(gives), "output"): result}
    named = {takes[key].name if key in takes else key: value for key, value in values.items()}
    found = model.run({fetch: _tensor(gives, fetch) for fetch in fetches}, named)
    results: Results = {}
    for fetch, value in found.items():
        if isinstance(value, tuple):  # an operation with several outputs
            results.update({f"{fetch}:{i}": v for i, v in enumerate(value)})
        else:
            results[fetch] = value
    return results


def _tensor(outputs: Mapping[str, TensorSpec], fetch: str) -> str:
    """The name of the tensor behind an output's key; other names, and operations of that name, as they are."""
    spec = outputs.get(fetch)
    return fetch if spec is None or spec.name == f"{fetch}:0" else spec.name


def _shape_of(model: Model, inputs: Mapping[str, TensorSpec], name: str) -> tuple[int | None, ...] | None:
    """The shape that a feed must have, as far as the graph says it."""
    if name in inputs:
        return inputs[name].shape
    op, _, index = name.partition(":")
    if op not in model.operations:
        ending = [spec for key, spec in inputs.items() if key.rpartition("/")[2] == name]
        return ending[0].shape if len(ending) == 1 else None
    outputs = model.operations[op].outputs
    at = int(index) if index.isdecimal() else 0
    return outputs[at].shape if at < len(outputs) else None


def _print_json(
    paths: dict[str, str], results: dict[str, Results], errors: dict[str, GraphrackError], output: str | None
) -> None:
    from graphrack.cli.output import dtype_name, json_of, print_json, unboxed

    def one(value: Any) -> Any:
        if value is None:  # an operation without outputs: it ran
            return None
        return {"dtype": dtype_name(value), "shape": list(unboxed(value).shape), "value": json_of(value)}

    print_json(
        {
            "models": {
                name: {
                    "path": path,
                    "outputs": {k: one(v) for k, v in results[name].items()} if name in results else None,
                    "error": str(errors[name]) if name in errors else None,
                }
                for name, path in paths.items()
            },
            "output": output if not errors else None,
        }
    )


def _print(results: dict[str, Results], *, several: bool, output: str | None) -> None:
    from rich.text import Text

    from graphrack._display import shape as shape_text
    from graphrack.cli.output import array_text, dtype_name, indented, plain, show, unboxed

    parts: list[Any] = []
    for name, outputs in results.items():
        block: list[Any] = []
        for key, value in outputs.items():
            if value is None:
                block.append(Text.assemble((plain(key), "cyan"), ("  ran", "dim")))
                continue
            shape = unboxed(value).shape
            kind = f"  {dtype_name(value)} {shape_text(shape) if shape else 'scalar'}"
            block.append(Text.assemble((plain(key), "cyan"), (kind, "dim")))
            block.append(indented(array_text(value)))
        if several:
            parts += [Text(plain(name), "bold"), *map(indented, block)]
        else:
            parts += block
    if output is not None:
        parts.append(Text(f"written to {plain(output)}", "dim"))
    show(*parts)
