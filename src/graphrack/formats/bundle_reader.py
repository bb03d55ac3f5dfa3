"""Reading V2 checkpoints; `bundle` draws their format.

What is checked when: opening checks the whole index, every entry against the others (dtypes, shapes,
sizes that fit them, slices within their tensors and all there, no two tensors on the same bytes) and
that each data file is there and long enough. No tensor byte is read. Reading checks the lengths of
strings; `verify`, and reads that ask for it, all checksums.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, KeysView
from functools import partial
from typing import Any

import numpy as np

from graphrack.errors import CorruptCheckpoint, FileError, RestoreError, UnknownName, UnsupportedOp, closest
from graphrack.formats.bundle_index import CHECKSUM_SIZE, Entry, Index, data_path, index_path, parse_index
from graphrack.formats.coding import MalformedError, decode_varints, mask_crc, read_varint
from graphrack.formats.data_files import Bytes, Chunks, DataFile, Identity, identity_of, read_file
from graphrack.formats.dtypes import RESOURCE, VARIANT, DType
from graphrack.formats.tensor_slices import (
    Extent,
    assemble,
    bounds_of,
    format_slice,
    parse_shape_and_slice,
    slice_key,
)
from graphrack.formats.tensor_spec import TensorSpec

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

_ATTEMPTS = 20  # to find an index and data files of one and the same checkpoint while others save
_NUMPY_MAX_RANK = 64


class BundleReader:
    """A V2 checkpoint opened for reading. Safe to use from many threads.

    `prefix` is the path without `.index`. With `mapped`, values are views of the data files, which
    are opened on first use; without, each read reads. If the checkpoint is replaced between opening
    and the first read, the reader turns to the new one, whole; after the first read it keeps what it has.

    Raises `FileError`, `CorruptCheckpoint`.
    """

    def __init__(self, prefix: str | os.PathLike[str], *, mapped: bool = True):
        self.prefix = os.fspath(prefix)
        self.mapped = mapped
        self._lock = threading.Lock()
        self._files: dict[int, DataFile] | None = None
        self._closed = False
        self._index, self._identity = self._load()

    def __repr__(self) -> str:
        return f"<V2 checkpoint {self.prefix!r}: {len(self._index.names)} tensors>"

    def close(self) -> None:
        """Lets go of the data files; arrays that were given out stay valid."""
        with self._lock:
            self._closed = True
            for file in (self._files or {}).values():
                file.close()
            self._files = None

    def names(self) -> KeysView[str]:
        """The names of all tensors, sorted by their bytes."""
        return self._index.names.keys()

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a tensor. Raises `UnknownName`."""
        _, entry = self._find(self._index, name)
        return TensorSpec(name, entry.dtype, entry.shape)

    def read(self, name: str, *, writable: bool = True, verify: bool = False) -> Array:
        """The value of a tensor, aligned and in this machine's byte order; strings as objects of `bytes`.

        `writable`: the caller gets an array that it alone may change, and changes never reach the file.
        Otherwise it is read-only, and may share its memory with other reads. `verify` checks its checksum.
        Raises `UnknownName`, `CorruptCheckpoint`, `UnsupportedOp` (variants and resources).
        """
        return self._read(name, None, writable, verify)

    def read_slice(self, name: str, shape_and_slice: str, *, writable: bool = True, verify: bool = False) -> Array:
        """Part of a tensor, as RestoreV2 writes it down: "4 10 0,2:-"; all of it where the text is empty.

        The tensor may be stored whole or in any other slices. Raises as `read`, and `GraphError` for
        a text that doesn't parse, `RestoreError` where the full shape is not the tensor's.
        """
        part = parse_shape_and_slice(shape_and_slice) if shape_and_slice else None
        return self._read(name, part, writable, verify)

    def verify(self, progress: Progress | None = None) -> None:
        """Checks every checksum of every tensor, and that all else in the data files is zeros.

        Raises `CorruptCheckpoint` that names the tensor, the file and the offset. `progress` is called
        with bytes done and bytes in all. Reads the files piece by piece, whether mapped or not.
        """
        index, files = self._open()
        labels = _labels(index)
        places: dict[int, list[tuple[int, int, bytes]]] = {shard: [] for shard in files}
        for key, entry in index.entries.items():
            if entry.size:
                places[entry.shard].append((entry.offset, entry.size, key))
            elif not entry.slices and entry.checksum != mask_crc(0):
                raise _mismatch(files[entry.shard], labels[key], entry, 0)
        done, total = 0, sum(file.size for file in files.values())
        for shard, file in sorted(files.items()):
            end = 0
            with file.chunks() as chunks:
                for offset, size, key in sorted(places[shard]):
                    _check_zeros(file, chunks, end, offset)
                    done += offset - end
                    entry = index.entries[key]
                    crc = 0
                    if entry.dtype.itemsize or entry.dtype.number == RESOURCE.number:
                        for piece in chunks(offset, size):
                            crc = _extend(crc, piece)
                            done += piece.size
                            if progress is not None:
                                progress(done, total)
                    else:
                        raw = np.concatenate([piece.copy() for piece in chunks(offset, size)])
                        crc = _checksum(file, labels[key], entry, raw, index.big_endian)
                        done += size
                        if progress is not None:
                            progress(done, total)
                    if mask_crc(crc) != entry.checksum:
                        raise _mismatch(file, labels[key], entry, crc)
                    end = offset + size
                _check_zeros(file, chunks, end, file.size)
                if end < file.size or not file.size:
                    done += file.size - end
                    if progress is not None:
                        progress(done, total)

    # Opening

    def _load(self) -> tuple[Index, Identity]:
        path = index_path(self.prefix)
        for attempt in range(_ATTEMPTS):
            data, identity = read_file(path)
            index = parse_index(data, path)
            try:
                for shard, end in index.ends().items():
                    _check_size(data_path(self.prefix, shard, index.shards), end, index)
            except FileError:
                # While the checkpoint is being replaced, an old index's files may be gone already.
                if attempt == _ATTEMPTS - 1 or identity_of(path) == identity:
                    raise
            else:
                return index, identity
        raise AssertionError("unreachable")

    def _open(self) -> tuple[Index, dict[int, DataFile]]:
        with self._lock:
            if self._closed:
                raise FileError(f"the checkpoint {self.prefix} is closed")
            for _ in range(_ATTEMPTS):
                if self._files is not None:
                    return self._index, self._files
                try:
                    files = {
                        shard: DataFile(data_path(self.prefix, shard, self._index.shards), mapped=self.mapped)
                        for shard in self._index.ends()
                    }
                except FileError:
                    if identity_of(index_path(self.prefix)) == self._identity:
                        raise
                    files = None
                # A saver replaces the index before it touches files that the old one names: if the
                # index is still the one that was read, then these are its files.
                if files is not None and identity_of(index_path(self.prefix)) == self._identity:
                    self._files = files
                else:
                    self._index, self._identity = self._load()
            raise FileError(f"the checkpoint {self.prefix} is being replaced faster than it can be opened")

    # Reading

    def _find(self, index: Index, name: str) -> tuple[bytes, Entry]:
        key = index.names.get(name)
        if key is None:
            raise UnknownName(f"the checkpoint {self.prefix} has no tensor {name!r}{closest(name, index.names)}")
        return key, index.entries[key]

    def _read(
        self, name: str, part: tuple[tuple[int, ...], tuple[Extent, ...]] | None, writable: bool, verify: bool
    ) -> Array:
        index, files = self._open()
        key, entry = self._find(index, name)
        whole = tuple((0, size) for size in entry.shape)
        region = whole
        if part is not None:
            if part[0] != entry.shape:
                raise RestoreError(
                    f"the checkpoint {self.prefix} has tensor {name!r} of shape {list(entry.shape)}, "
                    f"and a slice of one of shape {list(part[0])} was asked for"
                )
            region = bounds_of(*part) or whole  # parsing has checked that it lies within
        value = partial(_value, index=index, files=files, label=name, verify=verify)
        if not entry.slices:
            if region == whole:
                return value(entry, writable=writable)
            found = value(entry, writable=False)[tuple(slice(*ends) for ends in region)]
        else:
            pieces = []
            for stored in entry.slices:
                bounds = bounds_of(entry.shape, stored) or ()
                stored_entry = index.entries[slice_key(key, stored)]
                if bounds == region:
                    return value(stored_entry, writable=writable)
                pieces.append((bounds, partial(value, stored_entry, writable=False)))
            assembled = assemble(region, entry.dtype, pieces)
            if assembled is None:
                raise CorruptCheckpoint(
                    f"{index_path(self.prefix)}: the slices of tensor {name!r} of shape {list(entry.shape)} "
                    f"({', '.join(map(format_slice, entry.slices[:5]))}{', …' * (len(entry.slices) > 5)}) "
                    f"leave out or repeat some of what was asked for"
                )
            found = assembled
        if (writable and not found.flags.writeable) or not found.flags.c_contiguous:
            found = found.copy()
        found.flags.writeable = writable
        return found


