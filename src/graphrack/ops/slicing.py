"""Parts of a value: StridedSlice, Slice, Split, Unpack. All are views."""

from __future__ import annotations

from types import EllipsisType
from typing import Any

from graphrack.ops._arguments import vector
from graphrack.ops.registry import specialized
from graphrack.ops.runtime import Array

_Index = tuple["slice | int | EllipsisType | None", ...]


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

    def strided_slice(input: Array, begin: Array, end: Array, strides: Array) -> Array:
        return input[_strided_index(input.shape, begin, end, strides, masks)]

    return strided_slice


def _strided_index(
    shape: tuple[int, ...], begin: Array, end: Array, strides: Array, masks: tuple[int, int, int, int, int]
) -> _Index:
    """StridedSlice's specification as a NumPy index (views only, never a bare element).

    Per position the ellipsis mask goes before the new-axis mask and that before the shrink mask. What
    begin and end mean (from the back when negative, clamped) is what Python's slices mean by them.
    """
    begins, ends, steps = vector("begin", begin), vector("end", end), vector("strides", strides)
    if not len(begins) == len(ends) == len(steps):
        raise ValueError(
            f"begin, end and strides must have one length, got {len(begins)}, {len(ends)} and {len(steps)}"
        )
    begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask = masks
    count, rank = len(begins), len(shape)
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
        elif axis >= rank:
            raise ValueError(f"slice specification takes more than the {rank} dimensions of shape {shape}")
        else:
            step = steps[i]
            if step == 0:
                raise ValueError(f"strides[{i}] must be non-zero")
            if shrink_axis_mask & bit:
                at, size = begins[i], shape[axis]
                if step < 0:
                    raise ValueError(f"strides[{i}] must be positive for a shrunk axis, got {step}")
                if not -size <= at < size:
                    raise ValueError(f"slice index {at} of dimension {axis} is out of bounds: {shape}")
                index.append(at)
            else:
                index.append(
                    slice(None if begin_mask & bit else begins[i], None if end_mask & bit else ends[i], step)
                )
            axis += 1
    if not ellipses:
        index.append(Ellipsis)
    return tuple(index)
