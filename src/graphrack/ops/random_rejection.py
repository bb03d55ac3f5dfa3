"""Draws that take as many random words as it takes: gamma, Poisson, bounded normal; and multinomial.

Where each number has a stream of its own, all that are not accepted yet are tried again together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DOUBLE, DType
from graphrack.ops import philox
from graphrack.ops.philox import RESERVED, Generator, Stream

Array = np.ndarray[Any, Any]

_CHUNK = 1 << 13  # numbers drawn at a time
_FEW = 1 << 8  # streams that blocks are made for ahead


class _Reader:
    """The streams of many outputs side by side.

    Attributes:
        offsets: where each begins, in blocks from `stream` on (uint64).
    """

    def __init__(self, stream: Stream, offsets: Array):
        self._stream, self._offsets = stream, offsets
        self._taken = np.zeros(offsets.size, np.intp)
        # Most of them are asked for two blocks, and of few blocks it is the calls that take time.
        self._ahead = 2 if offsets.size <= _FEW else 0
        if self._ahead:
            first = offsets[:, None] + np.arange(self._ahead, dtype=np.uint64)
            self._blocks = stream.blocks_at(first.reshape(-1)).reshape(-1, self._ahead, 4)

    def take(self, rows: Array) -> Array:
        """The next block of each of these rows: uint32 of (len(rows), 4), the caller's own."""
        taken = self._taken[rows]
        self._taken[rows] = taken + 1
        if self._ahead and taken.max() < self._ahead:
            blocks: Array = self._blocks[rows, taken]
            return blocks
        return self._stream.blocks_at(self._offsets[rows] + taken.astype(np.uint64))


def _spaced(count: int) -> Array:
    """Where outputs begin that have `RESERVED` blocks each."""
    return np.arange(count, dtype=np.uint64) * np.uint64(RESERVED)


class _Pairs:
    """Doubles drawn from a reader, two a block, the second of each first."""

    def __init__(self, reader: _Reader, count: int, draw: Callable[[Array], Array]):
        self._reader, self._draw = reader, draw
        self._values = np.empty((count, 2))
        self._left = np.zeros(count, np.intp)

    def take(self, rows: Array) -> Array:
        """The next number of each of these rows."""
        left = self._left[rows]
        empty = rows[left == 0]
        if empty.size:
            self._values[empty] = self._draw(self._reader.take(empty))
            left[left == 0] = 2
        left -= 1
        self._left[rows] = left
        numbers: Array = self._values[rows, left]
        return numbers


class Uniforms(_Pairs):
    """Uniform doubles in [0, 1) of many streams, which begin where a `_Reader`'s do."""

    def __init__(self, stream: Stream, offsets: Array):
        super().__init__(_Reader(stream, offsets), offsets.size, _UNIFORM.draw)


_UNIFORM, _NORMAL = philox.uniform(DOUBLE), philox.normal(DOUBLE)


