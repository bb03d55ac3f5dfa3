"""The sorted table that an `.index` file is, and that a whole V1 checkpoint is (LevelDB's table format).

The file, from its first byte to its last, without gaps (little-endian throughout):

    part            bytes    meaning
    data blocks     any      entries in the order of their keys, keys strictly increasing
    metaindex       any      a block without entries
    index           any      a block; one entry per data block: a key k with
                             (last key of that block) <= k < (first key of the next); value: its handle
    footer          48       handle of the metaindex, handle of the index, zeros up to byte 40, then
                             the magic number db4775248b80fb57 (8 bytes)

A handle is two varints: the offset of a block, and the size of its contents without the trailer.

A block:

    contents        size     as below; compressed where the type says so
    type            1        0: as they are; 1: Snappy (raw format)
    checksum        4        masked CRC-32C of contents (as stored) and type

The contents of a block, uncompressed:

    entries         any      each: varint (bytes of the key shared with the key before),
                             varint (further bytes of the key), varint (bytes of the value),
                             the further bytes of the key, the value
    restarts        4 each   offsets of the entries that share nothing with the one before: the first,
                             then every 16th (index block: every one)
    restart count   4        at least 1; a block without entries has the one restart 0

Reading checks, in this order: size, magic number, footer, that the blocks follow one another without
gaps, and for each block its bounds, checksum, type, declared size, restarts, entries and order of keys.
Writing gives byte for byte what TensorFlow writes for the entries of an index.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from graphrack.errors import CorruptCheckpoint
from graphrack.formats.coding import MalformedError, mask_crc, read_varint, varint

MAGIC = 0xDB4775248B80FB57  # frozen; the first 64 bits of the SHA-1 of LevelDB's repository address
HANDLES_SIZE = 2 * (10 + 10)  # two handles of two varints of at most 10 bytes
FOOTER_SIZE = HANDLES_SIZE + 8
TRAILER_SIZE = 1 + 4  # type, checksum
UNCOMPRESSED, SNAPPY = 0, 1  # block types, frozen

BLOCK_SIZE = 256 * 1024  # TensorFlow's: a data block is closed once its contents reach this
RESTART_INTERVAL = 16

# Snappy's densest element makes 64 bytes of 3, so contents can't grow by more than this.
_SNAPPY_MAX_RATIO = 22
_MAX_SNAPPY_HEADER = 5

Read = Callable[[int, int], bytes]
"""`read(offset, size)` gives exactly those bytes of a file, or raises."""


class Handle(NamedTuple):
    """Where a block lies: the offset of its contents and their size, trailer not counted."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """The offset behind the block's trailer."""
        return self.offset + self.size + TRAILER_SIZE


