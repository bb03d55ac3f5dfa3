"""Models in the styles in which people wrote TensorFlow 1, each judged by TensorFlow: outputs, variables, training."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf


class Style(NamedTuple):
    """What a style's builder gives.

    Attributes:
        feeds: tensors' names to values.
        fetches: names to compare, given the feeds.
        train: an operation to run with the feeds, or "".
    """

    feeds: dict[str, Any]
    fetches: list[str]
    train: str = ""


def _xy(rows: int = 6, columns: int = 4, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.normal(size=(rows, columns)).astype(np.float32), rng.integers(0, classes, rows)


def _dense(x: Any, units: int, activation: Any = None, name: str = "dense") -> Any:
    with tf.variable_scope(None, name):
        w = tf.get_variable("kernel", [x.shape[-1], units], initializer=tf.glorot_uniform_initializer(seed=1))
        b = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        out = tf.nn.bias_add(tf.matmul(x, w), b)
        return out if activation is None else activation(out)


def _batch_norm(x: Any, training: Any) -> Any:
    """Batch normalisation as tf.layers had it: moving averages under UPDATE_OPS, a placeholder chooses."""
    with tf.variable_scope("bn"):
        size = [x.shape[-1]]
        gamma = tf.get_variable("gamma", size, initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", size, initializer=tf.zeros_initializer())
        mean = tf.get_variable("moving_mean", size, initializer=tf.zeros_initializer(), trainable=False)
        variance = tf.get_variable("moving_variance", size, initializer=tf.ones_initializer(), trainable=False)
        out, m, v = tf.cond(
            training,
            lambda: tf.nn.fused_batch_norm(x, gamma, beta, epsilon=0.001)[:3],
            lambda: tf.nn.fused_batch_norm(x, gamma, beta, mean, variance, 0.001, is_training=False)[:3],
        )
        for moving, new in ((mean, m), (variance, v)):
            keep = tf.cond(training, lambda: 0.9, lambda: 1.0)
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, tf.assign_sub(moving, (moving - new) * (1.0 - keep)))
        return out


def fully_connected_by_hand() -> Style:
    xs, labels = _xy()
    x = tf.placeholder("float", [None, 4], name="x")
    y = tf.placeholder("float", [None, 3], name="y")
    w1 = tf.Variable(tf.random_normal([4, 5]), name="w1")
    b1 = tf.Variable(tf.zeros([5]), name="b1")
    w2 = tf.Variable(tf.truncated_normal([5, 3], stddev=0.1))
    b2 = tf.Variable(tf.constant(0.1, shape=[3]))
    hidden = tf.nn.sigmoid(tf.matmul(x, w1) + b1)
    logits = tf.add(tf.matmul(hidden, w2), b2, name="logits")
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=logits), name="loss")
    correct = tf.equal(tf.argmax(logits, 1), tf.argmax(y, 1))
    tf.reduce_mean(tf.cast(correct, "float"), name="accuracy")
    tf.train.GradientDescentOptimizer(0.5).minimize(loss, name="train")
    return Style({"x": xs, "y": np.eye(3)[labels]}, ["logits:0", "loss:0", "accuracy:0"], "train")


def scopes_and_get_variable() -> Style:
    xs, labels = _xy()
    x = tf.placeholder(tf.float32, [None, 4], "inputs/x")
    y = tf.placeholder(tf.int64, [None], "inputs/labels")

    def regularizer(w: Any) -> Any:
        return 0.01 * tf.nn.l2_loss(w)

    flow = x
    for i, width in enumerate((6, 5)):
        with tf.variable_scope(f"layer{i}", initializer=tf.glorot_uniform_initializer(), reuse=tf.AUTO_REUSE):
            w = tf.get_variable("w", [flow.shape[1], width], regularizer=regularizer)
            b = tf.get_variable("b", [width], initializer=tf.zeros_initializer())
            flow = tf.nn.relu(tf.nn.xw_plus_b(flow, w, b))
    with tf.variable_scope("layer0", reuse=True):
        tf.reduce_sum(tf.get_variable("w"), name="shared_sum")
    with tf.variable_scope("out"):
        logits = tf.matmul(flow, tf.get_variable("w", [5, 3]), name="logits")
    with tf.name_scope("metrics"):
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
        total = tf.add_n([loss, *tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)], name="total")
        tf.reduce_mean(tf.cast(tf.nn.in_top_k(logits, y, 2), tf.float32), name="top2")
    step = tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(0.1, step, 2, 0.9, staircase=True, name="rate")
    tf.train.MomentumOptimizer(rate, 0.9, use_nesterov=True).minimize(total, global_step=step, name="train")
    tf.add_to_collection("prediction", tf.nn.softmax(logits, name="probabilities"))
    return Style({"inputs/x:0": xs, "inputs/labels:0": labels},
                 ["out/logits:0", "metrics/total:0", "metrics/top2:0", "rate:0", "probabilities:0",
                  "layer0_1/shared_sum:0"], "train")  # fmt: skip


def convolutions_with_batch_norm_and_dropout() -> Style:
    rng = np.random.default_rng(1)
    images = tf.placeholder(tf.float32, [None, 8, 8, 3], name="images")
    labels = tf.placeholder(tf.int32, [None], name="labels")
    training = tf.placeholder(tf.bool, [], name="is_training")
    keep = tf.placeholder_with_default(1.0, [], name="keep_prob")
    flow = tf.nn.conv2d(images, tf.get_variable("conv1", [3, 3, 3, 4]), [1, 1, 1, 1], "SAME")
    flow = tf.nn.relu(_batch_norm(flow, training))
    flow = tf.nn.max_pool(flow, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
    depthwise, pointwise = tf.get_variable("dw", [3, 3, 4, 1]), tf.get_variable("pw", [1, 1, 4, 5])
    flow = tf.nn.elu(tf.nn.separable_conv2d(flow, depthwise, pointwise, [1, 1, 1, 1], "VALID"))
    flow = tf.nn.lrn(flow, 2)
    flow = tf.nn.avg_pool(flow, [1, 2, 2, 1], [1, 1, 1, 1], "SAME")
    flow = tf.reshape(flow, [-1, 2 * 2 * 5])
    flow = tf.nn.dropout(flow, keep_prob=keep)
    logits = tf.identity(_dense(flow, 3), name="logits")
    tf.losses.sparse_softmax_cross_entropy(labels, logits)
    total = tf.identity(tf.losses.get_total_loss(), name="total")
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        tf.train.AdamOptimizer(0.01).minimize(total, name="train")
    feeds = {"images": rng.normal(size=(4, 8, 8, 3)).astype(np.float32), "labels": [0, 1, 2, 1], "is_training": True}
    return Style(feeds, ["logits:0", "total:0"], "train")


def inference_of_batch_norm() -> Style:
    style = convolutions_with_batch_norm_and_dropout()
    return Style({**style.feeds, "is_training": False}, style.fetches, "")


def embeddings_of_strings() -> Style:
    words = tf.placeholder(tf.string, [None, 3], name="words")
    table = tf.get_variable("embedding", [10, 4])
    ids = tf.strings.to_hash_bucket_fast(words, 10, name="ids")
    looked = tf.nn.embedding_lookup(table, ids, name="looked")
    mean = tf.reduce_mean(looked, 1, name="mean")
    tf.strings.length(words, name="length")
    tf.identity(tf.strings.reduce_join(words, 1, separator=" "), name="joined")
    loss = tf.reduce_sum(tf.square(mean), name="loss")
    tf.train.AdagradOptimizer(0.1).minimize(loss, name="train")
    return Style({"words": [["a", "bc", "déf"], ["", "a", "zz"]]},
                 ["ids:0", "looked:0", "mean:0", "length:0", "joined:0", "loss:0"], "train")  # fmt: skip


def partitioned_embedding() -> Style:
    ids = tf.placeholder(tf.int64, [None], name="ids")
    table = tf.get_variable("table", [9, 3], partitioner=tf.fixed_size_partitioner(3))
    looked = tf.nn.embedding_lookup(table, ids, partition_strategy="div", name="looked")
    loss = tf.reduce_sum(looked**2, name="loss")
    tf.train.AdamOptimizer(0.1).minimize(loss, name="train")
    return Style({"ids": [0, 8, 4, 4]}, ["loss:0"], "train")


def summaries_and_moving_averages() -> Style:
    xs, _ = _xy()
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    w = tf.get_variable("w", initializer=np.ones([4, 1], "f"))
    out = tf.matmul(x, w, name="out")
    loss = tf.reduce_mean(tf.square(out - 1.0), name="loss")
    tf.summary.scalar("loss_summary", loss)
    tf.summary.histogram("w_summary", w)
    tf.summary.merge_all()
    step = tf.Variable(0, trainable=False, name="global_step")
    averages = tf.train.ExponentialMovingAverage(0.9, step)
    apply = tf.train.RMSPropOptimizer(0.05).minimize(loss, global_step=step)
    with tf.control_dependencies([apply]):
        averages.apply([w])
        tf.group(averages.apply([w]), name="train")
    return Style({"x": xs}, ["out:0", "loss:0"], "train")


def clipped_gradients_and_accuracy() -> Style:
    xs, labels = _xy()
    x = tf.placeholder(tf.float32, (None, 4), name="x")
    y = tf.placeholder(tf.int64, (None,), name="y")
    dense = _dense(x, 8, tf.nn.leaky_relu)
    logits = _dense(dense, 3)
    loss = tf.losses.sparse_softmax_cross_entropy(labels=y, logits=logits)
    optimizer = tf.train.AdamOptimizer()
    gradients, variables = zip(*optimizer.compute_gradients(loss), strict=True)
    gradients, norm = tf.clip_by_global_norm(gradients, 0.5)
    optimizer.apply_gradients(zip(gradients, variables, strict=True), name="train")
    tf.identity(norm, name="norm")
    tf.identity(loss, name="loss")
    tf.argmax(logits, 1, name="classes")
    return Style({"x": xs, "y": labels}, ["norm:0", "loss:0", "classes:0"], "train")


def streaming_metrics() -> Style:
    x = tf.placeholder(tf.float32, [None], name="x")
    y = tf.placeholder(tf.float32, [None], name="y")
    w = tf.Variable(2.0, name="w")
    mean, update = tf.metrics.mean_squared_error(y, x * w)
    tf.identity(mean, name="value")
    tf.group(update, name="train")
    return Style({"x": [1.0, 2], "y": [3.0, 4]}, ["value:0"], "train")


def recurrent_network() -> Style:
    rng = np.random.default_rng(3)
    x = tf.placeholder(tf.float32, [None, 5, 2], name="x")
    lengths = tf.placeholder(tf.int32, [None], name="lengths")
    with tf.variable_scope("rnn"):
        w = tf.get_variable("w", [5, 3])
        b = tf.get_variable("b", [3])
    state = tf.zeros([tf.shape(x)[0], 3])
    for t in range(5):
        new = tf.tanh(tf.matmul(tf.concat([x[:, t], state], 1), w) + b)
        state = tf.where(t < lengths, new, state)
    loss = tf.reduce_sum(tf.square(state), name="loss")
    tf.identity(state, name="state")
    tf.train.FtrlOptimizer(0.1).minimize(loss, name="train")
    return Style({"x": rng.normal(size=(3, 5, 2)).astype("f"), "lengths": [5, 2, 0]}, ["state:0", "loss:0"], "train")


def while_and_cond() -> Style:
    x = tf.placeholder(tf.float32, [], name="x")
    w = tf.Variable(1.5, name="w")
    _, total = tf.while_loop(lambda i, s: i < 4, lambda i, s: (i + 1, s * w + x), (0, tf.constant(0.0)))
    out = tf.cond(total > 5.0, lambda: total * w, lambda: total - w, name="cond")
    tf.identity(out, name="out")
    tf.train.GradientDescentOptimizer(0.001).minimize(out, name="train")
    return Style({"x": 1.0}, ["out:0"], "train")


def unusual_dtypes() -> Style:
    every = {
        "half": tf.get_variable("half", [3], tf.float16),
        "double": tf.get_variable("double", [3], tf.float64),
        "long": tf.Variable(np.array([1, 2], np.int64), name="long"),
        "flags": tf.Variable(np.array([True, False]), name="flags"),
        "texts": tf.Variable(["a", "bc"], name="texts"),
        "complex": tf.Variable(np.array([1 + 2j], np.complex64), name="complex"),
        "brain": tf.Variable(tf.cast([1.5], tf.bfloat16), name="brain"),
        "bytes": tf.Variable(np.array([1, 2], np.uint8), name="bytes"),
        "empty": tf.Variable(np.zeros((0, 3), np.float32), name="empty"),
        "scalar": tf.Variable(7, name="scalar"),
    }
    for name, variable in every.items():
        tf.identity(variable, name=f"value_of_{name}")
    return Style({}, [f"value_of_{name}:0" for name in every])


def transposed_convolutions() -> Style:
    rng = np.random.default_rng(5)
    z = tf.placeholder(tf.float32, [None, 6], name="z")
    flow = _dense(z, 2 * 2 * 4)
    flow = tf.reshape(flow, [-1, 2, 2, 4])
    flow = tf.nn.tanh(
        tf.nn.conv2d_transpose(flow, tf.get_variable("k", [3, 3, 3, 4]), [2, 4, 4, 3], [1, 2, 2, 1], "SAME")
    )
    flow = tf.image.resize_bilinear(flow, [7, 7], align_corners=True)
    flow = tf.image.resize_nearest_neighbor(flow, [5, 9])
    flow = tf.pad(flow, [[0, 0], [1, 1], [2, 2], [0, 0]], "REFLECT")
    tf.identity(flow, name="image")
    loss = tf.reduce_mean(tf.abs(flow), name="loss")
    tf.train.AdadeltaOptimizer(1.0).minimize(loss, name="train")
    return Style({"z": rng.normal(size=(2, 6)).astype("f")}, ["image:0", "loss:0"], "train")


def shape_juggling() -> Style:
    x = tf.Variable(1.0) * tf.placeholder(tf.float32, [None, None, 4], name="x")
    n, t = tf.unstack(tf.shape(x))[:2]
    flat = tf.reshape(x, [n * t, 4])
    parts = tf.split(flat, [1, 3], 1)
    stacked = tf.stack([tf.reduce_max(p, 1) for p in parts], -1)
    back = tf.reshape(stacked, [n, t, 2], name="back")
    tf.transpose(back, [1, 0, 2], name="turned")
    tf.one_hot(tf.argmax(back, -1), 2, on_value=3.0, name="hot")
    values, indices = tf.nn.top_k(x, 2, name="top")
    del values, indices
    tf.gather_nd(x, [[0, 1], [1, 0]], name="picked")
    tf.identity(x[:, ::-1, 1:, tf.newaxis], name="sliced")
    tf.tile(tf.expand_dims(back, 0), [2, 1, 1, 1], name="tiled")
    tf.where(x > 0, x, tf.zeros_like(x), name="chosen")
    tf.boolean_mask(x, x[:, :, 0] > 0, name="masked")
    tf.range(0, n * 2, 2, name="numbers")
    tf.squeeze(tf.reduce_logsumexp(x, axis=[1], keepdims=True), 1, name="lse")
    tf.cumsum(x, 1, exclusive=True, reverse=True, name="running")
    tf.sequence_mask([1, 3], 4, name="mask")
    tf.linalg.norm(x, axis=-1, name="norms")
    tf.clip_by_value(x, -0.5, 0.5, name="clipped")
    tf.matmul(x, x, transpose_b=True, name="gram")
    tf.einsum("btc,bsc->bts", x, x, name="attention")
    feeds = {"x": np.random.default_rng(2).normal(size=(2, 3, 4)).astype("f")}
    names = ["back", "turned", "hot", "top", "picked", "sliced", "tiled", "chosen", "numbers",
             "lse", "running", "clipped", "gram"]  # fmt: skip
    return Style(feeds, names)


def lookup_tables() -> Style:
    x = tf.placeholder(tf.string, [None], name="x")
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([1, 2], tf.int64)), -1
    )
    weights = tf.Variable([10.0, 20.0, 30.0])
    ids = tf.identity(table.lookup(x), name="ids")
    tf.gather(weights, tf.maximum(ids, 0), name="out")
    return Style({"x": ["b", "zz", "a"]}, ["ids:0", "out:0"])


def random_numbers_with_seeds() -> Style:
    x = tf.placeholder(tf.float32, [3], name="x")
    w = tf.Variable(tf.ones([3]))
    noisy = x * w + tf.random_normal([3], seed=3)
    tf.identity(tf.nn.dropout(noisy, rate=0.5, seed=5), name="dropped")
    tf.random_uniform([2, 2], 0, 10, tf.int32, seed=1, name="ints")
    return Style({"x": [1.0, 2, 3]}, ["dropped:0", "ints:0"])


STYLES = [
    fully_connected_by_hand, scopes_and_get_variable, convolutions_with_batch_norm_and_dropout,
    inference_of_batch_norm, embeddings_of_strings, partitioned_embedding, summaries_and_moving_averages,
    clipped_gradients_and_accuracy, streaming_metrics, recurrent_network, while_and_cond, unusual_dtypes,
    transposed_convolutions, shape_juggling, lookup_tables, random_numbers_with_seeds,
]  # fmt: skip
