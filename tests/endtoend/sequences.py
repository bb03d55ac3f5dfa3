"""Language, speech and music: programs that read, attend, align, sample and search."""

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
    batch_norm,
    classified,
    conv,
    dense,
    integers,
    layer_norm,
    minimize,
    normal,
    uniform,
)


@graph(odd=("nan",))
def char_rnn_with_fed_state_and_sampling() -> Graph:
    """The state goes out of one run and into the next; a loop samples with a temperature."""
    cell = Stacked([LSTMCell(5), LSTMCell(4)])
    with tf.variable_scope("char_rnn"):
        embedding = tf.get_variable("embedding", [7, 3])
    x = tf.placeholder(tf.int32, [2, None], name="x")
    y = tf.placeholder(tf.int32, [2, None], name="y")
    state = tf.nest.map_structure(lambda n: tf.placeholder(tf.float32, [2, n]), cell.state_size)
    temperature = tf.placeholder_with_default(1.0, [], name="temperature")
    with tf.variable_scope("rnn", reuse=tf.AUTO_REUSE):
        outputs, last = tf.nn.dynamic_rnn(cell, tf.nn.embedding_lookup(embedding, x), initial_state=state)
    kernel, bias = tf.get_variable("softmax_w", [4, 7]), tf.get_variable("softmax_b", [7])
    logits = tf.reshape(tf.matmul(tf.reshape(outputs, [-1, 4]), kernel) + bias, [2, -1, 7])
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))

    def sample(i: Any, char: Any, state: Any, text: Any) -> tuple[Any, ...]:
        with tf.variable_scope("rnn/rnn", reuse=tf.AUTO_REUSE):
            out, state = cell(tf.nn.embedding_lookup(embedding, char), state)
        chosen = tf.random.categorical((tf.matmul(out, kernel) + bias) / temperature, 1, seed=7, dtype=tf.int32)
        return i + 1, chosen[:, 0], state, text.write(i, chosen[:, 0])

    start = (tf.constant(0), x[:, 0], state, tf.TensorArray(tf.int32, 6))
    text = tf.transpose(tf.while_loop(lambda i, *_: i < 6, sample, start)[3].stack())
    variables = tf.trainable_variables()
    gradients, _ = tf.clip_by_global_norm(tf.gradients(loss, variables), 1.0)
    train = tf.train.AdamOptimizer(tf.train.exponential_decay(0.02, 3, 2, 0.9)).apply_gradients(
        zip(gradients, variables, strict=True), name="train_step"
    )
    given = dict(zip(tf.nest.flatten(state), [normal(2, n, seed=n) for n in (5, 5, 4, 4)], strict=True))
    feeds = [{x: integers(7, 2, n), y: integers(7, 2, n, seed=1), **given} for n in (5, 2)]
    return Graph([*feeds, {**feeds[0], temperature: 0.3}], [logits, loss, last, text], train)


