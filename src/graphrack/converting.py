"""Tensors from one kind of file into another, one tensor at a time."""

from __future__ import annotations

import fnmatch
import math
import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphrack.errors import UnknownName, UnsupportedOp, closest
from graphrack.formats.bundle_writer import BundleWriter
from graphrack.formats.safe_write import atomic_write
from graphrack.formats.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from graphrack.formats.tensor_files import Kind, TensorReader

__all__ = ["Converted", "chosen_names", "convert", "size_of"]

Select = str | Collection[str] | Callable[[str], bool] | None
Progress = Callable[[int, int], None]


class Converted(NamedTuple):
    """What a conversion wrote.

    Attributes:
        path: the file, or the checkpoint's prefix.
        kind: what that is: `"checkpoint"`, `"safetensors"` or `"npz"`.
        tensors: how many.
        bytes: of their elements; strings count as nothing.
        graph: the `.meta` that was copied along, from checkpoint to checkpoint; None where there is none.
    """

    path: str
    kind: Kind
    tensors: int
    bytes: int
    graph: str | None


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    select: Select = None,
    progress: Progress | None = None,
) -> Converted:
    """Writes the tensors of one file into another, of a kind that its name tells.

    A name that ends in `.safetensors` or `.npz` means such a file, any other the prefix of a checkpoint:
    V2 and V1 are read, V2 is written. No more than one tensor is in memory at a time. Checksums are checked,
    and values stay what they are, bit by bit. The destination appears whole or not at all. A checkpoint's
    `.meta` comes along where the destination is a checkpoint; its folder's state file is not touched.

    Args:
        source: a checkpoint's prefix, a folder with a `checkpoint` state file or a SavedModel, a
            safetensors or npz file.
        destination: where to write.
        select: only these tensors: a glob ("model1/*", in which * matches / as well), names, or a function
            of a name.
        progress: called before, between and after tensors with the bytes done and the bytes in all.

    Raises:
        FileError: the source isn't there, or the destination can't be written.
        CorruptFile, CorruptCheckpoint: the source is damaged.
        UnsupportedOp: the destination's format has nothing for some dtypes or names; the message lists them.
        UnknownName: `select` names a tensor that isn't there, or matches none.

    Example:
        >>> gr.convert("models/model_name", "model.safetensors")
    """
    from graphrack.formats.npz import write_npz
    from graphrack.formats.safetensors import write_safetensors
    from graphrack.formats.streams import streaming_write
    from graphrack.formats.tensor_files import kind_of, open_tensors

    kind, reader = open_tensors(source)
    try:
        target, target_kind = os.fspath(destination), kind_of(destination)
        names = chosen_names(reader, select)
        specs = [reader.spec(name) for name in names]
        total = sum(map(size_of, specs))
        done = 0

        def read(name: str) -> np.ndarray[Any, Any]:
            nonlocal done
            value = reader.read(name, writable=False, verify=True)
            done += 0 if value.dtype.hasobject else value.nbytes
            if progress is not None:
                progress(done, total)
            return value

        if progress is not None:
            progress(0, total)
        graph = None
        if target_kind == "safetensors":
            with streaming_write(target) as stream:
                write_safetensors(stream, specs, read)
        elif target_kind == "npz":
            with streaming_write(target) as stream:
                write_npz(stream, specs, read)
        else:
            _write_checkpoint(target, specs, read)
            if kind == "checkpoint":
                graph = _copy_graph(reader.prefix, target)
    finally:
        reader.close()
    return Converted(target, target_kind, len(specs), total, graph)


def size_of(spec: TensorSpec) -> int:
    """The bytes of a tensor's elements; 0 for strings and handles."""
    return math.prod(size or 0 for size in spec.shape or ()) * spec.dtype.itemsize


def chosen_names(reader: TensorReader, select: Select) -> list[str]:
    """The names that `select` chooses, in the file's order. Raises `UnknownName`."""
    names = list(reader.names())
    if select is None:
        return names
    if callable(select):
        chosen = [name for name in names if select(name)]
    elif isinstance(select, str):
        chosen = [name for name in names if fnmatch.fnmatchcase(name, select)]
    else:
        wanted, there = set(select), set(names)
        for name in select:
            if name not in there:
                raise UnknownName(f"{reader.prefix} has no tensor {name!r}{closest(name, names)}")
        chosen = [name for name in names if name in wanted]
    if names and not chosen:
        what = f"{select!r} " if isinstance(select, str) else ""
        raise UnknownName(
            f"select {what}chooses none of the {len(names)} tensors of {reader.prefix}"
            + (closest(select, names) if isinstance(select, str) else "")
        )
    return chosen


def _write_checkpoint(prefix: str, specs: list[TensorSpec], read: Callable[[str], np.ndarray[Any, Any]]) -> None:
    lacking = [
        f"{spec.name!r} ({spec.dtype})" for spec in specs if not spec.dtype.is_string and not spec.dtype.itemsize
    ]
    if lacking:
        raise UnsupportedOp(
            f"{', '.join(lacking[:10])}: only TensorFlow's own objects can hold such values; leave the tensors out "
            f"(select=, on the command line --exclude)"
        )
    with BundleWriter(prefix) as writer:
        for spec in sorted(specs, key=lambda spec: spec.name.encode("utf-8", "surrogateescape")):
            writer.add(spec.name, read(spec.name))


def _copy_graph(source: str, target: str) -> str | None:
    """Copies the graph that was saved with a checkpoint, where there is one."""
    old, new = source + ".meta", target + ".meta"
    if not os.path.isfile(old):
        return None
    if not (os.path.exists(new) and os.path.samefile(old, new)):
        with open(old, "rb") as file:
            atomic_write(new, file.read())
    return new
