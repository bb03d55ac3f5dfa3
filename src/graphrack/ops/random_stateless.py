"""Random ops that keep nothing: their numbers depend on their inputs alone.

The first forms take a `seed` of two ints, which Philox itself scrambles into key and counter; the V2
forms take key, counter and the number of an algorithm, of which TensorFlow's CPU kernels have Philox.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.formats import dtypes
from graphrack.formats.dtypes import DType
from graphrack.ops import philox
from graphrack.ops.philox import Distribution, Stream, scrambled, shape_of
from graphrack.ops.random import bounds, shuffled
from graphrack.ops.random_rejection import gamma, multinomial, poisson, truncated_for_each
from graphrack.ops.registry import Kernel, op, specialized

Array = np.ndarray[Any, Any]

# TensorFlow's numbers of algorithms (rng_alg.h); 2 is ThreeFry, which only its compiler has.
_PHILOX, _AUTO_SELECT = 1, 3


def _keyed(key: Array, counter: Array, alg: Array) -> Stream:
    """The stream of a V2 op's inputs: key uint64 of [1], counter uint64 of [2], alg a scalar."""
    if alg.ndim:
        raise ValueError(f"alg must be a scalar, found shape {list(alg.shape)}")
    if int(alg) not in (_PHILOX, _AUTO_SELECT):
        raise ValueError(f"alg must be 1 (Philox) or 3 (automatic), found {int(alg)}")
    if key.shape != (1,):
        raise ValueError(f"key must have shape [1], found {list(key.shape)}")
    if counter.ndim != 1 or counter.size < 2:
        raise ValueError(f"counter must be a vector of at least 2, found shape {list(counter.shape)}")
    return Stream(int(key[0]), int(counter[0]) | int(counter[1]) << 64)


def _by_seed(distribution: Distribution) -> Kernel:
    def kernel(shape: Array, seed: Array) -> Array:
        stream = scrambled(seed)
        return distribution.fill(stream, shape_of(shape))

    return kernel


def _by_key(distribution: Distribution) -> Kernel:
    def kernel(shape: Array, key: Array, counter: Array, alg: Array) -> Array:
        stream = _keyed(key, counter, alg)
        return distribution.fill(stream, shape_of(shape))

    return kernel


