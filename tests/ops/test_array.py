"""Pass-throughs, facts about values, and arrays made from nothing, against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.samples import ALL, NUMBERS, PLAIN, ints, sample, scalar, text

SHAPES = [(), (0,), (2, 3), (2, 0, 3)]


@pytest.mark.parametrize(
    "name",
    ["Identity", "Snapshot", "StopGradient", "PreventGradient", "GuaranteeConst", "Copy", "CopyHost",
     "DebugIdentityV2"],
)  # fmt: skip
def test_what_passes_on_its_input_passes_every_dtype(name: str) -> None:
    for dtype in ALL if name == "Identity" else [np.dtype(np.float32)]:
        check(name, refused=False, input=sample((2, 3), dtype))
    check(name, refused=False, input=sample((), np.float32))


def test_pass_throughs_with_other_inputs_or_attributes() -> None:
    check("DeepCopy", refused=False, x=sample((2, 3)))
    check("DebugIdentity", refused=False, input=sample((2, 3)), tensor_name="x:0")
    check("DebugIdentityV3", refused=False, input=sample((2, 3)), tensor_name="x:0")
    check("PlaceholderWithDefault", refused=False, input=sample((2, 3)), shape=[2, None])
    check("IdentityN", refused=False, input=[sample((2, 3)), ints(1), text(b"a")])
    check("NoOp", refused=False)


@pytest.mark.parametrize("shape", [None, [], [2, 3], [None, 3], [2, None], [2, 4], [3], [2, 3, 1]])
def test_ensure_shape_refuses_what_does_not_fit(shape: list[int | None] | None) -> None:
    check("EnsureShape", input=sample((2, 3)), shape=shape)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_check_numerics_refuses_nan_and_infinity(dtype: str) -> None:
    for name in ("CheckNumerics", "CheckNumericsV2"):
        check(name, refused=False, tensor=np.array([1.0, -2.0], dtype), message="here")
        check(name, refused=False, tensor=np.zeros((0,), dtype), message="here")
        for bad in ([np.nan], [1, np.inf], [-np.inf, np.nan]):
            check(name, refused=True, tensor=np.array(bad, dtype), message="here")


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_size_and_rank_of_every_dtype(shape: tuple[int, ...]) -> None:
    for dtype in PLAIN:
        value = sample(shape, dtype)
        check("Shape", refused=False, input=value)
        check("Rank", refused=False, input=value)
    for out_type in (tf.int32, tf.int64):
        check("Shape", refused=False, input=value, out_type=out_type)
        check("Size", refused=False, input=value, out_type=out_type)
        check("ShapeN", refused=False, input=[value, value[..., None]], out_type=out_type)


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_filled_arrays_of_every_dtype(dtype: np.dtype) -> None:
    value = sample((1,), dtype)
    for dims in ([2, 3], [], [0, 2]):
        check("Fill", refused=False, dims=ints(*dims, dtype=np.int64), value=value.reshape(()))
    for shape in SHAPES:
        check("ZerosLike", refused=False, x=sample(shape, dtype))
        if dtype in NUMBERS or dtype.kind == "b":
            check("OnesLike", refused=False, x=sample(shape, dtype))


def test_fill_takes_old_scalars_and_vectors_for_each_other_and_refuses_the_rest() -> None:
    check("Fill", refused=False, dims=scalar(3), value=sample((1,)))
    check("Fill", refused=True, dims=ints(-1), value=sample(()))
    check("Fill", refused=True, dims=ints(2), value=sample((2,)))
    check("Fill", refused=True, dims=ints([2]), value=sample(()))


def test_empty_has_the_shape_that_is_asked_for() -> None:
    check("Empty", refused=False, shape=ints(2, 0), dtype=tf.float32, init=True)
    check("Empty", refused=False, shape=ints(2, 3), dtype=tf.string, init=True)
    check("Empty", refused=True, shape=ints(-2), dtype=tf.float32)
    check("Empty", refused=True, shape=scalar(2), dtype=tf.float32)
