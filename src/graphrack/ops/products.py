"""Matrix products of middling size, kept on one thread.

OpenBLAS gives a product to several threads from 4 x 65536 multiplications on (`interface/gemm.c`), and they wait
for each other by spinning. A millisecond's work gains little by that, and where other processes want the processor
too it takes ten times as long: such products are made in pieces that stay below the bound.
"""

from __future__ import annotations

import numpy as np

from graphrack.ops.runtime import Array

_ONE_THREAD = 1 << 18
_WORTH_THREADS = 1 << 22


def multiply(rows: Array, matrix: Array, out: Array) -> None:
    """`out[...] = rows @ matrix` for [..., n, k] and [..., k, m], in pieces of rows."""
    count, depth = rows.shape[-2:]
    step = _step(count, depth * matrix.shape[-1])
    if step >= count:
        np.matmul(rows, matrix, out=out)
        return
    for start in range(0, count, step):
        piece = (..., slice(start, start + step), slice(None))
        np.matmul(rows[piece], matrix, out=out[piece])


def add_product_of_columns(rows: Array, other: Array, total: Array) -> None:
    """`total += rows.T @ other` for [..., n, k] and [..., n, m], in pieces of the n that are summed."""
    count, depth = rows.shape[-2:]
    step = _step(count, depth * other.shape[-1])
    for start in range(0, count, step):
        piece = (..., slice(start, start + step), slice(None))
        total += np.matmul(np.swapaxes(rows[piece], -1, -2), other[piece])


def _step(count: int, work: int) -> int:
    """How many of `count` rows to multiply at a time, each of them `work` multiplications."""
    whole = count * work
    if not _ONE_THREAD < whole < _WORTH_THREADS or work > _ONE_THREAD:
        return max(count, 1)
    return _ONE_THREAD // work
