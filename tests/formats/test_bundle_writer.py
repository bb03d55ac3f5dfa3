"""Writing V2 checkpoints: TensorFlow's bytes, TensorFlow as a reader, and every state on the way."""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from formats.checkpoint_samples import QUANTIZED, every_dtype, files_in, quantized, same, tf_read, tf_save
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphrack.errors import CorruptCheckpoint, FileError, GraphError, UnsupportedOp
from graphrack.formats import bundle_writer, safe_write
from graphrack.formats.bundle import BundleReader, BundleWriter, merge_bundles


def save(prefix, arrays, **options) -> None:
    with BundleWriter(prefix, durable=False) as writer:
        for name, array in arrays.items():
            writer.add(name, array, **options)


def contents(prefix) -> dict[str, list]:
    reader = BundleReader(prefix)
    reader.verify()
    return {name: reader.read(name).tolist() for name in reader.names()}


def test_the_bytes_of_a_small_checkpoint(tmp_path):
    with BundleWriter(tmp_path / "m") as writer:
        writer.add("a", np.array([1, 2], np.int16))
        writer.add("s", b"xyz")
    assert {name: data.hex() for name, data in files_in(tmp_path).items()} == {
        "m.data-00000-of-00001": "01000200" + "03" + "633f7f28" + "78797a",
        "m.index": "00000608011a020801"  # the header: one shard, version 1
        "00010f610805120412020802280435a74fa645"  # a: int16 [2], 4 bytes at 0
        "00010d7308071200200428083513abf67b"  # s: a string, 8 bytes at 4
        "0000000001000000009098d0af"  # one restart, uncompressed, checksum
        "000000000100000000c0f2a1b0"  # the metaindex
        "000102740035000000000100000000374a802b"  # the index: keys up to "t" in the block of 53 bytes at 0
        "3a08470e" + "00" * 36 + "57fb808b247547db",  # the footer
    }


def test_tensorflow_writes_the_same_bytes(tmp_path):
    arrays = {
        f"layer{i}/{name}": np.random.default_rng(i).normal(size=(3, i)).astype(np.float32)
        for i in range(30)
        for name in "wb"
    }
    arrays["names"] = np.array([b"a" * i for i in range(300)], object)
    arrays = dict(sorted(arrays.items()))
    (tmp_path / "tf").mkdir()
    tf_save(tmp_path / "tf" / "m", arrays)
    save(tmp_path / "ours" / "m", arrays)
    assert files_in(tmp_path / "ours") == files_in(tmp_path / "tf")


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4)])
def test_tensorflow_reads_every_dtype(tmp_path, shape):
    samples = every_dtype(shape) | {name: quantized(name) for name in QUANTIZED}
    save(tmp_path / "m", samples)
    reader = BundleReader(tmp_path / "m")
    reader.verify()
    for name, expected in samples.items():
        value = tf_read(str(tmp_path / "m"), name, tf.as_dtype(name))
        assert np.shape(value) == expected.shape
        value = np.asarray(value)
        # TensorFlow gives quantized values as plain integers.
        assert value.tolist() == (expected[name] if expected.dtype.names else expected).tolist()
        assert reader.read(name).tolist() == expected.tolist()
        assert reader.read(name).dtype == expected.dtype


def test_a_saver_restores_what_is_written_partitioned_variables_too(tmp_path):
    whole = np.arange(40, dtype=np.float32).reshape(10, 4)
    with BundleWriter(tmp_path / "m") as writer:
        writer.add("w", np.arange(5.0))
        for start, length in ((0, 5), (5, 5)):
            writer.add_slice("p", f"10 4 {start},{length}:-", whole[start : start + length])
    with tf.Graph().as_default(), tf.Session() as sess:
        parts = tf.get_variable("p", [10, 4], partitioner=tf.fixed_size_partitioner(3), use_resource=False)
        w = tf.get_variable("w", [5], tf.float64)
        tf.train.Saver().restore(sess, str(tmp_path / "m"))
        assert same(sess.run(tf.convert_to_tensor(parts)), whole)
        assert same(sess.run(w), np.arange(5.0))
    names = dict(tf.train.list_variables(str(tmp_path / "m")))
    assert names == {"p": [10, 4], "w": [5]}


