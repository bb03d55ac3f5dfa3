"""Programs whose runs take much memory, and what both sides do with one in a process of its own.

python -m benchmarks.peaks FOLDER      has TensorFlow build and save them
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNS = 4

Build = Callable[[Any], Any]
"""From the module `tensorflow.compat.v1` to the tensor that is fetched, in the current graph."""


@dataclass(frozen=True)
class Program:
    """What is run: files in a folder of its name, `model.ckpt.*`.

    Attributes:
        build: as TensorFlow's users write it.
        shape: of what the placeholder `input` takes.
        below: integers below that number are fed; random numbers of one half on average, where it is 0.
    """

    title: str
    build: Build
    shape: tuple[int, ...]
    below: int = 0

    def values(self) -> dict[str, Any]:
        """What is fed, the same in every process."""
        import numpy as np

        rng = np.random.default_rng(7)
        values = rng.integers(0, self.below, self.shape) if self.below else rng.random(self.shape)
        return {"input:0": values.astype(np.int32 if self.below else np.float32)}


def _weights(tf: Any, *shape: int) -> Any:
    from math import prod

    scale = 1 / prod(shape[:-1]) ** 0.5
    return tf.Variable(tf.random_normal(shape, stddev=scale, seed=len(tf.global_variables())))


def _stepped(tf: Any, optimizer: Any, loss: Any) -> Any:
    """The loss before a training step; fetching it takes the step."""
    loss = tf.identity(loss)
    with tf.control_dependencies([loss]):
        step = optimizer.minimize(loss)
    with tf.control_dependencies([step]):
        return tf.identity(loss)


def _convolutions(tf: Any, size: int) -> Any:
    x = tf.placeholder(tf.float32, [None, size, size, 3], name="input")
    for depth in (32, 64, 128):
        for _ in range(2):
            x = tf.nn.conv2d(x, _weights(tf, 3, 3, int(x.shape[-1]), depth), 1, "SAME")
            x = tf.nn.relu(tf.nn.bias_add(x, tf.Variable(tf.zeros([depth]))))
        x = tf.nn.max_pool2d(x, 2, 2, "SAME")
    return tf.matmul(tf.reduce_mean(x, [1, 2]), _weights(tf, 128, 10))


def _classifier(tf: Any) -> Any:
    return tf.nn.softmax(_convolutions(tf, 224))


def _trained_classifier(tf: Any) -> Any:
    logits = _convolutions(tf, 96)
    labels = tf.zeros([tf.shape(logits)[0]], tf.int32)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    return _stepped(tf, tf.train.MomentumOptimizer(0.01, 0.9), loss)


def _perceptron(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 1024], name="input")
    for _ in range(4):
        x = tf.nn.relu(tf.matmul(x, _weights(tf, 1024, 1024)) + tf.Variable(tf.zeros([1024])))
    return _stepped(tf, tf.train.AdamOptimizer(1e-4), tf.reduce_mean(tf.square(x)))


def _attention(tf: Any) -> Any:
    length, width, heads = 1024, 256, 8
    y = x = tf.placeholder(tf.float32, [None, length, width], name="input")
    for _ in range(2):
        flat = tf.reshape(y, [-1, width])
        q, k, v = (
            tf.transpose(
                tf.reshape(tf.matmul(flat, _weights(tf, width, width)), [-1, length, heads, width // heads]),
                [0, 2, 1, 3],
            )
            for _ in range(3)
        )
        weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) * (width // heads) ** -0.5)
        mixed = tf.reshape(tf.transpose(tf.matmul(weights, v), [0, 2, 1, 3]), [-1, width])
        y = y + tf.reshape(tf.matmul(mixed, _weights(tf, width, width)), [-1, length, width])
    return tf.reduce_mean(y - x, 1)


def _words(tf: Any) -> Any:
    x = tf.placeholder(tf.int32, [None], name="input")
    table = tf.Variable(tf.random_uniform([400_000, 64], -1.0, 1.0, seed=1))
    loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, x))) / 1000
    return _stepped(tf, tf.train.AdagradOptimizer(0.1), loss)


def _language(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 256], name="input")
    logits = tf.matmul(x, _weights(tf, 256, 20_000))
    labels = tf.range(tf.shape(x)[0])
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    return _stepped(tf, tf.train.GradientDescentOptimizer(0.1), loss)


def _pictures(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 512, 512, 3], name="input")
    y = tf.image.resize_bicubic(tf.image.resize_bilinear(x, [1024, 1024]), [768, 768])
    return tf.reduce_mean(tf.clip_by_value(y * 1.2 - 0.1, 0.0, 1.0), [1, 2])


PROGRAMS: Mapping[str, Program] = {
    "classifier": Program("convolutions, 16 images of 224 × 224", _classifier, (16, 224, 224, 3)),
    "trained": Program("the same trained, 16 images of 96 × 96", _trained_classifier, (16, 96, 96, 3)),
    "perceptron": Program("an MLP trained by Adam, batch 4096", _perceptron, (4096, 1024)),
    "attention": Program("attention over 1024 tokens, batch 4", _attention, (4, 1024, 256)),
    "words": Program("rows of a table of 100 MB trained by Adagrad", _words, (512,), below=400_000),
    "language": Program("a softmax over 20,000 classes trained, batch 512", _language, (512, 256)),
    "pictures": Program("8 images resized twice", _pictures, (8, 512, 512, 3)),
}


def measure(work: str, name: str, opened: Callable[[str], Callable[[Mapping[str, Any]], Any]]) -> None:
    """Opens a program, runs it, and prints the memory that it has taken; the library is imported before.

    Attributes:
        opened: from a checkpoint's prefix to what runs the program.
    """
    from benchmarks.by_graphrack import done
    from benchmarks.inference import listed, peak, resident

    feeds = PROGRAMS[name].values()
    imported = resident()
    run = opened(f"{work}/peaks/{name}/model.ckpt")
    results = [listed(run(feeds)) for _ in range(RUNS)]
    done(results, memory=peak() - imported, process=peak())


def build(work: Path) -> None:
    """Has TensorFlow save those that are missing."""
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    for name, program in PROGRAMS.items():
        folder = work / "peaks" / name
        if (folder / "model.ckpt.index").exists():
            continue
        with tf.Graph().as_default(), tf.Session() as session:
            tf.identity(program.build(tf), name="output")
            session.run(tf.global_variables_initializer())
            saver = tf.train.Saver(tf.global_variables() or [tf.Variable(0.0, name="nothing")])
            session.run(tf.global_variables_initializer())
            folder.mkdir(parents=True, exist_ok=True)
            saver.save(session, str(folder / "model.ckpt"))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
