"""Builds the networks with TensorFlow's graph API, with random weights, and has TensorFlow save them.

    python -m benchmarks.networks           all of them, where they aren't there yet
    python -m benchmarks.networks mlp bert  only these

Each comes as `frozen.pb`, as a checkpoint with its graph (`model.ckpt.*`), and as a SavedModel, in
`benchmarks/.work/networks/NAME`. A folder is built anew when this script changes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow.compat.v1 as tf

from benchmarks.zoo import NETWORKS, SMALL_MODELS, Network

WORK = Path(__file__).parent / ".work"

Tensor = Any


def _variable(name: str, shape: Sequence[int], spread: float, center: float = 0.0, trainable: bool = True) -> Tensor:
    initial = tf.truncated_normal_initializer(center, spread)
    return tf.get_variable(name, shape, initializer=initial, trainable=trainable)


def _dense(x: Tensor, units: int, name: str, activation: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    with tf.variable_scope(name):
        size = int(x.shape[-1])
        kernel = _variable("kernel", [size, units], (1.5 / size) ** 0.5)
        x = tf.nn.bias_add(tf.matmul(x, kernel), _variable("bias", [units], 0.05))
        return x if activation is None else activation(x)


def _batch_norm(x: Tensor, scale: float = 1.0) -> Tensor:
    """As in a graph made for inference: moving averages, `is_training` off."""
    with tf.variable_scope("batch_norm"):
        size = int(x.shape[-1])
        gamma, beta = _variable("gamma", [size], 0.1 * scale, scale), _variable("beta", [size], 0.1)
        mean = _variable("moving_mean", [size], 0.1, trainable=False)
        variance = _variable("moving_variance", [size], 0.1, 1.0, trainable=False)
        y, *_ = tf.nn.fused_batch_norm(x, gamma, beta, mean, variance, epsilon=1e-3, is_training=False)
        return y


def _conv(x: Tensor, filters: int, size: int, name: str, stride: int = 1, padding: str = "SAME") -> Tensor:
    with tf.variable_scope(name):
        depth = int(x.shape[-1])
        kernel = _variable("weights", [size, size, depth, filters], (2 / (size * size * depth)) ** 0.5)
        return tf.nn.conv2d(x, kernel, [1, stride, stride, 1], padding)


def mlp() -> None:
    x = tf.placeholder(tf.float32, [None, 784], name="input")
    x = _dense(x, 1024, "hidden_1", tf.nn.relu)
    x = _dense(x, 1024, "hidden_2", tf.nn.relu)
    tf.nn.softmax(_dense(x, 10, "logits"), name="probabilities")


def small() -> None:
    x = tf.placeholder(tf.float32, [None, 64], name="input")
    x = _dense(x, 256, "hidden_1", tf.nn.relu)
    x = _dense(x, 256, "hidden_2", tf.nn.relu)
    tf.nn.softmax(_dense(x, 10, "logits"), name="probabilities")


def mobilenet() -> None:
    """MobileNet v2 (Sandler et al. 2018, table 2): expansion, channels, blocks, stride of the first."""
    x = tf.placeholder(tf.float32, [None, 224, 224, 3], name="input")
    with tf.variable_scope("stem"):
        x = tf.nn.relu6(_batch_norm(_conv(x, 32, 3, "conv", 2)))
    block = 0
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, channels, blocks, first_stride in table:
        for i in range(blocks):
            with tf.variable_scope(f"expanded_conv_{block}"):
                x = _inverted_residual(x, expansion, channels, first_stride if i == 0 else 1)
            block += 1
    with tf.variable_scope("head"):
        x = tf.nn.relu6(_batch_norm(_conv(x, 1280, 1, "conv")))
        x = tf.reduce_mean(x, [1, 2], keepdims=True, name="pool")
        kernel = _variable("logits/weights", [1, 1, 1280, 1001], 0.03)
        x = tf.nn.bias_add(tf.nn.conv2d(x, kernel, [1, 1, 1, 1], "SAME"), _variable("logits/biases", [1001], 0.05))
        x = tf.squeeze(x, [1, 2], name="logits")
    tf.nn.softmax(x, name="probabilities")


def _inverted_residual(x: Tensor, expansion: int, channels: int, stride: int) -> Tensor:
    depth = int(x.shape[-1])
    y = x
    if expansion > 1:
        with tf.variable_scope("expand"):
            y = tf.nn.relu6(_batch_norm(_conv(y, depth * expansion, 1, "conv")))
    with tf.variable_scope("depthwise"):
        kernel = _variable("weights", [3, 3, int(y.shape[-1]), 1], 0.47)
        y = tf.nn.depthwise_conv2d(y, kernel, [1, stride, stride, 1], "SAME")
        y = tf.nn.relu6(_batch_norm(y))
    with tf.variable_scope("project"):
        y = _batch_norm(_conv(y, channels, 1, "conv"))
    return x + y if stride == 1 and depth == channels else y


def resnet50() -> None:
    """ResNet-50 as the official models of TensorFlow 1 had it: strided 3 × 3 convolutions, padding of their own."""
    x = tf.placeholder(tf.float32, [None, 224, 224, 3], name="input")
    with tf.variable_scope("stem"):
        x = tf.nn.relu(_batch_norm(_conv_fixed_padding(x, 64, 7, "conv", 2)))
        x = tf.nn.max_pool(x, [1, 3, 3, 1], [1, 2, 2, 1], "SAME", name="pool")
    for stage, (filters, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(blocks):
            with tf.variable_scope(f"stage_{stage}/block_{block}"):
                x = _bottleneck(x, filters, 2 if stage > 1 and block == 0 else 1, block == 0)
    x = tf.reduce_mean(x, [1, 2], keepdims=True)
    x = tf.squeeze(x, [1, 2], name="final_reduce_mean")
    with tf.variable_scope("logits"):
        kernel, bias = _variable("kernel", [2048, 1001], 0.01), _variable("bias", [1001], 0.05)
        x = tf.nn.bias_add(tf.matmul(x, kernel), bias)
    tf.nn.softmax(x, name="probabilities")


def _conv_fixed_padding(x: Tensor, filters: int, size: int, name: str, stride: int) -> Tensor:
    """The padding doesn't depend on the input's size, as `SAME` does for strides over one."""
    if stride == 1:
        return _conv(x, filters, size, name)
    before = (size - 1) // 2
    after = size - 1 - before
    return _conv(tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]]), filters, size, name, stride, "VALID")


def _bottleneck(x: Tensor, filters: int, stride: int, project: bool) -> Tensor:
    shortcut = x
    if project:
        with tf.variable_scope("shortcut"):
            shortcut = _batch_norm(_conv_fixed_padding(x, 4 * filters, 1, "conv", stride), 0.7)
    for i, (depth, size) in enumerate(((filters, 1), (filters, 3))):
        with tf.variable_scope(f"part_{i}"):
            x = tf.nn.relu(_batch_norm(_conv_fixed_padding(x, depth, size, "conv", stride if size == 3 else 1)))
    with tf.variable_scope("part_2"):
        x = _batch_norm(_conv(x, 4 * filters, 1, "conv"), 0.3)
    return tf.nn.relu(x + shortcut)


def bert() -> None:
    """BERT-base's encoder (Devlin et al. 2018) written for any batch: shapes are asked for while it runs."""
    size, heads, layers, inner, vocabulary = 768, 12, 12, 3072, 30522
    ids = tf.placeholder(tf.int32, [None, 128], name="input_ids")
    mask = tf.placeholder(tf.int32, [None, 128], name="input_mask")
    segments = tf.placeholder(tf.int32, [None, 128], name="segment_ids")
    with tf.variable_scope("bert/embeddings"):
        batch, length = _sizes(ids)
        words = tf.gather(_variable("word_embeddings", [vocabulary, size], 0.02), tf.reshape(ids, [-1]))
        x = tf.reshape(words, [batch, length, size])
        kinds = tf.one_hot(tf.reshape(segments, [-1]), depth=2)  # a small table: a product is the faster look-up
        kinds = tf.matmul(kinds, _variable("token_type_embeddings", [2, size], 0.02))
        x += tf.reshape(kinds, [batch, length, size])
        positions = _variable("position_embeddings", [512, size], 0.02)
        with tf.control_dependencies([tf.assert_less_equal(length, 512)]):
            positions = tf.slice(positions, [0, 0], [length, -1])
        x = _layer_norm(x + tf.reshape(positions, [1, length, size]))
    with tf.variable_scope("bert/encoder"):
        seen = tf.cast(tf.reshape(mask, [batch, 1, length]), tf.float32)
        seen = tf.ones([batch, length, 1]) * seen
        x = tf.reshape(x, [-1, size])
        for layer in range(layers):
            with tf.variable_scope(f"layer_{layer}"):
                with tf.variable_scope("attention"):
                    attended = _attention(x, seen, batch, length, heads, size // heads)
                    x = _layer_norm(_bert_dense(attended, size, "output") + x)
                middle = _bert_dense(x, inner, "intermediate", _gelu)
                x = _layer_norm(_bert_dense(middle, size, "output") + x)
        x = tf.reshape(x, [batch, length, size], name="sequence_output")
    with tf.variable_scope("bert/pooler"):
        first = tf.squeeze(x[:, 0:1, :], axis=1)
        tf.identity(_bert_dense(first, size, "dense", tf.tanh), name="output")


def _sizes(x: Tensor) -> list[Any]:
    """Each size of a tensor: a number where it is known, else a scalar tensor."""
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape.as_list())]


