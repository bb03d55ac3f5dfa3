"""Where, Select, OneHot, Range, SparseToDense and HistogramFixedWidth against TensorFlow."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.samples import ALL, NUMBERS, PLAIN, check_if_known, ints, sample, scalar, sequence

from graphrack.ops import registry

INDEX_SHAPES = [(), (3,), (2, 2), (0,)]


@pytest.mark.parametrize("dtype", [*NUMBERS, np.dtype(bool)], ids=str)
def test_where_of_every_dtype(dtype: np.dtype) -> None:
    for shape in ((5,), (2, 3, 4), (0, 2), ()):
        check_if_known("Where", condition=sample(shape, dtype))


def test_where_finds_nan() -> None:
    check("Where", refused=False, condition=np.array([0.0, -0.0, np.nan, np.inf]))
    check("Where", refused=False, condition=np.array([[True, False], [True, True]]))


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_select_of_every_dtype(dtype: np.dtype) -> None:
    t, e = sample((2, 3), dtype, 1), sample((2, 3), dtype, 2)
    for condition in (True, [True, False], [True, False, True], [True], [[True, False, True]] * 2, [[True]]):
        mask = np.array(condition)
        check("Select", condition=mask, x=t, y=e)
        check("SelectV2", condition=mask, t=t, e=e)
        check("SelectV2", condition=mask, t=t[0], e=e[:, :1])
        check("SelectV2", condition=mask, t=t[0, 0, ...], e=e[0, 0, ...])
        check("Select", condition=mask, x=t[0, 0, ...], y=e[0, 0, ...])
        check("Select", condition=mask, x=t, y=e[:1])
    check("Select", refused=False, condition=np.zeros((0,), bool), x=t[:0], y=e[:0])


@pytest.mark.parametrize("axis", range(-1, 4))
@pytest.mark.parametrize("index_type", [np.int32, np.int64, np.int8, np.uint8])
def test_one_hot_of_axes_and_indices_agrees(axis: int, index_type: type) -> None:
    for shape in INDEX_SHAPES:
        indices = (sequence(shape) * 2 - (0 if index_type == np.uint8 else 1)).astype(index_type)
        check("OneHot", indices=indices, depth=scalar(3), on_value=np.float32(5), off_value=np.float32(-1), axis=axis)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_one_hot_of_every_dtype(dtype: np.dtype) -> None:
    on, off = sample((2,), dtype)[:1].reshape(()), sample((2,), dtype)[1:].reshape(())
    check_if_known("OneHot", indices=ints(0, 2, 1), depth=scalar(3), on_value=on, off_value=off)


def test_one_hot_refuses_what_is_no_depth() -> None:
    one, zero = np.float32(1), np.float32(0)
    check("OneHot", refused=False, indices=ints(0), depth=scalar(0), on_value=one, off_value=zero)
    check("OneHot", refused=True, indices=ints(0), depth=scalar(-1), on_value=one, off_value=zero)
    check("OneHot", refused=True, indices=ints(0), depth=ints(2), on_value=one, off_value=zero)
    check("OneHot", refused=True, indices=ints(0), depth=scalar(2), on_value=np.ones(1, "f"), off_value=zero)


RANGES = [(0, 5, 1), (0, 5, 2), (5, 0, -2), (0, 0, 1), (5, 0, 1), (0, 5, 0), (0, 5, -1), (3, 18, 7), (0, 1, 5)]


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64", "float16", "bfloat16"])
def test_range_agrees(dtype: str) -> None:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    cases: list[tuple[float, float, float]] = [*RANGES]
    if kind not in (np.int32, np.int64):
        cases += [(0, 1, 0.1), (0, 1, 0.3), (1, 0, -0.1), (0, 0.5, 0.01), (-0.3, 0.7, 0.05), (0, 100, 0.7),
                  (np.nan, 1, 1), (0, np.inf, 1), (0, 1, np.nan), (0, 1, np.inf)]  # fmt: skip
    for start, limit, delta in cases:
        check("Range", start=np.array(start, kind), limit=np.array(limit, kind), delta=np.array(delta, kind))


def test_range_at_the_ends_of_integers_agrees() -> None:
    for start, limit, delta, dtype in [
        (-(2**31), 2**31 - 1, 2**30, np.int32),
        (2**31 - 1, -(2**31), -(2**31), np.int32),
        (-(2**63), 2**63 - 1, 2**60, np.int64),
    ]:
        check("Range", start=scalar(start, dtype), limit=scalar(limit, dtype), delta=scalar(delta, dtype))
    check("Range", refused=False, start=ints(1), limit=ints(4), delta=ints(1))
    check("Range", refused=True, start=ints(1, 2), limit=scalar(4), delta=scalar(1))


def test_range_of_more_than_memory_holds_is_an_error() -> None:
    for dtype in (np.int64, np.float64):
        with pytest.raises((MemoryError, ValueError)):
            registry.lookup("Range").function(dtype(0), dtype(2**60), dtype(1))


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
def test_sparse_to_dense_agrees(validate: bool, index_type: type) -> None:
    for indices, shape, values in [
        ([[0, 1], [1, 0]], [2, 2], [1.0, 2.0]),
        ([[0, 1], [0, 1]], [2, 2], [1.0, 2.0]),
        ([[1, 1], [0, 1]], [2, 2], [1.0, 2.0]),
        ([0, 1], [3], [1.0, 2.0]),
        (1, [3], 5.0),
        ([0, 1], [3], 5.0),
        ([0, 4], [3], 5.0),
        ([-1], [3], 5.0),
        (np.zeros((0, 2)), [2, 2], np.zeros(0)),
        ([[]], [], [1.0]),
        ([[0, 1]], [2], [1.0]),
        ([0, 1], [3], [1.0]),
        ([[[0]]], [2], [1.0]),
        (0, [3], [5.0]),
        ([0], [-3], [5.0]),
    ]:
        check(
            "SparseToDense",
            sparse_indices=np.array(indices, index_type),
            output_shape=np.array(shape, index_type),
            sparse_values=np.array(values, np.float32),
            default_value=np.float32(-1),
            validate_indices=validate,
        )


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_sparse_to_dense_of_every_dtype(dtype: np.dtype) -> None:
    check_if_known(
        "SparseToDense",
        sparse_indices=ints([0, 1], [1, 1]),
        output_shape=ints(2, 3),
        sparse_values=sample((2,), dtype),
        default_value=sample((1,), dtype, 3).reshape(()),
    )


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_histogram_agrees(dtype: type) -> None:
    # Values on the very edge of a bin are not compared: TensorFlow's rounding there is its compiler's.
    values = (np.random.default_rng(0).random(500) * 90 - 20).astype(dtype)
    for low, high in ((-7, 40), (0, 53)):
        for bins in (1, 5, 97):
            check(
                "HistogramFixedWidth",
                refused=False,
                values=values,
                value_range=np.array([low, high], dtype),
                nbins=scalar(bins),
                dtype=tf.int64,
            )


def test_histogram_refuses_what_is_no_range() -> None:
    values = np.array([1.0, np.inf, -np.inf])
    check("HistogramFixedWidth", refused=False, values=values, value_range=np.array([0.0, 2.0]), nbins=scalar(3))
    for limits, bins, extra in [
        ([5, 5], 3, 1),
        ([[0], [5]], 3, 1),
        ([0, 5], 0, 1),
        ([0, 5], -1, 1),
        ([0, 5], 3, np.nan),
    ]:
        check(
            "HistogramFixedWidth",
            refused=True,
            values=np.append(values, extra),
            value_range=np.array(limits, np.float64),
            nbins=scalar(bins),
        )
