"""Probability, filters, agents, embeddings, metrics and ways to optimise, by hand as people wrote them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import classified, dense, integers, minimize, normal, uniform

SMALL = ("one", "nan")


@graph(odd=SMALL)
def kalman_filter_by_scan_with_gradient() -> Graph:
    observed = tf.placeholder(tf.float32, [None, 1], name="observed")
    transition = tf.get_variable("transition", initializer=np.array([[1.0, 0.1], [-0.1, 0.95]], np.float32))
    noise = tf.get_variable("noise", initializer=-1.0)
    h = tf.constant([[1.0, 0.0]])
    eye = tf.eye(2)

    def step(state: Any, y: Any) -> Any:
        mean, covariance, total = state
        mean = tf.linalg.matvec(transition, mean)
        covariance = transition @ covariance @ tf.transpose(transition) + 0.01 * eye
        s = h @ covariance @ tf.transpose(h) + tf.exp(noise)
        gain = covariance @ tf.transpose(h) @ tf.linalg.inv(s)
        error = y - tf.linalg.matvec(h, mean)
        likelihood = -0.5 * (tf.linalg.logdet(s) + tf.reduce_sum(error * tf.linalg.matvec(tf.linalg.inv(s), error)))
        return mean + tf.linalg.matvec(gain, error), (eye - gain @ h) @ covariance, total + likelihood

    means, covariances, totals = tf.scan(step, observed, initializer=(tf.zeros([2]), eye, tf.constant(0.0)))
    train = tf.train.AdamOptimizer(0.02).minimize(-totals[-1])
    curves = [np.sin(np.arange(n, dtype=np.float32) / 3)[:, None] for n in (12, 7)]
    return Graph([{observed: c} for c in curves], [means, covariances, totals], train)


@graph()
def hidden_markov_forward_backward_and_viterbi() -> Graph:
    seen = tf.placeholder(tf.int32, [None], name="seen")
    start = tf.nn.log_softmax(tf.get_variable("start", [3]))
    move = tf.nn.log_softmax(tf.get_variable("move", [3, 3]))
    emit = tf.nn.log_softmax(tf.get_variable("emit", [3, 4]))
    scores = tf.gather(tf.transpose(emit), seen)

    def forward(before: Any, now: Any) -> Any:
        return tf.reduce_logsumexp(before[:, None] + move, 0) + now

    alphas = tf.scan(forward, scores[1:], start + scores[0])
    likelihood = tf.reduce_logsumexp(tf.foldl(forward, scores[1:], start + scores[0]))
    beta = tf.foldr(lambda after, now: tf.reduce_logsumexp(move + (now + after)[None], 1), scores[1:], tf.zeros([3]))

    def best(state: Any, now: Any) -> Any:
        total = state[0][:, None] + move
        return tf.reduce_max(total, 0) + now, tf.argmax(total, 0, output_type=tf.int32)

    deltas, pointers = tf.scan(best, scores[1:], (start + scores[0], tf.zeros([3], tf.int32)))
    last = tf.argmax(deltas[-1], output_type=tf.int32)
    path = tf.scan(lambda place, pointer: pointer[place], pointers, last, reverse=True)
    train = tf.train.GradientDescentOptimizer(0.1).minimize(-likelihood)
    fetches = [alphas, likelihood, tf.reduce_logsumexp(beta + start + scores[0]), path, last]
    return Graph([{seen: integers(4, 8)}, {seen: integers(4, 5, seed=2)}], fetches, train)


@graph(odd=(), freezes=False, rtol=1e-3)
def hamiltonian_monte_carlo_with_seeds() -> Graph:
    x0 = tf.placeholder(tf.float32, [None, 2], name="x0")
    step = tf.placeholder_with_default(0.1, [], name="step")

    def energy(x: Any) -> Any:
        return tf.reduce_sum(0.5 * x**2 + 0.3 * tf.cos(3 * x), 1)

    def slope(x: Any) -> Any:
        return x - 0.9 * tf.sin(3 * x)

    def leap(i: Any, x: Any, p: Any) -> tuple[Any, Any, Any]:
        p = p - 0.5 * step * slope(x)
        x = x + step * p
        return i + 1, x, p - 0.5 * step * slope(x)

    def draw(n: Any, x: Any, accepted: Any) -> tuple[Any, Any, Any]:
        p = tf.random.normal(tf.shape(x), seed=11)
        _, new, moved = tf.while_loop(lambda i, *_: i < 4, leap, [0, x, p], parallel_iterations=1)
        gain = energy(x) + 0.5 * tf.reduce_sum(p**2, 1) - energy(new) - 0.5 * tf.reduce_sum(moved**2, 1)
        yes = tf.math.log(tf.random.uniform(tf.shape(gain), seed=12)) < gain
        return n + 1, tf.where(tf.tile(yes[:, None], [1, 2]), new, x), accepted + tf.cast(yes, tf.float32)

    _, x, accepted = tf.while_loop(lambda n, *_: n < 5, draw, [0, x0, tf.zeros_like(x0[:, 0])], parallel_iterations=1)
    return Graph([{x0: normal(4, 2)}, {x0: normal(3, 2), step: 0.3}], [x, accepted])


@graph(odd=())
def mixture_density_network() -> Graph:
    x = tf.placeholder(tf.float32, [None, 1], name="x")
    y = tf.placeholder(tf.float32, [None, 1], name="y")
    out = dense(dense(x, 6, tf.tanh), 9)
    weight, spread, centre = tf.split(out, 3, 1)
    weight, spread = tf.nn.log_softmax(weight), tf.exp(spread)
    density = -0.5 * tf.square((y - centre) / spread) - tf.math.log(spread) - 0.5 * np.log(2 * np.pi)
    loss = -tf.reduce_mean(tf.reduce_logsumexp(weight + density, 1))
    chosen = tf.random.categorical(weight, 1, seed=4)
    noise = tf.random_normal(tf.shape(x), seed=5)
    drawn = tf.batch_gather(centre, chosen) + tf.batch_gather(spread, chosen) * noise
    train = tf.train.AdamOptimizer(0.02).minimize(loss)
    return Graph({x: normal(6, 1), y: normal(6, 1, seed=1)}, [drawn, loss], train, steps=20)


@graph(odd=(), freezes=False)
def draws_from_distributions_with_seeds() -> Graph:
    rate = tf.placeholder(tf.float32, [None], name="rate")
    gamma = tf.random_gamma([4], rate, beta=2.0, seed=1)
    beta = gamma / (gamma + tf.random_gamma([4], rate + 1, seed=2))
    poisson = tf.random_poisson(rate, [3], seed=3, dtype=tf.int64)
    dirichlet = tf.random_gamma([2], tf.stack([rate, rate * 2], -1), seed=4)
    dirichlet /= tf.reduce_sum(dirichlet, -1, keepdims=True)
    bernoulli = tf.cast(tf.random_uniform([5, 2], seed=5) < 0.3, tf.int32)
    gumbel = -tf.math.log(-tf.math.log(tf.random_uniform([4, 3], seed=6)))
    student = tf.random_normal([4], seed=7) / tf.sqrt(tf.random_gamma([4], 2.0, seed=8))
    laplace = tf.random_uniform([6], -1.0, 1.0, seed=9)
    laplace = -tf.sign(laplace) * tf.math.log1p(-tf.abs(laplace))
    shuffled = tf.random_shuffle(tf.range(9), seed=10)
    hot = tf.one_hot(tf.argmax(gumbel, 1), 3)
    fetches = [gamma, beta, poisson, dirichlet, bernoulli, gumbel, student, laplace, shuffled, hot]
    return Graph([{rate: [0.5, 3.0]}, {rate: [20.0]}], fetches)


@graph(odd=())
def variational_weights_by_reparametrisation() -> Graph:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    mean = tf.get_variable("mean", [3, 2])
    rho = tf.get_variable("rho", [3, 2], initializer=tf.constant_initializer(-2.0))
    sigma = tf.nn.softplus(rho)
    w = mean + sigma * tf.random_normal([3, 2], seed=3)
    logits = tf.matmul(x, w)
    labels, loss = classified(logits, integers(2, 4))
    divergence = tf.reduce_sum(-tf.math.log(sigma) + 0.5 * (sigma**2 + mean**2) - 0.5)
    train = tf.train.AdamOptimizer(0.05).minimize(loss + 0.1 * divergence)
    return Graph({x: normal(4, 3), labels: integers(2, 4)}, [logits, divergence], train, steps=20)


@graph(odd=(), freezes=False)
def self_organising_map() -> Graph:
    x = tf.placeholder(tf.float32, [3], name="x")
    step = tf.placeholder(tf.float32, [], name="step")
    weights = tf.get_variable("weights", [12, 3], initializer=tf.random_uniform_initializer(0, 1, seed=1))
    places = tf.constant(np.array([[i, j] for i in range(4) for j in range(3)], np.float32))
    best = tf.argmin(tf.norm(weights - x, axis=1))
    centre = tf.reshape(tf.slice(places, tf.stack([best, tf.constant(0, tf.int64)]), [1, 2]), [2])
    rate = 0.3 * (1 - step / 10)
    near = tf.exp(-tf.reduce_sum((places - centre) ** 2, 1) / (2.0 * (1 - step / 10)) ** 2)
    train = tf.assign_add(weights, (rate * near)[:, None] * (x - weights), name="train_step").op
    feeds = [{x: uniform(3, seed=i), step: float(i)} for i in range(5)]
    return Graph(feeds, [best, near], train, steps=9)


# By references, one network's weights change while the other's gradient is still being computed: TensorFlow's race.
@graph(odd=SMALL, styles=("TF2",))
def deep_deterministic_policy_with_soft_targets() -> Graph:
    s, s2 = (tf.placeholder(tf.float32, [None, 3], name=n) for n in ("s", "s2"))
    r = tf.placeholder(tf.float32, [None, 1], name="r")
    a = tf.placeholder(tf.float32, [None, 1], name="a")

    def actor(x: Any, scope: str, trainable: bool) -> Any:
        with tf.variable_scope(f"actor/{scope}"):
            w1 = tf.get_variable("w1", [3, 5], trainable=trainable)
            w2 = tf.get_variable("w2", [5, 1], trainable=trainable)
            return 2.0 * tf.tanh(tf.matmul(tf.nn.relu(tf.matmul(x, w1)), w2))

    def critic(x: Any, action: Any, scope: str, trainable: bool) -> Any:
        with tf.variable_scope(f"critic/{scope}", reuse=tf.AUTO_REUSE):
            ws = tf.get_variable("ws", [3, 5], trainable=trainable)
            wa = tf.get_variable("wa", [1, 5], trainable=trainable)
            out = tf.get_variable("out", [5, 1], trainable=trainable)
            return tf.matmul(tf.nn.relu(tf.matmul(x, ws) + tf.matmul(action, wa)), out)

    act = actor(s, "eval", True)
    target = tf.stop_gradient(r + 0.9 * critic(s2, actor(s2, "target", False), "target", False))
    q = critic(s, a, "eval", True)
    loss = tf.losses.mean_squared_error(target, q)
    collect = lambda scope: tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, scope)
    slope = tf.gradients(critic(s, act, "eval", True), act)[0]
    policy = tf.gradients(act, collect("actor/eval"), grad_ys=-slope)
    with tf.control_dependencies(policy):  # which look at the critic as it was
        step_c = tf.train.AdamOptimizer(0.02).minimize(loss, var_list=collect("critic/eval"))
    step_a = tf.train.AdamOptimizer(0.01).apply_gradients(zip(policy, collect("actor/eval"), strict=True))
    with tf.control_dependencies([step_c, step_a]):
        pairs = [*zip(collect("actor/target"), collect("actor/eval"), strict=False)]
        pairs += [*zip(collect("critic/target"), collect("critic/eval"), strict=False)]
        train = tf.group(*[t.assign(0.9 * t.read_value() + 0.1 * e.read_value()) for t, e in pairs], name="train_step")
    feeds = {s: normal(4, 3), s2: normal(4, 3, seed=1), r: normal(4, 1), a: normal(4, 1, seed=3)}
    return Graph(feeds, [act, q, target, loss], train, steps=8)


@graph(odd=SMALL)
def proximal_policy_with_old_network() -> Graph:
    s = tf.placeholder(tf.float32, [None, 3], name="s")
    a = tf.placeholder(tf.float32, [None, 1], name="a")
    gain = tf.placeholder(tf.float32, [None, 1], name="gain")

    def policy(scope: str, trainable: bool) -> tuple[Any, Any, Any]:
        with tf.variable_scope(scope):
            w = tf.get_variable("w", [3, 1], trainable=trainable)
            spread = tf.get_variable("spread", [1], initializer=tf.zeros_initializer(), trainable=trainable)
        mean, scale = tf.tanh(tf.matmul(s, w)), tf.nn.softplus(spread)
        log = -0.5 * ((a - mean) / scale) ** 2 - tf.math.log(scale)
        return log, [w, spread], scale

    new, new_vars, scale = policy("pi", True)
    old, old_vars, _ = policy("old_pi", False)
    ratio = tf.exp(new - old)
    surrogate = tf.minimum(ratio * gain, tf.clip_by_value(ratio, 0.8, 1.2) * gain)
    loss = -tf.reduce_mean(surrogate) - 0.01 * tf.reduce_mean(tf.math.log(scale))
    gradients, norm = tf.clip_by_global_norm(tf.gradients(loss, new_vars), 0.5)
    gradients = [tf.identity(g) for g in gradients]
    with tf.control_dependencies(gradients):  # the old policy is what the new one was one step ago
        updates = [o.assign(n) for o, n in zip(old_vars, new_vars, strict=True)]
    with tf.control_dependencies(updates):
        train = tf.train.AdamOptimizer(0.02).apply_gradients(zip(gradients, new_vars, strict=True), name="train_step")
    feeds = {s: normal(5, 3), a: normal(5, 1), gain: normal(5, 1, seed=2)}
    return Graph(feeds, [ratio, loss, norm], train)


@graph(odd=(), freezes=False)
def priorities_in_a_sum_tree() -> Graph:
    index = tf.placeholder(tf.int32, [], name="index")
    priority = tf.placeholder(tf.float32, [], name="priority")
    wanted = tf.placeholder(tf.float32, [None], name="wanted")
    tree = tf.get_variable("tree", [15], initializer=tf.zeros_initializer())
    leaf = index + 7
    change = priority - tf.gather(tree, leaf)

    def up(i: Any, path: Any) -> tuple[Any, Any]:
        return (i - 1) // 2, tf.concat([path, [(i - 1) // 2]], 0)

    invariants = [tf.TensorShape([]), tf.TensorShape([None])]
    _, path = tf.while_loop(lambda i, _: i > 0, up, [leaf, leaf[None]], shape_invariants=invariants)
    with tf.control_dependencies([tf.scatter_add(tree, path, tf.fill(tf.shape(path), change))]):
        now = tree.read_value()

    def down(value: Any) -> Any:
        def body(i: Any, v: Any) -> tuple[Any, Any]:
            left = now[2 * i + 1]
            return tf.cond(v <= left, lambda: (2 * i + 1, v), lambda: (2 * i + 2, v - left))

        return tf.while_loop(lambda i, _: i < 7, body, [0, value])[0] - 7

    found = tf.map_fn(down, wanted * now[0], dtype=tf.int32)
    feeds = [{index: i, priority: float(i % 3 + 1), wanted: [0.1, 0.5, 0.95]} for i in (0, 3, 5, 7, 3)]
    return Graph(feeds, [now, found])


@graph(odd=SMALL)
def glove_with_partitioned_tables() -> Graph:
    i, j = (tf.placeholder(tf.int32, [None], name=n) for n in "ij")
    count = tf.placeholder(tf.float32, [None], name="count")
    partition = tf.fixed_size_partitioner(3)
    with tf.variable_scope("glove", partitioner=partition):
        focal = tf.get_variable("focal", [10, 4], initializer=tf.random_uniform_initializer(-1, 1, seed=1))
        context = tf.get_variable("context", [10, 4], initializer=tf.random_uniform_initializer(-1, 1, seed=2))
    biases = [tf.get_variable(n, [10], initializer=tf.zeros_initializer()) for n in ("bf", "bc")]
    a = tf.nn.embedding_lookup(focal, i, partition_strategy="div")
    b = tf.nn.embedding_lookup(context, j, partition_strategy="mod")
    weight = tf.minimum(1.0, tf.pow(count / 10.0, 0.75))
    error = tf.reduce_sum(a * b, 1) + tf.gather(biases[0], i) + tf.gather(biases[1], j) - tf.math.log(count)
    loss = tf.reduce_sum(weight * error**2)
    train = minimize(tf.train.AdagradOptimizer(0.1), loss)
    feeds = {i: integers(10, 6), j: integers(10, 6, seed=1), count: uniform(6) * 20 + 1}
    return Graph(feeds, [a, b, loss], train)


@graph(odd=("one",))
def weighted_bags_of_sparse_ids() -> Graph:
    ids = tf.sparse_placeholder(tf.int64, [None, None], name="ids")
    weights = tf.sparse_placeholder(tf.float32, [None, None], name="weights")
    table = tf.get_variable("table", [8, 3], initializer=tf.random_normal_initializer(seed=1))
    parts = tf.get_variable("parts", [9, 3], partitioner=tf.fixed_size_partitioner(2))
    bags = [tf.nn.embedding_lookup_sparse(table, ids, weights, combiner=c) for c in ("sum", "mean", "sqrtn")]
    limited = tf.nn.embedding_lookup_sparse(table, ids, None, combiner="mean", max_norm=0.5)
    safe = tf.nn.safe_embedding_lookup_sparse(parts, ids, weights, combiner="mean", default_id=2)
    joined = tf.concat([*bags, limited], 1)
    loss = tf.reduce_mean(tf.square(joined)) + tf.reduce_mean(tf.abs(safe - 1))
    train = minimize(tf.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01), loss)
    index = np.array([[0, 0], [0, 1], [1, 0], [2, 0], [2, 1]], np.int64)
    shape = np.array([3, 2], np.int64)
    feeds = {
        ids.indices: index, ids.values: np.array([1, 3, 7, 0, 3], np.int64), ids.dense_shape: shape,
        weights.indices: index, weights.values: np.array([1, 0.5, 2, 1, 3], np.float32), weights.dense_shape: shape,
    }  # fmt: skip
    return Graph(feeds, [joined, safe, loss], train)


@graph(odd=(), freezes=False)
def streaming_metrics_of_a_classifier() -> Graph:
    labels = tf.placeholder(tf.int64, [None], name="labels")
    scores = tf.placeholder(tf.float32, [None, 3], name="scores")
    predicted = tf.argmax(scores, 1)
    probability = tf.nn.softmax(scores)
    yes = tf.equal(labels, 1)
    pairs = [
        tf.metrics.accuracy(labels, predicted), tf.metrics.precision(yes, tf.equal(predicted, 1)),
        tf.metrics.recall(yes, tf.equal(predicted, 1)), tf.metrics.auc(yes, probability[:, 1], num_thresholds=20),
        tf.metrics.mean_iou(labels, predicted, 3), tf.metrics.mean_per_class_accuracy(labels, predicted, 3),
        tf.metrics.recall_at_k(labels, scores, 2), tf.metrics.root_mean_squared_error(tf.one_hot(labels, 3), probability),
        tf.metrics.mean_cosine_distance(tf.one_hot(labels, 3), tf.nn.l2_normalize(scores, 1), 1),
        tf.metrics.false_negatives(yes, tf.equal(predicted, 1)), tf.metrics.percentage_below(probability, 0.3),
        tf.metrics.sensitivity_at_specificity(yes, probability[:, 1], 0.6, num_thresholds=10),
    ]  # fmt: skip
    train = tf.group(*[update for _, update in pairs], name="train_step")
    batches = [{labels: integers(3, n, seed=n).astype(np.int64), scores: normal(n, 3, seed=n)} for n in (5, 3, 8)]
    return Graph(batches, [value for value, _ in pairs], train, steps=6)


@graph(odd=SMALL)
def decoupled_weight_decay_and_layerwise_rates() -> Graph:
    """AdamW and LAMB, written by hand over slots of one's own."""
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    y = dense(dense(x, 5, tf.nn.relu), 2)
    loss = tf.reduce_mean(tf.square(y - 1))
    step = tf.train.get_or_create_global_step()
    variables = tf.trainable_variables()
    updates = []
    number = tf.cast(step + 1, tf.float32)
    for gradient, v in zip(tf.gradients(loss, variables), variables, strict=True):
        m = tf.get_variable(f"{v.op.name}/adam_m", v.shape, trainable=False, initializer=tf.zeros_initializer())
        s = tf.get_variable(f"{v.op.name}/adam_v", v.shape, trainable=False, initializer=tf.zeros_initializer())
        new_m = 0.9 * m + 0.1 * gradient
        new_s = 0.999 * s + 0.001 * tf.square(gradient)
        update = (new_m / (1 - 0.9**number)) / (tf.sqrt(new_s / (1 - 0.999**number)) + 1e-6)
        if "bias" not in v.name:
            update += 0.01 * v
        norm, size = tf.norm(v), tf.norm(update)
        ratio = tf.where(norm > 0, tf.where(size > 0, norm / size, 1.0), 1.0)
        updates += [(v, v - 0.01 * ratio * update), (m, new_m), (s, new_s)]
    with tf.control_dependencies([value for _, value in updates]):
        assigned = [variable.assign(value) for variable, value in updates]
    with tf.control_dependencies(assigned):
        train = tf.group(step.assign_add(1), name="train_step")
    return Graph({x: normal(6, 4)}, [y, loss], train, steps=20)


