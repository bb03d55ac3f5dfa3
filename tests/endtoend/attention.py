"""Transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import dense, integers, layer_norm, minimize, normal

# Biases of keys have no gradient but for rounding; with Adam's usual epsilon it would make steps of that.
_EPSILON = 1e-3


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + tf.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * tf.pow(x, 3))))


def _heads(x: Any, heads: int) -> Any:
    """[batch, time, size] to [batch, heads, time, size / heads]."""
    shape = tf.shape(x)
    return tf.transpose(tf.reshape(x, [shape[0], shape[1], heads, x.shape[-1] // heads]), [0, 2, 1, 3])


def _attend(q: Any, k: Any, v: Any, bias: Any, heads: int, size: int) -> Any:
    q, k, v = (_heads(value, heads) for value in (q, k, v))
    logits = tf.matmul(q, k, transpose_b=True) / np.sqrt(size // heads).astype(np.float32) + bias
    out = tf.transpose(tf.matmul(tf.nn.softmax(logits), v), [0, 2, 1, 3])
    shape = tf.shape(out)
    return dense(tf.reshape(out, [shape[0], shape[1], size]), size, name="output")


@graph()
def transformer_encoder() -> Graph:
    tokens = tf.placeholder(tf.int32, [None, None], name="tokens")
    size, heads, vocabulary = 8, 2, 11
    table = tf.get_variable("embedding", [vocabulary, size])
    length = tf.shape(tokens)[1]
    positions = tf.cast(tf.range(length), tf.float32)[:, None] * tf.exp(
        -np.log(1e4).astype(np.float32) * tf.cast(tf.range(size // 2), tf.float32) / (size // 2 - 1)
    )
    x = tf.nn.embedding_lookup(table, tokens) * size**0.5 + tf.concat([tf.sin(positions), tf.cos(positions)], 1)
    bias = tf.cast(tf.equal(tokens, 0), tf.float32)[:, None, None, :] * -1e9
    for layer in range(2):
        with tf.variable_scope(f"layer_{layer}"):
            normed = layer_norm(x)
            q, k, v = (dense(normed, size, name=name) for name in ("query", "key", "value"))
            x += tf.nn.dropout(_attend(q, k, v, bias, heads, size), rate=0.1, seed=layer)
            x += dense(dense(layer_norm(x), 16, tf.nn.relu), size)
    logits = tf.einsum("bts,vs->btv", layer_norm(x), table)
    labels = tf.one_hot(tokens, vocabulary, on_value=0.9, off_value=0.1 / (vocabulary - 1))
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits))
    step = tf.cast(tf.train.get_or_create_global_step(), tf.float32) + 1
    rate = 0.1 * tf.minimum(tf.rsqrt(step), step * 3**-1.5)
    train = minimize(
        tf.train.AdamOptimizer(rate, beta2=0.98, epsilon=_EPSILON), loss, global_step=tf.train.get_global_step()
    )
    feeds = [{tokens: integers(10, 2, 5) + 1}, {tokens: [[3, 4, 0, 0], [5, 6, 7, 0], [1, 1, 1, 1]]}]
    return Graph(feeds, [logits, loss, rate], train)


@graph()
def decoder_step_with_a_cache() -> Graph:
    """Greedy decoding: each step of the loop adds one row to the cache of keys and values."""
    first = tf.placeholder(tf.int32, [None], name="first")
    size, heads, vocabulary = 8, 2, 9
    table = tf.get_variable("embedding", [vocabulary, size])
    batch = tf.shape(first)[0]

    def step(t: Any, token: Any, keys: Any, values: Any, out: Any) -> Any:
        with tf.variable_scope("decoder", reuse=tf.AUTO_REUSE):
            x = layer_norm_shared(tf.nn.embedding_lookup(table, token))[:, None]
            kernels = tf.get_variable("qkv", [size, 3 * size])
            q, k, v = tf.split(tf.tensordot(x, kernels, 1), 3, axis=2)
            keys, values = tf.concat([keys, k], 1), tf.concat([values, v], 1)
            keys.set_shape([None, None, size])
            values.set_shape([None, None, size])
            q, split_k, split_v = (_heads(part, heads) for part in (q, keys, values))
            weights = tf.nn.softmax(tf.matmul(q, split_k, transpose_b=True))
            context = tf.reshape(tf.transpose(tf.matmul(weights, split_v), [0, 2, 1, 3]), [batch, size])
            logits = tf.matmul(context, table, transpose_b=True)
        token = tf.argmax(logits, 1, output_type=tf.int32)
        return t + 1, token, keys, values, out.write(t, token)

    def layer_norm_shared(x: Any) -> Any:
        gamma = tf.get_variable("gamma", [size], initializer=tf.ones_initializer())
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return (x - mean) * tf.rsqrt(variance + 1e-6) * gamma

    empty = tf.zeros([batch, 0, size])
    shape = tf.TensorShape([None, None, size])
    loop = [tf.constant(0), first, empty, empty, tf.TensorArray(tf.int32, 6, element_shape=[None])]
    shapes = [tf.TensorShape([]), tf.TensorShape([None]), shape, shape, tf.TensorShape(None)]
    _, last, keys, _, out = tf.while_loop(lambda t, *_: t < 6, step, loop, shape_invariants=shapes, back_prop=False)
    return Graph([{first: [1, 2]}, {first: [5]}], [tf.transpose(out.stack()), last, keys])


@graph()
def bert_pretraining() -> Graph:
    ids, mask, segments = (tf.placeholder(tf.int32, [2, 6], name=n) for n in ("input_ids", "input_mask", "segment_ids"))
    positions, targets = (tf.placeholder(tf.int32, [2, 2], name=n) for n in ("lm_positions", "lm_ids"))
    weights, following = tf.placeholder(tf.float32, [2, 2], name="lm_weights"), tf.placeholder(tf.int32, [2])
    size, vocabulary, initializer = 8, 13, tf.truncated_normal_initializer(stddev=0.2)
    with tf.variable_scope("bert/embeddings", initializer=initializer):
        table = tf.get_variable("word_embeddings", [vocabulary, size])
        types = tf.get_variable("token_type_embeddings", [2, size])
        flat = tf.reshape(tf.gather(table, tf.reshape(ids, [-1])), [2, 6, size])
        flat += tf.reshape(tf.matmul(tf.one_hot(tf.reshape(segments, [-1]), depth=2), types), [2, 6, size])
        full = tf.get_variable("position_embeddings", [16, size])
        with tf.control_dependencies([tf.assert_less_equal(6, 16)]):
            flat += tf.expand_dims(tf.slice(full, [0, 0], [6, -1]), 0)
        x = layer_norm(flat)
    bias = (1.0 - tf.cast(mask[:, None, None, :], tf.float32)) * -10000.0
    for layer in range(2):
        with tf.variable_scope(f"bert/encoder/layer_{layer}", initializer=initializer):
            q, k, v = (dense(x, size, name=name) for name in ("query", "key", "value"))
            x = layer_norm(x + _attend(q, k, v, bias, 2, size))
            x = layer_norm(x + dense(dense(x, 16, _gelu, name="intermediate"), size))
    pooled = dense(tf.squeeze(x[:, 0:1, :], axis=1), size, tf.tanh, name="pooler")
    chosen = tf.gather(tf.reshape(x, [-1, size]), tf.reshape(positions + tf.range(2)[:, None] * 6, [-1]))
    with tf.variable_scope("cls/predictions"):
        bias = tf.get_variable("output_bias", [vocabulary], initializer=tf.zeros_initializer())
        logits = tf.nn.bias_add(tf.matmul(layer_norm(dense(chosen, size, _gelu)), table, transpose_b=True), bias)
    per_example = -tf.reduce_sum(tf.nn.log_softmax(logits) * tf.one_hot(tf.reshape(targets, [-1]), vocabulary), -1)
    flat_weights = tf.reshape(weights, [-1])
    masked = tf.reduce_sum(flat_weights * per_example) / (tf.reduce_sum(flat_weights) + 1e-5)
    sentence = tf.nn.log_softmax(dense(pooled, 2, name="seq_relationship"))
    loss = masked - tf.reduce_mean(tf.reduce_sum(tf.one_hot(following, 2) * sentence, -1))
    step = tf.train.get_or_create_global_step()
    train = _adam_with_weight_decay(loss, step)
    feeds = {
        ids: integers(13, 2, 6), mask: [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], segments: [[0, 0, 1, 1, 0, 0]] * 2,
        positions: [[1, 3], [0, 5]], targets: integers(13, 2, 2), weights: [[1, 1], [1, 0]], following: [0, 1],
    }  # fmt: skip
    return Graph(feeds, [x, pooled, masked, loss], train)


def _adam_with_weight_decay(loss: Any, step: Any) -> Any:
    """BERT's optimizer: polynomial decay, warm-up, slots made by hand and written by assignments."""
    rate = tf.train.polynomial_decay(tf.constant(0.01), step, 10, end_learning_rate=0.0, power=1.0)
    done, warm = tf.cast(step, tf.float32), 3.0
    warming = tf.cast(done < warm, tf.float32)
    rate = (1.0 - warming) * rate + warming * 0.01 * done / warm
    variables = tf.trainable_variables()
    gradients, _ = tf.clip_by_global_norm(tf.gradients(loss, variables), clip_norm=1.0)
    updates = []
    for gradient, variable in zip(gradients, variables, strict=True):
        name = variable.op.name
        m, v = (
            tf.get_variable(f"{name}/adam_{k}", variable.shape, trainable=False, initializer=tf.zeros_initializer())
            for k in "mv"
        )
        gradient = tf.convert_to_tensor(gradient)
        new_m = 0.9 * m + 0.1 * gradient
        new_v = 0.999 * v + 0.001 * tf.square(gradient)
        update = new_m / (tf.sqrt(new_v) + _EPSILON)
        if "bias" not in name and "layer_norm" not in name:
            update += 0.01 * variable
        updates += [variable.assign(variable - rate * update), m.assign(new_m), v.assign(new_v)]
    with tf.control_dependencies(updates):
        return tf.group(step.assign_add(1), name="train_step")


