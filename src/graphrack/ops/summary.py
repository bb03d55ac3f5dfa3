"""Summaries: what TensorBoard shows, as serialised Summary protos.

Bytes equal TensorFlow's, but for pictures, which are the same pixels compressed by zlib.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from graphrack.ops.png import encode
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array


def _new() -> Any:
    from graphrack.formats.protos import summary_pb2

    return summary_pb2.Summary()


def _serialized(summary: Any) -> Array:
    return np.array(summary.SerializeToString(), dtype=object)


def _tag(tag: Array) -> str:
    if tag.ndim:
        raise ValueError(f"tag must be a scalar, got shape {tag.shape}")
    return str(tag.item().decode("utf-8", "surrogateescape"))


@op("ScalarSummary")
def ScalarSummary(tags: Array, values: Array) -> Array:
    # As in TensorFlow's first versions, a vector of one goes with a scalar tag, but not the reverse.
    if tags.shape != np.shape(values):
        raise ValueError(f"tags and values must have the same shape, got {tags.shape} and {np.shape(values)}")
    summary = _new()
    for tag, value in zip(tags.reshape(-1).tolist(), values.reshape(-1).astype(np.float32).tolist(), strict=True):
        summary.value.add(tag=tag.decode(), simple_value=value)
    return _serialized(summary)


# Histograms

_GREATEST = float(np.finfo(np.float64).max)


@cache
def _limits() -> Array:
    """Upper ends of buckets: each 1.1 times the one before, from 1e-12 to 1e20, and their negatives."""
    positive = []
    limit = 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    positive.append(_GREATEST)
    return np.array([-v for v in reversed(positive)] + [0.0] + positive)


def _merged(limits: Sequence[float], counts: Sequence[float]) -> tuple[list[float], list[float]]:
    """Buckets, with each run of empty ones as one."""
    kept_limits: list[float] = []
    kept: list[float] = []
    for limit, count in zip(limits, counts, strict=True):
        if kept and not count and not kept[-1]:
            kept_limits[-1] = limit
        else:
            kept_limits.append(limit)
            kept.append(count)
    return kept_limits, kept


@op("HistogramSummary")
def HistogramSummary(tag: Array, values: Array) -> Array:
    name = _tag(tag)
    flat = np.asarray(values).reshape(-1).astype(np.float64)
    if not np.isfinite(flat).all():
        raise ValueError(f"values of histogram {name!r} must be finite, got {flat[~np.isfinite(flat)][0]} among them")
    limits = _limits()
    counts = np.bincount(np.searchsorted(limits, flat, side="right"), minlength=limits.size)
    summary = _new()
    histogram = summary.value.add(tag=name).histo
    histogram.min = flat.min(initial=_GREATEST)
    histogram.max = flat.max(initial=-_GREATEST)
    histogram.num = flat.size
    if flat.size:  # summed one by one, as TensorFlow does
        histogram.sum = np.cumsum(flat)[-1]
        histogram.sum_squares = np.cumsum(flat * flat)[-1]
    kept_limits, kept = _merged(limits.tolist(), counts.tolist())
    histogram.bucket_limit.extend(kept_limits)
    histogram.bucket.extend(kept)
    return _serialized(summary)


# Pictures

_NEAR_ZERO = 1e-6


def _visible(image: Array, bad_color: Array) -> Array:
    """Floats as bytes: [0, largest] to [0, 255], or where there are negative ones [-largest, largest] to [1, 255].

    Pixels with NaN or infinity get the bad colour.
    """
    good: Array = np.asarray(np.isfinite(image).all(axis=-1))
    finite = image[good]
    # The scale is computed in single precision whatever the image's dtype.
    least: Any
    largest: Any
    least, largest = (np.float32(finite.min()), np.float32(finite.max())) if finite.size else (0, 0)
    number = image.dtype.type
    reach, top, offset = (max(abs(least), abs(largest)), 127, 128) if least < 0 else (largest, 255, 0)
    scale = top / reach if reach >= _NEAR_ZERO else 0
    shades = np.where(good[..., None], image * number(scale) + number(offset), 0).astype(np.uint8)
    shades[~good] = bad_color[: image.shape[-1]]
    return shades


@specialized("ImageSummary")
def ImageSummary(*, max_images: int = 3, bad_color: Array = np.array([255, 0, 0, 255], np.uint8)) -> Kernel:  # noqa: B008
    if bad_color.dtype != np.uint8 or bad_color.ndim != 1:
        raise ValueError(f"bad_color must be a vector of uint8, got {bad_color.dtype} of shape {bad_color.shape}")

    def run(tag: Array, tensor: Array) -> Any:
        name = _tag(tag)
        if tensor.ndim != 4 or tensor.shape[3] not in (1, 3, 4):
            raise ValueError(f"images must have shape [batch, height, width, 1, 3 or 4], got {tensor.shape}")
        _, height, width, channels = tensor.shape
        if not height or not width:
            raise ValueError(f"images must have pixels, got shape {tensor.shape}")
        if bad_color.size < channels:
            raise ValueError(f"bad_color must have {channels} channels as the images have, got {bad_color.size}")
        summary = _new()
        for i, image in enumerate(tensor[:max_images]):
            value = summary.value.add(tag=f"{name}/image/{i}" if max_images > 1 else f"{name}/image")
            shades = image if image.dtype == np.uint8 else _visible(image, bad_color)
            value.image.height, value.image.width, value.image.colorspace = height, width, channels
            value.image.encoded_image_string = encode(shades)
        return _serialized(summary)

    return run


# Sound


def wav(samples: Array, rate: int) -> bytes:
    """A WAV file of 16-bit samples from floats [frames, channels] in [-1, 1]; louder ones are clipped."""
    channels = samples.shape[1]
    scaled = samples.astype(np.float64) * 32768.0
    rounded = np.trunc(scaled + np.copysign(0.5, scaled))
    content: bytes = np.clip(np.nan_to_num(rounded), -32768, 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    header = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content))
    return b"RIFF" + struct.pack("<I", len(header) + len(content)) + header + content


def _audio(tag: Array, tensor: Array, sample_rate: float, max_outputs: int) -> Array:
    name = _tag(tag)
    if tensor.ndim not in (2, 3):
        raise ValueError(f"audio must have shape [batch, frames] or [batch, frames, channels], got {tensor.shape}")
    if not sample_rate > 0:
        raise ValueError(f"sample_rate must be above 0 Hz, got {sample_rate}")
    clips = tensor if tensor.ndim == 3 else tensor[..., None]
    summary = _new()
    for i, clip in enumerate(clips[:max_outputs]):
        if not clip.size:
            raise ValueError(f"audio must have frames and channels, got shape {tensor.shape}")
        value = summary.value.add(tag=f"{name}/audio/{i}" if max_outputs > 1 else f"{name}/audio")
        value.audio.sample_rate = sample_rate
        value.audio.length_frames, value.audio.num_channels = clip.shape
        value.audio.encoded_audio_string = wav(clip, int(sample_rate))
        value.audio.content_type = "audio/wav"
    return _serialized(summary)


@op("AudioSummary")
def AudioSummary(tag: Array, tensor: Array, *, sample_rate: float, max_outputs: int = 3) -> Array:
    return _audio(tag, tensor, sample_rate, max_outputs)


@op("AudioSummaryV2")
def AudioSummaryV2(tag: Array, tensor: Array, sample_rate: Array, *, max_outputs: int = 3) -> Array:
    if np.size(sample_rate) != 1:
        raise ValueError(f"sample_rate must be a scalar, got shape {sample_rate.shape}")
    return _audio(tag, tensor, float(sample_rate.reshape(())), max_outputs)


# Tensors


def _fill(proto: Any, tensor: Array) -> None:
    from graphrack.formats.dtypes import STRING, from_numpy
    from graphrack.formats.tensor import shape_to_proto

    dtype = from_numpy(tensor.dtype)
    proto.dtype = dtype.number
    proto.tensor_shape.CopyFrom(shape_to_proto(tensor.shape))
    if dtype == STRING:
        proto.string_val.extend(np.asarray(tensor).reshape(-1).tolist())
    else:
        proto.tensor_content = tensor.tobytes()


@specialized("TensorSummary")
def TensorSummary(*, node_name: str) -> Kernel:
    """The attributes description, labels and display_name leave no trace in TensorFlow's protos either."""

    def run(tensor: Array) -> Any:
        summary = _new()
        _fill(summary.value.add(node_name=node_name).tensor, tensor)
        return _serialized(summary)

    return run


