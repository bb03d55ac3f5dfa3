"""Comparisons and logic against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.operands import COMPLEX, REAL, SHAPES, grid, name, sample, special

ORDER = ("Less", "LessEqual", "Greater", "GreaterEqual")
EQUALITY = ("Equal", "NotEqual")
CASES = [(op, dtype) for op in ORDER for dtype in REAL]
CASES += [(op, dtype) for op in EQUALITY for dtype in (*REAL, *COMPLEX, np.bool_)]


@pytest.mark.parametrize(("op", "dtype"), CASES, ids=[f"{op}-{name(dtype)}" for op, dtype in CASES])
def test_comparison_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    more = {"incompatible_shape_error": True} if op in EQUALITY else {}
    for left, right in SHAPES:
        check(op, x=sample(random, left, dtype), y=sample(random, right, dtype), **more)
    if np.dtype(dtype).kind not in "bc":
        x, y = grid(special(dtype))
        check(op, x=x, y=y, **more)


@pytest.mark.parametrize("op", EQUALITY)
def test_equality_of_incompatible_shapes_has_one_answer(op: str) -> None:
    random = np.random.default_rng(0)
    for left, right in (*SHAPES, ((2,), (3,)), ((2, 2), (3, 2)), ((0,), (2,))):
        x, y = sample(random, left, np.int32), sample(random, right, np.int32)
        check(op, x=x, y=y, incompatible_shape_error=False, refused=False)
    check(op, x=np.ones(2, np.int32), y=np.ones(3, np.int32), incompatible_shape_error=True, refused=True)


@pytest.mark.parametrize("op", EQUALITY)
def test_equality_of_strings_agrees(op: str) -> None:
    x = np.array([[b"a", b"", b"\x00\xff"]], dtype=object)
    for y in (x, x.T, np.array(b"a", dtype=object), np.array([], dtype=object).reshape(0, 1)):
        check(op, x=x, y=y, incompatible_shape_error=True)
    check(op, x=np.array(b"b", dtype=object), y=np.array(b"a", dtype=object), incompatible_shape_error=True)


@pytest.mark.parametrize("op", EQUALITY)
@pytest.mark.parametrize("dtype", [tf.qint8, tf.quint8, tf.qint16, tf.quint16, tf.qint32])
def test_equality_of_quantized_values_agrees(op: str, dtype: Any) -> None:
    stored = dtype.as_numpy_dtype
    x = np.array([0, 1, 2, 3], stored[0]).view(stored)
    check(op, x=x, y=x[::-1].copy(), incompatible_shape_error=True)
    check(op, x=x.reshape(2, 2), y=x[:1], incompatible_shape_error=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tolerance", [1e-5, 0.5, 0.0])
def test_approximate_equal_agrees(dtype: Any, tolerance: float) -> None:
    x, y = grid(special(dtype))
    check("ApproximateEqual", x=x, y=y, tolerance=tolerance)
    near = np.array([1, 1 + 1e-6, 1 - 1e-4, 1.5], dtype)
    check("ApproximateEqual", x=near, y=np.ones(4, dtype), tolerance=tolerance)
    check("ApproximateEqual", x=dtype(1), y=dtype(1.1), tolerance=tolerance)
    check("ApproximateEqual", x=near, y=np.ones(1, dtype), tolerance=tolerance, refused=True)


@pytest.mark.parametrize("op", ["LogicalAnd", "LogicalOr"])
def test_logic_agrees(op: str) -> None:
    random = np.random.default_rng(2)
    for left, right in SHAPES:
        check(op, x=sample(random, left, np.bool_), y=sample(random, right, np.bool_))


def test_logical_not_agrees() -> None:
    for shape in ((), (0,), (2, 3)):
        check("LogicalNot", x=sample(np.random.default_rng(0), shape, np.bool_))
