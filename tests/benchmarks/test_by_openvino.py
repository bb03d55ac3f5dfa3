"""What the OpenVINO side tells of a network besides its times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from benchmarks.by_openvino import flops


def saved(graph: tf.Graph, folder: Path) -> str:
    tf.io.write_graph(graph.as_graph_def(), str(folder), "g.pb", as_text=False)
    return str(folder / "g.pb")


@pytest.mark.parametrize("batch", [1, 3])
def test_multiplications_and_additions_are_those_of_convolutions_and_products(tmp_path: Path, batch: int) -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 8, 8, 4], name="input")
        y = tf.nn.conv2d(x, tf.ones([3, 3, 4, 6]), [1, 2, 2, 1], "SAME")  # 4 x 4 x 6 values, each of 3 x 3 x 4
        y = tf.nn.depthwise_conv2d(y, tf.ones([3, 3, 6, 1]), [1, 1, 1, 1], "SAME")  # as many, of 3 x 3
        tf.matmul(tf.reshape(y, [-1, 96]), tf.ones([96, 10]), name="output")
    expected = 2.0 * batch * (96 * 36 + 96 * 9 + 96 * 10)
    assert flops(saved(graph, tmp_path), {"input:0": np.zeros((batch, 8, 8, 4), np.float32)}) == expected


def test_those_of_loops_are_not_counted(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [4, 4], name="input")
        count = tf.placeholder(tf.int32, [], name="count")
        loop = tf.while_loop(lambda i, y: i < count, lambda i, y: (i + 1, tf.matmul(y, x)), [0, x])
        tf.identity(loop[1], name="output")
    feeds = {"input:0": np.zeros((4, 4), np.float32), "count:0": np.int32(3)}
    assert flops(saved(graph, tmp_path), feeds) == 0
