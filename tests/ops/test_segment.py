"""Reductions over segments against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.operands import BFLOAT16, FLOATS, HALF, INTS, NUMBERS, REAL, name, sample

from graphrack.ops import segment

SORTED: dict[str, tuple[Any, ...]] = {
    "SegmentSum": NUMBERS,
    "SegmentMean": NUMBERS,
    "SegmentProd": NUMBERS,
    "SegmentMin": REAL,
    "SegmentMax": REAL,
}
UNSORTED: dict[str, tuple[Any, ...]] = {
    "UnsortedSegmentSum": NUMBERS,
    "UnsortedSegmentProd": NUMBERS,
    "UnsortedSegmentMin": REAL,
    "UnsortedSegmentMax": REAL,
}
SPARSE: dict[str, tuple[Any, ...]] = {
    "SparseSegmentSum": FLOATS + INTS,
    "SparseSegmentMean": FLOATS,
    "SparseSegmentSqrtN": FLOATS,
}


def cases(ops: dict[str, tuple[Any, ...]]) -> Any:
    pairs = [(op, dtype) for op, dtypes in ops.items() for dtype in dtypes]
    return pytest.mark.parametrize(("op", "dtype"), pairs, ids=[f"{op}-{name(dtype)}" for op, dtype in pairs])


@pytest.fixture(params=[False, True], ids=["whole", "blocks"])
def blocks(request: Any, monkeypatch: Any) -> None:
    """Sparse segments that are gathered at once, and a few rows at a time."""
    if request.param:
        monkeypatch.setattr(segment, "GATHERED", 5)
        monkeypatch.setattr(segment, "_AS_ROWS", 0)


@cases(SORTED)
def test_sorted_segments_agree(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    for inner in ((), (3,), (2, 2)):
        for ids in ([], [0], [0, 0, 3], [2, 2, 2, 5], [0, 1, 2, 3], np.sort(random.integers(0, 5, 30))):
            data = sample(random, (len(ids), *inner), dtype, low=0.5, high=1.5)
            index = random.choice([np.int32, np.int64])
            check(op, data=data, segment_ids=np.array(ids, index))


@pytest.mark.parametrize("shape", [(1000,), (200, 3), (70_000, 2)], ids=str)
def test_many_rows_are_summed_in_other_ways(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(1)
    data = random.random(shape, np.float32)
    ids = random.integers(-1, 90, shape[0]).astype(np.int32)
    bounds: dict[str, Any] = {"rtol": 1e-4, "refused": False}
    check("UnsortedSegmentSum", data=data, segment_ids=ids, num_segments=np.int32(90), **bounds)
    check("UnsortedSegmentMax", data=data, segment_ids=ids, num_segments=np.int32(90), **bounds)
    ids = np.sort(np.maximum(ids, 0))
    check("SegmentSum", data=data, segment_ids=ids, **bounds)
    indices = random.integers(0, len(data), len(data))
    check("SparseSegmentSqrtN", data=data, indices=indices, segment_ids=ids, sparse_gradient=False, **bounds)


def test_rows_that_are_each_a_segment_of_their_own_stay_as_they_are() -> None:
    data = np.arange(6, dtype=np.float32).reshape(3, 2)
    for ids in ([0, 1, 2], [2, 1, 0], [0, 0, 1]):
        check("UnsortedSegmentSum", data=data, segment_ids=np.array(ids, np.int32), num_segments=np.int32(3))
        check("UnsortedSegmentSum", data=data, segment_ids=np.array(ids, np.int32), num_segments=np.int32(4))


@pytest.mark.parametrize("op", SORTED)
def test_bad_sorted_segments_are_refused(op: str) -> None:
    data = np.ones(3, np.float32)
    for ids in ([0, 2, 1], [-1, 0, 1], [-1, -1, -1], [0, 0], [[0, 0, 0]], 0):
        check(op, data=data, segment_ids=np.array(ids, np.int32), refused=True)
    check(op, data=np.float32(1), segment_ids=np.array([0], np.int32), refused=True)


@cases(UNSORTED)
def test_unsorted_segments_agree(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    for shape, inner in (((), ()), ((), (3,)), ((0,), (2,)), ((9,), ()), ((9,), (2,)), ((2, 3), ()), ((2, 3), (2, 2))):
        data = sample(random, (*shape, *inner), dtype, low=0.5, high=1.5)
        for low in (0, -2):
            ids = np.asarray(random.integers(low, 4, shape)).astype(random.choice([np.int32, np.int64]))
            check(op, data=data, segment_ids=ids, num_segments=random.choice([np.int32, np.int64])(6))


@pytest.mark.parametrize("op", UNSORTED)
def test_bad_unsorted_segments_are_refused(op: str) -> None:
    data = np.ones((2, 3), np.float32)
    for ids, count in (([0, 7], 5), ([0, 5], 5), ([[0, 0]], 5), ([0, 0, 0], 5), ([0, 0], -1), ([0, 0], [2])):
        check(op, data=data, segment_ids=np.array(ids, np.int32), num_segments=np.array(count, np.int32), refused=True)


@pytest.mark.usefixtures("blocks")
@cases(SPARSE)
def test_sparse_segments_agree(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    for inner in ((), (3,), (2, 2)):
        data = sample(random, (6, *inner), dtype, low=0.5, high=1.5)
        for ids in ([], [0], [0, 0, 3], [2, 2, 2, 5], np.sort(random.integers(0, 5, 30))):
            index, segments = random.choice([np.int32, np.int64], 2)
            chosen = random.integers(0, 6, len(ids)).astype(index)
            operands = {"data": data, "indices": chosen, "segment_ids": np.array(ids, segments)}
            check(op, **operands, sparse_gradient=False)
            for count in (6, 9):
                check(f"{op}WithNumSegments", **operands, num_segments=np.int32(count), sparse_gradient=False)


# The names that a search for an op's cases looks for.
WITH_NUM_SEGMENTS = [
    "SparseSegmentSumWithNumSegments",
    "SparseSegmentMeanWithNumSegments",
    "SparseSegmentSqrtNWithNumSegments",
]


@pytest.mark.parametrize("op", list(SPARSE))
def test_bad_sparse_segments_are_refused(op: str) -> None:
    data = np.ones((4, 2), np.float32)
    more: dict[str, Any] = {"sparse_gradient": False, "refused": True}
    for indices, ids in (
        ([0, 4], [0, 0]),
        ([0, -1], [0, 0]),
        ([0, 1, 1], [0, 2, 1]),
        ([0, 1], [-1, 0]),
        ([0, 1], [0, 0, 0]),
        ([[0, 1]], [[0, 0]]),
        (0, 0),
    ):
        check(op, data=data, indices=np.array(indices, np.int32), segment_ids=np.array(ids, np.int32), **more)
    one = np.array([0], np.int32)
    check(op, data=np.float32(1), indices=one, segment_ids=one, **more)


@pytest.mark.parametrize("op", WITH_NUM_SEGMENTS)
def test_bad_numbers_of_segments_are_refused(op: str) -> None:
    data, indices = np.ones((4, 2), np.float32), np.array([0, 1], np.int32)
    more: dict[str, Any] = {"sparse_gradient": False, "refused": True}
    for ids, count in (([0, 2], 2), ([0, 0], -1), ([0, 0], [3])):
        ids = np.array(ids, np.int32)
        check(op, data=data, indices=indices, segment_ids=ids, num_segments=np.array(count, np.int32), **more)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize("op", ["SparseSegmentSumGrad", "SparseSegmentMeanGrad", "SparseSegmentSqrtNGrad"])
def test_sparse_gradients_agree(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    bound = {HALF: 1e-2, BFLOAT16: 6e-2}.get(dtype)
    for inner in ((), (3,)):
        for ids in ([0], [0, 0, 1], [0, 1, 1, 3], np.sort(random.integers(0, 4, 12))):
            grad = sample(random, (int(max(ids)) + 1, *inner), dtype)
            indices = random.integers(0, 7, len(ids)).astype(np.int32)
            operands = {"grad": grad, "indices": indices, "segment_ids": np.array(ids, np.int32)}
            check(op, **operands, output_dim0=np.int32(7), rtol=bound, atol=bound)
            check(op, **operands, output_dim0=np.int32(int(indices.max())), refused=True)
    grad = np.ones((2, 2), np.float32)
    for ids in ([0, 2], [-1, 0], [0, 0, 0]):
        ids = np.array(ids, np.int32)
        check(op, grad=grad, indices=np.array([0, 1], np.int32), segment_ids=ids, output_dim0=np.int32(3), refused=True)


@pytest.mark.parametrize("dtype", [HALF, BFLOAT16])
def test_narrow_sums_accumulate_as_tensorflows(dtype: Any) -> None:
    for shape in ((3000,), (3000, 2)):
        data, ids = np.full(shape, 1.01, dtype), np.zeros(3000, np.int32)
        check("SegmentSum", data=data, segment_ids=ids, rtol=0, atol=0)
        check("UnsortedSegmentSum", data=data, segment_ids=ids, num_segments=np.int32(2), rtol=0, atol=0)
        check("SparseSegmentSum", data=data, indices=np.arange(3000), segment_ids=ids, sparse_gradient=False)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize("op", ["SparseSegmentSumGradV2", "SparseSegmentMeanGradV2", "SparseSegmentSqrtNGradV2"])
def test_gradients_of_chosen_rows_agree(op: str, dtype: Any) -> None:
    if dtype is HALF:
        return  # TensorFlow has no kernel for it
    random = np.random.default_rng(0)
    bound = 6e-2 if dtype is BFLOAT16 else None
    for ids in ([0], [0, 0, 1], [0, 1, 1, 3], np.sort(random.integers(0, 4, 12)), np.arange(100), []):
        grad = sample(random, (int(max(ids, default=0)) + 1, 2), dtype)
        given = {"grad": grad, "segment_ids": np.array(ids, np.int32), "dense_output_dim0": np.int32(7)}
        check(op, indices=random.integers(0, 7, len(ids)).astype(np.int32), **given, rtol=bound, atol=bound)
        if len(ids):
            check(op, indices=np.full(len(ids), 7, np.int32), **given, refused=True)
