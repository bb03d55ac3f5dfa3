"""Plans: what is fed and fetched, the order of reads and writes, and what a run leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from graph.graphs import graph
from peaks import peak_of
from tf_models import session

import graphrack as gr


def opened(folder: Path, *lines: str, **constants: Any) -> gr.Model:
    (folder / "g.pb").write_bytes(graph(*lines, **constants).SerializeToString())
    return gr.load(folder / "g.pb")


@pytest.mark.parametrize("fed", [(), (0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_each_output_of_a_node_may_be_fed_while_others_are_computed(fed: tuple[int, ...], tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [6], name="x")
        parts = tf.split(x, 3, name="parts")
        tf.add_n(parts, name="sum")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
        feeds = {"x:0": np.arange(6.0), **{f"parts:{i}": [10.0 * i + 1, 5.0] for i in fed}}
        expected = sess.run(["sum:0", "parts:0", "parts:1", "parts:2"], feeds)
    model = gr.load(tmp_path / "g.pb")
    for found, value in zip(model.run(["sum", "parts:0", "parts:1", "parts:2"], feeds), expected, strict=True):
        np.testing.assert_array_equal(found, value)


def test_a_constant_an_identity_and_a_default_may_be_fed(tmp_path: Path) -> None:
    model = opened(tmp_path, "PlaceholderWithDefault p c", "Identity i p", "Neg out i", c=2.0)
    assert model.run("out") == -2
    assert model.run("out", {"c": 3.0}) == -3
    assert model.run("out", {"p": 4.0}) == -4
    assert model.run("out", {"i": 5.0}) == -5
    assert model.run(["c", "p", "out"], {"p": 4.0}) == [2, 4, -4]
    assert model.run("p", {"p": 4.0}) == 4


def test_a_feed_that_nothing_needs_is_checked_and_not_used(tmp_path: Path) -> None:
    model = opened(tmp_path, "Placeholder x", "Placeholder y", "Neg out x")
    assert model.run("out", {"x": 1.0, "y": 2.0}) == -1
    with pytest.raises(gr.FeedError):
        model.run("out", {"x": 1.0, "y": "text"})


def test_feeding_what_an_unknown_op_computes_makes_the_rest_run(tmp_path: Path) -> None:
    model = opened(tmp_path, "Placeholder x", "Brew tea x", "Neg out tea")
    with pytest.raises(
        gr.UnsupportedOp, match=r"lacks 1 op that this run needs: Brew \('tea'\).*feed what they compute"
    ):
        model.run("out", {"x": 1.0})
    assert model.run("out", {"tea:0": np.float32(2)}) == -2


def test_one_error_names_every_unknown_op_and_its_nodes(tmp_path: Path) -> None:
    lines = [f"Brew tea{i} x" for i in range(5)] + ["Pour milk x", "AddN cup tea0 tea1 tea2 tea3 tea4 milk"]
    model = opened(tmp_path, "Placeholder x", *lines)
    with pytest.raises(gr.UnsupportedOp, match="lacks 2 ops.*Brew .'tea.', 'tea.', 'tea.' and 2 more.*Pour .'milk'"):
        model.run("cup", {"x": 1.0})


def test_one_error_names_every_placeholder_that_is_not_fed(tmp_path: Path) -> None:
    model = opened(tmp_path, "Placeholder x", "Placeholder y", "Placeholder z", "Mul xy x y")
    with pytest.raises(gr.FeedError, match="must be fed: ('x:0', 'y:0'|'y:0', 'x:0'); fetching xy:0"):
        model.run("xy")


def test_fetching_a_name_twice_gives_two_arrays(tmp_path: Path) -> None:
    model = opened(tmp_path, "Neg out c", c=[1.0, 2.0])
    first, second = model.run(["out", "out"])
    first[:] = 0
    assert second.tolist() == [-1, -2]
    assert model.run("out").tolist() == [-1, -2]
    assert model.run(["c", "c"])[0].tolist() == [1, 2]


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_reads_and_writes_come_in_the_order_that_the_graph_says(resource: bool, tmp_path: Path) -> None:
    with session() as sess:
        if resource:
            tf.enable_resource_variables()
        v = tf.get_variable("v", [], initializer=tf.ones_initializer())
        before = tf.multiply(v.read_value(), 1.0, name="before")
        with tf.control_dependencies([before]):
            double = tf.assign(v, before * 2.0)
        with tf.control_dependencies([double]):
            between = tf.add(v.read_value(), 0.0, name="between")
        with tf.control_dependencies([between]):
            plus = tf.assign_add(v, 10.0)
        with tf.control_dependencies([plus]):
            tf.add(v.read_value(), 0.0, name="after")
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
        sess.run(tf.global_variables_initializer())
        expected = [sess.run(["before:0", "between:0", "after:0"]) for _ in range(3)]
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    assert [model.run(["before", "between", "after"]) for _ in range(3)] == expected
    assert expected[0] == [1, 2, 12]


def test_a_loss_fetched_with_its_train_step_is_the_loss_before_it(tmp_path: Path) -> None:
    with session() as sess:
        w = tf.Variable(4.0)
        loss = tf.square(w, name="loss")
        tf.train.GradientDescentOptimizer(0.25).minimize(loss, name="train")
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    assert [model.run({"loss": "loss", "step": "train"})["loss"] for _ in range(3)] == [16, 4, 1]


def test_a_run_that_fails_after_a_write_changes_nothing(tmp_path: Path) -> None:
    with session() as sess:
        v = tf.Variable([1.0, 2.0], name="v")
        x = tf.placeholder(tf.float32, name="x")
        with tf.control_dependencies([tf.assign_add(v, [1.0, 1.0])]):
            tf.reshape(x, [7], name="fails")
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    with pytest.raises(gr.OpError, match="'fails' .Reshape."):
        model.run("fails", {"x": [1.0]})
    assert model.variables["v"].tolist() == [1, 2]


def test_a_handle_that_is_fetched_gives_the_variable_s_value(tmp_path: Path) -> None:
    with session() as sess:
        tf.enable_resource_variables()
        tf.get_variable("v", initializer=[1.0, 2.0])
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    assert model.run("v").tolist() == [1, 2]
    assert model.run("v:0").tolist() == [1, 2]


def test_what_a_wide_graph_computes_is_let_go_of_before_the_end(tmp_path: Path) -> None:
    lines = [f"Neg n{i} {f'n{i - 1}' if i else 'x'}" for i in range(400)]
    model = opened(tmp_path, "Placeholder x", *lines)
    x = np.ones(100_000, np.float32)
    model.run("n399", {"x": x})
    assert peak_of(lambda: model.run("n399", {"x": x}), 40 * x.nbytes) < 40 * x.nbytes  # 400 at once otherwise
