"""TensorFlow's DataType numbers, their names, and the NumPy dtypes that hold them.

The numbers are those of TensorFlow's `types.proto`; they stand in files and must never change.
Numbers above 100 are the reference form of the same type (an output of a `VariableV2`, say).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

_REF = 100  # DT_FLOAT_REF is DT_FLOAT + 100, and so on


class DType:
    """One TensorFlow data type. Compares equal to its NumPy dtype and to its name.

    `np.zeros(3, dtype=t)` works, `t == np.float32` works, `str(t)` is TensorFlow's name.
    """

    __slots__ = ("__dict__", "_numpy", "name", "number")

    def __init__(self, number: int, name: str, numpy: Any):
        self.number = number
        self.name = name
        self._numpy = numpy

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype that holds it: `object` (of `bytes`) for strings, `object` for handles."""
        if isinstance(self._numpy, str):  # one of ml_dtypes', imported on first use
            import ml_dtypes

            dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, self._numpy))
        else:
            dtype = np.dtype(self._numpy)
        return dtype

    @property
    def dtype(self) -> np.dtype[Any]:
        """What lets NumPy take this object wherever it takes a dtype."""
        return self.numpy

    @property
    def itemsize(self) -> int:
        """Bytes per element in a file; 0 where elements have no fixed size (strings, handles)."""
        return 0 if self.numpy.hasobject else self.numpy.itemsize

    @property
    def is_string(self) -> bool:
        """Whether elements are byte strings."""
        return self.number == 7

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self.number == other.number
        if isinstance(other, str):
            return other == self.name or (self.itemsize > 0 and other == str(self.numpy))
        try:
            return self.itemsize > 0 and np.dtype(other) == self.numpy  # type: ignore[call-overload]
        except TypeError:
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self.numpy) if self.itemsize else hash(self.name)

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


def _quantized(name: str, base: Any) -> Any:
    # TensorFlow's own NumPy form of quantized types: one named field, so that they differ from ints.
    return np.dtype([(name, base)])


DTYPES: dict[int, DType] = {
    number: DType(number, name, numpy)
    for number, name, numpy in (
        (1, "float32", np.float32),
        (2, "float64", np.float64),
        (3, "int32", np.int32),
        (4, "uint8", np.uint8),
        (5, "int16", np.int16),
        (6, "int8", np.int8),
        (7, "string", np.object_),
        (8, "complex64", np.complex64),
        (9, "int64", np.int64),
        (10, "bool", np.bool_),
        (11, "qint8", _quantized("qint8", np.int8)),
        (12, "quint8", _quantized("quint8", np.uint8)),
        (13, "qint32", _quantized("qint32", np.int32)),
        (14, "bfloat16", "bfloat16"),
        (15, "qint16", _quantized("qint16", np.int16)),
        (16, "quint16", _quantized("quint16", np.uint16)),
        (17, "uint16", np.uint16),
        (18, "complex128", np.complex128),
        (19, "float16", np.float16),
        (20, "resource", np.object_),
        (21, "variant", np.object_),
        (22, "uint32", np.uint32),
        (23, "uint64", np.uint64),
        (24, "float8_e5m2", "float8_e5m2"),
        (25, "float8_e4m3fn", "float8_e4m3fn"),
        (26, "float8_e4m3fnuz", "float8_e4m3fnuz"),
        (27, "float8_e4m3b11fnuz", "float8_e4m3b11fnuz"),
        (28, "float8_e5m2fnuz", "float8_e5m2fnuz"),
        (29, "int4", "int4"),
        (30, "uint4", "uint4"),
        (31, "int2", "int2"),
        (32, "uint2", "uint2"),
        (33, "float4_e2m1fn", "float4_e2m1fn"),
    )
}

FLOAT, DOUBLE, INT32, UINT8 = DTYPES[1], DTYPES[2], DTYPES[3], DTYPES[4]
STRING, INT64, BOOL, BFLOAT16, HALF = DTYPES[7], DTYPES[9], DTYPES[10], DTYPES[14], DTYPES[19]
RESOURCE, VARIANT = DTYPES[20], DTYPES[21]

UNKNOWN = DType(0, "unknown", np.object_)
"""Of tensors whose dtype can't be known without running (outputs of ops that nobody knows)."""

_BY_NUMPY: dict[np.dtype[Any], DType] = {}


def dtype_of(number: int) -> DType:
    """The type with that number, reference forms included. Raises `KeyError` for any other number."""
    return DTYPES[number - _REF if number > _REF else number]


def is_ref(number: int) -> bool:
    """Whether the number is the reference form of a type."""
    return number > _REF


def from_numpy(dtype: Any) -> DType:
    """The type that a NumPy dtype holds; `str`, `bytes` and `object` dtypes are strings.

    Raises `KeyError` where TensorFlow has no such type (dates, records, long doubles).
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "SUO":
        return STRING
    found = _BY_NUMPY.get(dtype)
    if found is None:
        # NumPy's own first: telling ml_dtypes' takes importing it.
        own = dtype.newbyteorder("=").isbuiltin == 1
        known = (t for t in DTYPES.values() if not (own and isinstance(t._numpy, str)) and t.itemsize)
        _BY_NUMPY.update((t.numpy, t) for t in known)
        found = _BY_NUMPY[dtype.newbyteorder("=")]
    return found
