"""`graphrack diff`: what differs between two checkpoints, or two graphs."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import typer

from graphrack.cli.failures import FAILED, reporting
from graphrack.cli.inspect import tags_of
from graphrack.cli.patterns import ExcludeOption, SelectOption, chosen_by
from graphrack.cli.progress import progress_bar
from graphrack.errors import FileError

Facts = dict[str, Any]
Chosen = Callable[[str], bool] | None

DIFFERENT, TROUBLE = 1, 2  # exit codes of the program `diff`


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="The first: a checkpoint, a graph, or a SavedModel.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The second, of the same sort.")],
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", metavar="T", min=0.0, help="Values that differ by at most T count as equal."),
    ] = 0.0,
    select: SelectOption = None,
    exclude: ExcludeOption = None,
    tags: Annotated[
        str | None,
        typer.Option("--tags", metavar="T[,T…]", help="Which MetaGraph of SavedModels that have several."),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="End as `diff` does: 0 nothing differs, 1 something does, 2 it failed."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: everything that differs.")] = False,
) -> None:
    """Show what differs: tensors that were added, are gone or changed, and by how much; nodes of graphs."""
    different = False
    try:
        with reporting():
            if math.isnan(tolerance):
                raise typer.BadParameter("nan is no tolerance", param_hint="--tolerance")
            facts = _facts(a, b, tolerance, chosen_by(select, exclude), tags_of(tags))
            different = not facts["equal"]
            if as_json:
                from graphrack.cli.output import print_json

                print_json(facts)
            else:
                from graphrack.cli.diff_report import show_difference

                show_difference(facts)
    except typer.Exit as ending:
        if exit_code and ending.exit_code == FAILED:
            raise typer.Exit(TROUBLE) from None
        raise
    if exit_code and different:
        raise typer.Exit(DIFFERENT)


def _facts(a: str, b: str, tolerance: float, chosen: Chosen, tags: list[str] | None) -> Facts:
    """What differs, in the form that `--json` prints."""
    sides = _sides(a), _sides(b)
    both = sides[0] & sides[1]
    if not both:
        raise FileError(
            f"{a} holds {' and '.join(sorted(sides[0]))}, {b} holds {' and '.join(sorted(sides[1]))}: "
            f"there is nothing to compare"
        )
    tensors = _tensors(a, b, tolerance, chosen) if "tensors" in both else None
    graph = _graph(a, b, tolerance, chosen, tags) if "a graph" in both else None
    equal = not (tensors and tensors["changes"]) and not (graph and (graph["nodes"] or graph["functions"]))
    return {"a": a, "b": b, "tolerance": tolerance, "equal": equal, "tensors": tensors, "graph": graph}


def _sides(path: str) -> set[str]:
    """What can be compared of a path: `"tensors"`, `"a graph"`, or both of a SavedModel."""
    from graphrack.formats.checkpoint_names import STATE_FILE, exists, prefix_of
    from graphrack.formats.saved_model import saved_model_file
    from graphrack.formats.tensor_files import kind_of

    folder = os.path.dirname(path) if os.path.basename(path).startswith("saved_model.pb") else path
    if exists(prefix_of(path)):
        return {"tensors"}
    if os.path.isdir(folder or ".") and saved_model_file(folder or ".") is not None:
        variables = exists(os.path.join(folder, "variables", "variables"))
        return {"tensors", "a graph"} if variables else {"a graph"}
    name = os.path.basename(path)
    part_of_checkpoint = name.endswith(".index") or ".data-" in name or name == STATE_FILE
    if os.path.isfile(path) and kind_of(path) == "checkpoint" and not part_of_checkpoint:
        return {"a graph"}
    # A prefix of which the graph alone is there; else whatever else there is to say, opening it says.
    return {"a graph"} if not os.path.exists(path) and os.path.isfile(path + ".meta") else {"tensors"}


# Tensors


def _tensors(a: str, b: str, tolerance: float, chosen: Chosen) -> Facts:
    from graphrack.differing import compare_tensors
    from graphrack.formats.tensor_files import open_tensors

    _, first = open_tensors(a)
    try:
        _, second = open_tensors(b)
        try:
            names_a, names_b = ([n for n in r.names() if chosen is None or chosen(n)] for r in (first, second))
            with progress_bar(f"{os.path.basename(a)} {os.path.basename(b)}") as progress:
                found = compare_tensors(first, second, names_a, names_b, progress)
        finally:
            second.close()
    finally:
        first.close()
    changes = []
    counts = Counter(dict.fromkeys(("equal", "within_tolerance", "changed", "retyped", "reshaped", "added", "gone"), 0))
    for item in found:
        within = item.status == "changed" and item.difference is not None and item.difference.within(tolerance)
        counts["within_tolerance" if within else item.status] += 1
        if item.status != "equal" and not within:
            changes.append(
                {
                    "name": item.name,
                    "status": item.status,
                    "a": _spec(item.a),
                    "b": _spec(item.b),
                    "difference": _difference(item.difference),
                }
            )
    return {"counts": dict(counts), "changes": changes}


def _spec(spec: Any) -> Facts | None:
    return None if spec is None else {"dtype": spec.dtype.name, "shape": list(spec.shape or ())}


def _difference(difference: Any) -> Facts | None:
    return None if difference is None else {key: _number(value) for key, value in difference._asdict().items()}


def _number(value: float | int | None) -> Any:
    if value is None or isinstance(value, int):
        return value
    from graphrack.cli.output import json_of

    return json_of(value)


# Graphs


def _graph(a: str, b: str, tolerance: float, chosen: Chosen, tags: list[str] | None) -> Facts:
    from graphrack.formats.graph_files import open_model_file
    from graphrack.graph.difference import compare_graphs

    files = [open_model_file(path, tags=tags if "tensors" in _sides(path) or _saved(path) else None) for path in (a, b)]
    found = compare_graphs(files[0].graph_def, files[1].graph_def, chosen)
    nodes = [_node(node, tolerance) for node in found.nodes]
    functions = []
    for function in found.functions:
        inner = [fact for node in function.nodes if (fact := _node(node, tolerance))]
        if function.status != "changed" or inner or function.signature:
            functions.append(
                {"name": function.name, "status": function.status, "signature": function.signature, "nodes": inner}
            )
    changed = [node for node in nodes if node is not None]
    return {
        "equal_nodes": found.equal_nodes + len(nodes) - len(changed),
        "equal_functions": found.equal_functions + len(found.functions) - len(functions),
        "nodes": changed,
        "functions": functions,
    }


def _saved(path: str) -> bool:
    from graphrack.formats.saved_model import saved_model_file

    return os.path.isdir(path) and saved_model_file(path) is not None


def _node(change: Any, tolerance: float) -> Facts | None:
    """A node's facts; None where its values differ by no more than the tolerance, and nothing else does."""
    attributes = {key: fact for key, pair in change.attributes.items() if (fact := _attribute(pair, tolerance))}
    if change.attributes and not attributes and not (change.op or change.inputs or change.device):
        return None
    return {
        "name": change.name,
        "status": change.status,
        "op": _pair(change.op),
        "inputs": _pair(change.inputs),
        "device": _pair(change.device),
        "attributes": attributes,
    }


