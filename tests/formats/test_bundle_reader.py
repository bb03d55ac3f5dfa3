"""Reading V2 checkpoints: TensorFlow's of every kind, damaged ones, and indexes that lie."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from formats.checkpoint_samples import QUANTIZED, every_dtype, flips, quantized, same, tf_read, tf_save
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrack.errors import (
    CorruptCheckpoint,
    FileError,
    GraphError,
    RestoreError,
    UnknownName,
    UnsupportedOp,
)
from graphrack.formats.bundle import BundleReader, BundleWriter, merge_bundles
from graphrack.formats.bundle_index import Entry, build_index, parse_index
from graphrack.formats.coding import mask_crc
from graphrack.formats.data_files import SMALL
from graphrack.formats.dtypes import DTYPES, FLOAT, STRING, from_numpy
from graphrack.formats.protos.checkpoint_pb2 import BundleEntryProto, BundleHeaderProto
from graphrack.formats.table import table_of, write_table
from graphrack.formats.tensor_slices import slice_key

FULL = (0, -1)


def write_files(folder: Path, entries: dict[bytes, Entry], data: bytes = b"", shards: int = 1) -> str:
    """A checkpoint whose index says whatever `entries` say."""
    prefix = str(folder / "m")
    Path(prefix + ".index").write_bytes(build_index(entries, shards))
    Path(f"{prefix}.data-00000-of-{shards:05d}").write_bytes(data)
    return prefix


def entry(**lies) -> Entry:
    """A sound entry of 6 floats at offset 0, but for what is given."""
    return Entry(FLOAT, (2, 3), 0, 0, 24, 0)._replace(**lies)


def big_endian(prefix: str) -> None:
    """Turns a checkpoint of fixed-size dtypes into one of a big-endian machine."""
    import google_crc32c

    with open(prefix + ".index", "rb") as file:
        entries = dict(table_of(file.read(), "x"))
    header = BundleHeaderProto.FromString(entries[b""])
    header.endianness = BundleHeaderProto.BIG
    entries[b""] = header.SerializeToString()
    path = Path(prefix + ".data-00000-of-00001")
    data = bytearray(path.read_bytes())
    for key, value in list(entries.items())[1:]:
        proto = BundleEntryProto.FromString(value)
        dtype = DTYPES[proto.dtype]
        word = dtype.itemsize // (2 if dtype.numpy.kind == "c" else 1)
        part = slice(proto.offset, proto.offset + proto.size)
        swapped = np.frombuffer(bytes(data[part]), np.uint8).reshape(-1, word)[:, ::-1].tobytes()
        data[part] = swapped
        proto.crc32c = mask_crc(google_crc32c.value(swapped))
        entries[key] = proto.SerializeToString()
    path.write_bytes(data)
    Path(prefix + ".index").write_bytes(write_table(sorted(entries.items())))


# What TensorFlow writes


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4), (1, 2, 1, 3)], ids=str)
def test_every_dtype_of_tensorflows_comes_back(tmp_path, shape, mapped):
    samples = every_dtype(shape)
    reader = BundleReader(tf_save(tmp_path / "m", samples), mapped=mapped)
    assert list(reader.names()) == sorted(samples)
    reader.verify()
    for name, expected in samples.items():
        assert reader.spec(name) == (name, from_numpy(expected.dtype), shape)
        for writable in (True, False):
            value = reader.read(name, writable=writable, verify=True)
            assert value.dtype == expected.dtype
            assert value.shape == expected.shape
            assert value.tolist() == expected.tolist()
            assert value.flags.writeable == writable
            assert value.flags.aligned


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_dtypes_come_back_in_tensorflows_numpy_form(tmp_path, name):
    reader = BundleReader(tf_save(tmp_path / "m", {"q": quantized(name)}))
    assert same(reader.read("q", verify=True), quantized(name))
    assert reader.spec("q").dtype.name == name


def test_a_savers_checkpoint_with_partitioned_variables_comes_back(tmp_path):
    with tf.Graph().as_default(), tf.Session() as sess:
        parts = tf.get_variable("p", [10, 4], partitioner=tf.fixed_size_partitioner(3), use_resource=False)
        tf.get_variable("w", initializer=np.arange(5.0), use_resource=True)
        sess.run(tf.global_variables_initializer())
        whole = sess.run(tf.convert_to_tensor(parts))
        prefix = tf.train.Saver(sharded=True).save(sess, str(tmp_path / "m"), global_step=7)
    reader = BundleReader(prefix)
    assert list(reader.names()) == ["p", "w"]
    reader.verify()
    assert same(reader.read("p"), whole)
    assert same(reader.read("w"), np.arange(5.0))
    assert same(reader.read_slice("p", "10 4 0,4:-"), whole[:4])  # as it is stored
    assert same(reader.read_slice("p", "10 4 2,5:1,2"), whole[2:7, 1:3])  # across stored slices
    assert same(reader.read_slice("w", "5 1,3"), np.arange(5.0)[1:4])  # out of a whole one


@pytest.mark.parametrize("start", [0, 63, 64, 8191, 8192, 2**40], ids=str)
def test_keys_of_slices_are_tensorflows_wherever_they_start(tmp_path, start):
    spec = f"{2**41} 3 {start},2:-"
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    reader = BundleReader(tf_save(tmp_path / "m", {"a": value}, {"a": spec}))
    assert same(reader.read_slice("a", spec), value)
    with pytest.raises(CorruptCheckpoint, match=r"tensor 'a' of shape .* leave out or repeat"):
        reader.read("a")


def test_names_that_need_escapes_in_keys_of_slices_come_back(tmp_path):
    value = np.arange(4, dtype=np.int32)
    names = ["é", "a\0b", "blank in it"]
    saved = dict.fromkeys(names, value) | {name + "/part": value[:2] for name in names}
    reader = BundleReader(tf_save(tmp_path / "m", saved, {name + "/part": "4 0,2" for name in names}))
    for name in names:
        assert same(reader.read(name), value)
        assert same(reader.read_slice(name + "/part", "4 1,1"), value[1:2])


def test_a_checkpoint_of_several_shards_comes_back(tmp_path):
    for i in range(3):
        tf_save(tmp_path / f"part{i}", {f"v{i}": np.full(4, i), f"p@{i}": np.full(2, i)}, {f"p@{i}": f"6 {2 * i},2"})
    with tf.Graph().as_default(), tf.Session() as sess:
        parts = [str(tmp_path / f"part{i}") for i in range(3)]
        sess.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(tmp_path / "m")))
    reader = BundleReader(tmp_path / "m")
    reader.verify()
    assert [reader.read(f"v{i}").tolist() for i in range(3)] == [[i] * 4 for i in range(3)]
    assert reader.read("p").tolist() == [0, 0, 1, 1, 2, 2]
    os.remove(tmp_path / "m.data-00001-of-00003")
    with pytest.raises(FileError, match=r"m.data-00001-of-00003 is missing.*3 data files"):
        BundleReader(tmp_path / "m")


def test_variants_are_listed_and_verified_but_not_read(tmp_path):
    with tf.Graph().as_default(), tf.Session() as sess:
        handle = tf.raw_ops.TensorListFromTensor(
            tensor=tf.constant([1.0, 2.0]), element_shape=tf.constant([], tf.int32)
        )
        both = tf.stack([handle, handle])
        op = tf.raw_ops.SaveV2(prefix=str(tmp_path / "m"), tensor_names=["v"], shape_and_slices=[""], tensors=[both])
        sess.run(op)
    reader = BundleReader(tmp_path / "m")
    assert reader.spec("v")[1:] == (DTYPES[21], (2,))
    reader.verify()
    with pytest.raises(UnsupportedOp, match="'v' has dtype variant"):
        reader.read("v")
    path = tmp_path / "m.data-00000-of-00001"
    data = path.read_bytes()
    for flipped in flips(data):
        path.write_bytes(flipped)
        with pytest.raises(CorruptCheckpoint, match="'v'"):
            BundleReader(tmp_path / "m").verify()


@pytest.mark.parametrize("mapped", [True, False])
def test_values_of_a_big_endian_machine_come_back(tmp_path, mapped):
    samples = {name: value for name, value in every_dtype().items() if name != "string"}
    prefix = tf_save(tmp_path / "m", samples)
    big_endian(prefix)
    reader = BundleReader(prefix, mapped=mapped)
    reader.verify()
    for name, expected in samples.items():
        assert reader.read(name, verify=True).tolist() == expected.tolist()
        if not name.startswith(("float8", "int4", "uint4", "int2", "uint2")):  # which TensorFlow doesn't swap
            assert tf_read(prefix, name, expected.dtype).tolist() == expected.tolist()


def test_strings_of_a_big_endian_machine_come_back(tmp_path):
    import google_crc32c

    lengths = np.array([1, 2], ">u4").tobytes()
    checksum = mask_crc(google_crc32c.value(lengths)).to_bytes(4, "big")
    crc = mask_crc(google_crc32c.value(lengths + checksum + b"abc"))
    data = b"\1\2" + checksum + b"abc"
    prefix = write_files(tmp_path, {b"s": Entry(STRING, (2,), 0, 0, len(data), crc)}, data)
    index = Path(prefix + ".index")
    entries = dict(table_of(index.read_bytes(), "x"))
    entries[b""] = BundleHeaderProto(num_shards=1, endianness=BundleHeaderProto.BIG).SerializeToString()
    index.write_bytes(write_table(sorted(entries.items())))
    assert BundleReader(prefix).read("s", verify=True).tolist() == [b"a", b"bc"]
    BundleReader(prefix).verify()


# Mapping


@pytest.fixture
def large(tmp_path):
    """A checkpoint large enough to be mapped, with a tensor that isn't aligned."""
    values = {"a": np.arange(SMALL, dtype=np.float32), "b": np.int8(1), "c": np.arange(9.0)}
    return tf_save(tmp_path / "large", values), values


