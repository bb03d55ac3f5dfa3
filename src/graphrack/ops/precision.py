"""Half and bfloat16: what is computed in float32 and rounded once at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import BFLOAT16, HALF, DType
from graphrack.ops.registry import Kernel


def is_narrow(T: DType) -> bool:
    """Whether values of this type are computed in float32."""
    return T.number in (HALF.number, BFLOAT16.number)


def number(T: DType, value: complex) -> Any:
    """A number of the dtype in which values of type `T` are computed.

    It is an array of rank 0: of an array and one of these, NumPy's functions take half the time that they take of an
    array and a number.
    """
    return np.array(value, np.float32 if is_narrow(T) else T.numpy)


def widened(T: DType, kernel: Kernel) -> Kernel:
    """The kernel for inputs of type `T`, where the given one is right for float32 and wider.

    For half and bfloat16 every input of that type arrives as float32, and every float32 result is
    rounded to it. Other types get the kernel itself.
    """
    if not is_narrow(T):
        return kernel
    narrow = T.numpy

    def widen(value: Any) -> Any:
        return value.astype(np.float32) if getattr(value, "dtype", None) == narrow else value

    def rounded(result: Any) -> Any:
        return result.astype(narrow) if result.dtype == np.float32 else result

    def run(*inputs: Any) -> Any:
        results = kernel(*map(widen, inputs))
        return tuple(map(rounded, results)) if isinstance(results, tuple) else rounded(results)

    return run