@graph(odd=SMALL)
def lookahead_and_swapped_averages() -> Graph:
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    averaged = tf.placeholder_with_default(False, [], name="averaged")
    w = tf.get_variable("w", [4, 2])
    slow = tf.get_variable("slow", initializer=tf.zeros([4, 2]), trainable=False)
    ema = tf.train.ExponentialMovingAverage(0.8, num_updates=tf.train.get_or_create_global_step(), zero_debias=True)
    step = tf.train.get_or_create_global_step()
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w) - 1))
    inner = tf.train.GradientDescentOptimizer(0.2).minimize(loss, step)
    with tf.control_dependencies([inner]):
        now = w.read_value()
        look = tf.equal(step.read_value() % 3, 0)
        mixed = slow + 0.5 * (now - slow)
        outer = [
            tf.cond(look, lambda: tf.assign(slow, mixed), lambda: tf.identity(slow)),
            tf.cond(look, lambda: tf.assign(w, mixed), lambda: tf.identity(now)),
        ]
    with tf.control_dependencies(outer):
        train = tf.group(ema.apply([w]), name="train_step")
    used = tf.cond(averaged, lambda: ema.average(w), lambda: tf.identity(w))
    out = tf.matmul(x, used)
    return Graph([{x: normal(5, 4)}, {x: normal(2, 4), averaged: True}], [out, loss], train, steps=8)


