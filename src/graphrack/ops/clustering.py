"""Clusters of points: where k-means starts, and which centres are nearest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphrack.ops._arguments import scalar
from graphrack.ops.philox import Stream
from graphrack.ops.registry import op
from graphrack.ops.runtime import Array

_F = np.float32
_CHUNK = 1 << 20  # distances computed at a time


def _words(seed: int) -> Iterator[int]:
    """The 32-bit words of a generator of this seed alone."""
    stream = Stream(seed & (2**64 - 1), 0)
    for start in itertools.count(0, 64):
        yield from stream.skip(start).words(256).tolist()


def _below(words: Iterator[int], limit: int) -> int:
    """An integer in [0, limit), of two words: numbers that would favour small ones are skipped."""
    first = 0 if limit & (limit - 1) == 0 else (2**64 - 1) % limit + 1
    while True:
        number = next(words) | next(words) << 32
        if number >= first:
            return number % limit


def _unit(words: Iterator[int]) -> Any:
    """A float32 in [0, 1)."""
    return _F((next(words) & 0x7FFFFF) / (1 << 23))


def _matrix(name: str, value: Array) -> None:
    if value.ndim != 2:
        raise ValueError(f"{name} must be a matrix, got shape {value.shape}")


def _half_norms(points: Array) -> Array:
    norms: Array = _F(0.5) * np.einsum("ij,ij->i", points, points)
    return norms


@op("KmeansPlusPlusInitialization")
def KmeansPlusPlusInitialization(
    points: Array, num_to_sample: Array, seed: Array, num_retries_per_sample: Array
) -> Any:
    """Points drawn one by one, in proportion to their squared distance from those drawn before.

    Of each draw and its retries the point stays that brings all points nearest (k-means++, Arthur and Vassilvitskii,
    2007). Where two points bring them equally near, to rounding, TensorFlow may keep the other one.
    """
    _matrix("points", points)
    count, total = scalar("num_to_sample", num_to_sample), len(points)
    if not 0 < count <= total:
        raise ValueError(f"num_to_sample must be from 1 to the number of points, {total}, got {count}")
    tries = scalar("num_retries_per_sample", num_retries_per_sample)
    if tries < 0:
        tries = 2 + int(math.log(count))
    words = _words(scalar("seed", seed))
    norms = _half_norms(points)
    nearest = np.full(total, np.inf, _F)
    sampled: list[int] = []
    sums: Array | None = None

    def draw() -> int:
        if sums is None:
            return _below(words, total)
        while True:
            if sums[-1] > 0:
                index = min(int(np.searchsorted(sums, _unit(words) * sums[-1], side="right")), total - 1)
            else:
                index = _below(words, total)
            if index not in sampled:
                return index

    for _ in range(count):
        # Without one that is finite, TensorFlow takes the first point.
        best, potential, distances = 0, _F(np.inf), nearest
        for _ in range(1 + tries):
            index = draw()
            found = np.minimum(nearest, norms - points @ points[index] + norms[index])
            if not tries or found.sum() < potential:
                best, potential, distances = index, found.sum(), found
        nearest = distances
        sampled.append(best)
        sums = np.cumsum(nearest, dtype=_F)
    return points[sampled]


@op("KMC2ChainInitialization")
def KMC2ChainInitialization(distances: Array, seed: Array) -> Any:
    """The last state of a Markov chain through all points, which goes to those that are farther."""
    if distances.ndim != 1 or not distances.size:
        raise ValueError(f"distances must be a vector of at least one element, got shape {distances.shape}")
    words = _words(scalar("seed", seed))
    selected = 0
    for i in range(1, len(distances)):
        if distances[i] > _unit(words) * distances[selected]:
            selected = i
    return np.int64(selected)


@op("NearestNeighbors", outputs=2)
def NearestNeighbors(points: Array, centers: Array, k: Array) -> tuple[Array, Array]:
    """Indices of each point's `k` nearest centres, and their squared distances."""
    _matrix("points", points)
    _matrix("centers", centers)
    count = scalar("k", k)
    if not len(points) or points.shape[1] != centers.shape[1] or count < 0:
        raise ValueError(
            "points and centers must have one number of columns, points at least one row, and k be at least 0, got "
            f"{points.shape}, {centers.shape} and {count}"
        )
    count = min(count, len(centers))
    indices = np.empty((len(points), count), np.int64)
    distances = np.empty(indices.shape, _F)
    norms = _half_norms(centers)
    step = max(1, _CHUNK // max(len(centers), 1)) if count else len(points)
    for start in range(0, len(points) if count else 0, step):
        piece = points[start : start + step]
        partial = norms - piece @ centers.T
        order = partial.argmin(axis=1)[:, None] if count == 1 else partial.argsort(axis=1, kind="stable")[:, :count]
        indices[start : start + step] = order
        chosen = np.take_along_axis(partial, order, axis=1)
        distances[start : start + step] = _F(2) * (chosen + _half_norms(piece)[:, None])
    return indices, distances
