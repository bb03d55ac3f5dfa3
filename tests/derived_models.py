"""Graphs as people build them, saved by TensorFlow, and what TensorFlow makes of models derived from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

import graphrack as gr

Feeds = Mapping[str, Any]


def variable(name: str, shape: Sequence[int], resource: bool, low: float | None = None) -> Any:
    """A variable of random values; with `low`, of values from there to one more."""
    if low is None:
        initializer = tf.random_normal_initializer(seed=3)
    else:
        initializer = tf.random_uniform_initializer(low, low + 1, seed=3)
    return tf.get_variable(name, shape, initializer=initializer, use_resource=resource)


def branch(resource: bool) -> None:
    """A cond on what is fed, one branch of which is a constant that belongs to it by a control input alone."""
    p, x = tf.placeholder(tf.bool, [], name="p"), tf.placeholder(tf.float32, [None, 2], name="x")
    w, b = variable("w", [2, 2], resource), variable("b", [2], resource)
    tf.identity(tf.cond(p, lambda: tf.matmul(x, w) + b, lambda: tf.zeros([1, 2]) + tf.constant(2.0)), name="y")


def loop(resource: bool) -> None:
    """A loop with a cond in it; both read variables, one of them by gather."""
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    w, n = variable("w", [2, 2], resource), variable("n", [], resource)

    def body(i: Any, a: Any) -> Any:
        return i + 1, tf.cond(i < 2, lambda: tf.matmul(a, w) * n, lambda: a + tf.gather(w, [0]))

    shapes = [tf.TensorShape([]), tf.TensorShape([None, 2])]
    found = tf.while_loop(lambda i, _: i < 3, body, [tf.constant(0), x], shape_invariants=shapes)
    tf.identity(found[1], name="y")


def training_branch(resource: bool) -> None:
    """A cond on a constant: the branch that isn't taken assigns a moving average."""
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    w, mean = variable("w", [2, 2], resource), variable("mean", [2], resource)

    def train() -> Any:
        with tf.control_dependencies([tf.assign(mean, tf.reduce_mean(x, 0))]):
            return x / mean

    tf.matmul(tf.cond(tf.constant(False), train, lambda: x - mean), w, name="y")


def partitioned(resource: bool) -> None:
    """An embedding in three parts, looked up and read whole."""
    ids = tf.placeholder(tf.int32, [None], name="ids")
    with tf.variable_scope("e", partitioner=tf.fixed_size_partitioner(3), use_resource=resource):
        table = tf.get_variable("table", [10, 4], initializer=tf.random_normal_initializer(seed=1))
    tf.add(tf.nn.embedding_lookup(table, ids), tf.reduce_sum(tf.convert_to_tensor(table)), name="y")


def norms(resource: bool) -> None:
    """Batch norms of every form, in inference, after every kind of convolution and product, biases between."""

    def norm(scope: str, n: int) -> tuple[Any, ...]:
        with tf.variable_scope(scope):
            made = [variable(name, [n], resource) for name in ("gamma", "beta", "mean")]
            return (*made, variable("variance", [n], resource, low=0.5))

    h = tf.placeholder(tf.float32, [None, 8, 8, 3], name="x")
    gamma, beta, mean, variance = norm("one", 4)
    h = tf.nn.conv2d(h, variable("c1", [3, 3, 3, 4], resource), 1, "SAME")
    h = tf.nn.relu(tf.nn.fused_batch_norm(h, gamma, beta, mean, variance, epsilon=1e-3, is_training=False)[0])
    gamma, beta, mean, variance = norm("two", 8)
    h = tf.nn.depthwise_conv2d(h, variable("d1", [3, 3, 4, 2], resource), [1, 1, 1, 1], "SAME")
    h = tf.nn.bias_add(h, variable("db", [8], resource))
    h = tf.nn.relu(tf.nn.batch_normalization(h, mean, variance, beta, gamma, 1e-3))
    _, _, mean, variance = norm("three", 4)
    h = tf.nn.conv2d(h, variable("c2", [3, 3, 8, 4], resource), 2, "VALID") + variable("cb", [4], resource)
    h = tf.reshape(tf.nn.relu(tf.nn.batch_normalization(h, mean, variance, None, None, 1e-3)), [-1, 36])
    gamma, beta, mean, variance = norm("four", 10)
    h = tf.matmul(h, variable("w", [36, 10], resource)) + variable("wb", [10], resource)
    h = tf.nn.batch_normalization(h, mean, variance, beta, gamma, 1e-3)
    h = tf.matmul(h, variable("w2", [5, 10], resource), transpose_b=True) * variable("scale", [5], resource)
    tf.nn.softmax(h, name="y")


