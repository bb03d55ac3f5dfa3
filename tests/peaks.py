"""How much memory a run takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

_RUNS = 8


def peak_of(run: Callable[[], object], bound: float) -> int:
    """Bytes that a run has at its peak above what there was before it.

    What other threads allocate meanwhile counts, too, such as the one that stores what was compiled for earlier tests:
    a run that takes `bound` or more is run some more times, and the least is the answer.
    """
    least = 0
    for number in range(_RUNS):
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            run()
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        least = min(least, peak) if number else peak
        if least < bound:
            break
    return least
