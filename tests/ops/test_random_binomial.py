"""Binomial numbers against TensorFlow's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.session import check_sessions

PARAMETERS: list[tuple[tuple[int, ...], Any, Any]] = [
    ((300,), 10, 0.3), ((50, 4), [1, 20, 200, 2000], [0.1, 0.5, 0.7, 0.9]), ((50, 2), [[5], [7]], 0.5),
    ((20, 2, 3), [[5], [0]], [0.2, 1.0, 0]), ((4,), -1.0, 0.5),
]  # fmt: skip


@pytest.mark.parametrize("parameter", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64, tf.half, tf.int32, tf.int64])
def test_stateless_numbers_are_tensorflows(dtype: Any, parameter: Any) -> None:
    for seed in ([1, 2], [-3, 4]):
        for shape, counts, probs in PARAMETERS:
            check(
                "StatelessRandomBinomial", shape=np.array(shape, np.int32), seed=np.array(seed, np.int32),
                counts=np.asarray(counts, parameter), probs=np.asarray(probs, parameter), dtype=dtype,
            )  # fmt: skip


def test_a_probability_that_is_none_gives_none() -> None:
    check(
        "StatelessRandomBinomial", shape=np.array([4], np.int32), seed=np.array([1, 2], np.int32),
        counts=np.float32(10), probs=np.float32(np.nan), dtype=tf.float32, refused=False,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(2,), (3, 4)])
def test_a_shape_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    check(
        "StatelessRandomBinomial", shape=np.array(shape, np.int32), seed=np.array([1, 2], np.int32),
        counts=np.ones((5,), np.float32), probs=np.float32(0.5), dtype=tf.float32, refused=True,
    )  # fmt: skip


def test_a_generators_numbers_and_state_are_tensorflows() -> None:
    def build() -> Any:
        variable = tf.Variable(np.array([5, 6, 7], np.int64), use_resource=True, name="v")
        given = {"resource": variable.handle, "algorithm": tf.constant(1, tf.int64)}
        # TensorFlow loses the first change of a variable that shares memory with its initial value.
        outputs = [tf.raw_ops.StatefulStandardNormalV2(**given, shape=[2])]
        for shape, dtype in (([7, 2], tf.int32), ([3, 1, 2], tf.float32)):
            with tf.control_dependencies(outputs[-1:]):
                outputs.append(
                    tf.raw_ops.StatefulRandomBinomial(
                        **given, shape=tf.constant(shape), counts=[10.0, 100.0], probs=[0.2, 0.6], dtype=dtype
                    )
                )
        with tf.control_dependencies(outputs[-1:]):
            outputs.append(variable.read_value())
        return outputs

    check_sessions(build, 2, prepare=("v/Assign",))
