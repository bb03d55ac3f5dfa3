"""GraphIndex: look-ups by name, consumers, variables, what is known of a tensor without running."""

from __future__ import annotations

from collections import Counter

import pytest
from fixture_paths import MODELS
from graph.graphs import FLOAT, graph, index

import graphrack as gr
from graphrack.formats.graph_files import read_graph_def
from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import TensorName


def test_two_nodes_of_one_name_are_refused_by_name() -> None:
    with pytest.raises(gr.GraphError, match="called 'b'"):
        index("NoOp a", "NoOp b", "NoOp c", "NoOp b", "NoOp a")


def test_tensors_are_found_by_both_forms_of_their_name() -> None:
    look = index("Placeholder x", "Split s c x", c=0.0)
    assert look.tensor("x") == look.tensor("x:0") == TensorName("x", 0)
    assert look.tensor("s:2") == TensorName("s", 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("weigths", "closest: 'weights'"),
        ("weigths:0", "closest: 'weights:0'"),
        ("weights:1", "Placeholder 'weights' has 1 output, the last ':0'"),
        ("parts:3", "Split 'parts' has 3 outputs, the last ':2'"),
        ("nothing:0", "NoOp 'nothing' has no output"),
    ],
)
def test_a_tensor_that_there_isn_t_is_an_error_with_what_there_is(name: str, words: str) -> None:
    look = index("Placeholder weights", "Split parts c weights", "NoOp nothing", c=0.0)
    with pytest.raises(gr.UnknownName, match=words):
        look.tensor(name)


def test_consumers_are_those_that_take_an_output_or_wait() -> None:
    look = index("Placeholder x", "Mul both x x", "Neg late x ^both", "NoOp done ^late ^x")
    assert look.consumers == {"x": ["both", "late", "done"], "both": ["late"], "late": ["done"], "done": []}


def test_consumers_match_the_inputs_of_a_real_graph() -> None:
    look = GraphIndex(read_graph_def(MODELS / "digits_conv" / "model_name.meta"))
    pairs = {(text.lstrip("^").partition(":")[0], node.name) for node in look for text in node.input}
    assert {(source, name) for source, names in look.consumers.items() for name in names} == pairs
    assert all(len(set(names)) == len(names) for names in look.consumers.values())


def test_ops_are_counted_in_functions_too() -> None:
    made = graph("Neg a b", "Neg b c", c=1.0)
    made.library.function.add().node_def.add(op="Neg", name="inner")
    assert Counter(GraphIndex(made).ops) == Counter(Neg=3, Const=1)


@pytest.mark.parametrize(("producer", "shape"), [(20, None), (24, ()), (1800, ())])
def test_an_old_placeholder_s_scalar_shape_means_an_unknown_one(producer: int, shape: object) -> None:
    made = graph("Placeholder x")
    made.versions.producer = producer
    made.node[0].attr["shape"].shape.SetInParent()
    assert GraphIndex(made).spec("x").shape == shape


def test_shapes_that_are_unknown_in_part_or_in_whole_are_kept_apart() -> None:
    made = graph("Placeholder a", "Placeholder b", "Placeholder c")
    made.node[0].attr["shape"].shape.unknown_rank = True
    for size in (-1, 3):
        made.node[1].attr["shape"].shape.dim.add(size=size)
    look = GraphIndex(made)
    assert [look.spec(name).shape for name in "abc"] == [None, (None, 3), None]


def test_variables_of_both_kinds_with_shared_names_and_containers() -> None:
    made = graph("VariableV2 a", "VarHandleOp b", "VarHandleOp c", "VarHandleOp d")
    made.node[2].attr["shared_name"].s = b"b"
    made.node[3].attr["container"].s = b"other"
    made.node[3].attr["shared_name"].s = b"b"
    found = GraphIndex(made).variables
    assert list(found) == ["a", "b", "c", "d"]
    assert found["b"].key == found["c"].key
    assert len({v.key for v in found.values()}) == 3
    assert [v.is_resource for v in found.values()] == [False, True, True, True]
    assert found["a"].spec == (found["a"].name, found["a"].dtype, ())


def test_a_variable_of_a_type_that_there_isn_t_is_a_damaged_graph() -> None:
    made = GraphDef()
    made.node.add(op="VariableV2", name="v").attr["dtype"].type = 4711
    with pytest.raises(gr.GraphError, match="'v' .VariableV2. has the dtype number 4711"):
        _ = GraphIndex(made).variables


def test_ops_that_nobody_knows_have_outputs_of_unknown_type() -> None:
    look = index("Placeholder x", "Brew tea x")
    assert look.output_count(look.node("tea")) is None
    assert look.spec("tea:5").dtype.name == "unknown"
    assert look.outputs(look.node("tea")) == []


def test_types_come_from_attributes() -> None:
    look = index("Placeholder x", "Neg y x")
    assert look.output_dtype(TensorName("y", 0)).number == FLOAT  # type: ignore[union-attr]