@pytest.mark.parametrize("mapped", [True, False])
def test_arrays_are_private_to_each_caller(large, mapped):
    prefix, values = large
    before = Path(prefix + ".data-00000-of-00001").read_bytes()
    reader = BundleReader(prefix, mapped=mapped)
    shared = reader.read("a", writable=False)
    first, second = reader.read("a"), reader.read("a")
    part = reader.read_slice("a", f"{SMALL} 0,4")
    for i, array in enumerate((first, second, part)):
        array[:] = -i
    assert same(shared, values["a"])
    assert same(reader.read("a"), values["a"])
    assert (first[1], second[1], part[1]) == (0, -1, -2)
    assert not shared.flags.writeable
    assert Path(prefix + ".data-00000-of-00001").read_bytes() == before
    reader.verify()


def test_mapped_values_share_the_files_memory_and_unaligned_ones_are_copied(large):
    prefix, values = large
    reader = BundleReader(prefix)
    a, again, c = (reader.read(name, writable=False) for name in ("a", "a", "c"))
    assert np.shares_memory(a, again)
    assert c.flags.aligned
    assert c.ctypes.data % 8 == 0
    assert same(c, values["c"])


def test_opening_touches_no_data_file(large, monkeypatch):
    prefix, _ = large
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *args, **more: opened.append(path) or real(path, *args, **more))
    reader = BundleReader(prefix)
    assert opened == [prefix + ".index"]
    reader.read("a")
    assert prefix + ".data-00000-of-00001" in opened


