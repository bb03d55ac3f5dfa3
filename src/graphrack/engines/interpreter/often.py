"""Steps that run often, made one function: a line of Python for each, compiled.

Of small values, a third of a run is the time of going from step to step: a function each, which gets at its kernel and
its slots. In the function that stands for all of them each has a line of its own, with the kernel's call in it where
that is known,

    f[7] = k3(f[4], f[6])

which Python also learns to run faster than one line that all steps share. To compile a line takes as long as a hundred
runs of it gain: what runs seldom stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrack.engines.interpreter.control_flow import locate
from graphrack.engines.interpreter.memory import Call
from graphrack.engines.interpreter.steps import OPERATORS, Frame, Step

RUNS = 200
"""After so many it is thought to run often."""
_FEW = 3  # steps that aren't worth a function
_MOST = 1000  # lines of one function
_FILE = "<steps>"


def often(steps: Sequence[Step], calls: Mapping[Step, Call]) -> Sequence[Step]:
    """Steps that do what the given ones do, and sooner when they have run often.

    Attributes:
        calls: what steps call, as far as that is known.
    """
    if len(steps) < _FEW:
        return tuple(steps)
    return tuple([Often(steps[i : i + _MOST], calls) for i in range(0, len(steps), _MOST)])


class Often:
    """Steps as one.

    Attributes:
        steps: these.
    """

    __slots__ = ("_calls", "_left", "_run", "steps")

    def __init__(self, steps: Sequence[Step], calls: Mapping[Step, Call]):
        self.steps = tuple(steps)
        self._calls = [calls.get(step) for step in steps]
        self._left = RUNS
        self._run: Step | None = None

    def __call__(self, frame: Frame) -> None:
        """Runs them."""
        run = self._run
        if run is None:
            self._one_by_one(frame)
            return
        try:
            run(frame)
        except Exception as error:
            locate(error, self._failing(error))
            raise

    def _one_by_one(self, frame: Frame) -> None:
        self._left -= 1
        for step in self.steps:
            try:
                step(frame)
            except Exception as error:
                locate(error, step)
                raise
        if self._left <= 0:
            calls, self._calls = self._calls, []
            if calls:  # no other thread is at it
                self._run = _function(self.steps, calls)

    def _failing(self, error: Exception) -> Step:
        """The step whose line an error comes from: the first line of the function is its head."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != _FILE:
            trace = trace.tb_next
        assert trace is not None
        return self.steps[trace.tb_lineno - 2]


def _function(steps: Sequence[Step], calls: Sequence[Call | None]) -> Step:
    names: dict[str, Any] = {"ndarray": np.ndarray}
    lines = [_line(number, step, call, names) for number, (step, call) in enumerate(zip(steps, calls, strict=True))]
    exec(compile("\n ".join(("def run(f):", *lines)), _FILE, "exec"), names)
    run: Step = names.pop("run")
    return run


def _line(number: int, step: Step, call: Call | None, names: dict[str, Any]) -> str:
    """A step as a line of Python; adds what it names."""
    if call is None:
        names[f"s{number}"] = step
        return f"s{number}(f)"
    names[f"k{number}"] = call.kernel
    result = f"k{number}({', '.join(f'f[{slot}]' for slot in call.inputs)})"
    if not isinstance(call.outputs, int):
        return "; ".join((f"r = {result}", *(f"f[{slot}] = r[{index}]" for index, slot in call.outputs)))
    if len(call.inputs) != 2 or call.kernel not in OPERATORS:
        return f"f[{call.outputs}] = {result}"
    # As `steps.elementwise` has it.
    (_, sign), (a, b) = OPERATORS[call.kernel], call.inputs
    if call.number is None:
        chosen = f"x {sign} y if x.__class__ is y.__class__ else k{number}(x, y)"
        return f"x = f[{a}]; y = f[{b}]; f[{call.outputs}] = {chosen}"
    names[f"c{number}"], names[f"v{number}"] = call.number, call.number[()]
    chosen = f"k{number}(x, c{number}) if x.__class__ is ndarray else x {sign} v{number}"
    return f"x = f[{a}]; f[{call.outputs}] = {chosen}"
