"""Clusters that OpenVINO runs: the interpreter's numbers, whatever the batch, the weights and the thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_models import session

import graphrack as gr
from graphrack.engines.openvino.compiled import ClusterProgram

RNG = np.random.default_rng(0)


def programs(model: gr.Model) -> list[ClusterProgram]:
    """The clusters of the plans that the model's graph has by now."""
    found = []
    for call in model._instance.graph.kept.values():
        for step, place in getattr(getattr(call, "plan", None), "_places", {}).items():
            if place.op == "cluster":
                found += getattr(step, "programs", {}).values()
    return found


def weights(*shape: int) -> Any:
    return tf.Variable(RNG.normal(size=shape).astype(np.float32) * 0.2)


def conv_net(x: Any) -> Any:
    x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, weights(3, 3, 3, 8), [1, 1, 1, 1], "SAME"), weights(8)))
    x = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    mean, variance = (
        tf.constant(RNG.normal(size=8).astype(np.float32)),
        tf.constant(RNG.random(8).astype(np.float32) + 0.5),
    )
    ones = tf.ones([8])
    x, *_ = tf.nn.fused_batch_norm(x, ones, tf.zeros([8]), mean, variance, is_training=False)
    x = tf.nn.relu6(tf.nn.depthwise_conv2d(x, weights(3, 3, 8, 2), [1, 2, 2, 1], "VALID"))
    x = tf.nn.avg_pool(tf.nn.elu(x), [1, 2, 2, 1], [1, 1, 1, 1], "SAME")
    return tf.nn.softmax(tf.matmul(tf.reduce_mean(x, [1, 2]), weights(16, 5)))


def residual(x: Any) -> Any:
    for _ in range(3):
        y = tf.nn.conv2d(tf.nn.leaky_relu(x), weights(3, 3, 3, 3), [1, 1, 1, 1], "SAME")
        x = x + tf.concat([y[..., :1] * 2.0, y[..., 1:]], 3)
    return tf.sigmoid(x)


def attention(x: Any) -> Any:
    flat = tf.reshape(x, [-1, 16, 12])
    q, k, v = (tf.reshape(tf.matmul(tf.reshape(flat, [-1, 12]), weights(12, 8)), [-1, 16, 8]) for _ in range(3))
    scores = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / np.float32(8**0.5))
    y = tf.matmul(scores, v)
    mean = tf.reduce_mean(y, -1, keepdims=True)
    variance = tf.reduce_mean(tf.squared_difference(y, mean), -1, keepdims=True)
    return tf.tanh((y - mean) * tf.rsqrt(variance + 1e-5))


NETS: dict[str, Callable[[Any], Any]] = {"conv_net": conv_net, "residual": residual, "attention": attention}


def saved(tmp_path: Path, net: Callable[[Any], Any]) -> Path:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, None, None, 3], name="x")
        tf.identity(net(x), name="out")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    return tmp_path / "m"


@pytest.mark.parametrize("name", NETS)
def test_clusters_give_the_interpreters_numbers_and_a_new_size_compiles_nothing(tmp_path: Path, name: str) -> None:
    prefix = saved(tmp_path, NETS[name])
    slow, fast = gr.load(prefix, engine="numpy"), gr.load(prefix, engine="openvino")
    for size in ((1, 8, 8), (3, 8, 8), (2, 16, 12)):
        data = RNG.normal(size=(*size, 3)).astype(np.float32)
        np.testing.assert_allclose(fast.run("out", {"x": data}), slow.run("out", {"x": data}), rtol=1e-4, atol=1e-5)
    found = programs(fast)
    assert found
    assert [p.failure for p in found] == [""] * len(found)
    assert [len(p._compiled) for p in found] == [1] * len(found)


