"""Handing a cluster to OpenVINO's TensorFlow frontend, node by node, without a file and without copies.

The frontend asks a graph iterator for decoders, one a node. Weights are shared: OpenVINO takes writable arrays
as they are, which mapped (copy-on-write) values are; it never writes into them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from openvino import Model, OVAny, PartialShape, Tensor, Type
from openvino.frontend import FrontEndManager
from openvino.frontend.tensorflow.py_tensorflow_frontend import (
    _FrontEndDecoderBase as DecoderBase,
)
from openvino.frontend.tensorflow.py_tensorflow_frontend import (
    _FrontEndPyGraphIterator as GraphIterator,
)

from graphrack.engines.openvino.compiled import ClusterProgram, Input, Part, Source
from graphrack.engines.openvino.fusions import APART
from graphrack.formats.dtypes import DType, from_numpy

# A constant that is shared has to stay as long as the model; small ones are copied.
_MIN_SHARED_BYTES = 1 << 14
_SWAPPED = {"Greater": "Less", "GreaterEqual": "LessEqual"}


class _Decoder(DecoderBase):  # type: ignore[misc]
    """One node as the frontend asks for it."""

    def __init__(self, part: Part):
        super().__init__()
        self._part = part

    def get_op_name(self) -> str:
        return self._part.name

    def get_op_type(self) -> str:
        return self._part.op

    def get_attribute(self, name: str) -> Any:
        return OVAny(_attribute(self._part.attributes.get(name)))

    def get_input_size(self) -> int:
        return len(self._part.inputs)

    def get_input_node_name(self, index: int) -> str:
        return self._part.inputs[index].name

    def get_input_node_name_output_port_index(self, index: int) -> int:
        return self._part.inputs[index].output

    def get_input_node_name_output_port_name(self, index: int) -> str:
        return ""


class _Iterator(GraphIterator):  # type: ignore[misc]
    """The nodes of a cluster, one after the other."""

    def __init__(self, parts: Sequence[Part]):
        super().__init__()
        self._decoders = [_Decoder(part) for part in parts]
        self._position = 0

    def get_input_names(self) -> list[str]:
        return []

    def get_output_names(self) -> list[str]:
        return []

    def get_input_names_map(self) -> dict[str, str]:
        return {}

    def get_output_names_map(self) -> dict[str, str]:
        return {}

    def is_end(self) -> bool:
        return self._position >= len(self._decoders)

    def reset(self) -> None:
        self._position = 0

    def size(self) -> int:
        return len(self._decoders)

    def next_impl(self) -> None:
        self._position += 1

    def get_decoder(self) -> _Decoder:
        return self._decoders[self._position]

    def get_body_graph_iterator(self, name: str) -> None:
        return None


def _attribute(value: Any) -> Any:
    """A decoded attribute in OpenVINO's terms."""
    if isinstance(value, DType):
        return Type(value.numpy) if value.itemsize else Type.dynamic
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        return np.float32(value)
    if isinstance(value, Tensor | PartialShape):
        return value
    if isinstance(value, list):
        return [v.decode() if isinstance(v, bytes) else v for v in value] or None
    return value


def _constant(name: str, value: Any) -> Part:
    array = np.asarray(value)
    shared = array.nbytes >= _MIN_SHARED_BYTES and array.flags.writeable and array.flags.c_contiguous
    tensor = Tensor(array if shared else np.array(array, order="C"), shared_memory=shared)
    return Part(name, "Const", {"value": tensor, "dtype": from_numpy(array.dtype)}, ())


def _placeholder(given: Input, rank: int) -> Part:
    known = given.shape if given.shape is not None and len(given.shape) == rank else (None,) * rank
    sizes = PartialShape([-1 if size is None else size for size in known])
    return Part(given.name, "Placeholder", {"shape": sizes, "dtype": from_numpy(given.dtype)}, ())


def _spelled(part: Part) -> list[Part]:
    """A node as OpenVINO's frontend is given it: where that converts an op wrongly or loosely, by other ops."""
    if part.op in _SWAPPED:  # it takes a > b for the opposite of a <= b, which isn't so for NaN
        return [part._replace(op=_SWAPPED[part.op], inputs=part.inputs[::-1])]
    if part.op == "Softplus":  # its own kernel is off by 1e-5, far more than small results are
        (x,) = part.inputs
        name, types = part.name, {"T": part.attributes["T"]}

        def made(op: str, suffix: str, *inputs: Source) -> Part:
            return Part(f"{name}/{suffix}" if suffix else name, op, types, inputs)

        one = _constant(f"{name}/one", np.ones((), np.float32))
        return [
            one,
            made("Abs", "abs", x),
            made("Neg", "neg", Source(f"{name}/abs", 0)),
            made("Exp", "exp", Source(f"{name}/neg", 0)),
            made("AddV2", "sum", Source(f"{name}/exp", 0), Source(one.name, 0)),
            made("Log", "log", Source(f"{name}/sum", 0)),
            made("Relu", "relu", x),
            made("AddV2", "", Source(f"{name}/relu", 0), Source(f"{name}/log", 0)),
        ]
    return [part]


def convert(program: ClusterProgram, ranks: Sequence[int], weights: Mapping[str, Any]) -> Model:
    """The cluster as an OpenVINO model, for inputs of these ranks and these weights.

    Its outputs are the program's, each once, in their order; then those of what must not be fused.
    """
    parts = [
        *(_constant(name, value) for name, value in (program.constants | dict(weights)).items()),
        *(_placeholder(given, rank) for given, rank in zip(program.inputs, ranks, strict=True)),
        *(spelled for part in program.parts for spelled in _spelled(part)),
    ]
    frontend = FrontEndManager().load_by_framework("tf")
    iterator = _Iterator(parts)  # the frontend asks its decoders until it has converted everything
    graph = frontend.load(iterator)
    apart = [Source(part.name, 0) for part in program.parts if APART in part.attributes]
    outputs = dict.fromkeys((*program.outputs, *apart))
    places = [graph.get_place_by_tensor_name(f"{source.name}:{source.output}") for source in outputs]
    graph.override_all_outputs(places)
    model = frontend.convert(graph)
    del iterator
    return model
