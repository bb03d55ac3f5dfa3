"""Values with borders: Pad, PadV2, MirrorPad and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphrack.ops._arguments import filled, zeros
from graphrack.ops.registry import Prepared, op, specialized
from graphrack.ops.runtime import Array

Pairs = tuple[tuple[int, int], ...]
"""How much comes before and after in each dimension."""


def _borders(paddings: Array) -> Pairs:
    """Raises `ValueError` for what are no pairs of numbers of at least 0."""
    if paddings.ndim != 2 or paddings.shape[1] != 2:
        raise ValueError(f"paddings must be pairs, one for each dimension of the input, got shape {paddings.shape}")
    pairs = tuple([(before, after) for before, after in paddings.tolist()])
    if any(before < 0 or after < 0 for before, after in pairs):
        raise ValueError(f"paddings must not be negative, got {list(pairs)}")
    return pairs


def _check_rank(input: Array, pairs: Pairs) -> None:
    if input.ndim != len(pairs):
        raise ValueError(
            f"paddings must have shape {(input.ndim, 2)} for an input of shape {input.shape}, got {(len(pairs), 2)}"
        )


@specialized("Pad")
def Pad() -> Any:
    return Prepared(lambda input, pairs: _padded(input, pairs, None), slice(1, None), _borders)


@op("PadV2")
def PadV2(input: Array, paddings: Array, constant_values: Array) -> Array:
    if constant_values.ndim:
        raise ValueError(f"constant_values must be a scalar, got shape {constant_values.shape}")
    return _padded(input, _borders(paddings), constant_values)


def _padded(input: Array, pairs: Pairs, value: Any) -> Array:
    """With a value all around; None: with zeros (of strings, empty ones)."""
    _check_rank(input, pairs)
    if not any(map(any, pairs)):
        return input
    shape = [size + before + after for size, (before, after) in zip(input.shape, pairs, strict=True)]
    out = zeros(shape, input.dtype) if value is None else filled(shape, value, input.dtype)
    out[_middle(input.shape, pairs)] = input
    return out


def _middle(shape: tuple[int, ...], pairs: Pairs) -> tuple[slice, ...]:
    return tuple(slice(before, before + size) for size, (before, _) in zip(shape, pairs, strict=True))


@specialized("MirrorPad")
def MirrorPad(*, mode: bytes) -> Any:
    skip = _SKIP[mode]

    def mirror_pad(input: Array, pairs: Pairs) -> Array:
        _check_rank(input, pairs)
        shape, middle, mirrors = _mirrored(input.shape, pairs, skip)
        out = np.empty(shape, input.dtype)
        out[middle] = input
        # One axis after the other: what is mirrored then has the borders of the axes before.
        for border, inside in mirrors:
            out[border] = out[inside]
        return out

    return Prepared(mirror_pad, slice(1, None), _borders)


@specialized("MirrorPadGrad")
def MirrorPadGrad(*, mode: bytes) -> Any:
    skip = _SKIP[mode]

    def mirror_pad_grad(input: Array, pairs: Pairs) -> Array:
        _check_rank(input, pairs)
        shape = tuple([size - before - after for size, (before, after) in zip(input.shape, pairs, strict=True)])
        _, middle, mirrors = _mirrored(shape, pairs, skip)
        out = input.copy()
        for border, inside in reversed(mirrors):
            target = out[inside]
            target += out[border]
        return out[middle]

    return Prepared(mirror_pad_grad, slice(1, None), _borders)


_SKIP = {b"REFLECT": 1, b"SYMMETRIC": 0}
"""How many elements at the edge are not mirrored."""


Index = tuple[slice, ...]


@lru_cache(maxsize=256)
def _mirrored(
    shape: tuple[int, ...], pairs: Pairs, skip: int
) -> tuple[tuple[int, ...], Index, Sequence[tuple[Index, Index]]]:
    """The padded shape, where the input lies in it, and pairs of (border, its mirror image) in the order of the axes.

    Raises:
        ValueError: there is less to mirror than is asked for.
    """
    if any(max(pair) > size - skip for size, pair in zip(shape, pairs, strict=True)):
        raise ValueError(
            f"paddings must be at most {'one less than ' if skip else ''}the size that they mirror, "
            f"got {list(pairs)} for shape {shape}"
        )
    found = []
    for axis, (size, (before, after)) in enumerate(zip(shape, pairs, strict=True)):
        # Axes that come later have no borders yet.
        lead, rest = (slice(None),) * axis, _middle(shape[axis + 1 :], pairs[axis + 1 :])
        end = before + size
        for count, border, first in (
            (before, slice(0, before), before + skip),
            (after, slice(end, end + after), end - skip - after),
        ):
            if count:
                back = slice(first + count - 1, first - 1 if first else None, -1)
                found.append(((*lead, border, *rest), (*lead, back, *rest)))
    padded = tuple(size + before + after for size, (before, after) in zip(shape, pairs, strict=True))
    return padded, _middle(shape, pairs), found
