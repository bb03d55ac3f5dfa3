"""A frozen graph made simpler: constants computed, identities left out, batch norms folded into what they follow.

With L a convolution or a matrix product of constant weights W, per output channel:

    (L(x, W) + b) * c         becomes      L(x, W*c) + b*c
    (L(x, W) + b) + c         becomes      L(x, W) + (b+c)
    batch norm of L(x, W) + b becomes      L(x, W*s) + ((b-mean)*s + offset),   s = scale / sqrt(variance + epsilon)

The first two are what the products and sums of `tf.nn.batch_normalization` come to, once what depends on
constants alone is computed. Only nodes outside of TensorFlow 1's conds and loops are touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.formats import op_table
from graphrack.formats.dtypes import DTYPES, dtype_of
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.formats.tensor import tensor_from_proto, tensor_to_proto
from graphrack.graph.function_names import unique
from graphrack.graph.gates import Gates, in_order
from graphrack.graph.names import TensorName, parse_input

__all__ = ["Compute", "fold"]

Array = np.ndarray[Any, Any]
Compute = Callable[[NodeDef, Sequence[Array]], "Sequence[Any] | None"]
"""The outputs of a node, given its inputs; None where it can't be computed now."""

# What is computed now stays in the file: it may take this much, or as much as what it is computed from.
_MAX_BYTES = 1 << 20
# Larger constants are decoded each time they are looked at.
_MAX_KEPT = 1 << 16

