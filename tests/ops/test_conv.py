from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def numbers(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    values = np.random.default_rng([seed, *shape]).normal(size=shape)
    return (values * 8 if np.dtype(dtype).kind in "iu" else values).astype(dtype)


def arranged(values: tuple[Any, ...], data_format: str, ends: Any = 1) -> list[Any]:
    """Values of spatial dimensions, with those of batch and depth where the format has them."""
    return [ends, ends, *values] if data_format in ("NCHW", "NCDHW") else [ends, *values, ends]


def image(shape: tuple[int, ...], data_format: str, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    values = numbers(shape, dtype)
    return np.ascontiguousarray(np.moveaxis(values, -1, 1)) if data_format in ("NCHW", "NCDHW") else values


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    data_format = draw(st.sampled_from(["NHWC", "NHWC", "NCHW"]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    depth, out_depth = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    sizes = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"]))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4)) if padding == "EXPLICIT" else ()
    explicit = arranged((pads[:2], pads[2:]), data_format, (0, 0)) if pads else []
    return {
        "input": image((draw(st.integers(0, 3)), *sizes, depth), data_format),
        "filter": numbers((*kernel, depth // groups, out_depth), seed=1),
        "strides": arranged(draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), data_format),
        "dilations": arranged(draw(st.tuples(st.integers(1, 2), st.integers(1, 2))), data_format),
        "padding": padding,
        "explicit_paddings": [n for pair in explicit for n in pair],
        "data_format": data_format,
    }


@settings(max_examples=250, deadline=None)
@given(convolutions())
def test_conv2d_of_any_attributes(arguments: dict[str, Any]) -> None:
    check("Conv2D", **arguments)


@pytest.mark.parametrize("dtype", [*FLOATS, np.int32])
def test_conv2d_of_every_dtype(dtype: Any) -> None:
    for padding in ("SAME", "VALID"):
        arguments = {"strides": [1, 2, 1, 1], "padding": padding, "refused": False}
        check("Conv2D", input=numbers((2, 6, 5, 3), dtype), filter=numbers((3, 2, 3, 4), dtype), **arguments)


def test_conv2d_unrolls_large_inputs_in_pieces() -> None:
    for batch, rows, columns in ((2, 90, 70), (1, 3, 40_000), (40, 8, 8)):
        data, weights = numbers((batch, rows, columns, 3)), numbers((5, 5, 3, 7))
        check("Conv2D", input=data, filter=weights, strides=[1, 1, 1, 1], padding="SAME", refused=False, atol=1e-4)
    data, weights = numbers((1, 120, 120, 8)), numbers((3, 3, 4, 6))
    check("Conv2D", input=data, filter=weights, strides=[1, 1, 1, 1], padding="SAME", refused=False, atol=1e-4)


def test_conv2d_of_one_by_one_filters() -> None:
    for strides in ([1, 1, 1, 1], [1, 2, 3, 1]):
        for padding in ("SAME", "VALID"):
            arguments = {"strides": strides, "padding": padding, "refused": False}
            check("Conv2D", input=numbers((2, 7, 8, 5)), filter=numbers((1, 1, 5, 3)), **arguments)


@pytest.mark.parametrize(
    ("input", "filter", "changes"),
    [
        ((1, 4, 4, 3), (2, 2, 2, 4), {}),  # depth no multiple of the filter's
        ((1, 4, 4, 6), (2, 2, 2, 4), {}),  # output depth no multiple of the groups
        ((4, 4, 3), (2, 2, 3, 4), {}),
        ((1, 4, 4, 3), (2, 3, 4), {}),
        ((1, 2, 2, 3), (5, 5, 3, 4), {}),  # no place for the window
        ((1, 2, 2, 3), (3, 3, 3, 4), {}),
        ((1, 2, 2, 3), (4, 4, 3, 4), {"strides": [1, 3, 3, 1]}),
        ((1, 4, 4, 3), (2, 2, 3, 0), {}),
        ((1, 4, 4, 3), (0, 2, 3, 4), {}),
        ((1, 4, 4, 0), (2, 2, 0, 4), {}),
        ((1, 4, 4, 0), (2, 2, 3, 4), {}),
        ((1, 0, 4, 3), (2, 2, 3, 4), {}),
        ((1, 0, 4, 3), (2, 2, 3, 4), {"padding": "SAME"}),
        ((1, 4, 4, 3), (2, 2, 3, 4), {"strides": [2, 1, 1, 1]}),
        ((1, 4, 4, 3), (2, 2, 3, 4), {"strides": [1, 1, 1, 2]}),
        ((1, 4, 4, 3), (2, 2, 3, 4), {"dilations": [1, 1, 1, 2]}),
        ((1, 4, 4, 3), (2, 2, 3, 4), {"strides": [1, 0, 1, 1]}),
        ((1, 4, 4, 3), (2, 2, 3, 4), {"strides": [1, 1]}),
        ((1, 4, 4, 3), (2, 2, 3, 4), {"explicit_paddings": [0, 0, 1, 1, 1, 1, 0, 0]}),
        ((1, 4, 4, 3), (2, 2, 3, 4), {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 1, 1, 1, 1, 0]}),
        ((1, 4, 4, 3), (2, 2, 3, 4), {"padding": "EXPLICIT", "explicit_paddings": [0, 0, -1, 1, 1, 1, 0, 0]}),
        ((1, 4, 4, 3), (2, 2, 3, 4), {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 1]}),
    ],
)
def test_conv2d_refuses_what_tensorflow_refuses(
    input: tuple[int, ...], filter: tuple[int, ...], changes: dict[str, Any]
) -> None:
    arguments = {"strides": [1, 1, 1, 1], "padding": "VALID"} | changes
    check("Conv2D", input=numbers(input), filter=numbers(filter), **arguments)


@st.composite
def volumes(draw: st.DrawFn) -> dict[str, Any]:
    data_format = draw(st.sampled_from(["NDHWC", "NDHWC", "NCDHW"]))
    three = st.tuples(*[st.integers(1, 3)] * 3)
    depth = draw(st.integers(1, 3))
    return {
        "input": image((draw(st.integers(0, 2)), *draw(st.tuples(*[st.integers(1, 6)] * 3)), depth), data_format),
        "filter": numbers((*draw(three), depth, draw(st.integers(1, 3))), seed=1),
        "strides": arranged(draw(three), data_format),
        "dilations": arranged(draw(st.sampled_from([(1, 1, 1), (1, 1, 1), (2, 1, 2)])), data_format),
        "padding": draw(st.sampled_from(["SAME", "VALID"])),
        "data_format": data_format,
    }


@settings(max_examples=80, deadline=None)
@given(volumes())
def test_conv3d_of_any_attributes(arguments: dict[str, Any]) -> None:
    check("Conv3D", **arguments)


@pytest.mark.parametrize("dtype", FLOATS)
def test_conv3d_of_every_dtype(dtype: Any) -> None:
    arguments = {"strides": [1, 1, 2, 1, 1], "padding": "SAME", "refused": False}
    check("Conv3D", input=numbers((1, 4, 5, 3, 2), dtype), filter=numbers((2, 3, 2, 2, 3), dtype), **arguments)


@st.composite
def depthwise(draw: st.DrawFn) -> dict[str, Any]:
    data_format = draw(st.sampled_from(["NHWC", "NHWC", "NCHW"]))
    padding = draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"]))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4)) if padding == "EXPLICIT" else ()
    explicit = arranged((pads[:2], pads[2:]), data_format, (0, 0)) if pads else []
    depth, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    dilation = draw(st.sampled_from([1, 1, 2]))
    return {
        "input": image((draw(st.integers(0, 2)), *draw(st.tuples(*[st.integers(1, 8)] * 2)), depth), data_format),
        "filter": numbers((*draw(st.tuples(*[st.integers(1, 3)] * 2)), depth, draw(st.integers(1, 3))), seed=1),
        "strides": arranged((stride, stride), data_format),
        "dilations": arranged((dilation, dilation), data_format),
        "padding": padding,
        "explicit_paddings": [n for pair in explicit for n in pair],
        "data_format": data_format,
    }


@settings(max_examples=150, deadline=None)
@given(depthwise())
def test_depthwise_of_any_attributes(arguments: dict[str, Any]) -> None:
    check("DepthwiseConv2dNative", **arguments)


@pytest.mark.parametrize("dtype", FLOATS)
def test_depthwise_of_every_dtype(dtype: Any) -> None:
    arguments = {"strides": [1, 2, 2, 1], "padding": "SAME", "refused": False}
    check("DepthwiseConv2dNative", input=numbers((2, 6, 5, 3), dtype), filter=numbers((3, 2, 3, 2), dtype), **arguments)


def test_depthwise_of_large_inputs() -> None:
    arguments = {"strides": [1, 1, 1, 1], "padding": "SAME", "refused": False}
    check("DepthwiseConv2dNative", input=numbers((2, 60, 50, 64)), filter=numbers((3, 3, 64, 1)), **arguments)
