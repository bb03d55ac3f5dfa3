"""Networks that find things in images: anchors, boxes, suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import batch_norm, conv, dense, flatten, integers, minimize, normal, one_hot, uniform


def _boxes(*shape: int, seed: int = 0) -> np.ndarray:
    """Boxes [y0, x0, y1, x1] within the unit square."""
    corner, size = uniform(*shape, 2, seed=seed) * 0.6, uniform(*shape, 2, seed=seed + 1) * 0.35 + 0.05
    return np.concatenate([corner, corner + size], -1)


def _overlaps(one: Any, two: Any) -> Any:
    """Intersection over union of all pairs of [n, 4] and [m, 4]."""
    y0, x0, y1, x1 = tf.split(one, 4, axis=1)
    v0, u0, v1, u1 = tf.split(two, 4, axis=1)
    height = tf.maximum(0.0, tf.minimum(y1, tf.transpose(v1)) - tf.maximum(y0, tf.transpose(v0)))
    width = tf.maximum(0.0, tf.minimum(x1, tf.transpose(u1)) - tf.maximum(x0, tf.transpose(u0)))
    both = height * width
    areas = (y1 - y0) * (x1 - x0) + tf.transpose((v1 - v0) * (u1 - u0)) - both
    return tf.where(tf.equal(both, 0.0), tf.zeros_like(both), tf.truediv(both, areas))


@graph()
def ssd_head_with_nms() -> Graph:
    x = tf.placeholder(tf.float32, [None, 12, 12, 3], name="images")
    grids = [conv(x, 6, 3, strides=2)]
    grids.append(conv(grids[0], 8, 3, strides=2))
    places, scores, anchors = [], [], []
    for i, net in enumerate(grids):
        size = int(net.shape[1])
        centers = (np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1) + 0.5) / size
        half = 0.4 / size
        anchors.append(np.concatenate([centers - half, centers + half], -1).reshape(-1, 4))
        with tf.variable_scope(f"box_predictor_{i}"):
            places.append(tf.reshape(conv(net, 4, 3, activation=None, name="boxes"), [-1, size * size, 4]))
            scores.append(tf.reshape(conv(net, 3, 3, activation=None, name="classes"), [-1, size * size, 3]))
    prior = tf.constant(np.concatenate(anchors).astype(np.float32), name="anchors")
    codes, logits = tf.concat(places, 1), tf.concat(scores, 1)
    height, width = prior[:, 2] - prior[:, 0], prior[:, 3] - prior[:, 1]
    cy, cx = prior[:, 0] + height / 2, prior[:, 1] + width / 2
    ty, tx, th, tw = tf.unstack(codes / [10.0, 10.0, 5.0, 5.0], axis=2)
    y, x_, h, w = ty * height + cy, tx * width + cx, tf.exp(th) * height, tf.exp(tw) * width
    boxes = tf.stack([y - h / 2, x_ - w / 2, y + h / 2, x_ + w / 2], 2)
    probabilities = tf.nn.softmax(logits)[..., 1:]

    def suppress(one: Any) -> Any:
        these, score = one
        best = tf.reduce_max(score, 1)
        keep = tf.image.non_max_suppression(these, best, 6, 0.5, 0.2)
        pad = 6 - tf.shape(keep)[0]
        return tf.pad(tf.gather(these, keep), [[0, pad], [0, 0]]), tf.pad(tf.gather(best, keep), [[0, pad]])

    found, found_scores = tf.map_fn(suppress, (boxes, probabilities), dtype=(tf.float32, tf.float32))
    combined = tf.image.combined_non_max_suppression(tf.expand_dims(boxes, 2), probabilities, 4, 5, 0.5, 0.2)
    truth = tf.placeholder(tf.float32, [2, 4], name="truth")
    match = tf.reduce_max(_overlaps(prior, truth), 1)
    positive = match > 0.05
    labels = tf.cast(positive, tf.int32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.tile(labels[None], [2, 1]), logits=logits)
    hard, _ = tf.nn.top_k(tf.where(tf.tile(positive[None], [2, 1]), tf.zeros_like(losses), losses), 9)  # hard negatives
    huber = tf.losses.huber_loss(tf.zeros_like(codes), codes, tf.cast(positive, tf.float32)[None, :, None])
    loss = tf.reduce_mean(hard) + huber
    feeds = {x: uniform(2, 12, 12, 3), truth: _boxes(2)}
    train = minimize(tf.train.MomentumOptimizer(0.01, 0.9), loss)
    return Graph(feeds, [found, found_scores, tuple(combined), loss], train)


@graph()
def object_detection_postprocessing() -> Graph:
    """As frozen detectors have it: a loop over the batch, in it one over the classes, TensorArrays around."""
    boxes = tf.placeholder(tf.float32, [None, 20, 4], name="raw_detection_boxes")
    scores = tf.placeholder(tf.float32, [None, 20, 3], name="raw_detection_scores")
    batch, most = tf.shape(boxes)[0], 7

    def one_image(these: Any, confidence: Any) -> Any:
        def one_class(k: Any, all_boxes: Any, all_scores: Any, all_classes: Any) -> Any:
            mine = confidence[:, k]
            kept = tf.where(mine > 0.3)[:, 0]
            candidates = tf.gather(these, kept)
            selected = tf.image.non_max_suppression(candidates, tf.gather(mine, kept), most, 0.4)
            got = tf.gather(candidates, selected)
            return (
                k + 1,
                tf.concat([all_boxes, got], 0),
                tf.concat([all_scores, tf.gather(tf.gather(mine, kept), selected)], 0),
                tf.concat([all_classes, tf.fill([tf.shape(got)[0]], k)], 0),
            )

        start = [tf.constant(0), tf.zeros([0, 4]), tf.zeros([0]), tf.zeros([0], tf.int32)]
        shapes = [tf.TensorShape([]), tf.TensorShape([None, 4]), tf.TensorShape([None]), tf.TensorShape([None])]
        _, b, s, c = tf.while_loop(lambda k, *_: k < 3, one_class, start, shape_invariants=shapes)
        order = tf.nn.top_k(s, tf.minimum(most, tf.size(s))).indices
        pad = [[0, most - tf.size(order)]]
        number = tf.minimum(tf.size(s), most)
        return (
            tf.pad(tf.clip_by_value(tf.gather(b, order), 0.0, 1.0), [*pad, [0, 0]]),
            tf.pad(tf.gather(s, order), pad),
            tf.pad(tf.gather(c, order), pad),
            number,
        )

    arrays = [
        tf.TensorArray(dtype, batch, element_shape=shape)
        for dtype, shape in ((tf.float32, [most, 4]), (tf.float32, [most]), (tf.int32, [most]), (tf.int32, []))
    ]

    def image(i: Any, *arrays: Any) -> Any:
        results = one_image(boxes[i], scores[i])
        return i + 1, *(array.write(i, result) for array, result in zip(arrays, results, strict=True))

    _, *arrays = tf.while_loop(lambda i, *_: i < batch, image, [tf.constant(0), *arrays])
    b, s, c, n = (array.stack() for array in arrays)
    names = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
    values = (b, s, tf.cast(c, tf.float32) + 1, tf.cast(n, tf.float32))
    outputs = [tf.identity(value, name=name) for value, name in zip(values, names, strict=True)]
    two = {boxes: _boxes(2, 20), scores: uniform(2, 20, 3)}
    none = {boxes: _boxes(1, 20), scores: np.zeros((1, 20, 3), np.float32)}
    return Graph([two, none], outputs)


@graph()
def yolo() -> Graph:
    x = tf.placeholder(tf.float32, [None, 12, 12, 3], name="input")
    truth = tf.placeholder(tf.float32, [None, 3, 3, 2, 8], name="truth")
    net = conv(x, 6, 3, bias=False, activation=lambda v: tf.nn.leaky_relu(batch_norm(v, True), 0.1))
    low = tf.nn.max_pool(net, 2, 2, "SAME")
    reordered = tf.space_to_depth(conv(low, 2, 1, activation=None), 2)
    net = tf.concat([tf.nn.max_pool(conv(low, 8, 3), 2, 2, "SAME"), reordered], 3)
    out = tf.reshape(conv(net, 16, 1, activation=None), [-1, 3, 3, 2, 8])
    cells = tf.cast(tf.stack(tf.meshgrid(tf.range(3), tf.range(3)), 2), tf.float32)[None, :, :, None]
    xy = (tf.sigmoid(out[..., :2]) + cells) / 3.0
    wh = tf.exp(out[..., 2:4]) * tf.constant([[0.1, 0.2], [0.3, 0.2]])
    confidence, classes = tf.sigmoid(out[..., 4:5]), tf.nn.softmax(out[..., 5:])
    flat = tf.reshape(tf.concat([xy - wh / 2, xy + wh / 2], 4), [-1, 4])
    score = tf.reshape(tf.reduce_max(confidence * classes, 4), [-1])
    mask = tf.greater(score, 0.2)
    kept, kept_scores = tf.boolean_mask(flat, mask), tf.boolean_mask(score, mask)
    nms = tf.image.non_max_suppression(kept, kept_scores, 5, 0.45)
    here = truth[..., 4:5]
    loss = tf.reduce_sum(here * tf.square(xy - truth[..., :2])) + tf.reduce_sum(
        here * tf.square(tf.sqrt(wh) - tf.sqrt(truth[..., 2:4]))
    )
    loss += tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=here, logits=out[..., 4:5])) + tf.reduce_sum(
        here * tf.square(classes - truth[..., 5:])
    )
    target = uniform(2, 3, 3, 2, 8)
    target[..., 4] = target[..., 4] > 0.6
    train = minimize(tf.train.AdamOptimizer(0.003), loss)
    return Graph({x: uniform(2, 12, 12, 3), truth: target}, [tf.gather(kept, nms), xy, wh, confidence, loss], train)


@graph()
def region_proposals_and_cropping() -> Graph:
    x = tf.placeholder(tf.float32, [None, 10, 10, 3], name="images")
    boxes, indices = tf.placeholder(tf.float32, [None, 4]), tf.placeholder(tf.int32, [None])
    net = conv(x, 4, 3)
    crops = tf.image.crop_and_resize(net, boxes, indices, [4, 4])
    pooled = tf.nn.max_pool(crops, 2, 2, "SAME")
    logits = dense(flatten(pooled), 3)
    masks = tf.sigmoid(conv(crops, 1, 1, activation=None))
    labels = tf.placeholder(tf.float32, [None, 3])
    loss = tf.losses.sigmoid_cross_entropy(labels, logits) + tf.reduce_mean(tf.square(masks - 0.3))
    feeds = {x: uniform(2, 10, 10, 3), boxes: _boxes(4), indices: [0, 1, 1, 0], labels: one_hot(3, 4)}
    return Graph(feeds, [logits, masks, loss], minimize(tf.train.AdamOptimizer(0.01), loss))


@graph()
def face_detector_cascade() -> Graph:
    """MTCNN's first two nets: PReLU, candidates from a heat map, refinement by a cropping net."""
    image = tf.placeholder(tf.float32, [1, None, None, 3], name="input")

    def prelu(value: Any) -> Any:
        with tf.variable_scope(None, "prelu"):
            alpha = tf.get_variable("alpha", [value.shape[-1]], initializer=tf.constant_initializer(0.25))
        return tf.nn.relu(value) - alpha * tf.nn.relu(-value)

    net = prelu(conv((image - 0.5) * 2.0, 4, 3, padding="VALID", activation=None))
    net = tf.nn.max_pool(net, 2, 2, "SAME")
    net = prelu(conv(net, 6, 3, padding="VALID", activation=None))
    heat = tf.nn.softmax(conv(net, 2, 1, activation=None, name="conv4-1"))[0, :, :, 1]
    shift = conv(net, 4, 1, activation=None, name="conv4-2")[0]
    where = tf.where(heat > tf.reduce_mean(heat))
    corner = tf.cast(where, tf.float32) * 2.0
    size = tf.cast(tf.shape(image)[1:3], tf.float32)
    boxes = tf.concat([corner, corner + 5.0], 1) + tf.gather_nd(shift, where)
    boxes = boxes / tf.concat([size, size], 0)
    score = tf.gather_nd(heat, where)
    keep = tf.image.non_max_suppression(boxes, score, 5, 0.5)
    kept = tf.gather(boxes, keep)
    crops = tf.image.crop_and_resize(image, kept, tf.zeros([tf.shape(kept)[0]], tf.int32), [6, 6])
    logits = dense(flatten(prelu(conv(crops, 3, 3, activation=None))), 2)
    return Graph([{image: uniform(1, 12, 14, 3)}, {image: uniform(1, 9, 9, 3)}], [kept, tf.nn.softmax(logits), score])


@graph()
def keypoints_from_heat_maps() -> Graph:
    x = tf.placeholder(tf.float32, [None, 8, 8, 2], name="x")
    heat = conv(x, 3, 3, activation=None)
    peaks = tf.equal(heat, tf.nn.max_pool(heat, 3, 1, "SAME"))
    flat = tf.reshape(tf.where(peaks, heat, tf.fill(tf.shape(heat), -1e3)), [-1, 64, 3])
    best = tf.argmax(flat, 1)
    where = tf.stack([best // 8, tf.floormod(best, 8)], -1)
    soft = tf.nn.softmax(tf.reshape(heat, [-1, 64, 3]), axis=1)
    expected = tf.reduce_sum(soft * tf.reshape(tf.range(64, dtype=tf.float32), [1, 64, 1]), 1)
    target = tf.placeholder(tf.float32, [None, 3], name="target")
    loss = tf.reduce_mean(tf.abs(expected - target))
    feeds = {x: normal(3, 8, 8, 2), target: integers(64, 3, 3).astype(np.float32)}
    return Graph(feeds, [where, expected, loss], minimize(tf.train.AdagradOptimizer(0.05), loss))
