"""Models written in many styles and saved in every form, opened and compared with TensorFlow: outputs, variables,
training. The styles are in `tf_styles.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import saved_model_pb2
from tf_models import session
from tf_styles import STYLES, Style

import graphrack as gr

TRAINED = 2
"""Steps before saving: slots of optimizers have values then."""


@contextlib.contextmanager
def building(resource: bool = False) -> Iterator[Any]:
    """A session to build in, with TF1's control flow and the kind of variables asked for."""
    v2 = tf.control_flow_v2_enabled()
    verbosity = tf.logging.get_verbosity()
    tf.logging.set_verbosity(tf.logging.ERROR)
    tf.disable_control_flow_v2()
    try:
        with session() as sess:
            if resource:
                tf.enable_resource_variables()
            yield sess
    finally:
        tf.logging.set_verbosity(verbosity)
        if v2:
            tf.enable_control_flow_v2()


def tensor_feeds(feeds: dict[str, Any]) -> dict[str, Any]:
    return {name if ":" in name else f"{name}:0": value for name, value in feeds.items()}


def initialized(sess: Any) -> None:
    sess.run([tf.global_variables_initializer(), tf.local_variables_initializer(), tf.tables_initializer()])


def values(sess: Any) -> dict[str, Any]:
    every = tf.global_variables() + tf.local_variables()
    found: dict[str, Any] = dict(zip([v.op.name for v in every], sess.run(every), strict=True))
    return found


def assert_same(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    if isinstance(expected, tuple):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert_same(a, b, tolerance)
        return
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    if expected.dtype == object or tolerance == 0:
        assert found.dtype == expected.dtype
        assert found.tolist() == expected.tolist()
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("build", STYLES, ids=lambda build: build.__name__)
def test_outputs_variables_and_training_are_tensorflow_s(
    build: Callable[[], Style], resource: bool, tmp_path: Path
) -> None:
    prefix = str(tmp_path / "m")
    with building(resource) as sess:
        style = build()
        feeds = tensor_feeds(style.feeds)
        initialized(sess)
        for _ in range(TRAINED if style.train else 0):
            sess.run(style.train, feeds)
        tf.train.Saver(tf.global_variables() + tf.local_variables()).save(sess, prefix)
        saved = values(sess)
    # A session of its own: random numbers depend on how often a session drew some.
    with building(resource) as sess:
        tf.train.import_meta_graph(f"{prefix}.meta").restore(sess, prefix)
        sess.run(tf.tables_initializer())
        outputs = sess.run([tuple(sess.graph.get_operation_by_name(n.partition(":")[0]).outputs) for n in style.fetches],
                           feeds)  # fmt: skip
        steps = []
        for _ in range(3 if style.train else 0):
            sess.run(style.train, feeds)
            steps.append(values(sess))

    model = gr.load(prefix)
    assert set(model.variables) == set(saved)
    for name, value in saved.items():
        assert_same(model.variables[name], value, 0)
    found = model.run([name.partition(":")[0] for name in style.fetches], style.feeds)
    for a, b in zip(found, outputs, strict=True):
        assert_same(a, b if len(b) > 1 else b[0])
    for step in steps:
        model.run(style.train, style.feeds)
        for name, value in step.items():
            assert_same(model.variables[name], value, 1e-4)


# Savers


def two_variables(sess: Any) -> Any:
    a = tf.get_variable(
        "scope/a", [6, 2], initializer=tf.glorot_uniform_initializer(seed=2), partitioner=tf.fixed_size_partitioner(2)
    )
    b = tf.Variable([5, 6], name="b")
    x = tf.placeholder(tf.float32, [], name="x")
    out = tf.add(tf.reduce_sum(tf.convert_to_tensor(a)) * x, tf.cast(tf.reduce_sum(b), tf.float32), name="out")
    initialized(sess)
    return a, b, out


SAVERS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "plain": lambda a, b: {},
    "version 1": lambda a, b: {"write_version": tf.train.SaverDef.V1},
    "sharded": lambda a, b: {"sharded": True},
    "sharded, version 1": lambda a, b: {"sharded": True, "write_version": tf.train.SaverDef.V1},
    "reshaping": lambda a, b: {"reshape": True},
    "named": lambda a, b: {"name": "my_saver"},
    "renaming": lambda a, b: {"var_list": {"old/a": a, "old/b": b}},
    "one by one": lambda a, b: {"restore_sequentially": True},
    "relative": lambda a, b: {"save_relative_paths": True, "max_to_keep": 1},
    "padded": lambda a, b: {"pad_step_number": True},
}


