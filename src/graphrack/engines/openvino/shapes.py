"""Whether a cluster's inputs fit each other, told from their shapes alone.

Compiled for sizes that may change, OpenVINO checks less than TensorFlow does: it multiplies a [4,5] by a [3,2]
without a word. So the shapes of each new set of inputs go through the cluster's nodes here first; what doesn't fit
is left to the interpreter, which has the words for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrack.engines.openvino.compiled import ClusterProgram

Shape = tuple[int, ...]
Values = Sequence[Any]
"""For each input its constant value, None where it has none."""


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


def _window(size: int, kernel: int, stride: int, dilation: int, padding: bytes) -> int:
    reach = (kernel - 1) * dilation + 1
    count = -(-size // stride) if padding == b"SAME" else (size - reach) // stride + 1
    _require(count > 0)
    return count


def _windows(value: Shape, kernel: Sequence[int], channels: int, attributes: Mapping[str, Any]) -> Shape:
    first = _channels_first(attributes)
    at = (2, 3) if first else (1, 2)
    strides, dilations = attributes["strides"], attributes.get("dilations", (1, 1, 1, 1))
    sizes = [
        _window(value[i], k, strides[i], dilations[i], attributes["padding"]) for i, k in zip(at, kernel, strict=True)
    ]
    return (value[0], channels, *sizes) if first else (value[0], *sizes, channels)


def _conv(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    value, kernel = shapes
    _require(len(value) == len(kernel) == 4)
    # Equal, not a multiple: grouped convolutions stay with the interpreter.
    _require(value[1 if _channels_first(attributes) else 3] == kernel[2])
    return _windows(value, kernel[:2], kernel[3], attributes)


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


def _reduced(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    axes = _axes(values[1], len(shapes[0])) if shapes[0] else set()
    if attributes.get("keep_dims"):
        return tuple(1 if i in axes else s for i, s in enumerate(shapes[0]))
    return tuple(s for i, s in enumerate(shapes[0]) if i not in axes)


def _padded(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    pads = np.asarray(values[1])
    _require(pads.shape == (len(shapes[0]), 2) and bool((pads >= 0).all()))
    return tuple(int(s + p.sum()) for s, p in zip(shapes[0], pads, strict=True))


def _reshaped(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    target, count = [int(s) for s in np.ravel(values[1])], math.prod(shapes[0])
    _require(target.count(-1) <= 1 and all(s >= -1 for s in target))
    known = math.prod(s for s in target if s != -1)
    if -1 in target:
        _require(known > 0 and count % known == 0)
        return tuple(count // known if s == -1 else s for s in target)
    _require(known == count)
    return tuple(target)


def _transposed(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    order = [int(i) for i in np.ravel(values[1])]
    _require(sorted(order) == list(range(len(shapes[0]))))
    return tuple(shapes[0][i] for i in order)


def _expanded(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    (axis,) = _axes(values[1], len(shapes[0]) + 1)
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
    (axis,) = _axes(values[-1], len(first))
    _require(all(len(p) == len(first) and all(i == axis or s == first[i] for i, s in enumerate(p)) for p in parts))
    return (*first[:axis], sum(p[axis] for p in parts), *first[axis + 1 :])


def _softmax(shapes: Sequence[Shape], values: Values, attributes: Mapping[str, Any]) -> Shape:
    _require(len(shapes[0]) >= 1)
    return shapes[0]


OUTPUT_SHAPES: dict[str, Callable[[Sequence[Shape], Values, Mapping[str, Any]], Shape]] = {
    **dict.fromkeys(("Square", "Sqrt", "Rsqrt", "Exp", "Neg", "Abs", "Erf", "Identity"), _same),
    **dict.fromkeys(("Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh"), _same),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "SquaredDifference"), _broadcast),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _batch_norm),
    **dict.fromkeys(("BatchMatMul", "BatchMatMulV2"), _batch_matmul),
    **dict.fromkeys(("MaxPool", "AvgPool"), _pool),
    **dict.fromkeys(("Mean", "Sum", "Max", "Min"), _reduced),
    "BiasAdd": _bias,
    "MatMul": _matmul,
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "Pad": _padded,
    "Reshape": _reshaped,
    "Transpose": _transposed,
    "ExpandDims": _expanded,
    "Squeeze": _squeezed,
    "ConcatV2": _joined,
}
"""For each op of a cluster the shape of its output; they raise `Misfit`."""


class Inference:
    """The shapes of all of a cluster's tensors, given those of its inputs."""

    def __init__(self, program: ClusterProgram):
        self._program = program

    def key(self, inputs: Sequence[np.ndarray[Any, Any]]) -> Hashable:
        """What the shapes depend on."""
        return tuple(a.shape for a in inputs)

    def run(self, inputs: Sequence[np.ndarray[Any, Any]], weights: Sequence[np.ndarray[Any, Any]]) -> None:
        """Raises `Misfit` where the inputs don't fit the nodes, or a tensor is empty."""
        program = self._program
        known: dict[tuple[str, int], Shape] = {(n, 0): np.shape(c) for n, c in program.constants.items()}
        known.update(((given.name, 0), value.shape) for given, value in zip(program.inputs, inputs, strict=True))
        known.update(((name, 0), value.shape) for name, value in zip(program.weights, weights, strict=True))
        _require(not any(0 in shape for shape in known.values()))
        for part in program.parts:
            values = [program.constants.get(source.name) for source in part.inputs]
            output = OUTPUT_SHAPES[part.op]([known[source] for source in part.inputs], values, part.attributes)
            _require(0 not in output)
            known[part.name, 0] = output
