"""Resizing of images [batch, height, width, channels]: each axis by gathered pixels and their weights.

Positions and weights are computed in float32, as TensorFlow's kernels do: which pixels an output takes
depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from graphrack.formats.dtypes import DOUBLE, DType
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.windows import CHUNK_BYTES, chunks

_F = np.float32


def output_size(op_name: str, size: Array, images: Array) -> tuple[int, int]:
    """Height and width of the output. Raises `ValueError` for what are no two positive numbers."""
    if size.shape != (2,):
        raise ValueError(f"{op_name}'s size has shape {size.shape}, expected two elements, height and width")
    height, width = size.tolist()
    if height <= 0 or width <= 0:
        raise ValueError(f"{op_name}'s size is {[height, width]}, expected positive numbers")
    # Sizes that no memory holds end here, before anything is computed for them.
    np.empty((images.shape[0], height, width, images.shape[3]), np.float32)
    return height, width


def check_images(op_name: str, images: Array) -> None:
    """Raises `ValueError` for what are no images with pixels."""
    if images.ndim != 4:
        raise ValueError(f"{op_name}'s images have shape {images.shape}, expected rank 4")
    if 0 in images.shape[1:]:
        raise ValueError(
            f"{op_name}'s images have shape {images.shape}, expected height, width and channels of at least 1"
        )


def check_centers(op_name: str, align_corners: bool, half_pixel_centers: bool) -> None:
    """Raises `ValueError` where both are set."""
    if align_corners and half_pixel_centers:
        raise ValueError(f"{op_name} has both align_corners and half_pixel_centers, expected one of them at most")


def _scale(size: int, out: int, align_corners: bool) -> Any:
    """Pixels of the input per pixel of the output."""
    return _F(size - 1) / _F(out - 1) if align_corners and out > 1 else _F(size) / _F(out)


def _positions(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Array:
    """Where each output pixel lies in the input, in pixels."""
    scale, index = _scale(size, out, align_corners), np.arange(out, dtype=_F)
    at: Array = (index + _F(0.5)) * scale - _F(0.5) if half_pixel_centers else index * scale
    return at


class _Linear(NamedTuple):
    """For each output pixel of one axis: two input pixels, and how far it lies from the first to the second."""

    lower: Array
    upper: Array
    fraction: Array


@lru_cache(maxsize=64)
def linear(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> _Linear:
    """Where each output pixel of an axis lies between two pixels of the input; not to be written into."""
    at = _positions(size, out, align_corners, half_pixel_centers)
    floor = np.floor(at)
    lower = np.maximum(floor, 0).astype(np.intp)
    upper = np.minimum(np.ceil(at), size - 1).astype(np.intp)
    return _Linear(lower, upper, at - floor)


def _between(values: Array, axis: int, linear: _Linear) -> Array:
    lower, upper = values.take(linear.lower, axis), values.take(linear.upper, axis)
    upper -= lower
    upper *= linear.fraction.reshape(-1, *(1,) * (values.ndim - axis - 1))
    upper += lower
    return upper


def resize_bilinear(images: Array, height: int, width: int, align_corners: bool, half_pixel_centers: bool) -> Array:
    """Floating-point images at that size; an axis whose size stays is left as it is."""
    rows, columns = images.shape[1:3]
    by_row = linear(rows, height, align_corners, half_pixel_centers)
    by_column = linear(columns, width, align_corners, half_pixel_centers)

    def band(part: Array, out: slice) -> Array:
        if rows == height:
            part = part[:, out]
        else:
            lower, upper = by_row.lower[out], by_row.upper[out]
            first, last = lower[0], upper[-1] + 1
            part, taken = part[:, first:last], _Linear(lower - first, upper - first, by_row.fraction[out])
        # Columns first, as TensorFlow rounds them, unless rows that go are many.
        if columns != width and height * 2 >= rows:
            part = _between(part, 2, by_column)
        if rows != height:
            part = _between(part, 1, taken)
        if columns != width and height * 2 < rows:
            part = _between(part, 2, by_column)
        return part

    if rows == height and columns == width:
        return images
    return _in_bands(images, height, width, band)


def _in_bands(images: Array, height: int, width: int, band: Callable[[Array, slice], Array]) -> Array:
    """Images resized a few rows at a time, which stay in the processor's cache with all that is made on the way.

    Attributes:
        band: gives those rows of some images' results.
    """
    batch, channels = images.shape[0], images.shape[3]
    pieces = list(chunks((batch, height), width * channels * 4, CHUNK_BYTES))
    if len(pieces) == 1:
        return band(images, slice(0, height))
    result = np.empty((batch, height, width, channels), images.dtype if images.dtype.kind == "f" else _F)
    for piece in pieces:
        some, rows = (*piece, slice(0, height))[:2]
        result[piece] = band(images[some], rows)
    return result


@specialized("ResizeBilinear")
def ResizeBilinear(*, align_corners: bool = False, half_pixel_centers: bool = False) -> Kernel:
    check_centers("ResizeBilinear", align_corners, half_pixel_centers)

    def run(images: Array, size: Array) -> Any:
        check_images("ResizeBilinear", images)
        height, width = output_size("ResizeBilinear", size, images)
        wide = images.astype(_F, copy=False)
        return resize_bilinear(wide, height, width, align_corners, half_pixel_centers)

    return run


@lru_cache(maxsize=64)
def _nearest(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Array:
    """Which input pixel each output pixel is; not to be written into."""
    scale, index = _scale(size, out, align_corners), np.arange(out, dtype=_F)
    at = (index + _F(0.5)) * scale if half_pixel_centers else index * scale
    # Halves go up: rounding of positive numbers in C.
    whole = np.floor(at + _F(0.5)) if align_corners else np.floor(at)
    pixels: Array = np.clip(whole, 0, size - 1).astype(np.intp)
    return pixels


@specialized("ResizeNearestNeighbor")
def ResizeNearestNeighbor(*, align_corners: bool = False, half_pixel_centers: bool = False) -> Kernel:
    check_centers("ResizeNearestNeighbor", align_corners, half_pixel_centers)

    def run(images: Array, size: Array) -> Any:
        check_images("ResizeNearestNeighbor", images)
        height, width = output_size("ResizeNearestNeighbor", size, images)
        rows = _nearest(images.shape[1], height, align_corners, half_pixel_centers)
        columns = _nearest(images.shape[2], width, align_corners, half_pixel_centers)
        return images.take(rows, 1).take(columns, 2)

    return run


# Resizing by more than two pixels


class Taps(NamedTuple):
    """For each output pixel of one axis, [out, taps]: input pixels and their weights (0 where there are fewer)."""

    indices: Array
    weights: Array


_AT_ONCE = 1 << 13
"""Bytes of weighted pixels that are computed by fewer calls all at once."""


def _weighted(values: Array, axis: int, taps: Taps) -> Array:
    """One axis resized: each output the weighted sum of its pixels."""
    trailing = (1,) * (values.ndim - axis - 1)
    out, count = taps.indices.shape
    if count * out * values.nbytes <= _AT_ONCE * values.shape[axis]:
        terms = values.take(taps.indices, axis)
        terms *= taps.weights.reshape(out, count, *trailing)
        return np.add.reduce(terms, axis + 1)  # type: ignore[no-any-return]
    total: Array | None = None
    for i in range(taps.indices.shape[1]):
        term = values.take(taps.indices[:, i], axis)
        term *= taps.weights[:, i].reshape(-1, *trailing)
        if total is None:
            total = term
        else:
            total += term
    assert total is not None
    return total


def _resampled(images: Array, rows: Taps, columns: Taps) -> Array:
    """Both axes of images resized, rows first; in float32."""
    height, width = len(rows.indices), len(columns.indices)

    def band(part: Array, out: slice) -> Array:
        indices = rows.indices[out]
        first, last = int(indices.min()), int(indices.max()) + 1
        taken = Taps(indices - first, rows.weights[out])
        return _weighted(_weighted(part[:, first:last].astype(_F, copy=False), 1, taken), 2, columns)

    return _in_bands(images, height, width, band)


@cache
def _keys_table(a: float) -> tuple[Array, Array]:
    """The cubic convolution kernel of Keys (1981) at distances in [0, 1] and [1, 2], in 1024 steps."""
    x = np.arange(1025, dtype=np.float64) / 1024
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    x = x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return near.astype(_F), far.astype(_F)


@lru_cache(maxsize=16)
def cubic(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Taps:
    """The four pixels of one axis that each output is made of, and their weights; neither is to be written into.

    Kept for the sizes used last: of a small image they take as long as all else.
    """
    at = _positions(size, out, align_corners, half_pixel_centers)
    floor = np.floor(at)
    near, far = _keys_table(-0.5 if half_pixel_centers else -0.75)
    step = np.rint((at - floor) * _F(1024)).astype(np.intp)
    wanted = floor.astype(np.intp)[:, None] + np.arange(-1, 3)
    indices = np.clip(wanted, 0, size - 1)
    weights = np.stack([far[step], near[step], near[1024 - step], far[1024 - step]], axis=1)
    if half_pixel_centers:  # pixels beyond the edge count for nothing; otherwise the edge's pixel stands for them
        weights[indices != wanted] = 0
        weights /= weights.sum(axis=1, keepdims=True)
    return Taps(indices, weights)


@specialized("ResizeBicubic")
def ResizeBicubic(*, align_corners: bool = False, half_pixel_centers: bool = False) -> Kernel:
    check_centers("ResizeBicubic", align_corners, half_pixel_centers)

    def run(images: Array, size: Array) -> Any:
        check_images("ResizeBicubic", images)
        height, width = output_size("ResizeBicubic", size, images)
        rows = cubic(images.shape[1], height, align_corners, half_pixel_centers)
        return _resampled(images, rows, cubic(images.shape[2], width, align_corners, half_pixel_centers))

    return run


@lru_cache(maxsize=64)
def _area(size: int, out: int, align_corners: bool) -> Taps:
    """How much of each input pixel an output pixel covers, as a share of what it covers; not to be written into."""
    scale, index = _scale(size, out, align_corners and size > 1), np.arange(out, dtype=_F)
    start, end = index * scale, (index + 1) * scale
    first = np.floor(start).astype(np.intp)
    count = int((np.ceil(end).astype(np.intp) - first).max())
    pixels = first[:, None] + np.arange(max(count, 1))
    covered = np.minimum(pixels + _F(1), end[:, None]) - np.maximum(pixels.astype(_F), start[:, None])
    weights = np.maximum(covered, 0) / scale
    return Taps(np.clip(pixels, 0, size - 1), weights.astype(_F))


@specialized("ResizeArea")
def ResizeArea(*, align_corners: bool = False) -> Kernel:
    def run(images: Array, size: Array) -> Any:
        check_images("ResizeArea", images)
        height, width = output_size("ResizeArea", size, images)
        rows = _area(images.shape[1], height, align_corners)
        return _resampled(images, rows, _area(images.shape[2], width, align_corners))

    return run


# ScaleAndTranslate


def _lanczos(radius: float) -> Callable[[Array], Array]:
    def weigh(x: Array) -> Array:
        safe = np.where(x <= _F(1e-3), _F(1), x)
        value = radius * np.sin(np.pi * safe) * np.sin(np.pi * safe / radius) / (np.pi**2 * safe * safe)
        return np.where(x > radius, 0, np.where(x <= _F(1e-3), 1, value))

    return weigh


def _keys_cubic(x: Array) -> Array:
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x >= 2, 0, np.where(x >= 1, far, ((1.5 * x - 2.5) * x) * x + 1))


def _mitchell_cubic(x: Array) -> Array:
    far = (((-7 / 18) * x + 2) * x - 10 / 3) * x + 16 / 9
    return np.where(x >= 2, 0, np.where(x >= 1, far, (((7 / 6) * x - 2) * x) * x + 8 / 9))


KERNELS: dict[bytes, tuple[float, Callable[[Array], Array]]] = {
    b"lanczos1": (1, _lanczos(1)),
    b"lanczos3": (3, _lanczos(3)),
    b"lanczos5": (5, _lanczos(5)),
    b"gaussian": (1.5, lambda x: np.where(x >= 1.5, 0, np.exp(-2 * x * x))),  # a standard deviation of 1/2
    b"box": (1, lambda x: np.where(x < 0.5, 1, np.where(x == 0.5, 0.5, 0))),
    b"triangle": (1, lambda x: np.maximum(1 - x, 0)),
    b"keyscubic": (2, _keys_cubic),
    b"mitchellcubic": (2, _mitchell_cubic),
}
"""Name to (radius, weight at a distance of at least 0)."""


def spans(size: int, out: int, scale: Any, translation: Any, kernel_type: bytes, antialias: bool) -> Taps:
    """Pixels within the kernel's reach of where each output samples the input, with weights of sum 1."""
    radius, weigh = KERNELS[kernel_type]
    inverse = _F(1) / _F(scale)
    # When shrinking, the kernel is widened: it has to filter what the output can't show.
    widening = max(inverse, _F(1)) if antialias else _F(1)
    at = (np.arange(out, dtype=_F) + _F(0.5)) * inverse + -inverse * _F(translation)
    inside = (at >= 0) & (at <= size)
    reach = _F(radius) * widening
    at = np.where(inside, at, 0)
    first = np.clip(np.ceil(at - reach - _F(0.5)), 0, size - 1).astype(np.intp)
    last = np.clip(np.floor(at + reach - _F(0.5)), 0, size - 1).astype(np.intp)
    pixels = first[:, None] + np.arange(int((last - first).max()) + 1)
    weights = weigh(np.abs(pixels + _F(0.5) - at[:, None]) * (_F(1) / widening)).astype(_F)
    weights[(pixels > last[:, None]) | ~inside[:, None]] = 0
    total = weights.sum(axis=1, keepdims=True)
    tiny = np.abs(total) < 1000 * np.finfo(_F).tiny
    return Taps(np.minimum(pixels, size - 1), np.where(tiny, 0, weights / np.where(tiny, 1, total)))


