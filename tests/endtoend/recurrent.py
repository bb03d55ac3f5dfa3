"""Networks that read and write sequences step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import (
    Cell,
    GRUCell,
    LSTMCell,
    Stacked,
    classified,
    conv,
    dense,
    integers,
    minimize,
    normal,
    uniform,
)


@graph()
def dynamic_rnn_classifier() -> Graph:
    x = tf.placeholder(tf.float32, [None, None, 4], name="x")
    lengths = tf.placeholder(tf.int32, [None], name="lengths")
    keep = tf.placeholder_with_default(1.0, None, name="keep_prob")  # of unknown rank
    outputs, (_, h) = tf.nn.dynamic_rnn(LSTMCell(6), x, sequence_length=lengths, dtype=tf.float32)
    last = tf.gather_nd(outputs, tf.stack([tf.range(tf.shape(x)[0]), lengths - 1], 1))
    logits = dense(tf.nn.dropout(last + h, keep), 3)
    labels, loss = classified(logits, integers(3, 3))
    optimizer = tf.train.AdamOptimizer(0.01)
    gradients, variables = zip(*optimizer.compute_gradients(loss), strict=True)
    clipped, norm = tf.clip_by_global_norm(gradients, 0.5)
    train = optimizer.apply_gradients(zip(clipped, variables, strict=True))
    here = {x: normal(3, 5, 4), lengths: [5, 2, 3], labels: integers(3, 3)}
    longer = {x: normal(2, 7, 4), lengths: [1, 7], labels: integers(3, 2), keep: 0.7}
    return Graph([here, longer], [outputs, tf.nn.softmax(logits), loss, norm], train)


@graph()
def stacked_gru_time_major() -> Graph:
    x = tf.placeholder(tf.float32, [None, 2, 3], name="x")
    cell = Stacked([GRUCell(4), GRUCell(5), LSTMCell(3)])
    start = cell.zero_state(2, tf.float32)
    outputs, state = tf.nn.dynamic_rnn(cell, x, initial_state=start, time_major=True, swap_memory=True)
    target = tf.placeholder(tf.float32, [None, 2, 3], name="target")
    loss = tf.reduce_mean(tf.square(outputs - target))
    train = minimize(tf.train.RMSPropOptimizer(0.01, centered=True), loss)
    return Graph({x: normal(6, 2, 3), target: normal(6, 2, 3, seed=1)}, [outputs, state, loss], train)


@graph()
def static_rnn_unrolled() -> Graph:
    x = tf.placeholder(tf.float32, [None, 4, 3], name="x")
    outputs, state = tf.nn.static_rnn(LSTMCell(5), tf.unstack(x, 4, 1), dtype=tf.float32)
    logits = dense(outputs[-1], 2)
    labels, loss = classified(logits, integers(2, 3))
    train = minimize(tf.train.GradientDescentOptimizer(0.1), loss)
    return Graph({x: normal(3, 4, 3), labels: integers(2, 3)}, [logits, state, loss], train)


@graph()
def bidirectional_lstm_with_ctc() -> Graph:
    x = tf.placeholder(tf.float32, [2, None, 3], name="frames")
    lengths = tf.placeholder(tf.int32, [2], name="lengths")
    labels = tf.sparse_placeholder(tf.int32, name="labels")
    (fw, bw), _ = tf.nn.bidirectional_dynamic_rnn(
        LSTMCell(4, "fw"), LSTMCell(4, "bw"), x, sequence_length=lengths, dtype=tf.float32
    )
    logits = tf.transpose(dense(tf.concat([fw, bw], 2), 5), [1, 0, 2])
    loss = tf.reduce_mean(tf.nn.ctc_loss(labels, logits, lengths))
    greedy, score = tf.nn.ctc_greedy_decoder(logits, lengths)
    beams, log_probability = tf.nn.ctc_beam_search_decoder(logits, lengths, beam_width=5, top_paths=2)
    text = tf.sparse.to_dense(beams[0], default_value=-1)
    errors = tf.reduce_mean(tf.edit_distance(tf.cast(greedy[0], tf.int32), labels))
    feeds = {
        x: normal(2, 9, 3), lengths: [9, 7], labels.indices: np.array([[0, 0], [0, 1], [1, 0]], np.int64),
        labels.values: np.array([1, 2, 3], np.int32), labels.dense_shape: np.array([2, 2], np.int64),
    }  # fmt: skip
    train = minimize(tf.train.MomentumOptimizer(0.05, 0.9), loss)
    return Graph(feeds, [loss, greedy[0].values, score, text, log_probability, errors], train)


@graph()
def character_rnn_that_keeps_its_state() -> Graph:
    """Each run goes on where the one before it stopped."""
    x = tf.placeholder(tf.int32, [2, 4], name="chars")
    table = tf.get_variable("embedding", [6, 3])
    cell = LSTMCell(5)
    kept = [tf.get_variable(n, [2, 5], trainable=False, initializer=tf.zeros_initializer()) for n in "ch"]
    inputs = tf.nn.embedding_lookup(table, x)
    outputs, state = tf.nn.dynamic_rnn(cell, inputs, initial_state=tuple(v.read_value() for v in kept))
    logits = dense(outputs, 6)
    draw = tf.random.categorical(tf.reshape(logits, [-1, 6]), 2, seed=3)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=x, logits=logits))
    with tf.control_dependencies([minimize(tf.train.AdamOptimizer(0.01), loss)]):
        train = tf.group(*[tf.assign(v, new) for v, new in zip(kept, state, strict=True)], name="train_and_keep")
    with tf.control_dependencies([tf.assign(v, new) for v, new in zip(kept, state, strict=True)]):
        logits = tf.identity(logits, name="logits")
    texts = [{x: integers(6, 2, 4, seed=i)} for i in range(3)]
    return Graph(texts, [logits, loss, draw], train)


class AttentionCell(Cell):
    """A GRU whose input is joined by what it attends to in the encoder's outputs (Bahdanau)."""

    def __init__(self, units: int, memory: Any, lengths: Any):
        super().__init__("attention", units)
        self.memory, self.lengths, self.inner = memory, lengths, GRUCell(units)

    def step(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        keys = tf.tensordot(self.memory, tf.get_variable("memory_kernel", [self.memory.shape[-1], 4]), 1)
        query = tf.matmul(state, tf.get_variable("query_kernel", [self.units, 4]))
        energy = tf.reduce_sum(tf.get_variable("v", [4]) * tf.tanh(keys + query[:, None]), 2)
        mask = tf.sequence_mask(self.lengths, tf.shape(self.memory)[1])
        weights = tf.nn.softmax(tf.where(mask, energy, tf.fill(tf.shape(energy), -1e9)))
        context = tf.reduce_sum(weights[..., None] * self.memory, 1)
        return self.inner(tf.concat([inputs, context], 1), state)


def _encoder(vocabulary: int) -> tuple[Any, Any, Any, Any, Any]:
    source, lengths = tf.placeholder(tf.int32, [2, None], name="source"), tf.placeholder(tf.int32, [2], name="lengths")
    table = tf.get_variable("embedding", [vocabulary, 4])
    outputs, state = tf.nn.dynamic_rnn(
        GRUCell(5, "encoder"), tf.nn.embedding_lookup(table, source), sequence_length=lengths, dtype=tf.float32
    )
    return source, lengths, table, outputs, state


@graph()
def sequence_to_sequence_with_attention() -> Graph:
    source, lengths, table, memory, state = _encoder(7)
    target = tf.placeholder(tf.int32, [2, None], name="target")
    shifted = tf.concat([tf.zeros([2, 1], tf.int32), target[:, :-1]], 1)
    cell = AttentionCell(5, memory, lengths)
    outputs, _ = tf.nn.dynamic_rnn(cell, tf.nn.embedding_lookup(table, shifted), initial_state=state, scope="decoder")
    logits = dense(outputs, 7)
    weights = tf.cast(tf.not_equal(target, 0), tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=logits)
    loss = tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)
    optimizer = tf.train.AdamOptimizer(0.01)
    pairs = [(tf.clip_by_norm(g, 1.0), v) for g, v in optimizer.compute_gradients(loss)]
    feeds = {source: integers(7, 2, 5), lengths: [5, 3], target: [[1, 2, 3, 0], [4, 5, 6, 2]]}
    return Graph(feeds, [tf.argmax(logits, 2), logits, loss], optimizer.apply_gradients(pairs))


