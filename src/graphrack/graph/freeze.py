"""A graph cut down to some outputs, with its variables' values in it as constants.

What becomes of the nodes that know variables, whether these are of TensorFlow 1's own kind (references) or
resources (handles):

    node                                     becomes
    VariableV2, VarHandleOp                  Const, under the variable's name
    ReadVariableOp                           Identity
    ResourceGather, ResourceGatherNd         GatherV2, GatherNd
    VariableShape                            Shape
    VarIsInitializedOp and the like          Const
    what passes handles or references on     the same for values: Identity, Switch, Merge, Enter, …
    If, While, Case, calls                   the same with functions made anew, which take values for handles

Control inputs go, but for those that put nodes into branches and loops of TensorFlow 1 (see `gates`), those that order
what is done to tables and stacks (see `writes`), and those of NoOps. Devices go, and wishes to stand beside other
nodes. Branches of known predicates are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.errors import GraphError, UninitializedError
from graphrack.formats import op_table
from graphrack.formats.dtypes import dtype_of
from graphrack.formats.protos.graph_pb2 import AttrValue, FunctionDef, GraphDef, NameAttrList, NodeDef, OpDef
from graphrack.formats.tensor import shape_to_proto, tensor_to_proto
from graphrack.graph.branches import Known, take_known_branches
from graphrack.graph.function_names import OutputNames, unique
from graphrack.graph.functions import FunctionLibrary, function_graph
from graphrack.graph.gates import ENTERS, EXITS, MERGES, NEXT_ITERATIONS, SWITCHES, Gates, through_identities
from graphrack.graph.index import REF_VARIABLES, RESOURCE_VARIABLES, GraphIndex, Shape, variable
from graphrack.graph.kept import QUESTIONS, VARIABLES, kept_nodes, known_value, table_initializers
from graphrack.graph.names import TensorName, parse_input
from graphrack.graph.scope import functions_of
from graphrack.graph.writes import Writes, writing_functions

MAX_BYTES = (1 << 31) - 1
"""What a message of protobuf's may take."""

_BOOL, _INT32, _RESOURCE = 10, 3, 20

_REF_PASSING = frozenset(n for n in SWITCHES | MERGES | ENTERS | EXITS | NEXT_ITERATIONS if n.startswith("Ref")) | {
    "RefIdentity"
}
_PASSING = SWITCHES | MERGES | ENTERS | EXITS | NEXT_ITERATIONS | {"Identity", "RefIdentity"}
_BRANCHING = frozenset(("If", "StatelessIf", "Case", "StatelessCase"))
_LOOPS = frozenset(("While", "StatelessWhile"))
_CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))


class Frozen(NamedTuple):
    """A frozen graph, and the operations that initialise the tables in it."""

    graph_def: GraphDef
    table_initializers: list[str]


class _Value(NamedTuple):
    """What a handle becomes: a value of that type number and shape."""

    dtype: int
    shape: Shape


def check_size(size: int, what: str) -> None:
    """Raises `GraphError` where something is more than one message can hold."""
    if size > MAX_BYTES:
        raise GraphError(
            f"{what} would take {size} bytes; a GraphDef of more than {MAX_BYTES} (protobuf's 2 GB) can't be read: keep"
            " the variables in a checkpoint, by exporting the model to a folder, which makes it a SavedModel"
        )


