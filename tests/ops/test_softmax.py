from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ops.harness import check

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.asarray(np.random.default_rng(seed).normal(size=shape) * 4).astype(dtype)


@pytest.mark.parametrize("shape", [(5,), (0,), (3, 4), (3, 0), (0, 4), (2, 3, 4), (2, 1, 3, 5), (2, 1), (3, 300)])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_over_the_last_axis(op: str, dtype: Any, shape: tuple[int, ...]) -> None:
    check(op, logits=numbers(shape, dtype), refused=False)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_of_large_and_infinite_logits(op: str) -> None:
    check(op, logits=np.array([[1e30, 1e30, -1e30], [1000, 0, -1000], [-np.inf, 0, 1]], np.float32), refused=False)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_refuses_a_scalar(op: str) -> None:
    check(op, logits=np.float32(3), refused=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("features", "labels"),
    [
        ((3, 4), (3, 4)),
        ((1, 4), (3, 4)),
        ((3, 4), (1, 4)),
        ((3, 4), (4,)),
        ((3, 1), (3, 4)),
        ((0, 4), (0, 4)),
        ((3, 4), ()),
    ],
)
def test_cross_entropy_broadcasts_logits_and_labels(
    features: tuple[int, ...], labels: tuple[int, ...], dtype: Any
) -> None:
    given = np.abs(numbers(labels, np.float64, 1))
    given = given / (given.sum() or 1)
    check("SoftmaxCrossEntropyWithLogits", features=numbers(features, dtype), labels=given.astype(dtype))


@pytest.mark.parametrize(
    ("features", "labels"), [((3, 4), (3, 5)), ((2, 3, 4), (2, 3, 4)), ((4,), (4,)), ((3, 4), (2, 4)), ((3, 0), (3, 0))]
)
def test_cross_entropy_of_other_shapes(features: tuple[int, ...], labels: tuple[int, ...]) -> None:
    check(
        "SoftmaxCrossEntropyWithLogits", features=numbers(features, np.float32), labels=numbers(labels, np.float32, 1)
    )


def test_a_label_of_zero_times_an_infinite_logit_is_nan() -> None:
    features = np.array([[-np.inf, 0, 1], [0, -np.inf, 1]], np.float32)
    labels = np.array([[0, 0, 1], [0, 1, 0]], np.float32)
    check("SoftmaxCrossEntropyWithLogits", features=features, labels=labels, refused=False)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_cross_entropy(dtype: Any, index: Any) -> None:
    labels = np.array([0, 3, 2, 3, 1], index)
    check("SparseSoftmaxCrossEntropyWithLogits", features=numbers((5, 4), dtype), labels=labels, refused=False)
    check("SparseSoftmaxCrossEntropyWithLogits", features=numbers((0, 4), dtype), labels=labels[:0], refused=False)


@pytest.mark.parametrize("label", [-1, 4, 1 << 20])
def test_sparse_cross_entropy_refuses_labels_outside_the_classes(label: int) -> None:
    labels = np.array([0, label, 1], np.int32)
    check("SparseSoftmaxCrossEntropyWithLogits", features=numbers((3, 4), np.float32), labels=labels, refused=True)


@pytest.mark.parametrize(
    ("features", "labels"),
    [((3, 4), (4,)), ((3, 4), (3, 1)), ((2, 3, 4), (2, 3)), ((4,), ()), ((3, 0), (3,)), ((0, 0), (0,))],
)
def test_sparse_cross_entropy_of_other_shapes(features: tuple[int, ...], labels: tuple[int, ...]) -> None:
    check(
        "SparseSoftmaxCrossEntropyWithLogits", features=numbers(features, np.float32), labels=np.zeros(labels, np.int32)
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4)])
def test_l2_loss_is_half_the_sum_of_squares(dtype: Any, shape: tuple[int, ...]) -> None:
    check("L2Loss", t=numbers(shape, dtype), rtol=None if dtype != ml_dtypes.bfloat16 else 2e-2, refused=False)
