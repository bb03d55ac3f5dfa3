"""Which nodes OpenVINO runs with TensorFlow's numbers: the list that clusters are made of."""

from __future__ import annotations

from collections.abc import Callable

from graphrack.formats.protos.graph_pb2 import NodeDef

_FLOAT = 1

# op -> inputs that must be constants of the plan (negative: from the end). All else about a node of these ops
# that matters is checked below; what is not listed stays in the interpreter.
_CONSTANT_INPUTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMul", "BatchMatMulV2"), ()),
    **dict.fromkeys(("BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"), ()),
    **dict.fromkeys(("SquaredDifference", "Square", "Sqrt", "Rsqrt", "Exp", "Neg", "Abs", "Erf"), ()),
    **dict.fromkeys(("Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax"), ()),
    **dict.fromkeys(("MaxPool", "AvgPool", "Identity", "Squeeze"), ()),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), (1, 2, 3, 4)),
    **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Pad", "Reshape", "Transpose", "ExpandDims"), (1,)),
    "ConcatV2": (-1,),
}

HEAVY = frozenset(("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMul", "BatchMatMulV2"))
"""What makes a cluster worth its call."""


def _inference(node: NodeDef) -> bool:
    return "is_training" in node.attr and not node.attr["is_training"].b


def _plain_padding(node: NodeDef) -> bool:
    return node.attr["padding"].s in (b"SAME", b"VALID")


_CONDITIONS: dict[str, Callable[[NodeDef], bool]] = {
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _inference),
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"), _plain_padding),
}


def constant_inputs(node: NodeDef) -> tuple[int, ...] | None:
    """The inputs that must be constants for a node to be in a cluster; None where it can't be in one."""
    needed = _CONSTANT_INPUTS.get(node.op)
    if needed is None or node.attr["T"].type != _FLOAT:
        return None
    condition = _CONDITIONS.get(node.op)
    return needed if condition is None or condition(node) else None
