"""Clusters while a plan is compiled: which nodes are to be one step, and that step."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from graphrack.engines.interpreter.order import Cluster, Item, Sections, entering, names_in
from graphrack.engines.interpreter.steps import Step
from graphrack.engines.openvino.building import ClusterBuilder
from graphrack.engines.openvino.clusters import Candidates, find_clusters
from graphrack.engines.openvino.ops import FLOAT, RULES, is_heavy, makes_passes, types
from graphrack.engines.openvino.step import ClusterStep
from graphrack.formats.dtypes import DType
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import Shape
from graphrack.graph.names import TensorName
from graphrack.ops.runtime import Handle

if TYPE_CHECKING:
    from graphrack.engines.interpreter.nodes import NodeCompiler

Tensor = tuple[str, int]

_ANYTHING = RULES["Identity"].types
# Compiling takes OpenVINO up to 25 s for 4,000 nodes in a row, and up to four times as long for twice as many.
_MOST_NODES = 10_000

SMALL_SO_FAR = "no convolution and no product of matrices is near, and values haven't been large"
"""Why what only passes over values is in no cluster."""
TOO_LITTLE = "what hangs together there is too little"


class Clusters:
    """What of one plan, or of one function's body, goes to OpenVINO.

    Attributes:
        why_not: for each node that is in no cluster the reason.
        may_be_more: whether there would be more of them for large values.
    """

    def __init__(
        self,
        compiler: NodeCompiler,
        *,
        eager: bool,
        fluid: bool,
        precision: str,
        large: bool,
        earlier: Sequence[ClusterStep],
    ):
        """What clusters are to be.

        Attributes:
            eager: as much as possible, at once; else what pays, when it does.
            fluid: variables change meanwhile.
            precision: what they compute in.
            large: values are, so that passes over them pay.
            earlier: clusters of the same plan, with what is known of them.
        """
        self.may_be_more = False
        self._compiler = compiler
        self._eager = eager
        self._fluid = fluid
        self._large = large
        self._earlier = {one.interface.key(): one for one in earlier}
        self._precision = precision
        self._candidates = Candidates(compiler.work, compiler.fed, compiler.used, self._constant)
        self.why_not = self._candidates.why_not
        self._consumers: dict[str, dict[int, set[str]]] = {}
        for name, inputs in compiler.work.inputs.items():
            for op, output in inputs:
                self._consumers.setdefault(op, {}).setdefault(output, set()).add(name)
        for fetch in compiler.fetches:
            if not isinstance(fetch, str):
                self._consumers.setdefault(fetch.op, {}).setdefault(fetch.output, set()).add("")

    def find(self, items: Sequence[Item], sections: Sections | None, done: Collection[str]) -> list[Cluster]:
        """The clusters among the items of a plan or a loop, which are in an order.

        Attributes:
            sections: of the loop; asked for every item.
            done: nodes that are constants.
        """
        compiler, flow = self._compiler, self._compiler.flow
        colors: dict[str, Hashable] = {}
        changed: dict[str, int] = {}
        for number, item in enumerate(items):
            rank = sections.rank(item) if sections is not None else 0
            writers = self._writers(item, number, changed) if compiler.writes else 0
            if not isinstance(item, NodeDef) or item.name in done:
                continue
            context = flow.contexts[item.name] if flow is not None else frozenset()
            if item.name in compiler.sums:
                self.why_not[item.name] = "it sums a gradient over what was broadcast"
                continue
            if item.name in compiler.elements:
                self.why_not[item.name] = "it takes an element at a number that is computed"
                continue
            if not self._candidates.takes(item):
                continue
            if context and (item.op == "Identity" or item.name in compiler.waited_for):
                self.why_not[item.name] = "in a branch, it only tells whether that is taken"
                continue
            colors[item.name] = (context, rank, writers)
        found = []
        if not compiler.writes:
            items = [item for item in items if not (isinstance(item, NodeDef) and item.name in done)]
        for cluster in find_clusters(items, compiler.work, compiler.fed, colors):
            if len(cluster.nodes) > _MOST_NODES:
                self.why_not.update(
                    (node.name, "too much hangs together there to compile it") for node in cluster.nodes
                )
            elif self._is_worth(cluster):
                found.append(cluster)
            elif not (self._large or self._fluid) and makes_passes(cluster.nodes):
                self.may_be_more = True
                self.why_not.update((node.name, SMALL_SO_FAR) for node in cluster.nodes)
            else:
                self.why_not.update((node.name, TOO_LITTLE) for node in cluster.nodes)
        return found

    def step(self, cluster: Cluster, inner: Step, value_slots: dict[int, int]) -> ClusterStep | None:
        """The step of a cluster whose nodes' own steps are made; None where OpenVINO can't take it after all."""
        compiler = self._compiler
        reads = [(n.name, 0) for n in compiler.work.order if n.op == "ReadVariableOp"]
        variables = {read.slot for read in compiler.reads} | set(value_slots.values())
        variables.update(compiler.slots[tensor] for tensor in reads if tensor in compiler.slots)
        builder = ClusterBuilder(
            compiler.work.inputs,
            compiler.slots,
            compiler.constants,
            variables,
            self._dtype,
            self._shape,
            eager=self._eager,
            fluid=self._fluid,
            precision=self._precision,
        )
        step = builder.step(cluster, value_slots, self._taken_outside(cluster), inner)
        if step is not None:
            earlier = self._earlier.get(step.interface.key())
            if earlier is not None:
                step.go_on_from(earlier)
        return step

    def _taken_outside(self, cluster: Cluster) -> list[Tensor]:
        """Tensors of a cluster that others take, or that are fetched."""
        own = {node.name for node in cluster.nodes}
        return [
            (node.name, output)
            for node in cluster.nodes
            for output, consumers in sorted(self._consumers.get(node.name, {}).items())
            if not consumers <= own
        ]

    def _writers(self, item: Item, number: int, changed: dict[str, int]) -> int:
        """A set of items that write, as bits: those that this one comes after.

        Nodes of one cluster come after the same ones, so that none of them waits for a write which it needn't.
        """
        compiler, found = self._compiler, 0
        for node in entering(item):
            for op, _ in compiler.work.inputs[node.name]:
                found |= changed.get(op, 0)
            for op in compiler.work.controls.get(node.name, ()):
                found |= changed.get(op, 0)
        own = found | (1 << number) if compiler.item_writes(item) else found
        changed.update(dict.fromkeys(names_in(item), own))
        return found

    def _is_worth(self, cluster: Cluster) -> bool:
        if not self._eager:
            return is_heavy(cluster.nodes) or (self._large and makes_passes(cluster.nodes))
        return any(RULES[n.op].types != _ANYTHING and FLOAT in types(n) for n in cluster.nodes)

    def _constant(self, tensor: Tensor) -> Any:
        slot = self._compiler.slots.get(tensor)
        value = self._compiler.constants.get(slot) if slot is not None else None
        return None if isinstance(value, Handle) else value

    def _dtype(self, tensor: Tensor) -> DType | None:
        return self._compiler.index.output_dtype(TensorName(*tensor))

    def _shape(self, tensor: Tensor) -> Shape:
        return self._compiler.index.output_shape(TensorName(*tensor))
