"""Reverse, ReverseV2, ReverseSequence and Roll against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check
from ops.samples import PLAIN, ints, sample, scalar, sequence


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_every_dtype(dtype: np.dtype) -> None:
    value = sample((2, 3, 4), dtype)
    check("ReverseV2", refused=False, tensor=value, axis=ints(0, -1))
    check("Reverse", refused=False, tensor=value, dims=np.array([True, False, True]))
    check("ReverseSequence", refused=False, input=value, seq_lengths=ints(0, 3), seq_dim=1)
    check("ReverseSequence", refused=False, input=value, seq_lengths=ints(1, 0, 2, 2), seq_dim=0, batch_dim=2)
    check("Roll", refused=False, input=value, shift=ints(1, -5), axis=ints(0, 2))


@pytest.mark.parametrize("axis", [[1, 2], [-1], [3], [0, 0], [0, -3], [], [[0]], 0])
def test_reverse_v2_agrees(axis: list[int]) -> None:
    for shape in ((2, 3, 4), (2,), ()):
        check("ReverseV2", tensor=sequence(shape), axis=np.array(axis, np.int32))
        check("ReverseV2", tensor=sequence(shape), axis=np.array(axis, np.int64))


@pytest.mark.parametrize("dims", [[True], [True, False], [], [True] * 3])
def test_reverse_agrees(dims: list[bool]) -> None:
    for shape in ((2, 3), (3,), ()):
        check("Reverse", tensor=sequence(shape), dims=np.array(dims, bool))


@pytest.mark.parametrize("lengths", [[1, 2], [0, 4], [1], [3, 3], [-1, 2], []])
def test_reverse_sequence_agrees(lengths: list[int]) -> None:
    for seq_dim, batch_dim in ((1, 0), (0, 1), (0, 0), (2, 0), (-1, 0), (1, -2)):
        for index in (np.int32, np.int64):
            check(
                "ReverseSequence",
                input=sequence((2, 3)),
                seq_lengths=np.array(lengths, index),
                seq_dim=seq_dim,
                batch_dim=batch_dim,
            )
    check("ReverseSequence", input=sequence((0, 3)), seq_lengths=np.array(lengths, np.int32), seq_dim=1)


def test_roll_agrees() -> None:
    for shift, axis in [(1, 0), (-7, 1), (0, -1), ([1, 1], [0, 0]), ([1, 2], [0, 1]), ([], []), (1, 2), (1, -3)]:
        check("Roll", input=sequence((2, 3)), shift=np.array(shift, np.int32), axis=np.array(axis, np.int64))
    check("Roll", refused=False, input=sequence((0, 3)), shift=scalar(2), axis=scalar(0))
    check("Roll", refused=True, input=sequence((2, 3)), shift=ints(1), axis=scalar(0))
    check("Roll", refused=True, input=sequence((2, 3)), shift=ints([1]), axis=ints([0]))
    check("Roll", refused=True, input=sequence(()), shift=scalar(1), axis=scalar(0))
