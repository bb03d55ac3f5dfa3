"""Random ops with seeds of their own draw TensorFlow's numbers, run after run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.session import KernelState, check_sessions

from graphrack.formats import dtypes
from graphrack.ops import registry
from graphrack.ops.philox import RESERVED, seeded
from graphrack.ops.random import shuffled
from graphrack.ops.random_rejection import gamma, poisson

FLOATS = [tf.float16, tf.bfloat16, tf.float32, tf.float64]
SEEDS = [(7, 0), (0, 3), (87654321, 12), (-5, 2**62 + 3)]
COUNTS = [0, 1, 2, 3, 4, 5, 7, 1000, 100_003]
CLOSE = {tf.float16: 1e-3, tf.bfloat16: 1e-2, tf.float32: 1e-6, tf.float64: 1e-14}


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def check(op_name: str, runs: int = 3, refused: bool = False, **arguments: Any) -> list[Any]:
    rtol = arguments.pop("rtol", None)
    seeds = dict(zip(("seed", "seed2"), arguments.pop("seeds", (5, 11)), strict=True))
    feeds = {f"in_{k}:0": v for k, v in arguments.items() if isinstance(v, np.ndarray)}

    def build() -> Any:
        given = {
            k: tf.placeholder(tf.string if v.dtype == object else v.dtype, None, f"in_{k}")
            if isinstance(v, np.ndarray)
            else v
            for k, v in arguments.items()
        }
        return getattr(tf.raw_ops, op_name)(**given, **seeds, name="op")

    return check_sessions(build, runs, feeds, rtol=rtol, atol=rtol, refused=refused, note=op_name)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_uniform_numbers_are_tensorflows(dtype: Any, seeds: tuple[int, int]) -> None:
    for count in COUNTS:
        check("RandomUniform", shape=ints(count), dtype=dtype, seeds=seeds, rtol=0)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_normal_numbers_are_tensorflows(dtype: Any, seeds: tuple[int, int]) -> None:
    for count in COUNTS:
        check("RandomStandardNormal", shape=ints(count), dtype=dtype, seeds=seeds, rtol=CLOSE[dtype])


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_truncated_normal_numbers_are_tensorflows(dtype: Any, seeds: tuple[int, int]) -> None:
    for count in COUNTS:
        check("TruncatedNormal", shape=ints(count), dtype=dtype, seeds=seeds, rtol=CLOSE[dtype])


def test_shapes_of_any_rank_are_filled() -> None:
    for shape in ([], [2, 3, 5], [1, 1], [4, 0, 2]):
        check("RandomUniform", shape=np.array(shape, np.int64), dtype=tf.float32, rtol=0)


def test_shapes_that_are_none_are_refused() -> None:
    for shape in (np.array(3, np.int32), ints(2, -1)):
        check("RandomUniform", shape=shape, dtype=tf.float32, refused=True)
        check("RandomGamma", shape=shape, alpha=np.ones(2, np.float32), refused=True)
        check("RandomPoissonV2", shape=shape, rate=np.ones(2, np.float32), dtype=tf.int32, refused=True)
    with pytest.raises(ValueError, match="found int32"):
        registry.lookup("RandomUniform").bind("op", {"dtype": dtypes.INT32}, {})


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_are_tensorflows(dtype: Any) -> None:
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    for low, high in ((0, 10), (-5, 77), (lowest, highest), (highest - 1, highest), (lowest, lowest + 1)):
        for count in (0, 1, 2, 3, 5, 1003):
            bounds = {"minval": np.array(low, dtype), "maxval": np.array(high, dtype)}
            check("RandomUniformInt", shape=ints(count), **bounds)


def test_integers_from_an_empty_range_are_refused_unless_none_is_asked_for() -> None:
    three, four = np.array(3, np.int32), np.array(4, np.int32)
    check("RandomUniformInt", shape=ints(2), minval=three, maxval=three, refused=True)
    check("RandomUniformInt", shape=ints(2), minval=four, maxval=three, refused=True)
    check("RandomUniformInt", shape=ints(0), minval=four, maxval=three)
    check("RandomUniformInt", shape=ints(2), minval=ints(3), maxval=four, refused=True)
    check("RandomUniformInt", shape=ints(2), minval=three, maxval=ints(4), refused=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gamma_numbers_are_tensorflows(dtype: Any) -> None:
    alpha = np.array([[0.1, 0.5, 0.99, 1], [1.01, 3, 100, 0]], dtype)
    check("RandomGamma", shape=ints(400, 3), alpha=alpha)
    check("RandomGamma", shape=ints(4000), alpha=np.array(0.7, dtype))  # more than are drawn at a time
    check("RandomGamma", shape=ints(3), alpha=np.zeros([0], dtype))
    check("RandomGamma", shape=ints(0, 3), alpha=alpha)
    check("RandomGamma", shape=ints(), alpha=alpha)


@pytest.mark.parametrize("rate", [np.float16, np.float32, np.float64, np.int32, np.int64])
def test_poisson_numbers_are_tensorflows(rate: Any) -> None:
    rates = np.array([[0.1, 0.5, 0.99, 1.01, 3], [9.9, 10, 10.1, 1000, 0]]).astype(rate)
    for dtype in (tf.float16, tf.float32, tf.float64, tf.int32, tf.int64):
        check("RandomPoissonV2", shape=ints(100, 3), rate=rates, dtype=dtype)
    check("RandomPoissonV2", shape=ints(3), rate=rates[:0], dtype=tf.int32)
    check("RandomPoissonV2", shape=ints(), rate=rates)


def test_poisson_rates_without_numbers_are_refused() -> None:
    kernel = registry.lookup("RandomPoissonV2").bind("op", {}, {})
    for rate in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"rates must be finite, found {rate}"):
            kernel(KernelState(), ints(3), np.array([1.0, rate]))


def test_the_old_poisson_op_is_the_new_one_with_the_rates_dtype() -> None:
    # TensorFlow no longer builds RandomPoisson; graphs older than version 25 hold it.
    attributes = {"seed": 3, "seed2": 4, "dtype": dtypes.FLOAT}
    old, new = (
        registry.lookup(name).bind("op", attributes, {})(KernelState(), ints(50), np.float32([2, 20]))
        for name in ("RandomPoisson", "RandomPoissonV2")
    )
    assert old.dtype == np.float32
    assert np.array_equal(old, new)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_multinomial_classes_are_tensorflows(dtype: Any) -> None:
    logits = (np.random.RandomState(1).randn(7, 30) * 3).astype(dtype.as_numpy_dtype)
    logits[2, 3], logits[3, 4], logits[5], logits[6], logits[6, 3] = np.inf, -np.inf, np.nan, -np.inf, 2
    # Few enough that TensorFlow doesn't split them among threads (less than 110 000 cycles by its count).
    for samples in (0, 1, 3, 4, 16, 17, 40):
        check("Multinomial", logits=logits, num_samples=np.array(samples, np.int32))
    check("Multinomial", logits=logits[:1], num_samples=np.array(3001, np.int32))
    check("Multinomial", logits=logits, num_samples=np.array(5, np.int32), output_dtype=tf.int32)
    check("Multinomial", logits=logits[:0], num_samples=np.array(5, np.int32))


def test_multinomial_refuses_what_has_no_classes() -> None:
    logits, four = np.zeros((2, 3), np.float32), np.array(4, np.int32)
    check("Multinomial", logits=logits[:, :0], num_samples=four, refused=True)
    check("Multinomial", logits=logits[0], num_samples=four, refused=True)
    check("Multinomial", logits=logits, num_samples=np.array(-1, np.int32), refused=True)
    check("Multinomial", logits=logits, num_samples=ints(4), refused=True)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(10),
        np.arange(1001.0).reshape(-1, 7),
        np.array([b"a", b"b", b"c", b"d"], object),
        np.arange(2) > 0,
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.array(3.0),
        np.arange(3).reshape(1, 3),
        np.arange(24, dtype=np.uint8).reshape(4, 3, 2),
    ],
    ids=lambda v: f"{v.dtype}{v.shape}",
)
def test_shuffling_is_tensorflows(value: np.ndarray) -> None:
    check("RandomShuffle", value=value, rtol=0)


BOUNDS = [
    (0, 1, -1, 1),  # each sampler in turn: by uniform,
    (0, 1, -5, 5),  # by normal,
    (0, 1, 2, np.inf),  # by exponential,
    (0, 2, -np.inf, -3),  # mirrored,
    (1, 3, 1.1, 1.2),
    (5, 1, -1, 0),
    (0, 1, 5, 5.1),
    (0, 1, 0.5, 1),
]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_normal_numbers_between_bounds_are_tensorflows(dtype: Any, bounds: tuple[float, ...]) -> None:
    names = ("means", "stdevs", "minvals", "maxvals")
    parameters = {name: np.array(value, dtype) for name, value in zip(names, bounds, strict=True)}
    for shape in ((503,), (9, 55), (3,), (0, 4)):  # TensorFlow splits more among threads
        check("ParameterizedTruncatedNormal", 2, shape=ints(*shape), **parameters)


def test_bounds_may_differ_from_batch_to_batch() -> None:
    one = np.float32
    given = {
        "means": np.array([0, 1, 2], one),
        "stdevs": np.array([1], one),
        "minvals": np.array(-1, one),
        "maxvals": np.array([2, 3, np.inf], one),
    }
    check("ParameterizedTruncatedNormal", shape=ints(3, 50), **given)
    check("ParameterizedTruncatedNormal", shape=ints(3), **given)
    wrong = {
        "means": [np.array([0, 1], one), np.zeros((3, 1), one), np.zeros(0, one)],
        "stdevs": [np.array(0, one), np.array(-1, one)],
        "minvals": [np.array(5, one), np.array(np.inf, one)],
    }
    for name, values in wrong.items():
        for value in values:
            check("ParameterizedTruncatedNormal", 1, True, shape=ints(3, 50), **{**given, name: value})
    check("ParameterizedTruncatedNormal", 1, True, shape=ints(), **given)


def test_without_seeds_each_node_and_each_model_draws_fresh_numbers() -> None:
    for name in ("RandomUniform", "RandomStandardNormal", "TruncatedNormal"):
        kernel = registry.lookup(name).bind("op", {"dtype": dtypes.FLOAT, "seed": 0, "seed2": 0}, {})
        one, other = KernelState(), KernelState()
        draws = [kernel(one, ints(4)), kernel(one, ints(4)), kernel(other, ints(4))]
        assert len({d.tobytes() for d in draws}) == 3


@pytest.mark.parametrize(("op_name", "sampler"), [("RandomGamma", gamma), ("RandomPoissonV2", poisson)])
def test_numbers_drawn_ahead_are_those_that_each_run_would_draw(op_name: str, sampler: Any) -> None:
    attributes = {"T": dtypes.FLOAT, "dtype": dtypes.FLOAT, "seed": 5, "seed2": 6}
    kernel, state, stream = registry.lookup(op_name).bind("op", attributes, {}), KernelState(), seeded(5, 6)
    two, many = np.array([0.5, 13], np.float32), np.linspace(0.1, 20, 300, dtype=np.float32)
    # Repeated, changed, for another shape, too many to be drawn ahead, none.
    asked = [(3, two)] * 20 + [(3, two * 2), (3, two), (3, two), (2, two), (2, many), (2, two[:0]), (2, two), (2, two)]
    for samples, parameter in asked:
        found = kernel(state, ints(samples), parameter)
        expected = sampler(stream, parameter, samples, np.dtype(np.float32)).T.reshape(samples, parameter.size)
        np.testing.assert_array_equal(found, expected, strict=True)
        stream = stream.skip(samples * parameter.size * RESERVED)


def test_shuffles_drawn_ahead_are_those_that_each_run_would_draw() -> None:
    kernel = registry.lookup("RandomShuffle").bind("op", {"seed": 5, "seed2": 6}, {})
    state, stream = KernelState(), seeded(5, 6)
    for length in [9] * 20 + [4, 9, 9, 2, 1, 0, 3000, 9, 9]:
        found = kernel(state, np.arange(length))
        if length > 1:
            np.testing.assert_array_equal(found, shuffled(np.arange(length), stream))
            stream = stream.skip((length + 2) // 4)


def test_a_generator_goes_on_from_run_to_run() -> None:
    theirs = check("RandomUniform", shape=ints(100), dtype=tf.float32, rtol=0)
    assert not np.array_equal(theirs[0][0], theirs[1][0])
