"""Comparisons and logic of booleans."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.registry import Kernel, op, register, specialized
from graphrack.ops.runtime import Array

register("Less", np.less)
register("LessEqual", np.less_equal)
register("Greater", np.greater)
register("GreaterEqual", np.greater_equal)
register("LogicalAnd", np.logical_and)
register("LogicalOr", np.logical_or)
register("LogicalNot", np.logical_not)


def _tolerant(compare: Kernel, answer: bool) -> Kernel:
    """The comparison, with one answer for shapes that don't broadcast."""

    def run(x: Array, y: Array) -> Any:
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            return np.bool_(answer)
        return compare(x, y)

    return run


def _plain(compare: Kernel, T: DType) -> Kernel:
    """The comparison for NumPy's form of quantized types too: records of one field."""
    if T.numpy.names is None:
        return compare
    base = T.numpy[0]
    return lambda x, y: compare(x.view(base), y.view(base))


@specialized("Equal")
def Equal(*, T: DType, incompatible_shape_error: bool = True) -> Kernel:
    compare = _plain(np.equal, T)
    return compare if incompatible_shape_error else _tolerant(compare, False)


@specialized("NotEqual")
def NotEqual(*, T: DType, incompatible_shape_error: bool = True) -> Kernel:
    compare = _plain(np.not_equal, T)
    return compare if incompatible_shape_error else _tolerant(compare, True)


@op("ApproximateEqual")
def ApproximateEqual(x: Array, y: Array, *, tolerance: float = 1e-5) -> Any:
    if x.shape != y.shape:
        raise ValueError(f"x and y must have one shape, got {x.shape} and {y.shape}")
    return np.abs(x - y) <= x.dtype.type(tolerance)
