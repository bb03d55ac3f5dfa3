"""Blocks of space moved to depth or batch and back, and patches: SpaceToDepth, BatchToSpaceND, Extract…"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.ops._arguments import vector, zeros
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array

# ---- Depth ----
#
# TensorFlow has kernels for NHWC alone on the CPU; graphs made for GPUs use the other formats, so all
# three work here.


def _image(input: Array, block: int, data_format: bytes) -> Any:
    """The shape, checked for its rank. Raises `ValueError` for a block that is none or too many dimensions."""
    rank = 5 if data_format == b"NCHW_VECT_C" else 4
    if block < 2:
        raise ValueError(f"block_size must be at least 2, got {block}")
    if input.ndim != rank or (rank == 5 and input.shape[4] != 4):
        expected = "shape (batch, depth / 4, height, width, 4)" if rank == 5 else "4 dimensions"
        raise ValueError(f"input must have {expected} in {data_format.decode()}, got shape {input.shape}")
    return input.shape


@specialized("SpaceToDepth")
def SpaceToDepth(*, block_size: int, data_format: bytes = b"NHWC") -> Any:
    block = block_size

    def space_to_depth(input: Array) -> Array:
        shape = _image(input, block, data_format)
        height, width = shape[1:3] if data_format == b"NHWC" else shape[2:4]
        if height % block or width % block:
            raise ValueError(f"block_size {block} must divide height and width, got shape {shape}")
        high, wide = height // block, width // block
        if data_format == b"NHWC":
            batch, _, _, depth = shape
            cut = input.reshape(batch, high, block, wide, block, depth)
            return cut.transpose(0, 1, 3, 2, 4, 5).reshape(batch, high, wide, block * block * depth)
        batch, depth, inner = shape[0], shape[1], shape[4:]
        cut = input.reshape(batch, depth, high, block, wide, block, *inner)
        moved = cut.transpose(0, 3, 5, 1, 2, 4, *range(6, cut.ndim))
        return moved.reshape(batch, block * block * depth, high, wide, *inner)

    return space_to_depth


@specialized("DepthToSpace")
def DepthToSpace(*, block_size: int, data_format: bytes = b"NHWC") -> Any:
    block = block_size

    def depth_to_space(input: Array) -> Array:
        shape = _image(input, block, data_format)
        whole = shape[3] if data_format == b"NHWC" else shape[1]
        depth, rest = divmod(whole, block * block)
        if rest:
            raise ValueError(f"block_size {block} squared must divide the depth, got shape {shape}")
        if data_format == b"NHWC":
            batch, high, wide, _ = shape
            cut = input.reshape(batch, high, wide, block, block, depth)
            return cut.transpose(0, 1, 3, 2, 4, 5).reshape(batch, high * block, wide * block, depth)
        batch, _, high, wide, *inner = shape
        cut = input.reshape(batch, block, block, depth, high, wide, *inner)
        moved = cut.transpose(0, 3, 4, 1, 5, 2, *range(6, cut.ndim))
        return moved.reshape(batch, depth, high * block, wide * block, *inner)

    return depth_to_space


# ---- Batch ----


def _blocks(input: Array, block_shape: Array, borders: Array, what: str) -> tuple[list[int], Any]:
    blocks = vector("block_shape", block_shape)
    if input.ndim < 1 + len(blocks) or borders.shape != (len(blocks), 2):
        raise ValueError(
            f"for block_shape {blocks} the input must have at least {1 + len(blocks)} dimensions and {what} "
            f"the shape {(len(blocks), 2)}, got shapes {input.shape} and {borders.shape}"
        )
    if blocks and min(blocks) < 1:
        raise ValueError(f"block_shape must hold sizes of at least 1, got {blocks}")
    if borders.size and borders.min() < 0:
        raise ValueError(f"{what} must not be negative, got {borders.tolist()}")
    return blocks, borders.tolist()


@op("SpaceToBatchND")
def SpaceToBatchND(input: Array, block_shape: Array, paddings: Array) -> Array:
    blocks, pads = _blocks(input, block_shape, paddings, "paddings")
    count = len(blocks)
    space = [size + sum(pair) for size, pair in zip(input.shape[1:], pads, strict=False)]
    if any(size % block for size, block in zip(space, blocks, strict=True)):
        raise ValueError(f"block_shape {blocks} must divide the padded sizes {space}")
    batch, rest = input.shape[0], input.shape[1 + count :]
    if any(map(any, pads)):
        padded = zeros((batch, *space, *rest), input.dtype)
        middle = [slice(pair[0], pair[0] + size) for size, pair in zip(input.shape[1:], pads, strict=False)]
        padded[(slice(None), *middle)] = input
        input = padded
    cut = [part for size, block in zip(space, blocks, strict=True) for part in (size // block, block)]
    order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2)]
    moved = input.reshape((batch, *cut, *rest)).transpose(*order, *range(2 * count + 1, 2 * count + 1 + len(rest)))
    return np.reshape(moved, (batch * math.prod(blocks), *cut[::2], *rest))


@op("BatchToSpaceND")
def BatchToSpaceND(input: Array, block_shape: Array, crops: Array) -> Array:
    blocks, cut = _blocks(input, block_shape, crops, "crops")
    count = len(blocks)
    batch, left = divmod(input.shape[0], math.prod(blocks))
    if left:
        raise ValueError(f"the batch size {input.shape[0]} must be a multiple of block_shape's {blocks} product")
    small, rest = input.shape[1 : 1 + count], input.shape[1 + count :]
    space = [size * block for size, block in zip(small, blocks, strict=True)]
    if any(sum(pair) > size for size, pair in zip(space, cut, strict=True)):
        raise ValueError(f"crops must leave something of the sizes {space}, got {cut}")
    order = [count, *(axis for i in range(count) for axis in (count + 1 + i, i))]
    moved = input.reshape((*blocks, batch, *small, *rest)).transpose(
        *order, *range(2 * count + 1, 2 * count + 1 + len(rest))
    )
    whole = np.reshape(moved, (batch, *space, *rest))
    kept = [slice(pair[0], size - pair[1]) for size, pair in zip(space, cut, strict=True)]
    return whole[(slice(None), *kept)]


@specialized("SpaceToBatch")
def SpaceToBatch(*, block_size: int) -> Any:
    block = _two_blocks(block_size)
    return lambda input, paddings: SpaceToBatchND(_four(input), block, paddings)


@specialized("BatchToSpace")
def BatchToSpace(*, block_size: int) -> Any:
    block = _two_blocks(block_size)
    return lambda input, crops: BatchToSpaceND(_four(input), block, crops)


def _two_blocks(block_size: int) -> Array:
    return np.array([block_size, block_size])


def _four(input: Array) -> Array:
    if input.ndim != 4:
        raise ValueError(f"input must have 4 dimensions, got shape {input.shape}")
    return input


# ---- Patches ----


@specialized("ExtractImagePatches")
def ExtractImagePatches(*, ksizes: list[int], strides: list[int], rates: list[int], padding: bytes) -> Any:
    return lambda images: _patches(images, ksizes, strides, rates, padding)


@specialized("ExtractVolumePatches")
def ExtractVolumePatches(*, ksizes: list[int], strides: list[int], padding: bytes) -> Any:
    return lambda input: _patches(input, ksizes, strides, [1] * 5, padding)


def _patches(
    images: Array, ksizes: Sequence[int], strides: Sequence[int], rates: Sequence[int], padding: bytes
) -> Array:
    """Windows over space (all dimensions but the first and last), each laid out along the last dimension."""
    rank = len(ksizes)
    for name, values in (("ksizes", ksizes), ("strides", strides), ("rates", rates)):
        if len(values) != rank or values[0] != 1 or values[-1] != 1 or min(values) < 1:
            raise ValueError(f"{name} must be {rank} positive sizes, 1 for batch and depth, got {list(values)}")
    if images.ndim != rank:
        raise ValueError(f"the input must have {rank} dimensions, got shape {images.shape}")
    space = range(1, rank - 1)
    counts, pads = [], []
    for axis in space:
        size, step = images.shape[axis], strides[axis]
        reach = (ksizes[axis] - 1) * rates[axis] + 1
        if padding == b"SAME":
            count = -(-size // step)
            missing = (count - 1) * step + reach - size
            if missing < 0:
                # Steps wider than windows: images are read from their start, volumes from the middle.
                first = (-missing // 2) * (rank == 5)
                images = images[(*(slice(None),) * axis, slice(first, None))]
                missing = 0
            pads.append((missing // 2, missing - missing // 2))
        else:
            if size - reach <= -2 * step:
                raise ValueError(f"a window over {reach} elements doesn't fit the input's shape {images.shape}")
            count = max(0, (size - reach) // step + 1)
            pads.append((0, 0))
        counts.append(count)
    batch, depth = images.shape[0], images.shape[-1]
    kernel = ksizes[1:-1]
    shape = (batch, *counts, *kernel, depth)
    if any(map(any, pads)):
        sizes = [images.shape[axis] + sum(pad) for axis, pad in zip(space, pads, strict=True)]
        padded = zeros((batch, *sizes, depth), images.dtype)
        middle = [slice(pad[0], pad[0] + images.shape[axis]) for axis, pad in zip(space, pads, strict=True)]
        padded[(slice(None), *middle)] = images
        images = padded
    first, *steps, last = images.strides
    windows = np.lib.stride_tricks.as_strided(
        images,
        shape,
        (
            first,
            *(step * strides[axis] for axis, step in zip(space, steps, strict=True)),
            *(step * rates[axis] for axis, step in zip(space, steps, strict=True)),
            last,
        ),
        writeable=False,
    )
    return windows.reshape(batch, *counts, math.prod(kernel) * depth)