def _bert_dense(x: Tensor, units: int, name: str, activation: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    with tf.variable_scope(name):
        kernel, bias = _variable("kernel", [int(x.shape[-1]), units], 0.02), _variable("bias", [units], 0.02)
        x = tf.nn.bias_add(tf.matmul(x, kernel), bias)
        return x if activation is None else activation(x)


def _gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + tf.tanh(np.sqrt(2 / np.pi).astype(np.float32) * (x + 0.044715 * tf.pow(x, 3))))


def _layer_norm(x: Tensor) -> Tensor:
    with tf.variable_scope(None, default_name="LayerNorm"):
        size = int(x.shape[-1])
        beta, gamma = _variable("beta", [size], 0.02), _variable("gamma", [size], 0.02, 1.0)
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)


def _attention(x: Tensor, seen: Tensor, batch: Any, length: Any, heads: int, width: int) -> Tensor:
    """`x`: [batch * length, heads * width]; `seen`: [batch, length, length], 0 where a token is padding."""

    def split(name: str) -> Tensor:
        projected = _bert_dense(x, heads * width, name)
        return tf.transpose(tf.reshape(projected, [batch, length, heads, width]), [0, 2, 1, 3])

    query, key, value = split("query"), split("key"), split("value")
    scores = tf.multiply(tf.matmul(query, key, transpose_b=True), 1.0 / float(np.sqrt(width)))
    scores += (1.0 - tf.expand_dims(seen, axis=[1])) * -10000.0
    context = tf.transpose(tf.matmul(tf.nn.softmax(scores), value), [0, 2, 1, 3])
    return tf.reshape(context, [batch * length, heads * width])


