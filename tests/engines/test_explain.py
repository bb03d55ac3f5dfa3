"""What a plan says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphrack as gr
from graphrack.explaining import as_json

MODELS = Path(__file__).parents[2] / "examples" / "models"
DIGITS = np.random.default_rng(0).random((3, 64), np.float32)


def test_steps_and_clusters_are_named_by_tensorflows_names() -> None:
    model = gr.load(MODELS / "digits_conv", engine="openvino")
    found = model.explain()
    assert [(step.op, step.name) for step in found.steps] == [
        ("cluster", "dropout/Shape"),
        ("RandomUniform", "dropout/random_uniform/RandomUniform"),
        ("cluster", "activation_opt"),
    ]
    assert found.fetches == ("activation_opt:0",)
    assert found.feeds == ("x:0",)
    assert not found.writes
    assert found.seconds is None
    assert [cluster.state for cluster in found.clusters] == ["not run yet"] * 2
    assert found.clusters[0] is found.steps[0].cluster
    assert {"Conv2D", "MaxPool", "Relu"} <= set(found.clusters[0].ops)
    assert set(found.clusters[0].nodes) <= set(model.operations)
    assert found.clusters[0].weights == 6
    assert found.outside == {"dropout/random_uniform/RandomUniform": "OpenVINO isn't given RandomUniform"}


def test_a_run_tells_estimates_and_states_and_profiling_measures_each_step() -> None:
    model = gr.load(MODELS / "digits_conv", engine="openvino")
    model(DIGITS)
    first, second = model.explain(None, {"x": DIGITS}, profile=True).clusters
    assert (first.state, second.state) == ("compiled", "compiled")
    assert first.interpreter_seconds is not None
    assert second.interpreter_seconds is not None
    assert first.interpreter_seconds > second.interpreter_seconds > 0
    measured = model.explain(None, {"x": DIGITS}, profile=True)
    assert all(step.seconds is not None and step.seconds > 0 for step in measured.steps)
    assert measured.seconds is not None
    assert measured.seconds >= sum(step.seconds or 0 for step in measured.steps) > 0
    assert model.explain().seconds is None


def test_a_profiled_train_step_trains_and_explaining_one_does_not() -> None:
    model, other = (gr.load(MODELS / "cubic" / "model_name") for _ in range(2))
    feeds = {"x": [0.0, 1.0], "y": [0.0, 2.0]}
    before = {name: np.array(value) for name, value in model.variables.items()}
    found = model.explain("train_step", feeds)
    assert found.writes
    assert all(np.array_equal(model.variables[name], value) for name, value in before.items())
    model.explain("train_step", feeds, profile=True)
    other.run("train_step", feeds)
    assert any(not np.array_equal(model.variables[name], value) for name, value in before.items())
    for name in before:
        np.testing.assert_array_equal(model.variables[name], other.variables[name])


def test_each_engine_says_what_it_does() -> None:
    steps = {}
    for engine in ("auto", "numpy", "openvino"):
        found = gr.load(MODELS / "cubic" / "model_name", engine=engine).explain()
        assert found.engine == engine
        steps[engine] = [step.op for step in found.steps]
        assert bool(found.clusters) == (engine == "openvino")
        assert bool(found.outside) == (engine == "auto")
    assert steps["auto"] == steps["numpy"]
    assert steps["openvino"] == ["cluster"]


def test_text_and_html_show_steps_clusters_and_reasons() -> None:
    model = gr.load(MODELS / "digits_conv", engine="openvino")
    text = str(model.explain())
    assert text.startswith("activation_opt:0 given x:0: 3 steps, 2 clusters, engine 'openvino'\n")
    assert "  cluster        dropout/Shape (15 nodes)\n" in text
    assert "cluster 2: activation_opt, 5 nodes, not run yet\n" in text
    assert text.endswith("OpenVINO isn't given RandomUniform: dropout/random_uniform/RandomUniform")
    assert "took" in str(model.explain(feeds={"x": DIGITS}, profile=True))
    assert "dropout/Shape" in model.explain()._repr_html_()
    json.dumps(as_json(model.explain()), allow_nan=False)


def test_wrong_names_are_errors() -> None:
    model = gr.load(MODELS / "cubic" / "model_name")
    with pytest.raises(gr.UnknownName):
        model.explain("activation")
    with pytest.raises(gr.FeedError):
        model.explain("train_step", {})


def test_a_small_model_imports_no_openvino() -> None:
    code = (
        "import sys, graphrack as gr\n"
        f"model = gr.load({str(MODELS / 'cubic' / 'model_name')!r})\n"
        "model(50), model.explain(), model.run('train_step', {'x': [0.0], 'y': [1.0]})\n"
        "assert 'openvino' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
