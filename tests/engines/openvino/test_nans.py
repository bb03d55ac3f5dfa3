"""NaN that arises within a cluster stays NaN, and what can't be NaN is compiled as ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from engines.openvino.running import clusters, compare, noted_runs, states

import graphrack as gr
from graphrack.engines.openvino.nans import DROPPING, to_keep_nan

R = tf.raw_ops
RNG = np.random.default_rng(3)
VALUES = np.array([[-1, 0, 1, 2], [0.5, -0.5, 7, -0.0]], np.float32)
MAKING: dict[str, Callable[[Any], Any]] = {
    "log": tf.log,
    "sqrt": tf.sqrt,
    "rsqrt": tf.math.rsqrt,
    "division": lambda x: tf.abs(x) / (x + tf.abs(x)),
    "power": lambda x: tf.pow(x, 0.5),
    "power of nothing": lambda x: 0.0 * tf.pow(x, -1.0),
    "reciprocal": lambda x: 0.0 * tf.math.reciprocal(x),
}
TAKING: dict[str, Callable[[Any], Any]] = {
    "Relu": tf.nn.relu,
    "Relu6": tf.nn.relu6,
    "Exp": tf.exp,
    "Maximum": lambda x: [tf.maximum(x, 0.1), tf.maximum(0.1, x), tf.maximum(x, x[:1])],
    "Minimum": lambda x: [tf.minimum(x, 0.1), tf.minimum(0.1, x), tf.minimum(x[:, :1], x)],
    "Max": lambda x: [R.Max(input=x, axis=[1], keep_dims=keep) for keep in (False, True)],
    "Min": lambda x: [R.Min(input=x, axis=[0], keep_dims=keep) for keep in (False, True)],
}


def kept(model: Any) -> set[str]:
    """Nodes that are spelled so that they keep NaN."""
    interfaces = [cluster.interface for cluster in clusters(model)]
    return {name for one in interfaces for name in to_keep_nan(one.parts, one.constants)}


def test_every_op_that_drops_nan_is_tried() -> None:
    assert set(TAKING) == DROPPING


@pytest.mark.parametrize("taking", TAKING)
@pytest.mark.parametrize("making", MAKING)
def test_it_is_kept(making: str, taking: str) -> None:
    model = compare(lambda x: TAKING[taking](MAKING[making](x)), VALUES)
    assert states(model) == ["compiled"]
    assert kept(model)


@pytest.mark.parametrize("taking", TAKING)
def test_it_is_kept_through_what_lies_between(taking: str) -> None:
    between: Callable[[Any], Any] = lambda x: tf.matmul(tf.nn.tanh(x), np.eye(4, dtype=np.float32))
    model = compare(lambda x: TAKING[taking](between(tf.log(x))), VALUES)
    assert states(model) == ["compiled"]


@pytest.mark.parametrize(
    "build",
    [
        lambda x: tf.nn.relu(tf.nn.batch_normalization(x, *tf.nn.moments(x, [0]), None, None, 1e-3)),
        lambda x: tf.exp(x - tf.reduce_max(x, 1, keepdims=True)),
        lambda x: tf.nn.relu(x / tf.sqrt(tf.maximum(tf.reduce_sum(x * x, 1, keepdims=True), 1e-6))),
        lambda x: tf.nn.relu(tf.nn.l2_normalize(x, 1)),
        lambda x: tf.nn.relu(x / 4.0),
        lambda x: tf.nn.relu(tf.pow(x, 3.0)),
        lambda x: tf.nn.relu6(x * tf.nn.relu6(x + 3.0) / 6.0),
        lambda x: tf.nn.relu(tf.nn.softmax(x) - 0.1),
        lambda x: tf.nn.relu(tf.nn.fused_batch_norm(x[None, None], np.ones(4, "f"), np.ones(4, "f"), np.ones(4, "f"),
                                                    np.ones(4, "f"), is_training=False)[0]),
    ],
    ids=["moments", "softmax by hand", "a bounded root", "l2", "a constant", "a cube", "swish", "softmax", "batch norm"],
)  # fmt: skip
def test_what_is_no_nan_by_its_sign_costs_nothing(build: Callable[[Any], Any]) -> None:
    model = compare(build, VALUES)
    assert states(model) == ["compiled"]
    assert not kept(model)


@pytest.mark.parametrize("constant", [np.nan, np.inf, -np.inf])
def test_constants_that_are_no_numbers_are_kept(constant: float) -> None:
    odd = np.float32(constant)

    def build(x: Any) -> list[Any]:
        pairs = [pair for f in (tf.maximum, tf.minimum) for pair in (f(x, odd), f(odd, x))]
        return [*pairs, tf.nn.relu(x * odd), tf.exp(x - odd), tf.reduce_max(tf.stack([x, x + odd]), 0)]

    compare(build, np.array([-2.0, 0.5, 0.0, 7.0], np.float32))


@pytest.mark.parametrize("engine", ["openvino", "auto"])
def test_weights_that_are_no_numbers_are_left_to_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    weights = RNG.normal(size=(3, 64, 64)).astype(np.float32)
    weights[1, 2, 3], weights[2, 5, 7] = np.nan, np.inf
    x = RNG.normal(size=(4096, 64)).astype(np.float32)
    expected = []
    with tf.Graph().as_default(), tf.Session() as session:
        given = tf.placeholder(tf.float32, [None, 64], name="x")
        w = tf.get_variable("w", [64, 64])
        y = tf.nn.relu(tf.matmul(given, w), name="y")
        for i, value in enumerate(weights):
            w.load(value, session)
            expected.append(session.run(y, {given: x}))
            tf.train.Saver().save(session, str(tmp_path / f"m{i}"))
    models = [gr.load(tmp_path / f"m{i}", engine=engine) for i in range(3)]
    for model in (*models, *models):
        model.warmup({"x": x}, "y")
    runs = noted_runs(monkeypatch)
    for model, values in zip(models, expected, strict=True):
        np.testing.assert_allclose(model.run("y", {"x": x}), values, rtol=1e-4, atol=1e-5)
    assert len(runs) == 1  # the others' aren't tried again
    assert "isn't given weights" in states(models[2])[0]
    models[0].run("y", {"x": x})
    assert states(models[0]) == ["compiled"]


def test_comparisons_end_it() -> None:
    model = compare(lambda x: tf.nn.relu(tf.cast(tf.log(x) > 0.0, tf.float32) - 0.5), VALUES)
    assert not kept(model)
