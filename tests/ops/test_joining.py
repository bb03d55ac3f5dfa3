"""Pack, Concat and their kin, DynamicPartition and DynamicStitch against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check
from ops.samples import ALL, PLAIN, check_if_known, ints, sample, scalar, sequence


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_dtype(dtype: np.dtype) -> None:
    a, b = sample((2, 3), dtype, 1), sample((2, 3), dtype, 2)
    known = [
        check_if_known("ConcatV2", values=[a, b], axis=scalar(-1)),
        check_if_known("Concat", concat_dim=scalar(0), values=[a, b]),
        check_if_known("Pack", values=[a, b], axis=1),
        check_if_known("Pack", values=[a[0, 0, ...], b[0, 0, ...]]),
        check_if_known("ParallelConcat", static_shapes=True, values=[a[:1], b[:1]], shape=[2, 3]),
        check_if_known("DynamicStitch", indices=[ints(0, 2), scalar(1)], data=[a, b[0]]),
        check_if_known("ParallelDynamicStitch", indices=[ints(0, 2), scalar(1)], data=[a, b[0]]),
        check_if_known("DynamicPartition", data=a, partitions=ints([0, 2, 1], [2, 2, 0]), num_partitions=4),
    ]
    assert all(known) or dtype not in PLAIN


@pytest.mark.parametrize("axis", range(-4, 4))
def test_concat_and_pack_of_axes_agree(axis: int) -> None:
    for values in (
        [sequence((2, 3))] * 2,
        [sequence((2, 3)), sequence((2, 0)), sequence((2, 1))],
        [sequence((2, 3)), sequence((1, 3))],
        [sequence((2, 3)), sequence((3,))],
        [sequence(())] * 3,
        [sequence((0, 2))] * 2,
    ):
        check("ConcatV2", values=values, axis=scalar(axis, np.int64))
        check("ConcatV2", values=values, axis=ints(axis))
        check("Concat", values=values, concat_dim=scalar(axis))
        check("Pack", values=values, axis=axis)


def test_concat_offset_agrees() -> None:
    for axis in range(-3, 3):
        for index in (np.int32, np.int64):
            for shapes in ([[2, 3], [2, 5], [2, 1]], [[2, 3], [2, 3]], [[2, 3], [2]], [[2, 3], [1, 3]]):
                check("ConcatOffset", concat_dim=scalar(axis), shape=[np.array(s, index) for s in shapes])


def test_dynamic_stitch_lets_the_later_row_stay() -> None:
    check(
        "DynamicStitch",
        refused=False,
        indices=[ints([4, 0], [2, 3]), ints(1, 0)],
        data=[sequence((2, 2, 3)), -sequence((2, 3))],
    )
    check("DynamicStitch", refused=False, indices=[ints()], data=[sequence((0, 3))])
    check("DynamicStitch", refused=True, indices=[ints(-1)], data=[sequence((1, 3))])
    check("DynamicStitch", refused=True, indices=[ints(0), ints(1)], data=[sequence((1, 3)), sequence((1, 2))])
    check("DynamicStitch", refused=True, indices=[ints(0, 1)], data=[sequence((1, 3))])


def test_dynamic_partition_agrees() -> None:
    for partitions in ([0, 1], [1, 1], [[0, 1, 0], [1, 0, 2]], [], [0], [3, 0], [-1, 0]):
        ids = np.array(partitions, np.int32)
        check("DynamicPartition", data=sequence((2, 3)), partitions=ids, num_partitions=3)
    check("DynamicPartition", data=sequence(()), partitions=scalar(1), num_partitions=2)
    check("DynamicPartition", data=sequence((0, 2)), partitions=ints(), num_partitions=2)
