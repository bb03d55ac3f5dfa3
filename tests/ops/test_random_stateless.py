"""Stateless random ops draw TensorFlow's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check

from graphrack.ops import registry

FLOATS = [tf.float16, tf.bfloat16, tf.float32, tf.float64]
SEEDS = [np.array(s) for s in ([1, 2], [0, 0], [-3, 2**40], [2**63 - 1, -(2**63)])]
COUNTS = [0, 1, 2, 3, 4, 5, 7, 1000, 30_003]
CLOSE = {tf.float16: 1e-3, tf.bfloat16: 1e-2, tf.float32: 1e-6, tf.float64: 1e-14}
KEYS = [([5], [0, 0]), ([2**64 - 1], [2**64 - 3, 2**64 - 1]), ([7], [2**64 - 2, 9, 4])]


def keyed(key: list[int], counter: list[int], alg: int = 1) -> dict[str, Any]:
    return {
        "key": np.array(key, np.uint64),
        "counter": np.array(counter, np.uint64),
        "alg": np.array(alg, np.int32),
    }


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_numbers_by_seed_are_tensorflows(dtype: Any, seed: np.ndarray) -> None:
    for count in COUNTS:
        given = {"shape": ints(count), "seed": seed, "dtype": dtype}
        check("StatelessRandomUniform", **given, rtol=0, atol=0)
        check("StatelessRandomNormal", **given, rtol=CLOSE[dtype], atol=CLOSE[dtype])
        check("StatelessTruncatedNormal", **given, rtol=CLOSE[dtype], atol=CLOSE[dtype])


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize(("key", "counter"), KEYS, ids=str)
def test_numbers_by_key_are_tensorflows(dtype: Any, key: list[int], counter: list[int]) -> None:
    for count in COUNTS:
        given = {"shape": ints(count), **keyed(key, counter, 3), "dtype": dtype}
        check("StatelessRandomUniformV2", **given, rtol=0, atol=0)
        check("StatelessRandomNormalV2", **given, rtol=CLOSE[dtype], atol=CLOSE[dtype])
        check("StatelessTruncatedNormalV2", **given, rtol=CLOSE[dtype], atol=CLOSE[dtype])


@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_integers_are_tensorflows(seed: np.ndarray) -> None:
    key = keyed([3], [4, 5])
    for dtype in (np.int32, np.int64):
        lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
        for low, high in ((0, 10), (lowest, highest), (highest - 1, highest), (3, 3), (4, 3)):
            bounds = {"minval": np.array(low, dtype), "maxval": np.array(high, dtype)}
            for count in (0, 1, 3, 1001):
                check("StatelessRandomUniformInt", shape=ints(count), seed=seed, **bounds)
                check("StatelessRandomUniformIntV2", shape=ints(count), **key, **bounds)
    for dtype in (tf.int32, tf.uint32, tf.int64, tf.uint64):
        for count in (0, 1, 2, 3, 1001):
            check("StatelessRandomUniformFullInt", shape=ints(count), seed=seed, dtype=dtype)
            check("StatelessRandomUniformFullIntV2", shape=ints(count, 2), **key, dtype=dtype)


def test_keys_and_counters_are_tensorflows() -> None:
    for seed in (*SEEDS, ints(-1, 7)):
        check("StatelessRandomGetKeyCounter", seed=seed)
        check("StatelessRandomGetKeyCounterAlg", seed=seed)
    check("StatelessRandomGetAlg")


def test_seeds_keys_and_shapes_that_are_none_are_refused() -> None:
    for seed in (np.array(3), np.array([3]), np.array([[1, 2]]), np.array([1, 2, 3])):
        check("StatelessRandomUniform", shape=ints(2), seed=seed, refused=True)
        check("StatelessRandomGetKeyCounter", seed=seed, refused=True)
        check("StatelessMultinomial", logits=np.zeros((2, 3)), num_samples=ints(2)[0], seed=seed, refused=True)
    for key, counter, alg in (([1, 2], [1, 2], 1), ([1], [1, 2], 2), ([1], [1, 2], 7)):
        check("StatelessRandomUniformV2", shape=ints(2), **keyed(key, counter, alg), refused=True)
    # TensorFlow reads what happens to follow a counter that is too short.
    kernel = registry.lookup("StatelessRandomUniformV2").bind("op", {}, {})
    with pytest.raises(ValueError, match=r"counter must be a vector of at least 2, found shape \[1\]"):
        kernel(ints(2), *keyed([1], [1]).values())
    check("StatelessRandomUniform", shape=ints(2, -1), seed=SEEDS[0], refused=True)
    check("StatelessRandomUniformV2", shape=np.array(2), **keyed([1], [1, 2]), refused=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gamma_numbers_are_tensorflows(dtype: Any) -> None:
    alpha = np.array([[0.1, 0.5, 0.99, 1], [1.01, 3, 100, 7]], dtype)
    for shape in (ints(100, 2, 4), ints(2, 4), ints(3, 0, 2, 4)):
        check("StatelessRandomGammaV2", shape=shape, seed=SEEDS[0], alpha=alpha)
        check("StatelessRandomGammaV3", shape=shape, **keyed([3], [4, 5]), alpha=alpha)
    for shape in (ints(4), ints(2, 3), ints()):
        check("StatelessRandomGammaV2", shape=shape, seed=SEEDS[0], alpha=alpha, refused=True)


def test_poisson_numbers_are_tensorflows() -> None:
    for rate in (np.float16, np.float32, np.float64, np.int32, np.int64):
        rates = np.array([[0.1, 0.5, 0.99, 1.01, 3], [9.9, 10, 10.1, 1000, 0]]).astype(rate)
        for dtype in (tf.float16, tf.float32, tf.float64, tf.int32, tf.int64):
            given = {"seed": SEEDS[0], "lam": rates, "dtype": dtype}
            check("StatelessRandomPoisson", shape=ints(50, 2, 5), **given)
            check("StatelessRandomPoisson", shape=ints(3), **given, refused=True)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_multinomial_classes_are_tensorflows(dtype: Any) -> None:
    logits = (np.random.RandomState(1).randn(3, 30) * 3).astype(dtype.as_numpy_dtype)
    for samples in (0, 1, 3, 17):
        for output in (tf.int32, tf.int64):
            given = {"num_samples": np.array(samples, np.int32), "seed": SEEDS[2], "output_dtype": output}
            check("StatelessMultinomial", logits=logits, **given)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(10),
        np.arange(1001.0).reshape(-1, 7),
        np.array([b"a", b"b", b"c", b"d"], object),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.array(3.0),
        np.arange(3).reshape(1, 3),
    ],
    ids=lambda v: f"{v.dtype}{v.shape}",
)
def test_shuffling_is_tensorflows(value: np.ndarray) -> None:
    for key, counter in KEYS:
        check("StatelessShuffle", value=value, **keyed(key, counter))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_normal_numbers_between_bounds_are_tensorflows(dtype: Any) -> None:
    given = {
        "means": np.array([0, 1, 2], dtype),
        "stddevs": np.array(1.5, dtype),
        "minvals": np.array([[-1], [-np.inf]], dtype),
        "maxvals": np.array([3, 5, 4.5], dtype),
    }
    close = CLOSE[tf.as_dtype(dtype)]
    for seed in SEEDS:
        for shape in (ints(7, 2, 3), ints(2, 3), ints(3, 0, 2, 3), ints(2, 2, 2, 3)):
            op_name = "StatelessParameterizedTruncatedNormal"
            check(op_name, shape=shape, seed=seed, **given, rtol=close, atol=close)
    for shape in (ints(3), ints(2, 4), ints(3, 2)):
        check(op_name, shape=shape, seed=SEEDS[0], **given, refused=True)
    for name, value in (("stddevs", 0), ("minvals", 5), ("means", [1, 2])):
        wrong = {**given, name: np.array(value, dtype)}
        check(op_name, shape=ints(7, 2, 3), seed=SEEDS[0], **wrong, refused=True)
