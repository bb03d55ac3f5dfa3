"""Writing files so that a reader, and whoever comes after a crash, finds the old bytes or the new ones.

Bytes go to a temporary name in the same folder, `NAME.tmp-` and 8 hexadecimal digits, are flushed to
disk, and take their place by a rename. Two locks, both of the kind that ends with its process (flock):

  - on each temporary file, or a file in each temporary folder, by its writer: one that nobody locks
    was left behind by a killed process, and whoever saves under that name next removes it;
  - on the folder, while temporary files appear and while files take their places: two savers
    take turns, and neither removes what the other has just made.

Where a file system has no locks all works as well, but leftovers stay.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from types import TracebackType

from graphrack.errors import FileError

try:
    import fcntl
except ImportError:  # no flock on this system
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = r"\.tmp-[0-9a-f]{8}"
_WRITING = ".writing"  # in a temporary folder, locked by its writer
_PATIENCE = 120.0  # seconds to wait for another process's turn; a turn is a few renames and flushes
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TOO_BIG = (errno.EFBIG,)


@contextlib.contextmanager
def reporting(path: str) -> Iterator[None]:
    """Turns an `OSError` into a `FileError` that says what can't be written and why."""
    try:
        yield
    except FileError:
        raise
    except OSError as e:
        why = e.strerror or str(e)
        if e.errno in _FULL:
            why = f"the disk is full, or a quota is used up ({why})"
        elif e.errno in _TOO_BIG:
            why = f"a limit on the size of files is reached ({why})"
        elif e.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            why = f"its folder or the file can't be written to ({why})"
        elif e.errno == errno.ENOENT:
            why = f"its folder is not there ({why})"
        raise FileError(f"{path} can't be written: {why}; what was there before is untouched") from e


def folder_of(path: str) -> str:
    """The folder a file lies in; `.` where the path names none."""
    return os.path.dirname(path) or "."


@contextlib.contextmanager
def folder_lock(folder: str) -> Iterator[None]:
    """Holds a folder's lock for a `with` block; waits for other savers. Raises `FileError`."""
    with reporting(folder):
        fd = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _lock(fd):
            if time.monotonic() > deadline:
                raise FileError(
                    f"{folder} has been locked by another saving process for {_PATIENCE:.0f} seconds; "
                    f"end that process, or save elsewhere"
                )
            time.sleep(0.005)
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    """Whether nobody else holds the lock, which is then ours where there are locks at all."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # this file system has no locks
        return True
    return True


def _abandoned(path: str) -> bool:
    if fcntl is None:
        return False
    if os.path.isdir(path):
        # It is made with its lock, and loses that, in turns of the folder around it, which is ours now.
        path = os.path.join(path, _WRITING)
        if not os.path.lexists(path):
            return True
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def sweep(folder: str, names: str) -> None:
    """Removes temporary files and folders that killed writers left; the folder's lock is held.

    `names` is a regular expression of the names that the files were to get.
    """
    pattern = re.compile(f"(?:{names}){_TEMPORARY}")
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if pattern.fullmatch(name) and _abandoned(path):
                with contextlib.suppress(OSError):
                    if os.path.isdir(path) and not os.path.islink(path):
                        shutil.rmtree(path)
                    else:
                        os.unlink(path)


def sync_folder(folder: str) -> None:
    """Flushes a folder's names to disk, where the system can."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def remove(path: str) -> None:
    """Removes a file that may not be there."""
    with contextlib.suppress(OSError):
        os.unlink(path)


class TemporaryFile:
    """A file being written under a temporary name; a context manager that removes it unless placed.

    Made while the folder's lock is held. Raises `FileError`.
    """

    def __init__(self, target: str):
        self.target = target
        self.path = f"{target}.tmp-{os.urandom(4).hex()}"
        self.size = 0
        with reporting(target):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            self._fd: int | None = os.open(self.path, flags, 0o666)
        _lock(self._fd)

    def __enter__(self) -> TemporaryFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()

    def write(self, data: bytes | memoryview) -> None:
        """Appends bytes."""
        assert self._fd is not None
        left = memoryview(data)
        with reporting(self.target):
            while left:
                count = os.write(self._fd, left)
                self.size += count
                left = left[count:]

    def flush(self, *, durable: bool) -> None:
        """With `durable`, waits until the disk has the bytes."""
        if durable and self._fd is not None:
            with reporting(self.target):
                os.fsync(self._fd)

    def place(self, target: str | None = None) -> None:
        """Renames the file to its target, or another name in its folder; the folder's lock is held."""
        with reporting(self.target):
            os.replace(self.path, target or self.target)
        self._close()

    def discard(self) -> None:
        """Removes the file, unless it has been placed."""
        if self._fd is not None:
            remove(self.path)
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class TemporaryFolder:
    """A folder being written under a temporary name; a context manager that removes it unless placed.

    Leftovers of killed writers to the same target are removed first. Raises `FileError`.
    """

    def __init__(self, target: str):
        self.target = target
        self.path = f"{target}.tmp-{os.urandom(4).hex()}"
        folder = folder_of(target)
        with folder_lock(folder):
            sweep(folder, re.escape(os.path.basename(target)))
            with reporting(target):
                os.mkdir(self.path)
                self._lock_path = os.path.join(self.path, _WRITING)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
                self._fd: int | None = os.open(self._lock_path, flags, 0o666)
            _lock(self._fd)

    def __enter__(self) -> TemporaryFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        if self._fd is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self._close()

    def place(self) -> None:
        """Renames the folder to its target, which isn't there or is an empty folder."""
        folder = folder_of(self.target)
        with folder_lock(folder), reporting(self.target):
            if os.path.isdir(self.target):
                os.rmdir(self.target)
            os.unlink(self._lock_path)
            os.rename(self.path, self.target)
        self._close()
        sync_folder(folder)

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def atomic_write(path: str | os.PathLike[str], data: bytes, *, durable: bool = True) -> None:
    """Writes a small file in one step: whoever reads it finds the old bytes or the new ones.

    With `durable`, waits until the disk has them. The folder must exist. Raises `FileError`; then
    the old file is untouched and nothing is left behind.
    """
    target = os.fspath(path)
    with folder_lock(folder_of(target)):
        replace_file(target, data, durable=durable)


def replace_file(path: str, data: bytes, *, durable: bool = True) -> None:
    """What `atomic_write` does, for one who holds the folder's lock already."""
    folder = folder_of(path)
    sweep(folder, re.escape(os.path.basename(path)))
    with TemporaryFile(path) as file:
        file.write(data)
        file.flush(durable=durable)
        file.place()
    if durable:
        sync_folder(folder)
