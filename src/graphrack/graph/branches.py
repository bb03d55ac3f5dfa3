"""Branches whose predicate is known: the taken one becomes a plain part of the graph, the others go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from graphrack.errors import GraphError
from graphrack.formats.protos.graph_pb2 import AttrValue, FunctionDefLibrary, GraphDef, NodeDef, OpDef
from graphrack.graph.function_names import unique
from graphrack.graph.functions import inline_functions
from graphrack.graph.gates import ENTERS, MERGES, NEXT_ITERATIONS, SWITCHES, in_order
from graphrack.graph.names import TensorName, parse_input

__all__ = ["take_known_branches"]

Known = Callable[[str], "int | None"]
"""The value of a scalar tensor, given as a node's input: of a boolean 0 or 1, None where it isn't known."""

_IFS = frozenset(("If", "StatelessIf"))
_CASES = frozenset(("Case", "StatelessCase"))
_MAX_LEVELS = 100


def take_known_branches(
    nodes: dict[str, NodeDef],
    outputs: Collection[TensorName | str],
    known: Callable[[Mapping[str, NodeDef]], Known],
    library: FunctionDefLibrary,
    ops: Iterable[OpDef] = (),
) -> dict[str, NodeDef]:
    """The nodes with every Switch, If and Case of a known predicate resolved; none is changed, some replaced.

    Names stay: what took or fetched a Merge's or an If's output still does. Nodes of branches that are not
    taken are left out or left unused.

    Raises:
        GraphError: an output lies in a branch that is never taken.
    """
    for _ in range(_MAX_LEVELS):
        after = _switches(_functional(nodes, known(nodes), library, ops), outputs, known)
        if after is nodes:
            break
        nodes = after
    return nodes


def _functional(
    nodes: dict[str, NodeDef], known: Known, library: FunctionDefLibrary, ops: Iterable[OpDef]
) -> dict[str, NodeDef]:
    """If and Case replaced by the function that is called, and that by its nodes."""
    calls = {}
    for node in nodes.values():
        if node.op not in _IFS and node.op not in _CASES:
            continue
        value = known(node.input[0])
        if value is None:
            continue
        if node.op in _IFS:
            function = node.attr["then_branch" if value else "else_branch"].func
        else:
            branches = node.attr["branches"].list.func
            function = branches[value if 0 <= value < len(branches) else -1]
        call = NodeDef(name=node.name, op="StatefulPartitionedCall", input=node.input[1:], device=node.device)
        call.attr["f"].func.CopyFrom(function)
        call.attr["Tin"].CopyFrom(node.attr["Tin"])
        call.attr["Tout"].CopyFrom(node.attr["Tout"])
        calls[node.name] = call
    if not calls:
        return nodes
    # Only these calls are inlined: there are no others in the graph any more.
    small = GraphDef(library=library)
    plain = {name: NodeDef(name=name, op=node.op, input=node.input) for name, node in nodes.items()}
    small.node.extend(calls.get(name, plain[name]) for name in nodes)
    inlined = inline_functions(small, ops)
    return {n.name: nodes[n.name] if n.name in nodes and n.name not in calls else n for n in inlined.node}


def _switches(
    nodes: dict[str, NodeDef],
    outputs: Collection[TensorName | str],
    known: Callable[[Mapping[str, NodeDef]], Known],
) -> dict[str, NodeDef]:
    if not any(node.op in SWITCHES for node in nodes.values()):
        return nodes
    value_of = known(nodes)
    taken: dict[str, int] = {}
    for node in nodes.values():
        if node.op in SWITCHES:
            value = value_of(node.input[1])
            if value is not None:
                taken[node.name] = int(bool(value))
    if not taken:
        return nodes
    dead, alive = _dead(nodes, taken)
    if any(nodes[name].op in NEXT_ITERATIONS for name in dead) and not any(nodes[name].op in ENTERS for name in dead):
        return nodes  # a loop whose rounds end in a branch that isn't taken: left for a run to judge
    if any(len(left) != 1 for left in alive.values()) or any((name, 1) in outputs for name in alive):
        return nodes  # nothing but a Merge could say which of its inputs came
    for output in outputs:
        op = output if isinstance(output, str) else output.op
        if op in dead or (not isinstance(output, str) and taken.get(op, output.output) != output.output):
            raise GraphError(f"output {str(output)!r} lies in a branch that is never taken; choose another output")
    return _replaced(nodes, taken, dead, alive)


def _dead(nodes: dict[str, NodeDef], taken: dict[str, int]) -> tuple[set[str], dict[str, list[int]]]:
    """The nodes that never run, and of each Merge that may get less than it is made for, which inputs are left."""
    dead: set[str] = set()
    alive: dict[str, list[int]] = {}

    def never(text: str) -> bool:
        name, output = parse_input(text)
        return name in dead or (output >= 0 and taken.get(name, output) != output)

    for node in in_order(nodes):
        data = [text for text in node.input if not text.startswith("^")]
        if any(never(text) for text in node.input if text.startswith("^")):
            dead.add(node.name)
        elif node.op in MERGES:
            forward = [i for i, t in enumerate(data) if nodes[parse_input(t)[0]].op not in NEXT_ITERATIONS]
            if all(never(data[i]) for i in forward):
                dead.add(node.name)
            elif len(forward) == len(data):
                left = [i for i in forward if not never(data[i])]
                if len(left) < len(data):
                    alive[node.name] = left
        elif any(map(never, data)):
            dead.add(node.name)
    return dead, alive


def _replaced(
    nodes: dict[str, NodeDef], taken: dict[str, int], dead: set[str], alive: dict[str, list[int]]
) -> dict[str, NodeDef]:
    names = set(nodes)
    moved: dict[str, str] = {}
    result: dict[str, NodeDef] = {}
    for name, node in nodes.items():
        if name in dead:
            continue
        waits = [text for text in node.input if text.startswith("^")]
        if name in taken:
            moved[f"{name}:1"] = name
            result[name] = _identity(node, node.input[0], waits)
        elif name in alive:
            index = alive[name][0]
            position = NodeDef(name=unique(f"{name}/value_index", names), op="Const", input=waits)
            position.attr["dtype"].type = 3  # type: ignore[assignment]
            tensor = position.attr["value"].tensor
            tensor.dtype = 3  # type: ignore[assignment]
            tensor.tensor_shape.SetInParent()
            tensor.int_val.append(index)
            result[position.name] = position
            moved[f"{name}:1"] = position.name
            result[name] = _identity(node, node.input[index], waits)
        else:
            result[name] = node
    for name, node in result.items():
        inputs = [moved.get(text, text) for text in node.input]
        if inputs != list(node.input):
            changed = NodeDef()
            changed.CopyFrom(node)
            del changed.input[:]
            changed.input.extend(inputs)
            result[name] = changed
    return result


def _identity(node: NodeDef, source: str, waits: Iterable[str]) -> NodeDef:
    made = NodeDef(name=node.name, op="RefIdentity" if node.op.startswith("Ref") else "Identity", input=[source])
    made.input.extend(waits)
    made.attr["T"].CopyFrom(node.attr.get("T") or AttrValue())
    return made
