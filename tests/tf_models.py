"""Models that TensorFlow builds, runs and saves for the tests, as people write them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

PLAIN = tf.ConfigProto()
"""TensorFlow as it stands, without its graph optimiser."""
PLAIN.graph_options.rewrite_options.disable_meta_optimizer = True


@contextlib.contextmanager
def session(seed: int = 0) -> Iterator[Any]:
    """A fresh graph with a session in it; variables are TF1's own kind unless asked for otherwise."""
    resources = tf.resource_variables_enabled()
    tf.disable_resource_variables()
    try:
        with tf.Graph().as_default(), tf.Session() as sess:
            tf.set_random_seed(seed)
            yield sess
    finally:
        if resources:
            tf.enable_resource_variables()


def regression(seed: int = 0, device: str | None = None) -> dict[str, Any]:
    """The regression of the well-known pages, in the current graph: unnamed variables, Adam, a collection."""
    rng = np.random.default_rng(seed)
    with tf.device(device) if device else contextlib.nullcontext():
        x = tf.placeholder("float", name="x")
        y = tf.placeholder("float", name="y")
        weights = [tf.Variable(rng.normal(), dtype=tf.float32) for _ in range(4)]
        a, b, c, d = weights
        activation = tf.add(a * tf.pow(x, 3), b * tf.pow(x, 2) + c * x + d, name="activation_opt")
        cost = tf.reduce_mean(tf.square(activation - y), name="cost")
        train = tf.train.AdamOptimizer(0.05).minimize(cost, name="train_step")
    tf.add_to_collection("activation", activation)
    return {"x": x, "y": y, "activation": activation, "cost": cost, "train": train, "weights": weights}


def train(sess: Any, model: dict[str, Any], steps: int = 20) -> None:
    """A few steps on a fixed curve."""
    xs = np.linspace(-1, 1, 16, dtype=np.float32)
    for _ in range(steps):
        sess.run(model["train"], {model["x"]: xs, model["y"]: xs**3 - xs + 0.5})


def save_regression(folder: Path, seed: int = 0, device: str | None = None, **saver: Any) -> Callable[[Any], Any]:
    """Trains and saves one as `folder/model_name`; gives TensorFlow's results for later comparison."""
    folder.mkdir(parents=True, exist_ok=True)
    with session(seed) as sess:
        model = regression(seed, device)
        sess.run(tf.global_variables_initializer())
        keeper = tf.train.Saver(**saver)
        train(sess, model)
        keeper.save(sess, str(folder / "model_name"), global_step=20)
        train(sess, model)
        keeper.save(sess, str(folder / "model_name"))
        values = [float(v) for v in sess.run(model["weights"])]

    def expected(x: Any) -> Any:
        x = np.asarray(x, np.float32)
        a, b, c, d = (np.float32(v) for v in values)
        return a * x**3 + (b * x**2 + c * x + d)

    return expected
