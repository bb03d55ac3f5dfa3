"""Conditional accumulators against TensorFlow: what comes too late, what is averaged, what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import agree, fed
from tensorflow.python.ops import data_flow_ops

import graphrack as gr

# "AccumulatorApplyGradient", "AccumulatorNumAccumulated", "AccumulatorSetGlobalStep", "AccumulatorTakeGradient",
# "ConditionalAccumulator", "SparseConditionalAccumulator", "SparseAccumulatorApplyGradient" and
# "SparseAccumulatorTakeGradient" are what the classes below make.


def _after(previous: Any) -> Any:
    return tf.control_dependencies([previous])


@pytest.mark.parametrize("reduction", ["MEAN", "SUM"])
def test_dense_gradients_agree(reduction: str) -> None:
    def program() -> Any:
        a = data_flow_ops.ConditionalAccumulator(
            tf.float64, shape=tf.TensorShape([None, 2]), reduction_type=reduction, name="a"
        )
        steps = [a.num_accumulated()]
        for act in (
            lambda: a.apply_grad(fed([[1.0, 2.0], [3.0, 4.0]]), local_step=0),
            lambda: a.apply_grad(fed([[5.0, 2.0], [3.0, 4.0]]), local_step=1),
            a.num_accumulated,
            lambda: a.take_grad(1),
            lambda: a.apply_grad(fed([[1.0, 2.0]]), local_step=0),
            a.num_accumulated,
            lambda: a.set_global_step(0),
        ):
            with _after(steps[-1]):
                steps.append(act())
        return steps

    agree(program, runs=3, gradients=False)


@pytest.mark.parametrize("reduction", ["MEAN", "SUM"])
@pytest.mark.parametrize("shape", [[5, 2], None])
def test_sparse_gradients_agree(reduction: str, shape: Any) -> None:
    def program() -> Any:
        a = data_flow_ops.SparseConditionalAccumulator(
            tf.float64, shape=None if shape is None else tf.TensorShape(shape), reduction_type=reduction, name="a"
        )
        first = a.apply_grad(fed([0, 3]), fed([[1.0, 2.0], [3.0, 4.0]]), fed([5, 2]), local_step=0)
        with _after(first):
            second = a.apply_grad(fed([3]), fed([[5.0, 6.0]]), None, local_step=0)
        with _after(second):
            count = a.num_accumulated()
        with _after(count):
            taken = a.take_grad(2)
        with _after(taken[1]):
            return [count, *taken, a.set_global_step(0)]

    agree(program, runs=2, gradients=False)


@pytest.mark.parametrize("reduction", ["MEAN", "SUM"])
def test_accumulators_that_are_resources_agree(reduction: str) -> None:
    raw = tf.raw_ops

    def program() -> Any:
        handle = raw.ResourceConditionalAccumulator(dtype=tf.float64, shape=None, reduction_type=reduction)
        zero = tf.constant(0, tf.int64)
        applied = raw.ResourceAccumulatorApplyGradient(handle=handle, local_step=zero, gradient=fed([1.0, 2.0]))
        with _after(applied):
            count = raw.ResourceAccumulatorNumAccumulated(handle=handle)
        with _after(count):
            taken = raw.ResourceAccumulatorTakeGradient(handle=handle, num_required=1, dtype=tf.float64)
        with _after(taken):
            return [count, taken, raw.ResourceAccumulatorSetGlobalStep(handle=handle, new_global_step=zero)]

    agree(program, runs=2, gradients=False)


@pytest.mark.parametrize("gradient", [np.ones(3), np.ones((2, 2))])
def test_gradients_of_another_shape_are_refused(gradient: Any) -> None:
    def program() -> Any:
        a = data_flow_ops.ConditionalAccumulator(tf.float64, shape=tf.TensorShape([2]))
        return [a.apply_grad(fed(gradient), local_step=0)]

    agree(program)


def test_taking_what_has_not_come_is_refused_at_once(tmp_path: Any) -> None:
    with tf.Graph().as_default() as graph:
        taken = data_flow_ops.ConditionalAccumulator(tf.float32, shape=tf.TensorShape([2]), name="a").take_grad(2)
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(gr.GraphrackError, match="'a' has 0 gradients, 2 are required"):
        gr.load(tmp_path / "g.pb", engine="numpy").run(taken.name)
