"""The networks' results as tables: how fast a run is, how soon the first answer, how much memory, many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.cases import Case
from benchmarks.measuring import Measured
from benchmarks.network_cases import CHECKPOINTS, FROZEN, SMALL_CASES
from benchmarks.page import cell, number, table, times
from benchmarks.sides import AUTO, AUTO_AGAIN, CHECKPOINT_SIDES, NETWORK_SIDES, OPENVINO, SMALL_SIDES, Side

RUN_AIMS = {"mlp": 3.0, "mobilenet": 1.8, "resnet50": 1.6, "bert": 1.1}
"""How many times as fast as TensorFlow a run is to be."""
ANSWER_AIM = 1.5
MOST_OF_OPENVINO = 1.05
"""Of OpenVINO's time for the same file, wherever it takes that."""

_RUN = """## Networks: one run

Networks with random weights, built by TensorFlow's graph API (`networks.py`). All sides run the same frozen graph; ONNX
Runtime runs what tf2onnx makes of it. Milliseconds of a run once all is compiled (`warmup()`): the sides' processes
take turns of a quarter of a second, so that all of them meet the machine's good and bad moments. As each library is
fastest called: TensorFlow by `make_callable`, OpenVINO by one request that shares its inputs and copies its results.
*graphrack* is `engine="auto"`; `openvino` and `numpy` are the engines of these names. Where OpenVINO alone takes the
graph, graphrack is to take no more than 1.05 of its time. *Products alone* is what the network's convolutions and
matrix products would take at the rate at which OpenVINO multiplies two 2048 × 2048 matrices in the same process: this
machine doesn't multiply faster, so a run in much less would have to multiply less often.

![How many times as fast as TensorFlow](plots/run.svg)
"""

_ANSWER = """## Networks: from the file to the first answer

Milliseconds of opening the frozen graph and running it once, in a new process, the library imported (what it
imports later on counts). *graphrack* starts with an empty cache on disk and doesn't wait for what is compiled in the
background; *graphrack, again* is the next process, with the cache that the one before left.

![Milliseconds to the first answer](plots/answer.svg)
"""

_MEMORY = """## Networks: peak memory

MB that the process has at its peak (opening, and running for a second) above what it has when the library is
imported; in brackets the whole process. Pages of mapped files count.

![Peak memory](plots/memory.svg)
"""

_SMALL = """## Many small models in one process

Checkpoints of one MLP (64-256-256-10) with different weights, all open at once: a graph and a session each in
TensorFlow, a compiled model each in OpenVINO. *Together* is `rack.run_all` on all of them; the ratio is to
TensorFlow's one after another.

![1, 10 and 100 models](plots/small.svg)
"""

Results = Mapping[str, Measured]


def sections(results: Results) -> list[str]:
    """The networks' part of the page, of those that have been measured."""
    frozen, checkpoints, small = (
        [case for case in cases if case.key in results] for cases in (FROZEN, CHECKPOINTS, SMALL_CASES)
    )
    found = []
    if frozen:
        found += [_runs(frozen, checkpoints, results), _answers(frozen, checkpoints, results), _memory(frozen, results)]
    if small:
        found.append(_many(small, results))
    return found


def _run_rows(cases: Sequence[Case], results: Results, sides: Sequence[Side], *, bound: bool) -> list[list[str]]:
    rows = []
    for case in cases:
        measured = results[case.key]
        ratio = times(measured.ratio(AUTO.name, "run"), RUN_AIMS.get(case.name))
        least = [cell(measured.values(OPENVINO.name, "products"), 1e3)] if bound else []
        rows.append([label(case), *_cells(measured, sides, "run", 1e3), *least, *ratio, _beside_openvino(measured)])
    return rows


def label(case: Case) -> str:
    """The network and the batch size."""
    return f"{case.title}, batch {case.arguments[2]}"


def _runs(cases: Sequence[Case], checkpoints: Sequence[Case], results: Results) -> str:
    sides = [side for side in NETWORK_SIDES if side != AUTO_AGAIN]
    compared = ["times TensorFlow", "aim", "of OpenVINO's time"]
    heads = ["ms", *(s.title for s in sides), "products alone", *compared]
    parts = [table(heads, _run_rows(cases, results, sides, bound=True)), _failures(cases, results)]
    if checkpoints:
        sides = [side for side in CHECKPOINT_SIDES if side != AUTO_AGAIN]
        heads = ["from the checkpoint (ms)", *(s.title for s in sides), *compared]
        parts.append(
            "The same from a checkpoint and its `.meta`, variables and batch norms as they were saved:\n\n"
            + table(heads, _run_rows(checkpoints, results, sides, bound=False))
        )
    return _section(_RUN, *parts)