class TuringMachine(Cell):
    """A controller with a memory that it reads and writes by content and by place."""

    def __init__(self, units: int, rows: int, width: int):
        super().__init__("turing_machine", units)
        self.rows, self.width = rows, width
        self.state_size = (units, rows, rows * width)

    def step(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        h, weights, flat = state
        memory = tf.reshape(flat, [-1, self.rows, self.width])
        read = tf.reduce_sum(weights[..., None] * memory, 1)
        h = tf.tanh(self.project(tf.concat([inputs, read, h], 1), self.units, "controller"))
        key = tf.tanh(self.project(h, self.width, "key"))
        strength = tf.nn.softplus(self.project(h, 1, "strength"))
        gate = tf.sigmoid(self.project(h, 1, "gate"))
        shift = tf.nn.softmax(self.project(h, 3, "shift"))
        sharpen = 1.0 + tf.nn.softplus(self.project(h, 1, "sharpen"))
        similar = tf.einsum("brw,bw->br", tf.nn.l2_normalize(memory, 2), tf.nn.l2_normalize(key, 1))
        weights = gate * tf.nn.softmax(strength * similar) + (1 - gate) * weights
        moved = sum(shift[:, i : i + 1] * tf.roll(weights, i - 1, 1) for i in range(3))
        powered = tf.pow(moved, sharpen)
        weights = powered / (tf.reduce_sum(powered, 1, keepdims=True) + 1e-8)
        erase = tf.sigmoid(self.project(h, self.width, "erase"))
        add = tf.tanh(self.project(h, self.width, "add"))
        memory = memory * (1 - weights[..., None] * erase[:, None]) + weights[..., None] * add[:, None]
        return h, (h, weights, tf.reshape(memory, [-1, self.rows * self.width]))


@graph(rtol=1e-3, atol=1e-4)
def neural_turing_machine() -> Graph:
    x = tf.placeholder(tf.float32, [None, None, 3], name="x")
    cell = TuringMachine(6, 5, 4)
    batch = tf.shape(x)[0]
    start = (tf.zeros([batch, 6]), tf.fill([batch, 5], 0.2), tf.fill([batch, 20], 1e-3))
    for tensor, size in zip(start, cell.state_size, strict=True):
        tensor.set_shape([None, size])
    outputs, (_, weights, _) = tf.nn.dynamic_rnn(cell, x, initial_state=start)
    logits = dense(outputs, 3)
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.reverse(x, [1]), logits=logits))
    optimizer = tf.train.RMSPropOptimizer(1e-2, momentum=0.9)
    pairs = [(tf.clip_by_value(g, -10.0, 10.0), v) for g, v in optimizer.compute_gradients(loss)]
    bits = [integers(2, b, t, 3).astype(np.float32) for b, t in ((2, 4), (1, 6))]
    return Graph([{x: b} for b in bits], [logits, weights, loss], optimizer.apply_gradients(pairs))


@graph(odd=("one",))
def text_recognition_with_ctc_beams() -> Graph:
    image = tf.placeholder(tf.float32, [None, 8, None, 1], name="image")
    widths = tf.placeholder(tf.int32, [None], name="widths")
    labels = tf.sparse_placeholder(tf.int32, [None, None], name="labels")
    y = tf.nn.max_pool2d(conv(image, 4), [2, 2], [2, 2], "SAME")
    y = tf.nn.max_pool2d(conv(y, 6), [4, 1], [4, 1], "VALID")
    frames = tf.squeeze(y, 1)
    lengths = tf.cast(tf.math.ceil(tf.cast(widths, tf.float32) / 2), tf.int32)
    (fw, bw), _ = tf.nn.bidirectional_dynamic_rnn(GRUCell(4, "f"), GRUCell(4, "b"), frames, lengths, dtype=tf.float32)
    logits = dense(tf.concat([fw, bw], -1), 6)
    time_major = tf.transpose(logits, [1, 0, 2])
    losses = tf.nn.ctc_loss(
        labels, time_major, lengths, ctc_merge_repeated=True, ignore_longer_outputs_than_inputs=True
    )
    beams, scores = tf.nn.ctc_beam_search_decoder(time_major, lengths, beam_width=6, top_paths=3, merge_repeated=False)
    characters = tf.constant(list("abcde"))
    words = [tf.sparse.to_dense(b, default_value=-1) for b in beams]
    text = tf.strings.reduce_join(
        tf.where(words[0] >= 0, tf.gather(characters, tf.maximum(words[0], 0)), tf.fill(tf.shape(words[0]), "")), 1
    )
    distance = tf.edit_distance(tf.cast(beams[0], tf.int32), labels, normalize=False)
    train = minimize(tf.train.AdamOptimizer(0.01), tf.reduce_mean(losses))
    feeds = {
        image: uniform(2, 8, 14, 1), widths: np.array([14, 9], np.int32),
        labels.indices: np.array([[0, 0], [0, 1], [1, 0]], np.int64), labels.values: np.array([1, 1, 3], np.int32),
        labels.dense_shape: np.array([2, 2], np.int64),
    }  # fmt: skip
    return Graph(feeds, [losses, scores, *words, text, distance], train)


