"""What the tests of formats share."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest


@pytest.fixture
def peak_memory():
    """A context manager that fails where Python and NumPy allocate more than `below` bytes at once."""

    @contextlib.contextmanager
    def limited(*, below: int):
        tracemalloc.start()
        try:
            yield
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < below

    return limited
