"""Matrix inverses, determinants and linear systems, for batches [..., M, M].

LAPACK (through NumPy and SciPy) takes the place of Eigen: results differ in the last digits, more so
for ill-conditioned matrices. Whether a matrix is singular is decided by an exact zero among its pivots,
as in TensorFlow; rounding may lead to one here and to a tiny number there.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array


def check_matrices(**matrices: Array) -> None:
    """Raises `ValueError` where an input has no last two dimensions."""
    for name, value in matrices.items():
        if value.ndim < 2:
            raise ValueError(f"{name} must have at least 2 dimensions, got shape {value.shape}")


def check_square(**matrices: Array) -> None:
    """Raises `ValueError` where an input's last two dimensions differ or are missing."""
    check_matrices(**matrices)
    for name, value in matrices.items():
        if value.shape[-1] != value.shape[-2]:
            raise ValueError(f"{name} must be square in its last two dimensions, got shape {value.shape}")


def adjoint(matrix: Array) -> Array:
    """The conjugate transpose of the last two dimensions."""
    turned = matrix.swapaxes(-1, -2)
    return np.conjugate(turned) if matrix.dtype.kind == "c" else turned


def _same_batch(left: tuple[str, Array], right: tuple[str, Array], rows: int) -> None:
    (left_name, a), (right_name, b) = left, right
    if a.shape[:-2] != b.shape[:-2] or rows != b.shape[-2]:
        raise ValueError(
            f"{left_name} of shape {a.shape} and {right_name} of shape {b.shape} don't fit: "
            f"{right_name} must have shape {[*a.shape[:-2], rows, 'K']}"
        )


def lapack(name: str) -> Kernel | None:
    """A function of NumPy's that it calls LAPACK by, without what goes on around it: three quarters of the time that a
    small matrix takes. None where this NumPy has it elsewhere. What fails gives NaN."""
    return getattr(getattr(np.linalg, "_umath_linalg", None), name, None)


_inv = lapack("inv")


def _small_inverse(matrix: Array) -> Any:
    """The inverse of a small matrix; None where it must be looked at closely."""
    if _inv is None or matrix.dtype.char not in "fd" or not 0 < matrix.size <= _SMALL:
        return None
    inverse = _inv(matrix, signature="d->d").astype(matrix.dtype, copy=False)  # as `np.linalg.inv` does it
    # Of a singular matrix it is NaN, and there is no finite product with an infinite number.
    return inverse if math.isfinite(matrix.reshape(-1).dot(inverse.reshape(-1))) else None


_SMALL = 1024  # elements


def _check_invertible(matrix: Array) -> None:
    # LAPACK goes on where Eigen's smallest pivot is NaN and the check for zero fails.
    if matrix.dtype.kind == "f":
        flat = matrix.reshape(-1)
        if math.isfinite(flat.dot(flat)):
            return
    if not np.isfinite(matrix).all():
        raise ValueError(f"the matrix is not invertible: NaN or infinity in its {matrix.shape} numbers")


def _singular(matrix: Array) -> ValueError:
    return ValueError(f"the matrix is not invertible: one of shape {matrix.shape[-2:]} is singular")


# Inverses and determinants


@specialized("MatrixInverse", "BatchMatrixInverse")
def MatrixInverse(*, T: DType, adjoint: bool = False) -> Kernel:
    turned = adjoint

    def run(input: Array) -> Any:
        if input.ndim != 2 or input.shape[0] != input.shape[1]:
            check_square(input=input)
        inverse = _small_inverse(_adjoint_of(input) if turned else input)
        if inverse is not None:
            return inverse
        _check_invertible(input)
        try:
            inverse = np.linalg.inv(_adjoint_of(input) if turned else input)
        except np.linalg.LinAlgError:
            raise _singular(input) from None
        return inverse

    return widened(T, run)


_adjoint_of = adjoint  # ops have an attribute of that name


