"""Dimensions renumbered from one data format to another, as layout optimisers write it into graphs."""

from __future__ import annotations

import numpy as np

from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array


def _formats(src_format: bytes, dst_format: bytes) -> None:
    if (
        len(src_format) not in (4, 5)
        or sorted(src_format) != sorted(dst_format)
        or len(set(src_format)) < len(src_format)
    ):
        raise ValueError(
            "src_format and dst_format must name the same 4 or 5 dimensions, got "
            f"{src_format.decode(errors='replace')!r} and {dst_format.decode(errors='replace')!r}"
        )


@specialized("DataFormatDimMap")
def DataFormatDimMap(*, src_format: bytes = b"NHWC", dst_format: bytes = b"NCHW") -> Kernel:
    """Indices of dimensions of one format as those of another."""
    _formats(src_format, dst_format)
    rank = len(src_format)
    places = np.array([dst_format.index(name) for name in src_format])

    def run(x: Array) -> Array:
        if x.size and not (-rank <= x.min() and x.max() < rank):
            raise ValueError(f"x must hold dimensions in [{-rank}, {rank}), got {np.asarray(x).tolist()}")
        result: Array = places[x].astype(x.dtype)
        return result

    return run


@specialized("DataFormatVecPermute")
def DataFormatVecPermute(*, src_format: bytes = b"NHWC", dst_format: bytes = b"NCHW") -> Kernel:
    """Sizes, or pairs of paddings, in another order; where there are two fewer, of spatial dimensions alone."""
    _formats(src_format, dst_format)
    rank = len(src_format)
    whole = [src_format.index(name) for name in dst_format]
    spatial_source = [name for name in src_format if name not in b"NC"]
    spatial = [spatial_source.index(name) for name in dst_format if name in spatial_source]

    def run(x: Array) -> Array:
        if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[1] != 2) or len(x) not in (rank, len(spatial)):
            raise ValueError(
                f"x must have shape [{rank}], [{rank}, 2], [{len(spatial)}] or [{len(spatial)}, 2], got {x.shape}"
            )
        return x[whole if len(x) == rank else spatial]

    return run
