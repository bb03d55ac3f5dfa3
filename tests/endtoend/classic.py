"""What TensorFlow was used for before and beside networks: regressions, clusters, processes, simulations."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import integers, minimize, normal, one_hot, uniform


@graph()
def linear_regression() -> Graph:
    x, y = tf.placeholder("float", name="X"), tf.placeholder("float", name="Y")
    w, b = tf.Variable(0.3, name="weight"), tf.Variable(-0.1, name="bias")
    pred = tf.add(tf.multiply(x, w), b)
    cost = tf.reduce_sum(tf.pow(pred - y, 2)) / (2 * 17)
    train = tf.train.GradientDescentOptimizer(0.01).minimize(cost)
    return Graph([{x: 3.3, y: 1.7}, {x: [4.4, 5.5], y: [2.76, 2.09]}], [pred, cost], train, steps=20)


@graph()
def logistic_regression() -> Graph:
    x, y = tf.placeholder(tf.float32, [None, 5], name="x"), tf.placeholder(tf.float32, [None, 1], name="y")
    w, b = tf.Variable(tf.zeros([5, 1])), tf.Variable(tf.zeros([1]))
    p = tf.sigmoid(tf.matmul(x, w) + b)
    loss = -tf.reduce_mean(y * tf.log(p) + (1 - y) * tf.log(1 - p))
    (hessian,) = tf.hessians(loss, b)
    feeds = {x: normal(8, 5), y: integers(2, 8, 1).astype(np.float32)}
    return Graph(feeds, [p, loss, hessian], tf.train.GradientDescentOptimizer(0.5).minimize(loss), steps=10)


@graph(odd=("one", "none", "nan"))
def softmax_regression() -> Graph:
    x, y = tf.placeholder(tf.float32, [None, 6], name="x"), tf.placeholder(tf.float32, [None, 3], name="y_")
    w, b = tf.Variable(tf.zeros([6, 3])), tf.Variable(tf.zeros([3]))
    out = tf.nn.softmax(tf.matmul(x, w) + b)
    cross_entropy = tf.reduce_mean(-tf.reduce_sum(y * tf.log(out), reduction_indices=[1]))
    train = tf.train.GradientDescentOptimizer(0.5).minimize(cross_entropy)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(out, 1), tf.argmax(y, 1)), tf.float32))
    confusion = tf.confusion_matrix(tf.argmax(y, 1), tf.argmax(out, 1), 3)
    return Graph({x: normal(7, 6), y: one_hot(3, 7)}, [out, accuracy, confusion], train, steps=10)


@graph()
def polynomial_regression_by_normal_equations() -> Graph:
    x, y = tf.placeholder(tf.float64, [None], name="x"), tf.placeholder(tf.float64, [None], name="y")
    powers = tf.pow(x[:, None], tf.range(4, dtype=tf.float64))
    direct = tf.matrix_solve_ls(powers, y[:, None], l2_regularizer=0.01)
    q, r = tf.qr(powers)
    by_qr = tf.matrix_triangular_solve(r, tf.matmul(q, y[:, None], transpose_a=True), lower=False)
    solved = tf.matrix_solve(tf.matmul(powers, powers, transpose_a=True), tf.matmul(powers, y[:, None], True))
    points = np.linspace(-1, 1, 9)
    return Graph({x: points, y: points**3 - 0.5 * points}, [direct, tf.matmul(powers, by_qr), solved])


@graph()
def support_vector_machine() -> Graph:
    x, y = tf.placeholder(tf.float32, [None, 2], name="x"), tf.placeholder(tf.float32, [None, 1], name="y")
    b = tf.Variable(tf.random_normal([1, 6]))
    squares = tf.reshape(tf.reduce_sum(tf.square(x), 1), [-1, 1])
    distance = squares - 2.0 * tf.matmul(x, tf.transpose(x)) + tf.transpose(squares)
    kernel = tf.exp(-0.5 * tf.abs(distance))
    both = tf.matmul(tf.transpose(b), b) * kernel * tf.matmul(y, tf.transpose(y))
    loss = tf.negative(tf.reduce_sum(b) - tf.reduce_sum(both))
    prediction = tf.sign(tf.matmul(tf.multiply(tf.transpose(y), b), kernel))
    hinge = tf.losses.hinge_loss((y + 1) / 2, tf.transpose(b))
    train = tf.train.GradientDescentOptimizer(0.002).minimize(loss)
    return Graph({x: normal(6, 2), y: np.sign(normal(6, 1))}, [prediction, loss, hinge], train)


@graph()
def k_means() -> Graph:
    points = tf.placeholder(tf.float32, [None, 2], name="points")
    centers = tf.Variable(tf.random_uniform([3, 2], -1, 1), name="centers")
    nearest = tf.argmin(tf.reduce_sum(tf.squared_difference(points[:, None], centers[None]), 2), 1)
    parts = tf.dynamic_partition(points, tf.cast(nearest, tf.int32), 3)
    means = [tf.where(tf.size(p) > 0, tf.reduce_mean(p, 0), c) for p, c in zip(parts, tf.unstack(centers), strict=True)]
    update = tf.assign(centers, tf.stack(means))
    counts = tf.bincount(tf.cast(nearest, tf.int32), minlength=3)
    unique, _, often = tf.unique_with_counts(nearest)
    return Graph({points: normal(20, 2)}, [nearest, counts, unique, often], tf.group(update, name="train_step"))


@graph()
def gaussian_mixture_by_expectation_maximisation() -> Graph:
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    means = tf.get_variable("means", initializer=normal(3, 2))
    variances = tf.get_variable("variances", initializer=np.ones((3, 2), np.float32))
    weights = tf.get_variable("weights", initializer=np.full(3, 1 / 3, np.float32))
    distance = tf.squared_difference(x[:, None], means[None]) / variances[None]
    log_p = tf.log(weights) - 0.5 * tf.reduce_sum(distance + tf.log(2 * np.pi * variances)[None], 2)
    log_likelihood = tf.reduce_logsumexp(log_p, 1)
    gamma = tf.exp(log_p - log_likelihood[:, None])
    total = tf.reduce_sum(gamma, 0)
    new_means = tf.matmul(gamma, x, transpose_a=True) / total[:, None]
    spread = tf.einsum("nk,nkd->kd", gamma, tf.squared_difference(x[:, None], new_means[None])) / total[:, None]
    train = tf.group(
        means.assign(new_means), variances.assign(spread + 1e-3), weights.assign(total / tf.reduce_sum(total))
    )
    return Graph({x: normal(15, 2)}, [gamma, tf.reduce_sum(log_likelihood)], train)


@graph(rtol=1e-3, atol=1e-4)
def gaussian_process() -> Graph:
    x, y, at = (tf.placeholder(tf.float32, [None], name=n) for n in ("x", "y", "at"))
    scale = tf.nn.softplus(tf.get_variable("scale", initializer=np.float32(0.5)))
    noise = tf.nn.softplus(tf.get_variable("noise", initializer=np.float32(-1)))

    def kernel(a: Any, b: Any) -> Any:
        return tf.exp(-0.5 * tf.squared_difference(a[:, None], b[None]) / tf.square(scale))

    factor = tf.cholesky(kernel(x, x) + noise * tf.eye(tf.shape(x)[0]))
    alpha = tf.cholesky_solve(factor, y[:, None])
    mean = tf.matmul(kernel(at, x), alpha)[:, 0]
    half = tf.matrix_triangular_solve(factor, kernel(x, at))
    variance = 1.0 - tf.reduce_sum(tf.square(half), 0)
    loss = 0.5 * tf.reduce_sum(y * alpha[:, 0]) + tf.reduce_sum(tf.log(tf.matrix_diag_part(factor)))
    points = np.linspace(0, 3, 6, dtype=np.float32)
    feeds = {x: points, y: np.sin(points), at: [0.1, 1.7, 4.0]}
    return Graph(feeds, [mean, variance, loss], minimize(tf.train.AdamOptimizer(0.05), loss))


@graph()
def principal_components() -> Graph:
    x = tf.placeholder(tf.float64, [None, 4], name="x")
    centered = x - tf.reduce_mean(x, 0)
    covariance = tf.matmul(centered, centered, transpose_a=True) / (tf.cast(tf.shape(x)[0], tf.float64) - 1)
    values, vectors = tf.self_adjoint_eig(covariance)
    s, u, v = tf.svd(centered)
    again = tf.matmul(u, tf.matmul(tf.matrix_diag(s), v, adjoint_b=True))
    spread = tf.matmul(vectors, tf.matmul(tf.diag(values), vectors, transpose_b=True))
    return Graph({x: normal(7, 4).astype(np.float64)}, [values, s, again, spread, tf.trace(covariance)])


@graph()
def time_series_with_cumulative_sums() -> Graph:
    x = tf.placeholder(tf.float32, [None, 10], name="x")
    total = tf.cumsum(x, 1)
    window = (total[:, 3:] - total[:, :-3]) / 3.0
    smoothing = tf.sigmoid(tf.get_variable("alpha", initializer=np.float32(0.0)))
    weights = tf.cumprod(tf.fill([10], 1.0 - smoothing), exclusive=True)
    level = tf.reduce_sum(tf.reverse(x, [1]) * weights, 1) * smoothing
    framed = tf.signal.frame(x, 4, 2)
    lagged = tf.stack([tf.roll(x, k, 1) for k in range(3)], 2)
    fit = tf.reduce_sum(lagged * tf.get_variable("ar", [3]), 2)
    loss = tf.reduce_mean(tf.squared_difference(fit, x)) + tf.reduce_mean(tf.square(level))
    backwards = tf.cumsum(x, 1, reverse=True, exclusive=True)
    best = tf.math.argmax(tf.math.abs(tf.signal.rfft(x)), 1)
    train = minimize(tf.train.AdamOptimizer(0.05), loss)
    return Graph({x: normal(2, 10)}, [window, framed, backwards, best, level, loss], train)


@graph()
def mandelbrot_set() -> Graph:
    grid = tf.placeholder(tf.complex64, [None, None], name="grid")
    zs = tf.Variable(np.zeros((5, 6), np.complex64))
    counts = tf.Variable(np.zeros((5, 6), np.float32))
    following = zs * zs + grid
    alive = tf.abs(following) < 4
    step = tf.group(zs.assign(following), counts.assign_add(tf.cast(alive, tf.float32)), name="step")
    y, x = np.mgrid[-1.1:1.1:5j, -2:0.5:6j]
    return Graph({grid: (x + 1j * y).astype(np.complex64)}, [alive, tf.real(following)], step, steps=6)


@graph()
def rain_on_a_pond() -> Graph:
    """The partial differential equation of TensorFlow's first tutorial."""
    eps, damping = (
        tf.placeholder(tf.float32, shape=(), name="eps"),
        tf.placeholder(tf.float32, shape=(), name="damping"),
    )
    start = np.zeros((8, 8), np.float32)
    start[2, 3], start[5, 6] = 0.9, -0.4
    u, ut = tf.Variable(start), tf.Variable(np.zeros_like(start))
    kernel = tf.constant([[0.5, 1.0, 0.5], [1.0, -6.0, 1.0], [0.5, 1.0, 0.5]])[:, :, None, None]
    laplace = tf.nn.depthwise_conv2d(u[None, :, :, None], kernel, [1, 1, 1, 1], padding="SAME")[0, :, :, 0]
    new_u, new_ut = u + eps * ut, ut + eps * (laplace - damping * ut)
    with tf.control_dependencies([new_u, new_ut]):
        step = tf.group(u.assign(new_u), ut.assign(new_ut), name="step")
    return Graph({eps: 0.03, damping: 0.04}, [new_u, new_ut], step, steps=10)


