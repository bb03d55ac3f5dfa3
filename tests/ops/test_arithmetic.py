"""Arithmetic of two or more tensors against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.operands import COMPLEX, FLOATS, INTS, NUMBERS, REAL, SHAPES, SIGNED, grid, name, sample, special

BINARY: dict[str, tuple[Any, ...]] = {
    "Add": FLOATS + COMPLEX + SIGNED + (np.uint8,),
    "AddV2": NUMBERS,
    "Sub": NUMBERS,
    "Mul": NUMBERS,
    "Div": NUMBERS,
    "RealDiv": FLOATS + COMPLEX,
    "FloorDiv": REAL,
    "TruncateDiv": REAL,
    "FloorMod": REAL,
    "Mod": (np.float32, np.float64, np.int32, np.int64),
    "TruncateMod": (np.float32, np.float64, np.int32, np.int64),
    "MulNoNan": FLOATS + COMPLEX,
    "DivNoNan": FLOATS + COMPLEX,
    "Xdivy": FLOATS + COMPLEX,
    "Xlogy": FLOATS + COMPLEX,
    "Xlog1py": FLOATS + COMPLEX,
    "SquaredDifference": (*FLOATS, *COMPLEX, np.int32, np.int64),
    "Maximum": REAL,
    "Minimum": REAL,
    "Atan2": FLOATS,
    "NextAfter": (np.float32, np.float64),
}
INPUTS = {"Atan2": ("y", "x"), "NextAfter": ("x1", "x2")}
DIVISIONS = {"Div", "FloorDiv", "TruncateDiv", "FloorMod", "Mod", "TruncateMod"}
CASES = [pytest.param(op, dtype, id=f"{op}-{name(dtype)}") for op, dtypes in BINARY.items() for dtype in dtypes]


def both(op: str, left: Any, right: Any, **more: Any) -> None:
    x, y = INPUTS.get(op, ("x", "y"))
    check(op, **{x: left, y: right}, **more)


@pytest.mark.parametrize(("op", "dtype"), CASES)
def test_binary_op_agrees_over_shapes(op: str, dtype: Any) -> None:
    random = np.random.default_rng(1)
    positive = op in {"Xlogy", "Xlog1py"}
    for left, right in SHAPES:
        x, y = (sample(random, shape, dtype, low=0.1 if positive else -4) for shape in (left, right))
        if op in DIVISIONS and np.dtype(dtype).kind in "iu":
            y = np.where(y == 0, y.dtype.type(3), y)
        both(op, x, y)


@pytest.mark.parametrize(("op", "dtype"), [c for c in CASES if np.dtype(c.values[1]).kind != "c"])
def test_binary_op_agrees_on_special_values(op: str, dtype: Any) -> None:
    x, y = grid(special(dtype))
    if op in DIVISIONS and np.dtype(dtype).kind in "iu":
        x, y = x[y != 0], y[y != 0]
    both(op, x, y)


@pytest.mark.parametrize("op", sorted(DIVISIONS))
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integer_division_by_zero_is_refused(op: str, dtype: Any) -> None:
    check(op, x=np.array([4, 5], dtype), y=np.array([2, 0], dtype), refused=True)
    check(op, x=np.zeros((0,), dtype), y=dtype(0), refused=False)


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
@pytest.mark.parametrize("op", ["MulNoNan", "DivNoNan", "Xdivy", "Xlogy", "Xlog1py", "Div"])
def test_zero_operands_agree(op: str, dtype: Any) -> None:
    both(op, np.array([0, 0, 0, 1, 2], dtype), np.array([0, 1, 2, 0, 0], dtype))


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX + SIGNED)
def test_pow_agrees(dtype: Any) -> None:
    random = np.random.default_rng(3)
    integers = np.dtype(dtype).kind == "i"
    for left, right in SHAPES:
        x = sample(random, left, dtype, low=0.1)
        y = np.asarray(random.integers(0, 6, right)).astype(dtype) if integers else sample(random, right, dtype)
        check("Pow", x=x, y=y, rtol=3e-5 if dtype is np.complex64 else None)
    if integers:
        check("Pow", x=np.array([1, 2], dtype), y=np.array([2, -1], dtype), refused=True)
        check("Pow", x=np.arange(-5, 6).astype(dtype), y=np.full(11, 3, dtype))
    elif np.dtype(dtype).kind != "c":
        check("Pow", **dict(zip("xy", grid(special(dtype)), strict=True)))
        numbers = np.concatenate([special(dtype), sample(random, (40,), dtype)])
        for power in (-3, -2, -1, 0, 1, 2, 3, 4, 7, 10, 0.5, -1.5, 1001, np.inf, -np.inf, np.nan):
            check("Pow", x=numbers, y=np.asarray(power, dtype))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_add_n_agrees(count: int, dtype: Any) -> None:
    random = np.random.default_rng(count)
    for shape in ((), (3,), (2, 0), (2, 3)):
        check("AddN", inputs=[sample(random, shape, dtype) for _ in range(count)])


def test_add_n_refuses_shapes_that_differ() -> None:
    check("AddN", inputs=[np.ones(2, np.float32), np.ones(1, np.float32)], refused=True)
    check("AddN", inputs=[np.ones((), np.float32), np.ones(1, np.float32)], refused=True)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_accumulate_n_agrees(dtype: Any) -> None:
    random = np.random.default_rng(0)
    inputs = [sample(random, (2, 3), dtype) for _ in range(3)]
    check("AccumulateNV2", inputs=inputs, shape=[2, 3], static_shapes=True)


def test_add_joins_strings() -> None:
    x = np.array([[b"a", b"", b"\x00\xff"]], dtype=object)
    check("Add", x=x, y=np.array([[b"x"], [b"yy"]], dtype=object))
    check("Add", x=np.array(b"a", dtype=object), y=np.array(b"b", dtype=object))


@pytest.mark.parametrize("dtype", [*FLOATS, *SIGNED, np.uint8, np.uint16, *COMPLEX])
def test_clip_by_value_agrees(dtype: Any) -> None:
    random = np.random.default_rng(5)
    t = sample(random, (4, 5), dtype)
    low, high = (np.asarray(v).astype(dtype) for v in (1, 3))
    check("ClipByValue", t=t, clip_value_min=low, clip_value_max=high)
    check("ClipByValue", t=t, clip_value_min=high, clip_value_max=low)
    check(
        "ClipByValue",
        t=t,
        clip_value_min=sample(random, (4, 5), dtype),
        clip_value_max=sample(random, (4, 5), dtype),
    )
    check("ClipByValue", t=t, clip_value_min=sample(random, (4, 5), dtype), clip_value_max=high)
    check("ClipByValue", t=t, clip_value_min=low, clip_value_max=sample(random, (4, 5), dtype))
    check("ClipByValue", t=t, clip_value_min=sample(random, (5,), dtype), clip_value_max=high, refused=True)
    check("ClipByValue", t=t[0, 0], clip_value_min=low, clip_value_max=high)
    check("ClipByValue", t=t[:0], clip_value_min=low, clip_value_max=high)


@pytest.mark.parametrize("dtype", FLOATS)
def test_clip_by_value_agrees_on_nan(dtype: Any) -> None:
    t, nan, two = special(dtype), np.asarray(np.nan).astype(dtype), np.asarray(2).astype(dtype)
    for low, high in ((nan, two), (two, nan), (nan, nan), (-two, two)):
        check("ClipByValue", t=t, clip_value_min=low, clip_value_max=high)
    check("ClipByValue", t=t, clip_value_min=t[::-1].copy(), clip_value_max=np.roll(t, 1))


@pytest.mark.parametrize("dtype", REAL)
def test_cross_agrees(dtype: Any) -> None:
    random = np.random.default_rng(6)
    for shape in ((3,), (4, 3), (0, 3), (2, 2, 3)):
        # Products of half are rounded before the difference.
        small = np.dtype(dtype).itemsize < 4
        check(
            "Cross",
            a=sample(random, shape, dtype),
            b=sample(random, shape, dtype),
            atol=0.1 if small else None,
        )
    for a, b in (((2,), (2,)), ((), ()), ((2, 3), (3,)), ((3, 2), (3, 2))):
        check("Cross", a=sample(random, a, dtype), b=sample(random, b, dtype), refused=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_lin_space_agrees(dtype: Any, index: Any) -> None:
    for start, stop in ((0.3, 1), (-5, -7.5), (2, 2), (np.inf, 1), (0, np.nan)):
        for num in (1, 2, 3, 7, 100):
            check("LinSpace", start=dtype(start), stop=dtype(stop), num=index(num))
    check("LinSpace", start=dtype(0), stop=dtype(1), num=index(0), refused=True)
    check("LinSpace", start=dtype(0), stop=dtype(1), num=index(-3), refused=True)
    check("LinSpace", start=np.zeros(1, dtype), stop=dtype(1), num=index(3), refused=True)
    check("LinSpace", start=dtype(0), stop=dtype(1), num=np.array([3], index), refused=True)


def test_integers_of_full_range_wrap() -> None:
    for dtype in INTS:
        x, y = grid(special(dtype))
        for op in ("AddV2", "Sub", "Mul"):
            check(op, x=x, y=y)
