"""Which nodes OpenVINO runs with TensorFlow's numbers: the list that clusters are made of.

Every op here is compared with TensorFlow over its attributes, shapes and special values. What stays out, and why
(OpenVINO 2026.4, CPU):

- FloorDiv, FloorMod, Mod, TruncateDiv and Atan2 of floats: wrong near whole quotients, at infinities and at zeros.
- LRN: off by some 1e-3, since it sums over another window near the edges; cumulative and ordering ops (TopK, ArgMax
  of NaN) likewise have rules of their own.
- Gather by indices that a run brings: OpenVINO reads anything for an index out of bounds, where TensorFlow refuses.
- int64 data: the CPU plugin computes with 32 bits. Shapes, which fit, may be int64.
- Arithmetic on integers other than what shapes are computed from; float to int casts (NaN, overflow). FloorDiv, Sum,
  Prod, Range and comparisons of integers compute with floats: they get such as are known from shapes, and exact that
  way. Integers as truths: some are taken for 0.
- ResizeNearestNeighbor with half-pixel centers: other choices at ties.
- Grouped convolutions (an input of more channels than the filter has).
- LogSoftmax: with a Transpose behind it, OpenVINO sums along the wrong axis.
- Select of truths: refused where they are computed in different ways.
- ReverseV2 along several axes: its conversion has one.
- Squeeze without dimensions: the result's rank has to be known.
- Softplus, Log1p: their own kernels lose small results; Softplus is spelled out, see `frontend.py`.

Max, Min, Relu, Relu6, Maximum, Minimum, Exp and MaxPool drop NaN. So values that aren't finite don't get into a
cluster: the interpreter runs the nodes then, see `step.py`. For NaN that arises in a cluster see `nans.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines.openvino.shapes import ELEMENTWISE
from graphrack.formats.op_table import defaults, op_def
from graphrack.formats.protos.graph_pb2 import AttrValue, NodeDef

_NOTHING = AttrValue()

FLOAT, INT32, INT64, BOOL = 1, 3, 9, 10
DTYPES = frozenset((FLOAT, INT32, INT64, BOOL))
"""Of the values that go into and out of a cluster."""

HEAVY = frozenset(("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3D", "MatMul", "BatchMatMul",
                   "BatchMatMulV2", "BatchMatMulV3", "Einsum"))  # fmt: skip
"""What can make a cluster worth its call."""

_PASSES = ELEMENTWISE - {"Identity", "StopGradient", "PreventGradient", "ReverseV2", "ZerosLike", "OnesLike"}
# The interpreter reads and writes all values once for each such node, OpenVINO once for several.
_LEAST_PASSES = 4

SHAPES = frozenset(("Shape", "ShapeN", "Size", "Rank"))
"""Ops that look at a tensor's shape alone."""

_COMPARISONS = ("Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual")
INEXACT = frozenset(("FloorDiv", "Sum", "Prod", "Range", *_COMPARISONS))
"""Ops that OpenVINO computes with floats where they are given integers: exact as far as 24 bits reach."""

Value = Callable[[int], Any]
"""The constant value of the node's input of that number (negative: from the end); None where it has none."""


class Rule(NamedTuple):
    """What a node of an op must be like to be in a cluster.

    Attributes:
        types: dtypes that its type attributes may have.
        fixed: inputs that must be constants of the plan (negative: from the end).
        values: inputs of which OpenVINO's result has its shape: constants, or computed from shapes.
        check: what else must hold.
        integers: what must hold of its inputs where it computes on integers: `"any"`; `"brought"`, that they are
            computed from shapes and what a run brings; or `"shapes"`, from shapes alone.
        outputs: whether more than the first of its outputs may be used.
    """

    types: frozenset[int] = frozenset((FLOAT,))
    fixed: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    check: Callable[[NodeDef, Value], bool] | None = None
    integers: str = "any"
    outputs: bool = False


def _attr(node: NodeDef, name: str) -> AttrValue:
    """An attribute, its default where the node has it not (asking the message itself would give the node one)."""
    return node.attr[name] if name in node.attr else defaults(node.op).get(name, _NOTHING)


def _inference(node: NodeDef, value: Value) -> bool:
    return not _attr(node, "is_training").b


