"""Stacks: what the gradients of TF1 loops keep of each iteration.

As with TensorArrays, a handle is the stack itself, made anew in every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import VARIANT, DType, from_numpy
from graphrack.ops._arguments import scalar
from graphrack.ops.registry import op
from graphrack.ops.runtime import Array


class Stack:
    """Values of one dtype, last in, first out.

    Attributes:
        name: of the node that made it, for messages.
        numpy: the NumPy form of `dtype`.
        limit: how many values it may hold; None for any number.
        values: None once it has been closed.
    """

    __slots__ = ("dtype", "limit", "name", "numpy", "values")

    def __init__(self, name: str, dtype: DType, limit: int | None = None):
        self.name = name
        self.dtype = dtype
        self.numpy = dtype.numpy
        self.limit = limit
        self.values: list[Any] | None = []

    def __repr__(self) -> str:
        return f"Stack({self.name!r})"


def _opened(handle: Any) -> tuple[Stack, list[Any]]:
    if not isinstance(handle, Stack):
        raise ValueError(f"the handle must be that of a stack, got {type(handle).__name__}")
    if handle.values is None:
        raise ValueError(f"stack {handle.name!r} has been closed")
    return handle, handle.values


def _name(node_name: str, stack_name: bytes) -> str:
    return stack_name.decode(errors="replace") or node_name


@op("Stack", impure=True)
def Stack_(*, node_name: str, elem_type: DType, stack_name: bytes = b"") -> Stack:
    return Stack(_name(node_name, stack_name), elem_type)


@op("StackV2", impure=True)
def StackV2(max_size: Array, *, node_name: str, elem_type: DType, stack_name: bytes = b"") -> Stack:
    limit = scalar("max_size", max_size)
    return Stack(_name(node_name, stack_name), elem_type, limit if limit >= 0 else None)


@op("StackPush", "StackPushV2", impure=True)
def StackPush(handle: Any, elem: Any) -> Any:
    stack, values = _opened(handle)
    held = isinstance(elem, (np.ndarray, np.generic))  # no handle of a TensorArray, say
    if held and elem.dtype != stack.numpy and stack.dtype != VARIANT:
        raise ValueError(f"stack {stack.name!r} holds {stack.dtype}, the value is {from_numpy(elem.dtype)}")
    if stack.limit is not None and len(values) >= stack.limit:
        raise ValueError(f"stack {stack.name!r} holds {len(values)} values and has a max_size of {stack.limit}")
    values.append(elem)
    return elem


@op("StackPop", "StackPopV2", impure=True)
def StackPop(handle: Any) -> Any:
    stack, values = _opened(handle)
    if not values:
        raise ValueError(f"stack {stack.name!r} is empty when a value is to be popped")
    return values.pop()


@op("StackClose", "StackCloseV2", outputs=0, impure=True)
def StackClose(handle: Any) -> None:
    _opened(handle)[0].values = None
