"""Networks that look at images."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import (
    batch_norm,
    classified,
    conv,
    dense,
    depthwise,
    flatten,
    integers,
    minimize,
    normal,
    one_hot,
    uniform,
    upsample,
)


def _images(*shape: int) -> tuple[Any, np.ndarray]:
    data = uniform(*shape)
    return tf.placeholder(tf.float32, [None, *shape[1:]], name="images"), data


@graph()
def lenet() -> Graph:
    x = tf.placeholder(tf.float32, [None, 784], name="x")
    y = tf.placeholder(tf.float32, [None, 10], name="y_")
    keep = tf.placeholder(tf.float32, name="keep_prob")

    def weights(shape: list[int]) -> Any:
        return tf.Variable(tf.truncated_normal(shape, stddev=0.1))

    def biases(shape: list[int]) -> Any:
        return tf.Variable(tf.constant(0.1, shape=shape))

    def pool(value: Any) -> Any:
        return tf.nn.max_pool(value, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")

    image = tf.reshape(x, [-1, 28, 28, 1])
    one = pool(tf.nn.relu(tf.nn.conv2d(image, weights([5, 5, 1, 4]), [1, 1, 1, 1], "SAME") + biases([4])))
    two = pool(tf.nn.relu(tf.nn.conv2d(one, weights([5, 5, 4, 8]), [1, 1, 1, 1], "SAME") + biases([8])))
    flat = tf.reshape(two, [-1, 7 * 7 * 8])
    hidden = tf.nn.relu(tf.matmul(flat, weights([7 * 7 * 8, 32])) + biases([32]))
    dropped = tf.nn.dropout(hidden, keep_prob=keep)
    logits = tf.matmul(dropped, weights([32, 10])) + biases([10])
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=logits))
    train = tf.train.AdamOptimizer(1e-3).minimize(loss)
    correct = tf.equal(tf.argmax(logits, 1), tf.argmax(y, 1))
    feeds = {x: uniform(4, 784), y: one_hot(10, 4), keep: 0.5}
    return Graph(feeds, [tf.nn.softmax(logits), loss, tf.reduce_mean(tf.cast(correct, tf.float32))], train)


@graph()
def alexnet_with_local_response_normalisation() -> Graph:
    x, data = _images(2, 19, 19, 3)
    net = conv(x, 8, 5, strides=2, padding="VALID")
    net = tf.nn.max_pool(tf.nn.lrn(net, 4, bias=1.0, alpha=0.001 / 9.0, beta=0.75), 3, 2, "VALID")
    with tf.variable_scope("grouped"):  # two groups, as in the paper: split, convolve, concatenate
        groups = [conv(part, 4, 3) for part in tf.split(net, 2, axis=3)]
    net = dense(flatten(tf.concat(groups, 3)), 5)
    labels, loss = classified(net, integers(5, 2))
    train = minimize(tf.train.MomentumOptimizer(0.05, 0.9), loss)
    return Graph({x: data, labels: integers(5, 2)}, [net, loss], train)


@graph()
def resnet() -> Graph:
    x, data = _images(4, 12, 12, 3)
    training = tf.placeholder_with_default(False, [], name="training")

    def block(net: Any, filters: int, strides: int) -> Any:
        shortcut = net
        if strides > 1 or net.shape[-1] != filters:
            shortcut = conv(net, filters, 1, strides=strides, bias=False, activation=None)
        net = tf.nn.relu(batch_norm(net, training))
        net = conv(net, filters, 3, strides=strides, bias=False, activation=None)
        net = tf.nn.relu(batch_norm(net, training))
        return shortcut + conv(net, filters, 3, bias=False, activation=None)

    net = conv(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 8, 3, padding="VALID", bias=False, activation=None)
    net = block(block(net, 8, 1), 12, 2)
    logits = dense(tf.reduce_mean(tf.nn.relu(batch_norm(net, training)), [1, 2]), 4)
    labels, loss = classified(logits, integers(4, 4))
    decay = 1e-3 * tf.add_n([tf.nn.l2_loss(v) for v in tf.trainable_variables() if "kernel" in v.name])
    step = tf.train.get_or_create_global_step()
    rate = tf.train.piecewise_constant(step, [2, 3], [0.1, 0.05, 0.01])
    train = minimize(tf.train.MomentumOptimizer(rate, 0.9), loss + decay, global_step=step)
    here = {x: data, labels: integers(4, 4)}
    return Graph(
        [{**here, training: True}, {**here, training: False}], [tf.nn.softmax(logits), loss, decay, rate], train
    )


@graph()
def inception() -> Graph:
    x, data = _images(2, 9, 9, 6)
    with tf.variable_scope("mixed"):
        one = conv(x, 3, 1)
        three = conv(conv(x, 2, 1), 4, 3)
        five = conv(conv(conv(x, 2, 1), 3, 3), 3, 3)
        pooled = conv(tf.nn.avg_pool(x, 3, 1, "SAME"), 2, 1)
        net = tf.concat([one, three, five, pooled], 3)
    with tf.variable_scope("reduction"):
        net = tf.concat([conv(net, 4, 3, strides=2, padding="VALID"), tf.nn.max_pool(net, 3, 2, "VALID")], 3)
    logits = dense(flatten(tf.nn.avg_pool(net, 4, 1, "VALID")), 5)
    auxiliary = dense(flatten(conv(x, 2, 1)), 5, name="auxiliary")
    labels, loss = classified(logits, integers(5, 2))
    smooth = tf.losses.softmax_cross_entropy(tf.one_hot(labels, 5), auxiliary, 0.4, label_smoothing=0.1)
    train = minimize(tf.train.RMSPropOptimizer(0.01, 0.9, 0.9, 1.0), loss + smooth)
    return Graph({x: data, labels: integers(5, 2)}, [logits, loss, smooth], train)


@graph()
def mobilenet_v1() -> Graph:
    x, data = _images(3, 16, 16, 3)

    def block(net: Any, filters: int, strides: int) -> Any:
        net = tf.nn.relu6(batch_norm(depthwise(net, strides=strides), True))
        return tf.nn.relu6(batch_norm(conv(net, filters, 1, bias=False, activation=None), True))

    net = tf.nn.relu6(batch_norm(conv(x, 8, 3, strides=2, bias=False, activation=None), True))
    net = block(block(net, 12, 1), 16, 2)
    logits = tf.squeeze(conv(tf.nn.avg_pool(net, 4, 1, "VALID"), 5, 1, activation=None), [1, 2])
    labels, loss = classified(logits, integers(5, 3))
    train = minimize(tf.train.RMSPropOptimizer(0.005), loss)
    return Graph({x: data, labels: integers(5, 3)}, [tf.nn.softmax(logits), loss], train)


@graph()
def mobilenet_v2() -> Graph:
    x, data = _images(3, 12, 12, 4)

    def block(net: Any, filters: int, expansion: int, strides: int) -> Any:
        first = net
        net = tf.nn.relu6(batch_norm(conv(net, expansion * int(net.shape[-1]), 1, bias=False, activation=None), True))
        net = tf.nn.relu6(batch_norm(depthwise(net, strides=strides), True))
        net = batch_norm(conv(net, filters, 1, bias=False, activation=None), True)
        return net + first if strides == 1 and first.shape[-1] == filters else net

    def hard_swish(value: Any) -> Any:
        return value * tf.nn.relu6(value + 3.0) * (1 / 6)

    net = block(block(x, 4, 2, 1), 6, 2, 2)
    net = hard_swish(net)
    squeezed = dense(tf.reduce_mean(net, [1, 2]), 3, tf.nn.relu)
    net = net * tf.sigmoid(dense(squeezed, 6))[:, tf.newaxis, tf.newaxis, :]
    logits = dense(tf.reduce_mean(net, [1, 2]), 3)
    labels, loss = classified(logits, integers(3, 3))
    # Shifts before a batch norm have no gradient but for rounding: Adam would make steps of that.
    train = minimize(tf.train.MomentumOptimizer(0.03, 0.9), loss)
    return Graph({x: data, labels: integers(3, 3)}, [logits, loss], train)


@graph()
def densenet_and_squeezenet_blocks() -> Graph:
    x, data = _images(2, 8, 8, 3)
    net = x
    for _ in range(3):
        net = tf.concat([net, conv(tf.nn.elu(batch_norm(net, True)), 3, 3, activation=None)], -1)
    net = conv(net, 4, 1)
    net = tf.concat([conv(net, 4, 1), conv(net, 4, 3, activation=tf.nn.leaky_relu)], 3)
    net = tf.nn.max_pool(net, 3, 2, "SAME")
    logits = tf.reduce_mean(conv(net, 4, 1, activation=tf.nn.selu), [1, 2])
    labels, loss = classified(logits, integers(4, 2))
    return Graph({x: data, labels: integers(4, 2)}, [logits, loss], minimize(tf.train.AdagradOptimizer(0.05), loss))


@graph()
def shufflenet_channel_shuffle() -> Graph:
    x, data = _images(2, 6, 6, 8)
    halves = [conv(part, 4, 1) for part in tf.split(x, 2, -1)]
    net = tf.concat(halves, -1)
    shape = tf.shape(net)
    net = tf.reshape(net, [shape[0], shape[1], shape[2], 2, 4])
    net = tf.reshape(tf.transpose(net, [0, 1, 2, 4, 3]), [-1, shape[1], shape[2], 8])
    net.set_shape([None, 6, 6, 8])
    out = tf.reduce_max(depthwise(net, strides=2), [1, 2])
    loss = tf.reduce_mean(tf.square(out))
    return Graph({x: data}, [out, loss], minimize(tf.train.GradientDescentOptimizer(0.1), loss))


@graph()
def unet() -> Graph:
    x, data = _images(2, 12, 12, 2)
    mask = tf.placeholder(tf.float32, [None, 12, 12, 1], name="mask")
    one = conv(conv(x, 4), 4)
    two = conv(tf.nn.max_pool(one, 2, 2, "VALID"), 6)
    bottom = conv(tf.nn.max_pool(two, 2, 2, "VALID"), 8, dilations=2)
    up = conv(tf.concat([upsample(bottom, 6), two], 3), 6)
    up = tf.concat([tf.image.resize_bilinear(up, tf.shape(one)[1:3]), one], 3)
    logits = conv(up, 1, 1, activation=None)
    probabilities = tf.sigmoid(logits)
    overlap = tf.reduce_sum(probabilities * mask, [1, 2, 3])
    dice = 1 - tf.reduce_mean((2 * overlap + 1) / (tf.reduce_sum(probabilities + mask, [1, 2, 3]) + 1))
    loss = dice + tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=mask, logits=logits))
    target = (uniform(2, 12, 12, 1, seed=4) > 0.5).astype(np.float32)
    train = minimize(tf.train.AdamOptimizer(0.01), loss)
    return Graph({x: data, mask: target}, [probabilities > 0.5, probabilities, loss], train)


@graph()
def deeplab_with_atrous_pyramid_pooling() -> Graph:
    x, data = _images(1, 11, 11, 3)
    net = conv(x, 6, 3, strides=2)
    size = tf.shape(net)[1:3]
    pyramid = [conv(net, 3, 1)] + [conv(net, 3, 3, dilations=rate) for rate in (2, 3)]
    image = tf.reduce_mean(net, [1, 2], keepdims=True)
    pyramid.append(tf.image.resize_bilinear(conv(image, 3, 1), size, align_corners=True))
    net = tf.concat(pyramid, 3)
    logits = tf.image.resize_bilinear(conv(net, 3, 1, activation=None), [11, 11], align_corners=True)
    labels = tf.placeholder(tf.int32, [None, 11, 11], name="labels")
    valid = tf.not_equal(labels, 2)  # a label that does not count
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.minimum(labels, 2), logits=logits)
    loss = tf.reduce_mean(tf.boolean_mask(losses, valid))
    train = minimize(tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True), loss)
    return Graph({x: data, labels: integers(3, 1, 11, 11)}, [tf.argmax(logits, 3), loss], train)


@graph()
def super_resolution() -> Graph:
    x, data = _images(2, 5, 5, 1)
    large = tf.placeholder(tf.float32, [None, 10, 10, 1], name="large")
    net = conv(conv(x, 6, 5, activation=tf.tanh), 4, 3, activation=None)
    out = tf.depth_to_space(net, 2) + tf.image.resize_bicubic(x, [10, 10])
    mse = tf.reduce_mean(tf.squared_difference(out, large))
    psnr = tf.image.psnr(tf.clip_by_value(out, 0.0, 1.0), large, 1.0)
    return Graph({x: data, large: uniform(2, 10, 10, 1)}, [out, mse, psnr], minimize(tf.train.AdamOptimizer(0.01), mse))


@graph()
def neural_style() -> Graph:
    style, content = uniform(1, 10, 10, 3, seed=1), uniform(1, 10, 10, 3, seed=2)
    image = tf.get_variable("image", initializer=content + np.float32(0.1))
    target = tf.placeholder(tf.float32, [1, 10, 10, 3], name="style")

    def features(value: Any) -> list[Any]:
        with tf.variable_scope("vgg", reuse=tf.AUTO_REUSE):
            one = tf.get_variable("one", [3, 3, 3, 4], trainable=False)
            two = tf.get_variable("two", [3, 3, 4, 6], trainable=False)
        low = tf.nn.relu(tf.nn.conv2d(value, one, 1, "SAME"))
        return [low, tf.nn.relu(tf.nn.conv2d(tf.nn.avg_pool(low, 2, 2, "SAME"), two, 1, "SAME"))]

    def gram(value: Any) -> Any:
        flat = tf.reshape(value, [-1, value.shape[-1]])
        return tf.matmul(flat, flat, transpose_a=True) / tf.cast(tf.size(value), tf.float32)

    here, there = features(image), features(target)
    of_style = tf.add_n([tf.nn.l2_loss(gram(a) - gram(b)) for a, b in zip(here, there, strict=True)])
    variation = tf.reduce_sum(tf.image.total_variation(image))
    loss = 100.0 * of_style + 1e-3 * variation + tf.nn.l2_loss(here[1] - features(tf.constant(content))[1])
    train = tf.train.AdamOptimizer(0.02).minimize(loss, var_list=[image])
    with tf.control_dependencies([train]):
        clipped = image.assign(tf.clip_by_value(image, 0.0, 1.0))
    return Graph({target: style}, [loss, variation], tf.group(clipped.op if hasattr(clipped, "op") else clipped))


@graph()
def capsules_with_dynamic_routing() -> Graph:
    x, data = _images(2, 8, 8, 1)

    def squash(value: Any) -> Any:
        norm = tf.reduce_sum(tf.square(value), -1, keepdims=True)
        return norm / (1 + norm) / tf.sqrt(norm + 1e-9) * value

    net = conv(conv(x, 6, 3, strides=2), 8, 3, strides=2)
    primary = squash(tf.reshape(net, [-1, 8, 4]))  # eight capsules of four
    weights = tf.get_variable("W", [1, 8, 3, 4, 5], initializer=tf.random_normal_initializer(stddev=0.3))
    votes = tf.reduce_sum(primary[:, :, None, :, None] * weights, 3)  # [batch, in, out, 5]
    stopped = tf.stop_gradient(votes)

    def route(i: Any, logits: Any) -> Any:
        out = squash(tf.reduce_sum(tf.nn.softmax(logits, axis=2) * stopped, 1, keepdims=True))
        return i + 1, logits + tf.reduce_sum(stopped * out, -1, keepdims=True)

    start = tf.zeros([tf.shape(x)[0], 8, 3, 1])
    _, logits = tf.while_loop(lambda i, _: i < 3, route, [0, start])
    capsules = squash(tf.reduce_sum(tf.nn.softmax(logits, axis=2) * votes, 1))
    lengths = tf.norm(capsules, axis=-1)
    y = tf.placeholder(tf.float32, [None, 3], name="y")
    margin = y * tf.square(tf.maximum(0.0, 0.9 - lengths)) + 0.5 * (1 - y) * tf.square(tf.maximum(0.0, lengths - 0.1))
    loss = tf.reduce_mean(tf.reduce_sum(margin, 1))
    return Graph({x: data, y: one_hot(3, 2)}, [lengths, loss], minimize(tf.train.AdamOptimizer(0.003), loss))


@graph()
def convolutions_of_videos() -> Graph:
    x = tf.placeholder(tf.float32, [None, 4, 6, 6, 2], name="clip")
    with tf.variable_scope("c3d"):
        kernel = tf.get_variable("kernel", [3, 3, 3, 2, 4])
        net = tf.nn.relu(tf.nn.conv3d(x, kernel, [1, 1, 1, 1, 1], "SAME"))
        net = tf.nn.max_pool3d(net, [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], "SAME")
        up = tf.get_variable("up", [2, 2, 2, 3, 4])
        back = tf.nn.conv3d_transpose(net, up, [2, 4, 6, 6, 3], [1, 2, 2, 2, 1])
    logits = tf.reduce_mean(tf.nn.avg_pool3d(back, [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], "VALID"), [1, 2, 3])
    labels, loss = classified(logits, integers(3, 2))
    data = normal(2, 4, 6, 6, 2)
    return Graph({x: data, labels: integers(3, 2)}, [logits, loss], minimize(tf.train.AdamOptimizer(0.01), loss))


@graph()
def siamese_with_triplet_loss() -> Graph:
    anchor, positive, negative = (tf.placeholder(tf.float32, [None, 6, 6, 1], name=n) for n in ("a", "p", "n"))

    def embed(value: Any) -> Any:
        with tf.variable_scope("tower", reuse=tf.AUTO_REUSE):
            kernel = tf.get_variable("kernel", [3, 3, 1, 4])
            net = flatten(tf.nn.relu(tf.nn.conv2d(value, kernel, 2, "VALID")))
            return tf.nn.l2_normalize(tf.matmul(net, tf.get_variable("out", [16, 3])), 1)

    a, p, n = embed(anchor), embed(positive), embed(negative)
    near, far = (tf.reduce_sum(tf.squared_difference(a, other), 1) for other in (p, n))
    loss = tf.reduce_mean(tf.maximum(near - far + 0.5, 0.0))
    feeds = {key: uniform(5, 6, 6, 1, seed=i) for i, key in enumerate((anchor, positive, negative))}
    return Graph(feeds, [a, near, loss], minimize(tf.train.AdadeltaOptimizer(1.0), loss))


@graph()
def spatial_transformer() -> Graph:
    x, data = _images(2, 6, 6, 1)
    theta = dense(flatten(x), 6) * 0.1 + tf.constant([1.0, 0, 0, 0, 1, 0])
    grid_x, grid_y = tf.meshgrid(tf.linspace(-1.0, 1.0, 6), tf.linspace(-1.0, 1.0, 6))
    grid = tf.stack([tf.reshape(grid_x, [-1]), tf.reshape(grid_y, [-1]), tf.ones([36])])
    at = tf.matmul(tf.reshape(theta, [-1, 2, 3]), tf.tile(grid[None], [tf.shape(x)[0], 1, 1]))
    px, py = (tf.clip_by_value((at[:, i] + 1) * 2.5, 0.0, 4.999) for i in range(2))
    x0, y0 = tf.floor(px), tf.floor(py)
    rows = tf.tile(tf.range(tf.shape(x)[0])[:, None], [1, 36])

    def pixel(ys: Any, xs: Any) -> Any:
        return tf.gather_nd(x[..., 0], tf.stack([rows, tf.cast(ys, tf.int32), tf.cast(xs, tf.int32)], 2))

    right, down = px - x0, py - y0
    top = pixel(y0, x0) * (1 - right) + pixel(y0, x0 + 1) * right
    bottom = pixel(y0 + 1, x0) * (1 - right) + pixel(y0 + 1, x0 + 1) * right
    out = tf.reshape(top * (1 - down) + bottom * down, [-1, 6, 6])
    loss = tf.reduce_mean(tf.square(out - 0.5))
    return Graph({x: data}, [out, loss], minimize(tf.train.GradientDescentOptimizer(0.05), loss))


@graph()
def class_activation_map_and_saliency() -> Graph:
    x, data = _images(2, 7, 7, 2)
    net = conv(x, 5, 3)
    logits = dense(tf.reduce_mean(net, [1, 2]), 3)
    best = tf.reduce_max(logits, 1)
    (saliency,) = tf.gradients(best, x)
    (weights,) = tf.gradients(best, net)
    cam = tf.nn.relu(tf.reduce_sum(tf.reduce_mean(weights, [1, 2], keepdims=True) * net, 3))
    adversarial = tf.stop_gradient(x + 0.01 * tf.sign(saliency))
    return Graph({x: data}, [saliency, cam, adversarial, tf.nn.top_k(logits, 2)])
