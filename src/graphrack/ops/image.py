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


def _hue(images: Array, largest: Array, span: Array) -> Array:
    """Hue in [0, 6): where on the colour circle, red at 0, green at 2, blue at 4; 0 for grey."""
    r, g, b = images[..., 0], images[..., 1], images[..., 2]
    safe = np.where(span > 0, span, 1)
    hue = np.where(r == largest, (g - b) / safe, np.where(g == largest, (b - r) / safe + 2, (r - g) / safe + 4))
    hue = np.where(span > 0, hue, 0)
    return np.where(hue < 0, hue + 6, hue)


def _shares(hue: Array) -> Array:
    """How far red, green and blue are from the least of them towards the largest, for a hue in [0, 6)."""
    return np.stack(
        [
            np.clip(np.abs(hue - 3) - 1, 0, 1),
            np.clip(2 - np.abs(hue - 2), 0, 1),
            np.clip(2 - np.abs(hue - 4), 0, 1),
        ],
        axis=-1,
    )


def _rgb_to_hsv(images: Array) -> Any:
    _check_colours("RGBToHSV", images)
    largest = images.max(axis=-1)
    span = largest - images.min(axis=-1)
    saturation = np.where(largest > 0, span / np.where(largest > 0, largest, 1), 0)
    return np.stack([_hue(images, largest, span) / 6, saturation, largest], axis=-1)


def _hsv_to_rgb(images: Array) -> Any:
    _check_colours("HSVToRGB", images)
    hue, saturation, value = images[..., 0], images[..., 1:2], images[..., 2:]
    return ((1 - saturation) + saturation * _shares(hue * 6)) * value


@specialized("RGBToHSV")
def RGBToHSV(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _rgb_to_hsv)


@specialized("HSVToRGB")
def HSVToRGB(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _hsv_to_rgb)


def _adjust_hue(images: Array, delta: Any) -> Any:
    _check_colours("AdjustHue", images, 3)
    _check_scalar("AdjustHue", "delta", delta)
    wide = images.astype(np.float32, copy=False)
    largest, least = wide.max(axis=-1), wide.min(axis=-1)
    span = largest - least
    turned = np.mod(_hue(wide, largest, span) + np.float32(delta) * 6, 6)
    return least[..., None] + _shares(turned) * span[..., None]


def _adjust_saturation(images: Array, scale: Any) -> Any:
    _check_colours("AdjustSaturation", images, 3)
    _check_scalar("AdjustSaturation", "scale", scale)
    hsv = _rgb_to_hsv(images)
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(scale), 0, 1)
    return _hsv_to_rgb(hsv)


def _adjust_contrast(images: Array, contrast_factor: Any) -> Any:
    if images.ndim < 3:
        raise ValueError(f"AdjustContrastv2's images have shape {images.shape}, expected rank 3 or more")
    _check_scalar("AdjustContrastv2", "contrast_factor", contrast_factor)
    if not images.size:
        return images
    mean = images.mean(axis=(-3, -2), keepdims=True)
    return (images - mean) * np.float32(contrast_factor) + mean


@specialized("AdjustHue")
def AdjustHue(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _adjust_hue)


@specialized("AdjustSaturation")
def AdjustSaturation(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _adjust_saturation)


@specialized("AdjustContrastv2")
def AdjustContrastv2(*, T: DType = FLOAT) -> Kernel:
    return widened(T, _adjust_contrast)
