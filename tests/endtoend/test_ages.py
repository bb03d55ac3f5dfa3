"""Graphs of every age: old names and forms of ops, attributes that were not there yet, old versions' rules.

TensorFlow judges where it still takes such a graph; where it doesn't, the present form of the same graph does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from endtoend.layers import normal, uniform
from tf_models import session

import graphrack as gr

FLOAT, INT, BOOL = tf.float32, tf.int32, tf.bool
Node = tuple[str, str, list[str], dict[str, Any]]


def attribute(value: Any) -> Any:
    """An AttrValue of what a test writes."""
    made = tf.AttrValue()
    if isinstance(value, np.ndarray):
        made.tensor.CopyFrom(tf.make_tensor_proto(value))
    elif isinstance(value, tf.DType):
        made.type = value.as_datatype_enum
    elif isinstance(value, tf.TensorShape):
        made.shape.CopyFrom(value.as_proto())
    elif isinstance(value, bool):
        made.b = value
    elif isinstance(value, int):
        made.i = value
    elif isinstance(value, float):
        made.f = value
    elif isinstance(value, str):
        made.s = value.encode()
    else:
        made.list.i.extend(value)
    return made


def graph_def(producer: int, nodes: Sequence[Node]) -> Any:
    """A GraphDef with no attribute but those written."""
    made = tf.GraphDef()
    made.versions.producer = producer
    for name, op, inputs, attributes in nodes:
        node = made.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            node.attr[key].CopyFrom(attribute(value))
    return made


def constant(name: str, value: Any, dtype: Any = np.float32) -> Node:
    array = np.asarray(value, dtype)
    return name, "Const", [], {"dtype": tf.as_dtype(array.dtype), "value": array}


def placeholder(name: str, dtype: Any = FLOAT, **attributes: Any) -> Node:
    return name, "Placeholder", [], {"dtype": dtype, **attributes}


def by_graphrack(graph: Any, folder: Path, fetches: Any, feeds: dict[str, Any]) -> Any:
    (folder / "g.pb").write_bytes(graph.SerializeToString())
    return gr.load(folder / "g.pb").run(fetches, feeds)


def by_tensorflow(graph: Any, fetches: Any, feeds: dict[str, Any]) -> Any:
    with session() as sess:
        tf.import_graph_def(graph, name="")
        return sess.run(fetches, feeds)


X = normal(2, 5, 5, 4)
M = normal(3, 4)

# Of each: the producer, the nodes (the last one's outputs count), the feeds.
OLD: dict[str, tuple[int, list[Node], dict[str, Any]]] = {
    "Concat": (
        5,
        [placeholder("x"), constant("d", 1, np.int32), ("out", "Concat", ["d", "x", "x"], {"N": 2, "T": FLOAT})],
        {"x": M},
    ),
    "Pack without axis": (5, [placeholder("x"), ("out", "Pack", ["x", "x"], {"N": 2, "T": FLOAT})], {"x": M}),
    "Unpack without axis": (5, [placeholder("x"), ("out", "Unpack", ["x"], {"num": 3, "T": FLOAT})], {"x": M}),
    "BatchMatMul without adj_x": (
        5,
        [placeholder("x"), placeholder("y"), ("out", "BatchMatMul", ["x", "y"], {"T": FLOAT})],
        {"x": normal(2, 3, 4), "y": normal(2, 4, 2)},
    ),
    "BatchNormWithGlobalNormalization": (
        8,
        [
            placeholder("x"),
            *(constant(n, uniform(4, seed=i) + 0.5) for i, n in enumerate("mvbg")),
            (
                "out",
                "BatchNormWithGlobalNormalization",
                ["x", "m", "v", "b", "g"],
                {"T": FLOAT, "variance_epsilon": 0.001, "scale_after_normalization": True},
            ),
        ],
        {"x": X},
    ),
    "Reverse by booleans": (
        5,
        [placeholder("x"), constant("d", [True, False], bool), ("out", "Reverse", ["x", "d"], {"T": FLOAT})],
        {"x": M},
    ),
    "ListDiff without out_idx": (
        5,
        [placeholder("x", INT), placeholder("y", INT), ("out", "ListDiff", ["x", "y"], {"T": INT})],
        {"x": np.arange(6, dtype=np.int32), "y": np.array([1, 4], np.int32)},
    ),
    "Select": (
        5,
        [
            placeholder("c", BOOL),
            placeholder("x"),
            ("n", "Neg", ["x"], {"T": FLOAT}),
            ("out", "Select", ["c", "x", "n"], {"T": FLOAT}),
        ],
        {"c": np.array([True, False, True]), "x": M},
    ),
    "Inv": (5, [placeholder("x"), ("out", "Inv", ["x"], {"T": FLOAT})], {"x": M}),
    "Sum without keep_dims and Tidx": (
        5,
        [placeholder("x"), constant("d", [1], np.int32), ("out", "Sum", ["x", "d"], {"T": FLOAT})],
        {"x": M},
    ),
    "ArgMax without types": (
        5,
        [placeholder("x"), constant("d", 1, np.int32), ("out", "ArgMax", ["x", "d"], {"T": FLOAT})],
        {"x": M},
    ),
    "MatMul without transposes": (
        5,
        [placeholder("x"), placeholder("y"), ("out", "MatMul", ["x", "y"], {"T": FLOAT})],
        {"x": M, "y": normal(4, 2)},
    ),
    "Conv2D without data_format": (
        5,
        [
            placeholder("x"),
            constant("w", normal(3, 3, 4, 2)),
            ("out", "Conv2D", ["x", "w"], {"T": FLOAT, "strides": [1, 2, 2, 1], "padding": "SAME"}),
        ],
        {"x": X},
    ),
    "MaxPool and BiasAdd without data_format": (
        5,
        [
            placeholder("x"),
            constant("b", normal(4)),
            ("y", "BiasAdd", ["x", "b"], {"T": FLOAT}),
            ("out", "MaxPool", ["y"], {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID"}),
        ],
        {"x": X},
    ),
    "LRN without attributes": (5, [placeholder("x"), ("out", "LRN", ["x"], {})], {"x": X}),
    "ResizeBilinear without attributes": (
        5,
        [placeholder("x"), constant("s", [7, 3], np.int32), ("out", "ResizeBilinear", ["x", "s"], {"T": FLOAT})],
        {"x": X},
    ),
    "Squeeze, Shape, Gather, Cast, StridedSlice without what came later": (
        5,
        [
            placeholder("x"),
            constant("i", [2, 0], np.int32),
            constant("j", [1], np.int32),
            constant("k", [2], np.int32),
            ("g", "Gather", ["x", "i"], {"Tparams": FLOAT, "Tindices": INT}),
            ("t", "StridedSlice", ["g", "j", "k", "j"], {"T": FLOAT, "Index": INT}),
            ("q", "Squeeze", ["t"], {"T": FLOAT}),
            ("s", "Shape", ["q"], {"T": FLOAT}),
            ("out", "Cast", ["s"], {"SrcT": INT, "DstT": FLOAT}),
        ],
        {"x": M},
    ),
    "PlaceholderV2": (
        22,
        [
            ("x", "PlaceholderV2", [], {"dtype": FLOAT, "shape": tf.TensorShape([3, 4])}),
            ("out", "Relu", ["x"], {"T": FLOAT}),
        ],
        {"x": M},
    ),
    "a placeholder whose scalar shape meant nothing": (
        21,
        [placeholder("x", shape=tf.TensorShape([])), ("out", "Relu", ["x"], {"T": FLOAT})],
        {"x": M},
    ),
    "BatchMatrix ops": (
        12,
        [
            placeholder("x"),
            ("t", "BatchMatMul", ["x", "x"], {"T": FLOAT, "adj_y": True}),
            ("d", "BatchMatrixDiagPart", ["t"], {"T": FLOAT}),
            ("e", "BatchMatrixDiag", ["d"], {"T": FLOAT}),
            ("a", "Add", ["t", "e"], {"T": FLOAT}),
            ("out", "BatchMatrixInverse", ["a"], {"T": FLOAT}),
        ],
        {"x": normal(2, 3, 3)},
    ),
    "a cond of Switch and Merge": (
        5,
        [
            placeholder("p", BOOL),
            placeholder("x"),
            ("s", "Switch", ["x", "p"], {"T": FLOAT}),
            ("yes", "Neg", ["s:1"], {"T": FLOAT}),
            ("no", "Square", ["s:0"], {"T": FLOAT}),
            ("out", "Merge", ["no", "yes"], {"N": 2, "T": FLOAT}),
        ],
        {"p": np.array(True), "x": M},
    ),
}


@pytest.mark.parametrize("name", OLD)
def test_an_old_graph_means_what_it_meant(name: str, tmp_path: Path) -> None:
    producer, nodes, feeds = OLD[name]
    graph = graph_def(producer, nodes)
    feeds = {f"{key}:0": value for key, value in feeds.items()}
    with session() as sess:
        tf.import_graph_def(graph, name="")
        outputs = [t.name for t in sess.graph.get_operation_by_name("out").outputs]
        expected = sess.run(outputs, feeds)
    for found, value in zip(by_graphrack(graph, tmp_path, outputs, feeds), expected, strict=True):
        assert np.asarray(found).dtype == np.asarray(value).dtype
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)


def test_the_version_that_forbids_an_op_is_told_from_one_that_has_it(tmp_path: Path) -> None:
    """TensorFlow refuses such a graph; what it means is clear all the same."""
    _, nodes, feeds = OLD["BatchNormWithGlobalNormalization"]
    graph, feeds = graph_def(30, nodes), {"x:0": feeds["x"]}
    with pytest.raises((ValueError, tf.errors.OpError), match="not available in GraphDef version 30"):
        by_tensorflow(graph, "out:0", feeds)
    expected = by_tensorflow(graph_def(8, nodes), "out:0", feeds)
    np.testing.assert_allclose(by_graphrack(graph, tmp_path, "out:0", feeds), expected, rtol=1e-5, atol=1e-6)


def test_top_k_of_a_fixed_k_is_that_of_a_tensor(tmp_path: Path) -> None:
    """TensorFlow still names the op and has a kernel, but can't put them together."""
    old = graph_def(6, [placeholder("x"), ("out", "TopK", ["x"], {"T": FLOAT, "k": 2})])
    new = graph_def(8, [placeholder("x"), constant("k", 2, np.int32), ("out", "TopKV2", ["x", "k"], {"T": FLOAT})])
    expected = by_tensorflow(new, ["out:0", "out:1"], {"x:0": M})
    for found, value in zip(by_graphrack(old, tmp_path, ["out:0", "out:1"], {"x:0": M}), expected, strict=True):
        np.testing.assert_array_equal(found, value)


