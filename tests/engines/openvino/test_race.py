"""Clusters whose runs are measured: the faster of OpenVINO and the interpreter goes on with them."""

from __future__ import annotations

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

RNG = np.random.default_rng(4)
LEFT = "left to the interpreter, which is as fast"


def normal(*shape: int) -> Any:
    return (0.3 * RNG.normal(size=shape)).astype(np.float32)


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch, as_estimated: None) -> None:
    monkeypatch.setattr(race, "LEAST_S", 10.0)
    # What earlier tests have compiled may be stored meanwhile.
    monkeypatch.setattr(step.background, "is_busy", lambda: False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    graph = tf.Graph()
    with graph.as_default():
        y = tf.placeholder(tf.float32, [None, 64], name="x")
        for _ in range(4):
            y = tf.nn.relu(tf.matmul(y, tf.constant(normal(64, 64) / 4)))
        tf.identity(y, name="y")
        tf.strings.as_string(tf.shape(y), name="sizes")  # which the interpreter computes
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
    return tmp_path


class Clock:
    """Seconds that pass as the ways are said to take, however busy the machine is."""

    def __init__(self) -> None:
        self.now = 0.0

    def slowed(self, call: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def slow(*arguments: Any) -> Any:
            self.now += seconds
            return call(*arguments)

        return slow


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What races are timed by."""
    clock = Clock()
    monkeypatch.setattr(race, "perf_counter", lambda: clock.now)
    return clock


def test_the_interpreter_goes_on_where_it_is_the_faster(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(step.ClusterProgram, "run", clock.slowed(step.ClusterProgram.run, 0.2))
    model, data = gr.load(folder / "g.pb", engine="auto"), normal(256, 64)
    expected = gr.load(folder / "g.pb", engine="numpy").run("y", {"x": data})
    model.warmup({"x": data}, "y")
    model.run("y", {"x": data})
    assert states(model) == [LEFT]
    assert not clusters(model)[0].programs
    for _ in range(3):
        np.testing.assert_array_equal(model.run("y", {"x": data}), expected)
    assert not clusters(model)[0].programs


def test_openvino_goes_on_where_it_is_the_faster(folder: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    model, data = gr.load(folder / "g.pb", engine="auto"), normal(256, 64)
    expected = gr.load(folder / "g.pb", engine="numpy").run("y", {"x": data})
    own = step.ClusterStep._by_interpreter
    runs = []

    def slow(cluster: Any, frame: Any) -> None:
        runs.append(1)
        clock.now += 0.2
        own(cluster, frame)

    monkeypatch.setattr(step.ClusterStep, "_by_interpreter", slow)
    model.warmup({"x": data}, "y")
    runs.clear()
    model.run("y", {"x": data})
    assert states(model) == ["compiled"]
    assert not runs
    for rows in (256, 256, 256, 300):  # of the same magnitude
        found = model.run("y", {"x": normal(rows, 64)})
        assert found.shape == (rows, 64)
    np.testing.assert_allclose(model.run("y", {"x": data}), expected, rtol=1e-4, atol=1e-5)
    assert len(runs) <= 2  # those on new sizes, which would cost OpenVINO more


def test_work_of_another_magnitude_is_measured_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    model = gr.load(folder / "g.pb", engine="auto")
    run = step.ClusterProgram.run

    def slow_on_few(program: Any, inputs: Any, *others: Any) -> Any:
        clock.now += 0.2 if len(inputs[0]) < 1000 else 0.0
        return run(program, inputs, *others)

    own = step.ClusterStep._by_interpreter

    def slow_on_many(cluster: Any, frame: Any) -> None:
        value = frame[cluster.slots[0]]
        clock.now += 0.2 if len(value) >= 1000 else 0.0
        own(cluster, frame)

    monkeypatch.setattr(step.ClusterProgram, "run", slow_on_few)
    monkeypatch.setattr(step.ClusterStep, "_by_interpreter", slow_on_many)
    few, many = normal(128, 64), normal(4096, 64)
    model.warmup({"x": few}, "y")
    model.run("y", {"x": few})
    assert states(model) == [LEFT]
    model.warmup({"x": many}, "y")
    assert states(model) == ["compiled"]
    judge = gr.load(folder / "g.pb", engine="numpy")
    runs = noted_runs(monkeypatch)
    for data, by_openvino in ((few, False), (many, True)):
        model.run("y", {"x": data})
        runs.clear()
        np.testing.assert_allclose(model.run("y", {"x": data}), judge.run("y", {"x": data}), rtol=1e-4, atol=1e-5)
        assert any(runs) == by_openvino


def test_the_engine_openvino_is_not_measured(folder: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(step.ClusterProgram, "run", clock.slowed(step.ClusterProgram.run, 0.02))
    model = gr.load(folder / "g.pb", engine="openvino")
    for _ in range(2):
        model.run("y", {"x": normal(4, 64)})
    assert states(model) == ["compiled"]


def test_a_cluster_that_rests_looks_again_when_its_input_has_another_shape(folder: Path) -> None:
    model, judge = (gr.load(folder / "g.pb", engine=engine) for engine in ("auto", "numpy"))
    one, many = normal(1, 64), normal(4096, 64)
    for _ in range(40):  # too little for OpenVINO
        model.run("y", {"x": one})
    assert states(model) == [LEFT]
    model.warmup({"x": many}, "y")
    assert clusters(model)[0].programs or states(model) == [LEFT]
    assert clusters(model)[0]._race._won  # it was measured
    for data in (one, many, one):
        np.testing.assert_allclose(model.run("y", {"x": data}), judge.run("y", {"x": data}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("own_is_faster", [True, False])
def test_what_wins_by_little_goes_on_until_a_program_for_the_very_sizes_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, own_is_faster: bool
) -> None:
    run = step.ClusterProgram.run

    def by_little(program: Any, *arguments: Any) -> Any:
        any_sizes = None in program.inputs[0].shape
        clock.now += 0.0 if own_is_faster and not any_sizes else 0.185
        return run(program, *arguments)

    monkeypatch.setattr(race, "CLEARLY", 0.85)
    monkeypatch.setattr(step.ClusterProgram, "run", by_little)
    monkeypatch.setattr(step.ClusterStep, "_by_interpreter", clock.slowed(step.ClusterStep._by_interpreter, 0.2))
    model, data = gr.load(folder / "g.pb", engine="auto"), normal(256, 64)
    model.warmup({"x": data}, ["y", "sizes"])
    model.run(["y", "sizes"], {"x": data})
    (cluster,) = clusters(model)
    end = time.monotonic() + 60
    while not [key for key in cluster._race._won if not isinstance(key, int)] and time.monotonic() < end:
        model.run(["y", "sizes"], {"x": data})
        if states(model) == [LEFT]:
            break
    assert states(model) == ["compiled" if own_is_faster else LEFT]


def test_what_is_a_whole_run_goes_on_where_it_wins_by_little(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(step.ClusterProgram, "run", clock.slowed(step.ClusterProgram.run, 0.0019))
    monkeypatch.setattr(step.ClusterStep, "_by_interpreter", clock.slowed(step.ClusterStep._by_interpreter, 0.002))
    model, data = gr.load(folder / "g.pb", engine="auto"), normal(256, 64)
    for fetches, expected in (("y", "compiled"), (["y", "sizes"], LEFT)):
        model.warmup({"x": data}, fetches)
        model.run(fetches, {"x": data})
        assert states(model)[-1] == expected


# Large ones


def trained(folder: Path) -> tuple[gr.Model, dict[str, Any]]:
    """A model with one cluster that trains, and what is fed: the interpreter is thought to take 30 ms."""
    graph = tf.Graph()
    with graph.as_default(), tf.Session(graph=graph) as session:
        x = tf.placeholder(tf.float32, [None, 512], name="x")
        w = tf.get_variable("w", [512, 512], initializer=tf.constant_initializer(0.01))
        loss = tf.reduce_sum(tf.square(tf.matmul(tf.nn.relu(tf.matmul(x, w)), w)))
        tf.train.GradientDescentOptimizer(1e-9).minimize(loss, name="step")
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(folder / "m"))
    return gr.load(folder / "m", engine="auto"), {"x": normal(512, 512)}


def measured_cluster(model: gr.Model, fed: dict[str, Any], seconds: float = 60.0) -> step.ClusterStep:
    """The model's cluster, once it has been measured or the time is over."""
    model.run("step", fed)
    (cluster,) = clusters(model)
    end = time.monotonic() + seconds
    while not cluster._race._won and time.monotonic() < end:
        model.run("step", fed)
    return cluster


@pytest.fixture
def of_matrices_that_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "LEAST_S", 0.0)
    monkeypatch.setattr(race, "LEAST_UNREADY_S", 10.0)


@pytest.mark.parametrize("slow", ["OpenVINO", "the interpreter"])
def test_products_of_matrices_that_change_are_measured_however_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, of_matrices_that_change: None, slow: str
) -> None:
    model, fed = trained(tmp_path)
    if slow == "OpenVINO":
        monkeypatch.setattr(step.ClusterProgram, "run", clock.slowed(step.ClusterProgram.run, 0.6))
    else:
        monkeypatch.setattr(step.ClusterStep, "_by_interpreter", clock.slowed(step.ClusterStep._by_interpreter, 0.6))
    cluster = measured_cluster(model, fed)
    assert cluster.fluid
    assert cluster.state() == (LEFT if slow == "OpenVINO" else "compiled")
    runs = noted_runs(monkeypatch)
    model.run("step", fed)
    assert any(runs) == (slow != "OpenVINO")
    assert not cluster.programs or slow != "OpenVINO"


