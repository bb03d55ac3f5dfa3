"""The same elements in another shape, against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.samples import ALL, NUMBERS, PLAIN, QUANTIZED, check_if_known, ints, sample, scalar, sequence

from graphrack.ops import registry


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_dtype(dtype: np.dtype) -> None:
    value = sample((2, 3, 4), dtype)
    check("Reshape", refused=False, tensor=value, shape=ints(4, -1))
    check("Squeeze", refused=False, input=value[:1])
    check("Squeeze", refused=False, input=value[:1, :1, :1])
    check("ExpandDims", refused=False, input=value, axis=scalar(1))
    known = [
        check_if_known("Transpose", x=value, perm=ints(2, 0, 1)),
        check_if_known("ConjugateTranspose", x=value, perm=ints(2, 0, 1)),
        check_if_known("Tile", input=value, multiples=ints(2, 1, 3)),
        check_if_known("BroadcastTo", input=value[:, :1], shape=ints(2, 5, 4)),
        check_if_known("BroadcastTo", input=value[0, 0, 0, ...], shape=ints(2, 3)),
    ]
    assert all(known) or dtype in QUANTIZED or str(dtype) in ("uint16", "uint64")


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [((2, 3), s) for s in ([6], [-1], [3, -1], [4, -1], [0, -1], [], [-1, -1], [-2], [2, 3, 1], [7])]
    + [((), s) for s in ([], [1], [-1], [1, -1], [0])]
    + [((2, 0), s) for s in ([0, -1], [-1, 4], [0, 4, -1], [4, -1, 0], [0], [0, -2], [1, 0, -1, 3])]
    + [((6, 0), s) for s in ([0, 4, -1], [0, 4, 0, -1], [-1, 4, 0])],
)  # fmt: skip
def test_reshape_agrees(shape: tuple[int, ...], sizes: list[int]) -> None:
    check("Reshape", tensor=sequence(shape), shape=np.array(sizes, np.int32))
    check("Reshape", tensor=sequence(shape), shape=np.array(sizes, np.int64))


def test_reshape_to_a_scalar_shape_means_a_vector() -> None:
    check("Reshape", refused=False, tensor=sequence((2, 3)), shape=scalar(6))
    check("Reshape", refused=True, tensor=sequence((2, 3)), shape=ints([2, 3]))


@pytest.mark.parametrize("dims", [[], [0], [-1], [1], [0, 2], [0, 0], [0, -4], [5], [-5], [3]])
def test_squeeze_agrees(dims: list[int]) -> None:
    check("Squeeze", input=sequence((1, 2, 1, 3)), axis=dims)
    check("Squeeze", input=sequence(()), axis=dims)


@pytest.mark.parametrize("axis", range(-4, 4))
def test_expand_dims_agrees(axis: int) -> None:
    for dim in (scalar(axis), scalar(axis, np.int64), ints(axis), ints([axis]), ints(axis, axis), ints()):
        check("ExpandDims", input=sequence((2, 3)), axis=dim)


@pytest.mark.parametrize("perm", [[0, 1, 2], [2, 1, 0], [-1, 0, 1], [0, 0, 1], [], [0], [1, 2, 3], [[0, 1, 2]]])
def test_transpose_agrees(perm: list[int]) -> None:
    for shape in ((2, 3, 4), (2, 0, 4), (), (3,)):
        check("Transpose", x=sequence(shape), perm=np.array(perm, np.int32))
        check("ConjugateTranspose", x=sequence(shape, np.complex64) * 1j, perm=np.array(perm, np.int64))


def test_invert_permutation_agrees() -> None:
    for perm in ([0, 1, 2], [2, 0, 1], [0], [], [1], [-1, 0], [0, -1], [0, 0], [[0]], 0):
        check("InvertPermutation", x=np.array(perm, np.int32))
        check("InvertPermutation", x=np.array(perm, np.int64))


@pytest.mark.parametrize("shape", [[3], [0, 3], [2, 3], [3, 1], [], [-1], [2, 2], [0], [1]])
def test_broadcast_to_agrees(shape: list[int]) -> None:
    for value in (sequence((3,)), sequence((1, 3)), sequence(()), sequence((0,)), sequence((1,))):
        check("BroadcastTo", input=value, shape=np.array(shape, np.int32))
    check("BroadcastTo", refused=True, input=value, shape=scalar(3))


def test_broadcast_of_shapes_agrees() -> None:
    random = np.random.default_rng(0)
    for _ in range(80):
        s0, s1 = (random.integers(0, 3, random.integers(0, 4)).astype(np.int32) for _ in range(2))
        check("BroadcastArgs", s0=s0, s1=s1)
        check("BroadcastGradientArgs", s0=s0, s1=s1)
    for same in ([1], [1, 1], [], [2, 1]):
        check("BroadcastGradientArgs", s0=np.array(same, np.int64), s1=np.array(same, np.int64))


@pytest.mark.parametrize("multiples", [[2], [2, 0], [-1, 2], [], [1, 1, 1], [3, 2], [[2, 2]]])
def test_tile_agrees(multiples: list[int]) -> None:
    for shape in ((2, 3), (0, 3), (), (3,)):
        check("Tile", input=sequence(shape), multiples=np.array(multiples, np.int32))


def test_tile_grad_sums_what_tile_repeated() -> None:
    # TensorFlow refuses the op in graphs of today; in those where it is allowed it undoes Tile.
    tile_grad = registry.lookup("TileGrad").function
    value = sequence((2, 3), np.float64)
    tiled = np.tile(value, (2, 4))
    np.testing.assert_array_equal(tile_grad(tiled, ints(2, 4)), value * 8)
    assert tile_grad(np.ones(4, np.int8), ints(4)).dtype == np.int8
    with pytest.raises(ValueError, match="must divide"):
        tile_grad(tiled, ints(3, 1))


def test_bitcast_between_every_pair_of_dtypes_agrees() -> None:
    dtypes = [*NUMBERS, *QUANTIZED]
    for source in dtypes:
        for target in dtypes:
            check("Bitcast", input=sample((2, 2), source), type=tf.as_dtype(target))
    for shape in ((8,), (2, 4), (0, 2), (), (3,)):
        for source, target in ((np.uint8, tf.int64), (np.int16, tf.int64), (np.float64, tf.uint8)):
            check("Bitcast", input=sample(shape, source), type=target)


def test_a_size_that_memory_cannot_hold_is_an_error() -> None:
    for name, arguments in {
        "BroadcastTo": (np.float32(1), ints(2**31 - 1, 2**31 - 1)),
        "Tile": (np.ones((1, 1)), ints(2**31 - 1, 2**31 - 1)),
        "Fill": (ints(2**31 - 1, 2**31 - 1), np.float32(1)),
    }.items():
        with pytest.raises((MemoryError, ValueError)):
            registry.lookup(name).bind("n", {}, {})(*arguments)


def test_strings_of_rank_zero_stay_arrays() -> None:
    for dtype in PLAIN:
        value = sample((1, 1), dtype)
        for name, arguments in {
            "Squeeze": {"input": value},
            "Reshape": {"tensor": value, "shape": ints()},
        }.items():
            check(name, refused=False, **arguments)
