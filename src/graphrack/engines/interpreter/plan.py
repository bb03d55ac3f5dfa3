"""A plan: what one (fetches, feeds) of a graph comes to, compiled once and run many times.

Compiling prunes the graph, binds each node's kernel to its decoded attributes, gives every tensor a
slot in a frame, computes what depends on constants alone, and orders what is left. A plan holds no
variables: it belongs to a graph, and models of the same graph share it.

Order. A plan that writes nothing takes all its variables' values at once when a run starts: a run sees
one state, whatever other threads assign meanwhile. In a plan that writes, variables are read where the
graph reads them, and among nodes that the graph leaves unordered those that write come last: a loss
fetched together with a train step is the loss before the step.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines.interpreter import steps
from graphrack.engines.interpreter.steps import STATE_SLOT, Frame, Step
from graphrack.errors import FeedError, GraphError, GraphrackError, OpError, UninitializedError, UnsupportedOp
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.formats.tensor import attr_value, tensor_from_proto
from graphrack.graph.index import PLACEHOLDERS, REF_VARIABLES, RESOURCE_VARIABLES, GraphIndex
from graphrack.graph.names import TensorName
from graphrack.graph.prune import Needed, needed
from graphrack.ops import registry
from graphrack.ops.registry import Op
from graphrack.ops.runtime import Handle, RunState

Fetch = TensorName | str

# A folded value stays in memory as long as its plan: what grows (a big Fill, say) is left to each run.
_MAX_FOLDED_BYTES = 1 << 20
_RELEASE_EVERY = 16
_VARIABLE_NODES = REF_VARIABLES | RESOURCE_VARIABLES
_PASS_HANDLES = frozenset(("Identity", "IdentityN"))
_VARIABLE_READS = frozenset(("ReadVariableOp",))


class Read(NamedTuple):
    """A variable whose value a run takes when it starts."""

    slot: int
    key: str
    name: str


class Plan:
    """One (fetches, feeds) of a graph, ready to run.

    Attributes:
        writes: whether running it changes variables or other resources.
        needs_state: whether any step looks at the model's state beyond `reads`.
        reads: variables whose values are taken when a run starts.
        feeds: the fed tensors, in the order in which `run` takes their values.
    """

    __slots__ = (
        "_feed_slots",
        "_fetch_slots",
        "_shared_slots",
        "_step_nodes",
        "_steps",
        "_template",
        "feeds",
        "needs_state",
        "reads",
        "writes",
    )  # fmt: skip

    def __init__(self, compiler: _Compiler, fetches: Sequence[Fetch]):
        self.feeds = compiler.feeds
        self.writes = compiler.writes
        self.needs_state = compiler.needs_state
        self.reads = compiler.reads
        self._template = compiler.template
        self._steps = tuple(compiler.steps)
        self._step_nodes = compiler.step_nodes
        self._feed_slots = tuple(compiler.slots[f] for f in compiler.feeds)
        self._fetch_slots = tuple(None if isinstance(f, str) else compiler.fetched[f] for f in fetches)
        # A fetch may come out as the very array of a constant, a variable or a feed (by an Identity, say).
        arrays = (s for s, v in compiler.constants.items() if isinstance(v, np.ndarray) and v.ndim)
        self._shared_slots = (*(r.slot for r in self.reads), *self._feed_slots, *arrays)

    def run(self, feeds: Sequence[Any], values: dict[str, Any], state: RunState | None) -> list[Any]:
        """Runs it once.

        Attributes:
            feeds: one array for each of `feeds`, of the right dtype and shape.
            values: the model's variables by key.
            state: the run's state, where `needs_state`.

        Returns:
            for each fetch its value: of a tensor the array (a NumPy scalar, or `bytes`, where it has
            rank 0), of an operation None. Arrays are the caller's own.

        Raises:
            UninitializedError: variables without values are read.
            OpError: an op failed.
        """
        frame: Frame = self._template.copy()
        frame[STATE_SLOT] = state
        for slot, value in zip(self._feed_slots, feeds, strict=True):
            frame[slot] = value
        try:
            for slot, key, _ in self.reads:
                frame[slot] = values[key]
        except KeyError:
            raise uninitialized(r.name for r in self.reads if r.key not in values) from None
        step: Step | None = None
        try:
            with np.errstate(all="ignore"):
                for step in self._steps:
                    step(frame)
        except GraphrackError:
            raise
        except Exception as error:
            raise self._failure(step, frame, error) from error
        return [self._result(frame, slot) for slot in self._fetch_slots]

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """The constants that it holds."""
        return [value for value in self._template if isinstance(value, np.ndarray)]

    def _result(self, frame: Frame, slot: int | None) -> Any:
        if slot is None:
            return None
        value = frame[slot]
        if isinstance(value, np.ndarray):
            if not value.ndim:
                return value[()]
            if self.writes or value.base is not None or any(value is frame[s] for s in self._shared_slots):
                return value.copy()
        return value

    def _failure(self, step: Step | None, frame: Frame, error: Exception) -> OpError:
        """The error of an op, with the node's name, its op and what its inputs were."""
        position = next((i for i, s in enumerate(self._steps) if s is step), None)
        name, op, inputs = self._step_nodes[position] if position is not None else ("", "", ())
        if not name:
            return OpError(f"a run failed before its first step: {error}")
        shown = ", ".join(_describe(frame[i]) for i in inputs if i != STATE_SLOT)
        text = str(error) or type(error).__name__
        return OpError(f"node {name!r} ({op}) failed: {text}; its inputs: {shown or 'none'}")


