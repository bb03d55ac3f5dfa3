"""`docs/cli.md` and the help texts say what there is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from cli.commands import CONV, CUBIC, FROZEN, MODELS, ROOT, SAVED, call

from graphrack.cli.app import app

PAGE = (ROOT / "docs" / "cli.md").read_text()
GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_command_has_its_section() -> None:
    assert sorted(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text_and_a_line_in_the_manual(command: str) -> None:
    text, parameters = section(command), GROUP.commands[command].params
    assert len(parameters) > 1
    for parameter in parameters:
        assert parameter.help, parameter.name
        for option in parameter.opts:
            if option.startswith("-"):
                assert re.search(rf"`{option}\b", text), option
    documented = set(re.findall(r"^\| `(--[\w-]+)", text, re.MULTILINE))
    assert documented == {o for p in parameters for o in p.opts if o.startswith("--")}
    for parameter in GROUP.params:
        assert parameter.help
        assert f"`{parameter.opts[0]}" in PAGE


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option(command: str) -> None:
    text = call(command, "--help").out
    assert text == call(command, "-h").out
    for parameter in GROUP.commands[command].params:
        for option in parameter.opts:
            assert not option.startswith("-") or option in text


def keys(value: Any, named: frozenset[str]) -> set[str]:
    """All keys of nested objects; not those below `named`, which are the models' own names."""
    if isinstance(value, list):
        return {key for item in value for key in keys(item, named)}
    if not isinstance(value, dict):
        return set()
    found = set(value)
    for key, inner in value.items():
        if key in named and isinstance(inner, dict):
            found |= keys(list(inner.values()), named)
        else:
            found |= keys(inner, named)
    return found


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["inspect", CONV, "--tree"], ["ops", "missing_ops", "collections", "assets"]),
        (["inspect", SAVED], ["ops", "missing_ops", "collections", "assets"]),
        (["inspect", FROZEN], ["ops", "missing_ops", "collections", "assets"]),
        (["run", CUBIC, "-f", "x=1"], ["models", "outputs"]),
        (["verify", CONV], []),
        (["diff", CUBIC, f"{CONV}/model_name"], []),
        (["diff", FROZEN, f"{CONV}/model_name.meta"], ["attributes"]),
        (["diff", f"{MODELS}/digits_mlp_0/model_name.meta", f"{MODELS}/digits_mlp_1/model_name.meta"], ["attributes"]),
        (["diff", SAVED, SAVED], []),
        (["freeze", CUBIC, "-o", "OUT"], []),
        (["merge", f"a={CUBIC}", f"b={CUBIC}", "-o", "OUT"], ["models"]),
        (["convert", CUBIC, "OUT"], []),
    ],
)
def test_every_json_key_is_in_the_manual(arguments: list[str], named: list[str], tmp_path: Path) -> None:
    arguments = [str(tmp_path / "out.pb") if a == "OUT" else a for a in arguments]
    found = keys(call(*arguments, "--json").json, frozenset(named))
    undocumented = {key for key in found if not re.search(rf"`{key}`", section(arguments[0]))}
    assert undocumented == set()


def test_the_manual_s_commands_work(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "models", tmp_path / "examples" / "models")
    shutil.copytree(ROOT / "tests" / "fixtures" / "v1", tmp_path / "tests" / "fixtures" / "v1")
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) >= 7
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "graphrack"
        command = [sys.executable, "-m", "graphrack", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), line
        assert done.stdout
