"""Image files: PNG, JPEG, GIF, BMP and WebP, from bytes to pixels and back.

Pillow reads all but BMP and writes JPEG; it is imported when such an op first runs. PNG, GIF, BMP and WebP
give TensorFlow's pixels exactly, and so does JPEG with `dct_method="INTEGER_ACCURATE"`. By default TensorFlow
decodes JPEG by a faster and less exact transform that Pillow doesn't offer: its pixels are off from these by
one or two of 255 on average and by up to a dozen in noisy pictures of high quality.

What a file declares is checked before it is decoded: no image format packs more than about a thousand
bytes of pixels into one of its own, so that a small file that claims to be a huge picture is refused.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DTYPES, FLOAT, INT32, UINT8, DType
from graphrack.ops.png import encode
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array

UINT16 = DTYPES[17]

_PIXELS_PER_BYTE = 1 << 14  # a PNG of one black bit per pixel has 8000, a progressive JPEG somewhat more
_FEWEST = 1 << 16  # pixels that any file may have
_MOST = 1 << 29  # values that one image may have, as in TensorFlow


def _plugin(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"PIL.{name}")
    except ImportError:
        raise ValueError("image files are read and written by Pillow, which isn't there; pip install pillow") from None


def _content(contents: Array) -> bytes:
    if contents.ndim:
        raise ValueError(f"contents must be a scalar, got shape {contents.shape}")
    content: bytes = contents.item()
    if not content:
        raise ValueError("contents are empty, expected an image file")
    return content


def _format(content: bytes) -> str:
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if content.startswith(b"BM"):
        return "BMP"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WebP"
    raise ValueError(f"contents start with {content[:12]!r}, which no PNG, JPEG, GIF, BMP or WebP file does")


def _check_size(what: str, content: bytes, width: int, height: int, frames: int = 1) -> None:
    pixels = width * height * frames
    if not pixels:
        raise ValueError(f"the {what} declares {width} x {height} pixels, expected some")
    if pixels > max(_FEWEST, _PIXELS_PER_BYTE * len(content)) or pixels * 4 > _MOST:
        raise ValueError(
            f"the {what} of {len(content)} bytes declares {frames} frame(s) of {width} x {height} pixels, "
            "more than such a file can hold"
        )


def _opened(what: str, plugin: str, kind: str, content: bytes) -> Any:
    """The file, its header parsed. Pillow's classes are used directly: `Image.open` would look at every format."""
    module = _plugin(plugin)
    try:
        image = getattr(module, kind)(io.BytesIO(content))
    except Exception as error:  # SyntaxError, struct.error, …: whatever the plugin trips over
        raise ValueError(f"the {what} of {len(content)} bytes is damaged: {error}") from None
    _check_size(what, content, *image.size)
    return image


def _loaded(what: str, image: Any, content: bytes) -> Any:
    try:
        image.load()
    except Exception as error:
        raise ValueError(f"the {what} of {len(content)} bytes is damaged or cut off: {error}") from None
    return image


# PNG


def _grey(colours: Array) -> Array:
    """As libpng has it: weights in 1/32768, cut off for 8 bits and rounded for 16."""
    r, g, b = (colours[..., i].astype(np.uint32) for i in range(3))
    rounding = np.uint32(16384 if colours.dtype == np.uint16 else 0)
    mixed = (r * np.uint32(9797) + g * np.uint32(19234) + b * np.uint32(3737) + rounding) >> np.uint32(15)
    return np.where((r == g) & (g == b), r, mixed).astype(colours.dtype)[..., None]


