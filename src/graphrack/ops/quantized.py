"""Arithmetic on quantized integers: sums, products, activations, pools, normalisation, and other ranges.

Each quantized tensor comes with two floats, the values of its type's least and greatest integer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DTYPES, DType
from graphrack.ops._arguments import legacy_scalar
from graphrack.ops._quantized import F, Grid, number, product_range
from graphrack.ops.image_resize import check_centers, check_images, linear, output_size
from graphrack.ops.pool import placed, pooled
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.shape import Reshape
from graphrack.ops.windows import Windows

QINT8, QUINT8, QINT32 = DTYPES[11], DTYPES[12], DTYPES[13]
Quantized = tuple[Any, Any, Any]


def _range_of_sum(headroom: int, *ends: float) -> tuple[Any, Any]:
    """A range for sums: the largest of the ends and so many bits more."""
    most = F(max(abs(F(end)) for end in ends) * F(1 << headroom))
    return -most, most


def _wrapped(total: Array) -> Any:
    return total.astype(np.int64, copy=False).astype(np.int32)


def _broadcastable(x: Array, y: Array) -> None:
    """TensorFlow's kernels know equal shapes, a scalar, and a vector along the last dimension."""
    small, large = sorted((x, y), key=lambda value: value.ndim)
    vector = small.ndim == 1 and large.ndim > 1 and small.shape[0] == large.shape[-1]
    if x.shape != y.shape and small.ndim and not vector:
        raise ValueError(
            f"x and y must have the same shape, or one be a scalar or a vector along the last dimension, got {x.shape} "
            f"and {y.shape}"
        )


# Sums and products


@specialized("QuantizedAdd", outputs=3)
def QuantizedAdd(*, T1: DType, T2: DType, Toutput: DType = QINT32) -> Kernel:
    a, b, out = Grid(T1), Grid(T2), Grid(Toutput)

    def scaled(grid: Grid, values: Array, low: float, high: float, ends: tuple[Any, Any], alone: bool) -> Any:
        if alone:  # a scalar added to all elements of another tensor
            return out.nearest(grid.floats(values, low, high), *ends)
        zero, one = (out.unclamped(float(grid.floats(i, low, high)), *ends) for i in (0, 1))
        return np.clip(zero + values.astype(np.int64) * (one - zero), out.lowest, out.highest)

    def run(x: Array, y: Array, min_x: Array, max_x: Array, min_y: Array, max_y: Array) -> Quantized:
        of_x = number("min_x", min_x), number("max_x", max_x)
        of_y = number("min_y", min_y), number("max_y", max_y)
        _broadcastable(x, y)
        ends = _range_of_sum(14, *of_x, *of_y)
        total = scaled(a, a.integers(x), *of_x, ends, x.size == 1)
        total = total + scaled(b, b.integers(y), *of_y, ends, y.size == 1 < x.size)
        return out.quantized(_wrapped(total)), *ends

    return run


@specialized("QuantizedMul", outputs=3)
def QuantizedMul(*, T1: DType, T2: DType, Toutput: DType = QINT32) -> Kernel:
    a, b, out = Grid(T1), Grid(T2), Grid(Toutput)

    def run(x: Array, y: Array, min_x: Array, max_x: Array, min_y: Array, max_y: Array) -> Quantized:
        of_x = number("min_x", min_x), number("max_x", max_x)
        of_y = number("min_y", min_y), number("max_y", max_y)
        _broadcastable(x, y)
        left = a.integers(x).astype(np.int64) - a.unclamped(0.0, *of_x)
        product = left * (b.integers(y).astype(np.int64) - b.unclamped(0.0, *of_y))
        return out.quantized(_wrapped(product)), *product_range(a, b, out, of_x, of_y)

    return run


