"""Models whose clusters are compiled: the first answer, warming up, racks, precision, and processes that end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from peaks import peak_of
from tf_models import session

import graphrack as gr
from graphrack.warming import compiled_parts

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(1, 40, 40, 16)).astype(np.float32)


def variable(*shape: int) -> Any:
    return tf.Variable(RNG.normal(size=shape).astype(np.float32) * 0.1)


def convolutions(x: Any) -> Any:
    for i in range(3):
        x = tf.nn.relu(tf.nn.conv2d(x, variable(3, 3, 16, 16), [1, 1, 1, 1], "VALID" if i else "SAME"))
    return tf.nn.softmax(tf.matmul(tf.reduce_mean(x, [1, 2]), variable(16, 5)))


def save(folder: Path, shape: list[int | None] | None, count: int = 1, *, training: bool = False) -> list[Path]:
    """Models of one graph, each with values of its own."""
    with session() as sess:
        x = tf.placeholder(tf.float32, shape, name="x")
        out = tf.identity(convolutions(x), name="out")
        if training:
            tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(out * out), name="step")
        tf.add_to_collection("output", out)
        saver = tf.train.Saver()
        for i in range(count):
            sess.run(tf.global_variables_initializer())
            for one in tf.trainable_variables():
                one.load(RNG.normal(size=one.shape.as_list()).astype(np.float32) * 0.1, sess)
            (folder / str(i)).mkdir(parents=True)
            saver.save(sess, str(folder / str(i) / "model_name"))
    return [folder / str(i) / "model_name" for i in range(count)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return save(tmp_path_factory.mktemp("models"), [None, None, None, 16], 4)


def parts(model: gr.Model) -> list[Any]:
    return [part for _, part in compiled_parts(model._instance)]


def test_the_first_answer_is_the_interpreters_and_openvinos_come_by_themselves(paths: list[Path]) -> None:
    model, slow = (gr.load(paths[0], engine=engine) for engine in ("auto", "numpy"))
    expected = slow.run("out", {"x": IMAGE})
    np.testing.assert_array_equal(model.run("out", {"x": IMAGE}), expected)
    end = time.monotonic() + 60
    while not parts(model) and time.monotonic() < end:
        np.testing.assert_allclose(model.run("out", {"x": IMAGE}), expected, rtol=1e-4)
    assert parts(model)
    np.testing.assert_allclose(model.run("out", {"x": IMAGE}), expected, rtol=1e-4)


def test_a_warm_model_answers_by_openvino_from_the_first_run_on_however_it_is_called(paths: list[Path]) -> None:
    model, slow = (gr.load(paths[0], engine=engine) for engine in ("auto", "numpy"))
    model.warmup()
    (part,) = parts(model)
    assert model.stats.runs == 0
    expected = slow(IMAGE)
    for run in (
        lambda: model(IMAGE),
        lambda: model(x=IMAGE),
        lambda: model.run("out", {"x": IMAGE}),
        lambda: model.run(["out:0"], {"x:0": IMAGE})[0],
    ):
        used = part.used
        np.testing.assert_allclose(run(), expected, rtol=1e-4)
        assert part.used > used
    assert parts(model) == [part]


def test_warming_up_takes_feeds_and_fetches(paths: list[Path]) -> None:
    model = gr.load(paths[0], engine="auto")
    model.warmup({"x": IMAGE[:, :8, :8]}, "Mean")
    assert len(parts(model)) == 2  # for any sizes, and for these
    model.warmup(fetches=["Mean:0", "out"])
    assert len(parts(model)) == 3
    with pytest.raises(gr.UnknownName, match="'Men'"):
        model.warmup(fetches="Men")
    with pytest.raises(gr.FeedError, match="takes float32"):
        model.warmup({"x": "text"}, "out")


def test_what_cannot_be_made_up_has_to_be_fed(tmp_path: Path) -> None:
    (path,) = save(tmp_path / "any", None)
    with pytest.raises(gr.FeedError, match="rank of 'x:0'; warmup takes feeds"):
        gr.load(path).warmup()
    with session() as sess:
        x = tf.placeholder(tf.float32, [None, None], name="x")
        tf.identity(tf.matmul(x, tf.constant(np.ones((3, 2), np.float32))), name="out")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    with pytest.raises(gr.FeedError, match="could be made up fit.*MatMul"):
        gr.load(tmp_path / "g.pb").warmup()
    gr.load(tmp_path / "g.pb").warmup({"x": np.ones((1, 3))})


def test_warming_up_a_train_step_changes_nothing(tmp_path: Path) -> None:
    (path,) = save(tmp_path, [None, 12, 12, 16], training=True)
    model = gr.load(path)
    before = {name: np.array(model.variables[name]) for name in model.variables}
    model.warmup(fetches="step")
    model.warmup({"x": IMAGE[:, :12, :12]}, ["step", "out"])
    for name, value in before.items():
        np.testing.assert_array_equal(model.variables[name], value)


def test_bf16_is_asked_for_when_loading(paths: list[Path]) -> None:
    exact = gr.load(paths[0], engine="numpy").run("Mean", {"x": IMAGE})
    f32, bf16 = (gr.load(paths[0], engine="openvino", precision=p).run("Mean", {"x": IMAGE}) for p in ("f32", "bf16"))
    np.testing.assert_allclose(f32, exact, rtol=1e-4)
    np.testing.assert_allclose(bf16, exact, rtol=0.1, atol=0.02)
    with pytest.raises(ValueError, match="precision 'f16' doesn't exist; there are: f32, bf16"):
        gr.load(paths[0], precision="f16")


# Racks


def test_a_rack_counts_and_lets_go_of_the_longest_unused_compiled_parts(paths: list[Path]) -> None:
    models = {str(i): gr.load(path, engine="openvino") for i, path in enumerate(paths)}
    rack, slow = gr.Rack(models), gr.Rack({str(i): gr.load(path, engine="numpy") for i, path in enumerate(paths)})
    expected = slow.run_all(IMAGE)
    rack.run_all(IMAGE)
    stats = rack.stats()
    (size,) = {one.compiled_bytes for one in stats.values()}
    assert size >= 3 * 9 * 16 * 16 * 4
    rack.memory_limit = sum(one.plan_bytes for one in [stats["0"]]) + 2 * size
    rack["0"](IMAGE)
    rack["1"](IMAGE)
    kept = [name for name, one in rack.stats().items() if one.compiled_bytes]
    assert len(kept) == 2
    assert kept[0] == "0"
    variables = {name: one.variable_bytes for name, one in rack.stats().items()}
    assert variables == {name: one.variable_bytes for name, one in stats.items()}
    for name, value in rack.run_all(IMAGE).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4)
    rack["0"]
    assert sum(one.compiled_bytes for one in rack.stats().values()) <= 2 * size


def test_a_racks_models_are_warmed_up_and_failures_told_apart(paths: list[Path], tmp_path: Path) -> None:
    rack = gr.Rack({"good": paths[0], "gone": tmp_path / "nowhere"})
    with pytest.raises(gr.RackErrors, match="1 of 2 models failed: 'gone'"):
        rack.warmup()
    assert rack.stats()["good"].compiled_bytes > 0
    rack.warmup(models=["good"])
    with pytest.raises(gr.UnknownName, match="'god'"):
        rack.warmup(models=["god"])


def test_reloaded_and_assigned_values_are_seen_and_what_was_compiled_for_old_ones_goes(
    tmp_path: Path,
) -> None:
    (path,) = save(tmp_path, [1, 40, 40, 16])  # a graph that no other test's model shares
    model, slow = (gr.load(path, engine=engine) for engine in ("openvino", "numpy"))
    name = next(iter(model.variables))
    for step in range(4):
        for one in (model, slow):
            one.variables[name] = np.asarray(one.variables[name]) * (1.5 if step % 2 else 0.5)
        np.testing.assert_allclose(model(IMAGE), slow(IMAGE), rtol=1e-4)
        assert len(parts(model)) == 1
        assert sum(len(program.executables()) for program in model._instance.graph.programs()) == 1


THREADS = """
import os, sys, threading, time
import numpy as np
import graphrack as gr
rack = gr.Rack({{str(i): gr.load(path, engine="openvino") for i, path in enumerate({paths!r} * 3)}})
x = np.ones((8, 80, 80, 16), np.float32)
rack.warmup(x)
rack.run_all(x)
counts, done = [], threading.Event()

