"""Parts of a value: StridedSlice, Slice, Split, SplitV, Unpack. Large ones are views."""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any

import numpy as np

from graphrack.ops._arguments import axis_of, scalar, sizes, vector, zeros
from graphrack.ops.registry import MANY, Kernel, Prepared, op, specialized
from graphrack.ops.runtime import Array

_Index = tuple["slice | int | EllipsisType | None", ...]
_Prepared = tuple[Any, tuple[Array, Array, Array]]
"""An index, and what it was made of: begin, end and strides."""
_Masks = tuple[int, int, int, int, int]


@specialized("StridedSlice")
def StridedSlice(
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Any:
    masks = (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)

    def strided_slice(input: Array, prepared: _Prepared) -> Any:
        part = _part(input, prepared, masks)
        # With NumPy's scalars Python reckons in a tenth of the time that arrays of rank 0 take.
        return part if part.ndim or part.dtype.hasobject else part[()]

    return Prepared(strided_slice, slice(1, None), _prepared(masks))


def _part(value: Array, prepared: _Prepared, masks: _Masks) -> Array:
    index, (begin, end, strides) = prepared
    try:
        return value[index]
    except IndexError:
        return value[strided_index(value.shape, begin, end, strides, masks)]  # which tells what is wrong


def _prepared(masks: _Masks) -> Callable[[Array, Array, Array], _Prepared]:
    return lambda begin, end, strides: (strided_index(None, begin, end, strides, masks), (begin, end, strides))


def strided_index(shape: tuple[int, ...] | None, begin: Array, end: Array, strides: Array, masks: _Masks) -> _Index:
    """StridedSlice's specification as a NumPy index (views only, never a bare element).

    Without a shape it isn't looked at whether the index fits one; NumPy does where it is used.

    Per position the ellipsis mask goes before the new-axis mask and that before the shrink mask. What
    begin and end mean (from the back when negative, clamped) is what Python's slices mean by them.
    """
    begins, ends, steps = vector("begin", begin), vector("end", end), vector("strides", strides)
    if not len(begins) == len(ends) == len(steps):
        raise ValueError(
            f"begin, end and strides must have one length, got {len(begins)}, {len(ends)} and {len(steps)}"
        )
    begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask = masks
    count, rank = len(begins), 0 if shape is None else len(shape)
    if ellipsis_mask & (ellipsis_mask - 1):
        raise ValueError("multiple ellipses in the slice specification (ellipsis_mask) are not allowed")
    ellipses = ellipsis_mask & (1 << count) - 1
    index: list[Any] = []
    axis = 0
    for i in range(count):
        bit = 1 << i
        if ellipses & bit:
            index.append(Ellipsis)
            later = sum(not new_axis_mask >> j & 1 for j in range(i + 1, count))
            axis = max(axis, rank - later)
        elif new_axis_mask & bit:
            index.append(None)
        elif shape is not None and axis >= rank:
            raise ValueError(f"slice specification takes more than the {rank} dimensions of shape {shape}")
        else:
            step = steps[i]
            if step == 0:
                raise ValueError(f"strides[{i}] must be non-zero")
            if shrink_axis_mask & bit:
                at = begins[i]
                if step < 0:
                    raise ValueError(f"strides[{i}] must be positive for a shrunk axis, got {step}")
                if shape is not None and not -shape[axis] <= at < shape[axis]:
                    raise ValueError(f"slice index {at} of dimension {axis} is out of bounds: {shape}")
                index.append(at)
            else:
                index.append(slice(None if begin_mask & bit else begins[i], None if end_mask & bit else ends[i], step))
            axis += 1
    if not ellipses:
        index.append(Ellipsis)
    return tuple(index)


@specialized("StridedSliceGrad")
def StridedSliceGrad(
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Any:
    masks = (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)

    def strided_slice_grad(dy: Array, prepared: tuple[list[int], _Prepared]) -> Array:
        shape, index = prepared
        out = zeros(shape, dy.dtype)
        part = _part(out, index, masks)
        if part.shape != dy.shape:
            raise ValueError(f"dy must have the slice's shape {part.shape}, got {dy.shape}")
        part[...] = dy
        return out

    index_of = _prepared(masks)

    def prepare(shape: Array, begin: Array, end: Array, strides: Array) -> tuple[list[int], _Prepared]:
        return sizes("shape", shape), index_of(begin, end, strides)

    return Prepared(strided_slice_grad, slice(None, 4), prepare)


@specialized("Slice")
def Slice() -> Kernel:
    return Prepared(_cut, slice(1, None), _prepared_cut)


_Cut = tuple[list[int], list[int], tuple[slice, ...] | None]


def _prepared_cut(begin: Array, size: Array) -> _Cut:
    """Where a slice begins and how large it is, and the index that takes it where both are right and known."""
    begins, counts = vector("begin", begin), vector("size", size)
    if not begins or len(begins) != len(counts) or min(begins) < 0 or min(counts) < 1:
        return begins, counts, None
    return begins, counts, tuple([slice(at, at + count) for at, count in zip(begins, counts, strict=True)])


def _cut(input: Array, prepared: _Cut) -> Array:
    begins, counts, known = prepared
    shape = input.shape
    if known is not None and len(known) == len(shape):
        out = input[known]
        if list(out.shape) == counts:  # NumPy has cut off nothing that reaches outside
            return out
    if not len(begins) == len(counts) == len(shape):
        raise ValueError(
            f"begin and size must have one number per dimension of shape {shape}, got {begins} and {counts}"
        )
    index: list[Any] = []
    for at, count, whole in zip(begins, counts, shape, strict=True):
        stop = whole if count == -1 else at + count
        if not 0 <= at <= stop <= whole:
            raise ValueError(f"slice of size {counts} at {begins} reaches outside of shape {shape}")
        index.append(slice(at, stop))
    return input[tuple(index)] if index else input


_SMALL = 1 << 16
"""Bytes of which the parts along an inner axis are copied, as columns of few elements always are: most of what takes
them needs half the time or less where they are contiguous."""
_NARROW = 4


@specialized("Split", outputs=MANY)
def Split(*, num_split: int) -> Any:
    # Those of the last call, which nearly all calls have in common: (axis, size) and an index for each part.
    last: tuple[tuple[int, int], list[tuple[slice, ...]]] = (-1, -1), []

    def split(value: Array, axis: int) -> list[Array]:
        nonlocal last
        axis = axis_of(axis, value.ndim, "split_dim")
        whole = value.shape[axis]
        known, indices = last
        if known != (axis, whole):
            each, rest = divmod(whole, num_split)
            if rest:
                raise ValueError(
                    f"dimension {axis} of shape {value.shape} can't be split evenly into num_split = {num_split}"
                )
            before = (slice(None),) * axis
            indices = [(*before, slice(each * i, each * (i + 1))) for i in range(num_split)]
            last = (axis, whole), indices
        if axis and (value.nbytes <= _SMALL or (axis == value.ndim - 1 and whole <= _NARROW * num_split)):
            return [value[index].copy() for index in indices]
        return [value[index] for index in indices]

    return Prepared(split, slice(None, 1), lambda split_dim: scalar("split_dim", split_dim))


@op("SplitV", outputs=MANY)
def SplitV(value: Array, size_splits: Array, split_dim: Array, *, num_split: int) -> list[Array]:
    if split_dim.size != 1:
        raise ValueError(f"split_dim must hold one number, got shape {split_dim.shape}")
    if size_splits.size != num_split or (num_split != 1 and size_splits.ndim != 1):
        raise ValueError(
            f"size_splits must be a vector of num_split = {num_split} sizes, got shape {size_splits.shape}"
        )
    if num_split == 1:  # TensorFlow's graph optimiser leaves the op out then, whatever size and dimension are
        return [value]
    axis = axis_of(int(split_dim.item()), value.ndim, "split_dim")
    counts = size_splits.tolist()
    whole = value.shape[axis]
    known = sum(count for count in counts if count != -1)
    if counts.count(-1) == 1 and known <= whole:
        counts[counts.index(-1)] = whole - known
        known = whole
    if min(counts) < 0 or known != whole:
        raise ValueError(
            f"size_splits must add up to {whole}, the size of dimension {axis} of shape {value.shape} "
            f"(one of them may be -1), got {size_splits.tolist()}"
        )
    return _parts(value, axis, counts)


def _parts(value: Array, axis: int, counts: list[int]) -> list[Array]:
    before = (slice(None),) * axis
    parts, start = [], 0
    for count in counts:
        parts.append(value[(*before, slice(start, start + count))])
        start += count
    return parts


@specialized("Unpack", outputs=MANY)
def Unpack(*, num: int, axis: int = 0) -> Any:
    def unpack(value: Array) -> list[Array]:
        at = axis_of(axis, value.ndim)
        if value.shape[at] != num:
            raise ValueError(f"dimension {at} of shape {value.shape} must have size num = {num}")
        rows = value
        if at:
            rows = np.moveaxis(value, at, 0)
            if value.nbytes <= _SMALL:
                rows = np.ascontiguousarray(rows)
        return [rows[i, ...] for i in range(num)]

    return unpack
