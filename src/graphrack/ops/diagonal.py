"""Diagonals and bands of matrices: Diag, MatrixDiag, MatrixDiagPart, MatrixSetDiag, MatrixBandPart.

A band of several diagonals is packed as rows, the highest diagonal first, each row as long as the
longest diagonal; `align` says on which side the shorter ones are: "RIGHT_LEFT" puts superdiagonals to
the right and subdiagonals to the left. Diagonal d (above the main one when positive) of a matrix with C
columns is a strided slice of its flat form: it starts at d or -d * C, with steps of C + 1.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from graphrack.ops._arguments import blank, filled, scalar, zeros
from graphrack.ops.registry import Kernel, Prepared, op, specialized
from graphrack.ops.runtime import Array


@op("Diag")
def Diag(diagonal: Array) -> Array:
    if not diagonal.ndim:
        raise ValueError("diagonal must have at least one dimension, got a scalar")
    size = diagonal.size
    out = zeros((size, size), diagonal.dtype)
    out.reshape(-1)[:: size + 1] = diagonal.reshape(-1)
    return out.reshape(diagonal.shape * 2)


@op("DiagPart")
def DiagPart(input: Array) -> Array:
    half = input.ndim // 2
    if input.shape[:half] != input.shape[half:]:
        raise ValueError(f"input must have a shape that repeats its first half, got {input.shape}")
    size = math.prod(input.shape[:half])
    return input.reshape(size * size)[:: size + 1].reshape(input.shape[:half])


# ---- Bands ----


def _band(k: Array) -> tuple[int, int]:
    """The lowest and highest diagonal that `k` (one number, or two) names."""
    found = k.reshape(-1).tolist()
    if k.ndim > 1 or len(found) not in (1, 2) or found[0] > found[-1]:
        raise ValueError(f"k must be a diagonal's number, or two that go up, got {k.tolist()}")
    return found[0], found[-1]


def _check_band(band: tuple[int, int], rows: int, columns: int) -> None:
    """Raises `ValueError` for diagonals outside of matrices of that size."""
    if any(d and not -rows < d < columns for d in band):
        raise ValueError(f"k must name diagonals of a matrix with shape {(rows, columns)}, got {list(band)}")


def _longest(band: tuple[int, int], rows: int, columns: int) -> int:
    return min(rows + min(band[1], 0), columns - max(band[0], 0))


def _diagonals(matrices: Array, band: tuple[int, int], packed: Array, align: bytes) -> list[tuple[Array, Array]]:
    """For each diagonal of the band: its elements in the matrices, and its place in the packed form.

    All of them are views, and those of `matrices` need it to be contiguous.
    """
    rows, columns = matrices.shape[-2:]
    low, high = band
    longest = packed.shape[-1]
    flat = matrices.reshape((*matrices.shape[:-2], rows * columns))
    above, _, below = align.partition(b"_")
    pairs = []
    for d in range(low, high + 1):
        length = max(0, min(rows + min(d, 0), columns - max(d, 0)))
        start = d if d >= 0 else -d * columns
        left = (d >= 0 and above == b"LEFT") or (d <= 0 and below == b"LEFT")
        first = 0 if left else longest - length
        line = packed if low == high else packed[..., high - d, :]
        pairs.append(
            (
                flat[..., start : start + length * (columns + 1) : columns + 1],
                line[..., first : first + length],
            )
        )
    return pairs


def _from_diagonals(
    diagonal: Array, band: tuple[int, int], num_rows: int, num_cols: int, padding: Any, align: bytes
) -> Array:
    """Matrices that hold the diagonals and padding elsewhere; sizes of -1 follow from the others."""
    low, high = band
    single = low == high
    if diagonal.ndim < 2 - single:
        raise ValueError(f"diagonal must have at least {2 - single} dimensions, got shape {diagonal.shape}")
    if not single and diagonal.shape[-2] != high - low + 1:
        raise ValueError(
            f"diagonals {low} to {high} need {high - low + 1} rows in the last dimension but one, got "
            f"shape {diagonal.shape}"
        )
    longest = diagonal.shape[-1]
    if low == high == 0 and num_rows == num_cols == -1:
        batch = diagonal.shape[:-1]
        out = filled((*batch, longest * longest), padding, diagonal.dtype)
        out[..., :: longest + 1] = diagonal
        return out.reshape((*batch, longest, longest))
    least_rows, least_columns = longest - min(high, 0), longest + max(low, 0)
    rows, columns = num_rows, num_cols
    if rows == columns == -1:
        rows = columns = max(least_rows, least_columns)
    rows = least_rows if rows == -1 else rows
    columns = least_columns if columns == -1 else columns
    if rows < least_rows or columns < least_columns or (rows > least_rows and columns > least_columns):
        raise ValueError(
            f"diagonals {low} to {high}, the longest of {longest} elements, don't fit a matrix of "
            f"num_rows = {num_rows} and num_cols = {num_cols}"
        )
    batch = diagonal.shape[: -1 if single else -2]
    out = filled((*batch, rows, columns), padding, diagonal.dtype)
    for there, given in _diagonals(out, band, diagonal, align):
        there[...] = given
    return out


@op("MatrixDiag", "BatchMatrixDiag")
def MatrixDiag(diagonal: Array) -> Array:
    return _from_diagonals(diagonal, (0, 0), -1, -1, blank(diagonal.dtype), b"")


@specialized("MatrixDiagV2")
def MatrixDiagV2() -> Any:
    return MatrixDiagV3(align=b"LEFT_LEFT")


@specialized("MatrixDiagV3")
def MatrixDiagV3(*, align: bytes = b"RIGHT_LEFT") -> Any:
    def prepare(
        k: Array, num_rows: Array, num_cols: Array, padding_value: Array
    ) -> tuple[tuple[int, int], int, int, Array]:
        return _band(k), scalar("num_rows", num_rows), scalar("num_cols", num_cols), _padding(padding_value)

    def matrix_diag(diagonal: Array, prepared: tuple[tuple[int, int], int, int, Array]) -> Array:
        return _from_diagonals(diagonal, *prepared, align)

    return Prepared(matrix_diag, slice(1, None), prepare)


def _padding(value: Array) -> Array:
    if value.ndim:
        raise ValueError(f"padding_value must be a scalar, got shape {value.shape}")
    return value


def _matrices(input: Array) -> tuple[int, int]:
    if input.ndim < 2:
        raise ValueError(f"input must have at least 2 dimensions, got shape {input.shape}")
    return input.shape[-2], input.shape[-1]


def _to_diagonals(input: Array, band: tuple[int, int], padding: Any, align: bytes) -> Array:
    rows, columns = _matrices(input)
    low, high = band
    if low == high == 0:
        return input.diagonal(0, -2, -1)
    _check_band(band, rows, columns)
    packed = () if low == high else (high - low + 1,)
    out = filled((*input.shape[:-2], *packed, _longest(band, rows, columns)), padding, input.dtype)
    for there, place in _diagonals(np.ascontiguousarray(input), band, out, align):
        place[...] = there
    return out


@op("MatrixDiagPart", "BatchMatrixDiagPart")
def MatrixDiagPart(input: Array) -> Array:
    _matrices(input)
    return np.diagonal(input, axis1=-2, axis2=-1)


@specialized("MatrixDiagPartV2")
def MatrixDiagPartV2() -> Any:
    return MatrixDiagPartV3(align=b"LEFT_LEFT")


@specialized("MatrixDiagPartV3")
def MatrixDiagPartV3(*, align: bytes = b"RIGHT_LEFT") -> Any:
    def prepare(k: Array, padding_value: Array) -> tuple[tuple[int, int], Array]:
        return _band(k), _padding(padding_value)

    def matrix_diag_part(input: Array, prepared: tuple[tuple[int, int], Array]) -> Array:
        return _to_diagonals(input, *prepared, align)

    return Prepared(matrix_diag_part, slice(1, None), prepare)


def _with_diagonals(input: Array, diagonal: Array, band: tuple[int, int], align: bytes) -> Array:
    rows, columns = _matrices(input)
    low, high = band
    packed = () if low == high else (high - low + 1,)
    if low or high:
        _check_band(band, rows, columns)
    wanted = (*input.shape[:-2], *packed, _longest(band, rows, columns))
    if diagonal.shape != wanted:
        raise ValueError(
            f"diagonal must have shape {wanted} for diagonals {low} to {high} of an input of shape "
            f"{input.shape}, got {diagonal.shape}"
        )
    out = input.copy()
    if low == high == 0:
        out.reshape(*input.shape[:-2], rows * columns)[..., :: columns + 1][..., : diagonal.shape[-1]] = diagonal
        return out
    for there, given in _diagonals(out, band, diagonal, align):
        there[...] = given
    return out


@op("MatrixSetDiag", "BatchMatrixSetDiag")
def MatrixSetDiag(input: Array, diagonal: Array) -> Array:
    return _with_diagonals(input, diagonal, (0, 0), b"")


@specialized("MatrixSetDiagV2")
def MatrixSetDiagV2() -> Any:
    return MatrixSetDiagV3(align=b"LEFT_LEFT")


@specialized("MatrixSetDiagV3")
def MatrixSetDiagV3(*, align: bytes = b"RIGHT_LEFT") -> Any:
    return Prepared(lambda input, diagonal, band: _with_diagonals(input, diagonal, band, align), slice(2, None), _band)


@specialized("MatrixBandPart", "BatchMatrixBandPart")
def MatrixBandPart() -> Kernel:
    """What lies at most so many diagonals below and above the main one; negative: all of them."""

    def prepare(num_lower: Array, num_upper: Array) -> tuple[int, int]:
        return scalar("num_lower", num_lower), scalar("num_upper", num_upper)

    return Prepared(_band_part, slice(1, None), prepare)


def _band_part(input: Array, within: tuple[int, int]) -> Array:
    rows, columns = _matrices(input)
    lower, upper = within
    if lower > rows or upper > columns:
        raise ValueError(
            f"num_lower must be at most {rows} and num_upper at most {columns} for an input of shape "
            f"{input.shape}, got {lower} and {upper}"
        )
    inside = (_inside_few if rows * columns <= _FEW else _inside)(rows, columns, lower, upper)
    return np.where(inside, input, blank(input.dtype))


_FEW = 4096  # elements of matrices whose masks are kept


def _inside(rows: int, columns: int, lower: int, upper: int) -> Array:
    """Which elements lie in a band."""
    inside = np.tri(rows, columns, columns if upper < 0 else upper, bool)
    if lower >= 0:
        inside &= ~np.tri(rows, columns, -lower - 1, bool)
    return inside


_inside_few = lru_cache(maxsize=32)(_inside)
