"""Every graph of the end-to-end tests, run and trained by TensorFlow and by graphrack: which is slower where.

    python -m benchmarks.collection                     all of them; the table goes into `benchmarks/README.md`
    python -m benchmarks.collection resnet lstm         those whose names hold one of these words; printed only
    python -m benchmarks.collection --engine numpy      only that engine

TensorFlow builds, saves and runs each graph (`tests/endtoend`); graphrack opens what it saved. Both run in one
process, in turn: a block of runs each, round by round until no side gets faster. The fastest run counts, for both, so
that what else the machine does meanwhile counts for neither. Graphs that take much longer than TensorFlow are measured
once more in the end, on all sides. Results are compared first.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import page

ROOT = Path(__file__).parents[1]
BLOCK_SECONDS = 0.05
# A machine that others use is slow for seconds: rounds go on until so many in a row show no side faster by that share.
STEADY_ROUNDS, STEADY = 4, 0.02
MOST_ROUNDS = 40
# How many times TensorFlow's time a side takes that has the row measured once more.
DOUBTFUL = 1.3
# Of one block: training that goes on for long ends where numbers overflow.
MOST_RUNS = 100
# Threads of BLAS and of TensorFlow go on spinning for a while when their work is done.
PAUSE_SECONDS = 0.02


class Row(NamedTuple):
    """One graph in one style, run or trained.

    Attributes:
        name: of the graph, its style, and what was measured.
        tensorflow: seconds.
        ours: seconds by engine.
    """

    name: str
    tensorflow: float
    ours: dict[str, float]

    @property
    def worst(self) -> float:
        """graphrack's time over TensorFlow's, by the slower engine."""
        return max(self.ours.values()) / self.tensorflow


def in_turn(sides: dict[str, Callable[[], Any]], restart: Callable[[str], None]) -> dict[str, float]:
    """Seconds that each side takes: its fastest run. `restart` is called before a side's block."""
    counts = {}
    for name, run in sides.items():
        run()
        start = time.perf_counter()
        run()
        counts[name] = min(MOST_RUNS, max(1, int(BLOCK_SECONDS / (time.perf_counter() - start))))
    best = dict.fromkeys(sides, float("inf"))
    steady = 0
    for _ in range(MOST_ROUNDS):
        before = dict(best)
        for name, run in sides.items():
            restart(name)
            time.sleep(PAUSE_SECONDS)
            for _ in range(counts[name]):
                start = time.perf_counter()
                run()
                best[name] = min(best[name], time.perf_counter() - start)
        steady = steady + 1 if all(best[name] > (1 - STEADY) * before[name] for name in sides) else 0
        if steady == STEADY_ROUNDS:
            break
    return best


def measured(name: str, style: str, engines: Sequence[str]) -> Iterator[Row]:
    """The rows of one graph: its inference, and its training step where it has one."""
    from endtoend import harness  # type: ignore[import-not-found]

    import graphrack as gr

    case = harness.CASES[name]
    with tempfile.TemporaryDirectory() as folder, harness.kept_open(case, style, Path(folder)) as (saved, sess):
        models = {engine: gr.load(f"{saved.prefix}.meta", engine=engine) for engine in engines}
        feeds = saved.feeds[0]
        for model in models.values():
            for tensor, ours, theirs in zip(
                saved.fetches, model.run(saved.fetches, feeds), saved.before[0], strict=True
            ):
                harness.close(ours, theirs, tensor, case)

        def sides(fetches: Any) -> dict[str, Callable[[], Any]]:
            ours = {e: lambda model=model: model.run(fetches, feeds) for e, model in models.items()}
            return {"TensorFlow": lambda: sess.run(fetches, feeds), **ours}

        def restart(side: str) -> None:
            if not saved.initial:
                return
            if side == "TensorFlow":
                sess.run("save/restore_all", {"save/Const:0": str(saved.prefix)})
            else:
                models[side].restore(saved.prefix)

        for what, fetches in (("run", saved.fetches), ("train", saved.train)):
            if fetches is not None:
                for model in models.values():
                    model.warmup(feeds, fetches)
                times = in_turn(sides(fetches), restart)
                yield Row(f"{name} {style} {what}", times.pop("TensorFlow"), times)