@specialized("QuantizedBiasAdd", outputs=3)
def QuantizedBiasAdd(*, T1: DType, T2: DType, out_type: DType) -> Kernel:
    a, b, out = Grid(T1), Grid(T2), Grid(out_type)

    def run(
        input: Array, bias: Array, min_input: Array, max_input: Array, min_bias: Array, max_bias: Array
    ) -> Quantized:
        of_input = number("min_input", min_input), number("max_input", max_input)
        of_bias = number("min_bias", min_bias), number("max_bias", max_bias)
        if input.ndim < 2 or bias.shape != input.shape[-1:]:
            raise ValueError(
                f"input must have rank 2 or more and bias be a vector of its last size, got {input.shape} and "
                f"{bias.shape}"
            )
        ends = _range_of_sum(17, *of_input, *of_bias)
        total = out.nearest_of_array(a.floats_of_array(a.integers(input), *of_input), *ends).astype(np.int64)
        total += out.nearest_of_array(b.floats_of_array(b.integers(bias), *of_bias), *ends)
        return out.quantized(_wrapped(total + out.nearest(0.0, *ends))), *ends

    return run


# Activations


def _relu(most: float | None, grid: Grid) -> Kernel:
    def run(features: Array, min_features: Array, max_features: Array) -> Quantized:
        ends = F(number("min_features", min_features)), F(number("max_features", max_features))
        integers = np.maximum(grid.integers(features), grid.plain.type(grid.nearest(0.0, *ends)))
        if most is not None:
            integers = np.minimum(integers, grid.plain.type(grid.nearest(most, *ends)))
        return grid.quantized(integers), *ends

    return run


@specialized("QuantizedRelu", outputs=3)
def QuantizedRelu(*, Tinput: DType, out_type: DType = QUINT8) -> Kernel:
    return _relu(None, Grid(Tinput))


@specialized("QuantizedRelu6", outputs=3)
def QuantizedRelu6(*, Tinput: DType, out_type: DType = QUINT8) -> Kernel:
    return _relu(6.0, Grid(Tinput))


# Other ranges


def _requantized(source: Grid, target: Grid, integers: Array, ends: tuple[Any, Any], new: tuple[Any, Any]) -> Any:
    """Integers of one range and type as those of another."""
    if source.plain != np.int32 or target.plain != np.uint8:
        return target.nearest_of_array(source.floats_of_array(integers, *ends), *new)
    # TensorFlow has a formula of its own for these two types, in fixed point with 16 bits of fraction.
    low, high = new
    span = F(high) - F(low)
    scale = int(255.0 * (1 << 16) * float(F(ends[1]) - F(ends[0])) / float(span)) if span else 0
    centre = F((float(F(ends[0]) + F(ends[1]))) / 2.0)
    offset = int(centre * (F(255.0 / float(span)) if span else F(0)) * F(1 << 16))
    start = int(np.round((1 << 16) * (float(low) * 255.0) / float(span))) if span else 0
    value = (integers.astype(np.int64) * scale >> 32) + (offset - start + (1 << 15))
    return np.clip(value >> 16, 0, 255)


def _used_range(grid: Grid, integers: Array, ends: tuple[Any, Any]) -> tuple[Any, Any]:
    """The floats of the least and greatest integers there are, zero included."""
    if not integers.size:
        raise ValueError("input must have at least one element, got none")
    low, high = (F(grid.floats(value, *ends)) for value in (integers.min(), integers.max()))
    return min(F(0), low), high


@specialized("Requantize", outputs=3)
def Requantize(*, Tinput: DType, out_type: DType) -> Kernel:
    source, target = Grid(Tinput), Grid(out_type)

    def run(
        input: Array, input_min: Array, input_max: Array, requested_output_min: Array, requested_output_max: Array
    ) -> Quantized:
        ends = F(number("input_min", input_min)), F(number("input_max", input_max))
        low = F(number("requested_output_min", requested_output_min))
        high = F(number("requested_output_max", requested_output_max))
        if low > 0 or high < low:
            raise ValueError(
                f"requested_output_min must be at most 0 and at most requested_output_max, got {low} and {high}"
            )
        return target.quantized(_requantized(source, target, source.integers(input), ends, (low, high))), low, high

    return run


@specialized("RequantizationRange", outputs=2)
def RequantizationRange(*, Tinput: DType) -> Kernel:
    grid = Grid(Tinput)

    def run(input: Array, input_min: Array, input_max: Array) -> tuple[Any, Any]:
        ends = F(number("input_min", input_min)), F(number("input_max", input_max))
        return _used_range(grid, grid.integers(input), ends)

    return run


