"""By how much tensors differ: of two arrays, and of two files of named tensors.

Values are compared in pieces, so that no more is in memory than the two tensors and a little. Numbers
are equal where they compare equal, or are NaN in both. The measures of a tensor `a` and a tensor `b`:

    different          how many elements differ
    max_abs            the largest |b - a|: exact for integers; NaN where one has a NaN and the other has
                       not; infinity where only one is infinite
    relative           ‖b - a‖ / ‖a‖, Euclidean norms over the elements that are finite in both;
                       infinity where a is all zeros and b isn't
    cosine             a · b / (‖a‖ ‖b‖) over the same elements; none where one of them is all zeros

Of complex numbers |z| is the absolute value and a · b the real part of the inner product. Strings have
`different` alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphrack.formats.tensor_files import TensorReader
from graphrack.formats.tensor_spec import TensorSpec

__all__ = ["Difference", "TensorChange", "compare_arrays", "compare_tensors"]

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

_PIECE = 1 << 18  # elements


class Difference(NamedTuple):
    """How two tensors of one shape differ; this module's text says what is measured."""

    elements: int
    different: int
    max_abs: float | int | None
    relative: float | None
    cosine: float | None

    def within(self, tolerance: float) -> bool:
        """Whether no element differs by more; strings: whether none differs."""
        if not self.different:
            return True
        return self.max_abs is not None and bool(self.max_abs <= tolerance)  # False of a NaN


class TensorChange(NamedTuple):
    """One name of two files.

    Attributes:
        name: the tensor's.
        status: `"added"` or `"gone"` (only in the second, in the first), `"reshaped"`, `"retyped"`, `"changed"`
            or `"equal"`; what has another shape and another dtype is `"reshaped"`.
        a, b: what it is in each.
        difference: of the values, where both have one shape and are both numbers or both strings.
    """

    name: str
    status: str
    a: TensorSpec | None
    b: TensorSpec | None
    difference: Difference | None


def compare_arrays(a: Array, b: Array) -> Difference:
    """How two arrays of one shape differ; of strings, `bytes` objects."""
    a, b = _plain(a), _plain(b)
    if a.dtype.kind == "O" or b.dtype.kind == "O":
        return Difference(a.size, int(np.count_nonzero(a != b)), None, None, None)
    if a.size > 1 and not any(a.strides) and not any(b.strides):
        # One value each that stands for any number of elements: graphs have such constants.
        one = compare_arrays(a[(0,) * a.ndim].reshape(1), b[(0,) * b.ndim].reshape(1))
        return one._replace(elements=a.size, different=one.different * a.size)
    exact = a.dtype == b.dtype and a.dtype.kind in "iu"
    flat_a, flat_b = _flat(a), _flat(b)
    pieces = [slice(at, at + _PIECE) for at in range(0, flat_a.size, _PIECE)]
    different = 0
    largest: float | int = 0
    biggest_a = biggest_b = 0.0
    for piece in pieces:
        x, y = flat_a[piece], flat_b[piece]
        count, top = _apart(x, y, exact)
        different += count
        if count:
            largest = _max(largest, top)
        x, y, finite = _finite(x, y)
        biggest_a = max(biggest_a, float(np.abs(x[finite]).max(initial=0)))
        biggest_b = max(biggest_b, float(np.abs(y[finite]).max(initial=0)))
    if not different:
        return Difference(a.size, 0, 0, 0.0, 1.0 if biggest_a else None)
    return Difference(a.size, different, largest, *_norms(flat_a, flat_b, pieces, biggest_a, biggest_b))


def _apart(x: Array, y: Array, exact: bool) -> tuple[int, float | int]:
    """How many elements of two pieces differ, and by how much at most."""
    if exact:
        unequal = x != y
        # The difference of two integers fits into the unsigned ones of their size, and wraps into it.
        wide = np.dtype(np.uint64)
        gap = np.maximum(x, y).astype(wide) - np.minimum(x, y).astype(wide)
        return int(np.count_nonzero(unequal)), int(gap.max(initial=0))
    x, y = _wide(x), _wide(y)
    unequal = ~((x == y) | (np.isnan(x) & np.isnan(y)))
    if not unequal.any():
        return 0, 0
    x, y = x[unequal], y[unequal]
    with np.errstate(over="ignore", invalid="ignore"):
        gaps = np.abs(y - x)
    if x.dtype.kind == "c":  # an infinite part beside a NaN one is infinite to NumPy
        gaps[np.isnan(x) != np.isnan(y)] = np.nan
    # Infinities of two signs, or of complex numbers, are infinitely far apart, and no NaN is involved.
    gaps[np.isnan(gaps) & ~np.isnan(x) & ~np.isnan(y)] = np.inf
    return int(np.count_nonzero(unequal)), float(gaps.max())  # NaN, where there is one