def _wide(what: str, content: bytes, colour_type: int) -> Array:
    """A PNG of 16 bits per sample; Pillow gives 8 of most of them, so it is asked twice or for raw bytes."""

    def samples(mode: str, raw: str) -> Array:
        image = _opened(what, "PngImagePlugin", "PngImageFile", content)
        image._mode = mode
        image.tile = [tile._replace(args=raw) for tile in image.tile]
        return np.asarray(_loaded(what, image, content))

    if colour_type == 0:
        return np.asarray(samples("I;16", "I;16B"), np.uint16)[..., None]
    if colour_type == 4:  # grey and alpha: as many bytes as RGBA of 8 bits
        return np.ascontiguousarray(samples("RGBA", "RGBA")).view(">u2").astype(np.uint16)
    mode = "RGB" if colour_type == 2 else "RGBA"
    return samples(mode, f"{mode};16B").astype(np.uint16) << 8 | samples(mode, f"{mode};16L")


def _narrow(what: str, content: bytes, colour_type: int) -> Array:
    image = _loaded(what, _opened(what, "PngImagePlugin", "PngImageFile", content), content)
    if colour_type == 3:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _png(content: bytes, channels: int, dtype: DType) -> Array:
    if len(content) < 33:
        raise ValueError(f"the PNG file of {len(content)} bytes is cut off: its header alone takes 33")
    width, height, bits, colour_type = struct.unpack_from(">IIBB", content, 16)
    _check_size("PNG file", content, width, height)
    if colour_type not in (0, 2, 3, 4, 6):
        raise ValueError(f"the PNG file has colour type {colour_type}, expected 0, 2, 3, 4 or 6")
    pixels = (_wide if bits == 16 else _narrow)("PNG file", content, colour_type)
    # TensorFlow makes pixels opaque by the greatest number of the file's bits, few as they may be.
    pixels = _with_channels(pixels, channels, opaque=(1 << bits) - 1)
    wide = dtype != UINT8  # floats are made of 16 bits
    if pixels.dtype == np.uint16 and not wide:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype == np.uint8 and wide:
        pixels = pixels.astype(np.uint16) * np.uint16(257)
    return pixels * np.float32(1 / 65535) if dtype == FLOAT else pixels


def _with_channels(pixels: Array, channels: int, opaque: int | None = None) -> Array:
    """Grey (1), grey and alpha (2), RGB (3) or RGBA (4) as another of them; 0 leaves them."""
    present = pixels.shape[-1]
    if channels in (0, present):
        return pixels
    colours = pixels[..., :3] if present > 2 else pixels[..., :1]
    if channels < 3:
        colours = _grey(colours) if present > 2 else colours
    elif present < 3:
        colours = np.repeat(colours, 3, axis=-1)
    if channels % 2:
        return np.ascontiguousarray(colours)
    if present % 2 == 0:
        alpha = pixels[..., -1:]
    else:
        value = np.iinfo(pixels.dtype).max if opaque is None else opaque
        alpha = np.full((*colours.shape[:-1], 1), value, pixels.dtype)
    return np.concatenate([colours, alpha], axis=-1)


# JPEG


