"""Where the windows of convolutions and pooling lie.

Sizes, strides, dilations and paddings here are those of the spatial dimensions alone; arrays have
their channels last (NHWC, NDHWC) unless said otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphrack.ops.registry import Kernel
from graphrack.ops.runtime import Array

Sizes = tuple[int, ...]

_FORMATS = {b"NHWC": (2, False), b"NCHW": (2, True), b"NDHWC": (3, False), b"NCDHW": (3, True)}

CHUNK_BYTES = 1 << 20
"""How much a convolution unrolls at a time: what stays in a core's cache is faster than one large product."""
MOST_CHUNK_BYTES = 4 << 20


SMALL_BYTES = 1 << 17
"""Windows that take no more than this are unrolled into fresh memory, which malloc then has at hand."""


class Layout(NamedTuple):
    """Where the windows of an image lie, all of it that follows from shapes.

    Attributes:
        outs: sizes of the output.
        pads: (before, after) of each spatial dimension.
        whole: shape of the padded image.
        inner: where the image lies in it; None where nothing is padded.
        shape: of `Windows.views`.
        strides: theirs, in bytes, where the padded image is contiguous.
    """

    outs: Sizes
    pads: tuple[tuple[int, int], ...]
    whole: Sizes
    inner: tuple[slice, ...] | None
    shape: Sizes
    strides: Sizes


