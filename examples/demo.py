"""Open nine models that TensorFlow trained in one process, without TensorFlow, and check what they say.

    make demo                                     # or: python examples/demo.py --output demo-output

Eight of them classify handwritten digits that none has seen; five of the eight also vote. The ninth is a cubic
regression. All outputs are compared with those that TensorFlow computed from the same files
(`models/expected.npz`, made by `train_models.py`). Prints a table, and writes a picture and a report.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from demo_picture import draw
from demo_report import write_report
from demo_results import Curve, ModelResult, Results
from digits import accuracy, held_back, petals, vote
from rich import box
from rich.console import Console
from rich.table import Table

import graphrack as gr

MODELS = Path(__file__).resolve().parent / "models"
VOTERS = [f"digits_mlp_{seed}" for seed in range(5)]
TOLERANCE = 1e-5
TIMED_SECONDS = 0.2


class Mismatch(Exception):
    """A result is not TensorFlow's."""


@dataclass(frozen=True)
class Source:
    """Which file is opened, what it is, and what the model is fed."""

    path: str
    kind: str
    feeds: dict[str, np.ndarray[Any, Any]]


def sources() -> dict[str, Source]:
    """The nine models by name."""
    test = held_back()
    flat = {"x": test.pixels}
    checkpoint = "checkpoint"
    return {
        "digits_conv": Source("digits_conv/model_name", checkpoint, flat),
        **{name: Source(f"{name}/model_name", checkpoint, flat) for name in VOTERS},
        "digits_saved_model": Source("digits_saved_model", "SavedModel", {"images": test.raw}),
        "digits_frozen.pb": Source("digits_frozen.pb", "frozen graph", {"input": test.images}),
        "cubic": Source("cubic/model_name", checkpoint, {"x": petals()[0]}),
    }


class Expected:
    """TensorFlow's outputs, to compare ours with."""

    def __init__(self, folder: Path):
        with np.load(folder / "expected.npz") as arrays:
            self._arrays = dict(arrays)
        self.summary: dict[str, Any] = json.loads((folder / "expected.json").read_text())

    def difference(self, key: str, found: Any) -> float:
        """The largest absolute difference from TensorFlow's output; raises `Mismatch` above the tolerance."""
        array, wanted = np.asarray(found), self._arrays[key]
        if array.shape != wanted.shape or array.dtype != wanted.dtype:
            raise Mismatch(
                f"{key}: expected {wanted.dtype} of shape {list(wanted.shape)} as TensorFlow gives, "
                f"found {array.dtype} of shape {list(array.shape)}"
            )
        apart = np.abs(array.astype(np.float64) - wanted.astype(np.float64))
        largest = float(apart.max())
        if not largest <= TOLERANCE:  # so that NaN fails
            at = np.unravel_index(int(np.argmax(np.nan_to_num(apart, nan=np.inf))), apart.shape)
            raise Mismatch(
                f"{key}: differs from TensorFlow by {largest:.3g} at {[int(i) for i in at]} "
                f"({array[at]!r}, TensorFlow: {wanted[at]!r}); at most {TOLERANCE:g} is allowed"
            )
        return largest

    @staticmethod
    def equal(what: str, found: float, wanted: float) -> float:
        """A figure that has to be TensorFlow's exactly; raises `Mismatch`."""
        if found != wanted:
            raise Mismatch(f"{what}: {found!r}, TensorFlow: {wanted!r}")
        return found


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that it took, and what it gave."""
    start = time.perf_counter()
    value = work()
    return time.perf_counter() - start, value


def seconds_per_run(work: Callable[[], Any]) -> float:
    """The median over runs of a fifth of a second, at least three."""
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < TIMED_SECONDS:
        seconds.append(timed(work)[0])
    return statistics.median(seconds)


def resident_bytes() -> int | None:
    """Memory that the process has in use, where the system tells (Linux)."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def use_model(rack: gr.Rack, name: str, source: Source, expected: Expected) -> ModelResult:
    """Opens one model, runs it, and compares its output with TensorFlow's."""
    opening, model = timed(lambda: rack[name])
    first, output = timed(lambda: model(source.feeds))
    difference = expected.difference(name, output)
    share = None
    if name in expected.summary["accuracy"]:
        share = accuracy(output, held_back().labels)
        Expected.equal(f"{name}: accuracy", share, expected.summary["accuracy"][name])
    per_run = seconds_per_run(lambda: model(source.feeds))
    stats = rack.stats()[name]
    return ModelResult(
        name=name,
        path=source.path,
        kind=source.kind,
        output=output,
        accuracy=share,
        difference=difference,
        opening=opening,
        first_run=first,
        per_run=per_run,
        memory=stats.variable_bytes + stats.plan_bytes,
        summary=str(model),
    )


