"""Several values made one (Pack, ConcatV2, DynamicStitch) and one made several (DynamicPartition)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import are_within, axis_of, legacy_scalar, scalar, vector, within, zeros
from graphrack.ops.registry import MANY, Prepared, op, specialized
from graphrack.ops.runtime import Array

_FEW = 32
"""Rows that Python sorts sooner than NumPy."""


@specialized("Pack")
def Pack(*, axis: int = 0, T: DType) -> Any:
    dtype, kind = T.numpy, T.numpy.type

    def pack(*values: Array) -> Array:
        if values[0].__class__ is kind and axis in (0, -1):  # numbers, which indices are made of in loops
            row = np.empty(len(values), dtype)
            for i, value in enumerate(values):
                if value.__class__ is not kind and value.shape:
                    break
                row[i] = value
            else:
                return row
        shape = values[0].shape
        for i, value in enumerate(values):
            if value.shape != shape:
                raise ValueError(f"values must have one shape, got {shape} and (values[{i}]) {value.shape}")
        at = axis_of(axis, len(shape) + 1)
        out = np.empty((*shape[:at], len(values), *shape[at:]), values[0].dtype)
        rows = out if at == 0 else np.moveaxis(out, at, 0)
        for i, value in enumerate(values):
            rows[i, ...] = value
        return out

    return pack


@specialized("ConcatV2")
def ConcatV2() -> Any:
    def concat(*values_and_axis: Any) -> Array:
        *values, axis = values_and_axis
        return _concat(values, axis)

    return Prepared(concat, slice(-1, None), lambda axis: legacy_scalar("axis", axis))


@op("Concat")
def Concat(concat_dim: Array, *values: Array) -> Array:
    return _concat(values, legacy_scalar("concat_dim", concat_dim))


def _concat(values: Sequence[Array], axis: int) -> Array:
    rank = values[0].ndim
    if not -rank <= axis < rank:
        axis_of(axis, rank)
    return np.concatenate(values, axis)


@op("ConcatOffset", outputs=MANY)
def ConcatOffset(concat_dim: Array, *shape: Array) -> list[Array]:
    shapes = [vector("shape", one) for one in shape]
    axis = axis_of(scalar("concat_dim", concat_dim), len(shapes[0]), "concat_dim")
    offsets, at = [], 0
    for one, given in zip(shapes, shape, strict=True):
        if len(one) != len(shapes[0]) or any(
            a != b for i, (a, b) in enumerate(zip(one, shapes[0], strict=True)) if i != axis
        ):
            raise ValueError(f"shapes must agree except in dimension {axis}, got {shapes[0]} and {one}")
        offset = np.zeros_like(given)
        offset[axis] = at
        offsets.append(offset)
        at += one[axis]
    return offsets


@op("ParallelConcat")
def ParallelConcat(*values: Array, shape: tuple[int, ...]) -> Array:
    for value in values:
        if value.shape != (1, *shape[1:]):
            raise ValueError(f"values must have shape {(1, *shape[1:])}, got {value.shape}")
    if len(values) != shape[0]:
        raise ValueError(f"shape {shape} wants {shape[0]} values, got {len(values)}")
    return np.concatenate(values)


@op("DynamicStitch", "ParallelDynamicStitch")
def DynamicStitch(*indices_and_data: Array) -> Array:
    """Rows put at the indices given; where one is given twice, the later row stays.

    Rows that no index names hold zeros (TensorFlow leaves them unspecified).
    """
    count = len(indices_and_data) // 2
    indices, data = indices_and_data[:count], indices_and_data[count:]
    row = data[0].shape[indices[0].ndim :]
    for where, what in zip(indices, data, strict=True):
        if what.shape != where.shape + row:
            raise ValueError(f"data must have shape {where.shape + row} for its indices, got {what.shape}")
    if not row and data[0].dtype.kind in "iu" and sum([where.size for where in indices]) <= _FEW:
        return _few_numbers(indices, data)
    places = [where.reshape(-1) for where in indices]
    if sum([place.size for place in places]) <= _FEW:
        listed = [number for place in places for number in place.tolist()]
        source = sorted(range(len(listed)), key=listed.__getitem__)
        if [listed[i] for i in source] == list(range(len(listed))):  # what was parted is put together again
            parts = [what.reshape((place.size, *row)) for place, what in zip(places, data, strict=True)]
            return np.concatenate(parts).take(source, 0)
    everywhere = np.concatenate(places) if count > 1 else places[0]
    top = int(everywhere.max()) + 1 if everywhere.size else 0
    if not are_within(everywhere, top):
        for where in indices:
            within("indices", where, top)
    out = zeros((top, *row), data[0].dtype)
    for place, what in zip(places, data, strict=True):
        out[place] = what.reshape((place.size, *row))
    return out


_FEW = 16


def _few_numbers(indices: Sequence[Array], data: Sequence[Array]) -> Array:
    """A few numbers put in order: gradients of reductions make their shapes so."""
    places = [place for where in indices for place in where.reshape(-1).tolist()]
    values = [value for what in data for value in what.reshape(-1).tolist()]
    top = max(places, default=-1) + 1
    if places and min(places) < 0:
        for where in indices:
            within("indices", where, top)
    out = zeros((top,), data[0].dtype)
    for place, value in zip(places, values, strict=True):
        out[place] = value
    return out


@specialized("DynamicPartition", outputs=MANY)
def DynamicPartition(*, num_partitions: int) -> Any:
    def dynamic_partition(data: Array, partitions: Array) -> list[Array]:
        rank = partitions.ndim
        if data.shape[:rank] != partitions.shape:
            raise ValueError(f"data's shape {data.shape} must start with the shape of partitions {partitions.shape}")
        within("partitions", partitions, num_partitions)
        flat = partitions.reshape(-1)
        rows = data.reshape((flat.size, *data.shape[rank:]))
        if flat.size <= _FEW >= num_partitions:
            places: list[list[int]] = [[] for _ in range(num_partitions)]
            for place, number in enumerate(flat.tolist()):
                places[number].append(place)
            order = [place for part in places for place in part]
            if order != list(range(flat.size)):
                rows = rows.take(order, 0)
            ends = list(accumulate(map(len, places)))
            return [rows[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        rows = rows.take(flat.argsort(kind="stable"), 0)
        ends = np.bincount(flat, minlength=num_partitions).cumsum().tolist()
        return [rows[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    return dynamic_partition
