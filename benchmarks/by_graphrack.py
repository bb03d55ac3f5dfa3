"""graphrack's side of each case. A case prints its first result as soon as it is there, then its figures."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any


def done(result: Any, **figures: float) -> None:
    """Prints what a case measured."""
    print(json.dumps({"result": result, "figures": figures}), flush=True)


def start(work: str) -> None:
    """A first prediction."""
    begin = time.perf_counter()
    import graphrack as gr

    imported = time.perf_counter() - begin
    result = float(gr.load("examples/models/cubic/model_name")(x=1.5))
    print("first", flush=True)
    done(result, **{"import": imported})


def many(work: str) -> None:
    """Opens a hundred, runs all."""
    import psutil

    import graphrack as gr
    from benchmarks.cases import MANY

    gr.load("examples/models/cubic/model_name-20000")(x=1.0)  # the ops are imported: not what is measured
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    begin = time.perf_counter()
    models = [gr.load(f"{work}/many/{i}/model_name") for i in range(MANY)]
    first = [float(m(x=1.5)) for m in models]
    opened = (time.perf_counter() - begin) / MANY
    memory = process.memory_info().rss - before
    rounds = 20
    begin = time.perf_counter()
    for _ in range(rounds):
        for model in models:
            model(x=1.5)
    ran = (time.perf_counter() - begin) / MANY / rounds
    done(first, open=opened, run=ran, memory=memory)


def run(work: str) -> None:
    """One model, many runs."""
    import graphrack as gr

    model = gr.load("examples/models/cubic/model_name")
    result = float(model(x=1.5))
    feeds = {"x:0": 1.5}
    model.run("activation_opt:0", feeds)
    rounds = 20_000
    begin = time.perf_counter()
    for _ in range(rounds):
        model.run("activation_opt:0", feeds)
    by_name = (time.perf_counter() - begin) / rounds
    begin = time.perf_counter()
    for _ in range(rounds):
        model(x=1.5)
    done(result, by_name=by_name, call=(time.perf_counter() - begin) / rounds)


def read(work: str) -> None:
    """Reads all of a checkpoint, verified."""
    import graphrack as gr
    from benchmarks.cases import LARGE_BYTES

    begin = time.perf_counter()
    checkpoint = gr.Checkpoint(f"{work}/large")
    opened = time.perf_counter() - begin
    rates = []
    for _ in range(4):
        begin = time.perf_counter()
        checkpoint.verify()
        rates.append(LARGE_BYTES / (time.perf_counter() - begin))
    result = float(checkpoint["embedding"][7, 7])
    done(result, open=opened, first=rates[0], again=max(rates[1:]))


def write(work: str) -> None:
    """Writes a checkpoint, unflushed and flushed."""
    from benchmarks.arrays import large_arrays
    from benchmarks.cases import LARGE_BYTES
    from graphrack.formats.bundle_writer import BundleWriter

    arrays = large_arrays()

    def rate(durable: bool) -> float:
        prefix = f"{work}/written-{os.getpid()}"
        begin = time.perf_counter()
        with BundleWriter(prefix, durable=durable) as writer:
            for name, array in arrays.items():
                writer.add(name, array)
        result = LARGE_BYTES / (time.perf_counter() - begin)
        for suffix in (".index", ".data-00000-of-00001"):
            os.remove(prefix + suffix)
        return result

    rate(False)
    done(None, unflushed=rate(False), flushed=rate(True))


def save(work: str) -> None:
    """Saves numbered checkpoints by a Saver."""
    import graphrack as gr
    from benchmarks.arrays import large_arrays

    arrays, saver = large_arrays(), gr.Saver(max_to_keep=1)
    done(None, saved=save_rate(f"{work}/saved-{os.getpid()}", lambda prefix, step: saver.save(arrays, prefix, step)))


def save_rate(folder: str, save: Callable[[str, int], Any]) -> float:
    """Bytes per second of saving the large arrays again and again, by the median time."""
    import shutil

    from benchmarks.cases import LARGE_BYTES

    os.makedirs(folder)
    seconds = []
    for step in range(6):
        begin = time.perf_counter()
        save(f"{folder}/m", step)
        seconds.append(time.perf_counter() - begin)
    shutil.rmtree(folder)
    return LARGE_BYTES / statistics.median(seconds[1:])


_STORED_S = 2.0
"""What was compiled is stored meanwhile, which competes with runs for the cores: once, and not with every run."""


def network(work: str, name: str, form: str, batch: str, engine: str) -> None:
    """One network by one engine."""
    import graphrack as gr
    from benchmarks import inference
    from benchmarks.zoo import NETWORKS, Network

    models: list[gr.Model] = []

    def opened(network: Network, path: str) -> inference.Run:
        model = gr.load(path, engine=engine)
        models.append(model)
        return lambda feeds: model.run(network.output, feeds)

    def wait() -> None:
        measured = NETWORKS[name]
        models[0].warmup(measured.values(int(batch)), measured.output)
        time.sleep(_STORED_S)

    inference.network(work, name, form, batch, opened, wait)


def peak(work: str, name: str, engine: str) -> None:
    """The memory that runs of a program take."""
    import graphrack as gr
    from benchmarks import peaks

    def opened(prefix: str) -> Callable[[Any], Any]:
        model = gr.load(prefix, engine=engine)
        return lambda feeds: model.run("output:0", feeds)

    peaks.measure(work, name, opened)


def small(work: str, number: str, engine: str) -> None:
    """Many small models, each run by itself, and all by a rack."""
    import graphrack as gr
    from benchmarks import inference
    from benchmarks.zoo import SMALL

    models: list[gr.Model] = []
    rack = gr.Rack()

    def opened(prefix: str) -> inference.Run:
        model = gr.load(prefix, engine=engine)
        models.append(model)
        return lambda feeds: model.run(SMALL.output, feeds)

    def wait() -> None:
        for model in models[1:]:
            model.warmup(SMALL.values(1), SMALL.output)

    def together(value: Any) -> Any:
        if not len(rack):
            for i, model in enumerate(models[1:]):  # the first is of another graph
                rack.add(str(i), model)
        return rack.run_all(value)

    inference.small(work, number, opened, wait, together)
