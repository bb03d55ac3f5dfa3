"""Clusters compiled: when and how often, for which weights, and from the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines.openvino.programs import Model, T, check, conv, conv_of, dense, dense_of, random, settled

from graphrack.engines.openvino import background, cache, compiled, executable, fingerprint
from graphrack.engines.openvino.background import Job
from graphrack.engines.openvino.compiled import ClusterProgram, Input, Part, Source


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


def test_what_runs_several_at_once_is_stored_for_itself(place: Path) -> None:
    model, batch, taken = Model(64, 64), [[random(2, 64)] for _ in range(3)], dict[int, Any]()
    dense().run(batch[0], model.weights)
    for _ in range(2):
        dense(streams=2).run_each(batch, model.weights, lambda number, r: taken.update({number: [*map(np.copy, r)]}))
        assert len(stored(place)) == 2
    for number, (x,) in enumerate(batch):
        check(taken[number], dense_of(x, model.weights[0]))


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
from programs import dense, dense_of
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
from programs import Model, random
from graphrack.engines.openvino import compiled
compiled._DELAY_S = {delay}
from programs import Part, Source, Input, T, ClusterProgram, FLOAT
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
