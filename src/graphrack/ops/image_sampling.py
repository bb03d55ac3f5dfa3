"""Parts of images: distorted boxes, random crops, glimpses; and boxes drawn on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphrack.ops.philox import Generator, Stream, philox, scrambled
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array, RunState

_F = np.float32


# Random words one by one


class Words:
    """32-bit words of a stream, and what TensorFlow's SimplePhilox makes of them."""

    __slots__ = ("_left", "_stream")

    def __init__(self, stream: Stream):
        self._stream = stream
        self._left: list[int] = []

    def word(self) -> int:
        """The next word."""
        if not self._left:
            self._left = list(philox(self._stream.key, self._stream.counter))[::-1]
            self._stream = self._stream.skip(1)
        return self._left.pop()

    def below(self, limit: int) -> int:
        """An integer in [0, limit), each as likely as any other."""
        if not limit:
            self.word()
            return 0
        if limit & (limit - 1) == 0:
            return self.word() & (limit - 1)
        skewed = 0xFFFFFFFF % limit + 1
        word = self.word()
        while word < skewed:
            word = self.word()
        return word % limit

    def fraction(self) -> Any:
        """A float32 in [0, 1), of 23 random bits."""
        return _F((self.word() & 0x7FFFFF) / 0x800000)


# Distorted boxes


def _rounded(value: Any) -> int:
    return int(np.rint(value))


class _Sampler:
    """Draws crops whose area and shape lie within ranges, until one covers enough of some box."""

    def __init__(self, aspect_ratio_range: Sequence[float], area_range: Sequence[float], max_attempts: int):
        for name, values in (("aspect_ratio_range", aspect_ratio_range), ("area_range", area_range)):
            if len(values) != 2 or min(values) <= 0:
                raise ValueError(f"{name} must be two positive numbers, got {list(values)}")
        if max(area_range) > 1:
            raise ValueError(f"area_range must be at most 1, got {list(area_range)}")
        if max_attempts <= 0:
            raise ValueError(f"max_attempts must be positive, got {max_attempts}")
        self.aspects = [_F(v) for v in aspect_ratio_range]
        self.areas = [_F(v) for v in area_range]
        self.max_attempts = max_attempts

    def _crop(self, words: Words, width: int, height: int) -> tuple[int, int, int, int] | None:
        """One crop as y1, x1, y2, x2, or None where this shape does not fit."""
        aspect = words.fraction() * (self.aspects[1] - self.aspects[0]) + self.aspects[0]
        least_share, most_share = self.areas
        if aspect <= 0 or width <= 0 or height <= 0 or least_share > most_share:
            return None
        least, most = least_share * _F(width) * _F(height), most_share * _F(width) * _F(height)
        tall = _rounded(np.sqrt(least / aspect))
        tallest = _rounded(np.sqrt(most / aspect))
        if _rounded(_F(tallest) * aspect) > width:
            tallest = int((width + 0.5 - float(_F(1e-7))) / float(aspect))
            if _rounded(_F(tallest) * aspect) > width:
                tallest -= 1
        tallest = min(tallest, height)
        tall = min(tall, tallest)
        if tall < tallest:
            tall += words.below(tallest - tall + 1)
        wide = _rounded(_F(tall) * aspect)
        # Rounding may have led just outside of the range.
        for step, outside in ((1, wide * tall < least), (-1, None)):
            if outside if outside is not None else wide * tall > most:
                tall += step
                wide = _rounded(_F(tall) * aspect)
        if not least <= wide * tall <= most or not 0 < wide <= width or not 0 < tall <= height:
            return None
        y = words.below(height - tall) if tall < height else 0
        x = words.below(width - wide) if wide < width else 0
        return y, x, y + tall, x + wide

    def sample(self, words: Words, width: int, height: int, boxes: Array, covered: Any) -> tuple[int, int, int, int]:
        """The first crop that covers that share of a box (int64 of [boxes, 4]), or the whole image."""
        is_enough = _few(boxes, covered) if len(boxes) <= _FEW else _many(boxes, covered)
        for _ in range(self.max_attempts):
            crop = self._crop(words, width, height)
            if crop is not None and is_enough(*crop):
                return crop
        return 0, 0, height, width