def _attend(q: Any, k: Any, v: Any, bias: Any) -> Any:
    scores = tf.matmul(q, k, transpose_b=True) / tf.sqrt(tf.cast(tf.shape(q)[-1], tf.float32))
    return tf.matmul(tf.nn.softmax(scores + bias), v)


@graph(odd=("one",))
def translation_by_transformer_with_beams() -> Graph:
    """An encoder, and a decoder in a loop whose sequences grow; beams are kept with gathers."""
    size, vocabulary, beams, limit = 8, 9, 3, 5
    source = tf.placeholder(tf.int32, [None, None], name="source")
    with tf.variable_scope("model", initializer=tf.random_normal_initializer(stddev=0.5, seed=3)):
        table = tf.get_variable("embedding", [vocabulary, size])
        places = tf.get_variable("positions", [16, size])
    masked = tf.cast(tf.equal(source, 0), tf.float32)[:, None] * -1e9

    def embed(ids: Any) -> Any:
        return tf.gather(table, ids) * size**0.5 + places[: tf.shape(ids)[1]]

    x = embed(source)
    q, k, v = (tf.tensordot(x, tf.get_variable(n, [size, size]), 1) for n in "qkv")
    memory = layer_norm(x + _attend(q, k, v, masked), "encoder_norm")
    memory = layer_norm(memory + dense(dense(memory, 12, tf.nn.relu), size), "encoder_norm_2")

    def decode(ids: Any, memory: Any, bias: Any) -> Any:
        with tf.variable_scope("decoder", reuse=tf.AUTO_REUSE):
            y = embed(ids)
            y.set_shape([None, None, size])
            length = tf.shape(ids)[1]
            causal = (1 - tf.linalg.band_part(tf.ones([length, length]), -1, 0)) * -1e9
            kernels = [tf.get_variable(n, [size, size]) for n in ("q", "k", "v", "q2", "k2", "v2")]
            own = [tf.tensordot(y, w, 1) for w in kernels[:3]]
            y += _attend(*own, causal)
            y += _attend(tf.tensordot(y, kernels[3], 1), *(tf.tensordot(memory, w, 1) for w in kernels[4:]), bias)
            return tf.tensordot(y, table, [[2], [1]])

    batch = tf.shape(source)[0]
    tiled = tf.reshape(tf.tile(memory[:, None], [1, beams, 1, 1]), [batch * beams, -1, size])
    tiled_bias = tf.reshape(tf.tile(masked[:, None], [1, beams, 1, 1]), [batch * beams, 1, -1])

    def step(i: Any, ids: Any, scores: Any, finished: Any) -> tuple[Any, ...]:
        logits = decode(tf.reshape(ids, [batch * beams, -1]), tiled, tiled_bias)[:, -1]
        added = tf.reshape(tf.nn.log_softmax(logits), [batch, beams, vocabulary])
        ended = tf.one_hot(tf.zeros_like(finished, tf.int32), vocabulary, 0.0, -1e9)
        added = tf.where(tf.tile(finished[..., None], [1, 1, vocabulary]), ended, added)
        total = tf.reshape(scores[..., None] + added, [batch, -1])
        scores, best = tf.nn.top_k(total, beams)
        beam, word = best // vocabulary, best % vocabulary
        rows = tf.stack([tf.tile(tf.range(batch)[:, None], [1, beams]), beam], -1)
        ids = tf.concat([tf.gather_nd(ids, rows), word[..., None]], 2)
        finished = tf.logical_or(tf.gather_nd(finished, rows), tf.equal(word, 0))
        return i + 1, ids, scores, finished

    start = [
        tf.constant(0), tf.ones([batch, beams, 1], tf.int32),
        tf.tile([[0.0] + [-1e9] * (beams - 1)], [batch, 1]), tf.zeros([batch, beams], tf.bool),
    ]  # fmt: skip
    shapes = [[], [None, beams, None], [None, beams], [None, beams]]
    _, ids, scores, _ = tf.while_loop(
        lambda i, ids, scores, finished: (i < limit) & ~tf.reduce_all(finished), step, start,
        shape_invariants=[tf.TensorShape(s) for s in shapes], back_prop=False,
    )  # fmt: skip
    target = tf.placeholder(tf.int32, [None, None], name="target")
    logits = decode(tf.pad(target[:, :-1], [[0, 0], [1, 0]], constant_values=1), memory, masked)
    weights = tf.cast(tf.not_equal(target, 0), tf.float32)
    smoothed = tf.one_hot(target, vocabulary, 0.9, 0.1 / (vocabulary - 1))
    losses = tf.nn.softmax_cross_entropy_with_logits_v2(labels=smoothed, logits=logits) * weights
    loss = tf.reduce_sum(losses) / tf.reduce_sum(weights)
    step_number = tf.train.get_or_create_global_step()
    number = tf.cast(step_number + 1, tf.float32)
    rate = size**-0.5 * tf.minimum(number**-0.5, number * 4**-1.5)
    train = tf.train.AdamOptimizer(rate, 0.9, 0.98, 1e-9).minimize(loss, step_number)
    texts = [{source: integers(9, 2, n), target: integers(9, 2, n + 1, seed=2)} for n in (4, 6)]
    return Graph(texts, [ids, scores, logits, loss], train)


