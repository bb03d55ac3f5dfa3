"""Protocol buffers that the graph describes itself: DecodeProtoV2, EncodeProto.

Descriptions come in the attribute `descriptor_source`: `bytes://` and a serialised FileDescriptorSet, or a file with
one. `local://`, what is linked into TensorFlow, isn't there without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import BOOL, DOUBLE, FLOAT, INT32, INT64, STRING, DType, from_numpy
from graphrack.ops._arguments import filled
from graphrack.ops.registry import MANY, specialized
from graphrack.ops.runtime import Array, RunState
from graphrack.ops.strings import strings_of

UINT32, UINT64 = from_numpy(np.dtype(np.uint32)), from_numpy(np.dtype(np.uint64))
_INT32S, _INT64S = (INT32, INT64), (INT64,)
_TYPES: dict[int, tuple[DType, ...]] = {
    1: (DOUBLE,), 2: (FLOAT, DOUBLE), 3: _INT64S, 4: (UINT64,), 5: _INT32S, 6: (UINT64,),
    7: (UINT32, UINT64), 8: (BOOL,), 9: (STRING,), 10: (STRING,), 11: (STRING,), 12: (STRING,),
    13: (UINT32, UINT64), 14: (INT32,), 15: _INT32S, 16: _INT64S, 17: _INT32S, 18: _INT64S,
}  # fmt: skip
"""What the field types of `FieldDescriptorProto.Type` may become."""

_MESSAGES = (10, 11)


def _message_class(source: bytes, message_type: bytes, state: RunState) -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError

    if source.startswith(b"bytes://"):
        data = source[len(b"bytes://") :]
    elif source in (b"", b"local://"):
        raise ValueError(
            f"{message_type.decode()!r} is described by what is linked into TensorFlow (descriptor_source "
            f"{source.decode()!r}); make the graph with the descriptors in it (bytes://)"
        )
    else:
        with open(state.file_allowed(source, "descriptions of messages"), "rb") as file:
            data = file.read()
    try:
        described = descriptor_pb2.FileDescriptorSet.FromString(data)
        pool = descriptor_pool.DescriptorPool()
        for file_proto in described.file:
            pool.Add(file_proto)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(message_type.decode()))
    except (DecodeError, TypeError, KeyError) as error:
        raise ValueError(f"descriptor_source doesn't describe {message_type.decode()!r}: {error}") from error


def _field(descriptor: Any, name: str) -> Any:
    """A message's field, or an extension of it. Raises `ValueError` where it has none of that name."""
    found = descriptor.fields_by_name.get(name)
    for extension in () if found is not None else descriptor.file.pool.FindAllExtensions(descriptor):
        if extension.full_name == name:
            return extension
    if found is None:
        raise ValueError(f"message {descriptor.full_name!r} has no field {name!r}")
    return found


def _typed(descriptor: Any, names: list[bytes], types: list[DType]) -> list[Any]:
    """The fields, each of which may become a tensor of its type."""
    fields = [_field(descriptor, name.decode()) for name in names]
    for field, dtype in zip(fields, types, strict=True):
        if dtype not in _TYPES[field.type]:
            allowed = ", ".join(map(str, _TYPES[field.type]))
            raise ValueError(f"field {field.full_name!r} can be {allowed}; {dtype} is asked for")
    return fields


def _repeated(field: Any) -> bool:
    return bool(field.is_repeated)


def _as_value(field: Any, value: Any) -> Any:
    if field.type in _MESSAGES:
        return value.SerializeToString()
    return value.encode() if isinstance(value, str) else value