def _beside_openvino(measured: Measured) -> str:
    ratio = measured.ratio(OPENVINO.name, "run", AUTO.name)
    if ratio is None:
        return "–"
    return f"{ratio:.2f} ({'met' if ratio <= MOST_OF_OPENVINO else 'missed'})"


def _answers(cases: Sequence[Case], checkpoints: Sequence[Case], results: Results) -> str:
    def rows(cases: Sequence[Case], sides: Sequence[Side], figure: str, aim: float | None) -> list[list[str]]:
        found = []
        for case in cases:
            measured = results[case.key]
            first, again = (times(measured.ratio(side.name, figure), aim) for side in (AUTO, AUTO_AGAIN))
            found.append([label(case), *_cells(measured, sides, figure, 1e3), *first, again[0]])
        return found

    def titled(sides: Sequence[Side]) -> list[str]:
        return [*(s.title for s in sides), "times TensorFlow", "aim", "again"]

    opened = table(["opening alone (ms)", *titled(NETWORK_SIDES)], rows(cases, NETWORK_SIDES, "open", None))
    parts = [table(["ms", *titled(NETWORK_SIDES)], rows(cases, NETWORK_SIDES, "answer", ANSWER_AIM))]
    if checkpoints:
        head = ["from the checkpoint (ms)", *titled(CHECKPOINT_SIDES)]
        parts.append(
            "The same from a checkpoint and its `.meta`, which TensorFlow imports and restores:\n\n"
            + table(head, rows(checkpoints, CHECKPOINT_SIDES, "answer", ANSWER_AIM))
        )
    parts.append(opened)
    sides = (AUTO, AUTO_AGAIN)
    ready = [[label(case), *_cells(results[case.key], sides, "ready", 1e3)] for case in cases]
    parts.append(table(["until all is compiled (ms)", *(s.title for s in sides)], ready))
    return _section(_ANSWER, *parts)


def _memory(cases: Sequence[Case], results: Results) -> str:
    sides = [side for side in NETWORK_SIDES if side != AUTO_AGAIN]
    rows = []
    for case in cases:
        measured = results[case.key]
        cells = []
        for side in sides:
            above, whole = (measured.median(side.name, figure) for figure in ("memory", "process"))
            cells.append("–" if above is None or whole is None else f"{number(above / 1e6)} [{number(whole / 1e6)}]")
        rows.append([label(case), *cells, times(measured.ratio(AUTO.name, "memory"), None)[0]])
    return _section(_MEMORY, table(["MB", *(s.title for s in sides), "times less than TensorFlow"], rows))


def _many(cases: Sequence[Case], results: Results) -> str:
    figures = (
        ("open", "open, and run each once (ms)", 1e3, "open"),
        ("run", "run all, one after another (ms)", 1e3, "run"),
        ("together", "run all together (ms)", 1e3, "run"),
        ("memory", "memory (MB)", 1e-6, "memory"),
    )
    rows = []
    for case in cases:
        measured = results[case.key]
        for figure, title, factor, theirs in figures:
            ours, base = measured.median(AUTO.name, figure), measured.median("tensorflow", theirs)
            ratio = base / ours if ours and base else None
            cells = _cells(measured, SMALL_SIDES, figure, factor)
            rows.append([f"{case.title}: {title}", *cells, times(ratio, None)[0]])
    return _section(_SMALL, table(["", *(s.title for s in SMALL_SIDES), "times TensorFlow"], rows))


def _cells(measured: Measured, sides: Sequence[Side], figure: str, factor: float) -> list[str]:
    return [cell(measured.values(side.name, figure), factor) for side in sides]


def _failures(cases: Sequence[Case], results: Results) -> str:
    lines = [
        f"- {label(case)}, {side.title}: {results[case.key].failures[side.name]}"
        for case in cases
        for side in NETWORK_SIDES
        if side.name in results[case.key].failures
    ]
    return "\n".join(["Not measured, since they fail or give other numbers:", "", *lines]) if lines else ""


def _section(introduction: str, *parts: str) -> str:
    return "\n\n".join([introduction.rstrip("\n"), *(part for part in parts if part)]) + "\n"