@pytest.mark.parametrize("mapped", [True, False])
def test_values_stay_those_of_the_file_that_was_opened_when_it_is_replaced(large, mapped):
    prefix, values = large
    reader = BundleReader(prefix, mapped=mapped)
    early = reader.read("a", writable=False)
    with BundleWriter(prefix) as writer:
        writer.add("a", values["a"] + 1)
    assert same(early, values["a"])
    assert same(reader.read("a"), values["a"])
    assert same(reader.read("c"), values["c"])
    reader.verify()
    assert same(BundleReader(prefix, mapped=mapped).read("a"), values["a"] + 1)


@pytest.mark.parametrize("mapped", [True, False])
def test_a_checkpoint_replaced_before_the_first_read_is_read_as_the_new_one(large, mapped):
    prefix, values = large
    reader = BundleReader(prefix, mapped=mapped)
    with BundleWriter(prefix) as writer:
        writer.add("a", values["a"] + 1)
        writer.add("d", np.float32(3))
    assert same(reader.read("a", verify=True), values["a"] + 1)
    assert list(reader.names()) == ["a", "d"]


def test_readers_never_mix_two_checkpoints_while_one_is_being_replaced(tmp_path):
    prefix, failures, done = str(tmp_path / "m"), [], threading.Event()

    def write(step: int) -> None:
        with BundleWriter(prefix, durable=False) as writer:
            writer.add("a", np.full(50, step))
            writer.add("b", np.full(50 + step % 3, step))

    def read() -> None:
        while not done.is_set():
            reader = BundleReader(prefix)
            a, b = reader.read("a", verify=True), reader.read("b", verify=True)
            if len({*a.tolist(), *b.tolist()}) != 1 or len(b) != 50 + a[0] % 3:
                failures.append((a, b))

    write(0)
    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for step in range(150):
        write(step)
    done.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_closed_reader_says_so_and_its_arrays_stay(large):
    prefix, values = large
    reader = BundleReader(prefix)
    value = reader.read("a")
    reader.close()
    assert same(value, values["a"])
    with pytest.raises(FileError, match="is closed"):
        reader.read("a")


