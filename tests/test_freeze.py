"""Freezing: TensorFlow runs what comes out, and computes what it computed before."""

from __future__ import annotations

import time
from pathlib import Path

import derived_models as models
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_models import session

import graphrack as gr

_VARIABLE_OPS = {"VariableV2", "VarHandleOp", "ReadVariableOp", "ResourceGather", "Assign", "AssignVariableOp"}


@pytest.mark.parametrize("fold", [False, True], ids=["plain", "folded"])
@pytest.mark.parametrize("functional", [False, True], ids=["TF1 control flow", "functions"])
@pytest.mark.parametrize("resource", [False, True], ids=["references", "resources"])
@pytest.mark.parametrize("case", models.CASES)
def test_tensorflow_computes_the_same_from_the_frozen_graph(
    tmp_path: Path, case: str, resource: bool, functional: bool, fold: bool
) -> None:
    build, feeds = models.CASES[case]
    if case == "training branch" and functional and not resource:
        return  # TensorFlow itself can't assign a reference in a function
    model, wanted = models.save(tmp_path, build, resource, functional, feeds)
    model.freeze("y", fold=fold).export(tmp_path / "frozen.pb")
    for fed, expected in zip(feeds, wanted, strict=True):
        found = models.run_frozen(tmp_path / "frozen.pb", "y:0", fed)
        np.testing.assert_allclose(found, expected, rtol=1e-5 if fold else 1e-6, atol=1e-5 if fold else 1e-7)
    graph = tf.GraphDef.FromString((tmp_path / "frozen.pb").read_bytes())
    ops = {n.op for n in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    assert not ops & _VARIABLE_OPS
    assert not any(node.device for node in graph.node)


def test_folding_leaves_no_batch_norm_behind(tmp_path: Path) -> None:
    model, _ = models.save(tmp_path, models.norms)
    ops = {op.type for op in model.freeze("y", fold=True).operations.values()}
    assert ops == {"BiasAdd", "Const", "Conv2D", "DepthwiseConv2dNative", "MatMul", "Placeholder", "Relu", "Reshape", "Softmax"}  # fmt: skip


def test_a_fed_predicate_keeps_both_branches_and_a_constant_one_the_taken(tmp_path: Path) -> None:
    fed, _ = models.save(tmp_path / "fed", models.branch)
    constant, _ = models.save(tmp_path / "constant", models.training_branch)
    assert "Merge" in {op.type for op in fed.freeze("y").operations.values()}
    ops = {op.type for op in constant.freeze("y").operations.values()}
    assert not ops & {"Switch", "Merge", "Assign", "RealDiv"}


def test_bound_predicates_are_known_to_freezing(tmp_path: Path) -> None:
    model, wanted = models.save(tmp_path, models.branch, feeds=[{"p:0": True, "x:0": models.X}])
    frozen = model.bind({"p": True}).freeze("y")
    assert not {op.type for op in frozen.operations.values()} & {"Switch", "Merge"}
    np.testing.assert_allclose(frozen(x=models.X), wanted[0], rtol=1e-6)


def test_training_is_left_out_and_collections_stay_as_far_as_their_tensors_do(tmp_path: Path) -> None:
    model, wanted = models.save(tmp_path, models.dense, feeds=[{"x:0": models.ROWS}])
    frozen = model.freeze(model.collections["activation"])
    assert set(frozen.operations) == {"x", "w", "w/read", "b", "b/read", "product", "add", "y"}
    assert list(frozen.collections) == ["activation"]
    assert not frozen.variables
    np.testing.assert_allclose(frozen(models.ROWS), wanted[0], rtol=1e-6)


def test_the_frozen_model_keeps_the_values_of_its_time(tmp_path: Path) -> None:
    model, _ = models.save(tmp_path, models.dense)
    model.variables["w"] = np.zeros((3, 2))
    frozen = model.freeze("product")
    model.variables["w"] = np.ones((3, 2))
    np.testing.assert_array_equal(frozen.run("product", {"x": models.ROWS}), np.zeros((4, 2)))


@pytest.mark.parametrize(
    ("outputs", "error", "says"),
    [
        ("nothing", gr.UnknownName, "nothing"),
        ([], gr.UnknownName, "no outputs"),
        ("train", gr.GraphError, "change variables"),
    ],
)
def test_what_cannot_be_frozen_is_a_clear_error(tmp_path: Path, outputs: object, error: type, says: str) -> None:
    model, _ = models.save(tmp_path, models.dense)
    with pytest.raises(error, match=says):
        model.freeze(outputs)


def test_missing_values_are_all_named_and_unneeded_ones_not_missed(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        models.dense()
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "graph.pb")
    with pytest.raises(gr.UninitializedError, match="'b', 'w'"):
        model.freeze("y")
    model.variables["w"] = np.ones((3, 2))
    assert "w" in model.freeze("product").operations


def test_over_two_gigabytes_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        big = tf.get_variable("big", [1 << 16, 1 << 13], use_resource=True)
        tf.identity(big, name="y")
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "graph.pb")
    key = model._instance.graph.index.variables["big"].key
    model._instance.state.values = {key: np.broadcast_to(np.float32(0), (1 << 16, 1 << 13))}
    began = time.perf_counter()
    with pytest.raises(gr.GraphError, match="SavedModel"):
        model.freeze("y")
    assert time.perf_counter() - began < 5


def test_a_table_is_still_filled_by_the_frozen_graph(tmp_path: Path) -> None:
    def build(resource: bool) -> None:
        words = tf.placeholder(tf.string, [None], name="words")
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2]), -1)
        scale = tf.get_variable("scale", [], initializer=tf.constant_initializer(3.0), use_resource=resource)
        tf.multiply(tf.cast(table.lookup(words), tf.float32), scale, name="y")

    model, _ = models.save(tmp_path, build)
    model.freeze("y").export(tmp_path / "saved")
    found = models.run_saved_model(tmp_path / "saved", {"words": ["b", "z", "a"]})
    np.testing.assert_array_equal(found["y"], [6, -3, 3])


