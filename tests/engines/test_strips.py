"""Chains of elementwise steps run strip by strip: what comes out is what the steps give one by one, and TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from peaks import peak_of

import graphrack as gr
from graphrack.engines.interpreter import memory, strips
from graphrack.formats.protos.graph_pb2 import NodeDef

RNG = np.random.default_rng(7)
SHAPES = ((12,), (6, 5), (2, 3, 4), (2, 1, 3, 5), (7, 1))

# Of values between -2 and 2, and what comes of them.
UNARY: Sequence[Callable[[Any], Any]] = (
    tf.abs, tf.exp, tf.negative, tf.square, tf.tanh, tf.sigmoid, tf.erf, tf.nn.relu, tf.nn.relu6, tf.nn.leaky_relu,
    tf.nn.elu, tf.nn.selu, tf.nn.softplus, tf.nn.softsign,
    lambda x: tf.sqrt(tf.abs(x)), lambda x: tf.rsqrt(x * x + 1.0), lambda x: tf.log(tf.square(x) + 0.5),
    lambda x: tf.log1p(tf.abs(x)), lambda x: tf.reciprocal(tf.abs(x) + 1.0),
    lambda x: tf.pow(x, 2.0), lambda x: tf.pow(x, 3.0), lambda x: tf.pow(tf.abs(x), 0.3),
    lambda x: tf.maximum(x, 0.25), lambda x: tf.minimum(tf.constant(0.25, x.dtype), x), lambda x: 2.0 - x,
    lambda x: x * tf.constant([0.5], x.dtype),
)  # fmt: skip
BINARY: Sequence[Callable[[Any, Any], Any]] = (
    tf.add, tf.subtract, tf.multiply, tf.maximum, tf.minimum, tf.squared_difference,
    lambda x, y: x / (tf.abs(y) + 1.0), lambda x, y: tf.pow(tf.abs(x) + 0.5, tf.tanh(y)),
)  # fmt: skip


class Strips:
    """How chains were run.

    Attributes:
        runs: for each run of a chain whether it was by strips.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.runs: list[bool] = []
        own = strips.Chain._by_strips

        def by_strips(chain: Any, frame: Any) -> bool:
            self.runs.append(own(chain, frame))
            return self.runs[-1]

        monkeypatch.setattr(strips.Chain, "_by_strips", by_strips)
        monkeypatch.setattr(memory, "LEAST_BYTES", 1)
        monkeypatch.setattr(strips, "LEAST_BYTES", 1)
        monkeypatch.setattr(strips, "FEWEST", 2)
        monkeypatch.setattr(strips, "_STRIP_BYTES", 45)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Strips:
    return Strips(monkeypatch)


def written(folder: Path, graph: tf.Graph) -> Path:
    tf.io.write_graph(graph.as_graph_def(), str(folder), "g.pb", as_text=False)
    return folder / "g.pb"


def compare(folder: Path, graph: tf.Graph, names: Sequence[str], fed: dict[str, Any]) -> None:
    """Asserts that several runs give what the steps give one by one, and what TensorFlow gives."""
    before = {name: value.copy() for name, value in fed.items()}
    with tf.Session(graph=graph) as session:
        judged = session.run(list(names), {f"{name}:0": value for name, value in fed.items()})
    path = written(folder, graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "LEAST_BYTES", 1 << 60)
        expected = gr.load(path, engine="numpy").run(list(names), fed)
    model = gr.load(path, engine="numpy")
    for _ in range(3):
        for found, one, judge in zip(model.run(list(names), fed), expected, judged, strict=True):
            assert (found.dtype, found.shape) == (judge.dtype, judge.shape)
            np.testing.assert_array_equal(found, one)
            np.testing.assert_allclose(found, judge, rtol=2e-4, atol=2e-5)
        for name, value in fed.items():
            np.testing.assert_array_equal(value, before[name])


instructions = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SHAPES),
    st.sampled_from((np.float32, np.float64)),
    instructions,
    st.lists(st.integers(0, 50), max_size=2),
    st.integers(0, 9),
)
def test_chains_give_what_their_steps_give(
    tmp_path_factory: Any,
    shape: tuple[int, ...],
    dtype: Any,
    program: list[tuple[int, int, int]],
    fetched: list[int],
    seed: int,
) -> None:
    rng, graph = np.random.default_rng(seed), tf.Graph()
    fed = {
        "x": rng.uniform(-2, 2, shape).astype(dtype),
        "row": rng.uniform(-2, 2, shape[-1:]).astype(dtype),
        "long_row": rng.uniform(-2, 2, (1,) * (len(shape) - 1) + shape[-1:]).astype(dtype),
        "column": rng.uniform(-2, 2, (*shape[:-1], 1)).astype(dtype),
        "number": np.asarray(rng.uniform(-2, 2), dtype),
    }
    with graph.as_default():
        values = [tf.placeholder(dtype, value.shape, name) for name, value in fed.items()]
        values.append(tf.tanh(tf.reverse(values[0], [0])))  # an array of the plan's own
        for which, a, b in program:
            x, y = values[-1 - a % min(len(values), 8)], values[-1 - b % len(values)]
            op = which % (len(UNARY) + 2 * len(BINARY))
            values.append(UNARY[op](x) if op < len(UNARY) else BINARY[op % len(BINARY)](x, y))
        names = [tf.identity(values[-1 - i % len(values)]).name for i in (0, *fetched)]
    with pytest.MonkeyPatch.context() as patch:
        Strips(patch)
        compare(tmp_path_factory.mktemp("m"), graph, names, fed)


