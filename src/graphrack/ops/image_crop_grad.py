"""Gradients of CropAndResize, to the image and to the boxes (`crop_and_resize_op.cc`)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import are_within
from graphrack.ops.image_boxes import sample_points
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.segment import reduce_at


class _Axis(NamedTuple):
    """Where the samples of all boxes lie along one dimension: [boxes, samples]."""

    inside: Array
    low: Array
    high: Array
    share: Array
    """Of the pixel at `high`; the rest is that of the one at `low`."""


def _axis(first: Array, last: Array, size: int, count: int) -> _Axis:
    points = sample_points(first, last, size, count)
    inside = (points >= 0) & (points <= size - 1)
    points = np.where(inside, points, 0)
    low = np.floor(points)
    return _Axis(inside, low.astype(np.intp), np.ceil(points).astype(np.intp), points - low)


def _inside(grads: Array, rows: _Axis, columns: _Axis) -> Array:
    """The gradients of samples inside of the image; those of others are 0."""
    if rows.inside.all() and columns.inside.all():
        return grads
    return np.where((rows.inside[:, :, None] & columns.inside[:, None, :])[..., None], grads, 0)


def _places(shape: tuple[int, ...], box_ind: Array, y: Array, x: Array) -> Array:
    """Which pixel of the flattened images each sample takes: [boxes, height, width]."""
    starts = (box_ind.astype(np.intp)[:, None] * shape[1] + y) * shape[2]
    return starts[:, :, None] + x[:, None, :]


def _check(op_name: str, grads: Array, boxes: Array, box_ind: Array, shape: tuple[int, ...]) -> None:
    if grads.ndim != 4 or not grads.shape[1] or not grads.shape[2]:
        raise ValueError(f"{op_name}'s grads have shape {grads.shape}, expected rank 4, height and width over 0")
    if len(shape) != 4 or shape[1] <= 0 or shape[2] <= 0 or shape[0] < 0:
        raise ValueError(f"{op_name}'s image has shape {list(shape)}, expected rank 4, height and width over 0")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or box_ind.shape != boxes.shape[:1] or len(boxes) != len(grads):
        raise ValueError(
            f"{op_name}'s grads have shape {grads.shape}, boxes {boxes.shape} and box_ind {box_ind.shape}; expected "
            "[boxes, height, width, depth], [boxes, 4] and [boxes]"
        )
    if grads.shape[3] != shape[3]:
        raise ValueError(f"{op_name}'s grads have depth {grads.shape[3]}, expected that of the image, {shape[3]}")
    if not are_within(box_ind, shape[0]):
        raise ValueError(f"{op_name}'s box_ind has values outside [0, {shape[0]}), the images that there are")


@specialized("CropAndResizeGradImage")
def CropAndResizeGradImage(*, T: DType, method: bytes = b"bilinear") -> Kernel:
    if method not in (b"bilinear", b"nearest"):
        raise ValueError(f"CropAndResizeGradImage's method is {method!r}, expected b'bilinear' or b'nearest'")
    dtype = T.numpy

    def run(grads: Array, boxes: Array, box_ind: Array, image_size: Array) -> Any:
        if image_size.shape != (4,):
            raise ValueError(f"CropAndResizeGradImage's image_size has shape {image_size.shape}, expected [4]")
        shape = tuple(image_size.tolist())
        _check("CropAndResizeGradImage", grads, boxes, box_ind, shape)
        rows = _axis(boxes[:, 0], boxes[:, 2], shape[1], grads.shape[1])
        columns = _axis(boxes[:, 1], boxes[:, 3], shape[2], grads.shape[2])
        given = _inside(grads, rows, columns)
        result = np.zeros(shape, np.float64 if dtype.itemsize == 8 else np.float32)
        pixels = result.reshape(math.prod(shape[:3]), shape[3])

        def add(y: Array, x: Array, values: Array) -> None:
            places = _places(shape, box_ind, y, x).reshape(-1)
            reduce_at(np.add, pixels, places, values.reshape(len(places), shape[3]))

        if method == b"nearest":
            # Rounded half away from zero.
            add(
                np.where(rows.share < 0.5, rows.low, rows.high),
                np.where(columns.share < 0.5, columns.low, columns.high),
                given,
            )
        else:
            lower = rows.share[:, :, None, None] * given
            upper = (1 - rows.share)[:, :, None, None] * given
            right = columns.share[:, None, :, None]
            for y, part in ((rows.low, upper), (rows.high, lower)):
                add(y, columns.low, (1 - right) * part)
                add(y, columns.high, right * part)
        return result.astype(dtype, copy=False)

    return run


@specialized("CropAndResizeGradBoxes")
def CropAndResizeGradBoxes(*, method: bytes = b"bilinear") -> Kernel:
    if method != b"bilinear":
        raise ValueError(f"CropAndResizeGradBoxes's method is {method!r}, expected b'bilinear'")

    def run(grads: Array, image: Array, boxes: Array, box_ind: Array) -> Any:
        _check("CropAndResizeGradBoxes", grads, boxes, box_ind, image.shape)
        height, width = grads.shape[1:3]
        rows = _axis(boxes[:, 0], boxes[:, 2], image.shape[1], height)
        columns = _axis(boxes[:, 1], boxes[:, 3], image.shape[2], width)
        every = image.reshape(math.prod(image.shape[:3]), image.shape[3])

        def pixels(y: Array, x: Array) -> Array:
            return every.take(_places(image.shape, box_ind, y, x), 0).astype(np.float32, copy=False)

        upper_left, upper_right = pixels(rows.low, columns.low), pixels(rows.low, columns.high)
        lower_left, lower_right = pixels(rows.high, columns.low), pixels(rows.high, columns.high)
        right, down = columns.share[:, None, :, None], rows.share[:, :, None, None]
        given = _inside(grads, rows, columns)
        along_y = given * ((1 - right) * (lower_left - upper_left) + right * (lower_right - upper_right))
        along_x = given * ((1 - down) * (upper_right - upper_left) + down * (lower_right - lower_left))
        result = np.empty((len(boxes), 4), np.float32)
        result[:, 0::2] = _to_corners(along_y.sum((2, 3)), image.shape[1], height)
        result[:, 1::2] = _to_corners(along_x.sum((1, 3)), image.shape[2], width)
        return result

    return run


def _to_corners(gradients: Array, size: int, count: int) -> Array:
    """From gradients to samples' places [boxes, count] to those of a box's first and last place, [boxes, 2]."""
    if count == 1:  # the one sample lies in the middle
        return gradients.repeat(2, 1) * np.float32(0.5 * (size - 1))
    toward_last = np.arange(count, dtype=np.float32) * np.float32((size - 1) / (count - 1))
    return np.stack([gradients @ (np.float32(size - 1) - toward_last), gradients @ toward_last], 1)