def running():
    own = str(threading.get_native_id())
    while not done.wait(0.003):
        count = 0
        for task in os.listdir("/proc/self/task"):
            if task != own:
                try:
                    with open(f"/proc/self/task/{{task}}/stat") as file:
                        count += file.read().rpartition(")")[2].split()[0] == "R"
                except OSError:
                    pass
        counts.append(count)

watch = threading.Thread(target=running)
watch.start()
end = time.monotonic() + 2
while time.monotonic() < end:
    rack.run_all(x)
done.set()
watch.join()
print(sum(counts) / len(counts))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="this system doesn't list threads there")
def test_no_more_threads_are_busy_than_there_are_cores(paths: list[Path]) -> None:
    script = THREADS.format(paths=list(map(str, paths)))
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    # Between two turns one thread has begun to copy its results, and another to run.
    assert float(process.stdout) <= len(os.sched_getaffinity(0)) + 0.75


# Processes


def ended(*command: str, **environment: str) -> str:
    """What a process prints that ends well, and says nothing else."""
    process = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def test_a_process_that_runs_a_model_once_does_not_even_import_openvino(paths: list[Path]) -> None:
    script = f"""
import sys
import numpy as np, graphrack as gr
gr.load({str(paths[0])!r})(np.ones((1, 40, 40, 16)))
print("openvino" in sys.modules)
"""
    assert ended("-c", script) == "False\n"


