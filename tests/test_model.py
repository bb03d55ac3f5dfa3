"""Model: run and call as Session.run would, variables, restore, initialize, save; judged by TensorFlow."""

from __future__ import annotations

import collections
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_models import regression, save_regression, session, train

import graphrack as gr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("regression")
    save_regression(path)
    return path


@pytest.fixture
def model(folder: Path) -> gr.Model:
    return gr.load(folder / "model_name")


def reference(folder: Path, fetches: Any, feeds: dict[str, Any], prefix: str = "model_name") -> Any:
    """What TensorFlow computes from the same files."""
    with session() as sess:
        saver = tf.train.import_meta_graph(str(folder / f"{prefix}.meta"), clear_devices=True)
        saver.restore(sess, str(folder / prefix))
        return sess.run(fetches, feeds)


# Loading


@pytest.mark.parametrize("path", ["model_name", "model_name.meta", "", "model_name-20"])
def test_every_form_of_path_gives_the_values_that_tensorflow_restores(folder: Path, path: str) -> None:
    prefix = path.removesuffix(".meta") or "model_name"
    expected = reference(folder, "activation_opt:0", {"x:0": 1.5}, prefix)
    assert gr.load(folder / path)(1.5) == pytest.approx(expected, rel=1e-6)


def test_a_graph_takes_another_checkpoints_values(folder: Path) -> None:
    other = gr.load(folder / "model_name.meta", checkpoint=folder / "model_name-20")
    assert other(1.5) == gr.load(folder / "model_name-20")(1.5) != gr.load(folder / "model_name")(1.5)


def test_values_may_come_from_a_checkpoint_object(folder: Path) -> None:
    values = gr.Checkpoint(folder / "model_name-20")
    assert gr.load(folder / "model_name.meta", checkpoint=values)(1.5) == gr.load(folder / "model_name-20")(1.5)


def test_a_graph_without_checkpoint_opens_and_says_what_it_lacks(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "model_name.meta", tmp_path / "alone.meta")
    alone = gr.load(tmp_path / "alone.meta")
    with pytest.raises(gr.UninitializedError, match=r"'Variable', 'Variable_1'.*restore\(checkpoint\) or initialize"):
        alone(1.0)
    alone.restore(folder / "model_name")
    assert alone(1.0) == gr.load(folder / "model_name")(1.0)


def test_a_missing_data_file_is_found_on_loading(folder: Path, tmp_path: Path) -> None:
    for name in ("model_name.index", "model_name.meta"):
        shutil.copy(folder / name, tmp_path / name)
    with pytest.raises(gr.FileError, match="data-00000-of-00001 is missing"):
        gr.load(tmp_path / "model_name")


def test_an_unknown_engine_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="'cuda'.*auto, numpy, openvino"):
        gr.load(folder / "model_name", engine="cuda")


@pytest.mark.parametrize("mapped", [True, False])
def test_replacing_the_files_by_rename_leaves_an_open_model_its_values(
    folder: Path, tmp_path: Path, mapped: bool
) -> None:
    for name in ("model_name.index", "model_name.data-00000-of-00001", "model_name.meta"):
        shutil.copy(folder / name, tmp_path / name)
    model = gr.load(tmp_path / "model_name", mapped=mapped)
    before = model(1.0)
    other = gr.load(folder / "model_name-20")
    other.save(tmp_path / "model_name")
    assert model(1.0) == before
    assert gr.load(tmp_path / "model_name")(1.0) == other(1.0) != before


# run


def test_fetches_nest_as_in_session_run(folder: Path, model: gr.Model) -> None:
    point = collections.namedtuple("point", "cost value")
    feeds = {"x:0": [0.5, 1.0, -2.0], "y:0": [1.0, 2.0, 3.0]}
    fetches = {"a": ["activation_opt:0", ("cost:0",)], "b": point("cost:0", "Variable:0"), "c": "Variable_1:0"}
    found, expected = model.run(fetches, feeds), reference(folder, fetches, feeds)
    assert list(found) == list(expected)
    np.testing.assert_allclose(found["a"][0], expected["a"][0], rtol=1e-6)
    assert isinstance(found["a"][1], tuple)
    assert type(found["b"]).__name__ == "point"
    assert found["b"].cost == pytest.approx(expected["b"].cost, rel=1e-5)
    assert found["c"] == expected["c"]
    assert isinstance(found["c"], np.float32)


