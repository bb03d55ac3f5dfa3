"""Bitwise operations on integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.registry import Kernel, register, specialized
from graphrack.ops.runtime import Array

register("BitwiseAnd", np.bitwise_and)
register("BitwiseOr", np.bitwise_or)
register("BitwiseXor", np.bitwise_xor)
register("Invert", np.invert)


def _shift(shift: Kernel, T: DType) -> Kernel:
    # Distances outside of the type's bits are taken as the nearest one inside.
    most = T.numpy.type(8 * T.itemsize - 1)
    none = T.numpy.type(0)

    def run(x: Array, y: Array) -> Any:
        return shift(x, np.minimum(np.maximum(y, none), most))

    return run


@specialized("LeftShift")
def LeftShift(*, T: DType) -> Kernel:
    return _shift(np.left_shift, T)


@specialized("RightShift")
def RightShift(*, T: DType) -> Kernel:
    return _shift(np.right_shift, T)


@specialized("PopulationCount")
def PopulationCount(*, T: DType) -> Kernel:
    # NumPy counts the bits of absolute values.
    unsigned = np.dtype(f"u{T.itemsize}")
    return lambda x: np.bitwise_count(x.view(unsigned))
