"""TensorFlow's fused kernels serve its optimiser alone: the judge is the same graph unfused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import Refused, by_graphrack, check, compare


def numbers(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def by_fused_node(op: str, inputs: list[np.ndarray[Any, Any]], attributes: dict[str, Any]) -> Any:
    """What graphrack's kernel of one node gives."""
    graph = tf.GraphDef()
    for i, value in enumerate(inputs):
        node = graph.node.add(name=f"x{i}", op="Placeholder")
        node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node = graph.node.add(name="op", op=op, input=[f"x{i}" for i in range(len(inputs))])
    kind = tf.as_dtype(inputs[0].dtype).as_datatype_enum
    node.attr["T"].type = kind
    node.attr["num_args"].i = len(inputs) - 2
    if op == "_FusedConv2D":
        node.attr["TArgs"].list.type.extend([kind] * (len(inputs) - 2))
    for key, value in attributes.items():
        if isinstance(value, list) and isinstance(value[0], str):
            node.attr[key].list.s.extend(v.encode() for v in value)
        elif isinstance(value, list):
            node.attr[key].list.i.extend(value)
        elif isinstance(value, bool):
            node.attr[key].b = value
        elif isinstance(value, float):
            node.attr[key].f = value
        else:
            node.attr[key].s = value.encode()
    return by_graphrack(graph.SerializeToString(), {f"x{i}:0": value for i, value in enumerate(inputs)})


ACTIVATIONS: dict[str, Any] = {
    "Relu": tf.nn.relu,
    "Relu6": tf.nn.relu6,
    "Elu": tf.nn.elu,
    "LeakyRelu": lambda y: tf.nn.leaky_relu(y, 0.3),
    "Tanh": tf.tanh,
    "Sigmoid": tf.sigmoid,
    "_FusedHardSwish": lambda y: y * tf.nn.relu6(y + 3) / 6,
    "_MklSwish": lambda y: y * tf.sigmoid(y),
    "GeluApproximate": lambda y: 0.5 * y * (1 + tf.tanh(0.7978845608028654 * (y + 0.044715 * y**3))),
    "GeluExact": lambda y: 0.5 * y * (1 + tf.math.erf(y * 0.7071067811865476)),
}


