"""Ragged tensors by rows against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import agree, fed
from ops.harness import check

ROWS = ([0, 0, 2, 3], 4), ([2, 0, 2, 1], 4), ([0, 1, 2, 3], 4), ([0, 0, 0, 0], 1), ([0, 3, 3, 3], 9)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, object])
def test_empty_rows_are_filled_as_by_tensorflow(dtype: Any) -> None:
    values = np.array([b"a", b"b", b"c", b"d"] if dtype is object else [1, 2, 3, 4]).astype(dtype)
    default = np.array(b"z", object) if dtype is object else np.array(9).astype(dtype)
    for rows, count in ROWS:
        check("RaggedFillEmptyRows", value_rowids=np.array(rows), values=values, nrows=np.array(count),
              default_value=default, refused=False)  # fmt: skip
    for rows, count in (([0, 0, 2, 4], 4), ([-1, 0, 1, 1], 2), ([0, 0, 1, 1], 0), ([0, 1], 2)):
        check("RaggedFillEmptyRows", value_rowids=np.array(rows), values=values, nrows=np.array(count),
              default_value=default, refused=True)  # fmt: skip
    none = np.zeros(0, np.int64)
    check("RaggedFillEmptyRows", value_rowids=none, values=values[:0], nrows=np.array(3), default_value=default)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_gradient_of_filling_agrees(dtype: Any) -> None:
    grad = np.arange(5).astype(dtype)
    for places in ([0, 2, 4], [], [1]):
        given = {"reverse_index_map": np.array(places, np.int64), "grad_values": grad}
        check("RaggedFillEmptyRowsGrad", **given, refused=False)
    check("RaggedFillEmptyRowsGrad", reverse_index_map=np.array([0, 5]), grad_values=grad, refused=True)


def test_gradient_of_what_variants_hold_agrees() -> None:
    def program() -> Any:
        ragged = tf.ragged.constant([[[1.0, 2.0], [3.0]], [[4.0]]])
        encoded = ragged.with_flat_values(ragged.flat_values * fed(2, np.float32))._to_variant(True)
        return tf.raw_ops.RaggedTensorToVariantGradient(
            encoded_ragged_grad=encoded, row_splits=ragged.row_splits,
            dense_values_shape=tf.shape(ragged.flat_values), Tvalues=tf.float32,
        )  # fmt: skip

    agree(program, gradients=False)
