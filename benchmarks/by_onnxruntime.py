"""ONNX Runtime's side, on what tf2onnx made of the frozen graphs before."""

from __future__ import annotations

import onnxruntime

from benchmarks import inference
from benchmarks.zoo import Network


def network(work: str, name: str, form: str, batch: str) -> None:
    assert form == "frozen"

    def opened(network: Network, path: str) -> inference.Run:
        session = onnxruntime.InferenceSession(network.onnx(work), providers=["CPUExecutionProvider"])
        return lambda feeds: session.run([network.output], dict(feeds))[0]

    inference.network(work, name, form, batch, opened)
