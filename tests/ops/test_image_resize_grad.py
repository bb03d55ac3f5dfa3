from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check

F = np.float32
SIZES = [((5, 7), (9, 4)), ((5, 7), (5, 7)), ((8, 8), (3, 3)), ((1, 1), (4, 5)), ((6, 3), (1, 1))]


def numbers(shape: tuple[int, ...], dtype: Any = F) -> np.ndarray[Any, Any]:
    return np.random.default_rng([*shape]).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("flags", [{}, {"align_corners": True}, {"half_pixel_centers": True}])
@pytest.mark.parametrize(("original", "resized"), SIZES)
def test_bicubic(original: tuple[int, int], resized: tuple[int, int], flags: dict[str, Any], dtype: Any) -> None:
    grads, image = numbers((2, *resized, 3)), numbers((2, *original, 3), dtype)
    check("ResizeBicubicGrad", grads=grads, original_image=image, **flags, refused=False, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", ["lanczos1", "lanczos3", "lanczos5", "gaussian", "box", "triangle", "keyscubic"])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("original", "resized"), SIZES)
def test_scale_and_translate(original: tuple[int, int], resized: tuple[int, int], antialias: bool, kernel: str) -> None:
    grads, image = numbers((2, *resized, 3)), numbers((2, *original, 3))
    for scale, translation in (([1.8, 0.57], [0, 0]), ([0.7, 1.3], [0.4, -1.2])):
        check(
            "ScaleAndTranslateGrad",
            grads=grads,
            original_image=image,
            scale=np.array(scale, F),
            translation=np.array(translation, F),
            kernel_type=kernel,
            antialias=antialias,
            refused=False,
            rtol=1e-4,
            atol=1e-4,
        )


def test_other_shapes_are_refused() -> None:
    image = numbers((2, 4, 4, 1))
    check("ResizeBicubicGrad", grads=image[0], original_image=image, refused=True)
    check("ResizeBicubicGrad", grads=image, original_image=image[0], refused=True)
    both = {"align_corners": True, "half_pixel_centers": True}
    check("ResizeBicubicGrad", grads=image, original_image=image, **both, refused=True)
    check(
        "ScaleAndTranslateGrad",
        grads=image,
        original_image=image,
        scale=np.array([1, 0], F),
        translation=np.zeros(2, F),
        refused=True,
    )
