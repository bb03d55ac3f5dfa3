"""Maps from tensors to tensors that flow as values: an insertion gives another map and leaves the one it got."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType, from_numpy
from graphrack.ops._lists import Variant
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array


class TensorMap(Variant):
    """Values by keys; a key is known by its type, shape and content."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[Any, tuple[Array, Any]]):
        self.entries = entries

    def zeros_like(self) -> TensorMap:
        """The map with its values' zeros."""
        return TensorMap({k: (key, np.zeros_like(value)) for k, (key, value) in self.entries.items()})

    def plus(self, other: Any) -> TensorMap:
        """Both maps' entries; the sum of what both have."""
        entries = dict(self.entries)
        for k, (key, value) in other.entries.items():
            entries[k] = (key, value if k not in entries else entries[k][1] + value)
        return TensorMap(entries)


def _map(value: Any) -> TensorMap:
    found = value.item() if isinstance(value, np.ndarray) and value.dtype.hasobject and not value.ndim else value
    if not isinstance(found, TensorMap):
        raise ValueError(f"the handle must be that of a tensor map, got {type(found).__name__}")
    return found


def _known_by(key: Array) -> Any:
    array = np.asarray(key)
    content = tuple(array.reshape(-1).tolist()) if array.dtype.hasobject else array.tobytes()
    return from_numpy(array.dtype).number, array.shape, content


@op("EmptyTensorMap", impure=True)
def EmptyTensorMap() -> TensorMap:
    return TensorMap({})


@op("TensorMapSize", impure=True)
def TensorMapSize(input_handle: Any) -> Any:
    return np.int32(len(_map(input_handle).entries))


@op("TensorMapInsert", impure=True)
def TensorMapInsert(input_handle: Any, key: Array, value: Any) -> TensorMap:
    return TensorMap({**_map(input_handle).entries, _known_by(key): (key, value)})


@specialized("TensorMapLookup", impure=True)
def TensorMapLookup(*, value_dtype: DType) -> Any:
    def kernel(input_handle: Any, key: Array) -> Any:
        found = _map(input_handle).entries.get(_known_by(key))
        if found is None:
            raise ValueError(f"the map has no key {key!r:.60}")
        if not isinstance(found[1], Variant) and from_numpy(found[1].dtype) != value_dtype:
            raise ValueError(f"the map has {from_numpy(found[1].dtype)} under this key, {value_dtype} is expected")
        return found[1]

    return kernel


@op("TensorMapErase", impure=True)
def TensorMapErase(input_handle: Any, key: Array) -> TensorMap:
    entries = dict(_map(input_handle).entries)
    if entries.pop(_known_by(key), None) is None:
        raise ValueError(f"the map has no key {key!r:.60} to erase")
    return TensorMap(entries)


@op("TensorMapHasKey", impure=True)
def TensorMapHasKey(input_handle: Any, key: Array) -> Any:
    return np.bool_(_known_by(key) in _map(input_handle).entries)


@specialized("TensorMapStackKeys", impure=True)
def TensorMapStackKeys(*, key_dtype: DType) -> Any:
    """The keys as one tensor, in the order in which they were inserted (TensorFlow's is none)."""

    def kernel(input_handle: Any) -> Array:
        keys = [np.asarray(key) for key, _ in _map(input_handle).entries.values()]
        if not keys:
            raise ValueError("the map has no keys to stack")
        if len({key.shape for key in keys}) > 1 or any(from_numpy(key.dtype) != key_dtype for key in keys):
            raise ValueError(f"keys must be {key_dtype} of one shape, found {[k.shape for k in keys[:5]]}")
        return np.stack(keys)

    return kernel
