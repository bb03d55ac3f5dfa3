"""Every graph of the collection: opened, run by both engines and trained by graphrack as by TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest
from endtoend import (  # noqa: F401  (each registers its graphs)
    attention,
    classic,
    detection,
    generative,
    recurrent,
    reinforcement,
    serving,
    text,
    training,
    vision,
)
from endtoend.harness import CASES, judge

STYLES = [(name, style) for name, case in CASES.items() for style in case.styles]


@pytest.mark.parametrize(("name", "style"), STYLES, ids=["-".join(pair) for pair in STYLES])
def test_graphrack_runs_and_trains_it_as_tensorflow_does(name: str, style: str, tmp_path: Path) -> None:
    judge(CASES[name], style, tmp_path)
