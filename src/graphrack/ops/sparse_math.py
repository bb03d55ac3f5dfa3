"""Arithmetic on sparse tensors: sums, products with dense ones, reductions, softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.ops._arguments import axis_of
from graphrack.ops._sparse import Sparse, flat, groups, sparse, unflat, vector64
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.segment import unsorted

_FEW = 4096
"""Products that are added one after the other: to make a matrix of SciPy's takes as long as 10,000 of them."""
_REMEMBERED = 1024
"""Indices that are compared sooner than looked at one by one."""

# ---- With dense tensors ----


@specialized("SparseTensorDenseMatMul")
def SparseTensorDenseMatMul(*, adjoint_a: bool = False, adjoint_b: bool = False) -> Kernel:
    # A loop mostly multiplies by one matrix again and again: the last one's places, and what they were made of.
    last: tuple[Any, Any] = None, None

    def placed(a_indices: Array, a_values: Array, a_shape: Array) -> tuple[Array, Array, tuple[int, ...]]:
        """Rows, columns and shape of the first matrix."""
        nonlocal last
        asked = None
        if a_indices.size <= _REMEMBERED:
            asked = a_indices.tobytes(), a_shape.tobytes(), a_indices.shape, a_values.shape, a_shape.shape
            known, found = last
            if known == asked:
                return found  # type: ignore[no-any-return]
        a = sparse(np.asarray(a_indices, np.int64), a_values, a_shape, "a")
        if len(a.shape) != 2:
            raise ValueError(f"a must be a matrix, got shape {list(a.shape)}")
        rows, columns = np.array(a.indices.T[::-1] if adjoint_a else a.indices.T)
        found = rows, columns, a.shape[::-1] if adjoint_a else a.shape
        if asked is not None:
            last = asked, found
        return found

    def product(a_indices: Array, a_values: Array, a_shape: Array, b: Array) -> Array:
        rows, columns, shape = placed(a_indices, a_values, a_shape)
        if b.ndim != 2:
            raise ValueError(f"b must be a matrix, got shape {list(b.shape)}")
        if adjoint_b:
            b = b.conj().T
        if shape[1] != b.shape[0]:
            raise ValueError(f"the inner sizes of a {list(shape)} and b {list(b.shape)} must be equal")
        values = a_values.conj() if adjoint_a else a_values
        if b.dtype.itemsize < 4 or b.dtype.kind == "V":  # SciPy has no matrices of half precision
            values, b = values.astype(np.float32), b.astype(np.float32)
        if values.size * b.shape[1] > _FEW:
            from scipy.sparse import coo_matrix

            found: Any = coo_matrix((values, (rows, columns)), shape) @ np.ascontiguousarray(b)
        elif b.shape[1] == 1 and values.dtype.kind == "f":
            found = np.bincount(rows, values * b.reshape(-1).take(columns), shape[0])[:, None]
        else:
            found = unsorted(np.add, values[:, None] * b.take(columns, 0), rows, shape[0], 0)
        return np.asarray(found).astype(a_values.dtype, copy=False)

    return product


@op("SparseTensorDenseAdd")
def SparseTensorDenseAdd(a_indices: Array, a_values: Array, a_shape: Array, b: Array) -> Array:
    a = sparse(np.asarray(a_indices, np.int64), a_values, a_shape, "a")
    if a.shape != b.shape:
        raise ValueError(f"a has shape {list(a.shape)}, b {list(b.shape)}; they must be equal")
    out = b.copy()
    np.add.at(out, tuple(a.indices.T), a.values)
    return out


def _cwise(tensor: Sparse, dense: Array, function: Callable[[Array, Array], Array]) -> Array:
    """The function of the values and of what a dense tensor, broadcast to the sparse one's shape, has there."""
    lead = len(tensor.shape) - dense.ndim
    if lead < 0 or any(d not in (1, s) for d, s in zip(dense.shape, tensor.shape[lead:], strict=True)):
        raise ValueError(
            f"the dense tensor of shape {list(dense.shape)} can't be broadcast to the sparse one's {list(tensor.shape)}"
        )
    at = tuple(np.where(d == 1, 0, tensor.indices[:, lead + i]) for i, d in enumerate(dense.shape))
    found = dense[at] if at else np.broadcast_to(dense, tensor.values.shape)
    return np.asarray(function(tensor.values, found))


@op("SparseDenseCwiseAdd")
def SparseDenseCwiseAdd(sp_indices: Array, sp_values: Array, sp_shape: Array, dense: Array) -> Array:
    return _cwise(sparse(sp_indices, sp_values, sp_shape), np.asarray(dense), np.add)


