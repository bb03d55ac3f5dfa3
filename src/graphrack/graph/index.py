"""A graph made ready for look-ups: nodes by name, who consumes what, variables, static types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from graphrack.errors import GraphError, UnknownName, closest
from graphrack.formats import op_table
from graphrack.formats.dtypes import UNKNOWN, DType, dtype_of
from graphrack.formats.protos.graph_pb2 import FunctionDefLibrary, GraphDef, NodeDef
from graphrack.formats.tensor import shape_from_proto, tensor_from_proto
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph.names import TensorName, parse_input, parse_tensor

Shape = tuple[int | None, ...] | None

PLACEHOLDERS = frozenset(("Placeholder", "PlaceholderV2", "PlaceholderWithDefault"))
REF_VARIABLES = frozenset(("VariableV2", "Variable", "AutoReloadVariable"))
RESOURCE_VARIABLES = frozenset(("VarHandleOp",))

# Before this GraphDef version a placeholder's scalar shape meant that nothing was known of it.
PLACEHOLDER_SHAPES_SINCE = 24

# The shared name that TensorFlow gives to resources which share nothing.
ANONYMOUS = "cd2c89b7-88b7-44c8-ad83-06c2a9158347"


class Variable(NamedTuple):
    """A variable's node: what it is called, what its values are kept under, what fits into it."""

    name: str
    key: str
    dtype: DType
    shape: Shape
    is_resource: bool

    @property
    def spec(self) -> TensorSpec:
        """Its name, dtype and shape."""
        return TensorSpec(self.name, self.dtype, self.shape)


