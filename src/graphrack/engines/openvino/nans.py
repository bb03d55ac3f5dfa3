"""NaN that arises in a cluster, or is among its constants, and the nodes that must not drop it.

What runs bring into it is finite, but log(-1), sqrt(-1) and 0 / 0 aren't, and OpenVINO's kernels of some ops give a
number for NaN. Where one of these may get such a value, it is spelled by ops that keep NaN (`frontend.py`). That costs
little, but fusions; so what can't be NaN by its sign is left as it is: the square root of a variance plus epsilon, say.
Sums that leave float32's range, whose difference is NaN then, aren't looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrack.engines.openvino.compiled import Part, Source
from graphrack.engines.openvino.ops import SHAPES
from graphrack.ops.blas import dot

DROPPING = frozenset(("Relu", "Relu6", "Exp", "Maximum", "Minimum", "Max", "Min"))
"""Ops whose kernels give a number where an operand is NaN."""

# Large weights are filters and matrices, of either sign.
_MOST_VALUES = 1 << 16
# Whose results are no numbers that could be NaN, whatever goes in.
_CLEAN = SHAPES | {"ZerosLike", "OnesLike", "Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual"}
# What is known of values: nothing, that none is negative, that all are positive.
_ANY, _NOT_NEGATIVE, _POSITIVE = range(3)
_NEVER_NEGATIVE = frozenset(
    ("Square", "SquaredDifference", "Abs", "Relu", "Relu6", "Exp", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Rsqrt")
)
# Whose results have the sign of what goes in first.
_OF_ONE_SIGN = frozenset(
    ("Identity", "StopGradient", "PreventGradient", "Reshape", "Tile", "BroadcastTo", "ExpandDims", "Transpose",
     "ReverseV2", "Squeeze", "StridedSlice", "Slice", "GatherV2", "Mean", "Sum", "Max", "Min", "Sqrt", "Cast")
)  # fmt: skip


def to_keep_nan(parts: Sequence[Part], values: Mapping[str, Any]) -> set[str]:
    """The names of nodes that drop NaN and may get some.

    Attributes:
        parts: in an order in which they can run.
        values: of constants and weights, by name, as far as they are known when it is compiled.
    """
    signs = {Source(name, 0): _sign_of(np.asarray(value)) for name, value in values.items()}
    fixed, found = set(signs), set[str]()
    doubtful = {name for name, value in values.items() if not finite(np.asarray(value))}
    for part in parts:
        own = [signs.get(source, _ANY) for source in part.inputs]
        signs[Source(part.name, 0)] = _sign(part.op, own)
        if part.inputs and fixed.issuperset(part.inputs):
            fixed.add(Source(part.name, 0))  # of weights alone: no run changes it
        reached = any(source.name in doubtful for source in part.inputs)
        if reached and part.op in DROPPING:
            found.add(part.name)
        makes = Source(part.name, 0) not in fixed and _makes(part, own, values)
        if part.op not in _CLEAN and (reached or makes):
            doubtful.add(part.name)
    return found


def finite(array: np.ndarray[Any, Any]) -> bool:
    """Whether an array holds neither NaN nor an infinity."""
    if array.dtype.kind != "f":
        return True
    flat = array.reshape(-1)
    # One pass of BLAS tells, but where squares overflow.
    return math.isfinite(dot(flat, flat)) or bool(np.isfinite(flat).all())


def _sign_of(value: np.ndarray[Any, Any]) -> int:
    if value.dtype.kind not in "fi" or not 0 < value.size <= _MOST_VALUES:
        return _ANY
    least = value.min()
    return _POSITIVE if least > 0 else _NOT_NEGATIVE if least == 0 else _ANY


def _sign(op: str, own: Sequence[int]) -> int:
    if op in _OF_ONE_SIGN and own[0] == _POSITIVE:
        return _POSITIVE
    if op in _NEVER_NEGATIVE or (op in _OF_ONE_SIGN and own[0]):
        return _NOT_NEGATIVE
    if op in ("Add", "AddV2") and all(own):
        return max(own)
    if op == "Maximum":
        return max(own)
    if op in ("Mul", "RealDiv", "Div") and all(own):
        return _NOT_NEGATIVE  # what is too small is 0
    return _ANY


def _makes(part: Part, own: Sequence[int], values: Mapping[str, Any]) -> bool:
    """Whether NaN, or an infinity that becomes one, may come of numbers."""
    if part.op == "Sqrt":
        return own[0] == _ANY
    if part.op in ("Log", "Rsqrt", "Reciprocal", "Inv"):
        return own[0] != _POSITIVE
    if part.op in ("RealDiv", "Div"):
        divisor = values.get(part.inputs[1].name)
        return own[1] != _POSITIVE and (divisor is None or not np.all(divisor))
    if part.op == "Pow":
        exponent = values.get(part.inputs[1].name)
        return own[0] != _POSITIVE and (exponent is None or bool(np.any((exponent < 0) | (exponent % 1 != 0))))
    return False
