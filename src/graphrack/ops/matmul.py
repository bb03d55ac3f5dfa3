"""Matrix products. Those of floats go to BLAS, which takes transposed operands without copies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphrack.formats.dtypes import FLOAT, DType
from graphrack.ops import blas
from graphrack.ops.precision import is_narrow, widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

# grad_a, grad_b, grad_x and grad_y, which some of these ops have, tell compilers of gradients where
# operands come from, as do a_is_sparse and b_is_sparse; results don't depend on them.

BLAS_FROM = 1 << 15
"""Products of integers of more multiplications than this may go to BLAS, as float64."""


def integer_matmul(x: Array, y: Array) -> Any:
    """`np.matmul` of integers of one type; by BLAS where no sum can exceed what float64 holds exactly."""
    if x.size * y.shape[-1] > BLAS_FROM and y.size:
        largest = (max(abs(int(v.min())), abs(int(v.max()))) for v in (x, y))
        if math.prod(largest) * x.shape[-1] < 2**53:
            exact = blas.matmul(x.astype(np.float64), y.astype(np.float64))
            return exact.astype(np.int64).astype(x.dtype)
    return np.matmul(x, y)


@specialized("MatMul")
def MatMul(*, T: DType, transpose_a: bool = False, transpose_b: bool = False) -> Kernel:
    product = integer_matmul if T.numpy.kind in "iu" else blas.dot

    def run(a: Array, b: Array) -> Any:
        if not a.ndim == b.ndim == 2:
            raise ValueError(f"operands must be matrices, got shapes {a.shape} and {b.shape}")
        return product(a.T if transpose_a else a, b.T if transpose_b else b)

    return widened(T, run)


@specialized("SparseMatMul")
def SparseMatMul(
    *, transpose_a: bool = False, transpose_b: bool = False, Ta: DType = FLOAT, Tb: DType = FLOAT
) -> Kernel:
    product = MatMul(T=FLOAT, transpose_a=transpose_a, transpose_b=transpose_b)
    if not is_narrow(Ta) and not is_narrow(Tb):
        return product
    return lambda a, b: product(a.astype(np.float32), b.astype(np.float32))


def _adjoint(x: Array) -> Any:
    return np.conjugate(x.swapaxes(-1, -2)) if x.dtype.kind == "c" else x.swapaxes(-1, -2)


def batch_matmul(x: Array, y: Array) -> Any:
    """Products of the last two dimensions; the ones before broadcast."""
    if x.dtype.kind in "iu":
        return integer_matmul(x, y)
    if y.ndim == 2 and x.ndim > 2 and x.size and x.flags.c_contiguous:
        # One product of large matrices instead of many of small ones.
        return blas.matmul(x.reshape(-1, x.shape[-1]), y).reshape(*x.shape[:-1], y.shape[1])
    return blas.matmul(x, y)


def _batched(adj_x: bool, adj_y: bool, broadcast: bool) -> Kernel:
    def run(x: Array, y: Array) -> Any:
        if x.ndim < 2 or y.ndim < 2:
            raise ValueError(f"operands must have at least 2 dimensions, got shapes {x.shape} and {y.shape}")
        if not broadcast and x.shape[:-2] != y.shape[:-2]:
            raise ValueError(f"operands must have the same batch dimensions, got {x.shape} and {y.shape}")
        return batch_matmul(_adjoint(x) if adj_x else x, _adjoint(y) if adj_y else y)

    return run


@specialized("BatchMatMul")
def BatchMatMul(*, T: DType, adj_x: bool = False, adj_y: bool = False) -> Kernel:
    return widened(T, _batched(adj_x, adj_y, broadcast=False))


@specialized("BatchMatMulV2")
def BatchMatMulV2(*, T: DType, adj_x: bool = False, adj_y: bool = False) -> Kernel:
    return widened(T, _batched(adj_x, adj_y, broadcast=True))


@specialized("BatchMatMulV3")
def BatchMatMulV3(*, Ta: DType, Tb: DType, Tout: DType, adj_x: bool = False, adj_y: bool = False) -> Kernel:
    product = _batched(adj_x, adj_y, broadcast=True)
    # Sums of half and bfloat16 are taken in float32, as are those of two types of narrow floats.
    between = np.dtype(np.float32) if is_narrow(Tout) else Tout.numpy
    dtype = Tout.numpy

    def run(x: Array, y: Array) -> Any:
        out = product(x.astype(between, copy=False), y.astype(between, copy=False))
        return out.astype(dtype, copy=False)

    return run
