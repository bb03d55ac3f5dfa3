from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.channels import check_both_formats
from ops.harness import check

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
INTS = [np.int32, np.int8, np.uint8, np.int16, np.uint16, np.int64]
LOOSE = {np.float16: 2e-2, ml_dtypes.bfloat16: 1e-1}


def numbers(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    """Few different values, so that windows have several maxima."""
    return np.random.default_rng([seed, *shape]).integers(0, 6, shape).astype(dtype)


@st.composite
def pools(draw: st.DrawFn, rank: int = 2) -> dict[str, Any]:
    """Sizes of the image and of the output, and the attributes between them."""
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    kernel, strides = (draw(st.tuples(*[st.integers(1, 3)] * rank)) for _ in range(2))
    sizes = draw(st.tuples(*[st.integers(3, 7)] * rank))
    outs = tuple(
        -(-n // s) if padding == "SAME" else (n - k) // s + 1 for n, k, s in zip(sizes, kernel, strides, strict=True)
    )
    attributes = {"ksize": [1, *kernel, 1], "strides": [1, *strides, 1], "padding": padding}
    ends = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    return {"image": (ends[0], *sizes, ends[1]), "output": (ends[0], *outs, ends[1]), "attributes": attributes}


@settings(max_examples=100, deadline=None)
@given(pools(), st.booleans(), st.sampled_from(["int32", "int64"]))
def test_argmax_is_the_first_of_the_largest(place: dict[str, Any], in_batch: bool, targmax: str) -> None:
    arguments = {**place["attributes"], "include_batch_in_index": in_batch}
    image = numbers(place["image"])
    _, argmax = check("MaxPoolWithArgmax", input=image, **arguments, Targmax=targmax, refused=False)
    if targmax == "int64":
        grad = numbers(place["output"], seed=1)
        check("MaxPoolGradWithArgmax", input=image, grad=grad, argmax=argmax, **arguments, refused=False)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
def test_argmax_of_every_dtype(dtype: Any) -> None:
    arguments = {"ksize": [1, 2, 3, 1], "strides": [1, 2, 1, 1], "padding": "SAME", "refused": False}
    _, argmax = check("MaxPoolWithArgmax", input=numbers((2, 5, 4, 3), dtype), **arguments)
    grad = numbers(argmax.shape, dtype, 1)
    check("MaxPoolGradWithArgmax", input=numbers((2, 5, 4, 3), dtype), grad=grad, argmax=argmax, **arguments)


def test_argmax_keeps_nan_in_first_place_alone() -> None:
    values = np.array([[np.nan, 1, 2, np.nan], [3, -np.inf, np.inf, 0], [-np.inf] * 4, [-np.inf] * 4], np.float32)
    arguments = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID", "refused": False}
    check("MaxPoolWithArgmax", input=values.reshape(1, 4, 4, 1), **arguments)


def test_gradients_go_past_nan_that_is_not_in_first_place() -> None:
    values = np.array([[np.nan, 1, 2, np.nan], [3, -np.inf, np.inf, 0], [-np.inf] * 4, [-np.inf] * 4], np.float32)
    image, grad = values.reshape(1, 4, 4, 1), np.array([1, np.inf, np.nan, 2], np.float32).reshape(1, 2, 2, 1)
    arguments = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID"}
    (output,) = check("MaxPool", input=image, **arguments)
    check("MaxPoolGrad", orig_input=image, orig_output=output, grad=grad, **arguments, refused=False)


@settings(max_examples=80, deadline=None)
@given(pools())
def test_gradients_of_pools(place: dict[str, Any]) -> None:
    image, grad = numbers(place["image"]), numbers(place["output"], seed=1)
    (output,) = check("MaxPool", input=image, **place["attributes"])
    arguments = {"orig_input": image, "orig_output": output, "grad": grad}
    images = ("orig_input", "orig_output", "grad")
    check_both_formats("MaxPoolGrad", images, **arguments, **place["attributes"], refused=False)
    moved = {key: np.array(value, np.int32) for key, value in place["attributes"].items() if key != "padding"}
    padding = place["attributes"]["padding"]
    check_both_formats("MaxPoolGradV2", images, **arguments, **moved, padding=padding, refused=False)
    shape = np.array(place["image"], np.int32)
    check_both_formats("AvgPoolGrad", ("grad",), orig_input_shape=shape, grad=grad, **place["attributes"])


@settings(max_examples=50, deadline=None)
@given(pools(rank=3))
def test_gradients_of_3d_pools(place: dict[str, Any]) -> None:
    image, grad = numbers(place["image"]), numbers(place["output"], seed=1)
    (output,) = check("MaxPool3D", input=image, **place["attributes"])
    arguments = {"orig_input": image, "orig_output": output, "grad": grad}
    images = ("orig_input", "orig_output", "grad")
    check_both_formats("MaxPool3DGrad", images, **arguments, **place["attributes"], refused=False)
    shape = np.array(place["image"], np.int32)
    check_both_formats("AvgPool3DGrad", ("grad",), orig_input_shape=shape, grad=grad, **place["attributes"])


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
def test_gradients_of_pools_of_every_dtype(dtype: Any) -> None:
    attributes: dict[str, Any] = {"ksize": [1, 3, 3, 1], "strides": [1, 2, 2, 1], "padding": "SAME", "refused": False}
    image, grad = numbers((2, 6, 5, 3), dtype), numbers((2, 3, 3, 3), dtype, 1)
    (output,) = check("MaxPool", input=image, **attributes)
    bounds = {"rtol": LOOSE.get(dtype), "atol": LOOSE.get(dtype)}
    check("MaxPoolGrad", orig_input=image, orig_output=output, grad=grad, **attributes, **bounds)
    if dtype in FLOATS:
        check("AvgPoolGrad", orig_input_shape=np.array(image.shape, np.int32), grad=grad, **attributes, **bounds)


def test_gradients_of_pools_refuse_other_shapes() -> None:
    attributes: dict[str, Any] = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID", "refused": True}
    image, output = numbers((1, 4, 4, 1)), numbers((1, 2, 2, 1))
    check("MaxPoolGrad", orig_input=image, orig_output=numbers((1, 2, 3, 1)), grad=output, **attributes)
    check("MaxPoolGrad", orig_input=image, orig_output=output, grad=numbers((1, 2, 3, 1)), **attributes)
    check("AvgPoolGrad", orig_input_shape=np.array([4, 4, 1], np.int32), grad=output, **attributes)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from(["SAME", "VALID"]),
    st.sampled_from([*FLOATS, *INTS]),
)
def test_dilation(
    sizes: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    rates: tuple[int, int],
    padding: str,
    dtype: Any,
) -> None:
    if padding == "VALID":
        sizes = (max(sizes[0], (kernel[0] - 1) * rates[0] + 1), max(sizes[1], (kernel[1] - 1) * rates[1] + 1))
    check(
        "Dilation2D",
        input=numbers((2, *sizes, 3), dtype),
        filter=numbers((*kernel, 3), dtype, 1),
        strides=[1, *strides, 1],
        rates=[1, *rates, 1],
        padding=padding,
        refused=False,
    )


def test_dilation_wraps_integers_and_passes_over_nan() -> None:
    arguments = {"strides": [1, 1, 1, 1], "rates": [1, 1, 1, 1], "padding": "VALID", "refused": False}
    check("Dilation2D", input=numbers((1, 3, 3, 1), np.uint8), filter=np.full((2, 2, 1), 253, np.uint8), **arguments)
    values = np.array([[np.nan, 1, np.nan], [np.nan, np.nan, np.nan]], np.float32).reshape(1, 2, 3, 1)
    check("Dilation2D", input=values, filter=np.zeros((2, 2, 1), np.float32), **arguments)


def test_dilation_refuses_other_depths() -> None:
    arguments = {"strides": [1, 1, 1, 1], "rates": [1, 1, 1, 1], "padding": "VALID", "refused": True}
    check("Dilation2D", input=numbers((1, 3, 3, 2)), filter=numbers((2, 2, 1)), **arguments)
    check("Dilation2D", input=numbers((3, 3, 2)), filter=numbers((2, 2, 2)), **arguments)
