"""Images seen through a projective transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._quantized import half_away
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

_F = np.float32
_PROJECTED_BYTES = 16 << 20  # of coordinates and pixels computed at a time


def _reflected(at: Array, size: int) -> Array:
    """abcd as dcba|abcd|dcba."""
    if size <= 1:
        return np.zeros_like(at)
    turn = _F(2 * size)
    low = turn * np.trunc(-at / turn) + at
    low = np.where(low < -size, low + turn, -low - _F(1))
    high = at - turn * np.trunc(at / turn)
    high = np.where(high >= size, turn - high - _F(1), high)
    return np.clip(np.where(at < 0, low, np.where(at > size - 1, high, at)), _F(0), _F(size - 1))


def _wrapped(at: Array, size: int) -> Array:
    """abcd as abcd|abcd|abcd."""
    if size <= 1:
        return np.zeros_like(at)
    last = _F(size - 1)
    low = at + _F(size) * (np.trunc(-at / last) + _F(1))
    high = at - _F(size) * np.trunc(at / last)
    return np.clip(np.where(at < 0, low, np.where(at > last, high, at)), _F(0), last)


_FILLS: dict[bytes, Callable[[Array, int], Array]] = {
    b"CONSTANT": lambda at, size: at,
    b"NEAREST": lambda at, size: np.clip(at, _F(0), _F(size - 1)),
    b"REFLECT": _reflected,
    b"WRAP": _wrapped,
}


def _projection(dtype: DType, interpolation: bytes, fill_mode: bytes) -> Kernel:
    if interpolation not in (b"NEAREST", b"BILINEAR"):
        raise ValueError(f"interpolation must be NEAREST or BILINEAR, got {interpolation!r}")
    if fill_mode not in _FILLS:
        raise ValueError(f"fill_mode must be one of {[m.decode() for m in _FILLS]}, got {fill_mode!r}")
    fill, bilinear, kind = _FILLS[fill_mode], interpolation == b"BILINEAR", dtype.numpy

    def pixels(images: Array, which: Array, y: Array, x: Array, value: Any) -> Array:
        height, width = images.shape[1:3]
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        found: Array = images[which, np.where(inside, y, 0), np.where(inside, x, 0)]
        found[~inside] = value
        return found

    def part(images: Array, transforms: Array, which: Array, rows: Array, width: int, value: Any) -> Any:
        x, y = np.arange(width, dtype=_F)[None, None, :], rows.astype(_F)[None, :, None]
        t = transforms[:, :, None, None]
        divisor = t[:, 6] * x + t[:, 7] * y + _F(1)
        with np.errstate(all="ignore"):
            across = fill((t[:, 0] * x + t[:, 1] * y + t[:, 2]) / divisor, images.shape[2])
            down = fill((t[:, 3] * x + t[:, 4] * y + t[:, 5]) / divisor, images.shape[1])
        # Where the divisor is zero lies infinity; beyond two pixels outside all is the same.
        shape = (len(which), *divisor.shape[1:])
        good = np.broadcast_to(divisor != 0, shape)
        across, down = (
            np.clip(np.where(good, np.broadcast_to(at, shape), _F(0)), _F(-2), _F(size + 1))
            for at, size in ((across, images.shape[2]), (down, images.shape[1]))
        )
        where = which[:, None, None]
        if bilinear:
            left, top = np.floor(across), np.floor(down)
            x0, y0 = left.astype(np.intp), top.astype(np.intp)
            to_right, to_bottom = (across - left)[..., None], (down - top)[..., None]
            to_left, to_top = (left + _F(1) - across)[..., None], (top + _F(1) - down)[..., None]

            def row(y: Array) -> Any:
                near = pixels(images, where, y, x0, value).astype(_F)
                far = pixels(images, where, y, x0 + 1, value).astype(_F)
                return to_left * near + to_right * far

            result = (to_top * row(y0) + to_bottom * row(y0 + 1)).astype(kind)
        else:
            nearest = [half_away(v).astype(np.intp) for v in (down, across)]
            result = pixels(images, where, nearest[0], nearest[1], value)
        result[~good] = value
        return result

    def run(images: Array, transforms: Array, output_shape: Array, fill_value: Any) -> Any:
        if images.ndim != 4:
            raise ValueError(f"images must have rank 4, got shape {images.shape}")
        batch, channels = images.shape[0], images.shape[3]
        if transforms.ndim != 2 or transforms.shape[1] != 8 or transforms.shape[0] not in (1, batch):
            raise ValueError(f"transforms must have shape [1 or {batch}, 8], got {transforms.shape}")
        if output_shape.shape != (2,) or min(output_shape.tolist()) <= 0:
            raise ValueError(f"output_shape must be two positive sizes, got {output_shape.tolist()}")
        if np.ndim(fill_value):
            raise ValueError(f"fill_value must be a scalar, got shape {fill_value.shape}")
        height, width = output_shape.tolist()
        value = np.asarray(fill_value).astype(kind)
        result = np.empty((batch, height, width, channels), kind)
        if not images.size:
            result[...] = value
            return result
        step = max(1, _PROJECTED_BYTES // (width * (64 + 16 * channels)))
        for i in range(batch):
            chosen = transforms[i : i + 1] if len(transforms) > 1 else transforms
            for start in range(0, height, step):
                rows = np.arange(start, min(height, start + step))
                result[i, rows] = part(images, chosen, np.array([i]), rows, width, value)[0]
        return result

    return run


@specialized("ImageProjectiveTransformV2")
def ImageProjectiveTransformV2(*, dtype: DType, interpolation: bytes, fill_mode: bytes = b"CONSTANT") -> Kernel:
    kernel = _projection(dtype, interpolation, fill_mode)
    return lambda images, transforms, output_shape: kernel(images, transforms, output_shape, _F(0))


@specialized("ImageProjectiveTransformV3")
def ImageProjectiveTransformV3(*, dtype: DType, interpolation: bytes, fill_mode: bytes = b"CONSTANT") -> Kernel:
    return _projection(dtype, interpolation, fill_mode)
