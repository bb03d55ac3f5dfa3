"""Pooling: each axis of the window in turn, by whole-array maxima and sums."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphrack.formats.dtypes import FLOAT, DType
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.windows import Sizes, Windows


def lowest(T: DType) -> Any:
    """The least finite value of a type: what TensorFlow's maxima start from."""
    if T.numpy.kind in "iu":
        return T.numpy.type(np.iinfo(T.numpy).min)
    if T.numpy.kind == "f":
        return np.finfo(T.numpy).min
    return -np.inf  # bfloat16


def reach(size: int, out: int, stride: int, at: int, before: int) -> tuple[slice, slice]:
    """Which outputs have an element of the input at this position of their window, and which elements."""
    first = max(0, -(-(before - at) // stride))
    last = min(out, (size - 1 + before - at) // stride + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    start = first * stride + at - before
    return slice(first, last), slice(start, start + (last - first - 1) * stride + 1, stride)


def taps(size: int, out: int, stride: int, window: int, before: int) -> range:
    """Positions in a window that meet the input anywhere: no more than the input's size, however large the window."""
    return range(max(0, before - (out - 1) * stride), min(window, before + size))


@lru_cache(maxsize=256)
def met(size: int, out: int, stride: int, window: int, before: int) -> int | Array:
    """How many elements of the input each window along an axis meets; one number where that is the same for all."""
    starts = np.arange(out) * stride - before
    counts: Array = np.minimum(starts + window, size) - np.maximum(starts, 0)
    return int(counts[0]) if out and (counts == counts[0]).all() else counts


def pooled(
    x: Array, axis: int, window: int, stride: int, out: int, before: int, combine: np.ufunc, start: Any
) -> Array:
    """One axis pooled: each output combines `start` with the inputs of its window that exist."""
    if window == 1 and stride == 1 and not before and out == x.shape[axis]:
        return x
    head = (slice(None),) * axis
    if not before and out and (out - 1) * stride + window <= x.shape[axis]:  # no window reaches beyond the input
        last = (out - 1) * stride + 1
        whole: Array = combine(x[(*head, slice(0, last, stride))], x.dtype.type(start))
        for at in range(1, window):
            combine(whole, x[(*head, slice(at, at + last, stride))], out=whole)
        return whole
    shape = (*x.shape[:axis], out, *x.shape[axis + 1 :])
    result = np.full(shape, start, x.dtype)
    for at in taps(x.shape[axis], out, stride, window, before):
        outputs, inputs = reach(x.shape[axis], out, stride, at, before)
        target = result[(*head, outputs)]
        combine(target, x[(*head, inputs)], out=target)
    return result


def _max_pool(windows: Windows, kernel: Sizes, T: DType) -> Kernel:
    start = lowest(T)
    # Comparing from the lowest value on, TensorFlow passes over NaN.
    combine = np.maximum if T.numpy.kind in "iu" else np.fmax

    def run(input: Array) -> Any:
        outs, pads = placed(windows, kernel, input)
        result = input
        for axis, (window, stride, out, (before, _)) in enumerate(
            zip(kernel, windows.strides, outs, pads, strict=True), start=1
        ):
            result = pooled(result, axis, window, stride, out, before, combine, start)
        return result

    return run


def placed(windows: Windows, kernel: Sizes, input: Array) -> tuple[Sizes, tuple[tuple[int, int], ...]]:
    """Output sizes and paddings for this input. Raises `ValueError` for another rank."""
    if input.ndim != windows.rank + 2:
        raise ValueError(f"{windows.op_name}'s input has shape {input.shape}, expected rank {windows.rank + 2}")
    return windows.place(input.shape[1:-1], kernel)


def _max_pool_depth(op_name: str, window: int, stride: int) -> Kernel:
    def run(input: Array) -> Any:
        if input.ndim != 4:
            raise ValueError(f"{op_name}'s input has shape {input.shape}, expected rank 4")
        depth = input.shape[-1]
        if window != stride or depth % window:
            raise ValueError(
                f"{op_name} over depth needs a window of {window} that equals its stride {stride} and divides "
                f"the depth {depth}"
            )
        parts = input.reshape(*input.shape[:-1], depth // window, window)
        result = parts[..., 0]
        for i in range(1, window):  # not a maximum for NaN: only what compares greater replaces the first
            result = np.where(parts[..., i] > result, parts[..., i], result)
        return result

    return run


def max_pool(
    op_name: str,
    T: DType,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: bytes,
    data_format: bytes,
    explicit_paddings: Sequence[int] = (),
) -> Kernel:
    """The kernel of MaxPool for these attributes."""
    if data_format == b"NHWC" and len(ksize) == 4 and len(strides) == 4 and ksize[3] > 1:
        if tuple(ksize[:3]) != (1, 1, 1):
            raise ValueError(f"{op_name} pools either over space or over depth, found ksize {list(ksize)}")
        return _max_pool_depth(op_name, ksize[3], strides[3])
    windows = Windows(op_name, data_format, strides=strides, padding=padding, explicit_paddings=explicit_paddings)
    kernel = windows.spatial("ksize", ksize)
    for size, pair in zip(kernel, windows.paddings, strict=True):
        if max(pair) >= size:
            raise ValueError(
                f"{op_name}'s explicit_paddings {list(explicit_paddings)} must be smaller than its window, "
                f"ksize {list(ksize)}"
            )
    return widened(T, windows.formatted(_max_pool(windows, kernel, T), 0))


@specialized("MaxPool")
def MaxPool(
    *,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"NHWC",
    T: DType = FLOAT,
) -> Kernel:
    return max_pool("MaxPool", T, ksize, strides, padding, data_format, explicit_paddings)


@specialized("MaxPoolV2")
def MaxPoolV2(*, padding: bytes, data_format: bytes = b"NHWC", T: DType = FLOAT) -> Kernel:
    def run(input: Array, ksize: Array, strides: Array) -> Any:
        return max_pool("MaxPoolV2", T, ksize.tolist(), strides.tolist(), padding, data_format)(input)

    return run


@specialized("AvgPool")
def AvgPool(
    *, T: DType, ksize: Sequence[int], strides: Sequence[int], padding: bytes, data_format: bytes = b"NHWC"
) -> Kernel:
    windows = Windows("AvgPool", data_format, strides=strides, padding=padding)
    kernel = windows.spatial("ksize", ksize)
    return widened(T, windows.formatted(_average_pool(windows, kernel), 0))


def _average_pool(windows: Windows, kernel: Sizes) -> Kernel:
    def run(value: Array) -> Any:
        outs, pads = placed(windows, kernel, value)
        result = value
        everywhere = 1
        for axis, (window, stride, out, (before, _)) in enumerate(
            zip(kernel, windows.strides, outs, pads, strict=True), start=1
        ):
            result = pooled(result, axis, window, stride, out, before, np.add, 0)
            counts = met(value.shape[axis], out, stride, window, before)
            if isinstance(counts, int):
                everywhere *= counts
            else:
                result = result / counts.astype(value.dtype).reshape(-1, *(1,) * (value.ndim - axis - 1))
        return result / value.dtype.type(everywhere) if everywhere > 1 else result

    return run


@specialized("MaxPool3D")
def MaxPool3D(
    *, T: DType, ksize: Sequence[int], strides: Sequence[int], padding: bytes, data_format: bytes = b"NDHWC"
) -> Kernel:
    windows = Windows("MaxPool3D", data_format, strides=strides, padding=padding, rank=3)
    kernel = windows.spatial("ksize", ksize)
    return widened(T, windows.formatted(_max_pool(windows, kernel, T), 0))


@specialized("AvgPool3D")
def AvgPool3D(
    *, T: DType, ksize: Sequence[int], strides: Sequence[int], padding: bytes, data_format: bytes = b"NDHWC"
) -> Kernel:
    windows = Windows("AvgPool3D", data_format, strides=strides, padding=padding, rank=3)
    kernel = windows.spatial("ksize", ksize)
    return widened(T, windows.formatted(_average_pool(windows, kernel), 0))
