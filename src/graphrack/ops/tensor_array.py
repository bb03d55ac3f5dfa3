"""TensorArrays: elements that loops write and read, each at most once unless told otherwise.

A handle is the array itself: a Python object, made anew in every run, that lives as long as something refers to
it. The three versions of the ops differ in how TensorFlow types their handles, and in nothing that shows here.
What an op waits for comes with its `flow_in`, whose value means nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphrack.formats.dtypes import VARIANT, DType, from_numpy
from graphrack.ops._arguments import scalar, sizes, vector, zeros
from graphrack.ops._elements import Shape, is_known, merged, rows, shape_of, stacked
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.state import compatible, show

_LEAST_BYTES = 64  # that an element takes, however small its value


class _Element:
    """One element: its value, or the shape of zeros that nobody has made yet.

    Attributes:
        value: None for zeros of `shape`, and where it has been cleared.
        read: no write may follow.
        cleared: its value was let go of when it was read.
        own: `value` was made here, by adding: it may be added to in place.
    """

    __slots__ = ("cleared", "own", "read", "shape", "value")

    def __init__(self, value: Any, shape: tuple[int, ...]):
        self.value = value
        self.shape = shape
        self.read = self.cleared = self.own = False


class TensorArray:
    """An array of tensors of one dtype; of a gradient, one whose writes add up.

    Attributes:
        name: of the node that made it, for messages.
        size: the number of elements; elements never written take no room.
        element_shape: what all elements' shapes agree with.
        identical_shapes: the first write decides the shape of all elements.
        dynamic: writes beyond the end make it longer.
        clear: an element can be read once, and is let go of then.
        marked_size: how many elements the last unpack or split had; None before.
        gradients: by `source`, the arrays that collect gradients of this one.
    """

    def __init__(
        self,
        name: str,
        dtype: DType,
        size: int,
        *,
        element_shape: Shape,
        identical_shapes: bool,
        dynamic: bool,
        clear: bool,
        is_gradient: bool = False,
    ):
        self.name = name
        self.dtype = dtype
        self.size = size
        self.element_shape = element_shape
        self.identical_shapes = identical_shapes
        self.dynamic = dynamic
        self.clear = clear
        self.is_gradient = is_gradient
        self.marked_size: int | None = None
        self.gradients: dict[bytes, TensorArray] = {}
        self._numpy = dtype.numpy
        self._elements: dict[int, _Element] = {}
        self._closed = False
        self._added = False

    def __repr__(self) -> str:
        return f"TensorArray({self.name!r})"

    def write(self, index: int, value: Any) -> None:
        """Sets an element; of a gradient's array, adds to it."""
        if self._closed:
            raise self._error("it has been closed")
        if index < 0 or (index >= self.size and not self.dynamic):
            raise self._error(f"tried to write to index {index}, but it is not resizable and its size is {self.size}")
        shape = value.shape if value.__class__ is np.ndarray else ()
        if shape != self.element_shape or value.dtype is not self._numpy:
            shape = self._checked(index, value)
        if index >= self.size:
            self.size = index + 1
        element = self._elements.get(index)
        if element is None:
            self._elements[index] = _Element(value, shape)
            return
        if element.read:
            raise self._error(f"could not write to index {index}, because it has already been read")
        if not self.is_gradient:
            raise self._error(f"could not write to index {index}, because it has already been written to")
        if shape != element.shape:
            raise self._error(f"could not add to index {index}: its shape is {element.shape}, the value has {shape}")
        self._add(element, value)

    def _add(self, element: _Element, value: Any) -> None:
        if element.value is None:
            element.value = value
            return
        if self._numpy.kind in "bO" or self._numpy.names:
            raise self._error(f"values of dtype {self.dtype} can't be added")
        if element.own and element.shape:
            np.add(element.value, value, out=element.value)
        else:
            element.value = np.add(element.value, value)
            element.own = True
        self._added = True

    def _checked(self, index: int, value: Any) -> tuple[int, ...]:
        """The shape of a value that is to be written."""
        dtype = getattr(value, "dtype", self._numpy)
        if dtype is not self._numpy and dtype != self._numpy and self.dtype != VARIANT:
            raise self._error(
                f"could not write to index {index}: the value is {from_numpy(value.dtype)}, the array {self.dtype}"
            )
        shape = shape_of(value)
        if shape == self.element_shape:
            return shape
        if not compatible(shape, self.element_shape):
            raise self._error(
                f"could not write to index {index}: the value has shape {show(shape)}, which is not compatible with "
                f"the element shape {show(self.element_shape)} (consider infer_shape=False)"
            )
        if self.identical_shapes:
            self.element_shape = shape
        return shape

    def read(self, index: int) -> Any:
        """An element; zeros where none was written and the shape is known."""
        if self._closed:
            raise self._error("it has been closed")
        if index < 0 or (index >= self.size and not self.is_gradient):
            raise self._error(f"tried to read from index {index}, but its size is {self.size}")
        element = self._elements.get(index)
        if element is None:
            element = self._unwritten(index)
        if element.cleared:
            raise self._error(
                f"could not read index {index} twice, because it was cleared after a previous read "
                "(perhaps try clear_after_read=False)"
            )
        value = element.value
        if value is None:
            value = element.value = zeros(element.shape, self._numpy)
        element.read = True
        if self.clear:
            element.value = None
            element.cleared = True
        return value

    def _unwritten(self, index: int) -> _Element:
        shape = self.element_shape
        if shape is None or None in shape:
            raise self._error(
                f"could not read from index {index}: nothing was written there, and the element shape {show(shape)} "
                "is not fully defined, which zeros would need; set the TensorArray's element_shape"
            )
        element = _Element(None, shape)  # type: ignore[arg-type]
        self._elements[index] = element
        self.size = max(self.size, index + 1)
        return element

    def check_room(self, count: int) -> None:
        """Raises `MemoryError` where so many elements, not written for the most part, can't be: before any is made."""
        shape = self.element_shape
        if count > len(self._elements) and shape is not None and None not in shape:
            each = math.prod(shape) * self._numpy.itemsize  # type: ignore[arg-type]
            np.empty(count * max(each, _LEAST_BYTES), np.uint8)

    def pack_size(self) -> int:
        """How many elements a pack or concat takes: of a gradient as many as the forward unpack had."""
        self.count()
        return self.marked_size if self.is_gradient and self.marked_size is not None else self.size

    def count(self) -> int:
        """The size. Raises `ValueError` where it has been closed."""
        if self._closed:
            raise self._error("it has been closed")
        return self.size

    def mark_size(self, size: int) -> None:
        """Notes how many elements an unpack or split had; a gradient's array keeps its forward array's."""
        if not self.is_gradient:
            self.marked_size = size

    def agree(self, element_shape: Shape) -> None:
        """Checks an element shape that an op expects, and takes over what it says beyond what is known."""
        if element_shape is None or element_shape == self.element_shape:
            return
        try:
            self.element_shape = merged(self.element_shape, element_shape)
        except ValueError as error:
            raise self._error(f"the element shape asked for contradicts its own: {error}") from None

    def gradient(self, source: bytes, prepended: tuple[int, ...] = ()) -> TensorArray:
        """The array that collects the gradients of one `tf.gradients` call, made when first asked for.

        From then on this array keeps its size. Elements written here are zeros there, until written.
        """
        self.dynamic = False
        self.count()
        if self._added:
            raise self._error(
                "gradients can't be made: several values were added up at one index, and which is whose is not known"
            )
        if source not in self.gradients:
            shape = None if self.element_shape is None else (*prepended, *self.element_shape)
            made = TensorArray(
                f"{self.name}@{source.decode(errors='replace')}",
                self.dtype,
                self.size,
                element_shape=shape,
                identical_shapes=self.identical_shapes,
                dynamic=False,
                clear=True,
                is_gradient=True,
            )
            made.marked_size = self.marked_size
            made._elements = {i: _Element(None, (*prepended, *e.shape)) for i, e in self._elements.items()}
            self.gradients[source] = made
        return self.gradients[source]

    def close(self) -> None:
        """Lets go of everything."""
        self._closed = True
        self._elements.clear()

    def expect(self, dtype: DType) -> None:
        """Raises `ValueError` where an op takes the elements for another dtype."""
        if self.dtype is not dtype and self.dtype != dtype:
            raise self._error(f"its dtype is {self.dtype}, but dtype {dtype} was asked for")

    def _error(self, what: str) -> ValueError:
        return ValueError(f"TensorArray {self.name!r}: {what}")


