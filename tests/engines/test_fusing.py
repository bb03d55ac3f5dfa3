"""Gates and sums of lists that one step computes are what TensorFlow makes of them node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from endtoend.layers import GRUCell, LSTMCell
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_control_flow import both, control_flow
from tf_models import session

import graphrack as gr
from graphrack.engines.interpreter import fusing

SHAPES = [(1, 8), (3, 12), (2, 4), (0, 4), (5, 0), (4, 40), (7, 16_384)]


def opened(folder: Path, sess: Any, engine: str = "numpy") -> gr.Model:
    tf.io.write_graph(sess.graph_def, str(folder), "g.pb", as_text=False)
    return gr.load(folder / "g.pb", engine=engine)


def steps(model: gr.Model, fetches: Any, feeds: Any) -> list[str]:
    """The ops of the steps that a run consists of, once it is known that values are small."""
    for _ in range(2):
        model.run(fetches, feeds)
    return [step.op for step in model.explain(fetches, feeds).steps]


def cell(z: Any, state: Any, forget: float = 1.0, axis: int = 1) -> list[Any]:
    """An LSTM's cell, as `tf.nn.rnn_cell.BasicLSTMCell` has it."""
    i, j, f, o = tf.split(z, 4, axis=axis)
    new = state * tf.sigmoid(f + forget) + tf.sigmoid(i) * tf.tanh(j)
    return [new, tf.tanh(new) * tf.sigmoid(o)]


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64, tf.float16, tf.bfloat16])
@pytest.mark.parametrize("engine", ["numpy", "auto", "openvino"])
def test_a_cells_gates_are_tensorflows(engine: str, dtype: Any, tmp_path: Path) -> None:
    with session() as sess:
        z, state = tf.placeholder(dtype, name="z"), tf.placeholder(dtype, name="c")
        names = [value.name for value in cell(z, state)]
        model = opened(tmp_path, sess, engine)
        few = {"z": np.zeros((1, 8), dtype.as_numpy_dtype), "c": np.zeros((1, 2), dtype.as_numpy_dtype)}
        found = steps(model, names, few)
        if engine != "openvino" and dtype in (tf.float32, tf.float64):
            assert found == ["Split", "Mul", "Mul", "AddV2", "Tanh", "Mul"]
        rng, tolerance = np.random.default_rng(0), {2: 2e-2, 4: 1e-6, 8: 1e-12}[dtype.size]
        for shape in (*SHAPES, *reversed(SHAPES)):
            fed = {
                "z:0": (rng.standard_normal(shape) * 30).astype(dtype.as_numpy_dtype),
                "c:0": rng.standard_normal((shape[0], shape[1] // 4)).astype(dtype.as_numpy_dtype),
            }
            for one, other in zip(model.run(names, fed), sess.run(names, fed), strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_allclose(
                    one.astype(np.float64), other.astype(np.float64), rtol=tolerance, atol=tolerance
                )


@settings(max_examples=60)
@given(data=st.data())
def test_parts_of_any_use_are_what_they_are_alone(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Fused or not, which is the case depending on what takes a part, the numbers are the very same."""
    count = data.draw(st.integers(1, 5))
    uses = {
        "sigmoid": lambda x: [tf.sigmoid(x)],
        "shifted": lambda x: [tf.sigmoid(x + 0.5)],
        "shifted from the left": lambda x: [tf.sigmoid(tf.raw_ops.Add(x=tf.constant(-2.0), y=x))],
        "shifted, and the sum": lambda x: [tf.sigmoid(y := x + 0.5), y],
        "shifted by a vector": lambda x: [tf.sigmoid(x + tf.ones([2]))],
        "tanh": lambda x: [tf.tanh(x)],
        "both": lambda x: [tf.tanh(x), tf.sigmoid(x)],
        "twice": lambda x: [tf.sigmoid(x), tf.sigmoid(x + 1.0), tf.sigmoid(-x)],
        "itself": lambda x: [x, tf.sigmoid(x)],
        "nothing": lambda x: [],
        "another": lambda x: [tf.nn.relu(x)],
        "after another": lambda x: [tf.sigmoid(tf.identity(x))],
    }
    with session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        parts = tf.split(x, count, axis=data.draw(st.sampled_from([1, -1, 0])))
        results = [y for part in parts for y in uses[data.draw(st.sampled_from(sorted(uses)))](part)]
        names = [(y + 0.0).name if data.draw(st.booleans()) else y.name for y in results]
        fetched = [name for name in names if data.draw(st.booleans())] or [x.name]
        folder = tmp_path_factory.mktemp("graph")
        model = opened(folder, sess)
        plain = gr.load(folder / "g.pb", engine="numpy")
        shape = data.draw(st.sampled_from([(2 * count, 2 * count), (count, 2 * count, count), (count, 2 * count)]))
        value = np.random.default_rng(1).standard_normal(shape).astype(np.float32) * 3
        fed = {name: np.float32(7) for name in names if name not in fetched and data.draw(st.integers(0, 5)) == 0}
        feeds = {x.name: value, **fed}
        patch = pytest.MonkeyPatch()
        patch.setattr(fusing.Fusing, "fused", lambda self, steps: list(steps))
        try:
            expected = [outcome(plain, fetched, feeds) for _ in range(3)]
        finally:
            patch.undo()
        for _ in range(3):
            found = outcome(model, fetched, feeds)
            if isinstance(expected[0], str):
                assert found == expected[0]
                continue
            for one, other in zip(found, expected[0], strict=True):
                assert one.shape == other.shape
                np.testing.assert_array_equal(one, other)


def outcome(model: gr.Model, fetches: Any, feeds: Any) -> Any:
    try:
        return model.run(fetches, feeds)
    except gr.OpError as error:
        return str(error)


def test_what_can_not_be_split_is_an_error_of_that_node(tmp_path: Path) -> None:
    with session() as sess:
        names = [value.name for value in cell(tf.placeholder(tf.float32, name="z"), tf.constant([[1.0, 2.0]]))]
        model = opened(tmp_path, sess)
    for value in (np.ones((1, 8)), np.ones((1, 6)), np.ones((1, 8)), np.ones((1, 6))):
        if value.shape[1] % 4:
            with pytest.raises(gr.OpError, match=r"node 'split' \(Split\) failed: dimension 1 .* num_split = 4"):
                model.run(names, {"z": value})
        else:
            model.run(names, {"z": value})


def test_what_is_fetched_is_the_callers_own(tmp_path: Path) -> None:
    with session() as sess:
        i, j = tf.split(tf.placeholder(tf.float32, name="z"), 2, axis=1)
        names = [tf.sigmoid(i).name, tf.sigmoid(j).name, i.name]
        model = opened(tmp_path, sess)
    value = np.ones((2, 4), np.float32)
    for _ in range(3):
        found = model.run(names, {"z": value})
        for array in found:
            array[:] = 9
        assert (value == 1).all()
        assert not np.shares_memory(found[0], found[1])


@both
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_recurrent_networks_train_as_by_tensorflow(tmp_path: Path, v2: bool, steps: int) -> None:
    """Their loops take elements of lists, whose gradients are lists of one element each."""
    with control_flow(v2), session() as sess:
        x, lengths = tf.placeholder(tf.float32, [None, None, 3], name="x"), tf.placeholder(tf.int32, [None], name="n")
        outputs, _ = tf.nn.dynamic_rnn(LSTMCell(4), x, lengths, dtype=tf.float32)
        weights = tf.get_variable("w", [3, 3], initializer=tf.ones_initializer())
        seen, _ = tf.nn.dynamic_rnn(GRUCell(2), tf.tensordot(x, weights, 1), lengths, dtype=tf.float32, scope="second")
        loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(seen**2)
        tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="train")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
        rng = np.random.default_rng(2)
        fed = {"x:0": rng.standard_normal((2, steps, 3)), "n:0": [steps, steps // 2]}
        model = gr.load(tmp_path / "m", engine="numpy")
        for _ in range(4):
            sess.run("train", fed)
            model.run("train", fed)
        for variable in tf.trainable_variables():
            np.testing.assert_allclose(
                model.variables[variable.op.name], sess.run(variable), rtol=1e-4, atol=1e-6, err_msg=variable.name
            )


@both
def test_elements_taken_several_times_or_never_get_the_sum_of_their_gradients(tmp_path: Path, v2: bool) -> None:
    with control_flow(v2), session() as sess:
        x, places = tf.placeholder(tf.float32, [4, 2], name="x"), tf.placeholder(tf.int32, [None], name="places")
        array = tf.TensorArray(tf.float32, 4, clear_after_read=False).unstack(x)

        def body(i: Any, total: Any) -> Any:
            return i + 1, total + array.read(places[i]) * tf.cast(i + 1, tf.float32) * total

        _, total = tf.while_loop(lambda i, _: i < tf.size(places), body, [0, tf.ones([2])])
        gradient = tf.gradients(total, x)[0].name
        model = opened(tmp_path, sess)
        for chosen in ([0, 1, 2, 3], [2, 2, 2], [3], [1, 3, 1, 0, 1]):
            fed = {"x:0": np.arange(8.0).reshape(4, 2) / 10, "places:0": chosen}
            for _ in range(3):
                np.testing.assert_allclose(model.run(gradient, fed), sess.run(gradient, fed), rtol=1e-5)
