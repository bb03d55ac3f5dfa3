"""Conditional accumulators: gradients added up until enough of them came, as SyncReplicasOptimizer uses them.

An accumulator's step counts how often its gradient was taken. A gradient of an earlier step comes too late and is
dropped. TensorFlow waits where too few came, for other workers; here no others run, so taking is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType, from_numpy
from graphrack.ops._arguments import scalar
from graphrack.ops._sparse import vector64
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array, Handle, RunState
from graphrack.ops.state import Shape, compatible, show


class _Accumulator:
    """What is common to both kinds.

    Attributes:
        step: the global step that gradients must have reached.
        count: how many gradients came since the last was taken.
    """

    def __init__(self, name: str, dtype: DType, shape: Shape, reduction: bytes):
        self.name, self.dtype, self.shape, self.mean = name, dtype, shape, reduction == b"MEAN"
        self.step = 0
        self.count = 0

    def late(self, local_step: int) -> bool:
        """Whether a gradient of that step is to be dropped."""
        return local_step < self.step

    def checked(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Raises `ValueError` for a gradient of another type or shape."""
        if from_numpy(dtype) != self.dtype:
            raise ValueError(f"accumulator {self.name!r} holds {self.dtype}, the gradient is {from_numpy(dtype)}")
        if not compatible(shape, self.shape):
            raise ValueError(f"accumulator {self.name!r} has shape {show(self.shape)}, the gradient {show(shape)}")

    def take(self, required: int) -> int:
        """The number of gradients taken. Raises `ValueError` where fewer came than are required."""
        if required < 1:
            raise ValueError(f"num_required must be at least 1, got {required}")
        if self.count < required:
            raise ValueError(
                f"accumulator {self.name!r} has {self.count} gradients, {required} are required; nobody else adds any"
            )
        taken, self.count = self.count, 0
        self.step += 1
        return taken


class _Dense(_Accumulator):
    total: Any = None

    def add(self, gradient: Array) -> None:
        """Adds a gradient."""
        self.checked(gradient.dtype, gradient.shape)
        if self.total is not None and self.count and self.total.shape != gradient.shape:
            raise ValueError(
                f"accumulator {self.name!r} holds shape {show(self.total.shape)}, the gradient {show(gradient.shape)}"
            )
        self.total = self.total + gradient if self.count else gradient
        self.count += 1

    def taken(self, required: int) -> Array:
        """What came, added up or averaged."""
        count = self.take(required)
        total = np.asarray(self.total)
        return np.asarray(total / total.dtype.type(count)) if self.mean else total


class _Sparse(_Accumulator):
    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.rows: dict[int, Any] = {}
        self.counts: dict[int, int] = {}
        self._inner: tuple[int, ...] = ()

    def add(self, indices: Array, values: Array, shape: Array) -> None:
        """Adds the rows of a gradient; `shape`: of the whole, or empty where it isn't known."""
        if indices.ndim != 1 or values.ndim < 1 or len(indices) != len(values):
            raise ValueError(f"a vector of indices and as many rows are needed, got {indices.shape} and {values.shape}")
        if (np.diff(indices) <= 0).any():
            raise ValueError(f"gradient_indices must rise, got {indices[:16].tolist()}")
        whole = tuple(shape.tolist()) if shape.size else None
        if whole is not None:
            self.checked(values.dtype, whole)
            if values.shape[1:] != whole[1:] or (indices.size and not 0 <= indices[0] <= indices[-1] < whole[0]):
                raise ValueError(f"rows of shape {list(values.shape[1:])} don't fit a gradient of shape {list(whole)}")
        elif from_numpy(values.dtype) != self.dtype:
            raise ValueError(f"accumulator {self.name!r} holds {self.dtype}, got {from_numpy(values.dtype)}")
        if not self.count:
            self.rows, self.counts = {}, {}
        for index, row in zip(indices.tolist(), values, strict=True):
            known = self.rows.get(index)
            if known is not None and known.shape != row.shape:
                raise ValueError(f"rows of shape {list(known.shape)} were accumulated, got {list(row.shape)}")
            self.rows[index] = row if known is None else known + row
            self.counts[index] = self.counts.get(index, 0) + 1
        self._inner = values.shape[1:]
        self.count += 1

    def taken(self, required: int) -> tuple[Array, Array, Array]:
        """Indices, rows (each averaged over the gradients that had it) and shape of the whole."""
        self.take(required)
        indices = sorted(self.rows)
        values = np.array([self.rows[i] for i in indices], self.dtype.numpy).reshape(len(indices), *self._inner)
        if self.mean:
            counts = np.array([self.counts[i] for i in indices], self.dtype.numpy)
            values = values / counts.reshape(-1, *(1,) * len(self._inner))
        # The rows are as they came; how many there could be is known from the declared shape alone.
        whole = [(self.shape[0] if self.shape else None) or -1, *self._inner]
        return vector64(indices), values, vector64(whole)


