"""NumPy's archives: a zip file with a `.npy` file for each array. Nothing is ever pickled or unpickled.

    member             the tensor's name (scopes and all) + ".npy", stored or deflated
    its bytes          NumPy's array format (numpy.lib.format): magic, version, header, elements

How TensorFlow's dtypes stand in it, so that reading gives back what was written:

    dtype                                    in the archive
    numbers that NumPy has                   as they are
    quantized numbers                        one field of the plain integer: [("qint8", "|i1")]
    bfloat16, float8…, int4 and the like     one field of the bits: [("bfloat16", "<u2")]
    string                                   fixed width, `S`, where that loses nothing and takes not much more room

`array["bfloat16"].view(ml_dtypes.bfloat16)` is such a tensor's value without graphrack. Arrays of other
programs are read as well: any byte order, rows or columns first, text (as UTF-8); dates, records and objects
are refused.

What a hostile archive may declare is bounded by its size: members may not overlap, deflate makes at most 1032
bytes of one, and an array must take exactly the bytes that its member has.
"""

from __future__ import annotations

import ast
import contextlib
import io
import math
import os
import re
import struct
import sys
import threading
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, KeysView
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np

from graphrack.errors import CorruptFile, FileError, UnknownName, UnsupportedOp, closest
from graphrack.formats.bundle_writer import saveable
from graphrack.formats.dtypes import DTYPES, DType, from_numpy
from graphrack.formats.tensor_spec import TensorSpec

__all__ = ["NpzReader", "write_npz"]

Array = np.ndarray[Any, Any]

ENDING = ".npz"

_MEMBER = ".npy"
_MOST_OF_ONE = 1032  # bytes that deflate can make of one
_MAX_RANK = 64  # NumPy's
_MAX_HEADER = 1 << 16  # bytes of a .npy header, which is evaluated as a Python literal
_MAX_PADDING = 1 << 26  # bytes of zeros that fixed width may add to strings …
_MAX_WIDENING = 8  # … unless that is no more than this many times their own bytes
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal values give equal files

_BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}
_BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError, struct.error)
"""What zipfile and numpy raise for bytes that aren't what they should be."""


class _Stored(NamedTuple):
    """An array as its header describes it."""

    spec: TensorSpec
    dtype: np.dtype[Any]
    columns_first: bool
    start: int


