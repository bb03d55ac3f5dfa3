"""A graph's nodes and functions under a scope, so that several graphs can be one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from graphrack.formats.protos.graph_pb2 import FunctionDef, FunctionDefLibrary, NameAttrList, NodeDef
from graphrack.graph.function_names import unique
from graphrack.graph.index import ANONYMOUS

__all__ = ["add_functions", "functions_of", "is_scope", "needed_functions", "scoped"]

# What TensorFlow lets an operation be called.
_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
# Names of what nodes share by name, and of loops' frames: equal ones in two graphs would mean one thing.
_SHARED = ("shared_name", "frame_name")


def is_scope(name: str) -> bool:
    """Whether TensorFlow lets a scope be called that."""
    return _SCOPE.fullmatch(name) is not None and not name.endswith("/") and "//" not in name


def scoped(node: NodeDef, scope: str, functions: Mapping[str, str] | None = None) -> NodeDef:
    """A node under a scope (an empty one: where it was), on no device, which calls functions by new names."""
    result = NodeDef()
    result.CopyFrom(node)
    result.ClearField("device")
    if scope:
        result.name = f"{scope}/{node.name}"
        inputs = [f"^{scope}/{text[1:]}" if text.startswith("^") else f"{scope}/{text}" for text in node.input]
        del result.input[:]
        result.input.extend(inputs)
        _rename_attributes(result, scope)
    _rename_functions(result, functions or {})
    return result


def _rename_attributes(node: NodeDef, scope: str) -> None:
    if "_class" in node.attr:
        wishes = [s.replace(b"loc:@", f"loc:@{scope}/".encode(), 1) for s in node.attr["_class"].list.s]
        del node.attr["_class"].list.s[:]
        node.attr["_class"].list.s.extend(wishes)
    _rename_shared(node, scope)


def _rename_shared(node: NodeDef, scope: str) -> None:
    for name in _SHARED:
        if name in node.attr and node.attr[name].s not in (b"", ANONYMOUS.encode()):
            node.attr[name].s = f"{scope}/".encode() + node.attr[name].s


def _rename_functions(node: NodeDef, functions: Mapping[str, str]) -> None:
    node.op = functions.get(node.op, node.op)
    for function in functions_of(node):
        function.name = functions.get(function.name, function.name)


def functions_of(node: NodeDef) -> list[NameAttrList]:
    """The functions that a node has in its attributes, in an order of their own."""
    found = []
    for name in sorted(node.attr):
        value = node.attr[name]
        kind = value.WhichOneof("value")
        if kind == "func":
            found.append(value.func)
        elif kind == "list" and value.list.func:
            found.extend(value.list.func)
    return found


def needed_functions(nodes: Iterable[NodeDef], library: FunctionDefLibrary) -> list[FunctionDef]:
    """The functions that nodes call, and those that these call, in the library's order."""
    known = {function.signature.name: function for function in library.function}
    if not known:
        return []
    found: set[str] = set()
    stack = _called(nodes, known)
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack += _called(known[name].node_def, known)
    return [function for name, function in known.items() if name in found]


def _called(nodes: Iterable[NodeDef], known: Mapping[str, FunctionDef]) -> list[str]:
    return [name for n in nodes for name in (n.op, *(f.name for f in functions_of(n))) if name in known]


def add_functions(library: FunctionDefLibrary, functions: Iterable[FunctionDef], scope: str) -> dict[str, str]:
    """Adds a graph's functions to a library and gives the new names of those that get one.

    A function gets a new name where the library has another of its name, or calls one that does.
    """
    have = {f.signature.name: f.SerializeToString(deterministic=True) for f in library.function}
    new: dict[str, FunctionDef] = {}
    for function in functions:
        made = new[function.signature.name] = FunctionDef()
        made.CopyFrom(function)
        if scope:
            for node in made.node_def:
                _rename_shared(node, scope)
    renamed = {n for n, f in new.items() if n in have and have[n] != f.SerializeToString(deterministic=True)}
    while renamed:
        callers = {n for n, f in new.items() if n not in renamed and set(_called(f.node_def, new)) & renamed}
        if not callers:
            break
        renamed |= callers
    taken = {*have, *new}
    start = re.sub("[^A-Za-z0-9_]", "_", scope)
    names = {name: unique(f"{start}_{name}", taken) for name in new if name in renamed}
    for name, function in new.items():
        if name in have and name not in renamed:
            continue
        function.signature.name = names.get(name, name)
        for node in function.node_def:
            _rename_functions(node, names)
        library.function.append(function)
    return names
