"""Parsing of Examples and SequenceExamples against TensorFlow's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import Refused, by_graphrack, check

import graphrack as gr

HALF_PLUS_TWO = Path(__file__).parents[3] / "shared" / "models" / "saved_model_half_plus_two_cpu" / "00000123"
TYPES = {"float": tf.float32, "int": tf.int64, "bytes": tf.string}


def feature(values: Any) -> Any:
    """A Feature: of a list of floats, ints or bytes; of `float`, `int` or `bytes` an empty list; of None none."""
    if values is None:
        return tf.train.Feature()
    kind = values.__name__ if isinstance(values, type) else type(values[0]).__name__
    found = [] if isinstance(values, type) else values
    if kind == "float":
        return tf.train.Feature(float_list=tf.train.FloatList(value=found))
    if kind == "int":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=found))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=found))


def features(values: dict[str, Any]) -> Any:
    return tf.train.Features(feature={name: feature(v) for name, v in values.items()})


def example(**values: Any) -> bytes:
    return bytes(tf.train.Example(features=features(values)).SerializeToString())


def sequence(context: dict[str, Any], **lists: Any) -> bytes:
    feature_lists = tf.train.FeatureLists(
        feature_list={n: tf.train.FeatureList(feature=[feature(f) for f in steps]) for n, steps in lists.items()}
    )
    return bytes(tf.train.SequenceExample(context=features(context), feature_lists=feature_lists).SerializeToString())


def strings(*values: bytes) -> Any:
    return np.array(values, object)


def batch(values: Sequence[bytes] | bytes) -> Any:
    return np.array(values, object) if isinstance(values, bytes) else strings(*values)


Dense = tuple[str, Any, list[int | None], Any]


def v1(data: Sequence[bytes], sparse: Any = (), dense: Sequence[Dense] = (), names: Any = (), **how: Any) -> Any:
    return check(
        "ParseExample",
        serialized=batch(data),
        names=strings(*names),
        sparse_keys=[np.array(key.encode(), object) for key, _ in sparse],
        dense_keys=[np.array(key.encode(), object) for key, *_ in dense],
        dense_defaults=[default for *_, default in dense],
        sparse_types=[dtype for _, dtype in sparse],
        dense_shapes=[shape for _, _, shape, _ in dense],
        **how,
    )


def v2(data: Any, sparse: Any = (), dense: Sequence[Dense] = (), ragged: Any = (), names: Any = (), **how: Any) -> Any:
    return check(
        "ParseExampleV2",
        serialized=batch(data),
        names=strings(*names),
        sparse_keys=tf_strings(key for key, _ in sparse),
        dense_keys=tf_strings(key for key, *_ in dense),
        ragged_keys=tf_strings(key for key, *_ in ragged),
        dense_defaults=[default for *_, default in dense],
        num_sparse=len(sparse),
        sparse_types=[dtype for _, dtype in sparse],
        ragged_value_types=[dtype for _, dtype, _ in ragged],
        ragged_split_types=[split for *_, split in ragged],
        dense_shapes=[shape for _, _, shape, _ in dense],
        **how,
    )


def tf_strings(values: Any) -> Any:
    return np.array([value.encode() for value in values], object)


def single(data: bytes, sparse: Any = (), dense: Sequence[Dense] = (), **how: Any) -> Any:
    return check(
        "ParseSingleExample",
        serialized=np.array(data, object),
        dense_defaults=[default for *_, default in dense],
        num_sparse=len(sparse),
        sparse_keys=[key for key, _ in sparse],
        dense_keys=[key for key, *_ in dense],
        sparse_types=[dtype for _, dtype in sparse],
        dense_shapes=[shape for _, _, shape, _ in dense],
        **how,
    )


def none(dtype: Any) -> Any:
    return np.empty(0, object if dtype is tf.string else dtype.as_numpy_dtype)


VALUES = {
    "float": st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
    "int": st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
    "bytes": st.lists(st.binary(max_size=4), min_size=1, max_size=4),
}


@st.composite
def batches(draw: Any) -> tuple[list[bytes], str]:
    kind = draw(st.sampled_from(sorted(VALUES)))
    one = VALUES[kind] | st.sampled_from([None, {"float": float, "int": int, "bytes": bytes}[kind]])
    rows = draw(st.lists(st.fixed_dictionaries({}, optional={"a": one, "b": VALUES["int"]}), max_size=4))
    return [example(**row) for row in rows], kind


@settings(max_examples=60, deadline=None)
@given(batches(), st.sampled_from([tf.int32, tf.int64]))
def test_sparse_ragged_and_variable_columns(made: tuple[list[bytes], str], split: Any) -> None:
    data, kind = made
    dtype = TYPES[kind]
    pad = np.array(b"-", object) if dtype is tf.string else np.array(7, dtype.as_numpy_dtype)
    v1(data, [("a", dtype)], [("a2", dtype, [None], pad)], refused=False)
    v2(data, [("a", dtype)], [("c", dtype, [None], pad)], [("b", tf.int64, split)], refused=False)
    v2(data, [("b", tf.int64)], [("a", dtype, [None], pad)], refused=False)
    v2(data, [("b", tf.int64)], [("a", dtype, [None, 2], pad)])
    v2(data, [], [("a", dtype, [2], none(dtype))])
    v2(data, [], [("b", tf.int64, [], np.array(5))], [("a", dtype, split)])
    for one in data:
        v2(one, [("b", tf.int64)], [], [("a", dtype, split)], refused=False)
        v2(one, [("a", dtype)], [("b", tf.int64, [None], np.array(3))], refused=False)
        single(one, [("a", dtype)], [("b", tf.int64, [1], np.array([3]))])
        single(one, [("b", tf.int64)], [("a", dtype, [None, 2], pad)])


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_dense_columns(kind: str) -> None:
    dtype = TYPES[kind]
    one, two = {"float": ([1.5], [2.5, -1.0]), "int": ([1], [2, 3]), "bytes": ([b"a"], [b"\0", b""])}[kind]
    empty = {"float": float, "int": int, "bytes": bytes}[kind]
    default = np.array(two, object if kind == "bytes" else dtype.as_numpy_dtype)
    data = [example(a=two), example(b=[1]), example(a=None)]
    for function in (v1, v2):
        function(data, dense=[("a", dtype, [2], default)], refused=False)
        function(data, dense=[("a", dtype, [2, 1], default[:, None])], refused=False)
        function(data[:1], dense=[("a", dtype, [2], none(dtype))], refused=False)
        function([], dense=[("a", dtype, [2], none(dtype)), ("b", dtype, [None, 3], default[0:1])], refused=False)
        function(data, dense=[("a", dtype, [2], none(dtype))], refused=True)  # required
        function([example(a=one)], dense=[("a", dtype, [2], default)], refused=True)
        function([example(a=empty)], dense=[("a", dtype, [2], default)], refused=True)
        function([example(a=one)], dense=[("a", dtype, [], default[:1].reshape(()))], refused=False)
        function(data, dense=[("a", dtype, [2], default[:1])], refused=True)  # a default of another shape
        function(data, dense=[("a", dtype, [None], default)], refused=True)  # more than one to fill up with
        function(data, dense=[("a", dtype, [None], none(dtype))], refused=True)
        function([example(a=two)], [("b", tf.int64)], names=[b"x"], refused=False)
        function([example(a=two)], [("b", tf.int64)], names=[b"x", b"y"], refused=True)
    for one_example in data:
        v2(one_example, dense=[("a", dtype, [2], default)], refused=False)
        single(one_example, dense=[("a", dtype, [2], default)], refused=False)


def test_values_of_another_type_and_bytes_that_are_no_example() -> None:
    for column in ({"sparse": [("a", tf.float32)]}, {"dense": [("a", tf.float32, [1], np.float32([1]))]}):
        v1([example(a=[1])], **column, refused=True)  # type: ignore[arg-type]
        v2([example(a=[b"x"])], **column, refused=True)  # type: ignore[arg-type]
        v2(example(a=[b"x"]), **column, refused=True)  # type: ignore[arg-type]
        v1([b"\n\x7fzz"], **column, refused=True)  # type: ignore[arg-type]
        v1([example(a=[1.0])[:-1]], **column, refused=True)  # type: ignore[arg-type]
    v2([example(a=[1])], ragged=[("a", tf.string, tf.int64)], refused=True)
    v2([b"", example(a=[1])], ragged=[("a", tf.int64, tf.int64)], refused=False)


def test_the_last_of_equal_keys_counts_and_keys_need_no_utf_8() -> None:
    twice = example(a=[1]) + example(a=[2, 3])
    v2([twice], [("a", tf.int64)], refused=False)
    raw = example(a=[5]).replace(b"\x01a", b"\x01\xff")
    check(
        "ParseSingleExample", serialized=np.array(raw, object), dense_defaults=[np.array([0])], num_sparse=0,
        sparse_keys=[], dense_keys=[b"\xff"], sparse_types=[], dense_shapes=[[1]], refused=False,
    )  # fmt: skip


def test_errors_name_the_example_and_the_feature() -> None:
    def message(data: list[bytes], dense: Dense, names: Sequence[bytes] = ()) -> str:
        with tf.Graph().as_default() as graph:
            key, dtype, shape, default = dense
            tf.raw_ops.ParseExample(
                serialized=strings(*data), names=strings(*names), sparse_keys=[], dense_keys=[key],
                dense_defaults=[tf.constant(default, dtype)], sparse_types=[], dense_shapes=[shape], name="op",
            )  # fmt: skip
        found = by_graphrack(graph.as_graph_def().SerializeToString(), {})
        assert isinstance(found, Refused)
        return str(found.error)

    good = example(age=[1.0])
    required = message([good, example()], ("age", tf.float32, [1], []), [b"x", b"y"])
    assert required == "feature 'age' (float32) is required, but example 1 ('y') lacks it"
    assert message([good, example(age=[1.0, 2.0])], ("age", tf.float32, [1], [])) == (
        "feature 'age' of example 1 has 2 values; shape [1] needs 1"
    )
    assert message([example(age=[1])], ("age", tf.float32, [1], [])) == (
        "feature 'age' of example 0 is int64, float32 is expected"
    )
    assert message([b"junk"], ("age", tf.float32, [1], [])).startswith("example 0 is no serialised Example: b'junk'")


SEQUENCES = [
    sequence({"c": [1, 2], "d": [0.5]}, s=[[1.0], [2.0, 3.0], float, None], f=[[1, 2], [3, 4]], r=[[b"a"], [b"b", b"c"]]),
    sequence({"d": [1.5]}, f=[], s=[]),
    sequence({"c": [3], "d": [2.5]}, s=[[4.0]], f=[[5, 6]], r=[[b"z"]]),
]  # fmt: skip
CONTEXT = {"context_sparse_types": [tf.int64], "context_dense_shapes": [[1]]}
LISTS = {"feature_list_sparse_types": [tf.float32], "feature_list_dense_types": [tf.int64]}


def parse_sequences(data: Any, f: str = "f", empty: Sequence[str] = (), shape: Any = (2,), **how: Any) -> Any:
    return check(
        "ParseSequenceExample",
        serialized=batch(data),
        debug_name=strings(),
        feature_list_dense_missing_assumed_empty=list(empty),
        context_sparse_keys=["c"],
        context_dense_keys=["d"],
        feature_list_sparse_keys=["s"],
        feature_list_dense_keys=[f],
        context_dense_defaults=[np.empty(0, np.float32)],
        feature_list_dense_shapes=[list(shape)],
        Ncontext_sparse=1,
        Ncontext_dense=1,
        Nfeature_list_sparse=1,
        Nfeature_list_dense=1,
        **CONTEXT,
        **LISTS,
        **how,
    )


def test_sequence_examples() -> None:
    parse_sequences(SEQUENCES, refused=False)
    parse_sequences(SEQUENCES[1:2], refused=False)
    parse_sequences(SEQUENCES, f="missing", empty=["missing"], refused=False)
    parse_sequences(SEQUENCES, f="missing", refused=True)
    parse_sequences(SEQUENCES, shape=(1,), refused=True)
    parse_sequences(SEQUENCES, f="s", refused=True)
    parse_sequences([SEQUENCES[0], b"junk"], refused=True)
    parse_sequences([sequence({}, f=[[1, 2]])], refused=True)  # its context lacks what has no default


def parse_sequences_v2(data: Any, f: str = "f", empty: bool = False, **how: Any) -> Any:
    return check(
        "ParseSequenceExampleV2",
        serialized=batch(data),
        debug_name=strings(),
        context_sparse_keys=strings(b"c"),
        context_dense_keys=strings(b"d"),
        context_ragged_keys=strings(b"c2"),
        feature_list_sparse_keys=strings(b"s"),
        feature_list_dense_keys=tf_strings([f]),
        feature_list_ragged_keys=strings(b"r"),
        feature_list_dense_missing_assumed_empty=np.array([empty]),
        context_dense_defaults=[np.float32([9])],
        feature_list_dense_shapes=[[2]],
        Ncontext_sparse=1,
        Nfeature_list_sparse=1,
        Nfeature_list_dense=1,
        context_ragged_value_types=[tf.int64],
        context_ragged_split_types=[tf.int32],
        feature_list_ragged_value_types=[tf.string],
        feature_list_ragged_split_types=[tf.int64],
        **CONTEXT,
        **LISTS,
        **how,
    )


def test_sequence_examples_with_ragged_columns() -> None:
    parse_sequences_v2(SEQUENCES, refused=False)
    parse_sequences_v2(SEQUENCES[1:], f="missing", empty=True, refused=False)
    parse_sequences_v2(SEQUENCES, f="missing", refused=True)
    for one in SEQUENCES:  # of one alone the outer row splits are unspecified
        parse_sequences_v2(one, refused=False, outputs=[0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13])


def parse_sequence(data: bytes, f: str = "f", empty: Sequence[str] = (), shape: Any = (2,), **how: Any) -> Any:
    return check(
        "ParseSingleSequenceExample",
        serialized=np.array(data, object),
        feature_list_dense_missing_assumed_empty=tf_strings(empty),
        context_sparse_keys=[np.array(b"c", object)],
        context_dense_keys=[np.array(b"d", object)],
        feature_list_sparse_keys=[np.array(b"s", object)],
        feature_list_dense_keys=[np.array(f.encode(), object)],
        context_dense_defaults=[np.float32([7])],
        debug_name=np.array(b"", object),
        feature_list_dense_shapes=[list(shape)],
        **CONTEXT,
        **LISTS,
        **how,
    )


def test_a_single_sequence_example() -> None:
    for data in SEQUENCES:
        parse_sequence(data, refused=False)
    parse_sequence(sequence({}, f=[[1, 2]]), refused=False)
    parse_sequence(SEQUENCES[0], f="missing", empty=["missing"], refused=False)
    parse_sequence(SEQUENCES[0], f="missing", refused=True)
    parse_sequence(SEQUENCES[0], shape=(3,), refused=True)
    parse_sequence(b"junk", refused=True)


@pytest.mark.skipif(not HALF_PLUS_TWO.is_dir(), reason="the model is shipped beside the repository")
@pytest.mark.parametrize("signature", ["classify_x_to_y", "regress_x_to_y", "regress_x_to_y2"])
def test_a_served_models_signatures_take_serialised_examples(signature: str) -> None:
    model = gr.load(HALF_PLUS_TWO)
    data = strings(*(example(x=[value], x2=[value * 3]) for value in (0.0, 1.5, -4.0)))
    with tf.Graph().as_default(), tf.Session() as session:
        loaded = tf.saved_model.load(session, ["serve"], str(HALF_PLUS_TWO))
        outputs = loaded.signature_def[signature].outputs
        (given,) = loaded.signature_def[signature].inputs.values()
        expected = session.run({key: tensor.name for key, tensor in outputs.items()}, {given.name: data})
    found = model(data, signature=signature)
    found = found if isinstance(found, dict) else {next(iter(expected)): found}
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
