"""Every public function of `tf.strings`, `tf.ragged`, `tf.sparse` and `tf.lookup`, by TensorFlow and by graphrack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import Programs, agree, fed
from ops.operands import FLOATS

WORDS = np.array(["Hello World", "", "a b  c", "żółw ß", "12.5"])
GRID = np.array([["a,b", "c"], ["d,,e", " f "]])
TEXTS = np.array(["thanks", "żółw", "", "😀x"])

strings = Programs(tf.strings, {})
strings("as_string", np.array([1.5, np.nan, np.inf, -0.0, 1e20]))
for value in (np.array([1, -2]), np.array([True, False]), np.array([1 + 2j]), np.array([3], np.uint8)):
    strings("as_string", value)
strings("as_string", np.array([1.5, 2.25]), precision=3, scientific=True, width=12, fill="0")
strings("as_string", np.array([1.5, 1e-9], np.float32), shortest=True)
strings.build("bytes_split", lambda: tf.strings.bytes_split(fed(WORDS, shape=[5])))
strings.build("bytes_split", lambda: tf.strings.bytes_split(fed(GRID, shape=[2, 2])))
strings("format", "a {} b {}", (np.arange(12), np.array([[1.5, 2.0]])))
strings("format", "{}", (GRID,), summarize=1)
strings("join", [WORDS, np.array("x"), WORDS], "-")
strings("join", [GRID, GRID])
for unit in ("BYTE", "UTF8_CHAR"):
    strings("length", WORDS, unit=unit)
    for pos, size in ((0, 2), (1, 1), (-2, 2)):
        strings("substr", TEXTS[[0, 1, 3]], np.array(pos), np.array(size), unit=unit)
    strings("substr", TEXTS[:2], np.array([0, 9]), np.array([1, 1]), unit=unit)
strings("lower", WORDS)
strings("lower", WORDS, encoding="utf-8")
strings("upper", WORDS)
strings("upper", WORDS, encoding="utf-8")
for width, kwargs in ((2, {}), ((1, 2), {"pad_values": ("<", ">")}), (3, {"preserve_short_sequences": True})):
    strings("ngrams", tf.ragged.constant_value([[b"a", b"b", b"c"], [b"d"], []]), width, **kwargs)
    strings.build("ngrams", lambda w=width, k=kwargs: tf.strings.ngrams(fed(GRID, shape=[2, 2]), w, **k))
for axis in (0, 1, [0, 1], None, -1):
    strings("reduce_join", GRID, axis, separator="+")
    strings("reduce_join", GRID, axis=axis, keep_dims=True)
strings("regex_full_match", WORDS, r".*[ł ].*")
strings("regex_full_match", WORDS, np.array("[A-Z].*"))
strings("regex_replace", WORDS, r"(\w)(\w)", r"\2\1")
strings("regex_replace", WORDS, np.array(" +"), np.array("_"), replace_global=False)
strings("split", WORDS)
strings("split", WORDS, sep=",", result_type="RaggedTensor")
strings.build("split", lambda: tf.strings.split(fed(WORDS, shape=[5]), result_type="RaggedTensor", maxsplit=1))
strings.build("split", lambda: tf.strings.split(fed(GRID, shape=[2, 2]), ",", result_type="RaggedTensor"))
strings("strip", GRID)
strings("to_hash_bucket", WORDS, 17)
strings("to_hash_bucket_fast", WORDS, 17)
strings("to_hash_bucket_strong", WORDS, 17, [3, 5])
for dtype in (tf.float32, tf.float64, tf.int32, tf.int64):
    strings("to_number", np.array(["1", "-12", " 3 "]), dtype)
    strings("to_number", np.array(["1.5", "nan", "1e3"]), dtype)
strings("to_number", np.array(["x"]))
for errors in ("replace", "ignore", "strict"):
    odd = np.array([b"a\xffb", "żółw".encode(), b""], object)
    for name in ("unicode_decode", "unicode_decode_with_offsets", "unicode_split", "unicode_split_with_offsets"):
        strings.build(
            name,
            lambda name=name, errors=errors, odd=odd: getattr(tf.strings, name)(fed(odd, shape=[3]), "UTF-8", errors),
        )
    strings("unicode_transcode", odd, "UTF-8", "UTF-16-BE", errors=errors)
strings.build(
    "unicode_encode", lambda: tf.strings.unicode_encode(tf.ragged.constant([[97, 0x1F600], [], [8]]), "UTF-8")
)
strings.build("unicode_encode", lambda: tf.strings.unicode_encode(fed([97, 98], np.int32, [2]), "UTF-16-BE"))
strings("unicode_script", np.array([97, 0x4E00, 0x1F600], np.int32))
strings("unsorted_segment_join", WORDS, np.array([0, 1, 0, -1, 1]), np.array(3), "|")

RAGGED = tf.ragged.constant_value([[1.0, 2.0], [], [3.0, 4.0, 5.0]])
NESTED = tf.ragged.constant_value([[[1, 2], []], [[3]], []])
MASK = tf.ragged.constant_value([[True, False], [], [False, True, True]])


ragged = Programs(
    tf.ragged,
    {
        "constant_value": "gives an array",
        "placeholder": "makes placeholders",
    },
)
ragged.build("boolean_mask", lambda: tf.ragged.boolean_mask(_ragged_of(RAGGED), tf.ragged.constant(MASK.to_list())))
ragged.build("boolean_mask", lambda: tf.ragged.boolean_mask(fed(np.eye(3), shape=[3, 3]), tf.constant(np.eye(3) > 0)))
ragged.build("constant", lambda: tf.ragged.constant([[1, 2], [3]]))
ragged("cross", [tf.ragged.constant_value([[b"a", b"b"], [b"c"]]), tf.ragged.constant_value([[b"x"], [b"y", b"z"]])])
ragged("cross_hashed", [tf.ragged.constant_value([[1, 2], [3]]), tf.ragged.constant_value([[b"x"], [b"y"]])], 100)
ragged.build("map_flat_values", lambda: tf.ragged.map_flat_values(tf.exp, _ragged_of(RAGGED)))
ragged("range", np.array([0, 3]), np.array([5, 1]), np.array([2, -1]))
ragged("range", np.array([2.5, 4.0]))
ragged("row_splits_to_segment_ids", np.array([0, 2, 2, 5]))
ragged("segment_ids_to_row_splits", np.array([0, 0, 2]))
ragged("stack", [RAGGED, RAGGED])
ragged("stack", [RAGGED, RAGGED], axis=1)
ragged("stack_dynamic_partitions", np.arange(5.0), np.array([0, 2, 0, 1, 2], np.int32), 3,
       use=lambda f, a, b, n: f(tf.reshape(a, [5]), tf.reshape(b, [5]), n))  # fmt: skip


def _ragged_of(value: Any) -> Any:
    return tf.RaggedTensor.from_row_splits(fed(value.values, shape=[None]), fed(value.row_splits, shape=[None]))


def _methods() -> Any:
    a, nested = _ragged_of(RAGGED), tf.ragged.constant([[[1, 2], []], [[3]], []])
    b = fed([10.0, 20.0, 30.0], shape=[3])[:, tf.newaxis]
    return [
        a.to_tensor(9.0), a.to_tensor(shape=[None, 2]), a.to_sparse(), a.row_lengths(), a.value_rowids(), a.bounding_shape(),
        a.nrows(), a + b, a * a, a > 2, -a, a[1:], a[:, :1], a[2], a[2, 1], nested[0], nested.to_tensor(), nested.flat_values,
        tf.reduce_sum(a, 1), tf.reduce_max(a, 0), tf.reduce_mean(a), tf.concat([a, a], 0), tf.concat([a, a], 1),
        tf.gather(a, [2, 0]), tf.tile(a, [2, 1]), tf.expand_dims(a, 1), tf.size(a), tf.rank(nested), tf.cast(a, tf.int32),
        tf.where(a > 2, a, -a), tf.zeros_like(a), tf.RaggedTensor.from_tensor([[1, 0], [2, 0]], padding=0),
        tf.RaggedTensor.from_sparse(a.to_sparse()), tf.RaggedTensor.from_value_rowids([1, 2, 3], [0, 0, 2]),
        tf.RaggedTensor.from_row_lengths([1, 2, 3], [1, 0, 2]), tf.reverse(a, [1]), tf.bitcast(nested, tf.float32),
        tf.math.segment_sum(a.flat_values, a.value_rowids()), tf.nn.relu(a), tf.nn.dropout(a, rate=0.0), tf.one_hot(nested, 4),
        nested.merge_dims(0, 1), nested.nested_row_lengths(), tf.strings.as_string(a), tf.map_fn(tf.reduce_sum, a, dtype=tf.float64),
        tf.ragged.stack([a, a], 0).to_tensor(),
    ]  # fmt: skip


SPARSE = tf.SparseTensorValue([[0, 1], [1, 0], [2, 3]], [1.0, -2.0, 3.0], [3, 4])
OTHER = tf.SparseTensorValue([[0, 1], [2, 0]], [5.0, 6.0], [3, 4])
INTS = tf.SparseTensorValue([[0, 0], [0, 1], [2, 0]], [1, 2, 0], [3, 2])
NAMES = tf.SparseTensorValue([[0, 0], [1, 0], [1, 1]], [b"a", b"b", b"c"], [2, 2])
DENSE = np.arange(12.0).reshape(3, 4)

sparse = Programs(tf.sparse, {"placeholder": "makes placeholders"})
sparse("add", SPARSE, OTHER)
sparse("add", SPARSE, OTHER, 4.5)
sparse("add", SPARSE, DENSE)
sparse("bincount", INTS, axis=0)
sparse("bincount", INTS, axis=-1, minlength=5)
sparse("bincount", np.array([[1, 1, 3], [0, 2, 2]]), axis=-1, binary_output=True)
sparse("bincount", INTS, np.array([0.5, 1.5, 2.5]), axis=-1,
       use=lambda f, x, w, axis: f(x, tf.SparseTensor(x.indices, w, x.dense_shape), axis=axis))  # fmt: skip
for axis in (0, 1, -1):
    sparse("concat", axis, [SPARSE, OTHER])
sparse("concat", 1, [SPARSE, INTS._replace(values=[1.0, 2.0, 3.0])], expand_nonconcat_dim=True)
sparse("cross", [NAMES, np.array([["x"], ["y"]])])
sparse("cross", [NAMES, NAMES], separator="-")
sparse("cross_hashed", [NAMES, np.array([["x"], ["y"]])], 100, 7)
for axis in (0, 1, -1):
    sparse("expand_dims", SPARSE, axis)
sparse("eye", 3)
sparse("eye", 2, 4, tf.int32)
sparse("fill_empty_rows", NAMES, "z")
sparse("fill_empty_rows", SPARSE, np.array(9.0))
sparse("from_dense", DENSE * (DENSE > 3))
sparse("from_dense", np.array([["", "a"]]))
sparse.build("mask", lambda: tf.sparse.mask(tf.IndexedSlices(fed(DENSE), fed([0, 5, 9])), fed([5])))
for name in ("matmul", "sparse_dense_matmul"):
    sparse(name, SPARSE, DENSE.T.copy(), dtypes=FLOATS[:2])
    sparse(name, SPARSE, DENSE, adjoint_a=True)
    sparse(name, SPARSE, DENSE, adjoint_b=True)
for name in ("maximum", "minimum"):
    sparse(name, SPARSE, OTHER)
sparse("merge", INTS, INTS._replace(values=[0.5, 1.5, 2.5]), 4)
for axis in (None, 0, [0, 1], -1):
    for name in ("reduce_max", "reduce_sum"):
        sparse(name, SPARSE, axis)
        sparse(name, SPARSE, axis, keepdims=True)
        if name == "reduce_sum" or axis != [0, 1]:
            sparse(f"{name}_sparse", SPARSE, axis)
sparse("reorder", tf.SparseTensorValue([[2, 3], [0, 1]], [1.0, 2.0], [3, 4]))
sparse("reset_shape", SPARSE)
sparse("reset_shape", SPARSE, np.array([4, 9]))
sparse("reshape", SPARSE, [2, -1])
sparse("reshape", SPARSE, np.array([12]))
sparse("reshape", SPARSE, np.array([5]))
sparse("retain", SPARSE, np.array([True, False, True]))
IDS, ROWS = np.array([0, 0, 2], np.int32), np.array([0, 2, 1], np.int32)
for name in ("segment_mean", "segment_sqrt_n", "segment_sum"):
    sparse(name, DENSE, ROWS, IDS, dtypes=FLOATS[:2])
    sparse(name, DENSE, ROWS, IDS, num_segments=np.array(5, np.int32))
    sparse(name, DENSE, ROWS, IDS, sparse_gradient=True)
    sparse(name, DENSE, ROWS + 5, IDS)
sparse("slice", SPARSE, np.array([0, 1]), np.array([2, 3]))
sparse("softmax", SPARSE)
sparse("split", sp_input=SPARSE, num_split=2, axis=1)
sparse("to_dense", SPARSE, np.array(7.0))
sparse("to_dense", NAMES, "z")
sparse("to_dense", SPARSE._replace(indices=[[0, 1], [0, 1], [2, 3]]))
sparse("to_dense", SPARSE._replace(indices=[[0, 1], [0, 1], [2, 3]]), validate_indices=False)
sparse("to_indicator", INTS, 5)
sparse("transpose", SPARSE)
sparse("transpose", SPARSE, [1, 0])


def _tables() -> Any:
    keys, values = tf.constant(["a", "b", "c"]), tf.constant([1, 2, 3], tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1)
    vocabulary = tf.lookup.StaticVocabularyTable(tf.lookup.KeyValueTensorInitializer(keys, values - 1), 4)
    mutable = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -9)
    dense = tf.lookup.experimental.DenseHashTable(tf.int64, tf.int64, -1, empty_key=-2, deleted_key=-3)
    asked = fed(["b", "x", "a"])
    inserted = mutable.insert(asked, fed([7, 8, 9]))
    put = dense.insert(fed([5, 6]), fed([50, 60]))
    with tf.control_dependencies([inserted, put]):
        found = [mutable.lookup(asked), mutable.size(), dense.lookup(fed([6, 7])), dense.size()]
    exported = [tf.sort(tf.strings.length(part) if part.dtype == tf.string else part) for part in table.export()]
    return [table.lookup(asked), table.size(), *exported, vocabulary.lookup(asked), vocabulary.size(), *found]


@pytest.mark.parametrize(
    ("program", "options"), [*strings.parameters(), *ragged.parameters(), *sparse.parameters()]
)  # fmt: skip
def test_program_agrees(program: Any, options: Any) -> None:
    agree(program, **options)


def test_every_function_has_a_program() -> None:
    assert strings.missing() == []
    assert ragged.missing() == []
    assert sparse.missing() == []


def test_ragged_tensors_do_what_tensors_do() -> None:
    agree(_methods)


def test_tables_agree() -> None:
    agree(_tables, runs=2)


def test_sparse_tensors_do_what_tensors_do() -> None:
    def program() -> Any:
        a = tf.SparseTensor(fed(SPARSE.indices), fed(SPARSE.values), fed(SPARSE.dense_shape))
        dense = fed(DENSE + 1)
        return [
            a * dense,
            a / dense,
            tf.cast(a, tf.int32),
            tf.sparse.to_dense(tf.sparse.add(a, a)),
            tf.shape(a),
            a.dense_shape,
        ]

    agree(program)
