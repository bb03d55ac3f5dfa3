"""Saver: what can be saved, what TensorFlow reads of it, one moment's values, and what fails cleanly."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from peaks import peak_of
from tf_models import save_regression, session

import graphrack as gr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("regression")
    save_regression(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def tensorflow_values(prefix: Path | str) -> dict[str, Any]:
    """All values of a checkpoint, as TensorFlow reads them."""
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


# Models


@pytest.mark.parametrize("step", [None, 0, 1000, np.int64(7), np.array([8]), "Variable_step:0"])
def test_a_models_files_are_named_as_tensorflows(folder: Path, tmp_path: Path, step: Any) -> None:
    model = gr.load(folder / "model_name")
    if isinstance(step, str):
        with pytest.raises(gr.UnknownName, match="Variable_step"):
            gr.Saver().save(model, tmp_path / "m", step)
        assert names(tmp_path) == []
        return
    path = gr.Saver().save(model, tmp_path / "m", global_step=step)
    base = "m" if step is None else f"m-{int(np.ravel(step)[0])}"
    assert path == str(tmp_path / base)
    assert names(tmp_path) == ["checkpoint", f"{base}.data-00000-of-00001", f"{base}.index", f"{base}.meta"]


@pytest.mark.parametrize("step", [1.0, "x", [1, 2], object(), b"1"])
def test_a_step_that_is_no_integer_is_refused(tmp_path: Path, step: Any) -> None:
    with pytest.raises(ValueError, match=r"global_step is .*expected an integer"):
        gr.Saver().save({"w": 1}, tmp_path / "m", step)
    assert names(tmp_path) == []


def test_a_models_checkpoint_is_restored_by_tensorflow_with_the_savers_settings(folder: Path, tmp_path: Path) -> None:
    model = gr.load(folder / "model_name")
    model.variables["Variable"] = 42.0
    saver = gr.Saver(max_to_keep=3, keep_checkpoint_every_n_hours=2)
    path = saver.save(model, tmp_path / "m", 5)
    with session() as sess:
        theirs = tf.train.import_meta_graph(path + ".meta")
        theirs.restore(sess, path)
        assert sess.run("Variable:0") == 42
        assert theirs.saver_def.max_to_keep == 3
        assert theirs.saver_def.keep_checkpoint_every_n_hours == 2
        assert sess.run("activation_opt:0", {"x:0": 2.0}) == pytest.approx(model(2.0), rel=1e-6)


def test_a_step_may_be_a_models_own_variable(tmp_path: Path) -> None:
    with session() as sess:
        tf.train.get_or_create_global_step()
        tf.group(tf.assign_add(tf.train.get_global_step(), 1), name="train")
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    for _ in range(3):
        model.run("train")
    assert gr.Saver().save(model, tmp_path / "m", "global_step") == str(tmp_path / "m-3")


def partitioned(tmp_path: Path) -> gr.Model:
    """A model with a partitioned variable, one of each other kind, and a Saver of its own."""
    with session() as sess:
        with tf.variable_scope("s", partitioner=tf.fixed_size_partitioner(3)):
            whole = tf.get_variable("w", [10, 2])
        tf.get_variable("v", initializer=np.float32([1, 2]), use_resource=True)
        tf.Variable(np.int64([3]), name="r")
        sess.run(tf.global_variables_initializer())
        for part, rows in zip(whole, ((0, 4), (4, 7), (7, 10)), strict=True):
            part.load(np.arange(20, dtype=np.float32).reshape(10, 2)[slice(*rows)], sess)
        tf.train.Saver().save(sess, str(tmp_path / "source" / "m"))
    return gr.load(tmp_path / "source" / "m")


def tensorflow_restores(prefix: str, fetch: str) -> Any:
    """A variable's value after TensorFlow has restored a checkpoint by the graph beside it."""
    with session() as sess:
        saver = tf.train.import_meta_graph(prefix + ".meta")
        saver.restore(sess, prefix)
        return sess.run(fetch)


def test_names_choose_a_models_variables(tmp_path: Path) -> None:
    model = partitioned(tmp_path)
    path = gr.Saver(names=["v:0", "r"]).save(model, tmp_path / "some")
    assert {n: v.tolist() for n, v in tensorflow_values(path).items()} == {"v": [1, 2], "r": [3]}
    assert tensorflow_restores(path, "v/Read/ReadVariableOp:0").tolist() == [1, 2]


