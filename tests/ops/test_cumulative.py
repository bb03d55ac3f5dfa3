"""Running sums, products and log-sum-exps against TensorFlow."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.operands import BFLOAT16, FLOATS, HALF, NUMBERS, name, sample

FLAGS = list(product((False, True), repeat=2))
CASES = [(op, dtype) for op in ("Cumsum", "Cumprod") for dtype in NUMBERS]
CASES += [("CumulativeLogsumexp", dtype) for dtype in FLOATS]
IDS = [f"{op}-{name(dtype)}" for op, dtype in CASES]


@pytest.mark.parametrize(("op", "dtype"), CASES, ids=IDS)
def test_scan_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    bound = {HALF: 1e-2, BFLOAT16: 6e-2}.get(dtype) if op == "CumulativeLogsumexp" else None
    for shape in ((5,), (3, 4), (2, 3, 4), (0,), (2, 0), (1,)):
        x = sample(random, shape, dtype, low=0.5, high=1.5)
        for exclusive, reverse in FLAGS:
            axis = np.array(int(random.integers(-len(shape), len(shape))), random.choice([np.int32, np.int64]))
            check(op, x=x, axis=axis, exclusive=exclusive, reverse=reverse, rtol=bound, atol=bound)


@pytest.mark.parametrize("op", ["Cumsum", "Cumprod", "CumulativeLogsumexp"])
def test_bad_axes_are_refused(op: str) -> None:
    x = np.ones(3, np.float32)
    for axis in (np.int32(1), np.int32(-2), np.array([0], np.int32)):
        check(op, x=x, axis=axis, exclusive=False, reverse=False, refused=True)
    for axis in (0, -1):
        check(op, x=np.float32(1), axis=np.int32(axis), exclusive=False, reverse=False, refused=True)


@pytest.mark.parametrize("dtype", [HALF, BFLOAT16])
def test_narrow_sums_round_at_each_step(dtype: Any) -> None:
    x = np.full(3000, 1.01, dtype)
    check("Cumsum", x=x, axis=np.int32(0), exclusive=False, reverse=False, rtol=0, atol=0)
    check("Cumsum", x=np.stack([x, x], 1), axis=np.int32(0), exclusive=True, reverse=True, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("exclusive", "reverse"), FLAGS)
def test_log_sum_exp_of_infinities_agrees(dtype: Any, exclusive: bool, reverse: bool) -> None:
    inf = np.inf
    for values in ([-inf, -inf, 4, 2], [4, inf, 3], [-inf, inf], [1000, 1000, -1000]):
        x = np.array(values, dtype)
        check("CumulativeLogsumexp", x=x, axis=np.int32(0), exclusive=exclusive, reverse=reverse)
