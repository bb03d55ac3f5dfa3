"""From floats to quantized integers and back, and what acts so within floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import FLOAT, DType
from graphrack.ops._quantized import F, Grid, half_away, number
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array

_MODES = (b"MIN_COMBINED", b"MIN_FIRST", b"SCALED")


def _check_mode(mode: bytes) -> None:
    if mode not in _MODES:
        raise ValueError(f"mode must be MIN_COMBINED, MIN_FIRST or SCALED, got {mode!r}")


def _slices(value: Array, axis: int, low: Array, high: Array) -> tuple[list[int], Any, Any]:
    """The shape in which ranges of an axis broadcast against the value, and the ranges in it."""
    if axis < -1 or axis >= value.ndim:
        raise ValueError(f"axis must be -1 or in [0, {value.ndim}) for an input of rank {value.ndim}, got {axis}")
    count = 1 if axis == -1 else value.shape[axis]
    for name, given in (("min_range", low), ("max_range", high)):
        if np.size(given) != count:
            raise ValueError(f"{name} must have {count} elements, got shape {np.shape(given)}")
    shape = [1] * value.ndim
    if axis != -1:
        shape[axis] = count
    return shape, np.asarray(low).reshape(shape), np.asarray(high).reshape(shape)


def _scaled(grid: Grid, narrow: bool, low: Array, high: Array) -> Any:
    """Integers per float so that zero stays zero and the range is covered."""
    least, most = F(grid.lowest + narrow), F(grid.highest)
    greatest = np.finfo(F).max
    from_low = np.where(least * low > 0, least / low, greatest)
    from_high = np.where(most * high > 0, most / high, greatest)
    return np.minimum(from_low, from_high), least, most


@specialized("QuantizeV2", outputs=3)
def QuantizeV2(
    *,
    T: DType,
    mode: bytes = b"MIN_COMBINED",
    round_mode: bytes = b"HALF_AWAY_FROM_ZERO",
    narrow_range: bool = False,
    axis: int = -1,
    ensure_minimum_range: float = 0.01,
) -> Kernel:
    _check_mode(mode)
    if round_mode not in (b"HALF_AWAY_FROM_ZERO", b"HALF_TO_EVEN"):
        raise ValueError(f"round_mode must be HALF_AWAY_FROM_ZERO or HALF_TO_EVEN, got {round_mode!r}")
    if round_mode == b"HALF_TO_EVEN" and mode != b"SCALED":
        raise ValueError(f"round_mode HALF_TO_EVEN needs mode SCALED, got mode {mode!r}")
    grid = Grid(T)
    rounded = np.rint if round_mode == b"HALF_TO_EVEN" else half_away
    span = F(grid.highest) - F(grid.lowest)
    half = (span + F(1)) / F(2) if grid.signed else F(0)

    def nearest_of_array(input: Array, low: Array, high: Array) -> Any:
        return grid.nearest_of_array(input, float(low.reshape(())), float(high.reshape(())))

    nearest = _nearest_quint8 if grid.plain == np.uint8 else nearest_of_array

    def run(input: Array, min_range: Array, max_range: Array) -> tuple[Any, Any, Any]:
        ends = np.shape(min_range)
        _, given_low, given_high = _slices(input, axis, min_range, max_range)
        if (given_high < given_low).any():
            raise ValueError(f"max_range must be at least min_range, got {max_range} and {min_range}")
        low = np.minimum(F(0), given_low)
        apart = np.maximum(F(1), np.maximum(np.abs(given_low), np.abs(given_high))) * F(ensure_minimum_range)
        high = np.maximum(F(0), np.maximum(given_high, low + apart))
        if mode == b"SCALED":
            scale, least, most = _scaled(grid, narrow_range, low, high)
            low, high = least / scale, most / scale
            found = rounded(np.clip(input, low, high) * scale)
        elif mode == b"MIN_COMBINED":
            found = (np.clip(input, low, high) - low) * (span / (high - low))
            found = half_away(found - half) if grid.signed else np.trunc(found + F(0.5))
        elif axis != -1:
            raise ValueError("mode MIN_FIRST knows one range only, got an axis")
        else:
            found = nearest(input, low, high)
        return grid.quantized(_stored(found, grid)), low.reshape(ends), high.reshape(ends)

    return run


def _nearest_quint8(input: Array, low: Array, high: Array) -> Any:
    # TensorFlow has gemmlowp do these, with another rounding than that of the other types.
    scale = F(255) / (high - low)
    return np.clip(np.rint(input * scale - low * scale), 0, 255)


def _stored(found: Array, grid: Grid) -> Array:
    """Rounded floats as integers in range; what is no int32 becomes the least, as x86's conversion has it."""
    if grid.plain == np.int32:
        return np.where(found >= 2.0**31, grid.lowest, found.astype(np.int64))
    return np.clip(found, grid.lowest, grid.highest)