def freeze(
    index: GraphIndex,
    outputs: Sequence[TensorName | str],
    values: Mapping[str, Any],
    ops: Iterable[OpDef] = (),
    into: GraphDef | None = None,
    simplify: Callable[[dict[str, NodeDef], list[TensorName | str]], dict[str, NodeDef]] | None = None,
) -> Frozen:
    """The graph of what the outputs need, with variables' values as constants; `index` is left as it is.

    Attributes:
        outputs: tensors, and operations by name.
        values: variables' values by `Variable.key`.
        ops: definitions of ops that TensorFlow doesn't have.
        into: an empty graph to make it in (a MetaGraph's, say).
        simplify: what to make of the frozen nodes, given them and which of them have to stay.

    Raises:
        GraphError: the outputs need nodes that write variables; they lie in a branch that is never taken; the
            graph would be too large for a GraphDef; or the graph contradicts itself.
        UninitializedError: variables that the outputs need have no values.
    """
    ops = tuple(ops)

    def known(nodes: Mapping[str, NodeDef]) -> Known:
        return lambda text: known_value(nodes, values, text)

    nodes = take_known_branches(index.nodes, outputs, known, index.library, ops)
    freezer = _Freezer(index, values, ops)
    gates, writes = Gates(nodes), Writes(nodes, freezer.writing)
    initializers = table_initializers(nodes, kept_nodes(nodes, outputs, gates, writes))
    kept = kept_nodes(nodes, [*outputs, *initializers], gates, writes)
    _check_values(nodes, kept, values)
    result = GraphDef() if into is None else into
    result.versions.CopyFrom(index.graph_def.versions)
    if simplify is None:
        for _ in _Body(freezer, nodes, kept, gates, {}, result.node.add).frozen():
            pass  # each is made where it stays: weights are large
        freezer.check()
    else:
        simple = {node.name: node for node in _Body(freezer, nodes, kept, gates, {}, NodeDef).frozen()}
        freezer.check()
        simple = simplify(simple, [*outputs, *initializers])
        for name in list(simple):  # each is let go of as soon as the graph has it
            result.node.append(simple.pop(name))
    freezer.add_functions(result)
    return Frozen(result, initializers)


def _check_values(nodes: Mapping[str, NodeDef], kept: Iterable[str], values: Mapping[str, Any]) -> None:
    variables = [variable(nodes[name]) for name in kept if nodes[name].op in VARIABLES]
    missing = sorted(v.name for v in variables if v.key not in values)
    if missing:
        raise UninitializedError(
            f"variables have no values: {', '.join(map(repr, missing))}; give them some with restore(checkpoint) or"
            " initialize()"
        )
    size = sum(int(np.asarray(values[key]).nbytes) for key in {v.key for v in variables})
    check_size(size + sum(nodes[name].ByteSize() for name in kept), "the frozen graph")


