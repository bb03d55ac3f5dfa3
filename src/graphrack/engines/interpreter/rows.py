"""Gradients of rows that were looked up: five nodes of a training graph made one.

Before TensorFlow's optimizers change rows of a table, they sum the gradients of rows that were looked up twice:

    unique, positions = Unique(indices)
    sums = UnsortedSegmentSum(gradients, positions, Shape(unique)[0])
    SparseApplyAdagrad(..., sums, unique)

Of a few indices mostly none comes twice, and the optimizer's op can be given what there was before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from graphrack.engines.interpreter.sums import looking_back
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.prune import Needed
from graphrack.ops.registry import Kernel, lookup

Tensor = tuple[str, int]


def find_summed_rows(work: Needed, fed: Collection[Tensor], constant: Callable[[NodeDef], Any]) -> dict[str, int]:
    """The optimizers' nodes that sum rows first, and which of their inputs are the sums; makes them take the rows.

    Attributes:
        constant: the value of a Const.
    """
    nodes = {node.name: node for node in work.order}
    inputs_of = looking_back(nodes, work, fed)

    def is_count(tensor: Tensor, of: Tensor) -> bool:
        """Whether a tensor is the size of a vector, as `Shape(of)[0]`."""
        part = inputs_of(tensor, "StridedSlice", 4)
        if part is None or inputs_of(part[0], "Shape", 1) != [of]:
            return False
        bounds = [nodes[name] for name, _ in part[1:] if name in nodes and nodes[name].op == "Const"]
        if len(bounds) < 3 or any(source in fed for source in part[1:]):
            return False
        attributes = nodes[tensor[0]].attr
        shrinks = "shrink_axis_mask" in attributes and attributes["shrink_axis_mask"].i == 1
        return shrinks and [np.ravel(constant(node)).tolist() for node in bounds] == [[0], [1], [1]]

    found = {}
    for node in work.order:
        if not node.op.startswith(("SparseApply", "ResourceSparseApply")):
            continue
        inputs = work.inputs[node.name]
        for i in range(len(inputs) - 1):
            sums, unique = inputs_of(inputs[i], "UnsortedSegmentSum", 3), inputs_of(inputs[i + 1], "Unique", 1)
            if sums is None or unique is None or inputs[i + 1][1] != 0:
                continue
            name = inputs[i + 1][0]
            if sums[1] == (name, 1) and (name, 1) not in fed and is_count(sums[2], (name, 0)):
                found[node.name] = i
                work.inputs[node.name] = [*inputs[:i], sums[0], unique[0], *inputs[i + 2 :]]
            break
    return found


def summing_rows(kernel: Kernel, position: int) -> Kernel:
    """An optimizer's kernel that takes gradients of rows as they are looked up, some of them twice.

    Attributes:
        position: of the gradients among what it takes; the rows' indices come next.
    """
    from graphrack.ops.segment import FEW_IDS, few_by_segment
    from graphrack.ops.training_sparse import are_distinct

    find, add = lookup("Unique"), lookup("UnsortedSegmentSum")
    assert find is not None
    assert add is not None
    unique_of, sum_of = find.bind("", {}, {}), add.bind("", {}, {})

    def run(*inputs: Any) -> Any:
        rows, indices = inputs[position], inputs[position + 1]
        if indices.ndim == 1 and are_distinct(indices):
            return kernel(*inputs)
        if indices.ndim == 1 and indices.size <= FEW_IDS and rows.shape[:1] == indices.shape:
            numbers: dict[int, int] = {}
            few = [numbers.setdefault(index, len(numbers)) for index in indices.tolist()]
            unique = np.array(list(numbers), indices.dtype)
            sums = few_by_segment(rows, few, len(numbers))
            return kernel(*inputs[:position], sums, unique, *inputs[position + 2 :])
        unique, places = unique_of(indices)
        sums = sum_of(rows, places, np.int64(len(unique)))
        return kernel(*inputs[:position], sums, unique, *inputs[position + 2 :])

    return run
