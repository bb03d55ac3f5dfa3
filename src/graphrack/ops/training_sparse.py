"""What ops do that change some rows of an array: rows by index, in order, each index as often as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphrack.ops._arguments import are_within

Array = np.ndarray[Any, Any]


def check_rows(indices: Array, rows: int, what: str) -> None:
    """Raises `ValueError` where an index is not one of that many rows."""
    if not are_within(indices, rows):
        bad = np.argwhere((indices < 0) | (indices >= rows))[0].tolist()
        raise ValueError(f"indices{bad} = {indices[tuple(bad)]} is not in [0, {rows}), the rows of {what}")


_FEW = 100
"""Indices of which a set tells sooner than a sort whether any comes twice."""


def are_distinct(indices: Array) -> bool:
    """Whether a vector of few indices has none twice; of many, nobody looks."""
    return indices.size <= _FEW and len(set(indices.tolist())) == indices.size


def put_rows(arrays: Sequence[Array], indices: Array, rows: Sequence[Array]) -> None:
    """Puts the same rows of several arrays of one shape, which are C-contiguous; no index may come twice."""
    if arrays[0].size == len(arrays[0]):  # one element a row
        for array, given in zip(arrays, rows, strict=True):
            array.put(indices, given)
    else:
        for array, given in zip(arrays, rows, strict=True):
            array[indices] = given


def waves(indices: Array) -> Iterator[Array | slice]:
    """Positions of a vector of indices, in groups in which no index comes twice.

    An index's first place is in the first group, its second in the second: working group by group is
    working in order, since what happens to one row doesn't depend on other rows.
    """
    if are_distinct(indices):
        yield slice(None)
        return
    order = np.argsort(indices, kind="stable")
    ordered = indices[order]
    fresh = np.ones(indices.size, bool)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    if fresh.all():
        yield slice(None)
        return
    position = np.arange(indices.size)
    begins = np.maximum.accumulate(np.where(fresh, position, 0))
    rank = np.empty_like(position)
    rank[order] = position - begins
    by_rank = np.argsort(rank, kind="stable")
    yield from np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])
