"""Einsum against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check
from ops.operands import COMPLEX, FLOATS, name, sample

DTYPES = (*FLOATS, *COMPLEX, np.int32, np.int64)
SIZES = {"a": 2, "b": 3, "h": 2, "i": 4, "j": 3, "k": 5, "l": 2, "z": 0, "I": 3}
EQUATIONS = [
    "ij,jk->ik",
    "ij,kj->ik",
    "ji,jk->ki",
    "ij,jk->",
    "bij,bjk->bik",
    "bihj,bkhj->bhik",
    "bhik,bkhj->bihj",
    "bij,jk->bik",
    "bi,bj->bij",
    "i,j->ij",
    "i,i->",
    "i,i->i",
    "bij,bij->b",
    "abi,abj->ij",
    "ij->ji",
    "ijk->",
    "ijk->kj",
    "ijk->i",
    "ii->i",
    "ii->",
    "iji->j",
    "i->ii",
    "ij->iij",
    "ii,ij->j",
    "ij,jk->iki",
    "ijk,l->lk",
    "I,i->Ii",
    "iz,zj->ij",
    "zi,ij->zj",
    "->",
    ",->",
    "i,->i",
    ",ij->ji",
    "abij,abjk->abik",
    "jab,jk->kab",
]
ELLIPSES = [
    ("...ij,...jk->...ik", (2, 4, 3), (3, 5)),
    ("...ij,...jk->...ik", (2, 1, 4, 3), (3, 3, 5)),
    ("...ij,jk->...ik", (2, 3, 4, 3), (3, 5)),
    ("i...,...->i...", (2, 3, 4), (4,)),
    ("...,...->...", (2, 3), (2, 1)),
    ("...,...->...", (), ()),
    ("...i,i->...", (2, 3, 4), (4,)),
    ("i...j,...jk->k...i", (2, 3, 4), (3, 4, 5)),
    ("ij,kj->ik...", (2, 3), (2, 3)),
    ("...ii->...", (4, 3, 3), None),
    ("...->...", (4, 3), None),
    ("ij...->ji...", (2, 3, 4), None),
    ("ij->i...", (2, 3), None),
]
REFUSED = [
    ("ij,jk->ik", (2, 3), (2, 3)),
    ("ij,ij->ij", (2, 3), (2, 1)),
    ("ijk->i", (2, 3), None),
    ("i->i", (2, 3), None),
    ("...i->i", (2, 3), None),
    ("ii->i", (2, 3), None),
    ("...i,...j->...ij", (2, 3), (3, 3)),
]


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_equation_agrees(equation: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    shapes = [[SIZES[label] for label in term] for term in equation.split("->")[0].split(",")]
    # TensorFlow rounds half and bfloat16 after some of its steps, where sums come before the product.
    bound = {"float16": 2e-2, "bfloat16": 0.15, "float32": 1e-4, "complex64": 1e-4}.get(name(dtype))
    inputs = [sample(random, tuple(shape), dtype) for shape in shapes]
    check("Einsum", inputs=inputs, equation=equation, rtol=bound, atol=bound, refused=False)


@pytest.mark.parametrize(("equation", "left", "right"), ELLIPSES)
def test_ellipsis_agrees(equation: str, left: Any, right: Any) -> None:
    random = np.random.default_rng(0)
    inputs = [sample(random, shape, np.float32) for shape in (left, right) if shape is not None]
    check("Einsum", inputs=inputs, equation=equation, refused=False)


@pytest.mark.parametrize(("equation", "left", "right"), REFUSED)
def test_misfit_is_refused(equation: str, left: Any, right: Any) -> None:
    inputs = [np.ones(shape, np.float32) for shape in (left, right) if shape is not None]
    check("Einsum", inputs=inputs, equation=equation, refused=True)


def test_output_label_of_no_input_is_refused() -> None:
    from graphrack.formats.dtypes import FLOAT
    from graphrack.ops import registry

    implementation = registry.lookup("Einsum")
    assert implementation is not None
    with pytest.raises(ValueError, match=r"'ij->ik'.*\['k'\]"):  # TensorFlow ends the process here
        implementation.bind("n", {"equation": b"ij->ik", "T": FLOAT}, {})
