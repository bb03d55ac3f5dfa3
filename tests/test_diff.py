"""By how much tensors differ, and what differs between graphs."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import graphrack as gr
from graphrack.differing import compare_arrays, compare_tensors
from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.formats.tensor_files import open_tensors
from graphrack.graph.difference import compare_graphs

NAN, INF = math.nan, math.inf


def test_measures_of_a_known_case() -> None:
    found = compare_arrays(np.array([3.0, 4.0, 0.0]), np.array([3.0, 0.0, 0.0]))
    assert found == (3, 1, 4.0, pytest.approx(0.8), pytest.approx(0.6))


def test_equal_arrays_have_no_difference_and_nans_are_equal() -> None:
    a = np.array([1.0, NAN, INF, -INF, -0.0])
    assert compare_arrays(a, np.array([1.0, NAN, INF, -INF, 0.0])) == (5, 0, 0, 0.0, 1.0)
    assert compare_arrays(np.zeros(3), np.zeros(3)) == (3, 0, 0, 0.0, None)
    assert compare_arrays(np.zeros((0, 2)), np.zeros((0, 2))) == (0, 0, 0, 0.0, None)


@pytest.mark.parametrize(
    ("a", "b", "largest"),
    [(NAN, 1.0, NAN), (1.0, NAN, NAN), (INF, 1.0, INF), (INF, -INF, INF), (INF, NAN, NAN), (1e308, -1.7e308, INF)],
)
def test_what_is_not_finite_is_apart_by_nan_or_infinity(a: float, b: float, largest: float) -> None:
    for dtype in (np.float64, np.complex128):
        found = compare_arrays(np.array([a, 2.0], dtype), np.array([b, 2.0], dtype))
        assert found.different == 1
        assert found.max_abs == largest or (math.isnan(largest) and math.isnan(found.max_abs or 0))
        assert not found.within(1e300)


def test_a_nan_is_not_hidden_by_a_piece_without_one() -> None:
    a, b = np.zeros(1 << 19), np.zeros(1 << 19)
    b[[5, -5]] = NAN, 100
    assert math.isnan(compare_arrays(a, b).max_abs or 0)
    assert math.isnan(compare_arrays(a[::-1], b[::-1]).max_abs or 0)


@pytest.mark.parametrize(
    ("a", "b", "largest"),
    [
        (np.int64(-(1 << 63)), np.int64((1 << 63) - 1), (1 << 64) - 1),
        (np.int64(1 << 60), np.int64((1 << 60) + 1), 1),
        (np.uint64(0), np.uint64((1 << 64) - 1), (1 << 64) - 1),
        (np.uint8(0), np.uint8(255), 255),
        (np.int8(-128), np.int8(127), 255),
    ],
)
def test_integers_are_compared_exactly(a: Any, b: Any, largest: int) -> None:
    for x, y in ((a, b), (b, a)):
        found = compare_arrays(np.array([x]), np.array([y]))
        assert (found.different, found.max_abs, type(found.max_abs)) == (1, largest, int)


def test_other_dtypes() -> None:
    assert compare_arrays(np.array([True, False]), np.array([True, True]))[:3] == (2, 1, 1.0)
    strings = compare_arrays(np.array([b"a", b"b"], object), np.array([b"a", b"c"], object))
    assert strings == (2, 1, None, None, None)
    assert not strings.within(INF)
    assert compare_arrays(np.array([3 + 4j]), np.array([0j])) == (1, 1, 5.0, 1.0, None)
    assert compare_arrays(np.array([1j]), np.array([1 + 0j])).cosine == 0
    narrow = np.array([1.5, -2], ml_dtypes.bfloat16)
    assert compare_arrays(narrow, narrow.astype(np.float32)).different == 0
    assert compare_arrays(np.array([7], ml_dtypes.int4), np.array([-8], ml_dtypes.int4)).max_abs == 15
    quantized = np.dtype([("qint8", np.int8)])
    assert compare_arrays(np.array([(1,)], quantized), np.array([(-1,)], quantized)).max_abs == 2


def test_one_value_that_stands_for_many_is_compared_once() -> None:
    a, b = (np.broadcast_to(np.float32(v), (1 << 30, 1 << 10)) for v in (1, 2))
    assert compare_arrays(a, b) == (1 << 40, 1 << 40, 1.0, 1.0, 1.0)


def test_huge_and_tiny_values_do_not_overflow() -> None:
    for scale in (1e300, 1e-300):
        found = compare_arrays(np.array([3.0, 4.0]) * scale, np.array([3.0, 0.0]) * scale)
        assert found.relative == pytest.approx(0.8)
        assert found.cosine == pytest.approx(0.6)


floats = hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e6, 1e6, width=32))


@given(floats, st.integers(0, 1 << 30))
@settings(max_examples=60)
def test_measures_are_those_of_the_definitions(a: np.ndarray[Any, Any], seed: int) -> None:
    b = (a + np.random.default_rng(seed).normal(0, 1, a.shape)).astype(np.float32)
    found = compare_arrays(a, b)
    x, y = a.astype(np.float64), b.astype(np.float64)
    assert found.different == (a != b).sum()
    assert found.max_abs == np.abs(x - y).max()
    if x.any():
        assert found.relative == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), rel=1e-9)
        if y.any():
            expected = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
            assert found.cosine == pytest.approx(expected, abs=1e-9)


def test_statuses_of_tensors(tmp_path: Any) -> None:
    a = {"same": [1.0], "gone": [1.0], "changed": [1.0], "reshaped": [1.0], "retyped": [1.0], "text": [b"a"]}
    b = {"same": [1.0], "new": [1.0], "changed": [2.0], "reshaped": [[1]], "retyped": np.float32([1]), "text": [1.0]}
    (_, x), (_, y) = (open_tensors(gr.save_checkpoint(tmp_path / n, v)) for n, v in (("a", a), ("b", b)))
    calls: list[tuple[int, int]] = []
    found = compare_tensors(x, y, sorted(x.names()), sorted(y.names()), lambda *c: calls.append(c))
    assert {item.name: item.status for item in found} == {
        "same": "equal",
        "gone": "gone",
        "new": "added",
        "changed": "changed",
        "reshaped": "reshaped",
        "retyped": "retyped",
        "text": "retyped",
    }
    assert {item.name for item in found if item.difference} == {"same", "changed", "retyped"}
    assert calls == [(0, 44), (16, 44), (28, 44), (44, 44)]
    x.close(), y.close()


# Graphs


def graph(**nodes: str) -> GraphDef:
    """A graph of `name="Op input input"`."""
    made = GraphDef()
    for name, text in nodes.items():
        op, *inputs = text.split()
        made.node.add(name=name, op=op, input=inputs)
    return made


def test_nodes_are_added_gone_and_changed() -> None:
    a = graph(x="Placeholder", y="Neg x", z="Abs y", old="NoOp")
    b = graph(new="NoOp", z="Abs x:0", y="Exp x", x="Placeholder")
    found = compare_graphs(a, b)
    assert {n.name: (n.status, n.op, n.inputs) for n in found.nodes} == {
        "y": ("changed", ("Neg", "Exp"), None),
        "z": ("changed", None, (["y"], ["x"])),
        "old": ("gone", ("NoOp", None), None),
        "new": ("added", (None, "NoOp"), None),
    }
    assert found.equal_nodes == 1
    assert [n.name for n in compare_graphs(a, b, lambda name: name in ("y", "x")).nodes] == ["y"]


def test_what_means_the_same_is_no_difference() -> None:
    a = graph(x="Placeholder", y="Add x:0 x ^p ^q")
    b = graph(y="Add x x:0 ^q ^p", x="Placeholder")
    b.node[0].attr["_output_shapes"].list.shape.add()
    a.node[0].attr["shape"].shape.unknown_rank = True  # Placeholder's default
    a.node[1].experimental_debug_info.original_node_names.append("z")
    assert compare_graphs(a, b)[:2] == ([], [])


def test_devices_and_attributes_are_compared() -> None:
    a, b = graph(x="Placeholder"), graph(x="Placeholder")
    a.node[0].device = "/gpu:0"
    a.node[0].attr["dtype"].type = 1
    b.node[0].attr["dtype"].type = 2
    b.node[0].attr["own"].f = NAN
    (node,) = compare_graphs(a, b).nodes
    assert node.device == ("/gpu:0", "")
    assert {key: (pair.a is None, pair.b is None) for key, pair in node.attributes.items()} == {
        "dtype": (False, False),
        "own": (True, False),
    }
    assert compare_graphs(b, b).nodes == []


def tf_graph(body: Any) -> GraphDef:
    with tf.Graph().as_default() as made:
        body()
    return GraphDef.FromString(made.as_graph_def().SerializeToString())


def test_functions_are_compared_by_signature_and_body() -> None:
    def library(*functions: tuple[str, str, str]) -> GraphDef:
        made = graph()
        for name, op, result in functions:
            function = made.library.function.add()
            function.signature.name = name
            function.signature.input_arg.add(name="x", type=1)
            function.node_def.add(name="n", op=op, input=["x"])
            function.ret["out"] = result
        return made

    a = library(("same", "Neg", "n:y:0"), ("body", "Neg", "n:y:0"), ("result", "Neg", "n:y:0"), ("gone", "Neg", ""))
    b = library(("same", "Neg", "n:y:0"), ("body", "Abs", "n:y:0"), ("result", "Neg", "x"), ("new", "Neg", ""))
    found = compare_graphs(a, b)
    assert [(f.name, f.status, f.signature, len(f.nodes)) for f in found.functions] == [
        ("body", "changed", False, 1),
        ("result", "changed", True, 0),
        ("gone", "gone", False, 0),
        ("new", "added", False, 0),
    ]
    assert found.equal_functions == 1


def test_graphs_built_the_same_way_by_tensorflow_are_equal() -> None:
    def build() -> None:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        w = tf.get_variable("w", [3, 4], use_resource=False)
        tf.gradients(tf.nn.relu(x @ w), [w])

    found = compare_graphs(tf_graph(build), tf_graph(build))
    assert found.nodes == []
    assert found.equal_nodes > 10
