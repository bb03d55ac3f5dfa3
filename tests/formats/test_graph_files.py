from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
import tensorflow.compat.v1 as tf
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrack.errors import CorruptFile, FileError, GraphrackError
from graphrack.formats.graph_files import ModelFile, open_model_file, read_graph_def, read_meta_graph
from graphrack.formats.protos import graph_pb2, metagraph_pb2

SHARED = Path(__file__).parents[2].parent / "shared" / "models"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """One small graph, saved in every way that TensorFlow 1 has."""
    folder = tmp_path_factory.mktemp("models")
    for part in ("v2", "v1", "v1s"):
        (folder / part).mkdir()
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        w = tf.Variable([[1.0], [2.0]], name="w")
        tf.identity(x @ w, name="y")
        sess.run(tf.global_variables_initializer())
        saver = tf.train.Saver(max_to_keep=2, save_relative_paths=True)
        saver.save(sess, str(folder / "v2" / "model"), global_step=1)
        saver.save(sess, str(folder / "v2" / "model"), global_step=2)
        old = tf.train.Saver(write_version=tf.train.SaverDef.V1)
        old.save(sess, str(folder / "v1" / "model"))
        sharded = tf.train.Saver(write_version=tf.train.SaverDef.V1, sharded=True)
        sharded.save(sess, str(folder / "v1s" / "model"))
        tf.train.write_graph(graph, str(folder), "graph.pb", as_text=False)
        tf.train.write_graph(graph, str(folder), "graph.pbtxt")
        tf.train.export_meta_graph(str(folder / "text.meta"), as_text=True)
    shutil.copy(folder / "v2" / "model-2.meta", folder / "alone.meta")
    shutil.copy(folder / "v2" / "model-2.meta", folder / "meta.pb")
    shutil.copy(folder / "graph.pbtxt", folder / "text.pb")
    return folder


def names(graph_def: graph_pb2.GraphDef) -> list[str]:
    return [node.name for node in graph_def.node]


def attempt(path: Path) -> tuple[ModelFile | None, str]:
    """A file opened, or graphrack's words on why it cannot be; any other error fails the test."""
    try:
        return open_model_file(path), ""
    except GraphrackError as error:
        return None, str(error)


def test_a_prefix_opens_its_meta_file(models):
    file = open_model_file(models / "v2" / "model-1")
    assert file.kind == "meta graph"
    assert file.path == str(models / "v2" / "model-1.meta")
    assert file.prefix == str(models / "v2" / "model-1")
    assert file.tf_version == tf.__version__
    assert file.assets == {}
    assert file.digest == hashlib.sha256((models / "v2" / "model-1.meta").read_bytes()).hexdigest()
    assert {"x", "w", "y"} <= set(names(file.graph_def))
    assert file.meta_graph is not None
    assert file.meta_graph.saver_def.restore_op_name == "save/restore_all"


def test_a_meta_file_opens_with_the_checkpoint_beside_it_if_there_is_one(models):
    assert open_model_file(models / "v2" / "model-2.meta").prefix == str(models / "v2" / "model-2")
    assert open_model_file(models / "alone.meta").prefix is None


@pytest.mark.parametrize("path", ["v1/model", "v1/model.meta", "v1s/model", "v1s/model.meta"])
def test_checkpoints_of_version_1_are_prefixes_too(models, path):
    file = open_model_file(models / path)
    assert file.kind == "meta graph"
    assert file.prefix == str(models / path).removesuffix(".meta")


def test_a_folder_opens_its_latest_checkpoint(models):
    for path in (models / "v2", f"{models}/v2/", models / "v2" / "checkpoint"):
        assert open_model_file(path).prefix == str(models / "v2" / "model-2")


def test_a_relative_path_gives_relative_paths(models, monkeypatch):
    monkeypatch.chdir(models / "v2")
    assert open_model_file("model-1").prefix == "model-1"
    assert open_model_file("checkpoint").prefix in ("./model-2", "model-2")


def test_a_path_given_as_bytes_opens(models):
    assert open_model_file(os.fsencode(models / "graph.pb")).kind == "graph def"


