from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.channels import check_both_formats
from ops.harness import check
from ops.removed import check_removed

from graphrack.formats.dtypes import DOUBLE
from graphrack.ops.registry import lookup

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def numbers(shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def output_size(size: int, window: int, stride: int, dilation: int, padding: str, pads: tuple[int, int]) -> int:
    if padding == "SAME":
        return -(-size // stride)
    return (size + sum(pads) - (window - 1) * dilation - 1) // stride + 1


@st.composite
def placements(draw: st.DrawFn, rank: int = 2, one_stride: bool = False, one_dilation: bool = False) -> dict[str, Any]:
    """Sizes that fit each other: of an image, a kernel and the output, and the attributes between them."""
    spatial = range(rank)
    kernel = tuple(draw(st.integers(1, 3)) for _ in spatial)
    strides = tuple(draw(st.integers(1, 3)) for _ in spatial)
    strides = strides[:1] * rank if one_stride else strides
    dilations = (1,) * rank if one_dilation else tuple(draw(st.integers(1, 2)) for _ in spatial)
    padding = draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"] if rank == 2 else ["SAME", "VALID"]))
    explicit = padding == "EXPLICIT"
    pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) if explicit else (0, 0) for _ in spatial)
    sizes = tuple(draw(st.integers((k - 1) * d + 1, (k - 1) * d + 6)) for k, d in zip(kernel, dilations, strict=True))
    attributes: dict[str, Any] = {"strides": [1, *strides, 1], "dilations": [1, *dilations, 1], "padding": padding}
    if rank == 2:
        flat = [n for pair in pads for n in pair]
        attributes["explicit_paddings"] = [0, 0, *flat, 0, 0] if explicit else []
    outs = tuple(
        output_size(n, k, s, d, padding, pair)
        for n, k, s, d, pair in zip(sizes, kernel, strides, dilations, pads, strict=True)
    )
    return {"sizes": sizes, "kernel": kernel, "outs": outs, "attributes": attributes}


@settings(max_examples=120, deadline=None)
@given(placements(one_dilation=True), st.integers(0, 2), st.integers(1, 3), st.integers(1, 3))
def test_conv2d_backwards_with_any_attributes(place: dict[str, Any], batch: int, depth: int, out_depth: int) -> None:
    shape = (batch, *place["sizes"], depth)
    filter_shape = (*place["kernel"], depth, out_depth)
    gradients = numbers((batch, *place["outs"], out_depth), seed=1)
    check_both_formats(
        "Conv2DBackpropInput",
        ("out_backprop",),
        input_sizes=np.array(shape, np.int32),
        filter=numbers(filter_shape),
        out_backprop=gradients,
        **place["attributes"],
    )
    check_both_formats(
        "Conv2DBackpropFilter",
        ("input", "out_backprop"),
        gives_image=False,
        input=numbers(shape),
        filter_sizes=np.array(filter_shape, np.int32),
        out_backprop=gradients,
        **place["attributes"],
    )


def kernel(op: str, attributes: dict[str, Any]) -> Any:
    values = {key: value.encode() if isinstance(value, str) else value for key, value in attributes.items()}
    implementation = lookup(op)
    assert implementation is not None
    return implementation.bind("op", {**values, "T": DOUBLE}, {})


@settings(max_examples=120, deadline=None)
@given(placements(), st.integers(0, 2), st.sampled_from([1, 2, 3]), st.integers(1, 3), st.integers(1, 3))
def test_conv2d_backwards_is_adjoint_where_tensorflow_computes_on_gpus_alone(
    place: dict[str, Any], batch: int, groups: int, depth: int, out_depth: int
) -> None:
    """Dilations and groups: y = conv(x, w) is linear in each, so <y, g> = <x, to_input(g)> = <w, to_filter(g)>."""
    image = numbers((batch, *place["sizes"], depth * groups))
    filter = numbers((*place["kernel"], depth, out_depth * groups))
    gradients = numbers((batch, *place["outs"], out_depth * groups), seed=1)
    attributes = place["attributes"]
    product = (kernel("Conv2D", attributes)(image, filter) * gradients).sum()
    to_input = kernel("Conv2DBackpropInput", attributes)(np.array(image.shape), filter, gradients)
    to_filter = kernel("Conv2DBackpropFilter", attributes)(image, np.array(filter.shape), gradients)
    np.testing.assert_allclose((image * to_input).sum(), product, atol=1e-9)
    np.testing.assert_allclose((filter * to_filter).sum(), product, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(placements(rank=3, one_stride=True, one_dilation=True), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))
