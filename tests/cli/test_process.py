"""What only a process of its own shows: exit codes, signals, pipes, terminals, imports."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.commands import CONV, CUBIC, process

import graphrack

PROGRAM = [sys.executable, "-m", "graphrack"]


def test_success_failure_and_wrong_usage_have_their_exit_codes() -> None:
    good = process("run", CUBIC, "--feed", "x=50")
    assert (good.code, good.err) == (0, "")
    assert "-2519.79" in good.out
    bad = process("inspect", CUBIC + "-1")
    assert bad.out == ""
    assert "model_name-20000" in bad.failure
    for wrong in (
        ["inspect"],
        ["no-such-command"],
        ["inspect", CUBIC, "--no-such-option"],
        ["inspect", CUBIC, "--depth", "0"],
    ):
        outcome = process(*wrong)
        assert (outcome.code, outcome.out) == (2, "")
        assert "Traceback" not in outcome.err


def test_the_installed_program_is_this_one() -> None:
    program = Path(sys.executable).with_name("graphrack")
    if not program.exists():
        pytest.skip("graphrack is not installed beside this Python")
    found = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    assert found.stdout == f"graphrack {graphrack.__version__}\n"
    assert process("--version").out == found.stdout


def test_help_imports_neither_kernels_nor_what_is_heavy() -> None:
    code = (
        "import sys; sys.argv = ['graphrack', 'run', '--help']\n"
        "from graphrack.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "--feed" in done.stdout
    loaded = set(done.stderr.split())
    assert "graphrack.cli.run" in loaded
    kernels = {m for m in loaded if m.startswith("graphrack.ops.")} - {
        "graphrack.ops.registry",
        "graphrack.ops.runtime",
        "graphrack.ops.state",
    }
    assert kernels == set()
    assert not loaded & {"scipy", "tensorflow", "PIL", "cramjam", "ml_dtypes", "google_crc32c", "rich.table"}


def test_debug_shows_where_a_failure_comes_from() -> None:
    for outcome in (
        process("--debug", "inspect", "no/such/file"),
        process("inspect", "no/such/file", env={**os.environ, "GRAPHRACK_DEBUG": "1"}),
    ):
        assert outcome.code == 1
        assert "Traceback" in outcome.err
    assert process("inspect", "no/such/file", env={**os.environ, "GRAPHRACK_DEBUG": "0"}).failure


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    running = subprocess.Popen([*PROGRAM, "inspect", CONV, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    assert running.stderr.read() == b""
    running.stderr.close()
    assert running.wait(60) == 1


def test_an_interrupt_ends_with_130_and_without_a_traceback(tmp_path: Path) -> None:
    fifo = tmp_path / "x.json"
    os.mkfifo(fifo)
    running = subprocess.Popen(
        [*PROGRAM, "run", CUBIC, "--feed", f"x=@{fifo}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs these tests in the background has its children ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    writer = None
    while writer is None and running.poll() is None:  # until the command reads
        try:
            writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    time.sleep(0.2)
    for _ in range(3):  # Python misses one that comes between its last look for signals and the system's read
        running.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            out, err = running.communicate(timeout=20)
            break
    if writer is not None:
        os.close(writer)
    assert running.returncode == 130
    assert (out, err) == ("", "graphrack: interrupted\n")


def test_an_output_that_only_knows_ascii_gets_escapes() -> None:
    outcome = process("inspect", CONV, "--tree", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.isascii()


def without(*names: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in names}


def in_terminal(*arguments: str, columns: int = 60, **env: str) -> str:
    command = " ".join([*PROGRAM, *arguments])
    done = subprocess.run(
        ["script", "-qec", f"stty cols {columns}; {command}", "/dev/null"],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**without("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"), "TERM": "xterm", **env},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


terminal = pytest.mark.skipif(shutil.which("script") is None, reason="needs script(1) for a pseudo-terminal")


@terminal
def test_a_terminal_gets_colour_and_lines_that_fit_it() -> None:
    text = in_terminal("inspect", CONV)
    assert "\x1b[1m" in text
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).splitlines()
    assert max(map(len, lines)) <= 60
    assert "…" not in "".join(
        line for line in lines if "more" not in line and "in all" not in line and " all" not in line
    )


@terminal
def test_no_color_is_respected() -> None:
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", in_terminal("inspect", CONV, NO_COLOR="1"))


@terminal
def test_verify_shows_progress_in_a_terminal_only() -> None:
    text = in_terminal("verify", CONV, columns=100)
    assert "━" in text
    assert "58.3/58.3 kB" in text
    assert process("verify", CONV).err == ""
