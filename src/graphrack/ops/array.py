"""Values as they are, facts about them, and arrays made from nothing: Identity, Shape, Fill, Range…"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from graphrack.formats.dtypes import INT32, VARIANT, DType
from graphrack.ops._arguments import checked_sizes, filled, legacy_vector, sizes, zeros
from graphrack.ops.registry import MANY, op, specialized
from graphrack.ops.runtime import Array

# ---- Passed on ----


@op(
    "Identity",
    "Snapshot",
    "StopGradient",
    "PreventGradient",
    "GuaranteeConst",
    "DeepCopy",
    "Copy",
    "CopyHost",
    "DebugIdentity",
    "DebugIdentityV2",
    "DebugIdentityV3",
    "PlaceholderWithDefault",
)
def Identity(input: Any) -> Any:
    return input


@op("IdentityN", outputs=MANY)
def IdentityN(*input: Any) -> tuple[Any, ...]:
    return input


@op("NoOp", outputs=0)
def NoOp() -> None:
    return None


@op("EnsureShape")
def EnsureShape(input: Array, *, shape: tuple[int | None, ...] | None) -> Array:
    found = input.shape
    if shape is not None and (
        len(found) != len(shape)
        or any(want is not None and want != size for want, size in zip(shape, found, strict=True))
    ):
        raise ValueError(f"input has shape {found}, expected one compatible with {shape}")
    return input


@op("CheckNumerics", "CheckNumericsV2")
def CheckNumerics(tensor: Array, *, message: bytes) -> Array:
    if not np.isfinite(tensor).all():
        what = [name for name, test in (("Inf", np.isinf), ("NaN", np.isnan)) if test(tensor).any()]
        raise ValueError(f"{message.decode(errors='replace')} : Tensor had {' and '.join(what)} values")
    return tensor


# ---- Facts about a value ----


@lru_cache(maxsize=4096)
def fact(value: Any, dtype: np.dtype[Any]) -> Array:
    """An array of integers: for the same ones the same array, by which a step sees that nothing has changed."""
    out = np.array(value, dtype)
    out.flags.writeable = False
    return out


@specialized("Shape")
def Shape(*, out_type: DType = INT32) -> Any:
    dtype = out_type.numpy
    return lambda input: fact(input.shape, dtype)


@op("ShapeN", outputs=MANY)
def ShapeN(*input: Array, out_type: DType = INT32) -> list[Array]:
    return [fact(value.shape, out_type.numpy) for value in input]


@specialized("Size")
def Size(*, out_type: DType = INT32) -> Any:
    dtype = out_type.numpy
    return lambda input: fact(input.size, dtype)


@op("Rank")
def Rank(input: Array) -> Any:
    return fact(input.ndim, INT32.numpy)


# ---- Made from nothing ----


@op("Fill")
def Fill(dims: Array, value: Array) -> Array:
    if value.ndim and value.shape != (1,):
        raise ValueError(f"value must be a scalar, got shape {value.shape}")
    return filled(checked_sizes("dims", legacy_vector("dims", dims)), value, value.dtype)


@specialized("ZerosLike")
def ZerosLike(*, T: DType) -> Any:
    if T == VARIANT:
        from graphrack.ops._lists import variant_zeros_like

        return variant_zeros_like
    return zeros_like


def zeros_like(x: Array) -> Array:
    return zeros(x.shape, x.dtype)


@op("OnesLike")
def OnesLike(x: Array) -> Array:
    return filled(x.shape, 1, x.dtype)


@op("Empty")
def Empty(shape: Array, *, dtype: DType, init: bool = False) -> Array:
    # What an uninitialised array holds is nobody's business: zeros, whatever `init` says.
    return zeros(sizes("shape", shape), dtype.numpy)
