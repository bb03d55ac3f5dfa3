"""Every public function of `tf.metrics`, updated several times by TensorFlow and by graphrack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import Programs, agree, fed

random = np.random.default_rng(2)
X = random.normal(size=(5, 3))
Y = random.normal(size=(5, 3))
LABELS = random.integers(0, 3, 5)
WEIGHTS = random.uniform(0.5, 2, (5, 1))


class _Metrics(Programs):
    """Programs that fetch the update alone, whose value is the metric's: nothing orders it and the other output."""

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> None:
        super().__call__(name, *args, use=lambda f, *a, **k: f(*a, **k)[1], **MANY, **kwargs)


MANY = {"runs": 3, "gradients": False}
metrics = _Metrics(tf.metrics, {})
TRUE, GUESS = LABELS > 0, random.integers(0, 3, 5) > 0
SCORES = random.uniform(0, 1, (5,)).astype(np.float32)
GUESSES = random.integers(0, 3, 5)
NUMBERS = X.astype(np.float32)
ROW_WEIGHTS = WEIGHTS[:, 0].astype(np.float32)
TOP = random.normal(size=(5, 4)).astype(np.float32)
for weights in (None, ROW_WEIGHTS):
    metrics("accuracy", LABELS, GUESSES, weights)
    for name in ("false_negatives", "false_positives", "precision", "recall", "true_negatives", "true_positives"):
        metrics(name, TRUE, GUESS, weights)
    for name in (
        "false_negatives_at_thresholds", "false_positives_at_thresholds", "precision_at_thresholds",
        "recall_at_thresholds", "true_negatives_at_thresholds", "true_positives_at_thresholds",
    ):  # fmt: skip
        metrics(name, TRUE, SCORES, [0.2, 0.5, 0.9], weights)
    for summation in ("trapezoidal", "minoring", "majoring", "careful_interpolation"):
        for curve in ("ROC", "PR"):
            if summation == "careful_interpolation" and curve == "ROC":
                continue
            metrics("auc", TRUE, SCORES, weights, 11, curve=curve, summation_method=summation)
    metrics("mean", NUMBERS, None if weights is None else WEIGHTS.astype(np.float32))
    metrics.build("mean_tensor", lambda: tf.metrics.mean_tensor(fed(NUMBERS, shape=[5, 3]))[1], **MANY)
    for name in ("mean_iou", "mean_per_class_accuracy"):
        metrics.build(
            name,
            lambda name=name, w=weights: getattr(tf.metrics, name)(
                fed(LABELS, shape=[5]), fed(GUESSES, shape=[5]), 3, None if w is None else fed(w, shape=[5])
            )[1],
            **MANY,
        )
    metrics("percentage_below", SCORES, 0.5, weights)
    metrics("sensitivity_at_specificity", TRUE, SCORES, 0.7, weights, 11)
    metrics("specificity_at_sensitivity", TRUE, SCORES, 0.7, weights, 11)
    for name in ("recall_at_k", "precision_at_k", "sparse_precision_at_k"):
        metrics(name, LABELS[:, None], TOP, 2, weights=weights)
    for name in ("recall_at_top_k", "precision_at_top_k"):
        metrics(name, LABELS[:, None], np.argsort(TOP, 1)[:, :2].astype(np.int64), weights=weights)
metrics("recall_at_k", LABELS[:, None], TOP, 2, class_id=1)
for name in ("average_precision_at_k", "sparse_average_precision_at_k"):
    metrics.build(
        name,
        lambda name=name: getattr(tf.metrics, name)(fed(LABELS[:, None], shape=[5, 1]), fed(TOP, shape=[5, 4]), 2)[1],
        **MANY,
    )
for name in ("mean_absolute_error", "mean_squared_error", "root_mean_squared_error"):
    metrics(name, NUMBERS, Y.astype(np.float32), WEIGHTS.astype(np.float32))
metrics("mean_relative_error", NUMBERS, Y.astype(np.float32), np.abs(NUMBERS))
metrics("mean_cosine_distance", NUMBERS, Y.astype(np.float32), 1)


@pytest.mark.parametrize(("program", "options"), metrics.parameters())
def test_program_agrees(program: Any, options: Any) -> None:
    agree(program, **options)


def test_every_function_has_a_program() -> None:
    assert metrics.missing() == []
