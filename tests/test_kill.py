"""Never losing a checkpoint: savers that are killed, that run out of disk, that may not write, that meet.

A server process that has everything imported forks a saving process for each kill, which costs milliseconds instead
of an interpreter's start. The saving process saves again and again; each checkpoint holds one number everywhere, so
that a mixture of two shows.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphrack as gr
from graphrack.formats.checkpoint_state import read_state, record_checkpoint

KILLS = int(os.environ.get("GRAPHRACK_KILLS", "200"))
"""How many processes are killed in all; more make a longer and surer test."""

MODEL = "examples/models/cubic/model_name"
SIZE = 50_000

SERVER = """
import os, sys
import numpy as np
import graphrack as gr
from graphrack.formats.checkpoint_state import record_checkpoint

SIZE = int(sys.argv[1])
model = gr.load(sys.argv[2])
model(1.0)

def arrays(step):
    return {"a": np.full(SIZE + step % 7 * 1000, step), "names": [b"%d" % step] * 100, "step": step}

def over(prefix, step):
    gr.Saver().save(arrays(step), prefix)

def rotating(prefix, step, saver=gr.Saver(max_to_keep=3)):
    saver.save(arrays(step), prefix, step)

def best(prefix, step, saver=gr.Saver(max_to_keep=3, best="max")):
    saver.save(arrays(step), prefix, step, metric=step)

def bare(prefix, step):
    record_checkpoint(gr.save_checkpoint(f"{prefix}-{step}", arrays(step)))

def a_model(prefix, step, saver=gr.Saver(max_to_keep=3)):
    for name in model.variables:
        model.variables[name] = float(step)
    saver.save(model, prefix, step)

def a_models_own(prefix, step):
    for name in model.variables:
        model.variables[name] = float(step)
    model.save(prefix)

model(1.0); over(sys.argv[3] + "/warm", 0); a_models_own(sys.argv[3] + "/warm", 0)
print("ready", flush=True)
for line in sys.stdin:
    how, prefix, first, log = line.split()
    child = os.fork()
    if child == 0:
        step = int(first)
        progress = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        print(os.getpid(), flush=True)
        while True:
            step += 1
            globals()[how](prefix, step)
            os.write(progress, b"%d\\n" % step)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


class Server:
    """Forks saving processes, and kills them."""

    def __init__(self, folder: Path):
        command = [sys.executable, "-c", SERVER, str(SIZE), MODEL, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.log = folder / "log"
        assert self.answer() == "ready"

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def killed(self, how: str, prefix: Path, first: int, delay: float) -> int:
        """Saves steps from `first + 1` on, kills the saver after a delay, and gives the last step it finished."""
        assert self.process.stdin is not None
        self.log.unlink(missing_ok=True)
        self.process.stdin.write(f"{how} {prefix} {first} {self.log}\n")
        self.process.stdin.flush()
        saver = int(self.answer())
        time.sleep(delay)
        os.kill(saver, signal.SIGKILL)
        assert self.answer() == "dead"
        done = self.log.read_text().split() if self.log.exists() else []
        return int(done[-1]) if done else first

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("server"))
    yield found
    found.close()


def step_of(prefix: str | Path) -> int:
    """Verifies a checkpoint, and gives the step that all of it is of."""
    checkpoint = gr.Checkpoint(prefix)
    checkpoint.verify()
    if "step" in checkpoint:
        step = int(checkpoint["step"])
        assert set(checkpoint["a"].tolist()) == {step}
        assert checkpoint["a"].size == SIZE + step % 7 * 1000
        assert set(checkpoint["names"].tolist()) == {b"%d" % step}
        return step
    (value,) = {float(value) for value in checkpoint.values()}
    return int(value)


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if ".tmp-" in name]


