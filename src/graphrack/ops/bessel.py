"""Bessel functions, and integrals that no elementary function gives: Dawson's, exponential, Fresnel's, Spence's.

SciPy computes them, imported when a graph that needs one is planned. Where TensorFlow differs, outside of domains and
for infinities, the values here are TensorFlow's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DOUBLE, DType
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array


def _scipy(T: DType, name: str, outside: Callable[[Array, Array], Array] | None = None) -> Kernel:
    """The kernel that calls a function of `scipy.special`.

    Attributes:
        outside: from arguments and SciPy's values the values to give, where those of TensorFlow differ.
    """
    import scipy.special

    function = getattr(scipy.special, name)
    if outside is None:
        return widened(T, function)
    return widened(T, lambda x: outside(x, function(x)))


@specialized("BesselI0")
def BesselI0(*, T: DType) -> Kernel:
    return _scipy(T, "i0")


@specialized("BesselI0e")
def BesselI0e(*, T: DType) -> Kernel:
    return _scipy(T, "i0e")


@specialized("BesselI1")
def BesselI1(*, T: DType) -> Kernel:
    return _scipy(T, "i1")


@specialized("BesselI1e")
def BesselI1e(*, T: DType) -> Kernel:
    return _scipy(T, "i1e")


@specialized("BesselJ0")
def BesselJ0(*, T: DType) -> Kernel:
    return _scipy(T, "j0")


@specialized("BesselJ1")
def BesselJ1(*, T: DType) -> Kernel:
    return _scipy(T, "j1")


def _infinite_below(x: Array, values: Array) -> Array:
    return np.where(x < 0, x.dtype.type(np.inf), values)


def _infinite_negative_below(x: Array, values: Array) -> Array:
    return np.where(x < 0, x.dtype.type(-np.inf), values)


@specialized("BesselK0")
def BesselK0(*, T: DType) -> Kernel:
    return _scipy(T, "k0", _infinite_below)


@specialized("BesselK0e")
def BesselK0e(*, T: DType) -> Kernel:
    return _scipy(T, "k0e", _infinite_below)


@specialized("BesselK1")
def BesselK1(*, T: DType) -> Kernel:
    return _scipy(T, "k1", _infinite_below)


@specialized("BesselK1e")
def BesselK1e(*, T: DType) -> Kernel:
    return _scipy(T, "k1e", _infinite_below)


@specialized("BesselY0")
def BesselY0(*, T: DType) -> Kernel:
    return _scipy(T, "y0", _infinite_negative_below)


@specialized("BesselY1")
def BesselY1(*, T: DType) -> Kernel:
    if T == DOUBLE:
        return _scipy(T, "y1", _infinite_negative_below)
    # At zero TensorFlow's float32 is a product of zero and infinity.
    return _scipy(T, "y1", lambda x, y: np.where(x == 0, x.dtype.type(np.nan), _infinite_negative_below(x, y)))


@specialized("Dawsn")
def Dawsn(*, T: DType) -> Kernel:
    return _scipy(T, "dawsn")


@specialized("Expint")
def Expint(*, T: DType) -> Kernel:
    return _scipy(T, "expi", lambda x, y: np.where((x < 0) | np.isinf(x), x.dtype.type(np.nan), y))


@specialized("FresnelSin")
def FresnelSin(*, T: DType) -> Kernel:
    return _fresnel(T, 0)


@specialized("FresnelCos")
def FresnelCos(*, T: DType) -> Kernel:
    return _fresnel(T, 1)


def _fresnel(T: DType, which: int) -> Kernel:
    from scipy.special import fresnel

    def run(x: Array) -> Any:
        return np.asarray(fresnel(x)[which], x.dtype)

    return widened(T, run)


@specialized("Spence")
def Spence(*, T: DType) -> Kernel:
    return _scipy(T, "spence")
