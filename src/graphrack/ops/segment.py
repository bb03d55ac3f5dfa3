"""Reductions over segments: rows of a tensor that share a segment's number.

Where numbers of segments aren't given, they must be sorted. Minima and maxima of segments with a NaN
are NaN here; TensorFlow's are those of the values after the last NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import are_within, scalar, within
from graphrack.ops.arithmetic import truncate_divide
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

GATHERED = 1 << 15
"""Elements that sparse segment ops gather at once: few enough to stay in a processor's cache."""


def _reduce(ufunc: np.ufunc, data: Array, ids: Array, out: Array) -> None:
    """Reduces rows of `data` into those rows of `out` that `ids` name.

    Attributes:
        ids: sorted, within `out`.
        out: holds the ufunc's identity where it has one.
    """
    if not ids.size:
        return
    if ufunc.identity is not None and data.dtype.itemsize == 2 and data.dtype.kind not in "iu":
        # Half and bfloat16: row after row, rounded each time, as TensorFlow does.
        ufunc.at(out, ids, data)
        return
    if data.size <= _AS_ROWS and ufunc.identity is not None:
        ufunc.at(out, ids, data)
        return
    starts = _starts(ids)
    out[ids[starts]] = ufunc.reduceat(data, starts, 0, data.dtype)


FEW_IDS = 64
"""Numbers of segments that Python looks at sooner than NumPy."""
_FEW_SUMS = 8  # rows that are sooner added to others one by one
_AS_ROWS = 1 << 8
"""Elements that are added to others row by row: NumPy is quicker with single ones, but has to be told which."""


def reduce_at(ufunc: np.ufunc, out: Array, ids: Array, rows: Array) -> None:
    """Reduces rows into those of `out` that `ids` name, one after the other, in place."""
    width = math.prod(out.shape[1:])
    if rows.size <= _AS_ROWS and width != 1:
        ufunc.at(out, ids, rows)
        return
    places = ids if width == 1 else (ids[:, None] * np.intp(width) + np.arange(width)).reshape(-1)
    ufunc.at(out.reshape(-1), places, rows.reshape(-1))


def is_sorted(ids: Array) -> bool:
    """Whether no number of a vector is less than the one before it."""
    if ids.size <= FEW_IDS:  # Python is quicker
        listed = ids.tolist()
        return bool(listed == sorted(listed))
    return not np.less(ids[1:], ids[:-1]).any()


def _starts(ids: Array) -> Array:
    """Where each run of equal numbers starts in a sorted vector."""
    first = np.empty(ids.size, bool)
    first[:1] = True
    np.not_equal(ids[1:], ids[:-1], out=first[1:])
    return first.nonzero()[0]


def _sorted_ids(segment_ids: Array, rows: int, count: int | None = None) -> int:
    """Checks numbers that must be sorted; gives the number of segments.

    Attributes:
        rows: how many rows they number.
        count: the number of segments, where it is given.
    """
    if segment_ids.shape != (rows,):
        raise ValueError(f"segment_ids must be a vector of {rows}, got shape {segment_ids.shape}")
    if not is_sorted(segment_ids):
        raise ValueError("segment_ids must be sorted, and are not")
    if rows and segment_ids[0] < 0:
        raise ValueError(f"segment_ids must not be negative, got {segment_ids[0]}")
    if count is None:
        return int(segment_ids[-1]) + 1 if rows else 0
    if count < 0:
        raise ValueError(f"num_segments must be at least 0, got {count}")
    if rows and segment_ids[-1] >= count:
        raise ValueError(f"segment_ids must be less than num_segments {count}, got {segment_ids[-1]}")
    return count


def _segments(ufunc: np.ufunc, of_none: int) -> Kernel:
    def run(data: Array, segment_ids: Array) -> Any:
        if not data.ndim:
            raise ValueError("data must have at least 1 dimension, got a scalar")
        count = _sorted_ids(segment_ids, data.shape[0])
        shape = (count, *data.shape[1:])
        out = np.full(shape, of_none, data.dtype) if of_none else np.zeros(shape, data.dtype)
        _reduce(ufunc, data, segment_ids, out)
        return out

    return run


