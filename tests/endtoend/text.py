"""Words, embeddings, recommendations."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import classified, conv, dense, flatten, integers, minimize, normal, uniform


@graph()
def word2vec_with_nce() -> Graph:
    words, context = tf.placeholder(tf.int32, [6], name="words"), tf.placeholder(tf.int32, [6, 1], name="context")
    table = tf.Variable(tf.random_uniform([20, 8], -1.0, 1.0))
    weights = tf.Variable(tf.truncated_normal([20, 8], stddev=1.0 / np.sqrt(8)))
    biases = tf.Variable(tf.zeros([20]))
    embedded = tf.nn.embedding_lookup(table, words)
    loss = tf.reduce_mean(tf.nn.nce_loss(weights, biases, context, embedded, num_sampled=5, num_classes=20))
    train = tf.train.GradientDescentOptimizer(1.0).minimize(loss)
    normalized = table / tf.sqrt(tf.reduce_sum(tf.square(table), 1, keepdims=True))
    similarity = tf.matmul(tf.nn.embedding_lookup(normalized, tf.constant([1, 3])), normalized, transpose_b=True)
    return Graph({words: integers(20, 6), context: integers(20, 6, 1)}, [loss, similarity], train)


@graph()
def skip_gram_with_sampled_softmax_and_adagrad() -> Graph:
    words, context = tf.placeholder(tf.int64, [5], name="words"), tf.placeholder(tf.int64, [5, 1], name="context")
    table = tf.get_variable("embedding", [15, 6], partitioner=tf.fixed_size_partitioner(3))
    weights = tf.get_variable("weights", [15, 6])
    biases = tf.get_variable("biases", [15], initializer=tf.zeros_initializer())
    embedded = tf.nn.embedding_lookup(table, words, partition_strategy="div")
    loss = tf.reduce_mean(tf.nn.sampled_softmax_loss(weights, biases, context, embedded, 4, 15, seed=5))
    train = minimize(tf.train.AdagradOptimizer(0.5), loss)
    feeds = {words: integers(15, 5).astype(np.int64), context: integers(15, 5, 1).astype(np.int64)}
    return Graph(feeds, [embedded, loss], train)


@graph()
def text_cnn() -> Graph:
    tokens = tf.placeholder(tf.int32, [None, 9], name="input_x")
    keep = tf.placeholder(tf.float32, name="dropout_keep_prob")
    table = tf.Variable(tf.random_uniform([17, 6], -1.0, 1.0), name="W")
    chars = tf.expand_dims(tf.nn.embedding_lookup(table, tokens), -1)
    pooled = []
    for size in (2, 3, 4):
        with tf.name_scope(f"conv-maxpool-{size}"):
            kernel = tf.Variable(tf.truncated_normal([size, 6, 1, 3], stddev=0.1), name="W")
            bias = tf.Variable(tf.constant(0.1, shape=[3]), name="b")
            net = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(chars, kernel, [1, 1, 1, 1], "VALID"), bias), name="relu")
            pooled.append(tf.nn.max_pool(net, [1, 9 - size + 1, 1, 1], [1, 1, 1, 1], "VALID"))
    flat = tf.nn.dropout(tf.reshape(tf.concat(pooled, 3), [-1, 9]), keep)
    scores = tf.nn.xw_plus_b(flat, tf.get_variable("out", [9, 2]), tf.Variable(tf.constant(0.1, shape=[2])))
    labels, loss = classified(scores, integers(2, 4))
    step = tf.Variable(0, name="global_step", trainable=False)
    optimizer = tf.train.AdamOptimizer(1e-3)
    train = optimizer.apply_gradients(optimizer.compute_gradients(loss + 0.01 * tf.nn.l2_loss(flat)), step)
    feeds = {tokens: integers(17, 4, 9), labels: integers(2, 4), keep: 0.5}
    return Graph(feeds, [tf.argmax(scores, 1, name="predictions"), scores, loss, step], train)


@graph()
def wide_and_deep_with_feature_columns() -> Graph:
    column = tf.feature_column
    age = column.numeric_column("age")
    buckets = column.bucketized_column(age, [18, 25, 40, 65])
    job = column.categorical_column_with_vocabulary_list("job", ["clerk", "smith", "cook"], num_oov_buckets=1)
    town = column.categorical_column_with_hash_bucket("town", 7)
    crossed = column.crossed_column([buckets, "town"], 11)
    number = column.categorical_column_with_identity("number", 5, default_value=0)
    features = {
        "age": tf.placeholder(tf.float32, [None, 1], name="age"),
        "job": tf.placeholder(tf.string, [None, 1], name="job"),
        "town": tf.placeholder(tf.string, [None, 2], name="town"),
        "number": tf.placeholder(tf.int64, [None, 1], name="number"),
    }
    wide = column.linear_model(features, [buckets, job, crossed], sparse_combiner="sum")
    columns = [
        age,
        column.embedding_column(town, 3, combiner="sqrtn"),
        column.indicator_column(job),
        column.embedding_column(number, 2),
    ]
    deep = dense(dense(column.input_layer(features, columns), 6, tf.nn.relu), 1)
    logits = wide + deep
    labels = tf.placeholder(tf.float32, [None, 1], name="labels")
    loss = tf.losses.sigmoid_cross_entropy(labels, logits)
    of_wide = tf.trainable_variables("linear_model")
    others = [v for v in tf.trainable_variables() if all(v is not w for w in of_wide)]
    train = tf.group(
        tf.train.FtrlOptimizer(0.2, l1_regularization_strength=0.01).minimize(loss, var_list=of_wide),
        tf.train.ProximalAdagradOptimizer(0.05, l2_regularization_strength=0.01).minimize(loss, var_list=others),
    )
    feeds = {
        features["age"]: np.array([[17], [30], [70]], np.float32),
        features["job"]: np.array([["cook"], ["smith"], ["pirate"]], object),
        features["town"]: np.array([["Ulm", "Bonn"], ["Rome", ""], ["Ulm", "Oslo"]], object),
        features["number"]: np.array([[1], [4], [9]], np.int64),
        labels: np.array([[1], [0], [1]], np.float32),
    }
    return Graph(feeds, [tf.sigmoid(logits), wide, loss], train)


@graph()
def wide_linear_model_with_tables_by_hand() -> Graph:
    """Sparse categories, tables from lists and from hashing, `embedding_lookup_sparse`, gradients per row."""
    words = tf.sparse_placeholder(tf.string, name="words")
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(["red", "green", "blue"], tf.range(3, dtype=tf.int64)), 2
    )
    ids = table.lookup(words)
    weights = tf.get_variable("weights", [5, 4], initializer=tf.random_normal_initializer())
    filled, missing = tf.sparse.fill_empty_rows(ids, tf.constant(0, tf.int64))
    mean = tf.nn.embedding_lookup_sparse(weights, filled, None, combiner="mean")
    safe = tf.nn.safe_embedding_lookup_sparse([weights], ids, combiner="sum")
    names = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.range(3, dtype=tf.int64), ["zero", "one", "two"]), "?"
    )
    best = names.lookup(tf.argmax(mean, 1))
    loss = tf.reduce_mean(tf.square(mean - 1.0)) + tf.reduce_mean(tf.square(safe))
    feeds = {
        words.indices: np.array([[0, 0], [0, 1], [2, 0]], np.int64),
        words.values: np.array(["green", "red", "mauve"], object),
        words.dense_shape: np.array([3, 2], np.int64),
    }
    train = minimize(tf.train.AdamOptimizer(0.1), loss)
    return Graph(feeds, [ids.values, missing, mean, safe, best, loss], train)


@graph()
def matrix_factorisation() -> Graph:
    users, items = tf.placeholder(tf.int32, [None], name="users"), tf.placeholder(tf.int32, [None], name="items")
    ratings = tf.placeholder(tf.float32, [None], name="ratings")
    p, q = tf.get_variable("P", [6, 3]), tf.get_variable("Q", [5, 3])
    bias = tf.get_variable("bias", [5], initializer=tf.zeros_initializer())
    found = tf.reduce_sum(tf.gather(p, users) * tf.gather(q, items), 1) + tf.gather(bias, items)
    loss = tf.reduce_sum(tf.square(found - ratings)) + 0.02 * (tf.nn.l2_loss(p) + tf.nn.l2_loss(tf.gather(q, items)))
    best = tf.nn.top_k(tf.matmul(p, q, transpose_b=True), 2)
    feeds = {users: [0, 1, 1, 5], items: [4, 0, 4, 2], ratings: [5, 1, 3, 4]}
    return Graph(feeds, [found, loss, *best], minimize(tf.train.MomentumOptimizer(0.1, 0.9), loss))


@graph()
def factorisation_machine_with_sparse_products() -> Graph:
    x = tf.sparse_placeholder(tf.float32, name="x")
    w = tf.get_variable("w", [7, 1], initializer=tf.ones_initializer())
    v = tf.get_variable("v", [7, 3], initializer=tf.random_normal_initializer(stddev=0.3))
    squared = tf.SparseTensor(x.indices, tf.square(x.values), x.dense_shape)
    linear = tf.sparse.sparse_dense_matmul(x, w)
    pairs = tf.square(tf.sparse.sparse_dense_matmul(x, v)) - tf.sparse.sparse_dense_matmul(squared, tf.square(v))
    out = tf.sigmoid(linear + 0.5 * tf.reduce_sum(pairs, 1, keepdims=True))
    loss = tf.losses.log_loss(tf.ones_like(out), out)
    feeds = {
        x.indices: np.array([[0, 1], [0, 6], [1, 0], [2, 3]], np.int64),
        x.values: np.array([1, 0.5, -1, 2], np.float32),
        x.dense_shape: np.array([3, 7], np.int64),
    }
    return Graph(feeds, [out, tf.sparse.reduce_sum(x, 1), loss], minimize(tf.train.FtrlOptimizer(0.1), loss))


@graph()
def bag_of_words_from_raw_text() -> Graph:
    texts = tf.placeholder(tf.string, [None], name="texts")
    clean = tf.strings.regex_replace(tf.strings.lower(texts), r"[^a-z ]", "")
    words = tf.string_split(clean, " ")
    buckets = tf.strings.to_hash_bucket_fast(words.values, 10)
    counts = tf.math.unsorted_segment_sum(
        tf.one_hot(buckets, 10), tf.cast(words.indices[:, 0], tf.int32), tf.shape(texts)[0]
    )
    logits = dense(tf.log1p(counts), 2)
    labels, loss = classified(logits, integers(2, 3))
    lengths = tf.strings.length(clean)
    joined = tf.strings.join([tf.strings.substr(clean, 0, 2), tf.as_string(lengths)], "-")
    feeds = {texts: np.array(["The cat, the hat!", "", "A dog"], object), labels: integers(2, 3)}
    return Graph(feeds, [words.values, joined, counts, logits, loss], minimize(tf.train.AdamOptimizer(0.1), loss))


@graph()
def conditional_random_field() -> Graph:
    """Forward algorithm and Viterbi, as loops over TensorArrays."""
    x, tags = tf.placeholder(tf.float32, [2, 5, 4], name="x"), tf.placeholder(tf.int32, [2, 5], name="tags")
    unary = dense(x, 3)
    transitions = tf.get_variable("transitions", [3, 3])

    def forward(alpha: Any, scores: Any) -> Any:
        return tf.reduce_logsumexp(alpha[:, :, None] + transitions[None], 1) + scores

    def best(state: Any, scores: Any) -> Any:
        value = state[0][:, :, None] + transitions[None]
        return tf.reduce_max(value, 1) + scores, tf.argmax(value, 1, output_type=tf.int32)

    steps = tf.transpose(unary, [1, 0, 2])
    log_norm = tf.reduce_logsumexp(tf.scan(forward, steps[1:], steps[0])[-1], 1)
    hits = tf.reduce_sum(unary * tf.one_hot(tags, 3), [1, 2])
    moves = tf.gather_nd(transitions, tf.stack([tags[:, :-1], tags[:, 1:]], 2))
    log_likelihood = hits + tf.reduce_sum(moves, 1) - log_norm
    scores, back = tf.scan(best, steps[1:], (steps[0], tf.zeros([2, 3], tf.int32)))
    last = tf.argmax(scores[-1], 1, output_type=tf.int32)
    path = tf.scan(lambda tag, pointers: tf.gather(pointers, tag, batch_dims=1), back, last, reverse=True)
    loss = tf.reduce_mean(-log_likelihood)
    train = minimize(tf.train.AdamOptimizer(0.05), loss)
    return Graph({x: normal(2, 5, 4), tags: integers(3, 2, 5)}, [log_likelihood, path, last, loss], train)


@graph()
def click_model_with_ragged_histories() -> Graph:
    values, splits = tf.placeholder(tf.int64, [None], name="values"), tf.placeholder(tf.int64, [None], name="splits")
    table = tf.get_variable("embedding", [9, 4])
    segments = tf.cast(
        tf.searchsorted(splits[1:], tf.range(tf.size(values, out_type=tf.int64)), side="right"), tf.int32
    )
    rows = tf.size(splits) - 1
    mean = tf.math.unsorted_segment_mean(tf.gather(table, values), segments, rows)
    most = tf.math.unsorted_segment_max(tf.gather(table, values), segments, rows)
    logits = dense(tf.concat([mean, tf.maximum(most, -1.0)], 1), 1)
    loss = tf.reduce_mean(
        tf.nn.weighted_cross_entropy_with_logits(labels=tf.ones_like(logits), logits=logits, pos_weight=2.0)
    )
    feeds = {values: integers(9, 6).astype(np.int64), splits: np.array([0, 2, 2, 6], np.int64)}
    return Graph(feeds, [mean, most, logits, loss], minimize(tf.train.RMSPropOptimizer(0.01, momentum=0.5), loss))


@graph()
def character_convolution_with_highway() -> Graph:
    chars = tf.placeholder(tf.int32, [2, 7], name="chars")
    x = tf.nn.embedding_lookup(tf.get_variable("chars", [12, 4]), chars)
    kernel = tf.get_variable("kernel", [3, 4, 6])
    net = tf.reduce_max(tf.nn.relu(tf.nn.conv1d(x, kernel, 1, "VALID")), 1)
    gate = tf.sigmoid(dense(net, 6) - 2.0)
    net = gate * dense(net, 6, tf.nn.relu) + (1 - gate) * net
    loss = tf.reduce_mean(tf.nn.log_poisson_loss(tf.ones_like(net), net, compute_full_loss=True))
    return Graph({chars: integers(12, 2, 7)}, [net, loss], minimize(tf.train.AdamOptimizer(0.01), loss))


@graph()
def autoencoder_with_tied_weights_and_noise() -> Graph:
    x = tf.placeholder(tf.float32, [None, 12], name="x")
    noisy = x + tf.random_normal(tf.shape(x), stddev=0.1)
    w = tf.get_variable("w", [12, 4])
    hidden = tf.nn.softplus(tf.matmul(noisy, w))
    out = tf.sigmoid(tf.matmul(hidden, w, transpose_b=True))
    rho = tf.reduce_mean(tf.sigmoid(hidden), 0)
    sparsity = tf.reduce_sum(0.05 * tf.log(0.05 / rho) + 0.95 * tf.log(0.95 / (1 - rho)))
    loss = tf.losses.mean_squared_error(x, out) + 0.01 * sparsity + tf.losses.absolute_difference(x, out)
    square = conv(tf.reshape(out, [-1, 3, 4, 1]), 1, 2, activation=None)
    return Graph({x: uniform(3, 12)}, [out, flatten(square), loss], minimize(tf.train.AdamOptimizer(0.01), loss))
