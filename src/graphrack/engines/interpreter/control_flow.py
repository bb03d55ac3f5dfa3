"""TF1 control flow: dead tensors of branches not taken, and loops as steps that hold steps.

Branches. `Switch` makes the output of the branch not taken dead; a node with a dead input, data or control,
doesn't run, and its outputs are dead; `Merge` gives the input that is alive. Which branches a node lies in is
known when a plan is compiled (its `Context`), so only nodes in branches are guarded.

Loops. `Enter` … `Exit` of one frame name become one step of the plan, at the place where all its `Enter`s are
ready. An iteration needs no values but its own: a loop's variables are the slots of its `Merge`s, set together at
the end of an iteration, so that a million iterations take the room of one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from graphrack.engines.interpreter.steps import DEAD, Frame, Step
from graphrack.errors import GraphError
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.prune import Needed

ENTERS = frozenset(("Enter", "RefEnter"))
EXITS = frozenset(("Exit", "RefExit"))
MERGES = frozenset(("Merge", "RefMerge"))
SWITCHES = frozenset(("Switch", "RefSwitch"))
NEXT_ITERATIONS = frozenset(("NextIteration", "RefNextIteration"))
CONTROL_FLOW = ENTERS | EXITS | MERGES | SWITCHES | NEXT_ITERATIONS | {"LoopCond", "_SwitchN", "ControlTrigger"}

# Of nodes that the planner itself looks into; kernels count for themselves.
LEAST_INPUTS = {
    **dict.fromkeys(("Identity", "ReadVariableOp", "PlaceholderWithDefault", "LoopCond"), 1),
    **dict.fromkeys(ENTERS | EXITS | MERGES | NEXT_ITERATIONS, 1),
    **dict.fromkeys(SWITCHES | {"_SwitchN"}, 2),
}

Context = frozenset[tuple[tuple[str, int], int]]
"""The branches that a node lies in: predicates, each with the output of its Switches that is alive."""


# Steps


def guarded(step: Step, watched: Sequence[int], outputs: Sequence[int], mark: int | None) -> Step:
    """A step that doesn't run where one of the watched slots is dead: its outputs are dead then.

    `mark` is the slot by which others that wait for this node see whether it ran, where there is one.
    """
    slots, dead = tuple(watched), tuple(outputs if mark is None else (*outputs, mark))

    def guard(frame: Frame) -> None:
        for slot in slots:
            if frame[slot] is DEAD:
                for output in dead:
                    frame[output] = DEAD
                return
        step(frame)
        if mark is not None:
            frame[mark] = True

    return guard


def copy(source: int, output: int) -> Step:
    """A step that puts one slot's value into another."""

    def step(frame: Frame) -> None:
        frame[output] = frame[source]

    return step


def switch(data: int, predicate: int, outputs: tuple[int, int]) -> Step:
    """`Switch`: the data on the output that the predicate names, the other one dead."""
    no, yes = outputs

    def step(frame: Frame) -> None:
        value, chosen = frame[data], frame[predicate]
        if value is DEAD or chosen is DEAD:
            frame[no] = frame[yes] = DEAD
        elif _scalar(chosen):
            frame[no], frame[yes] = DEAD, value
        else:
            frame[no], frame[yes] = value, DEAD

    return step


def switch_n(data: int, chosen: int, outputs: Sequence[int]) -> Step:
    """`_SwitchN`: the data on the output of that number, the last one for any other; the rest dead."""
    slots = tuple(outputs)

    def step(frame: Frame) -> None:
        value, number = frame[data], frame[chosen]
        for slot in slots:
            frame[slot] = DEAD
        if value is not DEAD and number is not DEAD:
            index = int(np.asarray(number))
            frame[slots[index if 0 <= index < len(slots) else -1]] = value

    return step


def _scalar(value: Any) -> bool:
    if value.__class__ is np.bool_:
        return bool(value)
    if np.ndim(value):
        raise ValueError(f"the predicate must be a scalar; found shape {list(np.shape(value))}")
    return bool(value)


def merge(inputs: Sequence[int], output: int, index_output: int | None) -> Step:
    """`Merge`: the input that is alive, and its number; dead where none is."""
    slots = tuple(inputs)

    def step(frame: Frame) -> None:
        for number, slot in enumerate(slots):
            if frame[slot] is not DEAD:
                frame[output] = frame[slot]
                if index_output is not None:
                    frame[index_output] = np.int32(number)
                return
        frame[output] = DEAD
        if index_output is not None:
            frame[index_output] = DEAD

    return step


