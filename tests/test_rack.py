"""Rack: many isolated models, loaded on first use, run together, reloaded between runs, used from threads."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_models import save_regression, session

import graphrack as gr


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five models of one structure and one of another, with variables of the same names."""
    root = tmp_path_factory.mktemp("models")
    for seed in range(5):
        save_regression(root / f"seed{seed}", seed)
    with session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        v = tf.Variable(3.0)
        tf.add_to_collection("activation", tf.multiply(x, v, name="activation_opt"))
        sess.run(tf.global_variables_initializer())
        (root / "other").mkdir()
        tf.train.Saver().save(sess, str(root / "other" / "model_name"))
    return root


def paths(models: Path) -> dict[str, str]:
    return {p.name: str(p / "model_name") for p in sorted(models.iterdir()) if p.is_dir()}


def by_tensorflow(path: str, x: float) -> float:
    with session() as sess:
        tf.train.import_meta_graph(path + ".meta").restore(sess, path)
        return float(sess.run("activation_opt:0", {"x:0": x}))


def test_models_of_the_same_variable_names_give_each_its_own_results(models: Path) -> None:
    with gr.Rack(paths(models)) as rack:
        results = rack.run_all({"x": 1.5})
        assert list(results) == ["other", *(f"seed{i}" for i in range(5))]
        for name, path in paths(models).items():
            assert results[name] == pytest.approx(by_tensorflow(path, 1.5), rel=1e-5)
        assert len(set(map(float, results.values()))) == 6
        rack["seed0"].variables["Variable"] = 0.0
        assert rack.run_all({"x": 1.5}, models=["seed1"]) == {"seed1": results["seed1"]}


def test_models_load_on_first_use(models: Path) -> None:
    rack = gr.Rack({"there": models / "other" / "model_name", "gone": models / "nowhere"})
    assert len(rack) == 2
    assert "gone" in rack
    assert rack.stats()["there"].runs == 0
    assert rack["there"](2.0) == 6.0
    assert rack.stats()["there"].runs == 1
    with pytest.raises(gr.FileError, match="model 'gone' of the rack.*nowhere"):
        rack["gone"]


def test_add_and_delete(models: Path) -> None:
    rack = gr.Rack()
    rack.add("a", models / "other" / "model_name")
    rack.add("b", gr.load(models / "seed0" / "model_name"))
    with pytest.raises(ValueError, match="has a model 'a' already"):
        rack.add("a", models / "seed0" / "model_name")
    del rack["a"]
    assert list(rack) == ["b"]
    with pytest.raises(gr.UnknownName, match="no model 'a'.*'b'"):
        rack["a"]
    with pytest.raises(KeyError):
        del rack["a"]


def test_one_failing_model_does_not_stop_the_rest(models: Path) -> None:
    rack = gr.Rack({**paths(models), "bad": models / "nowhere"})
    with pytest.raises(gr.RackErrors, match=r"1 of 7 models failed: 'bad'.*\.results") as caught:
        rack.run_all({"x": 1.0})
    assert isinstance(caught.value, ExceptionGroup)  # noqa: F821
    assert isinstance(caught.value, gr.GraphrackError)
    assert [type(e) for e in caught.value.exceptions] == [gr.FileError]
    assert len(caught.value.results) == 6
    matched, rest = caught.value.split(gr.FileError)
    assert rest is None
    assert matched.results == caught.value.results
    with pytest.raises(gr.UnknownName, match="'sed1'"):
        rack.run_all({"x": 1.0}, models=["sed1"])


def test_reload_takes_the_new_checkpoint_and_keeps_the_old_where_it_cannot(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "seed0", tmp_path / "m")
    with gr.Rack({"m": tmp_path / "m" / "model_name"}) as rack:
        held = rack["m"]
        before = held(1.0)
        changed = gr.load(tmp_path / "m" / "model_name")
        changed.variables["Variable"] = 50.0
        changed.save(tmp_path / "m" / "model_name")
        assert rack["m"](1.0) == before
        rack.reload("m")
        assert rack["m"](1.0) == held(1.0) == changed(1.0) != before
        (tmp_path / "m" / "model_name.index").write_bytes(b"damaged")
        with pytest.raises(gr.CorruptCheckpoint):
            rack.reload("m")
        assert rack["m"](1.0) == changed(1.0)


