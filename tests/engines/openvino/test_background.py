"""Work in the background: done once, in time, and in order when the process ends or forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from graphrack.engines.openvino import background
from graphrack.engines.openvino.background import Job


def test_a_job_is_done_once_by_whoever_comes_first() -> None:
    calls: list[str] = []
    started, going = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        going.wait(10)
        calls.append(threading.current_thread().name)

    job = Job(work)
    threads = [threading.Thread(target=job.finish) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    assert not job.done.is_set()
    going.set()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert job.done.is_set()
    background.submit(job)
    last = Job(lambda: None)
    background.submit(last)
    assert last.done.wait(10)
    assert len(calls) == 1


def test_it_is_busy_while_a_job_goes_on() -> None:
    started, going = threading.Event(), threading.Event()
    job = Job(lambda: (started.set(), going.wait(10)))
    background.submit(job)
    assert started.wait(10)
    assert background.is_busy()
    going.set()
    end = time.monotonic() + 10
    while background.is_busy() and time.monotonic() < end:  # with what other tests have left
        time.sleep(0.01)
    assert not background.is_busy()


def test_a_delayed_job_waits_for_its_time() -> None:
    late, soon, quick = Job(lambda: None), Job(lambda: None), Job(lambda: None)
    background.submit(late, 30)
    background.submit(soon, 0.05)
    background.submit(quick)
    assert quick.done.wait(10)
    assert soon.done.wait(10)
    assert not late.done.wait(0.1)


def test_one_who_waits_does_it_himself_before_the_delay_is_over() -> None:
    names: list[str] = []
    job = Job(lambda: names.append(threading.current_thread().name))
    background.submit(job, 30)
    job.finish()
    assert names == [threading.current_thread().name]


def test_waiting_is_a_threads_own() -> None:
    seen: list[bool] = []
    with background.waiting():
        assert background.is_waiting()
        thread = threading.Thread(target=lambda: seen.append(background.is_waiting()))
        thread.start()
        thread.join()
    assert seen == [False]
    assert not background.is_waiting()


START = """
import os, threading, time
from graphrack.engines.openvino import background
from graphrack.engines.openvino.background import Job
"""


def ended(script: str) -> tuple[list[str], float]:
    """What a process prints that ends in the middle of things, and how many seconds it lived."""
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-u", "-c", START + script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.splitlines(), time.monotonic() - start


def test_a_process_that_ends_leaves_what_has_not_begun_but_what_is_to_be_done_last() -> None:
    lines, seconds = ended(
        """
background.submit(Job(lambda: print("late")), 60)
background.submit(Job(lambda: print("kept"), last=True), 60)
print("main")
"""
    )
    assert lines == ["main", "kept"]
    assert seconds < 30


def test_a_process_that_ends_waits_for_what_goes_on_and_tells_it() -> None:
    lines, _ = ended(
        """
def work():
    print("begun")
    began.set()
    try:
        while True:
            time.sleep(0.01)
            background.check()
    except background.Ending:
        print("left in order")
began = threading.Event()
background.submit(Job(work))
began.wait()
print("main ends")
"""
    )
    assert lines == ["begun", "main ends", "left in order"]


def test_what_is_submitted_while_the_process_ends_is_no_error() -> None:
    lines, _ = ended(
        """
class Late:
    def __del__(self):
        background.submit(Job(lambda: print("never")))
late = Late()
print("main")
"""
    )
    assert lines == ["main"]


def test_another_thread_goes_on_where_one_has_ended() -> None:
    lines, _ = ended(
        """
threading.excepthook = lambda args: print(args.exc_type.__name__)
def end():
    raise KeyboardInterrupt
background.submit(Job(end))
while background._worker._thread.is_alive():
    time.sleep(0.01)
job = Job(lambda: print("done"))
background.submit(job)
assert job.done.wait(10)
"""
    )
    assert lines == ["KeyboardInterrupt", "done"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_a_thread_of_its_own() -> None:
    lines, _ = ended(
        """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: what is tested here
begun = threading.Event()
order = []
def work():
    begun.set()
    time.sleep(0.3)
    order.append("work")
waiting = Job(lambda: None)
background.submit(Job(work))
background.submit(waiting, 60)
begun.wait()
child = os.fork()
order.append("forked")
if child == 0:
    job = Job(lambda: print("child", order, waiting.lost))
    background.submit(job)
    assert job.done.wait(10)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
job = Job(lambda: print("parent", order))
background.submit(job)
assert job.done.wait(10)
"""
    )
    assert lines == ["child ['work', 'forked'] True", "parent ['work', 'forked']"]
