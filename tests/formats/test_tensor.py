from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrack.errors import GraphError
from graphrack.formats.dtypes import DTYPES, dtype_of
from graphrack.formats.protos import graph_pb2
from graphrack.formats.tensor import (
    FunctionAttr,
    attr_to_proto,
    attr_value,
    shape_from_proto,
    shape_to_proto,
    tensor_from_proto,
    tensor_to_proto,
)

NUMERIC = [number for number, dtype in DTYPES.items() if dtype.itemsize]
SMALL_INTS = (29, 30, 31, 32)


def ours(proto) -> graph_pb2.TensorProto:
    return graph_pb2.TensorProto.FromString(proto.SerializeToString())


def theirs(proto: graph_pb2.TensorProto):
    return tf.make_tensor_proto(0).FromString(proto.SerializeToString())


def make(number: int, shape=(), **fields) -> graph_pb2.TensorProto:
    proto = graph_pb2.TensorProto(dtype=number, tensor_shape=shape_to_proto(tuple(shape)))
    for name, value in fields.items():
        if isinstance(value, bytes):
            setattr(proto, name, value)
        else:
            getattr(proto, name).extend(value)
    return proto


def by_tensorflow(proto: graph_pb2.TensorProto):
    """The value that TensorFlow's runtime makes of a constant."""
    node = tf.NodeDef(name="c", op="Const")
    node.attr["dtype"].type = proto.dtype
    node.attr["value"].tensor.CopyFrom(theirs(proto))
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.import_graph_def(tf.GraphDef(node=[node]), name="")
        return np.asarray(sess.run("c:0"))


def same(mine: np.ndarray, other: np.ndarray) -> None:
    assert mine.shape == other.shape
    if other.dtype.kind in "OS":
        assert mine.dtype == object
        assert mine.ravel().tolist() == other.ravel().tolist()
    else:
        assert mine.dtype == other.dtype
        # The bits above those of an int4 or int2 mean nothing.
        small = mine.dtype in [DTYPES[n].numpy for n in SMALL_INTS]
        assert mine.tolist() == other.tolist() if small else mine.tobytes() == other.tobytes()