def test_a_bare_operation_name_means_its_outputs(model: gr.Model, tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [4], name="x")
        tf.split(x, 2, name="halves")
        tf.no_op(name="nothing")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    graph = gr.load(tmp_path / "g.pb")
    first, second = graph.run("halves", {"x": [1, 2, 3, 4]})
    assert first.tolist() == [1, 2]
    assert second.tolist() == [3, 4]
    assert graph.run(["nothing", "halves:1"], {"x": [1, 2, 3, 4]})[0] is None


def test_any_tensor_may_be_fed(folder: Path, model: gr.Model) -> None:
    feeds = {"Pow:0": [8.0, 1.0], "x:0": [3.0, 3.0]}
    np.testing.assert_allclose(
        model.run("activation_opt", feeds), reference(folder, "activation_opt:0", feeds), rtol=1e-6
    )
    assert model.run("activation_opt:0", {"activation_opt:0": 7.0}) == 7.0
    assert model.run("activation_opt:0", {"Variable/read:0": 0.0, "x": 1.0}) == pytest.approx(
        reference(folder, "activation_opt:0", {"Variable/read:0": 0.0, "x:0": 1.0}), rel=1e-6
    )


def test_collections_give_what_run_takes(model: gr.Model) -> None:
    (spec,) = model.collections["activation"]
    assert spec.name == "activation_opt:0"
    assert spec.dtype == np.float32
    assert model.run(spec, {"x": 2.0}) == model(2.0)
    assert [v.name for v in model.collections["trainable_variables"]] == [
        "Variable", "Variable_1", "Variable_2", "Variable_3",
    ]  # fmt: skip


