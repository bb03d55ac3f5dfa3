from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli.commands import CONV, CUBIC, FIXTURES, FROZEN, SAVED, call

import graphrack as gr


def small(folder: Path, name: str = "m") -> str:
    return gr.save_checkpoint(folder / name, {"a/w": np.arange(6.0), "b": np.array([b"text"], object)})


def flip(path: str, offset: int) -> None:
    data = bytearray(Path(path).read_bytes())
    data[offset] ^= 4
    Path(path).write_bytes(data)


@pytest.mark.parametrize(
    ("prefix", "version"),
    [
        (CUBIC, 2),
        (FIXTURES / "v2_sharded" / "model.ckpt", 2),
        (FIXTURES / "v2_dtypes" / "model.ckpt", 2),
        (FIXTURES / "v1" / "model.ckpt", 1),
        (FIXTURES / "v1_sharded" / "model.ckpt", 1),
    ],
)
def test_a_good_checkpoint_is_counted(prefix: object, version: int) -> None:
    found = call("verify", prefix, "--json").json
    assert found["ok"] is True
    (one,) = found["checkpoints"]
    assert one["version"] == version
    assert one["tensors"] == len(gr.Checkpoint(str(prefix)))
    assert one["bytes"] == sum(os.path.getsize(f) for f in one["files"])
    assert one["seconds"] > 0
    assert one["error"] is None
    text = call("verify", prefix).out
    assert text.splitlines()[-1].split()[:3] == ["ok", str(prefix), str(one["tensors"])]


@pytest.mark.parametrize("offset", [0, 25, 47, 48, -1])
def test_damage_is_named_by_tensor_file_and_offset(tmp_path: Path, offset: int) -> None:
    prefix = small(tmp_path)
    data = prefix + ".data-00000-of-00001"
    flip(data, offset)
    outcome = call("verify", prefix, code=1)
    name, start = ("a/w", 0) if 0 <= offset < 48 else ("b", 48)
    assert f"{data}: tensor '{name}' at offset {start}" in outcome.failure
    assert "FAILED" in outcome.out
    found = call("verify", prefix, "--json", code=1).json
    assert found["ok"] is False
    assert f"tensor '{name}'" in found["checkpoints"][0]["error"]


def test_damaged_indexes_missing_and_short_files_are_one_line(tmp_path: Path) -> None:
    prefix = small(tmp_path)
    data = Path(prefix + ".data-00000-of-00001")
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    assert "cut off" in call("verify", prefix, code=1).failure
    data.unlink()
    assert f"{data} is missing" in call("verify", prefix, code=1).failure
    data.write_bytes(whole)
    flip(prefix + ".index", 12)
    assert "m.index" in call("verify", prefix, code=1).failure
    assert call("verify", prefix, "--json", code=1).json["checkpoints"][0]["tensors"] is None


def test_a_folder_is_all_that_its_state_file_lists() -> None:
    found = call("verify", CONV, "--json").json
    assert [c["prefix"] for c in found["checkpoints"]] == gr.checkpoints(CONV)
    text = call("verify", CONV).out
    assert text.splitlines()[0] == CONV
    assert text.count("ok  model_name") == 5
    assert call("verify", CONV + "/checkpoint", "--json").json["checkpoints"][0]["ok"]


def test_a_folder_names_each_damaged_or_missing_checkpoint_and_checks_the_others(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CONV, tmp_path / "conv"))
    flip(str(folder / "model_name-2000.data-00000-of-00001"), 100)
    for file in folder.glob("model_name-3000.*"):
        file.unlink()
    outcome = call("verify", folder, code=1)
    assert "2 of 5 checkpoints failed" in outcome.failure
    assert "model_name-2000.data-00000-of-00001: tensor" in outcome.failure
    assert "model_name-3000" in outcome.failure
    found = {
        os.path.basename(c["prefix"]): c["ok"] for c in call("verify", folder, "--json", code=1).json["checkpoints"]
    }
    assert [n for n, ok in found.items() if not ok] == ["model_name-2000", "model_name-3000"]
    assert len(found) == 5


def test_a_folder_without_a_state_file_is_all_that_lies_there(tmp_path: Path) -> None:
    small(tmp_path, "m-1")
    small(tmp_path, "m-2")
    found = call("verify", tmp_path, "--json").json["checkpoints"]
    assert [os.path.basename(c["prefix"]) for c in found] == ["m-1", "m-2"]


def test_a_saved_model_is_its_variables(tmp_path: Path) -> None:
    for path in (SAVED, SAVED + "/saved_model.pb"):
        (one,) = call("verify", path, "--json").json["checkpoints"]
        assert one["prefix"] == f"{SAVED}/variables/variables"
        assert one["tensors"] == 20
    folder = Path(shutil.copytree(SAVED, tmp_path / "saved"))
    flip(str(folder / "variables" / "variables.data-00000-of-00001"), 1000)
    assert "conv1" in call("verify", folder, code=1).failure
    shutil.rmtree(folder / "variables")
    assert "without variables" in call("verify", folder).out
    assert call("verify", folder, "--json").json == {"path": str(folder), "ok": True, "checkpoints": []}


def test_what_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    assert f"give its prefix: '{CUBIC}'" in call("verify", CUBIC + ".index", code=1).failure
    assert "neither" in call("verify", FROZEN, code=1).failure
    assert "without checkpoints" in call("verify", tmp_path, code=1).failure
    assert "model_name-20000" in call("verify", CUBIC + "-2000", code=1).failure
