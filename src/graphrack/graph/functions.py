"""Functions: calls replaced by what the function does, and functions as graphs of their own.

What a call makes sure of, and the nodes that replace it do too:

- What the call waits for happens before anything in the body that reads or changes state: its control
  inputs (`^c`), and its data inputs where these come after a change of state.
- What waits for the call, or takes its outputs, comes after all that the body does: its control outputs
  or, in functions of TensorFlow 1 that have none, its nodes that are there for nothing but their effect.

How the nodes of a function name tensors is told in `function_names`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from graphrack.errors import GraphError, closest
from graphrack.formats import op_table
from graphrack.formats.protos.graph_pb2 import (
    AttrValue,
    FunctionDef,
    FunctionDefLibrary,
    GraphDef,
    NameAttrList,
    NodeDef,
    OpDef,
)
from graphrack.formats.tensor import attr_to_proto
from graphrack.graph.function_names import FunctionNames, fill_in, unique
from graphrack.graph.names import parse_input

__all__ = ["FunctionGraph", "FunctionLibrary", "function_graph", "inline_functions"]

_CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))

# A short file can describe calls that double with each level. No real model comes near these.
_MAX_NODES = 1_000_000
_MAX_DEPTH = 200
_MAX_LOOPS = 50

# Ops that TensorFlow marks stateful, but that change nothing which anybody could see.
_READS = frozenset(
    (
        "AnonymousHashTable",
        "HashTableV2",
        "LookupTableFindV2",
        "LookupTableSizeV2",
        "Placeholder",
        "ReadVariableOp",
        "ResourceGather",
        "ResourceGatherNd",
        "VarHandleOp",
        "VarIsInitializedOp",
        "VariableShape",
    )
)
# Stateful ops with outputs that are there for their effect as much as for these.
_EFFECTS = frozenset(("EagerPyFunc", "Print", "PyFunc"))
_ENTERS = frozenset(("Enter", "RefEnter"))
_EXITS = frozenset(("Exit", "RefExit"))
_CONTROL_FLOW = _ENTERS | {"RefSwitch", "Switch"}

# Placement hints: they name nodes of the function, and mean nothing here.
_DROPPED_ATTRS = ("_class",)


class FunctionGraph(NamedTuple):
    """A function as a graph: feed `inputs`, fetch `outputs` and run `control_outputs`."""

    graph_def: GraphDef
    """The body, calls in it inlined. Its library is left empty: functions that nodes like `If` and `While`
    name are in the library that this function came from."""
    inputs: tuple[str, ...]
    """For each tensor of the function's arguments, in order, the Placeholder's output (`x:0`)."""
    outputs: tuple[str, ...]
    """For each tensor of the function's outputs, in order, its name in `graph_def`."""
    control_outputs: tuple[str, ...]
    """Operations that must run whenever the function is called, whatever is fetched."""


class _Body(NamedTuple):
    """A function's nodes in a graph's terms, calls inlined; arguments are names without nodes."""

    nodes: list[NodeDef]
    arguments: list[str]
    argument_types: list[int]
    argument_shapes: list[AttrValue | None]
    outputs: list[str]
    output_types: list[int]
    effects: list[str]
    """The nodes that a call has to run, wanted or not."""
    entries: frozenset[str]
    """The nodes that must wait for what a call waits for: those that read or change state, but for ones
    that wait for another of them anyway."""
    sources: frozenset[str]
    """The nodes without any input."""


