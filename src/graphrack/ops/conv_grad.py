"""Convolutions backwards: to the input (a transposed convolution, used for inference too) and the filter."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.blas import dot, matmul
from graphrack.ops.conv import check_ranks, chunk_budget, convolution, depthwise, groups_of
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.windows import (
    CHUNK_BYTES,
    SMALL_BYTES,
    Sizes,
    Windows,
    chunks,
    gathered,
    offsets,
    padded,
    scratch,
)


def _full_sizes(windows: Windows, name: str, sizes: Array, batch: int, depth: int) -> Sizes:
    """The shape that an input of sizes declares, channels last; spatial sizes alone are enough in 2-D."""
    if sizes.ndim != 1:
        raise ValueError(f"{windows.op_name}'s {name} has shape {sizes.shape}, expected a vector")
    values = tuple(int(size) for size in sizes)
    if windows.rank == 2 and len(values) == 2:
        return (batch, *values, depth)
    if len(values) != windows.rank + 2:
        raise ValueError(f"{windows.op_name}'s {name} is {list(values)}, expected {windows.rank + 2} sizes")
    if min(values) < 0:
        raise ValueError(f"{windows.op_name}'s {name} is {list(values)}, expected no negative size")
    if windows.channels_first:
        return (values[0], *values[2:], values[1])
    return values


def _check_out_backprop(windows: Windows, out_backprop: Array, expected: Sizes, image: Sizes) -> None:
    if out_backprop.shape != expected:
        raise ValueError(
            f"{windows.op_name}'s out_backprop has shape {out_backprop.shape}, expected {expected} for an input of "
            f"shape {image} (channels last), strides {windows.strides} and padding {windows.padding.decode()}"
        )


def _uncropped(image: Array, pads: Sequence[tuple[int, int]]) -> Array:
    inner = tuple(slice(before, n - after) for n, (before, after) in zip(image.shape[1:-1], pads, strict=True))
    return image[(slice(None), *inner)]


_MOST_TURNED = 4
"""How many times as many channels a gradient may have as the input, to be unrolled instead of spread."""


def worth_turning(windows: Windows, shape: Sizes, kernel: Sizes, out_depth: int) -> bool:
    """Whether the gradient to an input of that shape is sooner made by a convolution than by spreading each output.

    A convolution copies the gradient's channels for each element of the window, where spreading adds the input's: by
    far the slower for few channels. Between strides it has zeros to multiply, which is worth it for small inputs.
    """
    copied = 4 * prod(shape[:-1]) * prod(kernel) * out_depth
    if max(windows.strides) > 1:
        return copied <= SMALL_BYTES
    return copied <= SMALL_BYTES or out_depth <= _MOST_TURNED * shape[-1]


def _around(
    windows: Windows, shape: Sizes, kernel: Sizes, outs: Sizes, pads: Sequence[tuple[int, int]]
) -> list[tuple[int, int]] | None:
    """How many zeros around the gradient, set apart by the strides, give each input all the windows it lies in.

    None where the padding is larger than a window.
    """
    found = []
    for size, window, dilation, stride, out, (before, _) in zip(
        shape[1:-1], kernel, windows.dilations, windows.strides, outs, pads, strict=True
    ):
        first = (window - 1) * dilation - before
        found.append((first, size + before - (out - 1) * stride - 1))
    return found if min(map(min, found)) >= 0 else None


def _set_apart(grad: Array, strides: Sizes, around: Sequence[tuple[int, int]]) -> Array:
    """A gradient with zeros between its elements, as many as strides leave out, and around it."""
    spans = [(n - 1) * stride + 1 for n, stride in zip(grad.shape[1:-1], strides, strict=True)]
    sizes = [before + span + after for span, (before, after) in zip(spans, around, strict=True)]
    result = np.zeros((grad.shape[0], *sizes, grad.shape[-1]), grad.dtype)
    places = zip(spans, strides, around, strict=True)
    inner = tuple(slice(before, before + span, stride) for span, stride, (before, _) in places)
    result[(slice(None), *inner)] = grad
    return result


def _backprop_input(windows: Windows) -> Kernel:
    op_name, rank = windows.op_name, windows.rank
    dense = convolution(windows.unstrided())

    def run(input_sizes: Array, filter: Array, out_backprop: Array) -> Any:
        check_ranks(op_name, rank, filter=filter, out_backprop=out_backprop)
        *kernel, group_depth, out_depth = filter.shape
        shape = _full_sizes(windows, "input_sizes", input_sizes, out_backprop.shape[0], group_depth)
        batch, *sizes, depth = shape
        groups = groups_of(op_name, depth, filter)
        outs, pads = windows.place(tuple(sizes), tuple(kernel))
        _check_out_backprop(windows, out_backprop, (batch, *outs, out_depth), shape)
        dtype = out_backprop.dtype
        if groups == 1 and 0 not in shape and out_backprop.size:
            if prod(kernel) == 1 and max(windows.strides) == 1 and not any(map(any, pads)):
                matrix = filter.reshape(depth, out_depth)
                return dot(out_backprop.reshape(-1, out_depth), matrix.T).reshape(shape)
            around = _around(windows, shape, tuple(kernel), outs, pads)
            if around is not None and worth_turning(windows, shape, tuple(kernel), out_depth):
                turned = filter[(slice(None, None, -1),) * rank].swapaxes(-1, -2)
                return dense(_set_apart(out_backprop, windows.strides, around), turned)
        result = np.zeros((batch, *(n + sum(pad) for n, pad in zip(sizes, pads, strict=True)), depth), dtype)
        if not out_backprop.size or not groups:
            return _uncropped(result, pads)
        # Each output's gradient, spread by the filter over its window, is added where the window lay.
        taps, per_group = prod(kernel), out_depth // groups
        views = windows.views(result, outs, tuple(kernel))[..., 0, :]
        by_group = filter.reshape(taps, group_depth, groups, per_group).transpose(2, 3, 0, 1)
        matrices = by_group.reshape(groups, per_group, taps * group_depth)
        positions = list(offsets(tuple(kernel)))
        unit = taps * depth * dtype.itemsize
        every: tuple[Any, ...] = (slice(None),) * (rank + 1)
        for piece in chunks((batch, *outs), unit, chunk_budget(filter)):
            part = out_backprop[piece]
            rows = part.reshape(-1, groups, per_group).transpose(1, 0, 2)
            spread = scratch((groups, rows.shape[1], taps * group_depth), dtype)
            matmul(rows, matrices, spread)
            by_tap = spread.reshape(groups, *part.shape[:-1], taps, group_depth)
            for i, position in enumerate(positions):
                target = views[piece][(*every, *position)]
                if groups == 1:
                    target += by_tap[0, ..., i, :]
                else:
                    term = np.moveaxis(by_tap[..., i, :], 0, -2)
                    target += term.reshape(target.shape)
        return _uncropped(result, pads)

    return run


def _backprop_filter(windows: Windows) -> Kernel:
    op_name, rank = windows.op_name, windows.rank

    def run(input: Array, filter_sizes: Array, out_backprop: Array) -> Any:
        check_ranks(op_name, rank, input=input, out_backprop=out_backprop)
        shape = tuple(int(size) for size in filter_sizes.reshape(-1))
        if len(shape) != rank + 2 or filter_sizes.ndim != 1 or min(shape) < 0:
            raise ValueError(f"{op_name}'s filter_sizes is {filter_sizes.tolist()}, expected {rank + 2} sizes")
        *kernel, group_depth, out_depth = shape
        batch, *sizes, depth = input.shape
        groups = groups_of(op_name, depth, np.broadcast_to(input.dtype.type(0), shape))
        outs, pads = windows.place(tuple(sizes), tuple(kernel))
        _check_out_backprop(windows, out_backprop, (batch, *outs, out_depth), input.shape)
        taps, per_group = prod(kernel), out_depth // max(groups, 1)
        unit = taps * depth * input.itemsize
        if groups == 1 and out_backprop.size and unit * batch * prod(outs) <= SMALL_BYTES:
            every = windows.image_views(input, windows.layout(input.shape, tuple(kernel), 1, input.itemsize))
            return dot(every.reshape(-1, taps * depth).T, out_backprop.reshape(-1, out_depth)).reshape(shape)
        total = np.zeros((groups, taps * group_depth, per_group), input.dtype)
        if out_backprop.size and groups:
            views = np.moveaxis(windows.views(padded(input, pads), outs, tuple(kernel), groups), -2, 0)
            for piece in chunks((batch, *outs), unit, CHUNK_BYTES):
                rows = gathered(views[(slice(None), *piece)]).reshape(groups, -1, taps * group_depth)
                gradients = out_backprop[piece].reshape(-1, groups, per_group).transpose(1, 0, 2)
                total += matmul(rows.transpose(0, 2, 1), gradients)
        elif not groups:
            return np.zeros(shape, input.dtype)
        return total.transpose(1, 0, 2).reshape(shape)

    return run


@specialized("Conv2DBackpropInput")
def Conv2DBackpropInput(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> Kernel:
    windows = Windows(
        "Conv2DBackpropInput",
        data_format,
        strides=strides,
        padding=padding,
        dilations=dilations,
        explicit_paddings=explicit_paddings,
    )
    return widened(T, windows.formatted(_backprop_input(windows), 2))


@specialized("Conv2DBackpropFilter")
def Conv2DBackpropFilter(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> Kernel:
    windows = Windows(
        "Conv2DBackpropFilter",
        data_format,
        strides=strides,
        padding=padding,
        dilations=dilations,
        explicit_paddings=explicit_paddings,
    )
    return widened(T, windows.takes_images(_backprop_filter(windows), 0, 2))


@specialized("Conv3DBackpropInputV2")
def Conv3DBackpropInputV2(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    data_format: bytes = b"NDHWC",
    dilations: Sequence[int] = (1, 1, 1, 1, 1),
) -> Kernel:
    windows = Windows(
        "Conv3DBackpropInputV2", data_format, strides=strides, padding=padding, dilations=dilations, rank=3
    )
    return widened(T, windows.formatted(_backprop_input(windows), 2))


@specialized("Conv3DBackpropFilterV2")
def Conv3DBackpropFilterV2(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    data_format: bytes = b"NDHWC",
    dilations: Sequence[int] = (1, 1, 1, 1, 1),
) -> Kernel:
    windows = Windows(
        "Conv3DBackpropFilterV2", data_format, strides=strides, padding=padding, dilations=dilations, rank=3
    )
    return widened(T, windows.takes_images(_backprop_filter(windows), 0, 2))


@specialized("Conv3DBackpropInput")
def Conv3DBackpropInput(
    *, T: DType, strides: Sequence[int], padding: bytes, dilations: Sequence[int] = (1, 1, 1, 1, 1)
) -> Kernel:
    """The first version: an input of the shape itself in place of its sizes."""
    windows = Windows("Conv3DBackpropInput", b"NDHWC", strides=strides, padding=padding, dilations=dilations, rank=3)
    backprop = _backprop_input(windows)
    return widened(T, lambda input, *others: backprop(np.array(input.shape), *others))


@specialized("Conv3DBackpropFilter")
def Conv3DBackpropFilter(
    *, T: DType, strides: Sequence[int], padding: bytes, dilations: Sequence[int] = (1, 1, 1, 1, 1)
) -> Kernel:
    """The first version: a filter of the shape itself in place of its sizes."""
    windows = Windows("Conv3DBackpropFilter", b"NDHWC", strides=strides, padding=padding, dilations=dilations, rank=3)
    backprop = _backprop_filter(windows)
    return widened(T, lambda input, filter, grad: backprop(input, np.array(filter.shape), grad))


_FEW = 1 << 15
"""Elements of which the windows are looked at all at once; of more, one position in the windows after the other."""


def _depthwise_backprop_input(windows: Windows) -> Kernel:
    op_name = windows.op_name
    dense = depthwise(windows.unstrided())

    def run(input_sizes: Array, filter: Array, out_backprop: Array) -> Any:
        check_ranks(op_name, 2, filter=filter, out_backprop=out_backprop)
        *kernel, depth, multiplier = filter.shape
        shape = _full_sizes(windows, "input_sizes", input_sizes, out_backprop.shape[0], depth)
        batch, *sizes, found_depth = shape
        if found_depth != depth:
            raise ValueError(f"{op_name}'s filter has shape {filter.shape}, expected depth {found_depth} in it")
        outs, pads = windows.place(tuple(sizes), tuple(kernel))
        _check_out_backprop(windows, out_backprop, (batch, *outs, depth * multiplier), shape)
        dtype = out_backprop.dtype
        result = np.zeros((batch, *(n + sum(pad) for n, pad in zip(sizes, pads, strict=True)), depth), dtype)
        if out_backprop.size:
            gradients = out_backprop.reshape(batch, *outs, depth, multiplier)
            around = _around(windows, shape, tuple(kernel), outs, pads) if multiplier == 1 else None
            if around is not None and prod(shape) <= _FEW:
                return dense(_set_apart(out_backprop, windows.strides, around), filter[::-1, ::-1])
            for position in offsets(tuple(kernel)):
                target = result[(slice(None), *windows.tap(position, outs))]
                if multiplier == 1:
                    target += gradients[..., 0] * filter[position][:, 0]
                else:
                    target += np.einsum("bhwcm,cm->bhwc", gradients, filter[position])
        return _uncropped(result, pads)

    return run


def _depthwise_backprop_filter(windows: Windows) -> Kernel:
    op_name = windows.op_name

    def run(input: Array, filter_sizes: Array, out_backprop: Array) -> Any:
        check_ranks(op_name, 2, input=input, out_backprop=out_backprop)
        shape = tuple(int(size) for size in filter_sizes.reshape(-1))
        batch, *sizes, depth = input.shape
        if len(shape) != 4 or filter_sizes.ndim != 1 or min(shape) < 0 or shape[2] != depth:
            raise ValueError(
                f"{op_name}'s filter_sizes is {filter_sizes.tolist()}, expected [rows, columns, {depth}, multiplier]"
            )
        *kernel, _, multiplier = shape
        outs, pads = windows.place(tuple(sizes), tuple(kernel))
        _check_out_backprop(windows, out_backprop, (batch, *outs, depth * multiplier), input.shape)
        result = np.zeros(shape, input.dtype)
        if out_backprop.size:
            gradients = out_backprop.reshape(batch, *outs, depth, multiplier)
            whole = padded(input, pads)
            if out_backprop.size <= _FEW:
                views = windows.views(whole, outs, tuple(kernel))[..., 0, :]
                return np.einsum("bhwijc,bhwcm->ijcm", views, gradients)
            for position in offsets(tuple(kernel)):
                part = whole[(slice(None), *windows.tap(position, outs))]
                result[position] = np.einsum("bhwc,bhwcm->cm", part, gradients)
        return result

    return run


@specialized("DepthwiseConv2dNativeBackpropInput")
def DepthwiseConv2dNativeBackpropInput(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> Kernel:
    windows = Windows(
        "DepthwiseConv2dNativeBackpropInput",
        data_format,
        strides=strides,
        padding=padding,
        dilations=dilations,
        explicit_paddings=explicit_paddings,
    )
    return widened(T, windows.formatted(_depthwise_backprop_input(windows), 2))


@specialized("DepthwiseConv2dNativeBackpropFilter")
def DepthwiseConv2dNativeBackpropFilter(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> Kernel:
    windows = Windows(
        "DepthwiseConv2dNativeBackpropFilter",
        data_format,
        strides=strides,
        padding=padding,
        dilations=dilations,
        explicit_paddings=explicit_paddings,
    )
    return widened(T, windows.takes_images(_depthwise_backprop_filter(windows), 0, 2))
