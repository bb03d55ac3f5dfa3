"""Chains of elementwise steps over large values, run strip by strip ("strip mining").

TensorFlow spells GELU by nine nodes. Each goes over a whole matrix, which main memory has to give and take where the
caches don't hold it. A chain runs all of them on a strip of rows, which stays in the cache, and then on the next
strip: in half the time where the matrix is large and the chain is long, and with one matrix' memory instead of three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines.interpreter.control_flow import run_step
from graphrack.engines.interpreter.memory import Call, Watch, is_free
from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.formats.dtypes import DOUBLE, FLOAT
from graphrack.formats.protos.graph_pb2 import NodeDef

FEWEST = 4
"""Steps of a chain: of fewer, calls for each strip cost what their passes take less."""
LEAST_BYTES = 6 << 20
"""Of the values that a chain goes over: smaller ones lie in the caches as they are."""
_STRIP_BYTES = 1 << 17

# Ops of which each element of the result comes of the elements there, whatever the others are, and whose results are
# never what they are given.
_ELEMENTWISE = frozenset((
    "Abs", "Add", "AddV2", "BiasAdd", "BiasAddV1", "Div", "Elu", "Erf", "Exp", "LeakyRelu", "Log", "Log1p", "Maximum",
    "Minimum", "Mul", "Neg", "Pow", "RealDiv", "Reciprocal", "Relu", "Relu6", "Rsqrt", "Selu", "Sigmoid", "Softplus",
    "Softsign", "Sqrt", "Square", "SquaredDifference", "Sub", "Tanh",
))  # fmt: skip

# How a value lies along the strips: whole in each, as a row, or a number; or divided among them, as a column, or all.
_NUMBER, _ROW, _COLUMN, _FULL = range(4)  # what comes of two is the one or the other

Array = np.ndarray[Any, Any]


def is_elementwise(node: NodeDef) -> bool:
    """Whether a node's kernel may be called for strips of what it is to be called for."""
    # To look for an attribute that isn't there would add it.
    if node.op not in _ELEMENTWISE or "T" not in node.attr or node.attr["T"].type not in (FLOAT.number, DOUBLE.number):
        return False
    return "data_format" not in node.attr or node.attr["data_format"].s == b"NHWC"


class _Member(NamedTuple):
    """One step of a chain.

    Attributes:
        inputs: places among the chain's values: those that come in, then each member's result.
        over: the place of an input that no other member takes, where the result may lie; -1 for none.
        slot: of the result, where others take it; -1 for none.
        has_out: whether the kernel takes `out`.
    """

    kernel: Any
    inputs: tuple[int, ...]
    over: int
    slot: int
    has_out: bool