@specialized("Dequantize")
def Dequantize(
    *, T: DType, mode: bytes = b"MIN_COMBINED", narrow_range: bool = False, axis: int = -1, dtype: DType = FLOAT
) -> Kernel:
    _check_mode(mode)
    grid = Grid(T)
    span = F(grid.highest) - F(grid.lowest)
    half = (span + F(1)) / F(2) if grid.signed else F(0)
    result = dtype.numpy

    def run(input: Array, min_range: Array, max_range: Array) -> Any:
        integers = grid.integers(input)
        _, low, high = _slices(integers, axis, min_range, max_range)
        if mode == b"SCALED":
            scale = high / F(grid.highest)
            if grid.signed:
                scale = np.maximum(low / F(grid.lowest + narrow_range), scale)
            return (integers.astype(F) * scale).astype(result, copy=False)
        if mode == b"MIN_COMBINED":
            found = (integers.astype(F) + half) * ((high - low) / span) + low
            return found.astype(result, copy=False)
        if axis != -1 and low.size > 1:
            raise ValueError("mode MIN_FIRST knows one range only, got an axis")
        found = grid.floats_of_array(integers, float(low.reshape(-1)[0]), float(high.reshape(-1)[0]))
        return found.astype(result, copy=False)

    return run


# Within floats


def _quantize_and_dequantize(
    input: Array, low: Any, high: Any, signed: bool, bits: int, clip: bool, to_even: bool, narrow: bool
) -> Any:
    """`low` and `high` broadcast against the input. Quantization after and before which zero is zero."""
    number = input.dtype.type
    least = number((-(1 << (bits - 1)) + narrow) if signed else 0)
    most = number((1 << (bits - 1)) - 1 if signed else (1 << bits) - 1)
    greatest = np.finfo(input.dtype).max
    from_low = np.where(least * low > 0, least / low, greatest)
    from_high = np.where(most * high > 0, most / high, greatest)
    by_low = from_low < from_high
    scale = np.where(by_low, from_low, from_high)
    inverse = np.where(by_low, low / least, high / most)
    if clip:  # to what the quantized type can hold, which may be more than the given range
        high = np.where(by_low, most * inverse, high)
        low = np.where(by_low, low, least * inverse)
        input = np.maximum(np.minimum(input, high), low)
    scaled = input * scale
    return (np.rint(scaled) if to_even else np.floor(scaled + number(0.5))) * inverse


def _check_bits(bits: int, signed: bool) -> None:
    most = 62 if signed else 63
    if not 0 < bits <= most + 1 - (not signed) or (signed and bits < 2):
        raise ValueError(f"num_bits must be from {1 + signed} to {most}, got {bits}")


def _quantizer(signed: bool, range_given: bool, round_mode: bytes, narrow: bool, axis: int) -> Kernel:
    if round_mode not in (b"HALF_TO_EVEN", b"HALF_UP"):
        raise ValueError(f"round_mode must be HALF_TO_EVEN or HALF_UP, got {round_mode!r}")
    if axis < -1:
        raise ValueError(f"axis must be at least -1, got {axis}")
    to_even = round_mode == b"HALF_TO_EVEN"

    def run(input: Array, low: Any, high: Any, bits: int) -> Any:
        _check_bits(bits, signed)
        if axis >= input.ndim:
            raise ValueError(f"axis must be below the input's rank {input.ndim}, got {axis}")
        if range_given:
            _, low, high = _slices(input, axis, low, high)
            if (low > high).any():
                raise ValueError(f"input_min must be at most input_max, got {low.reshape(-1)} and {high.reshape(-1)}")
        elif not input.size:
            return input
        else:
            others = tuple(i for i in range(input.ndim) if i != axis) if axis != -1 else None
            low, high = input.min(axis=others, keepdims=True), input.max(axis=others, keepdims=True)
        result = _quantize_and_dequantize(input, low, high, signed, bits, range_given, to_even, narrow)
        return result.astype(input.dtype, copy=False)

    return run


