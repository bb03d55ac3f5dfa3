"""What TensorArrays and TensorLists have in common: elements taken from tensors and put together again.

A shape that is not known wholly is a tuple with `None` for unknown sizes, `None` for unknown rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.ops.runtime import Array
from graphrack.ops.state import show

Shape = tuple[int | None, ...] | None


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an element; a variant that stands alone (a list, say) is a scalar."""
    found: tuple[int, ...] = getattr(value, "shape", ())
    return found


def is_known(shape: Shape) -> bool:
    """Whether rank and all sizes are known."""
    return shape is not None and None not in shape


def merged(first: Shape, second: Shape) -> Shape:
    """What two shapes say together. Raises `ValueError` where they contradict each other."""
    if first is None or second is None:
        return second if first is None else first
    if len(first) != len(second) or any(
        a is not None and b is not None and a != b for a, b in zip(first, second, strict=True)
    ):
        raise ValueError(f"shapes {show(first)} and {show(second)} are not compatible")
    return tuple(b if a is None else a for a, b in zip(first, second, strict=True))


def rows(value: Array) -> list[Array]:
    """The elements along the first axis, as views; of a vector too they are arrays."""
    return list(value) if value.ndim > 1 else [value[i, ...] for i in range(len(value))]


def stacked(values: Sequence[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Elements of one shape, along a new first axis."""
    if values and shape:
        return np.concatenate(values).reshape(len(values), *shape)
    out = np.empty((len(values), *shape), dtype)
    for i, value in enumerate(values):
        out[i] = value if dtype.hasobject is False else _scalar_object(value)
    return out


def _scalar_object(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray) else value
