"""Compares both data formats of an op with TensorFlow's channels last, the one its CPU kernels all take."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from comparing import compare
from ops.harness import Refused, build, by_graphrack, check

LAST = {4: "NHWC", 5: "NDHWC"}
FIRST = {4: "NCHW", 5: "NCDHW"}


def first(values: Any, width: int = 1) -> list[Any]:
    """Values per dimension (`width` of them each) for channels first, given those for channels last."""
    values = list(values)
    return values[:width] + values[-width:] + values[width:-width]


def check_both_formats(op_name: str, images: tuple[str, ...], *, gives_image: bool = True, **arguments: Any) -> None:
    """`check` with channels last; then graphrack with channels first must give the same, transposed.

    Attributes:
        images: the inputs that have the data format.
        gives_image: whether the first output has it too.
        arguments: as for `check`, for channels last, without `data_format`.
    """
    bounds = {key: arguments.pop(key) for key in ("rtol", "atol", "refused", "outputs") if key in arguments}
    rank = len(np.shape(arguments[images[0]]))
    expected = check(op_name, **arguments, data_format=LAST[rank], **bounds)
    moved = {
        key: np.ascontiguousarray(np.moveaxis(value, -1, 1))
        if key in images
        else first(value)
        if key in ("strides", "ksize", "dilations", "input_sizes", "orig_input_shape")
        else first(value, 2)
        if key == "explicit_paddings" and value
        else value
        for key, value in arguments.items()
    }
    for key in ("strides", "ksize", "input_sizes", "orig_input_shape"):
        if isinstance(arguments.get(key), np.ndarray):
            moved[key] = np.array(moved[key], arguments[key].dtype)
    with tf.Graph().as_default() as graph:
        _, _, feeds = build(op_name, {**moved, "data_format": FIRST[rank]})
        data = graph.as_graph_def().SerializeToString()
    found = by_graphrack(data, feeds, op_name)
    if isinstance(expected, Refused):
        assert isinstance(found, Refused), f"{op_name}: {expected}; graphrack gave {found}"
        return
    assert not isinstance(found, Refused), f"{op_name}: {found}"
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if i in bounds.get("outputs", range(len(expected))):
            theirs = np.moveaxis(theirs, -1, 1) if i == 0 and gives_image else theirs
            compare(ours, theirs, bounds.get("rtol"), bounds.get("atol"), f"{op_name} with channels first")
