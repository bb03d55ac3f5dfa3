"""Messages of protocol buffers walked field by field, without parsing what is in them.

A field is a varint (its number times 8, plus its wire type) and its value: a varint (wire type 0), 8 bytes (1), a
varint that says how many bytes follow, and these (2), or 4 bytes (5). Types 3 and 4 are of groups, which TensorFlow's
messages don't have.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

from graphrack.formats.coding import MalformedError, read_varint

__all__ = ["Field", "fields"]

Field = tuple[int, int, int, int, int]
"""Number, wire type, where the field begins, where its value (of type 2: its bytes) begins and where that ends."""


def fields(data: bytes | mmap, at: int, end: int) -> Iterator[Field]:
    """The fields of the message that lies from `at` to `end`. The last one may say that it ends later.

    Raises:
        MalformedError: there is no field, and no message, that begins so.
    """
    while at < end:
        start = at
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = read_varint(data, start, end)
        wire = tag & 7
        if wire == 2:
            size = data[at] if at < end else 128
            at += 1
            if size > 127:
                size, at = read_varint(data, at - 1, end)
            first, at = at, at + size
        elif wire == 0:
            first, (_, at) = at, read_varint(data, at, end)
        elif wire in (1, 5):
            first, at = at, at + (8 if wire == 1 else 4)
        else:
            raise MalformedError(f"a field of wire type {wire}")
        yield tag >> 3, wire, start, first, at
