"""Gradients of operands that were broadcast: four nodes of a training graph made one.

Where `x` and `y` meet in an elementwise op, TensorFlow's gradient of `x` is the incoming gradient summed over the axes
that `x` was broadcast along, and given its shape again:

    Reshape(Sum(grad, BroadcastGradientArgs(Shape(x), Shape(y))), Shape(x))

Mostly nothing was broadcast, and it is `grad` itself. A third of a small training graph is made of these. In the
gradient of a loop, the shapes are what the loop has kept of each iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from graphrack.engines.interpreter.plan import Fetch
from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.prune import Needed
from graphrack.ops.registry import Kernel

Tensor = tuple[str, int]


class BroadcastSum(NamedTuple):
    """What a Reshape stands for that ends such a gradient.

    Attributes:
        total: the name of its Sum.
        by_shape: whether it takes the shape that it is to have, and not a value that has this shape.
    """

    total: str
    by_shape: bool


def looking_back(
    nodes: Mapping[str, NodeDef], work: Needed, fed: Collection[Tensor]
) -> Callable[[Tensor, str, int], list[Tensor] | None]:
    """A function that gives the inputs of the node that computes a tensor, where it is of an op and has so many.

    None of one that waits for others, or whose output is fed.
    """

    def inputs_of(tensor: Tensor, op: str, count: int) -> list[Tensor] | None:
        node = nodes.get(tensor[0])
        if node is None or node.op != op or tensor in fed or tensor[0] in work.controls:
            return None
        inputs = work.inputs[tensor[0]]
        return inputs if len(inputs) == count else None

    return inputs_of


def find_broadcast_sums(
    work: Needed, fed: Collection[Tensor], place: Callable[[str], object] | None
) -> dict[str, BroadcastSum]:
    """The Reshapes that end such a gradient; makes them take `grad`, and `x` or its shape, alone.

    Attributes:
        place: where nodes are that may be taken together, None for those that may be with no other; None where all may.
    """
    inputs_of = looking_back({node.name: node for node in work.order}, work, fed)
    found = {}
    for node in work.order:
        inputs = work.inputs[node.name]
        if node.op != "Reshape" or len(inputs) != 2:
            continue
        total = inputs_of(inputs[0], "Sum", 2)
        if total is None:
            continue
        shapes = inputs_of(total[1], "BroadcastGradientArgs", 2)
        if shapes is None or total[1][1] > 1 or shapes[total[1][1]] != inputs[1]:
            continue
        if place is not None:
            places = {place(node.name), place(inputs[0][0]), place(total[1][0])}
            if len(places) > 1 or None in places:
                continue
        shape = inputs_of(inputs[1], "Shape", 1)
        if shape is not None and place is not None and place(inputs[1][0]) != place(node.name):
            shape = None
        found[node.name] = BroadcastSum(inputs[0][0], shape is None)
        work.inputs[node.name] = [total[0], inputs[1] if shape is None else shape[0]]
    return found


def without_unneeded(work: Needed, fetches: Sequence[Fetch], fed: Collection[Tensor]) -> Needed:
    """What of the nodes is still needed after inputs have changed."""
    result = Needed()
    stack = [f if isinstance(f, str) else f.op for f in fetches if isinstance(f, str) or f not in fed]
    while stack:
        name = stack.pop()
        if name in result.inputs:
            continue
        inputs = result.inputs[name] = work.inputs[name]
        stack += [source[0] for source in inputs if source not in fed]
        if name in work.controls:
            result.controls[name] = work.controls[name]
            stack += work.controls[name]
    result.order = [node for node in work.order if node.name in result.inputs]
    return result


def broadcast_sum(total: Kernel, grad: int, like: int, output: int, *, by_shape: bool) -> Step:
    """A step that sums a gradient over the axes that another value was broadcast along.

    Attributes:
        total: sums over a tuple of axes, which it may keep or not.
        grad, like, output: slots of the gradient, of the value whose shape the result gets, and of the result.
        by_shape: whether `like` is that shape itself.
    """

    def summed(value: Any, shape: tuple[int, ...]) -> Any:
        lead = value.ndim - len(shape)
        axes = [i for i in range(value.ndim) if i < lead or (shape[i - lead] == 1 != value.shape[i])]
        return total(value, tuple(axes)).reshape(shape)

    def step(frame: Frame) -> None:
        value, shape = frame[grad], frame[like].shape
        frame[output] = value if value.shape == shape else summed(value, shape)

    def step_by_shape(frame: Frame) -> None:
        value, shape = frame[grad], tuple(frame[like].tolist())
        frame[output] = value if value.shape == shape else summed(value, shape)

    return step_by_shape if by_shape else step