@specialized("StatelessRandomUniform")
def StatelessRandomUniform(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    return _by_seed(philox.uniform(dtype))


@specialized("StatelessRandomUniformV2")
def StatelessRandomUniformV2(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    return _by_key(philox.uniform(dtype))


@specialized("StatelessRandomNormal")
def StatelessRandomNormal(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    return _by_seed(philox.normal(dtype))


@specialized("StatelessRandomNormalV2")
def StatelessRandomNormalV2(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    return _by_key(philox.normal(dtype))


@specialized("StatelessTruncatedNormal")
def StatelessTruncatedNormal(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    return _by_seed(philox.truncated_normal(dtype))


@specialized("StatelessTruncatedNormalV2")
def StatelessTruncatedNormalV2(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    return _by_key(philox.truncated_normal(dtype))


@specialized("StatelessRandomUniformFullInt")
def StatelessRandomUniformFullInt(*, dtype: DType = dtypes.DTYPES[23]) -> Kernel:
    return _by_seed(philox.full_integers(dtype))


@specialized("StatelessRandomUniformFullIntV2")
def StatelessRandomUniformFullIntV2(*, dtype: DType = dtypes.DTYPES[23]) -> Kernel:
    return _by_key(philox.full_integers(dtype))


def _integers(dtype: DType, shape: Array, stream: Stream, minval: Array, maxval: Array) -> Array:
    sizes = shape_of(shape)
    if 0 in sizes:
        return np.empty(sizes, dtype.numpy)
    return philox.integers(dtype, *bounds(minval, maxval)).fill(stream, sizes)


@specialized("StatelessRandomUniformInt")
def StatelessRandomUniformInt(*, dtype: DType) -> Kernel:
    philox.integers(dtype, 0, 1)  # refuses other dtypes before anything runs

    def kernel(shape: Array, seed: Array, minval: Array, maxval: Array) -> Array:
        return _integers(dtype, shape, scrambled(seed), minval, maxval)

    return kernel


@specialized("StatelessRandomUniformIntV2")
def StatelessRandomUniformIntV2(*, dtype: DType) -> Kernel:
    philox.integers(dtype, 0, 1)

    def kernel(shape: Array, key: Array, counter: Array, alg: Array, minval: Array, maxval: Array) -> Array:
        return _integers(dtype, shape, _keyed(key, counter, alg), minval, maxval)

    return kernel


def _for_each(
    sampler: Callable[[Stream, Array, int, np.dtype[Any]], Array],
    what: str,
    stream: Stream,
    shape: Array,
    parameter: Array,
    dtype: DType,
) -> Array:
    """Numbers of a `shape` that ends in the parameter's own."""
    sizes = shape_of(shape)
    if 0 in sizes:
        return np.empty(sizes, dtype.numpy)
    if parameter.ndim > len(sizes) or sizes[len(sizes) - parameter.ndim :] != parameter.shape:
        raise ValueError(f"shape {list(sizes)} must end with that of {what}, {list(parameter.shape)}")
    samples = math.prod(sizes) // parameter.size
    numbers: Array = sampler(stream, parameter.reshape(-1), samples, dtype.numpy).T.reshape(sizes)
    return numbers


@op("StatelessRandomGammaV2")
def StatelessRandomGammaV2(shape: Array, seed: Array, alpha: Array, *, dtype: DType) -> Array:
    return _for_each(gamma, "alpha", scrambled(seed), shape, alpha, dtype)


@op("StatelessRandomGammaV3")
def StatelessRandomGammaV3(
    shape: Array, key: Array, counter: Array, alg: Array, alpha: Array, *, dtype: DType
) -> Array:
    return _for_each(gamma, "alpha", _keyed(key, counter, alg), shape, alpha, dtype)


@op("StatelessRandomPoisson")
def StatelessRandomPoisson(shape: Array, seed: Array, lam: Array, *, dtype: DType) -> Array:
    return _for_each(poisson, "lam", scrambled(seed), shape, lam, dtype)


@op("StatelessParameterizedTruncatedNormal")
def StatelessParameterizedTruncatedNormal(
    shape: Array,
    seed: Array,
    means: Array,
    stddevs: Array,
    minvals: Array,
    maxvals: Array,
    *,
    dtype: DType,
) -> Array:
    parameters = {"means": means, "stddevs": stddevs, "minvals": minvals, "maxvals": maxvals}
    return truncated_for_each(scrambled(seed), shape_of(shape), parameters, dtype)


@op("StatelessMultinomial")
def StatelessMultinomial(
    logits: Array, num_samples: Array, seed: Array, *, output_dtype: DType = dtypes.INT64
) -> Array:
    stream = scrambled(seed)
    numbers = philox.uniform(dtypes.DOUBLE)
    return multinomial(lambda shape, blocks: numbers.fill(stream, shape), logits, num_samples, output_dtype.numpy)


@op("StatelessShuffle")
def StatelessShuffle(value: Array, key: Array, counter: Array, alg: Array) -> Array:
    stream = _keyed(key, counter, alg)
    return value if value.size <= 1 or len(value) <= 1 else shuffled(value, stream)


@op("StatelessRandomGetKeyCounter", outputs=2)
def StatelessRandomGetKeyCounter(seed: Array) -> tuple[Array, Array]:
    stream = scrambled(seed)
    halves = (stream.counter & (1 << 64) - 1, stream.counter >> 64)
    return np.array([stream.key], np.uint64), np.array(halves, np.uint64)


@op("StatelessRandomGetKeyCounterAlg", outputs=3)
def StatelessRandomGetKeyCounterAlg(seed: Array) -> tuple[Array, Array, Array]:
    return (*StatelessRandomGetKeyCounter(seed), StatelessRandomGetAlg())


@op("StatelessRandomGetAlg")
def StatelessRandomGetAlg() -> Array:
    return np.array(_PHILOX, np.int32)
