"""`graphrack inspect`: what a file or folder is, and what is in it."""

from __future__ import annotations

from typing import Annotated

import typer

from graphrack.cli.failures import reporting
from graphrack.cli.scopes import MAX_DEPTH

DEPTH = 2


def inspect(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A checkpoint's prefix, a .meta, .pb or .pbtxt file, a SavedModel, a folder with a `checkpoint` "
            "file; or any file of a checkpoint, which is then explained.",
        ),
    ],
    tree: Annotated[bool, typer.Option("--tree", help="Show the scopes as a tree, with nodes and parameters.")] = False,
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth",
            metavar="N",
            min=1,
            max=MAX_DEPTH,
            help=f"Levels of the tree; {DEPTH} if not given. Implies --tree.",
        ),
    ] = None,
    ops: Annotated[bool, typer.Option("--ops", help="Show all ops, not the commonest only.")] = False,
    variables: Annotated[
        bool, typer.Option("--variables", help="Show all variables and tensors, not the first only.")
    ] = False,
    tags: Annotated[
        str | None,
        typer.Option("--tags", metavar="T[,T…]", help="Which MetaGraph of a SavedModel that has several."),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Show what a run comes to: its steps, and what of the graph OpenVINO is given."),
    ] = False,
    fetch: Annotated[
        list[str] | None,
        typer.Option("--fetch", metavar="NAME", help="What that run computes; the prediction if not given."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option("--engine", metavar="NAME", help="The engine of that run: auto, numpy, openvino or tensorflow."),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: everything, nothing shortened.")] = False,
) -> None:
    """Show what a file or folder is, and what is in it.

    Nothing is run, and no tensor is read.
    """
    with reporting():
        from graphrack.cli.facts import facts_of
        from graphrack.cli.output import print_json

        levels = depth if depth is not None else DEPTH if tree else None
        if plan or fetch:
            from graphrack.cli.plans import show_plan

            show_plan(path, tags_of(tags), fetch, engine, as_json=as_json)
            return
        facts = facts_of(path, tags_of(tags), levels)
        if as_json:
            print_json(facts)
            return
        from graphrack.cli.report import show_facts

        show_facts(facts, all_ops=ops, all_variables=variables)


def tags_of(text: str | None) -> list[str] | None:
    """The tags in an option's comma-separated text; the empty text is the empty set of tags."""
    return None if text is None else [tag.strip() for tag in text.split(",") if tag.strip()]
