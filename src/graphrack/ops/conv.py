"""Convolutions: windows unrolled into rows of a matrix, piece by piece, times the filter."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphrack.formats.dtypes import DType
from graphrack.ops.blas import dot, matmul
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.windows import CHUNK_BYTES, MOST_CHUNK_BYTES, SMALL_BYTES, Windows, chunks, gathered, padded


def groups_of(op_name: str, depth: int, filter: Array) -> int:
    """How many groups of channels a filter [..., depth / groups, out_depth] splits the input into."""
    if 0 in filter.shape[:-1]:
        raise ValueError(f"{op_name}'s filter has shape {filter.shape}, expected no dimension of 0")
    group_depth, out_depth = filter.shape[-2:]
    groups: int = depth // group_depth
    if depth % group_depth or (groups and out_depth % groups):
        raise ValueError(
            f"{op_name}'s filter of shape {filter.shape} doesn't fit an input of depth {depth}: the depth must "
            "be a multiple of the filter's last dimension but one, and the last a multiple of their quotient"
        )
    return groups


def check_ranks(op_name: str, rank: int, **arrays: Array) -> None:
    """Raises `ValueError` for arrays that lack one of batch, spatial dimensions and depth."""
    for name, array in arrays.items():
        if array.ndim != rank + 2:
            raise ValueError(f"{op_name}'s {name} has shape {array.shape}, expected rank {rank + 2}")


def chunk_budget(filter: Array) -> int:
    """Bytes to unroll at a time: more for a large filter, which is read again for each piece."""
    return min(max(CHUNK_BYTES, filter.nbytes), MOST_CHUNK_BYTES)


def convolution(windows: Windows) -> Kernel:
    """The function of input [batch, *spatial, depth] and filter [*spatial, depth / groups, out_depth]."""
    op_name, rank = windows.op_name, windows.rank
    steps = (slice(None), *(slice(None, None, stride) for stride in windows.strides))
    strided = any(stride > 1 for stride in windows.strides)

    def run(input: Array, filter: Array) -> Any:
        check_ranks(op_name, rank, input=input, filter=filter)
        batch, depth = input.shape[0], input.shape[-1]
        kernel, out_depth = filter.shape[:-2], filter.shape[-1]
        groups = groups_of(op_name, depth, filter)
        layout = windows.layout(input.shape, kernel, max(groups, 1), input.itemsize)
        shape = (batch, *layout.outs, out_depth)
        if not prod(shape) or not depth:
            return np.zeros(shape, input.dtype)
        taps = prod(kernel)
        if taps == 1 and groups == 1:
            input = padded(input, layout.pads)
            rows = (input[steps] if strided else input).reshape(-1, depth)
            return dot(rows, filter.reshape(depth, out_depth)).reshape(shape)
        views = windows.image_views(input, layout)
        unit = taps * depth * input.itemsize
        if groups == 1 and unit * prod(shape[:-1]) <= SMALL_BYTES:
            width = taps * depth
            return dot(views.reshape(-1, width), filter.reshape(width, out_depth)).reshape(shape)
        result = np.empty(shape, input.dtype)
        if groups == 1:
            matrix = filter.reshape(taps * depth, out_depth)
            for piece in chunks(shape[:-1], unit, chunk_budget(filter)):
                rows = gathered(views[piece]).reshape(-1, taps * depth)
                matmul(rows, matrix, result[piece].reshape(-1, out_depth))
            return result
        by_group = np.moveaxis(views, -2, 0)
        per_group = taps * depth // groups
        matrices = filter.reshape(per_group, groups, -1).transpose(1, 0, 2)
        for piece in chunks(shape[:-1], unit, chunk_budget(filter)):
            parts = gathered(by_group[(slice(None), *piece)]).reshape(groups, -1, per_group)
            target = result[piece].reshape(-1, groups, out_depth // groups)
            matmul(parts, matrices, target.transpose(1, 0, 2))
        return result

    return run


@specialized("Conv2D")
def Conv2D(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> Kernel:
    windows = Windows(
        "Conv2D",
        data_format,
        strides=strides,
        padding=padding,
        dilations=dilations,
        explicit_paddings=explicit_paddings,
    )
    return widened(T, windows.formatted(convolution(windows), 0))


@specialized("Conv3D")
def Conv3D(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    data_format: bytes = b"NDHWC",
    dilations: Sequence[int] = (1, 1, 1, 1, 1),
) -> Kernel:
    windows = Windows("Conv3D", data_format, strides=strides, padding=padding, dilations=dilations, rank=3)
    return widened(T, windows.formatted(convolution(windows), 0))


@specialized("Conv")
def Conv(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"CHANNELS_LAST",
    dilations: Sequence[int] = (),
    batch_dims: int = 1,
    groups: int = 1,
) -> Kernel:
    """Conv2D and Conv3D in one; `batch_dims` leading dimensions count as the batch."""
    rank = len(strides) - 2
    formats = {(2, b"CHANNELS_LAST"): b"NHWC", (2, b"CHANNELS_FIRST"): b"NCHW",
               (3, b"CHANNELS_LAST"): b"NDHWC", (3, b"CHANNELS_FIRST"): b"NCDHW"}  # fmt: skip
    if (rank, data_format) not in formats:
        raise ValueError(
            f"Conv's strides and data_format are {list(strides)} and {data_format!r}, expected 4 or 5 strides and "
            "CHANNELS_LAST or CHANNELS_FIRST"
        )
    if batch_dims < 1:
        raise ValueError(f"Conv's batch_dims is {batch_dims}, expected at least 1")
    windows = Windows(
        "Conv",
        formats[rank, data_format],
        strides=strides,
        padding=padding,
        dilations=dilations,
        explicit_paddings=explicit_paddings,
        rank=rank,
    )
    inner = windows.formatted(convolution(windows), 0)

    def run(input: Array, filter: Array) -> Any:
        if input.ndim != batch_dims + rank + 1:
            raise ValueError(f"Conv's input has shape {input.shape}, expected rank {batch_dims + rank + 1}")
        depth = input.shape[batch_dims if windows.channels_first else -1]
        if groups != 1 and filter.ndim == rank + 2 and filter.shape[-2] * groups != depth:
            raise ValueError(f"Conv's filter has shape {filter.shape}, expected depth {depth} in {groups} groups")
        batch = input.shape[:batch_dims]
        result = inner(input.reshape(prod(batch), *input.shape[batch_dims:]), filter)
        return result.reshape(*batch, *result.shape[1:])

    return widened(T, run)


def depthwise(windows: Windows) -> Kernel:
    """The function of input [batch, rows, columns, depth] and filter [rows, columns, depth, multiplier]."""
    op_name = windows.op_name

    def run(input: Array, filter: Array) -> Any:
        check_ranks(op_name, 2, input=input, filter=filter)
        batch, *sizes, depth = input.shape
        *kernel, filter_depth, multiplier = filter.shape
        if filter_depth != depth:
            raise ValueError(
                f"{op_name}'s filter has shape {filter.shape}, expected {depth} in its third dimension, "
                f"as the depth of the input, {input.shape}"
            )
        outs, pads = windows.place(tuple(sizes), tuple(kernel))
        out_depth = depth * multiplier
        shape = (batch, *outs, out_depth)
        if not prod(shape) or not prod(kernel):
            return np.zeros(shape, input.dtype)
        factors = filter.reshape(*kernel, out_depth)
        gapless = windows.strides[1] == 1
        if gapless:
            # Columns and channels of a window's element lie in one stretch, as long as a row of the output.
            repeated = np.empty((*kernel, outs[1], out_depth), filter.dtype)
            repeated[...] = factors[:, :, None]
            factors = repeated.reshape(*kernel, -1)
        result = np.empty(shape, input.dtype)
        image_bytes = out_depth * input.itemsize * prod(size + sum(pad) for size, pad in zip(sizes, pads, strict=True))
        for piece in chunks((batch,), image_bytes, MOST_CHUNK_BYTES):
            images = input[piece]
            if multiplier > 1:
                images = np.repeat(images, multiplier, axis=-1)
            images = padded(images, pads, reuse=True)
            if not images.flags.c_contiguous:
                images = gathered(images)
            # Unlike np.multiply and np.add, einsum needs one pass for each element of the window.
            views = windows.views(images, outs, tuple(kernel))
            target = result[piece]
            if gapless:
                rows = as_strided(
                    images,
                    (*views.shape[:2], *kernel, outs[1] * out_depth),
                    (*views.strides[:2], *views.strides[3:5], images.itemsize),
                )
                np.einsum("bhijx,ijx->bhx", rows, factors, out=target.reshape(*target.shape[:2], -1))
            else:
                np.einsum("bhwijc,ijc->bhwc", views[..., 0, :], factors, out=target)
        return result

    return run


@specialized("DepthwiseConv2dNative")
def DepthwiseConv2dNative(
    *,
    T: DType,
    strides: Sequence[int],
    padding: bytes,
    explicit_paddings: Sequence[int] = (),
    data_format: bytes = b"NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> Kernel:
    windows = Windows(
        "DepthwiseConv2dNative",
        data_format,
        strides=strides,
        padding=padding,
        dilations=dilations,
        explicit_paddings=explicit_paddings,
    )
    return widened(T, windows.formatted(depthwise(windows), 0))
