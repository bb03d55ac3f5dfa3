"""Nodes as OpenVINO's frontend is given them: by other ops where it lacks one, or converts it wrongly or loosely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from openvino import Tensor

from graphrack.engines.openvino.compiled import Part, Source
from graphrack.engines.openvino.pitfalls import AXES, POINTWISE, TARGET
from graphrack.formats.dtypes import BOOL, FLOAT, INT32, from_numpy

# A constant that is shared has to stay as long as the model; small ones are copied.
_MIN_SHARED_BYTES = 1 << 14
_SWAPPED = {"Greater": "Less", "GreaterEqual": "LessEqual"}


def constant(name: str, value: Any) -> Part:
    """A node for a constant; a large one is shared with OpenVINO."""
    array = np.asarray(value)
    shared = _shareable(array) if array.nbytes >= _MIN_SHARED_BYTES and array.flags.c_contiguous else None
    tensor = Tensor(np.array(array, order="C") if shared is None else shared, shared_memory=shared is not None)
    return Part(name, "Const", {"value": tensor, "dtype": from_numpy(array.dtype)}, ())


def _shareable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """The same memory as OpenVINO shares it, which is only what may be written (it doesn't write it); else None."""
    if array.flags.writeable:
        return array
    view = array.view()
    try:
        view.flags.writeable = True  # of memory that is our own, as the contents of large graph files are
    except ValueError:
        return None
    return view


def spelled(part: Part) -> list[Part]:
    """What stands for a node: mostly the node itself."""
    if part.op in _SWAPPED:  # it takes a > b for the opposite of a <= b, which isn't so for NaN
        return [part._replace(op=_SWAPPED[part.op], inputs=part.inputs[::-1])]
    if POINTWISE in part.attributes:
        return _pointwise(part)
    if TARGET in part.attributes:
        return _reshape(part)
    by_others = _BY_OTHERS.get(part.op)
    return [part] if by_others is None else by_others(part)


class _Spelling:
    """The nodes that stand for one: the last has its name, the others have what no node's name holds, "~", in it."""

    def __init__(self, part: Part):
        self.parts: list[Part] = []
        self._name = part.name
        self._types = {"T": part.attributes["T"]}

    def made(self, op: str, *inputs: Source, last: bool = False, **attributes: Any) -> Source:
        name = self._name if last else f"{self._name}~{len(self.parts)}"
        self.parts.append(Part(name, op, {**self._types, **attributes}, inputs))
        return Source(name, 0)

    def constant(self, value: Any, dtype: Any = np.float32) -> Source:
        self.parts.append(constant(f"{self._name}~{len(self.parts)}", np.asarray(value, dtype)))
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


def _where(spelling: _Spelling, condition: Source) -> Source:
    """1 where a condition holds, 0 elsewhere."""
    return spelling.made("Cast", condition, SrcT=BOOL, DstT=FLOAT)


def _relu_grad(part: Part) -> list[Part]:
    spelling, (gradients, features) = _Spelling(part), part.inputs
    positive = spelling.made("Less", spelling.constant(0.0), features)
    spelling.made("Mul", gradients, _where(spelling, positive), last=True)
    return spelling.parts


def _relu6_grad(part: Part) -> list[Part]:
    spelling, (gradients, features) = _Spelling(part), part.inputs
    made, constant = spelling.made, spelling.constant
    within = made("LogicalAnd", made("Less", constant(0.0), features), made("Less", features, constant(6.0)))
    made("Mul", gradients, _where(spelling, within), last=True)
    return spelling.parts


def _leaky_relu_grad(part: Part) -> list[Part]:
    spelling, (gradients, features) = _Spelling(part), part.inputs
    made, constant = spelling.made, spelling.constant
    scaled = made("Mul", gradients, constant(part.attributes["alpha"]))
    made("SelectV2", made("Less", constant(0.0), features), gradients, scaled, last=True)
    return spelling.parts


def _tanh_grad(part: Part) -> list[Part]:
    spelling, (y, dy) = _Spelling(part), part.inputs
    rest = spelling.made("Sub", spelling.constant(1.0), spelling.made("Mul", y, y))
    spelling.made("Mul", dy, rest, last=True)
    return spelling.parts


def _sigmoid_grad(part: Part) -> list[Part]:
    spelling, (y, dy) = _Spelling(part), part.inputs
    rest = spelling.made("Sub", spelling.constant(1.0), y)
    spelling.made("Mul", spelling.made("Mul", dy, y), rest, last=True)
    return spelling.parts


def _bias_add_grad(part: Part) -> list[Part]:
    spelling = _Spelling(part)
    axes = spelling.constant(part.attributes[AXES], np.int32)
    spelling.made("Sum", part.inputs[0], axes, last=True, keep_dims=False)
    return spelling.parts


_BY_OTHERS: dict[str, Callable[[Part], list[Part]]] = {
    "BiasAddGrad": _bias_add_grad,
    "LeakyReluGrad": _leaky_relu_grad,
    "Relu6Grad": _relu6_grad,
    "ReluGrad": _relu_grad,
    "SigmoidGrad": _sigmoid_grad,
    "Softplus": _softplus,
    "TanhGrad": _tanh_grad,
}


def _pointwise(part: Part) -> list[Part]:
    """A transposed convolution that changes the channels alone, as a convolution."""
    spelling, (_, filters, values) = _Spelling(part), part.inputs
    swapped = spelling.made("Transpose", filters, spelling.constant([0, 1, 3, 2], np.int32))
    spelling.made("Conv2D", values, swapped, last=True, **part.attributes)
    return spelling.parts


def _reshape(part: Part) -> list[Part]:
    """A Transpose that leaves all values where they are."""
    spelling = _Spelling(part)
    shape = spelling.constant(part.attributes[TARGET], np.int32)
    spelling.made("Reshape", part.inputs[0], shape, last=True, Tshape=INT32)
    return spelling.parts


def keeping_nan(part: Part) -> list[Part]:
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


def subtracted(part: Part, constants: Mapping[str, Any]) -> list[Part]:
    """x + c as x - (-c): of log(1 + exp(x)) OpenVINO makes its own kernel of Softplus."""
    x, c = part.inputs if part.inputs[1].name in constants else part.inputs[::-1]
    negative = constant(f"{part.name}~negative", np.negative(constants[c.name]))
    return [negative, part._replace(op="Sub", inputs=(x, Source(negative.name, 0)))]
