"""Building ops that TensorFlow still runs in old graphs, but refuses to build in new ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from comparing import compare
from ops.harness import run_kernels
from recording import Run, record
from tensorflow.python.framework import op_def_library, op_def_registry


def pretend_age(producer: int) -> None:
    """Makes the current graph one that was written by an old TensorFlow."""
    old = tf.GraphDef()
    old.versions.producer = producer
    tf.import_graph_def(old)


def apply(op_name: str, /, **arguments: Any) -> Any:
    """An op by its name, with the defaults of its definition; also one that has no Python function any more."""
    for attribute in op_def_registry.get(op_name).attr:
        if attribute.HasField("default_value") and attribute.name not in arguments:
            kind = attribute.default_value.WhichOneof("value")
            if kind == "shape":
                arguments[attribute.name] = tf.TensorShape(attribute.default_value.shape)
            elif kind == "list":
                values = attribute.default_value.list
                arguments[attribute.name] = [*values.i, *values.f, *values.s, *values.b, *values.type]
            else:
                arguments[attribute.name] = getattr(attribute.default_value, kind)
    return op_def_library.apply_op(op_name, **arguments)


def check_removed(name: str, *, producer: int = 5, rtol: float | None = None, **arguments: Any) -> None:
    """As `harness.check`, for an op that only graphs as old as `producer` may have."""
    feeds: dict[str, Any] = {}
    with tf.Graph().as_default() as graph, tf.Session() as session:
        pretend_age(producer)
        for key, value in arguments.items():
            if isinstance(value, (np.ndarray, np.generic)):
                arguments[key] = tf.placeholder(value.dtype, None)
                feeds[arguments[key].name] = value
        outputs = apply(name, name="op", **arguments)
        expected = session.run(outputs if isinstance(outputs, (list, tuple)) else [outputs], feeds)
        data = graph.as_graph_def().SerializeToString()
    found = run_kernels(data, feeds)
    record(data, [Run([f"op:{i}" for i in range(len(expected))], feeds, expected)], rtol, rtol, name)
    assert isinstance(found, list), f"{name}: {found}"
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        compare(ours, theirs, rtol, rtol, f"{name} output {i}")
