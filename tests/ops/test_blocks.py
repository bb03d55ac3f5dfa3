"""Blocks moved between space, depth and batch, and patches, against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check
from ops.samples import PLAIN, QUANTIZED, check_if_known, ints, sample, sequence

from graphrack.ops import registry


@pytest.mark.parametrize("dtype", [*PLAIN, QUANTIZED[0]], ids=str)
def test_every_dtype(dtype: np.dtype) -> None:
    value = sample((2, 4, 6, 8), dtype)
    check_if_known("SpaceToDepth", input=value, block_size=2)
    check_if_known("DepthToSpace", input=value, block_size=2)
    check_if_known("SpaceToBatch", input=value, paddings=ints([1, 1], [0, 3]), block_size=3)
    check_if_known("BatchToSpace", input=np.concatenate([value, value]), crops=ints([1, 0], [2, 1]), block_size=2)
    check_if_known("SpaceToBatchND", static_shapes=True, input=value, block_shape=ints(2), paddings=ints([1, 1]))
    check_if_known("BatchToSpaceND", static_shapes=True, input=value, block_shape=ints(2), crops=ints([1, 1]))
    sizes = {"ksizes": [1, 2, 3, 1], "strides": [1, 2, 1, 1], "rates": [1, 1, 2, 1]}
    check_if_known("ExtractImagePatches", images=value, padding="SAME", **sizes)
    volume = value.reshape(2, 4, 3, 2, 8)
    sizes = {"ksizes": [1, 2, 2, 1, 1], "strides": [1, 1, 2, 1, 1]}
    check_if_known("ExtractVolumePatches", input=volume, padding="VALID", **sizes)


@pytest.mark.parametrize("block", [2, 3])
def test_depth_and_space_agree(block: int) -> None:
    for shape in ((2, 6, 6, 9), (1, 4, 6, 4), (2, 0, 4, 4), (2, 4, 4), (1, 2, 2, 3)):
        check("SpaceToDepth", input=sequence(shape), block_size=block)
        check("DepthToSpace", input=sequence(shape), block_size=block)


@pytest.mark.parametrize("name", ["SpaceToDepth", "DepthToSpace"])
def test_formats_that_tensorflow_has_on_gpus_alone_mean_the_same(name: str) -> None:
    value = sequence((2, 4, 6, 16))
    op = registry.lookup(name)
    expected = op.bind("n", {"block_size": 2}, {})(value)
    first = op.bind("n", {"block_size": 2, "data_format": b"NCHW"}, {})(value.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), expected)
    # NCHW_VECT_C is NCHW with each 4 channels put last.
    vectors = value.transpose(0, 3, 1, 2).reshape(2, 4, 4, 4, 6).transpose(0, 1, 3, 4, 2)
    if name == "SpaceToDepth":
        last = op.bind("n", {"block_size": 2, "data_format": b"NCHW_VECT_C"}, {})(vectors)
        batch, groups, high, wide, _ = last.shape
        flat = last.transpose(0, 1, 4, 2, 3).reshape(batch, groups * 4, high, wide)
        np.testing.assert_array_equal(flat.transpose(0, 2, 3, 1), expected)
    else:
        back = registry.lookup("SpaceToDepth").bind("n", {"block_size": 2, "data_format": b"NCHW_VECT_C"}, {})
        again = op.bind("n", {"block_size": 2, "data_format": b"NCHW_VECT_C"}, {})(back(vectors))
        np.testing.assert_array_equal(again, vectors)


@pytest.mark.parametrize("seed", range(60))
def test_blocks_in_any_number_of_dimensions_agree(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(0, 4))
    rest = random.integers(1, 5, count + int(random.integers(0, 2)))
    blocks = random.integers(1, 4, count).astype(np.int32)
    borders = random.integers(0, 4, (count, 2)).astype([np.int32, np.int64][seed % 2])
    value = sequence((int(random.integers(1, 7)), *rest))
    check("SpaceToBatchND", static_shapes=True, input=value, block_shape=blocks, paddings=borders)
    check("BatchToSpaceND", static_shapes=True, input=value, block_shape=blocks, crops=borders // 2)
    whole = sequence((int(value.shape[0] * np.prod(blocks)), *rest))
    check("BatchToSpaceND", static_shapes=True, input=whole, block_shape=blocks, crops=borders // 2)


def test_what_is_no_block_is_refused() -> None:
    value = np.ones((2, 4))
    check("SpaceToBatchND", refused=True, static_shapes=True, input=value, block_shape=ints(2), paddings=ints([-1, 1]))
    check("SpaceToBatchND", refused=True, static_shapes=True, input=value, block_shape=ints(0), paddings=ints([0, 0]))
    check("SpaceToBatchND", refused=True, static_shapes=True, input=value, block_shape=ints(3), paddings=ints([0, 0]))
    check("BatchToSpaceND", refused=False, static_shapes=True, input=value, block_shape=ints(2), crops=ints([4, 4]))
    check("BatchToSpaceND", refused=True, static_shapes=True, input=value, block_shape=ints(2), crops=ints([5, 4]))
    check("BatchToSpaceND", refused=True, static_shapes=True, input=value, block_shape=ints(2), crops=ints([-1, 4]))
    check("BatchToSpaceND", refused=True, static_shapes=True, input=value, block_shape=ints(3), crops=ints([0, 0]))
    check("SpaceToBatch", refused=True, input=value, paddings=ints([0, 0], [0, 0]), block_size=2)
    check("BatchToSpace", refused=True, input=value, crops=ints([0, 0], [0, 0]), block_size=2)


@pytest.mark.parametrize("seed", range(60))
def test_patches_agree(seed: int) -> None:
    random = np.random.default_rng(seed)
    ksizes, strides, rates = ([1, *(int(n) for n in random.integers(1, 5, 2)), 1] for _ in range(3))
    images = sequence((2, *random.integers(0, 8, 2), 3))
    for padding in ("SAME", "VALID"):
        check("ExtractImagePatches", images=images, ksizes=ksizes, strides=strides, rates=rates, padding=padding)
    ksizes, strides = ([1, *(int(n) for n in random.integers(1, 4, 3)), 1] for _ in range(2))
    volume = sequence((1, *random.integers(1, 6, 3), 2))
    for padding in ("SAME", "VALID"):
        check("ExtractVolumePatches", input=volume, ksizes=ksizes, strides=strides, padding=padding)


def test_patches_over_depth_are_refused() -> None:
    sizes = {"strides": [1, 1, 1, 1], "rates": [1, 1, 1, 1], "padding": "SAME"}
    check("ExtractImagePatches", refused=True, images=np.ones((2, 4, 4, 1)), ksizes=[1, 2, 2, 2], **sizes)
    check("ExtractImagePatches", refused=True, images=np.ones((2, 4, 4)), ksizes=[1, 2, 2, 1], **sizes)
