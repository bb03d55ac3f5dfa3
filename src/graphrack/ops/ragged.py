"""Ragged tensors: rows of different lengths as values and row splits; made, gathered, and made dense or sparse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import INT64, DType
from graphrack.ops._arguments import filled, within, zeros
from graphrack.ops._lists import Variant
from graphrack.ops._sparse import vector64
from graphrack.ops.registry import MANY, op, specialized
from graphrack.ops.runtime import Array


def _checked_splits(splits: Array, count: int, name: str, *, whole: bool = True) -> Array:
    """Row splits of that many values, from the first one where `whole`. Raises `ValueError` where they are none."""
    if splits.ndim != 1 or not len(splits):
        raise ValueError(f"{name} must be a vector of one value at least, got shape {list(splits.shape)}")
    if splits[0] < 0 or (whole and splits[0] != 0) or (np.diff(splits) < 0).any():
        raise ValueError(f"{name} must begin with 0 and never fall, got {splits[:16].tolist()}")
    if splits[-1] > count:
        raise ValueError(f"{name} end at {splits[-1]}, beyond the {count} rows that they split")
    return splits


def _nested(splits: Sequence[Array], count: int, name: str, *, whole: bool = True) -> list[Array]:
    """Row splits from the outermost to the innermost, which splits `count` rows."""
    counts = [len(s) - 1 for s in splits[1:]] + [count]
    return [
        _checked_splits(s, n, f"{name}[{i}]", whole=whole) for i, (s, n) in enumerate(zip(splits, counts, strict=True))
    ]


def _within_rows(lengths: Array) -> Array:
    """0, 1, … for each row anew."""
    positions: Array = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return positions


# ---- Making ----


@specialized("RaggedRange", outputs=2)
def RaggedRange(*, Tsplits: DType = INT64) -> Any:
    limit = np.iinfo(Tsplits.numpy).max

    def kernel(starts: Array, limits: Array, deltas: Array) -> tuple[Array, Array]:
        given = {"starts": starts, "limits": limits, "deltas": deltas}
        for name, value in given.items():
            if value.ndim > 1:
                raise ValueError(f"{name} must be a scalar or a vector, got shape {list(value.shape)}")
        sizes = {len(v) for v in given.values() if v.ndim}
        if len(sizes) > 1:
            raise ValueError(f"starts, limits and deltas must be of one length, got {sorted(sizes)}")
        rows = sizes.pop() if sizes else 1
        first, last, step = (np.broadcast_to(v, rows) for v in given.values())
        if not step.all():
            raise ValueError(f"deltas must not be zero, got {deltas.tolist()}")
        kind = starts.dtype
        if kind.kind == "f":
            counts = np.ceil(np.abs((last - first) / step))
        else:
            wide = last.astype(object) - first.astype(object)
            counts = np.array([-(-abs(w) // abs(int(s))) for w, s in zip(wide, step, strict=True)], object)
        counts = np.where(((step > 0) & (first < last)) | ((step < 0) & (first > last)), counts, 0)
        total = sum(counts.tolist())
        if not total <= limit:
            raise ValueError(f"the ranges have {total} values, more than {Tsplits} row splits can count")
        lengths = counts.astype(np.int64)
        splits = np.concatenate([[0], np.cumsum(lengths)]).astype(Tsplits.numpy)
        if kind.kind == "f":
            # TensorFlow adds the step again and again, with what that loses.
            values = np.concatenate([_summed(f, s, n) for f, s, n in zip(first, step, lengths, strict=True)] or [first])
        else:
            values = np.repeat(first, lengths) + _within_rows(lengths).astype(kind) * np.repeat(step, lengths)
        return splits, values.astype(kind, copy=False)

    return kernel


def _summed(first: Any, step: Any, count: Any) -> Array:
    terms = np.full(int(count), step)
    terms[:1] = first
    return np.add.accumulate(terms, dtype=terms.dtype)


@op("RaggedGather", outputs=MANY)
def RaggedGather(*inputs: Array, PARAMS_RAGGED_RANK: int, OUTPUT_RAGGED_RANK: int) -> list[Array]:
    splits = _nested(inputs[:PARAMS_RAGGED_RANK], len(inputs[-2]), "params_nested_splits", whole=False)
    values, indices = inputs[-2], np.asarray(inputs[-1])
    within("indices", indices, len(splits[0]) - 1)
    # Axes of the indices themselves become splits of equal lengths.
    dtype = splits[0].dtype
    found: list[Array] = []
    for axis in range(indices.ndim - 1):
        rows = int(np.prod(indices.shape[: axis + 1]))
        found.append(np.arange(rows + 1, dtype=dtype) * dtype.type(indices.shape[axis + 1]))
    chosen = indices.reshape(-1).astype(np.int64)
    for split in splits:
        starts, lengths = split[:-1][chosen].astype(np.int64), np.diff(split)[chosen].astype(np.int64)
        found.append(np.concatenate([[0], np.cumsum(lengths)]).astype(dtype))
        chosen = np.repeat(starts, lengths) + _within_rows(lengths)
    return [*found, values[chosen]]


# ---- To other forms ----


@op("RaggedTensorToSparse", outputs=3)
def RaggedTensorToSparse(*inputs: Array, RAGGED_RANK: int) -> tuple[Array, Array, Array]:
    values = inputs[-1]
    if values.ndim < 1:
        raise ValueError("rt_dense_values must be of rank 1 at least, got a scalar")
    splits = _nested(inputs[:RAGGED_RANK], len(values), "rt_nested_splits")
    if splits[-1][-1] != len(values):
        raise ValueError(f"rt_nested_splits end at {splits[-1][-1]}, there are {len(values)} values")
    # From the outermost axis inward: what comes before in the index is repeated for each row's elements.
    columns = [np.arange(len(splits[0]) - 1)]
    shape = [len(splits[0]) - 1]
    for split in splits:
        lengths = np.diff(split).astype(np.int64)
        columns = [np.repeat(column[: len(lengths)], lengths) for column in columns]
        columns.append(_within_rows(lengths))
        shape.append(int(lengths.max(initial=0)))
    indices = np.stack(columns, axis=1).astype(np.int64)
    inner = values.shape[1:]
    if inner:
        each = np.stack(np.unravel_index(np.arange(int(np.prod(inner))), inner), axis=1)
        indices = np.concatenate([np.repeat(indices, len(each), axis=0), np.tile(each, (len(indices), 1))], axis=1)
    return indices, values.reshape(-1), vector64([*shape, *inner])


@op("RaggedTensorToTensor")
def RaggedTensorToTensor(
    shape: Array, values: Array, default_value: Any, *row_partition_tensors: Array, row_partition_types: list[bytes]
) -> Array:
    kinds = [kind.decode() for kind in row_partition_types]
    tensors = list(row_partition_tensors)
    if len(kinds) != len(tensors) or not kinds:
        raise ValueError(f"{len(kinds)} row_partition_types are given for {len(tensors)} row partition tensors")
    rows: int
    if kinds[0] == "FIRST_DIM_SIZE":
        rows = int(tensors[0])
        kinds, tensors = kinds[1:], tensors[1:]
    elif kinds[0] == "ROW_SPLITS":
        rows = len(tensors[0]) - 1
    else:
        raise ValueError(f"row_partition_types must begin with FIRST_DIM_SIZE or ROW_SPLITS, got {kinds}")
    wanted = [-1] * (len(kinds) + values.ndim) if shape.ndim == 0 else shape.tolist()
    if shape.ndim == 0 and shape != -1:
        raise ValueError(f"a shape that is a scalar must be -1 (unknown), got {shape}")
    if len(wanted) != len(kinds) + values.ndim:
        raise ValueError(f"shape {wanted} must be of rank {len(kinds) + values.ndim}")
    for size, own in zip(wanted[len(kinds) + 1 :], values.shape[1:], strict=True):
        if size not in (-1, own):
            raise ValueError(f"shape {wanted} doesn't fit values of shape {list(values.shape)}")
    inner = values.shape[1:]
    default = np.asarray(default_value)
    # Parents of each row, axis by axis, and its place among their children.
    columns = [np.arange(rows)]
    sizes = [rows]
    for kind, tensor in zip(kinds, tensors, strict=True):
        parents, places = _partition(kind, np.asarray(tensor), len(columns[0]))
        columns = [column[parents] for column in columns] + [places]
        sizes.append(int(places.max(initial=-1)) + 1)
        if kind == "ROW_SPLITS":
            sizes[-1] = int(np.diff(tensor).max(initial=0))
    if len(columns[0]) > len(values):
        raise ValueError(f"the row partitions make {len(columns[0])} values, there are {len(values)}")
    values = values[: len(columns[0])]
    outer = [size if given < 0 else given for size, given in zip(sizes, wanted, strict=False)]
    if default.ndim > len(inner) or any(
        d not in (1, s) for d, s in zip(default.shape[::-1], inner[::-1], strict=False)
    ):
        raise ValueError(f"default_value of shape {list(default.shape)} can't be broadcast to {list(inner)}")
    out = filled([*outer, *inner], default, values.dtype)
    kept = np.ones(len(values), bool)
    for column, size in zip(columns, outer, strict=True):
        kept &= column < size
    out[tuple(column[kept] for column in columns)] = values[kept]
    return out


def _partition(kind: str, tensor: Array, parents: int) -> tuple[Array, Array]:
    """For each row its parent and its place among the parent's rows."""
    if kind == "ROW_SPLITS":
        _checked_splits(tensor, int(tensor[-1]) if tensor.ndim == 1 and tensor.size else 0, "row splits")
        if len(tensor) - 1 != parents:
            raise ValueError(f"row splits of {len(tensor) - 1} rows split {parents}")
        lengths = np.diff(tensor).astype(np.int64)
        return np.repeat(np.arange(parents), lengths), _within_rows(lengths)
    if kind == "VALUE_ROWIDS":
        if tensor.ndim != 1 or (np.diff(tensor) < 0).any():
            raise ValueError("value row ids must be a vector that never falls")
        within("value row ids", tensor, parents)
        lengths = np.bincount(tensor, minlength=parents).astype(np.int64)
        return tensor.astype(np.int64), _within_rows(lengths)
    raise ValueError(f"row_partition_types must be ROW_SPLITS or VALUE_ROWIDS after the first, got {kind}")


