"""Bitwise operations against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.operands import INTS, SHAPES, grid, name, sample, special


@pytest.mark.parametrize("dtype", INTS, ids=name)
@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_binary_operation_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    for left, right in SHAPES:
        check(op, x=sample(random, left, dtype), y=sample(random, right, dtype))
    x, y = grid(special(dtype))
    check(op, x=x, y=y)


@pytest.mark.parametrize("dtype", INTS, ids=name)
@pytest.mark.parametrize("op", ["LeftShift", "RightShift"])
def test_shift_agrees_for_any_distance(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    for left, right in SHAPES:
        check(op, x=sample(random, left, dtype), y=sample(random, right, dtype))
    least = 0 if np.dtype(dtype).kind == "u" else -3
    distances = np.arange(least, 8 * np.dtype(dtype).itemsize + 3).astype(dtype)
    for value in special(dtype):
        check(op, x=value, y=distances)


@pytest.mark.parametrize("dtype", INTS, ids=name)
@pytest.mark.parametrize("op", ["Invert", "PopulationCount"])
def test_unary_operation_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    for shape in ((), (0,), (3, 4)):
        check(op, x=sample(random, shape, dtype))
    check(op, x=special(dtype))
    check(op, x=sample(random, (6, 4), dtype)[::2, 1:].T)
