"""Graphs of equal bytes are worked out once, and let go of with their last model."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from pathlib import Path

from fixture_paths import MODELS
from graph.graphs import graph

import graphrack as gr
from graphrack.formats.graph_files import open_model_file
from graphrack.graph.shared import shared_graph

CUBIC = MODELS / "cubic" / "model_name"


def copied(folder: Path) -> Path:
    folder.mkdir()
    for ending in (".meta", ".index", ".data-00000-of-00001"):
        shutil.copy(f"{CUBIC}{ending}", folder / f"m{ending}")
    return folder / "m"


def test_equal_bytes_share_a_graph_wherever_they_lie(tmp_path: Path) -> None:
    one, other = gr.load(copied(tmp_path / "a")), gr.load(copied(tmp_path / "b"))
    assert one._instance.graph is other._instance.graph
    assert one._instance.state is not other._instance.state
    one.variables["Variable"] = 0.0
    assert other.variables["Variable"] != 0


def test_other_bytes_are_other_graphs(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"{i}.pb").write_bytes(graph(f"Neg out{i} c", c=1.0).SerializeToString())
    first, second = (gr.load(tmp_path / f"{i}.pb") for i in range(2))
    assert first._instance.graph is not second._instance.graph


def test_a_graph_goes_with_its_last_model(tmp_path: Path) -> None:
    (tmp_path / "g.pb").write_bytes(graph("Neg out c", c=1.25).SerializeToString())
    one, other = gr.load(tmp_path / "g.pb"), gr.load(tmp_path / "g.pb")
    one.run("out")
    shared = weakref.ref(one._instance.graph)
    del one
    gc.collect()
    assert shared() is not None
    assert other.run("out") == -1.25
    del other
    gc.collect()
    assert shared() is None


def test_what_is_made_once_is_made_once_per_key() -> None:
    shared = shared_graph(open_model_file(CUBIC))
    made: list[int] = []

    def make() -> object:
        made.append(1)
        return object()

    assert shared.once("test", make) is shared.once("test", make)
    assert shared.once("another", make) is not shared.once("test", make)
    assert len(made) == 2


def test_ever_new_fetches_do_not_fill_the_memory() -> None:
    model = gr.load(CUBIC)
    for i in range(1200):
        model.run({str(i): "x:0"}, {"x": 1.0})
    assert len(model._instance.graph.kept) <= 512


def test_released_plans_are_made_anew() -> None:
    model = gr.load(CUBIC)
    expected = model(2.0)
    graph_ = model._instance.graph
    graph_.release()
    assert not graph_.kept
    assert graph_.memory() == 0
    assert model(2.0) == expected


def test_threads_that_open_the_same_file_share_one_graph(tmp_path: Path) -> None:
    (tmp_path / "g.pb").write_bytes(graph("Neg out c", c=7.5).SerializeToString())
    barrier = threading.Barrier(8)
    found: list[gr.Model] = []

    def work() -> None:
        barrier.wait()
        model = gr.load(tmp_path / "g.pb")
        assert model.run("out") == -7.5
        found.append(model)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(model._instance.graph) for model in found}) == 1
