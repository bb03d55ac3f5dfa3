"""Matrix products by BLAS, on as many threads as are worth it.

OpenBLAS, which NumPy's packages bring along, gives a product to all of its threads from some 10,000 (matrix and vector)
or 262,144 multiplications on (`interface/gemv.c`, `interface/gemm.c`), and they wait for each other by spinning. Where
something else wants the processor (another process, another model's run, a cluster being compiled), each such wait
can cost a turn of the scheduler: 4 to 10 ms, for a product that takes 0.03 ms on one thread.

So small products get one thread; large ones get all, unless another product is going on or the last large ones were
kept from the processor. OpenBLAS has one number of threads for the whole process, so it is lowered during a product
and then put back: in the meantime other threads' products are right as ever, and on one thread if they begin just
then. Other BLAS libraries, OpenBLAS on OpenMP, and Windows (where the loaded library isn't found this way) are left
as they are.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from graphrack.ops.runtime import Array

_ALONE_BY_VECTOR, _ALONE = 9_000, 1 << 18
"""OpenBLAS itself uses one thread for what has no more multiplications, by a vector or of matrices."""

_LARGE = 1 << 22
"""Multiplications from which two threads gain: 0.1 ms of one, in single precision."""

_FEW, _LARGE_BY_FEW = 8, 1 << 19
"""By fewer rows or columns than that, reading the matrix takes longest, and two threads gain sooner."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_SOON_S = 0.25
"""After a product that was kept from the processor, how soon the next one has to be for a pause."""


def matmul(x: Array, y: Array, out: Array | None = None) -> Any:
    """`np.matmul` of arrays of two dimensions or more."""
    rows, columns = x.shape[-2], y.shape[-1]
    work = rows * columns * x.shape[-1]
    if work < _ALONE_BY_VECTOR or (work <= _ALONE and rows > 1 < columns):
        return np.matmul(x, y, out)
    return _threads.run(np.matmul, work >= (_LARGE_BY_FEW if rows < _FEW or columns < _FEW else _LARGE), x, y, out)


def dot(x: Array, y: Array) -> Any:
    """`np.dot` of two matrices, which is the shorter way to BLAS, or of two vectors."""
    columns = y.shape[-1] if y.ndim > 1 else 1
    work = x.size * columns
    if work < _ALONE_BY_VECTOR or (work <= _ALONE and columns > 1 < len(x)):
        return x.dot(y)  # as `np.dot` does it, in two thirds of the time
    return _threads.run(np.dot, work >= (_LARGE_BY_FEW if len(x) < _FEW or columns < _FEW else _LARGE), x, y, None)


_Control = tuple[Callable[[], int], Callable[[int], None]]


class _Threads:
    """The number of OpenBLAS's threads, as it is set for this process's products."""

    def __init__(self, control: Callable[[], _Control | None]) -> None:
        self._lock = threading.Lock()
        self._find = control
        self._control: _Control | None = None
        self._sought = False
        self._running = 0  # products under way
        self._lowered = 0  # those of them that want one thread
        self._before = 0  # the number to put back when these have ended
        self._pause = 0.0
        self._busy_until = 0.0
        self._kept_away = -math.inf  # when a product was kept from the processor last

    def run(self, product: Callable[..., Any], large: bool, x: Array, y: Array, out: Array | None) -> Any:
        """`product(x, y, out)`; `large`: whether several threads gain by it."""
        if not self._sought:
            self._seek()
        if self._control is None:
            return product(x, y, out)
        get, change = self._control
        alone = not large or time.perf_counter() < self._busy_until
        with self._lock:
            alone = alone or self._running > 0
            self._running += 1
            if alone:
                if not self._lowered:
                    self._before = get()
                    if self._before > 1:
                        change(1)
                self._lowered += 1
        try:
            return product(x, y, out) if alone else self._watched(product, x, y, out)
        finally:
            with self._lock:
                self._running -= 1
                if alone:
                    self._lowered -= 1
                    # Another number than 1 was set by somebody else in the meantime, and stays.
                    if not self._lowered and self._before > 1 and get() == 1:
                        change(self._before)

    @contextmanager
    def crowded(self) -> Iterator[None]:
        """Something else that wants all cores goes on: meanwhile each product gets one thread."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def _watched(self, product: Callable[..., Any], x: Array, y: Array, out: Array | None) -> Any:
        """A product on all threads. Where this one, which computes or spins, wasn't let run, others want the cores."""
        begin, begin_cpu = time.perf_counter(), time.thread_time()
        result = product(x, y, out)
        end, ran = time.perf_counter(), time.thread_time() - begin_cpu
        if end - begin <= 1.5 * ran:
            self._pause = 0.0
            return result
        # A single time may be OpenBLAS's own other thread, that has just woken up on this one's core.
        if begin - self._kept_away < self._pause + _SOON_S:
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            self._busy_until = end + self._pause
        self._kept_away = end
        return result

    def _seek(self) -> None:
        with self._lock:
            if not self._sought:
                self._control = self._find()
                self._sought = True


def _openblas() -> _Control | None:
    """Functions that get and set the number of threads of the OpenBLAS that NumPy uses; None without one."""
    import ctypes
    import importlib

    try:
        # Names are looked up in the libraries that it is linked with, too. They needn't let go of the GIL.
        library = ctypes.PyDLL(str(importlib.import_module("numpy._core._multiarray_umath").__file__))
    except (ImportError, OSError):
        return None
    for prefix in ("scipy_", ""):
        for suffix in ("64_", ""):
            try:
                get, change, parallel = (
                    getattr(library, f"{prefix}openblas_{name}{suffix}")
                    for name in ("get_num_threads", "set_num_threads", "get_parallel")
                )
            except AttributeError:
                continue
            change.argtypes, change.restype = [ctypes.c_int], None
            return (get, change) if parallel() == 1 else None  # 1: threads of its own, 0: none, 2: OpenMP's
    return None


_threads = _Threads(_openblas)


def crowded() -> AbstractContextManager[None]:
    """While something else goes on that wants all cores, as compiling does, each product gets one thread."""
    return _threads.crowded()


def _after_fork() -> None:
    # Products that were under way belong to the other process, where their threads are.
    global _threads
    before, _threads = _threads, _Threads(_openblas)
    if before._control is not None and before._lowered and before._before > 1:
        before._control[1](before._before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
