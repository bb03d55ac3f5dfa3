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
from graphrack.engines.openvino.nans import to_keep_nan
from graphrack.engines.openvino.pitfalls import APART
from graphrack.engines.openvino.spelling import constant, keeping_nan, spelled, subtracted
from graphrack.formats.dtypes import DType, from_numpy


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


def _placeholder(given: Input, rank: int) -> Part:
    known = given.shape if given.shape is not None and len(given.shape) == rank else (None,) * rank
    sizes = PartialShape([-1 if size is None else size for size in known])
    return Part(given.name, "Placeholder", {"shape": sizes, "dtype": from_numpy(given.dtype)}, ())


def convert(program: ClusterProgram, ranks: Sequence[int], weights: Mapping[str, Any]) -> Model:
    """The cluster as an OpenVINO model, for inputs of these ranks and these weights.

    Its outputs are the program's, each once, in their order; then those of what must not be fused.
    """
    keeping = to_keep_nan(program.parts, program.constants | dict(weights))
    logged = {part.inputs[0].name for part in program.parts if part.op == "Log"}

    def given(part: Part) -> list[Part]:
        if (
            part.op in ("Add", "AddV2")
            and part.name in logged
            and any(s.name in program.constants for s in part.inputs)
        ):
            return subtracted(part, program.constants)
        if part.name in keeping:
            return keeping_nan(part)
        return spelled(part)

    parts = [
        *(constant(name, value) for name, value in (program.constants | dict(weights)).items()),
        *(_placeholder(one, rank) for one, rank in zip(program.inputs, ranks, strict=True)),
        *(other for part in program.parts for other in given(part)),
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
    _without_transposes_back(model)
    return model


def _without_transposes_back(model: Model) -> None:
    """Has what takes a Transpose of a Transpose that puts the axes back take the value itself.

    OpenVINO finds such pairs but where the first one's result is also taken by others. An activation that is a result
    of a training's forward pass and goes on into the next convolution is one: each costs three copies of it.
    """
    for node in model.get_ordered_ops():
        first = node.input_value(0).get_node() if node.get_type_name() == "Transpose" else None
        if first is None or first.get_type_name() != "Transpose":
            continue
        orders = [one.input_value(1).get_node() for one in (first, node)]
        if all(order.get_type_name() == "Constant" for order in orders):
            before, after = (order.get_data().ravel().tolist() for order in orders)
            if [before[i] for i in after] == sorted(before):
                for taker in node.output(0).get_target_inputs():
                    taker.replace_source_output(first.input_value(0))
