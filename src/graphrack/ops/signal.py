"""Fourier transforms, of the last dimensions or of given ones.

SciPy's transforms keep single precision single; complex64 goes in and complex64 comes out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DTYPES, FLOAT, DType
from graphrack.ops.registry import Kernel, op, specialized
from graphrack.ops.runtime import Array

COMPLEX64 = DTYPES[8]


def _check_rank(input: Array, rank: int) -> None:
    if input.ndim < rank:
        raise ValueError(f"the input must have at least {rank} dimensions, got shape {input.shape}")


def _lengths(fft_length: Array, count: int) -> list[int]:
    if fft_length.shape != (count,):
        raise ValueError(f"fft_length must have shape [{count}], got {list(fft_length.shape)}")
    lengths: list[int] = fft_length.tolist()
    if min(lengths) < 0:
        raise ValueError(f"fft_length must hold sizes of at least 0, got {lengths}")
    return lengths


def _cropped(input: Array, axes: tuple[int, ...], lengths: list[int]) -> Array:
    """The first `lengths` along `axes`. Raises `ValueError` where there are fewer: nothing is padded."""
    index = [slice(None)] * input.ndim
    for axis, length in zip(axes, lengths, strict=True):
        if input.shape[axis] < length:
            raise ValueError(
                f"dimension {axis % input.ndim} of the input must have at least {length} elements for its "
                f"fft_length, got shape {input.shape}; pad it"
            )
        index[axis] = slice(length)
    return input[tuple(index)]


def _empty(shape: tuple[int, ...], axes: tuple[int, ...], sizes: list[int], dtype: Any) -> Array | None:
    """The result where nothing is to be computed: an output of no elements, or none to read."""
    out = list(shape)
    for axis, size in zip(axes, sizes, strict=True):
        out[axis] = size
    return None if 0 not in out and 0 not in shape else np.zeros(out, dtype)


def _complex_transform(rank: int, inverse: bool) -> Kernel:
    axes = tuple(range(-rank, 0))

    def run(input: Array) -> Any:
        from scipy import fft

        _check_rank(input, rank)
        if not input.size:
            return input
        return fft.ifftn(input, axes=axes) if inverse else fft.fftn(input, axes=axes)

    return run


def _from_real(input: Array, axes: tuple[int, ...], lengths: list[int], dtype: Any) -> Any:
    from scipy import fft

    halved = [*lengths[:-1], lengths[-1] // 2 + 1 if lengths[-1] else 0]
    input = _cropped(input, axes, lengths)
    empty = _empty(input.shape, axes, halved, dtype)
    return fft.rfftn(input, axes=axes).astype(dtype, copy=False) if empty is None else empty


def _to_real(input: Array, axes: tuple[int, ...], lengths: list[int], dtype: Any) -> Any:
    from scipy import fft

    halved = [*lengths[:-1], lengths[-1] // 2 + 1]
    input = _cropped(input, axes, halved)
    empty = _empty(input.shape, axes, lengths, dtype)
    return fft.irfftn(input, s=lengths, axes=axes).astype(dtype, copy=False) if empty is None else empty


for _rank, _suffix in ((1, ""), (2, "2D"), (3, "3D")):
    for _inverse, _name in ((False, "FFT"), (True, "IFFT")):
        op(f"{_name}{_suffix}", f"Batch{_name}{_suffix}")(_complex_transform(_rank, _inverse))


def _real_transform(rank: int, dtype: DType) -> Kernel:
    axes, result = tuple(range(-rank, 0)), dtype.numpy
    transform = _from_real if result.kind == "c" else _to_real

    def run(input: Array, fft_length: Array) -> Any:
        _check_rank(input, rank)
        return transform(input, axes, _lengths(fft_length, rank), result)

    return run


@specialized("RFFT")
def RFFT(*, Tcomplex: DType = COMPLEX64) -> Kernel:
    return _real_transform(1, Tcomplex)


@specialized("RFFT2D")
def RFFT2D(*, Tcomplex: DType = COMPLEX64) -> Kernel:
    return _real_transform(2, Tcomplex)


@specialized("RFFT3D")
def RFFT3D(*, Tcomplex: DType = COMPLEX64) -> Kernel:
    return _real_transform(3, Tcomplex)


@specialized("IRFFT")
def IRFFT(*, Treal: DType = FLOAT) -> Kernel:
    return _real_transform(1, Treal)


@specialized("IRFFT2D")
def IRFFT2D(*, Treal: DType = FLOAT) -> Kernel:
    return _real_transform(2, Treal)


@specialized("IRFFT3D")
def IRFFT3D(*, Treal: DType = FLOAT) -> Kernel:
    return _real_transform(3, Treal)
