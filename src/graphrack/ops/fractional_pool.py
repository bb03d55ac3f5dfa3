"""Fractional pooling: windows of two sizes, in random order, so that sizes shrink by any ratio.

Graham, "Fractional Max-Pooling" (2014). Random numbers are TensorFlow's.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.image_sampling import Words
from graphrack.ops.philox import Generator
from graphrack.ops.pool import lowest
from graphrack.ops.random import shuffled
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array, RunState

# Sequences: where each window starts, and at the end the input's size


def _pseudo_random(size: int, out: int, generator: Generator) -> Array:
    alpha, shortest = size / out, size // out
    # Beyond these the first or the last window would be too large or too small.
    most = min((shortest + 2) / alpha - 1, (size + 1 - shortest) / alpha - (out - 1))
    words = Words(generator.reserve(1))
    high, low = words.word() & 0xFFFFF, words.word()
    u = (high << 32 | low) / 2.0**52 * most
    starts = [math.ceil(alpha * (i + u)) - 1 for i in range(1, out)]
    return np.array([0, *starts, size], np.int64)


def _random(size: int, out: int, generator: Generator) -> Array:
    lengths = np.full(out, size // out, np.int64)
    lengths[: size % out] += 1
    stream = generator.reserve((out + 3) // 4)
    return np.concatenate([[0], np.cumsum(shuffled(lengths, stream) if out > 1 else lengths)]).astype(np.int64)


class _Regions:
    """What one node keeps: its random numbers, and the windows of its first run if they are to stay."""

    def __init__(self, seed: int, seed2: int):
        self.generator = Generator(seed, seed2)
        self.lock = threading.Lock()
        self.kept: tuple[Array, Array] | None = None


def _fractional(
    pool: Callable[[Array, Array, Array, bool], Array],
    node_name: str,
    pooling_ratio: Sequence[float],
    pseudo_random: bool,
    overlapping: bool,
    deterministic: bool,
    seed: int,
    seed2: int,
) -> Kernel:
    ratios = list(pooling_ratio)
    if len(ratios) != 4 or ratios[0] != 1 or ratios[3] != 1 or min(ratios) < 1:
        raise ValueError(f"pooling_ratio must be [1, rows, columns, 1] of at least 1, got {ratios}")
    # TensorFlow now refuses seeds where `deterministic` isn't set; graphs of its first versions have them.
    draw = _pseudo_random if pseudo_random else _random
    make = partial(_Regions, seed, seed2)

    def run(state: RunState, value: Array) -> tuple[Any, Any, Any]:
        if value.ndim != 4:
            raise ValueError(f"value must have rank 4, got shape {value.shape}")
        outs = [int(size / np.float32(ratio)) for size, ratio in zip(value.shape, ratios, strict=True)]
        if min(outs[1:3]) <= 0 or not value.size:
            raise ValueError(f"value of shape {value.shape} has no pixels left for pooling_ratio {ratios}")
        regions = state.per_node(node_name, make)
        with regions.lock:
            found = regions.kept
            if found is None:
                rows, columns = (draw(value.shape[i], outs[i], regions.generator) for i in (1, 2))
                found = rows, columns
            if deterministic:
                regions.kept = found
        return pool(value, *found, overlapping), *found

    return run


def _taps(sequence: Array, size: int, overlapping: bool) -> tuple[Array, Array]:
    """Windows' first pixels and how many each has."""
    last = np.minimum(sequence[1:] - (0 if overlapping else 1), size - 1)
    return sequence[:-1], last - sequence[:-1] + 1


def _pooled(value: Array, axis: int, sequence: Array, overlapping: bool, combine: Any) -> Array:
    starts, lengths = _taps(sequence, value.shape[axis], overlapping)
    result = value.take(starts, axis)
    index: list[Any] = [slice(None)] * value.ndim
    for step in range(1, int(lengths.max())):
        index[axis] = np.flatnonzero(lengths > step)
        result[tuple(index)] = combine(result[tuple(index)], value.take(starts[index[axis]] + step, axis))
    return result


def _max(value: Array, rows: Array, columns: Array, overlapping: bool) -> Array:
    return _pooled(_pooled(value, 1, rows, overlapping, np.maximum), 2, columns, overlapping, np.maximum)


def _average(value: Array, rows: Array, columns: Array, overlapping: bool) -> Array:
    total = _pooled(_pooled(value, 1, rows, overlapping, np.add), 2, columns, overlapping, np.add)
    counts = _counts(value.shape, rows, columns, overlapping)
    if value.dtype.kind in "iu":  # cut off, as C divides
        return np.asarray(np.trunc(total / counts).astype(value.dtype))
    return np.asarray(total / counts.astype(value.dtype))


def _counts(shape: Sequence[int], rows: Array, columns: Array, overlapping: bool) -> Array:
    down, across = _taps(rows, shape[1], overlapping)[1], _taps(columns, shape[2], overlapping)[1]
    return (down[:, None] * across)[None, :, :, None]