@specialized("SegmentSum")
def SegmentSum() -> Kernel:
    return _segments(np.add, 0)


@specialized("SegmentProd")
def SegmentProd() -> Kernel:
    return _segments(np.multiply, 1)


@specialized("SegmentMin")
def SegmentMin() -> Kernel:
    return _segments(np.minimum, 0)


@specialized("SegmentMax")
def SegmentMax() -> Kernel:
    return _segments(np.maximum, 0)


def _counts(ids: Array, count: int, data: Array) -> Array:
    """How many rows each segment has, at least 1, in a shape that `data`'s rows divide by."""
    if ids.size <= FEW_IDS >= count:
        listed = [0] * count
        for segment in ids.tolist():
            listed[segment] += 1
        return np.array([n or 1 for n in listed], np.int64).reshape(-1, *(1,) * (data.ndim - 1))
    counts = np.bincount(ids, minlength=count)
    np.maximum(counts, 1, out=counts)
    return counts.reshape(-1, *(1,) * (data.ndim - 1))


@specialized("SegmentMean")
def SegmentMean(*, T: DType) -> Kernel:
    total = _segments(np.add, 0)
    quotient = truncate_divide if T.numpy.kind in "iu" else np.divide

    def run(data: Array, segment_ids: Array) -> Any:
        out = total(data, segment_ids)
        return quotient(out, _counts(segment_ids, len(out), data).astype(data.dtype))

    return run


_FEW = 1 << 17
"""Elements that are reduced one after the other: sorting them by segment takes longer."""


def unsorted(ufunc: np.ufunc, data: Array, segment_ids: Array, count: int, identity: Any) -> Array:
    """Reduces elements of `data` by the segment that each is in.

    Attributes:
        segment_ids: its shape is how `data`'s shape begins. Negative ones are in no segment.
        count: the number of segments.
        identity: what segments without elements hold; a scalar of `data`'s dtype.
    """
    rank = segment_ids.ndim
    if data.shape[:rank] != segment_ids.shape:
        raise ValueError(f"data's shape {data.shape} must start with that of segment_ids, {segment_ids.shape}")
    if count < 0:
        raise ValueError(f"num_segments must be at least 0, got {count}")
    few = ufunc is np.add and rank == 1 and segment_ids.size == count <= FEW_IDS
    if few and segment_ids.tolist() == list(range(count)):  # gradients of rows of which none was looked up twice
        return data
    shape = (count, *data.shape[rank:])
    out = np.full(shape, identity, data.dtype) if identity else np.zeros(shape, data.dtype)
    ids = segment_ids.reshape(-1)
    rows = data.reshape(ids.size, *data.shape[rank:])
    if not are_within(ids, count):
        chosen = (ids >= 0).nonzero()[0]
        ids, rows = ids[chosen], rows[chosen]
        within("segment_ids", ids, count)
    if rows.size <= _FEW:
        reduce_at(ufunc, out, ids, rows)
        return out
    if not is_sorted(ids):
        # NumPy sorts 16-bit integers by radix, several times faster than wider ones.
        order = np.argsort(ids.astype(np.uint16) if count <= 1 << 16 else ids, kind="stable")
        ids, rows = ids[order], rows[order]
    _reduce(ufunc, rows, ids, out)
    return out


def _unsorted(ufunc: np.ufunc, identity: Any) -> Kernel:
    def run(data: Array, segment_ids: Array, num_segments: Array) -> Any:
        return unsorted(ufunc, data, segment_ids, scalar("num_segments", num_segments), identity)

    return run


@specialized("UnsortedSegmentSum")
def UnsortedSegmentSum() -> Kernel:
    return _unsorted(np.add, 0)


@specialized("UnsortedSegmentProd")
def UnsortedSegmentProd() -> Kernel:
    return _unsorted(np.multiply, 1)


@specialized("UnsortedSegmentMin")
def UnsortedSegmentMin(*, T: DType) -> Kernel:
    return _unsorted(np.minimum, _finite_limits(T)[1])


@specialized("UnsortedSegmentMax")
def UnsortedSegmentMax(*, T: DType) -> Kernel:
    return _unsorted(np.maximum, _finite_limits(T)[0])


