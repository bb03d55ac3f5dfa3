"""Exporting: every form is read back by TensorFlow, with the outputs that the model has here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import derived_models as models
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from fixture_paths import MODELS
from google.protobuf import text_format

import graphrack as gr
from graphrack.formats.safe_write import TemporaryFolder

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "models"


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> tuple[gr.Model, Any]:
    model, wanted = models.save(tmp_path_factory.mktemp("dense"), models.dense, feeds=[{"x:0": models.ROWS}])
    return model, wanted[0]


def test_a_graph_def_is_written_binary_and_as_text(tmp_path: Path, dense: tuple[gr.Model, Any]) -> None:
    frozen = dense[0].freeze("y")
    assert frozen.export(tmp_path / "g.pb") == str(tmp_path / "g.pb")
    frozen.export(tmp_path / "g.pbtxt")
    text = text_format.Parse((tmp_path / "g.pbtxt").read_text(), tf.GraphDef())
    assert text == tf.GraphDef.FromString((tmp_path / "g.pb").read_bytes())
    np.testing.assert_allclose(models.run_frozen(tmp_path / "g.pb", "y:0", {"x:0": models.ROWS}), dense[1], rtol=1e-6)
    np.testing.assert_allclose(gr.load(tmp_path / "g.pbtxt")(models.ROWS), dense[1], rtol=1e-6)


@pytest.mark.parametrize("name", ["g.pb", "g.pbtxt"])
def test_a_graph_def_of_a_model_with_variables_is_refused_and_nothing_written(
    tmp_path: Path, dense: tuple[gr.Model, Any], name: str
) -> None:
    with pytest.raises(gr.GraphError, match=r"freeze\(outputs\)"):
        dense[0].export(tmp_path / name)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("resource", [False, True], ids=["references", "resources"])
def test_a_meta_graph_comes_with_its_checkpoint(tmp_path: Path, resource: bool) -> None:
    feeds = {"x:0": models.ROWS}
    model, wanted = models.save(tmp_path / "old", models.dense, resource, feeds=[feeds])
    model.export(tmp_path / "new.meta")
    np.testing.assert_allclose(models.run_restored(tmp_path / "new", "y:0", feeds), wanted[0], rtol=1e-6)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("resource", [False, True], ids=["references", "resources"])
def test_a_saved_model_gets_values_and_a_signature(tmp_path: Path, resource: bool) -> None:
    model, wanted = models.save(tmp_path / "old", models.dense, resource, feeds=[{"x:0": models.ROWS}])
    model.variables["b"] = [0, 0]
    model.export(tmp_path / "new")
    found = models.run_saved_model(tmp_path / "new", {"x": models.ROWS})
    np.testing.assert_allclose(found["y"], model(models.ROWS), rtol=1e-6)
    assert not np.allclose(found["y"], wanted[0])
    again = gr.load(tmp_path / "new")
    np.testing.assert_allclose(again(models.ROWS), found["y"], rtol=1e-6)
    again.export(tmp_path / "again")
    np.testing.assert_allclose(models.run_saved_model(tmp_path / "again", {"x": models.ROWS})["y"], found["y"])


def test_a_frozen_model_is_a_saved_model_without_variables(tmp_path: Path, dense: tuple[gr.Model, Any]) -> None:
    dense[0].freeze("y").export(tmp_path / "frozen")
    assert os.listdir(tmp_path / "frozen") == ["saved_model.pb"]
    np.testing.assert_allclose(
        models.run_saved_model(tmp_path / "frozen", {"x": models.ROWS})["y"], dense[1], rtol=1e-6
    )


def test_a_saved_model_keeps_its_signatures(tmp_path: Path) -> None:
    model = gr.load(EXAMPLES / "digits_saved_model")
    model.export(tmp_path / "copy")
    images = np.arange(128, dtype=np.uint8).reshape(2, 8, 8) % 17
    for signature in model.signatures:
        found = models.run_saved_model(tmp_path / "copy", {"images": images}, signature)
        mine = model(images, signature=signature)
        for key, value in found.items():
            np.testing.assert_allclose(mine[key] if isinstance(mine, dict) else mine, value, rtol=1e-4, atol=1e-6)


def test_assets_come_along_and_the_main_op_fills_tables_from_them(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("zero\none\ntwo\n")
    with tf.Graph().as_default(), tf.Session() as sess:
        words = tf.placeholder(tf.string, [None], name="words")
        initializer = tf.lookup.TextFileInitializer(
            str(tmp_path / "words.txt"), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )  # fmt: skip
        numbers = tf.identity(tf.lookup.StaticHashTable(initializer, -1).lookup(words), name="numbers")
        sess.run(tf.tables_initializer())
        builder = tf.saved_model.Builder(str(tmp_path / "old"))
        builder.add_meta_graph_and_variables(
            sess,
            ["serve"],
            {"serving_default": tf.saved_model.predict_signature_def({"words": words}, {"numbers": numbers})},
            assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
            main_op=tf.tables_initializer(),
        )
        builder.save()
    (tmp_path / "words.txt").unlink()
    model = gr.load(tmp_path / "old")
    model.export(tmp_path / "copy")
    gr.merge({"a": model, "b": model}, share={"words": ["a/words", "b/words"]}).export(tmp_path / "both")
    model.freeze("numbers").export(tmp_path / "frozen")
    (tmp_path / "old" / "assets" / "words.txt").unlink()
    feeds = {"words": ["two", "three"]}
    for folder, key in (("copy", "serving_default"), ("both", "b/serving_default"), ("frozen", "serving_default")):
        found = models.run_saved_model(tmp_path / folder, feeds, key)
        np.testing.assert_array_equal(found["numbers"], [2, -1])


def test_only_new_and_empty_folders_are_written(tmp_path: Path, dense: tuple[gr.Model, Any]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for name, says in (("full", "isn't empty"), ("file", "is a file"), ("no/where", "not there")):
        with pytest.raises(gr.FileError, match=says):
            dense[0].export(tmp_path / name)
    dense[0].export(f"{tmp_path / 'empty'}/")
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "full"]
    assert os.listdir(tmp_path / "full") == ["notes"]
    assert "saved_model.pb" in os.listdir(tmp_path / "empty")


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        models.dense()
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "graph.pb")
    for name in ("folder", "model.meta"):
        with pytest.raises(gr.UninitializedError):
            model.export(tmp_path / name)
    assert os.listdir(tmp_path) == ["graph.pb"]


# Killed on the way

KILLED = """
import os, signal, sys
import graphrack as gr
from graphrack import exporting
model = gr.load(sys.argv[1])
exporting._add_assets = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # the variables are written, the graph isn't
model.export(sys.argv[2])
"""


def test_what_a_killed_export_left_goes_with_the_next_one_to_that_name(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(MODELS / "cubic" / "model_name"), str(tmp_path / "out")]
    for _ in range(2):
        assert subprocess.run(command, timeout=120).returncode == -signal.SIGKILL
        (left,) = (p for p in tmp_path.iterdir() if ".tmp-" in p.name)  # the second took the first's away
        assert (left / "variables" / "variables.index").exists()
    others = tmp_path / "outer.tmp-01234567"
    others.mkdir()
    with TemporaryFolder(str(tmp_path / "out")) as alive:
        path = gr.load(MODELS / "cubic" / "model_name").export(tmp_path / "out")
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["out", others.name, Path(alive.path).name])
    assert sorted(p.name for p in Path(path).iterdir()) == ["saved_model.pb", "variables"]
    assert gr.load(path)(x=2.0) == gr.load(MODELS / "cubic" / "model_name")(x=2.0)
    assert not Path(alive.path).exists()
