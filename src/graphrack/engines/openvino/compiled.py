"""A cluster as OpenVINO runs it, and when it is compiled: for ranks of inputs and a set of weights, or for any.

Weights that are compiled in run faster: a convolution by 3 to 4 times (ResNet-50, MobileNet), a matrix product by up
to a quarter where it is small, and not at all where it is large (BERT). So the first sets of weights are compiled in.
From the third on, a cluster without convolutions is compiled once more, with its weights as inputs, for all other
models of its graph. One with convolutions is compiled for each model, and where one model's weights keep changing,
as in training, only for weights that have been run with a number of times.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines.interpreter.state import current_values
from graphrack.engines.openvino import background, runtime
from graphrack.engines.openvino.background import Ending, Job
from graphrack.engines.openvino.executable import (
    Executable,
    executable,
    seconds_to_compile,
    seconds_to_read,
)

# How many (ranks, weights) of one cluster stay compiled: models of one graph have weights of their own.
_MAX_COMPILED = 128
_MAX_SEEN = 256
# What takes weights as inputs without losing by it.
_TAKING_ANY = frozenset(
    ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv")
)
_SETS_COMPILED_IN = 2
_CHANGES_AT_ONCE = 4
# Compiling MobileNet, ResNet-50 or BERT takes as long as 2 to 6 runs of the interpreter.
_RUNS_WORTH_COMPILING = 6
# Compiling competes with the interpreter for the cores and for Python's lock, so it begins so long after the first run
# has ended. A process that runs a model once has most likely ended by then.
_DELAY_S = 0.1
# Storing waits until what the process was started for has had its first runs.
_STORE_DELAY_S = 0.5

Key = tuple[Any, ...]
"""Ranks of the inputs, and identities of the weights; or ranks, the weights' dtypes and shapes, and a third item
where every run brings its own."""


class Source(NamedTuple):
    """Where a cluster's node takes an input: output `output` of the node, constant or cluster input `name`."""

    name: str
    output: int