def _parsed(parse: Callable[[bytes], Any], content: bytes, what: str) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return parse(content)
    except DecodeError:
        raise ValueError(f"{what} must be serialised, got {content[:40]!r}, which isn't") from None


@op("TensorSummaryV2")
def TensorSummaryV2(tag: Array, tensor: Array, serialized_summary_metadata: Array) -> Array:
    from graphrack.formats.protos import summary_pb2

    for name, value in (("tag", tag), ("serialized_summary_metadata", serialized_summary_metadata)):
        if value.ndim:
            raise ValueError(f"{name} must be a scalar, got shape {value.shape}")
    summary = _new()
    value = summary.value.add(tag=_tag(tag))
    _fill(value.tensor, tensor)
    parse = summary_pb2.SummaryMetadata.FromString
    value.metadata.CopyFrom(_parsed(parse, serialized_summary_metadata.item(), "summary metadata"))
    return _serialized(summary)


@op("MergeSummary")
def MergeSummary(*inputs: Array) -> Array:
    from graphrack.formats.protos import summary_pb2

    merged = _new()
    tags: set[str] = set()
    for value in inputs:
        for content in value.reshape(-1).tolist():
            for found in _parsed(summary_pb2.Summary.FromString, content, "a summary to merge").value:
                if found.tag and found.tag in tags:
                    raise ValueError(f"two summaries have the tag {found.tag!r}; tags must differ")
                tags.add(found.tag)
                merged.value.add().CopyFrom(found)
    return _serialized(merged)