def test_results_are_the_callers_own(model: gr.Model) -> None:
    fed = np.array([1.0, 2.0], np.float32)
    result = model.run("x:0", {"x": fed})
    result += 1
    assert fed.tolist() == [1, 2]
    model2 = gr.load(model.path)
    value = model2.run("Variable:0")
    assert value == model2.variables["Variable"]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.run("activation_op:0", {"x": 1}), gr.UnknownName, "'activation_opt"),
        (lambda m: m.run("activation_opt:3", {"x": 1}), gr.UnknownName, "1 output"),
        (lambda m: m.run("not a name:x:0"), gr.UnknownName, "not a name"),
        (lambda m: m.run("activation_opt", {"xx": 1}), gr.UnknownName, "'x"),
        (lambda m: m.run("activation_opt"), gr.FeedError, "'x:0'"),
        (lambda m: m.run("cost", {"x": 1}), gr.FeedError, "'y:0'"),
        (lambda m: m.run("activation_opt", {"x": "text"}), gr.FeedError, "float32.*string"),
        (lambda m: m.run("activation_opt", {"x": 1j}), gr.FeedError, "float32.*complex"),
        (lambda m: m.run("activation_opt", {"x": object()}), gr.FeedError, "float32"),
        (lambda m: m.run("activation_opt", {"x": 1, "x:0": 2}), gr.FeedError, "twice"),
        (
            lambda m: m.run("cost", {"x": [1, 2], "y": [1, 2, 3]}),
            gr.OpError,
            r"'sub' \(Sub\).*float32\[2\], float32\[3\]",
        ),
        (lambda m: m(z=1), gr.UnknownName, "'x'"),
        (lambda m: m(1, signature="regress"), gr.UnknownName, "no signature 'regress'"),
        (lambda m: m.variables["Variabel"], gr.UnknownName, "'Variable'"),
        (lambda m: m.variables.update({"Variable": [1, 2]}), gr.FeedError, r"shape \[\]"),
    ],
)
def test_wrong_names_and_feeds_are_one_clear_error(model: gr.Model, call: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        call(model)
    assert isinstance(caught.value, gr.GraphrackError)
    assert "model 'model_name'" in str(caught.value)


def test_placeholder_shapes_are_checked(tmp_path: Path) -> None:
    with session() as sess:
        tf.identity(tf.placeholder(tf.int32, [None, 2], name="x"), name="out")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pbtxt")
    graph = gr.load(tmp_path / "g.pbtxt")
    assert graph.inputs["x"] == gr.TensorSpec("x:0", graph.inputs["x"].dtype, (None, 2))
    assert graph([[1, 2]]).dtype == np.int32
    for bad in (3, [1, 2], [[1, 2, 3]]):
        with pytest.raises(gr.FeedError, match=r"takes shape \[\?, 2\]"):
            graph(bad)
    with pytest.raises(gr.FeedError, match="can't hold"):
        graph([[2**40, 1]])
    with pytest.raises(gr.FeedError, match="float64"):
        graph(np.ones((1, 2)))


# Calls


def test_the_collections_tensor_is_the_prediction(folder: Path, model: gr.Model) -> None:
    expected = reference(folder, "activation_opt:0", {"x:0": [1.0, 2.0]})
    for call in (
        lambda: model([1, 2]),
        lambda: model(x=[1, 2]),
        lambda: model({"x": [1, 2]}),
        lambda: model({"x:0": [1, 2]}),
    ):
        np.testing.assert_allclose(call(), expected, rtol=1e-6)


def test_two_collected_tensors_are_ambiguous(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        tf.add_to_collection("outputs", tf.identity(x, name="first"))
        tf.add_to_collection("outputs", tf.identity(x, name="second"))
        tf.train.export_meta_graph(str(tmp_path / "two.meta"), graph=sess.graph)
    two = gr.load(tmp_path / "two.meta")
    with pytest.raises(gr.AmbiguousOutput, match="'first:0', 'second:0'"):
        two(1.0)
    assert set(two.outputs) == {"first", "second"}


def test_signatures_are_called_by_name(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None], name="in/x")
        w = tf.Variable([2.0], name="w", use_resource=True)
        double, half = tf.multiply(x, w, name="double"), tf.divide(x, w, name="half")
        sess.run(tf.global_variables_initializer())
        builder = tf.saved_model.Builder(str(tmp_path / "saved"))
        signature = tf.saved_model.predict_signature_def
        builder.add_meta_graph_and_variables(
            sess,
            ["serve"],
            {
                "serving_default": signature({"x": x}, {"y": double}),
                "both": signature({"x": x}, {"double": double, "half": half}),
            },
        )
        builder.save()
    saved = gr.load(tmp_path / "saved")
    assert saved([3.0]).tolist() == [6.0]
    both = saved(x=[3.0], signature="both")
    assert {k: v.tolist() for k, v in both.items()} == {"double": [6.0], "half": [1.5]}
    with pytest.raises(gr.FeedError, match="takes 'x'; not fed: 'x'"):
        saved(signature="both")
    assert list(saved.signatures) == ["both", "serving_default"]
    assert saved.variables["w"].tolist() == [2.0]


def test_the_only_unconsumed_operation_is_the_prediction(tmp_path: Path) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 3], name="scope/image")
        w = tf.get_variable("w", [3, 2], initializer=tf.ones_initializer())
        tf.nn.softmax(tf.matmul(x, w), name="prediction")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    model = gr.load(tmp_path / "m")
    assert model(np.ones((1, 3))).tolist() == [[0.5, 0.5]]
    assert model(image=np.ones((1, 3))).tolist() == [[0.5, 0.5]]


# Variables


def test_variables_are_read_only_views_and_assignable(model: gr.Model) -> None:
    assert list(model.variables)[:4] == ["Variable", "Variable_1", "Variable_2", "Variable_3"]
    before = model(2.0)
    with pytest.raises(ValueError, match="read-only"):
        model.variables["Variable"][...] = 1
    model.variables["Variable"] = model.variables["Variable"] + 1
    assert model(2.0) == pytest.approx(before + 8, rel=1e-5)
    value = np.array(5.0, np.float32)
    model.variables["Variable:0"] = value
    value[...] = 0
    assert model.variables["Variable"] == 5
    with pytest.raises(TypeError, match="can't be deleted"):
        del model.variables["Variable"]


def test_models_of_the_same_file_have_their_own_variables(folder: Path) -> None:
    one, other = gr.load(folder / "model_name"), gr.load(folder / "model_name")
    before = other(1.0)
    one.variables["Variable"] = 100.0
    assert other(1.0) == before != one(1.0)
    assert one._instance.graph is other._instance.graph


