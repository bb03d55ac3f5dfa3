"""What OpenVINO computes otherwise than TensorFlow, or takes where TensorFlow refuses: it isn't given that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from engines.openvino.running import clusters, compare, states

import graphrack as gr
from graphrack.engines.openvino import planning

RNG = np.random.default_rng(0)
R = tf.raw_ops
ROWS = RNG.normal(size=(5, 7)).astype(np.float32)


def beside(x: Any, number: Any) -> Any:
    """Integers, and what makes a cluster of them: with floats alone they are worth one."""
    return [number, tf.nn.relu(x) * tf.reshape(tf.cast(number, tf.float32), [-1])[0]]


def ops(model: gr.Model) -> set[str]:
    """Those that were made part of a cluster."""
    return {part.op for cluster in clusters(model) for part in cluster.interface.parts}


@pytest.mark.parametrize(
    "build",
    [
        lambda sizes: tf.reduce_prod(sizes * 1000 + 1),
        lambda sizes: tf.reduce_sum(sizes * 10_000_000 + 1),
        lambda sizes: (sizes[0] * 10_000_001 + 2) // 3,
        lambda sizes: tf.range(sizes[0] * 10_000_001, sizes[0] * 10_000_001 + 5, 1),
        lambda sizes: tf.reduce_prod(tf.cast(sizes, tf.int64) * 1000 + 1),
    ],
    ids=["Prod", "Sum", "FloorDiv", "Range", "Prod-int64"],
)
def test_integers_of_more_than_24_bits_are_computed_from_shapes_exactly(build: Callable[[Any], Any]) -> None:
    """OpenVINO computes them with floats."""
    compare(lambda x: beside(x, build(tf.shape(x))), ROWS, rtol=0, atol=0)


def test_integers_of_24_bits_are_computed_in_the_cluster() -> None:
    model = compare(lambda x: beside(x, tf.reduce_prod(tf.shape(x)) // 2), ROWS, rtol=0, atol=0)
    assert {"Prod", "FloorDiv"} <= ops(model)
    assert states(model) == ["compiled"]


@pytest.mark.parametrize(
    ("op", "build"),
    [
        ("FloorDiv", lambda i: R.FloorDiv(x=i, y=tf.constant([2147483646, 5, 3, -7]))),
        ("Sum", lambda i: tf.reduce_sum(i, 0)),
        ("Prod", lambda i: tf.reduce_prod(i, 0)),
        ("Range", lambda i: tf.range(i[1] - i[1] + 2**24, 2**24 + 5, 1)),
    ],
)
def test_integers_that_are_fed_are_computed_exactly(op: str, build: Callable[[Any], Any]) -> None:
    fed = np.array([-2147483648, 1407471923, -4, 942957556], np.int32)
    model = compare(lambda x, i: beside(x, build(i)), ROWS, fed, rtol=0, atol=0)
    assert op not in ops(model) or "compiled" not in states(model)


def test_sums_of_fed_integers_wrap() -> None:
    fed = np.array([-2147483648, 1407471923, -4, 942957556], np.int32)
    model = compare(lambda x, i: beside(x, tf.maximum(i + i, (i - 1) * i)), ROWS, fed, rtol=0, atol=0)
    assert {"AddV2", "Sub", "Mul", "Maximum"} <= ops(model)
    assert states(model) == ["compiled"]


@pytest.mark.parametrize("mask", ["new_axis_mask", "shrink_axis_mask", "ellipsis_mask", "begin_mask", "end_mask"])
def test_masks_of_a_strided_slice_reach_no_further_than_its_dimensions(mask: str) -> None:
    def build(x: Any) -> Any:
        sliced = R.StridedSlice(input=x, begin=[1], end=[5], strides=[3], **{mask: 2})
        return tf.nn.relu(sliced)

    compare(build, RNG.normal(size=(6, 4, 2)).astype(np.float32), rtol=0, atol=0)


def test_a_fed_output_takes_the_place_of_the_clusters_own(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        parts = tf.split(tf.nn.relu(tf.placeholder(tf.float32, [6], name="x")), 3, name="parts")
        tf.add_n(parts, name="sum")
        feeds = {"x:0": np.arange(6.0), "parts:1": [100.0, 200.0]}
        expected = session.run("sum:0", feeds)
        (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "g.pb", engine="openvino")
    np.testing.assert_array_equal(model.run("sum", feeds), expected)
    assert model.explain("sum", feeds).outside["parts"] == "an output of it is fed"


def test_what_would_take_too_long_to_compile_is_left_to_the_interpreter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(planning, "_MOST_NODES", 3)
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [2], name="x")
        tf.exp(tf.nn.relu(tf.abs(x)), name="three")
        tf.square(tf.exp(tf.nn.elu(-x)), name="four")
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "g.pb", engine="openvino")
    assert [len(cluster.nodes) for cluster in model.explain("three").clusters] == [3]
    assert set(model.explain("four").outside.values()) == {"too much hangs together there to compile it"}
    np.testing.assert_allclose(model.run("four", {"x": [-0.5, -1.0]}), np.exp([1.0, 2.0]), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1, 5, 80])
def test_softplus_keeps_what_is_small(scale: float) -> None:
    values = np.linspace(-scale, scale, 401, dtype=np.float32)
    model = compare(tf.nn.softplus, values, rtol=2e-6, atol=0)
    assert states(model) == ["compiled"]


def test_a_softplus_spelled_by_hand_keeps_what_is_small() -> None:
    """OpenVINO finds log(1 + exp(x)) and takes its own kernel for it."""
    values = np.linspace(-10, 10, 401, dtype=np.float32)
    compare(
        lambda x: [tf.log(1 + tf.exp(x)), tf.log(tf.exp(x) + 1), tf.log(1 + tf.exp(-tf.abs(x)))], values, atol=1.2e-7
    )


@pytest.mark.parametrize("size", [1, 3])
def test_transposed_convolutions_end_on_inputs_of_any_size(size: int, tmp_path: Path) -> None:
    """OpenVINO's own kernel for filters of 1 x 1 never ends, once it has run on another size."""
    rng = np.random.default_rng(0)
    filters = rng.normal(size=(size, size, 6, 7)).astype(np.float32)
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        values = tf.placeholder(tf.float32, [None, None, None, 7], name="values")
        sizes = tf.concat([tf.shape(values)[:3], [6]], 0)
        result = tf.nn.conv2d_backprop_input(sizes, filters, values, [1, 1, 1, 1], "SAME", name="result")
        fed = [rng.normal(size=(*shape, 7)).astype(np.float32) for shape in ((2, 3, 4), (1, 5, 2), (1, 1, 1)) * 2]
        expected = [sess.run(result, {values: value}) for value in fed]
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "g.pb", engine="openvino")
    for value, wanted in zip(fed, expected, strict=True):
        np.testing.assert_allclose(model.run("result", {"values": value}), wanted, rtol=1e-4, atol=1e-5)
    assert states(model) == ["compiled"]


