"""Cast: every pair of types."""

from __future__ import annotations

from graphrack.formats.dtypes import DType
from graphrack.ops.registry import Kernel, specialized


@specialized("Cast")
def Cast(*, SrcT: DType, DstT: DType, Truncate: bool = False) -> Kernel:
    dtype = DstT.numpy
    if SrcT == DstT:
        return lambda x: x
    return lambda x: x.astype(dtype)
