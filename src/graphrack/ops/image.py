"""Colours of images [..., channels]."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import FLOAT, DType
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array


def _check_colours(op_name: str, images: Array, least_rank: int = 1) -> None:
    if images.ndim < least_rank or images.shape[-1] != 3:
        raise ValueError(
            f"{op_name}'s images have shape {images.shape}, expected rank {least_rank} or more, the last size 3"
        )


def _check_scalar(op_name: str, name: str, value: Any) -> None:
    if np.ndim(value):
        raise ValueError(f"{op_name}'s {name} has shape {value.shape}, expected a scalar")


# Colours are computed plane by plane, [3, pixels]: of three numbers that lie side by side, NumPy's functions are slow.


def _planes(images: Array) -> Array:
    """The channels of images, one after the other."""
    return np.ascontiguousarray(images.reshape(-1, 3).T)


def _pixels(planes: Array, shape: tuple[int, ...]) -> Array:
    """Images of that shape, given their channels."""
    return np.ascontiguousarray(planes.T).reshape(shape)


def _extremes(planes: Array, largest: Array | None = None) -> tuple[Array, Array]:
    """The largest and the least of each pixel's channels."""
    return np.maximum.reduce(planes, 0, out=largest), np.minimum.reduce(planes, 0)


_AFTER, _BEFORE = np.array([1, 2, 0]), np.array([2, 0, 1])
_AROUND = np.array([[0], [2], [4]], np.int8)


def _hue(planes: Array, largest: Array, span: Array) -> Array:
    """Hue in [-1, 5]: where on the colour circle of 6, red at 0, green at 2, blue at 4; 0 for grey."""
    colourful = span > 0
    around = planes.take(_AFTER, 0)
    around -= planes.take(_BEFORE, 0)
    around /= np.where(colourful, span, 1)
    around += _AROUND
    hue = np.where(planes[0] == largest, around[0], np.where(planes[1] == largest, around[1], around[2]))
    return np.where(colourful, hue, 0)


_TOP, _SLOPE, _HEIGHT = (np.array(v, np.int8)[:, None] for v in ([3, 2, 4], [1, -1, -1], [-1, 2, 2]))
"""Of red, green and blue: the hue around which it is least (red) or largest, and its share beside it and there."""


def _shares(hue: Array) -> Array:
    """How far red, green and blue are from the least of them towards the largest, for a hue in [0, 6): planes."""
    shares: Array = hue - _TOP
    np.abs(shares, out=shares)
    shares *= _SLOPE
    shares += _HEIGHT
    np.maximum(shares, 0, out=shares)
    return np.minimum(shares, 1, out=shares)


def _to_hsv(planes: Array) -> Array:
    result = np.empty_like(planes)
    largest, least = _extremes(planes, result[2])
    span = largest - least
    bright = largest > 0
    result[1] = np.where(bright, span / np.where(bright, largest, 1), 0)
    hue = _hue(planes, largest, span)
    np.add(hue, 6, out=hue, where=hue < 0)
    np.divide(hue, 6, out=result[0])
    return result


def _to_rgb(planes: Array) -> Array:
    hue, saturation, value = planes
    result = _shares(hue * 6)
    result *= saturation
    result += 1 - saturation
    result *= value
    return result


def _rgb_to_hsv(images: Array) -> Any:
    _check_colours("RGBToHSV", images)
    return _pixels(_to_hsv(_planes(images)), images.shape)


def _hsv_to_rgb(images: Array) -> Any:
    _check_colours("HSVToRGB", images)
    return _pixels(_to_rgb(_planes(images)), images.shape)


@specialized("RGBToHSV")
def RGBToHSV(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _rgb_to_hsv)


@specialized("HSVToRGB")
def HSVToRGB(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _hsv_to_rgb)


def _adjust_hue(images: Array, delta: Any) -> Any:
    _check_colours("AdjustHue", images, 3)
    _check_scalar("AdjustHue", "delta", delta)
    planes = _planes(images.astype(np.float32, copy=False))
    largest, least = _extremes(planes)
    span = largest - least
    turned = _hue(planes, largest, span)
    turned += np.float32(delta) * 6
    result = _shares(np.mod(turned, 6, out=turned))
    result *= span
    result += least
    return _pixels(result, images.shape)


def _adjust_saturation(images: Array, scale: Any) -> Any:
    _check_colours("AdjustSaturation", images, 3)
    _check_scalar("AdjustSaturation", "scale", scale)
    # Hue and value stay, so all channels come nearer to the largest, or go away from it, by one factor: what is left
    # of the saturation. What has none stays grey.
    planes = _planes(images)
    largest, least = _extremes(planes)
    span = largest - least
    coloured = (largest > 0) & (span > 0)
    saturation = np.divide(span, largest, np.zeros_like(span), where=coloured)
    factor = saturation * np.float32(scale)
    np.minimum(np.maximum(factor, 0, out=factor), 1, out=factor)
    np.divide(factor, saturation, factor, where=coloured)
    np.subtract(largest, planes, planes)
    planes *= factor
    return _pixels(np.subtract(largest, planes, planes), images.shape)


def _adjust_contrast(images: Array, contrast_factor: Any) -> Any:
    if images.ndim < 3:
        raise ValueError(f"AdjustContrastv2's images have shape {images.shape}, expected rank 3 or more")
    _check_scalar("AdjustContrastv2", "contrast_factor", contrast_factor)
    if not images.size:
        return images
    mean = np.add.reduce(images, (-3, -2), keepdims=True)
    mean /= images.shape[-3] * images.shape[-2]
    apart = images - mean
    apart *= np.float32(contrast_factor)
    apart += mean
    return apart


@specialized("AdjustHue")
def AdjustHue(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _adjust_hue)


@specialized("AdjustSaturation")
def AdjustSaturation(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _adjust_saturation)


@specialized("AdjustContrastv2")
def AdjustContrastv2(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _adjust_contrast)
