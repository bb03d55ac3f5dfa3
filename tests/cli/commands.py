"""Running the command line, in this process and in one of its own; graphs to run it on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from graphrack.cli.app import app
from graphrack.formats.dtypes import from_numpy
from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.formats.tensor import shape_to_proto

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "examples" / "models"
FIXTURES = ROOT / "tests" / "fixtures"
CUBIC = str(MODELS / "cubic" / "model_name")
CONV = str(MODELS / "digits_conv")
SAVED = str(MODELS / "digits_saved_model")
FROZEN = str(MODELS / "digits_frozen.pb")


class Outcome:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        def refuse(text: str) -> None:
            raise AssertionError(f"{text} is no JSON")

        return json.loads(self.out, parse_constant=refuse)

    @property
    def failure(self) -> str:
        """The one line that a failed command says."""
        assert self.code == 1, (self.code, self.out, self.err)
        assert self.err.startswith("graphrack: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        assert "internal error" not in self.err
        return self.err


def call(*arguments: object, stdin: bytes | str | None = None, code: int | None = 0) -> Outcome:
    """A command run in this process; `code` is how it has to end."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, prog_name="graphrack")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    outcome = Outcome(result.exit_code, result.stdout, result.stderr)
    assert code is None or outcome.code == code, (outcome.code, outcome.out, outcome.err)
    return outcome


def process(*arguments: object, **options: Any) -> Outcome:
    """A command run in a process of its own."""
    command = [sys.executable, "-m", "graphrack", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, **options)
    return Outcome(done.returncode, done.stdout, done.stderr)


def identity_graph(folder: Path, dtype: Any, shape: tuple[int | None, ...] | None = None, op: str = "Identity") -> str:
    """The file of a graph that gives back, as `y`, what it is fed as `x`."""
    graph = GraphDef()
    graph.versions.producer = 27
    placeholder = graph.node.add(name="x", op="Placeholder")
    placeholder.attr["dtype"].type = from_numpy(dtype).number
    placeholder.attr["shape"].shape.CopyFrom(shape_to_proto(shape))
    node = graph.node.add(name="y", op=op, input=["x"])
    node.attr["T"].type = from_numpy(dtype).number
    path = folder / "graph.pb"
    path.write_bytes(graph.SerializeToString())
    return str(path)
