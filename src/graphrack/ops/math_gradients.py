"""Gradients of elementwise functions, from the functions' values `y` and the gradient `dy` of these."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.precision import number, widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array


def _gradient(T: DType, function: Kernel) -> Kernel:
    def run(y: Array, dy: Array, *, out: Array | None = None) -> Any:
        if y.shape != dy.shape:
            if y.size != dy.size:
                raise ValueError(f"y and dy must have as many elements, got shapes {y.shape} and {dy.shape}")
            dy, out = dy.reshape(y.shape), None
        return function(y, dy) if out is None else function(y, dy, out)

    return widened(T, run)


# The conjugates of complex values some of these take, others leave to the graph.


@specialized("TanhGrad", overwrites=(0, 1))
def TanhGrad(*, T: DType) -> Kernel:
    one = number(T, 1)

    def tanh_grad(y: Array, dy: Array, out: Array | None = None) -> Any:
        return dy * (one - y * y) if out is None else np.multiply(dy, one - y * y, out)

    return _gradient(T, tanh_grad)


@specialized("SigmoidGrad", overwrites=(0, 1))
def SigmoidGrad(*, T: DType) -> Kernel:
    one = number(T, 1)

    def sigmoid_grad(y: Array, dy: Array, out: Array | None = None) -> Any:
        return dy * y * (one - y) if out is None else np.multiply(dy * y, one - y, out)

    return _gradient(T, sigmoid_grad)


def _zero_from_zero(T: DType, function: Kernel) -> Kernel:
    """No gradient comes from none, whatever the value."""
    zero, is_complex = number(T, 0), T.numpy.kind == "c"

    def gradient(y: Array, dy: Array) -> Any:
        return np.where(np.equal(dy, zero), zero, function(np.conjugate(y) if is_complex else y, dy))

    return _gradient(T, gradient)


@specialized("SqrtGrad")
def SqrtGrad(*, T: DType) -> Kernel:
    two = number(T, 2)
    return _zero_from_zero(T, lambda y, dy: dy / two / y)


@specialized("RsqrtGrad")
def RsqrtGrad(*, T: DType) -> Kernel:
    return _zero_from_zero(T, lambda y, dy: dy * y * y * y / -2)


@specialized("ReciprocalGrad", "InvGrad")
def ReciprocalGrad(*, T: DType) -> Kernel:
    return _zero_from_zero(T, lambda y, dy: -dy * y * y)
