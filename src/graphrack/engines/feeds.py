"""What callers feed, as the arrays that a graph takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.errors import FeedError
from graphrack.formats.dtypes import RESOURCE, UNKNOWN, VARIANT, from_numpy
from graphrack.formats.tensor_spec import TensorSpec

Array = np.ndarray[Any, Any]


def converter(spec: TensorSpec) -> Callable[[Any], Any]:
    """The function that turns a fed value into an array of a tensor's dtype and shape.

    Numbers are converted where that loses nothing but precision: integers to floats, wide floats to
    narrow ones, and integers to narrower integers where every value fits. Text becomes UTF-8 bytes.

    The function raises `FeedError` for a value of another dtype or shape.
    """
    if spec.dtype in (UNKNOWN, RESOURCE, VARIANT):
        return lambda value: value
    if spec.dtype.is_string:
        return _checked(spec, lambda value: _strings(spec, value))
    target = spec.dtype.numpy

    def convert(value: Any) -> Array:
        if type(value) is np.ndarray and value.dtype == target:
            return value
        return _numbers(spec, target, value)

    return _checked(spec, convert)


def _checked(spec: TensorSpec, convert: Callable[[Any], Array]) -> Callable[[Any], Array]:
    """Adds the check of the shape, as little of it as the declared one asks for."""
    declared = spec.shape
    if declared is None:
        return convert
    rank = len(declared)
    sizes = tuple((i, size) for i, size in enumerate(declared) if size is not None)

    def convert_and_check(value: Any) -> Array:
        array = convert(value)
        if array.ndim != rank or any(array.shape[i] != size for i, size in sizes):
            shown = f"[{', '.join('?' if s is None else str(s) for s in declared)}]"
            raise FeedError(f"{spec.name!r} takes shape {shown}; it was fed {list(array.shape)}")
        return array

    return convert_and_check


def _numbers(spec: TensorSpec, target: np.dtype[Any], value: Any) -> Array:
    kind = type(value)
    if (kind is float and target.kind == "f") or (kind is int and target.kind in "fc"):
        return np.array(value, target)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise _wrong(spec, f"no array of {spec.dtype}: {error}") from None
    if array.dtype == target:
        return array
    if array.size == 0 and not isinstance(value, np.ndarray):
        return array.astype(target)  # an empty list has no dtype of its own
    try:
        source = from_numpy(array.dtype)
    except KeyError:
        source = None
    if source is None or source.is_string:
        raise _wrong(spec, f"values of dtype {array.dtype if source is None else _string_kind(array)}")
    if _loses_only_precision(array.dtype, target):
        with np.errstate(over="ignore"):  # what is too large for a narrow float is infinite there, as in TensorFlow
            return array.astype(target)
    if _is_integer(array.dtype) and _is_integer(target):
        converted = array.astype(target)
        if np.array_equal(converted, array):
            return converted
        raise _wrong(spec, f"{source} values from {array.min()} to {array.max()}, which it can't hold")
    raise _wrong(spec, f"{source} values")


def _loses_only_precision(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    if target.kind in "fc":
        return source.kind in "biuf" or (source.kind == "c" and target.kind == "c") or _is_extra_float(source)
    return _is_extra_float(target) and (source.kind in "biuf" or _is_extra_float(source))


def _is_extra_float(dtype: np.dtype[Any]) -> bool:
    # ml_dtypes' types are of kind V (or f); quantized types have fields, those have not.
    return dtype.kind == "V" and dtype.names is None and "float" in dtype.name


def _is_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" or (dtype.kind == "V" and "int" in dtype.name and not dtype.names)


def _string_kind(array: Array) -> str:
    return "string" if array.dtype.kind in "SU" or all(isinstance(v, (str, bytes)) for v in array.flat) else "object"


def _strings(spec: TensorSpec, value: Any) -> Array:
    if isinstance(value, (str, bytes)):
        return np.array(value.encode() if isinstance(value, str) else value, dtype=object)
    array = np.asarray(value, dtype=object)
    if isinstance(value, np.ndarray) and value.dtype.kind in "SU":
        array = value.astype(object)
    for item in array.flat:
        if not isinstance(item, bytes):
            break
    else:
        return array
    result = np.empty(array.shape, object)
    flat = result.reshape(-1) if result.ndim else result.reshape(1)
    for i, item in enumerate(array.flat):
        if isinstance(item, str):
            flat[i] = item.encode()
        elif isinstance(item, bytes):
            flat[i] = item
        else:
            raise _wrong(spec, f"a {type(item).__name__} among its values")
    return result


def _wrong(spec: TensorSpec, found: str) -> FeedError:
    return FeedError(f"{spec.name!r} takes {spec.dtype}; it was fed {found}; convert them first")