# ---- Variants ----


class RaggedVariant(Variant):
    """A ragged tensor as one element of a variant tensor: nested splits, outermost first, and values."""

    __slots__ = ("splits", "values")

    def __init__(self, splits: list[Array], values: Array):
        self.splits = splits
        self.values = values

    def zeros_like(self) -> RaggedVariant:
        """Zeros in rows of the same lengths."""
        return RaggedVariant(self.splits, zeros(self.values.shape, self.values.dtype))

    def plus(self, other: Any) -> RaggedVariant:
        """The sum of values in rows of the same lengths."""
        same = isinstance(other, RaggedVariant) and len(self.splits) == len(other.splits)
        if not same or not all(map(np.array_equal, self.splits, other.splits)):
            raise ValueError("ragged tensors with other rows can't be added")
        return RaggedVariant(self.splits, self.values + other.values)


@op("RaggedTensorToVariant")
def RaggedTensorToVariant(*inputs: Array, RAGGED_RANK: int, batched_input: bool) -> Array:
    splits, values = list(inputs[:RAGGED_RANK]), inputs[-1]
    if not batched_input:
        alone = np.empty((), object)
        alone[()] = RaggedVariant(splits, values)
        return alone
    if not splits:
        parts = [RaggedVariant([], np.asarray(row)) for row in values]
    else:
        splits = _nested(splits, len(values), "rt_nested_splits")
        parts = [_row(splits, values, i) for i in range(len(splits[0]) - 1)]
    out = np.empty(len(parts), object)
    out[:] = parts
    return out


