"""Sizes that come again and again: compiled for themselves, beside what is compiled for any."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from engines.openvino.running import clusters, noted_runs, states

import graphrack as gr
from graphrack.engines.openvino import race, step

RNG = np.random.default_rng(8)
SIZES = [40, 56, 72]


def normal(*shape: int) -> Any:
    return (0.3 * RNG.normal(size=shape)).astype(np.float32)


@pytest.fixture
def network(tmp_path: Path) -> Callable[[str], gr.Model]:
    graph = tf.Graph()
    with graph.as_default():
        y = tf.placeholder(tf.float32, [None, None, None, 16], name="x")
        for _ in range(6):
            y = tf.nn.relu(tf.nn.conv2d(y, tf.constant(normal(3, 3, 16, 16) / 9), [1, 1, 1, 1], "SAME"))
        tf.identity(y, name="y")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
    return lambda engine: gr.load(tmp_path / "g.pb", engine=engine)


def owned(model: gr.Model) -> list[Any]:
    """The shapes of what is compiled for certain ones."""
    found = [known for cluster in clusters(model) for known in cluster._known.values() if known.own is not None]
    return sorted(known.own.inputs[0].shape for known in found if known.own.is_compiled)


def wait_for(model: gr.Model, count: int) -> None:
    end = time.monotonic() + 60
    while len(owned(model)) < count and time.monotonic() < end:
        time.sleep(0.02)
    assert len(owned(model)) == count


def same(model: gr.Model, judge: gr.Model, *arrays: Any) -> None:
    for array in arrays:
        np.testing.assert_allclose(model.run("y", {"x": array}), judge.run("y", {"x": array}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_sizes_that_come_in_turn_are_compiled_for_themselves(network: Callable[[str], gr.Model], engine: str) -> None:
    model, judge = network(engine), network("numpy")
    arrays = [normal(1, size, size, 16) for size in SIZES]
    for _ in range(40):
        same(model, judge, *arrays)
    wait_for(model, 3)
    assert owned(model) == [(1, size, size, 16) for size in SIZES]
    for _ in range(3):
        same(model, judge, *arrays, normal(2, 33, 45, 16))
    assert states(model) == ["compiled"]


def test_a_size_that_is_run_long_enough_is_compiled_for_itself(network: Callable[[str], gr.Model]) -> None:
    model, judge, array = network("auto"), network("numpy"), normal(1, 64, 64, 16)
    model.warmup(fetches="y")
    assert not owned(model)
    for _ in range(2):
        same(model, judge, array)
    assert not owned(model)
    end = time.monotonic() + 60
    while not owned(model) and time.monotonic() < end:
        model.run("y", {"x": array})
    wait_for(model, 1)
    same(model, judge, array, normal(1, 65, 64, 16), array)


def test_a_warm_up_compiles_for_its_sizes_and_for_any(network: Callable[[str], gr.Model]) -> None:
    model, judge, array = network("auto"), network("numpy"), normal(1, 64, 64, 16)
    model.warmup({"x": array}, "y")
    same(model, judge, array)
    assert owned(model) == [array.shape]
    assert sum(bool(program.executables()) for program in clusters(model)[0].programs.values()) == 2
    same(model, judge, array, normal(1, 96, 96, 16), array)
    assert owned(model) == [array.shape]


def test_no_more_sizes_than_are_worth_it(network: Callable[[str], gr.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "_MAX_OWN", 2)
    model, judge = network("openvino"), network("numpy")
    arrays = [normal(1, size, size, 16) for size in SIZES]
    for array in arrays:
        model.warmup({"x": array}, "y")
    for _ in range(8):
        same(model, judge, *arrays)
    assert len(owned(model)) == 2


def test_large_weights_are_not_held_twice(network: Callable[[str], gr.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "_MAX_OWN_BYTES", 6 * 9 * 16 * 16 * 4 - 1)
    model = network("openvino")
    for size in SIZES * 5:
        model.warmup({"x": normal(1, size, size, 16)}, "y")
    assert not owned(model)


def test_a_size_for_which_the_interpreter_is_the_faster_is_left_to_it(
    network: Callable[[str], gr.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "LEAST_S", 10.0)
    run = step.ClusterProgram.run

    def slow(program: Any, *arguments: Any) -> Any:
        if program.inputs[0].shape is not None and None not in program.inputs[0].shape:
            time.sleep(0.2)
        return run(program, *arguments)

    monkeypatch.setattr(step.ClusterProgram, "run", slow)
    model, judge, array = network("auto"), network("numpy"), normal(1, 64, 64, 16)
    model.warmup({"x": array}, "y")
    for _ in range(3):
        same(model, judge, array)
    assert not owned(model)


def test_models_of_one_graph_get_their_own_results(tmp_path: Path) -> None:
    paths = []
    for number in range(4):
        with tf.Graph().as_default(), tf.Session() as sess:
            y = tf.placeholder(tf.float32, [None, None, None, 16], name="x")
            for i in range(4):
                weights = tf.get_variable(f"w{i}", [3, 3, 16, 16], initializer=tf.zeros_initializer())
                y = tf.nn.relu(tf.nn.conv2d(y, weights, [1, 1, 1, 1], "SAME"))
            tf.identity(y, name="y")
            saver = tf.train.Saver()
            for variable in tf.global_variables():
                variable.load(normal(3, 3, 16, 16) / 5, sess)
            paths.append(saver.save(sess, str(tmp_path / str(number) / "m")))
    models, judges = ([gr.load(path, engine=engine) for path in paths] for engine in ("openvino", "numpy"))
    array = normal(1, 40, 40, 16)
    for model in models[:2]:
        model.warmup({"x": array}, "y")
    for _ in range(3):
        for model, judge in zip(models, judges, strict=True):
            same(model, judge, array, normal(1, 41, 40, 16))
    assert all(state == "compiled" for model in models for state in states(model))


@pytest.mark.parametrize("waits", [True, False])
def test_what_openvino_fails_on_for_certain_sizes_it_runs_for_any(
    network: Callable[[str], gr.Model], monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    run = step.ClusterProgram.run

    def failing(program: Any, *arguments: Any) -> Any:
        results = run(program, *arguments)
        if results is not None and None not in program.inputs[0].shape:
            raise RuntimeError("no executor")
        return results

    monkeypatch.setattr(step.ClusterProgram, "run", failing)
    model, judge, array = network("openvino"), network("numpy"), normal(1, 64, 64, 16)
    if waits:
        model.warmup({"x": array}, "y")
    for _ in range(60):
        same(model, judge, array)
    assert not owned(model)
    assert states(model) == ["compiled"]


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_threads_that_run_other_sizes_of_one_model_get_their_own_results(
    network: Callable[[str], gr.Model], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "LEAST_S", 10.0)
    monkeypatch.setattr(step, "_MAX_SHAPES", 5)  # all that is known is forgotten now and then
    model, judge = network(engine), network("numpy")
    arrays = [normal(1, size, size, 16) for size in (8, 9, 10, 24, 25, 40)]
    expected = [judge.run("y", {"x": array}) for array in arrays]
    failures: list[Any] = []

    def work(number: int) -> None:
        try:
            for i in range(120):
                at = (number + i // 3) % len(arrays)
                found = model.run("y", {"x": arrays[at]})
                np.testing.assert_allclose(found, expected[at], rtol=1e-4, atol=1e-5)
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A step of training a perceptron: `step` on `x`, whose loss is `loss`."""
    with tf.Graph().as_default(), tf.Session() as sess:
        y = tf.placeholder(tf.float32, [None, 256], name="x")
        for i in range(3):
            weights = tf.get_variable(f"w{i}", initializer=normal(256, 256) / 16)
            y = tf.nn.relu(tf.nn.bias_add(tf.matmul(y, weights), tf.get_variable(f"b{i}", [256])))
        loss = tf.reduce_mean(tf.square(y - 1.0), name="loss")
        tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="step")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    return tmp_path / "m"


