"""Rows that a condition chooses: three nodes made one.

What leaves out some rows of a tensor (`tf.boolean_mask`; ids that aren't in a vocabulary, before they are looked up)
finds their numbers first:

    GatherV2(rows, Reshape(Where(condition), [-1]), 0)

Mostly all are chosen, and it is `rows` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.engines.interpreter.sums import looking_back
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.prune import Needed
from graphrack.ops.registry import lookup

Tensor = tuple[str, int]


def find_selections(
    work: Needed,
    fed: Collection[Tensor],
    constant: Callable[[NodeDef], Any],
    may: Callable[[NodeDef, Sequence[Tensor]], bool],
) -> set[str]:
    """The GatherV2s that take chosen rows; makes them take the condition instead of numbers, and no axis.

    Attributes:
        constant: gives a Const's value.
        may: whether a node may take those inputs instead of its own.
    """
    nodes = {node.name: node for node in work.order}
    inputs_of = looking_back(nodes, work, fed)

    def is_constant(tensor: Tensor, value: Any) -> bool:
        node = nodes.get(tensor[0])
        if node is None or node.op != "Const" or tensor in fed or node.name in work.controls:
            return False
        found = np.asarray(constant(node))
        return found.dtype.kind == "i" and found.tolist() == value

    def condition_of(tensor: Tensor) -> Tensor | None:
        """What chooses the rows whose numbers a vector holds."""
        shaped = inputs_of(tensor, "Reshape", 2)
        if shaped is not None and not is_constant(shaped[1], [-1]):
            return None
        if shaped is None:
            shaped = inputs_of(tensor, "Squeeze", 1)
            attributes = nodes[tensor[0]].attr if shaped is not None else {}
            if "squeeze_dims" not in attributes or list(attributes["squeeze_dims"].list.i) != [1]:
                return None
        assert shaped is not None
        chosen = inputs_of(shaped[0], "Where", 1)
        return None if chosen is None else chosen[0]

    found = set()
    for node in work.order:
        inputs = work.inputs[node.name]
        if node.op != "GatherV2" or len(inputs) != 3 or not is_constant(inputs[2], 0):
            continue
        if "batch_dims" in node.attr and node.attr["batch_dims"].i:
            continue
        condition = condition_of(inputs[1])
        if condition is not None and may(node, [inputs[0], condition]):
            found.add(node.name)
            work.inputs[node.name] = [inputs[0], condition]
    return found


def selection(inputs: Sequence[int], output: int) -> Step:
    """A step that takes the rows for which a condition holds."""
    find, gather = lookup("Where"), lookup("Gather")
    assert find is not None
    assert gather is not None
    numbers_of, rows_at = find.bind("", {}, {}), gather.bind("", {}, {})
    source, condition = inputs

    def step(frame: Frame) -> None:
        rows, chosen = frame[source], frame[condition]
        if chosen.ndim == 1 <= rows.ndim and chosen.dtype == np.bool_ and len(chosen) == len(rows):
            frame[output] = rows if b"\0" not in chosen.tobytes() else rows.compress(chosen, 0)
        else:
            frame[output] = rows_at(rows, numbers_of(chosen).reshape(-1))

    return step
