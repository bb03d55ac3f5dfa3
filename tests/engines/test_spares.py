"""Rows of tables that runs change: in memory of earlier values, which nobody may see change."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_models import session

import graphrack as gr
from graphrack.engines.interpreter import memory, spares
from graphrack.formats import data_files

ROWS, COLUMNS = 12, 3
Array = np.ndarray[Any, Any]


def build() -> None:
    """Ways to change rows of a table, and to look at it."""
    table = tf.get_variable("table", [ROWS, COLUMNS], initializer=tf.random_normal_initializer(seed=1))
    other = tf.get_variable("other", [ROWS, COLUMNS], initializer=tf.zeros_initializer())
    ids = tf.placeholder(tf.int32, [None], name="ids")
    rows = tf.placeholder(tf.float32, [None, COLUMNS], name="rows")
    loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, ids)) * 0.5)
    tf.train.AdagradOptimizer(0.1).minimize(loss, name="adagrad")
    tf.scatter_add(table, ids, rows, name="add")
    tf.scatter_update(table, ids, rows, name="put")
    with tf.control_dependencies([tf.scatter_add(table, ids, rows)]):
        before = tf.identity(table.read_value(), name="between")
        with tf.control_dependencies([before]):
            twice = tf.scatter_sub(table, ids, 2 * rows)
            with tf.control_dependencies([twice]):
                tf.identity(before, name="twice")
    with tf.control_dependencies([tf.scatter_add(table, ids, rows)]):
        tf.scatter_update(other, ids + 100, rows, name="fails")
    tf.assign(table, table * 0.5, name="halve")
    tf.identity(table, name="look")


@pytest.fixture(scope="module", params=["reference", "resource"])
def prefix(request: Any, tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("m")
    with session() as sess, tf.variable_scope("", use_resource=request.param == "resource"):
        build()
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(folder / "m"))
    return folder / "m"


ids = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=7)
actions = st.lists(
    st.tuples(
        st.sampled_from(["adagrad", "add", "put", "twice", "fails", "halve", "look", "hold", "give", "mine"]), ids
    ),
    min_size=3,
    max_size=25,
)


@pytest.mark.parametrize("mapped", [False, True])
@settings(max_examples=60, deadline=None)
@given(actions)
def test_whatever_is_done_to_a_table_it_is_what_tensorflow_makes_of_it(
    prefix: Path, mapped: bool, program: list[tuple[str, list[int]]]
) -> None:
    """`mapped`: as of a large checkpoint, whose pages the table has for its memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spares, "LEAST_BYTES", 1)
        if mapped:
            patch.setattr(spares, "_LEAST_MAPPED", 1)
            patch.setattr(data_files, "SMALL", 0)
        with tf.Graph().as_default(), tf.Session() as sess:
            tf.train.import_meta_graph(f"{prefix}.meta").restore(sess, str(prefix))
            table = next(v for v in tf.global_variables() if v.op.name == "table")
            model = gr.load(prefix, engine="numpy")
            held: list[tuple[Array, Array]] = []
            indices, rows = np.zeros(0, np.int32), np.zeros((0, COLUMNS), np.float32)
            for number, (action, places) in enumerate(program):
                if len(places) != len(indices):
                    indices, rows = np.zeros(len(places), np.int32), np.zeros((len(places), COLUMNS), np.float32)
                indices[:] = places  # the same arrays again, changed between runs
                rows[:] = np.random.default_rng(number).normal(size=rows.shape)
                fed = {"ids:0": indices, "rows:0": rows}
                if action == "hold":
                    held.append((model.variables["table"], model.run("look")))
                    held.append(tuple(np.array(value) for value in held[-1]))  # type: ignore[arg-type]
                elif action == "give":
                    value = np.random.default_rng(number).normal(size=(ROWS, COLUMNS)).astype(np.float32)
                    model.variables["table"] = value
                    table.load(value, sess)
                elif action == "mine":
                    model.run("look")[:] = np.nan  # a result is the caller's
                elif action == "fails":
                    before = np.array(model.variables["table"])
                    with pytest.raises(gr.OpError, match="is not in"):
                        model.run("fails", fed)
                    np.testing.assert_array_equal(model.variables["table"], before)
                elif action in ("look", "halve"):
                    model.run(action)
                    sess.run(action if action == "halve" else "look:0")
                elif action == "twice":
                    np.testing.assert_allclose(model.run("twice:0", fed), sess.run("twice:0", fed), rtol=1e-5)
                else:
                    model.run(action, fed)
                    sess.run(action, fed)
                np.testing.assert_allclose(model.variables["table"], sess.run(table), rtol=1e-4, atol=1e-5)
            for (first, second), (one, two) in zip(held[::2], held[1::2], strict=True):
                np.testing.assert_array_equal(first, one)
                np.testing.assert_array_equal(second, two)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_step_takes_no_memory_for_the_rows_that_it_leaves(tmp_path: Path, mapped: bool) -> None:
    with session() as sess:
        table = tf.get_variable("table", [40_000, 64], initializer=tf.ones_initializer())  # 10 MB
        ids = tf.placeholder(tf.int32, [None], name="ids")
        tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(tf.nn.embedding_lookup(table, ids)), name="train")
        tf.identity(table[0], name="first")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    model = gr.load(tmp_path / "m", engine="numpy")
    if not mapped:
        model.variables["table"] = np.array(model.variables["table"])

    def peak(fetch: str, feeds: Any = None) -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        model.run(fetch, feeds)
        return tracemalloc.get_traced_memory()[1] - before

    memory._keep_pages()  # once in a process it asks for pages that it never touches, which count here
    tracemalloc.start()
    try:
        steps = [peak("train", {"ids": np.arange(i, i + 9)}) for i in range(6)]
        trained = tracemalloc.get_traced_memory()[0]
        model.run("first")
        served = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    if mapped:  # not even for a copy
        assert max(steps) < 1_000_000
    else:
        assert max(steps[3:]) < 1_000_000 < 10_000_000 < max(steps[:3])
        assert trained - served > 10_000_000  # who only predicts has one copy
    expected = np.ones(40_000)
    for i in range(6):
        expected[i : i + 9] -= 0.1
    np.testing.assert_allclose(model.variables["table"][:, 5], expected, rtol=1e-5)


