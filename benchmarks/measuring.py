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

# Until threads of the side before have stopped waiting for more to do.
_PAUSE_S = 0.1


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


class _Process:
    """One side of a case in a fresh process.

    Attributes:
        result: its first results.
        figures: what it has measured; `seconds_to_result` is from its start to its first result.
    """

    def __init__(self, case: Case, side: Side, work: Path):
        """Starts it; where it takes part in no bouts, waits for its end.

        Raises:
            Failed: it did.
        """
        arguments = [*case.arguments, *side.options]
        command = [sys.executable, "-m", "benchmarks.child", side.module, case.function or case.name, str(work)]
        cache = work / "cache" / f"{case.key}-{'-'.join(side.options)}"
        if not side.keeps_cache:
            shutil.rmtree(cache, ignore_errors=True)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["GRAPHRACK_CACHE"] = str(cache)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        start = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE if case.bouts else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        first = self._line()
        reached = time.perf_counter() - start
        if not case.bouts:
            assert self._process.stdout is not None
            first += self._process.stdout.read()
            self.end()
        measured = json.loads(first.strip().splitlines()[-1])
        self.result: Any = measured["result"]
        self.figures: dict[str, float] = {"seconds_to_result": reached, **measured["figures"]}

    def bout(self) -> float:
        """Seconds of a run, the median of a few in a row."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def end(self) -> None:
        """Has it end.

        Raises:
            Failed: not well.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        code = self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.seek(0)
        said = self._errors.read()
        self._errors.close()
        if code:
            raise Failed(said[-3000:].strip() or f"exit code {code}")

    def kill(self) -> None:
        """Ends it where it hasn't ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.end()
            raise Failed("it ended before it was asked to")
        return line


def measure(case: Case, work: Path) -> Measured:
    """Runs a case. Guests that fail are noted; anybody else's failure, or result unlike the others', is an error."""
    case.prepare(work)
    measured = Measured()
    for turn in range(case.repeat):
        processes: dict[str, _Process] = {}
        try:
            _turn(case, work, measured, processes, first=not turn)
        finally:
            for process in processes.values():
                process.kill()
    shutil.rmtree(work / "cache", ignore_errors=True)
    return measured


def _turn(case: Case, work: Path, measured: Measured, processes: dict[str, _Process], *, first: bool) -> None:
    """Runs each side once; `processes` gets those that there are."""
    for side in case.sides:
        if side.name in measured.failures or (side.once and not first):
            continue
        try:
            processes[side.name] = process = _Process(case, side, work)
        except Failed as failure:
            _refused(case, side, measured, str(failure))
            continue
        for name, value in process.figures.items():
            measured.figures.setdefault(side.name, {}).setdefault(name, []).append(value)
    for side in case.sides:
        if side.name not in processes:
            continue
        found, expected = processes[side.name].result, processes["tensorflow"].result
        if not case.agree(found, expected):
            why = f"gave {str(found)[:300]}, TensorFlow {str(expected)[:300]}: other numbers than TensorFlow's"
            _refused(case, side, measured, why)
    for _ in range(case.bouts):
        for name, process in processes.items():
            if name in measured.figures:
                time.sleep(_PAUSE_S)
                measured.figures[name].setdefault("run", []).append(process.bout())
    if case.bouts:
        for process in processes.values():
            process.end()


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