class FunctionLibrary:
    """A library's functions by name, ready to be inlined or made graphs; each is worked out once.

    `ops` are definitions of ops that TensorFlow itself doesn't have, as a MetaGraph lists them in its
    `meta_info_def.stripped_op_list`.
    """

    def __init__(self, library: FunctionDefLibrary, ops: Iterable[OpDef] = ()):
        self.functions: dict[str, FunctionDef] = {f.signature.name: f for f in library.function}
        self._ops = {op.name: op for op in ops}
        self._bodies: dict[tuple[str, bytes], _Body] = {}
        self._graphs: dict[tuple[str, bytes], FunctionGraph] = {}

    def graph(self, name: str, attrs: Mapping[str, Any] | None = None) -> FunctionGraph:
        """The function as a graph; `attrs` are the values of its attributes, decoded or as `AttrValue`s.

        Raises `GraphError` for a function that isn't there, one that calls itself, or a broken one.
        """
        given = {k: v if isinstance(v, AttrValue) else attr_to_proto(v) for k, v in dict(attrs or {}).items()}
        body = self._body(name, given, [])
        key = (name, self._key(self.functions[name], given))
        found = self._graphs.get(key)
        if found is None:
            found = self._graphs[key] = _as_graph(body)
        return found

    def call(self, node: NodeDef) -> tuple[str, Mapping[str, AttrValue]] | None:
        """The function that a node calls, and the attributes that it is given; None for any other node."""
        if node.op in self.functions:
            return node.op, node.attr
        if node.op in _CALLS:
            func = node.attr["f"].func if "f" in node.attr else NameAttrList()
            return func.name, func.attr
        return None

    def definition(self, op: str) -> OpDef | None:
        """What defines an op: TensorFlow, the graph's own list, or a function of that name."""
        function = self.functions.get(op)
        return function.signature if function is not None else op_table.op_def(op) or self._ops.get(op)

    # -- one function ----------------------------------------------------------------------------------------

    @staticmethod
    def _key(function: FunctionDef, attrs: Mapping[str, AttrValue]) -> bytes:
        """What tells calls with different attributes apart, as far as the function has any."""
        declared = sorted(a.name for a in function.signature.attr)
        if not declared:
            return b""
        values = {n: attrs[n] for n in declared if n in attrs}
        return NameAttrList(attr=values).SerializeToString(deterministic=True)

    def _body(self, name: str, attrs: Mapping[str, AttrValue], callers: list[str]) -> _Body:
        function = self.functions.get(name)
        if function is None:
            by = f" (called by function {callers[-1]!r})" if callers else ""
            raise GraphError(f"the graph's library has no function {name!r}{by}{closest(name, self.functions)}")
        if name in callers:
            cycle = " -> ".join([*callers[callers.index(name) :], name])
            raise GraphError(f"function {name!r} calls itself without a condition: {cycle}")
        if len(callers) >= _MAX_DEPTH:
            raise GraphError(
                f"function {name!r} is called through {len(callers)} others; at most {_MAX_DEPTH} are followed"
            )
        key = (name, self._key(function, attrs))
        body = self._bodies.get(key)
        if body is None:
            body = self._bodies[key] = self._make_body(function, attrs, [*callers, name])
        return body

    def _make_body(self, function: FunctionDef, attrs: Mapping[str, AttrValue], callers: list[str]) -> _Body:
        signature = function.signature
        if signature.attr:
            attrs = {
                **{a.name: a.default_value for a in signature.attr if a.HasField("default_value")},
                **{a.name: attrs[a.name] for a in signature.attr if a.name in attrs},
            }
        else:
            attrs = {}
        names = FunctionNames(function, attrs, self.definition)
        nodes = []
        for old in function.node_def:
            node = NodeDef()
            node.CopyFrom(old)
            for dropped in _DROPPED_ATTRS:
                if dropped in node.attr:
                    del node.attr[dropped]
            if attrs:
                fill_in(node, attrs)
            del node.input[:]
            node.input.extend(name for text in old.input for name in names.in_graph(text))
            nodes.append(node)
        outputs, output_types = [], []
        for arg_name, types in op_table.argument_types(signature.output_arg, attrs, signature.name):
            tensors = names.in_graph(function.ret.get(arg_name, ""))
            if len(tensors) != len(types):
                raise GraphError(
                    f"function {signature.name!r}: its output {arg_name!r} is {len(types)} tensors, but"
                    f" {function.ret.get(arg_name, 'nothing')!r} is {len(tensors)}"
                )
            outputs += tensors
            output_types += types
        kept = list(signature.control_output) or list(function.control_ret)
        control = list(dict.fromkeys(function.control_ret[k] for k in kept if k in function.control_ret))
        for operation in control:
            if operation not in names.nodes:
                raise GraphError(
                    f"function {signature.name!r}: its control output {operation!r} is no node of it"
                    f"{closest(operation, names.nodes)}"
                )
        own = nodes
        nodes, silent = self._inlined(own, names.taken, callers)
        inside = _inside_loops(nodes)
        if not function.control_ret:
            control = [n.name for n in own if self._is_effect(n) and n.name not in inside]
        effects = [operation for operation in control if operation not in silent]
        entries, sources = self._first_nodes(nodes, inside)
        return _Body(
            nodes,
            names.argument_nodes,
            names.argument_types,
            [_argument_shape(function, i) for i in names.argument_of],
            outputs,
            output_types,
            effects,
            entries,
            sources,
        )

    # -- calls -----------------------------------------------------------------------------------------------

    def inlined(self, nodes: Iterable[NodeDef]) -> list[NodeDef]:
        """A graph's nodes with every call replaced; nodes that are no calls are the same objects.

        Raises `GraphError` for a function that isn't there, one that calls itself, or a broken one.
        """
        listed = list(nodes)
        return self._inlined(listed, {node.name for node in listed}, [])[0]

    def _inlined(self, nodes: list[NodeDef], taken: set[str], callers: list[str]) -> tuple[list[NodeDef], set[str]]:
        """The nodes with calls replaced, and the names of those that leave no trace but their outputs."""
        result: list[NodeDef] = []
        silent = {node.name for node in nodes if node.op in _READS}
        flows = any(node.op in _CONTROL_FLOW for node in nodes)
        changed: set[str] | None = None
        for node in nodes:
            call = self.call(node)
            if call is None:
                result.append(node)
                continue
            body = self._body(*call, callers)
            if not body.effects:
                silent.add(node.name)
            if len(result) + len(body.nodes) > _MAX_NODES:
                raise GraphError(
                    f"node {node.name!r} calls function {call[0]!r}: with all calls in the graph replaced by"
                    f" the functions' nodes there would be over {_MAX_NODES} of them"
                )
            if body.entries and changed is None:
                changed = self._after_changes(nodes, callers)
            result += _call_nodes(node, body, taken, flows, changed or set())
        return result, silent

    def _after_changes(self, nodes: list[NodeDef], callers: list[str]) -> set[str]:
        """The nodes that change state, or come after such ones."""
        consumers: dict[str, list[str]] = {}
        changed = set()
        for node in nodes:
            for text in node.input:
                consumers.setdefault(parse_input(text)[0], []).append(node.name)
            call = self.call(node)
            if self._body(*call, callers).effects if call is not None else self._changes_state(node):
                changed.add(node.name)
        stack = list(changed)
        while stack:
            for name in consumers.get(stack.pop(), ()):
                if name not in changed:
                    changed.add(name)
                    stack.append(name)
        return changed

    def _changes_state(self, node: NodeDef) -> bool:
        op = self.definition(node.op)
        if op is None or any(arg.is_ref for arg in op.input_arg):
            return True
        return op.is_stateful and node.op not in _READS

    def _is_effect(self, node: NodeDef) -> bool:
        """Whether a node is there for its effect, as far as its op's definition tells, or is a call."""
        if self.call(node) is not None:
            return True
        op = self.definition(node.op)
        return op is not None and op.is_stateful and (not op.output_arg or node.op in _EFFECTS)

    def _first_nodes(self, nodes: list[NodeDef], inside: set[str]) -> tuple[frozenset[str], frozenset[str]]:
        """A body's entries and sources, as `_Body` has them."""
        stateful = set()
        for node in nodes:
            op = self.definition(node.op)
            if op is None or op.is_stateful or any(arg.is_ref for arg in op.input_arg):
                stateful.add(node.name)
        entries = {
            node.name
            for node in nodes
            if node.name in stateful
            and node.name not in inside
            and not any(parse_input(text)[0] in stateful for text in node.input)
        }
        if stateful & inside:
            # A node in a loop cannot wait for one outside, but the loop's start can.
            entries |= {node.name for node in nodes if node.op in _ENTERS and node.name not in inside}
        return frozenset(entries), frozenset(node.name for node in nodes if not node.input)


