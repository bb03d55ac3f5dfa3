"""Reductions over axes given as a tensor, and the places of extremes."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from graphrack.formats.dtypes import INT64, DType
from graphrack.ops._arguments import axis_of, scalar
from graphrack.ops.arithmetic import truncate_divide
from graphrack.ops.blas import dot, matmul
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, Prepared, specialized
from graphrack.ops.runtime import Array

# NumPy's stubs know keepdims as a literal only.
_add: Kernel = np.add.reduce
_and: Kernel = np.logical_and.reduce
_multiply: Kernel = np.multiply.reduce
_or: Kernel = np.logical_or.reduce

STAGED_FROM = 16384
"""Sums of floats over fewer elements than this go to NumPy as they are."""


def _axes(reduction_indices: Array) -> tuple[int, ...]:
    """The axes, which TensorFlow takes in a tensor of any rank. NumPy checks range and repetition."""
    return tuple(reduction_indices.reshape(-1).tolist())


_FEW = 1024
"""Elements of which the product with ones takes a half to a seventh of the time of NumPy's sum, and is as exact."""

_ONES = {np.dtype(kind): np.ones(_FEW, kind) for kind in "fd"}

_LEAST_ROW, _LEAST_ROWS = 16, 32
"""Numbers in a row, and rows, from which on the product with ones is the sooner way to add rows."""


