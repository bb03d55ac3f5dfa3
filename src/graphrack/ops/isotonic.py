"""Isotonic regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import FLOAT, DType
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array


@specialized("IsotonicRegression", outputs=2)
def IsotonicRegression(*, T: DType, output_dtype: DType = FLOAT) -> Kernel:
    """The nearest rows that never increase, by pooling adjacent violators; and the pool of each element."""
    kind = output_dtype.numpy

    def pools_of(row: Array) -> list[list[Any]]:
        """[sum, count, mean] of each pool: a new element joins the pools before it that are less."""
        pools: list[list[Any]] = []
        for value in row:
            pool = [value, 1, value]
            while pools and pool[2] > pools[-1][2]:
                before = pools.pop()
                total, count = before[0] + pool[0], before[1] + pool[1]
                pool = [total, count, total / kind.type(count)]
            pools.append(pool)
        return pools

    def run(input: Array) -> tuple[Array, Array]:
        rows = np.atleast_1d(input).astype(kind, copy=False)
        output, segments = np.empty(rows.shape, kind), np.empty(rows.shape, np.int32)
        for place in np.ndindex(rows.shape[:-1]):
            pools = pools_of(rows[place])
            counts = [pool[1] for pool in pools]
            if counts:
                output[place] = np.repeat(np.array([pool[2] for pool in pools], kind), counts)
                segments[place] = np.repeat(np.arange(len(counts)), counts)
        return output.reshape(input.shape), segments.reshape(input.shape)

    return run