DTYPES = st.sampled_from(
    ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16", "?", ">f4", ">c16"]
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))
STRINGS = hnp.arrays(object, SHAPES, elements=st.binary(max_size=300))
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda s: s[0] != "\0")


@settings(max_examples=80)
@given(st.dictionaries(NAMES, ARRAYS | STRINGS, max_size=8))
def test_whatever_is_saved_comes_back_bit_for_bit(tmp_path, arrays):
    save(tmp_path / "m", arrays)
    for mapped in (True, False):
        reader = BundleReader(tmp_path / "m", mapped=mapped)
        reader.verify()
        assert set(reader.names()) == set(arrays)
        for name, array in arrays.items():
            expected = array if array.dtype.hasobject else array.astype(array.dtype.newbyteorder("="))
            assert same(reader.read(name), expected)
    if arrays:
        known = tf.train.load_checkpoint(str(tmp_path / "m")).get_variable_to_shape_map()
        assert {name: tuple(shape) for name, shape in known.items()} == {n: a.shape for n, a in arrays.items()}


@settings(max_examples=60)
@given(st.data())
def test_slices_cut_any_way_come_back_in_any_other_slices(tmp_path, data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=6))
    whole = np.arange(np.prod(shape)).reshape(shape)

    def cuts(size: int) -> list[int]:
        return sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=2))})

    def spec(bounds) -> str:
        parts = [f"{a},{b - a}" if (a, b) != (0, n) else "-" for (a, b), n in zip(bounds, shape, strict=True)]
        return " ".join([*map(str, shape), ":".join(parts)])

    grids = [list(itertools.pairwise(cut)) for cut in map(cuts, shape)]
    with BundleWriter(tmp_path / "m", durable=False) as writer:
        for bounds in itertools.product(*grids):
            writer.add_slice("w", spec(bounds), whole[tuple(slice(*ends) for ends in bounds)])
    reader = BundleReader(tmp_path / "m")
    reader.verify()
    assert same(reader.read("w"), whole)
    for _ in range(3):
        starts = [data.draw(st.integers(0, n - 1)) for n in shape]
        bounds = [(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, shape, strict=True)]
        expected = whole[tuple(slice(*ends) for ends in bounds)]
        assert reader.read_slice("w", spec(bounds)).tolist() == expected.tolist()
    assert same(tf.train.load_checkpoint(str(tmp_path / "m")).get_tensor("w"), whole)


def test_an_interruption_right_after_the_commit_keeps_the_new_checkpoint(tmp_path, monkeypatch):
    save(tmp_path / "m", {"old": 1})
    real = os.replace

    def interrupted(source, target):
        real(source, target)
        if str(target).endswith(".index"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path / "m", {"new": 2})
    assert contents(tmp_path / "m") == {"new": 2}


# What can be saved


class _Lends:
    """An object that offers its array in one way only."""

    def __init__(self, array):
        self.array = array


class _ByArray(_Lends):
    def __array__(self, dtype=None, copy=None):
        return self.array


class _ByDlpack(_Lends):
    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, np.int64(3)),
        (2.5, np.float64(2.5)),
        (True, np.bool_(True)),
        ([1, 2], np.array([1, 2])),
        ("é", np.array("é".encode(), object)),
        (b"a\0", np.array(b"a\0", object)),
        (["a", "bc"], np.array([b"a", b"bc"], object)),
        (np.array(["a", "bc"]), np.array([b"a", b"bc"], object)),
        (np.arange(6).reshape(2, 3).T, np.array([[0, 3], [1, 4], [2, 5]])),
        (_ByArray(np.arange(3.0)), np.arange(3.0)),
        (_ByDlpack(np.arange(3.0)), np.arange(3.0)),
    ],
)
def test_arraylikes_are_saved_as_numpy_sees_them(tmp_path, value, expected):
    save(tmp_path / "m", {"x": value})
    assert same(BundleReader(tmp_path / "m").read("x"), expected)