def _inside_loops(nodes: list[NodeDef]) -> set[str]:
    """The nodes in loops of TensorFlow 1: what takes from an `Enter` up to the `Exit`s, those left out."""
    starts = [node.name for node in nodes if node.op in _ENTERS]
    if not starts:
        return set()
    consumers: dict[str, list[NodeDef]] = {}
    for node in nodes:
        for text in node.input:
            consumers.setdefault(parse_input(text)[0], []).append(node)
    # How many loops deep: a node may be reached first by a short way out of an inner loop.
    depth = dict.fromkeys((node.name for node in nodes), 0)
    stack = [(name, 1) for name in starts]
    while stack:
        name, below = stack.pop()
        for node in consumers.get(name, ()):
            level = below
            if node.op in _EXITS:
                level -= 1
            if depth[node.name] < level <= _MAX_LOOPS:
                depth[node.name] = level
                stack.append((node.name, level + (node.op in _ENTERS)))
    return {name for name, level in depth.items() if level > 0}


def _argument_shape(function: FunctionDef, index: int) -> AttrValue | None:
    """The `_output_shapes` that a function states for an argument."""
    if index in function.arg_attr:
        return function.arg_attr[index].attr.get("_output_shapes")
    return None


def _call_nodes(call: NodeDef, body: _Body, taken: set[str], flows: bool, changed: set[str]) -> list[NodeDef]:
    """The nodes that stand for a call: the body's under the call's name, and one called as the call.

    `flows`: the call stands among nodes of TensorFlow 1's control flow, where a node without inputs would
    belong to no loop and no branch. `changed`: the nodes that change state or come after such ones: an input
    from one of these is as good as a control input, and TensorFlow leaves out the latter then.
    """
    data = [text for text in call.input if not text.startswith("^")]
    waits = [text for text in call.input if text.startswith("^")]
    if len(data) != len(body.arguments):
        raise GraphError(
            f"node {call.name!r} ({call.op}) calls a function of {len(body.arguments)} argument tensors with"
            f" {len(data)} inputs"
        )
    result: list[NodeDef] = []
    late = (parse_input(text)[0] for text in data)
    gate = list(dict.fromkeys([*waits, *(f"^{name}" for name in late if name in changed)]))
    if len(gate) > 1 and len(body.entries) + (len(body.sources) if flows else 0) > 1:
        name = unique(f"{call.name}/input_control_node", taken)
        result.append(NodeDef(name=name, op="NoOp", input=gate))
        gate = [f"^{name}"]
    held_back = body.entries if gate else frozenset()
    if flows and body.sources:
        if not gate and data:
            name = unique(f"{call.name}/input_frame", taken)
            frame = NodeDef(name=name, op="Identity", input=data[:1])
            frame.attr["T"].type = body.argument_types[0]  # type: ignore[assignment]
            result.append(frame)
            gate = [f"^{name}"]
        held_back |= body.sources

    renamed = {node.name: unique(f"{call.name}/{node.name}", taken) for node in body.nodes}
    inputs = {**renamed, **dict(zip(body.arguments, data, strict=True))}

    def outside(text: str) -> str:
        found = inputs.get(text)
        if found is None:
            if text.startswith("^"):
                found = "^" + parse_input(inputs[text[1:]])[0]
            else:
                name, _, index = text.rpartition(":")
                found = f"{inputs[name]}:{index}"
            inputs[text] = found
        return found

    for old in body.nodes:
        node = NodeDef()
        node.CopyFrom(old)
        node.name = renamed[old.name]
        del node.input[:]
        node.input.extend(map(outside, old.input))
        if old.name in held_back:
            node.input.extend(text for text in gate if text not in node.input)
        result.append(node)

    end = NodeDef(name=call.name, device=call.device)
    end.input.extend(map(outside, body.outputs))
    end.input.extend(dict.fromkeys([*waits, *(f"^{renamed[name]}" for name in body.effects)]))
    if not body.outputs:
        end.op = "NoOp"
    elif len(body.outputs) == 1:
        end.op = "Identity"
        end.attr["T"].type = body.output_types[0]  # type: ignore[assignment]
    else:
        end.op = "IdentityN"
        end.attr["T"].list.type.extend(body.output_types)  # type: ignore[arg-type]
    if "_output_shapes" in call.attr:
        end.attr["_output_shapes"].CopyFrom(call.attr["_output_shapes"])
    result.append(end)
    return result


