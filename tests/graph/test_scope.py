"""Graphs under a scope, and their functions in one library."""

from __future__ import annotations

import pytest

from graphrack.formats.protos.graph_pb2 import FunctionDef, FunctionDefLibrary, NodeDef
from graphrack.graph.index import ANONYMOUS
from graphrack.graph.scope import add_functions, is_scope, needed_functions, scoped


def _function(name: str, *ops: str, calls: str = "") -> FunctionDef:
    function = FunctionDef()
    function.signature.name = name
    for i, op in enumerate(ops):
        function.node_def.add(name=f"n{i}", op=op)
    if calls:
        function.node_def.add(name="call", op="If").attr["then_branch"].func.name = calls
    return function


@pytest.mark.parametrize(("name", "allowed"), [("a", True), ("a/b.c-1", True), ("", False), ("_a", False), ("a b", False), ("a/", False), ("a//b", False), ("a:0", False)])  # fmt: skip
def test_scopes_are_what_tensorflow_lets_operations_be_called(name: str, allowed: bool) -> None:
    assert is_scope(name) is allowed


def test_a_scoped_node_has_new_names_wherever_it_names_something() -> None:
    node = NodeDef(name="n", op="Enter", input=["x:1", "^c"], device="/gpu:0")
    node.attr["frame_name"].s = b"while"
    node.attr["_class"].list.s.append(b"loc:@v")
    made = scoped(node, "s/t")
    assert (made.name, list(made.input), made.device) == ("s/t/n", ["s/t/x:1", "^s/t/c"], "")
    assert made.attr["frame_name"].s == b"s/t/while"
    assert list(made.attr["_class"].list.s) == [b"loc:@s/t/v"]
    assert node.name == "n"


@pytest.mark.parametrize(("shared", "expected"), [(b"w", b"s/w"), (b"", b""), (ANONYMOUS.encode(), ANONYMOUS.encode())])
def test_what_is_shared_by_name_is_shared_in_the_scope_alone(shared: bytes, expected: bytes) -> None:
    node = NodeDef(name="w", op="VarHandleOp")
    node.attr["shared_name"].s = shared
    assert scoped(node, "s").attr["shared_name"].s == expected


def test_functions_are_renamed_where_they_differ_and_where_they_call_such() -> None:
    library = FunctionDefLibrary()
    first = [_function("f", "Add"), _function("caller", calls="f"), _function("same", "Mul")]
    assert add_functions(library, first, "a") == {}
    second = [_function("f", "Sub"), _function("caller", calls="f"), _function("same", "Mul")]
    names = add_functions(library, second, "b")
    assert names == {"f": "b_f", "caller": "b_caller"}
    made = {f.signature.name: f for f in library.function}
    assert set(made) == {"f", "caller", "same", "b_f", "b_caller"}
    assert made["b_caller"].node_def[0].attr["then_branch"].func.name == "b_f"
    assert made["caller"].node_def[0].attr["then_branch"].func.name == "f"


def test_only_functions_that_nodes_need_are_taken() -> None:
    library = FunctionDefLibrary(function=[_function("f", "Add"), _function("caller", calls="f"), _function("g")])
    node = NodeDef(name="n", op="If")
    node.attr["else_branch"].func.name = "caller"
    assert [f.signature.name for f in needed_functions([node], library)] == ["f", "caller"]
    assert needed_functions([NodeDef(name="n", op="Add")], library) == []
