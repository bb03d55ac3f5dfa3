"""What a node costs, by the interpreter and in a cluster, as far as shapes tell.

The rates are rough: measured on two cores of present servers' CPUs, and good to a factor of two elsewhere. They decide
whether a cluster pays, which is a matter of factors of ten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from graphrack.engines.openvino.compiled import Part

Shape = tuple[int, ...]


class Cost(NamedTuple):
    """Seconds by the interpreter, and in a cluster."""

    interpreter: float
    openvino: float

    def __add__(self, other: object) -> Cost:
        assert isinstance(other, Cost)
        return Cost(self.interpreter + other.interpreter, self.openvino + other.openvino)

    @property
    def magnitude(self) -> int:
        """The interpreter's seconds as a power of two: work of one magnitude is thought to be alike."""
        return math.frexp(self.interpreter)[1]


CALL = Cost(0.0, 12e-6)
"""What every run of a cluster costs, whatever is in it."""

COMPILED_BYTES_PER_S = 250e6
"""Of weights that are put in order for it."""

RESHAPING = 30e-6
"""Seconds per node that OpenVINO takes to get ready for other shapes than those of its last run."""

# Per node: the interpreter's step; what OpenVINO does per node that it hasn't fused with another.
_STEP, _NODE = 0.8e-6, 0.8e-6
# Seconds per multiplication-and-addition.
_MATRIX, _CONV, _CONV_BY_CHANNEL, _DENSE = 1 / 60e9, 1 / 45e9, 1 / 5e9, 1 / 90e9
# Seconds per byte of a matrix, which bound a product with few rows: from a cache, or from memory.
_CACHED, _BYTE, _CACHE = Cost(1 / 78e9, 1 / 130e9), Cost(1 / 20e9, 1 / 25e9), 1 << 25
# BLAS puts a matrix in order before it multiplies by it, but not for one row: what it takes more for a few rows.
_ORDERING = 1 / 60e9
# Seconds per value: of an elementwise op, and what those of more work take more; fused ones cost OpenVINO little.
_VALUE, _FUSED = 0.15e-9, 0.1e-9
_SLOW = {
    **dict.fromkeys(("Exp", "Log", "Sqrt", "Rsqrt", "LeakyRelu", "Relu6", "Select", "SelectV2"), 0.5e-9),
    **dict.fromkeys(("Sin", "Cos", "Tanh", "Sigmoid", "Softsign"), 0.8e-9),
    **dict.fromkeys(("Elu", "Selu", "Softplus", "Pow"), 2e-9),
    **dict.fromkeys(("Softmax", "Erf"), 3e-9),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), 0.5e-9),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor"), 3e-9),
}
_RESIZING = frozenset(("ResizeBilinear", "ResizeNearestNeighbor"))
_VIEWS = frozenset(
    ("Identity", "StopGradient", "PreventGradient", "Reshape", "Squeeze", "ExpandDims", "StridedSlice", "Slice",
     "Split", "SplitV", "Unpack", "Transpose", "BroadcastTo", "Shape", "Size", "Rank")
)  # fmt: skip


def cost_of(part: Part, shapes: Sequence[Shape], output: Shape) -> Cost:
    """What a node costs.

    Attributes:
        shapes: of its inputs.
        output: the shape of its (first) output.
    """
    values, op = math.prod(output), part.op
    if op in ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
        a, b = shapes[0], shapes[1]
        inner = math.prod(a[-2:]) // output[-2]
        work, read = values * inner, 4 * math.prod(b)
        reading = _CACHED if read < _CACHE else _BYTE
        return Cost(
            _STEP + max(work * _MATRIX + (read * _ORDERING if output[-2] > 1 else 0.0), read * reading.interpreter),
            _NODE + max(work * _DENSE, read * reading.openvino),
        )
    if op in ("Conv2D", "Conv3D"):
        work = values * math.prod(shapes[1][:-1])
        return Cost(15 * _STEP + work * _CONV + values * _VALUE, _NODE + work * _DENSE)
    if op == "Conv2DBackpropInput":
        work = math.prod(shapes[2]) * math.prod(shapes[1][:-1])
        return Cost(15 * _STEP + work * _CONV + values * _VALUE, _NODE + work * _DENSE)
    if op == "DepthwiseConv2dNative":
        work = values * math.prod(shapes[1][:2])
        return Cost(15 * _STEP + work * _CONV_BY_CHANNEL, _NODE + work / 8e9)
    if op == "Einsum":
        letters: dict[int, int] = {}
        for term, shape in zip(part.attributes["equation"].partition(b"->")[0].split(b","), shapes, strict=True):
            letters.update(zip(term, shape, strict=True))
        work = math.prod(letters.values())
        return Cost(15 * _STEP + work * _MATRIX, 3 * _NODE + work * _DENSE)
    if op in ("MaxPool", "AvgPool"):
        work = values * math.prod(part.attributes["ksize"])
        return Cost(15 * _STEP + work * _VALUE, _NODE + work * _FUSED)
    if op in _VIEWS:
        return Cost(_STEP, _NODE / 4)
    moved = values if op in _RESIZING or not shapes else max(values, math.prod(shapes[0]))
    return Cost(_STEP + moved * (_VALUE + _SLOW.get(op, 0.0)), _NODE / 2 + moved * _FUSED)


_SLOWER_WITH_ANY_FILTER = frozenset(("Conv2D", "Conv3D", "Conv2DBackpropInput", "DepthwiseConv2dNative"))


def with_any_weights(part: Part, cost: Cost) -> Cost:
    """What a node costs whose weights aren't known when it is compiled: convolutions put them in order in every run.

    That is most of a run on one image, and little of one on many. But where a model trains on many, the activations
    that its gradients take are in memory twice, in OpenVINO's order and in TensorFlow's: three or four times what the
    interpreter needs in all, for a quarter less time.
    """
    return cost._replace(openvino=4 * cost.openvino) if part.op in _SLOWER_WITH_ANY_FILTER else cost


def compiling(parts: Sequence[Part], bytes_of_weights: int) -> float:
    """Seconds that compiling a cluster takes, roughly: each convolution gets code of its own, weights another order."""
    convolutions = sum(part.op in _SLOWER_WITH_ANY_FILTER for part in parts)
    return 0.06 + 0.8e-3 * len(parts) + 7e-3 * convolutions + bytes_of_weights / COMPILED_BYTES_PER_S