class Table:
    """A table opened for reading: its index is checked, its data blocks are read when asked for.

    `read` gives bytes of the file, `size` is the file's size, `path` what errors call it.
    Raises `CorruptCheckpoint`.
    """

    def __init__(self, read: Read, size: int, path: str):
        self._read = read
        self.path = path
        self.size = size
        self._latest: tuple[int, dict[bytes, bytes]] = (-1, {})
        if size < FOOTER_SIZE:
            raise self._error(
                f"it has {size} bytes, and a table has at least {FOOTER_SIZE}; the file is cut off or of another kind"
            )
        footer = read(size - FOOTER_SIZE, FOOTER_SIZE)
        magic = int.from_bytes(footer[HANDLES_SIZE:], "little")
        if magic != MAGIC:
            raise self._error(
                f"its last 8 bytes are {footer[HANDLES_SIZE:].hex()}, and a table ends in "
                f"{MAGIC.to_bytes(8, 'little').hex()}; the file is cut off or of another kind"
            )
        try:
            metaindex, at = _handle(footer, 0, HANDLES_SIZE)
            index, at = _handle(footer, at, HANDLES_SIZE)
        except MalformedError as e:
            raise self._error(f"its footer at offset {size - FOOTER_SIZE} is broken: {e}") from None
        if any(footer[at:HANDLES_SIZE]):
            raise self._error(f"its footer at offset {size - FOOTER_SIZE} has bytes where there should be zeros")
        if index.end != size - FOOTER_SIZE or metaindex.end != index.offset:
            raise self._error(
                f"its footer places blocks at {metaindex} and {index}, which don't fill the "
                f"{size} bytes up to the footer; the file is cut off or damaged"
            )
        if self._entries(metaindex):
            raise self._error(
                f"its metaindex block at offset {metaindex.offset} has entries, and TensorFlow's has none"
            )
        self.blocks: list[Handle] = []
        self._limits: list[bytes] = []
        end = 0
        for key, value in self._entries(index):
            try:
                handle, at = _handle(value, 0, len(value))
            except MalformedError as e:
                raise self._error(f"its index block at offset {index.offset} is broken: {e}") from None
            if at != len(value) or handle.offset != end:
                raise self._error(
                    f"its index block at offset {index.offset} places a block at {handle.offset}, "
                    f"and the one before ends at {end}"
                )
            end = handle.end
            if end > metaindex.offset:
                raise self._error(
                    f"its block at offset {handle.offset} runs past the data, which end at {metaindex.offset}"
                )
            self.blocks.append(handle)
            self._limits.append(key)
        if end != metaindex.offset:
            raise self._error(f"no block covers the bytes from {end} to {metaindex.offset}")

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries in order, every check made."""
        for number in range(len(self.blocks)):
            yield from self.block(number)

    def block(self, number: int) -> list[tuple[bytes, bytes]]:
        """The entries of one data block, checked against the limits that the index gives it."""
        handle, limit = self.blocks[number], self._limits[number]
        entries = self._entries(handle)
        if not entries:
            raise self._error(f"its data block at offset {handle.offset} has no entries")
        if entries[-1][0] > limit or (number and entries[0][0] <= self._limits[number - 1]):
            raise self._error(f"its data block at offset {handle.offset} has keys outside of the index's limits")
        return entries

    def get(self, key: bytes) -> bytes | None:
        """The value of one key, or None; reads one block."""
        number = bisect_left(self._limits, key)
        if number == len(self.blocks):
            return None
        latest, entries = self._latest
        if latest != number:
            entries = dict(self.block(number))
            # Blocks of small entries are asked for again and again; one large one would only lie around.
            if self.blocks[number].size <= 2 * BLOCK_SIZE:
                self._latest = (number, entries)
        return entries.get(key)

    def offset_of(self, key: bytes) -> int:
        """The offset in the file of the block that a key belongs to; for error messages."""
        return self.blocks[min(bisect_left(self._limits, key), len(self.blocks) - 1)].offset

    def _entries(self, handle: Handle) -> list[tuple[bytes, bytes]]:
        stored = self._read(handle.offset, handle.size + TRAILER_SIZE)
        import google_crc32c

        checksum = mask_crc(google_crc32c.value(stored[:-4]))
        if checksum != int.from_bytes(stored[-4:], "little"):
            raise self._error(
                f"its block at offset {handle.offset} ({handle.size} bytes) has the checksum "
                f"{checksum:08x} and should have {int.from_bytes(stored[-4:], 'little'):08x}; it is damaged"
            )
        kind, contents = stored[handle.size], stored[: handle.size]
        try:
            if kind == SNAPPY:
                contents = _unsnappy(contents)
            elif kind != UNCOMPRESSED:
                raise MalformedError(f"type {kind}; known are {UNCOMPRESSED} (none) and {SNAPPY} (Snappy)")
            return parse_block(contents)
        except MalformedError as e:
            raise self._error(f"its block at offset {handle.offset} ({handle.size} bytes) is broken: {e}") from None

    def _error(self, what: str) -> CorruptCheckpoint:
        return CorruptCheckpoint(f"{self.path} is not a sound checkpoint file: {what}")


def table_of(data: bytes, path: str) -> Table:
    """A table whose bytes are all at hand."""
    return Table(lambda offset, size: data[offset : offset + size], len(data), path)


def _handle(data: bytes, at: int, end: int) -> tuple[Handle, int]:
    offset, at = read_varint(data, at, end)
    size, at = read_varint(data, at, end)
    return Handle(offset, size), at


def _unsnappy(data: bytes) -> bytes:
    declared, start = read_varint(data, 0, min(len(data), _MAX_SNAPPY_HEADER))
    if declared > (len(data) - start) * _SNAPPY_MAX_RATIO:
        raise MalformedError(f"it declares {declared} bytes, which {len(data)} compressed ones can't give")
    import cramjam

    try:
        contents = bytes(cramjam.snappy.decompress_raw(data))
    except cramjam.DecompressionError as e:
        raise MalformedError(f"its compressed bytes don't unfold ({e})") from None
    if len(contents) != declared:
        raise MalformedError(f"it declares {declared} bytes and gives {len(contents)}")
    return contents


def parse_block(contents: bytes) -> list[tuple[bytes, bytes]]:
    """The entries of a block's uncompressed contents. Raises `MalformedError`."""
    if len(contents) < 8:
        raise MalformedError(f"{len(contents)} bytes are too few for its restarts")
    count = int.from_bytes(contents[-4:], "little")
    end = len(contents) - 4 - 4 * count
    if count < 1 or end < 0:
        raise MalformedError(f"it declares {count} restarts in {len(contents)} bytes")
    restarts = set(struct.unpack_from(f"<{count}I", contents, end))
    if len(restarts) != count:
        raise MalformedError("a restart is there twice")
    entries: list[tuple[bytes, bytes]] = []
    append = entries.append
    found = 0
    key = b""
    at = 0
    while at < end:
        start = at
        # Nearly always all three numbers are below 128, one byte each.
        shared, more, size = contents[at : at + 3] if at + 3 <= end else (128, 128, 128)
        if shared | more | size < 128:
            at += 3
        else:
            shared, at = read_varint(contents, at, end)
            more, at = read_varint(contents, at, end)
            size, at = read_varint(contents, at, end)
        if more + size > end - at:
            raise MalformedError(f"the entry at {start} needs {more + size} bytes and {end - at} are left")
        if start in restarts:
            if shared:
                raise MalformedError(f"the entry at {start} is a restart and shares {shared} bytes of a key")
            found += 1
        elif shared > len(key):
            raise MalformedError(f"the entry at {start} shares {shared} bytes of a key that has {len(key)}")
        at += more
        before = key
        key = before[:shared] + contents[at - more : at]
        if key <= before and entries:
            raise MalformedError(f"the key {key!r} at {start} follows {before!r}, which is not less")
        append((key, contents[at : at + size]))
        at += size
    if found != count and not (end == 0 and restarts == {0}):
        raise MalformedError(f"{count - found} of its restarts point at no entry")
    if end and 0 not in restarts:
        raise MalformedError("its first entry is no restart")
    return entries