@specialized("FractionalMaxPool", outputs=3, state=True)
def FractionalMaxPool(
    *,
    node_name: str,
    pooling_ratio: Sequence[float],
    pseudo_random: bool = False,
    overlapping: bool = False,
    deterministic: bool = False,
    seed: int = 0,
    seed2: int = 0,
) -> Kernel:
    return _fractional(_max, node_name, pooling_ratio, pseudo_random, overlapping, deterministic, seed, seed2)


@specialized("FractionalAvgPool", outputs=3, state=True)
def FractionalAvgPool(
    *,
    node_name: str,
    pooling_ratio: Sequence[float],
    pseudo_random: bool = False,
    overlapping: bool = False,
    deterministic: bool = False,
    seed: int = 0,
    seed2: int = 0,
) -> Kernel:
    return _fractional(_average, node_name, pooling_ratio, pseudo_random, overlapping, deterministic, seed, seed2)


# Gradients


def _check_sequence(name: str, sequence: Array, size: int, out: int) -> None:
    if sequence.shape != (out + 1,):
        raise ValueError(f"{name} must have {out + 1} elements for {out} windows, got shape {sequence.shape}")
    if sequence[0] < 0 or sequence[-1] > size or (np.diff(sequence) <= 0).any():
        raise ValueError(f"{name} must rise from 0 to {size} at most, got {sequence.tolist()}")


def _each_tap(shape: Sequence[int], rows: Array, columns: Array, overlapping: bool) -> Any:
    """For each offset in a window: the outputs that have it, and the pixels that they have there."""
    first_rows, heights = _taps(rows, shape[1], overlapping)
    first_columns, widths = _taps(columns, shape[2], overlapping)
    for dy in range(int(heights.max(initial=0))):
        down = np.flatnonzero(heights > dy)
        for dx in range(int(widths.max(initial=0))):
            across = np.flatnonzero(widths > dx)
            outputs = (slice(None), down[:, None], across)
            yield outputs, (slice(None), (first_rows[down] + dy)[:, None], first_columns[across] + dx)


@op("FractionalMaxPoolGrad")
def FractionalMaxPoolGrad(
    orig_input: Array,
    orig_output: Array,
    out_backprop: Array,
    row_pooling_sequence: Array,
    col_pooling_sequence: Array,
    *,
    overlapping: bool = False,
) -> Any:
    """To the first pixel of each window that has its maximum, row by row."""
    if orig_input.ndim != 4 or orig_output.shape != out_backprop.shape or out_backprop.ndim != 4:
        raise ValueError(
            "orig_input, orig_output and out_backprop must have rank 4, the last two the same shape, got "
            f"{orig_input.shape}, {orig_output.shape} and {out_backprop.shape}"
        )
    _check_sequence("row_pooling_sequence", row_pooling_sequence, orig_input.shape[1], out_backprop.shape[1])
    _check_sequence("col_pooling_sequence", col_pooling_sequence, orig_input.shape[2], out_backprop.shape[2])
    result = np.zeros_like(orig_input)
    if not orig_input.size:
        return result
    largest = _max(orig_input, row_pooling_sequence, col_pooling_sequence, overlapping)
    waiting = np.ones(out_backprop.shape, bool)
    for outputs, pixels in _each_tap(orig_input.shape, row_pooling_sequence, col_pooling_sequence, overlapping):
        here = waiting[outputs] & (orig_input[pixels] == largest[outputs])
        # Outputs of one offset have pixels of their own: nothing is added twice.
        result[pixels] += out_backprop[outputs] * here
        waiting[outputs] &= ~here
    return result


@specialized("FractionalAvgPoolGrad")
def FractionalAvgPoolGrad(*, T: DType, overlapping: bool = False) -> Kernel:
    lowest(T)  # refuses types that are no numbers
    dtype = T.numpy

    def run(
        orig_input_tensor_shape: Array, out_backprop: Array, row_pooling_sequence: Array, col_pooling_sequence: Array
    ) -> Any:
        if orig_input_tensor_shape.shape != (4,) or out_backprop.ndim != 4:
            raise ValueError(
                "orig_input_tensor_shape must have 4 elements and out_backprop rank 4, got shapes "
                f"{orig_input_tensor_shape.shape} and {out_backprop.shape}"
            )
        shape = orig_input_tensor_shape.tolist()
        if min(shape) < 0 or (shape[0], shape[3]) != (out_backprop.shape[0], out_backprop.shape[3]):
            raise ValueError(f"orig_input_tensor_shape {shape} doesn't fit out_backprop's {out_backprop.shape}")
        _check_sequence("row_pooling_sequence", row_pooling_sequence, shape[1], out_backprop.shape[1])
        _check_sequence("col_pooling_sequence", col_pooling_sequence, shape[2], out_backprop.shape[2])
        # In double precision, rounded at the end.
        counts = _counts(shape, row_pooling_sequence, col_pooling_sequence, overlapping)
        share = out_backprop.astype(np.float64) / counts
        result = np.zeros(shape)
        for outputs, pixels in _each_tap(shape, row_pooling_sequence, col_pooling_sequence, overlapping):
            result[pixels] += share[outputs]
        return result.astype(dtype, copy=False)

    return run