def _as_graph(body: _Body) -> FunctionGraph:
    graph = GraphDef()
    for name, number, shapes in zip(body.arguments, body.argument_types, body.argument_shapes, strict=True):
        node = graph.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = number  # type: ignore[assignment]
        if shapes is not None and len(shapes.list.shape) == 1:
            node.attr["shape"].shape.CopyFrom(shapes.list.shape[0])
        else:
            node.attr["shape"].shape.unknown_rank = True
    graph.node.extend(body.nodes)
    # A placeholder's scalar shape is believed only of graphs at least this new.
    graph.versions.producer = 24
    return FunctionGraph(
        graph,
        tuple(f"{name}:0" for name in body.arguments),
        tuple(text if ":" in text else f"{text}:0" for text in body.outputs),
        tuple(body.effects),
    )


def inline_functions(graph_def: GraphDef, ops: Iterable[OpDef] = ()) -> GraphDef:
    """The graph with every call of a function replaced by the function's nodes.

    Calls are `PartitionedCall`, `StatefulPartitionedCall` and nodes whose op is a function's name. A call
    `c` becomes nodes `c/…` and one called `c`, an Identity or IdentityN with the same outputs (NoOp where
    there are none), so that whatever took or fetched `c:1` still does. Functions that nodes get as
    attributes (`If`, `While`, `Case`, …) stay in the library: see `function_graph`. Gradients of functions
    (`SymbolicGradient`) stay as they are.

    A graph without functions is returned as it is, and none is ever changed. `ops`: as for `FunctionLibrary`.

    Raises:
        GraphError: a function that isn't there, that calls itself, or whose nodes contradict themselves.
    """
    if not graph_def.library.function:
        return graph_def
    library = FunctionLibrary(graph_def.library, ops)
    if not any(library.call(node) for node in graph_def.node):
        return graph_def
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    result.node.extend(library.inlined(graph_def.node))
    return result


def function_graph(
    library: FunctionLibrary | FunctionDefLibrary, name: str, attrs: Mapping[str, Any] | None = None
) -> FunctionGraph:
    """One function as a graph with Placeholders for its arguments; see `FunctionLibrary.graph`.

    Give a `FunctionLibrary` where several functions are wanted, or one several times.
    """
    if not isinstance(library, FunctionLibrary):
        library = FunctionLibrary(library)
    return library.graph(name, attrs)