@pytest.mark.parametrize("options", SAVERS.values(), ids=SAVERS.keys())
@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_every_kind_of_saver_s_files_open_and_are_saved_again_for_tensorflow(
    options: Callable[[Any, Any], dict[str, Any]], resource: bool, tmp_path: Path
) -> None:
    with building(resource) as sess:
        a, b, out = two_variables(sess)
        saver = tf.train.Saver(**options(a, b))
        prefix = saver.save(sess, str(tmp_path / "m"), global_step=7)
        expected = sess.run(out, {"x:0": 3.0})
    meta = next(tmp_path.glob("*.meta"))
    for path in (prefix, meta, tmp_path):
        assert gr.load(path)(x=3.0) == pytest.approx(expected, rel=1e-5)
    model = gr.load(prefix)
    assert model.variables["b"].tolist() == [5, 6]
    assert list(model.inputs) == ["x"]
    model.variables["b"] = [50, 60]
    (tmp_path / "again").mkdir()
    again = model.save(tmp_path / "again" / "m")
    with building(resource) as sess:
        tf.train.import_meta_graph(str(tmp_path / "again" / "m.meta")).restore(sess, again)
        assert sess.run("out:0", {"x:0": 3.0}) == pytest.approx(expected + 99, rel=1e-5)


def test_a_text_meta_graph_opens(tmp_path: Path) -> None:
    with building() as sess:
        two_variables(sess)
        tf.train.Saver().save(sess, str(tmp_path / "m"), write_meta_graph=False)
        tf.train.export_meta_graph(str(tmp_path / "m.meta"), as_text=True, graph=sess.graph)
    # It was exported without its Saver, so nothing tells how to restore: values go in by name.
    assert gr.load(tmp_path / "m").variables["b"].tolist() == [5, 6]


def test_two_savers_of_one_graph_are_kept_apart(tmp_path: Path) -> None:
    with building() as sess:
        first, second = tf.Variable(1.0, name="first"), tf.Variable(2.0, name="second")
        tf.add(first, second, name="sum")
        initialized(sess)
        tf.train.Saver([first]).save(sess, str(tmp_path / "one"))
        tf.train.Saver([second]).save(sess, str(tmp_path / "two"))
    model = gr.load(tmp_path / "one")
    assert model.variables["first"] == 1
    with pytest.raises(gr.UninitializedError, match="'second'"):
        model.run("sum")
    model.restore(tmp_path / "two", select=["second"])
    assert model.run("sum") == 3


# GraphDefs


@pytest.mark.parametrize("ending", ["pb", "pbtxt"])
def test_a_frozen_graph_gives_what_the_live_one_gave(ending: str, tmp_path: Path) -> None:
    build = next(b for b in STYLES if b.__name__ == "inference_of_batch_norm")
    with building() as sess:
        style = build()
        initialized(sess)
        expected = sess.run(style.fetches, tensor_feeds(style.feeds))
        frozen = tf.graph_util.convert_variables_to_constants(
            sess, sess.graph_def, [n.partition(":")[0] for n in style.fetches]
        )
        tf.io.write_graph(frozen, str(tmp_path), f"frozen.{ending}", as_text=ending == "pbtxt")
    model = gr.load(tmp_path / f"frozen.{ending}")
    assert not model.variables
    for a, b in zip(model.run(style.fetches, style.feeds), expected, strict=True):
        assert_same(a, b)


def test_a_text_graph_takes_its_values_from_a_checkpoint(tmp_path: Path) -> None:
    with building() as sess:
        _, _, out = two_variables(sess)
        tf.train.Saver().save(sess, str(tmp_path / "values"))
        tf.io.write_graph(sess.graph_def, str(tmp_path), "graph.pbtxt", as_text=True)
        expected = sess.run(out, {"x:0": 2.0})
    assert gr.load(tmp_path / "graph.pbtxt", checkpoint=tmp_path / "values")(2.0) == pytest.approx(expected, rel=1e-5)


# SavedModels


def test_a_simple_saved_model_is_called_by_its_keys(tmp_path: Path) -> None:
    with building() as sess:
        x = tf.placeholder(tf.float32, [None, 2], name="deep/inside/x")
        y = tf.matmul(x, tf.get_variable("w", [2, 3], initializer=tf.ones_initializer()))
        initialized(sess)
        tf.saved_model.simple_save(sess, str(tmp_path / "m"), {"features": x}, {"scores": y})
    model = gr.load(tmp_path / "m")
    assert list(model.inputs) == ["features"]
    assert list(model.outputs) == ["scores"]
    assert model(features=[[1, 2]]).tolist() == [[3, 3, 3]]
    assert model([[1, 2]]).tolist() == [[3, 3, 3]]
    with pytest.raises(gr.FeedError, match=r"\[\?, 2\].*\[1, 3\]"):
        model(features=[[1, 2, 3]])


