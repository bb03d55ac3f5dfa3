from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check

FLOATS = [np.float32, np.float64, np.float16]
INTS = [np.int32, np.int8, np.uint8, np.int16, np.uint16, np.int64]


def numbers(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    values = np.random.default_rng([seed, *shape]).random(shape)
    return (values * 100 if np.dtype(dtype).kind in "iu" else values).astype(dtype)


def random_boxes(count: int, seed: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    """Boxes of which many overlap; corners in any order, some boxes without area."""
    random = np.random.default_rng(seed)
    first, size = random.random((count, 2)), random.normal(size=(count, 2)) * 0.4
    size[random.random(count) < 0.05] = 0
    return np.concatenate([first, first + size], axis=1).astype(dtype)


def i32(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int32)


@settings(max_examples=120, deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.integers(0, 6),
    st.sampled_from(["bilinear", "nearest"]),
    st.integers(0, 99),
)
def test_crops_of_any_boxes(sizes: tuple[int, int], out: tuple[int, int], count: int, method: str, seed: int) -> None:
    check(
        "CropAndResize",
        image=numbers((3, *sizes, 2)),
        boxes=random_boxes(count, seed) * 1.2 - np.float32(0.1),
        box_ind=np.random.default_rng(seed).integers(0, 3, count).astype(np.int32),
        crop_size=i32(*out),
        method=method,
        extrapolation_value=-2.5,
        refused=False,
    )


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
def test_crops_of_every_dtype(dtype: Any) -> None:
    boxes = np.array([[0, 0, 1, 1], [0.2, 0.9, 0.8, 0.1]], np.float32)
    for method in ("bilinear", "nearest"):
        arguments = {"boxes": boxes, "box_ind": i32(0, 1), "crop_size": i32(4, 3), "method": method}
        check("CropAndResize", image=numbers((2, 5, 6, 3), dtype), **arguments, refused=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"box_ind": i32(0, 2)},
        {"box_ind": i32(0, -1)},
        {"box_ind": i32(0)},
        {"boxes": np.zeros((2, 3), np.float32)},
        {"boxes": np.zeros(8, np.float32)},
        {"crop_size": i32(4)},
        {"crop_size": i32(0, 3)},
        {"crop_size": i32(4, -3)},
        {"image": np.zeros((5, 6, 3), np.float32)},
        {"image": np.zeros((2, 0, 6, 3), np.float32)},
        {"image": np.zeros((2, 5, 6, 0), np.float32)},
        {"boxes": np.zeros((0, 4), np.float32), "box_ind": np.zeros(0, np.int32)},
    ],
)
def test_crops_refuse_what_tensorflow_refuses(changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "image": numbers((2, 5, 6, 3)),
        "boxes": np.array([[0, 0, 1, 1], [0.2, 0.9, 0.8, 0.1]], np.float32),
        "box_ind": i32(0, 1),
        "crop_size": i32(4, 3),
    }
    check("CropAndResize", **(arguments | changes))


def test_many_crops_are_computed_in_pieces() -> None:
    boxes, which = random_boxes(300, 1) * 0.5, np.zeros(300, np.int32)
    arguments = {"image": numbers((1, 30, 30, 8)), "boxes": boxes, "box_ind": which, "crop_size": i32(60, 60)}
    check("CropAndResize", **arguments, refused=False, atol=1e-4)