@graph()
def game_of_life() -> Graph:
    board = tf.placeholder(tf.int32, [None, None], name="board")

    def step(cells: Any) -> Any:
        shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
        around = tf.add_n([tf.roll(cells, shift, [0, 1]) for shift in shifts])
        born = tf.equal(around, 3)
        stays = tf.logical_and(tf.equal(around, 2), tf.cast(cells, tf.bool))
        return tf.cast(tf.logical_or(born, stays), tf.int32)

    after = tf.while_loop(lambda i, _: i < 5, lambda i, b: (i + 1, step(b)), [0, board])[1]
    packed = tf.bitwise.bitwise_xor(after, tf.bitwise.left_shift(after, 1))
    return Graph({board: integers(2, 7, 7)}, [after, packed, tf.where(tf.equal(after, 1))])


@graph(odd=("one", "none", "nan"))
def newtons_method_and_numeric_functions() -> Graph:
    x = tf.placeholder(tf.float64, [None], name="x")
    root = tf.while_loop(
        lambda i, r: tf.logical_and(i < 20, tf.reduce_max(tf.abs(r * r - x)) > 1e-9),
        lambda i, r: (i + 1, 0.5 * (r + x / r)),
        [0, tf.ones_like(x)],
    )
    special = [tf.lgamma(x), tf.digamma(x), tf.erf(x), tf.igamma(x, x + 0.5), tf.betainc(x, x + 1, tf.sigmoid(-x))]
    rounded = [tf.rint(x), tf.floordiv(x, 0.7), tf.mod(-x, 0.7), tf.atan2(x, -x), tf.asinh(x), tf.log_sigmoid(x)]
    return Graph({x: uniform(6).astype(np.float64) * 4 + 0.1}, [root, special, rounded])


