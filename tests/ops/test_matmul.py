"""Matrix products against TensorFlow."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.operands import BFLOAT16, COMPLEX, FLOATS, sample
from peaks import peak_of

from graphrack.formats.dtypes import FLOAT, from_numpy
from graphrack.ops import registry

DTYPES = (*FLOATS, *COMPLEX, np.int32, np.int64)
SIZES = ((2, 3, 4), (1, 1, 1), (5, 1, 7), (0, 3, 2), (2, 0, 3), (2, 3, 0), (17, 40, 9))
FLAGS = list(product((False, True), repeat=2))


def matrices(random: Any, dtype: Any, m: int, k: int, n: int, flags: tuple[bool, bool], batch: Any = ((), ())) -> Any:
    left, right = (k, m) if flags[0] else (m, k), (n, k) if flags[1] else (k, n)
    return sample(random, (*batch[0], *left), dtype), sample(random, (*batch[1], *right), dtype)


def bounds(dtype: Any) -> dict[str, float | None]:
    # Sums of products of float32 differ by the order of summation.
    return {"atol": 1e-4 if dtype in (np.float32, np.complex64) else None}


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_agrees(dtype: Any, flags: tuple[bool, bool]) -> None:
    random = np.random.default_rng(0)
    for m, k, n in SIZES:
        a, b = matrices(random, dtype, m, k, n, flags)
        check("MatMul", a=a, b=b, transpose_a=flags[0], transpose_b=flags[1], **bounds(dtype))


def test_matmul_refuses_other_shapes() -> None:
    for left, right in (((2, 3), (2, 3)), ((2, 3, 1), (3, 1)), ((3,), (3,)), ((), (3, 3)), ((2, 0), (1, 2))):
        a, b = np.ones(left, np.float32), np.ones(right, np.float32)
        check("MatMul", a=a, b=b, transpose_a=False, transpose_b=False, refused=True)


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"])
def test_batch_matmul_agrees(op: str, dtype: Any, flags: tuple[bool, bool]) -> None:
    random = np.random.default_rng(0)
    batches = [((), ()), ((2,), (2,)), ((2, 3), (2, 3)), ((0,), (0,))]
    if op != "BatchMatMul":
        batches += [((2,), ()), ((), (2,)), ((2, 1), (3,)), ((1,), (4,)), ((0, 2), (1,)), ((3, 2), ())]
    if op == "BatchMatMulV3" and dtype is np.float16:
        return  # TensorFlow has no such kernel
    more = {"Tout": tf.as_dtype(dtype)} if op == "BatchMatMulV3" else {}
    for batch in batches:
        for m, k, n in SIZES[:6]:
            x, y = matrices(random, dtype, m, k, n, flags, batch)
            check(op, x=x, y=y, adj_x=flags[0], adj_y=flags[1], **more, **bounds(dtype))


@pytest.mark.parametrize("op", ["BatchMatMul", "BatchMatMulV2"])
def test_batch_matmul_refuses_other_shapes(op: str) -> None:
    pairs = [((3,), (3, 3)), ((2, 3, 3), (3, 3, 3)), ((2, 2, 3), (2, 2, 3))]
    if op == "BatchMatMul":
        pairs += [((2, 3, 3), (3, 3)), ((2, 3, 3), (1, 3, 3))]
    for left, right in pairs:
        x, y = np.ones(left, np.float32), np.ones(right, np.float32)
        check(op, x=x, y=y, adj_x=False, adj_y=False, refused=True)


@pytest.mark.parametrize(
    ("Ta", "Tb"), [(np.int8, np.int8), (np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.uint8)]
)
def test_batch_matmul_v3_of_bytes_gives_int32(Ta: Any, Tb: Any) -> None:
    random = np.random.default_rng(0)
    for m, k, n in SIZES:
        x, y = sample(random, (2, m, k), Ta), sample(random, (2, k, n), Tb)
        check("BatchMatMulV3", x=x, y=y, Tout=tf.int32, adj_x=False, adj_y=False)


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize(("Ta", "Tb"), list(product((np.float32, BFLOAT16), repeat=2)))
def test_sparse_matmul_agrees(Ta: Any, Tb: Any, flags: tuple[bool, bool]) -> None:
    random = np.random.default_rng(0)
    for m, k, n in SIZES[:5]:
        a, _ = matrices(random, Ta, m, k, n, flags)
        _, b = matrices(random, Tb, m, k, n, flags)
        a[random.random(a.shape) < 0.5] = 0
        check(
            "SparseMatMul",
            a=a,
            b=b,
            transpose_a=flags[0],
            transpose_b=flags[1],
            a_is_sparse=True,
            b_is_sparse=False,
        )


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16])
def test_narrow_products_are_summed_in_float32(dtype: Any) -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(20, 300)).astype(dtype), random.normal(size=(300, 20)).astype(dtype)
    exact = (a.astype(np.float64) @ b.astype(np.float64)).astype(dtype).astype(np.float64)
    for op, keys in (("MatMul", "ab"), ("BatchMatMulV2", "xy")):
        implementation = registry.lookup(op)
        assert implementation is not None
        found = implementation.bind("n", {"T": from_numpy(dtype)}, {})(a, b)
        np.testing.assert_allclose(
            found.astype(np.float64),
            exact,
            rtol=2 * float(np.finfo(dtype).eps) if dtype is np.float16 else 2**-7,
        )
        check(op, **dict(zip(keys, (a, b), strict=True)))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("limit", [100, 2**20, 2**31 - 1])
def test_large_integer_products_are_exact(dtype: Any, limit: int) -> None:
    random = np.random.default_rng(1)
    a, b = (random.integers(-limit, limit, shape).astype(dtype) for shape in ((40, 70), (70, 50)))
    check("MatMul", a=a, b=b, transpose_a=False, transpose_b=False)
    check("BatchMatMulV2", x=np.stack([a, -a]), y=b, adj_x=False, adj_y=False)


def test_transposed_operands_are_not_copied() -> None:
    a = np.ones((2000, 1500), np.float32)
    b = np.ones((3, 2000), np.float32)
    implementation = registry.lookup("MatMul")
    assert implementation is not None
    kernel = implementation.bind("n", {"T": FLOAT, "transpose_a": True, "transpose_b": True}, {})
    assert peak_of(lambda: kernel(a, b), a.nbytes // 10) < a.nbytes // 10
