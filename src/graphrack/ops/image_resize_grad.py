"""Gradients of resizing by kernels wider than two pixels: the weights of resizing, turned around."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.image_resize import KERNELS, Taps, check_centers, check_images, cubic, spans
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array


def _spread(grads: Array, axis: int, taps: Taps, size: int) -> Array:
    """One axis: each output's gradient goes to the pixels that it is the weighted sum of."""
    moved = np.moveaxis(grads, axis, 0)
    total = np.zeros((size, *moved.shape[1:]), grads.dtype)
    for i in range(taps.indices.shape[1]):
        weights = taps.weights[:, i].astype(grads.dtype).reshape(-1, *(1,) * (moved.ndim - 1))
        np.add.at(total, taps.indices[:, i], moved * weights)
    return np.moveaxis(total, 0, axis)


@specialized("ResizeBicubicGrad")
def ResizeBicubicGrad(*, T: DType, align_corners: bool = False, half_pixel_centers: bool = False) -> Kernel:
    check_centers("ResizeBicubicGrad", align_corners, half_pixel_centers)
    dtype = T.numpy

    def run(grads: Array, original_image: Array) -> Any:
        check_images("ResizeBicubicGrad", grads)
        check_images("ResizeBicubicGrad", original_image)
        result = grads.astype(np.float64)
        for axis in (1, 2):
            size = original_image.shape[axis]
            taps = cubic(size, grads.shape[axis], align_corners, half_pixel_centers)
            result = _spread(result, axis, taps, size)
        return result.astype(dtype)

    return run


@specialized("ScaleAndTranslateGrad")
def ScaleAndTranslateGrad(*, T: DType, kernel_type: bytes = b"lanczos3", antialias: bool = True) -> Kernel:
    if kernel_type not in KERNELS:
        raise ValueError(f"ScaleAndTranslateGrad's kernel_type is {kernel_type!r}, expected one of {[*KERNELS]}")
    dtype = T.numpy

    def run(grads: Array, original_image: Array, scale: Array, translation: Array) -> Any:
        check_images("ScaleAndTranslateGrad", grads)
        check_images("ScaleAndTranslateGrad", original_image)
        if scale.shape != (2,) or translation.shape != (2,) or not (scale > 0).all():
            raise ValueError(
                "ScaleAndTranslateGrad needs two positive scales and two translations (of height and width), found "
                f"{scale.tolist()} and {translation.tolist()}"
            )
        result = grads.astype(np.float64)
        for axis in (1, 2):
            size = original_image.shape[axis]
            taps = spans(size, grads.shape[axis], scale[axis - 1], translation[axis - 1], kernel_type, antialias)
            result = _spread(result, axis, taps, size)
        return result.astype(dtype)

    return run
