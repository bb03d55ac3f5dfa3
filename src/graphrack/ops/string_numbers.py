"""Between strings and numbers: StringToNumber, AsString, StringFormat, DecodeRaw, DecodePaddedRaw."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.formats.dtypes import FLOAT, DType
from graphrack.ops._arguments import scalar
from graphrack.ops.registry import specialized
from graphrack.ops.runtime import Array
from graphrack.ops.strings import strings_of

# TensorFlow writes any width; a graph of a few bytes must not fill the memory.
_MOST_TEXT = 1 << 28

_SPACE = b" \t\n\v\f\r"
_DECIMAL = re.compile(rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|infinity)", re.IGNORECASE)
_HEXADECIMAL = re.compile(rb"[+-]?0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)([pP][+-]?\d+)?")
_NAN = re.compile(rb"[+-]?nan(\(\w*\))?", re.IGNORECASE)


@specialized("StringToNumber")
def StringToNumber(*, out_type: DType = FLOAT) -> Any:
    dtype = out_type.numpy
    read: Callable[[bytes], float] = _read_float
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        form = re.compile(rb"[+-]?\d+" if dtype.kind == "i" else rb"\+?\d+")

        def read(text: bytes) -> float:
            found = form.fullmatch(text)
            # Longer ones are out of range, and Python refuses to read them from some length on.
            digits = text.lstrip(b"+-").lstrip(b"0") or b"0"
            number = int(digits) if found and len(digits) <= 20 else None
            if number and text.startswith(b"-"):
                number = -number
            if number is None or not info.min <= number <= info.max:
                raise ValueError(f"no {dtype}: {text[:80]!r}")
            return number

    def string_to_number(string_tensor: Array) -> Array:
        found = [read(text.strip(_SPACE)) for text in string_tensor.reshape(-1).tolist()]
        return np.array(found, dtype).reshape(string_tensor.shape)

    return string_to_number


def _read_float(text: bytes) -> float:
    """A number as C's strtod reads it, no more and no less than one."""
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _NAN.fullmatch(text):
        return float("nan")
    if _HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(text.decode())
        except OverflowError:
            return float("-inf") if text.startswith(b"-") else float("inf")
    raise ValueError(f"no number: {text[:80]!r}")


# ---- Formatted ----


@specialized("AsString")
def AsString(
    *,
    T: DType,
    precision: int = -1,
    scientific: bool = False,
    shortest: bool = False,
    width: int = -1,
    fill: bytes = b"",
) -> Any:
    """Numbers as C's printf writes them; at most 256 MiB of them by `width` or `precision`."""
    kind = T.numpy.kind
    if len(fill) > 1 or fill not in b" +-0":
        raise ValueError(f"fill must be empty or one of ' ', '+', '-', '0', got {fill!r}")
    if scientific and shortest:
        raise ValueError("scientific and shortest exclude each other")
    if kind in "iub" and (scientific or shortest or precision > -1):
        raise ValueError(f"precision, scientific and shortest have no meaning for {T}")

    def layout(flags: bytes) -> str:
        return "%" + flags.decode() + (str(width) if width > 0 else "") + (f".{precision}" if precision > -1 else "")

    least = max(width, precision, 0)
    if kind == "b":
        return _formatted(lambda value: "true" if value else "false", 0)
    if kind in "iu":
        number = layout(b"" if kind == "u" and fill in (b" ", b"+") else fill) + "d"
        return _formatted(lambda value: number % value, least)
    if T.is_string:
        flags = b"" if fill == b"0" else fill
        if width <= 0 and not fill:  # TensorFlow then doesn't format at all
            return lambda input: input
        text = layout(flags).encode() + b"s"

        def pad(input: Array) -> Array:
            _check_length(max(width, 0), input.size)
            return strings_of((text % value for value in input.reshape(-1).tolist()), input.shape)

        return pad
    letter = "e" if scientific else "g" if shortest else "f"
    finite, other = layout(fill) + letter, layout(b"" if fill == b"0" else fill) + letter

    def write(value: float) -> str:
        if value != value and math.copysign(1, value) < 0:  # Python shows no sign of NaN, C does
            return (other % float("-inf")).replace("inf", "nan")
        return (finite if abs(value) < float("inf") else other) % value

    if kind == "c":
        return _formatted(lambda value: f"({write(value.real)},{write(value.imag)})", 2 * least)
    return _formatted(write, least)


def _check_length(each: int, count: int) -> None:
    if each * count > _MOST_TEXT:
        raise ValueError(
            f"{count} strings of at least {each} bytes each, by width or precision, are more than {_MOST_TEXT} bytes"
        )


def _formatted(write: Callable[[Any], str], least: int) -> Callable[[Array], Array]:
    """The kernel that writes each number; each takes at least so many bytes."""

    def kernel(input: Array) -> Array:
        _check_length(least, input.size)
        # bfloat16's items are no Python numbers.
        values = input.astype(np.float32) if input.dtype.kind == "V" else input
        return strings_of((write(value).encode() for value in values.reshape(-1).tolist()), input.shape)

    return kernel