@specialized("ScaleAndTranslate")
def ScaleAndTranslate(*, kernel_type: bytes = b"lanczos3", antialias: bool = True) -> Kernel:
    if kernel_type not in KERNELS:
        raise ValueError(f"ScaleAndTranslate's kernel_type is {kernel_type!r}, expected one of {[*KERNELS]}")

    def run(images: Array, size: Array, scale: Array, translation: Array) -> Any:
        check_images("ScaleAndTranslate", images)
        height, width = output_size("ScaleAndTranslate", size, images)
        if scale.shape != (2,) or translation.shape != (2,) or not (scale > 0).all():
            raise ValueError(
                "ScaleAndTranslate needs two positive scales and two translations (of height and width), found "
                f"{scale.tolist()} and {translation.tolist()}"
            )
        rows, columns = (
            spans(images.shape[axis], out, scale[axis - 1], translation[axis - 1], kernel_type, antialias)
            for axis, out in ((1, height), (2, width))
        )
        return _resampled(images, rows, columns)

    return run


# Gradients


def _collected(values: Array, axis: int, size: int, index: Array) -> Array:
    """An axis of that size, each of its elements the sum of the values with that index; indices go up."""
    starts = np.flatnonzero(np.concatenate(([True], index[1:] != index[:-1])))
    sums: Array = np.add.reduceat(values, starts, axis, values.dtype)
    if len(starts) == size:
        return sums
    total = np.zeros((*values.shape[:axis], size, *values.shape[axis + 1 :]), values.dtype)
    total[(slice(None),) * axis + (index[starts],)] = sums
    return total


