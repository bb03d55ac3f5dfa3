"""Bincount and its kin, and Bucketize, against TensorFlow."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.operands import sample

WEIGHTS: tuple[Any, ...] = (np.int32, np.int64, np.float32, np.float64)


@pytest.mark.parametrize("dtype", WEIGHTS)
def test_bincount_agrees(dtype: Any) -> None:
    random = np.random.default_rng(0)
    none = np.zeros(0, dtype)
    for shape in ((), (0,), (20,), (3, 5), (2, 2, 2)):
        arr = np.asarray(random.integers(0, 9, shape)).astype(np.int32)
        for size in (0, 1, 6, 12):
            check("Bincount", arr=arr, size=np.int32(size), weights=none)
            check("Bincount", arr=arr, size=np.int32(size), weights=sample(random, shape, dtype))


@pytest.mark.parametrize("dtype", WEIGHTS)
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("binary", [False, True])
def test_dense_bincount_agrees(dtype: Any, index: Any, binary: bool) -> None:
    random = np.random.default_rng(0)
    for shape in ((), (0,), (20,), (3, 5), (2, 0)):
        values = np.asarray(random.integers(0, 9, shape)).astype(index)
        for size in (0, 6, 12):
            for weights in (np.zeros(0, dtype), sample(random, shape, dtype)):
                check("DenseBincount", input=values, size=index(size), weights=weights, binary_output=binary)


@pytest.mark.parametrize("dtype", WEIGHTS)
@pytest.mark.parametrize("binary", [False, True])
def test_ragged_and_sparse_bincount_agree(dtype: Any, binary: bool) -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 9, 10)
    splits = np.array([0, 3, 3, 9, 10])
    rows = np.repeat(np.arange(4), np.diff(splits))
    columns = np.arange(10) - splits[rows]
    for weights in (np.zeros(0, dtype), sample(random, (10,), dtype)):
        more = {"values": values, "size": np.int64(7), "weights": weights, "binary_output": binary}
        check("RaggedBincount", splits=splits, **more)
        check("RaggedBincount", splits=splits[:-1], refused=True, **more)
        check("RaggedBincount", splits=np.array([1, 10]), refused=True, **more)
        check("SparseBincount", indices=np.stack([rows, columns], 1), dense_shape=np.array([4, 8]), **more)
        check("SparseBincount", indices=np.arange(10)[:, None], dense_shape=np.array([12]), **more)


def test_bad_counts_are_refused() -> None:
    none = np.zeros(0, np.float32)
    ones = np.ones(2, np.int32)
    check("Bincount", arr=np.array([1, -1], np.int32), size=np.int32(4), weights=none, refused=True)
    check("Bincount", arr=ones, size=np.int32(-1), weights=none, refused=True)
    check("Bincount", arr=ones, size=np.int32(4), weights=np.ones(1, np.float32), refused=True)
    check("Bincount", arr=ones, size=np.array([4], np.int32), weights=none, refused=True)
    more: dict[str, Any] = {"weights": none, "binary_output": False, "refused": True}
    check("DenseBincount", input=np.array([[1, -1]], np.int32), size=np.int32(4), **more)
    check("DenseBincount", input=np.ones((1, 1, 1), np.int32), size=np.int32(4), **more)
    check("DenseBincount", input=ones, size=np.int32(-4), **more)


@pytest.mark.parametrize("dtype", WEIGHTS)
def test_bucketize_agrees(dtype: Any) -> None:
    random = np.random.default_rng(0)
    for boundaries in ([], [0.0], [-3.0, 0.5, 0.5, 2.0], [0.1, 0.2, 16777216.0, 16777220.0]):
        for shape in ((), (0,), (50,), (3, 4)):
            check("Bucketize", input=sample(random, shape, dtype), boundaries=boundaries)
        exact = np.array([0, 1, 2, 16777215, 16777217, 16777218, 16777219, 16777220, 16777222]).astype(dtype)
        check("Bucketize", input=exact, boundaries=boundaries)
    if np.dtype(dtype).kind == "f":
        edges = np.array([np.nan, np.inf, -np.inf, -0.0, 0.1, np.float32(0.1), 0.5], dtype)
        check("Bucketize", input=edges, boundaries=[-1.0, 0.0, 0.1, 0.5])


def test_unsorted_boundaries_are_refused() -> None:
    check("Bucketize", input=np.array([1, 2], np.int32), boundaries=[5.0, 0.0], refused=True)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("weight", [np.int32, np.int64, np.float32, np.float64])
def test_sparse_counts_agree(dtype: Any, weight: Any) -> None:
    random = np.random.default_rng(0)
    lengths = ((-1, -1), (10, -1), (-1, 3), (2, 9), (-1, 0), (5, 3))
    for (least, most), kind in itertools.product(lengths, ("plain", "binary", "weighted")):
        given = {"binary_output": kind == "binary", "minlength": least, "maxlength": most}

        def weights(shape: Any, kind: str = kind) -> Any:
            return np.asarray(random.integers(1, 5, shape if kind == "weighted" else (0,))).astype(weight)

        for shape in ((6,), (2, 4), (0,), (0, 3), (2, 0), (), (1, 1, 2)):
            values = np.asarray(random.integers(0, 6, shape)).astype(dtype)
            check("DenseCountSparseOutput", values=values, weights=weights(shape), **given)
        values = np.array([1, 1, 5, 3], dtype)
        for indices, sizes in (([[0, 0], [0, 3], [2, 1], [2, 2]], [4, 4]), ([[0], [3], [5], [6]], [9])):
            check("SparseCountSparseOutput", indices=np.array(indices), values=values, dense_shape=np.array(sizes),
                  weights=weights((4,)), **given)  # fmt: skip
        for splits in ([0, 2, 2, 4], [0, 2, 3], [1, 4]):
            check("RaggedCountSparseOutput", splits=np.array(splits), values=values, weights=weights((4,)), **given)


def test_negative_values_are_refused() -> None:
    none = np.zeros(0, np.int32)
    check("DenseCountSparseOutput", values=np.array([-1]), weights=none, binary_output=False, refused=True)
    check("DenseCountSparseOutput", values=np.array([1]), weights=np.zeros(2, np.int32), binary_output=False,
          refused=True)  # fmt: skip