class GraphIndex:
    """Look-ups over one GraphDef, which must not change any more.

    Attributes:
        contents: what long constants hold whose nodes only say where it lies; `constant` finds it.

    Raises:
        GraphError: two nodes have one name.
    """

    def __init__(self, graph_def: GraphDef, keeps: object = None, contents: np.ndarray[Any, Any] | None = None):
        self.graph_def = graph_def
        self.contents = contents
        self._keeps = keeps  # what stays in memory as long as this does
        self.constants: dict[str, Any] = {}
        """Decoded values of constants, by name."""
        self.nodes: dict[str, NodeDef] = {node.name: node for node in graph_def.node}
        if len(self.nodes) != len(graph_def.node):
            seen: set[str] = set()
            twice = next(n.name for n in graph_def.node if n.name in seen or seen.add(n.name))  # type: ignore[func-returns-value]
            raise GraphError(f"two nodes of the graph are called {twice!r}; names must differ")

    def __iter__(self) -> Iterator[NodeDef]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def library(self) -> FunctionDefLibrary:
        """The graph's functions."""
        return self.graph_def.library

    def node(self, name: str) -> NodeDef:
        """The operation of that name. Raises `UnknownName` with the closest names."""
        node = self.nodes.get(name)
        if node is None:
            raise UnknownName(f"the graph has no operation {name!r}{closest(name, self.nodes)}")
        return node

    def tensor(self, name: str) -> TensorName:
        """A tensor by name, `"op"` meaning `"op:0"`.

        Raises:
            UnknownName: there is no such operation, or it has no such output.
        """
        tensor = parse_tensor(name)
        node = self.nodes.get(tensor.op)
        if node is None:
            names = (f"{n}:0" for n in self.nodes) if ":" in name else iter(self.nodes)
            raise UnknownName(f"the graph has no tensor {name!r}{closest(name, names)}")
        count = self.output_count(node)
        if count is not None and tensor.output >= count:
            what = "no output" if count == 0 else f"{count} output{'s' if count > 1 else ''}, the last ':{count - 1}'"
            raise UnknownName(f"the graph has no tensor {name!r}: {node.op} {tensor.op!r} has {what}")
        return tensor

    def constant(self, node: NodeDef) -> Any:
        """The value of a Const, decoded once. Raises `GraphError` where it has none that can be."""
        found = self.constants.get(node.name)
        if found is None:
            if "value" not in node.attr:
                raise GraphError(f"Const {node.name!r} has no value; the graph is incomplete")
            try:
                found = tensor_from_proto(node.attr["value"].tensor, self.contents)
            except GraphError as error:
                raise GraphError(f"Const {node.name!r}: {error}") from error
            self.constants[node.name] = found
        return found

    def output_count(self, node: NodeDef) -> int | None:
        """How many outputs a node has; None where TensorFlow's op table doesn't know its op."""
        return output_count(node)

    def output_dtype(self, tensor: TensorName) -> DType | None:
        """The static dtype of a tensor; None where it can't be known."""
        node = self.nodes[tensor.op]
        attribute = "dtype" if node.op in PLACEHOLDERS or node.op in REF_VARIABLES else None
        if attribute and attribute in node.attr:
            return _dtype(node)
        types = _output_types(node)
        if types is None or tensor.output >= len(types) or not types[tensor.output]:
            return None
        try:
            return dtype_of(types[tensor.output])
        except KeyError:  # a type that there isn't: the run tells, looking doesn't fail
            return None

    def output_shape(self, tensor: TensorName) -> Shape:
        """The static shape that the graph itself states for a tensor; None where it states none."""
        node = self.nodes[tensor.op]
        attributes = node.attr
        if node.op in PLACEHOLDERS and "shape" in attributes:
            shape = shape_from_proto(attributes["shape"].shape)
            old = self.graph_def.versions.producer < PLACEHOLDER_SHAPES_SINCE
            if not (shape == () and old):
                return shape
        elif node.op == "Const" and "value" in attributes:
            return shape_from_proto(attributes["value"].tensor.tensor_shape)
        elif node.op in REF_VARIABLES and "shape" in attributes:
            return shape_from_proto(attributes["shape"].shape)
        if "_output_shapes" in attributes:
            shapes = attributes["_output_shapes"].list.shape
            if tensor.output < len(shapes):
                return shape_from_proto(shapes[tensor.output])
        return None

    def spec(self, name: str | TensorName) -> TensorSpec:
        """A tensor's name, dtype and shape, as far as the graph states them."""
        tensor = self.tensor(name) if isinstance(name, str) else name
        return TensorSpec(str(tensor), self.output_dtype(tensor) or UNKNOWN, self.output_shape(tensor))

    def outputs(self, node: NodeDef) -> list[TensorSpec]:
        """All outputs of a node."""
        return [self.spec(TensorName(node.name, i)) for i in range(self.output_count(node) or 0)]

    @cached_property
    def placeholders(self) -> list[NodeDef]:
        """The nodes made to be fed, in the graph's order."""
        return [node for node in self if node.op in PLACEHOLDERS]

    @cached_property
    def consumers(self) -> dict[str, list[str]]:
        """For each operation the names of those that take its outputs or wait for it."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for node in self:
            for text in node.input:
                source = found.get(parse_input(text)[0])
                if source is not None and (not source or source[-1] != node.name):
                    source.append(node.name)
        return found

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """The graph's variables by name, in the graph's order."""
        found = {}
        for node in self:
            if node.op in REF_VARIABLES or node.op in RESOURCE_VARIABLES:
                found[node.name] = variable(node)
        return found

    @cached_property
    def ops(self) -> dict[str, int]:
        """How many nodes there are of each op, function bodies counted once each."""
        counts: dict[str, int] = {}
        nodes: Iterable[NodeDef] = self
        for group in (nodes, *(function.node_def for function in self.library.function)):
            for node in group:
                counts[node.op] = counts.get(node.op, 0) + 1
        return counts


def output_count(node: NodeDef) -> int | None:
    """How many outputs a node has; None where TensorFlow's op table doesn't know its op."""
    if node.op in PLACEHOLDERS or node.op == "Const" or node.op in REF_VARIABLES:
        return 1
    if "_output_shapes" in node.attr:  # what a Saver writes into its MetaGraph; saves the op table
        return len(node.attr["_output_shapes"].list.shape)
    types = _output_types(node)
    return None if types is None else len(types)


def variable_key(node: NodeDef) -> str:
    """What a variable's or resource's value is kept under: container and shared name, else its own name."""
    shared = node.attr["shared_name"].s.decode("utf-8", "surrogateescape") if "shared_name" in node.attr else ""
    if shared == ANONYMOUS:
        shared = ""
    container = node.attr["container"].s.decode("utf-8", "surrogateescape") if "container" in node.attr else ""
    return f"{container}\0{shared or node.name}"


def variable(node: NodeDef) -> Variable:
    """What a variable's node declares."""
    shape = shape_from_proto(node.attr["shape"].shape) if "shape" in node.attr else None
    return Variable(node.name, variable_key(node), _dtype(node), shape, node.op in RESOURCE_VARIABLES)


def _dtype(node: NodeDef) -> DType:
    """The `dtype` that a variable or placeholder declares. Raises `GraphError` where it is none."""
    number = node.attr["dtype"].type if "dtype" in node.attr else 0
    try:
        return dtype_of(number)
    except KeyError:
        raise GraphError(
            f"node {node.name!r} ({node.op}) has the dtype number {number}, which is none of TensorFlow's; "
            "the graph is damaged"
        ) from None


def _output_types(node: NodeDef) -> Sequence[int] | None:
    """The type numbers of a node's outputs; None where its op isn't known. Raises `GraphError`."""
    try:
        return op_table.output_types(node)
    except GraphError as error:
        raise GraphError(f"node {node.name!r} ({node.op}): {error}; the graph is damaged") from None
