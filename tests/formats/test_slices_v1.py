"""V1 checkpoints: what TensorFlow writes, damage, and lists of tensors that lie."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from formats.checkpoint_samples import every_dtype, flips, quantized, same, tf_save_v1
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrack.errors import CorruptCheckpoint, FileError, GraphError, RestoreError, UnknownName
from graphrack.formats.bundle import BundleReader
from graphrack.formats.checkpoint_files import open_checkpoint
from graphrack.formats.protos.checkpoint_pb2 import SavedTensorSlices
from graphrack.formats.slices_v1 import V1Reader
from graphrack.formats.table import table_of, write_table
from graphrack.formats.tensor_slices import slice_key

# All that TensorFlow's own writer takes.
DTYPES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16"]
DTYPES += ["bool", "complex64", "complex128", "string"]
WHOLE = ((0, -1), (0, -1))


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4), (40, 50)], ids=str)
def test_every_dtype_of_tensorflows_comes_back(tmp_path, shape):
    samples = {name: value for name, value in every_dtype(shape).items() if name in DTYPES}
    reader = open_checkpoint(tf_save_v1(tmp_path / "m", samples))
    assert isinstance(reader, V1Reader)
    assert list(reader.names()) == sorted(samples)
    reader.verify()
    for name, expected in samples.items():
        value = reader.read(name, writable=False)
        assert same(value, expected)
        assert reader.spec(name)[0::2] == (name, shape)
        assert not value.flags.writeable
        assert reader.read(name).flags.writeable


@pytest.mark.parametrize("name", ["qint8", "quint8", "qint32"])
def test_quantized_dtypes_come_back(tmp_path, name):
    assert same(open_checkpoint(tf_save_v1(tmp_path / "m", {"q": quantized(name)})).read("q"), quantized(name))


@pytest.mark.parametrize("sharded", [False, True])
def test_a_savers_v1_checkpoint_comes_back_and_equals_its_v2_one(tmp_path, sharded):
    with tf.Graph().as_default(), tf.Session() as sess:
        for device in ("/cpu:0", None):
            with tf.device(device):
                tf.get_variable(f"p{device}"[:2], [10, 4], partitioner=tf.fixed_size_partitioner(3), use_resource=False)
        tf.get_variable("w", initializer=tf.constant([b"a", b"", b"c" * 300]), use_resource=False)
        sess.run(tf.global_variables_initializer())
        old = tf.train.Saver(sharded=sharded, write_version=tf.train.SaverDef.V1).save(sess, str(tmp_path / "old"))
        new = tf.train.Saver().save(sess, str(tmp_path / "new"))
    assert ("-?????-of-" in old) == sharded
    for path in (old, str(tmp_path / "old")):
        first, second = open_checkpoint(path), BundleReader(new)
        first.verify()
        assert list(first.names()) == list(second.names())
        for name in first.names():
            assert first.spec(name) == second.spec(name)
            assert same(first.read(name), second.read(name))
        spec = "10 4 1,6:2,2"
        name = next(iter(first.names()))
        assert same(first.read_slice(name, spec), second.read_slice(name, spec))
        assert same(first.read_slice(name, "10 4 0,4:-"), second.read_slice(name, "10 4 0,4:-"))


@pytest.fixture
def shards(tmp_path):
    """A V1 checkpoint of two files, one tensor cut between them."""
    for i in range(2):
        part = {f"w{i}": np.full(3, i), "p": np.array([i, i + 10], np.float32)}
        tf_save_v1(tmp_path / f"m-0000{i}-of-00002", part, {"p": f"4 {2 * i},2"})
    return tmp_path / "m"


def test_a_checkpoint_of_several_files_comes_back(shards):
    reader = open_checkpoint(shards)
    assert {name: reader.read(name).tolist() for name in reader.names()} == {
        "p": [0, 10, 1, 11],
        "w0": [0] * 3,
        "w1": [1] * 3,
    }
    assert reader.prefix == str(shards)


def test_a_missing_file_of_several_is_named(shards):
    Path(f"{shards}-00001-of-00002").unlink()
    with pytest.raises(FileError, match=r"m-00001-of-00002 is missing: .* has 2 files, and 1 are there"):
        open_checkpoint(shards)


def test_files_of_two_checkpoints_under_one_prefix_are_refused(shards):
    tf_save_v1(f"{shards}-00000-of-00003", {"x": 1})
    with pytest.raises(FileError, match="of 2 and 3 files each; keep those of one"):
        open_checkpoint(shards)


def test_questions_that_dont_fit_are_refused(shards):
    reader = open_checkpoint(shards)
    with pytest.raises(UnknownName, match="no tensor 'w'; closest"):
        reader.read("w")
    with pytest.raises(RestoreError, match=r"shape \[4\].*shape \[5\]"):
        reader.read_slice("p", "5 0,2")
    with pytest.raises(GraphError, match="shape_and_slice"):
        reader.read_slice("p", "4 0")
    value = reader.read("p")
    reader.close()
    assert value.tolist() == [0, 10, 1, 11]
    with pytest.raises(FileError, match="is closed"):
        reader.read("p")


def test_an_opened_checkpoint_stays_what_it_was_when_its_file_is_replaced(tmp_path):
    reader = open_checkpoint(tf_save_v1(tmp_path / "m", {"w": np.arange(3)}))
    tf_save_v1(tmp_path / "n", {"w": np.arange(9)})
    (tmp_path / "n").rename(tmp_path / "m")
    assert reader.read("w").tolist() == [0, 1, 2]
    reader.verify()


def test_progress_rises_to_the_size_of_the_files(shards):
    calls = []
    open_checkpoint(shards).verify(lambda done, total: calls.append((done, total)))
    size = sum(path.stat().st_size for path in shards.parent.iterdir())
    assert calls == sorted(calls)
    assert calls[-1] == (size, size)


# Damage


def test_every_flipped_bit_is_found_by_verify(tmp_path):
    path = Path(tf_save_v1(tmp_path / "m", {"w": np.arange(3, dtype=np.float32), "s": b"abc"}))
    for flipped in flips(path.read_bytes()):
        path.write_bytes(flipped)
        with pytest.raises(CorruptCheckpoint, match=str(path)):
            V1Reader(path, [str(path)]).verify()


def test_a_file_cut_off_anywhere_is_an_error(tmp_path):
    path = Path(tf_save_v1(tmp_path / "m", {"w": np.arange(3)}))
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(CorruptCheckpoint, match=str(path)):
            V1Reader(path, [str(path)])


# Lists that lie


def sound() -> tuple[SavedTensorSlices, SavedTensorSlices]:
    """The list and the one entry of a checkpoint that holds `w`, 2 x 3 floats."""
    head, body = SavedTensorSlices(), SavedTensorSlices()
    tensor = head.meta.tensor.add(name="w", type=1)
    for size in (2, 3):
        tensor.shape.dim.add(size=size)
    part = tensor.slice.add()
    part.extent.add()
    part.extent.add()
    body.data.name = "w"
    body.data.slice.CopyFrom(part)
    body.data.data.float_val.extend(range(6))
    return head, body


def opened(tmp_path, head, body, key=None) -> V1Reader:
    path = tmp_path / "m"
    entries = {b"": head.SerializeToString(), key or slice_key(b"w", WHOLE): body.SerializeToString()}
    path.write_bytes(write_table(sorted(entries.items())))
    return V1Reader(path, [str(path)])


def test_what_the_lies_are_made_from_is_sound(tmp_path):
    reader = opened(tmp_path, *sound())
    reader.verify()
    assert same(reader.read("w"), np.arange(6, dtype=np.float32).reshape(2, 3))


def test_values_in_tensor_content_and_unpacked_fields_are_read(tmp_path):
    head, body = sound()
    del body.data.data.float_val[:]
    body.data.data.tensor_content = np.arange(6, dtype="<f4").tobytes()
    assert opened(tmp_path, head, body).read("w").ravel().tolist() == [*range(6)]
    head.meta.tensor[0].type = 3
    # The numbers of an int32 tensor that isn't packed: field 7, one varint each.
    numbers = b"".join(b"\x38" + bytes([i]) for i in range(6))
    body.data.data.Clear()
    data = body.data.SerializeToString() + b"\x1a" + bytes([len(numbers)]) + numbers
    path = tmp_path / "m"
    entries = {b"": head.SerializeToString(), slice_key(b"w", WHOLE): b"\x12" + bytes([len(data)]) + data}
    path.write_bytes(write_table(sorted(entries.items())))
    assert V1Reader(path, [str(path)]).read("w").tolist() == [[0, 1, 2], [3, 4, 5]]


def _set(head, body, *, what):
    tensor = head.meta.tensor[0]
    if what == "negative size":
        tensor.shape.dim[0].size = -2
    elif what == "unknown rank":
        tensor.shape.unknown_rank = True
    elif what == "overflow":
        tensor.shape.dim[0].size = tensor.shape.dim[1].size = 1 << 40
    elif what == "dtype":
        tensor.type = 99
    elif what == "slice out of shape":
        tensor.slice[0].extent[0].length = 9
    elif what == "slice of another rank":
        tensor.slice[0].extent.add()
    elif what == "twice":
        tensor.slice.add().CopyFrom(tensor.slice[0])
    elif what == "two kinds":
        head.meta.tensor.add().CopyFrom(tensor)
        head.meta.tensor[1].type = 2
    elif what == "version":
        head.meta.versions.min_consumer = 2
    elif what == "no list":
        head.ClearField("meta")


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("negative size", r"shape \[-2, 3\], which no tensor"),
        ("unknown rank", "which no tensor can have"),
        ("overflow", "which no tensor can have"),
        ("dtype", "dtype number 99"),
        ("slice out of shape", "slice 0,9:-, which doesn't lie within"),
        ("slice of another rank", "which doesn't lie within"),
        ("twice", "the slice -:- twice"),
        ("two kinds", "float64 of shape .* and float32"),
        ("version", "wants a reader of version 2"),
        ("no list", "no list of its tensors"),
    ],
)
def test_each_lie_of_the_list_is_found_on_opening(tmp_path, what, why):
    head, body = sound()
    _set(head, body, what=what)
    with pytest.raises(CorruptCheckpoint, match=why):
        opened(tmp_path, head, body)


def test_a_tensor_of_2_to_the_50_elements_allocates_nothing(tmp_path, peak_memory):
    head, body = sound()
    head.meta.tensor[0].shape.dim[0].size = 1 << 50
    reader = opened(tmp_path, head, body)
    with peak_memory(below=1_000_000), pytest.raises(CorruptCheckpoint, match=r"'w' of shape .* leave out"):
        reader.read("w")
    with peak_memory(below=1_000_000), pytest.raises(CorruptCheckpoint, match=r"'w'.* has 6 elements, and"):
        reader.verify()


def test_a_listed_slice_without_an_entry_is_an_error_on_reading(tmp_path):
    reader = opened(tmp_path, *sound(), key=slice_key(b"v", WHOLE))
    with pytest.raises(CorruptCheckpoint, match="'w', slice -:- is in the list of tensors, but has no entry"):
        reader.read("w")
    with pytest.raises(CorruptCheckpoint, match="has no entry"):
        reader.verify()


@pytest.mark.parametrize("count", [0, 5, 7])
def test_another_number_of_values_than_the_shape_has_is_an_error(tmp_path, count):
    head, body = sound()
    del body.data.data.float_val[:]
    body.data.data.float_val.extend(range(count))
    with pytest.raises(CorruptCheckpoint, match=rf"'w'.*block at offset \d+: it has {count} elements"):
        opened(tmp_path, head, body).read("w")


@settings(max_examples=200)
@given(st.data())
def test_entries_changed_anywhere_come_back_or_are_one_error(tmp_path, data):
    head, body = sound()
    head.meta.tensor[0].type = data.draw(st.sampled_from([1, 3, 7, 8, 10, 14, 18, 19, 23]))
    values = bytearray(body.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(values)))
        values[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    path = tmp_path / "m"
    entries = {b"": head.SerializeToString(), slice_key(b"w", WHOLE): bytes(values)}
    path.write_bytes(write_table(sorted(entries.items())))
    reader = V1Reader(path, [str(path)])
    with contextlib.suppress(CorruptCheckpoint):
        assert reader.read("w").shape == (2, 3)


def test_a_v2_index_is_no_v1_checkpoint(tmp_path):
    tf_save_v1(tmp_path / "old", {"w": 1})
    entries = [(b"", b"\x08\x01\x1a\x02\x08\x01")]
    (tmp_path / "m.index").write_bytes(write_table(entries))
    assert list(table_of((tmp_path / "m.index").read_bytes(), "m")) == entries
    with pytest.raises(CorruptCheckpoint, match="is no V1 checkpoint"):
        V1Reader(tmp_path / "m", [str(tmp_path / "m.index")])