# Wrong questions


def test_unknown_names_come_with_the_closest(large):
    with pytest.raises(UnknownName, match=r"no tensor 'aa'; closest: 'a'"):
        BundleReader(large[0]).read("aa")


@pytest.mark.parametrize("spec", ["5", "4 4", "0,1", "5 0,6", "5 0,0", "5 5,1", "5 -1,2", "5  0,1", "5 0,1:-", "x 0,1"])
def test_slices_that_dont_parse_or_fit_are_errors_of_the_graph(tmp_path, spec):
    reader = BundleReader(tf_save(tmp_path / "m", {"w": np.zeros(5)}))
    with pytest.raises(GraphError, match="shape_and_slice"):
        reader.read_slice("w", spec)


def test_a_slice_of_another_shape_than_the_tensors_is_an_error(tmp_path):
    reader = BundleReader(tf_save(tmp_path / "m", {"w": np.zeros(5)}))
    with pytest.raises(RestoreError, match=r"'w' of shape \[5\].*shape \[6\]"):
        reader.read_slice("w", "6 0,1")


# Damage


@pytest.fixture
def small(tmp_path):
    """A checkpoint with each kind of tensor, its data padded once."""
    prefix = str(tmp_path / "small")
    with BundleWriter(prefix) as writer:
        writer.add("bool", np.array([True, False]))
        writer.add("float", np.array([1.5, 2.5]))  # aligned, so that padding comes before it
        writer.add("strings", np.array([[b"ab", b""], [b"", b"c" * 130]], object))
        writer.add_slice("p", "4 0,2", np.array([1, 2], np.int16))
        writer.add_slice("p", "4 2,2", np.array([3, 4], np.int16))
        writer.add("empty", np.zeros((0, 2), np.float32))
    return prefix


def test_every_flipped_bit_of_an_index_is_found_on_opening(small):
    path = Path(small + ".index")
    for flipped in flips(path.read_bytes()):
        path.write_bytes(flipped)
        with pytest.raises(CorruptCheckpoint, match=r"small.index"):
            BundleReader(small)


@pytest.mark.parametrize("mapped", [True, False])
def test_every_flipped_bit_of_data_is_found_by_verify(small, mapped):
    path = Path(small + ".data-00000-of-00001")
    for flipped in flips(path.read_bytes()):
        path.write_bytes(flipped)
        reader = BundleReader(small, mapped=mapped)
        with pytest.raises(CorruptCheckpoint, match=r"data-00000-of-00001.*offset \d+"):
            reader.verify()