@graph()
def beam_search() -> Graph:
    source, lengths, table, memory, state = _encoder(7)
    beams, end = 3, 1
    with tf.variable_scope("decoder"):
        memory = tf.repeat(memory, beams, axis=0)
        cell = AttentionCell(5, memory, tf.repeat(lengths, beams))
        state = tf.repeat(state, beams, axis=0)
    offsets = tf.range(2)[:, None] * beams

    def step(t: Any, state: Any, tokens: Any, scores: Any, done: Any) -> Any:
        with tf.variable_scope("decoder", reuse=tf.AUTO_REUSE):
            output, new_state = cell(tf.nn.embedding_lookup(table, tf.reshape(tokens[:, :, -1], [-1])), state)
            kernel = tf.get_variable("projection", [5, 7])
        log_probability = tf.reshape(tf.nn.log_softmax(tf.matmul(output, kernel)), [2, beams, 7])
        only_end = tf.one_hot(end, 7, on_value=0.0, off_value=-1e9)
        log_probability = tf.where(
            tf.tile(done[..., None], [1, 1, 7]), tf.zeros([2, beams, 7]) + only_end, log_probability
        )
        total = tf.reshape(scores[..., None] + log_probability, [2, beams * 7])
        best, where = tf.nn.top_k(total, beams)
        beam, word = where // 7, where % 7
        flat = tf.reshape(beam + offsets, [-1])
        tokens = tf.reshape(tf.gather(tf.reshape(tokens, [2 * beams, -1]), flat), [2, beams, -1])
        tokens = tf.concat([tokens, word[..., None]], 2)
        done = tf.logical_or(tf.reshape(tf.gather(tf.reshape(done, [-1]), flat), [2, beams]), tf.equal(word, end))
        return t + 1, tf.gather(new_state, flat), tokens, best, done

    start = tf.tile([[0.0, -1e9, -1e9]], [2, 1])
    loop = [tf.constant(0), state, tf.zeros([2, beams, 1], tf.int32), start, tf.zeros([2, beams], tf.bool)]
    shapes = [
        tf.TensorShape([]),
        tf.TensorShape([None, 5]),
        tf.TensorShape([2, beams, None]),
        tf.TensorShape([2, beams]),
    ]
    _, _, tokens, scores, done = tf.while_loop(
        lambda t, s, k, c, d: tf.logical_and(t < 6, tf.logical_not(tf.reduce_all(d))), step, loop,
        shape_invariants=[*shapes, tf.TensorShape([2, beams])], back_prop=False,
    )  # fmt: skip
    feeds = [{source: integers(7, 2, 5, seed=i), lengths: [5, 2]} for i in range(2)]
    return Graph(feeds, [tokens, scores, done])


