"""Memory that a run uses again: nobody sees values that aren't theirs, and a run's peak is low."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from peaks import peak_of
from tf_control_flow import control_flow
from tf_models import session

import graphrack as gr
from graphrack.engines.interpreter import memory, strips

ROWS, COLUMNS = 4, 6
MB = 1 << 20
STRIP_BYTES = strips._STRIP_BYTES


@pytest.fixture(autouse=True)
def _whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEAST_BYTES", 1)
    monkeypatch.setattr(strips, "LEAST_BYTES", 1)
    monkeypatch.setattr(strips, "FEWEST", 2)
    monkeypatch.setattr(strips, "_STRIP_BYTES", 3 * 4 * COLUMNS)


@pytest.fixture
def strips_of_true_length(_whatever_its_size: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For large values, of which the short ones would be tens of thousands."""
    monkeypatch.setattr(strips, "_STRIP_BYTES", STRIP_BYTES)


# Graphs

UNARY: Sequence[Callable[[Any], Any]] = (
    tf.nn.relu, tf.nn.relu6, tf.nn.leaky_relu, tf.nn.softmax, tf.sigmoid, tf.tanh, tf.negative, tf.abs, tf.exp,
    tf.square, tf.floor, tf.erf, lambda x: tf.rsqrt(x * x + 1.0), lambda x: tf.maximum(x, 0.25), lambda x: tf.minimum(0.25, x),
    lambda x: 2.0 - x,
    lambda x: tf.nn.bias_add(x, tf.constant(np.arange(COLUMNS, dtype=np.float32))),
    lambda x: tf.nn.bias_add(x, tf.get_default_graph().get_collection("bias")[0]),
    lambda x: tf.reshape(tf.compat.v1.nn.fused_batch_norm(
        tf.reshape(x, [1, 1, ROWS, COLUMNS]), tf.ones(COLUMNS), tf.zeros(COLUMNS), tf.zeros(COLUMNS),
        tf.ones(COLUMNS), is_training=False)[0], [ROWS, COLUMNS]),
    # Views and the value itself.
    tf.identity, lambda x: tf.reshape(x, [ROWS, COLUMNS]), lambda x: tf.reshape(tf.reshape(x, [-1]), [ROWS, COLUMNS]),
    lambda x: tf.transpose(tf.transpose(x)), lambda x: tf.squeeze(x[None], 0), lambda x: x[:, :], lambda x: x[::-1],
    lambda x: tf.concat([x[:2], x[2:]], 0), tf.stop_gradient, lambda x: tf.identity_n([x, x])[1],
    lambda x: tf.broadcast_to(tf.reduce_mean(x, 0, keepdims=True), [ROWS, COLUMNS]),
    lambda x: x + x[:1], lambda x: x[:, :1] * x, lambda x: tf.reduce_sum(x) - x,
)  # fmt: skip
BINARY: Sequence[Callable[[Any, Any], Any]] = (
    tf.add, tf.subtract, tf.multiply, tf.maximum, tf.minimum, tf.squared_difference,
    lambda x, y: tf.add_n([x, y]), lambda x, y: tf.add_n([x, y, x]), lambda x, y: x / (tf.abs(y) + 1.0),
    lambda x, y: tf.where(x > y, x, y), lambda x, y: tf.raw_ops.ReluGrad(gradients=x, features=y),
    lambda x, y: tf.raw_ops.TanhGrad(y=x, dy=y), lambda x, y: tf.raw_ops.SigmoidGrad(y=x, dy=y),
    lambda x, y: tf.raw_ops.Relu6Grad(gradients=x, features=y),
    # Branches and loops, which hand on what they are given.
    lambda x, y: tf.cond(tf.reduce_sum(x) > 0, lambda: (tf.nn.relu(x), y), lambda: (y, -x))[0],
    lambda x, y: tf.cond(tf.reduce_sum(y) > 0, lambda: x, lambda: tf.exp(-tf.abs(x))),
    lambda x, y: tf.while_loop(lambda i, *_: i < 3, lambda i, a, b: (i + 1, b, tf.tanh(a + b)), [0, x, y])[1],
    lambda x, y: tf.while_loop(lambda i, _: i < 2, lambda i, a: (i + 1, tf.tanh(a * y)), [0, x])[1],
    lambda x, y: tf.while_loop(lambda i, _: i < 1, lambda i, a: (i + 1, a), [0, x])[1] * y,
    lambda x, y: _called(x, y),
)  # fmt: skip


