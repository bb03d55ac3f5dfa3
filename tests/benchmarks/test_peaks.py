"""The table of peak memory."""

from __future__ import annotations

from benchmarks.measuring import Measured
from benchmarks.peak_cases import PEAK_CASES, sections
from benchmarks.peaks import PROGRAMS


def _measured(**megabytes: float) -> Measured:
    figures = {side: {"memory": [mb * 1e6], "process": [mb * 2e6]} for side, mb in megabytes.items()}
    return Measured(figures=figures)


def test_every_program_is_a_case_of_its_own() -> None:
    assert [case.arguments for case in PEAK_CASES] == [(name,) for name in PROGRAMS]
    assert len({case.key for case in PEAK_CASES}) == len(PROGRAMS)
    assert all(value.size for program in PROGRAMS.values() for value in program.values().values())


def test_the_engine_that_takes_most_is_compared_with_tensorflow() -> None:
    one, other = PEAK_CASES[0], PEAK_CASES[1]
    (text,) = sections(
        {
            one.key: _measured(tensorflow=100, auto=90, numpy=140),
            other.key: _measured(tensorflow=100, auto=160, numpy=80),
        }
    )
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("|")}
    assert rows[one.title].endswith("| 100 (200) | 90 (180) | 140 (280) | 1.4 (met) |")
    assert rows[other.title].endswith("| 1.6 (missed) |")
    assert set(rows) == {"MB", "---", one.title, other.title}


def test_nothing_measured_is_no_section() -> None:
    assert sections({}) == []
