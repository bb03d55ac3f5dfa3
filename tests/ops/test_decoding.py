"""CSV, serialised tensors, JSON examples and compressed bytes against TensorFlow's."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import Refused, by_graphrack, by_tensorflow, check


def strings(*values: bytes) -> Any:
    return np.array(values, object)


ANY = [np.empty(0, np.int64), np.float32([0.5]), strings(b"d")]


@pytest.mark.parametrize(
    "records",
    [
        [b"1,2.5,x", b"-3,,y", b"7,1e3,"], [b'1,2,"a,b"', b'4,5,"say ""hi"""', b'1,2,""'], [b"1,2,3\r\n", b"\n1,2,3"],
        [b" 1 , 2 , x "], [b"1,2"], [b"1,2,3,4"], [b""], [b",1,a"], [b"1.5,1,a"], [b"a,1,a"], [b'1,2,a"b'], [b'1,2,"a'],
        [b'1,2,"a"b'], [b'1,2,"a" '], [b'"1","2","x"'], [b"1,2,"], [b"1,,"], [b"1,2,x\ny"], [b"99999999999999999999,1,x"],
        [b'1,2,"a\nb"'], [b"NA,1,a"], [b"1,NA,NA"], [],
    ],
)  # fmt: skip
@pytest.mark.parametrize("attributes", [{}, {"use_quote_delim": False}, {"na_value": "NA"}, {"field_delim": ";"}])
def test_csv(records: list[bytes], attributes: dict[str, Any]) -> None:
    if "field_delim" in attributes:
        records = [record.replace(b",", b";") for record in records]
    check("DecodeCSV", records=strings(*records), record_defaults=ANY, **attributes)


def test_csv_columns_types_and_shapes() -> None:
    two = [np.int32([1]), np.float64([2])]
    check("DecodeCSV", records=strings(b"1,2,3,4", b"5,6,,8"), record_defaults=two, select_cols=[0, 2], refused=False)
    check("DecodeCSV", records=strings(b"1,2,3"), record_defaults=two, select_cols=[1, 3])
    check("DecodeCSV", records=strings(b"1,2,3"), record_defaults=two, select_cols=[2, 1], refused=True)
    check("DecodeCSV", records=strings(b"1,2"), record_defaults=two, select_cols=[1], refused=True)
    check("DecodeCSV", records=np.array(b"1,2", object), record_defaults=two, refused=False)
    check("DecodeCSV", records=strings(b"1,2", b"3,4").reshape(2, 1), record_defaults=two, refused=False)
    check("DecodeCSV", records=strings(b",4"), record_defaults=[np.int32(3), np.float64(2)], refused=False)
    check("DecodeCSV", records=strings(b"1,2"), record_defaults=two, field_delim=",,", refused=True)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(',"ab\n1', max_size=10), max_size=3), st.booleans())
def test_csv_of_any_quotes_and_delimiters(records: list[str], quotes: bool) -> None:
    check(
        "DecodeCSV", records=strings(*(r.encode() for r in records)), record_defaults=[strings(b""), strings(b"-")],
        use_quote_delim=quotes,
    )  # fmt: skip


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int32", "int64", "uint8", "int8", "bool", "complex64", "float16", "bfloat16"]
)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (2, 0, 4)])
def test_serialized_tensors(dtype: str, shape: tuple[int, ...]) -> None:
    tensor = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(tf.as_dtype(dtype).as_numpy_dtype)
    (data,) = check("SerializeTensor", tensor=tensor, refused=False)
    check("ParseTensor", serialized=np.array(data, object), out_type=tf.as_dtype(dtype), refused=False)
    check("ParseTensor", serialized=np.array(data, object), out_type=tf.string, refused=True)


def test_serialized_strings_and_what_is_no_tensor() -> None:
    for tensor in (np.array(b"one", object), strings(), strings(b"", b"\0a"), strings(b"a", b"b").reshape(1, 2)):
        (data,) = check("SerializeTensor", tensor=tensor, refused=False)
        check("ParseTensor", serialized=np.array(data, object), out_type=tf.string, refused=False)
        check("ParseTensor", serialized=np.array(data[:-1], object), out_type=tf.string)
    check("ParseTensor", serialized=np.array(b"\n\x7fzz", object), out_type=tf.float32, refused=True)
    check("ParseTensor", serialized=strings(b""), out_type=tf.float32, refused=True)


def test_json_examples() -> None:
    texts = [
        b'{"features": {"feature": {"a": {"int64List": {"value": ["1", 2]}}}}}',
        b'{"features": {"feature": {"a": {"float_list": {"value": [1.5, "NaN", -3]}}}}}',
        b'{"features": {"feature": {"a": {"bytesList": {"value": ["YWI="]}}}}}',
        b"{}",
    ]
    check("DecodeJSONExample", json_examples=strings(*texts), refused=False)
    check("DecodeJSONExample", json_examples=strings(*texts).reshape(2, 2), refused=False)
    check("DecodeJSONExample", json_examples=np.array(texts[0], object), refused=False)
    for wrong in (b"", b"[]", b'{"features": 3}', b'{"feature": {}}', b"{"):
        check("DecodeJSONExample", json_examples=strings(wrong), refused=True)


PLAIN = [b"", b"a", b"words and words and words " * 200, bytes(range(256)) * 50]


@pytest.mark.parametrize("kind", ["ZLIB", "GZIP", ""])
def test_compressed_bytes(kind: str) -> None:
    def pack(data: bytes) -> bytes:
        return zlib.compress(data) if kind == "ZLIB" else gzip.compress(data) if kind == "GZIP" else data

    packed = strings(*map(pack, PLAIN))
    check("DecodeCompressed", bytes=packed, compression_type=kind, refused=False)
    check("DecodeCompressed", bytes=packed.reshape(2, 2), compression_type=kind, refused=False)
    check("DecodeCompressed", bytes=packed[2:3].reshape(()), compression_type=kind, refused=False)
    check("DecodeCompressed", bytes=packed, compression_type="LZMA", refused=True)
    if kind:
        check("DecodeCompressed", bytes=strings(b"no such data"), compression_type=kind, refused=True)


def test_compressed_bytes_that_end_early_are_an_error() -> None:
    # TensorFlow gives what it could read.
    data, _, _ = by_tensorflow("DecodeCompressed", {"bytes": strings(zlib.compress(PLAIN[2])[:-8]), "compression_type": "ZLIB"})  # fmt: skip
    assert data is not None
    found = by_graphrack(data, {"in_bytes:0": strings(zlib.compress(PLAIN[2])[:-8])})
    assert isinstance(found, Refused)
    assert "end before their end mark" in str(found.error)
