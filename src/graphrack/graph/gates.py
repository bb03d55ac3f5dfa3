"""Which nodes may stay without a value: those in the conds and loops that TensorFlow 1 makes of single nodes.

`Switch` passes its input to one of its outputs, and whatever takes from the other doesn't run: it is dead.
`Merge` takes what is alive. `Enter` and `Exit` lead into a frame and out of it, `NextIteration` back to its
`Merge`. A node without data inputs, a constant say, belongs to a branch or a frame by its control inputs alone.

A node's gate is what its running depends on: (predicate, output of the Switch) for a branch, (name, -1) for
a frame. Nodes outside of conds and loops have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.names import parse_input

__all__ = ["ENTERS", "EXITS", "MERGES", "NEXT_ITERATIONS", "SWITCHES", "Gates", "in_order", "through_identities"]

Gate = frozenset[tuple[str, int]]

SWITCHES = frozenset(("Switch", "RefSwitch"))
MERGES = frozenset(("Merge", "RefMerge"))
NEXT_ITERATIONS = frozenset(("NextIteration", "RefNextIteration"))
ENTERS = frozenset(("Enter", "RefEnter"))
EXITS = frozenset(("Exit", "RefExit"))
_IDENTITIES = frozenset(("Identity", "RefIdentity"))

_NONE: Gate = frozenset()


def in_order(nodes: Mapping[str, NodeDef]) -> Iterator[NodeDef]:
    """Every node after those it takes from or waits for, but for what a loop's Merge gets from NextIterations.

    Names that no node has are passed over, and cycles that are no loops broken somewhere.
    """
    begun: set[str] = set()
    done: set[str] = set()
    for root in nodes:
        stack = [root]
        while stack:
            name = stack[-1]
            if name in begun:
                stack.pop()
                if name not in done:
                    done.add(name)
                    yield nodes[name]
                continue
            begun.add(name)
            node = nodes[name]
            for text in node.input:
                source = parse_input(text)[0]
                if source in begun or source not in nodes:
                    continue
                if node.op in MERGES and nodes[source].op in NEXT_ITERATIONS:
                    continue
                stack.append(source)


def through_identities(nodes: Mapping[str, NodeDef], tensor: tuple[str, int]) -> tuple[str, int]:
    """The tensor that identities pass on as this one."""
    for _ in range(len(nodes)):
        node = nodes.get(tensor[0])
        if node is None or node.op not in _IDENTITIES or not node.input:
            break
        tensor = parse_input(node.input[0])
    return tensor


class Gates:
    """The gates of a graph's nodes. `any` is whether there are conds or loops at all."""

    def __init__(self, nodes: Mapping[str, NodeDef]):
        self._nodes = nodes
        self._gates: dict[str, Gate] = {}
        self._outside: dict[str, Gate] = {}
        self.any = any(node.op in SWITCHES or node.op in ENTERS for node in nodes.values())
        if self.any:
            for node in in_order(nodes):
                gate = self._gate(node)
                if gate:
                    self._gates[node.name] = gate

    def of(self, name: str) -> Gate:
        """A node's gate."""
        return self._gates.get(name, _NONE)

    def of_input(self, text: str) -> Gate:
        """What a node gets its gate from by one input."""
        name, output = parse_input(text)
        gate = self._gates.get(name, _NONE)
        node = self._nodes.get(name)
        if output >= 0 and node is not None and node.op in SWITCHES and len(node.input) > 1:
            op, index = through_identities(self._nodes, parse_input(node.input[1]))
            gate |= {(f"{op}:{index}", output)}
        return gate

    def controls(self, node: NodeDef) -> list[str]:
        """Those of a node's control inputs that put it into a branch or a frame, where its data inputs don't."""
        if not self.any:
            return []
        data: Gate = _NONE
        waits = []
        for text in node.input:
            if text.startswith("^"):
                waits.append(text)
            else:
                data |= self.of_input(text)
        return [text for text in waits if not self.of_input(text) <= data]

    def _gate(self, node: NodeDef) -> Gate:
        inputs = [text for text in node.input if not text.startswith("^")]
        waits = [text for text in node.input if text.startswith("^")]
        if node.op in MERGES:
            loop = [t for t in inputs if self._op(t) not in NEXT_ITERATIONS]
            gates = [self.of_input(t) for t in loop]
            gate = frozenset.intersection(*gates) if gates else _NONE
        else:
            gate = _NONE.union(*(self.of_input(t) for t in inputs))
        gate = gate.union(*(self.of_input(t) for t in waits))
        if node.op in ENTERS:
            frame = node.attr["frame_name"].s.decode(errors="replace")
            self._outside[frame] = self._outside.get(frame, _NONE) | gate
            gate |= {(frame, -1)}
        elif node.op in EXITS:
            # Of nested frames the innermost is the one that most lies outside of.
            frames = [name for name, output in gate if output < 0]
            if frames:
                gate = self._outside[max(frames, key=lambda name: len(self._outside[name]))]
        return gate

    def _op(self, text: str) -> str:
        node = self._nodes.get(parse_input(text)[0])
        return node.op if node is not None else ""
