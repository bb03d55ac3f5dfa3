"""A cluster as a step of a plan: OpenVINO's results where it takes the values, the interpreter's elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.engines.interpreter.control_flow import locate
from graphrack.engines.interpreter.steps import Frame, Step
from graphrack.engines.openvino.compiled import ClusterProgram
from graphrack.engines.openvino.shapes import Inference, Misfit

_MAX_SHAPES = 4096


class ClusterStep:
    """Reads a cluster's inputs from the frame, and puts its outputs there.

    What goes to OpenVINO are arrays of the dtypes that the cluster was made for, whose shapes fit each other and
    leave no tensor empty: compiled for sizes that may change, OpenVINO checks less than TensorFlow does. All else
    is left to the nodes' own steps, which also have the words for what doesn't fit.

    Attributes:
        program: what OpenVINO runs.
        inner: the nodes' own steps.
    """

    def __init__(
        self,
        program: ClusterProgram,
        inference: Inference,
        inputs: Sequence[int],
        weights: Sequence[int],
        outputs: Sequence[int],
        inner: Sequence[Step],
    ):
        self.program = program
        self.inner = tuple(inner)
        self._inference = inference
        self._inputs = tuple(zip(inputs, (given.dtype for given in program.inputs), strict=True))
        self._weights = tuple(weights)
        self._outputs = tuple(outputs)
        self._fitting: dict[Any, bool] = {}

    def __call__(self, frame: Frame) -> None:
        """Runs it once."""
        results = self._results(frame)
        if results is not None:
            for slot, value in zip(self._outputs, results, strict=True):
                frame[slot] = value
            return
        for step in self.inner:
            try:
                step(frame)
            except Exception as error:
                locate(error, step)
                raise

    def _results(self, frame: Frame) -> list[Any] | None:
        arrays = []
        for slot, dtype in self._inputs:
            value = frame[slot]
            if not isinstance(value, (np.ndarray, np.generic)) or value.dtype != dtype:
                return None
            arrays.append(np.asarray(value, order="C"))
        weights = [frame[slot] for slot in self._weights]
        key = (self._inference.key(arrays), tuple(w.shape for w in weights))
        fits = self._fitting.get(key)
        if fits is None:
            try:
                self._inference.run(arrays, weights)
                fits = True
            except Misfit:
                fits = False
            if len(self._fitting) >= _MAX_SHAPES:
                self._fitting.clear()
            self._fitting[key] = fits
        if not fits:
            return None
        try:
            return self.program.run(arrays, weights)
        except Exception:  # what OpenVINO refuses, the interpreter runs, or says what is wrong with it
            return None
