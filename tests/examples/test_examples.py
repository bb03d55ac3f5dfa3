"""The example scripts, run as their readers run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fixture_paths import MODELS

import graphrack as gr

EXAMPLES = MODELS.parent
INDEX = (EXAMPLES / "README.md").read_text()
SCRIPTS = re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\)", INDEX, re.MULTILINE)
NOT_LESSONS = {"lesson", "digits", "train_models"}

# What each has to print (as regular expressions), and the files it has to leave.
WANTED: dict[str, tuple[list[str], list[str]]] = {
    "save_while_training": (
        [r"model_name-400\n.*model_name-500\n.*model_name\n", r"2 \* 10 \+ 1 = 21\.0"],
        ["checkpoint", "model_name.meta", "model_name-500.index"],
    ),
    "restore_by_name": ([r"by collection: (\[.*\])\nby name: +\1\nby a call: +\1"], ["model_name.index"]),
    "many_models": ([r"seed 4: 90\.8% right", r"their vote: 91\.1% right\n.*vote\.pb: 91\.1% right"], ["vote.pb"]),
    "two_models_in_one_graph": (
        [r"in a session: .*7\..*2\.", r"merged: .*7\..*2\.", r"'model1/b', 'model1/w', 'model2/b', 'model2/w'"],
        ["both.index", "both.meta"],
    ),
    "rename_on_restore": (
        [r"without the names: .*'other-v1' is not in it.*'other-v2' is not in it", r"result: \[11\. 22\.\]"],
        ["renamed.index"],
    ),
    "moving_averages": ([r"last value: y = \[10\.\]", r"average: +y = \[4\.1381\d*\]"], ["model.meta"]),
    "keep_the_best": ([r"(?s)kept .*model-\d+: 9\d\.\d\d%.*kept .*model-\d+: 9\d\.\d\d%"], ["log.csv", "checkpoint"]),
    "freeze_to_one_file": ([r"graphrack: +3\.0\nTensorFlow: +3\.0"], ["combined.pb"]),
    "freeze_with_input": ([r"the model: (\[.*\])\nfrozen: +\[", "variables: none"], ["cubic.pb"]),
    "replace_input": (
        [r"as it is: +(\S+)\nwith a constant: +\1\n", r"frozen, no input: \S+ \{\}"],
        ["constant.pb"],
    ),
    "checkpoint_to_pb": (
        [r"cubic\.pb: \d+ nodes", r"\$ graphrack diff", r"Tensors: 4 equal, 10 added"],
        ["cubic.pb", "cubic.safetensors"],
    ),
}


def test_the_index_lists_every_script() -> None:
    there = {p.stem for p in EXAMPLES.glob("*.py") if not p.stem.startswith("demo")} - NOT_LESSONS
    assert set(SCRIPTS) == there == set(WANTED)


def run(script: str, *arguments: object, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{script}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONIOENCODING": "utf-8"} | environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_does_what_it_says(script: str, tmp_path: Path) -> None:
    printed = run(script, tmp_path / "new" / "folder")
    patterns, files = WANTED[script]
    for pattern in patterns:
        assert re.search(pattern, printed), printed
    for name in files:
        assert (tmp_path / "new" / "folder" / name).is_file(), name


def test_the_best_are_kept_of_all_that_the_log_lists(tmp_path: Path) -> None:
    run("keep_the_best", tmp_path)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "step,accuracy"
    found = {int(step): float(right) for step, right in (line.split(",") for line in lines[1:])}
    assert sorted(found) == list(range(10, 201, 10))
    kept = {int(prefix.rpartition("-")[2]) for prefix in gr.checkpoints(tmp_path)}
    assert len(kept) == 2
    assert min(found[step] for step in kept) >= max(right for step, right in found.items() if step not in kept)


def test_without_an_argument_a_temporary_folder_is_written_to(tmp_path: Path) -> None:
    printed = run("freeze_with_input", TMPDIR=str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert printed.startswith(f"writing to {folder}\n")
    assert (folder / "cubic.pb").is_file()


@pytest.mark.parametrize("script", [s for s in SCRIPTS if re.search(rf"\({s}\.py\).*\| \|", INDEX)])
def test_scripts_that_need_nothing_do_not_import_tensorflow(script: str) -> None:
    text = (EXAMPLES / f"{script}.py").read_text()
    assert "tensorflow()" not in text
    assert "digits" not in text.replace("digits_", "")
