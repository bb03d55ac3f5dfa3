"""The weights that a cluster is run with: the same ones from run to run, or now one model's, now another's."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np

from graphrack.engines.openvino.nans import finite

_MAX_SETS = 256

Array = np.ndarray[Any, Any]


class Weights:
    """What is known of one set of weights.

    Attributes:
        shapes: a number for their shapes, which are many; None where OpenVINO can't take them.
    """

    __slots__ = ("_finite", "_refs", "shapes")

    def __init__(self, values: Sequence[Any], shapes: int | None):
        self.shapes = shapes
        self._finite = False
        self._refs = [weakref.ref(value) for value in values]

    def are(self, values: Sequence[Any]) -> bool:
        """Whether these are they: arrays that are gone leave their identities to others."""
        return all(ref() is value for ref, value in zip(self._refs, values, strict=True))

    def are_finite(self, values: Sequence[Array]) -> bool:
        """Whether none of them is NaN or infinite, which is looked at once, and only where OpenVINO has a result.

        BERT's take 0.05 s to look at, which no first answer by the interpreter need wait for.
        """
        if not self._finite and self.shapes is not None:
            self._finite = all(map(finite, values))
            if not self._finite:
                self.shapes = None
        return self._finite


class WeightSets:
    """All that a cluster has been run with lately.

    Attributes:
        numbers: for shapes of weights their number.
    """

    __slots__ = ("_known", "_last", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[tuple[Any, ...], int] = {(): 0}
        self._last: tuple[list[Any], Weights] = ([], Weights((), 0))
        self._known: dict[tuple[int, ...], Weights] = {}

    @property
    def last(self) -> list[Any]:
        """The values of the last run."""
        return self._last[0]

    def are_taken(self) -> bool:
        """Whether OpenVINO may be given those of the last run, as far as is known."""
        return self._last[1].shapes is not None

    def look_up(self, values: list[Any]) -> tuple[list[Any], Weights]:
        """The values, as the very list of the last run where they are the same, and what is known of them."""
        last = self._last  # one pair, whatever other threads do
        if len(values) == len(last[0]) and all(map(is_, values, last[0])):
            return last
        self._last = last = values, self._find(values)
        return last

    def _find(self, values: Sequence[Any]) -> Weights:
        if not all(isinstance(value, np.ndarray) and value.dtype.kind in "fib" for value in values):
            return Weights((), None)
        ids = tuple(map(id, values))
        known = self._known.get(ids)
        if known is None or not known.are(values):
            if len(self._known) >= _MAX_SETS:
                self._known.clear()
            shapes = self.numbers.setdefault(tuple([value.shape for value in values]), len(self.numbers))
            known = self._known[ids] = Weights(values, shapes)
        return known