@graph(odd=("one",))
def features_crossed_bucketed_and_hashed() -> Graph:
    column = tf.feature_column
    age = tf.placeholder(tf.float32, [None, 1], name="age")
    job = tf.placeholder(tf.string, [None, 1], name="job")
    tags = tf.sparse_placeholder(tf.string, name="tags")
    buckets = column.bucketized_column(column.numeric_column("age"), [20.0, 40.0, 60.0])
    hashed = column.categorical_column_with_hash_bucket("job", 12)
    vocabulary = column.categorical_column_with_vocabulary_list("tags", ["a", "b", "c"], num_oov_buckets=2)
    crossed = column.crossed_column([buckets, "job"], 16)
    shared = column.embedding_column(vocabulary, 3, combiner="sqrtn")
    dense_columns = [
        column.numeric_column("age", normalizer_fn=lambda v: v / 50), column.embedding_column(hashed, 2),
        column.indicator_column(crossed), shared, column.indicator_column(vocabulary),
    ]  # fmt: skip
    features = {"age": age, "job": job, "tags": tags}
    deep = column.input_layer(features, dense_columns)
    wide = column.linear_model(features, [buckets, hashed, crossed])
    out = tf.sigmoid(wide + dense(deep, 1))
    loss = tf.reduce_mean(tf.square(out - 0.7))
    train = tf.group(
        tf.train.FtrlOptimizer(0.1).minimize(loss, var_list=tf.trainable_variables("linear_model")),
        tf.train.AdagradOptimizer(0.1).minimize(loss, var_list=tf.trainable_variables("input_layer")), name="train_step",
    )  # fmt: skip
    feeds = {
        age: np.array([[15.0], [33.0], [70.0]], np.float32), job: np.array([["cook"], ["smith"], [""]], object),
        tags.indices: np.array([[0, 0], [0, 1], [2, 0]], np.int64), tags.values: np.array(["a", "z", "c"], object),
        tags.dense_shape: np.array([3, 2], np.int64),
    }  # fmt: skip
    return Graph(feeds, [deep, wide, out, loss], train)


