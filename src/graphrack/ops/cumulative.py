"""Running sums, products and log-sum-exps along one axis, given as a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import axis_of, scalar
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array


def _scan(ufunc: np.ufunc, start: Any, exclusive: bool, reverse: bool) -> Kernel:
    """Accumulates in the input's own type, rounding at each step as TensorFlow does.

    Attributes:
        start: what comes first where the scan is exclusive.
    """

    def run(x: Array, axis: Array) -> Any:
        along = axis_of(scalar("axis", axis), x.ndim)
        before: tuple[Any, ...] = (slice(None),) * along
        backwards = (*before, slice(None, None, -1))
        if reverse:
            x = x[backwards]
        if not exclusive:
            out = ufunc.accumulate(x, along, x.dtype)
        else:
            out = np.empty(x.shape, x.dtype)
            if x.shape[along]:
                first, rest, most = (*before, 0), (*before, slice(1, None)), (*before, slice(-1))
                out[first] = start
                ufunc.accumulate(x[most], along, x.dtype, out=out[rest])
        return out[backwards] if reverse else out

    return run


@specialized("Cumsum")
def Cumsum(*, exclusive: bool = False, reverse: bool = False) -> Kernel:
    return _scan(np.add, 0, exclusive, reverse)


@specialized("Cumprod")
def Cumprod(*, exclusive: bool = False, reverse: bool = False) -> Kernel:
    return _scan(np.multiply, 1, exclusive, reverse)


@specialized("CumulativeLogsumexp")
def CumulativeLogsumexp(*, T: DType, exclusive: bool = False, reverse: bool = False) -> Kernel:
    # NaN, once met, stays, and the sum of two infinities is infinite; TensorFlow has no rule for either.
    return widened(T, _scan(np.logaddexp, -np.inf, exclusive, reverse))
