"""Progress on stderr, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]


@contextmanager
def progress_bar(name: str) -> Iterator[Progress | None]:
    """A function that is told the bytes done and the bytes in all; None where no terminal looks on."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    from graphrack.cli.output import plain

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    console = Console(file=sys.stderr, markup=False, highlight=False, emoji=False)
    with Bar(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(plain(name), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Shows a text and that something goes on, for work whose length isn't known."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    from graphrack.cli.output import plain

    console = Console(file=sys.stderr, markup=False, highlight=False, emoji=False)
    with console.status(plain(text)):
        yield