# By references, TensorFlow writes into what was read: who reads first is left to chance.
@graph(odd=("one",), styles=("TF2",), freezes=False)
def fast_wavenet_with_queues_in_variables() -> Graph:
    """One sample a run: each dilated layer keeps its past in a variable."""
    x = tf.placeholder(tf.int32, [None], name="sample")
    audio = tf.placeholder(tf.float32, [1, 16, 4], name="audio")
    hidden = tf.one_hot(x[:1], 4)
    whole, pushes = audio, []
    for i, rate in enumerate((1, 2, 4)):
        kernel = tf.get_variable(f"filter_{i}", [2, 4, 4])
        padded = tf.pad(whole, [[0, 0], [rate, 0], [0, 0]])
        whole = tf.tanh(tf.nn.conv1d(padded, kernel, 1, "VALID", dilations=rate)) + whole
        queue = tf.get_variable(f"queue_{i}", [rate, 4], initializer=tf.zeros_initializer(), trainable=False)
        past = tf.identity(queue[:1])
        with tf.control_dependencies([past]):
            pushes.append(queue.assign(tf.concat([queue[1:], hidden], 0)))
        hidden = tf.tanh(tf.matmul(past, kernel[0]) + tf.matmul(hidden, kernel[1])) + hidden
    with tf.control_dependencies(pushes):
        probabilities = tf.nn.softmax(hidden)
    loss = tf.reduce_mean(tf.square(whole[:, :-1] - audio[:, 1:]))
    train = minimize(tf.train.AdamOptimizer(0.01), loss)
    samples = [{x: [i % 4], audio: normal(1, 16, 4)} for i in range(6)]
    return Graph(samples, [probabilities, loss], train)


