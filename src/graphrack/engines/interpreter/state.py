"""A model's variables and resources, and what one run sees of them.

Variables are published as one mapping that is never changed, only replaced: a run that writes works
on its own copy of it and publishes that when it has ended well. So readers need no lock, see one state
for all of a run, and a run that fails leaves everything as it was. Arrays are never written in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import numpy as np

from graphrack.engines.interpreter import spares
from graphrack.engines.interpreter.plan import uninitialized
from graphrack.engines.interpreter.spares import Changes, Spare
from graphrack.errors import PermissionDenied
from graphrack.ops.runtime import CheckpointSource, Handle

_R = TypeVar("_R")


class Executable(Protocol):
    """What a state executes: a plan, whoever runs it; see `Plan`."""

    @property
    def writes(self) -> bool:
        """Whether running it changes variables or other resources."""

    @property
    def needs_state(self) -> bool:
        """Whether it looks at the model's state beyond the variables' values."""

    @property
    def permission(self) -> str:
        """What to tell a caller who has not permitted what it does outside of the process; or ""."""

    def run(self, feeds: Sequence[Any], values: dict[str, Any], state: Any) -> list[Any]:
        """Runs it once; what it writes is in `values` afterwards."""


# All states that there are, and a lock for whoever adds one or goes through them.
_states: WeakSet[ModelState] = WeakSet()
_states_lock = threading.Lock()


def current_values() -> set[int]:
    """The identities of all values that variables of any model have now."""
    with _states_lock:
        states = list(_states)
    return {id(value) for state in states for value in state.values.values()}


class ModelState:
    """What one model keeps between runs.

    Attributes:
        values: variables' values by key: a snapshot; replace it, don't change it.
        resources: tables and the like by key, made on first use.
        per_node: what single nodes keep (random generators).
        spares: earlier values of variables of which the last runs changed some rows.
        lock: held by a run that writes, for all of it.
    """

    __slots__ = ("__weakref__", "lock", "per_node", "resources", "spares", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.resources: dict[str, Any] = {}
        self.per_node: dict[str, Any] = {}
        self.spares: dict[str, Spare] = {}
        self.lock = threading.RLock()
        with _states_lock:
            _states.add(self)

    def execute(self, plan: Executable, feeds: Sequence[Any], access: Access) -> list[Any]:
        """Runs a plan on these variables; what it writes appears all at once when it has ended well."""
        access.check(plan)
        if not plan.writes:
            values = self.values
            if self.spares:
                self.spares = {}  # who doesn't train any more needs the memory
            return plan.run(feeds, values, Run(self, values, access) if plan.needs_state else None)
        with self.lock:
            run = Run(self, dict(self.values), access)
            results = plan.run(feeds, run.values, run)
            self.values = run.values
            if run.changes is not None:
                self.spares = run.changes.spares(run.values)
            return results

    def update(self, values: Mapping[str, Any]) -> None:
        """Replaces some variables' values, all at once."""
        with self.lock:
            self.values = {**self.values, **values}


class Access:
    """Which files a run may touch.

    Attributes:
        checkpoints: what restore ops may read: sources by the file name that the graph passes them.
        write_prefix: what save ops may write: this checkpoint prefix, and names that begin with it.
        files: files that ops may read (a SavedModel's assets).
        io: whether ops may read and write any other file, too.
    """

    __slots__ = ("checkpoints", "files", "io", "write_prefix")

    def __init__(
        self,
        checkpoints: Mapping[bytes, CheckpointSource] | None = None,
        write_prefix: str | None = None,
        files: frozenset[str] = frozenset(),
        io: bool = False,
    ):
        self.checkpoints = checkpoints or {}
        self.write_prefix = write_prefix
        self.files = files
        self.io = io

    def check(self, plan: Executable) -> None:
        """Raises `PermissionDenied` where a plan would do what this doesn't permit."""
        if plan.permission and not self.io:
            raise PermissionDenied(plan.permission)


class Run:
    """One run's view of its model's state: the `RunState` that ops see.

    Attributes:
        changes: of variables of which it has changed some rows.
    """

    __slots__ = ("_access", "_model", "changes", "values")

    def __init__(self, model: ModelState, values: dict[str, Any], access: Access):
        self._model = model
        self._access = access
        self.values = values
        self.changes: Changes | None = None

    def read(self, handle: Handle) -> np.ndarray[Any, Any]:
        """A variable's value. Raises `UninitializedError` where it has none."""
        try:
            return self.values[handle.key]  # type: ignore[no-any-return]
        except KeyError:
            raise uninitialized([handle.name]) from None

    def write(self, handle: Handle, value: np.ndarray[Any, Any]) -> None:
        """Gives a variable its value."""
        self.values[handle.key] = value

    def copy(self, handle: Handle, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A copy of a variable's value, for an op to change in these rows and write."""
        value = self.read(handle)
        if value.nbytes < spares.LEAST_BYTES:
            return value.copy()
        del value
        if self.changes is None:
            self.changes = Changes(self._model.spares)
        return self.changes.copy(self.values, handle.key, rows)

    def has_value(self, handle: Handle) -> bool:
        """Whether the variable has a value."""
        return handle.key in self.values

    def forget(self, handle: Handle) -> None:
        """Takes a variable's value away."""
        self.values.pop(handle.key, None)

    def resource(self, handle: Handle, make: Callable[[], _R]) -> _R:
        """A resource that is no variable, made on first use."""
        return _kept(self._model.resources, handle.key, make, self._model.lock)

    def found(self, key: str) -> Any:
        """A resource that is there by now; None where there is none."""
        return self._model.resources.get(key)

    def per_node(self, node_name: str, make: Callable[[], _R]) -> _R:
        """Something that one node keeps from run to run."""
        return _kept(self._model.per_node, node_name, make, self._model.lock)

    def checkpoint(self, prefix: bytes) -> CheckpointSource:
        """The checkpoint that a restore op reads: one that was opened for this run."""
        try:
            return self._access.checkpoints[prefix]
        except KeyError:
            raise PermissionDenied(
                f"the graph would read the checkpoint {prefix.decode(errors='replace')!r}, which nobody asked "
                "it to: restore values with restore(checkpoint)"
            ) from None

    def writable(self, prefix: bytes) -> str:
        """The path for a save op: only one that begins with the prefix that `save` was given."""
        path, allowed = prefix.decode(errors="surrogateescape"), self._access.write_prefix
        rest = path[len(allowed) :] if allowed is not None and path.startswith(allowed) else None
        if rest is None or ".." in rest.split("/"):
            raise PermissionDenied(
                f"the graph would write the checkpoint {path!r}, which nobody asked it to: save with save(prefix)"
            )
        return path

    def file_allowed(self, path: bytes, what: str) -> str:
        """The path for an op that reads a file: one of the model's own assets."""
        text = path.decode(errors="surrogateescape")
        if text not in self._access.files and not self._access.io:
            raise PermissionDenied(
                f"the graph would read the file {text!r} for {what}, which is no asset of the model; "
                'load(..., allow={"io"}) permits that'
            )
        return text


def _kept(store: dict[str, Any], key: str, make: Callable[[], _R], lock: threading.RLock) -> _R:
    found = store.get(key)
    if found is None:
        with lock:
            found = store.get(key)
            if found is None:
                found = store[key] = make()
    return found
