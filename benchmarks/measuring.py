"""Running a case: its sides' processes in turn, their results compared, their figures gathered and kept."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.sides import Side

ROOT = Path(__file__).parents[1]


class Failed(Exception):
    """A side's process failed, or its result is not the others'."""


@dataclass
class Measured:
    """What a case's sides measured.

    Attributes:
        figures: each side's figures by name, a value a process.
        failures: what guests failed with.
        conditions: the machine and the versions.
    """

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    conditions: str = ""

    def values(self, side: str, figure: str) -> Sequence[float]:
        """None where the side wasn't measured, failed, or has no such figure."""
        return self.figures.get(side, {}).get(figure, ())

    def median(self, side: str, figure: str) -> float | None:
        values = self.values(side, figure)
        return statistics.median(values) if values else None

    def ratio(self, side: str, figure: str, base: str = "tensorflow") -> float | None:
        """How many times less a side takes than another."""
        ours, theirs = self.median(side, figure), self.median(base, figure)
        return None if not ours or theirs is None else theirs / ours


def _child(case: Case, side: Side, work: Path) -> dict[str, Any]:
    """Runs one side of a case in a fresh process; `seconds_to_result` is from its start to its first result."""
    arguments = [*case.arguments, *side.options]
    command = [sys.executable, "-m", "benchmarks.child", side.module, case.function or case.name, str(work), *arguments]
    cache = work / "cache" / f"{case.key}-{'-'.join(side.options)}"
    if not side.keeps_cache:
        shutil.rmtree(cache, ignore_errors=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["GRAPHRACK_CACHE"] = str(cache)
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            reached = time.perf_counter() - start
            rest = process.stdout.read()
        if process.returncode:
            errors.seek(0)
            raise Failed(errors.read()[-3000:].strip() or f"exit code {process.returncode}")
    measured: dict[str, Any] = json.loads((first + rest).strip().splitlines()[-1])
    measured["figures"].setdefault("seconds_to_result", reached)
    return measured


def measure(case: Case, work: Path) -> Measured:
    """Runs a case. Guests that fail are noted; anybody else's failure, or result unlike the others', is an error."""
    case.prepare(work)
    measured = Measured()
    for turn in range(case.repeat):
        results: dict[str, Any] = {}
        for side in case.sides:
            if side.name in measured.failures or (turn and side.once):
                continue
            try:
                of_side = _child(case, side, work)
            except Failed as failure:
                _refused(case, side, measured, str(failure))
                continue
            results[side.name] = of_side["result"]
            for name, value in of_side["figures"].items():
                measured.figures.setdefault(side.name, {}).setdefault(name, []).append(value)
        for side in case.sides:
            if side.name in results and not case.agree(results[side.name], results["tensorflow"]):
                found, expected = str(results[side.name])[:300], str(results["tensorflow"])[:300]
                _refused(case, side, measured, f"gave {found}, TensorFlow {expected}: other numbers than TensorFlow's")
    shutil.rmtree(work / "cache", ignore_errors=True)
    return measured


def _refused(case: Case, side: Side, measured: Measured, why: str) -> None:
    """Leaves a guest out; for anybody else nothing is reported."""
    if not side.guest:
        raise Failed(f"{case.key}, {side.title}: {why}")
    measured.failures[side.name] = why.splitlines()[-1]
    measured.figures.pop(side.name, None)


def keep(case: Case, measured: Measured, work: Path) -> None:
    """Keeps a case's figures for the page."""
    folder = work / "results"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{case.key}.json").write_text(json.dumps(asdict(measured), indent=1))


def kept(case: Case, work: Path) -> Measured | None:
    """What was measured last."""
    path = work / "results" / f"{case.key}.json"
    return Measured(**json.loads(path.read_text())) if path.exists() else None