def _array(handle: Any) -> TensorArray:
    if not isinstance(handle, TensorArray):
        raise ValueError(f"the handle must be that of a TensorArray, got {type(handle).__name__}")
    return handle


# ---- Making ----


def _made(
    size: Array,
    name: str,
    dtype: DType,
    element_shape: Shape,
    identical: bool,
    dynamic: bool,
    clear: bool,
) -> TensorArray:
    count = scalar("size", size)
    if count < 0:
        raise ValueError(f"size must be at least 0, got {count}")
    return TensorArray(
        name, dtype, count, element_shape=element_shape, identical_shapes=identical, dynamic=dynamic, clear=clear
    )


@op("TensorArray", "TensorArrayV2", impure=True)
def TensorArrayV2(
    size: Array,
    *,
    node_name: str,
    dtype: DType,
    element_shape: Shape = None,
    dynamic_size: bool = False,
    clear_after_read: bool = True,
    tensor_array_name: bytes = b"",
) -> TensorArray:
    name = tensor_array_name.decode(errors="replace") or node_name
    return _made(size, name, dtype, element_shape, False, dynamic_size, clear_after_read)


@op("TensorArrayV3", outputs=2, impure=True)
def TensorArrayV3(
    size: Array,
    *,
    node_name: str,
    dtype: DType,
    element_shape: Shape = None,
    dynamic_size: bool = False,
    clear_after_read: bool = True,
    identical_element_shapes: bool = False,
    tensor_array_name: bytes = b"",
) -> tuple[TensorArray, Any]:
    name = tensor_array_name.decode(errors="replace") or node_name
    made = _made(size, name, dtype, element_shape, identical_element_shapes, dynamic_size, clear_after_read)
    return made, np.float32(0)


