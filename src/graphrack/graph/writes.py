"""What a graph changes beside its variables: tables and stacks, which a frozen graph still has.

What is in them depends on who comes first, which control inputs alone tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from graphrack.formats.protos.graph_pb2 import FunctionDef, NodeDef
from graphrack.graph.names import parse_input
from graphrack.graph.scope import functions_of

# Queues aren't among them: what pipelines produce is fed.
_WRITES = frozenset(("LookupTableInsert", "LookupTableInsertV2", "LookupTableRemoveV2"))
# Pushes wait for a loop's count, and the next trip for them; pops likewise, by a trigger.
_STACKS = frozenset(("StackPop", "StackPopV2", "StackPush", "StackPushV2"))
_OF_STACKS = _STACKS | {"ControlTrigger"}


class Writes:
    """Which nodes of a graph change its tables and stacks, by themselves or by the functions in `writing`.

    Stacks are those of loops that have gradients. What comes after these is no reason to keep anything: it may be
    training.
    """

    def __init__(self, nodes: Mapping[str, NodeDef], writing: Set[str]):
        self._nodes = nodes
        self._writes = {name for name, node in nodes.items() if node.op in _WRITES}
        if writing:
            self._writes |= {name for name, node in nodes.items() if writing & _calls(node)}
        self._after = _after(nodes, self._writes)

    def orders(self, node: NodeDef) -> list[str]:
        """The control inputs of a node that keep changes in order.

        What changes something keeps all of its own: TensorFlow runs several trips of a loop at once, and a push that
        waits for nothing comes before or after any other. Other nodes keep those by which they come after changes,
        for their outputs may lead to what asks a table.
        """
        waits = [text for text in node.input if text.startswith("^")]
        if not waits or node.op in _STACKS or node.name in self._writes:
            return waits
        return [text for text in waits if self.follows_write(text[1:]) or self._of_stacks(text[1:])]

    def follows_write(self, name: str) -> bool:
        """Whether an operation changes a table, or comes after one that does."""
        return name in self._after

    def _of_stacks(self, name: str) -> bool:
        node = self._nodes.get(name)
        return node is not None and node.op in _OF_STACKS


def _after(nodes: Mapping[str, NodeDef], writes: Set[str]) -> set[str]:
    """The writes, and all that takes from them or waits for them, however indirectly."""
    found = set(writes)
    if found:
        consumers: dict[str, list[str]] = {}
        for name, node in nodes.items():
            for text in node.input:
                consumers.setdefault(parse_input(text)[0], []).append(name)
        stack = list(found)
        while stack:
            new = set(consumers.get(stack.pop(), ())) - found
            found |= new
            stack += new
    return found


def _calls(node: NodeDef) -> set[str]:
    return {node.op, *(function.name for function in functions_of(node))}


def writing_functions(functions: Mapping[str, FunctionDef]) -> set[str]:
    """Those functions that change tables, or call one that does."""
    callers: dict[str, set[str]] = {}
    found: set[str] = set()
    for name, function in functions.items():
        for node in function.node_def:
            if node.op in _WRITES:
                found.add(name)
            for called in _calls(node):
                callers.setdefault(called, set()).add(name)
    stack = list(found)
    while stack:
        new = callers.get(stack.pop(), set()) - found
        found |= new
        stack += new
    return found
