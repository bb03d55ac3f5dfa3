"""What ops ask of arguments that arrive as tensors: axes, shapes, lists of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.ops.runtime import Array


def scalar(name: str, value: Array) -> int:
    """The integer that an input holds; TensorFlow wants rank 0 here. Raises `ValueError` otherwise."""
    if value.ndim:
        raise ValueError(f"{name} must be a scalar, got shape {value.shape}")
    return int(value)


def legacy_scalar(name: str, value: Array) -> int:
    """As `scalar`; a vector of one counts as a scalar, as it did in TensorFlow's first versions."""
    return scalar(name, value.reshape(()) if value.shape == (1,) else value)


def vector(name: str, value: Array) -> list[int]:
    """The integers that an input of rank 1 holds. Raises `ValueError` for any other rank."""
    if value.ndim != 1:
        raise ValueError(f"{name} must be a vector, got shape {value.shape}")
    return value.tolist()  # type: ignore[no-any-return]


def legacy_vector(name: str, value: Array) -> list[int]:
    """As `vector`; a scalar counts as a vector of one, as it did in TensorFlow's first versions."""
    return vector(name, value if value.ndim else value.reshape(1))


def sizes(name: str, value: Array) -> list[int]:
    """The sizes of a shape given as a vector. Raises `ValueError` for negative ones."""
    return checked_sizes(name, vector(name, value))


def checked_sizes(name: str, found: list[int]) -> list[int]:
    """The sizes themselves. Raises `ValueError` for negative ones."""
    if found and min(found) < 0:
        raise ValueError(f"{name} must hold sizes of at least 0, got {found}")
    return found


def axis_of(axis: int, rank: int, name: str = "axis") -> int:
    """The axis counted from the front; `axis` may count from the back. Raises `ValueError` out of range."""
    if not -rank <= axis < rank:
        raise ValueError(f"{name} must be in [{-rank}, {rank}) for an input of rank {rank}, got {axis}")
    return axis + rank if axis < 0 else axis


def filled(shape: Sequence[int], value: Any, dtype: Any) -> Array:
    """A new array of one value. `value`: a scalar, rank-0 array, or for strings `bytes`."""
    out = np.empty(shape, dtype)
    out[...] = value
    return out


def blank(dtype: np.dtype[Any]) -> Any:
    """TensorFlow's default value of a dtype: zero, False, the empty string."""
    return b"" if dtype.hasobject else np.zeros((), dtype)


def zeros(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """A new array of a dtype's default value (empty strings for strings)."""
    return filled(shape, b"", dtype) if dtype.hasobject else np.zeros(shape, dtype)


_FEW = 24  # numbers that Python looks through sooner than NumPy
_UNSIGNED = {np.dtype(f"i{size}"): np.dtype(f"u{size}") for size in (1, 2, 4, 8)}


def are_within(indices: Array, limit: int) -> bool:
    """Whether all indices are in [0, limit)."""
    if not indices.size or (not indices.ndim and 0 <= indices < limit):
        return True
    if indices.ndim == 1 and indices.size <= _FEW:
        listed = indices.tolist()
        return bool(min(listed) >= 0 and max(listed) < limit)
    # One reduction instead of two: negative numbers are huge when read as unsigned.
    unsigned = indices.view(_UNSIGNED[indices.dtype]) if indices.dtype in _UNSIGNED else indices
    return bool(np.maximum.reduce(unsigned, None) < limit)


def within(name: str, indices: Array, limit: int) -> None:
    """Raises `ValueError`, naming the first offender, unless all indices are in [0, limit)."""
    if are_within(indices, limit):
        return
    flat = np.asarray(indices).reshape(-1)
    bad = int(np.flatnonzero((flat < 0) | (flat >= limit))[0])
    where = ",".join(str(int(i)) for i in np.unravel_index(bad, indices.shape))
    raise ValueError(f"{name}[{where}] = {flat[bad]} is not in [0, {limit})")