def test_a_prefix_wins_over_a_folder_of_its_name_unless_it_ends_in_a_slash(models, tmp_path):
    shutil.copytree(models / "v2", tmp_path / "m")
    shutil.copy(models / "alone.meta", tmp_path / "m.meta")
    assert open_model_file(tmp_path / "m").path == str(tmp_path / "m.meta")
    assert open_model_file(f"{tmp_path}/m/").path == str(tmp_path / "m" / "model-2.meta")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("graph.pb", "graph def"),
        ("graph.pbtxt", "graph def"),
        ("text.pb", "graph def"),
        ("text.meta", "meta graph"),
        ("meta.pb", "meta graph"),
    ],
)
def test_contents_decide_what_a_file_holds_whatever_it_is_called(models, name, kind):
    file = open_model_file(models / name)
    assert file.kind == kind
    assert {"x", "w", "y"} <= set(names(file.graph_def))
    assert file.prefix is None
    assert (file.meta_graph is None) == (kind == "graph def")
    assert names(read_graph_def(models / name)) == names(file.graph_def)


def test_text_and_binary_give_equal_graphs(models):
    assert read_graph_def(models / "graph.pb") == read_graph_def(models / "graph.pbtxt")


def test_read_meta_graph_reads_meta_graphs_only(models):
    assert read_meta_graph(models / "text.meta").graph_def.node
    with pytest.raises(CorruptFile, match=r"bare GraphDef; a MetaGraphDef \(a `.meta` file\) was expected"):
        read_meta_graph(models / "graph.pb")


def test_bytes_round_trip_unchanged(models):
    for path in (models / "graph.pb", models / "alone.meta"):
        kind = graph_pb2.GraphDef if path.suffix == ".pb" else metagraph_pb2.MetaGraphDef
        assert len(kind.FromString(path.read_bytes()).SerializeToString()) == path.stat().st_size
    original = tf.MetaGraphDef.FromString((models / "alone.meta").read_bytes())
    mine = read_meta_graph(models / "alone.meta")
    assert tf.MetaGraphDef.FromString(mine.SerializeToString()) == original
    expected = original.SerializeToString(deterministic=True)
    assert mine.SerializeToString(deterministic=True) == expected


def test_a_graph_without_nodes_is_a_graph(tmp_path):
    with tf.Graph().as_default() as graph:
        (tmp_path / "empty.pb").write_bytes(graph.as_graph_def().SerializeToString())
    assert not open_model_file(tmp_path / "empty.pb").graph_def.node


# ---------------------------------------------------------------------------------------------------------
# What is no model


def message(path, **options) -> str:
    with pytest.raises(FileError) as caught:
        open_model_file(path, **options)
    assert str(path).rstrip("/") in str(caught.value)
    return str(caught.value)


def test_parts_of_a_checkpoint_name_the_prefix_to_open(models):
    v2, prefix = models / "v2", str(models / "v2" / "model-1")
    assert f"gr.load({prefix!r})" in message(v2 / "model-1.index")
    assert f"gr.load({prefix!r})" in message(v2 / "model-1.data-00000-of-00001")
    shard = message(models / "v1s" / "model-00000-of-00001")
    assert "version 1" in shard
    assert f"gr.load({str(models / 'v1s' / 'model')!r})" in shard


def test_values_without_a_graph_say_what_can_be_done_with_them(models, tmp_path):
    for suffix in ("index", "data-00000-of-00001"):
        shutil.copy(models / "v2" / f"model-1.{suffix}", tmp_path / f"m.{suffix}")
    shutil.copy(models / "v1" / "model", tmp_path / "old")
    for path, prefix in (("m", "m"), ("m.index", "m"), ("m.data-00000-of-00001", "m"), ("old", "old")):
        words = message(tmp_path / path)
        prefix = str(tmp_path / prefix)
        assert f"{prefix + '.meta'!r} does not exist" in words
        assert f"gr.Checkpoint({prefix!r})" in words
        assert f"gr.load('graph.pb', checkpoint={prefix!r})" in words


def test_a_missing_path_comes_with_the_nearest_names(models):
    assert "'model-1.meta'" in message(models / "v2" / "modle-1.meta")
    assert "no 'v3' in folder" in message(models / "v3" / "model")
    assert "'v2'" in message(models / "v3" / "model")


