"""What needs an order or equality of elements: TopK, NthElement, InTopK, Unique, ListDiff, LowerBound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphrack.formats.dtypes import INT32, DType
from graphrack.ops._arguments import axis_of, scalar, vector
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array

# ---- Largest ----


@specialized("TopK", outputs=2)
def TopK(*, k: int, sorted: bool = True) -> Any:
    # Always sorted: what order `sorted=False` gives is unspecified.
    return lambda input: _top_k(input, k, np.int32)


@specialized("TopKV2", outputs=2)
def TopKV2(*, sorted: bool = True, index_type: DType = INT32) -> Any:
    dtype = index_type.numpy
    return lambda input, k: _top_k(input, scalar("k", k), dtype)


@specialized("ApproxTopK", outputs=2)
def ApproxTopK(
    *,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    is_max_k: bool = True,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> Any:
    """Exact, as on TensorFlow's CPU, which has kernels for the largest along the last dimension alone."""
    if reduction_dimension != -1 or not is_max_k:
        raise ValueError(
            "ApproxTopK finds the largest along the last dimension, expected reduction_dimension -1 and is_max_k, "
            f"got {reduction_dimension} and {is_max_k}; use TopKV2 of a transposed or negated input"
        )
    return lambda input: _top_k(input, k, np.int32)


def _top_k(input: Array, k: int, index_type: Any) -> tuple[Array, Array]:
    """The k largest of the last axis, largest first, of equal ones the first; NaN counts as largest."""
    if not input.ndim or not 0 <= k <= input.shape[-1]:
        raise ValueError(
            f"k must be at least 0 and at most the size of the input's last dimension, got {k} for "
            f"an input of shape {input.shape}"
        )
    size = input.shape[-1]
    if input.size <= _AT_ONCE or not k:
        order = _largest(input, k)
    else:
        rows = input.reshape(-1, size)
        step = max(_AT_ONCE // size, 1)
        parts = [_largest(rows[first : first + step], k) for first in range(0, len(rows), step)]
        order = np.concatenate(parts).reshape(*input.shape[:-1], k)
    return _along(input, order), order.astype(index_type)


def _along(values: Array, order: Array) -> Array:
    """What `np.take_along_axis` gives for the last axis, in a third of the time where there are few values."""
    size = values.shape[-1]
    if values.ndim == 1:
        return values.take(order)
    if not order.size:
        return np.empty(order.shape, values.dtype)
    starts = np.arange(0, values.size, size)[:, None]
    places = order.reshape(len(starts), -1) + starts
    return values.reshape(-1).take(places).reshape(order.shape)


_AT_ONCE = 1 << 18
"""Elements of which the largest are looked for at a time, since that takes several arrays of as many."""


_SORTED_SOONER = 2048
"""Elements that take less time to sort than the largest of them to find without."""


def _largest(input: Array, k: int) -> Any:
    """The indices of the k largest of the last axis."""
    size, keys = input.shape[-1], _native(input)
    if k == 1 and keys.size:
        return keys.argmax(axis=-1, keepdims=True)
    if 0 < k * 8 < size and keys.size > _SORTED_SOONER and not (keys.dtype.kind == "f" and np.isnan(keys).any()):
        return _top_few(keys.reshape(-1, size), k).reshape((*input.shape[:-1], k))
    return _descending(keys, k)


def _native(values: Array) -> Array:
    """The values in a dtype that NumPy sorts by itself: bfloat16 becomes float32, which is exact."""
    return values.astype(np.float32) if values.dtype.kind == "V" else np.asarray(values)


def _descending(keys: Array, k: int) -> Any:
    """Indices that sort the last axis from large to small and keep the order of equal elements: the first k of them."""
    # A stable sort of the reversed axis, reversed again: negating would break the smallest integer.
    back = keys[..., ::-1].argsort(axis=-1, kind="stable")[..., ::-1]
    return keys.shape[-1] - 1 - back[..., :k]


def _top_few(keys: Array, k: int) -> Array:
    """As `_descending`, only the first k of each row of a matrix without NaN; no row is sorted in full."""
    size = keys.shape[1]
    least = np.partition(keys, size - k, axis=1)[:, size - k, None]
    above, equal = keys > least, keys == least
    # Of those that equal the k-th largest, the first ones fill what larger ones leave.
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (equal.cumsum(axis=1) <= room))
    index = np.nonzero(chosen)[1].reshape(len(keys), k)
    return _along(index, _descending(_along(keys, index), k))


@op("NthElement")
def NthElement(input: Array, n: Array, *, reverse: bool = False) -> Any:
    at = scalar("n", n)
    if not input.ndim or not 0 <= at < input.shape[-1]:
        raise ValueError(f"n must be in [0, size of the last dimension), got {at} for an input of shape {input.shape}")
    if reverse:
        at = input.shape[-1] - 1 - at
    return np.partition(_native(input), at, axis=-1)[..., at].astype(input.dtype)


@op("InTopK")
def InTopK(predictions: Array, targets: Array, *, k: int) -> Any:
    return _in_top_k(predictions, targets, k)


@op("InTopKV2")
def InTopKV2(predictions: Array, targets: Array, k: Array) -> Any:
    return _in_top_k(predictions, targets, scalar("k", k))


def _in_top_k(predictions: Array, targets: Array, k: int) -> Any:
    if predictions.ndim != 2 or targets.ndim != 1 or len(predictions) != len(targets):
        raise ValueError(
            "predictions must be a matrix and targets a vector with a number for each of its rows, got "
            f"shapes {predictions.shape} and {targets.shape}"
        )
    classes = predictions.shape[1]
    known = (targets >= 0) & (targets < classes)
    if not classes:
        return known
    score = _along(predictions, np.where(known, targets, 0)[:, None])
    better = (predictions > score).sum(axis=1)
    return known & np.isfinite(predictions).all(axis=1) & (better < k)