def gelu(h: Any) -> Any:
    return h * (0.5 * (1.0 + tf.tanh(0.8 * (h + 0.044715 * tf.pow(h, 3.0)))))


@pytest.mark.parametrize("rows", [1, 2, 3, 64])
def test_gelu_and_a_normalization_are_run_by_strips(tmp_path: Path, noted: Strips, rows: int) -> None:
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [None, 6], name="x")
        w, b = (tf.constant(RNG.normal(size=size).astype(np.float32)) for size in ((6, 5), (5,)))
        h = gelu(tf.nn.bias_add(tf.matmul(x, w), b))
        mean, variance = tf.nn.moments(h, [1], keepdims=True)
        y = tf.nn.batch_normalization(h, mean, variance, b, b * 2.0, 1e-3)
        tf.reduce_sum(y, 1, name="y")
    compare(tmp_path, graph, ["y:0"], {"x": RNG.normal(size=(rows, 6)).astype(np.float32)})
    assert noted.runs == [False] * 2 + [True] * 6  # two chains: the run to compare with, and three


def test_small_values_and_other_shapes_are_run_one_by_one(tmp_path: Path, noted: Strips) -> None:
    graph = tf.Graph()
    with graph.as_default():
        x, y = (tf.placeholder(tf.float32, None, name=name) for name in "xy")
        tf.reduce_max(tf.tanh(tf.nn.relu(tf.exp(x) + y) * 2.0), name="z")
    model = gr.load(written(tmp_path, graph), engine="numpy")
    session = tf.Session(graph=graph)

    def by_strips(*shapes: tuple[int, ...], least: int = 1) -> bool:
        strips.LEAST_BYTES = least
        fed = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in zip("xy", shapes, strict=True)}
        noted.runs.clear()
        judge = session.run("z:0", {f"{name}:0": value for name, value in fed.items()})
        np.testing.assert_allclose(model.run("z", fed), judge, rtol=1e-5)
        (run,) = noted.runs
        return run

    assert by_strips((4, 5), (4, 5))
    assert by_strips((4, 5), (5,))
    assert by_strips((1, 5), (4, 5))
    assert not by_strips((4, 5), (4, 5), least=81)
    assert not by_strips((2, 4, 5), (2, 1, 5))
    assert not by_strips((4, 1), (1, 5))
    assert not by_strips((4, 5), (3, 1, 5))


def test_explanations_show_and_time_each_of_their_steps(tmp_path: Path, noted: Strips) -> None:
    graph = tf.Graph()
    with graph.as_default():
        tf.identity(gelu(tf.placeholder(tf.float32, [None, 5], name="x")), name="y")
    model, fed = gr.load(written(tmp_path, graph), engine="numpy"), {"x": RNG.normal(size=(6, 5)).astype(np.float32)}
    model.run("y", fed)
    assert noted.runs == [True]
    steps = model.explain("y", fed, profile=True).steps
    assert sorted(step.op for step in steps) == ["AddV2"] * 2 + ["Mul"] * 4 + ["Pow", "Tanh"]
    assert all(step.seconds is not None and step.seconds > 0 for step in steps)


def test_an_error_names_the_node_and_the_whole_shapes(tmp_path: Path, noted: Strips) -> None:
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, None, name="x")
        b = tf.placeholder(tf.float32, None, name="b")
        h = tf.nn.relu(tf.exp(x) * 2.0)
        tf.reduce_max(tf.tanh(tf.raw_ops.BiasAdd(value=h, bias=b, name="sum")), name="y")
    model = gr.load(written(tmp_path, graph), engine="numpy")
    x, b = RNG.normal(size=(7, 5)).astype(np.float32), np.ones(5, np.float32)
    assert np.isfinite(model.run("y", {"x": x, "b": b}))
    for wrong in (np.ones(7, np.float32), np.ones((1, 5), np.float32), np.ones((), np.float32)):
        with pytest.raises(gr.GraphrackError, match=r"'sum' \(BiasAdd\).*\(7, 5\)"):
            model.run("y", {"x": x, "b": wrong})
    with pytest.raises(gr.GraphrackError, match=r"'sum' \(BiasAdd\).*\(5,\)"):
        model.run("y", {"x": x[0], "b": b})
    assert np.isfinite(model.run("y", {"x": x, "b": b}))


def test_a_chain_takes_the_memory_of_one_value_more(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [None, 512], name="x")
        tf.reduce_sum(gelu(x), name="y")
    path, fed = written(tmp_path, graph), {"x": np.ones((16384, 512), np.float32)}  # 32 MiB
    assert peak_of(lambda: gr.load(path, engine="numpy").run("y", fed), 40 << 20) < 40 << 20


def test_a_node_without_its_type_stays_as_it_is_and_alone() -> None:
    node = NodeDef(name="a", op="LeakyRelu", input=["x"])
    assert not strips.is_elementwise(node)
    assert not node.attr
