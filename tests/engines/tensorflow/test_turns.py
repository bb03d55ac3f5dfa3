"""Many at once, or one alone."""

from __future__ import annotations

import threading

from graphrack.engines.tensorflow.turns import Turns


def test_sharers_are_in_at_the_same_time() -> None:
    turns, together = Turns(), threading.Barrier(3, timeout=30)

    def share() -> None:
        with turns.shared():
            together.wait()  # passes only with all three inside

    threads = [threading.Thread(target=share) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not together.broken


def test_one_that_is_alone_is_alone_and_comes_before_later_sharers() -> None:
    turns, order = Turns(), []
    first_in, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with turns.shared():
            first_in.set()
            go_on.wait(30)
            order.append("first")

    def alone() -> None:
        with turns.alone():
            order.append("alone")

    def later() -> None:
        with turns.shared():
            order.append("later")

    threads = [threading.Thread(target=first)]
    threads[0].start()
    first_in.wait(30)
    threads.append(threading.Thread(target=alone))
    threads[1].start()
    while not turns._waiting:
        pass
    threads.append(threading.Thread(target=later))
    threads[2].start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert order == ["first", "alone", "later"]


def test_an_error_inside_ends_the_turn() -> None:
    turns = Turns()
    for turn in (turns.shared, turns.alone):
        try:
            with turn():
                raise KeyError
        except KeyError:
            pass
    with turns.alone():
        pass
