"""Elementwise functions of one tensor against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.operands import COMPLEX, FLOATS, NUMBERS, SIGNED, name, sample, special

WAVES = FLOATS + COMPLEX
UNARY: dict[str, tuple[Any, ...]] = {
    "Neg": FLOATS + SIGNED + COMPLEX,
    "Abs": FLOATS + SIGNED,
    "Sign": FLOATS + SIGNED + COMPLEX,
    "Square": NUMBERS,
    "Sqrt": WAVES,
    "Rsqrt": WAVES,
    "Reciprocal": WAVES,
    "Inv": WAVES,
    "Exp": WAVES,
    "Expm1": WAVES,
    "Log": WAVES,
    "Log1p": WAVES,
    "Sin": WAVES,
    "Cos": WAVES,
    "Tan": WAVES,
    "Asin": WAVES,
    "Acos": WAVES,
    "Atan": WAVES,
    "Sinh": WAVES,
    "Cosh": WAVES,
    "Tanh": WAVES,
    "Asinh": WAVES,
    "Acosh": WAVES,
    "Atanh": WAVES,
    "Sigmoid": WAVES,
    "Ceil": FLOATS,
    "Floor": FLOATS,
    "Round": FLOATS,
    "Rint": (np.float32, np.float64),
    "IsNan": FLOATS,
    "IsInf": FLOATS,
    "IsFinite": FLOATS,
}
CASES = [pytest.param(op, dtype, id=f"{op}-{name(dtype)}") for op, dtypes in UNARY.items() for dtype in dtypes]


@pytest.mark.parametrize(("op", "dtype"), CASES)
def test_function_agrees_over_shapes(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    for shape in ((), (1,), (0,), (2, 0, 3), (17,), (3, 4)):
        for low, high in ((-1, 1), (1, 4), (-30, 30)):
            check(
                op,
                x=sample(random, shape, dtype, low=low, high=high),
            )


@pytest.mark.parametrize(("op", "dtype"), [c for c in CASES if np.dtype(c.values[1]).kind != "c"])
def test_function_agrees_on_special_values(op: str, dtype: Any) -> None:
    values = special(dtype)
    check(op, x=values)
    check(op, x=np.tile(values, 9))
    for value in values:
        check(op, x=value)


@pytest.mark.parametrize("op", ["Round", "Rint"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_halves_round_to_even(op: str, dtype: Any) -> None:
    check(op, x=np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 4503599627370497.5], dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", ["Sin", "Cos", "Tan", "Exp", "Tanh", "Sigmoid", "Expm1", "Log1p", "Asinh", "Sinh"])
def test_large_and_small_arguments_agree(op: str, dtype: Any) -> None:
    x = np.concatenate([np.geomspace(1e-6, 80, 40), -np.geomspace(1e-6, 0.9, 30)]).astype(dtype)
    check(op, x=x, atol=0)


@pytest.mark.parametrize("op", ["Log", "Sqrt", "Rsqrt", "Reciprocal", "Sign"])
@pytest.mark.parametrize("dtype", COMPLEX)
def test_complex_zero_agrees(op: str, dtype: Any) -> None:
    check(op, x=np.array([0, 1, 1j, -1, -1j], dtype))


def both_complex(dtype: Any) -> tuple[Any, Any]:
    return (np.complex64, tf.float32) if dtype is np.complex64 else (np.complex128, tf.float64)


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("op", ["Real", "Imag", "Angle", "Conj", "ComplexAbs"])
def test_part_of_complex_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    real = tf.float32 if dtype is np.complex64 else tf.float64
    for shape in ((), (0,), (2, 3)):
        x = sample(random, shape, dtype)
        more = {} if op == "Conj" else {"Tout": real}
        check(op, **{"x" if op == "ComplexAbs" else "input": x}, **more)
    special = np.array([0, -1, complex(np.inf, 1), complex(1, np.nan)], dtype)
    check(op, **{"x" if op == "ComplexAbs" else "input": special}, **more)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_complex_from_parts_agrees(dtype: Any) -> None:
    random = np.random.default_rng(0)
    whole = tf.complex64 if dtype is np.float32 else tf.complex128
    for left, right in (((), ()), ((3,), ()), ((2, 1), (3,)), ((0,), ()), ((2,), (3,))):
        check("Complex", real=sample(random, left, dtype), imag=sample(random, right, dtype), Tout=whole)
    check("Complex", real=np.array([np.inf, 1], dtype), imag=np.array([1, np.nan], dtype), Tout=whole)
