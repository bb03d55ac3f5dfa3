"""Building ops that TensorFlow still runs in old graphs, but refuses to build in new ones."""

from __future__ import annotations

from typing import Any

import tensorflow.compat.v1 as tf
from tensorflow.python.framework import op_def_library, op_def_registry


def pretend_age(producer: int) -> None:
    """Makes the current graph one that was written by an old TensorFlow."""
    old = tf.GraphDef()
    old.versions.producer = producer
    tf.import_graph_def(old)


def apply(name: str, **arguments: Any) -> Any:
    """An op by its name, with the defaults of its definition; also one that has no Python function any more."""
    for attribute in op_def_registry.get(name).attr:
        if attribute.HasField("default_value") and attribute.name not in arguments:
            kind = attribute.default_value.WhichOneof("value")
            if kind == "shape":
                arguments[attribute.name] = tf.TensorShape(attribute.default_value.shape)
            elif kind == "list":
                arguments[attribute.name] = []
            else:
                arguments[attribute.name] = getattr(attribute.default_value, kind)
    return op_def_library.apply_op(name, **arguments)
