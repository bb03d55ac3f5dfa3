from __future__ import annotations

import math
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tensorflow.compat.v1 as tf
from cli.commands import CONV, CUBIC, FIXTURES, FROZEN, MODELS, ROOT, SAVED, call, identity_graph
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrack as gr
from graphrack.formats.graph_files import read_graph_def
from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef, SavedModel

V1, V2, SHARDED = FIXTURES / "v1" / "model.ckpt", FIXTURES / "v2" / "model.ckpt", FIXTURES / "v2_sharded" / "model.ckpt"
V1_SHARDED = FIXTURES / "v1_sharded" / "model.ckpt"
HAND = ROOT.parent / "shared" / "models" / "ssd_hand" / "model.ckpt"


def facts(path: object, *options: object) -> Any:
    return call("inspect", path, "--json", *options).json


def copied(prefix: object, folder: Path, *endings: str) -> Path:
    """A checkpoint's files, or only those with some endings, in another folder."""
    source = Path(str(prefix))
    for file in source.parent.glob(source.name + "*"):
        if file.name[len(source.name) :].startswith(endings or ("",)) and file.name[len(source.name) :][:1] != "-":
            shutil.copy(file, folder)
    return folder / source.name


@pytest.mark.parametrize("path", [CUBIC, CUBIC + ".meta", CONV, SAVED, FROZEN, str(V1), str(V1_SHARDED), str(SHARDED)])
def test_what_json_says_of_a_model_is_what_the_library_says(path: str) -> None:
    graph = facts(path)["graph"]
    model = gr.load(path)

    def specs(known: dict[str, gr.TensorSpec]) -> list[dict[str, Any]]:
        return [
            {"key": k, "name": s.name, "dtype": s.dtype.name, "shape": None if s.shape is None else list(s.shape)}
            for k, s in known.items()
        ]

    assert graph["inputs"] == specs(model.inputs)
    assert graph["outputs"] == specs(model.outputs)
    assert {s["name"]: (s["inputs"], s["outputs"]) for s in graph["signatures"]} == {
        name: (specs(s.inputs), specs(s.outputs)) for name, s in model.signatures.items()
    }
    assert list(graph["collections"]) == list(model.collections)
    declared = {name: model.variables.spec(name) for name in model.variables}
    assert [(v["name"], v["dtype"], tuple(v["shape"])) for v in graph["variables"]] == [
        (s.name, s.dtype.name, s.shape) for s in declared.values()
    ]
    assert graph["ops"] == dict(Counter(op.type for op in model.operations.values()))
    assert list(graph["ops"].values()) == sorted(graph["ops"].values(), reverse=True)
    assert graph["nodes"] == len(model.operations)
    assert graph["producer"] == read_graph_def(graph["file"]).versions.producer


@pytest.mark.parametrize("path", [CUBIC, CONV, SAVED])
def test_totals_are_those_of_the_values(path: str) -> None:
    totals = facts(path)["graph"]["totals"]
    model = gr.load(path)
    values = dict(model.variables)
    assert totals["variables"] == len(values)
    assert totals["parameters"] == sum(v.size for v in values.values())
    assert totals["bytes"] == sum(v.nbytes for v in values.values())
    trainable = [spec.name for spec in model.collections["trainable_variables"]]
    assert totals["trainable_parameters"] == sum(values[name].size for name in trainable)


