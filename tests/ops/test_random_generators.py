"""Random ops on a generator's variable give TensorFlow's numbers and leave TensorFlow's state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.removed import pretend_age
from ops.session import check_sessions
from tensorflow.python.framework import op_def_library

from graphrack.formats import dtypes
from graphrack.ops import registry

STATES = [[5, 7, 9], [-3, -1, -(2**63)], [2**63 - 1, 0, 1, 44]]
FLOATS = [tf.float16, tf.bfloat16, tf.float32, tf.float64]
CLOSE = {tf.float16: 1e-3, tf.bfloat16: 1e-2, tf.float32: 1e-6, tf.float64: 1e-14}


def draw(op_name: str, start: Any, runs: int = 3, refused: bool = False, rtol: float = 0, **arguments: Any) -> None:
    arrays = {k: np.asarray(v) for k, v in arguments.items() if isinstance(v, (np.ndarray, np.generic))}

    def build() -> Any:
        variable = tf.Variable(np.asarray(start), use_resource=True, name="variable")
        given = {
            k: tf.placeholder(arrays[k].dtype, None, f"in_{k}") if k in arrays else v for k, v in arguments.items()
        }
        result = getattr(tf.raw_ops, op_name)(resource=variable.handle, **given, name="op")
        with tf.control_dependencies([result]):
            after = variable.read_value()
        return [after] if isinstance(result, tf.Operation) else [result, after]

    feeds = {f"in_{k}:0": v for k, v in arrays.items()}
    check_sessions(build, runs, feeds, ("variable/Assign",), rtol=rtol, atol=rtol, refused=refused, note=op_name)


@pytest.mark.parametrize("start", STATES, ids=str)
def test_numbers_and_states_are_tensorflows(start: list[int]) -> None:
    given = {"algorithm": np.int64(1)}
    for count in (0, 1, 3, 5, 1001):
        shape = np.array([count])
        for dtype in FLOATS:
            draw("StatefulUniform", start, shape=shape, dtype=dtype, **given)
            draw("StatefulStandardNormalV2", start, shape=shape, dtype=dtype, rtol=CLOSE[dtype], **given)
            draw("StatefulTruncatedNormal", start, shape=shape, dtype=dtype, rtol=CLOSE[dtype], **given)
        for dtype in (tf.int32, tf.uint32, tf.int64, tf.uint64):
            draw("StatefulUniformFullInt", start, shape=shape, dtype=dtype, **given)
        for kind in (np.int32, np.int64):
            limits = {"minval": kind(-5), "maxval": kind(77)}
            draw("StatefulUniformInt", start, shape=shape, **limits, **given)


@pytest.mark.parametrize("start", STATES, ids=str)
def test_skipping_is_tensorflows(start: list[int]) -> None:
    for delta in (0, 1, 1000, 2**40):
        # Of a longer state TensorFlow copies more than it has made room for.
        draw("RngReadAndSkip", start[:3], alg=np.int32(1), delta=np.uint64(delta))
        draw("RngSkip", start, algorithm=np.int64(1), delta=np.int64(delta))


def test_what_is_no_generator_is_refused() -> None:
    shape, good = np.array([3]), STATES[0]
    for start in (np.array([1, 2]), np.array([[1, 2, 3]]), np.array([1.0, 2.0, 3.0])):
        draw("StatefulUniform", start, 1, True, algorithm=np.int64(1), shape=shape)
    for algorithm in (np.int64(2), np.int64(7), np.array([1])):
        draw("StatefulUniform", good, 1, True, algorithm=algorithm, shape=shape)
    draw(
        "StatefulUniformInt", good, 1, True, algorithm=np.int64(1), shape=shape, minval=np.int64(3), maxval=np.int64(3)
    )
    draw("RngSkip", good, 1, True, algorithm=np.int64(1), delta=np.array([1]))


def test_the_first_form_keeps_its_algorithm_in_the_variable() -> None:
    def build() -> Any:
        pretend_age(28)
        variable = tf.Variable(np.array([1, 5, 6, 7]), use_resource=True, name="variable")
        given = {"resource": variable.handle, "shape": tf.constant([7, 2])}
        drawn = op_def_library.apply_op("StatefulStandardNormal", **given, dtype=tf.float32)
        with tf.control_dependencies([drawn]):
            return [drawn, variable.read_value()]

    check_sessions(build, 2, prepare=("variable/Assign",))


def test_ints_that_nothing_determines_differ() -> None:
    implementation = registry.lookup("NonDeterministicInts")
    assert implementation is not None
    kernel = implementation.bind("n", {"dtype": dtypes.INT64}, {})
    first, second = kernel(np.array([3, 2])), kernel(np.array([3, 2]))
    assert first.shape == (3, 2)
    assert first.dtype == np.int64
    assert (first != second).any()