def test_names_give_a_models_variables_others(tmp_path: Path) -> None:
    model = partitioned(tmp_path)
    path = gr.Saver(names={"x/v": "v", "whole": "s/w"}).save(model, tmp_path / "other")
    assert sorted(tensorflow_values(path)) == ["whole", "x/v"]
    assert tensorflow_values(path)["whole"].tolist() == np.arange(20).reshape(10, 2).tolist()
    assert tensorflow_restores(path, "s/w/part_1:0").tolist() == [[8, 9], [10, 11], [12, 13]]
    restored = gr.load(path)
    assert restored.variables["s/w/part_2"].tolist() == [[14, 15], [16, 17], [18, 19]]


def test_a_list_names_parts_by_their_whole_and_a_mapping_alone(tmp_path: Path) -> None:
    model = partitioned(tmp_path)
    parts = [f"s/w/part_{i}" for i in range(3)]
    path = gr.Saver(names=parts).save(model, tmp_path / "parts")
    assert sorted(tensorflow_values(path)) == ["s/w"]
    assert tensorflow_values(path)["s/w"].shape == (10, 2)
    path = gr.Saver(names={"alone": parts[0]}).save(model, tmp_path / "alone")
    assert tensorflow_values(path)["alone"].shape == (4, 2)
    assert tensorflow_restores(path, "s/w/part_0:0").tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_names_that_arent_there_or_twice_are_refused(tmp_path: Path) -> None:
    model = partitioned(tmp_path)
    with pytest.raises(gr.UnknownName, match=r"model 'm': names has 'u'.*'s/w'"):
        gr.Saver(names=["u"]).save(model, tmp_path / "out" / "m")
    with pytest.raises(ValueError, match="'v' twice, as 'a' and 'b'"):
        gr.Saver(names={"a": "v", "b": "v"}).save(model, tmp_path / "out" / "m")
    assert not (tmp_path / "out").exists()


def test_a_save_of_a_running_model_is_of_one_moment(tmp_path: Path) -> None:
    with session() as sess:
        a, b = (tf.Variable(np.zeros(200_000, np.float32), name=n) for n in "ab")
        tf.group(tf.assign_add(a, tf.ones_like(a)), tf.assign_sub(b, tf.ones_like(b)), name="step")
        tf.train.Saver()
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    stop = threading.Event()

    def train() -> None:
        while not stop.is_set():
            model.run("step")

    thread = threading.Thread(target=train)
    thread.start()
    try:
        seen = set()
        for chosen in (None, ["a", "b"]):
            saver = gr.Saver(max_to_keep=2, names=chosen)
            for step in range(10):
                values = gr.Checkpoint(saver.save(model, tmp_path / "m", step))
                ((one,), (other,)) = (set(values[n].tolist()) for n in "ab")
                assert one == -other
                seen.add(one)
    finally:
        stop.set()
        thread.join()
    assert len(seen) > 3


def test_several_threads_may_save_by_one_saver(tmp_path: Path) -> None:
    saver, errors = gr.Saver(max_to_keep=3), []

    def save(first: int) -> None:
        try:
            for step in range(first, first + 8):
                saver.save({"w": step}, tmp_path / "m", step)
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=save, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(tmp_path.glob("*.index"))) == 3
    assert sorted(gr.checkpoints(tmp_path)) == sorted(saver.last_checkpoints)


def test_a_model_without_values_is_not_saved_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "model_name.meta", tmp_path / "alone.meta")
    for chosen in (None, ["Variable"]):
        with pytest.raises(gr.UninitializedError, match="'Variable'"):
            gr.Saver(names=chosen).save(gr.load(tmp_path / "alone.meta"), tmp_path / "out" / "m")
    assert names(tmp_path) == ["alone.meta"]


def test_restoring_a_models_checkpoint_copies_nothing(tmp_path: Path) -> None:
    size = 8 << 20
    with session() as sess:
        tf.get_variable("big", shape=[size], initializer=tf.zeros_initializer())
        tf.train.Saver()
        tf.train.export_meta_graph(str(tmp_path / "g.meta"), graph=sess.graph)
    gr.save_checkpoint(tmp_path / "m", {"big": np.ones(size, np.float32)})
    model = gr.load(tmp_path / "g.meta")
    model.restore(tmp_path / "m", select="big")  # plans are made once
    assert peak_of(lambda: model.restore(tmp_path / "m"), size * 4 / 50) < size * 4 / 50
    assert peak_of(lambda: model.restore(tmp_path / "m", select="big"), size * 4 / 50) < size * 4 / 50
    value = model.variables["big"]
    while isinstance(value.base, np.ndarray):
        value = value.base
    assert value.base is not None
    assert not value.flags.owndata
    with open("/proc/self/maps") as maps:
        mapped = [line.split("-")[:1] for line in maps if str(tmp_path / "m.data-00000-of-00001") in line]
    assert mapped


