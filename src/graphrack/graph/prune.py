"""What of a graph a fetch needs, given what is fed; and an order to run it in."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from graphrack.errors import GraphError, closest
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import TensorName, parse_input

_NEXT_ITERATIONS = frozenset(("NextIteration", "RefNextIteration"))
_MERGES = frozenset(("Merge", "RefMerge"))


class Needed:
    """The nodes that a fetch needs, every node after those it takes something from or waits for.

    But for loops: there a Merge comes before the NextIteration that it takes.

    Attributes:
        order: the nodes.
        inputs: for each node's name its data inputs as (operation, output), without control inputs.
        controls: for each node's name the operations it waits for, where there are any.
    """

    __slots__ = ("controls", "inputs", "order")

    def __init__(self) -> None:
        self.order: list[NodeDef] = []
        self.inputs: dict[str, list[tuple[str, int]]] = {}
        self.controls: dict[str, list[str]] = {}


def needed(index: GraphIndex, fetches: Iterable[TensorName | str], fed: Collection[tuple[str, int]]) -> Needed:
    """Finds what must run.

    Attributes:
        fetches: tensors, and operations (plain names) that are to run.
        fed: tensors that are given; what only they need is not run. An operation whose outputs are all
            fed is still run where it is fetched, or waited for, by name.

    Raises:
        GraphError: an input that doesn't exist, or a cycle that no loop of TensorFlow's makes.
    """
    result = Needed()
    nodes, order, all_inputs, controls = index.nodes, result.order, result.inputs, result.controls
    on_path: set[str] = set()
    roots = [f if isinstance(f, str) else f.op for f in fetches if isinstance(f, str) or f not in fed]
    # Depth first without recursion: a graph may be deeper than Python's stack. A node's name comes off
    # the stack twice: first its inputs are put above it, then, those done, it joins the order.
    stack = roots[::-1]
    loops: list[str] = []
    while stack or loops:
        if not stack:
            stack = [name for name in loops[::-1] if name not in all_inputs]
            loops.clear()
            continue
        name = stack[-1]
        if name in all_inputs:
            stack.pop()
            if name in on_path:
                on_path.discard(name)
                order.append(nodes[name])
            continue
        node = nodes[name]
        on_path.add(name)
        inputs: list[tuple[str, int]] = []
        all_inputs[name] = inputs
        for text in node.input:
            source = parse_input(text)
            if source[1] < 0:
                controls.setdefault(name, []).append(source[0])
            else:
                inputs.append(source)
                if source in fed:
                    continue
            op = source[0]
            if op not in nodes:
                raise GraphError(
                    f"node {name!r} ({node.op}) takes {text!r}, which the graph doesn't have"
                    f"{closest(op, nodes)}; the graph is incomplete"
                )
            if node.op in _MERGES and nodes[op].op in _NEXT_ITERATIONS:
                loops.append(op)
            elif op in on_path:
                raise GraphError(f"the graph has a cycle through {op!r} and {name!r} ({node.op})")
            elif op not in all_inputs:
                stack.append(op)
    return result


def pruned(index: GraphIndex, fetches: Iterable[TensorName | str]) -> list[NodeDef]:
    """The nodes that the fetches need, in the graph's own order."""
    names = {node.name for node in needed(index, fetches, ()).order}
    return [node for node in index if node.name in names]
