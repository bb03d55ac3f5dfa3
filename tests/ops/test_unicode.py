"""Unicode ops against TensorFlow: encodings, malformed input, scripts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check

ENCODINGS = ("UTF-8", "utf8", "UTF-16-BE", "UTF-16-LE", "UTF-16", "UTF-32-BE", "UTF-32", "latin1", "US-ASCII")
ODD = [
    b"a\xffb", b"\xe2\x82", b"\xe2\x28\xa1", b"\xf0\x9f\x98\x80x", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80",
    b"a\x01\xef\xbf\xbd\xef\xb7\x90", b"\xf0\x9f\x98", b"", b"\xef\xbb\xbfa", b"\xff\xfea\x00", b"\xfe\xff\x00a",
    b"\x00\x00\xfe\xff\x00\x00\x00a", b"\xd8\x3d\xde\x00\x00\x41", b"\xd8\x3d\x00a", b"\xdc\x00\x00a",
    b"\x00\x00\xd8\x00\x00\x11\x00\x00", b"\x00\x01\xf6\x00",
]  # fmt: skip


def _strings() -> Any:
    random = np.random.default_rng(0)
    pieces = list(b"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xd8\x3d\xde\x00\xff\xfe")
    made = [bytes(random.choice(pieces, random.integers(0, 12)).astype(np.uint8)) for _ in range(150)]
    # A lone byte order mark is decoded by TensorFlow to a number that is no character.
    return np.array(ODD + [text for text in made if text not in (b"\xff\xfe", b"\xfe\xff")], object)


STRINGS = _strings()


@pytest.mark.parametrize("errors", ["replace", "ignore", "strict"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_decoding_agrees(encoding: str, errors: str) -> None:
    # TensorFlow's converter takes over the order of bytes from one string of a batch to the next.
    marked = [text for text in STRINGS if text.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"))]
    alone = marked if encoding in ("UTF-16", "UTF-32") else []
    batch = np.array([text for text in STRINGS if text not in alone], object)
    ones = [np.array(text, object) for text in (b"abc", *alone)]
    for text in (batch, np.zeros((0, 2), object), *ones):
        for control in (False, True):
            given = {"input": text, "input_encoding": encoding, "errors": errors, "replacement_char": 63,
                     "replace_control_characters": control}  # fmt: skip
            check("UnicodeDecode", **given, Tsplits=tf.int32 if control else tf.int64)
            check("UnicodeDecodeWithOffsets", **given)
            for output in ("UTF-8", "UTF-16-BE", "UTF-32-BE"):
                check("UnicodeTranscode", **given, output_encoding=output)


def test_half_a_pair_replaces_characters() -> None:
    for output in ("UTF-8", "UTF-16-BE", "UTF-32-BE"):
        check(
            "UnicodeTranscode", input=STRINGS, input_encoding="UTF-8", output_encoding=output, replacement_char=0xD800
        )


@pytest.mark.parametrize("encoding", ["nosuch", "base64"])
def test_unknown_encodings_are_refused(encoding: str) -> None:
    check("UnicodeDecode", input=STRINGS, input_encoding=encoding, refused=True)


@pytest.mark.parametrize("errors", ["replace", "ignore", "strict"])
@pytest.mark.parametrize("output", ["UTF-8", "UTF-16-BE", "UTF-32-BE"])
def test_encoding_agrees(output: str, errors: str) -> None:
    good, bad = [97, 0x1F600, 0xFDD0, 0, 0xFFFD], [97, 0xD800, 0x110000, -1]
    for values, splits in (
        (good, [0, 2, 5]), (bad, [0, 1, 4]), ([97, 98], [0, 1]), ([97, 98], [1, 2]), ([97, 98], [0, 2, 1, 2]),
        ([], [0]), ([97], [0, 0, 0, 1, 1]),
    ):  # fmt: skip
        check(
            "UnicodeEncode", input_values=np.array(values, np.int32), input_splits=np.array(splits),
            output_encoding=output, errors=errors, replacement_char=63,
        )  # fmt: skip


def test_scripts_of_all_code_points_agree() -> None:
    check("UnicodeScript", input=np.arange(0x110000, dtype=np.int32).reshape(16, -1))
    check("UnicodeScript", input=np.array([-1, 0x110000, 2**31 - 1], np.int32))
    check("UnicodeScript", input=np.int32(0x4E00))
