"""Large graph files opened by their outline: the same graph, values and errors as by all of their bytes."""

from __future__ import annotations

import gc
import io
import os
import random
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrack as gr
from graphrack.errors import CorruptFile, GraphError, GraphrackError
from graphrack.formats import graph_files
from graphrack.formats.graph_files import open_model_file
from graphrack.formats.outline import filled, read_outline
from graphrack.formats.proto_files import parse_graph_message
from graphrack.formats.protos import graph_pb2, metagraph_pb2
from graphrack.formats.tensor import tensor_from_proto
from graphrack.graph.index import GraphIndex

DTYPES = ["float32", "float64", "int32", "int64", "uint8", "int16", "float16", "bfloat16", "complex64", "bool", "qint8"]
KINDS = [graph_pb2.GraphDef, metagraph_pb2.MetaGraphDef, metagraph_pb2.SavedModel]


def constants(seed: int, count: int = 6, least: int = 0, most: int = 40_000) -> tf.GraphDef:
    """A graph of constants of many dtypes and lengths, strings and a function among them, as TensorFlow writes it."""
    rng = np.random.default_rng(seed)
    with tf.Graph().as_default() as graph:
        for i in range(count):
            dtype = tf.as_dtype(str(rng.choice(DTYPES)))
            size = int(rng.integers(least, most))
            shape = [size] if rng.random() < 0.5 else [size // 4, 4]
            values = rng.integers(0, 2 if dtype == tf.bool else 100, shape).astype(dtype.as_numpy_dtype)
            tf.constant(values, dtype, name=f"c{i}")
        tf.constant([b"word" * int(rng.integers(1, 9))] * 3000, name="words")
        tf.constant(0.5, tf.float32, [100, 100], name="filled")
        large = tf.constant(rng.normal(size=(80, 80)).astype(np.float32))
        tf.identity(large @ large, name="y")
    return graph.as_graph_def()


def wrapped(graph: tf.GraphDef, kind: type) -> bytes:
    """The bytes of a message of that kind with the graph in it."""
    mine = graph_pb2.GraphDef.FromString(graph.SerializeToString())
    if kind is graph_pb2.GraphDef:
        return mine.SerializeToString()
    meta = metagraph_pb2.MetaGraphDef(graph_def=mine)
    meta.meta_info_def.tags.append("serve")
    meta.meta_info_def.meta_graph_version = "of the outline's tests"
    if kind is metagraph_pb2.MetaGraphDef:
        return meta.SerializeToString()
    return metagraph_pb2.SavedModel(saved_model_schema_version=1, meta_graphs=[meta, meta]).SerializeToString()


def on_disk(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def small_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of any size are read by their outline."""
    monkeypatch.setattr(graph_files, "_SMALL_BYTES", 0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.DESCRIPTOR.name)
@pytest.mark.parametrize("seed", range(4))
def test_an_outline_and_its_contents_are_the_message(kind: type, seed: int, tmp_path: Path) -> None:
    data = wrapped(constants(seed), kind)
    with on_disk(tmp_path / "graph", data).open("rb") as file:
        outline = read_outline(file, kind)
    assert outline is not None
    assert len(outline.data) + outline.contents.size < len(data) + 64 * 20
    message = kind.FromString(outline.data)
    assert filled(message, outline.contents) == kind.FromString(data)
    assert message == kind.FromString(outline.data), "filling a copy has changed the outline"


@pytest.mark.parametrize("seed", range(6))
def test_constants_are_those_of_the_message(seed: int, tmp_path: Path) -> None:
    graph = constants(seed, most=20_000)
    with on_disk(tmp_path / "graph", wrapped(graph, graph_pb2.GraphDef)).open("rb") as file:
        outline = read_outline(file, graph_pb2.GraphDef)
    assert outline is not None
    index = GraphIndex(graph_pb2.GraphDef.FromString(outline.data), contents=outline.contents)
    outside = 0
    for node in graph.node:
        if node.op != "Const":
            continue
        found = index.constant(index.node(node.name))
        expected = tf.make_ndarray(node.attr["value"].tensor)
        assert found.shape == expected.shape
        if found.dtype.names is None:
            np.testing.assert_array_equal(found, expected.astype(found.dtype))
        if index.node(node.name).attr["value"].tensor.HasField("content_at"):
            outside += 1
            assert found.ctypes.data % 64 == 0
            assert not found.flags.writeable
            assert np.may_share_memory(found, outline.contents)
    assert outside


def test_only_long_contents_of_plain_numbers_are_taken_out(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.constant(np.ones(5000, np.float32), name="long")
        tf.constant(np.ones(4000, np.float32), name="short")
        tf.constant(np.ones(50_000, np.bool_), name="truths")
        tf.constant([b"x" * 30_000], name="words")
    data = graph.as_graph_def().SerializeToString()
    with on_disk(tmp_path / "graph", data).open("rb") as file:
        outline = read_outline(file, graph_pb2.GraphDef)
    assert outline is not None
    nodes = graph_pb2.GraphDef.FromString(outline.data).node
    assert [n.name for n in nodes if n.attr["value"].tensor.HasField("content_at")] == ["long"]
    assert outline.contents.size == 20_000


def test_a_message_of_another_kind_and_bytes_that_are_none_have_no_outline(tmp_path: Path) -> None:
    path = on_disk(tmp_path / "graph", wrapped(constants(1), metagraph_pb2.MetaGraphDef))
    noise = on_disk(tmp_path / "noise", random.Random(1).randbytes(1 << 21))
    for file, kind in ((path, graph_pb2.GraphDef), (noise, graph_pb2.GraphDef), (noise, metagraph_pb2.SavedModel)):
        with file.open("rb") as opened:
            assert read_outline(opened, kind) is None


def test_a_constant_outside_is_refused_where_its_contents_arent_at_hand() -> None:
    tensor = graph_pb2.TensorProto(dtype=1)
    tensor.tensor_shape.dim.add(size=4)
    tensor.content_at.offset, tensor.content_at.size = 64, 16
    contents = np.zeros(128, np.uint8)
    assert tensor_from_proto(tensor, contents).tolist() == [0, 0, 0, 0]
    for at_hand in (None, contents[:70]):
        with pytest.raises(GraphError, match="says that its 16 bytes lie elsewhere"):
            tensor_from_proto(tensor, at_hand)
    tensor.content_at.size = 8
    with pytest.raises(GraphError, match=r"4 elements of float32 has 8 bytes of tensor_content; 16 were expected"):
        tensor_from_proto(tensor, contents)


@pytest.mark.parametrize("name", ["graph.pb", "graph.meta", "saved_model.pb", "graph"])
@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind.DESCRIPTOR.name)
def test_files_of_any_name_open_as_by_all_of_their_bytes(
    kind: type, name: str, tmp_path: Path, small_too: None
) -> None:
    data = wrapped(constants(3), kind)
    file = open_model_file(on_disk(tmp_path / name, data))
    whole = parse_graph_message(data, name)
    assert file.graph_def == (whole if isinstance(whole, graph_pb2.GraphDef) else whole.graph_def)
    assert file.meta_graph == (None if isinstance(whole, graph_pb2.GraphDef) else whole)


def _opened(path: Path, data: bytes, small_bytes: int) -> tuple[str, object]:
    """What opening a file of these bytes and decoding its constants comes to."""
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_files, "_SMALL_BYTES", small_bytes)
        try:
            file = open_model_file(path)
        except GraphrackError as error:
            return type(error).__name__, str(error)
        try:
            index = GraphIndex(file.outline().graph_def, contents=file.contents)
        except GraphrackError as error:
            return type(error).__name__, str(error)
        found: dict[str, object] = {}
        for node in index:
            if node.op == "Const":
                try:
                    value = index.constant(node)
                    found[node.name] = (str(value.dtype), value.shape, value.tobytes() if value.dtype != object else 0)
                except GraphrackError as error:
                    found[node.name] = str(error)
        return "opened", (found, file.graph_def.SerializeToString(deterministic=True))


@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind.DESCRIPTOR.name)
@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_what_they_are_by_all_of_their_bytes(
    tmp_path_factory: pytest.TempPathFactory, kind: type, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "graph"
    good = bytearray(wrapped(constants(5, count=2, least=5000, most=9000), kind))
    # Between the long contents lies what gives the message its form: most of the damage is done there.
    heads = [0, len(good)] + [i for i in range(len(good) - 5) if good[i : i + 5] in (b"value", b"Const", b"dtype")]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(heads)) + data.draw(st.integers(-12, 24))
        at = min(max(at, 0), len(good) - 1)
        how = data.draw(st.sampled_from(["flip", "out", "in", "cut"]))
        if how == "flip":
            good[at] = data.draw(st.integers(0, 255))
        elif how == "out":
            del good[at : at + data.draw(st.integers(1, 4))]
        elif how == "in":
            good[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        elif data.draw(st.integers(0, 3)) == 0:
            del good[at:]
        if not good:
            return
    assert _opened(path, bytes(good), 0) == _opened(path, bytes(good), 1 << 30)


# Models of such files


def _network(path: Path, scale: float) -> np.ndarray:
    """A frozen graph of more than 1 MiB, and what TensorFlow makes of ones."""
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None, 300], name="x")
        rng = np.random.default_rng(0)
        for _ in range(4):
            x = tf.tanh(x @ tf.constant((rng.normal(size=(300, 300)) * scale).astype(np.float32)))
        y = tf.identity(x, name="y")
        path.write_bytes(graph.as_graph_def().SerializeToString())
        return sess.run(y, {"x:0": np.ones((2, 300), np.float32)})


ONES = np.ones((2, 300), np.float32)


def _by_tensorflow(path: Path) -> np.ndarray:
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.import_graph_def(tf.GraphDef.FromString(path.read_bytes()), name="")
        return sess.run("y:0", {"x:0": ONES})


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    path = tmp_path_factory.mktemp("network") / "frozen.pb"
    return path, _network(path, 0.1)


@pytest.mark.parametrize("engine", ["auto", "numpy", "openvino", "tensorflow"])
def test_a_large_frozen_graph_runs(network: tuple[Path, np.ndarray], engine: str) -> None:
    path, expected = network
    model = gr.load(path, engine=engine)
    assert model._instance.file.contents is not None
    np.testing.assert_allclose(model.run("y:0", {"x:0": ONES}), expected, rtol=1e-4, atol=1e-6)


def test_its_operations_show_their_constants(network: tuple[Path, np.ndarray]) -> None:
    operations = gr.load(network[0]).operations
    shown = [one.attributes["value"] for one in operations.values() if one.type == "Const"]
    graph = tf.GraphDef.FromString(network[0].read_bytes())
    expected = [tf.make_ndarray(node.attr["value"].tensor) for node in graph.node if node.op == "Const"]
    assert len(shown) == len(expected) == 4
    for found, value in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(found, value)


def test_what_is_made_of_it_holds_its_constants(network: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, expected = network
    model = gr.load(path)
    made = {
        "frozen": model.freeze("y:0"),
        "plain": model.freeze("y:0", fold=False),
        "bound": model.bind({"x:0": np.ones((2, 300), np.float32)}),
        "itself": model,
    }
    for name, one in made.items():
        feeds = {} if name == "bound" else {"x:0": ONES}
        np.testing.assert_allclose(one.run("y:0", feeds), expected, rtol=1e-4, atol=1e-6)
        if name != "bound":
            one.export(tmp_path / f"{name}.pb")
            np.testing.assert_allclose(_by_tensorflow(tmp_path / f"{name}.pb"), expected, rtol=1e-4, atol=1e-6)
    both = gr.merge({"a": model, "b": gr.load(path)})
    for part in "ab":
        np.testing.assert_allclose(both.run(f"{part}/y:0", {f"{part}/x:0": ONES}), expected, rtol=1e-4, atol=1e-6)
    assert tf.GraphDef.FromString((tmp_path / "itself.pb").read_bytes()) == tf.GraphDef.FromString(path.read_bytes())


def test_a_saved_model_of_large_constants_opens_runs_and_is_saved(tmp_path: Path) -> None:
    expected = _network(tmp_path / "frozen.pb", 0.1)
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        tf.import_graph_def(tf.GraphDef.FromString((tmp_path / "frozen.pb").read_bytes()), name="")
        x, y = graph.get_tensor_by_name("x:0"), graph.get_tensor_by_name("y:0")
        tf.saved_model.simple_save(sess, str(tmp_path / "saved"), {"x": x}, {"y": y})
    model = gr.load(tmp_path / "saved")
    assert model._instance.file.contents is not None
    np.testing.assert_allclose(model(ONES), expected, rtol=1e-4, atol=1e-6)
    model.export(tmp_path / "again")
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.saved_model.load(sess, ["serve"], str(tmp_path / "again"))
        np.testing.assert_allclose(sess.run("y:0", {"x:0": ONES}), expected, rtol=1e-6)
    assert gr.load(tmp_path / "saved")._instance.graph is model._instance.graph


def test_equal_files_share_a_graph_and_others_of_one_outline_do_not(tmp_path: Path) -> None:
    expected = _network(tmp_path / "a.pb", 0.1)
    (tmp_path / "b.pb").write_bytes((tmp_path / "a.pb").read_bytes())
    other = _network(tmp_path / "c.pb", 0.2)
    a, b, c = (gr.load(tmp_path / f"{name}.pb") for name in "abc")
    assert a._instance.graph is b._instance.graph
    assert a._instance.graph is not c._instance.graph
    for model, values in ((a, expected), (b, expected), (c, other)):
        np.testing.assert_allclose(model.run("y:0", {"x:0": ONES}), values, rtol=1e-4, atol=1e-6)


def test_threads_that_open_one_file_share_its_graph(network: tuple[Path, np.ndarray]) -> None:
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(gr.load, [network[0]] * 8))
    assert len({id(model._instance.graph) for model in models}) == 1


def test_what_a_large_file_held_is_let_go_of_with_its_last_model(tmp_path: Path) -> None:
    _network(tmp_path / "a.pb", 0.1)
    model = gr.load(tmp_path / "a.pb", engine="numpy")
    model.run("y:0", {"x:0": ONES})
    contents = weakref.ref(model._instance.file.contents)
    del model
    gc.collect()
    assert contents() is None


def test_a_file_that_is_overwritten_in_place_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    expected = _network(tmp_path / "a.pb", 0.1)
    model = gr.load(tmp_path / "a.pb")
    with (tmp_path / "a.pb").open("r+b") as file:
        file.truncate(1000)
    np.testing.assert_allclose(model.run("y:0", {"x:0": ONES}), expected, rtol=1e-4, atol=1e-6)
    assert model.freeze("y:0").run("y:0", {"x:0": ONES}).shape == (2, 300)
    with pytest.raises(CorruptFile, match="1000 bytes"):
        gr.load(tmp_path / "a.pb")


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    class Shrinking(io.FileIO):
        def readinto(self, buffer: object) -> int:
            os.truncate(self.name, 100)
            return super().readinto(buffer)  # type: ignore[arg-type]

    _network(tmp_path / "a.pb", 0.1)
    with Shrinking(tmp_path / "a.pb") as file, pytest.raises(OSError, match="shorter while it was read"):
        read_outline(file, graph_pb2.GraphDef)


def test_memory_counts_what_is_let_go_of_and_nothing_of_the_file(network: tuple[Path, np.ndarray]) -> None:
    model = gr.load(network[0], engine="numpy")
    model.run("y:0", {"x:0": ONES})
    assert model.stats.plan_bytes < 10_000
