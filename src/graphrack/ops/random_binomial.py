"""Binomial numbers: StatelessRandomBinomial, and StatefulRandomBinomial of `tf.random.Generator`.

Where fewer than ten successes (or failures) are expected, geometric gaps are added up until they exceed the trials;
else by transformed rejection (Hörmann, "The generation of binomial random variates", 1993).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphrack.formats.dtypes import INT64, DType
from graphrack.ops.philox import RESERVED, Stream, scrambled, shape_of
from graphrack.ops.random_generators import taken
from graphrack.ops.random_rejection import Uniforms
from graphrack.ops.registry import specialized
from graphrack.ops.runtime import Array, Handle, RunState

# Blocks between the streams of neighbouring outputs, as TensorFlow's kernel reserves them.
_BY_REJECTION, _BY_GAPS = 256, 42
_CHUNK = 1 << 13

# Of Stirling's series what the logarithm of k! has beyond its first terms, for k up to 9.
_TAILS = np.array([
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
    0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
])  # fmt: skip


def _tail(k: Array) -> Array:
    square = (k + 1) * (k + 1)
    series = (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)
    small = np.where(k <= 9, k, 0).astype(np.intp)
    return np.where(k <= 9, _TAILS[np.maximum(small, 0)], series)


def binomial(stream: Stream, places: Array, counts: Array, probs: Array) -> Array:
    """One number for each place of the output (int64), of float64 trials and probabilities."""
    out = np.full(counts.shape, np.nan)
    out[(counts <= 0) | (probs <= 0)] = 0
    drawn = (counts > 0) & (probs > 0)
    sure = drawn & (probs >= 1)
    out[sure] = counts[sure]
    drawn &= probs < 1
    mirrored = probs > 0.5
    p = np.where(mirrored, 1 - probs, probs)
    many = counts * p >= 10
    for chosen, spacing, sample in ((drawn & many, _BY_REJECTION, _by_rejection), (drawn & ~many, _BY_GAPS, _by_gaps)):
        rows = np.flatnonzero(chosen)
        if rows.size:
            uniforms = Uniforms(stream, places[rows].astype(np.uint64) * np.uint64(spacing))
            found = sample(uniforms, counts[rows], p[rows])
            out[rows] = np.where(mirrored[rows], counts[rows] - found, found)
    return out


def _by_gaps(uniforms: Uniforms, counts: Array, p: Array) -> Array:
    out, total = np.zeros(counts.size), np.zeros(counts.size)
    active = np.arange(counts.size)
    while active.size:
        total[active] += np.ceil(np.log(uniforms.take(active)) / np.log1p(-p[active]))
        active = active[~(total[active] > counts[active])]
        out[active] += 1
    return out


def _by_rejection(uniforms: Uniforms, counts: Array, p: Array) -> Array:
    deviation = np.sqrt(counts * p * (1 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    r = p / (1 - p)
    alpha = (2.83 + 5.1 / b) * deviation
    m = np.floor((counts + 1) * p)
    out = np.empty(counts.size)
    active = np.arange(counts.size)
    while active.size:
        u = uniforms.take(active) - 0.5
        v = uniforms.take(active)
        n, a_, b_, r_, m_ = (values[active] for values in (counts, a, b, r, m))
        distance = 0.5 - np.abs(u)
        k = np.floor((2 * a_ / distance + b_) * u + n * p[active] + 0.5)
        accepted = (distance >= 0.07) & (v <= 0.92 - 4.2 / b_)
        possible = (k >= 0) & (k <= n)
        bound = (
            (m_ + 0.5) * np.log((m_ + 1) / (r_ * (n - m_ + 1)))
            + (n + 1) * np.log((n - m_ + 1) / (n - k + 1))
            + (k + 0.5) * np.log(r_ * (n - k + 1) / (k + 1))
            + _tail(m_) + _tail(n - m_) - _tail(k) - _tail(n - k)
        )  # fmt: skip
        accepted |= possible & (np.log(v * alpha[active] / (a_ / (distance * distance) + b_)) <= bound)
        out[active[accepted]] = k[accepted]
        active = active[~accepted]
    return out


def _sizes(shape: Array, counts: Array, probs: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The output's shape and what of it the parameters give. Raises `ValueError` where they don't fit."""
    sizes = shape_of(shape)
    try:
        batch = np.broadcast_shapes(counts.shape, probs.shape)
    except ValueError:
        raise ValueError(f"counts {list(counts.shape)} and probs {list(probs.shape)} don't broadcast") from None
    if sizes[max(0, len(sizes) - len(batch)) :] != batch:
        raise ValueError(f"shape {list(sizes)} must end with that of counts and probs, {list(batch)}")
    return sizes, batch


def _filled(
    stream: Stream, sizes: tuple[int, ...], batch: tuple[int, ...], counts: Array, probs: Array, dtype: DType
) -> Array:
    batches = math.prod(batch)
    samples = math.prod(sizes) // max(batches, 1)
    # The product that decides how is one of T; for half it is coarser than it could be.
    n, p = (np.broadcast_to(value, batch).reshape(-1).astype(np.float64) for value in (counts, probs))
    out = np.empty(batches * samples, dtype.numpy)
    for start in range(0, out.size, _CHUNK):
        places = np.arange(start, min(start + _CHUNK, out.size))
        of = places // samples
        out[start : start + _CHUNK] = binomial(stream, places, n[of], p[of]).astype(dtype.numpy)
    return np.ascontiguousarray(out.reshape(batches, samples).T).reshape(sizes)


@specialized("StatelessRandomBinomial")
def StatelessRandomBinomial(*, dtype: DType = INT64) -> Any:
    def kernel(shape: Array, seed: Array, counts: Array, probs: Array) -> Array:
        stream = scrambled(seed)
        sizes, batch = _sizes(shape, counts, probs)
        return _filled(stream, sizes, batch, counts, probs, dtype)

    return kernel


@specialized("StatefulRandomBinomial", state=True, writes=True)
def StatefulRandomBinomial(*, dtype: DType = INT64) -> Any:
    def kernel(state: RunState, resource: Handle, algorithm: Array, shape: Array, counts: Array, probs: Array) -> Array:
        sizes, batch = _sizes(shape, counts, probs)
        batches = math.prod(batch)
        samples = math.prod(sizes) // max(batches, 1)
        _, stream = taken(state, resource, algorithm, batches * 2 * 100 * (samples + 3) // 4 * RESERVED)
        return _filled(stream, sizes, batch, counts, probs, dtype)

    return kernel
