"""Lookup tables against TensorFlow's, run after run on one state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from comparing import compare
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import Refused
from ops.session import recorded
from recording import Run, record

import graphrack as gr
from graphrack.ops import registry

R = tf.raw_ops
PAIRS = [("int32", "float32"), ("int64", "int64"), ("int64", "string"), ("string", "float64"), ("string", "int32"),
         ("string", "bool")]  # fmt: skip
NAMES = (
    "HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2", "MutableHashTableOfTensors",
    "MutableHashTableOfTensorsV2", "MutableDenseHashTable", "MutableDenseHashTableV2", "InitializeTable",
    "InitializeTableV2", "InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "LookupTableFind",
    "LookupTableFindV2", "LookupTableInsert", "LookupTableInsertV2", "LookupTableImport", "LookupTableImportV2",
    "LookupTableExport", "LookupTableExportV2", "LookupTableSize", "LookupTableSizeV2", "LookupTableRemoveV2",
    "AnonymousHashTable", "AnonymousMutableHashTable", "AnonymousMutableHashTableOfTensors",
    "AnonymousMutableDenseHashTable",
)  # fmt: skip


def value(array: Any) -> Any:
    """A placeholder of unknown shape that has a value already: nothing about it is known ahead."""
    array = np.asarray(array)
    return tf.placeholder_with_default(tf.constant(array, tf.string if array.dtype.kind in "SUO" else None), None)


def some(dtype: str, numbers: Sequence[int]) -> Any:
    if dtype == "string":
        return np.array([b"k%d\0" % n for n in numbers], object)
    return np.array([n % 2 for n in numbers] if dtype == "bool" else numbers, dtype)


class Tables:
    """Builds the ops of one kind of table, V1 or V2."""

    def __init__(self, kind: str, version: str, **attributes: Any):
        self.version = version
        self.key, self.value = attributes.get("key_dtype"), attributes["value_dtype"]
        self.handle = getattr(R, kind + version)(**attributes, name="table")

    def op(self, name: str, **arguments: Any) -> Any:
        return getattr(R, name + self.version)(table_handle=self.handle, **arguments)

    def find(self, keys: Any, default: Any) -> Any:
        return self.op("LookupTableFind", keys=value(keys), default_value=value(default))

    def insert(self, keys: Any, values: Any) -> Any:
        return self.op("LookupTableInsert", keys=value(keys), values=value(values))

    def replace(self, keys: Any, values: Any) -> Any:
        return self.op("LookupTableImport", keys=value(keys), values=value(values))

    def initialize(self, keys: Any, values: Any) -> Any:
        return self.op("InitializeTable", keys=value(keys), values=value(values))

    def remove(self, keys: Any) -> Any:
        return R.LookupTableRemoveV2(table_handle=self.handle, keys=value(keys))

    def size(self) -> Any:
        return self.op("LookupTableSize")

    def export(self) -> Any:
        return list(self.op("LookupTableExport", Tkeys=self.key, Tvalues=self.value))


def both(tmp_path: Path, build: Callable[[], list[Any]], refused: Sequence[int] = (), ordered: bool = False) -> None:
    """Runs what `build` makes one after another, by TensorFlow and by graphrack, each on one state."""
    with tf.Graph().as_default() as graph:
        steps = build()
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
        expected: list[Any] = []
        with tf.Session(graph=graph) as session:
            for step in steps:
                try:
                    expected.append(session.run(step))
                except tf.errors.OpError as error:
                    expected.append(Refused(error))
    record(
        (tmp_path / "graph.pb").read_bytes(),
        [_run(step, theirs, ordered) for step, theirs in zip(steps, expected, strict=True)],
    )
    model = gr.load(tmp_path / "graph.pb")
    for i, (step, theirs) in enumerate(zip(steps, expected, strict=True)):
        note = f"step {i}"
        assert isinstance(theirs, Refused) == (i in refused), (note, theirs)
        try:
            found = model.run([t.name for t in step] if isinstance(step, list) else step.name)
        except gr.GraphrackError as error:
            found = Refused(error)
        assert isinstance(found, Refused) == isinstance(theirs, Refused), (note, theirs, found)
        if isinstance(found, Refused):
            continue
        if isinstance(step, list) and not ordered:  # exported in no particular order
            found, theirs = by_key(found), by_key(theirs)
        for ours, other in zip(found, theirs, strict=True) if isinstance(step, list) else [(found, theirs)]:
            if other is not None:
                compare(np.array(ours, object) if isinstance(ours, bytes) else ours, other, note=note)


def _run(step: Any, values: Any, ordered: bool) -> Run:
    if isinstance(values, Refused):
        return Run([t.name for t in step] if isinstance(step, list) else [step.name], {}, recorded(values))
    if isinstance(step, list):
        return Run([t.name for t in step], {}, values if ordered else [None] * len(step))
    return Run([step.name], {}, [values])


def by_key(exported: list[Any]) -> list[Any]:
    order = np.argsort(exported[0])
    return [exported[0][order], exported[1][order]]


@pytest.mark.parametrize("version", ["", "V2"])
@pytest.mark.parametrize(("key", "result"), PAIRS)
def test_a_static_table(tmp_path: Path, key: str, result: str, version: str) -> None:
    def build() -> list[Any]:
        table = Tables("HashTable", version, key_dtype=tf.as_dtype(key), value_dtype=tf.as_dtype(result))
        keys, values, default = some(key, [3, 5, 7]), some(result, [1, 2, 3]), some(result, [9])[0]
        return [
            table.size(),
            table.initialize(keys, values),
            table.find(some(key, [5, 6, 3]), default),
            table.find(some(key, [5, 6, 3, 7]).reshape(2, 2), default),
            table.find(some(key, [5])[0], default),
            table.find(some(key, []), default),
            table.find(some(key, [5, 6]), some(result, [8, 9])),
            table.export(),
            table.initialize(keys[::-1], values[::-1]),
            table.initialize(keys, some(result, [7, 8, 9])),  # as many: passed over
            table.export(),
            table.size(),
        ]

    both(tmp_path, build)


def test_what_a_static_table_refuses(tmp_path: Path) -> None:
    def build() -> list[Any]:
        table = Tables("HashTable", "V2", key_dtype=tf.string, value_dtype=tf.int64)
        ints = Tables("HashTable", "V2", key_dtype=tf.string, value_dtype=tf.int64)
        a, one = np.array([b"a"], object), np.array([1])
        return [
            table.find(a, 1),
            table.export(),
            table.initialize(a[None], one[None]),
            table.initialize(a[:0], one[:0]),
            table.initialize(a, np.array([1, 2])),
            table.initialize(a, np.array([1], np.int32)),
            table.initialize(np.array([b"a", b"a"], object), np.array([1, 2])),
            table.insert(a, one),
            table.initialize(a, one),
            table.find(a, np.array([[1]])),
            table.find(np.array([1]), 1),
            table.find(a, np.int32(1)),
            table.initialize(np.array([b"a", b"b"], object), np.array([1, 2])),
            table.remove(a),
            table.find(np.array([b"a", b"b"], object), np.array([5])),
            ints.replace(a, one),
            ints.find(a, 7),
        ]

    both(tmp_path, build, refused=[0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14])


def test_an_empty_table_says_what_fills_it(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        table = Tables("HashTable", "V2", key_dtype=tf.string, value_dtype=tf.int64)
        name = table.find(np.array([b"a"], object), 1).name
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(gr.UninitializedError, match=r"table 'table' has no entries; .*initialize\(\)"):
        gr.load(tmp_path / "graph.pb").run(name)


@pytest.mark.parametrize("version", ["", "V2"])
@pytest.mark.parametrize(("key", "result"), [p for p in PAIRS if p != ("string", "bool")])
def test_a_mutable_table(tmp_path: Path, key: str, result: str, version: str) -> None:
    def build() -> list[Any]:
        table = Tables("MutableHashTable", version, key_dtype=tf.as_dtype(key), value_dtype=tf.as_dtype(result))
        default = some(result, [9])[0]
        steps = [
            table.export(),
            table.size(),
            table.find(some(key, [1, 2]), default),
            table.insert(some(key, [1, 2, 3, 1]), some(result, [1, 2, 3, 4])),
            table.insert(some(key, [5, 6]).reshape(1, 2), some(result, [5, 6]).reshape(1, 2)),
            table.find(some(key, [[1, 2], [7, 5]]) if key != "string" else some(key, [1, 2, 7, 5]), default),
            table.find(some(key, [1, 8]), some(result, [7, 8])),
            table.export(),
            table.replace(some(key, [8, 9]), some(result, [8, 9])),
            table.export(),
            table.size(),
            table.insert(some(key, [8, 9]), some(result, [8])),  # 11: refused from here on
            table.replace(some(key, [8, 9]), some(result, [8])),
            table.find(some(key, [1, 8, 9]), some(result, [7, 8])),
            table.initialize(some(key, [8]), some(result, [8])),
        ]
        if version:
            steps += [table.remove(some(key, [8, 77])), table.export(), table.size()]
        return steps

    both(tmp_path, build, refused=[11, 12, 13, 14])


@pytest.mark.parametrize("version", ["", "V2"])
@pytest.mark.parametrize(("key", "result"), [("int64", "float32"), ("string", "int64"), ("int64", "string")])
def test_a_mutable_table_of_vectors(tmp_path: Path, key: str, result: str, version: str) -> None:
    def build() -> list[Any]:
        table = Tables(
            "MutableHashTableOfTensors", version, key_dtype=tf.as_dtype(key), value_dtype=tf.as_dtype(result),
            value_shape=[2],
        )  # fmt: skip
        rows = some(result, list(range(8))).reshape(4, 2)
        return [
            table.export(),
            table.insert(some(key, [1, 2, 3]), rows[:3]),
            table.export(),
            table.find(some(key, [1, 9, 3, 2]).reshape(2, 2), rows[3]),
            table.find(some(key, [1, 9]), rows[2:]),
            table.find(some(key, [1])[0], rows[3]),
            table.find(some(key, []), rows[3]),
            table.size(),
            table.find(some(key, [1]), rows[3, 0]),
            table.insert(some(key, [1]), rows[3]),
            table.insert(some(key, [1, 2]), rows[:3]),
        ]

    both(tmp_path, build, refused=[8, 9, 10])


def test_a_dense_table_is_exported_bucket_by_bucket(tmp_path: Path) -> None:
    def build() -> list[Any]:
        table = Tables.__new__(Tables)
        table.version, table.key, table.value = "V2", tf.int64, tf.float32
        table.handle = R.MutableDenseHashTableV2(
            empty_key=tf.constant(0, tf.int64), deleted_key=tf.constant(-1, tf.int64), value_dtype=tf.float32,
            value_shape=[2], initial_num_buckets=8, max_load_factor=0.5, name="table",
        )  # fmt: skip
        keys, rows = np.array([1, 9, 17, -5]), np.arange(8, dtype=np.float32).reshape(4, 2)
        return [
            table.export(),
            table.insert(keys, rows),
            table.export(),
            table.find(np.array([17, 5, 9]), rows[0]),
            table.insert(np.array([100, 101]), rows[:2]),  # more than half full: twice the buckets
            table.size(),
            table.find(np.array([0]), rows[0]),  # 6: refused
            table.find(np.array([-1]), rows[0]),
            table.insert(np.array([5, 0]), rows[:2]),
            table.find(np.array([[1, 2]]), rows[0]),
            table.find(np.array([1]), rows[0, 0]),
            table.replace(np.array([[0], [0], [0], [7]]), np.float32([[0, 0], [0, 0], [0, 0], [1, 2]])),  # 11
            table.export(),
            table.size(),
            table.find(np.array([7]), rows[0]),
            table.find(np.array([[7], [8]]), rows[0]),
            table.remove(np.array([7, 1])),
            table.size(),
        ]

    both(tmp_path, build, refused=[6, 7, 8, 9, 10], ordered=True)


def test_the_first_form_of_a_dense_table_has_no_deleted_key(tmp_path: Path) -> None:
    # TensorFlow itself no longer runs it.
    with tf.Graph().as_default() as graph:
        handle = R.MutableDenseHashTable(empty_key=tf.constant(0, tf.int64), value_dtype=tf.int64)
        keys = tf.constant([3, -1], tf.int64)
        R.LookupTableInsert(table_handle=handle, keys=keys, values=keys * 2, name="insert")
        R.LookupTableFind(table_handle=handle, keys=keys, default_value=tf.constant(7, tf.int64), name="find")
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model = gr.load(tmp_path / "graph.pb")
    model.run("insert")
    np.testing.assert_array_equal(model.run("find"), [6, -2])


def test_a_dense_table_of_vector_and_of_string_keys(tmp_path: Path) -> None:
    def build() -> list[Any]:
        pairs = Tables.__new__(Tables)
        pairs.version, pairs.key, pairs.value = "V2", tf.int64, tf.int64
        pairs.handle = R.MutableDenseHashTableV2(
            empty_key=tf.constant([0, 0], tf.int64), deleted_key=tf.constant([-1, -1], tf.int64),
            value_dtype=tf.int64, initial_num_buckets=16,
        )  # fmt: skip
        words = Tables.__new__(Tables)
        words.version, words.key, words.value = "V2", tf.string, tf.int64
        words.handle = R.MutableDenseHashTableV2(
            empty_key=tf.constant(""), deleted_key=tf.constant("-"), value_dtype=tf.int64, initial_num_buckets=64
        )
        keys = np.array([[1, 2], [3, 4], [-5, 6]])
        return [
            pairs.insert(keys, np.array([7, 8, 9])),
            pairs.export(),
            pairs.find(np.array([[3, 4], [4, 3]]), 0),
            pairs.size(),
            pairs.find(np.array([[0, 0]]), 0),  # 4: refused
            pairs.find(np.array([3, 4, 5]), 0),
            words.insert(np.array([b"a", b"bb", b"ccc" * 30], object), np.array([7, 8, 9])),
            words.export(),
            words.find(np.array([b"bb", b"b"], object), -1),
        ]

    both(tmp_path, build, refused=[4, 5], ordered=True)


WRONG: list[dict[str, Any]] = [
    {"deleted_key": 0}, {"initial_num_buckets": 6}, {"initial_num_buckets": 2}, {"max_load_factor": 1.5},
    {"max_load_factor": 0.0}, {"deleted_key": [1, 2]}, {"value_shape": [2, 2]},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_dense_table_refuses(tmp_path: Path, wrong: dict[str, Any]) -> None:
    def build() -> list[Any]:
        attributes = {"empty_key": 0, "deleted_key": -1, "value_dtype": tf.int64, **wrong}
        for key in ("empty_key", "deleted_key"):
            attributes[key] = tf.constant(attributes[key], tf.int64)
        return [R.LookupTableSizeV2(table_handle=R.MutableDenseHashTableV2(**attributes))]

    both(tmp_path, build, refused=[0])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_dense_table_of_any_entries_is_read_by_tensorflow(data: Any) -> None:
    keys = data.draw(st.lists(st.integers(1, 2**63 - 1) | st.integers(1, 40), min_size=1, max_size=30, unique=True))
    from graphrack.formats.dtypes import INT64
    from graphrack.ops._tables import DenseTable

    table = DenseTable("t", INT64, INT64, (), np.array(0), np.array(-1), 8, 0.8)
    table.insert(np.array(keys), np.arange(len(keys)))
    exported = table.export()
    with tf.Graph().as_default(), tf.Session() as session:
        handle = R.MutableDenseHashTableV2(
            empty_key=tf.constant(0, tf.int64), deleted_key=tf.constant(-1, tf.int64), value_dtype=tf.int64
        )
        session.run(R.LookupTableImportV2(table_handle=handle, keys=value(exported[0]), values=value(exported[1])))
        found = session.run(R.LookupTableFindV2(table_handle=handle, keys=np.array(keys), default_value=np.int64(-1)))
    np.testing.assert_array_equal(found, np.arange(len(keys)))


def test_tables_of_one_shared_name_are_one_and_of_different_types_an_error(tmp_path: Path) -> None:
    def build() -> list[Any]:
        first = R.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64, shared_name="s")
        second = R.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64, shared_name="s")
        other = R.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)
        boxed = R.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64, shared_name="s", container="c")
        wrong = R.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="s")
        one = np.array([1])
        return [
            R.LookupTableInsertV2(table_handle=first, keys=one, values=one),
            *(R.LookupTableSizeV2(table_handle=h) for h in (second, other, boxed, wrong)),
        ]

    both(tmp_path, build, refused=[4])


def test_anonymous_tables_live_for_one_run(tmp_path: Path) -> None:
    def build() -> list[Any]:
        steps = []
        makers: list[Callable[[], Any]] = [
            lambda: R.AnonymousMutableHashTable(key_dtype=tf.int64, value_dtype=tf.int64),
            lambda: R.AnonymousMutableHashTableOfTensors(key_dtype=tf.int64, value_dtype=tf.int64, value_shape=[2]),
            lambda: R.AnonymousMutableDenseHashTable(
                empty_key=tf.constant(0, tf.int64), deleted_key=tf.constant(-1, tf.int64), value_dtype=tf.int64
            ),
            lambda: R.AnonymousHashTable(key_dtype=tf.int64, value_dtype=tf.int64),
        ]
        for make in makers:
            handle = make()
            one = tf.constant([1], tf.int64)
            entry = tf.constant([[3, 4]], tf.int64) if "Tensors" in handle.op.type else one
            fill = R.InitializeTableV2 if handle.op.type == "AnonymousHashTable" else R.LookupTableInsertV2
            with tf.control_dependencies([fill(table_handle=handle, keys=one, values=entry)]):
                steps += [R.LookupTableFindV2(table_handle=handle, keys=one, default_value=entry[0])]
            steps += [steps[-1]]
        return steps

    both(tmp_path, build)


def test_a_table_is_asked_and_changed_from_many_threads(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        handle = R.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)
        keys = tf.placeholder(tf.int64, [None], name="keys")
        insert = R.LookupTableInsertV2(table_handle=handle, keys=keys, values=keys * 2, name="insert")
        R.LookupTableFindV2(table_handle=handle, keys=keys, default_value=tf.constant(-1, tf.int64), name="find")
        R.LookupTableSizeV2(table_handle=handle, name="size")
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
        assert insert is not None
    model = gr.load(tmp_path / "graph.pb")
    failures: list[Any] = []

    def work(number: int) -> None:
        own = np.arange(number * 1000, number * 1000 + 50)
        try:
            for _ in range(20):
                model.run("insert", {"keys": own})
                np.testing.assert_array_equal(model.run("find", {"keys": own}), own * 2)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert model.run("size") == 200


class Files:
    """A run state that lets ops read any file, and keeps tables."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def resource(self, handle: Any, make: Callable[[], Any]) -> Any:
        return self.kept.setdefault(handle.key, make())

    def file_allowed(self, path: bytes, what: str) -> str:
        return path.decode()


