"""The shapes of all of a cluster's tensors, and what a run costs, from the shapes of what goes in.

Sizes that are computed (`Shape`, slices of it, their product, packed as the target of a Reshape) are values, which
the interpreter's own kernels compute here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines.openvino.compiled import Input, Part, Source
from graphrack.engines.openvino.cost import Cost, cost_of, with_any_weights
from graphrack.engines.openvino.ops import INEXACT, RULES, SHAPES
from graphrack.engines.openvino.shapes import OUTPUT_SHAPES, Misfit, Shape
from graphrack.formats.dtypes import FLOAT
from graphrack.ops import registry
from graphrack.ops.registry import Kernel

# Values are those of shapes: a few numbers.
_MAX_VALUE = 4096
_MAX_BROUGHT = 64
# OpenVINO's CPU plugin keeps 64 bit integers in 32 bits, and some kernels of integers compute with floats.
_MAX_INT = 2**31 - 1
_MAX_EXACT = 2**24

Array = np.ndarray[Any, Any]


class Known(NamedTuple):
    """What is known of a tensor: its shape, and its value where that is an integer which a size may depend on."""

    shape: Shape
    value: Any = None


class Inference:
    """The shapes of a cluster's tensors, given those of its inputs.

    `fluid`: the weights are others in every run, and no constants of what is compiled.

    Attributes:
        brought: positions of inputs on whose values shapes depend.
        shapes: of all tensors, on the inputs seen last.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        constants: dict[str, Array],
        inputs: Sequence[Input],
        weights: Sequence[str],
        *,
        fluid: bool,
    ):
        self.shapes: dict[Source, Shape] = {}
        self._parts = tuple(parts)
        self._constants = {name: Known(np.shape(value), np.asarray(value)) for name, value in constants.items()}
        self._inputs = tuple(inputs)
        self._weights = tuple(weights)
        self._fluid = fluid and bool(weights)
        self._kernels = [_kernel(part) for part in parts]
        asked = _asked_for(parts)
        self.brought = tuple(i for i, given in enumerate(inputs) if given.name in asked)

    def key(self, inputs: Sequence[Array]) -> Hashable:
        """What the shapes depend on, of the inputs."""
        shapes = tuple([a.shape for a in inputs])
        return (shapes, *(inputs[i].tobytes() for i in self.brought)) if self.brought else shapes

    def run(self, inputs: Sequence[Array], weights: Sequence[Array]) -> Cost:
        """What a run on these inputs costs.

        Raises:
            Misfit: they don't fit the nodes, or a tensor would be empty.
        """
        known: dict[Source, Known] = {Source(name, 0): value for name, value in self._constants.items()}
        for i, (given, value) in enumerate(zip(self._inputs, inputs, strict=True)):
            if given.shape is not None and not _agrees(value.shape, given.shape):
                raise Misfit
            known[Source(given.name, 0)] = Known(value.shape, _brought(value) if i in self.brought else None)
        known.update((Source(name, 0), Known(w.shape)) for name, w in zip(self._weights, weights, strict=True))
        if any(0 in one.shape for one in known.values()):
            raise Misfit
        cost = Cost(0.0, 0.0)
        for part, kernel in zip(self._parts, self._kernels, strict=True):
            sources = [known[source] for source in part.inputs]
            outputs = _outputs(part, kernel, sources)
            for i, output in enumerate(outputs):
                if 0 in output.shape:
                    raise Misfit
                known[Source(part.name, i)] = output
            own = cost_of(part, [s.shape for s in sources], outputs[0].shape)
            cost += with_any_weights(part, own) if self._fluid else own
        self.shapes = {source: one.shape for source, one in known.items()}
        return cost


def _agrees(shape: Shape, static: Sequence[int | None]) -> bool:
    return len(shape) == len(static) and all(s is None or s == n for n, s in zip(shape, static, strict=True))


def _brought(value: Array) -> Array:
    if value.size > _MAX_BROUGHT or (np.abs(value) > _MAX_INT).any():
        raise Misfit
    return value


def _kernel(part: Part) -> Kernel | None:
    """The interpreter's kernel for a node whose values may be computed here."""
    op = registry.lookup(part.op)
    if op is None:
        return None
    count = part.attributes.get("num_split", part.attributes.get("num", 1))
    return op.bind(part.name, part.attributes, {"input_count": len(part.inputs), "output_count": count})


def _outputs(part: Part, kernel: Kernel | None, sources: Sequence[Known]) -> list[Known]:
    shape_of = OUTPUT_SHAPES.get(part.op)
    if shape_of is not None:
        try:
            shape = shape_of([s.shape for s in sources], [s.value for s in sources], part.attributes)
        except Exception:  # the interpreter says what is wrong
            raise Misfit from None
    if part.op in SHAPES or all(s.value is not None and s.value.size <= _MAX_VALUE for s in sources):
        given = [np.broadcast_to(np.int32(0), s.shape) if part.op in SHAPES else s.value for s in sources]
        results = [np.asarray(result) for result in _run(kernel, given, part)]
        _check_range(part, [*given, *results] if part.op in INEXACT else results)
        return [Known(result.shape, result) for result in results]
    if part.op in INEXACT and part.attributes.get("T") != FLOAT:
        raise Misfit
    if shape_of is not None:
        return [Known(shape)]
    # What is left gives views: its kernel runs on one number that stands for all.
    at = 1 if part.op == "Split" else 0
    rule = RULES[part.op]
    if any(sources[i].value is None for i in (*rule.fixed, *rule.values)):
        raise Misfit
    stand_ins = [s.value for s in sources]
    stand_ins[at] = np.broadcast_to(np.float32(0), sources[at].shape)
    return [Known(np.shape(result)) for result in _run(kernel, stand_ins, part)]


def _check_range(part: Part, values: Sequence[Any]) -> None:
    most = _MAX_EXACT if part.op in INEXACT else _MAX_INT
    whole = [value for value in values if value.dtype.kind == "i" and value.size]
    if any(abs(int(extreme)) > most for value in whole for extreme in (value.min(), value.max())):
        raise Misfit


def _run(kernel: Kernel | None, given: Sequence[Any], part: Part) -> Sequence[Any]:
    if kernel is None:
        raise Misfit
    try:
        with np.errstate(all="ignore"):
            result = kernel(*given)
    except Exception:  # the interpreter says what is wrong
        raise Misfit from None
    several = RULES[part.op].outputs
    return result if several else [result]


def _asked_for(parts: Sequence[Part]) -> set[str]:
    """The names of nodes and inputs of which a shape depends on the value."""
    asked: set[str] = set()
    for part in reversed(parts):
        if part.op in SHAPES:
            continue
        rule, count = RULES[part.op], len(part.inputs)
        whole = part.name in asked
        sizes = {i % count for i in (*rule.values, *rule.fixed)}
        asked.update(source.name for i, source in enumerate(part.inputs) if whole or i in sizes)
    return asked
