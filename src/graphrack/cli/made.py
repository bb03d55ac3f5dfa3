"""What the commands that make a model have in common: writing it, and saying what was written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphrack.errors import FileError

if TYPE_CHECKING:
    from graphrack.formats.tensor_spec import TensorSpec
    from graphrack.model import Model

OutputOption = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="What to write, by its name: .pb or .pbtxt (a GraphDef), .meta (a MetaGraph), else a folder (a "
        "SavedModel).",
    ),
]


def check_folder(path: str) -> None:
    """What can be known of a file to write before the work begins. Raises `FileError`."""
    folder = os.path.dirname(path.rstrip("/" + os.sep)) or "."
    if not os.path.isdir(folder):
        raise FileError(f"{path} can't be written: there is no folder {folder!r}")


def names_in(texts: list[str] | None) -> list[str]:
    """The names in options that take several, with commas between (no name has one)."""
    return [name for text in texts or () for name in text.split(",") if name]


def report(model: Model, output: str, *, as_json: bool, seconds: float, **more: Any) -> None:
    """Says what was written."""
    inputs, outputs = model.inputs, model.outputs
    graph = model._instance.graph.index
    size = _bytes(output)
    if as_json:
        from graphrack.cli.output import print_json

        print_json(
            {
                **more,
                "output": output,
                "bytes": size,
                "nodes": len(graph),
                "variables": len(graph.variables),
                "inputs": [_spec(key, spec) for key, spec in inputs.items()],
                "outputs": [_spec(key, spec) for key, spec in outputs.items()],
                "seconds": seconds,
            }
        )
        return
    from rich.text import Text

    from graphrack._display import shape as shape_text
    from graphrack._display import size as size_text
    from graphrack.cli.output import plain, show, table

    held = f", {len(graph.variables):,} variables" if graph.variables else ""
    parts: list[Any] = [
        Text(f"{plain(output)}: {len(graph):,} nodes{held}, {size_text(size)}, in {seconds:.1f} s"),
    ]
    rows = table("", "", "", "", "")
    for what, specs in (("takes", inputs), ("gives", outputs)):
        for i, (key, spec) in enumerate(specs.items()):
            own = spec.name in (key, f"{key}:0")
            name = "" if own else plain(spec.name)
            rows.add_row(what if i == 0 else "", plain(key), str(spec.dtype), shape_text(spec.shape), name)
    if inputs or outputs:
        parts.append(rows)
    show(*parts)


def _spec(key: str, spec: TensorSpec) -> dict[str, Any]:
    shape = None if spec.shape is None else list(spec.shape)
    return {"key": key, "name": spec.name, "dtype": spec.dtype.name, "shape": shape}


def _bytes(path: str) -> int:
    """The size of what was written: of a folder, and of a `.meta` with its checkpoint, of all files."""
    if os.path.isdir(path):
        return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)
    size = os.path.getsize(path)
    if path.endswith(".meta") and os.path.isfile(path.removesuffix(".meta") + ".index"):
        from graphrack.cli.checkpoint_facts import checkpoint_facts

        size += int(checkpoint_facts(path.removesuffix(".meta"))["bytes"])
    return size
