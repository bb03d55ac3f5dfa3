"""How close graphrack's values must be to TensorFlow's. Nothing here imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def tolerance(dtype: np.dtype[Any], rtol: float | None, atol: float | None) -> tuple[float, float]:
    """Comparison bounds: exact for what is exact, a few units in the last place for what is rounded."""
    size = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-5, "complex64": 1e-5}.get(str(dtype), 1e-10)
    return size if rtol is None else rtol, size if atol is None else atol


def compare(found: Any, expected: Any, rtol: float | None = None, atol: float | None = None, note: object = "") -> None:
    """Asserts equal dtype, shape and value; NaN equals NaN. What fails begins with the note."""
    expected = np.asarray(expected, dtype=object) if isinstance(expected, bytes) else np.asarray(expected)
    assert isinstance(found, (np.ndarray, np.generic)), f"{note}: {type(found)} is no array"
    if found.dtype.names and not expected.dtype.names:  # a session gives quantized values as plain integers
        found = np.asarray(found).view(found.dtype[0])
    assert found.shape == expected.shape, f"{note}: shape {found.shape}, TensorFlow's {expected.shape}"
    assert found.dtype == expected.dtype, f"{note}: dtype {found.dtype}, TensorFlow's {expected.dtype}"
    if expected.dtype.kind in "biuO" or expected.dtype.names:
        _shown(note, lambda: np.testing.assert_array_equal(found, expected))
        return
    rtol, atol = tolerance(expected.dtype, rtol, atol)
    if expected.dtype.kind == "V" or expected.dtype.itemsize < 4:
        found, expected = np.asarray(found).astype(np.float32), expected.astype(np.float32)
    _shown(note, lambda: np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, equal_nan=True))


def _shown(note: object, assertion: Callable[[], None]) -> None:
    try:
        assertion()
    except AssertionError as error:
        raise AssertionError(f"{note}: {error}") from None
