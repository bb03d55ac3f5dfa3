from __future__ import annotations

import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import tensorflow.compat.v1 as tf

from graphrack.errors import GraphError
from graphrack.formats import op_table
from graphrack.formats.protos import graph_pb2
from graphrack.formats.tensor import attr_to_proto

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "models"


@pytest.fixture(scope="module")
def tool():
    """`tools/make_op_table.py` as a module."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("make_op_table", ROOT / "tools" / "make_op_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_the_tool_makes_of_the_tensorflow_it_names(tool):
    kept = zlib.decompress(tool.TABLE.read_bytes())
    made = tool.registered_ops()
    if tf.__version__.startswith("2.21."):
        assert kept == made
    # Of any version: ops don't lose inputs and outputs.
    made_ops = {op.name: op for op in graph_pb2.OpList.FromString(made).op}
    for op in graph_pb2.OpList.FromString(kept).op:
        if op.name in made_ops and not op.name.startswith("_"):
            assert [a.name for a in op.output_arg] == [a.name for a in made_ops[op.name].output_arg]


def test_ops_are_found_by_name_and_unknown_ones_are_none():
    assert len(list(op_table.op_names())) > 1500
    assert op_table.op_def("Conv2D").output_arg[0].name == "output"
    assert op_table.op_def("NoSuchOp") is None
    assert not op_table.op_def("Conv2D").attr[0].description


def test_the_table_is_read_on_first_use_only():
    program = (
        "import sys, graphrack.formats.op_table as t; assert not t._table.cache_info().currsize;"
        "t.op_def('Add'); assert t._table.cache_info().currsize"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_defaults_are_tensorflow_s():
    defaults = op_table.defaults("Conv2D")
    assert set(defaults) == {"use_cudnn_on_gpu", "explicit_paddings", "data_format", "dilations"}
    assert defaults["data_format"].s == b"NHWC"
    assert op_table.defaults("NoSuchOp") == {}


def node(op: str, **attrs) -> graph_pb2.NodeDef:
    return graph_pb2.NodeDef(name="n", op=op, attr={k: attr_to_proto(v) for k, v in attrs.items()})


FLOATS, INTS = graph_pb2.DT_FLOAT, graph_pb2.DT_INT32


def test_outputs_are_counted_and_typed_by_attributes():
    from graphrack.formats.dtypes import FLOAT, INT32

    split = node("Split", num_split=3, T=FLOAT)
    assert op_table.output_names("Split", split.attr) == [("output", 3)]
    assert op_table.output_types(split) == [FLOATS] * 3
    assert op_table.input_types(split) == [INTS, FLOATS]
    several = node("IdentityN", T=[FLOAT, INT32])
    assert op_table.output_names("IdentityN", several.attr) == [("output", 2)]
    assert op_table.output_types(several) == [FLOATS, INTS]
    assert op_table.output_names("TopKV2", node("TopKV2", T=FLOAT).attr) == [("values", 1), ("indices", 1)]
    assert op_table.output_types(node("TopKV2", T=FLOAT)) == [FLOATS, INTS]
    assert op_table.output_types(node("NoOp")) == []
    assert op_table.output_types(node("NoSuchOp")) is None
    assert op_table.input_types(node("NoSuchOp")) is None


def test_attributes_left_out_have_their_defaults():
    from graphrack.formats.dtypes import FLOAT

    assert op_table.output_types(node("ArgMax", T=FLOAT)) == [graph_pb2.DT_INT64]


def test_references_are_told_apart():
    from graphrack.formats.dtypes import FLOAT

    assign = node("Assign", T=FLOAT)
    assert op_table.input_is_ref("Assign", 0, assign.attr)
    assert not op_table.input_is_ref("Assign", 1, assign.attr)
    assert op_table.output_types(assign) == [graph_pb2.DT_FLOAT_REF]
    assert op_table.output_types(node("VariableV2", dtype=FLOAT)) == [graph_pb2.DT_FLOAT_REF]
    with pytest.raises(GraphError, match="no input 2"):
        op_table.input_is_ref("Assign", 2, assign.attr)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: op_table.output_types(node("Split", num_split=3)), "lacks its attribute 'T'"),
        (lambda: op_table.output_types(node("Split", num_split=-1, T=1)), "-1 as its attribute 'num_split'"),
        (lambda: op_table.output_types(node("Split", num_split=1 << 40, T=1)), "num_split"),
        (lambda: op_table.output_names("NoSuchOp", {}), "'NoSuchOp' is not known"),
    ],
)
def test_what_cannot_be_told_is_an_error(call, words):
    with pytest.raises(GraphError, match=re.escape(words)):
        call()


@pytest.mark.skipif(not SHARED.is_dir(), reason="other people's models are not here")
def test_every_output_of_a_detector_s_graph_has_tensorflow_s_type():
    from graphrack.formats.graph_files import open_model_file

    file = open_model_file(SHARED / "ssd_hand" / "model.ckpt")
    mine = {n.name: op_table.output_types(n) for n in file.graph_def.node}
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(tf.GraphDef.FromString(file.graph_def.SerializeToString()), name="")
        theirs = {o.name: [t.dtype.as_datatype_enum for t in o.outputs] for o in graph.get_operations()}
    assert mine == theirs