def dense(resource: bool = False) -> None:
    """One layer, its output in a collection, with a training step."""
    x, y = tf.placeholder(tf.float32, [None, 3], name="x"), tf.placeholder(tf.float32, [None, 2], name="labels")
    w, b = variable("w", [3, 2], resource), variable("b", [2], resource)
    out = tf.nn.softmax(tf.matmul(x, w, name="product") + b, name="y")
    tf.add_to_collection("activation", out)
    tf.train.AdamOptimizer(0.1).minimize(tf.reduce_mean(tf.square(out - y)), name="train")


X = np.array([[1, 2], [3, 4], [-1, 0.5]], np.float32)
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
ROWS = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)

CASES: dict[str, tuple[Callable[[bool], None], list[Feeds]]] = {
    "branch": (branch, [{"p:0": True, "x:0": X}, {"p:0": False, "x:0": X}]),
    "loop": (loop, [{"x:0": X}]),
    "training branch": (training_branch, [{"x:0": X}]),
    "partitioned": (partitioned, [{"ids:0": [1, 5, 9]}]),
    "norms": (norms, [{"x:0": IMAGES}]),
}


def save(
    folder: Path,
    build: Callable[[bool], None],
    resource: bool = False,
    functional: bool = False,
    feeds: Sequence[Feeds] = (),
    fetch: str = "y:0",
    seed: int = 0,
) -> tuple[gr.Model, list[Any]]:
    """Has TensorFlow build, initialise, save and run a graph; gives graphrack's model and what TensorFlow computed."""
    folder.mkdir(parents=True, exist_ok=True)
    before = tf.control_flow_v2_enabled()
    (tf.enable_control_flow_v2 if functional else tf.disable_control_flow_v2)()
    try:
        with tf.Graph().as_default(), tf.Session() as sess:
            tf.set_random_seed(seed)
            build(resource)
            sess.run(tf.global_variables_initializer())
            tf.train.Saver().save(sess, str(folder / "model"))
            wanted = [sess.run(fetch, f) for f in feeds]
    finally:
        (tf.enable_control_flow_v2 if before else tf.disable_control_flow_v2)()
    return gr.load(folder / "model"), wanted


def run_frozen(path: Path, fetches: Any, feeds: Feeds) -> Any:
    """What TensorFlow computes from a GraphDef's file."""
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.import_graph_def(tf.GraphDef.FromString(path.read_bytes()), name="")
        return sess.run(fetches, feeds)


def run_restored(prefix: Path, fetches: Any, feeds: Feeds) -> Any:
    """What TensorFlow computes from a MetaGraph with its checkpoint."""
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.train.import_meta_graph(f"{prefix}.meta").restore(sess, str(prefix))
        return sess.run(fetches, feeds)


def run_saved_model(folder: Path, feeds: Feeds, signature: str = "serving_default") -> Any:
    """What TensorFlow computes from a SavedModel's signature: outputs by key, given inputs by key."""
    with tf.Graph().as_default(), tf.Session() as sess:
        loaded = tf.saved_model.loader.load(sess, ["serve"], str(folder)).signature_def[signature]
        outputs = {key: info.name for key, info in loaded.outputs.items()}
        return sess.run(outputs, {loaded.inputs[key].name: value for key, value in feeds.items()})
