"""Variables that are read again: what a plan has read of one is its value until it writes.

In a plan that writes, variables are read where the graph reads them, and an optimizer's graph reads each of its numbers
as often as there are variables to train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphrack.engines.interpreter.optimizers import dense_optimizer
from graphrack.ops.runtime import Handle

_ASSIGNS = frozenset(
    prefix + suffix for prefix in ("Assign", "AssignAdd", "AssignSub") for suffix in ("", "VariableOp")
)


class LatestReads:
    """Where values of variables are, while a plan's steps are made in their order.

    Attributes:
        constants: the values of slots that no run changes: variables' handles are among them.
    """

    def __init__(self, constants: Mapping[int, Any]):
        self._constants = constants
        self._slots: dict[str, int] = {}

    def _key(self, slot: int) -> str | None:
        handle = self._constants.get(slot)
        return handle.key if isinstance(handle, Handle) else None

    def slot(self, handle: int) -> int | None:
        """The slot that has the value of the variable whose handle is in a slot; None where it has to be read."""
        key = self._key(handle)
        return None if key is None else self._slots.get(key)

    def read(self, handle: int, value: int) -> None:
        """Notes that the value of a variable is in a slot, whatever comes next."""
        key = self._key(handle)
        if key is not None:
            self._slots[key] = value

    def written(self, op: str, kernel: Any, slots: Sequence[int]) -> None:
        """Notes that a node changes variables: those that it is known to change, or else any.

        Attributes:
            kernel: its kernel, as its op has it.
            slots: those of its inputs.
        """
        optimizer = dense_optimizer(op, kernel)
        count = optimizer.states if optimizer is not None else 1 if op in _ASSIGNS else 0
        keys = [self._key(slot) for slot in slots[:count]]
        if not keys or None in keys:
            self._slots.clear()
        for key in keys:
            if key is not None:
                self._slots.pop(key, None)

    def clear(self) -> None:
        """Notes that any variable may have been changed."""
        self._slots.clear()
