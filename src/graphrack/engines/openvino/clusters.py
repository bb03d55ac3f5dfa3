"""Cutting a plan's nodes into clusters: connected regions of what OpenVINO runs.

A cluster is convex: no path leads out of it and back in, so that it is one step of the plan. First every node gets a
level, which grows where a path changes between nodes that can be in one cluster and nodes that can't; what hangs
together at one level is convex, since a path that leaves it comes back, if at all, at a higher level. Then
neighbours are joined for as long as no other path leads from the one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

from graphrack.engines.interpreter.control_flow import MERGES
from graphrack.engines.interpreter.order import Cluster, Item, entering, hands_on, names_in
from graphrack.engines.openvino.ops import FLOAT, HEAVY, INT64, RULES, SHAPES, types
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import REF_VARIABLES, RESOURCE_VARIABLES
from graphrack.graph.prune import Needed

Tensor = tuple[str, int]

# How many nodes joining may look at in all: the graph of clusters is small but for odd graphs.
_MAX_LOOKS = 300_000

# What an integer's value is known from when a run's shapes are: the plan's constants, shapes alone, or also
# what a run brings from outside of the cluster. Of others nothing is known but their shape.
_CONSTANT, _SHAPES, _BROUGHT, _DATA = range(4)
_REACH = {"any": _DATA, "brought": _BROUGHT, "shapes": _SHAPES}


class Candidates:
    """Which nodes of a plan can be in clusters, and why others can't.

    Attributes:
        why_not: for each node seen that can't the reason.
    """

    def __init__(
        self, work: Needed, fed: Collection[Tensor], used: Collection[Tensor], constant: Callable[[Tensor], Any]
    ):
        """`constant` gives a tensor's value where that is a constant of the plan, else None."""
        self.why_not: dict[str, str] = {}
        self._work = work
        self._fed = fed
        self._several = {op for op, output in used if output > 0}
        self._replaced = {op for op, _ in fed}
        self._constant = constant
        self._known: dict[str, int] = {}
        self._still: set[str] = set()
        for node in work.order:
            sources = work.inputs[node.name]
            passes = node.op in RULES or node.op in ("Identity", "ReadVariableOp")
            still = passes and sources and all(s not in fed and s[0] in self._still for s in sources)
            if still or node.op in _SOURCES:
                self._still.add(node.name)

    def takes(self, node: NodeDef) -> bool:
        """Whether a node can be in a cluster; nodes are to be asked for after what they take values of."""
        reason = self._reason(node)
        if reason:
            self.why_not[node.name] = reason
        return not reason

    def _reason(self, node: NodeDef) -> str:
        rule = RULES.get(node.op)
        if rule is None:
            return f"OpenVINO isn't given {node.op}"
        if node.op in HEAVY and node.name in self._still:
            # OpenVINO runs it while compiling, and gives wrong numbers where a product takes a convolution of weights.
            return "it is computed from variables and constants alone"
        inputs, found = self._work.inputs[node.name], types(node)
        if not found <= rule.types:
            return "of a data type that isn't given to OpenVINO"
        if node.name in self._replaced:
            return "an output of it is fed"
        if node.name in self._several and not rule.outputs:
            return "another output than its first is used"

        def value(i: int) -> Any:
            return self._constant(inputs[i]) if -len(inputs) <= i < len(inputs) else None

        for i in rule.fixed:
            if value(i) is None:
                return f"its input {i % max(len(inputs), 1)} is no constant"
        if rule.check is not None and not rule.check(node, value):
            return f"of {node.op} not with these attributes"
        sizes = [i % len(inputs) for i in rule.values if i < len(inputs)]
        if any(self._knowledge(inputs[i]) == _DATA for i in sizes):
            return "a size that it takes is computed from data"
        data = [
            self._knowledge(s) for i, s in enumerate(inputs) if i not in sizes and i % len(inputs) not in rule.fixed
        ]
        known = max(data, default=_CONSTANT)
        if node.op in SHAPES:
            known = _SHAPES
        elif FLOAT in found:
            known = _DATA
        else:
            known = max([known, *(self._knowledge(inputs[i]) for i in sizes)])
            if known > _REACH[rule.integers]:
                return "it computes with integers"
            if known > _SHAPES and INT64 in found:
                return "it handles data of 64 bit integers"
        self._known[node.name] = known
        return ""

    def _knowledge(self, source: Tensor) -> int:
        if self._constant(source) is not None:
            return _CONSTANT
        return _BROUGHT if source in self._fed else self._known.get(source[0], _BROUGHT)


