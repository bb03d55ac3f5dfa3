"""`graphrack merge`: several models in one graph."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from graphrack.cli.failures import reporting
from graphrack.cli.made import OutputOption, check_folder, names_in, report
from graphrack.cli.progress import working
from graphrack.cli.run import named_paths
from graphrack.errors import GraphrackError

_GRAPH_DEFS = (".pb", ".pbtxt")


def merge(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]PATH…",
            help="The models: whatever `gr.load` takes. NAME is the scope that a model's operations get; the file's "
            "name if not given.",
        ),
    ],
    output: OutputOption,
    share: Annotated[
        list[str] | None,
        typer.Option(
            "--share",
            metavar="NAME=TENSOR,TENSOR…",
            help="Feed these inputs once, as NAME: `x=a/x:0,b/x:0`. Repeat it for several.",
        ),
    ] = None,
    join: Annotated[
        list[str] | None,
        typer.Option(
            "--join",
            metavar="NAME=HOW[:TENSOR,TENSOR…]",
            help="A new output, made of these by `mean`, `sum` or `vote`: `y=mean:a/y:0,b/y:0`; without tensors, of "
            "what each model gives. Repeat it for several.",
        ),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            "--outputs",
            metavar="NAME…",
            help="Of a .pb or .pbtxt file: what to keep. Without it: the joined outputs, or what each model gives.",
        ),
    ] = None,
    fold: Annotated[
        bool, typer.Option("--fold", help="Of a .pb or .pbtxt file: fold constants, as freeze does.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: what was written.")] = False,
) -> None:
    """Put models into one graph, each under a scope of its own.

    A .pb or .pbtxt file has no place for variables: the merged model is frozen into it. A .meta file gets its
    checkpoint beside it; a folder becomes a SavedModel.
    """
    with reporting():
        from graphrack.binding import merge as merge_models
        from graphrack.loading import load

        check_folder(output)
        paths = named_paths(models)
        shared = {name: names_in([text]) for name, text in _pairs(share, "--share").items()}
        joined = {name: _join(text) for name, text in _pairs(join, "--join").items()}
        kept = names_in(outputs)
        frozen = output.endswith(_GRAPH_DEFS)
        if not frozen and (kept or fold):
            raise typer.BadParameter(
                f"{output!r} keeps the whole of the models; only .pb and .pbtxt files are frozen",
                param_hint="--outputs",
            )
        start = time.perf_counter()
        with working("merging"):
            parts = {name: load(path, name=name) for name, path in paths.items()}
            try:
                made = merge_models(parts, share=shared, join=joined)
            except ValueError as error:
                if isinstance(error, GraphrackError):
                    raise
                raise typer.BadParameter(str(error)) from None
            if frozen:
                each = [f"{name}/{spec.name}" for name, part in parts.items() for spec in part.outputs.values()]
                made = made.freeze(kept or list(joined) or each, fold=fold)
            made.export(output)
        report(made, output, as_json=as_json, seconds=time.perf_counter() - start, models=paths)


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """Names to what stands behind their `=`."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, rest = text.partition("=")
        if not (name and equals and rest):
            raise typer.BadParameter(f"{text!r}: NAME=… was expected", param_hint=option)
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint=option)
        found[name] = rest
    return found


def _join(text: str) -> Any:
    how, colon, tensors = text.partition(":")
    return (how, names_in([tensors])) if colon else how
