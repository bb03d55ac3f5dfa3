from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import Refused, by_graphrack, by_tensorflow, check
from ops.test_linalg import BATCHES, matrices, regular

from graphrack.ops import registry

DTYPES = [np.float32, np.float64, np.complex64, np.complex128]
SIZES = [0, 1, 2, 5, 20]


def near(dtype: Any) -> dict[str, float]:
    size = 1e-4 if np.dtype(dtype) in (np.float32, np.complex64) else 1e-9
    return {"rtol": size, "atol": size}


def turned(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.conj(matrix.swapaxes(-1, -2))


def positive(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    values = regular(shape, dtype)
    return values @ turned(values)


def both(op: str, **arguments: Any) -> tuple[list[Any], list[Any]]:
    """graphrack's and TensorFlow's results, which agree in shapes and dtypes, for what is unique up to signs."""
    data, feeds, theirs = by_tensorflow(op, arguments)
    assert data is not None
    ours = by_graphrack(data, feeds)
    assert not isinstance(ours, Refused), ours
    assert not isinstance(theirs, Refused), theirs
    for found, expected in zip(ours, theirs, strict=True):
        assert found.shape == np.shape(expected)
        assert found.dtype == np.asarray(expected).dtype
    return ours, theirs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", SIZES)
def test_cholesky_and_its_gradient(size: int, batch: tuple[int, ...], dtype: Any) -> None:
    matrix = positive((*batch, size, size), dtype)
    check("Cholesky", input=matrix, refused=False, **near(dtype))
    if np.dtype(dtype).kind == "f":  # TensorFlow has no other kernels
        factor, grad = np.linalg.cholesky(matrix), matrices(matrix.shape, dtype, 2)
        check("CholeskyGrad", l=factor, grad=grad, refused=False, **near(dtype))


def test_cholesky_of_what_is_not_positive_definite() -> None:
    good, bad = np.array([[4.0, 1], [1, 3]]), -np.eye(2)
    # Beside the lower triangle TensorFlow leaves whatever memory held before.
    (found,), (expected,) = both("Cholesky", input=np.stack([good, bad, good * np.nan]))
    np.testing.assert_allclose(np.tril(found), np.tril(expected))
    check("Cholesky", input=np.ones((2, 3)), refused=True)
    check("CholeskyGrad", l=good, grad=np.eye(3), refused=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5), (2, 4, 3), (0, 2), (2, 0), (0, 3, 2), (1, 1), (30, 20)])
def test_qr_has_tensorflows_signs(shape: tuple[int, ...], dtype: Any) -> None:
    matrix = matrices(shape, dtype)
    check("Qr", input=matrix, refused=False, **near(dtype))
    if shape[-2] <= shape[-1]:
        check("Qr", input=matrix, full_matrices=True, refused=False, **near(dtype))
    elif matrix.size:
        (q, r), _ = both("Qr", input=matrix, full_matrices=True)
        np.testing.assert_allclose(q @ r, matrix, **near(dtype))
        np.testing.assert_allclose(turned(q) @ q, np.broadcast_to(np.eye(shape[-2]), q.shape), **near(dtype))
    check("Qr", input=np.triu(np.ones((3, 3), dtype)), refused=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5), (2, 4, 3), (0, 2), (2, 0), (0, 3, 2), (1, 1), (30, 20)])
@pytest.mark.parametrize("full", [False, True])
def test_svd(shape: tuple[int, ...], dtype: Any, full: bool) -> None:
    matrix = matrices(shape, dtype)
    (values, u, v), theirs = both("Svd", input=matrix, full_matrices=full)
    np.testing.assert_allclose(values, theirs[0], **near(dtype))
    for basis in (u, v):
        identity = np.broadcast_to(np.eye(basis.shape[-1]), (*basis.shape[:-2], basis.shape[-1], basis.shape[-1]))
        np.testing.assert_allclose(turned(basis) @ basis, identity, **near(dtype))
    least = min(shape[-2:])
    again = (u[..., :least] * values[..., None, :]) @ turned(v[..., :least])
    np.testing.assert_allclose(again, matrix, **near(dtype))
    check("Svd", input=matrix, full_matrices=full, compute_uv=False, outputs=[0], refused=False, **near(dtype))


