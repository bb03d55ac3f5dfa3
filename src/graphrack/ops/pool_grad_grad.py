"""Second derivatives of max pooling: of a gradient to the input, what each window's maximum gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.ops.pool import placed, reach
from graphrack.ops.pool_grad import meeting
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.windows import Sizes, Windows


def _second(windows: Windows, kernel: Sizes) -> Kernel:
    """The gradient at the first element of each window that equals the output; 0 where none does."""

    def run(orig_input: Array, orig_output: Array, grad: Array) -> Any:
        outs, pads = placed(windows, kernel, orig_input)
        expected = (orig_input.shape[0], *outs, orig_input.shape[-1])
        if orig_output.shape != expected or grad.shape != orig_input.shape:
            raise ValueError(
                f"{windows.op_name}'s orig_output and grad have shapes {orig_output.shape} and {grad.shape}, "
                f"expected {expected} and {orig_input.shape} (channels last)"
            )
        result = np.zeros(expected, grad.dtype)
        found = np.zeros(expected, np.bool_)
        for offset in meeting(windows, kernel, orig_input, outs, pads):
            places = [
                reach(size, out, stride, at, before)
                for size, out, stride, at, (before, _) in zip(
                    orig_input.shape[1:-1], outs, windows.strides, offset, pads, strict=True
                )
            ]
            outputs = (slice(None), *(place[0] for place in places))
            inputs = (slice(None), *(place[1] for place in places))
            here = (orig_input[inputs] == orig_output[outputs]) & ~found[outputs]
            np.copyto(result[outputs], grad[inputs], where=here)
            found[outputs] |= here
        return result

    return windows.formatted(run, 0, 1, 2)


@specialized("MaxPoolGradGrad")
def MaxPoolGradGrad(
    *, ksize: Sequence[int], strides: Sequence[int], padding: bytes, data_format: bytes = b"NHWC"
) -> Kernel:
    windows = Windows("MaxPoolGradGrad", data_format, strides=strides, padding=padding)
    return _second(windows, windows.spatial("ksize", ksize))


@specialized("MaxPoolGradGradV2")
def MaxPoolGradGradV2(*, padding: bytes, data_format: bytes = b"NHWC") -> Kernel:
    def run(orig_input: Array, orig_output: Array, grad: Array, ksize: Array, strides: Array) -> Any:
        windows = Windows("MaxPoolGradGradV2", data_format, strides=strides.tolist(), padding=padding)
        return _second(windows, windows.spatial("ksize", ksize.tolist()))(orig_input, orig_output, grad)

    return run


@specialized("MaxPool3DGradGrad")
def MaxPool3DGradGrad(
    *, ksize: Sequence[int], strides: Sequence[int], padding: bytes, data_format: bytes = b"NDHWC"
) -> Kernel:
    windows = Windows("MaxPool3DGradGrad", data_format, strides=strides, padding=padding, rank=3)
    return _second(windows, windows.spatial("ksize", ksize))
