"""Random ops whose state is a variable (`tf.random.Generator`): it is saved and restored as any other.

The variable holds int64s: the counter's low and high halves, then the key; what else it holds is left alone.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from graphrack.formats import dtypes
from graphrack.formats.dtypes import DType
from graphrack.ops import philox
from graphrack.ops.philox import RESERVED, Distribution, Stream, shape_of
from graphrack.ops.random import bounds
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array, Handle, RunState

_PHILOX, _AUTO_SELECT = 1, 3


def taken(state: RunState, resource: Handle, algorithm: Array, blocks: int, first: int = 0) -> tuple[Array, Stream]:
    """The variable's value and the stream that it stands for; the variable moves on by that many blocks.

    Attributes:
        first: where in the variable the counter begins.
    """
    if algorithm.ndim:
        raise ValueError(f"algorithm must be a scalar, found shape {list(algorithm.shape)}")
    if int(algorithm) not in (_PHILOX, _AUTO_SELECT):
        raise ValueError(f"algorithm must be 1 (Philox) or 3 (automatic), found {int(algorithm)}")
    value = state.read(resource)
    if value.ndim != 1 or value.size < 3 or value.dtype != np.int64:
        raise ValueError(
            f"the generator's state {resource.name!r} must be a vector of at least 3 int64, "
            f"found {value.dtype} of shape {list(value.shape)}"
        )
    low, high, key = value[first : first + 3].view(np.uint64).tolist()
    stream = Stream(key, low | high << 64)
    after = stream.skip(blocks).counter
    moved = value.copy()
    moved[first : first + 2] = np.array((after & 2**64 - 1, after >> 64), np.uint64).view(np.int64)
    state.write(resource, moved)
    return value, stream


def _filling(distribution: Distribution) -> Kernel:
    def kernel(state: RunState, resource: Handle, algorithm: Array, shape: Array) -> Array:
        sizes = shape_of(shape)
        _, stream = taken(state, resource, algorithm, math.prod(sizes) * RESERVED)
        return distribution.fill(stream, sizes)

    return kernel


@specialized("StatefulStandardNormal", state=True, writes=True)
def StatefulStandardNormal(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    # The first form has no input for the algorithm: the variable's first number is that, before counter and key.
    distribution = philox.normal(dtype)

    def kernel(state: RunState, resource: Handle, shape: Array) -> Array:
        sizes = shape_of(shape)
        value = state.read(resource)
        if value.ndim != 1 or value.size < 4:
            raise ValueError(f"the generator's state {resource.name!r} must be a vector of 4, found {value.shape}")
        _, stream = taken(state, resource, value[0], math.prod(sizes) * RESERVED, first=1)
        return distribution.fill(stream, sizes)

    return kernel


@op("NonDeterministicInts", impure=True)
def NonDeterministicInts(shape: Array, *, dtype: DType = dtypes.INT64) -> Array:
    sizes = shape_of(shape)
    count = math.prod(sizes) * dtype.numpy.itemsize
    return np.frombuffer(os.urandom(count), dtype.numpy).reshape(sizes).copy()


@specialized("StatefulUniform", state=True, writes=True)
def StatefulUniform(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    return _filling(philox.uniform(dtype))


@specialized("StatefulStandardNormalV2", state=True, writes=True)
def StatefulStandardNormalV2(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    return _filling(philox.normal(dtype))


@specialized("StatefulTruncatedNormal", state=True, writes=True)
def StatefulTruncatedNormal(*, dtype: DType = dtypes.FLOAT) -> Kernel:
    return _filling(philox.truncated_normal(dtype))


@specialized("StatefulUniformFullInt", state=True, writes=True)
def StatefulUniformFullInt(*, dtype: DType = dtypes.DTYPES[23]) -> Kernel:
    return _filling(philox.full_integers(dtype))


@specialized("StatefulUniformInt", state=True, writes=True)
def StatefulUniformInt(*, dtype: DType = dtypes.INT64) -> Kernel:
    philox.integers(dtype, 0, 1)  # refuses other dtypes before anything runs

    def kernel(
        state: RunState, resource: Handle, algorithm: Array, shape: Array, minval: Array, maxval: Array
    ) -> Array:
        sizes = shape_of(shape)
        distribution = philox.integers(dtype, *bounds(minval, maxval))
        _, stream = taken(state, resource, algorithm, math.prod(sizes) * RESERVED)
        return distribution.fill(stream, sizes)

    return kernel


@op("RngReadAndSkip", state=True, writes=True)
def RngReadAndSkip(state: RunState, resource: Handle, alg: Array, delta: Array) -> Array:
    # What was read is what V2 stateless ops then take as counter and key.
    value, _ = taken(state, resource, alg, _skipped(delta))
    return value[:3].copy()


@op("RngSkip", outputs=0, state=True, writes=True)
def RngSkip(state: RunState, resource: Handle, algorithm: Array, delta: Array) -> None:
    taken(state, resource, algorithm, _skipped(delta))


def _skipped(delta: Any) -> int:
    """The blocks that `delta` numbers take."""
    if delta.ndim:
        raise ValueError(f"delta must be a scalar, found shape {list(delta.shape)}")
    return int(delta) * RESERVED
