"""Optimizers' updates of several small variables made one.

A training step of a small model changes a dozen variables of a few values by a node each (`ApplyAdam` and kin), all by
the same optimizer and the same learning rate. NumPy takes ten calls for each of them, which cost the same for a
thousand values as for one. One step does with one vector, of all variables' values, what these do one by one.

New values are parts of that vector, so that the next step finds it made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphrack.engines.interpreter.control_flow import run_step
from graphrack.engines.interpreter.steps import STATE_SLOT, Frame, Fused, Step
from graphrack.formats.dtypes import DOUBLE, FLOAT
from graphrack.ops.runtime import Handle

if TYPE_CHECKING:
    from graphrack.engines.interpreter.nodes import NodeCompiler
    from graphrack.engines.interpreter.state import Run
    from graphrack.ops.training import Dense

Array = np.ndarray[Any, Any]

_LARGEST, _MOST = 1 << 12, 1 << 15
"""Elements of a variable from which on copying its gradient costs more than calls; of all of them, which fit caches."""


class _Update(NamedTuple):
    """One node of an optimizer.

    Attributes:
        name: of the node.
        at: its step's position.
        kernel: applies the optimizer.
        handles: the variable and its slots.
        size: the elements of each.
        grad: where the gradient is in the frame.
        numbers: where its other inputs are.
        output: where the variable's reference goes; None where nobody takes it.
    """

    name: str
    at: int
    kernel: Dense
    handles: Sequence[Handle]
    size: int
    grad: int
    numbers: tuple[int, ...]
    output: int | None

    @property
    def kind(self) -> Any:
        """The same for those that may be one."""
        return self.kernel.like, self.handles[0].dtype, self.numbers

    @property
    def changed(self) -> set[str]:
        """Keys of what it changes."""
        return {handle.key for handle in self.handles}


def dense_optimizer(op: str, kernel: Any) -> Dense | None:
    """The kernel of a node, where it applies an optimizer to variables as a whole."""
    if "Apply" not in op:  # there needn't be any optimizers
        return None
    from graphrack.ops.training import Dense

    return kernel if isinstance(kernel, Dense) else None


def updates_together(compiler: NodeCompiler, steps: Sequence[Step]) -> Iterator[Fused]:
    """The steps that stand for several updates each."""
    for group in _groups(compiler, steps):
        if len(group) > 1:
            yield _fused(compiler.site, steps, group)


# Which


def _groups(compiler: NodeCompiler, steps: Sequence[Step]) -> Iterator[Sequence[_Update]]:
    """Updates of one kind, with nothing between the first and the last but updates of other kinds.

    None of all these waits for another one, or takes what another one changes: their order is of no matter.
    """
    together = _Together(compiler)
    for at, step in enumerate(steps):
        update = _update(compiler, step, at)
        if update is None or together.bars(update):
            yield from together.end()
        if update is not None:
            together.add(update)
    yield from together.end()


class _Together:
    """Updates in any order, by kinds."""

    def __init__(self, compiler: NodeCompiler):
        self._compiler = compiler
        self._groups: list[list[_Update]] = []
        self._open: dict[Any, list[_Update]] = {}
        self._names: set[str] = set()
        self._changed: set[str] = set()

    def add(self, update: _Update) -> None:
        """Takes one more."""
        group = self._open.get(update.kind)
        if group is None or sum(other.size for other in group) + update.size > _MOST:
            group = self._open[update.kind] = []
            self._groups.append(group)
        group.append(update)
        self._names.add(update.name)
        self._changed |= update.changed

    def end(self) -> Sequence[Sequence[_Update]]:
        """What there was; there is nothing any more."""
        found, self._groups, self._open = self._groups, [], {}
        self._names.clear()
        self._changed.clear()
        return found

    def bars(self, update: _Update) -> bool:
        """Whether another update has to come after one of these."""
        return not self._changed.isdisjoint(update.changed) or self._are_waited_for(update.name)

    def _are_waited_for(self, name: str) -> bool:
        work, stack = self._compiler.work, [*self._compiler.work.controls.get(name, ())]
        seen = set(stack)
        while stack:
            other = stack.pop()
            if other in self._names:
                return True
            # What computes something is no update, and so comes before all of these.
            if self._compiler.index.nodes[other].op in ("NoOp", "Identity"):
                sources = {op for op, _ in work.inputs[other]}.union(work.controls.get(other, ())) - seen
                seen |= sources
                stack += sources
        return False


def _update(compiler: NodeCompiler, step: Step, at: int) -> _Update | None:
    """What a step updates, where that is small."""
    call, place = compiler.calls.get(step), compiler.places.get(step)
    kernel = dense_optimizer(place.op, call.kernel) if call is not None and place is not None else None
    if call is None or place is None or kernel is None:
        return None
    inputs = call.inputs[1:]  # the run's state comes first
    constants = [compiler.constants.get(slot) for slot in inputs[: kernel.states]]
    handles = [handle for handle in constants if isinstance(handle, Handle)]
    if len(handles) < kernel.states:
        return None
    numbers = list(inputs[kernel.states :])
    grad = numbers.pop(kernel.place)
    size = _size(handles)
    if not 0 < size <= _LARGEST:
        return None
    outputs = compiler.fills[step]
    output = outputs[0] if outputs else None
    return _Update(place.name, at, kernel, handles, size, grad, tuple(numbers), output)


def _size(handles: Sequence[Handle]) -> int:
    """The elements of variables of one dtype and shape, whose keys differ; 0 where that is unknown, or they are not."""
    shapes, dtypes = {handle.shape for handle in handles}, {handle.dtype for handle in handles}
    (shape, *others) = shapes
    if others or shape is None or None in shape or len(dtypes) > 1 or dtypes.isdisjoint((FLOAT, DOUBLE)):
        return 0
    return math.prod(dim or 0 for dim in shape) if len({handle.key for handle in handles}) == len(handles) else 0


# Doing them


class _Vectors:
    """What one model's variables have been given last.

    Attributes:
        vectors: the variables' values, those of one slot behind each other.
        parts: of the vectors, in the same order: the values themselves.
    """

    __slots__ = ("parts", "vectors")

    def __init__(self) -> None:
        self.vectors: list[Array] = []
        self.parts: list[Array] = []


def _fused(site: str, steps: Sequence[Step], group: Sequence[_Update]) -> Fused:
    instead = [update.at for update in group]
    inputs = [STATE_SLOT, *(update.grad for update in group), *group[0].numbers]
    outputs = [update.output for update in group if update.output is not None]
    whole = [steps[position] for position in instead]
    return Fused(_step(site + group[0].name, group, whole), instead[-1], instead, inputs, outputs)


def _step(name: str, group: Sequence[_Update], whole: Sequence[Step]) -> Step:
    first = group[0]
    states, apply, place, taken = first.kernel.states, first.kernel.update, first.kernel.place, first.numbers
    grads = [update.grad for update in group]
    keys = [update.handles[i].key for i in range(states) for update in group]
    shapes: list[Any] = [update.handles[0].shape for update in group]
    references = [(update.output, update.handles[0]) for update in group if update.output is not None]
    ends = list(accumulate(update.size for update in group))
    parts = [
        (start, end, None if len(shape) == 1 else shape)
        for start, end, shape in zip([0, *ends], ends, shapes, strict=False)
    ]

    def vectors_of(values: Sequence[Any]) -> list[Array] | None:
        """The values of each slot behind each other; None where they have other shapes."""
        count = len(shapes)
        if any(value is None or value.shape != shapes[i % count] for i, value in enumerate(values)):
            return None
        return [np.concatenate(values[i : i + count], None) for i in range(0, len(values), count)]

    def step(frame: Frame) -> None:
        run: Run = frame[STATE_SLOT]
        values = run.values
        current = [values.get(key) for key in keys]
        given = [frame[slot] for slot in grads]
        kept = run.per_node(name, _Vectors)
        known = kept.parts
        vectors: list[Array] | None = kept.vectors
        if len(known) != len(current) or not all(map(is_, known, current)):
            vectors = vectors_of(current)
        numbers = [frame[slot] for slot in taken]
        fit = vectors is not None and [value.shape for value in given] == shapes
        if not fit or vectors is None or any(number.ndim for number in numbers):
            for each in whole:
                run_step(each, frame)
            return
        inputs = [np.asarray(number) for number in numbers]
        inputs.insert(place, np.concatenate(given, None))
        results = apply(*vectors, *inputs)
        made = []
        for result in results:
            for start, end, shape in parts:
                part = result[start:end]
                made.append(part if shape is None else part.reshape(shape))
        values.update(zip(keys, made, strict=True))
        kept.vectors, kept.parts = list(results), made
        for slot, handle in references:
            frame[slot] = handle

    return step