@specialized("MatrixDeterminant", "BatchMatrixDeterminant")
def MatrixDeterminant(*, T: DType) -> Kernel:
    def run(input: Array) -> Any:
        check_square(input=input)
        return np.linalg.det(input)

    return widened(T, run)


@specialized("LogMatrixDeterminant", outputs=2)
def LogMatrixDeterminant(*, T: DType) -> Kernel:
    dtype = T.numpy

    def run(input: Array) -> Any:
        check_square(input=input)
        sign, logarithm = np.linalg.slogdet(input)
        undefined = np.isnan(logarithm)
        if undefined.any():
            sign = np.where(undefined, dtype.type(np.nan), sign)
        return sign, logarithm.astype(dtype, copy=False)

    return widened(T, run)


# Systems of equations


@specialized("MatrixSolve", "BatchMatrixSolve")
def MatrixSolve(*, T: DType, adjoint: bool = False) -> Kernel:
    turned = adjoint

    def run(matrix: Array, rhs: Array) -> Any:
        check_square(matrix=matrix)
        check_matrices(rhs=rhs)
        _same_batch(("matrix", matrix), ("rhs", rhs), matrix.shape[-1])
        if not rhs.size:
            return np.zeros(rhs.shape, rhs.dtype)
        _check_invertible(matrix)
        try:
            solution = np.linalg.solve(_adjoint_of(matrix) if turned else matrix, rhs)
        except np.linalg.LinAlgError:
            raise _singular(matrix) from None
        return solution

    return widened(T, run)


def _normal_equations(matrix: Array, rhs: Array, regularizer: Any) -> Any:
    rows, columns = matrix.shape[-2:]
    turned = adjoint(matrix)
    gram = turned @ matrix if rows >= columns else matrix @ turned
    gram += regularizer * np.eye(min(rows, columns), dtype=gram.dtype)
    try:
        factor = np.linalg.cholesky(gram)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"a matrix of shape {matrix.shape[-2:]} is rank deficient or ill-conditioned; "
            "set fast=False or a larger l2_regularizer"
        ) from None
    right = turned @ rhs if rows >= columns else rhs
    solution = triangular_solve(adjoint(factor), triangular_solve(factor, right, lower=True), lower=False)
    return solution if rows >= columns else turned @ solution


@specialized("MatrixSolveLs", "BatchMatrixSolveLs")
def MatrixSolveLs(*, T: DType, fast: bool = True) -> Kernel:
    """Least squares: by normal equations if `fast`, else of minimal norm; the latter takes no regularizer."""

    def run(matrix: Array, rhs: Array, l2_regularizer: Array) -> Any:
        check_matrices(matrix=matrix, rhs=rhs)
        _same_batch(("matrix", matrix), ("rhs", rhs), matrix.shape[-2])
        if l2_regularizer.ndim:
            raise ValueError(f"l2_regularizer must be a scalar, got shape {l2_regularizer.shape}")
        if l2_regularizer < 0:
            raise ValueError(f"l2_regularizer must be at least 0, got {l2_regularizer}")
        shape = (*matrix.shape[:-2], matrix.shape[-1], rhs.shape[-1])
        if not matrix.size or not rhs.size:
            return np.zeros(shape, rhs.dtype)
        if fast:
            return _normal_equations(matrix, rhs, l2_regularizer.astype(matrix.real.dtype))
        # Singular values below what rounding leaves of zeros count as zeros, as in Eigen's rank.
        epsilon = np.finfo(matrix.dtype).eps * min(matrix.shape[-2:])
        inverse = np.linalg.pinv(matrix, rcond=epsilon).astype(matrix.dtype, copy=False)
        return inverse @ rhs

    return widened(T, run)


_FEW_ROWS = 32  # up to here a batch is solved row by row, all its matrices at once