def float_sum(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Sums of floats; the rounding error of n summands grows with √n at most, not with n.

    NumPy adds pairwise along a contiguous last axis only; elsewhere it adds value after value. So axes
    are summed one at a time here (adjacent ones as one where memory allows), in parts where long.
    """
    size = x.size
    ones = _ONES.get(x.dtype) if size <= _FEW and x.ndim == 2 and len(axes) == 1 and not keep else None
    if ones is not None:
        (axis,) = axes
        if axis == 0 or axis == -2:
            return ones[: len(x)].dot(x)
        if axis == 1 or axis == -1:
            return x.dot(ones[: x.shape[1]])
    if size < STAGED_FROM:
        return _add(x, axes, None, None, keep)
    summed = set(normalize_axis_tuple(axes, x.ndim))
    kept = tuple(1 if i in summed else size for i, size in enumerate(x.shape))
    shape = kept if keep else tuple(size for i, size in enumerate(kept) if i not in summed)
    groups = [list(axes) for _, axes in groupby(range(x.ndim), summed.__contains__)]
    if x.flags.c_contiguous:
        x = x.reshape([math.prod(x.shape[i] for i in group) for group in groups])
    else:
        groups = [[i] for i in range(x.ndim)]
    for axis in reversed(range(x.ndim)):
        if groups[axis][0] in summed:
            x = _sum_along(x, axis)
    return x.reshape(shape)


def _sum_along(x: Array, axis: int) -> Any:
    length = x.shape[axis]
    last = axis == x.ndim - 1
    if last and length <= 8:
        # Whole columns at a time: NumPy's reduction of a short row costs as much as one of 50.
        total = x[..., :1] + x[..., 1:2] if length > 1 else x
        for i in range(2, length):
            total += x[..., i : i + 1]
        return total
    ones, after = _ONES.get(x.dtype), math.prod(x.shape[axis + 1 :])
    if ones is not None and (after == 1 or (after >= _LEAST_ROW and length >= _LEAST_ROWS)) and x.flags.c_contiguous:
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        return _sum_by_products(x.reshape(-1, length, after), ones).reshape(shape)
    if length < 256 or (last and x.strides[axis] == x.itemsize):
        return _add(x, axis, keepdims=True)
    parts = math.isqrt(length)
    whole = length - length % parts
    before = (slice(None),) * axis
    even, rest = (*before, slice(whole)), (*before, slice(whole, None))
    split = (*x.shape[:axis], parts, whole // parts, *x.shape[axis + 1 :])
    # Short rows are added many at a time, long ones one at a time.
    short = after < 64
    total = _add(x[even].reshape(split), axis if short else axis + 1)
    total = _add(total, axis, keepdims=True)
    if whole < length:
        total += _add(x[rest], axis, keepdims=True)
    return total


def _sum_by_products(x: Array, ones: Array) -> Any:
    """Sums along the second of three axes, by BLAS; of so many numbers at a time as there are ones."""
    before, length, after = x.shape
    if length > _FEW:
        whole = length - length % _FEW
        # All these are views: an axis that is cut in two needs no copy.
        parts = x[:, :whole].reshape(before, whole // _FEW, _FEW, after)
        total = _sum_by_products(_products(parts, ones).reshape(before, whole // _FEW, after), ones)
        if whole < length:
            total += _products(x[:, whole:], ones[: length - whole])
        return total
    return _products(x, ones[:length])


def _products(x: Array, ones: Array) -> Any:
    """Sums along the last axis but one."""
    if x.shape[-1] > 1:
        return matmul(ones[None], x)
    if x.flags.c_contiguous:
        return dot(x.reshape(-1, len(ones)), ones).reshape(*x.shape[:-2], 1, 1)
    return matmul(x[..., 0], ones[:, None])[..., None]


def _count(x: Array, axes: tuple[int, ...]) -> int:
    """How many elements go into each result."""
    return math.prod(x.shape[axis] for axis in axes)


def _is_float(T: DType) -> bool:
    return T.numpy.kind not in "biu"


def lowest(dtype: np.dtype[Any]) -> Any:
    """The least value of a real type: what a maximum starts from."""
    return dtype.type(np.iinfo(dtype).min if dtype.kind in "iu" else -math.inf)


def highest(dtype: np.dtype[Any]) -> Any:
    """The greatest value of a real type: what a minimum starts from."""
    return dtype.type(np.iinfo(dtype).max if dtype.kind in "iu" else math.inf)


def _reduction(T: DType, reduce: Callable[[Array, tuple[int, ...]], Any]) -> Kernel:
    """The kernel for a function of a tensor and axes that is right for float32 and wider."""
    return Prepared(widened(T, reduce), slice(1, None), _axes)


@specialized("Sum")
def Sum(*, T: DType, keep_dims: bool = False) -> Kernel:
    if _is_float(T):
        # For half TensorFlow rounds partial sums, in an order that depends on shapes and threads; here
        # sums are taken in float32 and rounded once.
        return _reduction(T, lambda x, axes: float_sum(x, axes, keep_dims) if axes else x)
    # NumPy alone would sum small integers in larger ones.
    return _reduction(T, lambda x, axes: _add(x, axes, x.dtype, keepdims=keep_dims))


@specialized("Mean")
def Mean(*, T: DType, keep_dims: bool = False) -> Kernel:
    of_none = 1 if T.numpy.kind == "c" else 0  # NaN, but zero of complex numbers

    def mean(x: Array, axes: tuple[int, ...]) -> Any:
        return float_sum(x, axes, keep_dims) / (_count(x, axes) or of_none)

    # Means of integers are rounded towards zero; their sums wrap around in 64 bits.
    dtype = T.numpy
    wide = np.uint64 if dtype.kind == "u" else np.int64

    def integer_mean(x: Array, axes: tuple[int, ...]) -> Any:
        total = _add(x, axes, wide, keepdims=keep_dims)
        return truncate_divide(total, wide(_count(x, axes) or 1)).astype(dtype)

    return _reduction(T, mean if _is_float(T) else integer_mean)


@specialized("Prod")
def Prod(*, T: DType, keep_dims: bool = False) -> Kernel:
    return _reduction(T, lambda x, axes: _multiply(x, axes, x.dtype, keepdims=keep_dims))


def _extreme(reduce: Kernel, identity: Any, keep: bool) -> Kernel:
    def run(x: Array, axes: tuple[int, ...]) -> Any:
        if x.size:
            return reduce(x, axes, keepdims=keep)
        return reduce(x, axes, keepdims=keep, initial=identity)

    return Prepared(run, slice(1, None), _axes)


@specialized("Max")
def Max(*, T: DType, keep_dims: bool = False) -> Kernel:
    return _extreme(np.maximum.reduce, lowest(T.numpy), keep_dims)


@specialized("Min")
def Min(*, T: DType, keep_dims: bool = False) -> Kernel:
    return _extreme(np.minimum.reduce, highest(T.numpy), keep_dims)


@specialized("All")
def All(*, keep_dims: bool = False) -> Kernel:
    return Prepared(lambda x, axes: _and(x, axes, keepdims=keep_dims), slice(1, None), _axes)


@specialized("Any")
def Any_(*, keep_dims: bool = False) -> Kernel:
    return Prepared(lambda x, axes: _or(x, axes, keepdims=keep_dims), slice(1, None), _axes)


@specialized("EuclideanNorm")
def EuclideanNorm(*, T: DType, keep_dims: bool = False) -> Kernel:
    def norm(x: Array, axes: tuple[int, ...]) -> Any:
        return np.sqrt(float_sum(x * np.conjugate(x), axes, keep_dims))

    # Squares and sums wrap around; the root of a negative sum is what a cast of NaN gives.
    def integer_norm(x: Array, axes: tuple[int, ...]) -> Any:
        total = _add(x * x, axes, x.dtype, keepdims=keep_dims)
        return np.sqrt(total.astype(np.float64)).astype(x.dtype)

    return _reduction(T, norm if _is_float(T) else integer_norm)


def _found_nan(x: Array, axis: int, places: Array) -> bool:
    """Whether NumPy's places of extremes are places of NaN: where there is one, it finds the first."""
    if x.size > 4096:
        x = np.take_along_axis(x, np.expand_dims(places, axis), axis)
    return bool(np.isnan(x).any())


def _place(find: Kernel, T: DType, output_type: DType, last: Any) -> Kernel:
    """The first place of an extreme along an axis. NaNs count as `last`, the least extreme value."""
    dtype = output_type.numpy
    has_nan = _is_float(T)

    def run(x: Array, dimension: Array) -> Any:
        if x.ndim > 7:
            raise ValueError(f"input must have at most 7 dimensions, got shape {x.shape}")
        axis = axis_of(scalar("dimension", dimension), x.ndim, "dimension")
        if not x.shape[axis]:
            raise ValueError(f"input has no elements along dimension {axis}: its shape is {x.shape}")
        places = find(x, axis)
        if has_nan and _found_nan(x, axis, places):
            places = find(np.where(np.isnan(x), last, x), axis)
        return places.astype(dtype)

    return run


@specialized("ArgMax")
def ArgMax(*, T: DType, output_type: DType = INT64) -> Kernel:
    return _place(np.argmax, T, output_type, lowest(T.numpy) if T.numpy.kind != "b" else False)


@specialized("ArgMin")
def ArgMin(*, T: DType, output_type: DType = INT64) -> Kernel:
    return _place(np.argmin, T, output_type, highest(T.numpy) if T.numpy.kind != "b" else True)