def _window(node: NodeDef, value: Value) -> bool:
    """Sizes and strides along rows and columns alone, which OpenVINO's windows have."""
    first = _attr(node, "data_format").s.startswith(b"NC")
    for name in ("strides", "dilations", "ksize"):
        sizes = _attr(node, name).list.i
        if sizes and (sizes[0] != 1 or sizes[1 if first else -1] != 1):
            return False
    padding = _attr(node, "padding").s
    return padding in (b"SAME", b"VALID") or (padding == b"EXPLICIT" and node.op == "Conv2D")


def _transposed(node: NodeDef, value: Value) -> bool:
    dilations = _attr(node, "dilations").list.i
    return _window(node, value) and _attr(node, "padding").s != b"EXPLICIT" and all(d == 1 for d in dilations)


def _volume(node: NodeDef, value: Value) -> bool:
    return _attr(node, "data_format").s in (b"", b"NDHWC") and _window(node, value)


def _plain_masks(node: NodeDef, value: Value) -> bool:
    """No bits for dimensions behind those that are given, and none that another mask makes TensorFlow overlook."""
    reach = 1 << int(np.size(value(3)))
    begin, end, ellipsis, new, shrink = (
        _attr(node, f"{name}_mask").i for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    )
    overlooked = (ellipsis & (new | shrink)) | (new & shrink) | ((begin | end) & shrink)
    return not overlooked and max(begin, end, ellipsis, new, shrink) < reach


def _some_axes(node: NodeDef, value: Value) -> bool:
    return bool(np.size(value(1)))


def _one_axis(node: NodeDef, value: Value) -> bool:
    return np.shape(value(1)) == (1,)


def _channels_last(node: NodeDef, value: Value) -> bool:
    return _attr(node, "data_format").s in (b"", b"NHWC")


def _named_dimensions(node: NodeDef, value: Value) -> bool:
    return bool(_attr(node, "squeeze_dims").list.i)


def _plain_gather(node: NodeDef, value: Value) -> bool:
    return not _attr(node, "batch_dims").i


def _sizes_resize(node: NodeDef, value: Value) -> bool:
    return not _attr(node, "half_pixel_centers").b


def _to_float(node: NodeDef, value: Value) -> bool:
    source, target = _attr(node, "SrcT").type, _attr(node, "DstT").type
    return target == FLOAT or (source != FLOAT and target != BOOL)


def _broadcasts(node: NodeDef, value: Value) -> bool:
    return _attr(node, "incompatible_shape_error").b


def _plain_einsum(node: NodeDef, value: Value) -> bool:
    """Two operands, no dots, and every letter of an operand once."""
    left, arrow, _ = _attr(node, "equation").s.partition(b"->")
    terms = left.split(b",")
    return arrow == b"->" and len(terms) == 2 and b"." not in left and all(len(set(t)) == len(t) for t in terms)


_ANY = frozenset((FLOAT, INT32, INT64, BOOL))
_NUMBERS = frozenset((FLOAT, INT32, INT64))
_TRUTHS = frozenset((BOOL,))

