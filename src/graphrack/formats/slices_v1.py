"""V1 checkpoints: tables of SavedTensorSlices, which old Savers wrote. Read only.

A checkpoint is the one file `P`, or `P-00000-of-00002` … for a sharded save; each is a whole table:

    key                  value (all are SavedTensorSlices messages)
    empty                meta: per tensor its name, shape, dtype and the slices that this file holds
    a slice's key        data: the tensor's name, the slice, and a TensorProto without dtype and shape
                         whose typed field (float_val, int_val, …) has one number per element
                         (`tensor_slices.slice_key`)

A tensor saved whole is one slice that covers it.

Only a block's checksum covers values, so that reading always verifies what it reads. Files are read,
never mapped: values have to be decoded, and a file that shrinks is an error, not a crash.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import KeysView
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from graphrack.errors import CorruptCheckpoint, FileError, RestoreError, UnknownName, UnsupportedOp, closest
from graphrack.formats.coding import MalformedError, decode_varints, proto_fields
from graphrack.formats.data_files import identity_of, open_for_reading, read_at
from graphrack.formats.dtypes import DTYPES, DType
from graphrack.formats.table import Table
from graphrack.formats.tensor_slices import (
    Extent,
    assemble,
    bounds_of,
    format_slice,
    parse_shape_and_slice,
    shape_of,
    slice_key,
    slice_of_proto,
)
from graphrack.formats.tensor_spec import TensorSpec

META_KEY = b""
VERSION = 1  # of the format; frozen
_MAX_RANK = 64  # NumPy's

Array = np.ndarray[Any, Any]

# Fields of SavedTensorSlices, SavedSlice and TensorProto (see checkpoint.proto and graph.proto).
_DATA = 2
_SLICE_DATA = 3
_CONTENT, _STRING_VAL = 4, 8
# Per dtype: the field of TensorProto that holds its values, and how they lie in it. "varint" are
# numbers of their own, all else words of that NumPy dtype.
_FIELDS: dict[str, tuple[int, str]] = {
    "float32": (5, "<f4"),
    "float64": (6, "<f8"),
    "complex64": (9, "<f4"),
    "complex128": (12, "<f8"),
    "int64": (10, "varint"),
    "bool": (11, "varint"),
    "float16": (13, "varint"),
    "bfloat16": (13, "varint"),
    "uint32": (16, "varint"),
    "uint64": (17, "varint"),
} | dict.fromkeys(
    ("int32", "uint8", "int16", "int8", "uint16", "qint8", "quint8", "qint32", "qint16", "quint16"), (7, "varint")
)


class _Tensor(NamedTuple):
    dtype: DType
    shape: tuple[int, ...]
    slices: dict[tuple[Extent, ...], int]  # the shard that holds each


class V1Reader:
    """A V1 checkpoint opened for reading: the protocol of `bundle_reader.BundleReader`.

    `files` are all its files; they stay open until `close`. Safe to use from many threads.
    Raises `FileError`, `CorruptCheckpoint`.
    """

    def __init__(self, prefix: str | os.PathLike[str], files: list[str]):
        self.prefix = os.fspath(prefix)
        self._lock = threading.Lock()
        self._closed = False
        self._fds: list[int] = []
        self._tables: list[Table] = []
        self._size = 0
        self._tensors: dict[str, _Tensor] = {}
        try:
            for path in files:
                self._open(path)
        except BaseException:
            self.close()
            raise
        self._tensors = dict(sorted(self._tensors.items(), key=lambda item: _key(item[0])))

    def __repr__(self) -> str:
        return f"<V1 checkpoint {self.prefix!r}: {len(self._tensors)} tensors>"

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files; arrays that were given out stay valid."""
        with self._lock:
            fds, self._fds, self._closed = self._fds, [], True
            for fd in fds:
                os.close(fd)

    def names(self) -> KeysView[str]:
        """The names of all tensors, sorted by their bytes."""
        return self._tensors.keys()

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a tensor. Raises `UnknownName`."""
        tensor = self._find(name)
        return TensorSpec(name, tensor.dtype, tensor.shape)

    def read(self, name: str, *, writable: bool = True, verify: bool = False) -> Array:
        """The value of a tensor, always verified; strings as objects of `bytes`.

        Raises `UnknownName`, `CorruptCheckpoint`, `UnsupportedOp`.
        """
        return self.read_slice(name, "", writable=writable, verify=verify)

    def read_slice(self, name: str, shape_and_slice: str, *, writable: bool = True, verify: bool = False) -> Array:
        """Part of a tensor: "4 10 0,2:-", or all of it where the text is empty; stored in whatever slices.

        Raises as `read`, and `GraphError` for a text that doesn't parse, `RestoreError` where the
        full shape is not the tensor's.
        """
        del verify  # each block that is read is checked
        if self._closed:
            raise FileError(f"the checkpoint {self.prefix} is closed")
        tensor = self._find(name)
        region = tuple((0, size) for size in tensor.shape)
        if shape_and_slice:
            shape, part = parse_shape_and_slice(shape_and_slice)
            if shape != tensor.shape:
                raise RestoreError(
                    f"the checkpoint {self.prefix} has tensor {name!r} of shape {list(tensor.shape)}, "
                    f"and a slice of one of shape {list(shape)} was asked for"
                )
            region = bounds_of(shape, part) or region  # parsing has checked that it lies within
        if len(region) > _MAX_RANK:
            raise UnsupportedOp(f"tensor {name!r} has {len(region)} dimensions, and NumPy has at most {_MAX_RANK}")
        # Every element takes at least a byte in some file, whatever the meta declares.
        found = None
        if math.prod(shape_of(region)) <= self._size:
            pieces = [
                (bounds_of(tensor.shape, part) or (), partial(self._slice, name, tensor, part))
                for part in tensor.slices
            ]
            whole = next((read for bounds, read in pieces if bounds == region), None)
            found = whole() if whole else assemble(region, tensor.dtype, pieces)
        if found is None:
            raise CorruptCheckpoint(
                f"{self.prefix}: the slices of tensor {name!r} of shape {list(tensor.shape)} "
                f"({', '.join(map(format_slice, list(tensor.slices)[:5]))}{', …' * (len(tensor.slices) > 5)}) "
                f"leave out or repeat some of what was asked for; is a shard's file missing?"
            )
        found.flags.writeable = writable
        return found

    def verify(self, progress: Any = None) -> None:
        """Checks every block of every file, and that each slice decodes.

        Raises `CorruptCheckpoint` that names the file and the offset. `progress` is called with bytes
        done and bytes in all.
        """
        done = 0
        for table in self._tables:
            for number, block in enumerate(table.blocks):
                table.block(number)
                done += block.end - block.offset
                if progress is not None:
                    progress(done, self._size)
            done += table.size - table.blocks[-1].end
        for name, tensor in self._tensors.items():
            for part in tensor.slices:
                self._slice(name, tensor, part)
        if progress is not None:
            progress(self._size, self._size)

    # Opening

    def _open(self, path: str) -> None:
        from google.protobuf.message import DecodeError

        from graphrack.formats.protos.checkpoint_pb2 import SavedTensorSlices

        with open_for_reading(path) as opened:
            fd = os.dup(opened)
        self._fds.append(fd)
        identity = identity_of(fd)
        assert identity is not None  # an open file is there
        shard = len(self._tables)

        def read(offset: int, size: int) -> bytes:
            if self._closed:
                raise FileError(f"the checkpoint {self.prefix} is closed")
            return read_at(fd, path, offset, size)

        table = Table(read, identity.size, path)
        self._size += identity.size
        self._tables.append(table)
        key, value = table.block(0)[0] if table.blocks else (b"?", b"")
        try:
            saved = SavedTensorSlices.FromString(value if key == META_KEY else b"")
        except DecodeError as e:
            raise CorruptCheckpoint(f"{path}: the list of its tensors is no protocol buffer of its kind ({e})") from e
        if not saved.HasField("meta"):
            raise CorruptCheckpoint(f"{path} has no list of its tensors at its start; it is no V1 checkpoint")
        meta = saved.meta
        oldest = meta.versions.min_consumer
        if oldest > VERSION or VERSION in meta.versions.bad_consumers:
            raise CorruptCheckpoint(f"{path} wants a reader of version {oldest}; this one is of version {VERSION}")
        for tensor in meta.tensor:
            self._add(path, shard, tensor)

    def _add(self, path: str, shard: int, saved: Any) -> None:
        name, what = saved.name, f"{path}: tensor {saved.name!r}"
        dtype = DTYPES.get(saved.type)
        if dtype is None:
            raise CorruptCheckpoint(f"{what} has the dtype number {saved.type}, which is none of TensorFlow's")
        shape = tuple(d.size for d in saved.shape.dim)
        if saved.shape.unknown_rank or min(shape, default=0) < 0 or math.prod(filter(None, shape)) >= 1 << 60:
            raise CorruptCheckpoint(f"{what} has the shape {list(shape)}, which no tensor can have")
        tensor = self._tensors.setdefault(name, _Tensor(dtype, shape, {}))
        if (tensor.dtype.number, tensor.shape) != (dtype.number, shape):
            raise CorruptCheckpoint(
                f"{what} is {dtype} of shape {list(shape)} there, and {tensor.dtype} of shape "
                f"{list(tensor.shape)} in a shard before it"
            )
        for proto in saved.slice:
            part = slice_of_proto(proto)
            if bounds_of(shape, part) is None:
                raise CorruptCheckpoint(
                    f"{what} of shape {list(shape)} has the slice {format_slice(part)}, which doesn't lie within it"
                )
            if part in tensor.slices:
                raise CorruptCheckpoint(f"{what} has the slice {format_slice(part) or '(all)'} twice")
            tensor.slices[part] = shard

    # Reading

    def _find(self, name: str) -> _Tensor:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise UnknownName(f"the checkpoint {self.prefix} has no tensor {name!r}{closest(name, self._tensors)}")
        return tensor

    def _slice(self, name: str, tensor: _Tensor, part: tuple[Extent, ...]) -> Array:
        table = self._tables[tensor.slices[part]]
        key = slice_key(_key(name), part)
        value = table.get(key)
        what = f"{table.path}: tensor {name!r}, slice {format_slice(part) or '(all)'}"
        if value is None:
            raise CorruptCheckpoint(f"{what} is in the list of tensors, but has no entry")
        shape = shape_of(bounds_of(tensor.shape, part) or ())
        try:
            return _decode(memoryview(value), tensor.dtype, shape)
        except MalformedError as e:
            raise CorruptCheckpoint(f"{what} in the block at offset {table.offset_of(key)}: {e}") from None


def _key(name: str) -> bytes:
    return name.encode("utf-8")


def _field(message: memoryview, wanted: int) -> memoryview:
    found = memoryview(b"")
    for number, wire, value in proto_fields(message):
        if number == wanted and wire == 2:
            found = value
    return found


def _decode(value: memoryview, dtype: DType, shape: tuple[int, ...]) -> Array:
    """The array behind a SavedTensorSlices message. Raises `MalformedError`, `UnsupportedOp`."""
    proto = _field(_field(value, _DATA), _SLICE_DATA)
    count = math.prod(shape)
    if dtype.is_string:
        strings = [bytes(v) for number, wire, v in proto_fields(proto) if (number, wire) == (_STRING_VAL, 2)]
        _check_count(len(strings), count, dtype, shape)
        out = np.empty(count, object)
        out[:] = strings
        return out.reshape(shape)
    known = _FIELDS.get(dtype.name)
    if known is None:
        raise UnsupportedOp(f"V1 checkpoints have no form for tensors of dtype {dtype}")
    field, layout = known
    packed: list[Array] = []
    for number, wire, v in proto_fields(proto):
        if number == _CONTENT and wire == 2 and len(v):
            if len(v) != count * dtype.itemsize:
                raise MalformedError(f"it has {len(v)} bytes, and {dtype} of shape {list(shape)} has others")
            word = dtype.itemsize // (2 if dtype.numpy.kind == "c" else 1)
            return np.frombuffer(v, f"<u{word}").astype(f"u{word}").view(dtype.numpy).reshape(shape)
        if number != field:
            continue
        if layout == "varint" and wire == 0:
            packed.append(np.array([v], np.uint64))
        elif wire == 0 or (layout == "varint" and wire != 2):
            raise MalformedError(f"field {number} is of wire type {wire}, which its numbers can't be of")
        elif layout == "varint":
            packed.append(decode_varints(np.frombuffer(v, np.uint8)))
        elif len(v) % int(layout[2]):
            raise MalformedError(f"it has {len(v)} bytes of numbers, which are {layout[2]} bytes each")
        else:
            packed.append(np.frombuffer(v, layout))
    empty = np.zeros(0, np.uint64 if layout == "varint" else layout)
    numbers = packed[0] if len(packed) == 1 else np.concatenate([empty, *packed])
    _check_count(numbers.size // (2 if dtype.numpy.kind == "c" else 1), count, dtype, shape)
    if layout == "varint":
        # Narrower than the field: the low bytes are the number (of halves, its bits).
        bits = numbers.astype(f"u{dtype.itemsize}") if dtype.name != "bool" else numbers != 0
    else:
        bits = numbers.astype(layout[1:])  # a copy, aligned and in this machine's order
    return bits.view(dtype.numpy).reshape(shape)


def _check_count(found: int, expected: int, dtype: DType, shape: tuple[int, ...]) -> None:
    if found != expected:
        raise MalformedError(f"it has {found} elements, and {dtype} of shape {list(shape)} has {expected}")
