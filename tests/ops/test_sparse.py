"""Sparse tensors' form against TensorFlow's: order, shape, joining, cutting, empty rows, strings."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import by_graphrack, check, compare
from ops.sparse_samples import SHAPES, sparse

DTYPES = [np.float32, np.float64, np.int32, np.int64, object, np.bool_, np.complex64, np.uint8, np.float16,
          ml_dtypes.bfloat16]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_reordering(shape: tuple[int, ...], dtype: Any) -> None:
    indices, values, dense = sparse(shape, dtype=dtype)
    mixed = np.random.default_rng(1).permutation(len(values))
    check(
        "SparseReorder",
        input_indices=indices[mixed],
        input_values=values[mixed],
        input_shape=dense,
        refused=False,
    )


def test_what_reordering_refuses() -> None:
    indices, values, dense = sparse((4, 5))
    check("SparseReorder", input_indices=indices, input_values=values[1:], input_shape=dense, refused=True)
    check("SparseReorder", input_indices=indices, input_values=values, input_shape=dense[1:], refused=True)
    check("SparseReorder", input_indices=indices[0], input_values=values, input_shape=dense, refused=True)


@pytest.mark.parametrize(
    ("shape", "new"),
    [
        ((4, 6), [24]), ((4, 6), [2, -1]), ((4, 6), [3, 2, 4]), ((4, 6), [-1]), ((4, 6), [5, -1]), ((4, 6), [-1, -1]),
        ((4, 6), [23]), ((2, 3, 4), [6, 4]), ((0, 3), [3, 0]), ((0, 3), [-1, 3]), ((0, 3), [0, -1]), ((4,), []), ((1,), []),
        ((4, 6), [-2, -12]),
    ],
)  # fmt: skip
def test_reshaping(shape: tuple[int, ...], new: list[int]) -> None:
    indices, _, dense = sparse(shape)
    check("SparseReshape", input_indices=indices, input_shape=dense, new_shape=np.array(new, np.int64))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, object])
@pytest.mark.parametrize("axis", [0, 1, -1, -2, 2, -3])
def test_concatenation_and_splits(dtype: Any, axis: int) -> None:
    shape = (4, 5)
    parts = [sparse(shape, seed, dtype) for seed in range(3)]
    check(
        "SparseConcat",
        indices=[p[0] for p in parts],
        values=[p[1] for p in parts],
        shapes=[p[2] for p in parts],
        concat_dim=axis,
    )
    for count in (1, 2, 3, 4, 5, 6):
        check(
            "SparseSplit", split_dim=np.array(axis, np.int64), indices=parts[0][0], values=parts[0][1],
            shape=parts[0][2], num_split=count,
        )  # fmt: skip


def test_concatenation_of_different_shapes() -> None:
    parts = [sparse((4, 5)), sparse((4, 2))]
    for axis in (0, 1):
        check(
            "SparseConcat", indices=[p[0] for p in parts], values=[p[1] for p in parts], shapes=[p[2] for p in parts],
            concat_dim=axis, refused=axis == 0,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.int64, object])
@pytest.mark.parametrize(
    ("start", "size"), [([0, 0], [4, 5]), ([1, 2], [2, 2]), ([3, 4], [5, 5]), ([1, 1], [0, 3]), ([0, 0], [1, 9])]
)
def test_slices(dtype: Any, start: list[int], size: list[int]) -> None:
    indices, values, dense = sparse((4, 5), dtype=dtype)
    found = check(
        "SparseSlice", indices=indices, values=values, shape=dense, start=np.array(start, np.int64),
        size=np.array(size, np.int64), refused=False,
    )  # fmt: skip
    if dtype is not object:
        check(
            "SparseSliceGrad", backprop_val_grad=found[1] * 2, input_indices=indices,
            input_start=np.array(start, np.int64), output_indices=found[0], refused=False,
        )  # fmt: skip
    check(
        "SparseSlice", indices=indices, values=values, shape=dense, start=np.zeros(1, np.int64),
        size=np.array(size, np.int64), refused=True,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 4), (5,), (4, 2, 2), (0, 3), (3, 0)])
def test_filling_empty_rows(shape: tuple[int, ...], dtype: Any) -> None:
    indices, values, dense = sparse(shape, dtype=dtype, part=0.15)
    default = np.array(b"-", object) if dtype is object else np.array(1, dtype)
    for order in (np.arange(len(values)), np.random.default_rng(2).permutation(len(values))):
        check(
            "SparseFillEmptyRows", indices=indices[order], values=values[order], dense_shape=dense,
            default_value=default, refused=False,
        )  # fmt: skip


def test_what_filling_empty_rows_refuses_and_its_gradient() -> None:
    indices, values, dense = sparse((6, 4))
    default = np.float32(0)
    check(
        "SparseFillEmptyRows",
        indices=indices,
        values=values[1:],
        dense_shape=dense,
        default_value=default,
        refused=True,
    )
    check(
        "SparseFillEmptyRows",
        indices=indices,
        values=values,
        dense_shape=dense - 3,
        default_value=default,
        refused=True,
    )
    check(
        "SparseFillEmptyRows",
        indices=indices,
        values=values,
        dense_shape=dense[:0],
        default_value=default,
        refused=True,
    )
    check("SparseFillEmptyRows", indices=indices, values=values, dense_shape=dense, default_value=values, refused=True)
    for dtype in (np.float32, np.float64, np.int32):
        grad = np.arange(6).astype(dtype)
        check("SparseFillEmptyRowsGrad", reverse_index_map=np.array([4, 0, 2]), grad_values=grad, refused=False)
        check("SparseFillEmptyRowsGrad", reverse_index_map=np.array([], np.int64), grad_values=grad, refused=False)
        check("SparseFillEmptyRowsGrad", reverse_index_map=np.array([6]), grad_values=grad, refused=True)
        check("SparseFillEmptyRowsGrad", reverse_index_map=np.array([[1]]), grad_values=grad, refused=True)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, object, np.bool_])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2), (2, 0)])
def test_sparse_tensors_in_strings(shape: tuple[int, ...], dtype: Any) -> None:
    indices, values, dense = sparse(shape, dtype=dtype)
    kind = tf.string if dtype is object else tf.as_dtype(dtype)
    (whole,) = check("SerializeSparse", sparse_indices=indices, sparse_values=values, sparse_shape=dense, refused=False)
    (many,) = check(
        "SerializeManySparse", sparse_indices=indices, sparse_values=values, sparse_shape=dense, refused=False
    )
    check("DeserializeSparse", serialized_sparse=whole, dtype=kind, refused=False)
    check("DeserializeSparse", serialized_sparse=np.stack([whole, whole]), dtype=kind, refused=False)
    check("DeserializeSparse", serialized_sparse=np.stack([whole] * 4).reshape(2, 2, 3), dtype=kind, refused=False)
    check("DeserializeManySparse", serialized_sparse=many, dtype=kind, refused=False)
    check("DeserializeManySparse", serialized_sparse=many, dtype=tf.float64, refused=True)
    check("DeserializeManySparse", serialized_sparse=many[:, :2], dtype=kind, refused=True)
    check("DeserializeManySparse", serialized_sparse=many[:0], dtype=kind, refused=True)
    wrong = many.copy()
    wrong[0, 0] = b"junk"
    check("DeserializeManySparse", serialized_sparse=wrong, dtype=kind, refused=True)


def test_batched_sparse_tensors_have_the_largest_shape() -> None:
    first, second = (check("SerializeSparse", sparse_indices=i, sparse_values=v, sparse_shape=s)[0]
                     for i, v, s in (sparse((2, 5)), sparse((4, 3))))  # fmt: skip
    check("DeserializeSparse", serialized_sparse=np.stack([first, second]), dtype=tf.float32, refused=False)
    check("DeserializeManySparse", serialized_sparse=np.stack([first, second]), dtype=tf.float32, refused=False)


def test_sparse_tensors_as_variants() -> None:
    indices, values, dense = sparse((3, 4))
    with tf.Graph().as_default() as graph:
        whole = tf.raw_ops.SerializeManySparse(
            sparse_indices=indices, sparse_values=values, sparse_shape=dense, out_type=tf.variant
        )
        outputs = tf.raw_ops.DeserializeSparse(serialized_sparse=whole, dtype=tf.float32, name="op")
        with tf.Session() as session:
            expected = session.run(list(outputs))
    for found, value in zip(by_graphrack(graph.as_graph_def().SerializeToString(), {}), expected, strict=True):
        compare(found, value)
