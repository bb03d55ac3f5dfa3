"""Parsing of serialised Examples and SequenceExamples; how they become columns is in `_examples`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops import _examples as columns
from graphrack.ops._examples import Dense, Shape, Where, show
from graphrack.ops.registry import MANY, op, specialized
from graphrack.ops.runtime import Array


def _keys(inputs: Sequence[Any]) -> list[bytes]:
    """Keys that come as inputs of one each."""
    return [np.asarray(value).item() for value in inputs]


def _names(names: Any, count: int) -> Where:
    listed = np.asarray(names).reshape(-1).tolist()
    if len(listed) not in (0, count):
        raise ValueError(f"as many names as examples are needed, or none: found {len(listed)} for {count}")
    return Where(listed)


# ---- Examples ----


def _parse_examples(
    serialized: Array,
    where: Where,
    sparse: Sequence[tuple[bytes, DType]],
    dense: Sequence[Dense],
    ragged: Sequence[tuple[bytes, DType, DType]] = (),
) -> list[Array]:
    """The ops' outputs in order; those of a scalar have no axis of examples."""
    if serialized.ndim > 1:
        raise ValueError(f"serialized must be a scalar or a vector, got shape {list(serialized.shape)}")
    examples = columns.read_examples(serialized.reshape(-1).tolist(), where)
    return _columns(examples, serialized.ndim == 0, where, sparse, dense, ragged)


def _columns(
    examples: Sequence[Any],
    single: bool,
    where: Where,
    sparse: Sequence[tuple[bytes, DType]],
    dense: Sequence[Dense],
    ragged: Sequence[tuple[bytes, DType, DType]],
) -> list[Array]:
    sparse_parts = [columns.sparse(columns.rows(examples, key, dtype, where), dtype) for key, dtype in sparse]
    if single:
        sparse_parts = [(indices[:, 1:], values, shape[1:]) for indices, values, shape in sparse_parts]
    dense_parts = []
    for column in dense:
        found = columns.rows(examples, column.key, column.dtype, where)
        dense_parts.append(column.one(found[0], where) if single else column.batch(found, where))
    ragged_parts = [
        columns.ragged(columns.rows(examples, key, dtype, where), dtype, split) for key, dtype, split in ragged
    ]
    if single:
        ragged_parts = [(values, splits[:0]) for values, splits in ragged_parts]
    return [
        *(part[i] for i in range(3) for part in sparse_parts),
        *dense_parts,
        *(part[i] for i in range(2) for part in ragged_parts),
    ]


def _dense(
    keys: Sequence[bytes], dtypes: Sequence[DType], shapes: Sequence[Shape], defaults: Sequence[Any]
) -> list[Dense]:
    if not len(keys) == len(dtypes) == len(shapes) == len(defaults):
        raise ValueError(
            f"as many dense keys, types, shapes and defaults are needed: found {len(keys)}, {len(dtypes)}, "
            f"{len(shapes)} and {len(defaults)}"
        )
    return [
        Dense(key, dtype, shape, np.asarray(default))
        for key, dtype, shape, default in zip(keys, dtypes, shapes, defaults, strict=True)
    ]


def _typed(keys: Sequence[bytes], *types: Sequence[DType]) -> list[Any]:
    """Keys with their types. Raises `ValueError` where there are more of one than of another."""
    if any(len(t) != len(keys) for t in types):
        raise ValueError(f"as many keys as types are needed: found {len(keys)} and {[len(t) for t in types]}")
    return list(zip(keys, *types, strict=True))


@op("ParseExample", outputs=MANY)
def ParseExample(
    serialized: Array,
    names: Array,
    *inputs: Any,
    Nsparse: int,
    Ndense: int,
    sparse_types: list[DType],
    Tdense: list[DType],
    dense_shapes: list[Shape],
) -> list[Array]:
    serialized = np.asarray(serialized)
    if serialized.ndim != 1:
        raise ValueError(f"serialized must be a vector, got shape {list(serialized.shape)}")
    dense_from, defaults_from = Nsparse, Nsparse + Ndense
    dense = _dense(_keys(inputs[dense_from:defaults_from]), Tdense, dense_shapes, inputs[defaults_from:])
    sparse = _typed(_keys(inputs[:dense_from]), sparse_types)
    return _parse_examples(serialized, _names(names, serialized.size), sparse, dense)


@op("ParseExampleV2", outputs=MANY)
def ParseExampleV2(
    serialized: Array,
    names: Array,
    sparse_keys: Array,
    dense_keys: Array,
    ragged_keys: Array,
    *dense_defaults: Any,
    Tdense: list[DType],
    num_sparse: int,
    sparse_types: list[DType],
    ragged_value_types: list[DType],
    ragged_split_types: list[DType],
    dense_shapes: list[Shape],
) -> list[Array]:
    serialized = np.asarray(serialized)
    if len(sparse_keys) != num_sparse:
        raise ValueError(f"num_sparse is {num_sparse}, there are {len(sparse_keys)} sparse keys")
    return _parse_examples(
        serialized,
        _names(names, serialized.size),
        _typed(sparse_keys.tolist(), sparse_types),
        _dense(dense_keys.tolist(), Tdense, dense_shapes, dense_defaults),
        _typed(ragged_keys.tolist(), ragged_value_types, ragged_split_types),
    )


