"""The benchmarks' machinery, on a network that takes little time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.agreement import near
from benchmarks.cases import Case, Figure
from benchmarks.measuring import Failed, Measured, keep, kept, measure
from benchmarks.network_tables import sections
from benchmarks.page import section
from benchmarks.sides import AUTO, AUTO_AGAIN, GRAPHRACK, ONNXRUNTIME, OPENVINO, TENSORFLOW
from benchmarks.zoo import NETWORKS


def _listed(*arrays: np.ndarray) -> list:
    return [[list(a.shape), a.ravel().tolist()] for a in arrays]


def test_results_agree_to_four_digits_of_their_values_or_their_spread() -> None:
    values = np.linspace(-1, 1, 21)
    assert near(_listed(values + 2e-5), _listed(values))
    assert near(_listed(values * (1 + 9e-5)), _listed(values))
    assert not near(_listed(values + 2e-4), _listed(values))
    assert not near(_listed(values[:20]), _listed(values))
    assert not near(_listed(values, np.array([np.nan])), _listed(values, np.array([1.0])))


def test_a_small_network_is_built_measured_compared_and_shown(tmp_path: Path) -> None:
    from benchmarks.networks import build

    build(["rnn"], tmp_path)
    network = NETWORKS["rnn"]
    (frozen,) = tmp_path.glob("networks/rnn/frozen.pb")
    before = frozen.stat()
    build(["rnn"], tmp_path)
    assert frozen.stat() == before, "what is there is not built again"
    case = Case(
        name="rnn", title=network.title, note="", figures=(), prepare=lambda work: None,
        sides=(TENSORFLOW, ONNXRUNTIME, AUTO, AUTO_AGAIN), repeat=1, bouts=2, function="network",
        arguments=("rnn", "frozen", "1"), agree=near,
    )  # fmt: skip
    measured = measure(case, tmp_path)  # no model.onnx was made: that side can't be measured
    assert set(measured.failures) == {ONNXRUNTIME.name}
    assert set(measured.figures) == {TENSORFLOW.name, AUTO.name, AUTO_AGAIN.name}
    for figures in measured.figures.values():
        assert all(value > 0 for values in figures.values() for value in values)
        assert len(figures["run"]) == 2
        (answer,), (opened,), (first,) = figures["answer"], figures["open"], figures["first"]
        assert answer == pytest.approx(opened + first)
    keep(case, measured, tmp_path)
    assert kept(case, tmp_path) == measured
    runs, answers, memory = sections({case.key: measured})
    assert f"| {network.title}, batch 1 |" in runs
    assert f"- {network.title}, batch 1, ONNX Runtime:" in runs
    assert all(text.count(f"| {network.title}, batch 1 |") for text in (answers, memory))


def test_another_sides_failure_ends_the_case(tmp_path: Path) -> None:
    case = Case("network", "", "", (), lambda work: None, (GRAPHRACK, TENSORFLOW), 1, arguments=("none", "frozen", "1"))
    with pytest.raises(Failed, match=r"network-none-frozen-1, graphrack: "):
        measure(case, tmp_path)


def test_ratios_are_in_graphracks_favour_above_one_and_say_whether_the_aim_is_met() -> None:
    less = Figure("open", "open", "ms", 1e3, target=2)
    more = Figure("read", "read", "GB/s", 1e-9, "more", target=3)
    limited = Figure("memory", "memory", "MB", 1e-6, limit=30)
    case = Case("many", "Many", "", (less, more, limited), lambda work: None)
    figures = {
        "graphrack": {"open": [0.01, 0.02, 0.06], "read": [4e9], "memory": [31e6]},
        "tensorflow": {"open": [0.08], "read": [2e9], "memory": [62e6]},
    }
    shown = section(case, Measured(figures))
    assert "| open (ms) | 20 [10–60] | 80 | **4×** | 2× (met) |" in shown
    assert "| read (GB/s) | 4 | 2 | **2×** | 3× (missed) |" in shown
    assert "| memory (MB) | 31 | 62 | **2×** | under 30 MB (missed) |" in shown


def test_beside_openvino_alone_no_more_than_a_twentieth_more_meets_the_aim() -> None:
    from benchmarks.network_cases import FROZEN

    case = FROZEN[0]
    names = ("run", "answer", "open", "memory", "process", "ready")
    base = {side.name: {name: [0.001] for name in names} for side in (TENSORFLOW, OPENVINO, AUTO, AUTO_AGAIN)}
    for seconds, verdict in ((0.00104, "1.04 (met)"), (0.00107, "1.07 (missed)")):
        figures = {**base, AUTO.name: {**base[AUTO.name], "run": [seconds]}}
        runs, *_ = sections({case.key: Measured(figures)})
        assert f"| {verdict} |" in runs
    slower = dataclasses.replace(Measured(base), failures={OPENVINO.name: "no such op"})
    slower.figures.pop(OPENVINO.name)
    assert "no such op" in sections({case.key: slower})[0]