@pytest.mark.parametrize("prefix", [V1, V1_SHARDED, V2, SHARDED, FIXTURES / "v2_dtypes" / "model.ckpt", Path(CUBIC)])
def test_tensors_are_those_of_the_checkpoint(prefix: Path) -> None:
    found = facts(prefix)["checkpoint"]
    with gr.Checkpoint(prefix) as checkpoint:
        assert [t["name"] for t in found["tensors"]] == list(checkpoint)
        for tensor in found["tensors"]:
            value = checkpoint[tensor["name"]]
            assert tensor["dtype"] == checkpoint.spec(tensor["name"]).dtype.name
            assert tensor["shape"] == list(value.shape)
            assert tensor["parameters"] == value.size
            if value.dtype != object:
                assert tensor["bytes"] == value.nbytes
    assert found["version"] == (1 if "v1" in str(prefix) else 2)
    assert found["bytes"] == sum(os.path.getsize(f["path"]) for f in found["files"])
    assert found["problem"] is None


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        (CUBIC, "meta graph", "prefix of a checkpoint with its graph"),
        (CUBIC + ".meta", "meta graph", "MetaGraph"),
        (CUBIC + ".index", "checkpoint", f"the index of the checkpoint {CUBIC}"),
        (CUBIC + ".data-00000-of-00001", "checkpoint", f"file 1 of 1 with the values of the checkpoint {CUBIC}"),
        (CONV, "folder", f"the latest, {CONV}/model_name"),
        (CONV + "/checkpoint", "folder", "the state file of a folder of checkpoints"),
        (SAVED, "saved model", "SavedModel"),
        (SAVED + "/saved_model.pb", "saved model", "SavedModel"),
        (FROZEN, "graph def", "GraphDef"),
        (V1, "meta graph", "prefix of a checkpoint with its graph"),
        (f"{V1_SHARDED}-00001-of-00002", "checkpoint", "file 2 of 2 of the checkpoint"),
        (FIXTURES / "v2_dtypes" / "model.ckpt", "checkpoint", "of version 2, without a graph"),
    ],
)
def test_every_kind_of_path_is_told_apart(path: object, kind: str, words: str) -> None:
    found = facts(path)
    assert found["kind"] == kind
    assert words in found["what"]
    text = call("inspect", path).out
    assert words in text
    assert str(path) in text


def test_a_part_of_a_checkpoint_points_to_the_whole() -> None:
    for ending in (".index", ".data-00000-of-00001"):
        found = facts(CUBIC + ending)
        assert f"graphrack inspect {CUBIC}" in found["hint"]
        assert len(found["checkpoint"]["tensors"]) == 14
        assert found["graph"] is None


def test_values_without_a_graph_say_how_to_give_one(tmp_path: Path) -> None:
    prefix = copied(CUBIC, tmp_path, ".index", ".data")
    found = facts(prefix)
    assert found["kind"] == "checkpoint"
    assert f"--checkpoint {prefix}" in found["hint"]
    assert len(found["checkpoint"]["tensors"]) == 14


def test_a_graph_without_its_checkpoint_says_so(tmp_path: Path) -> None:
    prefix = copied(CUBIC, tmp_path, ".meta")
    for path in (prefix, f"{prefix}.meta"):
        found = facts(path)
        assert found["checkpoint"] is None
        assert len(found["graph"]["variables"]) == 14
        assert any(str(prefix) in p for p in found["problems"])


def test_no_tensor_is_read(tmp_path: Path) -> None:
    prefix = copied(CUBIC, tmp_path)
    whole = facts(prefix)
    data = Path(f"{prefix}.data-00000-of-00001")
    data.write_bytes(b"?" * data.stat().st_size)  # would fail each checksum
    assert facts(prefix) == whole
    data.write_bytes(b"")
    assert "cut off" in facts(prefix)["problems"][0]
    data.unlink()
    assert f"{data} is missing" in facts(f"{prefix}.index")["checkpoint"]["problem"]
    found = facts(prefix)
    assert f"{data} is missing" in found["problems"][0]
    assert found["checkpoint"]["tensors"] == whole["checkpoint"]["tensors"]
    assert f"{data} is missing" in call("inspect", prefix).out


def test_values_whose_index_is_missing_are_an_error_that_names_it(tmp_path: Path) -> None:
    prefix = copied(CUBIC, tmp_path, ".data")
    for path in (prefix, f"{prefix}.data-00000-of-00001"):
        assert f"{prefix}.index is missing" in call("inspect", path, code=1).failure