def triangular_solve(matrix: Array, rhs: Array, *, lower: bool) -> Array:
    """Solves systems whose matrices are triangular; batch dimensions broadcast. No pivot is looked at.

    Attributes:
        matrix: [..., M, M]; what is on the other side of the diagonal is not read.
        rhs: [..., M, K].
    """
    size = matrix.shape[-1]
    if matrix.ndim == rhs.ndim == 2 and rhs.size and matrix.dtype == rhs.dtype:
        return np.ascontiguousarray(_trsm(rhs.dtype)(1, matrix, rhs, lower=lower))
    batch = np.broadcast_shapes(matrix.shape[:-2], rhs.shape[:-2])
    count = math.prod(batch)
    if not rhs.size or not count:
        return np.zeros((*batch, *rhs.shape[-2:]), rhs.dtype)
    if size <= _FEW_ROWS and count > 1:
        solution = np.empty((*batch, *rhs.shape[-2:]), rhs.dtype)
        rows = range(size) if lower else range(size - 1, -1, -1)
        for i in rows:
            known = slice(0, i) if lower else slice(i + 1, size)
            row = rhs[..., i, :] - (matrix[..., i, None, known] @ solution[..., known, :])[..., 0, :]
            solution[..., i, :] = row / matrix[..., i, i, None]
        return solution
    solve = _trsm(np.result_type(matrix, rhs))
    if not batch:
        return np.ascontiguousarray(solve(1, matrix, rhs, lower=lower))
    solution = np.empty((count, *rhs.shape[-2:]), rhs.dtype)
    matrices = np.broadcast_to(matrix, (*batch, *matrix.shape[-2:]))
    sides = np.broadcast_to(rhs, (*batch, *rhs.shape[-2:]))
    for i, where in enumerate(np.ndindex(batch)):
        solution[i] = solve(1, matrices[where], sides[where], lower=lower)
    return solution.reshape((*batch, *rhs.shape[-2:]))


@cache
def _trsm(dtype: np.dtype[Any]) -> Any:
    """BLAS's function that solves a triangular system."""
    from scipy.linalg import get_blas_funcs

    return get_blas_funcs(("trsm",), dtype=dtype)[0]


def _broadcast_batch(matrix: Array, rhs: Array, rows: int) -> tuple[int, ...]:
    if rows != rhs.shape[-2]:
        raise ValueError(f"matrix of shape {matrix.shape} needs rhs [..., {rows}, K], got shape {rhs.shape}")
    try:
        return np.broadcast_shapes(matrix.shape[:-2], rhs.shape[:-2])
    except ValueError:
        raise ValueError(f"batches of matrix {matrix.shape} and rhs {rhs.shape} don't broadcast") from None


@specialized("MatrixTriangularSolve", "BatchMatrixTriangularSolve")
def MatrixTriangularSolve(*, T: DType, lower: bool = True, adjoint: bool = False) -> Kernel:
    turned = adjoint

    def run(matrix: Array, rhs: Array) -> Any:
        if not matrix.ndim == rhs.ndim == 2 or not matrix.shape[0] == matrix.shape[1] == rhs.shape[0]:
            check_square(matrix=matrix)
            check_matrices(rhs=rhs)
            _broadcast_batch(matrix, rhs, matrix.shape[-1])
        return triangular_solve(_adjoint_of(matrix) if turned else matrix, rhs, lower=lower != turned)

    return widened(T, run)


# Banded systems


def _column_bands(matrix: Array, lower: bool) -> Array:
    """Bands of a triangular matrix [..., bands, M] as those of its transpose, the other triangle."""
    bands, size = matrix.shape[-2:]
    turned = np.zeros_like(matrix)
    for i in range(bands):
        shift = i if lower else bands - 1 - i
        kept = max(0, size - shift)
        target = turned[..., bands - 1 - i, :]
        if lower:  # element j of band `shift` is A[j, j - shift], which becomes row j - shift
            target[..., :kept] = matrix[..., i, size - kept :]
        else:
            target[..., size - kept :] = matrix[..., i, :kept]
    return turned