FILES = {
    "lines": b"a\nb\nc\n", "no end": b"a\nb", "returns": b"a\r\nb\rc\r\nd\r\r\n", "columns": b"a\t1\nb\t-2\n",
    "spaces": b"a\t 1 \nb\t2.5\n", "more columns": b"a\t1\tx\nb\t2\ty\n", "numbers": b"4\n5\n", "empty": b"",
    "empty line": b"a\n\nb\n", "empty last": b"a\nb\n\n", "twice": b"a\t1\nb\t2\na\t1\n", "other": b"a\t1\na\t2\n",
    "ragged": b"a\t1\nb\n", "commas": b"a,1\nb,2\n", "empty field": b"\t1\n", "big": b"a\t99999999999\n",
    "not utf-8": b"\xff\t1\n\0\t2\n",
}  # fmt: skip
READS: list[tuple[int, int, str, str, dict[str, Any]]] = [
    (-2, -1, "string", "int64", {}), (-1, -2, "int64", "string", {}), (0, 1, "string", "int64", {}),
    (0, 1, "string", "int32", {}), (0, 1, "string", "float32", {}), (1, 0, "int64", "string", {}),
    (0, 1, "string", "float64", {}), (2, 0, "string", "string", {}), (-2, -1, "int64", "int64", {}),
    (0, -1, "string", "int64", {"vocab_size": 2}), (-2, -1, "string", "int64", {"offset": 7}),
    (0, -1, "string", "int64", {"vocab_size": 3, "offset": -1}), (-2, -1, "string", "int32", {}),
    (-1, 0, "string", "string", {}), (0, 1, "string", "int64", {"delimiter": ","}), (0, -2, "string", "float32", {}),
    (-1, -1, "int64", "int64", {}), (0, -1, "string", "int64", {"delimiter": ""}), (0, 0, "string", "string", {}),
    (-2, -1, "string", "int64", {"vocab_size": 0}),
]  # fmt: skip


