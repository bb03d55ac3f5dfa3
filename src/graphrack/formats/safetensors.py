"""Safetensors files: named tensors in one file that no program has to run to be read.

    bytes              what
    8                  the header's length N, little-endian
    N                  the header: a JSON object, UTF-8, starting with `{`, padded with blanks at its end
    the rest           the tensors' bytes, little-endian, row by row, one behind the other without holes

    header             {NAME: {"dtype": CODE, "shape": [SIZE, …], "data_offsets": [BEGIN, END]}, …}
                       offsets count from the end of the header; `__metadata__`, if it is there, maps
                       text to text and is no tensor

Written here: tensors by falling size of an element, then by name, and a header padded to a multiple of 8,
so that whoever maps the file finds every tensor aligned. Source: the format's own description in
the README of huggingface/safetensors; the package `safetensors` judges it in the tests. (Its `save_file`
takes all tensors at once, in memory; this writes them one by one.)

The format has no checksums, no strings, and one complex dtype. There are no dtypes for quantized numbers or
integers of less than 8 bits; its F4 has two numbers in a byte, and TensorFlow's float4 one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, KeysView
from typing import Any, BinaryIO

import numpy as np

from graphrack.errors import CorruptFile, UnknownName, UnsupportedOp, closest
from graphrack.formats.bundle_writer import saveable
from graphrack.formats.data_files import DataFile
from graphrack.formats.dtypes import DTYPES, DType
from graphrack.formats.tensor_spec import TensorSpec

__all__ = ["SafetensorsReader", "write_safetensors"]

Array = np.ndarray[Any, Any]

ENDING = ".safetensors"

_LENGTH_SIZE = 8
_MAX_HEADER = 100_000_000  # what the package `safetensors` takes
_METADATA = "__metadata__"
_ALIGNMENT = 8
_MAX_RANK = 64  # NumPy's
_PIECE = 16 * 1024 * 1024

_NAMES: dict[str, str] = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}
_BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}
DTYPE_OF: dict[str, DType] = {code: _BY_NAME[name] for code, name in _NAMES.items()}
CODE_OF: dict[int, str] = {dtype.number: code for code, dtype in DTYPE_OF.items()}


class SafetensorsReader:
    """A safetensors file opened for reading; its header is checked, no tensor is read.

    Has what `checkpoint_files.CheckpointReader` has, but for slices. Raises `FileError`, `CorruptFile`.
    """

    def __init__(self, path: str | os.PathLike[str], *, mapped: bool = False):
        self.prefix = os.fspath(path)
        self._file = DataFile(self.prefix, mapped=mapped)
        try:
            self._start, self._tensors = _header(self._file)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def names(self) -> KeysView[str]:
        """The names of all tensors, in the header's order."""
        return self._tensors.keys()

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a tensor. Raises `UnknownName`, `UnsupportedOp` (a dtype that TensorFlow lacks)."""
        code, shape, _, _ = self._find(name)
        dtype = DTYPE_OF.get(code)
        if dtype is None:
            raise UnsupportedOp(f"{self.prefix}: tensor {name!r} is {code}, and TensorFlow has no such dtype")
        return TensorSpec(name, dtype, shape)

    def read(self, name: str, *, writable: bool = True, verify: bool = False) -> Array:
        """The value of a tensor; there are no checksums that `verify` could look at. Raises as `spec` does."""
        del verify
        dtype = self.spec(name).dtype
        _, shape, begin, end = self._find(name)
        raw = self._file.view(self._start + begin, end - begin)
        if writable and not raw.flags.writeable:
            raw = raw.copy()
        if dtype.itemsize > 1 and not np.little_endian:
            raw = raw.reshape(-1, dtype.itemsize // (2 if dtype.numpy.kind == "c" else 1))[:, ::-1].reshape(-1)
        value: Array = raw.view(dtype.numpy).reshape(shape)
        return value

    def _find(self, name: str) -> tuple[str, tuple[int, ...], int, int]:
        found = self._tensors.get(name)
        if found is None:
            raise UnknownName(f"{self.prefix} has no tensor {name!r}{closest(name, self._tensors)}")
        return found


_Tensors = dict[str, tuple[str, tuple[int, ...], int, int]]


def _header(file: DataFile) -> tuple[int, _Tensors]:
    """Where the tensors' bytes begin, and each tensor's code, shape and offsets from there."""
    path = file.path

    def broken(what: str) -> CorruptFile:
        return CorruptFile(f"{path} is no safetensors file, or damaged: {what}")

    if file.size < _LENGTH_SIZE:
        raise broken(f"it has {file.size} bytes, and the header's length alone takes {_LENGTH_SIZE}")
    length = int.from_bytes(file.view(0, _LENGTH_SIZE).tobytes(), "little")
    if length > min(_MAX_HEADER, file.size - _LENGTH_SIZE):
        raise broken(
            f"its first 8 bytes declare a header of {length} bytes; {file.size - _LENGTH_SIZE} bytes follow, "
            f"and at most {_MAX_HEADER} are taken"
        )
    data = file.view(_LENGTH_SIZE, length).tobytes()
    if data[:1] != b"{":
        raise broken(f"its header starts with {data[:1]!r}, not with '{{'")
    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as e:
        raise broken(f"its header is no JSON: {e}") from None
    tensors: _Tensors = {}
    for name, entry in header.items():
        if name == _METADATA:
            if not isinstance(entry, dict) or not all(isinstance(v, str) for v in entry.values()):
                raise broken(f"{_METADATA} should map text to text")
            continue
        tensors[name] = _entry(name, entry, broken)
    size = file.size - _LENGTH_SIZE - length
    at, before = 0, ""
    for name, (_, _, begin, end) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if begin != at:
            where = f"behind {before!r}, which ends at {at}" if before else "at 0"
            raise broken(f"tensor {name!r} begins at {begin} and not {where}")
        at, before = end, name
    if at != size:
        raise broken(f"its tensors take {at} bytes, and {size} bytes follow its header")
    return _LENGTH_SIZE + length, tensors


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _entry(name: str, entry: Any, broken: Callable[[str], CorruptFile]) -> tuple[str, tuple[int, ...], int, int]:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise broken(f"the name {name!r} is no text") from None
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise broken(f"tensor {name!r} should have dtype, shape and data_offsets, and nothing else")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str):
        raise broken(f"tensor {name!r} has a dtype that is no text")
    for what, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 1 << 63 for n in numbers):
            raise broken(f"tensor {name!r} has {what} that are no list of sizes")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise broken(f"tensor {name!r} has the data_offsets {str(offsets)[:100]}; a begin and an end were expected")
    if len(shape) > _MAX_RANK:
        raise broken(f"tensor {name!r} has {len(shape)} dimensions; at most {_MAX_RANK} can be read")
    dtype = DTYPE_OF.get(code)
    # NumPy multiplies the sizes of an empty array, too, but for the zeros.
    if dtype is not None:
        if math.prod(n or 1 for n in shape) * dtype.itemsize >= 1 << 63:
            raise broken(f"tensor {name!r} has the shape {shape}, which no memory could hold")
        if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
            raise broken(
                f"tensor {name!r} of {dtype} and shape {shape} takes {math.prod(shape) * dtype.itemsize} bytes, "
                f"and it has {offsets[1] - offsets[0]}"
            )
    return code, tuple(shape), offsets[0], offsets[1]


def write_safetensors(stream: BinaryIO, specs: Iterable[TensorSpec], read: Callable[[str], Array]) -> None:
    """Writes tensors one by one.

    Args:
        stream: what to write to.
        specs: of every tensor; shapes must be known.
        read: gives a tensor's value, when its turn has come.

    Raises:
        UnsupportedOp: dtypes or names that the format lacks; names all of those tensors.
    """
    specs = sorted(specs, key=lambda spec: (-spec.dtype.itemsize, spec.name))
    _check(specs)
    header: dict[str, Any] = {}
    at = 0
    for spec in specs:
        shape = [size or 0 for size in spec.shape or ()]
        end = at + math.prod(shape) * spec.dtype.itemsize
        header[spec.name] = {"dtype": CODE_OF[spec.dtype.number], "shape": shape, "data_offsets": [at, end]}
        at = end
    data = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    data += b" " * (-len(data) % _ALIGNMENT)
    if len(data) > _MAX_HEADER:
        raise UnsupportedOp(
            f"the names and shapes of {len(specs)} tensors take {len(data)} bytes, and a safetensors file's "
            f"header has at most {_MAX_HEADER}; write several files, with select"
        )
    stream.write(len(data).to_bytes(_LENGTH_SIZE, "little") + data)
    for spec in specs:
        _, value = saveable(read(spec.name), spec.name)
        raw = value.reshape(-1).view(np.uint8)
        for start in range(0, raw.size, _PIECE):
            stream.write(raw[start : start + _PIECE].data)


def _check(specs: list[TensorSpec]) -> None:
    lacking = [f"{spec.name!r} ({spec.dtype})" for spec in specs if spec.dtype.number not in CODE_OF]
    if lacking:
        raise UnsupportedOp(
            f"safetensors files have no dtype for {len(lacking)} of {len(specs)} tensors: {_some(lacking)}; "
            f"leave them out (select=, on the command line --exclude), or write a .npz file, which has them"
        )
    unnamed = [repr(spec.name) for spec in specs if spec.name == _METADATA or not _is_text(spec.name)]
    if unnamed:
        raise UnsupportedOp(
            f"these names can't stand in a safetensors file: {_some(unnamed)}; rename or leave them out"
        )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _some(items: list[str], most: int = 10) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
