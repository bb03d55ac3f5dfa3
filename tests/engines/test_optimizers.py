"""Updates of several variables that one step does are TensorFlow's, one by one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_models import session

import graphrack as gr

RNG = np.random.default_rng(11)
OPTIMIZERS: dict[str, Any] = {
    "descent": tf.train.GradientDescentOptimizer,
    "momentum": lambda rate: tf.train.MomentumOptimizer(rate, 0.9),
    "nesterov": lambda rate: tf.train.MomentumOptimizer(rate, 0.9, use_nesterov=True),
    "adam": tf.train.AdamOptimizer,
    "adagrad": tf.train.AdagradOptimizer,
    "adadelta": tf.train.AdadeltaOptimizer,
    "rmsprop": lambda rate: tf.train.RMSPropOptimizer(rate, momentum=0.5),
    "centered": lambda rate: tf.train.RMSPropOptimizer(rate, centered=True),
    "ftrl": lambda rate: tf.train.FtrlOptimizer(rate, l1_regularization_strength=0.01),
    "proximal": lambda rate: tf.train.ProximalAdagradOptimizer(rate, l1_regularization_strength=0.01),
}
SHAPES = [(), (1,), (5,), (2, 3), (1, 4, 1), (3, 0), (70, 70), (60, 50), (60, 60)]


def normal(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.normal(size=shape).astype(dtype)


def same(found: Any, expected: Any) -> None:
    """Asserts that they are equal but for rounding: of what was added up, too, numbers as large as the largest."""
    rounding = 4 * np.finfo(expected.dtype).eps * np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=max(1e-6, rounding))


class Event(NamedTuple):
    """What happens to some variables: updates by an optimizer; or to the first of them: a read, an assignment.

    Attributes:
        relay: how it waits for everything before.
    """

    kind: str
    variables: frozenset[int]
    optimizer: int
    relay: str


EVENTS = st.builds(
    Event,
    st.sampled_from(["update"] * 5 + ["read", "assign"]),
    st.frozensets(st.integers(0, 5), min_size=1),
    st.integers(0, 1),
    st.sampled_from(["direct", "group", "identity", "not at all"]),
)


def waiting_for(before: list[Any], relay: str) -> list[Any]:
    if relay == "group":
        return [tf.group(*before)]
    return [tf.identity(one) if isinstance(one, tf.Tensor) else tf.group(one) for one in before]


@settings(max_examples=30)
@given(data=st.data(), resources=st.booleans(), events=st.lists(EVENTS, min_size=1, max_size=6))
def test_updates_in_the_order_of_the_graph_are_tensorflows(
    data: st.DataObject, resources: bool, events: list[Event]
) -> None:
    with tempfile.TemporaryDirectory() as folder, session() as sess:
        dtype = data.draw(st.sampled_from([np.float32, np.float64]))
        shapes = data.draw(st.lists(st.sampled_from(SHAPES), min_size=6, max_size=6))
        variables = [tf.Variable(normal(*shape, dtype=dtype), use_resource=resources) for shape in shapes]
        rates = {
            "number": 0.05,
            "fed": tf.placeholder_with_default(dtype(0.05), []),
            "variable": tf.Variable(dtype(0.05), use_resource=resources, trainable=False),
        }
        # TensorFlow makes the numbers of this one float32 whatever they are.
        names = sorted(OPTIMIZERS.keys() - ({"proximal"} if dtype is np.float64 else set()))
        chosen = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=2))
        optimizers = [OPTIMIZERS[name](rates[data.draw(st.sampled_from(sorted(rates)))]) for name in chosen]
        done: list[Any] = []
        reads: list[Any] = []
        touched: set[Any] = set()
        for number, event in enumerate(events):
            some = [variables[i] for i in sorted(event.variables)]
            # Without order TensorFlow has none either: of what touches a variable again, or Adam's powers.
            again = not touched.isdisjoint((*event.variables, f"optimizer {event.optimizer}"))
            touched.update((*event.variables, f"optimizer {event.optimizer}"))
            with tf.control_dependencies(waiting_for(done, event.relay) if again or event.relay[0] != "n" else []):
                if event.kind == "update":
                    grads = [tf.constant(normal(*v.shape, dtype=dtype)) for v in some]
                    done.append(optimizers[event.optimizer].apply_gradients(zip(grads, some, strict=True)))
                elif event.kind == "assign":
                    done.append(some[0].assign(tf.fill(some[0].shape, dtype(number))).op)
                else:
                    reads.append(tf.add(some[0].read_value(), 0, name=f"read{number}"))
                    done.append(reads[-1])
        train = tf.group(*done, name="train")
        sess.run(tf.global_variables_initializer())
        prefix = tf.train.Saver(tf.global_variables()).save(sess, f"{folder}/m")
        model, fetches = gr.load(f"{prefix}.meta", engine="numpy"), [train.name, *(read.name for read in reads)]
        for _ in range(4):
            for one, other in zip(model.run(fetches)[1:], sess.run(fetches)[1:], strict=True):
                same(one, other)
        for variable in tf.global_variables():
            found = model.variables[variable.op.name]
            same(found, sess.run(variable))


def steps(model: gr.Model, fetches: Any, feeds: Any) -> list[str]:
    """The ops of the steps that a run consists of, once it is known that values are small."""
    for _ in range(2):
        model.run(fetches, feeds)
    return [step.op for step in model.explain(fetches, feeds).steps]


@pytest.fixture(params=["adam", "momentum", "ftrl"])
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three layers and their optimizer, saved; the gradient of `loose` is fed."""
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        for _ in range(3):
            x = tf.tanh(x @ tf.Variable(normal(3, 3)) + tf.Variable(normal(3)))
        loose = tf.Variable(normal(4), name="loose")
        given = tf.placeholder(tf.float32, name="given")
        optimizer = OPTIMIZERS[request.param](0.1)
        pairs = optimizer.compute_gradients(tf.reduce_mean(x))
        optimizer.apply_gradients([*[pair for pair in pairs if pair[0] is not None], (given, loose)], name="train")
        sess.run(tf.global_variables_initializer())
        return Path(tf.train.Saver().save(sess, str(tmp_path / "m")))


