"""The table format: TensorFlow's bytes, every kind of damage, and arbitrary bytes."""

from __future__ import annotations

import contextlib
import struct

import google_crc32c
import pytest
import tensorflow.compat.v1 as tf
from formats.checkpoint_samples import flips
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrack.errors import CorruptCheckpoint
from graphrack.formats.coding import MalformedError, mask_crc, varint
from graphrack.formats.table import FOOTER_SIZE, HANDLES_SIZE, MAGIC, parse_block, table_of, write_table

ENTRIES = [(b"", b"header"), (b"a", b""), (b"ab", b"12"), (b"b/kernel", b"3" * 200), (b"b/kernel/Adam", b"4")]

sorted_entries = st.dictionaries(st.binary(max_size=12), st.binary(max_size=300), max_size=60).map(
    lambda d: sorted(d.items())
)


def read(data: bytes):
    return list(table_of(data, "t.index"))


def block(contents: bytes, kind: int = 0) -> bytes:
    stored = contents + bytes([kind])
    return stored + mask_crc(google_crc32c.value(stored)).to_bytes(4, "little")


def contents(entries: bytes, *restarts: int) -> bytes:
    return entries + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def entry(shared: int, key: bytes, value: bytes) -> bytes:
    return varint(shared) + varint(len(key)) + varint(len(value)) + key + value


def table(*data: bytes, limits: tuple[bytes, ...], handles=None, gap: bytes = b"", padding: bytes = b"\0") -> bytes:
    """A table of the given data blocks, with a lie where the arguments hold one."""
    out, index, restarts = b"", b"", []
    for i, (part, limit) in enumerate(zip(data, limits, strict=True)):
        offset, size = handles[i] if handles else (len(out), len(part) - 5)
        restarts.append(len(index))
        index += entry(0, limit, varint(offset) + varint(size))
        out += part
    out += gap
    meta_at = len(out)
    out += block(contents(b"", 0))
    index_at = len(out)
    out += block(contents(index, *(restarts or [0])))
    footer = varint(meta_at) + varint(index_at - meta_at - 5) + varint(index_at) + varint(len(out) - index_at - 5)
    return out + footer.ljust(HANDLES_SIZE, padding) + MAGIC.to_bytes(8, "little")


ONE = contents(entry(0, b"a", b"1"), 0)


def test_the_bytes_of_a_small_table():
    assert write_table([(b"a", b"1"), (b"ab", b"22")]).hex() == (
        "00010161310101026232320000000001000000"  # entries, one restart
        "00" "6ec54909"
        "0000000001000000" "00" "c0f2a1b0"  # metaindex
        "0001026200130000000001000000" "00" "e968f436"  # index: limit "b", block of 19 bytes at 0
        "1808250e" + "00" * 36 + "57fb808b247547db"
    )  # fmt: skip


@settings(max_examples=60)
@given(sorted_entries, st.sampled_from([1, 64, 1000, 1 << 18]), st.booleans())
def test_what_is_written_is_read(entries, block_size, snappy):
    data = write_table(entries, block_size=block_size, snappy=snappy)
    opened = table_of(data, "t")
    assert list(opened) == entries
    for key, value in entries:
        assert opened.get(key) == value
    assert opened.get(b"\xff" * 20) is None


@pytest.mark.parametrize("count", [1, 15, 16, 17, 9000])  # around a restart, and more than one block
def test_an_index_is_byte_for_byte_tensorflows(tmp_path, count):
    names = [f"layer_{i * 7919 % 1000}/dense/kernel_{i}" for i in range(count)]
    prefix = str(tmp_path / "m")
    with tf.Graph().as_default(), tf.Session() as sess:
        tensors = [tf.constant(1.5)] * count
        sess.run(tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * count, tensors=tensors))
    with open(prefix + ".index", "rb") as file:
        data = file.read()
    entries = read(data)
    assert [key.decode() for key, _ in entries[1:]] == sorted(names)
    assert write_table(entries) == data


def test_keys_out_of_order_are_not_written():
    with pytest.raises(ValueError, match="must increase"):
        write_table([(b"b", b""), (b"a", b"")])


@pytest.mark.parametrize("snappy", [False, True])
def test_every_flipped_bit_is_found(snappy):
    entries = [*ENTRIES, (b"c", b"repeated " * 40)]
    data = write_table(entries, block_size=300, snappy=snappy)
    assert read(data) == entries
    for flipped in flips(data):
        with pytest.raises(CorruptCheckpoint, match=r"t\.index"):
            read(flipped)


def test_a_table_cut_off_anywhere_is_found():
    data = write_table(ENTRIES)
    for length in range(len(data)):
        with pytest.raises(CorruptCheckpoint, match=r"t\.index"):
            read(data[:length])
        with pytest.raises(CorruptCheckpoint, match=r"t\.index"):
            read(data[length + 1 :])


