"""Memory of values that no later step takes: let go of at once, or written into.

Where an elementwise step is the last to take one of its inputs, its result may lie in that input's memory: a fresh
array of some size costs a page fault for every 4 KiB, and a run's peak grows by it. It does so only where nobody else
can see the array: a step has made it in this run, it owns its memory, and it is held by nothing but the frame. That
is looked up when the step runs, by counting references: an array that is fetched, fed, remembered, a constant, a
variable's value, part of a list, or seen through a view has more of them.

Small values gain nothing from all this. So a list of steps exists twice, thrifty and plain: the thrifty one runs first,
and the plain one from then on where no value was large (`alternate`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from weakref import getweakrefcount

import numpy as np

from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.formats.dtypes import DOUBLE, FLOAT
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.ops.registry import Kernel, Op

Array = np.ndarray[Any, Any]

LEAST_BYTES = 1 << 17
"""Of an array whose memory is worth being used again: about from here on, malloc gives it back to the system."""

# Functions whose result has the dtype of their operands, where these are floats.
_SAME_DTYPE = frozenset((
    np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum,
    np.absolute, np.ceil, np.cos, np.exp, np.expm1, np.floor, np.log, np.log1p, np.negative, np.rint, np.sign, np.sin,
    np.sqrt, np.square, np.tan, np.tanh,
))  # fmt: skip
_MOST_PAUSE = 1 << 16


class Call(NamedTuple):
    """What a step calls that one node's kernel makes.

    Attributes:
        kernel: takes the values of the input slots, and `out`: an array for its result, or one of them.
        inputs: slots.
        outputs: for a kernel of one result its slot; for others the number of each used result, and its slot.
        targets: positions of inputs whose shape and dtype, floats, are that result's, and which it may overwrite.
        number: the second input, where the kernel has an operator and that is a constant number.
        is_elementwise: whether it may be called for parts of what it takes, each in its place (`strips.py`).
    """

    kernel: Kernel
    inputs: Sequence[int]
    outputs: int | Sequence[tuple[int, int]]
    targets: Sequence[int] = ()
    number: Any = None
    is_elementwise: bool = False


def targets(node: NodeDef, op: Op, kernel: Kernel, inputs: Sequence[int]) -> Sequence[int]:
    """The positions of those of a node's inputs in whose memory its result may lie."""
    if "T" not in node.attr or node.attr["T"].type not in (FLOAT.number, DOUBLE.number):
        return ()
    of_numpy = range(kernel.nin) if isinstance(kernel, np.ufunc) and kernel in _SAME_DTYPE else ()
    return [i for i in op.overwrites or of_numpy if i < len(inputs)]


# Who holds an array

