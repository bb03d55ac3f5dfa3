"""`graphrack freeze`: a model with its values in one file."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from graphrack.cli.failures import reporting
from graphrack.cli.inspect import tags_of
from graphrack.cli.made import OutputOption, check_folder, names_in, report
from graphrack.cli.progress import working
from graphrack.errors import UnknownName


def freeze(
    path: Annotated[
        list[str], typer.Argument(metavar="PATH", help="The model: whatever `gr.load` takes.", show_default=False)
    ],
    output: OutputOption,
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            "--outputs",
            metavar="NAME…",
            help="What to keep: tensors, operations, outputs of signatures, or signatures. Without it: what a call "
            "gives.",
        ),
    ] = None,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold", help="Compute what depends on constants alone, and fold batch norms into what is before them."
        ),
    ] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", "-c", metavar="C", help="Take the values from the checkpoint of this prefix."),
    ] = None,
    tags: Annotated[
        str | None, typer.Option("--tags", metavar="T[,T…]", help="Which MetaGraph of a SavedModel that has several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: what was written.")] = False,
) -> None:
    """Turn a model's variables into constants, and leave out what the outputs don't need."""
    with reporting():
        from graphrack.loading import load

        check_folder(output)
        start = time.perf_counter()
        # `--outputs a b`: what stands behind the path are names as well.
        model_path, names = path[0], [*names_in(outputs), *names_in(path[1:])]
        with working(f"freezing {model_path}"):
            model = load(model_path, checkpoint=checkpoint, tags=tags_of(tags))
            wanted = names or [spec.name for spec in model.outputs.values()]
            if not wanted:
                raise UnknownName(f"model {model.name!r} has no outputs of its own; name what to keep with --outputs")
            frozen = model.freeze(wanted, fold=fold)
            frozen.export(output)
        report(frozen, output, as_json=as_json, seconds=time.perf_counter() - start, path=model_path)