@graph(odd=("one",))
def deep_speech_with_clipped_activations() -> Graph:
    x = tf.placeholder(tf.float32, [2, None, 5], name="mfcc")
    lengths = tf.placeholder(tf.int32, [2], name="lengths")
    labels = tf.sparse_placeholder(tf.int32, name="labels")
    keep = tf.placeholder_with_default(1.0, [], name="keep")
    windows = tf.image.extract_patches(x[:, :, None], [1, 3, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], "SAME")
    windows = tf.reshape(windows, [-1, 15])
    for i in range(2):
        windows = tf.nn.dropout(tf.minimum(tf.nn.relu(dense(windows, 8, name=f"h{i}")), 20.0), rate=1 - keep, seed=i)
    h = tf.transpose(tf.reshape(windows, [2, -1, 8]), [1, 0, 2])
    (fw, bw), _ = tf.nn.bidirectional_dynamic_rnn(
        LSTMCell(4, "fw"), LSTMCell(4, "bw"), h, lengths, dtype=tf.float32, time_major=True, swap_memory=True
    )
    logits = dense(tf.concat([fw, bw], 2), 4)
    loss = tf.reduce_mean(tf.nn.ctc_loss(labels, logits, lengths))
    decoded, _ = tf.nn.ctc_greedy_decoder(logits, lengths, merge_repeated=True)
    train = minimize(tf.train.AdamOptimizer(0.005, 0.9, 0.99, 1e-8), loss)
    feeds = {
        x: normal(2, 7, 5), lengths: np.array([7, 4], np.int32), labels.indices: np.array([[0, 0], [1, 0]], np.int64),
        labels.values: np.array([2, 0], np.int32), labels.dense_shape: np.array([2, 1], np.int64),
    }  # fmt: skip
    return Graph(feeds, [logits, loss, decoded[0].values, decoded[0].indices], train)


@graph(odd=())  # TensorFlow aborts where there are fewer steps than it is told
def block_lstm_as_cpu_builds_used_it() -> Graph:
    """`LSTMBlockFusedCell`: one op for all time steps, peepholes and a clipped cell."""
    x = tf.placeholder(tf.float32, [None, 2, 3], name="x")
    lengths = tf.placeholder(tf.int64, [], name="steps")
    w = tf.get_variable("kernel", [3 + 4, 16])
    b = tf.get_variable("bias", [16], initializer=tf.zeros_initializer())
    peep = [tf.get_variable(n, [4]) for n in ("w_i_diag", "w_f_diag", "w_o_diag")]
    zeros = tf.zeros([2, 4])
    out = tf.raw_ops.BlockLSTM(
        seq_len_max=lengths, x=x, cs_prev=zeros, h_prev=zeros, w=w, wci=peep[0], wcf=peep[1], wco=peep[2], b=b,
        forget_bias=1.0, cell_clip=3.0, use_peephole=True,
    )  # fmt: skip
    loss = tf.reduce_sum(out.h**2)
    grads = tf.raw_ops.BlockLSTMGrad(
        seq_len_max=lengths, x=x, cs_prev=zeros, h_prev=zeros, w=w, wci=peep[0], wcf=peep[1], wco=peep[2], b=b,
        i=out.i, cs=out.cs, f=out.f, o=out.o, ci=out.ci, co=out.co, h=out.h,
        cs_grad=tf.zeros_like(out.cs), h_grad=2 * out.h, use_peephole=True,
    )  # fmt: skip
    train = tf.train.GradientDescentOptimizer(0.05).apply_gradients([(grads.w_grad, w), (grads.b_grad, b)])
    feeds = [{x: normal(5, 2, 3), lengths: 5}, {x: normal(4, 2, 3), lengths: 3}]
    return Graph(feeds, [out.h[:3], out.cs[:3], loss], train)


