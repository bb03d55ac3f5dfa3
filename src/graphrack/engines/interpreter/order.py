"""The order of a plan's steps, and which section of a loop each belongs to."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence

from graphrack.engines.interpreter import control_flow
from graphrack.engines.interpreter.control_flow import LoopFrame, LoopSteps
from graphrack.engines.interpreter.steps import Step
from graphrack.errors import GraphError
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.prune import Needed


class Cluster:
    """Nodes that become one step together, each after those it takes values of; no path leads out and back in."""

    __slots__ = ("nodes",)

    def __init__(self, nodes: list[NodeDef]):
        self.nodes = nodes

    @property
    def name(self) -> str:
        """For messages: the last node's."""
        return self.nodes[-1].name


Item = NodeDef | LoopFrame | Cluster
Tensor = tuple[str, int]


def names_in(item: Item) -> list[str]:
    """The nodes of an item: itself, or those of a loop and of the loops inside it."""
    if isinstance(item, NodeDef):
        return [item.name]
    if isinstance(item, Cluster):
        return [node.name for node in item.nodes]
    return [n.name for n in (*item.nodes, *item.enters)] + [n for child in item.children for n in names_in(child)]


def entering(item: Item) -> list[NodeDef]:
    """The nodes by which an item takes anything from outside."""
    if isinstance(item, NodeDef):
        return [item]
    return item.nodes if isinstance(item, Cluster) else item.enters


def ordered(
    nodes: Sequence[NodeDef],
    groups: Sequence[LoopFrame | Cluster],
    work: Needed,
    fed: Collection[Tensor],
    writes: Callable[[Item], bool],
) -> list[Item]:
    """Nodes, loops and clusters in an order in which those that write come as late as the graph lets them.

    Raises:
        GraphError: they wait for each other.
    """
    items: list[Item] = [*nodes, *groups]
    owner = {name: i for i, item in enumerate(items) for name in names_in(item)}
    waiting = [0] * len(items)
    consumers: list[list[int]] = [[] for _ in items]
    for i, item in enumerate(items):
        sources: set[int] = set()
        for node in entering(item):
            names = [op for op, k in work.inputs[node.name] if (op, k) not in fed]
            sources.update(owner[n] for n in (*names, *work.controls.get(node.name, ())) if n in owner)
        if isinstance(item, NodeDef) and item.op in control_flow.MERGES:
            sources = {s for s in sources if not hands_on(items[s])}
        sources.discard(i)
        waiting[i] = len(sources)
        for source in sources:
            consumers[source].append(i)
    ready = [(writes(items[i]), i) for i, count in enumerate(waiting) if count == 0]
    heapq.heapify(ready)
    order: list[Item] = []
    while ready:
        _, i = heapq.heappop(ready)
        order.append(items[i])
        for consumer in consumers[i]:
            waiting[consumer] -= 1
            if waiting[consumer] == 0:
                heapq.heappush(ready, (writes(items[consumer]), consumer))
    if len(order) < len(items):
        stuck = next(item for i, item in enumerate(items) if waiting[i] > 0)
        raise GraphError(f"the graph has a cycle through {stuck.name!r} that is no loop of its own")
    return order


def hands_on(item: Item) -> bool:
    """Whether an item gives a loop's variable its next value: no Merge waits for it."""
    return isinstance(item, NodeDef) and item.op in control_flow.NEXT_ITERATIONS


class Sections:
    """Which section of a loop each of its nodes belongs to.

    Attributes:
        steps: the loop's sections.
        variables: the loop's Merges, each with the input that comes from the iteration before.
    """

    def __init__(
        self,
        frame: LoopFrame,
        work: Needed,
        fed: Collection[Tensor],
        loop_switches: Collection[str],
        is_variable: Callable[[NodeDef], bool],
        changes: Callable[[NodeDef], bool],
    ):
        self.steps = LoopSteps()
        self.variables: list[tuple[NodeDef, Tensor]] = []
        self._work = work
        self._fed = fed
        self._loop_switches = {n.name for n in frame.nodes if n.name in loop_switches}
        self._is_variable = is_variable
        self._changes = changes
        self._rank: dict[str, int] = {}

    def of(self, item: Item) -> list[Step]:
        """The section of a node or inner loop: the latest of those of what it takes or waits for."""
        loop = self.steps
        return (loop.setup, loop.test, loop.body, loop.after)[self.rank(item)]

    def rank(self, item: Item) -> int:
        """The number of an item's section; items are to be asked for in an order."""
        rank = max((self._rank_of(node) for node in entering(item)), default=0)
        if isinstance(item, LoopFrame):
            rank = max(rank, 1)
        for name in names_in(item):
            self._rank[name] = rank
        return rank

    def _rank_of(self, node: NodeDef) -> int:
        if self._is_variable(node):
            return 1
        # What draws random numbers, or writes, does so in every iteration.
        rank = 1 if self._changes(node) else 0
        sources = [s for s in self._work.inputs[node.name] if s not in self._fed]
        for op, output in [*sources, *((c, -1) for c in self._work.controls.get(node.name, ()))]:
            rank = max(rank, self._rank.get(op, 0))
            if op in self._loop_switches:
                rank = max(rank, {1: 2, 0: 3}.get(output, 1))
        return rank
