"""Writing and merging V2 checkpoints. The format is drawn in `bundle`.

How a save becomes visible. A checkpoint is an index and the data files that it names, and no rename
replaces two files at once. So the index is what commits: data first go to names that the present
index doesn't use, and the new index, renamed over the old one, names those.

    present                       step                                        a reader finds
    no index                      data to P.data-00000-of-00001               nothing
                                  index to P.index                            the new one
    an index of another number    data to P.data-00000-of-00001               the old one
    of shards                     index to P.index                            the new one
                                  old data removed                            the new one
    an index of the same number   data to P.data-00000-of-00002               the old one
    of shards                     index of 2 shards to P.index                the new one
                                  data linked to P.data-00000-of-00001 too    the new one
                                  index of 1 shard to P.index                 the new one
                                  P.data-00000-of-00002 removed               the new one

(An index may declare more shards than its entries use; TensorFlow opens only those that they use.)
A process killed between two steps leaves a whole checkpoint, and maybe files that the next save
under that prefix removes. Bytes are flushed to disk before the rename that makes them count.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from graphrack.errors import CorruptCheckpoint, FileError, GraphError, UnsupportedOp
from graphrack.formats.bundle_index import (
    SLICE_PREFIX,
    Entry,
    build_index,
    data_path,
    index_path,
    key_of,
    name_of,
    parse_index,
)
from graphrack.formats.coding import mask_crc, varint
from graphrack.formats.data_files import read_file
from graphrack.formats.dtypes import STRING, DType, from_numpy
from graphrack.formats.safe_write import (
    TemporaryFile,
    folder_lock,
    folder_of,
    remove,
    reporting,
    sweep,
    sync_folder,
)
from graphrack.formats.tensor_slices import bounds_of, parse_shape_and_slice, shape_of, slice_key

_PIECE = 1024 * 1024  # bytes whose checksum is taken just before they are written, while in the cache


class BundleWriter:
    """Writes a V2 checkpoint of one shard, tensor by tensor, in memory bounded by one tensor.

        with BundleWriter("models/m") as writer:
            writer.add("w", array)

    Leaving the block commits the checkpoint; leaving it by an exception, or `discard`, leaves
    everything as it was. A folder that isn't there is made. `durable=False` doesn't wait for the disk.

    Tensors lie in the data file in the order in which they are added, each aligned for its dtype so
    that readers can map it; TensorFlow adds in the order of names.

    Raises `FileError` (folder, disk), `GraphError` (a name twice, slices that don't fit),
    `UnsupportedOp` (a dtype that TensorFlow doesn't have).
    """

    def __init__(self, prefix: str | os.PathLike[str], *, durable: bool = True):
        self.prefix = os.fspath(prefix)
        if not os.path.basename(self.prefix):
            raise FileError(f"{self.prefix!r} is a folder; a checkpoint's prefix ends in a name, as in 'models/m'")
        self._durable = durable
        self._entries: dict[bytes, Entry] = {}
        folder = folder_of(self.prefix)
        self._made = _make_folders(folder)
        try:
            with folder_lock(folder):
                sweep(folder, _own_files(self.prefix))
                self._data: TemporaryFile | None = TemporaryFile(data_path(self.prefix, 0, 1))
        except BaseException:
            _remove_folders(self._made)
            raise

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        if self._data is None:
            return
        if kind is None:
            self.finish()
        else:
            self.discard()

    def add(self, name: str, array: Any) -> None:
        """Writes a tensor: an array, or anything that `saveable` takes."""
        key = self._new_key(name)
        self._entries[key] = self._write(name, *saveable(array, name))

    def add_slice(self, name: str, shape_and_slice: str, array: Any) -> None:
        """Writes a part of a tensor, or all of it where the text is empty: "4 10 0,2:-", as SaveV2 takes it.

        Slices of one tensor may come in any order, and in several checkpoints that are merged later.
        """
        if not shape_and_slice:
            return self.add(name, array)
        dtype, value = saveable(array, name)
        shape, part = parse_shape_and_slice(shape_and_slice)
        if part and shape_of(bounds_of(shape, part) or ()) == shape == value.shape:
            return self.add(name, value)  # as TensorFlow does: a slice that is all of a tensor is none
        if shape_of(bounds_of(shape, part) or ()) != value.shape:
            raise GraphError(
                f"tensor {name!r}: an array of shape {list(value.shape)} can't be its slice {shape_and_slice!r}"
            )
        key = key_of(name)
        whole = self._entries.get(key)
        if whole is None:
            whole = Entry(dtype, shape, 0, 0, 0, 0)
            self._new_key(name)
        elif not whole.slices or whole[:2] != (dtype, shape) or part in whole.slices:
            before = f"{len(whole.slices)} slices" if whole.slices else "all"
            raise GraphError(
                f"tensor {name!r}: its slice {shape_and_slice!r} of {dtype} doesn't go with what was added "
                f"before: {before} of a tensor of {whole.dtype}, shape {list(whole.shape)}"
            )
        self._entries[slice_key(key, part)] = self._write(name, dtype, value)
        self._entries[key] = whole._replace(slices=(*whole.slices, part))

    def finish(self) -> str:
        """Commits the checkpoint and gives its prefix."""
        data, self._data = self._open_data(), None
        with data:
            data.flush(durable=self._durable)
            try:
                _commit(self.prefix, [data.place], self._entries, durable=self._durable)
            except BaseException:
                data.discard()
                _remove_folders(self._made)
                raise
        return self.prefix

    def discard(self) -> None:
        """Gives up: removes what was written, the folders that were made included."""
        if self._data is not None:
            self._data.discard()
            self._data = None
            _remove_folders(self._made)

    def _open_data(self) -> TemporaryFile:
        if self._data is None:
            raise FileError(f"the writer of {self.prefix} is finished; make a new one")
        return self._data

    def _new_key(self, name: str) -> bytes:
        key = key_of(name)
        # TensorFlow aborts the process on an empty name, and takes a zero byte for a slice's key.
        if not key or key[:1] == SLICE_PREFIX:
            raise GraphError(f"{name!r} can't be a tensor's name: it must not be empty or start with a zero byte")
        if key in self._entries:
            raise GraphError(f"tensor {name!r} has been added to {self.prefix} already")
        return key

    def _write(self, name: str, dtype: DType, value: np.ndarray[Any, Any]) -> Entry:
        data = self._open_data()
        if dtype.is_string:
            head, crc = _string_lengths(value)
            offset = data.size
            data.write(head)
            for piece in _joined(value):
                crc = _extend(crc, piece)
                data.write(piece)
        else:
            raw = value.reshape(-1).view(np.uint8)
            if raw.size:
                data.write(bytes(-data.size % min(dtype.itemsize, 8)))
            offset, crc = data.size, 0
            for at in range(0, raw.size, _PIECE):
                part = raw[at : at + _PIECE]
                crc = _extend(crc, part)
                data.write(part.data)
        return Entry(dtype, value.shape, 0, offset, data.size - offset, mask_crc(crc))


def _extend(crc: int, piece: Any) -> int:
    import google_crc32c

    return int(google_crc32c.extend(crc, piece))


def saveable(array: Any, name: str) -> tuple[DType, np.ndarray[Any, Any]]:
    """A value as it is stored: its dtype and a C-contiguous little-endian array; strings as `bytes` objects.

    Takes NumPy arrays, scalars, text and bytes, nested lists, and what has `__array__` or `__dlpack__`.
    Raises `UnsupportedOp`.
    """
    if isinstance(array, (bytes, str)):
        value = np.array(None, object)
        value[()] = array
    else:
        try:
            if not isinstance(array, np.ndarray) and not hasattr(array, "__array__") and hasattr(array, "__dlpack__"):
                value = np.from_dlpack(array)
            else:
                value = np.asarray(array)
        except Exception as e:  # whatever another library's __array__ raises
            raise UnsupportedOp(
                f"tensor {name!r} of type {type(array).__name__} gives no NumPy array ({e}); "
                f"pass one, on the CPU and without gradients"
            ) from e
    try:
        dtype = from_numpy(value.dtype)
    except KeyError:
        raise UnsupportedOp(
            f"tensor {name!r} has the NumPy dtype {value.dtype}, and TensorFlow has none like it; convert it first"
        ) from None
    if dtype.is_string:
        return STRING, _as_bytes(value, name)
    if value.dtype.byteorder == ">" or (value.dtype.byteorder == "=" and not np.little_endian):
        value = value.astype(value.dtype.newbyteorder("<"))
    if dtype.name in ("int4", "int2"):
        # TensorFlow keeps the sign in all of the byte, ml_dtypes only in the bits that count.
        return dtype, np.ascontiguousarray(value.astype(np.int8)).reshape(value.shape)
    return dtype, value if value.flags.c_contiguous else value.copy(order="C")


def _as_bytes(value: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    out = np.empty(value.shape, object)
    flat = out.reshape(-1)
    for i, item in enumerate(value.reshape(-1).tolist()):
        if isinstance(item, str):
            item = item.encode("utf-8", "surrogateescape")
        if not isinstance(item, bytes):
            raise UnsupportedOp(
                f"tensor {name!r} has an element of type {type(item).__name__} among its objects; "
                f"only bytes and text can be saved as strings"
            )
        flat[i] = item
    return out


def _string_lengths(value: np.ndarray[Any, Any]) -> tuple[bytes, int]:
    sizes = [len(item) for item in value.reshape(-1)]
    wide = b"".join([n.to_bytes(4 if n < 1 << 32 else 8, "little") for n in sizes])
    crc = _extend(0, wide)
    checksum = mask_crc(crc).to_bytes(4, "little")
    return b"".join(map(varint, sizes)) + checksum, _extend(crc, checksum)


def _joined(value: np.ndarray[Any, Any]) -> Any:
    """The elements' bytes in pieces of some size, so that short strings don't cost a write each."""
    pending: list[bytes] = []
    size = 0
    for item in value.reshape(-1):
        pending.append(item)
        size += len(item)
        if size >= _PIECE:
            yield b"".join(pending)
            pending, size = [], 0
    if size:
        yield b"".join(pending)


def merge_bundles(
    prefixes: Sequence[str | os.PathLike[str]],
    destination: str | os.PathLike[str],
    *,
    delete_old_dirs: bool = True,
    allow_missing_files: bool = False,
    durable: bool = True,
) -> None:
    """Makes one checkpoint of several, as TensorFlow's MergeV2Checkpoints does after a sharded save.

    Their data files become the shards of `destination`, their indexes one; the parts are gone
    afterwards, and with `delete_old_dirs` so are their folders where nothing else lies in them.
    `allow_missing_files` leaves out parts that have no index, but not all. As safe as a save: data files
    are linked (copied where the file system can't), not moved, until the new index counts.

    Raises `FileError`, `CorruptCheckpoint`, `GraphError` (two parts hold the same tensor).
    """
    target = os.fspath(destination)
    entries: dict[bytes, Entry] = {}
    sources: list[str] = []
    parts = list(dict.fromkeys(os.fspath(prefix) for prefix in prefixes))
    found = [part for part in parts if not allow_missing_files or os.path.exists(index_path(part))]
    if not found:
        raise FileError(f"none of the {len(parts)} parts of {target} has an index; there is nothing to merge")
    for part in found:
        data, _ = read_file(index_path(part))
        index = parse_index(data, index_path(part))
        if index.big_endian:
            raise CorruptCheckpoint(f"{index_path(part)} is of a big-endian machine; such parts can't be merged here")
        shards = {shard: len(sources) + i for i, shard in enumerate(sorted(index.ends() or {0: 0}))}
        sources += [data_path(part, shard, index.shards) for shard in shards]
        for key, entry in index.entries.items():
            _merge_entry(entries, key, entry._replace(shard=shards.get(entry.shard, 0)), part)
    folder = folder_of(target)
    made = _make_folders(folder)
    try:
        _commit(target, [_linker(source, durable) for source in sources], entries, durable=durable)
    except BaseException:
        _remove_folders(made)
        raise
    placed = {data_path(target, shard, len(sources)) for shard in range(len(sources))} | {index_path(target)}
    for path in [*sources, *map(index_path, found)]:
        if path not in placed:
            remove(path)
    if delete_old_dirs:
        for old in dict.fromkeys(map(folder_of, found)):
            if os.path.abspath(old) != os.path.abspath(folder):
                with contextlib.suppress(OSError):
                    os.rmdir(old)


def _merge_entry(entries: dict[bytes, Entry], key: bytes, entry: Entry, part: str) -> None:
    other = entries.get(key)
    if other is not None:
        same = (other.dtype.number, other.shape) == (entry.dtype.number, entry.shape)
        if not (other.slices and entry.slices and same) or set(other.slices) & set(entry.slices):
            raise GraphError(
                f"tensor {name_of(key)!r} is in {part} ({entry.dtype} of shape {list(entry.shape)}) and in "
                f"a part before it ({other.dtype} of shape {list(other.shape)}); each can be in "
                f"one part only, or in different slices of one shape"
            )
        entry = other._replace(slices=other.slices + entry.slices)
    entries[key] = entry


def _linker(source: str, durable: bool) -> Callable[[str], None]:
    def place(target: str) -> None:
        with reporting(target):
            remove(target)
            try:
                os.link(source, target)
            except OSError:
                with TemporaryFile(target) as copy:
                    import shutil

                    shutil.copyfile(source, copy.path)
                    copy.flush(durable=durable)
                    copy.place()
            else:
                if durable:
                    fd = os.open(target, os.O_RDONLY)
                    try:
                        os.fsync(fd)
                    finally:
                        os.close(fd)

    return place


def _commit(
    prefix: str, placers: Sequence[Callable[[str], None]], entries: dict[bytes, Entry], *, durable: bool
) -> None:
    """Makes data files and an index the checkpoint `prefix`, by the steps that this module's text lists.

    Each of `placers` puts one shard's file, already flushed, under the name it is given. When this raises,
    the old checkpoint is there and nothing of the new one.
    """
    folder, shards = folder_of(prefix), len(placers)
    with folder_lock(folder):
        sweep(folder, _own_files(prefix))
        staged = shards + 1 if _shards_in_use(prefix) == shards else shards
        targets = [data_path(prefix, shard, staged) for shard in range(shards)]
        index = build_index(entries, staged)
        try:
            for place, target in zip(placers, targets, strict=True):
                place(target)
            _place_index(prefix, index, durable)
        except BaseException:
            # An interruption may come after the rename: then the data are those of the present index.
            if not _holds(index_path(prefix), index):
                for target in targets:
                    remove(target)
            raise
        # The new checkpoint counts from here on; what is left is to give its files their usual names.
        if staged != shards:
            with contextlib.suppress(OSError):
                for shard, target in enumerate(targets):
                    usual = data_path(prefix, shard, shards)
                    remove(usual)
                    os.link(target, usual)
                _place_index(prefix, build_index(entries, shards), durable)
                staged = shards
        _remove_unused_data(prefix, staged, shards)
        if durable:
            sync_folder(folder)


def _place_index(prefix: str, index: bytes, durable: bool) -> None:
    folder = folder_of(prefix)
    with TemporaryFile(index_path(prefix)) as file:
        file.write(index)
        file.flush(durable=durable)
        if durable:
            sync_folder(folder)  # the data's names must be on disk before an index that needs them
        file.place()
    if durable:
        sync_folder(folder)


def _holds(path: str, data: bytes) -> bool:
    try:
        return read_file(path)[0] == data
    except FileError:
        return False


def _shards_in_use(prefix: str) -> int | None:
    """The number of shards in the names that the present index needs; None where there is none that works."""
    try:
        data, _ = read_file(index_path(prefix))
        return parse_index(data, index_path(prefix)).shards
    except FileError:
        return None


def _own_files(prefix: str) -> str:
    """A regular expression of the names of a checkpoint's files."""
    return re.escape(os.path.basename(prefix)) + r"\.(?:index|data-\d{5}-of-\d{5})"


def _remove_unused_data(prefix: str, counted: int, shards: int) -> None:
    """Removes data files under this prefix that the present index doesn't name; the folder's lock is held."""
    folder, base = folder_of(prefix), os.path.basename(prefix)
    used = {os.path.basename(data_path(prefix, shard, counted)) for shard in range(shards)}
    pattern = re.compile(re.escape(base) + r"\.data-\d{5}-of-\d{5}")
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if pattern.fullmatch(name) and name not in used:
                remove(os.path.join(folder, name))


def _make_folders(folder: str) -> list[str]:
    """Makes a folder and those above it; gives the ones made, outermost first."""
    missing: list[str] = []
    at = folder
    while at and not os.path.isdir(at):
        missing.append(at)
        at = os.path.dirname(at)
    with reporting(folder):
        os.makedirs(folder, exist_ok=True)
    return missing[::-1]


def _remove_folders(made: list[str]) -> None:
    for folder in reversed(made):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
