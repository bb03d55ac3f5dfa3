from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import Refused, by_graphrack, by_tensorflow, check
from ops.samples import strings, text
from PIL import Image

from graphrack.ops import registry

DTYPES = [np.float32, np.float64, np.float16, np.int32, np.int64, np.uint8, np.int8]


@pytest.mark.parametrize("dtype", DTYPES)
def test_scalars(dtype: Any) -> None:
    check("ScalarSummary", tags=strings(b"a", b"b/c"), values=np.array([3, 1]).astype(dtype), refused=False)
    check("ScalarSummary", tags=text(b"loss"), values=np.array(2).astype(dtype), refused=False)


def test_scalars_beyond_the_ordinary() -> None:
    for value in (np.nan, np.inf, -0.0, 0.0, 1e300, 1 / 3):
        check("ScalarSummary", tags=text(b"x"), values=np.array(value), refused=False)
    check("ScalarSummary", tags=strings(), values=np.zeros(0), refused=False)
    check("ScalarSummary", tags=strings(b"a"), values=np.zeros(2), refused=True)
    check("ScalarSummary", tags=strings(b"a"), values=np.array(1.0), refused=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 7, 5000])
def test_histograms(count: int, dtype: Any) -> None:
    values = (np.random.default_rng(count).normal(size=count) * 20).astype(dtype)
    check("HistogramSummary", tag=text(b"h"), values=values, refused=False)


def test_histograms_of_extremes() -> None:
    values = np.array([0, -0.0, 1e-12, 1e-13, -1e-12, 1e20, 1e30, -1e30, 1.1e-12, 1, 1])
    check("HistogramSummary", tag=text(b"h"), values=values, refused=False)
    for bad in (np.nan, np.inf, -np.inf):
        check("HistogramSummary", tag=text(b"h"), values=np.array([1, bad]), refused=True)
    check("HistogramSummary", tag=strings(b"h"), values=values, refused=True)


def pictures(summary: bytes) -> list[tuple[str, int, int, int, np.ndarray[Any, Any]]]:
    found = []
    for value in tf.Summary.FromString(summary).value:
        pixels = np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))
        found.append((value.tag, value.image.height, value.image.width, value.image.colorspace, pixels))
    return found


def check_pictures(off_by: int = 0, **arguments: Any) -> None:
    data, feeds, theirs = by_tensorflow("ImageSummary", {"tag": text(b"im"), **arguments})
    assert data is not None
    ours = by_graphrack(data, feeds)
    assert not isinstance(theirs, Refused), theirs
    assert not isinstance(ours, Refused), ours
    for found, expected in zip(pictures(ours[0].item()), pictures(theirs[0]), strict=True):
        assert found[:4] == expected[:4]
        assert np.abs(found[4].astype(int) - expected[4]).max() <= off_by


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.float16])
def test_images_are_the_same_pixels(channels: int, dtype: Any) -> None:
    random = np.random.default_rng(channels)
    shape = (4, 5, 7, channels)
    off_by = 1 if dtype == np.float16 else 0
    positive = (random.random(shape) * (255 if dtype == np.uint8 else 3)).astype(dtype)
    check_pictures(tensor=positive, off_by=off_by)
    check_pictures(tensor=positive, max_images=1, off_by=off_by)
    if dtype != np.uint8:
        signed = random.normal(size=shape).astype(dtype)
        check_pictures(tensor=signed, max_images=2, off_by=off_by)
        signed[0, 1, 2, 0] = np.nan
        signed[1, 0, 0, -1] = np.inf
        check_pictures(tensor=signed, off_by=off_by)
        color = np.array([9, 8, 7, 6], np.uint8)
        check_pictures(tensor=signed, bad_color=tf.make_tensor_proto(color), off_by=off_by)
        check_pictures(tensor=np.zeros(shape, dtype))
        check_pictures(tensor=np.full(shape, np.nan, dtype))