def test_tags_choose_a_meta_graph_of_a_saved_model(tmp_path: Path) -> None:
    folder = str(tmp_path / "m")
    builder = tf.saved_model.Builder(folder)
    for number, tags in enumerate((["train", "gpu"], ["serve"], ["serve", "gpu"])):
        with building() as sess:
            x = tf.placeholder(tf.float32, name="x")
            w = tf.Variable(2.0, name="w")
            y = tf.multiply(x, w + number, name="y")
            initialized(sess)
            signature = tf.saved_model.predict_signature_def({"x": x}, {"y": y})
            arguments = {"signature_def_map": {"serving_default": signature}}
            if number == 0:
                builder.add_meta_graph_and_variables(sess, tags, **arguments)
            else:
                builder.add_meta_graph(tags, saver=tf.train.Saver(), **arguments)
    builder.save()
    assert gr.load(folder, tags=["gpu", "train"])(3) == 6
    assert gr.load(folder, tags="serve")(3) == 9
    assert gr.load(folder, tags={"serve", "gpu"})(3) == 12
    with pytest.raises(gr.GraphrackError, match=r"serve.*train|train.*serve"):
        gr.load(folder, tags={"tpu"})


def test_signatures_with_assets_and_an_init_op_run(tmp_path: Path) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("red\ngreen\nblue\n")
    with building() as sess:
        words = tf.placeholder(tf.string, [None], name="words")
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
                                          tf.lookup.TextFileIndex.LINE_NUMBER), 1)  # fmt: skip
        counter = tf.Variable(0, name="counter")
        with tf.control_dependencies([tf.tables_initializer()]):
            init = tf.assign_add(counter, 5).op
        ids = table.lookup(words)
        initialized(sess)
        builder = tf.saved_model.Builder(str(tmp_path / "m"))
        builder.add_meta_graph_and_variables(
            sess,
            ["serve"],
            {
                "classify": tf.saved_model.classification_signature_def(
                    words, tf.as_string(ids), tf.cast(ids, tf.float32)
                ),
                "ids": tf.saved_model.predict_signature_def({"words": words}, {"ids": ids}),
            },
            assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
            main_op=init,
        )
        builder.save()
    vocabulary.unlink()
    model = gr.load(tmp_path / "m")
    assert model(["blue", "pink"], signature="ids").tolist() == [2, 3]
    both = model(inputs=["green"], signature="classify")
    assert both["classes"].tolist() == [b"1"]
    assert both["scores"].tolist() == [1.0]
    assert model.variables["counter"] == 5
    with pytest.raises(gr.AmbiguousOutput, match="classify"):
        model(["blue"])
    damaged = saved_model_pb2.SavedModel.FromString((tmp_path / "m" / "saved_model.pb").read_bytes())
    damaged.meta_graphs[0].asset_file_def.add(filename="words.txt").tensor_info.name = "no\0where:0"
    (tmp_path / "m" / "saved_model.pb").write_bytes(damaged.SerializeToString())
    with pytest.raises(gr.GraphError, match=r"words\.txt' fed to 'no\\x00where:0': the graph has no tensor"):
        gr.load(tmp_path / "m")(["blue"], signature="ids")


class Layered(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3), name="w", use_resource=True)
        self.count = tf.Variable(0, name="count", use_resource=True)
        self.parts = [tf.Variable(float(i), name=f"part{i}", use_resource=True) for i in range(2)]

    def signature(self) -> Any:
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def serve(x: Any) -> Any:
            self.count.assign_add(1)
            if tf.reduce_sum(x) > 0:
                y = tf.matmul(x, self.w)
            else:
                y = tf.zeros([tf.shape(x)[0], 3]) + self.parts[1]
            return {"y": y, "count": self.count.read_value()}

        return serve


def test_a_module_of_tensorflow_2_keeps_its_state_from_call_to_call(tmp_path: Path) -> None:
    import tensorflow as tf2

    module = Layered()
    tf2.saved_model.save(module, str(tmp_path / "m"), signatures=module.signature())
    model = gr.load(tmp_path / "m")
    first, second = model(x=[[1, 2]]), model(x=[[-1, -2]])
    assert first["y"].tolist() == [[6, 9, 12]]
    assert second["y"].tolist() == [[1, 1, 1]]
    assert (first["count"], second["count"]) == (1, 2)


def test_a_keras_model_gives_what_keras_gives(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(3)
    network = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(),
            keras.layers.DepthwiseConv2D(3, padding="same"),
            keras.layers.LayerNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(5, activation="gelu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    network.export(str(tmp_path / "m"), verbose=False)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype(np.float32)
    model = gr.load(tmp_path / "m")
    np.testing.assert_allclose(model(images), network(images).numpy(), atol=1e-6)
