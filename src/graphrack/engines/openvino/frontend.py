"""Handing a cluster to OpenVINO's TensorFlow frontend, node by node, without a file and without copies.

The frontend asks a graph iterator for decoders, one a node. Weights are shared: OpenVINO takes writable arrays
as they are, which mapped (copy-on-write) values are; it never writes into them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
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
from graphrack.engines.openvino.pitfalls import APART, POINTWISE
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
    if part.op == "Softplus":
        return _softplus(part)
    if POINTWISE in part.attributes:
        return _pointwise(part)
    return [part]


class _Spelling:
    """The nodes that stand for one: the last has its name."""

    def __init__(self, part: Part):
        self.parts: list[Part] = []
        self._name = part.name
        self._types = {"T": part.attributes["T"]}

    def made(self, op: str, *inputs: Source, last: bool = False, **attributes: Any) -> Source:
        name = self._name if last else f"{self._name}/{len(self.parts)}"
        self.parts.append(Part(name, op, {**self._types, **attributes}, inputs))
        return Source(name, 0)

    def constant(self, value: Any, dtype: Any = np.float32) -> Source:
        self.parts.append(_constant(f"{self._name}/{len(self.parts)}", np.asarray(value, dtype)))
        return Source(self.parts[-1].name, 0)


def _softplus(part: Part) -> list[Part]:
    """log(1 + exp(x)) = max(x, 0) + log(1 + y), where y = exp(-|x|).

    OpenVINO's own kernel is off by 1e-5, far more than small results are, and it takes any log(1 + y) for it. So
    log(1 + y) = 2 artanh(s), where s = y / (2 + y) is 1/3 at most: a polynomial of the square of s.
    """
    spelling, (x,) = _Spelling(part), part.inputs
    made, constant = spelling.made, spelling.constant
    y = made("Exp", made("Neg", made("Abs", x)))
    s = made("RealDiv", y, made("AddV2", y, constant(2.0)))
    square = made("Mul", s, s)
    *others, highest = _artanh_coefficients()
    total = constant(highest)
    for coefficient in reversed(others):
        total = made("AddV2", made("Mul", total, square), constant(coefficient))
    made("AddV2", made("Relu", x), made("Mul", total, s), last=True)
    return spelling.parts


def _pointwise(part: Part) -> list[Part]:
    """A transposed convolution that changes the channels alone, as a convolution."""
    spelling, (_, filters, values) = _Spelling(part), part.inputs
    swapped = spelling.made("Transpose", filters, spelling.constant([0, 1, 3, 2], np.int32))
    spelling.made("Conv2D", values, swapped, last=True, **part.attributes)
    return spelling.parts


def _keeping_nan(part: Part) -> list[Part]:
    """A node of an op that drops NaN, by ops that keep it: comparisons, of which none holds for NaN."""
    spelling, x, op = _Spelling(part), part.inputs[0], part.op
    made, constant = spelling.made, spelling.constant
    if op in ("Relu", "Relu6"):
        zero = constant(0.0)
        found = made("SelectV2", made("Less", x, zero), zero, x, last=op == "Relu")
        if op == "Relu6":
            six = constant(6.0)
            made("SelectV2", made("Less", six, found), six, found, last=True)
    elif op == "Exp":
        made("SelectV2", made("Equal", x, x), made("Exp", x), x, last=True)
    elif op in ("Maximum", "Minimum"):
        y = part.inputs[1]
        chosen = made("SelectV2", made("Less", *((x, y) if op == "Maximum" else (y, x))), y, x)
        made("SelectV2", made("Equal", y, y), chosen, y, last=True)
    else:  # Max and Min, along axes
        wanted = made(op, *part.inputs, **part.attributes)
        marks = made("SelectV2", made("Equal", x, x), constant(0.0), constant(1.0))
        count = made("Sum", marks, part.inputs[1], **part.attributes)
        made("SelectV2", made("Less", count, constant(0.5)), wanted, constant(np.nan), last=True)
    return spelling.parts


@cache
def _artanh_coefficients() -> list[float]:
    """Those of the polynomial p for which s p(s²) is 2 artanh(s), within 1e-8 of it, for s from 0 to 1/3."""

    def wanted(square: Any) -> Any:
        return 2 * np.arctanh(np.sqrt(square)) / np.sqrt(square)

    fitted = np.polynomial.Chebyshev.interpolate(wanted, 4, domain=[0, 1 / 9])
    return [float(c) for c in fitted.convert(kind=np.polynomial.Polynomial).coef]


def _subtracted(part: Part, constants: Mapping[str, Any]) -> list[Part]:
    """x + c as x - (-c): of log(1 + exp(x)) OpenVINO makes its own kernel of Softplus."""
    x, c = part.inputs if part.inputs[1].name in constants else part.inputs[::-1]
    negative = _constant(f"{part.name}/negative", np.negative(constants[c.name]))
    return [negative, part._replace(op="Sub", inputs=(x, Source(negative.name, 0)))]


def convert(program: ClusterProgram, ranks: Sequence[int], weights: Mapping[str, Any]) -> Model:
    """The cluster as an OpenVINO model, for inputs of these ranks and these weights.

    Its outputs are the program's, each once, in their order; then those of what must not be fused.
    """
    keeping = to_keep_nan(program.parts, program.constants | dict(weights))
    logged = {part.inputs[0].name for part in program.parts if part.op == "Log"}

    def spelled(part: Part) -> list[Part]:
        if (
            part.op in ("Add", "AddV2")
            and part.name in logged
            and any(s.name in program.constants for s in part.inputs)
        ):
            return _subtracted(part, program.constants)
        if part.name in keeping:
            return _keeping_nan(part)
        return _spelled(part)

    parts = [
        *(_constant(name, value) for name, value in (program.constants | dict(weights)).items()),
        *(_placeholder(given, rank) for given, rank in zip(program.inputs, ranks, strict=True)),
        *(other for part in program.parts for other in spelled(part)),
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
