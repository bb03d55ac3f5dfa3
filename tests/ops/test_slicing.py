"""StridedSlice, Slice, Split, Unpack against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check
from ops.samples import ALL, check_if_known, ints, sample, scalar, sequence


@pytest.mark.parametrize("seed", range(8))
def test_strided_slice_of_random_masks_agrees(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(50):
        rank = int(random.integers(0, 5))
        shape = tuple(int(s) for s in random.integers(0, 5, rank))
        count = int(random.integers(0, rank + 3))
        index = random.choice([np.int32, np.int64, np.int16])
        check(
            "StridedSlice",
            input=sequence(shape),
            begin=random.integers(-5, 6, count).astype(index),
            end=random.integers(-5, 6, count).astype(index),
            strides=random.choice([-2, -1, 1, 1, 1, 2, 3], count).astype(index),
            begin_mask=int(random.integers(0, 32)) & int(random.integers(0, 32)),
            end_mask=int(random.integers(0, 32)) & int(random.integers(0, 32)),
            ellipsis_mask=int(random.choice([0, 0, 1, 2, 4, 8, 3])),
            new_axis_mask=int(random.choice([0, 0, 0, 1, 2, 4, 3, 6])),
            shrink_axis_mask=int(random.choice([0, 0, 0, 1, 2, 4, 3, 5])),
        )


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_dtype(dtype: np.dtype) -> None:
    value = sample((2, 3, 4), dtype)
    check_if_known("Slice", input=value, begin=ints(0, 1, 2), size=ints(1, -1, 2))
    check_if_known("Split", axis=scalar(1), value=value, num_split=3)
    check_if_known("SplitV", axis=scalar(-1), value=value, size_splits=ints(1, -1, 0, 2), num_split=4)
    check_if_known("Unpack", value=value, num=3, axis=1)
    check_if_known("Unpack", value=value[0, 0], num=4, axis=-1)
    one = ints(1, 1)
    check_if_known("StridedSlice", input=value, begin=one, end=ints(2, 4), strides=one, shrink_axis_mask=1)
    check_if_known("StridedSlice", input=value[0, 0], begin=ints(-1), end=ints(0), strides=ints(1), shrink_axis_mask=1)
    check_if_known(
        "StridedSliceGrad",
        shape=ints(4, 4),
        begin=ints(0, 1),
        end=ints(4, 3),
        strides=ints(2, 1),
        dy=value[0, :2, :2],
    )


def test_strided_slice_refuses_what_is_no_slice() -> None:
    value = sequence((2, 3))
    for begin, end, strides, masks in [
        ([0], [1, 2], [1], {}),
        ([0], [1], [0], {}),
        ([0, 0, 0], [1, 1, 1], [1, 1, 1], {}),
        ([2], [3], [1], {"shrink_axis_mask": 1}),
        ([-3], [3], [1], {"shrink_axis_mask": 1}),
        ([1], [0], [-1], {"shrink_axis_mask": 1}),
        ([0, 0], [1, 1], [1, 1], {"ellipsis_mask": 3}),
        ([[0]], [[1]], [[1]], {}),
    ]:
        check(
            "StridedSlice",
            refused=True,
            input=value,
            begin=np.array(begin, np.int32),
            end=np.array(end, np.int32),
            strides=np.array(strides, np.int32),
            **masks,
        )


def test_strided_slice_is_a_view() -> None:
    from graphrack.ops import registry

    value = sequence((4, 5))
    kernel = registry.lookup("StridedSlice").bind("n", {"shrink_axis_mask": 1}, {})
    assert np.shares_memory(kernel(value, ints(1, 4), ints(2, 0), ints(1, -2)), value)


@pytest.mark.parametrize("seed", range(3))
def test_strided_slice_grad_agrees(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(40):
        rank = int(random.integers(1, 4))
        shape = random.integers(1, 5, rank)
        count = int(random.integers(1, rank + 1))
        arguments = {
            "begin": random.integers(-4, 4, count).astype(np.int32),
            "end": random.integers(-4, 5, count).astype(np.int32),
            "strides": random.choice([-2, -1, 1, 1, 2], count).astype(np.int32),
            "begin_mask": int(random.integers(0, 8)),
            "end_mask": int(random.integers(0, 8)),
            "new_axis_mask": int(random.choice([0, 0, 2])),
        }
        sliced = check("StridedSlice", input=sequence(tuple(shape)), **arguments)
        if isinstance(sliced, list):
            check("StridedSliceGrad", shape=shape.astype(np.int32), dy=np.array(sliced[0]) + 1, **arguments)
    check(
        "StridedSliceGrad",
        refused=True,
        shape=ints(4),
        begin=ints(0),
        end=ints(4),
        strides=ints(1),
        dy=sequence((3,)),
    )


@pytest.mark.parametrize(
    ("begin", "size"),
    [([0, 0], [2, 3]), ([2, 0], [-1, -1]), ([2, 0], [0, 0]), ([1, 1], [2, 1]), ([], []), ([-1, 0], [1, 1]),
     ([0, 0], [-2, 1]), ([0], [1]), ([3, 0], [-1, 1]), ([1, 2], [1, -1])],
)  # fmt: skip
def test_slice_agrees(begin: list[int], size: list[int]) -> None:
    for shape in ((2, 3), (0, 3), ()):
        for index in (np.int32, np.int64):
            check("Slice", input=sequence(shape), begin=np.array(begin, index), size=np.array(size, index))
    check("Slice", refused=True, input=sequence((3,)), begin=scalar(0), size=scalar(1))


@pytest.mark.parametrize("axis", range(-3, 3))
def test_split_and_unpack_agree(axis: int) -> None:
    for shape in ((2, 3), (0, 4), (9, 8, 8), ()):
        for count in (1, 2, 3, 4):
            check("Split", axis=scalar(axis), value=sequence(shape), num_split=count)
            check("Unpack", value=sequence(shape), num=count, axis=axis)
    check("Split", refused=True, axis=ints(axis), value=sequence((2, 3)), num_split=1)
    check("Unpack", value=sequence((0, 2)), num=0, axis=axis)


@pytest.mark.parametrize(
    "sizes", [[1, -1], [1, 2], [5, -1], [4, -2, 2], [4], [-1], [3], [0, 4], [-1, -1], [2, -1, 0], [4, 0, -1], 4]
)
def test_split_v_agrees(sizes: list[int]) -> None:
    for axis in (scalar(0), ints(0), scalar(-1), scalar(1)):
        for index in (np.int32, np.int64, np.int8):
            count = np.array(sizes, index)
            parts = max(1, count.size)
            check("SplitV", optimized=parts == 1, axis=axis, value=sequence((4,)), size_splits=count, num_split=parts)
