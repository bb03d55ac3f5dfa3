from __future__ import annotations

import subprocess
import sys

import pytest
import tensorflow.compat.v1 as tf
from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.framework import function_pb2, op_def_pb2
from tensorflow.core.protobuf import saved_model_pb2, saved_object_graph_pb2, struct_pb2, tensor_bundle_pb2
from tensorflow.core.util import saved_tensor_slice_pb2
from tensorflow.python.training import checkpoint_state_pb2

from graphrack.formats.protos import checkpoint_pb2, graph_pb2, metagraph_pb2

PAIRS = [
    (graph_pb2.GraphDef, tf.GraphDef),
    (graph_pb2.OpList, op_def_pb2.OpList),
    (graph_pb2.FunctionDefLibrary, function_pb2.FunctionDefLibrary),
    (metagraph_pb2.MetaGraphDef, tf.MetaGraphDef),
    (metagraph_pb2.SavedModel, saved_model_pb2.SavedModel),
    (metagraph_pb2.SavedObjectGraph, saved_object_graph_pb2.SavedObjectGraph),
    (metagraph_pb2.StructuredValue, struct_pb2.StructuredValue),
    (checkpoint_pb2.BundleHeaderProto, tensor_bundle_pb2.BundleHeaderProto),
    (checkpoint_pb2.BundleEntryProto, tensor_bundle_pb2.BundleEntryProto),
    (checkpoint_pb2.SavedTensorSlices, saved_tensor_slice_pb2.SavedTensorSlices),
    (checkpoint_pb2.CheckpointState, checkpoint_state_pb2.CheckpointState),
]


def described(message) -> dict[str, list[tuple]]:
    """Every message and enum below one, by name without package: fields with number, type and label."""
    found: dict[str, list[tuple]] = {}
    stack = [message.DESCRIPTOR]
    while stack:
        at = stack.pop()
        name = at.full_name.removeprefix(at.file.package + ".")
        if name in found:
            continue
        fields = []
        for field in at.fields:
            below = field.message_type or field.enum_type
            fields.append((field.name, field.number, field.type, field.is_repeated))
            if field.type == FieldDescriptor.TYPE_ENUM:
                # A newer TensorFlow may know more; every number of ours must be its own.
                fields.append((below.name, {v.name: v.number for v in below.values}))
            elif below is not None:
                stack.append(below)
        found[name] = fields
    return found


@pytest.mark.parametrize(("mine", "original"), PAIRS, ids=[m.DESCRIPTOR.name for m, _ in PAIRS])
def test_messages_have_tensorflow_s_fields_and_numbers(mine, original):
    found = described(mine)
    if "TensorProto" in found:  # the one field that is our own, and what is in it
        assert found["TensorProto"].pop() == ("content_at", 100000, FieldDescriptor.TYPE_MESSAGE, False)
        del found["TensorProto.ContentAt"]
    assert found == described(original)


@pytest.mark.parametrize("first", ["graphrack", "tensorflow"])
def test_both_libraries_share_a_process_in_either_order(first):
    imports = {
        "graphrack": "from graphrack.formats.protos import checkpoint_pb2, graph_pb2, metagraph_pb2",
        "tensorflow": "import tensorflow as tf",
    }
    second = next(k for k in imports if k != first)
    program = f"""
{imports[first]}
{imports[second]}
theirs = tf.Graph().as_graph_def()
with tf.Graph().as_default() as graph:
    tf.constant(3.0, name="c")
    data = graph.as_graph_def().SerializeToString()
mine = graph_pb2.GraphDef.FromString(data)
assert mine.node[0].name == "c"
assert tf.compat.v1.GraphDef.FromString(mine.SerializeToString()).node[0].name == "c"
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=120, capture_output=True)


def test_fields_that_are_not_known_survive_a_round_trip():
    # Field 1000, a varint, at the top and in a node.
    unknown = b"\xc0\x3e\x07"
    node = graph_pb2.NodeDef(name="a", op="NoOp").SerializeToString() + unknown
    data = b"\x0a" + bytes([len(node)]) + node + unknown
    assert graph_pb2.GraphDef.FromString(data).SerializeToString() == data


def test_every_type_number_has_tensorflow_s_name():
    from graphrack.formats.dtypes import DTYPES

    for number, dtype in DTYPES.items():
        assert tf.as_dtype(number).name == dtype.name