def _check_size(path: str, expected: int, index: Index) -> None:
    identity = identity_of(path)
    if identity is None:
        raise FileError(
            f"{path} is missing: the checkpoint's index names {index.shards} data "
            f"file{'s' * (index.shards > 1)} of the form {path[-20:]}; all must lie beside it"
        )
    if identity.size < expected:
        raise CorruptCheckpoint(
            f"{path} is cut off: {identity.size} bytes are there and at least {expected} were expected; "
            f"copy the file again, or take another checkpoint"
        )


def _labels(index: Index) -> dict[bytes, str]:
    """What messages call each entry: the tensor's name, and which slice of it."""
    labels = {key: repr(name) for name, key in index.names.items()}
    for name, key in index.names.items():
        for part in index.entries[key].slices:
            labels[slice_key(key, part)] = f"{name!r} (slice {format_slice(part)})"
    return {key: labels.get(key, repr(key)) for key in index.entries}


def _value(
    entry: Entry, *, index: Index, files: dict[int, DataFile], label: str, writable: bool, verify: bool
) -> Array:
    dtype, shape, shard, offset, size = entry[:5]
    file = files[shard]
    if dtype.number in (RESOURCE.number, VARIANT.number):
        raise UnsupportedOp(
            f"tensor {label!r} has dtype {dtype}, whose values only TensorFlow's own objects can hold; "
            f"it can be listed and verified, not read"
        )
    if len(shape) > _NUMPY_MAX_RANK:
        raise UnsupportedOp(f"tensor {label!r} has {len(shape)} dimensions, and NumPy has at most {_NUMPY_MAX_RANK}")
    if dtype.is_string:
        raw = file.view(offset, size)
        value = _strings(file, label, entry, raw, index.big_endian, verify)
        value.flags.writeable = writable
        return value
    swapped = index.big_endian != (sys.byteorder == "big") and dtype.itemsize > 1
    # A view would hand kernels elements that straddle words; quantized dtypes don't say so themselves.
    askew = file.held and offset % min(dtype.itemsize, 8) != 0
    raw = file.writable(offset, size) if writable and not (swapped or askew) else file.view(offset, size)
    if verify:
        crc = _extend(0, raw)
        if mask_crc(crc) != entry.checksum:
            raise _mismatch(file, repr(label), entry, crc)
    if swapped:
        raw = _swapped(raw, dtype)
    elif askew or (writable and not raw.flags.writeable):
        raw = raw.copy()
    value = raw.view(dtype.numpy).reshape(shape)
    value.flags.writeable = writable
    return value