@graph(odd=("one",), rtol=1e-3)
def old_batch_norm_of_frozen_graphs() -> Graph:
    """`BatchNormWithGlobalNormalization`, LRN and max-pooling: an Inception of 2015."""
    x = tf.placeholder(tf.float32, [None, 12, 12, 3], name="Mul")
    y = x
    for i, channels in enumerate((4, 6)):
        kernel = tf.get_variable(f"conv{i}/params", [3, 3, y.shape[-1], channels])
        y = tf.nn.conv2d(y, kernel, 1 + i, "VALID")
        pieces = [tf.get_variable(f"conv{i}/{n}", [channels], initializer=tf.random_uniform_initializer(0.5, 1, seed=k))
                  for k, n in enumerate(("mean", "variance", "beta", "gamma"))]  # fmt: skip
        y = tf.nn.batch_norm_with_global_normalization(y, *pieces, 1e-3, scale_after_normalization=bool(i))
        y = tf.nn.relu6(y)
    y = tf.nn.local_response_normalization(y, depth_radius=2, bias=1.0, alpha=1e-2, beta=0.75)
    pooled = tf.nn.avg_pool2d(tf.nn.max_pool2d(y, 3, 1, "VALID"), [1, 2, 2, 1], [1, 1, 1, 1], "VALID")
    flat = tf.reshape(pooled, [-1, int(np.prod(pooled.shape[1:]))])
    out = tf.nn.softmax(tf.nn.xw_plus_b(flat, tf.get_variable("w", [flat.shape[-1], 3]), tf.zeros([3])), name="softmax")
    loss = -tf.reduce_mean(tf.math.log(out[:, 0] + 1e-6))
    return Graph({x: normal(2, 12, 12, 3)}, [out, loss], tf.train.GradientDescentOptimizer(0.1).minimize(loss))


