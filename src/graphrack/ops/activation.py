"""Activations and BiasAdd, with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import BFLOAT16, FLOAT, DType
from graphrack.ops.arithmetic import limited
from graphrack.ops.precision import widened
from graphrack.ops.reduction import float_sum
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

# Klambauer et al., "Self-Normalizing Neural Networks" (2017), to double precision.
SELU_SCALE = 1.0507009873554804934193349852946
SELU_SCALE_ALPHA = 1.7580993408473768599402175208123


def _own(T: DType, kernel: Kernel) -> Kernel:
    """For kernels that NumPy computes right in half; bfloat16 has no promotion with Python scalars."""
    return widened(T, kernel) if T.number == BFLOAT16.number else kernel


@specialized("Relu", overwrites=(0,))
def Relu(*, T: DType) -> Kernel:
    return limited(np.maximum, T.numpy.type(0))


@specialized("Relu6", overwrites=(0,))
def Relu6(*, T: DType) -> Kernel:
    at_least, at_most = limited(np.maximum, T.numpy.type(0)), limited(np.minimum, T.numpy.type(6))

    def run(features: Array, *, out: Array | None = None) -> Any:
        result = at_least(features, out=out)
        return at_most(result, out=result) if result.ndim else at_most(result)

    return run


@specialized("LeakyRelu", overwrites=(0,))
def LeakyRelu(*, alpha: float = 0.2, T: DType = FLOAT) -> Kernel:
    return _own(T, leaky_relu(alpha))


def leaky_relu(alpha: float) -> Kernel:
    """The function max(x, alpha * x), for alpha over 1 or below 0 too (then not a maximum)."""
    if 0 < alpha <= 1:

        def greater(features: Array, *, out: Array | None = None) -> Any:
            scaled = features * alpha
            return np.maximum(features, scaled) if out is None else np.maximum(features, scaled, out=out)

        return greater

    def run(features: Array, *, out: Array | None = None) -> Any:
        return np.where(features > 0, features, features * alpha)

    return run


def elu(features: Array) -> Any:
    """`x` where positive, `exp(x) - 1` elsewhere."""
    return np.maximum(features, 0) + np.expm1(np.minimum(features, 0))


def _selu(features: Array) -> Any:
    return SELU_SCALE * np.maximum(features, 0) + SELU_SCALE_ALPHA * np.expm1(np.minimum(features, 0))


def _softplus(features: Array) -> Any:
    # log(1 + exp(x)) without overflow for large x and without losing small results.
    return np.maximum(features, _ZEROS.get(features.dtype, 0)) + np.log1p(np.exp(-np.abs(features)))


_ZEROS = {np.dtype(kind): np.zeros((), kind) for kind in "fd"}
"""Of an array and one of these, NumPy's functions take half the time that they take of an array and a number."""


def _softsign(features: Array) -> Any:
    return features / (np.abs(features) + 1)


@specialized("Elu")
def Elu(*, T: DType) -> Kernel:
    return widened(T, elu)


@specialized("Selu")
def Selu(*, T: DType) -> Kernel:
    return widened(T, _selu)


@specialized("Softplus")
def Softplus(*, T: DType) -> Kernel:
    return widened(T, _softplus)


@specialized("Softsign")
def Softsign(*, T: DType) -> Kernel:
    return widened(T, _softsign)


# BiasAdd


def _check_bias(op_name: str, value: Array, bias: Array, channel_axis: int) -> None:
    if value.ndim < 2:
        raise ValueError(f"{op_name} needs a value of rank 2 or more, found shape {value.shape}")
    if bias.ndim != 1 or bias.shape[0] != value.shape[channel_axis]:
        raise ValueError(
            f"{op_name} needs one bias per channel: value has shape {value.shape} with its channels in "
            f"dimension {channel_axis}, bias has shape {bias.shape}"
        )


@specialized("BiasAdd", overwrites=(0,))
def BiasAdd(*, data_format: bytes = b"NHWC") -> Kernel:
    if data_format == b"NHWC":
        return _add_last
    if data_format != b"NCHW":
        raise ValueError(f"BiasAdd's data_format is {data_format!r}, expected b'NHWC' or b'NCHW'")
    return _add_second


@specialized("BiasAddV1", overwrites=(0,))
def BiasAddV1() -> Kernel:
    return _add_last


