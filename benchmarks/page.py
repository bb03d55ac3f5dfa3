"""The results as tables, and the page that holds them."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.cases import CASES, Case, Figure
from benchmarks.measuring import Measured

PAGE = Path(__file__).parent / "README.md"
COLLECTION = "## The end-to-end collection"
_VERSIONS = ("graphrack", "numpy", "tensorflow-cpu", "openvino", "onnxruntime", "tf2onnx")

_INTRODUCTION = """# Benchmarks

`make bench` measures graphrack against TensorFlow, on the same files and in the same run, and writes this page;
`python -m benchmarks NAME` measures one case again, and `python -m benchmarks --page` writes the page of what was
measured last. Every side runs in a process of its own, the sides in turn, several times; medians are shown, with the
spread of the repetitions in brackets. Nothing is reported unless both sides' results agree. Ratios above 1 are in
graphrack's favour. Rows where it is slower stay in.
"""


def section(case: Case, measured: Measured) -> str:
    """One case as a table."""
    lines = [f"## {case.title}", "", case.note, ""]
    rows = []
    for figure in case.figures:
        cells = [cell(measured.values(s.name, figure.name), figure.factor) for s in case.sides]
        rows.append([f"{figure.title} ({figure.unit})", *cells, *_verdict(figure, measured)])
    lines.append(table(["", *(s.title for s in case.sides), "ratio", "aim"], rows))
    return "\n".join([*lines, ""])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as Markdown; all columns but the first are numbers."""
    lines = [f"| {' | '.join(heads)} |".replace("|  |", "| |"), "| --- |" + " ---: |" * (len(heads) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def cell(values: Sequence[float], factor: float) -> str:
    """The median, and the spread where there are several values."""
    if not values:
        return "–"
    ordered = sorted(value * factor for value in values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    spread = f" [{number(ordered[0])}–{number(ordered[-1])}]" if len(ordered) > 1 else ""
    return f"{number(middle)}{spread}"


def number(value: float) -> str:
    """Three digits of it."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def times(ratio: float | None, aim: float | None) -> tuple[str, str]:
    """The ratio and what it is to be at least."""
    shown = "–" if ratio is None else f"**{number(ratio)}×**"
    if aim is None or ratio is None:
        return shown, "–"
    return shown, f"{number(aim)}× ({'met' if ratio >= aim else 'missed'})"


def _verdict(figure: Figure, measured: Measured) -> tuple[str, str]:
    ratio = measured.ratio("graphrack", figure.name)
    if ratio is not None and figure.better == "more":
        ratio = 1 / ratio
    shown, aim = times(ratio, figure.target)
    ours = measured.median("graphrack", figure.name)
    if figure.limit is not None and ours is not None:
        met = ours * figure.factor <= figure.limit
        aim = f"under {number(figure.limit)} {figure.unit} ({'met' if met else 'missed'})"
    return shown, aim


def conditions() -> str:
    """The machine, the versions, and the commit where there is one."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    packages = ", ".join(f"{n} {version(n)}" for n in _VERSIONS)
    return (
        f"{datetime.date.today()} on {os.cpu_count()} cores of an {model}, {platform.system()}, "
        f"Python {platform.python_version()}, {packages}{_commit()}"
    )


def _commit() -> str:
    """Which code was measured, where git tells."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(("git", "-C", PAGE.parents[1], *arguments), capture_output=True, text=True, check=False)

    if shutil.which("git") is None or not (commit := git("rev-parse", "--short", "HEAD").stdout.strip()):
        return ""
    return f", commit {commit}{' with changes' if git('diff', '--quiet', 'HEAD', '--', 'src').returncode else ''}"


def write(results: Mapping[str, Measured]) -> None:
    """Writes the page anew from the results by case, but for the section of the end-to-end collection."""
    from benchmarks import network_tables, peak_cases, plots

    plots.draw(results)
    when = sorted({measured.conditions for measured in results.values()})
    measured_on = f"Measured {'; and '.join(when)}. Each side may use all cores.\n"
    simple = [section(case, results[case.key]) for case in CASES if case.key in results]
    tables = (*network_tables.sections(results), *peak_cases.sections(results))
    parts = [_INTRODUCTION, measured_on, *tables, *simple]
    before = PAGE.read_text() if PAGE.exists() else ""
    if COLLECTION in before:
        start = before.index(COLLECTION)
        end = before.find("\n## ", start)
        parts.append(before[start : end if end >= 0 else len(before)].rstrip() + "\n")
    PAGE.write_text("\n".join(parts))