@op("ParseSingleExample", outputs=MANY)
def ParseSingleExample(
    serialized: Array,
    *dense_defaults: Any,
    num_sparse: int,
    sparse_keys: list[bytes],
    dense_keys: list[bytes],
    sparse_types: list[DType],
    Tdense: list[DType],
    dense_shapes: list[Shape],
) -> list[Array]:
    serialized = np.asarray(serialized)
    if serialized.ndim:
        raise ValueError(f"serialized must be a scalar, got shape {list(serialized.shape)}")
    if len(sparse_keys) != num_sparse:
        raise ValueError(f"num_sparse is {num_sparse}, there are {len(sparse_keys)} sparse keys")
    dense = _dense(dense_keys, Tdense, dense_shapes, dense_defaults)
    return _parse_examples(serialized, Where(), _typed(sparse_keys, sparse_types), dense)


# ---- Sequence examples ----


def _dense_lists(
    lists: Sequence[Any], key: bytes, dtype: DType, shape: Shape, may_lack: bool, where: Where
) -> tuple[Array, Array]:
    """The steps [examples, most steps, *shape], filled up with zeros or empty strings; how many each has."""
    if shape is None or None in shape:
        raise ValueError(f"the shape of feature list {show(key)} must be known, got {shape}")
    step = Dense(key, dtype, shape, np.empty(0, dtype.numpy))
    found = columns.list_rows(lists, key, dtype, where)
    values = []
    for i, steps in enumerate(found):
        if steps is None and not may_lack:
            raise ValueError(
                f"feature list {show(key)} is required, but {where(i)} lacks it; those that may be missing are "
                "named by feature_list_dense_missing_assumed_empty"
            )
        values.append(step.batch(steps or (), Where([where(i).encode()] * len(steps or ()))))
    lengths = np.array([len(v) for v in values], np.int64)
    out = np.zeros((len(values), int(lengths.max(initial=0)), *step.shape), dtype.numpy)
    if dtype.is_string:
        out[...] = b""
    for i, value in enumerate(values):
        out[i, : len(value)] = value
    return out, lengths


def _parse_sequences(
    serialized: Array,
    debug_name: Any,
    context: tuple[Sequence[Any], Sequence[Dense], Sequence[Any]],
    sparse: Sequence[tuple[bytes, DType]],
    dense: Sequence[tuple[bytes, DType, Shape]],
    ragged: Sequence[tuple[bytes, DType, DType]],
    may_lack: set[bytes],
) -> tuple[list[Array], list[Array], list[Array], list[Array], list[Array]]:
    """Outputs of the context, of sparse, dense and ragged feature lists, and the lengths of the dense ones."""
    if serialized.ndim > 1:
        raise ValueError(f"serialized must be a scalar or a vector, got shape {list(serialized.shape)}")
    single = serialized.ndim == 0
    where = _names(debug_name, serialized.size)
    examples, lists = columns.read_sequences(serialized.reshape(-1).tolist(), where)
    of_context = _columns(examples, single, where, *context)
    sparse_parts = [columns.sparse_lists(columns.list_rows(lists, k, t, where), t) for k, t in sparse]
    dense_parts = [_dense_lists(lists, k, t, shape, k in may_lack, where) for k, t, shape in dense]
    ragged_parts = []
    for key, dtype, split in ragged:
        found = [steps or () for steps in columns.list_rows(lists, key, dtype, where)]
        values, inner = columns.ragged([row for steps in found for row in steps], dtype, split)
        ragged_parts.append((values, columns.splits(map(len, found), split), inner))
    if single:
        sparse_parts = [(indices[:, 1:], values, shape[1:]) for indices, values, shape in sparse_parts]
        dense_parts = [(values[0], lengths[0]) for values, lengths in dense_parts]
        # Row splits over a single example say nothing; TensorFlow gives a zero.
        of_context = of_context[: len(of_context) - len(context[2])]
        of_context += [np.zeros((), split.numpy) for *_, split in context[2]]
        ragged_parts = [(values, np.zeros((), outer.dtype), inner) for values, outer, inner in ragged_parts]
    return (
        of_context,
        [part[i] for i in range(3) for part in sparse_parts],
        [values for values, _ in dense_parts],
        [part[i] for i in range(3) for part in ragged_parts],
        [np.asarray(lengths) for _, lengths in dense_parts],
    )