def test_conv3d_backwards_with_any_attributes(place: dict[str, Any], batch: int, depth: int, out_depth: int) -> None:
    shape = (batch, *place["sizes"], depth)
    filter_shape = (*place["kernel"], depth, out_depth)
    gradients = numbers((batch, *place["outs"], out_depth), seed=1)
    check_both_formats(
        "Conv3DBackpropInputV2",
        ("out_backprop",),
        input_sizes=np.array(shape, np.int32),
        filter=numbers(filter_shape),
        out_backprop=gradients,
        **place["attributes"],
    )
    check_both_formats(
        "Conv3DBackpropFilterV2",
        ("input", "out_backprop"),
        gives_image=False,
        input=numbers(shape),
        filter_sizes=np.array(filter_shape, np.int32),
        out_backprop=gradients,
        **place["attributes"],
    )


@settings(max_examples=80, deadline=None)
@given(placements(one_stride=True, one_dilation=True), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_depthwise_backwards_with_any_attributes(
    place: dict[str, Any], batch: int, depth: int, multiplier: int
) -> None:
    shape = (batch, *place["sizes"], depth)
    filter_shape = (*place["kernel"], depth, multiplier)
    gradients = numbers((batch, *place["outs"], depth * multiplier), seed=1)
    check_both_formats(
        "DepthwiseConv2dNativeBackpropInput",
        ("out_backprop",),
        input_sizes=np.array(shape, np.int32),
        filter=numbers(filter_shape),
        out_backprop=gradients,
        **place["attributes"],
    )
    check_both_formats(
        "DepthwiseConv2dNativeBackpropFilter",
        ("input", "out_backprop"),
        gives_image=False,
        input=numbers(shape),
        filter_sizes=np.array(filter_shape, np.int32),
        out_backprop=gradients,
        **place["attributes"],
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_conv2d_backwards_of_every_dtype(dtype: Any) -> None:
    # TensorFlow adds halves one by one, each time rounded.
    loose = {np.float16: 5e-2, ml_dtypes.bfloat16: 2e-1}.get(dtype)
    bounds: dict[str, Any] = {"rtol": loose, "atol": loose, "refused": False}
    attributes = {"strides": [1, 2, 2, 1], "padding": "SAME"}
    image, kernel, gradients = (2, 6, 6, 3), (3, 3, 3, 4), numbers((2, 3, 3, 4), dtype, 1)
    sizes, filter = np.array(image, np.int32), numbers(kernel, dtype)
    filter_sizes = np.array(kernel, np.int32)
    check("Conv2DBackpropInput", input_sizes=sizes, filter=filter, out_backprop=gradients, **attributes, **bounds)
    check(
        "Conv2DBackpropFilter",
        input=numbers(image, dtype),
        filter_sizes=filter_sizes,
        out_backprop=gradients,
        **attributes,
        **bounds,
    )
    depthwise, gradients = numbers((3, 3, 3, 2), dtype), numbers((2, 3, 3, 6), dtype, 1)
    filter_sizes = np.array(depthwise.shape, np.int32)
    check(
        "DepthwiseConv2dNativeBackpropInput",
        input_sizes=sizes,
        filter=depthwise,
        out_backprop=gradients,
        **attributes,
        **bounds,
    )
    check(
        "DepthwiseConv2dNativeBackpropFilter",
        input=numbers(image, dtype),
        filter_sizes=filter_sizes,
        out_backprop=gradients,
        **attributes,
        **bounds,
    )


@pytest.mark.parametrize(("stride", "out_depth"), [(2, 16), (1, 16), (1, 40)])
def test_conv2d_backwards_of_large_images(stride: int, out_depth: int) -> None:
    shape, out = (3, 64, 64, 8), 64 // stride
    filter, gradients = numbers((4, 4, 8, out_depth), np.float32), numbers((3, out, out, out_depth), np.float32)
    given: dict[str, Any] = {"strides": [1, stride, stride, 1], "padding": "SAME", "refused": False}
    sizes = np.array(shape, np.int32)
    check("Conv2DBackpropInput", input_sizes=sizes, filter=filter, out_backprop=gradients, atol=1e-3, **given)
    sizes, image = np.array(filter.shape, np.int32), numbers(shape, np.float32)
    bounds = {"rtol": 1e-3, "atol": 1e-1}
    check("Conv2DBackpropFilter", input=image, filter_sizes=sizes, out_backprop=gradients, **bounds, **given)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_backwards_of_large_images(multiplier: int) -> None:
    shape, filter = (3, 40, 40, 8), numbers((3, 3, 8, multiplier), np.float32)
    image, gradients = numbers(shape, np.float32), numbers((3, 40, 40, 8 * multiplier), np.float32)
    given: dict[str, Any] = {"strides": [1, 1, 1, 1], "padding": "SAME", "refused": False}
    name, sizes = "DepthwiseConv2dNativeBackprop", np.array(shape, np.int32)
    check(f"{name}Input", input_sizes=sizes, filter=filter, out_backprop=gradients, atol=1e-4, **given)
    sizes, bounds = np.array(filter.shape, np.int32), {"rtol": 1e-3, "atol": 1e-2}
    check(f"{name}Filter", input=image, filter_sizes=sizes, out_backprop=gradients, **bounds, **given)


def test_conv2d_backprop_input_takes_spatial_sizes_alone() -> None:
    arguments = {"strides": [1, 2, 2, 1], "padding": "SAME", "refused": False}
    sizes = np.array([6, 6], np.int32)
    check("Conv2DBackpropInput", input_sizes=sizes, filter=numbers((3, 3, 3, 4)), out_backprop=numbers((2, 3, 3, 4)),
          **arguments)  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "filter", "gradients"),
    [
        ([2, 6, 6, 3], (3, 3, 3, 4), (2, 4, 3, 4)),
        ([2, 6, 6, 3], (3, 3, 3, 4), (1, 3, 3, 4)),
        ([2, 6, 6, 3], (3, 3, 3, 4), (2, 3, 3, 5)),
        ([2, 6, 6, 3], (3, 3, 2, 4), (2, 3, 3, 4)),
        ([2, 6, 6], (3, 3, 3, 4), (2, 3, 3, 4)),
        ([2, -6, 6, 3], (3, 3, 3, 4), (2, 3, 3, 4)),
        ([2, 6, 6, 3], (3, 3, 4), (2, 3, 3, 4)),
        ([2, 6, 6, 3], (3, 3, 3, 4), (3, 3, 4)),
    ],
)
def test_conv2d_backprop_input_refuses_sizes_that_do_not_fit(
    sizes: list[int], filter: tuple[int, ...], gradients: tuple[int, ...]
) -> None:
    check(
        "Conv2DBackpropInput",
        input_sizes=np.array(sizes, np.int32),
        filter=numbers(filter),
        out_backprop=numbers(gradients),
        strides=[1, 2, 2, 1],
        padding="SAME",
        refused=True,
    )


