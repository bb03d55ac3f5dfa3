"""Every public function of `tf.linalg` and `tf.sets`, run by TensorFlow and by graphrack, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import Programs, agree, fed
from ops.operands import COMPLEX, FLOATS

DOUBLES = FLOATS[:2]
random = np.random.default_rng(1)
A = random.normal(size=(2, 3, 3)) + 3 * np.eye(3)
B = random.normal(size=(2, 3, 2))
C = A + 1j * random.normal(size=(2, 3, 3))
TALL, WIDE = random.normal(size=(2, 5, 3)), random.normal(size=(2, 3, 5))
SPD = A @ A.transpose(0, 2, 1) + np.eye(3)
V = random.normal(size=(2, 3))
LOOSE = {"rtol": 1e-3}

linalg = Programs(tf.linalg, {})

for name in ("adjoint", "matrix_transpose", "diag_part", "trace", "inv", "det"):
    linalg(name, A, dtypes=DOUBLES, **LOOSE)
    linalg(name, C, dtypes=COMPLEX, **LOOSE)
    if name != "trace":
        linalg(name, A[0])
for name in ("slogdet", "logdet", "sqrtm", "expm", "cholesky", "matrix_rank", "pinv"):
    # The gradients of sqrtm and expm are none, or differ by rounding that they magnify.
    linalg(name, SPD, dtypes=DOUBLES[1:], **LOOSE, gradients=name not in ("sqrtm",))
linalg("slogdet", C)
linalg("logm", SPD.astype(np.complex128), rtol=1e-6, gradients=False)
# Of what isn't positive definite, TensorFlow leaves above the diagonal whatever was in memory there.
linalg("cholesky", np.array([[1.0, 2.0], [2.0, 1.0]]), use=lambda f, x: tf.linalg.band_part(f(x), -1, 0))
linalg("det", np.zeros((2, 2)), gradients=False)
linalg("inv", np.ones((2, 2)))
linalg("inv", A, adjoint=True)
linalg("det", np.zeros((0, 3, 3)), gradients=False)
for lower, upper in ((0, 0), (1, 0), (-1, 0), (0, -1), (9, 9)):
    linalg("band_part", A, lower, upper)
linalg("band_part", np.arange(9).reshape(3, 3), np.array(1), np.array(0))
linalg("cholesky_solve", np.linalg.cholesky(SPD), B, dtypes=DOUBLES[1:])
linalg("cross", V, V[::-1].copy(), dtypes=FLOATS)
for k in (0, 1, -1, (-1, 1)):
    size = 3 if k != (-1, 1) else None
    diagonals = V if size else random.normal(size=(2, 3, 3))
    for align in ("RIGHT_LEFT", "LEFT_RIGHT"):
        linalg("diag", diagonals, k=k, padding_value=np.float64(7) * np.ones(()), align=align)
        linalg("diag_part", TALL, k=k, padding_value=np.float64(7) * np.ones(()), align=align)
    linalg("set_diag", A, random.normal(size=(2, 3, 3)) if k == (-1, 1) else V[:, : 3 - abs(k)], k=k)
linalg("diag", V, num_rows=5, num_cols=4)
for function in ("eigh", "eigvalsh"):
    use = lambda f, x: f(x) if f is tf.linalg.eigvalsh else (f(x)[0], tf.abs(f(x)[1]))
    linalg(function, SPD, dtypes=DOUBLES[1:], use=use, rtol=1e-6)
    linalg(function, (C + C.conj().transpose(0, 2, 1)), dtypes=COMPLEX[1:], use=use, gradients=False)
linalg.build("eigh_tridiagonal", lambda: tf.linalg.eigh_tridiagonal(fed(V[0], shape=[3]), fed(V[1, :2], shape=[2])))
for equation, operands in (
    ("bij,bjk->bik", (A, B)), ("bij->bji", (A,)), ("bii->bi", (A,)), ("i,j->ij", (V[0], V[1])), ("...ij,...jk", (A, B)),
    ("ij,ij->", (V, V)), ("abc->", (A,)), ("ij,jk,kl->il", (A[0], A[1], B[0])),
):  # fmt: skip
    linalg("einsum", equation, *operands)
for args in ((3,), (2, 4), (3, None, [2])):
    linalg("eye", *args)
linalg("eye", np.array(3, np.int32), dtype=tf.int64)
linalg("global_norm", [V, B, A])
linalg("l2_normalize", V, 1)
for name in ("solve", "lstsq"):
    linalg(name, A, B, rtol=1e-7)
    linalg(name, A, B, dtypes=DOUBLES, **LOOSE)
linalg("solve", A, B, adjoint=True)
linalg("solve", C, C)
linalg("lstsq", TALL, random.normal(size=(2, 5, 2)), l2_regularizer=0.5, rtol=1e-7)
linalg("lstsq", TALL, random.normal(size=(2, 5, 2)), fast=False, gradients=False)
for lower, adjoint in ((True, False), (False, False), (True, True)):
    linalg("triangular_solve", A, B, lower, adjoint)
linalg("triangular_solve", C, C, dtypes=COMPLEX, **LOOSE)
linalg("lu", A)
linalg("lu", C, output_idx_type=tf.int64)
linalg("lu_matrix_inverse", A, np.array([[2, 0, 1], [0, 1, 2]], np.int32))
linalg("lu_reconstruct", A, np.array([[2, 0, 1], [0, 1, 2]], np.int32))
linalg("lu_solve", A, np.array([[2, 0, 1], [0, 1, 2]], np.int32), B)
for transpose_a, transpose_b in ((False, False), (True, False), (False, True)):
    right = B.transpose(0, 2, 1).copy() if transpose_b else B
    linalg("matmul", A, right, transpose_a, transpose_b, dtypes=FLOATS)
linalg("matmul", C, C, adjoint_a=True, dtypes=COMPLEX)
linalg("matmul", np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2))
linalg("matmul", A[0], B[0], a_is_sparse=True, dtypes=DOUBLES[:1])
linalg("matmul", A, B[:1])
linalg("matmul", np.zeros((2, 0)), np.zeros((0, 3)))
linalg("matmul", A, V)
linalg("matvec", A, V, dtypes=FLOATS)
linalg("matvec", C, C[:, 0], adjoint_a=True)
for order in ("euclidean", "fro", 1, 2, np.inf, 3):
    linalg("norm", A if order == "fro" else V, order, axis=[0, 1] if order == "fro" else 0)
    linalg("normalize", A if order == "fro" else V, order, axis=[0, 1] if order == "fro" else 1)
    if order not in ("fro", 3, 2):
        linalg("norm", A, order, axis=[-2, -1], keepdims=True)
for full in (False, True):
    linalg("qr", TALL, full, use=lambda f, x, full: [tf.abs(y) for y in f(x, full)], gradients=False)
# Columns beyond the rank are any that are orthogonal to the others.
linalg("svd", TALL, use=lambda f, x: [tf.abs(y) for y in f(x)], gradients=False)
linalg("svd", WIDE, True, use=lambda f, x, full: [tf.abs(y)[..., :3] for y in f(x, full)], gradients=False)
linalg("svd", WIDE, compute_uv=False, rtol=1e-7)
linalg("tensor_diag", V)
linalg("tensor_diag_part", random.normal(size=(2, 3, 2, 3)))
for axes in (1, [[1], [0]], 0, 2):
    linalg("tensordot", A[0], A[1], axes)
linalg("trace", np.arange(9).reshape(3, 3))
linalg("transpose", A)
linalg("tridiagonal_matmul", [V, V + 1, V[::-1].copy()], B, diagonals_format="sequence", gradients=False)
for form in ("compact", "sequence", "matrix"):
    bands = random.normal(size=(2, 3, 3)) + np.array([0, 5, 0])[:, None]
    given: Any = bands if form == "compact" else [bands[:, i].copy() for i in range(3)] if form == "sequence" else A
    linalg("tridiagonal_solve", given, B, form)

S1 = tf.SparseTensorValue([[0, 0], [0, 1], [1, 0]], [1, 2, 3], [2, 3])
S2 = tf.SparseTensorValue([[0, 0], [1, 1]], [2, 3], [2, 2])
D1, D2 = np.array([[1, 2, 2], [3, 4, 5]]), np.array([[2, 9], [4, 3]])
sets = Programs(tf.sets, {})
for name in sorted({"difference", "intersection", "union"}):
    for kind in (name, f"set_{name}"):
        sets(kind, D1, D2)
        sets(kind, D1, S2)
        sets(kind, S1, S2)
    sets(name, np.array([["a", "b"]]), np.array([["b", "c"]]))
sets("difference", D1, D2, aminusb=False)
for name in ("size", "set_size"):
    sets(name, S1)


@pytest.mark.parametrize(("program", "options"), [*linalg.parameters(), *sets.parameters()])
def test_program_agrees(program: Any, options: Any) -> None:
    agree(program, **options)


def test_every_function_has_a_program() -> None:
    assert linalg.missing() == []
    assert sets.missing() == []


@pytest.mark.parametrize("dtype", DOUBLES)
def test_linear_operators_agree(dtype: Any) -> None:
    def program() -> Any:
        a, b, d = fed(A, dtype, (2, 3, 3)), fed(B, dtype, (2, 3, 2)), fed(V, dtype, (2, 3))
        dense, diagonal = tf.linalg.LinearOperatorFullMatrix(a), tf.linalg.LinearOperatorDiag(d)
        lower = tf.linalg.LinearOperatorLowerTriangular(a)
        both = tf.linalg.LinearOperatorComposition([dense, diagonal])
        update = tf.linalg.LinearOperatorLowRankUpdate(tf.linalg.LinearOperatorIdentity(3, dtype=a.dtype), b)
        block = tf.linalg.LinearOperatorBlockDiag([dense, diagonal])
        kron = tf.linalg.LinearOperatorKronecker([dense, diagonal])
        return [
            dense.matmul(b), diagonal.matmul(b), lower.solve(b), both.matmul(b), update.solve(b), block.to_dense(),
            kron.to_dense(), diagonal.determinant(), lower.log_abs_determinant(), dense.trace(), diagonal.inverse().diag,
        ]  # fmt: skip

    agree(program, rtol=1e-3)