@specialized("StringFormat")
def StringFormat(*, template: bytes = b"%s", placeholder: bytes = b"%s", summarize: int = 3) -> Any:
    pieces = template.split(placeholder)

    def string_format(*inputs: Array) -> Array:
        if len(pieces) != len(inputs) + 1:
            raise ValueError(
                f"template {template!r} has {len(pieces) - 1} placeholders {placeholder!r} for {len(inputs)} inputs"
            )
        text = pieces[0]
        for value, piece in zip(inputs, pieces[1:], strict=True):
            text += summary(value, summarize) + piece
        return strings_of([text], ())

    return string_format


def summary(value: Array, summarize: int) -> bytes:
    """An array as TensorFlow prints it: the first and last `summarize` entries of each dimension.

    Negative: all of them.
    """
    value = np.asarray(value)
    ends = value.size if summarize < 0 else min(summarize, value.size)
    write = writer(value.dtype)
    rank = value.ndim

    # Where nothing is to be shown, TensorFlow prints nothing of booleans.
    if not ends and value.dtype.kind == "b":
        return b""
    if not rank and not ends:
        return b"..."

    def lines(part: Array, depth: int) -> str:
        if depth == rank:
            return write(part.item())
        gap = " " if depth == rank - 1 else "\n" * (rank - 1 - depth) + " " * (depth + 1)
        size = len(part)
        if size > 2 * ends:
            shown = [lines(part[i, ...], depth + 1) for i in range(ends)]
            tail = [lines(part[i, ...], depth + 1) for i in range(size - ends, size)]
            return "[" + gap.join(shown) + gap + gap.join(["...", *tail]) + "]"
        return "[" + gap.join(lines(row[...], depth + 1) for row in _rows(part)) + "]"

    return lines(value, 0).encode("latin-1")


def _rows(part: Array) -> list[Array]:
    return [part[i, ...] for i in range(len(part))]


def writer(dtype: np.dtype[Any]) -> Callable[[Any], str]:
    """How TensorFlow prints one value of a dtype; strings come in quotes."""
    if dtype.hasobject:
        return lambda text: '"' + "".join(map(_escaped, text)) + '"'
    if dtype.kind == "c":
        return lambda value: "?"  # TensorFlow has no form for them
    if dtype.kind in "fV" and not dtype.names:
        short, full = (15, 17) if dtype.itemsize == 8 else (6, 9)
        kept = dtype if dtype.itemsize == 8 else np.dtype(np.float32)

        def write(value: Any) -> str:
            text = f"{float(value):.{short}g}"
            exact = kept.type(text) == kept.type(value) or value != value
            return text if exact else f"{float(value):.{full}g}"

        return write
    return lambda value: str(int(value[0] if dtype.names else value))


_ESCAPES = {ord(char): f"\\{letter}" for char, letter in zip("\n\r\t\"'\\", "nrt\"'\\", strict=True)}


def _escaped(byte: int) -> str:
    """A byte as in a C string literal; what may be part of UTF-8 stays as it is."""
    return _ESCAPES.get(byte) or (f"\\{byte:03o}" if byte < 0x20 or byte == 0x7F else chr(byte))


# ---- Raw bytes ----


@specialized("DecodeRaw")
def DecodeRaw(*, out_type: DType, little_endian: bool = True) -> Any:
    dtype = out_type.numpy

    def decode_raw(bytes: Array) -> Any:
        rows = bytes.reshape(-1).tolist()
        size = len(rows[0]) if rows else 0
        for row in rows:
            if len(row) != size:
                raise ValueError(f"strings must have one length, got {size} and {len(row)} bytes")
        if size % dtype.itemsize:
            raise ValueError(f"{size} bytes are no multiple of {dtype.itemsize}, the size of {out_type}")
        return _from_bytes(
            np.frombuffer(b"".join(rows), np.uint8), (*bytes.shape, size // dtype.itemsize), dtype, little_endian
        )

    return decode_raw


@specialized("DecodePaddedRaw")
def DecodePaddedRaw(*, out_type: DType, little_endian: bool = True) -> Any:
    dtype = out_type.numpy

    def decode_padded_raw(input_bytes: Array, fixed_length: Array) -> Any:
        size = scalar("fixed_length", fixed_length)
        if size <= 0 or size % dtype.itemsize:
            raise ValueError(
                f"fixed_length must be a positive multiple of {dtype.itemsize}, the size of {out_type}, got {size}"
            )
        padded = np.zeros((input_bytes.size, size), np.uint8)
        for row, text in zip(padded, input_bytes.reshape(-1).tolist(), strict=True):
            row[: len(text)] = np.frombuffer(text[:size], np.uint8)
        return _from_bytes(padded.reshape(-1), (*input_bytes.shape, size // dtype.itemsize), dtype, little_endian)

    return decode_padded_raw


def _from_bytes(joined: Array, shape: tuple[int, ...], dtype: np.dtype[Any], little_endian: bool) -> Any:
    if dtype.kind == "b":
        return (joined != 0).reshape(shape)
    if not little_endian:
        # Complex numbers are two floats, each with its own bytes in order.
        part = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
        joined = np.ascontiguousarray(joined.reshape(-1, part)[:, ::-1]).reshape(-1)
    return np.reshape(joined.view(dtype), shape)