@graph(odd=("one",))
def tacotron_encoder_with_filter_bank() -> Graph:
    text = tf.placeholder(tf.int32, [None, None], name="text")
    lengths = tf.placeholder(tf.int32, [None], name="lengths")
    training = tf.placeholder_with_default(False, [], name="training")
    x = tf.nn.embedding_lookup(tf.get_variable("embedding", [8, 6]), text)
    x = tf.nn.dropout(dense(x, 6, tf.nn.relu), rate=tf.cond(training, lambda: 0.5, lambda: 0.0), seed=3)
    bank = [
        tf.nn.relu(tf.nn.conv1d(x, tf.get_variable(f"bank_{k}", [k, 6, 4]), 1, "SAME")) for k in range(1, 5)
    ]  # fmt: skip
    y = tf.concat(bank, -1)
    y = batch_norm(y[:, :, None], training)[:, :, 0]
    y = tf.nn.pool(y, [2], "MAX", "SAME")
    y = tf.nn.conv1d(y, tf.get_variable("projection", [3, 16, 6]), 1, "SAME") + x
    for i in range(2):
        gate = dense(y, 6, tf.sigmoid, name=f"gate_{i}")
        y = dense(y, 6, tf.nn.relu, name=f"highway_{i}") * gate + y * (1 - gate)
    (fw, bw), states = tf.nn.bidirectional_dynamic_rnn(GRUCell(3, "fw"), GRUCell(3, "bw"), y, lengths, dtype=tf.float32)
    memory = tf.concat([fw, bw], 2)
    loss = tf.reduce_mean(tf.abs(memory - 0.2))
    train = minimize(tf.train.AdamOptimizer(0.01), loss)
    feeds = {text: integers(8, 3, 6), lengths: np.array([6, 2, 4], np.int32)}
    return Graph([feeds, {**feeds, training: True}], [memory, states, loss], train)


@graph(rtol=2e-3, atol=2e-3, odd=())
def vocoder_by_griffin_and_lim() -> Graph:
    audio = tf.placeholder(tf.float32, [None, 256], name="audio")
    spectrum = tf.signal.stft(audio, 64, 16, 64, pad_end=True)
    magnitude = tf.abs(spectrum)
    mel = tf.tensordot(magnitude, tf.signal.linear_to_mel_weight_matrix(12, 33, 8000, 80.0, 3800.0), 1)
    cepstrum = tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(mel + 1e-6))[..., :6]
    power = 20 * tf.math.log(tf.maximum(magnitude, 1e-5)) / np.log(10).astype(np.float32)
    start = tf.cast(magnitude, tf.complex64)

    def step(i: Any, estimate: Any) -> tuple[Any, Any]:
        wave = tf.signal.inverse_stft(estimate, 64, 16, 64, tf.signal.inverse_stft_window_fn(16))
        again = tf.signal.stft(wave, 64, 16, 64)
        again.set_shape(estimate.shape)
        phase = again / tf.cast(tf.maximum(1e-8, tf.abs(again)), tf.complex64)
        return i + 1, tf.cast(magnitude, tf.complex64) * phase

    best = tf.while_loop(
        lambda i, _: i < 3, step, [0, start], shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, None, 33])]
    )[1]
    wave = tf.signal.inverse_stft(best, 64, 16, 64, tf.signal.inverse_stft_window_fn(16))
    wave = tf.cumsum(wave * 0.1, axis=1)
    return Graph([{audio: normal(2, 256)}, {audio: normal(1, 256, seed=4)}], [mel, cepstrum, power, wave])


@graph()
def memory_network_with_hops() -> Graph:
    story = tf.placeholder(tf.int32, [None, None, 4], name="story")
    question = tf.placeholder(tf.int32, [None, 4], name="question")
    tables = [tf.get_variable(f"embedding_{i}", [9, 5]) for i in range(3)]
    nil = tf.constant([[0.0]] + [[1.0]] * 8)
    place = tf.constant(
        [[(1 - j / 4) - (d / 5) * (1 - 2 * j / 4) for d in range(1, 6)] for j in range(1, 5)], tf.float32
    )
    u = tf.reduce_sum(tf.gather(tables[0] * nil, question) * place, 1)
    for hop in range(2):
        keys = tf.reduce_sum(tf.gather(tables[hop] * nil, story) * place, 2)
        values = tf.reduce_sum(tf.gather(tables[hop + 1] * nil, story) * place, 2)
        attention = tf.nn.softmax(tf.squeeze(tf.matmul(keys, u[..., None]), -1))
        u = u + tf.reduce_sum(attention[..., None] * values, 1)
    logits = tf.matmul(u, tables[-1], transpose_b=True)
    labels, loss = classified(logits, integers(9, 2))
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    pairs = []
    for gradient, variable in optimizer.compute_gradients(loss):
        gradient = tf.clip_by_norm(gradient, 4.0)
        noise = tf.random_normal(tf.shape(gradient), stddev=1e-3, seed=5)
        pairs.append((tf.add(gradient, noise), variable))
    train = optimizer.apply_gradients(pairs, name="train_step")
    feeds = {story: integers(9, 2, 3, 4), question: integers(9, 2, 4, seed=1), labels: integers(9, 2, seed=2)}
    return Graph(feeds, [attention, logits, loss], train)


