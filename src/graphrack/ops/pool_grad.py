"""Where pooling's maxima lie, its gradients, and morphological dilation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from graphrack.formats.dtypes import BFLOAT16, FLOAT, INT64, DType
from graphrack.ops.pool import lowest, met, placed, reach, taps
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.windows import Sizes, Windows, offsets, padded


def meeting(
    windows: Windows, kernel: Sizes, x: Array, outs: Sizes, pads: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, ...]]:
    """Every position in a window that meets the input anywhere."""
    return product(
        *(
            taps(size, out, stride, window, before)
            for size, out, stride, window, (before, _) in zip(
                x.shape[1:-1], outs, windows.strides, kernel, pads, strict=True
            )
        )
    )


def _maxima(windows: Windows, kernel: Sizes, x: Array) -> tuple[Array, Array]:
    """The first largest element of each window, row by row, and its index in its flattened image.

    As TensorFlow compares: NaN in first place stays, elsewhere it is passed over.
    """
    outs, pads = placed(windows, kernel, x)
    batch, height, width, depth = x.shape
    best = np.zeros((batch, *outs, depth), x.dtype)
    index = np.full(best.shape, -1, np.int64)
    positions = np.arange(height * width * depth).reshape(height, width, depth)
    for i, j in meeting(windows, kernel, x, outs, pads):
        out_rows, rows = reach(height, outs[0], windows.strides[0], i, pads[0][0])
        out_columns, columns = reach(width, outs[1], windows.strides[1], j, pads[1][0])
        values, target = x[:, rows, columns], best[:, out_rows, out_columns]
        chosen = index[:, out_rows, out_columns]
        better = (chosen < 0) | (target < values)
        np.copyto(target, values, where=better)
        np.copyto(chosen, positions[rows, columns], where=better)
    return best, index


def side_by_side(windows: Windows, kernel: Sizes, sizes: Sizes, outs: Sizes, pads: Sequence[tuple[int, int]]) -> bool:
    """Whether each element of the input lies in exactly one window."""
    return (
        kernel == windows.strides
        and not any(map(any, pads))
        and all(size == out * window for size, out, window in zip(sizes, outs, kernel, strict=True))
    )


_AT_ONCE = 1 << 19
"""Bytes of images that are looked at together: what is made of them on the way stays in a core's cache."""