def test_a_folder_lists_its_checkpoints_and_marks_the_latest() -> None:
    folder = facts(CONV)["folder"]
    assert [c["prefix"] for c in folder["checkpoints"]] == gr.checkpoints(CONV)
    assert folder["latest"] == gr.latest_checkpoint(CONV)
    assert folder["missing"] == []
    assert all(c["listed"] and c["has_graph"] for c in folder["checkpoints"])
    text = call("inspect", CONV).out
    assert "model_name-3000\n" in text
    assert "Checkpoints (5)" in text


def test_a_folder_whose_latest_checkpoint_is_gone_lists_the_others(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CONV, tmp_path / "conv"))
    for file in folder.glob("model_name.*"):
        file.unlink()
    found = facts(folder)
    assert found["folder"]["latest"] is None
    assert found["folder"]["missing"] == [str(folder / "model_name")]
    assert len(found["folder"]["checkpoints"]) == 4
    assert str(folder / "model_name") in found["problems"][0]
    (folder / "checkpoint").unlink()
    found = facts(folder)
    assert found["folder"]["state_file"] is None
    assert len(found["folder"]["checkpoints"]) == 4
    assert "by its prefix" in found["hint"]


def several_tag_sets(folder: Path) -> Path:
    model = SavedModel.FromString((Path(SAVED) / "saved_model.pb").read_bytes())
    other = model.meta_graphs.add()
    other.CopyFrom(model.meta_graphs[0])
    other.meta_info_def.tags[:] = ["serve", "gpu"]
    del other.signature_def["classify"]
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return folder


def test_a_saved_model_with_several_tag_sets_lists_them_and_lets_choose(tmp_path: Path) -> None:
    folder = several_tag_sets(tmp_path)
    found = facts(folder)
    assert [m["tags"] for m in found["meta_graphs"]] == [["serve"], ["gpu", "serve"]]
    assert [len(m["signatures"]) for m in found["meta_graphs"]] == [2, 1]
    assert found["graph"] is None
    assert "--tags" in found["hint"]
    assert "gpu, serve" in call("inspect", folder).out
    chosen = facts(folder, "--tags", "serve,gpu")
    assert [s["name"] for s in chosen["graph"]["signatures"]] == ["serving_default"]
    assert chosen["graph"]["tags"] == ["gpu", "serve"]
    assert "no MetaGraph with tags" in call("inspect", folder, "--tags", "tpu", code=1).failure
    assert "only" in call("inspect", CUBIC, "--tags", "serve", code=1).failure


def test_text_is_shortened_and_options_show_all() -> None:
    short = call("inspect", CONV).out
    assert "… and 14 more: --variables" in short
    assert "Variable_7/Adam_1" not in short
    assert "  Variable_7/Adam_1  " in call("inspect", CONV, "--variables").out
    everything = call("inspect", CONV, "--ops").out
    assert "more: --ops" in short
    for op in facts(CONV)["graph"]["ops"]:
        assert f"{op}\u00a0" in everything


def test_text_says_what_a_user_wants_to_know_first() -> None:
    text = call("inspect", SAVED).out
    for words in (
        "TensorFlow 2.21.0",
        "serving_default",
        "uint8 [?, 8, 8]",
        "probabilities",
        "3,706 of them trainable",
    ):
        assert words in text


def test_no_line_is_broken_or_cut_in_a_pipe() -> None:
    text = call("inspect", FIXTURES / "v2_dtypes" / "model.ckpt", "--variables").out
    assert all(line == line.rstrip() for line in text.splitlines())
    with gr.Checkpoint(FIXTURES / "v2_dtypes" / "model.ckpt") as checkpoint:
        lines = [line.split()[0] for line in text.splitlines() if line.strip()]
        assert set(checkpoint) <= set(lines)


def count(tree: dict[str, Any]) -> int:
    return 1 + max((count(child) for child in tree["children"]), default=0)


