"""Nodes that compute the same are one; those that nobody takes anything of aren't computed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_control_flow import control_flow
from tf_models import session

import graphrack as gr

raw = tf.raw_ops


def opened(folder: Path, sess: Any, engine: str = "numpy") -> gr.Model:
    if tf.global_variables():
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(folder / "m"))
        return gr.load(folder / "m", engine=engine)
    tf.train.export_meta_graph(str(folder / "m.meta"), graph=sess.graph)
    return gr.load(folder / "m.meta", engine=engine)


def steps(model: gr.Model, fetches: Any, feeds: Any = None) -> Counter[str]:
    return Counter(step.op for step in model.explain(fetches, feeds).steps)


def test_what_is_computed_twice_is_one_step_and_its_constants_are_compared_by_value(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.string, [None], name="x")

        def numbers(name: str) -> Any:
            found = tf.cast(tf.strings.to_hash_bucket_fast(tf.identity(x), 100), tf.float32)
            return tf.reduce_sum(tf.stop_gradient(found) * 2.0, axis=0, name=name)

        total = tf.add(numbers("one") + 1.0, numbers("other"), name="total")
        model = opened(tmp_path, sess)
        fed = {"x": np.array(["a", "bc"], object)}
        assert model.run("total", fed) == sess.run(total, {x: fed["x"]})
        found = steps(model, "total", fed)
        assert found["StringToHashBucketFast"] == found["Cast"] == found["Mul"] == found["Sum"] == 1
        # Both of them can be asked for, and neither is the other's array.
        one, other = model.run(["one", "other"], fed)
        assert one == other


def test_nodes_with_other_attributes_inputs_or_constants_stay_apart(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        found = [
            tf.reduce_sum(x, 0, keepdims=True), tf.reduce_sum(x, 1, keepdims=True), tf.reduce_sum(x, [0, 1], True),
            tf.argmax(x, 1), tf.argmax(x, 1, output_type=tf.int32), tf.cast(x, tf.int32), tf.cast(x, tf.int64),
            x + 1.0, x + 1.5, tf.matmul(x, x, transpose_a=True), tf.matmul(x, x, transpose_b=True),
        ]  # fmt: skip
        joined = tf.concat([tf.reshape(tf.cast(f, tf.float64), [-1]) for f in found], 0, name="joined")
        model = opened(tmp_path, sess)
        value = np.arange(9, dtype=np.float32).reshape(3, 3)
        np.testing.assert_array_equal(model.run("joined", {"x": value}), sess.run(joined, {x: value}))


def test_a_duplicate_that_is_fed_or_fetched_is_a_node_of_its_own(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None], name="x")
        first, second = tf.exp(x, name="first"), tf.exp(x, name="second")
        third = tf.exp(x, name="third")
        tf.add_n([first * 1, second * 10, third * 100], name="total")
        model = opened(tmp_path, sess)
        value = np.array([0.5, -1], np.float32)
        for fed in ({}, {"first:0": value}, {"second:0": value}, {"first:0": value, "third:0": value + 1}):
            ours, theirs = (
                run(["total:0", "second:0", "third:0"], {"x:0": value, **fed}) for run in (model.run, sess.run)
            )
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6)
        second_value, third_value = model.run(["second", "third"], {"x": value})
        second_value[:] = 7
        assert (third_value != 7).all()


def test_random_numbers_are_drawn_as_often_as_the_graph_says(tmp_path: Path) -> None:
    with session() as sess:
        tf.subtract(raw.RandomUniform(shape=[4], dtype=tf.float32), raw.RandomUniform(shape=[4], dtype=tf.float32), "d")
        same = [raw.StatelessRandomUniform(shape=[4], seed=[1, 2]) for _ in range(2)]
        tf.subtract(*same, name="none")
        model = opened(tmp_path, sess)
        assert (model.run("d:0") != 0).all()
        assert (model.run("none:0") == 0).all()
        assert steps(model, "d:0")["RandomUniform"] == 2


@pytest.mark.parametrize("resource", [False, True])
def test_a_variable_is_read_as_often_as_it_changes_between(resource: bool, tmp_path: Path) -> None:
    with session() as sess:
        w = tf.get_variable("w", initializer=np.float32(1.0), use_resource=resource)
        before = w.read_value() * 2.0
        with tf.control_dependencies([before]):
            changed = tf.assign_add(w, 5.0)
        with tf.control_dependencies([changed]):
            after = w.read_value() * 2.0
            # It takes nothing that changes, but what takes it has to wait, too.
            constant = tf.identity(tf.constant(1.0))
        with tf.control_dependencies([constant]):
            later = w.read_value() * 2.0
        outcome = tf.stack([before, after, later], name="outcome")
        model = opened(tmp_path, sess)
        for _ in range(2):
            np.testing.assert_array_equal(model.run("outcome:0"), sess.run(outcome))


def test_a_reference_that_ops_take_directly_is_read_where_they_run(tmp_path: Path) -> None:
    with session() as sess:
        w = tf.get_variable("w", initializer=np.float32([1.0, 2.0]), use_resource=False)
        with tf.control_dependencies([raw.Square(x=w._ref())]):
            changed = tf.assign_add(w, [1.0, 1.0])
        with tf.control_dependencies([changed]):
            tf.identity(raw.Square(x=w._ref()), name="after")
        model = opened(tmp_path, sess)
        for _ in range(2):
            np.testing.assert_array_equal(model.run("after:0"), sess.run("after:0"))


def test_what_is_only_waited_for_is_not_computed_but_for_checks(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None], name="x")
        with tf.control_dependencies([tf.gather(tf.exp(x), [7])]):
            left_out = tf.multiply(x, 3.0, name="left_out")
        with tf.control_dependencies([raw.CheckNumerics(tensor=tf.math.log(x), message="of x")]):
            tf.multiply(x, 3.0, name="checked")
        with tf.control_dependencies([tf.debugging.assert_positive(x, message="not so")]):
            tf.multiply(x, 3.0, name="asserted")
        tf.multiply(left_out, 2.0, name="last")
        model = opened(tmp_path, sess)
        good, bad = np.array([1, 2], np.float32), np.array([1, 0], np.float32)
        assert model.run("last:0", {"x": good}).tolist() == sess.run("last:0", {x: good}).tolist() == [6, 12]
        assert not steps(model, "last:0", {"x": good}).keys() & {"Exp", "GatherV2"}
        assert model.run("checked:0", {"x": good}).tolist() == [3, 6]
        with pytest.raises(gr.OpError, match="of x : Tensor had Inf"):
            model.run("checked:0", {"x": bad})
        with pytest.raises(gr.OpError, match="not so"):
            model.run("asserted:0", {"x": bad})
        # Asked for by name, it is computed.
        gather = next(n.name for n in sess.graph.as_graph_def().node if n.op == "GatherV2")
        with pytest.raises(gr.OpError, match="GatherV2"):
            model.run(gather, {"x": good})


def test_order_is_kept_through_nodes_that_are_only_waited_for(tmp_path: Path) -> None:
    with session() as sess:
        w = tf.get_variable("w", initializer=np.float32(2.0), use_resource=True)
        with tf.control_dependencies([w.assign(w.read_value() * 3.0)]):
            between = tf.constant(1.0) + tf.identity(4.0)
        with tf.control_dependencies([tf.negative(between)]), tf.control_dependencies([tf.group(between)]):
            tf.identity(w.read_value() + 1.0, name="after")
        model = opened(tmp_path, sess)
        for _ in range(3):
            assert model.run("after:0") == sess.run("after:0")


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("engine", ["numpy", "auto", "openvino"])
def test_duplicates_in_branches_and_loops_give_what_tensorflow_gives(
    functional: bool, engine: str, tmp_path: Path
) -> None:
    with control_flow(functional), session() as sess:
        x, n = tf.placeholder(tf.float32, [None], name="x"), tf.placeholder(tf.int32, [], name="n")
        branch = tf.cond(
            n > 2, lambda: tf.exp(x) + tf.exp(x) * tf.reduce_sum(tf.exp(x)), lambda: tf.exp(x) - tf.exp(x) / 2.0
        )
        tf.add(branch, tf.exp(x), name="branch")

        def body(i: Any, h: Any, g: Any) -> Any:
            return i + 1, tf.tanh(h + tf.exp(x)) + tf.sin(h), tf.sin(h) + tf.tanh(h + tf.exp(x)) * tf.identity(g)

        found = tf.while_loop(lambda i, h, g: (i < n) & (i < n), body, [0, x, x])
        tf.identity(found[2], name="loop")
        loss = tf.reduce_sum(found[1] * found[2]) + tf.reduce_sum(found[1] * found[2])
        for name, y in (("slope", x), ("again", x)):
            tf.identity(tf.gradients(loss, y)[0], name=name)
        tf.add(sess.graph.get_tensor_by_name("slope:0"), sess.graph.get_tensor_by_name("again:0"), name="both")
        model = opened(tmp_path, sess, engine)
        value = np.array([0.1, -0.4, 0.7], np.float32)
        for count in (0, 1, 3, 4, 0):
            for name in ("branch:0", "loop:0", "both:0"):
                fed = {"x:0": value, "n:0": np.int32(count)}
                np.testing.assert_allclose(model.run(name, fed), sess.run(name, fed), rtol=2e-5, err_msg=name)


def test_gradients_that_two_optimizers_share_are_computed_once(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        w = tf.get_variable("w", initializer=np.ones((3, 4), np.float32), use_resource=True)
        v = tf.get_variable("v", initializer=np.ones((4, 2), np.float32) / 3, use_resource=True)
        loss = tf.reduce_mean(tf.square(tf.matmul(tf.tanh(tf.matmul(x, w)), v) - 1.0))
        one = tf.train.AdagradOptimizer(0.1).minimize(loss, var_list=[w])
        other = tf.train.FtrlOptimizer(0.1).minimize(loss, var_list=[v])
        train = tf.group(one, other, name="train")
        model = opened(tmp_path, sess)
        value = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
        for _ in range(3):
            sess.run(train, {x: value})
            model.run("train", {"x": value})
        for name, variable in (("w", w), ("v", v)):
            np.testing.assert_allclose(model.variables[name], sess.run(variable.read_value()), rtol=1e-5)
        found = steps(model, "train", {"x": value})
        assert (found["SquaredDifference"] + found["Square"], found["TanhGrad"]) == (1, 1)


def test_attributes_that_a_saved_model_leaves_out_stay_left_out(tmp_path: Path) -> None:
    with session() as sess:
        x, i = tf.placeholder(tf.float32, [None, 4], name="x"), tf.placeholder(tf.int32, [], name="i")
        packed = tf.stack([i, i + 1])
        y = tf.strided_slice(x, packed, packed + 1, [1, 1], shrink_axis_mask=1) * tf.cast(packed[1], tf.float32)
        builder = tf.saved_model.Builder(str(tmp_path / "s"))
        signature = tf.saved_model.predict_signature_def({"x": x, "i": i}, {"y": y})
        builder.add_meta_graph_and_variables(sess, ["serve"], {"serving_default": signature}, strip_default_attrs=True)
        builder.save()
        model = gr.load(tmp_path / "s", engine="numpy")
        value = np.arange(12, dtype=np.float32).reshape(3, 4)
        for _ in range(2):
            for fetches in (y.name, [y.name, packed.name]):  # other plans of the same graph
                fed = {x.name: value, i.name: np.int32(1)}
                ours, theirs = model.run(fetches, fed), sess.run(fetches, fed)
                np.testing.assert_array_equal(ours[0], theirs[0])
