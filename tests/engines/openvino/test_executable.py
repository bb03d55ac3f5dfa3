"""What is compiled, run: in the precision asked for, by many threads, and on the samples of batches; whose memory is whose."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from engines.openvino.programs import Model, check, dense, dense_of, random, settled


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


# Batches


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("streams", [1, 2, 4])
def test_each_of_a_batch_is_run_on_its_own(count: int, streams: int) -> None:
    model, program = Model(4, 4), dense(streams=streams)
    batch = [[random(1 + number % 2, 4)] for number in range(count)]
    for _ in range(2):
        results: dict[int, list[Any]] = {}
        assert program.run_each(
            batch, model.weights, lambda number, r, to=results: to.update({number: [*map(np.copy, r)]})
        )
        assert list(results) == list(range(count))
        for number, (x,) in enumerate(batch):
            check(results[number], dense_of(x, *model.weights))
    check(program.run(batch[0], model.weights), dense_of(*batch[0], *model.weights))


def test_a_batch_is_not_run_before_it_is_compiled() -> None:
    model, program = Model(4, 4), dense(wait=False, streams=2)
    assert not program.run_each([[random(1, 4)]] * 2, model.weights, lambda number, results: pytest.fail("it ran"))
    settled(program)
    assert program.run_each([[random(1, 4)]] * 2, model.weights, lambda number, results: None)


def test_a_batch_of_which_one_fails_leaves_nothing_running() -> None:
    model, program = Model(4, 4), dense(streams=2)
    good = [random(2, 4)]
    with pytest.raises(RuntimeError):
        program.run_each([good, [random(2, 5)], good], model.weights, lambda number, results: None)
    seen: list[Any] = []
    program.run_each([good] * 5, model.weights, lambda number, results: seen.append(np.copy(results[0])))
    for result in seen:
        check([result], dense_of(*good, *model.weights)[:1])
    assert len(seen) == 5


def test_batches_are_run_by_many_threads_at_once() -> None:
    model, program = Model(4, 4), dense(streams=2)

    def run(seed: int) -> int:
        rng, taken = np.random.default_rng(seed), []
        batch = [[rng.normal(size=(2, 4)).astype(np.float32)] for _ in range(5)]

        def take(number: int, results: Any) -> None:
            check(results, dense_of(*batch[number], *model.weights))
            taken.append(number)

        for _ in range(20):
            program.run_each(batch, model.weights, take)
        return len(taken)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [100] * 4
