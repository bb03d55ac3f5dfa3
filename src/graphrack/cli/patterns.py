"""The options `--select` and `--exclude`: which names to work on."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from typing import Annotated

import typer

SelectOption = Annotated[
    list[str] | None,
    typer.Option("--select", metavar="GLOB", help="Only these names: `model1/*`; * matches / as well. Repeatable."),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="GLOB", help="Not these names, of those selected. Repeatable."),
]


def chosen_by(select: Iterable[str] | None, exclude: Iterable[str] | None) -> Callable[[str], bool] | None:
    """A predicate of a name; None where both options are absent."""
    wanted, unwanted = list(select or ()), list(exclude or ())
    if not wanted and not unwanted:
        return None

    def chosen(name: str) -> bool:
        return (not wanted or any(fnmatch.fnmatchcase(name, glob) for glob in wanted)) and not any(
            fnmatch.fnmatchcase(name, glob) for glob in unwanted
        )

    return chosen
