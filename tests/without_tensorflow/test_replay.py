"""Every case that TensorFlow judged in the tests, run by graphrack where TensorFlow can't be imported.

`GRAPHRACK_REPLAY` names the folder of the recording; `tests/recording.py` says what is in it.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import compare
from recording import Graph, Opened, Refusal, Run, kept, members, recorded_tests, unpack

import graphrack as gr
from graphrack.formats.protos import graph_pb2, metagraph_pb2
from graphrack.ops import registry

FOLDER = Path(os.environ["GRAPHRACK_REPLAY"]).absolute()
TESTS = recorded_tests(FOLDER)


def run(model: gr.Model, one: Run, rtol: float | None, atol: float | None, note: str) -> None:
    if isinstance(one.values, Refusal):
        try:
            found = model.run(list(one.fetches), one.feeds)
        except gr.GraphrackError:
            return
        raise AssertionError(f"{note}: TensorFlow refused ({one.values.message}), graphrack gave {found}")
    found = model.run(list(one.fetches), one.feeds)
    for name, ours, theirs in zip(one.fetches, found, one.values, strict=True):
        if theirs is not None:
            near(ours, theirs, rtol, atol, f"{note}, {name}")


def near(found: Any, expected: Any, rtol: float | None, atol: float | None, note: str) -> None:
    """Compares; where the test gave a bound, in proportion to the greatest number, and of pixels, too."""
    if isinstance(expected, (bytes, str)) or np.asarray(expected).dtype.kind in "OSU":
        compare(np.asarray(found, object), np.asarray(expected, object), note=note)
        return
    expected = np.asarray(expected)
    if rtol is None or expected.dtype.kind not in "fcVu" or not expected.size or expected.dtype.names:
        compare(found, expected, rtol, atol, note)
        return
    numbers = np.abs(expected.astype(complex if expected.dtype.kind == "c" else float))
    greatest = np.max(numbers, initial=1.0, where=np.isfinite(numbers))
    bound = max(greatest * rtol, atol or 0.0) * (4 if expected.dtype.itemsize == 2 else 1)
    if expected.dtype.kind == "u":
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), note
        np.testing.assert_allclose(np.float64(found), np.float64(expected), rtol=0, atol=bound, err_msg=note)
    else:
        compare(found, expected, rtol, bound, note)


def replay_graph(case: Graph, folder: Path, note: str) -> None:
    path = folder / "graph.pb"
    path.write_bytes(case.graph)
    model = gr.load(path)
    outside = [name for name in ops_of(case) if (op := registry.lookup(name)) is not None and op.io]
    if outside:  # on files that are gone now; what is to be seen is that nobody reaches them unasked
        with pytest.raises(gr.PermissionDenied, match=outside[0]):
            model.run(list(case.runs[0].fetches), case.runs[0].feeds)
        return
    for i, one in enumerate(case.runs):
        run(model, one, case.rtol, case.atol, f"{note}, run {i}")


def ops_of(case: Graph | Opened) -> set[str]:
    """The ops of a case's graphs and of their functions."""
    graphs = [graph_pb2.GraphDef.FromString(case.graph)] if isinstance(case, Graph) else []
    for name, data in members(case.archive) if isinstance(case, Opened) else ():
        if name.endswith(".meta"):
            graphs.append(metagraph_pb2.MetaGraphDef.FromString(data).graph_def)
        elif name.endswith("saved_model.pb"):
            graphs += [m.graph_def for m in metagraph_pb2.SavedModel.FromString(data).meta_graphs]
    found = {node.op for graph in graphs for node in graph.node}
    return found | {node.op for graph in graphs for function in graph.library.function for node in function.node_def}


def replay_opened(case: Opened, folder: Path, note: str) -> None:
    unpack(case.archive, folder)
    model = gr.load(folder / case.path)
    if case.restore:
        model.restore(folder / case.restore)
    for i, one in enumerate(case.runs):
        run(model, one, case.rtol, case.atol, f"{note}, run {i}")
    for call in case.calls:
        found = model(call.inputs, signature=call.signature)
        found = found if isinstance(found, dict) else dict.fromkeys(call.outputs, found)
        assert found.keys() == call.outputs.keys()
        for key, expected in call.outputs.items():
            near(found[key], expected, case.rtol, case.atol, f"{note}, {call.signature} {key}")
    for key, value in case.variables.items():
        near(model.variables[key], value, case.rtol, case.atol, f"{note}, variable {key}")
    if case.variables and not case.restore:
        again = gr.load(f"{model.save(folder / 'again')}.meta")
        for key in case.variables:
            np.testing.assert_array_equal(again.variables[key], model.variables[key])
    if case.saved:
        saved = gr.Checkpoint(model.save(folder / "saved"))
        for key, value in case.saved.items():
            np.testing.assert_array_equal(saved[key], value)
    if case.initial:
        fresh = gr.load(folder / case.path)
        fresh.initialize()
        for key, value in case.initial.items():
            near(fresh.variables[key], value, case.rtol, case.atol, f"{note}, variable {key} by its initialiser")


@pytest.mark.parametrize("name", TESTS)
def test_graphrack_gives_what_tensorflow_gave_in(name: str, tmp_path: Path) -> None:
    for i, case in enumerate(kept(FOLDER, name)):
        folder = tmp_path / str(i)
        folder.mkdir()
        (replay_graph if isinstance(case, Graph) else replay_opened)(case, folder, f"{name}, case {i}")  # type: ignore[operator]
    assert "tensorflow" not in sys.modules


def test_values_of_nearly_every_op_are_compared() -> None:
    """All but those whose tests keep to graphrack's side: they need no replay to run without TensorFlow."""
    seen: set[str] = set()
    for name in TESTS:
        for case in kept(FOLDER, name):
            if isinstance(case, Opened) or any(not isinstance(one.values, Refusal) for one in case.runs):
                seen |= ops_of(case)
    ops = set(registry.load_all())
    assert len(ops - seen) < 0.15 * len(ops), f"ops of which no recorded case has a value: {sorted(ops - seen)}"


def test_values_are_compared_in_nearly_every_test_that_is_not_about_refusals() -> None:
    """All but those of which the recording has only what is refused, for they compare values in ways of their own."""

    def gives(case: Graph | Opened) -> bool:
        return isinstance(case, Opened) or any(not isinstance(one.values, Refusal) for one in case.runs)

    vacuous = [name for name in TESTS if "refuse" not in name and not any(map(gives, kept(FOLDER, name)))]
    assert len(vacuous) < 0.03 * len(TESTS), f"tests of which no recorded case has a value: {vacuous}"


def test_tensorflow_cannot_be_imported() -> None:
    for package in ("tensorflow", "tensorflow.compat.v1", "keras", "h5py"):
        with pytest.raises(ImportError, match="where there is no TensorFlow"):
            importlib.import_module(package)
