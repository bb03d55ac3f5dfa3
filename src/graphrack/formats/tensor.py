"""Constants, shapes and attribute values: TensorProto, TensorShapeProto and AttrValue to Python and back.

A `TensorProto` states a dtype, a shape, and the elements in one of these forms:

    field                                 holds
    tensor_content                        all elements, row by row, little-endian; of strings: every length as
                                          a varint, then the strings' bytes
    half_val                              the bit patterns of half and bfloat16, one int32 each
    float_val, double_val, bool_val       elements
    int_val                               elements of every integer type of up to 32 bits, quantized ones too,
                                          but for uint32
    int64_val, uint32_val, uint64_val     elements
    scomplex_val, dcomplex_val            real and imaginary part in turn
    float8_val                            one byte for each element of the 8-bit (and 4-bit) float types
    string_val, resource_handle_val, variant_val   elements

Where a `*_val` field holds fewer elements than the shape says, the last one stands for all the rest; where
it holds none, every element is zero; where it holds more, the first ones count. `tensor_content`, if there is
any, wins, and must have exactly the size that dtype and shape say.
Source: `Tensor::FromProto` of TensorFlow, by experiment.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from graphrack.errors import GraphError
from graphrack.formats import dtypes
from graphrack.formats.dtypes import DType
from graphrack.formats.protos import graph_pb2

__all__ = [
    "FunctionAttr",
    "attr_to_proto",
    "attr_value",
    "can_lie_outside",
    "shape_from_proto",
    "shape_to_proto",
    "tensor_from_proto",
    "tensor_to_proto",
]

# A proto may spell out a few elements and let the last one stand for 2^60 others. One repeated element
# becomes a view that takes no memory; several elements and a tail must be laid out, which a short file may
# ask for only up to this many bytes.
_MAX_FILLED_BYTES = 1 << 28

# dtype number -> the field that holds its elements
_FIELD: dict[int, str] = {
    1: "float_val",
    2: "double_val",
    **dict.fromkeys((3, 4, 5, 6, 11, 12, 13, 15, 16, 17, 29, 30, 31, 32), "int_val"),
    7: "string_val",
    8: "scomplex_val",
    9: "int64_val",
    10: "bool_val",
    14: "half_val",
    18: "dcomplex_val",
    19: "half_val",
    20: "resource_handle_val",
    21: "variant_val",
    22: "uint32_val",
    23: "uint64_val",
    **dict.fromkeys((24, 25, 26, 27, 28, 33), "float8_val"),
}

# What the elements of those fields are read as, before they become the tensor's own dtype.
_FIELD_DTYPE: dict[str, Any] = {
    "half_val": np.int32,
    "float_val": np.float32,
    "double_val": np.float64,
    "int_val": np.int32,
    "int64_val": np.int64,
    "bool_val": np.bool_,
    "uint32_val": np.uint32,
    "uint64_val": np.uint64,
    "scomplex_val": np.float32,
    "dcomplex_val": np.float64,
}

# Types that tf.make_tensor_proto never writes as tensor_content: their bytes in memory are no format.
_NO_CONTENT = frozenset((7, 8, 10, 17, 18, 20, 21, 29, 30, 31, 32))


class FunctionAttr(NamedTuple):
    """An attribute that names a function, with the values of that function's own attributes."""

    name: str
    attrs: dict[str, Any]


def shape_from_proto(proto: graph_pb2.TensorShapeProto) -> tuple[int | None, ...] | None:
    """The shape, `None` for a dimension or (instead of a tuple) a rank that isn't known.

    Raises `GraphError` for a size below -1.
    """
    if proto.unknown_rank:
        return None
    sizes = [d.size for d in proto.dim]
    if not sizes:
        return ()
    if min(sizes) < 0:
        if min(sizes) < -1:
            raise GraphError(f"shape {sizes}: a size is {min(sizes)}; only -1 (unknown) may be negative")
        return tuple(None if s < 0 else s for s in sizes)
    return tuple(sizes)


def shape_to_proto(shape: tuple[int | None, ...] | list[int | None] | None) -> graph_pb2.TensorShapeProto:
    """The proto of a shape; `None` for a dimension or the whole shape means unknown."""
    if shape is None:
        return graph_pb2.TensorShapeProto(unknown_rank=True)
    dim = graph_pb2.TensorShapeProto.Dim
    return graph_pb2.TensorShapeProto(dim=[dim(size=-1 if s is None else int(s)) for s in shape])