class LoopSteps:
    """A loop while it is compiled: the steps of its sections, and the slots that iterations hand on.

    Attributes:
        setup: what no iteration changes; runs once.
        test: what decides whether there is another iteration; runs once more than there are iterations.
        body: what only an iteration that is taken runs.
        after: what takes the loop's variables as they are in the end.
        variables: for each Merge its slot, the slot of its first value, and that of its next.
        condition: the slot of LoopCond's input.
    """

    def __init__(self) -> None:
        self.setup: list[Step] = []
        self.test: list[Step] = []
        self.body: list[Step] = []
        self.after: list[Step] = []
        self.variables: list[tuple[int, int, int]] = []
        self.condition = -1

    def step(
        self, entering: Sequence[int], marks: Sequence[int], often: Callable[[Sequence[Step]], Sequence[Step]]
    ) -> Step:
        """The whole loop as a step. `entering` are the slots of what enters: a dead one, and all is dead.

        Attributes:
            often: steps that do the same, as they are best where they run often.
        """
        setup, test, body, after = tuple(self.setup), often(self.test), often(self.body), tuple(self.after)
        slots = tuple(slot for slot, _, _ in self.variables)
        first = tuple(slot for _, slot, _ in self.variables)
        following = tuple(slot for _, _, slot in self.variables)
        watched, condition, dead = tuple(entering), self.condition, (*slots, *marks)

        def loop(frame: Frame) -> None:
            for slot in watched:
                if frame[slot] is DEAD:
                    for output in dead:
                        frame[output] = DEAD
                    return
            for step in setup:
                run_step(step, frame)
            for slot, start in zip(slots, first, strict=True):
                frame[slot] = frame[start]
            while True:
                for step in test:
                    try:
                        step(frame)
                    except Exception as error:
                        locate(error, step)
                        raise
                if not _scalar(frame[condition]):
                    break
                for step in body:
                    try:
                        step(frame)
                    except Exception as error:
                        locate(error, step)
                        raise
                values = [frame[slot] for slot in following]
                for slot, value in zip(slots, values, strict=True):
                    frame[slot] = value
            for step in after:
                run_step(step, frame)

        return loop


def run_step(step: Step, frame: Frame) -> None:
    """Runs a step, and notes on an error that it comes from it."""
    try:
        step(frame)
    except Exception as error:
        locate(error, step)
        raise


def locate(error: Exception, step: Step) -> None:
    """Notes on an error the innermost step that it comes from, for the plan's message."""
    if not hasattr(error, "graphrack_step"):
        error.graphrack_step = step  # type: ignore[attr-defined]


def too_few_inputs(node: NodeDef, count: int, least: int) -> GraphError:
    """The error for a node of a damaged graph."""
    return GraphError(
        f"node {node.name!r} ({node.op}) has {count} inputs; at least {least} were expected: the graph is damaged"
    )


# Where nodes are


class LoopFrame:
    """One loop of a graph, as its Enters' frame name says; and the outermost frame, which is no loop.

    Attributes:
        name: of the frame.
        parent: the frame around it; None for the outermost.
        nodes: those of the loop, its Exits too, inner loops' nodes not.
        children: loops inside it.
        enters: its Enter nodes.
        context: the branches that the loop as a whole lies in.
    """

    def __init__(self, name: str, parent: LoopFrame | None):
        self.name = name
        self.parent = parent
        self.nodes: list[NodeDef] = []
        self.children: list[LoopFrame] = []
        self.enters: list[NodeDef] = []
        self.context: Context = frozenset()

    def is_around(self, other: LoopFrame) -> bool:
        """Whether the other one is this one or lies inside it."""
        frame: LoopFrame | None = other
        while frame is not None and frame is not self:
            frame = frame.parent
        return frame is self


