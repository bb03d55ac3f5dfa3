"""Which checkpoints a Saver keeps: the newest or the best, and the folder's state file that lists them.

TensorFlow's rules (its `tf.train.Saver`): a Saver has one list of the checkpoints it keeps, oldest first. A new one
goes to its end; when there are more than `max_to_keep`, the first leaves the list, and its files are removed, unless
it was saved after the moment at which the next is to be kept for good; then that moment moves on by
`keep_checkpoint_every_n_hours`. With a `max_to_keep` of 0 nothing is removed and the state file lists the newest alone.

What is added: the list outlives the process, for a Saver takes up those that the state file lists under the same
base name (`models/m` and `models/m-100` have the base `models/m`); other entries of the file stay in it; and reading,
changing and writing the file is one step under the folder's lock, so that several processes lose no entry.

With `best`, `BASE.metrics.json` beside the checkpoints holds the metrics of those that are kept:

    {"metrics": {"m-100": 0.91, "m-300": 0.94}}

as numbers, or as the strings "nan", "inf" and "-inf". A checkpoint whose metric isn't there is none of this Saver's.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from graphrack.errors import CorruptFile, FileError
from graphrack.formats.bundle_index import index_path
from graphrack.formats.checkpoint_names import exists
from graphrack.formats.checkpoint_state import present, readable_state, write_state
from graphrack.formats.data_files import read_file
from graphrack.formats.safe_write import folder_lock, folder_of, replace_file, sweep
from graphrack.saving import remove_files

_Mark = tuple[int, int, int] | None


class Kept(NamedTuple):
    """A checkpoint in a Saver's list.

    Attributes:
        path: its prefix.
        time: when it was saved, in seconds since 1970.
        mark: what tells its index from one that another process puts in its place.
        metric: how good it is; None where the newest are kept.
    """

    path: str
    time: float
    mark: _Mark
    metric: float | None

    @property
    def key(self) -> str:
        """One name for the checkpoint, however its path is written."""
        return os.path.abspath(self.path)


class Rotation:
    """A Saver's list of checkpoints. Not for several threads at once."""

    def __init__(self, max_to_keep: int, hours: float, best: str | None, relative: bool):
        self._max_to_keep = max_to_keep
        self._hours = hours
        self._best = best
        self._relative = relative
        self._preserve_after = time.time() + hours * 3600
        self._left: dict[str, _Mark] = {}  # what has left the list, though a state file may list it still
        self.kept: list[Kept] = []

    def accepts(self, path: str, base: str, metric: float) -> bool:
        """Whether a checkpoint of that metric would be among the best; ties go to the one that is there."""
        self._refresh(base)
        key = os.path.abspath(path)
        others = [k for k in self.kept if k.key != key]
        rivals = [k for k in self.kept if k.key == key]
        if self._max_to_keep and len(others) >= self._max_to_keep:
            rivals.append(min(others, key=self._rank))
        new = Kept(path, 0.0, None, metric)
        return all(self._rank(new) > self._rank(rival) for rival in rivals)

    def record(self, path: str, base: str, metric: float | None) -> list[Kept]:
        """Puts a checkpoint that has just been written into the list and the state file; gives those to remove.

        Raises:
            FileError: the state file can't be written; then the list is as it was.
        """
        folder = os.path.dirname(path)
        with folder_lock(folder_of(path)):
            sweep(folder_of(path), _files_like(base))
            self._refresh(base)
            state = readable_state(folder)
            new = Kept(path, time.time(), _mark(path), metric)
            kept = [k for k in self.kept if k.key != new.key]
            dropped: list[Kept] = []
            if self._max_to_keep or self._best:
                kept.append(new)
                while self._max_to_keep and len(kept) > self._max_to_keep:
                    dropped.append(kept.pop(self._worst(kept)))
            family = _family(base)
            mine = {k.key for k in [*kept, *dropped, new]}
            listed = [p for p in present(state, folder) if os.path.abspath(p) not in mine and not self._has_left(p)]
            if not self._best:  # a best Saver's own are those with a metric; a plain one's are all of its base
                listed = [p for p in listed if not family.fullmatch(os.path.abspath(p))]
            listed += [k.path for k in kept] or [path]
            if self._best:
                _write_metrics(base, (k for k in kept if family.fullmatch(k.key)))
            relative = self._relative or (state is not None and state.relative)
            write_state(folder, listed[-1], listed, relative=relative, locked=True)
        self.kept = kept
        self._left.pop(new.key, None)
        self._left |= {k.key: k.mark for k in (dropped if kept else [new])}
        return [k for k in dropped if not self._preserved(k)]

    def remove(self, dropped: Iterable[Kept]) -> None:
        """Removes the files of checkpoints that have left the list; what can't be removed is a warning."""
        for old in dropped:
            left = [old.path]
            try:
                with folder_lock(folder_of(old.path)):
                    # Another process may have saved under that name since.
                    left = remove_files(old.path) if _mark(old.path) == old.mark else []
            except FileError as e:
                warnings.warn(f"the old checkpoint {old.path} stays: {e}", RuntimeWarning, stacklevel=3)
                continue
            if not left:
                self._left.pop(old.key, None)
            else:
                names = ", ".join(left)
                warnings.warn(f"the old checkpoint {old.path} can't be removed: {names}", RuntimeWarning, stacklevel=3)

    def _preserved(self, old: Kept) -> bool:
        if old.time <= self._preserve_after:
            return False
        self._preserve_after += self._hours * 3600
        return True

    def _worst(self, kept: list[Kept]) -> int:
        """Which one is to go: the oldest, or the worst; of equally bad ones the newest."""
        if not self._best:
            return 0
        return min(range(len(kept)), key=lambda i: (self._rank(kept[i]), -i))

    def _rank(self, kept: Kept) -> tuple[bool, float]:
        """What orders checkpoints from bad to good: not-a-number is worse than any number."""
        value = math.nan if kept.metric is None else kept.metric
        if math.isnan(value):
            return (False, 0.0)
        return (True, value if self._best == "max" else -value)

    def _refresh(self, base: str) -> None:
        """Brings the list up to date with what lies there, and with what other processes have listed."""
        # One with another mark has been saved anew: it is as new as its place in the state file says.
        self.kept = [old for old in self.kept if exists(old.path) and _mark(old.path) == old.mark]
        known = {old.key for old in self.kept}
        for path, metric in self._found(base):
            if os.path.abspath(path) not in known and not self._has_left(path):
                mark = _mark(path)
                self.kept.append(Kept(path, mark[1] / 1e9 if mark else 0.0, mark, metric))

    def _has_left(self, path: str) -> bool:
        key = os.path.abspath(path)
        return key in self._left and self._left[key] == _mark(path)

    def _found(self, base: str) -> list[tuple[str, float | None]]:
        """The checkpoints of a base name that were saved before, or by others, in the order of their saves."""
        folder = os.path.dirname(base)
        if self._best:
            metrics = read_metrics(base)
            return [(p, m) for name, m in metrics.items() if exists(p := os.path.join(folder, name))]
        family = _family(base)
        listed = present(readable_state(folder), folder)
        return [(p, None) for p in listed if family.fullmatch(os.path.abspath(p))] if self._max_to_keep else []