class _LSTMCell:
    """What `dynamic_rnn` asks of a cell."""

    def __init__(self, units: int):
        self.output_size = units
        self.state_size = (units, units)

    def zero_state(self, batch: Any, dtype: Any) -> Any:
        return tuple(tf.zeros([batch, size], dtype) for size in self.state_size)

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
        return self.zero_state(batch_size, dtype)

    def __call__(self, x: Tensor, state: Any, scope: Any = None) -> Any:
        with tf.variable_scope(scope or "lstm_cell"):
            c, h = state
            joined = tf.concat([x, h], 1)
            size = int(joined.shape[-1])
            kernel = _variable("kernel", [size, 4 * self.output_size], size**-0.5)
            gates = tf.nn.bias_add(tf.matmul(joined, kernel), _variable("bias", [4 * self.output_size], 0.05))
            i, j, f, o = tf.split(gates, 4, axis=1)
            c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
            h = tf.tanh(c) * tf.sigmoid(o)
            return h, (c, h)


def rnn() -> None:
    x = tf.placeholder(tf.float32, [None, 200, 64], name="input")
    _, (_, h) = tf.nn.dynamic_rnn(_LSTMCell(128), x, dtype=tf.float32)
    tf.nn.softmax(_dense(h, 10, "logits"), name="probabilities")


