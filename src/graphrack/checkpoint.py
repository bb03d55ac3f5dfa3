"""Checkpoints: values by name, mapped from the files; views of them; saving and finding them."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from graphrack.errors import RestoreError, UnknownName, closest
from graphrack.formats.bundle_writer import BundleWriter
from graphrack.formats.checkpoint_files import CheckpointReader, open_checkpoint
from graphrack.formats.checkpoint_state import checkpoints, latest_checkpoint
from graphrack.formats.tensor_spec import TensorSpec

__all__ = ["Checkpoint", "checkpoints", "latest_checkpoint", "save_checkpoint"]

Array = np.ndarray[Any, Any]

_SHOWN = 8  # tensors in a repr


class Checkpoint(Mapping[str, Array]):
    """The values of a checkpoint by name: a read-only mapping, V2 or V1, sharded or not.

    Opening reads the index and no values; a value is mapped from its file when asked for (`mapped=False`:
    read), as a read-only array; strings are object arrays of `bytes`. What `select`, `rename`, `with_scope`,
    `without_scope` and `averages` give is a Checkpoint too, over the same files, and copies nothing.

    Args:
        prefix: the checkpoint's path without `.index` and `.data-…`; or a folder, for its latest checkpoint.
        mapped: map V2 files. Replacing a mapped checkpoint by renaming, as savers do, is safe; a program
            that shortens a mapped file in place can end this process (SIGBUS). `mapped=False` is safe always.

    Raises:
        FileError: no checkpoint is there, or a file of it is missing; says what was found.
        CorruptCheckpoint: its index contradicts itself, or a data file is too short.

    Example:
        >>> ck = gr.Checkpoint("models/model_name")
        >>> ck["layer/kernel"].shape
        (784, 10)
    """

    def __init__(self, prefix: str | os.PathLike[str], *, mapped: bool = True):
        self._reader: CheckpointReader = open_checkpoint(prefix, mapped=mapped)
        self._names: dict[str, str] = {name: name for name in self._reader.names()}
        self._view = ""
        self.average_suffix: str | None = None
        """The end of the names that `averages()` has put in place of their variables'; None elsewhere."""

    @property
    def prefix(self) -> str:
        """The path of the checkpoint, without `.index` and `.data-…`."""
        return self._reader.prefix

    # The mapping

    def __getitem__(self, name: str) -> Array:
        """The value of a tensor, read-only. Raises `UnknownName`, `CorruptCheckpoint`, `UnsupportedOp`."""
        return self._reader.read(self._stored(name), writable=False)

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of the file."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether a tensor has that name; reads no value."""
        return name in self._names

    def __eq__(self, other: object) -> bool:
        """Whether it is the same object: values are not compared, which could take long."""
        return self is other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        """What is in it, at a glance."""
        specs = [self.spec(name) for name in list(self._names)[:_SHOWN]]
        width = max((len(spec.name) for spec in specs), default=0)
        lines = [f"  {spec.name:<{width}}  {spec.dtype}  {_shown(spec)}" for spec in specs]
        if len(self) > _SHOWN:
            lines.append(f"  … and {len(self) - _SHOWN} more")
        size = sum(self.nbytes(name) for name in self._names)
        head = f"<Checkpoint {self.prefix!r}{self._view}: {len(self)} tensors, {size:,} bytes>"
        return "\n".join([head, *lines])

    def spec(self, name: str) -> TensorSpec:
        """Name, dtype and shape of a tensor; reads no value. Raises `UnknownName`."""
        return self._reader.spec(self._stored(name))._replace(name=name)

    def nbytes(self, name: str) -> int:
        """The bytes that a tensor's elements take; 0 for strings and handles. Raises `UnknownName`."""
        spec = self.spec(name)
        count = spec.dtype.itemsize
        for size in spec.shape or ():
            count *= size or 0
        return count

    def read_slice(self, name: str, shape_and_slice: str = "") -> Array:
        """A tensor, or part of it, as an array that the caller alone may change; the file never changes.

        `shape_and_slice` is RestoreV2's text: "4 10 0,2:-" is rows 0 and 1 of a [4, 10] tensor; the empty
        text is all of it. Raises `UnknownName`, `GraphError` (a text that doesn't parse), `RestoreError` (the
        tensor has another shape), `CorruptCheckpoint`, `UnsupportedOp`.
        """
        return self._reader.read_slice(self._stored(name), shape_and_slice)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Checks every checksum of all the checkpoint's files, of a view as well.

        Args:
            progress: called now and then with the bytes done and the bytes in all.

        Raises:
            CorruptCheckpoint: names the first tensor that is damaged, the file and the offset.
        """
        self._reader.verify(progress)

    # Views

    def select(self, pattern: str | Collection[str] | Callable[[str], bool]) -> Checkpoint:
        """The tensors whose names match.

        Args:
            pattern: a glob ("model1/*", in which * matches / as well), names, or a function of a name.

        Raises:
            UnknownName: one of the names given isn't there.
        """
        if callable(pattern):
            chosen = [name for name in self._names if pattern(name)]
        elif isinstance(pattern, str):
            chosen = [name for name in self._names if fnmatch.fnmatchcase(name, pattern)]
        else:
            for name in pattern:
                self._stored(name)
            wanted = set(pattern)
            chosen = [name for name in self._names if name in wanted]
        return self._over({name: self._names[name] for name in chosen}, "select")

    def rename(self, names: Mapping[str, str]) -> Checkpoint:
        """All tensors, some under other names.

        Args:
            names: a name here to the name in the view. Two may change places.

        Raises:
            UnknownName: one of the names isn't here.
            RestoreError: two tensors would have one name.
        """
        for name in names:
            self._stored(name)
        return self._over(self._renamed((names.get(name, name), name) for name in self._names), "rename")

    def with_scope(self, scope: str) -> Checkpoint:
        """All tensors under a scope: `w` as `scope/w`."""
        head = scope.rstrip("/") + "/" if scope else ""
        return self._over({head + name: stored for name, stored in self._names.items()}, f"with_scope({scope!r})")

    def without_scope(self, scope: str) -> Checkpoint:
        """The tensors under a scope, without it: `scope/w` as `w`.

        Raises:
            UnknownName: nothing lies under that scope.
        """
        head = scope.rstrip("/") + "/" if scope else ""
        found = {name[len(head) :]: stored for name, stored in self._names.items() if name.startswith(head)}
        if not found:
            scopes = {name.rpartition("/")[0] for name in self._names if "/" in name}
            raise UnknownName(f"{self.prefix} has no tensors under the scope {scope!r}{closest(scope, scopes)}")
        return self._over(found, f"without_scope({scope!r})")

    def averages(self, name: str = "ExponentialMovingAverage") -> Checkpoint:
        """Moving averages in place of the variables: `v/ExponentialMovingAverage` as `v`.

        Tensors without an average keep their names and values, as TensorFlow's `variables_to_restore` has it.
        A model that has variables for the averages, too, keeps those as they are when it restores this view.

        Args:
            name: what the averages are called: the `name` of TensorFlow's `ExponentialMovingAverage`.

        Raises:
            UnknownName: there are no averages at all.
        """
        suffix = f"/{name}"
        averaged = {n for n in self._names if n.endswith(suffix) and n != suffix}
        if not averaged:
            raise UnknownName(
                f"{self.prefix} has no moving averages: no tensor is called 'variable{suffix}'"
                f"{closest(suffix, self._names)}"
            )
        found = {n: stored for n, stored in self._names.items() if n not in averaged}
        found |= {n.removesuffix(suffix): self._names[n] for n in averaged}
        view = self._over(dict(sorted(found.items())), "averages()")
        view.average_suffix = suffix
        return view

    # Files

    def close(self) -> None:
        """Lets go of the files, for the views as well; arrays that were given out stay valid."""
        self._reader.close()

    def __enter__(self) -> Checkpoint:
        """Closes the files at the end of a `with` block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the files."""
        self.close()

    def _stored(self, name: str) -> str:
        stored = self._names.get(name)
        if stored is None:
            raise UnknownName(
                f"the checkpoint {self.prefix}{self._view} has no tensor {name!r}{closest(str(name), self._names)}"
            )
        return stored

    def _renamed(self, names: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        origin: dict[str, str] = {}
        for new, old in names:
            if new in found:
                raise RestoreError(
                    f"renaming gives two tensors of {self.prefix} the name {new!r}: {origin[new]!r} and {old!r}; "
                    f"rename the one that has it, too, or leave it out with select"
                )
            found[new], origin[new] = self._names[old], old
        return found

    def _over(self, names: dict[str, str], what: str) -> Checkpoint:
        view = Checkpoint.__new__(Checkpoint)
        view._reader = self._reader
        view._names = names
        view._view = f"{self._view}.{what}"
        view.average_suffix = self.average_suffix
        return view


def _shown(spec: TensorSpec) -> str:
    return "scalar" if spec.shape == () else f"[{', '.join(str(n) for n in spec.shape or ())}]"


def save_checkpoint(prefix: str | os.PathLike[str], arrays: Mapping[str, Any]) -> str:
    """Writes a V2 checkpoint, which TensorFlow restores, and gives its prefix.

    The folder is made where it is missing. A reader of that prefix finds the old checkpoint or the new
    one and nothing between, whenever this process is killed; when this raises, the old one is intact.
    Neither a graph (`.meta`) nor the folder's state file is written: `Saver` and `Model.save` do that.

    Args:
        prefix: path of the checkpoint; the files are `prefix.index` and `prefix.data-00000-of-00001`.
        arrays: tensors by name: NumPy arrays of any dtype that TensorFlow has, scalars, text and bytes
            (text is stored as UTF-8), lists, what has `__array__` or DLPack; or a Checkpoint. Dtypes are
            NumPy's: a Python float is a float64, an int an int64.

    Raises:
        FileError: the folder can't be written to, or the disk is full.
        UnsupportedOp: a value is no array, or of a dtype that TensorFlow doesn't have.
        GraphError: a name is empty.
    """
    with BundleWriter(prefix) as writer:
        # In the order of the names' bytes, as TensorFlow has it: data then lie in the index's order.
        for name in sorted(arrays, key=lambda name: name.encode("utf-8", "surrogateescape")):
            writer.add(name, arrays[name])
    return writer.prefix