RULES: dict[str, Rule] = {
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "BiasAdd", "AddN"), Rule()),
    **dict.fromkeys(("Square", "Sqrt", "Rsqrt", "Exp", "Erf", "Log", "Sin", "Cos", "Reciprocal", "Inv"), Rule()),
    **dict.fromkeys(("Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Sigmoid", "Tanh", "Softsign", "Softplus"), Rule()),
    **dict.fromkeys(("Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Rint"), Rule()),
    "Softmax": Rule(),
    **dict.fromkeys(("RealDiv", "Div", "DivNoNan", "SquaredDifference", "Pow"), Rule()),
    **dict.fromkeys(("Add", "AddV2", "Sub", "Mul", "Maximum", "Minimum"), Rule(_NUMBERS, integers="brought")),
    "FloorDiv": Rule(frozenset((INT32, INT64)), integers="shapes"),
    **dict.fromkeys(
        ("Less", "LessEqual", "Greater", "GreaterEqual"), Rule(frozenset((FLOAT, INT32)), integers="shapes")
    ),
    **dict.fromkeys(("Equal", "NotEqual"), Rule(frozenset((FLOAT, INT32)), check=_broadcasts, integers="shapes")),
    **dict.fromkeys(("LogicalAnd", "LogicalOr", "LogicalNot"), Rule(_TRUTHS)),
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"), Rule(check=_window)),
    "Conv3D": Rule(check=_volume),
    "Conv2DBackpropInput": Rule(values=(0,), check=_transposed),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), Rule(check=_inference)),
    **dict.fromkeys(("Mean", "Max", "Min"), Rule(fixed=(1,), check=_some_axes)),
    **dict.fromkeys(("Sum", "Prod"), Rule(_NUMBERS, fixed=(1,), check=_some_axes, integers="shapes")),
    "Einsum": Rule(check=_plain_einsum),
    "ResizeBilinear": Rule(values=(1,)),
    "ResizeNearestNeighbor": Rule(values=(1,), check=_sizes_resize),
    # What moves values about.
    **dict.fromkeys(("Identity", "StopGradient", "PreventGradient", "Pack", "ZerosLike", "OnesLike"), Rule(_ANY)),
    **dict.fromkeys(("Reshape", "Tile", "BroadcastTo"), Rule(_ANY, values=(1,))),
    **dict.fromkeys(("ExpandDims", "Transpose"), Rule(_ANY, fixed=(1,))),
    "ReverseV2": Rule(_ANY, fixed=(1,), check=_one_axis),
    "Squeeze": Rule(_ANY, check=_named_dimensions),
    "ConcatV2": Rule(_ANY, fixed=(-1,)),
    "Concat": Rule(_ANY, fixed=(0,)),
    "Unpack": Rule(_ANY, outputs=True),
    "Split": Rule(_ANY, fixed=(0,), outputs=True),
    "SplitV": Rule(_ANY, fixed=(1, 2), outputs=True),
    "StridedSlice": Rule(_ANY, fixed=(3,), values=(1, 2), check=_plain_masks),
    "Slice": Rule(_ANY, values=(1, 2)),
    "Pad": Rule(_NUMBERS, fixed=(1,)),
    "PadV2": Rule(_NUMBERS, fixed=(1, 2)),
    "MirrorPad": Rule(_NUMBERS, fixed=(1,)),
    "Fill": Rule(_ANY, values=(0,), fixed=(1,)),
    "GatherV2": Rule(_ANY, fixed=(1, 2), check=_plain_gather),
    **dict.fromkeys(("SpaceToDepth", "DepthToSpace"), Rule(check=_channels_last)),
    **dict.fromkeys(("SpaceToBatchND", "BatchToSpaceND"), Rule(fixed=(1, 2))),
    **dict.fromkeys(("Select", "SelectV2"), Rule(_NUMBERS)),
    "Cast": Rule(_ANY, check=_to_float),
    "OneHot": Rule(frozenset((FLOAT, INT32)), fixed=(1, 2, 3)),
    "Range": Rule(frozenset((INT32, INT64)), values=(0, 1, 2), integers="brought"),
    **dict.fromkeys(SHAPES, Rule(_ANY)),
    "ShapeN": Rule(_ANY, outputs=True),
    # Gradients, which are spelled out.
    **dict.fromkeys(("ReluGrad", "Relu6Grad", "LeakyReluGrad", "TanhGrad", "SigmoidGrad", "BiasAddGrad"), Rule()),
}


def is_heavy(nodes: Iterable[NodeDef]) -> bool:
    """Whether a convolution or a product of matrices is among the nodes."""
    return any(node.op in HEAVY for node in nodes)


def makes_passes(nodes: Iterable[NodeDef]) -> bool:
    """Whether the nodes pass over values so often that a cluster of them pays where these are large."""
    found = (node for node in nodes if node.op in _PASSES and FLOAT in types(node))
    return sum(1 for _ in islice(found, _LEAST_PASSES)) == _LEAST_PASSES


_TYPE_ATTRIBUTES = ("T", "SrcT", "DstT", "Tparams", "TI", "Ta", "Tb", "Tout")


@cache
def _type_attributes(op: str) -> tuple[str, ...]:
    definition = op_def(op)
    return tuple(a.name for a in definition.attr if a.name in _TYPE_ATTRIBUTES) if definition is not None else ()


def types(node: NodeDef) -> set[int]:
    """The dtypes of the values that a node computes with (of its sizes and axes, not)."""
    if node.op == "Range":
        return {_attr(node, "Tidx").type}
    if node.op.startswith("Logical"):
        return {BOOL}
    return {_attr(node, name).type for name in _type_attributes(node.op)}
