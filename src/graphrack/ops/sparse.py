"""Sparse tensors: reordered, reshaped, joined, cut, filled, in strings and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graphrack.formats.dtypes import STRING, DType, from_numpy
from graphrack.ops._arguments import are_within, axis_of, blank
from graphrack.ops._sparse import Sparse, checked_shape, flat, order, sparse, unflat, vector64
from graphrack.ops.array import fact
from graphrack.ops.decoding import ParseTensor, by_content
from graphrack.ops.registry import MANY, Prepared, op, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.segment import is_sorted

Parts = tuple[Array, Array, Array]

_INT64 = np.dtype(np.int64)


# ---- Order and shape ----


@op("SparseReorder", outputs=2)
def SparseReorder(input_indices: Array, input_values: Array, input_shape: Array) -> tuple[Array, Array]:
    tensor = sparse(input_indices, input_values, input_shape, "the input", inside=False)
    permutation = order(tensor.indices)
    return tensor.indices[permutation], tensor.values[permutation]


@specialized("SparseReshape", outputs=2)
def SparseReshape() -> Any:
    return Prepared(_reshape, slice(1, None), _sizes_of_reshape)


def _sizes_of_reshape(input_shape: Array, new_shape: Array) -> tuple[tuple[int, ...], tuple[int, ...], Array]:
    """The sizes before and after, and the latter as they are given out."""
    if input_shape.ndim != 1 or new_shape.ndim != 1:
        raise ValueError(
            f"input_shape and new_shape must be vectors; got shapes {list(input_shape.shape)} and "
            f"{list(new_shape.shape)}"
        )
    old = checked_shape(input_shape, "the input")
    new = new_shape.tolist()
    count = math.prod(old)
    if new.count(-1) > 1:
        raise ValueError(f"new_shape may hold one -1, got {new}")
    if -1 in new:
        rest = -math.prod(new)
        if rest <= 0 or count % rest:
            raise ValueError(f"{count} elements (shape {list(old)}) can't be reshaped to {new}")
        new[new.index(-1)] = count // rest
    if min(new, default=0) < 0 or math.prod(new) != count:
        raise ValueError(f"{count} elements (shape {list(old)}) can't be reshaped to {new}")
    return old, tuple(new), fact(tuple(new), _INT64)


def _reshape(input_indices: Array, sizes: tuple[tuple[int, ...], tuple[int, ...], Array]) -> tuple[Array, Array]:
    old, new, given = sizes
    if input_indices.ndim != 2:
        raise ValueError(f"input_indices must be a matrix; got shape {list(input_indices.shape)}")
    if input_indices.shape[1] != len(old):
        raise ValueError(f"indices of rank {input_indices.shape[1]} don't fit the shape {list(old)}")
    if new == old:  # as embedding lookups do, for any rank
        return input_indices, given
    if not len(input_indices):
        return np.empty((0, len(new)), np.int64), given
    return unflat(flat(input_indices, old), new), given


@op("SparseConcat", outputs=3)
def SparseConcat(*inputs: Array, concat_dim: int, N: int) -> Parts:
    tensors = [
        sparse(i, v, s, f"input {n}", inside=False)
        for n, (i, v, s) in enumerate(zip(inputs[:N], inputs[N : 2 * N], inputs[2 * N :], strict=True))
    ]
    first = tensors[0].shape
    axis = axis_of(concat_dim, len(first), "concat_dim")
    for n, tensor in enumerate(tensors):
        if len(tensor.shape) != len(first) or any(
            a != b for d, (a, b) in enumerate(zip(tensor.shape, first, strict=True)) if d != axis
        ):
            raise ValueError(
                f"inputs must agree in all sizes but that of axis {axis}: input 0 has shape {list(first)}, "
                f"input {n} {list(tensor.shape)}"
            )
    parts, offset = [], 0
    for tensor in tensors:
        moved = tensor.indices.copy()
        moved[:, axis] += offset
        parts.append(moved)
        offset += tensor.shape[axis]
    indices = np.concatenate(parts)
    permutation = order(indices)
    shape = [*first[:axis], offset, *first[axis + 1 :]]
    return indices[permutation], np.concatenate([t.values for t in tensors])[permutation], vector64(shape)


@op("SparseSplit", outputs=MANY)
def SparseSplit(split_dim: Any, indices: Array, values: Array, shape: Array, *, num_split: int) -> list[Array]:
    tensor = sparse(indices, values, shape, "the input")
    axis = axis_of(int(split_dim), len(tensor.shape), "split_dim")
    size = tensor.shape[axis]
    if not 1 <= num_split <= size:
        raise ValueError(f"num_split must be in [1, {size}], the size of axis {axis}, got {num_split}")
    # The first parts are one longer where the size can't be divided evenly.
    short, longer = divmod(size, num_split)
    starts = [i * short + min(i, longer) for i in range(num_split + 1)]
    parts = []
    for start, end in pairwise(starts):
        begin = [start if d == axis else 0 for d in range(len(tensor.shape))]
        sizes = [end - start if d == axis else s for d, s in enumerate(tensor.shape)]
        parts.append(_cut(tensor, begin, sizes))
    return [part[i] for i in range(3) for part in parts]


@op("SparseSlice", outputs=3)
def SparseSlice(indices: Array, values: Array, shape: Array, start: Array, size: Array) -> Parts:
    tensor = sparse(indices, values, shape, "the input", inside=False)
    if start.shape != (len(tensor.shape),) or size.shape != start.shape:
        raise ValueError(
            f"start and size must be vectors of {len(tensor.shape)}, got {list(start.shape)} and {list(size.shape)}"
        )
    begin = start.tolist()
    return _cut(
        tensor, begin, [max(0, min(n, s - b)) for n, s, b in zip(size.tolist(), tensor.shape, begin, strict=True)]
    )


def _cut(tensor: Sparse, start: Sequence[int], sizes: Sequence[int]) -> Parts:
    moved = tensor.indices - vector64(start)
    kept = ((moved >= 0) & (moved < vector64(sizes))).all(axis=1)
    return moved[kept], tensor.values[kept], vector64(sizes)


@op("SparseSliceGrad")
def SparseSliceGrad(backprop_val_grad: Array, input_indices: Array, input_start: Array, output_indices: Array) -> Array:
    if input_indices.ndim != 2 or output_indices.ndim != 2 or input_indices.shape[1] != output_indices.shape[1]:
        raise ValueError(
            f"input_indices and output_indices must be matrices of one rank, got {list(input_indices.shape)} and "
            f"{list(output_indices.shape)}"
        )
    if backprop_val_grad.shape != (len(output_indices),):
        raise ValueError(f"{len(output_indices)} gradients are needed, got shape {list(backprop_val_grad.shape)}")
    positions = {tuple(row): i for i, row in enumerate((output_indices + input_start).tolist())}
    out = np.zeros(len(input_indices), backprop_val_grad.dtype)
    for i, row in enumerate(input_indices.tolist()):
        at = positions.get(tuple(row))
        if at is not None:
            out[i] = backprop_val_grad[at]
    return out


# ---- Empty rows ----

_FEW_ROWS = 32


@specialized("SparseFillEmptyRows", outputs=4)
def SparseFillEmptyRows() -> Any:
    return Prepared(_fill_rows, slice(2, None), _filling)


def _filling(dense_shape: Array, default_value: Any) -> tuple[Array, tuple[int, ...], Array]:
    """The shape, its sizes, and what rows are filled with."""
    default = np.asarray(default_value)
    if default.ndim:
        raise ValueError(f"default_value must be a scalar, got shape {list(default.shape)}")
    if dense_shape.ndim != 1:
        raise ValueError(f"dense_shape must be a vector, got shape {list(dense_shape.shape)}")
    if not len(dense_shape):
        raise ValueError("dense_shape must have at least one size, got none")
    return dense_shape, checked_shape(dense_shape, "the input"), default


def _fill_rows(
    indices: Array, values: Array, filling: tuple[Array, tuple[int, ...], Array]
) -> tuple[Array, Array, Array, Array]:
    dense_shape, sizes, default = filling
    if indices.ndim != 2 or values.ndim != 1 or indices.shape != (len(values), len(sizes)):
        sparse(indices, values, dense_shape, "the input", inside=False)
    tensor = Sparse(indices, values, sizes)
    count, rows = sizes[0], indices[:, 0]
    if not are_within(rows, count):
        at = int(((rows < 0) | (rows >= count)).argmax())
        raise ValueError(f"indices[{at}, 0] = {rows[at]} is not in [0, {count})")
    if rows.size <= _FEW_ROWS >= count:
        return _few_rows_filled(tensor, rows.tolist(), default)
    empty = np.ones(count, bool)
    empty[rows] = False
    added = empty.nonzero()[0]
    if not added.size and is_sorted(rows):  # nothing to fill: three times as quick
        return tensor.indices, tensor.values, empty, np.arange(len(rows))
    everywhere = np.concatenate([rows, added])
    permutation = everywhere.argsort(kind="stable")
    fillers = np.zeros((len(added), tensor.indices.shape[1]), np.int64)
    fillers[:, 0] = added
    default_values = np.empty(len(added), tensor.values.dtype)
    default_values[...] = default
    reverse = np.empty(len(everywhere), np.int64)
    reverse[permutation] = np.arange(len(everywhere))
    return (
        np.concatenate([tensor.indices, fillers]).take(permutation, 0),
        np.concatenate([tensor.values, default_values]).take(permutation),
        empty,
        reverse[: len(rows)],
    )


def _few_rows_filled(tensor: Sparse, rows: list[int], default: Array) -> tuple[Array, Array, Array, Array]:
    """What SparseFillEmptyRows gives, for a tensor of so few rows and values that Python is quicker."""
    count, given = tensor.shape[0], len(rows)
    there = set(rows)
    empty = np.zeros(count, bool)
    if len(there) == count and rows == sorted(rows):
        return tensor.indices, tensor.values, empty, np.arange(given)
    everywhere = rows + [row for row in range(count) if row not in there]
    order = sorted(range(len(everywhere)), key=everywhere.__getitem__)
    indices, values = np.zeros((len(order), len(tensor.shape)), np.int64), np.empty(len(order), tensor.values.dtype)
    values[...] = default
    reverse = [0] * given
    for place, source in enumerate(order):
        if source < given:
            reverse[source] = place
        else:
            row = everywhere[source]
            indices[place, 0] = row
            empty[row] = True
    if given:
        indices[reverse] = tensor.indices
        values[reverse] = tensor.values
    return indices, values, empty, np.array(reverse, np.int64)


@op("SparseFillEmptyRowsGrad", outputs=2)
def SparseFillEmptyRowsGrad(reverse_index_map: Array, grad_values: Array) -> tuple[Array, Any]:
    if reverse_index_map.ndim != 1 or grad_values.ndim != 1:
        raise ValueError(
            "reverse_index_map and grad_values must be vectors, got shapes "
            f"{list(reverse_index_map.shape)} and {list(grad_values.shape)}"
        )
    if reverse_index_map.size and not (reverse_index_map.min() >= 0 and reverse_index_map.max() < len(grad_values)):
        raise ValueError(f"reverse_index_map has values outside of [0, {len(grad_values)})")
    rest = np.ones(len(grad_values), bool)
    rest[reverse_index_map] = False
    default = grad_values[rest].sum() if grad_values.size else blank(grad_values.dtype)
    return grad_values[reverse_index_map], np.asarray(default, grad_values.dtype)


# ---- In strings, and as variants ----


def _packer(out_type: DType) -> Any:
    """What makes one element of a serialised sparse tensor of an array."""
    if not out_type.is_string:
        return lambda array: array
    return lambda array: by_content(array, from_numpy(array.dtype))


def _packed(arrays: Sequence[Array], pack: Any) -> Array:
    out = np.empty(len(arrays), object)
    for i, array in enumerate(arrays):
        out[i] = pack(array)
    return out


@specialized("SerializeSparse")
def SerializeSparse(*, out_type: DType = STRING) -> Any:
    pack = _packer(out_type)

    def kernel(sparse_indices: Array, sparse_values: Array, sparse_shape: Array) -> Array:
        tensor = sparse(sparse_indices, sparse_values, sparse_shape, "the input", inside=False)
        return _packed((tensor.indices, tensor.values, vector64(tensor.shape)), pack)

    return kernel


@specialized("SerializeManySparse")
def SerializeManySparse(*, out_type: DType = STRING) -> Any:
    pack = _packer(out_type)

    def kernel(sparse_indices: Array, sparse_values: Array, sparse_shape: Array) -> Array:
        tensor = sparse(sparse_indices, sparse_values, sparse_shape, "the input", inside=False)
        if len(tensor.shape) < 2:
            raise ValueError(f"a sparse tensor of rank 2 at least is needed, got shape {list(tensor.shape)}")
        count, rows = tensor.shape[0], tensor.indices[:, 0]
        if rows.size and not (rows.min() >= 0 and rows.max() < count):
            raise ValueError(f"indices have rows outside of [0, {count})")
        if (np.diff(rows) < 0).any():
            raise ValueError("indices must be ordered by their first column")
        shape = vector64(tensor.shape[1:])
        ends = np.searchsorted(rows, np.arange(count + 1))
        out = np.empty((count, 3), object)
        for i in range(count):
            part = slice(ends[i], ends[i + 1])
            out[i] = _packed((tensor.indices[part, 1:], tensor.values[part], shape), pack)
        return out

    return kernel


def _unpack(serialized: Array, dtype: DType) -> Parts:
    """The stacked sparse tensors of rows of three: one more axis in front of theirs."""
    int64 = from_numpy(np.int64)

    def read(value: Any, kind: DType) -> Array:
        if isinstance(value, bytes):
            found: Array = ParseTensor(out_type=kind)(np.array(value, object))
            return found
        array = np.asarray(value)
        if from_numpy(array.dtype) != kind:
            raise ValueError(f"a serialised sparse tensor holds {from_numpy(array.dtype)}, {kind} is expected")
        return array

    tensors = [
        sparse(read(i, int64), read(v, dtype), read(s, int64), f"serialised sparse tensor {n}", inside=False)
        for n, (i, v, s) in enumerate(serialized)
    ]
    ranks = {len(t.shape) for t in tensors}
    if len(ranks) > 1:
        raise ValueError(f"serialised sparse tensors must be of one rank, found {sorted(ranks)}")
    shapes = np.array([t.shape for t in tensors], np.int64).reshape(len(tensors), ranks.pop())
    rows = np.repeat(np.arange(len(tensors)), [len(t.values) for t in tensors])
    indices = np.concatenate([rows[:, None], np.concatenate([t.indices for t in tensors])], axis=1)
    return indices, np.concatenate([t.values for t in tensors]), vector64([len(tensors), *shapes.max(axis=0)])


@specialized("DeserializeSparse", outputs=3)
def DeserializeSparse(*, dtype: DType, Tserialized: DType = STRING) -> Any:
    def kernel(serialized_sparse: Array) -> Parts:
        lead = serialized_sparse.shape[:-1]
        if serialized_sparse.shape[-1:] != (3,):
            raise ValueError(f"serialized_sparse must have a last size of 3, got {list(serialized_sparse.shape)}")
        if 0 in lead:
            raise ValueError(f"serialized_sparse holds no sparse tensor: shape {list(serialized_sparse.shape)}")
        indices, values, shape = _unpack(serialized_sparse.reshape(-1, 3), dtype)
        own = tuple(shape[1:].tolist())
        if not lead:
            return indices[:, 1:], values, shape[1:]
        return np.concatenate([unflat(indices[:, 0], lead), indices[:, 1:]], axis=1), values, vector64([*lead, *own])

    return kernel


@specialized("DeserializeManySparse", outputs=3)
def DeserializeManySparse(*, dtype: DType) -> Any:
    def kernel(serialized_sparse: Array) -> Parts:
        if serialized_sparse.ndim != 2 or serialized_sparse.shape[1] != 3 or not len(serialized_sparse):
            raise ValueError(f"serialized_sparse must have shape [N, 3], N > 0, got {list(serialized_sparse.shape)}")
        return _unpack(serialized_sparse, dtype)

    return kernel
