"""Boxes in images: crops, and non-maximum suppression.

A box is [y1, x1, y2, x2], any two opposite corners of it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import FLOAT, DType
from graphrack.ops._arguments import are_within
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

Overlap = Callable[[Any, Any], Array]
"""How far boxes overlap others, all of them given by index; indices broadcast."""

_AT_A_TIME = 64  # candidates of a suppression that are compared with each other
_CROP_BYTES = 16 << 20  # of crops computed at a time


def sample_points(first: Array, last: Array, size: int, out: int) -> Array:
    """Where `out` samples from `first` to `last` (shares of the image) lie, in pixels: [boxes, out]."""
    edge = np.float32(size - 1)
    if out == 1:
        return (np.float32(0.5) * (first + last) * edge)[:, None]
    step = (last - first) * edge / np.float32(out - 1)
    return (first * edge)[:, None] + np.arange(out, dtype=np.float32) * step[:, None]


def _crops(image: Array, boxes: Array, which: Array, out: tuple[int, int], nearest: bool, outside: Any) -> Array:
    rows = sample_points(boxes[:, 0], boxes[:, 2], image.shape[1], out[0])
    columns = sample_points(boxes[:, 1], boxes[:, 3], image.shape[2], out[1])
    row_inside = (rows >= 0) & (rows <= image.shape[1] - 1)
    column_inside = (columns >= 0) & (columns <= image.shape[2] - 1)
    rows, columns = np.where(row_inside, rows, 0), np.where(column_inside, columns, 0)
    every = image.reshape(math.prod(image.shape[:3]), image.shape[3])
    first = (which.astype(np.intp) * image.shape[1])[:, None]
    width = np.intp(image.shape[2])

    def pixels(y: Array, x: Array) -> Array:
        starts = (first + y.astype(np.intp)) * width
        found: Array = every.take(starts[:, :, None] + x.astype(np.intp)[:, None, :], 0)
        return found.astype(np.float32, copy=False)

    if nearest:
        result = pixels(np.floor(rows + np.float32(0.5)), np.floor(columns + np.float32(0.5)))
    else:
        top, bottom, left, right = np.floor(rows), np.ceil(rows), np.floor(columns), np.ceil(columns)
        across, down = (columns - left)[:, None, :, None], (rows - top)[:, :, None, None]
        upper, lower = pixels(top, left), pixels(bottom, left)
        upper += (pixels(top, right) - upper) * across
        lower += (pixels(bottom, right) - lower) * across
        lower -= upper
        lower *= down
        lower += upper
        result = lower
    if not (row_inside.all() and column_inside.all()):
        result[~(row_inside[:, :, None] & column_inside[:, None, :])] = outside
    return result


@specialized("CropAndResize")
def CropAndResize(*, method: bytes = b"bilinear", extrapolation_value: float = 0.0) -> Kernel:
    if method not in (b"bilinear", b"nearest"):
        raise ValueError(f"CropAndResize's method is {method!r}, expected b'bilinear' or b'nearest'")
    nearest, outside = method == b"nearest", np.float32(extrapolation_value)

    def run(image: Array, boxes: Array, box_ind: Array, crop_size: Array) -> Any:
        if image.ndim != 4 or not image.shape[1] or not image.shape[2]:
            raise ValueError(f"CropAndResize's image has shape {image.shape}, expected rank 4, height and width over 0")
        if crop_size.shape != (2,) or min(crop_size.tolist()) <= 0:
            raise ValueError(f"CropAndResize's crop_size is {crop_size.tolist()}, expected two positive numbers")
        if (boxes.size or box_ind.size) and (boxes.ndim != 2 or boxes.shape[1] != 4):
            raise ValueError(f"CropAndResize's boxes have shape {boxes.shape}, expected [boxes, 4]")
        if box_ind.size != boxes.shape[0] or (box_ind.size and box_ind.ndim != 1):
            raise ValueError(f"CropAndResize's box_ind has shape {box_ind.shape}, expected {boxes.shape[:1]}")
        batch = image.shape[0]
        if not are_within(box_ind, batch):
            raise ValueError(f"CropAndResize's box_ind has values outside [0, {batch}), the images that there are")
        height, width = crop_size.tolist()
        count = boxes.shape[0] if box_ind.size else 0
        result = np.empty((count, height, width, image.shape[3]), np.float32)
        step = max(1, _CROP_BYTES // max(1, 4 * height * width * image.shape[3]))
        for start in range(0, count, step):
            part = slice(start, start + step)
            result[part] = _crops(image, boxes[part], box_ind[part], (height, width), nearest, outside)
        return result

    return run


# Non-maximum suppression


def _overlap_of(boxes: Array) -> Overlap:
    """The function of indices of boxes, two arrays of one rank, that gives intersection over union."""
    # Height and width side by side: what few boxes take is calls.
    sides = boxes.T.copy()
    low, high = np.minimum(sides[:2], sides[2:]), np.maximum(sides[:2], sides[2:])
    size = high - low
    area = size[0] * size[1]
    all_real = (area > 0).all()

    def overlap(these: Any, others: Any) -> Array:
        common = np.minimum(high.take(these, 1), high.take(others, 1))
        common -= np.maximum(low.take(these, 1), low.take(others, 1))
        np.maximum(common, 0, out=common)
        shared = common[0] * common[1]
        union = area[these] + area[others] - shared
        if all_real:
            return shared / union  # type: ignore[no-any-return]
        real = (area[these] > 0) & (area[others] > 0)
        return np.where(real, shared / np.where(real, union, 1), 0)

    return overlap


def _candidates(scores: Array, least_score: Any) -> Array:
    """Indices of the scores above the least one, best first."""
    found: Array = (scores > least_score).nonzero()[0]
    if found.size > 1:
        found = found.take((-scores.take(found)).argsort(kind="stable"))
    return found


def _bits(clashes: Array) -> list[int]:
    """Each row of truths, up to 64 of them, as the bits of a number, the first one lowest."""
    packed = np.zeros((len(clashes), 8), np.uint8)
    bits = np.packbits(clashes, axis=1, bitorder="little")
    packed[:, : bits.shape[1]] = bits
    return packed.view("<u8").ravel().tolist()


def _greedily(candidates: Iterable[int], clashes: Sequence[int], most: int) -> list[int]:
    """What is kept of numbers that come best first, and clash with those whose bits theirs have."""
    kept: list[int] = []
    gone = 0
    for i in candidates:
        if len(kept) >= most:
            break
        if not gone >> i & 1:
            kept.append(i)
            gone |= clashes[i]
    return kept


def _suppressed(overlap: Overlap, scores: Array, most: int, threshold: Any, least_score: Any) -> Array:
    """Indices of what is kept, best first: what overlaps something better by more than the threshold goes.

    Candidates are compared with what is kept, and then among themselves, many at a time.
    """
    candidates = _candidates(scores, least_score)
    if candidates.size <= 1 and most:
        return candidates.astype(np.int32)
    kept: list[int] = []
    for start in range(0, candidates.size, _AT_A_TIME):
        block = candidates[start : start + _AT_A_TIME]
        if kept:
            block = block[~(overlap(block[:, None], np.array(kept)[None]) > threshold).any(1)]
        clashes = _bits(overlap(block[:, None], block[None]) > threshold)
        kept += block.take(_greedily(range(block.size), clashes, most - len(kept))).tolist()
        if len(kept) >= most:
            break
    return np.array(kept, np.int32)


def _softly_suppressed(overlap: Overlap, scores: Array, most: int, sigma: Any, least_score: Any) -> tuple[Array, Array]:
    """Indices and scores of what is kept: overlaps lower a score by a factor of exp(-overlap² / 2 sigma).

    Soft-NMS, Bodla et al. (2017).
    """
    scale = scores.dtype.type(-0.5) / sigma
    # (-score, index, how many of the kept it has been weighed against)
    heap = [(-scores[i], int(i), 0) for i in np.flatnonzero(scores > least_score)]
    heapq.heapify(heap)
    kept: list[int] = []
    kept_scores: list[Any] = []
    while heap and len(kept) < most:
        negative, index, seen = heapq.heappop(heap)
        score = -negative
        if seen < len(kept):
            overlaps = overlap(np.array([index]), np.array(kept[: seen - 1 if seen else None : -1]))
            for weight in np.exp(scale * overlaps * overlaps):
                score = score * weight
                if score <= least_score:
                    break
        if score == -negative:
            kept.append(index)
            kept_scores.append(score)
        elif score > least_score:
            heapq.heappush(heap, (-score, index, len(kept)))
    return np.array(kept, np.int32), np.array(kept_scores, scores.dtype)


def _scalar(op_name: str, name: str, value: Any) -> Any:
    if np.ndim(value):
        raise ValueError(f"{op_name}'s {name} has shape {value.shape}, expected a scalar")
    return value[()] if isinstance(value, np.ndarray) else value


def _check_nms(op_name: str, boxes: Array, scores: Array, most: Any, threshold: Any) -> tuple[int, Any]:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{op_name}'s boxes have shape {boxes.shape}, expected [boxes, 4]")
    if scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"{op_name}'s scores have shape {scores.shape}, expected one for each of {boxes.shape[0]} boxes"
        )
    return _check_bounds(op_name, most, threshold)


def _check_bounds(op_name: str, most: Any, threshold: Any) -> tuple[int, Any]:
    most, threshold = _scalar(op_name, "max_output_size", most), _scalar(op_name, "iou_threshold", threshold)
    if most < 0:
        raise ValueError(f"{op_name}'s max_output_size is {most}, expected at least 0")
    if not 0 <= threshold <= 1:
        raise ValueError(f"{op_name}'s iou_threshold is {threshold}, expected a number in [0, 1]")
    return int(most), threshold


def _lowest(dtype: np.dtype[Any]) -> Any:
    return np.finfo(dtype).min


def _padded(values: Array, size: int) -> Array:
    result = np.zeros(size, values.dtype)
    result[: values.size] = values
    return result


@specialized("NonMaxSuppression")
def NonMaxSuppression(*, iou_threshold: float = 0.5) -> Kernel:
    def run(boxes: Array, scores: Array, max_output_size: Any) -> Any:
        most, threshold = _check_nms("NonMaxSuppression", boxes, scores, max_output_size, np.float32(iou_threshold))
        return _suppressed(_overlap_of(boxes), scores, most, threshold, _lowest(scores.dtype))

    return run


@specialized("NonMaxSuppressionV2")
def NonMaxSuppressionV2() -> Kernel:
    def run(boxes: Array, scores: Array, max_output_size: Any, iou_threshold: Any) -> Any:
        most, threshold = _check_nms("NonMaxSuppressionV2", boxes, scores, max_output_size, iou_threshold)
        return _suppressed(_overlap_of(boxes), scores, most, threshold, _lowest(scores.dtype))

    return run


@specialized("NonMaxSuppressionV3")
def NonMaxSuppressionV3() -> Kernel:
    def run(boxes: Array, scores: Array, max_output_size: Any, iou_threshold: Any, score_threshold: Any) -> Any:
        most, threshold = _check_nms("NonMaxSuppressionV3", boxes, scores, max_output_size, iou_threshold)
        least = _scalar("NonMaxSuppressionV3", "score_threshold", score_threshold)
        return _suppressed(_overlap_of(boxes), scores, most, threshold, least)

    return run


@specialized("NonMaxSuppressionV4", outputs=2)
def NonMaxSuppressionV4(*, pad_to_max_output_size: bool = False) -> Kernel:
    def run(boxes: Array, scores: Array, max_output_size: Any, iou_threshold: Any, score_threshold: Any) -> Any:
        most, threshold = _check_nms("NonMaxSuppressionV4", boxes, scores, max_output_size, iou_threshold)
        least = _scalar("NonMaxSuppressionV4", "score_threshold", score_threshold)
        kept = _suppressed(_overlap_of(boxes), scores, most, threshold, least)
        return (_padded(kept, most) if pad_to_max_output_size else kept), np.int32(kept.size)

    return run


@specialized("NonMaxSuppressionV5", outputs=3)
def NonMaxSuppressionV5(*, T: DType = FLOAT, pad_to_max_output_size: bool = False) -> Kernel:
    def run(
        boxes: Array,
        scores: Array,
        max_output_size: Any,
        iou_threshold: Any,
        score_threshold: Any,
        soft_nms_sigma: Any,
    ) -> Any:
        most, threshold = _check_nms("NonMaxSuppressionV5", boxes, scores, max_output_size, iou_threshold)
        least = _scalar("NonMaxSuppressionV5", "score_threshold", score_threshold)
        sigma = _scalar("NonMaxSuppressionV5", "soft_nms_sigma", soft_nms_sigma)
        if sigma < 0:
            raise ValueError(f"NonMaxSuppressionV5's soft_nms_sigma is {sigma}, expected at least 0")
        if sigma > 0:
            kept, kept_scores = _softly_suppressed(_overlap_of(boxes), scores, most, sigma, least)
        else:
            kept = _suppressed(_overlap_of(boxes), scores, most, threshold, least)
            kept_scores = scores[kept]
        count = np.int32(kept.size)
        if pad_to_max_output_size:
            return _padded(kept, most), _padded(kept_scores, most), count
        return kept, kept_scores, count

    return run


@specialized("NonMaxSuppressionWithOverlaps")
def NonMaxSuppressionWithOverlaps() -> Kernel:
    def run(overlaps: Array, scores: Array, max_output_size: Any, overlap_threshold: Any, score_threshold: Any) -> Any:
        if overlaps.ndim != 2 or overlaps.shape[0] != overlaps.shape[1] or scores.shape != overlaps.shape[:1]:
            raise ValueError(
                "NonMaxSuppressionWithOverlaps needs overlaps of shape [boxes, boxes] and scores of shape "
                f"[boxes], found {overlaps.shape} and {scores.shape}"
            )
        most = _scalar("NonMaxSuppressionWithOverlaps", "max_output_size", max_output_size)
        threshold = _scalar("NonMaxSuppressionWithOverlaps", "overlap_threshold", overlap_threshold)
        least = _scalar("NonMaxSuppressionWithOverlaps", "score_threshold", score_threshold)

        def overlap(these: Any, others: Any) -> Array:
            return overlaps[others, these]  # type: ignore[no-any-return]

        return _suppressed(overlap, scores, int(most), threshold, least)

    return run


def _kept_of_classes(
    boxes: Array, scores: Array, per_class: int, threshold: Any, least_score: Any
) -> tuple[Array, Array]:
    """What is kept of one image's boxes, class by class: indices of boxes, and the classes.

    Attributes:
        boxes: [boxes, 1 or classes, 4].
        scores: [boxes, classes].
    """
    number, classes = scores.shape
    kept: list[int] = []
    of_class: list[int] = []
    if boxes.shape[1] == 1 and number <= _AT_A_TIME:  # the same for all classes, and compared once
        every = np.arange(number)
        clashes = _bits(_overlap_of(boxes[:, 0])(every[:, None], every[None]) > threshold)
        for c in range(classes):
            kept += _greedily(_candidates(scores[:, c], least_score).tolist(), clashes, per_class)
            of_class += [c] * (len(kept) - len(of_class))
    else:
        for c in range(classes):
            if not c or boxes.shape[1] > 1:
                overlap = _overlap_of(boxes[:, c])
            kept += _suppressed(overlap, scores[:, c], per_class, threshold, least_score).tolist()
            of_class += [c] * (len(kept) - len(of_class))
    return np.array(kept, np.intp), np.array(of_class, np.intp)


@specialized("CombinedNonMaxSuppression", outputs=4)
def CombinedNonMaxSuppression(*, pad_per_class: bool = False, clip_boxes: bool = True) -> Kernel:
    """Suppression within each class of each image, then the best of all classes."""
    name = "CombinedNonMaxSuppression"

    def run(
        boxes: Array,
        scores: Array,
        max_output_size_per_class: Any,
        max_total_size: Any,
        iou_threshold: Any,
        score_threshold: Any,
    ) -> Any:
        if boxes.ndim != 4 or scores.ndim != 3 or boxes.shape[3] != 4 or boxes.shape[:2] != scores.shape[:2]:
            raise ValueError(
                f"{name} needs boxes of shape [batch, boxes, 1 or classes, 4] and scores of shape [batch, boxes, "
                f"classes], found {boxes.shape} and {scores.shape}"
            )
        batch, _, classes = scores.shape
        if boxes.shape[2] not in (1, classes):
            raise ValueError(f"{name}'s boxes have shape {boxes.shape}, expected 1 or {classes} in its third dimension")
        per_class, threshold = _check_bounds(name, max_output_size_per_class, iou_threshold)
        total = int(_scalar(name, "max_total_size", max_total_size))
        least = _scalar(name, "score_threshold", score_threshold)
        if per_class <= 0 or total <= 0:
            raise ValueError(
                f"{name} needs positive sizes, found max_output_size_per_class {per_class} and max_total_size {total}"
            )
        size = min(total, per_class * classes) if pad_per_class else total
        out_boxes = np.zeros((batch, size, 4), np.float32)
        out_scores, out_classes = np.zeros((batch, size), np.float32), np.zeros((batch, size), np.float32)
        counts = np.zeros(batch, np.int32)
        for i in range(batch):
            kept, of_class = _kept_of_classes(boxes[i], scores[i], per_class, threshold, least)
            if not kept.size:
                continue
            kept_scores = scores[i][kept, of_class]
            order = (-kept_scores).argsort(kind="stable")[:size]
            kept, of_class = kept.take(order), of_class.take(order)
            best = boxes[i][kept, of_class if boxes.shape[2] > 1 else 0]
            counts[i] = count = order.size
            out_boxes[i, :count] = np.minimum(np.maximum(best, 0), 1) if clip_boxes else best
            out_scores[i, :count] = kept_scores.take(order)
            out_classes[i, :count] = of_class
        return out_boxes, out_scores, out_classes, counts

    return run
