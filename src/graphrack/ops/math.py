"""Elementwise functions of one tensor, and complex numbers' parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DTYPES, DType
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, op, register, specialized
from graphrack.ops.runtime import Array

COMPLEX64 = DTYPES[8]

for _name, _function in {
    "Abs": np.absolute,
    "Ceil": np.ceil,
    "ComplexAbs": np.absolute,
    "Cos": np.cos,
    "Exp": np.exp,
    "Expm1": np.expm1,
    "Floor": np.floor,
    "IsFinite": np.isfinite,
    "IsInf": np.isinf,
    "IsNan": np.isnan,
    "Log": np.log,
    "Log1p": np.log1p,
    "Neg": np.negative,
    "Rint": np.rint,
    "Sign": np.sign,
    "Sin": np.sin,
    "Sqrt": np.sqrt,
    "Square": np.square,
    "Tan": np.tan,
    "Tanh": np.tanh,
}.items():
    register(_name, _function)

for _name, _function in {
    "Acos": np.arccos,
    "Acosh": np.arccosh,
    "Asin": np.arcsin,
    "Asinh": np.arcsinh,
    "Atan": np.arctan,
    "Atanh": np.arctanh,
    "Cosh": np.cosh,
    "Sinh": np.sinh,
}.items():
    register(_name, _function)


@specialized("Round")
def Round(*, T: DType) -> Kernel:
    # TensorFlow 2.21 gives zeros for integers; its earlier versions, and `tf.round`, the integers themselves.
    return np.positive if T.numpy.kind in "iu" else np.rint


@specialized("Reciprocal", "Inv")
def Reciprocal(*, T: DType) -> Kernel:
    if T.numpy.kind != "c":
        one = T.numpy.type(1)
        return lambda x: one / x
    nan = T.numpy.type(complex("nan+nanj"))
    return lambda x: np.where(x == 0, nan, np.reciprocal(x))


@specialized("Rsqrt", overwrites=(0,))
def Rsqrt(*, T: DType) -> Kernel:
    def rsqrt(x: Array, *, out: Array | None = None) -> Any:
        root = np.sqrt(x) if out is None else np.sqrt(x, out)
        return np.reciprocal(root, out=root) if x.ndim else np.reciprocal(root)

    return widened(T, rsqrt)


_ONES = {np.dtype(kind): np.ones((), kind) for kind in "efdFD"}
"""Of an array and one of these, NumPy's functions take half the time that they take of an array and a number."""


def sigmoid(x: Array, *, out: Array | None = None) -> Any:
    """1 / (1 + exp(-x)), in one new array or the given one."""
    out = np.negative(x) if out is None else np.negative(x, out)
    if not x.ndim:
        return np.reciprocal(1 + np.exp(out))
    np.exp(out, out)
    np.add(out, _ONES.get(out.dtype, 1), out)
    return np.reciprocal(out, out)


@specialized("Sigmoid", overwrites=(0,))
def Sigmoid(*, T: DType) -> Kernel:
    return widened(T, sigmoid)


@specialized("Complex")
def Complex(*, Tout: DType = COMPLEX64) -> Kernel:
    dtype = Tout.numpy

    def run(real: Array, imag: Array) -> Any:
        # Not real + 1j * imag: infinite parts would give NaN ones.
        out = np.empty(np.broadcast_shapes(real.shape, imag.shape), dtype)
        out.real = real
        out.imag = imag
        return out

    return run


@op("Real")
def Real(input: Array) -> Any:
    return input.real


@op("Imag")
def Imag(input: Array) -> Any:
    return input.imag


register("Conj", np.conjugate)


@op("Angle")
def Angle(input: Array) -> Any:
    return np.arctan2(input.imag, input.real)
