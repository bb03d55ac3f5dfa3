"""Serialised Examples as columns: of every example what it has under one key, as one list of Python values.

A row is `None` where the example lacks the feature, or has it without a value of any kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.formats.protos.example_pb2 import Example, Feature, FeatureList, Features, SequenceExample
from graphrack.ops.runtime import Array

Row = list[Any] | None
Shape = tuple[int | None, ...] | None

_KINDS = {"float32": "float_list", "int64": "int64_list", "string": "bytes_list"}
_DTYPES = {kind: dtype for dtype, kind in _KINDS.items()}


class Where:
    """Names one example in messages: by the name it was given, else by its position in the batch."""

    __slots__ = ("_names",)

    def __init__(self, names: Sequence[bytes] = ()):
        self._names = names

    def __call__(self, index: int) -> str:
        named = f" ({self._names[index].decode(errors='replace')!r})" if index < len(self._names) else ""
        return f"example {index}{named}"


def read_examples(serialized: Iterable[bytes], where: Where) -> list[dict[bytes, Feature]]:
    """Each example's features by key. Raises `ValueError` naming the first that is none."""
    return [features_by_key(_parsed(Example, data, where(i)).features) for i, data in enumerate(serialized)]


def read_sequences(
    serialized: Iterable[bytes], where: Where
) -> tuple[list[dict[bytes, Feature]], list[dict[bytes, FeatureList]]]:
    """Each sequence example's context and its feature lists, by key."""
    parsed = [_parsed(SequenceExample, data, where(i)) for i, data in enumerate(serialized)]
    lists = [{entry.key: entry.value for entry in p.feature_lists.feature_list} for p in parsed]
    return [features_by_key(p.context) for p in parsed], lists


def features_by_key(features: Features) -> dict[bytes, Feature]:
    """What a map's entries mean: of equal keys the last one counts."""
    return {entry.key: entry.value for entry in features.feature}


def _parsed(message: Any, data: bytes, what: str) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return message.FromString(data)
    except DecodeError as error:
        raise ValueError(f"{what} is no serialised {message.DESCRIPTOR.name}: {data[:40]!r} ({error})") from None


def rows(examples: Sequence[dict[bytes, Feature]], key: bytes, dtype: DType, where: Where) -> list[Row]:
    """What each example has under a key. Raises `ValueError` for values of another type."""
    kind = _kind(dtype)
    found: list[Row] = []
    for i, features in enumerate(examples):
        feature = features.get(key)
        found.append(None if feature is None else _values(feature, kind, key, i, where))
    return found


def list_rows(lists: Sequence[dict[bytes, FeatureList]], key: bytes, dtype: DType, where: Where) -> list[Any]:
    """What each sequence example has under a key: a row for each of its steps, or None where it lacks it."""
    kind = _kind(dtype)
    found: list[Any] = []
    for i, by_key in enumerate(lists):
        steps = by_key.get(key)
        found.append(None if steps is None else [_values(f, kind, key, i, where) for f in steps.feature])
    return found


def _kind(dtype: DType) -> str:
    kind = _KINDS.get(dtype.name)
    if kind is None:
        raise ValueError(f"examples hold float32, int64 and string, not {dtype}")
    return kind


def _values(feature: Feature, kind: str, key: bytes, index: int, where: Where) -> Row:
    found = feature.WhichOneof("kind")
    if found is None:
        return None
    if found != kind:
        raise ValueError(f"feature {show(key)} of {where(index)} is {_DTYPES[found]}, {_DTYPES[kind]} is expected")
    return list(getattr(feature, kind).value)


def show(key: bytes) -> str:
    """A feature's key for messages."""
    return repr(key.decode(errors="backslashreplace"))


# ---- From rows to tensors ----


def array(values: Sequence[Any], dtype: DType) -> Array:
    """Values as a vector."""
    if not dtype.numpy.hasobject:
        return np.array(values, dtype.numpy)
    out = np.empty(len(values), object)
    out[:] = values
    return out


