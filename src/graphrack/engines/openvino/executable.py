"""What OpenVINO has compiled a cluster to, and how it is run."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack.engines.interpreter.plan import OWNERS
from graphrack.engines.openvino import background, cache, fingerprint, runtime
from graphrack.engines.openvino.cost import compiling

if TYPE_CHECKING:
    from graphrack.engines.openvino.compiled import ClusterProgram, Part

Array = np.ndarray[Any, Any]

# Requests that are kept for the next runs; more at once are made anew.
_MAX_FREE = runtime.cores()
# Inputs of up to so many bytes are copied into memory that a request keeps: telling it of other memory takes 2.7 µs.
_COPIED_BYTES = 1 << 15
# Results of so many bytes are sooner handed over with the request that they are in than copied: a new one takes 15 µs.
_HANDED_OVER_BYTES = 1 << 20
# Reading a blob back costs so much: measured for blobs of 2 to 340 MB, which take 0.005 to 0.3 s.
_READ_S, _READ_BYTES_PER_S = 0.005, 1.2e9
# And in its first run weights are put in order: 0.1 s for ResNet-50's, 0.2 to 0.8 for BERT's.
_READY_BYTES_PER_S = 0.8e9
_IMPORT_S = 0.05

_Request = tuple[Any, list[Any]]
"""OpenVINO's request, and what is bound to its inputs: memory of its own, or a weight; None of what each run brings."""


class Executable:
    """A compiled cluster, for one rank of each input.

    Attributes:
        weights: the values that it was compiled with; empty where every run brings its own.
        nbytes: of the values that OpenVINO keeps a copy of, in an order of its own.
        used: when it last began to run, by the monotonic clock.
    """

    def __init__(
        self,
        program: ClusterProgram,
        model: Any,
        weights: Sequence[Any],
        nbytes: int,
        *,
        separate: bool,
        keeps: Any = None,
    ):
        from openvino import Tensor

        OWNERS.add(Tensor)
        # They are shared with OpenVINO, and while they are kept nothing else gets their identities.
        self.weights = () if separate else tuple(weights)
        self.nbytes = nbytes
        self.used = time.monotonic()
        self._model = model
        self._separate = separate
        self._streams = program.streams
        self._keeps = keeps  # memory that OpenVINO uses in place
        self._tensor = Tensor
        inputs = _positions(model.inputs)
        # By their order: where two are the same, a simplified model has lost the name of one.
        outputs = {source: i for i, source in enumerate(dict.fromkeys(program.outputs))}
        names = [given.name for given in program.inputs] + (list(program.weights) if separate else [])
        self._inputs = tuple(inputs.get(f"{name}:0") for name in names)  # None: simplified away
        self._outputs = tuple(outputs[source] for source in program.outputs)
        self._free: list[_Request] = []
        self._seconds = math.inf
        self._handed_over = False

    def run(self, arrays: Sequence[Array], weights: Sequence[Any]) -> list[Array]:
        """The outputs, which are the caller's own."""
        mine = self._request()
        request = self._bind(mine, arrays, weights)
        handed_over = self._handed_over
        my_turn = runtime.take_turn(self._seconds)
        self.used = start = time.monotonic()
        try:
            # Copies, since the request's memory is written anew by its next run; or that memory, and no next run.
            given = list(request.infer(share_outputs=handed_over).values())
        finally:
            if my_turn:
                runtime.end_turn()
        self._seconds = time.monotonic() - start
        results = [given[index] for index in self._outputs]
        if not handed_over and len(self._free) < _MAX_FREE:
            self._free.append(mine)
        self._handed_over = max([value.nbytes for value in results], default=0) >= _HANDED_OVER_BYTES
        return results

    def run_each(
        self,
        batch: Sequence[Sequence[Array]],
        weights: Sequence[Any],
        take: Callable[[int, Sequence[Array]], None],
    ) -> None:
        """Runs it on the inputs of each sample, as many at once as it has streams.

        Attributes:
            take: called with the number of each and its outputs, which are written anew by a later one.
        """
        self.used = time.monotonic()
        running: deque[tuple[int, _Request]] = deque()

        def end_one() -> _Request:
            number, mine = running[0]
            mine[0].wait()
            running.popleft()
            take(number, [mine[0].get_output_tensor(index).data for index in self._outputs])
            return mine

        try:
            for number, arrays in enumerate(batch):
                mine = self._request() if len(running) < self._streams else end_one()
                self._bind(mine, arrays, weights).start_async()
                running.append((number, mine))
            while running:
                self._free.append(end_one())
        finally:  # where one has failed, the others still read what isn't theirs
            for _, mine in running:
                with contextlib.suppress(Exception):
                    mine[0].wait()
        del self._free[_MAX_FREE:]

    def _request(self) -> _Request:
        try:
            return self._free.pop()
        except IndexError:
            return self._model.create_infer_request(), [None] * len(self._inputs)

    def _bind(self, mine: _Request, arrays: Sequence[Array], weights: Sequence[Any]) -> Any:
        """The request, which has these values now."""
        request, bound = mine
        for i, value in enumerate(arrays):
            index = self._inputs[i]
            if index is None:
                continue
            own = bound[i]
            if own is not None and own.shape == value.shape:
                own[...] = value
                continue
            small = value.nbytes <= _COPIED_BYTES
            bound[i] = own = value.copy() if small else None
            request.set_input_tensor(index, self._as_tensor(own if small else value))
        if self._separate:
            for i, value in enumerate(weights, len(arrays)):
                index = self._inputs[i]
                # They are the same ones from run to run, and never written in place.
                if index is not None and bound[i] is not value:
                    request.set_input_tensor(index, self._as_tensor(value))
                    bound[i] = value
        return request

    def _as_tensor(self, value: Any) -> Any:
        array = np.asarray(value)
        # What may not be written is not shared by OpenVINO, though it wouldn't write it.
        return self._tensor(array, shared_memory=array.flags.writeable and array.flags.c_contiguous)

    def store(self, place: str, key: str) -> None:
        """Puts it into the cache in a folder."""
        cache.store(place, key, self._model.export_model().getbuffer())


