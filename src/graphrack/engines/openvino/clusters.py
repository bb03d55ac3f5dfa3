"""Cutting a plan's nodes into clusters: connected regions of what OpenVINO runs.

A cluster is convex: no path leads out of it and back in, so that it is one step of the plan. Every node gets a
level, which grows where a path changes between nodes that can be in clusters and nodes that can't; a cluster is what
hangs together at one level, so a path that leaves it comes back, if at all, at a higher level.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from graphrack.engines.interpreter.order import Cluster
from graphrack.engines.openvino.ops import HEAVY, constant_inputs
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.prune import Needed


def find_clusters(
    order: Sequence[NodeDef], work: Needed, is_fixed: Callable[[str], bool], multiple: Collection[str]
) -> list[Cluster]:
    """The clusters among the nodes of a plan.

    Attributes:
        order: the nodes, each after its inputs.
        is_fixed: whether a node gives the same values in every run (constants; variables, where the plan
            writes nothing).
        multiple: nodes of which an output other than the first is used.
    """
    levels: dict[str, int] = {}
    able: dict[str, bool] = {}
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for node in order:
        name, inputs = node.name, work.inputs[node.name]
        needed = constant_inputs(node)
        fits = (
            needed is not None
            and not is_fixed(name)
            and name not in multiple
            and name not in work.controls
            and all(-len(inputs) <= i < len(inputs) and is_fixed(inputs[i][0]) for i in needed)
        )
        able[name] = fits
        parent[name] = name
        level = 1 if fits else 0
        for source, _ in inputs:
            if source in levels and not is_fixed(source):
                level = max(level, levels[source] + (able[source] != fits))
        for source in work.controls.get(name, ()):
            level = max(level, levels.get(source, 0) + (able.get(source, False) != fits))
        levels[name] = level
        if fits:
            for source, _ in inputs:
                if able.get(source) and levels[source] == level:
                    parent[root(source)] = root(name)
    found: dict[str, list[NodeDef]] = {}
    for node in order:
        if able[node.name]:
            found.setdefault(root(node.name), []).append(node)
    return [Cluster(nodes) for nodes in found.values() if any(n.op in HEAVY for n in nodes)]
