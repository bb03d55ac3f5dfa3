"""Files of tensor bytes: mapped where that pays, read where it doesn't, always the file that was opened.

A `DataFile` is a snapshot: once opened it gives the bytes of that very file even after another one
has been renamed over its name. What it can't withstand is a file that shrinks in place while it is
mapped: touching pages that are gone ends the process with SIGBUS. `mapped=False` never maps.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from graphrack.errors import CorruptCheckpoint, FileError

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

SMALL = 64 * 1024
"""Files up to this size are read at once: a mapping costs a file descriptor and a page table."""

CHUNK = 1024 * 1024
"""Bytes read at a time where a file is gone through once; small enough to stay in the processor's cache."""


class Identity(NamedTuple):
    """What tells a file from another one that has been put under its name."""

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


def identity_of(path: str | int) -> Identity | None:
    """The identity of a path or a file descriptor; None where there is no such file."""
    try:
        s = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise _unreadable(path, e) from e
    return Identity(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


@contextlib.contextmanager
def open_for_reading(path: str) -> Iterator[int]:
    """A file descriptor for a `with` block. Raises `FileError`."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except OSError as e:
        raise _unreadable(path, e) from e
    try:
        yield fd
    finally:
        os.close(fd)


def read_at(fd: int, path: str, offset: int, size: int) -> bytes:
    """Exactly `size` bytes from `offset`. Raises `CorruptCheckpoint` where the file has fewer."""
    parts = []
    missing = size
    while missing:
        try:
            part = os.pread(fd, missing, offset + size - missing)
        except OSError as e:
            raise _unreadable(path, e) from e
        if not part:
            raise _short(path, offset + size, offset + size - missing)
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_file(path: str) -> tuple[bytes, Identity]:
    """A whole file, and the identity of what was read. Raises `FileError`."""
    with open_for_reading(path) as fd:
        identity = identity_of(fd)
        assert identity is not None  # an open file is there
        return read_at(fd, path, 0, identity.size), identity


def _unreadable(path: str | int, e: OSError) -> FileError:
    return FileError(f"{path} can't be read: {e.strerror or e}")


def _short(path: str, expected: int, found: int) -> CorruptCheckpoint:
    return CorruptCheckpoint(
        f"{path} is cut off: {found} bytes are there and at least {expected} were expected; "
        f"copy the file again, or take another checkpoint"
    )


class DataFile:
    """One file of tensor bytes, opened once. Safe to use from many threads. Raises `FileError`."""

    def __init__(self, path: str, *, mapped: bool):
        self.path = path
        self._lock = threading.Lock()
        self._data: Bytes | None = None  # all of the file, read-only
        self._private: Bytes | None = None  # all of the file, writable, changes seen by nobody else
        self._given: set[int] = set()
        self._fd: int | None = None
        with open_for_reading(path) as fd:
            identity = identity_of(fd)
            assert identity is not None  # an open file is there
            self.identity = identity
            self.size = identity.size
            if self.size <= SMALL:
                self._data = np.frombuffer(read_at(fd, path, 0, self.size), np.uint8)
            elif mapped:
                self._data = _map(fd, path, mmap.ACCESS_READ)
            else:
                self._fd = os.dup(fd)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file; arrays that were given out stay valid."""
        self._data = self._private = None
        fd, self._fd = getattr(self, "_fd", None), None
        if fd is not None:
            os.close(fd)

    @property
    def held(self) -> bool:
        """Whether views are of one memory that holds all of the file, so that offsets give alignment."""
        return self._data is not None

    def view(self, offset: int, size: int) -> Bytes:
        """Read-only bytes: a view of the file where it is mapped or small, else freshly read."""
        if self._data is None:
            if self._fd is None:
                raise FileError(f"{self.path} is closed")
            return np.frombuffer(read_at(self._fd, self.path, offset, size), np.uint8)
        if offset + size > self.size:
            raise _short(self.path, offset + size, self.size)
        part: Bytes = self._data[offset : offset + size]
        return part

    def writable(self, offset: int, size: int) -> Bytes:
        """Bytes that the caller alone may change, and which then differ from the file's.

        Of a mapped file these are its pages, copied by the system when first written to. Each offset's
        pages are given out once; who asks again gets a copy, so that no two callers share an array.
        """
        if self._data is None:
            if self._fd is None:
                raise FileError(f"{self.path} is closed")
            out = np.empty(size, np.uint8)
            _read_into(self._fd, self.path, offset, out)
            return out
        if self.size <= SMALL:
            return self.view(offset, size).copy()
        if offset + size > self.size:
            raise _short(self.path, offset + size, self.size)
        with self._lock:
            if self._private is None and not self._given:
                self._private = self._map_again()
            first = offset not in self._given
            self._given.add(offset)
            source = self._private
        part: Bytes
        if first and source is not None:
            part = source[offset : offset + size]
        else:
            part = self._data[offset : offset + size].copy()
        return part

    def chunks(self) -> Chunks:
        """Reads through the file for checksums, without touching the mapping where that can be avoided."""
        return Chunks(self)

    def _map_again(self) -> Bytes | None:
        return _private(self.path, self.identity, alone=False)


class _Source(NamedTuple):
    """The file of a private mapping; `alone`: one array is all that is given out of it."""

    mapping: weakref.ref[Bytes]
    path: str
    identity: Identity
    alone: bool


_sources: dict[int, _Source] = {}
"""By the mapping's own identity in Python."""


def _private(path: str, identity: Identity, *, alone: bool) -> Bytes | None:
    """The file's pages to write into; None where the name doesn't lead to that file any more."""
    with contextlib.suppress(FileError), open_for_reading(path) as fd:
        if _is_that(fd, identity):
            mapping = _map(fd, path, mmap.ACCESS_COPY)
            key = id(mapping)
            _sources[key] = _Source(weakref.ref(mapping, lambda _: _sources.pop(key, None)), path, identity, alone)
            return mapping
    return None


def _is_that(fd: int, identity: Identity) -> bool:
    # A mapping keeps the inode from being used again, so that its number is enough.
    now = identity_of(fd)
    return now is not None and now[:3] == identity[:3]


def _source_of(array: np.ndarray[Any, Any]) -> _Source | None:
    found = _sources.get(id(array.base))
    return found if found is not None and found.mapping() is array.base else None


def is_mapped(array: np.ndarray[Any, Any]) -> bool:
    """Whether `DataFile.writable` has given an array that is a file's pages."""
    source = _source_of(array)
    return source is not None and not source.alone


def mapped_again(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """A copy of an array that `is_mapped`, and that nobody has written into: other such pages, the caller's alone.

    It takes no memory but for what is written into it. None where the array isn't such a one, or its file is gone.
    """
    source = _source_of(array)
    if source is None or source.alone or not array.flags.c_contiguous:
        return None
    mapping = _private(source.path, source.identity, alone=True)
    if mapping is None:
        return None
    assert array.base is not None
    start = array.__array_interface__["data"][0] - array.base.__array_interface__["data"][0]
    again: np.ndarray[Any, Any] = mapping[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    return again


def is_mapped_again(array: np.ndarray[Any, Any]) -> bool:
    """Whether `mapped_again` has made it."""
    source = _source_of(array)
    return source is not None and source.alone


def _map(fd: int, path: str, access: int) -> Bytes:
    try:
        mapping: Bytes = np.frombuffer(mmap.mmap(fd, 0, access=access), np.uint8)
        return mapping
    except (OSError, ValueError) as e:
        raise FileError(
            f"{path} can't be mapped: {getattr(e, 'strerror', None) or e}; mapped=False reads it instead"
        ) from e


def _read_into(fd: int, path: str, offset: int, out: Bytes) -> None:
    done = 0
    while done < out.size:
        try:
            count = os.preadv(fd, [out.data[done:]], offset + done)
        except OSError as e:
            raise _unreadable(path, e) from e
        if not count:
            raise _short(path, offset + out.size, offset + done)
        done += count


class Chunks:
    """Pieces of a `DataFile`, each read into one small buffer; a context manager.

    Reading rather than mapping is as fast for one pass, and safe where a file shrinks meanwhile.
    """

    def __init__(self, file: DataFile):
        self._file = file
        self._buffer = np.empty(CHUNK, np.uint8)
        self._fd: int | None = None

    def __enter__(self) -> Chunks:
        file = self._file
        if file._fd is not None:
            self._fd = os.dup(file._fd)
        elif file.size > SMALL:
            with contextlib.suppress(FileError), open_for_reading(file.path) as fd:
                if _is_that(fd, file.identity):
                    self._fd = os.dup(fd)
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __call__(self, offset: int, size: int) -> Iterator[Bytes]:
        """The bytes from `offset` on; each piece is overwritten by the next."""
        for at in range(offset, offset + size, CHUNK):
            count = min(CHUNK, offset + size - at)
            if self._fd is None:
                yield self._file.view(at, count)
            else:
                _read_into(self._fd, self._file.path, at, self._buffer[:count])
                yield self._buffer[:count]
