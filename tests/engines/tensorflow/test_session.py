"""`engine="tensorflow"`: runs, training, state and errors, judged by the interpreter and by TensorFlow."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from fixture_paths import MODELS
from tf_models import save_regression, session

import graphrack as gr

XS = np.linspace(-1, 1, 16, dtype=np.float32)
TRAINING = {"x": XS, "y": XS**3}


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regression")
    save_regression(folder)
    return folder / "model_name"


def built(tmp_path: Path, build: Callable[[], Any], *, resources: bool = False, saved: bool = True) -> Path:
    """A checkpoint, or where nothing is `saved` a graph alone, of what TensorFlow builds."""
    with session() as sess:
        if resources:
            tf.enable_resource_variables()
        build()
        tf.disable_resource_variables()
        if not saved:
            tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
            return tmp_path / "m.meta"
        sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    return tmp_path / "m"


def values(model: gr.Model) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.variables.items()}


# Runs and training


def test_training_20_steps_equals_the_interpreter_and_changes_no_array_in_place(regression: Path) -> None:
    ours, theirs = gr.load(regression, engine="numpy"), gr.load(regression, engine="tensorflow")
    held = {name: (value, value.copy()) for name, value in theirs.variables.items()}
    for _ in range(20):
        ours.run("train_step", TRAINING)
        theirs.run("train_step", TRAINING)
    for name, value in ours.variables.items():
        np.testing.assert_allclose(theirs.variables[name], value, rtol=1e-5, err_msg=name)
    for name, (array, copy) in held.items():
        np.testing.assert_array_equal(array, copy, err_msg=name)
    np.testing.assert_allclose(theirs.run("cost", TRAINING), ours.run("cost", TRAINING), rtol=1e-5)


@pytest.mark.parametrize("resources", [False, True], ids=["references", "resources"])
def test_large_variables_trained_in_place_by_tensorflow_leave_our_arrays_alone(tmp_path: Path, resources: bool) -> None:
    def build() -> None:
        w = tf.get_variable("w", initializer=np.ones((256, 256), np.float32))
        tf.train.MomentumOptimizer(0.1, 0.9).minimize(tf.reduce_sum(w * w), name="step")

    model = gr.load(built(tmp_path, build, resources=resources), engine="tensorflow")
    seen = []
    for _ in range(4):
        seen.append((model.variables["w"], model.variables["w"].copy()))
        fetched = model.run("w:0")
        copy = fetched.copy()
        model.run("step")
        seen.append((fetched, copy))
    for array, copy in seen:
        np.testing.assert_array_equal(array, copy)
    assert model.variables["w"][0, 0] < 0.5
    mine = np.full((256, 256), 2, np.float32)
    model.variables["w"] = mine
    model.run("step")
    np.testing.assert_array_equal(mine, 2)


def test_what_is_assigned_restored_and_initialised_is_what_runs_see(regression: Path) -> None:
    model, other = (gr.load(regression, engine=e) for e in ("tensorflow", "numpy"))
    assert model(x=3.0) == pytest.approx(other(x=3.0), rel=1e-6)
    for each in (model, other):
        each.variables["Variable_3"] = 7.0
    assert model(x=0.0) == other(x=0.0) == 7
    model.run("train_step", TRAINING)
    model.restore(f"{regression}-20")
    other.restore(f"{regression}-20")
    assert model(x=3.0) == pytest.approx(other(x=3.0), rel=1e-6)
    model.initialize()
    other.initialize()
    assert values(model) == values(other)  # these initialisers are constants
    model.run("train_step", TRAINING)
    other.run("train_step", TRAINING)
    assert model(x=3.0) == pytest.approx(other(x=3.0), rel=1e-4)


def test_what_it_saves_is_restored_by_tensorflows_saver(regression: Path, tmp_path: Path) -> None:
    model = gr.load(regression, engine="tensorflow")
    for _ in range(3):
        model.run("train_step", TRAINING)
    path = model.save(tmp_path / "m", global_step=3)
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.train.import_meta_graph(path + ".meta").restore(sess, path)
        for variable in tf.global_variables():
            np.testing.assert_array_equal(sess.run(variable), model.variables[variable.op.name])
        np.testing.assert_allclose(sess.run("activation_opt:0", {"x:0": 2.0}), model(x=2.0), rtol=1e-6)


@pytest.mark.parametrize(
    "path", ["cubic/model_name", "digits_mlp_0/model_name", "digits_saved_model", "digits_frozen.pb"]
)
def test_models_of_every_form_give_what_the_interpreter_gives(path: str) -> None:
    ours, theirs = gr.load(MODELS / path, engine="numpy"), gr.load(MODELS / path, engine="tensorflow")
    (spec,) = (s for k, s in ours.inputs.items() if k in ("x", "images", "input"))
    value = np.arange(64).reshape([1 if size is None else size for size in spec.shape or ()] or [64]) % 17
    value = value.astype(spec.dtype.numpy)
    for found, expected in zip(tf.nest.flatten(theirs(value)), tf.nest.flatten(ours(value)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        assert found.dtype == expected.dtype


def test_frozen_bound_and_merged_models_run_by_the_engine_they_are_made_from(regression: Path) -> None:
    model = gr.load(regression, engine="tensorflow")
    expected = model(x=3.0)
    frozen = model.freeze("activation_opt")
    bound = model.bind({"x:0": np.float32(3)})
    merged = gr.merge({"a": model, "b": gr.load(regression, engine="tensorflow")}, share={"x": ["a/x:0", "b/x:0"]})
    for made in (frozen, bound, merged):
        assert made._instance.engine.name == "tensorflow"
    assert frozen(x=3.0) == pytest.approx(expected, rel=1e-6)
    assert bound.run("activation_opt") == pytest.approx(expected, rel=1e-6)
    assert merged.run(["a/activation_opt", "b/activation_opt"], {"x": 3.0}) == pytest.approx([expected] * 2, rel=1e-6)
    merged.run("a/train_step", {"x": XS, "a/y": XS})
    assert merged.run("a/activation_opt", {"x": 3.0}) != pytest.approx(expected, rel=1e-6)
    assert merged.run("b/activation_opt", {"x": 3.0}) == pytest.approx(expected, rel=1e-6)


def test_functions_of_a_library_and_devices_that_are_not_there(tmp_path: Path) -> None:
    with session() as sess, tf.device("/device:GPU:7"):
        x = tf.placeholder(tf.float32, [], name="x")
        functional = tf.control_flow_v2_enabled()
        tf.enable_control_flow_v2()
        y = tf.cond(x > 0, lambda: tf.sqrt(x), lambda: -x)
        loop = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 2), (0, y))
        tf.identity(loop[1], name="out")
        if not functional:
            tf.disable_control_flow_v2()
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "m.meta", engine="tensorflow")
    assert model.run("out", {"x": 4.0}) == 16
    assert model.run("out", {"x": -4.0}) == 32


def test_functions_that_call_themselves_are_refused_since_tensorflow_ends_the_process(tmp_path: Path) -> None:
    integer, body = tf.AttrValue(type=3), tf.AttrValue(func=tf.NameAttrList(name="f"))
    types = tf.AttrValue(list=tf.AttrValue.ListValue(type=[3]))
    branches = {"then_branch": body, "else_branch": body, "Tcond": integer, "Tin": types, "Tout": types}
    graph = tf.GraphDef()
    graph.node.add(name="n", op="Placeholder", attr={"dtype": integer})
    graph.node.add(name="out", op="If", input=["n", "n"], attr=branches)
    function = graph.library.function.add()
    function.signature.name = "f"
    function.signature.input_arg.add(name="n", type=3)
    function.signature.output_arg.add(name="r", type=3)
    function.node_def.add(name="again", op="If", input=["n", "n"], attr=branches)
    function.ret["r"] = "again:output:0"
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(gr.UnsupportedOp, match="'f' calls itself"):
        gr.load(tmp_path / "g.pb", engine="tensorflow").run("out", {"n": 1})


# Many at once


def test_two_models_with_the_same_variable_names_keep_to_themselves(regression: Path) -> None:
    one, two = (gr.load(regression, engine="tensorflow") for _ in range(2))
    expected = two(x=3.0)
    one.variables["Variable"] = 100.0
    one.run("train_step", TRAINING)
    assert one(x=3.0) != expected
    assert two(x=3.0) == expected
    assert one.variables["Variable"] != two.variables["Variable"]


def test_nothing_global_is_left_behind(regression: Path) -> None:
    default, before = tf.get_default_graph(), len(tf.get_default_graph().get_operations())
    model = gr.load(regression, engine="tensorflow")
    model.run("train_step", TRAINING)
    assert tf.get_default_graph() is default
    assert len(default.get_operations()) == before
    assert tf.get_default_session() is None


def test_threads_get_what_one_thread_gets_while_another_trains(regression: Path) -> None:
    model = gr.load(regression, engine="tensorflow")
    other = gr.load(regression, engine="tensorflow")
    expected, wrong = other(x=3.0), []

    def ask() -> None:
        for _ in range(50):
            a, b, c, d, y = model.run(
                ["Variable", "Variable_1", "Variable_2", "Variable_3", "activation_opt"], {"x": 1.0}
            )
            if abs(a + b + c + d - y) > 1e-4 or other(x=3.0) != expected:
                wrong.append((a, b, c, d, y))

    def train() -> None:
        for _ in range(25):
            model.run("train_step", TRAINING)

    threads = [threading.Thread(target=work) for work in (ask, ask, ask, train, train)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    alone = gr.load(regression, engine="numpy")
    for _ in range(50):
        alone.run("train_step", TRAINING)
    assert model(x=3.0) == pytest.approx(alone(x=3.0), rel=1e-3)


# State


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_the_state_of_a_recurrent_network_goes_on_from_run_to_run_and_comes_back(tmp_path: Path, cell: str) -> None:
    rng = np.random.default_rng(0)
    units, inputs = 4, rng.normal(size=(6, 2, 3)).astype(np.float32)

    def build() -> None:
        x = tf.placeholder(tf.float32, [2, 3], name="x")
        h = tf.get_variable("h", initializer=np.zeros((2, units), np.float32), trainable=False)
        c = tf.get_variable("c", initializer=np.zeros((2, units), np.float32), trainable=False)
        w = tf.get_variable("w", initializer=rng.normal(size=(3 + units, 4 * units)).astype(np.float32))
        if cell == "GRU":
            r, u, n, _ = tf.split(tf.concat([x, h], 1) @ w, 4, 1)
            update = tf.sigmoid(u)
            new = update * h + (1 - update) * tf.tanh(n + tf.sigmoid(r) * h)
            step = [tf.assign(h, new)]
        else:
            i, f, o, g = tf.split(tf.concat([x, h], 1) @ w, 4, 1)
            carry = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            new = tf.sigmoid(o) * tf.tanh(carry)
            step = [tf.assign(h, new), tf.assign(c, carry)]
        with tf.control_dependencies(step):
            tf.identity(new, name="out")

    path = built(tmp_path, build, resources=True)
    ours, theirs = gr.load(path, engine="numpy"), gr.load(path, engine="tensorflow")
    for step in inputs[:3]:
        np.testing.assert_allclose(theirs.run("out", {"x": step}), ours.run("out", {"x": step}), rtol=1e-4, atol=1e-6)
    again = gr.load(theirs.save(tmp_path / "half"), engine="numpy")  # the state is in what is saved
    for step in inputs[3:]:
        expected = ours.run("out", {"x": step})
        np.testing.assert_allclose(theirs.run("out", {"x": step}), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(again.run("out", {"x": step}), expected, rtol=1e-4, atol=1e-6)


def test_a_run_that_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    def build() -> None:
        x = tf.placeholder(tf.float32, [], name="x")
        a = tf.get_variable("a", initializer=1.0)
        first = tf.assign_add(a, x, name="add")
        with tf.control_dependencies([first]):
            tf.group(tf.Assert(x < 10, ["too large"]), name="step")

    model = gr.load(built(tmp_path, build), engine="tensorflow")
    model.run("step", {"x": 2.0})
    assert model.variables["a"] == 3
    with pytest.raises(gr.OpError, match="too large"):
        model.run("step", {"x": 20.0})
    assert model.variables["a"] == 3
    assert model.run("a:0") == 3
    model.run("step", {"x": 1.0})
    assert model.variables["a"] == 4


def test_an_initialisation_that_fails_leaves_variables_without_values(tmp_path: Path) -> None:
    def build() -> None:
        x = tf.placeholder(tf.float32, [], name="x")
        a = tf.Variable(x, name="a")
        with tf.control_dependencies([a.initializer]):
            tf.group(tf.Assert(x < 10, ["too large"]), name="init")
        tf.add(a, 1.0, name="out")

    model = gr.load(built(tmp_path, build, saved=False), engine="tensorflow")
    with pytest.raises(gr.UninitializedError, match="'a'"):
        model.run("out")
    with pytest.raises(gr.OpError):
        model.run("init", {"x": 20.0})
    with pytest.raises(gr.UninitializedError, match="'a'"):
        model.run("out")
    model.run("init", {"x": 2.0})
    assert model.run("out") == 3


@pytest.mark.parametrize("resources", [False, True], ids=["references", "resources"])
def test_only_what_was_replaced_is_loaded_anew(regression: Path, resources: bool) -> None:
    from graphrack.engines.tensorflow import session as module

    model = gr.load(regression, engine="tensorflow")
    model(x=1.0)
    (own,) = (r for r in model._instance.state.resources.values() if isinstance(r, module.ModelSession))
    loads = []
    actual = own._session.run

    def counting(fetches: Any, feeds: Any = None) -> Any:
        loads.extend(f.type for f in fetches if getattr(f, "type", "") in ("Assign", "AssignVariableOp"))
        return actual(fetches, feeds)

    own._session.run = counting
    model(x=2.0)
    assert loads == []
    model.variables["Variable_1"] = 5.0
    model(x=2.0)
    assert loads == ["Assign"]
    model.run("train_step", TRAINING)  # the optimiser's own variables have not been needed so far
    before = len(loads)
    model.run("train_step", TRAINING)
    model(x=2.0)
    assert len(loads) == before


# Tables


def tables() -> None:
    word = tf.placeholder(tf.string, [None], name="word")
    counts = tf.lookup.experimental.DenseHashTable(
        tf.string, tf.int64, default_value=-1, empty_key="", deleted_key="\0", name="counts"
    )
    free = tf.lookup.experimental.MutableHashTable(tf.string, tf.float32, [0.0, 0.0], name="free")
    initializer = tf.lookup.KeyValueTensorInitializer(["one", "two"], [1.5, 2.5])
    fixed = tf.lookup.StaticHashTable(initializer, -1.0, name="fixed")
    tf.identity(fixed.lookup(word), name="fixed_out")
    tf.identity(counts.lookup(word), name="counts_out")
    tf.identity(free.lookup(word), name="free_out")
    tf.group(
        counts.insert(word, tf.cast(tf.strings.length(word), tf.int64)),
        free.insert(word, tf.stack([tf.cast(tf.strings.length(word), tf.float32)] * 2, 1)),
        name="insert",
    )
    tf.get_variable("w", initializer=1.0)


def test_tables_are_filled_asked_changed_and_brought_back(tmp_path: Path) -> None:
    model = gr.load(built(tmp_path, tables), engine="tensorflow")
    words = np.array([b"one", b"three"], object)
    outs = ["fixed_out", "counts_out", "free_out"]
    fixed, counts, free = model.run(outs, {"word": words})
    assert (fixed.tolist(), counts.tolist(), free.tolist()) == ([1.5, -1], [-1, -1], [[0, 0], [0, 0]])
    model.run("insert", {"word": words})
    fixed, counts, free = model.run(outs, {"word": words})
    assert (fixed.tolist(), counts.tolist(), free.tolist()) == ([1.5, -1], [3, 5], [[3, 3], [5, 5]])
    # The model's own tables have it: another engine on the same instance goes on from there.
    from graphrack.engines.choice import Engine

    model._instance.engine = Engine("numpy")
    _, counts, free = model.run(outs, {"word": words})
    assert (counts.tolist(), free.tolist()) == ([3, 5], [[3, 3], [5, 5]])
    model.run("insert", {"word": np.array([b"seven", b"to"], object)})
    model._instance.engine = Engine("tensorflow")
    _, counts, free = model.run(outs, {"word": np.array([b"to", b"one", b"none"], object)})
    assert (counts.tolist(), free.tolist()) == ([2, 3, -1], [[2, 2], [3, 3], [0, 0]])


def test_a_table_from_a_file_is_filled_by_assets_and_by_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("one\ntwo\n")

    def build() -> None:
        word = tf.placeholder(tf.string, [None], name="word")
        initializer = tf.lookup.TextFileInitializer(
            str(tmp_path / "words.txt"), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        )  # fmt: skip
        tf.identity(tf.lookup.StaticHashTable(initializer, -1).lookup(word), name="out")

    path = built(tmp_path, build, saved=False)
    refused = gr.load(path, engine="tensorflow")
    with pytest.raises(gr.PermissionDenied, match="words.txt.*no asset"):
        refused.initialize()
    with pytest.raises(gr.UninitializedError, match="initialize"):
        refused.run("out", {"word": [b"two"]})
    with session() as sess:
        tf.train.import_meta_graph(str(path))
        signature = tf.saved_model.predict_signature_def(
            {"word": sess.graph.get_tensor_by_name("word:0")}, {"out": sess.graph.get_tensor_by_name("out:0")}
        )
        builder = tf.saved_model.Builder(str(tmp_path / "saved"))
        builder.add_meta_graph_and_variables(
            sess,
            ["serve"],
            {"serving_default": signature},
            assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
            main_op=tf.tables_initializer(),
        )
        builder.save()
    assert gr.load(tmp_path / "saved", engine="tensorflow")(word=[b"two", b"x"]).tolist() == [1, -1]
    allowed = gr.load(path, engine="tensorflow", allow={"io"})
    allowed.initialize()
    assert allowed.run("out", {"word": [b"two", b"x"]}).tolist() == [1, -1]


# Errors


def test_an_op_that_fails_is_one_error_that_names_node_and_op_without_a_traceback(tmp_path: Path) -> None:
    def build() -> None:
        x = tf.placeholder(tf.float32, [None, None], name="x")
        tf.matmul(x, x, name="product")

    model = gr.load(built(tmp_path, build, saved=False), engine="tensorflow")
    with pytest.raises(gr.OpError) as caught:
        model.run("product", {"x": np.ones((2, 3))})
    text = str(caught.value)
    assert "node 'product' (MatMul) failed in TensorFlow: Matrix size-incompatible: In[0]: [2,3], In[1]: [2,3]" in text
    assert "\n" not in text
    assert caught.value.__cause__ is None


def test_an_op_of_a_loops_body_that_fails_is_named(tmp_path: Path) -> None:
    def build() -> None:
        functional = tf.control_flow_v2_enabled()
        tf.enable_control_flow_v2()
        n = tf.placeholder(tf.int32, [], name="n")
        loop = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, tf.floordiv(v, n - i, name="divide")), (0, 10))
        tf.identity(loop[1], name="out")
        if not functional:
            tf.disable_control_flow_v2()

    model = gr.load(built(tmp_path, build, saved=False), engine="tensorflow")
    assert model.run("out", {"n": 5}) == 0
    with pytest.raises(
        gr.OpError, match="node 'divide.* of a function failed in TensorFlow: Integer division by zero$"
    ):
        model.run("out", {"n": 2})


def test_variables_without_values_are_named(tmp_path: Path) -> None:
    def build() -> None:
        a, b = (tf.get_variable(name, initializer=1.0) for name in "ab")
        tf.add(a, b, name="out")
        with tf.control_dependencies([tf.assign(a, 5.0)]):
            tf.add(a.read_value(), b.read_value(), name="after")

    for resources in (False, True):
        path = built(tmp_path, build, saved=False, resources=resources)
        model = gr.load(path, engine="tensorflow")
        with pytest.raises(gr.UninitializedError, match="have no values: 'a', 'b'; "):
            model.run("out")
        with pytest.raises(gr.UninitializedError, match="'b'"):
            model.run("after")
        with pytest.raises(gr.UninitializedError, match="have no values: 'a'; "):
            _ = model.variables["a"]
        model.variables["b"] = 2.0
        assert model.run("after") == 7
        assert model.run("out") == 7


def test_feeds_are_checked_as_ever(tmp_path: Path) -> None:
    def build() -> None:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        tf.reduce_sum(tf.square(x, name="squares"), name="out")

    model = gr.load(built(tmp_path, build, saved=False), engine="tensorflow")
    assert model.run("out", {"squares": np.ones((2, 3))}) == 6
    assert model.run(["x", "squares"], {"x": np.ones((1, 3))})[0].tolist() == [[1, 1, 1]]
    with pytest.raises(gr.FeedError, match="must be fed: 'x:0'"):
        model.run("out")
    with pytest.raises(gr.FeedError, match=r"'x:0' takes shape \[\?, 3\]"):
        model.run("out", {"x": np.ones((2, 4))})
    with pytest.raises(gr.FeedError, match="squares"):
        model.run("out", {"squares": np.ones((2, 4))})  # what TensorFlow alone knows
    with pytest.raises(gr.UnknownName):
        model.run("no_such")


def test_a_tensor_of_a_branch_not_taken_has_no_value(tmp_path: Path) -> None:
    def build() -> None:
        tf.raw_ops.Switch(data=tf.placeholder(tf.float32, [], name="x"), pred=tf.constant(True), name="switch")

    model = gr.load(built(tmp_path, build, saved=False), engine="tensorflow")
    assert model.run("switch:1", {"x": 2.0}) == 2
    with pytest.raises(gr.OpError, match="tensor 'switch:0' has no value.*branch that was not taken"):
        model.run("switch:0", {"x": 2.0})


def test_nodes_that_tensorflow_does_not_take_hinder_only_who_needs_them(tmp_path: Path) -> None:
    graph = tf.GraphDef()
    graph.versions.producer = 22
    kind = tf.AttrValue(type=1)
    graph.node.add(name="x", op="Placeholder", attr={"dtype": kind})
    graph.node.add(name="y", op="Neg", input=["x"], attr={"T": kind})
    graph.node.add(name="tea", op="Brew", input=["x"])
    graph.node.add(name="cup", op="Neg", input=["tea"], attr={"T": kind})
    graph.node.add(name="wrong", op="Neg", input=["x"], attr={"T": tf.AttrValue(type=10)})
    old = {"T": kind, "variance_epsilon": tf.AttrValue(f=0.1), "scale_after_normalization": tf.AttrValue(b=True)}
    graph.node.add(name="old", op="BatchNormWithGlobalNormalization", input=["x"] * 5, attr=old)
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    model = gr.load(tmp_path / "g.pb", engine="tensorflow")
    assert model.run("y", {"x": 2.0}) == -2
    with pytest.raises(gr.UnsupportedOp, match=r"TensorFlow lacks ops, too.*Brew \('tea'\)"):
        model.run("cup", {"x": 2.0})
    with pytest.raises(gr.UnsupportedOp, match="'wrong': Value for attr 'T' of bool"):
        model.run("wrong", {"x": 2.0})
    with pytest.raises(gr.UnsupportedOp, match=r"'old'.*has been removed in version 9"):
        model.run("old", {"x": 2.0})


def test_numpy_never_imports_tensorflow_and_loading_never_does() -> None:
    code = f"""
import sys, graphrack as gr
model = gr.load({str(MODELS / "cubic" / "model_name")!r}, engine="numpy")
model(x=1.0)
other = gr.load({str(MODELS / "cubic" / "model_name")!r}, engine="tensorflow")
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
