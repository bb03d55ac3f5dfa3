"""Crosses of feature columns: of each row every combination of one value of each column, joined or hashed.

What combines hashes is FingerprintCat64 of TensorFlow's `core/platform/fingerprint.h`, made of the steps of
MurmurHash2's 64-bit form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._sparse import sparse, vector64
from graphrack.ops.hashing import REMEMBERED, fingerprint64, siphash
from graphrack.ops.registry import op
from graphrack.ops.runtime import Array

_LOW_64 = (1 << 64) - 1
_MURMUR = 0xC6A4A7935BD1E995
_INT64_MAX = (1 << 63) - 1

Column = Sequence[Sequence[Any]]
"""The values of one column, row by row."""

# TensorFlow hashes as many bytes of an integer as a type's number has, which is these.
_HASHED_BYTES = 4


@lru_cache(maxsize=REMEMBERED)
def fingerprint_cat64(first: int, second: int) -> int:
    """One hash of two."""
    result = first ^ _MURMUR ^ (_shift_mix(second * _MURMUR & _LOW_64) * _MURMUR & _LOW_64)
    result = _shift_mix(result * _MURMUR & _LOW_64) * _MURMUR & _LOW_64
    return _shift_mix(result)


def _shift_mix(value: int) -> int:
    return value ^ (value >> 47)


def _sparse_column(indices: Array, values: Array, shape: Array, number: int) -> Column:
    tensor = sparse(indices, values, shape, f"sparse input {number}")
    if len(tensor.shape) != 2:
        raise ValueError(f"sparse input {number} must be a matrix, got shape {list(tensor.shape)}")
    ends = tensor.indices[:, 0].searchsorted(np.arange(tensor.shape[0] + 1)).tolist()
    listed = tensor.values.tolist()
    return [listed[a:b] for a, b in pairwise(ends)]


def _dense_column(tensor: Array, number: int) -> Column:
    if tensor.ndim != 2:
        raise ValueError(f"dense input {number} must be a matrix, got shape {list(tensor.shape)}")
    return tensor.tolist()  # type: ignore[no-any-return]


def _columns(inputs: Sequence[Array], N: int) -> list[Column]:
    """Sparse columns, which come as all indices, all values and all shapes, then dense ones."""
    parts = zip(inputs[:N], inputs[N : 2 * N], inputs[2 * N : 3 * N], strict=True)
    return [
        *(_sparse_column(*part, number=i) for i, part in enumerate(parts)),
        *(_dense_column(tensor, i) for i, tensor in enumerate(inputs[3 * N :])),
    ]


def _rows(columns: Sequence[Column]) -> list[list[tuple[Any, ...]]]:
    """Each row's combinations. Raises `ValueError` where columns have different numbers of rows."""
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"columns must have as many rows, found {[len(column) for column in columns]}")
    return [list(product(*parts)) for parts in zip(*columns, strict=True)]


def _as_sparse(rows: list[list[Any]], dtype: Any) -> tuple[Array, Array, Array]:
    lengths = [len(row) for row in rows]
    indices = vector64([n for i, length in enumerate(lengths) for j in range(length) for n in (i, j)]).reshape(-1, 2)
    return (
        indices,
        _array([value for row in rows for value in row], dtype),
        vector64([len(rows), max(lengths, default=0)]),
    )


def _array(values: list[Any], dtype: Any) -> Array:
    out = np.empty(len(values), dtype)
    out[:] = values
    return out


def _joined(columns: Sequence[Column], separator: bytes) -> list[list[bytes]]:
    texts = [[[v if isinstance(v, bytes) else b"%d" % v for v in row] for row in column] for column in columns]
    return [[separator.join(parts) for parts in row] for row in _rows(texts)]


def _hashed(
    columns: Sequence[Column], hashes: Sequence[Callable[[Any], int]], first: int | None, num_buckets: int
) -> list[list[int]]:
    """Hashes of all combinations: from `first` on, or from the first column's hash; in [0, num_buckets)."""
    if num_buckets < 0:
        raise ValueError(f"num_buckets must be at least 0, got {num_buckets}")
    # Zero buckets: TensorFlow keeps the number positive.
    modulus = num_buckets or _INT64_MAX
    numbers = [[list(map(hash_of, row)) for row in column] for column, hash_of in zip(columns, hashes, strict=True)]

    def combined(parts: Sequence[int]) -> int:
        result = parts[0] if first is None else fingerprint_cat64(first, parts[0])
        for part in parts[1:]:
            result = fingerprint_cat64(result, part)
        return result % modulus

    return [[combined(parts) for parts in row] for row in _rows(numbers)]


