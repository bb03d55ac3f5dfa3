"""Elements chosen by a condition, and conditions made numbers: Where, Select, SelectV2, OneHot, Range…"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from graphrack.formats.dtypes import INT32, DType
from graphrack.ops._arguments import are_within, axis_of, filled, scalar, sizes
from graphrack.ops._sparse import flat
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array


@op("Where")
def Where(input: Array) -> Array:
    if not input.ndim:
        raise ValueError("input must have at least one dimension, got a scalar")
    if input.dtype.names:  # quantized: a field around an integer
        input = np.asarray(input).view(input.dtype[0])
    if input.ndim == 1:
        return input.nonzero()[0][:, None]
    return np.argwhere(input)


_FEW = 64  # elements of a condition that are sooner looked at than taken as they are
_FEW_ROWS = 2  # that are sooner copied one by one
_FEW_CONDITIONS = 1 << 12  # the same, of a condition for each element
_FEW_INDICES = 24  # which Python counts together sooner than NumPy


@op("Select")
def Select(condition: Array, t: Array, e: Array) -> Array:
    shape = t.shape
    if shape != e.shape:
        raise ValueError(f"t and e must have one shape, got {shape} and {e.shape}")
    if condition.shape == shape:
        if condition.size <= _FEW_CONDITIONS:  # which rows are empty, say: mostly none
            told = condition.tobytes()
            if b"\1" not in told:
                return e
            if b"\0" not in told:
                return t
        return np.where(condition, t, e)
    if not condition.ndim:
        return t if condition else e
    if condition.ndim > 1 or not shape or len(condition) != shape[0]:
        raise ValueError(
            f"condition must be a scalar, or a vector as long as t, or have t's shape {shape}; got {condition.shape}"
        )
    if shape[0] <= _FEW:  # which sequences go on, say: mostly all, or none
        chosen = condition.tolist()
        if False not in chosen:
            return t
        if True not in chosen:
            return e
        taken = chosen.count(True)
        if taken <= _FEW_ROWS or len(chosen) - taken <= _FEW_ROWS:
            fewer = taken <= _FEW_ROWS
            out, other = (e.copy(), t) if fewer else (t.copy(), e)
            for i, one in enumerate(chosen):
                if one is fewer:
                    out[i] = other[i]
            return out
    out = e.copy()
    np.copyto(out, t, where=condition.reshape((-1,) + (1,) * (len(shape) - 1)))
    return out


@op("SelectV2")
def SelectV2(condition: Array, t: Array, e: Array) -> Array:
    return np.where(condition, t, e)


@specialized("OneHot")
def OneHot(*, axis: int = -1) -> Any:
    def one_hot(indices: Array, depth: Array, on_value: Array, off_value: Array) -> Array:
        size = scalar("depth", depth)
        if size < 0 or on_value.ndim or off_value.ndim:
            raise ValueError(
                "depth must be at least 0, on_value and off_value scalars; "
                f"got {size} and shapes {on_value.shape}, {off_value.shape}"
            )
        at = axis_of(axis, indices.ndim + 1)
        shape = indices.shape
        before, after = math.prod(shape[:at]), math.prod(shape[at:])
        out = filled((*shape[:at], size, *shape[at:]), off_value, on_value.dtype)
        if after == 1 and before <= _FEW_INDICES:
            listed = indices.reshape(-1).tolist()
            on = [n * size + i for n, i in enumerate(listed) if 0 <= i < size]
            if on:
                out.put(on, on_value)
            return out
        index = indices.reshape(-1).astype(np.intp)
        places = np.arange(before) * (size * after)
        if after != 1:
            places = (places[:, None] + np.arange(after)).reshape(-1)
            places += index * after
        else:
            places += index
        if not are_within(index, size):  # which is no error: nothing is on there
            places = places[(index >= 0) & (index < size)]
        out.reshape(-1)[places] = on_value
        return out

    return one_hot


@op("Range")
def Range(start: Array, limit: Array, delta: Array) -> Any:
    for name, value in (("start", start), ("limit", limit), ("delta", delta)):
        if value.ndim > 1 or value.size != 1:  # a vector of one was a scalar in TensorFlow's first versions
            raise ValueError(f"{name} must be a scalar, got shape {value.shape}")
    dtype = start.dtype
    first, last, step = start.item(), limit.item(), delta.item()
    if dtype.kind == "V":  # bfloat16: its items are not Python's numbers
        first, last, step = float(first), float(last), float(step)
    if step == 0 or (first > last if step > 0 else first < last):
        raise ValueError(f"delta must not be 0 and must lead from start to limit, got Range({first}, {last}, {step})")
    if dtype.kind in "iu":
        count = -((first - last) // step)
        return np.arange(first, first + count * step, step, dtype)  # type: ignore[call-overload]
    start, limit, delta = start.reshape(()), limit.reshape(()), delta.reshape(())
    steps = abs((limit - start) / delta)
    if not np.isfinite(steps):
        raise ValueError(f"the number of elements is not finite in Range({first}, {last}, {step})")
    return start + np.arange(math.ceil(steps)).astype(dtype) * delta


@op("SparseToDense")
def SparseToDense(
    sparse_indices: Array,
    output_shape: Array,
    sparse_values: Array,
    default_value: Array,
    *,
    validate_indices: bool = True,
) -> Array:
    shape = sizes("output_shape", output_shape)
    if sparse_indices.ndim > 2 or default_value.ndim:
        raise ValueError(
            f"sparse_indices must be a scalar, vector or matrix and default_value a scalar, "
            f"got shapes {sparse_indices.shape} and {default_value.shape}"
        )
    index = sparse_indices if sparse_indices.ndim == 2 else sparse_indices.reshape(-1, 1)
    count = len(index)
    if index.shape[1] != len(shape) or sparse_values.shape not in ((), (count,)):
        raise ValueError(
            f"for an output of rank {len(shape)} and values of shape {sparse_values.shape}, "
            f"sparse_indices of shape {sparse_indices.shape} don't fit"
        )
    if count <= _FEW_INDICES and len(shape) == 2:
        rows, columns = shape
        listed = [i * columns + j for i, j in index.tolist() if 0 <= i < rows and 0 <= j < columns]
        if len(listed) == count and (not validate_indices or all(map(operator.lt, listed, listed[1:]))):
            out = filled(shape, default_value, sparse_values.dtype)
            if listed:
                out.put(listed, sparse_values)
            return out
    if not all(are_within(index[:, i], size) for i, size in enumerate(shape)):
        raise ValueError(f"sparse_indices must lie inside of output_shape {shape}")
    out = filled(shape, default_value, sparse_values.dtype)
    places = flat(index, shape)
    if validate_indices and (places[1:] <= places[:-1]).any():
        raise ValueError("sparse_indices must be in lexicographic order, without repeats")
    out.reshape(-1)[places] = sparse_values
    return out


@op("HistogramFixedWidth")
def HistogramFixedWidth(values: Array, value_range: Array, nbins: Array, *, dtype: DType = INT32) -> Array:
    count = scalar("nbins", nbins)
    if value_range.shape != (2,) or count <= 0:
        raise ValueError(f"value_range must have shape (2,) and nbins be positive, got {value_range.shape} and {count}")
    low, high = value_range
    if not low < high:
        raise ValueError(f"value_range must go up, got [{low}, {high}]")
    width = (float(high) - float(low)) / count
    if np.isnan(values).any():
        raise ValueError("values must not be NaN")
    above = np.maximum(values.reshape(-1), low).astype(np.float64) - float(low)
    # Clipped before the cast: what is far outside still counts in the last bin.
    bins = np.minimum(above / width, count - 1).astype(np.int64)
    return np.bincount(bins, minlength=count).astype(dtype.numpy)
