"""Many models side by side."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphrack.errors import FileError, GraphrackError, RackErrors, UnknownName, closest
from graphrack.graph.shared import SharedGraph
from graphrack.instance import Instance
from graphrack.loading import load
from graphrack.model import Model, ModelStats
from graphrack.warming import compiled_parts

PathOrModel = str | os.PathLike[str] | Model

# Models whose runs take longer than this overlap in threads; for shorter ones handing over costs more.
_WORTH_A_THREAD_S = 0.002


class Rack(Mapping[str, Model]):
    """Models by name, each isolated, loaded on first use; safe to use from many threads.

    `Rack({"price": "models/price", "risk": model})`, or `Rack.from_directory("models/")`.

    Attributes:
        models: names to paths (whatever `load` takes) or Models.
        memory_limit: bytes that may be taken together by what OpenVINO has compiled, by plans and by decoded
            constants. Beyond it, when the next model is used, others' compiled parts that were not used for
            longest are let go of first, then the plans of the least recently used models. All of it is made
            anew, or read from the cache, when it is needed. Never variables.
    """

    def __init__(self, models: Mapping[str, PathOrModel] | None = None, memory_limit: int | None = None):
        if memory_limit is not None and memory_limit < 0:
            raise ValueError(f"memory_limit is a number of bytes; found {memory_limit}")
        self.memory_limit = memory_limit
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._clock = 0
        for name, source in (models or {}).items():
            self.add(name, source)

    @classmethod
    def from_directory(cls, folder: str | os.PathLike[str], memory_limit: int | None = None) -> Rack:
        """A rack of the models in a folder, each named after its subfolder or file.

        Found are subfolders with a `checkpoint` file, a SavedModel, numbered versions of one (the highest
        counts) or a single `.meta`, and `.pb`, `.pbtxt` and `.meta` files. Raises `FileError` where there
        is no model.
        """
        path = os.fspath(folder)
        found = _models_in(path)
        if not found:
            raise FileError(
                f"{path!r} holds no models: expected subfolders with a checkpoint or a SavedModel, or .pb, .pbtxt or "
                ".meta files"
            )
        return cls(found, memory_limit)

    # A mapping

    def __getitem__(self, name: str) -> Model:
        entry = self._entry(name)
        model = entry.model or entry.load()
        if self.memory_limit is not None:
            self._touch(entry)
        return model

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __delitem__(self, name: str) -> None:
        with self._lock:
            self._entry(name)
            del self._entries[name]

    def add(self, name: str, path_or_model: PathOrModel) -> None:
        """Adds a model under a name that is free. Raises `ValueError` where it is not."""
        with self._lock:
            if name in self._entries:
                raise ValueError(f"the rack has a model {name!r} already; del rack[{name!r}] first, or reload it")
            self._entries[name] = _Entry(name, path_or_model)

    def reload(self, name: str) -> None:
        """Opens the model's files anew and puts the result in the place of the old one, between two runs.

        Runs that have begun end on the old values. Who holds the Model sees the new one, too. Where the
        files can't be opened the old model stays.

        Raises:
            UnknownName: no such model.
            FileError, CorruptFile and whatever else `load` raises.
        """
        self._entry(name).reload()

    # Running

    def run_all(self, feeds: Any, models: Iterable[str] | None = None) -> dict[str, Any]:
        """Every model's prediction for the same feeds, by name.

        Attributes:
            feeds: what each model is called with: a mapping of input names to values, or one value.
            models: only these.

        Raises:
            RackErrors: an ExceptionGroup, once all have run, where some failed; its `results` has the others'.
            UnknownName: `models` names one that there isn't; nothing is run.
        """
        names = list(self) if models is None else list(models)
        entries = [self._entry(name) for name in names]
        results: dict[str, Any] = {}
        errors: dict[str, Exception] = {}

        def one(name: str) -> None:
            try:
                results[name] = self[name](feeds)
            except Exception as error:
                errors[name] = error

        slow = [e.name for e in entries if e.seconds_per_run() > _WORTH_A_THREAD_S]
        if len(slow) < 2:
            for name in names:
                one(name)
        else:
            from concurrent.futures import ThreadPoolExecutor

            from graphrack.engines.openvino.runtime import cores

            with ThreadPoolExecutor(min(len(slow), cores())) as pool:
                pending = pool.map(one, slow)
                for name in names:
                    if name not in slow:
                        one(name)
                list(pending)
        _raise(errors, names, results)
        return {name: results[name] for name in names}

    def warmup(self, feeds: Any = None, models: Iterable[str] | None = None) -> None:
        """Loads models and compiles what their predictions need, now, and waits until that is done.

        Attributes:
            feeds: what each is to be warmed up with; see `Model.warmup`, which makes some up by default.
            models: only these.

        Raises:
            RackErrors: an ExceptionGroup, once all are done, where some failed.
            UnknownName: `models` names one that there isn't; nothing is done.
        """
        names = list(self) if models is None else list(models)
        for name in names:
            self._entry(name)
        errors: dict[str, Exception] = {}
        for name in names:
            try:
                self[name].warmup(feeds)
            except Exception as error:
                errors[name] = error
        _raise(errors, names, {})

    def stats(self) -> dict[str, ModelStats]:
        """What each model has done and holds; zeros for one that has not been used."""
        return {
            entry.name: entry.model.stats if entry.model is not None else ModelStats(0, 0, 0.0, 0, 0)
            for entry in list(self._entries.values())
        }

    # Life

    def __enter__(self) -> Rack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of all models; mapped files are closed once nobody holds arrays of them."""
        with self._lock:
            self._entries.clear()

    def __repr__(self) -> str:
        lines = [f"Rack of {len(self)} models"]
        lines += [f"  {e.name}: {e.source!r}{'' if e.model is None else ' (loaded)'}" for e in self._entries.values()]
        return "\n".join(lines)

    def _entry(self, name: str) -> _Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(f"the rack has no model {name!r}{closest(name, self._entries)}") from None

    def _touch(self, entry: _Entry) -> None:
        """Marks a model as used last, and lets go of what was not used for longest beyond the limit."""
        assert self.memory_limit is not None
        with self._lock:
            self._clock += 1
            entry.used = self._clock
            loaded = sorted((e for e in self._entries.values() if e.model is not None), key=lambda e: e.used)
            graphs = {id(e.graph): e.graph for e in loaded}
            parts = [
                (program, part) for g in graphs.values() for program in g.programs() for part in program.executables()
            ]
            total = sum(g.memory() for g in graphs.values()) + sum(part.nbytes for _, part in parts)
            if total <= self.memory_limit:
                return
            own = {id(part) for _, part in compiled_parts(entry.instance)}
            for program, part in sorted(parts, key=lambda found: found[1].used):
                if total > self.memory_limit and id(part) not in own:
                    program.forget(part)
                    total -= part.nbytes
            kept = {id(entry.graph)}
            for other in loaded:
                if total <= self.memory_limit:
                    break
                graph = other.graph
                if id(graph) not in kept:
                    kept.add(id(graph))
                    total -= graph.memory()
                    graph.release()


