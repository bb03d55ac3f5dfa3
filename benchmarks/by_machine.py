"""What the machine itself does with the same bytes: the bound for both sides."""

from __future__ import annotations

import os
import time

import numpy as np

from benchmarks.by_graphrack import done
from benchmarks.cases import LARGE_BYTES


def read(work: str) -> None:
    """Copies the bytes in memory."""
    source = np.ones(LARGE_BYTES, np.uint8)
    rates = []
    for _ in range(4):
        begin = time.perf_counter()
        source.copy()
        rates.append(LARGE_BYTES / (time.perf_counter() - begin))
    done(None, first=rates[0], again=max(rates[1:]))


def write(work: str) -> None:
    """Writes the bytes to a file."""
    data = np.random.default_rng(0).bytes(LARGE_BYTES)
    path = f"{work}/plain-{os.getpid()}"

    def rate(flush: bool) -> float:
        begin = time.perf_counter()
        with open(path, "wb", buffering=0) as file:
            file.write(data)
            if flush:
                os.fsync(file.fileno())
        result = LARGE_BYTES / (time.perf_counter() - begin)
        os.remove(path)
        return result

    rate(False)
    done(None, unflushed=rate(False), flushed=rate(True))