def train(model: gr.Model, judge: gr.Model, *batches: int) -> None:
    for batch in batches:
        data = normal(batch, 256)
        found, expected = (one.run(["loss", "step"], {"x": data})[0] for one in (model, judge))
        assert found == pytest.approx(expected, rel=1e-4)
    for name in judge.variables:
        np.testing.assert_allclose(model.variables[name], judge.variables[name], rtol=1e-3, atol=1e-5)


def made_for(model: gr.Model) -> list[set[Any]]:
    """For each compiled cluster whether its programs are for certain sizes."""
    programs = [list(cluster.programs.values()) for cluster in clusters(model)]
    return [{None not in (p.inputs[0].shape or (None,)) for p in some if p.is_compiled} for some in programs if some]


def test_a_model_that_trains_on_few_sizes_gets_programs_for_these_alone(training: Path) -> None:
    model, judge = (gr.load(training, engine=engine) for engine in ("auto", "numpy"))
    for batch in (512, 300):
        model.warmup({"x": normal(batch, 256)}, "loss")
        train(model, judge, batch, batch)
    train(model, judge, *[512, 300] * 4)
    end = time.monotonic() + 60
    while {True} not in made_for(model) and time.monotonic() < end:
        train(model, judge, 512, 300)
    assert made_for(model)
    assert all(found == {True} for found in made_for(model) if found)