class Input(NamedTuple):
    """A value that every run brings: its dtype (NumPy's), and its static shape where one is known."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None


class Part(NamedTuple):
    """One node of a cluster: its attributes (decoded), and its inputs."""

    name: str
    op: str
    attributes: dict[str, Any]
    inputs: tuple[Source, ...]


class _Seen:
    """Weights that are not compiled in, and how often they were run with."""

    __slots__ = ("times", "weights")

    def __init__(self, weights: Sequence[weakref.ref[Any]]):
        self.weights = weights
        self.times = 0


class ClusterProgram:
    """What a cluster computes, and what has been compiled of it so far.

    Attributes:
        parts: its nodes.
        constants: values that never change, by name.
        weights: names of the values that stay as long as a model keeps its variables.
        inputs: the values that every run brings.
        outputs: tensors that others take.
        wait: whether a run waits for what it needs compiled; else the interpreter runs until that is done.
        precision: what it computes in, `"f32"` or `"bf16"`.
        streams: how many runs `run_each` may have at once, which share the cores.
        failure: why OpenVINO can't run it, once that is known.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        constants: dict[str, np.ndarray[Any, Any]],
        weights: Sequence[str],
        inputs: Sequence[Input],
        outputs: Sequence[Source],
        *,
        wait: bool = True,
        precision: str = "f32",
        streams: int = 1,
    ):
        self.parts = tuple(parts)
        self.constants = constants
        self.weights = tuple(weights)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.wait = wait
        self.precision = precision
        self.streams = streams
        self.failure = ""
        self._compiled: dict[Key, Executable] = {}
        self._last: tuple[Sequence[Any], tuple[int, ...]] = ((), ())
        self._failed: set[tuple[int, ...]] = set()
        self._jobs: dict[Key, Job] = {}
        self._pending: list[Job] = []
        self._seen: dict[Key, _Seen] = {}
        self._changes = 0
        self._lock = threading.Lock()
        _programs.add(self)
        names = set(self.weights)
        self._takes_any = all(
            part.op in _TAKING_ANY for part in self.parts if any(source.name in names for source in part.inputs)
        )

    def run(
        self, inputs: Sequence[Any], weights: Sequence[Any], seconds: float = 0.0
    ) -> list[np.ndarray[Any, Any]] | None:
        """The outputs; None where the interpreter has to compute them this time, and `compile_soon` is next.

        Attributes:
            inputs: arrays in C order, none of them empty, of the dtypes that `inputs` says and of shapes that
                fit the nodes: what calls this has seen to that.
            weights: arrays, the same ones from run to run as long as the model keeps its variables. A list of
                them is never changed; the same list means the same weights.
            seconds: what the interpreter would take more, roughly: where that is longer than compiling, or reading
                what is in the cache, this waits for it.
        """
        found = self._for(inputs, weights, seconds)
        return None if found is None else found.run(inputs, weights)

    def run_each(
        self,
        batch: Sequence[Sequence[Any]],
        weights: Sequence[Any],
        take: Callable[[int, Sequence[np.ndarray[Any, Any]]], None],
    ) -> bool:
        """Runs it on the inputs of each sample of a batch, and says whether it has: as `run`, else.

        Attributes:
            take: called with the number of each sample and its outputs, which are gone when it returns.
        """
        found = self._for(batch[0], weights, 0.0)
        if found is None:
            return False
        found.run_each(batch, weights, take)
        return True

    def _for(self, inputs: Sequence[Any], weights: Sequence[Any], seconds: float) -> Executable | None:
        """What runs on these, compiled now where that is waited for; None where it isn't there yet."""
        known, ids = self._last
        if known is not weights:
            ids = tuple(map(id, weights))
            self._last = weights, ids
        key = (tuple([a.ndim for a in inputs]), ids)
        return self._compiled.get(key) or self._missing(key, weights, seconds)

    def compile_soon(self) -> None:
        """Has what was missing compiled in the background; called when the interpreter is done in its place."""
        with self._lock:
            pending, self._pending = self._pending, []
        for job in pending:
            background.submit(job, _DELAY_S)

    @property
    def is_compiled(self) -> bool:
        """Whether anything is."""
        return bool(self._compiled)

    def executables(self) -> list[Executable]:
        """What is compiled."""
        with self._lock:
            return list(self._compiled.values())

    def forget(self, dropped: Executable) -> None:
        """Lets go of something compiled; it is compiled anew, or read from the cache, when it is needed."""
        with self._lock:
            self._compiled = {key: found for key, found in self._compiled.items() if found is not dropped}

    def _begin_anew(self) -> None:
        """In a process that was forked: nothing is compiled there.

        What its parent has compiled waits for threads that it doesn't have: when it is run, where one of them was at
        work when the process forked (once in a hundred times on a busy machine), or when it is let go of.
        """
        for compiled in self._compiled.values():
            runtime.leave_behind(compiled)
        self._lock = threading.Lock()
        self._compiled, self._jobs, self._pending = {}, {}, []

    def with_weights_as_inputs(self, weights: Sequence[Any]) -> ClusterProgram:
        """The same with inputs in the place of weights, of these ones' dtypes and shapes."""
        inputs = [Input(name, w.dtype, np.shape(w)) for name, w in zip(self.weights, weights, strict=True)]
        given = [*self.inputs, *inputs]
        return ClusterProgram(self.parts, self.constants, (), given, self.outputs, streams=self.streams)

    # What is not compiled yet

    def _missing(self, key: Key, weights: Sequence[Any], seconds: float) -> Executable | None:
        """What these weights run on, compiled now where that is waited for or the sooner, or soon."""
        ranks, patient = key[0], background.is_waiting()
        nbytes, read = sum(v.nbytes for v in (*weights, *self.constants.values())), False
        wait = self.wait or patient
        with self._lock:
            if ranks in self._failed:
                return None
            if self._takes_any and key[1] and len(self._other_sets(key)) + self._changes >= _SETS_COMPILED_IN:
                key = (ranks, tuple((w.dtype, np.shape(w)) for w in weights), "separate")
            elif not patient and self._changes_too_often(key, weights):
                return None
            found = self._compiled.get(key)
            if found is not None:
                return found
            job = self._jobs.get(key)
            if job is None or job.lost:
                wait = wait or seconds > seconds_to_compile(self.parts, nbytes)
                read = not wait and seconds > seconds_to_read(nbytes)
                last = wait
                job = self._jobs[key] = Job(lambda: self._compile(key, weights, last))
                if not wait:
                    self._pending.append(job)
        if wait:
            job.finish()
        elif read and self._compile(key, weights, last=False, only_read=True):
            with self._lock:
                self._pending = [other for other in self._pending if other is not job]
        return self._compiled.get(key)

    def _other_sets(self, key: Key) -> set[Any]:
        """Identities of the other weights that are compiled in, or are going to be."""
        return {other[1] for other in (*self._compiled, *self._jobs) if len(other) == 2} - {key[1]}

    def _changes_too_often(self, key: Key, weights: Sequence[Any]) -> bool:
        """Whether these weights most likely are gone before compiling them has paid.

        Lets go of what is compiled for weights that no model has any more.
        """
        others = self._other_sets(key)
        if others:
            current = current_values()
            gone = [k for k in self._compiled if len(k) == 2 and not current.issuperset(k[1])]
            for other in gone:
                del self._compiled[other]
            self._changes += len(gone)
        if self._changes < _CHANGES_AT_ONCE:
            return False
        seen = self._seen.get(key)
        # Arrays that are gone leave their identities to new ones.
        if seen is None or any(ref() is not weight for ref, weight in zip(seen.weights, weights, strict=True)):
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            seen = self._seen[key] = _Seen([weakref.ref(weight) for weight in weights])
        seen.times += 1
        return seen.times < _RUNS_WORTH_COMPILING

    def _compile(self, key: Key, weights: Sequence[Any], last: bool, only_read: bool = False) -> bool:
        """Makes what a key asks for, and says whether it has; where OpenVINO can't, the interpreter goes on.

        Attributes:
            last: whether it is stored even if the process ends before there is time.
            only_read: whether it is taken from the cache, or not at all.
        """
        ranks, separate = key[0], len(key) > 2
        found = store = None
        failed = False
        try:
            found, store = executable(self, ranks, weights, self.precision, separate=separate, only_read=only_read)
        except Ending:
            pass
        except Exception as error:  # OpenVINO's own, of many kinds
            self.failure, failed = f"{type(error).__name__}: {error}", True
        with self._lock:
            if found is not None or not only_read:
                self._jobs.pop(key, None)
            if found is not None:
                if len(self._compiled) >= _MAX_COMPILED:
                    del self._compiled[min(self._compiled, key=lambda k: self._compiled[k].used)]
                self._compiled[key] = found
            elif failed:
                self._failed.add(ranks)
        if store is not None:
            background.submit(Job(store, last=last), _STORE_DELAY_S)
        return found is not None


_programs: weakref.WeakSet[ClusterProgram] = weakref.WeakSet()


def _after_fork() -> None:
    for program in list(_programs):
        program._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