@specialized("QuantizeDownAndShrinkRange", outputs=3)
def QuantizeDownAndShrinkRange(*, Tinput: DType, out_type: DType) -> Kernel:
    source, target = Grid(Tinput), Grid(out_type)

    def run(input: Array, input_min: Array, input_max: Array) -> Quantized:
        ends = F(number("input_min", input_min)), F(number("input_max", input_max))
        integers = source.integers(input)
        new = _used_range(source, integers, ends)
        return target.quantized(_requantized(source, target, integers, ends, new)), *new

    return run


def _channel_ranges(input: Array, input_min: Array, input_max: Array) -> tuple[Array, Array]:
    for name, value in (("input_min", input_min), ("input_max", input_max)):
        if input.ndim != 4 or np.size(value) != input.shape[3]:
            raise ValueError(
                f"input must have rank 4 and {name} an element for each of its channels, got {input.shape} and "
                f"{np.shape(value)}"
            )
    return np.abs(np.reshape(input_min, -1)), np.abs(np.reshape(input_max, -1))


@specialized("RequantizationRangePerChannel", outputs=2)
def RequantizationRangePerChannel(*, T: DType = QINT32, clip_value_max: float) -> Kernel:
    """One range for all channels, the greatest that any of them uses."""
    grid = Grid(T)
    scale = F(1) / F(2.0**31)

    def run(input: Array, input_min: Array, input_max: Array) -> tuple[Any, Any]:
        most = np.maximum(*_channel_ranges(input, input_min, input_max))
        values = grid.integers(input).reshape(-1, input.shape[3])
        least, greatest = (ends.astype(F) for ends in (values.min(axis=0), values.max(axis=0)))
        largest = np.maximum(np.abs(least), np.abs(greatest))
        high = min((most * largest * scale).max(), F(clip_value_max))
        return (F(0) if (least >= 0).all() else -high), high

    return run


@specialized("RequantizePerChannel", outputs=3)
def RequantizePerChannel(*, T: DType = QINT32, out_type: DType = QUINT8) -> Kernel:
    source, target = Grid(T), Grid(out_type)
    factor = F(127) if target.signed else F(255)

    def run(
        input: Array, input_min: Array, input_max: Array, requested_output_min: Array, requested_output_max: Array
    ) -> Quantized:
        low = F(number("requested_output_min", requested_output_min))
        high = F(number("requested_output_max", requested_output_max))
        if target.signed and low >= 0:
            raise ValueError(f"requested_output_min must be below 0 for {out_type}, got {low}")
        most = np.maximum(*_channel_ranges(input, input_min, input_max))
        scales = factor * (most / max(abs(low), abs(high)) / F(2.0**31))
        found = np.rint(source.integers(input).astype(F) * scales)
        return target.quantized(np.clip(found, target.lowest, target.highest)), low, high

    return run


# Shapes


def _concatenated(
    grid: Grid, axis: int, values: Sequence[Array], lows: Sequence[Any], highs: Sequence[Any]
) -> Quantized:
    if not 0 <= axis < values[0].ndim:
        raise ValueError(f"axis must be in [0, {values[0].ndim}), got {axis}")
    for value in values:
        shapes = [(*v.shape[:axis], *v.shape[axis + 1 :]) for v in (value, values[0])]
        if value.ndim != values[0].ndim or shapes[0] != shapes[1]:
            raise ValueError(f"values must agree in all dimensions but {axis}, got {[v.shape for v in values]}")
    ranges = [(F(number("input_mins", a)), F(number("input_maxes", b))) for a, b in zip(lows, highs, strict=True)]
    low, high = min(F(0), min(a for a, _ in ranges)), max(b for _, b in ranges)
    if grid.signed:
        high = max(abs(low), abs(high))
        low = -high
    parts = [
        grid.integers(value)
        if ends == (low, high)
        else grid.nearest_of_array(grid.floats_of_array(grid.integers(value), *ends), low, high).astype(grid.plain)
        for value, ends in zip(values, ranges, strict=True)
    ]
    return grid.quantized(np.concatenate(parts, axis)), low, high


@specialized("QuantizedConcat", outputs=3)
def QuantizedConcat(*, N: int, T: DType) -> Kernel:
    """Ranges that differ become one that holds them all."""
    grid = Grid(T)

    def run(concat_dim: Array, *others: Array) -> Quantized:
        values, lows, highs = (others[i * N : (i + 1) * N] for i in range(3))
        return _concatenated(grid, legacy_scalar("concat_dim", concat_dim), values, lows, highs)

    return run


