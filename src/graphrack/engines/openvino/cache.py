"""Compiled clusters on disk, for the next process.

`GRAPHRACK_CACHE` names the folder; by default it is `graphrack` in the user's cache folder, and `0`, `off` or nothing
means no cache. `GRAPHRACK_CACHE_LIMIT` bounds what the files take together, 2 GiB if it isn't set; those that were not
used for longest go first. A folder that can't be written is no cache, and no error.

A file `KEY.ov`, KEY being 32 hexadecimal digits: 8 for the cluster without its values, 16 for all of the cluster, and
8 for the circumstances (`fingerprint.py`):

    bytes    what
    8        b"graphrck"
    4        version of this layout, 1, little-endian as all numbers here
    4        CRC-32C of the blob
    8        length of the blob
    32       KEY
    4        CRC-32C of the 56 bytes before
    4        zeros
    the rest the blob: what OpenVINO exports

OpenVINO reads what it is given without suspicion, and may end the process over a damaged blob; so all of this is
checked first. Blobs are trusted like programs: the folder is made for its owner alone, and a file that belongs to
someone else, or that others may write, is not read.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import re
import stat
import struct
import sys
from typing import Any

import numpy as np

from graphrack.errors import GraphrackError
from graphrack.formats.safe_write import TemporaryFile, folder_lock, remove, sweep

_HEADER = struct.Struct("<8sIIQ32s")
_MAGIC, _VERSION = b"graphrck", 1
_OFFSET = _HEADER.size + 8
_DEFAULT_LIMIT = 2 << 30
_NAME = r"[0-9a-f]{32}\.ov"

_log = logging.getLogger("graphrack")


def folder() -> str | None:
    """Where the cache lies; None where there is none."""
    given = os.environ.get("GRAPHRACK_CACHE")
    if given is not None:
        return None if given.strip().lower() in ("", "0", "off") else os.path.abspath(os.path.expanduser(given))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # An unknown home stays a `~`, a relative folder is against the specification: both are no place to write to.
    return os.path.join(base, "graphrack") if base and os.path.isabs(base) else None


def limit() -> int:
    """How many bytes its files may take together."""
    text = os.environ.get("GRAPHRACK_CACHE_LIMIT", "").strip()
    if not text:
        return _DEFAULT_LIMIT
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(I?B)?", text.upper())
    if match is None:
        _log.warning(
            "GRAPHRACK_CACHE_LIMIT is %r; expected a number of bytes, or one with K, M, G or T (of 1024), as 500M; "
            "2G is assumed",
            text,
        )
        return _DEFAULT_LIMIT
    return int(match[1]) << 10 * " KMGT".index(match[2] or " ")


def may_have(place: str, start: str) -> bool:
    """Whether a file is in a folder whose key begins so."""
    try:
        return any(name.startswith(start) for name in os.listdir(place))
    except OSError:
        return False


def load(place: str, key: str) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """The blob stored in a folder under a key, mapped; None where there is none, or no sound one. Raises nothing."""
    path = os.path.join(place, f"{key}.ov")
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        blob = _checked(fd, key)
    except (OSError, ValueError):
        blob = None
    finally:
        os.close(fd)
    if blob is None:
        remove(path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used last
    return blob


def _checked(fd: int, key: str) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    import google_crc32c

    facts = os.fstat(fd)
    if hasattr(os, "geteuid") and (facts.st_uid not in (0, os.geteuid()) or facts.st_mode & 0o022):
        return None
    if not stat.S_ISREG(facts.st_mode) or facts.st_size <= _OFFSET:
        return None
    # Copy-on-write, since OpenVINO takes only what could be written; the file stays as it is.
    mapped = np.frombuffer(mmap.mmap(fd, facts.st_size, access=mmap.ACCESS_COPY), np.uint8)
    header, blob = mapped[:_OFFSET].tobytes(), mapped[_OFFSET:]
    magic, version, checksum, length, name = _HEADER.unpack_from(header)
    sound = (
        (magic, version, length, name) == (_MAGIC, _VERSION, blob.size, key.encode())
        and google_crc32c.value(header[: _HEADER.size]) == int.from_bytes(header[_HEADER.size : -4], "little")
        and google_crc32c.value(blob) == checksum
    )
    return blob if sound else None


def store(place: str, key: str, blob: bytes | memoryview) -> None:
    """Stores a blob, and lets go of old ones where there are too many. Raises nothing."""
    most = limit()
    if len(blob) + _OFFSET > most:
        return
    import google_crc32c

    checksum = google_crc32c.value(np.frombuffer(blob, np.uint8))
    head = _HEADER.pack(_MAGIC, _VERSION, checksum, len(blob), key.encode())
    path = os.path.join(place, f"{key}.ov")
    try:
        os.makedirs(place, 0o700, exist_ok=True)
        with folder_lock(place):
            sweep(place, _NAME)
            file = TemporaryFile(path)
        with file:
            os.chmod(file.path, 0o600)
            file.write(head + google_crc32c.value(head).to_bytes(4, "little") + bytes(4))
            file.write(blob)
            with folder_lock(place):
                file.place()  # not flushed: what a crash leaves of it has the wrong checksum
                _trim(place, most)
    except (OSError, GraphrackError) as error:
        _log.debug("the cache in %s can't be written: %s", place, error)


def _trim(place: str, most: int) -> None:
    """Removes files that were not used for longest until the rest takes no more than `most` bytes."""
    found = []
    for entry in os.scandir(place):
        if re.fullmatch(_NAME, entry.name):
            with contextlib.suppress(OSError):
                facts = entry.stat()
                found.append((facts.st_mtime_ns, facts.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most:
            break
        remove(path)
        total -= size