def nms_arguments(count: int, seed: int, dtype: Any, most: int, threshold: float) -> dict[str, Any]:
    scores = np.random.default_rng(seed + 1).random(count).round(1 if seed % 2 else 6)
    return {
        "boxes": random_boxes(count, seed, dtype),
        "scores": scores.astype(dtype),
        "max_output_size": np.int32(most),
        "iou_threshold": np.dtype(dtype).type(threshold),
    }


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(0, 999),
    st.sampled_from([np.float32, np.float32, np.float16]),
    st.integers(0, 30),
    st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]),
    st.sampled_from([-np.inf, 0.0, 0.4]),
    st.booleans(),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_suppression_in_every_version(
    count: int, seed: int, dtype: Any, most: int, threshold: float, least: float, pad: bool, sigma: float
) -> None:
    arguments = nms_arguments(count, seed, dtype, most, threshold)
    score = {"score_threshold": np.dtype(dtype).type(least)}
    check("NonMaxSuppressionV2", **arguments, refused=False)
    check("NonMaxSuppressionV3", **arguments, **score, refused=False)
    check("NonMaxSuppressionV4", **arguments, **score, pad_to_max_output_size=pad, refused=False)
    if dtype == np.float32:
        check(
            "NonMaxSuppressionV5",
            **arguments,
            **score,
            soft_nms_sigma=np.dtype(dtype).type(sigma),
            pad_to_max_output_size=pad,
            refused=False,
        )
        check("NonMaxSuppression", **(arguments | {"iou_threshold": threshold}), refused=False)
        overlaps = np.random.default_rng(seed).random((count, count)).astype(np.float32)
        check(
            "NonMaxSuppressionWithOverlaps",
            overlaps=overlaps,
            scores=arguments["scores"],
            max_output_size=arguments["max_output_size"],
            overlap_threshold=arguments["iou_threshold"],
            **score,
            refused=False,
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"boxes": np.zeros((5, 3), np.float32)},
        {"boxes": np.zeros(5, np.float32)},
        {"scores": np.zeros(4, np.float32)},
        {"scores": np.zeros((5, 1), np.float32)},
        {"max_output_size": i32(3)},
        {"max_output_size": np.int32(-1)},
        {"iou_threshold": np.float32(1.5)},
        {"iou_threshold": np.float32(-0.1)},
        {"iou_threshold": np.zeros(1, np.float32)},
        {"score_threshold": np.zeros(1, np.float32)},
        {"soft_nms_sigma": np.float32(-1)},
    ],
)
def test_suppression_refuses_what_tensorflow_refuses(changes: dict[str, Any]) -> None:
    arguments = nms_arguments(5, 0, np.float32, 3, 0.5)
    arguments |= {"score_threshold": np.float32(0), "soft_nms_sigma": np.float32(0)} | changes
    check("NonMaxSuppressionV5", **arguments)
    del arguments["soft_nms_sigma"]
    check("NonMaxSuppressionV4", **arguments)
    check("NonMaxSuppressionV3", **arguments)
    del arguments["score_threshold"]
    check("NonMaxSuppressionV2", **arguments)


def combined_arguments(
    seed: int, batch: int, count: int, classes: int, shared: bool, per_class: int, total: int
) -> dict[str, Any]:
    boxes = random_boxes(batch * count * (1 if shared else classes), seed)
    return {
        "boxes": boxes.reshape(batch, count, -1, 4),
        "scores": numbers((batch, count, classes), seed=seed),
        "max_output_size_per_class": np.int32(per_class),
        "max_total_size": np.int32(total),
        "iou_threshold": np.float32(0.4),
        "score_threshold": np.float32(0.2),
    }


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(1, 3),
    st.integers(1, 12) | st.sampled_from([63, 64, 65, 150]),
    st.integers(1, 3),
    st.booleans(),
    st.integers(1, 6),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
)
def test_combined_suppression(
    seed: int, batch: int, count: int, classes: int, shared: bool, per_class: int, total: int, pad: bool, clip: bool
) -> None:
    arguments = combined_arguments(seed, batch, count, classes, shared, per_class, total)
    check("CombinedNonMaxSuppression", **arguments, pad_per_class=pad, clip_boxes=clip, refused=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_total_size": np.int32(0)},
        {"max_output_size_per_class": np.int32(0)},
        {"max_output_size_per_class": np.int32(-2)},
        {"iou_threshold": np.float32(2)},
        {"boxes": np.zeros((2, 5, 2, 4), np.float32)},
        {"boxes": np.zeros((2, 4, 1, 4), np.float32)},
        {"boxes": np.zeros((2, 5, 1, 3), np.float32)},
        {"boxes": np.zeros((2, 5, 4), np.float32)},
    ],
)
def test_combined_suppression_refuses_what_tensorflow_refuses(changes: dict[str, Any]) -> None:
    check("CombinedNonMaxSuppression", **(combined_arguments(0, 2, 5, 3, True, 3, 6) | changes))
