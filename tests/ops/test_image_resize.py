from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check

from graphrack.ops.registry import lookup

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
INTS = [np.int32, np.int8, np.uint8, np.int16, np.uint16, np.int64]
RESIZES = ["ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"]
CENTERS = st.sampled_from([{}, {"align_corners": True}, {"half_pixel_centers": True}])
SIZES = st.tuples(st.integers(1, 17), st.integers(1, 17))


def numbers(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    values = np.random.default_rng([seed, *shape]).random(shape)
    return (values * 100 if np.dtype(dtype).kind in "iu" else values).astype(dtype)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(RESIZES), st.integers(1, 2), SIZES, st.integers(1, 3), SIZES, CENTERS)
def test_resizes_of_any_sizes(
    op: str, batch: int, sizes: tuple[int, int], depth: int, outs: tuple[int, int], centers: dict[str, Any]
) -> None:
    if op == "ResizeArea":
        centers = {key: value for key, value in centers.items() if key == "align_corners"}
    check(op, images=numbers((batch, *sizes, depth)), size=np.array(outs, np.int32), **centers, refused=False)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
@pytest.mark.parametrize("op", RESIZES)
def test_resizes_of_every_dtype(op: str, dtype: Any) -> None:
    for size in ([9, 4], [3, 11], [5, 7]):
        check(op, images=numbers((2, 5, 7, 3), dtype), size=np.array(size, np.int32), refused=False)


@pytest.mark.parametrize(("size", "out"), [((240, 320), (224, 224)), ((37, 301), (300, 36)), ((299, 7), (1, 299))])
@pytest.mark.parametrize("op", RESIZES)
def test_resizes_of_larger_images(op: str, size: tuple[int, int], out: tuple[int, int]) -> None:
    images = numbers((1, *size, 3))
    for centers in ({}, {"align_corners": True}, {"half_pixel_centers": True}):
        if op != "ResizeArea" or "half_pixel_centers" not in centers:
            check(op, images=images, size=np.array(out, np.int32), **centers, refused=False, atol=2e-5)


@pytest.mark.parametrize("op", RESIZES)
def test_resizes_refuse_what_is_no_image_or_size(op: str) -> None:
    for size in ([0, 3], [3, -1], [3], [3, 3, 3], [[3, 3]]):
        check(op, images=numbers((1, 4, 4, 2)), size=np.array(size, np.int32), refused=True)
    for shape in ((4, 4, 2), (1, 0, 4, 2), (1, 4, 0, 2), (1, 1, 4, 4, 2)):
        check(op, images=numbers(shape), size=np.array([3, 3], np.int32), refused=True)
    if op != "ResizeArea":
        both = {"align_corners": True, "half_pixel_centers": True}
        check(op, images=numbers((1, 4, 4, 2)), size=np.array([3, 3], np.int32), **both, refused=True)


@pytest.mark.parametrize("op", RESIZES)
@pytest.mark.parametrize("shape", [(0, 4, 4, 2), (1, 4, 4, 0)])
def test_resizes_of_no_images(op: str, shape: tuple[int, ...]) -> None:
    check(op, images=numbers(shape), size=np.array([3, 5], np.int32))


@pytest.mark.parametrize("op", RESIZES)
def test_resizes_refuse_sizes_that_no_memory_holds(op: str) -> None:
    implementation = lookup(op)
    assert implementation is not None
    kernel = implementation.bind("op", {}, {})
    with pytest.raises((MemoryError, ValueError)):
        kernel(numbers((1, 4, 4, 2)), np.array([2**31 - 1, 2**31 - 1], np.int32))


KERNELS = ["lanczos1", "lanczos3", "lanczos5", "gaussian", "box", "triangle", "keyscubic", "mitchellcubic"]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(KERNELS),
    st.booleans(),
    SIZES,
    SIZES,
    st.tuples(*[st.floats(0.25, 4, width=32)] * 2),
    st.tuples(*[st.floats(-5, 5, width=32)] * 2),
)
def test_scale_and_translate_of_any_kernel(
    kernel: str,
    antialias: bool,
    sizes: tuple[int, int],
    outs: tuple[int, int],
    scale: tuple[float, float],
    translation: tuple[float, float],
) -> None:
    check(
        "ScaleAndTranslate",
        images=numbers((1, *sizes, 2)),
        size=np.array(outs, np.int32),
        scale=np.array(scale, np.float32),
        translation=np.array(translation, np.float32),
        kernel_type=kernel,
        antialias=antialias,
        atol=1e-4,
        refused=False,
    )


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
def test_scale_and_translate_of_every_dtype(dtype: Any) -> None:
    vector = np.array([1.5, 0.7], np.float32)
    arguments: dict[str, Any] = {"size": np.array([7, 3], np.int32), "scale": vector, "translation": vector}
    check("ScaleAndTranslate", images=numbers((1, 5, 4, 2), dtype), **arguments, refused=False, atol=1e-3)


@pytest.mark.parametrize("scale", [[0, 1], [1, -1], [1], [[1, 1]]])
def test_scale_and_translate_refuses_other_scales(scale: Any) -> None:
    arguments: dict[str, Any] = {"size": np.array([7, 3], np.int32), "translation": np.zeros(2, np.float32)}
    check(
        "ScaleAndTranslate", images=numbers((1, 5, 4, 2)), scale=np.array(scale, np.float32), **arguments, refused=True
    )


@settings(max_examples=80, deadline=None)
@given(SIZES, SIZES, CENTERS, st.sampled_from([np.float32, np.float64]))
def test_gradients_of_resizes(
    sizes: tuple[int, int], outs: tuple[int, int], centers: dict[str, Any], dtype: Any
) -> None:
    grads, image = numbers((2, *outs, 3), dtype), numbers((2, *sizes, 3), dtype)
    loose: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-4}
    check("ResizeBilinearGrad", grads=grads.astype(np.float32), original_image=image, **centers, **loose, refused=False)
    size = np.array(sizes, np.int32)
    check("ResizeNearestNeighborGrad", grads=grads, size=size, **centers, **loose, refused=False)


@pytest.mark.parametrize("dtype", [*FLOATS, np.int32, np.uint8, np.int8])
def test_gradients_of_resizes_of_every_dtype(dtype: Any) -> None:
    loose = {np.float16: 2e-2, ml_dtypes.bfloat16: 1e-1, np.float64: 1e-6}.get(dtype)
    size = np.array([5, 3], np.int32)
    grads = numbers((2, 7, 8, 3), dtype)
    check("ResizeNearestNeighborGrad", grads=grads, size=size, rtol=loose, atol=loose, refused=False)
    if dtype in FLOATS:
        image = numbers((2, 5, 3, 3), dtype)
        check("ResizeBilinearGrad", grads=grads.astype(np.float32), original_image=image, rtol=loose, atol=loose)
