"""TopK, NthElement, InTopK, Unique, ListDiff, LowerBound and UpperBound against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.samples import FLOATS, PLAIN, REALS, check_if_known, ints, sample, scalar, sequence


@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_top_k_takes_the_first_of_equal_values(dtype: np.dtype) -> None:
    value = sample((3, 40), dtype)
    for k in (0, 1, 3, 5, 20, 40, 41, -1):
        check("TopKV2", input=value, k=scalar(k))
        check("TopKV2", input=value[0], k=scalar(k, np.int64), index_type=tf.int64)
        check("TopKV2", input=value[:0], k=scalar(k, np.int16), index_type=tf.int16)


@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_top_k_of_many_takes_the_first_of_equal_values(dtype: np.dtype) -> None:
    value = np.concatenate([sample((3, 500), dtype)] * 2, axis=1)
    for k in (1, 5, 124, 126):
        check("TopKV2", input=value, k=scalar(k))


def test_top_k_of_extremes_and_bad_input() -> None:
    for value in (
        np.array([[1, np.inf, -np.inf, 3], [0.0, -0.0, 2, -0.0]], np.float32),
        np.array([-128, 127, -128, 5], np.int8),
        np.array([0, 2**64 - 1, 5, 5], np.uint64),
    ):
        for k in (2, 4):
            check("TopKV2", refused=False, input=value, k=scalar(k))
    check("TopKV2", refused=True, input=np.float32(1), k=scalar(1))
    check("TopKV2", refused=False, input=np.zeros((3, 0), np.float32), k=scalar(0))
    check("TopKV2", refused=True, input=np.zeros((3, 2), np.float32), k=ints(1))


def test_unsorted_top_k_gives_the_same_values_in_some_order() -> None:
    from graphrack.ops import registry

    value = sample((3, 40))
    kernel = registry.lookup("TopKV2").bind("n", {"sorted": False}, {})
    expected = -np.sort(-value, axis=-1)[:, :7]
    np.testing.assert_array_equal(-np.sort(-kernel(value, scalar(7))[0], axis=-1), expected)


def test_old_top_k_has_its_k_as_an_attribute() -> None:
    # TensorFlow refuses the op in graphs of today.
    from graphrack.ops import registry

    value = sample((3, 40))
    expected = registry.lookup("TopKV2").bind("n", {}, {})(value, scalar(5))
    for found, wanted in zip(registry.lookup("TopK").bind("n", {"k": 5}, {})(value), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == wanted.dtype


@pytest.mark.parametrize("dtype", [each for each in FLOATS if each != np.float64], ids=str)
def test_approximate_top_k_is_exact(dtype: np.dtype) -> None:
    value = sample((3, 40), dtype)
    for k in (0, 1, 5, 40, 41):
        check("ApproxTopK", static_shapes=True, input=value, k=k)
    check(
        "ApproxTopK",
        static_shapes=True,
        input=value,
        k=3,
        recall_target=0.5,
        aggregate_to_topk=False,
        reduction_input_size_override=99,
    )
    check("ApproxTopK", static_shapes=True, input=value, k=3, reduction_dimension=0, refused=True)
    check("ApproxTopK", static_shapes=True, input=value, k=3, is_max_k=False, refused=True)


@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_nth_element_agrees(dtype: np.dtype) -> None:
    value = sample((3, 40), dtype)
    for n in (0, 5, 39, 40, -1):
        check("NthElement", input=value, n=scalar(n))
        check("NthElement", input=value[0], n=scalar(n), reverse=True)
    check("NthElement", refused=True, input=value[0, 0, ...], n=scalar(0))


@pytest.mark.parametrize("seed", range(3))
def test_in_top_k_agrees(seed: int) -> None:
    random = np.random.default_rng(seed)
    for kind in (np.int32, np.int64):
        for _ in range(15):
            scores = random.integers(0, 5, (5, 6)).astype(np.float32)
            scores[random.random(scores.shape) < 0.05 * seed] = [0, np.nan, np.inf][seed]
            targets = random.integers(-1, 8, 5).astype(kind)
            k = int(random.integers(-1, 8))
            check("InTopK", refused=False, predictions=scores, targets=targets, k=k)
            check("InTopKV2", refused=False, predictions=scores, targets=targets, k=scalar(k, kind))


def test_in_top_k_of_bad_shapes() -> None:
    for predictions, targets in [((2, 0), 2), ((2, 3), 1), ((0, 3), 0), ((3,), 3)]:
        scores = np.zeros(predictions, np.float32)
        check("InTopK", predictions=scores, targets=np.zeros(targets, np.int32), k=1)
        check("InTopKV2", predictions=scores, targets=np.zeros(targets, np.int32), k=scalar(1))


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_unique_and_list_diff_of_every_dtype(dtype: np.dtype) -> None:
    value = sample((20,), dtype)
    for out_idx in (tf.int32, tf.int64):
        for x in (value, value[:0], value[:1]):
            check_if_known("Unique", x=x, out_idx=out_idx)
            check_if_known("UniqueWithCounts", x=x, out_idx=out_idx)
        check_if_known("ListDiff", x=value, y=sample((6,), dtype, 3), out_idx=out_idx)
        check_if_known("ListDiff", x=value[:0], y=value, out_idx=out_idx)
        check_if_known("ListDiff", x=value, y=value[:0], out_idx=out_idx)


@pytest.mark.parametrize("axis", [[0], [1], [-1], [], [3], [0, 1], [-3]])
def test_unique_along_axes_agrees(axis: list[int]) -> None:
    for dtype in (np.dtype(np.float32), np.dtype(np.int64), np.dtype(bool), np.dtype(object)):
        rows = sample((6, 2, 2), dtype)
        rows[4:] = rows[:2]
        check("UniqueV2", x=rows, axis=np.array(axis, np.int32))
        check("UniqueWithCountsV2", x=rows, axis=np.array(axis, np.int64), out_idx=tf.int64)
        check("UniqueV2", x=rows[:, 0, 0], axis=np.array(axis, np.int32))


def test_unique_of_nan_zeros_and_empty_arrays() -> None:
    for x in ([1, np.nan, 0.0, -0.0, np.nan], [-0.0, 0.0]):
        value = np.array(x, np.float32)
        check("Unique", refused=False, x=value)
        check("UniqueV2", refused=False, x=np.stack([value, value]), axis=ints(0))
        check("ListDiff", refused=False, x=value, y=np.array([0.0, np.nan], np.float32))
    for x in (np.ones((3, 0)), np.ones((0, 3))):
        check("UniqueV2", x=x, axis=ints(0))
    check("Unique", refused=True, x=np.ones((2, 2)))
    check("Unique", refused=True, x=np.float32(1))
    check("ListDiff", refused=True, x=np.ones((2, 2)), y=np.ones(2))


@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_bounds_agree(dtype: np.dtype) -> None:
    rows, values = np.sort(sample((4, 9), dtype), axis=1), sample((4, 5), dtype, 4)
    for name in ("LowerBound", "UpperBound"):
        check(name, sorted_inputs=rows, values=values)
        check(name, sorted_inputs=rows[:, :0], values=values, out_type=tf.int64)
        check(name, sorted_inputs=rows[:, :1], values=values)
        check(name, sorted_inputs=rows[:2], values=values)
        check(name, sorted_inputs=rows[0], values=values[0])


def test_bounds_of_long_rows_agree() -> None:
    rows = np.sort(np.random.default_rng(0).integers(0, 300, (3, 1000)), axis=1)
    values = sequence((3, 100), np.int64) - 5
    check("LowerBound", refused=False, sorted_inputs=rows, values=values)
    check("UpperBound", refused=False, sorted_inputs=rows, values=values)
