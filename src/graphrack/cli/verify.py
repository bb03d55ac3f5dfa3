"""`graphrack verify`: every checksum of a checkpoint, or of all in a folder."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

import typer

from graphrack.cli.failures import FAILED, complain, reporting
from graphrack.cli.progress import progress_bar
from graphrack.errors import FileError

Facts = dict[str, Any]


def verify(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PREFIX",
            help="A checkpoint's prefix; or a folder: all checkpoints that its `checkpoint` file lists, or the "
            "variables of a SavedModel.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: each checkpoint with its tensors, files, bytes and seconds.")
    ] = False,
) -> None:
    """Check every checksum of a checkpoint's files.

    Damage is named by tensor, file and offset, and gives exit code 1.
    """
    with reporting():
        found = [_verified(prefix) for prefix in _prefixes(path)]
        if as_json:
            from graphrack.cli.output import print_json

            print_json({"path": path, "ok": all(f["ok"] for f in found), "checkpoints": found})
        else:
            _print(path, found)
        damaged = [f for f in found if not f["ok"]]
        if damaged:
            many = f"{len(damaged)} of {len(found)} checkpoints failed: " if len(found) > 1 else ""
            complain(many + "; ".join(f["error"] for f in damaged))
            raise typer.Exit(FAILED)


def _prefixes(path: str) -> list[str]:
    """The checkpoints that a path means. Raises `FileError` where there are none to look for."""
    from graphrack.cli.checkpoint_facts import folder_facts
    from graphrack.formats.checkpoint_names import STATE_FILE
    from graphrack.formats.graph_files import checkpoint_exists
    from graphrack.formats.saved_model import saved_model_file

    folder = path
    if os.path.basename(path).startswith("saved_model.pb") or os.path.basename(path) == STATE_FILE:
        folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder) or checkpoint_exists(path):
        return [path]
    if saved_model_file(folder) is not None:
        prefix = os.path.join(folder, "variables", "variables")
        return [prefix] if checkpoint_exists(prefix) or os.path.isdir(os.path.dirname(prefix)) else []
    facts = folder_facts(folder)
    if facts["state_file"] is None:
        if not facts["checkpoints"]:
            raise FileError(f"{path} is a folder without checkpoints and without a SavedModel")
        return [c["prefix"] for c in facts["checkpoints"]]
    return [*(c["prefix"] for c in facts["checkpoints"] if c["listed"]), *facts["missing"]]


def _verified(prefix: str) -> Facts:
    """One checkpoint's result: what was read, and what is wrong with it if anything is."""
    from graphrack.checkpoint import Checkpoint
    from graphrack.cli.checkpoint_facts import checkpoint_facts

    result: Facts = {
        "prefix": prefix,
        "ok": False,
        "error": None,
        "version": None,
        "tensors": None,
        "files": None,
        "bytes": None,
        "seconds": None,
    }
    try:
        # Not mapped: a file that is cut off meanwhile is then an error, and not the end of the process.
        with Checkpoint(prefix, mapped=False) as checkpoint:
            facts = checkpoint_facts(checkpoint.prefix)
            result |= {
                "version": facts["version"],
                "tensors": len(checkpoint),
                "files": [file["path"] for file in facts["files"]],
                "bytes": facts["bytes"],
            }
            with progress_bar(os.path.basename(prefix)) as progress:
                start = time.perf_counter()
                checkpoint.verify(progress)
                result["seconds"] = time.perf_counter() - start
    except FileError as error:
        result["error"] = str(error)
    else:
        result["ok"] = True
    return result


def _print(path: str, found: list[Facts]) -> None:
    from rich.text import Text

    from graphrack._display import size as size_text
    from graphrack.cli.output import plain, show, table

    if not found:
        show(Text(f"{plain(path)} is a SavedModel without variables: there is nothing to verify"))
        return
    rows = table("", "checkpoint", "tensors", "files", "size", "speed", right=("tensors", "files", "size", "speed"))
    for f in found:
        state = Text("ok", "green") if f["ok"] else Text("FAILED", "red")
        counts = ("", "", "", "")
        if f["tensors"] is not None:
            speed = f"{size_text(f['bytes'] / f['seconds'])}/s" if f["ok"] else ""
            counts = (f"{f['tensors']:,}", str(len(f["files"])), size_text(f["bytes"]), speed)
        name = os.path.basename(f["prefix"]) if len(found) > 1 else f["prefix"]
        rows.add_row(state, plain(name), *counts)
    show(*([Text(plain(path), "bold")] if len(found) > 1 else []), rows)