@specialized("BandedTriangularSolve")
def BandedTriangularSolve(*, T: DType, lower: bool = True, adjoint: bool = False) -> Kernel:
    """`matrix` [..., bands, M] holds diagonals as rows: the main one first if `lower`, else last."""

    def run(matrix: Array, rhs: Array) -> Any:
        check_matrices(matrix=matrix, rhs=rhs)
        bands, size = matrix.shape[-2:]
        if not bands:
            raise ValueError(f"matrix of shape {matrix.shape} must have at least one band")
        batch = _broadcast_batch(matrix, rhs, size)
        solution = np.empty((*batch, *rhs.shape[-2:]), rhs.dtype)
        if not solution.size:
            return solution
        down = lower
        if adjoint:
            matrix = np.conjugate(_column_bands(matrix, lower))
            down = not lower
        main = matrix[..., 0 if down else bands - 1, :]
        if not main.all():
            raise ValueError(f"the matrix is not invertible: its diagonal of {size} numbers has zeros")
        for i in range(size) if down else range(size - 1, -1, -1):
            row = rhs[..., i, :]
            # Bands from the main one outwards: the first is the nearest neighbour's.
            near = min(bands - 1, i if down else size - 1 - i)
            if near:
                if down:
                    weights, known = matrix[..., near:0:-1, i], solution[..., i - near : i, :]
                else:
                    first = bands - 2
                    weights = matrix[..., first - near + 1 : first + 1, i][..., ::-1]
                    known = solution[..., i + 1 : i + 1 + near, :]
                row = row - (weights[..., None, :] @ known)[..., 0, :]
            solution[..., i, :] = row / main[..., i, None]
        return solution

    return widened(T, run)


@specialized("TridiagonalMatMul")
def TridiagonalMatMul(*, T: DType) -> Kernel:
    def run(superdiag: Array, maindiag: Array, subdiag: Array, rhs: Array) -> Any:
        check_matrices(superdiag=superdiag, maindiag=maindiag, subdiag=subdiag, rhs=rhs)
        expected = (*rhs.shape[:-2], 1, rhs.shape[-2])
        for name, value in (("superdiag", superdiag), ("maindiag", maindiag), ("subdiag", subdiag)):
            if value.shape != expected:
                raise ValueError(f"{name} must have shape {expected} for rhs {rhs.shape}, got {value.shape}")
        above, main, below = (v[..., 0, :, None] for v in (superdiag, maindiag, subdiag))
        product = main * rhs
        product[..., :-1, :] += above[..., :-1, :] * rhs[..., 1:, :]
        product[..., 1:, :] += below[..., 1:, :] * rhs[..., :-1, :]
        return product

    return widened(T, run)


def _thomas(above: Array, main: Array, below: Array, rhs: Array) -> Array:
    """Elimination without row exchanges, for a batch at once; systems that need them become NaN."""
    size = main.shape[1]
    solution, pivots = rhs.copy(), main.copy()
    for i in range(1, size):
        factor = below[:, i] / pivots[:, i - 1]
        pivots[:, i] -= factor * above[:, i - 1]
        solution[:, i] -= factor[:, None] * solution[:, i - 1]
    solution[:, -1] /= pivots[:, -1, None]
    for i in range(size - 2, -1, -1):
        solution[:, i] = (solution[:, i] - above[:, i, None] * solution[:, i + 1]) / pivots[:, i, None]
    solution[(pivots == 0).any(axis=1)] = np.nan
    return solution


def _pivoted(above: Array, main: Array, below: Array, rhs: Array) -> Array:
    """Elimination with row exchanges (LAPACK's gtsv), system by system; singular ones become NaN."""
    from scipy.linalg import get_lapack_funcs

    (solve,) = get_lapack_funcs(("gtsv",), (main, rhs))
    solution = np.empty_like(rhs)
    for i in range(len(main)):
        if main.shape[1] == 1:
            solution[i] = rhs[i] / main[i, :, None] if main[i, 0] else np.nan
            continue
        *_, result, info = solve(below[i, 1:], main[i], above[i, :-1], rhs[i])
        solution[i] = np.nan if info else result
    return solution


