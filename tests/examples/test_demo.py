"""The demo, run as users run it: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fixture_paths import MODELS
from PIL import Image

EXAMPLES = MODELS.parent
SUMMARY = json.loads((MODELS / "expected.json").read_text())


def run_demo(examples: Path, output: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, examples / "demo.py", "--output", output],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={"PYTHONIOENCODING": "utf-8", "COLUMNS": "80", "PATH": "/usr/bin:/bin"},
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo's output folder, and what it printed."""
    output = tmp_path_factory.mktemp("demo") / "new" / "folder"
    done = run_demo(EXAMPLES, output)
    assert (done.returncode, done.stderr) == (0, "")
    return output, done.stdout


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the examples that a test may spoil."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=ignored))


def test_the_table_has_each_model_with_tensorflows_accuracy(demo: tuple[Path, str]) -> None:
    _, printed = demo
    rows = {line.split()[0]: line.split()[1] for line in printed.splitlines() if "%" in line}
    wanted = {name: f"{share:.2%}" for name, share in SUMMARY["accuracy"].items() if name != "vote"}
    assert {name: rows.get(name) for name in wanted} == wanted
    vote = re.search(r"vote of the five +(\S+) +equal", printed)
    assert vote is not None
    assert vote[1] == f"{SUMMARY['accuracy']['vote']:.2%}"
    assert re.search(r"^ ?cubic .* B", printed, re.MULTILINE)


def test_the_table_fits_80_columns(demo: tuple[Path, str]) -> None:
    table = demo[1].split("Every output")[0]
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80


def test_outputs_differ_from_tensorflows_by_at_most_a_hundred_thousandth(demo: tuple[Path, str]) -> None:
    found = re.search(r"within (\S+) ", demo[1])
    assert found is not None
    assert float(found[1]) <= 1e-5


def test_the_picture_has_digits_and_marks(demo: tuple[Path, str]) -> None:
    with Image.open(demo[0] / "digits.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert min(picture.size) > 1000
    red = (pixels == (0xC6, 0x2F, 0x2F)).all(axis=1)
    dark = (pixels < 60).all(axis=1)
    assert red.sum() > 5000
    assert dark.sum() > 50_000


class Page(HTMLParser):
    """What a page refers to, whether its elements close, and its text."""

    VOID = frozenset({"meta", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.count: dict[str, int] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.references += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_stands_alone(demo: tuple[Path, str]) -> None:
    source = (demo[0] / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(source)
    page.close()
    assert page.open == []
    assert [reference.split(",")[0] for reference in page.references] == ["data:image/png;base64"]
    assert not re.search(r"url\(|@import|<script|https?://", source)
    assert "prefers-color-scheme: dark" in source


def test_the_report_shows_every_model_the_points_and_the_curve(demo: tuple[Path, str]) -> None:
    page = Page()
    page.feed((demo[0] / "report.html").read_text(encoding="utf-8"))
    for name, share in SUMMARY["accuracy"].items():
        assert f"{share:.2%}" in page.text
        assert name in page.text
    assert page.count["details"] == 9
    assert page.count["polyline"] == 2
    assert page.count["circle"] == 150 + len(SUMMARY["digits_conv_steps"]) + 1


def failure(examples: Path) -> str:
    """The line that the demo fails with."""
    output = examples.parent / "output"
    done = run_demo(examples, output)
    assert done.returncode == 1
    assert not output.exists()
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("demo failed: ")
    return done.stderr


def spoil_expected(examples: Path, key: str, add: float) -> None:
    path = examples / "models/expected.npz"
    with np.load(path) as found:
        arrays = dict(found)
    arrays[key].flat[3] += np.asarray(add, arrays[key].dtype)
    np.savez_compressed(path, **arrays)


@pytest.mark.parametrize(
    ("key", "add"),
    [("digits_frozen.pb", 1e-3), ("digits_mlp_2", np.nan), ("vote", 1), ("digits_saved_model/classify/score", -1)],
)
def test_an_output_that_is_not_tensorflows_fails_with_one_line(copied: Path, key: str, add: float) -> None:
    spoil_expected(copied, key, add)
    assert f"{key}: differs from TensorFlow by" in failure(copied)


def test_an_accuracy_that_is_not_tensorflows_fails_with_one_line(copied: Path) -> None:
    path = copied / "models/expected.json"
    path.write_text(path.read_text().replace(str(SUMMARY["accuracy"]["digits_conv"]), "0.96", 1))
    assert "digits_conv: accuracy" in failure(copied)


def test_a_broken_model_fails_with_one_line_that_names_it(copied: Path) -> None:
    path = copied / "models/digits_mlp_3/model_name.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:100])
    assert "digits_mlp_3" in failure(copied)
