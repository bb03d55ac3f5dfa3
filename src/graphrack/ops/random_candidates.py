"""Candidate samplers (for sampled softmax and noise-contrastive estimation), drawing TensorFlow's classes.

A sampler gives class numbers and, for these and for the true classes, how often each is expected among
them. Each run reads one stream of 32-bit words from its node's generator, as many as it takes.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from functools import partial
from typing import Protocol

import numpy as np

from graphrack.formats.dtypes import from_numpy
from graphrack.ops.philox import Generator, double_of, full_integers
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array, RunState

_RESERVED = 2048  # words that TensorFlow reserves for each candidate
_LEAST_SPAN, _SPAN = 128, 4096  # words made at a time, at first and later on
_FEW = 24  # numbers that are made sooner one by one than by NumPy
_INT32_MAX = 2**31 - 1
_WORDS = full_integers(from_numpy(np.uint32))

Outputs = tuple[Array, Array, Array]


class Sampler(Protocol):
    """A distribution over the classes from 0 to `range_max` - 1, of which `possible` may be drawn."""

    range_max: int
    possible: int

    def draw(self, words: Iterator[int]) -> Iterator[int]:
        """Classes, one after another, from 32-bit words."""

    def probability(self, classes: Array) -> Array:
        """How likely each of these classes is, in float32."""

    def learn(self, classes: Array) -> None:
        """Takes note of the true classes of a run."""


def _words(generator: Generator, blocks: int) -> Iterator[int]:
    """The words of a run, for which that many blocks are reserved."""
    span = _LEAST_SPAN
    first, stream = generator.filled(_WORDS, (span,), blocks)
    yield from first.tolist()
    while True:
        stream = stream.skip(span // 4)
        span = min(2 * span, _SPAN)
        yield from stream.words(span).tolist()


def _pairs(words: Iterator[int]) -> Iterator[tuple[int, int]]:
    return zip(words, words, strict=False)


def _below(words: Iterator[int], limit: int) -> int:
    """An integer in [0, limit): words that would favour small numbers are skipped."""
    if limit & (limit - 1) == 0:
        return next(words) & (limit - 1)
    first = _UINT32_MAX % limit + 1
    word = next(words)
    while word < first:
        word = next(words)
    return word % limit


_UINT32_MAX, _UINT64_MAX = 2**32 - 1, 2**64 - 1


class _Uniform:
    def __init__(self, range_max: int):
        self.range_max = self.possible = range_max

    def draw(self, words: Iterator[int]) -> Iterator[int]:
        limit = self.range_max
        power_of_two = limit & (limit - 1) == 0
        first = 0 if power_of_two else _UINT64_MAX % limit + 1
        for low, high in _pairs(words):
            number = low | high << 32
            if number >= first:
                yield number % limit

    def probability(self, classes: Array) -> Array:
        return np.full(classes.shape, 1.0 / self.range_max, np.float32)

    def learn(self, classes: Array) -> None:
        pass


class _LogUniform:
    """Class k as likely as log(k + 2) - log(k + 1): Zipf's law, roughly, where classes come by frequency."""

    def __init__(self, range_max: int):
        self.range_max = self.possible = range_max
        self._log_range = math.log1p(range_max)

    def draw(self, words: Iterator[int]) -> Iterator[int]:
        log_range, limit = self._log_range, self.range_max
        for high, low in itertools.islice(_pairs(words), _FEW):  # of which mostly less are wanted
            number = ((high & 0xFFFFF) << 32 | low) * 2.0**-52
            yield (int(math.exp(number * log_range)) - 1) % limit
        while True:
            part = np.array(list(itertools.islice(words, 128)), np.uint32)
            numbers = np.exp(double_of(part[0::2], part[1::2]) * log_range).astype(np.int64) - 1
            yield from (numbers % limit).tolist()

    def probability(self, classes: Array) -> Array:
        wide = classes.astype(np.float64)
        odds: Array = (np.log((wide + 2.0) / (wide + 1.0)) / self._log_range).astype(np.float32)
        return odds

    def learn(self, classes: Array) -> None:
        pass


