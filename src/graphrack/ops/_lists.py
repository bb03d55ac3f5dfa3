"""TensorLists: what TF2's control flow keeps of each iteration, and its TensorArrays.

A list is a value: pushing to it gives another list and leaves it as it was. The versions of a list share one
Python list all the same, so that a push, a pop or a set in every iteration of a loop costs the same whatever the
length (Baker's rerooting: Henry Baker, "Shallow binding makes functional arrays fast", 1991). The version that was
made last owns the items; an earlier one knows which later one it became and what to undo to get back. A version
made by a push knows the one that it was made of, until somebody asks for its items: to pop it is to go back there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphrack.formats.dtypes import VARIANT, DType
from graphrack.ops._arguments import vector, zeros
from graphrack.ops._elements import Shape, merged, shape_of
from graphrack.ops.runtime import Array
from graphrack.ops.state import compatible, show

# Farther back than this a version gets items of its own: two versions that are used in turn must not move the
# items to and fro.
_NEAR = 8
# Lists shorter than this aren't worth copying.
_SHORT = 64

_REMOVE = -1


class Variant:
    """What a variant holds. It stands for itself wherever a scalar tensor may: it looks like one to kernels."""

    __slots__ = ()

    shape: tuple[int, ...] = ()
    ndim = 0
    size = 1
    dtype: Any = np.dtype(object)

    def zeros_like(self) -> Variant:
        """Its ZerosLike."""
        raise ValueError(f"a variant that holds {type(self).__name__} has no zeros")

    def plus(self, other: Any) -> Variant:
        """The sum of two of a kind."""
        raise ValueError(f"variants that hold {type(self).__name__} can't be added")


class TensorList(Variant):
    """A list of tensors of one dtype; an element may have no value yet.

    Attributes:
        element_dtype: of the elements.
        element_shape: what all elements' shapes agree with.
        limit: how many elements pushes may make of it; None for any number.
        length: the number of elements.
    """

    __slots__ = ("_changes", "_index", "_items", "_other", "_value",
                 "element_dtype", "element_shape", "length", "limit")  # fmt: skip

    def __init__(self, dtype: DType, element_shape: Shape, items: list[Any], limit: int | None = None):
        self.element_dtype = dtype
        self.element_shape = element_shape
        self.limit = limit
        self.length = len(items)
        self._items: list[Any] | None = items
        # Where `_items` is None: the version towards the owner, and the change that leads here from there.
        self._other: TensorList | None = None
        self._index = _REMOVE
        self._value: Any = None
        self._changes = 0  # since the items were last copied

    def __repr__(self) -> str:
        return f"TensorList(length={self.length}, dtype={self.element_dtype}, element_shape={show(self.element_shape)})"

    def items(self) -> list[Any]:
        """The elements, None for those without values. Not to be written into; good until the next change."""
        if self._items is not None:
            return self._items
        versions: list[TensorList] = []
        version = self
        while version._items is None:
            versions.append(version)
            assert version._other is not None
            version = version._other
        items = version._items
        if len(versions) > _NEAR and self.length - len(items) != len(versions):  # not only pushes lie between
            items = items.copy()
            for earlier in reversed(versions):
                _change(items, earlier._index, earlier._value)
            self._items, self._other, self._changes, self._value = items, None, 0, None
            return items
        changes = version._changes
        for earlier in reversed(versions):
            version._index, version._value = _change(items, earlier._index, earlier._value)
            version._items, version._other = None, earlier
            earlier._items, earlier._other, earlier._changes, earlier._value = items, None, changes, None
            version = earlier
        return items

    def _changed(self, index: int, value: Any) -> TensorList:
        items = self._items
        if items is None:
            items = self.items()
        if self._changes > max(len(items), _SHORT):
            # An early version that is still in use would keep alive every change made since.
            items = items.copy()
            _change(items, index, value)
            return self.like(items)
        self._index, self._value = _change(items, index, value)
        new = TensorList.__new__(TensorList)  # `like`, in half the time
        new.element_dtype = self.element_dtype
        new.element_shape = self.element_shape
        new.limit = self.limit
        new.length = len(items)
        new._items = items
        new._other = new._value = None
        new._changes = self._changes + 1
        self._items, self._other = None, new
        return new

    def like(self, items: list[Any]) -> TensorList:
        """A list of the same kind with other items, which become its own."""
        return TensorList(self.element_dtype, self.element_shape, items, self.limit)

    def push(self, value: Any) -> TensorList:
        """The list with one more element at its end."""
        new = TensorList.__new__(TensorList)
        new.element_dtype = self.element_dtype
        new.element_shape = self.element_shape
        new.limit = self.limit
        length = self.length
        new.length = length + 1
        new._items = None
        new._other = self
        new._index = length
        new._value = value
        return new

    def pop(self) -> tuple[TensorList, Any]:
        """The list without its last element, and that element; it must have one."""
        if self._items is None:
            other = self._other
            assert other is not None
            if self._index == other.length:
                return other, self._value
        value = self.items()[-1]
        return self._changed(_REMOVE, None), value

    def set(self, index: int, value: Any) -> TensorList:
        """The list with another element at an index that it has."""
        return self._changed(index, value)

    def resized(self, size: int) -> TensorList:
        """The list with so many elements, new ones without values; the time it takes is that of the difference."""
        if abs(size - self.length) > self.length // 2:
            return self.like(self.items()[:size] + [None] * (size - self.length))
        resized = self
        while resized.length < size:
            resized = resized.push(None)
        while resized.length > size:
            resized, _ = resized.pop()
        return resized

    def extended(self, values: Sequence[Any]) -> TensorList:
        """The list with more elements at its end."""
        if len(values) > self.length // 2:
            return self.like([*self.items(), *values])
        extended = self
        for value in values:
            extended = extended.push(value)
        return extended

    def expect(self, dtype: DType) -> None:
        """Raises `ValueError` where an op takes the elements for another dtype."""
        # Both are nearly always the same object: a loop's every push and pop comes by here.
        if self.element_dtype is not dtype and self.element_dtype != dtype:
            raise ValueError(f"the list has elements of dtype {self.element_dtype}, the op expects {dtype}")

    def expect_shape(self, shape: tuple[int, ...]) -> None:
        """Raises `ValueError` where a new element's shape doesn't fit."""
        if shape != self.element_shape and not compatible(shape, self.element_shape):
            raise ValueError(f"the list's elements have shape {show(self.element_shape)}, the new one {show(shape)}")

    def is_like(self, dtype: DType, element_shape: Array) -> bool:
        """Whether it is of the kind that an op makes of a dtype and a shape."""
        if self.element_dtype is not dtype or self.limit is not None:
            return False
        own = self.element_shape
        return element_shape is shape_array(own, element_shape.dtype) or partial_shape(element_shape) == own

    def agreed_shape(self, asked: Array) -> Shape:
        """What an op's `element_shape` and the list's own say together."""
        return merged(partial_shape(asked), self.element_shape)

    def zeros_like(self) -> TensorList:
        """A list with zeros in place of the elements' values."""
        return TensorList(
            self.element_dtype, self.element_shape, [_zeros_like(v, self.element_dtype) for v in self.items()]
        )

    def plus(self, other: Any) -> TensorList:
        """The elementwise sum; an element without a value counts as zero."""
        if not isinstance(other, TensorList):
            raise ValueError(f"a list can be added to a list only, got {type(other).__name__}")
        other.expect(self.element_dtype)
        if self.length != other.length:
            raise ValueError(f"lists of different lengths can't be added: {self.length} and {other.length}")
        mine, theirs = self.element_shape, other.element_shape
        shape = mine if mine == theirs else merged(mine, theirs)
        dtype = self.element_dtype
        added = [(i, value) for i, value in enumerate(other.items()) if value is not None]
        if len(added) == 1 and shape == mine and self.limit is None:
            # The gradient of an element that was taken is a list of nothing else: in a loop, one for each iteration.
            ((index, value),) = added
            return self.set(index, _sum(self.items()[index], value, dtype))
        items = list(self.items())
        for index, value in added:
            items[index] = _sum(items[index], value, dtype)
        return TensorList(dtype, shape, items)


