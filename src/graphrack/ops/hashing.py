"""Hashes of strings: StringToHashBucket*, Fingerprint.

What a model learned for a bucket is lost when its number changes, so these are TensorFlow's functions bit
by bit: FarmHash's Fingerprint64, SipHash-2-4 (Aumasson and Bernstein, 2012), and the variant of
MurmurHash64A that the oldest op uses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array

_MASK = (1 << 64) - 1

REMEMBERED = 1 << 14
"""Hashes of short strings, and of pairs, that are kept: the values of a feature come again and again."""

# ---- FarmHash's Fingerprint64 ----

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_fetch32 = struct.Struct("<I").unpack_from
_fetch64 = struct.Struct("<Q").unpack_from


def _rotate(value: int, shift: int) -> int:
    """A 64-bit word turned to the right."""
    return ((value >> shift) | (value << (64 - shift))) & _MASK


def _mix(value: int) -> int:
    return value ^ (value >> 47)


def _combine(u: int, v: int, factor: int) -> int:
    a = _mix(((u ^ v) * factor) & _MASK)
    return (_mix(((v ^ a) * factor) & _MASK) * factor) & _MASK


def _weak(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """A weak hash of 32 bytes and two seeds."""
    w, x, y, z = struct.unpack_from("<4Q", data, at)
    a = (a + w) & _MASK
    b = _rotate((b + a + z) & _MASK, 21)
    c = a
    a = (a + x + y) & _MASK
    return (a + z) & _MASK, (b + _rotate(a, 44) + c) & _MASK


def fingerprint64(data: bytes) -> int:
    """FarmHash's Fingerprint64: 64 bits, the same on every machine and for ever."""
    return _long_fingerprint(data) if len(data) > 64 else _short_fingerprint(data)


@lru_cache(maxsize=REMEMBERED)
def _short_fingerprint(data: bytes) -> int:
    size = len(data)

    def word(at: int) -> int:
        return _fetch64(data, at)[0]  # type: ignore[no-any-return]

    factor = (_K2 + size * 2) & _MASK
    if size > 32:
        a, b = word(0) * _K2, word(8)
        c, d = word(size - 8) * factor, word(size - 16) * _K2
        y = _rotate((a + b) & _MASK, 43) + _rotate(c & _MASK, 30) + d
        z = _combine(y & _MASK, (a + _rotate((b + _K2) & _MASK, 18) + c) & _MASK, factor)
        e, f = word(16) * factor, word(24)
        g, h = (y + word(size - 32)) * factor, (z + word(size - 24)) * factor
        return _combine(
            (_rotate((e + f) & _MASK, 43) + _rotate(g & _MASK, 30) + h) & _MASK,
            (e + _rotate((f + a) & _MASK, 18) + g) & _MASK,
            factor,
        )
    if size > 16:
        a, b = word(0) * _K1, word(8)
        c, d = word(size - 8) * factor, word(size - 16) * _K2
        return _combine(
            (_rotate((a + b) & _MASK, 43) + _rotate(c & _MASK, 30) + d) & _MASK,
            (a + _rotate((b + _K2) & _MASK, 18) + c) & _MASK,
            factor,
        )
    if size >= 8:
        a, b = (word(0) + _K2) & _MASK, word(size - 8)
        c = (_rotate(b, 37) * factor + a) & _MASK
        d = ((_rotate(a, 25) + b) * factor) & _MASK
        return _combine(c, d, factor)
    if size >= 4:
        return _combine(size + (_fetch32(data, 0)[0] << 3), _fetch32(data, size - 4)[0], factor)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return (_mix((y * _K2 & _MASK) ^ (z * _K0 & _MASK)) * _K2) & _MASK
    return _K2


