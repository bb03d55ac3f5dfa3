from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ops.harness import check

KINDS = [(np.float32, np.float32), (np.float64, np.float64), (np.float16, np.float16),
         (ml_dtypes.bfloat16, ml_dtypes.bfloat16), (np.int8, np.float32), (np.int16, np.float32),
         (np.int32, np.float64), (np.int64, np.float64)]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9), elements=st.integers(-9, 9)),
       st.sampled_from(KINDS))  # fmt: skip
def test_isotonic_regression(values: Any, kinds: Any) -> None:
    given, result = kinds
    check("IsotonicRegression", input=np.asarray(values).astype(given), output_dtype=result, refused=False)


@pytest.mark.parametrize("size", [1, 50, 300])
def test_isotonic_regression_of_many_and_of_nan(size: int) -> None:
    values = np.random.default_rng(size).normal(size=(3, size)).astype(np.float32)
    check("IsotonicRegression", input=values, refused=False)
    values[0, ::7] = np.nan
    values[1, ::9] = np.inf
    check("IsotonicRegression", input=values, refused=False)
