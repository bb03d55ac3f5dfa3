"""Which nodes a frozen graph keeps, and by which control inputs; what of it is known from the graph alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from graphrack.errors import GraphError, closest
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.formats.tensor import tensor_from_proto
from graphrack.graph.gates import Gates, through_identities
from graphrack.graph.index import REF_VARIABLES, RESOURCE_VARIABLES, variable
from graphrack.graph.names import TensorName, parse_input
from graphrack.graph.writes import Writes

VARIABLES = REF_VARIABLES | RESOURCE_VARIABLES
QUESTIONS = frozenset(("VarIsInitializedOp", "IsVariableInitialized"))
"""Ops that ask whether a variable has a value: in a frozen graph the answer is a constant."""

_INITIALIZERS = frozenset(
    ("InitializeTable", "InitializeTableV2", "InitializeTableFromTextFile", "InitializeTableFromTextFileV2",
     "LookupTableImport", "LookupTableImportV2")
)  # fmt: skip
_RESTORES = frozenset(("RestoreV2", "Restore", "RestoreSlice"))


def known_value(nodes: Mapping[str, NodeDef], values: Mapping[str, Any], text: str) -> int | None:
    """The value of a scalar of a boolean or integer type, where the graph alone tells."""
    tensor = parse_input(text)
    for _ in range(len(nodes)):
        node = nodes.get(tensor[0])
        if node is None or tensor[1] < 0:
            return None
        if node.op in ("Identity", "RefIdentity", "ReadVariableOp"):
            tensor = parse_input(node.input[0])
            continue
        value: Any = None
        if node.op == "Const" and not node.attr["value"].tensor.tensor_shape.dim:
            value = tensor_from_proto(node.attr["value"].tensor)
        elif node.op in VARIABLES:
            value = values.get(variable(node).key)
        elif node.op in QUESTIONS:
            source = nodes.get(through_identities(nodes, parse_input(node.input[0]))[0])
            return int(variable(source).key in values) if source is not None and source.op in VARIABLES else None
        elif node.op == "LogicalNot":
            found = known_value(nodes, values, node.input[0])
            return None if found is None else 1 - found
        if value is None:
            return None
        array = np.asarray(value)
        return int(array) if array.shape == () and array.dtype.kind in "biu" else None
    return None


def kept_nodes(
    nodes: Mapping[str, NodeDef], outputs: Iterable[TensorName | str], gates: Gates, writes: Writes
) -> dict[str, list[str]]:
    """What the outputs need, in the graph's order: for each node's name the control inputs that it keeps."""
    found: dict[str, list[str]] = {}
    stack = [o if isinstance(o, str) else o.op for o in outputs]
    while stack:
        name = stack.pop()
        if name in found:
            continue
        node = nodes[name]
        data = [text for text in node.input if not text.startswith("^")]
        if node.op in QUESTIONS:  # which become constants
            found[name] = [f"^{parse_input(t)[0]}" for t in data] if gates.of(name) else []
            data = []
        else:
            group = node.op in ("NoOp", "ControlTrigger")
            found[name] = list(node.input) if group else list(dict.fromkeys(gates.controls(node) + writes.orders(node)))
        for text in (*data, *found[name]):
            source = parse_input(text)[0]
            if source not in nodes:
                raise GraphError(
                    f"node {name!r} ({node.op}) takes {text!r}, which the graph doesn't have"
                    f"{closest(source, nodes)}; the graph is incomplete"
                )
            stack.append(source)
    return {name: found[name] for name in nodes if name in found}


def table_initializers(nodes: Mapping[str, NodeDef], kept: Mapping[str, Any]) -> list[str]:
    """The operations that fill the tables among the kept nodes, from something else than a checkpoint."""
    found = []
    for node in nodes.values():
        if node.op not in _INITIALIZERS or not node.input:
            continue
        table = through_identities(nodes, parse_input(node.input[0]))[0]
        if table not in kept:
            continue
        sources = {parse_input(text)[0] for text in node.input[1:]}
        stack = list(sources)
        while stack:
            below = {parse_input(text)[0] for text in nodes[stack.pop()].input} - sources
            sources |= below
            stack += below
        if not any(nodes[name].op in _RESTORES for name in sources):
            found.append(node.name)
    return found