def _family(base: str) -> re.Pattern[str]:
    """What the absolute paths of a base name's checkpoints look like."""
    return re.compile(re.escape(os.path.abspath(base)) + r"(?:--?\d+)?")


def _files_like(base: str) -> str:
    """A regular expression of the names of all files of a base name's checkpoints."""
    return re.escape(os.path.basename(base)) + r"(?:--?\d+)?\.(?:index|data-\d{5}-of-\d{5}|meta|metrics\.json)"


def _mark(path: str) -> _Mark:
    for file in (index_path(path), path):
        try:
            found = os.stat(file)
        except OSError:
            continue
        return (found.st_ino, found.st_mtime_ns, found.st_size)
    return None


def metrics_path(base: str) -> str:
    """The file that holds the metrics of a base name's checkpoints."""
    return f"{base}.metrics.json"


def read_metrics(base: str) -> dict[str, float]:
    """The metrics of a base name's best checkpoints by file name; none where none were saved.

    Raises:
        CorruptFile: the file holds something else.
    """
    path = metrics_path(base)
    if not os.path.isfile(path):
        return {}
    data, _ = read_file(path)
    try:
        found = json.loads(data)["metrics"]
        return {str(os.path.basename(name)): float(value) for name, value in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise CorruptFile(
            f'{path} is to hold checkpoints\' metrics, as {{"metrics": {{"m-100": 0.9}}}}, and holds something else '
            f"({e}); mend it, or remove it: the checkpoints that it lists are then kept for good"
        ) from e


def _write_metrics(base: str, kept: Iterable[Kept]) -> None:
    values = {os.path.basename(k.path): k.metric for k in kept}
    shown = {n: v if v is not None and math.isfinite(v) else str(v) for n, v in values.items()}
    replace_file(metrics_path(base), (json.dumps({"metrics": shown}, indent=1) + "\n").encode())