@op("ParseSequenceExample", outputs=MANY)
def ParseSequenceExample(
    serialized: Array,
    debug_name: Array,
    *context_dense_defaults: Any,
    feature_list_dense_missing_assumed_empty: list[bytes],
    context_sparse_keys: list[bytes],
    context_dense_keys: list[bytes],
    feature_list_sparse_keys: list[bytes],
    feature_list_dense_keys: list[bytes],
    context_sparse_types: list[DType] | tuple[()] = (),
    Tcontext_dense: list[DType] | tuple[()] = (),
    feature_list_dense_types: list[DType] | tuple[()] = (),
    context_dense_shapes: list[Shape] | tuple[()] = (),
    feature_list_sparse_types: list[DType] | tuple[()] = (),
    feature_list_dense_shapes: list[Shape] | tuple[()] = (),
) -> list[Array]:
    context, sparse, dense, _, lengths = _parse_sequences(
        np.asarray(serialized),
        debug_name,
        (
            _typed(context_sparse_keys, context_sparse_types),
            _dense(context_dense_keys, Tcontext_dense, context_dense_shapes, context_dense_defaults),
            (),
        ),
        _typed(feature_list_sparse_keys, feature_list_sparse_types),
        list(zip(feature_list_dense_keys, feature_list_dense_types, feature_list_dense_shapes, strict=True)),
        (),
        set(feature_list_dense_missing_assumed_empty),
    )
    return context + sparse + dense + lengths


@op("ParseSequenceExampleV2", outputs=MANY)
def ParseSequenceExampleV2(
    serialized: Array,
    debug_name: Array,
    context_sparse_keys: Array,
    context_dense_keys: Array,
    context_ragged_keys: Array,
    feature_list_sparse_keys: Array,
    feature_list_dense_keys: Array,
    feature_list_ragged_keys: Array,
    feature_list_dense_missing_assumed_empty: Array,
    *context_dense_defaults: Any,
    Tcontext_dense: list[DType] | tuple[()] = (),
    context_sparse_types: list[DType] | tuple[()] = (),
    context_ragged_value_types: list[DType] | tuple[()] = (),
    context_ragged_split_types: list[DType] | tuple[()] = (),
    context_dense_shapes: list[Shape] | tuple[()] = (),
    feature_list_dense_types: list[DType] | tuple[()] = (),
    feature_list_sparse_types: list[DType] | tuple[()] = (),
    feature_list_ragged_value_types: list[DType] | tuple[()] = (),
    feature_list_ragged_split_types: list[DType] | tuple[()] = (),
    feature_list_dense_shapes: list[Shape] | tuple[()] = (),
) -> list[Array]:
    dense_keys = feature_list_dense_keys.tolist()
    may_lack = {key for key, m in zip(dense_keys, feature_list_dense_missing_assumed_empty.tolist(), strict=True) if m}
    context, sparse, dense, ragged, lengths = _parse_sequences(
        np.asarray(serialized),
        debug_name,
        (
            _typed(context_sparse_keys.tolist(), context_sparse_types),
            _dense(context_dense_keys.tolist(), Tcontext_dense, context_dense_shapes, context_dense_defaults),
            _typed(context_ragged_keys.tolist(), context_ragged_value_types, context_ragged_split_types),
        ),
        _typed(feature_list_sparse_keys.tolist(), feature_list_sparse_types),
        list(zip(dense_keys, feature_list_dense_types, feature_list_dense_shapes, strict=True)),
        _typed(feature_list_ragged_keys.tolist(), feature_list_ragged_value_types, feature_list_ragged_split_types),
        may_lack,
    )
    return context + sparse + dense + lengths + ragged


@specialized("ParseSingleSequenceExample", outputs=MANY)
def ParseSingleSequenceExample(
    *,
    Ncontext_sparse: int = 0,
    Ncontext_dense: int = 0,
    Nfeature_list_sparse: int = 0,
    Nfeature_list_dense: int = 0,
    context_sparse_types: list[DType] | tuple[()] = (),
    Tcontext_dense: list[DType] | tuple[()] = (),
    feature_list_dense_types: list[DType] | tuple[()] = (),
    context_dense_shapes: list[Shape] | tuple[()] = (),
    feature_list_sparse_types: list[DType] | tuple[()] = (),
    feature_list_dense_shapes: list[Shape] | tuple[()] = (),
) -> Any:
    counts = (Ncontext_sparse, Ncontext_dense, Nfeature_list_sparse, Nfeature_list_dense, len(Tcontext_dense))

    def kernel(serialized: Any, missing_assumed_empty: Any, *inputs: Any) -> list[Array]:
        data = np.asarray(serialized)
        if data.ndim:
            raise ValueError(f"serialized must be a scalar, got shape {list(data.shape)}")
        groups, at = [], 0
        for count in counts:
            groups.append(inputs[at : at + count])
            at += count
        sparse_keys, dense_keys, list_sparse_keys, list_dense_keys = map(_keys, groups[:4])
        context, sparse, dense, _, _ = _parse_sequences(
            data,
            inputs[at],
            (
                _typed(sparse_keys, context_sparse_types),
                _dense(dense_keys, Tcontext_dense, context_dense_shapes, groups[4]),
                (),
            ),
            _typed(list_sparse_keys, feature_list_sparse_types),
            list(zip(list_dense_keys, feature_list_dense_types, feature_list_dense_shapes, strict=True)),
            (),
            set(np.asarray(missing_assumed_empty).reshape(-1).tolist()),
        )
        return context + sparse + dense

    return kernel
