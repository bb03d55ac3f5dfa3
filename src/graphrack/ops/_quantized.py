"""How quantized integers stand for floats.

A quantized tensor comes with two floats, the values of its type's least and greatest integer. TensorFlow
has two sets of formulas for the way between: one for single values, in double precision, and one for
arrays, in single precision; what an op gives depends on which of them it uses, so both are here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.runtime import Array

F = np.float32


class Grid:
    """One quantized type: its integers and how many there are.

    Attributes:
        dtype: TensorFlow's form of it (one named field).
        plain: the integers' dtype.
        lowest, highest: its least and greatest integer.
        steps: how many integers it has.
    """

    def __init__(self, T: DType):
        self.dtype = T.numpy
        if not self.dtype.names:
            raise ValueError(f"values must have a quantized type, found {T}")
        self.plain = self.dtype[0]
        info = np.iinfo(self.plain)
        self.lowest, self.highest = int(info.min), int(info.max)
        self.steps = self.highest - self.lowest + 1
        self.signed = self.lowest < 0

    def integers(self, value: Any) -> Array:
        """The integers of a quantized tensor, as a view."""
        return np.asarray(value).view(self.plain)

    def quantized(self, integers: Any) -> Array:
        """A quantized tensor of integers in range."""
        return np.asarray(integers).astype(self.plain).view(self.dtype)

    # Single values

    def unclamped(self, value: float, low: Any, high: Any) -> int:
        """The integer nearest to a float; may lie outside the type."""
        if low == high:
            return self.lowest
        scale = self.steps / (float(F(high) - F(low)) * (self.steps / (self.steps - 1.0)))
        return int(half_away(float(F(value)) * scale) - half_away(float(F(low)) * scale)) + self.lowest

    def nearest(self, values: Any, low: Any, high: Any) -> Array:
        """The type's integers nearest to floats, as int64."""
        values = np.asarray(values, F).astype(np.float64)
        if low == high:
            return np.full(values.shape, self.lowest, np.int64)
        scale = self.steps / (float(F(high) - F(low)) * (self.steps / (self.steps - 1.0)))
        found = half_away(values * scale) - half_away(float(F(low)) * scale) + self.lowest
        clipped: Array = np.clip(found, self.lowest, self.highest).astype(np.int64)
        return clipped

    def floats(self, integers: Any, low: Any, high: Any) -> Array:
        """The floats that integers stand for."""
        offset = np.asarray(integers).astype(np.float64) - self.lowest
        if low == high:
            return np.full(offset.shape, low, F)
        scale = float(F(high) - F(low)) * (self.steps / (self.steps - 1.0)) / self.steps
        short = float(F(scale))
        start = half_away(float(F(F(low) / F(scale)))) * short
        return np.asarray(start + offset * scale).astype(F)

    # Arrays

    def nearest_of_array(self, values: Array, low: Any, high: Any) -> Array:
        """As `nearest`, in single precision; int32 or wider."""
        scale = F((self.steps - 1.0) / float(F(high) - F(low))) if high != low else F(0)
        start = F(half_away(F(low) * scale))
        found = half_away(values * scale) - (start - F(self.lowest))
        # The greatest floats that are still int32.
        ends = max(F(self.lowest), F(-2147483648)), min(F(self.highest), F(2147483520))
        clipped: Array = np.clip(found, *ends).astype(np.int32)
        return clipped

    def floats_of_array(self, integers: Array, low: Any, high: Any) -> Array:
        """As `floats`, in single precision."""
        scale = F(float(F(high) - F(low)) / (self.steps - 1.0))
        start = F(low) if high == low else F(half_away(F(low) / scale) * scale)
        return (start - F(self.lowest) * scale) + integers.astype(F) * scale

    def level(self, low: Any, high: Any) -> Any:
        """The float that one step of the integers stands for."""
        return (F(high) - F(low)) / F(self.highest - self.lowest)


def half_away(x: Any) -> Any:
    """Rounded to the nearest integer, halves away from zero; NumPy rounds them to even ones."""
    whole = np.trunc(x)
    return whole + np.copysign(np.abs(x - whole) >= 0.5, x).astype(np.asarray(x).dtype)


def number(name: str, value: Any) -> float:
    """The float in an input of one element. Raises `ValueError` for more or fewer."""
    if np.size(value) != 1:
        raise ValueError(f"{name} must be a scalar, got shape {np.shape(value)}")
    return float(np.asarray(value).reshape(()))


def product_range(a: Grid, b: Grid, out: Grid, ends_a: tuple[float, float], ends_b: tuple[float, float]) -> Any:
    """The floats of the least and greatest integer in products of integers of two types."""
    level = a.level(*ends_a) * b.level(*ends_b)
    return F(level * F(out.lowest)), F(level * F(out.highest))
