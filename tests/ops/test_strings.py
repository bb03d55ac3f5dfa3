"""Strings joined, split, cut and changed, against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check
from ops.samples import ints, scalar, sequence, strings, text

WORD = "h\u00e9llo".encode()


def test_string_join_agrees() -> None:
    pair, one = strings(b"a", b"b\0"), strings(b"c")
    for inputs in ([pair, text(b"c")], [pair, one], [text(b"a"), text(b"b")], [text(b"a"), pair, text(b"d")],
                   [pair[:0], text(b"a")], [pair], [pair.reshape(2, 1), pair.reshape(1, 2)]):  # fmt: skip
        check("StringJoin", inputs=inputs, separator="-")
        check("StringJoin", inputs=inputs)


@pytest.mark.parametrize(
    "axes", [0, 1, [0], [1], [0, 1], [1, 0], [], [-1], [-1, 0], [0, -1, 1], [0, 0], [2], [3], [0, -3], [[0]]]
)
@pytest.mark.parametrize("keep_dims", [False, True])
def test_reduce_join_agrees(axes: list[int], keep_dims: bool) -> None:
    indices = np.array(axes, np.int32)
    for shape in ((2, 3, 4), (2, 3), (0, 2), (2, 0), ()):
        check(
            "ReduceJoin",
            inputs=sequence(shape, object),
            reduction_indices=indices,
            keep_dims=keep_dims,
            separator=".",
        )


def test_unsorted_segment_join_agrees() -> None:
    for inputs, ids, count in [
        (strings(b"a", b"b", b"c"), [1, 0, 1], 3),
        (sequence((3, 2), object), [1, 0, 1], 2),
        (sequence((2, 2), object), [[1, 0], [1, 1]], 2),
        (sequence((2, 2), object), [0, 5], 2),
        (sequence((2, 2), object), [0, -1], 2),
        (sequence((2, 2), object), [0, 1, 0], 2),
        (sequence((0, 2), object), [], 2),
    ]:
        for kind in (np.int32, np.int64):
            check(
                "UnsortedSegmentJoin",
                inputs=inputs,
                segment_ids=np.array(ids, kind),
                num_segments=scalar(count),
                separator=":",
            )


@pytest.mark.parametrize("maxsplit", [-1, 0, 1, 2, 5])
@pytest.mark.parametrize("sep", [b"", b",", b",,", b" "])
def test_string_split_v2_agrees(maxsplit: int, sep: bytes) -> None:
    lines = strings(b" a  b , c,, d ", b"", b",,", b" \t", b"a", b"a b", b"a b ", b"\x0ba\x0c\x1cb\xa0c\x85")
    check("StringSplitV2", refused=False, input=lines, sep=text(sep), maxsplit=maxsplit)
    check("StringSplitV2", refused=False, input=lines[:0], sep=text(sep), maxsplit=maxsplit)


@pytest.mark.parametrize("skip_empty", [True, False])
@pytest.mark.parametrize("delimiter", [b"", b",", b", ", b"]^-\\"])
def test_string_split_agrees(skip_empty: bool, delimiter: bytes) -> None:
    lines = strings(b" a, b,,c", b"", b",,", b"a]b^c-d\\e", WORD)
    check("StringSplit", refused=False, input=lines, delimiter=text(delimiter), skip_empty=skip_empty)
    check("StringSplit", refused=False, input=lines[:0], delimiter=text(delimiter), skip_empty=skip_empty)


def test_splitting_needs_a_vector_and_one_separator() -> None:
    check("StringSplitV2", refused=True, input=text(b"a b"), sep=text(b""))
    check("StringSplitV2", refused=True, input=strings(b"a b"), sep=strings(b""))
    check("StringSplit", refused=True, input=text(b"a b"), delimiter=text(b""))
    check("StringSplit", refused=True, input=strings(b"a b"), delimiter=strings(b" "))


@pytest.mark.parametrize("unit", ["BYTE", "UTF8_CHAR"])
def test_string_length_and_substr_agree(unit: str) -> None:
    words = strings(WORD, b"", b"\xff\x80a", b"\x80\x80", b"a\xff\xc3b", b"\x80\x80abc")
    check("StringLength", refused=False, input=words, unit=unit)
    check("StringLength", refused=False, input=text(WORD), unit=unit)
    for word in words:
        for pos in range(-7, 8):
            for count in (-1, 0, 1, 2, 9):
                arguments = {"pos": scalar(pos), "len": scalar(count), "unit": unit}
                check("Substr", input=text(word), **arguments)


@pytest.mark.parametrize("unit", ["BYTE", "UTF8_CHAR"])
def test_substr_broadcasts(unit: str) -> None:
    two = strings(WORD, b"abcdef")
    for words, pos, count in [
        (two, [1, 2], [1, 2]),
        (two, [[1], [2]], [[1], [2]]),
        (text(WORD), [1, 2], [1, 2]),
        (two, 1, [1, 2]),
        (two, [1, 2, 3], [1, 2, 3]),
        (two.reshape(2, 1), [1, 2, 3], [1, 2, 3]),
        (two, [[1, 2], [0, 1]], [[1, 2], [0, 1]]),
        (two[:0], 1, 1),
    ]:
        check("Substr", input=words, pos=np.array(pos), len=np.array(count), unit=unit)


@pytest.mark.parametrize("encoding", ["", "utf-8", "latin-1"])
def test_case_agrees(encoding: str) -> None:
    words = strings("\u00c0\u00df\u0130\u017f\u03a3\u03b1\u03c2 \u0149".encode(), b"aB\xffz", b"\xc3", b"", WORD)
    check("StringLower", input=words, encoding=encoding)
    check("StringUpper", input=words, encoding=encoding)


def test_strip_agrees() -> None:
    check("StringStrip", input=strings(b" a b \n", b"\x0b\x0c\r\t", b"\x1ca\xa0", b"\0a\0", b""), refused=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=4), st.booleans())
def test_base64_agrees_there_and_back(values: list[bytes], pad: bool) -> None:
    encoded = check("EncodeBase64", refused=False, input=strings(*values), pad=pad)[0]
    decoded = check("DecodeBase64", refused=False, input=encoded.astype(object))[0]
    assert decoded.tolist() == values


@settings(max_examples=80, deadline=None)
@given(st.text("YQW=J-_+/ ", max_size=9))
def test_what_is_no_base64_is_refused(value: str) -> None:
    check("DecodeBase64", input=text(value.encode()))


def test_file_names_of_a_saver_agree() -> None:
    for name in (b"model", b"", b"a/b\xff"):
        for shard, count in ((0, 1), (3, 10), (99999, 100000), (-3, 10)):
            check("ShardedFilename", refused=False, basename=text(name), shard=scalar(shard), num_shards=scalar(count))
            check("ShardedFilespec", refused=False, basename=text(name), num_shards=scalar(count))
    check("ShardedFilename", refused=True, basename=strings(b"a"), shard=scalar(0), num_shards=scalar(1))
    check("ShardedFilename", refused=True, basename=text(b"a"), shard=ints(0), num_shards=scalar(1))