def test_graphs_from_before_versions_run(tmp_path: Path) -> None:
    graph = graph_def(0, [placeholder("x"), ("out", "Relu", ["x"], {"T": FLOAT})])
    graph.ClearField("versions")
    graph.version = 1
    assert by_graphrack(graph, tmp_path, "out", {"x": [-1.0, 2.0]}).tolist() == [0, 2]


def _first_tensorflow(folder: Path) -> np.ndarray:
    """A checkpoint and MetaGraph as TensorFlow 0.12 and before wrote them; gives the variable's value."""
    value = normal(3, 2)
    with session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        w = tf.Variable(value, name="w")
        b = tf.Variable(np.float32(0.5), name="b")
        tf.add_to_collection("activation", tf.add(tf.matmul(x, w), b, name="out"))
        saver = tf.train.Saver(write_version=tf.train.SaverDef.V1)
        sess.run(tf.global_variables_initializer())
        saver.save(sess, str(folder / "model"))
    meta = tf.MetaGraphDef.FromString((folder / "model.meta").read_bytes())
    meta.meta_info_def.tensorflow_version = "0.12.head"
    meta.meta_info_def.ClearField("stripped_op_list")
    meta.graph_def.versions.producer = 11
    meta.saver_def.version = tf.train.SaverDef.LEGACY
    nodes = {node.name: node for node in meta.graph_def.node}
    for node in list(meta.graph_def.node):
        node.attr.pop("_output_shapes", None)
        if node.op == "VariableV2":
            node.op = "Variable"
        elif node.op == "Assign":  # the defaults, which nobody had to write
            for key in ("use_locking", "validate_shape"):
                if key in node.attr and node.attr[key].b:
                    del node.attr[key]
        elif node.op == "RestoreV2":
            names, dtypes = node.input[1], list(node.attr["dtypes"].list.type)
            keys = tf.make_ndarray(nodes[names].attr["value"].tensor).tolist()
            for i, (key, dtype) in enumerate(zip(keys, dtypes, strict=True)):
                for part, text in (("name", key), ("slice", b"")):
                    made = meta.graph_def.node.add(name=f"save/old_{part}_{i}", op="Const")
                    made.attr["dtype"].type = tf.string.as_datatype_enum
                    made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(text))
                inputs = [node.input[0], f"save/old_name_{i}", f"save/old_slice_{i}"]
                old = meta.graph_def.node.add(name=f"save/restore_slice_{i}", op="RestoreSlice", input=inputs)
                old.attr["dt"].type = dtype
                for other in meta.graph_def.node:
                    for j, source in enumerate(other.input):
                        if source == (node.name if i == 0 else f"{node.name}:{i}"):
                            other.input[j] = old.name
            meta.graph_def.node.remove(node)
    (folder / "model.meta").write_bytes(meta.SerializeToString())
    return value


def test_a_checkpoint_of_the_first_versions_opens_runs_and_saves(tmp_path: Path) -> None:
    value = _first_tensorflow(tmp_path)
    model = gr.load(tmp_path / "model")
    assert {"Variable", "RestoreSlice", "SaveSlices"} <= {operation.type for operation in model.operations.values()}
    row = np.array([[1.0, 2.0, 3.0]], np.float32)
    np.testing.assert_allclose(model(row), row @ value + 0.5, rtol=1e-6)
    model.variables["b"] = 1.5
    model.save(tmp_path / "again")
    with session() as sess:
        w, b = tf.Variable(tf.zeros([3, 2]), name="w"), tf.Variable(0.0, name="b")
        tf.train.Saver().restore(sess, str(tmp_path / "again"))
        np.testing.assert_array_equal(sess.run(w), value)
        assert sess.run(b) == 1.5
