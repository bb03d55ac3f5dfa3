"""Graphs as they are served: text, records and encoded pictures and sounds go in."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import classified, conv, dense, depthwise, integers, minimize, normal
from PIL import Image


def _example(**features: Any) -> bytes:
    kinds = {"f": ("float_list", tf.train.FloatList), "i": ("int64_list", tf.train.Int64List)}
    made = {}
    for name, values in features.items():
        array = np.asarray(values)
        field, kind = kinds.get(array.dtype.kind, ("bytes_list", tf.train.BytesList))
        made[name] = tf.train.Feature(**{field: kind(value=values)})
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def _encoded(kind: str, *shape: int, seed: int = 0) -> bytes:
    data = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(data).save(buffer, kind)
    return buffer.getvalue()


@graph()
def examples_in_a_serving_signature() -> Graph:
    serialized = tf.placeholder(tf.string, [None], name="tf_example")
    spec = {
        "x": tf.FixedLenFeature([3], tf.float32),
        "count": tf.FixedLenFeature([], tf.int64, default_value=7),
        "tags": tf.VarLenFeature(tf.string),
        "path": tf.FixedLenSequenceFeature([2], tf.float32, allow_missing=True),
    }
    features = tf.parse_example(serialized, spec)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["cat", "dog"], tf.range(2, dtype=tf.int64)), default_value=2
    )
    ids = tf.sparse.to_dense(table.lookup(features["tags"]), default_value=3)
    bag = tf.reduce_sum(tf.one_hot(ids, 4), 1)
    path = tf.reduce_sum(features["path"], [1, 2])[:, None]
    count = tf.cast(features["count"], tf.float32)[:, None]
    scores = tf.nn.softmax(dense(tf.concat([features["x"], bag, path, count], 1), 3))
    names = tf.tile(tf.constant([["a", "b", "c"]]), [tf.shape(scores)[0], 1])
    records = [
        _example(x=[0.1, 0.2, 0.3], tags=[b"dog", b"cat"], path=[1.0, 2, 3, 4]),
        _example(x=[1.0, 0, -1], count=[2]),
        _example(x=[0.0, 0, 1], tags=[b"cow"], count=[1], extra=[b"ignored"]),
    ]
    return Graph([{serialized: records}, {serialized: records[1:2]}], [names, scores, ids])


@graph()
def raw_bytes_csv_and_json() -> Graph:
    raw, lines = tf.placeholder(tf.string, [None], name="raw"), tf.placeholder(tf.string, [None], name="lines")
    pixels = tf.cast(tf.reshape(tf.decode_raw(raw, tf.uint8), [-1, 2, 3]), tf.float32) / 255.0
    number, word, share = tf.decode_csv(lines, [[0], ["none"], [0.5]])
    numbers = tf.string_to_number(tf.string_split([tf.strings.reduce_join(word, separator=",")], ",").values[:1])
    base64 = tf.io.decode_base64(tf.io.encode_base64(raw))
    out = dense(tf.reshape(pixels, [-1, 6]), 2)
    feeds = {raw: [b"\x00\x10\x20\x30\x40\xff", b"abcdef"], lines: [b'1,"12",0.25', b",5,"]}
    return Graph(feeds, [out, number, word, share, numbers, base64])


@graph(atol=1e-3)
def image_preprocessing_for_inference() -> Graph:
    """A batch of encoded pictures of any size, decoded, cropped, resized and standardised in a loop."""
    encoded = tf.placeholder(tf.string, [None], name="image_bytes")

    def decode(text: Any) -> Any:
        image = tf.image.convert_image_dtype(tf.image.decode_png(text, channels=3), tf.float32)
        image = tf.image.central_crop(image, 0.875)
        image = tf.image.resize_bilinear(image[None], [8, 8], align_corners=False)[0]
        return tf.image.per_image_standardization(image)

    images = tf.map_fn(decode, encoded, dtype=tf.float32)
    images.set_shape([None, 8, 8, 3])
    logits = dense(tf.reduce_mean(depthwise(conv(images, 4), strides=2), [1, 2]), 3)
    best = tf.nn.top_k(tf.nn.softmax(logits), 2)
    pictures = [_encoded("png", 9, 12, 3), _encoded("png", 16, 10, 3, seed=1), _encoded("png", 8, 8, seed=2)]
    return Graph({encoded: pictures}, [images, logits, best.indices])


@graph(rtol=1e-3, atol=2e-3)
def image_distortions_for_training() -> Graph:
    encoded = tf.placeholder(tf.string, [], name="image_bytes")
    image = tf.image.convert_image_dtype(
        tf.image.decode_image(encoded, channels=3, expand_animations=False), tf.float32
    )
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image), [[[0.1, 0.2, 0.9, 0.8]]], min_object_covered=0.3, area_range=(0.3, 1.0), seed=3, seed2=4
    )
    image = tf.slice(image, begin, size)
    image.set_shape([None, None, 3])
    image = tf.image.resize_images(image, [8, 8], method=tf.image.ResizeMethod.BICUBIC)
    image = tf.image.random_flip_left_right(image, seed=5)
    image = tf.image.random_brightness(image, 0.2, seed=6)
    image = tf.image.random_saturation(image, 0.5, 1.5, seed=7)
    image = tf.image.random_hue(image, 0.1, seed=8)
    image = tf.image.random_contrast(image, 0.5, 1.5, seed=9)
    image = tf.clip_by_value(image, 0.0, 1.0)
    image = tf.random_crop(tf.image.resize_image_with_crop_or_pad(image, 10, 10), [7, 7, 3], seed=10)
    turned = tf.image.rot90(tf.image.flip_up_down(image))
    logits = dense(tf.reduce_mean(conv(turned[None], 4), [1, 2]), 3)
    labels, loss = classified(logits, integers(3, 1))
    feeds = [{encoded: _encoded("png", 12, 15, 3, seed=i), labels: [i % 3]} for i in range(2)]
    return Graph(feeds, [image, logits, loss], minimize(tf.train.MomentumOptimizer(0.05, 0.9), loss))


@graph(rtol=1e-3, atol=1e-4)
def speech_features_and_network() -> Graph:
    signal = tf.placeholder(tf.float32, [None, None], name="signal")
    spectrum = tf.signal.stft(signal, frame_length=64, frame_step=32, fft_length=64)
    magnitude = tf.abs(spectrum)
    mel = tf.signal.linear_to_mel_weight_matrix(12, 33, 8000, 80.0, 3800.0)
    log_mel = tf.log(tf.tensordot(magnitude, mel, 1) + 1e-4)
    mfcc = tf.signal.mfccs_from_log_mel_spectrograms(log_mel)[..., :8]
    again = tf.signal.inverse_stft(spectrum, 64, 32, window_fn=tf.signal.inverse_stft_window_fn(32))
    net = tf.nn.relu(tf.nn.conv1d(mfcc, tf.get_variable("kernel", [3, 8, 4]), 2, "SAME"))
    logits = dense(tf.reduce_mean(net, 1), 3)
    labels, loss = classified(logits, integers(3, 2))
    time = np.arange(400) / 8000
    waves = np.stack([np.sin(2 * np.pi * f * time) for f in (440, 1200)]).astype(np.float32)
    train = minimize(tf.train.AdamOptimizer(0.01), loss)
    return Graph({signal: waves + 0.1 * normal(2, 400), labels: [0, 2]}, [mfcc, again, logits, loss], train)


@graph()
def counters_and_caches() -> Graph:
    """State that a request leaves behind: counters, a ring buffer, a scatter into a cache, the last value."""
    x = tf.placeholder(tf.float32, [3], name="x")
    hits = tf.get_variable("hits", [], tf.int64, initializer=tf.zeros_initializer(), trainable=False)
    ring = tf.get_variable("ring", [4, 3], initializer=tf.zeros_initializer(), trainable=False)
    last = tf.get_variable("last", [3], initializer=tf.zeros_initializer(), trainable=False)
    with tf.control_dependencies([hits.read_value() + 0]):
        before = tf.identity(last.read_value() + 0.0)  # read before it is overwritten
    with tf.control_dependencies([before]):
        counted = tf.assign_add(hits, 1)
    with tf.control_dependencies([counted]):
        slot = tf.cast((hits.read_value() - 1) % 4, tf.int32)
        written = tf.scatter_update(ring, [slot], x[None])
        kept = tf.assign(last, x)
    with tf.control_dependencies([kept, written]):
        mean = tf.reduce_mean(ring.read_value(), 0)
        difference = x - before
    return Graph([{x: normal(3, seed=i)} for i in range(6)], [difference, mean, slot])


@graph()
def sparse_inputs() -> Graph:
    x = tf.sparse_placeholder(tf.float32, [None, 6], name="x")
    y = tf.sparse_placeholder(tf.float32, [None, 6], name="y")
    total = tf.sparse.add(x, y)
    joined = tf.sparse.concat(1, [x, y])
    softmax = tf.sparse.softmax(tf.sparse.reorder(x))
    part = tf.sparse.slice(x, [0, 1], [2, 3])
    dense_x = tf.sparse.to_dense(x)
    hidden = tf.sparse.sparse_dense_matmul(x, tf.get_variable("w", [6, 3]))
    transposed = tf.sparse.transpose(x)
    loss = tf.reduce_mean(tf.square(hidden - 1))
    feeds = {
        x.indices: np.array([[0, 1], [0, 4], [2, 0]], np.int64), x.values: np.array([1, -2, 3], np.float32),
        x.dense_shape: np.array([3, 6], np.int64),
        y.indices: np.array([[0, 1], [1, 5]], np.int64), y.values: np.array([5, 6], np.float32),
        y.dense_shape: np.array([3, 6], np.int64),
    }  # fmt: skip
    outputs = [total.values, joined.indices, softmax.values, part.values, dense_x, transposed.indices, hidden, loss]
    return Graph(feeds, outputs, minimize(tf.train.AdagradOptimizer(0.1), loss))
