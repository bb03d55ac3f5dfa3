"""Lookup tables: what a model keeps for the ops of `lookup`.

Entries are held in a dict, keys and scalar values as Python objects. Tables are no part of what a run
publishes when it has ended well: an insertion is seen at once and stays where a later step fails, as in
TensorFlow. Each call on a table is atomic.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphrack.errors import UninitializedError
from graphrack.formats.dtypes import DTYPES, DType, from_numpy
from graphrack.ops.hashing import hash64
from graphrack.ops.runtime import Array, Handle, RunState

Kind = tuple[type["Table"], int, int]

_LOW_64 = (1 << 64) - 1
_MIN_DENSE_BUCKETS = 4


class TableHandle(Handle):
    """What a table is while a graph runs: its key, and how to make it when it is first used.

    Attributes:
        kind: what the table must be that is found under the key.
        make: makes the table.
        table: the table itself, where it belongs to this handle alone (an anonymous one).
    """

    __slots__ = ("kind", "make", "table")

    def __init__(self, key: str, name: str, kind: Kind, make: Callable[[], Table], table: Table | None = None):
        super().__init__(key, name)
        self.kind = kind
        self.make = make
        self.table = table


def table_of(state: RunState, handle: Handle) -> Table:
    """The table behind a handle, made now if this is its first use."""
    if not isinstance(handle, TableHandle):
        raise ValueError(f"a lookup table was expected, found the handle of {handle.name!r}, which is none")
    if handle.table is not None:
        return handle.table
    table = state.resource(handle, handle.make)
    if table.kind != handle.kind:
        shown = " and ".join(f"{k[0].__name__} of {DTYPES[k[1]]} to {DTYPES[k[2]]}" for k in (table.kind, handle.kind))
        raise ValueError(f"tables {table.name!r} and {handle.name!r} share a name but not a type: {shown}")
    return table


def kind_of(table: type[Table], key_dtype: DType, value_dtype: DType) -> Kind:
    """What must be equal for two nodes to mean one table."""
    return table, key_dtype.number, value_dtype.number


class Table:
    """A mutable table of keys and values of one shape each; base of the others.

    Attributes:
        name: of the node that made it.
        kind: its class and dtypes.
        key_dtype, value_dtype: of what it maps.
        key_shape, value_shape: of one key and of one value.
        default_per_key: whether `find` takes a default value for each key, not just of that shape.
        changes: how often its entries may have changed; 0 for a table as it was made.
    """

    key_shape: tuple[int, ...] = ()
    default_per_key = True

    def __init__(self, name: str, key_dtype: DType, value_dtype: DType, value_shape: tuple[int, ...] = ()):
        self.name = name
        self.kind = kind_of(type(self), key_dtype, value_dtype)
        self.key_dtype = key_dtype
        self.value_dtype = value_dtype
        self.value_shape = value_shape
        self.changes = 0
        self._entries: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, keys: Array, default: Array) -> Array:
        """The values of keys, `default` (one value, or one for each key) where there is no entry."""
        shape = self._check_keys(keys)
        self._check_dtype("default value", default, self.value_dtype)
        one = default.shape == self.value_shape
        if not one and default.shape != shape + self.value_shape:
            raise ValueError(
                f"table {self.name!r} expects a default value of shape {list(self.value_shape)} or "
                f"{list(shape + self.value_shape)}, got {list(default.shape)}"
            )
        wanted = self._keys(keys)
        with self._lock:
            get = self._readable().get
            own = self._values(default.reshape(-1, *self.value_shape))
            if one or not self.default_per_key:
                missing = own[0] if own else None  # where there are no keys there may be no default
                found = [get(key, missing) for key in wanted]
            else:
                found = [get(key, missing) for key, missing in zip(wanted, own, strict=True)]
        return self._array(found, shape)

    def insert(self, keys: Array, values: Array) -> None:
        """Adds entries, or replaces those that are there."""
        entries = self._pairs(keys, values)
        with self._lock:
            self._entries.update(entries)
            self.changes += 1

    def remove(self, keys: Array) -> None:
        """Takes entries out; keys that have none are passed over."""
        self._check_keys(keys)
        with self._lock:
            for key in self._keys(keys):
                self._entries.pop(key, None)
            self.changes += 1

    def replace(self, keys: Array, values: Array) -> None:
        """What is imported in place of all that was there (a checkpoint's entries)."""
        entries = dict(self._pairs(keys, values))
        with self._lock:
            self._entries = entries
            self.changes += 1

    def initialize(self, keys: Array, values: Array) -> None:
        """Fills the table once for all."""
        raise ValueError(f"table {self.name!r} is mutable and takes no initialiser; insert its entries")

    def export(self) -> tuple[Array, Array]:
        """All keys, and their values in the same order."""
        with self._lock:
            entries = self._readable()
            keys, values = list(entries), list(entries.values())
        dtype = self.key_dtype.numpy
        listed = np.empty((len(keys), *self.key_shape), dtype)
        if keys:
            listed[...] = keys
        return listed, self._array(values, (len(values),))

    def copied(self) -> Table:
        """A table with the same entries, which is another's."""
        made = copy.copy(self)
        made._lock = threading.Lock()
        with self._lock:
            made._entries = dict(self._entries)
        return made

    def _readable(self) -> dict[Any, Any]:
        return self._entries

    # Conversions

    def _check_dtype(self, what: str, array: Array, dtype: DType) -> None:
        if from_numpy(array.dtype) != dtype:
            raise ValueError(
                f"table {self.name!r} maps {self.key_dtype} to {self.value_dtype}; got a {what} of "
                f"{from_numpy(array.dtype)}"
            )

    def _check_keys(self, keys: Array) -> tuple[int, ...]:
        """The shape of the list of keys: theirs without the shape of one key."""
        self._check_dtype("key", keys, self.key_dtype)
        rank = keys.ndim - len(self.key_shape)
        if rank < 0 or keys.shape[rank:] != self.key_shape:
            raise ValueError(f"table {self.name!r} has keys of shape {list(self.key_shape)}, got {list(keys.shape)}")
        return tuple(keys.shape[:rank])

    def _keys(self, keys: Array) -> Iterable[Any]:
        if not self.key_shape:
            return keys.reshape(-1).tolist()
        size = int(np.prod(self.key_shape))
        return map(tuple, keys.reshape(-1, size).tolist() if keys.size else ())

    def _values(self, values: Array) -> Any:
        # Rows of a copy: what was passed in may be the caller's own memory.
        return list(values.copy()) if self.value_shape else values.tolist()

    def _pairs(self, keys: Array, values: Array) -> list[tuple[Any, Any]]:
        shape = self._check_keys(keys)
        self._check_dtype("value", values, self.value_dtype)
        if values.shape != shape + self.value_shape:
            raise ValueError(
                f"table {self.name!r} expects values of shape {list(shape + self.value_shape)} for keys of shape "
                f"{list(keys.shape)}, got {list(values.shape)}"
            )
        return list(zip(self._keys(keys), self._values(values.reshape(-1, *self.value_shape)), strict=True))

    def _array(self, values: list[Any], shape: tuple[int, ...]) -> Array:
        out = np.empty((len(values), *self.value_shape), self.value_dtype.numpy)
        if values:
            out[...] = values
        return out.reshape(shape + self.value_shape)


class StaticTable(Table):
    """A table that an initialiser fills, and that nothing changes afterwards.

    A second initialiser of as many entries changes nothing, one of another number is refused:
    TensorFlow compares no more than this.
    """

    default_per_key = False

    def __init__(self, name: str, key_dtype: DType, value_dtype: DType):
        super().__init__(name, key_dtype, value_dtype)
        self._filled = False

    def insert(self, keys: Array, values: Array) -> None:
        raise ValueError(f"table {self.name!r} is filled by its initialiser and takes no insertions")

    def remove(self, keys: Array) -> None:
        raise ValueError(f"table {self.name!r} is filled by its initialiser; its entries can't be removed")

    def replace(self, keys: Array, values: Array) -> None:
        self.initialize(keys, values)

    def initialize(self, keys: Array, values: Array) -> None:
        if keys.ndim != 1:
            raise ValueError(f"table {self.name!r} is initialised by a vector of keys, got shape {list(keys.shape)}")
        if not keys.size:
            raise ValueError(f"table {self.name!r} can't be initialised by no entries")
        self.fill(self._pairs(keys, values))

    def fill(self, pairs: list[tuple[Any, Any]]) -> None:
        """Initialises by pairs of Python objects."""
        entries: dict[Any, Any] = {}
        for key, value in pairs:
            other = entries.setdefault(key, value)
            if other != value and other == other:
                raise ValueError(
                    f"table {self.name!r} is given two values for the key {key!r}: {other!r} and {value!r}"
                )
        with self._lock:
            if not self._filled:
                self._entries, self._filled = entries, True
                self.changes += 1
            elif len(self._entries) not in (len(pairs), len(entries)):
                raise ValueError(
                    f"table {self.name!r} has been initialised with {len(self._entries)} entries and can't be "
                    f"initialised again with {len(entries)} others"
                )

    def _readable(self) -> dict[Any, Any]:
        if not self._filled:
            raise UninitializedError(
                f"table {self.name!r} has no entries; fill it by the graph's table initialisers with initialize()"
            )
        return self._entries


class DenseTable(Table):
    """A table by open addressing, which is exported bucket by bucket, empty ones too.

    Attributes:
        empty_key, deleted_key: what marks buckets that hold no entry.
        buckets: how many there are, a power of two.
        max_load_factor: what part of them may be filled before their number doubles.
    """

    default_per_key = False

    def __init__(
        self,
        name: str,
        key_dtype: DType,
        value_dtype: DType,
        value_shape: tuple[int, ...],
        empty_key: Array,
        deleted_key: Array | None,
        buckets: int,
        max_load_factor: float,
    ):
        super().__init__(name, key_dtype, value_dtype, value_shape)
        self.key_shape = empty_key.shape
        self._empty_array = empty_key.copy()
        self._empty = self._plain(empty_key)[0]
        self._deleted = self._plain(deleted_key)[0] if deleted_key is not None else None
        self._buckets = buckets
        self._max_load_factor = max_load_factor

    def _plain(self, keys: Array) -> list[Any]:
        """Keys as Python objects, whatever they are."""
        return list(super()._keys(keys))

    def _check_keys(self, keys: Array) -> tuple[int, ...]:
        shape = super()._check_keys(keys)
        # Scalar keys may come as the rows in which they are exported.
        if len(shape) > 1 and shape[1:] != (1,):
            raise ValueError(
                f"table {self.name!r} takes one list of keys of shape {list(self.key_shape)}, got {list(keys.shape)}"
            )
        return shape

    def _keys(self, keys: Array) -> Iterable[Any]:
        found = self._plain(keys)
        for what, key in (("empty", self._empty), ("deleted", self._deleted)):
            if key in found:
                raise ValueError(f"table {self.name!r} can't have its {what} key {key!r} as the key of an entry")
        return found

    def insert(self, keys: Array, values: Array) -> None:
        super().insert(keys, values)
        with self._lock:
            while len(self._entries) > self._buckets * self._max_load_factor:
                self._buckets *= 2

    def replace(self, keys: Array, values: Array) -> None:
        """Takes over exported buckets."""
        self._check_dtype("key", keys, self.key_dtype)
        if keys.ndim < 1 or int(np.prod(keys.shape[1:])) != int(np.prod(self.key_shape)):
            raise ValueError(
                f"table {self.name!r} imports a list of keys of shape {list(self.key_shape)}, got {list(keys.shape)}"
            )
        self._check_dtype("value", values, self.value_dtype)
        if values.shape[:1] != keys.shape[:1] or values.size != len(keys) * int(np.prod(self.value_shape)):
            raise ValueError(
                f"table {self.name!r} imports {len(keys)} values of shape {list(self.value_shape)}, "
                f"got {list(values.shape)}"
            )
        if len(keys) < _MIN_DENSE_BUCKETS or len(keys) & (len(keys) - 1):
            raise ValueError(
                f"table {self.name!r} imports a power of two of buckets, at least {_MIN_DENSE_BUCKETS}, got {len(keys)}"
            )
        rows = self._values(values.reshape(-1, *self.value_shape))
        free = (self._empty, self._deleted)
        entries = {
            key: row
            for key, row in zip(self._plain(keys.reshape(-1, *self.key_shape)), rows, strict=True)
            if key not in free
        }
        with self._lock:
            self._entries, self._buckets = entries, len(keys)
            self.changes += 1

    def export(self) -> tuple[Array, Array]:
        """All buckets: keys [buckets, elements of a key], values [buckets, elements of a value]."""
        with self._lock:
            buckets, entries = self._buckets, dict(self._entries)
        keys = np.empty((buckets, *self.key_shape), self.key_dtype.numpy)
        keys[...] = self._empty_array
        dtype = self.value_dtype.numpy
        values = np.zeros((buckets, *self.value_shape), dtype)
        if dtype.hasobject:
            values[...] = b""
        taken: set[int] = set()
        for key, value in entries.items():
            at, probes = _dense_hash(key) & (buckets - 1), 0
            while at in taken:
                probes += 1
                at = (at + probes) & (buckets - 1)
            taken.add(at)
            keys[at], values[at] = key, value
        return keys.reshape(buckets, -1), values.reshape(buckets, -1)


def _dense_hash(key: Any) -> int:
    """Which bucket TensorFlow's dense table tries first for a key: a number of 64 bits."""
    if isinstance(key, tuple):
        result = 0
        for part in key:
            result ^= (_dense_hash(part) + 0x9E3779B97F4A7800 + (result << 10 & _LOW_64) + (result >> 4)) & _LOW_64
        return result
    return hash64(key) if isinstance(key, bytes) else key & _LOW_64
