"""Ops that TensorFlow computes in the memory of their input, and critical sections, which guard such memory.

Here they give a new array: what others hold stays as it is. A run that writes is alone on its model, so a mutex has
nothing to do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import zeros
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array, Handle, RunState
from graphrack.ops.slicing import strided_index


def _rows(x: Array, i: Array, v: Array) -> Array:
    """The rows to change, from the back where negative. Raises `ValueError` where the operands don't fit."""
    if i.ndim != 1 or not x.ndim or v.shape != (*i.shape, *x.shape[1:]):
        raise ValueError(
            f"i must be a vector, and v have a row of x for each of i, got x {list(x.shape)}, "
            f"i {list(i.shape)} and v {list(v.shape)}"
        )
    return np.asarray(i) % max(len(x), 1)


@op("InplaceUpdate")
def InplaceUpdate(x: Array, i: Array, v: Array) -> Array:
    out = x.copy()
    out[_rows(x, i, v)] = v
    return out


@op("InplaceAdd")
def InplaceAdd(x: Array, i: Array, v: Array) -> Array:
    out = x.copy()
    np.add.at(out, _rows(x, i, v), v)
    return out


@op("InplaceSub")
def InplaceSub(x: Array, i: Array, v: Array) -> Array:
    out = x.copy()
    np.subtract.at(out, _rows(x, i, v), v)
    return out


@specialized("TensorStridedSliceUpdate")
def TensorStridedSliceUpdate(
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Any:
    masks = (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)

    def kernel(input: Array, begin: Array, end: Array, strides: Array, value: Array) -> Array:
        out = np.array(input)
        part = out[strided_index(out.shape, begin, end, strides, masks)]
        try:
            part[...] = value
        except ValueError:
            raise ValueError(f"value of shape {value.shape} can't be broadcast to the slice's {part.shape}") from None
        return out

    return kernel


@op("DestroyTemporaryVariable", state=True, writes=True, ref_inputs=(0,))
def DestroyTemporaryVariable(state: RunState, ref: Handle) -> Array:
    """The last value of a variable that lives for one run."""
    value = state.read(ref)
    state.forget(ref)
    return value


@specialized("MutexV2")
def MutexV2(*, node_name: str, container: bytes = b"", shared_name: bytes = b"") -> Any:
    handle = Handle(f"{container.decode()}\0mutex\0{shared_name.decode() or node_name}", node_name)
    return lambda: handle


@op("MutexLock", impure=True)
def MutexLock(mutex: Handle) -> Handle:
    return mutex


@op("ConsumeMutexLock", outputs=0, impure=True)
def ConsumeMutexLock(mutex_lock: Any) -> None:
    return None


@specialized("FakeParam")
def FakeParam(*, dtype: DType, shape: tuple[int | None, ...] | None) -> Any:
    """A value that nobody looks at: zeros, and none along axes of unknown size."""
    value = zeros([size or 0 for size in shape or ()], dtype.numpy)
    return lambda: value


@specialized("DeviceIndex")
def DeviceIndex(*, device_names: list[bytes]) -> Any:
    """Where among the names the CPU is, or their number."""
    names = [name.upper() for name in device_names]
    index = np.int32(names.index(b"CPU") if b"CPU" in names else len(names))
    return lambda: index
