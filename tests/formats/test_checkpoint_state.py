"""The state file: TensorFlow's bytes, both ways, and what is the latest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tensorflow.compat.v1 as tf
from formats.checkpoint_samples import tf_save_v1
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrack.errors import CorruptFile, FileError
from graphrack.formats.bundle import BundleWriter
from graphrack.formats.checkpoint_state import (
    checkpoints,
    latest_checkpoint,
    read_state,
    record_checkpoint,
    write_state,
)


def save(prefix, value=1) -> str:
    with BundleWriter(prefix, durable=False) as writer:
        writer.add("w", value)
    return str(prefix)


def state_bytes(folder) -> bytes:
    return (Path(folder) / "checkpoint").read_bytes()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda s: s not in (".", "..")
)


@settings(max_examples=60)
@given(st.data())
def test_the_file_is_byte_for_byte_tensorflows(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir(exist_ok=True)
    folder = data.draw(st.sampled_from(["models", str(tmp_path / "models")]))
    paths = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    paths = [os.path.join(data.draw(st.sampled_from(["models", str(tmp_path / "models")])), p) for p in paths]
    latest = data.draw(st.sampled_from(paths))
    relative = data.draw(st.booleans()) and all(os.path.isabs(p) for p in paths) and os.path.isabs(folder)
    times = data.draw(st.lists(st.floats(0, 2e9), min_size=len(paths), max_size=len(paths)))
    times = times if latest == paths[-1] and data.draw(st.booleans()) else []
    preserved = data.draw(st.none() | st.floats(0, 2e9))
    write_state(folder, latest, paths, timestamps=times, last_preserved=preserved, relative=relative, durable=False)
    ours = state_bytes("models")
    tf.train.update_checkpoint_state(
        folder, latest, list(paths), all_model_checkpoint_timestamps=times or None, last_preserved_timestamp=preserved
    ) if not relative else _tensorflows_relative(folder, latest, paths, times, preserved)
    assert ours == state_bytes("models")
    state, theirs = read_state(folder), tf.train.get_checkpoint_state(folder)
    assert state is not None
    assert state.latest == theirs.model_checkpoint_path
    assert list(state.paths) == list(theirs.all_model_checkpoint_paths)
    assert list(state.timestamps) == list(theirs.all_model_checkpoint_timestamps)
    assert state.last_preserved == theirs.last_preserved_timestamp


def _tensorflows_relative(folder, latest, paths, times, preserved) -> None:
    from tensorflow.python.checkpoint import checkpoint_management

    checkpoint_management.update_checkpoint_state_internal(
        folder, latest, list(paths), None, True, times or None, preserved
    )


def test_the_bytes_of_a_state_file(tmp_path):
    write_state(tmp_path, "m-3", ["m-1"], timestamps=[1.5, 1700000000.25], last_preserved=0.5)
    assert state_bytes(tmp_path) == (
        b'model_checkpoint_path: "m-3"\n'
        b'all_model_checkpoint_paths: "m-1"\n'
        b'all_model_checkpoint_paths: "m-3"\n'
        b"all_model_checkpoint_timestamps: 1.5\n"
        b"all_model_checkpoint_timestamps: 1700000000.25\n"
        b"last_preserved_timestamp: 0.5\n"
    )


def test_a_relative_folder_and_relative_paths_asked_for_are_relative_to_it_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    for latest in ("models/m-1", str(tmp_path / "models" / "m-1")):
        write_state("models", latest, relative=True)
        assert b'model_checkpoint_path: "m-1"' in state_bytes("models")
        assert read_state("models").relative


def test_timestamps_for_some_of_the_paths_only_are_refused(tmp_path):
    with pytest.raises(ValueError, match="1 timestamps for 2 checkpoints"):
        write_state(tmp_path, "b", ["a"], timestamps=[1.0])


def test_a_checkpoint_cant_be_called_like_the_state_file(tmp_path):
    with pytest.raises(FileError, match="can't be called"):
        write_state(tmp_path, str(tmp_path / "checkpoint"))


def test_no_state_file_is_no_state(tmp_path):
    assert read_state(tmp_path) is None
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "data", [b"not: a state", b"\xff\xfe", b'model_checkpoint_path: "a', b"", b"model_checkpoint_path: 3"]
)
def test_a_state_file_that_cant_be_understood_is_an_error(tmp_path, data):
    (tmp_path / "checkpoint").write_bytes(data)
    with pytest.raises(CorruptFile, match=r"checkpoint (is no checkpoint state|names no latest)"):
        latest_checkpoint(tmp_path)


def test_latest_checkpoint_is_tensorflows(tmp_path):
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.get_variable("w", [2])
        sess.run(tf.global_variables_initializer())
        saver = tf.train.Saver(max_to_keep=2)
        saved = [saver.save(sess, str(tmp_path / "m"), global_step=step) for step in (1, 2, 30)]
    assert latest_checkpoint(tmp_path) == tf.train.latest_checkpoint(str(tmp_path)) == saved[-1]
    assert checkpoints(tmp_path) == saved[1:]
    os.remove(saved[-1] + ".index")
    assert latest_checkpoint(tmp_path) is None
    assert tf.train.latest_checkpoint(str(tmp_path)) is None


def test_a_sharded_v1_checkpoint_is_found_under_its_prefix(tmp_path):
    for i in range(2):
        tf_save_v1(tmp_path / f"m-0000{i}-of-00002", {f"w{i}": 1})
    write_state(tmp_path, str(tmp_path / "m-?????-of-00002"))
    assert latest_checkpoint(tmp_path) == str(tmp_path / "m")
    assert checkpoints(tmp_path) == [str(tmp_path / "m")]


def test_a_folder_that_was_moved_is_found_though_its_paths_are_absolute(tmp_path):
    prefix = save(tmp_path / "here" / "m-1")
    write_state(tmp_path / "here", prefix)
    (tmp_path / "here").rename(tmp_path / "there")
    assert latest_checkpoint(tmp_path / "there") == str(tmp_path / "there" / "m-1")
    assert checkpoints(tmp_path / "there") == [str(tmp_path / "there" / "m-1")]


def test_checkpoints_are_listed_oldest_first(tmp_path):
    times = {"m-10": 50, "m-9": 50, "kept": 10, "m-11": 60, "m-8": 90, "later": 99}
    for name, time in times.items():
        save(tmp_path / name)
        os.utime(tmp_path / f"{name}.index", (time, time))
        os.utime(tmp_path / f"{name}.data-00000-of-00001", (time, time))
    tf_save_v1(tmp_path / "old", {"w": 1})
    os.utime(tmp_path / "old", (5, 5))
    (tmp_path / "other.data-00000-of-00001").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"x" * 100)
    names = [os.path.basename(p) for p in checkpoints(tmp_path)]
    assert names == ["old", "kept", "m-9", "m-10", "m-11", "m-8", "later"]
    # The state file's order counts for those that it lists.
    write_state(tmp_path, str(tmp_path / "m-11"), [str(tmp_path / p) for p in ("m-8", "gone", "m-11")])
    names = [os.path.basename(p) for p in checkpoints(tmp_path)]
    assert names == ["old", "kept", "m-9", "m-10", "m-8", "m-11", "later"]


def test_a_folder_that_isnt_there_has_no_checkpoints_to_list(tmp_path):
    with pytest.raises(FileError, match="can't be read"):
        checkpoints(tmp_path / "nowhere")


def test_recording_appends_to_those_that_are_still_there(tmp_path):
    first, second, third = (str(tmp_path / name) for name in "abc")
    for prefix in (first, second, third, first):
        save(prefix)
        record_checkpoint(prefix)
    state = read_state(tmp_path)
    assert (state.latest, state.paths) == (first, (second, third, first))
    os.remove(second + ".index")
    record_checkpoint(third)
    assert read_state(tmp_path).paths == (first, third)
    assert tf.train.latest_checkpoint(str(tmp_path)) == third


def test_recording_keeps_relative_paths_relative(tmp_path):
    save(tmp_path / "a")
    write_state(tmp_path, str(tmp_path / "a"), relative=True)
    save(tmp_path / "b")
    record_checkpoint(tmp_path / "b")
    assert state_bytes(tmp_path).count(b'"b"') == 2
    assert read_state(tmp_path).paths == (str(tmp_path / "a"), str(tmp_path / "b"))


def test_recording_replaces_a_state_file_that_cant_be_understood(tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"garbage")
    record_checkpoint(save(tmp_path / "a"))
    assert latest_checkpoint(tmp_path) == str(tmp_path / "a")