def _row(splits: Sequence[Array], values: Array, index: int) -> RaggedVariant:
    """One row of a ragged tensor, which is ragged by one axis less."""
    start, end = int(splits[0][index]), int(splits[0][index + 1])
    inner = []
    for split in splits[1:]:
        part = split[start : end + 1]
        inner.append(part - part[0])
        start, end = int(part[0]), int(part[-1])
    return RaggedVariant(inner, values[start:end])


@specialized("RaggedTensorFromVariant", outputs=MANY)
def RaggedTensorFromVariant(
    *, input_ragged_rank: int, output_ragged_rank: int, Tvalues: DType, Tsplits: DType = INT64
) -> Any:
    def kernel(encoded_ragged: Array) -> list[Array]:
        encoded = np.asarray(encoded_ragged, object)
        rank = output_ragged_rank - encoded.ndim if input_ragged_rank < 0 else input_ragged_rank
        if rank < 0 or output_ragged_rank != rank + encoded.ndim:
            raise ValueError(
                f"variants of shape {list(encoded.shape)} and ragged rank {input_ragged_rank} don't make "
                f"one of ragged rank {output_ragged_rank}"
            )
        parts: list[RaggedVariant] = encoded.reshape(-1).tolist()
        for part in parts:
            if not isinstance(part, RaggedVariant) or len(part.splits) != rank:
                raise ValueError(f"variants must hold ragged tensors of ragged rank {rank}")
            if part.values.dtype != Tvalues.numpy:
                raise ValueError(f"a variant holds {part.values.dtype}, {Tvalues} is expected")
        if not encoded.ndim:
            return [*parts[0].splits, parts[0].values]
        dtype = Tsplits.numpy
        outer = [
            np.arange(int(np.prod(encoded.shape[:axis])) + 1, dtype=dtype) * dtype.type(encoded.shape[axis])
            for axis in range(1, encoded.ndim)
        ]
        rows = [len(p.splits[0]) - 1 if rank else len(p.values) for p in parts]
        found = [np.concatenate([[0], np.cumsum(rows)]).astype(dtype)]
        for level in range(rank):
            lengths = np.concatenate([np.diff(p.splits[level]) for p in parts] or [np.empty(0, dtype)])
            found.append(np.concatenate([[0], np.cumsum(lengths)]).astype(dtype))
        values = np.concatenate([p.values for p in parts]) if parts else np.empty(0, Tvalues.numpy)
        return [*outer, *found, values]

    return kernel
