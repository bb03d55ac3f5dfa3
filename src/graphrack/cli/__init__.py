"""The command line. `docs/cli.md` is its manual."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Runs the command that the process's arguments name, and ends the process with its exit code."""
    from graphrack.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of any script must not end a listing in an ASCII terminal
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="graphrack")
    except KeyboardInterrupt:
        sys.exit(130)