class _AccumulatorHandle(Handle):
    __slots__ = ("make",)

    make: Any


def _handle(
    kind: type[_Accumulator], node_name: str, dtype: DType, shape: Shape, container: bytes, name: bytes, how: bytes
) -> Any:
    if how not in (b"MEAN", b"SUM"):
        raise ValueError(f"reduction_type must be MEAN or SUM, got {how!r}")
    own = name.decode() or node_name
    handle = _AccumulatorHandle(f"{container.decode()}\0accumulator\0{own}", node_name)
    handle.make = lambda: kind(own, dtype, shape, how)
    return lambda: handle


@specialized("ConditionalAccumulator", "ResourceConditionalAccumulator")
def ConditionalAccumulator(
    *,
    node_name: str,
    dtype: DType,
    shape: Shape,
    container: bytes = b"",
    shared_name: bytes = b"",
    reduction_type: bytes = b"MEAN",
) -> Any:
    return _handle(_Dense, node_name, dtype, shape, container, shared_name, reduction_type)


@specialized("SparseConditionalAccumulator")
def SparseConditionalAccumulator(
    *,
    node_name: str,
    dtype: DType,
    shape: Shape,
    container: bytes = b"",
    shared_name: bytes = b"",
    reduction_type: bytes = b"MEAN",
) -> Any:
    return _handle(_Sparse, node_name, dtype, shape, container, shared_name, reduction_type)


def _of(state: RunState, handle: Any, kind: type[Any]) -> Any:
    if not isinstance(handle, _AccumulatorHandle):
        raise ValueError(f"the handle must be that of an accumulator, got {handle!r:.60}")
    found = state.resource(handle, handle.make)
    if not isinstance(found, kind):
        raise ValueError(f"accumulator {handle.name!r} is of another kind: {type(found).__name__.strip('_').lower()}")
    return found


@op("AccumulatorNumAccumulated", "ResourceAccumulatorNumAccumulated", state=True)
def AccumulatorNumAccumulated(state: RunState, handle: Any) -> Any:
    return np.int32(_of(state, handle, _Accumulator).count)


@op("AccumulatorSetGlobalStep", "ResourceAccumulatorSetGlobalStep", outputs=0, state=True, writes=True)
def AccumulatorSetGlobalStep(state: RunState, handle: Any, new_global_step: Array) -> None:
    _of(state, handle, _Accumulator).step = scalar("new_global_step", new_global_step)


@op("AccumulatorApplyGradient", "ResourceAccumulatorApplyGradient", outputs=0, state=True, writes=True)
def AccumulatorApplyGradient(state: RunState, handle: Any, local_step: Array, gradient: Array) -> None:
    accumulator = _of(state, handle, _Dense)
    if not accumulator.late(scalar("local_step", local_step)):
        accumulator.add(np.asarray(gradient))


@op("AccumulatorTakeGradient", "ResourceAccumulatorTakeGradient", state=True, writes=True)
def AccumulatorTakeGradient(state: RunState, handle: Any, num_required: Array) -> Any:
    return _of(state, handle, _Dense).taken(scalar("num_required", num_required))


@specialized("SparseAccumulatorApplyGradient", outputs=0, state=True, writes=True)
def SparseAccumulatorApplyGradient(*, has_known_shape: bool) -> Any:
    def kernel(
        state: RunState,
        handle: Any,
        local_step: Array,
        gradient_indices: Array,
        gradient_values: Array,
        gradient_shape: Array,
    ) -> None:
        accumulator = _of(state, handle, _Sparse)
        if not accumulator.late(scalar("local_step", local_step)):
            shape = gradient_shape if has_known_shape else gradient_shape[:0]
            accumulator.add(gradient_indices, gradient_values, shape)

    return kernel


@op("SparseAccumulatorTakeGradient", outputs=3, state=True, writes=True)
def SparseAccumulatorTakeGradient(state: RunState, handle: Any, num_required: Array) -> tuple[Array, Array, Array]:
    found: tuple[Array, Array, Array] = _of(state, handle, _Sparse).taken(scalar("num_required", num_required))
    return found
