from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ops.harness import Refused, by_graphrack, by_tensorflow, check, compare

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
INTS = [np.int32, np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.int64, np.uint64]
SHAPES: list[tuple[int, ...]] = [(), (0,), (7,), (2, 3, 5)]


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0, scale: float = 4) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(seed).normal(size=shape) * scale
    if np.dtype(dtype).kind == "u":
        values = np.abs(values)
    return np.asarray(values).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign"])
def test_activations_of_floats(op: str, dtype: Any, shape: tuple[int, ...]) -> None:
    check(op, features=numbers(shape, dtype), refused=False)


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("op", ["Relu", "Relu6"])
def test_relu_of_integers(op: str, dtype: Any) -> None:
    check(op, features=numbers((3, 4), dtype, scale=9), refused=False)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus"])
def test_activations_of_nan_and_infinities(op: str, dtype: Any) -> None:
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e-30, 80, -80]
    check(op, features=np.array(special, dtype), refused=False)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0, 1.5, -0.5])
def test_leaky_relu_of_any_alpha(alpha: float) -> None:
    for dtype in FLOATS:
        check("LeakyRelu", features=numbers((20,), dtype), alpha=alpha, refused=False)


def test_softplus_keeps_small_results_of_large_negative_inputs() -> None:
    check("Softplus", features=np.linspace(-80, 100, 401, dtype=np.float32), atol=0, rtol=1e-5)
    check("Softplus", features=np.linspace(-700, 100, 401), atol=0, rtol=1e-12)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS, np.complex64, np.complex128])
def test_bias_add_of_every_dtype(dtype: Any) -> None:
    check("BiasAdd", value=numbers((2, 3, 4), dtype), bias=numbers((4,), dtype, 1), refused=False)
    check("BiasAdd", value=numbers((2, 3, 4), dtype), bias=numbers((3,), dtype, 1), data_format="NCHW", refused=False)
    check("BiasAddV1", value=numbers((2, 4), dtype), bias=numbers((4,), dtype, 1), refused=False)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6), (2, 0, 4, 5)])
def test_bias_add_of_every_rank(shape: tuple[int, ...], data_format: str) -> None:
    channels = shape[1] if data_format == "NCHW" else shape[-1]
    arguments = {"value": numbers(shape, np.float32), "data_format": data_format}
    check("BiasAdd", **arguments, bias=numbers((channels,), np.float32, 1))
    check("BiasAdd", **arguments, bias=numbers((channels + 1,), np.float32, 1), refused=True)


def test_bias_add_refuses_wrong_ranks() -> None:
    check("BiasAdd", value=numbers((3,), np.float32), bias=numbers((3,), np.float32), refused=True)
    check("BiasAdd", value=numbers((), np.float32), bias=numbers((3,), np.float32), refused=True)
    check("BiasAdd", value=numbers((2, 3), np.float32), bias=numbers((1, 3), np.float32), refused=True)
    check("BiasAdd", value=numbers((2, 3), np.float32), bias=numbers((), np.float32), refused=True)
    check("BiasAdd", value=numbers((2, 3), np.float32), bias=numbers((1,), np.float32), refused=True)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS, np.complex64])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_bias_add_grad_sums_all_but_channels(dtype: Any, data_format: str) -> None:
    # TensorFlow adds halves one by one, each time rounded.
    loose = {np.float16: 2e-2, ml_dtypes.bfloat16: 2e-1}.get(dtype)
    for shape in [(2, 3, 4), (2, 3), (0, 3, 2), (2, 3, 4, 5), (1, 2, 3, 2, 3)]:
        values = numbers(shape, dtype)
        check("BiasAddGrad", out_backprop=values, data_format=data_format, rtol=loose, atol=loose, refused=False)
    check("BiasAddGrad", out_backprop=numbers((3,), dtype), data_format=data_format, refused=True)


GRADIENTS = {
    "ReluGrad": "features",
    "Relu6Grad": "features",
    "LeakyReluGrad": "features",
    "EluGrad": "outputs",
    "SeluGrad": "outputs",
    "SoftplusGrad": "features",
    "SoftsignGrad": "features",
}


def check_gradient(op: str, gradients: Any, other: Any) -> None:
    """As `check`, whose own argument `outputs` is the name of an input here."""
    data, feeds, expected = by_tensorflow(op, {"gradients": gradients, GRADIENTS[op]: other})
    assert data is not None
    found = by_graphrack(data, feeds)
    assert isinstance(found, Refused) == isinstance(expected, Refused), f"{op}: {found}, {expected}"
    if not isinstance(expected, Refused):
        compare(found[0], expected[0], note=op)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", GRADIENTS)
def test_gradients_of_activations(op: str, dtype: Any) -> None:
    for shape in SHAPES:
        check_gradient(op, numbers(shape, dtype), numbers(shape, dtype, 1))
    check_gradient(op, numbers((6,), dtype), np.array([0, 6, -0.0, 7, -1, 3], dtype))


@pytest.mark.parametrize("op", GRADIENTS)
def test_gradients_of_activations_refuse_other_shapes(op: str) -> None:
    check_gradient(op, numbers((3,), np.float32), numbers((4,), np.float32))


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("op", ["ReluGrad", "Relu6Grad"])
def test_gradients_of_relu_of_integers(op: str, dtype: Any) -> None:
    check(op, gradients=numbers((9,), dtype), features=numbers((9,), dtype, 1), refused=False)