def gamma(stream: Stream, alpha: Array, samples: int, dtype: np.dtype[Any]) -> Array:
    """Gamma numbers by Marsaglia and Tsang's method: an array of shape (len(alpha), samples).

    "A Simple Method for Generating Gamma Variables", 2000; below 1, alpha + 1 is drawn for and the
    result multiplied by uniform ** (1 / alpha); 1 is the exponential distribution.
    """
    total = alpha.size * samples
    out = np.empty(total, dtype)
    for start in range(0, total, _CHUNK):
        stop = min(start + _CHUNK, total)
        alphas = alpha[np.arange(start, stop) // samples].astype(np.float64)
        out[start:stop] = _gamma(stream.skip(start * RESERVED), alphas)
    return out.reshape(alpha.size, samples)


def _gamma(stream: Stream, alpha: Array) -> Array:
    out = np.empty(alpha.size)
    reader = _Reader(stream, _spaced(alpha.size))
    normals, uniforms = (_Pairs(reader, alpha.size, kind.draw) for kind in (_NORMAL, _UNIFORM))
    one = alpha == 1
    rows = np.flatnonzero(one)
    if rows.size:
        out[rows] = -np.log1p(-uniforms.take(rows))
    small = alpha < 1
    d = alpha + np.where(small, 2.0 / 3, -1.0 / 3)
    c = 1.0 / 3 / np.sqrt(d)
    active = np.flatnonzero(~one)
    while active.size:
        x = normals.take(active)
        v = 1 + c[active] * x
        positive = ~(v <= 0)  # a NaN goes on, and is accepted sooner or later
        rows, x, v = active[positive], x[positive], v[positive]
        v = v * v * v
        u = uniforms.take(rows)
        square = x * x
        accepted = u < 1 - 0.0331 * square * square
        accepted |= np.log(u) < 0.5 * square + d[rows] * (1 - v + np.log(v))
        done = rows[accepted]
        out[done] = d[done] * v[accepted]
        below = done[small[done]]
        if below.size:
            out[below] *= uniforms.take(below) ** (1 / alpha[below])
        active = np.concatenate([active[~positive], rows[~accepted]])
    return out


def poisson(stream: Stream, rate: Array, samples: int, dtype: np.dtype[Any]) -> Array:
    """Poisson numbers: an array of shape (len(rate), samples).

    Rates below 10 by multiplying uniforms until they are less than exp(-rate) (Knuth), others by
    transformed rejection (Hörmann, "The transformed rejection method for generating Poisson random
    variables", 1993).

    Raises:
        ValueError: a rate is infinite or NaN: no number would ever be accepted.
    """
    rate = rate.astype(np.float64)
    if not np.isfinite(rate).all():
        raise ValueError(f"rates must be finite, found {rate[~np.isfinite(rate)][0]}")
    highest = float(np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max)
    total = rate.size * samples
    out = np.empty(total, dtype)
    for start in range(0, total, _CHUNK):
        stop = min(start + _CHUNK, total)
        rates = rate[np.arange(start, stop) // samples]
        out[start:stop] = _poisson(stream.skip(start * RESERVED), rates, highest)
    return out.reshape(rate.size, samples)


def _poisson(stream: Stream, rate: Array, highest: float) -> Array:
    out = np.empty(rate.size)
    uniforms = Uniforms(stream, _spaced(rate.size))

    active = np.flatnonzero(rate < 10)
    limit, product, events = np.exp(-rate[active]), np.ones(active.size), 0
    while active.size:
        product = product * uniforms.take(active)
        accepted = product <= limit
        out[active[accepted]] = events
        active, limit, product = active[~accepted], limit[~accepted], product[~accepted]
        events += 1

    active = np.flatnonzero(rate >= 10)
    if not active.size:
        return out
    from scipy.special import gammaln

    b = 0.931 + 2.53 * np.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    while active.size:
        u = uniforms.take(active) - 0.5
        v = uniforms.take(active)
        rows_a, rows_b, rows_rate = a[active], b[active], rate[active]
        shifted = 0.5 - np.abs(u)
        k = np.floor((2 * rows_a / shifted + rows_b) * u + rows_rate + 0.43)
        accepted = (shifted >= 0.07) & (v <= 0.9277 - 3.6224 / (rows_b - 2))
        possible = ~((k < 0) | ((shifted < 0.013) & (v > shifted)))
        s = np.log(v * inverse_alpha[active] / (rows_a / (shifted * shifted) + rows_b))
        t = -rows_rate + k * np.log(rows_rate) - gammaln(k + 1)
        accepted |= possible & (s <= t)
        accepted &= k <= highest
        out[active[accepted]] = k[accepted]
        active = active[~accepted]
    return out


def multinomial(
    draw: Callable[[tuple[int, int], int], Array], logits: Array, num_samples: Array, dtype: np.dtype[Any]
) -> Array:
    """Class numbers drawn by their unnormalised log-probabilities: (batch, classes) to (batch, samples).

    Attributes:
        draw: gives float64 numbers in [0, 1) of a shape, for which so many blocks are reserved.

    Raises:
        ValueError: logits are no matrix, there are no classes, `num_samples` is no scalar or negative.
    """
    if logits.ndim != 2:
        raise ValueError(f"logits must be a matrix, found shape {list(logits.shape)}")
    if num_samples.ndim:
        raise ValueError(f"num_samples must be a scalar, found shape {list(num_samples.shape)}")
    samples = int(num_samples)
    batch, classes = logits.shape
    if samples < 0:
        raise ValueError(f"num_samples must be 0 or more, found {samples}")
    if classes == 0:
        raise ValueError(f"logits must have at least one class, found shape {list(logits.shape)}")
    out = np.empty((batch, samples), dtype)
    if not out.size:
        return out
    # Each sample is a double of two words; TensorFlow reserves as if for outputs of a multiple of 4.
    numbers = draw((batch, samples), batch * (-(-samples // 4) * 8) * RESERVED)
    wide = logits.astype(np.float64)
    cdf = np.add.accumulate(np.exp(wide - np.maximum.reduce(wide, 1)[:, None]), 1)
    total = cdf[:, -1]
    if not math.isfinite(total.dot(total)):  # NaN and infinity are never drawn
        finite = np.isfinite(wide)
        top = np.max(wide, axis=1, keepdims=True, initial=np.finfo(np.float64).min, where=finite)
        cdf = np.cumsum(np.where(finite, np.exp(wide - top), 0.0), axis=1)
    sought = numbers * cdf[:, -1:]
    if samples <= 16:
        for i in range(samples):
            np.add.reduce(np.less_equal(cdf, sought[:, i, None]), 1, dtype, out=out[:, i])
    else:
        for row in range(batch):
            out[row] = np.searchsorted(cdf[row], sought[row], side="right")
    return out


_MAX_TRIES = 1000
_BATCH = 100  # into batches of that many the output is cut where all have the same parameters


def truncated_between(
    generator: Generator,
    shape: tuple[int, ...],
    means: Array,
    stddevs: Array,
    minvals: Array,
    maxvals: Array,
    dtype: DType,
) -> Array:
    """Normal numbers between bounds; parameters are scalars or one for each of `shape[0]`.

    Robert, "Simulation of truncated normal variables", 1995.

    Raises:
        ValueError: an empty shape, parameters of other shapes, a deviation that is not positive,
            bounds without room between them or both infinite.
    """
    if not shape:
        raise ValueError("shape must have at least one dimension, found []")
    batches = shape[0]
    parameters = {"means": means, "stdevs": stddevs, "minvals": minvals, "maxvals": maxvals}
    for name, value in parameters.items():
        if value.ndim > 1:
            raise ValueError(f"{name} must be a scalar or a vector, found shape {list(value.shape)}")
    total = math.prod(shape)
    if means.size == 1 and stddevs.size == 1 and minvals.ndim == 0 and maxvals.ndim == 0:
        per_batch = _BATCH
        batches = -(-total // per_batch)
    else:
        per_batch = math.prod(shape[1:])
        for name, value in parameters.items():
            if value.size not in (1, batches) or (value.ndim and value.shape[0] not in (1, batches)):
                raise ValueError(f"{name} must have length 1 or shape[0] = {batches}, found {value.size}")
    stream = generator.reserve(batches * 2 * _MAX_TRIES * (per_batch + 3) // 4)
    columns = [np.broadcast_to(value.reshape(-1), batches) for value in parameters.values()]
    out = np.empty(total, dtype.numpy)
    for batch, (mean, stddev, low, high) in enumerate(zip(*columns, strict=True)):
        first = batch * per_batch
        stop = min(first + per_batch, total)
        if stop > first:
            stream = _truncated(stream, out[first:stop], mean, stddev, low, high, dtype)
    return out.reshape(shape)


def truncated_for_each(stream: Stream, shape: tuple[int, ...], parameters: dict[str, Array], dtype: DType) -> Array:
    """Normal numbers between bounds, of a shape that ends with that of the parameters broadcast together.

    Attributes:
        parameters: means, stddevs, minvals and maxvals, in that order.

    Raises:
        ValueError: the parameters don't fit together, or the shape; or as `truncated_between`.
    """
    try:
        batch = np.broadcast_shapes(*[value.shape for value in parameters.values()])
    except ValueError:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in parameters.items())
        raise ValueError(f"parameters must broadcast together, found {shapes}") from None
    if shape[max(0, len(shape) - len(batch)) :] != batch:
        raise ValueError(f"shape {list(shape)} must end with that of the parameters, {list(batch)}")
    batches = math.prod(batch)
    out = np.empty((batches, math.prod(shape) // max(1, batches)), dtype.numpy)
    columns = [np.broadcast_to(value, batch).reshape(-1) for value in parameters.values()]
    if out.size:
        for row, (mean, stddev, low, high) in zip(out, zip(*columns, strict=True), strict=True):
            stream = _truncated(stream, row, mean, stddev, low, high, dtype)
    return np.reshape(out.T, shape)


def _truncated(stream: Stream, out: Array, mean: Any, stddev: Any, low: Any, high: Any, dtype: DType) -> Stream:
    """Fills one batch; gives the stream where the next one begins."""
    if not (stddev > 0 and low < high and (np.isfinite(low) or np.isfinite(high))):
        raise ValueError(
            "a truncated normal needs a positive deviation and minval < maxval, not both infinite; "
            f"found deviation {stddev}, minval {low}, maxval {high}"
        )
    if (np.isinf(low) and low < 0) or high < mean:  # mirrored: the lower bound is then finite
        low, high, stddev = high, low, -stddev
    least, most = (low - mean) / stddev, (high - mean) / stddev
    root = np.sqrt(least * least + 4)
    cutoff = 2 * np.exp(0.5 + (least * (least - root)) / 4) / (least + root)
    span = most - least
    uniform, normal = philox.uniform(dtype).draw, philox.normal(dtype).draw

    def by_normal(blocks: Array) -> tuple[Array, Array]:
        z = normal(blocks)
        return z, (z >= least) & (z <= most)

    def by_uniform(blocks: Array) -> tuple[Array, Array]:
        z = uniform(blocks[0::2].copy()) * span + least
        extra = dtype.numpy.type(0) if least < 0 else least * least
        density = np.exp((extra - z * z) / 2)
        return z, uniform(blocks[1::2].copy()) <= density

    def by_exponential(blocks: Array) -> tuple[Array, Array]:
        alpha = (least + np.sqrt(least * least + 4)) / 2
        numbers = uniform(blocks)
        z = -np.log(numbers[:, 0::2]) / alpha + least
        x = alpha - z if least < alpha else np.broadcast_to(least - alpha, z.shape)
        return z, (numbers[:, 1::2] <= np.exp(-x * x / 2)) & (z < most)

    inside = dtype.numpy.type(1.3)
    if (least < -inside and most >= 0) or (most > inside and least <= 0):
        sample, group = by_normal, 1
    elif span < cutoff:
        sample, group = by_uniform, 2
    else:
        sample, group = by_exponential, 1

    have, tries = 0, 0
    while have < out.size:
        groups = (out.size - have) // 2 + 2
        z, accepted = sample(stream.blocks(groups * group))
        places = np.flatnonzero(accepted.reshape(-1))[: out.size - have]
        gaps = np.diff(places, prepend=-1 - tries) - 1
        rest = accepted.size - 1 - (places[-1] if places.size else -1 - tries)
        if (gaps.size and gaps.max() >= _MAX_TRIES) or (have + places.size < out.size and rest >= _MAX_TRIES):
            raise ValueError(
                f"no sample of the truncated normal was accepted in {_MAX_TRIES} tries: deviation {stddev}, "
                f"bounds {low} and {high}"
            )
        out[have : have + places.size] = z.reshape(-1)[places] * stddev + mean
        have += places.size
        tries = rest
        used = places[-1] // z.shape[1] + 1 if have == out.size else groups
        stream = stream.skip(int(used) * group)
    return stream
