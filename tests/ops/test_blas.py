"""Products are NumPy's, and the number of OpenBLAS's threads is left as it was found."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from graphrack.ops import blas

_SMALL, _LARGE = False, True
_X = np.ones((2, 2))


class _Number:
    """A library's number of threads."""

    def __init__(self, value: int):
        self.value = value

    def get(self) -> int:
        return self.value

    def set(self, value: int) -> None:
        self.value = value

    def threads(self) -> blas._Threads:
        return blas._Threads(lambda: (self.get, self.set))

    def settled(self, threads: blas._Threads) -> int:
        """The same of a large product, once none has been kept from the processor for a while."""
        deadline = time.monotonic() + 30
        while (number := self.seen(threads, _LARGE)) == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        return number

    def seen(self, threads: blas._Threads, large: bool) -> int:
        """How many threads a product finds."""
        number: int = threads.run(lambda *_: self.value, large, _X, _X, None)
        return number


@pytest.mark.parametrize("groups", [(), (1,), (3,)])
@pytest.mark.parametrize(
    ("n", "k", "m"), [(0, 3, 4), (5, 0, 2), (7, 3, 4), (1, 700, 60), (800, 72, 16), (4097, 64, 1), (3, 1300, 1200)]
)
def test_products_of_every_size_are_numpys(groups: tuple[int, ...], n: int, k: int, m: int) -> None:
    random = np.random.default_rng(n + k)
    x, y = (random.normal(size=(*groups, *shape)) for shape in ((n, k), (k, m)))
    expected = np.matmul(x, y)
    np.testing.assert_allclose(blas.matmul(x, y), expected, rtol=1e-12, atol=1e-12)
    out = np.full((*groups, n, m), np.nan)
    assert blas.matmul(x, y, out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    if not groups:
        np.testing.assert_allclose(blas.dot(x, y), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [0, 3, 20_000])
def test_vectors_have_a_scalar_product(size: int) -> None:
    x = np.random.default_rng(size).normal(size=size)
    np.testing.assert_allclose(blas.dot(x, x), np.sum(x * x), rtol=1e-12)


def test_numpys_own_openblas_is_found() -> None:
    """Where NumPy's own packages are installed on Linux, and it computes with the number of threads it had."""
    config: Any = np.show_config(mode="dicts")
    control = blas._openblas()
    if sys.platform == "linux" and config["Build Dependencies"]["blas"]["name"] == "scipy-openblas":
        assert control is not None
    before = control[0]() if control else 0
    x = np.ones((300, 300))
    blas.matmul(x, x)
    assert (control[0]() if control else 0) == before


def test_small_products_get_one_thread_and_large_ones_all() -> None:
    number = _Number(8)
    threads = number.threads()
    assert number.seen(threads, _SMALL) == 1
    assert number.value == 8
    assert number.seen(threads, _LARGE) == 8
    assert number.value == 8


def test_one_thread_stays_one_thread() -> None:
    number = _Number(1)
    threads = number.threads()
    assert [number.seen(threads, large) for large in (_SMALL, _LARGE)] == [1, 1]
    assert number.value == 1


def test_a_large_product_beside_another_gets_one_thread() -> None:
    number = _Number(8)
    threads = number.threads()
    assert threads.run(lambda *_: number.seen(threads, _LARGE), _LARGE, _X, _X, None) == 1
    assert number.value == 8
    with threads.crowded():
        assert number.value == 8
        assert number.seen(threads, _LARGE) == 1
    assert number.settled(threads) == 8


def _is_kept_away(threads: blas._Threads) -> None:
    threads.run(lambda *_: time.sleep(0.02), _LARGE, _X, _X, None)  # a product that isn't let run


def test_large_products_get_one_thread_for_a_while_where_others_want_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blas, "_SOON_S", 3600)
    monkeypatch.setattr(blas, "_FIRST_PAUSE_S", 0.5)
    number = _Number(8)
    threads = number.threads()
    _is_kept_away(threads)
    _is_kept_away(threads)
    assert number.seen(threads, _LARGE) == 1
    assert number.settled(threads) == 8


@pytest.mark.parametrize("times", [1, 2])
def test_they_get_all_where_they_were_kept_from_it_once_or_seldom(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_SOON_S", 0)
    number = _Number(8)
    threads = number.threads()
    for _ in range(times):
        _is_kept_away(threads)
    assert number.seen(threads, _LARGE) == 8


def test_the_number_is_put_back_after_an_error() -> None:
    number = _Number(4)
    threads = number.threads()

    def fails(*_: Any) -> Any:
        raise ValueError("no product")

    with pytest.raises(ValueError, match="no product"):
        threads.run(fails, _SMALL, _X, _X, None)
    assert number.value == 4
    assert number.seen(threads, _LARGE) == 4


def test_a_number_that_somebody_sets_in_the_meantime_stays() -> None:
    number = _Number(4)
    number.threads().run(lambda *_: number.set(3), _SMALL, _X, _X, None)
    assert number.value == 3


@pytest.mark.parametrize("product", [blas.matmul, blas.dot])
@pytest.mark.parametrize(
    ("n", "k", "m", "expected"),
    [(1, 1024, 1024, 4), (1024, 1024, 1, 4), (1, 512, 512, 1), (64, 128, 128, 1), (64, 512, 512, 4), (2, 784, 512, 4)],
)
def test_few_rows_or_columns_get_all_threads_sooner(
    product: Any, n: int, k: int, m: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, seen = _Number(4), list[int]()
    threads = number.threads()
    run = threads.run
    monkeypatch.setattr(
        threads, "run", lambda _, large, *given: run(lambda *_: seen.append(number.value), large, *given)
    )
    monkeypatch.setattr(blas, "_threads", threads)
    product(np.ones((n, k), np.float32), np.ones((k, m), np.float32))
    assert seen == [expected]


def test_other_libraries_are_left_alone() -> None:
    threads = blas._Threads(lambda: None)
    x = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(threads.run(np.matmul, _SMALL, x, x.T, None), x @ x.T)


def test_products_in_many_threads_leave_the_number_as_it_was() -> None:
    number = _Number(6)
    threads = number.threads()
    seen: set[int] = set()

    def work() -> None:
        for _ in range(300):
            seen.add(number.seen(threads, _SMALL))

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == {1}
    assert number.value == 6


_FORKS = """
import os, numpy as np
from graphrack.ops import blas

control = blas._openblas()
if control is not None:
    control[1](2)

def forks(x, y, out):
    child = os.fork()
    if child == 0:
        as_before = control is None or control[0]() == 2
        os._exit(0 if as_before and blas.matmul(x, x).sum() == 300.0**3 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

x = np.ones((300, 300))
raise SystemExit(blas._threads.run(forks, False, x, x, None))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_process_that_forks_during_a_product_has_its_threads() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", _FORKS], check=True, timeout=60)
