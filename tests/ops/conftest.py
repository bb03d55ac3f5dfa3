"""Every test of ops that asks TensorFlow must have compared something with what it gave."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from ops import judged

REFUSES = re.compile(r"refus|reject|error|bad|invalid|fail|raise|unknown|wrong|must|only|need|assert|outside|beyond")


@pytest.fixture(autouse=True)
def something_is_judged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that compares nothing, for TensorFlow can build or run none of its cases.

    Where all that is judged is that both refuse to run something, that is what the test must be about, by its name,
    or else one of its parameters.
    """
    judged.clear()
    yield
    function = request.node.originalname
    complaint = judged.complaint(refuses=bool(REFUSES.search(function)) or hasattr(request.node, "callspec"))
    assert not complaint, complaint