def _plain(value: Any) -> int:
    return fingerprint64(value) if isinstance(value, bytes) else value & _LOW_64


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else (value & _LOW_64).to_bytes(8, "little")[:_HASHED_BYTES]


@op("SparseCross", outputs=3)
def SparseCross(
    *inputs: Array,
    N: int,
    hashed_output: bool,
    num_buckets: int,
    hash_key: int,
    out_type: DType,
    internal_type: DType,
) -> tuple[Array, Array, Array]:
    columns = _columns(inputs, N)
    if internal_type.is_string:
        for name, tensors in (("values", inputs[N : 2 * N]), ("dense_inputs", inputs[3 * N :])):
            for i, tensor in enumerate(tensors):
                if not tensor.dtype.hasobject:
                    raise ValueError(f"{name}[{i}] must be string, the op's internal type, got {tensor.dtype}")
    if hashed_output:
        return _as_sparse(_hashed(columns, [_plain] * len(columns), hash_key & _LOW_64, num_buckets), out_type.numpy)
    return _as_sparse(_joined(columns, b"_X_"), out_type.numpy)


@op("SparseCrossV2", outputs=3)
def SparseCrossV2(*inputs: Any, N: int) -> tuple[Array, Array, Array]:
    return _as_sparse(_joined(_columns(inputs[:-1], N), np.asarray(inputs[-1]).item()), object)


@op("SparseCrossHashed", outputs=3)
def SparseCrossHashed(*inputs: Any, N: int) -> tuple[Array, Array, Array]:
    *tensors, num_buckets, strong_hash, salt = inputs
    columns = _columns(tensors, N)
    strong = bool(strong_hash)
    key = [int(k) & _LOW_64 for k in np.ravel(salt)]
    if len(key) != 2:
        raise ValueError(f"salt must hold two numbers, got shape {list(np.shape(salt))}")

    def of_sparse(value: Any) -> int:
        return siphash((key[0], key[1]), _bytes(value)) if strong else fingerprint64(_bytes(value))

    hashes = [of_sparse] * N + [of_sparse if strong else _plain] * (len(columns) - N)
    return _as_sparse(_hashed(columns, hashes, None, int(num_buckets)), np.int64)


@op("RaggedCross", outputs=2)
def RaggedCross(
    *inputs: Array,
    Nsparse: int,
    input_order: bytes,
    hashed_output: bool,
    num_buckets: int,
    hash_key: int,
    ragged_values_types: list[DType],
    out_values_type: DType,
    out_row_splits_type: DType,
) -> tuple[Array, Array]:
    count = len(ragged_values_types)
    ragged = []
    for values, splits in zip(inputs[:count], inputs[count : 2 * count], strict=True):
        if splits.ndim != 1 or not len(splits) or (np.diff(splits) < 0).any() or splits[0] or splits[-1] != len(values):
            raise ValueError(f"row splits {splits[:16].tolist()} don't split {len(values)} values")
        ends, listed = splits.tolist(), values.tolist()
        ragged.append([listed[a:b] for a, b in pairwise(ends)])
    others = _columns(inputs[2 * count :], Nsparse)
    given = {"R": iter(ragged), "S": iter(others[:Nsparse]), "D": iter(others[Nsparse:])}
    try:
        columns = [next(given[kind]) for kind in input_order.decode()]
    except (KeyError, StopIteration):
        raise ValueError(f"input_order {input_order!r} doesn't fit the inputs") from None
    rows: list[list[Any]]
    if hashed_output:
        rows = list(_hashed(columns, [_plain] * len(columns), hash_key & _LOW_64, num_buckets))
    else:
        rows = list(_joined(columns, b"_X_"))
    splits = np.cumsum([0, *map(len, rows)]).astype(out_row_splits_type.numpy)
    return _array([value for row in rows for value in row], out_values_type.numpy), splits
