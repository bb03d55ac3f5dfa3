from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ops.harness import check

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
SHAPES: list[tuple[int, ...]] = [(3,), (7, 3), (2, 5, 3), (2, 4, 5, 3), (0, 3), (2, 0, 4, 3)]


def colours(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.random.default_rng([*shape]).random(shape).astype(dtype)


GREYS = np.array([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["RGBToHSV", "HSVToRGB"])
def test_colour_spaces(op: str, dtype: Any, shape: tuple[int, ...]) -> None:
    # Half: TensorFlow rounds after every step.
    loose = {np.float16: 1e-2, ml_dtypes.bfloat16: 5e-2}.get(dtype)
    check(op, images=colours(shape, dtype), rtol=loose, atol=loose, refused=False)


@pytest.mark.parametrize("op", ["RGBToHSV", "HSVToRGB"])
def test_colour_spaces_at_their_corners(op: str) -> None:
    check(op, images=GREYS.astype(np.float32), refused=False)
    check(op, images=(GREYS * 3 - 1).astype(np.float32), refused=False)


@pytest.mark.parametrize("op", ["RGBToHSV", "HSVToRGB"])
def test_colour_spaces_refuse_other_channels(op: str) -> None:
    for shape in ((), (2,), (2, 4), (3, 1)):
        check(op, images=colours(shape), refused=True)


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 4, 5, 3), (2, 2, 4, 5, 3), (0, 4, 3), (1, 1, 3)])
def test_adjustments(shape: tuple[int, ...]) -> None:
    images = colours(shape)
    for amount in (0.0, 0.3, -0.4, 1.0):
        check("AdjustHue", images=images, delta=np.float32(amount), refused=False)
    for amount in (0.0, 0.5, 2.5):
        check("AdjustSaturation", images=images, scale=np.float32(amount), refused=False)
        check("AdjustContrastv2", images=images, contrast_factor=np.float32(amount), refused=False)


def test_adjustments_of_greys_and_of_values_out_of_range() -> None:
    for images in (GREYS, GREYS * 3 - 1, GREYS * 255):
        values = images.astype(np.float32).reshape(2, 4, 3)
        check("AdjustHue", images=values, delta=np.float32(0.2), refused=False, rtol=1e-4)
        check("AdjustContrastv2", images=values, contrast_factor=np.float32(0.7), refused=False, rtol=1e-4)
    check("AdjustSaturation", images=GREYS.astype(np.float32).reshape(2, 4, 3), scale=np.float32(0.4), refused=False)


def test_contrast_of_any_number_of_channels() -> None:
    check("AdjustContrastv2", images=colours((2, 4, 5, 7)), contrast_factor=np.float32(1.5), refused=False)


def test_adjustments_refuse_other_shapes() -> None:
    for shape in ((3,), (4, 3), (2, 4, 4)):
        check("AdjustHue", images=colours(shape), delta=np.float32(0.2), refused=True)
        check("AdjustSaturation", images=colours(shape), scale=np.float32(0.2), refused=True)
    check("AdjustContrastv2", images=colours((4, 3)), contrast_factor=np.float32(0.2), refused=True)
    vector, images = np.ones(2, np.float32), colours((2, 4, 3))
    check("AdjustHue", images=images, delta=vector, refused=True)
    check("AdjustSaturation", images=images, scale=vector, refused=True)
    check("AdjustContrastv2", images=images, contrast_factor=vector, refused=True)
