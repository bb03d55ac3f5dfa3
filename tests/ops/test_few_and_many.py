"""Kernels that go another way for a few values, where Python is quicker, give TensorFlow's results for few and many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops import harness

from graphrack.ops.training_sparse import put_rows

SIZES = [0, 1, 3, 8, 24, 25, 32, 33, 64, 65, 150]
random = np.random.default_rng


def check(op: str, *, refused: bool = False, **arguments: Any) -> None:
    harness.check(op, refused=refused, **arguments)


@pytest.mark.parametrize("width", [(), (1,), (3,)])
@pytest.mark.parametrize("size", SIZES)
def test_sums_of_chosen_rows_by_segment(size: int, width: tuple[int, ...]) -> None:
    generator = random(size)
    data = generator.normal(size=(20, *width)).astype(np.float32)
    indices = generator.integers(0, 20, size).astype(np.int32)
    once = np.arange(size, dtype=np.int32)
    gaps = np.sort(generator.integers(0, size // 2 + 2, size)).astype(np.int32)
    for ids in (once, once // 2, once // 20, gaps):
        count = int(ids[-1]) + 1 if size else 0
        for op in ("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN"):
            check(op, data=data, indices=indices, segment_ids=ids, rtol=1e-5, atol=1e-6, sparse_gradient=False)
        check(
            "SparseSegmentMeanWithNumSegments", data=data, indices=indices, segment_ids=ids,
            num_segments=np.int32(count + 2), rtol=1e-5, atol=1e-6, sparse_gradient=False,
        )  # fmt: skip
        grad = generator.normal(size=(count, *width)).astype(np.float32)
        for op in ("SparseSegmentSumGradV2", "SparseSegmentMeanGradV2", "SparseSegmentSqrtNGradV2"):
            for chosen in (indices, np.minimum(once, 19)[::-1].copy()):
                check(
                    op, grad=grad, indices=chosen, segment_ids=ids, dense_output_dim0=np.int32(20),
                    rtol=1e-5, atol=1e-6,
                )  # fmt: skip


@pytest.mark.parametrize("kind", [np.float32, object])
@pytest.mark.parametrize("size", SIZES)
def test_empty_rows_filled(size: int, kind: Any) -> None:
    generator = random(size)
    values = generator.integers(0, 9, size).astype(kind if kind is not object else "S").astype(kind)
    default = np.array(b"-" if kind is object else 7, kind)
    for rows in (5, 32, 33, 90):
        for ordered in (True, False):
            places = generator.integers(0, rows, size)
            indices = np.stack([np.sort(places) if ordered else places, np.arange(size)], 1)
            check(
                "SparseFillEmptyRows", indices=indices, values=values, dense_shape=np.array([rows, size + 1]),
                default_value=default,
            )  # fmt: skip
    whole = np.stack([np.arange(size), np.arange(size)], 1)
    check(
        "SparseFillEmptyRows", indices=whole, values=values, dense_shape=np.array([size, size]), default_value=default
    )


@pytest.mark.parametrize("kind", [np.int64, object])
@pytest.mark.parametrize("size", SIZES)
def test_elements_at_indices_and_put_to_indices(size: int, kind: Any) -> None:
    generator = random(size)
    table = np.arange(35).reshape(5, 7).astype("S" if kind is object else kind).astype(kind)
    indices = np.stack([generator.integers(0, 5, size), generator.integers(0, 7, size)], 1)
    check("GatherNd", params=table, indices=indices)
    check("GatherNd", params=table, indices=indices[:, :1])
    places = np.sort(generator.permutation(30 * 7)[:size])
    matrix = np.stack([places // 7, places % 7], 1)
    values = np.resize(table.reshape(-1), size)
    for given in (values, table[0, 0:1].reshape(())):
        check(
            "SparseToDense", sparse_indices=matrix, output_shape=np.array([30, 7]), sparse_values=given,
            default_value=table[1, 1:2].reshape(()),
        )  # fmt: skip
    if size > 1:
        for wrong in (matrix[::-1].copy(), matrix + np.array([0, 7])):
            check(
                "SparseToDense", sparse_indices=wrong, output_shape=np.array([30, 7]), sparse_values=values,
                default_value=table[0, 0:1].reshape(()), refused=True,
            )  # fmt: skip
        check("GatherNd", params=table, indices=indices + np.array([0, 7]), refused=True)
        check("GatherNd", params=table, indices=indices - np.array([9, 0]), refused=True)


@pytest.mark.parametrize("size", SIZES)
def test_one_hot_parts_and_what_is_put_together_again(size: int) -> None:
    generator = random(size)
    numbers = generator.integers(-1, 6, size)
    for kind, on, off in ((np.float32, 1, 0), (object, b"yes", b"no")):
        for axis in (-1, 0):
            check(
                "OneHot", indices=numbers, depth=np.int32(5), on_value=np.array(on, kind),
                off_value=np.array(off, kind), axis=axis,
            )  # fmt: skip
    data = generator.normal(size=(size, 2)).astype(np.float32)
    for partitions in (generator.integers(0, 4, size), np.sort(generator.integers(0, 4, size))):
        check("DynamicPartition", data=data, partitions=partitions.astype(np.int32), num_partitions=4)
    order = generator.permutation(size).astype(np.int32)
    for places in (order, np.minimum(order, max(size - 2, 0))):
        parts = np.array_split(places, 3)
        if size > 3:
            rows = [data[part] + i for i, part in enumerate(parts)]
            check("DynamicStitch", indices=parts, data=rows)


@pytest.mark.parametrize("times", [(1, 1), (1, 4), (3, 1), (2, 2), (1, 0), (0, 1)])
@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (1, 1), (2, 3), (0, 1)])
def test_tiles(shape: tuple[int, int], times: tuple[int, int]) -> None:
    for dtype in (np.bool_, np.float32):
        data = (np.arange(shape[0] * shape[1]).reshape(shape) % 2).astype(dtype)
        check("Tile", input=data, multiples=np.array(times, np.int32))


@pytest.mark.parametrize("size", [*SIZES, 5000])
def test_elements_selected_by_a_condition_for_each(size: int) -> None:
    t, e = np.arange(size, dtype=np.float32), -np.arange(size, dtype=np.float32)
    for condition in (np.zeros(size, bool), np.ones(size, bool), random(size).random(size) < 0.5):
        check("Select", condition=condition[:, None], x=t[:, None], y=e[:, None])


@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 4), (9, 2, 3)])
def test_rows_put_into_several_arrays(shape: tuple[int, ...]) -> None:
    generator = random(0)
    for count in (1, 4, 9):
        indices = generator.permutation(9)[:count]
        arrays = [generator.normal(size=shape) for _ in range(3)]
        rows = [generator.normal(size=(count, *shape[1:])) for _ in range(3)]
        expected = [array.copy() for array in arrays]
        for array, given in zip(expected, rows, strict=True):
            for i, index in enumerate(indices):
                array[index] = given[i]
        put_rows(arrays, indices, rows)
        for array, wanted in zip(arrays, expected, strict=True):
            np.testing.assert_array_equal(array, wanted)