# Restoring


def test_a_restore_that_lacks_variables_names_all_of_them_and_changes_nothing(folder: Path, tmp_path: Path) -> None:
    gr.save_checkpoint(tmp_path / "some", {"Variable": np.float32(1), "Variable_1": np.float32(2)})
    model = gr.load(folder / "model_name")
    before = dict(model.variables)
    with pytest.raises(gr.RestoreError) as caught:
        model.restore(tmp_path / "some")
    for name in ("Variable_2", "Variable_3", "beta1_power", "Variable/Adam"):
        assert f"'{name}'" in str(caught.value)
    assert "'Variable' " not in str(caught.value)
    assert dict(model.variables) == before
    model.restore(tmp_path / "some", strict=False)
    assert model.variables["Variable"] == 1
    assert model.variables["Variable_2"] == before["Variable_2"]


def test_a_restore_of_other_shapes_or_dtypes_says_which(folder: Path, tmp_path: Path) -> None:
    gr.save_checkpoint(tmp_path / "odd", {"Variable": np.ones(3, np.float32), "Variable_1": np.float64(2)})
    with pytest.raises(gr.RestoreError, match=r"'Variable' has shape \[3\].*'Variable_1' is float64"):
        gr.load(folder / "model_name").restore(tmp_path / "odd", select=["Variable", "Variable_1"])


def test_select_scope_and_rename_choose_and_map(tmp_path: Path) -> None:
    with session() as sess:
        for scope in ("model1", "model2"):
            with tf.variable_scope(scope):
                tf.get_variable("w", initializer=np.zeros(2, np.float32))
                tf.get_variable("v", initializer=np.zeros(2, np.float32), use_resource=True)
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "both"))
    gr.save_checkpoint(
        tmp_path / "scoped", {"model1/w": np.full(2, 1, np.float32), "model1/v": np.full(2, 2, np.float32)}
    )
    gr.save_checkpoint(tmp_path / "bare", {"w": np.full(2, 3, np.float32), "v": np.full(2, 4, np.float32)})
    gr.save_checkpoint(tmp_path / "named", {"weights": np.full(2, 5, np.float32)})
    model = gr.load(tmp_path / "both")

    def first() -> dict[str, float]:
        return {name: float(value[0]) for name, value in model.variables.items()}

    model.restore(tmp_path / "scoped", select="model1/*")
    assert first() == {"model1/w": 1, "model1/v": 2, "model2/w": 0, "model2/v": 0}
    model.restore(tmp_path / "bare", scope="model2")
    assert first() == {"model1/w": 1, "model1/v": 2, "model2/w": 3, "model2/v": 4}
    model.restore(tmp_path / "named", select=["model1/w"], rename={"weights": "model1/w"})
    assert first()["model1/w"] == 5
    model.restore(
        tmp_path / "bare",
        select=lambda name: name.endswith("v"),
        rename={"v": "model1/v", "w": "model1/w"},
        strict=False,
    )
    assert first()["model1/v"] == 4
    with pytest.raises(gr.UnknownName, match="chooses none"):
        model.restore(tmp_path / "bare", select="model3/*")
    with pytest.raises(gr.UnknownName, match="model1/weights"):
        model.restore(tmp_path / "named", rename={"weights": "model1/weights"})


@pytest.mark.parametrize("version", [tf.train.SaverDef.V1, tf.train.SaverDef.V2], ids=["V1", "V2"])
@pytest.mark.parametrize("sharded", [False, True])
def test_partitioned_renamed_and_resource_variables_are_what_tensorflow_restores(
    tmp_path: Path, version: int, sharded: bool
) -> None:
    rng = np.random.default_rng(1)
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 10], name="x")
        with tf.variable_scope("s", partitioner=tf.fixed_size_partitioner(3)):
            w = tf.get_variable("w", [10, 4], initializer=tf.random_normal_initializer())
        v = tf.get_variable("v", initializer=rng.normal(size=4).astype(np.float32), use_resource=True)
        r = tf.Variable(rng.normal(size=4).astype(np.float32), name="r")
        tf.add(tf.matmul(x, tf.convert_to_tensor(w)) * v, r, name="out")
        sess.run(tf.global_variables_initializer())
        saver = tf.train.Saver({"s/w": w, "v": v, "renamed": r}, write_version=version, sharded=sharded)
        saver.save(sess, str(tmp_path / "m"))
        data = rng.normal(size=(2, 10)).astype(np.float32)
        expected = sess.run("out:0", {x: data})
    model = gr.load(tmp_path / "m")
    np.testing.assert_allclose(model(data), expected, rtol=1e-5)
    assert set(gr.Checkpoint(tmp_path / "m")) == {"s/w", "v", "renamed"}


