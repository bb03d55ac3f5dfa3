"""The small encodings of checkpoint files, at their edges."""

from __future__ import annotations

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphrack.formats.coding import (
    MalformedError,
    decode_varints,
    mask_crc,
    ordered_number,
    ordered_signed,
    ordered_string,
    proto_fields,
    read_varint,
    unmask_crc,
    varint,
)

EDGES = sorted({0, 1, 2**64 - 1} | {2**k + d for k in range(1, 64) for d in (-1, 0, 1)})
SIGNED = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("value", EDGES)
def test_varints_of_every_power_of_two_come_back_and_no_shorter_part_does(value):
    data = varint(value)
    assert read_varint(data, 0, len(data)) == (value, len(data))
    for length in range(len(data)):
        with pytest.raises(MalformedError, match="cut off"):
            read_varint(data, 0, length)


@pytest.mark.parametrize("value", [-1, 2**64])
def test_varints_outside_of_64_bits_are_refused(value):
    with pytest.raises(ValueError, match="64"):
        varint(value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x85\x00", "shortest"),
        (b"\x80\x80\x00", "shortest"),
        (b"\xff" * 9 + b"\x02", "64 bits"),
        (b"\xff" * 11, "64 bits"),
    ],
)
def test_varints_in_longer_spellings_or_over_64_bits_are_refused(data, why):
    with pytest.raises(MalformedError, match=why):
        read_varint(data, 0, len(data))


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_many_varints_decode_at_once(values):
    data = np.frombuffer(b"".join(map(varint, values)), np.uint8)
    assert decode_varints(data).tolist() == values


@pytest.mark.parametrize("data", [b"\x80", b"\x01\xff", b"\xff" * 10 + b"\x01"])
def test_many_varints_that_are_cut_off_or_too_long_are_refused(data):
    with pytest.raises(MalformedError):
        decode_varints(np.frombuffer(data, np.uint8))


def test_checksums_are_masked_as_leveldb_masks_them():
    # The check value of CRC-32C, and what LevelDB's formula makes of it.
    assert google_crc32c.value(b"123456789") == 0xE3069283
    assert mask_crc(0) == 0xA282EAD8
    assert unmask_crc(mask_crc(0xE3069283)) == 0xE3069283


@given(st.integers(0, 2**32 - 1))
def test_masking_is_undone(crc):
    assert unmask_crc(mask_crc(crc)) == crc


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_ordered_strings_sort_as_the_strings_whatever_follows(a, b):
    encoded = ordered_string(a) + b"\xff", ordered_string(b) + b"\x00"
    assert (a < b) == (encoded[0] < encoded[1]) or a == b


@given(SIGNED, SIGNED)
def test_ordered_signed_numbers_sort_as_the_numbers(a, b):
    assert (a < b) == (ordered_signed(a) < ordered_signed(b))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_ordered_numbers_sort_as_the_numbers(a, b):
    assert (a < b) == (ordered_number(a) < ordered_number(b))


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "80"),
        (4, "84"),
        (-1, "7f"),
        (63, "bf"),
        (-64, "40"),
        (64, "c040"),
        (-65, "3fbf"),
        (2**63 - 1, "ffc07fffffffffffffff"),
    ],
)
def test_ordered_signed_numbers_have_these_bytes(value, encoded):
    assert ordered_signed(value).hex() == encoded


@given(st.binary(max_size=40))
def test_walking_a_message_ends_or_says_that_it_is_malformed(data):
    try:
        for number, wire, value in proto_fields(memoryview(data)):
            assert wire in (0, 1, 2, 5)
            assert number >= 0
            assert isinstance(value, int) or len(value) <= len(data)
    except MalformedError:
        pass
