from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check

QUANTIZED = [tf.qint8, tf.quint8, tf.qint16, tf.quint16, tf.qint32]
VALUES = np.concatenate(
    [np.linspace(-7, 7, 113), [0.5, 1.5, 2.5, -0.5, -1.5, 1e3, -1e3, 0.49999997, 1e-9, 0.0, -0.0]]
).astype(np.float32)
RANGES = [(-6.0, 6.0), (0.0, 6.0), (-6.0, 0.0), (-1.0, 3.5), (0.0, 0.0), (2.0, 5.0), (-5.0, -2.0), (-1e-6, 1e-6)]


def ends(low: float, high: float) -> dict[str, Any]:
    return {"min_range": np.float32(low), "max_range": np.float32(high)}


@pytest.mark.parametrize("T", QUANTIZED, ids=lambda t: t.name)
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_quantize(low: float, high: float, T: Any) -> None:
    for mode in ("MIN_COMBINED", "MIN_FIRST", "SCALED"):
        check("QuantizeV2", input=VALUES, **ends(low, high), T=T, mode=mode, refused=False)
    if T is tf.qint32:
        return
    for narrow in (False, True):
        for round_mode in ("HALF_AWAY_FROM_ZERO", "HALF_TO_EVEN"):
            if round_mode == "HALF_TO_EVEN" and not narrow and T in (tf.qint8, tf.quint8):
                continue  # TensorFlow for x86 has oneDNN do these, by another formula than the op's documentation
            if narrow and high <= 0 and T in (tf.quint8, tf.quint16):
                continue  # all comes down to a subnormal number here, and TensorFlow has none
            flags = {"narrow_range": narrow, "round_mode": round_mode, "mode": "SCALED"}
            check("QuantizeV2", input=VALUES, **ends(low, high), T=T, **flags, refused=False)
    check("QuantizeV2", input=VALUES, **ends(low, high), T=T, ensure_minimum_range=0.5, refused=False)


@pytest.mark.parametrize("mode", ["MIN_COMBINED", "SCALED"])
@pytest.mark.parametrize("axis", [0, 1])
def test_ranges_by_axis(axis: int, mode: str) -> None:
    values = np.resize(VALUES, (3, 4, 5))
    count = values.shape[axis]
    low, high = -np.arange(count, dtype=np.float32), np.arange(1, count + 1, dtype=np.float32)
    for T in (tf.qint8, tf.quint8):
        flags = {"T": T, "mode": mode, "axis": axis}
        check("QuantizeV2", input=values, min_range=low, max_range=high, **flags, refused=False)
        integers = np.resize(np.arange(120), values.shape).astype(np.int8 if T is tf.qint8 else np.uint8)
        quantized = integers.view(T.as_numpy_dtype)
        check("Dequantize", input=quantized, min_range=low, max_range=high, mode=mode, axis=axis, static_shapes=True)


def test_quantize_refuses_what_makes_no_sense() -> None:
    check("QuantizeV2", input=VALUES, **ends(2, 1), T=tf.qint8, refused=True)
    check("QuantizeV2", input=VALUES, **ends(0, 1), T=tf.qint8, round_mode="HALF_TO_EVEN", refused=True)
    check("QuantizeV2", input=VALUES, min_range=np.zeros(2, np.float32), max_range=np.float32(1), T=tf.qint8)
    check("QuantizeV2", input=VALUES, **ends(0, 1), T=tf.qint8, axis=1, refused=True)


def integers(T: Any) -> np.ndarray[Any, Any]:
    plain = T.as_numpy_dtype[0] if isinstance(T.as_numpy_dtype, np.dtype) else np.dtype(T.as_numpy_dtype)[0]
    info = np.iinfo(plain)
    return np.linspace(info.min, info.max, 97).astype(np.int64).clip(info.min, info.max).astype(plain)


@pytest.mark.parametrize("T", QUANTIZED, ids=lambda t: t.name)
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_dequantize(low: float, high: float, T: Any) -> None:
    quantized = integers(T).view(np.dtype(T.as_numpy_dtype))
    for mode in ("MIN_COMBINED", "MIN_FIRST"):
        check("Dequantize", input=quantized, **ends(low, high), mode=mode, refused=False)
    if T is not tf.qint32:  # TensorFlow looks for a kernel that it lacks
        for narrow in {False, T is not tf.quint8}:  # oneDNN's quint8 is narrow in its own way
            flags = {"mode": "SCALED", "narrow_range": narrow, "refused": False}
            check("Dequantize", input=quantized, **ends(low, high), **flags)
    check("Dequantize", input=quantized, **ends(low, high), dtype=tf.bfloat16, refused=False)
    check("Dequantize", input=quantized, **ends(low, high), axis=1, refused=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), [(-6, 6), (0, 6), (-1, 3.5), (-3.5, 1), (-5, -2), (2, 5)])