def _long_fingerprint(data: bytes) -> int:
    size = len(data)

    def word(at: int) -> int:
        return _fetch64(data, at)[0]  # type: ignore[no-any-return]

    x = 81
    y = (81 * _K1 + 113) & _MASK
    z = (_mix((y * _K2 + 113) & _MASK) * _K2) & _MASK
    v, w = (0, 0), (0, 0)
    x = (x * _K2 + word(0)) & _MASK

    def step(at: int, factor: int, second: int, first: int) -> None:
        """One block of 64 bytes; the last one uses another factor and weights."""
        nonlocal x, y, z, v, w
        x = (_rotate((x + y + v[0] + word(at + 8)) & _MASK, 37) * factor) & _MASK
        y = (_rotate((y + v[1] + word(at + 48)) & _MASK, 42) * factor) & _MASK
        x ^= (w[1] * second) & _MASK
        y = (y + v[0] * first + word(at + 40)) & _MASK
        z = (_rotate((z + w[0]) & _MASK, 33) * factor) & _MASK
        v = _weak(data, at, (v[1] * factor) & _MASK, (x + w[0]) & _MASK)
        w = _weak(data, at + 32, (z + w[1]) & _MASK, (y + word(at + 16)) & _MASK)
        z, x = x, z

    for at in range(0, (size - 1) // 64 * 64, 64):
        step(at, _K1, 1, 1)
    factor = _K1 + ((z & 0xFF) << 1)
    w = ((w[0] + ((size - 1) & 63)) & _MASK, w[1])
    v = ((v[0] + w[0]) & _MASK, v[1])
    w = ((w[0] + v[0]) & _MASK, w[1])
    step(size - 64, factor, 9, 9)
    return _combine(
        (_combine(v[0], w[0], factor) + _mix(y) * _K0 + z) & _MASK,
        (_combine(v[1], w[1], factor) + x) & _MASK,
        factor,
    )


# ---- The other two ----


def hash64(data: bytes) -> int:
    """TensorFlow's `Hash64` with its default seed: MurmurHash64A."""
    factor = 0xC6A4A7935BD1E995
    size = len(data)
    whole = size & ~7
    h = 0xDECAFCAFFE ^ (size * factor & _MASK)
    for (k,) in struct.iter_unpack("<Q", data[:whole]):
        k = k * factor & _MASK
        k = (k ^ (k >> 47)) * factor & _MASK
        h = (h ^ k) * factor & _MASK
    if whole < size:
        h = (h ^ int.from_bytes(data[whole:], "little")) * factor & _MASK
    h = (h ^ (h >> 47)) * factor & _MASK
    return h ^ (h >> 47)


def siphash(key: tuple[int, int], data: bytes) -> int:
    """SipHash-2-4 under two 64-bit keys."""
    a, b = key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D
    c, d = key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573

    def rounds(count: int) -> None:
        nonlocal a, b, c, d
        for _ in range(count):
            a = (a + b) & _MASK
            c = (c + d) & _MASK
            b = _rotate(b, 51) ^ a
            d = _rotate(d, 48) ^ c
            a = _rotate(a, 32)
            c = (c + b) & _MASK
            a = (a + d) & _MASK
            b = _rotate(b, 47) ^ c
            d = _rotate(d, 43) ^ a
            c = _rotate(c, 32)

    whole = len(data) & ~7
    last = int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56
    for (word,) in (*struct.iter_unpack("<Q", data[:whole]), (last,)):
        d ^= word
        rounds(2)
        a ^= word
    c ^= 0xFF
    rounds(4)
    return a ^ b ^ c ^ d


# ---- Ops ----


def _buckets(num_buckets: int, function: Callable[[bytes], int]) -> Any:
    if num_buckets < 1:
        raise ValueError(f"num_buckets must be at least 1, got {num_buckets}")

    def kernel(strings: Array) -> Array:
        found = [function(text) % num_buckets for text in strings.reshape(-1).tolist()]
        return np.array(found, np.int64).reshape(strings.shape)

    return kernel


@specialized("StringToHashBucketFast")
def StringToHashBucketFast(*, num_buckets: int) -> Any:
    return _buckets(num_buckets, fingerprint64)


@specialized("StringToHashBucket")
def StringToHashBucket(*, num_buckets: int) -> Any:
    return _buckets(num_buckets, hash64)


@specialized("StringToHashBucketStrong")
def StringToHashBucketStrong(*, num_buckets: int, key: list[int]) -> Any:
    if len(key) != 2:
        raise ValueError(f"key must hold 2 numbers, got {key}")
    words = key[0] & _MASK, key[1] & _MASK
    return _buckets(num_buckets, lambda text: siphash(words, text))


@op("Fingerprint")
def Fingerprint(data: Array, method: Array) -> Array:
    """The FarmHash fingerprint of each row, as 8 bytes, the lowest first."""
    name = np.asarray(method).item()
    if name != b"farmhash64":
        raise ValueError(f"method must be b'farmhash64', got {name!r}")
    if not data.ndim:
        raise ValueError("data must have at least one dimension, got a scalar")
    rows = data.reshape((len(data), -1)) if data.size else data[:, ...]
    if data.dtype.hasobject:
        single = rows.ndim == 2 and rows.shape[1] == 1
        found = [
            fingerprint64(row[0])
            if single
            else fingerprint64(b"".join(struct.pack("<Q", fingerprint64(text)) for text in row))
            for row in (rows.tolist() if data.size else [[]] * len(data))
        ]
    else:
        found = [fingerprint64(row.tobytes()) for row in rows]
    return np.array(found, "<u8").view(np.uint8).reshape(len(data), 8)