def test_the_tree_counts_nodes_and_parameters_of_each_scope() -> None:
    tree = facts(SAVED, "--tree")["tree"]
    names = [
        node.name
        for node in SavedModel.FromString((Path(SAVED) / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def.node
    ]
    values = gr.load(SAVED).variables
    assert tree["nodes"] == len(names)
    assert tree["parameters"] == sum(v.size for v in values.values())
    scopes = {child["name"]: child for child in tree["children"]}
    assert scopes["conv1"]["nodes"] == sum(n == "conv1" or n.startswith("conv1/") for n in names)
    assert scopes["conv1"]["parameters"] == sum(v.size for n, v in values.items() if n.startswith("conv1/"))
    assert scopes["conv1"]["bytes"] == 4 * scopes["conv1"]["parameters"]
    assert "kernel" in [child["name"] for child in scopes["conv1"]["children"]]
    for depth in (1, 2, 3):
        assert count(facts(SAVED, "--depth", depth)["tree"]) == depth + 1
    assert facts(SAVED)["tree"] is None
    assert "── conv1  " in call("inspect", SAVED, "--tree").out


def test_the_tree_of_a_frozen_graph_counts_its_constants_and_of_values_their_tensors() -> None:
    frozen = facts(FROZEN, "--tree")
    assert frozen["tree"]["parameters"] == frozen["graph"]["constants"]["elements"] > 4000
    tensors = facts(CUBIC + ".index", "--tree")["tree"]
    assert tensors["nodes"] == 14
    assert "Variable" in [child["name"] for child in tensors["children"]]


def test_ops_that_graphrack_lacks_are_named(tmp_path: Path) -> None:
    path = identity_graph(tmp_path, "float32", op="NoSuchOp")
    graph = facts(path)["graph"]
    assert graph["missing_ops"] == {"NoSuchOp": 1}
    assert "lacks 1 op: NoSuchOp (1)" in call("inspect", path).out
    assert facts(identity_graph(tmp_path, "float32"))["graph"]["missing_ops"] == {}
    with pytest.raises(gr.UnsupportedOp, match="NoSuchOp"):
        gr.load(identity_graph(tmp_path, "float32", op="NoSuchOp"))(x=1.0)


def test_loops_that_the_interpreter_runs_are_not_lacking(tmp_path: Path) -> None:
    functional = tf.control_flow_v2_enabled()
    tf.disable_control_flow_v2()
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [], "x")
        tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * x), [0, 1.0], name="power")
    if functional:
        tf.enable_control_flow_v2()
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    assert {"Enter", "Merge", "Switch", "Exit", "NextIteration", "LoopCond"} <= set(
        facts(tmp_path / "g.pb")["graph"]["ops"]
    )
    assert facts(tmp_path / "g.pb")["graph"]["missing_ops"] == {}
    assert gr.load(tmp_path / "g.pb").run("power/Exit_1:0", {"x": 2.0}) == 8.0


def test_functions_are_listed_and_calls_of_them_are_no_missing_ops(tmp_path: Path) -> None:
    graph = GraphDef()
    function = graph.library.function.add()
    function.signature.name = "Twice"
    function.signature.input_arg.add(name="v", type=1)
    function.signature.output_arg.add(name="r", type=1)
    node = function.node_def.add(name="sum", op="AddV2", input=["v", "v"])
    node.attr["T"].type = 1
    function.ret["r"] = "sum:z:0"
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    graph.node.add(name="y", op="Twice", input=["x"])
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    found = facts(tmp_path / "g.pb")["graph"]
    assert found["functions"] == [{"name": "Twice", "inputs": 1, "outputs": 1, "nodes": 1}]
    assert found["ops"] == {"AddV2": 1, "Placeholder": 1, "Twice": 1}
    assert found["missing_ops"] == {}
    assert "Functions (1)" in call("inspect", tmp_path / "g.pb").out