def _nudged(pivot: Any, step: Any, row: Array, limits: tuple[Any, Any]) -> tuple[Any, Array]:
    """A pivot, moved away from zero until the row can be divided by it (LAPACK's xLAGTS)."""
    smallest, largest = limits
    step = np.copysign(max(abs(step), smallest), pivot.real)
    greatest = np.abs(row).max()
    while abs(pivot) < 1:
        size = abs(pivot)
        if size < smallest and size > 0 and greatest * smallest <= size:
            return pivot * largest, row * largest
        if size >= smallest and greatest <= size * largest:
            break
        pivot = pivot + step
        step = step * 2
    return pivot, row


def _perturbed(above: Array, main: Array, below: Array, rhs: Array) -> Array:
    """One system, singular or not: LU with scaled row exchanges, tiny pivots nudged (xLAGTF, xLAGTS)."""
    size = len(main)
    real = main.real.dtype.type
    info = np.finfo(real)
    limits = (info.tiny, real(1) / info.tiny)
    # U has its diagonal and two more above it.
    u = np.zeros((size, 3), main.dtype)
    u[0, :2] = main[0], above[0] if size > 1 else 0
    solution = rhs.copy()
    largest = np.abs(u[0]).max()
    scale = np.abs(u[0]).sum()
    for k in range(size - 1):
        last = k == size - 2
        next_scale = abs(below[k + 1]) + abs(main[k + 1]) + (0 if last else abs(above[k + 1]))
        if below[k + 1] == 0 or (u[k, 0] != 0 and abs(below[k + 1]) / next_scale <= abs(u[k, 0]) / scale):
            factor = below[k + 1] / u[k, 0] if below[k + 1] != 0 else below[k + 1]
            scale = next_scale
            u[k + 1, :2] = main[k + 1] - factor * u[k, 1], above[k + 1]
            solution[k + 1] -= factor * solution[k]
        else:
            factor = u[k, 0] / below[k + 1]
            upper = u[k, 1]
            u[k] = below[k + 1], main[k + 1], 0 if last else above[k + 1]
            u[k + 1, :2] = upper - factor * main[k + 1], 0 if last else -factor * above[k + 1]
            solution[[k, k + 1]] = solution[k + 1], solution[k] - factor * solution[k + 1]
        if not last:
            largest = max(largest, np.abs(u[k]).max())
    step = info.eps * max(largest, abs(u[-1, 0]))
    for k in range(size - 1, -1, -1):
        row = solution[k]
        if k + 1 < size:
            row = row - u[k, 1] * solution[k + 1]
        if k + 2 < size:
            row = row - u[k, 2] * solution[k + 2]
        pivot, row = _nudged(u[k, 0], step, row, limits)
        solution[k] = row * (1 / pivot)
    return solution


@specialized("TridiagonalSolve")
def TridiagonalSolve(*, T: DType, partial_pivoting: bool = True, perturb_singular: bool = False) -> Kernel:
    if perturb_singular and not partial_pivoting:
        raise ValueError("perturb_singular needs partial_pivoting, which is False")

    def run(diagonals: Array, rhs: Array) -> Any:
        check_matrices(diagonals=diagonals, rhs=rhs)
        if diagonals.shape[-2] != 3:
            raise ValueError(f"diagonals must have shape [..., 3, M], got {diagonals.shape}")
        _same_batch(("diagonals", diagonals), ("rhs", rhs), diagonals.shape[-1])
        if not rhs.size:
            return np.zeros(rhs.shape, rhs.dtype)
        size = diagonals.shape[-1]
        above, main, below = np.moveaxis(diagonals.reshape(-1, 3, size), 1, 0)
        flat = rhs.reshape(-1, *rhs.shape[-2:])
        if perturb_singular:
            systems = zip(above, main, below, flat, strict=True)
            solution = np.stack([_perturbed(*system) for system in systems])
        else:
            solution = (_pivoted if partial_pivoting else _thomas)(above, main, below, flat)
        return solution.reshape(rhs.shape)

    return widened(T, run)
