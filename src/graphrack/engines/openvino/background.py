"""Work that nobody waits for: one thread, which compiles clusters and stores them.

The thread is a daemon and is made when there is something to do. A process that ends takes it along in order: what
has not begun is left (or done at once, where it asked for that), what goes on is told so and waited for, since
OpenVINO must not be in the middle of something when it is unloaded. A process forks only between two jobs.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from graphrack.ops.blas import crowded


class Job:
    """Something to do once, by whoever comes first: the thread, or one who can't wait.

    Attributes:
        last: whether it is still done when the process ends before the thread comes to it.
        done: set when it has ended.
    """

    def __init__(self, work: Callable[[], object], *, last: bool = False):
        self.last = last
        self.done = threading.Event()
        self._work = work
        self._claim = threading.Lock()
        self._process = os.getpid()

    @property
    def lost(self) -> bool:
        """Whether nobody is going to do it: it was done or broken off, or belongs to the process that forked this."""
        return self.done.is_set() or self._process != os.getpid()

    def finish(self) -> None:
        """Does it, or waits until another thread has."""
        if self._claim.acquire(blocking=False):
            try:
                self._work()
            finally:
                self.done.set()
        else:
            self.done.wait()


class _Worker:
    def __init__(self) -> None:
        self.busy = threading.RLock()
        self._jobs: list[tuple[float, Job]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.stopping = False
        self.working = False

    def submit(self, job: Job, delay: float) -> None:
        with self._changed:
            self._jobs.append((time.monotonic() + delay, job))
            if (self._thread is None or not self._thread.is_alive()) and not self.stopping:
                thread = threading.Thread(target=self._work, name="graphrack-compile", daemon=True)
                with contextlib.suppress(RuntimeError):  # the interpreter is going down, or no thread is to be had
                    thread.start()
                    self._thread = thread
            self._changed.notify()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            with self.busy:
                if not self.stopping:
                    with crowded():
                        self.working = True
                        try:
                            job.finish()
                        finally:
                            self.working = False

    def _next(self) -> Job | None:
        with self._changed:
            while not self.stopping:
                now = time.monotonic()
                at, job = min(self._jobs, key=lambda entry: entry[0], default=(None, None))
                if at is not None and job is not None and at <= now:
                    self._jobs.remove((at, job))
                    return job
                self._changed.wait(None if at is None else at - now)
            return None

    def stop(self) -> None:
        with self._changed:
            self.stopping = True
            left, self._jobs = self._jobs, []
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        for _, job in left:
            if job.last:
                job.finish()


_worker = _Worker()


def submit(job: Job, delay: float = 0.0) -> None:
    """Has a job done by the thread, `delay` seconds from now or later. It must not raise."""
    _worker.submit(job, delay)


def is_busy() -> bool:
    """Whether the thread does something, which takes cores from what else runs."""
    return _worker.working


class Ending(Exception):
    """The process ends: what goes on in the background need not be finished."""


def check() -> None:
    """Raises `Ending` in the background's thread, when the process ends: called between the parts of long work."""
    if _worker.stopping and threading.current_thread() is _worker._thread:
        raise Ending


# One who can wait, by thread: `Model.warmup`.
_waiting = threading.local()


class Patience:
    """What a thread waits for.

    Attributes:
        sizes: whether for what is compiled for the very sizes that it runs clusters on, too.
        made: whether anything was, which the next run takes.
    """

    __slots__ = ("made", "sizes")

    def __init__(self, sizes: bool):
        self.sizes = sizes
        self.made = False


@contextlib.contextmanager
def waiting(*, sizes: bool = False) -> Iterator[Patience]:
    """What this thread runs in the meantime waits for its clusters to be compiled."""
    before, _waiting.patience = patience(), Patience(sizes)
    try:
        yield _waiting.patience
    finally:
        _waiting.patience = before


def patience() -> Patience | None:
    """What this thread waits for; None where it doesn't wait for what it needs compiled."""
    return getattr(_waiting, "patience", None)


def is_waiting() -> bool:
    """Whether this thread waits for what it needs compiled."""
    return patience() is not None


def _after_fork() -> None:
    global _worker
    _worker = _Worker()


def _before_fork() -> None:
    _worker.busy.acquire()


def _after_fork_in_parent() -> None:
    _worker.busy.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)
atexit.register(lambda: _worker.stop())