class _Freezer:
    """What the frozen graph and its functions have in common."""

    def __init__(self, index: GraphIndex, values: Mapping[str, Any], ops: Iterable[OpDef]):
        self.values = values
        self.library_def = index.library
        self.library = FunctionLibrary(index.library, ops)
        self.writing = writing_functions(self.library.functions)
        self.troubles: list[str] = []
        self._taken = set(self.library.functions)
        self._made: dict[tuple[str, bytes, tuple[_Value | None, ...]], tuple[str, list[_Value | None]]] = {}
        self._functions: dict[str, FunctionDef] = {}

    def check(self) -> None:
        """Raises `GraphError` for nodes that need a variable where there is none any more."""
        if self.troubles:
            raise GraphError(
                "the outputs need nodes that change variables, or need more of them than their values:"
                f" {', '.join(self.troubles)}; a frozen graph has no variables: choose outputs that don't need these"
            )

    def function(self, call: NameAttrList, held: Sequence[_Value | None]) -> tuple[str, list[_Value | None]]:
        """The function to call where some arguments are values now, and which of its outputs are."""
        if not any(held):
            self._keep(call.name)
            return call.name, []
        key = (call.name, call.SerializeToString(deterministic=True), tuple(held))
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self._specialized(call, held)
        return found

    def _keep(self, name: str) -> None:
        """Keeps a function as it is, and those that it names."""
        function = self.library.functions.get(name)
        if function is None or name in self._functions:
            return
        self._functions[name] = function
        for node in function.node_def:
            if node.op in VARIABLES:
                self.troubles.append(f"{node.name!r} ({node.op} in function {name!r})")
            self._keep(node.op)
            for called in functions_of(node):
                self._keep(called.name)

    def _specialized(self, call: NameAttrList, held: Sequence[_Value | None]) -> tuple[str, list[_Value | None]]:
        old = self.library.functions.get(call.name)
        graph = function_graph(self.library, call.name, dict(call.attr))
        if len(graph.inputs) != len(held):
            raise GraphError(f"function {call.name!r} takes {len(graph.inputs)} tensors; it is called with {len(held)}")
        assert old is not None  # function_graph has found it
        nodes = {node.name: node for node in graph.graph_def.node}
        arguments = [text.rpartition(":")[0] for text in graph.inputs]
        outputs = [TensorName(*parse_input(text)) for text in graph.outputs]

        def known(now: Mapping[str, NodeDef]) -> Known:
            return lambda text: known_value(now, {}, text)

        nodes = take_known_branches(nodes, outputs, known, self.library_def, ())
        gates, writes = Gates(nodes), Writes(nodes, self.writing)
        done = [name for name in graph.control_outputs if writes.follows_write(name)]
        kept = kept_nodes(nodes, [*outputs, *done], gates, writes)
        values = {name: value for name, value in zip(arguments, held, strict=True) if value is not None}
        body = _Body(self, nodes, kept, gates, values, NodeDef)

        made = FunctionDef()
        made.signature.name = unique(f"{call.name}_frozen", self._taken)
        made.signature.is_stateful = old.signature.is_stateful
        for name, attr in old.attr.items():
            if name != "_input_shapes":
                made.attr[name].CopyFrom(attr)
        types: dict[str, list[int]] = {}
        for i, name in enumerate(arguments):
            value = held[i]
            number = value.dtype if value is not None else nodes[name].attr["dtype"].type
            made.signature.input_arg.add(name=name, type=number)
            types[name] = [number]
            if value is None and len(arguments) == len(old.signature.input_arg) and i in old.arg_attr:
                made.arg_attr[i].CopyFrom(old.arg_attr[i])
        frozen = {node.name: node for node in body.frozen() if node.name not in types}
        names = OutputNames(self.library.definition, frozen, types)
        for node in frozen.values():
            inputs = [names.of(text) for text in node.input]
            del node.input[:]
            node.input.extend(inputs)
            made.node_def.append(node)
        plain = [arg.name for arg in old.signature.output_arg]
        for i, (op, output) in enumerate(outputs):
            name = plain[i] if len(plain) == len(outputs) else f"output_{i}"
            made.signature.output_arg.add(name=name, type=names.type_of(op, output))
            made.ret[name] = names.of(f"{op}:{output}")
        for name in done:
            made.signature.control_output.append(name)
            made.control_ret[name] = name
        self._functions[made.signature.name] = made
        return made.signature.name, [body.held(op, output) for op, output in outputs]

    def add_functions(self, graph: GraphDef) -> None:
        """Puts the functions that the frozen graph needs into its library."""
        graph.library.function.extend(self._functions.values())