def _pair(pair: Any) -> Facts | None:
    return None if pair is None else {"a": pair[0], "b": pair[1]}


def _attribute(pair: Any, tolerance: float) -> Facts | None:
    """An attribute's two values as text; of two tensors of one shape, by how much they differ, too."""
    difference = None
    if all(value is not None and value.WhichOneof("value") == "tensor" for value in pair):
        difference = _tensor_difference(pair.a.tensor, pair.b.tensor)
        if difference is not None and pair.a.tensor.dtype == pair.b.tensor.dtype and difference.within(tolerance):
            return None
    return {"a": _text(pair.a), "b": _text(pair.b), "difference": _difference(difference)}


def _tensor_difference(a: Any, b: Any) -> Any:
    from graphrack.differing import compare_arrays
    from graphrack.errors import GraphError
    from graphrack.formats.tensor import tensor_from_proto

    try:
        first, second = tensor_from_proto(a), tensor_from_proto(b)
    except GraphError:  # a damaged constant still differs from the other
        return None
    strings = first.dtype.kind == "O", second.dtype.kind == "O"
    if first.shape != second.shape or strings[0] != strings[1]:
        return None
    return compare_arrays(first, second)


_LONGEST = 200


def _text(value: Any) -> str | None:
    """An attribute's value as text; of a tensor, its dtype and shape."""
    if value is None:
        return None
    kind = value.WhichOneof("value")
    if kind == "tensor":
        from graphrack._display import shape as shape_text
        from graphrack.formats.dtypes import DTYPES
        from graphrack.formats.tensor import shape_from_proto

        dtype = DTYPES.get(value.tensor.dtype)
        return (
            f"{dtype.name if dtype else value.tensor.dtype} {shape_text(shape_from_proto(value.tensor.tensor_shape))}"
        )
    if kind == "type":
        from graphrack.formats.dtypes import DTYPES

        reference = "_ref" if value.type > 100 else ""
        dtype = DTYPES.get(value.type - 100 if reference else value.type)
        return f"{dtype.name}{reference}" if dtype else str(value.type)
    if kind == "shape":
        from graphrack._display import shape as shape_text
        from graphrack.formats.tensor import shape_from_proto

        return shape_text(shape_from_proto(value.shape))
    if kind == "s":
        return str(value.s.decode("utf-8", "backslashreplace"))[:_LONGEST]
    if kind in ("i", "f", "b"):
        return str(getattr(value, kind))
    from google.protobuf import text_format

    return text_format.MessageToString(value, as_one_line=True)[:_LONGEST]