_SOURCES = REF_VARIABLES | RESOURCE_VARIABLES | {"Const"}


def find_clusters(
    items: Sequence[Item],
    work: Needed,
    fed: Collection[Tensor],
    color_of: Mapping[str, Hashable],
) -> list[Cluster]:
    """The maximal clusters among items of a plan.

    Attributes:
        items: nodes and loops, each after what it takes values of or waits for.
        color_of: for each node that can be in a cluster, what all nodes of one cluster have in common.
    """
    graph = _Graph(items, work, fed, color_of)
    graph.join()
    members: dict[int, list[NodeDef]] = {}
    for i, item in enumerate(items):
        if graph.colors[i] is not None:
            assert isinstance(item, NodeDef)
            members.setdefault(graph.root(i), []).append(item)
    return [Cluster(nodes) for nodes in members.values()]


class _Graph:
    """Items by number, and which of them are one by now.

    Attributes:
        colors: of each item; None of one that can't be in a cluster.
    """

    def __init__(self, items: Sequence[Item], work: Needed, fed: Collection[Tensor], color_of: Mapping[str, Hashable]):
        owner = {name: i for i, item in enumerate(items) for name in names_in(item)}
        self.colors = [color_of.get(item.name) if isinstance(item, NodeDef) else None for item in items]
        self._parent = list(range(len(items)))
        self._after: list[set[int]] = [set() for _ in items]
        self._looks = 0
        levels = [0] * len(items)
        for i, item in enumerate(items):
            sources: set[int] = set()
            for node in entering(item):
                data = [op for op, k in work.inputs[node.name] if (op, k) not in fed]
                sources.update(owner[n] for n in (*data, *work.controls.get(node.name, ())) if n in owner)
            if isinstance(item, NodeDef) and item.op in MERGES:
                sources = {s for s in sources if not hands_on(items[s])}
            sources.discard(i)
            for source in sources:
                self._after[self.root(source)].add(i)
                levels[i] = max(levels[i], levels[source] + (self.colors[source] != self.colors[i]))
            for source in sources:
                if self._alike(source, i) and levels[source] == levels[i]:
                    self._unite(source, i)

    def root(self, i: int) -> int:
        """The item that stands for all that are one with this one."""
        while self._parent[i] != i:
            self._parent[i] = i = self._parent[self._parent[i]]
        return i

    def join(self) -> None:
        """Makes neighbours one for as long as no path leads out of them and back in."""
        going = True
        while going and self._looks < _MAX_LOOKS:
            going = False
            for i in range(len(self.colors)):
                if self.colors[i] is None or self.root(i) != i:
                    continue
                for other in [o for o in self._following(i) if self._alike(i, o)]:
                    if self._alone(i, other):
                        self._unite(i, other)
                        going = True
                        break

    def _alike(self, one: int, other: int) -> bool:
        return self.colors[one] is not None and self.colors[one] == self.colors[other]

    def _unite(self, one: int, other: int) -> None:
        one, other = self.root(one), self.root(other)
        if one != other:
            self._parent[other] = one
            self._after[one] |= self._after[other]

    def _following(self, i: int) -> set[int]:
        found = {self.root(o) for o in self._after[i]} - {i}
        self._after[i] = set(found)
        return found

    def _alone(self, one: int, other: int) -> bool:
        """Whether no path but the direct one leads from the one to the other."""
        stack = [o for o in self._following(one) if o != other]
        seen = set(stack)
        while stack:
            self._looks += 1
            if self._looks >= _MAX_LOOKS:
                return False
            following = self._following(stack.pop())
            if other in following:
                return False
            stack += following - seen
            seen |= following
        return True