@graph(odd=("one",))
def hierarchical_attention_for_documents() -> Graph:
    words = tf.placeholder(tf.int32, [None, None, None], name="words")
    word_counts = tf.placeholder(tf.int32, [None, None], name="word_counts")
    sentence_counts = tf.placeholder(tf.int32, [None], name="sentence_counts")

    def encode(x: Any, lengths: Any, name: str) -> Any:
        with tf.variable_scope(name):
            (fw, bw), _ = tf.nn.bidirectional_dynamic_rnn(
                GRUCell(3, "f"), GRUCell(3, "b"), x, lengths, dtype=tf.float32
            )
            h = tf.concat([fw, bw], 2)
            u = dense(h, 4, tf.tanh)
            scores = tf.reduce_sum(u * tf.get_variable("context", [4]), 2)
            mask = tf.sequence_mask(lengths, tf.shape(x)[1])
            weights = tf.nn.softmax(tf.where(mask, scores, tf.fill(tf.shape(scores), tf.float32.min)))
            return tf.reduce_sum(h * weights[..., None], 1), weights

    shape = tf.shape(words)
    x = tf.nn.embedding_lookup(tf.get_variable("embedding", [11, 4]), words)
    flat = tf.reshape(x, [shape[0] * shape[1], shape[2], 4])
    sentences, at_words = encode(flat, tf.reshape(word_counts, [-1]), "word")
    documents, at_sentences = encode(tf.reshape(sentences, [shape[0], shape[1], 6]), sentence_counts, "sentence")
    logits = dense(documents, 3)
    labels, loss = classified(logits, integers(3, 2))
    train = minimize(tf.train.AdamOptimizer(0.01), loss)
    feeds = {
        words: integers(11, 2, 3, 4), word_counts: np.array([[4, 2, 1], [3, 0, 0]], np.int32),
        sentence_counts: np.array([3, 1], np.int32), labels: integers(3, 2),
    }  # fmt: skip
    return Graph(feeds, [logits, at_words, at_sentences, loss], train)


@graph(odd=("one",))
def pointer_network_with_masks() -> Graph:
    points = tf.placeholder(tf.float32, [None, 5, 2], name="points")
    outputs, state = tf.nn.dynamic_rnn(LSTMCell(6), points, dtype=tf.float32)
    w1, w2, v = (tf.get_variable(n, s) for n, s in (("w1", [6, 4]), ("w2", [6, 4]), ("v", [4])))
    cell, mask = LSTMCell(6, "decoder"), tf.zeros_like(points[:, :, 0])
    inputs, tour, total = tf.zeros_like(points[:, 0]), [], 0.0
    for _ in range(5):
        out, state = cell(inputs, state)
        scores = tf.reduce_sum(v * tf.tanh(tf.tensordot(outputs, w1, 1) + tf.matmul(out, w2)[:, None]), 2)
        log = tf.nn.log_softmax(scores - 1e8 * mask)
        chosen = tf.argmax(log, 1)
        tour.append(chosen)
        picked = tf.one_hot(chosen, 5)
        total += tf.reduce_sum(picked * log, 1)
        mask += picked
        inputs = tf.einsum("bp,bpd->bd", picked, points)
    order = tf.stack(tour, 1)
    ordered = tf.batch_gather(points, order)
    length = tf.reduce_sum(tf.norm(ordered - tf.roll(ordered, -1, 1), axis=2), 1)
    baseline = tf.get_variable("baseline", [], trainable=False, initializer=tf.zeros_initializer())
    moved = tf.assign(baseline, 0.9 * baseline + 0.1 * tf.reduce_mean(length))
    with tf.control_dependencies([moved]):
        loss = tf.reduce_mean(tf.stop_gradient(length - moved) * total)
    train = minimize(tf.train.AdamOptimizer(0.01), loss)
    return Graph([{points: uniform(3, 5, 2)}, {points: uniform(2, 5, 2, seed=1)}], [order, length, total], train)


