"""Runs the benchmarks, prints them, and writes `benchmarks/README.md`.

    python -m benchmarks            all of them
    python -m benchmarks start run  only these; the page is left as it is

Each case names what it measures and has one function for each side. Sides run in processes of their own, in turn,
several times; the median counts. No time is reported unless both sides' results agree.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import cases, page

WORK = Path(__file__).parent / ".work"
ROOT = Path(__file__).parents[1]


def child(case: str, side: str) -> dict[str, Any]:
    """Runs one side of a case in a fresh process; `seconds_to_result` is from its start to its first result."""
    command = [sys.executable, "-m", "benchmarks.child", case, side, str(WORK)]
    start = time.perf_counter()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        reached = time.perf_counter() - start
        rest = process.stdout.read()
        errors = process.stderr.read()
    if process.returncode:
        sys.exit(f"{case} ({side}) failed:\n{errors[-3000:]}")
    measured: dict[str, Any] = json.loads((first + rest).strip().splitlines()[-1])
    measured["figures"].setdefault("seconds_to_result", reached)
    return measured


def measure(case: cases.Case) -> dict[str, dict[str, list[float]]]:
    """For each side each figure's values over the repetitions. Ends the process where results differ."""
    figures: dict[str, dict[str, list[float]]] = {}
    results: dict[str, Any] = {}
    for _ in range(case.repeat):
        for side in case.sides:
            measured = child(case.name, side)
            results[side] = measured["result"]
            for name, value in measured["figures"].items():
                figures.setdefault(side, {}).setdefault(name, []).append(value)
    compared = {s: r for s, r in results.items() if r is not None}
    for side, result in compared.items():
        if not cases.close(compared["graphrack"], result):
            sys.exit(f"{case.name}: graphrack gave {compared['graphrack']}, {side} {result}: nothing is reported")
    return figures


def medians(figures: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    """The median of each figure."""
    return {side: {n: statistics.median(v) for n, v in values.items()} for side, values in figures.items()}


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(c.name for c in cases.CASES))
    chosen = parser.parse_args().cases
    unknown = set(chosen) - {c.name for c in cases.CASES}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are: {', '.join(c.name for c in cases.CASES)}")
    WORK.mkdir(exist_ok=True)
    sections = []
    for case in cases.CASES:
        if chosen and case.name not in chosen:
            continue
        case.prepare(WORK)
        figures = measure(case)
        section = page.section(case, medians(figures), figures)
        print(section, flush=True)
        sections.append(section)
    if not chosen:
        page.write(sections)


if __name__ == "__main__":
    main()
