"""What a plan is compiled with: the nodes that it needs, the slots of a run's frame, the steps so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphrack.engines.interpreter import control_flow, memory, steps
from graphrack.engines.interpreter.control_flow import ControlFlow
from graphrack.engines.interpreter.dense_shapes import find_dense_shapes
from graphrack.engines.interpreter.duplicates import merge_duplicates
from graphrack.engines.interpreter.elements import Element, find_elements
from graphrack.engines.interpreter.functions import FUNCTION_OPS, Functions
from graphrack.engines.interpreter.needed_ops import ops_of
from graphrack.engines.interpreter.order import Cluster, Item
from graphrack.engines.interpreter.plan import Fetch, Place, Read
from graphrack.engines.interpreter.reads import LatestReads
from graphrack.engines.interpreter.rows import find_summed_rows
from graphrack.engines.interpreter.selections import find_selections
from graphrack.engines.interpreter.steps import Step
from graphrack.engines.interpreter.sums import BroadcastSum, find_broadcast_sums, without_unneeded
from graphrack.engines.interpreter.waits import without_idle_waits
from graphrack.errors import GraphError
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import TensorName
from graphrack.graph.prune import needed
from graphrack.ops.runtime import Handle

Tensor = tuple[str, int]

_SWITCHES = control_flow.SWITCHES | {"_SwitchN"}
_MARK = -1  # the output number under which a node's mark (that it ran) has its slot


class Slots:
    """What one plan is compiled with.

    Attributes:
        template: the frame's values before a run: constants, and None.
        slots: of tensors; under output `_MARK`, of nodes' marks.
        constants: values of slots that no run changes.
        references: of slots that hold a TF1 variable's reference, the variable.
        sums: Reshapes that stand for the gradient of an operand that was broadcast.
        elements: StridedSlices that take an element, or a row, at numbers.
        summed_rows: nodes of optimizers that sum gradients of one row first, each with the input that these are.
        selections: GatherV2s that take the rows for which a condition holds.
        dense_shapes: tensors that are shapes of sparse ones.
        facts: slots whose values follow from the shapes of others, and are the same arrays while these are the same.
        same: for the slots of such tensors, those of the same values as facts.
        steps: the list that steps are added to: the plan's, or a section of the loop being compiled.
        fills: the slots that steps fill.
        calls: what steps call, of those that do nothing else.
        latest: where values of variables are that have been read.
    """

    def __init__(
        self,
        index: GraphIndex,
        fetches: Sequence[Fetch],
        feeds: Sequence[TensorName],
        functions: Functions,
        *,
        body: bool = False,
    ):
        self.index = index
        self.fetches = fetches
        self.feeds = tuple(feeds)
        self.fed = frozenset(feeds)
        self.functions = functions
        self.site = functions.site
        self.template: list[Any] = [None]
        self.slots: dict[Tensor, int] = {}
        self.constants: dict[int, Any] = {}
        self.references: dict[int, Handle] = {}
        self.facts: set[int] = set()
        self.same: dict[int, int] = {}
        self.reads: list[Read] = []
        self.steps: list[Step] = []
        self.places: dict[Step, Place] = {}
        self.fills: dict[Step, Sequence[int]] = {}
        self.calls: dict[Step, memory.Call] = {}
        self.latest = LatestReads(self.constants)
        for feed in feeds:
            self.new_slot(feed)
        self.work = needed(index, fetches, self.fed)
        self.ops, nodes_of_functions = ops_of(index, self.work, self.fed, fetches, functions)
        self.needs_state = nodes_of_functions
        self.writes = any(op.writes for op in self.ops.values()) or functions.writes
        # Where an op takes a reference, TF1 variables are read when their values are taken. The body of a
        # function is run inside of a run, and reads its variables where it reads them.
        self.by_reference = self.writes or body or any(op.ref_inputs for op in self.ops.values())
        self.hoists_reads = not self.writes and not body
        self.flow = None
        if any(node.op in control_flow.CONTROL_FLOW for node in self.work.order):
            self.flow = ControlFlow(self.work, self.fed)
        self.leave_out_idle_waits()
        self.sums: dict[str, BroadcastSum] = {}
        self.summed_rows: dict[str, int] = {}
        self.elements: dict[str, Element] = {}
        self.selections: set[str] = set()
        self.dense_shapes: set[Tensor] = set()
        self.find_used()

    def find_used(self) -> None:
        """Sets `used`: the tensors that anything takes; their numbers, by node; and `waited_for`: nodes, by name."""
        self.waited_for = {name for waited in self.work.controls.values() for name in waited}
        self.used = {source for inputs in self.work.inputs.values() for source in inputs}
        self.used.update(f for f in self.fetches if not isinstance(f, str))
        self.taken_of: dict[str, list[int]] = {}
        for name, output in sorted(self.used):
            self.taken_of.setdefault(name, []).append(output)

    def shorten(self) -> None:
        """Makes one node of several where that is known to give the same."""
        flow = self.flow
        merged = merge_duplicates(
            self.work,
            self.fed,
            self.fetches,
            self.ops,
            self.is_outside,
            by_reference=self.by_reference,
        )
        if merged:
            self.leave_out_unneeded()
            flow = self.flow
        self.sums = find_broadcast_sums(self.work, self.fed, None if flow is None else flow.place)
        may = (lambda node, inputs: True) if flow is None else flow.is_as_before
        self.elements = find_elements(self.work, self.fed, self.index.constant, may)
        self.selections = find_selections(self.work, self.fed, self.index.constant, may)
        if flow is None:
            self.summed_rows = find_summed_rows(self.work, self.fed, self.index.constant)
        if self.sums or self.elements or self.selections or self.summed_rows:
            self.leave_out_unneeded()
        self.dense_shapes = find_dense_shapes(self.work)

    def leave_out_idle_waits(self) -> None:
        """Waits for nothing that has no effect."""
        flow = self.flow
        place = (lambda name: True) if flow is None else (lambda name: flow.place(name) is flow.root)
        work = without_idle_waits(self.work, self.fetches, self.fed, self.ops, place)
        if work is not self.work:
            self.work = work
            if flow is not None:
                self.flow = ControlFlow(work, self.fed)

    def leave_out_unneeded(self) -> None:
        """Sees anew what is needed and where it lies, after nodes have been made to take something else."""
        self.work = without_unneeded(self.work, self.fetches, self.fed)
        if self.flow is not None:
            self.flow = ControlFlow(self.work, self.fed)
        self.find_used()

    def item_writes(self, item: Item) -> bool:
        """Whether a node changes variables; a loop is taken to, and a cluster doesn't."""
        if not isinstance(item, NodeDef):
            return self.writes and not isinstance(item, Cluster)
        op = self.ops.get(item.op)
        return op.writes if op is not None else item.op in FUNCTION_OPS and self.functions.writes

    def is_outside(self, name: str) -> bool:
        """Whether a node lies in no branch and no loop."""
        return self.flow is None or self.flow.place(name) is self.flow.root

    # Slots

    def new_slot(self, tensor: Tensor | None, value: Any = None) -> int:
        """A new slot, of a tensor where one is named."""
        slot = len(self.template)
        self.template.append(value)
        if tensor is not None:
            self.slots[tensor] = slot
        return slot

    def output_slot(self, name: str, output: int) -> int:
        """A slot for what a node computes; where that is fed, one that nobody looks at."""
        return self.new_slot(None if (name, output) in self.fed else (name, output))

    def constant(self, tensor: Tensor, value: Any) -> None:
        """A slot whose value no run changes."""
        slot = self.new_slot(tensor, value)
        self.constants[slot] = value

    def source_slot(self, source: Tensor, consumer: NodeDef) -> int:
        """The slot of an input as it is: of a reference, the reference."""
        try:
            return self.slots[source]
        except KeyError:
            node = self.index.nodes[source[0]]
            raise GraphError(
                f"node {consumer.name!r} ({consumer.op}) takes '{source[0]}:{source[1]}', but {node.op} "
                f"{node.name!r} has no such output"
            ) from None

    def value_slot(self, source: Tensor, consumer: NodeDef) -> int:
        """The slot of an input's value; for a reference, one that a step fills right before its use."""
        slot = self.source_slot(source, consumer)
        if slot not in self.references:
            return self.same.get(slot, slot)
        known = self.latest.slot(slot) if self.is_outside(consumer.name) else None
        if known is not None:
            return known
        value = self.new_slot(None)
        self.needs_state = True
        self.add(steps.read_reference(slot, value), consumer, (slot,), (value,))
        if self.is_outside(consumer.name):
            self.latest.read(slot, value)
        return value

    # Steps

    def add(self, step: Step, node: NodeDef, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Adds a node's step; guarded where the node lies in a branch."""
        place = Place(node.name, node.op, inputs)
        if self.flow is not None and self.flow.contexts[node.name]:
            self.places[step] = place
            step = control_flow.guarded(step, self.watched(node), outputs, self.mark(node))
        self.steps.append(step)
        self.places[step] = place
        self.fills[step] = outputs

    def watched(self, node: NodeDef) -> list[int]:
        """The slots that are dead where a node in a branch doesn't run."""
        assert self.flow is not None
        found = self.maybe_dead(node.name)
        for name in self.work.controls.get(node.name, ()):
            if self.flow.contexts[name] and self.index.nodes[name].op in _SWITCHES:
                found += self.maybe_dead(name)  # it has run, whichever of its outputs is dead
            elif self.flow.contexts[name]:
                slot = self.slots.get((name, _MARK), self.slots.get((name, 0)))
                if slot is not None:
                    found.append(slot)
        return found

    def maybe_dead(self, name: str) -> list[int]:
        """The slots of those of a node's inputs that may be dead."""
        assert self.flow is not None
        sources = self.work.inputs[name]
        return [self.slots[s] for s in sources if s not in self.fed and self.flow.of_tensor(s)]

    def mark(self, node: NodeDef) -> int | None:
        """A slot that says whether a node in a branch ran, where another waits for it and no output tells."""
        if node.name not in self.waited_for or (node.name, 0) in self.slots:
            return None
        return self.slots.get((node.name, _MARK)) or self.new_slot((node.name, _MARK))