class NpzReader:
    """A `.npz` file opened for reading: its directory and the headers of its arrays are read and checked.

    Has what `checkpoint_files.CheckpointReader` has, but for slices. Values are read, one at a time, and
    always checked. Safe to use from many threads. Raises `FileError`, `CorruptFile`.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.prefix = os.fspath(path)
        self._lock = threading.Lock()
        self._stored: dict[str, _Stored] = {}
        try:
            size = os.path.getsize(self.prefix)
            file = open(self.prefix, "rb")  # noqa: SIM115 - held until close()
        except OSError as e:
            raise FileError(f"{self.prefix} can't be read: {e.strerror or e}") from e
        try:
            with self._reporting(None):
                self._archive = zipfile.ZipFile(file)
            self._members = self._directory(size)
        except BaseException:
            file.close()
            raise
        self._file = file

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._archive.close()
        self._file.close()

    def names(self) -> KeysView[str]:
        """The names of all tensors, in the archive's order."""
        return self._members.keys()

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a tensor. Raises `UnknownName`, `CorruptFile`, `UnsupportedOp`."""
        with self._lock:
            return self._header(name).spec

    def read(self, name: str, *, writable: bool = True, verify: bool = False) -> Array:
        """The value of a tensor, its checksum checked; strings are objects of `bytes`. Raises as `spec` does."""
        del verify
        with self._lock:
            stored = self._header(name)
            with self._reporting(name), self._archive.open(self._members[name]) as member:
                _exactly(member, stored.start)
                # The header and the directory agree on the size, so that this asks for no more than there is.
                raw = bytearray(self._members[name].file_size - stored.start)
                _fill(member, raw)
                if member.read(1):  # at the end of a member its checksum is compared
                    raise ValueError("it goes on behind its last element")
        value = np.frombuffer(raw, stored.dtype)
        shape = tuple(size or 0 for size in stored.spec.shape or ())
        value = value.reshape(shape, order="F" if stored.columns_first else "C")
        value = _tensor(np.ascontiguousarray(value).reshape(shape), stored.spec)
        value.flags.writeable = writable
        return value

    def _directory(self, size: int) -> dict[str, zipfile.ZipInfo]:
        found: dict[str, zipfile.ZipInfo] = {}
        total = 0
        for info in self._archive.infolist():
            name = info.filename
            if not name.endswith(_MEMBER) or name == _MEMBER:
                raise UnsupportedOp(f"{self.prefix}: its member {name!r} is no array: arrays are called NAME.npy")
            name = name.removesuffix(_MEMBER)
            if name in found:
                raise self._broken(name, "it is there twice")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise UnsupportedOp(
                    f"{self.prefix}: tensor {name!r} is encrypted, or compressed by another method than deflate; "
                    f"NumPy writes neither"
                )
            total += info.compress_size
            most = info.compress_size * (1 if info.compress_type == zipfile.ZIP_STORED else _MOST_OF_ONE)
            if total > size or info.file_size > most:
                raise self._broken(
                    name,
                    f"it declares {info.file_size} bytes, made of {info.compress_size}; "
                    f"the whole file has {size} bytes, which its members share",
                )
            found[name] = info
        return found

    def _header(self, name: str) -> _Stored:
        info = self._members.get(name)
        if info is None:
            raise UnknownName(f"{self.prefix} has no tensor {name!r}{closest(name, self._members)}")
        found = self._stored.get(name)
        if found is None:
            with self._reporting(name), self._archive.open(info) as member:
                shape, columns_first, dtype, start = _npy_header(member)
            tf_dtype = self._dtype(name, dtype)
            if len(shape) > _MAX_RANK or math.prod(max(n, 1) for n in shape) * max(dtype.itemsize, 1) >= 1 << 63:
                raise self._broken(name, f"its header declares the shape {str(shape)[:100]}")
            count = math.prod(shape)
            needed = count * dtype.itemsize
            if needed != info.file_size - start or (dtype.itemsize == 0 and count):
                raise self._broken(
                    name,
                    f"its header declares shape {list(shape)} of {dtype}, {needed} bytes, "
                    f"and {info.file_size - start} are there",
                )
            found = self._stored[name] = _Stored(TensorSpec(name, tf_dtype, shape), dtype, columns_first, start)
        return found

    def _dtype(self, name: str, dtype: np.dtype[Any]) -> DType:
        fields = dtype.fields
        if fields is not None and len(fields) == 1 and dtype.names is not None:
            own = _BY_NAME.get(dtype.names[0])
            if own is not None and own.itemsize and _storage(own) == dtype.newbyteorder("<"):
                return own
        if dtype.hasobject:
            raise UnsupportedOp(
                f"{self.prefix}: {name!r} holds Python objects, which are pickled; reading them could run any "
                f"program, so they are refused: write numbers, or strings of fixed width"
            )
        try:
            if dtype.subdtype is not None or fields is not None:
                raise KeyError
            return from_numpy(dtype)
        except KeyError:
            raise UnsupportedOp(
                f"{self.prefix}: {name!r} has the NumPy dtype {str(dtype)[:100]}, and TensorFlow has none like it"
            ) from None

    def _broken(self, name: str | None, what: str) -> CorruptFile:
        where = f"{self.prefix}: tensor {name!r}" if name is not None else self.prefix
        return CorruptFile(f"{where} is no array of a .npz file, or damaged: {what}")

    @contextlib.contextmanager
    def _reporting(self, name: str | None) -> Iterator[None]:
        """Makes what zipfile and numpy raise an error of ours."""
        try:
            yield
        except FileError:
            raise
        except _BROKEN as e:
            raise self._broken(name, f"{type(e).__name__}: {e}"[:300]) from e
        except OSError as e:
            raise FileError(f"{self.prefix} can't be read: {e.strerror or e}") from e


def _npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether columns come first, dtype, and where the elements begin."""
    magic = _exactly(member, np.lib.format.MAGIC_LEN)
    version = np.lib.format.read_magic(io.BytesIO(magic))
    if version not in ((1, 0), (2, 0)):
        # 3.0 is for records whose fields have non-Latin names.
        raise ValueError(f"version {version} of the array format, and 1.0 or 2.0 was expected")
    width = 2 if version == (1, 0) else 4
    size = int.from_bytes(_exactly(member, width), "little")
    if size > _MAX_HEADER:
        raise ValueError(f"a header of {size} bytes; at most {_MAX_HEADER} are taken")
    shape, columns_first, dtype = _parsed(_exactly(member, size).decode("latin-1"))
    return shape, columns_first, dtype, len(magic) + width + size


