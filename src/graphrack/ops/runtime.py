"""What ops that keep state see of a run: handles, and the variables and resources behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from graphrack.formats.dtypes import DType

_R = TypeVar("_R")
Array = np.ndarray[Any, Any]


class Handle:
    """What a resource or a reference to a variable is while a graph runs.

    Attributes:
        key: identifies the variable or resource within its model: container and shared name.
        name: the name of the node that made it, for messages and for the model's `variables`.
        dtype: of the value, where the node declares one.
        shape: of the value, `None` sizes unknown, `None` for unknown rank.
    """

    __slots__ = ("dtype", "key", "name", "shape")

    def __init__(self, key: str, name: str, dtype: DType | None = None, shape: tuple[int | None, ...] | None = None):
        self.key = key
        self.name = name
        self.dtype = dtype
        self.shape = shape

    def __repr__(self) -> str:
        return f"Handle({self.name!r})"


class CheckpointSource(Protocol):
    """What a RestoreV2 reads from."""

    def read_slice(self, name: str, spec: str = "") -> Array | None:
        """The values of one tensor, or of a slice of it (RestoreV2's `shape_and_slice`).

        None for a tensor that nothing in this run takes.
        """


class RunState(Protocol):
    """One run's view of its model's variables and resources.

    Values are never written in place: a write replaces the array. What a run wrote is seen by later
    steps of that run at once, and by others when it has ended well.
    """

    def read(self, handle: Handle) -> Array:
        """A variable's value. Raises `UninitializedError` where it has none."""

    def copy(self, handle: Handle, rows: Array) -> Array:
        """A copy of a variable's value, to be written when some of its rows have been changed: only these may be.

        Attributes:
            rows: indices along the first dimension, checked by the op.
        """

    def write(self, handle: Handle, value: Array) -> None:
        """Gives a variable its value; dtype and shape have been checked by the op."""

    def has_value(self, handle: Handle) -> bool:
        """Whether the variable has a value."""

    def forget(self, handle: Handle) -> None:
        """Takes a variable's value away (DestroyResourceOp, DestroyTemporaryVariable)."""

    def resource(self, handle: Handle, make: Callable[[], _R]) -> _R:
        """A resource that is no variable (a table, say), made on first use."""

    def per_node(self, node_name: str, make: Callable[[], _R]) -> _R:
        """Something that one node keeps from run to run (a random generator, say)."""

    def checkpoint(self, prefix: bytes) -> CheckpointSource:
        """The checkpoint that a restore op reads. Only what `load`, `restore` or the caller opened."""

    def writable(self, prefix: bytes) -> str:
        """The path for a save op to write to. Only below the prefix that `save` was given."""

    def file_allowed(self, path: bytes, what: str) -> str:
        """The path for an op that reads a file (an asset, say); raises `PermissionDenied` otherwise."""