class _Refuses:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("requires grad")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.array("2020-01-01", "M8[D]"), r"NumPy dtype datetime64\[D\]"),
        (np.longdouble(1), "NumPy dtype"),
        (np.zeros(2, [("a", "f4")]), "NumPy dtype"),
        ({"a": 1}, "element of type dict"),
        (None, "element of type NoneType"),
        (_Refuses(), "gives no NumPy array .requires grad."),
    ],
)
def test_what_tensorflow_has_no_dtype_for_is_refused_and_nothing_is_left(tmp_path, value, why):
    with pytest.raises(UnsupportedOp, match=f"'x'.*{why}"):
        save(tmp_path / "new" / "m", {"x": value})
    assert list(tmp_path.iterdir()) == []


def test_names_and_slices_that_cant_be_are_refused(tmp_path):
    with BundleWriter(tmp_path / "m") as writer:
        writer.add("w", 1)
        writer.add_slice("p", "4 0,2", np.zeros(2))
        for name in ("", "\0w"):
            with pytest.raises(GraphError, match="can't be a tensor's name"):
                writer.add(name, 1)
        for name in ("w", "p"):
            with pytest.raises(GraphError, match="has been added"):
                writer.add(name, 1)
        for spec, array in (
            ("4 0,2", np.zeros(2)),  # again
            ("5 2,2", np.zeros(2)),  # of another shape
            ("4 2,2", np.zeros(2, np.float32)),  # of another dtype
            ("4 2,2", np.zeros(1)),  # doesn't fit
            ("4 3,2", np.zeros(2)),  # runs out
        ):
            with pytest.raises(GraphError, match="slice"):
                writer.add_slice("p", spec, array)
        with pytest.raises(GraphError, match="before: all of a tensor of int64"):
            writer.add_slice("w", "4 2,2", np.zeros(2))
    assert list(BundleReader(tmp_path / "m").names()) == ["p", "w"]


def test_a_prefix_that_is_a_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        BundleWriter(f"{tmp_path}/")


# Committing


@pytest.mark.parametrize("old_shards", [0, 1, 2, 3])
def test_saving_over_a_checkpoint_leaves_its_usual_files_only(tmp_path, old_shards):
    target = tmp_path / "m"
    if old_shards:
        for i in range(old_shards):
            save(tmp_path / "old" / f"part{i}", {f"v{i}": i})
        merge_bundles([tmp_path / "old" / f"part{i}" for i in range(old_shards)], target)
        assert contents(target) == {f"v{i}": i for i in range(old_shards)}
    save(target, {"new": 1})
    assert contents(target) == {"new": 1}
    assert sorted(files_in(tmp_path)) == ["m.data-00000-of-00001", "m.index"]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("old_shards", [0, 1, 2])
def test_every_step_of_a_save_leaves_the_old_checkpoint_or_the_new(tmp_path, monkeypatch, old_shards, merged, durable):
    """Ends the save before each of its system calls in turn, and looks at what is there."""
    calls = ["open", "write", "replace", "link", "unlink", "fsync"]
    step, seen = 0, set()
    while True:
        folder = tmp_path / str(step)
        target = folder / "m"
        old = None
        if old_shards:
            old = {f"v{i}": i for i in range(old_shards)}
            for i in range(old_shards):
                save(folder / "old" / f"part{i}", {f"v{i}": i})
            merge_bundles([folder / "old" / f"part{i}" for i in range(old_shards)], target)
        if merged:
            save(folder / "new" / "a", {"new": 1})
            save(folder / "new" / "b", {"newer": 2})
        finished = _stop_at(monkeypatch, step, calls, _save_again, folder, target, merged, durable)
        new = {"new": 1, "newer": 2} if merged else {"new": 1}
        state = contents(target) if (folder / "m.index").exists() else None
        assert state in (old, new)
        seen.add(state == new)
        # Whoever saves next clears away what is left.
        save(target, {"last": 3})
        assert contents(target) == {"last": 3}
        assert sorted(files_in(folder)) == ["m.data-00000-of-00001", "m.index"]
        if finished:
            break
        step += 1
    assert step > 5
    assert seen == {False, True}


