"""Gather and scatter ops against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check
from ops.samples import ALL, NUMBERS, check_if_known, ints, sample, scalar, sequence


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


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_index_tuples_of_every_dtype(dtype: np.dtype) -> None:
    value = sample((2, 3, 4), dtype)
    indices = ints([0, 1], [1, 2], [0, 1])
    check_if_known("GatherNd", params=value, indices=indices)
    check_if_known("TensorScatterUpdate", tensor=value, indices=indices, updates=value.reshape(-1, 4)[:3])
    check_if_known("ScatterNd", indices=indices, updates=value.reshape(-1, 4)[:3], shape=ints(2, 3, 4))


@pytest.mark.parametrize("dtype", [*NUMBERS, np.dtype(bool)], ids=str)
def test_scatter_of_duplicates_agrees(dtype: np.dtype) -> None:
    random = np.random.default_rng(0)
    for _ in range(6):
        shape = tuple(int(s) for s in random.integers(1, 4, random.integers(1, 4)))
        depth = int(random.integers(0, len(shape) + 1))
        lead = (int(random.integers(0, 6)), 2)[: int(random.integers(1, 3))]
        columns = [random.integers(0, size, lead) for size in shape[:depth]]
        indices = np.stack(columns, -1).astype(np.int32) if depth else np.zeros((*lead, 0), np.int32)
        updates, tensor = sample(lead + shape[depth:], dtype, 1), sample(shape, dtype, 2)
        check_if_known("ScatterNd", indices=indices, updates=updates, shape=np.array(shape, np.int32))
        for name in ("Update", "Add", "Sub", "Min", "Max"):
            check_if_known("TensorScatter" + name, tensor=tensor, indices=indices, updates=updates)
        check_if_known("ScatterNdNonAliasingAdd", input=tensor, indices=indices, updates=updates)
        check_if_known("GatherNd", params=tensor, indices=indices)


SCATTERS = ["TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub", "TensorScatterMin", "TensorScatterMax"]


@pytest.mark.parametrize("name", SCATTERS)
@pytest.mark.parametrize("policy", ["", "DEFAULT", "ERROR", "IGNORE", "WHATEVER"])
def test_indices_out_of_range_are_errors_unless_ignored(name: str, policy: str) -> None:
    indices, updates = ints([5], [-1], [0]), np.array([7.0, 8.0, 9.0])
    check(name, tensor=sequence((2,), np.float64), indices=indices, updates=updates, bad_indices_policy=policy)
    check("ScatterNd", indices=indices, updates=updates, shape=ints(2), bad_indices_policy=policy)
    check("GatherNd", params=sequence((2,)), indices=indices, bad_indices_policy=policy)
    words = sequence((2,), object)
    check("GatherNd", params=words, indices=indices, bad_indices_policy=policy)


def test_scatter_nd_refuses_what_does_not_fit() -> None:
    one = np.ones(1)
    for indices, updates, shape in [
        (ints(0), one, ints(2)),
        (scalar(0), np.ones(()), ints(2)),
        (ints([0]), one, ints(0)),
        (ints([0, 0]), one, ints(3)),
        (ints([0]), one, ints(-1)),
        (ints([0]), one, scalar(3)),
        (ints([0], [1]), one, ints(3)),
        (np.zeros((0, 1), np.int32), np.ones((0,)), ints(0)),
        (np.zeros((0, 1), np.int32), np.ones((0, 2)), ints(3, 2)),
        (ints([0], [0]), np.array([b"a", b"b"], object), ints(2)),
    ]:
        check("ScatterNd", indices=indices, updates=updates, shape=shape)


def test_gather_nd_of_empty_things_agrees() -> None:
    for params, indices in [
        (np.zeros((2, 0)), ints([1], [0])),
        (np.zeros((2, 0)), np.zeros((0, 1), np.int32)),
        (np.zeros((0,)), np.zeros((2, 0), np.int32)),
        (np.zeros((2,)), np.zeros((2, 0), np.int32)),
        (np.float32(1), np.zeros((1, 0), np.int32)),
        (np.ones(2), scalar(1)),
        (np.ones(2), ints(1)),
        (np.ones(2), ints([0, 0])),
        (np.ones(2), np.array([1], np.int16)),
    ]:
        check("GatherNd", params=params, indices=indices)


def test_scatter_leaves_its_input_alone() -> None:
    from graphrack.ops import registry

    tensor = np.zeros(3)
    registry.lookup("TensorScatterAdd").function(tensor, ints([0], [0]), np.ones(2))
    assert not tensor.any()