def tensor_from_proto(
    proto: graph_pb2.TensorProto, contents: np.ndarray[Any, Any] | None = None
) -> np.ndarray[Any, Any]:
    """The array that a constant holds, as TensorFlow reads it.

    `contents`: of the file that it comes from, if it was read as an `Outline`.

    Strings are `bytes` in an array of dtype `object`, resource handles and variants their protos in one.
    The array may be read-only (it lies in the proto's own bytes, or is one element seen many times): copy
    it to change it. Memory is bounded by the proto's size whatever shape it declares.

    Raises `GraphError`: no dtype or an unknown one, a size that is negative or too large, `tensor_content`
    of another size than dtype and shape say, and a short list of elements whose repeated last one would
    fill more than 256 MiB.
    """
    number = proto.dtype
    dtype = dtypes.DTYPES.get(number)
    if dtype is None:
        raise GraphError(f"a constant of dtype number {number}, which is no type that a tensor can have")
    shape = tuple(d.size for d in proto.tensor_shape.dim)
    if any(s < 0 for s in shape):
        raise GraphError(f"a constant of {dtype} with shape {list(shape)}; sizes cannot be negative")
    count = math.prod(shape)
    if count >= 1 << 63:
        raise GraphError(f"a constant of {dtype} with shape {list(shape)}: {count} elements are too many")
    content: Any = proto.tensor_content
    if proto.HasField("content_at"):
        content = _content_at(proto.content_at, contents, dtype)
    try:
        if count == 0:
            return np.zeros(shape, dtype.numpy)
        if len(content):
            return _from_content(content, dtype, count).reshape(shape)
        return _from_field(proto, dtype, count, shape)
    except ValueError as error:
        if isinstance(error, GraphError):
            raise
        # NumPy's own limits: 64 dimensions, sizes whose bytes don't fit 63 bits.
        raise GraphError(f"a constant of {dtype} with shape {list(shape)}: {error}") from None


def can_lie_outside(dtype: DType) -> bool:
    """Whether a constant's `tensor_content` may lie in another place: plain numbers, any bytes of which are some."""
    return dtype.itemsize > 0 and dtype.number != 10


def _content_at(
    place: graph_pb2.TensorProto.ContentAt, contents: np.ndarray[Any, Any] | None, dtype: DType
) -> np.ndarray[Any, Any]:
    end = place.offset + place.size
    if contents is None or end > contents.size or not can_lie_outside(dtype):
        raise GraphError(f"a constant of {dtype} says that its {place.size} bytes lie elsewhere, where they don't")
    return contents[place.offset : end]


def _from_content(content: Any, dtype: DType, count: int) -> np.ndarray[Any, Any]:
    size = dtype.itemsize
    if size:
        if len(content) != size * count:
            raise GraphError(
                f"a constant of {count} elements of {dtype} has {len(content)} bytes of tensor_content;"
                f" {size * count} were expected"
            )
        if dtype.number == 10 and content.strip(b"\0\1"):
            # strip leaves what lies between the first and the last byte that is neither, if there is any
            raise GraphError("a constant of bool has bytes other than 0 and 1 in its tensor_content")
        if isinstance(content, np.ndarray):  # a view, and not of a buffer: its memory can be told to be our own
            return content.view(dtype.numpy)
        return np.frombuffer(content, dtype.numpy)
    if dtype.is_string:
        return _strings_from_content(content, count)
    raise GraphError(f"a constant of {dtype} given as tensor_content, which cannot be read")


def _strings_from_content(content: bytes, count: int) -> np.ndarray[Any, Any]:
    problem = f"a constant of {count} strings: its {len(content)} bytes of tensor_content"
    if count > len(content):  # each string's length takes a byte at least
        raise GraphError(f"{problem} are too few")
    lengths, at = [], 0
    for _ in range(count):
        value = shift = 0
        while True:
            if at >= len(content) or shift > 28:
                raise GraphError(f"{problem} don't hold that many lengths")
            byte = content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(value)
    if at + sum(lengths) != len(content):
        raise GraphError(f"{problem} should be {at + sum(lengths)} by the lengths they begin with")
    out = np.empty(count, object)
    for i, length in enumerate(lengths):
        out[i] = content[at : at + length]
        at += length
    return out


