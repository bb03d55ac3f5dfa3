"""What differs between two graphs: nodes, and functions with their nodes.

The order of nodes, of attributes and of control inputs means nothing. `x` and `x:0` are one input; an attribute
that is left out is its default. `_output_shapes`, which follows from the rest, and debug information are not
looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from graphrack.formats.op_table import defaults
from graphrack.formats.protos.graph_pb2 import AttrValue, FunctionDef, GraphDef, NodeDef

__all__ = ["AttributeChange", "FunctionChange", "GraphChange", "NodeChange", "compare_graphs"]

_DERIVED = frozenset(("_output_shapes",))

Chosen = Callable[[str], bool] | None


class AttributeChange(NamedTuple):
    """An attribute's values in both; None where it is absent and has no default."""

    a: AttrValue | None
    b: AttrValue | None


class NodeChange(NamedTuple):
    """A node that isn't the same in both.

    Attributes:
        name: the node's.
        status: `"added"`, `"gone"` or `"changed"`.
        op, inputs, device: pairs of the two, where they differ; of a node in one graph alone, `op` is a pair with None.
        attributes: those that differ.
    """

    name: str
    status: str
    op: tuple[str | None, str | None] | None
    inputs: tuple[list[str], list[str]] | None
    device: tuple[str, str] | None
    attributes: dict[str, AttributeChange]


class FunctionChange(NamedTuple):
    """A function that isn't the same in both: `nodes` of its body, and whether its signature or results differ."""

    name: str
    status: str
    signature: bool
    nodes: list[NodeChange]


class GraphChange(NamedTuple):
    """What differs between two graphs, and how many nodes are the same."""

    nodes: list[NodeChange]
    functions: list[FunctionChange]
    equal_nodes: int
    equal_functions: int


def compare_graphs(a: GraphDef, b: GraphDef, chosen: Chosen = None) -> GraphChange:
    """What differs; `chosen` says of which nodes and functions, by their names."""
    nodes, equal = _nodes(a.node, b.node, chosen)
    functions, equal_functions = [], 0
    known = {f.signature.name: f for f in b.library.function}
    for old in a.library.function:
        name = old.signature.name
        if chosen is not None and not chosen(name):
            known.pop(name, None)
            continue
        new = known.pop(name, None)
        if new is None:
            functions.append(FunctionChange(name, "gone", False, []))
            continue
        changes, _ = _nodes(old.node_def, new.node_def, None)
        signature = _frame(old) != _frame(new)
        if changes or signature:
            functions.append(FunctionChange(name, "changed", signature, changes))
        else:
            equal_functions += 1
    functions += [FunctionChange(name, "added", False, []) for name in known if chosen is None or chosen(name)]
    return GraphChange(nodes, functions, equal, equal_functions)


def _frame(function: FunctionDef) -> bytes:
    """All of a function but its body, and what says no more than names in the source."""
    frame = FunctionDef()
    frame.signature.CopyFrom(function.signature)
    frame.signature.description = ""
    for key, value in function.ret.items():
        frame.ret[key] = value
    for key, value in function.control_ret.items():
        frame.control_ret[key] = value
    data: bytes = frame.SerializeToString(deterministic=True)
    return data


def _nodes(a: Iterable[NodeDef], b: Iterable[NodeDef], chosen: Chosen) -> tuple[list[NodeChange], int]:
    found, equal = [], 0
    known = {node.name: node for node in b}
    for old in a:
        new = known.pop(old.name, None)
        if chosen is not None and not chosen(old.name):
            continue
        if new is None:
            found.append(NodeChange(old.name, "gone", (old.op, None), None, None, {}))
            continue
        change = _node(old, new)
        if change is None:
            equal += 1
        else:
            found.append(change)
    for node in known.values():
        if chosen is None or chosen(node.name):
            found.append(NodeChange(node.name, "added", (None, node.op), None, None, {}))
    return found, equal


def _node(a: NodeDef, b: NodeDef) -> NodeChange | None:
    inputs = _inputs(a), _inputs(b)
    attributes = _attributes(a, b)
    op = (a.op, b.op) if a.op != b.op else None
    device = (a.device, b.device) if a.device != b.device else None
    if op is None and device is None and not attributes and inputs[0] == inputs[1]:
        return None
    return NodeChange(a.name, "changed", op, inputs if inputs[0] != inputs[1] else None, device, attributes)


def _inputs(node: NodeDef) -> list[str]:
    data = [text.removesuffix(":0") for text in node.input if not text.startswith("^")]
    return data + sorted({text for text in node.input if text.startswith("^")})


def _attributes(a: NodeDef, b: NodeDef) -> dict[str, AttributeChange]:
    found = {}
    for key in dict.fromkeys([*a.attr, *b.attr]):
        if key in _DERIVED:
            continue
        old, new = _attribute(a, key), _attribute(b, key)
        if old is None or new is None or not _same(old, new):
            found[key] = AttributeChange(old, new)
    return found


def _attribute(node: NodeDef, key: str) -> AttrValue | None:
    return node.attr[key] if key in node.attr else defaults(node.op).get(key)


def _same(a: AttrValue, b: AttrValue) -> bool:
    if a == b:
        return True
    # Messages with a NaN differ from themselves.
    return bool(a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True))
