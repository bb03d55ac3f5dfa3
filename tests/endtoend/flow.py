"""Programs whose point is how they branch and loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import GRUCell, LSTMCell, classified, dense, integers, minimize, normal, uniform


@graph()
def branches_in_loops_in_branches() -> Graph:
    x = tf.placeholder(tf.float32, [None], name="x")
    deep = tf.placeholder_with_default(True, [], name="deep")
    w = tf.get_variable("w", initializer=1.1)

    def body(i: Any, total: Any) -> tuple[Any, Any]:
        even = tf.equal(i % 2, 0)
        step = tf.cond(
            even,
            lambda: tf.cond(total > 3.0, lambda: -w * total, lambda: total * w + 1.0),
            lambda: tf.while_loop(lambda j, t: j < i, lambda j, t: (j + 1, t + w * 0.1), [0, total])[1],
        )
        return i + 1, step

    def looped() -> Any:
        return tf.while_loop(lambda i, t: tf.logical_and(i < 7, t > -50.0), body, [tf.constant(0), tf.reduce_sum(x)])[1]

    y = tf.cond(deep, looped, lambda: tf.reduce_sum(x) * w)
    gradient = tf.gradients(y, [x, w])
    train = tf.train.GradientDescentOptimizer(0.001).minimize(y)
    feeds = [{x: normal(3)}, {x: normal(5, seed=1), deep: False}, {x: normal(2, seed=2), deep: True}]
    return Graph(feeds, [y, gradient], train)


@graph()
def cases_and_switches() -> Graph:
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    which = tf.placeholder(tf.int32, [], name="which")
    w = tf.get_variable("w", initializer=normal(2, 3))
    size = tf.shape(x)[0]
    named = tf.case(
        [(tf.less(size, 2), lambda: tf.constant("few")), (tf.greater(size, 3), lambda: tf.constant("many"))],
        default=lambda: tf.strings.join(["some: ", tf.as_string(size)]),
    )
    exclusive = tf.case(
        {tf.equal(which, 0): lambda: tf.matmul(x, w), tf.equal(which, 1): lambda: tf.matmul(x, w) ** 2},
        default=lambda: tf.nn.relu(tf.matmul(x, w)), exclusive=True,
    )  # fmt: skip
    switched = tf.switch_case(which, [lambda: exclusive + 1.0, lambda: exclusive * 2.0, lambda: -exclusive])
    train = tf.train.MomentumOptimizer(0.1, 0.9).minimize(tf.reduce_sum(switched))
    feeds = [{x: normal(i + 1, 2, seed=i), which: i} for i in range(4)]
    return Graph(feeds, [named, exclusive, switched, tf.gradients(switched, x)[0]], train)


@graph(odd=("nan", "infinity"))  # TensorFlow aborts where a length is negative
def tensor_arrays_unrolled_by_hand() -> Graph:
    x = tf.placeholder(tf.float32, [None, None, 3], name="x")
    steps = tf.shape(x)[1]
    w = tf.get_variable("w", [3, 3], initializer=tf.orthogonal_initializer(seed=2))
    taken = tf.TensorArray(tf.float32, size=steps, element_shape=[None, 3]).unstack(tf.transpose(x, [1, 0, 2]))
    given = tf.TensorArray(tf.float32, size=0, dynamic_size=True, clear_after_read=False, infer_shape=False)

    def body(t: Any, state: Any, written: Any) -> tuple[Any, Any, Any]:
        state = tf.tanh(taken.read(t) + tf.matmul(state, w))
        return t + 1, state, written.write(t, state[: t + 1])

    start = tf.zeros_like(x[:, 0])
    # With more than one iteration at a time, TensorFlow now and then fails in the gradient, or gives another one.
    loop = {"swap_memory": True, "parallel_iterations": 1}
    _, last, written = tf.while_loop(lambda t, *_: t < steps, body, [0, start, given], **loop)
    together = written.concat()
    parts = tf.TensorArray(tf.float32, size=2, infer_shape=False).split(last, tf.stack([1, tf.shape(last)[0] - 1]))
    loss = tf.reduce_sum(together**2) + 3 * tf.reduce_sum(parts.read(1))
    train = tf.train.AdamOptimizer(0.01).minimize(loss)
    feeds = [{x: normal(3, 4, 3)}, {x: normal(2, 6, 3, seed=1)}]
    return Graph(feeds, [together, last, parts.read(0), loss, tf.gradients(loss, x)[0]], train)


@graph()
def tensors_that_grow_in_loops() -> Graph:
    seed = tf.placeholder(tf.int64, [], name="n")

    def collatz(n: Any, seen: Any) -> tuple[Any, Any]:
        n = tf.cond(tf.equal(n % 2, 0), lambda: n // 2, lambda: 3 * n + 1)
        return n, tf.concat([seen, [n]], 0)

    _, path = tf.while_loop(
        lambda n, seen: n > 1, collatz, (seed, seed[None]),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])), parallel_iterations=1, maximum_iterations=200,
    )  # fmt: skip
    fibonacci = tf.while_loop(
        lambda i, row: i < 90, lambda i, row: (i + 1, tf.concat([row, row[-1:] + row[-2:-1]], 0)),
        [0, tf.constant([1, 1], tf.int64)], shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])],
    )[1]  # fmt: skip
    triangle = tf.while_loop(
        lambda i, row: i < 6, lambda i, row: (i + 1, tf.concat([[1], row[1:] + row[:-1], [1]], 0)),
        [0, tf.constant([1])], shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])],
    )[1]  # fmt: skip
    text = tf.while_loop(
        lambda i, s: tf.strings.length(s) < 20, lambda i, s: (i + 1, tf.strings.join([s, tf.as_string(i), ","])),
        [0, tf.constant("")],
    )[1]  # fmt: skip
    return Graph([{seed: 27}, {seed: 1}, {seed: 97}], [path, tf.shape(path), fibonacci, triangle, text])


@graph()
def bubble_sort_and_binary_search() -> Graph:
    x = tf.placeholder(tf.int32, [None], name="x")
    count = tf.shape(x)[0]

    def inner(j: Any, swapped: Any, row: Any) -> tuple[Any, Any, Any]:
        out_of_order = row[j] > row[j + 1]
        turned = tf.tensor_scatter_nd_update(row, [[j], [j + 1]], [row[j + 1], row[j]])
        return j + 1, tf.logical_or(swapped, out_of_order), tf.cond(out_of_order, lambda: turned, lambda: row)

    def outer(swapped: Any, row: Any) -> tuple[Any, Any]:
        _, swapped, row = tf.while_loop(lambda j, *_: j < count - 1, inner, [0, False, row])
        return swapped, row

    _, ordered = tf.while_loop(lambda swapped, row: swapped, outer, [True, x])
    wanted = x[0]

    def halve(low: Any, high: Any) -> tuple[Any, Any]:
        middle = (low + high) // 2
        return tf.cond(ordered[middle] < wanted, lambda: (middle + 1, high), lambda: (low, middle))

    found, _ = tf.while_loop(lambda low, high: low < high, halve, [0, count])
    return Graph([{x: integers(50, 9)}, {x: integers(9, 4, seed=1)}], [ordered, found])


@graph()
def gradients_through_nested_loops() -> Graph:
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    a = tf.get_variable("a", initializer=normal(2, 2) * 0.5)

    def inner(j: Any, v: Any) -> tuple[Any, Any]:
        return j + 1, tf.sin(tf.matmul(v, a)) + v

    def outer(i: Any, v: Any, total: Any) -> tuple[Any, Any, Any]:
        v = tf.while_loop(lambda j, _: j < i + 1, inner, [0, v], swap_memory=True)[1]
        return i + 1, v * 0.5, total + tf.reduce_sum(v**2)

    _, v, total = tf.while_loop(lambda i, *_: i < 3, outer, [0, x, 0.0], parallel_iterations=10)
    gx, ga = tf.gradients(total, [x, a])
    train = tf.train.GradientDescentOptimizer(0.01).apply_gradients([(tf.clip_by_norm(ga, 1.0), a)])
    return Graph([{x: normal(3, 2)}, {x: normal(1, 2, seed=3)}], [v, total, gx, ga], train)


@graph(odd=("one", "none"))  # where what is no number comes in an order is left open
def maps_in_maps_with_gradients() -> Graph:
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    w = tf.get_variable("w", initializer=normal(4))
    pairs = tf.map_fn(lambda row: tf.map_fn(lambda v: v * tf.reduce_sum(w * row), row), x, parallel_iterations=2)
    kinds, ranks = tf.map_fn(
        lambda pair: (tf.cast(tf.argmax(pair[0]), tf.int64) + pair[1], tf.argsort(pair[0])),
        (x, tf.range(tf.shape(x)[0], dtype=tf.int64)), dtype=(tf.int64, tf.int32),
    )  # fmt: skip
    texts = tf.map_fn(lambda k: tf.strings.format("<{}>", k), kinds, dtype=tf.string)
    loss = tf.reduce_mean(pairs**2)
    train = minimize(tf.train.AdamOptimizer(0.05), loss)
    return Graph([{x: normal(3, 4)}, {x: normal(1, 4, seed=2)}], [pairs, kinds, ranks, texts, loss], train)


@graph()
def checks_and_prints_on_the_way() -> Graph:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    w = tf.get_variable("w", initializer=normal(3, 2))
    with tf.control_dependencies([
        tf.Assert(tf.reduce_all(tf.less(tf.abs(x), 100.0)), [x, tf.shape(x)], summarize=4),
        tf.assert_rank(x, 2), tf.assert_equal(tf.shape(x)[1], 3, message="three features"),
        tf.assert_greater_equal(tf.shape(x)[0], 1),
    ]):  # fmt: skip
        y = tf.matmul(tf.identity(x), w)
    y = tf.check_numerics(y, "y is no number")
    y = tf.Print(y, [tf.shape(y)], "shape ", first_n=0)
    y = tf.verify_tensor_all_finite(y, "not finite")
    train = minimize(tf.train.GradientDescentOptimizer(0.1), tf.reduce_mean(y**2))
    return Graph([{x: normal(4, 3)}, {x: normal(1, 3)}], [y], train)


@graph()
def mixture_of_experts_partitioned_and_stitched() -> Graph:
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    gate = tf.nn.softmax(dense(x, 3, name="gate"))
    best = tf.argmax(gate, 1, output_type=tf.int32)
    parts = tf.dynamic_partition(x, best, 3)
    places = tf.dynamic_partition(tf.range(tf.shape(x)[0]), best, 3)
    experts = [dense(part, 2, tf.nn.tanh, name=f"expert_{i}") for i, part in enumerate(parts)]
    out = tf.dynamic_stitch(places, experts)
    out.set_shape([None, 2])
    chosen = tf.reduce_max(gate, 1, keepdims=True)
    loss = tf.reduce_mean((out * chosen - 1) ** 2) + 0.1 * tf.reduce_sum(tf.reduce_mean(gate, 0) ** 2)
    return Graph(
        [{x: normal(7, 4)}, {x: normal(2, 4, seed=1)}], [out, best, loss], minimize(tf.train.AdamOptimizer(), loss)
    )


@graph()
def adaptive_computation_time() -> Graph:
    """Each sequence halts when its own sum of probabilities is full."""
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    cell = GRUCell(4)
    batch = tf.shape(x)[0]
    zeros = tf.zeros([batch])

    def body(i: Any, state: Any, halted: Any, out: Any, ponder: Any) -> tuple[Any, ...]:
        flag = tf.fill([batch, 1], tf.cast(tf.equal(i, 0), tf.float32))
        _, new = cell(tf.concat([x, flag], 1), state)
        with tf.variable_scope("halt", reuse=tf.AUTO_REUSE):
            p = tf.squeeze(tf.sigmoid(cell.project(new, 1, "p", 1.0)), 1)
        running = tf.cast(halted < 0.99, tf.float32)
        rest = 1.0 - halted
        used = tf.where(halted + p * running > 0.99, rest * running, p * running)
        return i + 1, new, halted + used, out + used[:, None] * new, ponder + running

    start = [tf.constant(0), cell.zero_state(batch, tf.float32), zeros, tf.zeros([batch, 4]), zeros]
    invariants = [s.shape if i != 1 else tf.TensorShape([None, 4]) for i, s in enumerate(start)]
    _, _, halted, out, ponder = tf.while_loop(
        lambda i, s, h, o, p: tf.logical_and(tf.reduce_any(h < 0.99), i < 10), body, start, shape_invariants=invariants
    )
    loss = tf.reduce_mean(out**2) + 0.01 * tf.reduce_mean(ponder)
    train = minimize(tf.train.AdamOptimizer(0.01), loss)
    return Graph([{x: normal(3, 3)}, {x: normal(5, 3, seed=1)}], [out, halted, ponder, loss], train)


@graph()
def page_rank_until_it_settles() -> Graph:
    edges = tf.placeholder(tf.int64, [None, 2], name="edges")
    count = 6
    degree = tf.math.unsorted_segment_sum(tf.ones_like(edges[:, 0], tf.float32), edges[:, 0], count)
    weights = 1.0 / tf.gather(degree, edges[:, 0])
    matrix = tf.sparse.reorder(tf.SparseTensor(tf.reverse(edges, [1]), weights, [count, count]))

    def body(i: Any, old: Any, _: Any) -> tuple[Any, Any, Any]:
        hanging = tf.reduce_sum(tf.where(degree > 0, tf.zeros_like(degree), tf.squeeze(old, 1))) / count
        new = 0.15 / count + 0.85 * (tf.sparse.sparse_dense_matmul(matrix, old) + hanging)
        new.set_shape([count, 1])
        return i + 1, new, tf.reduce_max(tf.abs(new - old))

    start = [0, tf.fill([count, 1], 1.0 / count), 1.0]
    rounds, rank, _ = tf.while_loop(lambda i, r, d: (d > 1e-4) & (i < 100), body, start)
    links = np.array([[0, 1], [1, 2], [2, 0], [3, 0], [3, 5], [4, 3], [5, 0]], np.int64)
    return Graph([{edges: links}, {edges: links[:4]}], [rank, rounds, tf.nn.top_k(tf.squeeze(rank, 1), 3).indices])


@graph()
def ordinary_differential_equation_with_gradient() -> Graph:
    y0 = tf.placeholder(tf.float64, [None, 2], name="y0")
    w1 = tf.get_variable("w1", initializer=normal(2, 6).astype(np.float64) * 0.3)
    w2 = tf.get_variable("w2", initializer=normal(6, 2).astype(np.float64) * 0.3)

    def f(y: Any) -> Any:
        return tf.matmul(tf.tanh(tf.matmul(y**3, w1)), w2)

    def step(i: Any, y: Any) -> tuple[Any, Any]:
        h = tf.constant(0.1, tf.float64)
        k1 = f(y)
        k2 = f(y + h / 2 * k1)
        k3 = f(y + h / 2 * k2)
        k4 = f(y + h * k3)
        return i + 1, y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    y = tf.while_loop(lambda i, _: i < 8, step, [0, y0])[1]
    loss = tf.reduce_mean(tf.abs(y - 1))
    train = tf.train.RMSPropOptimizer(0.01).minimize(loss)
    return Graph({y0: normal(4, 2).astype(np.float64)}, [y, loss, tf.gradients(loss, y0)[0]], train)


@graph()
def zoneout_with_layer_norm_in_raw_rnn() -> Graph:
    x = tf.placeholder(tf.float32, [4, None, 3], name="x")
    lengths = tf.placeholder(tf.int32, [None], name="lengths")
    cell, batch = LSTMCell(5), tf.shape(x)[1]
    inputs = tf.TensorArray(tf.float32, 4, element_shape=[None, 3]).unstack(x)

    def loop_fn(time: Any, output: Any, state: Any, _: Any) -> tuple[Any, ...]:
        if output is None:
            state = cell.zero_state(batch, tf.float32)
            return time >= lengths, inputs.read(0), state, tf.zeros([5]), None
        mean, variance = tf.nn.moments(output, [1], keepdims=True)
        emit = (output - mean) * tf.math.rsqrt(variance + 1e-5)
        done = time >= lengths
        following = tf.cond(
            tf.reduce_all(done), lambda: tf.zeros([batch, 3]), lambda: inputs.read(tf.minimum(time, 3)) + emit[:, :3]
        )
        following.set_shape([None, 3])
        return done, following, state, emit, None

    outputs, (c, h), _ = tf.nn.raw_rnn(cell, loop_fn)
    logits = dense(c + h, 3)
    labels, loss = classified(logits, integers(3, 2))
    train = minimize(tf.train.AdagradOptimizer(0.1), loss)
    feeds = {x: normal(4, 2, 3), lengths: np.array([4, 2], np.int32), labels: integers(3, 2)}
    return Graph(feeds, [outputs.stack(), logits, loss], train)


@graph()
def states_that_stop_early() -> Graph:
    """A loop over a nest, with a flag of its own to leave it."""
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    limit = tf.placeholder_with_default(4.0, [], name="limit")

    def body(state: dict[str, Any]) -> list[dict[str, Any]]:
        value = state["value"] * 1.5 + tf.reduce_mean(x)
        history = tf.tensor_scatter_nd_update(state["history"], state["i"][None, None], value[None])
        return [{"i": state["i"] + 1, "value": value, "history": history, "done": tf.abs(value) > limit}]

    start = {"i": tf.constant(0), "value": tf.reduce_max(x), "history": tf.zeros([12]), "done": tf.constant(False)}
    end = tf.while_loop(lambda s: ~s["done"] & (s["i"] < 12), body, [start])
    end = end[0] if isinstance(end, list) else end
    return Graph(
        [{x: uniform(2, 3)}, {x: uniform(2, 3), limit: 50.0}], [end["i"], end["value"], end["history"], end["done"]]
    )


@graph()
def hessian_and_jacobian_by_loops() -> Graph:
    x = tf.placeholder(tf.float32, [4], name="x")
    w = tf.get_variable("w", initializer=normal(4, 4))
    energy = tf.reduce_sum(tf.tanh(tf.linalg.matvec(w, x)) * x) + 0.5 * tf.reduce_sum(x**2)
    hessian = tf.hessians(energy, x)[0]
    newton = x - tf.squeeze(tf.linalg.solve(hessian + 3 * tf.eye(4), tf.gradients(energy, x)[0][:, None]), 1)
    product = tf.gradients(tf.reduce_sum(tf.gradients(energy, x)[0] * tf.stop_gradient(x)), x)[0]
    train = tf.train.GradientDescentOptimizer(0.1).minimize(energy)
    return Graph({x: normal(4)}, [energy, hessian, newton, product], train)