def test_the_nearest_pixel_is_tensorflows() -> None:
    """OpenVINO would take another one where the place is a whole number and the scale isn't."""
    every = [(size, out) for size in range(1, 30) for out in range(1, 12)]
    pairs = [(size, out) for size, out in every if size % out and any(i * size % out == 0 for i in range(1, out))]
    pairs += every[::5]
    value = RNG.normal(size=(1, 30, 1, 1)).astype(np.float32)
    resize = tf.image.resize_nearest_neighbor
    compare(lambda x: [resize(tf.nn.relu(x[:, :size]), [out, 1]) for size, out in pairs], value, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_blocks_are_larger_than_what_is_cut_into_them(size: int) -> None:
    """OpenVINO would put values where the padding belongs."""
    pads = [[0, -size % 3], [0, 0]]
    value = RNG.normal(size=(2, size, 3, 4)).astype(np.float32)
    compare(lambda x: tf.nn.relu(tf.space_to_batch_nd(tf.exp(x), [3, 3], pads)), value)


def test_masks_that_tensorflow_overlooks_are_overlooked() -> None:
    def build(x: Any) -> Any:
        one = R.StridedSlice(input=x, begin=[-1, 1], end=[0, 3], strides=[1, 1], begin_mask=1, shrink_axis_mask=1)
        other = R.StridedSlice(input=x, begin=[1, 1], end=[2, 3], strides=[1, 1], new_axis_mask=1, shrink_axis_mask=1)
        return tf.nn.relu(one), tf.nn.relu(other)

    compare(build, RNG.normal(size=(6, 4)).astype(np.float32), rtol=0, atol=0)


def test_integers_are_compared_and_told_from_zero_exactly() -> None:
    fed = np.array([-2147483648, 2147483647, 2147483646, 16777217, 16777216, 0], np.int32)

    def build(x: Any, i: Any) -> Any:
        compared = [getattr(R, op)(x=i[:, None], y=i) for op in ("Less", "LessEqual", "Greater", "Equal", "NotEqual")]
        return [part for one in (*compared, tf.cast(i, tf.bool)) for part in beside(x, one)]

    compare(build, ROWS, fed, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("build", "values", "constant"),
    [
        (lambda x, axis: R.Sum(input=tf.nn.relu(x), axis=axis), ROWS, [1, -1]),
        (lambda x, y: R.BatchMatMul(x=tf.nn.relu(x), y=y), np.ones((2, 3, 3), "f"), np.ones((3, 3), "f")),
        (lambda x, depth: x + R.OneHot(indices=[1], depth=depth, on_value=1.0, off_value=0.0), ROWS, [7]),
        (lambda x, axis: R.ExpandDims(input=tf.nn.relu(x), axis=axis), ROWS, [0, 1]),
        (lambda x, axis: R.ExpandDims(input=tf.nn.relu(x), axis=axis), ROWS, [0, 0]),
        (lambda x, axis: R.ReverseV2(tensor=tf.nn.relu(x), axis=axis), ROWS, [[0]]),
        (lambda x, size: tf.nn.relu(R.Fill(dims=size, value=0.5)) + x, ROWS, [5, -7]),
    ],
    ids=[
        "an axis twice",
        "batches that broadcast",
        "a depth that is no scalar",
        "two axes at once",
        "one axis twice",
        "axes that are no vector",
        "a negative size",
    ],
)
def test_what_is_refused_is_refused_in_a_cluster(
    tmp_path: Path, build: Callable[[Any, Any], Any], values: Any, constant: Any
) -> None:
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        x = tf.placeholder(tf.float32, None, name="x")
        # A constant which TensorFlow doesn't look at before it runs.
        constant = np.asarray(constant, None if np.asarray(constant).dtype.kind == "f" else np.int32)
        fixed = tf.placeholder(constant.dtype, None, name="fixed")
        tf.identity(build(x, fixed), name="out")
        with pytest.raises(tf.errors.OpError):
            session.run("out:0", {"x:0": values, "fixed:0": constant})
        data = graph.as_graph_def()
    data.node[1].CopyFrom(tf.NodeDef(name="fixed", op="Const"))
    data.node[1].attr["dtype"].type = tf.as_dtype(constant.dtype).as_datatype_enum
    data.node[1].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(constant))
    (tmp_path / "g.pb").write_bytes(data.SerializeToString())
    said = []
    for engine in ("numpy", "openvino"):
        with pytest.raises(gr.OpError) as error:
            gr.load(tmp_path / "g.pb", engine=engine).run("out", {"x": values})
        said.append(str(error.value))
    assert said[0] == said[1]
