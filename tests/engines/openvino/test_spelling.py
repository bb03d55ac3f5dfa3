"""Constants handed over to OpenVINO: large ones without a copy where their memory is our own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import graphrack as gr
from graphrack.engines.openvino.spelling import constant


def test_large_constants_are_shared_and_small_ones_and_others_memory_are_not() -> None:
    large = np.arange(10_000, dtype=np.float32)
    locked = large.view()
    locked.flags.writeable = False
    foreign = np.frombuffer(large.tobytes(), np.float32)
    for value, shared in ((large, True), (locked, True), (foreign, False), (large[::2], False), (large[:100], False)):
        tensor = constant("c", value).attributes["value"]
        np.testing.assert_array_equal(tensor.data, value)
        assert np.shares_memory(tensor.data, value) == shared
    assert not locked.flags.writeable


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_constants_of_a_large_graph_file_are_shared(tmp_path: Path, dtype: type) -> None:
    values = np.arange(600_000).reshape(600, 1000).astype(dtype)
    with tf.Graph().as_default() as graph:
        tf.constant(values, name="c")
        tf.constant(np.arange(5001, dtype=np.uint8).repeat(7), name="odd")  # what comes next isn't aligned in the file
        tf.constant(values + 1, name="d")
    (tmp_path / "large.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "large.pb")
    index = model._instance.graph.index
    for name, expected in (("c", values), ("d", values + 1)):
        found = index.constant(index.node(name))
        assert np.shares_memory(constant(name, found).attributes["value"].data, found)
        np.testing.assert_array_equal(found, expected)
        given = model.run(f"{name}:0")
        given[0, 0] = 77  # what a run gives is the caller's
        np.testing.assert_array_equal(model.run(f"{name}:0"), expected)
