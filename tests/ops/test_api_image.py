"""Every public function of `tf.image`: programs that TensorFlow and graphrack run, gradients too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import Programs, agree
from ops.operands import FLOATS


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    """Floats from 0 to 1."""
    return np.random.default_rng([seed, *shape]).random(shape).astype(np.float32)


def integers(*shape: int, dtype: Any = np.uint8, most: int = 256) -> np.ndarray:
    """Smooth images, as photographs are; compressing noise would be no fair trial."""
    rows, columns, channels = shape[-3:]
    y, x, c = np.mgrid[:rows, :columns, :channels]
    wave = 0.5 + 0.5 * np.sin(y / 3 + c) * np.cos(x / 4 - c)
    return np.broadcast_to(wave * (most - 1), shape).astype(dtype)


image = Programs(
    tf.image,
    {
        "decode_jxl": "there is no encoder to try it with",
        "generate_bounding_box_proposals": "TensorFlow has no CPU kernel of it",
        "extract_patches": "the same function as extract_image_patches",
        "transpose_image": "the same function as transpose",
        "resize_with_crop_or_pad": "the same function as resize_image_with_crop_or_pad",
        "resize": "the same function as resize_images",
    },
)

RGB, BATCH, BYTES = pixels(7, 9, 3), pixels(2, 7, 9, 3), integers(7, 9, 3)
GREY = pixels(7, 9, 1)

# Colours

for name, amount in (
    ("adjust_brightness", 0.3),
    ("adjust_contrast", 1.7),
    ("adjust_hue", 0.2),
    ("adjust_saturation", 0.4),
    ("adjust_gamma", 0.7),
):
    for value in (RGB, BATCH):
        image(name, value, amount)
    if name in ("adjust_gamma", "adjust_brightness"):
        image(name, RGB.astype(np.float16), amount, rtol=1e-2)
    image(name, BYTES, amount if name != "adjust_brightness" else 0.1)
    image(name, RGB, np.float32(amount))
    if name not in ("adjust_gamma", "adjust_brightness"):
        image(name, RGB.astype(np.float64), amount, rtol=1e-4)
image("adjust_gamma", RGB, 2.0, 0.5)
image("adjust_contrast", BYTES.astype(np.int16), 0.5)
for name, ends in (
    ("random_brightness", (0.3,)),
    ("random_contrast", (0.5, 1.5)),
    ("random_hue", (0.3,)),
    ("random_saturation", (0.5, 1.5)),
):
    for value in (RGB, BYTES, BATCH):
        image(name, value, *ends, seed=4)
for name in ("rgb_to_hsv", "hsv_to_rgb", "rgb_to_yiq", "yiq_to_rgb", "rgb_to_yuv", "yuv_to_rgb"):
    image(name, BATCH, dtypes=FLOATS[:3], rtol=1e-2 if "hsv" in name else None)
    image(name, RGB)
image("rgb_to_hsv", np.array([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.2], [0.2, 0.7, 0.7]], np.float32), gradients=False)
for value in (RGB, BATCH, BYTES):
    image("rgb_to_grayscale", value)
image("grayscale_to_rgb", GREY)
image("grayscale_to_rgb", BYTES[..., :1])
image("per_image_standardization", RGB)
image("per_image_standardization", BATCH, dtypes=("float32", "float16"))
image("per_image_standardization", BYTES)
image("per_image_standardization", np.full((3, 4, 3), 0.5, np.float32), gradients=False)
TYPES = (tf.uint8, tf.int16, tf.int32, tf.float32, tf.float16, tf.float64, tf.uint16)
for target in TYPES:
    for saturate in (False, True):
        for value in (RGB, BYTES, BYTES.astype(np.int16), (BYTES.astype(np.uint16) * 257), RGB.astype(np.float16)):
            image("convert_image_dtype", value, target, saturate)

# Where pixels lie

for value in (RGB, BATCH, BYTES):
    for name in ("flip_left_right", "flip_up_down", "transpose"):
        image(name, value)
    for seed in (1, 2, 3):
        for name in ("random_flip_left_right", "random_flip_up_down"):
            image(name, value, seed=seed)
    for k in (0, 1, 2, 3, 5):
        image("rot90", value, k)
    image("central_crop", value, 0.5)
    image("crop_to_bounding_box", value, 1, 2, 4, 5)
    image("pad_to_bounding_box", value, 1, 2, 10, 12)
    for size in ((5, 12), (10, 4), (7, 9)):
        image("resize_image_with_crop_or_pad", value, *size)
        image("resize_image_with_pad", value, *size)
image("rot90", RGB, np.int32(3))
image("central_crop", BATCH, np.float32(0.4))
image("crop_to_bounding_box", RGB, np.int32(1), np.int32(2), np.int32(4), np.int32(5))
image("crop_to_bounding_box", RGB, np.int32(1), np.int32(2), np.int32(9), np.int32(5))
image("pad_to_bounding_box", RGB, np.int32(1), np.int32(2), np.int32(10), np.int32(12))
image("random_crop", RGB, [4, 5, 3], seed=3)
image("random_crop", RGB, np.array([4, 5, 2], np.int32), seed=3)
METHODS = {"bilinear": 0, "nearest": 1, "bicubic": 2, "area": 3}
for method in ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"):
    old = method in METHODS
    for size in ([4, 14], [15, 5], [7, 9]):
        if old:
            image("resize_images", BATCH, size, METHODS[method])
            image("resize_images", BATCH, size, METHODS[method], align_corners=True)
        for antialias in (True, False):
            image(
                "resize_images",
                BATCH,
                size,
                method=method,
                use=lambda f, *a, smooth=antialias, **k: tf.compat.v2.image.resize(*a, antialias=smooth, **k),
            )
    image(
        "resize_images",
        RGB,
        [4, 14],
        method=method,
        use=lambda f, *a, **k: tf.compat.v2.image.resize(*a, **k, preserve_aspect_ratio=True),
    )
    image(
        "resize_images",
        BYTES,
        np.array([5, 5], np.int32),
        method=method,
        use=lambda f, *a, **k: tf.compat.v2.image.resize(*a, **k),
    )
image("resize_images", BATCH, [5, 20], preserve_aspect_ratio=True)
for name in ("resize_area", "resize_bicubic", "resize_bilinear", "resize_nearest_neighbor"):
    for size in ([4, 14], [15, 5], [1, 1]):
        for flags in ({}, {"align_corners": True}, {"half_pixel_centers": True}):
            if name != "resize_area" or "half_pixel_centers" not in flags:
                image(name, BATCH, size, **flags)
    image(name, BYTES[None], [5, 11])
    image(name, BATCH, [5, 11], dtypes=FLOATS[1:])
BOXES = np.array([[0.1, 0.2, 0.7, 0.9], [0.9, 0.8, 0.2, 0.1], [-0.5, 0.5, 1.5, 0.6]], np.float32)
for method in ("bilinear", "nearest"):
    image(
        "crop_and_resize", BATCH, BOXES, np.array([0, 1, 0], np.int32), [4, 5], method=method, extrapolation_value=0.5
    )
image("crop_and_resize", BYTES[None], BOXES, np.zeros(3, np.int32), [1, 1])
image("extract_image_patches", BATCH, [1, 3, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME")
image("extract_image_patches", BATCH, [1, 3, 2, 1], [1, 1, 2, 1], [1, 2, 2, 1], "VALID", dtypes=FLOATS)
# Inside of the image: what lies outside is noise that no seed governs.
image("extract_glimpse", BATCH, [3, 4], np.array([[0.2, -0.3], [0, 0.1]], np.float32))
image("extract_glimpse", BATCH, [3, 4], np.array([[3, 2], [1, 2]], np.float32), centered=False, normalized=False)
for name in ("sobel_edges", "image_gradients", "total_variation"):
    image(name, BATCH)
image("total_variation", RGB)
OTHER = pixels(2, 7, 9, 3, seed=1)
image("psnr", BATCH, OTHER, 1.0)
image("psnr", BYTES, BYTES[::-1].copy(), 255)
image("ssim", pixels(2, 16, 17, 3), pixels(2, 16, 17, 3, seed=1), 1.0)
image(
    "ssim", pixels(2, 16, 17, 3), pixels(2, 16, 17, 3, seed=1), 1.0, filter_size=5, filter_sigma=1.0, k1=0.02, k2=0.05
)
image("ssim", integers(16, 17, 3), integers(16, 17, 3)[::-1].copy(), 255)
image("ssim", pixels(2, 16, 17, 3), pixels(2, 16, 17, 3, seed=1), 1.0, return_index_map=True)
image(
    "ssim_multiscale",
    pixels(1, 40, 44, 3),
    pixels(1, 40, 44, 3) ** 2,
    1.0,
    power_factors=[0.3, 0.3, 0.4],
    filter_size=7,
    gradients=False,
)

# Boxes

SCORES = pixels(40, seed=2)
MANY = np.concatenate([pixels(40, 2), pixels(40, 2, seed=1) * 0.3 + 0.1], 1)
MANY[:, 2:] += MANY[:, :2]
for most in (5, 100):
    image("non_max_suppression", MANY, SCORES, most, 0.3, 0.2)
    image("non_max_suppression_with_scores", MANY, SCORES, most, 0.3, 0.2, soft_nms_sigma=0.5)
    image("non_max_suppression_overlaps", (lambda x: (x + x.T) / 2)(pixels(40, 40)), SCORES, most, 0.6, 0.2)
    for pad in (True, False):
        image("non_max_suppression_padded", MANY, SCORES, most, 0.3, 0.2, pad_to_max_output_size=pad)
image("non_max_suppression", MANY, SCORES, np.int32(7))
image(
    "non_max_suppression_padded",
    np.stack([MANY, MANY[::-1]]),
    np.stack([SCORES, SCORES[::-1]]),
    9,
    0.3,
    0.2,
    pad_to_max_output_size=True,
    sorted_input=False,
    canonicalized_coordinates=True,
)
for classes in (1, 3):
    for pad, clip in ((True, True), (False, False)):
        image(
            "combined_non_max_suppression", np.stack([np.stack([MANY] * classes, 1)] * 2), pixels(2, 40, 3), 5, 9,
            score_threshold=0.3, pad_per_class=pad, clip_boxes=clip,
        )  # fmt: skip
image("draw_bounding_boxes", BATCH, np.stack([BOXES[:2], BOXES[1:]]))
image("draw_bounding_boxes", BATCH, np.stack([BOXES[:2], BOXES[1:]]), colors=np.array([[1, 0, 0.5]], np.float32))
image("draw_bounding_boxes", BATCH.astype(np.float16), np.stack([BOXES[:2], BOXES[1:]]))
for flags in (
    {},
    {"min_object_covered": 0.5, "aspect_ratio_range": [0.5, 2.0], "area_range": [0.2, 0.8], "max_attempts": 20},
):
    image("sample_distorted_bounding_box", [70, 90, 3], np.stack([np.clip(BOXES[:1], 0, 1)]), seed=5, **flags)
image(
    "sample_distorted_bounding_box",
    np.array([70, 90, 3], np.int32),
    np.zeros((0, 0, 4), np.float32),
    seed=5,
    use_image_if_no_bounding_boxes=True,
)

# Files


def files(of: str, value: np.ndarray, **attributes: Any) -> np.ndarray:
    """An image as a file's bytes."""
    with tf.Graph().as_default(), tf.Session() as session:
        return np.array(session.run(getattr(tf.image, of)(value, **attributes)), object)


