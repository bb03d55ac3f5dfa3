"""How people train: every optimizer, schedules, averages, clipping, accumulation, masks, metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import CASES, Case, Graph, graph
from endtoend.layers import batch_norm, classified, conv, dense, flatten, integers, minimize, normal, uniform

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "gradient_descent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "nesterov": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "adam": lambda: tf.train.AdamOptimizer(0.05),
    "adagrad": lambda: tf.train.AdagradOptimizer(0.2),
    "adagrad_da": lambda: tf.train.AdagradDAOptimizer(0.2, tf.train.get_or_create_global_step()),
    "adadelta": lambda: tf.train.AdadeltaOptimizer(1.0, epsilon=1e-4),
    "rms_prop": lambda: tf.train.RMSPropOptimizer(0.05, momentum=0.5),
    "centered_rms_prop": lambda: tf.train.RMSPropOptimizer(0.05, centered=True),
    "ftrl": lambda: tf.train.FtrlOptimizer(0.2, l1_regularization_strength=0.01, l2_regularization_strength=0.01),
    "ftrl_with_shrinkage": lambda: tf.train.FtrlOptimizer(0.2, l2_shrinkage_regularization_strength=0.02),
    "proximal_gradient_descent": lambda: tf.train.ProximalGradientDescentOptimizer(
        0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.01
    ),
    "proximal_adagrad": lambda: tf.train.ProximalAdagradOptimizer(0.1, l1_regularization_strength=0.01),
}


def _optimized(make: Callable[[], Any]) -> Callable[[], Graph]:
    def build() -> Graph:
        """One dense variable, one of whose rows a step looks at only some, some twice."""
        x, rows = tf.placeholder(tf.float32, [None, 4], name="x"), tf.placeholder(tf.int32, [None], name="rows")
        table = tf.get_variable("table", initializer=normal(6, 4))
        w = tf.get_variable("w", initializer=normal(4, 3))
        out = tf.matmul(x + tf.nn.embedding_lookup(table, rows), w)
        loss = tf.reduce_mean(tf.square(out - 1.0))
        train = make().minimize(loss, tf.train.get_or_create_global_step(), name="train_step")
        feeds = [{x: normal(3, 4, seed=i), rows: [1, i, 1]} for i in range(3)]
        return Graph(feeds, [out, loss, tf.train.get_global_step()], train, steps=6)

    return build


for _name, _make in OPTIMIZERS.items():
    CASES[f"optimizer_{_name}"] = Case(_optimized(_make), 1e-4, 1e-5, ("TF1", "TF2"))


@graph()
def learning_rate_schedules() -> Graph:
    step = tf.train.get_or_create_global_step()
    rates = [
        tf.train.exponential_decay(0.1, step, 3, 0.9),
        tf.train.exponential_decay(0.1, step, 3, 0.9, staircase=True),
        tf.train.piecewise_constant(step, [2, 4], [0.1, 0.05, 0.01]),
        tf.train.polynomial_decay(0.1, step, 4, 0.001, power=2.0, cycle=True),
        tf.train.natural_exp_decay(0.1, step, 2, 0.5),
        tf.train.inverse_time_decay(0.1, step, 2, 0.5),
        tf.train.cosine_decay(0.1, step, 5, alpha=0.1),
        tf.train.cosine_decay_restarts(0.1, step, 2),
        tf.train.linear_cosine_decay(0.1, step, 6),
        tf.train.noisy_linear_cosine_decay(0.1, step, 6),
    ]
    x = tf.placeholder(tf.float32, [None], name="x")
    w = tf.get_variable("w", initializer=np.float32(1))
    loss = tf.reduce_mean(tf.square(x * w))
    train = tf.group(*[tf.train.GradientDescentOptimizer(rate).minimize(loss) for rate in rates[:1]])
    with tf.control_dependencies([train]):
        train = tf.group(tf.assign_add(step, 1), name="train_step")
    return Graph({x: [1, 2]}, [*rates, loss], train, steps=7)


@graph()
def moving_averages_of_weights() -> Graph:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    w = tf.get_variable("w", [3, 2])
    step = tf.train.get_or_create_global_step()
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w) - 1))
    average = tf.train.ExponentialMovingAverage(0.9, step, zero_debias=False)
    losses = tf.train.ExponentialMovingAverage(0.5, zero_debias=True)
    train = tf.train.AdamOptimizer(0.1).minimize(loss, step)
    with tf.control_dependencies([train]):
        train = tf.group(average.apply([w]), losses.apply([loss]), name="train_step")
    shadow = tf.matmul(x, average.average(w))
    return Graph({x: normal(4, 3)}, [shadow, losses.average(loss), loss], train)


@graph()
def gradient_accumulation() -> Graph:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    w = tf.get_variable("w", [3, 2])
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w) - 1))
    total = tf.get_variable("total", [3, 2], trainable=False, initializer=tf.zeros_initializer())
    count = tf.get_variable("count", [], tf.int32, trainable=False, initializer=tf.zeros_initializer())
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    ((gradient, _),) = optimizer.compute_gradients(loss, [w])
    added = tf.group(total.assign_add(gradient), count.assign_add(1))

    def apply() -> Any:
        mean = total.read_value() / tf.cast(count.read_value(), tf.float32)
        with tf.control_dependencies([optimizer.apply_gradients([(mean, w)])]):
            cleared = [total.assign(tf.zeros([3, 2])), count.assign(0)]
        with tf.control_dependencies([c.op if hasattr(c, "op") else c for c in cleared]):
            return tf.constant(True)

    optimizer._create_slots([w])
    with tf.control_dependencies([added]):
        ready = tf.equal(count.read_value() % 2, 0)
        train = tf.cond(ready, apply, lambda: tf.constant(False))
    batches = [{x: normal(4, 3, seed=i)} for i in range(3)]
    return Graph(batches, [loss, count], train.op, steps=6)


@graph()
def clipping_of_gradients() -> Graph:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    table = tf.get_variable("table", [5, 3])
    w = tf.get_variable("w", [3, 2])
    rows = tf.nn.embedding_lookup(table, tf.constant([0, 2, 2]))
    loss = 10 * tf.reduce_sum(tf.square(tf.matmul(x + rows, w) - 1))
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    pairs = optimizer.compute_gradients(loss)
    gradients, variables = zip(*pairs, strict=True)
    whole, norm = tf.clip_by_global_norm(gradients, 1.0)  # one of them IndexedSlices
    single = [tf.clip_by_norm(tf.convert_to_tensor(g), 0.5) for g in gradients]
    average = [tf.clip_by_average_norm(tf.convert_to_tensor(g), 0.1) for g in gradients]
    train = optimizer.apply_gradients(zip(whole, variables, strict=True))
    return Graph({x: normal(3, 3)}, [norm, *single, *average, loss], train)


@graph()
def batch_norm_with_moving_averages() -> Graph:
    x = tf.placeholder(tf.float32, [None, 4, 4, 3], name="x")
    training = tf.placeholder(tf.bool, [], name="is_training")
    net = tf.nn.relu(batch_norm(conv(x, 5, activation=None), training))
    logits = dense(flatten(batch_norm(net, training, momentum=0.5)), 2)
    labels, loss = classified(logits, integers(2, 4))
    train = minimize(tf.train.MomentumOptimizer(0.05, 0.9), loss)
    here = {x: uniform(4, 4, 4, 3), labels: integers(2, 4)}
    return Graph([{**here, training: True}, {**here, training: False}], [tf.nn.softmax(logits), loss], train)


@graph()
def batch_norm_from_moments() -> Graph:
    """As pages before fused kernels wrote it: moments, ExponentialMovingAverage, a cond."""
    x, phase = tf.placeholder(tf.float32, [None, 4], name="x"), tf.placeholder(tf.bool, name="phase_train")
    beta = tf.Variable(tf.constant(0.0, shape=[4]), name="beta")
    gamma = tf.Variable(tf.constant(1.0, shape=[4]), name="gamma")
    batch_mean, batch_variance = tf.nn.moments(x, [0], name="moments")
    average = tf.train.ExponentialMovingAverage(decay=0.5)

    with tf.variable_scope("averages"):
        apply = average.apply([batch_mean, batch_variance])

    def updated() -> Any:
        return tf.identity(batch_mean), tf.identity(batch_variance)

    mean, variance = tf.cond(
        phase, updated, lambda: (average.average(batch_mean) + 0.0, average.average(batch_variance) + 0.0)
    )
    normed = tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)
    loss = tf.reduce_mean(tf.square(normed - 0.3) * x)
    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, apply)
    train = minimize(tf.train.GradientDescentOptimizer(0.1), loss)
    # One step, with the first feeds: with the second, TensorFlow reads the averages before or after it changes them.
    return Graph([{x: normal(5, 4), phase: True}, {x: normal(3, 4), phase: False}], [normed, loss], train, steps=1)


@graph()
def dropout_of_every_kind() -> Graph:
    x = tf.placeholder(tf.float32, [4, 6, 6, 2], name="x")
    rate = tf.placeholder_with_default(0.3, [], name="rate")
    net = tf.nn.dropout(conv(x, 4), rate=rate)
    net = tf.nn.dropout(net, rate=0.5, noise_shape=[4, 1, 1, 4])  # whole channels
    net = net + tf.random.truncated_normal(tf.shape(net), stddev=0.05)
    alpha = tf.random.gamma([4, 1, 1, 1], 2.0, seed=8)
    logits = dense(flatten(net * alpha), 3)
    labels, loss = classified(logits, integers(3, 4))
    train = minimize(tf.train.GradientDescentOptimizer(0.05), loss)
    return Graph({x: uniform(4, 6, 6, 2), labels: integers(3, 4)}, [logits, loss], train)


@graph()
def quantisation_aware_training() -> Graph:
    x = tf.placeholder(tf.float32, [None, 5, 5, 2], name="x")

    def quantised(value: Any, name: str) -> Any:
        with tf.variable_scope(name):
            low = tf.get_variable("min", initializer=np.float32(-3), trainable=False)
            high = tf.get_variable("max", initializer=np.float32(3), trainable=False)
            # Of their own, not the variables' memory: forwards and backwards see what was before the update.
            before = [low + 0.0, high + 0.0]
            with tf.control_dependencies(before):
                for kept, now in ((low, tf.reduce_min(value)), (high, tf.reduce_max(value))):
                    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, tf.assign_sub(kept, (kept - now) * 0.1))
            return tf.quantization.fake_quant_with_min_max_vars(value, *before)

    kernel = tf.get_variable("kernel", [3, 3, 2, 4])
    per_channel = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, tf.fill([4], -0.5), tf.fill([4], 0.5), num_bits=6
    )
    net = quantised(tf.nn.relu6(tf.nn.conv2d(quantised(x, "in"), per_channel, 1, "SAME")), "act")
    logits = tf.quantization.fake_quant_with_min_max_args(dense(tf.reduce_mean(net, [1, 2]), 3), -6, 6)
    labels, loss = classified(logits, integers(3, 2))
    train = minimize(tf.train.GradientDescentOptimizer(0.05), loss)
    return Graph({x: normal(2, 5, 5, 2), labels: integers(3, 2)}, [logits, loss], train)


@graph(rtol=5e-3, atol=5e-3)
def mixed_precision_with_loss_scaling() -> Graph:
    x = tf.placeholder(tf.float32, [None, 6], name="x")
    w = tf.get_variable("w", [6, 4], initializer=tf.random_normal_initializer(stddev=0.3))
    scale = tf.get_variable("loss_scale", initializer=np.float32(64), trainable=False)
    half = tf.nn.relu(tf.matmul(tf.cast(x, tf.float16), tf.cast(w, tf.float16)))
    loss = tf.reduce_mean(tf.square(tf.cast(half, tf.float32) - 1))
    (scaled,) = tf.gradients(loss * scale, w)
    finite = tf.reduce_all(tf.is_finite(scaled))
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    gradient = tf.where(finite, scaled / scale, tf.zeros_like(scaled))
    apply = optimizer.apply_gradients([(gradient, w)])
    with tf.control_dependencies([apply]):
        train = tf.group(scale.assign(tf.where(finite, scale * 2, scale / 2)), name="train_step")
    return Graph({x: normal(3, 6)}, [half, loss], train)


@graph()
def losses_and_metrics() -> Graph:
    x, y = tf.placeholder(tf.float32, [None, 3], name="x"), tf.placeholder(tf.float32, [None, 3], name="y")
    out = dense(x, 3)
    weight = tf.constant([[1.0], [0.0], [2.0]])
    tf.losses.mean_squared_error(y, out, weights=weight)
    tf.losses.absolute_difference(y, out, reduction=tf.losses.Reduction.SUM_BY_NONZERO_WEIGHTS)
    tf.losses.cosine_distance(tf.nn.l2_normalize(y, 1), tf.nn.l2_normalize(out, 1), axis=1)
    tf.losses.mean_pairwise_squared_error(y, out)
    tf.losses.huber_loss(y, out, delta=0.3)
    tf.losses.softmax_cross_entropy(tf.nn.softmax(y), out)
    total = tf.losses.get_total_loss()
    classes, hits = tf.argmax(y, 1), tf.argmax(out, 1)
    metrics = [
        tf.metrics.accuracy(classes, hits),
        tf.metrics.mean(total),
        tf.metrics.precision(classes > 0, hits > 0),
        tf.metrics.recall(classes > 0, hits > 0),
        tf.metrics.auc(classes > 0, tf.sigmoid(out[:, 0]), num_thresholds=11),
        tf.metrics.mean_iou(classes, hits, 3),
        tf.metrics.root_mean_squared_error(y, out),
        tf.metrics.recall_at_k(classes, out, 2),
    ]
    updates = [update for _, update in metrics]
    with tf.control_dependencies(updates):
        train = tf.group(tf.train.AdamOptimizer(0.1).minimize(total), name="train_step")
    batches = [{x: normal(3, 3, seed=i), y: normal(3, 3, seed=i + 5)} for i in range(3)]
    return Graph(batches, [total, *[value for value, _ in metrics]], train)


@graph()
def weights_decayed_pruned_and_normalised() -> Graph:
    x = tf.placeholder(tf.float32, [None, 6], name="x")
    v, g = tf.get_variable("v", [6, 4]), tf.get_variable("g", [4], initializer=tf.ones_initializer())
    mask = tf.get_variable("mask", [6, 4], trainable=False, initializer=tf.ones_initializer())
    w = tf.nn.l2_normalize(v, 0) * g * mask
    u = tf.get_variable("u", [1, 4], trainable=False, initializer=tf.random_normal_initializer())
    left = tf.nn.l2_normalize(tf.matmul(u, tf.transpose(w)))
    right = tf.nn.l2_normalize(tf.matmul(left, w))
    sigma = tf.squeeze(tf.matmul(tf.matmul(left, w), right, transpose_b=True))
    out = tf.matmul(x, w / sigma)
    loss = tf.reduce_mean(tf.square(out - 1)) + 1e-3 * tf.reduce_sum(tf.abs(v))
    train = tf.train.AdamOptimizer(0.02).minimize(loss)
    with tf.control_dependencies([train]):
        threshold = tf.nn.top_k(tf.reshape(tf.abs(v), [-1]), 18).values[-1]
        kept = tf.cast(tf.abs(v.read_value()) >= threshold, tf.float32)
        train = tf.group(mask.assign(kept), u.assign(right), name="train_step")
    return Graph({x: normal(5, 6)}, [out, sigma, loss], train)


@graph()
def custom_gradients_and_stopped_ones() -> Graph:
    x = tf.placeholder(tf.float32, [None, 4], name="x")

    @tf.custom_gradient
    def reversed_gradient(value: Any) -> Any:
        return tf.identity(value), lambda upstream: -0.3 * upstream

    w = tf.get_variable("w", [4, 3])
    hard = tf.round(tf.matmul(x, w))
    straight = tf.matmul(x, w) + tf.stop_gradient(hard - tf.matmul(x, w))
    domain = tf.reduce_sum(reversed_gradient(straight) ** 2)
    first = tf.gradients(domain, x, stop_gradients=[w])[0]
    second = tf.gradients(tf.reduce_sum(tf.square(tf.gradients(tf.reduce_sum(tf.sin(tf.matmul(x, w))), x)[0])), w)[0]
    train = tf.train.GradientDescentOptimizer(0.01).minimize(domain)
    return Graph({x: normal(3, 4)}, [hard, domain, first, second], train)
