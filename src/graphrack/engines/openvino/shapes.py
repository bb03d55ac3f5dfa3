"""Whether a cluster's inputs fit each other, told from their shapes alone.

Compiled for sizes that may change, OpenVINO checks less than TensorFlow does: it multiplies a [4,5] by a [3,2]
without a word. So the shapes of each new set of inputs go through the cluster's nodes here first; what doesn't fit
is left to the interpreter, which has the words for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Values = Sequence[Any]
"""For each input its value, None where none is known."""


class Misfit(ValueError):
    """Shapes that TensorFlow refuses, or that it isn't certain about here."""


def _require(fits: bool) -> None:
    if not fits:
        raise Misfit


def _same(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    return shapes[0]


def _broadcast(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise Misfit from None


def _channels_first(attributes: Mapping[str, Any]) -> bool:
    return bool(attributes.get("data_format", b"NHWC").startswith(b"NC"))


def _bias(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    value, bias = shapes
    _require(len(value) >= 2 and len(bias) == 1)
    _require(value[1 if _channels_first(attributes) else -1] == bias[0])
    return value


def _bias_gradient(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    _require(len(shapes[0]) >= 2)
    return (shapes[0][1 if _channels_first(attributes) else -1],)


def _batch_norm(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    value = shapes[0]
    _require(len(value) == 4)
    channels = value[1 if _channels_first(attributes) else 3]
    _require(all(shape == (channels,) for shape in shapes[1:]))
    return value


def _matmul(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    a, b = shapes
    _require(len(a) == len(b) == 2)
    a = a[::-1] if attributes.get("transpose_a") else a
    b = b[::-1] if attributes.get("transpose_b") else b
    _require(a[1] == b[0])
    return (a[0], b[1])


def _batch_matmul(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    a, b = shapes
    _require(len(a) >= 2 and len(b) >= 2)
    rows, inner = a[-2:][::-1] if attributes.get("adj_x") else a[-2:]
    inner_b, columns = b[-2:][::-1] if attributes.get("adj_y") else b[-2:]
    _require(inner == inner_b)
    return (*_broadcast((a[:-2], b[:-2]), values, attributes), rows, columns)


def _equal_batch_matmul(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    _require(shapes[0][:-2] == shapes[1][:-2])
    return _batch_matmul(shapes, values, attributes)


def _window(size: int, kernel: int, stride: int, dilation: int, padding: bytes, pads: Sequence[int]) -> int:
    reach = (kernel - 1) * dilation + 1
    count = -(-size // stride) if padding == b"SAME" else (size + sum(pads) - reach) // stride + 1
    _require(count > 0)
    return count


def _windows(value: Shape, kernel: Sequence[int], channels: int, attributes: Mapping[str, Any]) -> Shape:
    first, rank = _channels_first(attributes), len(value)
    at = range(2, rank) if first else range(1, rank - 1)
    strides, dilations = attributes["strides"], attributes.get("dilations") or (1,) * rank
    pads = attributes.get("explicit_paddings") or (0,) * (2 * rank)
    sizes = [
        _window(value[i], k, strides[i], dilations[i], attributes["padding"], pads[2 * i : 2 * i + 2])
        for i, k in zip(at, kernel, strict=True)
    ]
    return (value[0], channels, *sizes) if first else (value[0], *sizes, channels)


def _conv(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    value, kernel = shapes
    _require(len(value) == len(kernel) == (5 if attributes.get("data_format") == b"NDHWC" else 4))
    # Equal, not a multiple: grouped convolutions stay with the interpreter.
    _require(value[1 if _channels_first(attributes) else -1] == kernel[-2])
    return _windows(value, kernel[:-2], kernel[-1], attributes)


def _conv3d(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    return _conv(shapes, values, {**attributes, "data_format": b"NDHWC"})


def _conv_transposed(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    sizes, kernel, gradient = _whole(values[0]), shapes[1], shapes[2]
    _require(len(sizes) == 4 and _conv([sizes, kernel], values, attributes) == gradient)
    return sizes


def _depthwise(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    value, kernel = shapes
    _require(len(value) == len(kernel) == 4)
    _require(value[1 if _channels_first(attributes) else 3] == kernel[2])
    return _windows(value, kernel[:2], kernel[2] * kernel[3], attributes)


def _pool(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    value, size = shapes[0], attributes["ksize"]
    _require(len(value) == 4)
    at = (2, 3) if _channels_first(attributes) else (1, 2)
    channel = 1 if _channels_first(attributes) else 3
    _require(size[0] == size[channel] == 1)
    return _windows(value, [size[i] for i in at], value[channel], attributes)


def _axes(value: Any, rank: int) -> set[int]:
    axes = [int(a) for a in np.ravel(value)]
    _require(all(-rank <= a < rank for a in axes))
    return {a % rank for a in axes}


def _axis(value: Any, rank: int) -> int:
    _require(np.size(value) == 1)
    (axis,) = _axes(value, rank)
    return axis


def _whole(value: Any) -> Shape:
    """Sizes that a value gives; a `Misfit` where it isn't known."""
    _require(value is not None)
    return tuple(int(s) for s in np.ravel(value))


def _reduced(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    axes = _axes(values[1], len(shapes[0])) if shapes[0] else set()
    _require(len(axes) == np.size(values[1]))  # each of them once
    if attributes.get("keep_dims"):
        return tuple(1 if i in axes else s for i, s in enumerate(shapes[0]))
    return tuple(s for i, s in enumerate(shapes[0]) if i not in axes)


def _padded(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    pads = np.asarray(values[1])
    _require(pads.shape == (len(shapes[0]), 2) and bool((pads >= 0).all()))
    return tuple(int(s + p.sum()) for s, p in zip(shapes[0], pads, strict=True))


def _reshaped(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    target, count = _whole(values[1]), math.prod(shapes[0])
    _require(target.count(-1) <= 1 and all(s >= -1 for s in target))
    known = math.prod(s for s in target if s != -1)
    if -1 in target:
        _require(known > 0 and count % known == 0)
        return tuple(count // known if s == -1 else s for s in target)
    _require(known == count)
    return target


def _transposed(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    order = [int(i) for i in np.ravel(values[1])]
    _require(sorted(order) == list(range(len(shapes[0]))))
    return tuple(shapes[0][i] for i in order)


def _expanded(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    axis = _axis(values[1], len(shapes[0]) + 1)
    return (*shapes[0][:axis], 1, *shapes[0][axis:])


def _squeezed(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    axes = _axes(attributes.get("squeeze_dims") or [], len(shapes[0]))
    if not axes:
        return tuple(s for s in shapes[0] if s != 1)
    _require(all(shapes[0][a] == 1 for a in axes))
    return tuple(s for i, s in enumerate(shapes[0]) if i not in axes)


def _joined(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    *parts, _ = shapes
    first = parts[0]
    axis = _axis(values[-1], len(first))
    _require(all(len(p) == len(first) and all(i == axis or s == first[i] for i, s in enumerate(p)) for p in parts))
    return (*first[:axis], sum(p[axis] for p in parts), *first[axis + 1 :])


def _softmax(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    _require(len(shapes[0]) >= 1)
    return shapes[0]


def _mirrored(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    most = [size - (attributes["mode"] == b"REFLECT") for size in shapes[0]]
    padded = _padded(shapes, values, attributes)
    _require(all(max(p) <= m for p, m in zip(np.asarray(values[1]).tolist(), most, strict=True)))
    return padded


def _stacked(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    first = shapes[0]
    _require(all(shape == first for shape in shapes))
    axis = _axis(attributes.get("axis", 0), len(first) + 1)
    return (*first[:axis], len(shapes), *first[axis:])


def _joined_first(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    return _joined([*shapes[1:], shapes[0]], [*values[1:], values[0]], attributes)


def _all_same(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    _require(all(shape == shapes[0] for shape in shapes))
    return shapes[0]


def _tiled(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    times = _whole(values[1])
    _require(len(times) == len(shapes[0]) and all(t > 0 for t in times))
    return tuple(s * t for s, t in zip(shapes[0], times, strict=True))


def _broadcast_to(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    target = _whole(values[1])
    _require(_broadcast([shapes[0], target], values, attributes) == target)
    return target


def _filled(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    return _whole(values[0])


def _gathered(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    axis, picked = _axis(values[2], len(shapes[0])), np.asarray(values[1])
    _require(bool(((picked >= 0) & (picked < shapes[0][axis])).all()))
    return (*shapes[0][:axis], *shapes[1], *shapes[0][axis + 1 :])


def _one_hot(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    _require(not any(shapes[1:]))  # scalars
    axis = _axis(attributes.get("axis", -1), len(shapes[0]) + 1)
    return (*shapes[0][:axis], int(values[1]), *shapes[0][axis:])


def _selected(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    condition, one, other = shapes
    _require(one == other and (condition == one or (len(condition) == 1 and condition[0] == one[0])))
    return one


def _resized(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    size = _whole(values[1])
    _require(len(shapes[0]) == 4 and len(size) == 2 and min(size) > 0)
    return (shapes[0][0], *size, shapes[0][3])


def _resized_to_nearest(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    """Only where OpenVINO, which divides by the scale where TensorFlow multiplies by its inverse, finds the same."""
    resized = _resized(shapes, values, attributes)
    if not attributes.get("align_corners"):
        for before, after in zip(shapes[0][1:3], resized[1:3], strict=True):
            places = np.arange(after, dtype=np.float32)
            theirs = np.floor(places * (np.float32(before) / np.float32(after)))
            _require(np.array_equal(theirs, np.floor(places / (np.float32(after) / np.float32(before)))))
    return resized


def _to_depth(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    _require(len(shapes[0]) == 4)
    (batch, rows, columns, depth), block = shapes[0], attributes["block_size"]
    _require(rows % block == 0 and columns % block == 0)
    return (batch, rows // block, columns // block, depth * block * block)


def _from_depth(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    _require(len(shapes[0]) == 4)
    (batch, rows, columns, depth), block = shapes[0], attributes["block_size"]
    _require(depth % (block * block) == 0)
    return (batch, rows * block, columns * block, depth // (block * block))


def _to_batch(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    blocks, pads = _whole(values[1]), np.asarray(values[2]).tolist()
    _require(len(shapes[0]) > len(blocks) == len(pads))
    # Of fewer values than a block has, OpenVINO puts some in more places than one.
    _require(all(s >= b for s, b in zip(shapes[0][1:], blocks, strict=False)))
    inner = [s + sum(p) for s, p in zip(shapes[0][1:], pads, strict=False)]
    _require(all(s % b == 0 for s, b in zip(inner, blocks, strict=True)))
    sizes = (s // b for s, b in zip(inner, blocks, strict=True))
    return (shapes[0][0] * math.prod(blocks), *sizes, *shapes[0][len(blocks) + 1 :])


def _from_batch(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    blocks, crops = _whole(values[1]), np.asarray(values[2]).tolist()
    _require(len(shapes[0]) > len(blocks) == len(crops) and shapes[0][0] % math.prod(blocks) == 0)
    sizes = [s * b - sum(c) for s, b, c in zip(shapes[0][1:], blocks, crops, strict=False)]
    _require(min(sizes) > 0)
    return (shapes[0][0] // math.prod(blocks), *sizes, *shapes[0][len(blocks) + 1 :])


def _einsum(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    left, _, right = attributes["equation"].partition(b"->")
    sizes: dict[int, int] = {}
    for term, shape in zip(left.split(b","), shapes, strict=True):
        _require(len(term) == len(shape) and all(sizes.setdefault(k, s) == s for k, s in zip(term, shape, strict=True)))
    _require(all(letter in sizes for letter in right))
    return tuple(sizes[letter] for letter in right)


OUTPUT_SHAPES: dict[str, Callable[[Sequence[Shape], Values, Mapping[str, Any]], Shape]] = {
    **dict.fromkeys(("Square", "Sqrt", "Rsqrt", "Exp", "Log", "Sin", "Cos", "Neg", "Abs", "Sign", "Erf"), _same),
    **dict.fromkeys(("Floor", "Ceil", "Round", "Rint", "Reciprocal", "Inv", "LogicalNot", "Cast"), _same),
    **dict.fromkeys(("Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Sigmoid", "Tanh", "Softsign", "Softplus"), _same),
    **dict.fromkeys(("Identity", "StopGradient", "PreventGradient", "ZerosLike", "OnesLike", "ReverseV2"), _same),
    **dict.fromkeys(("ReluGrad", "Relu6Grad", "LeakyReluGrad", "TanhGrad", "SigmoidGrad"), _all_same),
    "Softmax": _softmax,
    **dict.fromkeys(("Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "DivNoNan", "FloorDiv", "Pow"), _broadcast),
    **dict.fromkeys(("Maximum", "Minimum", "SquaredDifference", "LogicalAnd", "LogicalOr", "SelectV2"), _broadcast),
    **dict.fromkeys(("Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual"), _broadcast),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _batch_norm),
    **dict.fromkeys(("BatchMatMulV2", "BatchMatMulV3"), _batch_matmul),
    **dict.fromkeys(("MaxPool", "AvgPool"), _pool),
    **dict.fromkeys(("Mean", "Sum", "Prod", "Max", "Min"), _reduced),
    **dict.fromkeys(("Pad", "PadV2"), _padded),
    "ResizeBilinear": _resized,
    "ResizeNearestNeighbor": _resized_to_nearest,
    "AddN": _all_same,
    "BatchMatMul": _equal_batch_matmul,
    "BatchToSpaceND": _from_batch,
    "BiasAdd": _bias,
    "BiasAddGrad": _bias_gradient,
    "BroadcastTo": _broadcast_to,
    "Concat": _joined_first,
    "ConcatV2": _joined,
    "Conv2D": _conv,
    "Conv2DBackpropInput": _conv_transposed,
    "Conv3D": _conv3d,
    "DepthToSpace": _from_depth,
    "DepthwiseConv2dNative": _depthwise,
    "Einsum": _einsum,
    "ExpandDims": _expanded,
    "Fill": _filled,
    "GatherV2": _gathered,
    "MatMul": _matmul,
    "MirrorPad": _mirrored,
    "OneHot": _one_hot,
    "Pack": _stacked,
    "Reshape": _reshaped,
    "Select": _selected,
    "SpaceToBatchND": _to_batch,
    "SpaceToDepth": _to_depth,
    "Squeeze": _squeezed,
    "Tile": _tiled,
    "Transpose": _transposed,
}
"""For each op of a cluster the shape of its output; they raise `Misfit`. The ops that only look at a shape, or
whose results are views, are missing: `inference.py` runs the interpreter's own kernels for them."""

ELEMENTWISE = frozenset(
    op
    for op, shape_of in OUTPUT_SHAPES.items()
    if shape_of in (_same, _broadcast, _all_same, _bias, _batch_norm, _selected)
)
"""Ops that compute every value of the result from one value of each operand."""