def bmp(value: np.ndarray) -> np.ndarray:
    rows, columns, channels = value.shape
    width = -(-columns * channels // 4) * 4
    body = b"".join(row[..., ::-1].tobytes().ljust(width, b"\0") for row in value[::-1])
    sizes = [54 + len(body), 0, 54, 40, columns, rows]
    head = b"".join(n.to_bytes(4, "little") for n in sizes) + b"\1\0" + bytes([8 * channels, 0]) + bytes(24)
    return np.array(b"BM" + head + body, object)


def gif(value: np.ndarray) -> np.ndarray:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    frames = [Image.fromarray(each).quantize(16) for each in (value, value[::-1])]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return np.array(buffer.getvalue(), object)


def webp(value: np.ndarray) -> np.ndarray:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(value).save(buffer, "WEBP", lossless=True)
    return np.array(buffer.getvalue(), object)


LARGE = integers(20, 27, 3)
JPEG, PNG, BMP, GIF = files("encode_jpeg", LARGE), files("encode_png", LARGE), bmp(LARGE), gif(LARGE)
GREYS = files("encode_jpeg", LARGE[..., :1]), files("encode_png", LARGE[..., :1])
DEEP = files("encode_png", integers(9, 8, 4, dtype=np.uint16, most=65536))
NEAR: dict[str, Any] = {"rtol": 0.05}
"""For what TensorFlow decodes by a less exact transform, unless told otherwise."""
EXACT: dict[str, Any] = {"dct_method": "INTEGER_ACCURATE"}
for channels in (0, 1, 3, 4):
    for data in (JPEG, PNG, *GREYS, DEEP):
        bound = NEAR if data in (JPEG, GREYS[0]) else {}
        image("decode_image", data, channels, hidden=False, **bound)
        image("decode_png", data, channels, hidden=False, **bound)
        if channels != 4:
            image("decode_jpeg", data, channels, hidden=False, **EXACT)
    if channels in (0, 3):
        image("decode_bmp", BMP, channels, hidden=False)
        image("decode_image", BMP, channels, hidden=False)
        image("decode_image", GIF, channels, hidden=False)
        image("decode_image", GIF, channels, expand_animations=False, hidden=False)
image("decode_gif", GIF)
image("decode_webp", webp(LARGE))
image("decode_png", DEEP, dtype=tf.uint16)
image("decode_image", DEEP, dtype=tf.uint16)
image("decode_image", PNG, dtype=tf.float32)
for ratio in (2, 4, 8):
    image("decode_jpeg", JPEG, ratio=ratio, **EXACT)
image("decode_jpeg", JPEG, **NEAR)
image("decode_jpeg", JPEG, fancy_upscaling=False, rtol=0.1)
image("decode_and_crop_jpeg", JPEG, [2, 3, 10, 12], channels=3, **EXACT)
image("decode_and_crop_jpeg", JPEG, np.array([2, 3, 10, 12], np.int32), **EXACT)
image("decode_and_crop_jpeg", JPEG, np.array([2, 3, 30, 12], np.int32))
image("extract_jpeg_shape", JPEG)
image("extract_jpeg_shape", GREYS[0], tf.int64)
for data in (JPEG, PNG):
    image("is_jpeg", data)


def read_back(function: Any, *args: Any, **kwargs: Any) -> Any:
    data = function(*args, **kwargs)
    if function is tf.image.encode_png:
        return tf.image.decode_png(data, dtype=args[0].dtype)
    return tf.image.decode_jpeg(data, **EXACT)


image("encode_png", LARGE, use=read_back)
image("encode_png", LARGE[..., :2], use=read_back)
image("encode_png", integers(9, 8, 4, dtype=np.uint16, most=65536), compression=3, use=read_back)
image("encode_jpeg", LARGE[..., :1], use=read_back)
for quality in (95, 40):
    image("encode_jpeg", LARGE, quality=quality, use=read_back)
    image("adjust_jpeg_quality", LARGE, quality, **EXACT)
image("adjust_jpeg_quality", LARGE.astype(np.float32) / 255, 70, rtol=0.05, gradients=False)
image("random_jpeg_quality", LARGE, 40, 90, seed=3, **NEAR)


@pytest.mark.parametrize(("program", "options"), image.parameters())
def test_tf_image(program: Any, options: Any) -> None:
    agree(program, **options)


def test_every_function_of_tf_image_is_here() -> None:
    assert image.missing() == []
