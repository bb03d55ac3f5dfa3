"""Convolutions and matrix products of quantized integers, alone and fused with what follows them.

Products of two unsigned types subtract each type's zero first. Those with a signed filter belong to Intel's kernels:
their zero is 0, whatever the range, and a type's range is symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DTYPES, DType
from graphrack.ops._quantized import F, Grid, number, product_range
from graphrack.ops.conv import convolution, depthwise
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.windows import Windows

QINT8, QUINT8, QINT32 = DTYPES[11], DTYPES[12], DTYPES[13]
_FLOAT = DTYPES[1]
Quantized = tuple[Any, Any, Any]


def _wrapped(total: Array) -> Any:
    """Exact sums in float64 as int32, which wraps."""
    return total.astype(np.int64).astype(np.int32)


# Of unsigned integers


@specialized("QuantizedMatMul", outputs=3)
def QuantizedMatMul(
    *, T1: DType, T2: DType, Toutput: DType = QINT32, transpose_a: bool = False, transpose_b: bool = False
) -> Kernel:
    left, right, out = Grid(T1), Grid(T2), Grid(Toutput)

    def run(a: Array, b: Array, min_a: Array, max_a: Array, min_b: Array, max_b: Array) -> Quantized:
        of_a = number("min_a", min_a), number("max_a", max_a)
        of_b = number("min_b", min_b), number("max_b", max_b)
        if a.ndim != 2 or b.ndim != 2:
            raise ValueError(f"operands must be matrices, got shapes {a.shape} and {b.shape}")
        x = left.integers(a).astype(np.float64) - left.unclamped(0.0, *of_a)
        y = right.integers(b).astype(np.float64) - right.unclamped(0.0, *of_b)
        product = (x.T if transpose_a else x) @ (y.T if transpose_b else y)
        return out.quantized(_wrapped(product)), *product_range(left, right, out, of_a, of_b)

    return run


@specialized("QuantizedConv2D", outputs=3)
def QuantizedConv2D(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QINT32,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> Kernel:
    if Tfilter == QINT8:
        return _fused("QuantizedConv2D", Tinput, Tfilter, out_type, strides, padding, dilations)
    source, weights, out = Grid(Tinput), Grid(Tfilter), Grid(out_type)
    if any(size != 1 for size in dilations):
        raise ValueError(f"QuantizedConv2D's dilations are {list(dilations)}, expected 1 for an unsigned filter")
    convolve = convolution(Windows("QuantizedConv2D", b"NHWC", strides=strides, padding=padding))

    def run(
        input: Array, filter: Array, min_input: Array, max_input: Array, min_filter: Array, max_filter: Array
    ) -> Quantized:
        of_input = number("min_input", min_input), number("max_input", max_input)
        of_filter = number("min_filter", min_filter), number("max_filter", max_filter)
        x = source.integers(input).astype(np.float64) - source.unclamped(0.0, *of_input)
        y = weights.integers(filter).astype(np.float64) - weights.unclamped(0.0, *of_filter)
        return out.quantized(_wrapped(convolve(x, y))), *product_range(source, weights, out, of_input, of_filter)

    return run


# With a signed filter


def _level(grid: Grid, low: Any, high: Any) -> Any:
    """The float of one step of a symmetric range."""
    return (np.asarray(high, F) - np.asarray(low, F)) / F(grid.highest - max(grid.lowest, -grid.highest))


def _step(grid: Grid, low: Any, high: Any) -> Any:
    """The float of one step, from the end that is farther from zero."""
    return np.maximum(np.abs(np.asarray(low, F)), np.abs(np.asarray(high, F))) / F(grid.highest)


def _fused(
    op_name: str,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int],
    padding_list: Sequence[int] = (),
    *,
    by_channel: bool = False,
    bias: DType | None = None,
    relu: bool = False,
    requantize: bool = False,
) -> Kernel:
    """A convolution, and what follows it: a bias added, negative numbers cut, another range.

    Attributes:
        by_channel: a depthwise convolution.
        bias: the type of a bias that is added.
        requantize: whether the output has a range that is given, instead of int32's.
    """
    source, weights, out = Grid(Tinput), Grid(Tfilter), Grid(out_type)
    explicit = {"padding": b"EXPLICIT", "explicit_paddings": padding_list} if padding_list else {"padding": padding}
    windows = Windows(op_name, b"NHWC", strides=strides, dilations=dilations, **explicit)
    convolve = depthwise(windows) if by_channel else convolution(windows)
    count = 2 + (bias is not None)

    def run(*inputs: Array) -> Quantized:
        input, filter = inputs[:2]
        min_input, max_input = number("min_input", inputs[count]), number("max_input", inputs[count + 1])
        min_filter, max_filter = (np.asarray(value, F) for value in inputs[count + 2 : count + 4])
        channels = filter.shape[-1] * (filter.shape[-2] if by_channel else 1) if filter.ndim == 4 else 0
        if min_filter.size not in (1, channels) or max_filter.shape != min_filter.shape:
            raise ValueError(
                f"{op_name}'s min_filter and max_filter must be scalars or vectors of {channels}, got shapes "
                f"{min_filter.shape} and {max_filter.shape}"
            )
        rest = inputs[count + 4 :]
        total = convolve(source.integers(input).astype(np.float64), weights.integers(filter).astype(np.float64))
        of_input = _step(source, min_input, max_input)
        of_filter = _step(weights, min_filter.reshape(-1), max_filter.reshape(-1))
        # In single precision and in this order, as Intel's kernels round.
        floats = total.astype(F) * (of_input * of_filter)
        if bias is not None:
            if inputs[2].shape != (channels,):
                raise ValueError(f"{op_name}'s bias must be a vector of {channels}, got shape {inputs[2].shape}")
            floats += inputs[2] if bias == _FLOAT else Grid(bias).integers(inputs[2]) * (of_input * of_filter)
        low: Any
        high: Any
        if requantize:
            low, high = (F(number(name, end)) for name, end in zip(_FROZEN, rest, strict=True))
            step = _step(out, low, high)
        else:  # integers of all channels stand for the same floats, whatever the ranges say
            level = _level(source, min_input, max_input) * _level(weights, min_filter, max_filter)
            low, high = (np.asarray(level * F(end))[()] for end in (out.lowest, out.highest))
            step = of_input * of_filter.max()
        found = np.rint(floats * (F(1) / step))
        found = np.clip(found.astype(np.float64), 0 if relu else out.lowest, out.highest)
        return out.quantized(found), low, high

    return run


_FROZEN = ("min_freezed_output", "max_freezed_output")
_ONES = (1, 1, 1, 1)


@specialized("QuantizedConv2DPerChannel", outputs=3)
def QuantizedConv2DPerChannel(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QINT32,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
) -> Kernel:
    return _fused("QuantizedConv2DPerChannel", Tinput, Tfilter, out_type, strides, padding, dilations)


@specialized("QuantizedConv2DAndRelu", outputs=3)
def QuantizedConv2DAndRelu(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QINT32,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
    padding_list: Sequence[int] = (),
) -> Kernel:
    op_name = "QuantizedConv2DAndRelu"
    return _fused(op_name, Tinput, Tfilter, out_type, strides, padding, dilations, padding_list, relu=True)


@specialized("QuantizedConv2DAndReluAndRequantize", outputs=3)
def QuantizedConv2DAndReluAndRequantize(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QUINT8,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
    padding_list: Sequence[int] = (),
) -> Kernel:
    return _fused(
        "QuantizedConv2DAndReluAndRequantize", Tinput, Tfilter, out_type, strides, padding, dilations, padding_list,
        relu=True, requantize=True,
    )  # fmt: skip


@specialized("QuantizedConv2DAndRequantize", outputs=3)
def QuantizedConv2DAndRequantize(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QINT8,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
    padding_list: Sequence[int] = (),
) -> Kernel:
    op_name = "QuantizedConv2DAndRequantize"
    return _fused(op_name, Tinput, Tfilter, out_type, strides, padding, dilations, padding_list, requantize=True)


@specialized("QuantizedConv2DWithBias", outputs=3)
def QuantizedConv2DWithBias(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QINT32,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
    padding_list: Sequence[int] = (),
) -> Kernel:
    op_name = "QuantizedConv2DWithBias"
    return _fused(op_name, Tinput, Tfilter, out_type, strides, padding, dilations, padding_list, bias=_FLOAT)


@specialized("QuantizedConv2DWithBiasAndRelu", outputs=3)
def QuantizedConv2DWithBiasAndRelu(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QINT32,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
    padding_list: Sequence[int] = (),
) -> Kernel:
    op_name = "QuantizedConv2DWithBiasAndRelu"
    return _fused(op_name, Tinput, Tfilter, out_type, strides, padding, dilations, padding_list, bias=_FLOAT, relu=True)


@specialized("QuantizedConv2DWithBiasAndRequantize", outputs=3)
def QuantizedConv2DWithBiasAndRequantize(
    *,
    Tinput: DType,
    Tfilter: DType,
    Tbias: DType,
    out_type: DType = QINT8,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
    padding_list: Sequence[int] = (),
) -> Kernel:
    return _fused(
        "QuantizedConv2DWithBiasAndRequantize", Tinput, Tfilter, out_type, strides, padding, dilations, padding_list,
        bias=Tbias, requantize=True,
    )  # fmt: skip


@specialized("QuantizedConv2DWithBiasAndReluAndRequantize", outputs=3)
def QuantizedConv2DWithBiasAndReluAndRequantize(
    *,
    Tinput: DType,
    Tfilter: DType,
    Tbias: DType,
    out_type: DType = QUINT8,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
    padding_list: Sequence[int] = (),
) -> Kernel:
    return _fused(
        "QuantizedConv2DWithBiasAndReluAndRequantize", Tinput, Tfilter, out_type, strides, padding, dilations,
        padding_list, bias=Tbias, relu=True, requantize=True,
    )  # fmt: skip


@specialized("QuantizedDepthwiseConv2D", outputs=3)
def QuantizedDepthwiseConv2D(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QINT32,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
) -> Kernel:
    op_name = "QuantizedDepthwiseConv2D"
    return _fused(op_name, Tinput, Tfilter, out_type, strides, padding, dilations, by_channel=True)


@specialized("QuantizedDepthwiseConv2DWithBias", outputs=3)
def QuantizedDepthwiseConv2DWithBias(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QINT32,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
) -> Kernel:
    op_name = "QuantizedDepthwiseConv2DWithBias"
    return _fused(op_name, Tinput, Tfilter, out_type, strides, padding, dilations, by_channel=True, bias=_FLOAT)


@specialized("QuantizedDepthwiseConv2DWithBiasAndRelu", outputs=3)
def QuantizedDepthwiseConv2DWithBiasAndRelu(
    *,
    Tinput: DType,
    Tfilter: DType,
    out_type: DType = QINT32,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
    padding_list: Sequence[int] = (),
) -> Kernel:
    return _fused(
        "QuantizedDepthwiseConv2DWithBiasAndRelu", Tinput, Tfilter, out_type, strides, padding, dilations, padding_list,
        by_channel=True, bias=_FLOAT, relu=True,
    )  # fmt: skip


@specialized("QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize", outputs=3)
def QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize(
    *,
    Tinput: DType,
    Tfilter: DType,
    Tbias: DType,
    out_type: DType = QUINT8,
    strides: Sequence[int],
    padding: bytes,
    dilations: Sequence[int] = _ONES,
    padding_list: Sequence[int] = (),
) -> Kernel:
    return _fused(
        "QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize", Tinput, Tfilter, out_type, strides, padding, dilations,
        padding_list, by_channel=True, bias=Tbias, relu=True, requantize=True,
    )  # fmt: skip


# Matrix products with a signed second operand


def _fused_matmul(
    op_name: str,
    T1: DType,
    T2: DType,
    Tbias: DType,
    Toutput: DType,
    transposed: tuple[bool, bool],
    mode: bytes,
    *,
    relu: bool = False,
    frozen: bool = False,
) -> Kernel:
    """A product, and what follows it: a bias added, negative numbers cut, another range or none.

    Attributes:
        mode: how the first operand was quantized: MIN_FIRST, from its least number on, or SCALED, from zero on.
        frozen: whether two inputs give the output's range, instead of int32's.
    """
    if mode not in (b"MIN_FIRST", b"SCALED"):
        raise ValueError(f"{op_name}'s input_quant_mode is {mode!r}, expected b'MIN_FIRST' or b'SCALED'")
    if any(transposed):
        raise ValueError(f"{op_name} takes its operands as they are, found transpose_a, transpose_b {transposed}")
    left, right = Grid(T1), Grid(T2)
    out = None if Toutput == _FLOAT else Grid(Toutput)

    def run(a: Array, b: Array, bias: Array, *ranges: Array) -> Any:
        if a.ndim != 2 or b.ndim != 2 or bias.shape != b.shape[1:]:
            raise ValueError(
                f"{op_name} needs matrices and a bias for the columns of b, got {a.shape}, {b.shape} and {bias.shape}"
            )
        min_a, max_a, min_b, max_b = (F(number(name, end)) for name, end in zip(_ENDS, ranges, strict=False))
        whole = mode == b"SCALED"
        of_a = _step(left, min_a, max_a) if whole else (max_a - min_a) / F(255)
        of_b = _step(right, min_b, max_b)
        factors = right.integers(b).astype(np.float64)
        floats = (left.integers(a).astype(np.float64) @ factors).astype(F) * (of_a * of_b)
        if Tbias != _FLOAT:
            span = max_a if whole else max_a - min_a
            scale = F(255.0 * 127.0 / float(span * np.maximum(np.abs(min_b), np.abs(max_b))))
            bias = Grid(Tbias).integers(bias).astype(F) / scale
        elif not whole:
            # What the kernel of today adds for the first operand's least number, in steps of both as if of one.
            bias = bias + factors.sum(axis=0).astype(F) * (F(255) * min_a / (max_a - min_a))
        floats += bias
        if out is None:
            return np.maximum(floats, 0) if relu else floats
        if frozen:
            low, high = (F(number(name, end)) for name, end in zip(_FROZEN, ranges[4:], strict=True))
            step = _step(out, low, high)
        else:
            level = _level(left, min_a, max_a) * _level(right, min_b, max_b)
            low, high = F(level * F(out.lowest)), F(level * F(out.highest))
            step = of_a * of_b
        found = np.rint(floats * (F(1) / step)).astype(np.float64)
        return out.quantized(np.clip(found, 0 if relu else out.lowest, out.highest)), low, high

    return run


_ENDS = ("min_a", "max_a", "min_b", "max_b")


@specialized("QuantizedMatMulWithBias", outputs=3)
def QuantizedMatMulWithBias(
    *,
    T1: DType,
    T2: DType,
    Tbias: DType,
    Toutput: DType = QINT32,
    transpose_a: bool = False,
    transpose_b: bool = False,
    input_quant_mode: bytes = b"MIN_FIRST",
) -> Kernel:
    turned = (transpose_a, transpose_b)
    return _fused_matmul("QuantizedMatMulWithBias", T1, T2, Tbias, Toutput, turned, input_quant_mode)


@specialized("QuantizedMatMulWithBiasAndRelu", outputs=3)
def QuantizedMatMulWithBiasAndRelu(
    *,
    T1: DType,
    T2: DType,
    Toutput: DType = QINT32,
    transpose_a: bool = False,
    transpose_b: bool = False,
    input_quant_mode: bytes = b"MIN_FIRST",
) -> Kernel:
    turned = (transpose_a, transpose_b)
    op_name = "QuantizedMatMulWithBiasAndRelu"
    return _fused_matmul(op_name, T1, T2, _FLOAT, Toutput, turned, input_quant_mode, relu=True)


@specialized("QuantizedMatMulWithBiasAndDequantize")
def QuantizedMatMulWithBiasAndDequantize(
    *,
    T1: DType,
    T2: DType,
    Tbias: DType,
    Toutput: DType,
    transpose_a: bool = False,
    transpose_b: bool = False,
    input_quant_mode: bytes = b"MIN_FIRST",
) -> Kernel:
    turned = (transpose_a, transpose_b)
    op_name = "QuantizedMatMulWithBiasAndDequantize"
    return _fused_matmul(op_name, T1, T2, Tbias, Toutput, turned, input_quant_mode, frozen=True)


@specialized("QuantizedMatMulWithBiasAndRequantize", outputs=3)
def QuantizedMatMulWithBiasAndRequantize(
    *,
    T1: DType,
    T2: DType,
    Tbias: DType,
    Toutput: DType = QUINT8,
    transpose_a: bool = False,
    transpose_b: bool = False,
    input_quant_mode: bytes = b"MIN_FIRST",
) -> Kernel:
    turned = (transpose_a, transpose_b)
    op_name = "QuantizedMatMulWithBiasAndRequantize"
    return _fused_matmul(op_name, T1, T2, Tbias, Toutput, turned, input_quant_mode, frozen=True)


@specialized("QuantizedMatMulWithBiasAndReluAndRequantize", outputs=3)
def QuantizedMatMulWithBiasAndReluAndRequantize(
    *,
    T1: DType,
    T2: DType,
    Tbias: DType,
    Toutput: DType = QUINT8,
    transpose_a: bool = False,
    transpose_b: bool = False,
    input_quant_mode: bytes = b"MIN_FIRST",
) -> Kernel:
    turned = (transpose_a, transpose_b)
    op_name = "QuantizedMatMulWithBiasAndReluAndRequantize"
    return _fused_matmul(op_name, T1, T2, Tbias, Toutput, turned, input_quant_mode, relu=True, frozen=True)
