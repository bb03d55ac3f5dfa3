"""Lookup tables: making, filling and asking them. What they are is in `_tables`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from graphrack.errors import FileError
from graphrack.formats.dtypes import INT64, DType, from_numpy
from graphrack.ops._tables import DenseTable, StaticTable, Table, TableHandle, kind_of, table_of
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array, Handle, RunState
from graphrack.ops.string_numbers import StringToNumber

_LINE_NUMBER, _WHOLE_LINE = -1, -2  # in place of a column of a text file


# ---- Making ----


def table_key(node_name: str, container: bytes, shared_name: bytes) -> str:
    """The key under which a model keeps a node's table."""
    return f"{container.decode()}\0{shared_name.decode() or node_name}"


def _value_shape(shape: tuple[int | None, ...] | None) -> tuple[int, ...]:
    if shape is None or None in shape:
        raise ValueError(f"value_shape must be fully known, got {shape}")
    if len(shape) > 1:
        raise ValueError(f"value_shape must be that of a scalar or a vector, got {list(shape)}")
    return tuple(size for size in shape if size is not None)


def _vector_shape(shape: tuple[int | None, ...] | None) -> tuple[int, ...]:
    found = _value_shape(shape)
    if not found:
        raise ValueError(f"value_shape must be that of a vector, got {list(found)}")
    return found


@specialized("HashTable", "HashTableV2")
def HashTableV2(
    *,
    key_dtype: DType,
    value_dtype: DType,
    node_name: str,
    container: bytes = b"",
    shared_name: bytes = b"",
) -> Any:
    kind = kind_of(StaticTable, key_dtype, value_dtype)
    key = table_key(node_name, container, shared_name)
    handle = TableHandle(key, node_name, kind, lambda: StaticTable(node_name, key_dtype, value_dtype))
    return lambda: handle


@specialized("MutableHashTable", "MutableHashTableV2")
def MutableHashTableV2(
    *,
    key_dtype: DType,
    value_dtype: DType,
    node_name: str,
    container: bytes = b"",
    shared_name: bytes = b"",
) -> Any:
    kind = kind_of(Table, key_dtype, value_dtype)
    key = table_key(node_name, container, shared_name)
    handle = TableHandle(key, node_name, kind, lambda: Table(node_name, key_dtype, value_dtype))
    return lambda: handle


@specialized("MutableHashTableOfTensors", "MutableHashTableOfTensorsV2")
def MutableHashTableOfTensorsV2(
    *,
    key_dtype: DType,
    value_dtype: DType,
    node_name: str,
    container: bytes = b"",
    shared_name: bytes = b"",
    value_shape: tuple[int | None, ...] | None = (),
) -> Any:
    shape = _vector_shape(value_shape)
    kind = kind_of(Table, key_dtype, value_dtype)
    key = table_key(node_name, container, shared_name)
    handle = TableHandle(key, node_name, kind, lambda: Table(node_name, key_dtype, value_dtype, shape))
    return lambda: handle


def _dense(
    node_name: str, value_dtype: DType, value_shape: Any, initial_num_buckets: int, max_load_factor: float
) -> Callable[[Array, Array | None], DenseTable]:
    """What makes a dense table of an empty key and, except in TensorFlow's first form of it, a deleted one."""
    shape = _value_shape(value_shape)

    def make(empty_key: Array, deleted_key: Array | None) -> DenseTable:
        if initial_num_buckets < 4 or initial_num_buckets & (initial_num_buckets - 1):
            raise ValueError(f"initial_num_buckets must be a power of two, at least 4, got {initial_num_buckets}")
        if not 0 < max_load_factor < 1:
            raise ValueError(f"max_load_factor must lie between 0 and 1, got {max_load_factor}")
        if empty_key.ndim > 1:
            raise ValueError(f"empty_key must be a scalar or a vector, got shape {list(empty_key.shape)}")
        if deleted_key is not None and deleted_key.shape != empty_key.shape:
            raise ValueError(
                f"deleted_key must have empty_key's shape {list(empty_key.shape)}, got {list(deleted_key.shape)}"
            )
        if deleted_key is not None and (empty_key == deleted_key).all():
            raise ValueError(f"empty_key and deleted_key must differ, both are {empty_key.tolist()!r}")
        return DenseTable(
            node_name, from_numpy(empty_key.dtype), value_dtype, shape, empty_key, deleted_key,
            initial_num_buckets, max_load_factor,
        )  # fmt: skip

    return make