@specialized("DecodeProtoV2", outputs=MANY, state=True)
def DecodeProtoV2(
    *,
    message_type: bytes,
    field_names: list[bytes],
    output_types: list[DType],
    descriptor_source: bytes = b"local://",
    message_format: bytes = b"binary",
    sanitize: bool = False,
) -> Any:
    """Messages parsed: how often each field is there, and its values; `sanitize` changes nothing here."""
    if message_format not in (b"binary", b"text"):
        raise ValueError(f"message_format must be 'binary' or 'text', got {message_format!r}")
    if len(field_names) != len(output_types):
        raise ValueError(f"{len(field_names)} field_names are given for {len(output_types)} output_types")

    def kernel(state: RunState, bytes: Array) -> list[Array]:
        from google.protobuf import text_format
        from google.protobuf.message import DecodeError

        message_class = _message_class(descriptor_source, message_type, state)
        fields = _typed(message_class.DESCRIPTOR, field_names, output_types)
        texts = np.asarray(bytes, object)
        if not texts.size:
            raise ValueError(f"bytes must hold at least one message, got shape {list(texts.shape)}")
        rows: list[list[list[Any]]] = []
        for data in texts.reshape(-1).tolist():
            try:
                message = message_class()
                if message_format == b"text":
                    text_format.Parse(data.decode(), message)
                else:
                    message.ParseFromString(data)
            except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
                raise ValueError(f"a string is no {message_type.decode()}: {error}") from error
            rows.append([_values(message, field) for field in fields])
        sizes = np.array([[len(values) for values in row] for row in rows], np.int32)
        found = []
        for i, (field, dtype) in enumerate(zip(fields, output_types, strict=True)):
            longest = max((len(row[i]) for row in rows), default=1) or 1
            out = filled([len(rows), longest], _default(field, dtype), dtype.numpy)
            for line, row in zip(out, rows, strict=True):
                if row[i]:
                    line[: len(row[i])] = row[i]
            found.append(out.reshape(*texts.shape, longest))
        return [sizes.reshape(*texts.shape, len(fields)), *found]

    return kernel


def _values(message: Any, field: Any) -> list[Any]:
    if field.is_extension:
        value = message.Extensions[field]
        there = _repeated(field) or message.HasExtension(field)
    else:
        value = getattr(message, field.name)
        if _repeated(field):
            there = True
        else:
            there = message.HasField(field.name) if field.has_presence else value != field.default_value
    if not there:
        return []
    return [_as_value(field, v) for v in value] if _repeated(field) else [_as_value(field, value)]


def _default(field: Any, dtype: DType) -> Any:
    if field.type in _MESSAGES or (_repeated(field) and dtype == STRING):
        return b""
    value = 0 if _repeated(field) else field.default_value
    return value.encode() if isinstance(value, str) else value


@specialized("EncodeProto", state=True)
def EncodeProto(
    *,
    field_names: list[bytes],
    message_type: bytes,
    Tinput_types: list[DType],
    descriptor_source: bytes = b"local://",
) -> Any:
    def kernel(state: RunState, sizes: Array, *values: Array) -> Array:
        message_class = _message_class(descriptor_source, message_type, state)
        fields = _typed(message_class.DESCRIPTOR, field_names, Tinput_types)
        lead = sizes.shape[:-1]
        if not sizes.ndim or sizes.shape[-1] != len(fields):
            raise ValueError(f"sizes must end with the number of fields, {len(fields)}; got {list(sizes.shape)}")
        columns = []
        for i, (field, value) in enumerate(zip(fields, values, strict=True)):
            if value.shape[:-1] != lead or not value.ndim:
                raise ValueError(f"values[{i}] must begin with sizes' shape {list(lead)}, got {list(value.shape)}")
            counts = sizes[..., i]
            most = value.shape[-1] if _repeated(field) else min(value.shape[-1], 1)
            if counts.size and not 0 <= counts.min() <= counts.max() <= most:
                raise ValueError(f"sizes of field {field.full_name!r} must be in [0, {most}], got {counts.max()}")
            columns.append((field, counts.reshape(-1).tolist(), value.reshape(-1, value.shape[-1])))
        found = []
        for row in range(int(np.prod(lead))):
            message = message_class()
            for field, lengths, value in columns:
                _set(message, field, value[row, : lengths[row]].tolist())
            found.append(message.SerializeToString())
        return strings_of(found, lead)

    return kernel


def _set(message: Any, field: Any, values: list[Any]) -> None:
    """Puts values into a message's field."""
    if not values:
        return
    where = message.Extensions[field] if field.is_extension else getattr(message, field.name)
    try:
        if field.type in _MESSAGES:
            for value in values:
                (where.add() if _repeated(field) else where).MergeFromString(value)
            return
        if field.type == 9:
            values = [value.decode() for value in values]
        if _repeated(field):
            where.extend(values)
        elif field.is_extension:
            message.Extensions[field] = values[0]
        else:
            setattr(message, field.name, values[0])
    except ValueError as error:
        raise ValueError(f"field {field.full_name!r} can't hold {values[0]!r:.60}: {error}") from error