def _swapped(raw: Bytes, dtype: DType) -> Bytes:
    word = dtype.itemsize // 2 if dtype.numpy.kind == "c" else dtype.itemsize
    return np.ascontiguousarray(raw.reshape(-1, word)[:, ::-1]).reshape(-1)


def _extend(crc: int, piece: Bytes) -> int:
    import google_crc32c

    return int(google_crc32c.extend(crc, piece if piece.flags.c_contiguous else piece.copy()))


def _split_strings(raw: Bytes, count: int, big_endian: bool) -> tuple[np.ndarray[Any, Any], int, int]:
    """Lengths of a string tensor's elements, where their bytes start, and the checksum up to there."""
    # A varint's last byte is the one below 128; the one of the last element ends the lengths.
    head = raw[: min(raw.size - CHECKSUM_SIZE, 10 * count)]
    ends = np.flatnonzero(head < 0x80)
    if ends.size < count:
        raise MalformedError(f"has {ends.size} lengths in {head.size} bytes, and {count} were expected")
    start = int(ends[count - 1]) + 1 if count else 0
    lengths = decode_varints(head[:start])
    if ((head[1:start] == 0) & (head[: max(start - 1, 0)] >= 0x80)).any():
        raise MalformedError("has a length that is not written in its shortest form")
    order = ">" if big_endian else "<"
    if count and int(lengths.max()) > 0xFFFFFFFF:
        wide = b"".join(int(n).to_bytes(4 if n < 1 << 32 else 8, "big" if big_endian else "little") for n in lengths)
        crc = _extend(0, np.frombuffer(wide, np.uint8))
    else:
        crc = _extend(0, lengths.astype(order + "u4").view(np.uint8))
    stored = raw[start : start + CHECKSUM_SIZE]
    if stored.size < CHECKSUM_SIZE or mask_crc(crc) != int(stored.copy().view(order + "u4")[0]):
        raise MalformedError(f"has lengths whose checksum is {mask_crc(crc):08x}, and not the stored one")
    start += CHECKSUM_SIZE
    crc = _extend(crc, stored)
    # Compared one by one before they are added up, so that the sum can't wrap around.
    if (lengths > raw.size).any() or sum(map(int, lengths)) != raw.size - start:
        raise MalformedError(f"has lengths that don't add up to the {raw.size - start} bytes behind them")
    return lengths.astype(np.int64), start, crc


