"""What every side does with a network in its process: open it, run it, run it on; with the clock and the memory."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.by_graphrack import done
from benchmarks.zoo import MLP, NETWORKS, SMALL, Network

# How long runs go on for their median; how many there are of slow ones at least, unless these take too long.
_SECONDS = 1.0
_LEAST = 5
_MOST_SECONDS = 5.0
# A bout's, of which there are many.
_BOUT_SECONDS = 0.25

Feeds = Mapping[str, Any]
Run = Callable[[Feeds], Any]


def resident() -> int:
    """Bytes of memory that the process has now, mapped files' touched pages included."""
    import psutil

    size: int = psutil.Process(os.getpid()).memory_info().rss
    return size


def peak() -> int:
    """The most that `resident` has been."""
    if sys.platform == "linux":
        # Not getrusage: what a process had before it became this program counts there.
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def network(
    work: str,
    name: str,
    form: str,
    batch: str,
    opened: Callable[[Network, str], Run],
    wait: Callable[[], None] | None = None,
    also: Callable[[], dict[str, float]] = dict,
) -> None:
    """Measures one network; the library is imported before. Then it runs a bout for each line that it is sent.

    Attributes:
        form: which of the network's files: `"frozen"` or `"checkpoint"`.
        opened: from the network and the file's path to what runs it.
        wait: returns when what goes on in the background is done.
        also: gives other figures, when all else is measured.
    """
    measured = NETWORKS[name]
    feeds = measured.values(int(batch))
    path = str(measured.frozen(work) if form == "frozen" else measured.checkpoint(work))
    imported = resident()
    begin = time.perf_counter()
    run = opened(measured, path)
    opened_at = time.perf_counter()
    first = run(feeds)
    answered_at = time.perf_counter()
    if wait is not None:
        wait()
    ready_at = time.perf_counter()
    later = run(feeds)
    repeated(lambda: run(feeds))  # for what memory that takes
    done(
        [listed(first), listed(later)],
        open=opened_at - begin,
        first=answered_at - opened_at,
        answer=answered_at - begin,
        ready=ready_at - begin,
        memory=peak() - imported,
        process=peak(),
        **also(),
    )
    for _ in sys.stdin:
        print(statistics.median(_bout(lambda: run(feeds))), flush=True)


def _bout(run: Callable[[], Any]) -> list[float]:
    """Seconds of each run of a few."""
    seconds: list[float] = []
    while sum(seconds) < _BOUT_SECONDS:
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return seconds


def repeated(run: Callable[[], Any]) -> list[float]:
    """Seconds of each run."""
    seconds: list[float] = []
    while (len(seconds) < _LEAST and sum(seconds) < _MOST_SECONDS) or sum(seconds) < _SECONDS:
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return seconds


def listed(value: Any) -> list[Any]:
    """A result as it is printed: its shape, and its values in a row."""
    import numpy as np

    array = np.asarray(value)
    return [list(array.shape), array.ravel().tolist()]


def small(
    work: str,
    number: str,
    opened: Callable[[str], Run],
    wait: Callable[[], None] | None = None,
    all_at_once: Callable[[Any], Any] | None = None,
) -> None:
    """Measures some models of one graph, open at once in one process; one of another graph is opened and run before.

    Attributes:
        opened: from a checkpoint's prefix to what runs it.
        all_at_once: given the input, runs all that are open.
    """
    feeds = SMALL.values(1)
    folder = SMALL.folder(work)
    opened(str(MLP.checkpoint(work)))(MLP.values(1))
    if wait is not None:
        wait()
    before = resident()
    begin = time.perf_counter()
    runs = [opened(f"{folder}/model-{i}") for i in range(int(number))]
    first = [run(feeds) for run in runs]
    took = time.perf_counter() - begin
    if wait is not None:
        wait()
    later = [run(feeds) for run in runs]
    figures = {"open": took, "run": _median(lambda: [run(feeds) for run in runs])}
    if all_at_once is not None:
        all_at_once(next(iter(feeds.values())))
        figures["together"] = _median(lambda: all_at_once(next(iter(feeds.values()))))
    done([*map(listed, first), *map(listed, later)], memory=max(0, resident() - before), **figures)


def _median(run: Callable[[], Any]) -> float:
    return statistics.median(repeated(run))
