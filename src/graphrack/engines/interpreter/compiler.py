"""From a graph and (fetches, feeds) to a plan.

Compiling prunes the graph, binds each node's kernel to its decoded attributes, gives every tensor a slot in a
frame, computes what depends on constants alone, and makes every other node a step, in an order.

Order. A plan that writes nothing takes all its variables' values at once when a run starts: a run sees one state,
whatever other threads assign meanwhile. In a plan that writes, variables are read where the graph reads them, and
among nodes that the graph leaves unordered those that write come last: a loss fetched together with a train step is
the loss before the step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from graphrack.engines.choice import NUMPY, Engine
from graphrack.engines.interpreter import control_flow, memory, outside, steps
from graphrack.engines.interpreter.control_flow import LoopFrame
from graphrack.engines.interpreter.functions import Functions
from graphrack.engines.interpreter.fusing import Fusing
from graphrack.engines.interpreter.nodes import NodeCompiler
from graphrack.engines.interpreter.often import often
from graphrack.engines.interpreter.order import Cluster, Item, Sections, ordered
from graphrack.engines.interpreter.plan import Fetch, Place, Plan, Read
from graphrack.engines.interpreter.reads import LatestReads
from graphrack.engines.interpreter.steps import STATE_SLOT, Step
from graphrack.engines.interpreter.strips import chained
from graphrack.errors import GraphError, UnsupportedOp
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import TensorName
from graphrack.ops.registry import lookup
from graphrack.ops.runtime import Handle

if TYPE_CHECKING:
    from graphrack.engines.openvino.planning import Clusters

Tensor = tuple[str, int]

_RELEASE_EVERY = 16


def compile_plan(
    index: GraphIndex,
    fetches: Sequence[Fetch],
    feeds: Sequence[TensorName],
    engine: Engine = NUMPY,
    *,
    larger: Callable[[Plan], Plan | None] | None = None,
    earlier: Plan | None = None,
) -> Plan:
    """Compiles what `fetches` need, given that `feeds` will be given.

    Attributes:
        fetches: tensors, or operations by name.
        engine: of the name `"openvino"` it gives dense regions to OpenVINO, of `"auto"` those that are worth it; of
            `"numpy"`, runs all in the interpreter.
        larger: what makes a plan to take its place where values are large: by calling this with `earlier`.
        earlier: the plan that it is to take the place of, which has met large values.

    Raises:
        UnsupportedOp: ops that graphrack lacks; every one of this plan, and the nodes that use them.
        FeedError: placeholders that the fetches need and that are not fed; every one of them.
        GraphError: the graph contradicts itself.
    """
    functions = Functions(
        index.library,
        partial(_compile_body, engine, earlier is not None),
        earlier.functions if earlier is not None else None,
    )
    compiler = _Compiler(index, fetches, feeds, functions)
    functions.caller_writes = compiler.writes
    plan = compiler.with_clusters(engine, large=earlier is not None, earlier=earlier).plan(larger)
    functions.forget_earlier()
    clusters = plan.clusters()
    if len(clusters) == 1 and [place for place, _ in plan.steps() if place is not None] == [clusters[0][1]]:
        clusters[0][0].is_alone = True
    return plan


def why_not_clustered(
    index: GraphIndex, fetches: Sequence[Fetch], feeds: Sequence[TensorName], engine: Engine, *, large: bool = False
) -> dict[str, str]:
    """For each node that a plan has in no cluster the reason; nothing where the engine makes no clusters.

    Attributes:
        large: whether the plan is one for large values.
    """
    if engine.name not in ("auto", "openvino"):
        return {}
    functions = Functions(index.library, partial(_compile_body, engine, large))
    compiler = _Compiler(index, fetches, feeds, functions)
    functions.caller_writes = compiler.writes
    compiler.with_clusters(engine, large=large).plan()
    if compiler.clusters is None:
        from graphrack.engines.openvino.planning import SMALL_SO_FAR, TOO_LITTLE

        return dict.fromkeys(compiler.ops_in_order(), TOO_LITTLE if large else SMALL_SO_FAR)
    found = compiler.clusters.why_not
    return {name: found[name] for name in compiler.ops_in_order() if name in found}


def _compile_body(
    engine: Engine,
    large: bool,
    index: GraphIndex,
    fetches: Sequence[Fetch],
    feeds: Sequence[TensorName],
    functions: Functions,
    earlier: Plan | None,
) -> Plan:
    compiler = _Compiler(index, fetches, feeds, functions, body=True)
    return compiler.with_clusters(engine, large=large, earlier=earlier).plan()


class _Compiler(NodeCompiler):
    """Compiles all of a plan: nodes in order, and what spans several of them.

    Attributes:
        clusters: what becomes steps that OpenVINO runs; None where nothing does.
        taken: of steps that hold others, the slots that these look at.
        done: nodes that are constants, found out ahead of the others.
    """

    clusters: Clusters | None = None
    done: frozenset[str] = frozenset()

    def __init__(
        self,
        index: GraphIndex,
        fetches: Sequence[Fetch],
        feeds: Sequence[TensorName],
        functions: Functions,
        *,
        body: bool = False,
    ):
        super().__init__(index, fetches, feeds, functions, body=body)
        self.taken: dict[Step, set[int]] = {}
        self.fusing = Fusing(self)

    def with_clusters(self, engine: Engine, *, large: bool = False, earlier: Plan | None = None) -> _Compiler:
        """Has OpenVINO run what that engine gives it; see `compile_plan`."""
        from graphrack.engines.openvino.ops import is_heavy, makes_passes

        nodes, fluid = self.work.order, self.writes or self.functions.writes or self.functions.caller_writes
        eager, auto, large = engine.name == "openvino", engine.name == "auto", large and not fluid
        if eager or (auto and (is_heavy(nodes) or (large and makes_passes(nodes)))):
            from graphrack.engines.openvino.planning import Clusters

            if not eager:
                self.shorten()
            known = [step for step, _ in earlier.clusters()] if earlier is not None else []
            self.clusters = Clusters(
                self, eager=eager, fluid=fluid, precision=engine.precision, large=large, earlier=known
            )
        elif auto and not fluid and makes_passes(nodes):
            self.functions.may_have_more_clusters = True
        return self

    def plan(self, larger: Callable[[Plan], Plan | None] | None = None) -> Plan:
        """Compiles everything; see `compile_plan`."""
        if self.clusters is not None:
            self.fold_ahead()
        else:
            self.shorten()
        for feed in self.feeds:
            self.dense_shape(feed)
        if self.flow is not None:
            self.frame_items(self.flow.root)
        else:
            for item in self.arranged(self.work.order, ()):
                self.item(item)
        fetched = {f: self.fetch(f) for f in self.fetches if not isinstance(f, str)}
        plain, thrifty, watch = self.with_releases({STATE_SLOT, *self.constants, *fetched.values()})
        if self.clusters is not None and self.clusters.may_be_more:
            self.functions.may_have_more_clusters = True
        return Plan(
            template=self.template,
            steps=plain,
            thrifty=thrifty,
            watch=watch,
            places=self.places,
            feeds=self.feeds,
            feed_slots=[self.slots[f] for f in self.feeds],
            fetches=self.fetches,
            fetch_slots=[None if isinstance(f, str) else fetched[f] for f in self.fetches],
            constant_slots=list(self.constants),
            reads=self.reads,
            writes=self.writes,
            needs_state=self.needs_state,
            functions=self.functions,
            larger=larger if self.functions.may_have_more_clusters else None,
            permission=outside.permission(
                self.functions.reaching, {name: op.io for name in self.functions.reaching if (op := lookup(name))}
            ),
        )

    def ops_in_order(self) -> list[str]:
        """The names of the nodes that compute something, in an order."""
        return [n.name for n in self.work.order if n.op in self.ops and n.op != "Identity" and n.name not in self.done]

    def ordered(self, nodes: Sequence[NodeDef], groups: Sequence[LoopFrame | Cluster]) -> list[Item]:
        return ordered(nodes, groups, self.work, self.fed, self.item_writes)

    def node(self, node: NodeDef) -> None:
        """Makes a node what it is in the plan."""
        if node.op in control_flow.CONTROL_FLOW:
            self.control_node(node)
        else:
            super().node(node)

    def arranged(
        self, nodes: Sequence[NodeDef], loops: Sequence[LoopFrame], sections: Sections | None = None
    ) -> Sequence[Item]:
        """Nodes and loops of one frame, and the clusters that some of them make, in an order."""
        as_they_are = self.flow is None and not self.writes
        items = nodes if as_they_are else self.ordered(nodes, loops)
        found = self.clusters.find(items, sections, self.done) if self.clusters is not None else []
        if not found:
            return items
        # Constants wait for nothing, but where a write may have to come between: what waits for them waits for that.
        taken = set() if self.writes else set(self.done)
        taken.update(node.name for cluster in found for node in cluster.nodes)
        return self.ordered([n for n in items if isinstance(n, NodeDef) and n.name not in taken], [*loops, *found])

    def item(self, item: Item) -> None:
        """Makes a node or a cluster what it is in the plan."""
        if isinstance(item, Cluster):
            self.cluster(item)
        elif isinstance(item, NodeDef) and item.name not in self.done:
            self.node(item)

    # Clusters

    def fold_ahead(self) -> None:
        """Computes what depends on constants alone before clusters are looked for, which need to know it."""
        done = set()
        for node in self.work.order:
            name, op = node.name, self.ops.get(node.op)
            if (self.flow is not None and self.flow.contexts[name]) or any(f.op == name for f in self.feeds):
                continue
            slots = [self.slots.get(source, -1) for source in self.work.inputs[name]]
            if node.op == "Const":
                self.const(node)
            elif not slots or not all(slot in self.constants for slot in slots):
                continue
            elif node.op in ("Identity", "Enter"):
                self.slots[name, 0] = slots[0]
                if node.op == "Enter":
                    continue
            elif op is None or op.state or op.impure or op.writes or not op.outputs:
                continue
            else:
                try:
                    kernel = self.bind(op, node, len(slots))
                except GraphError:  # it is raised again where the node has its turn
                    continue
                if not self.fold(op, node, kernel, slots):
                    continue
            done.add(name)
        self.done = frozenset(done)

    def cluster(self, cluster: Cluster) -> None:
        """A cluster as one step; its nodes' own steps are kept for what OpenVINO can't run."""
        assert self.clusters is not None
        outer, self.steps = self.steps, []
        # What its nodes read is read only where OpenVINO doesn't run it.
        latest, self.latest = self.latest, LatestReads(self.constants)
        for node in cluster.nodes:
            self.node(node)
        inner, self.steps = self.steps, outer
        self.latest = latest
        if not inner:
            return  # everything in it came out as constants
        own = {node.name for node in cluster.nodes}
        block = self.block(inner, own)
        value_slots, watched = {}, set()
        for node in cluster.nodes:
            for source in self.work.inputs[node.name]:
                slot = self.slots[source]
                if slot in self.references and slot not in value_slots:
                    value_slots[slot] = self.value_slot(source, node)
            if self.flow is not None and self.flow.contexts[node.name]:
                watched.update(self.watched(node))
        step = self.clusters.step(cluster, block, value_slots)
        if step is None:
            self.steps += inner
            return
        place = Place(cluster.name, "cluster", [*step.slots, *watched])
        self.places[step] = place
        if watched:
            inside = {slot for (name, _), slot in self.slots.items() if name in own}
            self.steps.append(control_flow.guarded(step, [s for s in watched if s not in inside], step.outputs, None))
        else:
            self.steps.append(step)
        self.places[self.steps[-1]] = place

    # Control flow

    def control_node(self, node: NodeDef) -> None:
        """Switch, Merge and what bounds loops."""
        assert self.flow is not None
        name, inputs = node.name, self.work.inputs[node.name]
        if node.op == "ControlTrigger":
            self.add(steps.no_output(lambda: None, ()), node, (), ())
            return
        by_reference = node.op.startswith("Ref")
        slots = [
            self.source_slot(s, node) if by_reference and i == 0 else self.value_slot(s, node)
            for i, s in enumerate(inputs)
            if node.op not in control_flow.MERGES
        ]
        if node.op in control_flow.SWITCHES and name not in self.flow.loop_switches:
            no, yes = self.output_slot(name, 0), self.output_slot(name, 1)
            self.add_unguarded(control_flow.switch(slots[0], slots[1], (no, yes)), node, slots)
            for slot in (no, yes):
                self.refer(slot, slots[0])
        elif node.op == "_SwitchN":
            count = node.attr["num_outs"].i
            outputs = [self.output_slot(name, i) for i in range(count)]
            self.add_unguarded(control_flow.switch_n(slots[0], slots[1], outputs), node, slots)
        elif node.op in control_flow.MERGES:
            sources = [self.source_slot(s, node) for s in inputs]
            if node.op == "Merge":
                sources = [self.value_slot(s, node) for s in inputs]
            output = self.output_slot(name, 0)
            number = self.output_slot(name, 1) if (name, 1) in self.used else None
            self.add_unguarded(control_flow.merge(sources, output, number), node, sources)
            self.refer(output, sources[0])
        else:
            # What enters, leaves and goes on in a loop is where it was: iterations move only Merges.
            for output in range(2 if node.op in control_flow.SWITCHES else 1):
                if (name, output) not in self.fed:
                    self.slots[name, output] = slots[0]

    def add_unguarded(self, step: Step, node: NodeDef, inputs: Sequence[int]) -> None:
        """Adds a step that knows by itself what to do with dead inputs."""
        self.steps.append(step)
        self.places[step] = Place(node.name, node.op, inputs)

    def frame_items(self, frame: LoopFrame, sections: Sections | None = None) -> None:
        """Compiles the nodes and loops of a frame, in an order; in a loop, each into its section."""
        for item in self.arranged(frame.nodes, frame.children, sections):
            if sections is not None:
                self.steps = sections.of(item)
            if isinstance(item, LoopFrame):
                self.loop(item)
            elif isinstance(item, NodeDef):
                if sections is not None and self.is_variable(item):
                    self.loop_variable(item, sections)
                else:
                    self.item(item)
            else:
                self.item(item)

    def loop(self, frame: LoopFrame) -> None:
        """Compiles a loop into one step."""
        assert self.flow is not None
        outer = self.steps
        for node in frame.enters:
            # A reference that enters is a reference inside; a value is taken before the loop.
            self.steps = outer
            self.control_node(node)
        sections = self.sections(frame)
        self.frame_items(frame, sections)
        loop = sections.steps
        for merge, following in sections.variables:
            first = next(s for s in self.work.inputs[merge.name] if s != following)
            loop.variables.append((self.slots[merge.name, 0], self.slots[first], self.slots[following]))
        conditions = [node for node in frame.nodes if node.op == "LoopCond"]
        if len(conditions) != 1:
            raise GraphError(f"the loop {frame.name!r} has {len(conditions)} LoopCond nodes; one was expected")
        loop.condition = self.slots[conditions[0].name, 0]
        entering = [self.slots[node.name, 0] for node in frame.enters]
        self.steps = outer
        exits = [node.name for node in frame.nodes if node.op in control_flow.EXITS]
        leaving = [self.slots[name, 0] for name in exits if (name, 0) in self.slots]
        taken = {*entering, *leaving, loop.condition}.union(*loop.variables)
        taken.update(*map(self.reads_of, (*loop.setup, *loop.test, *loop.body, *loop.after)))
        loop.body = [step for step in self.fusing.fused(loop.body) if step is not None]
        step = loop.step(entering if frame.context else (), leaving, self.often)
        self.taken[step] = taken
        self.steps.append(step)
        self.places[step] = Place(conditions[0].name, "LoopCond", entering)

    def sections(self, frame: LoopFrame) -> Sections:
        """The sections of a loop, empty as yet."""
        assert self.flow is not None
        return Sections(frame, self.work, self.fed, self.flow.loop_switches, self.is_variable, self.changes)

    def loop_variable(self, merge: NodeDef, sections: Sections) -> None:
        """A loop's Merge: a slot of its own, which the loop's step sets."""
        slot = self.output_slot(merge.name, 0)
        if (merge.name, 1) in self.used:
            raise UnsupportedOp(f"Merge {merge.name!r} of a loop is asked which input it took; that is not supported")
        following = next(
            s for s in self.work.inputs[merge.name] if self.index.nodes[s[0]].op in control_flow.NEXT_ITERATIONS
        )
        first = next(s for s in self.work.inputs[merge.name] if s != following)
        self.refer(slot, self.slots[first])
        sections.variables.append((merge, following))

    def is_variable(self, node: NodeDef) -> bool:
        """Whether a Merge is a loop's variable: one of its inputs comes from the iteration before."""
        return node.op in control_flow.MERGES and any(
            self.index.nodes[op].op in control_flow.NEXT_ITERATIONS for op, _ in self.work.inputs[node.name]
        )

    # The ends

    def fetch(self, tensor: TensorName) -> int:
        """The slot of a fetched value: of a variable's handle or reference, the variable's value."""
        slot = self.slots.get(tensor)
        node = self.index.nodes[tensor.op]
        if slot is None:
            raise GraphError(f"'{tensor}' can't be fetched: {node.op} {node.name!r} has no such output")
        handle = self.constants.get(slot, self.references.get(slot))
        if not isinstance(handle, Handle) or handle.dtype is None:
            return slot
        if self.hoists_reads and not self.by_reference:
            value = self.new_slot(None)
            self.reads.append(Read(value, handle.key, handle.name))
        elif not self.hoists_reads and slot not in self.references:
            return slot  # a function gives its handles as they are
        else:
            value = self.new_slot(None)
            self.needs_state = True
            self.add(steps.read_reference(slot, value), node, (slot,), (value,))
        return value

    def reads_of(self, step: Step) -> set[int]:
        """The slots that a step looks at."""
        place = self.places[step]
        found = {*place.inputs, *self.taken.get(step, ())}
        if self.flow is not None:
            found.update(self.watched(self.index.nodes[place.name]))
        return found

    def dying(self, steps: Sequence[Step | None]) -> dict[int, int]:
        """For the slots that some steps look at, the position of the last of them."""
        found = enumerate(steps)
        return {slot: position for position, step in found if step is not None for slot in self.reads_of(step)}

    def with_releases(self, kept: set[int]) -> tuple[Sequence[Step], list[Step], memory.Watch]:
        """The plan's steps with those that let go of values which no later step takes: every few steps, and at once.

        Attributes:
            kept: slots that are looked at afterwards, or are the same in every run.
        """
        # What is fetched is compared with what was fed and read.
        kept = kept.union([self.slots[f] for f in self.feeds], [read.slot for read in self.reads])
        last = {slot: position for slot, position in self.dying(self.steps).items() if slot not in kept}
        watch = memory.Watch()
        thrifty = self.thrifty(self.steps, last, watch)
        dead: dict[int, list[int]] = {}
        fused = self.fusing.fused(self.steps)
        for slot, position in self.dying(fused).items():
            if slot in kept:
                continue
            block = (position // _RELEASE_EVERY + 1) * _RELEASE_EVERY
            if block < len(self.steps):
                dead.setdefault(block, []).append(slot)
        for block in sorted(dead, reverse=True):
            fused.insert(block, steps.release(dead[block]))
        return self.often([step for step in fused if step is not None]), thrifty, watch

    def often(self, steps: Sequence[Step]) -> Sequence[Step]:
        """The steps as they are best where they run often."""
        return often(steps, self.calls)

    def thrifty(self, inner: Sequence[Step], last: Mapping[int, int], watch: memory.Watch) -> list[Step]:
        """Steps that are as careful with memory as can be."""
        dead: dict[int, list[int]] = {}
        for slot, position in last.items():
            dead.setdefault(position, []).append(slot)
        made = {slot for step in inner for slot in self.fills.get(step, ())}

        def replaced(step: Step, other: Step) -> None:
            self.places[other] = self.places[step]

        thrifty = memory.thrifty(inner, dead, made, self.calls, watch, replaced)
        return chained(thrifty, [self.calls.get(step) for step in inner], dead, made, watch, replaced)

    def block(self, inner: Sequence[Step], own: Collection[str]) -> memory.Block:
        """The own steps of a cluster's nodes, as one."""
        made = {slot for step in inner for slot in self.fills.get(step, ())}
        outer = [source for name, sources in self.work.inputs.items() if name not in own for source in sources]
        outer += [f for f in self.fetches if not isinstance(f, str)]
        kept = {self.slots[source] for source in outer if source in self.slots}
        if self.flow is not None:
            kept.update(slot for (name, _), slot in self.slots.items() if name in self.waited_for)
        last = {slot: at for slot, at in self.dying(inner).items() if slot in made and slot not in kept}
        block, watch = memory.Block(control_flow.locate), memory.Watch()
        plain = self.often([step for step in self.fusing.fused(inner) if step is not None])
        memory.alternate(block, plain, self.thrifty(inner, last, watch), watch, again=True)
        return block
