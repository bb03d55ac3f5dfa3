from __future__ import annotations

import contextlib
import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import Refused, by_graphrack, by_tensorflow, check
from PIL import Image

from graphrack.formats.dtypes import DTYPES, UINT8
from graphrack.ops import png, registry

UINT16 = DTYPES[17]
DECODERS = ["DecodePng", "DecodeJpeg", "DecodeGif", "DecodeBmp", "DecodeImage", "DecodeWebP"]


def pixels(height: int, width: int, channels: int, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray[Any, Any]:
    """Noise on a slope: something that every filter and both halves of 16 bits have work with."""
    random = np.random.default_rng([seed, height, width, channels])
    top = np.iinfo(dtype).max
    slope = np.linspace(0, top * 0.6, height * width * channels).reshape(height, width, channels)
    return (slope + random.integers(0, top // 3, slope.shape)).astype(dtype)


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray[Any, Any]:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + i)) * np.cos(y / (5 - i)) for i in range(channels)]
    return ((np.stack(waves, axis=-1) + 1) * 127).astype(np.uint8)


def contents(data: bytes) -> np.ndarray[Any, Any]:
    return np.array(data, object)


def saved(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_of_all_kinds(dtype: Any, channels: int) -> None:
    image = pixels(7, 5, channels, dtype)
    image[0, 0] = 77  # grey pixels stay as they are
    data = contents(tf_png(image))
    for wanted in (0, 1, 3, 4):
        for result in (tf.uint8, tf.uint16):
            check("DecodePng", contents=data, channels=wanted, dtype=result, refused=False)
        for result in (tf.uint8, tf.uint16, tf.float32):
            check("DecodeImage", contents=data, channels=wanted, dtype=result, refused=False)


def tf_png(image: np.ndarray[Any, Any]) -> bytes:
    with tf.Graph().as_default(), tf.Session() as sess:
        found: bytes = sess.run(tf.raw_ops.EncodePng(image=image))
    return found


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_png_with_a_palette(bits: int, transparent: bool) -> None:
    image = Image.new("P", (9, 6))
    image.putpalette([(i * 37) % 256 for i in range(3 << bits)])
    image.putdata([v % (1 << bits) for v in pixels(6, 9, 1).ravel().tolist()])
    options = {"transparency": bytes(range(1 << min(bits, 7)))} if transparent else {}
    data = contents(saved(image, "PNG", bits=bits, **options))
    for channels in (0, 1, 3, 4):
        check("DecodePng", contents=data, channels=channels, refused=False)
    check("DecodePng", contents=data, dtype=tf.uint16, refused=False)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_greys(bits: int) -> None:
    # Pillow doesn't write them but for one bit: rows are packed here.
    height, width = 5, 9
    values = np.arange(height * width).reshape(height, width) % (1 << bits)
    per_byte = 8 // bits
    padded = np.zeros((height, -(-width // per_byte) * per_byte), np.uint8)
    padded[:, :width] = values
    packed = sum(padded[:, i::per_byte] << (8 - bits * (i + 1)) for i in range(per_byte)).astype(np.uint8)
    rows = b"".join(b"\x00" + row.tobytes() for row in packed)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    for channels in (0, 1, 3, 4):
        check("DecodePng", contents=contents(data), channels=channels, refused=False)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4), st.sampled_from([np.uint8, np.uint16]))
@settings(max_examples=40, deadline=None)
def test_our_png_is_read_back_by_tensorflow(height: int, width: int, channels: int, dtype: Any) -> None:
    image = pixels(height, width, channels, dtype)
    op = registry.lookup("EncodePng")
    assert op is not None
    T = UINT16 if dtype == np.uint16 else UINT8
    for compression in (-1, 0, 9):
        data = op.bind("n", {"T": T, "compression": compression}, {})(image).item()
        with tf.Graph().as_default(), tf.Session() as sess:
            # DecodePng takes no 2 channels but gives them where the file has them.
            found = sess.run(tf.raw_ops.DecodePng(contents=data, dtype=dtype))
        np.testing.assert_array_equal(found, image)


def test_png_of_batches_is_made_and_of_other_shapes_is_refused() -> None:
    batch = pixels(4, 6, 3).reshape(2, 2, 6, 3)
    op = registry.lookup("EncodePng")
    assert op is not None
    found = op.bind("n", {"T": UINT8}, {})(batch)
    assert found.shape == (2,)
    assert found[1] == png.encode(batch[1])
    for shape in ((2, 3), (2, 3, 5), (0, 3, 1), (2, 0, 1), (2, 3, 0)):
        check("EncodePng", image=np.zeros(shape, np.uint8), refused=True)
    check("EncodePng", image=batch[0], compression=10, refused=True)


def near(op: str, within: int, share: float = 0.0, **arguments: Any) -> None:
    """Both decode to nearly the same pixels: none off by more than `within`, but for a share of them."""
    data, feeds, theirs = by_tensorflow(op, arguments)
    assert data is not None
    ours = by_graphrack(data, feeds)
    assert not isinstance(theirs, Refused), theirs
    assert not isinstance(ours, Refused), ours
    assert ours[0].shape == theirs[0].shape
    assert ours[0].dtype == theirs[0].dtype
    unit = {1: 1.0, 2: 256.0, 4: 1 / 255}[ours[0].dtype.itemsize]
    off = np.abs(ours[0].astype(np.float64) - theirs[0]) / unit
    assert (off > within + 1e-3).mean() <= share, off.max()


@pytest.mark.parametrize("shape", [(16, 16), (33, 47), (1, 1), (8, 100)])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True, "quality": 95}, {"quality": 10}])
def test_jpeg(shape: tuple[int, int], options: dict[str, Any]) -> None:
    for image in (smooth(*shape), smooth(*shape, 1), pixels(*shape, 3)):
        data = contents(saved(image, "JPEG", **options))
        for channels in (0, 1, 3):
            check("DecodeJpeg", contents=data, channels=channels, dct_method="INTEGER_ACCURATE", refused=False)
            near("DecodeJpeg", 12, contents=data, channels=channels)
        for dtype in (tf.uint8, tf.uint16, tf.float32):
            near("DecodeImage", 12, contents=data, dtype=dtype)
        check("ExtractJpegShape", contents=data, refused=False)
        check("ExtractJpegShape", contents=data, output_type=tf.int64, refused=False)


