"""Pad, PadV2, MirrorPad and MirrorPadGrad against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check
from ops.samples import NUMBERS, PLAIN, check_if_known, ints, sample, scalar, sequence, text

PADDINGS = [
    [[0, 0], [0, 0]],
    [[1, 0], [0, 2]],
    [[1, 1], [1, 1]],
    [[2, 2], [2, 2]],
    [[3, 1], [1, 1]],
    [[-1, 0], [0, 0]],
    [[0, 0]],
    [[0, 3], [0, 0]],
    [[0, 0, 0], [0, 0, 0]],
]


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_every_dtype(dtype: np.dtype) -> None:
    value, paddings = sample((2, 3), dtype), ints([1, 0], [2, 1])
    known = [
        check_if_known("Pad", input=value, paddings=paddings),
        check_if_known("PadV2", input=value, paddings=paddings, constant_values=value[0, 1, ...]),
        check_if_known("MirrorPad", input=value, paddings=paddings, mode="SYMMETRIC"),
    ]
    assert all(known)
    if dtype in NUMBERS:
        check_if_known("MirrorPadGrad", input=sample((4, 5), dtype), paddings=paddings, mode="REFLECT")


@pytest.mark.parametrize("paddings", PADDINGS, ids=str)
def test_paddings_agree(paddings: list[list[int]]) -> None:
    for value in (sequence((2, 3)), np.zeros((0, 3), np.float32)):
        for index in (np.int32, np.int64):
            pads = np.array(paddings, index)
            check("Pad", input=value, paddings=pads)
            check("PadV2", input=value, paddings=pads, constant_values=np.array(7, np.float32))
            for mode in ("REFLECT", "SYMMETRIC"):
                check("MirrorPad", input=value, paddings=pads, mode=mode)
    for shape in ((8, 6), (4, 4), (3, 3)):
        for mode in ("REFLECT", "SYMMETRIC"):
            check("MirrorPadGrad", input=sequence(shape) ** 2, paddings=np.array(paddings), mode=mode)


def test_a_padding_value_must_be_a_scalar() -> None:
    check("PadV2", refused=True, input=sequence((2,)), paddings=ints([1, 1]), constant_values=sample((1,)))
    check("PadV2", refused=False, input=sequence((2,), object), paddings=ints([1, 1]), constant_values=text(b"-"))


def test_scalars_have_no_borders() -> None:
    none = np.zeros((0, 2), np.int32)
    check("Pad", refused=False, input=sequence(()), paddings=none)
    check("PadV2", refused=False, input=sequence(()), paddings=none, constant_values=scalar(1, np.float32))
    check("MirrorPad", refused=False, input=sequence(()), paddings=none, mode="REFLECT")