class Windows:
    """The windowing attributes of one node: strides, dilations, padding, data format.

    Attributes:
        channels_first: whether the node's arrays are NCHW or NCDHW.
        strides, dilations: of the spatial dimensions.
        paddings: (before, after) of each spatial dimension where padding is EXPLICIT.
    """

    def __init__(
        self,
        op_name: str,
        data_format: bytes,
        *,
        strides: Sequence[int],
        padding: bytes,
        dilations: Sequence[int] = (),
        explicit_paddings: Sequence[int] = (),
        rank: int = 2,
    ):
        self.op_name = op_name
        known, self.channels_first = _FORMATS.get(data_format, (0, False))
        if known != rank:
            formats = [name for name, (spatial, _) in _FORMATS.items() if spatial == rank]
            raise ValueError(f"{op_name}'s data_format is {data_format!r}, expected one of {formats}")
        self.rank = rank
        self.strides = self.spatial("strides", strides)
        self.dilations = self.spatial("dilations", dilations or (1,) * (rank + 2))
        if padding not in (b"SAME", b"VALID", b"EXPLICIT"):
            raise ValueError(f"{op_name}'s padding is {padding!r}, expected b'SAME', b'VALID' or b'EXPLICIT'")
        self.padding = padding
        self.layout = lru_cache(maxsize=64)(self._layout)
        self.paddings: tuple[tuple[int, int], ...] = ((0, 0),) * rank
        if padding == b"EXPLICIT":
            self.paddings = self._explicit(explicit_paddings)
        elif explicit_paddings:
            raise ValueError(
                f"{op_name} has explicit_paddings {list(explicit_paddings)} and padding {padding!r}, "
                "expected them empty unless padding is b'EXPLICIT'"
            )

    def spatial(self, name: str, values: Sequence[int]) -> Sizes:
        """The spatial ones among an attribute's values; those of batch and depth must be 1."""
        if len(values) != self.rank + 2 or min(values) < 1:
            raise ValueError(f"{self.op_name}'s {name} are {list(values)}, expected {self.rank + 2} positive numbers")
        if values[0] != 1 or values[1 if self.channels_first else -1] != 1:
            raise ValueError(f"{self.op_name}'s {name} are {list(values)}, expected 1 for batch and depth")
        return tuple(values[2:] if self.channels_first else values[1:-1])

    def _explicit(self, flat: Sequence[int]) -> tuple[tuple[int, int], ...]:
        pairs = tuple(zip(flat[::2], flat[1::2], strict=False))
        if len(flat) != 2 * (self.rank + 2) or min(flat) < 0:
            raise ValueError(
                f"{self.op_name}'s explicit_paddings are {list(flat)}, expected {2 * (self.rank + 2)} "
                "numbers, none of them negative"
            )
        spatial = pairs[2:] if self.channels_first else pairs[1:-1]
        if any(pairs[0]) or any(pairs[1 if self.channels_first else -1]):
            raise ValueError(f"{self.op_name} can't pad batch or depth, found explicit_paddings {list(flat)}")
        return spatial

    def place(self, sizes: Sizes, kernel: Sizes) -> tuple[Sizes, tuple[tuple[int, int], ...]]:
        """Output sizes, and (before, after) paddings, for an input and a window of these sizes.

        Raises:
            ValueError: the window has no place in the padded input.
        """
        outs: list[int] = []
        pads: list[tuple[int, int]] = []
        for size, window, stride, dilation, pair in zip(
            sizes, kernel, self.strides, self.dilations, self.paddings, strict=True
        ):
            out, before, after = _place(size, window, stride, dilation, self.padding, pair)
            if out < 0:
                raise ValueError(
                    f"{self.op_name}'s window of sizes {kernel} (dilations {self.dilations}) is larger than "
                    f"its input of sizes {sizes} with padding {self.padding.decode()}"
                )
            outs.append(out)
            pads.append((before, after))
        return tuple(outs), tuple(pads)

    def _layout(self, image: Sizes, kernel: Sizes, groups: int, itemsize: int) -> Layout:
        batch, *sizes, depth = image
        outs, pads = self.place(tuple(sizes), kernel)
        whole = (batch, *(n + sum(pair) for n, pair in zip(sizes, pads, strict=True)), depth)
        inner = None
        if whole != image:
            inner = (slice(None), *(slice(before, before + n) for n, (before, _) in zip(sizes, pads, strict=True)))
        steps = [prod(whole[axis + 1 :]) * itemsize for axis in range(len(whole))]
        strides = (
            steps[0],
            *(step * stride for step, stride in zip(steps[1:-1], self.strides, strict=True)),
            *(step * dilation for step, dilation in zip(steps[1:-1], self.dilations, strict=True)),
            depth // groups * itemsize,
            itemsize,
        )
        return Layout(outs, pads, whole, inner, (batch, *outs, *kernel, groups, depth // groups), strides)

    def image_views(self, image: Array, layout: Layout) -> Array:
        """As `views`, of an image that isn't padded yet, and is so if need be."""
        if layout.inner is not None:
            whole = np.zeros(layout.whole, image.dtype)
            whole[layout.inner] = image
        elif image.flags.c_contiguous:
            whole = image
        else:
            return self.views(image, layout.outs, layout.shape[1 + self.rank : -2], layout.shape[-2])
        # As `as_strided`, in a fifth of its time.
        return np.ndarray(layout.shape, whole.dtype, whole, 0, layout.strides)

    def views(self, padded: Array, outs: Sizes, kernel: Sizes, groups: int = 1) -> Array:
        """All windows of a padded input, as a view: [batch, *outs, *kernel, groups, channels / groups]."""
        batch, *steps, channel = padded.strides
        depth = padded.shape[-1] // groups
        return as_strided(
            padded,
            (padded.shape[0], *outs, *kernel, groups, depth),
            (
                batch,
                *(step * stride for step, stride in zip(steps, self.strides, strict=True)),
                *(step * dilation for step, dilation in zip(steps, self.dilations, strict=True)),
                depth * channel,
                channel,
            ),
        )

    def tap(self, offset: Sequence[int], outs: Sizes) -> tuple[slice, ...]:
        """For one position in the window: the elements of the padded input that it meets."""
        return tuple(
            slice(at * dilation, at * dilation + (out - 1) * stride + 1, stride)
            for at, dilation, stride, out in zip(offset, self.dilations, self.strides, outs, strict=True)
        )

    def unstrided(self) -> Windows:
        """Windows of the same dilations, side by side, on images that are padded already; channels last."""
        return Windows(
            self.op_name,
            b"NHWC" if self.rank == 2 else b"NDHWC",
            strides=(1,) * (self.rank + 2),
            padding=b"VALID",
            dilations=(1, *self.dilations, 1),
            rank=self.rank,
        )

    def formatted(self, kernel: Kernel, *images: int) -> Kernel:
        """The kernel for the node's data format, given one for channels last.

        Attributes:
            images: which of its inputs have the data format; its output (the first one) does too.
        """
        return channels_last(kernel, self.rank, *images) if self.channels_first else kernel

    def takes_images(self, kernel: Kernel, *images: int) -> Kernel:
        """As `formatted`, for a kernel whose output doesn't have the data format."""
        if not self.channels_first:
            return kernel
        return channels_last(kernel, self.rank, *images, gives_image=False)


def channels_last(kernel: Kernel, rank: int, *images: int, gives_image: bool = True) -> Kernel:
    """The kernel for inputs with channels in dimension 1, given one for channels last."""
    to_last = (0, *range(2, rank + 2), 1)
    to_first = (0, rank + 1, *range(1, rank + 1))

    def run(*inputs: Any) -> Any:
        moved = list(inputs)
        for i in images:
            if inputs[i].ndim != rank + 2:
                raise ValueError(f"expected an input of rank {rank + 2}, found shape {inputs[i].shape}")
            moved[i] = inputs[i].transpose(to_last)
        result = kernel(*moved)
        if not gives_image:
            return result
        if isinstance(result, tuple):
            return (result[0].transpose(to_first), *result[1:])
        return result.transpose(to_first)

    return run


@lru_cache(maxsize=4096)
def _place(
    size: int, window: int, stride: int, dilation: int, padding: bytes, pair: tuple[int, int]
) -> tuple[int, int, int]:
    """One dimension: output size, padding before and after. TensorFlow's rules (`framework/common_shape_fns`)."""
    reach = (window - 1) * dilation + 1
    if padding == b"SAME":
        out = -(-size // stride)
        pad = max((out - 1) * stride + reach - size, 0)
        return out, pad // 2, pad - pad // 2
    before, after = pair
    span = size + before + after - reach + stride
    # C++ divides towards zero: a window too large by less than a stride gives no output, not an error.
    return (span // stride if span >= 0 else -(-span // stride)), before, after


def padded(x: Array, pads: Sequence[tuple[int, int]], value: Any = 0, *, reuse: bool = False) -> Array:
    """The input with its spatial dimensions padded; itself where there is nothing to pad.

    Attributes:
        reuse: whether the result may lie in `scratch` memory.
    """
    if not any(before or after for before, after in pads):
        return x
    sizes = [size + before + after for size, (before, after) in zip(x.shape[1:-1], pads, strict=True)]
    shape = (x.shape[0], *sizes, x.shape[-1])
    if reuse:
        result = scratch(shape, x.dtype)
        result.fill(value)
    else:
        result = np.zeros(shape, x.dtype) if value == 0 else np.full(shape, value, x.dtype)
    inner = tuple(slice(before, before + n) for n, (before, _) in zip(x.shape[1:-1], pads, strict=True))
    result[(slice(None), *inner)] = x
    return result


def chunks(sizes: Sizes, unit: int, budget: int) -> Iterator[tuple[slice, ...]]:
    """Cuts an array of these sizes into contiguous pieces.

    Attributes:
        unit: bytes that one element of it needs.
        budget: bytes that a piece may need, unless one element needs more.
    """
    axis = len(sizes) - 1
    while axis > 0 and unit * sizes[axis] <= budget:
        unit *= sizes[axis]
        axis -= 1
    step = max(1, budget // max(unit, 1))
    if axis == 0 and step >= sizes[0]:
        yield ()
        return
    for prefix in product(*map(range, sizes[:axis])):
        head = tuple(slice(i, i + 1) for i in prefix)
        for start in range(0, sizes[axis], step):
            yield (*head, slice(start, min(start + step, sizes[axis])))


class _Scratch(threading.local):
    """Memory that a thread's kernels use again: fresh memory costs a page fault for every 4 KiB."""

    memory: Array = np.empty(0, np.uint8)


_scratch = _Scratch()


def scratch(shape: Sizes, dtype: np.dtype[Any]) -> Array:
    """An array for intermediate values; its memory belongs to the thread and is good until the next call."""
    size = prod(shape) * dtype.itemsize
    if size > MOST_CHUNK_BYTES:
        return np.empty(shape, dtype)
    if _scratch.memory.nbytes < size:
        _scratch.memory = np.empty(size, np.uint8)
    return np.ndarray(shape, dtype, _scratch.memory)


def gathered(view: Array) -> Array:
    """The view's elements, contiguous, in `scratch` memory."""
    result = scratch(view.shape, view.dtype)
    result[...] = view
    return result


def offsets(kernel: Sizes) -> Iterator[tuple[int, ...]]:
    """Every position in a window."""
    return product(*map(range, kernel))