@graph()
def sentence_pairs_by_manhattan_lstm() -> Graph:
    a = tf.placeholder(tf.string, [None], name="a")
    b = tf.placeholder(tf.string, [None], name="b")
    same = tf.placeholder(tf.float32, [None], name="same")
    words = tf.constant(["how", "old", "are", "you", "what", "is", "your", "age"])
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(words, tf.range(8, dtype=tf.int64)), num_oov_buckets=3
    )
    embedding = tf.get_variable("embedding", [11, 4])
    cell = LSTMCell(5)

    def encode(text: Any) -> Any:
        clean = tf.strings.regex_replace(tf.strings.lower(text), r"[^a-z ]", "")
        tokens = tf.strings.split(clean)
        ids = tf.SparseTensor(tokens.indices, table.lookup(tokens.values), tokens.dense_shape)
        rows = tf.nn.embedding_lookup(embedding, tf.sparse.to_dense(ids, default_value=0))
        lengths = tf.math.unsorted_segment_sum(tf.ones_like(ids.values), ids.indices[:, 0], ids.dense_shape[0])
        with tf.variable_scope("encoder", reuse=tf.AUTO_REUSE):
            return tf.nn.dynamic_rnn(cell, rows, lengths, dtype=tf.float32)[1][1]

    similarity = tf.exp(-tf.norm(encode(a) - encode(b), ord=1, axis=1))
    loss = tf.losses.mean_squared_error(same, similarity)
    train = minimize(tf.train.AdadeltaOptimizer(0.5), loss)
    feeds = {
        a: np.array(["How old are you?", "What is love", "age"], object),
        b: np.array(["What is your age?", "is", "Your AGE!"], object), same: np.array([1, 0, 1], np.float32),
    }  # fmt: skip
    return Graph(feeds, [similarity, loss], train)


@graph(rtol=1e-3)
def echo_state_network_with_ridge_regression() -> Graph:
    u = tf.placeholder(tf.float64, [None, 1], name="u")
    w_in = tf.constant(normal(8, 1).astype(np.float64))
    raw = normal(8, 8, seed=1).astype(np.float64)
    w = tf.constant(raw * 0.7 / np.max(np.abs(np.linalg.eigvals(raw))))
    leak = 0.4

    def step(state: Any, value: Any) -> Any:
        new = tf.tanh(tf.linalg.matvec(w, state) + tf.linalg.matvec(w_in, value))
        return (1 - leak) * state + leak * new

    states = tf.scan(step, u, initializer=tf.zeros([8], tf.float64))
    x, y = states[2:-1], u[3:]
    ridge = tf.linalg.matmul(x, x, transpose_a=True) + 1e-3 * tf.eye(8, dtype=tf.float64)
    readout = tf.linalg.cholesky_solve(tf.linalg.cholesky(ridge), tf.matmul(x, y, transpose_a=True))
    wave = np.sin(np.arange(30) / 3)[:, None]
    return Graph({u: wave}, [states, readout, tf.matmul(x, readout)], None)
