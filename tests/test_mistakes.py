"""Typical mistakes: TensorFlow refuses them, and graphrack's message names the node, its op, and what met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_control_flow import control_flow
from tf_models import session

import graphrack as gr

ONES = np.ones


def fed(name: str = "x", dtype: Any = tf.float32, shape: Any = None) -> Any:
    return tf.placeholder(dtype, shape, name=name)


def text(*values: bytes) -> Any:
    return np.array(values, object)


def looped() -> Any:
    return tf.while_loop(
        lambda i, a: i < 3, lambda i, a: (i + 1, tf.matmul(a, a, name="inner")), [0, fed(shape=[None, None])]
    )[1]


def branched() -> Any:
    x = fed(shape=[None])
    yes = fed("p", tf.bool, [])
    return tf.cond(yes, lambda: tf.reshape(x, [2, 5], name="inner"), lambda: tf.zeros([2, 5]))


MISTAKES: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "rank of a feed": (lambda: fed(shape=[None, 3]) + 1.0, {"x:0": ONES(3)}, r"'x:0' takes shape \[\?, 3\].*\[3\]"),
    "sizes of matrices": (
        lambda: tf.matmul(fed(), fed("y"), name="mm"), {"x:0": ONES((2, 3)), "y:0": ONES((2, 3))},
        r"node 'mm' \(BatchMatMulV2\).*float32\[2, 3\], float32\[2, 3\]",
    ),
    "a label out of range": (
        lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=fed("y", tf.int32, [None]), logits=fed(shape=[None, 3]), name="xent"
        ),
        {"x:0": ONES((2, 3)), "y:0": [0, 5]}, r"\(SparseSoftmaxCrossEntropyWithLogits\).*label of 5.*\[0, 3\)",
    ),
    "a shape that doesn't fit": (
        lambda: tf.reshape(fed(), [2, 5], name="rs"), {"x:0": ONES(7)}, r"node 'rs' \(Reshape\).*size 7.*\(2,5\)",
    ),
    "no number": (
        lambda: tf.check_numerics(fed(), "bad loss", name="cn"), {"x:0": [np.nan]},
        r"node 'cn' \(CheckNumerics\) failed: bad loss",
    ),
    "an index out of range": (
        lambda: tf.gather(fed(), fed("i", tf.int32), name="ga"), {"x:0": ONES(4), "i:0": [9]},
        r"node 'ga' \(GatherV2\).*indices\[0\] = 9 is not in \[0, 4\)",
    ),
    "text that is no number": (
        lambda: tf.strings.to_number(fed("x", tf.string), name="tn"), {"x:0": text(b"1.5x")},
        r"node 'tn' \(StringToNumber\).*1\.5x.*string\[1\]",
    ),
    "a feature that is missing": (
        lambda: tf.parse_example(fed("x", tf.string, [None]), {"a": tf.FixedLenFeature([2], tf.float32)})["a"],
        {"x:0": text(b"")}, r"\(ParseExampleV2\).*feature 'a' \(float32\).*example 0",
    ),
    "sizes of what is joined": (
        lambda: tf.concat([fed(), fed("y")], 0, name="cc"), {"x:0": ONES((2, 3)), "y:0": ONES((2, 4))},
        r"node 'cc' \(ConcatV2\).*float32\[2, 3\], float32\[2, 4\]",
    ),
    "depth of a filter": (
        lambda: tf.nn.conv2d(fed(), ONES((3, 3, 2, 4), np.float32), 1, "SAME", name="cv"), {"x:0": ONES((1, 5, 5, 3))},
        r"node 'cv' \(Conv2D\).*\(3, 3, 2, 4\).*float32\[1, 5, 5, 3\]",
    ),
    "sizes that don't broadcast": (
        lambda: tf.add(fed(), fed("y"), name="ad"), {"x:0": ONES((2, 3)), "y:0": ONES((2, 4))},
        r"node 'ad' \(AddV2\).*float32\[2, 3\], float32\[2, 4\]",
    ),
    "parts of unequal size": (lambda: tf.split(fed(), 3, 0, name="sp")[0], {"x:0": ONES(4)}, r"node 'sp' \(Split\).*\(4,\).*3"),
    "a slice that reaches outside": (
        lambda: tf.slice(fed(), [1], [9], name="sl"), {"x:0": ONES(4)}, r"node 'sl' \(Slice\).*\[9\] at \[1\].*float32\[4\]",
    ),
    "an axis that isn't there": (
        lambda: tf.one_hot(fed("x", tf.int32), 3, axis=5, name="oh"), {"x:0": [1, 2]}, r"node 'oh' \(OneHot\).*got 5.*int32\[2\]",
    ),
    "bytes that are no picture": (
        lambda: tf.image.decode_png(fed("x", tf.string, []), name="dp"), {"x:0": np.array(b"junk", object)},
        r"node 'dp' \(DecodePng\).*junk",
    ),
    "a division by zero": (
        lambda: tf.floordiv(fed("x", tf.int32), fed("y", tf.int32), name="dv"), {"x:0": [1, 2], "y:0": [1, 0]},
        r"node 'dv' \(FloorDiv\).*zero.*int32\[2\]",
    ),
    "a variable without a value": (lambda: tf.get_variable("w", [2]) + fed(), {"x:0": ONES(2)}, "no values: 'w'"),
    "inside of a loop": (looped, {"x:0": ONES((2, 3))}, r"inner\w*' \(MatMul\).*float32\[2, 3\], float32\[2, 3\]"),
    "inside of a branch": (branched, {"x:0": ONES(7), "p:0": True}, r"inner\w*' \(Reshape\).*float32\[7\]"),
}  # fmt: skip


@pytest.mark.parametrize("v2", [False, True], ids=["TF1", "TF2"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_with_the_node_its_op_and_what_met(mistake: str, v2: bool, tmp_path: Path) -> None:
    build, feeds, says = MISTAKES[mistake]
    with control_flow(v2), session() as sess:
        fetch = build()
        (tmp_path / "g.pb").write_bytes(sess.graph_def.SerializeToString())
        with pytest.raises((tf.errors.OpError, ValueError)):
            sess.run(fetch, feeds)
    with pytest.raises(gr.GraphrackError, match=f"(?s){says}"):
        gr.load(tmp_path / "g.pb").run(fetch.name, feeds)
