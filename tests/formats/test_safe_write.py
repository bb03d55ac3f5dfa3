"""Files that are replaced in one step, and what killed writers leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from formats.checkpoint_samples import files_in

from graphrack.errors import FileError
from graphrack.formats import safe_write
from graphrack.formats.safe_write import TemporaryFile, atomic_write, folder_lock


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_made_and_replaced(tmp_path, durable):
    for data in (b"", b"first", b"second"):
        atomic_write(tmp_path / "f", data, durable=durable)
        assert files_in(tmp_path) == {"f": data}


def test_a_relative_name_without_a_folder_is_in_this_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atomic_write("f", b"x")
    assert files_in(tmp_path) == {"f": b"x"}


def test_a_file_has_the_rights_that_new_files_have(tmp_path):
    old = os.umask(0o027)
    try:
        atomic_write(tmp_path / "f", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["write", "replace", "fsync"])
@pytest.mark.parametrize(
    ("number", "why"),
    [
        (28, "the disk is full"),
        (122, "the disk is full"),
        (27, "a limit on the size"),
        (30, "its folder or the file can't"),
        (5, ""),
    ],
)
def test_a_failure_says_why_and_leaves_the_old_file(tmp_path, monkeypatch, call, number, why):
    atomic_write(tmp_path / "f", b"old")

    def fail(*_):
        raise OSError(number, "as the system calls it")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(FileError, match=rf"f can't be written: {why}.*as the system calls it.*untouched"):
        atomic_write(tmp_path / "f", b"new")
    assert files_in(tmp_path) == {"f": b"old"}


def test_a_folder_that_isnt_there_is_named(tmp_path):
    with pytest.raises(FileError, match="nowhere can't be written: its folder is not there"):
        atomic_write(tmp_path / "nowhere" / "f", b"")


def test_a_read_only_folder_is_an_error_and_stays_as_it_was(tmp_path):
    atomic_write(tmp_path / "f", b"old")
    tmp_path.chmod(0o555)
    try:
        if os.geteuid() == 0:  # whom rights don't stop: become someone else for as long
            os.seteuid(65534)
        with pytest.raises(FileError, match="can't be written"):
            atomic_write(tmp_path / "f", b"new")
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        tmp_path.chmod(0o755)
    assert files_in(tmp_path) == {"f": b"old"}


def test_what_a_killed_writer_left_is_removed_and_a_live_ones_is_not(tmp_path):
    code = (
        "import sys, time\n"
        "from graphrack.formats.safe_write import TemporaryFile\n"
        "file = TemporaryFile(sys.argv[1]); file.write(b'half'); print('there', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "f")], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "there\n"
        (left,) = files_in(tmp_path)
        atomic_write(tmp_path / "f", b"first")
        assert sorted(files_in(tmp_path)) == ["f", left]
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    for name in ("f.tmp-zzzzzzzz", "g.tmp-01234567", "f.tmp-012345678"):
        (tmp_path / name).write_bytes(b"not ours")
    atomic_write(tmp_path / "f", b"second")
    assert sorted(files_in(tmp_path)) == ["f", "f.tmp-012345678", "f.tmp-zzzzzzzz", "g.tmp-01234567"]


def test_savers_take_turns_and_give_up_on_one_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(safe_write, "_PATIENCE", 0.2)
    with folder_lock(str(tmp_path)):
        start = time.monotonic()
        with pytest.raises(FileError, match="locked by another saving process"):
            atomic_write(tmp_path / "f", b"")
        assert time.monotonic() - start >= 0.2
    atomic_write(tmp_path / "f", b"")


def test_a_file_system_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(safe_write.fcntl, "flock", no_locks)
    (tmp_path / "f.tmp-01234567").write_bytes(b"whose?")
    atomic_write(tmp_path / "f", b"x")
    assert files_in(tmp_path) == {"f": b"x", "f.tmp-01234567": b"whose?"}


def test_a_temporary_file_that_isnt_placed_is_removed(tmp_path):
    with pytest.raises(ZeroDivisionError), TemporaryFile(str(tmp_path / "f")) as file:
        file.write(b"x" * (1 // len(files_in(tmp_path).keys() - files_in(tmp_path).keys())))
    assert files_in(tmp_path) == {}