def _save_again(folder: Path, target: Path, merged: bool, durable: bool) -> None:
    if merged:
        merge_bundles([folder / "new" / "a", folder / "new" / "b"], target, durable=durable)
    else:
        with BundleWriter(target, durable=durable) as writer:
            writer.add("new", 1)


class _Killed(BaseException):
    """Stands for SIGKILL: from its raising on, no system call of the save does anything."""


def _stop_at(monkeypatch, step: int, calls: list[str], function, *arguments) -> bool:
    count = 0
    own = threading.get_ident()

    def counted(real):
        def call(*args, **options):
            nonlocal count
            if threading.get_ident() != own:  # what was compiled is stored in the background
                return real(*args, **options)
            if count >= step:
                count += 1
                raise _Killed
            count += 1
            return real(*args, **options)

        return call

    with monkeypatch.context() as patch:
        for name in calls:
            patch.setattr(os, name, counted(getattr(os, name)))
        # A killed process closes its files, and runs nothing else.
        patch.setattr(safe_write.TemporaryFile, "discard", lambda self: self._close())
        patch.setattr(bundle_writer, "remove", counted(safe_write.remove))
        patch.setattr(bundle_writer, "_remove_folders", lambda made: None)
        try:
            function(*arguments)
        except _Killed:
            return False
    return True


@pytest.mark.parametrize("call", ["write", "replace", "fsync"])
def test_a_failure_at_any_step_leaves_the_old_checkpoint_and_nothing_else(tmp_path, monkeypatch, call):
    target = tmp_path / "m"
    save(target, {"old": np.arange(5)})
    before = files_in(tmp_path)
    for failing in range(20):
        count = 0
        real = getattr(os, call)

        def fail(*args, real=real, failing=failing, **options):
            nonlocal count
            count += 1
            if count - 1 == failing:
                raise OSError(28, "No space left on device")
            return real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                with BundleWriter(target) as writer:
                    writer.add("new", np.arange(6))
                break
            except FileError as error:
                message = str(error)
        assert "the disk is full" in message
        assert files_in(tmp_path) == before
    assert failing > 0
    # A failure after the commit is none: the new checkpoint is there, under names that work.
    assert contents(target) == {"new": [0, 1, 2, 3, 4, 5]}