def test_a_folder_without_a_model_names_what_could_be_opened_in_it(models, tmp_path):
    assert "it is empty" in message(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert "'notes.txt'" in message(tmp_path)
    shutil.copy(models / "alone.meta", tmp_path / "m.meta")
    assert f"these in it can be opened: {str(tmp_path / 'm')!r}" in message(tmp_path)


def test_a_state_file_without_its_checkpoint_is_named(models, tmp_path):
    shutil.copy(models / "v2" / "checkpoint", tmp_path / "checkpoint")
    with pytest.raises(FileError, match=r"checkpoint.*model-2.*not there"):
        open_model_file(tmp_path)


def test_a_latest_checkpoint_without_its_meta_proposes_another(models, tmp_path):
    shutil.copytree(models / "v2", tmp_path / "v2")
    os.remove(tmp_path / "v2" / "model-2.meta")
    words = message(tmp_path / "v2")
    one, two = str(tmp_path / "v2" / "model-1.meta"), str(tmp_path / "v2" / "model-2")
    assert f"gr.load({one!r}, checkpoint={two!r})" in words
    os.remove(one)
    assert f"gr.Checkpoint({two!r})" in message(tmp_path / "v2")


def test_tags_for_what_has_none_are_an_error(models):
    assert "only SavedModels have tags" in message(models / "graph.pb", tags={"serve"})
    with pytest.raises(FileError, match="only SavedModels have tags"):
        open_model_file(models / "v2" / "model-1", tags="serve")


OTHERS = {
    "empty": (b"", "is empty"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "zip": (b"PK\x03\x04" + bytes(100), "zip archive"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(100), "TensorFlow Lite"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(100), "gzip"),
    "NumPy": (b"\x93NUMPY\x01\0" + bytes(100), "NumPy array"),
    "pickle": (b"\x80\x04\x95" + bytes(100), "pickle"),
    "JSON": (b'{"model": 1}', "JSON"),
    "safetensors": (b"\x10\0\0\0\0\0\0\0" + b'{"a":{}}        ', "safetensors"),
    "web page": (b"<!DOCTYPE html><html></html>", "web page"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "UTF-16": ("node { }".encode("utf-16"), "UTF-16"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x012:\x03\x0a\x01aB\x04\x0a\0\x10\x0d", "ONNX"),
    "plain text": (b"hello\nworld\n", "it begins with 'hello"),
    "a label map": (b'item {\n  id: 1\n  name: "cat"\n}\n', "label map"),
    "a state file": (b'model_checkpoint_path: "m"\n', "open the folder"),
    "noise": (bytes(range(255, 0, -1)) * 4, "is no graph file"),
}


@pytest.mark.parametrize(("data", "words"), OTHERS.values(), ids=OTHERS)
def test_other_files_are_called_what_they_seem_to_be(tmp_path, data, words):
    path = tmp_path / "model.pb"
    path.write_bytes(data)
    with pytest.raises(CorruptFile) as caught:
        open_model_file(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_checkpoint_s_index_under_another_name_is_recognised(models, tmp_path):
    shutil.copy(models / "v2" / "model-1.index", tmp_path / "frozen.pb")
    assert "gr.Checkpoint" in message(tmp_path / "frozen.pb")


def test_a_binary_file_cut_anywhere_is_an_error_or_a_shorter_graph(models, tmp_path):
    data = (models / "graph.pb").read_bytes()
    whole = names(read_graph_def(models / "graph.pb"))
    path = tmp_path / "cut.pb"
    cut_short = 0
    for size in range(1, len(data), 7):
        path.write_bytes(data[:size])
        opened, problem = attempt(path)
        if opened is None:
            assert f"({size} bytes" in problem
            cut_short += "cut short" in problem
        else:  # between two nodes: a whole message, as far as can be seen here
            assert names(opened.graph_def) == whole[: len(opened.graph_def.node)]
    assert cut_short > len(data) / 7 * 0.8


def test_a_mistake_in_a_text_is_named_by_line_and_column(tmp_path):
    path = tmp_path / "graph.pbtxt"
    path.write_text('node {\n  name: "a"\n  op: "NoOp"\n  colour: 3\n}\n')
    with pytest.raises(CorruptFile, match=r"no GraphDef: line 4, column 3: .*colour"):
        open_model_file(path)
    path.write_text('node {\n  name: "a"\n  op: "NoOp"\n')
    with pytest.raises(CorruptFile, match='no GraphDef: line 3, column 7: Expected "}"'):
        open_model_file(path)


def test_a_text_with_a_comment_or_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "graph.pb"
    path.write_bytes(b'\xef\xbb\xbf# a graph\n\nnode { name: "a" op: "NoOp" }\n')
    assert names(read_graph_def(path)) == ["a"]


def test_messages_nested_too_deep_are_an_error_in_both_forms(tmp_path):
    deep = b""
    for _ in range(5000):
        size, length = len(deep), b""
        while True:
            length += bytes([(size & 127) | (128 if size > 127 else 0)])
            size >>= 7
            if not size:
                break
        deep = b"\x12" + length + deep
    node = graph_pb2.NodeDef(name="a", op="NoOp").SerializeToString()
    path = tmp_path / "deep.pb"
    inner = node + b"\x3a" + length_prefixed(deep)
    path.write_bytes(b"\x0a" + length_prefixed(inner))
    with pytest.raises(CorruptFile):
        open_model_file(path)
    path.write_text('node { name: "a" op: "NoOp" experimental_type {' + "args {" * 5000 + "}" * 5000 + "}}")
    with pytest.raises(CorruptFile, match="deep"):
        open_model_file(path)


def length_prefixed(data: bytes) -> bytes:
    size, length = len(data), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return length + bytes([size]) + data


def test_a_file_that_may_not_be_read_is_an_error(tmp_path, models):
    path = tmp_path / "m.meta"
    shutil.copy(models / "alone.meta", path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        path.unlink()
        path.mkdir()  # for a user who may read everything: what cannot be read as a file
    with pytest.raises(FileError):
        open_model_file(path)


@settings(max_examples=150)
@given(at=st.floats(0, 1, exclude_max=True), what=st.binary(min_size=1, max_size=4), name=st.sampled_from(
    ["alone.meta", "graph.pb", "graph.pbtxt", "text.meta"]
))  # fmt: skip
def test_a_damaged_file_is_a_graph_or_a_graphrack_error(models, tmp_path_factory, at, what, name):
    data = bytearray((models / name).read_bytes())
    start = int(at * len(data))
    data[start : start + len(what)] = what
    path = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    path.write_bytes(data)
    file, problem = attempt(path)
    assert str(path) in problem if file is None else file.graph_def is not None


@settings(max_examples=150)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_bytes_are_a_graph_or_a_graphrack_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.pb"
    path.write_bytes(data)
    file, problem = attempt(path)
    assert str(path) in problem if file is None else isinstance(file.graph_def, graph_pb2.GraphDef)


text_values = st.sampled_from(
    ['"a"', "'\\xff'", "1e999", "-5", "99999999999999999999", "{", "}", "[", "]", "<", ">", "true", "nan", ":", "#"]
)


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["node", "name:", "op:", "attr", "value", "key:", "versions", "producer:", "library",
                             "tensor", "dtype:", "DT_FLOAT", "[type.googleapis.com/tensorflow.AssetFileDef]"]),
            text_values,
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_text_is_a_graph_or_a_graphrack_error(tmp_path_factory, words):
    path = tmp_path_factory.getbasetemp() / "any.pbtxt"
    path.write_text("node { " + " ".join(words))
    file, problem = attempt(path)
    assert str(path) in problem if file is None else isinstance(file.graph_def, graph_pb2.GraphDef)


def test_text_form_of_a_binary_graph_reads_the_same(models, tmp_path):
    graph = read_graph_def(models / "graph.pb")
    path = tmp_path / "again.pbtxt"
    path.write_text(text_format.MessageToString(graph))
    assert read_graph_def(path) == graph


@pytest.mark.skipif(not SHARED.is_dir(), reason="other people's models are not here")
def test_a_detector_s_meta_graph_opens_by_prefix_and_by_file():
    prefix = str(SHARED / "ssd_hand" / "model.ckpt")
    for path in (prefix, prefix + ".meta"):
        file = open_model_file(path)
        assert (file.kind, file.prefix) == ("meta graph", prefix)
        assert file.tf_version.startswith("1.")
        assert len(file.graph_def.node) > 4000
    data = Path(prefix + ".meta").read_bytes()
    theirs = tf.MetaGraphDef.FromString(data).SerializeToString(deterministic=True)
    assert file.meta_graph.SerializeToString(deterministic=True) == theirs
