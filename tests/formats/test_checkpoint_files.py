"""From a path to an open checkpoint, or to words that say what the path is."""

from __future__ import annotations

import numpy as np
import pytest
from formats.checkpoint_samples import tf_save_v1

from graphrack.errors import FileError
from graphrack.formats.bundle import BundleReader, BundleWriter
from graphrack.formats.checkpoint_files import open_checkpoint
from graphrack.formats.checkpoint_state import write_state
from graphrack.formats.slices_v1 import V1Reader


@pytest.fixture
def folder(tmp_path):
    """Two V2 checkpoints, a V1 one, a sharded V1 one, a graph and a state file."""
    for step in (1, 2):
        with BundleWriter(tmp_path / f"m-{step}", durable=False) as writer:
            writer.add("w", step)
    tf_save_v1(tmp_path / "old", {"w": 3})
    for i in range(2):
        tf_save_v1(tmp_path / f"cut-0000{i}-of-00002", {f"w{i}": 4})
    (tmp_path / "m-1.meta").write_bytes(b"")
    (tmp_path / "gone.meta").write_bytes(b"")
    (tmp_path / "notes").write_bytes(b"x" * 100)
    write_state(tmp_path, str(tmp_path / "m-2"))
    return tmp_path


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize(
    ("path", "kind", "prefix"),
    [
        ("m-1", BundleReader, "m-1"),
        ("old", V1Reader, "old"),
        ("cut", V1Reader, "cut"),
        ("cut-?????-of-00002", V1Reader, "cut"),
        ("", BundleReader, "m-2"),
        ("checkpoint", BundleReader, "m-2"),
    ],
)
def test_prefixes_folders_and_state_files_open(folder, path, kind, prefix, mapped):
    reader = open_checkpoint(folder / path, mapped=mapped)
    assert isinstance(reader, kind)
    assert reader.prefix == str(folder / prefix)
    reader.verify()


def test_relative_paths_open(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for path in ("m-2", "./m-2", ".", "checkpoint"):
        assert open_checkpoint(path).read("w") == np.int64(2)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("m-1.index", "is the index of a checkpoint; give its prefix: '{}/m-1'"),
        ("m-1.data-00000-of-00001", "holds values of a checkpoint; give its prefix: '{}/m-1'"),
        ("cut-00000-of-00002", "is one file of a V1 checkpoint; give its prefix: '{}/cut'"),
        ("m-1.meta", "is a graph, without values; give the prefix of the checkpoint beside it: '{}/m-1'"),
        ("gone.meta", "is a graph, without values; the checkpoint '{}/gone' that belongs to it is not there"),
        ("notes", "is a file, but neither a V2 checkpoint's prefix nor a V1 checkpoint"),
        ("m-3", "neither m-3.index nor m-3 is in {}; checkpoints there: '{}/m-"),
        ("nowhere/m", "the folder {}/nowhere does not exist"),
    ],
)
def test_other_paths_are_explained(folder, path, why):
    with pytest.raises(FileError) as raised:
        open_checkpoint(folder / path)
    assert why.replace("{}", str(folder)) in str(raised.value)
    assert str(folder / path) in str(raised.value)


def test_a_missing_index_is_named_where_data_are_there(folder):
    (folder / "m-1.index").unlink()
    with pytest.raises(FileError, match=r"m-1\.index is missing: 1 of its data files are there"):
        open_checkpoint(folder / "m-1")


def test_a_folder_without_a_state_file_lists_its_checkpoints(folder):
    (folder / "checkpoint").unlink()
    with pytest.raises(FileError, match=r"give one of its 4 prefixes: '.*cut', '.*m-1', '.*m-2', '.*old'"):
        open_checkpoint(folder)


def test_a_folder_without_checkpoints_says_so(tmp_path):
    for path in (tmp_path, tmp_path / "m"):
        with pytest.raises(FileError, match=r"without checkpoints|nor any other checkpoint"):
            open_checkpoint(path)
