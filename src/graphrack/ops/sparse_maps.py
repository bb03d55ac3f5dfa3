"""Sparse tensors kept under numbers while a batch of them is made: AddSparseToTensorsMap and its kin."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType, from_numpy
from graphrack.ops._sparse import Sparse, sparse, vector64
from graphrack.ops.registry import specialized
from graphrack.ops.runtime import Array, Handle, RunState


class _SparseTensors:
    """Sparse tensors by number. Each is there until it is taken."""

    def __init__(self) -> None:
        self.held: dict[int, Sparse] = {}
        self._next = 0

    def add(self, tensor: Sparse) -> int:
        """Keeps a tensor; gives its number."""
        number = self._next
        self._next += 1
        self.held[number] = tensor
        return number


def _handle(node_name: str, container: bytes, shared_name: bytes) -> Handle:
    name = shared_name.decode() or node_name
    return Handle(f"{container.decode()}\0sparse tensors\0{name}", name)


@specialized("AddSparseToTensorsMap", state=True, writes=True)
def AddSparseToTensorsMap(*, node_name: str, container: bytes = b"", shared_name: bytes = b"") -> Any:
    handle = _handle(node_name, container, shared_name)

    def kernel(state: RunState, sparse_indices: Array, sparse_values: Array, sparse_shape: Array) -> Any:
        tensor = sparse(sparse_indices, sparse_values, sparse_shape, inside=False)
        return np.int64(state.resource(handle, _SparseTensors).add(tensor))

    return kernel


@specialized("AddManySparseToTensorsMap", state=True, writes=True)
def AddManySparseToTensorsMap(*, node_name: str, container: bytes = b"", shared_name: bytes = b"") -> Any:
    handle = _handle(node_name, container, shared_name)

    def kernel(state: RunState, sparse_indices: Array, sparse_values: Array, sparse_shape: Array) -> Any:
        tensor = sparse(sparse_indices, sparse_values, sparse_shape)
        if len(tensor.shape) < 2:
            raise ValueError(f"a sparse tensor of rank 2 at least is needed, got shape {list(tensor.shape)}")
        rows = tensor.indices[:, 0]
        if (np.diff(rows) < 0).any():
            raise ValueError("indices must be ordered by their first column")
        ends = np.searchsorted(rows, np.arange(tensor.shape[0] + 1)).tolist()
        held = state.resource(handle, _SparseTensors)
        numbers = [
            held.add(Sparse(tensor.indices[a:b, 1:], tensor.values[a:b], tensor.shape[1:])) for a, b in pairwise(ends)
        ]
        return vector64(numbers)

    return kernel


@specialized("TakeManySparseFromTensorsMap", outputs=3, state=True, writes=True)
def TakeManySparseFromTensorsMap(
    *, node_name: str, dtype: DType, container: bytes = b"", shared_name: bytes = b""
) -> Any:
    handle = _handle(node_name, container, shared_name)

    def kernel(state: RunState, sparse_handles: Array) -> tuple[Array, Array, Array]:
        if sparse_handles.ndim != 1:
            raise ValueError(f"sparse_handles must be a vector, got shape {list(sparse_handles.shape)}")
        held = state.resource(handle, _SparseTensors).held
        missing = [n for n in sparse_handles.tolist() if n not in held]
        if missing or not sparse_handles.size:
            raise ValueError(f"{handle.name!r} holds no sparse tensor of number {missing[:1] or 'any'}")
        parts = [held.pop(n) for n in sparse_handles.tolist()]
        ranks = {len(part.shape) for part in parts}
        kinds = {from_numpy(part.values.dtype) for part in parts}
        if len(ranks) > 1 or kinds != {dtype}:
            raise ValueError(f"sparse tensors of one rank and of {dtype} are expected, found {ranks} and {kinds}")
        rows = np.repeat(np.arange(len(parts)), [len(part.values) for part in parts])
        indices = np.concatenate([rows[:, None], np.concatenate([part.indices for part in parts])], axis=1)
        shape = np.max([part.shape for part in parts], axis=0, initial=0)
        return indices, np.concatenate([part.values for part in parts]), vector64([len(parts), *shape.tolist()])

    return kernel
