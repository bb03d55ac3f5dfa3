"""Steps of small values made one, where most of what they take is the time of calling NumPy.

The gates of a recurrent cell are parts of one matrix, of which TensorFlow makes them by a node each:

    i, j, f, o = Split(1, z);  Sigmoid(i), Tanh(j), Sigmoid(Add(f, 1)), Sigmoid(o)

One step takes the sigmoid of all of them at once. And the gradient of an element that a loop takes of a list is a list
of nothing else, which is added to what other iterations gave; one step adds it there:

    AddN(sums, TensorListSetItem(TensorListReserve(shape, count), index, value))

What an optimizer does to several variables is fused by `optimizers.py`.

Only the plain steps of a plan are fused (`memory.py` tells which these are): large values are computed node by node,
and what the fused step doesn't take is left to the steps that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack.engines.interpreter.control_flow import run_step
from graphrack.engines.interpreter.optimizers import updates_together
from graphrack.engines.interpreter.plan import Place
from graphrack.engines.interpreter.steps import Frame, Fused, Step, number
from graphrack.formats.dtypes import DOUBLE, FLOAT, VARIANT, DType
from graphrack.formats.protos.graph_pb2 import NodeDef

if TYPE_CHECKING:
    from graphrack.engines.interpreter.nodes import NodeCompiler

Array = np.ndarray[Any, Any]
Tensor = tuple[str, int]

_FLOATS = {FLOAT.number: FLOAT, DOUBLE.number: DOUBLE}
_FUSED = frozenset((
    "Split", "Sigmoid", "Tanh", "Add", "AddV2", "TensorListReserve", "TensorListSetItem", "AddN"
))  # fmt: skip
_LARGEST = 1 << 13
"""Elements of a matrix whose gates are computed at once: of larger ones, the pass over Tanh's part costs more."""


class Fusing:
    """Finds what may be fused among the steps of one plan."""

    def __init__(self, compiler: NodeCompiler):
        self._compiler = compiler

    def fused(self, steps: Sequence[Step]) -> list[Step | None]:
        """The steps with fused ones among them; None in the places of those that others stand for."""
        places, result = self._compiler.places, list[Step | None](steps)
        ops = {place.op for step in steps if (place := places.get(step)) is not None}
        found_all = [*updates_together(self._compiler, steps)]
        if not ops.isdisjoint(("Split", "TensorListReserve")):
            one = _Steps(self._compiler, steps, self._takers)
            found_all += [*_gates(one), *_list_sums(one)]
        for found in found_all:
            for position in found.instead:
                result[position] = None
            result[found.at] = found.step
            place = places[steps[found.at]]
            places[found.step] = Place(place.name, place.op, found.inputs)
            self._compiler.fills[found.step] = found.outputs
        return result

    @cached_property
    def _takers(self) -> dict[Tensor, list[str]]:
        """For each tensor the nodes that take it; an empty name where it is fetched."""
        takers: dict[Tensor, list[str]] = {f: [""] for f in self._compiler.fetches if not isinstance(f, str)}
        for name, inputs in self._compiler.work.inputs.items():
            for source in inputs:
                takers.setdefault(source, []).append(name)
        return takers


