"""A cluster as a step of a plan: OpenVINO's results where it takes the values and pays, the interpreter's elsewhere."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from operator import is_
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines.interpreter.control_flow import locate
from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.engines.openvino import background
from graphrack.engines.openvino.compiled import ClusterProgram, Input, Part, Source
from graphrack.engines.openvino.cost import CALL, RESHAPING, Cost, compiling
from graphrack.engines.openvino.inference import Inference
from graphrack.engines.openvino.nans import finite
from graphrack.engines.openvino.pitfalls import marked
from graphrack.engines.openvino.shapes import Misfit

_MAX_SHAPES = 4096
_MAX_PROGRAMS = 32
_MAX_WEIGHTS = 256

# A cluster is compiled once the runs so far could have gained this part of what compiling takes: who has run a
# model will most likely run it again.
_HOPE = 0.05

# What the interpreter is thought to run in less is also measured, both ways, once it is compiled: of small clusters
# calls are most, which an estimate may miss by a factor of two or more. So many times, for as long as that at most.
_RACED_S, _ROUNDS, _RACE_S = 0.005, 5, 0.02
# How often a cluster that is left to the interpreter is run before its inputs are looked at again.
_LONGEST_REST = 256

Array = np.ndarray[Any, Any]


class Interface(NamedTuple):
    """What a cluster computes: its nodes, what they take and give.

    Attributes:
        parts: its nodes.
        constants: values that never change, by name.
        inputs: what every run brings.
        weights: names of variables' values.
        outputs: tensors that others take.
    """

    parts: tuple[Part, ...]
    constants: dict[str, Array]
    inputs: tuple[Input, ...]
    weights: tuple[str, ...]
    outputs: tuple[Source, ...]


class ClusterStep:
    """Reads a cluster's inputs from the frame, and puts its outputs there.

    What goes to OpenVINO are finite arrays of the dtypes that the cluster was made for, whose shapes fit each other
    and leave no tensor empty: compiled for sizes that may change, OpenVINO checks less than TensorFlow does, and some
    of its kernels drop NaN. All else is left to the nodes' own steps, which also have the words for what doesn't fit.

    Attributes:
        interface: what it computes.
        inner: the nodes' own steps.
        eager: whether it is compiled at once, whatever it costs; else when it pays.
        fluid: whether the variables' values change from run to run: they are inputs then, not weights.
        precision: what OpenVINO computes in.
        cost: of a run on the shapes seen last; None before the first run.
        programs: what has been made for OpenVINO, by the shapes that it was made for.
        slots: those that it reads.
        outputs: those that it fills.
    """

    def __init__(
        self,
        interface: Interface,
        inputs: Sequence[int],
        weights: Sequence[int],
        outputs: Sequence[int],
        inner: Sequence[Step],
        *,
        eager: bool,
        fluid: bool,
        precision: str,
    ):
        self.interface = interface
        self.inner = tuple(inner)
        self.eager = eager
        self.fluid = fluid
        self.precision = precision
        self.cost: Cost | None = None
        self.programs: dict[Any, ClusterProgram] = {}
        self._inputs = tuple(zip(inputs, (given.dtype for given in interface.inputs), strict=True))
        self._weights = tuple(weights)
        self.slots = (*inputs, *weights)
        self.outputs = tuple(outputs)
        self._inference: Inference | None = None
        self._sizes: tuple[int, ...] = ()  # slots of inputs that hold sizes
        self._costs: dict[Any, Cost | None] = {}
        self._before: Any = None  # what the last run's shapes depended on
        self._missing: ClusterProgram | None = None
        self._declined: set[tuple[Any, ...]] = set()  # shapes and sizes for which the interpreter is as fast
        self._rest, self._next_rest, self._resting_on = 0, 1, (self._inputs[0][0] if inputs else -1, ())
        self._won: dict[int, bool] = {}  # whether OpenVINO was the faster, by the magnitude of the work
        self._contest: int | None = None  # that of a run which has yet to be measured
        self._gain = 0.0
        self._compiling = compiling(len(interface.parts), sum(c.nbytes for c in interface.constants.values()))
        self._last: tuple[list[Array], int | None] = ([], 0)
        self._numbers: dict[tuple[Any, ...], int] = {(): 0}
        self._checked: dict[tuple[int, ...], list[Any]] = {}

    def __call__(self, frame: Frame) -> None:
        """Runs it once."""
        if self._rest:
            slot, shape = self._resting_on
            if getattr(frame[slot], "shape", None) == shape:
                self._rest -= 1
                self._by_interpreter(frame)
                return
            self._rest, self._next_rest = 0, 1
        if self._by_openvino(frame):
            if self._contest is not None:
                self._race(frame)
            return
        self._by_interpreter(frame)
        if self._missing is not None:
            self._missing.compile_soon()
            self._missing = None

    def _by_openvino(self, frame: Frame) -> bool:
        results = self._results(frame)
        if results is None:
            return False
        for slot, value in zip(self.outputs, results, strict=True):
            frame[slot] = value
        return True

    def _by_interpreter(self, frame: Frame) -> None:
        for step in self.inner:
            try:
                step(frame)
            except Exception as error:
                locate(error, step)
                raise

    def _race(self, frame: Frame) -> None:
        """Finds out who is the faster, and leaves runs of that magnitude to it."""
        magnitude, self._contest = self._contest, None
        assert magnitude is not None
        self._won[magnitude] = True
        ways: tuple[Callable[[Frame], Any], ...] = (self._by_openvino, self._by_interpreter)
        fastest, began = [math.inf, math.inf], perf_counter()
        for _ in range(_ROUNDS):
            for i, way in enumerate(ways):
                start = perf_counter()
                way(frame)
                fastest[i] = min(fastest[i], perf_counter() - start)
            if perf_counter() - began > _RACE_S:
                break
        self._won[magnitude] = fastest[0] < fastest[1]
        if not any(self._won.values()):
            self.programs.clear()

    def _decline(self, frame: Frame) -> None:
        """Leaves runs on such inputs to the interpreter, and the next few without looking at all of them."""
        if not self._inputs:
            return
        self._declined.add(self._shapes_of(frame))
        self._begin_rest(frame)

    def _begin_rest(self, frame: Frame) -> None:
        largest = max((slot for slot, _ in self._inputs), key=lambda slot: getattr(frame[slot], "size", 0))
        self._resting_on = largest, getattr(frame[largest], "shape", ())
        self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, _LONGEST_REST)

    def _results(self, frame: Frame) -> list[Any] | None:
        if self._declined and self._shapes_of(frame) in self._declined:
            self._begin_rest(frame)
            return None
        arrays = []
        for slot, dtype in self._inputs:
            value = frame[slot]
            if not isinstance(value, (np.ndarray, np.generic)) or value.dtype != dtype:
                return None
            arrays.append(np.asarray(value, order="C"))
        weights = [frame[slot] for slot in self._weights]
        last, shapes = self._last
        if len(weights) == len(last) and all(map(is_, weights, last)):
            weights = last  # the very list, by which the program knows them again
        else:
            shapes = self._check_weights(weights)
            self._last = weights, shapes
        inference = self._inference
        if shapes is None:
            return None
        if inference is None:
            one = self.interface
            inference = self._inference = Inference(one.parts, one.constants, one.inputs, one.weights, fluid=self.fluid)
            self._sizes = tuple([self._inputs[i][0] for i in inference.brought])
        key = (inference.key(arrays), shapes)
        try:
            cost = self._costs[key]
        except KeyError:
            cost = self._estimate(key, arrays, weights)
        waiting = background.is_waiting()
        new = self._before not in (None, key) and not waiting
        self._before = None if waiting else key  # after a warm-up any shapes are as good
        if cost is None:
            return None
        magnitude = math.frexp(cost.interpreter)[1]
        if not self.eager and not (self._won.get(magnitude, True) and self._pays(cost, new)):
            if not (self._won.get(magnitude, True) and self._gains(cost)):
                self._decline(frame)
            return None
        if not all(map(finite, arrays)):
            return None
        program = self._program(inference, arrays, weights)
        try:
            if self.fluid:
                results = program.run([*arrays, *weights], [], cost.interpreter)
            else:
                results = program.run(arrays, weights, cost.interpreter)
        except Exception:  # what OpenVINO refuses, the interpreter runs, or says what is wrong with it
            return None
        if results is None:
            self._missing = program
        else:
            self._next_rest = 1
            if magnitude not in self._won and cost.interpreter < _RACED_S and not new and not self.eager:
                self._contest = magnitude
        return results

    def _shapes_of(self, frame: Frame) -> tuple[Any, ...]:
        shapes = tuple([getattr(frame[slot], "shape", None) for slot, _ in self._inputs])
        return (*shapes, *[np.asarray(frame[slot]).tobytes() for slot in self._sizes]) if self._sizes else shapes

    def _check_weights(self, weights: Sequence[Any]) -> int | None:
        """A number for the weights' shapes, which are many; None where OpenVINO can't take them."""
        ids = tuple(map(id, weights))
        known = self._checked.get(ids)
        if known is None or any(ref() is not w for ref, w in zip(known, weights, strict=True)):
            if not all(isinstance(w, np.ndarray) and w.dtype.kind in "fib" and finite(w) for w in weights):
                return None
            if len(self._checked) >= _MAX_WEIGHTS:
                self._checked.clear()
            self._checked[ids] = [weakref.ref(w) for w in weights]
        return self._numbers.setdefault(tuple([w.shape for w in weights]), len(self._numbers))

    def _estimate(self, key: Any, arrays: Sequence[Array], weights: Sequence[Array]) -> Cost | None:
        assert self._inference is not None
        try:
            cost: Cost | None = self._inference.run(arrays, weights) + CALL
        except Misfit:
            cost = None
        if len(self._costs) >= _MAX_SHAPES:
            self._costs.clear()
            self._declined.clear()
        self._costs[key] = self.cost = cost
        return cost

    def state(self) -> str:
        """What has become of it so far, in a few words."""
        programs = list(self.programs.values())
        failures = [program.failure for program in programs if program.failure]
        if any(program.executables() for program in programs):
            return "compiled"
        if failures:
            return f"left to the interpreter, since OpenVINO refuses it: {failures[0].strip().splitlines()[-1]:.200}"
        if programs:
            return "compiling"
        if not self._costs:
            return "not run yet"
        if self.cost is None:
            return "left to the interpreter: OpenVINO isn't given values of these shapes"
        if not self._gains(self.cost) or (self._won and not any(self._won.values())):
            return "left to the interpreter, which is as fast"
        return "to be compiled when it has run more often"

    @staticmethod
    def _gains(cost: Cost) -> bool:
        return cost.interpreter - cost.openvino >= 0.25 * cost.interpreter

    def _pays(self, cost: Cost, new: bool) -> bool:
        """Whether OpenVINO is to run it; `new`: on other shapes than the last time."""
        if new:
            cost += Cost(0.0, RESHAPING * len(self.interface.parts))
        if not self._gains(cost):
            return False
        self._gain += cost.interpreter - cost.openvino
        compiling = self._compiling + sum(w.nbytes for w in self._last[0]) / 1e9
        return bool(self.programs) or background.is_waiting() or self._gain >= _HOPE * compiling

    def _program(self, inference: Inference, arrays: Sequence[Array], weights: Sequence[Array]) -> ClusterProgram:
        """What OpenVINO compiles: for ranks, and for the very shapes of what sizes and filters come from."""
        brought = tuple(arrays[i].shape for i in inference.brought)
        key = (tuple([a.ndim for a in arrays]), brought, tuple([w.shape for w in weights]) if self.fluid else ())
        program = self.programs.get(key)
        if program is None:
            one = self.interface
            inputs = list(one.inputs)
            for i, shape in zip(inference.brought, brought, strict=True):
                inputs[i] = inputs[i]._replace(shape=shape)
            names: Sequence[str] = one.weights
            if self.fluid:
                inputs += [Input(name, w.dtype, w.shape) for name, w in zip(names, weights, strict=True)]
                names = ()
            parts = marked(one.parts, one.constants, names, inference.shapes)
            if len(self.programs) >= _MAX_PROGRAMS:
                self.programs.clear()
            program = ClusterProgram(
                parts, one.constants, names, inputs, one.outputs, wait=self.eager, precision=self.precision
            )
            self.programs[key] = program
        return program
