"""Dtypes that TensorFlow's CPU kernels take beside those that the tests of single ops try."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check
from ops.samples import REALS, check_if_known, sample, scalar


@pytest.mark.parametrize("index", [np.int32, np.int64], ids=["int32", "int64"])
def test_indices_of_either_size_agree(index: type) -> None:
    value, updates = sample((4, 3)), sample((2, 3), seed=1)
    for op in ("TensorScatterAdd", "TensorScatterSub", "TensorScatterMax", "TensorScatterMin", "TensorScatterUpdate"):
        check(op, tensor=value, indices=np.array([[2], [0]], index), updates=updates, refused=False)
    check("Tile", input=value, multiples=np.array([2, 3], index), refused=False)
    segments = {"segment_ids": np.array([1, 0, 1], index), "num_segments": np.array(2, index)}
    check("UnsortedSegmentJoin", inputs=np.array([b"a", b"b", b"c"], object), **segments, separator="-", refused=False)


@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_real_numbers_of_every_dtype_are_found_again(dtype: np.dtype) -> None:
    value = sample((2, 9), dtype)
    for index in (np.int32, np.int64):
        found = {"out_idx": index, "refused": False}
        check("UniqueV2", x=value, axis=np.array([1]), **found)
        check("UniqueWithCountsV2", x=value, axis=np.array([0]), **found)
    check_if_known("Where", condition=value)
    check(
        "UnsortedSegmentSum", data=value, segment_ids=np.array([1, 1], np.int32), num_segments=scalar(3), refused=False
    )