_IDENTITIES = frozenset(("Identity", "StopGradient", "PreventGradient", "Snapshot"))
_ADDS = frozenset(("Add", "AddV2", "BiasAdd"))
_NORMS = frozenset(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"))
_LINEAR = frozenset(("Conv2D", "DepthwiseConv2dNative", "MatMul"))
_FLOATS = frozenset((1, 2))  # float, double: half's few digits are not spent on this


def fold(nodes: dict[str, NodeDef], outputs: Iterable[TensorName | str], compute: Compute) -> dict[str, NodeDef]:
    """The nodes that compute the outputs in the end. The given ones are used up: weights are large.

    Attributes:
        nodes: of a frozen graph, by name.
        outputs: tensors, and operations by name: these keep their names.
        compute: what runs an op.
    """
    folder = _Folder(nodes, list(outputs), compute)
    folder.leave_out_identities()
    folder.compute_constants()
    folder.fold_norms()
    return folder.needed()


class _Linear(NamedTuple):
    """A convolution or matrix product of constant weights, and the constant that is added to it.

    Attributes:
        node: the product itself.
        weights: its constant weights.
        bias: by channel; None where there is none.
        channels: how many.
        rank: of its output.
        first: whether channels come second (NCHW), and not last.
    """

    node: NodeDef
    weights: Array
    bias: Array | None
    channels: int
    rank: int
    first: bool


class _Folder:
    def __init__(self, nodes: dict[str, NodeDef], outputs: list[TensorName | str], compute: Compute):
        self._nodes = nodes
        self._outputs = outputs
        self._roots = {o if isinstance(o, str) else o.op for o in outputs}
        self._compute = compute
        self._gates = Gates(nodes)
        self._taken = set(nodes)
        self._values: dict[str, Array] = {}
        self._consumers: dict[str, list[str]] = {}

    def needed(self) -> dict[str, NodeDef]:
        """What is left of the nodes, in order."""
        found: set[str] = set()
        stack = list(self._roots)
        while stack:
            name = stack.pop()
            if name not in found:
                found.add(name)
                stack.extend(parse_input(text)[0] for text in self._nodes[name].input)
        return {name: node for name, node in self._nodes.items() if name in found}

    def leave_out_identities(self) -> None:
        """Lets those that take from an identity take from where it does."""
        waited_for = {text[1:] for node in self._nodes.values() for text in node.input if text.startswith("^")}
        source: dict[str, str] = {}
        for node in in_order(self._nodes):
            name = node.name
            if node.op in _IDENTITIES and len(node.input) == 1 and name not in waited_for and name not in self._roots:
                source[name] = source.get(_plain(node.input[0]), node.input[0])
        for node in self._nodes.values():
            if any(_plain(text) in source for text in node.input):
                inputs = [source.get(_plain(text), text) for text in node.input]
                del node.input[:]
                node.input.extend(inputs)

    def compute_constants(self) -> None:
        """Makes constants of what depends on constants alone."""
        moved: dict[str, str] = {}
        for node in list(in_order(self._nodes)):
            self._take_from(node, moved)
            if not node.input or node.op == "Const" or self._gates.of(node.name):
                continue
            if not all(map(self._known, node.input)):
                continue
            definition = op_table.op_def(node.op)
            types = op_table.output_types(node)
            if definition is None or definition.is_stateful or not types or not all(t in DTYPES for t in types):
                continue
            if len(types) > 1 and any(not isinstance(o, str) and o.op == node.name and o.output for o in self._outputs):
                continue
            inputs = [self._value(text) for text in node.input]
            results = self._compute(node, inputs)
            if results is None or len(results) != len(types):
                continue
            arrays = [np.asarray(result) for result in results]
            if sum(a.nbytes for a in arrays) > max(_MAX_BYTES, sum(a.nbytes for a in inputs)):
                continue
            for i, array in enumerate(arrays):
                name = node.name if i == 0 else unique(f"{node.name}/{i}", self._taken)
                if i:
                    moved[f"{node.name}:{i}"] = name
                self._constant(name, array, types[i])

    def fold_norms(self) -> None:
        """Folds factors, sums and batch norms into convolutions and matrix products."""
        self._consumers = {}
        for node in self._nodes.values():
            for text in node.input:
                self._consumers.setdefault(parse_input(text)[0], []).append(node.name)
        for name in [node.name for node in in_order(self._nodes)]:
            if name not in self._nodes:  # weights that have been let go of
                continue
            node = self._nodes[name]
            if self._gates.of(name) or any(text.startswith("^") for text in node.input):
                continue
            if node.op in _NORMS:
                self._norm(node)
            elif node.op in ("Mul", "RealDiv"):
                self._factor(node)
            elif node.op in _ADDS or node.op == "Sub":
                self._sum(node)

    # Folding

    def _norm(self, node: NodeDef) -> None:
        # In training mode it computes mean and variance itself; V1 and V2 have training as their default.
        training = node.attr["is_training"].b if "is_training" in node.attr else True
        used = {t for c in self._consumers.get(node.name, ()) for t in self._nodes[c].input if _is_of(t, node.name)}
        used |= {str(o) for o in self._outputs if not isinstance(o, str) and o.op == node.name}
        if training or used - {node.name, f"{node.name}:0"} or node.name in self._outputs:
            return
        linear = self._linear(node.input[0], node)
        if linear is None or not all(map(self._known, node.input[1:])):
            return
        first = node.attr["data_format"].s == b"NCHW"
        scale, offset, mean, variance = (self._value(text).astype(np.float64) for text in node.input[1:])
        if first != linear.first or any(v.shape != (linear.channels,) for v in (scale, offset, mean, variance)):
            return
        epsilon = node.attr["epsilon"].f if "epsilon" in node.attr else 1e-4
        factor = scale / np.sqrt(variance + epsilon)
        bias = (0 if linear.bias is None else linear.bias.astype(np.float64)) - mean
        self._replace(node, linear, factor, bias * factor + offset)

    def _factor(self, node: NodeDef) -> None:
        found = self._with_constant(node, both_ways=node.op == "Mul")
        if found is None:
            return
        linear, factor = found
        with np.errstate(all="ignore"):
            if node.op == "RealDiv":
                factor = 1 / factor
            if np.all(np.isfinite(factor)):
                self._replace(node, linear, factor, None if linear.bias is None else linear.bias * factor)

    def _sum(self, node: NodeDef) -> None:
        found = self._with_constant(node, both_ways=node.op in ("Add", "AddV2"))
        if found is not None and found[0].bias is not None:
            linear, more = found
            self._replace(node, linear, None, linear.bias + (-more if node.op == "Sub" else more))

    def _with_constant(self, node: NodeDef, both_ways: bool) -> tuple[_Linear, Array] | None:
        """A node's linear input and its constant one, by channel."""
        for here, there in ((0, 1), (1, 0))[: 2 if both_ways else 1]:
            constant = self._known(node.input[there])
            if constant is None or constant.attr["dtype"].type not in _FLOATS:
                continue
            linear = self._linear(node.input[here], node)
            if linear is not None:
                vector = self._by_channel(self._value(node.input[there]), linear, node)
                if vector is not None:
                    return linear, vector.astype(np.float64)
        return None

    def _linear(self, text: str, consumer: NodeDef) -> _Linear | None:
        """The convolution or product that an input comes from, if nobody else takes from it."""
        node = self._alone(text, consumer)
        if node is None:
            return None
        if node.op in _LINEAR:
            return self._product(node)
        if node.op not in _ADDS:
            return None
        for here, there in ((0, 1), (1, 0))[: 1 if node.op == "BiasAdd" else 2]:
            constant = self._known(node.input[there])
            below = self._alone(node.input[here], node)
            if constant is None or below is None or below.op not in _LINEAR:
                continue
            linear = self._product(below)
            if linear is not None:
                bias = self._by_channel(self._value(node.input[there]), linear, node)
                if bias is not None:
                    return linear._replace(bias=bias)
        return None

    def _known(self, text: str) -> NodeDef | None:
        """The constant that an input is, if it waits for nothing: what it is used for may have to."""
        node = self._nodes.get(_plain(text))
        return node if node is not None and node.op == "Const" and not node.input else None

    def _alone(self, text: str, consumer: NodeDef) -> NodeDef | None:
        name = _plain(text)
        node = self._nodes.get(name)
        if node is None or name in self._roots or self._consumers.get(name) != [consumer.name]:
            return None
        return None if self._gates.of(name) or any(t.startswith("^") for t in node.input) else node

    def _product(self, node: NodeDef) -> _Linear | None:
        source = self._known(node.input[1])
        if source is None or source.attr["dtype"].type not in _FLOATS:
            return None
        weights = self._value(node.input[1])
        if node.op == "MatMul":
            if weights.ndim != 2:
                return None
            return _Linear(node, weights, None, weights.shape[0 if node.attr["transpose_b"].b else 1], 2, False)
        layout = node.attr["data_format"].s or b"NHWC"
        if weights.ndim != 4 or layout not in (b"NHWC", b"NCHW"):
            return None
        channels = weights.shape[3] if node.op == "Conv2D" else weights.shape[2] * weights.shape[3]
        return _Linear(node, weights, None, channels, 4, layout == b"NCHW")

    @staticmethod
    def _by_channel(value: Array, linear: _Linear, node: NodeDef) -> Array | None:
        """A constant that is added or multiplied, as a vector of a number for each channel; None where it is none."""
        n = linear.channels
        if node.op == "BiasAdd":
            first = node.attr["data_format"].s == b"NCHW"
            return value if value.shape == (n,) and (first == linear.first or linear.rank == 2) else None
        if value.size == 1 and value.ndim <= linear.rank:
            return np.broadcast_to(value.reshape(()), (n,))
        shape = (1,) * (linear.rank - value.ndim) + value.shape
        expected = (1, n, 1, 1) if linear.first else (1,) * (linear.rank - 1) + (n,)
        return value.reshape(n) if shape == expected else None

    def _replace(self, node: NodeDef, linear: _Linear, factor: Array | None, bias: Array | None) -> None:
        """Puts the product, its weights changed, and a bias in the place of a node, under that node's name."""
        product = NodeDef()
        product.CopyFrom(linear.node)
        dtype = product.attr["T"].type
        if factor is not None:
            weights = linear.weights
            if product.op == "DepthwiseConv2dNative":
                by = factor.reshape(weights.shape[2:])
            elif product.op == "MatMul" and product.attr["transpose_b"].b:
                by = factor[:, np.newaxis]
            else:
                by = factor
            name = unique(f"{node.name}/weights", self._taken)
            self._constant(name, (weights * by).astype(weights.dtype, copy=False), dtype)
            self._drop(product.input[1], linear.node)
            product.input[1] = name
        for text in node.input:
            self._consumers[parse_input(text)[0]].remove(node.name)
        shapes = node.attr["_output_shapes"].list.shape[:1] if "_output_shapes" in node.attr else []
        if bias is None:
            product.name = node.name
            final = product
        else:
            product.name = unique(f"{node.name}/product", self._taken)
            self._add(product)
            name = unique(f"{node.name}/bias", self._taken)
            self._constant(name, bias.astype(linear.weights.dtype), dtype)
            final = NodeDef(name=node.name, op="BiasAdd", input=[product.name, name])
            final.attr["T"].type = dtype
            if linear.first:
                final.attr["data_format"].s = b"NCHW"
            self._consumers[product.name] = [node.name]
            self._consumers[name] = [node.name]
        if factor is not None:
            self._consumers[product.input[1]] = [product.name]
        if shapes and final is not product:
            final.attr["_output_shapes"].list.shape.extend(shapes)
        self._add(final)

    def _drop(self, text: str, consumer: NodeDef) -> None:
        """Lets go of weights that nothing takes any more."""
        name = _plain(text)
        users = self._consumers[name]
        if consumer.name in users:
            users.remove(consumer.name)
        if not users and name not in self._roots:
            del self._nodes[name]
            self._values.pop(name, None)

    # Nodes

    def _add(self, node: NodeDef) -> None:
        self._nodes[node.name] = node

    def _constant(self, name: str, value: Array, number: int) -> None:
        node = NodeDef(name=name, op="Const")
        node.attr["dtype"].type = number  # type: ignore[assignment]
        tensor_to_proto(value, dtype_of(number), node.attr["value"].tensor)
        self._values.pop(name, None)
        self._add(node)

    def _value(self, text: str) -> Array:
        name = _plain(text)
        found = self._values.get(name)
        if found is None:
            found = tensor_from_proto(self._nodes[name].attr["value"].tensor)
            if found.nbytes <= _MAX_KEPT:
                self._values[name] = found
        return found

    @staticmethod
    def _take_from(node: NodeDef, moved: Mapping[str, str]) -> None:
        if any(text in moved for text in node.input):
            inputs = [moved.get(text, text) for text in node.input]
            del node.input[:]
            node.input.extend(inputs)


def _plain(text: str) -> str:
    """The node of an input that is a first output; else the input itself, which no node is called."""
    return text.removesuffix(":0")


def _is_of(text: str, name: str) -> bool:
    op, output = parse_input(text)
    return op == name and output >= 0
