"""The nodes of a plan: what each becomes, a constant, a slot of another's, or a step.

`compiler.py` puts them in order, and has what spans several nodes: loops, branches, clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphrack.engines.interpreter import memory, steps
from graphrack.engines.interpreter.dense_shapes import same_array
from graphrack.engines.interpreter.elements import element
from graphrack.engines.interpreter.functions import FUNCTION_OPS
from graphrack.engines.interpreter.needed_ops import bound
from graphrack.engines.interpreter.plan import Read
from graphrack.engines.interpreter.rows import summing_rows
from graphrack.engines.interpreter.selections import selection
from graphrack.engines.interpreter.slots import Slots, Tensor
from graphrack.engines.interpreter.steps import STATE_SLOT
from graphrack.engines.interpreter.strips import is_elementwise
from graphrack.engines.interpreter.sums import broadcast_sum
from graphrack.errors import GraphError
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import PLACEHOLDERS, REF_VARIABLES, RESOURCE_VARIABLES, variable
from graphrack.ops import registry
from graphrack.ops.registry import Op
from graphrack.ops.runtime import Handle

_VARIABLES = REF_VARIABLES | RESOURCE_VARIABLES
# A folded value stays in memory as long as its plan: what grows (a big Fill, say) is left to each run.
_MAX_FOLDED_BYTES = 1 << 20
# What these give for one shape is the same array every time; of others, these outputs.
_SHAPE_OPS = frozenset(("Shape", "ShapeN", "Size", "Rank"))
_SHAPE_OUTPUTS = {"SparseReshape": 1}
_PASS_HANDLES = frozenset(("Identity", "IdentityN"))


class NodeCompiler(Slots):
    """Makes the nodes of a plan what they become."""

    def node(self, node: NodeDef) -> None:
        """Makes a node what it is in the plan: a constant, a slot of another's, or a step."""
        name, op_name = node.name, node.op
        inputs = self.work.inputs[name]
        if op_name == "Const":
            if (name, 0) not in self.fed:
                self.const(node)
        elif op_name in _VARIABLES:
            if (name, 0) not in self.fed:
                self.variable(node)
        elif op_name == "TemporaryVariable":
            if (name, 0) not in self.fed:
                self.temporary_variable(node)
        elif op_name in PLACEHOLDERS:
            if (name, 0) not in self.fed:  # a default, not fed
                self.slots[name, 0] = self.value_slot(inputs[0], node)
        elif op_name in FUNCTION_OPS:
            if self.functions.writes:
                self.latest.clear()
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
        name, op_name, inputs = node.name, node.op, self.work.inputs[node.name]
        slots = [
            self.source_slot(source, node) if i in op.ref_inputs else self.value_slot(source, node)
            for i, source in enumerate(inputs)
        ]
        reads = op_name == "ReadVariableOp" and (name, 0) not in self.fed and self.is_outside(name)
        if reads and (known := self.latest.slot(slots[0])) is not None:
            self.slots[name, 0] = known
            return
        kernel = self.bind(op, node, len(inputs))
        if op.writes:
            self.latest.written(op_name, kernel, slots)
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
            step = steps.no_output(kernel, slots)
            self.calls[step] = memory.Call(kernel, slots, ())
            self.add(step, node, slots, ())
        elif op.outputs == 1:
            output = self.output_slot(name, 0)
            kernel, ready = self.prepared(kernel, slots, node)
            number = None
            if steps.has_operator(kernel, ready):
                number = steps.number(self.constants.get(ready[1]))
                step = steps.elementwise(kernel, ready, output, number)
            else:
                step = steps.one_output(kernel, ready, output)
            self.calls[step] = memory.Call(
                kernel, ready, output, memory.targets(node, op, kernel, ready), number, is_elementwise(node)
            )
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
        if reads:
            self.latest.read(slots[1], self.slots[name, 0])
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
        return bound(op, node, input_count, self.index, self.site, self.used_outputs(node))

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
