from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import by_tensorflow, check

from graphrack.formats.dtypes import DTYPES
from graphrack.ops.registry import lookup

Array = np.ndarray[Any, Any]
QINT8, QUINT8, QINT32 = tf.qint8, tf.quint8, tf.qint32
RANGES = [(-1.0, 2.0), (0.0, 3.0), (-3.0, 0.0), (1.0, 2.0), (-5.0, -1.5), (0.0, 0.0)]
ABOVE = [ends for ends in RANGES if ends != (0.0, 0.0)]
F = np.float32


def quantized(T: Any, *shape: int, seed: int = 0) -> Array:
    """Any integers of the type, and its least and greatest."""
    plain = np.dtype(T.as_numpy_dtype)[0]
    info = np.iinfo(plain)
    values = np.random.default_rng([seed, *shape]).integers(info.min, info.max, shape, endpoint=True)
    if values.size > 1:
        values.reshape(-1)[:2] = info.min, info.max
    return values.astype(plain).view(T.as_numpy_dtype)


def ends_of(name: str, ends: tuple[float, float]) -> dict[str, Any]:
    return {f"min_{name}": F(ends[0]), f"max_{name}": F(ends[1])}


@pytest.mark.parametrize("ends", ABOVE)
@pytest.mark.parametrize("op", ["QuantizedAdd", "QuantizedMul"])
def test_sums_and_products(op: str, ends: tuple[float, float]) -> None:
    for x, y in (
        ((3, 4), (3, 4)),
        ((3, 4), (4,)),
        ((4,), (3, 4)),
        ((), (4,)),
        ((2, 3), ()),
        ((2, 3, 4), (4,)),
        ((), ()),
    ):
        arguments = {"x": quantized(QUINT8, *x), "y": quantized(QUINT8, *y, seed=1)}
        check(op, **arguments, **ends_of("x", ends), **ends_of("y", (-2.0, 2.0)), refused=False)
    arguments = {"x": quantized(QUINT8, 3, 4), "y": quantized(QUINT8, 3)}
    check(op, **arguments, **ends_of("x", ends), **ends_of("y", (-2.0, 2.0)), refused=True)


@pytest.mark.parametrize("ends", ABOVE)
@pytest.mark.parametrize("T", [QINT8, QUINT8], ids=lambda t: t.name)
def test_bias(T: Any, ends: tuple[float, float]) -> None:
    bounds = {**ends_of("input", ends), **ends_of("bias", (-2.0, 0.5))}
    for shape in ((3, 4), (2, 3, 2, 4)):
        bias = quantized(T, 4)
        check("QuantizedBiasAdd", input=quantized(T, *shape), bias=bias, **bounds, out_type=QINT32, refused=False)
    check("QuantizedBiasAdd", input=quantized(T, 3, 4), bias=quantized(T, 3), **bounds, out_type=QINT32, refused=True)


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("T", [QUINT8, QINT32], ids=lambda t: t.name)
@pytest.mark.parametrize("op", ["QuantizedRelu", "QuantizedRelu6"])
def test_activations(op: str, T: Any, ends: tuple[float, float]) -> None:
    for bounds in (ends, (ends[0], 9.0)):
        check(op, features=quantized(T, 40), **ends_of("features", bounds), out_type=T, refused=False)


