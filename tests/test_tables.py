"""Lookup tables as models hold them: in checkpoints, in SavedModels with assets, filled by initialisers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import graphrack as gr

WORDS = np.array([b"two", b"zzz", b"one"], object)


def vocabulary(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text("one\ntwo\nthree\n")
    return str(path)


def from_file(words: Any, path: str) -> Any:
    initializer = tf.lookup.TextFileInitializer(
        path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    return tf.lookup.StaticVocabularyTable(initializer, num_oov_buckets=3).lookup(words)


def from_tensors(words: Any) -> Any:
    initializer = tf.lookup.KeyValueTensorInitializer(["one", "two"], [1.5, 2.5])
    return tf.lookup.StaticHashTable(initializer, -1.0).lookup(words)


@pytest.mark.parametrize("kind", ["main_op", "legacy_init_op", "collection alone"])
def test_a_saved_model_of_tensorflow_1_fills_its_tables_from_its_assets(tmp_path: Path, kind: str) -> None:
    path = vocabulary(tmp_path)
    with tf.Graph().as_default(), tf.Session() as session:
        words = tf.placeholder(tf.string, [None], name="words")
        scale = tf.get_variable("scale", initializer=3.0)
        outputs = {"ids": from_file(words, path), "scores": from_tensors(words) * scale}
        fill = tf.tables_initializer()
        session.run([tf.global_variables_initializer(), fill])
        expected = session.run(outputs, {words: WORDS})
        builder = tf.saved_model.Builder(str(tmp_path / "model"))
        signature = tf.saved_model.predict_signature_def({"words": words}, outputs)
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
            **({kind: fill} if "op" in kind else {}),
        )
        builder.save()
    Path(path).unlink()  # the model's own copy is what counts
    model = gr.load(tmp_path / "model")
    found = model(words=WORDS)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    model.initialize()  # of values already there: accepted
    np.testing.assert_array_equal(model(words=WORDS)["ids"], expected["ids"])
    fresh = gr.load(tmp_path / "model")
    fresh.initialize()  # before anything else
    np.testing.assert_array_equal(fresh(words=WORDS)["scores"], expected["scores"])


_TF2 = """
import sys, tensorflow as tf
path, words = sys.argv[1], tf.constant(["two", "zzz", "one"])
class Model(tf.Module):
    def __init__(self):
        whole, line = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        self.ids = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(path + "/words.txt", tf.string, whole, tf.int64, line), 2)
        self.scores = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["one", "two"], [1.5, 2.5]), -1.0)
        self.seen = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
        self.dense = tf.lookup.experimental.DenseHashTable(tf.string, tf.int64, -1, "", "-")
        self.scale = tf.Variable(2.0)
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, words):
        return {"ids": self.ids.lookup(words), "scores": self.scores.lookup(words) * self.scale,
                "seen": self.seen.lookup(words), "dense": self.dense.lookup(words)}
