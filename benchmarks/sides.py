"""Who is measured: each side is a module `by_NAME` with one function a case, run in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Side:
    """One side of a case.

    Attributes:
        name: its key in results.
        title: how tables and plots call it.
        module: the part after `by_` of the module with its functions.
        options: what these functions take after the case's own arguments.
        keeps_cache: whether graphrack's disk cache is left as the side before filled it; else it is emptied.
        guest: whether the case goes on without it where it fails or gives other numbers; its cell then says so.
        once: whether it is measured in one process only, being slow and nobody's aim.
    """

    name: str
    title: str
    module: str
    options: tuple[str, ...] = ()
    keeps_cache: bool = False
    guest: bool = False
    once: bool = False


TENSORFLOW = Side("tensorflow", "TensorFlow", "tensorflow")
GRAPHRACK = Side("graphrack", "graphrack", "graphrack")
MACHINE = Side("machine", "machine", "machine")
OPENVINO = Side("openvino", "OpenVINO alone", "openvino", guest=True)
ONNXRUNTIME = Side("onnxruntime", "ONNX Runtime", "onnxruntime", guest=True)
AUTO = Side("auto", "graphrack", "graphrack", ("auto",))
AUTO_AGAIN = Side("auto again", "graphrack, again", "graphrack", ("auto",), keeps_cache=True)
COMPILED = Side("compiled", "graphrack `openvino`", "graphrack", ("openvino",))
NUMPY = Side("numpy", "graphrack `numpy`", "graphrack", ("numpy",), once=True)

NETWORK_SIDES = (TENSORFLOW, OPENVINO, ONNXRUNTIME, AUTO, AUTO_AGAIN, COMPILED, NUMPY)
CHECKPOINT_SIDES = (TENSORFLOW, OPENVINO, AUTO, AUTO_AGAIN)
SMALL_SIDES = (TENSORFLOW, OPENVINO, AUTO)
