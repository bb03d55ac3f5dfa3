"""Clusters of a few nodes, as they are compiled, and models' weights for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.engines.interpreter.state import ModelState
from graphrack.engines.openvino.compiled import ClusterProgram, Input, Part, Source
from graphrack.formats.dtypes import FLOAT

RNG = np.random.default_rng(0)
T = {"T": FLOAT}


def dense(*, wait: bool = True, precision: str = "f32", name: str = "w", streams: int = 1) -> ClusterProgram:
    """relu(x @ w), and its product with w."""
    parts = [
        Part("product", "MatMul", {**T, "transpose_a": False, "transpose_b": False}, (Source("x", 0), Source(name, 0))),
        Part("relu", "Relu", T, (Source("product", 0),)),
        Part(
            "again", "MatMul", {**T, "transpose_a": False, "transpose_b": False}, (Source("relu", 0), Source(name, 0))
        ),
    ]
    inputs = [Input("x", np.dtype(np.float32), None)]
    outputs = [Source("again", 0), Source("relu", 0)]
    return ClusterProgram(parts, {}, [name], inputs, outputs, wait=wait, precision=precision, streams=streams)


def dense_of(x: Any, w: Any) -> list[Any]:
    first = np.maximum(x @ w, 0)
    return [first @ w, first]


def conv(*, wait: bool = True) -> ClusterProgram:
    """A convolution by filters of 1 by 1."""
    attributes = {**T, "strides": [1, 1, 1, 1], "padding": b"SAME", "dilations": [1, 1, 1, 1], "data_format": b"NHWC"}
    parts = [Part("conv", "Conv2D", attributes, (Source("x", 0), Source("w", 0)))]
    return ClusterProgram(parts, {}, ["w"], [Input("x", np.dtype(np.float32), None)], [Source("conv", 0)], wait=wait)


def conv_of(x: Any, w: Any) -> list[Any]:
    return [x @ w[0, 0]]


def random(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


class Model:
    """Something that has weights, as a model does."""

    def __init__(self, *shape: int):
        self.state = ModelState()
        self.shape = shape
        self.change()

    def change(self) -> None:
        self.state.values = {"w": random(*self.shape)}

    @property
    def weights(self) -> list[Any]:
        return [self.state.values["w"]]


def check(results: list[Any] | None, expected: list[Any]) -> None:
    assert results is not None
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)


def settled(program: ClusterProgram) -> None:
    """Waits until nothing is being compiled."""
    program.compile_soon()
    for job in list(program._jobs.values()):
        assert job.done.wait(60)