@op("SparseDenseCwiseMul")
def SparseDenseCwiseMul(sp_indices: Array, sp_values: Array, sp_shape: Array, dense: Array) -> Array:
    return _cwise(sparse(sp_indices, sp_values, sp_shape), np.asarray(dense), np.multiply)


@op("SparseDenseCwiseDiv")
def SparseDenseCwiseDiv(sp_indices: Array, sp_values: Array, sp_shape: Array, dense: Array) -> Array:
    return _cwise(sparse(sp_indices, sp_values, sp_shape), np.asarray(dense), _divide)


def _divide(values: Array, by: Array) -> Array:
    if not by.all():  # TensorFlow refuses it here for floats too
        raise ValueError("division by zero: the dense tensor is zero where the sparse one has values")
    if values.dtype.kind not in "iu":
        return np.asarray(values / by)
    quotient = values // by  # toward minus infinity; C's goes toward zero
    return np.asarray(quotient + ((values % by != 0) & ((values < 0) != (by < 0))), values.dtype)


# ---- With sparse tensors ----


def _same_shapes(a: Sparse, b: Sparse) -> None:
    if a.shape != b.shape:
        raise ValueError(f"a has shape {list(a.shape)}, b {list(b.shape)}; they must be equal")
    if a.values.dtype != b.values.dtype:
        raise ValueError(f"a holds {a.values.dtype}, b {b.values.dtype}; they must be equal")


def _merged(a: Sparse, b: Sparse) -> tuple[Array, Array, Array, Array]:
    """Numbers of all the indices in order, both tensors' values at them (else zero), and which both have."""
    first, second = flat(a.indices, a.shape), flat(b.indices, b.shape)
    union = np.union1d(first, second)
    values = np.zeros((2, len(union)), a.values.dtype)
    values[0, np.searchsorted(union, first)] = a.values
    values[1, np.searchsorted(union, second)] = b.values
    return union, values[0], values[1], np.isin(union, first) & np.isin(union, second)


@op("SparseAdd", outputs=3)
def SparseAdd(
    a_indices: Array, a_values: Array, a_shape: Array, b_indices: Array, b_values: Array, b_shape: Array, thresh: Any
) -> tuple[Array, Array, Array]:
    a, b = sparse(a_indices, a_values, a_shape, "a"), sparse(b_indices, b_values, b_shape, "b")
    _same_shapes(a, b)
    if np.ndim(thresh):
        raise ValueError(f"thresh must be a scalar, got shape {list(np.shape(thresh))}")
    union, first, second, both = _merged(a, b)
    total = first + second
    kept = ~both | (np.abs(total) >= thresh)  # what only one of them has stays, however small
    return unflat(union[kept], a.shape), total[kept], vector64(a.shape)


@op("SparseAddGrad", outputs=2)
def SparseAddGrad(
    backprop_val_grad: Array, a_indices: Array, b_indices: Array, sum_indices: Array
) -> tuple[Array, Array]:
    for name, indices in (("a_indices", a_indices), ("b_indices", b_indices), ("sum_indices", sum_indices)):
        if indices.ndim != 2:
            raise ValueError(f"{name} must be a matrix, got shape {list(indices.shape)}")
    if not a_indices.shape[1] == b_indices.shape[1] == sum_indices.shape[1]:
        raise ValueError("a_indices, b_indices and sum_indices must be of one rank")
    if backprop_val_grad.shape != (len(sum_indices),):
        raise ValueError(f"{len(sum_indices)} gradients are needed, got shape {list(backprop_val_grad.shape)}")
    positions = {tuple(row): i for i, row in enumerate(sum_indices.tolist())}
    # One place more for entries that the sum left out: their gradient is zero.
    grads = np.append(backprop_val_grad, np.zeros(1, backprop_val_grad.dtype))

    def taken(indices: Array) -> Array:
        at = [positions.get(tuple(row), len(sum_indices)) for row in indices.tolist()]
        return np.asarray(grads[np.array(at, np.int64)])

    return taken(a_indices), taken(b_indices)


@op("SparseSparseMaximum", outputs=2)
def SparseSparseMaximum(
    a_indices: Array, a_values: Array, a_shape: Array, b_indices: Array, b_values: Array, b_shape: Array
) -> tuple[Array, Array]:
    return _extreme(sparse(a_indices, a_values, a_shape, "a"), sparse(b_indices, b_values, b_shape, "b"), np.maximum)