@specialized("ResizeBilinearGrad")
def ResizeBilinearGrad(*, T: DType, align_corners: bool = False, half_pixel_centers: bool = False) -> Kernel:
    check_centers("ResizeBilinearGrad", align_corners, half_pixel_centers)
    wide = T.numpy if T.number == DOUBLE.number else _F

    def run(grads: Array, original_image: Array) -> Any:
        check_images("ResizeBilinearGrad", original_image)
        check_images("ResizeBilinearGrad", grads)
        result = grads.astype(wide, copy=False)
        for axis in (1, 2):
            size, out = original_image.shape[axis], grads.shape[axis]
            lower, upper, fraction = linear(size, out, align_corners, half_pixel_centers)
            share = fraction.reshape(-1, *(1,) * (3 - axis))
            far = result * share
            near = result * (1 - share)
            result = _collected(near, axis, size, lower)
            result += _collected(far, axis, size, upper)
        return result.astype(T.numpy, copy=False)

    return run


@specialized("ResizeNearestNeighborGrad")
def ResizeNearestNeighborGrad(*, T: DType, align_corners: bool = False, half_pixel_centers: bool = False) -> Kernel:
    check_centers("ResizeNearestNeighborGrad", align_corners, half_pixel_centers)
    wide = _F if T.numpy.itemsize == 2 and T.numpy.kind not in "iu" else T.numpy

    def run(grads: Array, size: Array) -> Any:
        check_images("ResizeNearestNeighborGrad", grads)
        height, width = output_size("ResizeNearestNeighborGrad", size, grads)
        result = grads.astype(wide, copy=False)
        for axis, original in ((1, height), (2, width)):
            index = _nearest(original, grads.shape[axis], align_corners, half_pixel_centers)
            result = _collected(result, axis, original, index)
        return result.astype(T.numpy, copy=False)

    return run