def cascade() -> None:
    """A detector of three stages (after Zhang et al. 2016): the first over a pyramid of the image, in a loop."""
    image = tf.placeholder(tf.float32, [None, None, 3], name="input")
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    pixels = (tf.expand_dims(image, 0) - 127.5) * 0.0078125
    start = (tf.constant(12 / 24), tf.zeros([0, 4]), tf.zeros([0]))
    invariants = (tf.TensorShape([]), tf.TensorShape([None, 4]), tf.TensorShape([None]))

    def smaller(scale: Tensor, boxes: Tensor, scores: Tensor) -> Any:
        resized = tf.image.resize_bilinear(pixels, tf.cast(tf.ceil(size * scale), tf.int32))
        score, shift = _proposals(resized)
        at = tf.where(tf.greater(score, 0.62))
        corner = tf.cast(at, tf.float32) * 2.0
        box = tf.concat([corner, corner + 12.0], 1) / scale + tf.gather_nd(shift, at) * (12.0 / scale)
        chosen = tf.image.non_max_suppression(box, tf.gather_nd(score, at), 200, 0.5)
        boxes = tf.concat([boxes, tf.gather(box, chosen)], 0)
        scores = tf.concat([scores, tf.gather(tf.gather_nd(score, at), chosen)], 0)
        return scale * 0.709, boxes, scores

    def large_enough(scale: Tensor, *_: Tensor) -> Tensor:
        return tf.reduce_min(size) * scale >= 12.0

    with tf.variable_scope("pyramid"):
        _, boxes, scores = tf.while_loop(large_enough, smaller, start, invariants, back_prop=False)
        boxes = tf.gather(boxes, tf.image.non_max_suppression(boxes, scores, 120, 0.7))
    for stage, patch, most, threshold in (("refine", 24, 40, 0.45), ("output", 48, 10, 0.4)):
        with tf.variable_scope(stage):
            crops = tf.image.crop_and_resize(
                pixels, boxes / tf.tile(size, [2]), tf.zeros_like(boxes[:, 0], tf.int32), [patch, patch]
            )
            scores, shift = _judged(crops, stage)
            kept = tf.squeeze(tf.where(scores > threshold), 1)
            extent = tf.tile(boxes[:, 2:] - boxes[:, :2], [1, 2])
            boxes, scores = tf.gather(boxes + shift * extent, kept), tf.gather(scores, kept)
            chosen = tf.image.non_max_suppression(boxes, scores, most, 0.7)
            boxes, scores = tf.gather(boxes, chosen), tf.gather(scores, chosen)
    tf.concat([boxes, tf.expand_dims(scores, 1)], 1, name="found")


def _prelu(x: Tensor, name: str) -> Tensor:
    alpha = _variable(name, [int(x.shape[-1])], 0.05, 0.25)
    return tf.nn.relu(x) + alpha * (x - tf.abs(x)) * 0.5


