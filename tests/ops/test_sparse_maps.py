"""Sparse tensors kept under numbers, against TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow.compat.v1 as tf
from ops.api import agree, fed


def test_what_is_added_is_taken_once() -> None:
    raw = tf.raw_ops

    def program() -> Any:
        one = raw.AddSparseToTensorsMap(
            sparse_indices=fed([[0, 1], [2, 0]]), sparse_values=fed([1.0, 2.0]), sparse_shape=fed([3, 4]),
            shared_name="m",
        )  # fmt: skip
        many = raw.AddManySparseToTensorsMap(
            sparse_indices=fed([[1, 0, 1], [1, 2, 0]]), sparse_values=fed([3.0, 4.0]), sparse_shape=fed([2, 3, 5]),
            shared_name="m",
        )  # fmt: skip
        handles = tf.concat([[one], many], 0)
        return list(raw.TakeManySparseFromTensorsMap(sparse_handles=handles, dtype=tf.float64, shared_name="m"))

    agree(program, runs=2)


def test_a_number_that_nobody_added_is_refused() -> None:
    agree(lambda: list(tf.raw_ops.TakeManySparseFromTensorsMap(sparse_handles=fed([9]), dtype=tf.float32)))
