"""Shuffled indices, Sobol's sequence and indices taken apart, against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check

I32: Any = np.int32


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64])
@pytest.mark.parametrize("rounds", [4, 8])
def test_index_is_shuffled_as_by_tensorflow(dtype: Any, rounds: int) -> None:
    for i in range(6):
        seed = np.array([i, 77, 2**31 - i]).astype(I32)
        check("RandomIndexShuffle", index=dtype(i), seed=seed, max_index=dtype(5), rounds=rounds, refused=False)
    last = np.array(2**31 - 1 if np.dtype(dtype).itemsize == 4 else 2**40, dtype)
    seeds = np.arange(27, dtype=np.int64).reshape(9, 3)
    check("RandomIndexShuffle", index=np.arange(9, dtype=dtype), seed=seeds, max_index=last, rounds=rounds)
    check("RandomIndexShuffle", index=np.arange(3).astype(dtype), seed=seeds[0], max_index=np.array([2, 3, 0], dtype))


@pytest.mark.parametrize(
    "bad", [{"index": np.array(7)}, {"seed": np.zeros(2, I32)}, {"max_index": np.zeros((1, 1), np.int64)}]
)
def test_index_shuffle_refuses_what_does_not_fit(bad: dict[str, Any]) -> None:
    given = {"index": np.array(1), "seed": np.zeros(3, I32), "max_index": np.array(5), **bad}
    check("RandomIndexShuffle", **given, refused=True)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_sobol_points_agree(dtype: Any) -> None:
    for dim, count, skip in ((1, 5, 0), (3, 70, 0), (5, 4, 11), (1111, 3, 2), (21200, 2, 5), (2, 3, 2**20)):
        check("SobolSample", dim=I32(dim), num_results=I32(count), skip=I32(skip), dtype=dtype, refused=False)
    for dim, count, skip in ((0, 2, 0), (2, 0, 0), (21201, 2, 0), (2, 2, -1)):
        check("SobolSample", dim=I32(dim), num_results=I32(count), skip=I32(skip), dtype=dtype, refused=True)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_unravelled_indices_agree(dtype: Any) -> None:
    sizes = np.array([3, 4], dtype)
    for indices in ([1, 5, 11], 7, [-1, -7, -100], [0]):
        check("UnravelIndex", indices=np.array(indices, dtype), dims=sizes, refused=False)
    for bad in ([12], [[0, 1], [2, 3]], []):
        check("UnravelIndex", indices=np.array(bad, dtype), dims=sizes, refused=True)
    check("UnravelIndex", indices=np.zeros(2, dtype), dims=np.array([], dtype))
    check("UnravelIndex", indices=np.zeros(2, dtype), dims=np.array([3, 0], dtype), refused=True)
    check("UnravelIndex", indices=np.zeros(2, dtype), dims=np.array(3, dtype), refused=True)
