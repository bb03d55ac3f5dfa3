"""Arithmetic on sparse tensors against TensorFlow's."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ops.harness import check
from ops.sparse_samples import sparse

NUMBERS = [np.float32, np.float64, np.int32, np.int64, np.complex64, np.float16, ml_dtypes.bfloat16, np.uint8]


def named(prefix: str, parts: tuple[Any, Any, Any]) -> dict[str, Any]:
    return {f"{prefix}_{name}": part for name, part in zip(("indices", "values", "shape"), parts, strict=True)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.complex64, np.complex128, ml_dtypes.bfloat16])
@pytest.mark.parametrize("adjoint_a", [False, True])
@pytest.mark.parametrize("adjoint_b", [False, True])
@pytest.mark.parametrize("sizes", [(4, 5, 3), (1, 1, 1), (0, 3, 2), (3, 0, 2), (3, 4, 0), (40, 30, 50)])
def test_matrix_products(dtype: Any, adjoint_a: bool, adjoint_b: bool, sizes: tuple[int, int, int]) -> None:
    rows, inner, columns = sizes
    _, b, _ = sparse((inner, columns), 3, dtype, part=2)
    b = b.reshape(inner, columns)
    for index in (np.int64, np.int32):
        indices, values, shape = sparse((inner, rows) if adjoint_a else (rows, inner), 1, dtype)
        check(
            "SparseTensorDenseMatMul", a_indices=indices.astype(index), a_values=values, a_shape=shape,
            b=b.T if adjoint_b else b, adjoint_a=adjoint_a, adjoint_b=adjoint_b, refused=False,
            rtol=2e-2 if dtype is ml_dtypes.bfloat16 else None, atol=0.3 if dtype is ml_dtypes.bfloat16 else None,
        )  # fmt: skip


def test_what_matrix_products_refuse() -> None:
    indices, values, shape = sparse((4, 5))
    b = np.ones((5, 2), np.float32)
    check("SparseTensorDenseMatMul", a_indices=indices, a_values=values, a_shape=shape, b=b[1:], refused=True)
    check("SparseTensorDenseMatMul", a_indices=indices, a_values=values, a_shape=shape, b=b[0], refused=True)
    check("SparseTensorDenseMatMul", a_indices=indices + 3, a_values=values, a_shape=shape, b=b, refused=True)
    check("SparseTensorDenseMatMul", a_indices=indices, a_values=values[1:], a_shape=shape, b=b, refused=True)
    # Doubled entries count twice.
    check(
        "SparseTensorDenseMatMul", a_indices=np.array([[0, 1], [0, 1]]), a_values=np.float32([1, 2]), a_shape=shape,
        b=b, refused=False,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", NUMBERS)
def test_sums_with_dense_tensors(dtype: Any) -> None:
    for shape in ((4, 5), (2, 3, 2), (3,), (0, 2)):
        parts = sparse(shape, dtype=dtype)
        dense = sparse(shape, 2, dtype, part=2)[1].reshape(shape)
        check("SparseTensorDenseAdd", **named("a", parts), b=dense)
        if dtype is np.complex64:
            continue  # TensorFlow has no such kernels
        for op in ("SparseDenseCwiseAdd", "SparseDenseCwiseMul", "SparseDenseCwiseDiv"):
            check(op, **named("sp", parts), dense=dense + np.array(5, dtype))
    parts = sparse((4, 5), dtype=dtype)
    for op in () if dtype is np.complex64 else ("SparseDenseCwiseAdd", "SparseDenseCwiseMul", "SparseDenseCwiseDiv"):
        for other in ((), (1,), (5,), (4, 1), (1, 5), (4,), (2, 4, 5)):
            check(op, **named("sp", parts), dense=np.full(other, 3).astype(dtype))


def test_dense_quotients_and_bad_input() -> None:
    indices, values, shape = sparse((4, 5), dtype=np.int32)
    check("SparseDenseCwiseDiv", **named("sp", (indices, values, shape)), dense=np.int32(-3), refused=False)
    check("SparseDenseCwiseDiv", **named("sp", (indices, values, shape)), dense=np.int32(0), refused=True)
    check(
        "SparseDenseCwiseDiv",
        **named("sp", (indices, values.astype(np.float32), shape)),
        dense=np.float32(0),
        refused=True,
    )
    ones = np.ones((4, 5), np.float32)
    ones[tuple(np.argwhere(~(indices[:, None] == np.argwhere(ones)).all(2).any(0).reshape(4, 5))[0])] = 0
    check("SparseDenseCwiseDiv", **named("sp", (indices, values.astype(np.float32), shape)), dense=ones, refused=False)
    check("SparseDenseCwiseAdd", **named("sp", (indices + 2, values, shape)), dense=np.int32(0), refused=True)
    check("SparseTensorDenseAdd", **named("a", (indices, values, shape)), b=np.ones((4, 4), np.int32), refused=True)
    check("SparseTensorDenseAdd", **named("a", (indices + 2, values, shape)), b=np.ones((4, 5), np.int32), refused=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.complex64])
@pytest.mark.parametrize("shape", [(4, 5), (3, 2, 4), (6,), (0, 3)])
def test_sums_of_sparse_tensors(dtype: Any, shape: tuple[int, ...]) -> None:
    a, b = sparse(shape, 1, dtype), sparse(shape, 2, dtype)
    real = np.float32 if dtype is np.complex64 else dtype
    for thresh in (0, 1, 3):
        found = check("SparseAdd", **named("a", a), **named("b", b), thresh=np.array(thresh, real), refused=False)
        check(
            "SparseAddGrad", backprop_val_grad=found[1] + np.array(1, dtype), a_indices=a[0], b_indices=b[0],
            sum_indices=found[0], refused=False,
        )  # fmt: skip
    if dtype is not np.complex64:
        check("SparseSparseMaximum", **named("a", a), **named("b", b), refused=False)
        check("SparseSparseMinimum", **named("a", a), **named("b", b), refused=False)


def test_what_sums_of_sparse_tensors_refuse() -> None:
    a, b = sparse((4, 5)), sparse((5, 4))
    check("SparseAdd", **named("a", a), **named("b", b), thresh=np.float32(0), refused=True)
    check("SparseSparseMaximum", **named("a", a), **named("b", b), refused=True)
    check("SparseAdd", **named("a", a), **named("b", (a[0], a[1][1:], a[2])), thresh=np.float32(0), refused=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8, np.float16])
@pytest.mark.parametrize("axes", [[0], [1], [-1], [0, 1], [1, 2], [0, 1, 2], [], 1, [-3, 2], [3], [-4]])
@pytest.mark.parametrize("keep_dims", [False, True])
def test_reductions(dtype: Any, axes: Any, keep_dims: bool) -> None:
    for shape in ((3, 4, 2), (2, 3, 0)):
        parts = named("input", sparse(shape, 4, dtype, 0.3))
        arguments = {**parts, "reduction_axes": np.array(axes, np.int32), "keep_dims": keep_dims}
        for op in ("SparseReduceSum", "SparseReduceMax", "SparseReduceSumSparse", "SparseReduceMaxSparse"):
            check(op, **arguments)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4), (0, 3), (6,)])
def test_softmax(dtype: Any, shape: tuple[int, ...]) -> None:
    check("SparseSoftmax", **named("sp", sparse(shape, dtype=dtype)))