def _finite_limits(T: DType) -> tuple[Any, Any]:
    """The least and the greatest finite value."""
    if T.numpy.kind in "iu":
        integers = np.iinfo(T.numpy)
        return integers.min, integers.max
    if T.numpy.kind == "f":
        floats = np.finfo(T.numpy)
        return floats.min, floats.max
    import ml_dtypes

    narrow: Any = ml_dtypes.finfo(T.numpy)  # type: ignore[no-untyped-call]
    return narrow.min, narrow.max


def _come_once(listed: Sequence[int]) -> bool:
    return len(set(listed)) == len(listed)


def few_by_segment(rows: Array, listed: list[int], count: int) -> Array:
    """Sums of a few rows, each of the segment that is listed for it; the rows themselves where each is one's only one.

    Attributes:
        rows: may be given back, or changed.
        count: of segments.
    """
    if len(listed) == count and listed == list(range(count)):
        return rows
    places: dict[int, int] = {}
    more = [(i, segment) for i, segment in enumerate(listed) if places.setdefault(segment, i) != i]
    if len(more) > _FEW_SUMS:
        out = np.zeros((count, *rows.shape[1:]), rows.dtype)
        reduce_at(np.add, out, np.array(listed, np.intp), rows)
        return out
    if len(places) == count:
        out = rows.take([places[segment] for segment in range(count)], 0)
    else:
        out = np.zeros((count, *rows.shape[1:]), rows.dtype)
        for segment, i in places.items():
            out[segment] = rows[i]
    for i, segment in more:
        out[segment] += rows[i]
    return out