class _Body:
    """The nodes of a graph, or of one function, while they are frozen.

    `arguments` are those of a function's that were handles, and are values now; `new` makes an empty node.
    """

    def __init__(
        self,
        freezer: _Freezer,
        nodes: Mapping[str, NodeDef],
        kept: Mapping[str, list[str]],
        gates: Gates,
        arguments: Mapping[str, _Value],
        new: Callable[[], NodeDef],
    ):
        self._freezer = freezer
        self._nodes = nodes
        self._kept = kept
        self._gates = gates
        self._arguments = arguments
        self._new = new
        self._held: dict[tuple[str, int], _Value | None] = {}
        self._taken = set(nodes)
        self._constants: dict[str, str] = {}

    def frozen(self) -> Iterator[NodeDef]:
        """The new nodes, in order."""
        for name, waits in self._kept.items():
            yield from self._frozen(self._nodes[name], waits)

    # Handles

    def held(self, name: str, output: int) -> _Value | None:
        """The value that a handle has become; None for a tensor that is no variable's handle."""
        key = (name, output)
        if key not in self._held:
            self._held[key] = None  # what a loop's handle is when only the loop itself says so
            self._held[key] = self._find(self._nodes[name], output)
        return self._held[key]

    def _find(self, node: NodeDef, output: int) -> _Value | None:
        if node.name in self._arguments:
            return self._arguments[node.name]
        if node.op in RESOURCE_VARIABLES:
            return self._value(node)
        data = self._data(node)
        if node.op in _PASSING:
            if node.attr["T"].type != _RESOURCE:
                return None
            sources = data if node.op in MERGES else data[:1]
            return next((v for v in (self.held(*parse_input(t)) for t in sources) if v is not None), None)
        if (node.op == "IdentityN" or node.op in _LOOPS) and output < len(data):
            return self.held(*parse_input(data[output]))
        if node.op in _BRANCHING or node.op in _CALLS:
            types = node.attr["Tout"].list.type
            if output < len(types) and types[output] == _RESOURCE:
                found = [self._called(f, node)[1] for f in functions_of(node)]
                return next((outs[output] for outs in found if outs and outs[output]), None)
        return None

    def _value(self, node: NodeDef) -> _Value:
        declared = variable(node)
        return _Value(declared.dtype.number, np.shape(self._freezer.values[declared.key]))

    def _reference(self, text: str) -> bool:
        """Whether an input is a reference to a variable."""
        node = self._nodes[parse_input(text)[0]]
        for _ in range(len(self._nodes)):
            if node.op in REF_VARIABLES:
                return True
            if node.op not in _REF_PASSING:
                return False
            node = self._nodes[parse_input(node.input[0])[0]]
        return False

    def _data(self, node: NodeDef) -> list[str]:
        return [text for text in node.input if not text.startswith("^")]

    # Nodes

    def _frozen(self, node: NodeDef, waits: list[str]) -> Iterator[NodeDef]:
        data = self._data(node)
        if node.op in VARIABLES:
            yield self._constant(node, waits)
            return
        if node.op in QUESTIONS:
            source = self._nodes[through_identities(self._nodes, parse_input(data[0]))[0]]
            has = source.op not in VARIABLES or variable(source).key in self._freezer.values
            yield _const(self._new(), node.name, np.array(has), _BOOL, waits)
            return
        made = self._new()
        made.CopyFrom(node)
        made.ClearField("device")
        del made.input[:]
        made.input.extend((*data, *waits))
        if "_class" in made.attr:
            del made.attr["_class"]
        held = [self.held(*parse_input(text)) for text in data]
        if any(held):
            yield from self._of_values(made, data, held)
        elif node.op in _REF_PASSING and self._reference(data[0]):
            made.op = node.op.removeprefix("Ref")
            yield made
        else:
            if self._takes_reference(node, data):
                self._trouble(node)
            for function in functions_of(made):
                self._freezer.function(function, ())
            yield made

    def _of_values(self, node: NodeDef, data: list[str], held: list[_Value | None]) -> Iterator[NodeDef]:
        """A node that took handles, for the values in their place."""
        first = held[0]
        if node.op in _PASSING and first is None:  # a Merge, whose first input comes round a loop
            first = next(value for value in held if value is not None)
        if node.op == "ReadVariableOp" and first:
            self._become(node, "Identity", T=first.dtype)
        elif node.op == "VariableShape" and first:
            out_type = node.attr["out_type"].type or _INT32
            self._become(node, "Shape", T=first.dtype, out_type=out_type)
        elif node.op == "ResourceGather" and first and not held[1]:
            dims, indices = node.attr["batch_dims"].i, node.attr["Tindices"].type
            source = parse_input(data[1])[0]
            axis = unique(f"{node.name}/axis", self._taken)
            yield _const(
                self._new(), axis, np.array(dims, np.int32), _INT32, [f"^{source}"] if self._gates.of(node.name) else []
            )
            self._become(node, "GatherV2", Tparams=first.dtype, Tindices=indices, Taxis=_INT32)
            node.attr["batch_dims"].i = dims
            node.input.insert(2, axis)
        elif node.op == "ResourceGatherNd" and first and not held[1]:
            self._become(node, "GatherNd", Tparams=first.dtype, Tindices=node.attr["Tindices"].type)
        elif node.op in _PASSING and first:
            node.op = node.op.removeprefix("Ref")
            node.attr["T"].type = first.dtype  # type: ignore[assignment]
            _forget_shapes(node)
        elif node.op == "IdentityN":
            self._retype(node.attr["T"], held)
            _forget_shapes(node)
        elif node.op in _LOOPS:
            self._loop(node, held)
        elif node.op in _BRANCHING or node.op in _CALLS:
            self._call(node, held)
        else:
            self._trouble(node)
        yield node

    def _loop(self, node: NodeDef, held: list[_Value | None]) -> None:
        for attr in ("cond", "body"):
            name, outputs = self._freezer.function(node.attr[attr].func, held)
            if attr == "body" and outputs != held:
                raise GraphError(f"loop {node.name!r} gives a variable's handle another meaning from round to round")
            node.attr[attr].func.Clear()
            node.attr[attr].func.name = name
        self._retype(node.attr["T"], held)
        shapes = node.attr["output_shapes"].list.shape
        if len(shapes) == len(held):
            for shape, value in zip(shapes, held, strict=True):
                if value is not None:
                    shape.CopyFrom(shape_to_proto(value.shape))
        _forget_shapes(node)

    def _call(self, node: NodeDef, held: list[_Value | None]) -> None:
        called = [self._called(function, node) for function in functions_of(node)]
        for function, (name, _) in zip(functions_of(node), called, strict=True):
            function.Clear()
            function.name = name
        self._retype(node.attr["Tin"], held[1:] if node.op in _BRANCHING else held)
        self._retype(node.attr["Tout"], called[0][1])
        _forget_shapes(node)

    def _called(self, function: NameAttrList, node: NodeDef) -> tuple[str, list[_Value | None]]:
        held = [self.held(*parse_input(text)) for text in self._data(node)]
        return self._freezer.function(function, held[1:] if node.op in _BRANCHING else held)

    def _constant(self, node: NodeDef, waits: list[str]) -> NodeDef:
        declared = variable(node)
        if not waits:
            first = self._constants.setdefault(declared.key, node.name)
            if first != node.name:  # another node of the same variable
                same = self._new()
                same.name, same.op = node.name, "Identity"
                same.input.append(first)
                same.attr["T"].type = declared.dtype.number  # type: ignore[assignment]
                return same
        return _const(self._new(), node.name, self._freezer.values[declared.key], declared.dtype.number, waits)

    @staticmethod
    def _become(node: NodeDef, op: str, **types: int) -> None:
        node.op = op
        shapes = AttrValue()
        has_shapes = "_output_shapes" in node.attr
        if has_shapes:
            shapes.CopyFrom(node.attr["_output_shapes"])
        node.ClearField("attr")
        for name, number in types.items():
            node.attr[name].type = number  # type: ignore[assignment]
        if has_shapes:
            node.attr["_output_shapes"].CopyFrom(shapes)

    @staticmethod
    def _retype(attr: AttrValue, held: Sequence[_Value | None]) -> None:
        for i, value in enumerate(held):
            if value is not None:
                attr.list.type[i] = value.dtype  # type: ignore[call-overload]

    def _takes_reference(self, node: NodeDef, data: list[str]) -> bool:
        definition = op_table.op_def(node.op)
        if definition is None or not any(arg.is_ref for arg in definition.input_arg):
            return False
        return any(
            self._reference(text) and op_table.input_is_ref(definition, i, node.attr) for i, text in enumerate(data)
        )

    def _trouble(self, node: NodeDef) -> None:
        self._freezer.troubles.append(f"{node.name!r} ({node.op})")


def _forget_shapes(node: NodeDef) -> None:
    for name in ("_output_shapes", "_read_only_resource_inputs"):
        if name in node.attr:
            del node.attr[name]


def _const(node: NodeDef, name: str, value: Any, number: int, waits: Iterable[str]) -> NodeDef:
    """Makes an empty node a constant."""
    node.name, node.op = name, "Const"
    node.input.extend(waits)
    node.attr["dtype"].type = number  # type: ignore[assignment]
    tensor_to_proto(value, dtype_of(number), node.attr["value"].tensor)
    return node
