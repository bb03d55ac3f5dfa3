"""Every public function of `tf.math` and `tf.bitwise`, run by TensorFlow and by graphrack, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import Programs, agree, fed
from ops.operands import BFLOAT16, COMPLEX, FLOATS, INTS, SIGNED

F64: Any = np.float64
random = np.random.default_rng(0)
X = random.normal(size=(3, 4)) * 2
Y = random.normal(size=(4,)) + 3
POSITIVE = random.uniform(0.2, 5, (3, 4))
UNIT = random.uniform(-0.9, 0.9, (3, 4))
EDGES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -0.5])
N = random.integers(-7, 8, (3, 4))
M = random.integers(1, 6, (4,))
Z = random.normal(size=(2, 3)) + 1j * random.normal(size=(2, 3))
SHAPES: list[Any] = [X, np.float64(1.5) * np.ones(()), np.zeros((0, 3)), X.reshape(2, 1, 6)]

math = Programs(
    tf.math,
    {
        "approx_min_k": "TensorFlow's CPU kernel takes the largest alone",
    },
)

# Elementwise, one operand

for name in [
    "abs",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "asinh",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "floor",
    "log1p",
    "log_sigmoid",
    "negative",
    "reciprocal",
    "reciprocal_no_nan",
    "rint",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "is_finite",
    "is_inf",
    "is_nan",
    "lgamma",
    "digamma",
    "log",
    "bessel_i0",
    "bessel_i1",
    "bessel_i0e",
    "bessel_i1e",
]:
    value = UNIT if name == "atanh" else POSITIVE if name in ("log", "sqrt", "rsqrt", "lgamma", "digamma") else X
    few = {"rint": 2, "lgamma": 3, "digamma": 3, "erf": 2, "erfc": 2}.get(name, 2 if "bessel" in name else 4)
    math(name, value, dtypes=FLOATS[:few])
    for shape in SHAPES[1:]:
        math(name, np.abs(shape) if value is POSITIVE else shape / 10 if name == "atanh" else shape)
    if not name.startswith("bessel"):
        math(name, EDGES if name != "erf" else EDGES[np.isfinite(EDGES)], gradients=False)
for name in ("acos", "asin"):
    math(name, UNIT, dtypes=FLOATS)
    math(name, EDGES, gradients=False)
math("acosh", POSITIVE + 1, dtypes=FLOATS)
for name in ("erfinv", "ndtri", "erfcinv"):
    inside = np.abs(UNIT) if name == "ndtri" else UNIT + 1 if name == "erfcinv" else UNIT
    math(name, inside, dtypes=FLOATS[:2])
for name in ("abs", "negative", "sign", "square"):
    for dtype in SIGNED:
        math(name, N.astype(dtype))
for name in [
    "abs",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "rsqrt",
    "square",
    "reciprocal",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "acos",
    "asin",
    "atan",
    "sigmoid",
    "negative",
    "sign",
    "real",
    "imag",
    "conj",
    "angle",
]:
    math(name, Z, dtypes=COMPLEX)
for name in ("real", "imag", "conj", "angle"):
    math(name, X)
for dtype in INTS:
    for name in ("floor", "ceil", "round", "rint", "is_finite"):
        if name == "round":
            math(name, N.astype(dtype))

# Elementwise, two operands

for name in ["add", "subtract", "multiply", "divide", "truediv", "maximum", "minimum", "squared_difference"]:
    math(name, X, Y, dtypes=FLOATS)
    math(name, X, np.float64(2) * np.ones(()))
    math(name, np.zeros((0, 3)), np.ones((1, 3)))
    math(name, EDGES[:, None], EDGES, gradients=False)
    for dtype in (np.int32, np.int64) if name == "squared_difference" else (np.int32, np.int64, np.uint8, np.int16):
        math(name, N.astype(dtype), M.astype(dtype))
for name in ["add", "subtract", "multiply", "divide", "truediv", "squared_difference"]:
    math(name, Z, Z[0] + 1, dtypes=COMPLEX)
for name in ["divide_no_nan", "multiply_no_nan", "xdivy", "xlogy", "xlog1py"]:
    math(name, X, np.abs(Y), dtypes=FLOATS)
    math(name, np.array([0.0, 1.0, 0.0, 2.0]), np.array([0.0, 0.0, 5.0, 3.0]))
math("divide_no_nan", Z, Z[0], dtypes=COMPLEX)
for name in ["floordiv", "floormod", "mod"]:
    math(name, X, Y, dtypes=FLOATS, gradients=name != "mod")
    for dtype in (np.int32, np.int64, np.int8):
        math(name, N.astype(dtype), M.astype(dtype))
        math(name, N.astype(dtype), -M.astype(dtype))
        math(name, N.astype(dtype), M.astype(dtype) * 0)
math("floordiv", N.astype(np.uint8), M.astype(np.uint8))
math("pow", POSITIVE, Y, dtypes=FLOATS)
math("pow", X, np.array([2.0, 3.0, 0.0, -1.0]))
math("pow", N, np.abs(N))
math("pow", N, np.array(-1))
math("pow", Z, Z[0], dtypes=COMPLEX)
math("atan2", X, Y, dtypes=FLOATS)
math("atan2", EDGES[:, None], EDGES, gradients=False)
math("nextafter", X, Y, dtypes=FLOATS[:2])
math("nextafter", EDGES[:, None], EDGES)
for name in ["equal", "not_equal", "greater", "greater_equal", "less", "less_equal"]:
    math(name, X, Y, dtypes=FLOATS)
    math(name, N, M)
    math(name, EDGES[:, None], EDGES)
for name in ("equal", "not_equal"):
    math(name, np.array(["a", "b"]), np.array(["a", "c"]))
    math(name, Z, Z[0])
    math(name, N > 0, N > 1)
for name in ("logical_and", "logical_or", "logical_xor"):
    math(name, N > 0, N[0] > 1)
math("logical_not", N > 0)
for name in ("igamma", "igammac"):
    math(name, POSITIVE, np.abs(Y), dtypes=FLOATS[:2], rtol=1e-3)
math("polygamma", np.array([0.0, 1.0, 2.0, 3.0]), POSITIVE, dtypes=FLOATS[:2], rtol=1e-3)
math("zeta", POSITIVE + 1.1, np.abs(Y), dtypes=FLOATS[:2], rtol=1e-3)
math("betainc", POSITIVE, POSITIVE[::-1].copy(), np.abs(UNIT), dtypes=FLOATS[:2], rtol=1e-3)
math("lbeta", POSITIVE, dtypes=FLOATS[:2])
math("scalar_mul", np.float64(3) * np.ones(()), X, dtypes=FLOATS)
math("scalar_mul", 2.5, X)
for name in ("add_n", "accumulate_n"):
    math(name, [X, X + 1, X * 2], dtypes=FLOATS)
    math(name, [N, N])
math("polyval", [Y, Y + 1, np.float64(2) * np.ones(())], X)

# Reductions

for name in [
    "reduce_sum",
    "reduce_mean",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_logsumexp",
    "reduce_euclidean_norm",
    "reduce_std",
    "reduce_variance",
]:
    math(name, X, dtypes=FLOATS)
    for axis in (None, 0, -1, [0, 1], [], [1, -2]):
        math(name, X, axis=axis)
        math(name, X, axis=axis, keepdims=True)
    math(name, X, axis=np.array([0], np.int64))
    math(name, np.zeros((0, 3)), axis=0, gradients=False)
    math(name, np.array([1.0, np.nan, np.inf, -np.inf]), gradients=False)
    math(name, X, axis=2)
for name in ("reduce_sum", "reduce_mean", "reduce_prod", "reduce_variance", "reduce_std", "reduce_euclidean_norm"):
    math(name, Z, dtypes=COMPLEX, axis=1)
for name in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod"):
    for dtype in (np.int32, np.int64, np.uint8, np.int16):
        math(name, N.astype(dtype), axis=0)
for name in ("reduce_all", "reduce_any"):
    for axis in (None, 0, -1, [0, 1]):
        math(name, N > 0, axis=axis, keepdims=axis == 0)
math("count_nonzero", X * (X > 0), axis=0)
math("count_nonzero", N, keepdims=True, dtype=tf.int32)
math("count_nonzero", np.array(["", "a"]))
math("zero_fraction", X * (X > 0), dtypes=FLOATS)
math("argmax", X, 1, dtypes=FLOATS)
math("argmin", X, 0, output_type=tf.int32)
math("argmax", N, -1)
math("argmin", X)
math("argmax", np.array([[np.nan, 1], [2, np.nan]]), 1)

# Along an axis

for name in ("cumsum", "cumprod"):
    for axis, exclusive, reverse in ((0, False, False), (1, True, False), (-1, False, True), (0, True, True)):
        math(name, X, axis, exclusive, reverse)
        math(name, N, axis, exclusive, reverse)
    math(name, X, dtypes=FLOATS)
    math(name, Z, dtypes=COMPLEX)
for axis, exclusive, reverse in ((0, False, False), (1, True, False), (-1, False, True)):
    math("cumulative_logsumexp", X, axis, exclusive, reverse, dtypes=FLOATS[:3])
for name in ("softmax", "log_softmax"):
    math(name, X, dtypes=FLOATS)
    math.build(name, lambda name=name: getattr(tf.math, name)(fed(X, shape=(3, 4)), axis=0))
math("l2_normalize", X, 1, dtypes=FLOATS)
math("l2_normalize", X, [0, 1])
math("top_k", X, 2, dtypes=FLOATS)
math("top_k", N, np.array(3, np.int32))
math("top_k", np.array([1.0, -np.inf, 2.0, 2.0]), 4)
math.build("approx_max_k", lambda: tf.math.approx_max_k(fed(X, np.float32, (3, 4)), 2), gradients=False)
math("in_top_k", X.astype(np.float32), np.array([1, 0, 9], np.int32), 2)
math("invert_permutation", np.array([2, 0, 1]))
math("is_non_decreasing", X)
math("is_non_decreasing", np.array([1, 1, 2]))
math("is_strictly_increasing", np.array([1, 1, 2]))
math("is_strictly_increasing", np.zeros(0))
math("confusion_matrix", np.array([0, 2, 2, 1]), np.array([0, 1, 2, 1]))
math("confusion_matrix", np.array([0, 2]), np.array([0, 1]), 4, weights=np.array([0.5, 2.0]), dtype=tf.float64)
math("bincount", np.array([1, 1, 3], np.int32))
math("bincount", np.array([1, 1, 3], np.int32), weights=np.array([1.0, 2.0, 3.0]), minlength=6)
math("sobol_sample", 3, 5)
math("sobol_sample", 2, np.array(5, np.int32), 3, tf.float64)

# Segments

IDS = np.array([0, 0, 2], np.int32)
for name in ("sum", "mean", "max", "min", "prod"):
    math(f"segment_{name}", X, IDS, dtypes=FLOATS[:2])
    math(f"segment_{name}", N, IDS.astype(np.int64))
    math(f"segment_{name}", X, np.array([1, 0, 0], np.int32))
for name in ("sum", "mean", "max", "min", "prod", "sqrt_n"):
    math(f"unsorted_segment_{name}", X, np.array([2, 0, -1], np.int32), 4, dtypes=FLOATS[:2])
    math(f"unsorted_segment_{name}", X, np.array([[0, 1, 0, 1]] * 3), np.array(3, np.int32))
    math(f"unsorted_segment_{name}", X, np.array([2, 0, 5], np.int32), 4)


bitwise = Programs(tf.bitwise, {})
for dtype in INTS:
    a, b = N.astype(dtype), M.astype(dtype)
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"):
        bitwise(name, a, b)
    bitwise("invert", a)


@pytest.mark.parametrize(("program", "options"), [*math.parameters(), *bitwise.parameters()])
def test_program_agrees(program: Any, options: Any) -> None:
    agree(program, **options)


def test_every_function_has_a_program() -> None:
    assert math.missing() == []
    assert bitwise.missing() == []


def test_operators_of_tensors_agree() -> None:
    def program() -> Any:
        a, b, n = fed(X), fed(Y), fed(N)
        bits = n > 0
        return [
            a + b, a - 1, 2 * a, a / b, 1 / b, a // b, n // 2, n % 3, -a, abs(a), a**2, 2.0**b, a < b, a >= b,
            ~bits, bits & (n > 1), bits | (n > 1), bits ^ (n > 1), a[0], a[:, 1:3], a[..., tf.newaxis], a[::-1, -1],
            tf.matmul(a, tf.transpose(a)), a @ tf.transpose(a),
        ]  # fmt: skip

    agree(program)


def test_narrow_types_agree_in_a_chain() -> None:
    agree(lambda: tf.math.tanh(tf.math.exp(fed(UNIT, BFLOAT16)) * fed(UNIT, BFLOAT16) + 1))