def _proposals(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of each cell of 12 pixels: how much it looks like a face [h, w], and how its box is to be moved [h, w, 4]."""
    x = _prelu(_conv(x, 10, 3, "conv1", padding="VALID"), "prelu1")
    x = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    x = _prelu(_conv(x, 16, 3, "conv2", padding="VALID"), "prelu2")
    x = _prelu(_conv(x, 32, 3, "conv3", padding="VALID"), "prelu3")
    score = tf.nn.softmax(_conv(x, 2, 1, "conv4-1"))[0, :, :, 1]
    return score, 0.1 * tf.tanh(_conv(x, 4, 1, "conv4-2"))[0]


def _judged(x: Tensor, stage: str) -> tuple[Tensor, Tensor]:
    """Of each patch: how much it looks like a face [n], and how its box is to be moved [n, 4]."""
    layers = {"refine": ((28, 3), (48, 3), (64, 2)), "output": ((32, 3), (64, 3), (64, 3), (128, 2))}[stage]
    for i, (filters, size) in enumerate(layers, 1):
        x = _prelu(_conv(x, filters, size, f"conv{i}", padding="VALID"), f"prelu{i}")
        if i < len(layers):
            x = tf.nn.max_pool(x, [1, 3, 3, 1], [1, 2, 2, 1], "SAME" if i == 1 else "VALID")
    x = tf.reshape(x, [-1, int(np.prod(x.shape[1:]))])
    x = _prelu(_dense(x, 128 if stage == "refine" else 256, "dense"), "prelu")
    return tf.nn.softmax(_dense(x, 2, "score"))[:, 1], 0.1 * tf.tanh(_dense(x, 4, "shift"))


BUILDERS: dict[str, Callable[[], None]] = {f.__name__: f for f in (mlp, mobilenet, resnet50, bert, cascade, rnn, small)}


def save(network: Network, folder: Path) -> None:
    """Writes a network's files; of the small one its checkpoints."""
    tf.logging.set_verbosity(tf.logging.ERROR)  # all of this is deprecated
    tf.disable_resource_variables()
    tf.disable_control_flow_v2()
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.set_random_seed(1)
        BUILDERS[network.name]()
        saver, initializer = tf.train.Saver(max_to_keep=None), tf.global_variables_initializer()
        session.run(initializer)
        if network.name == "small":
            for i in range(SMALL_MODELS):
                session.run(initializer)
                saver.save(session, f"{folder}/model-{i}", write_state=False)
            return
        _check(network, session)
        saver.save(session, f"{folder}/model.ckpt", write_state=False)
        feeds = {name: graph.get_tensor_by_name(name) for name in network.values(network.batches[0])}
        tf.saved_model.simple_save(
            session,
            f"{folder}/saved_model",
            {name.partition(":")[0]: tensor for name, tensor in feeds.items()},
            {"output": graph.get_tensor_by_name(network.output)},
        )
        output = network.output.partition(":")[0]
        frozen = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [output])
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())


def _check(network: Network, session: Any) -> None:
    """Random weights must leave something to compare: neither a saturated nor an empty result."""
    result = session.run(network.output, network.values(network.batches[-1]))
    flat = bool(network.output.startswith("probabilities") and result.max() > 0.98)
    if not result.size or not np.isfinite(result).all() or flat or result.std() == 0:
        raise RuntimeError(f"{network.name}: the result says nothing: {result.shape}, {result.min()} to {result.max()}")


def build(names: Sequence[str], work: Path = WORK) -> None:
    """Makes the folders of these networks where they are missing or of an older script."""
    script = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    for name in names:
        network = NETWORKS[name]
        folder = network.folder(work)
        stamp = folder / "built"
        if stamp.exists() and stamp.read_text() == script:
            continue
        # Built beside and put in place whole: what another process has mapped stays as it was.
        fresh = folder.with_name(f"{name}-{os.getpid()}")
        fresh.mkdir(parents=True)
        try:
            save(network, fresh)
            (fresh / "built").write_text(script)
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        print(f"{name}: {folder}", flush=True)


def main() -> None:
    """Builds what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="network", help=", ".join(NETWORKS))
    parser.add_argument("--work", type=Path, default=WORK, help="the folder that `networks/NAME` comes to lie in")
    arguments = parser.parse_args()
    unknown = set(arguments.networks) - set(NETWORKS)
    if unknown:
        parser.error(f"no such network: {', '.join(sorted(unknown))}; there are: {', '.join(NETWORKS)}")
    build(arguments.networks or list(NETWORKS), arguments.work)


if __name__ == "__main__":
    main()
