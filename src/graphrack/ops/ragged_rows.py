"""Ragged tensors by rows: empty ones filled, and the gradient of what variants hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import filled, scalar, sizes, within
from graphrack.ops.ragged import RaggedVariant
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array


@op("RaggedFillEmptyRows", outputs=4)
def RaggedFillEmptyRows(
    value_rowids: Array, values: Array, nrows: Array, default_value: Any
) -> tuple[Array, Array, Array, Array]:
    rows = scalar("nrows", nrows)
    if value_rowids.ndim != 1 or values.ndim != 1 or len(value_rowids) != len(values):
        raise ValueError(
            f"value_rowids and values must be vectors of one length, got {value_rowids.shape} and {values.shape}"
        )
    if np.ndim(default_value):
        raise ValueError(f"default_value must be a scalar, got shape {list(np.shape(default_value))}")
    if not rows and len(values):
        raise ValueError(f"nrows must not be 0 where there are {len(values)} values")
    within("value_rowids", value_rowids, rows)
    counts = np.bincount(value_rowids, minlength=rows)
    empty = counts == 0
    lengths = np.maximum(counts, 1)
    starts = np.cumsum(lengths) - lengths
    # A row's values stay in their order, wherever among the others they were.
    order = np.argsort(value_rowids, kind="stable")
    first = np.cumsum(counts) - counts
    places = np.empty(len(values), np.int64)
    places[order] = np.repeat(starts - first, counts) + np.arange(len(values))
    found = filled([int(lengths.sum())], default_value, values.dtype)
    found[places] = values
    return np.repeat(np.arange(rows), lengths), found, empty, places


@op("RaggedFillEmptyRowsGrad", outputs=2)
def RaggedFillEmptyRowsGrad(reverse_index_map: Array, grad_values: Array) -> tuple[Array, Array]:
    if reverse_index_map.ndim != 1 or grad_values.ndim != 1:
        raise ValueError(
            f"reverse_index_map and grad_values must be vectors, got {reverse_index_map.shape} and {grad_values.shape}"
        )
    within("reverse_index_map", reverse_index_map, len(grad_values))
    rest = np.ones(len(grad_values), bool)
    rest[reverse_index_map] = False
    return grad_values[reverse_index_map], np.add.reduce(grad_values[rest], dtype=grad_values.dtype)


@specialized("RaggedTensorToVariantGradient")
def RaggedTensorToVariantGradient(*, Tvalues: DType) -> Any:
    def kernel(encoded_ragged_grad: Array, row_splits: Array, dense_values_shape: Array) -> Array:
        shape = sizes("dense_values_shape", dense_values_shape)
        parts = []
        for i, part in enumerate(np.asarray(encoded_ragged_grad, object).reshape(-1).tolist()):
            if isinstance(part, RaggedVariant):
                parts.append(part.values.reshape(-1))
            elif i + 1 < row_splits.size:  # nothing came back for this row
                rows = int(row_splits[i + 1] - row_splits[i])
                parts.append(np.zeros(rows * int(np.prod(shape[1:])), Tvalues.numpy))
            else:
                raise ValueError("encoded_ragged_grad must hold ragged tensors")
        found = np.concatenate(parts) if parts else np.zeros(0, Tvalues.numpy)
        if found.dtype != Tvalues.numpy or found.size != int(np.prod(shape)):
            raise ValueError(
                f"the variants hold {found.size} values of {found.dtype}; {Tvalues} of shape {shape} is expected"
            )
        return found.reshape(shape)

    return kernel
