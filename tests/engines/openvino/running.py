"""Graphs built by TensorFlow, run by it and by clusters."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import graphrack as gr
from graphrack.engines.openvino.compiled import ClusterProgram
from graphrack.engines.openvino.step import ClusterStep

Build = Callable[..., Any]


def clusters(model: gr.Model) -> list[ClusterStep]:
    """Those of the model's plans, and of the functions that they call."""
    plans = [call.plan for call in model._instance.graph.kept.values() if hasattr(call, "plan")]
    return [step for plan in plans for one in (plan, *plan.bodies()) for step, _ in one.clusters()]


def noted_runs(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A list that gets, for each run of a program from now on, whether OpenVINO ran it."""
    found: list[bool] = []
    run = ClusterProgram.run

    def noted(*given: Any) -> Any:
        results = run(*given)
        found.append(results is not None)
        return results

    monkeypatch.setattr(ClusterProgram, "run", noted)
    return found


def states(model: gr.Model) -> list[str]:
    return [cluster.state() for cluster in clusters(model)]


def compare(build: Build, *arrays: Any, rtol: float = 1e-4, atol: float = 1e-5, shapes: bool = False) -> gr.Model:
    """Asserts that clusters give what TensorFlow does; gives the model that ran them.

    Attributes:
        build: gives a tensor or several, of placeholders of the arrays' ranks.
        shapes: whether the placeholders have the arrays' shapes.
    """
    graph = tf.Graph()
    with graph.as_default(), tf.Session(graph=graph) as session:
        inputs = [
            tf.placeholder(a.dtype, a.shape if shapes else [None] * a.ndim, f"x{i}") for i, a in enumerate(arrays)
        ]
        built = build(*inputs)
        outputs = list(built) if isinstance(built, (list, tuple)) else [built]
        names = [tensor.name for tensor in outputs]
        expected = session.run(outputs, dict(zip(inputs, arrays, strict=True)))
        with tempfile.TemporaryDirectory() as folder:
            tf.io.write_graph(graph.as_graph_def(), folder, "g.pb", as_text=False)
            model = gr.load(Path(folder) / "g.pb", engine="openvino")
            feeds = {f"x{i}": array for i, array in enumerate(arrays)}
            found = model.run(names, feeds)
    same(names, found, expected, rtol, atol)
    if model.explain(names, feeds).clusters:
        model.warmup(feeds, names)  # once more, compiled for these sizes alone
        same(names, model.run(names, feeds), expected, rtol, atol)
    return model


def same(names: Sequence[str], found: Sequence[Any], expected: Sequence[Any], rtol: float, atol: float) -> None:
    for name, ours, theirs in zip(names, found, expected, strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), name
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=name)
