"""Bessel functions and other integrals against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.operands import name

BESSEL = (
    "BesselI0", "BesselI0e", "BesselI1", "BesselI1e", "BesselJ0", "BesselJ1",
    "BesselK0", "BesselK0e", "BesselK1", "BesselK1e", "BesselY0", "BesselY1",
)  # fmt: skip
OTHERS = ("Dawsn", "Expint", "FresnelCos", "FresnelSin", "Spence")
CASES: list[tuple[str, Any]] = [(op, d) for op in BESSEL for d in (np.float32, np.float64, np.float16)]
CASES += [(op, d) for op in OTHERS for d in (np.float32, np.float64)]


@pytest.mark.parametrize(("op", "dtype"), CASES, ids=[f"{op}-{name(d)}" for op, d in CASES])
def test_function_agrees(op: str, dtype: Any) -> None:
    edges = [np.nan, np.inf, -np.inf, 0, -0.0, 1, -1, 2.5, -0.5, 1e-3, 100, -100, 88, 1e-20]
    x = np.concatenate([edges, np.linspace(-8, 30, 200)]).astype(dtype)
    check(op, x=x, refused=False)
    for shape in ((), (0,), (2, 3)):
        check(op, x=np.full(shape, 1.5, dtype), refused=False)
