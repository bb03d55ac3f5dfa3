"""Decompositions and functions of matrices, for batches [..., M, N].

What is unique up to signs or phases (singular vectors, eigenvectors) may differ in them from
TensorFlow's; QR has its signs. Eigenvalues of a general matrix come in LAPACK's order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.formats.dtypes import INT32, DType
from graphrack.ops.linalg import adjoint, check_matrices, check_square, lapack, triangular_solve
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array


def _failed(what: str, matrix: Array) -> ValueError:
    return ValueError(f"{what} did not succeed for a matrix of shape {matrix.shape[-2:]}: is it finite?")


def _absent(dtype: Any) -> Array:
    # What TensorFlow gives for vectors that nobody asked for: a scalar whose value is left undefined.
    return np.zeros((), dtype)


# Cholesky


_factor = lapack("cholesky_lo")


def _cholesky(input: Array) -> Any:
    if input.ndim != 2 or input.shape[0] != input.shape[1]:
        check_square(input=input)
    elif _factor is not None and input.dtype.char in "fd" and 0 < input.size <= 1024:
        factor = _factor(input, signature="d->d").astype(input.dtype, copy=False)  # as `np.linalg.cholesky` does it
        if factor[0, 0] == factor[0, 0]:  # else it has failed
            return factor
    try:
        return np.linalg.cholesky(input)
    except np.linalg.LinAlgError:
        pass
    # TensorFlow gives NaN for what isn't positive definite, and goes on with the others.
    flat = input.reshape(-1, *input.shape[-2:])
    factors = np.empty_like(flat)
    for i, matrix in enumerate(flat):
        try:
            factors[i] = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            factors[i] = np.tril(np.full_like(matrix, np.nan))
    return factors.reshape(input.shape)


@specialized("Cholesky", "BatchCholesky")
def Cholesky(*, T: DType) -> Kernel:
    return widened(T, _cholesky)


def _cholesky_grad(l: Array, grad: Array) -> Any:  # noqa: E741 (the op definition's name)
    """Murray, "Differentiation of the Cholesky decomposition" (2016), eq. 9."""
    check_square(l=l, grad=grad)
    if l.shape != grad.shape:
        raise ValueError(f"l and grad must have the same shape, got {l.shape} and {grad.shape}")
    lower = np.tril(l)
    middle = np.tril(adjoint(lower) @ np.tril(grad))
    diagonal = np.arange(l.shape[-1])
    middle[..., diagonal, diagonal] *= 0.5
    turned = adjoint(lower)
    left = triangular_solve(turned, middle, lower=False)
    result = adjoint(triangular_solve(turned, adjoint(left), lower=False))
    return (result + adjoint(result)) * result.dtype.type(0.5)


@specialized("CholeskyGrad", "BatchCholeskyGrad")
def CholeskyGrad(*, T: DType) -> Kernel:
    return widened(T, _cholesky_grad)


# Orthogonal and spectral decompositions


@specialized("Qr", outputs=2)
def Qr(*, T: DType, full_matrices: bool = False) -> Kernel:
    mode: Any = "complete" if full_matrices else "reduced"

    def run(input: Array) -> Any:
        check_matrices(input=input)
        q, r = np.linalg.qr(input, mode=mode)
        return q, r

    return widened(T, run)


@specialized("Svd", "BatchSvd", outputs=3)
def Svd(*, T: DType, compute_uv: bool = True, full_matrices: bool = False) -> Kernel:
    dtype = T.numpy

    def run(input: Array) -> Any:
        check_matrices(input=input)
        try:
            if not compute_uv:
                values = np.linalg.svd(input, compute_uv=False)
                return values.astype(dtype, copy=False), _absent(input.dtype), _absent(input.dtype)
            u, values, v = np.linalg.svd(input, full_matrices=full_matrices)
        except np.linalg.LinAlgError:
            if not np.isnan(input).any():
                raise _failed("singular value decomposition", input) from None
            return _undefined_svd(input, compute_uv, full_matrices)
        return values.astype(input.dtype, copy=False), u, adjoint(v)

    return widened(T, run)


def _undefined_svd(input: Array, compute_uv: bool, full_matrices: bool) -> tuple[Array, Array, Array]:
    """A batch with NaN in it: matrix by matrix, those with NaN giving nothing else."""
    *batch, rows, columns = input.shape
    least = min(rows, columns)
    widths = (rows, columns) if full_matrices else (least, least)
    values = np.full((*batch, least), np.nan, input.dtype)
    u, v = (np.full((*batch, n, w), np.nan, input.dtype) for n, w in zip((rows, columns), widths, strict=True))
    for where in np.ndindex(*batch):
        if not np.isnan(input[where]).any():
            u[where], values[where], turned = np.linalg.svd(input[where], full_matrices=full_matrices)
            v[where] = adjoint(turned)
    return (values, u, v) if compute_uv else (values, _absent(input.dtype), _absent(input.dtype))


def _self_adjoint(input: Array, vectors: bool) -> tuple[Array, Array]:
    check_square(input=input)
    if not np.isfinite(input).all():
        raise _failed("self-adjoint eigendecomposition", input)
    try:
        if not vectors:
            return np.linalg.eigvalsh(input).astype(input.dtype, copy=False), _absent(input.dtype)
        values, found = np.linalg.eigh(input)
    except np.linalg.LinAlgError:
        raise _failed("self-adjoint eigendecomposition", input) from None
    return values.astype(input.dtype, copy=False), found


@specialized("SelfAdjointEigV2", "BatchSelfAdjointEigV2", outputs=2)
def SelfAdjointEigV2(*, T: DType, compute_v: bool = True) -> Kernel:
    return widened(T, lambda input: _self_adjoint(input, compute_v))


@specialized("SelfAdjointEig", "BatchSelfAdjointEig")
def SelfAdjointEig(*, T: DType) -> Kernel:
    """[..., M + 1, M]: eigenvalues as the first row, eigenvectors as columns below."""

    def run(input: Array) -> Any:
        values, vectors = _self_adjoint(input, True)
        return np.concatenate([values[..., None, :], vectors], axis=-2)

    return widened(T, run)


@specialized("Eig", outputs=2)
def Eig(*, T: DType, Tout: DType, compute_v: bool = True) -> Kernel:
    dtype = Tout.numpy
    if np.result_type(T.numpy, np.complex64) != dtype:
        raise ValueError(f"eigenvalues of {T} matrices are {np.result_type(T.numpy, np.complex64)}, not {Tout}")

    def run(input: Array) -> Any:
        check_square(input=input)
        try:
            if not compute_v:
                return np.linalg.eigvals(input).astype(dtype, copy=False), _absent(dtype)
            values, vectors = np.linalg.eig(input)
        except np.linalg.LinAlgError:
            raise _failed("eigendecomposition", input) from None
        return values.astype(dtype, copy=False), vectors.astype(dtype, copy=False)

    return run


def _eliminated(matrix: Array) -> tuple[Array, list[int]]:
    """LU with rows exchanged for the pivot of largest magnitude; LAPACK measures complex ones otherwise."""
    factors = matrix.copy()
    order = list(range(len(factors)))
    for k in range(len(factors)):
        best = k + int(np.abs(factors[k:, k]).argmax())
        if best != k:
            factors[[k, best]] = factors[[best, k]]
            order[k], order[best] = order[best], order[k]
        factors[k + 1 :, k] /= factors[k, k]
        factors[k + 1 :, k + 1 :] -= factors[k + 1 :, k, None] * factors[k, k + 1 :]
    return factors, order


def _factorized(matrix: Array) -> tuple[Array, list[int]]:
    from scipy.linalg import get_lapack_funcs

    (factorize,) = get_lapack_funcs(("getrf",), (matrix,))
    factors, exchanges, _ = factorize(matrix)
    order = list(range(len(matrix)))
    for i, other in enumerate(exchanges.tolist()):
        order[i], order[other] = order[other], order[i]
    return factors, order


@op("Lu", outputs=2)
def Lu(input: Array, *, output_idx_type: DType = INT32) -> tuple[Array, Array]:
    """L without its unit diagonal and U in one matrix, and the rows' order: input[p] = L U."""
    check_square(input=input)
    factors = np.empty_like(input)
    order = np.empty(input.shape[:-1], output_idx_type.numpy)
    if not input.size:
        return factors, order
    decompose = _eliminated if input.dtype.kind == "c" else _factorized
    for where in np.ndindex(input.shape[:-2]):
        factors[where], order[where] = decompose(input[where])
        pivots = np.diagonal(factors[where])
        if not np.isfinite(pivots).all() or not pivots.all():
            raise ValueError(f"the matrix is not invertible: one of shape {input.shape[-2:]} lacks a nonzero pivot")
    return factors, order