@specialized("QuantizeAndDequantize")
def QuantizeAndDequantize(
    *,
    signed_input: bool = True,
    num_bits: int = 8,
    range_given: bool = False,
    input_min: float = 0.0,
    input_max: float = 0.0,
) -> Kernel:
    quantizer = _quantizer(signed_input, range_given, b"HALF_TO_EVEN", False, -1)

    def run(input: Array) -> Any:
        kind = input.dtype.type
        return quantizer(input, kind(input_min), kind(input_max), num_bits)

    return run


@specialized("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4")
def QuantizeAndDequantizeV2(
    *,
    signed_input: bool = True,
    num_bits: int = 8,
    range_given: bool = False,
    round_mode: bytes = b"HALF_TO_EVEN",
    narrow_range: bool = False,
    axis: int = -1,
) -> Kernel:
    quantizer = _quantizer(signed_input, range_given, round_mode, narrow_range, axis)
    return lambda input, input_min, input_max: quantizer(input, input_min, input_max, num_bits)


@specialized("QuantizeAndDequantizeV3")
def QuantizeAndDequantizeV3(
    *, signed_input: bool = True, range_given: bool = True, narrow_range: bool = False, axis: int = -1
) -> Kernel:
    quantizer = _quantizer(signed_input, range_given, b"HALF_TO_EVEN", narrow_range, axis)

    def run(input: Array, input_min: Array, input_max: Array, num_bits: Array) -> Any:
        if num_bits.ndim:
            raise ValueError(f"num_bits must be a scalar, got shape {num_bits.shape}")
        return quantizer(input, input_min, input_max, int(num_bits))

    return run


@op("QuantizeAndDequantizeV4Grad", outputs=3)
def QuantizeAndDequantizeV4Grad(
    gradients: Array, input: Array, input_min: Array, input_max: Array, *, axis: int = -1
) -> tuple[Any, Any, Any]:
    """Straight through where the input is in range."""
    if gradients.shape != input.shape:
        raise ValueError(f"gradients and input must have the same shape, got {gradients.shape} and {input.shape}")
    _, low, high = _slices(input, axis, input_min, input_max)
    inside = (input >= low) & (input <= high)
    shape = np.shape(input_min)
    nothing = np.zeros(shape, input.dtype)
    return np.where(inside, gradients, input.dtype.type(0)), nothing, nothing


# FakeQuant


def _bits_range(num_bits: int, narrow_range: bool) -> tuple[Any, Any]:
    if not 2 <= num_bits <= 16:
        raise ValueError(f"num_bits must be from 2 to 16, got {num_bits}")
    return F(narrow_range), F((1 << num_bits) - 1)


def _nudged(low: Any, high: Any, ends: tuple[Any, Any]) -> tuple[Any, Any, Any]:
    """The range, moved so that zero is one of its steps; and the size of a step."""
    least, most = ends
    scale = (high - low) / (most - least)
    zero = least - low / scale
    zero = np.where(zero < least, least, np.where(zero > most, most, half_away(zero)))
    return (least - zero) * scale, (most - zero) * scale, scale


def _fake(inputs: Array, low: Any, high: Any, ends: tuple[Any, Any], steps: Any = None) -> Any:
    """Inputs on the nearest steps of the range. `steps`: the kernel multiplies by them instead of dividing."""
    nudged_low, nudged_high, scale = _nudged(low, high, ends)
    zero = np.floor(-nudged_low * (F(1) / scale) + F(0.5))
    shifted = np.maximum(np.minimum(inputs, nudged_high), nudged_low) - nudged_low
    return np.floor((shifted / scale if steps is None else shifted * steps) - zero + F(0.5)) * scale


def _inside(inputs: Array, low: Any, high: Any, ends: tuple[Any, Any]) -> tuple[Array, Array, Array]:
    """Where inputs lie below, in and above the nudged range."""
    nudged_low, nudged_high, _ = _nudged(low, high, ends)
    return inputs < nudged_low, (inputs >= nudged_low) & (inputs <= nudged_high), inputs > nudged_high