@graph(odd=("one",))
def quantisation_per_channel_with_moving_ranges() -> Graph:
    x = tf.placeholder(tf.float32, [None, 6, 6, 2], name="x")
    kernel = tf.get_variable("kernel", [3, 3, 2, 4])
    low = tf.reduce_min(kernel, [0, 1, 2])
    high = tf.reduce_max(kernel, [0, 1, 2])
    quantised = tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, low, high, 8, narrow_range=True)
    y = tf.nn.relu(tf.nn.conv2d(x, quantised, 1, "SAME"))
    kept = [
        tf.get_variable(n, [], initializer=tf.constant_initializer(v), trainable=False)
        for n, v in (("min", 0.0), ("max", 6.0))
    ]
    z = tf.quantization.fake_quant_with_min_max_vars(y, kept[0], kept[1], num_bits=4)
    whole = tf.quantization.quantize(z, 0.0, 6.0, tf.quint8, mode="MIN_FIRST")
    back = tf.quantization.dequantize(whole.output, whole.output_min, whole.output_max, mode="MIN_FIRST")
    loss = tf.reduce_mean(tf.square(z - 1))
    step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    seen = [tf.minimum(tf.reduce_min(y), 0.0), tf.reduce_max(y)]
    with tf.control_dependencies([step, *seen]):
        moves = [tf.assign(v, 0.9 * v + 0.1 * new) for v, new in zip(kept, seen, strict=True)]
        train = tf.group(*moves, name="train_step")
    return Graph({x: normal(2, 6, 6, 2)}, [z, back, loss], train)