def test_reload_follows_the_latest_checkpoint_of_a_folder(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "seed0", tmp_path / "m")
    rack = gr.Rack({"m": tmp_path / "m"})
    before = rack["m"](1.0)
    changed = gr.load(tmp_path / "m")
    changed.variables["Variable"] = 50.0
    changed.save(tmp_path / "m" / "model_name", global_step=99)
    rack.reload("m")
    assert rack["m"](1.0) == changed(1.0) != before


def test_reloads_happen_between_runs_seen_from_threads(models: Path, tmp_path: Path) -> None:
    """Every result is that of one checkpoint or the other, whole."""
    shutil.copytree(models / "seed0", tmp_path / "m")
    prefix = tmp_path / "m" / "model_name"
    other = gr.load(prefix)
    for name in ("Variable", "Variable_1", "Variable_2", "Variable_3"):
        other.variables[name] = 1.0
    old, new = gr.load(prefix)(2.0), other(2.0)
    copies = [tmp_path / "old", tmp_path / "new"]
    gr.load(prefix).save(copies[0] / "m")
    other.save(copies[1] / "m")
    rack = gr.Rack({"m": prefix})
    results: set[float] = set()
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            results.add(float(rack["m"](2.0)))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(20):
        gr.load(copies[i % 2] / "m").save(prefix)
        rack.reload("m")
    stop.set()
    for thread in threads:
        thread.join()
    assert results <= {float(old), float(new)}


def test_many_threads_may_use_one_rack(models: Path) -> None:
    rack = gr.Rack(paths(models))
    expected = gr.Rack(paths(models)).run_all({"x": 2.0})
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(50):
                assert rack.run_all({"x": 2.0}) == expected
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert rack.stats()["seed0"].runs == 200


def test_from_directory_finds_every_kind_of_model(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "seed0", tmp_path / "checkpointed")
    (tmp_path / "versions").mkdir()
    with session() as sess:
        x = tf.placeholder(tf.float32, [None], name="x")
        y = tf.multiply(x, tf.Variable(2.0), name="y")
        sess.run(tf.global_variables_initializer())
        for version in ("2", "10"):
            tf.saved_model.simple_save(sess, str(tmp_path / "versions" / version), {"x": x}, {"y": y})
        frozen = tf.graph_util.convert_variables_to_constants(sess, sess.graph_def, ["y"])
        (tmp_path / "frozen.pb").write_bytes(frozen.SerializeToString())
    (tmp_path / "notes.txt").write_text("not a model")
    (tmp_path / "empty").mkdir()
    rack = gr.Rack.from_directory(tmp_path)
    assert sorted(rack) == ["checkpointed", "frozen", "versions"]
    assert rack["versions"].path.split("/")[-2] == "10"
    assert rack["frozen"]([2.0]).tolist() == rack["versions"]([2.0]).tolist() == [4.0]
    with pytest.raises(gr.FileError, match="holds no models"):
        gr.Rack.from_directory(tmp_path / "empty")
    with pytest.raises(gr.FileError, match="can't be listed"):
        gr.Rack.from_directory(tmp_path / "nowhere")


def test_memory_limit_lets_go_of_the_longest_unused_plans_and_never_of_variables(tmp_path: Path) -> None:
    for i in range(3):
        with session() as sess:
            x = tf.placeholder(tf.float32, [None, 1000], name="x")
            w = tf.Variable(np.float32(i), name="w")
            weights = tf.constant(np.full((1000, 100), i + 1, np.float32))
            tf.multiply(tf.matmul(x, weights), w, name="y")
            sess.run(tf.global_variables_initializer())
            tf.train.Saver().save(sess, str(tmp_path / f"m{i}"))
    rack = gr.Rack({f"m{i}": tmp_path / f"m{i}" for i in range(3)}, memory_limit=900_000)
    data = np.ones((1, 1000), np.float32)
    for i in range(3):
        rack[f"m{i}"].variables["w"] = 2.0
        assert rack[f"m{i}"](data)[0, 0] == 2000 * (i + 1)
    rack["m2"]  # what the last run added is counted at the next use
    held = {name: stats.plan_bytes for name, stats in rack.stats().items()}
    assert held["m2"] > 400_000
    assert sum(held.values()) <= 900_000
    assert held["m0"] == 0
    assert rack["m0"](data)[0, 0] == 2000
    with pytest.raises(ValueError, match="-1"):
        gr.Rack(memory_limit=-1)


def test_rack_shows_its_models(models: Path) -> None:
    rack = gr.Rack({"a": models / "other" / "model_name"})
    assert "loaded" not in repr(rack)
    rack["a"]
    assert "a: " in repr(rack)
    assert "(loaded)" in repr(rack)
