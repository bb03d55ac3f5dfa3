"""Ragged tensors against TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import by_graphrack, check, compare


def splits_of(lengths: list[int], dtype: Any = np.int64) -> Any:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("split", [tf.int32, tf.int64])
def test_ranges(dtype: Any, split: Any) -> None:
    def ranges(starts: Any, limits: Any, deltas: Any, **how: Any) -> None:
        given = {"starts": starts, "limits": limits, "deltas": deltas}
        check("RaggedRange", **{k: np.array(v, dtype) for k, v in given.items()}, Tsplits=split, **how)

    ranges([0, 5, 8], [3, 0, 8], [1, -2, 1], refused=False)
    ranges(0, [3, 0, 8], 2, refused=False)
    ranges(0, 5, 1, refused=False)
    ranges([], [], [], refused=False)
    ranges([0, 1], [3], 1, refused=True)
    ranges([0, 1], [3, 4], 0, refused=True)
    ranges([[0]], [[3]], 1, refused=True)
    ranges([5, 0], [0, 5], [1, -1], refused=False)
    if np.dtype(dtype).kind == "f":
        ranges([0.1, 0], [1, 10], [0.3, 0.1], refused=False)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([np.int32, np.int64]), st.sampled_from([np.int32, np.int64]))
def test_gathering(data: Any, dtype: Any, index: Any) -> None:
    inner = data.draw(st.lists(st.integers(0, 3), max_size=5))
    outer = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
    inner = (inner + [1] * sum(outer))[: sum(outer)]
    shape = data.draw(st.sampled_from([(3,), (0,), (), (2, 2), (0, 2), (2, 0), (1, 2, 3)]))
    flat = st.lists(st.integers(0, len(outer) - 1), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    indices = np.array(data.draw(flat), index).reshape(shape)
    values = np.arange(sum(inner) * 2).reshape(-1, 2)
    nested = [splits_of(outer, dtype), splits_of(inner, dtype)]
    rank = max(len(shape), 1)
    how = {"PARAMS_RAGGED_RANK": 2, "OUTPUT_RAGGED_RANK": 2 + len(shape) - 1} if shape else {}
    if shape:
        check("RaggedGather", params_nested_splits=nested, params_dense_values=values, indices=indices,
              OUTPUT_RAGGED_RANK=how["OUTPUT_RAGGED_RANK"], refused=False)  # fmt: skip
        check("RaggedGather", params_nested_splits=[splits_of(inner, dtype)], params_dense_values=values[:, 0].astype("S").astype(object),
              indices=indices[:0] if not inner else indices % max(len(inner), 1), OUTPUT_RAGGED_RANK=rank)  # fmt: skip
    check("RaggedTensorToSparse", rt_nested_splits=nested, rt_dense_values=values, refused=False)
    check("RaggedTensorToSparse", rt_nested_splits=nested[1:], rt_dense_values=values[:, 0], refused=False)


def test_what_gathering_and_sparse_forms_refuse() -> None:
    values = np.arange(5)
    for splits in ([0, 2, 5], [1, 2, 5], [0, 3, 2, 5], [0, 6], [0, 3], []):
        check("RaggedTensorToSparse", rt_nested_splits=[np.array(splits, np.int64)], rt_dense_values=values)
        check(
            "RaggedGather", params_nested_splits=[np.array(splits, np.int64)], params_dense_values=values,
            indices=np.array([0]), OUTPUT_RAGGED_RANK=1,
        )  # fmt: skip
    for index in (2, -1):
        check(
            "RaggedGather", params_nested_splits=[np.array([0, 2, 5])], params_dense_values=values,
            indices=np.array([index]), OUTPUT_RAGGED_RANK=1, refused=True,
        )  # fmt: skip


DENSE: list[dict[str, Any]] = [
    {"kinds": ["ROW_SPLITS"], "parts": [[0, 2, 2, 5]], "count": 5},
    {"kinds": ["FIRST_DIM_SIZE", "VALUE_ROWIDS"], "parts": [4, [0, 0, 2, 2, 2]], "count": 5},
    {"kinds": ["ROW_SPLITS", "ROW_SPLITS"], "parts": [[0, 2, 2, 3], [0, 2, 2, 5]], "count": 5},
    {"kinds": ["FIRST_DIM_SIZE", "VALUE_ROWIDS", "VALUE_ROWIDS"], "parts": [3, [0, 0, 2], [0, 1, 1, 2, 2]], "count": 5},
    {"kinds": ["FIRST_DIM_SIZE", "VALUE_ROWIDS"], "parts": [0, []], "count": 0},
    {"kinds": ["ROW_SPLITS"], "parts": [[0]], "count": 0},
    {"kinds": ["ROW_SPLITS"], "parts": [[0, 2, 2, 4]], "count": 5},
    {"kinds": ["FIRST_DIM_SIZE", "VALUE_ROWIDS"], "parts": [2, [0, 0, 2, 2, 2]], "count": 5},
]


@pytest.mark.parametrize("case", DENSE)
@pytest.mark.parametrize("dtype", [np.float32, np.int64, object, np.bool_])
@pytest.mark.parametrize("inner", [(), (2,), (2, 3)])
def test_dense_forms(case: dict[str, Any], dtype: Any, inner: tuple[int, ...]) -> None:
    count = case["count"]
    values = np.arange(count * int(np.prod(inner))).reshape(count, *inner)
    values = values.astype(str).astype("S").astype(object) if dtype is object else values.astype(dtype)
    default = np.array(b"-", object) if dtype is object else np.array(9, dtype)
    rank = len([k for k in case["kinds"] if k != "FIRST_DIM_SIZE"])
    shapes: list[Any] = [-1, [-1] * (rank + 1 + len(inner)), [2, 2, *[-1] * (rank - 1 + len(inner))], [3, 7] + [1] * (rank - 1) + list(inner), [5]]  # fmt: skip
    for shape in shapes:
        for index in (np.int32, np.int64):
            check(
                "RaggedTensorToTensor", shape=np.array(shape, np.int64), values=values, default_value=default,
                row_partition_tensors=[np.array(p, index) for p in case["parts"]], row_partition_types=case["kinds"],
            )  # fmt: skip
    if inner:
        full = np.broadcast_to(default, inner).copy()
        check(
            "RaggedTensorToTensor", shape=np.array(-1), values=values, default_value=full,
            row_partition_tensors=[np.array(p) for p in case["parts"]], row_partition_types=case["kinds"],
        )  # fmt: skip


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("rank", [1, 2])
def test_ragged_tensors_as_variants(batched: bool, rank: int) -> None:
    inner = splits_of([2, 0, 3])
    nested = [splits_of([2, 0, 1]), inner] if rank == 2 else [inner]
    with tf.Graph().as_default() as graph:
        encoded = tf.raw_ops.RaggedTensorToVariant(
            rt_nested_splits=[tf.constant(s) for s in nested], rt_dense_values=tf.constant(np.arange(10).reshape(5, 2)),
            batched_input=batched,
        )  # fmt: skip
        outputs = tf.raw_ops.RaggedTensorFromVariant(
            encoded_ragged=encoded, input_ragged_rank=rank - 1 if batched else rank, output_ragged_rank=rank,
            Tvalues=tf.int64, Tsplits=tf.int64, name="op",
        )  # fmt: skip
        with tf.Session() as session:
            expected = [*session.run(list(outputs.output_nested_splits)), session.run(outputs.output_dense_values)]
    for found, value in zip(by_graphrack(graph.as_graph_def().SerializeToString(), {}), expected, strict=True):
        compare(found, value)
