"""Reductions against TensorFlow."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.operands import BFLOAT16, FLOATS, HALF, INTS, NUMBERS, REAL, name, sample, special

OPS: dict[str, tuple[Any, ...]] = {
    "Sum": NUMBERS,
    "Mean": NUMBERS,
    "Prod": NUMBERS,
    "EuclideanNorm": NUMBERS,
    "Max": REAL,
    "Min": REAL,
    "All": (np.bool_,),
    "Any": (np.bool_,),
}
CASES = [pytest.param(op, dtype, id=f"{op}-{name(dtype)}") for op, dtypes in OPS.items() for dtype in dtypes]

# TensorFlow rounds partial results in half (and bfloat16's products): theirs are the wider bounds.
NARROW = {HALF: 5e-3, BFLOAT16: 3e-2}


def reduce(op: str, x: Any, axis: Any, **more: Any) -> None:
    bound = NARROW.get(x.dtype.type)
    check(op, input=x, axis=axis, rtol=bound, atol=bound, **more)


@pytest.mark.parametrize(("op", "dtype"), CASES)
def test_reduction_agrees_over_axes(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    x = sample(random, (2, 3, 4), dtype, low=0.5, high=1.5)
    for count in range(4):
        for axes in combinations(range(3), count):
            signed = [axis - 3 * int(random.integers(0, 2)) for axis in axes]
            reduce(op, x, np.array(signed, np.int32), keep_dims=bool(random.integers(0, 2)))


@pytest.mark.parametrize(("op", "dtype"), CASES)
def test_reduction_of_scalars_and_empty_tensors_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    none = np.zeros(0, np.int32)
    reduce(op, sample(random, (), dtype), none, keep_dims=False)
    for shape, axes in (((0,), 0), ((0, 3), 0), ((0, 3), 1), ((2, 0, 3), 1), ((2, 0), [0, 1]), ((0,), none)):
        for keep in (False, True):
            reduce(op, np.zeros(shape, dtype), np.array(axes, np.int64), keep_dims=keep)


@pytest.mark.parametrize("op", OPS)
def test_bad_axes_are_refused(op: str) -> None:
    x = np.ones((2, 2), OPS[op][0])
    for axes in ([2], [-3], [0, 0], [0, -2], [0, 5]):
        check(op, input=x, axis=np.array(axes, np.int32), keep_dims=False, refused=True)
    check(op, input=x[0, 0], axis=np.array([0], np.int32), keep_dims=False, refused=True)


def test_axes_may_come_in_any_rank() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for axes in (np.int32(1), np.array([[0], [1]], np.int32), np.zeros((0, 2), np.int64)):
        for op in ("Sum", "Max", "Mean"):
            check(op, input=x, axis=axes, keep_dims=False, refused=False)


@pytest.mark.parametrize("op", ["Sum", "Mean", "Prod", "Max", "Min", "EuclideanNorm"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_infinity_agree(op: str, dtype: Any) -> None:
    values = special(dtype)
    for picked in (values, values[1:], values[3:], values[1:2], values[[0, 3, 4, 5]], values[[5, 0]]):
        for x in (picked, np.stack([picked, picked[::-1]])):
            for axis in range(x.ndim):
                reduce(op, x, np.array(axis, np.int32), keep_dims=False)


@pytest.mark.parametrize("op", ["Sum", "Mean", "EuclideanNorm"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_infinity_agree_among_many(op: str, dtype: Any) -> None:
    """Only what a special value is summed with becomes one."""
    x = np.ones((1100, 64), dtype)
    for row, value in enumerate(special(dtype)):
        x[17 * row, row] = value
    x[30, 20], x[40, 20] = np.inf, -np.inf
    for axis in ([0], [1], [0, 1]):
        reduce(op, x, np.array(axis, np.int32), keep_dims=True)


@pytest.mark.parametrize("op", ["Sum", "Mean", "Prod", "Max", "Min", "EuclideanNorm"])
@pytest.mark.parametrize("dtype", INTS)
def test_integers_wrap_and_round_as_tensorflow_does(op: str, dtype: Any) -> None:
    random = np.random.default_rng(8)
    info = np.iinfo(dtype)
    for shape in ((2,), (7,), (3, 50), (300, 2)):
        x = random.integers(info.min, info.max, shape, dtype, endpoint=True)
        for axis in range(len(shape)):
            check(op, input=x, axis=np.array(axis, np.int32), keep_dims=False)
    for picked in ([-3, -4], [-3, 4, 6], [info.max, info.max], [info.min, info.min, info.min]):
        x = np.array([value & 0x7F if info.min == 0 and value < 0 else value for value in picked], dtype)
        check(op, input=x, axis=np.array([0], np.int32), keep_dims=False)


@pytest.mark.parametrize("axes", [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]])
@pytest.mark.parametrize("op", ["Sum", "Mean"])
@pytest.mark.parametrize("shape", [(1000, 17, 3), (3, 5000, 4), (2, 3, 20000), (60, 300, 2), (40, 2100, 20)])
def test_float_sums_are_as_accurate_as_tensorflows(op: str, axes: list[int], shape: tuple[int, ...]) -> None:
    from graphrack.formats.dtypes import FLOAT
    from graphrack.ops import registry

    x = np.random.default_rng(3).random(shape).astype(np.float32)
    exact = getattr(x.astype(np.float64), op.lower())(axis=tuple(axes))
    theirs = check(op, input=x, axis=np.array(axes, np.int32), keep_dims=False)[0]
    implementation = registry.lookup(op)
    assert implementation is not None
    for view in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        ours = implementation.bind("n", {"T": FLOAT, "keep_dims": False}, {})(view, np.array(axes, np.int32))
        assert ours.dtype == np.float32
        worst = np.max(np.abs(theirs - exact) / exact)
        assert np.max(np.abs(ours - exact) / exact) <= max(2 * worst, 5e-7)


@pytest.mark.parametrize("dtype", [HALF, BFLOAT16])
def test_long_narrow_sums_do_not_saturate(dtype: Any) -> None:
    x = np.full((5000,), 1.01, dtype)
    check("Sum", input=x, axis=np.array([0], np.int32), keep_dims=False)
    check("Mean", input=x, axis=np.array([0], np.int32), keep_dims=False)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("dtype", [*REAL, np.bool_])
def test_place_of_extreme_agrees(op: str, dtype: Any) -> None:
    random = np.random.default_rng(4)
    for shape in ((5,), (2, 3), (4, 1, 6), (2, 0, 3), (3, 2, 2, 2)):
        x = sample(random, shape, dtype)
        for axis in range(-len(shape), len(shape)):
            check(
                op,
                input=x,
                dimension=np.array(axis, random.choice([np.int32, np.int64])),
                output_type=tf.int64,
            )
    if np.dtype(dtype).kind != "b":
        x = special(dtype)
        for y in (x, x[1:], x[::-1].copy()):
            check(op, input=y, dimension=np.int32(0), output_type=tf.int32)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_place_of_extreme_passes_over_nan(op: str, dtype: Any) -> None:
    nan, inf = np.nan, np.inf
    for values in (
        [nan, 1, 2],
        [1, nan, 2],
        [3, nan, 2],
        [nan, nan],
        [nan, -inf],
        [nan, inf],
        [nan] * 40 + [3, nan],
    ):
        check(op, input=np.array(values).astype(dtype), dimension=np.int32(0), output_type=tf.int64)
    check(op, input=np.array([1.0] * 5000 + [nan, 2]).astype(dtype), dimension=np.int32(0), output_type=tf.int64)
    table = np.array([[nan, 1], [1, nan], [2, 2]]).astype(dtype)
    for axis in (0, 1):
        check(op, input=table, dimension=np.int32(axis), output_type=tf.int64)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_bad_dimensions_are_refused(op: str) -> None:
    x = np.ones((2, 0), np.float32)
    for dimension in (np.int32(2), np.int32(-3), np.int32(1), np.array([0], np.int32)):
        check(op, input=x, dimension=dimension, output_type=tf.int64, refused=True)
    check(op, input=np.float32(1), dimension=np.int32(0), output_type=tf.int64, refused=True)
    check(op, input=np.ones((1,) * 8, np.float32), dimension=np.int32(0), output_type=tf.int64, refused=True)


@pytest.mark.parametrize("output_type", [tf.int16, tf.uint16, tf.int32, tf.int64])
def test_arg_max_output_types_agree(output_type: Any) -> None:
    check("ArgMax", input=np.array([[1, 5, 2]], np.float32), dimension=np.int32(1), output_type=output_type)
