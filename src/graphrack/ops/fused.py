"""Convolutions and products fused with what follows or precedes them, as graph optimisers write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.activation import elu, leaky_relu
from graphrack.ops.blas import dot
from graphrack.ops.conv import check_ranks, convolution, depthwise
from graphrack.ops.image_resize import resize_bilinear
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.windows import Windows


def _sigmoid(x: Array) -> Any:
    return 1 / (1 + np.exp(-x))


def _hard_swish(x: Array) -> Any:
    return x * np.clip(x + 3, 0, 6) / 6


def _gelu_approximate(x: Array) -> Any:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi).astype(x.dtype) * (x + 0.044715 * x * x * x)))


def _gelu_exact(x: Array) -> Any:
    from scipy.special import erf

    return 0.5 * x * (1 + erf(x * x.dtype.type(np.sqrt(0.5))))


_ACTIVATIONS: dict[bytes, Callable[[Array], Any]] = {
    b"Relu": lambda x: np.maximum(x, 0),
    b"Relu6": lambda x: np.clip(x, 0, 6),
    b"Elu": elu,
    b"Tanh": np.tanh,
    b"Sigmoid": _sigmoid,
    b"_FusedHardSwish": _hard_swish,
    b"_MklSwish": lambda x: x * _sigmoid(x),
    b"GeluApproximate": _gelu_approximate,
    b"GeluExact": _gelu_exact,
}


def epilogue(
    op_name: str, fused_ops: Sequence[bytes], epsilon: float, leakyrelu_alpha: float, channels_first: bool = False
) -> Callable[[Any, Sequence[Array]], Any]:
    """The function of a fresh result and the fused ops' own inputs that runs these ops on it in turn.

    Raises:
        ValueError: a fused op is unknown.
    """

    def per_channel(value: Array) -> Array:
        return value.reshape(-1, 1, 1) if channels_first else value

    def bias_add(y: Array, bias: Array) -> Array:
        if bias.shape != (y.shape[1 if channels_first else -1],):
            raise ValueError(f"{op_name}'s bias has shape {bias.shape}, expected one per channel of {y.shape}")
        y += per_channel(bias)
        return y

    def batch_norm(y: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> Array:
        y -= per_channel(mean)
        y *= per_channel(scale / np.sqrt(variance + y.dtype.type(epsilon)))
        y += per_channel(offset)
        return y

    steps: list[tuple[Callable[..., Any], int]] = []
    for name in fused_ops:
        if name == b"BiasAdd":
            steps.append((bias_add, 1))
        elif name == b"FusedBatchNorm":
            steps.append((batch_norm, 4))
        elif name in (b"Add", b"AddV2"):
            steps.append((np.add, 1))
        elif name == b"LeakyRelu":
            steps.append((leaky_relu(leakyrelu_alpha), 0))
        elif name in _ACTIVATIONS:
            steps.append((_ACTIVATIONS[name], 0))
        else:
            known = [b"BiasAdd", b"FusedBatchNorm", b"Add", b"LeakyRelu", *_ACTIVATIONS]
            raise ValueError(f"{op_name}'s fused_ops has {name!r}, expected some of {known}")
    wanted = sum(count for _, count in steps)

    def run(y: Any, args: Sequence[Array]) -> Any:
        if len(args) != wanted:
            raise ValueError(f"{op_name} has {len(args)} args, its fused_ops {list(fused_ops)} take {wanted}")
        at = 0
        for function, count in steps:
            y = function(y, *args[at : at + count])
            at += count
        return y

    return run


@specialized("_FusedConv2D")
def _FusedConv2D(
    *,
    T: DType,
    num_args: int,
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"NHWC",
    filter_format: bytes = b"HWIO",
    dilations: Sequence[int] = (1, 1, 1, 1),
    fused_ops: Sequence[bytes] = (),
    epsilon: float = 0.0001,
    leakyrelu_alpha: float = 0.2,
) -> Kernel:
    windows = Windows(
        "_FusedConv2D",
        data_format,
        strides=strides,
        padding=padding,
        dilations=dilations,
        explicit_paddings=explicit_paddings,
    )
    if filter_format not in (b"HWIO", b"OIHW"):
        raise ValueError(f"_FusedConv2D's filter_format is {filter_format!r}, expected b'HWIO' or b'OIHW'")
    convolve = windows.formatted(convolution(windows), 0)
    finish = epilogue("_FusedConv2D", fused_ops, epsilon, leakyrelu_alpha, windows.channels_first)

    def run(input: Array, filter: Array, *args: Array) -> Any:
        if filter_format == b"OIHW":
            check_ranks("_FusedConv2D", 2, filter=filter)
            filter = filter.transpose(2, 3, 1, 0)
        return finish(convolve(input, filter), args[:num_args])

    return widened(T, run)


@specialized("_FusedDepthwiseConv2dNative")
def _FusedDepthwiseConv2dNative(
    *,
    T: DType,
    num_args: int,
    strides: Sequence[int],
    padding: bytes,
    data_format: bytes = b"NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
    fused_ops: Sequence[bytes] = (),
    epsilon: float = 0.0001,
    leakyrelu_alpha: float = 0.2,
) -> Kernel:
    windows = Windows(
        "_FusedDepthwiseConv2dNative",
        data_format,
        strides=strides,
        padding=padding,
        dilations=dilations,
    )
    convolve = windows.formatted(depthwise(windows), 0)
    finish = epilogue("_FusedDepthwiseConv2dNative", fused_ops, epsilon, leakyrelu_alpha, windows.channels_first)

    def run(input: Array, filter: Array, *args: Array) -> Any:
        return finish(convolve(input, filter), args[:num_args])

    return widened(T, run)


@specialized("_FusedMatMul")
def _FusedMatMul(
    *,
    T: DType,
    transpose_a: bool = False,
    transpose_b: bool = False,
    num_args: int,
    fused_ops: Sequence[bytes] = (),
    epsilon: float = 0.0001,
    leakyrelu_alpha: float = 0.2,
) -> Kernel:
    finish = epilogue("_FusedMatMul", fused_ops, epsilon, leakyrelu_alpha)

    def run(a: Array, b: Array, *args: Array) -> Any:
        if a.ndim != 2 or b.ndim != 2 or a.shape[0 if transpose_a else 1] != b.shape[1 if transpose_b else 0]:
            raise ValueError(
                f"_FusedMatMul can't multiply shapes {a.shape} and {b.shape} (transpose_a {transpose_a}, "
                f"transpose_b {transpose_b})"
            )
        return finish(dot(a.T if transpose_a else a, b.T if transpose_b else b), args[:num_args])

    return widened(T, run)


def _mirrored(op_name: str, images: Array, paddings: Array, mode: bytes) -> Array:
    if paddings.shape != (4, 2):
        raise ValueError(f"{op_name}'s paddings have shape {paddings.shape}, expected (4, 2)")
    pairs: list[list[int]] = paddings.tolist()
    for size, pair in zip(images.shape, pairs, strict=True):
        if min(pair) < 0 or max(pair) > size - (mode == b"REFLECT"):
            raise ValueError(
                f"{op_name} can't pad shape {images.shape} by {pairs} in mode {mode.decode()}: expected paddings of at "
                f"least 0 and at most the size{' less 1' if mode == b'REFLECT' else ''}"
            )
    if any(pairs[0]) or any(pairs[3]):
        raise ValueError(f"{op_name} pads height and width alone, found paddings {pairs}")
    if mode == b"REFLECT":
        return np.pad(images, pairs, mode="reflect")
    return np.pad(images, pairs, mode="symmetric")


def _padded_convolution(op_name: str, mode: bytes, strides: Sequence[int], padding: bytes) -> Kernel:
    """The function of images, paddings and filter."""
    if mode not in (b"REFLECT", b"SYMMETRIC"):
        raise ValueError(f"{op_name}'s mode is {mode!r}, expected b'REFLECT' or b'SYMMETRIC'")
    convolve = convolution(Windows(op_name, b"NHWC", strides=strides, padding=padding))

    def run(images: Array, paddings: Array, filter: Array) -> Any:
        check_ranks(op_name, 2, input=images, filter=filter)
        return convolve(_mirrored(op_name, images, paddings, mode), filter)

    return run


@specialized("FusedPadConv2D")
def FusedPadConv2D(*, T: DType, mode: bytes, strides: Sequence[int], padding: bytes) -> Kernel:
    return widened(T, _padded_convolution("FusedPadConv2D", mode, strides, padding))


@specialized("FusedResizeAndPadConv2D")
def FusedResizeAndPadConv2D(
    *, T: DType, resize_align_corners: bool = False, mode: bytes, strides: Sequence[int], padding: bytes
) -> Kernel:
    convolve = _padded_convolution("FusedResizeAndPadConv2D", mode, strides, padding)

    def run(input: Array, size: Array, paddings: Array, filter: Array) -> Any:
        if input.ndim != 4 or not input.shape[1] or not input.shape[2]:
            raise ValueError(
                f"FusedResizeAndPadConv2D's input has shape {input.shape}, expected rank 4, height and width over 0"
            )
        if size.shape != (2,) or min(size.tolist()) <= 0:
            raise ValueError(f"FusedResizeAndPadConv2D's size is {size.tolist()}, expected two positive numbers")
        height, width = size.tolist()
        return convolve(resize_bilinear(input, height, width, resize_align_corners, False), paddings, filter)

    return widened(T, run)
