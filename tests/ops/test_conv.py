from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.channels import check_both_formats
from ops.harness import check

from graphrack.formats.dtypes import DOUBLE, FLOAT
from graphrack.ops.conv import DepthwiseConv2dNative
from graphrack.ops.registry import lookup

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def numbers(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    values = np.random.default_rng([seed, *shape]).normal(size=shape)
    return (values * 8 if np.dtype(dtype).kind in "iu" else values).astype(dtype)


# TensorFlow's convolution of an empty batch of floats has its input's shape; that of doubles is right.
BATCHES = st.sampled_from([(1, np.float32), (2, np.float32), (3, np.float64), (0, np.float64)])


def paddings(draw: st.DrawFn) -> dict[str, Any]:
    padding = draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"]))
    explicit = [0, 0, *draw(st.tuples(*[st.integers(0, 3)] * 4)), 0, 0] if padding == "EXPLICIT" else []
    return {"padding": padding, "explicit_paddings": explicit}


def sizes_for(draw: st.DrawFn, padding: str, kernel: tuple[int, ...], dilations: tuple[int, ...]) -> tuple[int, ...]:
    """Where TensorFlow's kernel for floats is right: it makes up a shape where windows don't fit, and loses
    columns of images one column wide.
    """
    least = [4 if padding == "SAME" else (k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return draw(st.tuples(*(st.integers(n, n + 8) for n in least)))


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    depth, out_depth = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    pads = paddings(draw)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    least = [1 if pads["padding"] == "SAME" else (k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = draw(st.tuples(*(st.integers(n, n + 8) for n in least)))
    return {
        "input": numbers((draw(st.integers(0, 3)), *sizes, depth), np.float64),
        "filter": numbers((*kernel, depth // groups, out_depth), np.float64, seed=1),
        "strides": [1, *draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), 1],
        "dilations": [1, *dilations, 1],
        **pads,
    }


@settings(max_examples=200, deadline=None)
@given(convolutions())
def test_conv2d_of_any_attributes(arguments: dict[str, Any]) -> None:
    check_both_formats("Conv2D", ("input",), **arguments)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5)])
def test_conv2d_of_floats(kernel: tuple[int, int], padding: str, stride: int) -> None:
    for groups, dilation in ((1, 1), (2, 1), (1, 2)):
        check_both_formats(
            "Conv2D",
            ("input",),
            input=numbers((2, 9, 11, 4)),
            filter=numbers((*kernel, 4 // groups, 6)),
            strides=[1, stride, stride, 1],
            dilations=[1, dilation, dilation, 1],
            padding=padding,
            refused=False,
        )


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
    ],
)
def test_conv2d_refuses_what_tensorflow_refuses(
    input: tuple[int, ...], filter: tuple[int, ...], changes: dict[str, Any]
) -> None:
    arguments = {"strides": [1, 1, 1, 1], "padding": "VALID"} | changes
    # In doubles: TensorFlow's kernel for floats gives up the process, or makes up a shape, at some of these.
    check("Conv2D", input=numbers(input, np.float64), filter=numbers(filter, np.float64), **arguments)


@st.composite
def volumes(draw: st.DrawFn) -> dict[str, Any]:
    three = st.tuples(*[st.integers(1, 3)] * 3)
    kernel, depth = draw(three), draw(st.integers(1, 3))
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    batch, dtype = draw(BATCHES)
    dilations, strides = draw(st.sampled_from([(1, 1, 1), (1, 1, 1), (2, 1, 2)])), draw(three)
    if dtype != np.float32:  # TensorFlow's kernel for doubles knows no dilation, and centres windows smaller than
        dilations = strides = (1, 1, 1)  # their stride, against its own rule for SAME
    sizes = sizes_for(draw, padding, kernel, dilations)
    if strides[1] < strides[2]:
        depth = max(depth, 2)  # of one channel oneDNN gives zeros on some processors where one column comes out
    return {
        "input": numbers((batch, *sizes, depth), dtype),
        "filter": numbers((*kernel, depth, draw(st.integers(1, 3))), dtype, seed=1),
        "strides": [1, *strides, 1],
        "dilations": [1, *dilations, 1],
        "padding": padding,
    }


@settings(max_examples=80, deadline=None)
@given(volumes())
def test_conv3d_of_any_attributes(arguments: dict[str, Any]) -> None:
    check_both_formats("Conv3D", ("input",), **arguments)


@pytest.mark.parametrize("dtype", FLOATS)
def test_conv3d_of_every_dtype(dtype: Any) -> None:
    loose = 2e-2 if dtype == np.float16 else None  # TensorFlow adds halves one by one, each time rounded
    arguments = {"strides": [1, 1, 2, 1, 1], "padding": "SAME", "refused": False, "rtol": loose, "atol": loose}
    check("Conv3D", input=numbers((1, 4, 5, 3, 2), dtype), filter=numbers((2, 3, 2, 2, 3), dtype), **arguments)


@st.composite
def depthwise(draw: st.DrawFn) -> dict[str, Any]:
    pads = paddings(draw)
    kernel = draw(st.tuples(*[st.integers(1, 3)] * 2))
    depth, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2]))
    batch, dtype = draw(BATCHES)
    if dtype != np.float32:
        dilation = 1  # TensorFlow's kernel for doubles knows no dilation
    sizes = sizes_for(draw, pads["padding"], kernel, (dilation, dilation))
    return {
        "input": numbers((batch, *sizes, depth), dtype),
        "filter": numbers((*kernel, depth, draw(st.integers(1, 3))), dtype, seed=1),
        "strides": [1, stride, stride, 1],
        "dilations": [1, dilation, dilation, 1],
        **pads,
    }