class _Learned:
    """Each class as likely as it has been seen among the true ones, plus once."""

    def __init__(self, range_max: int):
        self.range_max = self.possible = range_max
        self._weights = np.ones(range_max, np.int64)
        self._total = range_max

    def draw(self, words: Iterator[int]) -> Iterator[int]:
        cumulative = np.cumsum(self._weights)
        while True:
            yield int(np.searchsorted(cumulative, _below(words, self._total), side="right"))

    def probability(self, classes: Array) -> Array:
        odds: Array = self._weights[classes].astype(np.float32) / np.float32(self._total)
        return odds

    def learn(self, classes: Array) -> None:
        classes = classes[: max(0, _INT32_MAX - self._total)]
        np.add.at(self._weights, classes, 1)
        self._total += classes.size


class _Fixed:
    """Each class by a weight of its own: Walker's alias method (Knuth, volume 2, 3.4.1)."""

    def __init__(self, weights: Array):
        self.range_max, self.possible = weights.size, int(np.count_nonzero(weights))
        self._weights = weights
        self._total = np.float32(0)
        for weight in weights:  # as TensorFlow sums: in order, in float32
            self._total += weight
        count = weights.size
        shares = ((weights * np.float32(count)).astype(np.float64) / float(sum(weights.tolist()))).tolist()
        other = list(range(count))
        low = [i for i, share in enumerate(shares) if share < 1.0]
        high = [i for i, share in enumerate(shares) if not share < 1.0]
        while high and low:
            poor, rich = low.pop(), high.pop()
            other[poor] = rich
            shares[rich] -= 1.0 - shares[poor]
            (low if shares[rich] < 1.0 else high).append(rich)
        for i in (*low, *high):  # left over by rounding
            shares[i] = 1.0
        self._own = np.array(shares, np.float32).tolist()
        self._other = other

    def draw(self, words: Iterator[int]) -> Iterator[int]:
        count, own, other = self.range_max, self._own, self._other
        for word in words:
            share = (word & 0x7FFFFF) * 2.0**-23
            at = _below(words, count)
            yield at if share < own[at] else other[at]

    def probability(self, classes: Array) -> Array:
        odds: Array = self._weights[classes] / self._total
        return odds

    def learn(self, classes: Array) -> None:
        pass


class _Kept:
    """What one node keeps: its generator, and a sampler that may learn."""

    def __init__(self, seed: int, seed2: int, sampler: Sampler):
        self.generator = Generator(seed, seed2)
        self.sampler = sampler
        self.lock = threading.Lock()


def _checked(true_classes: Array, num_true: int, range_max: int) -> None:
    if true_classes.ndim != 2 or true_classes.shape[1] != num_true:
        raise ValueError(
            f"true_classes must be a matrix of num_true = {num_true} columns, found shape {list(true_classes.shape)}"
        )
    if true_classes.size and not 0 <= int(true_classes.min()) <= int(true_classes.max()) < range_max:
        raise ValueError(
            f"true_classes must be in [0, {range_max}), found {true_classes.min()} to {true_classes.max()}"
        )


