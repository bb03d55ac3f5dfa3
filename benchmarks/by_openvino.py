"""OpenVINO's side, on TensorFlow's files as they are: with the settings that suit one run at a time best."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import openvino
from openvino import opset13

from benchmarks import inference
from benchmarks.zoo import NETWORKS, SMALL, Network

_SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


def _opened(core: Any, path: str, output: str) -> inference.Run:
    request = core.compile_model(core.read_model(path), "CPU", _SETTINGS).create_infer_request()
    output = request.model_outputs[0] if len(request.model_outputs) == 1 else output

    def run(feeds: inference.Feeds) -> Any:
        return request.infer(feeds, share_inputs=True)[output]

    return run


def network(work: str, name: str, form: str, batch: str) -> None:
    def opened(network: Network, path: str) -> inference.Run:
        return _opened(openvino.Core(), path if form == "frozen" else path + ".meta", network.output)

    def bound() -> dict[str, float]:
        measured = NETWORKS[name]
        count = flops(str(measured.frozen(work)), measured.values(int(batch)))
        return {"products": count / _rate()} if count else {}

    inference.network(work, name, form, batch, opened, also=bound if form == "frozen" else dict)


def flops(path: str, feeds: inference.Feeds) -> float:
    """Multiplications and additions of a network's convolutions and matrix products; 0 where shapes don't tell."""
    model = openvino.Core().read_model(path)
    shapes = {given.any_name.removesuffix(":0"): given for given in model.inputs}
    model.reshape({shapes[name.removesuffix(":0")]: openvino.PartialShape(v.shape) for name, v in feeds.items()})
    found = 0.0
    for node in model.get_ops():
        kind = node.get_type_name()
        counted = kind in ("Convolution", "GroupConvolution", "MatMul")
        if kind in ("Loop", "TensorIterator", "If") or (counted and node.output(0).partial_shape.is_dynamic):
            return 0.0
        if kind == "MatMul":
            each = node.input_value(0).shape[-2 if node.get_attributes()["transpose_a"] else -1]
        elif counted:
            # A filter is [output channels, input channels, ...]; of groups, these come first.
            each = math.prod(node.input_value(1).shape[2 if kind == "GroupConvolution" else 1 :])
        else:
            continue
        found += 2.0 * math.prod(node.output(0).shape) * each
    return found


def _rate() -> float:
    """Multiplications and additions in a second at which it multiplies large matrices."""
    size = 2048
    x = opset13.parameter([size, size], np.float32)
    weights = opset13.constant(np.random.default_rng(0).random((size, size), np.float32))
    model = openvino.Model([opset13.matmul(x, weights, False, False).output(0)], [x])
    request = openvino.Core().compile_model(model, "CPU", _SETTINGS).create_infer_request()
    values = np.random.default_rng(1).random((size, size), np.float32)
    seconds = []
    for _ in range(20):
        begin = time.perf_counter()
        request.infer({0: values}, share_inputs=True, share_outputs=True)
        seconds.append(time.perf_counter() - begin)
    return 2.0 * size**3 / min(seconds)


def small(work: str, number: str) -> None:
    core = openvino.Core()
    inference.small(work, number, lambda prefix: _opened(core, prefix + ".meta", SMALL.output))
