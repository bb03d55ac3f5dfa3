"""Sets: along the last axis of dense or sparse tensors, with the results sparse."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphrack.ops._sparse import Sparse, flat, sparse, unflat, vector64
from graphrack.ops.registry import op
from graphrack.ops.runtime import Array
from graphrack.ops.segment import is_sorted

_OPERATIONS = {
    b"a-b": lambda a, b: a - b,
    b"b-a": lambda a, b: b - a,
    b"intersection": lambda a, b: a & b,
    b"union": lambda a, b: a | b,
}
Groups = dict[int, set[Any]]


def _of_dense(tensor: Array, name: str) -> tuple[Groups, tuple[int, ...]]:
    """The sets by the number of their group, and the groups' shape."""
    if tensor.ndim < 2:
        raise ValueError(f"{name} must be of rank 2 at least, got shape {list(tensor.shape)}")
    lead = tensor.shape[:-1]
    rows = tensor.reshape(-1, tensor.shape[-1]) if tensor.size else np.empty((int(np.prod(lead)), 0))
    return {i: set(row) for i, row in enumerate(rows.tolist())}, lead


def _of_sparse(tensor: Sparse, name: str, validate: bool) -> tuple[Groups, tuple[int, ...]]:
    if len(tensor.shape) < 2:
        raise ValueError(f"{name} must be of rank 2 at least, got shape {list(tensor.shape)}")
    lead = tensor.shape[:-1]
    if validate and not _in_order(tensor):
        raise ValueError(f"{name} has indices that are not in row-major order")
    found: Groups = {}
    groups = tensor.indices[:, 0] if len(lead) == 1 else flat(tensor.indices[:, :-1], lead)
    for group, value in zip(groups.tolist(), tensor.values.tolist(), strict=True):
        found.setdefault(group, set()).add(value)
    return found, lead


def _in_order(tensor: Sparse) -> bool:
    """Whether indices are in row-major order."""
    if len(tensor.values) > _FEW:
        return is_sorted(flat(tensor.indices, tensor.shape))
    listed = tensor.indices.tolist()
    return bool(listed == sorted(listed))


_FEW = 64
"""Indices that Python puts in order sooner than NumPy."""


def _combined(
    a: tuple[Groups, tuple[int, ...]], b: tuple[Groups, tuple[int, ...]], set_operation: bytes, dtype: Any
) -> tuple[Array, Array, Array]:
    operation = _OPERATIONS.get(set_operation.lower())
    if operation is None:
        raise ValueError(f"set_operation must be 'a-b', 'b-a', 'intersection' or 'union', got {set_operation!r}")
    (first, shape), (second, other) = a, b
    if shape != other:
        raise ValueError(f"set1 has the groups {list(shape)}, set2 {list(other)}; they must be equal")
    groups: list[int] = []
    values: list[Any] = []
    positions: list[int] = []
    longest = 0
    nothing: set[Any] = set()
    for group in sorted(first.keys() | second.keys()):
        found = sorted(operation(first.get(group, nothing), second.get(group, nothing)))
        groups += [group] * len(found)
        positions += range(len(found))
        values += found
        longest = max(longest, len(found))
    if len(shape) == 1:
        indices = np.array([groups, positions], np.int64).T
    else:
        indices = np.concatenate([unflat(vector64(groups), shape), vector64(positions)[:, None]], axis=1)
    return indices, _array(values, dtype), vector64([*shape, longest])


def _array(values: Iterable[Any], dtype: Any) -> Array:
    listed = list(values)
    if dtype.kind in "iu":
        return np.array(listed, dtype)
    out = np.empty(len(listed), dtype)
    if listed:
        out[:] = listed
    return out


@op("DenseToDenseSetOperation", outputs=3)
def DenseToDenseSetOperation(set1: Array, set2: Array, *, set_operation: bytes) -> tuple[Array, Array, Array]:
    return _combined(_of_dense(set1, "set1"), _of_dense(set2, "set2"), set_operation, set1.dtype)


@op("DenseToSparseSetOperation", outputs=3)
def DenseToSparseSetOperation(
    set1: Array,
    set2_indices: Array,
    set2_values: Array,
    set2_shape: Array,
    *,
    set_operation: bytes,
    validate_indices: bool = True,
) -> tuple[Array, Array, Array]:
    second = _of_sparse(sparse(set2_indices, set2_values, set2_shape, "set2"), "set2", validate_indices)
    return _combined(_of_dense(set1, "set1"), second, set_operation, set1.dtype)


@op("SparseToSparseSetOperation", outputs=3)
def SparseToSparseSetOperation(
    set1_indices: Array,
    set1_values: Array,
    set1_shape: Array,
    set2_indices: Array,
    set2_values: Array,
    set2_shape: Array,
    *,
    set_operation: bytes,
    validate_indices: bool = True,
) -> tuple[Array, Array, Array]:
    first = _of_sparse(sparse(set1_indices, set1_values, set1_shape, "set1"), "set1", validate_indices)
    second = _of_sparse(sparse(set2_indices, set2_values, set2_shape, "set2"), "set2", validate_indices)
    return _combined(first, second, set_operation, set1_values.dtype)


@op("SetSize")
def SetSize(set_indices: Array, set_values: Array, set_shape: Array, *, validate_indices: bool = True) -> Array:
    found, lead = _of_sparse(sparse(set_indices, set_values, set_shape, "the set"), "the set", validate_indices)
    sizes = np.zeros(math.prod(lead), np.int32)
    for group, members in found.items():
        sizes[group] = len(members)
    return sizes.reshape(lead)
