"""The same elements in another shape or order: Reshape, Transpose, BroadcastTo, ReverseV2, Roll…"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphrack.ops._arguments import axis_of, legacy_vector, vector
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array


@op("Reshape")
def Reshape(tensor: Array, shape: Array) -> Array:
    wanted = legacy_vector("shape", shape)
    if -1 in wanted:
        if 0 in wanted and wanted.count(-1) == 1:
            wanted[wanted.index(-1)] = _size_beside_zeros(tensor.shape, wanted)
    elif wanted and min(wanted) < 0:
        raise ValueError(f"shape must hold sizes of at least 0, or one -1, got {wanted}")
    return tensor.reshape(wanted)


def _size_beside_zeros(shape: tuple[int, ...], wanted: list[int]) -> int:
    """What -1 means beside a 0: the size that fits when zeros are left out on both sides."""
    there = math.prod(size for size in shape if size)
    other = math.prod(size for size in wanted if size > 0)
    if there % other and 0 not in shape:
        raise ValueError(f"can't reshape {shape} to {wanted}: {there} is no multiple of {other}")
    return there // other


@specialized("Squeeze")
def Squeeze(*, squeeze_dims: list[int] | None = None) -> Any:
    if not squeeze_dims:
        # Not `squeeze()`: that turns scalars of strings into bare bytes.
        return lambda input: input.reshape([size for size in input.shape if size != 1])

    def squeeze(input: Array) -> Array:
        shape = input.shape
        drop = {axis_of(axis, len(shape), "squeeze_dims") for axis in squeeze_dims}
        for axis in drop:
            if shape[axis] != 1:
                raise ValueError(f"can only squeeze sizes of 1, dimension {axis} of {shape} is {shape[axis]}")
        return input.reshape([size for axis, size in enumerate(shape) if axis not in drop])

    return squeeze


@op("ExpandDims")
def ExpandDims(input: Array, dim: Array) -> Any:
    if dim.size != 1:
        raise ValueError(f"dim must be a tensor with a single value, got shape {dim.shape}")
    axis = axis_of(int(dim.item()), input.ndim + 1, "dim")
    return input.reshape((*input.shape[:axis], 1, *input.shape[axis:]))


@op("Transpose")
def Transpose(x: Array, perm: Array) -> Any:
    return x.transpose(_permutation(perm, x.ndim))


@op("ConjugateTranspose")
def ConjugateTranspose(x: Array, perm: Array) -> Any:
    moved = x.transpose(_permutation(perm, x.ndim))
    return np.conjugate(moved) if moved.dtype.kind == "c" else moved


def _permutation(perm: Array, rank: int) -> list[int]:
    found = vector("perm", perm)
    axes = [axis + rank if axis < 0 else axis for axis in found]
    if sorted(axes) != list(range(rank)):
        raise ValueError(f"perm must be a permutation of 0 to {rank - 1} for rank {rank}, got {found}")
    return axes