def test_svd_of_nan_is_nan() -> None:
    matrix = matrices((2, 3, 2), np.float32)
    matrix[1, 0, 0] = np.nan
    check("Svd", input=matrix, outputs=[0], refused=False)
    check("Svd", input=np.ones(3), refused=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", SIZES)
def test_eigenvalues_of_self_adjoint_matrices(size: int, batch: tuple[int, ...], dtype: Any) -> None:
    matrix = matrices((*batch, size, size), dtype)
    matrix = matrix + turned(matrix)
    (values, vectors), theirs = both("SelfAdjointEigV2", input=matrix)
    np.testing.assert_allclose(values, theirs[0], **near(dtype))
    np.testing.assert_allclose(matrix @ vectors, vectors * values[..., None, :], **near(dtype))
    check("SelfAdjointEigV2", input=matrix, compute_v=False, outputs=[0], refused=False, **near(dtype))


def test_only_the_lower_triangle_of_self_adjoint_matrices_is_read() -> None:
    check("SelfAdjointEigV2", input=np.array([[2.0, 9], [1, 3]]), compute_v=False, outputs=[0], refused=False)
    check("SelfAdjointEigV2", input=np.full((2, 2), np.nan), refused=True)
    check("SelfAdjointEigV2", input=np.ones((2, 3)), refused=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_eigenvalues_of_general_matrices(size: int, batch: tuple[int, ...], dtype: Any) -> None:
    import tensorflow.compat.v1 as tf

    matrix = matrices((*batch, size, size), dtype)
    result = tf.complex64 if np.dtype(dtype) in (np.float32, np.complex64) else tf.complex128
    (values, vectors), theirs = both("Eig", input=matrix, Tout=result)
    loose = {k: v * 10 for k, v in near(dtype).items()}
    np.testing.assert_allclose(matrix @ vectors, vectors * values[..., None, :], **loose)
    for one, other in zip(values.reshape(-1, size), theirs[0].reshape(-1, size), strict=True):
        distances = np.abs(one[:, None] - other)
        assert max(distances.min(axis=0).max(), distances.min(axis=1).max()) < loose["atol"]
    (alone, _), _ = both("Eig", input=matrix, Tout=result, compute_v=False)
    assert alone.shape == values.shape


def test_eigenvalues_of_what_has_none_are_refused() -> None:
    import tensorflow.compat.v1 as tf

    check("Eig", input=np.full((2, 2), np.nan, np.float32), Tout=tf.complex64, refused=True)
    check("Eig", input=np.eye(2, dtype=np.float32), Tout=tf.complex128, refused=True)
    check("Eig", input=np.ones((2, 3), np.float32), Tout=tf.complex64, refused=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", SIZES)
def test_lu(size: int, batch: tuple[int, ...], dtype: Any) -> None:
    import tensorflow.compat.v1 as tf

    matrix = matrices((*batch, size, size), dtype)
    check("Lu", input=matrix, refused=False, **near(dtype))
    check("Lu", input=matrix, output_idx_type=tf.int64, refused=False, **near(dtype))


def test_lu_of_what_is_singular_or_not_square_is_refused() -> None:
    check("Lu", input=np.ones((2, 2)), refused=True)
    check("Lu", input=np.full((2, 2), np.nan), refused=True)
    check("Lu", input=np.ones((2, 3)), refused=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_square_roots_and_logarithms(size: int, batch: tuple[int, ...], dtype: Any) -> None:
    matrix = regular((*batch, size, size), dtype)
    check("MatrixSquareRoot", input=matrix, refused=False, **near(dtype))
    if np.dtype(dtype).kind == "c":
        check("MatrixLogarithm", input=matrix, refused=False, rtol=1e-4, atol=1e-4)


def test_square_roots_of_what_has_none() -> None:
    for matrix in (-np.eye(2), np.full((2, 2), np.nan)):
        check("MatrixSquareRoot", input=matrix, refused=False)
    rotation = np.array([[0.0, -1], [1, 0]])
    check("MatrixSquareRoot", input=rotation, refused=False)
    check("MatrixSquareRoot", input=np.ones((2, 3)), refused=True)
    check("MatrixLogarithm", input=np.zeros((2, 2), np.complex128), refused=False)
    check("MatrixLogarithm", input=np.ones((2, 3), np.complex128), refused=True)


def test_exponential_agrees_with_tensorflows_function() -> None:
    # TensorFlow refuses the op "MatrixExponential" in graphs of today; tf.linalg.expm replaces it.
    import tensorflow.compat.v1 as tf

    matrix = matrices((2, 3, 3), np.float64)
    with tf.Graph().as_default(), tf.Session() as sess:
        expected = sess.run(tf.linalg.expm(matrix))
    op = registry.lookup("MatrixExponential")
    assert op is not None
    from graphrack.formats.dtypes import DOUBLE

    np.testing.assert_allclose(op.bind("n", {"T": DOUBLE}, {})(matrix), expected, rtol=1e-10)


def test_old_names_mean_the_same() -> None:
    names = {
        "BatchCholesky": "Cholesky",
        "BatchCholeskyGrad": "CholeskyGrad",
        "BatchSvd": "Svd",
        "BatchSelfAdjointEigV2": "SelfAdjointEigV2",
        "BatchSelfAdjointEig": "SelfAdjointEig",
    }
    for old_name, new_name in names.items():
        old, new = registry.lookup(old_name), registry.lookup(new_name)
        assert old is not None
        assert new is not None
        assert old.function is new.function


def test_the_first_form_stacks_eigenvalues_on_eigenvectors() -> None:
    from graphrack.formats.dtypes import DOUBLE

    op = registry.lookup("SelfAdjointEig")
    assert op is not None
    matrix = np.array([[2.0, 1], [1, 3]])
    found = op.bind("n", {"T": DOUBLE}, {})(matrix)
    assert found.shape == (3, 2)
    np.testing.assert_allclose(matrix @ found[1:], found[1:] * found[0])