def test_a_model_that_trains_on_many_sizes_gets_one_for_any(training: Path) -> None:
    model, judge = (gr.load(training, engine=engine) for engine in ("auto", "numpy"))
    end = time.monotonic() + 60
    while not any(False in found for found in made_for(model)) and time.monotonic() < end:
        train(model, judge, 2048, 1200, 1600, 1800)
    assert any(False in found for found in made_for(model))


def test_sizes_that_runs_bring_are_constants_of_a_program_of_their_own(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [None, None, None, 4], name="x")
        size = tf.placeholder(tf.int32, [4], name="size")
        y = tf.nn.conv2d_transpose(tf.nn.relu(x), tf.constant(normal(3, 3, 5, 4)), size, [1, 2, 2, 1], "SAME")
        tf.nn.relu(y, name="y")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
    model, judge = (gr.load(tmp_path / "g.pb", engine=engine) for engine in ("openvino", "numpy"))

    def compare(height: int, width: int) -> None:
        feeds = {"x": normal(2, 4, 6, 4), "size": np.array([2, height, width, 5], np.int32)}
        model.warmup(feeds, "y")
        for _ in range(2):
            np.testing.assert_allclose(model.run("y", feeds), judge.run("y", feeds), rtol=1e-4, atol=1e-5)

    compare(8, 12)
    compare(7, 11)
    compare(8, 11)
    own = [known.own for cluster in clusters(model) for known in cluster._known.values()]
    assert len(own) == 3
    assert all(program is not None and [given.name[:5] for given in program.inputs] == ["input"] for program in own)


def test_a_size_that_is_left_to_the_interpreter_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, None, None, 3], name="images")
        size = tf.placeholder(tf.int32, [2], name="size")
        kernel = tf.constant(RNG.normal(size=(3, 3, 3, 16)).astype(np.float32))
        tf.nn.relu(tf.nn.conv2d(tf.image.resize_bilinear(images, size), kernel, 1, "SAME"), name="y")
        tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
    model = gr.load(tmp_path / "g.pb", engine="auto")
    levels = [{"images": np.ones((1, 200, 200, 3), np.float32), "size": [n, n]} for n in (128, 2)]
    model.warmup(levels[0], "y")
    ran = noted_runs(monkeypatch)
    for _ in range(20):
        for level in levels:
            model.run("y", level)
    assert ran == [True] * 20
