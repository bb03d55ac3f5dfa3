"""Clusters compiled: when and how often, for which weights, from the cache, and by many threads at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphrack.engines.interpreter.state import ModelState
from graphrack.engines.openvino import background, cache, compiled, executable, fingerprint
from graphrack.engines.openvino.background import Job
from graphrack.engines.openvino.compiled import ClusterProgram, Input, Part, Source
from graphrack.formats.dtypes import FLOAT

RNG = np.random.default_rng(0)
T = {"T": FLOAT}


def dense(*, wait: bool = True, precision: str = "f32", name: str = "w") -> ClusterProgram:
    """relu(x @ w), and its product with w."""
    parts = [
        Part("product", "MatMul", {**T, "transpose_a": False, "transpose_b": False}, (Source("x", 0), Source(name, 0))),
        Part("relu", "Relu", T, (Source("product", 0),)),
        Part(
            "again", "MatMul", {**T, "transpose_a": False, "transpose_b": False}, (Source("relu", 0), Source(name, 0))
        ),
    ]
    inputs = [Input("x", np.dtype(np.float32), None)]
    outputs = [Source("again", 0), Source("relu", 0)]
    return ClusterProgram(parts, {}, [name], inputs, outputs, wait=wait, precision=precision)


def dense_of(x: Any, w: Any) -> list[Any]:
    first = np.maximum(x @ w, 0)
    return [first @ w, first]


def conv(*, wait: bool = True) -> ClusterProgram:
    """A convolution by filters of 1 by 1."""
    attributes = {**T, "strides": [1, 1, 1, 1], "padding": b"SAME", "dilations": [1, 1, 1, 1], "data_format": b"NHWC"}
    parts = [Part("conv", "Conv2D", attributes, (Source("x", 0), Source("w", 0)))]
    return ClusterProgram(parts, {}, ["w"], [Input("x", np.dtype(np.float32), None)], [Source("conv", 0)], wait=wait)


def conv_of(x: Any, w: Any) -> list[Any]:
    return [x @ w[0, 0]]


def random(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


class Model:
    """Something that has weights, as a model does."""

    def __init__(self, *shape: int):
        self.state = ModelState()
        self.shape = shape
        self.change()

    def change(self) -> None:
        self.state.values = {"w": random(*self.shape)}

    @property
    def weights(self) -> list[Any]:
        return [self.state.values["w"]]


def check(results: list[Any] | None, expected: list[Any]) -> None:
    assert results is not None
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)


def settled(program: ClusterProgram) -> None:
    """Waits until nothing is being compiled."""
    program.compile_soon()
    for job in list(program._jobs.values()):
        assert job.done.wait(60)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAPHRACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(executable, "_READ_S", 0.0)  # even the smallest is worth storing
    return tmp_path / "cache"


def stored(place: Path) -> list[Path]:
    """The files in the cache, once what is to be stored is."""
    jobs = [job for _, job in background._worker._jobs if job.last]
    for job in jobs:
        job.finish()
    # What has begun is over when the next job is.
    last = Job(lambda: None)
    background.submit(last)
    assert last.done.wait(60)
    return sorted(place.glob("*"))


def test_one_who_waits_gets_openvinos_results_at_once_and_any_size_is_compiled_once() -> None:
    program, model = dense(), Model(4, 4)
    for size in (3, 1, 7):
        x = random(size, 4)
        check(program.run([x], model.weights), dense_of(x, model.weights[0]))
    assert len(program.executables()) == 1
    assert program.failure == ""


def test_one_who_does_not_wait_has_the_interpreter_until_it_is_compiled() -> None:
    program, model = dense(wait=False), Model(4, 4)
    x = random(2, 4)
    assert program.run([x], model.weights) is None
    assert program.executables() == []
    assert program.run([x], model.weights) is None or program.executables()
    settled(program)
    check(program.run([x], model.weights), dense_of(x, model.weights[0]))
    assert len(program.executables()) == 1


def test_what_is_missing_is_compiled_once_the_interpreter_has_run() -> None:
    program, model = dense(wait=False), Model(4, 4)
    x = random(2, 4)
    assert program.run([x], model.weights) is None
    (job,) = program._jobs.values()
    assert not job.done.wait(2 * compiled._DELAY_S)
    assert program.run([x], model.weights) is None
    program.compile_soon()
    assert job.done.wait(60)
    check(program.run([x], model.weights), dense_of(x, model.weights[0]))
    assert not program._jobs


def test_what_waits_for_once_is_compiled_at_once() -> None:
    program, model = dense(wait=False), Model(4, 4)
    x = random(2, 4)
    assert program.run([x], model.weights) is None
    with background.waiting():
        check(program.run([x], model.weights), dense_of(x, model.weights[0]))
    check(program.run([x], model.weights), dense_of(x, model.weights[0]))


@pytest.mark.parametrize("wait", [True, False])
def test_what_openvino_refuses_is_a_reason_and_no_error(wait: bool) -> None:
    given = [Input("x", np.dtype(np.float32), None)]
    program = ClusterProgram([Part("y", "NoSuchOp", T, (Source("x", 0),))], {}, [], given, [Source("y", 0)], wait=wait)
    for _ in range(3):
        assert program.run([random(2, 2)], []) is None
        settled(program)
    assert "NoSuchOp" in program.failure
    assert program.executables() == []


def test_a_rank_that_openvino_refuses_does_not_end_the_others() -> None:
    attributes = {**T, "strides": [1, 1, 1, 1], "padding": b"SAME", "dilations": [1, 1, 1, 1], "data_format": b"NHWC"}
    program = ClusterProgram(
        [Part("y", "Conv2D", attributes, (Source("x", 0), Source("w", 0)))],
        {"w": random(1, 1, 3, 2)},
        [],
        [Input("x", np.dtype(np.float32), None)],
        [Source("y", 0)],
    )
    assert program.run([random(5)], []) is None
    assert program.failure
    x = random(1, 2, 2, 3)
    check(program.run([x], []), conv_of(x, program.constants["w"]))


def test_compiling_that_was_interrupted_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    program, model, x = dense(), Model(4, 4), random(2, 4)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compiled, "executable", interrupted)
        with pytest.raises(KeyboardInterrupt):
            program.run([x], model.weights)
    check(program.run([x], model.weights), dense_of(x, model.weights[0]))


# Many models, and weights that change


def test_models_of_one_graph_share_a_matrix_products_program_from_the_third_on() -> None:
    program, models = dense(), [Model(4, 4) for _ in range(10)]
    for _ in range(2):
        for model in models:
            x = random(3, 4)
            check(program.run([x], model.weights), dense_of(x, model.weights[0]))
    assert len(program.executables()) == 3
    others = Model(4, 4), Model(4, 4)
    for model in others:
        check(program.run([x], model.weights), dense_of(x, model.weights[0]))
    assert len(program.executables()) == 3


def test_a_convolution_is_compiled_with_each_models_filters() -> None:
    program, models = conv(), [Model(1, 1, 3, 2) for _ in range(5)]
    x = random(1, 4, 4, 3)
    for model in models:
        check(program.run([x], model.weights), conv_of(x, model.weights[0]))
    assert len(program.executables()) == 5


def test_weights_that_change_in_every_step_are_inputs_of_a_matrix_product() -> None:
    program, model = dense(), Model(4, 4)
    for _ in range(20):
        x = random(3, 4)
        check(program.run([x], model.weights), dense_of(x, model.weights[0]))
        model.change()
    assert len(program.executables()) <= 3


def test_filters_that_change_in_every_step_are_left_to_the_interpreter_and_old_ones_let_go_of() -> None:
    program, model = conv(), Model(1, 1, 3, 2)
    x, answers = random(1, 4, 4, 3), 0
    for _ in range(100):  # the identities of old arrays come back
        results = program.run([x], model.weights)
        if results is not None:
            answers += 1
            check(results, conv_of(x, model.weights[0]))
        model.change()
    assert answers <= 5
    assert len(program.executables()) <= 1
    # Once they stay, they are worth compiling again.
    for _ in range(10):
        results = program.run([x], model.weights)
    check(results, conv_of(x, model.weights[0]))


def test_new_arrays_in_the_place_of_old_ones_never_get_their_results() -> None:
    program, model = conv(), Model(1, 1, 3, 2)
    x = random(1, 2, 2, 3)
    for _ in range(200):  # arrays that are freed leave their identities to the next
        results = program.run([x], model.weights)
        if results is not None:
            check(results, conv_of(x, model.weights[0]))
        model.change()


def test_what_is_forgotten_is_compiled_anew() -> None:
    program, model = dense(), Model(4, 4)
    x = random(3, 4)
    program.run([x], model.weights)
    (found,) = program.executables()
    assert found.nbytes == 64
    program.forget(found)
    assert program.executables() == []
    check(program.run([x], model.weights), dense_of(x, model.weights[0]))


# The cache


def test_what_was_compiled_is_read_from_the_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Model(64, 64), random(3, 64)
    dense().run([x], model.weights)
    assert len(stored(place)) == 1
    from graphrack.engines.openvino import frontend

    def convert(*_: Any) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(frontend, "convert", convert)
    again = dense()
    check(again.run([x], model.weights), dense_of(x, model.weights[0]))
    assert again.failure == ""
    for other, weights in ((dense(precision="bf16"), model.weights), (dense(), [model.weights[0] + 1])):
        assert other.run([x], weights) is None
        assert "converted again" in other.failure


def test_a_long_run_waits_for_what_is_in_the_cache_and_a_longer_one_for_the_compiler(place: Path) -> None:
    model, x = Model(64, 64), random(3, 64)
    later = dense(wait=False)
    assert later.run([x], model.weights, 0.001) is None  # nothing is in the cache
    check(dense(wait=False).run([x], model.weights, 10.0), dense_of(x, model.weights[0]))
    assert len(stored(place)) == 1
    check(dense(wait=False).run([x], model.weights, 0.001), dense_of(x, model.weights[0]))
    assert dense(wait=False).run([x], model.weights, 0.0) is None
    settled(later)
    check(later.run([x], model.weights), dense_of(x, model.weights[0]))


def test_openvino_is_not_imported_to_find_that_the_cache_lacks_a_cluster(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> Any:
        raise AssertionError("imported")

    place.mkdir(exist_ok=True)
    (place / f"{0:032x}.ov").touch()
    monkeypatch.setattr(executable.runtime, "core", never)
    program, model = dense(wait=False), Model(64, 64)
    for folder in (str(place), "off"):
        monkeypatch.setenv("GRAPHRACK_CACHE", folder)
        found = executable.executable(program, (2,), model.weights, "f32", separate=False, only_read=True)
        assert found == (None, None)


def test_weights_are_looked_at_only_where_the_cache_has_a_cluster_of_the_same_structure(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, looked_at = Model(64, 64), Model(64, 64), list[object]()
    of_array = fingerprint.of_array
    monkeypatch.setattr(fingerprint, "of_array", lambda value: looked_at.append(value) or of_array(value))

    def read(program: ClusterProgram, model: Model) -> object:
        return executable.executable(program, (2,), model.weights, "f32", separate=False, only_read=True)[0]

    assert read(dense(), one) is None
    assert not looked_at
    dense().run([random(3, 64)], one.weights)
    (path,) = stored(place)
    looked_at.clear()
    assert read(dense(name="v"), one) is None
    assert not looked_at
    assert read(dense(), one) is not None
    assert read(dense(), other) is None
    assert any(value is one.weights[0] for value in looked_at)
    assert any(value is other.weights[0] for value in looked_at)
    assert stored(place) == [path]


def test_a_damaged_file_is_compiled_anew_and_replaced(place: Path) -> None:
    model, x = Model(64, 64), random(3, 64)
    dense().run([x], model.weights)
    (path,) = stored(place)
    sound = path.read_bytes()
    for damaged in (sound[:1000], sound[:-1], b"", sound[:500] + b"\xff" * 100 + sound[600:]):
        path.write_bytes(damaged)
        program = dense()
        check(program.run([x], model.weights), dense_of(x, model.weights[0]))
        assert program.failure == ""
        assert stored(place) == [path]
        assert cache.load(str(place), path.stem) is not None


def test_a_sound_file_that_openvino_does_not_know_is_compiled_anew(place: Path) -> None:
    model, x = Model(64, 64), random(3, 64)
    dense().run([x], model.weights)
    (path,) = stored(place)
    cache.store(str(place), path.stem, b"of another make")
    check(dense().run([x], model.weights), dense_of(x, model.weights[0]))


SECOND = """
import sys
import numpy as np
from graphrack.engines.interpreter.state import ModelState
sys.path.insert(0, {folder!r})
from test_compiled import dense, dense_of
w = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) / 4096
x = np.ones((2, 64), np.float32)
program = dense()
results = program.run([x], [w])
assert np.allclose(results[0], dense_of(x, w)[0], rtol=1e-4)
print("converted" if "graphrack.engines.openvino.frontend" in sys.modules else "read")
"""


def test_a_second_process_reads_what_the_first_has_compiled(place: Path) -> None:
    script = SECOND.format(folder=str(Path(__file__).parent))
    for expected in ("converted", "read"):
        process = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
        )
        assert (process.returncode, process.stderr, process.stdout.strip()) == (0, "", expected)


ENDING = """
import sys
sys.path.insert(0, {folder!r})
from test_compiled import Model, random
from graphrack.engines.openvino import compiled
compiled._DELAY_S = {delay}
from test_compiled import Part, Source, Input, T, ClusterProgram, FLOAT
import numpy as np, time
attributes = {{**T, "strides": [1, 1, 1, 1], "padding": b"SAME", "dilations": [1, 1, 1, 1], "data_format": b"NHWC"}}
parts, last, weights = [], "x", {{}}
for i in range(60):
    weights[f"w{{i}}"] = random(3, 3, 64, 64)
    parts.append(Part(f"c{{i}}", "Conv2D", attributes, (Source(last, 0), Source(f"w{{i}}", 0))))
    last = f"c{{i}}"