class _Steps:
    """Steps that are looked through.

    Attributes:
        nodes: for each step that is all there is of a node, its node.
        takers: for each tensor of the plan the nodes that take it.
    """

    def __init__(self, compiler: NodeCompiler, steps: Sequence[Step], takers: Mapping[Tensor, Sequence[str]]):
        self.steps = steps
        self.takers = takers
        self._compiler = compiler
        self.nodes: list[NodeDef | None] = []
        self._positions: dict[str, int] = {}
        for position, step in enumerate(steps):
            place = compiler.places.get(step)
            node = None if place is None or place.op not in _FUSED else compiler.index.nodes[place.name]
            if place is not None and node is not None and node.op == place.op and self._is_whole(node, step):
                self._positions[node.name] = position
            else:
                node = None
            self.nodes.append(node)

    def _is_whole(self, node: NodeDef, step: Step) -> bool:
        """Whether a step fills a node's outputs, and is run in any case."""
        compiler = self._compiler
        if compiler.flow is not None and compiler.flow.contexts[node.name]:
            return False
        own = {compiler.slots.get((node.name, i)) for i in compiler.taken_of.get(node.name, ())}
        return own.issuperset(compiler.fills.get(step, (-1,)))

    def position(self, name: str, *ops: str) -> int | None:
        """Where the step of a node of one of these ops is; None where it isn't among them."""
        position = self._positions.get(name)
        node = None if position is None else self.nodes[position]
        return position if node is not None and node.op in ops else None

    def inputs(self, position: int) -> Sequence[int]:
        """The slots that a step takes."""
        return self._compiler.places[self.steps[position]].inputs

    def maker(self, node: NodeDef, number: int, op: str) -> int | None:
        """Where an input of a node is made that no other node takes, where it is by an op's first output."""
        source = self._compiler.work.inputs[node.name][number]
        return self.position(source[0], op) if source[1] == 0 and len(self.takers[source]) == 1 else None

    def node(self, position: int) -> NodeDef:
        """What is known to be one there."""
        node = self.nodes[position]
        assert node is not None
        return node

    def slot(self, tensor: Tensor) -> int:
        """Of a tensor."""
        return self._compiler.slots[tensor]

    def number(self, slot: int) -> Array | None:
        """The value of a slot, where that is a constant and a number."""
        found: Array | None = number(self._compiler.constants.get(slot))
        return found

    def all_of(self, positions: Sequence[int]) -> Step:
        """Runs some of them, as they are."""
        steps = [self.steps[position] for position in positions]

        def run(frame: Frame) -> None:
            for step in steps:
                run_step(step, frame)

        return run


def _type_of(node: NodeDef, attribute: str) -> int:
    """A dtype among a node's attributes; asking a message for what isn't there would put it there."""
    return node.attr[attribute].type if attribute in node.attr else 0


# ---- Gates ----


def _gates(one: _Steps) -> Iterator[Fused]:
    for at, node in enumerate(one.nodes):
        if node is None or node.op != "Split" or _type_of(node, "T") not in _FLOATS:
            continue
        axis, source = one.inputs(at)
        if one.number(axis) not in (1, -1):
            continue
        count = node.attr["num_split"].i
        instead, parts = [at], [_Part(one, (node.name, k)) for k in range(count)]
        if sum(part.sigmoid is not None for part in parts) < 2:
            continue
        for part in parts:
            instead += part.instead
        whole = one.all_of(sorted(instead))
        outputs = [slot for part in parts for slot in part.outputs()]
        yield Fused(_gates_step(parts, source, whole), at, instead, (axis, source), outputs)


class _Part:
    """One output of a Split, and what is made of it.

    Attributes:
        sigmoid, tanh: the slots of these; None where there is no such step.
        shift: what is added before the sigmoid is taken; None for nothing.
        own: the slot of the part itself; None where nothing else takes it.
        instead: the positions of the steps of all this.
    """

    def __init__(self, one: _Steps, tensor: Tensor):
        self.sigmoid: int | None = None
        self.tanh: int | None = None
        self.shift: Array | None = None
        self.own: int | None = None
        self.instead: list[int] = []
        for taker in one.takers.get(tensor, ()):
            position = one.position(taker, "Tanh")
            if position is not None and self.tanh is None:
                self.tanh = one.slot((taker, 0))
                self.instead.append(position)
            elif not self._is_sigmoid(one, taker) and not self._is_shifted(one, taker):
                self.own = one.slot(tensor)

    def _is_sigmoid(self, one: _Steps, taker: str) -> bool:
        position = one.position(taker, "Sigmoid")
        if position is None or self.sigmoid is not None:
            return False
        self.sigmoid = one.slot((taker, 0))
        self.instead.append(position)
        return True

    def _is_shifted(self, one: _Steps, taker: str) -> bool:
        """Whether a node adds a number and nobody but a Sigmoid takes the sum."""
        position = one.position(taker, "Add", "AddV2")
        takers = one.takers.get((taker, 0), ())
        if position is None or len(takers) != 1 or self.sigmoid is not None:
            return False
        shift = next((n for n in map(one.number, one.inputs(position)) if n is not None), None)
        if shift is None or not self._is_sigmoid(one, takers[0]):
            return False
        self.shift = shift
        self.instead.append(position)
        return True

    def outputs(self) -> list[int]:
        """The slots that all this fills."""
        return [slot for slot in (self.sigmoid, self.tanh, self.own) if slot is not None]


