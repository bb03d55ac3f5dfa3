"""The nodes of a plan: what each becomes, a constant, a slot of another's, or a step.

`compiler.py` puts them in order, and has what spans several nodes: loops, branches, clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.engines.interpreter import control_flow, memory, steps
from graphrack.engines.interpreter.control_flow import ControlFlow
from graphrack.engines.interpreter.dense_shapes import find_dense_shapes, same_array
from graphrack.engines.interpreter.duplicates import merge_duplicates
from graphrack.engines.interpreter.elements import Element, element, find_elements
from graphrack.engines.interpreter.functions import FUNCTION_OPS, Functions
from graphrack.engines.interpreter.needed_ops import bound, ops_of
from graphrack.engines.interpreter.order import Cluster, Item
from graphrack.engines.interpreter.plan import Fetch, Place, Read
from graphrack.engines.interpreter.rows import find_summed_rows, summing_rows
from graphrack.engines.interpreter.selections import find_selections, selection
from graphrack.engines.interpreter.steps import STATE_SLOT, Step
from graphrack.engines.interpreter.sums import BroadcastSum, broadcast_sum, find_broadcast_sums, without_unneeded
from graphrack.engines.interpreter.waits import without_idle_waits
from graphrack.errors import GraphError
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import PLACEHOLDERS, REF_VARIABLES, RESOURCE_VARIABLES, GraphIndex, variable
from graphrack.graph.names import TensorName
from graphrack.graph.prune import needed
from graphrack.ops import registry
from graphrack.ops.registry import Op
from graphrack.ops.runtime import Handle

Tensor = tuple[str, int]

# A folded value stays in memory as long as its plan: what grows (a big Fill, say) is left to each run.
_MAX_FOLDED_BYTES = 1 << 20
VARIABLE_NODES = REF_VARIABLES | RESOURCE_VARIABLES
# What these give for one shape is the same array every time; of others, these outputs.
_SHAPE_OPS = frozenset(("Shape", "ShapeN", "Size", "Rank"))
_SHAPE_OUTPUTS = {"SparseReshape": 1}
_PASS_HANDLES = frozenset(("Identity", "IdentityN"))
_SWITCHES = control_flow.SWITCHES | {"_SwitchN"}
_MARK = -1  # the output number under which a node's mark (that it ran) has its slot


class NodeCompiler:
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
        value = self.new_slot(None)
        self.needs_state = True
        self.add(steps.read_reference(slot, value), consumer, (slot,), (value,))
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

    # Nodes

    def node(self, node: NodeDef) -> None:
        """Makes a node what it is in the plan: a constant, a slot of another's, or a step."""
        name, op_name = node.name, node.op
        inputs = self.work.inputs[name]
        if op_name == "Const":
            if (name, 0) not in self.fed:
                self.const(node)
        elif op_name in VARIABLE_NODES:
            if (name, 0) not in self.fed:
                self.variable(node)
        elif op_name == "TemporaryVariable":
            if (name, 0) not in self.fed:
                self.temporary_variable(node)
        elif op_name in PLACEHOLDERS:
            if (name, 0) not in self.fed:  # a default, not fed
                self.slots[name, 0] = self.value_slot(inputs[0], node)
        elif op_name in FUNCTION_OPS:
            slots = [STATE_SLOT, *(self.value_slot(source, node) for source in inputs)]
            used = self.used_outputs(node)
            kernel = self.functions.kernel(node, used)
            outputs = [(position, self.output_slot(name, i)) for position, i in enumerate(used)]
            self.add(steps.many_outputs(kernel, slots, outputs), node, slots, [slot for _, slot in outputs])
        elif name in self.sums:
            self.broadcast_sum(node)
        elif name in self.elements:
            slots = [self.value_slot(source, node) for source in inputs]
            output = self.output_slot(name, 0)
            self.add(element(self.elements[name], slots, output), node, slots, (output,))
        elif name in self.selections:
            slots = [self.value_slot(source, node) for source in inputs]
            output = self.output_slot(name, 0)
            self.add(selection(slots, output), node, slots, (output,))
        elif op_name == "NoOp" and (self.flow is None or not self.flow.contexts[name]):
            pass  # it is there for the order of others
        elif op_name == "Identity" and (self.passes_reference(node) or self.passes_value(node)):
            pass
        elif op_name != "ReadVariableOp" or not self.hoisted(node):
            self.kernel_node(node, self.ops[op_name])

    def const(self, node: NodeDef) -> None:
        """A Const: its value is in the frame from the start, but in a branch, where it may be dead."""
        value = self.index.constant(node)
        if self.flow is None or not self.flow.contexts[node.name]:
            self.constant((node.name, 0), value)
            return
        # In a branch a constant is dead where the branch is not taken.
        output = self.new_slot((node.name, 0))
        self.add(steps.one_output(lambda: value, (), output), node, (), (output,))

    def variable(self, node: NodeDef) -> None:
        """A variable's node: its handle, or in a plan that needs none, its value taken when a run starts."""
        declared = self.index.variables[node.name]
        if declared.is_resource or self.by_reference:
            handle = Handle(declared.key, declared.name, declared.dtype, declared.shape)
            self.constant((node.name, 0), handle)
            if not declared.is_resource:
                self.references[self.slots[node.name, 0]] = handle
        else:
            self.reads.append(Read(self.new_slot((node.name, 0)), declared.key, declared.name))

    def temporary_variable(self, node: NodeDef) -> None:
        """A variable of one run: its handle, until DestroyTemporaryVariable takes its value."""
        declared = variable(node)
        handle = Handle(f"\0temporary\0{node.name}", node.name, declared.dtype, declared.shape)
        self.constant((node.name, 0), handle)
        self.references[self.slots[node.name, 0]] = handle

    def hoisted(self, node: NodeDef) -> bool:
        """Takes a variable's value when the run starts, where nothing in it can change the value."""
        handle = self.constants.get(self.slots[self.work.inputs[node.name][0]])
        in_branch = self.flow is not None and self.flow.contexts[node.name]
        if not self.hoists_reads or not isinstance(handle, Handle) or in_branch or (node.name, 0) in self.fed:
            return False
        self.reads.append(Read(self.new_slot((node.name, 0)), handle.key, handle.name))
        return True

    def passes_reference(self, node: NodeDef) -> bool:
        """Makes an Identity of a TF1 variable (its `w/read`) stand for the variable itself.

        TensorFlow's Identity copies nothing, and its assignments write in place: who takes the value of
        `w/read` after an assignment sees the new one. Moving averages after a train step rely on that.
        """
        source = self.work.inputs[node.name][0]
        slot = self.slots.get(source)
        if slot not in self.references or (node.name, 0) in self.fed:
            return False
        if self.flow is not None and self.flow.contexts[node.name]:
            output = self.new_slot((node.name, 0))
            self.add(steps.one_output(lambda handle: handle, (slot,), output), node, (slot,), (output,))
            self.refer(output, slot)
        else:
            self.slots[node.name, 0] = slot
        return True

    def passes_value(self, node: NodeDef) -> bool:
        """Makes an Identity stand for its input: no step, but in a branch, where it may be dead."""
        if (node.name, 0) in self.fed or (self.flow is not None and self.flow.contexts[node.name]):
            return False
        self.slots[node.name, 0] = self.value_slot(self.work.inputs[node.name][0], node)
        return True

    def broadcast_sum(self, node: NodeDef) -> None:
        """A Reshape that stands for the gradient of an operand that was broadcast."""
        found = self.sums[node.name]
        kernel = self.bind(self.ops["Sum"], self.index.nodes[found.total], 2)
        assert isinstance(kernel, registry.Prepared)
        grad, like = (self.value_slot(source, node) for source in self.work.inputs[node.name])
        output = self.output_slot(node.name, 0)
        step = broadcast_sum(kernel.kernel, grad, like, output, by_shape=found.by_shape)
        self.add(step, node, (grad, like), (output,))

    def kernel_node(self, node: NodeDef, op: Op) -> None:
        """A node that its op's kernel computes: now where all is known, else by a step."""
        name, inputs = node.name, self.work.inputs[node.name]
        slots = [
            self.source_slot(source, node) if i in op.ref_inputs else self.value_slot(source, node)
            for i, source in enumerate(inputs)
        ]
        kernel = self.bind(op, node, len(inputs))
        if name in self.summed_rows:
            kernel = summing_rows(kernel, self.summed_rows[name] + 1)  # the run's state comes first
        if isinstance(kernel, np.ufunc) and len(slots) != kernel.nin:  # it would take one more for where to write to
            raise GraphError(
                f"node {name!r} ({op.name}) has {len(slots)} inputs; {kernel.nin} were expected: the graph is damaged"
            )
        if not op.state and not op.impure and op.outputs and self.fold(op, node, kernel, slots):
            return
        if op.state:
            self.needs_state = True
            slots = [STATE_SLOT, *slots]
        elif self.follows_from_shapes(op, slots):
            outputs = [(i, self.output_slot(name, i)) for i in self.used_outputs(node, op.outputs)]
            several = kernel if op.outputs != 1 else lambda *inputs: (kernel(*inputs),)
            step = steps.remembering(several, slots, [s for s in slots if s in self.facts], outputs)
            self.add(step, node, slots, [slot for _, slot in outputs])
            self.facts.update(slot for _, slot in outputs)
            return
        if op.outputs == 0:
            self.add(steps.no_output(kernel, slots), node, slots, ())
        elif op.outputs == 1:
            output = self.output_slot(name, 0)
            kernel, ready = self.prepared(kernel, slots, node)
            number = None
            if steps.has_operator(kernel, ready):
                number = steps.number(self.constants.get(ready[1]))
                step = steps.elementwise(kernel, ready, output, number)
            else:
                step = steps.one_output(kernel, ready, output)
            self.calls[step] = memory.Call(kernel, ready, output, memory.targets(node, op, kernel, ready), number)
            self.add(step, node, slots, (output,))
            if op.ref_output:
                # The output of an Assign is its variable: whoever takes its value reads it then.
                self.refer(output, self.slots[inputs[op.ref_inputs[0]]])
        else:
            outputs = [(i, self.output_slot(name, i)) for i in self.used_outputs(node, op.outputs)]
            kernel, ready = self.prepared(kernel, slots, node)
            step = steps.many_outputs(kernel, ready, outputs)
            self.calls[step] = memory.Call(kernel, ready, outputs, memory.targets(node, op, kernel, ready))
            self.add(step, node, slots, [slot for _, slot in outputs])
        if op.name in _SHAPE_OPS:
            self.facts.update(self.slots[name, i] for i in self.used_outputs(node))
        elif (shape := (name, _SHAPE_OUTPUTS.get(op.name, -1))) in self.slots:
            self.facts.add(self.slots[shape])
        elif not self.dense_shapes.isdisjoint((name, i) for i in self.taken_of.get(name, ())):
            for i in self.used_outputs(node):
                self.dense_shape((name, i))

    def dense_shape(self, tensor: Tensor) -> None:
        """Makes a tensor that is a sparse one's shape known by its values to what follows; not in a branch or loop."""
        node, slot = self.index.nodes[tensor[0]], self.slots[tensor]
        known = slot in self.facts or slot in self.constants or slot in self.references
        if tensor not in self.dense_shapes or known or not self.is_outside(node.name):
            return
        same = self.same[slot] = self.new_slot(None)
        self.add(same_array(slot, same), node, (slot,), (same,))
        self.facts.add(same)

    def is_outside(self, name: str) -> bool:
        """Whether a node lies in no branch and no loop."""
        return self.flow is None or self.flow.place(name) is self.flow.root

    def follows_from_shapes(self, op: Op, slots: Sequence[int]) -> bool:
        """Whether what an op computes depends on nothing but shapes."""
        if op.impure or not op.outputs or op.ref_inputs:
            return False
        return any(s in self.facts for s in slots) and all(s in self.facts or s in self.constants for s in slots)

    def prepared(
        self, kernel: registry.Kernel, slots: list[int], node: NodeDef
    ) -> tuple[registry.Kernel, Sequence[int]]:
        """A kernel that finds prepared what can be, and the slots of its inputs.

        What depends on constants is prepared now, what depends on shapes where these are new.
        """
        if kernel is np.maximum or kernel is np.minimum:
            return steps.with_bound(kernel, slots, self.constants)
        if not isinstance(kernel, registry.Prepared) or (self.flow is not None and self.flow.contexts[node.name]):
            return kernel, slots
        part, prepare = slots[kernel.part], kernel.prepare
        others = list(kernel.others(slots))
        if all(slot in self.constants for slot in part):
            try:
                value = prepare(*[self.constants[slot] for slot in part])
            except Exception:  # the run tells
                return kernel, slots
            return kernel.kernel, [*others, self.new_slot(None, value)]
        facts = [slot for slot in part if slot in self.facts]
        if len(facts) + sum(slot in self.constants for slot in part) < len(part):
            return kernel, slots
        ready = self.new_slot(None)
        step = steps.remembering(lambda *inputs: (prepare(*inputs),), part, facts, [(0, ready)])
        self.add(step, node, part, (ready,))
        return kernel.kernel, [*others, ready]

    def refer(self, slot: int, source: int) -> None:
        """Makes a slot a reference to the variable that another slot refers to."""
        if source in self.references:
            self.references[slot] = self.references[source]

    def used_outputs(self, node: NodeDef, count: int = -1) -> list[int]:
        """Which outputs of a node anything takes."""
        used = [i for i in self.taken_of.get(node.name, ()) if (node.name, i) not in self.fed]
        if count > 0 and used and used[-1] >= count:
            raise GraphError(f"{node.op} {node.name!r} has {count} outputs; the graph takes ':{used[-1]}'")
        return used

    def bind(self, op: Op, node: NodeDef, input_count: int) -> registry.Kernel:
        """The node's kernel, bound to its attributes."""
        return bound(op, node, input_count, self.index, self.site)

    def fold(self, op: Op, node: NodeDef, kernel: registry.Kernel, slots: Sequence[int]) -> bool:
        """Computes a node now whose inputs are all known; not where it fails, so that the run tells."""
        if not slots or not all(slot in self.constants for slot in slots):
            return False
        if self.flow is not None and self.flow.contexts[node.name]:
            return False
        values = [self.constants[slot] for slot in slots]
        if any(isinstance(value, Handle) for value in values) and op.name not in _PASS_HANDLES:
            return False
        try:
            with np.errstate(all="ignore"):
                results = kernel(*values)
        except Exception:
            return False
        if op.outputs == 1:
            results = [results]
        if sum(getattr(r, "nbytes", 0) for r in results) > _MAX_FOLDED_BYTES:
            return False
        for i, value in enumerate(results):
            if (node.name, i) not in self.fed:
                self.constant((node.name, i), value)
        return True

    def changes(self, node: NodeDef) -> bool:
        """Whether running a node again may give something else, or do something again."""
        op = self.ops.get(node.op)
        return node.op in FUNCTION_OPS or (op is not None and (op.state or op.impure))
