"""Random ops with seeds of their own: uniform, normal and other draws, multinomial, shuffle.

Each node keeps one generator (`philox.Generator`) from run to run, so that the same seeds give
TensorFlow's numbers run after run. TensorFlow itself gives other numbers on other machines where it
splits among threads what comes from one stream: Multinomial and ParameterizedTruncatedNormal on large
inputs. For these the numbers are those of TensorFlow with one thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from graphrack.formats import dtypes
from graphrack.formats.dtypes import DType
from graphrack.ops import philox
from graphrack.ops.philox import RESERVED, Distribution, Generator, Stream, shape_of
from graphrack.ops.random_rejection import gamma, multinomial, poisson, truncated_between
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import RunState

Array = np.ndarray[Any, Any]


def _filling(distribution: Distribution, node_name: str, seed: int, seed2: int) -> Kernel:
    make = partial(Generator, seed, seed2)

    def kernel(state: RunState, shape: Array) -> Array:
        return state.per_node(node_name, make).fill(distribution, shape_of(shape))

    return kernel


@specialized("RandomUniform", state=True)
def RandomUniform(*, node_name: str, dtype: DType, seed: int = 0, seed2: int = 0) -> Kernel:
    return _filling(philox.uniform(dtype), node_name, seed, seed2)


@specialized("RandomStandardNormal", state=True)
def RandomStandardNormal(*, node_name: str, dtype: DType, seed: int = 0, seed2: int = 0) -> Kernel:
    return _filling(philox.normal(dtype), node_name, seed, seed2)


@specialized("TruncatedNormal", state=True)
def TruncatedNormal(*, node_name: str, dtype: DType, seed: int = 0, seed2: int = 0) -> Kernel:
    return _filling(philox.truncated_normal(dtype), node_name, seed, seed2)


def bounds(minval: Array, maxval: Array) -> tuple[int, int]:
    """The bounds of a uniform integer op. Raises `ValueError` where they are no scalars or none between."""
    for name, value in (("minval", minval), ("maxval", maxval)):
        if value.ndim:
            raise ValueError(f"{name} must be a scalar, found shape {list(value.shape)}")
    if minval >= maxval:
        raise ValueError(f"minval must be less than maxval, found {minval} and {maxval}")
    return int(minval), int(maxval)


@specialized("RandomUniformInt", state=True)
def RandomUniformInt(*, node_name: str, Tout: DType, seed: int = 0, seed2: int = 0) -> Kernel:
    philox.integers(Tout, 0, 1)  # refuses other dtypes before anything runs
    make = partial(Generator, seed, seed2)

    def kernel(state: RunState, shape: Array, minval: Array, maxval: Array) -> Array:
        sizes = shape_of(shape)
        if 0 in sizes:
            return np.empty(sizes, Tout.numpy)
        low, high = bounds(minval, maxval)
        return state.per_node(node_name, make).fill(philox.integers(Tout, low, high), sizes)

    return kernel


def _no_bfloat16(what: str, dtype: DType) -> None:
    if dtype not in (dtypes.HALF, dtypes.FLOAT, dtypes.DOUBLE):
        raise ValueError(f"{what} numbers have dtype half, float32 or float64, found {dtype}")


@specialized("ParameterizedTruncatedNormal", state=True)
def ParameterizedTruncatedNormal(*, node_name: str, dtype: DType, seed: int = 0, seed2: int = 0) -> Kernel:
    _no_bfloat16("truncated normal", dtype)
    make = partial(Generator, seed, seed2)

    def kernel(state: RunState, shape: Array, means: Array, stdevs: Array, minvals: Array, maxvals: Array) -> Array:
        return truncated_between(
            state.per_node(node_name, make), shape_of(shape), means, stdevs, minvals, maxvals, dtype
        )

    return kernel


_TRIES = 2  # blocks that a number takes, mostly


def _for_each(
    sampler: Callable[[Stream, Array, int, np.dtype[Any]], Array], node_name: str, seed: int, seed2: int, dtype: DType
) -> Kernel:
    """Numbers of a `shape` for each parameter, of which each has a stretch of the stream to itself."""
    make = partial(Generator, seed, seed2)

    def kernel(state: RunState, shape: Array, parameter: Array) -> Array:
        sizes = shape_of(shape)
        samples = math.prod(sizes)
        out_shape = (*sizes, *parameter.shape)
        total = math.prod(out_shape)
        if not total:
            return np.empty(out_shape, dtype.numpy)

        def draw(stream: Stream, runs: int) -> list[Array]:
            numbers = sampler(stream, np.tile(parameter.reshape(-1), runs), samples, dtype.numpy)
            return [one.T.reshape(out_shape) for one in numbers.reshape(runs, -1, samples)]

        asked = (samples, parameter.shape, parameter.tobytes())
        return state.per_node(node_name, make).drawn(asked, _TRIES * total, total * RESERVED, draw)[0]

    return kernel


@specialized("RandomGamma", state=True)
def RandomGamma(*, node_name: str, T: DType, seed: int = 0, seed2: int = 0) -> Kernel:
    _no_bfloat16("gamma", T)
    return _for_each(gamma, node_name, seed, seed2, T)


@specialized("RandomPoisson", state=True)
def RandomPoisson(*, node_name: str, dtype: DType, seed: int = 0, seed2: int = 0) -> Kernel:
    return RandomPoissonV2(node_name=node_name, dtype=dtype, seed=seed, seed2=seed2)


@specialized("RandomPoissonV2", state=True)
def RandomPoissonV2(*, node_name: str, dtype: DType = dtypes.INT64, seed: int = 0, seed2: int = 0) -> Kernel:
    return _for_each(poisson, node_name, seed, seed2, dtype)


@specialized("Multinomial", state=True)
def Multinomial(*, node_name: str, seed: int = 0, seed2: int = 0, output_dtype: DType = dtypes.INT64) -> Kernel:
    make, numbers = partial(Generator, seed, seed2), philox.uniform(dtypes.DOUBLE)

    def kernel(state: RunState, logits: Array, num_samples: Array) -> Array:
        generator = state.per_node(node_name, make)

        def draw(shape: tuple[int, ...], blocks: int) -> Array:
            return generator.filled(numbers, shape, blocks)[0]

        return multinomial(draw, logits, num_samples, output_dtype.numpy)

    return kernel


def shuffled(value: Array, stream: Stream) -> Array:
    """The value's rows in another order, by Fisher and Yates: place by place one word, modulo the rest."""
    return _in_order_of(value, stream.words(len(value) - 1))


def _in_order_of(value: Array, words: Array) -> Array:
    length = len(value)
    steps = words % np.arange(length, 1, -1, dtype=np.uint32)
    order = list(range(length))
    for i, step in enumerate(steps.tolist()):
        order[i], order[i + step] = order[i + step], order[i]
    return value[order]


@specialized("RandomShuffle", state=True)
def RandomShuffle(*, node_name: str, seed: int = 0, seed2: int = 0) -> Kernel:
    make = partial(Generator, seed, seed2)

    def kernel(state: RunState, value: Array) -> Array:
        if value.size <= 1 or len(value) <= 1:
            return value
        length = len(value)
        blocks = (length + 2) // 4

        def draw(stream: Stream, runs: int) -> list[Array]:
            return list(stream.words(4 * runs * blocks).reshape(runs, -1)[:, : length - 1])

        return _in_order_of(value, state.per_node(node_name, make).drawn(length, blocks, blocks, draw)[0])

    return kernel
