"""Cast against TensorFlow: every pair of types, and the values that don't fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import by_graphrack, by_tensorflow, check, compare
from ops.operands import COMPLEX, FLOATS, INTS, NUMBERS, name
from tensorflow.python.framework import dtypes

PLAIN = (*NUMBERS, np.bool_)
QUANTIZED = (tf.qint8, tf.quint8, tf.qint16, tf.quint16, tf.qint32)
FLOAT8 = (ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn)
TENSORFLOW = {ml_dtypes.float8_e5m2: dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn: dtypes.float8_e4m3fn}
FINITE = [0.0, -0.0, 0.5, -0.5, 0.99, 1, 1.5, 2.5, 7.999, 100.7, 126.99, 127, 3.14159, 1.0009765625, 1.00390625, 65503]
INFINITE = [np.nan, np.inf, -np.inf]


def representable(target: Any) -> Any:
    """Values that fit into the target type, whatever the source."""
    dtype = np.dtype(target)
    if dtype.kind not in "iu":
        return [*FINITE, *INFINITE, -3.7, 1e-6, 1e30, -1e30, 65520]
    limit = np.iinfo(dtype)
    values = [v for v in FINITE if v <= limit.max]
    return values + ([-v for v in values] if limit.min else [])


def values(source: Any, target: Any) -> Any:
    dtype = np.dtype(source)
    if dtype.kind == "b":
        return np.array([True, False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([info.min, info.max, 0, 1, 2, 100, info.max // 2 + 1, info.max - 1], dtype)
    if dtype.kind == "c":
        return np.array([complex(v, 3) for v in representable(target)]).astype(dtype)
    return np.array(representable(target)).astype(dtype)


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("target", PLAIN, ids=name)
@pytest.mark.parametrize("source", PLAIN, ids=name)
def test_every_pair_agrees(source: Any, target: Any) -> None:
    x = values(source, target)
    for shaped in (x, x[:0], x[1], np.tile(x, 5).reshape(5, -1)):
        check("Cast", x=shaped, DstT=tf.as_dtype(target), Truncate=False, rtol=0, atol=0, refused=False)


@pytest.mark.parametrize("target", [np.int32, np.int64, np.uint64], ids=name)
@pytest.mark.parametrize("source", FLOATS + COMPLEX, ids=name)
def test_floats_that_do_not_fit_agree(source: Any, target: Any) -> None:
    far = [2.0**31, -(2.0**31), 3e9, -3e9, 2.0**32, 5e9, 2.0**63, -(2.0**63), 1e19, -1e19, 2.0**64, 1e30, -1e30, -1.5]
    check("Cast", x=np.array([*far, *INFINITE]).astype(source), DstT=tf.as_dtype(target), Truncate=False)


@pytest.mark.parametrize("target", [np.int8, np.uint8, np.int16, np.uint16, np.uint32], ids=name)
@pytest.mark.parametrize("value", [-40000, -300, -129, -1, 128, 256, 300, 32768, 65536, np.inf, -np.inf, np.nan])
def test_floats_beyond_small_integers_agree_in_bulk(value: float, target: Any) -> None:
    # The bulk of a tensor, that is: TensorFlow's last elements differ.
    check("Cast", x=np.full(256, value, np.float32), DstT=tf.as_dtype(target), Truncate=False)


@pytest.mark.parametrize("dtype", QUANTIZED)
@pytest.mark.parametrize("other", [*INTS, np.float32, np.float64], ids=name)
def test_quantized_types_are_cast_as_integers(dtype: Any, other: Any) -> None:
    stored = np.dtype(dtype.as_numpy_dtype)
    x = np.array([0, 1, 2, 100, 127], stored[0])
    data, feeds, expected = by_tensorflow("Cast", {"x": x.astype(other), "DstT": dtype, "Truncate": False})
    assert data is not None
    (found,) = by_graphrack(data, feeds)
    assert found.dtype == stored  # TensorFlow's session gives the plain integers here
    compare(found.view(stored[0]), expected[0])
    node = tf.as_dtype(other)
    check("Cast", x=x.view(stored), DstT=node, Truncate=False)
    check("Cast", x=x.view(stored)[2:3].reshape(()), DstT=node, Truncate=False)


@pytest.mark.parametrize("target", [*FLOATS, *FLOAT8], ids=name)
@pytest.mark.parametrize("source", [*FLOATS, *FLOAT8], ids=name)
def test_truncate_cuts_fractions_off(source: Any, target: Any) -> None:
    if source is target:
        return
    random = np.random.default_rng(0)
    x = random.normal(size=200) * 10.0 ** random.uniform(-1, 2, 200)
    x = np.concatenate([x, [0, -0.0, 1, np.inf, -np.inf, np.nan]]).astype(source)
    for truncate in (False, True):
        check("Cast", x=x, DstT=TENSORFLOW.get(target, tf.as_dtype(target)), Truncate=truncate, rtol=0, atol=0)


@pytest.mark.parametrize("source", FLOAT8, ids=name)
@pytest.mark.parametrize("target", [np.int32, np.int64, np.float32, np.bool_], ids=name)
def test_float8_agrees(source: Any, target: Any) -> None:
    x = np.arange(256, dtype=np.uint8).view(source)
    check("Cast", x=x, DstT=tf.as_dtype(target), Truncate=False, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [dtypes.int4, dtypes.uint4])
@pytest.mark.parametrize("other", [np.int8, np.int32, np.int64, np.uint8], ids=name)
def test_four_bit_integers_agree(dtype: Any, other: Any) -> None:
    x = np.arange(8, dtype=other)
    check("Cast", x=x, DstT=dtype, Truncate=False)
    check("Cast", x=x.astype(dtype.as_numpy_dtype), DstT=tf.as_dtype(other), Truncate=False)
