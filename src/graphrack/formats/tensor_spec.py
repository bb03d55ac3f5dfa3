"""What a tensor is, without its values."""

from __future__ import annotations

from typing import NamedTuple

from graphrack.formats.dtypes import DType


class TensorSpec(NamedTuple):
    """A tensor's name, dtype and shape: None is an unknown rank, and in a shape an unknown size."""

    name: str
    dtype: DType
    shape: tuple[int | None, ...] | None
