"""Branches and loops, TF1's and TF2's, mean what TensorFlow's mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from peaks import peak_of
from tf_control_flow import both, control_flow, judge
from tf_models import session

import graphrack as gr


@both
def test_cond_takes_the_branch_that_the_predicate_says(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        x, p = tf.placeholder(tf.float32, [None], name="x"), tf.placeholder(tf.bool, [], name="p")
        one = tf.cond(p, lambda: x * 2, lambda: x + 1)
        constants = tf.cond(p, lambda: tf.constant(1), lambda: tf.constant(2))
        pair = tf.cond(p, lambda: (x, tf.constant(3.0)), lambda: (-x, tf.constant(4.0)))
        return one, constants, pair, one + tf.cast(constants, tf.float32)

    judge(tmp_path, build, [{"x:0": [1, 2], "p:0": True}, {"x:0": [1, 2], "p:0": False}], v2=v2)


@both
def test_conds_nest(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        x = tf.placeholder(tf.float32, [], name="x")
        inner = lambda: tf.cond(x > 5, lambda: tf.cond(x > 7, lambda: x, lambda: x * 10), lambda: tf.constant(-1.0))
        outer = tf.cond(x > 2, inner, lambda: tf.cond(x > 0, lambda: x * 100, lambda: tf.constant(0.5)))
        return outer, tf.case([(x > 6, lambda: 1), (x > 4, lambda: 2)], default=lambda: 3)

    judge(tmp_path, build, [{"x:0": v} for v in (-1, 1, 3, 5.5, 6, 8)], v2=v2)


@both
def test_a_branch_not_taken_does_not_run(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        x = tf.placeholder(tf.int32, [], name="x")
        return tf.cond(tf.equal(x, 0), lambda: tf.constant(7), lambda: 100 // x)

    judge(tmp_path, build, [{"x:0": 0}, {"x:0": 3}], v2=v2)


@both
def test_batch_norm_and_dropout_behind_a_training_switch(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        x, training = (
            tf.placeholder(tf.float32, [None, 4, 4, 3], name="x"),
            tf.placeholder_with_default(False, [], name="t"),
        )
        gamma = tf.get_variable("gamma", initializer=np.ones(3, np.float32))
        mean, variance = tf.cond(
            training,
            lambda: tuple(tf.nn.moments(x, [0, 1, 2])),
            lambda: (tf.constant([0.1, 0.2, 0.3]), tf.constant([1.0, 2.0, 3.0])),
        )
        normalized = tf.nn.batch_normalization(x, mean, variance, None, gamma, 1e-3)
        return tf.cond(training, lambda: normalized * 1.0, lambda: tf.nn.relu(normalized))

    data = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    judge(tmp_path, build, [{"x:0": data}, {"x:0": data, "t:0": True}], v2=v2, variables=True)


@both
def test_while_loops_run_and_nest(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        n, x = tf.placeholder(tf.int32, [], name="n"), tf.placeholder(tf.float32, [None], name="x")
        i, total = tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t + x * tf.cast(i, tf.float32)), [0, x])

        def row(i: Any, t: Any) -> Any:
            inner = tf.while_loop(lambda j, s: j <= i, lambda j, s: (j + 1, s + j * i), [0, 0])[1]
            return i + 1, t + inner

        nested = tf.while_loop(lambda i, t: i < n, row, [0, 0])
        branching = tf.while_loop(
            lambda i, t: i < n,
            lambda i, t: (i + 1, tf.cond(tf.equal(i % 2, 0), lambda: t + i, lambda: t * 2)),
            [0, 1],
        )
        inside_cond = tf.cond(
            n > 2, lambda: tf.while_loop(lambda i: i < n * n, lambda i: i + 3, [0]), lambda: tf.constant(-5)
        )
        return i, total, nested, branching, inside_cond, inside_cond + 1

    judge(tmp_path, build, [{"n:0": n, "x:0": [0.5, 2]} for n in (0, 1, 3, 10)], v2=v2)


@both
def test_loops_grow_shapes_and_keep_invariants(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        w = tf.get_variable("w", initializer=np.eye(2, dtype=np.float32) * 2)
        return tf.while_loop(
            lambda i, y: tf.logical_and(i < 4, tf.reduce_sum(y) < 1000),
            lambda i, y: (i + 1, tf.concat([y, tf.matmul(y[-1:], w)], 0)),
            [tf.constant(0), x],
            shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 2])],
        )

    judge(tmp_path, build, [{"x:0": [[1, 2]]}, {"x:0": [[300.0, 500], [300, 500]]}], v2=v2, variables=True)


@both
def test_loops_that_write_variables(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        n = tf.placeholder(tf.int32, [], name="n")
        v = tf.get_variable("v", initializer=np.float32(1), use_resource=True)

        def step(i: Any) -> Any:
            with tf.control_dependencies([v.assign_add(tf.cast(i, tf.float32))]):
                return i + 1

        done = tf.while_loop(lambda i: i < n, step, [0], parallel_iterations=1)
        with tf.control_dependencies([done]):
            return tf.identity(v.read_value(), name="after")

    model = judge(tmp_path, build, [{"n:0": 3}, {"n:0": 5}, {"n:0": 0}], v2=v2, variables=True)
    assert model.variables["v"] == 1 + 3 + 10


def test_reference_variables_in_branches_are_read_and_written_when_taken(tmp_path: Path) -> None:
    def build() -> Any:
        p = tf.placeholder(tf.bool, [], name="p")
        v = tf.Variable(1.0, name="v")
        changed = tf.cond(p, lambda: tf.assign_add(v, 10.0), lambda: tf.identity(v))
        with tf.control_dependencies([changed]):
            return changed, tf.identity(v.read_value())

    model = judge(tmp_path, build, [{"p:0": b} for b in (False, True, True, False)], v2=False, variables=True)
    assert model.variables["v"] == 21


@both
def test_gradients_of_branches_and_loops(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        x, n = tf.placeholder(tf.float32, [2], name="x"), tf.placeholder(tf.int32, [], name="n")
        power = tf.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * x), [0, tf.ones_like(x)])[1]
        branch = tf.cond(n > 2, lambda: tf.sin(power), lambda: power**2)
        return power, branch, tf.gradients(branch, x)[0]

    judge(tmp_path, build, [{"x:0": [0.5, 1.5], "n:0": n} for n in (1, 2, 3, 5)], v2=v2)


@both
def test_dynamic_rnn_runs(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        x = tf.placeholder(tf.float32, [None, None, 3], name="x")
        lengths = tf.placeholder(tf.int32, [None], name="lengths")
        rng = np.random.default_rng(0)
        w = tf.get_variable("w", initializer=rng.normal(size=(7, 4)).astype(np.float32))
        steps = tf.shape(x)[1]
        inputs = tf.TensorArray(tf.float32, steps).unstack(tf.transpose(x, [1, 0, 2]))

        def step(t: Any, state: Any, outputs: Any) -> Any:
            new = tf.tanh(tf.matmul(tf.concat([inputs.read(t), state], 1), w))
            new = tf.where(tf.tile((t < lengths)[:, None], [1, 4]), new, state)
            return t + 1, new, outputs.write(t, new)

        start = tf.zeros([tf.shape(x)[0], 4])
        _, final, outputs = tf.while_loop(
            lambda t, *_: t < steps, step, [0, start, tf.TensorArray(tf.float32, steps, element_shape=[None, 4])]
        )
        result = tf.transpose(outputs.stack(), [1, 0, 2])
        return final, result, tf.gradients(tf.reduce_sum(result), w)[0]

    data = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    judge(
        tmp_path,
        build,
        [{"x:0": data, "lengths:0": [5, 3]}, {"x:0": data[:, :1], "lengths:0": [1, 0]}],
        v2=v2,
        variables=True,
    )


@both
def test_a_million_trips_take_constant_memory(tmp_path: Path, v2: bool) -> None:
    with control_flow(v2), session() as sess:
        n = tf.placeholder(tf.int32, [], name="n")
        tf.identity(tf.while_loop(lambda i: i < n, lambda i: i + 1, [0]), name="out")
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "m.meta")
    assert model.run("out", {"n": 10}) == 10
    assert peak_of(lambda: model.run("out", {"n": 100_000}), 500_000) < 500_000
    assert model.run("out", {"n": 1_000_000}) == 1_000_000


def test_a_dead_tensor_cannot_be_fetched(tmp_path: Path) -> None:
    with control_flow(False), session() as sess:
        p = tf.placeholder(tf.bool, [], name="p")
        tf.cond(p, lambda: tf.constant(1.0, name="yes"), lambda: tf.constant(2.0, name="no"))
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "m.meta")
    assert model.run("cond/yes", {"p": True}) == 1
    with pytest.raises(gr.OpError, match="'cond/yes:0' has no value.*not taken"):
        model.run("cond/yes", {"p": False})


@both
def test_an_error_inside_a_loop_names_the_node(tmp_path: Path, v2: bool) -> None:
    with control_flow(v2), session() as sess:
        n = tf.placeholder(tf.int32, [], name="n")
        out = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.floordiv(y, n - i, name="divide")), [0, 100])
        tf.identity(out[1], name="out")
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "m.meta")
    with pytest.raises(gr.OpError, match=r"divide.*FloorDiv"):
        model.run("out", {"n": 2})


def test_a_recursive_function_runs(tmp_path: Path) -> None:
    """A function that calls itself through If, as only a graph made by hand or by a tracer has it."""
    from google.protobuf import text_format

    from graphrack.formats.protos.graph_pb2 import GraphDef

    text = """
    node { name: "n" op: "Placeholder" attr { key: "dtype" value { type: DT_INT32 } } attr { key: "shape" value { shape {} } } }
    node { name: "zero" op: "Const" attr { key: "dtype" value { type: DT_INT32 } } attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 0 } } } }
    node { name: "more" op: "Greater" input: "n" input: "zero" attr { key: "T" value { type: DT_INT32 } } }
    node { name: "out" op: "If" input: "more" input: "n" attr { key: "Tcond" value { type: DT_BOOL } }
      attr { key: "Tin" value { list { type: DT_INT32 } } } attr { key: "Tout" value { list { type: DT_INT32 } } }
      attr { key: "then_branch" value { func { name: "add" } } } attr { key: "else_branch" value { func { name: "same" } } } }
    library {
      function { signature { name: "same" input_arg { name: "n" type: DT_INT32 } output_arg { name: "r" type: DT_INT32 } } ret { key: "r" value: "n" } }
      function { signature { name: "add" input_arg { name: "n" type: DT_INT32 } output_arg { name: "r" type: DT_INT32 } }
        node_def { name: "one" op: "Const" attr { key: "dtype" value { type: DT_INT32 } } attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 1 } } } }
        node_def { name: "less" op: "Sub" input: "n" input: "one:output:0" attr { key: "T" value { type: DT_INT32 } } }
        node_def { name: "zero" op: "Const" attr { key: "dtype" value { type: DT_INT32 } } attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 0 } } } }
        node_def { name: "more" op: "Greater" input: "less:z:0" input: "zero:output:0" attr { key: "T" value { type: DT_INT32 } } }
        node_def { name: "rest" op: "If" input: "more:z:0" input: "less:z:0" attr { key: "Tcond" value { type: DT_BOOL } }
          attr { key: "Tin" value { list { type: DT_INT32 } } } attr { key: "Tout" value { list { type: DT_INT32 } } }
          attr { key: "then_branch" value { func { name: "add" } } } attr { key: "else_branch" value { func { name: "same" } } } }
        node_def { name: "sum" op: "Add" input: "n" input: "rest:output:0" attr { key: "T" value { type: DT_INT32 } } }
        ret { key: "r" value: "sum:z:0" } } }
    """
    (tmp_path / "g.pb").write_bytes(text_format.Parse(text, GraphDef()).SerializeToString())
    model = gr.load(tmp_path / "g.pb")
    assert [int(model.run("out", {"n": n})) for n in (0, 1, 5, 10)] == [0, 1, 15, 55]


@both
def test_random_numbers_in_branches_are_each_branchs_own(tmp_path: Path, v2: bool) -> None:
    def build() -> Any:
        p, n = tf.placeholder(tf.bool, [], name="p"), tf.constant([3])
        draw = lambda: tf.random.uniform(n, seed=3)
        first, second = (tf.cond(p, draw, lambda: tf.zeros(n)) for _ in range(2))
        twice = tf.while_loop(
            lambda i, _: i < 3,
            lambda i, v: (i + 1, v + tf.cond(p, draw, draw)),
            (0, tf.zeros([3])),
            parallel_iterations=1,
        )[1]
        return first, second, twice

    judge(tmp_path, build, [{"p:0": True}, {"p:0": True}, {"p:0": False}], v2=v2)
