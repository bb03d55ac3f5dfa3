"""TensorFlow's random numbers: Philox 4x32-10, and the distributions that its CPU kernels draw from it.

Philox ("Parallel Random Numbers: As Easy as 1, 2, 3", Salmon et al., 2011) is a function from a key
(64 bits) and a counter (128 bits) to a block of four 32-bit words. A random op's generator is a key and
a counter that moves on from run to run:

    key      the graph's seed (attribute `seed`)
    counter  low 64 bits: 0, high 64 bits: the op's seed (`seed2`)

A run takes what the generator's counter is, moves it on by more blocks than it can need (256 for each
output), and fills its output in groups, group `i` from counter + i * (blocks reserved for a group). So
the numbers don't depend on how work is split among threads, and any group can be computed by itself.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graphrack.formats import dtypes
from graphrack.formats.dtypes import DType

Array = np.ndarray[Any, Any]
_T = TypeVar("_T")

_MASK32, _MASK64, _MASK128 = (1 << 32) - 1, (1 << 64) - 1, (1 << 128) - 1

# Philox's constants: two multipliers, and the two steps by which the key grows from round to round.
_MULTIPLY_0, _MULTIPLY_2 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_MULTIPLIERS = np.array([[_MULTIPLY_0], [_MULTIPLY_2]], np.uint64)
_HIGH = 1 if sys.byteorder == "little" else 0  # which 32 bits of 64 come later

RESERVED = 256
"""Blocks that TensorFlow reserves for each output of a random op."""

_CHUNK = 1 << 13  # blocks computed at a time: their eight work arrays stay in the processor's cache
_FEW = 6  # below this many blocks Python's integers are faster than NumPy's calls
_AHEAD = 1 << 9  # blocks that are made at most of what later runs will ask for


def philox(key: int, counter: int) -> tuple[int, int, int, int]:
    """One block of four 32-bit words for a key of 64 bits and a counter of 128."""
    k0, k1 = key & _MASK32, key >> 32
    c0, c1, c2, c3 = (counter >> shift & _MASK32 for shift in (0, 32, 64, 96))
    for _ in range(_ROUNDS):
        p0, p2 = c0 * _MULTIPLY_0, c2 * _MULTIPLY_2
        c0, c1, c2, c3 = p2 >> 32 ^ c1 ^ k0, p2 & _MASK32, p0 >> 32 ^ c3 ^ k1, p0 & _MASK32
        k0, k1 = k0 + _WEYL_0 & _MASK32, k1 + _WEYL_1 & _MASK32
    return c0, c1, c2, c3


def _philox_many(key: int, low: Array, high: Array | np.uint64) -> Array:
    """Blocks for many counters, given as their low and high 64 bits (uint64); uint32 of (n, 4)."""
    # Words 0 and 2, which a round multiplies, go through it as one array, words 1 and 3 as another. A product's halves
    # are looked at as they lie in memory, which saves shifting and masking: a third of the calls, half of the time.
    even, odd = np.empty((2, low.size), np.uint64), np.empty((2, low.size), np.uint32)
    even[0], odd[0] = low & np.uint64(_MASK32), low >> np.uint64(32)
    even[1], odd[1] = high & np.uint64(_MASK32), high >> np.uint64(32)
    products = np.empty_like(even), np.empty_like(even)
    for i, keys in enumerate(_round_keys(key)):
        product = products[i % 2]
        np.multiply(even, _MULTIPLIERS, out=product)
        halves = product.view(np.uint32).reshape(2, low.size, 2)[::-1]
        np.bitwise_xor(halves[:, :, _HIGH], odd, out=even)
        np.bitwise_xor(even, keys, out=even)
        odd = halves[:, :, 1 - _HIGH]
    blocks = np.empty((low.size, 4), np.uint32)
    blocks[:, 0::2] = even.T
    blocks[:, 1::2] = odd.T
    return blocks


@lru_cache(maxsize=256)
def _round_keys(key: int) -> Array:
    """What each round mixes in: uint64 of (rounds, 2, 1)."""
    k0, k1 = key & _MASK32, key >> 32
    keys = [(k0 + i * _WEYL_0 & _MASK32, k1 + i * _WEYL_1 & _MASK32) for i in range(_ROUNDS)]
    return np.array(keys, np.uint64)[:, :, None]


class Stream(NamedTuple):
    """Where a generator stands: what it gives next is the block of `key` and `counter`.

    Attributes:
        key: 64 bits.
        counter: 128 bits.
    """

    key: int
    counter: int

    def skip(self, blocks: int) -> Stream:
        """The stream that many blocks on."""
        return Stream(self.key, self.counter + blocks & _MASK128)

    def blocks(self, count: int) -> Array:
        """The next blocks: uint32 of shape (count, 4)."""
        if count <= _FEW:
            few = [philox(self.key, self.counter + i & _MASK128) for i in range(count)]
            return np.array(few, np.uint32).reshape(count, 4)
        return self.blocks_at(np.arange(count, dtype=np.uint64))

    def blocks_at(self, offsets: Array) -> Array:
        """The blocks at these offsets from here (uint64 of (n,)): uint32 of shape (n, 4)."""
        start = np.uint64(self.counter & _MASK64)
        high = self.counter >> 64
        low = offsets + start
        if not offsets.size or int(offsets.max()) + int(start) <= _MASK64:
            return _philox_many(self.key, low, np.uint64(high))
        carry = (low < start).astype(np.uint64)  # the low half wrapped
        return _philox_many(self.key, low, carry + np.uint64(high))

    def words(self, count: int) -> Array:
        """The next 32-bit words, one by one: uint32 of shape (count,)."""
        out = np.empty(count, np.uint32)
        step = 4 * _CHUNK
        for start in range(0, count, step):
            size = min(step, count - start)
            out[start : start + size] = self.skip(start // 4).blocks(-(-size // 4)).ravel()[:size]
        return out


def seeded(seed: int, seed2: int) -> Stream:
    """The stream of a kernel with these attributes; one from the system's entropy where both are 0."""
    if seed == 0 and seed2 == 0:
        return Stream(int.from_bytes(os.urandom(8), "little"), int.from_bytes(os.urandom(8), "little") << 64)
    return Stream(seed & _MASK64, (seed2 & _MASK64) << 64)


