"""What goes wrong in OpenVINO's CPU plugin (2026.4), and the nodes that have to be kept from it.

It fuses what is computed from a reduction's result, value by value, into the reduction. Where another operand is a
constant with a value for each row or column, it takes the wrong ones. A reduction whose result is an output of the
model too is not fused with what follows.

A depthwise convolution's product with a constant is made a product of its filters, those of every convolution that
takes the same ones, unless they are constants. Here, too, an output of the model is left as it is.

A transposed convolution with a filter of 1 × 1 at stride 1 never ends, once it has run on an input of another size.
It is a convolution with the filter's channels swapped.

A Transpose is moved behind what is computed value by value, and other operands get one of their own then: of a matrix
of truths it takes longer than all the rest. One that moves axes of one element alone, as where all pairs of two lists
are compared, changes no value's place: it is a Reshape, where sizes are known.

Where sizes are known when it is compiled, attention (products, a softmax between them) is made one kernel; adding to
its result what is computed value by value, and using the sum twice, then ends the process. It doesn't while sizes are
unknown, nor where kernels are not generated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack.engines.openvino.compiled import Part, Source
from graphrack.engines.openvino.shapes import ELEMENTWISE

if TYPE_CHECKING:
    from openvino import Model

APART = "_apart"
"""The attribute that a node gets which is to be kept from being fused."""

POINTWISE = "_pointwise"
"""The attribute of a transposed convolution that changes the channels alone."""

AXES = "_axes"
"""The attribute of a bias's gradient: the axes that it sums over."""

TARGET = "_target"
"""The attribute of a Transpose that is a Reshape: the shape of its result."""

_REDUCTIONS = frozenset(("Sum", "Mean", "Max", "Min", "Prod", "BiasAddGrad"))
_PRODUCTS = frozenset(("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "MatMul"))
_EXPONENTIALS = frozenset(("Exp", "Softmax"))
_DEPTHWISE = "DepthwiseConv2dNative"
# These may be merged into a reduction first.
_RESHAPED = frozenset(("Reshape", "Squeeze", "ExpandDims"))

Shape = tuple[int, ...]


def marked(
    parts: Sequence[Part],
    constants: Mapping[str, Any],
    weights: Collection[str],
    shapes: Mapping[Source, Shape],
    *,
    fixed: bool,
) -> list[Part]:
    """The nodes of a cluster, with `APART`, `POINTWISE`, `AXES` or `TARGET` where these apply.

    Attributes:
        constants: by name; the axes of reductions are among them.
        weights: names of what is a constant once it is compiled.
        shapes: of all tensors, in some run.
        fixed: whether they are those of every run.
    """
    apart = _to_keep_apart(parts, constants, weights, shapes)

    def one(part: Part) -> Part:
        found: dict[str, Any] = {APART: True} if part.name in apart else {}
        if part.op == "Conv2DBackpropInput" and _is_pointwise(part, shapes[part.inputs[1]]):
            found[POINTWISE] = True
        if part.op == "BiasAddGrad":
            found[AXES] = _all_but_channels(part, len(shapes[part.inputs[0]]))
        if fixed and part.op == "Transpose" and _moves_ones(shapes[part.inputs[0]], constants[part.inputs[1].name]):
            found[TARGET] = list(shapes[Source(part.name, 0)])
        return part._replace(attributes={**part.attributes, **found}) if found else part

    return [one(part) for part in parts]


def may_hold_attention(ops: Sequence[str]) -> bool:
    """Whether nodes of these ops, TensorFlow's or OpenVINO's, may be what OpenVINO makes one kernel of attention."""
    return not _EXPONENTIALS.isdisjoint(ops) and sum(op in _PRODUCTS for op in ops) > 1


def without_kernels_that_fail(model: Model) -> dict[str, str]:
    """The setting that a model needs which holds attention of known sizes: nothing where it doesn't."""
    known = [op.get_type_name() for op in model.get_ops() if op.outputs() and op.output(0).partial_shape.is_static]
    return {"SNIPPETS_MODE": "DISABLE"} if may_hold_attention(known) else {}


def _is_pointwise(part: Part, filters: Shape) -> bool:
    return filters[:2] == (1, 1) and all(stride == 1 for stride in part.attributes["strides"])


def _moves_ones(shape: Shape, order: Any) -> bool:
    """Whether what isn't of one element stays in order."""
    kept = [axis for axis in np.ravel(order).tolist() if shape[axis] != 1]
    return kept == sorted(kept)


def _all_but_channels(part: Part, rank: int) -> list[int]:
    first = part.attributes["data_format"].startswith(b"NC")
    return [axis for axis in range(rank) if axis != (1 if first else rank - 1)]


def _to_keep_apart(
    parts: Sequence[Part],
    constants: Mapping[str, Any],
    weights: Collection[str],
    shapes: Mapping[Source, Shape],
) -> set[str]:
    """The reductions that would be fused with operands of several values, and filters' convolutions with factors."""
    fixed = {Source(name, 0) for name in (*constants, *weights)}
    following: dict[Source, list[Part]] = {}
    for part in parts:
        if all(source in fixed for source in part.inputs):
            fixed.add(Source(part.name, 0))
        for source in part.inputs:
            following.setdefault(source, []).append(part)
    found = {
        part.name
        for part in parts
        if part.op == _DEPTHWISE
        and part.inputs[1] not in fixed
        and sum(other.op == _DEPTHWISE for other in following[part.inputs[1]]) > 1
    }
    for part in parts:
        if part.op not in _REDUCTIONS or Source(part.name, 0) in fixed:
            continue
        stack = [(Source(part.name, 0), _reduced_axes(part, constants, shapes))]
        seen = set()
        while stack and part.name not in found:
            source, ones = stack.pop()
            for user in following.get(source, ()):
                if user.name in seen or user.op not in ELEMENTWISE | _RESHAPED:
                    continue
                seen.add(user.name)
                if user.op in _RESHAPED:
                    ones = set()
                elif any(_is_fused(shapes[source], ones, shapes[s]) for s in user.inputs if s in fixed):
                    found.add(part.name)
                stack.append((Source(user.name, 0), ones))
    return found


def _reduced_axes(part: Part, constants: Mapping[str, Any], shapes: Mapping[Source, Shape]) -> set[int]:
    """Axes of the result, counted from the last, -1, that are 1 in every run."""
    if not part.attributes.get("keep_dims"):
        return set()
    rank = len(shapes[part.inputs[0]])
    return {int(axis) % rank - rank for axis in np.ravel(constants[part.inputs[1].name])}


def _is_fused(shape: Shape, ones: Collection[int], other: Shape) -> bool:
    """Whether an operand has several values, and doesn't stretch the result along an axis that was reduced."""
    if all(size == 1 for size in other) or len(other) > len(shape):
        return False
    return not any(-axis <= len(other) and other[axis] != 1 for axis in ones)