def test_verify_names_the_tensor_the_slice_the_file_and_the_offset(small):
    path = Path(small + ".data-00000-of-00001")
    data = path.read_bytes()
    places = {
        "'bool' at offset 0 ": 0,
        "'float' at offset 8 ": 15,
        "'strings' at offset 24 ": 24,
        "slice 2,2": len(data) - 1,
    }
    for what, at in places.items():
        path.write_bytes(data[:at] + bytes([data[at] ^ 64]) + data[at + 1 :])
        with pytest.raises(CorruptCheckpoint) as raised:
            BundleReader(small).verify()
        assert what in str(raised.value)
        assert str(path) in str(raised.value)
    path.write_bytes(data[:3] + b"\1" + data[4:])
    with pytest.raises(CorruptCheckpoint, match=r"byte at offset 3 belongs to no tensor and is 1"):
        BundleReader(small).verify()
    path.write_bytes(data + b"\0\0")
    BundleReader(small).verify()
    path.write_bytes(data + b"\0\1")
    with pytest.raises(CorruptCheckpoint, match=f"offset {len(data) + 1} belongs to no tensor"):
        BundleReader(small).verify()


def test_a_read_verifies_where_asked_and_always_the_lengths_of_strings(small):
    path = Path(small + ".data-00000-of-00001")
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\1" + data[9:24] + b"\3" + data[25:])
    reader = BundleReader(small)
    reader.read("float")
    with pytest.raises(CorruptCheckpoint, match="'float' at offset 8"):
        reader.read("float", verify=True)
    with pytest.raises(CorruptCheckpoint, match="'strings' at offset 24"):
        reader.read("strings")


def test_files_cut_off_anywhere_are_errors_that_give_the_sizes(small):
    for end in (".data-00000-of-00001", ".index"):
        path = Path(small + end)
        data = path.read_bytes()
        for length in range(len(data)):
            path.write_bytes(data[:length])
            with pytest.raises(CorruptCheckpoint, match=f"{length} bytes" if end != ".index" else "small.index"):
                BundleReader(small)
        path.unlink()
        with pytest.raises(FileError, match=r"is missing|can't be read"):
            BundleReader(small)
        path.write_bytes(data)
    BundleReader(small).verify()


def test_an_unmapped_file_that_shrinks_after_opening_is_an_error(large):
    prefix, _ = large
    reader = BundleReader(prefix, mapped=False)
    reader.read("b")
    os.truncate(prefix + ".data-00000-of-00001", 1000)
    for read in (lambda: reader.read("a"), lambda: reader.read("a", writable=False), reader.verify):
        with pytest.raises(CorruptCheckpoint, match="is cut off: 1000 bytes"):
            read()


def test_verify_survives_a_mapped_file_that_shrinks(large):
    prefix, _ = large
    reader = BundleReader(prefix)
    reader.read("b")
    os.truncate(prefix + ".data-00000-of-00001", 1000)
    with pytest.raises(CorruptCheckpoint, match="is cut off"):
        BundleReader(prefix)


def test_progress_rises_to_the_size_of_the_files(large):
    prefix, _ = large
    calls = []
    BundleReader(prefix).verify(lambda done, total: calls.append((done, total)))
    size = os.path.getsize(prefix + ".data-00000-of-00001")
    assert calls == sorted(calls)
    assert len(set(calls)) == len(calls)
    assert calls[-1] == (size, size)


# Indexes that lie