def scrambled(seed: Array) -> Stream:
    """The stream of a stateless op for its `seed`, two ints that are mixed by Philox itself.

    Raises:
        ValueError: the seed is not of shape [2].
    """
    if seed.shape != (2,):
        raise ValueError(f"seed must have shape [2], found {list(seed.shape)}")
    first, second = int(seed[0]) & _MASK64, int(seed[1]) & _MASK64
    mixed = philox(0x02461E293EC8F720, second << 64 | first)
    return Stream(mixed[0] | mixed[1] << 32, mixed[2] << 64 | mixed[3] << 96)


class Distribution(NamedTuple):
    """What a block of Philox becomes.

    Attributes:
        dtype: of the numbers.
        width: how many numbers a group has: 4, or 2 where a number takes 64 bits.
        draw: uint32 of (n, 4) to (n, width) numbers. May write into its argument.
        within: groups hold only numbers of smaller magnitude: those that are not are drawn again
            from the following blocks, of which each group then has `width` * 64 to itself.
    """

    dtype: np.dtype[Any]
    width: int
    draw: Callable[[Array], Array]
    within: float | None = None

    def groups(self, shape: tuple[int, ...]) -> int:
        """How many groups fill an array of that shape."""
        return -(-math.prod(shape) // self.width)

    def fill(self, stream: Stream, shape: tuple[int, ...]) -> Array:
        """An array of that shape, filled as TensorFlow's `FillPhiloxRandom` does."""
        size, groups = math.prod(shape), self.groups(shape)
        if self.within is None and groups <= _CHUNK:
            numbers = self.draw(stream.blocks(groups)).reshape(-1)
            return np.ascontiguousarray(numbers[:size]).reshape(shape)
        out = np.empty(size, self.dtype)
        for start in range(0, groups, _CHUNK):
            count = min(_CHUNK, groups - start)
            if self.within is None:
                numbers = self.draw(stream.skip(start).blocks(count))
            else:
                numbers = self._bounded(stream.skip(start * self._per_group), self._offsets(count), self.within)
            first = start * self.width
            out[first : first + count * self.width] = numbers.reshape(-1)[: size - first]
        return out.reshape(shape)

    def fill_several(self, stream: Stream, shape: tuple[int, ...], count: int, blocks: int) -> list[Array]:
        """That many arrays, each filled from that many blocks further on."""
        if count == 1:
            return [self.fill(stream, shape)]
        offsets = np.arange(count, dtype=np.uint64)[:, None] * np.uint64(blocks) + self._offsets(self.groups(shape))
        if self.within is None:
            numbers = self.draw(stream.blocks_at(offsets.reshape(-1)))
        else:
            numbers = self._bounded(stream, offsets.reshape(-1), self.within)
        rows = numbers.reshape(count, -1)[:, : math.prod(shape)]
        return [row.reshape(shape) for row in rows]

    @property
    def _per_group(self) -> int:
        """Blocks that a group has to itself."""
        return 1 if self.within is None else self.width * RESERVED // 4

    def _offsets(self, groups: int) -> Array:
        """Where each group starts."""
        return np.arange(groups, dtype=np.uint64) * np.uint64(self._per_group)

    def _bounded(self, stream: Stream, first: Array, limit: float) -> Array:
        """Groups that start at these offsets, of numbers that are all nearer to 0 than the limit."""
        width, count = self.width, first.size
        out = np.empty((count, width), self.dtype)
        rows = np.arange(count)
        filled = np.zeros(count, np.intp)
        step = 0
        while rows.size:
            # Of two blocks nearly every group is filled: for a few it is the calls that take time, not the numbers.
            tries = 2 if rows.size <= _AHEAD else 1
            offsets = first[rows][:, None] + np.arange(step, step + tries, dtype=np.uint64)
            numbers = self.draw(stream.blocks_at(offsets.reshape(-1))).reshape(-1, tries * width)
            good = np.abs(numbers) < limit
            place = np.cumsum(good, axis=1) + (filled - 1)[:, None]
            good &= place < width
            row, column = np.nonzero(good)
            out[rows[row], place[row, column]] = numbers[row, column]
            filled += np.count_nonzero(good, axis=1)
            unfilled = filled < width
            rows, filled = rows[unfilled], filled[unfilled]
            step += tries
        return out


class Generator:
    """What one random node keeps from run to run; taking from it is atomic."""

    __slots__ = ("_ahead", "_asked", "_lock", "_next", "_runs")

    def __init__(self, seed: int, seed2: int):
        self._next = seeded(seed, seed2)
        self._lock = threading.Lock()
        self._ahead: list[Any] = []
        self._asked: Any = None
        self._runs = 1

    def reserve(self, blocks: int) -> Stream:
        """The stream as it stands; the next caller's starts that many blocks on."""
        with self._lock:
            stream = self._next
            self._next = stream.skip(blocks)
            self._ahead = []
        return stream

    def fill(self, distribution: Distribution, shape: tuple[int, ...]) -> Array:
        """An array of that shape, filled as TensorFlow fills it."""
        return self.filled(distribution, shape, math.prod(shape) * RESERVED)[0]

    def filled(self, distribution: Distribution, shape: tuple[int, ...], blocks: int) -> tuple[Array, Stream]:
        """As `reserve`, with an array of that shape filled from the stream."""
        return self.drawn(
            (distribution, shape),
            distribution.groups(shape),
            blocks,
            lambda stream, runs: distribution.fill_several(stream, shape, runs, blocks),
        )

    def drawn(
        self, asked: Any, size: int, blocks: int, draw: Callable[[Stream, int], Sequence[_T]]
    ) -> tuple[_T, Stream]:
        """As `reserve`, with what is drawn from the stream.

        A few numbers are made for several runs at once where a node is asked for the same again and again: 50 µs
        of the 60 for 128 blocks are the calls, whatever they work on. Each time twice as many runs as before, so
        that at most as much is made for nothing as was of use.

        Attributes:
            asked: what `draw` depends on, apart from the stream; compared with `==`.
            size: about how many blocks of random words it takes.
            blocks: that are reserved.
            draw: takes the stream of a run, and for how many runs to draw: for that one, and for those that start
                `blocks` on each from the one before.
        """
        most = _AHEAD // size if size else 0
        if most < 2:
            stream = self.reserve(blocks)
            return draw(stream, 1)[0], stream
        with self._lock:
            asked = (asked, blocks)
            if asked != self._asked:
                self._asked, self._ahead, self._runs = asked, [], 1
            stream = self._next
            if not self._ahead:
                self._ahead = list(draw(stream, self._runs))[::-1]
                self._runs = min(2 * self._runs, most)
            self._next = stream.skip(blocks)
            return self._ahead.pop(), stream


def _float32(words: Array) -> Array:
    """In [0, 1), by 23 bits of mantissa; in place."""
    words &= np.uint32(0x7FFFFF)
    words |= np.uint32(0x3F800000)
    numbers: Array = words.view(np.float32)
    numbers -= np.float32(1)
    return numbers


def double_of(high: Array, low: Array) -> Array:
    """In [0, 1), by 20 bits of mantissa from the first word and 32 from the second."""
    bits = (high & np.uint32(0xFFFFF)).astype(np.uint64)
    bits <<= np.uint64(32)
    bits |= low
    bits |= np.uint64(0x3FF0000000000000)
    numbers: Array = bits.view(np.float64)
    numbers -= 1.0
    return numbers


def _uniform64(blocks: Array) -> Array:
    return double_of(blocks[:, 0::2], blocks[:, 1::2])


def _uniform_short(dtype: np.dtype[Any], bits: int) -> Callable[[Array], Array]:
    # Of half precision only the mantissa is random: the low bits of each word, a multiple of 2^-bits.
    mask, unit = np.uint32((1 << bits) - 1), np.float32(2.0**-bits)

    def draw(blocks: Array) -> Array:
        numbers: Array = (blocks & mask).astype(np.float32)
        numbers *= unit
        short: Array = numbers.astype(dtype)
        return short

    return draw


def _normal32(blocks: Array) -> Array:
    """Box and Muller's pairs: a uniform for the radius and one for the angle give sine and cosine.

    TensorFlow computes each function in float32 with an error of less than one unit; computed in
    float64 and rounded, they are as near to that as can be.
    """
    uniform = _float32(blocks)
    radius: Array = np.maximum(uniform[:, 0::2], np.float32(1e-7)).astype(np.float64)
    np.log(radius, out=radius)
    radius = np.sqrt(radius.astype(np.float32) * np.float32(-2))
    turn = uniform[:, 1::2].astype(np.float64)
    turn *= 2 * math.pi
    turn = turn.astype(np.float32).astype(np.float64)
    out: Array = np.empty((len(blocks), 4), np.float32)
    out[:, 0::2] = np.sin(turn)
    out[:, 1::2] = np.cos(turn)
    out[:, 0::2] *= radius
    out[:, 1::2] *= radius
    return out


def _normal64(blocks: Array) -> Array:
    radius = double_of(blocks[:, 0], blocks[:, 1])
    np.maximum(radius, 1e-7, out=radius)
    np.log(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle = double_of(blocks[:, 2], blocks[:, 3])
    angle *= 2 * math.pi
    out = np.empty((len(blocks), 2), np.float64)
    np.sin(angle, out=out[:, 0])
    np.cos(angle, out=out[:, 1])
    out *= radius[:, None]
    return out


def _full32(blocks: Array) -> Array:
    return blocks


def _full64(blocks: Array) -> Array:
    words: Array = blocks[:, 1::2].astype(np.uint64)
    words <<= np.uint64(32)
    words |= blocks[:, 0::2]
    return words


def _unsupported(what: str, dtype: DType, known: str) -> ValueError:
    return ValueError(f"{what} numbers have dtype {known}, found {dtype}")


_FLOATS = "half, bfloat16, float32 or float64"


def uniform(dtype: DType) -> Distribution:
    """Uniform in [0, 1). Raises `ValueError` for a dtype that is not floating-point."""
    if dtype == dtypes.FLOAT:
        return Distribution(dtype.numpy, 4, _float32)
    if dtype == dtypes.DOUBLE:
        return Distribution(dtype.numpy, 2, _uniform64)
    if dtype == dtypes.HALF:
        return Distribution(dtype.numpy, 4, _uniform_short(dtype.numpy, 10))
    if dtype == dtypes.BFLOAT16:
        return Distribution(dtype.numpy, 4, _uniform_short(dtype.numpy, 7))
    raise _unsupported("uniform", dtype, _FLOATS)


def normal(dtype: DType) -> Distribution:
    """Normal, mean 0, deviation 1. Raises `ValueError` for a dtype that is not floating-point."""
    if dtype == dtypes.FLOAT:
        return Distribution(dtype.numpy, 4, _normal32)
    if dtype == dtypes.DOUBLE:
        return Distribution(dtype.numpy, 2, _normal64)
    if dtype in (dtypes.HALF, dtypes.BFLOAT16):
        short = dtype.numpy
        return Distribution(short, 4, lambda blocks: _normal32(blocks).astype(short))
    raise _unsupported("normal", dtype, _FLOATS)


def truncated_normal(dtype: DType) -> Distribution:
    """Normal, drawn again where it is 2 deviations or more from 0. Raises `ValueError` as `normal`."""
    kind = normal(dtype)
    # Half precision is rounded to after the comparison: such numbers may well be 2.0.
    return Distribution(kind.dtype, kind.width, _normal64 if kind.width == 2 else _normal32, 2.0)


@lru_cache(maxsize=256)
def integers(dtype: DType, low: int, high: int) -> Distribution:
    """Integers in [low, high), for int32 and int64; low < high."""
    word: type[Any]
    if dtype == dtypes.INT32:
        width, full, word, mask = 4, _full32, np.uint32, _MASK32
    elif dtype == dtypes.INT64:
        width, full, word, mask = 2, _full64, np.uint64, _MASK64
    else:
        raise _unsupported("uniform integer", dtype, "int32 or int64")
    span, start, numpy = word(high - low), word(low & mask), dtype.numpy

    def draw(blocks: Array) -> Array:
        words: Array = full(blocks)
        words %= span
        words += start
        return words.view(numpy)

    return Distribution(numpy, width, draw)


def full_integers(dtype: DType) -> Distribution:
    """Integers over the whole range of int32, uint32, int64 or uint64."""
    if dtype.name in ("int32", "uint32"):
        return Distribution(dtype.numpy, 4, lambda blocks: blocks.view(dtype.numpy))
    if dtype.name in ("int64", "uint64"):
        return Distribution(dtype.numpy, 2, lambda blocks: _full64(blocks).view(dtype.numpy))
    raise _unsupported("full-range integer", dtype, "int32, uint32, int64 or uint64")


def shape_of(shape: Array) -> tuple[int, ...]:
    """A `shape` input as a tuple.

    Raises:
        ValueError: it is no vector of ints, or a size is negative.
    """
    if shape.ndim != 1 or shape.dtype.kind not in "iu":
        raise ValueError(f"shape must be a vector of int32 or int64, found {shape.dtype} of shape {list(shape.shape)}")
    sizes: tuple[int, ...] = tuple(shape.tolist())
    if sizes and min(sizes) < 0:
        raise ValueError(f"shape {list(sizes)} has a negative size: each must be 0 or more")
    return sizes
