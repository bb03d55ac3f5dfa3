from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check

from graphrack.ops import registry

PRECISE = [np.float64, np.complex128]
SINGLE = [np.float32, np.complex64]
BATCHES: list[tuple[int, ...]] = [(), (3,), (2, 2), (0,)]


def matrices(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray[Any, Any]:
    random = np.random.default_rng([seed, *shape])
    values = random.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * random.normal(size=shape)
    return values.astype(dtype)


def regular(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray[Any, Any]:
    """Well-conditioned square matrices."""
    values = matrices(shape, dtype, seed)
    return (values + shape[-1] * 2 * np.eye(shape[-1])).astype(dtype)


def tolerance(dtype: Any) -> dict[str, float]:
    size = 2e-4 if np.dtype(dtype) in (np.float32, np.complex64) else 1e-9
    return {"rtol": size, "atol": size}


@pytest.mark.parametrize("dtype", [*PRECISE, *SINGLE])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", [0, 1, 2, 5, 40])
def test_inverses_determinants_and_solutions(size: int, batch: tuple[int, ...], dtype: Any) -> None:
    matrix = regular((*batch, size, size), dtype)
    rhs = matrices((*batch, size, 3), dtype, 1)
    near = tolerance(dtype)
    check("MatrixInverse", input=matrix, refused=False, **near)
    if size < 40:
        check("MatrixDeterminant", input=matrix, refused=False, **near)
    check("LogMatrixDeterminant", input=matrix, refused=False, **near)
    for adjoint in (False, True):
        check("MatrixInverse", input=matrix, adjoint=adjoint, refused=False, **near)
        check("MatrixSolve", matrix=matrix, rhs=rhs, adjoint=adjoint, refused=False, **near)
        for lower in (False, True):
            check("MatrixTriangularSolve", matrix=matrix, rhs=rhs, lower=lower, adjoint=adjoint, refused=False, **near)


def test_half_is_computed_in_single_precision() -> None:
    matrix = regular((2, 3, 3), np.float16)
    check("MatrixInverse", input=matrix, refused=False, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "shapes", [((2, 3, 3), (3, 1)), ((3, 3), (2, 3, 2)), ((2, 1, 3, 3), (4, 3, 1)), ((3, 3), (3, 0))]
)
def test_triangular_systems_broadcast(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    matrix, rhs = regular(shapes[0], np.float64), matrices(shapes[1], np.float64)
    check("MatrixTriangularSolve", matrix=matrix, rhs=rhs, refused=False)
    check("MatrixTriangularSolve", matrix=matrix, rhs=rhs, lower=False, refused=False)


def test_what_is_singular_is_refused_or_infinite_as_in_tensorflow() -> None:
    singular = np.ones((2, 3, 3), np.float32)
    rhs = np.ones((2, 3, 1), np.float32)
    check("MatrixInverse", input=singular, refused=True)
    check("MatrixInverse", input=singular * np.nan, refused=True)
    check("MatrixSolve", matrix=singular, rhs=rhs, refused=True)
    check("MatrixDeterminant", input=singular, refused=False)
    check("LogMatrixDeterminant", input=singular, refused=False)
    check("LogMatrixDeterminant", input=-singular * np.nan, refused=False)
    zero = np.diag(np.array([0, 1, 2], np.float32))
    check("MatrixTriangularSolve", matrix=zero, rhs=rhs[0], refused=False)
    check("MatrixTriangularSolve", matrix=zero * np.nan, rhs=rhs[0], refused=False)


def test_shapes_that_dont_fit_are_refused() -> None:
    square, flat = np.eye(3), np.ones((2, 3))
    for op in ("MatrixInverse", "MatrixDeterminant", "LogMatrixDeterminant"):
        check(op, input=flat, refused=True)
        check(op, input=np.ones(3), refused=True)
    for rhs in (np.ones(3), np.ones((2, 3)), np.ones((2, 3, 1))):
        check("MatrixSolve", matrix=square, rhs=rhs, refused=True)
    check("MatrixSolve", matrix=flat, rhs=np.ones((3, 1)), refused=True)
    check("MatrixTriangularSolve", matrix=square, rhs=np.ones((2, 1)), refused=True)
    check("MatrixTriangularSolve", matrix=np.ones((2, 3, 3)), rhs=np.ones((3, 3, 1)), refused=True)


@pytest.mark.parametrize("dtype", [*PRECISE, *SINGLE])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 5, 3), (3, 0), (1, 1)])
def test_least_squares(shape: tuple[int, ...], dtype: Any) -> None:
    matrix = matrices(shape, dtype)
    rhs = matrices((*shape[:-1], 2), dtype, 1)
    near = {k: v * 10 for k, v in tolerance(dtype).items()}
    for amount in (0.0, 0.3):
        arguments = {"matrix": matrix, "rhs": rhs, "l2_regularizer": np.array(amount)}
        check("MatrixSolveLs", **arguments, refused=False, **near)
        check("MatrixSolveLs", **arguments, fast=False, refused=False, **near)