def share(part: float) -> int:
    return max(1, round(KILLS * part))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("how", "kills"),
    [("over", share(0.25)), ("a_models_own", share(0.15))],
)
def test_over_one_prefix_the_old_checkpoint_or_the_new_is_left(
    server: Server, tmp_path: Path, how: str, kills: int
) -> None:
    chance, prefix = random.Random(how), tmp_path / "m"
    last = 0
    for i in range(kills):
        finished = server.killed(how, prefix, last, chance.uniform(0.0, 0.06))
        latest = gr.latest_checkpoint(tmp_path)
        if latest is None:  # killed before the first was there
            assert finished == last == 0, i
            continue
        assert latest == str(prefix)
        last = step_of(latest)
        assert last in (finished, finished + 1)
        if how == "a_models_own" and finished > 0:
            assert gr.load(tmp_path).variables["Variable"] == last
    assert last > kills / 4
    if how == "over":
        gr.Saver().save({"a": 1}, prefix)
        assert leftovers(tmp_path) == []
        assert sorted(os.listdir(tmp_path)) == ["checkpoint", "m.data-00000-of-00001", "m.index"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("how", "kills"),
    [("rotating", share(0.2)), ("a_model", share(0.2)), ("best", share(0.1)), ("bare", share(0.1))],
)
def test_over_new_prefixes_the_latest_checkpoint_is_the_old_or_the_new(
    server: Server, tmp_path: Path, how: str, kills: int
) -> None:
    chance, prefix, last, listed = random.Random(how), tmp_path / "m", 0, 0
    for _ in range(kills):
        finished = server.killed(how, prefix, last, chance.uniform(0.0, 0.06))
        latest = gr.latest_checkpoint(tmp_path)
        if latest is None:  # none has been finished, though one may have been written
            assert (finished, listed) == (last, 0)
            last = max([last, *(step_of(path) for path in gr.checkpoints(tmp_path))])
            continue
        # Where not one save was finished, the old one is what was listed before.
        old = finished if finished > last else listed
        listed = step_of(latest)
        assert listed in (old, finished + 1)
        state = read_state(str(tmp_path))
        assert state is not None
        # Everything that is listed is whole; so is one that was saved and not yet listed, or no more.
        assert [step_of(path) for path in state.paths] == sorted(step_of(path) for path in state.paths)
        steps = [step_of(path) for path in gr.checkpoints(tmp_path)]
        last = max([finished, *steps])
        if how == "a_model":
            assert gr.load(tmp_path).variables["Variable"] == step_of(latest)
    assert last > kills / 4
    saver = gr.Saver(max_to_keep=3, best="max" if how == "best" else None)
    for step in range(last + 1, last + 5):
        saver.save({"a": 1}, prefix, step, metric=step if how == "best" else None)
    assert leftovers(tmp_path) == []
    if how != "best":  # whose list has only those with a metric
        state = read_state(str(tmp_path))
        assert state is not None
        assert len(state.paths) == 3


# Disks that are full, folders that may not be written to


class Hindrance:
    """Something that lets savings fail, in a process of its own."""

    def __init__(self, folder: Path, before: str):
        self.folder = folder
        self.before = before

    def save(self, what: str) -> str:
        """Runs a saving that is to fail with a FileError; gives its message."""
        code = (
            "import sys, numpy as np, graphrack as gr\n"
            f"model = gr.load({MODEL!r}); model(1.0)\n"
            f"folder = {str(self.folder)!r}\n"
            f"{self.before}\n"
            f"try:\n    {what}\n"
            "except gr.FileError as e:\n    print(e); sys.exit(3)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.returncode == 3, done.stdout + done.stderr
        return done.stdout.strip()


BIG = "{'w': np.ones(2_000_000)}"
SAVES = {
    "arrays, new prefix": f"gr.Saver(max_to_keep=1).save({BIG}, folder + '/m', 9)",
    "arrays, same prefix": f"gr.Saver(max_to_keep=1).save({BIG}, folder + '/m', 1)",
    "best": f"gr.Saver(max_to_keep=1, best='max').save({BIG}, folder + '/m', 9, metric=1)",
    "model, new prefix": "gr.Saver(max_to_keep=1).save(model, folder + '/m', 9)",
    "model, same prefix": "gr.Saver(max_to_keep=1).save(model, folder + '/m', 1)",
    "model's own": "model.save(folder + '/m', 9)",
    "bare": f"gr.save_checkpoint(folder + '/m', {BIG})",
}


def prepared(folder: Path) -> dict[str, bytes]:
    """Fills a folder with a model's checkpoint; gives its files."""
    gr.Saver().save(gr.load(MODEL), folder / "m", 1)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


@pytest.mark.parametrize("limit", [0, 60, 1000, 3000])
@pytest.mark.parametrize("what", SAVES)
def test_a_limit_on_file_sizes_leaves_all_as_it_was(tmp_path: Path, what: str, limit: int) -> None:
    """Values, the graph or the state file are what doesn't fit, by the limit."""
    before = prepared(tmp_path)
    hindrance = Hindrance(
        tmp_path, f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))"
    )
    message = hindrance.save(SAVES[what])
    assert "a limit on the size of files is reached" in message
    assert str(tmp_path) in message
    after = contents(tmp_path)
    if what == "model, same prefix":  # values and graph are replaced one after the other, each whole
        assert sorted(after) == sorted(before)
        gr.Checkpoint(tmp_path / "m-1").verify()
    else:
        assert after == before
    assert gr.latest_checkpoint(tmp_path) == str(tmp_path / "m-1")
    gr.load(tmp_path)(1.0)