@op("SparseSparseMinimum", outputs=2)
def SparseSparseMinimum(
    a_indices: Array, a_values: Array, a_shape: Array, b_indices: Array, b_values: Array, b_shape: Array
) -> tuple[Array, Array]:
    return _extreme(sparse(a_indices, a_values, a_shape, "a"), sparse(b_indices, b_values, b_shape, "b"), np.minimum)


def _extreme(a: Sparse, b: Sparse, function: Any) -> tuple[Array, Array]:
    _same_shapes(a, b)
    union, first, second, _ = _merged(a, b)
    return unflat(union, a.shape), function(first, second)


# ---- Reductions ----


def _reduced(
    tensor: Sparse, reduction_axes: Any, function: Any, keep_dims: bool
) -> tuple[Array, Array, tuple[int, ...]]:
    """Numbers of the results that any value goes into, these results, and the results' shape."""
    rank = len(tensor.shape)
    axes = sorted({axis_of(int(a), rank, "reduction_axes") for a in np.ravel(reduction_axes)})
    if np.size(reduction_axes) != len(axes):
        raise ValueError(f"reduction_axes names an axis twice: {np.ravel(reduction_axes).tolist()}")
    kept = [d for d in range(rank) if d not in axes]
    inner = [tensor.shape[d] for d in kept]
    shape = tuple(1 if d in axes else s for d, s in enumerate(tensor.shape)) if keep_dims else tuple(inner)
    numbers = flat(tensor.indices[:, kept], inner) if kept else np.zeros(len(tensor.values), np.int64)
    permutation, starts, found = groups(numbers)
    values = function.reduceat(tensor.values[permutation], starts) if len(starts) else tensor.values[:0]
    return found, values.astype(tensor.values.dtype, copy=False), shape


def _dense_reduction(tensor: Sparse, reduction_axes: Any, function: Any, keep_dims: bool) -> Array:
    found, values, shape = _reduced(tensor, reduction_axes, function, keep_dims)
    out = np.zeros(shape, tensor.values.dtype)
    out.reshape(-1)[found] = values
    return out


def _sparse_reduction(
    tensor: Sparse, reduction_axes: Any, function: Any, keep_dims: bool
) -> tuple[Array, Array, Array]:
    found, values, shape = _reduced(tensor, reduction_axes, function, keep_dims)
    return unflat(found, shape), values, vector64(shape)


@op("SparseReduceSum")
def SparseReduceSum(
    input_indices: Array, input_values: Array, input_shape: Array, reduction_axes: Any, *, keep_dims: bool = False
) -> Array:
    return _dense_reduction(sparse(input_indices, input_values, input_shape), reduction_axes, np.add, keep_dims)


@op("SparseReduceMax")
def SparseReduceMax(
    input_indices: Array, input_values: Array, input_shape: Array, reduction_axes: Any, *, keep_dims: bool = False
) -> Array:
    return _dense_reduction(sparse(input_indices, input_values, input_shape), reduction_axes, np.maximum, keep_dims)


@op("SparseReduceSumSparse", outputs=3)
def SparseReduceSumSparse(
    input_indices: Array, input_values: Array, input_shape: Array, reduction_axes: Any, *, keep_dims: bool = False
) -> tuple[Array, Array, Array]:
    return _sparse_reduction(sparse(input_indices, input_values, input_shape), reduction_axes, np.add, keep_dims)


@op("SparseReduceMaxSparse", outputs=3)
def SparseReduceMaxSparse(
    input_indices: Array, input_values: Array, input_shape: Array, reduction_axes: Any, *, keep_dims: bool = False
) -> tuple[Array, Array, Array]:
    return _sparse_reduction(sparse(input_indices, input_values, input_shape), reduction_axes, np.maximum, keep_dims)


@op("SparseSoftmax")
def SparseSoftmax(sp_indices: Array, sp_values: Array, sp_shape: Array) -> Array:
    tensor = sparse(sp_indices, sp_values, sp_shape)
    if len(tensor.shape) < 2:
        raise ValueError(f"a sparse tensor of rank 2 at least is needed, got shape {list(tensor.shape)}")
    permutation, starts, _ = groups(flat(tensor.indices[:, :-1], tensor.shape[:-1]))
    if not len(starts):
        return tensor.values
    wide = tensor.values.astype(np.float32) if tensor.values.dtype.itemsize < 4 else tensor.values
    lengths = np.diff(starts, append=len(permutation))
    ordered = wide[permutation]
    powers = np.exp(ordered - np.repeat(np.maximum.reduceat(ordered, starts), lengths))
    out = np.empty_like(wide)
    out[permutation] = powers / np.repeat(np.add.reduceat(powers, starts), lengths)
    return out.astype(tensor.values.dtype, copy=False)
