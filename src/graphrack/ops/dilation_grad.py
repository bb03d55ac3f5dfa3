"""Gradients of morphological dilation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import BFLOAT16, DType
from graphrack.ops.pool import lowest
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.windows import Sizes, Windows, offsets, padded


class _Greatest:
    """Where in its window each output's greatest sum of input and filter lies.

    Attributes:
        pads: (before, after) of rows and columns.
        rows, columns: positions in the window, [batch, out rows, out columns, depth]; (0, 0) where no sum is
            greater than the type's lowest value.
        found: where one is.
    """

    def __init__(self, windows: Windows, T: DType, input: Array, filter: Array, out_backprop: Array):
        if input.ndim != 4 or filter.ndim != 3 or filter.shape[2] != input.shape[3]:
            raise ValueError(
                f"{windows.op_name} needs an input [batch, rows, columns, depth] and a filter [rows, columns, depth], "
                f"found {input.shape} and {filter.shape}"
            )
        kernel = filter.shape[:2]
        outs, self.pads = windows.place(input.shape[1:3], kernel)
        shape = (input.shape[0], *outs, input.shape[3])
        if out_backprop.shape != shape:
            raise ValueError(f"{windows.op_name}'s out_backprop has shape {out_backprop.shape}, expected {shape}")
        inside = padded(np.ones((1, *input.shape[1:3], 1), np.bool_), self.pads)
        whole = padded(input, self.pads)
        # Of bfloat16 the lowest finite value here, not the -inf that pools start from.
        start = np.uint32(0xFF7F0000).view(np.float32) if T == BFLOAT16 else lowest(T)
        best = np.full(shape, start, input.dtype)
        position = np.zeros(shape, np.intp)
        self.found = np.zeros(shape, np.bool_)
        for i, offset in enumerate(offsets(kernel)):
            tap = (slice(None), *windows.tap(offset, outs))
            total = whole[tap] + filter[offset]
            better = (total > best) & inside[tap]
            np.copyto(best, total, where=better)
            np.copyto(position, i, where=better)
            self.found |= better
        self.rows, self.columns = np.divmod(position, max(kernel[1], 1))

    def elements(self, windows: Windows, sizes: Sizes) -> tuple[Array, Array]:
        """Rows and columns of the input that the greatest sums took."""
        places = []
        for axis, at in ((0, self.rows), (1, self.columns)):
            shape = (-1, 1) if axis == 0 else (-1,)
            starts = np.arange(at.shape[axis + 1]) * windows.strides[axis] - self.pads[axis][0]
            index = starts.reshape(*shape, 1) + at * windows.dilations[axis]
            # Where there is none, TensorFlow takes the window's first place in the image.
            first = np.maximum(starts, 0).reshape(*shape, 1)
            places.append(np.where(self.found, index, np.broadcast_to(first, index.shape)).clip(0, sizes[axis] - 1))
        return places[0], places[1]


def _windows(op_name: str, strides: Sequence[int], rates: Sequence[int], padding: bytes) -> Windows:
    return Windows(op_name, b"NHWC", strides=strides, padding=padding, dilations=rates)


@specialized("Dilation2DBackpropInput")
def Dilation2DBackpropInput(*, T: DType, strides: Sequence[int], rates: Sequence[int], padding: bytes) -> Kernel:
    windows = _windows("Dilation2DBackpropInput", strides, rates, padding)

    def run(input: Array, filter: Array, out_backprop: Array) -> Any:
        greatest = _Greatest(windows, T, input, filter, out_backprop)
        result = np.zeros(input.shape, input.dtype)
        if result.size:
            rows, columns = greatest.elements(windows, input.shape[1:3])
            batch = np.arange(input.shape[0]).reshape(-1, 1, 1, 1)
            np.add.at(result, (batch, rows, columns, np.arange(input.shape[3])), out_backprop)
        return result

    return widened(T, run)


@specialized("Dilation2DBackpropFilter")
def Dilation2DBackpropFilter(*, T: DType, strides: Sequence[int], rates: Sequence[int], padding: bytes) -> Kernel:
    windows = _windows("Dilation2DBackpropFilter", strides, rates, padding)

    def run(input: Array, filter: Array, out_backprop: Array) -> Any:
        greatest = _Greatest(windows, T, input, filter, out_backprop)
        result = np.zeros(filter.shape, filter.dtype)
        if result.size:
            np.add.at(result, (greatest.rows, greatest.columns, np.arange(filter.shape[2])), out_backprop)
        return result

    return widened(T, run)