def some_array(number: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Any bit patterns, but for types of less than a byte, whose values are drawn."""
    dtype, random = DTYPES[number].numpy, np.random.RandomState(seed)
    if number in SMALL_INTS:
        bits = 4 if number < 31 else 2
        low = -(2 ** (bits - 1)) if number in (29, 31) else 0
        return random.randint(low, low + 2**bits, shape).astype(dtype)
    if number == 33:
        return random.randint(0, 16, shape).astype(np.uint8).view(dtype)
    if number == 10:
        return random.randint(0, 2, shape).astype(bool)
    raw = random.randint(0, 256, math.prod(shape) * dtype.itemsize).astype(np.uint8)
    array = np.frombuffer(raw.tobytes(), dtype).reshape(shape)
    if number == 8:  # written as Python's floats, which signalling NaNs don't pass through as they are
        with np.errstate(invalid="ignore"):
            array = (array.reshape(-1).view(np.float32) + np.float32(0)).view(dtype).reshape(shape)
    return array


shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@settings(max_examples=150)
@given(number=st.sampled_from(NUMERIC), shape=shapes, seed=st.integers(0, 2**31 - 1))
def test_numbers_of_every_type_are_written_and_read_as_tensorflow_does(number, shape, seed):
    array = some_array(number, shape, seed)
    same(tensor_from_proto(tensor_to_proto(array)), array)
    if number in (26, 27, 28) and array.size < 2:
        return  # TensorFlow writes these only as tensor_content
    expected = tf.make_tensor_proto(array)
    assert tensor_to_proto(array).SerializeToString() == expected.SerializeToString()
    same(tensor_from_proto(ours(expected)), tf.make_ndarray(expected))


@settings(max_examples=50)
@given(shape=shapes, data=st.data())
def test_strings_are_written_and_read_as_tensorflow_does(shape, data):
    count = math.prod(shape)
    flat = np.empty(count, object)
    flat[:] = data.draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count))
    array = flat.reshape(shape)
    expected = tf.make_tensor_proto(array, dtype=tf.string)
    assert tensor_to_proto(array).SerializeToString() == expected.SerializeToString()
    same(tensor_from_proto(ours(expected)), array)


def test_text_becomes_utf8_and_numpy_strings_are_taken():
    assert tensor_from_proto(tensor_to_proto("zwölf")).item() == "zwölf".encode()
    assert tensor_from_proto(tensor_to_proto(np.array([b"a", b"bc"]))).tolist() == [b"a", b"bc"]


def test_a_dtype_given_casts_the_elements():
    proto = tensor_to_proto([1, 2, 3], DTYPES[14])
    same(tensor_from_proto(proto), np.array([1, 2, 3]).astype(DTYPES[14].numpy))
    assert tensor_from_proto(tensor_to_proto([1, 2], DTYPES[11])).tolist() == [(1,), (2,)]


FORMS = {
    "fewer values, the last repeated": make(1, [2, 3], float_val=[1, 2]),
    "one value for all": make(9, [4], int64_val=[-7]),
    "more values than elements": make(1, [2], float_val=[1, 2, 3]),
    "more values than a scalar": make(2, [], double_val=[1, 2]),
    "no values": make(1, [2]),
    "no strings": make(7, [2]),
    "no bools": make(10, [2]),
    "no elements": make(3, [0, 3]),
    "no elements, with content": make(1, [0], tensor_content=b"abcd"),
    "content wins over values": make(1, [1], tensor_content=b"\0\0\x80\x3f", float_val=[3]),
    "values in another type's field": make(1, [2], int_val=[3]),
    "int8 out of range": make(6, [2], int_val=[300, -200]),
    "uint8 out of range": make(4, [2], int_val=[300, -2]),
    "int16": make(5, [3], int_val=[40000, 5]),
    "uint16": make(17, [3], int_val=[40000, -1]),
    "int4": make(29, [4], int_val=[-8, 7, 9, 30]),
    "uint4": make(30, [5], int_val=[-8, 7, 9, 30]),
    "int2": make(31, [4], int_val=[-2, 1, 2, 3]),
    "int4 content": make(29, [3], tensor_content=b"\x01\x02\xff"),
    "half": make(19, [3], half_val=[0x3C00 | 0x10000, 0xC000]),
    "bfloat16": make(14, [3], half_val=[0x3F80, 0xC000]),
    "float8": make(24, [3], float8_val=b"\x3c\x40"),
    "float8, too many": make(25, [1], float8_val=b"\x3c\x40"),
    "complex64": make(8, [3], scomplex_val=[1, 2, 3, 4]),
    "complex64, an odd number": make(8, [2], scomplex_val=[1, 2, 3]),
    "complex64, half a one": make(8, [2], scomplex_val=[1]),
    "complex128": make(18, [2], dcomplex_val=[1, 2]),
    "bool": make(10, [3], bool_val=[False, True]),
    "uint32": make(22, [3], uint32_val=[3, 2**32 - 1]),
    "uint64": make(23, [3], uint64_val=[3, 2**64 - 1]),
    "strings": make(7, [3], string_val=[b"a", b"\0\xff"]),
    "a string": make(7, [], string_val=[b"a"]),
    "strings as content": make(7, [2], tensor_content=b"\x01\x02abc"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_constant_is_read_as_tensorflow_s_runtime_reads_it(form):
    same(tensor_from_proto(form), by_tensorflow(form))


@pytest.mark.parametrize("number", [11, 12, 13, 15, 16])
def test_quantized_types_have_one_named_field(number):
    array = tensor_from_proto(make(number, [3], int_val=[3, 1]))
    name = DTYPES[number].name
    assert array.dtype.names == (name,)
    assert array[name].tolist() == [3, 1, 1]


def test_one_value_for_a_trillion_elements_takes_no_memory():
    tracemalloc.start()
    for form in (
        make(1, [1 << 20, 1 << 20], float_val=[2.5]),
        make(1, [1 << 40]),
        make(7, [1 << 40], string_val=[b"x"]),
        make(7, [1 << 40]),
    ):
        array = tensor_from_proto(form)
        assert array.size == 1 << 40
        assert not array.flags.writeable
        assert set(array.strides) == {0}
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert array[12345] == b""


def test_content_is_not_copied():
    proto = make(1, [1000], tensor_content=bytes(4000))
    assert not tensor_from_proto(proto).flags.owndata


BROKEN = {
    "no dtype": (make(0, [1]), "dtype number 0"),
    "a reference": (make(101, [1], float_val=[1]), "dtype number 101"),
    "an unknown dtype": (make(77, [1]), "dtype number 77"),
    "a negative size": (make(1, [2, -1]), r"shape \[2, -1\]"),
    "sizes whose product overflows": (make(1, [1 << 40, 1 << 40]), "are too many"),
    "bytes that overflow": (make(2, [1 << 62], double_val=[1]), "shape"),
    "values and a huge tail": (make(1, [1 << 40], float_val=[1, 2]), "268435456"),
    "content too short": (make(1, [3], tensor_content=b"abcd"), "4 bytes of tensor_content; 12"),
    "content too long": (make(1, [3], tensor_content=bytes(16)), "16 bytes of tensor_content; 12"),
    "content of huge size": (make(1, [1 << 40], tensor_content=b"abcd"), "4398046511104"),
    "bools other than 0 and 1": (make(10, [3], tensor_content=b"\0\1\2"), "other than 0 and 1"),
    "strings that are too long": (make(7, [2], tensor_content=b"\x01\x02abcd"), "should be 5"),
    "strings without lengths": (make(7, [3], tensor_content=b"\xff\xff\xff"), "that many lengths"),
    "more strings than bytes": (make(7, [1 << 40], tensor_content=b"ab"), "too few"),
    "handles as content": (make(20, [1], tensor_content=b"ab"), "resource"),
}


@pytest.mark.parametrize(("form", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_constant_is_an_error_that_says_what_is_wrong(form, words):
    with pytest.raises(GraphError, match=words):
        tensor_from_proto(form)


def test_handles_are_kept_as_they_are():
    proto = graph_pb2.TensorProto(dtype=20)
    proto.resource_handle_val.add(name="h")
    assert tensor_from_proto(proto).item().name == "h"


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array(["2020-01-01"], "M8[D]"), None),
        (np.zeros(2, "f4,i4"), None),
        (np.array([1, None], object), None),
        (np.array([b"a"]), DTYPES[1]),
        (np.array([object()]), DTYPES[20]),
    ],
)
def test_what_no_constant_can_hold_is_refused(array, dtype):
    with pytest.raises(GraphError):
        tensor_to_proto(array, dtype)


@settings(max_examples=200)
@given(
    number=st.integers(0, 40),
    sizes=st.lists(st.one_of(st.integers(-2, 5), st.integers(-(2**63), 2**63 - 1)), max_size=4),
    content=st.binary(max_size=20),
    ints=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    strings=st.lists(st.binary(max_size=3), max_size=4),
)
def test_whatever_a_constant_declares_it_is_an_array_or_a_graph_error(number, sizes, content, ints, strings):
    proto = make(number, tensor_content=content, int_val=ints, half_val=ints, string_val=strings)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    try:
        array = tensor_from_proto(proto)
    except GraphError:
        return
    assert array.shape == tuple(sizes)


def test_shapes_round_trip_with_unknown_sizes_and_rank():
    for shape in ((), (3,), (None, 0, 5), None):
        assert shape_from_proto(shape_to_proto(shape)) == shape
        expected = tf.TensorShape(shape).as_proto().SerializeToString()
        assert shape_to_proto(shape).SerializeToString() == expected
    with pytest.raises(GraphError, match="-5"):
        shape_from_proto(graph_pb2.TensorShapeProto(dim=[{"size": -5}]))


def test_attributes_of_every_kind_decode():
    attr = graph_pb2.AttrValue
    assert attr_value(attr(s=b"SAME")) == b"SAME"
    assert attr_value(attr(i=-3)) == -3
    assert attr_value(attr(f=0.5)) == 0.5
    assert attr_value(attr(b=True)) is True
    assert attr_value(attr(type=1)) is DTYPES[1]
    assert attr_value(attr(type=101)) is DTYPES[1]
    assert attr_value(attr(type=0)) is None
    assert attr_value(attr(shape=shape_to_proto((None, 2)))) == (None, 2)
    assert attr_value(attr(shape=shape_to_proto(None))) is None
    assert attr_value(attr(tensor=tensor_to_proto(np.int32(3)))) == 3
    func = graph_pb2.NameAttrList(name="f", attr={"T": attr(type=1)})
    assert attr_value(attr(func=func)) == FunctionAttr("f", {"T": DTYPES[1]})
    lists = attr.ListValue
    assert attr_value(attr(list=lists())) == []
    assert attr_value(attr(list=lists(i=[1, 2]))) == [1, 2]
    assert attr_value(attr(list=lists(s=[b"a"]))) == [b"a"]
    assert attr_value(attr(list=lists(type=[1, 3]))) == [dtype_of(1), dtype_of(3)]
    assert attr_value(attr(list=lists(shape=[shape_to_proto((2,)), shape_to_proto(None)]))) == [(2,), None]
    assert attr_value(attr(list=lists(func=[func]))) == [FunctionAttr("f", {"T": DTYPES[1]})]
    assert attr_value(attr()) is None


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (graph_pb2.AttrValue(placeholder="T"), r"\$T"),
        (graph_pb2.AttrValue(type=77), "77"),
        (graph_pb2.AttrValue(list={"i": [1], "s": [b"a"]}), "several kinds"),
    ],
)
def test_attributes_without_a_value_are_errors(proto, words):
    with pytest.raises(GraphError, match=words):
        attr_value(proto)


values = st.recursive(
    st.one_of(
        st.binary(max_size=5),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.floats(width=32, allow_nan=False),
        st.sampled_from(list(DTYPES.values())),
        st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=3).map(tuple),
    ),
    lambda inner: st.builds(
        FunctionAttr, st.text("abc", max_size=3), st.dictionaries(st.text("abc", max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=100)
@given(st.one_of(values, st.lists(st.integers(0, 9), max_size=3), st.lists(st.binary(max_size=3), max_size=3)))
def test_attribute_values_round_trip(value):
    assert attr_value(attr_to_proto(value)) == value


def test_values_that_are_no_attribute_are_refused():
    for value in (object(), [1, b"a"], {"a": 1}):
        with pytest.raises(GraphError):
            attr_to_proto(value)