def test_jpeg_made_smaller() -> None:
    for shape in ((64, 48), (37, 51)):
        data = contents(saved(smooth(*shape), "JPEG"))
        for ratio in (1, 2, 4, 8):
            check("DecodeJpeg", contents=data, ratio=ratio, dct_method="INTEGER_ACCURATE", refused=False)
            near("DecodeJpeg", 5, contents=data, ratio=ratio)
        check("DecodeJpeg", contents=data, ratio=3, refused=True)


def test_jpeg_of_four_inks() -> None:
    data = contents(saved(Image.fromarray(smooth(24, 16)).convert("CMYK"), "JPEG"))
    for channels in (0, 3):
        check("DecodeJpeg", contents=data, channels=channels, dct_method="INTEGER_ACCURATE", refused=False)


def test_jpeg_cropped() -> None:
    data = contents(saved(smooth(40, 56), "JPEG"))
    for window in ([0, 0, 40, 56], [3, 5, 20, 30], [39, 55, 1, 1]):
        crop = np.array(window, np.int32)
        check("DecodeAndCropJpeg", contents=data, crop_window=crop, dct_method="INTEGER_ACCURATE", refused=False)
    for window in ([0, 0, 41, 5], [-1, 0, 4, 4], [0, 0, 0, 4], [0, 50, 4, 10]):
        check("DecodeAndCropJpeg", contents=data, crop_window=np.array(window, np.int32), refused=True)
    check("DecodeAndCropJpeg", contents=data, crop_window=np.zeros(3, np.int32), refused=True)