def _add_last(value: Array, bias: Array, *, out: Array | None = None) -> Any:
    shape = value.shape
    if len(shape) < 2 or bias.shape != shape[-1:]:
        _check_bias("BiasAdd", value, bias, value.ndim - 1)
    return value + bias if out is None else np.add(value, bias, out)


def _add_second(value: Array, bias: Array, *, out: Array | None = None) -> Any:
    _check_bias("BiasAdd", value, bias, 1)
    bias = bias.reshape(bias.shape + (1,) * (value.ndim - 2))
    return value + bias if out is None else np.add(value, bias, out)


@specialized("BiasAddGrad")
def BiasAddGrad(*, T: DType, data_format: bytes = b"NHWC") -> Kernel:
    first = data_format == b"NCHW"
    # Without it, NumPy would sum small integers in wider ones.
    dtype = None if T.numpy.kind not in "iu" else T.numpy

    def run(out_backprop: Array) -> Any:
        if out_backprop.ndim == 2:
            return np.add.reduce(out_backprop, 0, dtype) if dtype is not None else float_sum(out_backprop, (0,), False)
        if out_backprop.ndim < 2:
            raise ValueError(f"BiasAddGrad needs rank 2 or more, found shape {out_backprop.shape}")
        channel = 1 if first else out_backprop.ndim - 1
        axes = tuple(i for i in range(out_backprop.ndim) if i != channel)
        return out_backprop.sum(axis=axes, dtype=dtype)

    return widened(T, run)


# Gradients


def _same_shape(op_name: str, gradients: Array, other: Array) -> None:
    if gradients.shape != other.shape:
        raise ValueError(
            f"{op_name} needs both inputs of one shape, found gradients {gradients.shape} and {other.shape}"
        )


@specialized("ReluGrad", overwrites=(0,))
def ReluGrad(*, T: DType) -> Kernel:
    dtype = T.numpy
    zero = np.zeros((), dtype)

    def run(gradients: Array, features: Array, *, out: Array | None = None) -> Any:
        if gradients.shape != features.shape:
            _same_shape("ReluGrad", gradients, features)
        mask: Any = np.greater(features, zero)
        if mask.size <= _FEW:
            mask = mask.astype(dtype)
        return np.multiply(gradients, mask, out)

    return run


_FEW = 4096  # elements of which a copy of the right type costs less than a product of two types


@specialized("Relu6Grad", overwrites=(0,))
def Relu6Grad(*, T: DType) -> Kernel:
    zero, six = T.numpy.type(0), T.numpy.type(6)

    def run(gradients: Array, features: Array, *, out: Array | None = None) -> Any:
        _same_shape("Relu6Grad", gradients, features)
        mask = (features > zero) & (features < six)
        return np.multiply(gradients, mask, out)

    return run


@specialized("LeakyReluGrad")
def LeakyReluGrad(*, alpha: float = 0.2, T: DType = FLOAT) -> Kernel:
    def run(gradients: Array, features: Array) -> Any:
        _same_shape("LeakyReluGrad", gradients, features)
        return np.where(features > 0, gradients, gradients * alpha)

    return _own(T, run)


def _elu_grad(gradients: Array, outputs: Array) -> Any:
    _same_shape("EluGrad", gradients, outputs)
    return np.where(outputs < 0, (outputs + 1) * gradients, gradients)


def _selu_grad(gradients: Array, outputs: Array) -> Any:
    _same_shape("SeluGrad", gradients, outputs)
    return gradients * np.where(outputs < 0, outputs + SELU_SCALE_ALPHA, SELU_SCALE).astype(outputs.dtype)


def _softplus_grad(gradients: Array, features: Array) -> Any:
    _same_shape("SoftplusGrad", gradients, features)
    return gradients / (np.exp(-features) + 1)


def _softsign_grad(gradients: Array, features: Array) -> Any:
    _same_shape("SoftsignGrad", gradients, features)
    return gradients / np.square(np.abs(features) + 1)


@specialized("EluGrad")
def EluGrad(*, T: DType) -> Kernel:
    return widened(T, _elu_grad)


@specialized("SeluGrad")
def SeluGrad(*, T: DType) -> Kernel:
    return widened(T, _selu_grad)


@specialized("SoftplusGrad")
def SoftplusGrad(*, T: DType) -> Kernel:
    return widened(T, _softplus_grad)


@specialized("SoftsignGrad")
def SoftsignGrad(*, T: DType) -> Kernel:
    return widened(T, _softsign_grad)
