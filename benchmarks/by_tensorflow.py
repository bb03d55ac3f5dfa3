"""TensorFlow's side of each case, as its users write it."""

from __future__ import annotations

import os
import time
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

from benchmarks import inference
from benchmarks.by_graphrack import done, save_rate
from benchmarks.zoo import SMALL, Network


def opened(tf: Any, prefix: str) -> Any:
    """A session of its own with the model in it."""
    with tf.Graph().as_default() as graph:
        session = tf.Session(graph=graph)
        saver = tf.train.import_meta_graph(prefix + ".meta", clear_devices=True)
        saver.restore(session, prefix)
    return session


def start(work: str) -> None:
    """A first prediction."""
    begin = time.perf_counter()
    import tensorflow.compat.v1 as tf

    imported = time.perf_counter() - begin
    session = opened(tf, "examples/models/cubic/model_name")
    result = float(session.run("activation_opt:0", {"x:0": 1.5}))
    print("first", flush=True)
    done(result, **{"import": imported})


def many(work: str) -> None:
    """Opens a hundred, runs all."""
    import psutil
    import tensorflow.compat.v1 as tf

    from benchmarks.cases import MANY

    opened(tf, "examples/models/cubic/model_name-20000").run("activation_opt:0", {"x:0": 1.0})
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    begin = time.perf_counter()
    sessions = [opened(tf, f"{work}/many/{i}/model_name") for i in range(MANY)]
    first = [float(s.run("activation_opt:0", {"x:0": 1.5})) for s in sessions]
    took = (time.perf_counter() - begin) / MANY
    memory = process.memory_info().rss - before
    begin = time.perf_counter()
    for session in sessions:
        session.run("activation_opt:0", {"x:0": 1.5})
    ran = (time.perf_counter() - begin) / MANY
    done(first, open=took, run=ran, memory=memory)


def peak(work: str, name: str) -> None:
    """The memory that runs of a program take."""
    import tensorflow.compat.v1 as tf

    from benchmarks import peaks

    def opener(prefix: str) -> Any:
        session = opened(tf, prefix)
        return lambda feeds: session.run("output:0", feeds)

    peaks.measure(work, name, opener)


def run(work: str) -> None:
    """One model, many runs: by name, and as TensorFlow is fastest called (`make_callable`)."""
    import tensorflow.compat.v1 as tf

    session = opened(tf, "examples/models/cubic/model_name")
    result = float(session.run("activation_opt:0", {"x:0": 1.5}))
    rounds = 2000
    begin = time.perf_counter()
    for _ in range(rounds):
        session.run("activation_opt:0", {"x:0": 1.5})
    by_name = (time.perf_counter() - begin) / rounds
    graph = session.graph
    call = session.make_callable(graph.get_tensor_by_name("activation_opt:0"), [graph.get_tensor_by_name("x:0")])
    call(1.5)
    begin = time.perf_counter()
    for _ in range(rounds):
        call(1.5)
    done(result, by_name=by_name, call=(time.perf_counter() - begin) / rounds)


def read(work: str) -> None:
    """Reads all of a checkpoint; TensorFlow's reader verifies checksums."""
    import tensorflow.compat.v1 as tf

    from benchmarks.cases import LARGE_BYTES

    begin = time.perf_counter()
    reader = tf.train.load_checkpoint(f"{work}/large")
    took = time.perf_counter() - begin
    names = sorted(reader.get_variable_to_shape_map())
    rates = []
    for _ in range(4):
        begin = time.perf_counter()
        for name in names:
            reader.get_tensor(name)
        rates.append(LARGE_BYTES / (time.perf_counter() - begin))
    result = float(reader.get_tensor("embedding")[7, 7])
    done(result, open=took, first=rates[0], again=max(rates[1:]))


def large_variables(tf: Any, session: Any) -> dict[str, Any]:
    """The large arrays as variables of the session's graph."""
    from benchmarks.arrays import large_arrays

    tf.disable_resource_variables()
    found = {}
    for name, array in large_arrays().items():
        placeholder = tf.placeholder(tf.float32, array.shape)
        found[name] = tf.Variable(placeholder, name=name)
        session.run(found[name].initializer, {placeholder: array})
    return found


def write(work: str) -> None:
    """Writes a checkpoint of variables with a Saver, then with the files flushed."""
    import tensorflow.compat.v1 as tf

    from benchmarks.cases import LARGE_BYTES

    with tf.Graph().as_default(), tf.Session() as session:
        saver = tf.train.Saver(large_variables(tf, session))
        prefix = f"{work}/tf-written-{os.getpid()}"

        def rate(flush: bool) -> float:
            begin = time.perf_counter()
            saver.save(session, prefix, write_meta_graph=False, write_state=False)
            if flush:
                for suffix in (".data-00000-of-00001", ".index"):
                    with open(prefix + suffix, "rb") as file:
                        os.fsync(file.fileno())
            result = LARGE_BYTES / (time.perf_counter() - begin)
            for suffix in (".index", ".data-00000-of-00001"):
                os.remove(prefix + suffix)
            return result

        rate(False)
        done(None, unflushed=rate(False), flushed=rate(True))


def save(work: str) -> None:
    """Saves numbered checkpoints by a Saver, each flushed afterwards."""
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        saver = tf.train.Saver(large_variables(tf, session), max_to_keep=1)

        def flushed(prefix: str, step: int) -> None:
            path = saver.save(session, prefix, global_step=step, write_meta_graph=False)
            for name in (f"{path}.data-00000-of-00001", f"{path}.index", f"{os.path.dirname(path)}/checkpoint"):
                with open(name, "rb") as file:
                    os.fsync(file.fileno())

        done(None, saved=save_rate(f"{work}/tf-saved-{os.getpid()}", flushed))


def _callable(session: Any, output: str, names: list[str]) -> inference.Run:
    """As TensorFlow is fastest called."""
    graph = session.graph
    call = session.make_callable(graph.get_tensor_by_name(output), [graph.get_tensor_by_name(n) for n in names])
    return lambda feeds: call(*feeds.values())


def network(work: str, name: str, form: str, batch: str) -> None:
    """One network in a session."""
    import tensorflow.compat.v1 as tf

    def unfrozen(network: Network, path: str) -> inference.Run:
        return _callable(opened(tf, path), network.output, list(network.values(1)))

    def frozen(network: Network, path: str) -> inference.Run:
        definition = tf.GraphDef()
        with open(path, "rb") as file:
            definition.ParseFromString(file.read())
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(definition, name="")
            session = tf.Session(graph=graph)
        return _callable(session, network.output, list(network.values(1)))

    inference.network(work, name, form, batch, frozen if form == "frozen" else unfrozen)


def small(work: str, number: str) -> None:
    """Many small models, a graph and a session each."""
    import tensorflow.compat.v1 as tf

    inference.small(work, number, lambda prefix: _callable(opened(tf, prefix), SMALL.output, ["input:0"]))