@pytest.mark.parametrize("signed", [False, True])
def test_quantize_and_dequantize(signed: bool, low: float, high: float, dtype: Any) -> None:
    values, given = VALUES.astype(dtype), {"input_min": dtype(low), "input_max": dtype(high)}
    for bits in (4, 8, 16):
        for range_given in (False, True):
            flags = {"signed_input": signed, "range_given": range_given}
            for narrow in (False, True):
                for mode in ("HALF_TO_EVEN", "HALF_UP"):
                    for name in ("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4"):
                        check(name, input=values, **given, num_bits=bits, narrow_range=narrow, round_mode=mode, **flags)
                check(
                    "QuantizeAndDequantizeV3",
                    input=values,
                    **given,
                    num_bits=np.int32(bits),
                    narrow_range=narrow,
                    **flags,
                )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quantize_and_dequantize_by_axis(axis: int) -> None:
    values = np.resize(VALUES, (3, 4, 5))
    count = values.shape[axis]
    low, high = -np.arange(count, dtype=np.float32), np.arange(1, count + 1, dtype=np.float32)
    for range_given in (False, True):
        given = {"input": values, "input_min": low, "input_max": high, "axis": axis, "range_given": range_given}
        check("QuantizeAndDequantizeV3", **given, num_bits=np.int32(8), refused=False)
        if not range_given:  # else TensorFlow wants scalars here and vectors there
            check("QuantizeAndDequantizeV2", **given, refused=False)
            check("QuantizeAndDequantizeV4", **given, refused=False)
    gradients = np.arange(60, dtype=np.float32).reshape(values.shape)
    check("QuantizeAndDequantizeV4Grad", gradients=gradients, input=values, input_min=low, input_max=high, axis=axis)


def test_the_gradient_goes_straight_through() -> None:
    low, high = np.float32(-1), np.float32(2)
    gradients = np.arange(VALUES.size, dtype=np.float32)
    given = {"gradients": gradients, "input_min": low, "input_max": high}
    check("QuantizeAndDequantizeV4Grad", **given, input=VALUES, refused=False)
    check("QuantizeAndDequantizeV4Grad", **given, input=VALUES[1:], refused=True)


def test_quantize_and_dequantize_refuses_what_makes_no_sense() -> None:
    given = {"input": VALUES, "input_min": np.float32(1), "input_max": np.float32(0)}
    check("QuantizeAndDequantizeV2", **given, range_given=True, refused=True)
    check("QuantizeAndDequantizeV2", **given, num_bits=0, refused=True)
    check("QuantizeAndDequantizeV2", **given, num_bits=64, refused=True)
    check("QuantizeAndDequantizeV2", **given, axis=1, refused=True)
    check("QuantizeAndDequantizeV3", **given, num_bits=np.int32(0), refused=True)


def test_the_first_form_has_its_range_as_attributes() -> None:
    # TensorFlow refuses "QuantizeAndDequantize" in graphs of today.
    from graphrack.ops import registry

    old, new = registry.lookup("QuantizeAndDequantize"), registry.lookup("QuantizeAndDequantizeV2")
    assert old is not None
    assert new is not None
    for given in (False, True):
        found = old.bind("n", {"range_given": given, "input_min": -1.0, "input_max": 2.0}, {})(VALUES)
        expected = new.bind("n", {"range_given": given}, {})(VALUES, np.float32(-1), np.float32(2))
        np.testing.assert_array_equal(found, expected)


FAKE = [(-6.0, 6.0), (0.0, 6.0), (-6.0, -0.5), (-1.0, 3.5), (2.0, 5.0), (-0.1, 6.3)]


@pytest.mark.parametrize(("low", "high"), FAKE)
@pytest.mark.parametrize("bits", [2, 8, 16])
@pytest.mark.parametrize("narrow", [False, True])
def test_fake_quantization(low: float, high: float, bits: int, narrow: bool) -> None:
    flags = {"num_bits": bits, "narrow_range": narrow, "refused": False}
    gradients = np.linspace(-1, 2, VALUES.size, dtype=np.float32)
    check("FakeQuantWithMinMaxArgs", inputs=VALUES, min=low, max=high, **flags)
    check("FakeQuantWithMinMaxArgsGradient", gradients=gradients, inputs=VALUES, min=low, max=high, **flags)
    given = {"min": np.float32(low), "max": np.float32(high)}
    check("FakeQuantWithMinMaxVars", inputs=VALUES, **given, **flags)
    check("FakeQuantWithMinMaxVarsGradient", gradients=gradients, inputs=VALUES, **given, **flags, rtol=1e-4)
    channels = VALUES[:120].reshape(5, 6, 4)
    vectors = {
        "min": np.array([low, 0, low * 2, 0], np.float32),
        "max": np.array([high, 0, high * 2, 1], np.float32),
    }
    weights = gradients[:120].reshape(5, 6, 4)
    check("FakeQuantWithMinMaxVarsPerChannel", inputs=channels, **vectors, **flags)
    check("FakeQuantWithMinMaxVarsPerChannel", inputs=channels[0, 0], **vectors, **flags)
    check(
        "FakeQuantWithMinMaxVarsPerChannelGradient", gradients=weights, inputs=channels, **vectors, **flags, rtol=1e-4
    )


def test_fake_quantization_of_an_empty_range_is_zero() -> None:
    zero = np.float32(0)
    check("FakeQuantWithMinMaxVars", inputs=VALUES, min=zero, max=zero, refused=False)
    check("FakeQuantWithMinMaxVarsGradient", gradients=VALUES, inputs=VALUES, min=zero, max=zero, refused=False)


def test_fake_quantization_refuses_what_makes_no_sense() -> None:
    two = np.float32(2)
    check("FakeQuantWithMinMaxArgs", inputs=VALUES, min=2.0, max=1.0, refused=True)
    check("FakeQuantWithMinMaxArgs", inputs=VALUES, num_bits=17, refused=True)
    check("FakeQuantWithMinMaxVars", inputs=VALUES, min=np.ones(2, np.float32), max=two, refused=True)
    vector = np.ones(3, np.float32)
    check("FakeQuantWithMinMaxVarsPerChannel", inputs=VALUES, min=vector, max=vector * 2, refused=True)
