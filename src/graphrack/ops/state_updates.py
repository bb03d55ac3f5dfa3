"""Parts of variables changed, and read: scatter updates, slices assigned, counters, resource gathers.

Ops on TF1 variables (`ScatterAdd`) and on resources (`ResourceScatterAdd`) do the same. A variable's
value is replaced by a changed copy, never written in place: others may hold it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.ops.gather import GatherNd, GatherV2
from graphrack.ops.registry import REGISTRY, Kernel, op, specialized
from graphrack.ops.runtime import Handle, RunState
from graphrack.ops.slicing import StridedSlice
from graphrack.ops.training_sparse import are_distinct, check_rows, waves

Array = np.ndarray[Any, Any]
Combine = Callable[[Array, Array], Array]


def _by_reference(name: str, kernel: Kernel) -> None:
    op(name, state=True, writes=True, ref_inputs=(0,), ref_output=True)(kernel)


def _by_resource(name: str, kernel: Kernel) -> None:
    op(name, outputs=0, state=True, writes=True)(kernel)


# Rows by index

_FEW = 4096
"""Elements that are combined one after the other, where rows come twice: putting them in groups takes longer."""


def _scatter(combine: Combine | None) -> Kernel:
    def kernel(state: RunState, ref: Handle, indices: Array, updates: Array) -> Handle:
        value = state.read(ref)
        if not value.ndim:
            raise ValueError(f"variable {ref.name!r} must have at least one dimension, found a scalar")
        row = value.shape[1:]
        expected = indices.shape + row
        if updates.ndim and updates.shape != expected:
            raise ValueError(
                f"updates must be a scalar or have the shape of indices followed by that of a row, "
                f"{list(expected)}; found {list(updates.shape)}"
            )
        check_rows(indices, len(value), f"variable {ref.name!r}")
        if not indices.size:
            return ref
        del value
        rows = indices.reshape(-1)
        out = state.copy(ref, rows)
        several = updates.reshape(rows.size, *row) if updates.ndim == len(expected) and updates.ndim else None
        if isinstance(combine, np.ufunc) and several is not None and several.size <= _FEW and not are_distinct(rows):
            width = several.size // rows.size
            places = (rows[:, None] * np.intp(width) + np.arange(width)).reshape(-1)
            combine.at(out.reshape(-1), places, several.reshape(-1))
        else:
            for wave in waves(rows):
                part = updates if several is None else several[wave]
                out[rows[wave]] = part if combine is None else combine(out[rows[wave]], part)
        state.write(ref, out)
        return ref

    return kernel


def _divide(left: Array, right: Array) -> Array:
    """left / right; of integers towards 0, as C divides."""
    if left.dtype.kind not in "iu":
        return np.divide(left, right)
    if not np.all(right):
        raise ValueError("integer division by zero")
    quotient = np.floor_divide(left, right)
    if left.dtype.kind == "i":
        quotient += (np.remainder(left, right) != 0) & ((left < 0) != (right < 0))
    return quotient


for _name, _combine in (
    ("Update", None),
    ("Add", np.add),
    ("Sub", np.subtract),
    ("Mul", np.multiply),
    ("Div", _divide),
    ("Min", np.minimum),
    ("Max", np.maximum),
):
    _by_reference(f"Scatter{_name}", _scatter(_combine))
    _by_resource(f"ResourceScatter{_name}", _scatter(_combine))


# Parts by index tuples


def _scatter_nd(tensor_scatter: Kernel) -> Kernel:
    def kernel(
        state: RunState, ref: Handle, indices: Array, updates: Array, *, bad_indices_policy: bytes = b""
    ) -> Handle:
        value = state.read(ref)
        state.write(ref, tensor_scatter(value, indices, updates, bad_indices_policy=bad_indices_policy))
        return ref

    return kernel


def _subtracted(tensor: Array, indices: Array, updates: Array, *, bad_indices_policy: bytes) -> Array:
    subtract = REGISTRY["TensorScatterSub"].function
    if tensor.dtype != np.bool_:
        return subtract(tensor, indices, updates, bad_indices_policy=bad_indices_policy)  # type: ignore[no-any-return]
    # C++ subtracts booleans as integers: what is left is whether they were odd in number.
    numbers = subtract(tensor.view(np.uint8), indices, updates.view(np.uint8), bad_indices_policy=bad_indices_policy)
    return (numbers & 1).view(np.bool_)  # type: ignore[no-any-return]


for _name in ("Update", "Add", "Sub", "Min", "Max"):
    _kernel = _scatter_nd(_subtracted if _name == "Sub" else REGISTRY[f"TensorScatter{_name}"].function)
    _by_reference(f"ScatterNd{_name}", _kernel)
    _by_resource(f"ResourceScatterNd{_name}", _kernel)


@specialized("ResourceGather", state=True)
def ResourceGather(*, batch_dims: int = 0) -> Kernel:
    gathered = GatherV2(batch_dims=batch_dims)
    axis = np.array(batch_dims)

    def kernel(state: RunState, resource: Handle, indices: Array) -> Any:
        return gathered(state.read(resource), indices, axis)

    return kernel


@op("ResourceGatherNd", state=True)
def ResourceGatherNd(state: RunState, resource: Handle, indices: Array) -> Array:
    return GatherNd(state.read(resource), indices)


# Slices


def _strided_slice_assign(
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Kernel:
    view_of = StridedSlice(
        begin_mask=begin_mask,
        end_mask=end_mask,
        ellipsis_mask=ellipsis_mask,
        new_axis_mask=new_axis_mask,
        shrink_axis_mask=shrink_axis_mask,
    )

    def kernel(state: RunState, ref: Handle, begin: Array, end: Array, strides: Array, value: Array) -> Handle:
        out = state.read(ref).copy()
        part = view_of(out, begin, end, strides)
        if part.shape != value.shape:
            raise ValueError(
                f"the slice of variable {ref.name!r} has shape {list(part.shape)}, the value {list(value.shape)}"
            )
        part[...] = value
        state.write(ref, out)
        return ref

    return kernel


specialized("StridedSliceAssign", state=True, writes=True, ref_inputs=(0,), ref_output=True)(_strided_slice_assign)
specialized("ResourceStridedSliceAssign", outputs=0, state=True, writes=True)(_strided_slice_assign)


# Counters


def _count_up_to(state: RunState, ref: Handle, *, limit: int) -> Array:
    value = state.read(ref)
    if value.ndim:
        raise ValueError(f"counter {ref.name!r} must be a scalar, found shape {list(value.shape)}")
    if value >= limit:
        raise ValueError(f"counter {ref.name!r} has reached its limit of {limit}")
    state.write(ref, np.asarray(value + value.dtype.type(1)))
    return value


op("CountUpTo", state=True, writes=True, ref_inputs=(0,))(_count_up_to)
op("ResourceCountUpTo", state=True, writes=True)(_count_up_to)
