"""Sparse tensors for tests."""

from __future__ import annotations

from typing import Any

import numpy as np


def sparse(shape: tuple[int, ...], seed: int = 0, dtype: Any = np.float32, part: float = 0.4) -> tuple[Any, Any, Any]:
    """Indices in order, values and shape of a random sparse tensor."""
    random = np.random.default_rng([seed, *shape])
    indices = np.argwhere(random.random(shape) < part).astype(np.int64).reshape(-1, len(shape))
    numbers = random.integers(-4, 5, len(indices))
    if dtype is object:
        values: Any = np.array([b"%d" % n for n in numbers] + [b""], object)[:-1]
    elif np.dtype(dtype).kind == "c":
        values = (numbers + 1j * random.integers(-4, 5, len(indices))).astype(dtype)
    elif np.dtype(dtype).kind in "fV":
        values = (numbers + random.integers(0, 4, len(indices)) / 4).astype(dtype)
    else:
        values = np.abs(numbers).astype(dtype) if np.dtype(dtype).kind == "u" else numbers.astype(dtype)
    return indices, values, np.array(shape, np.int64)


SHAPES: list[tuple[int, ...]] = [(4, 5), (3, 2, 4), (6,), (0, 3), (2, 0, 3), (1, 1), (5, 1)]