@settings(max_examples=150, deadline=None)
@given(depthwise())
def test_depthwise_of_any_attributes(arguments: dict[str, Any]) -> None:
    check_both_formats("DepthwiseConv2dNative", ("input",), **arguments)


@pytest.mark.parametrize("dtype", FLOATS)
def test_depthwise_of_every_dtype(dtype: Any) -> None:
    arguments = {"strides": [1, 2, 2, 1], "padding": "SAME", "refused": False}
    check("DepthwiseConv2dNative", input=numbers((2, 6, 5, 3), dtype), filter=numbers((3, 2, 3, 2), dtype), **arguments)


def test_depthwise_of_large_inputs() -> None:
    arguments = {"strides": [1, 1, 1, 1], "padding": "SAME", "refused": False}
    check("DepthwiseConv2dNative", input=numbers((2, 60, 50, 64)), filter=numbers((3, 3, 64, 1)), **arguments)


@pytest.mark.parametrize("strides", [[1, 1, 1, 1], [1, 2, 2, 1]])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_depthwise_of_a_large_batch(strides: list[int], padding: str) -> None:
    """Which is computed some images at a time, each in memory that the ones before had."""
    batch = {"input": numbers((20, 40, 50, 32)), "filter": numbers((3, 3, 32, 1))}
    check("DepthwiseConv2dNative", **batch, strides=strides, padding=padding)


@pytest.mark.parametrize("shape", [(1, 5, 1, 1), (2, 1, 6, 1), (1, 6, 1, 3), (3, 1, 1, 2), (1, 4, 5, 1)])
@pytest.mark.parametrize("turned", [False, True])
def test_depthwise_of_narrow_views(shape: tuple[int, ...], turned: bool) -> None:
    """Dimensions of one element may have any stride."""
    image = numbers(shape, np.float64)
    if turned:
        image = numbers((shape[0], *shape[:0:-1]), np.float64).transpose(0, 3, 2, 1)
    filter = numbers((1, 1, shape[-1], 2), np.float64, seed=1)
    kernel = DepthwiseConv2dNative(T=DOUBLE, strides=[1, 1, 1, 1], padding=b"VALID")
    expected = (image[..., None] * filter[0, 0]).reshape(*shape[:-1], -1)
    np.testing.assert_allclose(kernel(image, filter), expected, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_conv_of_two_spatial_dimensions(arguments: dict[str, Any]) -> None:
    arguments["filter"] = np.repeat(
        arguments["filter"], arguments["input"].shape[-1] // arguments["filter"].shape[2], 2
    )
    if arguments["input"].shape[0]:
        check("Conv", **arguments)
        arguments["input"] = arguments["input"][None]
        check("Conv", **arguments, batch_dims=2)


def test_conv_of_three_spatial_dimensions_and_of_other_ranks() -> None:
    image, filter = numbers((2, 3, 5, 6, 4)), numbers((2, 3, 2, 4, 3), seed=1)
    for padding in ("SAME", "VALID"):
        check("Conv", input=image, filter=filter, strides=[1, 1, 2, 1, 1], padding=padding, refused=False)
    check("Conv", input=image[0], filter=filter[0], strides=[1, 1, 1, 1], padding="SAME", refused=False)
    check("Conv", input=image[0], filter=filter, strides=[1, 1, 1, 1, 1], padding="SAME", refused=True)
    check("Conv", input=image[0, 0], filter=filter[0, 0], strides=[1, 1, 1], padding="SAME", refused=True)
    check(
        "Conv", input=image[0].astype(np.int32), filter=filter[0].astype(np.int32), strides=[1, 1, 1, 1], padding="SAME"
    )


def test_conv_has_channels_first_and_groups_though_tensorflows_cpu_has_not() -> None:
    image, filter = numbers((2, 5, 6, 4)), numbers((3, 2, 2, 6), seed=1)
    conv, conv2d = lookup("Conv"), lookup("Conv2D")
    assert conv is not None
    assert conv2d is not None
    expected = conv2d.bind("n", {"T": FLOAT, "strides": [1, 2, 1, 1], "padding": b"SAME"}, {})(image, filter)
    attributes = {"T": FLOAT, "padding": b"SAME", "groups": 2}
    found = conv.bind("n", {**attributes, "strides": [1, 2, 1, 1]}, {})(image, filter)
    np.testing.assert_array_equal(found, expected)
    attributes |= {"strides": [1, 1, 2, 1], "data_format": b"CHANNELS_FIRST"}
    found = conv.bind("n", attributes, {})(image.transpose(0, 3, 1, 2), filter)
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), expected)
    with pytest.raises(ValueError, match="expected depth 4 in 3 groups"):
        conv.bind("n", {**attributes, "groups": 3}, {})(image.transpose(0, 3, 1, 2), filter)
