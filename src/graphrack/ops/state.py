"""Variables, by reference (TF1) and by resource, and the Saver's own ops.

The variable nodes themselves (VariableV2, VarHandleOp, …) are the planner's: it makes the handles.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType, from_numpy
from graphrack.ops.registry import MANY, op
from graphrack.ops.runtime import Array, Handle, RunState

Shape = tuple[int | None, ...] | None


# Assigning


def _checked(handle: Handle, value: Any, validate_shape: bool) -> Array:
    """The value as an array, or a `ValueError` where it doesn't fit what the variable declares."""
    array = np.asarray(value)
    if handle.dtype is not None and from_numpy(array.dtype) != handle.dtype:
        raise ValueError(
            f"variable {handle.name!r} is {handle.dtype}, the value is {from_numpy(array.dtype)}; they must be equal"
        )
    if validate_shape and not compatible(array.shape, handle.shape):
        raise ValueError(
            f"variable {handle.name!r} has shape {show(handle.shape)}, the value has {show(array.shape)}; "
            "they must be equal"
        )
    return array


def compatible(shape: tuple[int, ...], declared: Shape) -> bool:
    """Whether a value of that shape fits a declared one, unknown sizes fitting any."""
    if declared is None:
        return True
    if len(shape) != len(declared):
        return False
    return not [None for size, wanted in zip(shape, declared, strict=True) if wanted != size and wanted is not None]


def show(shape: Shape) -> str:
    """A shape as TensorFlow writes it: `[3,?]`."""
    return "<unknown>" if shape is None else "[" + ",".join("?" if s is None else str(s) for s in shape) + "]"


@op("Assign", state=True, writes=True, ref_inputs=(0,), ref_output=True)
def Assign(state: RunState, ref: Handle, value: Any, *, validate_shape: bool = True) -> Handle:
    state.write(ref, _checked(ref, value, validate_shape))
    return ref


@op("AssignVariableOp", outputs=0, state=True, writes=True)
def AssignVariableOp(state: RunState, resource: Handle, value: Any, *, validate_shape: bool = False) -> None:
    # TensorFlow refuses another shape only where the op says so; the declared one binds inference alone.
    state.write(resource, _checked(resource, value, validate_shape))


@op("AssignAdd", state=True, writes=True, ref_inputs=(0,), ref_output=True)
def AssignAdd(state: RunState, ref: Handle, value: Any) -> Handle:
    state.write(ref, _updated(np.add, state.read(ref), value, ref))
    return ref


@op("AssignSub", state=True, writes=True, ref_inputs=(0,), ref_output=True)
def AssignSub(state: RunState, ref: Handle, value: Any) -> Handle:
    state.write(ref, _updated(np.subtract, state.read(ref), value, ref))
    return ref


@op("AssignAddVariableOp", outputs=0, state=True, writes=True)
def AssignAddVariableOp(state: RunState, resource: Handle, value: Any) -> None:
    state.write(resource, _updated(np.add, state.read(resource), value, resource))


@op("AssignSubVariableOp", outputs=0, state=True, writes=True)
def AssignSubVariableOp(state: RunState, resource: Handle, value: Any) -> None:
    state.write(resource, _updated(np.subtract, state.read(resource), value, resource))


def _updated(function: Any, old: Array, value: Any, handle: Handle) -> Array:
    if np.shape(value) != old.shape:
        raise ValueError(
            f"variable {handle.name!r} has shape {show(old.shape)}, the update has {show(np.shape(value))}; "
            "they must be equal"
        )
    return np.asarray(function(old, value))


# Reading


@op("ReadVariableOp", state=True)
def ReadVariableOp(state: RunState, resource: Handle) -> Array:
    return state.read(resource)


@op("VariableShape", state=True)
def VariableShape(state: RunState, input: Handle, *, out_type: DType | None = None) -> Array:
    return np.array(state.read(input).shape, np.int32 if out_type is None else out_type.numpy)


@op("IsVariableInitialized", state=True, ref_inputs=(0,))
def IsVariableInitialized(state: RunState, ref: Handle) -> np.bool_:
    return np.bool_(state.has_value(ref))


@op("VarIsInitializedOp", state=True)
def VarIsInitializedOp(state: RunState, resource: Handle) -> np.bool_:
    return np.bool_(state.has_value(resource))


@op("DisableCopyOnRead", outputs=0)
def DisableCopyOnRead(resource: Handle) -> None:
    # A hint about how TensorFlow's variables share memory; arrays here are never written in place.
    return None


