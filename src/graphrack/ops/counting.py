"""Counts of integers, and the places of numbers among boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DOUBLE, DType
from graphrack.ops._arguments import scalar
from graphrack.ops._sparse import sparse
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array


@specialized("Bucketize")
def Bucketize(*, T: DType, boundaries: Sequence[float]) -> Kernel:
    # Boundaries are float32; integers are compared with them as float32, doubles as doubles.
    common = np.float64 if T == DOUBLE else np.float32
    edges: Array = np.array(boundaries, np.float32).astype(common)
    if (edges[1:] < edges[:-1]).any():
        raise ValueError(f"boundaries must be sorted, got {list(boundaries)}")

    def run(input: Array) -> Any:
        return np.searchsorted(edges, input.astype(common), "right").astype(np.int32)

    return run


def _tally(shape: tuple[int, ...], rows: Array | None, values: Array, weights: Array, T: DType, binary: bool) -> Array:
    """Adds each value's weight to its bin.

    Attributes:
        shape: of the result: the number of bins, after the number of rows where there are rows.
        rows: which row each value belongs to, or None.
        values: a vector of bins; those past the last are left out.
        weights: of `values`, or empty: each weighs 1.
        binary: bins get 1 for any number of values.
    """
    size = shape[-1]
    if values.size and values.min() < 0:
        raise ValueError(f"values to count must not be negative, got {values.min()}")
    if weights.size not in (0, values.size):
        raise ValueError(f"weights must be empty or as many as values ({values.size}), got {weights.size}")
    out = np.zeros(shape, T.numpy)
    inside = values < size
    if not inside.all():
        rows = None if rows is None else rows[inside]
        weights = weights[inside] if weights.size else weights
        values = values[inside]
    index = values if rows is None else rows * size + values
    if binary:
        out.reshape(-1)[index] = 1
    elif weights.size:
        np.add.at(out.reshape(-1), index, weights)
    elif index.size:
        found = np.bincount(index)
        out.reshape(-1)[: found.size] = found
    return out


def _size(size: Array) -> int:
    count = scalar("size", size)
    if count < 0:
        raise ValueError(f"size must be at least 0, got {count}")
    return count


@specialized("Bincount")
def Bincount(*, T: DType) -> Kernel:
    def run(arr: Array, size: Array, weights: Array) -> Any:
        return _tally((_size(size),), None, arr.reshape(-1), weights.reshape(-1), T, False)

    return run


@specialized("DenseBincount")
def DenseBincount(*, T: DType, binary_output: bool = False) -> Kernel:
    def run(input: Array, size: Array, weights: Array) -> Any:
        if input.ndim > 2:
            raise ValueError(f"input must have at most 2 dimensions, got shape {input.shape}")
        if weights.size and weights.shape != input.shape:
            raise ValueError(f"weights must be empty or have input's shape {input.shape}, got {weights.shape}")
        shape: tuple[int, ...] = (_size(size),)
        rows = None
        if input.ndim == 2:
            shape = (input.shape[0], *shape)
            rows = np.repeat(np.arange(input.shape[0]), input.shape[1])
        return _tally(shape, rows, input.reshape(-1), weights.reshape(-1), T, binary_output)

    return run


@specialized("RaggedBincount")
def RaggedBincount(*, T: DType, binary_output: bool = False) -> Kernel:
    def run(splits: Array, values: Array, size: Array, weights: Array) -> Any:
        if splits.ndim != 1 or not splits.size:
            raise ValueError(f"splits must be a vector of at least one element, got shape {splits.shape}")
        lengths = np.diff(splits)
        if splits[0] != 0 or splits[-1] != values.size or (lengths < 0).any():
            raise ValueError(f"splits must rise from 0 to the number of values, {values.size}; got {splits}")
        rows = np.repeat(np.arange(lengths.size), lengths)
        return _tally((lengths.size, _size(size)), rows, values, weights, T, binary_output)

    return run


@specialized("SparseBincount")
def SparseBincount(*, T: DType, binary_output: bool = False) -> Kernel:
    def run(indices: Array, values: Array, dense_shape: Array, size: Array, weights: Array) -> Any:
        if values.ndim != 1 or indices.ndim != 2 or indices.shape != (values.size, dense_shape.size):
            raise ValueError(
                f"indices must hold {dense_shape.size} coordinates of each of the values, "
                f"got shapes {indices.shape} and {values.shape}"
            )
        if dense_shape.size == 1:
            return _tally((_size(size),), None, values, weights, T, binary_output)
        rows = indices[:, 0]
        count = int(dense_shape[0])
        if rows.size and not 0 <= rows.min() <= rows.max() < count:
            raise ValueError(f"indices must name rows in [0, {count}), got {rows.min()} to {rows.max()}")
        return _tally((count, _size(size)), rows, values, weights, T, binary_output)

    return run


# ---- Sparse counts ----


def _sparse_counts(
    rows: Array,
    values: Array,
    weights: Array,
    row_count: int | None,
    output: DType,
    least: int,
    most: int,
    binary: bool,
) -> tuple[Array, Array, Array]:
    """How often each value comes in each row, without the zeros.

    Attributes:
        rows: of each value (int64).
        row_count: None where there is but one, whose number is left out of the indices.
        least, most: the least number of columns, and the number from which on values don't count; -1 for none.
    """
    if values.size and values.min() < 0:
        raise ValueError(f"values to count must not be negative, got {values.min()}")
    if weights.size not in (0, values.size):
        raise ValueError(f"weights must be empty or as many as values ({values.size}), got {weights.size}")
    values = values.astype(np.int64)
    columns = most if most >= 0 else max(int(values.max(initial=0)) + 1, least)
    if most >= 0:
        inside = values < most
        rows, values, weights = rows[inside], values[inside], weights[inside] if weights.size else weights
    order = np.lexsort((values, rows))
    rows, values = rows[order], values[order]
    first = np.ones(len(values), bool)
    first[1:] = (rows[1:] != rows[:-1]) | (values[1:] != values[:-1])
    starts = np.flatnonzero(first)
    counts: Array
    if binary or not weights.size:
        counts = np.ones(len(starts)) if binary else np.diff(starts, append=len(values))
        counts = counts.astype(output.numpy)
    else:
        counts = np.add.reduceat(weights[order], starts) if starts.size else weights[:0]
    indices = values[starts][:, None] if row_count is None else np.stack([rows[starts], values[starts]], axis=1)
    shape = [columns] if row_count is None else [row_count, columns]
    return indices, counts.astype(output.numpy, copy=False), np.array(shape, np.int64)


@specialized("DenseCountSparseOutput", outputs=3)
def DenseCountSparseOutput(
    *, output_type: DType, binary_output: bool, minlength: int = -1, maxlength: int = -1
) -> Kernel:
    def run(values: Array, weights: Array) -> Any:
        if values.ndim not in (1, 2):
            raise ValueError(f"values must be a vector or a matrix, got shape {values.shape}")
        if values.ndim == 2 and not len(values):
            raise ValueError(f"values must have at least one row, got shape {values.shape}")
        if weights.size and weights.shape != values.shape:
            raise ValueError(f"weights must be empty or have values' shape {values.shape}, got {weights.shape}")
        rows = np.repeat(np.arange(len(values)), values.shape[1]) if values.ndim == 2 else np.zeros(len(values), int)
        count = len(values) if values.ndim == 2 else None
        flat = values.reshape(-1), weights.reshape(-1)
        return _sparse_counts(rows, *flat, count, output_type, minlength, maxlength, binary_output)

    return run


@specialized("SparseCountSparseOutput", outputs=3)
def SparseCountSparseOutput(
    *, output_type: DType, binary_output: bool, minlength: int = -1, maxlength: int = -1
) -> Kernel:
    def run(indices: Array, values: Array, dense_shape: Array, weights: Array) -> Any:
        tensor = sparse(indices, values, dense_shape, "the input")
        if not tensor.shape:
            raise ValueError("dense_shape must not be empty")
        if weights.size and weights.shape != values.shape:
            raise ValueError(f"weights must be empty or have values' shape {values.shape}, got {weights.shape}")
        single = len(tensor.shape) == 1
        rows = np.zeros(len(values), np.int64) if single else tensor.indices[:, 0]
        count = None if single else tensor.shape[0]
        return _sparse_counts(rows, values, weights, count, output_type, minlength, maxlength, binary_output)

    return run


@specialized("RaggedCountSparseOutput", outputs=3)
def RaggedCountSparseOutput(
    *, output_type: DType, binary_output: bool, minlength: int = -1, maxlength: int = -1
) -> Kernel:
    def run(splits: Array, values: Array, weights: Array) -> Any:
        lengths = np.diff(splits)
        if splits.ndim != 1 or not splits.size or splits[0] or splits[-1] != values.size or (lengths < 0).any():
            raise ValueError(f"splits must rise from 0 to the number of values, {values.size}; got {splits[:16]}")
        if weights.size and weights.shape != values.shape:
            raise ValueError(f"weights must be empty or have values' shape {values.shape}, got {weights.shape}")
        rows = np.repeat(np.arange(len(lengths)), lengths)
        return _sparse_counts(rows, values, weights, len(lengths), output_type, minlength, maxlength, binary_output)

    return run
