"""How a function's nodes name tensors, and what that means in a graph.

A `FunctionDef` holds a signature (arguments, outputs, attributes), nodes, and which of their tensors are the
outputs.

    in a function        means                                          in a graph
    `x`                  argument `x`, all of its tensors               (the caller's tensors)
    `x:1`                its tensor 1                                   (the caller's tensor)
    `node:out`           output argument `out` of `node`, all of it     `node:i`, `node:i+1`, …
    `node:out:1`         tensor 1 of it                                 `node:i+1`
    `^node`              after `node`                                   `^node`

where `i` is how many tensors the node's output arguments before `out` have. Node attributes of the form `$T`
take the call's attribute `T`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphrack.errors import GraphError, closest
from graphrack.formats import op_table
from graphrack.formats.protos.graph_pb2 import AttrValue, FunctionDef, NodeDef, OpDef
from graphrack.graph.names import parse_input

__all__ = ["FunctionNames", "OutputNames", "fill_in", "unique"]


class FunctionNames:
    """What the names in one function, called with some attributes, mean in a graph.

    Attributes:
        nodes: the function's nodes by name.
        taken: their names, and those of the arguments.
        argument_nodes: for each tensor of the arguments, in order, the name that stands for it.
        argument_types: its type number.
        argument_of: the number of the argument that it belongs to.
    """

    def __init__(
        self,
        function: FunctionDef,
        attrs: Mapping[str, AttrValue],
        definition: Callable[[str], OpDef | None],
    ):
        self.nodes: dict[str, NodeDef] = {node.name: node for node in function.node_def}
        self.taken = set(self.nodes)
        self.argument_nodes: list[str] = []
        self.argument_types: list[int] = []
        self.argument_of: list[int] = []
        self._function = function.signature.name
        self._attrs = attrs
        self._definition = definition
        self._outputs: dict[str, dict[str, list[str]] | None] = {}
        self._known: dict[str, list[str]] = {}
        signature = function.signature
        for i, (name, types) in enumerate(op_table.argument_types(signature.input_arg, attrs, signature.name)):
            made = [unique(name if len(types) == 1 else f"{name}_{k}", self.taken) for k in range(len(types))]
            self._known[name] = made
            self._known.update((f"{name}:{k}", [one]) for k, one in enumerate(made))
            self.argument_nodes += made
            self.argument_types += types
            self.argument_of += [i] * len(types)

    def in_graph(self, text: str) -> list[str]:
        """The inputs of a graph's node that an input of a function's node stands for."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self._resolve(text)
        return found

    def _resolve(self, text: str) -> list[str]:
        if text.startswith("^"):
            name = text[1:]
            if name in self._known:  # an argument
                return [f"^{one}" for one in self._known[name]]
            if name in self.nodes:
                return [text]
            raise self._dangling(text, name)
        name, _, output = text.partition(":")
        node = self.nodes.get(name)
        if node is None:
            raise self._dangling(text, name)
        output, _, index = output.partition(":")
        outputs = self._outputs_of(node)
        if outputs is None:
            # An op that nobody defines: a plan that needs it will say so.
            return [f"{name}:{index}" if index.isdigit() and int(index) else name]
        if output in outputs:
            if not index:
                return outputs[output]
            if index.isdigit() and int(index) < len(outputs[output]):
                return [outputs[output][int(index)]]
        shown = ", ".join(f"{k!r} ({len(v)} tensors)" for k, v in outputs.items()) or "none"
        raise GraphError(
            f"function {self._function!r} takes {text!r}, but the outputs of {name!r} ({node.op}) are: {shown}"
        )

    def _dangling(self, text: str, name: str) -> GraphError:
        names = [*self.nodes, *(n for n in self._known if ":" not in n)]
        return GraphError(
            f"function {self._function!r} takes {text!r}, which is neither an argument nor a node of it"
            f"{closest(name, names)}"
        )

    def _outputs_of(self, node: NodeDef) -> dict[str, list[str]] | None:
        if node.name not in self._outputs:
            definition = self._definition(node.op)
            if definition is None:
                self._outputs[node.name] = None
            else:
                attr: Mapping[str, AttrValue] = node.attr
                if self._attrs:
                    attr = {k: _filled(v, self._attrs) for k, v in attr.items()}
                at, outputs = 0, {}
                for output, count in op_table.output_names(definition, attr):
                    outputs[output] = [f"{node.name}:{i}" if i else node.name for i in range(at, at + count)]
                    at += count
                self._outputs[node.name] = outputs
        return self._outputs[node.name]


class OutputNames:
    """How a function's nodes name the tensors that a graph's nodes call `node:i`.

    Attributes:
        define: gives an op's definition, None where nobody has one.
        nodes: the function's, by name.
        arguments: type numbers of its arguments' tensors.
    """

    def __init__(
        self, define: Callable[[str], OpDef | None], nodes: Mapping[str, NodeDef], arguments: Mapping[str, list[int]]
    ):
        self._define = define
        self._nodes = nodes
        self._arguments = arguments

    def of(self, text: str) -> str:
        """The function's name of a tensor, `^node` as it is. Raises `GraphError` for one that there isn't."""
        op, output = parse_input(text)
        if output < 0 or op in self._arguments:
            return text if output < 0 else op
        left = output
        for name, count in op_table.output_names(self._definition(op), self._nodes[op].attr):
            if left < count:
                return f"{op}:{name}:{left}"
            left -= count
        raise GraphError(f"{self._nodes[op].op} {op!r} has no output {output}, which its function takes")

    def type_of(self, op: str, output: int) -> int:
        """A tensor's type number."""
        if op in self._arguments:
            return self._arguments[op][output]
        definition = self._definition(op)
        found = op_table.argument_types(definition.output_arg, self._nodes[op].attr, definition.name)
        return [number for _, types in found for number in types][output]

    def _definition(self, op: str) -> OpDef:
        node = self._nodes[op]
        definition = self._define(node.op)
        if definition is None:
            raise GraphError(f"nobody defines the op {node.op} of {op!r}, a node of a function; it can't be frozen")
        return definition


def fill_in(node: NodeDef, attrs: Mapping[str, AttrValue]) -> None:
    """Puts a call's attributes in the place of a node's `$name`s."""
    for name, value in node.attr.items():
        filled = _filled(value, attrs)
        if filled is not value:
            node.attr[name].CopyFrom(filled)


def _filled(value: AttrValue, attrs: Mapping[str, AttrValue]) -> AttrValue:
    """An attribute with `$name`s replaced; the same object where it has none."""
    kind = value.WhichOneof("value")
    if kind == "placeholder":
        return attrs.get(value.placeholder, value)
    if kind == "func":
        functions = [value.func]
    elif kind == "list" and value.list.func:
        functions = list(value.list.func)
    else:
        return value
    if not any(f.attr for f in functions):
        return value
    result = AttrValue()
    result.CopyFrom(value)
    for function in [result.func] if kind == "func" else result.list.func:
        for name, inner in function.attr.items():
            filled = _filled(inner, attrs)
            if filled is not inner:
                function.attr[name].CopyFrom(filled)
    return result


def unique(name: str, taken: set[str]) -> str:
    """The name, or the first of `name_1`, `name_2`, … that isn't taken; it is from now on."""
    chosen, k = name, 0
    while chosen in taken:
        k += 1
        chosen = f"{name}_{k}"
    taken.add(chosen)
    return chosen
