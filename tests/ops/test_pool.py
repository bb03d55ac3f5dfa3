from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.channels import check_both_formats
from ops.harness import check

from graphrack.ops.registry import lookup

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
INTS = [np.int32, np.int8, np.uint8, np.int16, np.uint16, np.int64]


def numbers(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    values = np.random.default_rng([seed, *shape]).normal(size=shape)
    if np.dtype(dtype).kind == "u":
        values = np.abs(values)
    return (values * 20 if np.dtype(dtype).kind in "iu" else values).astype(dtype)


@st.composite
def pools(draw: st.DrawFn, name: str = "input", explicit: bool = False, rank: int = 2) -> dict[str, Any]:
    small = st.tuples(*[st.integers(1, 4)] * rank)
    padding = draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"] if explicit else ["SAME", "VALID"]))
    # Windows that fit: TensorFlow's MaxPool divides by zero where there is no output.
    sizes = draw(st.tuples(*[st.integers(1 if padding == "SAME" else 4, 8)] * rank))
    arguments = {
        name: numbers((draw(st.integers(0, 2)), *sizes, draw(st.integers(1, 3)))),
        "ksize": [1, *draw(small), 1],
        "strides": [1, *draw(small), 1],
        "padding": padding,
    }
    if padding == "EXPLICIT":
        arguments["explicit_paddings"] = [0, 0, *draw(st.tuples(*[st.integers(0, 2)] * 4)), 0, 0]
    return arguments


@settings(max_examples=150, deadline=None)
@given(pools(explicit=True))
def test_max_pool_of_any_attributes(arguments: dict[str, Any]) -> None:
    check_both_formats("MaxPool", ("input",), **arguments)


@settings(max_examples=100, deadline=None)
@given(pools("value"))
def test_avg_pool_counts_only_elements_that_exist(arguments: dict[str, Any]) -> None:
    check_both_formats("AvgPool", ("value",), **arguments)


@settings(max_examples=50, deadline=None)
@given(pools())
def test_max_pool_v2_takes_sizes_as_inputs(arguments: dict[str, Any]) -> None:
    for key in ("ksize", "strides"):
        arguments[key] = np.array(arguments[key], np.int32)
    check_both_formats("MaxPoolV2", ("input",), **arguments)


@settings(max_examples=60, deadline=None)
@given(pools(rank=3))
def test_max_pool_3d_of_any_attributes(arguments: dict[str, Any]) -> None:
    check_both_formats("MaxPool3D", ("input",), **arguments)


@settings(max_examples=60, deadline=None)
@given(pools(rank=3))
def test_avg_pool_3d_of_any_attributes(arguments: dict[str, Any]) -> None:
    check_both_formats("AvgPool3D", ("input",), **arguments)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
def test_pools_of_every_dtype(dtype: Any) -> None:
    arguments = {"ksize": [1, 3, 2, 1], "strides": [1, 2, 2, 1]}
    for padding in ("SAME", "VALID"):
        check("MaxPool", input=numbers((2, 6, 5, 3), dtype), **arguments, padding=padding, refused=False)
        if dtype in FLOATS:
            check("AvgPool", value=numbers((2, 6, 5, 3), dtype), **arguments, padding=padding, refused=False)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_pools_of_nan_and_infinities(dtype: Any, padding: str) -> None:
    # Of NaN and -inf TensorFlow makes the least number, or -inf where the processor computes in float16.
    low = -8.0 if dtype is np.float16 else -np.inf
    values = np.array([[np.nan, 1, np.nan, np.inf], [2, 3, -np.inf, 1], [np.nan, low, 0, 0]], dtype)
    arguments = {"ksize": [1, 2, 2, 1], "strides": [1, 1, 1, 1], "padding": padding, "refused": False}
    check("MaxPool", input=values.reshape(1, 3, 4, 1), **arguments)
    check("AvgPool", value=values.reshape(1, 3, 4, 1), **arguments)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float32])
def test_3d_pools_of_every_dtype(dtype: Any) -> None:
    arguments = {"ksize": [1, 3, 2, 2, 1], "strides": [1, 2, 2, 1, 1], "padding": "SAME", "refused": False}
    check("MaxPool3D", input=numbers((2, 4, 6, 5, 3), dtype), **arguments)
    check("AvgPool3D", input=numbers((2, 4, 6, 5, 3), dtype), **arguments)


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ((1, 4, 4, 6), {"ksize": [1, 1, 1, 3], "strides": [1, 1, 1, 2]}),
        ((1, 4, 4, 5), {"ksize": [1, 1, 1, 3], "strides": [1, 1, 1, 3]}),
        ((1, 4, 4, 6), {"ksize": [1, 2, 1, 3], "strides": [1, 2, 1, 3]}),
        ((2, 4, 4, 3), {"ksize": [2, 1, 1, 1]}),
        ((2, 4, 4, 3), {"strides": [2, 1, 1, 1]}),
        ((4, 4, 3), {}),
        ((1, 1, 1, 3), {"ksize": [1, 3, 3, 1]}),
        ((1, 4, 4, 3), {"ksize": [1, 0, 2, 1]}),
        ((1, 0, 4, 3), {"ksize": [1, 2, 2, 1], "padding": "SAME"}),
        ((1, 4, 4, 0), {"ksize": [1, 2, 2, 1], "padding": "SAME"}),
    ],
)
@pytest.mark.parametrize("op", ["MaxPool", "AvgPool"])
def test_pools_of_odd_windows(op: str, shape: tuple[int, ...], changes: dict[str, Any]) -> None:
    arguments = {"ksize": [1, 2, 2, 1], "strides": [1, 1, 1, 1], "padding": "VALID"} | changes
    name = "input" if op == "MaxPool" else "value"
    check(op, **{name: numbers(shape)}, **arguments)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
def test_max_pool_over_depth(dtype: Any) -> None:
    arguments = {"ksize": [1, 1, 1, 3], "padding": "VALID", "refused": False}
    check("MaxPool", input=numbers((1, 4, 4, 6), dtype), **arguments, strides=[1, 1, 1, 3])
    check("MaxPool", input=numbers((2, 4, 4, 6), dtype), **arguments, strides=[1, 2, 1, 3])
    if dtype in FLOATS:
        special = np.array([[np.nan, np.nan, 1], [-np.inf, np.nan, 0], [np.nan, 1, 2], [-np.inf] * 3], dtype)
        check("MaxPool", input=special.reshape(1, 2, 2, 3), **arguments, strides=[1, 1, 1, 3])


@pytest.mark.parametrize(("window", "stride"), [(2, 1), (3, 2), (5, 3)])
def test_avg_pool_of_a_window_too_large_by_less_than_its_stride_is_empty(window: int, stride: int) -> None:
    arguments = {"ksize": [1, window, window, 1], "strides": [1, stride, stride, 1], "padding": "VALID"}
    check("AvgPool", value=numbers((1, 1, 1, 3)), **arguments, refused=False)


def test_pools_of_enormous_windows_take_no_longer_than_their_input() -> None:
    values, attributes = numbers((1, 5, 4, 2)), {"strides": [1, 2, 2, 1], "padding": "SAME"}
    (expected,) = check("MaxPool", input=values, ksize=[1, 5000, 5000, 1], **attributes, refused=False)
    implementation = lookup("MaxPool")
    assert implementation is not None
    size = 2**31 - 1  # TensorFlow runs through every position of such a window
    kernel = implementation.bind("op", {**attributes, "padding": b"SAME", "ksize": [1, size, size, 1]}, {})
    np.testing.assert_array_equal(kernel(values), expected)
