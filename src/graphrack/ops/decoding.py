"""Other encodings of tensors in strings: CSV lines, tensor protos, JSON examples, compressed bytes."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType, from_numpy
from graphrack.formats.protos.graph_pb2 import TensorProto
from graphrack.formats.tensor import shape_to_proto, tensor_from_proto, tensor_to_proto
from graphrack.ops.registry import MANY, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.string_numbers import StringToNumber
from graphrack.ops.strings import strings_of

# ---- CSV ----


@specialized("DecodeCSV", outputs=MANY)
def DecodeCSV(
    *,
    OUT_TYPE: list[DType],
    field_delim: bytes = b",",
    use_quote_delim: bool = True,
    na_value: bytes = b"",
    select_cols: list[int] | tuple[()] = (),
) -> Any:
    if len(field_delim) != 1:
        raise ValueError(f"field_delim must be one character, got {field_delim!r}")
    chosen = list(select_cols)
    if chosen and len(chosen) != len(OUT_TYPE):
        raise ValueError(f"select_cols names {len(chosen)} columns for {len(OUT_TYPE)} outputs")
    if any(b <= a for a, b in zip([-1, *chosen], chosen, strict=False)):
        raise ValueError(f"select_cols must be strictly increasing columns from 0 on, got {chosen}")

    def kernel(records: Array, *record_defaults: Any) -> list[Array]:
        records = np.asarray(records)
        defaults = [np.asarray(default) for default in record_defaults]
        for i, default in enumerate(defaults):
            if default.ndim > 1 or default.size > 1:
                raise ValueError(f"record_defaults[{i}] must hold at most one value, got shape {list(default.shape)}")
        found: list[list[bytes]] = [[] for _ in OUT_TYPE]
        for i, record in enumerate(records.reshape(-1).tolist()):
            fields = _fields(record, field_delim, use_quote_delim, i)
            if chosen:
                fields = [fields[c] for c in chosen if c < len(fields)]
            if len(fields) != len(OUT_TYPE):
                raise ValueError(f"record {i} has {len(fields)} fields, {len(OUT_TYPE)} are expected: {record[:80]!r}")
            for column, field in zip(found, fields, strict=True):
                column.append(field)
        return [
            _column(column, i, dtype, default, na_value).reshape(records.shape)
            for i, (column, dtype, default) in enumerate(zip(found, OUT_TYPE, defaults, strict=True))
        ]

    return kernel


def _column(texts: list[bytes], number: int, dtype: DType, default: Array, na_value: bytes) -> Array:
    missing = [i for i, text in enumerate(texts) if not text or text == na_value]
    if missing and not default.size:
        raise ValueError(f"field {number} is required, but missing in record {missing[0]}")
    if dtype.is_string:
        out = strings_of(texts, (len(texts),))
    else:
        for i in missing:
            texts[i] = b"0"
        try:
            out = StringToNumber(out_type=dtype)(strings_of(texts, (len(texts),)))
        except ValueError as error:
            raise ValueError(f"field {number} of a record holds {error}") from None
    if missing:
        out[missing] = default.item()
    return out


def _fields(record: bytes, delimiter: bytes, quotes: bool, number: int) -> list[bytes]:
    """A record's fields; line ends between them are passed over."""
    if not record:
        return []
    if b"\n" not in record and b"\r" not in record and not (quotes and b'"' in record):
        return record.split(delimiter)
    found: list[bytes] = []
    at, size = 0, len(record)
    while at < size:
        if record[at] in b"\r\n":
            at += 1
        elif quotes and record[at] == 0x22:
            field, at = _quoted(record, at + 1, delimiter, number)
            found.append(field)
        else:
            end = record.find(delimiter, at)
            end = size if end < 0 else end
            field = record[at:end]
            if b"\n" in field or b"\r" in field or (quotes and b'"' in field):
                raise ValueError(f"record {number} has a quote or a line end in a field without quotes: {field[:80]!r}")
            found.append(field)
            at = end + 1
    if record.endswith(delimiter):
        found.append(b"")
    return found


