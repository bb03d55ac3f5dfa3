"""A cluster as a step of a plan: OpenVINO's results where it takes the values and pays, the interpreter's elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.engines.openvino import background, race, runtime
from graphrack.engines.openvino.compiled import ClusterProgram, Input
from graphrack.engines.openvino.cost import CALL, COMPILED_BYTES_PER_S, RESHAPING, Cost, compiling
from graphrack.engines.openvino.inference import Inference
from graphrack.engines.openvino.interface import Interface
from graphrack.engines.openvino.nans import finite
from graphrack.engines.openvino.pitfalls import marked, may_hold_attention
from graphrack.engines.openvino.race import Race
from graphrack.engines.openvino.samples import Batch, are_apart, batch_size
from graphrack.engines.openvino.shapes import Misfit
from graphrack.engines.openvino.weights import WeightSets

_MAX_SHAPES = 4096
_MAX_PROGRAMS = 32

# A cluster is compiled once the runs so far could have gained this part of what compiling takes: who has run a
# model will most likely run it again.
_HOPE = 0.05

# What runs on the same shapes again and again gets a program for these alone, which is faster by up to a quarter (a
# recurrent cell), by a tenth (MobileNet), or by all that it takes to get ready for other shapes. It gets one when so
# many runs could have gained what pays for compiling it, and where its weights, all such programs' together, are few.
_OFTEN, _GAIN, _MAX_OWN, _MAX_OWN_BYTES = 4, 0.1, 16, 1 << 25
# Where a model trains, sizes seldom change, and a program for any takes twice the memory: up to so many sizes get
# programs of their own and nothing else.
_MOST_TRAINED = 2
# Batches are run sample by sample, where that is faster, if a sample takes long enough for calls not to count.
_SAMPLE_S = 0.00025
# How often a cluster that is left to the interpreter is run before its inputs are looked at again.
_LONGEST_REST = 256

Array = np.ndarray[Any, Any]


class _Shapes:
    """What is known of a cluster on inputs of certain shapes.

    Attributes:
        cost: of a run; None where OpenVINO isn't given them.
        runs: how many there were.
        gain: seconds that a program for these shapes would have gained in them.
        own: that program.
        alone: whether there is none, and there won't be.
    """

    __slots__ = ("alone", "cost", "gain", "own", "runs")

    def __init__(self, cost: Cost | None):
        self.cost = cost
        self.runs = 0
        self.gain = 0.0
        self.own: ClusterProgram | Batch | None = None
        self.alone = False


_Steady = tuple[list[tuple[int, ...]], list[Array], ClusterProgram | Batch, _Shapes]


class ClusterStep:
    """Reads a cluster's inputs from the frame, and puts its outputs there.

    What goes to OpenVINO are finite arrays of the dtypes that the cluster was made for, whose shapes fit each other
    and leave no tensor empty: compiled for sizes that may change, OpenVINO checks less than TensorFlow does, and some
    of its kernels drop NaN. All else is left to the nodes' own steps, which also have the words for what doesn't fit.

    Attributes:
        interface: what it computes.
        inner: the nodes' own steps, as one.
        eager: whether it is compiled at once, whatever it costs; else when it pays.
        fluid: whether the variables' values change from run to run: they are inputs then, not weights.
        precision: what OpenVINO computes in.
        cost: of a run on the shapes seen last; None before the first run.
        programs: what has been made for OpenVINO, by the shapes that it was made for.
        is_alone: whether a run of the model is it and nothing else.
        slots: those that it reads.
        outputs: those that it fills.
    """

    def __init__(
        self,
        interface: Interface,
        inputs: Sequence[int],
        weights: Sequence[int],
        outputs: Sequence[int],
        inner: Step,
        *,
        eager: bool,
        fluid: bool,
        precision: str,
    ):
        self.interface = interface
        self.inner = inner
        self.eager = eager
        self.fluid = fluid
        self.precision = precision
        self.cost: Cost | None = None
        self.programs: dict[Any, ClusterProgram] = {}
        self.is_alone = False
        self._inputs = tuple(zip(inputs, (given.dtype for given in interface.inputs), strict=True))
        self._weights = tuple(weights)
        self.slots = (*inputs, *weights)
        self.outputs = tuple(outputs)
        # Whether no program is made for certain sizes: attention is slower there (`pitfalls`).
        self._stays_open = may_hold_attention([part.op for part in interface.parts])
        # Whether no matrix is put in order for it when it is compiled.
        matrices = any(constant.ndim > 1 for constant in interface.constants.values())
        self._unready = fluid or not (weights or matrices)
        self._inference: Inference | None = None
        self._sizes: tuple[int, ...] = ()  # slots of inputs that hold sizes
        self._known: dict[Any, _Shapes] = {}
        # What ran last, on which shapes and weights, where there is nothing more to find out about it.
        self._steady: _Steady | None = None
        self._before: _Shapes | None = None  # the last run's
        self._missing: ClusterProgram | None = None
        self._declined: set[tuple[Any, ...]] = set()  # shapes and sizes for which the interpreter is as fast
        self._rest, self._next_rest, self._resting_on = 0, 1, (self._inputs[0][0] if inputs else -1, ())
        self._race = Race()
        self._gain = 0.0
        self._compiling = compiling(interface.parts, sum(c.nbytes for c in interface.constants.values()))
        self._sets = WeightSets()

    def go_on_from(self, other: ClusterStep) -> None:
        """Takes over what is known of the same cluster, and what is compiled of it."""
        self.programs, self.cost = other.programs, other.cost
        self._known, self._sets.numbers = other._known, other._sets.numbers
        self._declined, self._race, self._gain = other._declined, other._race, other._gain

    def __call__(self, frame: Frame) -> None:
        """Runs it once."""
        if self._rest > 0:  # of two threads each may have taken the last one
            slot, shape = self._resting_on
            if frame[slot].shape == shape:
                self._rest -= 1
                self.inner(frame)
                return
            self._rest, self._next_rest = 0, 1
        if self._by_openvino(frame):
            if self._race.pending is not None:
                if background.is_busy():  # which takes cores from both, and more from the interpreter
                    self._race.pending = None
                else:
                    self._hold_race(frame)
            return
        self._by_interpreter(frame)
        missing, self._missing = self._missing, None
        if missing is not None:
            missing.compile_soon()

    def _by_openvino(self, frame: Frame) -> bool:
        results = self._results(frame)
        if results is None:
            return False
        for slot, value in zip(self.outputs, results, strict=True):
            frame[slot] = value
        return True

    def _by_interpreter(self, frame: Frame) -> None:
        self.inner(frame)

    def _hold_race(self, frame: Frame) -> None:
        """Finds out who is the faster, and leaves runs of that magnitude, or on these shapes, to it."""
        of_any = isinstance(self._race.pending, int)
        contest = self._race.hold(
            lambda: self._by_openvino(frame),
            lambda: self._by_interpreter(frame),
            among_others=not self.is_alone,
            may_wait=of_any and not self._stays_open,
        )
        if isinstance(contest, _Shapes) and not self._race.is_won(contest):
            self._drop_own(contest)
            if self.fluid and contest.cost is not None:  # a program for any sizes is no faster
                self._race.lose(contest.cost.magnitude)
        if self._race.is_lost() and not any(shapes.own for shapes in list(self._known.values())):
            self._steady = None
            self.programs.clear()

    def _decline(self, frame: Frame) -> None:
        """Leaves runs on such inputs to the interpreter, and the next few without looking at all of them."""
        if not self._inputs:
            return
        self._declined.add(self._shapes_of(frame))
        self._begin_rest(frame)

    def _begin_rest(self, frame: Frame) -> None:
        if len(self._declined) < len(self._known):  # the next one may have other sizes, for which OpenVINO is faster
            return
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
        # The very list of the last run where it can be, by which the program knows them again.
        weights, of_weights = self._sets.look_up([frame[slot] for slot in self._weights])
        inference = self._inference
        if of_weights.shapes is None:
            return None
        steady = self._steady
        if steady is not None:
            results = self._as_before(steady, arrays, weights)
            if results is not None:
                return results
        if inference is None:
            one = self.interface
            inference = self._inference = Inference(one.parts, one.constants, one.inputs, one.weights, fluid=self.fluid)
            self._sizes = tuple([self._inputs[i][0] for i in inference.brought])
        key = (inference.key(arrays), of_weights.shapes)
        known = self._known.get(key) or self._estimate(key, arrays, weights)
        waiting = background.is_waiting()
        new = self._before not in (None, known) and not waiting
        self._before = None if waiting else known  # after a warm-up any shapes are as good
        cost = known.cost
        if cost is None:
            return None
        own = known.own
        if own is not None and not own.is_compiled:
            if own.failure:
                self._drop_own(known)
            own = None
        contest = cost.magnitude if own is None else known
        won = self._race.is_won(contest)
        if not self.eager and not (won and (own is not None or self._pays(cost, new))):
            if new and not known.alone and self._gains(cost):  # they may come again and again between others
                self._count(known, arrays, weights, new=new)
            elif not (won and self._gains(cost)):
                self._decline(frame)
            return None
        if not all(map(finite, arrays)):
            return None
        self._count(known, arrays, weights, new=new)
        program, results = own, self._by_own(known, own, arrays, weights) if own is not None else None
        if results is None and self._is_of_few_sizes() and not known.alone:
            return None
        if results is None:
            own, program = None, (any_sizes := self._program(inference, arrays, weights))
            try:
                results = any_sizes.run(*self._given(arrays, weights), cost.interpreter - cost.openvino)
            except Exception:  # what OpenVINO refuses, the interpreter runs, or says what is wrong with it
                return None
        if results is None:
            self._missing = any_sizes
        elif not of_weights.are_finite(weights):
            return None
        else:
            self._next_rest = 1
            contest = cost.magnitude if own is None else known
            measured = self._race.is_held(contest) or self.eager or (new and own is None)
            if not measured and cost.interpreter < (race.LEAST_UNREADY_S if self._unready else race.LEAST_S):
                self._race.pending = contest
            elif program is not None and (own or known.alone) and not inference.brought and not self.fluid:
                self._steady = [a.shape for a in arrays], weights, program, known
        return results

    def _given(self, arrays: Sequence[Array], weights: Sequence[Array]) -> tuple[Sequence[Array], Sequence[Array]]:
        """What a program's run is given as inputs and as weights."""
        return ([*arrays, *weights], ()) if self.fluid else (arrays, weights)

    def _is_of_few_sizes(self) -> bool:
        """Whether it trains, on inputs that have had few sizes so far."""
        return self.fluid and not self.eager and len(self._known) <= _MOST_TRAINED

    def _as_before(self, steady: _Steady, arrays: Sequence[Array], weights: list[Array]) -> list[Any] | None:
        """The results where nothing has changed since the last run, which a loop's body finds every time."""
        shapes, known_weights, program, known = steady
        if weights is not known_weights or self._before is not known or [a.shape for a in arrays] != shapes:
            self._steady = None
            return None
        if not all(map(finite, arrays)):
            return None
        if program is known.own:
            return self._by_own(known, program, arrays, weights)
        try:
            return program.run(arrays, weights)
        except Exception:
            return None

    def _by_own(
        self, known: _Shapes, own: ClusterProgram | Batch, arrays: Sequence[Array], weights: Sequence[Array]
    ) -> list[Any] | None:
        """The results of the program for these very shapes; None where it isn't compiled, or OpenVINO fails on it."""
        if self._sizes and self._inference is not None:  # these are the program's own constants
            arrays = [array for i, array in enumerate(arrays) if i not in self._inference.brought]
        try:
            results = own.run(*self._given(arrays, weights))
        except Exception:  # of a vector's slice, for one, it makes something without an executor
            self._drop_own(known)
            return None
        if results is None:  # as yet, or for the weights of other models alone
            own.compile_soon()
        return results

    def _shapes_of(self, frame: Frame) -> tuple[Any, ...]:
        shapes = tuple([getattr(frame[slot], "shape", None) for slot, _ in self._inputs])
        return (*shapes, *[np.asarray(frame[slot]).tobytes() for slot in self._sizes]) if self._sizes else shapes

    def _estimate(self, key: Any, arrays: Sequence[Array], weights: Sequence[Array]) -> _Shapes:
        assert self._inference is not None
        try:
            cost: Cost | None = self._inference.run(arrays, weights) + CALL
        except Misfit:
            cost = None
        if len(self._known) >= _MAX_SHAPES:
            self._forget()
        self.cost = cost
        self._known[key] = known = _Shapes(cost)
        return known

    def _forget(self) -> None:
        """Looks at all shapes as if they were new."""
        self._steady = None
        for known in list(self._known.values()):
            self._drop_own(known)
        self._known.clear()
        self._declined.clear()

    def _drop_own(self, known: _Shapes) -> None:
        if known.own is not None:
            self.programs.pop(known, None)
            self.programs.pop((known, "sample"), None)
            known.own = None
        self._race.forget(known)
        self._leave_alone(known)

    def _leave_alone(self, known: _Shapes) -> None:
        """Makes no program for certain shapes any more."""
        known.alone = True
        if known.cost is not None:
            self._race.decide(known.cost.magnitude)

    def _count(self, known: _Shapes, arrays: Sequence[Array], weights: Sequence[Array], *, new: bool) -> None:
        """Takes note of a run on certain shapes, and has a program for these compiled where it is due."""
        cost = known.cost
        if known.own is not None or known.alone or cost is None:
            return
        if new:
            known.gain += RESHAPING * len(self.interface.parts) if self.eager else cost.interpreter - cost.openvino
        else:
            known.gain += _GAIN * cost.openvino
        known.runs += 1
        patience = background.patience()
        often = known.runs >= _OFTEN and known.gain >= _HOPE * self._compiling
        due = often or self._is_of_few_sizes()  # it pays already
        if not due and (patience is None or not patience.sizes):
            return
        kept = () if self.fluid else weights
        nbytes = sum(value.nbytes for value in (*self.interface.constants.values(), *kept))
        room = min(_MAX_OWN, _MAX_OWN_BYTES // max(nbytes, 1))
        for other in list(self._known.values()):
            room -= 2 if isinstance(other.own, Batch) else other.own is not None
        if self._stays_open or room < 1 or not (self.eager or self._gains(cost)):
            self._leave_alone(known)
            return
        whole = self.programs[known] = self._of_sizes(arrays, weights)
        batch = self._as_samples(whole, arrays, weights, cost) if room > 1 else None
        if batch is not None:
            self.programs[known, "sample"] = batch.sample
        known.own = own = batch or whole
        self._by_own(known, own, arrays, weights)
        if patience is not None:
            patience.made = True

    def _of_sizes(self, arrays: Sequence[Array], weights: Sequence[Array], streams: int = 1) -> ClusterProgram:
        """What OpenVINO compiles for these very shapes."""
        assert self._inference is not None
        self._inference.run(arrays, weights)
        known = {i: arrays[i] for i in self._inference.brought}
        return self._made([array.shape for array in arrays], weights, known, wait=False, streams=streams)

    def _made(
        self,
        sizes: Sequence[tuple[int, ...] | None],
        weights: Sequence[Array],
        known: Mapping[int, Array],
        *,
        wait: bool,
        streams: int = 1,
    ) -> ClusterProgram:
        """A program.

        Attributes:
            sizes: for each input its shape, None of one that may have any.
            known: values of some inputs, by position, which no run brings then.
        """
        assert self._inference is not None
        one = self.interface
        inputs = [
            given if shape is None else given._replace(shape=shape)
            for i, (given, shape) in enumerate(zip(one.inputs, sizes, strict=True))
            if i not in known
        ]
        constants = one.constants | {one.inputs[i].name: value.copy() for i, value in known.items()}
        names: Sequence[str] = one.weights
        if self.fluid:
            inputs += [Input(name, w.dtype, w.shape) for name, w in zip(names, weights, strict=True)]
            names = ()
        fixed = None not in sizes
        parts = marked(one.parts, constants, names, self._inference.shapes, fixed=fixed)
        return ClusterProgram(
            parts, constants, names, inputs, one.outputs, wait=wait, precision=self.precision, streams=streams
        )

    def _as_samples(
        self, whole: ClusterProgram, arrays: Sequence[Array], weights: Sequence[Array], cost: Cost
    ) -> Batch | None:
        """A program that also runs sample by sample, where these keep apart; `whole` has just been made."""
        one, count = self.interface, batch_size([array.shape for array in arrays])
        if self.fluid or self._sizes or count < 2 or cost.openvino < count * _SAMPLE_S:
            return None
        assert self._inference is not None
        sliced = [array.shape[:1] == (count,) for array in arrays]
        names = [given.name for given, is_sliced in zip(one.inputs, sliced, strict=True) if is_sliced]
        if not are_apart(one.parts, one.constants, names, one.outputs, self._inference.shapes, count):
            return None
        first = [a[:1] if is_sliced else a for a, is_sliced in zip(arrays, sliced, strict=True)]
        try:
            return Batch(whole, self._of_sizes(first, weights, min(count, runtime.cores())), sliced)
        except Misfit:
            return None

    def state(self) -> str:
        """What has become of it so far, in a few words."""
        if not self._sets.are_taken():
            return "left to the interpreter: OpenVINO isn't given weights such as these"
        programs = list(self.programs.values())
        failures = [program.failure for program in programs if program.failure]
        if any(program.executables() for program in programs):
            return "compiled"
        if failures:
            return f"left to the interpreter, since OpenVINO refuses it: {failures[0].strip().splitlines()[-1]:.200}"
        if programs:
            return "compiling"
        if not self._known:
            return "not run yet"
        if self.cost is None:
            return "left to the interpreter: OpenVINO isn't given values of these shapes"
        if not self._gains(self.cost) or self._race.is_lost():
            return "left to the interpreter, which is as fast"
        return "to be compiled when it has run more often"

    @staticmethod
    def _gains(cost: Cost) -> bool:
        return cost.openvino <= race.CLEARLY * cost.interpreter

    def _pays(self, cost: Cost, new: bool) -> bool:
        """Whether OpenVINO is to run it; `new`: on other shapes than the last time."""
        if new:
            cost += Cost(0.0, RESHAPING * len(self.interface.parts))
        if not self._gains(cost):
            return False
        self._gain += cost.interpreter - cost.openvino
        compiling = self._compiling + sum(w.nbytes for w in self._sets.last) / COMPILED_BYTES_PER_S
        return bool(self.programs) or background.is_waiting() or self._gain >= _HOPE * compiling

    def _program(self, inference: Inference, arrays: Sequence[Array], weights: Sequence[Array]) -> ClusterProgram:
        """What OpenVINO compiles: for ranks, and for the very shapes of what sizes and filters come from."""
        brought = tuple(arrays[i].shape for i in inference.brought)
        key = (tuple([a.ndim for a in arrays]), brought, tuple([w.shape for w in weights]) if self.fluid else ())
        program = self.programs.get(key)
        if program is None:
            if len(self.programs) >= _MAX_PROGRAMS:
                self._forget()
                self.programs.clear()
            sizes = dict(zip(inference.brought, brought, strict=True))
            program = self._made([sizes.get(i) for i in range(len(arrays))], weights, {}, wait=self.eager)
            self.programs[key] = program
        return program
