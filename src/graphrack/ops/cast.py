"""Cast: every pair of types.

Floats become integers by truncation. For those out of an integer's range, and NaN, TensorFlow on x86
gives what the processor's conversions give, and so do these kernels:

    int32, int64    the least integer
    uint64          2^63 for NaN and from 2^64 on; negative numbers wrap around
    uint32          2^31 outside [-2^31, 2^32); negative numbers wrap around
    8 and 16 bits   the nearest end of the range, via int32

The last two lines hold for the bulk of a large tensor: TensorFlow's results for its last few elements,
and for small tensors, differ from them in ways that depend on the size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import BFLOAT16, DOUBLE, DTYPES, FLOAT, HALF, STRING, DType
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

FRACTION_BITS = {
    DOUBLE: 52,
    FLOAT: 23,
    HALF: 10,
    BFLOAT16: 7,
    DTYPES[25]: 3,  # float8_e4m3fn
    DTYPES[24]: 2,  # float8_e5m2
}
"""Bits of a float's fraction, for `Truncate`."""


@specialized("Cast")
def Cast(*, SrcT: DType, DstT: DType, Truncate: bool = False) -> Kernel:
    if SrcT == DstT:
        return lambda x: x
    if STRING in (SrcT, DstT) or not SrcT.itemsize or not DstT.itemsize:
        raise ValueError(f"no cast leads from {SrcT} to {DstT}; strings are parsed by StringToNumber")
    source, target = _stored(SrcT), _stored(DstT)
    convert = _conversion(source, target)
    if Truncate:
        convert = _truncated(SrcT, DstT, convert)
    if SrcT.numpy.names or DstT.numpy.names:  # quantized values are cast as the integers that they are
        result = DstT.numpy
        return lambda x: convert(np.asarray(x).view(source)).view(result)
    return convert


def _stored(T: DType) -> np.dtype[Any]:
    """The plain dtype of a type's elements: an integer for quantized types."""
    return T.numpy[0] if T.numpy.names else T.numpy


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or (dtype.kind == "V" and np.can_cast(dtype, np.float64))


def _conversion(source: np.dtype[Any], target: np.dtype[Any]) -> Kernel:
    if source.kind == "c" and target.kind != "c":
        convert = _conversion(np.empty(0, source).real.dtype, target)
        return lambda x: convert(x.real)
    if target.kind not in "iu" or not _is_float(source):
        return lambda x: x.astype(target)
    if source.itemsize == 1:  # float8: ml_dtypes has rules of its own
        convert = _conversion(np.dtype(np.float32), target)
        return lambda x: convert(x.astype(np.float32))
    if target.itemsize < 4:
        return _saturating(target)
    return {"u4": _to_uint32, "u8": _to_uint64}.get(target.str[1:], lambda x: x.astype(target))


def _saturating(target: np.dtype[Any]) -> Kernel:
    info = np.iinfo(target)
    least, greatest = np.int32(info.min), np.int32(info.max)

    def convert(x: Array) -> Any:
        wide = np.asarray(x).astype(np.int32)
        np.maximum(wide, least, out=wide)
        np.minimum(wide, greatest, out=wide)
        return wide.astype(target)

    return convert


def _to_uint32(x: Array) -> Any:
    wide = x.astype(np.int64)
    return np.where((wide >= -(2**31)) & (wide < 2**32), wide, 2**31).astype(np.uint32)


def _to_uint64(x: Array) -> Any:
    if x.dtype.itemsize < 4:
        x = x.astype(np.float32)
    return np.where(x >= 2.0**64, np.uint64(2**63), x.astype(np.uint64))


def _truncated(SrcT: DType, DstT: DType, convert: Kernel) -> Kernel:
    """The conversion, of floats whose surplus fraction bits are cut off before."""
    surplus = FRACTION_BITS.get(SrcT, 0) - FRACTION_BITS.get(DstT, 64)
    if surplus <= 0 or (DstT == BFLOAT16 and SrcT != FLOAT):
        return convert  # no fewer bits, or a cast that TensorFlow always rounds
    source = SrcT.numpy
    bits = np.dtype(f"u{source.itemsize}")
    mask = bits.type((1 << 8 * source.itemsize) - (1 << surplus))

    def cut(x: Array) -> Any:
        # Cut float8_e4m3fn's one NaN would be a number.
        return convert(np.where(np.isnan(x), x, (np.asarray(x).view(bits) & mask).view(source)))

    return cut