@tf.function
def _called(x: Any, y: Any) -> Any:
    z = tf.nn.relu(x) + y
    return tf.tanh(z) * y


instructions = st.lists(
    st.tuples(st.integers(0, len(UNARY) + len(BINARY) - 1), st.integers(0, 50), st.integers(0, 50)),
    min_size=3,
    max_size=24,
)


def build(program: Sequence[tuple[int, int, int]]) -> list[Any]:
    """A placeholder, a variable, a constant, and what a program makes of them and of its own results."""
    x = tf.placeholder(tf.float32, [ROWS, COLUMNS], name="x")
    rng = np.random.default_rng(0)
    variable = tf.get_variable("v", initializer=rng.normal(size=(ROWS, COLUMNS)).astype(np.float32))
    bias = tf.get_variable("bias", initializer=rng.normal(size=COLUMNS).astype(np.float32))
    tf.add_to_collection("bias", bias)
    constant = tf.constant(rng.normal(size=(ROWS, COLUMNS)).astype(np.float32))
    tensors = [x, tf.identity(variable), constant]
    for number, left, right in program:
        # The last ones mostly: chains, in which values die.
        a, b = tensors[-1 - left % min(len(tensors), 4)], tensors[-1 - right % len(tensors)]
        made = UNARY[number](a) if number < len(UNARY) else BINARY[number - len(UNARY)](a, b)
        tensors.append(tf.clip_by_value(made, -4.0, 4.0) if number % 3 == 0 else made)
    return tensors


