"""What a plan leaves out or remembers, since it follows from shapes or since nobody takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_control_flow import control_flow
from tf_models import session

import graphrack as gr


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
    for size in (2, 5, 2):
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