def seconds_to_read(nbytes: int) -> float:
    """What reading a cluster with so many bytes of weights from the cache takes, until it runs as it will."""
    reading = nbytes / _READ_BYTES_PER_S + nbytes / _READY_BYTES_PER_S
    return (_READ_S if runtime.loaded() else _IMPORT_S) + reading


def seconds_to_compile(parts: Sequence[Part], nbytes: int) -> float:
    """What compiling a cluster of so many nodes and bytes of weights takes, and importing OpenVINO before."""
    return (0.0 if runtime.loaded() else _IMPORT_S) + compiling(parts, nbytes)


def executable(
    program: ClusterProgram,
    ranks: Sequence[int],
    weights: Sequence[Any],
    precision: str,
    *,
    separate: bool,
    only_read: bool = False,
) -> tuple[Executable | None, Callable[[], None] | None]:
    """A cluster read from the cache, or compiled for these ranks of inputs.

    Attributes:
        weights: values to compile it with.
        separate: don't: every run brings its own, of the same dtypes and shapes.
        only_read: don't compile it.

    Returns:
        it, or None where it could only be read and isn't in the cache; and what stores it there, where that is
        worth its while.

    Raises:
        background.Ending: the process ends meanwhile.
        Exception: whatever OpenVINO raises for what it can't compile.
    """
    nbytes = sum(np.asarray(c).nbytes for c in program.constants.values())
    topology, kept = program, list(weights)
    if separate:
        topology, kept = program.with_weights_as_inputs(weights), []
        ranks = [*ranks, *(np.ndim(w) for w in weights)]
    nbytes += sum(w.nbytes for w in kept)
    background.check()
    key, place = "", cache.folder()
    if place is None and only_read:
        return None, None
    if place is not None:
        described = fingerprint.Description(topology, ranks)
        if only_read and not cache.may_have(place, described.structure):
            return None, None  # before all weights' bytes are looked at for it
        key = described.with_values(kept)
        if only_read and not cache.may_have(place, key):
            return None, None  # before OpenVINO is imported for it
    core, settings = runtime.core(), runtime.settings(precision, program.streams)
    if place is not None:
        chosen = f"{settings['INFERENCE_PRECISION_HINT']}\n{settings['NUM_STREAMS']}"
        key += fingerprint.of_circumstances(f"{chosen}\n{runtime.processor()}")
        blob = cache.load(place, key)
        if blob is not None:
            from openvino import Tensor

            with contextlib.suppress(Exception):  # sound, but not to this OpenVINO's liking: compile it anew
                model = core.import_model(Tensor(blob, shared_memory=True), "CPU", settings)
                return Executable(program, model, weights, nbytes, separate=separate, keeps=blob), None
    if only_read:
        return None, None
    background.check()
    from graphrack.engines.openvino.frontend import convert
    from graphrack.engines.openvino.pitfalls import without_kernels_that_fail

    start = time.monotonic()
    converted = convert(topology, ranks, dict(zip(topology.weights, kept, strict=True)))
    background.check()
    settings |= without_kernels_that_fail(converted)
    model, constants = core.compile_model(converted, "CPU", settings), list(program.constants.values())
    made = Executable(program, model, weights, nbytes, separate=separate, keeps=constants)
    seconds = time.monotonic() - start
    if place is None or seconds < 2 * (_READ_S + nbytes / _READ_BYTES_PER_S):
        return made, None
    return made, lambda: made.store(place, key)


def _positions(ports: Sequence[Any]) -> dict[str, int]:
    """For each tensor name of a model's inputs or outputs the position among these."""
    return {name: i for i, port in enumerate(ports) for name in port.get_names()}