def test_jpeg_cut_off() -> None:
    whole = saved(smooth(64, 64), "JPEG")
    check("DecodeJpeg", contents=contents(whole[: len(whole) // 2]), refused=True)
    near("DecodeJpeg", 5, 0.6, contents=contents(whole[: len(whole) // 2]), try_recover_truncated=True)


@pytest.mark.parametrize("op", ["EncodeJpeg", "EncodeJpegVariableQuality"])
@pytest.mark.parametrize("channels", [1, 3])
def test_encoded_jpeg_is_the_same_picture(op: str, channels: int) -> None:
    image = smooth(40, 56, channels)
    variants: list[dict[str, Any]] = [{}, {"quality": 50}, {"progressive": True, "optimize_size": True}]
    variants += [{"chroma_downsampling": False}, {"density_unit": "cm", "x_density": 100}, {"xmp_metadata": "<x/>"}]
    variants += [{"quality": 0}, {"format": "grayscale" if channels == 1 else "rgb"}]
    if op != "EncodeJpeg":
        variants = [{"quality": np.int32(q)} for q in (1, 50, 95, 100)]
    for options in variants:
        arguments = {"image" if op == "EncodeJpeg" else "images": image, **options}
        data, feeds, theirs = by_tensorflow(op, arguments)
        assert data is not None
        ours = by_graphrack(data, feeds)
        found, expected = (Image.open(io.BytesIO(d)) for d in (ours[0].item(), theirs[0]))
        assert found.info.get("progressive") == expected.info.get("progressive")
        assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).max() <= 3
        assert found.info["dpi"] == pytest.approx(expected.info["dpi"], abs=1)


def test_what_is_no_picture_for_jpeg_is_refused() -> None:
    for shape in ((2, 3), (2, 3, 2), (2, 2, 3, 3), (0, 3, 1)):
        check("EncodeJpeg", image=np.zeros(shape, np.uint8), refused=True)
        check("EncodeJpegVariableQuality", images=np.zeros(shape, np.uint8), quality=np.int32(90), refused=True)
    check("EncodeJpeg", image=np.zeros((2, 3, 3), np.uint8), quality=101, refused=True)
    check("EncodeJpeg", image=np.zeros((2, 3, 3), np.uint8), format="grayscale", refused=True)


def moving_frames() -> list[Any]:
    """A square that moves on a plain ground: frames that store only what changes."""
    frames = []
    for i in range(4):
        frame = np.full((12, 16, 3), 40, np.uint8)
        frame[2 + i : 6 + i, 3 * i : 3 * i + 4] = (200, 10 * i, 90)
        frames.append(Image.fromarray(frame))
    return frames


def test_gif() -> None:
    frames = moving_frames()
    for animation in (frames, frames[:1], [Image.fromarray(pixels(6, 5, 3, seed=i)) for i in range(3)]):
        data = contents(saved(animation[0], "GIF", save_all=True, append_images=animation[1:]))
        check("DecodeGif", contents=data, refused=False)
        for expand in (False, True):
            for dtype in (tf.uint8, tf.uint16, tf.float32):
                check("DecodeImage", contents=data, expand_animations=expand, dtype=dtype, refused=False)
        check("DecodePng", contents=data, refused=len(animation) > 1)
        check("DecodeImage", contents=data, channels=1, refused=True)


def test_bmp() -> None:
    for channels, mode in ((3, "RGB"), (4, "RGBA"), (1, "L")):
        for width in (1, 4, 5):
            image = pixels(3, width, channels)
            data = saved(image, "BMP") if mode != "L" else grey_bmp(image)
            for wanted in (0, 3, 4):
                check("DecodeBmp", contents=contents(data), channels=wanted)
            if mode != "L":
                for dtype in (tf.uint8, tf.uint16, tf.float32):
                    check("DecodeImage", contents=contents(data), dtype=dtype, refused=False)
                upside_down = data[:22] + struct.pack("<i", -3) + data[26:]
                check("DecodeBmp", contents=contents(upside_down), refused=False)
                check("DecodeBmp", contents=contents(data[:-8]), refused=True)
                check("DecodeBmp", contents=contents(data), channels=1, refused=True)


def grey_bmp(image: np.ndarray[Any, Any]) -> bytes:
    height, width = image.shape[:2]
    row = (width + 3) // 4 * 4
    body = b"".join(bytes(line[:, 0]).ljust(row, b"\0") for line in image[::-1])
    header = b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, len(body), 0, 0, 0, 0) + body


def test_webp() -> None:
    for channels in (3, 4):
        data = contents(saved(pixels(6, 5, channels), "WEBP", lossless=True, exact=True))
        for wanted in (0, 3, 4):
            check("DecodeWebP", contents=data, channels=wanted, refused=wanted not in (0, channels))
        check("DecodeImage", contents=data, refused=False)


@pytest.mark.parametrize("op", DECODERS)
def test_every_op_on_every_format(op: str) -> None:
    image = Image.fromarray(smooth(16, 16))
    for kind in ("PNG", "GIF", "BMP", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        check(op, contents=contents(saved(image, kind, **options)))


@pytest.mark.parametrize("op", DECODERS)
def test_what_is_no_image_is_refused(op: str) -> None:
    for data in (b"", b"hello there", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF1234WEBP"):
        check(op, contents=contents(data), refused=True)
    check(op, contents=np.array([b"a", b"b"], object), refused=True)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_one_clear_error_or_pixels(kind: str, data: Any) -> None:
    whole = bytearray(saved(moving_frames()[0], kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    whole = whole[: data.draw(st.integers(1, len(whole)))]
    op = registry.lookup("DecodeImage")
    assert op is not None
    with contextlib.suppress(ValueError):
        assert op.bind("n", {}, {})(contents(bytes(whole))).size <= 16 << 20


@pytest.mark.parametrize("op", DECODERS)
def test_small_files_of_huge_pictures_are_refused_at_once(op: str) -> None:
    header = struct.pack(">IIBBBBB", 1 << 30, 1 << 30, 8, 6, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    gif = bytearray(saved(moving_frames()[0], "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    jpeg = bytearray(saved(smooth(16, 16), "JPEG"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = b"\xff\xff\xff\xff"
    found = registry.lookup(op)
    assert found is not None
    for data in (bomb, bytes(gif), bytes(jpeg)):
        kernel = found.bind("n", {}, {})
        with pytest.raises(ValueError, match=r"more than such a file can hold|doesn't read"):
            kernel(contents(data))


def test_without_pillow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = contents(saved(smooth(4, 4), "PNG"))
    op = registry.lookup("DecodePng")
    assert op is not None
    monkeypatch.setitem(sys.modules, "PIL.PngImagePlugin", None)
    with pytest.raises(ValueError, match="pip install pillow"):
        op.bind("n", {}, {})(data)
