"""The first form of contrast adjustment, for images of integers too."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.ops.registry import op
from graphrack.ops.runtime import Array


@op("AdjustContrast")
def AdjustContrast(images: Array, contrast_factor: Array, min_value: Array, max_value: Array) -> Any:
    """Away from each channel's mean, as float32, clipped to the given range."""
    if images.ndim < 3:
        raise ValueError(f"AdjustContrast's images have shape {images.shape}, expected rank 3 or more")
    for name, value in (("contrast_factor", contrast_factor), ("min_value", min_value), ("max_value", max_value)):
        if np.ndim(value):
            raise ValueError(f"AdjustContrast's {name} has shape {value.shape}, expected a scalar")
    wide = images.astype(np.float32)
    if not wide.size:
        return wide
    mean = wide.mean(axis=(-3, -2), keepdims=True)
    return np.maximum(np.minimum((wide - mean) * contrast_factor + mean, max_value), min_value)