def _parsed(text: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """What a header says: a literal of a dict. (NumPy's own reader lets errors of Python's parser through.)"""
    try:
        # Python 2 wrote long integers as `10L`.
        header = ast.literal_eval(re.sub(r"(?<=\d)L(?=[,)])", "", text).strip())
        if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
            raise ValueError("keys other than descr, fortran_order and shape")
        shape, columns_first = header["shape"], header["fortran_order"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names for dtypes that NumPy is about to drop
            dtype = np.lib.format.descr_to_dtype(header["descr"])
    except (TypeError, SyntaxError, ValueError, KeyError, IndexError, RecursionError, MemoryError, OverflowError) as e:
        raise ValueError(f"a header that can't be understood: {text[:100]!r} ({e})") from None
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"the shape {str(shape)[:100]}")
    if not isinstance(columns_first, bool):
        raise ValueError(f"fortran_order {str(columns_first)[:100]}")
    return shape, columns_first, dtype


def _exactly(member: IO[bytes], size: int) -> bytes:
    data = bytearray(size)
    _fill(member, data)
    return bytes(data)


def _fill(member: IO[bytes], data: bytearray) -> None:
    at = 0
    view = memoryview(data)
    while at < len(data):
        piece = member.read(min(len(data) - at, 1 << 20))
        if not piece:
            raise EOFError(f"it ends after {at} of {len(data)} bytes")
        view[at : at + len(piece)] = piece
        at += len(piece)


def _storage(dtype: DType) -> np.dtype[Any]:
    """The NumPy dtype, little-endian, that a fixed-size dtype has in the archive."""
    numpy = dtype.numpy
    if numpy.names is not None:
        return numpy.newbyteorder("<")
    if isinstance(dtype._numpy, str):  # one of ml_dtypes', which NumPy's files would call void
        return np.dtype([(dtype.name, f"<u{numpy.itemsize}")])
    return numpy.newbyteorder("<")


def _tensor(value: Array, spec: TensorSpec) -> Array:
    """An array as it was stored, as a tensor of its dtype."""
    if spec.dtype.is_string:
        return saveable(value, spec.name)[1]
    stored = value.dtype.fields[value.dtype.names[0]][0] if value.dtype.names and value.dtype.fields else value.dtype
    if stored.byteorder == ">" or (stored.byteorder == "=" and sys.byteorder == "big"):
        value = value.astype(value.dtype.newbyteorder("<"))
    return value.reshape(-1).view(spec.dtype.numpy).reshape(value.shape)


def write_npz(stream: BinaryIO, specs: Iterable[TensorSpec], read: Callable[[str], Array]) -> None:
    """Writes tensors one by one, uncompressed.

    Args:
        stream: what to write to; seekable.
        specs: of every tensor; shapes must be known.
        read: gives a tensor's value, when its turn has come.

    Raises:
        UnsupportedOp: a tensor has no form in such files.
    """
    specs = list(specs)
    for spec in specs:
        _check(spec)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for spec in specs:
            _write(archive, spec, read(spec.name))


def _check(spec: TensorSpec) -> None:
    if not spec.dtype.is_string and not spec.dtype.itemsize:
        raise UnsupportedOp(f"tensor {spec.name!r} has dtype {spec.dtype}, which .npz files have no form for")
    try:
        short = len(spec.name.encode()) <= 65_000  # of 65 535 bytes that a zip file's names may have
    except UnicodeEncodeError:
        short = False
    # A zip file's names end at a zero byte, and Windows' separators are replaced where os.sep is one.
    if not short or "\0" in spec.name or (os.sep != "/" and os.sep in spec.name):
        raise UnsupportedOp(
            f"the name {spec.name[:100]!r} can't stand in a .npz file; rename the tensor or leave it out"
        )


def _write(archive: zipfile.ZipFile, spec: TensorSpec, value: Array) -> None:
    dtype, value = saveable(value, spec.name)
    shape = value.shape
    if dtype.is_string:
        value = _fixed_width(value, spec.name)
    else:
        value = value.reshape(-1).view(_storage(dtype)).reshape(shape)
    header = io.BytesIO()
    # (2, 0) only where (1, 0) can't hold it, which no tensor's header reaches.
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(value))
    info = zipfile.ZipInfo(spec.name + _MEMBER, _EPOCH)
    info.external_attr = 0o644 << 16
    info.file_size = header.tell() + value.nbytes  # known beforehand: 64-bit sizes only where they are needed
    with archive.open(info, "w") as member:
        member.write(header.getvalue())
        if value.nbytes:
            raw = value.reshape(-1).view(np.uint8)
            for at in range(0, raw.size, 1 << 24):
                member.write(raw[at : at + (1 << 24)].data)


def _fixed_width(value: Array, name: str) -> Array:
    """Strings as NumPy's fixed-width bytes; refused where their last zeros would be lost, or most is padding."""
    width, own = 1, 0
    for item in value.flat:
        if item.endswith(b"\0"):
            raise UnsupportedOp(
                f"tensor {name!r} has strings that end with zero bytes, which the fixed width of a .npz file "
                f"loses; leave it out (select=, on the command line --exclude), or keep the checkpoint"
            )
        width, own = max(width, len(item)), own + len(item)
    padded = width * value.size
    if padded - own > _MAX_PADDING and padded > _MAX_WIDENING * own:
        raise UnsupportedOp(
            f"tensor {name!r} has {value.size} strings of {own} bytes, of which the longest has {width}: the fixed "
            f"width of a .npz file would make that {padded} bytes; leave it out (select=, on the command line "
            f"--exclude), or keep the checkpoint"
        )
    return value.astype(f"S{width}").reshape(value.shape)
