"""Control inputs: what needn't be waited for isn't, and the order of reads and writes stays TensorFlow's."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_control_flow import control_flow
from tf_models import session

import graphrack as gr


class Event(NamedTuple):
    """A read or a write of a variable, and how it waits for all events before."""

    kind: str
    variable: int
    relay: str


RELAYS = ("direct", "group", "identity", "tuple", "unused", "by its constant", "by a chain")
EVENTS = st.builds(
    Event, st.sampled_from(["read", "product", "assign", "add"]), st.integers(0, 1), st.sampled_from(RELAYS)
)


def waiting_for(before: Sequence[Any], relay: str) -> list[Any]:
    """What stands for the events before, as it is waited for."""
    if not before or relay in ("direct", "by its constant", "by a chain"):
        return list(before)
    if relay == "group":
        return [tf.group(*before)]
    if relay == "identity":
        return [tf.identity(value) for value in before]
    if relay == "tuple":
        return tf.tuple([value + 1.0 for value in before])
    return [tf.add_n(list(before)) * 2.0]


def happens(event: Event, variable: Any, number: float, before: Sequence[Any]) -> Any:
    with tf.control_dependencies(waiting_for(before, event.relay)):
        if event.kind == "read":
            return variable.read_value()
        if event.kind == "product":
            return tf.nn.relu(tf.matmul(variable.read_value(), tf.eye(2) * 2.0))
        write = variable.assign if event.kind == "assign" else variable.assign_add
        value = tf.constant(number, shape=[2, 2])
        if event.relay not in ("by its constant", "by a chain"):
            return write(value)
    # Only what is written has waited.
    return write(tf.square(tf.identity(value)) - 1.0 if event.relay == "by a chain" else value)


@settings(max_examples=25)
@given(st.lists(EVENTS, min_size=2, max_size=7), st.booleans(), st.data())
def test_reads_and_writes_keep_the_order_that_the_graph_gives_them(
    events: list[Event], resources: bool, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder, session() as sess:
        variables = [tf.Variable(np.full([2, 2], i + 1.0, "f"), use_resource=resources) for i in range(2)]
        done: list[Any] = []
        for number, event in enumerate(events):
            found = happens(event, variables[event.variable], float(number), done)
            # A reference is read when it is fetched: what is compared is the value at once.
            with tf.control_dependencies([found]):
                done.append(tf.add(found, 0.0, name=f"event{number}"))
        taken = data.draw(st.sets(st.integers(0, len(done) - 1), min_size=1))
        fetches = [done[i].name for i in sorted({*taken, len(done) - 1})]
        sess.run(tf.global_variables_initializer())
        saver = tf.train.Saver()
        prefix = saver.save(sess, f"{folder}/m")
        expected = []
        for _ in range(2):
            values = sess.run(fetches)
            expected.append((values, sess.run(variables)))
        for engine in ("numpy", "openvino"):
            model = gr.load(prefix, engine=engine)
            for values, after in expected:
                for one, other in zip(model.run(fetches), values, strict=True):
                    np.testing.assert_array_equal(one, other)
                for variable, value in zip(variables, after, strict=True):
                    np.testing.assert_array_equal(model.variables[variable.op.name], value)


def dense(x: Any, units: int) -> Any:
    name = f"layer{len(tf.trainable_variables()) // 2}"
    weights = tf.get_variable(f"{name}/weights", [x.shape[-1], units], initializer=tf.glorot_uniform_initializer(1))
    bias = tf.get_variable(f"{name}/bias", [units])
    return tf.nn.relu(tf.nn.bias_add(tf.matmul(x, weights, name=f"{name}/MatMul"), bias))


def steps_of(model: gr.Model, fetch: str, feeds: dict[str, Any]) -> list[str]:
    return [step.name for step in model.explain(fetch, feeds).steps]


def test_a_gradient_that_only_its_neighbours_wait_for_is_not_computed(tmp_path: Path) -> None:
    data = np.ones((4, 3), np.float32)
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        loss = tf.reduce_mean(tf.square(dense(dense(x, 5), 2)))
        step = tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="step")
        sess.run(tf.global_variables_initializer())
        prefix = tf.train.Saver().save(sess, str(tmp_path / "m"))
        model = gr.load(prefix, engine="numpy")
        names = steps_of(model, "step", {"x": data})
        assert "gradients/layer0/MatMul_grad/MatMul_1" in names
        assert "gradients/layer0/MatMul_grad/MatMul" not in names  # of x, which nobody takes
        assert "gradients/layer1/MatMul_grad/MatMul" in names
        for _ in range(3):
            sess.run(step, {x: data})
            model.run("step", {"x": data})
        for variable in tf.global_variables():
            np.testing.assert_allclose(model.variables[variable.op.name], sess.run(variable), rtol=1e-5, atol=1e-6)


def test_gradients_that_wait_for_each_other_make_one_cluster(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 64], name="x")
        hidden = x
        for _ in range(3):
            hidden = dense(hidden, 64)
        loss = tf.reduce_sum(tf.square(hidden))
        tf.train.GradientDescentOptimizer(1e-4).minimize(loss, name="step")
        sess.run(tf.global_variables_initializer())
        prefix = tf.train.Saver().save(sess, str(tmp_path / "m"))
    plan = gr.load(prefix, engine="openvino").explain("step", {"x": np.ones((8, 64), np.float32)})
    assert len(plan.clusters) == 1


@pytest.mark.parametrize("check", ["numerics", "assert"])
def test_checks_that_are_waited_for_are_made(tmp_path: Path, check: str) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None], name="x")
        checked = (
            tf.check_numerics(tf.log(x), "no logarithm")
            if check == "numerics"
            else tf.debugging.assert_positive(x, message="no logarithm")
        )
        with tf.control_dependencies([tf.group(checked)]):
            tf.multiply(x, 2.0, name="y")
        with pytest.raises(tf.errors.InvalidArgumentError, match="no logarithm"):
            sess.run("y:0", {x: [1.0, -1.0]})
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "m.meta")
    assert model.run("y", {"x": [1.0, 3.0]}).tolist() == [2.0, 6.0]
    with pytest.raises(gr.OpError, match="no logarithm"):
        model.run("y", {"x": [1.0, -1.0]})


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("taken", [False, True])
def test_what_waits_in_a_branch_happens_in_that_branch_alone(tmp_path: Path, functional: bool, taken: bool) -> None:
    with control_flow(functional), session() as sess:
        p = tf.placeholder(tf.bool, [], name="p")
        v = tf.Variable(1.0, use_resource=True)

        def writes() -> Any:
            with tf.control_dependencies([tf.square(v.read_value())]):
                written = v.assign_add(10.0)
            with tf.control_dependencies([tf.identity(written)]):
                return tf.constant(5.0)

        found = tf.cond(p, writes, lambda: tf.constant(7.0))
        with tf.control_dependencies([tf.square(found)]):
            after = tf.identity(v.read_value(), name="after")
        sess.run(tf.global_variables_initializer())
        prefix = tf.train.Saver().save(sess, str(tmp_path / "m"))
        expected = sess.run(after, {p: taken})
    model = gr.load(prefix)
    assert model.run("after", {"p": taken}) == expected == (11.0 if taken else 1.0)