def test_fifty_convolutions_of_a_hundred_megabytes_are_frozen_quickly(tmp_path: Path) -> None:
    def build(resource: bool) -> None:
        h = tf.placeholder(tf.float32, [None, 8, 8, 256], name="x")
        for i in range(44):
            h = tf.nn.relu(tf.nn.conv2d(h, tf.get_variable(f"w{i}", [3, 3, 256, 256], initializer=tf.zeros_initializer()), 1, "SAME"))  # fmt: skip
        tf.identity(h, name="y")

    model, _ = models.save(tmp_path, build)
    sum(v.nbytes for v in model.variables.values())  # the values are here
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        frozen = model.freeze("y")
        seconds.append(time.perf_counter() - began)
    assert len(frozen.operations) == 2 + 44 * 4
    assert min(seconds) < 1


def test_folding_leaves_a_default_that_may_be_fed(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None], name="x")
        keep = tf.placeholder_with_default(2.0, [], name="keep")
        tf.multiply(x, keep, name="out")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    folded = gr.load(tmp_path / "g.pb").freeze("out", fold=True)
    assert folded.run("out", {"x": [1.0]}).tolist() == [2]
    assert folded.run("out", {"x": [1.0], "keep": 5.0}).tolist() == [5]


@pytest.mark.parametrize("fold", [False, True], ids=["plain", "folded"])
def test_stacks_of_a_gradient_keep_their_order(tmp_path: Path, fold: bool) -> None:
    """TensorFlow runs several trips of a loop at once: without it, values were pushed in any order now and then."""

    def build(resource: bool) -> None:
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        w = tf.get_variable("w", initializer=np.array([[0.4, -0.3], [0.2, 0.5]], np.float32), use_resource=resource)
        y = tf.while_loop(lambda i, _: i < 5, lambda i, y: (i + 1, tf.tanh(tf.matmul(y, w)) * y), [0, x])[1]
        tf.identity(tf.gradients(y, x)[0], name="y")

    model, _ = models.save(tmp_path, build)
    frozen = model.freeze("y", fold=fold)
    stacks = [op for op in frozen.operations.values() if op.type in ("StackPushV2", "StackPopV2", "NextIteration")]
    assert {op.type for op in stacks} == {"StackPushV2", "StackPopV2", "NextIteration"}
    for op in stacks:
        assert set(op.control_inputs) == set(model.operations[op.name].control_inputs), op.name


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("fold", [False, True], ids=["plain", "folded"])
def test_what_is_put_into_a_table_is_there_when_it_is_asked(tmp_path: Path, grouped: bool, fold: bool) -> None:
    def build(resource: bool) -> None:
        x = tf.placeholder(tf.int64, [None], name="x")
        v = tf.get_variable("v", initializer=np.float32(2), use_resource=resource)
        table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
        put = table.insert(x, tf.cast(x, tf.float32) * v)
        with tf.control_dependencies([tf.group(put) if grouped else put]):
            known = table.lookup(tf.add(tf.constant([1, 2], tf.int64), [0, 3]))  # constants alone wait
            found = table.lookup(x + 1)
        with tf.control_dependencies([known, found]):
            size = tf.cast(table.size(), tf.float32)
        with tf.control_dependencies([size]):
            gone = table.remove(x[:1])
        with tf.control_dependencies([gone]):
            tf.concat([known, found, [size, tf.reduce_sum(table.lookup(x))]], 0, name="y")

    feeds = {"x:0": np.array([1, 2, 5])}
    model, (wanted,) = models.save(tmp_path, build, feeds=[feeds])
    assert wanted.tolist() == [2, 10, 4, 0, 0, 3, 14]
    frozen = model.freeze("y", fold=fold)
    np.testing.assert_array_equal(frozen.run("y:0", feeds), wanted)
    frozen.export(tmp_path / "frozen.pb")
    np.testing.assert_array_equal(models.run_frozen(tmp_path / "frozen.pb", "y:0", feeds), wanted)


def test_functions_still_write_to_their_tables(tmp_path: Path) -> None:
    """The variable's handle makes the function one of its own, whose outputs don't need what it writes."""

    @tf.function
    def put(table: object, x: object, v: object) -> object:
        key = tf.reduce_sum(x)
        if key > 2:
            table.insert(key, tf.cast(key, tf.float32) * v)  # type: ignore[attr-defined]
        return key

    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.int64, [None], name="x")
        v = tf.get_variable("v", initializer=np.float32(2), use_resource=True)
        table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
        keys = put(table, x, v)
        with tf.control_dependencies([op for op in sess.graph.get_operations() if "PartitionedCall" in op.type]):
            tf.stack([table.lookup(tf.reduce_sum(x)), tf.cast(keys, tf.float32)], name="y")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver([v]).save(sess, str(tmp_path / "m"))
        wanted = [sess.run("y:0", {x: fed}) for fed in ([1, 2], [1])]
    assert [w.tolist() for w in wanted] == [[6, 3], [0, 1]]
    gr.load(tmp_path / "m").freeze("y").export(tmp_path / "frozen.pb")
    for fed, expected in zip(([1, 2], [1]), wanted, strict=True):
        np.testing.assert_array_equal(models.run_frozen(tmp_path / "frozen.pb", "y:0", {"x:0": fed}), expected)
        np.testing.assert_array_equal(gr.load(tmp_path / "frozen.pb").run("y:0", {"x:0": fed}), expected)
