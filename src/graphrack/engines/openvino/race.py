"""Who is the faster at a cluster, OpenVINO or the interpreter: both run it, and are timed.

Of small clusters calls are most, which an estimate may miss by a factor of two or more. And of large ones whose
matrices all change from run to run, as where a model trains, OpenVINO has nothing ready: BLAS is as fast at them or
half as fast, as the processor has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from time import perf_counter
from typing import Any

LEAST_S, LEAST_UNREADY_S = 0.005, 5.0
"""What the interpreter is thought to take longer for isn't measured: with matrices that are ready, and without."""

CLEARLY = 0.85
"""The part of the interpreter's time that OpenVINO may take. Run again and again, as it is measured, it looks better
than between other steps, whose memory and code it has to get into the caches anew: a recurrent cell by a tenth."""

# So many times each, for as long as that at most; twice, unless it takes that long.
_ROUNDS, _RACE_S, _LONG_RACE_S = 5, 0.02, 0.5
# What is a whole run finds in the processor's caches what the last one has left there, as it isn't here before it has
# run some times in a row.
_IN_A_ROW = 12


class Race:
    """Whether OpenVINO was the faster, by contests: magnitudes of the work, and shapes with a program of their own.

    Attributes:
        pending: the contest that has yet to be held.
        undecided: magnitudes at which OpenVINO's program for any sizes was the faster, but not clearly: one for certain
            sizes may be.
    """

    __slots__ = ("_won", "pending", "undecided")

    def __init__(self) -> None:
        self._won: dict[Hashable, bool] = {}
        self.pending: Hashable | None = None
        self.undecided: set[Hashable] = set()

    def is_held(self, contest: Hashable) -> bool:
        """Whether it has been measured."""
        return contest in self._won

    def is_won(self, contest: Hashable) -> bool:
        """Whether OpenVINO was the faster, as far as is known."""
        return self._won.get(contest, True)

    def is_lost(self) -> bool:
        """Whether there were contests, and OpenVINO has won none."""
        return bool(self._won) and not any(list(self._won.values()))

    def hold(
        self, openvino: Callable[[], Any], interpreter: Callable[[], Any], *, among_others: bool, may_wait: bool
    ) -> Hashable | None:
        """Measures what is pending; gives it, None where there is nothing.

        Attributes:
            among_others: whether other steps come between its runs.
            may_wait: whether it is left undecided where OpenVINO isn't clearly the faster.
        """
        contest, self.pending = self.pending, None
        if contest is None:  # another thread is at it
            return None
        self._won[contest] = True
        if among_others:
            fastest = _fastest(_ROUNDS, openvino, interpreter)
        else:
            fastest = [*_fastest(_IN_A_ROW, openvino), *_fastest(_IN_A_ROW, interpreter)]
        clearly = fastest[0] < (CLEARLY if among_others else 1.0) * fastest[1]
        if not clearly and may_wait and fastest[0] < fastest[1]:
            self.undecided.add(contest)
        else:
            self._won[contest] = clearly
        return contest

    def lose(self, contest: Hashable) -> None:
        """Has what isn't measured be lost."""
        self._won.setdefault(contest, False)

    def decide(self, contest: Hashable) -> None:
        """Has what is undecided be lost."""
        if contest in self.undecided:
            self.undecided.discard(contest)
            self._won[contest] = False

    def forget(self, contest: Hashable) -> None:
        """Has it measured again."""
        self._won.pop(contest, None)


def _fastest(rounds: int, *ways: Callable[[], Any]) -> list[float]:
    """The fewest seconds that each takes, where the others come between its runs."""
    fastest, began = [math.inf] * len(ways), perf_counter()
    for number in range(rounds):
        for i, way in enumerate(ways):
            start = perf_counter()
            way()
            fastest[i] = min(fastest[i], perf_counter() - start)
        if perf_counter() - began > (_RACE_S if number else _LONG_RACE_S):
            break
    return fastest
