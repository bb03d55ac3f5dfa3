"""Train the models that the demo opens, with TensorFlow, the way pages about TensorFlow 1 teach it.

    pip install "graphrack[tensorflow]" scikit-learn
    python examples/train_models.py                  # train all, measure all (half a minute)
    python examples/train_models.py --measure-only   # write expected.* and README.md anew from the files

Everything lands in `examples/models/`. Seeds are fixed and sessions use one thread, so that the same
TensorFlow on the same kind of processor makes the same values again. What TensorFlow itself computes from
the saved files goes to `expected.npz` and `expected.json`: the demo and the tests compare with it, without
TensorFlow.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# oneDNN picks its kernels, and with them the rounding, by processor.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow.compat.v1 as tf
from digits import Digits, accuracy, held_back, petals, training, vote
from numpy.typing import NDArray

MODELS = Path(__file__).resolve().parent / "models"
MLP_SEEDS = range(5)
CONV_STEPS = 5000
SAVE_EVERY = 1000
SERVE = tf.saved_model.tag_constants.SERVING


def session() -> Any:
    """A session on one thread, for reproducible sums, that runs GPU graphs where there is no GPU."""
    return tf.Session(
        config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1, allow_soft_placement=True)
    )


def batches(data: Digits, size: int, steps: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices of `steps` random batches of `size` images."""
    random = np.random.default_rng(seed)
    for _ in range(steps):
        yield random.integers(len(data), size=size)


def weight_variable(shape: list[int]) -> Any:
    return tf.Variable(tf.truncated_normal(shape, stddev=0.1))


def bias_variable(shape: list[int]) -> Any:
    return tf.Variable(tf.constant(0.1, shape=shape))


def cross_entropy_of(logits: Any, y: Any) -> Any:
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))