@specialized("MutableDenseHashTable", "MutableDenseHashTableV2", state=True)
def MutableDenseHashTableV2(
    *,
    value_dtype: DType,
    node_name: str,
    container: bytes = b"",
    shared_name: bytes = b"",
    value_shape: tuple[int | None, ...] | None = (),
    initial_num_buckets: int = 131072,
    max_load_factor: float = 0.8,
) -> Any:
    make = _dense(node_name, value_dtype, value_shape, initial_num_buckets, max_load_factor)
    key = table_key(node_name, container, shared_name)

    def kernel(state: RunState, empty_key: Any, deleted_key: Any = None) -> TableHandle:
        empty = np.asarray(empty_key)
        deleted = None if deleted_key is None else np.asarray(deleted_key)
        kind = kind_of(DenseTable, from_numpy(empty.dtype), value_dtype)
        handle = TableHandle(key, node_name, kind, lambda: make(empty, deleted))
        table_of(state, handle)  # its keys are those of now, not of its first use
        return handle

    return kernel


# Anonymous tables live as long as their handle: each run has its own.


@specialized("AnonymousHashTable")
def AnonymousHashTable(*, key_dtype: DType, value_dtype: DType, node_name: str) -> Any:
    return lambda: _anonymous(node_name, StaticTable(node_name, key_dtype, value_dtype))


@specialized("AnonymousMutableHashTable")
def AnonymousMutableHashTable(*, key_dtype: DType, value_dtype: DType, node_name: str) -> Any:
    return lambda: _anonymous(node_name, Table(node_name, key_dtype, value_dtype))


@specialized("AnonymousMutableHashTableOfTensors")
def AnonymousMutableHashTableOfTensors(
    *, key_dtype: DType, value_dtype: DType, node_name: str, value_shape: tuple[int | None, ...] | None = ()
) -> Any:
    shape = _vector_shape(value_shape)
    return lambda: _anonymous(node_name, Table(node_name, key_dtype, value_dtype, shape))


@specialized("AnonymousMutableDenseHashTable", state=True)
def AnonymousMutableDenseHashTable(
    *,
    value_dtype: DType,
    node_name: str,
    value_shape: tuple[int | None, ...] | None = (),
    initial_num_buckets: int = 131072,
    max_load_factor: float = 0.8,
) -> Any:
    make = _dense(node_name, value_dtype, value_shape, initial_num_buckets, max_load_factor)

    def kernel(state: RunState, empty_key: Any, deleted_key: Any) -> TableHandle:
        return _anonymous(node_name, make(np.asarray(empty_key), np.asarray(deleted_key)))

    return kernel


def _anonymous(node_name: str, table: Table) -> TableHandle:
    return TableHandle("", node_name, table.kind, lambda: table, table)


# ---- Asking and changing ----


@op("LookupTableFind", "LookupTableFindV2", state=True)
def LookupTableFindV2(state: RunState, table_handle: Handle, keys: Any, default_value: Any) -> Array:
    return table_of(state, table_handle).find(np.asarray(keys), np.asarray(default_value))


@op("LookupTableInsert", "LookupTableInsertV2", outputs=0, state=True, writes=True)
def LookupTableInsertV2(state: RunState, table_handle: Handle, keys: Any, values: Any) -> None:
    table_of(state, table_handle).insert(np.asarray(keys), np.asarray(values))


@op("LookupTableRemoveV2", outputs=0, state=True, writes=True)
def LookupTableRemoveV2(state: RunState, table_handle: Handle, keys: Any) -> None:
    table_of(state, table_handle).remove(np.asarray(keys))