@graph(odd=(), freezes=False)
def counters_queues_and_caches_in_variables() -> Graph:
    """A ring buffer, a counter per key and a running mean, all in variables that runs change."""
    x = tf.placeholder(tf.float32, [2], name="x")
    key = tf.placeholder(tf.string, [], name="key")
    ring = tf.get_variable("ring", [3, 2], initializer=tf.zeros_initializer(), trainable=False)
    head = tf.get_variable("head", [], tf.int32, initializer=tf.zeros_initializer(), trainable=False)
    place = tf.identity(head) % 3
    with tf.control_dependencies([place]):
        pushed = tf.scatter_update(ring, place, x)
        moved = tf.assign_add(head, 1)
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, tf.constant(0, tf.int64))
    seen = table.lookup(key)
    with tf.control_dependencies([seen]):
        counted = table.insert(key, seen + 1)
    with tf.control_dependencies([pushed, moved, counted]):
        mean = tf.reduce_sum(ring.read_value(), 0) / tf.cast(tf.minimum(head.read_value(), 3), tf.float32)
        size = table.size()
    feeds = [{x: normal(2, seed=i), key: k} for i, k in enumerate("abacab")]
    return Graph(feeds, [mean, seen, size])


@graph(odd=SMALL)
def contrastive_pairs_and_memory_bank() -> Graph:
    x, x2 = (tf.placeholder(tf.float32, [None, 4], name=n) for n in ("x", "x2"))
    w = tf.get_variable("w", [4, 3])
    bank = tf.get_variable("bank", initializer=normal(5, 3), trainable=False)
    a, b = (tf.math.l2_normalize(tf.matmul(v, w), -1) for v in (x, x2))
    size = tf.shape(x)[0]
    logits = tf.concat([tf.matmul(a, b, transpose_b=True), tf.matmul(a, bank, transpose_b=True)], 1) / 0.1
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.range(size), logits=logits))
    distances = tf.maximum(
        tf.reduce_sum(a**2, 1)[:, None] - 2 * tf.matmul(a, a, transpose_b=True) + tf.reduce_sum(a**2, 1), 0
    )
    step = tf.train.MomentumOptimizer(0.05, 0.9).minimize(loss)
    with tf.control_dependencies([step]):
        train = tf.group(tf.assign(bank, tf.concat([bank[2:], tf.stop_gradient(b[:2])], 0)), name="train_step")
    feeds = {x: normal(3, 4), x2: normal(3, 4, seed=1)}
    return Graph(feeds, [logits, distances, loss], train)