# Initialising and saving


def test_initialize_gives_the_graphs_own_initial_values(tmp_path: Path) -> None:
    with session() as sess:
        tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3), name="a")
        tf.get_variable("b", [2], initializer=tf.constant_initializer(3.0), use_resource=True)
        tf.Variable(tf.random.truncated_normal([4, 4], seed=7), name="c")
        sess.run(tf.global_variables_initializer())
        expected = dict(zip("abc", sess.run(["a:0", "b/Read/ReadVariableOp:0", "c:0"]), strict=True))
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    for path in ("g.meta", "g.pb"):
        model = gr.load(tmp_path / path)
        model.initialize()
        for name, value in expected.items():
            np.testing.assert_allclose(model.variables[name], value, rtol=1e-6)


def test_a_graph_without_initialisers_says_so(tmp_path: Path) -> None:
    with session() as sess:
        tf.identity(tf.placeholder(tf.float32, name="x"))
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    with pytest.raises(gr.GraphError, match="no initialisers"):
        gr.load(tmp_path / "g.pb").initialize()


def test_tensorflow_restores_what_save_writes(folder: Path, model: gr.Model, tmp_path: Path) -> None:
    model.variables["Variable"] = 42.0
    prefix = model.save(tmp_path / "deep" / "m", global_step=7)
    assert prefix == str(tmp_path / "deep" / "m-7")
    assert tf.train.latest_checkpoint(str(tmp_path / "deep")) == prefix == gr.latest_checkpoint(tmp_path / "deep")
    expected = reference(tmp_path / "deep", "activation_opt:0", {"x:0": 3.0}, "m-7")
    assert model(3.0) == pytest.approx(expected, rel=1e-6)
    with session() as sess:  # and goes on training it
        saver = tf.train.import_meta_graph(prefix + ".meta")
        saver.restore(sess, prefix)
        sess.run("train_step", {"x:0": [1.0], "y:0": [1.0]})


@pytest.mark.parametrize("resource", [False, True])
def test_a_bare_graphs_save_gets_a_saver_that_tensorflow_restores_by(tmp_path: Path, resource: bool) -> None:
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        w = tf.get_variable("save/w", initializer=np.eye(2, dtype=np.float32), use_resource=resource)
        tf.matmul(x, w, name="out")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    model = gr.load(tmp_path / "g.pb")
    model.initialize()
    model.variables["save/w"] = [[1, 2], [3, 4]]
    model.save(tmp_path / "m")
    assert reference(tmp_path, "out:0", {"x:0": [[1.0, 1.0]]}, "m").tolist() == [[4.0, 6.0]]
    assert gr.load(tmp_path / "m")([[1, 1]]).tolist() == [[4, 6]]


def test_saving_without_values_is_an_error_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "model_name.meta", tmp_path / "alone.meta")
    with pytest.raises(gr.UninitializedError, match="'Variable'"):
        gr.load(tmp_path / "alone.meta").save(tmp_path / "out" / "m")
    assert not list(tmp_path.glob("out/*"))


# Training state, threads


def test_what_is_computed_before_an_assignment_keeps_the_old_value_and_reads_see_the_new(tmp_path: Path) -> None:
    with session() as sess:
        v = tf.Variable(1.0, name="v")
        read = tf.identity(v, name="read")  # stands for the variable: TensorFlow copies nothing here
        before = tf.multiply(read, 1.0, name="before")
        with tf.control_dependencies([before]):
            add = tf.assign_add(v, 1.0, name="add")
        with tf.control_dependencies([add]):
            after = tf.add(read, 0.0, name="after")
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
        sess.run(tf.global_variables_initializer())
        expected = [sess.run([add, before, after, read]) for _ in range(3)]
    assert expected == [[2, 1, 2, 2], [3, 2, 3, 3], [4, 3, 4, 4]]
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    assert [model.run(["add", "before", "after", "read"]) for _ in range(3)] == expected
    assert model.run("v") == 4