class _BlockBuilder:
    """Contents of one block, grown entry by entry; the counterpart of `parse_block`."""

    def __init__(self, interval: int):
        self._interval = interval
        self.clear()

    def clear(self) -> None:
        self._out = bytearray()
        self._restarts = [0]
        self._count = 0
        self._last = b""

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._count % self._interval:
            for a, b in zip(self._last, key, strict=False):
                if a != b:
                    break
                shared += 1
        elif self._count:
            self._restarts.append(len(self._out))
        self._out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        self._last = key
        self._count += 1

    @property
    def size(self) -> int:
        """Bytes that `finish` would give."""
        return len(self._out) + 4 * len(self._restarts) + 4

    def finish(self) -> bytes:
        out = bytes(self._out) + struct.pack(f"<{len(self._restarts) + 1}I", *self._restarts, len(self._restarts))
        self.clear()
        return out


def write_table(entries: Iterable[tuple[bytes, bytes]], *, block_size: int = BLOCK_SIZE, snappy: bool = False) -> bytes:
    """The bytes of a table; `entries` come in strictly increasing order of their keys.

    `snappy` compresses each block that becomes at least an eighth smaller by it, as older
    versions of TensorFlow did; without it the bytes are those of TensorFlow's own writer.
    """
    import google_crc32c

    out = bytearray()

    def put(contents: bytes) -> bytes:
        kind = UNCOMPRESSED
        if snappy:
            import cramjam

            compressed = bytes(cramjam.snappy.compress_raw(contents))
            if len(compressed) < len(contents) - len(contents) // 8:
                kind, contents = SNAPPY, compressed
        handle = varint(len(out)) + varint(len(contents))
        stored = contents + bytes([kind])
        out.extend(stored + mask_crc(google_crc32c.value(stored)).to_bytes(4, "little"))
        return handle

    data, index = _BlockBuilder(RESTART_INTERVAL), _BlockBuilder(1)
    last: bytes | None = None
    closed: bytes | None = None  # the handle of a block whose index entry waits for the next key
    for key, value in entries:
        if last is not None and key <= last:
            raise ValueError(f"keys must increase: {key!r} follows {last!r}")
        if closed is not None and last is not None:
            index.add(_separator(last, key), closed)
            closed = None
        data.add(key, value)
        last = key
        if data.size >= block_size:
            closed = put(data.finish())
    if last is not None:
        if closed is None:
            closed = put(data.finish())
        # The metaindex comes before the index, and the last limit needs no further key.
        index.add(_successor(last), closed)
    handles = put(_BlockBuilder(1).finish()) + put(index.finish())
    return bytes(out) + handles.ljust(HANDLES_SIZE, b"\0") + MAGIC.to_bytes(8, "little")


def _separator(low: bytes, high: bytes) -> bytes:
    """A short key k with low <= k < high."""
    at = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), None)
    if at is not None and low[at] < 0xFF and low[at] + 1 < high[at]:
        return low[:at] + bytes([low[at] + 1])
    return low


def _successor(key: bytes) -> bytes:
    """A short key that is not less than `key`."""
    at = next((i for i, b in enumerate(key) if b != 0xFF), None)
    return key if at is None else key[:at] + bytes([key[at] + 1])
