"""What a model takes and gives: which output a call means, inputs, collections, signatures, operations."""

from __future__ import annotations

import pytest
from fixture_paths import MODELS
from graph.graphs import graph, index

import graphrack as gr
from graphrack.formats.graph_files import read_meta_graph
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef
from graphrack.graph import interface
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import TensorName
from graphrack.graph.saver import saver_nodes

LINES = ("Placeholder x", "Neg hidden x", "Abs out hidden", "Neg other hidden")


def meta(**collections: list[str]) -> MetaGraphDef:
    made = MetaGraphDef()
    for name, tensors in collections.items():
        made.collection_def[name].node_list.value.extend(tensors)
    return made


def signed(**signatures: tuple[dict[str, str], dict[str, str]]) -> MetaGraphDef:
    made = MetaGraphDef()
    for name, (inputs, outputs) in signatures.items():
        definition = made.signature_def[name]
        for key, tensor in inputs.items():
            definition.inputs[key].name = tensor
        for key, tensor in outputs.items():
            definition.outputs[key].name = tensor
            definition.outputs[key].dtype = 1
    return made


def predicted(meta_graph: MetaGraphDef | None, *lines: str, signature: str | None = None) -> dict[str, str]:
    found = interface.predict(index(*(lines or LINES)), meta_graph, None, signature)
    return {key: str(tensor) for key, tensor in found.outputs.items()}


def test_the_one_tensor_in_the_author_s_collections_is_the_output() -> None:
    assert predicted(meta(activation=["out:0"], variables=["other:0"])) == {"out:0": "out:0"}
    assert predicted(meta(activation=["out:0"], again=["out:0"])) == {"out:0": "out:0"}


@pytest.mark.parametrize("standard", ["losses", "update_ops", "train_op", "summaries", "trainable_variables"])
def test_collections_that_tensorflow_fills_mean_nothing(standard: str) -> None:
    assert predicted(meta(**{standard: ["hidden:0"], "activation": ["out:0"]})) == {"out:0": "out:0"}


def test_several_collected_tensors_are_ambiguous_and_all_named() -> None:
    with pytest.raises(gr.AmbiguousOutput, match=r"by its collections: 'out:0', 'other:0'.*run\('name:0'"):
        predicted(meta(mine=["out:0", "other:0"]))


def test_the_one_operation_that_nothing_consumes_is_the_output() -> None:
    assert predicted(None, *LINES[:3]) == {"out:0": "out:0"}
    assert predicted(None, *LINES[:3], "NoOp init") == {"out:0": "out:0"}
    assert predicted(None, *LINES[:3], "NoOp late ^hidden", "Assert fine hidden") == {"out:0": "out:0"}


def test_what_no_input_reaches_is_no_output_where_there_are_inputs() -> None:
    lines = ("Placeholder x", "Neg out x", "VariableV2 v", "Neg norm v")
    assert predicted(None, *lines) == {"out:0": "out:0"}
    assert predicted(None, *lines[2:]) == {"norm:0": "norm:0"}


def test_nothing_to_give_is_an_error_that_says_how_to_name_one() -> None:
    with pytest.raises(gr.AmbiguousOutput, match=r"nothing tells.*run\('name:0', feeds\)"):
        predicted(None, "Placeholder x")


def test_signatures_come_first_the_default_before_all() -> None:
    collected = meta(activation=["out:0"])
    both = signed(serving_default=({"a": "x:0"}, {"y": "other:0"}), second=({"b": "x:0"}, {"z": "hidden:0"}))
    for name in both.signature_def:
        collected.signature_def[name].CopyFrom(both.signature_def[name])
    assert predicted(collected) == {"y": "other:0"}
    assert predicted(collected, signature="second") == {"z": "hidden:0"}
    del collected.signature_def["serving_default"]
    assert predicted(collected) == {"z": "hidden:0"}
    with pytest.raises(gr.UnknownName, match="no signature 'secnd'; closest: 'second'"):
        predicted(collected, signature="secnd")


def test_signatures_that_loaders_run_are_not_shown() -> None:
    made = signed(__saved_model_init_op=({}, {"__saved_model_init_op": "init"}), mine=({"x": "x:0"}, {"y": "out:0"}))
    assert list(interface.signatures(made)) == ["mine"]


def test_inputs_are_the_placeholders_that_the_output_needs() -> None:
    look = index("Placeholder x", "Placeholder unused", "PlaceholderWithDefault keep c", "Mul out x keep", c=1.0)
    found = interface.predict(look, meta(mine=["out:0"]), None, None)
    assert found.inputs == {"x": TensorName("x", 0), "keep": TensorName("keep", 0)}
    assert interface.required(look, found.inputs) == ["x"]
    assert list(interface.inputs(look, None, None)) == ["x", "unused", "keep"]


def test_a_saver_s_own_nodes_are_neither_inputs_nor_outputs() -> None:
    meta_graph = read_meta_graph(MODELS / "cubic" / "model_name.meta")
    look = GraphIndex(meta_graph.graph_def)
    saver = saver_nodes(look, meta_graph.saver_def)
    assert saver is not None
    assert list(interface.inputs(look, meta_graph, saver)) == ["x", "y"]
    del meta_graph.collection_def["activation"]
    assert not [name for name in interface.outputs(look, meta_graph, saver) if name.startswith("save/")]


def test_collections_hold_specs_names_bytes_and_numbers() -> None:
    made = meta(tensors=["out:0", "gone:0"], operations=["out"])
    made.collection_def["bytes"].bytes_list.value.append(b"\x80raw")
    made.collection_def["numbers"].int64_list.value.extend([1, 2])
    made.collection_def["floats"].float_list.value.append(0.5)
    made.collection_def["empty"].SetInParent()
    found = interface.collections(index(*LINES), made)
    assert found["tensors"][0].name == "out:0"
    assert found["tensors"][1] == "gone:0"
    assert found["operations"] == ["out"]
    assert found["bytes"] == [b"\x80raw"]
    assert found["numbers"] == [1, 2]
    assert found["floats"] == [0.5]
    assert found["empty"] == []


def test_operations_tell_their_inputs_apart_from_what_they_wait_for() -> None:
    operations = interface.Operations(index("Placeholder x", "NoOp first", "Mul y x x:0 ^first"))
    y = operations["y"]
    assert (y.type, y.inputs, y.control_inputs) == ("Mul", ("x:0", "x:0"), ("first",))
    assert [spec.name for spec in y.outputs] == ["y:0"]
    assert y.attributes["T"].name == "float32"
    assert "y" in operations
    assert "z" not in operations
    assert len(operations) == 3
    with pytest.raises(TypeError):
        y.attributes["T"] = 1  # type: ignore[index]


def test_a_graph_is_only_looked_at() -> None:
    made = graph(*LINES)
    before = made.SerializeToString(deterministic=True)
    look = GraphIndex(made)
    interface.predict(look, meta(mine=["out:0"]), None, None)
    interface.inputs(look, None, None)
    interface.outputs(look, None, None)
    list(interface.Operations(look).values())
    assert made.SerializeToString(deterministic=True) == before
