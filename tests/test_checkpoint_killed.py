"""Saving processes that are killed at random moments: what they leave is the old checkpoint or the new."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from graphrack.checkpoint import Checkpoint, checkpoints, latest_checkpoint, save_checkpoint
from graphrack.formats.checkpoint_state import read_state, record_checkpoint

KILLS = int(os.environ.get("GRAPHRACK_KILLS", "20"))
"""How many processes each test kills; more make a longer and surer test."""

# Each checkpoint holds one number everywhere, so that a mixture of two shows.
SAVER = """
import sys
import numpy as np
from graphrack.checkpoint import save_checkpoint
from graphrack.formats.checkpoint_state import record_checkpoint

def save(prefix, step):
    size = 20_000 + step % 7 * 1000
    save_checkpoint(prefix, {"a": np.full(size, step), "names": [b"%d" % step] * 100, "step": step})
    return prefix

step = int(sys.argv[2])
print("saving", flush=True)
while True:
    step += 1
    if sys.argv[3] == "over":
        save(sys.argv[1], step)
    else:
        record_checkpoint(save(f"{sys.argv[1]}-{step}", step))
    print(step, flush=True)
"""


def killed_saver(prefix: str, first: int, how: str, delay: float) -> int:
    """Starts saving, kills the process after `delay` seconds of it, and gives the last step it has finished."""
    child = subprocess.Popen([sys.executable, "-c", SAVER, prefix, str(first), how], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "saving\n"
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    output, _ = child.communicate()
    return int(output.split()[-1]) if output.split() else first


def check(prefix: str) -> int:
    """Verifies a checkpoint, and gives the step that all of it is of."""
    checkpoint = Checkpoint(prefix)
    checkpoint.verify()
    step = int(checkpoint["step"])
    assert set(checkpoint["a"].tolist()) == {step}
    assert checkpoint["a"].size == 20_000 + step % 7 * 1000
    assert set(checkpoint["names"].tolist()) == {b"%d" % step}
    return step


@pytest.mark.timeout(600)
def test_over_one_prefix_the_old_checkpoint_or_the_new_is_left(tmp_path):
    prefix, chance = str(tmp_path / "m"), random.Random(1)
    save_checkpoint(prefix, {"a": [0] * 20_000, "names": [b"0"] * 100, "step": 0})
    last = check(prefix)
    for _ in range(KILLS):
        finished = killed_saver(prefix, last, "over", chance.uniform(0, 0.25))
        found = check(prefix)
        assert found in (finished, finished + 1)
        last = found
    save_checkpoint(prefix, {"a": 1})
    assert sorted(os.listdir(tmp_path)) == ["m.data-00000-of-00001", "m.index"]


@pytest.mark.timeout(600)
def test_over_new_prefixes_the_latest_checkpoint_verifies(tmp_path):
    prefix, chance, last = str(tmp_path / "m"), random.Random(2), 0
    for _ in range(KILLS):
        finished = killed_saver(prefix, last, "new", chance.uniform(0, 0.25))
        latest = latest_checkpoint(tmp_path)
        if finished > last:
            assert latest is not None
            assert check(latest) in (finished, finished + 1)
        # One that was saved, but not yet recorded, is whole as well.
        steps = [check(path) for path in checkpoints(tmp_path)]
        assert steps == sorted(steps)
        last = max([finished, *steps])
    assert last > 0
    state = read_state(tmp_path)
    assert state is not None
    assert state.latest == state.paths[-1]
    # The next save under a prefix clears what a killed one left there.
    leftovers = [name for name in os.listdir(tmp_path) if ".tmp-" in name]
    for name in leftovers:
        target = re.sub(r"\.(index|data-.*|)\.tmp-.*", "", name)
        if target.startswith("checkpoint.tmp-"):
            record_checkpoint(state.latest)
        else:
            save_checkpoint(tmp_path / target, {"a": 1})
    assert [name for name in os.listdir(tmp_path) if ".tmp-" in name] == []


@pytest.mark.timeout(600)
def test_two_processes_saving_over_one_prefix_damage_nothing(tmp_path):
    prefix = str(tmp_path / "m")
    command = [sys.executable, "-c", SAVER, prefix, "0", "over"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "saving\n"
        steps = set()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if os.path.exists(prefix + ".index"):
                steps.add(check_loose(prefix))
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert len(steps) > 3
    check(prefix)


def check_loose(prefix: str) -> int:
    """As `check`, reading first: from then on the checkpoint stays the one that it is."""
    checkpoint = Checkpoint(prefix)
    values = {name: checkpoint[name] for name in ("a", "names", "step")}
    checkpoint.verify()
    step = int(values["step"])
    assert set(values["a"].tolist()) == {step}
    assert set(values["names"].tolist()) == {b"%d" % step}
    return step
