"""Every op of clusters against TensorFlow, over attributes, shapes and special values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from engines.openvino.running import clusters, compare, states

import graphrack as gr
from graphrack.engines.openvino.ops import RULES

RNG = np.random.default_rng(0)
R = tf.raw_ops


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def whole(*values: int) -> Any:
    return np.array(values, np.int32)


SPECIAL = np.array([0, -0.0, 3e38, -3e38, 88.8, -88.8, 104, -104, 1, -1, 0.5, -0.5, 2.5, 3.5, 20, -20, 1e-8, 6, 9], "f")
VALUES = np.concatenate([SPECIAL, 3 * normal(60), np.linspace(-100, 100, 60, dtype=np.float32)]).reshape(-1, 1)
MODEST = np.clip(VALUES, -80, 80)
IMAGE, KERNEL, WINDOWS = (
    normal(2, 11, 12, 3),
    normal(3, 4, 3, 5),
    (("SAME", 1), ("SAME", 2), ("VALID", 1), ("VALID", 3)),
)

Case = tuple[Callable[..., Any], tuple[Any, ...]]
CASES: dict[str, list[Case]] = {}


def case(op: str, build: Callable[..., Any], *arrays: Any) -> None:
    CASES.setdefault(op, []).append((build, arrays))


for _op in (
    "Square",
    "Exp",
    "Erf",
    "Sin",
    "Cos",
    "Neg",
    "Abs",
    "Sign",
    "Floor",
    "Ceil",
    "Round",
    "Rint",
    "Sigmoid",
    "Tanh",
):
    case(_op, lambda x, op=_op: getattr(R, op)(x=x), MODEST if _op in ("Sin", "Cos") else VALUES)
for _op in ("Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Softsign", "Softplus"):
    case(_op, lambda x, op=_op: getattr(R, op)(features=x), VALUES)
case("LeakyRelu", lambda x: R.LeakyRelu(features=x, alpha=1.5), VALUES)
for _op in ("Sqrt", "Rsqrt", "Log", "Reciprocal", "Inv"):
    case(_op, lambda x, op=_op: getattr(R, op)(x=x), np.abs(MODEST) + np.float32(1e-6))
for _op in ("Add", "AddV2", "Sub", "Mul", "Maximum", "Minimum", "SquaredDifference", "Less", "LessEqual"):
    case(_op, lambda x, y, op=_op: getattr(R, op)(x=x, y=y), MODEST, SPECIAL[None, 4:])
    case(_op, lambda x, y, op=_op: getattr(R, op)(x=x, y=y), np.float32(2) * np.ones((), "f"), normal(3, 1, 4))
for _op in ("Greater", "GreaterEqual", "Equal", "NotEqual"):
    case(_op, lambda x, y, op=_op: getattr(R, op)(x=x, y=y), MODEST, SPECIAL[None, 4:])
for _op in ("RealDiv", "Div", "DivNoNan"):
    case(_op, lambda x, y, op=_op: getattr(R, op)(x=x, y=y), MODEST, SPECIAL[None, 4:])
case("DivNoNan", lambda x, y: R.DivNoNan(x=x, y=y), normal(4, 1), np.float32([[0, 1, -2]]))
case("Pow", lambda x, y: R.Pow(x=x, y=y), np.float32([[0], [1], [2.5], [9], [-2]]), np.float32([[0, 1, 2, 3, 4]]))
case("Pow", lambda x: tf.pow(x, 3.0), normal(5, 4))
for _op in ("LogicalAnd", "LogicalOr"):
    case(_op, lambda x, y, op=_op: tf.cast(getattr(R, op)(x=x > 0.0, y=y > 0.0), "float32"), normal(30), normal(30))
case("LogicalNot", lambda x: tf.cast(tf.logical_not(x > 0.0), tf.float32), normal(30))
case("AddN", lambda x, y: tf.add_n([x, y, x * y]), normal(30), normal(30))
for _op in ("Softmax",):
    case(_op, lambda x, op=_op: getattr(R, op)(logits=x), 30 * normal(7, 11))
    case(_op, lambda x, op=_op: getattr(R, op)(logits=x), normal(2, 3, 5))
    case(_op, lambda x, op=_op: tf.transpose(getattr(R, op)(logits=x), [1, 2, 0]), normal(2, 3, 5))
    case(_op, lambda x, op=_op: getattr(R, op)(logits=tf.transpose(x, [0, 2, 3, 1])), normal(2, 3, 5, 4))
for _pad, _s in WINDOWS:
    case("Conv2D", lambda x, p=_pad, s=_s: tf.nn.conv2d(x, KERNEL, [1, s, s, 1], p), IMAGE)
    case(
        "DepthwiseConv2dNative",
        lambda x, p=_pad, s=_s: tf.nn.depthwise_conv2d(x, KERNEL[..., :2], [1, s, s, 1], p),
        IMAGE,
    )
    case(
        "Conv3D",
        lambda x, p=_pad, s=_s: tf.nn.conv3d(x, KERNEL[:2, :, :, None], [1, s, s, s, 1], p),
        normal(1, 7, 8, 9, 1) * np.ones(3, "f")[:1],
    )
    for _op in ("MaxPool", "AvgPool"):
        _name = "input" if _op == "MaxPool" else "value"
        case(
            _op,
            lambda x, op=_op, n=_name, p=_pad, s=_s: getattr(R, op)(
                **{n: x}, ksize=[1, 3, 2, 1], strides=[1, s, s, 1], padding=p
            ),
            IMAGE,
        )
case("Conv2D", lambda x: tf.nn.conv2d(x, KERNEL, [1, 1, 1, 1], "SAME", dilations=[1, 2, 3, 1]), IMAGE)
case("Conv2D", lambda x: tf.nn.conv2d(x, KERNEL, [1, 1, 2, 1], [[0, 0], [1, 2], [0, 3], [0, 0]]), IMAGE)
case(
    "DepthwiseConv2dNative",
    lambda x: R.DepthwiseConv2dNative(
        input=x, filter=KERNEL[..., :2], strides=[1, 1, 1, 1], padding="VALID", dilations=[1, 2, 2, 1]
    ),
    IMAGE,
)
for _pad, _out in (("SAME", 6), ("VALID", 5)):
    case(
        "Conv2DBackpropInput",
        lambda g, p=_pad: R.Conv2DBackpropInput(
            input_sizes=[2, 12, 13 if p == "VALID" else 12, 3],
            filter=KERNEL,
            out_backprop=g,
            strides=[1, 2, 2, 1],
            padding=p,
        ),
        normal(2, _out, _out, 5),
    )
case(
    "Conv2DBackpropInput",
    lambda g: R.Conv2DBackpropInput(
        input_sizes=tf.stack([tf.shape(g)[0], 12, 12, 3]),
        filter=KERNEL,
        out_backprop=g,
        strides=[1, 2, 2, 1],
        padding="SAME",
    ),
    normal(2, 6, 6, 5),
)
for _a in (False, True):
    for _b in (False, True):
        _x, _y = normal(*((7, 5) if _a else (5, 7))), normal(*((3, 7) if _b else (7, 3)))
        case("MatMul", lambda x, y, a=_a, b=_b: tf.matmul(x, y, a, b), _x, _y)
        for _op in ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
            _more = {"Tout": tf.float32} if _op == "BatchMatMulV3" else {}
            _lead = 2 if _op == "BatchMatMul" else 1
            case(
                _op,
                lambda x, y, a=_a, b=_b, op=_op, m=_more: getattr(R, op)(x=x, y=y, adj_x=a, adj_y=b, **m),
                np.stack([_x] * _lead),
                np.stack([_y, 2 * _y]),
            )
case("Einsum", lambda x, y: R.Einsum(inputs=[x, y], equation="BFNH,BTNH->BNFT"), normal(2, 3, 4, 5), normal(2, 6, 4, 5))
case("Einsum", lambda x, y: R.Einsum(inputs=[x, y], equation="abcd,cde->abe"), normal(2, 3, 4, 5), normal(4, 5, 6))
case("BiasAdd", lambda x, y: R.BiasAdd(value=x, bias=y), normal(2, 3, 4), normal(4))
case("BiasAdd", lambda x, y: R.BiasAdd(value=x, bias=y, data_format="NCHW"), normal(2, 3, 4, 5), normal(3))
for _op in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"):
    case(
        _op,
        lambda x, s, o, m, v, op=_op: getattr(R, op)(
            x=x, scale=s, offset=o, mean=m, variance=v, epsilon=1e-3, is_training=False
        )[0],
        IMAGE,
        normal(3),
        normal(3),
        normal(3),
        np.abs(normal(3)),
    )
for _op in ("Sum", "Mean", "Max", "Min", "Prod"):
    for _axes in ([1], [0, 2], [-1], [0, 1, 2]):
        for _keep in (False, True):
            case(_op, lambda x, op=_op, a=_axes, k=_keep: getattr(R, op)(input=x, axis=a, keep_dims=k), normal(4, 5, 3))
    # What OpenVINO fuses into reductions wrongly: operands of several values, at once or after a scalar.
    case(_op, lambda x, op=_op: 0.5 * getattr(R, op)(input=x, axis=2) + np.float32([1, 2, 3, 4, 5]), normal(4, 5, 3))
    case(
        _op,
        lambda x, op=_op: (
            tf.nn.relu(getattr(R, op)(input=x, axis=1, keep_dims=True)) * np.float32([[[1]], [[2]], [[3]], [[4]]])
        ),
        normal(4, 5, 3),
    )
for _op in ("ResizeBilinear", "ResizeNearestNeighbor"):
    for _size in ([10, 14], [3, 4], [5, 7]):
        case(_op, lambda x, op=_op, s=_size: getattr(R, op)(images=x, size=s), normal(2, 5, 7, 3))
        case(_op, lambda x, op=_op, s=_size: getattr(R, op)(images=x, size=s, align_corners=True), normal(2, 5, 7, 3))
    case(_op, lambda x, op=_op: getattr(R, op)(images=x, size=2 * tf.shape(x)[1:3]), normal(2, 5, 7, 3))
case("ResizeBilinear", lambda x: R.ResizeBilinear(images=x, size=[9, 5], half_pixel_centers=True), normal(2, 5, 7, 3))
case("Identity", lambda x: [tf.identity(tf.nn.relu(x)), tf.identity(x)], normal(3, 4))
case("StopGradient", lambda x: [tf.stop_gradient(tf.nn.relu(x)), tf.stop_gradient(x) + 1.0], normal(3, 4))
case("PreventGradient", lambda x: R.PreventGradient(input=tf.nn.relu(x)), normal(3, 4))
case(
    "Pack", lambda x, y: [tf.nn.relu(tf.stack([x, y], 1)), tf.nn.relu(tf.stack([x, y], -1))], normal(2, 3), normal(2, 3)
)
case("ZerosLike", lambda x: R.ZerosLike(x=x) - x, normal(3, 4))
case("OnesLike", lambda x: R.OnesLike(x=x) - x, normal(3, 4))
case("Reshape", lambda x: tf.nn.relu(tf.reshape(x, [-1, 6])), normal(4, 3, 2))
case("Reshape", lambda x: tf.nn.relu(tf.reshape(x, tf.stack([tf.shape(x)[0], -1]))), normal(4, 3, 2))
case("Reshape", lambda x, s: tf.nn.relu(tf.reshape(x, s)), normal(4, 3, 2), whole(2, -1))
case("Tile", lambda x: tf.nn.relu(tf.tile(x, [2, 3])), normal(3, 4))
case("BroadcastTo", lambda x: tf.nn.relu(tf.broadcast_to(x, [2, 3, 4])), normal(3, 1))
case("ExpandDims", lambda x: tf.nn.relu(tf.expand_dims(x, -2)), normal(3, 4))
case("Transpose", lambda x: tf.nn.relu(tf.transpose(x, [2, 0, 3, 1])), normal(3, 4, 2, 5))
case("ReverseV2", lambda x: tf.nn.relu(tf.reverse(x, [-1])), normal(3, 4))
case("Squeeze", lambda x: tf.nn.relu(tf.squeeze(x, [0, -2])), normal(1, 3, 1, 2))
case("ConcatV2", lambda x, y: tf.nn.relu(tf.concat([x, y, x], -1)), normal(2, 3), normal(2, 5))
case("Concat", lambda x, y: tf.nn.relu(R.Concat(concat_dim=1, values=[x, y])), normal(2, 3), normal(2, 5))
case("Unpack", lambda x: [tf.nn.relu(part) for part in tf.unstack(tf.nn.relu(x), 3, axis=1)][1:], normal(2, 3, 4))
case("Split", lambda x: tf.split(tf.nn.relu(x), 3, axis=-1), normal(2, 6))
case("SplitV", lambda x: tf.split(tf.nn.relu(x), [1, -1, 3], axis=1), normal(2, 6))
case("StridedSlice", lambda x: tf.nn.relu(x[1:, ::-1, None, ..., 2]), normal(3, 4, 5, 6))
case("StridedSlice", lambda x: tf.nn.relu(x[-2:, -1, :99:2]), normal(3, 4, 5, 6))
case("Slice", lambda x: tf.nn.relu(tf.slice(x, [1, 0], [-1, 2])), normal(3, 4))
case("Slice", lambda x: tf.nn.relu(tf.slice(x, [0, 0], tf.stack([tf.shape(x)[0] - 1, 2]))), normal(3, 4))
case("Pad", lambda x: tf.nn.relu(tf.pad(x, [[0, 0], [1, 2]])), normal(3, 4))
case("PadV2", lambda x: tf.nn.elu(tf.pad(x, [[0, 0], [1, 2]], constant_values=-1.5)), normal(3, 4))
case(
    "MirrorPad", lambda x: [tf.nn.relu(tf.pad(x, [[0, 0], [1, 3]], m)) for m in ("REFLECT", "SYMMETRIC")], normal(3, 4)
)
case("Fill", lambda x: tf.fill(tf.shape(x), 2.5) + x, normal(3, 4))
case("GatherV2", lambda x: tf.nn.relu(tf.gather(x, [2, 0, 1], axis=1)), normal(3, 4))
case("GatherV2", lambda x: tf.nn.relu(tf.reshape(x, tf.gather(tf.shape(x), [1, 0]))), normal(3, 4))
case("SpaceToDepth", lambda x: tf.nn.relu(tf.nn.space_to_depth(x, 2)), normal(2, 4, 6, 3))
case("DepthToSpace", lambda x: tf.nn.relu(tf.nn.depth_to_space(x, 2)), normal(2, 4, 6, 12))
case("SpaceToBatchND", lambda x: tf.nn.relu(tf.space_to_batch_nd(x, [2, 2], [[0, 1], [1, 0]])), normal(2, 5, 7, 3))
case("BatchToSpaceND", lambda x: tf.nn.relu(tf.batch_to_space_nd(x, [2, 2], [[0, 1], [1, 0]])), normal(8, 3, 4, 3))
case("Select", lambda x, y: R.Select(condition=x < y, x=x, y=y), normal(30), normal(30))
case("Select", lambda x, y: R.Select(condition=x[:, 0] < y[:, 0], x=x, y=y), normal(3, 4), normal(3, 4))
case("SelectV2", lambda x, y: R.SelectV2(condition=x < y, t=x, e=tf.zeros([1])), normal(3, 4), normal(3, 4))
case("Cast", lambda x, i: tf.cast(i, tf.float32) * x, normal(3), whole(0, -1, 7))
case("Cast", lambda x: tf.cast(x > 0.0, tf.float32), normal(30))
case("OneHot", lambda x, i: tf.one_hot(i, 5) + x, normal(3, 5), whole(0, -1, 7))
case("Range", lambda x: tf.cast(tf.range(0, tf.shape(x)[0], 1), tf.float32) + x, normal(5))
case(
    "Shape", lambda x: [tf.nn.relu(tf.reshape(x, tf.reverse(tf.shape(x), [0]))), tf.shape(tf.nn.relu(x))], normal(3, 4)
)
case("Size", lambda x: x / tf.cast(tf.size(x), tf.float32), normal(3, 4))
case("Rank", lambda x: x / tf.cast(R.Rank(input=x), tf.float32), normal(3, 4))
case("FloorDiv", lambda x: tf.nn.relu(tf.reshape(x, [tf.shape(x)[0] // 2, -1])), normal(4, 3))

case("ShapeN", lambda x, y: tf.nn.relu(tf.reshape(x, R.ShapeN(input=[x, y])[1])), normal(4, 3), normal(2, 6))
case(
    "ShapeN", lambda x, y: [tf.nn.relu(x), *(tf.nn.relu(y) + tf.cast(s[0], tf.float32) for s in R.ShapeN(input=[x, y]))],
    normal(4, 3), normal(2),
)  # fmt: skip
for _op in ("ReluGrad", "Relu6Grad", "LeakyReluGrad"):
    case(_op, lambda x, y, op=_op: getattr(R, op)(gradients=x, features=y), 3 * normal(139, 1), VALUES)
    case(_op, lambda x, y, op=_op: getattr(R, op)(gradients=x, features=y), normal(2, 3, 4, 5), 9 * normal(2, 3, 4, 5))
case("LeakyReluGrad", lambda x, y: R.LeakyReluGrad(gradients=x, features=y, alpha=-1.5), normal(30), normal(30))
for _op, _function in (("TanhGrad", tf.tanh), ("SigmoidGrad", tf.sigmoid)):
    case(_op, lambda x, y, op=_op, f=_function: getattr(R, op)(y=f(x), dy=y), VALUES, 3 * normal(139, 1))
    case(_op, lambda x, y, op=_op: getattr(R, op)(y=x, dy=y), MODEST, 3 * normal(139, 1))
for _size in ((3, 4), (2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 2, 4)):
    case("BiasAddGrad", lambda x: R.BiasAddGrad(out_backprop=x), normal(*_size))
    if len(_size) > 2:
        case("BiasAddGrad", lambda x: R.BiasAddGrad(out_backprop=x, data_format="NCHW"), normal(*_size))
case("BiasAddGrad", lambda x: R.BiasAddGrad(out_backprop=x) * np.arange(4, dtype="f"), normal(2, 3, 4))

NUMBERED = [(op, i) for op, cases in CASES.items() for i in range(len(cases))]


def test_every_op_of_clusters_is_compared() -> None:
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize(("op", "number"), NUMBERED, ids=[f"{op}-{i}" for op, i in NUMBERED])
def test_clusters_compute_it_as_tensorflow_does(op: str, number: int) -> None:
    build, arrays = CASES[op][number]
    model = compare(build, *arrays)
    assert states(model), "no cluster"
    assert set(states(model)) == {"compiled"}
    ops = {part.op for cluster in clusters(model) for part in cluster.interface.parts}
    assert op in ops or op == "Identity" or (op == "ShapeN" and "Shape" in ops)


def test_what_is_not_a_number_is_left_to_the_interpreter() -> None:
    for bad in (np.nan, np.inf):
        values = normal(3, 4)
        values[1, 2] = bad
        model = compare(lambda x: [tf.nn.relu(x), tf.exp(x), tf.reduce_max(x, 1)], values)
        assert "compiled" not in states(model)
        model = compare(lambda x, w: tf.nn.relu(tf.matmul(x, w)), normal(2, 3), values)
        assert "compiled" not in states(model)


def test_large_numbers_whose_squares_overflow_are_finite() -> None:
    model = compare(lambda x: tf.nn.relu(x), np.full((3, 4), 1e30, np.float32))
    assert states(model) == ["compiled"]


def test_indices_out_of_bounds_are_refused(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        table = tf.nn.relu(tf.placeholder(tf.float32, [4, 3], name="x"))
        tf.nn.relu(tf.gather(table, tf.placeholder(tf.int32, [None], name="i")), name="out")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
    model = gr.load(tmp_path / "g.pb", engine="openvino")
    assert model.run("out", {"x": normal(4, 3), "i": [0, 3]}).shape == (2, 3)
    with pytest.raises(gr.OpError, match="GatherV2"):
        model.run("out", {"x": normal(4, 3), "i": [0, 4]})
