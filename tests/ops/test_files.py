"""ReadFile, WriteFile and MatchingFiles against TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ops.harness import by_graphrack, by_tensorflow, check


def _text(value: str | Path) -> np.ndarray:
    return np.array(str(value).encode(), object)


def test_read_file_gives_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\x00\xff text")
    check("ReadFile", filename=_text(tmp_path / "data"), refused=False)
    check("ReadFile", filename=_text(f"file://{tmp_path}/data"), refused=False)
    check("ReadFile", filename=_text(tmp_path / "missing"), refused=True)
    check("ReadFile", filename=_text(tmp_path), refused=True)
    check("ReadFile", filename=np.array([b"a", b"b"], object), refused=True)


def test_write_file_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out"
    for contents in (b"first, and longer", b"\x00second"):
        # TensorFlow writes first, graphrack last.
        check("WriteFile", filename=_text(path), contents=np.array(contents, object), refused=False)
        assert path.read_bytes() == contents
    check("WriteFile", filename=_text(tmp_path / "a"), contents=_text("x"), refused=True)


@pytest.mark.parametrize(
    "pattern",
    ["*.txt", "*/*.txt", "?.txt", "*", "[ab].txt", "[!a].txt", "**/*.txt", "none*", ".*", r"x\[1\].txt", "x[1].txt"],
)
def test_matching_files_are_those_that_tensorflow_finds(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "b.txt", ".hidden.txt", "sub/c.txt", "x[1].txt", "1.txt"):
        (tmp_path / name).touch()
    expected = check("MatchingFiles", pattern=_text(tmp_path / pattern), refused=False)
    assert expected[0].dtype == object
    check("MatchingFiles", pattern=np.array([f"{tmp_path}/{p}".encode() for p in (pattern, "a*")], object))
    check("MatchingFiles", pattern=np.array([[b"a"]], object), refused=True)


def test_another_file_system_is_refused() -> None:
    check("ReadFile", filename=_text("ram://nothing"), refused=True)
    found = by_graphrack(by_tensorflow("ReadFile", {"filename": _text("x")})[0], {"in_filename:0": _text("s3://x/y")})
    assert "local files alone" in str(found)