def measured_again(rows: Sequence[Row], engines: Sequence[str]) -> list[Row]:
    """The rows; of graphs that take much longer than TensorFlow, with each side's fastest run of two measurements."""
    found = {row.name: row for row in rows}
    doubtful = {row.name.rpartition(" ")[0] for row in rows if row.worst > DOUBTFUL}
    for graph in sorted(doubtful):
        name, style = graph.split()
        for row in measured(name, style, engines):
            before = found[row.name]
            ours = {engine: min(seconds, before.ours[engine]) for engine, seconds in row.ours.items()}
            found[row.name] = Row(row.name, min(row.tensorflow, before.tensorflow), ours)
    return list(found.values())


def table(rows: Sequence[Row], engines: Sequence[str]) -> str:
    """The rows, slowest beside TensorFlow first."""
    lines = [f"| graph | TensorFlow (ms) | {' | '.join(f'{e} (ms)' for e in engines)} | times TensorFlow's |"]
    lines.append("| --- |" + " ---: |" * (len(engines) + 2))
    for row in sorted(rows, key=lambda row: -row.worst):
        ours = " | ".join(f"{row.ours[e] * 1e3:.3g}" for e in engines)
        ratios = ", ".join(f"{row.ours[e] / row.tensorflow:.2f}" for e in engines)
        lines.append(f"| {row.name} | {row.tensorflow * 1e3:.3g} | {ours} | {ratios} |")
    return "\n".join(lines)


def summary(rows: Sequence[Row], engines: Sequence[str]) -> str:
    """What the page says: how many are how slow, and those slower than TensorFlow."""
    lines = [
        "Every graph of `tests/endtoend`, saved by TensorFlow, run and trained (one step) by both in turn in one "
        "process; the fastest run counts, of two measurements where the first took more than "
        f"{DOUBTFUL} times TensorFlow's time. `python -m benchmarks.collection` writes this section. Measured "
        f"{page.conditions()}. Of {len(rows)} rows:",
        "",
    ]
    for engine in engines:
        ratios = sorted(row.ours[engine] / row.tensorflow for row in rows)
        lines.append(
            f"- `{engine}` takes {statistics.median(ratios):.2f} times TensorFlow's time in the median, longer than "
            f"TensorFlow in {sum(r > 1 for r in ratios)}, more than 1.5 times as long in "
            f"{sum(r > 1.5 for r in ratios)}."
        )
    slower = [row for row in rows if row.worst > 1]
    return "\n".join([*lines, "", "Those in which one of them is slower:", "", table(slower, engines)])


def write(text: str) -> None:
    """Puts the section into the page, in place of the one that is there."""
    whole = page.PAGE.read_text()
    section = f"{page.COLLECTION}\n\n{text}\n"
    found = re.search(rf"^{page.COLLECTION}$.*?(?=^## |\Z)", whole, re.MULTILINE | re.DOTALL)
    if found is not None:
        whole = f"{whole[: found.start()]}{section}\n{whole[found.end() :]}"
    else:
        whole = f"{whole.rstrip()}\n\n{section}"
    page.PAGE.write_text(f"{whole.rstrip()}\n")


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="word", help="only graphs with one of these in their names")
    parser.add_argument("--engine", action="append", help="an engine to measure; by default numpy and auto")
    arguments = parser.parse_args()
    engines = arguments.engine or ["numpy", "auto"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(ROOT / "tests"))
    from endtoend import test_graphs, test_programs

    rows = []
    for name, style in (*test_graphs.STYLES, *test_programs.STYLES):
        if arguments.words and not any(word in f"{name}-{style}" for word in arguments.words):
            continue
        for row in measured(name, style, engines):
            print(f"{row.worst:6.2f}  {row.name}", flush=True)
            rows.append(row)
    rows = measured_again(rows, engines)
    print(table(rows, engines))
    if not arguments.words and not arguments.engine:
        write(summary(rows, engines))


if __name__ == "__main__":
    main()
