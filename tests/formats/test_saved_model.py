from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2
from google.protobuf import text_format

from graphrack.errors import AmbiguousOutput, CorruptFile, FileError, PermissionDenied, UnknownName
from graphrack.formats.graph_files import open_model_file, read_graph_def, read_meta_graph
from graphrack.formats.protos import graph_pb2, metagraph_pb2
from graphrack.formats.saved_model import read_saved_model

SHARED = Path(__file__).parents[2].parent / "shared" / "models"


@pytest.fixture(scope="module")
def tf1(tmp_path_factory) -> Path:
    """A SavedModel of TensorFlow 1 with two MetaGraphs, a variable and an asset."""
    folder = tmp_path_factory.mktemp("tf1") / "model"
    words = folder.parent / "words.txt"
    words.write_text("one\ntwo\n")
    builder = tf.saved_model.Builder(str(folder))
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None], name="x")
        y = tf.multiply(x, tf.Variable(2.0, name="w"), name="y")
        asset = tf.constant(str(words), name="asset")
        tf.add_to_collection(tf.GraphKeys.ASSET_FILEPATHS, asset)
        sess.run(tf.global_variables_initializer())
        signature = tf.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(sess, ["serve"], {"serving_default": signature}, assets_collection=[asset])
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.placeholder(tf.float32, [None], name="other")
        tf.Variable(2.0, name="w")
        builder.add_meta_graph(["serve", "gpu"])
    builder.save()
    return folder


@pytest.fixture(scope="module")
def tf2_model(tmp_path_factory) -> Path:
    """A SavedModel of TensorFlow 2 with a function and a lookup table's asset."""
    folder = tmp_path_factory.mktemp("tf2")
    (folder / "words.txt").write_text("one\ntwo\n")

    class Module(tf2.Module):
        def __init__(self):
            super().__init__()
            self.words = tf2.saved_model.Asset(str(folder / "words.txt"))
            self.w = tf2.Variable(3.0)

        @tf2.function(input_signature=[tf2.TensorSpec([None], tf2.float32)])
        def __call__(self, x):
            return x * self.w

    with tf2.init_scope():
        tf2.saved_model.save(Module(), str(folder / "model"))
    return folder / "model"


def test_tags_choose_among_meta_graphs(tf1):
    file = open_model_file(tf1, tags={"serve"})
    assert file.kind == "saved model"
    assert file.path == str(tf1 / "saved_model.pb")
    assert "x" in {node.name for node in file.graph_def.node}
    assert file.tf_version == tf.__version__
    assert file.prefix == str(tf1 / "variables" / "variables")
    other = open_model_file(tf1, tags=["gpu", "serve"])
    assert "other" in {node.name for node in other.graph_def.node}
    assert open_model_file(tf1, tags="serve").digest == file.digest != other.digest


def test_several_meta_graphs_need_tags_and_the_error_lists_them(tf1):
    with pytest.raises(AmbiguousOutput, match=r"\{'serve'\}, \{'gpu', 'serve'\}"):
        open_model_file(tf1)


def test_unknown_tags_are_an_error_that_lists_those_there_are(tf1):
    with pytest.raises(UnknownName, match=r"no MetaGraph with tags \{'tpu'\}; there are \{'serve'\}, "):
        open_model_file(tf1, tags={"tpu"})


def test_assets_are_found_in_the_folder_by_the_tensor_they_are_fed_to(tf1, tf2_model):
    assert open_model_file(tf1, tags="serve").assets == {"asset:0": str(tf1 / "assets" / "words.txt")}
    assert list(open_model_file(tf2_model).assets.values()) == [str(tf2_model / "assets" / "words.txt")]


def test_asset_file_defs_count_before_the_collection(tf1, tmp_path):
    model = metagraph_pb2.SavedModel.FromString((tf1 / "saved_model.pb").read_bytes())
    assert "saved_model_assets" in model.meta_graphs[0].collection_def
    assert not model.meta_graphs[0].asset_file_def  # TensorFlow 1 writes the collection alone
    model.meta_graphs[0].asset_file_def.add(filename="sub/other.txt").tensor_info.name = "asset:0"
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    assert open_model_file(tmp_path, tags="serve").assets == {"asset:0": str(tmp_path / "assets" / "sub" / "other.txt")}


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "", "a/../../b"])
def test_an_asset_outside_of_the_folder_is_refused(tf1, tmp_path, name):
    model = metagraph_pb2.SavedModel.FromString((tf1 / "saved_model.pb").read_bytes())
    model.meta_graphs[0].asset_file_def.add(filename=name).tensor_info.name = "asset:0"
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(PermissionDenied, match="outside of its folder `assets`"):
        open_model_file(tmp_path, tags="serve")


