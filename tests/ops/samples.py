"""Arrays of every dtype for the tests of ops."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from ops.harness import Refused, by_tensorflow, check

STRINGS = np.dtype(object)
INTEGERS = [np.dtype(f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
FLOATS = [np.dtype(name) for name in ("float32", "float64", "float16", ml_dtypes.bfloat16)]
COMPLEX = [np.dtype(name) for name in ("complex64", "complex128")]
REALS = [*FLOATS, *INTEGERS]
NUMBERS = [*REALS, *COMPLEX]
QUANTIZED = [
    np.dtype([(name, base)])
    for name, base in (
        ("qint8", np.int8),
        ("quint8", np.uint8),
        ("qint16", np.int16),
        ("quint16", np.uint16),
        ("qint32", np.int32),
    )
]
PLAIN = [*NUMBERS, np.dtype(bool), STRINGS]
"""What nearly every op on arrays takes."""
ALL = [*PLAIN, *QUANTIZED]


def sample(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """Random small values (some of them equal) of one dtype; strings are an object array of bytes."""
    dtype = np.dtype(dtype)
    random = np.random.default_rng([seed, *shape])
    values = random.integers(-9 if dtype.kind in "fcV" or dtype == np.int32 else 0, 10, shape)
    if dtype == STRINGS:
        out = np.empty(shape, object)
        out[...] = np.array([b"s%d" % v if v else b"" for v in values.reshape(-1)] or [b""], object)[
            : max(1, values.size)
        ].reshape(shape if values.size else (1,) * len(shape))
        return out
    if dtype.names:
        return values.astype(dtype[0]).view(dtype)
    if dtype.kind == "b":
        return values % 2 == 1
    if dtype.kind == "c":
        return (values + 1j * random.integers(-9, 10, shape)).astype(dtype)
    return np.asarray(values).astype(dtype)


def sequence(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """0, 1, 2… in that shape, each element different."""
    count = int(np.prod(shape, dtype=int))
    if np.dtype(dtype) == STRINGS:
        out = np.empty(count, object)
        out[:] = [b"%d" % i for i in range(count)]
        return out.reshape(shape)
    return np.arange(count).reshape(shape).astype(dtype)


def ints(*values: Any, dtype: Any = np.int32) -> np.ndarray:
    """A vector of indices, sizes or axes."""
    return np.array(values, dtype)


def scalar(value: Any, dtype: Any = np.int32) -> np.ndarray:
    """A tensor of rank 0."""
    return np.array(value, dtype)


def strings(*values: Any) -> np.ndarray:
    """A vector (or more) of strings."""
    return np.array(values, object)


def text(value: bytes) -> np.ndarray:
    """A string as a tensor of rank 0."""
    return np.array(value, object)


def check_if_known(op_name: str, *, static_shapes: bool = False, **arguments: Any) -> bool:
    """As `check`, but gives False where TensorFlow has no CPU kernel for these dtypes or ranks."""
    expected = by_tensorflow(op_name, arguments, static_shapes)[2]
    message = f"{type(expected.error).__name__}: {expected.error}" if isinstance(expected, Refused) else ""
    if any(reason in message for reason in ("No OpKernel", "not supported", "UnimplementedError")):
        return False
    check(op_name, static_shapes=static_shapes, **arguments)
    return True
