"""Messages decoded and encoded by descriptions in the graph, against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from google.protobuf import descriptor_pb2
from ops.api import agree, fed
from tensorflow.core.example import example_pb2, feature_pb2

import graphrack as gr

# The ops are "DecodeProtoV2" and "EncodeProto".


def _source(*modules: Any) -> bytes:
    described = descriptor_pb2.FileDescriptorSet()
    for module in modules:
        file = described.file.add()
        file.ParseFromString(module.DESCRIPTOR.serialized_pb)
    return b"bytes://" + described.SerializeToString()


EXAMPLES = _source(feature_pb2, example_pb2)
ITSELF = _source(descriptor_pb2)
FIELD = "google.protobuf.FieldDescriptorProto"


def _decode(
    texts: Any, message: str, fields: list[str], types: list[Any], source: bytes = EXAMPLES, **given: Any
) -> Any:
    return tf.io.decode_proto(fed(np.array(texts, object)), message, fields, types, descriptor_source=source, **given)


def test_repeated_fields_agree() -> None:
    numbers = [feature_pb2.Int64List(value=v).SerializeToString() for v in ([1, 2, -3], [], [5])]
    floats = [[feature_pb2.FloatList(value=[1, 2, -3]).SerializeToString(), b""]]
    agree(lambda: _decode(numbers, "tensorflow.Int64List", ["value"], [tf.int64]))
    agree(lambda: _decode(floats, "tensorflow.FloatList", ["value"], [tf.float32]))
    agree(lambda: _decode(floats, "tensorflow.FloatList", ["value"], [tf.float64]))
    agree(lambda: _decode(np.zeros((0, 2)), "tensorflow.FloatList", ["value"], [tf.float32]))


def test_messages_within_messages_agree() -> None:
    feature = feature_pb2.Feature(int64_list=feature_pb2.Int64List(value=[1]))
    example = example_pb2.Example(features=feature_pb2.Features(feature={"a": feature}))
    texts = [example.SerializeToString(), b""]
    agree(lambda: _decode(texts, "tensorflow.Example", ["features"], [tf.string]))


@pytest.mark.parametrize(
    "wanted", [tf.int32, tf.int64, tf.uint32, tf.uint64, tf.float32, tf.double, tf.bool, tf.string]
)
def test_fields_become_what_tensorflow_makes_of_them(wanted: Any) -> None:
    options = descriptor_pb2.FieldOptions(packed=True)
    message = descriptor_pb2.FieldDescriptorProto(name="ab", number=3, type=4, label=3, options=options)
    texts = [message.SerializeToString(), b""]
    agree(lambda: _decode(texts, FIELD, ["name", "number"], [tf.string, wanted], ITSELF))
    agree(lambda: _decode(texts, FIELD, ["type", "options"], [wanted, tf.string], ITSELF))
    for field in ("positive_int_value", "negative_int_value", "double_value", "string_value"):
        agree(lambda field=field: _decode([b""], "google.protobuf.UninterpretedOption", [field], [wanted], ITSELF))


def test_text_agrees() -> None:
    for text in (b"value: 3 value: 4.5", b"", b"value: x", b"other: 3"):
        agree(lambda text=text: _decode([text], "tensorflow.FloatList", ["value"], [tf.float32], message_format="text"))


def test_what_is_no_message_is_refused() -> None:
    agree(lambda: _decode([b"\xff"], "tensorflow.FloatList", ["value"], [tf.float32]))


def test_encoding_agrees() -> None:
    def encode(sizes: Any, values: list[Any], fields: list[str], message: str, source: bytes = EXAMPLES) -> Any:
        given = [fed(v) for v in values]
        return tf.io.encode_proto(fed(sizes, np.int32), given, fields, message, descriptor_source=source)

    numbers = np.array([[1, 2], [3, 4]])
    agree(lambda: encode([[2], [0]], [numbers], ["value"], "tensorflow.Int64List"))
    agree(lambda: encode([[2], [1]], [numbers.astype(np.float32)], ["value"], "tensorflow.FloatList"))
    agree(lambda: encode([[3], [0]], [numbers], ["value"], "tensorflow.Int64List"))
    nothing = np.array([[b""], [b""]], object)
    agree(lambda: encode([[1], [0]], [nothing], ["features"], "tensorflow.Example"))
    names, fives = np.array([[b"x"], [b"y"]], object), np.array([[5], [6]], np.int32)
    agree(lambda: encode([[1, 1, 1], [0, 1, 0]], [names, fives, fives], ["name", "number", "type"], FIELD, ITSELF))


def test_what_is_linked_into_tensorflow_is_refused_with_what_to_do(tmp_path: Any) -> None:
    with tf.Graph().as_default() as graph:
        decoded = tf.io.decode_proto([b""], "tensorflow.FloatList", ["value"], [tf.float32])
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(gr.GraphrackError, match=r"make the graph with the descriptors in it \(bytes://\)"):
        gr.load(tmp_path / "g.pb", engine="numpy").run(decoded.sizes.name)