@specialized("QuantizedConcatV2", outputs=3)
def QuantizedConcatV2(*, N: int, T: DType) -> Kernel:
    grid = Grid(T)

    def run(*inputs: Array) -> Quantized:
        values, axis, lows, highs = inputs[:N], inputs[N], inputs[N + 1 : 2 * N + 1], inputs[2 * N + 1 :]
        return _concatenated(grid, legacy_scalar("axis", axis), values, lows, highs)

    return run


@specialized("QuantizedReshape", outputs=3)
def QuantizedReshape(*, T: DType) -> Kernel:
    reshape = Reshape()

    def run(tensor: Array, shape: Array, input_min: Array, input_max: Array) -> Quantized:
        for name, value in (("input_min", input_min), ("input_max", input_max)):
            number(name, value)
        return reshape(tensor, shape), input_min, input_max

    return run


# Images


@specialized("QuantizedMaxPool", outputs=3)
def QuantizedMaxPool(*, T: DType, ksize: Sequence[int], strides: Sequence[int], padding: bytes) -> Kernel:
    grid = Grid(T)
    windows = Windows("QuantizedMaxPool", b"NHWC", strides=strides, padding=padding)
    kernel = windows.spatial("ksize", ksize)

    def run(input: Array, min_input: Array, max_input: Array) -> Quantized:
        ends = F(number("min_input", min_input)), F(number("max_input", max_input))
        outs, pads = placed(windows, kernel, input)
        result = grid.integers(input)
        for axis, (window, stride, out, (before, _)) in enumerate(
            zip(kernel, windows.strides, outs, pads, strict=True), start=1
        ):
            result = pooled(result, axis, window, stride, out, before, np.maximum, grid.lowest)
        return grid.quantized(result), *ends

    return run


@specialized("QuantizedAvgPool", outputs=3)
def QuantizedAvgPool(*, T: DType, ksize: Sequence[int], strides: Sequence[int], padding: bytes) -> Kernel:
    grid = Grid(T)
    windows = Windows("QuantizedAvgPool", b"NHWC", strides=strides, padding=padding)
    kernel = windows.spatial("ksize", ksize)

    def run(input: Array, min_input: Array, max_input: Array) -> Quantized:
        ends = F(number("min_input", min_input)), F(number("max_input", max_input))
        outs, pads = placed(windows, kernel, input)
        result = grid.integers(input).astype(np.int32)
        count = np.ones((1,) * 4, F)
        for axis, (window, stride, out, (before, _)) in enumerate(
            zip(kernel, windows.strides, outs, pads, strict=True), start=1
        ):
            starts = np.arange(out) * stride - before
            inside = np.minimum(starts + window, input.shape[axis]) - np.maximum(starts, 0)
            count = count * inside.astype(F).reshape(-1, *(1,) * (3 - axis))
            result = pooled(result, axis, window, stride, out, before, np.add, 0)
        return grid.quantized(np.rint(result.astype(F) / count)), *ends

    return run


def _fixed(start: Array, end: Array, parts: Array) -> Array:
    """From start to end by a number of 128ths: the value, in 128ths."""
    result: Array = start * 128 + (end - start) * parts
    return result


@specialized("QuantizedResizeBilinear", outputs=3)
def QuantizedResizeBilinear(*, T: DType, align_corners: bool = False, half_pixel_centers: bool = False) -> Kernel:
    """8-bit integers in fixed point, with 7 bits of fraction; of those of 32 bits TensorFlow's kernel loses the last
    few bits, which are right here.
    """
    check_centers("QuantizedResizeBilinear", align_corners, half_pixel_centers)
    grid = Grid(T) if T.numpy.names else None

    def run(images: Array, size: Array, min: Array, max: Array) -> Quantized:
        ends = F(number("min", min)), F(number("max", max))
        check_images("QuantizedResizeBilinear", images)
        height, width = output_size("QuantizedResizeBilinear", size, images)
        rows = linear(images.shape[1], height, align_corners, half_pixel_centers)
        columns = linear(images.shape[2], width, align_corners, half_pixel_centers)
        down, across = rows.fraction.reshape(-1, 1, 1), columns.fraction.reshape(-1, 1)

        def corners(pixels: Array) -> list[Array]:
            lines = [pixels.take(index, 1) for index in (rows.lower, rows.upper)]
            return [line.take(index, 2) for line in lines for index in (columns.lower, columns.upper)]

        if grid is None or grid.plain.itemsize == 4:
            a, b, c, d = corners(images if grid is None else grid.integers(images).astype(np.float64))
            top, bottom = a + (b - a) * across, c + (d - c) * across
            found = top + (bottom - top) * down
            return (found if grid is None else grid.quantized(np.rint(found))), *ends
        a, b, c, d = corners(grid.integers(images).astype(np.int32))
        down, across = ((part * F(128)).astype(np.int32) for part in (down, across))
        top, bottom = _fixed(a, b, across), _fixed(c, d, across)
        steps = np.sign(bottom - top) * (np.abs(bottom - top) >> 7)  # towards zero
        return grid.quantized((top + steps * down + 64) >> 7), *ends

    return run


