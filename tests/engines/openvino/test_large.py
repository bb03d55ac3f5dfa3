"""Plans whose values turn out large: regions that only pass over values become clusters then."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from endtoend.harness import STYLES, style
from engines.openvino.running import clusters, noted_runs

import graphrack as gr
from graphrack.engines.interpreter.plan import Plan
from graphrack.graph import shared

RNG = np.random.default_rng(5)


def overlaps(a: Any, b: Any) -> Any:
    """Of each box of the one list with each of the other, boxes being [top, left, bottom, right]."""
    top, left, bottom, right = (tf.expand_dims(corner, 1) for corner in tf.unstack(a, axis=1))
    top_b, left_b, bottom_b, right_b = (tf.expand_dims(corner, 0) for corner in tf.unstack(b, axis=1))
    height = tf.maximum(tf.minimum(bottom, bottom_b) - tf.maximum(top, top_b), 0.0)
    width = tf.maximum(tf.minimum(right, right_b) - tf.maximum(left, left_b), 0.0)
    common = height * width
    return common / ((bottom - top) * (right - left) + (bottom_b - top_b) * (right_b - left_b) - common)


def boxes(count: int) -> Any:
    corners, sizes = RNG.uniform(0, 1, (count, 2)), RNG.uniform(0.1, 0.5, (count, 2))
    return np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)


def written(folder: Path, build: Callable[[], object]) -> Path:
    graph = tf.Graph()
    with graph.as_default():
        build()
    path = folder / "g.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    def build() -> None:
        a = tf.placeholder(tf.float32, [None, 4], name="a")
        b = tf.placeholder(tf.float32, [None, 4], name="b")
        found = overlaps(a, b)
        tf.identity(found * tf.cast(found > 0.3, tf.float32), name="found")

    return written(tmp_path, build)


def plan_of(model: gr.Model) -> Plan:
    kept, engine = model._instance.graph.kept, model._instance.engine
    (call,) = (call for key, call in kept.items() if isinstance(key, tuple) and key[:2] == ("run", engine))
    assert isinstance(call.plan, Plan)
    return call.plan


def test_the_second_run_on_large_values_makes_clusters(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, judge = gr.load(pairs, engine="auto"), gr.load(pairs, engine="numpy")
    small, large = {"a": boxes(5), "b": boxes(7)}, {"a": boxes(300), "b": boxes(400)}
    model.run("found:0", large)
    plan = plan_of(model)
    assert plan.now is plan
    assert "values haven't been large" in str(model.explain("found:0", large))
    model.run("found:0", large)
    assert plan.now is not plan
    model.warmup(large, "found:0")
    ran = noted_runs(monkeypatch)
    for feeds in (large, small, large):
        np.testing.assert_allclose(model.run("found:0", feeds), judge.run("found:0", feeds), rtol=1e-4, atol=1e-6)
    assert any(ran)
    (cluster,) = model.explain("found:0", large).clusters
    assert cluster.state == "compiled"
    assert cluster.ops["Maximum"] == 4


def test_small_values_make_none_and_large_ones_are_noticed_later(pairs: Path) -> None:
    model = gr.load(pairs, engine="auto")
    small, large = {"a": boxes(5), "b": boxes(7)}, {"a": boxes(300), "b": boxes(400)}
    for _ in range(100):
        model.run("found:0", small)
    plan = plan_of(model)
    assert plan.now is plan
    for _ in range(2000):
        model.run("found:0", large)
        if plan.now is not plan:
            break
    assert plan.now is not plan


def test_warming_up_with_large_values_is_enough(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, feeds = gr.load(pairs, engine="auto"), {"a": boxes(300), "b": boxes(400)}
    model.warmup(feeds, "found:0")
    ran = noted_runs(monkeypatch)
    model.run("found:0", feeds)
    assert ran == [True]


def test_the_interpreter_alone_makes_none(pairs: Path) -> None:
    model, feeds = gr.load(pairs, engine="numpy"), {"a": boxes(300), "b": boxes(400)}
    for _ in range(4):
        model.run("found:0", feeds)
    assert plan_of(model).now is plan_of(model)


@pytest.mark.parametrize("name", STYLES)
def test_bodies_of_loops_and_branches_have_them_too(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with style(name) as sess:
        a, b = tf.placeholder(tf.float32, [None, 4], name="a"), tf.placeholder(tf.float32, [None, 4], name="b")

        def body(i: Any, total: Any) -> Any:
            found = tf.cond(i < 2, lambda: overlaps(a, b), lambda: tf.sqrt(overlaps(b, a) + 1.0))
            return i + 1, total + tf.reduce_sum(found)

        total = tf.while_loop(lambda i, _: i < 4, body, [0, 0.0])[1]
        tf.identity(total, name="total")
        feeds = {"a": boxes(300), "b": boxes(400)}
        expected = sess.run("total:0", {"a:0": feeds["a"], "b:0": feeds["b"]})
        sess.run(tf.Variable(0.0).initializer)
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    model = gr.load(tmp_path / "m", engine="auto")
    for _ in range(3):
        assert model.run("total:0", feeds) == pytest.approx(expected, rel=1e-4)
    model.warmup(feeds, "total:0")
    ran = noted_runs(monkeypatch)
    assert model.run("total:0", feeds) == pytest.approx(expected, rel=1e-4)
    assert any(ran)


def test_what_is_compiled_of_a_plan_stays(tmp_path: Path) -> None:
    def build() -> None:
        a = tf.placeholder(tf.float32, [None, 4], name="a")
        images = tf.placeholder(tf.float32, [None, 32, 32, 3], name="images")
        kernel = tf.constant(RNG.normal(size=(3, 3, 3, 8)).astype(np.float32))
        features = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME"), name="features")
        # What decodes texts stays between the two.
        threshold = tf.strings.to_number(tf.as_string(tf.reduce_mean(features)))
        tf.identity(overlaps(a, a) - threshold, name="found")

    path = written(tmp_path, build)
    model, judge = gr.load(path, engine="auto"), gr.load(path, engine="numpy")
    feeds = {"a": boxes(3), "images": RNG.uniform(size=(8, 32, 32, 3)).astype(np.float32)}
    model.warmup(feeds, "found:0")
    model.run("found:0", feeds)
    (before,) = clusters(model)
    assert before.state() == "compiled"
    programs = list(before.programs.values())
    feeds["a"] = boxes(400)
    model.warmup(feeds, "found:0")
    plan = plan_of(model)
    assert plan.now is not plan
    after = {step.interface.parts[0].op: step for step, _ in plan.now.clusters()}
    assert len(after) == 2
    assert list(after["Conv2D"].programs.values())[: len(programs)] == programs
    np.testing.assert_allclose(model.run("found:0", feeds), judge.run("found:0", feeds), rtol=1e-4, atol=1e-5)


def test_plans_that_change_variables_keep_to_the_interpreter(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default(), tf.Session(graph=graph) as sess:
        w = tf.Variable(tf.ones([300, 400]), name="w", use_resource=True)
        change = tf.sqrt(tf.exp(tf.sin(w) * 2.0) + 1.0)
        tf.group(tf.assign_sub(w, change), name="step")
        sess.run(w.initializer)
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    model = gr.load(tmp_path / "m", engine="auto")
    for _ in range(4):
        model.run("step")
    assert plan_of(model).now is plan_of(model)


def test_nor_are_they_compiled_anew_where_they_hold_products(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default(), tf.Session(graph=graph) as sess:
        x = tf.placeholder(tf.float32, [None, 64], name="x")
        w = tf.Variable(tf.ones([64, 64]), name="w", use_resource=True)
        product = tf.reduce_mean(tf.matmul(x, w))
        # What decodes texts stays between the two.
        scale = tf.strings.to_number(tf.as_string(product))
        loss = tf.reduce_mean(tf.sqrt(tf.exp(tf.sin(x) * 2.0) + 1.0) * scale, name="loss")
        with tf.control_dependencies([loss]):
            tf.group(tf.assign_sub(w, 0.1 * tf.ones([64, 64])), name="step")
        sess.run(w.initializer)
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    model, feeds = gr.load(tmp_path / "m", engine="auto"), {"x": RNG.normal(size=(2000, 64)).astype(np.float32)}
    for _ in range(4):
        model.run(["loss", "step"], feeds)
    plan = plan_of(model)
    assert plan.functions.watch.large
    assert plan.now is plan
    assert plan._larger is None
    assert "values haven't been large" not in str(model.explain(["loss", "step"], feeds))


def test_the_graphs_messages_are_let_go_of(pairs: Path) -> None:
    model, feeds = gr.load(pairs, engine="auto"), {"a": boxes(300), "b": boxes(400)}
    for _ in range(3):
        model.run("found:0", feeds)
    assert plan_of(model).now is not plan_of(model)
    graph = model._instance.graph
    shared._recent.clear()
    gc.collect()
    assert graph._index() is None


def test_threads_get_what_they_ask_for(pairs: Path) -> None:
    model, judge = gr.load(pairs, engine="auto"), gr.load(pairs, engine="numpy")
    asked = [{"a": boxes(300 + i), "b": boxes(400)} for i in range(4)]
    expected = [judge.run("found:0", feeds) for feeds in asked]
    model.run("found:0", asked[0])
    found: list[list[Any]] = [[] for _ in asked]

    def ask(i: int) -> None:
        for _ in range(10):
            found[i].append(model.run("found:0", asked[i]))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == 10
        for one in ours:
            np.testing.assert_allclose(one, theirs, rtol=1e-4, atol=1e-6)
    assert plan_of(model).now is not plan_of(model)