def _sample(kept: _Kept, true_classes: Array, num_true: int, num_sampled: int, unique: bool) -> Outputs:
    with kept.lock:
        sampler = kept.sampler
        _checked(true_classes, num_true, sampler.range_max)
        if unique and num_sampled > sampler.possible:
            raise ValueError(
                f"num_sampled {num_sampled} unique classes need as many that can be drawn, found {sampler.possible}"
            )
        drawn = sampler.draw(_words(kept.generator, _RESERVED * num_sampled // 4))
        if unique:
            tries, picked = 0, dict[int, None]()
            while len(picked) < num_sampled:
                picked[next(drawn)] = None
                tries += 1
                if tries == _INT32_MAX:
                    raise ValueError(f"{tries} tries gave {len(picked)} unique classes, not {num_sampled}")
            candidates = np.array(list(picked), np.int64)
        else:
            tries = num_sampled
            candidates = np.fromiter(drawn, np.int64, num_sampled)

        expected = sampler.probability(np.concatenate((true_classes.reshape(-1), candidates)))
        if tries == num_sampled:
            expected *= np.float32(num_sampled)
        else:  # 1 - (1 - p) ** tries, in a form that keeps small numbers
            expected = -np.expm1(np.float32(tries) * np.log1p(-expected))
        sampler.learn(true_classes.reshape(-1))
    return candidates, expected[: true_classes.size].reshape(true_classes.shape), expected[true_classes.size :]


def _range(range_max: int) -> int:
    if range_max < 1:
        raise ValueError(f"range_max must be positive, found {range_max}")
    return range_max


@specialized("UniformCandidateSampler", outputs=3, state=True)
def UniformCandidateSampler(
    *, node_name: str, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: int = 0, seed2: int = 0
) -> Kernel:
    make = partial(_Kept, seed, seed2, _Uniform(_range(range_max)))
    return lambda state, classes: _sample(state.per_node(node_name, make), classes, num_true, num_sampled, unique)


@specialized("LogUniformCandidateSampler", outputs=3, state=True)
def LogUniformCandidateSampler(
    *, node_name: str, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: int = 0, seed2: int = 0
) -> Kernel:
    make = partial(_Kept, seed, seed2, _LogUniform(_range(range_max)))
    return lambda state, classes: _sample(state.per_node(node_name, make), classes, num_true, num_sampled, unique)


@specialized("LearnedUnigramCandidateSampler", "ThreadUnsafeUnigramCandidateSampler", outputs=3, state=True)
def LearnedUnigramCandidateSampler(
    *, node_name: str, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: int = 0, seed2: int = 0
) -> Kernel:
    if _range(range_max) >= _INT32_MAX:
        raise ValueError(f"range_max must be less than {_INT32_MAX} for a learned sampler, found {range_max}")

    def make() -> _Kept:
        return _Kept(seed, seed2, _Learned(range_max))

    return lambda state, classes: _sample(state.per_node(node_name, make), classes, num_true, num_sampled, unique)


@specialized("FixedUnigramCandidateSampler", outputs=3, state=True)
def FixedUnigramCandidateSampler(
    *,
    node_name: str,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    vocab_file: bytes = b"",
    distortion: float = 1.0,
    num_reserved_ids: int = 0,
    num_shards: int = 1,
    shard: int = 0,
    unigrams: tuple[float, ...] = (),
    seed: int = 0,
    seed2: int = 0,
) -> Kernel:
    if bool(vocab_file) == bool(unigrams):
        raise ValueError("either vocab_file or unigrams must be given, and only one of them")

    def kernel(state: RunState, true_classes: Array) -> Outputs:
        def make() -> _Kept:
            given = _weights_of(state.file_allowed(vocab_file, "a vocabulary")) if vocab_file else unigrams
            # Reserved classes come first, and are never drawn.
            reserved = len(range(shard, num_reserved_ids, num_shards))
            own = np.array(given, np.float32)[(shard - reserved) % num_shards :: num_shards]
            weights = np.concatenate([np.zeros(reserved, np.float32), own ** np.float32(distortion)])
            if weights.size != range_max:
                raise ValueError(f"range_max {range_max} must be the number of weights, found {weights.size}")
            return _Kept(seed, seed2, _Fixed(weights))

        return _sample(state.per_node(node_name, make), true_classes, num_true, num_sampled, unique)

    return kernel


def _weights_of(path: str) -> list[float]:
    """The last field of each line of a comma-separated file."""
    weights = []
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            try:
                weights.append(float(line.rsplit(",", 1)[-1]))
            except ValueError:
                raise ValueError(
                    f"line {number} of vocabulary {path!r} must end with a weight, found {line.strip()!r}"
                ) from None
    return weights


@op("AllCandidateSampler", outputs=3)
def AllCandidateSampler(true_classes: Array, *, num_true: int, num_sampled: int, unique: bool) -> Outputs:
    # All classes whether `unique` or not: each is drawn once.
    _checked(true_classes, num_true, num_sampled)
    ones = np.ones(true_classes.shape, np.float32)
    return np.arange(num_sampled, dtype=np.int64), ones, np.ones(num_sampled, np.float32)


@op("ComputeAccidentalHits", outputs=3)
def ComputeAccidentalHits(true_classes: Array, sampled_candidates: Array, *, num_true: int) -> Outputs:
    if true_classes.ndim != 2 or true_classes.shape[1] != num_true:
        raise ValueError(
            f"true_classes must be a matrix of num_true = {num_true} columns, found shape {list(true_classes.shape)}"
        )
    if sampled_candidates.ndim != 1:
        raise ValueError(f"sampled_candidates must be a vector, found shape {list(sampled_candidates.shape)}")
    places = {candidate: i for i, candidate in enumerate(sampled_candidates.tolist())}
    hits = [
        (row, places[candidate])
        for row, candidates in enumerate(true_classes.tolist())
        for candidate in candidates
        if candidate in places
    ]
    weights = np.full(len(hits), np.finfo(np.float32).min, np.float32)
    rows, ids = zip(*hits, strict=True) if hits else ((), ())
    return np.array(rows, np.int32), np.array(ids, np.int64), weights