@graph()
def convolutional_lstm() -> Graph:
    x = tf.placeholder(tf.float32, [None, 3, 5, 5, 2], name="frames")
    state = c = tf.zeros([tf.shape(x)[0], 5, 5, 3])
    state.set_shape([None, 5, 5, 3])
    for t in range(3):
        with tf.variable_scope("cell", reuse=t > 0):
            kernel = tf.get_variable("kernel", [3, 3, 5, 12])
        gates = tf.nn.conv2d(tf.concat([x[:, t], state], 3), kernel, 1, "SAME")
        i, f, o, g = tf.split(gates, 4, 3)
        c = tf.nn.hard_sigmoid(f) * c if hasattr(tf.nn, "hard_sigmoid") else tf.clip_by_value(0.2 * f + 0.5, 0, 1) * c
        c += tf.sigmoid(i) * tf.tanh(g)
        state = tf.sigmoid(o) * tf.nn.softsign(c)
    out = conv(state, 1, 1, activation=None)
    loss = tf.reduce_mean(tf.log(tf.cosh(out - 0.5)))
    return Graph({x: uniform(2, 3, 5, 5, 2)}, [out, loss], minimize(tf.train.AdamOptimizer(0.01), loss))


@graph()
def scan_fold_and_map() -> Graph:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    decay = tf.get_variable("decay", initializer=np.float32(0.9))
    running = tf.scan(lambda a, v: a * decay + v, x, initializer=tf.zeros([3]))
    backwards = tf.scan(lambda a, v: tf.maximum(a, v), x, reverse=True)
    product = tf.foldl(lambda a, v: a * (1 + 0.1 * v), x, initializer=tf.ones([3]))
    right = tf.foldr(lambda a, v: a - v, x)
    mapped = tf.map_fn(lambda row: tf.reduce_sum(row) * row, x)
    loss = tf.reduce_sum(tf.square(running)) + tf.reduce_sum(product) + tf.reduce_sum(mapped)
    train = minimize(tf.train.GradientDescentOptimizer(0.01), loss)
    return Graph([{x: normal(4, 3)}, {x: normal(2, 3)}], [running, backwards, product, right, mapped, loss], train)


@graph()
def raw_rnn_with_its_own_loop() -> Graph:
    x = tf.placeholder(tf.float32, [None, 2, 3], name="x")
    inputs = tf.TensorArray(tf.float32, tf.shape(x)[0]).unstack(x)
    cell, lengths = LSTMCell(4), tf.placeholder(tf.int32, [2], name="lengths")

    def loop(time: Any, output: Any, state: Any, loop_state: Any) -> Any:
        finished = time >= lengths
        following = tf.cond(tf.reduce_all(finished), lambda: tf.zeros([2, 3]), lambda: inputs.read(time))
        following.set_shape([2, 3])
        return finished, following, cell.zero_state(2, tf.float32) if output is None else state, output, None

    emitted, (c, _), _ = tf.nn.raw_rnn(cell, loop)
    out = emitted.stack()
    loss = tf.reduce_mean(tf.square(out))
    feeds = {x: normal(5, 2, 3), lengths: [5, 3]}
    return Graph(feeds, [out, c, loss], minimize(tf.train.FtrlOptimizer(0.1, l1_regularization_strength=0.001), loss))