model = Model()
model.seen.insert(["two"], tf.constant([22], tf.int64))
model.dense.insert(["one", "zzz"], tf.constant([22, 33], tf.int64))
tf.saved_model.save(model, path + "/model")
print(repr({k: v.numpy().tolist() for k, v in model(words).items()}))
"""


def test_a_saved_model_of_tensorflow_2_has_its_tables(tmp_path: Path) -> None:
    vocabulary(tmp_path)
    done = subprocess.run([sys.executable, "-c", _TF2, str(tmp_path)], capture_output=True, text=True, check=True)
    expected = ast.literal_eval(done.stdout.splitlines()[-1])
    found = gr.load(tmp_path / "model")(words=WORDS)
    assert {name: value.tolist() for name, value in found.items()} == expected


def checkpoint(tmp_path: Path) -> dict[str, Any]:
    """A checkpoint of a variable, a mutable and a dense table; gives what TensorFlow finds in them."""
    with tf.Graph().as_default(), tf.Session() as session:
        fetches = mutable()
        saver = tf.train.Saver()
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        session.run(["insert", "insert_dense"], {"words:0": WORDS})
        saver.save(session, str(tmp_path / "model"))
        return dict(session.run(fetches, {"words:0": WORDS}))


def mutable() -> dict[str, str]:
    words = tf.placeholder(tf.string, [None], name="words")
    lengths = tf.cast(tf.strings.length(words), tf.int64)
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1, name="seen")
    tf.group(table.insert(words, lengths), name="insert")
    tf.identity(table.lookup(words), name="seen")
    dense = tf.lookup.experimental.DenseHashTable(tf.int64, tf.int64, -1, 0, -2, name="dense")
    tf.group(dense.insert(lengths * 10, lengths), name="insert_dense")
    tf.identity(dense.lookup(lengths * 10), name="dense_found")
    tf.identity(from_tensors(words) * tf.get_variable("scale", initializer=3.0), name="scores")
    return {name: f"{name}:0" for name in ("seen_1", "dense_found", "scores")}


def test_a_checkpoint_restores_tables_and_fills_the_others_on_first_use(tmp_path: Path) -> None:
    expected = checkpoint(tmp_path)
    model = gr.load(tmp_path / "model")
    found = model.run({name: f"{name}:0" for name in expected}, {"words": WORDS})
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_what_is_saved_holds_the_tables_and_tensorflow_restores_it(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    model = gr.load(tmp_path / "model")
    more = np.array([b"fourfold"], object)
    model.run("insert", {"words": more})
    model.run("insert_dense", {"words": more})
    model.save(tmp_path / "again")
    both = np.concatenate([WORDS, more])
    found = gr.load(tmp_path / "again").run(["seen_1:0", "dense_found:0"], {"words": both})
    with tf.Graph().as_default(), tf.Session() as session:
        mutable()
        tf.train.Saver().restore(session, str(tmp_path / "again"))
        expected = session.run(["seen_1:0", "dense_found:0"], {"words:0": both})
    np.testing.assert_array_equal(expected, [[3, 3, 3, 8], [3, 3, 3, 8]])
    np.testing.assert_array_equal(found, expected)


OUTPUTS = ["seen_1:0", "dense_found:0", "scores:0"]
TEN = {"mul_1/y:0": np.int64(10)}  # as it is
# What is made of a model, and the scope that its names have got.
MADE = {
    "frozen": (lambda model: model.freeze(OUTPUTS), ""),
    "folded": (lambda model: model.freeze(OUTPUTS, fold=True), ""),
    "bound": (lambda model: model.bind(TEN), ""),
    "bound under a scope": (lambda model: model.bind(TEN, scope="in/it"), "in/it/"),
    "merged": (lambda model: gr.merge({"one": model, "two": model}), "two/"),
    "frozen of what was merged": (lambda model: gr.merge({"one": model}).freeze([f"one/{o}" for o in OUTPUTS]), "one/"),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_is_made_of_a_model_has_what_is_in_its_tables(tmp_path: Path, kind: str) -> None:
    checkpoint(tmp_path)
    model = gr.load(tmp_path / "model")
    more = np.array([b"fourfold"], object)
    model.run("insert", {"words": more})
    model.run("insert_dense", {"words": more})
    words = np.array([b"zzz", b"none of them", b"fourfold"], object)
    wanted = model.run(OUTPUTS, {"words": words})
    assert [w.tolist() for w in wanted[:2]] == [[3, -1, 8], [3, -1, 8]]
    make, scope = MADE[kind]
    made = make(model)
    model.run("insert", {"words": words})  # from then on each has its own
    model.run("insert_dense", {"words": words})
    found = made.run([f"{scope}{name}" for name in OUTPUTS], {f"{scope}words": words})
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    made.export(tmp_path / "exported")
    with tf.Graph().as_default(), tf.Session() as session:
        tf.saved_model.loader.load(session, ["serve"], str(tmp_path / "exported"))
        found = session.run([f"{scope}{name}" for name in OUTPUTS], {f"{scope}words:0": words})
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if kind in ("bound", "bound under a scope", "merged"):
        made.save(tmp_path / "again")
        found = gr.load(tmp_path / "again").run([f"{scope}{name}" for name in OUTPUTS], {f"{scope}words": words})
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("merged", [False, True])
def test_what_is_made_of_what_was_made_has_what_was_put_in_last(tmp_path: Path, merged: bool) -> None:
    checkpoint(tmp_path)
    model = gr.merge({"in": gr.load(tmp_path / "model").freeze([*OUTPUTS, "insert"])})
    words = np.array([b"four", b"nothing"], object)
    model.run("in/insert", {"in/words": words})
    made = gr.merge({"out": model}) if merged else model.freeze("in/seen_1")
    scope = "out/in/" if merged else "in/"
    assert made.run(f"{scope}seen_1", {f"{scope}words": words}).tolist() == [4, 7]
    made.export(tmp_path / "exported")
    for _ in range(5):
        with tf.Graph().as_default(), tf.Session() as session:
            tf.saved_model.loader.load(session, ["serve"], str(tmp_path / "exported"))
            assert session.run(f"{scope}seen_1:0", {f"{scope}words:0": words}).tolist() == [4, 7]


def test_a_graph_without_values_fills_its_tables_on_first_use(tmp_path: Path) -> None:
    with tf.Graph().as_default():
        tf.identity(from_tensors(tf.placeholder(tf.string, name="words")), name="scores")
        tf.train.export_meta_graph(str(tmp_path / "graph.meta"))
    model = gr.load(tmp_path / "graph.meta")
    np.testing.assert_array_equal(model.run("scores", {"words": WORDS}), [2.5, -1.0, 1.5])
    model.initialize()


def test_a_table_whose_file_may_not_be_read_leaves_the_rest_of_the_model_usable(tmp_path: Path) -> None:
    path = vocabulary(tmp_path)
    with tf.Graph().as_default(), tf.Session() as session:
        words = tf.placeholder(tf.string, [None], name="words")
        tf.identity(from_file(words, path), name="ids")
        tf.identity(from_tensors(words) * tf.get_variable("scale", initializer=3.0), name="scores")
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "model"))
    model = gr.load(tmp_path / "model")
    np.testing.assert_array_equal(model.run("scores", {"words": WORDS}), [7.5, -3.0, 4.5])
    with pytest.raises(gr.UninitializedError, match=r"initialize\(\)"):
        model.run("ids", {"words": WORDS})
    with pytest.raises(gr.PermissionDenied, match=r"words\.txt"):
        model.initialize()
    np.testing.assert_array_equal(model.run("scores", {"words": WORDS}), [7.5, -3.0, 4.5])
