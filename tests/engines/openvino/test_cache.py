"""The cache of compiled clusters: what is stored comes back, or nothing does; bounded, private, shared by processes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrack.engines.openvino import cache

KEY = "0123456789abcdef" * 2


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAPHRACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GRAPHRACK_CACHE_LIMIT", raising=False)
    return tmp_path / "cache"


def key(i: int) -> str:
    return f"{i:032x}"


def loaded(place: Path, name: str) -> bytes | None:
    blob = cache.load(str(place), name)
    return None if blob is None else blob.tobytes()


def test_what_is_stored_is_loaded_and_is_its_owners_alone(place: Path) -> None:
    assert cache.load(str(place), KEY) is None
    cache.store(str(place), KEY, b"compiled" * 1000)
    assert loaded(place, KEY) == b"compiled" * 1000
    assert loaded(place, "f" * 32) is None
    assert [p.name for p in place.iterdir()] == [f"{KEY}.ov"]
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / f"{KEY}.ov").stat().st_mode & 0o777 == 0o600


def test_a_loaded_blob_may_be_written_without_the_file_changing(place: Path) -> None:
    cache.store(str(place), KEY, b"compiled")
    blob = cache.load(str(place), KEY)
    assert blob is not None
    blob[:] = 0
    assert loaded(place, KEY) == b"compiled"


@settings(max_examples=200)
@given(data=st.binary(min_size=1, max_size=50), where=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_any_changed_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, where: float, change: int
) -> None:
    place = tmp_path_factory.mktemp("damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHRACK_CACHE", str(place))
        cache.store(str(place), KEY, data)
        path = place / f"{KEY}.ov"
        content = bytearray(path.read_bytes())
        at = int(where * len(content))
        if 60 <= at < 64:  # zeros that nothing reads
            return
        content[at] ^= change
        path.write_bytes(content)
        assert cache.load(str(place), KEY) is None
        assert not path.exists()


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000])
def test_truncated_files_and_other_files_are_no_blobs(place: Path, size: int) -> None:
    cache.store(str(place), KEY, b"compiled" * 1000)
    path = place / f"{KEY}.ov"
    path.write_bytes(path.read_bytes()[:size])
    assert cache.load(str(place), KEY) is None
    path.write_bytes(b"x" * size)
    assert cache.load(str(place), KEY) is None
    cache.store(str(place), KEY, b"compiled")
    path.write_bytes(path.read_bytes() + b"more")
    assert cache.load(str(place), KEY) is None


def test_a_blob_under_another_key_is_not_taken(place: Path) -> None:
    cache.store(str(place), KEY, b"compiled")
    (place / f"{KEY}.ov").rename(place / f"{key(1)}.ov")
    assert cache.load(str(place), key(1)) is None


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no owners of files")
def test_a_file_that_others_may_write_is_not_read(place: Path) -> None:
    cache.store(str(place), KEY, b"compiled")
    (place / f"{KEY}.ov").chmod(0o666)
    assert cache.load(str(place), KEY) is None


def test_the_longest_unused_go_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHRACK_CACHE_LIMIT", "4K")
    for i in range(3):
        cache.store(str(place), key(i), bytes(1000))
        past = time.time_ns() - (10 - i) * 10**9
        os.utime(place / f"{key(i)}.ov", ns=(past, past))
    assert loaded(place, key(0)) is not None  # used: 1 is the oldest now
    cache.store(str(place), key(3), bytes(1000))
    assert {p.name for p in place.iterdir()} == {f"{key(i)}.ov" for i in (0, 2, 3)}
    cache.store(str(place), key(4), bytes(5000))  # more than all of it
    assert loaded(place, key(4)) is None
    assert loaded(place, key(0)) is not None


def test_other_peoples_files_in_the_folder_stay(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHRACK_CACHE_LIMIT", "1500")
    place.mkdir()
    (place / "notes.txt").write_bytes(bytes(5000))
    for i in range(3):
        cache.store(str(place), key(i), bytes(1000))
    assert {p.name for p in place.iterdir()} == {"notes.txt", f"{key(2)}.ov"}


@pytest.mark.parametrize("off", ["", "0", "off", " OFF "])
def test_the_cache_can_be_turned_off(off: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHRACK_CACHE", off)
    assert cache.folder() is None


@pytest.mark.skipif(sys.platform != "linux", reason="the place is another one there")
def test_the_users_cache_folder_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GRAPHRACK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == str(tmp_path / "graphrack")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache.folder() == "/home/somebody/.cache/graphrack"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder() is None


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("", 2 << 30), ("0", 0), ("12345", 12345), ("500M", 500 << 20), ("3 gb", 3 << 30), ("1TiB", 1 << 40)],
)
def test_the_limit_is_a_number_of_bytes(text: str, bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHRACK_CACHE_LIMIT", text)
    assert cache.limit() == bytes_


def test_a_limit_that_is_no_number_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("GRAPHRACK_CACHE_LIMIT", "plenty")
    with caplog.at_level(logging.WARNING, "graphrack"):
        assert cache.limit() == 2 << 30
    assert "'plenty'; expected a number of bytes" in caplog.text


def test_a_folder_that_cannot_be_made_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "cache"
    cache.store(str(place), KEY, b"compiled")
    assert cache.load(str(place), KEY) is None


MEETING = """
import sys
from graphrack.engines.openvino import cache
place = cache.folder()
for i in range(60):
    data = bytes([i % 7]) * 20000
    cache.store(place, f"{i % 7:032x}", data)
    blob = cache.load(place, f"{(i * 3) % 7:032x}")
    assert blob is None or blob.tobytes() == bytes([(i * 3) % 7]) * 20000
"""


def test_processes_that_meet_find_whole_blobs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHRACK_CACHE_LIMIT", "90000")
    processes = [subprocess.Popen([sys.executable, "-c", MEETING], stderr=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")
    files = list(place.iterdir())
    assert files
    assert all(p.name.endswith(".ov") for p in files)
    assert sum(p.stat().st_size for p in files) <= 90000
    assert all(np.all(blob == blob[0]) for p in files if (blob := cache.load(str(place), p.stem)) is not None)
