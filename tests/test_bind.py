"""Binding: tensors replaced, judged by TensorFlow's import_graph_def with an input_map where it has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import derived_models as models
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import graphrack as gr
from graphrack.formats.dtypes import FLOAT, STRING, UINT8


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> tuple[gr.Model, Any]:
    model, wanted = models.save(tmp_path_factory.mktemp("dense"), models.dense, feeds=[{"x:0": models.ROWS}])
    return model, wanted[0]


def test_a_value_takes_the_place_of_an_input(dense: tuple[gr.Model, Any]) -> None:
    model, wanted = dense
    bound = model.bind({"x:0": models.ROWS})
    np.testing.assert_allclose(bound(), wanted, rtol=1e-6)
    assert "x" not in bound.inputs
    np.testing.assert_array_equal(bound.run("x:0"), models.ROWS)
    assert "x" in model.inputs


def test_values_are_converted_as_feeds_are_and_refused_as_these(dense: tuple[gr.Model, Any]) -> None:
    model, _ = dense
    assert model.bind({"x": [[1, 2, 3]]})().shape == (1, 2)
    for wrong in ([[1, 2]], [["a", "b", "c"]], np.zeros((3, 3), complex)):
        with pytest.raises(gr.FeedError, match="x:0"):
            model.bind({"x": wrong})


def test_any_tensor_may_be_bound_and_what_only_it_needed_goes(dense: tuple[gr.Model, Any]) -> None:
    model, _ = dense
    product = np.ones((4, 2), np.float32)
    bound = model.bind({"product:0": product})
    wanted = model.run("y", {"product:0": product})
    np.testing.assert_allclose(bound.run("y"), wanted, rtol=1e-6)


def test_a_new_placeholder_has_its_own_name_dtype_and_shape(dense: tuple[gr.Model, Any]) -> None:
    model, _ = dense
    bound = model.bind({"x:0": gr.TensorSpec("pixels", UINT8, (2, 3))})
    assert bound.inputs["pixels"] == gr.TensorSpec("pixels:0", UINT8, (2, 3))
    assert "x" not in bound.operations
    rows = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    np.testing.assert_allclose(bound(pixels=rows), model(rows.astype(np.float32)), rtol=1e-6)
    same_name = model.bind({"x:0": gr.TensorSpec("x:0", UINT8, None)})
    np.testing.assert_allclose(same_name(x=rows), model(rows.astype(np.float32)), rtol=1e-6)


def test_two_inputs_can_be_swapped_and_bound_to_each_other(tmp_path: Path) -> None:
    def build(resource: bool) -> None:
        a, b = tf.placeholder(tf.float32, [], name="a"), tf.placeholder(tf.float32, [], name="b")
        tf.subtract(a, 2 * b, name="y")

    with tf.Graph().as_default() as graph:
        build(False)
        (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "g.pb")
    assert model.bind({"a:0": "b:0", "b:0": "a:0"}).run("y", {"a": 1, "b": 5}) == 5 - 2 * 1
    assert model.bind({"a": "b"}).run("y", {"b": 5}) == 5 - 2 * 5
    assert model.bind({"a": 7, "b": gr.TensorSpec("c", FLOAT, ())}).run("y", {"c": 2}) == 7 - 2 * 2


def test_it_is_what_import_graph_def_makes_with_an_input_map_under_a_name(
    tmp_path: Path, dense: tuple[gr.Model, Any]
) -> None:
    model, _ = dense
    value = np.full((1, 3), 2.0, np.float32)
    frozen = model.freeze("y")
    frozen.export(tmp_path / "frozen.pb")
    frozen.bind({"x": value}, scope="in/side").export(tmp_path / "bound.pb")
    with tf.Graph().as_default(), tf.Session() as sess:
        graph = tf.GraphDef.FromString((tmp_path / "frozen.pb").read_bytes())
        tf.import_graph_def(graph, input_map={"x:0": tf.constant(value)}, name="in/side")
        wanted = sess.run("in/side/y:0")
    np.testing.assert_allclose(models.run_frozen(tmp_path / "bound.pb", "in/side/y:0", {}), wanted, rtol=1e-6)


@pytest.mark.parametrize("resource", [False, True], ids=["references", "resources"])
def test_under_a_scope_it_saves_and_tensorflow_restores_it(tmp_path: Path, resource: bool) -> None:
    feeds = {"ids:0": [1, 9]}
    model, wanted = models.save(tmp_path / "old", models.partitioned, resource, feeds=[feeds])
    scoped = model.bind({}, scope="inner")
    assert all(name.startswith("inner/") for name in scoped.operations if not name.startswith("save"))
    (tmp_path / "new").mkdir()
    scoped.save(tmp_path / "new" / "model")
    found = models.run_restored(tmp_path / "new" / "model", "inner/y:0", {"inner/ids:0": [1, 9]})
    np.testing.assert_allclose(found, wanted[0], rtol=1e-6)
    assert gr.Checkpoint(tmp_path / "new" / "model")["inner/e/table"].shape == (10, 4)
    np.testing.assert_allclose(gr.load(tmp_path / "new" / "model").run("inner/y", {"inner/ids": [1, 9]}), wanted[0], rtol=1e-6)  # fmt: skip


def test_models_keep_their_variables_apart_afterwards(dense: tuple[gr.Model, Any]) -> None:
    model, wanted = dense
    bound = model.bind({"x": models.ROWS})
    bound.variables["w"] = np.zeros((3, 2))
    np.testing.assert_allclose(model(models.ROWS), wanted, rtol=1e-6)
    assert not np.allclose(bound(), wanted)


def test_a_value_in_a_branch_stays_in_its_branch(tmp_path: Path) -> None:
    model, _ = models.save(tmp_path, models.branch)
    inside = next(n for n, op in model.operations.items() if op.type == "MatMul")
    with pytest.raises(gr.GraphError, match="branch"):
        model.bind({inside: gr.TensorSpec("z", FLOAT, None)})
    model.bind({inside: np.zeros((3, 2))}).freeze("y").export(tmp_path / "frozen.pb")
    taken = models.run_frozen(tmp_path / "frozen.pb", "y:0", {"p:0": True, "x:0": models.X})
    other = models.run_frozen(tmp_path / "frozen.pb", "y:0", {"p:0": False, "x:0": models.X})
    np.testing.assert_allclose(taken, np.tile(model.variables["b"], (3, 1)))
    np.testing.assert_array_equal(other, [[2, 2]])


@pytest.mark.parametrize(
    ("replacements", "error", "says"),
    [
        ({"nothing:0": 1}, gr.UnknownName, "nothing"),
        ({"x:0": "nothing:0"}, gr.UnknownName, "nothing"),
        ({"x": 1.0, "x:0": 2.0}, gr.FeedError, "twice|shape"),
        ({"x:0": "y:0"}, gr.FeedError, "shape"),
        ({"product:0": "y:0"}, gr.GraphError, "itself"),
        ({"x:0": gr.TensorSpec("w", FLOAT, None)}, gr.GraphError, "has an operation"),
        ({"x:0": gr.TensorSpec("text", STRING, None)}, gr.FeedError, "cast"),
        ({"x:0": gr.TensorSpec("a b", FLOAT, None)}, gr.FeedError, "no name"),
    ],
)
def test_what_cannot_be_bound_is_a_clear_error(
    dense: tuple[gr.Model, Any], replacements: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        dense[0].bind(replacements)


def test_a_signature_follows_what_is_bound(tmp_path: Path) -> None:
    def build(resource: bool) -> None:
        x, k = tf.placeholder(tf.float32, [None], name="x"), tf.placeholder(tf.float32, [], name="k")
        tf.multiply(x, k * tf.get_variable("v", [], use_resource=resource), name="y")

    model, _ = models.save(tmp_path, build)
    model.export(tmp_path / "saved")
    saved = gr.load(tmp_path / "saved")
    assert set(saved.inputs) == {"x", "k"}
    half = saved.bind({"k": 0.5})
    assert list(half.inputs) == ["x"]
    np.testing.assert_allclose(half(x=[2.0]), saved(x=[2.0], k=0.5))
    half.export(tmp_path / "half")
    np.testing.assert_allclose(models.run_saved_model(tmp_path / "half", {"x": [2.0]})["y"], half(x=[2.0]))
