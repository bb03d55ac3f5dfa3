"""Operands for differential tests of ops: every dtype, with the values where kernels differ."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

HALF: Any = np.float16
BFLOAT16: Any = ml_dtypes.bfloat16
FLOATS: tuple[Any, ...] = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
COMPLEX: tuple[Any, ...] = (np.complex64, np.complex128)
SIGNED: tuple[Any, ...] = (np.int8, np.int16, np.int32, np.int64)
UNSIGNED: tuple[Any, ...] = (np.uint8, np.uint16, np.uint32, np.uint64)
INTS = SIGNED + UNSIGNED
REAL = FLOATS + INTS
NUMBERS = REAL + COMPLEX

SHAPES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), ()),
    ((3,), ()),
    ((), (2, 3)),
    ((2, 3), (2, 3)),
    ((2, 1), (3,)),
    ((4, 1, 3), (2, 1)),
    ((0,), ()),
    ((2, 0), (1,)),
    ((0, 1), (3,)),
    ((2,), (3,)),
)
"""Pairs of shapes: equal, broadcast, empty, and one that TensorFlow refuses."""


def name(dtype: Any) -> str:
    return np.dtype(dtype).name


def sample(random: np.random.Generator, shape: tuple[int, ...], dtype: Any, *, low: float = -4, high: float = 4) -> Any:
    """Values of both signs where the dtype has them; integers of the full range now and then."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return random.random(shape) < 0.5
    if dtype.kind == "c":
        return np.asarray(random.uniform(low, high, shape) + 1j * random.uniform(low, high, shape)).astype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        small = random.integers(max(info.min, -7), 8, shape)
        full = random.integers(info.min, info.max, shape, dtype, endpoint=True)
        return np.where(random.random(shape) < 0.2, full, small.astype(dtype))
    return np.asarray(random.uniform(low, high, shape)).astype(dtype)


def special(dtype: Any) -> Any:
    """NaN, infinities, zeros of both signs, ones; for integers the ends of their range."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([info.min, info.max, 0, 1, 2, info.max - 1, info.min + 1], dtype)
    return np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -0.5]).astype(dtype)


def grid(values: Any) -> tuple[Any, Any]:
    """Every value against every other."""
    left, right = np.meshgrid(values, values, indexing="ij")
    return left.reshape(-1), right.reshape(-1)
