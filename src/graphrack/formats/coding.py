"""The small encodings that checkpoint files are made of: varints, masked checksums, ordered keys.

varint    base-128, least significant group first; the top bit of a byte says that more follow.
          Only the shortest form is written, and on reading any other is refused: a flipped bit
          must not be able to hide in a longer spelling of the same number.
checksum  CRC-32C (Castagnoli), stored *masked*: rotated right by 15 bits, plus 0xa282ead8,
          modulo 2^32. A checksum over bytes that themselves hold checksums would otherwise be weak.
ordered   numbers and strings as byte strings that sort as the values do; keys of slices use it:
          number   one byte N (0 to 8), then N bytes, big-endian, without leading zeros
          string   its bytes with 00 as 00 ff and ff as ff 00, closed by 00 01
          signed   big-endian with the length in its first bits, see `ordered_signed`
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Any

import numpy as np

_MASK_DELTA = 0xA282EAD8  # frozen: it stands in every file
_U32 = 0xFFFFFFFF
MAX_VARINT = 10  # bytes: 10 groups of 7 bits hold 64


class MalformedError(ValueError):
    """Bytes that don't decode; callers catch it and add the file's name and the offset."""


def mask_crc(crc: int) -> int:
    """The stored form of a checksum."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _U32


def unmask_crc(masked: int) -> int:
    """The checksum behind its stored form."""
    rotated = (masked - _MASK_DELTA) & _U32
    return (rotated >> 17 | rotated << 15) & _U32


def varint(value: int) -> bytes:
    """`value` (0 to 2^64 - 1) as a varint."""
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{value} has no varint form: it must lie in 0 to 2^64 - 1")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes | memoryview | mmap, at: int, end: int) -> tuple[int, int]:
    """The varint at `at` and where it ends. Raises `MalformedError`: cut off, over 64 bits, not shortest."""
    value = shift = 0
    while at < end and shift < 7 * MAX_VARINT:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise MalformedError("a number is not written in its shortest form")
            if value >> 64:
                raise MalformedError("a number needs more than 64 bits")
            return value, at
        shift += 7
    raise MalformedError("a number is cut off" if shift < 7 * MAX_VARINT else "a number needs more than 64 bits")


def decode_varints(data: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """All the varints of a `uint8` array that holds nothing else, as `uint64` of shape (count,).

    Any spelling is taken, as protocol buffers do. Raises `MalformedError` where the last one is cut off
    or one is longer than 10 bytes.
    """
    if data.size == 0:
        return np.zeros(0, np.uint64)
    ends = np.flatnonzero(data < 0x80)
    if ends.size == 0 or ends[-1] != data.size - 1:
        raise MalformedError("a number is cut off")
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    if int(lengths.max()) > MAX_VARINT:
        raise MalformedError("a number needs more than 64 bits")
    values = (data[starts] & 0x7F).astype(np.uint64)
    for k in range(1, int(lengths.max())):
        longer = np.flatnonzero(lengths > k)
        values[longer] |= (data[starts[longer] + k] & 0x7F).astype(np.uint64) << np.uint64(7 * k)
    return values


def proto_fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Walks a protocol buffer message: (field number, wire type, value) in the order of the bytes.

    The value is an int for wire type 0, a view of the bytes for 1, 2 and 5. Used where a parsed
    message would copy millions of values. Raises `MalformedError`.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = _proto_varint(data, at, end)
        wire = tag & 7
        if wire == 0:
            value, at = _proto_varint(data, at, end)
            yield tag >> 3, wire, value
            continue
        if wire == 2:
            size, at = _proto_varint(data, at, end)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise MalformedError(f"a field has wire type {wire}, which no field of ours has")
        if size > end - at:
            raise MalformedError(f"a field of {size} bytes has only {end - at} left")
        yield tag >> 3, wire, data[at : at + size]
        at += size


def _proto_varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 7 * MAX_VARINT:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise MalformedError("a number is cut off")


def ordered_number(value: int) -> bytes:
    """A non-negative number in the form that sorts as numbers do."""
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "big")


def ordered_string(value: bytes) -> bytes:
    """A byte string in the form that sorts as strings do, whatever follows it."""
    return b"\xff\x00".join(part.replace(b"\x00", b"\x00\xff") for part in value.split(b"\xff")) + b"\x00\x01"


def ordered_signed(value: int) -> bytes:
    """A signed 64-bit number in the form that sorts as numbers do.

    N bytes, big-endian two's complement, whose top N bits are flipped: the run of ones that
    a non-negative number then starts with gives the length, as the run of zeros of a negative one does.
    """
    size = (value if value >= 0 else ~value).bit_length() // 7 + 1
    header = ((1 << size) - 1) << 7 * size
    return ((value & (1 << 8 * size) - 1) ^ header).to_bytes(size, "big")
