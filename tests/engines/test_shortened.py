"""What a plan leaves out or remembers, since it follows from shapes or since nobody takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_control_flow import control_flow
from tf_models import session

import graphrack as gr

raw = tf.raw_ops


def test_gradients_of_broadcast_operands_are_tensorflows_for_one_shape_after_another(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        row = tf.get_variable("row", initializer=np.array([[1.0, -2.0, 3.0]], np.float32))
        scalar = tf.get_variable("scalar", initializer=np.float32(0.5))
        loss = tf.reduce_mean(tf.square(x * row + scalar))
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="train")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
        model = gr.load(tmp_path / "m")
        for i, shape in enumerate([(4, 3), (1, 3), (3,), (2, 4, 3), (4, 3), (4, 1), ()] * 2):
            value = np.full(shape, 0.1 * i, np.float32)
            sess.run(train, {x: value})
            model.run("train", {"x": value})
            np.testing.assert_allclose(model.variables["row"], sess.run(row), rtol=1e-5)
            np.testing.assert_allclose(model.variables["scalar"], sess.run(scalar), rtol=1e-5)


def test_what_follows_from_shapes_is_the_callers_own_and_new_for_a_new_shape(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        tf.multiply(tf.shape(x, name="sizes"), 2, name="doubled")
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "m.meta")
    for size in (2, 5, 2, *range(12), 2, 5):  # more than are remembered
        shape, doubled = model.run(["sizes", "doubled"], {"x": np.zeros((size, 3), np.float32)})
        assert (shape.tolist(), doubled.tolist()) == ([size, 3], [2 * size, 6])
        shape[:], doubled[:] = 7, 7


def test_a_loop_runs_without_the_variables_that_nobody_takes(tmp_path: Path) -> None:
    with control_flow(True), session() as sess:
        n = tf.placeholder(tf.int32, [], name="n")
        # `bad` fails where it is computed; `half` feeds `total`.
        found = tf.while_loop(
            lambda i, half, total, bad: i < n,
            lambda i, half, total, bad: (i + 1, half / 2, total + half, tf.gather([1.0], i + 5) + bad),
            [0, 1.0, 0.0, 0.0],
        )
        tf.identity(found[2], name="total")
        tf.identity(found[3], name="bad")
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "m.meta")
    assert model.run("total", {"n": 4}) == 1.875
    with pytest.raises(gr.OpError, match="Gather"):
        model.run("bad", {"n": 4})


@pytest.mark.parametrize("functional", [False, True])
def test_gradients_in_loops_of_broadcast_operands_are_tensorflows(functional: bool, tmp_path: Path) -> None:
    with control_flow(functional), session() as sess:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        row = tf.get_variable("row", initializer=np.array([[1.0, -0.2, 0.3]], np.float32))
        scalar = tf.get_variable("scalar", initializer=np.float32(0.5))
        _, last = tf.while_loop(
            lambda i, h: i < 3, lambda i, h: (i + 1, tf.tanh(h * row + scalar - x / scalar)), [0, x]
        )
        gradients = tf.gradients(tf.reduce_sum(last * last), [x, row, scalar])
        names = [tf.identity(g, name=f"g{i}").name for i, g in enumerate(gradients)]
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
        for engine in ("numpy", "auto"):
            model = gr.load(tmp_path / "m", engine=engine)
            for rows in (4, 1, 2, 4):
                value = np.linspace(-1, 1, 3 * rows, dtype=np.float32).reshape(rows, 3)
                for ours, theirs in zip(model.run(names, {"x": value}), sess.run(names, {x: value}), strict=True):
                    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("functional", [False, True])
def test_elements_and_rows_at_computed_numbers_are_tensorflows(functional: bool, tmp_path: Path) -> None:
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    with control_flow(functional), session() as sess:
        i, x = tf.placeholder(tf.int32, [], name="i"), tf.placeholder(tf.float32, [None, None], name="x")
        text, truth = tf.constant(["a", "b", "c"]), tf.constant([True, False, True])
        found = [x[i], x[:, i], x[i, i + 1], x[i, ...][i], text[i], truth[i], x[i : i + 1], x[i, tf.newaxis]]
        found.append(tf.cond(i > 0, lambda: x[i - 1], lambda: x[i + 1, :]))
        found.append(tf.while_loop(lambda k, s: k < 3, lambda k, s: (k + 1, s + x[k, i] * x[k][i]), [0, 0.0])[1])
        found.append(x[tf.cast(i, tf.int64)])
        names = [tf.identity(f, name=f"f{k}").name for k, f in enumerate(found)]
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
        for engine in ("numpy", "auto", "openvino"):
            model = gr.load(tmp_path / "m.meta", engine=engine)
            for at in (0, 1, -1, -2):
                for name in names:
                    fed = {"i:0": np.int32(at), "x:0": matrix}
                    np.testing.assert_array_equal(model.run(name, fed), sess.run(name, fed), err_msg=f"{name} at {at}")
            # What is given stays the caller's own.
            row = model.run(names[0], {"i": 1, "x": matrix})
            row[:] = -1
            assert matrix[1, 0] == 4


def test_an_element_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with session() as sess:
        i, x = tf.placeholder(tf.int32, name="i"), tf.placeholder(tf.float32, name="x")
        tf.strided_slice(x, tf.stack([i]), tf.stack([i + 1]), [1], shrink_axis_mask=1, name="one")
        tf.strided_slice(x, tf.stack([0, i]), tf.stack([0, i]), [1, 1], 1, 1, shrink_axis_mask=2, name="column")
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "m.meta")
    numbers = np.arange(3, dtype=np.float32)
    assert model.run("one:0", {"i": 2, "x": numbers}) == 2
    for at in (3, -4):
        with pytest.raises(gr.OpError, match=f"node 'one' .*slice index {at} of dimension 0 is out of bounds"):
            model.run("one:0", {"i": at, "x": numbers})
    with pytest.raises(gr.OpError, match="node 'column' .*slice index 1 of dimension 1 is out of bounds"):
        model.run("column:0", {"i": 1, "x": numbers[:, None]})
    with pytest.raises(gr.OpError, match="node 'one' .*more than the 0 dimensions"):
        model.run("one:0", {"i": 0, "x": np.float32(1)})
    with pytest.raises(gr.OpError, match="node 'column' .*more than the 1 dimensions"):
        model.run("column:0", {"i": 0, "x": numbers})
    with pytest.raises(gr.OpError, match="node 'one' .*begin must be a (scalar|vector)"):
        model.run("one:0", {"i": [0, 1], "x": numbers})


def test_an_element_in_a_branch_is_taken_only_where_all_that_it_waits_for_is(tmp_path: Path) -> None:
    with session() as sess:
        i, x = tf.placeholder(tf.int32, [], name="i"), tf.placeholder(tf.float32, [None], name="x")
        _, taken = raw.Switch(data=i + 1, pred=i > 0)
        one = tf.strided_slice(x, tf.stack([i]), tf.stack([taken]), [1], shrink_axis_mask=1)
        raw.Merge(inputs=[one, raw.Switch(data=-1.0, pred=i > 0)[0]], name="chosen")
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
        model = gr.load(tmp_path / "m.meta")
        for at in (0, 1, 2):
            fed = {"i:0": np.int32(at), "x:0": np.array([3, 4, 5], np.float32)}
            assert model.run("chosen:0", fed) == sess.run("chosen:0", fed) == (at + 3 if at else -1)


@pytest.mark.parametrize("optimizer", ["Adagrad", "Ftrl", "Momentum", "RMSProp"])
@pytest.mark.parametrize("resource", [False, True])
def test_rows_looked_up_once_or_several_times_are_trained_as_by_tensorflow(
    optimizer: str, resource: bool, tmp_path: Path
) -> None:
    with session() as sess, tf.variable_scope("", use_resource=resource):
        table = tf.get_variable("table", initializer=np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3))
        ids = tf.placeholder(tf.int32, [None], name="ids")
        loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, ids)))
        extra = {"momentum": 0.9} if optimizer == "Momentum" else {}
        train = getattr(tf.train, f"{optimizer}Optimizer")(0.1, **extra).minimize(loss, name="train")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
        model = gr.load(tmp_path / "m", engine="numpy")
        (unique,) = [op.outputs[0].name for op in sess.graph.get_operations() if op.type == "Unique"]
        for looked_up in ([1, 4, 6], [5, 5, 0, 5], [], list(range(8)) * 20, [7]):
            found = model.run([unique, "train"], {"ids": looked_up})[0]
            assert found.tolist() == list(dict.fromkeys(looked_up))
            model.run("train", {"ids": looked_up})
            for _ in range(2):
                sess.run(train, {ids: looked_up})
            np.testing.assert_allclose(model.variables["table"], sess.run(table), rtol=1e-4, atol=1e-6)
        assert {"Unique", "UnsortedSegmentSum"}.isdisjoint(step.op for step in model.explain("train").steps)
        with pytest.raises(gr.OpError, match=r"indices\[1\] = 8 is not in \[0, 8\)"):
            model.run("train", {"ids": [0, 8]})


def test_sums_of_rows_that_are_fed_are_taken_as_they_are(tmp_path: Path) -> None:
    with session() as sess:
        table = tf.get_variable("table", initializer=np.zeros((4, 1), np.float32))
        ids = tf.placeholder(tf.int32, [None], name="ids")
        loss = tf.reduce_sum(tf.nn.embedding_lookup(table, ids))
        tf.train.AdagradOptimizer(1.0, initial_accumulator_value=1.0).minimize(loss, name="train")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
        (sums,) = [op.outputs[0].name for op in sess.graph.get_operations() if op.type == "UnsortedSegmentSum"]
        feeds = {"ids:0": [1, 1], sums: np.array([[3.0]], np.float32)}
        model = gr.load(tmp_path / "m", engine="numpy")
        model.run("train", feeds)
        sess.run("train", feeds)
        np.testing.assert_allclose(model.variables["table"], sess.run(table), rtol=1e-6)
        assert model.variables["table"][1] < -0.9


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32], ids=lambda dtype: dtype.__name__)
def test_a_maximum_with_a_constant_is_tensorflows_for_few_values_and_for_many(tmp_path: Path, dtype: type) -> None:
    odd = [np.nan, np.inf, -np.inf, -0.0] if np.dtype(dtype).kind == "f" else [np.iinfo(dtype).min, 0]
    bounds = [1, 0, *odd]
    with session() as sess:
        x = tf.placeholder(dtype, name="x")
        fetches = [f(x, np.array(b, dtype)) for b in bounds for f in (tf.maximum, tf.minimum)]
        fetches += [f(np.array(b, dtype), x) for b in bounds for f in (tf.maximum, tf.minimum)]
        fetches += [tf.maximum(x, np.array([1], dtype)), tf.maximum(np.array(2, dtype), np.array(3, dtype))]
        fetches += [f(x) for f in (tf.nn.relu, tf.nn.relu6)]
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
        model = gr.load(tmp_path / "m.meta")
        for shape in ((), (3,), (0, 3), (7, 5), (60, 50)):
            value = np.resize(np.array([-2, 0.5, 1, 7, *odd], dtype), shape)
            for found, wanted in zip(
                model.run([t.name for t in fetches], {"x": value}), sess.run(fetches, {x: value}), strict=True
            ):
                assert found.dtype == wanted.dtype
                np.testing.assert_array_equal(found, wanted)
