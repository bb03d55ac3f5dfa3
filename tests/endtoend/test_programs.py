"""More programs, each also frozen and saved back, with feeds of odd sizes and values."""

from __future__ import annotations

from pathlib import Path

import pytest
from endtoend import estimation, flow, pictures, sequences
from endtoend.harness import CASES, judge_derived, judge_saved, save_and_run

MODULES = (estimation, flow, pictures, sequences)
NAMES = [name for name, case in CASES.items() if case.build.__module__ in {m.__name__ for m in MODULES}]
STYLES = [(name, style) for name in NAMES for style in CASES[name].styles]


@pytest.mark.parametrize(("name", "style"), STYLES, ids=["-".join(pair) for pair in STYLES])
def test_a_program_and_what_is_made_of_it_run_as_in_tensorflow(name: str, style: str, tmp_path: Path) -> None:
    saved = save_and_run(CASES[name], style, tmp_path)
    judge_saved(saved, CASES[name])
    judge_derived(saved, CASES[name], tmp_path)