def test_large_products_that_openvino_has_put_in_order_are_not_measured(
    folder: Path, of_matrices_that_change: None
) -> None:
    model, data = gr.load(folder / "g.pb", engine="auto"), normal(4096, 64)
    model.warmup({"x": data}, "y")
    model.run("y", {"x": data})
    assert states(model) == ["compiled"]
    assert not clusters(model)[0]._race._won


def test_nothing_is_measured_while_something_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_matrices_that_change: None
) -> None:
    monkeypatch.setattr(step.background, "is_busy", lambda: True)
    model, fed = trained(tmp_path)
    runs = noted_runs(monkeypatch)
    while not any(runs):
        assert not measured_cluster(model, fed, 0.1)._race._won
    assert not measured_cluster(model, fed, 0.1)._race._won
    monkeypatch.setattr(step.background, "is_busy", lambda: False)
    assert measured_cluster(model, fed)._race._won


@pytest.mark.parametrize(("seconds", "times"), [(0.0, 5), (0.03, 2), (0.3, 1)])
def test_what_takes_long_runs_few_times(clock: Clock, seconds: float, times: int) -> None:
    contest, runs = race.Race(), list[str]()

    def way(name: str) -> Callable[..., None]:
        return clock.slowed(lambda: runs.append(name), seconds)

    contest.pending = 3
    assert contest.hold(way("openvino"), way("interpreter"), among_others=True, may_wait=False) == 3
    assert runs == ["openvino", "interpreter"] * times


@pytest.mark.parametrize(("seconds", "times"), [(0.0, 12), (0.03, 2), (0.6, 1)])
def test_what_is_a_whole_run_is_measured_many_times_in_a_row(clock: Clock, seconds: float, times: int) -> None:
    contest, runs = race.Race(), list[str]()

    def way(name: str) -> Callable[..., None]:
        return clock.slowed(lambda: runs.append(name), seconds)

    contest.pending = 3
    assert contest.hold(way("openvino"), way("interpreter"), among_others=False, may_wait=False) == 3
    assert runs == ["openvino"] * times + ["interpreter"] * times
