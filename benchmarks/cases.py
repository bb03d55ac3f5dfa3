"""What is measured: each case's files, sides, figures and targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.agreement import close
from benchmarks.sides import GRAPHRACK, MACHINE, TENSORFLOW, Side

MODELS = Path(__file__).parents[1] / "examples" / "models"
MANY = 100
LARGE_BYTES = 434_000_000


@dataclass(frozen=True)
class Figure:
    """One number of a case: how it is shown, and what it is to be.

    Attributes:
        name: its key in what a side prints.
        title: what it is.
        unit: and the factor from what is measured (seconds, bytes) to it.
        better: `"less"` or `"more"`.
        target: the ratio to TensorFlow to reach, or None.
        limit: the value (in `unit`) to stay below, or None.
    """

    name: str
    title: str
    unit: str
    factor: float
    better: str = "less"
    target: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Case:
    """A group of figures that come from one run of each side.

    Attributes:
        name: on the command line; also the function that each side runs, where `function` is empty.
        figures: rows of the case's own table; those of networks have tables in common (`network_tables.py`).
        prepare: makes the files.
        arguments: what the sides' functions take besides the folder of the files.
        repeat: processes of each side.
        bouts: how often a process of each side is asked, in turns with the others', for its `run`; 0 where a process
            is to end before the next begins.
        agree: whether two sides' results are the same.
    """

    name: str
    title: str
    note: str
    figures: tuple[Figure, ...]
    prepare: Callable[[Path], None]
    sides: tuple[Side, ...] = (GRAPHRACK, TENSORFLOW)
    repeat: int = 5
    bouts: int = 0
    function: str = ""
    arguments: tuple[str, ...] = ()
    agree: Callable[[Any, Any], bool] = close

    @property
    def key(self) -> str:
        """Of its results."""
        return "-".join((self.name, *self.arguments))


def nothing(work: Path) -> None:
    """For cases that use the models in `examples/`."""


def many(work: Path) -> None:
    """A hundred checkpoints of one structure with different values, written by graphrack, read by both."""
    import numpy as np

    import graphrack as gr

    if (work / f"many/{MANY - 1}/model_name.index").exists():
        return
    model = gr.load(MODELS / "cubic" / "model_name")
    rng = np.random.default_rng(0)
    for i in range(MANY):
        for name in ("Variable", "Variable_1", "Variable_2", "Variable_3"):
            model.variables[name] = rng.normal()
        model.save(work / f"many/{i}/model_name")


def large(work: Path) -> None:
    """A checkpoint of 434 MB (the size of BERT-base) in 200 tensors."""
    import graphrack as gr
    from benchmarks.arrays import large_arrays

    if not (work / "large.index").exists():
        gr.save_checkpoint(work / "large", large_arrays())


CASES = (
    Case(
        "start",
        "From process start to the first prediction",
        "The cubic regression of the examples (220 nodes, 14 variables), opened from its checkpoint in a new process.",
        (
            Figure("seconds_to_result", "process start to first prediction", "ms", 1e3, target=15),
            Figure("import", "of which the import", "ms", 1e3, limit=150),
        ),
        nothing,
        repeat=7,
    ),
    Case(
        "many",
        "A hundred isolated models",
        "A hundred checkpoints of the cubic regression with different values, all open at once.",
        (
            Figure("open", "open and first run, per model", "ms", 1e3, target=20),
            Figure("run", "run all, per model", "µs", 1e6, target=15),
            Figure("memory", "memory for the hundred", "MB", 1e-6, limit=30),
        ),
        many,
        repeat=3,
    ),
    Case(
        "run",
        "One run of a tiny model",
        "The cubic regression fed one number, by name and as a call; the feed's conversion is included.",
        (
            Figure("by_name", "run by names", "µs", 1e6),
            Figure("call", "call", "µs", 1e6),
        ),
        nothing,
        repeat=3,
    ),
    Case(
        "read",
        "Reading a checkpoint of 434 MB",
        "Every tensor read with its checksum verified. The file is in the page cache. *First* is the first reading in "
        "a new process, *again* the best of the next three. The machine's side copies the same bytes in memory.",
        (
            Figure("open", "open", "ms", 1e3),
            Figure("first", "verified read, first", "GB/s", 1e-9, "more", target=3),
            Figure("again", "verified read, again", "GB/s", 1e-9, "more", target=3),
        ),
        large,
        sides=(GRAPHRACK, TENSORFLOW, MACHINE),
        repeat=3,
    ),
    Case(
        "write",
        "Writing a checkpoint of 434 MB",
        "TensorFlow doesn't flush what it writes to the disk; graphrack does, and is measured with and without. The "
        "machine's side writes the same bytes to one file.",
        (
            Figure("unflushed", "without flushing", "GB/s", 1e-9, "more", target=1),
            Figure("flushed", "flushed to disk", "GB/s", 1e-9, "more"),
        ),
        large,
        sides=(GRAPHRACK, TENSORFLOW, MACHINE),
        repeat=3,
    ),
    Case(
        "save",
        "Saver.save of 434 MB",
        "Numbered checkpoints with `max_to_keep=1`, as while training: values, the state file, and the removal of the "
        "checkpoint before. Both flushed to the disk: graphrack does that itself, TensorFlow's files are flushed "
        "after `tf.train.Saver.save`. The median of five saves after a first one.",
        (Figure("saved", "save, flushed", "GB/s", 1e-9, "more", target=1),),
        large,
        repeat=3,
    ),
)
