"""Places of single numbers in permutations and sequences: RandomIndexShuffle, SobolSample, UnravelIndex.

An index is shuffled by a cipher of blocks as wide as the largest index needs: Simon (Beaulieu et al., "The SIMON and
SPECK Families of Lightweight Block Ciphers", 2013), of any word size and few rounds, walked until it meets an index
that exists (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphrack.formats.dtypes import FLOAT, DType
from graphrack.ops._arguments import scalar, vector
from graphrack.ops.arithmetic import truncate_divide
from graphrack.ops.registry import op
from graphrack.ops.runtime import Array

_MASK64 = (1 << 64) - 1
_CONSTANT, _SEQUENCE = 0xFFFFFFFC, 0x7369F885192C0EF5
_LEAST_BLOCK, _LARGEST_BLOCK = 16, 64


def _round_keys(seed: list[int], rounds: int, width: int) -> list[int]:
    """The keys of all rounds, of `width` bits, from the first three."""
    mask = (1 << width) - 1
    sequence = _SEQUENCE & mask
    keys = [word & 0xFFFFFFFF & mask for word in seed]
    for i in range(3, rounds):
        last = keys[i - 1]
        turned = (last >> 3 | last << width - 3) ^ (last >> 4 | last << width - 4)
        keys.append((_CONSTANT ^ sequence & 1 ^ keys[i - 3] ^ turned) & mask)
        sequence >>= 1
    return keys[: max(rounds, 3)]


def shuffled_index(index: int, seed: list[int], max_index: int, rounds: int) -> int:
    """Where `index` goes in a permutation of 0 … `max_index`.

    Attributes:
        seed: three words of 32 bits.
        rounds: even, at least 4.
    """
    if not max_index:
        return 0
    block = math.ceil(math.log2(max_index))
    block = min(max(block + block % 2, _LEAST_BLOCK), _LARGEST_BLOCK)
    width = block // 2
    mask = (1 << width) - 1
    keys = _round_keys(seed, rounds, width)

    def mixed(x: int) -> int:
        one, eight, two = (x << n | x >> width - n for n in (1, 8, 2))
        return (one & eight ^ two) & mask

    while True:
        left, right = index >> width & mask, index & mask
        for first, second in zip(keys[::2], keys[1::2], strict=True):
            left ^= mixed(right) ^ first
            right ^= mixed(left) ^ second
        index = left << width | right
        if index <= max_index:
            return index


@op("RandomIndexShuffle")
def RandomIndexShuffle(index: Array, seed: Array, max_index: Array, *, rounds: int = 4) -> Any:
    if rounds < 4 or rounds % 2:
        raise ValueError(f"rounds must be even and at least 4, got {rounds}")
    count = max(index.size, max_index.size, seed.size // 3)
    for name, value in (("index", index), ("max_index", max_index)):
        if value.ndim > 1 or (value.ndim and len(value) != count):
            raise ValueError(f"{name} must be a scalar or a vector of {count}, got shape {list(value.shape)}")
    if seed.shape != (3,) and seed.shape != (count, 3):
        raise ValueError(f"seed must have shape [3] or [{count}, 3], got {list(seed.shape)}")
    places, seeds, lasts = (
        np.broadcast_to(value, shape).tolist()
        for value, shape in ((index, (count,)), (seed, (count, 3)), (max_index, (count,)))
    )
    for place, last in zip(places, lasts, strict=True):
        if not 0 <= place <= last:
            raise ValueError(f"index must be in [0, max_index], got {place} for a max_index of {last}")
    found = [shuffled_index(p, s, m, rounds) for p, s, m in zip(places, seeds, lasts, strict=True)]
    every = np.array(found, index.dtype)
    return every[0] if not index.ndim and seed.ndim == 1 and not max_index.ndim else every


_MAX_DIMENSIONS = 21200


@op("SobolSample")
def SobolSample(dim: Array, num_results: Array, skip: Array, *, dtype: DType = FLOAT) -> Array:
    """Points of Sobol's sequence with the direction numbers of Joe and Kuo, which SciPy has."""
    dimensions, count, start = scalar("dim", dim), scalar("num_results", num_results), scalar("skip", skip)
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise ValueError(f"dim must be in [1, {_MAX_DIMENSIONS}], got {dimensions}")
    if count < 1 or start < 0:
        raise ValueError(f"num_results must be at least 1 and skip at least 0, got {count} and {start}")
    from scipy.stats.qmc import Sobol

    sequence = Sobol(dimensions, scramble=False, bits=32)
    # The origin comes first for SciPy; TensorFlow begins after it.
    sequence.fast_forward(start + 1)
    return np.asarray(sequence.random(count), dtype.numpy)


@op("UnravelIndex")
def UnravelIndex(indices: Array, dims: Array) -> Array:
    sizes = vector("dims", dims)
    if indices.ndim > 1:
        raise ValueError(f"indices must be a scalar or a vector, got shape {list(indices.shape)}")
    if not indices.size:
        raise ValueError("indices must not be empty")
    if min(sizes, default=1) < 1 or math.prod(sizes) > np.iinfo(np.int64).max:
        raise ValueError(f"dims must be the sizes of a tensor with elements, got {sizes}")
    if indices.max() >= math.prod(sizes):
        raise ValueError(f"indices must be less than the {math.prod(sizes)} elements of {sizes}, got {indices.max()}")
    out = np.empty((len(sizes), *indices.shape), indices.dtype)
    for i, size in enumerate(sizes):
        stride = math.prod(sizes[i + 1 :])
        # Negative indices aren't refused: TensorFlow divides them as C does.
        out[i] = np.fmod(truncate_divide(indices, indices.dtype.type(stride)), indices.dtype.type(size))
    return out