# Arrays


class HasArray:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.float32([[1, 2]])


class HasDLPack:
    def __init__(self, array: Any):
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def test_arrays_of_every_origin_are_saved_and_tensorflow_reads_them(tmp_path: Path) -> None:
    arrays = {
        "list": [[1, 2], [3, 4]],
        "numpy": np.arange(4, dtype=np.int16),
        "array": HasArray(),
        "dlpack": HasDLPack(np.float64([5, 6])),
        "bfloat16": np.array([1, 2], ml_dtypes.bfloat16),
        "text": "ü",
        "number": 3,
    }
    path = gr.Saver().save(arrays, tmp_path / "m", 1)
    assert names(tmp_path) == ["checkpoint", "m-1.data-00000-of-00001", "m-1.index"]
    found = tensorflow_values(path)
    assert {n: np.asarray(v).tolist() for n, v in found.items()} == {
        "list": [[1, 2], [3, 4]], "numpy": [0, 1, 2, 3], "array": [[1, 2]], "dlpack": [5, 6], "bfloat16": [1, 2],
        "text": "ü".encode(), "number": 3,
    }  # fmt: skip
    assert found["bfloat16"].dtype == tf.bfloat16.as_numpy_dtype


def test_names_choose_and_rename_arrays(tmp_path: Path) -> None:
    arrays = {"a": 1, "b": 2, "c": 3}
    assert tensorflow_values(gr.Saver(names=["a", "c"]).save(arrays, tmp_path / "m")) == {"a": 1, "c": 3}
    assert tensorflow_values(gr.Saver(names={"x": "a"}).save(arrays, tmp_path / "n")) == {"x": 1}
    with pytest.raises(gr.UnknownName, match=r"'d', which is not among the arrays"):
        gr.Saver(names=["d"]).save(arrays, tmp_path / "out" / "m")


def test_a_checkpoint_and_a_models_variables_are_mappings_of_arrays(folder: Path, tmp_path: Path) -> None:
    expected = tensorflow_values(folder / "model_name")
    for source in (gr.Checkpoint(folder / "model_name"), gr.load(folder / "model_name").variables):
        assert tensorflow_values(gr.Saver().save(source, tmp_path / "m")) == expected


@pytest.mark.parametrize("source", [None, 3, "models/m", [1, 2], np.ones(3), object])
def test_what_cant_be_saved_says_what_can(tmp_path: Path, source: Any) -> None:
    with pytest.raises(gr.UnsupportedSource, match=r"give a Model, a mapping .*Session") as caught:
        gr.Saver().save(source, tmp_path / "m")
    assert isinstance(caught.value, TypeError)
    assert type(source).__name__ in str(caught.value)
    assert names(tmp_path) == []


def test_an_array_that_cant_be_saved_leaves_nothing(tmp_path: Path) -> None:
    gr.Saver().save({"a": 1}, tmp_path / "m", 1)
    before = names(tmp_path)
    with pytest.raises(gr.UnsupportedOp, match="'b'"):
        gr.Saver().save({"a": np.ones(100_000), "b": object()}, tmp_path / "m", 2)
    assert names(tmp_path) == before


@pytest.mark.parametrize("prefix", ["checkpoint", "sub/"])
def test_a_prefix_that_cant_be_one_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(gr.FileError, match=r"can't be called|is a folder"):
        gr.Saver().save({"a": 1}, str(tmp_path / prefix) + ("/" if prefix.endswith("/") else ""))
    assert names(tmp_path) == []


def test_a_graph_that_lies_at_a_prefix_survives_a_save_that_fails(tmp_path: Path) -> None:
    (tmp_path / "m.meta").write_bytes(b"a graph without values")
    (tmp_path / "checkpoint").mkdir()  # so that the state file can't be written
    with pytest.raises(gr.FileError):
        gr.Saver().save({"a": 1}, tmp_path / "m")
    assert names(tmp_path) == ["checkpoint", "m.meta"]


def test_saving_imports_no_tensorflow(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import graphrack as gr\n"
        "print(gr.Saver().save(gr.load('examples/models/cubic/model_name'), sys.argv[1], 1))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(tmp_path / "m-1"), done.stderr
