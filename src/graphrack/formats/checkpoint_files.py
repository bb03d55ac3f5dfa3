"""From the path that somebody gives to an open checkpoint, or to words on why there is none."""

from __future__ import annotations

import difflib
import glob
import os
from typing import Any, Protocol

import numpy as np

from graphrack.errors import FileError
from graphrack.formats.bundle_index import index_path
from graphrack.formats.bundle_reader import BundleReader, Progress
from graphrack.formats.checkpoint_names import SHARD, STATE_FILE, is_table, prefix_of, prefixes_in, v1_files
from graphrack.formats.checkpoint_state import latest_checkpoint
from graphrack.formats.slices_v1 import V1Reader
from graphrack.formats.tensor_spec import TensorSpec


class CheckpointReader(Protocol):
    """What V1 and V2 checkpoints have in common; `bundle_reader.BundleReader` explains each."""

    prefix: str

    def names(self) -> Any:
        """The names of all tensors."""

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a tensor."""

    def read(self, name: str, *, writable: bool = True, verify: bool = False) -> np.ndarray[Any, Any]:
        """The value of a tensor."""

    def read_slice(
        self, name: str, shape_and_slice: str, *, writable: bool = True, verify: bool = False
    ) -> np.ndarray[Any, Any]:
        """Part of a tensor, as RestoreV2 writes it down."""

    def verify(self, progress: Progress | None = None) -> None:
        """Checks every checksum."""

    def close(self) -> None:
        """Lets go of the files."""


def open_checkpoint(prefix: str | os.PathLike[str], *, mapped: bool = True) -> CheckpointReader:
    """Opens the checkpoint behind a prefix, V2 or V1; of a folder or its state file, the latest one.

    `mapped`: values are mapped from the files of a V2 checkpoint, instead of being read. A V1 checkpoint
    is always read. Raises `FileError` that says what the path is, where it is no prefix, and what is
    missing; `CorruptCheckpoint`.
    """
    path = prefix_of(os.fspath(prefix))
    if os.path.isfile(index_path(path)):
        return BundleReader(path, mapped=mapped)
    files = v1_files(path)
    if files:
        return V1Reader(path, files)
    if os.path.isdir(path):
        return open_checkpoint(_latest(path), mapped=mapped)
    if os.path.basename(path) == STATE_FILE and os.path.isfile(path):
        return open_checkpoint(_latest(os.path.dirname(path)), mapped=mapped)
    raise FileError(explain(path))


def _latest(folder: str) -> str:
    prefix = latest_checkpoint(folder)
    if prefix is not None:
        return prefix
    here = folder or "."
    found = sorted(prefixes_in(here))
    if found:
        raise FileError(
            f"{here} has no state file {STATE_FILE!r} that names a checkpoint that is there; give one of its "
            f"{len(found)} prefixes: {', '.join(repr(os.path.join(folder, p)) for p in found[:5])}"
        )
    raise FileError(f"{here} is a folder without checkpoints")


def explain(path: str) -> str:
    """Why no checkpoint opens under a path, and what to give instead."""
    name = os.path.basename(path)
    shard = SHARD.fullmatch(name)
    whole = SHARD.fullmatch(path)
    if os.path.isfile(path):
        if name.endswith(".index"):
            return f"{path} is the index of a checkpoint; give its prefix: {path[: -len('.index')]!r}"
        if shard and whole and shard["prefix"].endswith(".data"):
            return f"{path} holds values of a checkpoint; give its prefix: {whole['prefix'][: -len('.data')]!r}"
        if shard and whole:
            return f"{path} is one file of a V1 checkpoint; give its prefix: {whole['prefix']!r}"
        if name.endswith(".meta"):
            prefix = path[: -len(".meta")]
            there = os.path.isfile(index_path(prefix)) or is_table(prefix)
            return f"{path} is a graph, without values; " + (
                f"give the prefix of the checkpoint beside it: {prefix!r}"
                if there
                else f"the checkpoint {prefix!r} that belongs to it is not there"
            )
        return f"{path} is a file, but neither a V2 checkpoint's prefix nor a V1 checkpoint"
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return f"{path}: the folder {folder} does not exist"
    data = sorted(glob.glob(glob.escape(path) + ".data-[0-9]*-of-[0-9]*"))
    if data:
        return f"{index_path(path)} is missing: {len(data)} of its data files are there ({data[0]} …), its index is not"
    found = prefixes_in(folder)
    if not found:
        return (
            f"there is no checkpoint {path!r}: neither {name}.index nor {name} is in {folder}, nor any other checkpoint"
        )
    near = difflib.get_close_matches(name, found, n=5, cutoff=0.4) or sorted(found)[:5]
    return (
        f"there is no checkpoint {path!r}: neither {name}.index nor {name} is in {folder}; "
        f"checkpoints there: {', '.join(repr(os.path.join(os.path.dirname(path), p)) for p in near)}"
        + (f" and {len(found) - len(near)} more" if len(found) > len(near) else "")
    )
