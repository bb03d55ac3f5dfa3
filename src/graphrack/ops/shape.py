"""The same elements in another shape: Reshape, Squeeze, Transpose, BroadcastTo, Tile, Bitcast…"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import axis_of, legacy_vector, sizes, vector
from graphrack.ops.registry import Kernel, Prepared, op, specialized
from graphrack.ops.runtime import Array


@specialized("Reshape")
def Reshape() -> Kernel:
    def reshape(tensor: Array, wanted: tuple[int, ...]) -> Array:
        if tensor.shape == wanted:
            return tensor
        if -1 in wanted and 0 in wanted and wanted.count(-1) == 1:
            size = _size_beside_zeros(tensor.shape, wanted)
            wanted = tuple([size if i == -1 else i for i in wanted])
        return tensor.reshape(wanted)

    return Prepared(reshape, slice(1, None), _wanted)


def _wanted(shape: Array) -> tuple[int, ...]:
    """The shape that is asked for; one size in it may be -1."""
    wanted = tuple(legacy_vector("shape", shape))
    if wanted and min(wanted) < 0 and -1 not in wanted:
        raise ValueError(f"shape must hold sizes of at least 0, or one -1, got {list(wanted)}")
    return wanted


def _size_beside_zeros(shape: tuple[int, ...], wanted: Sequence[int]) -> int:
    """What -1 means beside a 0: the size that fits when zeros are left out on both sides."""
    there = math.prod(size for size in shape if size)
    other = math.prod(size for size in wanted if size > 0)
    if there % other and 0 not in shape:
        raise ValueError(f"can't reshape {shape} to {list(wanted)}: {there} is no multiple of {other}")
    return there // other


@specialized("Squeeze")
def Squeeze(*, squeeze_dims: list[int] | None = None) -> Any:
    if not squeeze_dims:
        # Not `squeeze()`: that turns scalars of strings into bare bytes.
        return lambda input: input.reshape([size for size in input.shape if size != 1])

    # The shape of the last call, which most calls have, and what it becomes.
    last: tuple[Any, Any] = None, None

    def squeeze(input: Array) -> Array:
        nonlocal last
        shape = input.shape
        known, left = last
        if known != shape:
            drop = {axis_of(axis, len(shape), "squeeze_dims") for axis in squeeze_dims}
            for axis in drop:
                if shape[axis] != 1:
                    raise ValueError(f"can only squeeze sizes of 1, dimension {axis} of {shape} is {shape[axis]}")
            left = [size for axis, size in enumerate(shape) if axis not in drop]
            last = shape, left
        return input.reshape(left)

    return squeeze


@specialized("ExpandDims")
def ExpandDims() -> Kernel:
    def prepare(dim: Array) -> int:
        if dim.size != 1:
            raise ValueError(f"dim must be a tensor with a single value, got shape {dim.shape}")
        return int(dim.item())

    def expand(input: Array, dim: int) -> Any:
        axis = axis_of(dim, input.ndim + 1, "dim")
        return input.reshape((*input.shape[:axis], 1, *input.shape[axis:]))

    return Prepared(expand, slice(1, None), prepare)


@specialized("Transpose")
def Transpose() -> Kernel:
    def transpose(x: Array, axes: list[int]) -> Any:
        if len(axes) != x.ndim:
            raise ValueError(f"perm must be a permutation of 0 to {x.ndim - 1} for rank {x.ndim}, got {axes}")
        return x.transpose(axes)

    return Prepared(transpose, slice(1, None), lambda perm: _permutation(perm, perm.size))


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


@op("InvertPermutation")
def InvertPermutation(x: Array) -> Array:
    axes = vector("x", x)
    count = len(axes)
    if sorted(axes) != list(range(count)):
        raise ValueError(f"x must be a permutation of 0 to {count - 1}, got {axes}")
    if count <= _FEW:
        return np.array([axes.index(i) for i in range(count)], x.dtype)
    out = np.empty_like(x)
    out[axes] = np.arange(count, dtype=x.dtype)
    return out


_FEW = 8


# ---- Repeated ----


@op("BroadcastTo")
def BroadcastTo(input: Array, shape: Array) -> Array:
    wanted = sizes("shape", shape)
    # A copy, not a view of stride 0: a size that memory can't hold must fail here, not turn into hours
    # of work in whatever comes next.
    out = np.empty(wanted, input.dtype)
    if input.ndim > len(wanted):
        raise ValueError(f"an input of shape {input.shape} can't be broadcast to {tuple(wanted)}")
    np.copyto(out, input)
    return out


@op("BroadcastArgs")
def BroadcastArgs(s0: Array, s1: Array) -> Array:
    rank, first, second = _aligned(s0, s1)
    return np.array([a if b == 1 else b for a, b in zip(first, second, strict=True)], s0.dtype).reshape(rank)


@specialized("BroadcastGradientArgs", outputs=2)
def BroadcastGradientArgs() -> Kernel:
    """Which axes to sum a gradient over so that it gets the shape `s0` (and `s1`) again."""
    # The last call's: in a loop all iterations mostly ask the same.
    last: tuple[Any, Any] = None, None

    def reduced(s0: Array, s1: Array) -> tuple[Array, Array]:
        nonlocal last
        asked = (s0.tobytes(), s1.tobytes(), s0.shape, s0.dtype)
        known, axes = last
        if known != asked:
            axes = _reduced(s0, s1)
            for found in axes:
                found.flags.writeable = False
            last = asked, axes
        return axes  # type: ignore[no-any-return]

    return reduced


def _reduced(s0: Array, s1: Array) -> tuple[Array, Array]:
    rank, first, second = _aligned(s0, s1)
    if s0.shape == s1.shape and first == second:
        return np.empty(0, s0.dtype), np.empty(0, s0.dtype)
    # TensorFlow lists an axis that is 1 in both for both, unless the shapes are the same.
    return (
        np.array([i for i in range(rank) if first[i] == 1], s0.dtype),
        np.array([i for i in range(rank) if second[i] == 1], s0.dtype),
    )


def _aligned(s0: Array, s1: Array) -> tuple[int, list[int], list[int]]:
    """The rank of a broadcast result and both shapes with that rank. Raises `ValueError` for a misfit."""
    first, second = vector("s0", s0), vector("s1", s1)
    rank = max(len(first), len(second))
    first = [1] * (rank - len(first)) + first
    second = [1] * (rank - len(second)) + second
    if any(a != b and a != 1 and b != 1 for a, b in zip(first, second, strict=True)):
        raise ValueError(f"shapes can't be broadcast together: {s0.tolist()} and {s1.tolist()}")
    return rank, first, second


@specialized("Tile")
def Tile() -> Kernel:
    return Prepared(_tile, slice(1, None), lambda multiples: sizes("multiples", multiples))


def _tile(input: Array, times: list[int]) -> Array:
    shape = input.shape
    if len(times) != len(shape):
        raise ValueError(f"multiples must have one number per dimension of shape {shape}, got {times}")
    if max(times, default=1) == 1 == min(times, default=1):
        return input
    if input.size == 1:  # a gradient that goes to all alike
        out = np.empty(times, input.dtype)
        out[...] = input
        return out
    if times.count(1) == len(times) - 1:
        axis = next(i for i, n in enumerate(times) if n != 1)
        if shape[axis] == 1:  # one column for all
            return input.repeat(times[axis], axis)
    interleaved = [size for pair in zip(times, shape, strict=True) for size in pair]
    out = np.empty(interleaved, input.dtype)
    out[...] = input.reshape([size for n in shape for size in (1, n)])
    return out.reshape([n * size for n, size in zip(times, shape, strict=True)])


@op("TileGrad")
def TileGrad(input: Array, multiples: Array) -> Any:
    times = sizes("multiples", multiples)
    shape = input.shape
    if len(times) != len(shape) or any(n == 0 or size % n for n, size in zip(times, shape, strict=True)):
        raise ValueError(f"multiples must divide the sizes of the input's shape {shape}, got {times}")
    split = [size for n, whole in zip(times, shape, strict=True) for size in (n, whole // n)]
    return input.reshape(split).sum(axis=tuple(range(0, 2 * len(times), 2)), dtype=input.dtype)


# ---- The same bytes ----


@specialized("Bitcast")
def Bitcast(*, type: DType) -> Any:
    dtype = type.numpy

    def bitcast(input: Array) -> Any:
        here, there = input.dtype.itemsize, dtype.itemsize
        if here == there:
            return input.view(dtype)
        if here > there:
            return np.ascontiguousarray(input).reshape((*input.shape, 1)).view(dtype)
        if not input.ndim or input.shape[-1] * here != there:
            raise ValueError(
                f"can't bitcast {input.dtype} to {dtype}: the last dimension of shape {input.shape} must be "
                f"{there // here}"
            )
        return np.ascontiguousarray(input).view(dtype).reshape(input.shape[:-1])

    return bitcast