# Normalisation


@specialized("QuantizedInstanceNorm", outputs=3)
def QuantizedInstanceNorm(
    *,
    T: DType,
    output_range_given: bool = False,
    given_y_min: float = 0.0,
    given_y_max: float = 0.0,
    variance_epsilon: float = 1e-5,
    min_separation: float = 1e-3,
) -> Kernel:
    grid = Grid(T)
    if output_range_given and not given_y_min < given_y_max:
        raise ValueError(f"given_y_min must be less than given_y_max, got {given_y_min} and {given_y_max}")

    def run(x: Array, x_min: Array, x_max: Array) -> Quantized:
        if np.ndim(x_min) or np.ndim(x_max):
            raise ValueError(f"x_min and x_max must be scalars, got shapes {np.shape(x_min)} and {np.shape(x_max)}")
        if x.ndim != 4 or not x_min < x_max:
            raise ValueError(f"x must have rank 4 and x_min be less than x_max, got {x.shape}, {x_min} and {x_max}")
        scale = (F(x_max) - F(x_min)) / F(255)
        values = grid.integers(x).astype(F)
        centred = scale * (values - values.mean(axis=(1, 2), keepdims=True))
        variance = np.square(centred).mean(axis=(1, 2), keepdims=True)
        normed = centred / np.sqrt(variance + F(variance_epsilon))
        low, high = (F(given_y_min), F(given_y_max)) if output_range_given else (normed.min(), normed.max())
        if high - low < F(min_separation):
            high = low + F(min_separation)
        return grid.quantized(grid.nearest_of_array(normed, low, high)), low, high

    return run


@specialized("QuantizedBatchNormWithGlobalNormalization", outputs=3)
def QuantizedBatchNormWithGlobalNormalization(
    *, Tinput: DType, out_type: DType, variance_epsilon: float, scale_after_normalization: bool
) -> Kernel:
    """In fixed point: int32 with 10 bits of fraction, whatever the input's range."""
    source, target = Grid(Tinput), Grid(out_type)
    ends = F(-(1 << 20)), F(1 << 20)
    one = int(target.nearest(1.0, *ends))

    def run(t: Array, t_min: Array, t_max: Array, *others: Array) -> Quantized:
        names = ("m", "v", "beta", "gamma")
        floats = {}
        for i, name in enumerate(names):
            value, low, high = others[3 * i : 3 * i + 3]
            if t.ndim != 4 or value.shape != t.shape[3:]:
                raise ValueError(
                    f"t must have rank 4 and {name} be a vector of its channels, got {t.shape} and {value.shape}"
                )
            floats[name] = source.floats(
                source.integers(value), number(f"{name}_min", low), number(f"{name}_max", high)
            )
        scale = F(1) / np.sqrt(floats["v"] + F(variance_epsilon))
        if scale_after_normalization:
            scale = scale * floats["gamma"]
        offset = -floats["m"] * scale + floats["beta"]
        of_t = number("t_min", t_min), number("t_max", t_max)
        values = target.nearest(source.floats(source.integers(t), *of_t), *ends)
        product = _wrapped(values * target.nearest(scale, *ends)).astype(np.int64)
        quotient = np.sign(product) * (np.abs(product) // one)  # towards zero
        return target.quantized(_wrapped(quotient + target.nearest(offset, *ends))), *ends

    return run
