"""Gather and scatter ops against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check
from ops.samples import ALL, ints, sample, scalar, sequence


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_gather_takes_every_dtype(dtype: np.dtype) -> None:
    params = sample((4, 3), dtype)
    check("Gather", refused=False, params=params, indices=ints(3, 0, 3))
    check("GatherV2", refused=False, params=params, indices=scalar(2), axis=scalar(1))
    check("GatherV2", refused=False, params=params[0], indices=scalar(2), axis=scalar(0))


@pytest.mark.parametrize("axis", range(-4, 5))
@pytest.mark.parametrize("index_type", [np.int16, np.int32, np.int64])
def test_gather_v2_of_axes_and_indices_agrees(axis: int, index_type: type) -> None:
    for params in (sequence((2, 3, 4)), sequence((0, 3, 4)), sequence((3, 0)), sequence(())):
        for indices in (0, [0, 1, 1], [[1, 0]], [2], [5], [-1], np.zeros((0, 2))):
            check("GatherV2", params=params, indices=np.array(indices, index_type), axis=scalar(axis))


@pytest.mark.parametrize("batch_dims", range(-3, 4))
def test_gather_v2_of_batch_dims_agrees(batch_dims: int) -> None:
    random = np.random.default_rng(batch_dims + 10)
    for params_shape, index_shape in [
        ((2, 3, 4), (2,)),
        ((2, 3, 4), (2, 3)),
        ((2, 3, 4), (2, 3, 2)),
        ((2, 3, 4), (3, 3)),
        ((2, 0, 4), (2, 0)),
        ((3, 4), (3, 2, 2)),
    ]:
        for axis in range(-1, 3):
            check(
                "GatherV2",
                params=sequence(params_shape),
                indices=random.integers(0, 3, index_shape).astype(np.int32),
                axis=scalar(axis, np.int64),
                batch_dims=batch_dims,
            )
