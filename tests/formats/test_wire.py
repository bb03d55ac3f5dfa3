"""Messages walked field by field, judged by protocol buffers' own parser."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st

from graphrack.formats.coding import MalformedError, varint
from graphrack.formats.wire import fields

NUMBERS = st.integers(1, (1 << 29) - 1).filter(lambda n: n > 100 and not 19000 <= n < 20000)
VALUES = st.one_of(
    st.tuples(st.just(0), st.integers(0, (1 << 64) - 1)),
    st.tuples(st.just(1), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(2), st.binary(max_size=300)),
    st.tuples(st.just(5), st.binary(min_size=4, max_size=4)),
)


def written(number: int, wire: int, value: int | bytes) -> bytes:
    tag = varint(number << 3 | wire)
    if isinstance(value, int):
        return tag + varint(value)
    return tag + (varint(len(value)) if wire == 2 else b"") + value


@given(st.lists(st.tuples(NUMBERS, VALUES), max_size=12), st.binary(max_size=3))
def test_fields_are_those_that_a_parser_finds(listed: list, before: bytes) -> None:
    message = b"".join(written(number, wire, value) for number, (wire, value) in listed)
    data = before + message
    found = list(fields(data, len(before), len(data)))
    parsed = list(UnknownFieldSet(FileDescriptorProto.FromString(message)))
    assert [(f[0], f[1]) for f in found] == [(p.field_number, p.wire_type) for p in parsed]
    assert [f[2] for f in found] + [len(data)] == [len(before)] + [f[4] for f in found]
    for (_, wire, _, first, last), one in zip(found, parsed, strict=True):
        expected = {0: lambda d: varint(d), 2: bytes}.get(wire, lambda d, n=last - first: d.to_bytes(n, "little"))
        assert data[first:last] == expected(one.data)


def test_a_last_field_that_is_cut_short_says_where_it_would_end() -> None:
    data = written(1, 2, b"abcdef")
    assert list(fields(data[:4], 0, 4)) == [(1, 2, 0, 2, 8)]


@pytest.mark.parametrize("data", [b"\x0b", b"\x80", b"\x0a\x80", b"\x0a", b"\x08", b"\x08" + b"\xff" * 10 + b"\x01"])
def test_bytes_that_are_no_fields_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        list(fields(data, 0, len(data)))