def test_the_models_of_the_examples_give_tensorflows_numbers() -> None:
    root = Path(__file__).parents[2] / "examples" / "models"
    data = RNG.random((5, 64), np.float32)
    for name in ("digits_conv", "digits_mlp_0", "digits_mlp_1"):
        slow, fast = (gr.load(root / name / "model_name", engine=e) for e in ("numpy", "openvino"))
        np.testing.assert_allclose(fast(data), slow(data), rtol=1e-4, atol=1e-6)
        assert all(not p.failure for p in programs(fast))


def test_assigned_and_restored_weights_count_at_once_and_for_one_model_alone(tmp_path: Path) -> None:
    prefix = saved(tmp_path, conv_net)
    data = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
    one, other, slow = (gr.load(prefix, engine=e) for e in ("openvino", "openvino", "numpy"))
    before = one.run("out", {"x": data})
    name = next(n for n in one.variables if one.variables[n].shape == (16, 5))
    for model in (one, slow):
        model.variables[name] = np.asarray(model.variables[name]) * 3 + 1
    np.testing.assert_allclose(one.run("out", {"x": data}), slow.run("out", {"x": data}), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(other.run("out", {"x": data}), before)
    one.restore(prefix)
    np.testing.assert_allclose(one.run("out", {"x": data}), before, rtol=1e-6)


def test_what_openvino_does_not_take_the_interpreter_runs(tmp_path: Path) -> None:
    prefix = saved(tmp_path, conv_net)
    fast, slow = gr.load(prefix, engine="openvino"), gr.load(prefix)
    empty = np.zeros((0, 8, 8, 3), np.float32)
    assert fast.run("out", {"x": empty}).shape == slow.run("out", {"x": empty}).shape == (0, 5)
    assert not programs(fast)


def test_what_does_not_fit_is_the_interpreters_error(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        tf.matmul(x, tf.constant(np.ones((3, 2), np.float32)), name="out")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    model = gr.load(tmp_path / "g.pb", engine="openvino")
    assert model.run("out", {"x": np.ones((4, 3))}).tolist() == [[3, 3]] * 4
    with pytest.raises(gr.OpError, match=r"'out' \(.*MatMul"):
        model.run("out", {"x": np.ones((4, 5))})
    assert model.run("out", {"x": np.ones((1, 3))}).tolist() == [[3, 3]]


def test_every_op_of_clusters_has_a_shape_function() -> None:
    from graphrack.engines.openvino.ops import RULES
    from graphrack.engines.openvino.shapes import OUTPUT_SHAPES

    assert set(OUTPUT_SHAPES) <= set(RULES)


def test_a_train_step_stays_with_the_interpreter(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        loss = tf.reduce_mean(tf.square(tf.matmul(x, weights(4, 3))), name="loss")
        tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="step")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    fast, slow = gr.load(tmp_path / "m", engine="openvino"), gr.load(tmp_path / "m")
    data = RNG.normal(size=(5, 4)).astype(np.float32)
    for _ in range(3):
        for model in (fast, slow):
            model.run("step", {"x": data})
        assert fast.run("loss", {"x": data}) == pytest.approx(slow.run("loss", {"x": data}), rel=1e-4)


def test_many_threads_run_one_cluster(tmp_path: Path) -> None:
    prefix = saved(tmp_path, conv_net)
    model = gr.load(prefix, engine="openvino")
    inputs = [RNG.normal(size=(n, 8, 8, 3)).astype(np.float32) for n in (1, 2, 3, 4)]
    expected = [gr.load(prefix).run("out", {"x": x}) for x in inputs]
    wrong: list[BaseException] = []

    def work(i: int) -> None:
        try:
            for _ in range(20):
                np.testing.assert_allclose(model.run("out", {"x": inputs[i]}), expected[i], rtol=1e-4, atol=1e-6)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_results_are_the_callers_own(tmp_path: Path) -> None:
    model = gr.load(saved(tmp_path, conv_net), engine="openvino")
    data = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
    first = model.run("out", {"x": data})
    kept = first.copy()
    model.run("out", {"x": data + 1})
    np.testing.assert_array_equal(first, kept)
    first += 1
    np.testing.assert_array_equal(model.run("out", {"x": data}), kept)