@graph()
def causal_language_model() -> Graph:
    tokens = tf.placeholder(tf.int32, [None, None], name="context")
    size = 8
    table = tf.get_variable("wte", [10, size], initializer=tf.random_normal_initializer(stddev=0.3))
    places = tf.get_variable("wpe", [8, size], initializer=tf.random_normal_initializer(stddev=0.1))
    length = tf.shape(tokens)[1]
    x = tf.gather(table, tokens) + tf.gather(places, tf.tile(tf.range(length)[None], [tf.shape(tokens)[0], 1]))
    seen = tf.matrix_band_part(tf.ones([length, length]), -1, 0)
    q, k, v = tf.split(dense(layer_norm(x), 3 * size, name="c_attn"), 3, axis=2)
    x += _attend(q, k, v, (1.0 - seen) * -1e10, 2, size)
    x += dense(dense(layer_norm(x), 4 * size, _gelu), size)
    logits = tf.tensordot(layer_norm(x), table, [[2], [1]])
    best, _ = tf.nn.top_k(logits[:, -1], k=3)
    filtered = tf.where(logits[:, -1] < best[:, -1:], tf.ones_like(logits[:, -1]) * -1e10, logits[:, -1])
    drawn = tf.random.categorical(filtered, num_samples=3, dtype=tf.int32, seed=11)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tokens[:, 1:], logits=logits[:, :-1])
    loss = tf.reduce_mean(losses)
    perplexity = tf.exp(loss)
    train = minimize(tf.train.AdamOptimizer(0.01, epsilon=_EPSILON), loss)
    return Graph([{tokens: integers(10, 2, 6)}, {tokens: integers(10, 3, 4)}], [logits, drawn, perplexity], train)


@graph(odd=("one", "none", "nan"))
def set_of_points_with_attention_pooling() -> Graph:
    x = tf.placeholder(tf.float32, [None, 5, 3], name="points")
    net = dense(dense(x, 8, tf.nn.swish), 6)
    squared = tf.reduce_sum(tf.square(x), -1, keepdims=True)
    distance = squared - 2 * tf.matmul(x, x, transpose_b=True) + tf.transpose(squared, [0, 2, 1])
    _, near = tf.nn.top_k(-distance, 2)
    pooled = tf.reduce_max(tf.gather(net, near, batch_dims=1), 2)
    weights = tf.nn.softmax(tf.reduce_sum(pooled * tf.get_variable("seed", [6]), -1))
    out = tf.einsum("bt,bts->bs", weights, pooled)
    loss = tf.reduce_mean(tf.reduce_logsumexp(out, 1))
    return Graph({x: normal(2, 5, 3)}, [near, out, loss], minimize(tf.train.AdamOptimizer(0.01), loss))
