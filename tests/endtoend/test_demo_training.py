"""The demo's models go on training: as far as TensorFlow, and at a bounded cost beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from tf_models import session

import graphrack as gr

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.append(str(EXAMPLES))
import digits  # noqa: E402


def _both(prefix: Path, feeds: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """All variables after a training step with each of the feeds, by TensorFlow and by graphrack."""
    with session() as sess:
        saver = tf.train.import_meta_graph(f"{prefix}.meta", clear_devices=True)
        saver.restore(sess, str(prefix))
        for one in feeds:
            sess.run("train_step", one)
        expected = {
            v.op.name: value for v, value in zip(tf.global_variables(), sess.run(tf.global_variables()), strict=True)
        }
    model = gr.load(prefix)
    for one in feeds:
        model.run("train_step", one)
    return {name: model.variables[name] for name in expected}, expected


def test_the_convolutional_classifier_trains_500_steps_as_in_tensorflow() -> None:
    data, random = digits.training(), np.random.default_rng(5)
    feeds = []
    for _ in range(500):
        batch = random.integers(len(data), size=50)
        feeds.append({"x:0": data.pixels[batch], "y:0": data.one_hot[batch], "keep_prob:0": 1.0})
    found, expected = _both(EXAMPLES / "models/digits_conv/model_name", feeds)
    assert len(expected) == 8 * 3 + 2  # weights and biases, Adam's slots of each, its powers
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)


def test_the_cubic_regression_trains_500_steps_as_in_tensorflow() -> None:
    length, width = digits.petals()
    feeds = [{"x:0": length[i::7], "y:0": width[i::7]} for i in range(7)] * 70
    found, expected = _both(EXAMPLES / "models/cubic/model_name", feeds)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)
