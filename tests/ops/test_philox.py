"""Philox and the distributions drawn from it."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrack.formats import dtypes
from graphrack.ops import philox
from graphrack.ops.philox import Generator, Stream
from graphrack.ops.philox import philox as block

U64, U128 = st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1)


def test_blocks_are_those_of_the_paper() -> None:
    # The known answers that come with the authors' Random123: zeros, ones, and digits of pi.
    assert block(0, 0) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert block(2**64 - 1, 2**128 - 1) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    key, counter = 0x299F31D0A4093822, 0x0370734413198A2E85A308D3243F6A88
    assert block(key, counter) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


@settings(max_examples=60)
@given(key=U64, counter=U128, count=st.integers(0, 40))
def test_many_blocks_are_the_single_ones_in_turn(key: int, counter: int, count: int) -> None:
    found = Stream(key, counter).blocks(count)
    assert found.dtype == np.uint32
    assert found.tolist() == [list(block(key, (counter + i) % 2**128)) for i in range(count)]


@pytest.mark.parametrize("counter", [2**32 - 3, 2**64 - 9, 2**96 - 4, 2**128 - 17])
def test_counters_carry_from_word_to_word(counter: int) -> None:
    found = Stream(7, counter).blocks(50)
    assert found.tolist() == [list(block(7, (counter + i) % 2**128)) for i in range(50)]


def test_blocks_at_offsets_are_those_after_as_many_skipped() -> None:
    stream = Stream(5, 2**64 - 20)
    offsets = np.array([3, 0, 19, 20, 21, 2**40], np.uint64)
    found = stream.blocks_at(offsets)
    assert found.tolist() == [list(block(*stream.skip(int(o)))) for o in offsets]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 100, 4 * 8192 + 5])
def test_words_are_the_blocks_in_a_row(count: int) -> None:
    stream = Stream(1, 2)
    assert np.array_equal(stream.words(count), stream.blocks(count).ravel()[:count])


@pytest.mark.parametrize("dtype", [dtypes.HALF, dtypes.BFLOAT16, dtypes.FLOAT, dtypes.DOUBLE], ids=str)
@pytest.mark.parametrize("kind", [philox.uniform, philox.normal, philox.truncated_normal])
def test_numbers_do_not_depend_on_how_many_are_drawn(kind, dtype) -> None:
    distribution = kind(dtype)
    many = distribution.fill(Stream(3, 4), (40_001,))
    assert many.dtype == dtype.numpy
    for count in (0, 1, 2, 3, 4, 5, 7, 33, 32_768, 32_769):
        few = distribution.fill(Stream(3, 4), (count,))
        assert few.dtype == dtype.numpy
        assert np.array_equal(few, many[:count])
    assert np.array_equal(distribution.fill(Stream(3, 4), (3, 0, 2)), np.empty((3, 0, 2)))
    assert np.array_equal(distribution.fill(Stream(3, 4), (5, 4)), many[:20].reshape(5, 4))


def test_uniform_numbers_are_at_least_0_and_less_than_1() -> None:
    for dtype in (dtypes.HALF, dtypes.BFLOAT16, dtypes.FLOAT, dtypes.DOUBLE):
        numbers = philox.uniform(dtype).fill(Stream(1, 1), (100_000,)).astype(np.float64)
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert abs(numbers.mean() - 0.5) < 0.01


def test_truncated_numbers_are_less_than_2_before_rounding() -> None:
    for dtype in (dtypes.FLOAT, dtypes.DOUBLE):
        assert np.abs(philox.truncated_normal(dtype).fill(Stream(1, 1), (100_000,))).max() < 2


@pytest.mark.parametrize("dtype", [dtypes.INT32, dtypes.STRING, dtypes.DTYPES[8]], ids=str)
def test_floating_point_numbers_have_no_other_dtypes(dtype) -> None:
    for kind in (philox.uniform, philox.normal, philox.truncated_normal):
        with pytest.raises(ValueError, match="have dtype half, bfloat16, float32 or float64, found"):
            kind(dtype)


def test_integers_have_no_other_dtypes() -> None:
    with pytest.raises(ValueError, match="uniform integer numbers have dtype int32 or int64, found uint8"):
        philox.integers(dtypes.UINT8, 0, 3)
    with pytest.raises(ValueError, match=r"full-range integer numbers have dtype .* found float32"):
        philox.full_integers(dtypes.FLOAT)


def test_generators_without_seeds_differ() -> None:
    streams = [Generator(0, 0).reserve(1) for _ in range(20)]
    assert len(set(streams)) == 20


def test_reserving_is_atomic() -> None:
    generator = Generator(1, 2)
    taken: list[int] = []

    def take() -> None:
        mine = [generator.reserve(3).counter for _ in range(500)]
        taken.extend(mine)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [(2 << 64) + 3 * i for i in range(4000)]


def test_shapes_must_be_vectors_of_sizes() -> None:
    assert philox.shape_of(np.array([2, 0], np.int64)) == (2, 0)
    assert philox.shape_of(np.array([], np.int32)) == ()
    with pytest.raises(ValueError, match=r"vector of int32 or int64, found int32 of shape \[\]"):
        philox.shape_of(np.array(3, np.int32))
    with pytest.raises(ValueError, match=r"shape \[2, -1\] has a negative size"):
        philox.shape_of(np.array([2, -1], np.int32))


def test_scrambled_seeds_are_pairs() -> None:
    with pytest.raises(ValueError, match=r"seed must have shape \[2\], found \[3\]"):
        philox.scrambled(np.array([1, 2, 3]))


@pytest.mark.parametrize(
    "distribution",
    [
        philox.uniform(dtypes.FLOAT),
        philox.uniform(dtypes.DOUBLE),
        philox.normal(dtypes.BFLOAT16),
        philox.truncated_normal(dtypes.HALF),
        philox.truncated_normal(dtypes.DOUBLE),
        philox.integers(dtypes.INT64, -3, 1 << 40),
    ],
    ids=["float", "double", "bfloat16", "truncated half", "truncated double", "int64"],
)
def test_numbers_made_ahead_are_those_that_each_run_would_make(distribution: philox.Distribution) -> None:
    generator, stream = Generator(5, 6), philox.seeded(5, 6)
    # Repeated, changed, too many to be made ahead, none, and others that take from the generator in between.
    shapes = [(3,)] * 40 + [(2, 5), (), (3,), (3,), (70, 90), (3,), (3,), (0,), (3,), (3,)] + [(40, 40)] * 3
    for run, shape in enumerate(shapes):
        if run % 9 == 5:
            assert generator.reserve(7) == stream
            stream = stream.skip(7)
        found = generator.fill(distribution, shape)
        np.testing.assert_array_equal(found, distribution.fill(stream, shape), strict=True)
        assert found.flags.writeable
        stream = stream.skip(math.prod(shape) * philox.RESERVED)