@op("TensorArrayGrad", "TensorArrayGradV2", impure=True)
def TensorArrayGradV2(handle: Any, flow_in: Array, *, source: bytes) -> TensorArray:
    return _array(handle).gradient(source)


@op("TensorArrayGradV3", outputs=2, impure=True)
def TensorArrayGradV3(handle: Any, flow_in: Array, *, source: bytes) -> tuple[TensorArray, Array]:
    return _array(handle).gradient(source), flow_in


@op("TensorArrayGradWithShape", outputs=2, impure=True)
def TensorArrayGradWithShape(
    handle: Any, flow_in: Array, shape_to_prepend: Array, *, source: bytes
) -> tuple[TensorArray, Array]:
    return _array(handle).gradient(source, tuple(sizes("shape_to_prepend", shape_to_prepend))), flow_in


@op("TensorArrayClose", "TensorArrayCloseV2", "TensorArrayCloseV3", outputs=0, impure=True)
def TensorArrayClose(handle: Any) -> None:
    _array(handle).close()


@op("TensorArraySize", "TensorArraySizeV2", "TensorArraySizeV3", impure=True)
def TensorArraySize(handle: Any, flow_in: Array) -> Any:
    return np.int32(_array(handle).count())


# ---- One element ----


@op("TensorArrayWrite", "TensorArrayWriteV2", "TensorArrayWriteV3", impure=True)
def TensorArrayWrite(handle: Any, index: Array, value: Any, flow_in: Array) -> Array:
    array = handle if type(handle) is TensorArray else _array(handle)
    array.write(scalar("index", index), value)
    return flow_in


@specialized("TensorArrayRead", "TensorArrayReadV2", "TensorArrayReadV3", impure=True)
def TensorArrayRead(*, dtype: DType) -> Any:
    def read(handle: Any, index: Array, flow_in: Array) -> Any:
        array = handle if type(handle) is TensorArray else _array(handle)
        if array.dtype is not dtype:
            array.expect(dtype)
        return array.read(scalar("index", index))

    return read


# ---- Many elements ----


def _taken(array: TensorArray, indices: list[int], dtype: DType, element_shape: Shape) -> Array:
    """The elements at some indices, stacked."""
    array.expect(dtype)
    array.agree(element_shape)
    if not indices:
        if element_shape is None or not is_known(element_shape):
            raise ValueError(
                f"{array!r}: no elements to stack, and the element shape {show(element_shape)} is not fully defined"
            )
        return zeros((0, *element_shape), dtype.numpy)  # type: ignore[arg-type]
    array.check_room(len(indices))
    values = [array.read(i) for i in indices]
    shape = shape_of(values[0])
    if not compatible(shape, element_shape):
        raise ValueError(
            f"{array!r}: element shape {show(element_shape)} was asked for, the element at index {indices[0]} "
            f"has {show(shape)}"
        )
    for i, value in zip(indices, values, strict=True):
        if (value.shape if value.__class__ is np.ndarray else shape_of(value)) != shape:
            raise ValueError(
                f"{array!r} has inconsistent shapes: the element at index {indices[0]} has {show(shape)}, "
                f"that at {i} {show(shape_of(value))}"
            )
    return stacked(values, dtype.numpy, shape)


