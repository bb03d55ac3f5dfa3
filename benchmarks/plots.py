"""The results as plots, one a question, into `benchmarks/plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.measuring import Measured
from benchmarks.network_cases import FROZEN, NUMBERS, SMALL_CASES
from benchmarks.network_tables import RUN_AIMS, label
from benchmarks.page import number
from benchmarks.sides import AUTO, AUTO_AGAIN, NUMPY, ONNXRUNTIME, OPENVINO, SMALL_SIDES, TENSORFLOW, Side

FOLDER = Path(__file__).parent / "plots"

_COLORS = {
    TENSORFLOW.name: "#e07b00",
    OPENVINO.name: "#5b6ee1",
    ONNXRUNTIME.name: "#8a8f98",
    AUTO.name: "#00805a",
    AUTO_AGAIN.name: "#4fb893",
    NUMPY.name: "#b8a13a",
}
_GREY = "#666666"

Results = Mapping[str, Measured]


def draw(results: Results) -> None:
    """Draws what has been measured."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "graphrack",  # the same numbers give the same file
            "svg.fonttype": "none",  # text as text: a quarter of the size
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 10,
        }
    )
    FOLDER.mkdir(exist_ok=True)
    frozen = [case for case in FROZEN if case.key in results]
    if frozen:
        sides = (NUMPY, ONNXRUNTIME, OPENVINO, AUTO)
        _save(_beside_tensorflow(frozen, results, sides, "run", "as fast as TensorFlow"), "run")
        _save(_beside_tensorflow(frozen, results, sides, "memory", "less memory than TensorFlow"), "memory")
        _save(_answers([c for c in frozen if c.arguments[2] == "1"], results), "answer")
    small = [case for case in SMALL_CASES if case.key in results]
    if len(small) == len(NUMBERS):
        _save(_many(small, results), "small")


def _save(figure: Any, name: str) -> None:
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")


def _beside_tensorflow(cases: Sequence[Case], results: Results, sides: Sequence[Side], figure: str, what: str) -> Any:
    """A row a case, a dot a side: how many times better than TensorFlow."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    drawing = Figure(figsize=(8, 0.6 + 0.36 * len(cases)))
    axes: Any = drawing.subplots()
    shown = []
    for row, case in enumerate(cases):
        axes.axhline(row, color="#eeeeee", zorder=0)
        for side in sides:
            ratio = results[case.key].ratio(side.name, figure)
            if ratio is None:
                continue
            shown.append(ratio)
            ours = side == AUTO
            axes.plot(ratio, row, "o", color=_COLORS[side.name], markersize=8 if ours else 6, zorder=3 if ours else 2)
            if ours:
                place = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
                axes.annotate(f"{number(ratio)}×", (ratio, row), color=_COLORS[side.name], fontsize=8, **place)
        if figure == "run" and (aim := RUN_AIMS.get(case.name)):
            axes.plot(aim, row, "|", color="black", markersize=14, zorder=1)
    axes.axvline(1, color=_COLORS[TENSORFLOW.name], zorder=1)
    axes.set_xscale("log")
    axes.set_xlim(min(shown) / 1.3, max(shown) * 1.5)
    axes.set_yticks(range(len(cases)), [label(case) for case in cases])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(cases) - 0.5, -0.8)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(shown) < 30 * min(shown) else (1,)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.set_xlabel(f"times {what} (more is better)" + ("; | is the aim" if figure == "run" else ""))
    _key(axes, [TENSORFLOW, *reversed(sides)])
    return drawing


def _key(axes: Any, sides: Sequence[Side]) -> None:
    """The sides' names in their colours, above the axes."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", linestyle="", color=_COLORS[s.name], label=_plain(s)) for s in sides]
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": len(handles)}
    axes.legend(handles=handles, frameon=False, labelcolor="linecolor", handletextpad=0, columnspacing=1.2, **place)


def _plain(side: Side) -> str:
    return side.title.replace("`", "")


def _answers(cases: Sequence[Case], results: Results) -> Any:
    """A panel a network, a bar a side: opening and the first run."""
    from matplotlib.figure import Figure

    sides = (TENSORFLOW, OPENVINO, ONNXRUNTIME, NUMPY, AUTO, AUTO_AGAIN)
    columns = 2
    lines = -(-len(cases) // columns)
    drawing = Figure(figsize=(8.5, 1.75 * lines), layout="constrained")
    panels: Any = drawing.subplots(lines, columns, squeeze=False).ravel()
    for axes, case in zip(panels, cases, strict=False):
        measured, longest = results[case.key], 0.0
        for row, side in enumerate(sides):
            opened, answered = (measured.median(side.name, figure) for figure in ("open", "answer"))
            if opened is None or answered is None:
                axes.text(0, row, " –", va="center", color=_GREY)
                continue
            longest = max(longest, answered)
            axes.barh(row, opened * 1e3, color=_COLORS[side.name], height=0.75)
            first = (answered - opened) * 1e3
            axes.barh(row, first, left=opened * 1e3, color=_COLORS[side.name], alpha=0.55, height=0.75)
            axes.text(answered * 1e3, row, f" {number(answered * 1e3)}", va="center", fontsize=8)
        axes.set_title(case.title)
        axes.set_yticks(range(len(sides)), [_plain(side) for side in sides])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, longest * 1e3 * 1.15)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    for axes in panels[len(cases) :]:
        axes.set_visible(False)
    drawing.supxlabel("ms, batch 1: opening (dark) and the first run (light); less is better", fontsize=9)
    return drawing


def _many(cases: Sequence[Case], results: Results) -> Any:
    """A panel a figure, a line a side, over the number of models."""
    from matplotlib.figure import Figure

    panels = (
        ("open", 1e3, "open and first runs (ms)"),
        ("run", 1e3, "run all (ms)"),
        ("memory", 1e-6, "memory (MB)"),
    )
    drawing = Figure(figsize=(9, 2.8), layout="constrained")
    all_axes: Any = drawing.subplots(1, len(panels))
    for axes, (figure, factor, title) in zip(all_axes, panels, strict=True):
        lines = {s: [(results[c.key].median(s.name, figure) or 0) * factor for c in cases] for s in SMALL_SIDES}
        for side, medians in lines.items():
            axes.plot(NUMBERS, medians, "o-", color=_COLORS[side.name], markersize=4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _at_ends(axes, lines)
        axes.set_xticks(NUMBERS, [str(n) for n in NUMBERS])
        axes.minorticks_off()
        axes.set_title(title, pad=12)  # above the names at the lines' ends
        axes.set_xlabel("models")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return drawing


def _at_ends(axes: Any, lines: Mapping[Side, Sequence[float]]) -> None:
    """Names and last values at the lines' ends, moved apart where they would overlap."""
    last = 0.0
    bottom, top = (axes.transLimits.transform(axes.transScale.transform((1, y)))[1] for y in axes.get_ylim())
    for side, medians in sorted(lines.items(), key=lambda item: item[1][-1]):
        _, height = axes.transLimits.transform(axes.transScale.transform((NUMBERS[-1], medians[-1])))
        place = max((height - bottom) / (top - bottom), last)
        last = place + 0.09
        note = {"transform": axes.transAxes, "va": "center", "fontsize": 8, "color": _COLORS[side.name]}
        axes.text(1.0, place, f"{_plain(side)} {number(medians[-1])}", **note)