def test_images_of_other_shapes_are_refused() -> None:
    for shape in ((2, 2, 2, 2), (2, 2, 3), (1, 2, 2, 5)):
        check("ImageSummary", tag=text(b"im"), tensor=np.zeros(shape, np.float32), refused=True)
    check("ImageSummary", tag=strings(b"im"), tensor=np.zeros((1, 2, 2, 1), np.float32), refused=True)
    check("ImageSummary", tag=text(b"im"), tensor=np.zeros((0, 2, 2, 1), np.float32), refused=False)


@pytest.mark.parametrize("shape", [(2, 9), (5, 9), (1, 6, 2), (0, 4)])
def test_audio(shape: tuple[int, ...]) -> None:
    samples = (np.random.default_rng(1).normal(size=shape) * 0.7).astype(np.float32)
    for rate in (8000.0, 44100.5):
        sample_rate = np.float32(rate)
        check("AudioSummaryV2", tag=text(b"a"), tensor=samples, sample_rate=sample_rate, refused=False)
        check("AudioSummaryV2", tag=text(b"a"), tensor=samples, sample_rate=sample_rate, max_outputs=1, refused=False)


def test_audio_of_other_shapes_is_refused() -> None:
    rate = np.float32(8000)
    check("AudioSummaryV2", tag=text(b"a"), tensor=np.zeros(3, np.float32), sample_rate=rate, refused=True)
    vector = np.zeros((1, 3), np.float32)
    check("AudioSummaryV2", tag=text(b"a"), tensor=vector, sample_rate=np.ones(2, np.float32), refused=True)


def test_the_first_audio_op_has_its_rate_as_an_attribute() -> None:
    # TensorFlow refuses "AudioSummary" in graphs of today.
    samples = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
    old, new = registry.lookup("AudioSummary"), registry.lookup("AudioSummaryV2")
    assert old is not None
    assert new is not None
    found = old.bind("n", {"sample_rate": 8000.0}, {})(text(b"a"), samples)
    assert found == new.bind("n", {}, {})(text(b"a"), samples, np.float32(8000))


@pytest.mark.parametrize("dtype", [*DTYPES, bool, np.complex64])
def test_tensors(dtype: Any) -> None:
    value = np.arange(6).reshape(2, 3).astype(dtype)
    for tensor in (value, value[0, 1], value[:0]):
        check("TensorSummary", tensor=tensor, description="d", display_name="n", refused=False)
        metadata = tf.SummaryMetadata(display_name="n", summary_description="d")
        metadata.plugin_data.plugin_name, metadata.plugin_data.content = "p", b"\x00\xff"
        for serialized in (b"", metadata.SerializeToString()):
            check(
                "TensorSummaryV2",
                tag=text(b"t"),
                tensor=tensor,
                serialized_summary_metadata=text(serialized),
                refused=False,
            )


def test_tensors_of_strings_and_broken_metadata() -> None:
    check("TensorSummary", tensor=strings(b"a", b"\xff\x00"), refused=False)
    arguments = {"tag": text(b"t"), "tensor": np.zeros(2)}
    op = registry.lookup("TensorSummaryV2")
    assert op is not None
    with pytest.raises(ValueError, match="summary metadata must be serialised"):  # TensorFlow drops it
        op.function(text(b"t"), np.zeros(2), text(b"\x0a\xff"))
    check("TensorSummaryV2", **arguments, serialized_summary_metadata=strings(b""), refused=True)


def test_merging() -> None:
    one = tf.Summary(value=[tf.Summary.Value(tag="a", simple_value=1)]).SerializeToString()
    two = tf.Summary(value=[tf.Summary.Value(tag="b", simple_value=2)]).SerializeToString()
    check("MergeSummary", inputs=[text(one), text(two)], refused=False)
    check("MergeSummary", inputs=[strings(one, two), text(b"")], refused=False)
    check("MergeSummary", inputs=[text(one), text(one)], refused=True)
    check("MergeSummary", inputs=[text(b"junk")], refused=True)
