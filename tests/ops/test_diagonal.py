"""Diagonals and bands of matrices against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.samples import NUMBERS, check_if_known, ints, sample, scalar

from graphrack.ops import registry

ALIGNMENTS = ["LEFT_RIGHT", "RIGHT_LEFT", "LEFT_LEFT", "RIGHT_RIGHT"]


def check_band(dtype: Any, rows: int, columns: int, low: int, high: int, batch: tuple[int, ...], seed: int) -> None:
    """All ops of one band, with matrices that it lies in and ones that it doesn't."""
    pad = sample((1,), dtype, 7).reshape(())
    k = scalar(low) if low == high and seed % 2 else ints(low, high)
    matrices = sample((*batch, rows, columns), dtype, seed)
    longest = max(0, min(rows + min(high, 0), columns - max(low, 0)))
    packed = () if low == high else (high - low + 1,)
    diagonal = sample((*batch, *packed, longest), dtype, seed + 1)
    align = ALIGNMENTS[seed % 4]
    sizes = {"num_rows": scalar(rows), "num_cols": scalar(columns), "padding_value": pad}
    open_sizes = {"num_rows": scalar(-1), "num_cols": scalar([-1, columns][seed % 2]), "padding_value": pad}
    too_large = {"num_rows": scalar(rows + 1), "num_cols": scalar(columns + 1), "padding_value": pad}
    check_if_known("MatrixDiagPartV3", input=matrices, k=k, padding_value=pad, align=align)
    check_if_known("MatrixDiagPartV2", input=matrices, k=k, padding_value=pad)
    check_if_known("MatrixSetDiagV3", input=matrices, diagonal=diagonal, k=k, align=align)
    check_if_known("MatrixSetDiagV2", input=matrices, diagonal=diagonal, k=k)
    check_if_known("MatrixDiagV3", diagonal=diagonal, k=k, align=align, **sizes)
    check_if_known("MatrixDiagV3", diagonal=diagonal, k=k, align=align, **open_sizes)
    check_if_known("MatrixDiagV3", diagonal=diagonal, k=k, align=align, **too_large)
    check_if_known("MatrixDiagV2", diagonal=diagonal, k=k, **sizes)


@pytest.mark.parametrize("dtype", [*NUMBERS, np.dtype(bool)], ids=str)
def test_every_dtype(dtype: np.dtype) -> None:
    check_band(dtype, 3, 4, -1, 1, (2,), seed=1)
    check_band(dtype, 4, 3, 1, 1, (), seed=2)
    value = sample((2, 3, 4), dtype)
    check_if_known("MatrixDiag", diagonal=value)
    check_if_known("MatrixDiagPart", input=value)
    check_if_known("MatrixSetDiag", input=value, diagonal=value[:, 0, :3])
    check_if_known("MatrixBandPart", input=value, num_lower=scalar(1), num_upper=scalar(0))
    check_if_known("Diag", diagonal=value[0])
    check_if_known("DiagPart", input=sample((2, 3, 2, 3), dtype))


@pytest.mark.parametrize("seed", range(60))
def test_bands_of_all_kinds_agree(seed: int) -> None:
    random = np.random.default_rng(seed)
    low = int(random.integers(-4, 5))
    high = low + int(random.choice([0, 0, 1, 2]))
    rows, columns = (int(n) for n in random.integers(0, 5, 2))
    check_band(np.float32, rows, columns, low, high, (2,) * (seed % 2), seed)


def test_band_part_agrees() -> None:
    for shape in ((3, 4), (4, 2), (2, 3, 3), (0, 3), (3,)):
        for lower in range(-1, 5):
            for upper in (-2, 0, 1, 4):
                check(
                    "MatrixBandPart",
                    input=sample(shape, np.float64) + 10,
                    num_lower=scalar(lower, np.int64),
                    num_upper=scalar(upper, np.int64),
                )


def test_diag_of_odd_shapes_agrees() -> None:
    for shape in ((), (0,), (3,), (2, 0)):
        check("Diag", diagonal=sample(shape))
    for shape in ((), (0, 0), (3, 3), (2, 3), (3, 3, 1), (2,), (1, 2, 1, 2)):
        check("DiagPart", input=sample(shape))


def test_what_is_no_band_is_refused() -> None:
    zero = np.float64(0)
    for k in (ints(), ints(1, 0), ints(0, 1, 2), ints([0, 1])):
        check("MatrixDiagPartV3", refused=True, input=np.ones((3, 3)), k=k, padding_value=zero)
    check("MatrixDiagPartV3", refused=True, input=np.ones(3), k=ints(0), padding_value=zero)
    check("MatrixDiag", refused=True, diagonal=np.float32(1))
    check("MatrixSetDiag", refused=True, input=np.ones((3, 3)), diagonal=np.ones(2))


def test_old_names_mean_the_same() -> None:
    # TensorFlow refuses BatchMatrixDiag and its kin in graphs of today.
    value = sample((2, 3, 3))
    for name, arguments in {
        "BatchMatrixDiag": (value,),
        "BatchMatrixDiagPart": (value,),
        "BatchMatrixSetDiag": (value, value[:, 0]),
        "BatchMatrixBandPart": (value, np.int64(1), np.int64(0)),
    }.items():
        found = registry.lookup(name).bind(name, {}, {})(*arguments)
        expected = registry.lookup(name.removeprefix("Batch")).bind(name, {}, {})(*arguments)
        np.testing.assert_array_equal(found, expected)
