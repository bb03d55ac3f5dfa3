"""Elements and slices chosen by index (Gather, GatherV2, GatherNd) and put by index (scatter ops)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from graphrack.ops._arguments import axis_of, scalar, sizes, within, zeros
from graphrack.ops.registry import Prepared, op, register, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.segment import reduce_at


@specialized("GatherV2")
def GatherV2(*, batch_dims: int = 0) -> Any:
    gather = partial(_gather_batched, batch_dims=batch_dims) if batch_dims else _gather
    return Prepared(gather, slice(2, None), lambda axis: scalar("axis", axis))


@op("Gather")
def Gather(params: Array, indices: Array) -> Array:
    # Indices are checked whatever `validate_indices` says, as TensorFlow does on the CPU.
    return _gather(params, indices, 0)


def _gather(params: Array, indices: Array, axis: int) -> Array:
    if axis or not params.ndim:
        axis = axis_of(axis, params.ndim)
    if not params.size and 0 in params.shape[:axis] + params.shape[axis + 1 :]:
        # There is nothing to copy, and TensorFlow then doesn't look at the indices.
        indices = np.zeros_like(indices)
        params = np.empty((*params.shape[:axis], 1, *params.shape[axis + 1 :]), params.dtype)
    within("indices", indices, params.shape[axis])
    if indices.ndim == 0:
        at = int(indices)
        return params[at, ...] if axis == 0 else params[(slice(None),) * axis + (at, ...)]
    return params.take(indices, axis)


def _gather_batched(params: Array, indices: Array, axis: int, batch_dims: int) -> Array:
    if batch_dims < 0:
        batch_dims += indices.ndim
    axis = axis_of(axis, params.ndim)
    if not 0 <= batch_dims <= min(axis, indices.ndim):
        raise ValueError(
            f"batch_dims must be at least 0 and at most axis {axis} and the rank of indices, "
            f"{indices.ndim}; got {batch_dims}"
        )
    batch = params.shape[:batch_dims]
    if indices.shape[:batch_dims] != batch:
        raise ValueError(
            f"params {params.shape} and indices {indices.shape} must agree in their first "
            f"batch_dims = {batch_dims} dimensions"
        )
    size = params.shape[axis]
    outer, inner = params.shape[batch_dims:axis], params.shape[axis + 1 :]
    if 0 in batch + outer + inner:
        return np.empty(batch + outer + indices.shape[batch_dims:] + inner, params.dtype)
    within("indices", indices, size)
    # One flat gather of rows: row (b, o, i) of params is row (b * outer + o) * size + i.
    blocks = math.prod(batch), math.prod(outer)
    picked = indices.shape[batch_dims:]
    flat = indices
    if blocks != (1, 1):
        base = np.arange(blocks[0] * blocks[1], dtype=np.int64).reshape(*blocks, 1) * size
        flat = base + indices.reshape(blocks[0], 1, math.prod(picked))
    rows = params.reshape(blocks[0] * blocks[1] * size, *inner)
    return rows.take(flat.reshape(-1), 0).reshape(batch + outer + picked + inner)


# ---- By index tuples (…Nd) ----
#
# The last dimension of `indices` is an index tuple into the first dimensions of a tensor; what the rest
# of the dimensions hold is a row. Everything here works on the tensor as a matrix of such rows.

_FEW = 8  # rows that are sooner changed one by one
_FEW_NUMBERS = 24  # of tuples that Python counts together sooner than NumPy

_POLICIES = {b"": True, b"DEFAULT": True, b"ERROR": True, b"IGNORE": False}
"""`bad_indices_policy`: whether an index out of range is an error (on the CPU the default)."""


_FEW = 4096
"""Elements among which it takes longer to see that no row is named twice than to do without knowing."""


def _checks(bad_indices_policy: bytes) -> bool:
    try:
        return _POLICIES[bad_indices_policy]
    except KeyError:
        raise ValueError(f"bad_indices_policy must be DEFAULT, ERROR or IGNORE, got {bad_indices_policy!r}") from None


def _row_numbers(indices: Array, shape: tuple[int, ...], check: bool) -> tuple[Array, Array | None]:
    """Which row each index tuple names, and which tuples are good (None: all).

    Raises `ValueError` for a tuple longer than the shape, or (with `check`) out of its range.
    """
    if not indices.ndim:
        raise ValueError("indices must have at least one dimension, got a scalar")
    depth = indices.shape[-1]
    if depth > len(shape):
        raise ValueError(f"indices of length {depth} don't fit a tensor of shape {shape}")
    bounds = shape[:depth]
    flat = indices.reshape(math.prod(indices.shape[:-1]), depth)
    if depth and flat.size <= _FEW_NUMBERS:
        numbers = []
        for place in flat.tolist():
            number = 0
            for i, size in zip(place, bounds, strict=True):
                if not 0 <= i < size:
                    break
                number = number * size + i
            else:
                numbers.append(number)
        if len(numbers) == len(flat):
            return np.array(numbers, np.intp), None
    if depth and flat.size and 0 not in bounds:
        try:
            # In one call: of few tuples in a third of the time.
            return np.ravel_multi_index(tuple(flat.T), bounds), None
        except ValueError:
            pass  # some are out of range
    inside = (flat >= 0) & (flat < np.array(bounds, np.int64))
    good = None
    if not inside.all():
        good = np.asarray(inside.all(axis=1))
        if check:
            bad = int(np.flatnonzero(~good)[0])
            where = ",".join(str(int(i)) for i in np.unravel_index(bad, indices.shape[:-1]))
            raise ValueError(f"indices[{where}] = {flat[bad].tolist()} does not index into shape {shape}")
    strides = np.array([math.prod(bounds[i + 1 :]) for i in range(depth)], np.int64)
    return flat.astype(np.int64) @ strides, good


@op("GatherNd")
def GatherNd(params: Array, indices: Array, *, bad_indices_policy: bytes = b"") -> Array:
    if not params.ndim:
        raise ValueError("params must have at least one dimension, got a scalar")
    rows, good = _row_numbers(indices, params.shape, _checks(bad_indices_policy))
    depth = indices.shape[-1]
    row = params.shape[depth:]
    shape = indices.shape[:-1] + row
    table = params.reshape((math.prod(params.shape[:depth]), *row))
    if rows.size and not params.size:
        raise ValueError(f"indices are given but params is empty: shape {params.shape}")
    if good is None:
        return np.reshape(table.take(rows, 0), shape)
    out = zeros((len(rows), *row), params.dtype)
    out[good] = table[rows[good]]
    return np.reshape(out, shape)


def _scattered(out: Array, indices: Array, updates: Array, combine: np.ufunc | None, check: bool) -> Array:
    """`out`, which belongs to the caller, with updates put in: by a ufunc, or in place of what was there."""
    count = len(indices) if indices.ndim else 0
    if combine is None and indices.shape == (count, 1) and 0 < count <= _FEW and out.ndim:  # as loops change rows
        places, height = indices.reshape(-1).tolist(), len(out)
        if updates.shape == (count, *out.shape[1:]) and 0 <= min(places) <= max(places) < height:
            for i, at in enumerate(places):
                out[at] = updates[i]  # the last of several for one row stays
            return out
    rows, good = _row_numbers(indices, out.shape, check)
    depth = indices.shape[-1]
    row = out.shape[depth:]
    if updates.shape != indices.shape[:-1] + row:
        raise ValueError(
            f"updates must have shape {indices.shape[:-1] + row} for indices of shape {indices.shape} and a "
            f"tensor of shape {out.shape}, got {updates.shape}"
        )
    if not depth:
        raise ValueError(f"indices must name at least one dimension, got shape {indices.shape}")
    width = math.prod(row)
    table = out.reshape(math.prod(out.shape[:depth]), width)
    values = updates.reshape(len(rows), width)
    if good is not None:
        rows, values = rows[good], values[good]
    if not values.size:
        return out
    if combine is None:
        table[rows] = values  # the last of several for one row stays
    elif values.size > _FEW and (len(rows) == 1 or len(np.unique(rows)) == len(rows)):
        table[rows] = combine(table[rows], values)
    else:
        reduce_at(combine, table, rows, values)  # one after the other, as TensorFlow adds them
    return out


@op("ScatterNd")
def ScatterNd(indices: Array, updates: Array, shape: Array, *, bad_indices_policy: bytes = b"") -> Array:
    out = zeros(sizes("shape", shape), updates.dtype)
    if not out.size and indices.size and updates.size:
        raise ValueError(f"indices and updates are given for an output without elements: shape {out.shape}")
    return _scattered(out, indices, updates, np.add, _checks(bad_indices_policy))


def _tensor_scatter(combine: np.ufunc | None) -> Callable[..., Array]:
    def tensor_scatter(tensor: Array, indices: Array, updates: Array, *, bad_indices_policy: bytes = b"") -> Array:
        return _scattered(tensor.copy(), indices, updates, combine, _checks(bad_indices_policy))

    return tensor_scatter


register("TensorScatterUpdate", _tensor_scatter(None))
register("TensorScatterAdd", _tensor_scatter(np.add))
register("TensorScatterSub", _tensor_scatter(np.subtract))
register("TensorScatterMin", _tensor_scatter(np.minimum))
register("TensorScatterMax", _tensor_scatter(np.maximum))
register("ScatterNdNonAliasingAdd", _tensor_scatter(np.add))