def _from_field(proto: graph_pb2.TensorProto, dtype: DType, count: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    number = dtype.number
    field = _FIELD[number]
    held = getattr(proto, field)
    per_element = 2 if number in (8, 18) else 1
    given = min(len(held) // per_element, count)
    if given == 0:
        zero = np.empty((), object)
        zero[()] = b""
        return np.broadcast_to(zero if dtype.is_string else np.zeros((), dtype.numpy), shape)
    values: np.ndarray[Any, Any]
    if field == "float8_val":
        values = np.frombuffer(held, dtype.numpy, count=given)
    elif dtype.itemsize == 0:
        values = np.empty(given, object)
        values[:] = held[:given]
    else:
        stored = np.fromiter(held, _FIELD_DTYPE[field], count=given * per_element)
        if per_element == 2:
            values = stored.view(dtype.numpy)
        elif field == "half_val":
            values = stored.astype(np.uint16).view(dtype.numpy)
        elif dtype.numpy.names:
            values = stored.astype(dtype.numpy[0]).view(dtype.numpy)
        else:
            # Larger values than the type's wrap, as C's casts do.
            values = stored.astype(dtype.numpy, copy=False)
    if given == count:
        return values.reshape(shape)
    if given == 1:
        return np.broadcast_to(values.reshape(()), shape)
    if count * values.itemsize > _MAX_FILLED_BYTES:
        raise GraphError(
            f"a constant of {dtype} with shape {list(shape)} lists {given} elements and lets the last stand"
            f" for the other {count - given}; filled up it would take {count * values.itemsize} bytes,"
            f" more than the {_MAX_FILLED_BYTES} that a constant written so may take"
        )
    out = np.empty(count, values.dtype)
    out[:given] = values
    out[given:] = values[-1]
    return out.reshape(shape)


def tensor_to_proto(
    array: Any, dtype: DType | None = None, into: graph_pb2.TensorProto | None = None
) -> graph_pb2.TensorProto:
    """The constant that holds an array, the same that `tf.make_tensor_proto` makes of a NumPy array.

    `dtype` (default: that of the array) is what the elements are cast to. `into` is an empty message to fill,
    which spares a large one a copy. Strings may be `bytes` or `str`
    (encoded as UTF-8). Numbers of more than one element go to `tensor_content`, all else to a `*_val` field.

    Raises `GraphError` where TensorFlow has no such dtype, where strings are neither `bytes` nor `str`,
    and for resource handles and variants.
    """
    values = np.asarray(array)
    if dtype is None:
        try:
            dtype = dtypes.from_numpy(values.dtype)
        except KeyError:
            raise GraphError(f"an array of dtype {values.dtype}, which no TensorFlow type holds") from None
    if dtype.number in (20, 21):
        raise GraphError(f"an array of {dtype} cannot be made a constant: its values live in one process only")
    proto = graph_pb2.TensorProto() if into is None else into
    proto.dtype = dtype.number  # type: ignore[assignment]
    proto.tensor_shape.CopyFrom(shape_to_proto(values.shape))
    if dtype.is_string:
        proto.string_val.extend(_as_bytes(v) for v in values.ravel().tolist())
        return proto
    if values.dtype.kind in "SUO":
        raise GraphError(f"strings or objects cannot be made a constant of {dtype}")
    if values.dtype != dtype.numpy:
        if dtype.numpy.names and not values.dtype.names:
            values = values.astype(dtype.numpy[0]).view(dtype.numpy)
        else:
            values = values.astype(dtype.numpy)
    if values.size > 1 and dtype.number not in _NO_CONTENT:
        proto.tensor_content = values.tobytes()
        return proto
    field = _FIELD[dtype.number]
    flat = values.ravel()
    if field == "float8_val":
        proto.float8_val = flat.tobytes()
    elif field == "half_val":
        proto.half_val.extend(flat.view(np.uint16).tolist())
    elif field in ("scomplex_val", "dcomplex_val"):
        part = np.float32 if field == "scomplex_val" else np.float64
        getattr(proto, field).extend(flat.view(part).tolist())
    elif field == "int_val":
        plain = flat.view(dtype.numpy[0]) if dtype.numpy.names else flat
        proto.int_val.extend(plain.astype(np.int32).tolist())
    else:
        getattr(proto, field).extend(flat.tolist())
    return proto


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise GraphError(f"a string tensor's element is {value!r}; bytes or str were expected")


def attr_value(proto: graph_pb2.AttrValue, contents: np.ndarray[Any, Any] | None = None) -> Any:
    """The Python value of an attribute. `contents`: as of `tensor_from_proto`.

    `s` gives `bytes`, `i` int, `f` float, `b` bool, `type` a `DType` (a reference type its base type, no
    type at all `None`), `shape` a tuple or `None`, `tensor` an array, `func` a `FunctionAttr`, `list` a
    list of these, and an attribute that holds nothing `None`.

    Raises `GraphError` for a placeholder (which only a function's body may hold, until it is called), for
    a dtype number that isn't known, for a list of several kinds, and what `tensor_from_proto` raises.
    """
    kind = proto.WhichOneof("value")
    if kind is None:
        return None
    if kind == "type":
        return _dtype(proto.type)
    if kind == "shape":
        return shape_from_proto(proto.shape)
    if kind == "tensor":
        return tensor_from_proto(proto.tensor, contents)
    if kind == "list":
        return _list_value(proto.list)
    if kind == "func":
        return _function(proto.func)
    if kind == "placeholder":
        raise GraphError(
            f"an attribute is left open as ${proto.placeholder}: only a call of the function that it stands"
            " in gives it a value"
        )
    return getattr(proto, kind)


def _dtype(number: int) -> DType | None:
    try:
        return dtypes.dtype_of(number) if number else None
    except KeyError:
        raise GraphError(f"an attribute names dtype number {number}, which is not known") from None


def _function(proto: graph_pb2.NameAttrList) -> FunctionAttr:
    return FunctionAttr(proto.name, {name: attr_value(value) for name, value in proto.attr.items()})


_LIST_DECODERS: dict[str, Any] = {
    "type": _dtype,
    "shape": shape_from_proto,
    "tensor": tensor_from_proto,
    "func": _function,
}


def _list_value(proto: graph_pb2.AttrValue.ListValue) -> list[Any]:
    held = proto.ListFields()
    if not held:
        return []
    if len(held) > 1:
        names = ", ".join(field.name for field, _ in held)
        raise GraphError(f"a list attribute holds values of several kinds ({names}); one was expected")
    field, values = held[0]
    decode = _LIST_DECODERS.get(field.name)
    return list(values) if decode is None else [decode(v) for v in values]


def attr_to_proto(value: Any) -> graph_pb2.AttrValue:
    """The attribute that holds a Python value, by the types that `attr_value` gives; `str` is taken as `bytes`.

    `None`, which `attr_value` gives for several things, becomes an attribute that holds nothing. Raises
    `GraphError` for a value of any other type, and for a list of values of several types.
    """
    proto = graph_pb2.AttrValue()
    if value is None:
        return proto
    if isinstance(value, list):
        proto.list.SetInParent()
        kinds = set()
        for item in value:
            # In a list `None` can only be a shape of unknown rank: an absent type makes no sense there.
            kind, stored = ("shape", shape_to_proto(None)) if item is None else _encoded(item)
            kinds.add(kind)
            getattr(proto.list, kind).append(stored)
        if len(kinds) > 1:
            raise GraphError(f"a list attribute cannot hold {' and '.join(sorted(kinds))} together: {value!r}")
        return proto
    kind, stored = _encoded(value)
    if isinstance(stored, (bytes, bool, int, float)):
        setattr(proto, kind, stored)
    else:
        getattr(proto, kind).CopyFrom(stored)
    return proto


def _encoded(value: Any) -> tuple[str, Any]:
    if isinstance(value, (bytes, str)):
        return "s", value.encode() if isinstance(value, str) else value
    if isinstance(value, (bool, np.bool_)):
        return "b", bool(value)
    if isinstance(value, (int, np.integer)):
        return "i", int(value)
    if isinstance(value, (float, np.floating)):
        return "f", float(value)
    if isinstance(value, DType):
        return "type", value.number
    if isinstance(value, FunctionAttr):
        attrs = {name: attr_to_proto(inner) for name, inner in value.attrs.items()}
        return "func", graph_pb2.NameAttrList(name=value.name, attr=attrs)
    if isinstance(value, tuple):
        return "shape", shape_to_proto(value)
    if isinstance(value, np.ndarray):
        return "tensor", tensor_to_proto(value)
    raise GraphError(f"{value!r} (a {type(value).__name__}) is nothing that an attribute can hold")
