"""What TensorFlow 2 exports: modules with functions, Keras models, several signatures, state behind functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf2
import tensorflow.compat.v1 as tf
from endtoend.layers import integers, normal, uniform
from recording import Call, record_opened
from tf_models import session

import graphrack as gr


@pytest.fixture(autouse=True)
def _second() -> Iterator[None]:
    """TensorFlow 2's ways, whatever tests before this one have set."""
    resources, functional = tf.resource_variables_enabled(), tf.control_flow_v2_enabled()
    tf.enable_resource_variables()
    tf.enable_control_flow_v2()
    tf2.random.set_seed(0)
    yield
    if not resources:
        tf.disable_resource_variables()
    if not functional:
        tf.disable_control_flow_v2()


def same(found: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    expected = {key: np.asarray(value) for key, value in expected.items()}
    found = found if isinstance(found, dict) else dict.fromkeys(expected, found)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert np.asarray(found[key]).dtype == value.dtype, key
        np.testing.assert_allclose(found[key], value, rtol=rtol, atol=atol, err_msg=key)


def judge(module: Any, folder: Path, feeds: dict[str, dict[str, Any]], signatures: Any = None) -> gr.Model:
    """Saves; then each signature, in order, by TensorFlow's loader and by graphrack."""
    tf2.saved_model.save(module, str(folder), signatures=signatures)
    loaded = tf2.saved_model.load(str(folder))
    calls = []
    for signature, values in feeds.items():
        expected = loaded.signatures[signature](**{k: tf2.constant(v) for k, v in values.items()})
        calls.append(Call(signature, values, {key: np.asarray(value) for key, value in expected.items()}))
    record_opened(folder, calls=calls, rtol=1e-4, atol=1e-5)
    model = gr.load(folder)
    for call in calls:
        same(model(call.inputs, signature=call.signature), call.outputs)
    return model


def _spec(*shape: int | None, dtype: Any = tf2.float32, name: str = "x") -> Any:
    return tf2.TensorSpec(shape, dtype, name)


def test_a_module_with_functions_that_call_each_other(tmp_path: Path) -> None:
    class Network(tf2.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf2.Variable(normal(3, 4), name="w")
            self.b = tf2.Variable(tf2.zeros(4), name="b")

        @tf2.function
        def layer(self, x: Any) -> Any:
            return tf2.nn.relu(x @ self.w + self.b)

        @tf2.function(input_signature=[_spec(None, 3)])
        def predict(self, x: Any) -> Any:
            total = tf2.zeros([4])
            for i in tf2.range(tf2.shape(x)[0]):
                if tf2.reduce_sum(x[i]) > 0:
                    total += self.layer(x[i : i + 1])[0]
                else:
                    total -= 1.0
            return {"total": total, "all": self.layer(x)}

    module = Network()
    judge(module, tmp_path, {"serving_default": {"x": normal(5, 3)}}, module.predict)


def test_several_signatures_share_variables_and_state(tmp_path: Path) -> None:
    class Counter(tf2.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total = tf2.Variable(0.0)
            self.calls = tf2.Variable(0, dtype=tf2.int64)

        @tf2.function(input_signature=[_spec()])
        def add(self, x: Any) -> Any:
            self.calls.assign_add(1)
            return {"total": self.total.assign_add(x), "calls": self.calls.read_value()}

        @tf2.function(input_signature=[])
        def mean(self) -> Any:
            return {"mean": tf2.math.divide_no_nan(self.total, tf2.cast(self.calls, tf2.float32))}

    module = Counter()
    signatures = {"add": module.add, "mean": module.mean}
    tf2.saved_model.save(module, str(tmp_path), signatures=signatures)
    loaded, model = tf2.saved_model.load(str(tmp_path)), gr.load(tmp_path)
    for x in (1.5, 2.0, -4.0):
        same(model(x, signature="add"), loaded.signatures["add"](x=tf2.constant(x)))
        same(model(signature="mean"), loaded.signatures["mean"]())


def test_a_training_step_exported_as_a_signature(tmp_path: Path) -> None:
    class Trainer(tf2.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf2.Variable(normal(4, 2), name="w")
            self.velocity = tf2.Variable(tf2.zeros([4, 2]), name="velocity")

        @tf2.function(input_signature=[_spec(None, 4), _spec(None, dtype=tf2.int32, name="y")])
        def train(self, x: Any, y: Any) -> Any:
            with tf2.GradientTape() as tape:
                losses = tf2.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=x @ self.w)
                loss = tf2.reduce_mean(losses)
            gradient = tape.gradient(loss, self.w)
            self.velocity.assign(0.9 * self.velocity + gradient)
            self.w.assign_sub(0.1 * self.velocity)
            return {"loss": loss}

    module = Trainer()
    tf2.saved_model.save(module, str(tmp_path), signatures={"train": module.train})
    loaded, model = tf2.saved_model.load(str(tmp_path)), gr.load(tmp_path)
    for i in range(5):
        values = {"x": normal(6, 4, seed=i), "y": integers(2, 6, seed=i)}
        constants = {k: tf2.constant(v) for k, v in values.items()}
        same(model(values, signature="train"), loaded.signatures["train"](**constants))
    np.testing.assert_allclose(model.variables["w"], loaded.w.numpy(), rtol=1e-5, atol=1e-6)


def test_text_in_by_tables_with_assets(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("red\ngreen\nblue\n")

    class Text(tf2.Module):
        def __init__(self) -> None:
            super().__init__()
            initializer = tf2.lookup.TextFileInitializer(
                str(words),
                tf2.string,
                tf2.lookup.TextFileIndex.WHOLE_LINE,
                tf2.int64,
                tf2.lookup.TextFileIndex.LINE_NUMBER,
            )
            self.table = tf2.lookup.StaticVocabularyTable(initializer, 2)
            self.embedding = tf2.Variable(normal(5, 3))

        @tf2.function(input_signature=[_spec(None, dtype=tf2.string, name="text")])
        def embed(self, text: Any) -> Any:
            tokens = tf2.strings.split(tf2.strings.lower(text))
            ids = self.table.lookup(tokens.flat_values)
            rows = tf2.gather(self.embedding, ids)
            mean = tf2.math.segment_mean(rows, tokens.value_rowids())
            return {"ids": ids, "mean": mean, "lengths": tokens.row_lengths()}

    module = Text()
    values = {"text": np.array([b"Red green", b"mauve", b"blue  red red"], object)}
    model = judge(module, tmp_path / "saved", {"serving_default": values}, module.embed)
    words.unlink()  # the SavedModel has its own copy
    assert gr.load(tmp_path / "saved")(values)["ids"].tolist() == model(values)["ids"].tolist()


KERAS = {
    "dense": lambda layers: [layers.Input([6]), layers.Dense(5, "gelu"), layers.Dropout(0.5), layers.Dense(3, "softmax")],
    "convolutional": lambda layers: [
        layers.Input([8, 8, 3]), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(),
        layers.SeparableConv2D(5, 3, padding="same"), layers.MaxPooling2D(), layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    ],
    "recurrent": lambda layers: [
        layers.Input([5], dtype="int32"), layers.Embedding(9, 4), layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        layers.GRU(4), layers.LayerNormalization(), layers.Dense(1, "sigmoid"),
    ],
    "transposed": lambda layers: [
        layers.Input([4]), layers.Dense(8, "leaky_relu"), layers.Reshape([2, 2, 2]), layers.UpSampling2D(),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="tanh"), layers.Flatten(),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", KERAS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_keras_models_as_exported(name: str, tmp_path: Path) -> None:
    keras = tf2.keras
    network = keras.Sequential(KERAS[name](keras.layers))
    shape = (3, *network.input_shape[1:])
    x = integers(9, *shape) if name == "recurrent" else uniform(*shape)
    expected = np.asarray(network(x, training=False))
    network.export(str(tmp_path), verbose=False)
    found = gr.load(tmp_path)(x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_several_signatures_of_tensorflow_1(tmp_path: Path) -> None:
    with session() as sess:
        x, text = tf.placeholder(tf.float32, [None, 4], name="x"), tf.placeholder(tf.string, [None], name="text")
        w = tf.get_variable("w", initializer=normal(4, 3))
        scores = tf.nn.softmax(tf.matmul(x, w))
        classes = tf.tile(tf.constant([["a", "b", "c"]]), [tf.shape(x)[0], 1])
        value = tf.reduce_sum(scores * [[1.0, 2.0, 3.0]], 1)
        doubled = tf.strings.join([text, text], "+")
        sess.run(w.initializer)
        signatures = {
            "classify": tf.saved_model.classification_signature_def(text, classes, scores),
            "regress": tf.saved_model.regression_signature_def(text, value),
            "predict": tf.saved_model.predict_signature_def({"x": x}, {"scores": scores, "value": value}),
            "double": tf.saved_model.predict_signature_def({"text": text}, {"out": doubled}),
        }
        builder = tf.saved_model.Builder(str(tmp_path / "m"))
        builder.add_meta_graph_and_variables(sess, ["serve", "cpu"], signatures)
        builder.save()
        data = normal(2, 4)
        expected = sess.run({"scores": scores, "value": value}, {x: data})
    model = gr.load(tmp_path / "m")
    assert set(model.signatures) == set(signatures)
    same(model(x=data, signature="predict"), expected)
    assert model(text=["a", "b"], signature="double").tolist() == [b"a+a", b"b+b"]
    np.testing.assert_allclose(model.run(value.name, {"x:0": data}), expected["value"], rtol=1e-5)
    with pytest.raises(gr.AmbiguousOutput):
        model(data)