def evaluated(function: Any, dtype: Any) -> Any:
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.cast(function(), tf.as_dtype(dtype)))


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_convolution_fused_with_bias_or_normalization_and_activation(
    data_format: str, normalised: bool, activation: str | None
) -> None:
    image, filter = numbers((2, 6, 5, 3)), numbers((3, 2, 3, 4))
    args = [numbers((4,), seed=i) for i in range(4 if normalised else 1)]
    if normalised:
        args[3] = np.abs(args[3])
    fused = ["FusedBatchNorm" if normalised else "BiasAdd", *([activation] if activation else [])]
    attributes = {"strides": [1, 1, 1, 1], "padding": "SAME", "fused_ops": fused, "epsilon": 0.1}
    attributes |= {"leakyrelu_alpha": 0.3, "data_format": data_format}
    given = np.ascontiguousarray(np.moveaxis(image, -1, 1)) if data_format == "NCHW" else image
    (found,) = by_fused_node("_FusedConv2D", [given, filter, *args], attributes)

    def unfused() -> Any:
        y = tf.nn.conv2d(image, filter, [1, 1, 1, 1], "SAME")
        y = tf.nn.batch_normalization(y, args[2], args[3], args[1], args[0], 0.1) if normalised else y + args[0]
        return ACTIVATIONS[activation](y) if activation else y

    expected = evaluated(unfused, np.float32)
    compare(np.moveaxis(found, 1, -1) if data_format == "NCHW" else found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_convolution_fused_with_a_sum(dtype: Any) -> None:
    image, filter, bias = numbers((2, 6, 5, 3), dtype), numbers((3, 2, 3, 4), dtype), numbers((4,), dtype)
    side = numbers((2, 6, 5, 4), dtype)
    attributes = {"strides": [1, 1, 1, 1], "padding": "SAME", "fused_ops": ["BiasAdd", "Add", "Relu"]}
    (found,) = by_fused_node("_FusedConv2D", [image, filter, bias, side], attributes)
    wide = np.float64 if dtype == np.float64 else np.float32

    def unfused() -> Any:
        y = tf.nn.conv2d(image.astype(wide), filter.astype(wide), [1, 1, 1, 1], "SAME")
        return tf.nn.relu(y + bias.astype(wide) + side.astype(wide))

    compare(found, evaluated(unfused, dtype))


def test_convolution_takes_filters_with_depths_first() -> None:
    image, filter, bias = numbers((2, 6, 5, 3)), numbers((3, 2, 3, 4)), numbers((4,))
    attributes = {"strides": [1, 2, 1, 1], "padding": "VALID", "fused_ops": ["BiasAdd"]}
    (expected,) = by_fused_node("_FusedConv2D", [image, filter, bias], attributes)
    moved = np.ascontiguousarray(filter.transpose(3, 2, 0, 1))
    (found,) = by_fused_node("_FusedConv2D", [image, moved, bias], {**attributes, "filter_format": "OIHW"})
    compare(found, expected)


@pytest.mark.parametrize("activation", ["Relu", "Relu6", "Elu"])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_depthwise_convolution_fused_with_bias_and_activation(data_format: str, activation: str) -> None:
    image, filter, bias = numbers((2, 6, 5, 3)), numbers((3, 2, 3, 2)), numbers((6,))
    attributes = {"strides": [1, 1, 1, 1], "padding": "SAME", "fused_ops": ["BiasAdd", activation]}
    given = np.ascontiguousarray(np.moveaxis(image, -1, 1)) if data_format == "NCHW" else image
    inputs = [given, filter, bias]
    (found,) = by_fused_node("_FusedDepthwiseConv2dNative", inputs, {**attributes, "data_format": data_format})

    def unfused() -> Any:
        y = tf.raw_ops.DepthwiseConv2dNative(input=image, filter=filter, strides=[1, 1, 1, 1], padding="SAME")
        return ACTIVATIONS[activation](y + bias)

    compare(np.moveaxis(found, 1, -1) if data_format == "NCHW" else found, evaluated(unfused, np.float32))


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize(("transpose_a", "transpose_b"), [(False, False), (True, False), (False, True), (True, True)])
def test_matmul_fused_with_bias_and_activation(transpose_a: bool, transpose_b: bool, activation: str) -> None:
    a, b = numbers((5, 3) if transpose_a else (3, 5)), numbers((4, 5) if transpose_b else (5, 4))
    bias = numbers((4,))
    attributes: dict[str, Any] = {"transpose_a": transpose_a, "transpose_b": transpose_b, "leakyrelu_alpha": 0.3}
    (found,) = by_fused_node("_FusedMatMul", [a, b, bias], {**attributes, "fused_ops": ["BiasAdd", activation]})

    def unfused() -> Any:
        return ACTIVATIONS[activation](tf.matmul(a, b, transpose_a, transpose_b) + bias)

    compare(found, evaluated(unfused, np.float32))


def test_fused_nodes_refuse_unknown_ops_and_other_shapes() -> None:
    a, b, bias = numbers((3, 5)), numbers((5, 4)), numbers((4,))
    assert isinstance(by_fused_node("_FusedMatMul", [a, b, bias], {"fused_ops": ["BiasAdd", "Cosh"]}), Refused)
    assert isinstance(by_fused_node("_FusedMatMul", [a, b, bias[:3]], {"fused_ops": ["BiasAdd"]}), Refused)
    assert isinstance(by_fused_node("_FusedMatMul", [a, b], {"fused_ops": ["BiasAdd"]}), Refused)
    assert isinstance(by_fused_node("_FusedMatMul", [a, a, bias], {"fused_ops": ["BiasAdd"]}), Refused)


PADDINGS = np.array([[0, 0], [2, 1], [0, 2], [0, 0]], np.int32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("mode", ["REFLECT", "SYMMETRIC"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_convolution_of_mirrored_images(padding: str, mode: str, dtype: Any) -> None:
    loose = 5e-2 if dtype == np.float16 else None  # TensorFlow adds halves one by one, each time rounded
    arguments: dict[str, Any] = {"paddings": PADDINGS, "mode": mode, "padding": padding, "strides": [1, 2, 2, 1]}
    arguments |= {"filter": numbers((3, 2, 3, 4), dtype), "static_shapes": True, "refused": False}
    arguments |= {"rtol": loose, "atol": loose}
    image = numbers((1, 5, 4, 3), dtype)  # of a larger batch, TensorFlow convolves the first image alone
    check("FusedPadConv2D", input=image, **arguments)
    for align in (False, True):
        size = np.array([7, 9], np.int32)
        check("FusedResizeAndPadConv2D", input=image, size=size, resize_align_corners=align, **arguments)


@pytest.mark.parametrize(
    "paddings",
    [
        [[0, 0], [5, 0], [0, 0], [0, 0]],
        [[0, 0], [4, 0], [0, 0], [0, 0]],
        [[0, 0], [-1, 0], [0, 0], [0, 0]],
        [[1, 0], [0, 0], [0, 0], [0, 0]],
        [[0, 0], [0, 0], [0, 0], [0, 1]],
    ],
)
def test_convolution_of_mirrored_images_refuses_other_paddings(paddings: list[list[int]]) -> None:
    check(
        "FusedPadConv2D",
        input=numbers((2, 4, 4, 3)),
        paddings=np.array(paddings, np.int32),
        filter=numbers((2, 2, 3, 4)),
        mode="REFLECT",
        strides=[1, 1, 1, 1],
        padding="VALID",
        static_shapes=True,
        refused=True,
    )