# ---- Equal ----


_FEW = 100
"""Integers among which a dict finds equal ones sooner than a sort."""


def _codes(values: Array) -> tuple[Array, Array]:
    """For a vector: where each distinct value is seen first (ascending), and which of those each is.

    NaN equals nothing, not even itself, as in TensorFlow.
    """
    if values.dtype.hasobject or (values.dtype.kind in "iu" and len(values) <= _FEW):
        seen: dict[Any, int] = {}
        codes = np.array([seen.setdefault(value, len(seen)) for value in values.tolist()], np.int64)
        first = np.empty(len(seen), np.int64)
        first[codes[::-1]] = np.arange(len(values) - 1, -1, -1)
        return first, codes
    keys = _native(values.view(values.dtype[0]) if values.dtype.names else values)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.ones(len(keys), bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    return _by_first(order[starts], np.cumsum(starts) - 1, order)


def _by_first(first: Array, group: Array, order: Array) -> tuple[Array, Array]:
    """Groups numbered by value, renumbered by where they are seen first. `group[i]` is of `order[i]`."""
    rank = np.argsort(first)
    number = np.empty_like(rank)
    number[rank] = np.arange(len(rank))
    codes = np.empty(len(order), np.int64)
    codes[order] = number[group]
    return first[rank], codes


def _unique(x: Array, axis: int | None, index_type: DType) -> tuple[Array, Array, Array]:
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"x must be a vector, got shape {x.shape}")
        axis = 0
    if x.ndim == 1:
        first, codes = _codes(x)
    else:
        rows = np.moveaxis(x, axis, 0)
        _, elements = _codes(rows.reshape(-1))
        # Rows of numbers that stand for the elements: equal exactly where the elements are.
        table = elements.reshape(len(rows), math.prod(rows.shape[1:]))
        if table.shape[1]:
            _, where, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
            first, codes = _by_first(where, inverse.reshape(-1), np.arange(len(rows)))
        else:
            first, codes = np.arange(min(1, len(rows))), np.zeros(len(rows), np.int64)
    counts = np.bincount(codes, minlength=len(first))
    dtype = index_type.numpy
    return x.take(first, axis), codes.astype(dtype), counts.astype(dtype)


def _unique_axis(x: Array, axis: Array) -> int | None:
    found = vector("axis", axis)
    if len(found) > 1:
        raise ValueError(f"axis must hold at most one dimension, got {found}")
    return axis_of(found[0], x.ndim) if found else None


@op("Unique", outputs=2)
def Unique(x: Array, *, out_idx: DType = INT32) -> tuple[Array, Array]:
    if x.ndim == 1 and x.dtype.kind in "iu" and len(x) <= _FEW:
        seen: dict[int, int] = {}
        codes = [seen.setdefault(value, len(seen)) for value in x.tolist()]
        return np.array(list(seen), x.dtype), np.array(codes, out_idx.numpy)
    return _unique(x, None, out_idx)[:2]


@op("UniqueV2", outputs=2)
def UniqueV2(x: Array, axis: Array, *, out_idx: DType = INT32) -> tuple[Array, Array]:
    return _unique(x, _unique_axis(x, axis), out_idx)[:2]


@op("UniqueWithCounts", outputs=3)
def UniqueWithCounts(x: Array, *, out_idx: DType = INT32) -> tuple[Array, Array, Array]:
    return _unique(x, None, out_idx)


@op("UniqueWithCountsV2", outputs=3)
def UniqueWithCountsV2(x: Array, axis: Array, *, out_idx: DType = INT32) -> tuple[Array, Array, Array]:
    return _unique(x, _unique_axis(x, axis), out_idx)


@op("ListDiff", outputs=2)
def ListDiff(x: Array, y: Array, *, out_idx: DType = INT32) -> tuple[Array, Array]:
    """The values of x that y doesn't have, in x's order, and where they are."""
    if x.ndim != 1 or y.ndim != 1:
        raise ValueError(f"x and y must be vectors, got shapes {x.shape} and {y.shape}")
    if x.dtype.hasobject:
        there = set(y.tolist())
        kept = np.array([value not in there for value in x.tolist()], bool)
    else:
        kept = ~np.isin(_native(x), _native(y))
    index = np.flatnonzero(kept)
    return x[index], index.astype(out_idx.numpy)


# ---- Searched ----


@op("LowerBound")
def LowerBound(sorted_inputs: Array, values: Array, *, out_type: DType = INT32) -> Array:
    return _bound(sorted_inputs, values, np.less).astype(out_type.numpy)


@op("UpperBound")
def UpperBound(sorted_inputs: Array, values: Array, *, out_type: DType = INT32) -> Array:
    return _bound(sorted_inputs, values, np.less_equal).astype(out_type.numpy)


def _bound(sorted_inputs: Array, values: Array, before: np.ufunc) -> Array:
    """How many of each row's sorted inputs lie before each of that row's values: a binary search."""
    if sorted_inputs.ndim != 2 or values.ndim != 2 or len(sorted_inputs) != len(values):
        raise ValueError(
            "sorted_inputs and values must be matrices with as many rows, got shapes "
            f"{sorted_inputs.shape} and {values.shape}"
        )
    size = sorted_inputs.shape[1]
    low = np.zeros(values.shape, np.int64)
    high = np.full(values.shape, size, np.int64)
    for _ in range(size.bit_length()):
        middle = (low + high) // 2
        open_ = low < high
        goes_up = open_ & before(_along(sorted_inputs, np.minimum(middle, size - 1)), values)
        low = np.where(goes_up, middle + 1, low)
        high = np.where(open_ & ~goes_up, middle, high)
    return low
