"""`engine="auto"` turns to TensorFlow for what graphrack lacks; what it says, and what it says where there is none."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from fixture_paths import MODELS

import graphrack as gr
from graphrack.engines.interpreter.functions import has_op


def graph(path: Path) -> Path:
    """A checkpoint: z = x + w, y = z by an op that graphrack lacks, u = table[x] + w by it; `step` adds 1 to w."""
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, [], name="x")
        w = tf.Variable(1.0, name="w", use_resource=False)
        z = tf.add(x, w, name="z")
        tf.raw_ops.DebugGradientIdentity(input=z, name="y")
        tf.assign_add(w, 1.0, name="step")
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1, 2], [10.0, 20.0]), -1.0)
        found = table.lookup(tf.cast(x, tf.int32))
        tf.raw_ops.DebugGradientIdentity(input=found + w, name="u")
        sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
        tf.train.Saver().save(sess, str(path / "m"))
    return path / "m"


def test_auto_runs_by_tensorflow_what_graphrack_lacks_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not has_op("DebugGradientIdentity")  # it stands for all that TensorFlow has and graphrack lacks
    model = gr.load(graph(tmp_path), engine="auto")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.run("z", {"x": 2.0}) == 3  # graphrack alone
    with caplog.at_level(logging.WARNING, "graphrack"), pytest.warns(gr.FallbackWarning) as said:
        assert model.run("y", {"x": 2.0}) == 3
    assert "graphrack lacks 1 op that this run needs: DebugGradientIdentity ('y')" in str(said[0].message)
    assert 'engine="tensorflow"' in str(said[0].message)
    assert Path(said[0].filename) == Path(__file__)  # it points at who called graphrack
    assert [record.getMessage() for record in caplog.records] == [str(said[0].message)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.run("u", {"x": 2.0}) == 21  # another plan, with a table that graphrack filled
        assert model.run("y", {"x": 3.0}) == 4
        model.run("step")
        assert model.run("y", {"x": 3.0}) == model.run("z", {"x": 3.0}) == 5
        model.variables["w"] = 10.0
        assert model.run(["y", "u"], {"x": 1.0}) == [11, 20]


def test_the_engine_chosen_by_name_says_nothing(tmp_path: Path) -> None:
    model = gr.load(graph(tmp_path), engine="tensorflow")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.run(["y", "u"], {"x": 2.0}) == [3, 21]


@pytest.mark.parametrize("engine", ["numpy", "openvino"])
def test_other_engines_say_what_they_lack_and_who_has_it(tmp_path: Path, engine: str) -> None:
    model = gr.load(graph(tmp_path), engine=engine)
    with pytest.raises(
        gr.UnsupportedOp, match=r"DebugGradientIdentity.*graphrack\[tensorflow\].*engine=\"tensorflow\""
    ):
        model.run("y", {"x": 2.0})


def test_what_nobody_has_is_one_error_that_says_that(tmp_path: Path) -> None:
    kind = tf.AttrValue(type=1)
    nodes = [tf.NodeDef(name="x", op="Placeholder", attr={"dtype": kind}), tf.NodeDef(name="y", op="Brew", input=["x"])]
    (tmp_path / "g.pb").write_bytes(tf.GraphDef(node=nodes).SerializeToString())
    with pytest.raises(gr.UnsupportedOp, match=r"graphrack lacks 1 op.*Brew \('y'\).*TensorFlow lacks ops, too"):
        gr.load(tmp_path / "g.pb", engine="auto").run("y", {"x": 1.0})


def test_what_needs_permission_or_runs_code_is_not_given_to_tensorflow(tmp_path: Path) -> None:
    with tf.Graph().as_default() as g:
        x = tf.placeholder(tf.float32, [], name="x")
        y = tf.raw_ops.DebugGradientIdentity(input=x)
        tf.py_func(lambda v: v, [y], tf.float32, name="python")
        tf.identity(tf.io.read_file("/etc/hostname"), name="content")
        tf.io.write_graph(g, str(tmp_path), "g.pb", as_text=False)
    for engine in ("auto", "tensorflow"):
        model = gr.load(tmp_path / "g.pb", engine=engine)
        with pytest.raises(gr.PermissionDenied, match=r"PyFunc \('python'\) would run Python code"):
            model.run("python", {"x": 1.0})
        with pytest.raises(gr.PermissionDenied, match=r"ReadFile.*allow={\"io\"}"):
            model.run("content")


def test_an_engine_that_there_is_not_is_one_error_that_lists_them() -> None:
    with pytest.raises(ValueError, match="'onnx' doesn't exist; there are: auto, numpy, openvino, tensorflow"):
        gr.load(MODELS / "cubic" / "model_name", engine="onnx")


WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import graphrack as gr
path = sys.argv[1]
"""


def without_tensorflow(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", WITHOUT + code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_without_tensorflow_the_engine_says_how_to_get_it(tmp_path: Path) -> None:
    found = without_tensorflow(
        """
try:
    gr.load(path, engine="tensorflow")
except gr.MissingDependency as error:
    assert isinstance(error, ImportError)
    print(error)
""",
        str(graph(tmp_path)),
    )
    assert 'engine="tensorflow" needs TensorFlow' in found
    assert 'pip install "graphrack[tensorflow]"' in found
    assert "\n" not in found


def test_without_tensorflow_auto_names_the_ops_and_runs_the_rest(tmp_path: Path) -> None:
    found = without_tensorflow(
        """
model = gr.load(path)
print(model.run("z", {"x": 2.0}))
try:
    model.run("y", {"x": 2.0})
except gr.UnsupportedOp as error:
    print(error)
""",
        str(graph(tmp_path)),
    )
    first, second = found.splitlines()
    assert float(first) == 3
    assert "DebugGradientIdentity ('y')" in second
    assert 'pip install "graphrack[tensorflow]"' in second


def test_a_model_that_has_fallen_back_is_frozen_and_saved_as_any_other(tmp_path: Path) -> None:
    model = gr.load(graph(tmp_path), engine="auto")
    with pytest.warns(gr.FallbackWarning):
        expected = model.run("y", {"x": 2.0})
    with pytest.warns(gr.FallbackWarning):
        assert model.freeze("y").run("y", {"x": 2.0}) == expected
    path = model.save(tmp_path / "again")
    assert np.asarray(gr.Checkpoint(path)["w"]) == 1