# Functions of matrices


def _each(function: Callable[[Array], Any], input: Array) -> Array:
    check_square(input=input)
    result = np.empty_like(input)
    for where in np.ndindex(input.shape[:-2]):
        if input.shape[-1]:
            found = function(input[where])
            result[where] = np.nan if input.dtype.kind != "c" and np.iscomplexobj(found) else found
    return result


def _triangular_root(triangle: Array) -> Array:
    """Principal root of an upper triangle: U[i,j] = (T[i,j] - Σ U[i,k] U[k,j]) / (U[i,i] + U[j,j])."""
    diagonal = np.sqrt(np.diagonal(triangle))
    root = np.diag(diagonal)
    for j in range(1, len(triangle)):
        for i in range(j - 1, -1, -1):
            inner = root[i, i + 1 : j] @ root[i + 1 : j, j]
            # Two zeros on the diagonal: no root, and 0 / 0 or x / 0, as in TensorFlow.
            root[i, j] = np.divide(triangle[i, j] - inner, diagonal[i] + diagonal[j])
    return root


def _root(matrix: Array) -> Any:
    from scipy.linalg import schur

    if not np.isfinite(matrix).all():
        return np.nan
    triangle, basis = schur(matrix, output="complex")
    root = _triangular_root(triangle)
    result = basis @ root @ adjoint(basis)
    if matrix.dtype.kind == "c":
        return result
    # The root of a negative eigenvalue is imaginary.
    diagonal = np.diagonal(root)
    noise = np.finfo(matrix.dtype).eps * np.abs(diagonal).max()
    imaginary = (np.abs(diagonal.imag) > noise) & (np.abs(diagonal.real) <= noise)
    return np.nan if imaginary.any() else result.real


