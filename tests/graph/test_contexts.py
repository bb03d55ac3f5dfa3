"""Contexts of conds and loops in models made from models: TensorFlow makes gradients through what was exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_control_flow import control_flow
from tf_models import session

import graphrack as gr
from graphrack.graph.contexts import carried_context

X = np.array([0.5, -1.5, 2.0], np.float32)


def network() -> Any:
    """A loop with a cond in it, a loop in a cond, and a recurrent network, all of variables and x."""
    x = tf.placeholder(tf.float32, [3], name="x")
    w = tf.get_variable("w", initializer=np.float32(1.25))

    def body(i: Any, v: Any) -> Any:
        return i + 1, tf.cond(tf.reduce_sum(v) > 1.0, lambda: v * w * 0.5, lambda: tf.sin(v) + w)

    _, looped = tf.while_loop(lambda i, v: i < 4, body, (0, x), name="loop")
    chosen = tf.cond(
        tf.reduce_sum(looped) > 0,
        lambda: tf.while_loop(lambda i, v: i < 2, lambda i, v: (i + 1, v * v + w), (0, looped))[1],
        lambda: looped * 2,
        name="choice",
    )
    return tf.reduce_sum(chosen * chosen, name="out")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float, np.ndarray]:
    """The prefix, and TensorFlow's output and gradient."""
    prefix = str(tmp_path_factory.mktemp("contexts") / "m")
    with control_flow(v2=False), session() as sess:
        out = network()
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, prefix)
        gradient = tf.gradients(out, tf.get_default_graph().get_tensor_by_name("x:0"))[0]
        return (prefix, *sess.run([out, gradient], {"x:0": X}))


# What the output doesn't need, and a context does: ends of counters, the pivot of a branch without constants.
REST = ["loop/Exit", "choice/while/Exit", "loop/cond/switch_f"]

MADE: dict[str, Callable[[gr.Model], tuple[gr.Model, str, str]]] = {
    "as it is": lambda m: (m, "x:0", "out:0"),
    "frozen": lambda m: (m.freeze(["out", *REST]), "x:0", "out:0"),
    "bound": lambda m: (m.bind({"x:0": gr.TensorSpec("given", "float32", (3,))}), "given:0", "out:0"),
    "under a scope": lambda m: (m.bind({}, scope="in/it"), "in/it/x:0", "in/it/out:0"),
    "merged": lambda m: (gr.merge({"a": m, "b": m}, share={"both": ["a/x:0", "b/x:0"]}), "both:0", "b/out:0"),
    "frozen, then merged": lambda m: (gr.merge({"a": m.freeze(["out", *REST]), "b": m}), "a/x:0", "a/out:0"),
}


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("as_saved_model", [False, True], ids=["meta", "SavedModel"])
def test_tensorflow_makes_gradients_through_the_loops_of_what_is_exported(
    made: str, as_saved_model: bool, saved: tuple[str, float, np.ndarray], tmp_path: Path
) -> None:
    prefix, expected, gradient = saved
    model, x, out = MADE[made](gr.load(prefix))
    path = model.export(tmp_path / ("folder" if as_saved_model else "m.meta"))
    with control_flow(v2=False), session() as sess:
        if as_saved_model:
            tf.saved_model.loader.load(sess, ["serve"], path)
        else:
            saver = tf.train.import_meta_graph(path)
            if model.variables:
                saver.restore(sess, path.removesuffix(".meta"))
        (found,) = tf.gradients(sess.graph.get_tensor_by_name(out), sess.graph.get_tensor_by_name(x))
        value, slope = sess.run([out, found], {x: X})
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-4)


def test_a_context_that_is_not_whole_any_more_is_left_out(saved: tuple[str, float, np.ndarray], tmp_path: Path) -> None:
    model = gr.load(saved[0])
    assert {"cond_context", "while_context"} <= model.collections.keys()
    assert not {"cond_context", "while_context"} & model.freeze("w/read").collections.keys()
    assert "while_context" not in model.freeze("out").collections
    merged = gr.merge({"a": model, "b": model})
    assert len(merged.collections["while_context"]) == 2 * len(model.collections["while_context"])


@pytest.mark.parametrize("data", [b"\xff", b"", b"\x0a\x02ab"])
def test_bytes_that_are_no_context_are_left_out(data: bytes) -> None:
    for collection in ("cond_context", "while_context"):
        assert carried_context(collection, data, str, "") is None
