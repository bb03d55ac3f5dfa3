"""The results as tables, and the page that holds them."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.cases import Case, Figure

PAGE = Path(__file__).parent / "README.md"

_INTRODUCTION = """# Benchmarks

`make bench` measures graphrack against TensorFlow, on the same files and in the same run, and writes this page. Every
side runs in a process of its own, the sides in turn, several times; medians are shown, with the spread of the
repetitions in brackets. Nothing is reported unless both sides' results agree. Ratios above 1 are in graphrack's
favour. Rows where it is slower stay in.
"""


def section(
    case: Case, medians: Mapping[str, Mapping[str, float]], figures: Mapping[str, Mapping[str, Sequence[float]]]
) -> str:
    """One case as a table."""
    sides = list(case.sides)
    lines = [f"## {case.title}", "", case.note, ""]
    lines.append(f"| | {' | '.join(s.replace('tensorflow', 'TensorFlow') for s in sides)} | ratio | aim |")
    lines.append("| --- |" + " ---: |" * (len(sides) + 2))
    for figure in case.figures:
        cells = [_cell(figure, figures.get(s, {}).get(figure.name), medians.get(s, {}).get(figure.name)) for s in sides]
        lines.append(f"| {figure.title} ({figure.unit}) | {' | '.join(cells)} | {_verdict(figure, medians)} |")
    return "\n".join([*lines, ""])


def _cell(figure: Figure, values: Sequence[float] | None, median: float | None) -> str:
    if values is None or median is None:
        return "–"
    low, high = min(values) * figure.factor, max(values) * figure.factor
    return f"{_number(median * figure.factor)} [{_number(low)}–{_number(high)}]"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _verdict(figure: Figure, medians: Mapping[str, Mapping[str, float]]) -> str:
    ours, theirs = medians["graphrack"][figure.name], medians.get("tensorflow", {}).get(figure.name)
    ratio = None if not theirs else (theirs / ours if figure.better == "less" else ours / theirs)
    shown = "–" if ratio is None else f"**{_number(ratio)}×**"
    if figure.target is not None and ratio is not None:
        return f"{shown} | {_number(figure.target)}×{'' if ratio >= figure.target else ' (missed)'}"
    if figure.limit is not None:
        met = ours * figure.factor <= figure.limit
        return f"{shown} | under {_number(figure.limit)} {figure.unit}{'' if met else ' (missed)'}"
    return f"{shown} | –"


def conditions() -> str:
    """The machine and the versions."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    packages = ", ".join(f"{n} {version(n)}" for n in ("graphrack", "numpy", "protobuf", "tensorflow-cpu"))
    return (
        f"Measured {datetime.date.today()} on {os.cpu_count()} cores of an {model}, {platform.system()}, "
        f"Python {platform.python_version()}, {packages}. Each side may use all cores.\n"
    )


def write(sections: Sequence[str]) -> None:
    """Writes the page anew."""
    PAGE.write_text("\n".join([_INTRODUCTION, conditions(), *sections]))
