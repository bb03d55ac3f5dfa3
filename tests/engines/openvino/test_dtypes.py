"""What OpenVINO is given of other dtypes than float32: whole numbers and truths, and sizes of 64 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from engines.openvino.running import clusters, compare, states

from graphrack.engines.openvino.ops import BOOL, INT32, INT64, RULES

R = tf.raw_ops
ROWS = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
WHOLE = np.array([[3, -1, 7], [0, 2, -2147483648]], np.int32)
KINDS = {"int32": INT32, "int64": INT64, "bool": BOOL}


def of_kind(kind: str, x: Any, whole: Any) -> Any:
    """A [2,3] tensor: fed, what fed numbers are compared to, or computed from shapes."""
    if kind == "int64":
        sizes = tf.shape(x, out_type=tf.int64)
        return tf.stack([sizes, sizes - 3])
    return whole if kind == "int32" else whole > 1


def some(kind: str) -> Any:
    return tf.constant(True) if kind == "bool" else tf.constant(5, kind)


def few(t: Any) -> Any:
    return t if t.dtype == tf.bool else tf.cast(t, tf.int32) < 3


EACH: dict[str, Callable[[Any, str], Any]] = {
    "StopGradient": lambda t, kind: tf.stop_gradient(t),
    "PreventGradient": lambda t, kind: R.PreventGradient(input=t),
    "Pack": lambda t, kind: tf.stack([t, t], 1),
    "ZerosLike": lambda t, kind: R.ZerosLike(x=t),
    "OnesLike": lambda t, kind: R.OnesLike(x=t),
    "Reshape": lambda t, kind: tf.reshape(t, [3, -1]),
    "Tile": lambda t, kind: tf.tile(t, [2, 3]),
    "BroadcastTo": lambda t, kind: tf.broadcast_to(t, [4, 2, 3]),
    "ExpandDims": lambda t, kind: tf.expand_dims(t, 1),
    "Transpose": lambda t, kind: tf.transpose(t, [1, 0]),
    "ReverseV2": lambda t, kind: tf.reverse(t, [1]),
    "Squeeze": lambda t, kind: tf.squeeze(t[:1], [0]),
    "ConcatV2": lambda t, kind: tf.concat([t, t], 1),
    "Concat": lambda t, kind: R.Concat(concat_dim=0, values=[t, t]),
    "Unpack": lambda t, kind: tf.unstack(t, 3, axis=1)[2],
    "Split": lambda t, kind: tf.split(t, 3, axis=1)[1],
    "SplitV": lambda t, kind: tf.split(t, [2, 1], axis=1)[0],
    "StridedSlice": lambda t, kind: t[::-1, 1:],
    "Slice": lambda t, kind: tf.slice(t, [1, 0], [1, 2]),
    "Pad": lambda t, kind: tf.pad(t, [[0, 1], [2, 0]]),
    "PadV2": lambda t, kind: tf.pad(t, [[0, 1], [2, 0]], constant_values=some(kind)),
    "MirrorPad": lambda t, kind: tf.pad(t, [[1, 0], [2, 0]], "REFLECT"),
    "Fill": lambda t, kind: R.Fill(dims=R.Shape(input=t), value=some(kind)),
    "GatherV2": lambda t, kind: tf.gather(t, [2, 0], axis=1),
    "Select": lambda t, kind: R.Select(condition=few(t), x=t, y=t[::-1]),
    "SelectV2": lambda t, kind: R.SelectV2(condition=few(t), t=t, e=t[:1]),
    "Cast": lambda t, kind: tf.cast(t, tf.float32),
    "Shape": lambda t, kind: R.Shape(input=t),
    "ShapeN": lambda t, kind: R.ShapeN(input=[t[:1], t])[1],
    "Size": lambda t, kind: R.Size(input=t),
    "Rank": lambda t, kind: R.Rank(input=t),
    "OneHot": lambda t, kind: R.OneHot(indices=t, depth=8, on_value=some(kind), off_value=some(kind)),
    "Range": lambda t, kind: tf.range(t[0, 0], t[0, 2] * 3, 2),
    "Add": lambda t, kind: R.Add(x=t, y=t[:1]),
    "AddV2": lambda t, kind: R.AddV2(x=t, y=t[:1]),
    "Sub": lambda t, kind: R.Sub(x=t, y=t[:, :1]),
    "Mul": lambda t, kind: R.Mul(x=t, y=t),
    "Maximum": lambda t, kind: R.Maximum(x=t, y=t[:, :1]),
    "Minimum": lambda t, kind: R.Minimum(x=t, y=t[:, :1]),
    # These are computed from shapes alone.
    "FloorDiv": lambda t, kind: R.Shape(input=t, out_type=kind) // 2,
    "Sum": lambda t, kind: tf.reduce_sum(R.Shape(input=t, out_type=kind), 0),
    "Prod": lambda t, kind: tf.reduce_prod(R.Shape(input=t, out_type=kind), 0),
    **{
        op: lambda t, kind, op=op: getattr(R, op)(x=R.Shape(input=t), y=3)
        for op in ("Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual")
    },
    "LogicalAnd": lambda t, kind: tf.logical_and(t, t[:1]),
    "LogicalOr": lambda t, kind: tf.logical_or(t, t[:1]),
    "LogicalNot": lambda t, kind: tf.logical_not(t),
}
NUMBERED = [(op, kind) for op in EACH for kind, number in KINDS.items() if number in RULES[op].types]


def test_every_op_that_takes_more_than_floats_is_listed() -> None:
    """An Identity is no node of a cluster, but another name of what it is given."""
    others = {op for op, rule in RULES.items() if rule.types & set(KINDS.values())}
    assert set(EACH) == others - {"Identity"}


@pytest.mark.parametrize(("op", "kind"), NUMBERED, ids=["-".join(each) for each in NUMBERED])
def test_it_is_computed_in_a_cluster_as_tensorflow_does(op: str, kind: str) -> None:
    def build(x: Any, whole: Any) -> list[Any]:
        found = EACH[op](of_kind(kind, x, whole), kind)
        return [found, tf.nn.relu(x) * tf.reshape(tf.cast(found, tf.float32), [-1])[0]]

    model = compare(build, ROWS, WHOLE, rtol=0, atol=0)
    assert states(model) == ["compiled"]
    # A ShapeN is a Shape for each of its inputs.
    assert op.removesuffix("N") in {part.op for cluster in clusters(model) for part in cluster.interface.parts}
