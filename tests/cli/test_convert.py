from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from cli.commands import CUBIC, FIXTURES, call, process

import graphrack as gr


@pytest.mark.parametrize(("name", "what"), [("m.safetensors", "a safetensors file"), ("m.npz", "an npz file")])
def test_a_checkpoint_goes_there_and_back(name: str, what: str, tmp_path: Path) -> None:
    text = call("convert", CUBIC, tmp_path / name).out
    assert text.startswith(f"{tmp_path / name}: {what} of 14 tensors, 56 B, in ")
    text = call("convert", tmp_path / name, tmp_path / "m").out
    assert "a V2 checkpoint of 14 tensors" in text
    old, new = gr.Checkpoint(CUBIC), gr.Checkpoint(tmp_path / "m")
    assert {n: new[n].tobytes() for n in new} == {n: old[n].tobytes() for n in old}


def test_json_says_what_was_written(tmp_path: Path) -> None:
    found = call("convert", CUBIC, tmp_path / "m", "--json").json
    assert found.pop("seconds") > 0
    assert found == {
        "source": CUBIC,
        "path": str(tmp_path / "m"),
        "kind": "checkpoint",
        "tensors": 14,
        "bytes": 56,
        "graph": str(tmp_path / "m.meta"),
    }


def test_v1_becomes_v2(tmp_path: Path) -> None:
    call("convert", FIXTURES / "v1_sharded" / "model.ckpt", tmp_path / "m")
    assert call("verify", tmp_path / "m", "--json").json["checkpoints"][0]["version"] == 2


def test_select_and_exclude_choose_tensors(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    call("convert", CUBIC, file, "--select", "Variable*", "--select", "beta1*", "--exclude", "*/Adam*")
    names = ["Variable", "Variable_1", "Variable_2", "Variable_3", "beta1_power"]
    assert sorted(safetensors.numpy.load_file(file)) == names
    assert "chooses none" in call("convert", CUBIC, file, "--exclude", "*", code=1).failure


def test_failures_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    source = gr.save_checkpoint(tmp_path / "a", {"s": np.array([b"a\0"], object), "w": np.ones(2)})
    assert "'s' (string)" in call("convert", source, tmp_path / "m.safetensors", code=1).failure
    assert "--exclude" in call("convert", source, tmp_path / "m.npz", code=1).failure
    assert "there is no checkpoint" in call("convert", tmp_path / "b", tmp_path / "m", code=1).failure
    assert "can't be written" in call("convert", source, tmp_path / "no" / "m.npz", "--select", "w", code=1).failure
    assert sorted(os.listdir(tmp_path)) == ["a.data-00000-of-00001", "a.index"]
    call("convert", source, code=2)


def test_in_a_process_nothing_is_on_stderr(tmp_path: Path) -> None:
    done = process("convert", CUBIC, tmp_path / "m.npz")
    assert (done.code, done.err) == (0, "")