def test_a_run_that_began_before_sees_the_values_of_then(tmp_path: Path) -> None:
    with session() as sess:
        table = tf.get_variable("table", [40_000, 64], initializer=tf.zeros_initializer())
        ids = tf.placeholder(tf.int32, [None], name="ids")
        tf.scatter_add(table, ids, tf.ones([1, 64]), name="add")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    model = gr.load(tmp_path / "m", engine="numpy")
    assert not model.variables["table"].any()
    seen = []
    for i in range(6):
        state = model._instance.state
        seen.append(state.values)  # what a run that begins now holds
        model.run("add", {"ids": [i]})
    for i, values in enumerate(seen):
        (value,) = values.values()
        assert value[:, 0].sum() == i


def test_a_file_that_is_replaced_meanwhile_does_not_come_into_a_model_that_trains(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with session() as sess:
        table = tf.get_variable("table", [40_000, 64], initializer=tf.ones_initializer())  # 10 MB
        ids = tf.placeholder(tf.int32, [None], name="ids")
        tf.scatter_add(table, ids, tf.ones([1, 64]), name="add")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(path))
    models = [gr.load(path, engine="numpy") for _ in range(2)]
    assert all(model.variables["table"].all() for model in models)  # they have mapped it
    models[0].run("add", {"ids": [1]})
    for i in range(3):
        gr.save_checkpoint(path, {"table": np.full((40_000, 64), 7.0, np.float32)})
        for model in models:
            model.run("add", {"ids": [i]})
    first, second = (model.variables["table"] for model in models)
    np.testing.assert_array_equal(first[:4, 0], [2, 3, 2, 1])
    np.testing.assert_array_equal(second[:4, 0], [2, 2, 2, 1])
    assert (first[4:] == 1).all()
    assert (second[4:] == 1).all()


def test_models_of_one_file_train_each_for_itself(tmp_path: Path) -> None:
    with session() as sess:
        table = tf.get_variable("table", [40_000, 64], initializer=tf.zeros_initializer())
        ids = tf.placeholder(tf.int32, [None], name="ids")
        tf.scatter_add(table, ids, tf.ones([1, 64]), name="add")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    checkpoint = gr.Checkpoint(tmp_path / "m")
    read = checkpoint["table"]
    models = [gr.load(tmp_path / "m", engine="numpy") for _ in range(3)]
    models[2].restore(tmp_path / "m")
    for _ in range(4):
        for i, model in enumerate(models):
            model.run("add", {"ids": [i]})
    for i, model in enumerate(models):
        value = model.variables["table"]
        assert value[i, 0] == 4
        assert value.sum() == 4 * 64
    assert not read.any()
    assert not gr.Checkpoint(tmp_path / "m")["table"].any()
