from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check

PAIRS = [("NHWC", "NCHW"), ("NCHW", "NHWC"), ("NDHWC", "NCDHW"), ("NHWC", "HWNC"), ("HWCN", "NHWC"), ("NHWC", "NHWC")]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_dimensions_in_another_format(source: str, target: str, dtype: type) -> None:
    formats, rank = {"src_format": source, "dst_format": target}, len(source)
    check("DataFormatDimMap", x=np.arange(-rank, rank, dtype=dtype).reshape(2, -1), **formats, refused=False)
    check("DataFormatDimMap", x=dtype(-1), **formats, refused=False)
    check("DataFormatDimMap", x=np.zeros((0,), dtype), **formats, refused=False)
    for shape in ([rank], [rank - 2], [rank, 2], [rank - 2, 2]):
        x = RNG.integers(0, 99, shape).astype(dtype)
        check("DataFormatVecPermute", x=x, **formats, refused=False)
    for shape in ([rank - 1], [rank, 3], [], [rank, 2, 1]):
        check("DataFormatVecPermute", x=np.zeros(shape, dtype), **formats, refused=True)


RNG = np.random.default_rng(0)


def test_formats_of_other_dimensions_are_refused() -> None:
    for source, target in (("NHWC", "NHC"), ("NHWC", "NNNN"), ("NC", "CN")):
        formats = {"src_format": source, "dst_format": target, "refused": True}
        check("DataFormatDimMap", x=np.arange(2, dtype=np.int32), **formats)
        check("DataFormatVecPermute", x=np.arange(len(source), dtype=np.int32), **formats)
