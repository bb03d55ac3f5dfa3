"""Arithmetic of two or more tensors: sums, products, quotients, remainders, powers, extremes.

Operands broadcast as NumPy's do, which are TensorFlow's rules. Integers wrap around on overflow.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.formats.dtypes import VARIANT, DType
from graphrack.ops._arguments import scalar
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, op, register, specialized
from graphrack.ops.runtime import Array

register("AddV2", np.add)
register("Sub", np.subtract)
register("Mul", np.multiply)
register("NextAfter", np.nextafter)


@specialized("Maximum", overwrites=(0, 1))
def Maximum() -> Kernel:
    return np.maximum


@specialized("Minimum", overwrites=(0, 1))
def Minimum() -> Kernel:
    return np.minimum


_MANY = 2048
"""Floats that NumPy's `clip` compares with one number sooner than its `maximum` does: in a quarter of the time then."""


def limited(extreme: np.ufunc, bound: Any) -> Kernel:
    """The function of `x` that gives `extreme(x, bound)`: the kernel of an op with one operand known.

    Attributes:
        extreme: `np.maximum` or `np.minimum`.
        bound: a number, of x's dtype.
    """
    number = np.array(bound)
    if number.dtype not in (np.float32, np.float64):
        return lambda x, *, out=None: extreme(x, number) if out is None else extreme(x, number, out=out)
    infinity = number.dtype.type(np.inf)
    low, high = (number[()], infinity) if extreme is np.maximum else (-infinity, number[()])

    def run(x: Array, *, out: Array | None = None) -> Any:
        if out is None:
            return extreme(x, number) if x.size < _MANY else x.clip(low, high)
        return extreme(x, number, out=out) if x.size < _MANY else x.clip(low, high, out=out)

    return run


@specialized("Add")
def Add(*, T: DType) -> Kernel:
    if not T.is_string:
        return np.add

    def join(x: Array, y: Array) -> Any:
        # Of two objects of rank 0 NumPy gives the bare bytes.
        out = np.empty(np.broadcast_shapes(x.shape, y.shape), object)
        np.add(x, y, out=out)
        return out

    return join


@specialized("AddN", "AccumulateNV2", overwrites=(0, 1))
def AddN(*, T: DType, input_count: int) -> Kernel:
    if T == VARIANT:
        from graphrack.ops._lists import variant_sum

        return variant_sum
    return _add_two if input_count == 2 else _add_n


def _add_two(x: Array, y: Array, *, out: Array | None = None) -> Any:
    # Nearly all sums of gradients are of two: a third less time.
    if x.shape != y.shape:
        return _add_n(x, y)
    return np.add(x, y) if out is None else np.add(x, y, out)


def _add_n(first: Array, *others: Array, out: Array | None = None) -> Any:
    shape = first.shape
    for i, value in enumerate(others):
        if value.shape != shape:
            raise ValueError(f"inputs must have one shape, got {shape} for input 0 and {value.shape} for {i + 1}")
    total = first
    for value in others:
        total = np.add(total, value, out)
        if shape:
            out = total
    return total


def divide(T: DType) -> Kernel:
    """True division of floats; of complex numbers too, with NaN for any division by zero."""
    if T.numpy.kind != "c":
        return np.divide
    nan = T.numpy.type(complex("nan+nanj"))

    def divide_complex(x: Array, y: Array) -> Any:
        out = np.divide(x, y)
        zero = np.equal(y, 0)
        return np.where(zero, nan, out) if zero.any() else out

    return divide_complex


def truncate_divide(x: Array, y: Any) -> Any:
    """Quotients of integers, rounded towards zero; those by zero are unspecified."""
    if x.dtype.kind == "u":
        return np.floor_divide(x, y)
    return np.floor_divide(x - np.fmod(x, y), y)


def _checked(quotient: Kernel, of_scalars: Callable[[Any, Any], Any] | None = None) -> Kernel:
    """A quotient or remainder of integers that refuses zero, where there is anything to divide.

    Attributes:
        of_scalars: gives the same of two scalars, in less time.
    """

    def run(x: Array, y: Array) -> Any:
        if of_scalars is not None and not (x.ndim or y.ndim) and y:
            return of_scalars(x[()], y[()])
        out = quotient(x, y)
        if not y.all() and out.size:
            raise ValueError(f"integer division by zero: y ({y.dtype}, shape {y.shape}) holds a zero")
        return out

    return run


def _is_integer(T: DType) -> bool:
    return T.numpy.kind in "iu"


@specialized("RealDiv")
def RealDiv(*, T: DType) -> Kernel:
    return divide(T)


@specialized("Div")
def Div(*, T: DType) -> Kernel:
    return _checked(truncate_divide) if _is_integer(T) else divide(T)


@specialized("TruncateDiv")
def TruncateDiv(*, T: DType) -> Kernel:
    return _checked(truncate_divide) if _is_integer(T) else lambda x, y: np.trunc(x / y)


@specialized("FloorDiv")
def FloorDiv(*, T: DType) -> Kernel:
    # For floats not NumPy's floor_divide, which rounds after the exact quotient: there 1 // 0.1 is 9.
    return _checked(np.floor_divide, operator.floordiv) if _is_integer(T) else lambda x, y: np.floor(x / y)


