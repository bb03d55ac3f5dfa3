"""`graphrack convert`: tensors from one kind of file into another."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from graphrack.cli.failures import reporting
from graphrack.cli.patterns import ExcludeOption, SelectOption, chosen_by
from graphrack.cli.progress import progress_bar


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A checkpoint's prefix, V2 or V1; a folder with a `checkpoint` file or a SavedModel; a .safetensors "
            "or .npz file.",
        ),
    ],
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DESTINATION", help="What to write: OUT.safetensors, OUT.npz, or a checkpoint's prefix."
        ),
    ],
    select: SelectOption = None,
    exclude: ExcludeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: what was written.")] = False,
) -> None:
    """Write tensors into a file of another kind.

    Values stay what they are, bit by bit, and no more than one is in memory at a time. A checkpoint is written as V2.
    """
    with reporting():
        from graphrack.converting import convert as convert_tensors

        start = time.perf_counter()
        with progress_bar(os.path.basename(destination)) as progress:
            done = convert_tensors(source, destination, select=chosen_by(select, exclude), progress=progress)
        seconds = time.perf_counter() - start
        if as_json:
            from graphrack.cli.output import print_json

            print_json({"source": source, **done._asdict(), "seconds": seconds})
            return
        from rich.text import Text

        from graphrack._display import size as size_text
        from graphrack.cli.output import plain, show

        kind = {"checkpoint": "a V2 checkpoint", "npz": "an npz file"}.get(done.kind, f"a {done.kind} file")
        tensors = f"{done.tensors:,} tensor{'s' * (done.tensors != 1)}"
        show(Text(f"{plain(done.path)}: {kind} of {tensors}, {size_text(done.bytes)}, in {seconds:.1f} s"))
        if done.graph is not None:
            show(Text(f"with its graph, {plain(done.graph)}", "dim"))
