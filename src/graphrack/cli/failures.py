"""What a user sees when a command fails: one line on stderr, and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from graphrack.cli.output import plain
from graphrack.errors import GraphrackError

debug = False
"""Whether failures show tracebacks; set by the option `--debug`."""

FAILED, INTERRUPTED = 1, 130


@contextmanager
def reporting() -> Iterator[None]:
    """Runs a command: what it raises becomes one line on stderr and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except BrokenPipeError:
        # Whoever reads our output has seen enough. What is still buffered goes nowhere at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        complain("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        complain(describe(error))
        raise typer.Exit(FAILED) from None


def complain(text: str) -> None:
    """Prints one line on stderr, whatever is in the text."""
    typer.echo(f"graphrack: {plain(' '.join(text.split()))}", err=True)


def describe(error: BaseException) -> str:
    """An error in a sentence."""
    if isinstance(error, GraphrackError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    if isinstance(error, MemoryError):
        return f"not enough memory{': ' if str(error) else ''}{error}"
    hint = "" if debug else "; `graphrack --debug …` shows where"
    return f"internal error, please report it: {type(error).__name__}: {error}{hint}"