@lru_cache(4096)
def shape_array(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """An element shape as these ops give it, read-only."""
    array = np.array(-1 if shape is None else [-1 if size is None else size for size in shape], dtype)
    array.flags.writeable = False
    return array


def _change(items: list[Any], index: int, value: Any) -> tuple[int, Any]:
    """Changes one item, or appends it, or removes the last; gives the change that undoes this one."""
    if index == len(items):
        items.append(value)
        return _REMOVE, None
    if index == _REMOVE:
        last = items.pop()
        return len(items), last
    undo = (index, items[index])
    items[index] = value
    return undo


def alone(variant: Any) -> Any:
    """A variant itself, be it in an array of rank 0 or not."""
    if isinstance(variant, np.ndarray):
        if variant.ndim:
            raise ValueError(f"the variant must be a scalar, got shape {show(variant.shape)}")
        return variant.item()
    return variant


def _zeros_like(value: Any, dtype: DType) -> Any:
    if value is None:
        return None
    return variant_zeros_like(value) if dtype == VARIANT else zeros(value.shape, value.dtype)


def variant_zeros_like(x: Any) -> Any:
    """ZerosLike of a variant; as in TensorFlow, of one alone."""
    return _held(alone(x)).zeros_like()


def _held(variant: Any) -> Variant:
    if not isinstance(variant, Variant):  # what was never written is None
        raise ValueError("the variant holds nothing")
    return variant


def _sum(a: Any, b: Any, dtype: DType) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if dtype == VARIANT:
        return variant_sum(a, b)
    if a.shape != b.shape:
        raise ValueError(f"elements of different shapes can't be added: {show(a.shape)} and {show(b.shape)}")
    return np.add(a, b)


def variant_sum(*inputs: Any) -> Any:
    """AddN of variants; as in TensorFlow, of scalars."""
    total, *others = (_held(alone(value)) for value in inputs)
    for value in others:
        total = total.plus(value)
    return total


def each(function: Callable[..., Any], *variants: Any) -> Any:
    """A function of variants, for each of an array of them where they are in one."""
    if not shape_of(variants[0]):
        return function(*(alone(v) for v in variants))
    out = np.empty(variants[0].shape, object)
    for i in np.ndindex(out.shape):
        out[i] = function(*(v[i] for v in variants))
    return out


def partial_shape(given: Array) -> Shape:
    """An element shape as these ops take it: a vector with -1 for unknown sizes, the scalar -1 for unknown rank."""
    if not given.ndim:
        if int(given) != -1:
            raise ValueError(f"element_shape must be a vector, or -1 for an unknown rank, got {int(given)}")
        return None
    found = vector("element_shape", given)
    if not found or min(found) >= 0:
        return tuple(found)
    if min(found) < -1:
        raise ValueError(f"element_shape must hold sizes, -1 for unknown ones, got {found}")
    return tuple([None if size == -1 else size for size in found])
