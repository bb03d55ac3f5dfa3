"""A cluster as OpenVINO runs it: handed over node by node, compiled for a rank of inputs and a set of weights."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines.openvino.shapes import OUTPUT_SHAPES, Misfit, Shape
from graphrack.formats.dtypes import FLOAT, INT32, INT64, from_numpy

# How many (ranks, weights) of one cluster stay compiled: models of one graph have weights of their own.
_MAX_COMPILED = 128
_MAX_SHAPES = 4096

_core: Any = None
_core_lock = threading.Lock()


def core() -> Any:
    """OpenVINO's Core: one for the process, which holds its plugins."""
    global _core
    if _core is None:
        with _core_lock:
            if _core is None:
                import openvino

                _core = openvino.Core()
    return _core


class Source(NamedTuple):
    """Where a cluster's node takes an input: output `output` of the node, constant or cluster input `name`."""

    name: str
    output: int


class Part(NamedTuple):
    """One node of a cluster: its attributes (decoded), and its inputs."""

    name: str
    op: str
    attributes: dict[str, Any]
    inputs: tuple[Source, ...]


class ClusterProgram:
    """What a cluster computes, and what has been compiled of it so far.

    Attributes:
        parts: its nodes.
        constants: values that never change, by name.
        weights: names of the values that stay as long as a model keeps its variables.
        inputs: names of the values that every run brings, with their static shapes where known.
        outputs: tensors that others take.
        failure: why OpenVINO can't run it, once that is known.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        constants: dict[str, np.ndarray[Any, Any]],
        weights: Sequence[str],
        inputs: Sequence[tuple[str, tuple[int | None, ...] | None]],
        outputs: Sequence[Source],
    ):
        self.parts = tuple(parts)
        self.constants = constants
        self.weights = tuple(weights)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.failure = ""
        self._compiled: OrderedDict[Any, _Compiled] = OrderedDict()
        self._fitting: set[Any] = set()
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Any], weights: Sequence[Any]) -> list[np.ndarray[Any, Any]] | None:
        """The outputs; None where the interpreter has to compute them (empty tensors, or OpenVINO can't).

        Raises whatever OpenVINO raises for inputs that don't fit: the interpreter then tells what is wrong.
        """
        if self.failure:
            return None
        arrays = []
        for value in inputs:
            if not isinstance(value, (np.ndarray, np.generic)) or not value.size or value.dtype != np.float32:
                return None
            arrays.append(np.ascontiguousarray(value))
        shapes = (tuple(a.shape for a in arrays), tuple(w.shape for w in weights))
        if shapes not in self._fitting:
            self._check(*shapes)
        key = (tuple(a.ndim for a in arrays), tuple(map(id, weights)))
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compile(key, arrays, weights)
            if compiled is None:
                return None
        return compiled.run(arrays)

    def _check(self, inputs: Sequence[Shape], weights: Sequence[Shape]) -> None:
        """Raises `Misfit` where the shapes of the inputs don't fit the nodes; notes those that do."""
        known: dict[tuple[str, int], Shape] = {(n, 0): np.shape(c) for n, c in self.constants.items()}
        known.update(((name, 0), shape) for (name, _), shape in zip(self.inputs, inputs, strict=True))
        known.update(((name, 0), shape) for name, shape in zip(self.weights, weights, strict=True))
        for part in self.parts:
            values = [self.constants.get(source.name) for source in part.inputs]
            output = OUTPUT_SHAPES[part.op]([known[source] for source in part.inputs], values, part.attributes)
            if 0 in output:
                raise Misfit
            known[part.name, 0] = output
        if len(self._fitting) >= _MAX_SHAPES:
            self._fitting.clear()
        self._fitting.add((inputs, weights))

    def _compile(self, key: Any, arrays: Sequence[Any], weights: Sequence[Any]) -> _Compiled | None:
        with self._lock:
            found = self._compiled.get(key)
            if found is None and not self.failure:
                try:
                    found = _Compiled(self, [a.ndim for a in arrays], weights)
                except Exception as error:  # OpenVINO's own, of many kinds: the interpreter takes over
                    self.failure = f"{type(error).__name__}: {error}"
                    return None
                self._compiled[key] = found
                while len(self._compiled) > _MAX_COMPILED:
                    self._compiled.popitem(last=False)
            return found


class _Compiled:
    """A compiled model, and the requests that are free."""

    def __init__(self, program: ClusterProgram, ranks: Sequence[int], weights: Sequence[Any]):
        from graphrack.engines.openvino.frontend import convert

        self._weights = list(weights)  # they are shared with OpenVINO, and their identities are the key
        model = convert(program, ranks, dict(zip(program.weights, self._weights, strict=True)))
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        self._model = core().compile_model(model, "CPU", settings)
        self._inputs = [self._model.input(f"{name}:0").index for name, _ in program.inputs]
        self._outputs = [self._model.output(f"{s.name}:{s.output}").index for s in program.outputs]
        self._free: list[Any] = []

    def run(self, arrays: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        from openvino import Tensor

        try:
            request = self._free.pop()
        except IndexError:
            request = self._model.create_infer_request()
        for index, array in zip(self._inputs, arrays, strict=True):
            request.set_input_tensor(index, Tensor(array, shared_memory=True))
        request.infer()
        # The request's memory is written anew by its next run.
        results = [request.get_output_tensor(index).data.copy() for index in self._outputs]
        self._free.append(request)
        return results


def can_hold(value: Any) -> bool:
    """Whether a constant can be handed to OpenVINO as it is."""
    return isinstance(value, (np.ndarray, np.generic)) and from_numpy(value.dtype) in (FLOAT, INT32, INT64)