@graph(odd=SMALL)
def recommender_trained_on_ranked_pairs() -> Graph:
    user, good, bad = (tf.placeholder(tf.int32, [None], name=n) for n in ("user", "good", "bad"))
    tables = [
        tf.get_variable(n, [k, 4], initializer=tf.random_normal_initializer(0, 0.3, seed=k))
        for n, k in (("u", 5), ("i", 9))
    ]
    bias = tf.get_variable("b", [9, 1], initializer=tf.zeros_initializer())
    u, p, n = (
        tf.nn.embedding_lookup(tables[0], user),
        tf.nn.embedding_lookup(tables[1], good),
        tf.nn.embedding_lookup(tables[1], bad),
    )
    margin = tf.reduce_sum(u * (p - n), 1, keepdims=True) + tf.gather(bias, good) - tf.gather(bias, bad)
    penalty = tf.add_n([tf.nn.l2_loss(v) for v in (u, p, n)])
    loss = 1e-2 * penalty - tf.reduce_mean(tf.math.log_sigmoid(margin))
    ranks = tf.math.top_k(tf.matmul(tables[0], tables[1], transpose_b=True) + tf.transpose(bias), 3).indices
    share = tf.reduce_mean(tf.cast(margin > 0, tf.float32))
    train = minimize(tf.train.ProximalAdagradOptimizer(0.2, l2_regularization_strength=0.01), loss)
    feeds = {user: integers(5, 6), good: integers(9, 6, seed=1), bad: integers(9, 6, seed=2)}
    return Graph(feeds, [margin, ranks, share, loss], train, steps=20)