def test_text_files_are_read_and_called_text(tmp_path: Path) -> None:
    graph = read_graph_def(FROZEN)
    (tmp_path / "g.pbtxt").write_text(text_format.MessageToString(graph))
    found, binary = facts(tmp_path / "g.pbtxt")["graph"], facts(FROZEN)["graph"]
    assert (found["format"], binary["format"]) == ("text", "binary")
    assert found["ops"] == binary["ops"]


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    graph = GraphDef()
    for name in ("a", "\x1b]0;title\x07\x1b[2J", "[bold]b[/bold]", "c"):
        node = graph.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = 1
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    text = call("inspect", tmp_path / "g.pb").out
    assert "\x1b" not in text
    assert "\\x1b]0;title" in text
    assert "[bold]b[/bold]" in text


def test_collections_of_every_kind_are_json(tmp_path: Path) -> None:
    meta = MetaGraphDef()
    meta.graph_def.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    meta.collection_def["nodes"].node_list.value.extend(["x:0", "x", "gone:0"])
    meta.collection_def["bytes"].bytes_list.value.extend([b"text", b"\xff\0"])
    meta.collection_def["ints"].int64_list.value.extend([1, 2])
    meta.collection_def["floats"].float_list.value.extend([0.5, math.inf])
    meta.collection_def["any"].any_list.value.add(type_url="type.googleapis.com/tensorflow.AssetFileDef")
    (tmp_path / "m.meta").write_bytes(meta.SerializeToString())
    found = facts(tmp_path / "m.meta")["graph"]["collections"]
    assert found == {
        "any": [{"type": "type.googleapis.com/tensorflow.AssetFileDef"}],
        "bytes": ["text", {"bytes": 2}],
        "floats": [0.5, "Infinity"],
        "ints": [1, 2],
        "nodes": [{"name": "x:0", "dtype": "float32", "shape": None}, "x", "gone:0"],
    }
    assert "tensorflow.AssetFileDef" in call("inspect", tmp_path / "m.meta").out


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"hello", "no graph"), (b"\x89HDF\r\n\x1a\n\0", "HDF5"), (b"\x0a\xff\x01", "")],
)
def test_what_is_no_model_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.pb"
    path.write_bytes(content)
    assert words in call("inspect", path, code=1).failure


def test_a_wrong_path_is_one_line_with_the_closest_names(tmp_path: Path) -> None:
    assert "digits_frozen.pb" in call("inspect", MODELS / "digits_frozn.pb", code=1).failure
    assert "digits_saved_model" in call("inspect", MODELS, code=1).failure
    assert "empty" in call("inspect", tmp_path, code=1).failure


def test_a_damaged_index_is_one_line(tmp_path: Path) -> None:
    prefix = copied(CUBIC, tmp_path, ".index")
    data = bytearray(Path(f"{prefix}.index").read_bytes())
    data[20] ^= 1
    Path(f"{prefix}.index").write_bytes(data)
    assert f"{prefix}.index" in call("inspect", f"{prefix}.index", code=1).failure


@pytest.mark.skipif(not HAND.with_name("model.ckpt.meta").exists(), reason="the shared models are not here")
def test_a_large_graph_without_its_values_is_inspected() -> None:
    found = facts(HAND, "--depth", 1)
    assert found["graph"]["nodes"] == 4731
    assert found["graph"]["tensorflow_version"] == "1.14.0"
    assert len(found["checkpoint"]["tensors"]) == 325
    assert "data-00000-of-00001 is missing" in found["problems"][0]


DAMAGED = [CUBIC + ".meta", SAVED + "/saved_model.pb", FROZEN, f"{V2}.index", str(V1), CONV + "/checkpoint"]


@settings(max_examples=150)
@given(st.sampled_from(DAMAGED), st.lists(st.tuples(st.integers(0), st.binary(max_size=4)), min_size=1, max_size=3))
def test_whatever_is_damaged_is_shown_or_told_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, source: str, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(Path(source).read_bytes())
    for place, new in changes:
        at = place % len(data)
        data[at : at + max(1, len(new))] = new
    path = tmp_path_factory.mktemp("damaged") / Path(source).name
    path.write_bytes(data or b"\0")
    outcome = call("inspect", path, "--tree", "--variables", code=None)
    assert outcome.code in (0, 1)
    assert outcome.code == 0 or outcome.failure
