"""Assert, Print and PrintV2 against TensorFlow: when they stop, and what they say."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import by_graphrack, check
from ops.session import Kernels

from graphrack.ops.checks import first_values

DATA: list[list[Any]] = [
    [np.array(b"message", object), np.arange(5), np.zeros((2, 3))],
    [np.array([True, False]), np.float32(0.1), np.array([b"a b", b"c"], object)],
    [np.arange(4).reshape(2, 2), np.float64(1) / 3, np.array([1e10, 1e-7, np.nan, np.inf], np.float32)],
    [np.arange(24).reshape(2, 3, 4), np.int8(-3)],
]


@pytest.mark.parametrize("summarize", [0, 1, 2, 3, 5, 100, -1])
@pytest.mark.parametrize("data", DATA, ids=range(len(DATA)))
def test_a_failed_assertion_shows_what_tensorflow_shows(data: list[Any], summarize: int) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        constants = [tf.constant(value.tolist(), tf.string) if value.dtype == object else value for value in data]
        node = tf.raw_ops.Assert(condition=False, data=constants, summarize=summarize)
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            session.run(node)
    expected = re.search(r"assertion failed: (.*)", str(caught.value))
    assert expected is not None
    shown = " ".join(f"[{first_values(value, summarize)}]" for value in data)
    assert shown.strip() == expected[1].strip()


def test_assert_stops_where_its_condition_is_false() -> None:
    for condition, refused in ((True, False), (False, True), (np.array([True]), True)):
        check("Assert", condition=np.array(condition), data=[np.arange(3)], summarize=3, refused=refused)


def _graph(build: Any) -> bytes:
    with tf.Graph().as_default() as graph:
        build()
        return graph.as_graph_def().SerializeToString()


def test_print_passes_its_input_on_and_prints_as_often_as_told(capfd: pytest.CaptureFixture[str]) -> None:
    def build() -> None:
        values = [tf.constant([1.5, 2, 3, 4]), tf.constant("x"), tf.constant([[1, 2], [3, 4]])]
        tf.raw_ops.Print(input=tf.constant([7.0]), data=values, message="msg: ", first_n=2, summarize=2, name="op")

    data = _graph(build)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(tf.GraphDef.FromString(data), name="")
        for _ in range(3):
            session.run("op:0")
    expected = capfd.readouterr().err
    kernels = Kernels(data)
    assert [kernels.run(["op:0"])[0].tolist() for _ in range(3)] == [[7.0]] * 3
    found = capfd.readouterr().err
    assert found == expected == "msg: [1.5 2...][x][[1 2]...]\n" * 2


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_print_v2_writes_its_text(stream: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = _graph(lambda: tf.raw_ops.PrintV2(input="héllo", output_stream=stream, end=";\n", name="op"))
    assert by_graphrack(data, {}) == []
    assert getattr(capfd.readouterr(), stream[3:]) == "héllo;\n"
    check("PrintV2", input=np.array([b"a", b"b"], object), output_stream="stderr", refused=True)
