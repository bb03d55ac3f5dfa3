"""What a tensor is, without its values."""

from __future__ import annotations

from typing import NamedTuple

from graphrack.formats.dtypes import DType


class TensorSpec(NamedTuple):
    """A tensor's name, dtype and shape; `shape` is None for an unknown rank and has None for unknown sizes."""

    name: str
    dtype: DType
    shape: tuple[int | None, ...] | None
