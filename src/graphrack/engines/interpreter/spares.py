"""Variables of which a run changes a few rows: copied once, not in every run.

Values that are published are never written in place. So who changes rows of a table (an optimizer's sparse update, a
scatter) changes a copy, and a table is mostly larger by far than what changes of it. But the value before the last one
is mostly nobody's any more, and differs from the last by the rows that the run between them changed: with these
brought up to date it is as good as a copy.

What a checkpoint's file holds is mapped once more instead of copied: of a table that is much larger than what changes
of it, both copies take the memory of the pages that were changed.

A spare is used only where references to it, counted then and there, show that nobody else holds it: no caller, no run
that began earlier, no compiled cluster, no view.
"""

from __future__ import annotations

import sys
from typing import Any
from weakref import getweakrefcount

import numpy as np

from graphrack.engines.interpreter.memory import COUNTS_TELL
from graphrack.formats.data_files import is_mapped, is_mapped_again, mapped_again

Array = np.ndarray[Any, Any]

LEAST_BYTES = 1 << 16
"""Of a value that is worth it."""

_LEAST_MAPPED = 1 << 20
"""Bytes that are sooner mapped than copied."""


class Spare:
    """An array that was a variable's value, and where it differs from the value that it has now.

    Attributes:
        array: its memory is used for the next value but one.
        latest: the value.
        rows: indices of rows, along the first dimension, in which the two differ at most; None for any.
    """

    __slots__ = ("array", "latest", "rows")

    def __init__(self, array: Array, latest: Array, rows: list[Array] | None):
        self.array = array
        self.latest = latest
        self.rows = rows

    def is_free(self) -> bool:
        """Whether nobody else holds the array."""
        return COUNTS_TELL and sys.getrefcount(self.array) == _ALONE and _is_own(self.array) and _is_unseen(self.array)

    def brought_up_to_date(self) -> Array:
        """The array, made equal to the value."""
        array, latest = self.array, self.latest
        if self.rows is None:
            np.copyto(array, latest)
        else:
            for rows in self.rows:
                array[rows] = latest[rows]
        return array


def _is_own(array: Array) -> bool:
    flags = array.flags
    own = flags.owndata or is_mapped_again(array)
    return own and flags.writeable and flags.c_contiguous and not getweakrefcount(array)


def _is_unseen(array: Array) -> bool:
    """Whether no view is of the array's memory: one of an array that doesn't own its memory holds what does."""
    return array.base is None or sys.getrefcount(array.base) == _BASE_ALONE


def _count_base() -> int:
    """What counting gives for what owns the memory of one array."""
    if not COUNTS_TELL:
        return 0
    array = np.frombuffer(bytearray(8), np.uint8)[:8].view(np.float32).reshape(1, 2)
    return sys.getrefcount(array.base)


def _copy(array: Array) -> Array:
    """A copy, which takes no memory where it is a file's as yet."""
    again = mapped_again(array) if array.nbytes >= _LEAST_MAPPED else None
    return array.copy() if again is None else again


def _count_alone() -> int:
    """What counting gives for an array that only a spare holds; 0, which it never gives, where counts don't tell."""
    if not COUNTS_TELL:
        return 0
    spare = Spare(np.empty(1), np.empty(1), None)
    return sys.getrefcount(spare.array)


def _count_in_run() -> int:
    """The same, for an array that is also a variable's value in a run."""
    if not COUNTS_TELL:
        return 0
    change = Change(np.empty(1), np.empty(1))
    values = {"": change.array}
    count = sys.getrefcount(change.array)
    return count if values else 0


class Change:
    """What one run has made of a variable.

    Attributes:
        before: the value when it was first changed.
        array: the run's copy.
        rows: in which they differ at most; None for any.
    """

    __slots__ = ("_left", "array", "before", "rows")

    def __init__(self, before: Array, array: Array):
        self.before = before
        self.array = array
        self.rows: list[Array] | None = []
        self._left = len(array) // 2

    def note(self, rows: Array) -> None:
        """Takes note of rows that are going to be changed."""
        self._left -= rows.size
        if self._left < 0:
            self.rows = None
        elif self.rows is not None:
            self.rows.append(rows.copy())  # indices that were fed are the caller's, who may change them


_ALONE = _count_alone()
_ALONE_IN_RUN = _count_in_run()
_BASE_ALONE = _count_base()


class Changes:
    """What one run changes of variables.

    Attributes:
        spares: the model's, by variable; only one run at a time may use them.
    """

    __slots__ = ("_changes", "_spares")

    def __init__(self, spares: dict[str, Spare]):
        self._spares = spares
        self._changes: dict[str, Change] = {}

    def copy(self, values: dict[str, Any], key: str, rows: Array) -> Array:
        """A copy of a variable's value, of which some rows are going to be changed before it becomes the value.

        It is the value itself where this run has made it and nobody has taken it since.
        """
        value: Array = values[key]
        change = self._changes.get(key)
        if change is not None and change.array is value:
            del value
            if not COUNTS_TELL or sys.getrefcount(change.array) != _ALONE_IN_RUN or not _is_unseen(change.array):
                change.array = change.array.copy()
        else:
            spare = self._spares.pop(key, None)
            if spare is not None and spare.latest is value and spare.is_free():
                array = spare.brought_up_to_date()
            elif spare is not None and spare.latest is value and spare.rows is not None and is_mapped(spare.array):
                array = Spare(_copy(spare.array), value, spare.rows).brought_up_to_date()
            else:
                del spare
                array = _copy(value)
            change = self._changes[key] = Change(value, array)
        change.note(rows)
        return change.array

    def spares(self, values: dict[str, Any]) -> dict[str, Spare]:
        """The model's spares, now that these are its variables' values."""
        found = {
            key: Spare(change.before, change.array, change.rows)
            for key, change in self._changes.items()
            if values.get(key) is change.array and (_is_own(change.before) or is_mapped(change.before))
        }
        kept = {key: spare for key, spare in self._spares.items() if values.get(key) is spare.latest}
        return {**kept, **found}