def _gates_step(parts: Sequence[_Part], source: int, whole: Step) -> Step:
    from graphrack.ops.math import sigmoid

    count = len(parts)
    shifts = [(k, part.shift) for k, part in enumerate(parts) if part.shift is not None]
    sigmoids = [(k, part.sigmoid) for k, part in enumerate(parts) if part.sigmoid is not None]
    tanhs = [(k, part.tanh) for k, part in enumerate(parts) if part.tanh is not None]
    owns = [(k, part.own) for k, part in enumerate(parts) if part.own is not None]

    def step(frame: Frame) -> None:
        value = frame[source]
        if value.ndim != 2 or value.size > _LARGEST or value.shape[1] % count:
            whole(frame)
            return
        rows, columns = value.shape
        gates = value.reshape(rows, count, columns // count).swapaxes(0, 1).copy()
        for k, slot in tanhs:
            frame[slot] = np.tanh(gates[k])
        for k, slot in owns:
            frame[slot] = gates[k].copy()
        for k, shift in shifts:
            part = gates[k]
            np.add(part, shift, part)
        sigmoid(gates, out=gates)
        for k, slot in sigmoids:
            frame[slot] = gates[k]

    return step


# ---- Sums of lists ----


def _list_sums(one: _Steps) -> Iterator[Fused]:
    for at, node in enumerate(one.nodes):
        if node is None or node.op != "AddN" or _type_of(node, "T") != VARIANT.number or len(one.inputs(at)) != 2:
            continue
        for mine in (0, 1):
            made = one.maker(node, mine, "TensorListSetItem")
            reserved = None if made is None else one.maker(one.node(made), 0, "TensorListReserve")
            if made is None or reserved is None:
                continue
            dtypes = {_type_of(one.node(i), "element_dtype") for i in (made, reserved)}
            if len(dtypes) > 1 or dtypes.isdisjoint(_FLOATS):
                continue
            _, index, value = one.inputs(made)
            instead = (reserved, made, at)
            inputs = (one.inputs(at)[1 - mine], *one.inputs(reserved), index, value)
            output = one.slot((node.name, 0))
            step = _list_sum_step(inputs, output, _FLOATS[dtypes.pop()], one.all_of(instead))
            yield Fused(step, at, instead, inputs, (output,))
            break


def _list_sum_step(inputs: Sequence[int], output: int, dtype: DType, whole: Step) -> Step:
    from graphrack.ops._lists import TensorList
    from graphrack.ops.state import compatible

    total, element_shape, count, position, item = inputs

    def step(frame: Frame) -> None:
        sums, value, at = frame[total], frame[item], frame[position]
        if (
            type(sums) is TensorList
            and value.__class__ is np.ndarray
            and at.__class__ is np.int32
            and frame[count] == sums.length
            and 0 <= at < sums.length
            and sums.is_like(dtype, frame[element_shape])
            and compatible(value.shape, sums.element_shape)
        ):
            before = sums.items()[at]
            if before is None or before.shape == value.shape:
                frame[output] = sums.set(int(at), value if before is None else np.add(before, value))
                return
        whole(frame)

    return step
