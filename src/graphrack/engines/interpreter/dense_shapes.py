"""Shapes of sparse tensors: numbers that are fed or computed, and that a plan reckons with as with others' shapes.

A lookup of embeddings takes a sparse tensor for a matrix, whatever its rank: a dozen nodes work out that matrix's
shape from the tensor's, which is the same in one run after another. Where equal shapes are one array, these nodes
needn't run again (`steps.remembering`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.graph.prune import Needed

Tensor = tuple[str, int]

_MOST_SIZES = 16


def find_dense_shapes(work: Needed) -> set[Tensor]:
    """The shapes of sparse tensors that are taken for tensors of another shape."""
    return {
        inputs[1] for node in work.order if node.op == "SparseReshape" and len(inputs := work.inputs[node.name]) == 3
    }


def same_array(source: int, output: int) -> Step:
    """A step that gives a shape as an array which is the same for the same sizes, and which nobody writes into."""
    from graphrack.ops.array import fact

    def step(frame: Frame) -> None:
        value: Any = frame[source]
        if value.ndim == 1 and value.size <= _MOST_SIZES and value.dtype.kind == "i":
            frame[output] = fact(tuple(value.tolist()), value.dtype)
        else:  # whoever takes it says what is wrong
            frame[output] = np.array(value)

    return step
