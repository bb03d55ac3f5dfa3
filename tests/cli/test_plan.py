"""`graphrack inspect --plan`."""

from __future__ import annotations

import pytest
from cli.commands import CONV, CUBIC, SAVED, call

import graphrack as gr
from graphrack.explaining import as_json


@pytest.mark.parametrize("path", [CUBIC, CONV, SAVED])
def test_it_is_what_the_library_explains(path: str) -> None:
    expected = gr.load(path, engine="auto").explain()
    assert call("inspect", path, "--plan").out == f"{expected}\n"
    assert call("inspect", path, "--plan", "--json").json == {"path": path, "plan": as_json(expected)}


def test_fetches_and_the_engine_are_chosen() -> None:
    found = call(
        "inspect", CUBIC, "--fetch", "train_step", "--fetch", "activation_opt", "--engine", "numpy", "--json"
    ).json
    assert found["plan"]["fetches"] == ["train_step", "activation_opt:0"]
    assert found["plan"]["writes"] is True
    assert found["plan"]["engine"] == "numpy"
    assert not found["plan"]["outside"]


def test_a_name_that_there_is_not_is_one_line_and_exit_code_1() -> None:
    outcome = call("inspect", CUBIC, "--plan", "--fetch", "activation", code=1)
    assert "activation_opt" in outcome.err
    assert outcome.err.count("\n") == 1


def test_an_engine_that_there_is_not_is_an_error_of_usage() -> None:
    outcome = call("inspect", CUBIC, "--plan", "--engine", "abacus", code=2)
    assert "abacus" in outcome.err
