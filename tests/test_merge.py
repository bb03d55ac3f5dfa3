"""Merging: several models in one graph, judged by TensorFlow and by the models alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import derived_models as models
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import graphrack as gr

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import digits  # noqa: E402


def _two(folder: Path, build: Any = models.dense, **how: Any) -> dict[str, gr.Model]:
    return {name: models.save(folder / name, build, seed=i, **how)[0] for i, name in enumerate("ab")}


def test_five_classifiers_become_one_frozen_file_that_votes(tmp_path: Path) -> None:
    five = {f"m{i}": gr.load(EXAMPLES / "models" / f"digits_mlp_{i}" / "model_name") for i in range(5)}
    merged = gr.merge(five, share={"x": [f"{name}/x:0" for name in five]}, join={"voted": "vote"})
    held_back = digits.held_back()
    voted = merged(x=held_back.pixels)
    expected = json.loads((EXAMPLES / "models" / "expected.json").read_text())
    assert digits.accuracy(voted, held_back.labels) == expected["accuracy"]["vote"]
    alone = np.stack([model(x=held_back.pixels) for model in five.values()])
    np.testing.assert_array_equal(voted, digits.vote(alone))

    frozen = merged.freeze("voted", fold=True)
    frozen.export(tmp_path / "vote.pb")
    assert list(frozen.inputs) == ["x"]
    np.testing.assert_array_equal(models.run_frozen(tmp_path / "vote.pb", "voted:0", {"x:0": held_back.pixels}), voted)
    np.testing.assert_array_equal(gr.load(tmp_path / "vote.pb")(held_back.pixels), voted)


@pytest.mark.parametrize("resource", [False, True], ids=["references", "resources"])
def test_a_merged_model_saves_and_tensorflow_restores_it(tmp_path: Path, resource: bool) -> None:
    two = _two(tmp_path, resource=resource)
    merged = gr.merge(two, share={"x": ["a/x:0", "b/x"]})
    fetches, feeds = ["a/y:0", "b/y:0"], {"x:0": models.ROWS}
    wanted = [two["a"](models.ROWS), two["b"](models.ROWS)]
    assert not np.allclose(*wanted)
    np.testing.assert_allclose(merged.run(fetches, feeds), wanted, rtol=1e-6)
    merged.save(tmp_path / "merged")
    np.testing.assert_allclose(models.run_restored(tmp_path / "merged", fetches, feeds), wanted, rtol=1e-6)
    np.testing.assert_allclose(gr.load(tmp_path / "merged").run(fetches, feeds), wanted, rtol=1e-6)
    merged.export(tmp_path / "saved")
    saved = models.run_saved_model(tmp_path / "saved", {"x": models.ROWS})
    np.testing.assert_allclose([saved["a/y"], saved["b/y"]], wanted, rtol=1e-6)
    with tf.Graph().as_default():
        tf.train.import_meta_graph(str(tmp_path / "merged.meta"))
        assert {v.op.name for v in tf.trainable_variables()} == {"a/w", "a/b", "b/w", "b/b"}
        assert [t.name for t in tf.get_collection("activation")] == ["a/y:0", "b/y:0"]


def test_parts_of_variables_stay_parts_of_variables(tmp_path: Path) -> None:
    two = _two(tmp_path, models.partitioned)
    merged = gr.merge(two, share={"ids": ["a/ids", "b/ids"]}, join={"sum": ("sum", ["a/y:0", "b/y:0"])})
    merged.save(tmp_path / "merged")
    wanted = two["a"].run("y", {"ids": [3]}) + two["b"].run("y", {"ids": [3]})
    np.testing.assert_allclose(models.run_restored(tmp_path / "merged", "sum:0", {"ids:0": [3]}), wanted, rtol=1e-5)
    assert gr.Checkpoint(tmp_path / "merged")["b/e/table"].shape == (10, 4)


@pytest.mark.parametrize("functional", [False, True], ids=["TF1 control flow", "functions"])
def test_loops_and_functions_of_one_name_do_not_mix(tmp_path: Path, functional: bool) -> None:
    def loop(factor: float) -> Any:
        def build(resource: bool) -> None:
            x = tf.placeholder(tf.float32, [], name="x")
            w = tf.get_variable("w", [], initializer=tf.constant_initializer(factor), use_resource=True)
            tf.identity(tf.while_loop(lambda a: a < 100, lambda a: a * w * factor, [x]), name="y")

        return build

    feeds = [{"x:0": 1.0}]
    a, ya = models.save(tmp_path / "a", loop(2.0), functional=functional, feeds=feeds)
    b, yb = models.save(tmp_path / "b", loop(3.0), functional=functional, feeds=feeds)
    assert ya != yb
    merged = gr.merge({"a": a, "b": b, "c": a}, share={"x": ["a/x", "b/x", "c/x"]})
    merged.freeze(["a/y", "b/y", "c/y"]).export(tmp_path / "all.pb")
    fetches = ["a/y:0", "b/y:0", "c/y:0"]
    assert models.run_frozen(tmp_path / "all.pb", fetches, feeds[0]) == [ya[0], yb[0], ya[0]]
    merged.save(tmp_path / "merged")
    assert models.run_restored(tmp_path / "merged", fetches, feeds[0]) == [ya[0], yb[0], ya[0]]


@pytest.mark.parametrize(("how", "wanted"), [("mean", lambda a, b: (a + b) / 2), ("sum", lambda a, b: a + b)])
def test_mean_and_sum_are_elementwise(tmp_path: Path, how: str, wanted: Any) -> None:
    two = _two(tmp_path)
    merged = gr.merge(two, share={"x": ["a/x", "b/x"]}, join={"joined": (how, ["a/y", "b/y"]), "n": ("sum", "a/y")})
    found = merged(x=models.ROWS)
    np.testing.assert_allclose(found["joined"], wanted(two["a"](models.ROWS), two["b"](models.ROWS)), rtol=1e-6)
    np.testing.assert_allclose(found["n"], two["a"](models.ROWS), rtol=1e-6)


def test_a_tied_vote_goes_to_the_greater_sum_and_then_to_the_first_class(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.identity(tf.placeholder(tf.float32, [None, 3], name="x"), name="y")
        (tmp_path / "identity.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "identity.pb")
    merged = gr.merge({"a": model, "b": model, "c": model}, join={"voted": "vote"})
    a = [[0.9, 0.0, 0.1], [1.0, 0.0, 0.0], [-1, -2, -9], [0.6, 0.4, 0.0]]
    b = [[0.0, 0.4, 0.3], [0.0, 1.0, 0.0], [-9, -1, -8], [0.4, 0.6, 0.0]]
    c = [[0.0, 0.3, 0.4], [0.0, 0.0, 1.0], [-9, -8, -1], [0.6, 0.4, 0.0]]
    feeds = {"a/x": a, "b/x": b, "c/x": c}
    assert list(merged.run("voted", feeds)) == [0, 0, 1, 0]
    merged.export(tmp_path / "vote.pb")
    assert list(models.run_frozen(tmp_path / "vote.pb", "voted:0", {f"{k}:0": v for k, v in feeds.items()})) == [
        0,
        0,
        1,
        0,
    ]


def test_signatures_get_their_scope_and_models_stay_apart(tmp_path: Path) -> None:
    two = _two(tmp_path)
    for name, model in two.items():
        model.export(tmp_path / f"{name}_saved")
    saved = {name: gr.load(tmp_path / f"{name}_saved") for name in two}
    merged = gr.merge(saved, share={"x": ["a/x", "b/x"]})
    assert {"a/serving_default", "b/serving_default"} == set(merged.signatures)
    np.testing.assert_allclose(merged(models.ROWS, signature="b/serving_default"), two["b"](models.ROWS), rtol=1e-6)
    merged.variables["a/w"] = np.zeros((3, 2))
    np.testing.assert_array_equal(saved["a"].variables["w"], two["a"].variables["w"])


def test_tables_of_one_name_do_not_mix_and_are_filled_on_loading(tmp_path: Path) -> None:
    def build(value: int) -> Any:
        def made(resource: bool) -> None:
            words = tf.placeholder(tf.string, [None], name="words")
            table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [value]), -1, name="table")
            tf.get_variable("v", [], initializer=tf.zeros_initializer())
            tf.identity(table.lookup(words), name="y")

        return made

    two = {}
    for name, value in (("a", 1), ("b", 2)):
        model, _ = models.save(tmp_path / name, build(value))
        model.export(tmp_path / f"{name}_saved")
        two[name] = gr.load(tmp_path / f"{name}_saved")
    merged = gr.merge(two, share={"words": ["a/words", "b/words"]})
    merged.export(tmp_path / "merged")
    for name, value in (("a", 1), ("b", 2)):
        found = models.run_saved_model(tmp_path / "merged", {"words": ["a", "z"]}, f"{name}/serving_default")
        np.testing.assert_array_equal(found["y"], [value, -1])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"share": {"x": ["a/nothing"]}}, gr.UnknownName, "nothing"),
        ({"share": {"x": ["c/x"]}}, gr.UnknownName, "c/x"),
        ({"share": {"x": ["a/x", "b/labels"]}}, gr.FeedError, "shape"),
        ({"share": {"x": []}}, gr.FeedError, "no tensors"),
        ({"share": {"a": ["a/x"]}}, ValueError, "names"),
        ({"share": {"x y": ["a/x"]}}, ValueError, "allows"),
        ({"join": {"j": "median"}}, ValueError, "median"),
        ({"join": {"j": ("mean", ["a/w", "b/b"])}}, gr.GraphError, "shape"),
        ({"join": {"j": ("mean", [])}}, gr.GraphError, "no tensors"),
    ],
)
def test_what_cannot_be_merged_is_a_clear_error(
    tmp_path: Path, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        gr.merge(_two(tmp_path), **arguments)
    with pytest.raises(ValueError, match="contain"):
        gr.merge({"a": _two(tmp_path)["a"], "a/b": _two(tmp_path)["b"]})