@graph()
def hidden_markov_model_filter() -> Graph:
    observed = tf.placeholder(tf.int32, [None], name="observed")
    transition = tf.nn.softmax(tf.get_variable("transition", [3, 3]))
    emission = tf.nn.softmax(tf.get_variable("emission", [3, 4]))

    def step(state: Any, symbol: Any) -> Any:
        belief, log_likelihood = state
        joint = tf.linalg.matvec(transition, belief, transpose_a=True) * emission[:, symbol]
        norm = tf.reduce_sum(joint)
        return joint / norm, log_likelihood + tf.log(norm)

    beliefs, log_likelihoods = tf.scan(step, observed, (tf.fill([3], 1 / 3), tf.constant(0.0)))
    loss = -log_likelihoods[-1]
    train = minimize(tf.train.AdamOptimizer(0.1), loss)
    return Graph({observed: integers(4, 7)}, [beliefs, loss], train)


@graph()
def graph_convolution() -> Graph:
    features, edges = tf.placeholder(tf.float32, [5, 3], name="x"), tf.placeholder(tf.int64, [None, 2], name="edges")
    ones = tf.ones([tf.shape(edges)[0]])
    adjacency = tf.sparse.reorder(tf.SparseTensor(edges, ones, [5, 5]))
    degree = tf.maximum(tf.sparse.reduce_sum(adjacency, 1), 1.0)
    hidden = tf.nn.relu(tf.sparse.sparse_dense_matmul(adjacency, features) / degree[:, None])
    hidden = tf.matmul(hidden, tf.get_variable("w", [3, 4]))
    messages = tf.gather(hidden, edges[:, 1])
    score = tf.exp(tf.nn.leaky_relu(tf.reduce_sum(messages, 1)))
    share = score / tf.gather(tf.math.unsorted_segment_sum(score, edges[:, 0], 5), edges[:, 0])
    out = tf.math.unsorted_segment_sum(messages * share[:, None], edges[:, 0], 5)
    loss = tf.reduce_mean(tf.square(out - 1))
    pairs = np.array([[0, 1], [1, 0], [1, 2], [2, 4], [4, 3], [3, 3]], np.int64)
    return Graph({features: normal(5, 3), edges: pairs}, [out, loss], minimize(tf.train.AdamOptimizer(0.05), loss))


@graph()
def evolution_in_variables() -> Graph:
    """A population that sorts itself by fitness, crosses and mutates, one generation a run."""
    target = tf.placeholder(tf.float32, [4], name="target")
    population = tf.get_variable("population", initializer=normal(6, 4), trainable=False)
    fitness = tf.reduce_sum(tf.squared_difference(population, target), 1)
    order = tf.argsort(fitness)
    parents = tf.gather(population, order[:3])
    mask = tf.random_uniform([3, 4], seed=1) < 0.5
    children = tf.where(mask, parents, tf.reverse(parents, [0])) + tf.random_normal([3, 4], stddev=0.1, seed=2)
    shuffled = tf.random_shuffle(children, seed=3)
    train = tf.group(population.assign(tf.concat([parents, shuffled], 0)), name="train_step")
    return Graph({target: normal(4)}, [fitness, order], train)
