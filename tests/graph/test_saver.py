"""What a graph's Saver does, found by following its nodes; and the Saver that a graph without one is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from graph.graphs import graph
from tf_models import session

import graphrack as gr
from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef, SaverDef
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import TensorName
from graphrack.graph.saver import restored_by, saver_nodes, with_saver


def meta_graph(resource: bool = False, **options: Any) -> MetaGraphDef:
    with session() as sess:
        if resource:
            tf.enable_resource_variables()
        a = tf.get_variable("a", [4, 3], partitioner=tf.fixed_size_partitioner(2))
        b = tf.get_variable("b", [2], tf.int64, initializer=tf.zeros_initializer())
        if options.pop("renamed", False):
            options["var_list"] = {"old/a": a, "old/b": b}
        saver = tf.train.Saver(**options)
        exported = tf.train.export_meta_graph(graph=sess.graph, saver_def=saver.as_saver_def())
    return MetaGraphDef.FromString(exported.SerializeToString())


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("options", [{}, {"write_version": 1}, {"sharded": True}, {"name": "mine"}], ids=str)
def test_restores_are_followed_back_to_names_and_slices(options: dict[str, Any], resource: bool) -> None:
    made = meta_graph(resource, **options)
    look = GraphIndex(made.graph_def)
    nodes = saver_nodes(look, made.saver_def)
    assert nodes is not None
    found = {entry.variable.name: (entry.key, entry.spec) for entry in restored_by(look, nodes)}
    assert found == {"a/part_0": ("a", "4 3 0,2:0,3"), "a/part_1": ("a", "4 3 2,2:0,3"), "b": ("b", "")}


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_a_renaming_saver_s_names_are_the_checkpoint_s(resource: bool) -> None:
    made = meta_graph(resource, renamed=True)
    look = GraphIndex(made.graph_def)
    nodes = saver_nodes(look, made.saver_def)
    assert nodes is not None
    assert {e.variable.name: e.key for e in restored_by(look, nodes)} == {
        "a/part_0": "old/a", "a/part_1": "old/a", "b": "old/b"}  # fmt: skip


@pytest.mark.parametrize(("reshape", "expected"), [(False, {False}), (True, {True})])
def test_a_saver_that_reshapes_is_known(reshape: bool, expected: set[bool]) -> None:
    made = meta_graph(reshape=reshape)
    look = GraphIndex(made.graph_def)
    nodes = saver_nodes(look, made.saver_def)
    assert nodes is not None
    assert {e.reshaped for e in restored_by(look, nodes) if e.variable.name == "b"} == expected


def test_a_graph_def_s_saver_is_found_by_its_usual_names() -> None:
    look = GraphIndex(meta_graph().graph_def)
    found = saver_nodes(look, None)
    assert found == (TensorName("save/Const", 0), TensorName("save/control_dependency", 0), "save/restore_all")
    assert saver_nodes(GraphIndex(graph("VariableV2 v")), None) is None
    assert saver_nodes(GraphIndex(graph("VariableV2 v")), SaverDef()) is None


@pytest.mark.parametrize("field", ["filename_tensor_name", "save_tensor_name", "restore_op_name"])
def test_a_saver_def_of_another_graph_is_an_error_that_names_the_node(field: str) -> None:
    made = meta_graph()
    setattr(made.saver_def, field, "elsewhere:0" if field != "restore_op_name" else "elsewhere")
    with pytest.raises(gr.GraphError, match="SaverDef names 'elsewhere.*don't belong together"):
        saver_nodes(GraphIndex(made.graph_def), made.saver_def)


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_tensorflow_saves_and_restores_by_the_saver_that_a_graph_is_given(resource: bool, tmp_path: Path) -> None:
    with session() as sess:
        if resource:
            tf.enable_resource_variables()
        tf.get_variable("a", initializer=np.arange(3, dtype=np.float32))
        tf.get_variable("save/b", initializer=[True, False])  # takes the Saver's usual scope
        bare = GraphDef.FromString(sess.graph_def.SerializeToString())
    before = bare.SerializeToString(deterministic=True)
    extended, definition = with_saver(bare, GraphIndex(bare).variables.values())
    assert bare.SerializeToString(deterministic=True) == before
    look = GraphIndex(extended)
    nodes = saver_nodes(look, definition)
    assert nodes is not None
    assert {e.variable.name: e.key for e in restored_by(look, nodes)} == {"a": "a", "save/b": "save/b"}
    with session() as sess:
        tf.import_graph_def(tf.GraphDef.FromString(extended.SerializeToString()), name="")
        saver = tf.train.Saver(saver_def=tf.train.SaverDef.FromString(definition.SerializeToString()))
        sess.run(["a/Assign", "save/b/Assign"])
        prefix = saver.save(sess, str(tmp_path / "m"), write_meta_graph=False)
    with session() as sess:
        tf.import_graph_def(tf.GraphDef.FromString(extended.SerializeToString()), name="")
        saver.restore(sess, prefix)
        read = "a/Read/ReadVariableOp:0" if resource else "a:0"
        assert sess.run(read).tolist() == [0, 1, 2]
