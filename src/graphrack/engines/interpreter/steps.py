"""One node of a plan as a function of the run's frame.

A frame is a list: slot 0 holds the run's state, each other slot the value of one tensor. A step
reads its inputs' slots, calls the node's kernel and fills its outputs' slots; the shapes of steps
that occur most have closures of their own, since this is what a small model's run consists of.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.ops.registry import Kernel

Frame = list[Any]
Step = Callable[[Frame], None]

STATE_SLOT = 0


class Fused(NamedTuple):
    """A step that stands for others.

    Attributes:
        step: does what they do.
        at: the position of that one of them in whose place it is.
        instead: the positions of all of them.
        inputs: the slots that it takes.
        outputs: the slots that it fills.
    """

    step: Step
    at: int
    instead: Sequence[int]
    inputs: Sequence[int]
    outputs: Sequence[int]


class Dead:
    """The value of a tensor in a branch not taken; there is one, `DEAD`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "DEAD"


DEAD = Dead()


def one_output(kernel: Kernel, inputs: Sequence[int], output: int) -> Step:
    """A step whose kernel returns the value itself."""
    if len(inputs) == 1:
        (a,) = inputs

        def step(frame: Frame) -> None:
            frame[output] = kernel(frame[a])

    elif len(inputs) == 2:
        a, b = inputs

        def step(frame: Frame) -> None:
            frame[output] = kernel(frame[a], frame[b])

    elif len(inputs) == 3:
        a, b, c = inputs

        def step(frame: Frame) -> None:
            frame[output] = kernel(frame[a], frame[b], frame[c])

    else:
        slots = tuple(inputs)

        def step(frame: Frame) -> None:
            frame[output] = kernel(*[frame[i] for i in slots])

    return step


OPERATORS: dict[Any, tuple[Callable[[Any, Any], Any], str]] = {
    np.add: (operator.add, "+"),
    np.subtract: (operator.sub, "-"),
    np.multiply: (operator.mul, "*"),
    np.divide: (operator.truediv, "/"),
    np.less: (operator.lt, "<"),
    np.less_equal: (operator.le, "<="),
    np.greater: (operator.gt, ">"),
    np.greater_equal: (operator.ge, ">="),
    np.equal: (operator.eq, "=="),
    np.not_equal: (operator.ne, "!="),
    np.logical_and: (operator.and_, "&"),
    np.logical_or: (operator.or_, "|"),
}
"""Of two of NumPy's scalars an operator, which has a sign, gives the same as the function, in a tenth of the time."""


def has_operator(kernel: Any, inputs: Sequence[int]) -> bool:
    """Whether a node's kernel is a function of NumPy's of two operands that has an operator."""
    return len(inputs) == 2 and isinstance(kernel, np.ufunc) and kernel in OPERATORS


def number(value: Any) -> Any:
    """A constant as an array of rank 0, where it is a number; None elsewhere."""
    if isinstance(value, (np.ndarray, np.generic)) and not value.ndim and value.dtype.kind in "biufc":
        return np.asarray(value)
    return None


def elementwise(kernel: Any, inputs: Sequence[int], output: int, number: Any) -> Step:
    """A step for a function of NumPy's that has an operator.

    Counters of loops, losses and learning rates are scalars, which are quick only by operators; of a scalar and an
    array these are slower, and of arrays as quick.

    Attributes:
        number: the second operand, where that is a constant number.
    """
    by_operator, _ = OPERATORS[kernel]
    a, b = inputs
    if number is not None:
        scalar = number[()]

        def step(frame: Frame) -> None:
            x = frame[a]
            frame[output] = kernel(x, number) if x.__class__ is np.ndarray else by_operator(x, scalar)

    else:

        def step(frame: Frame) -> None:
            x, y = frame[a], frame[b]
            frame[output] = by_operator(x, y) if x.__class__ is y.__class__ else kernel(x, y)

    return step


def with_bound(extreme: Any, inputs: Sequence[int], constants: Mapping[int, Any]) -> tuple[Kernel, Sequence[int]]:
    """The kernel and the inputs of a Maximum or Minimum; one operand less where that is a constant number."""
    from graphrack.ops.arithmetic import limited

    for slot, other in zip(inputs, reversed(inputs), strict=True):
        bound = constants.get(slot)
        if isinstance(bound, (np.ndarray, np.generic)) and not bound.ndim:
            return limited(extreme, bound), [other]
    return extreme, inputs