def test_least_squares_without_equations_are_zero() -> None:
    # TensorFlow gives whatever memory held before.
    from graphrack.formats.dtypes import DOUBLE

    op = registry.lookup("MatrixSolveLs")
    assert op is not None
    found = op.bind("n", {"T": DOUBLE}, {})(np.zeros((0, 3)), np.zeros((0, 2)), np.array(0.0))
    np.testing.assert_array_equal(found, np.zeros((3, 2)))


def test_least_squares_of_deficient_matrices() -> None:
    ones, rhs = np.ones((4, 3), np.float32), np.arange(4, dtype=np.float32)[:, None]
    arguments = {"matrix": ones, "rhs": rhs}
    check("MatrixSolveLs", **arguments, l2_regularizer=np.array(0.0), refused=True)
    check("MatrixSolveLs", **arguments, l2_regularizer=np.array(0.5), refused=False)
    check("MatrixSolveLs", **arguments, l2_regularizer=np.array(0.0), fast=False, refused=False, rtol=1e-4, atol=1e-5)
    check("MatrixSolveLs", **arguments, l2_regularizer=np.array(-1.0), refused=True)
    check("MatrixSolveLs", **arguments, l2_regularizer=np.array([1.0]), refused=True)
    check("MatrixSolveLs", matrix=ones, rhs=rhs[:3], l2_regularizer=np.array(1.0), refused=True)


@pytest.mark.parametrize("dtype", [*PRECISE, *SINGLE])
@pytest.mark.parametrize("batch", [b for b in BATCHES if b != (0,)])  # TensorFlow refuses empty ones
@pytest.mark.parametrize(("bands", "size"), [(1, 3), (2, 5), (3, 5), (4, 4), (1, 1), (5, 3)])
def test_banded_triangles(bands: int, size: int, batch: tuple[int, ...], dtype: Any) -> None:
    matrix = matrices((*batch, bands, size), dtype) + 3
    rhs = matrices((*batch, size, 2), dtype, 1)
    for lower in (False, True):
        for adjoint in (False, True):
            flags = {"lower": lower, "adjoint": adjoint}
            check("BandedTriangularSolve", matrix=matrix, rhs=rhs, **flags, refused=False, rtol=1e-3, atol=1e-3)


def test_banded_triangles_broadcast_and_refuse_zeros() -> None:
    matrix = matrices((2, 3), np.float64) + 3
    check("BandedTriangularSolve", matrix=matrix, rhs=matrices((4, 3, 2), np.float64), refused=False)
    matrix[0, 1] = 0
    check("BandedTriangularSolve", matrix=matrix, rhs=np.ones((3, 1)), refused=True)
    check("BandedTriangularSolve", matrix=np.ones((2, 3)), rhs=np.ones((2, 1)), refused=True)


@pytest.mark.parametrize("dtype", [*PRECISE, *SINGLE])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 9])
def test_tridiagonal_systems(size: int, batch: tuple[int, ...], dtype: Any) -> None:
    diagonals = matrices((*batch, 3, size), dtype, 3)
    rhs = matrices((*batch, size, 2), dtype, 4)
    diagonals[..., 1, :] += 4
    near = tolerance(dtype)
    for flags in ({}, {"partial_pivoting": False}, {"perturb_singular": True}):
        check("TridiagonalSolve", diagonals=diagonals, rhs=rhs, **flags, refused=False, **near)
    rows = {"superdiag": 0, "maindiag": 1, "subdiag": 2}
    parts = {name: np.ascontiguousarray(diagonals[..., i : i + 1, :]) for name, i in rows.items()}
    check("TridiagonalMatMul", **parts, rhs=rhs, refused=False, **near)


def test_tridiagonal_systems_that_need_exchanges_or_are_singular() -> None:
    rhs = matrices((4, 2), np.float64)
    exchanges = np.array([[1, 2, 3, 0], [0, 0.1, 0, 1], [0, 5, 6, 7]], np.float64)
    for diagonals in (exchanges, np.zeros((3, 4)), exchanges * [[1], [1], [0]], np.ones((3, 4)), exchanges * 1e-300):
        check("TridiagonalSolve", diagonals=diagonals, rhs=rhs, refused=False)
        check("TridiagonalSolve", diagonals=diagonals, rhs=rhs, perturb_singular=True, refused=False)
    check("TridiagonalSolve", diagonals=np.zeros((3, 1)), rhs=rhs[:1], refused=False)
    check("TridiagonalSolve", diagonals=np.zeros((3, 4)), rhs=rhs, partial_pivoting=False, refused=False)
    check("TridiagonalSolve", diagonals=exchanges, rhs=rhs[:3], refused=True)
    check("TridiagonalSolve", diagonals=exchanges[:2], rhs=rhs, refused=True)
    row = np.ones((1, 4))
    check("TridiagonalMatMul", superdiag=row, maindiag=row[:, :3], subdiag=row, rhs=rhs, refused=True)


def test_old_names_mean_the_same() -> None:
    # TensorFlow refuses BatchMatrixInverse and its kin in graphs of today.
    for name in (
        "BatchMatrixInverse",
        "BatchMatrixDeterminant",
        "BatchMatrixSolve",
        "BatchMatrixSolveLs",
        "BatchMatrixTriangularSolve",
    ):
        old, new = registry.lookup(name), registry.lookup(name.removeprefix("Batch"))
        assert old is not None
        assert new is not None
        assert old.function is new.function