def _logarithm(matrix: Array) -> Any:
    """Inverse scaling and squaring: log T = 2^k log T^(1/2^k), the last by Gauss and Legendre's quadrature.

    Higham, "Functions of Matrices" (2008), chapter 11; log(I + X) = ∫ X (I + tX)^-1 dt over [0, 1].
    """
    from scipy.linalg import schur, solve_triangular

    if not np.isfinite(matrix).all():
        return np.nan
    triangle, basis = schur(matrix.astype(np.complex128), output="complex")
    if not np.diagonal(triangle).all():
        return np.nan
    identity = np.eye(len(triangle))
    roots = 0
    while np.linalg.norm(triangle - identity, 1) > 0.25 and roots < 100:
        triangle = _triangular_root(triangle)
        roots += 1
    rest = triangle - identity
    nodes, weights = np.polynomial.legendre.leggauss(8)
    logarithm = np.zeros_like(triangle)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        logarithm += weight * solve_triangular(identity + node * rest, rest)
    return basis @ (logarithm * 2.0**roots) @ adjoint(basis)


@op("MatrixSquareRoot")
def MatrixSquareRoot(input: Array) -> Array:
    """Real matrices with negative eigenvalues have no real root: NaN, as singular ones mostly have."""
    return _each(_root, input)


@specialized("MatrixExponential")
def MatrixExponential(*, T: DType) -> Kernel:
    def run(input: Array) -> Any:
        from scipy.linalg import expm

        check_square(input=input)
        return expm(input).astype(input.dtype, copy=False) if input.size else input

    return widened(T, run)


@op("MatrixLogarithm")
def MatrixLogarithm(input: Array) -> Array:
    """Principal logarithm of complex matrices; those with a zero eigenvalue have none: NaN."""

    return _each(_logarithm, input)