_FEW = 16  # boxes that are sooner looked at one by one


def _few(boxes: Array, covered: Any) -> Callable[[int, int, int, int], bool]:
    """Whether a crop covers that share of some box that has an area."""
    found = [(*box, _F((box[2] - box[0]) * (box[3] - box[1]))) for box in boxes.tolist()]
    found = [box for box in found if box[4] >= 1]

    def is_enough(y1: int, x1: int, y2: int, x2: int) -> bool:
        for top, left, bottom, right, area in found:
            high, wide = min(bottom, y2) - max(top, y1), min(right, x2) - max(left, x1)
            if _F(high * wide if high > 0 and wide > 0 else 0) / area >= covered:
                return True
        return False

    return is_enough


def _many(boxes: Array, covered: Any) -> Callable[[int, int, int, int], bool]:
    """As `_few`, all boxes at once."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    low, high = boxes[areas >= 1, :2], boxes[areas >= 1, 2:]
    areas = areas[areas >= 1].astype(_F)

    def is_enough(y1: int, x1: int, y2: int, x2: int) -> bool:
        shared = np.maximum(np.minimum(high, (y2, x2)) - np.maximum(low, (y1, x1)), 0).prod(axis=1)
        return bool((shared.astype(_F) / areas >= covered).any())

    return is_enough


def _distorted(
    sampler: _Sampler, words: Callable[[], Words], image_size: Array, bounding_boxes: Array, covered: Any, whole: bool
) -> tuple[Any, Any, Any]:
    if image_size.shape != (3,):
        raise ValueError(f"image_size must be [height, width, channels], got shape {image_size.shape}")
    if bounding_boxes.ndim != 3 or bounding_boxes.shape[2] != 4:
        raise ValueError(f"bounding_boxes must have shape [batch, boxes, 4], got {bounding_boxes.shape}")
    if np.ndim(covered) or covered < 0:
        raise ValueError(f"min_object_covered must be a scalar of at least 0, got {covered}")
    height, width = int(image_size[0]), int(image_size[1])
    if not 0 <= height < 2**31 - 1 or not 0 <= width < 2**31 - 1:
        raise ValueError(f"image_size must hold int32 sizes of at least 0, got {image_size.tolist()}")
    shares = bounding_boxes.reshape(-1, 4)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError("bounding_boxes must be within [0, 1]")
    if shares.size:
        boxes = (shares * np.array([height, width, height, width], _F)).astype(np.int64)
    elif whole:
        boxes = np.array([[0, 0, height, width]])
    else:
        raise ValueError("there are no bounding boxes; set use_image_if_no_bounding_boxes or give one")
    y1, x1, y2, x2 = sampler.sample(words(), width, height, boxes, _F(covered))
    # The last size is -1: all channels, for Slice.
    begin = np.array([y1, x1, 0]).astype(image_size.dtype)
    size = np.array([y2 - y1, x2 - x1, -1]).astype(image_size.dtype)
    ends = np.array([[[y1, x1, y2, x2]]], _F) / np.array([height, width, height, width], _F)
    return begin, size, ends


_ASPECTS = (0.75, 1.3300000429153442)
_AREAS = (0.05000000074505806, 1.0)


def _stateful(node_name: str, seed: int, seed2: int, sampler: _Sampler) -> Callable[[RunState], Words]:
    make = partial(Generator, seed, seed2)
    return lambda state: Words(state.per_node(node_name, make).reserve(sampler.max_attempts))


@specialized("SampleDistortedBoundingBox", outputs=3, state=True)
def SampleDistortedBoundingBox(
    *,
    node_name: str,
    seed: int = 0,
    seed2: int = 0,
    min_object_covered: float = 0.10000000149011612,
    aspect_ratio_range: Sequence[float] = _ASPECTS,
    area_range: Sequence[float] = _AREAS,
    max_attempts: int = 100,
    use_image_if_no_bounding_boxes: bool = False,
) -> Kernel:
    sampler = _Sampler(aspect_ratio_range, area_range, max_attempts)
    words = _stateful(node_name, seed, seed2, sampler)

    def run(state: RunState, image_size: Array, bounding_boxes: Array) -> tuple[Any, Any, Any]:
        covered, whole = _F(min_object_covered), use_image_if_no_bounding_boxes
        return _distorted(sampler, lambda: words(state), image_size, bounding_boxes, covered, whole)

    return run


@specialized("SampleDistortedBoundingBoxV2", outputs=3, state=True)
def SampleDistortedBoundingBoxV2(
    *,
    node_name: str,
    seed: int = 0,
    seed2: int = 0,
    aspect_ratio_range: Sequence[float] = _ASPECTS,
    area_range: Sequence[float] = _AREAS,
    max_attempts: int = 100,
    use_image_if_no_bounding_boxes: bool = False,
) -> Kernel:
    sampler = _Sampler(aspect_ratio_range, area_range, max_attempts)
    words = _stateful(node_name, seed, seed2, sampler)

    def run(state: RunState, image_size: Array, bounding_boxes: Array, min_object_covered: Array) -> Any:
        whole = use_image_if_no_bounding_boxes
        return _distorted(sampler, lambda: words(state), image_size, bounding_boxes, min_object_covered, whole)

    return run


@specialized("StatelessSampleDistortedBoundingBox", outputs=3)
def StatelessSampleDistortedBoundingBox(
    *,
    aspect_ratio_range: Sequence[float] = _ASPECTS,
    area_range: Sequence[float] = _AREAS,
    max_attempts: int = 100,
    use_image_if_no_bounding_boxes: bool = False,
) -> Kernel:
    sampler = _Sampler(aspect_ratio_range, area_range, max_attempts)

    def run(image_size: Array, bounding_boxes: Array, min_object_covered: Array, seed: Array) -> Any:
        whole = use_image_if_no_bounding_boxes
        return _distorted(
            sampler, lambda: Words(scrambled(seed)), image_size, bounding_boxes, min_object_covered, whole
        )

    return run


@specialized("RandomCrop", state=True)
def RandomCrop(*, node_name: str, seed: int = 0, seed2: int = 0) -> Kernel:
    make = partial(Generator, seed, seed2)

    def run(state: RunState, image: Array, size: Array) -> Any:
        if image.ndim != 3 or size.shape != (2,):
            raise ValueError(f"image must have rank 3 and size two elements, got shapes {image.shape} and {size.shape}")
        height, width = size.tolist()
        if not 0 <= height <= image.shape[0] or not 0 <= width <= image.shape[1]:
            raise ValueError(f"size must be within the image's {list(image.shape[:2])}, got {[height, width]}")
        words = Words(state.per_node(node_name, make).reserve(1))
        x = words.below(image.shape[1] - width + 1)  # the first word is the column's
        y = words.below(image.shape[0] - height + 1)
        return image[y : y + height, x : x + width]

    return run


# Boxes drawn

_COLOURS = np.array(
    [
        [1, 1, 0, 1],  # yellow
        [0, 0, 1, 1],  # blue
        [1, 0, 0, 1],  # red
        [0, 1, 0, 1],  # lime
        [0.5, 0, 0.5, 1],  # purple
        [0.5, 0.5, 0, 1],  # olive
        [0.5, 0, 0, 1],  # maroon
        [0, 0, 0.5, 1],  # navy
        [0, 1, 1, 1],  # aqua
        [1, 0, 1, 1],  # fuchsia
    ],
    _F,
)


def _drawn(images: Array, boxes: Array, colours: Array | None) -> Any:
    if images.ndim != 4 or images.shape[3] not in (1, 3, 4):
        raise ValueError(f"images must have shape [batch, height, width, 1, 3 or 4], got {images.shape}")
    if boxes.ndim != 3 or boxes.shape[2] != 4 or boxes.shape[0] != images.shape[0]:
        raise ValueError(f"boxes must have shape [{images.shape[0]}, boxes, 4], got {boxes.shape}")
    _, height, width, depth = images.shape
    if colours is None or not colours.size:
        colours = _COLOURS[:, :depth] if depth > 1 else np.ones((len(_COLOURS), 1), _F)
    canvas = images.copy()
    edges = (boxes * np.array([height - 1, width - 1, height - 1, width - 1], _F)).astype(np.int64)
    for picture, rows in zip(canvas, edges.tolist(), strict=True):
        for i, (top, left, bottom, right) in enumerate(rows):
            # A box upside down, or wholly outside, isn't drawn.
            if top > bottom or left > right or top >= height or bottom < 0 or left >= width or right < 0:
                continue
            colour = colours[i % len(colours), :depth].astype(images.dtype)
            across, down = slice(max(left, 0), right + 1), slice(max(top, 0), bottom + 1)
            for row in (top, bottom):
                if 0 <= row < height:
                    picture[row, across] = colour
            for column in (left, right):
                if 0 <= column < width:
                    picture[down, column] = colour
    return canvas


@op("DrawBoundingBoxes")
def DrawBoundingBoxes(images: Array, boxes: Array) -> Any:
    return _drawn(images, boxes, None)


@op("DrawBoundingBoxesV2")
def DrawBoundingBoxesV2(images: Array, boxes: Array, colors: Array) -> Any:
    if colors.ndim != 2 or (images.ndim == 4 and colors.shape[1] < images.shape[3]):
        raise ValueError(f"colors must have shape [colours, channels], got {colors.shape} for images {images.shape}")
    return _drawn(images, boxes, colors)


# Glimpses


def _glimpse(first_form: bool, centered: bool, normalized: bool, uniform_noise: bool, noise: bytes) -> Kernel:
    if noise not in (b"uniform", b"gaussian", b"zero", b""):
        raise ValueError(f"noise must be uniform, gaussian or zero, got {noise!r}")
    if uniform_noise and noise not in (b"uniform", b""):
        raise ValueError(f"uniform_noise and noise={noise!r} contradict each other; set uniform_noise=False")

    def ground(image: Array, height: int, width: int) -> Array:
        """What a glimpse shows beyond the image: zeros, or noise that is new each time, as TensorFlow's."""
        shape = (height, width, image.shape[2])
        if noise == b"zero":
            return np.zeros(shape, image.dtype)
        random = np.random.default_rng()
        if uniform_noise or noise == b"uniform":
            return np.asarray(image.min() + random.random(shape, _F) * (image.max() - image.min()))
        low, high = image.min(axis=(0, 1)), image.max(axis=(0, 1))
        numbers = random.standard_normal(shape, _F) * image.std(axis=(0, 1)) + image.mean(axis=(0, 1))
        return np.asarray(np.clip(numbers, low, high))

    def run(input: Array, size: Array, offsets: Array) -> Any:
        if input.ndim != 4 or not input.shape[1] or not input.shape[2]:
            raise ValueError(f"input must have shape [batch, height, width, channels], got {input.shape}")
        if size.shape != (2,) or min(size.tolist()) < 0:
            raise ValueError(f"size must be two sizes, got {size.tolist()}")
        if offsets.shape != (input.shape[0], 2):
            raise ValueError(f"offsets must have shape {[input.shape[0], 2]}, got {offsets.shape}")
        height, width = size.tolist()
        extent, window = np.array(input.shape[1:3], _F), np.array([height, width], _F)
        at = offsets.astype(_F)
        if normalized:
            at = at * extent
        if centered:
            # The second form takes offsets in pixels from the centre as they are.
            at = (at / _F(2) if normalized or first_form else at) + extent / _F(2)
        if first_form or (centered and normalized):
            at = at - window / _F(2)
        result = np.empty((input.shape[0], height, width, input.shape[3]), input.dtype)
        for image, glimpse, (y, x) in zip(input, result, at.astype(np.int64).tolist(), strict=True):
            seen = image[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
            if seen.shape[:2] != (height, width):
                glimpse[...] = ground(image, height, width)
            top, left = max(-y, 0), max(-x, 0)
            glimpse[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
        return result

    return run


@specialized("ExtractGlimpse", impure=True)
def ExtractGlimpse(
    *, centered: bool = True, normalized: bool = True, uniform_noise: bool = True, noise: bytes = b"uniform"
) -> Kernel:
    return _glimpse(True, centered, normalized, uniform_noise, noise)


@specialized("ExtractGlimpseV2", impure=True)
def ExtractGlimpseV2(
    *, centered: bool = True, normalized: bool = True, uniform_noise: bool = True, noise: bytes = b"uniform"
) -> Kernel:
    return _glimpse(False, centered, normalized, uniform_noise, noise)
