"""What TensorFlow may not do for a graph unless the caller permits it, and what it never may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import graphrack as gr


def opened(tmp_path: Path, build: Callable[[], Any], **options: Any) -> gr.Model:
    with tf.Graph().as_default() as graph:
        build()
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=graph)
    return gr.load(tmp_path / "m.meta", engine="tensorflow", **options)


def files(tmp_path: Path) -> None:
    tf.io.read_file(str(tmp_path / "file"), name="content")
    tf.raw_ops.WriteFile(filename=str(tmp_path / "written"), contents="x", name="write")
    tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name=str(tmp_path / "file"), name="mapped")
    tf.print("x", output_stream=f"file://{tmp_path / 'written'}", name="print")
    tf.raw_ops.GetSessionHandleV2(value=1.0, name="handle")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("content", r"ReadFile \('content'\) would read a file"),
        ("write", r"WriteFile \('write'\) would write a file"),
        ("mapped", r"ImmutableConst \('mapped'\) would map a file"),
        ("print/PrintV2", r"PrintV2 \('print/PrintV2'\) would write a file"),
        ("handle", r"GetSessionHandleV2 \('handle'\) would do what only TensorFlow knows"),
    ],
)
def test_what_reaches_outside_is_refused_before_anything_runs(tmp_path: Path, name: str, words: str) -> None:
    model = opened(tmp_path, lambda: files(tmp_path))
    if name == "print/PrintV2":
        name = next(op for op in model.operations if model.operations[op].type == "PrintV2")
        words = words.replace("print/PrintV2", name)
    with pytest.raises(gr.PermissionDenied, match=rf"{words}.*allow={{\"io\"}}"):
        model.run(name)
    assert not (tmp_path / "written").exists()


def test_what_the_caller_permits_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("inside")
    model = opened(tmp_path, lambda: files(tmp_path), allow={"io"})
    assert model.run("content") == b"inside"
    model.run("write")
    assert (tmp_path / "written").read_text() == "x"


def test_functions_are_looked_into(tmp_path: Path) -> None:
    functional = tf.control_flow_v2_enabled()
    tf.enable_control_flow_v2()

    def build() -> None:
        yes = tf.placeholder(tf.bool, [], name="yes")
        tf.identity(tf.cond(yes, lambda: tf.io.read_file("/etc/hostname"), lambda: tf.constant("no")), name="out")
        tf.identity(tf.cond(yes, lambda: tf.py_func(lambda: 1.0, [], tf.float32), lambda: 0.0), name="python")

    try:
        model = opened(tmp_path, build)
    finally:
        if not functional:
            tf.disable_control_flow_v2()
    with pytest.raises(gr.PermissionDenied, match="ReadFile"):
        model.run("out", {"yes": False})
    with pytest.raises(gr.PermissionDenied, match="run Python code"):
        model.run("python", {"yes": False})


def test_python_code_pipelines_and_checkpoints_are_never_given_to_tensorflow(tmp_path: Path) -> None:
    def build() -> None:
        tf.py_func(lambda: np.float32(1), [], tf.float32, name="python")
        queue = tf.FIFOQueue(1, tf.float32, name="queue")
        queue.dequeue(name="taken")
        tf.data.make_one_shot_iterator(tf.data.Dataset.range(3)).get_next(name="next")
        w = tf.get_variable("w", initializer=1.0)
        tf.train.Saver([w], name="saver")

    model = opened(tmp_path, build, allow={"io"})
    model.variables["w"] = 1.0
    with pytest.raises(gr.PermissionDenied, match="run Python code"):
        model.run("python")
    with pytest.raises(gr.FeedError, match="pipelines don't run here.*'taken:0'"):
        model.run("taken")
    with pytest.raises(gr.FeedError, match="pipelines don't run here.*IteratorGetNext"):
        model.run("next")
    save = next(name for name in model.operations if model.operations[name].type == "SaveV2")
    with pytest.raises(gr.PermissionDenied, match=r"SaveV2.*save\(prefix\)"):
        model.run(save, {model.operations[save].inputs[0]: str(tmp_path / "written")})
    assert not list(tmp_path.glob("written*"))


def test_stateful_ops_that_stay_in_the_session_run(tmp_path: Path) -> None:
    model = opened(tmp_path, lambda: tf.raw_ops.NonDeterministicInts(shape=[3], name="out"))
    assert model.run("out").shape == (3,)
