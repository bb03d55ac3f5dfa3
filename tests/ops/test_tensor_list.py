"""TensorLists are values: what they hold, what changing one costs, what TensorFlow refuses."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given
from hypothesis import strategies as st
from ops.harness import Refused, compare
from ops.session import sessions

from graphrack.formats.dtypes import DOUBLE, FLOAT, VARIANT
from graphrack.ops import _lists
from graphrack.ops._lists import TensorList, variant_sum, variant_zeros_like

raw = tf.raw_ops
DTYPES = ("float32", "float64", "int32", "bool", "string", "float16", "complex64", "uint8", "bfloat16")
UNKNOWN = np.int32(-1)


def hidden(value: Any) -> Any:
    """A tensor of which nothing is known before it runs."""
    return tf.placeholder_with_default(value, None)


def values(dtype: str, *shape: int) -> Any:
    count = int(np.prod(shape))
    if dtype == "string":
        data: Any = np.array([b"v%d" % i for i in range(count)], object).reshape(shape)
    else:
        data = (np.arange(count).reshape(shape) % 7 - 2).astype(tf.as_dtype(dtype).as_numpy_dtype)
    return tf.constant(data, dtype)


def judge(build: Callable[[], list[Any]], refused: bool = False) -> None:
    """Runs what `build` makes both ways: both refuse it, or give the same."""
    theirs, ours = sessions(build)
    (expected,), (found,) = theirs, ours
    assert isinstance(expected, Refused) is refused, f"TensorFlow: {expected}"
    assert isinstance(found, Refused) is refused, f"{found}; TensorFlow: {expected}"
    if not isinstance(expected, Refused):
        for our, their in zip(found, expected, strict=True):
            compare(our, their)


def empty(shape: Any = UNKNOWN, dtype: str = "float32", limit: int = -1) -> Any:
    return raw.EmptyTensorList(element_shape=hidden(shape), max_num_elements=limit, element_dtype=dtype)


def reserved(count: int, shape: Any = UNKNOWN, dtype: str = "float32") -> Any:
    return raw.TensorListReserve(element_shape=hidden(shape), num_elements=hidden(np.int32(count)), element_dtype=dtype)


def push(handle: Any, value: Any) -> Any:
    return raw.TensorListPushBack(input_handle=handle, tensor=hidden(value))


def stack(handle: Any, dtype: str = "float32", shape: Any = UNKNOWN, count: int = -1) -> Any:
    return raw.TensorListStack(
        input_handle=handle, element_shape=hidden(shape), element_dtype=dtype, num_elements=count
    )


def item(handle: Any, index: int, dtype: str = "float32", shape: Any = UNKNOWN) -> Any:
    return raw.TensorListGetItem(
        input_handle=handle, index=hidden(np.int32(index)), element_shape=hidden(shape), element_dtype=dtype
    )


def put(handle: Any, index: int, value: Any, resize: bool = False) -> Any:
    return raw.TensorListSetItem(
        input_handle=handle, index=hidden(np.int32(index)), item=hidden(value), resize_if_index_out_of_bounds=resize
    )


def from_tensor(value: Any, shape: Any = UNKNOWN) -> Any:
    return raw.TensorListFromTensor(tensor=hidden(value), element_shape=hidden(shape))


# ---- Values ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_list_that_is_pushed_to_stays_as_it_was(dtype: str) -> None:
    def build() -> list[Any]:
        data = values(dtype, 3, 2)
        one = push(empty(dtype=dtype), data[0])
        two = push(one, data[1])
        other = push(one, data[2])
        popped = raw.TensorListPopBack(input_handle=two, element_shape=UNKNOWN, element_dtype=dtype)
        stacks = [stack(v, dtype) for v in (two, other, one, popped.output_handle, push(popped.output_handle, data[2]))]
        return [*stacks, popped.tensor, raw.TensorListLength(input_handle=one), item(two, 1, dtype)]

    judge(build)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 2), (3,), (2, 0), (0, 2)], ids=str)
def test_tensors_become_lists_and_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    def build() -> list[Any]:
        data = values(dtype, *shape)
        found = from_tensor(data, np.array(shape[1:], np.int32))
        results = [stack(found, dtype), raw.TensorListLength(input_handle=found)]
        if shape[0]:
            results.append(put_all(found, data, dtype))
            results.append(item(found, shape[0] - 1, dtype))
        return results

    judge(build)


def put_all(handle: Any, data: Any, dtype: str) -> Any:
    return stack(put(put(handle, 0, data[-1]), 0, data[0]), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_are_gathered_scattered_split_and_concatenated(dtype: str) -> None:
    def build() -> list[Any]:
        data = values(dtype, 4, 2)
        indices = hidden(np.array([3, 0, 1, 5], np.int32))
        scattered = raw.TensorListScatter(tensor=hidden(data), indices=indices, element_shape=np.array([2], np.int32))
        second = raw.TensorListScatterV2(
            tensor=hidden(data), indices=indices, element_shape=np.array([-1], np.int64), num_elements=8
        )
        more = raw.TensorListScatterIntoExistingList(
            input_handle=from_tensor(data), tensor=hidden(data), indices=indices
        )
        gathered = raw.TensorListGather(
            input_handle=scattered, indices=[5, 0, 3], element_shape=UNKNOWN, element_dtype=dtype
        )
        pieces = raw.TensorListSplit(
            tensor=hidden(data), element_shape=np.array([-1, 2], np.int32), lengths=hidden(np.array([1, 0, 3]))
        )
        first = raw.TensorListConcat(input_handle=pieces, element_dtype=dtype)
        joined = raw.TensorListConcatV2(
            input_handle=pieces,
            element_shape=np.array([-1, 2]),
            leading_dims=np.zeros(0, np.int64),
            element_dtype=dtype,
        )
        both = raw.TensorListConcatLists(input_a=second, input_b=second, element_dtype=dtype)
        return [
            gathered,
            item(pieces, 2, dtype),
            *first,
            *joined,
            stack(both, dtype),
            *(stack(v, dtype) for v in (scattered, second)),
            *(item(more, i, dtype) for i in (0, 1, 2, 3, 5)),
        ]

    judge(build)


@pytest.mark.parametrize("shape_type", [np.int32, np.int64])
@pytest.mark.parametrize("shape", [-1, [], [2], [-1, 3]], ids=str)
def test_lists_know_their_elements_shape(shape: Any, shape_type: Any) -> None:
    def build() -> list[Any]:
        found = empty(np.array(shape, shape_type))
        return [raw.TensorListElementShape(input_handle=found, shape_type=shape_type)]

    judge(build)


def test_elements_without_values_are_zeros() -> None:
    def build() -> list[Any]:
        found = reserved(3, np.array([-1], np.int32))
        some = put(found, 1, np.ones(2, np.float32))
        rows = reserved(3, np.array([-1, 2], np.int32))
        pieces = put(rows, 1, np.ones((1, 2), np.float32))
        joined = raw.TensorListConcatV2(
            input_handle=pieces,
            element_shape=np.array([-1, 2]),
            leading_dims=np.array([2, 9, 1]),
            element_dtype="float32",
        )
        inferred = raw.TensorListConcatV2(
            input_handle=pieces,
            element_shape=np.array([-1, 2]),
            leading_dims=np.zeros(0, np.int64),
            element_dtype="float32",
        )
        popped = raw.TensorListPopBack(input_handle=some, element_shape=[2], element_dtype="float32")
        return [
            item(found, 0, shape=np.array([4], np.int32)),
            item(some, 0),
            stack(some),
            stack(found, shape=np.array([2], np.int32)),
            popped.tensor,
            *joined,
            *inferred,
        ]

    judge(build)


@pytest.mark.parametrize("size", [0, 1, 3, 6])
def test_lists_are_resized(size: int) -> None:
    def build() -> list[Any]:
        found = from_tensor(np.arange(6, dtype=np.float32).reshape(3, 2))
        resized = raw.TensorListResize(input_handle=found, size=hidden(np.int32(size)))
        grown = put(found, 4, np.ones(2, np.float32), resize=True)
        return [stack(resized, shape=np.array([2], np.int32)), stack(found), stack(grown)]

    judge(build)


def test_lists_in_a_tensor_are_pushed_to_together() -> None:
    def build() -> list[Any]:
        lists = tf.stack([push(empty(), np.float32(1)), empty()])
        more = raw.TensorListPushBackBatch(input_handles=lists, tensor=hidden(np.array([5, 6], np.float32)))
        first, second = tf.unstack(more, num=2)
        both = raw.TensorListConcatLists(input_a=more, input_b=more, element_dtype="float32")
        return [stack(first), stack(second), stack(both[1])]

    judge(build)


def test_lists_of_lists() -> None:
    def build() -> list[Any]:
        inner = push(push(empty(), np.float32(1)), np.float32(2))
        outer = raw.TensorListPushBack(input_handle=empty(dtype="variant"), tensor=inner)
        outer = raw.TensorListPushBack(input_handle=outer, tensor=push(inner, np.float32(3)))
        stacked = stack(outer, "variant")
        zeros = raw.ZerosLike(x=outer)
        total = raw.AddN(inputs=[outer, outer])
        return [
            stack(item(outer, 0, "variant")),
            stack(item(outer, 1, "variant")),
            stack(stacked[1]),
            stack(item(zeros, 1, "variant")),
            stack(item(total, 1, "variant")),
        ]

    judge(build)


def test_lists_are_added_up() -> None:
    def build() -> list[Any]:
        one = from_tensor(np.array([[1, 2], [3, 4]], np.float32))
        unset = put(reserved(2, np.array([2], np.int32)), 0, np.array([9, 9], np.float32))
        return [
            stack(raw.AddN(inputs=[one, unset, one])),
            stack(raw.AddN(inputs=[unset, one])),
            stack(raw.ZerosLike(x=one)),
        ]

    judge(build)


# ---- Refusals ----

ONE = np.float32(1)
PAIR = np.ones(2, np.float32)
WRONG: dict[str, Callable[[], Any]] = {
    "pop of nothing": lambda: (
        raw.TensorListPopBack(input_handle=empty(), element_shape=UNKNOWN, element_dtype="float32").tensor
    ),
    "item beyond the end": lambda: item(push(empty(), ONE), 1),
    "set beyond the end": lambda: stack(put(push(empty(), ONE), 1, ONE)),
    "push of another shape": lambda: stack(push(empty(np.array([3], np.int32)), PAIR)),
    "push of another dtype": lambda: stack(hidden(push(hidden(empty()), np.int32(1)))),
    "push into a full list": lambda: stack(push(push(empty(limit=1), ONE), ONE)),
    "set of another shape": lambda: stack(put(reserved(1, np.array([3], np.int32)), 0, PAIR)),
    "item of another dtype": lambda: item(hidden(push(empty(), ONE)), 0, "int32"),
    "stack of another dtype": lambda: stack(hidden(push(empty(), ONE)), "int32"),
    "stack of another count": lambda: stack(push(empty(), ONE), count=2),
    "stack of nothing": lambda: stack(empty()),
    "stack of no values": lambda: stack(reserved(2)),
    "stack of different shapes": lambda: stack(push(push(empty(), ONE), PAIR)),
    "stack as another shape": lambda: stack(push(empty(), PAIR), shape=np.array([3], np.int32)),
    "item without a value or shape": lambda: item(reserved(2), 0),
    "negative count": lambda: stack(reserved(-1)),
    "negative size": lambda: stack(raw.TensorListResize(input_handle=empty(), size=hidden(np.int32(-1)))),
    "shape is another scalar": lambda: stack(push(empty(np.int32(3)), ONE)),
    "rows of another shape": lambda: stack(from_tensor(np.ones((2, 2), np.float32), np.array([3], np.int32))),
    "rows of a scalar": lambda: stack(from_tensor(ONE)),
    "scatter of too few": lambda: stack(
        raw.TensorListScatter(tensor=hidden(PAIR), indices=hidden(np.array([0], np.int32)), element_shape=UNKNOWN)
    ),
    "scatter to a negative index": lambda: stack(
        raw.TensorListScatter(tensor=hidden(PAIR), indices=hidden(np.array([0, -1], np.int32)), element_shape=UNKNOWN)
    ),
    "scatter beyond the end": lambda: stack(
        raw.TensorListScatterV2(
            tensor=hidden(PAIR), indices=hidden(np.array([0, 2], np.int32)), element_shape=UNKNOWN, num_elements=2
        )
    ),
    "split lengths too short": lambda: stack(
        raw.TensorListSplit(tensor=hidden(PAIR), element_shape=UNKNOWN, lengths=hidden(np.array([1])))
    ),
    "split lengths too long": lambda: stack(
        raw.TensorListSplit(tensor=hidden(PAIR), element_shape=UNKNOWN, lengths=hidden(np.array([3])))
    ),
    "concat of scalars": lambda: raw.TensorListConcat(input_handle=push(empty(), ONE), element_dtype="float32")[0],
    "concat of nothing": lambda: raw.TensorListConcat(input_handle=empty(), element_dtype="float32")[0],
    "concat of different shapes": lambda: raw.TensorListConcat(
        input_handle=push(push(empty(), np.ones((1, 2), np.float32)), np.ones((1, 3), np.float32)),
        element_dtype="float32",
    )[0],
    "concat of no values": lambda: raw.TensorListConcat(
        input_handle=reserved(2, np.array([-1, 2], np.int32)), element_dtype="float32"
    )[0],
    "lists of different element shapes": lambda: stack(
        raw.TensorListConcatLists(
            input_a=empty(np.array([2], np.int32)), input_b=empty(np.array([3], np.int32)), element_dtype="float32"
        )
    ),
    "zeros of a vector of lists": lambda: stack(tf.zeros_like(hidden(tf.stack([empty(), empty()])))[0]),
    "sum of vectors of lists": lambda: stack(raw.AddN(inputs=[tf.stack([empty()])] * 2)[0]),
    "sum of different lengths": lambda: stack(raw.AddN(inputs=[push(empty(), ONE), empty()])),
    "sum of different shapes": lambda: stack(raw.AddN(inputs=[push(empty(), ONE), push(empty(), PAIR)])),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_tensorflow_refuses_is_refused(case: str) -> None:
    judge(lambda: [WRONG[case]()], refused=True)


# ---- Versions of one list ----


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["push", "pop", "set", "resize"]), st.integers(0, 9))))
def test_every_version_keeps_its_elements(changes: list[tuple[int, str, int]]) -> None:
    versions = [(TensorList(FLOAT, (), []), [])]  # type: tuple[TensorList, list[Any]]
    for i, (which, change, n) in enumerate(changes):
        found, expected = versions[which % len(versions)]
        if change == "push":
            versions.append((found.push(i), [*expected, i]))
        elif change == "resize":
            versions.append((found.resized(n), expected[:n] + [None] * (n - len(expected))))
        elif expected and change == "pop":
            versions.append((found.pop()[0], expected[:-1]))
        elif expected:
            k = n % len(expected)
            versions.append((found.set(k, i), [*expected[:k], i, *expected[k + 1 :]]))
        read, expected = versions[(which * 7 + n) % len(versions)]
        assert read.items() == expected
    for found, expected in versions:
        assert found.length == len(expected)
        assert found.items() == expected


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.mark.parametrize("keep_first", [False, True])
def test_a_change_costs_the_same_whatever_the_length(keep_first: bool) -> None:
    def run(count: int) -> TensorList:
        found = first = TensorList(FLOAT, (), [])
        for i in range(count):
            found = found.push(i)
        for i in range(count):
            found = found.set(i, -i)
        for _ in range(count // 2):
            found, _ = found.pop()
        assert not keep_first or first.length == 0
        return found

    run(1000)
    short = min(_seconds(lambda: run(1_000)) for _ in range(5))
    long = min(_seconds(lambda: run(50_000)) for _ in range(3))
    # Far from the 2500 times of changes that copy, and from what a busy machine makes of 50 times.
    assert long < 1000 * short, "50 times as many changes should take about 50 times as long"


def test_an_early_version_keeps_no_tail_of_changes() -> None:
    first = TensorList(FLOAT, (), [0] * 10)
    found = first
    tracemalloc.start()
    for i in range(20_000):
        found = found.set(i % 10, i)
    # Of lists alone: other threads may be at something meanwhile.
    traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, _lists.__file__)])
    tracemalloc.stop()
    assert 0 < sum(one.size for one in traces.statistics("filename")) < 100_000
    assert first.items() == [0] * 10


def test_long_chains_of_versions_are_let_go_of() -> None:
    versions = [TensorList(FLOAT, (), [])]
    for i in range(50_000):
        versions.append(versions[-1].push(i))
    first = versions[0]
    versions.clear()  # deeper than the interpreter's stack
    assert sys.getrecursionlimit() < 50_000
    assert first.items() == []


def test_two_versions_in_turn_cost_one_copy() -> None:
    start = TensorList(FLOAT, (), list(range(20_000)))
    end = start
    for i in range(10_000):
        end = end.set(i, -1)

    def in_turn() -> None:
        for _ in range(200):
            assert start.items()[0] == 0
            assert end.items()[0] == -1

    in_turn()
    assert _seconds(in_turn) < 0.05


def test_sums_and_zeros_leave_the_lists_alone() -> None:
    one = TensorList(FLOAT, (2,), [np.ones(2, np.float32)])
    outer = TensorList(VARIANT, (), [one, None])
    assert variant_zeros_like(outer).items()[0].items()[0].tolist() == [0, 0]
    assert variant_sum(outer, outer).items()[0].items()[0].tolist() == [2, 2]
    assert variant_sum(outer, outer).items()[1] is None
    assert one.items()[0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="dtype float32, the op expects float64"):
        one.expect(DOUBLE)