def sparse(column: Sequence[Row], dtype: DType) -> tuple[Array, Array, Array]:
    """Indices [values, 2] (example, position), values and shape [2]."""
    filled = [row or () for row in column]
    lengths = np.fromiter(map(len, filled), np.int64, len(filled))
    indices = np.stack([np.repeat(np.arange(len(filled)), lengths), _positions(lengths)], axis=1)
    return indices, array(list(chain(*filled)), dtype), np.array([len(filled), lengths.max(initial=0)])


def sparse_lists(column: Sequence[Any], dtype: DType) -> tuple[Array, Array, Array]:
    """Indices [values, 3] (example, step, position), values and shape [3]."""
    steps = [example or () for example in column]
    counts = np.fromiter(map(len, steps), np.int64, len(steps))
    indices, values, shape = sparse(list(chain(*steps)), dtype)
    step = indices[:, 0]
    example = np.repeat(np.arange(len(steps)), counts)
    position = _positions(counts)
    indices = np.stack([example[step], position[step], indices[:, 1]], axis=1)
    return indices, values, np.array([len(steps), counts.max(initial=0), shape[1]])


def _positions(lengths: Array) -> Array:
    """0, 1, … for each row anew."""
    positions: Array = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return positions


def ragged(column: Sequence[Row], dtype: DType, split_dtype: DType) -> tuple[Array, Array]:
    """Values, and where each row starts and the last one ends [rows + 1]."""
    filled = [row or () for row in column]
    return array(list(chain(*filled)), dtype), splits(map(len, filled), split_dtype)


def splits(lengths: Iterable[int], dtype: DType) -> Array:
    """Where rows of these lengths start, and where the last one ends."""
    return np.array(list(accumulate(lengths, initial=0)), dtype.numpy)


class Dense:
    """A column of values of one shape, whose first size may be unknown.

    Attributes:
        key: the features'.
        shape: of one value.
        default: an array of that shape, or of no elements: then every example must have the feature. Of
            one element where the first size is unknown: what shorter values are filled up with.
    """

    def __init__(self, key: bytes, dtype: DType, shape: Shape, default: Array):
        self.key = key
        self.dtype = dtype
        if shape is None or None in shape[1:]:
            raise ValueError(f"the shape of feature {show(key)} must be known but for its first size, got {shape}")
        self.variable = bool(shape) and shape[0] is None
        self.shape = tuple(s for s in shape if s is not None)
        self.size = int(np.prod(self.shape))
        self.default: list[Any] = default.reshape(-1).tolist()
        if self.variable:
            if default.size != 1:
                raise ValueError(
                    f"feature {show(key)} has values of any length, so its default must be the one element to fill "
                    f"up with, got shape {list(default.shape)}"
                )
        elif default.size and default.shape != self.shape:
            raise ValueError(
                f"feature {show(key)} has shape {list(self.shape)}, its default has {list(default.shape)}; "
                "they must be equal"
            )

    def batch(self, column: Sequence[Row], where: Where) -> Array:
        """The values [examples, *shape]."""
        if self.variable:
            return self._filled_up(column, where)
        flat: list[Any] = []
        for i, row in enumerate(column):
            if row is None:
                if not self.default:
                    raise ValueError(f"feature {show(self.key)} ({self.dtype}) is required, but {where(i)} lacks it")
                row = self.default
            if len(row) != self.size:
                raise ValueError(
                    f"feature {show(self.key)} of {where(i)} has {len(row)} values; shape {list(self.shape)} "
                    f"needs {self.size}"
                )
            flat += row
        return array(flat, self.dtype).reshape(len(column), *self.shape)

    def _filled_up(self, column: Sequence[Row], where: Where) -> Array:
        for i, row in enumerate(column):
            if row and (not self.size or len(row) % self.size):
                raise ValueError(
                    f"feature {show(self.key)} of {where(i)} has {len(row)} values; shape "
                    f"{['?', *self.shape]} needs a multiple of {self.size}"
                )
        longest = max((len(row or ()) for row in column), default=0)
        flat: list[Any] = []
        for row in column:
            flat += row or ()
            flat += self.default * (longest - len(row or ()))
        length = longest // self.size if self.size else 0
        return array(flat, self.dtype).reshape(len(column), length, *self.shape)

    def one(self, row: Row, where: Where) -> Array:
        """The value of one example: not filled up, there is nothing to be as long as."""
        return np.asarray(self.batch([row], where)[0])
