"""Optionals: variants that hold several tensors, or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import VARIANT, DType
from graphrack.ops._arguments import zeros
from graphrack.ops._elements import Shape, shape_of
from graphrack.ops._lists import Variant, alone, variant_sum, variant_zeros_like
from graphrack.ops.registry import MANY, op
from graphrack.ops.state import compatible, show


class Optional(Variant):
    """Several tensors, or nothing.

    Attributes:
        components: None for nothing.
        dtypes: of the components.
    """

    __slots__ = ("components", "dtypes")

    def __init__(self, components: tuple[Any, ...] | None, dtypes: tuple[DType, ...] = ()):
        self.components = components
        self.dtypes = dtypes

    def __repr__(self) -> str:
        return "Optional(nothing)" if self.components is None else f"Optional({', '.join(map(str, self.dtypes))})"

    def zeros_like(self) -> Optional:
        """One with zeros in place of the components; nothing stays nothing."""
        if self.components is None:
            return self
        pairs = zip(self.components, self.dtypes, strict=True)
        made = (variant_zeros_like(c) if t == VARIANT else zeros(c.shape, c.dtype) for c, t in pairs)
        return Optional(tuple(made), self.dtypes)

    def plus(self, other: Any) -> Optional:
        """The sum of all components; nothing and nothing make nothing."""
        if not isinstance(other, Optional) or self.dtypes != other.dtypes:
            raise ValueError(f"{self!r} and {other!r} can't be added: they must hold tensors of the same dtypes")
        if self.components is None or other.components is None:
            if self.components is not other.components:
                raise ValueError("an optional that holds tensors can't be added to one that holds nothing")
            return self
        sums = []
        for a, b, dtype in zip(self.components, other.components, self.dtypes, strict=True):
            if shape_of(a) != shape_of(b):
                raise ValueError(f"components must have one shape, got {show(shape_of(a))} and {show(shape_of(b))}")
            sums.append(variant_sum(a, b) if dtype == VARIANT else np.add(a, b))
        return Optional(tuple(sums), self.dtypes)


def _optional(handle: Any) -> Optional:
    handle = alone(handle)
    if not isinstance(handle, Optional):
        raise ValueError(f"the handle must be that of an optional, got {type(handle).__name__}")
    return handle


@op("OptionalFromValue")
def OptionalFromValue(*components: Any, Toutput_types: list[DType]) -> Optional:
    return Optional(components, tuple(Toutput_types))


@op("OptionalNone")
def OptionalNone() -> Optional:
    return Optional(None)


@op("OptionalHasValue")
def OptionalHasValue(optional: Any) -> Any:
    return np.bool_(_optional(optional).components is not None)


@op("OptionalGetValue", outputs=MANY)
def OptionalGetValue(optional: Any, *, output_types: list[DType], output_shapes: list[Shape]) -> tuple[Any, ...]:
    found = _optional(optional)
    if found.components is None:
        raise ValueError("the optional holds nothing")
    if list(found.dtypes) != list(output_types):
        raise ValueError(f"the optional holds {list(found.dtypes)}, the op expects {list(output_types)}")
    for i, (component, shape) in enumerate(zip(found.components, output_shapes, strict=True)):
        if not compatible(shape_of(component), shape):
            raise ValueError(f"component {i} has shape {show(shape_of(component))}, the op expects {show(shape)}")
    return found.components