def _strings(file: DataFile, label: str, entry: Entry, raw: Bytes, big_endian: bool, verify: bool) -> Array:
    try:
        lengths, start, crc = _split_strings(raw, math.prod(entry.shape), big_endian)
    except MalformedError as e:
        raise _damaged(file, repr(label), entry, str(e)) from None
    if verify:
        crc = _extend(crc, raw[start:])
        if mask_crc(crc) != entry.checksum:
            raise _mismatch(file, repr(label), entry, crc)
    data = raw[start:].tobytes()
    value = np.empty(lengths.size, object)
    at = 0
    for i, size in enumerate(lengths.tolist()):
        value[i] = data[at : at + size]
        at += size
    return value.reshape(entry.shape)


def _checksum(file: DataFile, label: str, entry: Entry, raw: Bytes, big_endian: bool) -> int:
    """The checksum of strings or variants, which isn't that of their bytes as they are."""
    try:
        if entry.dtype.is_string:
            _, start, crc = _split_strings(raw, math.prod(entry.shape), big_endian)
            return _extend(crc, raw[start:])
        return _variants_checksum(raw, math.prod(entry.shape), big_endian)
    except MalformedError as e:
        raise _damaged(file, label, entry, str(e)) from None


def _variants_checksum(raw: Bytes, count: int, big_endian: bool) -> int:
    order = "big" if big_endian else "little"
    data, at, crc = raw.tobytes(), 0, 0
    for i in range(count):
        size, at = read_varint(data, at, len(data))
        if size + CHECKSUM_SIZE > len(data) - at:
            raise MalformedError(f"has {size} bytes in element {i}, and {len(data) - at} are left")
        crc = _extend(crc, np.frombuffer(size.to_bytes(8, order) + data[at : at + size], np.uint8))  # type: ignore[arg-type]
        at += size
        stored = data[at : at + CHECKSUM_SIZE]
        if mask_crc(crc) != int.from_bytes(stored, order):  # type: ignore[arg-type]
            raise MalformedError(f"has a checksum behind element {i} that is not that of the elements")
        crc = _extend(crc, np.frombuffer(stored, np.uint8))
        at += CHECKSUM_SIZE
    if at != len(data):
        raise MalformedError(f"has {len(data) - at} bytes behind its last element")
    return crc


def _check_zeros(file: DataFile, chunks: Chunks, start: int, end: int) -> None:
    for piece in chunks(start, end - start):
        if piece.any():
            first = int(np.flatnonzero(piece)[0])
            raise CorruptCheckpoint(
                f"{file.path}: the byte at offset {start + first} belongs to no tensor and is "
                f"{piece[first]}, not zero; the file is damaged, or of another checkpoint than its index"
            )
        start += piece.size


def _damaged(file: DataFile, label: str, entry: Entry, what: str) -> CorruptCheckpoint:
    return CorruptCheckpoint(
        f"{file.path}: tensor {label} at offset {entry.offset} ({entry.size} bytes of {entry.dtype}, "
        f"shape {list(entry.shape)}) {what}; the file is damaged: copy it again, or take another checkpoint"
    )


def _mismatch(file: DataFile, label: str, entry: Entry, crc: int) -> CorruptCheckpoint:
    return _damaged(file, label, entry, f"has the checksum {mask_crc(crc):08x} and should have {entry.checksum:08x}")
