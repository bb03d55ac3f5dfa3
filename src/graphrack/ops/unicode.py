"""Unicode: strings in other encodings, code points, the scripts they belong to.

TensorFlow decodes by ICU's converters, this by Python's codecs. For UTF-8, UTF-16, UTF-32, ASCII and Latin-1 they give
the same, malformed input included; in the tables of some legacy encodings a few characters differ.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np

from graphrack.formats.dtypes import INT64, DType
from graphrack.ops.registry import specialized
from graphrack.ops.runtime import Array
from graphrack.ops.strings import strings_of

_LAST = 0x10FFFF
_REPLACEMENT = 0xFFFD
_CONTROL = 0x1F

# Malformed bytes are decoded to a lone surrogate that tells how many they were: no codec gives one otherwise.
_MARK = 0xDC00
_MARKS = range(_MARK, _MARK + 0x400)

# What has a state or no characters of its own; where a character begins can't be told.
_REFUSED = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf-7", "utf-8-sig", "hz")

Decoder = Callable[[bytes], Iterator[tuple[int, int, bool]]]
"""Gives each character as code point, number of bytes, and whether the bytes are malformed."""


def _marked(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return chr(_MARK + min(error.end - error.start, len(_MARKS) - 1)), error.end


codecs.register_error("graphrack.marked", _marked)


def _codec(name: bytes) -> str:
    text = name.decode("ascii", "replace")
    try:
        found = codecs.lookup(text)
        b"a".decode(text, "ignore")
    except (LookupError, UnicodeError):
        raise ValueError(f"input_encoding must be that of a text, got {text!r}") from None
    if found.name in _REFUSED or found.name.startswith("iso2022"):
        raise ValueError(f"input_encoding {text!r} can't be decoded character by character")
    return found.name


def _decoder(input_encoding: bytes) -> Decoder:
    name = _codec(input_encoding)
    wide = {"utf-16": 2, "utf-32": 4}.get(name)

    def width(character: str, encoding: str) -> int:
        if encoding == "utf-8":
            code = ord(character)
            return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
        return len(character.encode(encoding))

    def decode(data: bytes) -> Iterator[tuple[int, int, bool]]:
        encoding, skipped = name, 0
        if wide:  # a mark tells the order of bytes, else the highest is first
            encoding = name + "-be"
            for order, mark in (("-be", "\ufeff".encode(name + "-be")), ("-le", "\ufeff".encode(name + "-le"))):
                if data.startswith(mark):
                    encoding, data, skipped = name + order, data[len(mark) :], len(mark)
                    break
        for character in data.decode(encoding, "graphrack.marked"):
            code = ord(character)
            if code in _MARKS:
                yield _REPLACEMENT, code - _MARK + skipped, True
            else:
                yield code, width(character, encoding) + skipped, False
            skipped = 0

    return decode


class _Policy:
    """What becomes of characters that can't be read.

    Attributes:
        replacement: the code point for one, None where it is left out.
        strict: whether one is an error.
        control: whether control characters are treated as such.
    """

    def __init__(self, errors: bytes, replacement_char: int, control: bool = False):
        if errors not in (b"strict", b"replace", b"ignore"):
            raise ValueError(f"errors must be 'strict', 'replace' or 'ignore', got {errors!r}")
        if not 0 <= replacement_char <= _LAST:
            raise ValueError(f"replacement_char must be a code point up to {_LAST}, got {replacement_char}")
        self.replacement = None if errors == b"ignore" else replacement_char
        self.strict = errors == b"strict"
        self.control = control


def _encoder(output_encoding: bytes) -> Callable[[list[int]], bytes]:
    names = {b"UTF-8": "utf-8", b"UTF-16-BE": "utf-16-be", b"UTF-32-BE": "utf-32-be"}
    if output_encoding not in names:
        raise ValueError(f"output_encoding must be UTF-8, UTF-16-BE or UTF-32-BE, got {output_encoding!r}")
    name = names[output_encoding]
    if name == "utf-8":  # which has no half of a pair
        return lambda codes: "".join(map(chr, codes)).encode("utf-16-be", "surrogatepass").decode(
            "utf-16-be", "replace"
        ).encode()  # fmt: skip
    return lambda codes: "".join(map(chr, codes)).encode(name, "surrogatepass")


@specialized("UnicodeTranscode")
def UnicodeTranscode(
    *,
    input_encoding: bytes,
    output_encoding: bytes,
    errors: bytes = b"replace",
    replacement_char: int = _REPLACEMENT,
    replace_control_characters: bool = False,
) -> Any:
    policy = _Policy(errors, replacement_char, replace_control_characters)
    decode, encode = _decoder(input_encoding), _encoder(output_encoding)

    def transcoded(text: bytes) -> bytes:
        codes: list[int] = []
        for code, _, malformed in decode(text):
            if malformed or (policy.control and code <= _CONTROL):
                if policy.strict:
                    raise ValueError(f"a string is not valid {input_encoding.decode()}: {text[:40]!r}")
                if policy.replacement is not None:
                    codes.append(policy.replacement)
            else:
                codes.append(code)
        return encode(codes)

    def kernel(input: Array) -> Array:
        input = np.asarray(input, object)
        return strings_of(map(transcoded, input.reshape(-1).tolist()), input.shape)

    return kernel


def _decoding(
    input_encoding: bytes, errors: bytes, replacement_char: int, control: bool, Tsplits: DType, offsets: bool
) -> Any:
    policy = _Policy(errors, replacement_char, control)
    decode = _decoder(input_encoding)

    def kernel(input: Array) -> tuple[Array, ...]:
        splits, codes, starts = [0], [], []
        for text in np.asarray(input, object).reshape(-1).tolist():
            at = 0
            for code, width, malformed in decode(text):
                if malformed and policy.strict:
                    raise ValueError(f"a string is not valid {input_encoding.decode()}: {text[:40]!r}")
                replaced = malformed or (policy.control and code <= _CONTROL)
                if not replaced or policy.replacement is not None:
                    codes.append(policy.replacement if replaced else code)
                    starts.append(at)
                at += width
            splits.append(len(codes))
        rows, values = np.array(splits, Tsplits.numpy), np.array(codes, np.int32)
        return (rows, values, np.array(starts, np.int64)) if offsets else (rows, values)

    return kernel


@specialized("UnicodeDecode", outputs=2)
def UnicodeDecode(
    *,
    input_encoding: bytes,
    errors: bytes = b"replace",
    replacement_char: int = _REPLACEMENT,
    replace_control_characters: bool = False,
    Tsplits: DType = INT64,
) -> Any:
    return _decoding(input_encoding, errors, replacement_char, replace_control_characters, Tsplits, False)


@specialized("UnicodeDecodeWithOffsets", outputs=3)
def UnicodeDecodeWithOffsets(
    *,
    input_encoding: bytes,
    errors: bytes = b"replace",
    replacement_char: int = _REPLACEMENT,
    replace_control_characters: bool = False,
    Tsplits: DType = INT64,
) -> Any:
    return _decoding(input_encoding, errors, replacement_char, replace_control_characters, Tsplits, True)


@specialized("UnicodeEncode")
def UnicodeEncode(*, output_encoding: bytes, errors: bytes = b"replace", replacement_char: int = _REPLACEMENT) -> Any:
    policy = _Policy(errors, replacement_char)
    encode = _encoder(output_encoding)

    def kernel(input_values: Array, input_splits: Array) -> Array:
        ends = input_splits.tolist()
        if not ends or ends[0] != 0 or ends[-1] != len(input_values) or (np.diff(input_splits) < 0).any():
            raise ValueError(
                f"input_splits must rise from 0 to the number of values, {len(input_values)}; got {ends[:16]}"
            )
        good = (input_values >= 0) & (input_values <= _LAST) & ~((input_values >= 0xD800) & (input_values < 0xE000))
        if policy.strict and not good.all():
            raise ValueError(f"{input_values[~good][0]} is no code point that can be encoded")
        codes = np.where(good, input_values, -1 if policy.replacement is None else policy.replacement).tolist()
        rows = ([c for c in codes[a:b] if c >= 0] for a, b in pairwise(ends))
        return strings_of(map(encode, rows), (len(ends) - 1,))

    return kernel


@cache
def _scripts() -> tuple[Array, Array]:
    """First code points of runs of one script, and the scripts."""
    raw = zlib.decompress((files("graphrack.ops") / "unicode_scripts.bin.z").read_bytes())
    count = len(raw) // 5
    return np.cumsum(np.frombuffer(raw, "<u4", count)), np.frombuffer(raw, np.uint8, count, 4 * count).astype(np.int32)


@specialized("UnicodeScript")
def UnicodeScript() -> Any:
    """The script of each code point, a number of ICU's `UScriptCode`; -1 for what is no code point."""
    starts, scripts = _scripts()

    def kernel(input: Array) -> Any:
        inside = (input >= 0) & (input <= _LAST)
        found = scripts[np.searchsorted(starts, np.where(inside, input, 0), "right") - 1]
        return np.where(inside, found, np.int32(-1))

    return kernel
