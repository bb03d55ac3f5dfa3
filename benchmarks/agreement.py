"""Whether sides' results are the same; without that no time counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def close(one: Any, other: Any) -> bool:
    """Whether numbers, or lists of them, agree to single precision. A side that gives no result agrees."""
    if one is None or other is None:
        return True
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(abs(one - other) <= 1e-5 * max(1.0, abs(one), abs(other)))


def near(one: Sequence[Sequence[Any]], other: Sequence[Sequence[Any]]) -> bool:
    """Whether results have equal shapes, and values within 1e-4: of a value, or of their spread where that is more."""
    import numpy as np

    for (shape, values), (other_shape, other_values) in zip(one, other, strict=True):
        if shape != other_shape:
            return False
        expected = np.asarray(other_values)
        # Beside values of order one, of a sum near zero only its terms' rounding is left.
        allowed = 1e-4 * np.maximum(np.abs(expected), np.std(expected))
        if not (np.abs(np.asarray(values) - expected) <= allowed).all():
            return False
    return True
