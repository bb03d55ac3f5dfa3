"""Models share nothing that can be seen: not with each other, not with their caller, not with the process."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixture_paths import FIXTURES, MODELS

import graphrack as gr
from graphrack.formats.protos.graph_pb2 import GraphDef

CUBIC = MODELS / "cubic" / "model_name"
DIGITS = [MODELS / f"digits_mlp_{i}" / "model_name" for i in range(5)]
IMAGE = np.linspace(0, 1, 64, dtype=np.float32)[None]


def script(code: str) -> str:
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_interleaved_models_with_variables_of_the_same_names_keep_their_own_results() -> None:
    alone = [gr.load(path)(x=IMAGE) for path in DIGITS]
    models = [gr.load(path) for path in DIGITS]
    for _ in range(3):
        for model, expected in zip(models, alone, strict=True):
            np.testing.assert_array_equal(model(x=IMAGE), expected)
    name = next(iter(models[0].variables))
    models[0].variables[name] = np.zeros_like(models[0].variables[name])
    for model, expected in zip(models[1:], alone[1:], strict=True):
        np.testing.assert_array_equal(model(x=IMAGE), expected)
    assert not np.array_equal(models[0](x=IMAGE), alone[0])


def test_threads_get_what_one_thread_gets() -> None:
    models = [gr.load(path) for path in (*DIGITS, *DIGITS)]
    expected = [gr.load(path)(x=IMAGE).tobytes() for path in (*DIGITS, *DIGITS)]
    wrong: list[str] = []

    def work(offset: int) -> None:
        for i in range(100):
            at = (i + offset) % len(models)
            if models[at](x=IMAGE).tobytes() != expected[at]:
                wrong.append(models[at].name)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def train_until(model: gr.Model, steps: int) -> dict[str, bytes]:
    xs = np.linspace(-1, 1, 8, dtype=np.float32)
    operations = model.operations
    (step,) = (
        name for name in operations if operations[name].type == "NoOp" and name in ("Adam", "train", "train_step")
    )
    for _ in range(steps):
        model.run(step, {"x": xs, "y": xs})
    return {name: value.tobytes() for name, value in model.variables.items()}


def test_models_of_one_file_trained_in_threads_end_where_each_would_alone() -> None:
    expected = [train_until(gr.load(CUBIC), steps) for steps in (5, 10, 15)]
    models = [gr.load(CUBIC) for _ in range(3)]
    found: dict[int, dict[str, bytes]] = {}

    def work(i: int) -> None:
        found[i] = train_until(models[i], 5 * (i + 1))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(3)] == expected
    assert expected[0] != expected[1] != expected[2]


def test_files_and_arguments_are_as_they_were_after_loading_training_and_failing(tmp_path: Path) -> None:
    files = [
        p for folder in (MODELS, FIXTURES) for p in folder.rglob("*") if p.is_file() and "__pycache__" not in str(p)
    ]

    def digests() -> dict[Path, str]:
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    feed = np.linspace(-1, 1, 8, dtype=np.float32)
    feeds = {"x": feed, "y": feed}
    fetches: list[Any] = ["activation_opt:0", {"a": ("x:0", "y:0")}]
    model = gr.load(CUBIC)
    train_until(model, 3)
    given = feed.copy()
    results = model.run(fetches, feeds)
    results[0][:] = -1
    results[1]["a"][0][:] = -1
    assert fetches == ["activation_opt:0", {"a": ("x:0", "y:0")}]
    assert list(feeds) == ["x", "y"]
    assert feeds["x"] is feed
    np.testing.assert_array_equal(feed, given)
    with pytest.raises(gr.GraphrackError):
        model.run("activation_opt:0", {"x": "text"})
    model.save(tmp_path / "saved")
    assert digests() == before


def test_running_leaves_a_shared_graph_s_definition_as_it_was() -> None:
    model = gr.load(CUBIC)
    graph = model._index.graph_def
    before = graph.SerializeToString(deterministic=True)
    train_until(model, 2)
    model.initialize()
    copy = GraphDef.FromString(before)
    assert graph.SerializeToString(deterministic=True) == before
    assert graph == copy


def test_the_process_is_left_as_it_was() -> None:
    model = gr.load(CUBIC)
    model(1.0)
    threads, filters, folder = threading.active_count(), list(warnings.filters), os.getcwd()
    errors, state = np.geterr(), np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    hook, limit = sys.excepthook, sys.getrecursionlimit()
    other = gr.load(MODELS / "digits_conv")
    other(np.zeros((1, *[s or 1 for s in next(iter(other.inputs.values())).shape[1:]]), np.float32))  # type: ignore[index]
    other.initialize()
    with gr.Rack({"a": CUBIC, "b": CUBIC}) as rack:
        rack.run_all({"x": 1})
    del other
    assert threading.active_count() == threads
    assert list(warnings.filters) == filters
    assert np.geterr() == errors
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index,union-attr]
    assert (os.getcwd(), sys.excepthook, sys.getrecursionlimit()) == (folder, hook, limit)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed by Linux")
def test_files_are_closed_when_their_models_are_gone() -> None:
    def opened() -> set[str]:
        found = set()
        for entry in os.listdir("/proc/self/fd"):
            try:
                found.add(os.readlink(f"/proc/self/fd/{entry}"))
            except OSError:
                continue
        return {path for path in found if str(MODELS) in path}

    def mapped() -> set[str]:
        return {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()
                if "digits_conv" in line}  # fmt: skip

    gc.collect()
    before = opened()
    model = gr.load(MODELS / "digits_conv")
    held = next(iter(model.variables.values()))
    rack = gr.Rack({"a": MODELS / "digits_conv", "b": MODELS / "digits_mlp_0"})
    del model, rack
    assert held.sum() is not None
    del held
    gc.collect()
    assert opened() == before
    assert not mapped()


def test_loading_and_running_import_no_more_than_they_need() -> None:
    code = f"""
import sys, graphrack as gr
gr.load({str(CUBIC)!r})(50)
print(*sorted(name.partition(".")[0] for name in sys.modules))
"""
    loaded = set(script(code).split())
    assert not loaded & {"tensorflow", "scipy", "typer", "rich", "openvino", "pandas", "cramjam"}


@pytest.mark.parametrize("first", ["graphrack", "tensorflow"])
def test_tensorflow_and_graphrack_share_a_process_whichever_comes_first(first: str) -> None:
    ours = f"""
import graphrack as gr
model = gr.load({str(CUBIC)!r})
a = model(x=[1.0, 2.0])
"""
    theirs = f"""
import os, warnings
warnings.simplefilter("ignore")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow.compat.v1 as tf
with tf.Graph().as_default(), tf.Session() as sess:
    tf.train.import_meta_graph({str(CUBIC) + ".meta"!r}, clear_devices=True).restore(sess, {str(CUBIC)!r})
    b = sess.run("activation_opt:0", {{"x:0": [1.0, 2.0]}})
"""
    parts = [ours, theirs] if first == "graphrack" else [theirs, ours]
    last = """
import numpy as np
np.testing.assert_allclose(a, b, rtol=1e-5)
np.testing.assert_allclose(model(x=[1.0, 2.0]), b, rtol=1e-5)
assert tf.get_default_graph().as_graph_def().node.__len__() == 0
print("same")
"""
    assert script("\n".join([*parts, last])).splitlines()[-1] == "same"