def many_outputs(kernel: Kernel, inputs: Sequence[int], outputs: Sequence[tuple[int, int]]) -> Step:
    """A step whose kernel returns several values; `outputs` pairs the index of a used one with its slot."""
    slots, used = tuple(inputs), tuple(outputs)
    if len(slots) == len(used) == 2:
        a, b = slots
        (first, one), (second, two) = used

        def step(frame: Frame) -> None:
            results = kernel(frame[a], frame[b])
            frame[one], frame[two] = results[first], results[second]

    else:

        def step(frame: Frame) -> None:
            results = kernel(*[frame[i] for i in slots])
            for index, slot in used:
                frame[slot] = results[index]

    return step


_MAX_REMEMBERED_BYTES = 1 << 12
_MOST_REMEMBERED = 8


def _remember(known: dict[Any, Any], key: Any, value: Any) -> None:
    if len(known) >= _MOST_REMEMBERED:
        known.clear()
    known[key] = value


def remembering(
    kernel: Kernel, inputs: Sequence[int], facts: Sequence[int], outputs: Sequence[tuple[int, int]]
) -> Step:
    """A step that works only where its inputs are others than the last few times: else it gives what it gave then.

    It is for what follows from shapes, which are seldom new: a third of the nodes of a small graph that trains, each
    of which takes ten times as long as to see that nothing has changed. A loop over pictures of some sizes has them in
    turn.

    Attributes:
        kernel: returns several values.
        facts: those of the inputs that are no constants. Their values, which the same array stands for, are never
            written into.
        outputs: the index of each used value, and its slot.
    """
    slots, watched, used = tuple(inputs), tuple(facts), tuple(outputs)

    def compute(frame: Frame) -> tuple[list[Any], bool]:
        """The used values, and whether they are small enough to be remembered."""
        results = kernel(*[frame[i] for i in slots])
        given = [results[index] for index, _ in used]
        arrays = [value for value in given if isinstance(value, np.ndarray)]
        small = sum([value.nbytes for value in arrays]) <= _MAX_REMEMBERED_BYTES
        if small:
            for value in arrays:
                value.flags.writeable = False
        return given, small

    # What was known and given last is one pair: another thread may replace it meanwhile.
    if len(watched) == len(used) == 1:
        (fact,), ((_, output),) = watched, used
        one: tuple[Any, Any] = DEAD, None
        earlier: dict[int, tuple[Any, Any]] = {}  # by the id of what was known, which is held and so has it alone

        def step(frame: Frame) -> None:
            nonlocal one
            known, value = one
            found = frame[fact]
            if found is not known:
                before = earlier.get(id(found))
                if before is not None:
                    one = before
                    value = before[1]
                else:
                    (value,), small = compute(frame)
                    if small:
                        one = found, value
                        _remember(earlier, id(found), one)
            frame[output] = value

    else:
        last: tuple[list[tuple[int, Any]], list[Any]] = [(watched[0], DEAD)], []
        others: dict[tuple[int, ...], tuple[list[tuple[int, Any]], list[Any]]] = {}

        def step(frame: Frame) -> None:
            nonlocal last
            known, given = last
            for slot, value in known:
                if frame[slot] is not value:
                    key = tuple([id(frame[slot]) for slot in watched])
                    before = others.get(key)
                    if before is not None:
                        last = before
                        given = before[1]
                    else:
                        given, small = compute(frame)
                        if small:
                            last = [(slot, frame[slot]) for slot in watched], given
                            _remember(others, key, last)
                    break
            for (_, output), value in zip(used, given, strict=True):
                frame[output] = value

    return step


def no_output(kernel: Kernel, inputs: Sequence[int]) -> Step:
    """A step run for its effect."""
    slots = tuple(inputs)

    def step(frame: Frame) -> None:
        kernel(*[frame[i] for i in slots])

    return step


def read_reference(reference: int, output: int) -> Step:
    """A step that reads the variable behind a TF1 reference, when the op that takes its value runs."""

    def step(frame: Frame) -> None:
        handle = frame[reference]
        frame[output] = DEAD if handle is DEAD else frame[STATE_SLOT].read(handle)

    return step


def release(slots: Sequence[int]) -> Step:
    """A step that lets go of values which no later step takes."""
    done = tuple(slots)

    def step(frame: Frame) -> None:
        for slot in done:
            frame[slot] = None

    return step
