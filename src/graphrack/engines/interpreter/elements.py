"""Elements and rows that a loop takes, `x[i]` and `x[:, i]`: several nodes made one.

TensorFlow packs the numbers of an index into vectors for `StridedSlice`, and with them the ends, which nothing looks
at where one element is taken:

    StridedSlice(x, Pack(i), Pack(i + 1), [1])
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.prune import Needed

Tensor = tuple[str, int]


class Element(NamedTuple):
    """What a StridedSlice takes of its first input, at the numbers that are its others.

    Attributes:
        positions: for each number its place in the index.
        parts: the index, None in the places of numbers.
    """

    positions: Sequence[int]
    parts: Sequence[Any]


def find_elements(
    work: Needed,
    fed: Collection[Tensor],
    constant: Callable[[NodeDef], Any],
    may: Callable[[NodeDef, Sequence[Tensor]], bool],
) -> dict[str, Element]:
    """The StridedSlices that take elements at numbers which are packed for them; makes them take these numbers.

    Attributes:
        constant: gives a Const's value.
        may: whether a node may take those inputs instead of its own.
    """
    nodes = {node.name: node for node in work.order}

    def node_of(tensor: Tensor, op: str) -> NodeDef | None:
        node = nodes.get(tensor[0])
        return node if node is not None and node.op == op and tensor not in fed else None

    found = {}
    for node in work.order:
        inputs = work.inputs[node.name]
        if node.op != "StridedSlice" or len(inputs) != 4:
            continue
        begin, strides = node_of(inputs[1], "Pack"), node_of(inputs[3], "Const")
        if begin is None or strides is None or _integer(begin, "axis") or begin.name in work.controls:
            continue
        numbers, steps = work.inputs[begin.name], np.asarray(constant(strides))
        count, masks = len(numbers), {key: _integer(node, key) for key in _MASKS}
        if steps.shape != (count,) or (steps != 1).any() or masks["ellipsis_mask"] or masks["new_axis_mask"]:
            continue
        shrunk = [bool(masks["shrink_axis_mask"] >> i & 1) for i in range(count)]
        whole = [bool(masks["begin_mask"] & masks["end_mask"] & 1 << i) for i in range(count)]
        if not all(a or b for a, b in zip(shrunk, whole, strict=True)):
            continue
        positions = [i for i in range(count) if shrunk[i]]
        taken = [inputs[0], *(numbers[i] for i in positions)]
        if positions and may(node, taken):
            found[node.name] = Element(positions, [None if a else slice(None) for a in shrunk])
            work.inputs[node.name] = taken
    return found


def _integer(node: NodeDef, attribute: str) -> int:
    """An attribute, 0 where it is left out; asking a message for what isn't there would put it there."""
    return node.attr[attribute].i if attribute in node.attr else 0


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def element(found: Element, inputs: Sequence[int], output: int) -> Step:
    """A step that takes an element, or a row: a number where that is left, else a view."""
    from graphrack.ops._arguments import scalar
    from graphrack.ops.slicing import strided_index

    source, *numbers = inputs
    places = tuple(zip(found.positions, numbers, strict=True))

    def general(frame: Frame) -> None:
        value, index = frame[source], [*found.parts, Ellipsis]
        for place, slot in places:
            index[place] = scalar("begin", frame[slot])
        try:
            frame[output] = value[tuple(index)]
        except IndexError:
            # Which tells what is wrong.
            begin = np.array([0 if i == slice(None) else i for i in index[:-1]], np.int64)
            whole = sum(1 << i for i, part in enumerate(found.parts) if part is not None)
            shrunk = sum(1 << i for i in found.positions)
            strided_index(value.shape, begin, begin + 1, np.ones_like(begin), (whole, whole, 0, 0, shrunk))
            raise

    if len(found.parts) > 1:
        return general
    (number,) = numbers

    def step(frame: Frame) -> None:
        value, at = frame[source], frame[number]
        if value.ndim == 1 and value.dtype.kind in _NUMBERS and at.__class__ in _INDICES and 0 <= at < len(value):
            frame[output] = value[at]
        else:
            general(frame)

    return step


_NUMBERS = "iufb"
_INDICES = (np.int32, np.int64)
