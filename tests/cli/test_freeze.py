from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from cli.commands import CONV, CUBIC, SAVED, call

import graphrack as gr

DIGIT = np.linspace(0, 1, 64, dtype=np.float32)[None]


def by_tensorflow(path: Path, fetch: str, feeds: dict[str, object]) -> object:
    graph_def = tf.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.import_graph_def(graph_def, name="")
        return sess.run(fetch, feeds)


@pytest.mark.parametrize("fold", [[], ["--fold"]])
def test_a_frozen_model_gives_what_the_model_gives(fold: list[str], tmp_path: Path) -> None:
    out = tmp_path / "conv.pb"
    text = call("freeze", CONV, "-o", out, "--outputs", "activation_opt", *fold).out
    assert text.startswith(f"{out}: ")
    wanted = gr.load(CONV)(x=DIGIT)
    frozen = gr.load(out)
    assert not frozen.variables
    np.testing.assert_allclose(frozen(x=DIGIT), wanted, rtol=0, atol=1e-5)
    found = by_tensorflow(out, "activation_opt:0", {"x:0": DIGIT})
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_without_outputs_it_is_what_a_call_gives(tmp_path: Path) -> None:
    call("freeze", CUBIC, "-o", tmp_path / "cubic.pb")
    assert gr.load(tmp_path / "cubic.pb")(x=50) == gr.load(CUBIC)(x=50)


@pytest.mark.parametrize(
    "names",
    [
        ["--outputs", "activation_opt", "Variable/read"],
        ["--outputs", "activation_opt,Variable/read:0"],
        ["--outputs", "activation_opt", "--outputs", "Variable/read"],
    ],
)
def test_several_outputs_are_named_in_any_way(names: list[str], tmp_path: Path) -> None:
    call("freeze", CUBIC, "-o", tmp_path / "cubic.pb", *names)
    gr.load(tmp_path / "cubic.pb").run(["activation_opt:0", "Variable/read:0"], {"x:0": 1})


def test_json_says_what_was_written(tmp_path: Path) -> None:
    out = tmp_path / "cubic.pb"
    found = call("freeze", CUBIC, "-o", out, "--json").json
    assert found["path"] == CUBIC
    assert found["output"] == str(out)
    assert found["bytes"] == out.stat().st_size
    assert found["nodes"] == len(gr.load(out).operations)
    assert found["variables"] == 0
    assert found["inputs"] == [{"key": "x", "name": "x:0", "dtype": "float32", "shape": None}]
    assert [o["name"] for o in found["outputs"]] == ["activation_opt:0"]
    assert found["seconds"] > 0


def test_values_come_from_the_checkpoint_that_is_named(tmp_path: Path) -> None:
    call("freeze", CUBIC, "-o", tmp_path / "cubic.pb", "-c", CUBIC + "-20000")
    old = gr.load(CUBIC + ".meta", checkpoint=CUBIC + "-20000")
    assert gr.load(tmp_path / "cubic.pb")(x=50) == old(x=50) != gr.load(CUBIC)(x=50)


def test_other_forms_by_the_output_s_name(tmp_path: Path) -> None:
    for name in ("cubic.pbtxt", "cubic.meta", "folder"):
        call("freeze", CUBIC, "-o", tmp_path / name)
        model = gr.load(tmp_path / name)
        assert not model.variables
        assert model(x=50) == gr.load(CUBIC)(x=50)
    assert call("freeze", SAVED, "-o", tmp_path / "saved.pb", "--tags", "serve", "--json").json["variables"] == 0


def test_failures_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    out = tmp_path / "m.pb"
    assert "closest: 'activation_opt'" in call("freeze", CUBIC, "-o", out, "--outputs", "activation", code=1).failure
    assert "there is no folder" in call("freeze", CUBIC, "-o", tmp_path / "no" / "m.pb", code=1).failure
    assert "no_model" in call("freeze", tmp_path / "no_model", "-o", out, code=1).failure
    call("freeze", CUBIC, code=2)
    assert os.listdir(tmp_path) == []