class Chain:
    """Steps as one: by strips where that pays, and one by one elsewhere.

    Attributes:
        steps: these.
    """

    __slots__ = ("_dying", "_free", "_given", "_members", "_watch", "steps")

    def __init__(
        self, steps: Sequence[Step], calls: Sequence[Call], dying: Collection[int], made: Collection[int], watch: Watch
    ):
        """What runs one step after the other.

        Attributes:
            steps: thrifty ones.
            calls: what each of them calls.
            dying: slots that no later step takes.
            made: slots that steps of the plan fill.
        """
        self.steps = tuple(steps)
        self._watch, self._dying = watch, tuple(dying)
        outputs = {_output(call): None for call in calls}
        given = tuple(dict.fromkeys(slot for call in calls for slot in call.inputs if slot not in outputs))
        places = {slot: i for i, slot in enumerate((*given, *outputs))}
        dying = frozenset(dying)
        last = {slot: call for call in calls for slot in call.inputs}
        members = []
        for call, slot in zip(calls, outputs, strict=True):
            inside = [s for s in call.inputs if s in outputs and s in dying and last[s] is call]
            over = [places[s] for s in inside if _may_overwrite(call, s)]
            inputs = tuple([places[s] for s in call.inputs])
            kept = -1 if slot in dying else slot
            members.append(_Member(call.kernel, inputs, over[0] if over else -1, kept, bool(call.targets)))
        self._given, self._members = given, tuple(members)
        # In whose memory the last result may lie: all else has read of a strip by then what it reads.
        self._free = [
            i
            for i, slot in enumerate(given)
            if slot in dying and slot in made and (slot not in calls[-1].inputs or _may_overwrite(calls[-1], slot))
        ]

    def __call__(self, frame: Frame) -> None:
        """Runs them."""
        if self._by_strips(frame):
            self._watch.large = True
            for slot in self._dying:
                frame[slot] = None
            return
        for step in self.steps:
            run_step(step, frame)

    def _form(self, frame: Frame) -> tuple[tuple[int, ...], np.dtype[Any], list[int]] | None:
        """The results' shape and dtype, and how what comes in lies; None of what isn't run by strips."""
        values = [frame[slot] for slot in self._given]
        if not all(isinstance(value, (np.ndarray, np.generic)) for value in values):
            return None
        largest = max(values, key=lambda value: (value.nbytes, value.ndim))
        if largest.nbytes < LEAST_BYTES:
            return None
        shape, dtype, kinds = largest.shape, largest.dtype, []
        for value in values:
            if value.dtype != dtype or value.ndim > len(shape):
                return None
            if value.shape == shape:
                kinds.append(_FULL)
                if not value.flags.c_contiguous:
                    return None
            elif value.size == 1:
                kinds.append(_NUMBER)
            elif value.size == shape[-1] == value.shape[-1]:
                kinds.append(_ROW)
            elif value.shape == (*shape[:-1], 1):
                kinds.append(_COLUMN)
            else:
                return None
        return shape, dtype, kinds

    def _reusable(self, frame: Frame, kinds: Sequence[int]) -> Array | None:
        """An array that comes in, and that nobody looks at afterwards."""
        for i in self._free:
            value: Array = frame[self._given[i]]
            if kinds[i] == _FULL and is_free(frame, self._given[i]):
                return value
        return None

    def _by_strips(self, frame: Frame) -> bool:
        """Runs them by strips, and says whether it has; nothing has changed where it hasn't."""
        form = self._form(frame)
        if form is None:
            return False
        shape, dtype, kinds = form
        for member in self._members:
            kinds.append(reduce(or_, [kinds[i] for i in member.inputs], _NUMBER))
            if member.slot >= 0 and kinds[-1] != _FULL:
                return False
        if self._members[-1].slot < 0:
            return False
        reused = self._reusable(frame, kinds)
        width = shape[-1] if _ROW in kinds or _COLUMN in kinds else 1
        rows = math.prod(shape) // width
        lying = (rows, -1) if width > 1 else (-1,)
        results: list[tuple[int, Array]] = []
        begun = False  # to write where something is that the steps would need
        try:
            local: list[Any] = [
                _along(frame[slot], kind, lying) for slot, kind in zip(self._given, kinds, strict=False)
            ]
            divided = [(i, value) for i, value in enumerate(local) if kinds[i] & _COLUMN]
            todo: list[tuple[int, _Member, int, Array | None]] = []
            for member, kind in zip(self._members, kinds[len(local) :], strict=True):
                if not kind & _COLUMN:
                    local.append(member.kernel(*[local[i] for i in member.inputs]))
                    continue
                whole = None
                if member.slot >= 0:
                    is_last = member is self._members[-1]
                    result = reused if reused is not None and is_last else np.empty(shape, dtype)
                    results.append((member.slot, result))
                    whole = _along(result, _FULL, lying)
                over = member.over if kinds[member.over] == kind else -1
                todo.append((len(local), member, over, whole))
                local.append(None)
            height = max(1, _STRIP_BYTES // (width * dtype.itemsize))
            for start in range(0, rows, height):
                strip = slice(start, start + height)
                for i, value in divided:
                    local[i] = value[strip]
                for place, (kernel, inputs, _, _, has_out), over, whole in todo:
                    values = [local[i] for i in inputs]
                    if whole is None:
                        local[place] = kernel(*values) if over < 0 else kernel(*values, out=local[over])
                        continue
                    begun = begun or (place == len(local) - 1 and reused is not None)
                    local[place] = out = whole[strip]
                    if has_out:
                        kernel(*values, out=out)
                    else:
                        out[...] = kernel(*values)
        except ValueError:  # of shapes that don't fit: the steps say what is wrong
            if begun:
                raise
            return False
        for slot, result in results:
            frame[slot] = result
        return True


def _output(call: Call) -> int:
    assert isinstance(call.outputs, int)
    return call.outputs


def _may_overwrite(call: Call, slot: int) -> bool:
    """Whether a call's result may lie in the memory of one of its inputs."""
    found = [i for i, other in enumerate(call.inputs) if other == slot]
    return len(found) == 1 and found[0] in call.targets


def _along(value: Any, kind: int, shape: tuple[int, ...]) -> Any:
    """A value as strips take it; `shape`: of what is divided among them."""
    if kind & _COLUMN:
        return value.reshape(shape)
    return value.reshape((1, -1) if kind == _ROW else -1) if value.ndim > 1 else np.asarray(value)


def chained(
    steps: Sequence[Step],
    calls: Sequence[Call | None],
    dying: Mapping[int, Sequence[int]],
    made: Collection[int],
    watch: Watch,
    replaced: Callable[[Step, Step], None],
) -> list[Step]:
    """Thrifty steps with chains in the places of those that make some.

    Attributes:
        calls: what each step calls, where that is known.
        dying: for the position of a step, slots that no later step takes.
        made: slots that these steps fill.
        replaced: is told of the first step that a chain stands for, and of the chain.
    """
    result: list[Step] = []
    position = 0
    while position < len(steps):
        links, outputs = list[Call](), set[int]()
        for i in range(position, len(steps)):
            call = calls[i]
            if call is None or not call.is_elementwise or (links and outputs.isdisjoint(call.inputs)):
                break
            links.append(call)
            outputs.add(_output(call))
        if len(links) < FEWEST:
            end, one = position + 1, steps[position]
        else:
            end = position + len(links)
            dead = [slot for i in range(position, end) for slot in dying.get(i, ())]
            one = Chain(steps[position:end], links, dead, made, watch)
            replaced(steps[position], one)
        result.append(one)
        position = end
    return result
