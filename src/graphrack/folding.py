"""Running single nodes of a graph on constants, for `graph.fold`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats import op_table
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.formats.tensor import attr_value
from graphrack.graph.index import PLACEHOLDERS
from graphrack.ops import registry


def compute(node: NodeDef, inputs: Sequence[np.ndarray[Any, Any]]) -> Sequence[Any] | None:
    """A node's outputs, given its inputs; None for one that may be fed, and for an op that is lacking, keeps
    state, makes something anew in every run, or fails on these inputs."""
    op = registry.lookup(node.op)
    if op is None or op.state or op.writes or op.io or op.impure or op.ref_inputs or not op.outputs:
        return None
    if node.op in PLACEHOLDERS:
        return None
    facts: dict[str, Any] = {"input_count": len(inputs), "output_count": len(op_table.output_types(node) or ())}
    try:
        attributes = {k: attr_value(node.attr[k]) for k in op.keywords if k in node.attr}
        with np.errstate(all="ignore"):
            results = op.bind(node.name, attributes, facts)(*inputs)
    except Exception:  # a run of the graph will tell, if it ever comes to this node
        return None
    return [results] if op.outputs == 1 else list(results)
