"""Making, changing and reading TensorLists, the lists of TF2's control flow. What they are is in `_lists`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import VARIANT, DType, from_numpy
from graphrack.ops._arguments import scalar, vector, zeros
from graphrack.ops._elements import Shape, is_known, merged, rows, shape_of, stacked
from graphrack.ops._lists import TensorList, alone, each, partial_shape, shape_array
from graphrack.ops.registry import Kernel, Prepared, op, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.state import compatible, show


def _list(handle: Any) -> TensorList:
    if type(handle) is TensorList:
        return handle
    handle = alone(handle)
    if not isinstance(handle, TensorList):
        raise ValueError(f"the handle must be that of a list, got {type(handle).__name__}")
    return handle


def _blank(shape: Sequence[int], dtype: DType) -> Array:
    return np.empty(shape, object) if dtype == VARIANT else zeros(shape, dtype.numpy)


# ---- Making ----
#
# Making a list is impure: a list computed ahead would be changed by all runs.


@specialized("EmptyTensorList", impure=True)
def EmptyTensorList(*, element_dtype: DType) -> Kernel:
    def empty(max_num_elements: Array, shape: Shape) -> TensorList:
        limit = scalar("max_num_elements", max_num_elements)
        return TensorList(element_dtype, shape, [], None if limit == -1 else limit)

    return Prepared(empty, slice(None, 1), partial_shape)


@specialized("TensorListReserve", impure=True)
def TensorListReserve(*, element_dtype: DType) -> Kernel:
    def reserve(num_elements: Array, shape: Shape) -> TensorList:
        count = scalar("num_elements", num_elements)
        if count < 0:
            raise ValueError(f"num_elements must be at least 0, got {count}")
        return TensorList(element_dtype, shape, [None] * count)

    return Prepared(reserve, slice(None, 1), partial_shape)


@specialized("TensorListFromTensor", impure=True)
def TensorListFromTensor(*, element_dtype: DType) -> Kernel:
    def from_tensor(tensor: Array, shape: Shape) -> TensorList:
        return TensorList(element_dtype, _shape_of_rows(tensor, shape), rows(tensor))

    return Prepared(from_tensor, slice(1, None), partial_shape)


def _shape_of_rows(tensor: Array, shape: Shape) -> Shape:
    if not shape_of(tensor):
        raise ValueError("tensor must be a vector at least, got a scalar")
    if not compatible(tensor.shape[1:], shape):
        raise ValueError(f"element_shape is {show(shape)}, the tensor's rows have {show(tensor.shape[1:])}")
    return shape


@op("TensorListSplit", impure=True)
def TensorListSplit(tensor: Array, element_shape: Array, lengths: Array, *, element_dtype: DType) -> TensorList:
    shape = partial_shape(element_shape)
    if shape == ():
        raise ValueError("element_shape must have rank 1 at least, got []")
    if not shape_of(tensor):
        raise ValueError("tensor must be a vector at least, got a scalar")
    if shape is not None and not compatible(tensor.shape[1:], shape[1:]):
        raise ValueError(f"element_shape is {show(shape)}, the tensor has {show(tensor.shape)}")
    counts = vector("lengths", lengths)
    if min(counts, default=0) < 0 or sum(counts) != len(tensor):
        raise ValueError(f"lengths must be at least 0 and their sum {len(tensor)} (rows of tensor), got {counts}")
    pieces, start = [], 0
    for count in counts:
        pieces.append(tensor[start : start + count])
        start += count
    return TensorList(element_dtype, shape, pieces)


@op("TensorListScatter", impure=True)
def TensorListScatter(tensor: Array, indices: Array, element_shape: Array, *, element_dtype: DType) -> TensorList:
    return _scattered(tensor, indices, element_shape, element_dtype, -1)


@op("TensorListScatterV2", impure=True)
def TensorListScatterV2(
    tensor: Array, indices: Array, element_shape: Array, num_elements: Array, *, element_dtype: DType
) -> TensorList:
    count = scalar("num_elements", num_elements)
    if count < -1:
        raise ValueError(f"num_elements must be at least -1, got {count}")
    return _scattered(tensor, indices, element_shape, element_dtype, count)


def _scattered(tensor: Array, indices: Array, element_shape: Array, dtype: DType, count: int) -> TensorList:
    shape = _shape_of_rows(tensor, partial_shape(element_shape))
    places = _places(indices.reshape(-1), tensor)
    longest = max(places, default=-1) + 1
    if longest > count >= 0:
        raise ValueError(f"indices must be less than num_elements, {count}, got {longest - 1}")
    items: list[Any] = [None] * max(longest, count)
    for i, value in zip(places, rows(tensor), strict=True):
        items[i] = value
    return TensorList(dtype, shape, items)


def _places(indices: Array, tensor: Array) -> list[int]:
    found = vector("indices", indices)
    if len(found) != len(tensor):
        raise ValueError(f"there must be as many indices as rows of tensor, got {len(found)} and {len(tensor)}")
    if min(found, default=0) < 0:
        raise ValueError(f"indices must be at least 0, got {min(found)}")
    return found


# ---- One element ----


@specialized("TensorListPushBack")
def TensorListPushBack(*, element_dtype: DType) -> Kernel:
    def push_back(input_handle: Any, tensor: Any) -> TensorList:
        found = input_handle if type(input_handle) is TensorList else _list(input_handle)
        if found.element_dtype is not element_dtype:
            found.expect(element_dtype)
        shape = tensor.shape if type(tensor) is np.ndarray else shape_of(tensor)
        if shape != found.element_shape:
            found.expect_shape(shape)
        if found.limit is not None and found.length >= found.limit:
            raise ValueError(f"the list is full: it has {found.length} elements, and max_num_elements is {found.limit}")
        return found.push(tensor)

    return push_back


@op("TensorListPushBackBatch")
def TensorListPushBackBatch(input_handles: Array, tensor: Array, *, element_dtype: DType) -> Array:
    if len(shape_of(input_handles)) != 1:
        raise ValueError(f"input_handles must be a vector, got shape {show(shape_of(input_handles))}")
    if not tensor.ndim or len(tensor) != len(input_handles):
        raise ValueError(
            f"tensor must have {len(input_handles)} rows, one for each list, got shape {show(tensor.shape)}"
        )
    out, push_back = np.empty(len(input_handles), object), TensorListPushBack(element_dtype=element_dtype)
    for i, value in enumerate(rows(tensor)):
        out[i] = push_back(input_handles[i], value)
    return out


@specialized("TensorListPopBack", outputs=2)
def TensorListPopBack(*, element_dtype: DType) -> Kernel:
    def pop_back(input_handle: Any, element_shape: Array) -> tuple[TensorList, Any]:
        found = input_handle if type(input_handle) is TensorList else _list(input_handle)
        if found.element_dtype is not element_dtype:
            found.expect(element_dtype)
        if not found.length:
            raise ValueError("the list is empty when an element is to be popped")
        rest, value = found.pop()
        return rest, _unset(found, found.agreed_shape(element_shape)) if value is None else value

    return pop_back


@specialized("TensorListGetItem")
def TensorListGetItem(*, element_dtype: DType) -> Kernel:
    def get_item(input_handle: Any, index: Array, element_shape: Array) -> Any:
        found = input_handle if type(input_handle) is TensorList else _list(input_handle)
        if found.element_dtype is not element_dtype:
            found.expect(element_dtype)
        items = found.items()
        value = items[_index(found, index)]
        if value is not None:
            return value
        shape = found.agreed_shape(element_shape)
        if not is_known(shape):  # the other elements tell, if they agree
            for other in items:
                if other is not None:
                    shape = merged(shape, shape_of(other))
        return _unset(found, shape)

    return get_item


@specialized("TensorListSetItem")
def TensorListSetItem(*, element_dtype: DType, resize_if_index_out_of_bounds: bool = False) -> Kernel:
    def set_item(input_handle: Any, index: Array, item: Any) -> TensorList:
        found = input_handle if type(input_handle) is TensorList else _list(input_handle)
        if found.element_dtype is not element_dtype:
            found.expect(element_dtype)
        shape = item.shape if type(item) is np.ndarray else shape_of(item)
        if shape != found.element_shape:
            found.expect_shape(shape)
        if resize_if_index_out_of_bounds:
            place = scalar("index", index)
            if place >= found.length:
                return found.resized(place).push(item)
        return found.set(_index(found, index), item)

    return set_item


def _index(found: TensorList, index: Array) -> int:
    place = scalar("index", index)
    if not 0 <= place < found.length:
        raise ValueError(f"index {place} is not in a list of {found.length} elements")
    return place


def _unset(found: TensorList, shape: Shape) -> Array:
    """What an element without a value reads as."""
    if shape is None or None in shape:
        raise ValueError(
            f"an element without a value reads as zeros, but the element shape {show(shape)} is not fully defined"
        )
    return _blank(shape, found.element_dtype)  # type: ignore[arg-type]


# ---- The whole list ----


@op("TensorListLength")
def TensorListLength(input_handle: Any) -> Any:
    return np.int32(_list(input_handle).length)


@op("TensorListElementShape")
def TensorListElementShape(input_handle: Any, *, shape_type: DType) -> Array:
    return shape_array(_list(input_handle).element_shape, shape_type.numpy)


@op("TensorListResize")
def TensorListResize(input_handle: Any, size: Array) -> TensorList:
    count = scalar("size", size)
    if count < 0:
        raise ValueError(f"size must be at least 0, got {count}")
    return _list(input_handle).resized(count)


def _stacked(found: TensorList, values: Sequence[Any], asked: Shape) -> Array:
    shape = asked if asked == found.element_shape else merged(asked, found.element_shape)
    if not values and not is_known(shape):
        raise ValueError(f"no elements to stack, and the element shape {show(shape)} is not fully defined")
    if not is_known(found.element_shape):
        for value in values:
            if value is not None:
                shape = merged(shape, shape_of(value))
    if shape is None or None in shape:
        raise ValueError(f"no element has a value, and the element shape {show(shape)} is not fully defined")
    known: tuple[int, ...] = shape  # type: ignore[assignment]
    for value in values:
        if value is None:
            blank = _blank(known, found.element_dtype)
            values = [blank if value is None else value for value in values]
            break
    return stacked(values, found.element_dtype.numpy, known)


@specialized("TensorListStack")
def TensorListStack(*, element_dtype: DType, num_elements: int = -1) -> Kernel:
    def stack(input_handle: Any, shape: Shape) -> Array:
        found = _list(input_handle)
        found.expect(element_dtype)
        if num_elements not in (-1, found.length):
            raise ValueError(f"the op expects a list of {num_elements} elements, got one of {found.length}")
        return _stacked(found, found.items(), shape)

    return Prepared(stack, slice(1, None), partial_shape)


@op("TensorListGather")
def TensorListGather(input_handle: Any, indices: Array, element_shape: Array, *, element_dtype: DType) -> Array:
    found = _list(input_handle)
    found.expect(element_dtype)
    items, places = found.items(), vector("indices", indices.reshape(-1))
    for place in places:
        if not 0 <= place < found.length:
            raise ValueError(f"index {place} is not in a list of {found.length} elements")
    return _stacked(found, [items[place] for place in places], partial_shape(element_shape))


@op("TensorListScatterIntoExistingList")
def TensorListScatterIntoExistingList(
    input_handle: Any, tensor: Array, indices: Array, *, element_dtype: DType
) -> TensorList:
    found = _list(input_handle)
    found.expect(from_numpy(tensor.dtype) if element_dtype != VARIANT else VARIANT)
    if not shape_of(tensor):
        raise ValueError("tensor must be a vector at least, got a scalar")
    places = _places(indices, tensor)
    found = found.resized(max(found.length, max(places, default=-1) + 1))
    for i, value in zip(places, rows(tensor), strict=True):
        found = found.set(i, value)
    return found


@op("TensorListConcatLists")
def TensorListConcatLists(input_a: Any, input_b: Any, *, element_dtype: DType) -> Any:
    if shape_of(input_a) != shape_of(input_b):
        raise ValueError(
            f"input_a and input_b must have one shape, got {show(shape_of(input_a))} and {show(shape_of(input_b))}"
        )

    def concatenated(a: Any, b: Any) -> TensorList:
        first, second = _list(a), _list(b)
        first.expect(element_dtype)
        second.expect(element_dtype)
        if first.element_shape != second.element_shape:
            raise ValueError(
                "the lists' element shapes must be the same, got "
                f"{show(first.element_shape)} and {show(second.element_shape)}"
            )
        return first.extended(list(second.items()))

    return each(concatenated, input_a, input_b)


@op("TensorListConcat", outputs=2)
def TensorListConcat(input_handle: Any, *, element_dtype: DType, element_shape: Shape = None) -> tuple[Array, Array]:
    found = _list(input_handle)
    found.expect(element_dtype)
    return _concatenated(found, None if element_shape is None else element_shape[1:], None, None)


@op("TensorListConcatV2", outputs=2)
def TensorListConcatV2(
    input_handle: Any, element_shape: Array, leading_dims: Array, *, element_dtype: DType
) -> tuple[Array, Array]:
    found = _list(input_handle)
    found.expect(element_dtype)
    shape = found.agreed_shape(element_shape)
    if shape == ():
        raise ValueError("elements must be vectors at least, element_shape is []")
    inner, first = (None, None) if shape is None else (shape[1:], shape[0])
    return _concatenated(found, inner, first, vector("leading_dims", leading_dims))


def _concatenated(found: TensorList, inner: Shape, first: int | None, leading: list[int] | None) -> tuple[Array, Array]:
    """The elements one after another, and how long each is.

    Attributes:
        inner: the shape of elements but for the first axis, as far as known.
        first: the size of their first axis, where it is the same for all.
        leading: sizes of first axes, for elements without values.
    """
    items = found.items()
    if not items and not is_known(inner):
        raise ValueError(f"no elements to concatenate, and their shape but for the first axis is {show(inner)}")
    if not is_known(found.element_shape):
        seen = set()
        for i, value in enumerate(items):
            if value is None:
                continue
            shape = shape_of(value)
            if not shape:
                raise ValueError(f"the element at index {i} is a scalar, they must be vectors at least")
            inner = merged(inner, shape[1:])
            if first is not None and first != shape[0]:
                raise ValueError(
                    f"the first axis must have size {first}, that of the element at index {i} has {shape[0]}"
                )
            seen.add(shape[0])
        if first is None and len(seen) == 1:
            (first,) = seen
    if inner is None or None in inner:
        raise ValueError(f"no element has a value, and their shape but for the first axis is {show(inner)}")
    lengths = [_length(i, value, first, leading) for i, value in enumerate(items)]
    values = [
        _blank((n, *inner), found.element_dtype) if value is None else value  # type: ignore[arg-type]
        for n, value in zip(lengths, items, strict=True)
    ]
    total = np.concatenate(values) if values else _blank((0, *inner), found.element_dtype)  # type: ignore[arg-type]
    return total, np.array(lengths, np.int64)


def _length(i: int, value: Any, first: int | None, leading: list[int] | None) -> int:
    if value is not None:
        return len(value)
    if first is not None and (leading is None or i >= len(leading)):
        return first
    if leading is None or i >= len(leading):
        raise ValueError(f"the element at index {i} has no value, and nothing says how long it is")
    if leading[i] < 0:
        raise ValueError(f"leading_dims[{i}] must be at least 0, got {leading[i]}")
    return leading[i]