@specialized("FakeQuantWithMinMaxArgs")
def FakeQuantWithMinMaxArgs(
    *, min: float = -6.0, max: float = 6.0, num_bits: int = 8, narrow_range: bool = False
) -> Kernel:
    ends = _bits_range(num_bits, narrow_range)
    low, high = _ordered(min, max)
    steps = (ends[1] - ends[0]) / (high - low)
    return lambda inputs: _fake(inputs, low, high, ends, steps)


def _ordered(low: float, high: float) -> tuple[Any, Any]:
    if not low < high:
        raise ValueError(f"min must be less than max, got {low} and {high}")
    return F(low), F(high)


@specialized("FakeQuantWithMinMaxArgsGradient")
def FakeQuantWithMinMaxArgsGradient(
    *, min: float = -6.0, max: float = 6.0, num_bits: int = 8, narrow_range: bool = False
) -> Kernel:
    ends = _bits_range(num_bits, narrow_range)
    low, high = _ordered(min, max)

    def run(gradients: Array, inputs: Array) -> Any:
        _check_same(gradients, inputs)
        return gradients * _inside(inputs, low, high, ends)[1]

    return run


def _check_same(gradients: Array, inputs: Array) -> None:
    if gradients.shape != inputs.shape:
        raise ValueError(f"gradients and inputs must have the same shape, got {gradients.shape} and {inputs.shape}")


@specialized("FakeQuantWithMinMaxVars")
def FakeQuantWithMinMaxVars(*, num_bits: int = 8, narrow_range: bool = False) -> Kernel:
    ends = _bits_range(num_bits, narrow_range)

    def run(inputs: Array, min: Array, max: Array) -> Any:
        low, high = F(number("min", min)), F(number("max", max))
        if not low and not high:
            return np.zeros_like(inputs)
        return _fake(inputs, low, high, ends)

    return run


@specialized("FakeQuantWithMinMaxVarsGradient", outputs=3)
def FakeQuantWithMinMaxVarsGradient(*, num_bits: int = 8, narrow_range: bool = False) -> Kernel:
    ends = _bits_range(num_bits, narrow_range)

    def run(gradients: Array, inputs: Array, min: Array, max: Array) -> tuple[Any, Any, Any]:
        _check_same(gradients, inputs)
        low, high = F(number("min", min)), F(number("max", max))
        if not low and not high:
            return gradients, F(0), F(0)
        below, inside, above = _inside(inputs, low, high, ends)
        return gradients * inside, gradients.sum(where=below, dtype=F), gradients.sum(where=above, dtype=F)

    return run


def _check_channels(inputs: Array, min: Array, max: Array) -> None:
    expected = inputs.shape[-1:] if inputs.ndim else None
    if expected is None or min.shape != expected or max.shape != expected:
        raise ValueError(
            f"min and max must be vectors of the inputs' last size, got {min.shape} and {max.shape} for {inputs.shape}"
        )


@specialized("FakeQuantWithMinMaxVarsPerChannel")
def FakeQuantWithMinMaxVarsPerChannel(*, num_bits: int = 8, narrow_range: bool = False) -> Kernel:
    ends = _bits_range(num_bits, narrow_range)

    def run(inputs: Array, min: Array, max: Array) -> Any:
        _check_channels(inputs, min, max)
        found = _fake(inputs, min, max, ends, (ends[1] - ends[0]) / (max - min))
        return np.where((min == 0) & (max == 0), F(0), found)

    return run


@specialized("FakeQuantWithMinMaxVarsPerChannelGradient", outputs=3)
def FakeQuantWithMinMaxVarsPerChannelGradient(*, num_bits: int = 8, narrow_range: bool = False) -> Kernel:
    ends = _bits_range(num_bits, narrow_range)

    def run(gradients: Array, inputs: Array, min: Array, max: Array) -> tuple[Any, Any, Any]:
        _check_same(gradients, inputs)
        _check_channels(inputs, min, max)
        below, inside, above = _inside(inputs, min, max, ends)
        idle = (min == 0) & (max == 0)
        others = tuple(range(inputs.ndim - 1))
        ends_of = [np.where(idle, F(0), gradients.sum(axis=others, where=side)) for side in (below, above)]
        return np.where(idle, gradients, gradients * inside), ends_of[0], ends_of[1]

    return run
