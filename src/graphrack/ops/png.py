"""Writes PNG files (ISO/IEC 15948), which are little more than rows compressed by zlib.

Pillow reads them but can't write 16-bit colours, and summaries of images need nothing else of it.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from graphrack.ops.runtime import Array

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey and alpha, RGB, RGBA
_SUB = 1  # the filter that stores each byte's difference from the pixel to its left


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def encode(image: Array, compression: int = -1) -> bytes:
    """A PNG file of an image.

    Attributes:
        image: uint8 or uint16 of shape [height, width, 1 to 4 channels], neither size 0.
        compression: zlib's level, 0 to 9, or -1 for its default.
    """
    height, width, channels = image.shape
    bits = 8 * image.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[channels], 0, 0, 0)
    rows: Any = np.ascontiguousarray(image.astype(image.dtype.newbyteorder(">"), copy=False))
    rows = rows.view(np.uint8).reshape(height, -1)
    pixel = channels * image.dtype.itemsize
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _SUB
    filtered[:, 1 : 1 + pixel] = rows[:, :pixel]
    np.subtract(rows[:, pixel:], rows[:, :-pixel], out=filtered[:, 1 + pixel :])
    content = zlib.compress(filtered.tobytes(), compression)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")