@op("DestroyResourceOp", outputs=0, state=True, writes=True)
def DestroyResourceOp(state: RunState, resource: Handle, *, ignore_lookup_error: bool = True) -> None:
    if not ignore_lookup_error and not state.has_value(resource):
        raise ValueError(f"resource {resource.name!r} doesn't exist")
    state.forget(resource)


@op("RefIdentity", ref_inputs=(0,), ref_output=True)
def RefIdentity(input: Handle) -> Handle:
    return input


# The Saver's


@op("RestoreV2", outputs=MANY, state=True)
def RestoreV2(
    state: RunState, prefix: Any, tensor_names: Array, shape_and_slices: Array, *, dtypes: list[DType]
) -> list[Array | None]:
    if not len(tensor_names) == len(shape_and_slices) == len(dtypes):
        raise ValueError(
            f"as many names, slices and dtypes are needed: found {len(tensor_names)}, {len(shape_and_slices)} "
            f"and {len(dtypes)}"
        )
    return [
        _restored(state, prefix, name, spec, dtype)
        for name, spec, dtype in zip(tensor_names.flat, shape_and_slices.flat, dtypes, strict=True)
    ]


@op("Restore", state=True)
def Restore(
    state: RunState, file_pattern: Any, tensor_name: Any, *, dt: DType, preferred_shard: int = -1
) -> Array | None:
    # Which shard a tensor is most likely in doesn't matter where the index of all of them is at hand.
    return _restored(state, file_pattern, np.asarray(tensor_name).item(), b"", dt)


@op("RestoreSlice", state=True)
def RestoreSlice(
    state: RunState, file_pattern: Any, tensor_name: Any, shape_and_slice: Any, *, dt: DType, preferred_shard: int = -1
) -> Array | None:
    spec = np.asarray(shape_and_slice).item()
    return _restored(state, file_pattern, np.asarray(tensor_name).item(), spec, dt)


def _restored(state: RunState, prefix: Any, name: bytes, spec: bytes, dtype: DType) -> Array | None:
    source = state.checkpoint(np.asarray(prefix).item())
    value = source.read_slice(name.decode(), spec.decode())
    if value is not None and from_numpy(value.dtype) != dtype:
        raise ValueError(
            f"tensor {name.decode()!r} is {from_numpy(value.dtype)} in the checkpoint; the graph expects {dtype}"
        )
    return value


def _saved(state: RunState, prefix: Any, names: Array, specs: list[bytes], tensors: tuple[Any, ...]) -> None:
    from graphrack.formats.bundle_writer import BundleWriter

    if not len(names) == len(specs) == len(tensors):
        raise ValueError(
            f"as many names, slices and tensors are needed: found {len(names)}, {len(specs)} and {len(tensors)}"
        )
    with BundleWriter(state.writable(np.asarray(prefix).item())) as writer:
        for name, spec, tensor in zip(names.flat, specs, tensors, strict=True):
            writer.add_slice(name.decode(), spec.decode(), np.asarray(tensor))


@op("SaveV2", outputs=0, state=True, writes=True)
def SaveV2(state: RunState, prefix: Any, tensor_names: Array, shape_and_slices: Array, *tensors: Any) -> None:
    _saved(state, prefix, tensor_names, list(shape_and_slices.flat), tensors)


@op("Save", outputs=0, state=True, writes=True)
def Save(state: RunState, filename: Any, tensor_names: Array, *data: Any) -> None:
    # What an old Saver wrote as V1 is written as V2, which TensorFlow since 0.12 restores by the same graph.
    _saved(state, filename, tensor_names, [b""] * len(data), data)


@op("SaveSlices", outputs=0, state=True, writes=True)
def SaveSlices(state: RunState, filename: Any, tensor_names: Array, shapes_and_slices: Array, *data: Any) -> None:
    _saved(state, filename, tensor_names, list(shapes_and_slices.flat), data)


@op("MergeV2Checkpoints", outputs=0, state=True, writes=True)
def MergeV2Checkpoints(
    state: RunState,
    checkpoint_prefixes: Array,
    destination_prefix: Any,
    *,
    delete_old_dirs: bool = True,
    allow_missing_files: bool = False,
) -> None:
    from graphrack.formats.bundle_writer import merge_bundles

    parts = [state.writable(prefix) for prefix in np.ravel(checkpoint_prefixes)]
    destination = state.writable(np.asarray(destination_prefix).item())
    merge_bundles(parts, destination, delete_old_dirs=delete_old_dirs, allow_missing_files=allow_missing_files)