def train_conv(folder: Path) -> None:
    """A convolutional classifier: dropout, Adam, a checkpoint every 1000 steps and one at the end."""
    data, seed = training(), 1
    with tf.Graph().as_default(), session() as sess:
        tf.set_random_seed(seed)
        x = tf.placeholder(tf.float32, [None, 64], name="x")
        y = tf.placeholder(tf.float32, [None, 10], name="y")
        keep_prob = tf.placeholder_with_default(1.0, [], name="keep_prob")

        image = tf.reshape(x, [-1, 8, 8, 1])
        conv1 = tf.nn.conv2d(image, weight_variable([3, 3, 1, 8]), [1, 1, 1, 1], "SAME")
        relu1 = tf.nn.relu(conv1 + bias_variable([8]))
        pool1 = tf.nn.max_pool(relu1, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
        conv2 = tf.nn.conv2d(pool1, weight_variable([3, 3, 8, 16]), [1, 1, 1, 1], "SAME")
        relu2 = tf.nn.relu(conv2 + bias_variable([16]))
        pool2 = tf.nn.max_pool(relu2, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
        flat = tf.reshape(pool2, [-1, 2 * 2 * 16])
        dense = tf.nn.relu(tf.matmul(flat, weight_variable([64, 48])) + bias_variable([48]))
        dropped = tf.nn.dropout(dense, keep_prob=keep_prob)
        logits = tf.matmul(dropped, weight_variable([48, 10])) + bias_variable([10])
        activation = tf.nn.softmax(logits, name="activation_opt")
        tf.add_to_collection("activation", activation)

        cross_entropy = cross_entropy_of(logits, y)
        train_step = tf.train.AdamOptimizer(2e-3).minimize(cross_entropy, name="train_step")
        correct = tf.equal(tf.argmax(activation, 1), tf.argmax(y, 1))
        tf.reduce_mean(tf.cast(correct, tf.float32), name="accuracy")

        saver = tf.train.Saver()
        sess.run(tf.global_variables_initializer())
        prefix = str(folder / "model_name")
        for i, batch in enumerate(batches(data, 50, CONV_STEPS, seed)):
            if i % SAVE_EVERY == 0:
                saver.save(sess, prefix, global_step=i)
            sess.run(train_step, {x: data.pixels[batch], y: data.one_hot[batch], keep_prob: 0.5})
        # The sixth of max_to_keep=5: the Saver removes model_name-0.
        saver.save(sess, prefix)


def train_mlp(folder: Path, seed: int, device: str = "") -> None:
    """One of the five fully connected classifiers: the same structure and names, other values."""
    data = training()
    with tf.Graph().as_default(), tf.device(device), session() as sess:
        tf.set_random_seed(seed)
        x = tf.placeholder(tf.float32, [None, 64], name="x")
        y = tf.placeholder(tf.float32, [None, 10], name="y")
        hidden = tf.nn.relu(tf.matmul(x, weight_variable([64, 32])) + bias_variable([32]))
        logits = tf.matmul(hidden, weight_variable([32, 10])) + bias_variable([10])
        activation = tf.nn.softmax(logits, name="activation_opt")
        tf.add_to_collection("activation", activation)
        train_step = tf.train.AdamOptimizer(2e-3).minimize(cross_entropy_of(logits, y), name="train_step")

        saver = tf.train.Saver()
        sess.run(tf.global_variables_initializer())
        for batch in batches(data, 50, 4000, seed):
            sess.run(train_step, {x: data.pixels[batch], y: data.one_hot[batch]})
        saver.save(sess, str(folder / "model_name"))


def train_cubic(folder: Path) -> None:
    """The width of an iris's petal as a cubic of its length."""
    length, width = petals()
    with tf.Graph().as_default(), session() as sess:
        x = tf.placeholder(tf.float32, name="x")
        y = tf.placeholder(tf.float32, name="y")
        a = tf.Variable(0.0)
        b = tf.Variable(0.0)
        c = tf.Variable(0.0)
        d = tf.Variable(0.0)
        cubic = tf.multiply(a, tf.pow(x, 3))
        square = tf.multiply(b, tf.pow(x, 2))
        linear = tf.multiply(c, x)
        activation = tf.add(tf.add(tf.add(cubic, square), linear), d, name="activation_opt")
        tf.add_to_collection("activation", activation)
        cost = tf.reduce_mean(tf.square(activation - y), name="cost")
        train_step = tf.train.AdamOptimizer(0.01).minimize(cost, name="train_step")

        saver = tf.train.Saver(max_to_keep=3)
        sess.run(tf.global_variables_initializer())
        prefix = str(folder / "model_name")
        for i in range(40_000):
            if i % 10_000 == 0:
                saver.save(sess, prefix, global_step=i)
            sess.run(train_step, {x: length, y: width})
        saver.save(sess, prefix)


def train_saved_model(folder: Path) -> None:
    """A SavedModel of two signatures that takes raw pixels; its variables are resources."""
    data, seed = training(), 2
    with tf.Graph().as_default(), session() as sess:
        tf.set_random_seed(seed)

        def variable(name: str, shape: list[int]) -> Any:
            initializer = tf.glorot_uniform_initializer() if len(shape) > 1 else tf.zeros_initializer()
            return tf.get_variable(name, shape, initializer=initializer, use_resource=True)

        raw = tf.placeholder(tf.uint8, [None, 8, 8], name="images")
        y = tf.placeholder(tf.float32, [None, 10], name="labels")
        image = tf.expand_dims(tf.cast(raw, tf.float32) / 16.0, -1)
        with tf.variable_scope("conv1"):
            conv = tf.nn.conv2d(image, variable("kernel", [3, 3, 1, 12]), strides=1, padding="SAME")
            hidden = tf.nn.elu(tf.nn.bias_add(conv, variable("bias", [12])))
            hidden = tf.nn.avg_pool(hidden, 2, 2, "VALID")
        with tf.variable_scope("conv2"):
            conv = tf.nn.conv2d(hidden, variable("kernel", [3, 3, 12, 24]), strides=1, padding="VALID")
            hidden = tf.nn.elu(tf.nn.bias_add(conv, variable("bias", [24])))
        with tf.variable_scope("dense"):
            flat = tf.reshape(hidden, [tf.shape(hidden)[0], 2 * 2 * 24])
            logits = tf.nn.bias_add(tf.matmul(flat, variable("kernel", [96, 10])), variable("bias", [10]))
        probabilities = tf.nn.softmax(logits, name="probabilities")
        best = tf.argmax(probabilities, axis=-1, name="class")
        score = tf.reduce_max(probabilities, axis=-1, name="score")
        train_step = tf.train.AdamOptimizer(2e-3).minimize(cross_entropy_of(logits, y), name="train_step")

        sess.run(tf.global_variables_initializer())
        for batch in batches(data, 50, 1500, seed):
            sess.run(train_step, {raw: data.raw[batch], y: data.one_hot[batch]})

        def signature(**outputs: Any) -> Any:
            return tf.saved_model.predict_signature_def({"images": raw}, outputs)

        builder = tf.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            sess,
            [SERVE],
            signature_def_map={
                "serving_default": signature(probabilities=probabilities),
                "classify": signature(**{"class": best, "score": score}),
            },
        )
        builder.save()


def depthwise_network(image: Any, is_training: bool) -> Any:
    """Logits of a small network of separable convolutions, each followed by batch norm and ReLU6."""

    def normalised(value: Any) -> Any:
        channels = value.shape[-1]
        gamma = tf.get_variable("gamma", [channels], initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", [channels], initializer=tf.zeros_initializer())
        moving = {"trainable": False, "shape": [channels]}
        mean = tf.get_variable("moving_mean", initializer=tf.zeros_initializer(), **moving)
        variance = tf.get_variable("moving_variance", initializer=tf.ones_initializer(), **moving)
        if not is_training:
            value, _, _ = tf.nn.fused_batch_norm(value, gamma, beta, mean, variance, is_training=False)
            return tf.nn.relu6(value)
        value, batch_mean, batch_variance = tf.nn.fused_batch_norm(value, gamma, beta)
        for kept, now in ((mean, batch_mean), (variance, batch_variance)):
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, tf.assign_sub(kept, 0.05 * (kept - now)))
        return tf.nn.relu6(value)

    def convolution(scope: str, value: Any, channels: int, size: int) -> Any:
        with tf.variable_scope(scope):
            kernel = tf.get_variable("kernel", [size, size, value.shape[-1], channels])
            return normalised(tf.nn.conv2d(value, kernel, strides=1, padding="SAME"))

    def separable(scope: str, value: Any, channels: int) -> Any:
        with tf.variable_scope(scope), tf.variable_scope("depthwise"):
            kernel = tf.get_variable("kernel", [3, 3, value.shape[-1], 1])
            value = normalised(tf.nn.depthwise_conv2d(value, kernel, [1, 2, 2, 1], "SAME"))
        with tf.variable_scope(scope):
            return convolution("pointwise", value, channels, size=1)

    value = convolution("conv", image, 16, size=3)
    value = separable("block1", value, 32)
    value = separable("block2", value, 64)
    pooled = tf.reduce_mean(value, axis=[1, 2], name="pooled")
    with tf.variable_scope("classifier"):
        kernel = tf.get_variable("kernel", [pooled.shape[-1], 10])
        bias = tf.get_variable("bias", [10], initializer=tf.zeros_initializer())
        return tf.nn.bias_add(tf.matmul(pooled, kernel), bias)


def train_frozen(path: Path) -> None:
    """A network with batch norms, trained, rebuilt for inference, and frozen to a single file."""
    data, seed = training(), 3
    with tempfile.TemporaryDirectory() as scratch:
        prefix = str(Path(scratch) / "trained")
        with tf.Graph().as_default(), session() as sess:
            tf.set_random_seed(seed)
            image = tf.placeholder(tf.float32, [None, 8, 8, 1], name="input")
            y = tf.placeholder(tf.float32, [None, 10])
            cost = cross_entropy_of(depthwise_network(image, is_training=True), y)
            with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
                train_step = tf.train.AdamOptimizer(3e-3).minimize(cost)
            sess.run(tf.global_variables_initializer())
            for batch in batches(data, 64, 2000, seed):
                sess.run(train_step, {image: data.images[batch], y: data.one_hot[batch]})
            tf.train.Saver().save(sess, prefix)
        with tf.Graph().as_default() as graph, session() as sess:
            image = tf.placeholder(tf.float32, [None, 8, 8, 1], name="input")
            tf.nn.softmax(depthwise_network(image, is_training=False), name="probabilities")
            tf.train.Saver().restore(sess, prefix)
            frozen = tf.graph_util.convert_variables_to_constants(sess, graph.as_graph_def(), ["probabilities"])
    tf.train.write_graph(frozen, str(path.parent), path.name, as_text=False)


def train_all() -> None:
    """Train every model into `models/`, replacing what is there."""
    # A relative folder makes the `checkpoint` files hold paths that stay right wherever the folder goes.
    os.chdir(MODELS.parent)
    models = Path(MODELS.name)
    makers: dict[str, Callable[[Path], None]] = {"digits_conv": train_conv, "cubic": train_cubic}
    for seed in MLP_SEEDS:
        # The last as if it came from a machine with a GPU: each of its nodes names that device.
        device = "/device:GPU:0" if seed == MLP_SEEDS[-1] else ""
        makers[f"digits_mlp_{seed}"] = lambda folder, s=seed, d=device: train_mlp(folder, s, d)  # type: ignore[misc]
    makers["digits_saved_model"] = train_saved_model
    makers["digits_frozen.pb"] = train_frozen
    for name, make in makers.items():
        print(f"training {name}", flush=True)
        if (models / name).is_dir():
            shutil.rmtree(models / name)
        make(models / name)


def from_checkpoint(prefix: Path, feeds: dict[str, Any], meta: Path | None = None) -> NDArray[Any]:
    """What TensorFlow computes for `activation_opt` from a saved checkpoint."""
    with tf.Graph().as_default() as graph, session() as sess:
        saver = tf.train.import_meta_graph(f"{meta or prefix}.meta", clear_devices=True)
        saver.restore(sess, str(prefix))
        output = graph.get_operation_by_name("activation_opt").outputs[0]
        return np.asarray(sess.run(output, feeds))


def from_saved_model(folder: Path, signature: str, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """What TensorFlow computes for one signature of a SavedModel."""
    with tf.Graph().as_default(), session() as sess:
        chosen = tf.saved_model.loader.load(sess, [SERVE], str(folder)).signature_def[signature]
        outputs = {key: info.name for key, info in chosen.outputs.items()}
        found: dict[str, NDArray[Any]] = sess.run(outputs, {chosen.inputs["images"].name: images})
        return found


def from_frozen(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What TensorFlow computes from the frozen graph."""
    definition = tf.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default(), session() as sess:
        tf.import_graph_def(definition, name="")
        return np.asarray(sess.run("probabilities:0", {"input:0": images}))


def steps_kept(folder: Path) -> list[int]:
    found = (path.stem.removeprefix("model_name-") for path in folder.glob("model_name-*.index"))
    return sorted(int(step) for step in found)


def measure() -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What TensorFlow says of the saved files: outputs by key, and a summary for `expected.json`."""
    test = held_back()
    outputs: dict[str, NDArray[Any]] = {}
    names = ["digits_conv", *(f"digits_mlp_{seed}" for seed in MLP_SEEDS)]
    for name in names:
        outputs[name] = from_checkpoint(MODELS / name / "model_name", {"x:0": test.pixels})
    outputs["digits_saved_model"] = from_saved_model(MODELS / "digits_saved_model", "serving_default", test.raw)[
        "probabilities"
    ]
    outputs["digits_frozen.pb"] = from_frozen(MODELS / "digits_frozen.pb", test.images)
    accuracies = {name: accuracy(found, test.labels) for name, found in outputs.items()}

    for key, value in from_saved_model(MODELS / "digits_saved_model", "classify", test.raw).items():
        outputs[f"digits_saved_model/classify/{key}"] = value
    outputs["vote"] = vote(np.stack([outputs[f"digits_mlp_{seed}"] for seed in MLP_SEEDS]))
    accuracies["vote"] = accuracy(outputs["vote"], test.labels)

    conv_steps = {}
    for step in steps_kept(MODELS / "digits_conv"):
        found = from_checkpoint(MODELS / f"digits_conv/model_name-{step}", {"x:0": test.pixels})
        outputs[f"digits_conv/{step}"] = found.argmax(axis=-1)
        conv_steps[str(step)] = accuracy(found, test.labels)

    length, width = petals()
    outputs["cubic"] = from_checkpoint(MODELS / "cubic/model_name", {"x:0": length})
    at_50 = from_checkpoint(MODELS / "cubic/model_name", {"x:0": 50})
    reader = tf.train.load_checkpoint(str(MODELS / "cubic/model_name"))
    names = ["Variable", "Variable_1", "Variable_2", "Variable_3"]
    summary = {
        "made_with": {"tensorflow": tf.__version__, "numpy": np.__version__},
        "held_back": len(test),
        "accuracy": accuracies,
        "digits_conv_steps": conv_steps,
        "cubic": {
            "at_50": float(at_50),
            "coefficients": [float(reader.get_tensor(name)) for name in names],
            "root_mean_square_error_cm": float(np.sqrt(np.mean((outputs["cubic"] - width) ** 2))),
            "steps": steps_kept(MODELS / "cubic"),
        },
    }
    return outputs, summary


README = """\
# The models of the demo

Trained and saved with TensorFlow {tensorflow} by [`train_models.py`](../train_models.py), which also wrote
this page. Accuracies are TensorFlow's, from these files, on the {held_back} held-back images of the UCI
handwritten digits ([`digits.py`](../digits.py) says which). `expected.npz` holds what TensorFlow computed for
each image, so that the demo and the tests compare value by value without TensorFlow; `expected.json` sums
it up.

| file | what it is | takes | gives | accuracy |
| --- | --- | --- | --- | --- |
{rows}

* `digits_conv/` holds a checkpoint of every 1000th step and one of the end, written by one `tf.train.Saver`
  with its default of five kept. The accuracies on the way:
  {steps}.
* The five `digits_mlp_*/` share structure and names (`Variable` … `Variable_3`) and differ by their seed.
  Each node of the last is placed on `/device:GPU:0`, as in a graph from a machine with a GPU. Their vote, the
  class that most of them name (`vote` in `digits.py`), is right for {vote} of the images.
* `cubic/` is a regression, `activation_opt` = a x³ + b x² + c x + d with a … d in `Variable` … `Variable_3`:
  the width of an iris's petal from its length, both in cm. Root mean square error: {rmse:.3f} cm. It keeps
  the checkpoints of steps {cubic_steps} and of the end.
* Of the SavedModel, `classify` gives `class` and `score` in place of all `probabilities`. Its variables are
  resources.
* The frozen graph has depthwise and pointwise convolutions, each followed by a batch norm and ReLU6.

The digits are from E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
Learning Repository, 1998 (CC BY 4.0), the irises from R. A. Fisher, 1936; both come with scikit-learn.
"""


def readme(summary: dict[str, Any]) -> str:
    """The page beside the models, from the measured summary."""
    checkpoint, x = "a checkpoint with its `.meta`", "`x` [n, 64]"
    described = {
        "digits_conv": ("`digits_conv/model_name`", f"{checkpoint}: two convolutions, dropout", x),
        **{
            f"digits_mlp_{seed}": (f"`digits_mlp_{seed}/model_name`", f"{checkpoint}: fully connected", x)
            for seed in MLP_SEEDS
        },
        "digits_saved_model": (
            "`digits_saved_model/`",
            "a SavedModel: signatures `serving_default` and `classify`",
            "`images` [n, 8, 8], uint8",
        ),
        "digits_frozen.pb": ("`digits_frozen.pb`", "a frozen GraphDef", "`input` [n, 8, 8, 1]"),
    }
    rows = [
        f"| {file} | {what} | {takes} | {gives_of(name)} | {summary['accuracy'][name]:.2%} |"
        for name, (file, what, takes) in described.items()
    ]
    rows.append(f"| `cubic/model_name` | {checkpoint}: a cubic curve | `x`, any shape | `activation_opt` | |")
    return README.format(
        tensorflow=summary["made_with"]["tensorflow"],
        held_back=summary["held_back"],
        rows="\n".join(rows),
        steps=", ".join(f"{share:.2%} (step {step})" for step, share in summary["digits_conv_steps"].items()),
        vote=f"{summary['accuracy']['vote']:.2%}",
        rmse=summary["cubic"]["root_mean_square_error_cm"],
        cubic_steps=", ".join(map(str, summary["cubic"]["steps"])),
    )


def gives_of(name: str) -> str:
    return "`activation_opt`" if name.startswith(("digits_conv", "digits_mlp")) else "`probabilities`"


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo's models with TensorFlow and measure them.")
    parser.add_argument("--measure-only", action="store_true", help="measure the files there are")
    arguments = parser.parse_args()
    # As the pages of TensorFlow 1: graphs, sessions, and variables that are not resources unless asked for.
    tf.disable_v2_behavior()
    tf.logging.set_verbosity(tf.logging.ERROR)
    MODELS.mkdir(exist_ok=True)
    if not arguments.measure_only:
        train_all()
    outputs, summary = measure()
    np.savez_compressed(MODELS / "expected.npz", allow_pickle=False, **outputs)
    (MODELS / "expected.json").write_text(json.dumps(summary, indent=2) + "\n")
    (MODELS / "README.md").write_text(readme(summary))
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
