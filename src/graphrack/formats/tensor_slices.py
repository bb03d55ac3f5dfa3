"""Parts of a tensor: how checkpoints and RestoreV2 write them down, and putting tensors together from them.

A slice has an `Extent` per dimension: (start, length), where length `FULL` means the whole dimension.

`shape_and_slice` of RestoreV2 and SaveV2 is text: the full shape's sizes and then the extents, with
blanks between, extents joined by ":", each "start,length" or "-" for the whole dimension. The part
"rows 0 and 1 of a [4, 10] tensor" is "4 10 0,2:-". The empty text means all of the tensor.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphrack.errors import GraphError
from graphrack.formats.coding import ordered_number, ordered_signed, ordered_string
from graphrack.formats.dtypes import DType

FULL = -1  # frozen: it stands in the keys of slices

Extent = tuple[int, int]
Bounds = tuple[tuple[int, int], ...]
"""A slice of a known shape: (start, stop) per dimension."""

_EXTENT = re.compile(r"-|(\d{1,18}),(\d{1,18})")


def parse_shape_and_slice(text: str) -> tuple[tuple[int, ...], tuple[Extent, ...]]:
    """Full shape and extents behind a non-empty `shape_and_slice`. Raises `GraphError`."""
    *sizes, extents = text.split(" ")
    matches = [_EXTENT.fullmatch(part) for part in extents.split(":")]
    if len(matches) != len(sizes) or not all(matches) or not all(re.fullmatch(r"\d{1,18}", s) for s in sizes):
        raise GraphError(
            f"shape_and_slice {text!r} is not of the form '4 10 0,2:-': the full shape, then per dimension "
            f"'start,length' or '-'"
        )
    slice_ = tuple((int(m[1]), int(m[2])) if m and m[1] else (0, FULL) for m in matches)
    shape = tuple(int(s) for s in sizes)
    for size, (start, length) in zip(shape, slice_, strict=True):
        if length == 0 or start + max(length, 0) > size:
            raise GraphError(f"shape_and_slice {text!r} has a part that is empty or runs out of the shape {shape}")
    return shape, slice_


def format_shape_and_slice(shape: Sequence[int], slice_: Sequence[Extent]) -> str:
    """The text of a slice, as SaveV2 and RestoreV2 take it."""
    return " ".join([*map(str, shape), format_slice(slice_)])


def format_slice(slice_: Iterable[Extent]) -> str:
    """The text of a slice without the full shape: "0,2:-"."""
    return ":".join("-" if length == FULL else f"{start},{length}" for start, length in slice_)


def slice_key(name: bytes, slice_: Sequence[Extent]) -> bytes:
    """The key under which a table holds a slice of a tensor; it sorts before every tensor's name."""
    extents = b"".join(ordered_signed(start) + ordered_signed(length) for start, length in slice_)
    return ordered_number(0) + ordered_string(name) + ordered_number(len(slice_)) + extents


def slice_of_proto(proto: Any) -> tuple[Extent, ...]:
    """A `TensorSliceProto` as extents; a missing length is the whole dimension."""
    return tuple((e.start, e.length if e.HasField("length") else FULL) for e in proto.extent)


def slice_to_proto(slice_: Sequence[Extent], proto: Any) -> None:
    """Writes extents into an empty `TensorSliceProto`."""
    for start, length in slice_:
        extent = proto.extent.add()
        if length != FULL:
            extent.start, extent.length = start, length


def bounds_of(shape: Sequence[int], slice_: Sequence[Extent]) -> Bounds | None:
    """The bounds of a slice of a tensor of that shape; None where it has another rank or runs out of it."""
    if len(shape) != len(slice_):
        return None
    bounds = tuple((0, n) if length == FULL else (s, s + length) for n, (s, length) in zip(shape, slice_, strict=True))
    inside = all(0 <= start <= stop <= n for n, (start, stop) in zip(shape, bounds, strict=True))
    return bounds if inside else None


def shape_of(bounds: Bounds) -> tuple[int, ...]:
    """The shape of what lies within the bounds."""
    return tuple(stop - start for start, stop in bounds)


def _common(a: Bounds, b: Bounds) -> Bounds:
    return tuple((max(p, r), max(min(q, s), max(p, r))) for (p, q), (r, s) in zip(a, b, strict=True))


def _within(bounds: Bounds, of: Bounds) -> tuple[slice, ...]:
    return tuple(slice(p - r, q - r) for (p, q), (r, _) in zip(bounds, of, strict=True))


def assemble(
    region: Bounds, dtype: DType, pieces: Iterable[tuple[Bounds, Callable[[], np.ndarray[Any, Any]]]]
) -> np.ndarray[Any, Any] | None:
    """What lies within `region`, from pieces given by their bounds and a function that reads them.

    Gives an array of the region's shape, or None where the pieces leave some of it out or overlap in it.
    That is found before anything is allocated or read, except where pieces are cut along several
    dimensions: then one byte per element says which are there.
    """
    wanted = math.prod(shape_of(region))
    used = [(common, bounds, read) for bounds, read in pieces if math.prod(shape_of(common := _common(region, bounds)))]
    if sum(math.prod(shape_of(common)) for common, _, _ in used) != wanted:
        return None
    if _overlap(region, [common for common, _, _ in used]):
        return None
    out = np.empty(shape_of(region), dtype.numpy)
    for common, bounds, read in used:
        out[_within(common, region)] = read()[_within(common, bounds)]
    return out


def _overlap(region: Bounds, parts: list[Bounds]) -> bool:
    cut = [axis for axis, ends in enumerate(zip(*parts, strict=True)) if len(set(ends)) > 1]
    if len(cut) == 1:  # as partitioners do
        ends = sorted(part[cut[0]] for part in parts)
        return any(before[1] > after[0] for before, after in itertools.pairwise(ends))
    if len(parts) < 2:
        return False
    there = np.zeros(shape_of(region), np.bool_)
    for part in parts:
        there[_within(part, region)] = True
    return not there.all()
