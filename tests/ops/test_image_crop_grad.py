"""Gradients of CropAndResize against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check

SIZES = [(3, 4), (1, 5), (2, 1), (1, 1), (6, 6)]


def _inputs(size: tuple[int, int], seed: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    boxes = random.uniform(-0.2, 1.2, (5, 4)).astype(np.float32)  # partly outside, some the wrong way round
    boxes[0], boxes[1] = [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]
    return {
        "grads": random.normal(size=(5, *size, 2)).astype(np.float32),
        "boxes": boxes,
        "box_ind": random.integers(0, 2, 5).astype(np.int32),
        "image": random.normal(size=(2, 5, 4, 2)).astype(dtype),
    }


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_gradients_to_the_image(size: tuple[int, int], method: str, dtype: type) -> None:
    given = _inputs(size, sum(size))
    image_size = np.array(given.pop("image").shape, np.int32)
    rtol = 2e-2 if dtype == np.float16 else 1e-4  # TensorFlow sums halves in halves
    check(
        "CropAndResizeGradImage",
        **given,
        image_size=image_size,
        T=dtype,
        method=method,
        rtol=rtol,
        atol=rtol,
        refused=False,
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8, np.int16, np.int32, np.int64])
def test_gradients_to_the_boxes(size: tuple[int, int], dtype: type) -> None:
    given = _inputs(size, sum(size), dtype)
    check("CropAndResizeGradBoxes", **given, method="bilinear", rtol=1e-4, atol=1e-4, refused=False)


@pytest.mark.parametrize("bad", [{"box_ind": np.array([0, 1, 2, 0, 0], np.int32)}, {"boxes": np.zeros((4, 4), np.float32)},
                                 {"grads": np.zeros((5, 3, 4), np.float32)}])  # fmt: skip
def test_what_does_not_fit_is_refused(bad: dict[str, np.ndarray]) -> None:
    given = {**_inputs((3, 4), 0), **bad}
    check("CropAndResizeGradBoxes", **given, refused=True)
    image_size = np.array(given.pop("image").shape, np.int32)
    check("CropAndResizeGradImage", **given, image_size=image_size, T=np.float32, refused=True)


def test_no_boxes_give_no_gradient() -> None:
    given = {**_inputs((3, 4), 0), "boxes": np.zeros((0, 4), np.float32), "box_ind": np.zeros(0, np.int32)}
    given["grads"] = np.zeros((0, 3, 4, 2), np.float32)
    check("CropAndResizeGradBoxes", **given, refused=False)
    image_size = np.array(given.pop("image").shape, np.int32)
    check("CropAndResizeGradImage", **given, image_size=image_size, T=np.float32, refused=False)
