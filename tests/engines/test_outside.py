"""What a graph would do outside of the model is refused before anything runs, in words that help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tf_models import session

import graphrack as gr
from graphrack.engines.interpreter.outside import NEVER, is_pipeline
from graphrack.formats import op_table
from graphrack.ops import registry


def saved(folder: Path, build: Callable[[], Any]) -> Path:
    with session() as sess:
        build()
        tf.train.export_meta_graph(str(folder / "m.meta"), graph=sess.graph)
    return folder / "m.meta"


def reader(folder: Path) -> Callable[[], None]:
    def build() -> None:
        x = tf.placeholder(tf.float32, [], name="x")
        text = tf.io.read_file(str(folder / "data"), name="read")
        tf.strings.join([text, tf.as_string(x, precision=1)], name="out")
        tf.add(x, 1.0, name="beside")
        tf.io.write_file(str(folder / "out"), text, name="write")
        tf.io.matching_files(str(folder / "*"), name="list")

    return build


def test_ops_on_files_are_refused_unless_allowed(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"v=")
    path = saved(tmp_path, reader(tmp_path))
    strict, free = gr.load(path), gr.load(path, allow={"io"})  # one graph, whose plans they share
    for _ in range(2):
        with pytest.raises(gr.PermissionDenied, match=r"ReadFile \('read'\) would read a file.*allow=\{\"io\"\}"):
            strict.run("out", {"x": 2})
        assert free.run("out", {"x": 2}) == b"v=2.0"
    assert strict.run("out", {"x": 2, "read": b"fed "}) == b"fed 2.0"
    assert strict.run("beside", {"x": 2}) == 3
    with pytest.raises(
        gr.PermissionDenied, match=r"ReadFile .* would read a file; WriteFile \('write'\) would write a file"
    ):
        strict.run("write")
    assert not (tmp_path / "out").exists()
    free.run("write")
    assert (tmp_path / "out").read_bytes() == b"v="
    assert str(tmp_path / "data").encode() in free.run("list").tolist()


def test_restoring_does_nothing_else_either(tmp_path: Path) -> None:
    """A graph whose restore op waits for one that writes a file."""
    with session() as sess:
        w = tf.Variable(1.0)
        sess.run(w.initializer)
        saver = tf.train.Saver()
        saver.save(sess, str(tmp_path / "m"))
        meta = tf.train.export_meta_graph(graph=sess.graph, saver_def=saver.saver_def)
        write = tf.io.write_file(str(tmp_path / "out"), "text", name="write")
        meta.graph_def.CopyFrom(sess.graph.as_graph_def())
        node = next(n for n in meta.graph_def.node if n.name == saver.saver_def.restore_op_name)
        node.input.append(f"^{write.name}")
    (tmp_path / "m.meta").write_bytes(meta.SerializeToString())
    with pytest.raises(gr.PermissionDenied, match=r"WriteFile \('write'\) would write a file"):
        gr.load(tmp_path / "m").run("Variable")
    assert not (tmp_path / "out").exists()
    assert gr.load(tmp_path / "m", allow={"io"}).run("Variable") == 1
    assert (tmp_path / "out").exists()


def test_ops_on_files_in_functions_are_refused_too(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"text")

    def build() -> None:
        p = tf.placeholder(tf.bool, [], name="p")
        read = lambda: tf.io.read_file(str(tmp_path / "data"))
        out = tf.raw_ops.StatelessIf(
            cond=p, input=[], Tout=[tf.string],
            then_branch=tf.function(read).get_concrete_function(),
            else_branch=tf.function(lambda: tf.constant("")).get_concrete_function(),
        )  # fmt: skip
        tf.identity(out[0], name="out")

    path = saved(tmp_path, build)
    with pytest.raises(gr.PermissionDenied, match="would read a file"):
        gr.load(path).run("out", {"p": False})
    assert gr.load(path, allow="io").run("out", {"p": True}) == b"text"


def test_a_table_from_a_file_is_read_where_allowed(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a\nb\n")

    def build() -> None:
        initializer = tf.lookup.TextFileInitializer(
            str(tmp_path / "words"),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        table = tf.lookup.StaticHashTable(initializer, -1)
        tf.identity(table.lookup(tf.constant(["b", "c"])), name="out")

    path = saved(tmp_path, build)
    with pytest.raises(gr.PermissionDenied, match="no asset of the model; load"):
        gr.load(path).initialize()
    assert gr.load(path, allow={"io"}).run("out").tolist() == [1, -1]


def test_an_unknown_permission_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, reader(tmp_path))
    with pytest.raises(ValueError, match=r"allow=\['network'\] doesn't exist; there is: io"):
        gr.load(path, allow={"network"})


def test_python_code_is_never_run(tmp_path: Path) -> None:
    def build() -> None:
        x = tf.placeholder(tf.float32, [], name="x")
        y = tf.py_func(lambda value: value, [x], tf.float32, name="call")
        tf.add(y, 1.0, name="out")

    for allow in ((), {"io"}):
        model = gr.load(saved(tmp_path, build), allow=allow)
        with pytest.raises(gr.PermissionDenied, match=r"PyFunc \('call'\) would run Python code.*'call:0'"):
            model.run("out", {"x": 1})
        assert model.run("out", {"call:0": 4.0}) == 5


def test_datasets_and_iterators_say_what_to_feed(tmp_path: Path) -> None:
    def build() -> None:
        values = np.zeros((4, 3), np.float32)
        data = tf.data.Dataset.from_tensor_slices((values, np.arange(4))).repeat().batch(2)
        iterator = tf.data.make_initializable_iterator(data)
        x, y = iterator.get_next()
        tf.reduce_sum(x * 2.0, 1, name="out")
        tf.identity(y, name="labels")
        tf.group(iterator.initializer, name="start")

    model = gr.load(saved(tmp_path, build))
    with pytest.raises(
        gr.FeedError, match=r"feed what they produce: 'IteratorGetNext:0' \(float32 .*of IteratorGetNext"
    ):
        model.run("out")
    with pytest.raises(gr.FeedError, match=r"'IteratorGetNext:0' .*'IteratorGetNext:1' \(int64"):
        model.run(["labels", "out"])
    with pytest.raises(gr.FeedError, match=r"'IteratorGetNext:1'"):
        model.run("IteratorGetNext:1")
    with pytest.raises(
        gr.FeedError, match=r"pipelines don't run here, and so .*\(MakeIterator\).* can't; feed the tensors"
    ):
        model.run("start")
    assert model.run("out", {"IteratorGetNext:0": np.ones((1, 3), np.float32)}).tolist() == [6]


def test_queues_and_readers_say_what_to_feed(tmp_path: Path) -> None:
    def build() -> None:
        names = tf.FIFOQueue(10, [tf.string], shapes=[[]])
        _, record = tf.TFRecordReader().read(names)
        features = tf.parse_single_example(record, {"x": tf.FixedLenFeature([2], tf.float32)})
        batches = tf.RandomShuffleQueue(10, 1, [tf.float32], shapes=[[2]])
        batches.enqueue(features["x"], name="enqueue")
        tf.reduce_sum(batches.dequeue_many(3, name="batch"), 1, name="out")
        tf.reduce_sum(features["x"], name="single")
        batches.size(name="size")

    model = gr.load(saved(tmp_path, build))
    with pytest.raises(gr.FeedError, match=r"feed what they produce: 'batch:0' \(float32.*of QueueDequeueManyV2"):
        model.run("out")
    with pytest.raises(gr.FeedError, match=r"'ReaderReadV2:1' \(string.*of ReaderReadV2"):
        model.run("single")
    with pytest.raises(gr.FeedError, match="'size:0'"):
        model.run("size")
    assert model.run("out", {"batch": np.ones((3, 2), np.float32)}).tolist() == [2, 2, 2]


def test_what_is_never_done_exists_and_is_done_by_no_kernel() -> None:
    names = set(op_table.op_names())
    kernels = registry.load_all()
    for op in NEVER:
        assert op in names or op.startswith("_"), op
        assert op not in kernels, op
    assert not [op for op in kernels if is_pipeline(op)]
    for op in ("Size", "Shape", "TensorArraySizeV3", "StackPopV2", "Where", "Unpack"):
        assert not is_pipeline(op)
    for op in (
        "QueueDequeueV2",
        "IteratorGetNext",
        "OneShotIterator",
        "TFRecordReaderV2",
        "Unstage",
        "MapPeek",
        "ZipDataset",
    ):
        assert is_pipeline(op), op
        assert op in names


def test_what_gives_nothing_to_feed_is_refused_without_saying_so(tmp_path: Path) -> None:
    def build() -> None:
        writer = tf.raw_ops.SummaryWriter()
        tf.raw_ops.WriteScalarSummary(writer=writer, step=tf.constant(1, tf.int64), tag="a", value=1.0, name="write")
        tf.raw_ops.Abort(name="abort")

    model = gr.load(saved(tmp_path, build), engine="numpy")
    for name, what in (("abort", "end the process"), ("write", "write a file of events")):
        with pytest.raises(gr.PermissionDenied, match=rf"would {what}.*; fetch tensors that don't need it$"):
            model.run(name)


def test_an_element_that_may_be_missing_is_fed_as_its_value(tmp_path: Path) -> None:
    def build() -> None:
        iterator = tf.data.make_one_shot_iterator(tf.data.Dataset.range(3))
        tf.add(tf.data.experimental.get_next_as_optional(iterator).get_value(), 1, name="out")

    model = gr.load(saved(tmp_path, build), engine="numpy")
    with pytest.raises(gr.FeedError, match=r"feed what they produce: 'OptionalGetValue:0' \(int64 \[\], of Opt"):
        model.run("out")
    assert model.run("out", {"OptionalGetValue:0": 4}) == 5