@op("LookupTableImport", "LookupTableImportV2", outputs=0, state=True, writes=True)
def LookupTableImportV2(state: RunState, table_handle: Handle, keys: Any, values: Any) -> None:
    table_of(state, table_handle).replace(np.asarray(keys), np.asarray(values))


@op("LookupTableExport", "LookupTableExportV2", outputs=2, state=True)
def LookupTableExportV2(state: RunState, table_handle: Handle) -> tuple[Array, Array]:
    return table_of(state, table_handle).export()


@op("LookupTableSize", "LookupTableSizeV2", state=True)
def LookupTableSizeV2(state: RunState, table_handle: Handle) -> np.int64:
    return np.int64(len(table_of(state, table_handle)))


# ---- Filling ----


@op("InitializeTable", "InitializeTableV2", outputs=0, state=True, writes=True)
def InitializeTableV2(state: RunState, table_handle: Handle, keys: Any, values: Any) -> None:
    table_of(state, table_handle).initialize(np.asarray(keys), np.asarray(values))


@op("InitializeTableFromTextFile", "InitializeTableFromTextFileV2", outputs=0, state=True, writes=True)
def InitializeTableFromTextFileV2(
    state: RunState,
    table_handle: Handle,
    filename: Any,
    *,
    key_index: int,
    value_index: int,
    vocab_size: int = -1,
    delimiter: bytes = b"\t",
    offset: int = 0,
) -> None:
    table = table_of(state, table_handle)
    if not isinstance(table, StaticTable):
        raise ValueError(f"table {table.name!r} is mutable and takes no initialiser; insert its entries")
    if len(delimiter) != 1:
        raise ValueError(f"delimiter must be one character, got {delimiter!r}")
    for what, index, dtype in (("key", key_index, table.key_dtype), ("value", value_index, table.value_dtype)):
        if index == _LINE_NUMBER and dtype != INT64:
            raise ValueError(f"a line's number as the {what} needs a table with {what}s of int64, not {dtype}")
        if index == _WHOLE_LINE and dtype.numpy.kind not in "Oiu":
            raise ValueError(f"a whole line as the {what} needs a table with string or integer {what}s, not {dtype}")
    path = state.file_allowed(np.asarray(filename).item(), "a lookup table's entries")
    lines = list(_lines(path, vocab_size))
    split = max(key_index, value_index) >= 0
    rows = [line.split(delimiter) for line in lines] if split else []
    for number, row in enumerate(rows):
        if len(row) <= max(key_index, value_index):
            raise ValueError(
                f"{path!r} has {len(row)} columns in its line {number} ({lines[number][:80]!r}), "
                f"at least {max(key_index, value_index) + 1} are needed"
            )

    def column(index: int, dtype: DType) -> list[Any]:
        if index == _LINE_NUMBER:
            return list(range(offset, offset + len(lines)))
        texts = lines if index == _WHOLE_LINE else [row[index] for row in rows]
        if dtype.is_string:
            return texts
        array = np.empty(len(texts), object)
        array[:] = texts
        try:
            return list(StringToNumber(out_type=dtype)(array).tolist())
        except ValueError as error:
            raise ValueError(f"{path!r}: {error}") from None

    table.fill(list(zip(column(key_index, table.key_dtype), column(value_index, table.value_dtype), strict=True)))


def _lines(path: str, limit: int) -> Iterator[bytes]:
    """The lines of a text file, the first `limit` where it isn't -1; they must be there, and none empty."""
    count = 0
    try:
        with open(path, "rb") as file:
            for line in file:
                if count == limit:
                    break
                text = line.removesuffix(b"\n").removesuffix(b"\r")
                if not text:
                    raise ValueError(f"{path!r} has an empty line, number {count}; each must hold an entry")
                count += 1
                yield text
    except OSError as error:
        raise FileError(f"can't read {path!r}, which holds a lookup table's entries: {error.strerror}") from error
    if not count:
        raise ValueError(f"{path!r} gives no lines for a lookup table's entries")
    if count < limit:
        raise ValueError(f"{path!r} has {count} lines; vocab_size says {limit}")
