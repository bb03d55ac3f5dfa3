"""Crosses of feature columns against TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.sparse_samples import sparse

KEY = 956888297470


def columns(kinds: str, rows: int = 4) -> dict[str, Any]:
    """`s` and `i`: sparse columns of strings and ints; `S` and `I`: dense ones."""
    made = [sparse((rows, 3), n, object if k == "s" else np.int64, 0.6) for n, k in enumerate(kinds) if k in "si"]
    dense = [
        sparse((rows, 2), n, object if k == "S" else np.int64, 2)[1].reshape(rows, 2)
        for n, k in enumerate(kinds)
        if k in "SI"
    ]
    parts = zip(*made, strict=True) if made else ([], [], [])
    return {**dict(zip(("indices", "values", "shapes"), map(list, parts), strict=True)), "dense_inputs": dense}


@pytest.mark.parametrize("kinds", ["ss", "s", "sss", "si", "ii", "sS", "SS", "iI", "sISi", "II"])
@pytest.mark.parametrize("rows", [4, 1, 0])
def test_crosses(kinds: str, rows: int) -> None:
    given = columns(kinds, rows)
    for buckets in (0, 100):
        check(
            "SparseCross", **given, hashed_output=True, num_buckets=buckets, hash_key=KEY, out_type=tf.int64,
            internal_type=tf.int64, refused=False,
        )  # fmt: skip
        # Strongly hashed dense integers crash TensorFlow.
        for strong in (False, True) if "I" not in kinds else (False,):
            check(
                "SparseCrossHashed", **given, num_buckets=np.int64(buckets), strong_hash=np.bool_(strong),
                salt=np.array([137, 173]), refused=False,
            )  # fmt: skip
    check(
        "SparseCross", **given, hashed_output=False, num_buckets=0, hash_key=KEY, out_type=tf.string,
        internal_type=tf.string,
    )  # fmt: skip
    check("SparseCrossV2", **given, sep=np.array(b"_Y_", object), refused=False)


def test_what_crosses_refuse() -> None:
    given, other = columns("ss"), columns("ss", 3)
    mixed = {key: [given[key][0], other[key][1]] for key in ("indices", "values", "shapes")}
    check("SparseCrossV2", **mixed, dense_inputs=[], sep=np.array(b"x", object), refused=True)
    dense = [np.ones((4, 2), np.int64), np.ones((3, 2), np.int64)]
    for inputs in (dense, [dense[0][0]]):
        check("SparseCrossV2", indices=[], values=[], shapes=[], dense_inputs=inputs, sep=np.array(b"x", object), refused=True)  # fmt: skip


@pytest.mark.parametrize("split", [tf.int32, tf.int64])
@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("order", ["RR", "R", "RSD", "DRS", "SDRR"])
def test_ragged_crosses(split: Any, hashed: bool, order: str) -> None:
    values = [np.array([1, 2, 3, 4]), np.array([b"a", b"b", b"c"], object)][: order.count("R")]
    splits = [np.array([0, 2, 2, 3, 4], split.as_numpy_dtype), np.array([0, 1, 2, 3, 3], split.as_numpy_dtype)]
    given = columns("s" * order.count("S") + "I" * order.count("D"))
    check(
        "RaggedCross", ragged_values=values, ragged_row_splits=splits[: len(values)], sparse_indices=given["indices"],
        sparse_values=given["values"], sparse_shape=given["shapes"], dense_inputs=given["dense_inputs"],
        input_order=order, hashed_output=hashed, num_buckets=50, hash_key=KEY,
        out_values_type=tf.int64 if hashed else tf.string, out_row_splits_type=split, refused=False,
    )  # fmt: skip
