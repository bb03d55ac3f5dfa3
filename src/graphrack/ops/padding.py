"""Values with borders: Pad, PadV2, MirrorPad and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.ops._arguments import blank
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array


def _borders(input: Array, paddings: Array) -> list[tuple[int, int]]:
    """How much comes before and after in each dimension. Raises `ValueError` unless one pair for each."""
    if paddings.shape != (input.ndim, 2):
        raise ValueError(
            f"paddings must have shape {(input.ndim, 2)} for an input of shape {input.shape}, got {paddings.shape}"
        )
    pairs: list[tuple[int, int]] = [(before, after) for before, after in paddings.tolist()]
    if any(before < 0 or after < 0 for before, after in pairs):
        raise ValueError(f"paddings must not be negative, got {pairs}")
    return pairs


@op("Pad")
def Pad(input: Array, paddings: Array) -> Array:
    return _padded(input, _borders(input, paddings), blank(input.dtype))


@op("PadV2")
def PadV2(input: Array, paddings: Array, constant_values: Array) -> Array:
    if constant_values.ndim:
        raise ValueError(f"constant_values must be a scalar, got shape {constant_values.shape}")
    return _padded(input, _borders(input, paddings), constant_values)


def _padded(input: Array, pairs: list[tuple[int, int]], value: Any) -> Array:
    if not any(before or after for before, after in pairs):
        return input
    shape = [size + before + after for size, (before, after) in zip(input.shape, pairs, strict=True)]
    out = np.empty(shape, input.dtype)
    out[...] = value
    out[_middle(input.shape, pairs)] = input
    return out


def _middle(shape: tuple[int, ...], pairs: list[tuple[int, int]]) -> tuple[slice, ...]:
    return tuple(slice(before, before + size) for size, (before, _) in zip(shape, pairs, strict=True))


@specialized("MirrorPad")
def MirrorPad(*, mode: bytes) -> Any:
    skip = _SKIP[mode]

    def mirror_pad(input: Array, paddings: Array) -> Array:
        pairs = _borders(input, paddings)
        _check_mirror(input.shape, pairs, skip)
        shape = [size + before + after for size, (before, after) in zip(input.shape, pairs, strict=True)]
        out = np.empty(shape, input.dtype)
        out[_middle(input.shape, pairs)] = input
        # One axis after the other: what is mirrored then has the borders of the axes before.
        for border, inside in _mirrors(input.shape, pairs, skip):
            out[border] = out[inside]
        return out

    return mirror_pad


@specialized("MirrorPadGrad")
def MirrorPadGrad(*, mode: bytes) -> Any:
    skip = _SKIP[mode]

    def mirror_pad_grad(input: Array, paddings: Array) -> Array:
        pairs = _borders(input, paddings)
        shape = tuple(size - sum(pair) for size, pair in zip(input.shape, pairs, strict=True))
        _check_mirror(shape, pairs, skip)
        out = input.copy()
        for border, inside in reversed(_mirrors(shape, pairs, skip)):
            out[inside] += out[border]
        return out[_middle(shape, pairs)]

    return mirror_pad_grad


_SKIP = {b"REFLECT": 1, b"SYMMETRIC": 0}
"""How many elements at the edge are not mirrored."""


def _check_mirror(shape: tuple[int, ...], pairs: list[tuple[int, int]], skip: int) -> None:
    if any(max(pair) > size - skip for size, pair in zip(shape, pairs, strict=True)):
        raise ValueError(
            f"paddings must be at most {'one less than ' if skip else ''}the size that they mirror, "
            f"got {pairs} for shape {shape}"
        )


def _mirrors(
    shape: tuple[int, ...], pairs: list[tuple[int, int]], skip: int
) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Pairs of (border, its mirror image) as indices of the padded array, in the order of the axes."""
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
    return found