class _Entry:
    """One name's model, loaded on first use."""

    __slots__ = ("_lock", "model", "name", "source", "used")

    def __init__(self, name: str, source: PathOrModel):
        self.name = name
        self.source = source.path if isinstance(source, Model) else os.fspath(source)
        self.model = source if isinstance(source, Model) else None
        self.used = 0
        self._lock = threading.Lock()

    @property
    def instance(self) -> Instance:
        assert self.model is not None
        return self.model._instance

    @property
    def graph(self) -> SharedGraph:
        return self.instance.graph

    def load(self) -> Model:
        with self._lock:
            if self.model is None:
                self.model = self._named(lambda: load(self.source, name=self.name))
            return self.model

    def reload(self) -> None:
        with self._lock:
            if self.model is None:
                self.model = self._named(lambda: load(self.source, name=self.name))
            else:
                self._named(self.model._reload)

    def seconds_per_run(self) -> float:
        return self.model._seconds_per_run() if self.model is not None else 0.0

    def _named(self, work: Any) -> Any:
        try:
            return work()
        except GraphrackError as error:
            error.args = (f"model {self.name!r} of the rack: {error}", *error.args[1:])
            raise


def _raise(errors: Mapping[str, Exception], names: list[str], results: Mapping[str, Any]) -> None:
    """Raises the errors of those models that failed, with the others' results."""
    if errors:
        failed = ", ".join(repr(n) for n in names if n in errors)
        others = "; the others' results are on .results" if results else ""
        raise RackErrors(
            f"{len(errors)} of {len(names)} models failed: {failed}{others}",
            [errors[n] for n in names if n in errors],
            {n: results[n] for n in names if n in results},
        )


def _models_in(folder: str) -> dict[str, str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        raise FileError(f"{folder!r} can't be listed: {error.strerror}; expected a folder of models") from None
    found: dict[str, str] = {}
    for entry in entries:
        path: str | None = entry.path
        name = entry.name
        if entry.is_dir():
            path = _model_folder(entry.path)
        elif name.endswith((".pb", ".pbtxt", ".meta")):
            stem = name.rpartition(".")[0]
            name = stem if stem not in found else name
        else:
            continue
        if path is not None:
            found[name] = path
    return found


def _model_folder(folder: str) -> str | None:
    """What to load for a subfolder; None where it holds no model."""
    names = os.listdir(folder)
    if "checkpoint" in names or "saved_model.pb" in names or "saved_model.pbtxt" in names:
        return folder
    versions = [n for n in names if re.fullmatch("[0-9]+", n) and _model_folder(os.path.join(folder, n))]
    if versions:
        return os.path.join(folder, max(versions, key=int))
    graphs = [n for n in names if n.endswith((".meta", ".pb", ".pbtxt"))]
    return os.path.join(folder, graphs[0]) if len(graphs) == 1 else None