program = ClusterProgram(parts, weights, [], [Input("x", np.dtype("f4"), None)], [Source(last, 0)], wait=False)
assert program.run([random(1, 8, 8, 64)], []) is None
program.compile_soon()
time.sleep({sleep})
"""


@pytest.mark.parametrize(("delay", "sleep"), [(30, 0), (0, 0), (0, 0.1), (0, 0.3), (0, 0.8)])
def test_a_process_may_end_while_a_cluster_is_compiled(delay: float, sleep: float) -> None:
    script = ENDING.format(folder=str(Path(__file__).parent), delay=delay, sleep=sleep)
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


# Precision, threads


def test_bf16_is_near_where_the_processor_has_it_and_f32_elsewhere() -> None:
    from graphrack.engines.openvino import runtime

    model, x = Model(256, 256), random(64, 256)
    exact = dense_of(x.astype(np.float64), model.weights[0].astype(np.float64))[1]
    f32, bf16 = (dense(precision=p).run([x], model.weights) for p in ("f32", "bf16"))
    assert f32 is not None
    assert bf16 is not None
    assert bf16[1].dtype == np.float32
    scale = np.abs(exact).max()
    errors = [np.abs(results[1] - exact).max() / scale for results in (f32, bf16)]
    assert errors[0] < 1e-5
    if "BF16" in runtime.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert 1e-4 < errors[1] < 2e-2
    else:
        assert errors[1] < 1e-5


@pytest.mark.parametrize("wait", [True, False])
def test_sixteen_threads_run_one_program(wait: bool) -> None:
    program, models = dense(wait=wait), [Model(16, 16) for _ in range(4)]
    wrong: list[BaseException] = []
    answers: list[int] = []

    def work(seed: int) -> None:
        rng, own = np.random.default_rng(seed), 0
        try:
            for i in range(60):
                x = rng.normal(size=(1 + i % 3, 16)).astype(np.float32)
                model = models[(seed + i) % 4]
                results = program.run([x], model.weights)
                if results is not None:
                    own += 1
                    check(results, dense_of(x, model.weights[0]))
                elif i % 10 == 9:
                    settled(program)
        except BaseException as error:
            wrong.append(error)
        answers.append(own)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert program.failure == ""
    assert sum(answers) == 16 * 60 if wait else sum(answers) > 0
    assert len(program.executables()) <= 4


def test_inputs_that_may_not_be_written_are_taken_and_results_are_the_callers_own() -> None:
    program, model = dense(), Model(4, 4)
    x = random(3, 4)
    x.flags.writeable = False
    first = program.run([x], model.weights)
    assert first is not None
    kept = first[0].copy()
    check(program.run([x + 1], model.weights), dense_of(x + 1, model.weights[0]))
    np.testing.assert_array_equal(first[0], kept)
    first[0][:] = 0
    check(program.run([x], model.weights), dense_of(x, model.weights[0]))


def test_large_results_are_handed_over_and_stay_the_callers_own() -> None:
    program, model = dense(), Model(4, 4)
    weights = model.weights
    inputs = [random(size, 4) for size in (100_000, 3, 100_000, 100_000, 5, 120_000)]
    results = [program.run([x], weights) for x in inputs * 2]
    for x, found in zip(inputs * 2, results, strict=True):
        check(found, dense_of(x, weights[0]))
    found = []

    def work(number: int) -> None:
        for i in range(6):
            x = inputs[(number + i) % len(inputs)]
            found.append((x, program.run([x], weights)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    for x, result in found:
        check(result, dense_of(x, weights[0]))
