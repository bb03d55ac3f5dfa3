"""A cluster as OpenVINO runs it: handed over node by node, compiled for a rank of inputs and a set of weights."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.formats.dtypes import FLOAT, INT32, INT64, from_numpy

# How many (ranks, weights) of one cluster stay compiled: models of one graph have weights of their own.
_MAX_COMPILED = 128

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


class ClusterProgram:
    """What a cluster computes, and what has been compiled of it so far.

    Attributes:
        parts: its nodes.
        constants: values that never change, by name.
        weights: names of the values that stay as long as a model keeps its variables.
        inputs: the values that every run brings.
        outputs: tensors that others take.
        failure: why OpenVINO can't run it, once that is known.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        constants: dict[str, np.ndarray[Any, Any]],
        weights: Sequence[str],
        inputs: Sequence[Input],
        outputs: Sequence[Source],
    ):
        self.parts = tuple(parts)
        self.constants = constants
        self.weights = tuple(weights)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.failure = ""
        self._compiled: OrderedDict[Any, _Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Any], weights: Sequence[Any]) -> list[np.ndarray[Any, Any]] | None:
        """The outputs; None where the interpreter has to compute them.

        Attributes:
            inputs: arrays in C order, none of them empty, of the dtypes that `inputs` says and of shapes that
                fit the nodes: what calls this has seen to that.
            weights: arrays, the same ones from run to run as long as the model keeps its variables.
        """
        if self.failure:
            return None
        key = (tuple(a.ndim for a in inputs), tuple(map(id, weights)))
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compile(key, inputs, weights)
            if compiled is None:
                return None
        return compiled.run(inputs)

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
        inputs, outputs = _positions(self._model.inputs), _positions(self._model.outputs)
        self._inputs = [inputs.get(f"{i.name}:0") for i in program.inputs]  # None: simplified away
        self._outputs = [outputs[f"{s.name}:{s.output}"] for s in program.outputs]
        self._free: list[Any] = []

    def run(self, arrays: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        from openvino import Tensor

        try:
            request = self._free.pop()
        except IndexError:
            request = self._model.create_infer_request()
        for index, array in zip(self._inputs, arrays, strict=True):
            if index is not None:
                request.set_input_tensor(index, Tensor(array, shared_memory=True))
        request.infer()
        # The request's memory is written anew by its next run.
        results = [request.get_output_tensor(index).data.copy() for index in self._outputs]
        self._free.append(request)
        return results


def _positions(ports: Sequence[Any]) -> dict[str, int]:
    """For each tensor name of a model's inputs or outputs the position among these."""
    return {name: i for i, port in enumerate(ports) for name in port.get_names()}


def can_hold(value: Any) -> bool:
    """Whether a constant can be handed to OpenVINO as it is."""
    return isinstance(value, (np.ndarray, np.generic)) and from_numpy(value.dtype) in (FLOAT, INT32, INT64)
