"""Strings cut, joined, changed and measured: StringJoin, StringSplitV2, Substr, StringLower, DecodeBase64…

A string is `bytes`; only what names UTF-8 (an encoding, a unit) looks at characters.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphrack.ops._arguments import axis_of, scalar
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array

_NO_CONTINUATION = re.compile(rb"[^\x80-\xbf]")


def strings_of(values: Iterable[bytes], shape: tuple[int, ...]) -> Array:
    """An array of strings of that shape."""
    return np.array(list(values), object).reshape(shape)


def each(function: Callable[[bytes], bytes]) -> Callable[[Array], Array]:
    """The kernel that changes every string by a function."""
    return lambda input: strings_of(map(function, input.reshape(-1).tolist()), input.shape)


def string_of(name: str, value: Array) -> bytes:
    """The string that an input of rank 0 holds. Raises `ValueError` for another rank."""
    if value.ndim:
        raise ValueError(f"{name} must be a scalar, got shape {value.shape}")
    return value.item()  # type: ignore[no-any-return]


# ---- Joined ----


@specialized("StringJoin")
def StringJoin(*, separator: bytes = b"") -> Any:
    def string_join(*inputs: Array) -> Array:
        shape = next((one.shape for one in inputs if one.ndim), ())
        columns = []
        size = int(np.prod(shape, dtype=np.int64))
        for one in inputs:
            if one.ndim and one.shape != shape:
                raise ValueError(f"inputs must be scalars or have one shape, got {shape} and {one.shape}")
            columns.append(one.reshape(-1).tolist() if one.ndim else [one.item()] * size)
        return strings_of(map(separator.join, zip(*columns, strict=True)), shape)

    return string_join


@specialized("ReduceJoin")
def ReduceJoin(*, keep_dims: bool = False, separator: bytes = b"") -> Any:
    def reduce_join(inputs: Array, reduction_indices: Array) -> Array:
        axes = [axis_of(i, inputs.ndim, "reduction_indices") for i in reduction_indices.reshape(-1).tolist()]
        if not axes:
            return inputs
        if len(set(axes)) < len(axes):
            raise ValueError(f"reduction_indices must not name a dimension twice: {reduction_indices.tolist()}")
        kept = [axis for axis in range(inputs.ndim) if axis not in axes]
        count = int(np.prod([inputs.shape[axis] for axis in kept], dtype=np.int64))
        # The dimension named first is joined first: it varies fastest.
        moved = inputs.transpose(kept + axes[::-1])
        rows = moved.reshape(count, inputs.size // count if inputs.size else 0).tolist()
        shape = [1 if axis in axes else size for axis, size in enumerate(inputs.shape) if keep_dims or axis in kept]
        return strings_of(map(separator.join, rows), tuple(shape))

    return reduce_join


@specialized("UnsortedSegmentJoin")
def UnsortedSegmentJoin(*, separator: bytes = b"") -> Any:
    def unsorted_segment_join(inputs: Array, segment_ids: Array, num_segments: Array) -> Array:
        count = scalar("num_segments", num_segments)
        if count < 0 or inputs.shape[: segment_ids.ndim] != segment_ids.shape:
            raise ValueError(
                f"num_segments {count} must be at least 0 and the inputs' shape {inputs.shape} start with "
                f"that of segment_ids {segment_ids.shape}"
            )
        if segment_ids.size and not 0 <= segment_ids.min() <= segment_ids.max() < count:
            raise ValueError(f"segment_ids must be in [0, {count}), got {segment_ids.tolist()}")
        row = inputs.shape[segment_ids.ndim :]
        width = int(np.prod(row, dtype=np.int64))
        parts: list[list[bytes]] = [[] for _ in range(count * width)]
        ids = segment_ids.reshape(-1).tolist()
        for segment, strings in zip(ids, inputs.reshape(len(ids), width).tolist(), strict=True):
            for i, text in enumerate(strings):
                parts[segment * width + i].append(text)
        return strings_of(map(separator.join, parts), (count, *row))

    return unsorted_segment_join


# ---- Split ----


def _ragged(rows: list[list[bytes]]) -> tuple[Array, Array, Array]:
    """Rows of different lengths as a sparse tensor: indices, values, shape."""
    indices = [(row, i) for row, parts in enumerate(rows) for i in range(len(parts))]
    values = [part for parts in rows for part in parts]
    widest = max(map(len, rows), default=0)
    return (
        np.array(indices, np.int64).reshape(-1, 2),
        strings_of(values, (len(values),)),
        np.array([len(rows), widest], np.int64),
    )


def _rows(input: Array) -> list[bytes]:
    if input.ndim != 1:
        raise ValueError(f"input must be a vector, got shape {input.shape}")
    return input.tolist()  # type: ignore[no-any-return]


@specialized("StringSplit", outputs=3)
def StringSplit(*, skip_empty: bool = True) -> Any:
    """Every byte of the delimiter separates; an empty delimiter separates all bytes."""

    def parts(text: bytes, separators: re.Pattern[bytes] | None) -> list[bytes]:
        if separators is None:
            return [text[i : i + 1] for i in range(len(text))]
        if not text:
            return []
        found = separators.split(text)
        return [part for part in found if part] if skip_empty else found

    def string_split(input: Array, delimiter: Array) -> tuple[Array, Array, Array]:
        every = string_of("delimiter", delimiter)
        separators = re.compile(b"[" + re.escape(every) + b"]") if every else None
        return _ragged([parts(text, separators) for text in _rows(input)])

    return string_split


@specialized("StringSplitV2", outputs=3)
def StringSplitV2(*, maxsplit: int = -1) -> Any:
    def parts(text: bytes, separator: bytes) -> list[bytes]:
        if maxsplit == 0:
            return [text]
        if separator:
            return text.split(separator, maxsplit)
        found = text.split(None, maxsplit)
        # TensorFlow adds what is left after the last split, even when that is nothing.
        return [*found, b""] if len(found) == maxsplit else found

    def string_split(input: Array, sep: Array) -> tuple[Array, Array, Array]:
        separator = string_of("sep", sep)
        return _ragged([parts(text, separator) for text in _rows(input)])

    return string_split


# ---- Measured and cut ----


@specialized("StringLength")
def StringLength(*, unit: bytes = b"BYTE") -> Any:
    def length(text: bytes) -> int:
        return len(text) if unit == b"BYTE" else len(_NO_CONTINUATION.findall(text))

    return lambda input: np.array(list(map(length, input.reshape(-1).tolist())), np.int32).reshape(input.shape)


@specialized("Substr")
def Substr(*, unit: bytes = b"BYTE") -> Any:
    if unit not in (b"BYTE", b"UTF8_CHAR"):
        raise ValueError(f"unit must be BYTE or UTF8_CHAR, got {unit!r}")
    cut = _cut_bytes if unit == b"BYTE" else _cut_characters

    def substr(input: Array, pos: Array, len: Array) -> Array:
        if pos.shape != len.shape:
            raise ValueError(f"pos and len must have one shape, got {pos.shape} and {len.shape}")
        text, starts, counts = np.broadcast_arrays(input, pos, len)
        found = map(cut, text.reshape(-1), starts.reshape(-1).tolist(), counts.reshape(-1).tolist())
        return strings_of(found, text.shape)

    return substr


def _cut_bytes(text: bytes, start: int, count: int) -> bytes:
    if not -len(text) <= start <= len(text):
        raise ValueError(f"pos {start} is out of range for the string {text!r}")
    if start < 0:
        start += len(text)
    return text[start:] if count < 0 else text[start : start + count]


def _cut_characters(text: bytes, start: int, count: int) -> bytes:
    """As `_cut_bytes` in characters: a byte and the continuation bytes that follow it."""
    edges = [0, *(match.start() for match in _NO_CONTINUATION.finditer(text, 1))] if text else []
    if not -len(edges) <= start <= len(edges):
        raise ValueError(f"pos {start} is out of range for the {len(edges)} characters of {text!r}")
    if start < 0:
        if count < 0:  # for bytes that means the rest, for characters TensorFlow refuses it
            raise ValueError(f"len must be at least 0 where pos is negative, got {count} and {start}")
        start += len(edges)
    edges.append(len(text))
    return text[edges[start] : edges[min(start + max(count, 0), len(edges) - 1)]]


# ---- Changed ----


def _cased(encoding: bytes, of_bytes: Callable[[bytes], bytes], of_text: Callable[[str], str]) -> Any:
    if encoding == b"":
        return each(of_bytes)
    if encoding != b"utf-8":
        raise ValueError(f"encoding must be 'utf-8' or '' (bytes), got {encoding!r}")
    return each(lambda text: of_text(text.decode("utf-8", "replace")).encode())


@specialized("StringLower")
def StringLower(*, encoding: bytes = b"") -> Any:
    return _cased(encoding, bytes.lower, str.lower)


@specialized("StringUpper")
def StringUpper(*, encoding: bytes = b"") -> Any:
    return _cased(encoding, bytes.upper, str.upper)


@specialized("StringStrip")
def StringStrip() -> Any:
    return each(bytes.strip)


@specialized("EncodeBase64")
def EncodeBase64(*, pad: bool = False) -> Any:
    if pad:
        return each(base64.urlsafe_b64encode)
    return each(lambda text: base64.urlsafe_b64encode(text).rstrip(b"="))


@specialized("DecodeBase64")
def DecodeBase64() -> Any:
    return each(_decode_base64)


def _decode_base64(text: bytes) -> bytes:
    """Web-safe base64, padded to a multiple of 4 or not at all."""
    bare = re.fullmatch(rb"([A-Za-z0-9_-]*)(={0,2})", text)
    if not bare or len(bare[1]) % 4 == 1 or (bare[2] and len(text) % 4):
        raise ValueError(f"no web-safe base64 (A-Z a-z 0-9 - _, padded whole or not at all): {text[:80]!r}")
    return base64.urlsafe_b64decode(bare[1] + b"=" * (-len(bare[1]) % 4))


# ---- File names of a Saver ----


@op("ShardedFilename")
def ShardedFilename(basename: Array, shard: Array, num_shards: Array) -> Array:
    name = string_of("basename", basename)
    return strings_of([b"%s-%05d-of-%05d" % (name, scalar("shard", shard), scalar("num_shards", num_shards))], ())


@op("ShardedFilespec")
def ShardedFilespec(basename: Array, num_shards: Array) -> Array:
    name = string_of("basename", basename)
    return strings_of([b"%s-?????-of-%05d" % (name, scalar("num_shards", num_shards))], ())
