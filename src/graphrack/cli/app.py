"""The commands, put together."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from graphrack.cli import failures
from graphrack.cli.convert import convert
from graphrack.cli.diff import diff
from graphrack.cli.freeze import freeze
from graphrack.cli.inspect import inspect
from graphrack.cli.merge import merge
from graphrack.cli.run import run
from graphrack.cli.verify import verify

app = typer.Typer(
    name="graphrack",
    help="Look into TensorFlow models, run, check, compare, combine and convert them, without TensorFlow.",
    epilog="Exit codes: 0, 1 (the work failed: one line says why), 2 (wrong usage), 130 (interrupted).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from graphrack import __version__

        typer.echo(f"graphrack {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback when something fails; so does GRAPHRACK_DEBUG=1.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version  # its callback has done it
    failures.debug = debug or os.environ.get("GRAPHRACK_DEBUG", "0") not in ("", "0")


app.command()(inspect)
app.command()(run)
app.command()(verify)
app.command()(diff)
app.command()(freeze)
app.command()(merge)
app.command()(convert)