def mounted(folder: Path, options: str, kind: str = "tmpfs", what: str = "tmpfs") -> bool:
    """Whether a file system could be mounted on a folder."""
    command = ["mount", "-t", kind, "-o", options, what, str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "size=256k"):
        pytest.skip("no file system can be mounted here: a full disk is tested by a limit on file sizes alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("room", [0, 1, 2, 3])
@pytest.mark.parametrize("what", SAVES)
def test_a_full_disk_leaves_all_as_it_was(small_disk: Path, what: str, room: int) -> None:
    """With room for so many more pages: none, one for the values and one for their index, a few for the graph."""
    prepared(small_disk)
    free = os.statvfs(small_disk).f_bavail - room
    (small_disk / "filler").write_bytes(bytes(free * os.statvfs(small_disk).f_frsize))
    before = contents(small_disk)
    message = Hindrance(small_disk, "").save(SAVES[what])
    assert "the disk is full" in message
    after = contents(small_disk)
    assert sorted(after) == sorted(before)
    if what != "model, same prefix":
        assert after == before
    assert gr.latest_checkpoint(small_disk) == str(small_disk / "m-1")
    gr.Checkpoint(small_disk / "m-1").verify()
    (small_disk / "filler").unlink()
    gr.Saver(max_to_keep=1).save(gr.load(MODEL), small_disk / "m", 2)
    assert gr.latest_checkpoint(small_disk) == str(small_disk / "m-2")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may read."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
        os.chmod(name, 0o755)


@pytest.mark.parametrize("what", SAVES)
def test_a_folder_that_may_not_be_written_to_stays_as_it_was(open_folder: Path, what: str) -> None:
    before = prepared(open_folder)
    open_folder.chmod(0o555)
    # Rights don't stop root: it becomes somebody else.
    hindrance = Hindrance(open_folder, "import os\nif os.getuid() == 0: os.setuid(65534)")
    message = hindrance.save(SAVES[what])
    assert "can't be written to" in message
    assert contents(open_folder) == before
    missing = Hindrance(open_folder, hindrance.before).save("gr.Saver().save({'w': 1}, folder + '/new/m')")
    assert "can't be written" in missing
    assert contents(open_folder) == before


def test_a_read_only_file_system_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "size=256k"):
        pytest.skip("no file system can be mounted here")
    try:
        before = prepared(folder)
        assert mounted(folder, "remount,ro")
        for what in SAVES.values():
            assert os.strerror(errno.EROFS) in Hindrance(folder, "").save(what)
        assert contents(folder) == before
    finally:
        subprocess.run(["umount", str(folder)], check=True)


# Several processes in one folder

MANY = """
import sys
import graphrack as gr
import numpy as np
folder, who, keep, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
saver = gr.Saver(max_to_keep=keep)
base = f"{folder}/{who}" if len(sys.argv) == 5 else f"{folder}/{sys.argv[5]}"
start = 1000 * int(who[1:])
for step in range(start, start + count):
    saver.save({"a": np.full(20_000, step), "step": step}, base, step)
"""


def together(folder: Path, processes: int, keep: int, count: int, *base: str) -> None:
    """Lets several processes save into one folder at a time."""
    commands = [[sys.executable, "-c", MANY, str(folder), f"p{i}", str(keep), str(count), *base]
                for i in range(processes)]  # fmt: skip
    children = [subprocess.Popen(command) for command in commands]
    assert [child.wait(120) for child in children] == [0] * processes


def whole(path: str | Path) -> int:
    checkpoint = gr.Checkpoint(path)
    checkpoint.verify()
    (step,) = {int(checkpoint["step"]), *checkpoint["a"].tolist()}
    return step


def test_processes_that_save_under_names_of_their_own_lose_no_entry(tmp_path: Path) -> None:
    together(tmp_path, 3, 4, 12)
    expected = {f"p{i}-{1000 * i + step}" for i in range(3) for step in range(8, 12)}
    state = read_state(str(tmp_path))
    assert state is not None
    assert {os.path.basename(path) for path in state.paths} == expected
    assert len(state.paths) == len(expected)
    assert {os.path.basename(path) for path in gr.checkpoints(tmp_path)} == expected
    for path in state.paths:
        assert whole(path) == int(path.rpartition("-")[2])
    files = {f"{name}.{end}" for name in expected for end in ("index", "data-00000-of-00001")}
    assert set(os.listdir(tmp_path)) == files | {"checkpoint"}


def test_processes_that_save_under_one_name_share_its_list(tmp_path: Path) -> None:
    together(tmp_path, 2, 5, 15, "m")
    state = read_state(str(tmp_path))
    assert state is not None
    assert len(state.paths) == 5
    for path in state.paths:
        assert whole(path) == int(path.rpartition("-")[2])
    assert sorted(gr.checkpoints(tmp_path)) == sorted(state.paths)
    assert len(os.listdir(tmp_path)) == 11


def test_processes_that_record_checkpoints_lose_no_entry(tmp_path: Path) -> None:
    code = (
        "import sys, graphrack as gr\n"
        "from graphrack.formats.checkpoint_state import record_checkpoint\n"
        "for i in range(25): record_checkpoint(gr.save_checkpoint(f'{sys.argv[1]}-{i}', {'w': i}))\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / who)]) for who in "ab"]
    assert [child.wait(120) for child in children] == [0, 0]
    state = read_state(str(tmp_path))
    assert state is not None
    assert sorted(os.path.basename(p) for p in state.paths) == sorted(f"{who}-{i}" for who in "ab" for i in range(25))


def test_a_recorded_checkpoint_of_another_folder_is_its_own_folders(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        record_checkpoint(gr.save_checkpoint(tmp_path / folder / "m", {"w": np.float32(1)}))
        state: Any = read_state(str(tmp_path / folder))
        assert state.paths == (str(tmp_path / folder / "m"),)
