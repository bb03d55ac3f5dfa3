"""GraphDefs for the tests of `graph/` and of plans, written down in a line per node."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.graph.index import GraphIndex

FLOAT, INT32, STRING = 1, 3, 7


def graph(*lines: str, **constants: Any) -> GraphDef:
    """Lines as `op name input input…`; constants by name. Every node's type is float."""
    made = GraphDef()
    for name, value in constants.items():
        array = np.asarray(value, np.float32)
        node = made.node.add(op="Const", name=name)
        node.attr["dtype"].type = FLOAT
        tensor = node.attr["value"].tensor
        tensor.dtype = FLOAT
        tensor.tensor_shape.SetInParent()
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = array.tobytes()
    for line in lines:
        op, name, *inputs = line.split()
        node = made.node.add(op=op, name=name, input=inputs)
        if op in ("Placeholder", "PlaceholderWithDefault", "VariableV2", "VarHandleOp"):
            node.attr["dtype"].type = FLOAT
        else:
            node.attr["T"].type = FLOAT
        if op == "VariableV2":
            node.attr["shape"].shape.SetInParent()
        if op == "Split":
            node.attr["num_split"].i = 3
    return made


def index(*lines: str, **constants: Any) -> GraphIndex:
    """The same, ready for look-ups."""
    return GraphIndex(graph(*lines, **constants))