def _to_first_largest(x: Array, kernel: Sizes, grad: Array) -> Array | None:
    """Each window's gradient at its first largest element, as `_maxima` compares, of windows side by side.

    None where a window holds NaN.
    """
    rows, columns = kernel
    batch, height, width, depth = grad.shape
    shape = (batch, height, rows, width, columns, depth)
    result: Array = np.empty(x.shape, grad.dtype)
    # A product with truths, of the bits as a whole number, is the gradient or 0 whatever that is; `np.where` takes
    # twenty times as long.
    bits = np.dtype(f"u{grad.itemsize}")
    places = [(i, j) for i in range(rows) for j in range(columns)]
    each = max(1, _AT_ONCE // max(1, x[:1].nbytes))
    for start in range(0, batch, each):
        some = slice(start, start + each)
        images, results = x.reshape(shape)[some], result.view(bits).reshape(shape)[some]
        gradients = np.ascontiguousarray(grad[some]).view(bits)
        elements = [np.ascontiguousarray(images[:, :, i, :, j]) for i, j in places]
        best = elements[0]
        for others in elements[1:]:
            best = np.maximum(best, others)
        if (best != best).any():
            return None
        taken = elements[0] == best
        np.multiply(gradients, taken, out=results[:, :, 0, :, 0])
        for (i, j), values in zip(places[1:], elements[1:], strict=True):
            largest = values == best
            np.multiply(gradients, largest > taken, out=results[:, :, i, :, j])
            taken |= largest
    return result


def _in_batch(index: Array, image_size: int) -> Array:
    """Indices in the flattened batch, given those in the flattened images."""
    starts: Array = np.arange(index.shape[0]) * image_size
    return index + starts.reshape(-1, 1, 1, 1)


@specialized("MaxPoolWithArgmax", outputs=2)
def MaxPoolWithArgmax(
    *,
    ksize: Sequence[int],
    strides: Sequence[int],
    Targmax: DType = INT64,
    padding: bytes,
    include_batch_in_index: bool = False,
    T: DType,
) -> Kernel:
    windows = Windows("MaxPoolWithArgmax", b"NHWC", strides=strides, padding=padding)
    kernel = windows.spatial("ksize", ksize)

    def run(input: Array) -> Any:
        best, index = _maxima(windows, kernel, input)
        if include_batch_in_index:
            index = _in_batch(index, input[:1].size)
        return best, index.astype(Targmax.numpy, copy=False)

    return widened(T, run)


def _scattered(shape: Sizes, index: Array, grad: Array) -> Array:
    """An array of that shape with the gradients added at flat indices."""
    result = np.zeros(shape, grad.dtype)
    np.add.at(result.reshape(-1), index.reshape(-1), grad.reshape(-1))
    return result


def _max_pool_grad(windows: Windows, kernel: Sizes) -> Kernel:
    op_name = windows.op_name

    def run(orig_input: Array, orig_output: Array, grad: Array) -> Any:
        outs, pads = placed(windows, kernel, orig_input)
        expected = (orig_input.shape[0], *outs, orig_input.shape[-1])
        if not orig_output.shape == grad.shape == expected:
            raise ValueError(
                f"{op_name}'s orig_output and grad have shapes {orig_output.shape} and {grad.shape}, expected "
                f"{expected} (channels last) for orig_input of shape {orig_input.shape}"
            )
        if side_by_side(windows, kernel, orig_input.shape[1:-1], outs, pads):
            found = _to_first_largest(orig_input, kernel, grad)
            if found is not None:
                return found
        _, index = _maxima(windows, kernel, orig_input)
        return _scattered(orig_input.shape, _in_batch(index, orig_input[:1].size), grad)

    return run


@specialized("MaxPoolGrad")
def MaxPoolGrad(
    *,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"NHWC",
    T: DType = FLOAT,
) -> Kernel:
    windows = Windows("MaxPoolGrad", data_format, strides=strides, padding=padding, explicit_paddings=explicit_paddings)
    return widened(T, windows.formatted(_max_pool_grad(windows, windows.spatial("ksize", ksize)), 0, 1, 2))


@specialized("MaxPoolGradV2")
def MaxPoolGradV2(*, padding: bytes, data_format: bytes = b"NHWC", T: DType = FLOAT) -> Kernel:
    def run(orig_input: Array, orig_output: Array, grad: Array, ksize: Array, strides: Array) -> Any:
        windows = Windows("MaxPoolGradV2", data_format, strides=strides.tolist(), padding=padding)
        kernel = windows.spatial("ksize", ksize.tolist())
        return windows.formatted(_max_pool_grad(windows, kernel), 0, 1, 2)(orig_input, orig_output, grad)

    return widened(T, run)


@specialized("MaxPoolGradWithArgmax")
def MaxPoolGradWithArgmax(
    *,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: bytes,
    include_batch_in_index: bool = False,
    T: DType,
) -> Kernel:
    windows = Windows("MaxPoolGradWithArgmax", b"NHWC", strides=strides, padding=padding)
    kernel = windows.spatial("ksize", ksize)

    def run(input: Array, grad: Array, argmax: Array) -> Any:
        outs, _ = placed(windows, kernel, input)
        expected = (input.shape[0], *outs, input.shape[-1])
        if not grad.shape == argmax.shape == expected:
            raise ValueError(
                f"MaxPoolGradWithArgmax's grad and argmax have shapes {grad.shape} and {argmax.shape}, "
                f"expected {expected}"
            )
        index = argmax if include_batch_in_index else _in_batch(argmax, input[:1].size)
        if ((index < 0) | (index >= input.size)).any():
            raise ValueError(f"MaxPoolGradWithArgmax's argmax has indices outside of an input of {input.size} elements")
        return _scattered(input.shape, index, grad)

    return widened(T, run)


@specialized("MaxPool3DGrad")
def MaxPool3DGrad(
    *,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: bytes,
    data_format: bytes = b"NDHWC",
    T: DType = FLOAT,
) -> Kernel:
    """Every element that equals its window's maximum gets the gradient, unlike in two dimensions."""
    windows = Windows("MaxPool3DGrad", data_format, strides=strides, padding=padding, rank=3)
    kernel = windows.spatial("ksize", ksize)

    def run(orig_input: Array, orig_output: Array, grad: Array) -> Any:
        outs, pads = placed(windows, kernel, orig_input)
        expected = (orig_input.shape[0], *outs, orig_input.shape[-1])
        if not orig_output.shape == grad.shape == expected:
            raise ValueError(
                f"MaxPool3DGrad's orig_output and grad have shapes {orig_output.shape} and {grad.shape}, expected "
                f"{expected} (channels last) for orig_input of shape {orig_input.shape}"
            )
        result = np.zeros_like(orig_input, order="C")
        for offset in meeting(windows, kernel, orig_input, outs, pads):
            places = [
                reach(size, out, stride, at, before)
                for size, out, stride, at, (before, _) in zip(
                    orig_input.shape[1:-1], outs, windows.strides, offset, pads, strict=True
                )
            ]
            outputs = (slice(None), *(place[0] for place in places))
            inputs = (slice(None), *(place[1] for place in places))
            result[inputs] += np.where(orig_input[inputs] == orig_output[outputs], grad[outputs], 0)
        return result

    return widened(T, windows.formatted(run, 0, 1, 2))


def _avg_pool_grad(windows: Windows, kernel: Sizes) -> Kernel:
    op_name, rank = windows.op_name, windows.rank

    def run(orig_input_shape: Array, grad: Array) -> Any:
        shape = tuple(orig_input_shape.reshape(-1).tolist())
        if orig_input_shape.ndim != 1 or len(shape) != rank + 2 or min(shape) < 0 or grad.ndim != rank + 2:
            raise ValueError(
                f"{op_name} needs orig_input_shape of {rank + 2} sizes and grad of rank {rank + 2}, found "
                f"{orig_input_shape.tolist()} and shape {grad.shape}"
            )
        if windows.channels_first:
            shape = (shape[0], *shape[2:], shape[1])
        outs, pads = windows.place(shape[1:-1], kernel)
        if grad.shape != (shape[0], *outs, shape[-1]):
            raise ValueError(
                f"{op_name}'s grad has shape {grad.shape}, expected {(shape[0], *outs, shape[-1])} for an input of "
                f"shape {shape} (channels last)"
            )
        if rank == 2 and side_by_side(windows, kernel, shape[1:-1], outs, pads):
            rows, columns = kernel
            spread = np.empty((shape[0], outs[0], rows, outs[1], columns, shape[-1]), grad.dtype)
            spread[...] = (grad / grad.dtype.type(rows * columns))[:, :, None, :, None]
            return spread.reshape(shape)
        result = grad
        for axis in range(1, rank + 1):
            result = _spread(result, axis, kernel[axis - 1], windows.strides[axis - 1], shape[axis], pads[axis - 1][0])
        return result

    return run


def _spread(grad: Array, axis: int, window: int, stride: int, size: int, before: int) -> Array:
    """One axis of an average backwards: each output's gradient in equal parts to its window's elements."""
    out, head = grad.shape[axis], (slice(None),) * axis
    counts = np.asarray(met(size, out, stride, window, before), grad.dtype)
    parts = grad / counts.reshape(-1, *(1,) * (grad.ndim - axis - 1))
    result = np.zeros((*grad.shape[:axis], size, *grad.shape[axis + 1 :]), grad.dtype)
    for at in taps(size, out, stride, window, before):
        outputs, inputs = reach(size, out, stride, at, before)
        result[(*head, inputs)] += parts[(*head, outputs)]
    return result


@specialized("AvgPoolGrad")
def AvgPoolGrad(
    *, T: DType, ksize: Sequence[int], strides: Sequence[int], padding: bytes, data_format: bytes = b"NHWC"
) -> Kernel:
    windows = Windows("AvgPoolGrad", data_format, strides=strides, padding=padding)
    return widened(T, windows.formatted(_avg_pool_grad(windows, windows.spatial("ksize", ksize)), 1))


@specialized("AvgPool3DGrad")
def AvgPool3DGrad(
    *, T: DType, ksize: Sequence[int], strides: Sequence[int], padding: bytes, data_format: bytes = b"NDHWC"
) -> Kernel:
    windows = Windows("AvgPool3DGrad", data_format, strides=strides, padding=padding, rank=3)
    return widened(T, windows.formatted(_avg_pool_grad(windows, windows.spatial("ksize", ksize)), 1))


@specialized("Dilation2D")
def Dilation2D(*, T: DType, strides: Sequence[int], rates: Sequence[int], padding: bytes) -> Kernel:
    """The greatest of input plus filter over each window; `rates` are its dilations."""
    windows = Windows("Dilation2D", b"NHWC", strides=strides, padding=padding, dilations=rates)
    # Of bfloat16 the lowest finite value here, not the -inf that pools start from.
    start = np.uint32(0xFF7F0000).view(np.float32) if T == BFLOAT16 else lowest(T)
    combine = np.maximum if T.numpy.kind in "iu" else np.fmax

    def run(input: Array, filter: Array) -> Any:
        if input.ndim != 4 or filter.ndim != 3 or filter.shape[2] != input.shape[3]:
            raise ValueError(
                "Dilation2D needs an input [batch, rows, columns, depth] and a filter [rows, columns, depth], found "
                f"{input.shape} and {filter.shape}"
            )
        kernel = filter.shape[:2]
        outs, pads = windows.place(input.shape[1:3], kernel)
        # Padding must lose against everything, whatever the filter adds to it.
        inside = padded(np.ones((1, *input.shape[1:3], 1), np.bool_), pads)
        input = padded(input, pads)
        result = np.full((input.shape[0], *outs, input.shape[3]), start, input.dtype)
        for position in offsets(kernel):
            tap = (slice(None), *windows.tap(position, outs))
            combine(result, input[tap] + filter[position], out=result, where=inside[tap])
        return result

    return widened(T, run)
