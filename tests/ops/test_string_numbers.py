"""Between strings and numbers, against TensorFlow."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check
from ops.samples import REALS, check_if_known, ints, sample, scalar, sequence, strings, text

NUMBERS = [
    b" 1 ", b"1e5", b"0x10", b"inf", b"-Infinity", b"nan", b"NaN", b"1.", b".5", b"", b"1_0", b"+1", b"1e400", b"-1",
    b"99999999999", b"1e-400", b"- 1", b"1 2", b"1\n", b"\t1", b"1f", b"0x1p3", b"-0", b"1e", b"++1", b"+-1",
    b"3.4028236e38", b"nan(1)", b"1\0", b"18446744073709551616", b"-9223372036854775808", b"infin", b"+inf",
    b"\xc2\xa01", b"1D5", b"-nan", b"0x", b".", b"0x1p99999", b"-0x1p99999", b"1" * 5000, b"0" * 5000 + b"7", b"007",
]  # fmt: skip


@pytest.mark.parametrize("out_type", [tf.float32, tf.float64, tf.int32, tf.int64, tf.uint32, tf.uint64], ids=str)
def test_string_to_number_agrees(out_type: tf.DType) -> None:
    for number in NUMBERS:
        check("StringToNumber", string_tensor=text(number), out_type=out_type)
    check("StringToNumber", refused=False, string_tensor=strings([b"1", b"2"]), out_type=out_type)
    check("StringToNumber", refused=False, string_tensor=strings(), out_type=out_type)


@settings(max_examples=100, deadline=None)
@given(st.text("0123456789.eE+-xXpinfa ", max_size=8))
def test_string_to_number_reads_what_tensorflow_reads(value: str) -> None:
    for out_type in (tf.float32, tf.int64):
        check("StringToNumber", string_tensor=text(value.encode()), out_type=out_type)


FORMATS: list[dict[str, object]] = [
    {}, {"precision": 3}, {"scientific": True}, {"shortest": True}, {"width": 8}, {"width": 8, "fill": "0"},
    {"width": 8, "fill": " "}, {"width": 8, "fill": "-"}, {"width": 9, "fill": "+", "precision": 2},
    {"scientific": True, "shortest": True}, {"precision": 0, "scientific": True}, {"precision": 2, "shortest": True},
    {"fill": "x"}, {"width": 12, "fill": "00"}, {"fill": "0"}, {"fill": "+"}, {"fill": " "}, {"width": 0},
    {"width": 8, "shortest": True, "precision": 1}, {"width": -3, "precision": -2}, {"precision": 1},
]  # fmt: skip
VALUES = [
    np.array([1.5, -2, 1e10, 1e-7, np.nan, -np.nan, np.inf, -np.inf, -0.0], np.float32),
    np.array([1.1, 1e300]),
    np.array([1.1, -3], np.float16),
    np.array([1.1, -3], ml_dtypes.bfloat16),
    *(np.array([0, 12, 127], kind) for kind in REALS if kind.kind in "iu"),
    np.array([-3, -(2**63)]),
    np.array([2**64 - 1], np.uint64),
    np.array([1 + 2j, np.nan - 1j], np.complex64),
    np.array([1 - 2j]),
    np.array([True, False]),
    strings(b"abc", b"a\0b", b""),
    np.float32(2),
    np.zeros((0, 2), np.int32),
]


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_as_string_agrees(form: dict[str, object]) -> None:
    for value in VALUES:
        check("AsString", input=value, **form)


def test_string_format_agrees() -> None:
    values = [
        np.arange(10, dtype=np.int32),
        sequence((4, 6)) / 7,
        np.float32(3.14159265),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        strings(b"a", b'b"\n', b"\xff'\0\\\x7f"),
        text(b"s"),
        np.array([True, False]),
        np.arange(512).reshape(8, 8, 8),
        np.array([1e-10, 1e20, 123456789.0, np.nan, -np.inf, 0.1], np.float32),
        np.array([0.1, 1e-10, 1 / 3, 1e22]),
        np.array([0.1, 1 / 3], np.float16),
        np.array([0.1, 1 / 3], ml_dtypes.bfloat16),
        np.array([200], np.uint8),
    ]
    for value in values:
        for summarize in (-1, 0, 1, 3):
            check("StringFormat", refused=False, inputs=[value], template="v=%s;", summarize=summarize)
    check("StringFormat", refused=False, inputs=[ints(1), ints(2)], template="{} and {}", placeholder="{}")
    check("StringFormat", refused=False, inputs=[np.array([1 + 2j])], template="TensorFlow has no form for %s")
    check("StringFormat", refused=False, inputs=[], template="nothing")
    check("StringFormat", refused=True, inputs=[ints(1)], template="%s %s")


RAW = [tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.complex64, tf.complex128, tf.int8, tf.uint8, tf.int16,
       tf.uint16, tf.int32, tf.int64, tf.bool]  # fmt: skip


@pytest.mark.parametrize("out_type", RAW, ids=str)
@pytest.mark.parametrize("little_endian", [True, False])
def test_decode_raw_agrees(out_type: tf.DType, little_endian: bool) -> None:
    for rows in (
        strings(bytes(range(16)), bytes(range(16, 32))),
        text(bytes(32)),
        strings(),
        strings(b"", b""),
        strings(b"abc"),
        strings(b"a" * 16, b"b" * 32),
        strings([b"a" * 16], [b"b" * 16]),
    ):
        check("DecodeRaw", bytes=rows, out_type=out_type, little_endian=little_endian)
        if out_type not in (tf.complex64, tf.complex128, tf.bool):
            for size in (16, 3, 0, -1):
                check_if_known(
                    "DecodePaddedRaw",
                    input_bytes=rows,
                    fixed_length=scalar(size),
                    out_type=out_type,
                    little_endian=little_endian,
                )


def test_decoded_numbers_are_those_that_were_encoded() -> None:
    value = sample((3, 4), np.int32)
    rows = strings(*(row.tobytes() for row in value))
    np.testing.assert_array_equal(check("DecodeRaw", bytes=rows, out_type=tf.int32)[0], value)