def _jpeg(content: bytes, channels: int, ratio: int = 1, recover: bool = False) -> Array:
    if channels == 4:
        raise ValueError("channels must be 0, 1 or 3 for a JPEG file, got 4")
    what = "JPEG file"
    # An end that is missing is put there; what lies before it and can't be decoded becomes grey.
    data = content + b"\xff\xd9" if recover else content
    image = _opened(what, "JpegImagePlugin", "JpegImageFile", data)
    width, height = image.size
    mode = "L" if channels == 1 and image.mode != "CMYK" else None  # brightness as the file has it
    smaller = (max(1, width // ratio), max(1, height // ratio))
    if ratio > 1 or mode:
        image.draft(mode, smaller)
        if ratio > 1 and image.decoderconfig[:1] != (ratio,):
            raise ValueError(f"a JPEG file of {width} x {height} pixels is too small for ratio {ratio}")
    pixels = np.asarray(_loaded(what, image, content))
    if image.mode == "CMYK":
        inks = 255 - pixels.astype(np.uint16)
        pixels = (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return _with_channels(pixels, channels)


def _check_ratio(ratio: int) -> None:
    if ratio not in (1, 2, 4, 8):
        raise ValueError(f"ratio must be 1, 2, 4 or 8, got {ratio}")


def _check_dct(dct_method: bytes) -> None:
    if dct_method not in (b"", b"INTEGER_FAST", b"INTEGER_ACCURATE"):
        raise ValueError(f"dct_method must be INTEGER_FAST, INTEGER_ACCURATE or empty, got {dct_method!r}")


# GIF, BMP, WebP


def _gif(content: bytes, channels: int, first_only: bool = False) -> Array:
    if channels not in (0, 3):
        raise ValueError(f"channels must be 0 or 3 for a GIF file, got {channels}")
    what = "GIF file"
    image = _opened(what, "GifImagePlugin", "GifImageFile", content)
    try:
        count = 1 if first_only else image.n_frames
        _check_size(what, content, image.width, image.height, count)
        frames = []
        for i in range(count):
            image.seek(i)
            rgba = np.asarray(image.convert("RGBA"))
            frames.append(np.where(rgba[..., 3:] > 0, rgba[..., :3], 0).astype(np.uint8))
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"the GIF file of {len(content)} bytes is damaged or cut off: {error}") from None
    return np.stack(frames)


def _bmp(content: bytes, channels: int) -> Array:
    if channels not in (0, 3, 4):
        raise ValueError(f"channels must be 0, 3 or 4 for a BMP file, got {channels}")
    if len(content) < 30:
        raise ValueError(f"the BMP file of {len(content)} bytes is cut off: its header alone takes 30")
    start, width, height, bits = *struct.unpack_from("<I4xii", content, 10), struct.unpack_from("<H", content, 28)[0]
    present = bits // 8
    if bits not in (8, 24, 32):
        raise ValueError(f"the BMP file has {bits} bits per pixel, expected 8, 24 or 32")
    if width <= 0 or not height:
        raise ValueError(f"the BMP file declares {width} x {height} pixels, expected some")
    row = (present * width + 3) // 4 * 4
    needed = row * (abs(height) - 1) + present * width
    if start + needed > len(content):
        raise ValueError(f"the BMP file of {len(content)} bytes is cut off: its pixels end at byte {start + needed}")
    padded = np.zeros(row * abs(height), np.uint8)
    padded[:needed] = np.frombuffer(content, np.uint8, needed, start)
    pixels = padded.reshape(abs(height), row)[:, : present * width].reshape(abs(height), width, present)
    if height > 0:  # rows are stored from the lowest up
        pixels = pixels[::-1]
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[present]
    return _with_channels(pixels[..., order], channels)


def _webp(content: bytes, channels: int, first_only: bool = False) -> Array:
    what = "WebP file"
    image = _opened(what, "WebPImagePlugin", "WebPImageFile", content)
    count = 1 if first_only else getattr(image, "n_frames", 1)
    _check_size(what, content, image.width, image.height, count)
    frames = []
    for i in range(count):
        image.seek(i)
        frames.append(np.asarray(_loaded(what, image, content)))
    pixels = np.stack(frames)
    if channels not in (0, pixels.shape[-1]):
        raise ValueError(f"channels must be 0 or {pixels.shape[-1]} for this WebP file, got {channels}")
    return pixels


# Ops that decode


def _converted(pixels: Array, dtype: DType) -> Any:
    if dtype == UINT8:
        return pixels
    return pixels.astype(np.uint16) << 8 if dtype == UINT16 else pixels * np.float32(1 / 255)


def _decoder(op_name: str, channels: int, dtype: DType = UINT8, animated: bool | None = None) -> Callable[[bytes], Any]:
    """What decodes any format but those that the op leaves to others.

    Attributes:
        animated: True gives GIF's frames [frames, height, width, 3], False the first one, None refuses
            files that have several.
    """
    if channels not in (0, 1, 3, 4):
        raise ValueError(f"channels must be 0, 1, 3 or 4, got {channels}")
    if dtype not in (UINT8, UINT16, FLOAT):
        raise ValueError(f"dtype must be uint8, uint16 or float32, got {dtype}")

    # What TensorFlow has each op refuse; the others take what they are given, whatever their name.
    refused = {"DecodeImage": (), "DecodeBmp": ("PNG", "JPEG", "GIF"), "DecodeWebP": ("BMP", "GIF")}.get(
        op_name, ("BMP",)
    )

    def decode(content: bytes) -> Any:
        kind = _format(content)
        if kind in refused:
            raise ValueError(f"contents are a {kind} file, which {op_name} doesn't read; DecodeImage does")
        if kind == "PNG":
            pixels = _png(content, channels, dtype)
        elif kind == "WebP":
            pixels = _converted(_webp(content, channels, animated is False), dtype)
            return pixels[0] if animated is False else pixels
        elif kind == "GIF":
            frames = _converted(_gif(content, channels, animated is False), dtype)
            if animated:
                return frames
            if len(frames) > 1:
                raise ValueError(f"the GIF file has {len(frames)} frames, expected one; DecodeGif reads them")
            return frames[0]
        else:
            pixels = _converted(_jpeg(content, channels) if kind == "JPEG" else _bmp(content, channels), dtype)
        return pixels[None] if op_name == "DecodeGif" else pixels

    return decode


@specialized("DecodePng")
def DecodePng(*, channels: int = 0, dtype: DType = UINT8) -> Kernel:
    decode = _decoder("DecodePng", channels, dtype)
    return lambda contents: decode(_content(contents))


@specialized("DecodeBmp")
def DecodeBmp(*, channels: int = 0) -> Kernel:
    decode = _decoder("DecodeBmp", channels)
    return lambda contents: decode(_content(contents))


@op("DecodeGif")
def DecodeGif(contents: Array) -> Any:
    return _decoder("DecodeGif", 0, animated=True)(_content(contents))


@specialized("DecodeImage")
def DecodeImage(*, channels: int = 0, dtype: DType = UINT8, expand_animations: bool = True) -> Kernel:
    decode = _decoder("DecodeImage", channels, dtype, expand_animations)
    return lambda contents: decode(_content(contents))


@specialized("DecodeWebP")
def DecodeWebP(*, channels: int = 0, dtype: DType = UINT8) -> Kernel:
    decode = _decoder("DecodeWebP", channels, dtype, True)
    return lambda contents: decode(_content(contents))


# `fancy_upscaling` and `acceptable_fraction` have no counterpart in Pillow: colours are always interpolated,
# and a file that is cut off is refused whatever its missing part, unless recovery is asked for.


@specialized("DecodeJpeg")
def DecodeJpeg(
    *,
    channels: int = 0,
    ratio: int = 1,
    try_recover_truncated: bool = False,
    dct_method: bytes = b"",
) -> Kernel:
    _check_ratio(ratio)
    _check_dct(dct_method)
    others = _decoder("DecodeJpeg", channels)

    def run(contents: Array) -> Any:
        content = _content(contents)
        if _format(content) != "JPEG":
            return others(content)
        return _jpeg(content, channels, ratio, try_recover_truncated)

    return run


@specialized("DecodeAndCropJpeg")
def DecodeAndCropJpeg(
    *,
    channels: int = 0,
    ratio: int = 1,
    try_recover_truncated: bool = False,
    dct_method: bytes = b"",
) -> Kernel:
    _check_ratio(ratio)
    _check_dct(dct_method)

    def run(contents: Array, crop_window: Array) -> Any:
        if crop_window.shape != (4,):
            raise ValueError(f"crop_window must be [y, x, height, width], got shape {crop_window.shape}")
        content = _content(contents)
        if _format(content) != "JPEG":
            raise ValueError(f"contents are a {_format(content)} file, expected JPEG")
        pixels = _jpeg(content, channels, ratio, try_recover_truncated)
        y, x, height, width = crop_window.tolist()
        if min(y, x) < 0 or min(height, width) <= 0 or y + height > pixels.shape[0] or x + width > pixels.shape[1]:
            raise ValueError(
                f"crop_window {[y, x, height, width]} is not within the image of shape {list(pixels.shape)}"
            )
        return np.ascontiguousarray(pixels[y : y + height, x : x + width])

    return run


@op("ExtractJpegShape")
def ExtractJpegShape(contents: Array, *, output_type: DType = INT32) -> Any:
    """Height, width and channels, from the header alone."""
    content = _content(contents)
    if _format(content) != "JPEG":
        raise ValueError(f"contents are a {_format(content)} file, expected JPEG")
    image = _opened("JPEG file", "JpegImagePlugin", "JpegImageFile", content)
    return np.array([image.height, image.width, len(image.getbands())], output_type.numpy)


# Ops that encode


@specialized("EncodePng")
def EncodePng(*, T: DType = UINT8, compression: int = -1) -> Kernel:
    if not -1 <= compression <= 9:
        raise ValueError(f"compression must be from -1 to 9, got {compression}")
    if T not in (UINT8, UINT16):
        raise ValueError(f"image must be uint8 or uint16, got {T}")

    def run(image: Array) -> Any:
        if image.ndim < 3 or not 1 <= image.shape[-1] <= 4:
            raise ValueError(f"image must have shape [..., height, width, 1 to 4 channels], got {image.shape}")
        if not image.shape[-2] or not image.shape[-3]:
            raise ValueError(f"image must have pixels, got shape {image.shape}")
        batch = image.shape[:-3]
        files = np.empty(batch, object)
        for where in np.ndindex(batch):
            files[where] = encode(image[where], compression)
        return files

    return run


def _encoded_jpeg(image: Array, quality: int, **options: Any) -> bytes:
    if not image.size:
        raise ValueError(f"image must have pixels, got shape {image.shape}")
    if not 0 <= quality <= 100:
        raise ValueError(f"quality must be from 0 to 100, got {quality}")
    picture = _plugin("Image").fromarray(image[..., 0] if image.shape[-1] == 1 else np.ascontiguousarray(image))
    _plugin("JpegImagePlugin")
    file = io.BytesIO()
    # Pillow takes 0 for its default; libjpeg takes it for 1.
    picture.save(file, "JPEG", quality=max(1, quality), **options)
    return file.getvalue()


@specialized("EncodeJpeg")
def EncodeJpeg(
    *,
    format: bytes = b"",
    quality: int = 95,
    progressive: bool = False,
    optimize_size: bool = False,
    chroma_downsampling: bool = True,
    density_unit: bytes = b"in",
    x_density: int = 300,
    y_density: int = 300,
    xmp_metadata: bytes = b"",
) -> Kernel:
    channels = {b"": 0, b"default": 0, b"grayscale": 1, b"rgb": 3}.get(format)
    if channels is None:
        raise ValueError(f"format must be grayscale, rgb or empty, got {format!r}")
    if density_unit not in (b"in", b"cm"):
        raise ValueError(f"density_unit must be in or cm, got {density_unit!r}")
    inch = 1.0 if density_unit == b"in" else 2.54
    options: dict[str, Any] = {
        "progressive": progressive,
        "optimize": optimize_size,
        "subsampling": 2 if chroma_downsampling else 0,
        "dpi": (x_density * inch, y_density * inch),
    }
    if xmp_metadata:
        options["xmp"] = xmp_metadata

    def run(image: Array) -> Any:
        expected = (channels,) if channels else (1, 3)
        if image.ndim != 3 or image.shape[2] not in expected:
            wanted = " or ".join(map(str, expected))
            raise ValueError(f"image must have shape [height, width, {wanted}], got {image.shape}")
        return np.array(_encoded_jpeg(image, quality, **options), object)

    return run


@op("EncodeJpegVariableQuality")
def EncodeJpegVariableQuality(images: Array, quality: Array) -> Any:
    if images.ndim != 3 or images.shape[2] not in (1, 3):
        raise ValueError(f"images must have shape [height, width, 1 or 3], got {images.shape}")
    if quality.ndim:
        raise ValueError(f"quality must be a scalar, got shape {quality.shape}")
    return np.array(_encoded_jpeg(images, int(quality), subsampling=2, dpi=(300, 300)), object)