@specialized("Mod", "TruncateMod")
def TruncateMod(*, T: DType) -> Kernel:
    return _checked(np.fmod) if _is_integer(T) else widened(T, np.fmod)


def _floor_mod(x: Array, y: Array) -> Any:
    # Not NumPy's remainder: a result of zero has the sign of x here.
    out = np.fmod(x, y)
    return np.where((out != 0) & ((out < 0) != (y < 0)), out + y, out)


@specialized("FloorMod")
def FloorMod(*, T: DType) -> Kernel:
    return _checked(np.remainder, operator.mod) if _is_integer(T) else widened(T, _floor_mod)


@specialized("MulNoNan")
def MulNoNan(*, T: DType) -> Kernel:
    zero = T.numpy.type(0)
    return lambda x, y: np.where(y == zero, zero, x * y)


@specialized("DivNoNan")
def DivNoNan(*, T: DType) -> Kernel:
    zero = T.numpy.type(0)
    zero_array = np.asarray(zero)  # in less time than a scalar

    def run(x: Array, y: Array) -> Any:
        if x.__class__ is y.__class__ and not y.ndim:  # of metrics mostly, which are scalars
            return x / y if y != zero else zero
        return np.where(y == zero, zero_array, x / y)

    return run


def _zero_where_x_is_zero(T: DType, function: Kernel) -> Kernel:
    def run(x: Array, y: Array) -> Any:
        return np.where(x == 0, x.dtype.type(0), function(x, y))

    return widened(T, run)


@specialized("Xdivy")
def Xdivy(*, T: DType) -> Kernel:
    return _zero_where_x_is_zero(T, divide(T))


@specialized("Xlogy")
def Xlogy(*, T: DType) -> Kernel:
    return _zero_where_x_is_zero(T, lambda x, y: x * np.log(y))


@specialized("Xlog1py")
def Xlog1py(*, T: DType) -> Kernel:
    return _zero_where_x_is_zero(T, lambda x, y: x * np.log1p(y))


@op("Pow")
def Pow(x: Array, y: Array) -> Any:
    if y.ndim or not x.ndim or x.dtype.char not in "fd":
        # NumPy refuses integers to negative powers as TensorFlow does.
        return np.power(x, y)
    exponent = y.item()
    # Of negative numbers NumPy takes a hundred times as long; whole powers follow from those of positive ones.
    if exponent == 2:
        return np.square(x)
    if exponent == 3:
        return np.square(x) * x
    if exponent == 0.5:  # of one exponent NumPy takes the square root, which isn't the power of -0 and of -infinity
        return np.power(x, np.full(x.shape, y))
    if not exponent.is_integer():
        return np.power(x, y)
    powers = np.power(np.abs(x), y)
    return np.copysign(powers, x, out=powers) if exponent % 2 else powers


@specialized("SquaredDifference")
def SquaredDifference(*, T: DType) -> Kernel:
    def squared(x: Array, y: Array) -> Any:
        difference = x - y
        return difference * difference

    def squared_complex(x: Array, y: Array) -> Any:
        difference = x - y
        return difference * np.conjugate(difference)

    return squared_complex if T.numpy.kind == "c" else squared


@specialized("Atan2")
def Atan2(*, T: DType) -> Kernel:
    return widened(T, np.arctan2)


@op("ClipByValue")
def ClipByValue(t: Array, clip_value_min: Array, clip_value_max: Array) -> Any:
    if t.dtype.kind == "c":  # the parts are clipped as if they were two numbers
        out = np.empty(t.shape, t.dtype)
        out.real = ClipByValue(t.real, clip_value_min.real, clip_value_max.real)
        out.imag = ClipByValue(t.imag, clip_value_min.imag, clip_value_max.imag)
        return out
    for name, bound in (("clip_value_min", clip_value_min), ("clip_value_max", clip_value_max)):
        if bound.ndim and bound.shape != t.shape:
            raise ValueError(f"{name} must be a scalar or have t's shape {t.shape}, got shape {bound.shape}")
    # In this order: where the bounds cross, the lower one wins.
    below = np.minimum(t, _bound(clip_value_max, t))
    least = _bound(clip_value_min, below)
    return np.maximum(below, least, out=below) if t.ndim else np.maximum(below, least)


def _bound(bound: Array, t: Array) -> Any:
    """The bound, with `t` itself in place of NaNs: these bound nothing."""
    if bound.dtype.kind in "iu":
        return bound
    absent = np.isnan(bound)
    return np.where(absent, t, bound) if absent.any() else bound


@op("Cross")
def Cross(a: Array, b: Array) -> Any:
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, got {a.shape} and {b.shape}")
    if not a.ndim or a.shape[-1] != 3:
        raise ValueError(f"a and b must have a last dimension of 3, got shape {a.shape}")
    product = np.empty(a.shape, a.dtype)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        product[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return product


@op("LinSpace")
def LinSpace(start: Array, stop: Array, num: Array) -> Any:
    for name, value in (("start", start), ("stop", stop)):
        if value.ndim:
            raise ValueError(f"{name} must be a scalar, got shape {value.shape}")
    count = scalar("num", num)
    if count <= 0:
        raise ValueError(f"num must be at least 1, got {count}")
    out = np.arange(count, dtype=start.dtype)
    if count > 1:
        out *= (stop - start) / start.dtype.type(count - 1)
        out += start
        out[-1] = stop
    out[0] = start
    return out
