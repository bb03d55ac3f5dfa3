"""Gradients of operands that were broadcast: four nodes of a training graph made one.

Where `x` and `y` meet in an elementwise op, TensorFlow's gradient of `x` is the incoming gradient summed over the axes
that `x` was broadcast along, and given its shape again:

    Reshape(Sum(grad, BroadcastGradientArgs(Shape(x), Shape(y))), Shape(x))

Mostly nothing was broadcast, and it is `grad` itself. A third of a small training graph is made of these.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphrack.engines.interpreter.plan import Fetch
from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.graph.prune import Needed
from graphrack.ops.registry import Kernel

Tensor = tuple[str, int]


def find_broadcast_sums(work: Needed, fed: Collection[Tensor]) -> dict[str, str]:
    """The Reshapes that end such a gradient, and the Sum of each; makes them take `grad` and `x` alone."""
    nodes = {node.name: node for node in work.order}

    def inputs_of(tensor: Tensor, op: str, count: int) -> list[Tensor] | None:
        """The inputs of the node that computes a tensor, where it is of that op and waits for nothing else."""
        node = nodes.get(tensor[0])
        if node is None or node.op != op or tensor in fed or tensor[0] in work.controls:
            return None
        inputs = work.inputs[tensor[0]]
        return inputs if len(inputs) == count else None

    found = {}
    for node in work.order:
        inputs = work.inputs[node.name]
        if node.op != "Reshape" or len(inputs) != 2:
            continue
        total, shape = inputs_of(inputs[0], "Sum", 2), inputs_of(inputs[1], "Shape", 1)
        if total is None or shape is None:
            continue
        shapes = inputs_of(total[1], "BroadcastGradientArgs", 2)
        if shapes is not None and total[1][1] < 2 and shapes[total[1][1]] == inputs[1]:
            found[node.name] = inputs[0][0]
            work.inputs[node.name] = [total[0], shape[0]]
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


def broadcast_sum(total: Kernel, grad: int, like: int, output: int) -> Step:
    """A step that sums a gradient over the axes that another value was broadcast along.

    Attributes:
        total: sums over a tuple of axes, which it may keep or not.
        grad, like, output: slots of the gradient, of the value whose shape the result gets, and of the result.
    """

    def step(frame: Frame) -> None:
        value, shape = frame[grad], frame[like].shape
        if value.shape != shape:
            lead = value.ndim - len(shape)
            axes = [i for i in range(value.ndim) if i < lead or (shape[i - lead] == 1 != value.shape[i])]
            value = total(value, tuple(axes)).reshape(shape)
        frame[output] = value

    return step
