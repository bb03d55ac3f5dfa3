from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import Constant, check
from ops.test_quantized import ABOVE, QINT8, QINT32, QUINT8, F, by_channel, ends_of, quantized


@pytest.mark.parametrize("ends", ABOVE)
def test_matmul(ends: tuple[float, float]) -> None:
    bounds = {**ends_of("a", ends), **ends_of("b", (-2.0, 2.5))}
    for turned_a, turned_b in ((False, False), (True, False), (False, True), (True, True)):
        a = quantized(QUINT8, *((4, 3) if turned_a else (3, 4)))
        b = quantized(QUINT8, *((5, 4) if turned_b else (4, 5)), seed=1)
        check("QuantizedMatMul", a=a, b=b, **bounds, transpose_a=turned_a, transpose_b=turned_b, refused=False)
    check("QuantizedMatMul", a=quantized(QUINT8, 3, 4), b=quantized(QUINT8, 3, 4), **bounds, refused=True)
    check("QuantizedMatMul", a=quantized(QUINT8, 4), b=quantized(QUINT8, 4, 3), **bounds, refused=True)


@pytest.mark.parametrize("ends", ABOVE)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_conv2d_of_unsigned_integers(padding: str, ends: tuple[float, float]) -> None:
    bounds = {**ends_of("input", ends), **ends_of("filter", (-2.0, 2.5))}
    input, filter = quantized(QUINT8, 2, 5, 6, 3), quantized(QUINT8, 3, 2, 3, 4, seed=1)
    for stride in (1, 2):
        attributes = {"strides": [1, stride, stride, 1], "padding": padding}
        if padding == "VALID" or ends[0] <= 0 <= ends[1]:  # elsewhere TensorFlow pads with what is not zero
            check("QuantizedConv2D", input=input, filter=filter, **bounds, **attributes, refused=False)
    other = quantized(QUINT8, 3, 2, 2, 4)
    check("QuantizedConv2D", input=input, filter=other, **bounds, **attributes, refused=True)


# Signed filters. Intel's kernels take constant ones alone.
FILTER, BY_DEPTH = (Constant(quantized(QINT8, *shape)) for shape in ((3, 2, 3, 4), (3, 2, 3, 1)))
INPUT, SIGNED = quantized(QUINT8, 2, 5, 6, 3), quantized(QINT8, 2, 5, 6, 3)
BIAS = np.array([1.5, -2.25, 0.3, 7.0], np.float32)
INTEGERS = np.array([900, -12345, 3, 77777], np.int32).view(QINT32.as_numpy_dtype)
CONV: dict[str, Any] = {"strides": [1, 1, 1, 1], "padding": "SAME"}
FROZEN = {"min_freezed_output": F(-20), "max_freezed_output": F(30)}
BOUNDS = [
    {**ends_of("input", (0.0, 2.0)), **ends_of("filter", (-2.5, 2.0))},
    {**ends_of("input", (-1.0, 2.0)), **ends_of("filter", (-1.0, 1.0))},
    {**ends_of("input", (0.0, 2.0)), "min_filter": by_channel(-1), "max_filter": by_channel(0.9)},
]


@pytest.mark.parametrize("bounds", BOUNDS, ids=["positive", "around zero", "by channel"])
def test_conv2d_of_a_signed_filter_and_what_is_fused_with_it(bounds: dict[str, Any]) -> None:
    given = {"filter": FILTER, **bounds, "refused": False}
    for op in ("QuantizedConv2D", "QuantizedConv2DPerChannel", "QuantizedConv2DAndRelu"):
        check(op, input=INPUT, **given, **CONV)
        check(op, input=INPUT, **given, strides=[1, 2, 2, 1], padding="VALID", dilations=[1, 2, 2, 1])
    check("QuantizedConv2DAndReluAndRequantize", input=INPUT, **given, **CONV, **FROZEN)
    check("QuantizedConv2DAndRequantize", input=INPUT, **given, **CONV, **FROZEN, out_type=QINT8)
    for input in (INPUT, SIGNED):
        for op in ("QuantizedConv2DWithBias", "QuantizedConv2DWithBiasAndRelu"):
            check(op, input=input, bias=BIAS, **given, **CONV)
        for bias in (BIAS, INTEGERS):
            fused = {"input": input, "bias": bias, **given, **CONV, **FROZEN}
            check("QuantizedConv2DWithBiasAndRequantize", **fused, out_type=QINT8)
            check("QuantizedConv2DWithBiasAndReluAndRequantize", **fused, out_type=QUINT8)


@pytest.mark.parametrize("bounds", BOUNDS, ids=["positive", "around zero", "by channel"])
def test_depthwise_conv2d_and_what_is_fused_with_it(bounds: dict[str, Any]) -> None:
    ends = {key: value[:3] if value.ndim else value for key, value in bounds.items()}
    given = {"input": INPUT, "filter": BY_DEPTH, **ends, **CONV, "refused": False}
    check("QuantizedDepthwiseConv2D", **given)
    check("QuantizedDepthwiseConv2DWithBias", bias=BIAS[:3], **given)
    check("QuantizedDepthwiseConv2DWithBiasAndRelu", bias=BIAS[:3], **given)
    for bias in (BIAS[:3], INTEGERS[:3]):
        check("QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize", bias=bias, **given, **FROZEN)


def test_paddings_by_list() -> None:
    given = {"input": INPUT, "filter": FILTER, **BOUNDS[0], "strides": [1, 1, 1, 1]}
    paddings = {"padding": "VALID", "padding_list": [0, 0, 1, 2, 0, 1, 0, 0]}
    check("QuantizedConv2DAndRelu", **given, **paddings)
    check("QuantizedConv2DWithBias", bias=BIAS, **given, **paddings)


# SCALED is for numbers from zero on; of others TensorFlow makes something else every time.
@pytest.mark.parametrize(
    ("mode", "ends"), [("MIN_FIRST", (-1.0, 2.0)), ("MIN_FIRST", (0.0, 2.0)), ("SCALED", (0.0, 2.0))]
)
def test_matmul_of_a_signed_operand_and_what_is_fused_with_it(mode: str, ends: tuple[float, float]) -> None:
    operands = {"a": quantized(QUINT8, 3, 6), "b": Constant(quantized(QINT8, 6, 4)), "input_quant_mode": mode}
    given = {**operands, **ends_of("a", ends), **ends_of("b", (-2.5, 2.0)), "refused": False}
    check("QuantizedMatMulWithBiasAndRelu", bias=BIAS, **given)
    for bias in (BIAS, INTEGERS):
        check("QuantizedMatMulWithBias", bias=bias, **given)
        for op in ("QuantizedMatMulWithBiasAndRequantize", "QuantizedMatMulWithBiasAndReluAndRequantize"):
            check(op, bias=bias, **given, **FROZEN)
        check("QuantizedMatMulWithBiasAndDequantize", bias=bias, **given, **FROZEN, Toutput=tf.float32, rtol=1e-4)
