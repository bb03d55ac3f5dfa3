"""Batches that run sample by sample: where no sample's results depend on others, and where that is the faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from engines.openvino.running import clusters, same

import graphrack as gr
from graphrack.engines.openvino import samples, step
from graphrack.engines.openvino.planning import Clusters
from graphrack.engines.openvino.samples import Batch

RNG = np.random.default_rng(2)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def constant(*shape: int) -> Any:
    return tf.constant(normal(*shape))


IMAGES, ROWS = normal(4, 6, 6, 3), normal(4, 12)
FILTER, MATRIX = normal(3, 3, 3, 5), normal(12, 7)


def convolved(x: Any) -> Any:
    return tf.nn.conv2d(x, tf.constant(FILTER), 1, "SAME")


def product(x: Any) -> Any:
    return tf.matmul(x, tf.constant(MATRIX))


def normalized(x: Any) -> Any:
    given = [tf.constant(np.full(3, value, np.float32)) for value in (0.5, 1.0, -1.0, 2.0)]
    return tf.nn.fused_batch_norm(x, *given, is_training=False)[0]


# What each does with a batch; all are products or convolutions besides, so that OpenVINO is given them.
APART: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "convolution": (lambda x: tf.nn.relu(tf.nn.bias_add(convolved(x), constant(5))), IMAGES),
    "depthwise": (lambda x: tf.nn.depthwise_conv2d(x, constant(3, 3, 3, 2), [1, 1, 1, 1], "SAME"), IMAGES),
    "pools": (lambda x: tf.nn.max_pool2d(convolved(x), 2, 2, "SAME"), IMAGES),
    "batch norm": (lambda x: convolved(normalized(x)), IMAGES),
    "product": (lambda x: tf.nn.softmax(product(x) * 2.0), ROWS),
    "an operand for all": (lambda x: product(x) + constant(1, 7), ROWS),
    "a mean of each": (lambda x: tf.reduce_mean(convolved(x), [1, -2]), IMAGES),
    "kept dimensions": (lambda x: product(x) - tf.reduce_max(product(x), -1, keepdims=True), ROWS),
    "reshape": (lambda x: tf.reshape(convolved(x), [-1, 36, 5]), IMAGES),
    "padding": (lambda x: tf.pad(convolved(x), [[0, 0], [1, 2], [0, 0], [0, 1]]), IMAGES),
    "transpose": (lambda x: tf.transpose(convolved(x), [0, 3, 1, 2]), IMAGES),
    "joined channels": (lambda x: tf.concat([convolved(x), x], -1), IMAGES),
    "resized": (lambda x: tf.image.resize_bilinear(convolved(x), [9, 9]), IMAGES),
    "new dimensions": (lambda x: tf.squeeze(tf.expand_dims(product(x), 1), [1]), ROWS),
}
TOGETHER: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "a mean of all": (lambda x: product(x) - tf.reduce_mean(product(x), 0, keepdims=True), ROWS),
    "a mean of everything": (lambda x: product(x) * tf.reduce_mean(x), ROWS),
    "an operand for each": (lambda x: product(x) + constant(4, 1), ROWS),
    "an operand of four": (lambda x: tf.matmul(x, constant(12, 4)) + tf.reduce_sum(x, 1), ROWS),
    "turned around": (lambda x: tf.reverse(product(x), [0]), ROWS),
    "joined samples": (lambda x: tf.concat([product(x), product(x * 2)], 0), ROWS),
    "swapped dimensions": (lambda x: tf.matmul(x, constant(4, 7), transpose_a=True), ROWS),
    "reshape across samples": (lambda x: tf.reshape(product(x), [-1, 14]), ROWS),
    "reshape to a number of samples": (lambda x: tf.reshape(product(x), [4, 7]), ROWS),
    "samples padded": (lambda x: tf.pad(product(x), [[1, 0], [0, 0]]), ROWS),
    "transpose of samples": (lambda x: tf.transpose(product(x)), ROWS),
    "how many there are": (lambda x: product(x) * tf.cast(tf.shape(x)[0], tf.float32), ROWS),
    "each with each": (lambda x: tf.matmul(product(x), product(x), transpose_b=True), ROWS),
}


def batches(model: gr.Model) -> list[Batch]:
    known = [known for cluster in clusters(model) for known in cluster._known.values()]
    return [one.own for one in known if isinstance(one.own, Batch)]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """From a case to its model, warmed up, and what TensorFlow gives for some batches."""
    monkeypatch.setattr(step, "_SAMPLE_S", 0.0)
    monkeypatch.setattr(samples, "_CLEAR", np.inf)
    monkeypatch.setattr(Clusters, "_is_worth", lambda self, cluster: True)

    def build(case: tuple[Callable[[Any], Any], Any]) -> Any:
        make, array = case
        with tf.Graph().as_default() as graph, tf.Session() as session:
            x = tf.placeholder(tf.float32, [None, *array.shape[1:]], "x")
            tf.identity(make(x), "y")
            expected = session.run("y:0", {x: array})
            tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
        model = gr.load(tmp_path / "g.pb", engine="openvino")
        model.warmup({"x": array}, "y")
        same(["y"], [model.run("y", {"x": array})], [expected], 1e-4, 1e-5)
        return model, expected

    return build


@pytest.mark.parametrize("name", APART)
def test_samples_that_are_apart_are_run_one_by_one(opened: Callable[..., Any], name: str) -> None:
    array = APART[name][1]
    model, expected = opened(APART[name])
    (batch,) = batches(model)
    for program in (batch.sample, batch.whole):
        batch._choose(program)
        same(["y"], [model.run("y", {"x": array})], [expected], 1e-4, 1e-5)


@pytest.mark.parametrize("name", TOGETHER)
def test_samples_that_depend_on_each_other_are_run_at_once(opened: Callable[..., Any], name: str) -> None:
    model, _ = opened(TOGETHER[name])
    assert clusters(model)
    assert not batches(model)


@pytest.mark.parametrize("by_sample", [True, False])
def test_the_faster_way_is_kept_and_the_other_let_go_of(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, by_sample: bool
) -> None:
    model, expected = opened(APART["convolution"])
    (batch,) = batches(model)
    now, slow = [0.0], batch.whole if by_sample else batch.sample
    batch._fastest = [np.inf, np.inf]
    run = Batch._run

    def timed(self: Batch, program: Any, *values: Any) -> Any:
        now[0] += 1.5 if program is slow else 1.0
        return run(self, program, *values)

    monkeypatch.setattr(Batch, "_run", timed)
    monkeypatch.setattr(samples, "perf_counter", lambda: now[0])
    for _ in range(12):
        same(["y"], [model.run("y", {"x": IMAGES})], [expected], 1e-4, 1e-5)
    chosen, dropped = (batch.sample, batch.whole) if by_sample else (batch.whole, batch.sample)
    assert chosen.executables()
    assert not dropped.executables()
    same(["y"], [model.run("y", {"x": IMAGES[:2]})], [expected[:2]], 1e-4, 1e-5)


def test_what_is_unloaded_is_compiled_again(opened: Callable[..., Any]) -> None:
    model, expected = opened(APART["product"])
    (batch,) = batches(model)
    batch._choose(batch.sample)
    for compiled in batch.sample.executables():
        batch.sample.forget(compiled)
    for _ in range(2):
        same(["y"], [model.run("y", {"x": ROWS})], [expected], 1e-4, 1e-5)
    model.warmup({"x": ROWS}, "y")
    same(["y"], [model.run("y", {"x": ROWS})], [expected], 1e-4, 1e-5)