BIG = 1 << 60
LIES = {
    "2^60 elements": (entry(shape=(BIG,), size=24), "takes 4611686018427387904"),
    "2^60 strings": (entry(dtype=STRING, shape=(BIG,)), "takes at least 1152921504606846980"),
    "2^60 strings that claim the bytes": (entry(dtype=STRING, shape=(BIG,), size=BIG + 4), "is cut off: 24 bytes"),
    "2^62 bytes that are not there": (entry(shape=(BIG,), size=4 * BIG), "is cut off: 24 bytes are there and at"),
    "overflow": (entry(shape=(1 << 40, 1 << 40)), "more than 2^63 bytes"),
    "overflow behind a zero": (entry(shape=(0, 1 << 40, 1 << 40), size=0), "more than 2^63 bytes"),
    "negative size of a dimension": (entry(shape=(-1, 6)), "can't be unknown or negative"),
    "negative offset": (entry(offset=-8), "places 24 bytes at offset -8"),
    "negative size": (entry(size=-24), "places -24 bytes"),
    "offset that overflows": (entry(offset=(1 << 63) - 8), "places 24 bytes at offset 9223372036854775800"),
    "offset past the end": (entry(offset=1), "is cut off: 24 bytes are there and at least 25 were expected"),
    "too few bytes": (entry(size=20), "has 20 bytes, and float32 of shape [2, 3] takes 24"),
    "shard that isn't there": (entry(shard=1), "of shard 1"),
    "negative shard": (entry(shard=-1), "of shard -1"),
    "too many dimensions": (entry(shape=(1,) * 255, size=4), "has 255 dimensions"),
    "dtype 0": (entry(dtype=type("Fake", (), {"number": 0})), "dtype number 0"),
    "slices and bytes": (entry(slices=((FULL, FULL),)), "can't have both"),
    "slice of another rank": (entry(size=0, slices=((FULL,),)), "which doesn't lie within it"),
    "slice out of the shape": (entry(size=0, slices=(((1, 2), FULL),)), "declares the slice 1,2:-, which doesn't lie"),
    "slice that overflows": (entry(size=0, slices=((((1 << 62), 1 << 62), FULL),)), "which doesn't lie within it"),
    "negative slice": (entry(size=0, slices=(((-1, 2), FULL),)), "which doesn't lie within it"),
    "slice without an entry": (entry(size=0, slices=(((0, 1), FULL),)), "declares the slice 0,1:-, which has no entry"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_each_lie_of_an_entry_is_an_error_before_anything_is_allocated(tmp_path, case, peak_memory):
    lie, why = LIES[case]
    prefix = write_files(tmp_path, {b"w": lie}, bytes(24))
    with peak_memory(below=1_000_000), pytest.raises(CorruptCheckpoint) as raised:
        BundleReader(prefix)
    assert why in str(raised.value)
    assert "'w'" in str(raised.value) or "is cut off" in str(raised.value)


def test_tensors_on_the_same_bytes_are_refused(tmp_path):
    prefix = write_files(tmp_path, {b"v": entry(), b"w": entry(offset=20)}, bytes(60))
    with pytest.raises(CorruptCheckpoint, match=r"'v' and 'w' overlap in shard 0 at offset 20"):
        BundleReader(prefix)


@pytest.mark.parametrize("lie", [{"dtype": DTYPES[3]}, {"shape": (3, 1)}])
def test_a_slice_whose_entry_is_of_another_kind_is_refused(tmp_path, lie):
    part = ((0, 1), FULL)
    entries = {b"w": entry(size=0, slices=(part,)), slice_key(b"w", part): entry(shape=(1, 3), size=12)._replace(**lie)}
    with pytest.raises(CorruptCheckpoint, match=r"has the slice 0,1:-, whose entry says"):
        BundleReader(write_files(tmp_path, entries, bytes(24)))


@pytest.mark.parametrize(
    ("parts", "shape"),
    [
        ([((0, 1), FULL)], (2, 3)),  # one is missing
        ([((0, 2), FULL), ((1, 2), FULL)], (4, 3)),  # as many elements as wanted, some twice
        ([((0, 2), (0, 2)), ((1, 2), (1, 2)), ((0, 1), (2, 1))], (3, 3)),  # cut both ways, one element twice
    ],
)
def test_slices_that_dont_make_up_the_tensor_are_an_error_on_reading(tmp_path, parts, shape):
    entries, at = {b"w": Entry(FLOAT, shape, 0, 0, 0, 0, tuple(parts))}, 0
    for part in parts:
        own = tuple(n if length < 0 else length for n, (_, length) in zip(shape, part, strict=True))
        size = 4 * int(np.prod(own))
        entries[slice_key(b"w", part)] = Entry(FLOAT, own, 0, at, size, 0)
        at += size
    reader = BundleReader(write_files(tmp_path, entries, bytes(at)))
    with pytest.raises(CorruptCheckpoint, match=r"'w' of shape .* leave out or repeat"):
        reader.read("w")


def test_slices_of_a_huge_tensor_allocate_no_more_than_there_is(tmp_path, peak_memory):
    part = ((0, 2), FULL)
    entries = {
        b"w": Entry(FLOAT, (BIG // 4, 3), 0, 0, 0, 0, (part,)),
        slice_key(b"w", part): Entry(FLOAT, (2, 3), 0, 0, 24, 0),
    }
    reader = BundleReader(write_files(tmp_path, entries, bytes(24)))
    with peak_memory(below=1_000_000), pytest.raises(CorruptCheckpoint, match="leave out"):
        reader.read("w")


def test_more_dimensions_than_numpy_has_are_refused_on_reading(tmp_path):
    reader = BundleReader(write_files(tmp_path, {b"w": entry(shape=(1,) * 100, size=4)}, bytes(4)))
    with pytest.raises(UnsupportedOp, match="'w' has 100 dimensions"):
        reader.read("w")


def test_headers_that_lie_are_refused(tmp_path):
    good = BundleHeaderProto(num_shards=1)
    good.version.producer = 1
    cases = [
        (BundleHeaderProto(num_shards=0), "declares 0 shards"),
        (BundleHeaderProto(num_shards=-3), "declares -3 shards"),
        (BundleHeaderProto(num_shards=1, endianness=7), "byte order 7"),
        (BundleHeaderProto(num_shards=1, version={"min_consumer": 2}), "wants a reader of version 2"),
    ]
    for header, why in cases:
        with pytest.raises(CorruptCheckpoint, match=why):
            parse_index(write_table([(b"", header.SerializeToString())]), "x.index")
    for value, why in ((b"\xff\xff", "no protocol buffer"), (None, "has no header")):
        with pytest.raises(CorruptCheckpoint, match=why):
            parse_index(write_table([(b"", value)] if value else [(b"w", b"")]), "x.index")
    with pytest.raises(CorruptCheckpoint, match="entry of 'w' is no protocol buffer"):
        parse_index(write_table([(b"", good.SerializeToString()), (b"w", b"\x12\xff")]), "x.index")


def test_a_huge_number_of_shards_costs_nothing(tmp_path):
    prefix = write_files(tmp_path, {b"w": entry()}, bytes(24), shards=2**31 - 1)
    os.rename(f"{prefix}.data-00000-of-{2**31 - 1}", f"{prefix}.data-00000-of-2147483647")
    assert BundleReader(prefix).read("w").shape == (2, 3)


@settings(max_examples=150)
@given(st.data())
def test_strings_changed_anywhere_come_back_or_are_one_error(tmp_path, data):
    prefix = str(tmp_path / "m")
    with BundleWriter(prefix, durable=False) as writer:
        writer.add("s", data.draw(st.lists(st.binary(max_size=200), max_size=6)) or np.zeros(0, object))
    path = Path(prefix + ".data-00000-of-00001")
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    reader = BundleReader(prefix)
    with contextlib.suppress(CorruptCheckpoint):
        value = reader.read("s")
        assert all(isinstance(item, bytes) for item in value.ravel())
        reader.verify()


@settings(max_examples=150)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=5), st.binary(max_size=40)), max_size=5))
def test_arbitrary_entries_give_a_checkpoint_or_an_error_of_ours(entries):
    header = BundleHeaderProto(num_shards=1).SerializeToString()
    with contextlib.suppress(CorruptCheckpoint):
        parse_index(write_table(sorted({b"": header, **dict(entries)}.items())), "x.index")


def test_merged_shards_and_threads_read_the_same(tmp_path):
    for i in range(2):
        with BundleWriter(tmp_path / f"part{i}", durable=False) as writer:
            writer.add(f"v{i}", np.full(SMALL, i))
    merge_bundles([tmp_path / "part0", tmp_path / "part1"], tmp_path / "m", durable=False)
    reader, results = BundleReader(tmp_path / "m"), []
    threads = [
        threading.Thread(target=lambda: results.append((reader.read("v0")[0], reader.read("v1")[-1]))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(0, 1)] * 8