def test_the_graph_alone_is_enough_to_open_a_saved_model(tf1, tmp_path):
    shutil.copy(tf1 / "saved_model.pb", tmp_path / "saved_model.pb")
    for path in (tmp_path, tmp_path / "saved_model.pb"):
        file = open_model_file(path, tags="serve")
        assert file.prefix is None
        assert file.graph_def.node


def test_the_text_form_opens_with_its_assets_spelled_out(tf1, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    original = saved_model_pb2.SavedModel.FromString((tf1 / "saved_model.pb").read_bytes())
    text = text_format.MessageToString(original)
    assert "[type.googleapis.com/tensorflow.AssetFileDef]" in text
    (tmp_path / "saved_model.pbtxt").write_text(text)
    file = open_model_file(tmp_path, tags="serve")
    assert file.path == str(tmp_path / "saved_model.pbtxt")
    assert file.meta_graph == open_model_file(tf1, tags="serve").meta_graph


def test_a_functions_saved_model_opens_and_keeps_its_object_graph(tf2_model):
    saved = read_saved_model(tf2_model)
    assert saved.meta_graph.graph_def.library.function
    assert saved.meta_graph.object_graph_def.nodes
    assert saved.prefix == str(tf2_model / "variables" / "variables")
    assert read_meta_graph(tf2_model / "saved_model.pb") == saved.meta_graph
    assert read_graph_def(tf2_model / "saved_model.pb") == saved.meta_graph.graph_def


def test_reading_one_graph_of_several_says_how_to_choose(tf1):
    with pytest.raises(CorruptFile, match=r"2 MetaGraphs.*read_saved_model"):
        read_graph_def(tf1 / "saved_model.pb")


def test_bytes_and_unknown_fields_survive_a_round_trip(tf1, tf2_model):
    from tensorflow.core.protobuf import saved_model_pb2

    for folder in (tf1, tf2_model):
        data = (folder / "saved_model.pb").read_bytes() + b"\xc2\x3e\x03abc"  # field 1000
        mine = metagraph_pb2.SavedModel.FromString(data)
        again = saved_model_pb2.SavedModel.FromString(mine.SerializeToString(deterministic=True))
        expected = saved_model_pb2.SavedModel.FromString(data)
        assert again.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
        assert mine.SerializeToString(deterministic=True).endswith(b"\xc2\x3e\x03abc")


def test_a_folder_that_is_no_saved_model_is_an_error(tmp_path, tf1):
    with pytest.raises(FileError, match=r"neither saved_model\.pb nor saved_model\.pbtxt"):
        read_saved_model(tmp_path)
    with pytest.raises(FileError, match="does not exist"):
        read_saved_model(tmp_path / "nothing")
    with pytest.raises(FileError, match=f"can be opened: '{tf1}'"):
        open_model_file(tf1.parent)
    (tmp_path / "saved_model.pb").write_bytes(graph_pb2.GraphDef(node=[{"name": "a", "op": "A"}]).SerializeToString())
    with pytest.raises(CorruptFile, match="holds a GraphDef, not a SavedModel"):
        read_saved_model(tmp_path)
    assert open_model_file(tmp_path).kind == "graph def"


def test_a_saved_model_split_into_chunks_is_named(tmp_path):
    (tmp_path / "saved_model.cpb").write_bytes(b"x")
    with pytest.raises(FileError, match=r"split into chunks \(saved_model.cpb\)"):
        open_model_file(tmp_path)


def test_a_damaged_asset_list_is_an_error(tf1, tmp_path):
    model = metagraph_pb2.SavedModel.FromString((tf1 / "saved_model.pb").read_bytes())
    model.meta_graphs[0].collection_def["saved_model_assets"].any_list.value[0].value = b"\xff"
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(CorruptFile, match="asset"):
        open_model_file(tmp_path, tags="serve")


@pytest.mark.skipif(not SHARED.is_dir(), reason="other people's models are not here")
def test_tensorflow_serving_s_model_opens():
    folder = SHARED / "saved_model_half_plus_two_cpu" / "00000123"
    file = open_model_file(folder)
    assert file.meta_graph is not None
    assert set(file.meta_graph.signature_def) >= {"serving_default", "regress_x_to_y"}
    (asset,) = file.assets.values()
    assert Path(asset).samefile(folder / "assets" / "foo.txt")
    assert file.prefix is not None
    assert Path(file.prefix + ".index").samefile(folder / "variables" / "variables.index")
    with pytest.raises(FileError, match="00000123"):
        open_model_file(folder.parent)
