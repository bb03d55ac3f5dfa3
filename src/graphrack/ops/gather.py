"""Elements and slices chosen by index (Gather, GatherV2, GatherNd) and put by index (scatter ops)."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.ops._arguments import axis_of, scalar, within
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array


@specialized("GatherV2")
def GatherV2(*, batch_dims: int = 0) -> Any:
    if batch_dims:
        return lambda params, indices, axis: _gather_batched(
            params, indices, scalar("axis", axis), batch_dims
        )
    return lambda params, indices, axis: _gather(params, indices, scalar("axis", axis))


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
    blocks = int(np.prod(batch, dtype=np.int64)), int(np.prod(outer, dtype=np.int64))
    base = np.arange(blocks[0] * blocks[1], dtype=np.int64).reshape(*blocks, 1) * size
    picked = indices.shape[batch_dims:]
    flat = base + indices.reshape(blocks[0], 1, int(np.prod(picked, dtype=np.int64)))
    rows = params.reshape(blocks[0] * blocks[1] * size, *inner)
    return np.reshape(rows.take(flat.reshape(-1), 0), batch + outer + picked + inner)
