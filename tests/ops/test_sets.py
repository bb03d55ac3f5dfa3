"""Set operations against TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.sparse_samples import sparse

OPERATIONS = ["a-b", "b-a", "intersection", "union", "UNION", "other"]


def named(prefix: str, parts: tuple[Any, Any, Any]) -> dict[str, Any]:
    return {f"{prefix}_{name}": part for name, part in zip(("indices", "values", "shape"), parts, strict=True)}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.int16, object])
@pytest.mark.parametrize("lead", [(3,), (2, 2), (0,)])
def test_set_operations(operation: str, dtype: Any, lead: tuple[int, ...]) -> None:
    a, b = sparse((*lead, 4), 1, dtype, 0.6), sparse((*lead, 5), 2, dtype, 0.6)
    dense = [sparse((*lead, n), n, dtype, 2)[1].reshape(*lead, n) for n in (4, 5, 0)]
    how = {"set_operation": operation}
    check("SparseToSparseSetOperation", **named("set1", a), **named("set2", b), **how)
    check("DenseToSparseSetOperation", set1=dense[0], **named("set2", b), **how)
    check("DenseToDenseSetOperation", set1=dense[0], set2=dense[1], **how)
    check("DenseToDenseSetOperation", set1=dense[0], set2=dense[2], **how)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, object])
@pytest.mark.parametrize("shape", [(3, 4), (2, 2, 5), (0, 2), (4,)])
def test_set_sizes(dtype: Any, shape: tuple[int, ...]) -> None:
    check("SetSize", **named("set", sparse(shape, 3, dtype)))


def test_what_set_operations_refuse() -> None:
    a, other = sparse((3, 4), dtype=np.int32), sparse((2, 4), dtype=np.int32)
    how = {"set_operation": "union"}
    check("SparseToSparseSetOperation", **named("set1", a), **named("set2", other), **how, refused=True)
    mixed = (a[0][::-1], a[1][::-1], a[2])
    check("SparseToSparseSetOperation", **named("set1", mixed), **named("set2", a), **how, refused=True)
    check("SetSize", **named("set", mixed), refused=True)
    check("SetSize", **named("set", mixed), validate_indices=False)
    check(
        "DenseToDenseSetOperation", set1=np.ones((2, 3), np.int32), set2=np.ones((3, 3), np.int32), **how, refused=True
    )
    check("DenseToDenseSetOperation", set1=np.ones(3, np.int32), set2=np.ones(3, np.int32), **how, refused=True)
