"""Several values made one: Pack, ConcatV2 and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.ops._arguments import axis_of, scalar
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array


@specialized("Pack")
def Pack(*, axis: int = 0) -> Any:
    def pack(*values: Array) -> Array:
        shape = values[0].shape
        for i, value in enumerate(values):
            if value.shape != shape:
                raise ValueError(f"values must have one shape, got {shape} and (values[{i}]) {value.shape}")
        at = axis_of(axis, len(shape) + 1)
        out = np.empty((*shape[:at], len(values), *shape[at:]), values[0].dtype)
        rows = out if at == 0 else np.moveaxis(out, at, 0)
        for i, value in enumerate(values):
            rows[i, ...] = value
        return out

    return pack


@op("ConcatV2")
def ConcatV2(*values_and_axis: Array) -> Array:
    return _concat(values_and_axis[:-1], scalar("axis", values_and_axis[-1]))


@op("Concat")
def Concat(concat_dim: Array, *values: Array) -> Array:
    return _concat(values, scalar("concat_dim", concat_dim))


def _concat(values: tuple[Array, ...], axis: int) -> Array:
    axis_of(axis, values[0].ndim)
    return np.concatenate(values, axis)
