"""OpenVINO's side, on TensorFlow's files as they are: with the settings that suit one run at a time best."""

from __future__ import annotations

from typing import Any

import openvino

from benchmarks import inference
from benchmarks.zoo import SMALL, Network

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

    inference.network(work, name, form, batch, opened)


def small(work: str, number: str) -> None:
    core = openvino.Core()
    inference.small(work, number, lambda prefix: _opened(core, prefix + ".meta", SMALL.output))