FED = {"x": np.ones((2, 3), "f"), "given": np.ones(4, "f")}


def values(model: gr.Model) -> dict[str, Any]:
    return {name: np.array(model.variables[name]) for name in model.variables}


def test_an_optimizers_updates_are_one_step(trained: Path) -> None:
    found = steps(gr.load(f"{trained}.meta"), "train", FED)
    assert len([op for op in found if "Apply" in op]) <= 3  # two of Adam's take the powers of its rates


def test_what_fails_changes_nothing_and_names_its_node(trained: Path) -> None:
    model = gr.load(f"{trained}.meta")
    for _ in range(3):
        model.run("train", FED)
    before = values(model)
    with pytest.raises(gr.OpError, match=r"node 'train/update_loose/Apply\w+' .* found \[4\] and \[5\]"):
        model.run("train", {**FED, "given": np.ones(5, "f")})
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name])
    model.run("train", FED)


def test_models_of_one_graph_train_by_themselves(trained: Path) -> None:
    """In turn, restored in between, and with variables assigned: each goes on from its own values."""
    judge = gr.load(f"{trained}.meta")
    expected = []
    for _ in range(4):
        judge.run("train", FED)
        expected.append(values(judge))
    models = [gr.load(f"{trained}.meta") for _ in range(3)]
    for step in range(4):
        for model in models:
            model.run("train", FED)
        if step == 1:
            models[1].restore(trained)
            models[2].variables["loose"] = np.zeros(4, "f")
    for model, at in ((models[0], 3), (models[1], 1)):
        for name, value in values(model).items():
            np.testing.assert_allclose(value, expected[at][name], rtol=1e-6, err_msg=name)
    for name, value in values(models[2]).items():
        assert ("loose" in name) or np.allclose(value, expected[3][name], rtol=1e-6), name
    assert abs(values(models[2])["loose"]).max() < 2


def test_a_variable_without_a_value_is_named(trained: Path) -> None:
    alone = trained.parent / "alone" / "m.meta"
    alone.parent.mkdir()
    alone.write_bytes(trained.with_name("m.meta").read_bytes())
    with pytest.raises(gr.UninitializedError, match="no values: 'Variable"):
        gr.load(alone).run("train", FED)
