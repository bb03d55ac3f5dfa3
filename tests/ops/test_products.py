"""Products made in pieces are the products."""

from __future__ import annotations

import numpy as np
import pytest

from graphrack.ops.products import add_product_of_columns, multiply


@pytest.mark.parametrize("groups", [(), (1,), (3,)])
@pytest.mark.parametrize(
    ("n", "k", "m"), [(0, 3, 4), (5, 0, 2), (7, 3, 4), (800, 72, 16), (4097, 64, 1), (3, 600, 700)]
)
def test_pieces_make_the_whole(groups: tuple[int, ...], n: int, k: int, m: int) -> None:
    random = np.random.default_rng(n + k)
    rows, matrix, other = (random.normal(size=(*groups, *shape)) for shape in ((n, k), (k, m), (n, m)))
    out = np.full((*groups, n, m), np.nan)
    multiply(rows, matrix, out)
    np.testing.assert_allclose(out, np.matmul(rows, matrix), rtol=1e-12, atol=1e-12)
    total = np.ones((*groups, k, m))
    add_product_of_columns(rows, other, total)
    np.testing.assert_allclose(total, 1 + np.matmul(np.swapaxes(rows, -1, -2), other), rtol=1e-10, atol=1e-12)
