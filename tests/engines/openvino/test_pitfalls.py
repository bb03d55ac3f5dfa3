"""What goes wrong in OpenVINO, in processes of their own where it would end them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from engines.openvino.running import clusters, compare
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrack as gr
from graphrack.engines.openvino.compiled import ClusterProgram
from graphrack.engines.openvino.frontend import convert

RNG = np.random.default_rng(4)

SCRIPT = """
import sys
import numpy as np
import graphrack as gr
from graphrack.engines.openvino import runtime

prefix, engine = sys.argv[1:]
judge, model = gr.load(prefix + ".meta", engine="numpy"), gr.load(prefix + ".meta", engine=engine)
feeds = {"x": np.random.default_rng(1).normal(size=(2, 4, 8)).astype(np.float32)}
for fetches in ("y", "step"):
    model.warmup(feeds, fetches)
    for _ in range(3):
        np.testing.assert_allclose(model.run(fetches, feeds), judge.run(fetches, feeds), rtol=1e-4, atol=1e-5)
assert runtime.loaded() or engine == "auto"
print("the same")
"""


def softmax(x: Any, by_hand: bool) -> Any:
    if not by_hand:
        return tf.nn.softmax(x)
    odds = tf.exp(x - tf.reduce_max(x, -1, keepdims=True))
    return odds / tf.reduce_sum(odds, -1, keepdims=True)


def saved(folder: Path, known: bool, by_hand: bool) -> str:
    """A block of a transformer, trained, too: attention beside a sum of two tensors, and a norm of both."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, None, 8], name="x")
        places = tf.Variable(RNG.normal(size=(4, 8)).astype(np.float32))
        given = tf.reshape(x, [2, 4, 8]) if known else x
        q, k, v = (tf.tensordot(given, tf.constant(RNG.normal(size=(8, 8)).astype(np.float32)), 1) for _ in range(3))
        mixed = tf.matmul(softmax(tf.matmul(q, k, transpose_b=True) / 3, by_hand), v)
        y = (given + places) + mixed
        mean, variance = tf.nn.moments(y, -1, keepdims=True)
        y = tf.multiply(y - mean, tf.rsqrt(variance + 1e-6), name="y")
        loss = tf.reduce_mean(tf.square(y) * tf.tanh(y))
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        with tf.control_dependencies([train]):
            tf.identity(places, name="step")
        session.run(tf.global_variables_initializer())
        return str(tf.train.Saver().save(session, str(folder / "model")))


@pytest.mark.parametrize("engine", ["openvino", "auto"])
@pytest.mark.parametrize("known", [False, True], ids=["any sizes", "known sizes"])
@pytest.mark.parametrize("by_hand", [False, True], ids=["softmax", "softmax by hand"])
def test_attention_of_known_sizes_ends_no_process(tmp_path: Path, known: bool, by_hand: bool, engine: str) -> None:
    prefix = saved(tmp_path, known, by_hand)
    script = [sys.executable, "-c", SCRIPT, prefix, engine]
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "the same\n", "")


def test_an_activation_that_is_fetched_and_goes_on_is_not_transposed_back(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        y = tf.placeholder(tf.float32, [None, 24, 24, 8], name="x")
        for i in range(3):
            filters = tf.constant(RNG.normal(size=(3, 3, 8, 8)).astype("f") / 9)
            y = tf.nn.relu(tf.nn.conv2d(y, filters, [1, 1, 1, 1], "SAME"), name=f"y{i}")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
    fetches, feeds = ["y0", "y1", "y2"], {"x": RNG.normal(size=(4, 24, 24, 8)).astype("f")}
    model, judge = (gr.load(tmp_path / "g.pb", engine=engine) for engine in ("openvino", "numpy"))
    for one, other in zip(model.run(fetches, feeds), judge.run(fetches, feeds), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    (cluster,) = clusters(model)
    (program,) = cluster.programs.values()
    transposes = [op for op in convert(program, [4], {}).get_ordered_ops() if op.get_type_name() == "Transpose"]
    # One before, and one for each result; those of filters are of constants.
    assert len([op for op in transposes if op.input_value(0).get_node().get_type_name() != "Constant"]) == 4


@pytest.mark.parametrize("shapes", [False, True], ids=["any sizes", "known sizes"])
@pytest.mark.parametrize("computed", [False, True], ids=["filters of a run", "filters that are computed"])
@pytest.mark.parametrize("factor", [2.0, -1.0, "each channel", "after a bias"])
def test_factors_of_one_convolution_are_not_those_of_another_with_the_same_filters(
    factor: Any, computed: bool, shapes: bool
) -> None:
    scales = RNG.normal(size=6).astype("f") if isinstance(factor, str) else np.float32(factor)

    def build(x: Any, y: Any, filters: Any) -> Any:
        filters = tf.tanh(filters) if computed else filters
        a, b = (tf.nn.depthwise_conv2d(v, filters, [1, 1, 1, 1], "VALID") for v in (x, y))
        return (a + 1.0 if factor == "after a bias" else a) * scales - tf.nn.relu(b)

    x, y = (RNG.normal(size=(2, 9, 8, 3)).astype("f") for _ in range(2))
    model = compare(build, x, y, RNG.normal(size=(3, 3, 3, 2)).astype("f"), shapes=shapes)
    assert "compiled" in [cluster.state() for cluster in clusters(model)]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_transpose_is_the_same_where_it_moves_axes_of_one_element(data: st.DataObject) -> None:
    rank = data.draw(st.integers(2, 4))
    shape = data.draw(st.tuples(*[st.sampled_from([1, 1, 2, 5])] * rank))
    order = data.draw(st.permutations(range(rank)))
    mask = RNG.random([shape[axis] for axis in order]) < 0.5

    def build(x: Any, mask: Any) -> Any:
        moved = tf.transpose(tf.abs(x), order)
        return tf.sqrt(moved * tf.cast(mask, tf.float32) + 1.0), tf.transpose(moved, order)

    compare(build, RNG.normal(size=shape).astype(np.float32), mask)


def test_a_transpose_that_moves_no_value_is_not_moved_to_other_operands() -> None:
    def build(a: Any, mask: Any) -> Any:
        row = tf.transpose(a, [1, 0])
        return tf.sqrt(tf.abs(a - row) + 1.0) * tf.cast(mask, tf.float32)

    model = compare(build, RNG.normal(size=(7, 1)).astype(np.float32), RNG.random((7, 7)) < 0.5)
    (cluster,) = clusters(model)
    (own,) = (known.own for known in cluster._known.values())
    assert isinstance(own, ClusterProgram)
    found = [op.get_type_name() for op in convert(own, [2, 2], {}).get_ops()]
    assert "Transpose" not in found
    assert "Multiply" in found