def _quoted(record: bytes, start: int, delimiter: bytes, number: int) -> tuple[bytes, int]:
    """The field whose opening quote comes before `start`, and where the next one begins."""
    parts = []
    at = start
    while True:
        end = record.find(b'"', at)
        if end < 0:
            raise ValueError(f"record {number} has a quoted field that doesn't end: {record[start - 1 :][:80]!r}")
        parts.append(record[at:end])
        following = record[end + 1 : end + 2]
        if following in (b"", delimiter):
            return b"".join(parts), end + 2
        if following != b'"':
            raise ValueError(
                f"record {number} has a quote inside a quoted field that isn't doubled: {record[start - 1 :][:80]!r}"
            )
        parts.append(b'"')
        at = end + 2


# ---- Tensors ----


@specialized("ParseTensor")
def ParseTensor(*, out_type: DType) -> Any:
    def kernel(serialized: Any) -> Array:
        from google.protobuf.message import DecodeError

        data = np.asarray(serialized)
        if data.ndim:
            raise ValueError(f"serialized must be a scalar, got shape {list(data.shape)}")
        try:
            proto = TensorProto.FromString(data.item())
        except DecodeError:
            raise ValueError(f"no serialised tensor: {data.item()[:40]!r}") from None
        array = tensor_from_proto(proto)
        if from_numpy(array.dtype) != out_type:
            raise ValueError(f"the serialised tensor is {from_numpy(array.dtype)}, {out_type} is expected")
        return array

    return kernel


@specialized("SerializeTensor")
def SerializeTensor(*, T: DType) -> Any:
    def kernel(tensor: Any) -> Array:
        array = np.asarray(tensor)
        if T.is_string:
            return np.array(tensor_to_proto(array, T).SerializeToString(), object)
        return np.array(by_content(array, T), object)

    return kernel


def by_content(array: Array, dtype: DType) -> bytes:
    """A serialised TensorProto with all elements in `tensor_content`, be they one or strings.

    Strings are there as their lengths, in varints, and then their bytes.
    """
    proto = TensorProto(dtype=dtype.number, tensor_shape=shape_to_proto(array.shape))  # type: ignore[arg-type]
    if dtype.is_string:
        strings = array.reshape(-1).tolist()
        proto.tensor_content = b"".join([_varint(len(text)) for text in strings] + strings)
    else:
        proto.tensor_content = array.tobytes()
    return proto.SerializeToString()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# ---- Examples as JSON ----


@specialized("DecodeJSONExample")
def DecodeJSONExample() -> Any:
    from google.protobuf import json_format

    from graphrack.formats.protos.example_pb2 import JsonExample

    def decode(text: bytes) -> bytes:
        if not text.lstrip().startswith(b"{"):
            raise ValueError(f"no Example in JSON, which is an object: {text[:80]!r}")
        try:
            message = json_format.Parse(text, JsonExample())
        except (json_format.ParseError, UnicodeDecodeError) as error:
            raise ValueError(f"no Example in JSON: {text[:80]!r}: {error}") from None
        return message.SerializeToString(deterministic=True)

    return lambda json_examples: strings_of(map(decode, json_examples.reshape(-1).tolist()), json_examples.shape)


# ---- Compression ----


@specialized("DecodeCompressed")
def DecodeCompressed(*, compression_type: bytes = b"") -> Any:
    if compression_type == b"":
        return lambda bytes: bytes
    windows = {b"ZLIB": zlib.MAX_WBITS, b"GZIP": 16 + zlib.MAX_WBITS}
    if compression_type not in windows:
        raise ValueError(f"compression_type must be '', 'ZLIB' or 'GZIP', got {compression_type!r}")
    window = windows[compression_type]

    def decode(data: bytes) -> bytes:
        reader = zlib.decompressobj(window)
        try:
            # At most some thousand times the data, which is what the format can say.
            found = reader.decompress(data) + reader.flush()
        except zlib.error as error:
            raise ValueError(f"no {compression_type.decode()} data: {data[:40]!r}: {error}") from None
        if not reader.eof and data:
            raise ValueError(f"{compression_type.decode()} data of {len(data)} bytes end before their end mark")
        return found

    return lambda bytes: strings_of(map(decode, bytes.reshape(-1).tolist()), bytes.shape)