@pytest.mark.parametrize(
    ("image", "sizes", "gradients"),
    [
        ((2, 6, 6, 3), [3, 3, 3, 4], (2, 4, 3, 4)),
        ((2, 6, 6, 3), [3, 3, 3, 5], (2, 3, 3, 4)),
        ((2, 6, 6, 3), [3, 3, 2, 4], (2, 3, 3, 4)),
        ((2, 6, 6, 3), [3, 3, 3], (2, 3, 3, 4)),
        ((6, 6, 3), [3, 3, 3, 4], (2, 3, 3, 4)),
    ],
)
def test_conv2d_backprop_filter_refuses_sizes_that_do_not_fit(
    image: tuple[int, ...], sizes: list[int], gradients: tuple[int, ...]
) -> None:
    check(
        "Conv2DBackpropFilter",
        input=numbers(image),
        filter_sizes=np.array(sizes, np.int32),
        out_backprop=numbers(gradients),
        strides=[1, 2, 2, 1],
        padding="SAME",
        refused=True,
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_the_first_conv3d_gradients_take_the_shapes_of_arrays(padding: str) -> None:
    image, filter = numbers((2, 3, 5, 6, 4), np.float32), numbers((2, 3, 2, 4, 3), np.float32)
    rows = (3, 3, 6) if padding == "SAME" else (2, 2, 5)
    arguments = {"input": image, "filter": filter, "out_backprop": numbers((2, *rows, 3), np.float32, 1)}
    attributes = {"strides": [1, 1, 2, 1, 1], "padding": padding}
    check_removed("Conv3DBackpropInput", **arguments, **attributes)
    check_removed("Conv3DBackpropFilter", **arguments, **attributes)
