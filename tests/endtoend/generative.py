"""Networks that make things up."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import batch_norm, conv, dense, flatten, integers, layer_norm, minimize, normal, uniform, upsample


@graph()
def generative_adversarial_network() -> Graph:
    z, real = tf.placeholder(tf.float32, [None, 4], name="z"), tf.placeholder(tf.float32, [None, 8, 8, 1], name="real")

    def generator(value: Any) -> Any:
        with tf.variable_scope("generator"):
            net = tf.reshape(dense(value, 4 * 4 * 3), [-1, 4, 4, 3])
            net = tf.nn.relu(batch_norm(net, True))
            return upsample(net, 1, activation=tf.tanh)

    def discriminator(value: Any, again: bool) -> Any:
        with tf.variable_scope("discriminator", reuse=again):
            kernel = tf.get_variable("kernel", [4, 4, 1, 4], initializer=tf.truncated_normal_initializer(stddev=0.2))
            net = flatten(tf.nn.leaky_relu(tf.nn.conv2d(value, kernel, 2, "SAME")))
            return tf.matmul(net, tf.get_variable("out", [64, 1]))

    fake = generator(z)
    of_real, of_fake = discriminator(real, False), discriminator(fake, True)

    def cross_entropy(logits: Any, label: float) -> Any:
        labels = tf.fill(tf.shape(logits), label)
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))

    d_loss, g_loss = cross_entropy(of_real, 0.9) + cross_entropy(of_fake, 0.0), cross_entropy(of_fake, 1.0)
    optimizer = tf.train.AdamOptimizer(2e-3, beta1=0.5)
    d_train = optimizer.minimize(d_loss, var_list=tf.trainable_variables("discriminator"))
    with tf.control_dependencies([d_train, *tf.get_collection(tf.GraphKeys.UPDATE_OPS)]):
        train = tf.train.AdamOptimizer(2e-3, beta1=0.5).minimize(g_loss, var_list=tf.trainable_variables("generator"))
    return Graph({z: normal(3, 4), real: uniform(3, 8, 8, 1)}, [fake, d_loss, g_loss], train, steps=3)


@graph()
def wasserstein_gan_with_gradient_penalty() -> Graph:
    real, fake = (tf.placeholder(tf.float32, [None, 5], name=n) for n in ("real", "fake"))
    with tf.variable_scope("critic"):
        w, v = tf.get_variable("w", [5, 6]), tf.get_variable("v", [6, 1])
    critic = lambda value: tf.matmul(tf.tanh(tf.matmul(value, w)), v)
    share = tf.random_uniform([tf.shape(real)[0], 1], seed=3)
    between = share * real + (1 - share) * fake
    (slope,) = tf.gradients(critic(between), between)
    penalty = tf.reduce_mean(tf.square(tf.sqrt(tf.reduce_sum(tf.square(slope), 1)) - 1))
    loss = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real)) + 10.0 * penalty
    train = tf.train.RMSPropOptimizer(1e-3).minimize(loss)
    with tf.control_dependencies([train]):
        clip = tf.group(*[tf.assign(k, tf.clip_by_value(k, -0.6, 0.6)) for k in (w, v)])
    return Graph({real: normal(4, 5), fake: normal(4, 5, seed=1)}, [slope, penalty, loss], clip)


@graph()
def variational_autoencoder() -> Graph:
    x = tf.placeholder(tf.float32, [None, 16], name="x")
    hidden = dense(x, 8, tf.nn.softplus)
    mean, log_variance = dense(hidden, 2), dense(hidden, 2)
    noise = tf.random_normal(tf.shape(mean), 0, 1, dtype=tf.float32)
    z = tf.add(mean, tf.multiply(tf.sqrt(tf.exp(log_variance)), noise))
    out = dense(dense(z, 8, tf.nn.softplus), 16, tf.nn.sigmoid)
    reconstruction = -tf.reduce_sum(x * tf.log(1e-6 + out) + (1 - x) * tf.log(1e-6 + 1 - out), 1)
    latent = -0.5 * tf.reduce_sum(1 + log_variance - tf.square(mean) - tf.exp(log_variance), 1)
    loss = tf.reduce_mean(reconstruction + latent)
    return Graph({x: uniform(4, 16)}, [z, out, loss], minimize(tf.train.AdamOptimizer(0.01), loss))


@graph()
def vector_quantised_autoencoder() -> Graph:
    x = tf.placeholder(tf.float32, [None, 6], name="x")
    codes = tf.get_variable("codes", [4, 3])
    z = dense(x, 3)
    distances = tf.reduce_sum(tf.squared_difference(z[:, None], codes[None]), 2)
    nearest = tf.argmin(distances, 1)
    chosen = tf.gather(codes, nearest)
    straight = z + tf.stop_gradient(chosen - z)
    out = dense(straight, 6)
    loss = tf.reduce_mean(tf.square(out - x)) + tf.reduce_mean(tf.square(tf.stop_gradient(z) - chosen))
    loss += 0.25 * tf.reduce_mean(tf.square(z - tf.stop_gradient(chosen)))
    usage = tf.exp(-tf.reduce_sum(tf.reduce_mean(tf.one_hot(nearest, 4), 0) * tf.log(
        tf.reduce_mean(tf.one_hot(nearest, 4), 0) + 1e-10)))  # fmt: skip
    return Graph({x: normal(5, 6)}, [nearest, out, usage, loss], minimize(tf.train.AdamOptimizer(0.01), loss))


@graph()
def normalising_flow() -> Graph:
    x = tf.placeholder(tf.float64, [None, 4], name="x")
    mask = tf.constant([1.0, 0, 1, 0], tf.float64)
    with tf.variable_scope("flow", dtype=tf.float64):
        w, u = tf.get_variable("w", [4, 4]), tf.get_variable("u", [4, 4])
        mixing = tf.get_variable("mixing", initializer=np.eye(4) + 0.1 * normal(4, 4).astype(np.float64))
    hidden = tf.matmul(x, mixing)
    scale = tf.tanh(tf.matmul(hidden * mask, w)) * (1 - mask)
    y = hidden * mask + (1 - mask) * (hidden * tf.exp(scale) + tf.matmul(hidden * mask, u))
    log_determinant = tf.reduce_sum(scale, 1) + tf.log(tf.abs(tf.matrix_determinant(mixing)))
    log_probability = log_determinant - 0.5 * tf.reduce_sum(tf.square(y), 1)
    back = tf.matmul(y, tf.matrix_inverse(mixing))
    loss = -tf.reduce_mean(log_probability)
    train = minimize(tf.train.GradientDescentOptimizer(0.05), loss)
    return Graph({x: normal(5, 4).astype(np.float64)}, [y, back, log_probability, loss], train)


@graph()
def wavenet() -> Graph:
    samples = tf.placeholder(tf.int32, [2, 20], name="samples")
    x = tf.one_hot(samples, 8)
    skips = []
    for i, rate in enumerate((1, 2, 4)):
        with tf.variable_scope(f"layer_{i}"):
            kernel = tf.get_variable("kernel", [2, int(x.shape[-1]), 8])
            padded = tf.pad(x, [[0, 0], [rate, 0], [0, 0]])
            net = tf.nn.convolution(padded, kernel, "VALID", dilation_rate=[rate])
            left, right = tf.split(net, 2, 2)
            net = tf.tanh(left) * tf.sigmoid(right)
            skips.append(dense(net, 6))
            out = dense(net, 8)
            x = x + out
    logits = dense(tf.nn.relu(tf.add_n(skips)), 8)[:, :-1]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=samples[:, 1:], logits=logits)
    signal = 2.0 * tf.cast(samples, tf.float32) / 7.0 - 1.0  # undo mu-law
    decoded = tf.sign(signal) / 7.0 * ((1.0 + 7.0) ** tf.abs(signal) - 1.0)
    loss = tf.reduce_mean(losses)
    return Graph({samples: integers(8, 2, 20)}, [decoded, logits, loss], minimize(tf.train.AdamOptimizer(0.01), loss))


@graph()
def pixel_cnn_with_masked_kernels() -> Graph:
    x = tf.placeholder(tf.float32, [None, 6, 6, 1], name="x")
    mask = np.ones((3, 3, 1, 4), np.float32)
    mask[1, 1:], mask[2] = 0, 0
    kernel = tf.get_variable("kernel", [3, 3, 1, 4]) * mask
    net = tf.nn.crelu(tf.nn.conv2d(x, kernel, 1, "SAME"))
    logits = conv(net, 1, 1, activation=None)
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits))
    drawn = tf.cast(tf.random_uniform(tf.shape(logits), seed=9) < tf.sigmoid(logits), tf.float32)
    return Graph(
        {x: np.round(uniform(2, 6, 6, 1))}, [logits, drawn, loss], minimize(tf.train.AdamOptimizer(0.01), loss)
    )


@graph()
def image_translation_with_instance_norm() -> Graph:
    x = tf.placeholder(tf.float32, [None, 8, 8, 3], name="x")

    def instance_norm(value: Any) -> Any:
        mean, variance = tf.nn.moments(value, [1, 2], keepdims=True)
        return (value - mean) / tf.sqrt(variance + 1e-5)

    net = tf.nn.relu(instance_norm(conv(tf.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]], "REFLECT"), 4, 5, padding="VALID")))
    net += instance_norm(conv(tf.pad(net, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"), 4, 3, padding="VALID"))
    large = tf.image.resize_nearest_neighbor(tf.nn.avg_pool(net, 2, 2, "SAME"), [8, 8])
    out = tf.tanh(conv(layer_norm(large), 3, 3, activation=None))
    loss = tf.reduce_mean(tf.abs(out - x)) + 0.1 * tf.reduce_mean(1 - tf.image.ssim(out, x, 2.0, filter_size=5))
    # Shifts before a norm have no gradient but for rounding: Adam would make steps of that.
    return Graph({x: uniform(2, 8, 8, 3)}, [out, loss], minimize(tf.train.MomentumOptimizer(0.01, 0.9), loss))


@graph()
def restricted_boltzmann_machine() -> Graph:
    x = tf.placeholder(tf.float32, [4, 6], name="x")
    w = tf.get_variable("w", [6, 3], initializer=tf.random_normal_initializer(stddev=0.1))
    visible, hidden = (tf.get_variable(n, [s], initializer=tf.zeros_initializer()) for n, s in (("v", 6), ("h", 3)))

    def sample(probabilities: Any, seed: int) -> Any:
        return tf.nn.relu(tf.sign(probabilities - tf.random_uniform(tf.shape(probabilities), seed=seed)))

    up = tf.sigmoid(tf.matmul(x, w) + hidden)
    down = sample(tf.sigmoid(tf.matmul(sample(up, 1), w, transpose_b=True) + visible), 2)
    again = tf.sigmoid(tf.matmul(down, w) + hidden)
    updates = [
        w.assign_add(0.1 * (tf.matmul(x, up, transpose_a=True) - tf.matmul(down, again, transpose_a=True)) / 4.0),
        visible.assign_add(0.1 * tf.reduce_mean(x - down, 0)),
        hidden.assign_add(0.1 * tf.reduce_mean(up - again, 0)),
    ]
    energy = -tf.reduce_mean(tf.linalg.matvec(x, visible) + tf.reduce_sum(tf.nn.softplus(tf.matmul(x, w) + hidden), 1))
    return Graph({x: np.round(uniform(4, 6))}, [up, energy], tf.group(*updates, name="train_step"))
