"""The state file `checkpoint` of a folder: which checkpoints are there, and which is the latest.

It is a CheckpointState message in protocol buffers' text form:

    model_checkpoint_path: "model-300"
    all_model_checkpoint_paths: "model-200"
    all_model_checkpoint_paths: "model-300"
    all_model_checkpoint_timestamps: 1700000000.5
    all_model_checkpoint_timestamps: 1700000100.5
    last_preserved_timestamp: 1700000000.25

Paths are oldest first, relative to the folder or absolute; timestamps, seconds since 1970, stand there
for all paths or for none. What is written here is byte for byte what TensorFlow writes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from graphrack.errors import CorruptFile, FileError
from graphrack.formats.checkpoint_names import STATE_FILE, exists, prefix_of, prefixes_in
from graphrack.formats.data_files import read_file
from graphrack.formats.safe_write import atomic_write, folder_lock, folder_of, replace_file


class CheckpointState(NamedTuple):
    """What a state file says. Paths as they can be opened: relative ones joined to the folder."""

    latest: str
    paths: tuple[str, ...] = ()
    timestamps: tuple[float, ...] = ()
    last_preserved: float = 0.0
    relative: bool = False
    """Whether the file has only relative paths, so that the folder can be moved."""


def read_state(folder: str | os.PathLike[str], name: str = STATE_FILE) -> CheckpointState | None:
    """The state of a folder; None where there is no state file. Raises `CorruptFile`, `FileError`."""
    where = os.fspath(folder)
    path = os.path.join(where, name)
    if not os.path.isfile(path):
        return None
    from google.protobuf import text_format

    from graphrack.formats.protos.checkpoint_pb2 import CheckpointState as Proto

    data, _ = read_file(path)
    try:
        proto = text_format.Parse(data.decode("utf-8"), Proto())
    except (text_format.ParseError, UnicodeDecodeError) as e:
        raise CorruptFile(
            f"{path} is no checkpoint state in text form ({e}); name a checkpoint by its prefix, or remove the file"
        ) from e
    if not proto.model_checkpoint_path:
        raise CorruptFile(f"{path} names no latest checkpoint (model_checkpoint_path); name one by its prefix")
    return CheckpointState(
        os.path.join(where, proto.model_checkpoint_path),
        tuple(os.path.join(where, p) for p in proto.all_model_checkpoint_paths),
        tuple(proto.all_model_checkpoint_timestamps),
        proto.last_preserved_timestamp,
        not any(map(os.path.isabs, [proto.model_checkpoint_path, *proto.all_model_checkpoint_paths])),
    )


def write_state(
    folder: str | os.PathLike[str],
    latest: str,
    paths: Sequence[str] = (),
    *,
    timestamps: Sequence[float] = (),
    last_preserved: float | None = None,
    relative: bool = False,
    name: str = STATE_FILE,
    durable: bool = True,
    locked: bool = False,
) -> None:
    """Writes a folder's state file, in one step, with TensorFlow's rules for paths.

    `latest` is added to `paths` unless it ends them. Relative paths are written relative to the
    folder where that is a relative path itself; `relative` makes all of them so, so that the folder
    can be moved. `locked`: the caller holds the folder's lock, as one does who reads the state first.
    Raises `FileError`, `ValueError` (timestamps for some of the paths only).
    """
    from google.protobuf import text_format

    from graphrack.formats.protos.checkpoint_pb2 import CheckpointState as Proto

    where = os.fspath(folder)
    listed = [*paths] if paths and paths[-1] == latest else [*paths, latest]
    if timestamps and len(timestamps) != len(listed):
        raise ValueError(
            f"there are {len(timestamps)} timestamps for {len(listed)} checkpoints; give one for each, or none"
        )

    def written(path: str) -> str:
        made_relative = relative if os.path.isabs(path) else not os.path.isabs(where)
        return os.path.relpath(path, where) if made_relative else path

    listed = [written(p) for p in listed]
    path = os.path.join(where, name)
    if listed[-1] == path:
        raise FileError(f"a checkpoint can't be called {latest!r}: that is its folder's state file")
    proto = Proto(
        model_checkpoint_path=listed[-1],
        all_model_checkpoint_paths=listed,
        all_model_checkpoint_timestamps=timestamps,
    )
    if last_preserved is not None:
        proto.last_preserved_timestamp = last_preserved
    write = replace_file if locked else atomic_write
    write(path, text_format.MessageToString(proto).encode(), durable=durable)


def record_checkpoint(prefix: str | os.PathLike[str], *, durable: bool = True) -> None:
    """Makes a checkpoint the latest in its folder's state file, behind those listed that are still there."""
    path = os.fspath(prefix)
    folder, key = os.path.dirname(path), os.path.abspath(path)
    with folder_lock(folder_of(path)):  # from reading to writing, or another saver's entry would be lost
        state = readable_state(folder)
        kept = [p for p in present(state, folder) if os.path.abspath(p) != key]
        relative = state is not None and state.relative
        write_state(folder, path, [*kept, path], relative=relative, durable=durable, locked=True)


def readable_state(folder: str) -> CheckpointState | None:
    """The state of a folder, for one who is about to replace it: what can't be understood is as good as none."""
    try:
        return read_state(folder)
    except CorruptFile:
        return None


def present(state: CheckpointState | None, folder: str) -> list[str]:
    """Those of a state's list that are still there; where the folder has been moved, as they are called now."""
    found: dict[str, str] = {}
    for path in state.paths if state is not None else ():
        there: str | None = path if exists(prefix_of(path)) else _found(path, folder)
        if there is not None:
            found.setdefault(os.path.abspath(there), there)
    return list(found.values())


def latest_checkpoint(folder: str | os.PathLike[str], name: str = STATE_FILE) -> str | None:
    """The prefix of the checkpoint that a folder's state file calls the latest; None where there is none.

    None as well where its files are gone. Where the state file names another folder, in which they are
    not, but they are in this one, the folder has been moved, and they are what is meant.
    Raises `CorruptFile` for a state file that can't be understood.
    """
    state = read_state(folder, name)
    if state is None:
        return None
    return _found(state.latest, os.fspath(folder))


def checkpoints(folder: str | os.PathLike[str]) -> list[str]:
    """The prefixes of all the checkpoints in a folder, oldest first.

    Those in the state file's list are in its order; the others stand among them by when they were
    written, and if that is the same, by their global steps.
    Raises `FileError` where there is no such folder.
    """
    where = os.fspath(folder)
    lying = {os.path.join(where, p): time for p, time in prefixes_in(where or ".").items()}
    state = read_state(where)
    listed = list(dict.fromkeys(_found(p, where) for p in (state.paths if state else ())))
    others = sorted(lying.keys() - set(listed), key=lambda p: (lying[p], _step(p), p), reverse=True)
    merged: list[str] = []
    for prefix in listed:
        if prefix is not None:
            while others and lying[others[-1]] <= lying.get(prefix, 0.0):
                merged.append(others.pop())
            merged.append(prefix)
    return merged + others[::-1]


def _found(prefix: str, folder: str) -> str | None:
    prefix = prefix_of(prefix)
    if exists(prefix):
        return prefix
    moved = os.path.join(folder, os.path.basename(prefix))
    return moved if exists(moved) else None


def _step(prefix: str) -> int:
    digits = prefix.rpartition("-")[2]
    return int(digits) if digits.isdecimal() and len(digits) < 20 else -1