A, B = block(ONE), block(contents(entry(0, b"b", b"2"), 0))
HOSTILE = {
    "too short": (b"x" * (FOOTER_SIZE - 1), "47 bytes, and a table has at least 48"),
    "magic": (b"x" * 60, "last 8 bytes are 7878787878787878"),
    "endless varint": (b"\xff" * HANDLES_SIZE + MAGIC.to_bytes(8, "little"), "footer at offset 0 is broken"),
    "padding": (table(A, limits=(b"a",), padding=b"\1"), "bytes where there should be zeros"),
    "gap": (table(A, limits=(b"a",), gap=b"hidden"), "no block covers the bytes from"),
    "overlap": (table(A, B, limits=(b"a", b"b"), handles=((0, len(A) - 5), (0, len(A) - 5))), "the one before ends at"),
    "past the end": (table(A, limits=(b"a",), handles=((0, 1 << 62),)), "runs past the data"),
    "type": (table(block(ONE, kind=7), limits=(b"a",)), "type 7; known are 0"),
    "snappy bomb": (table(block(varint(1 << 32) + b"\0" * 9, kind=1), limits=(b"a",)), "declares 4294967296 bytes"),
    "snappy": (table(block(varint(20) + b"\xff" * 20, kind=1), limits=(b"a",)), "don't unfold"),
    "no entries": (table(block(contents(b"", 0)), limits=(b"a",)), "has no entries"),
    "below its limit": (table(A, B, limits=(b"b", b"c")), "outside of the index's limits"),
    "above its limit": (table(A, limits=(b"A",)), "outside of the index's limits"),
    "limits": (table(A, B, limits=(b"b", b"a")), "which is not less"),
    "no restarts": (table(block(struct.pack("<I", 0) * 2), limits=(b"a",)), "declares 0 restarts"),
    "restarts": (table(block(struct.pack("<II", 0, 1 << 31)), limits=(b"a",)), "declares 2147483648 restarts"),
    "restart nowhere": (table(block(contents(entry(0, b"a", b"1"), 0, 2)), limits=(b"a",)), "point at no entry"),
    "restart twice": (table(block(contents(entry(0, b"a", b"1"), 0, 0)), limits=(b"a",)), "is there twice"),
    "no first restart": (
        table(block(contents(entry(0, b"a", b"1") + entry(0, b"b", b"1"), 5)), limits=(b"b",)),
        "first entry is no restart",
    ),
    "restart shares": (
        table(block(contents(entry(0, b"a", b"1") + entry(1, b"b", b"1"), 0, 5)), limits=(b"b",)),
        "is a restart and shares 1",
    ),
    "shares too much": (table(block(contents(entry(0, b"a", b"") + entry(9, b"b", b""), 0)), limits=(b"b",)), "es 9"),
    "long value": (table(block(contents(b"\0\1" + varint(1 << 40) + b"a", 0)), limits=(b"a",)), "needs 1099511627777"),
    "same key": (table(block(contents(entry(0, b"a", b"") * 2, 0)), limits=(b"a",)), "follows b'a'"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_each_lie_is_named(case):
    data, why = HOSTILE[case]
    with pytest.raises(CorruptCheckpoint) as raised:
        read(data)
    assert why in str(raised.value)
    assert "t.index" in str(raised.value)


def test_a_metaindex_with_entries_is_refused():
    out = block(ONE)
    index_at = len(out)
    out += block(contents(b"", 0))
    footer = varint(0) + varint(index_at - 5) + varint(index_at) + varint(len(out) - index_at - 5)
    with pytest.raises(CorruptCheckpoint, match="metaindex block at offset 0 has entries"):
        read(out + footer.ljust(HANDLES_SIZE, b"\0") + MAGIC.to_bytes(8, "little"))


def test_a_huge_declared_size_allocates_nothing(peak_memory):
    for case in ("past the end", "snappy bomb", "long value", "restarts"):
        with peak_memory(below=1_000_000), pytest.raises(CorruptCheckpoint):
            read(HOSTILE[case][0])


@settings(max_examples=150)
@given(st.data())
def test_bytes_changed_anywhere_give_the_entries_or_one_error(data):
    table_ = bytearray(
        write_table(ENTRIES, block_size=data.draw(st.sampled_from([40, 1 << 18])), snappy=data.draw(st.booleans()))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(table_)))
        table_[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(CorruptCheckpoint):
        assert read(bytes(table_)) == ENTRIES


@settings(max_examples=200)
@given(st.binary(max_size=120))
def test_arbitrary_contents_of_a_block_parse_or_are_malformed(data):
    try:
        entries = parse_block(data)
    except MalformedError:
        return
    assert [k for k, _ in entries] == sorted({k for k, _ in entries})
