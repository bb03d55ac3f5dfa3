"""Special functions: error, gamma, beta and zeta functions and their relatives.

SciPy computes them. It is imported when a graph that needs one is planned; where it and TensorFlow
differ, at poles and outside of domains, the values here are TensorFlow's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

MAX_TERMS = 2000
"""Of the series and continued fraction of `IgammaGradA`: enough for a and x up to some 100,000."""


@specialized("Erf", overwrites=(0,))
def Erf(*, T: DType) -> Kernel:
    # TensorFlow 2.21 gives NaN for an infinite float64, and 1 or -1 for the other types, as here.
    from scipy.special import erf

    return widened(T, erf)


@specialized("Erfc")
def Erfc(*, T: DType) -> Kernel:
    from scipy.special import erfc

    return widened(T, erfc)


@specialized("Erfinv")
def Erfinv() -> Kernel:
    from scipy.special import erfinv

    return erfinv  # type: ignore[no-any-return]


@specialized("Ndtri")
def Ndtri() -> Kernel:
    from scipy.special import ndtri

    return ndtri  # type: ignore[no-any-return]


@specialized("Lgamma")
def Lgamma(*, T: DType) -> Kernel:
    from scipy.special import gammaln

    return widened(T, lambda x: np.where(np.isinf(x), np.abs(x), gammaln(x)))


@specialized("Digamma")
def Digamma(*, T: DType) -> Kernel:
    return widened(T, digamma)


def digamma(x: Array) -> Any:
    """The derivative of log Γ; NaN at its poles, the integers up to zero."""
    from scipy.special import digamma

    return np.where((x <= 0) & (x == np.floor(x)), x.dtype.type(np.nan), digamma(x))


@specialized("Zeta")
def Zeta() -> Kernel:
    return zeta


def zeta(x: Array, q: Array) -> Any:
    """The Hurwitz zeta function; at its poles, `q` zero or a negative integer, infinite for even `x`."""
    from scipy.special import zeta

    nan, infinite, zero = x.dtype.type(np.nan), x.dtype.type(np.inf), x.dtype.type(0)
    value = np.where((x == infinite) & (q > 1), zero, zeta(x, q))
    pole = (q <= 0) & (q == np.floor(q)) & (x > 1)
    even = (x % 2 == 0) | np.isinf(x)
    return np.where(pole, np.where(even, infinite, nan), np.where(np.isnan(x), nan, value))


@specialized("Polygamma")
def Polygamma() -> Kernel:
    from scipy.special import gamma

    def polygamma(a: Array, x: Array) -> Any:
        order = a + 1
        sign = np.where(a % 2 == 0, x.dtype.type(-1), x.dtype.type(1))
        value = np.where(a == 0, digamma(x), sign * gamma(order) * zeta(order, x))
        return np.where((a >= 0) & (a == np.floor(a)), value, x.dtype.type(np.nan))

    return polygamma


@specialized("Betainc")
def Betainc() -> Kernel:
    from scipy.special import betainc

    def run(a: Array, b: Array, x: Array) -> Any:
        shapes = {operand.shape for operand in (a, b, x) if operand.ndim}
        if len(shapes) > 1:
            raise ValueError(f"a, b and x must be scalars or have one shape, got {a.shape}, {b.shape}, {x.shape}")
        nan = x.dtype.type(np.nan)
        inside = np.where(np.isinf(a) | np.isinf(b), nan, betainc(a, b, x))
        return np.where((a <= 0) | (b <= 0), nan, np.where((x == 0) | (x == 1), x, inside))

    return run


@specialized("Igamma")
def Igamma() -> Kernel:
    from scipy.special import gammainc

    def run(a: Array, x: Array) -> Any:
        nan, zero = x.dtype.type(np.nan), x.dtype.type(0)
        inside = np.where(np.isinf(a) & ~np.isnan(x), zero, gammainc(a, x))
        return np.where(x == 0, zero, np.where((a <= 0) | (x < 0), nan, inside))

    return run


@specialized("Igammac")
def Igammac() -> Kernel:
    from scipy.special import gammaincc

    def run(a: Array, x: Array) -> Any:
        nan, zero, one = x.dtype.type(np.nan), x.dtype.type(0), x.dtype.type(1)
        inside = np.where(np.isinf(a) & ~np.isnan(x), np.where(np.isinf(x), zero, one), gammaincc(a, x))
        return np.where((a <= 0) | (x < 0), nan, inside)

    return run


@specialized("IgammaGradA")
def IgammaGradA() -> Kernel:
    def run(a: Array, x: Array) -> Any:
        a, x = np.broadcast_arrays(a, x)
        out = igamma_grad_a(a.astype(np.float64).reshape(-1), x.astype(np.float64).reshape(-1))
        return out.astype(x.dtype).reshape(x.shape)

    return run


@specialized("RandomGammaGrad")
def RandomGammaGrad() -> Kernel:
    def run(alpha: Array, sample: Array) -> Any:
        alpha, sample = np.broadcast_arrays(alpha, sample)
        a, x = (side.astype(np.float64).reshape(-1) for side in (alpha, sample))
        # What keeps P(alpha, sample) as it is while alpha changes: -(dP/da) / (dP/dx).
        out = -igamma_grad_a(a, x, by_density=True)
        return out.astype(sample.dtype).reshape(sample.shape)

    return run


def igamma_grad_a(a: Array, x: Array, *, by_density: bool = False) -> Array:
    """The derivative in `a` of the regularised lower incomplete gamma function P(a, x).

    Attributes:
        a, x: float64 vectors of one length.
        by_density: divided by the derivative in `x`, x^(a-1) e^-x / Γ(a), which may be too small for a float.

    From the series P = x^a e^-x / Γ(a+1) · Σ xⁿ / ((a+1)…(a+n)), and for x > max(1, a) from Legendre's
    continued fraction for 1 - P (DLMF 8.7.1 and 8.9.2), both differentiated term by term.
    """
    out = np.where((x < 0) | (a <= 0) | np.isnan(x) | np.isnan(a), np.nan, 0.0)
    out[x == 0] = 0.0
    inside = (x > 0) & (a > 0) & np.isfinite(x) & np.isfinite(a)
    far = inside & (x > 1) & (x > a)
    for part, function in ((far, _grad_by_fraction), (inside & ~far, _grad_by_series)):
        if part.any():
            out[part] = function(a[part], x[part], by_density)
    return out


def _grad_by_series(a: Array, x: Array, by_density: bool) -> Array:
    from scipy.special import digamma, gammaln

    term, total = np.ones_like(x), np.ones_like(x)
    slope, total_slope = np.zeros_like(x), np.zeros_like(x)
    for n in range(1, MAX_TERMS):
        ratio = x / (a + n)
        slope = (slope - term / (a + n)) * ratio
        term = term * ratio
        total += term
        total_slope += slope
        if (np.abs(slope) <= 1e-17 * np.abs(total_slope)).all():
            break
    scale = x / a if by_density else np.exp(a * np.log(x) - x - gammaln(a + 1))
    return scale * (total_slope + total * (np.log(x) - digamma(a + 1)))  # type: ignore[no-any-return]


def _grad_by_fraction(a: Array, x: Array, by_density: bool) -> Array:
    from scipy.special import digamma, gammaln

    # Rows: numerator, denominator, and the derivatives in a of both.
    before = np.stack([np.zeros_like(x), np.ones_like(x), np.zeros_like(x), np.zeros_like(x)])
    now = np.stack([np.ones_like(x), x + 1 - a, np.zeros_like(x), -np.ones_like(x)])
    value, slope = _fraction(now)
    for n in range(1, MAX_TERMS):
        partial, step = -n * (n - a), x + 2 * n + 1 - a
        new = step * now + partial * before
        new[2:] += n * before[:2] - now[:2]
        size = np.abs(new[1])
        before, now = now / size, new / size
        last = slope
        value, slope = _fraction(now)
        if (np.abs(slope - last) <= 1e-16 * np.abs(slope)).all():
            break
    scale = x if by_density else np.exp(a * np.log(x) - x - gammaln(a))
    return -scale * (slope + value * (np.log(x) - digamma(a)))  # type: ignore[no-any-return]


def _fraction(rows: Array) -> tuple[Array, Array]:
    value = rows[0] / rows[1]
    return value, (rows[2] - value * rows[3]) / rows[1]
