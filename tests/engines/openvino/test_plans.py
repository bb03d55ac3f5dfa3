"""Clusters in plans that write, in branches, loops and functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from endtoend.harness import STYLES, style
from engines.openvino.running import clusters, noted_runs, states
from tf_models import session

import graphrack as gr

RNG = np.random.default_rng(1)


def normal(*shape: int) -> Any:
    return (0.3 * RNG.normal(size=shape)).astype(np.float32)


def pair(prefix: Path) -> tuple[gr.Model, gr.Model]:
    return gr.load(prefix, engine="openvino"), gr.load(prefix, engine="numpy")


def saved(sess: Any, folder: Path) -> Path:
    sess.run(tf.global_variables_initializer())
    tf.train.Saver().save(sess, str(folder / "m"))
    return folder / "m"


def conv_loss(x: Any) -> Any:
    y = tf.nn.relu(tf.nn.conv2d(x, tf.Variable(normal(3, 3, 2, 4), name="k"), [1, 1, 1, 1], "SAME"))
    y = tf.nn.relu(tf.nn.conv2d(y, tf.Variable(normal(3, 3, 4, 4), name="k2"), [1, 2, 2, 1], "SAME"))
    return tf.reduce_mean(
        tf.square(tf.matmul(tf.reshape(y, [-1, 64]), tf.Variable(normal(64, 3), name="w"))), name="loss"
    )


@pytest.mark.parametrize("name", STYLES)
def test_training_is_the_interpreters_and_variables_are_as_fresh(tmp_path: Path, name: str) -> None:
    with style(name) as sess:
        x = tf.placeholder(tf.float32, [None, 8, 8, 2], name="x")
        loss = conv_loss(x)
        with tf.control_dependencies([tf.assign_add(tf.Variable(0.0, name="count"), 1.0)]):
            step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, name="step")
        with tf.control_dependencies([step]):
            tf.reduce_sum(tf.matmul(tf.Variable(normal(2, 2), name="v"), tf.ones([2, 2])), name="after")
        prefix = saved(sess, tmp_path)
    fast, slow = pair(prefix)
    data = normal(5, 8, 8, 2)
    for _ in range(4):
        found, expected = (m.run(["loss", "step", "after"], {"x": data}) for m in (fast, slow))
        assert found[0] == pytest.approx(expected[0], rel=1e-4)
        assert found[2] == pytest.approx(expected[2], rel=1e-4)
    for key in slow.variables:
        np.testing.assert_allclose(fast.variables[key], slow.variables[key], rtol=1e-3, atol=1e-5)
    made = [cluster for cluster in clusters(fast) if cluster.interface.weights]
    assert made
    assert all(cluster.fluid for cluster in made)
    ops = {part.op for cluster in made if cluster.state() == "compiled" for part in cluster.interface.parts}
    assert {"Conv2D", "Conv2DBackpropInput", "MatMul"} <= ops
    # Compiled once, whatever the weights.
    assert all(len(cluster.programs) == 1 for cluster in made)


def test_a_read_before_and_a_read_after_an_assignment_are_two_values(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        w = tf.Variable(normal(3, 3), name="w")
        before = tf.nn.relu(tf.matmul(x, w), name="before")
        with tf.control_dependencies([before]):
            assigned = tf.assign(w, tf.ones([3, 3]))
        with tf.control_dependencies([assigned]):
            tf.add(before, tf.matmul(x, w.read_value()), name="sum")
        prefix = saved(sess, tmp_path)
    data = normal(4, 3)
    fast, slow = pair(prefix)
    for _ in range(2):
        for one, other in zip(*(m.run(["before", "sum"], {"x": data}) for m in (fast, slow)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", STYLES)
def test_branches_hold_clusters(tmp_path: Path, name: str) -> None:
    with style(name) as sess:
        x, p = tf.placeholder(tf.float32, [None, 6], name="x"), tf.placeholder(tf.bool, [], name="p")
        a, b = tf.Variable(normal(6, 4)), tf.Variable(normal(6, 4))
        y = tf.cond(p, lambda: tf.nn.relu(tf.matmul(tf.tanh(x), a)) + 1.0, lambda: tf.matmul(x, b) * 2.0)
        tf.nn.softmax(y, name="out")
        prefix = saved(sess, tmp_path)
    fast, slow = pair(prefix)
    for chosen in (True, False, True):
        feeds = {"x": normal(3, 6), "p": chosen}
        np.testing.assert_allclose(fast.run("out", feeds), slow.run("out", feeds), rtol=1e-4, atol=1e-6)
    assert states(fast).count("compiled") >= 3
    ops = [{part.op for part in cluster.interface.parts} for cluster in clusters(fast)]
    assert sum("MatMul" in one for one in ops) == 2


@pytest.mark.parametrize("name", STYLES)
def test_loops_hold_clusters_with_their_invariants_compiled_in(tmp_path: Path, name: str) -> None:
    with style(name) as sess:
        x = tf.placeholder(tf.float32, [None, 6], name="x")
        w, u = tf.Variable(normal(6, 6)), tf.Variable(normal(6, 6))

        def body(i: Any, h: Any) -> Any:
            gates = tf.matmul(h, w) + tf.matmul(x, u)
            one, other = tf.split(tf.concat([gates, h], 1), 2, axis=1)
            return i + 1, tf.tanh(one) * tf.sigmoid(other)

        _, last = tf.while_loop(lambda i, h: tf.logical_and(i < 5, tf.reduce_sum(h) < 100.0), body, [0, x])
        tf.nn.relu(last, name="out")
        prefix = saved(sess, tmp_path)
    fast, slow = pair(prefix)
    for size in (2, 5):
        feeds = {"x": normal(size, 6)}
        np.testing.assert_allclose(fast.run("out", feeds), slow.run("out", feeds), rtol=1e-4, atol=1e-6)
    bodies = [c for c in clusters(fast) if "Split" in {part.op for part in c.interface.parts}]
    assert [c.state() for c in bodies] == ["compiled"]
    assert len(bodies[0].interface.weights) == 2


def network(*, rank: int | None) -> Callable[[Path], gr.Model]:
    def load(folder: Path) -> gr.Model:
        graph = tf.Graph()
        with graph.as_default():
            x = tf.placeholder(tf.float32, None if rank is None else [None] * rank, name="x")
            tf.nn.relu(tf.matmul(x, tf.constant(normal(4, 3))), name="out")
        tf.io.write_graph(graph.as_graph_def(), str(folder), "g.pb", as_text=False)
        return gr.load(folder / "g.pb", engine="openvino")

    return load


def test_placeholders_of_unknown_rank_and_empty_batches(tmp_path: Path) -> None:
    model = network(rank=None)(tmp_path)
    assert model.run("out", {"x": np.zeros((0, 4), np.float32)}).shape == (0, 3)
    assert "compiled" not in states(model)
    assert model.run("out", {"x": normal(2, 4)}).shape == (2, 3)
    assert states(model) == ["compiled"]


def test_auto_counts_what_shapes_cost_that_change_from_run_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = noted_runs(monkeypatch)
    graph = tf.Graph()
    with graph.as_default():
        y = tf.placeholder(tf.float32, [None, None, None, 16], name="x")
        for _ in range(12):
            y = tf.nn.relu(tf.nn.conv2d(y, tf.constant(normal(3, 3, 16, 16) / 9), [1, 1, 1, 1], "SAME"))
        tf.identity(y, name="y")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
    model, judge = (gr.load(tmp_path / "g.pb", engine=engine) for engine in ("auto", "numpy"))
    small, other, large = normal(1, 10, 10, 16), normal(1, 11, 10, 16), normal(1, 96, 96, 16)
    model.warmup({"x": normal(1, 9, 10, 16)}, "y")
    plan = model.explain("y", {"x": small})
    assert [cluster.state for cluster in plan.clusters] == ["compiled"]

    def by_openvino(data: np.ndarray[Any, Any]) -> bool:
        runs.clear()
        np.testing.assert_allclose(model.run("y", {"x": data}), judge.run("y", {"x": data}), rtol=1e-4, atol=1e-4)
        return any(runs)

    assert [by_openvino(data) for data in (small, small)] == [True, True]
    assert [by_openvino(data) for data in (other, small, other)] == [False, False, False]
    assert by_openvino(other)
    assert [by_openvino(data) for data in (large, other, large)] == [True, False, True]


def test_auto_leaves_small_things_alone_and_takes_large_ones(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [None, None, None, 16], name="x")
        tf.matmul(tf.reduce_mean(x, [1, 2]), tf.constant(normal(16, 4)), name="small")
        tf.nn.relu(tf.nn.conv2d(x, tf.constant(normal(3, 3, 16, 32)), [1, 1, 1, 1], "SAME"), name="large")
        tf.add(tf.reduce_sum(x), 1.0, name="light")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
    model = gr.load(tmp_path / "g.pb", engine="auto")
    data = normal(1, 96, 96, 16)
    assert not model.explain("light").clusters
    for _ in range(40):
        model.run("small", {"x": data[:, :2, :2]})
    assert states(model) == ["left to the interpreter, which is as fast"]
    expected = gr.load(tmp_path / "g.pb", engine="numpy").run("large", {"x": data})
    model.warmup({"x": data}, "large")
    np.testing.assert_allclose(model.run("large", {"x": data}), expected, rtol=1e-4, atol=1e-5)
    large = model.explain("large", {"x": data}, profile=True).clusters[0]
    assert large.openvino_seconds is not None
    assert large.interpreter_seconds is not None
    assert large.openvino_seconds < large.interpreter_seconds