@pytest.mark.parametrize("ends", ABOVE)
def test_other_ranges(ends: tuple[float, float]) -> None:
    # Without the greatest integer, which TensorFlow may take for the one above.
    for values in (quantized(QINT32, 60)[2:], quantized(QINT32, 60).view(np.int32) // 1000):
        values = values.view(QINT32.as_numpy_dtype)
        bounds = {"input_min": F(ends[0]), "input_max": F(ends[1])}
        check("RequantizationRange", input=values, **bounds, refused=False)
        check("QuantizeDownAndShrinkRange", input=values, **bounds, out_type=QUINT8, refused=False)
        for low, high in ((-1.0, 1.0), (0.0, 0.25), (-0.5, 0.0), (0.5, 1.0), (-1.0, -2.0)):
            asked = {"requested_output_min": F(low), "requested_output_max": F(high)}
            for T in (QUINT8, QINT8):
                check("Requantize", input=values, **bounds, **asked, out_type=T)


def by_channel(low: float) -> Array:
    return np.linspace(low, 2 * low, 4).astype(np.float32)


def test_ranges_of_channels() -> None:
    values = quantized(QINT32, 1, 3, 2, 4)
    bounds = {"input_min": by_channel(-1), "input_max": by_channel(0.7)}
    positive = np.abs(values.view(np.int32) // 3).view(QINT32.as_numpy_dtype)
    for input in (values, positive):
        for clip in (1e9, 0.1):
            check("RequantizationRangePerChannel", input=input, **bounds, clip_value_max=clip, refused=False)
        for T in (QINT8, QUINT8):
            asked = {"requested_output_min": F(-0.9), "requested_output_max": F(1.7), "out_type": T}
            check("RequantizePerChannel", input=input, **bounds, **asked, refused=False)
    asked = {"requested_output_min": F(0), "requested_output_max": F(1.7), "out_type": QINT8}
    check("RequantizePerChannel", input=values, **bounds, **asked, refused=True)
    check("RequantizationRangePerChannel", input=values, input_min=F(-1), input_max=F(1), clip_value_max=1e9)


@pytest.mark.parametrize("ends", ABOVE)
def test_joined_tensors_get_a_range_that_holds_them_all(ends: tuple[float, float]) -> None:
    for T in (QUINT8, QINT32):
        for other in (ends, (-1.0, 2.0)):
            lows, highs = [F(ends[0]), F(other[0])], [F(ends[1]), F(other[1])]
            for axis, shapes in ((0, ((2, 3), (4, 3))), (1, ((2, 3), (2, 1))), (-1, ((2, 3), (2, 3)))):
                values = [quantized(T, *shape) for shape in shapes]
                check("QuantizedConcat", concat_dim=np.int32(axis), values=values, input_mins=lows, input_maxes=highs)
    values = [quantized(QUINT8, 2, 3), quantized(QUINT8, 2, 3)]
    arguments = {"values": values, "input_mins": [F(0), F(0)], "input_maxes": [F(1), F(1)]}
    check("QuantizedConcat", concat_dim=np.int32(2), **arguments, refused=True)
    arguments["values"] = [values[0], quantized(QUINT8, 3, 3)]
    check("QuantizedConcat", concat_dim=np.int32(1), **arguments, refused=True)


@pytest.mark.parametrize("T", [QINT8, QUINT8], ids=lambda t: t.name)
def test_joined_tensors_of_one_range_are_joined_as_they_are(T: Any) -> None:
    values = [quantized(T, 2, 3), quantized(T, 2, 1)]
    lows = [F(-2 if T == QINT8 else 0)] * 2
    arguments = {"values": values, "input_mins": lows, "input_maxes": [F(2)] * 2}
    check("QuantizedConcatV2", axis=np.int32(1), **arguments, refused=False)


def test_reshape() -> None:
    for T in (QUINT8, QINT32):
        arguments = {"tensor": quantized(T, 2, 3), "input_min": F(-1), "input_max": F(1)}
        for shape in ([3, -1], [6], [4, -1]):
            check("QuantizedReshape", shape=np.array(shape, np.int32), **arguments)


@pytest.mark.parametrize("op", ["QuantizedMaxPool", "QuantizedAvgPool"])
@pytest.mark.parametrize("T", [QINT8, QUINT8], ids=lambda t: t.name)
def test_pools(T: Any, op: str) -> None:
    for padding in ("SAME", "VALID"):
        for ksize, strides in (([1, 2, 3, 1], [1, 2, 1, 1]), ([1, 3, 3, 1], [1, 1, 2, 1])):
            attributes = {"ksize": ksize, "strides": strides, "padding": padding}
            check(op, input=quantized(T, 2, 5, 6, 3), **ends_of("input", (-1.0, 2.0)), **attributes, refused=False)
    attributes = {"ksize": [1, 2, 2, 1], "strides": [1, 1, 1, 1], "padding": "SAME"}
    check(op, input=quantized(T, 5, 6, 3), **ends_of("input", (-1.0, 2.0)), **attributes, refused=True)


@pytest.mark.parametrize("flags", [{}, {"align_corners": True}, {"half_pixel_centers": True}])
def test_resize_bilinear(flags: dict[str, bool]) -> None:
    for size in ([7, 3], [4, 5], [1, 9]):
        arguments = {"size": np.array(size, np.int32), "min": F(-1), "max": F(2), **flags}
        check("QuantizedResizeBilinear", images=quantized(QUINT8, 2, 4, 5, 3), **arguments, refused=False)
        images = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
        check("QuantizedResizeBilinear", images=images, **arguments, refused=False)
        images = (quantized(QINT32, 2, 4, 5, 3).view(np.int32) >> 1).view(QINT32.as_numpy_dtype)
        expected = by_tensorflow("QuantizedResizeBilinear", {"images": images, **arguments})[2]
        op = lookup("QuantizedResizeBilinear")
        assert op is not None
        found = op.bind("n", {"T": DTYPES[13], **flags}, {})(images, arguments["size"], F(-1), F(2))
        np.testing.assert_allclose(found[0].view(np.int32), expected[0].view(np.int32), rtol=0, atol=300)


@pytest.mark.parametrize("ends", ABOVE)
def test_instance_norm(ends: tuple[float, float]) -> None:
    arguments = {"x": quantized(QUINT8, 2, 4, 5, 3), "x_min": F(ends[0]), "x_max": F(ends[1])}
    check("QuantizedInstanceNorm", **arguments, refused=False)
    given = {"output_range_given": True, "given_y_min": -1.0, "given_y_max": 2.0}
    check("QuantizedInstanceNorm", **arguments, **given, variance_epsilon=0.1, refused=False)
    check("QuantizedInstanceNorm", **{**arguments, "x_max": F(ends[0])}, refused=True)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("ends", ABOVE)
def test_batch_norm(ends: tuple[float, float], scaled: bool) -> None:
    arguments = {"t": quantized(QUINT8, 1, 3, 2, 4), "t_min": F(ends[0]), "t_max": F(ends[1])}
    for i, (name, low, high) in enumerate((("m", -1, 1), ("v", 0, 3), ("beta", -1, 1), ("gamma", -1, 2))):
        arguments |= {name: quantized(QUINT8, 4, seed=i), f"{name}_min": F(low), f"{name}_max": F(high)}
    attributes = {"out_type": QINT32, "variance_epsilon": 0.01, "scale_after_normalization": scaled}
    op = "QuantizedBatchNormWithGlobalNormalization"
    check(op, **arguments, **attributes, refused=False)
    check(op, **{**arguments, "t": arguments["t"][0]}, **attributes, refused=True)