@op("TensorArrayGather", "TensorArrayGatherV2", "TensorArrayGatherV3", impure=True)
def TensorArrayGather(
    handle: Any, indices: Array, flow_in: Array, *, dtype: DType, element_shape: Shape = None
) -> Array:
    return _taken(_array(handle), vector("indices", indices), dtype, element_shape)


@op("TensorArrayPack", impure=True)
def TensorArrayPack(handle: Any, flow_in: Array, *, dtype: DType, element_shape: Shape = None) -> Array:
    array = _array(handle)
    count = array.pack_size()
    array.check_room(count)
    return _taken(array, list(range(count)), dtype, element_shape)


@op("TensorArrayConcat", "TensorArrayConcatV2", "TensorArrayConcatV3", outputs=2, impure=True)
def TensorArrayConcat(
    handle: Any, flow_in: Array, *, dtype: DType, element_shape_except0: Shape = None
) -> tuple[Array, Array]:
    array = _array(handle)
    array.expect(dtype)
    count = array.pack_size()
    if not count:
        if element_shape_except0 is None or not is_known(element_shape_except0):
            raise ValueError(
                f"{array!r}: no elements to concatenate, and element_shape_except0 {show(element_shape_except0)} is "
                "not fully defined"
            )
        return zeros((0, *element_shape_except0), dtype.numpy), np.zeros(0, np.int64)  # type: ignore[arg-type]
    array.check_room(count)
    values = [array.read(i) for i in range(count)]
    for i, value in enumerate(values):
        if not value.ndim:
            raise ValueError(f"{array!r}: the element at index {i} is a scalar; did you mean to stack them?")
    inner = values[0].shape[1:]
    if not compatible(inner, element_shape_except0):
        raise ValueError(
            f"{array!r}: element_shape_except0 {show(element_shape_except0)} was asked for, the element at index 0 "
            f"has {show(inner)} (excepting dimension 0)"
        )
    for i, value in enumerate(values):
        if value.shape[1:] != inner:
            raise ValueError(
                f"{array!r} has inconsistent shapes: excepting dimension 0, the element at index 0 has {show(inner)}, "
                f"that at {i} {show(value.shape[1:])}"
            )
    return np.concatenate(values), np.array([len(value) for value in values], np.int64)


def _write_many(array: TensorArray, indices: list[int], values: list[Array]) -> None:
    for i, value in zip(indices, values, strict=True):
        array.write(i, value)


@op("TensorArrayScatter", "TensorArrayScatterV2", "TensorArrayScatterV3", impure=True)
def TensorArrayScatter(handle: Any, indices: Array, value: Array, flow_in: Array) -> Array:
    array = _array(handle)
    if not value.ndim:
        raise ValueError(f"value must have a first axis to be taken apart along, got shape {show(value.shape)}")
    places = vector("indices", indices)
    if len(places) != len(value):
        raise ValueError(f"there must be as many indices as rows of value, got {len(places)} and {len(value)}")
    array.count()
    _write_many(array, places, rows(value))
    return flow_in


@op("TensorArrayUnpack", impure=True)
def TensorArrayUnpack(handle: Any, value: Array, flow_in: Array) -> Array:
    array = _array(handle)
    if not value.ndim:
        raise ValueError(f"value must have a first axis to be taken apart along, got shape {show(value.shape)}")
    _expect_count(array, len(value), "rows of value")
    _write_many(array, list(range(len(value))), rows(value))
    array.mark_size(len(value))
    return flow_in


@op("TensorArraySplit", "TensorArraySplitV2", "TensorArraySplitV3", impure=True)
def TensorArraySplit(handle: Any, value: Array, lengths: Array, flow_in: Array) -> Array:
    array = _array(handle)
    counts = sizes("lengths", lengths)
    if not value.ndim:
        raise ValueError(f"value must have a first axis to be split along, got shape {show(value.shape)}")
    if sum(counts) != len(value):
        raise ValueError(
            f"the sum of lengths must equal the size of value's first axis, got {sum(counts)} and shape "
            f"{show(value.shape)}"
        )
    _expect_count(array, len(counts), "lengths")
    ends = np.cumsum(counts, dtype=np.int64).tolist()
    _write_many(array, list(range(len(counts))), [value[end - n : end] for end, n in zip(ends, counts, strict=True)])
    array.mark_size(len(counts))
    return flow_in


def _expect_count(array: TensorArray, count: int, what: str) -> None:
    """Raises `ValueError` unless an array has, or can grow to have, just so many elements."""
    size = array.count()
    if size != count and not (array.dynamic and size < count):
        raise ValueError(f"{array!r} has size {size}, which must equal the number of {what}, {count}")