def test_a_limit_on_file_sizes_is_reported_and_leaves_the_old_checkpoint(tmp_path):
    save(tmp_path / "m", {"old": 1})
    before = files_in(tmp_path)
    code = (
        "import numpy as np, sys\n"
        "from graphrack.errors import FileError\n"
        "from graphrack.formats.bundle import BundleWriter\n"
        "try:\n"
        "    with BundleWriter(sys.argv[1]) as w: w.add('new', np.zeros(1_000_000))\n"
        "except FileError as e: print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a limit on the size of files is reached" in done.stdout
    assert files_in(tmp_path) == before


def test_an_exception_in_the_block_leaves_everything_as_it_was(tmp_path):
    save(tmp_path / "m", {"old": 1})
    before = files_in(tmp_path)
    for prefix in (tmp_path / "m", tmp_path / "a" / "b" / "m"):
        with pytest.raises(ZeroDivisionError), BundleWriter(prefix) as writer:
            writer.add("new", 1 / len(before.keys() - before.keys()))
    assert files_in(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


def test_a_finished_writer_takes_no_more(tmp_path):
    writer = BundleWriter(tmp_path / "m")
    writer.add("a", 1)
    assert writer.finish() == str(tmp_path / "m")
    with pytest.raises(FileError, match="is finished"):
        writer.add("b", 1)
    with pytest.raises(FileError, match="is finished"):
        writer.finish()


def test_a_live_writers_files_are_left_alone_by_another(tmp_path):
    with BundleWriter(tmp_path / "m") as first:
        first.add("first", np.arange(5))
        save(tmp_path / "m", {"second": 2})
        assert contents(tmp_path / "m") == {"second": 2}
        assert len(files_in(tmp_path)) == 3
    assert contents(tmp_path / "m") == {"first": [0, 1, 2, 3, 4]}
    assert len(files_in(tmp_path)) == 2


def test_files_of_other_checkpoints_are_left_alone(tmp_path):
    others = [
        "m2.data-00000-of-00002",
        "am.data-00000-of-00002",
        "m.data-00000-of-00002.bak",
        "m.index.tmp-x",
        "m.meta",
    ]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    save(tmp_path / "m", {"a": 1})
    assert {name for name, data in files_in(tmp_path).items() if data == b"mine"} == set(others)


def test_without_hard_links_saving_over_a_checkpoint_works_all_the_same(tmp_path, monkeypatch):
    def no_links(*args, **options):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    for step in range(3):
        save(tmp_path / "m", {"a": step})
        assert contents(tmp_path / "m") == {"a": step}
        assert tf.train.load_checkpoint(str(tmp_path / "m")).get_tensor("a") == step
        assert len(files_in(tmp_path)) == 2
    save(tmp_path / "part", {"b": 7})
    merge_bundles([tmp_path / "part"], tmp_path / "m")
    assert contents(tmp_path / "m") == {"b": 7}


# Merging


def test_merging_makes_one_checkpoint_of_parts_and_removes_them(tmp_path):
    for i in range(3):
        with BundleWriter(tmp_path / "parts_temp" / f"part-{i}") as writer:
            writer.add(f"v{i}", np.full(2, i))
            writer.add_slice("p", f"6 {2 * i},2", np.full(2, i))
    merge_bundles([tmp_path / "parts_temp" / f"part-{i}" for i in (0, 2, 1)], tmp_path / "m")
    assert sorted(files_in(tmp_path)) == [*(f"m.data-0000{i}-of-00003" for i in range(3)), "m.index"]
    assert not (tmp_path / "parts_temp").exists()
    expected = {"p": [0, 0, 1, 1, 2, 2], "v0": [0, 0], "v1": [1, 1], "v2": [2, 2]}
    assert contents(tmp_path / "m") == expected
    reader = tf.train.load_checkpoint(str(tmp_path / "m"))
    assert {name: reader.get_tensor(name).tolist() for name in expected} == expected


def test_folders_of_parts_stay_where_asked_or_not_empty(tmp_path):
    for name in ("kept", "full"):
        save(tmp_path / name / "part", {"a": 1})
    (tmp_path / "full" / "other").write_bytes(b"")
    merge_bundles([tmp_path / "kept" / "part"], tmp_path / "m", delete_old_dirs=False)
    merge_bundles([tmp_path / "full" / "part"], tmp_path / "n")
    assert files_in(tmp_path / "kept") == {}
    assert list(files_in(tmp_path / "full")) == ["other"]


def test_parts_without_an_index_are_left_out_where_allowed_but_not_all(tmp_path):
    save(tmp_path / "a", {"a": 1})
    parts = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(FileError, match=r"b.index can't be read"):
        merge_bundles(parts, tmp_path / "m")
    merge_bundles(parts, tmp_path / "m", allow_missing_files=True)
    assert contents(tmp_path / "m") == {"a": 1}
    with pytest.raises(FileError, match="none of the 2 parts"):
        merge_bundles(parts, tmp_path / "m", allow_missing_files=True)


@pytest.mark.parametrize("second", [{"a": 2}, {"a": 2.5}])
def test_parts_that_hold_the_same_tensor_are_refused_and_stay(tmp_path, second):
    save(tmp_path / "1", {"a": 1})
    save(tmp_path / "2", second)
    before = files_in(tmp_path)
    with pytest.raises(GraphError, match=r"'a' is in .*2 .*and in a part before it"):
        merge_bundles([tmp_path / "1", tmp_path / "2"], tmp_path / "m")
    assert files_in(tmp_path) == before


def test_a_damaged_part_is_refused(tmp_path):
    save(tmp_path / "1", {"a": 1})
    os.truncate(tmp_path / "1.index", 20)
    with pytest.raises(CorruptCheckpoint, match=r"1.index"):
        merge_bundles([tmp_path / "1"], tmp_path / "m")
