"""What a checkpoint's files say of themselves; no tensor is read."""

from __future__ import annotations

import math
import os
from typing import Any

from graphrack.errors import FileError
from graphrack.formats.bundle_index import data_path, index_path, parse_index
from graphrack.formats.checkpoint_names import STATE_FILE, prefix_of, v1_files
from graphrack.formats.checkpoint_state import checkpoints, latest_checkpoint, read_state
from graphrack.formats.data_files import read_file
from graphrack.formats.dtypes import DType

Facts = dict[str, Any]

_NO_NUMBERS = ("string", "resource", "variant")


def elements_of(shape: tuple[int | None, ...] | None) -> int | None:
    """How many elements a shape has; None where that isn't known."""
    sizes = [] if shape is None else [size for size in shape if size is not None]
    return None if shape is None or len(sizes) < len(shape) else math.prod(sizes)


def bytes_of(dtype: DType, elements: int | None) -> int | None:
    """The bytes that so many elements take; None for strings and handles, which have no fixed size."""
    return None if elements is None or not dtype.itemsize else elements * dtype.itemsize


def total(items: list[Facts], key: str) -> int:
    """The sum of what is known."""
    return sum(item[key] or 0 for item in items)


def checkpoint_facts(prefix: str) -> Facts:
    """A checkpoint's version, files and tensors.

    A V2 checkpoint's index is enough: data files that are missing or too short are a `problem`, no error.

    Raises:
        FileError, CorruptCheckpoint: the index, or a file of a V1 checkpoint, is missing or damaged.
    """
    if os.path.isfile(index_path(prefix)):
        version, files, tensors, problem = _v2(prefix)
    else:
        version, files, tensors, problem = _v1(prefix)
    return {
        "prefix": prefix,
        "version": version,
        "files": files,
        "bytes": total(files, "bytes"),
        "tensors": tensors,
        "parameters": total([t for t in tensors if t["dtype"] not in _NO_NUMBERS], "parameters"),
        "problem": problem,
    }


def _v2(prefix: str) -> tuple[int, list[Facts], list[Facts], str | None]:
    path = index_path(prefix)
    data, _ = read_file(path)
    index = parse_index(data, path)
    tensors = []
    for name, key in index.names.items():
        entry = index.entries[key]
        elements = math.prod(entry.shape)
        # A string tensor's bytes are those in the file; they stand in the entries of its slices where it has some.
        size = elements * entry.dtype.itemsize or (None if entry.slices else entry.size)
        tensors.append(_tensor(name, entry.dtype, entry.shape, elements, size, len(entry.slices)))
    files: list[Facts] = [{"path": path, "bytes": len(data)}]
    problem = None
    for shard, needed in sorted(index.ends().items()):
        file = data_path(prefix, shard, index.shards)
        size = _size(file)
        files.append({"path": file, "bytes": size})
        if problem is None and size is None:
            problem = f"{file} is missing: the values can't be read"
        elif problem is None and size is not None and size < needed:
            problem = f"{file} is cut off: it has {size} bytes, and at least {needed} were expected"
    return 2, files, tensors, problem


def _v1(prefix: str) -> tuple[int, list[Facts], list[Facts], str | None]:
    from graphrack.formats.slices_v1 import V1Reader

    paths = v1_files(prefix)
    if not paths:
        raise FileError(f"there is no checkpoint {prefix!r}")
    reader = V1Reader(prefix, paths)
    try:
        tensors = []
        for name in reader.names():
            spec = reader.spec(name)
            elements = elements_of(spec.shape)
            tensors.append(_tensor(name, spec.dtype, spec.shape, elements, bytes_of(spec.dtype, elements), 0))
    finally:
        reader.close()
    return 1, [{"path": path, "bytes": _size(path)} for path in paths], tensors, None


def _tensor(name: str, dtype: DType, shape: Any, elements: int | None, size: int | None, slices: int) -> Facts:
    return {
        "name": name,
        "dtype": dtype.name,
        "shape": list(shape),
        "parameters": elements,
        "bytes": size,
        "slices": slices,
    }


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None


def folder_facts(folder: str) -> Facts:
    """The checkpoints in a folder, oldest first, and what its state file says.

    Raises:
        FileError: there is no such folder.
        CorruptFile: the state file can't be understood.
    """
    state = read_state(folder)
    found = checkpoints(folder)
    names = {} if state is None else {_name(path): path for path in (*state.paths, state.latest)}
    there = {_name(path) for path in found}
    return {
        "path": folder,
        "state_file": None if state is None else os.path.join(folder, STATE_FILE),
        "latest": latest_checkpoint(folder),
        "checkpoints": [
            {"prefix": path, "listed": _name(path) in names, "has_graph": os.path.isfile(path + ".meta")}
            for path in found
        ],
        "missing": [path for name, path in names.items() if name not in there],
    }


def _name(path: str) -> str:
    return os.path.basename(prefix_of(path))
