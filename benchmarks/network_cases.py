"""The cases with networks: each at each batch size, from its frozen graph and from its checkpoint; many small ones."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import psutil

from benchmarks.agreement import near
from benchmarks.cases import Case
from benchmarks.sides import CHECKPOINT_SIDES, NETWORK_SIDES, SMALL_SIDES
from benchmarks.zoo import BERT, CASCADE, MLP, MOBILENET, RESNET, RNN, SMALL_MODELS, Network

ROOT = Path(__file__).parents[1]
MEASURED = (MLP, MOBILENET, RESNET, BERT, CASCADE, RNN)
NUMBERS = (1, 10, SMALL_MODELS)

# Of memory that tf2onnx takes for each of a frozen graph's (15 GB for BERT).
_CONVERSION_BYTES = 36


@functools.cache
def _built(work: Path) -> None:
    """All networks' files, by TensorFlow in a process of its own."""
    script = [sys.executable, "-W", "ignore", "-m", "benchmarks.networks", "--work", str(work)]
    subprocess.run(script, check=True, cwd=ROOT, stderr=subprocess.DEVNULL)


def _converted(network: Network, work: Path) -> None:
    """The network for ONNX Runtime, by tf2onnx in a process of its own, where it can."""
    target = network.onnx(work)
    log = target.with_suffix(".log")
    if log.exists():
        return
    names = ["--inputs", ",".join(network.values(1)), "--outputs", network.output]
    files = ["--graphdef", str(network.frozen(work)), "--output", str(target), "--opset", "17"]
    needed = _CONVERSION_BYTES * network.frozen(work).stat().st_size
    if psutil.virtual_memory().available < needed:
        print(f"{network.name}: not converted for ONNX Runtime, which takes {needed / 1e9:.0f} GB", file=sys.stderr)
        return
    with log.open("w") as said:
        command = [sys.executable, "-W", "ignore", "-m", "tf2onnx.convert", *files, *names]
        subprocess.run(command, check=False, stdout=said, stderr=said)


def _network(network: Network, form: str, batch: int) -> Case:
    def prepare(work: Path) -> None:
        _built(work)
        if form == "frozen":
            _converted(network, work)

    return Case(
        name=network.name,
        title=network.title,
        note="",
        figures=(),
        prepare=prepare,
        sides=NETWORK_SIDES if form == "frozen" else CHECKPOINT_SIDES,
        # Each of BERT's processes takes ten seconds and more.
        repeat=2 if network is BERT or form == "checkpoint" else 3,
        bouts=8,
        function="network",
        arguments=(network.name, form, str(batch)),
        agree=near,
    )


def _small(number: int) -> Case:
    return Case(
        name="small",
        title=f"{number} small models",
        note="",
        figures=(),
        prepare=_built,
        sides=SMALL_SIDES,
        repeat=3,
        function="small",
        arguments=(str(number),),
        agree=near,
    )


FROZEN = tuple(_network(n, "frozen", batch) for n in MEASURED for batch in n.batches)
CHECKPOINTS = tuple(_network(n, "checkpoint", batch) for n in MEASURED for batch in n.batches)
SMALL_CASES = tuple(_small(number) for number in NUMBERS)
