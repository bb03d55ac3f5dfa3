"""`graphrack inspect --plan`: what a run comes to."""

from __future__ import annotations

from collections.abc import Sequence

from graphrack.cli.output import plain, print_json


def show_plan(
    path: str, tags: Sequence[str] | None, fetches: Sequence[str] | None, engine: str, *, as_json: bool
) -> None:
    """Prints the plan of a run, which isn't made.

    Raises:
        typer.BadParameter: an engine that there isn't.
    """
    import sys

    import typer

    from graphrack.engines.choice import ENGINES
    from graphrack.explaining import as_json as json_of
    from graphrack.loading import load

    if engine not in ENGINES:
        raise typer.BadParameter(f"{engine!r} is none of {', '.join(ENGINES)}", param_hint="--engine")
    explanation = load(path, tags=tags, engine=engine).explain(list(fetches) if fetches else None)
    if as_json:
        print_json({"path": path, "plan": json_of(explanation)})
        return
    sys.stdout.write("\n".join(plain(line) for line in str(explanation).splitlines()) + "\n")