@contextlib.contextmanager
def nothing_used_again() -> Iterator[None]:
    """Values are small, so that steps are the plain ones."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (memory, strips):
            patch.setattr(module, "LEAST_BYTES", 1 << 60)
        yield


def feeds(seed: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).normal(size=(ROWS, COLUMNS)).astype(np.float32)}


def check(prefix: Path, names: Sequence[str]) -> gr.Model:
    """Runs a model both ways, several times; gives the one whose memory was used again."""
    plain = gr.load(prefix, engine="numpy")
    before = {name: np.array(value) for name, value in plain.variables.items()}
    with nothing_used_again():
        expected = [plain.run([*names], feeds(i)) for i in (0, 0, 1, 2)][1:]
    again = gr.load(prefix.with_name("copy"), engine="numpy")  # of other bytes: a plan of its own
    found = []
    for i in (0, 1, 2, 0, 1, 2):
        fed = feeds(i)
        found.append(again.run([*names], fed))
        np.testing.assert_array_equal(fed["x"], feeds(i)["x"])
    for results, right in zip(found, expected * 2, strict=True):  # what came first is still what it was
        for array, value in zip(results, right, strict=True):
            np.testing.assert_array_equal(array, value)
    for name, value in before.items():
        np.testing.assert_array_equal(again.variables[name], value)
    return again


@settings(max_examples=120, deadline=None)
@given(instructions, st.lists(st.integers(0, 50), max_size=4), st.booleans())
def test_no_value_is_written_into_that_anybody_takes_again(
    tmp_path_factory: Any, program: list[tuple[int, int, int]], fetched: list[int], functional: bool
) -> None:
    folder = tmp_path_factory.mktemp("m")
    with control_flow(functional), session() as sess:
        tensors = build(program)
        names = [t.name for t in (tensors[-1], *(tensors[i % len(tensors)] for i in fetched))]
        sess.run(tf.global_variables_initializer())
        saver = tf.train.Saver()
        saver.save(sess, str(folder / "m"))
        tf.no_op(name="one_more")
        saver.save(sess, str(folder / "copy"))
    check(folder / "m", names)


def saved(folder: Path, build: Callable[[], Any], functional: bool = False) -> Path:
    with control_flow(functional), session() as sess:
        tf.identity(build(), name="out")
        tf.train.export_meta_graph(str(folder / "m.meta"), graph=sess.graph)
    return folder / "m.meta"


def image(size: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).random((size, 512, 512), np.float32)


@pytest.mark.usefixtures("strips_of_true_length")
def test_a_chain_of_elementwise_ops_takes_the_memory_of_one_value(tmp_path: Path) -> None:
    def chain() -> Any:
        y = tf.placeholder(tf.float32, [None, 512, 512], name="x")
        for i in range(30):
            y = UNARY[i % 8](y) * 0.5 + 0.25
        return tf.reduce_sum(y)

    model = gr.load(saved(tmp_path, chain), engine="numpy")
    values = image(4)
    assert (
        peak_of(lambda: model.run("out", {"x": values}), 4 * 2.2 * MB) < 4 * 2.2 * MB
    )  # leaky_relu and softmax make one more


@pytest.mark.usefixtures("strips_of_true_length")
@pytest.mark.parametrize("functional", [False, True])
def test_values_go_after_their_last_use_in_a_plan_with_loops_too(functional: bool, tmp_path: Path) -> None:
    def build() -> Any:
        y = tf.placeholder(tf.float32, [None, 512, 512], name="x")
        _, n = tf.while_loop(lambda i, _: i < 3, lambda i, n: (i + 1, n * 0.5), [0, tf.reduce_sum(y)])
        for _ in range(12):
            y = tf.cumsum(y, 1) * 0.001  # which can't be done in place
        return tf.reduce_sum(y) + n

    model = gr.load(saved(tmp_path, build, functional), engine="numpy")
    values = image(4)
    assert peak_of(lambda: model.run("out", {"x": values}), 4 * 2.2 * MB) < 4 * 2.2 * MB


@pytest.mark.usefixtures("strips_of_true_length")
def test_the_own_steps_of_a_cluster_let_go_of_values(tmp_path: Path) -> None:
    def build() -> Any:
        y = tf.placeholder(tf.float32, [None, 512, 512], name="x")
        for _ in range(12):
            y = tf.nn.relu(tf.matmul(y, tf.eye(512)) + 1.0)
        return tf.reduce_sum(y)

    path = saved(tmp_path, build)
    values = image(4)
    values[0, 0, 0] = np.nan  # which OpenVINO isn't given
    model = gr.load(path, engine="openvino")
    assert [step.op for step in model.explain("out").steps][:1] == ["cluster"]
    assert peak_of(lambda: model.run("out", {"x": values}), 4 * 2.2 * MB) < 4 * 2.2 * MB


def test_runs_at_the_same_time_have_memory_of_their_own(tmp_path: Path) -> None:
    def build() -> Any:
        y = x = tf.placeholder(tf.float32, [ROWS, COLUMNS], name="x")
        for i in range(60):
            y = tf.tanh(y + x) * 1.5 if i % 2 else y - 0.1
        return y

    path = saved(tmp_path, build)
    model = gr.load(path, engine="numpy")
    expected = [model.run("out", feeds(i)) for i in range(4)]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(200):
            if not np.array_equal(model.run("out", feeds(i)), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.usefixtures("strips_of_true_length")
def test_a_plan_goes_over_to_plain_steps_where_values_are_small_and_back_where_they_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LEAST_BYTES", MB)

    def build() -> Any:
        y = tf.placeholder(tf.float32, [None, None, 512], name="x")
        y = tf.matmul(y, tf.eye(512))
        for _ in range(10):
            y = y + 1.0
        return tf.reduce_sum(y)

    model = gr.load(saved(tmp_path, build), engine="numpy")
    small = image(1)[:, :4]
    for _ in range(3):
        model.run("out", {"x": small})
    large = image(4)
    assert peak_of(lambda: model.run("out", {"x": large}), 4 * 1.2 * MB) < 4 * 1.2 * MB


def test_a_node_of_a_ufunc_with_one_input_more_writes_nowhere(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [2], name="x")
        tf.add(x, tf.constant([1.0, 2.0]), name="out")
        tf.constant([5.0, 6.0], name="third")
        graph_def = sess.graph_def
        next(node for node in graph_def.node if node.name == "out").input.append("third")
    (tmp_path / "g.pb").write_bytes(graph_def.SerializeToString())
    model = gr.load(tmp_path / "g.pb")
    with pytest.raises(gr.GraphError, match=r"'out' \(AddV2\) has 3 inputs; 2 were expected"):
        model.run("out", {"x": [1.0, 2.0]})
    assert model.run("third").tolist() == [5.0, 6.0]