@pytest.mark.parametrize("text", FILES)
def test_a_table_from_a_text_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(FILES[text])
    for key_index, value_index, key, result, attributes in READS:
        note = f"{text}: {key_index}, {value_index}, {key}, {result}, {attributes}"
        indexes = {"key_index": key_index, "value_index": value_index, **attributes}
        with tf.Graph().as_default(), tf.Session() as session:
            handle = R.HashTableV2(key_dtype=tf.as_dtype(key), value_dtype=tf.as_dtype(result))
            made = R.InitializeTableFromTextFileV2(table_handle=handle, filename=str(path), **indexes)
            exported = list(R.LookupTableExportV2(table_handle=handle, Tkeys=key, Tvalues=result))
            try:
                session.run(made)
                expected = session.run(exported)
            except (tf.errors.OpError, UnicodeDecodeError) as error:  # a message with bytes of the file
                expected = Refused(error)
            attribute = {"key_dtype": tf_dtype(key), "value_dtype": tf_dtype(result)}
        ours = op("HashTableV2").bind("table", attribute, {})()
        state = Files()
        try:
            delimiter = indexes.pop("delimiter", "\t").encode()
            kernel = op("InitializeTableFromTextFileV2").function
            kernel(state, ours, np.array(str(path).encode(), object), **indexes, delimiter=delimiter)
            found = op("LookupTableExportV2").function(state, ours)
        except (ValueError, gr.GraphrackError) as error:
            found = Refused(error)
        assert isinstance(found, Refused) == isinstance(expected, Refused), (note, expected, found)
        if not isinstance(found, Refused):
            for one, other in zip(by_key(list(found)), by_key(expected), strict=True):
                compare(one, other, note=note)


def op(name: str) -> Any:
    found = registry.lookup(name)
    assert found is not None
    return found


def tf_dtype(name: str) -> Any:
    from graphrack.formats.dtypes import DTYPES

    return next(d for d in DTYPES.values() if d.name == name)


def test_a_file_that_is_no_asset_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(b"a\nb\n")
    with tf.Graph().as_default() as graph:
        handle = R.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
        R.InitializeTableFromTextFileV2(
            table_handle=handle, filename=str(tmp_path / "words.txt"), key_index=-2, value_index=-1, name="init"
        )
        (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(gr.PermissionDenied, match=r"words.txt.*no asset of the model"):
        gr.load(tmp_path / "graph.pb").run("init")


def test_the_ops_run_here_are_all_that_there_are() -> None:
    ops = registry.load_all().values()
    assert {o.name for o in ops if o.module == "graphrack.ops.lookup"} == set(NAMES)