def along_training(expected: Expected) -> Iterator[tuple[str, float]]:
    """The convolutional model's accuracy at each step whose checkpoint was kept, and at the end."""
    folder = MODELS / "digits_conv"
    test = held_back()
    model = gr.load(folder / "model_name.meta")
    for step, wanted in expected.summary["digits_conv_steps"].items():
        model.restore(folder / f"model_name-{step}")
        answers = model(x=test.pixels).argmax(axis=-1)
        expected.difference(f"digits_conv/{step}", answers)
        yield step, Expected.equal(f"digits_conv at step {step}: accuracy", accuracy(answers, test.labels), wanted)


def cubic_curve(model: gr.Model, expected: Expected) -> Curve:
    """The cubic regression: its points, its curve, and its value at 50 as a single number."""
    at_50 = float(model(50))
    wanted = expected.summary["cubic"]["at_50"]
    # The terms at 50 are in the thousands: there 1e-5 is a matter of the eighth digit, beyond float32.
    if not abs(at_50 - wanted) <= TOLERANCE * abs(wanted):
        raise Mismatch(f"cubic: {at_50!r} at 50, TensorFlow: {wanted!r}")
    length, width = petals()
    grid = np.linspace(0.5, 7.5, 141, dtype=np.float32)
    coefficients = [float(model.variables[name]) for name in ("Variable", *(f"Variable_{i}" for i in (1, 2, 3)))]
    return Curve(length, width, grid, np.asarray(model(x=grid)), coefficients, at_50)


def run(console: Console) -> Results:
    """Opens, runs and checks everything."""
    expected = Expected(MODELS)
    test = held_back()
    wanted = sources()
    before = resident_bytes()
    with gr.Rack({name: MODELS / source.path for name, source in wanted.items()}) as rack:
        models = {}
        for name, source in wanted.items():
            with console.status(f"running {name}"):
                models[name] = use_model(rack, name, source, expected)
        after = resident_bytes()

        # All six that take `x` with one call; five of them vote.
        together, outputs = timed(lambda: rack.run_all({"x": test.pixels}, models=["digits_conv", *VOTERS]))
        for name, output in outputs.items():
            expected.difference(name, output)
        votes = vote(np.stack([outputs[name] for name in VOTERS]))
        expected.difference("vote", votes)
        vote_accuracy = Expected.equal(
            "vote: accuracy", accuracy(votes, test.labels), expected.summary["accuracy"]["vote"]
        )

        classified = rack["digits_saved_model"](images=test.raw, signature="classify")
        for key, value in classified.items():
            expected.difference(f"digits_saved_model/classify/{key}", value)

        curve = cubic_curve(rack["cubic"], expected)
    with console.status("restoring the checkpoints kept while training"):
        steps = dict(along_training(expected))
    if "tensorflow" in sys.modules:
        raise Mismatch("TensorFlow was imported; nothing here may need it")
    return Results(
        models=models,
        votes=votes,
        vote_accuracy=vote_accuracy,
        together=together,
        grown=None if before is None or after is None else after - before,
        steps={**steps, "end": expected.summary["accuracy"]["digits_conv"]},
        curve=curve,
        made_with=expected.summary["made_with"]["tensorflow"],
        graphrack=gr.__version__,
        tolerance=TOLERANCE,
    )


def table(results: Results) -> Table:
    """What the terminal shows, in 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("model", no_wrap=True)
    for header in ("accuracy", "difference", "open", "first run", "per run", "memory"):
        shown.add_column(header, justify="right", no_wrap=True)
    for model in results.models.values():
        shown.add_row(model.name, *model.figures())
    shown.add_section()
    shown.add_row("vote of the five", f"{results.vote_accuracy:.2%}", "equal")
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description="Open nine trained models at once, without TensorFlow.")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for picture and report")
    folder: Path = parser.parse_args().output
    console = Console()
    try:
        results = run(console)
        folder.mkdir(parents=True, exist_ok=True)
        picture = folder / "digits.png"
        draw(results, held_back()).save(picture, optimize=True)
        write_report(folder / "report.html", results, held_back(), picture)
    except (Mismatch, gr.GraphrackError, OSError) as error:
        print(f"demo failed: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    console.print(table(results))
    console.print(results.conclusion(), highlight=False, soft_wrap=True)
    console.print(f"wrote {picture} and {folder / 'report.html'}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