class ControlFlow:
    """The loops and branches of what a plan needs.

    Attributes:
        root: the outermost frame.
        inside: for each node the frame that its outputs are in.
        contexts: for each node the branches that it lies in; in a loop, those inside the loop.
        loop_switches: Switches that LoopCond decides.
    """

    def __init__(self, work: Needed, fed: Collection[tuple[str, int]]):
        self._work = work
        self._fed = fed
        self.root = LoopFrame("", None)
        self.inside: dict[str, LoopFrame] = {}
        self.contexts: dict[str, Context] = {}
        conditions = {node.name for node in work.order if node.op == "LoopCond"}
        self._predicates: dict[str, tuple[str, int]] = {}
        self.loop_switches: set[str] = set()
        for node in work.order:
            if node.op in SWITCHES or node.op == "_SwitchN":
                predicate = work.inputs[node.name][1]
                if predicate[0] in conditions:
                    self.loop_switches.add(node.name)
                else:
                    self._predicates[node.name] = predicate
        self._find_loops()
        loops = [frame for frame in self.inside.values() if frame is not self.root]
        # What lies after a loop lies in the loop's branches, and another loop may: until nothing changes.
        while True:
            before = [loop.context for loop in loops]
            self._find_contexts()
            if before == [loop.context for loop in loops]:
                break

    def _sources(self, node: NodeDef) -> list[str]:
        data = [op for op, i in self._work.inputs[node.name] if (op, i) not in self._fed]
        return [*data, *self._work.controls.get(node.name, ())]

    def _find_loops(self) -> None:
        frames: dict[tuple[int, str], LoopFrame] = {}
        for node in self._work.order:  # inputs come before their consumers, but for NextIteration
            around = self.root
            for op in self._sources(node):
                frame = self.inside.get(op, self.root)
                if around.is_around(frame):
                    around = frame
                elif not frame.is_around(around):
                    raise GraphError(
                        f"node {node.name!r} ({node.op}) takes values of two loops, {around.name!r} and {frame.name!r}"
                    )
            if node.op in ENTERS:
                name = node.attr["frame_name"].s.decode()
                key = (id(around), name)
                if key not in frames:
                    frames[key] = LoopFrame(name, around)
                    around.children.append(frames[key])
                around = frames[key]
                around.enters.append(node)
            else:
                around.nodes.append(node)
                if node.op in EXITS:
                    if around.parent is None:
                        raise GraphError(f"{node.op} {node.name!r} lies in no loop")
                    around = around.parent
            self.inside[node.name] = around

    def _find_contexts(self) -> None:
        entering: dict[int, tuple[LoopFrame, Context]] = {}
        for node in self._work.order:
            data = [s for s in self._work.inputs[node.name] if s not in self._fed]
            arriving = [self.of_tensor(s) for s in data if s[0] in self.contexts or s[0] in self._predicates]
            waiting = [self.contexts.get(op, frozenset()) for op in self._work.controls.get(node.name, ())]
            around: Context = _merged(arriving) if node.op in MERGES else frozenset().union(*arriving, *waiting)
            if node.op in ENTERS:
                frame = self.inside[node.name]
                _, so_far = entering.get(id(frame), (frame, frozenset()))
                entering[id(frame)] = (frame, so_far | around)
                around = frozenset()
            elif node.op in EXITS:
                around = self.inside[self._work.inputs[node.name][0][0]].context
            self.contexts[node.name] = around
        for frame, context in entering.values():
            frame.context = context

    def place(self, name: str) -> LoopFrame | None:
        """The loop that a node is in, or the outermost frame; None for a node in a branch."""
        return None if self.contexts[name] else self.inside[name]

    def is_as_before(self, node: NodeDef, inputs: Sequence[tuple[str, int]]) -> bool:
        """Whether a node lies in the same branches where it takes others of the values that reach it."""
        waiting = (self.contexts[name] for name in self._work.controls.get(node.name, ()))
        arriving = (self.of_tensor(source) for source in inputs if source not in self._fed)
        return self.contexts[node.name] == frozenset().union(*arriving, *waiting)

    def of_tensor(self, source: tuple[str, int]) -> Context:
        """The branches that a tensor lies in: of a Switch's output, that output's branch too."""
        around = self.contexts.get(source[0], frozenset())
        predicate = self._predicates.get(source[0])
        return around if predicate is None else around | {(predicate, source[1])}


def _merged(arriving: Sequence[Context]) -> Context:
    """The branches around a Merge: those that all inputs lie in, but for predicates by which they part."""
    if not arriving:
        return frozenset()
    return frozenset.intersection(*arriving)
