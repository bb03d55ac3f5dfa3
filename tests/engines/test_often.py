"""Steps that have run often give what they gave before, and their errors name the same nodes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_control_flow import both, control_flow
from tf_models import session

import graphrack as gr
from graphrack.engines.interpreter import often

PAIRS = [tf.add, tf.subtract, tf.multiply, tf.divide, tf.maximum, tf.minimum, tf.less, tf.less_equal, tf.greater,
         tf.greater_equal, tf.equal, tf.not_equal, tf.pow]  # fmt: skip
ALONE = [tf.negative, tf.abs, tf.square, tf.sign, tf.zeros_like]
DTYPES = [tf.float32, tf.float64, tf.int32, tf.float16, tf.bfloat16]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(often, "RUNS", 2)


def opened(folder: Path, sess: Any) -> gr.Model:
    tf.io.write_graph(sess.graph_def, str(folder), "g.pb", as_text=False)
    return gr.load(folder / "g.pb", engine="numpy")


def same(found: Any, expected: Any) -> None:
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    assert np.shape(found) == np.shape(expected)
    if np.asarray(found).dtype == tf.bfloat16.as_numpy_dtype:  # of which NumPy doesn't know that it has NaN
        found, expected = np.float32(found), np.float32(expected)
    np.testing.assert_array_equal(found, expected)


def outcome(model: gr.Model, names: list[str], feeds: Any) -> list[Any]:
    """What a run gives; its error, where shapes don't fit each other."""
    try:
        return list(model.run(names, feeds))
    except gr.OpError as error:
        return [str(error)]


@settings(max_examples=60)
@given(data=st.data())
def test_any_chain_of_nodes_gives_what_it_gave_in_its_first_run(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    with session() as sess:
        x, y = tf.placeholder(dtype, name="x"), tf.placeholder(dtype, name="y")
        known = [x, y, tf.constant(2, dtype), tf.constant([1, 2, 3], dtype)]
        for _ in range(data.draw(st.integers(3, 8))):
            a, b = (data.draw(st.sampled_from(known)) for _ in range(2))
            op = data.draw(st.sampled_from([*PAIRS, *ALONE]))
            known.append(tf.cast(op(a) if op in ALONE else op(a, b), dtype))
        parts = tf.split(tf.stack(known[2:3] * 2), 2)
        names = [value.name for value in (*known[4:], *parts)]
        model = opened(tmp_path_factory.mktemp("graph"), sess)
        shapes: list[tuple[int, ...]] = [(), (3,), (2, 3), (1, 1), (0, 3)]
        kinds = [[np.full(shape, number, dtype.as_numpy_dtype) for shape in shapes] for number in (1, 3)]
        feeds = [{"x:0": data.draw(st.sampled_from(kinds[0])), "y:0": data.draw(st.sampled_from(kinds[1]))}]
        feeds.append({"x:0": feeds[0]["y:0"], "y:0": feeds[0]["x:0"]})
        first = [outcome(model, names, feed) for feed in feeds]
        for _ in range(2):
            for feed, expected in zip(feeds, first, strict=True):
                for found, value in zip(outcome(model, names, feed), expected, strict=True):
                    same(found, value)


@both
def test_loops_give_what_tensorflow_gives(tmp_path: Path, v2: bool) -> None:
    with control_flow(v2), session() as sess:
        n, x = tf.placeholder(tf.int32, [], name="n"), tf.placeholder(tf.float32, name="x")

        def body(i: Any, y: Any, kept: Any) -> Any:
            y = tf.cond(i % 2 > 0, lambda: y * 2.0, lambda: y - x)
            first, second = tf.split(tf.stack([y, y + 1.0]), 2)
            return i + 1, tf.squeeze(first, 0) + second[0] / 2.0, kept.write(i, tf.cast(i, tf.float32) + 0.5)

        kept = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=[])
        _, y, kept = tf.while_loop(lambda i, *_: i < n, body, [0, tf.identity(x), kept])
        names = [y.name, kept.stack().name]
        model = opened(tmp_path, sess)
        for count in (3, 20, 1, 0, 20):
            for value in (1.5, [1.0, 2.0]):
                feed = {"n:0": count, "x:0": value}
                for found, expected in zip(model.run(names, feed), sess.run(names, feed), strict=True):
                    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_an_error_names_the_node_before_and_after(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        y = tf.negative(tf.reshape(tf.abs(x), [2, 2], name="shaped"), name="negative")
        tf.matmul(y, tf.ones([2, 2]), name="out")
        with control_flow(False):
            loop = tf.while_loop(lambda v: tf.size(v) < 6, lambda v: tf.concat([v, tf.reshape(v, [3])], 0), [x])
        model, loop = opened(tmp_path, sess), loop.name
    for _ in range(4):
        with pytest.raises(gr.OpError, match=r"node 'shaped' \(Reshape\) failed.*float32\[3\]"):
            model.run("out", {"x": [1.0, 2.0, 3.0]})
        model.run("out", {"x": np.ones(4)})
        with pytest.raises(gr.OpError, match="while/Reshape"):
            model.run(loop, {"x": np.ones(4)})
        assert model.run(loop, {"x": np.ones(3)}).shape == (6,)


def test_explain_shows_the_nodes_and_their_times_as_before(tmp_path: Path) -> None:
    with session() as sess:
        y = tf.placeholder(tf.float32, name="x")
        for i in range(5):
            y = tf.negative(y, name=f"n{i}")
        model = opened(tmp_path, sess)
    before = model.explain("n4", {"x": 1.0})
    for _ in range(5):
        assert model.run("n4", {"x": 1.0}) == -1
    after = model.explain("n4", {"x": 1.0}, profile=True)
    assert [step.name for step in after.steps] == [step.name for step in before.steps] == [f"n{i}" for i in range(5)]
    assert all(step.seconds is not None for step in after.steps)


def test_plans_of_thousands_of_nodes_run(tmp_path: Path) -> None:
    with session() as sess:
        y = tf.placeholder(tf.float32, name="x")
        for i in range(2500):
            y = tf.add(y, 1.0, name=f"n{i}")
        tf.reshape(y, [2], name="out")
        model = opened(tmp_path, sess)
    for _ in range(4):
        np.testing.assert_array_equal(model.run("out", {"x": [1.0, 2.0]}), [2501, 2502])
        with pytest.raises(gr.OpError, match=r"node 'out' \(Reshape\)"):
            model.run("out", {"x": [1.0]})


def test_threads_that_run_it_for_the_first_times_get_their_own_results(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        y = x
        for _ in range(20):
            y = y * 2.0 + x
        tf.identity(y, name="out")
        model = opened(tmp_path, sess)
        expected = [sess.run("out:0", {"x:0": float(i)}) for i in range(8)]
    wrong: list[Any] = []

    def work(i: int) -> None:
        for _ in range(50):
            if model.run("out", {"x": float(i)}) != expected[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