def _max(a: float | int, b: float | int) -> float | int:
    if isinstance(a, float) and math.isnan(a):
        return a
    return b if (isinstance(b, float) and math.isnan(b)) or b > a else a


def _norms(
    a: Array, b: Array, pieces: list[slice], biggest_a: float, biggest_b: float
) -> tuple[float | None, float | None]:
    """`relative` and `cosine`. Everything is divided by the largest first, so that no square overflows."""
    scale = max(biggest_a, biggest_b)
    if not scale:  # nothing is finite in both, or all of that is zero
        return None, None
    square_a = square_b = product = gap = 0.0
    for piece in pieces:
        x, y, finite = _finite(a[piece], b[piece])
        x, y = _real(x[finite]), _real(y[finite])
        delta = x / scale - y / scale
        gap += float(np.dot(delta, delta))
        x, y = x / (biggest_a or 1.0), y / (biggest_b or 1.0)
        square_a += float(np.dot(x, x))
        square_b += float(np.dot(y, y))
        product += float(np.dot(x, y))
    relative = math.sqrt(gap) / (math.sqrt(square_a) * (biggest_a / scale)) if biggest_a / scale else math.inf
    if not square_a or not square_b:
        return relative, None
    return relative, min(1.0, max(-1.0, product / math.sqrt(square_a) / math.sqrt(square_b)))


def _plain(value: Array) -> Array:
    """An array of a dtype that NumPy calculates with: quantized numbers as integers, narrow ones widened."""
    if value.dtype.names:
        value = value[value.dtype.names[0]]
    return value


def _flat(value: Array) -> Array:
    return value.reshape(-1)


def _wide(value: Array) -> Array:
    return value.astype(np.complex128 if value.dtype.kind == "c" else np.float64, copy=False)


def _finite(x: Array, y: Array) -> tuple[Array, Array, Array]:
    x, y = _wide(x), _wide(y)
    return x, y, np.isfinite(x) & np.isfinite(y)


def _real(value: Array) -> Array:
    """Complex numbers as their parts, one behind the other."""
    return value.view(np.float64) if value.dtype.kind == "c" else value


def compare_tensors(
    a: TensorReader, b: TensorReader, names_a: list[str], names_b: list[str], progress: Progress | None = None
) -> list[TensorChange]:
    """Every name of either file, those of the first first; two tensors at a time are in memory.

    Args:
        names_a, names_b: the names to look at, of each.
        progress: called with the bytes done and the bytes in all, of both files' tensors that are read.

    Raises:
        FileError, CorruptFile, CorruptCheckpoint: a file is damaged: checksums are checked.
        UnsupportedOp: a tensor has values that can't be read.
    """
    from graphrack.converting import size_of

    there = set(names_b)
    specs_a = {name: a.spec(name) for name in names_a}
    specs_b = {name: b.spec(name) for name in names_b}
    total = sum(
        size_of(specs_a[name]) + size_of(specs_b[name])
        for name in names_a
        if name in there and _comparable(specs_a[name], specs_b[name])
    )
    done = 0
    if progress is not None:
        progress(0, total)
    found = []
    for name in dict.fromkeys([*names_a, *names_b]):
        spec_a, spec_b = specs_a.get(name), specs_b.get(name)
        difference = None
        if spec_a is not None and spec_b is not None and _comparable(spec_a, spec_b):
            difference = compare_arrays(
                a.read(name, writable=False, verify=True), b.read(name, writable=False, verify=True)
            )
            done += size_of(spec_a) + size_of(spec_b)
            if progress is not None:
                progress(done, total)
        found.append(TensorChange(name, _status(spec_a, spec_b, difference), spec_a, spec_b, difference))
    return found


def _comparable(a: TensorSpec, b: TensorSpec) -> bool:
    return a.shape == b.shape and a.dtype.is_string == b.dtype.is_string


def _status(a: TensorSpec | None, b: TensorSpec | None, difference: Difference | None) -> str:
    if a is None:
        return "added"
    if b is None:
        return "gone"
    if a.shape != b.shape:
        return "reshaped"
    if a.dtype != b.dtype:
        return "retyped"
    return "changed" if difference is None or difference.different else "equal"