def test_a_failing_run_changes_nothing(tmp_path: Path) -> None:
    with session() as sess:
        v = tf.Variable([1.0, 2.0], name="v")
        x = tf.placeholder(tf.float32, name="x")
        first = tf.assign(v, [5.0, 6.0], name="first")
        with tf.control_dependencies([first]):
            tf.assign_add(v, x, name="second")
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    with pytest.raises(gr.OpError, match=r"'second' \(AssignAdd\).*shape \[2\].*\[3\]"):
        model.run("second", {"x": [1, 2, 3]})
    assert model.variables["v"].tolist() == [1, 2]


def test_threads_see_one_state_while_others_write(tmp_path: Path) -> None:
    with session() as sess:
        a, b = tf.Variable(0.0, name="a"), tf.Variable(0.0, name="b")
        tf.group(tf.assign_add(a, 1.0), tf.assign_sub(b, 1.0), name="step")
        tf.add(a, b, name="sum")
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    sums: list[float] = []

    def write() -> None:
        for _ in range(200):
            model.run("step")

    def read() -> None:
        for _ in range(400):
            sums.append(float(model.run("sum")))

    threads = [threading.Thread(target=t) for t in (write, write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(sums) == {0.0}
    assert model.variables["a"] == 400


def test_a_graph_may_not_save_or_restore_elsewhere(tmp_path: Path) -> None:
    with session() as sess:
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "stolen"),
            tensor_names=["x"],
            shape_and_slices=[""],
            tensors=[tf.constant(1)],
            name="write",
        )
        tf.raw_ops.RestoreV2(
            prefix=str(tmp_path / "secret"), tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.int32], name="read"
        )
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    gr.save_checkpoint(tmp_path / "secret", {"x": 1})
    model = gr.load(tmp_path / "g.pb")
    with pytest.raises(gr.PermissionDenied, match="save\\(prefix\\)"):
        model.run("write")
    with pytest.raises(gr.PermissionDenied, match="restore\\(checkpoint\\)"):
        model.run("read")
    assert not list(tmp_path.glob("stolen*"))


# What it shows


def test_a_model_shows_what_it_takes_gives_and_holds(model: gr.Model) -> None:
    text = repr(model)
    for words in ("'model_name'", "meta graph", "x ", "activation_opt", "Variable_3", "and 2 more"):
        assert words in text
    html = model._repr_html_()
    assert "activation_opt" in html
    assert "<script" not in html
    assert model.inputs["x"].dtype == np.float32
    operation = model.operations["activation_opt"]
    assert operation.type == "Add" or operation.type == "AddV2"
    assert operation.outputs[0].name == "activation_opt:0"
    assert len(operation.inputs) == 2
    with pytest.raises(gr.UnknownName, match="activation_opt"):
        model.operations["activation"]


def test_stats_count_runs_and_failures(model: gr.Model) -> None:
    model(1.0)
    with pytest.raises(gr.FeedError):
        model(x="text")
    stats = model.stats
    assert (stats.runs, stats.failures) == (2, 1)
    assert stats.seconds > 0
    assert stats.variable_bytes == 14 * 4


def test_models_saved_on_another_device_run(tmp_path: Path) -> None:
    with session() as sess:
        regression(3, "/device:GPU:0")
        tf.train.export_meta_graph(str(tmp_path / "gpu.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "gpu.meta")
    model.initialize()
    rng = np.random.default_rng(3)
    a, b, c, d = (rng.normal() for _ in range(4))
    assert model(2.0) == pytest.approx(a * 8 + b * 4 + c * 2 + d, rel=1e-5)


def test_training_with_tensorflow_goes_on_from_a_saved_model(folder: Path, tmp_path: Path) -> None:
    gr.load(folder / "model_name").save(tmp_path / "again")
    with session() as sess:
        built = regression(0)
        tf.train.Saver().restore(sess, str(tmp_path / "again"))
        train(sess, built, 2)
