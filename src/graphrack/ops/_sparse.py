"""What ops on sparse tensors have in common: a sparse tensor as indices [n, rank], values [n] and shape [rank]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.ops._arguments import are_within
from graphrack.ops.runtime import Array

_MAX_FLAT = 2**63 - 1


class Sparse(NamedTuple):
    """A sparse tensor; `indices` are int64, one row for each of `values`."""

    indices: Array
    values: Array
    shape: tuple[int, ...]


def sparse(indices: Any, values: Any, shape: Any, name: str = "sparse tensor", *, inside: bool = True) -> Sparse:
    """A sparse tensor of an op's three inputs.

    Raises:
        ValueError: they don't belong together; where `inside` is asked for, an index lies outside of the shape.
    """
    indices, values, shape = np.asarray(indices), np.asarray(values), np.asarray(shape)
    if indices.ndim != 2 or values.ndim != 1 or shape.ndim != 1:
        raise ValueError(
            f"{name} needs a matrix of indices, vectors of values and of sizes; got shapes {list(indices.shape)}, "
            f"{list(values.shape)} and {list(shape.shape)}"
        )
    if indices.shape != (len(values), len(shape)):
        raise ValueError(
            f"{name} has indices of shape {list(indices.shape)}; {len(values)} values of rank {len(shape)} "
            f"need {[len(values), len(shape)]}"
        )
    sizes = checked_shape(shape, name)
    if inside and not all(are_within(indices[:, i], size) for i, size in enumerate(sizes)):
        outside = ((indices < 0) | (indices >= shape)).any(axis=1)
        at = int(outside.argmax())
        raise ValueError(f"{name} has index {indices[at].tolist()} outside of its shape {list(sizes)}")
    return Sparse(indices, values, sizes)


def checked_shape(shape: Array, name: str = "sparse tensor") -> tuple[int, ...]:
    """Sizes whose product can count elements. Raises `ValueError` for others."""
    sizes = tuple(shape.tolist())
    if min(sizes, default=0) < 0 or math.prod(sizes) > _MAX_FLAT:
        raise ValueError(f"{name} has the shape {list(sizes)}, whose sizes are negative or too large")
    return sizes


def flat(indices: Array, shape: Sequence[int]) -> Array:
    """Each index as one number, in row-major order."""
    if len(shape) == 1:
        return indices[:, 0].astype(np.int64)
    if len(shape) == 2:
        numbers: Array = indices[:, 0] * np.int64(shape[1])
        numbers += indices[:, 1]
        return numbers
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return indices @ np.array(strides, np.int64).reshape(-1)


def unflat(numbers: Array, shape: Sequence[int]) -> Array:
    """The reverse of `flat`."""
    if not shape or 0 in shape:
        return np.zeros((len(numbers), len(shape)), np.int64)
    if len(shape) == 1:
        return numbers.reshape(-1, 1)
    if len(shape) == 2:
        indices = np.empty((len(numbers), 2), np.int64)
        np.divmod(numbers, shape[1], out=(indices[:, 0], indices[:, 1]))
        return indices
    return np.stack(np.unravel_index(numbers, shape), axis=1).astype(np.int64, copy=False)


def order(indices: Array) -> Array:
    """The permutation that puts indices into row-major order, equal ones as they were."""
    return np.lexsort(indices.T[::-1]) if indices.shape[1] else np.arange(len(indices))


def groups(numbers: Array) -> tuple[Array, Array, Array]:
    """Equal numbers together: a stable permutation, where each group starts in it, and each group's number."""
    permutation = np.argsort(numbers, kind="stable")
    ordered = numbers[permutation]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else permutation
    return permutation, starts, ordered[starts]


def vector64(values: Sequence[int]) -> Array:
    """A shape as ops give it."""
    return np.array(values, np.int64).reshape(-1)
