"""The names of a checkpoint's files, and which checkpoints lie in a folder.

P.index, P.data-00000-of-00001 …    V2, the prefix is P
P, or P-00000-of-00002 …            V1, the prefix is P; TensorFlow also writes P-?????-of-00002
P.meta                              the graph that was saved with it; not part of the checkpoint
checkpoint                          the folder's state file: see `checkpoint_state`
"""

from __future__ import annotations

import glob
import os
import re

from graphrack.errors import FileError
from graphrack.formats.bundle_index import index_path
from graphrack.formats.data_files import open_for_reading, read_at
from graphrack.formats.table import FOOTER_SIZE, MAGIC

STATE_FILE = "checkpoint"

SHARD = re.compile(r"(?P<prefix>.+)-(?P<shard>\d{5})-of-(?P<shards>\d{5})", re.DOTALL)
"""A file of a sharded V1 checkpoint, or with a prefix that ends in `.data`, of a V2 one."""

# What a killed saver leaves, of ours (see `safe_write`) or of TensorFlow's: an index, a table as well.
_UNFINISHED = re.compile(r"\.tmp-[0-9a-f]{8}\Z|\.tempstate\d+\Z")

_SHARDS = re.compile(r"-\?{5}-of-\d{5}\Z")


def prefix_of(path: str) -> str:
    """The prefix behind how state files and graphs name a sharded V1 checkpoint: `P-?????-of-00002`."""
    return _SHARDS.sub("", path)


def exists(prefix: str) -> bool:
    """Whether there is an index, or a V1 file, of that prefix."""
    try:
        return os.path.isfile(index_path(prefix)) or bool(v1_files(prefix))
    except FileError:
        return False


def v1_files(prefix: str) -> list[str]:
    """The files of the V1 checkpoint of that prefix; none where there is none.

    Files of the form of shards count by their names; one named like the prefix, where it is a table.
    Raises `FileError` where shards are missing, or are those of several checkpoints.
    """
    digits = "[0-9]" * 5
    found = sorted(glob.glob(f"{glob.escape(prefix)}-{digits}-of-{digits}"))
    if not found:
        # An index is a table as well, and so is one shard of several.
        other = prefix.endswith(".index") or SHARD.fullmatch(prefix)
        return [prefix] if not other and is_table(prefix) else []
    counts = sorted({int(path[-5:]) for path in found})
    if len(counts) > 1:
        raise FileError(
            f"{prefix} has files of several checkpoints, of {' and '.join(map(str, counts))} files each; "
            f"keep those of one"
        )
    there = set(found)
    missing = next((p for i in range(counts[0]) if (p := f"{prefix}-{i:05d}-of-{counts[0]:05d}") not in there), None)
    if missing is not None:
        raise FileError(
            f"{missing} is missing: the checkpoint {prefix} has {counts[0]} files, and {len(found)} are there"
        )
    return found


def is_table(path: str) -> bool:
    """Whether a file ends as a table does."""
    if not os.path.isfile(path) or (size := os.path.getsize(path)) < FOOTER_SIZE:
        return False
    with open_for_reading(path) as fd:
        return read_at(fd, path, size - 8, 8) == MAGIC.to_bytes(8, "little")


def prefixes_in(folder: str) -> dict[str, float]:
    """The checkpoints that lie in a folder, by their prefixes' last parts, with the time of their last change."""
    found: dict[str, float] = {}
    try:
        with os.scandir(folder) as entries:
            files = {e.name: e for e in entries if e.is_file()}
    except OSError as e:
        raise FileError(f"{folder} can't be read: {e.strerror or e}") from e
    for name, entry in files.items():
        path = os.path.join(folder, name)
        shard = SHARD.fullmatch(name)
        if name.endswith(".index"):
            prefix = name[: -len(".index")]
        elif shard and not shard["prefix"].endswith(".data"):
            prefix = shard["prefix"]
        elif not shard and not _UNFINISHED.search(name) and is_table(path):
            prefix = name
        else:
            continue
        found[prefix] = max(found.get(prefix, 0.0), entry.stat().st_mtime)
    return found


def files_of(prefix: str) -> list[str]:
    """A checkpoint's files that are there, and its graph's: what to remove it means, in that order.

    What makes it a checkpoint comes first, so that no part of it is taken for one. Raises `FileError`.
    """
    folder, base = os.path.dirname(prefix), os.path.basename(prefix)
    if os.path.isfile(index_path(prefix)):
        data = re.compile(re.escape(base) + r"\.data-\d{5}-of-\d{5}")
        try:
            names = sorted(name for name in os.listdir(folder or ".") if data.fullmatch(name))
        except OSError as e:
            raise FileError(f"{folder or '.'} can't be read: {e.strerror or e}") from e
        found = [index_path(prefix), *(os.path.join(folder, name) for name in names)]
    else:
        found = v1_files(prefix)
    meta = f"{prefix}.meta"
    return [*found, meta] if os.path.isfile(meta) else found
