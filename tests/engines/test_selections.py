"""Rows that a condition chooses, and shapes of sparse tensors, are what TensorFlow makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_models import session

import graphrack as gr

raw = tf.raw_ops

CONDITIONS = [[True] * 3, [False] * 3, [True, False, True], [False, False, True]]


def opened(folder: Path, sess: Any, engine: str = "numpy") -> gr.Model:
    tf.train.export_meta_graph(str(folder / "m.meta"), graph=sess.graph)
    return gr.load(folder / "m.meta", engine=engine)


@pytest.mark.parametrize("engine", ["numpy", "auto", "openvino"])
def test_chosen_rows_are_tensorflows_and_the_callers_own(engine: str, tmp_path: Path) -> None:
    with session() as sess:
        x, chosen = tf.placeholder(tf.float32, name="x"), tf.placeholder(tf.bool, name="chosen")
        text = tf.constant(["a", "b", "c"])
        numbers = tf.reshape(tf.where(chosen), [-1])
        tf.gather(x, numbers, name="rows")
        tf.gather(text, numbers, name="texts")
        tf.gather(x, tf.squeeze(tf.where(chosen), [1]), name="squeezed")
        tf.boolean_mask(tf.ensure_shape(x, [3, 2]), tf.ensure_shape(chosen, [3]), name="masked")
        masked = "masked/GatherV2:0"
        names = ["rows:0", "texts:0", "squeezed:0", masked]
        model = opened(tmp_path, sess, engine)
        value = np.arange(6, dtype=np.float32).reshape(3, 2)
        plan = model.explain("rows:0", {"x": value, "chosen": [True] * 3})
        if engine != "openvino":
            assert [step.op for step in plan.steps] == ["GatherV2"]
        for condition in CONDITIONS:
            fed = {"x:0": value, "chosen:0": condition}
            for name in [*names, names]:
                ours, theirs = model.run(name, fed), sess.run(name, fed)
                for a, b in zip(ours, theirs, strict=True):
                    np.testing.assert_array_equal(a, b)
        rows = model.run("rows:0", {"x": value, "chosen": [True] * 3})
        rows[:] = -1
        assert value[0, 1] == 1


def test_conditions_of_other_shapes_choose_what_their_numbers_say(tmp_path: Path) -> None:
    with session() as sess:
        x, chosen = tf.placeholder(tf.int64, name="x"), tf.placeholder(tf.bool, name="chosen")
        tf.gather(x, tf.reshape(tf.where(chosen), [-1]), name="rows")
        tf.gather(x, tf.reshape(tf.where(tf.cast(chosen, tf.float32)), [-1]), name="by_numbers")
        tf.gather(x, tf.reshape(tf.where(chosen), [-1]), axis=1, name="columns")
        tf.gather(x, tf.reshape(tf.where(chosen), [2, -1]), name="shaped")
        model = opened(tmp_path, sess)
        value = np.arange(12).reshape(4, 3)
        for name, condition in [
            ("rows:0", [True, True, True]), ("rows:0", [False, True]), ("rows:0", []),
            ("rows:0", [[True, False], [False, True]]), ("by_numbers:0", [True, False, True, True]),
            ("columns:0", [True, False, True]), ("columns:0", [True, True, True]), ("shaped:0", [True, True]),
        ]:  # fmt: skip
            fed = {"x:0": value, "chosen:0": np.array(condition, bool)}
            np.testing.assert_array_equal(model.run(name, fed), sess.run(name, fed))
        with pytest.raises(gr.OpError, match="node 'rows' .*indices.* = 4 is not in"):
            model.run("rows:0", {"x": value, "chosen": [True] * 5})


def test_chosen_rows_can_be_fed_and_fetched_in_between(tmp_path: Path) -> None:
    with session() as sess:
        x, chosen = tf.placeholder(tf.float32, [None], name="x"), tf.placeholder(tf.bool, [None], name="chosen")
        where = tf.where(chosen, name="where")
        numbers = tf.reshape(where, [-1], name="numbers")
        tf.multiply(tf.gather(x, numbers, name="rows"), 2.0, name="doubled")
        model = opened(tmp_path, sess)
        value = np.array([1, 2, 3], np.float32)
        fed = {"x:0": value, "chosen:0": [True, False, True]}
        for more in ({}, {"numbers:0": [2, 2]}, {"where:0": [[1]]}, {"rows:0": value}):
            fetches = ["doubled:0", "numbers:0", "rows:0"]
            for ours, theirs in zip(
                model.run(fetches, {**fed, **more}), sess.run(fetches, {**fed, **more}), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)


def test_shapes_of_sparse_tensors_are_looked_at_in_every_run(tmp_path: Path) -> None:
    with session() as sess:
        ids = tf.sparse_placeholder(tf.int64, name="ids")
        shape = ids.dense_shape
        rank = tf.size(shape)
        front = tf.reduce_prod(tf.slice(shape, [0], tf.stack([rank - 1])))
        matrix = tf.sparse_reshape(ids, tf.stack([front, tf.gather(shape, rank - 1)]))
        filled, empty = tf.sparse_fill_empty_rows(matrix, 7)
        back = tf.sparse_reshape(filled, tf.stack([-1, 2]))
        found = [matrix.indices, matrix.dense_shape, filled.indices, filled.values, empty, back.dense_shape, shape]
        names = [tf.identity(f, name=f"f{i}").name for i, f in enumerate(found)]
        model = opened(tmp_path, sess)
        fed = {ids.indices.name: np.array([[0, 1, 0], [1, 1, 1]]), ids.values.name: np.array([3, 4])}
        sizes = np.array([2, 2, 2])
        for change in (0, 0, 2, 0):  # in the caller's own array
            sizes[0] += change
            ours, theirs = (run(names, {**fed, shape.name: sizes}) for run in (model.run, sess.run))
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
            for value in ours:
                value[...] = 0


def test_a_shape_that_is_none_is_refused_by_what_takes_it(tmp_path: Path) -> None:
    with session() as sess:
        shape = tf.placeholder(tf.int64, name="shape")
        raw.SparseReshape(input_indices=np.zeros((1, 2), np.int64), input_shape=shape, new_shape=[3, 2], name="other")
        model = opened(tmp_path, sess)
        for bad, message in [(np.int64(6), "must be vectors"), ([[2, 3]], "must be vectors"), ([1] * 20, "reshaped")]:
            with pytest.raises(gr.OpError, match=f"node 'other' .*{message}"):
                model.run("other:0", {"shape": bad})
        assert model.run("other:1", {"shape": [2, 3]}).tolist() == [3, 2]