@pytest.mark.parametrize("runs", [2, 10, 100])
def test_a_process_may_end_at_any_time(paths: list[Path], runs: int) -> None:
    script = f"""
import numpy as np, graphrack as gr
model = gr.load({str(paths[0])!r})
for _ in range({runs}):
    result = model(np.ones((1, 40, 40, 16)))
print(result.shape)
"""
    assert ended("-c", script, GRAPHRACK_CACHE="off") == "(1, 5)\n"


def test_the_second_process_compiles_nothing(paths: list[Path], tmp_path: Path) -> None:
    script = f"""
import sys
import numpy as np, graphrack as gr
gr.load({str(paths[0])!r}, engine="openvino")(np.ones((1, 40, 40, 16)))
print("graphrack.engines.openvino.frontend" in sys.modules, "openvino_telemetry" in sys.modules)
"""
    for converted in ("True False\n", "False False\n"):
        assert ended("-c", script, GRAPHRACK_CACHE=str(tmp_path)) == converted


def test_others_in_the_process_have_all_of_openvino(paths: list[Path]) -> None:
    script = f"""
import sys
import numpy as np, graphrack as gr
gr.load({str(paths[0])!r}, engine="openvino")(np.ones((1, 40, 40, 16)))
import openvino
print("openvino.tools.ovc" in sys.modules, callable(openvino.convert_model), hasattr(openvino, "no_such_thing"))
from openvino.tools.ovc import convert_model
print(convert_model is openvino.convert_model)
"""
    assert ended("-c", script, GRAPHRACK_CACHE="off") == "False True False\nTrue\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("status", [0, 3])
def test_a_forked_process_ends_in_order(paths: list[Path], status: int) -> None:
    script = f"""
import logging, os, sys, warnings
import numpy as np, graphrack as gr
logging.getLogger("graphrack").addHandler(logging.NullHandler())  # it says that OpenVINO stayed behind
warnings.simplefilter("ignore", DeprecationWarning)
x = np.ones((1, 40, 40, 16))
model = gr.load({str(paths[0])!r}, engine="openvino")
model(x)
child = os.fork()
if child == 0:
    model(x)
    print("printed", end="")
    sys.exit({status})
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == {status}
"""
    assert ended("-c", script) == "printed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_leaves_everything_to_the_interpreter(paths: list[Path]) -> None:
    script = f"""
import logging, os, warnings
import numpy as np, graphrack as gr
from graphrack.engines.openvino import race
race.LEAST_S = 0.0
log = []
logging.getLogger("graphrack").addHandler(logging.Handler())
logging.getLogger("graphrack").handlers[0].emit = log.append
warnings.simplefilter("ignore", DeprecationWarning)
x = np.ones((1, 40, 40, 16))
one, other = gr.load({str(paths[0])!r}), gr.load({str(paths[1])!r}, engine="openvino")
one.warmup()
expected = one(x), gr.load({str(paths[1])!r}, engine="numpy")(x)
child = os.fork()
if child == 0:
    for model, wanted in zip((one, other), expected):
        model.warmup()
        assert np.allclose(model(x), wanted, rtol=1e-4)
        assert not model.stats.compiled_bytes
        assert "before this process was forked" in model.explain().clusters[0].state
    assert [record.levelname for record in log] == ["WARNING"]
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    assert ended("-c", script) == ""


def test_the_command_line_ends_at_once_and_in_order(paths: list[Path], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGE)
    expected = gr.load(paths[0], engine="numpy")(IMAGE)
    for options in ([], ["--engine", "openvino"], ["--engine", "openvino", "--precision", "bf16"]):
        out = tmp_path / "out.npy"
        ended("-m", "graphrack", "run", str(paths[0]), "--feed", f"x=@{tmp_path / 'x.npy'}", "-o", str(out), *options)
        np.testing.assert_allclose(np.load(out), expected, rtol=0.05 if "bf16" in options else 1e-4)


def test_a_large_result_that_is_fetched_is_not_copied(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 64], name="x")
        y = tf.nn.relu(tf.matmul(x, tf.constant(np.ones((64, 64), np.float32))), name="y")
        tf.reshape(y, [-1], name="flat")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "g.pb", as_text=False)
    model, judge = (gr.load(tmp_path / "g.pb", engine=engine) for engine in ("openvino", "numpy"))
    feeds = {"x": np.random.default_rng(0).random((8192, 64), np.float32)}
    for _ in range(3):
        found, expected = model.run(["y", "flat"], feeds), judge.run(["y", "flat"], feeds)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
        assert not np.shares_memory(*found)
        found[0][:] = -1
    one = model.run("y", feeds)
    assert one.flags.writeable
    assert peak_of(lambda: model.run("y", feeds), one.nbytes // 2) < one.nbytes // 2
