"""Gradients of elementwise functions against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.operands import BFLOAT16, COMPLEX, FLOATS, HALF, name, sample

OPS = ["TanhGrad", "SigmoidGrad", "SqrtGrad", "RsqrtGrad", "InvGrad", "ReciprocalGrad"]


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX, ids=name)
@pytest.mark.parametrize("op", OPS)
def test_gradient_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    bound = {HALF: 5e-3, BFLOAT16: 4e-2}.get(dtype)  # TensorFlow rounds between the steps
    for shape in ((), (0,), (17,), (2, 3)):
        y, dy = sample(random, shape, dtype, low=0.2, high=2), sample(random, shape, dtype)
        check(op, y=y, dy=dy, rtol=bound, atol=bound)


@pytest.mark.parametrize("op", OPS)
def test_shapes_must_hold_as_many_elements(op: str) -> None:
    check(op, y=np.ones(2, np.float32), dy=np.ones(1, np.float32), refused=True)
    check(op, y=np.ones((2, 1), np.float32), dy=np.ones(3, np.float32), refused=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", OPS)
def test_zeros_and_infinities_agree(op: str, dtype: Any) -> None:
    values = np.array([0, 1, np.inf, np.nan, -1], dtype)
    y, dy = (side.reshape(-1) for side in np.meshgrid(values, values))
    check(op, y=y, dy=dy)
