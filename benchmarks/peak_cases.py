"""The cases of peak memory: each program (`peaks.py`) by both libraries, and the table of all of them."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.agreement import near
from benchmarks.cases import Case
from benchmarks.measuring import Measured
from benchmarks.page import cell, number, table
from benchmarks.peaks import PROGRAMS, RUNS
from benchmarks.sides import AUTO, NUMPY, TENSORFLOW

ROOT = Path(__file__).parents[1]
MOST = 1.5
_SIDES = (TENSORFLOW, AUTO, NUMPY)


@functools.cache
def _built(work: Path) -> None:
    """The programs' files, by TensorFlow in a process of its own."""
    script = [sys.executable, "-W", "ignore", "-m", "benchmarks.peaks", str(work)]
    subprocess.run(script, check=True, cwd=ROOT, stderr=subprocess.DEVNULL)


PEAK_CASES = tuple(
    Case(
        name="peak",
        title=program.title,
        note="",
        figures=(),
        prepare=_built,
        sides=_SIDES,
        repeat=2,
        arguments=(name,),
        agree=near,
    )
    for name, program in PROGRAMS.items()
)


def sections(results: Mapping[str, Measured]) -> list[str]:
    """The table of those that were measured."""
    rows = []
    for case in PEAK_CASES:
        measured = results.get(case.key)
        if measured is None:
            continue
        cells = []
        for side in case.sides:
            whole = measured.median(side.name, "process")
            shown = cell(measured.values(side.name, "memory")[:1], 1e-6)
            cells.append(shown if whole is None else f"{shown} ({number(whole * 1e-6)})")
        worst = max(1 / ratio for side in (AUTO, NUMPY) if (ratio := measured.ratio(side.name, "memory")))
        rows.append([case.title, *cells, f"{number(worst)} ({'met' if worst <= MOST else 'missed'})"])
    if not rows:
        return []
    heads = ["MB", *(side.title for side in _SIDES), f"of TensorFlow's, at most {MOST}"]
    return [
        "## Peak memory of large runs\n\nMB that a process has at its peak (opening, and "
        f"{RUNS} runs or training steps) above what it has when the library is imported; in brackets the "
        f"whole process. Pages of mapped files count.\n\n{table(heads, rows)}\n"
    ]