def _sparse(scale: Callable[[Array], Array] | None, given: bool) -> Kernel:
    """Sums of chosen rows by segment.

    Attributes:
        scale: from the number of rows in a segment, what its sum is divided by.
        given: whether the number of segments is an input.
    """

    def total(data: Array, indices: Array, segment_ids: Array, count: int) -> Array:
        if indices.size <= FEW_IDS:
            return scaled(few_by_segment(data.take(indices, 0), segment_ids.tolist(), count), segment_ids, count)
        out = np.zeros((count, *data.shape[1:]), data.dtype)
        width = math.prod(data.shape[1:])
        step = max(GATHERED // max(width, 1), 1)
        for first in range(0, indices.size, step):
            ids = segment_ids[first : first + step]
            starts = _starts(ids)
            rows = data[indices[first : first + step]]
            out[ids[starts]] += np.add.reduceat(rows, starts, 0, data.dtype)
        return scaled(out, segment_ids, count)

    def scaled(out: Array, segment_ids: Array, count: int) -> Array:
        if scale is not None and not (segment_ids.size <= FEW_IDS and _come_once(segment_ids.tolist())):
            out /= scale(_counts(segment_ids, count, out)).astype(out.dtype)
        return out

    def run(data: Array, indices: Array, segment_ids: Array, num_segments: Array | None = None) -> Any:
        _check_sparse("data", data, indices)
        count = None if num_segments is None else scalar("num_segments", num_segments)
        count = _sorted_ids(segment_ids, indices.size, count)
        within("indices", indices, data.shape[0])
        return total(data, indices, segment_ids, count)

    if given:
        return run
    return lambda data, indices, segment_ids: run(data, indices, segment_ids)


def _check_sparse(name: str, data: Array, indices: Array) -> None:
    if not data.ndim:
        raise ValueError(f"{name} must have at least 1 dimension, got a scalar")
    if indices.ndim != 1:
        raise ValueError(f"indices must be a vector, got shape {indices.shape}")


@specialized("SparseSegmentSum")
def SparseSegmentSum(*, T: DType) -> Kernel:
    return widened(T, _sparse(None, given=False))


@specialized("SparseSegmentMean")
def SparseSegmentMean(*, T: DType) -> Kernel:
    return widened(T, _sparse(np.positive, given=False))


@specialized("SparseSegmentSqrtN")
def SparseSegmentSqrtN(*, T: DType) -> Kernel:
    return widened(T, _sparse(np.sqrt, given=False))


@specialized("SparseSegmentSumWithNumSegments")
def SparseSegmentSumWithNumSegments(*, T: DType) -> Kernel:
    return widened(T, _sparse(None, given=True))


@specialized("SparseSegmentMeanWithNumSegments")
def SparseSegmentMeanWithNumSegments(*, T: DType) -> Kernel:
    return widened(T, _sparse(np.positive, given=True))


@specialized("SparseSegmentSqrtNWithNumSegments")
def SparseSegmentSqrtNWithNumSegments(*, T: DType) -> Kernel:
    return widened(T, _sparse(np.sqrt, given=True))


def _sparse_grad(scale: Callable[[Array], Array] | None) -> Kernel:
    """Sends each segment's gradient to the rows that it summed."""

    def run(grad: Array, indices: Array, segment_ids: Array, output_dim0: Array) -> Any:
        _check_sparse("grad", grad, indices)
        if segment_ids.shape != indices.shape:
            raise ValueError(f"segment_ids must have indices' shape {indices.shape}, got {segment_ids.shape}")
        count = scalar("output_dim0", output_dim0)
        within("segment_ids", segment_ids, len(grad))
        within("indices", indices, max(count, 0))
        if scale is not None:
            grad = grad / scale(_counts(segment_ids, len(grad), grad)).astype(grad.dtype)
        return unsorted(np.add, grad[segment_ids], indices, count, 0)

    return run


@specialized("SparseSegmentSumGrad")
def SparseSegmentSumGrad(*, T: DType) -> Kernel:
    return widened(T, _sparse_grad(None))


@specialized("SparseSegmentMeanGrad")
def SparseSegmentMeanGrad(*, T: DType) -> Kernel:
    return widened(T, _sparse_grad(np.positive))


@specialized("SparseSegmentSqrtNGrad")
def SparseSegmentSqrtNGrad(*, T: DType) -> Kernel:
    return widened(T, _sparse_grad(np.sqrt))


def _sparse_grad_rows(scale: Callable[[Array], Array] | None) -> Kernel:
    """As `_sparse_grad`, for those rows alone that any segment summed; and which ones they are."""

    def run(grad: Array, indices: Array, segment_ids: Array, dense_output_dim0: Array) -> tuple[Array, Array]:
        _check_sparse("grad", grad, indices)
        within("indices", indices, max(scalar("dense_output_dim0", dense_output_dim0), 0))
        if indices.size <= FEW_IDS and segment_ids.shape == indices.shape:
            within("segment_ids", segment_ids, len(grad))
            if scale is not None and not _come_once(segment_ids.tolist()):
                grad = grad / scale(_counts(segment_ids, len(grad), grad)).astype(grad.dtype)
            listed = indices.tolist()
            found = sorted(set(listed))
            numbers = {value: i for i, value in enumerate(found)}
            rows = few_by_segment(grad.take(segment_ids, 0), [numbers[value] for value in listed], len(found))
            return rows, np.array(found, indices.dtype)
        unique, places = _numbered(indices)
        return sent(grad, places, segment_ids, np.array(len(unique))), unique

    sent = _sparse_grad(scale)
    return run


def _numbered(indices: Array) -> tuple[Array, Array]:
    """The numbers of a vector, sorted, and where each is among them; in half of np.unique's time."""
    order = indices.argsort()
    ordered = indices.take(order)
    fresh = np.ones(indices.size, bool)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    places = np.empty(indices.size, np.intp)
    places[order] = fresh.cumsum() - 1
    return ordered[fresh], places


@specialized("SparseSegmentSumGradV2", outputs=2)
def SparseSegmentSumGradV2(*, T: DType) -> Kernel:
    return widened(T, _sparse_grad_rows(None))


@specialized("SparseSegmentMeanGradV2", outputs=2)
def SparseSegmentMeanGradV2(*, T: DType) -> Kernel:
    return widened(T, _sparse_grad_rows(np.positive))


@specialized("SparseSegmentSqrtNGradV2", outputs=2)
def SparseSegmentSqrtNGradV2(*, T: DType) -> Kernel:
    return widened(T, _sparse_grad_rows(np.sqrt))