@graph()
def polynomials_interpolation_and_sparse_algebra() -> Graph:
    x = tf.placeholder(tf.float64, [None], name="x")
    knots = tf.constant(np.linspace(-2, 2, 6))
    values = tf.sin(knots)
    place = tf.clip_by_value(tf.searchsorted(knots, x) - 1, 0, 4)
    low, high = tf.gather(knots, place), tf.gather(knots, place + 1)
    share = (x - low) / (high - low)
    linear = (1 - share) * tf.gather(values, place) + share * tf.gather(values, place + 1)
    series = tf.math.polyval([tf.constant(c, tf.float64) for c in (1.0, -2.0, 0.5)], x)
    bins = tf.histogram_fixed_width(x, tf.constant([-2.0, 2.0], tf.float64), 5)
    kernel = tf.exp(-((x[:, None] - knots[None]) ** 2))
    weights = tf.linalg.lstsq(kernel, tf.sin(x)[:, None], l2_regularizer=0.1)
    return Graph({x: normal(7).astype(np.float64)}, [linear, series, bins, tf.matmul(kernel, weights)])


@graph()
def attention_masks_from_lengths_of_ragged_rows() -> Graph:
    values = tf.placeholder(tf.float32, [None], name="values")
    splits = tf.placeholder(tf.int64, [None], name="splits")
    ragged = tf.RaggedTensor.from_row_splits(values, splits, validate=False)
    padded = ragged.to_tensor(default_value=-1.0, shape=[None, 4])
    mask = tf.sequence_mask(ragged.row_lengths(), 4)
    means = tf.reduce_mean(ragged, 1)
    top = tf.ragged.map_flat_values(tf.square, ragged)
    joined = tf.concat([ragged, top], 1)
    hot = tf.one_hot(tf.cast(tf.round(joined.flat_values), tf.int32) % 3, 3)
    fetches = [padded, mask, means, joined.flat_values, joined.row_splits, hot]
    feeds = [{values: uniform(5), splits: np.array([0, 2, 3, 5])}, {values: uniform(1), splits: np.array([0, 1])}]
    return Graph(feeds, fetches)
