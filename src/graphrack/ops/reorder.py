"""The same elements in another order along axes: Reverse, ReverseV2, ReverseSequence, Roll."""

from __future__ import annotations

import numpy as np

from graphrack.ops._arguments import axis_of, vector
from graphrack.ops.registry import op
from graphrack.ops.runtime import Array

# Both ops look at nothing else when the tensor is a scalar, as TensorFlow does.

_BACK = slice(None, None, -1)
_FEW = 32  # sequences that are sooner reversed one by one


@op("Reverse")
def Reverse(tensor: Array, dims: Array) -> Array:
    if not tensor.ndim:
        return tensor
    if dims.shape != (tensor.ndim,):
        raise ValueError(f"dims must have shape {(tensor.ndim,)} for an input of that rank, got {dims.shape}")
    return _reversed(tensor, np.flatnonzero(dims).tolist())


@op("ReverseV2")
def ReverseV2(tensor: Array, axis: Array) -> Array:
    if not tensor.ndim:
        return tensor
    axes = [axis_of(i, tensor.ndim) for i in vector("axis", axis)]
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis must not name a dimension twice, got {axis.tolist()}")
    return _reversed(tensor, axes)


def _reversed(tensor: Array, axes: list[int]) -> Array:
    index = [slice(None)] * tensor.ndim
    for axis in axes:
        index[axis] = _BACK
    return tensor[tuple(index)] if axes else tensor


@op("ReverseSequence")
def ReverseSequence(input: Array, seq_lengths: Array, *, seq_dim: int, batch_dim: int = 0) -> Array:
    shape = input.shape
    lengths = vector("seq_lengths", seq_lengths)
    if not 0 <= seq_dim < len(shape) or not 0 <= batch_dim < len(shape) or seq_dim == batch_dim:
        raise ValueError(
            f"seq_dim {seq_dim} and batch_dim {batch_dim} must be two different dimensions of shape {shape}"
        )
    steps = shape[seq_dim]
    if len(lengths) != shape[batch_dim] or (lengths and not 0 <= min(lengths) <= max(lengths) <= steps):
        raise ValueError(
            f"seq_lengths must hold {shape[batch_dim]} lengths in [0, {steps}] for shape {shape}, got {lengths}"
        )
    if len(lengths) <= _FEW:
        out = input.copy()
        source, target = input, out
        if (batch_dim, seq_dim) == (1, 0):
            source, target = input.swapaxes(0, 1), out.swapaxes(0, 1)
        elif (batch_dim, seq_dim) != (0, 1):
            source, target = (np.moveaxis(value, (batch_dim, seq_dim), (0, 1)) for value in (input, out))
        for b, n in enumerate(lengths):
            if n > 1:
                target[b, :n] = source[b, n - 1 :: -1]
        return out
    at = np.arange(steps)
    length = seq_lengths[:, None]
    index = np.where(at < length, length - 1 - at, at)
    moved = np.moveaxis(input, (batch_dim, seq_dim), (0, 1))
    return np.moveaxis(moved[np.arange(len(lengths))[:, None], index], (0, 1), (batch_dim, seq_dim))


@op("Roll")
def Roll(input: Array, shift: Array, axis: Array) -> Array:
    if not input.ndim:
        raise ValueError("input must have at least one dimension, got a scalar")
    if shift.shape != axis.shape or shift.ndim > 1:
        raise ValueError(f"shift and axis must be scalars or vectors of one length, got {shift.shape} and {axis.shape}")
    axes = tuple(axis_of(i, input.ndim) for i in axis.reshape(-1).tolist())
    return np.roll(input, tuple(shift.reshape(-1).tolist()), axes)