COUNTS_TELL: bool = hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether counting references tells who holds an array: without the GIL, other threads' aren't counted."""


def _count(frame: Frame, slot: int) -> tuple[int, int]:
    """How many references there are to the array in a slot, and to the one that its memory belongs to (0: its own)."""
    value = frame[slot]
    base = value.base
    return sys.getrefcount(value), 0 if base is None else sys.getrefcount(base)


def _counts_alone() -> Sequence[tuple[int, int]]:
    """What `_count` gives for arrays that only a slot of the frame and a variable of its step hold.

    Found out by counting, since versions of Python differ in what they count. Nothing where counts don't tell.
    """
    if not COUNTS_TELL:
        return ()
    frame: Frame = [np.empty(2), np.empty(2).reshape(1, 2)]
    found = []
    for slot in range(len(frame)):
        value = frame[slot]
        found.append(_count(frame, slot))
        assert value is frame[slot]
    return found


_ALONE = frozenset(_counts_alone())


def is_free(frame: Frame, slot: int) -> bool:
    """Whether nobody but the frame, and a variable of the step that asks, holds the array in a slot or its memory."""
    if _count(frame, slot) not in _ALONE:
        return False
    value = frame[slot]
    owner = value if value.base is None else value.base
    return (
        type(owner) is np.ndarray
        and owner.base is None
        and owner.flags.owndata
        and owner.flags.writeable
        and value.flags.carray
        and value.dtype.kind == "f"
        and not getweakrefcount(value)
        and not getweakrefcount(owner)
    )


def _fits(value: Array, others: Sequence[Any]) -> bool:
    """Whether the result of broadcasting all of them has the shape and the dtype of the first."""
    shape, rank = value.shape, value.ndim
    for other in others:
        found = other.shape
        if other.dtype != value.dtype or len(found) > rank:
            return False
        if found != shape and any(a not in (1, b) for a, b in zip(found, shape[rank - len(found) :], strict=True)):
            return False
    return True


@cache
def _keep_pages() -> None:
    """Has malloc keep what is freed for what comes next, once values are large.

    By default glibc asks the system for the pages of each array from 128 KiB on, and gives them back: a page fault for
    every 4 KiB, which can take longer than the work. It raises that limit to the size of what is freed, up to 32 MiB,
    and keeps twice as much of freed memory (mallopt(3), `M_MMAP_THRESHOLD`). Elsewhere this does nothing.
    """
    np.empty((32 << 20) - (64 << 10), np.uint8)


# Steps


class Watch:
    """Whether thrifty steps have met values worth it, since it was looked at last."""

    __slots__ = ("large",)

    def __init__(self) -> None:
        self.large = False


def _overwriting(plain: Step, call: Call, targets: Sequence[int], dead: Sequence[int], watch: Watch) -> Step:
    """A step that puts its result into the memory of one of its inputs, where that is large and nobody else's.

    Attributes:
        plain: the step that doesn't.
        targets: positions of inputs that no later step takes.
        dead: all slots that no later step takes.
    """
    kernel, inputs, outputs = call.kernel, call.inputs, call.outputs
    ufunc = isinstance(kernel, np.ufunc)
    choices = tuple((inputs[i], tuple(slot for j, slot in enumerate(inputs) if j != i)) for i in targets)
    done = tuple(dead)

    def step(frame: Frame) -> None:
        for slot, others in choices:
            value = frame[slot]
            if value.nbytes >= LEAST_BYTES:
                watch.large = True
                if is_free(frame, slot) and not (ufunc and others and not _fits(value, [frame[i] for i in others])):
                    result = kernel(*[frame[i] for i in inputs], out=value)
                    if isinstance(outputs, int):
                        frame[outputs] = result
                    else:
                        for number, output in outputs:
                            frame[output] = result[number]
                    break
        else:
            plain(frame)
        for slot in done:
            frame[slot] = None

    return step


def _releasing(plain: Step, dead: Sequence[int], watch: Watch) -> Step:
    """A step that lets go of what no later step takes."""
    done = tuple(dead)

    def step(frame: Frame) -> None:
        plain(frame)
        for slot in done:
            value = frame[slot]
            if value.__class__ is np.ndarray and value.nbytes >= LEAST_BYTES:
                watch.large = True
            frame[slot] = None

    return step


def _may_die(inputs: Sequence[int], i: int, dead: Collection[int], made: Collection[int]) -> bool:
    return inputs[i] in dead and inputs[i] in made and list(inputs).count(inputs[i]) == 1


def thrifty(
    steps: Sequence[Step],
    dying: Mapping[int, Sequence[int]],
    made: Collection[int],
    calls: Mapping[Step, Call],
    watch: Watch,
    replaced: Callable[[Step, Step], None],
) -> list[Step]:
    """The steps as they are best for large values.

    Attributes:
        dying: for the position of a step, slots that no later step takes.
        made: slots that these steps fill.
        calls: what steps call whose result may overwrite an input.
        replaced: is told of each step that another stands for.
    """
    result: list[Step] = []
    for position, plain in enumerate(steps):
        dead = dying.get(position, ())
        if dead:
            call = calls.get(plain)
            targets = [i for i in call.targets if _may_die(call.inputs, i, dead, made)] if call is not None else []
            if call is not None and targets and _ALONE:
                step = _overwriting(plain, call, targets, dead, watch)
            else:
                step = _releasing(plain, dead, watch)
            replaced(plain, step)
            result.append(step)
        else:
            result.append(plain)
    return result


def alternate(
    holder: Any,
    plain: Sequence[Step],
    frugal: Sequence[Step],
    watch: Watch,
    *,
    again: bool,
    whole: Watch | None = None,
) -> None:
    """Lets a holder of steps (its `_steps`) run the thrifty ones, and the plain ones where values are small.

    Attributes:
        again: whether to look again after 2, 4, 8, … runs: a first run is often one on a small batch.
        whole: is told of large values, too.
    """
    left = pause = 2

    def settle(frame: Frame) -> None:
        if watch.large:
            _keep_pages()
            if whole is not None:
                whole.large = True
        else:
            holder._steps = ordinary

    def look_again(frame: Frame) -> None:
        nonlocal left, pause
        left -= 1
        if left <= 0:
            left = pause = min(2 * pause, _MOST_PAUSE)
            holder._steps = saving

    ordinary = (look_again, *plain) if again else tuple(plain)
    saving = (*frugal, settle)
    holder._steps = saving


class Block:
    """Steps that make one: a cluster's own ones."""

    __slots__ = ("_locate", "_steps")

    def __init__(self, locate: Callable[[Exception, Step], None]):
        self._steps: Sequence[Step] = ()
        self._locate = locate

    def __call__(self, frame: Frame) -> None:
        """Runs them."""
        step: Step | None = None
        try:
            for step in self._steps:
                step(frame)
        except Exception as error:
            assert step is not None
            self._locate(error, step)
            raise
