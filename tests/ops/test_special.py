"""Special functions against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.operands import BFLOAT16, FLOATS, name, special

from graphrack.formats.dtypes import from_numpy
from graphrack.ops import registry

DOUBLES: tuple[Any, ...] = (np.float32, np.float64)
UNARY: dict[str, tuple[Any, ...]] = {
    "Erf": FLOATS,
    "Erfc": FLOATS,
    "Erfinv": DOUBLES,
    "Ndtri": DOUBLES,
    "Lgamma": (*DOUBLES, np.float16),
    "Digamma": (*DOUBLES, np.float16),
}
BINARY = {"Igamma": ("a", "x"), "Igammac": ("a", "x"), "IgammaGradA": ("a", "x"), "Zeta": ("x", "q")}
UNARY_CASES = [pytest.param(op, dtype, id=f"{op}-{name(dtype)}") for op, dtypes in UNARY.items() for dtype in dtypes]


@pytest.mark.parametrize(("op", "dtype"), UNARY_CASES)
def test_function_of_one_tensor_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    bound = {np.float32: 3e-5, np.float64: 1e-9}.get(dtype)
    for shape in ((), (0,), (40,), (3, 4)):
        for low, high in ((0.01, 0.99), (-0.99, 5), (-4.9, 30)):
            x = np.asarray(random.uniform(low, high, shape)).astype(dtype)
            check(op, x=x, rtol=bound)
    edges = special(dtype)
    if op == "Erf" and dtype is np.float64:  # TensorFlow's NaN for infinity is a slip of this one type
        edges = edges[np.isfinite(edges)]
    check(op, x=np.concatenate([edges, np.array([-2, -3, 0.5, 1e-3, 100]).astype(dtype)]), rtol=bound)


@pytest.mark.parametrize("dtype", DOUBLES)
@pytest.mark.parametrize("op", BINARY)
def test_function_of_two_tensors_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    left, right = BINARY[op]
    # TensorFlow's own float32 loses digits where its series are long.
    bound = {np.float32: 2e-4, np.float64: 1e-8}[dtype]
    for a, b in (((), ()), ((30,), (30,)), ((4, 1), (5,)), ((0,), ()), ((), (3,)), ((2,), (3,))):
        for high in (1.5, 8, 60):
            x = random.uniform(1.1, high, a).astype(dtype) if a else dtype(random.uniform(1.1, high))
            y = random.uniform(0.1, high, b).astype(dtype) if b else dtype(random.uniform(0.1, high))
            check(op, **{left: x, right: y}, rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", DOUBLES)
@pytest.mark.parametrize("op", ["Igamma", "Igammac", "IgammaGradA", "Zeta", "Polygamma"])
def test_edges_of_domains_agree(op: str, dtype: Any) -> None:
    left, right = BINARY.get(op, ("a", "x"))
    values = np.array(
        [0, -1, -2, 1, 2, 3, -1.5, 0.5, np.nan] + ([np.inf] if op in {"Igamma", "Igammac"} else []), dtype
    )
    x, y = (side.reshape(-1) for side in np.meshgrid(values, values))
    check(op, **{left: x, right: y}, rtol=1e-4 if dtype is np.float32 else 1e-8)


@pytest.mark.parametrize("dtype", DOUBLES)
def test_polygamma_agrees(dtype: Any) -> None:
    random = np.random.default_rng(0)
    for order in (0, 1, 2, 3, 5):
        x = random.uniform(0.1, 20, (20,)).astype(dtype)
        check("Polygamma", a=dtype(order), x=x, rtol=1e-4 if dtype is np.float32 else 1e-9)
        check("Polygamma", a=np.full((2, 1), order, dtype), x=x[:3], rtol=1e-4)


@pytest.mark.parametrize("dtype", DOUBLES)
def test_betainc_agrees(dtype: Any) -> None:
    random = np.random.default_rng(0)
    bound = 1e-4 if dtype is np.float32 else 1e-9

    def operand(shape: tuple[int, ...], high: float) -> Any:
        return np.asarray(random.uniform(0.05, high, shape)).astype(dtype)

    for shapes in (((), (), ()), ((50,), (50,), (50,)), ((), (3, 4), ()), ((2,), (), (2,)), ((0,), (0,), ())):
        check("Betainc", a=operand(shapes[0], 9), b=operand(shapes[1], 9), x=operand(shapes[2], 0.95), rtol=bound)
    a, b, x = (
        g.reshape(-1)
        for g in np.meshgrid([0, -1, 1, 2.5, np.nan, np.inf], [0, -1, 2, np.nan, np.inf], [0, 1, 0.5, -1, 2, np.nan])
    )
    check("Betainc", a=a.astype(dtype), b=b.astype(dtype), x=x.astype(dtype), rtol=bound)
    for shapes in (((1,), (3,), (3,)), ((2, 1), (2, 3), ())):
        check("Betainc", a=operand(shapes[0], 9), b=operand(shapes[1], 9), x=operand(shapes[2], 0.9), refused=True)


def test_error_function_of_infinity_is_one() -> None:
    implementation = registry.lookup("Erf")
    assert implementation is not None
    for dtype in FLOATS:
        found = implementation.bind("n", {"T": from_numpy(dtype)}, {})(np.array([np.inf, -np.inf], dtype))
        assert found.tolist() == [1, -1]


def test_narrow_error_function_is_rounded_once() -> None:
    x = np.linspace(-3, 3, 300).astype(BFLOAT16)
    check("Erf", x=x)
    check("Erfc", x=x)


@pytest.mark.parametrize("dtype", DOUBLES)
def test_gradient_of_gamma_numbers_agrees(dtype: Any) -> None:
    alpha, sample = (
        g.astype(dtype) for g in np.meshgrid([0.1, 0.5, 1, 2, 5, 20], [0.1, 0.5, 1, 2, 5, 20], indexing="ij")
    )
    # TensorFlow's own float32 loses digits where the density is small.
    bound = {np.float32: 2e-3, np.float64: 1e-6}[dtype]
    check("RandomGammaGrad", alpha=alpha, sample=sample, rtol=bound, atol=bound)
    check("RandomGammaGrad", alpha=alpha[:, :1], sample=sample[0], rtol=bound, atol=bound)
    check("RandomGammaGrad", alpha=np.array([0, -1, np.nan, 1, 1], dtype), sample=np.array([1, 1, 1, 0, -1], dtype))