def compile_plan(index: GraphIndex, fetches: Sequence[Fetch], feeds: Sequence[TensorName]) -> Plan:
    """Compiles what `fetches` need, given that `feeds` will be given.

    Attributes:
        fetches: tensors, or operations by name.

    Raises:
        UnsupportedOp: ops that graphrack lacks; every one of this plan, and the nodes that use them.
        FeedError: placeholders that the fetches need and that are not fed; every one of them.
        GraphError: the graph contradicts itself.
    """
    return Plan(_Compiler(index, fetches, feeds), fetches)


def uninitialized(names: Any) -> UninitializedError:
    """The error for variables without values."""
    listed = ", ".join(repr(n) for n in sorted(set(names)))
    return UninitializedError(
        f"variables have no values: {listed}; give them some with restore(checkpoint) or initialize()"
    )


class _Compiler:
    def __init__(self, index: GraphIndex, fetches: Sequence[Fetch], feeds: Sequence[TensorName]):
        self.index = index
        self.feeds = tuple(feeds)
        self.fed = frozenset(feeds)
        self.template: list[Any] = [None]
        self.slots: dict[tuple[str, int], int] = {}
        self.constants: dict[int, Any] = {}
        self.references: dict[int, Handle] = {}
        self.reads: list[Read] = []
        self.steps: list[Step] = []
        self.step_nodes: list[tuple[str, str, Sequence[int]]] = []
        self.needs_state = False
        self.fetches = fetches
        for feed in feeds:
            self.new_slot(feed)
        work = needed(index, fetches, self.fed)
        ops = self.look_up(work.order)
        self.writes = any(o.writes for o in ops.values())
        # Where an op takes a reference, TF1 variables are read when their values are taken.
        self.by_reference = self.writes or any(o.ref_inputs for o in ops.values())
        order = self.writes_last(work, ops) if self.writes else work.order
        self.used = {source for name in work.inputs for source in work.inputs[name]}
        self.used.update(f for f in fetches if not isinstance(f, str))
        for node in order:
            self.node(node, work.inputs[node.name], ops)
        self.fetched = {f: self.fetch(f) for f in fetches if not isinstance(f, str)}
        self.release_dead()

    # Looking up

    def look_up(self, nodes: Sequence[NodeDef]) -> dict[str, Op]:
        """The op of every node; or one error for all that are missing, one for all unfed placeholders."""
        found: dict[str, Op] = {}
        missing: dict[str, list[str]] = {}
        unfed: list[str] = []
        for node in nodes:
            name = node.op
            if name in found or name == "Const" or name in _VARIABLE_NODES:
                continue
            if name in PLACEHOLDERS:
                if name != "PlaceholderWithDefault" and (node.name, 0) not in self.fed:
                    unfed.append(node.name)
                continue
            op = registry.lookup(name)
            if op is None:
                missing.setdefault(name, []).append(node.name)
            else:
                found[name] = op
        if missing:
            raise _missing_ops(missing)
        if unfed:
            raise FeedError(
                f"placeholders must be fed: {', '.join(repr(str(self.index.spec(n))) for n in unfed)}; "
                f"fetching {', '.join(str(f) for f in self.fetches)} needs them"
            )
        return found

    def writes_last(self, work: Needed, ops: dict[str, Op]) -> list[NodeDef]:
        """An order in which nodes that write come as late as the graph lets them."""
        position = {node.name: i for i, node in enumerate(work.order)}
        waiting: dict[str, int] = {}
        consumers: dict[str, list[str]] = {}
        for name, inputs in work.inputs.items():
            sources = {op for op, i in inputs if (op, i) not in self.fed}
            sources.update(work.controls.get(name, ()))
            waiting[name] = len(sources)
            for source in sources:
                consumers.setdefault(source, []).append(name)

        def entry(name: str) -> tuple[bool, int]:
            op = ops.get(work.order[position[name]].op)
            return (op is not None and op.writes, position[name])

        ready = [entry(name) for name, count in waiting.items() if count == 0]
        heapq.heapify(ready)
        order = []
        while ready:
            node = work.order[heapq.heappop(ready)[1]]
            order.append(node)
            for name in consumers.get(node.name, ()):
                waiting[name] -= 1
                if waiting[name] == 0:
                    heapq.heappush(ready, entry(name))
        return order

    # Slots

    def new_slot(self, tensor: tuple[str, int] | None, value: Any = None) -> int:
        slot = len(self.template)
        self.template.append(value)
        if tensor is not None:
            self.slots[tensor] = slot
        return slot

    def constant(self, tensor: tuple[str, int], value: Any) -> None:
        slot = self.new_slot(tensor, value)
        self.constants[slot] = value

    # Nodes

    def node(self, node: NodeDef, inputs: Sequence[tuple[str, int]], ops: dict[str, Op]) -> None:
        name = node.name
        if node.op == "Const":
            if (name, 0) not in self.fed:
                self.constant((name, 0), _constant(self.index, node))
            return
        if node.op in _VARIABLE_NODES:
            if (name, 0) not in self.fed:
                self.variable(node)
            return
        if node.op in PLACEHOLDERS:
            if (name, 0) not in self.fed:  # a default, not fed
                self.slots[name, 0] = self.value_slot(inputs[0], node)
            return
        op = ops[node.op]
        if node.op in _VARIABLE_READS and not self.writes:
            handle = self.constants.get(self.slots[inputs[0]])
            if isinstance(handle, Handle) and (name, 0) not in self.fed:
                self.reads.append(Read(self.new_slot((name, 0)), handle.key, handle.name))
                return
        slots = [
            self.slots[source] if i in op.ref_inputs else self.value_slot(source, node)
            for i, source in enumerate(inputs)
        ]
        kernel = self.bind(op, node, len(inputs))
        if not op.state and op.outputs and self.fold(op, node, kernel, slots):
            return
        if op.state:
            self.needs_state = True
            slots = [STATE_SLOT, *slots]
        if op.outputs == 0:
            self.add(steps.no_output(kernel, slots), node, slots)
        elif op.outputs == 1:
            output = self.new_slot(None if (name, 0) in self.fed else (name, 0))
            self.add(steps.one_output(kernel, slots, output), node, slots)
            if op.ref_output:
                # The output of an Assign is its variable: whoever takes its value reads it then.
                self.references[output] = self.references[self.slots[inputs[op.ref_inputs[0]]]]
        else:
            used = [(i, self.new_slot((name, i))) for i in self.used_outputs(op, node)]
            self.add(steps.many_outputs(kernel, slots, used), node, slots)

    def used_outputs(self, op: Op, node: NodeDef) -> list[int]:
        used = sorted(i for source, i in self.used if source == node.name and (source, i) not in self.fed)
        if op.outputs > 0 and used and used[-1] >= op.outputs:
            raise GraphError(f"{node.op} {node.name!r} has {op.outputs} outputs; the graph takes ':{used[-1]}'")
        return used

    def bind(self, op: Op, node: NodeDef, input_count: int) -> registry.Kernel:
        if not op.keywords:
            return op.bind(node.name, {}, {})
        attributes = {k: attr_value(node.attr[k]) for k in op.keywords if k in node.attr}
        facts: dict[str, Any] = {"input_count": input_count}
        if "output_count" in op.keywords:
            facts["output_count"] = self.index.output_count(node)
        return op.bind(node.name, attributes, facts)

    def add(self, step: Step, node: NodeDef, inputs: Sequence[int]) -> None:
        self.steps.append(step)
        # Names, not nodes: a plan outlives the graph's messages.
        self.step_nodes.append((node.name, node.op, inputs))

    def variable(self, node: NodeDef) -> None:
        declared = self.index.variables[node.name]
        if declared.is_resource or self.by_reference:
            handle = Handle(declared.key, declared.name, declared.dtype, declared.shape)
            self.constant((node.name, 0), handle)
            if not declared.is_resource:
                self.references[self.slots[node.name, 0]] = handle
        else:
            self.reads.append(Read(self.new_slot((node.name, 0)), declared.key, declared.name))

    def value_slot(self, source: tuple[str, int], consumer: NodeDef) -> int:
        """The slot of an input's value; for a reference, one that a step fills right before its use."""
        try:
            slot = self.slots[source]
        except KeyError:
            node = self.index.nodes[source[0]]
            raise GraphError(
                f"node {consumer.name!r} ({consumer.op}) takes '{source[0]}:{source[1]}', but {node.op} "
                f"{node.name!r} has no such output"
            ) from None
        if slot not in self.references:
            return slot
        value = self.new_slot(None)
        self.needs_state = True
        self.add(steps.read_reference(slot, value), consumer, (slot,))
        return value

    def fetch(self, tensor: TensorName) -> int:
        """The slot of a fetched value: of a variable's handle or reference, the variable's value."""
        slot = self.slots[tensor]
        handle = self.constants.get(slot, self.references.get(slot))
        if not isinstance(handle, Handle):
            return slot
        value = self.new_slot(None)
        if self.by_reference:
            self.needs_state = True
            self.add(steps.read_reference(slot, value), self.index.nodes[tensor.op], (slot,))
        else:
            self.reads.append(Read(value, handle.key, handle.name))
        return value

    def fold(self, op: Op, node: NodeDef, kernel: registry.Kernel, slots: Sequence[int]) -> bool:
        """Computes a node now whose inputs are all known; not where it fails, so that the run tells."""
        if not all(slot in self.constants for slot in slots) or not slots:
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

    def release_dead(self) -> None:
        """Adds steps that let go of values after their last use, every few steps."""
        last: dict[int, int] = {}
        for position, (_, _, inputs) in enumerate(self.step_nodes):
            for slot in inputs:
                last[slot] = position
        keep = {STATE_SLOT, *self.constants, *self.fetched.values()}
        dead: dict[int, list[int]] = {}
        for slot, position in last.items():
            block = (position // _RELEASE_EVERY + 1) * _RELEASE_EVERY
            if slot not in keep and block < len(self.steps):
                dead.setdefault(block, []).append(slot)
        for block in sorted(dead, reverse=True):
            self.steps.insert(block, steps.release(dead[block]))
            self.step_nodes.insert(block, ("", "", ()))


def _constant(index: GraphIndex, node: NodeDef) -> Any:
    cached = index.constants.get(node.name)
    if cached is None:
        if "value" not in node.attr:
            raise GraphError(f"Const {node.name!r} has no value; the graph is incomplete")
        try:
            cached = tensor_from_proto(node.attr["value"].tensor)
        except GraphrackError as error:
            raise GraphError(f"Const {node.name!r}: {error}") from error
        index.constants[node.name] = cached
    return cached


def _missing_ops(missing: dict[str, list[str]]) -> UnsupportedOp:
    parts = []
    for op, nodes in sorted(missing.items()):
        shown = ", ".join(repr(n) for n in nodes[:3])
        parts.append(f"{op} ({shown}{f' and {len(nodes) - 3} more' if len(nodes) > 3 else ''})")
    return UnsupportedOp(
        f"graphrack lacks {len(missing)} op{'s' if len(missing) > 1 else ''} that this run needs: {'; '.join(parts)}"
        "; fetch or feed tensors that don't need them, or feed what they compute"
    )


def _describe(value: Any) -> str:
    if isinstance(value, Handle):
        return f"resource {value.name!r}"
    if isinstance(value, (np.ndarray, np.generic)):
        dtype = "string" if value.dtype == object else str(value.dtype)
        return f"{dtype}{list(value.shape)}"
    return type(value).__name__
