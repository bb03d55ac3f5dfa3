"""What callers feed, as the arrays that a graph takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import graphrack as gr
from graphrack.engines.feeds import converter
from graphrack.formats.dtypes import DTYPES, UNKNOWN
from graphrack.formats.tensor_spec import TensorSpec

FLOAT, DOUBLE, INT32, UINT8, STRING, COMPLEX, INT64, BOOL, BFLOAT16, HALF = (
    DTYPES[i] for i in (1, 2, 3, 4, 7, 8, 9, 10, 14, 19)
)


def convert(value: Any, dtype: Any = FLOAT, shape: Any = None) -> Any:
    return converter(TensorSpec("x:0", dtype, shape))(value)


@pytest.mark.parametrize(
    "value", [1, 1.5, True, [1, 2], (1.0, 2), np.int8(3), np.array([1, 2], np.uint64), np.float64(2)]
)
def test_numbers_become_floats(value: Any) -> None:
    found = convert(value)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.asarray(value, np.float32))


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (1.5, INT32, "float64 values"),
        ([1, 300], UINT8, "from 1 to 300"),
        (-1, UINT8, "can't hold"),
        (2**40, INT32, "can't hold"),
        ("a", FLOAT, "string"),
        ([b"a"], INT64, "string"),
        (1j, FLOAT, "complex128 values"),
        (1, BOOL, "int64 values"),
        (True, INT32, "bool values"),
        (5, STRING, "int"),
        ([b"a", None], STRING, "NoneType"),
        (None, FLOAT, "object"),
        ([[1], [2, 3]], FLOAT, "no array of float32"),
        (object(), FLOAT, "object"),
        ({"a": 1}, FLOAT, "object"),
    ],
)
def test_values_of_another_kind_are_refused_with_both_kinds(value: Any, dtype: Any, words: str) -> None:
    with pytest.raises(gr.FeedError, match=rf"'x:0' takes {dtype}; it was fed .*{words}.*convert them first"):
        convert(value, dtype)


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=3), elements=st.integers(-(2**40), 2**40)))
def test_integers_are_converted_where_every_value_fits_and_never_wrapped(value: Any) -> None:
    fits = value.size == 0 or (value.min() >= -(2**31) and value.max() < 2**31)
    if fits:
        found = convert(value, INT32)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, value)
    else:
        with pytest.raises(gr.FeedError):
            convert(value, INT32)


@pytest.mark.parametrize("dtype", [HALF, BFLOAT16, FLOAT, DOUBLE, COMPLEX])
def test_floats_go_into_any_float_with_its_precision(dtype: Any) -> None:
    found = convert([1.5, -2.25, 1e4], dtype)
    assert found.dtype == dtype.numpy
    assert found[:2].astype(complex).tolist() == [1.5, -2.25]


def test_arrays_of_the_right_dtype_are_taken_as_they_are() -> None:
    array = np.ones((2, 3), np.float32)
    assert convert(array) is array
    assert convert(array, FLOAT, (None, 3)) is array


@pytest.mark.parametrize(
    ("declared", "fed", "fits"),
    [
        (None, (), True),
        (None, (1, 2, 3), True),
        ((), (), True),
        ((), (1,), False),
        ((None, 3), (0, 3), True),
        ((None, 3), (5, 3), True),
        ((None, 3), (5, 4), False),
        ((None, 3), (3,), False),
        ((2,), (2, 1), False),
    ],
)
def test_shapes_are_checked_where_they_are_declared(declared: Any, fed: Any, fits: bool) -> None:
    value = np.zeros(fed, np.float32)
    if fits:
        assert convert(value, FLOAT, declared).shape == fed
    else:
        with pytest.raises(gr.FeedError, match=r"takes shape \[.*\]; it was fed \["):
            convert(value, FLOAT, declared)


@pytest.mark.parametrize(
    "value", ["ä", b"\xff\0", ["a", b"b"], np.array(["a", "bc"]), np.array([b"a"]), np.array([["a"]], object), [], [[]]]
)
def test_text_becomes_bytes(value: Any) -> None:
    found = convert(value, STRING)
    assert found.dtype == object
    assert found.shape == np.shape(value)
    plain = [v.encode() if isinstance(v, str) else bytes(v) for v in np.asarray(value, object).ravel()]
    assert found.ravel().tolist() == plain


def test_an_empty_list_fits_every_dtype() -> None:
    for dtype in (FLOAT, INT32, STRING, BOOL, COMPLEX):
        assert convert([], dtype).shape == (0,)


def test_what_has_no_known_dtype_is_taken_as_it_is() -> None:
    thing = object()
    assert convert(thing, UNKNOWN) is thing


def test_what_turns_into_arrays_is_fed_as_one() -> None:
    class Tensorlike:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.array([1.0, 2.0])

    assert convert(Tensorlike()).tolist() == [1, 2]
    assert convert(range(3), INT64).tolist() == [0, 1, 2]
    assert convert(memoryview(b"ab"), UINT8).tolist() == [97, 98]
