from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import by_tensorflow, check
from ops.test_pool_grad import numbers


def check_gradients(input: Any, filter: Any, attributes: dict[str, Any]) -> None:
    (output,) = by_tensorflow("Dilation2D", {"input": input, "filter": filter, **attributes})[2]
    arguments = {"input": input, "filter": filter, "out_backprop": numbers(output.shape, output.dtype, 2)}
    for name in ("Dilation2DBackpropInput", "Dilation2DBackpropFilter"):
        check(name, **arguments, **attributes, refused=False)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gradients_go_to_the_first_of_the_greatest(data: st.DataObject) -> None:
    sizes, kernel, strides, rates = (
        data.draw(st.tuples(st.integers(least, most), st.integers(least, most)))
        for least, most in ((5, 8), (1, 3), (1, 3), (1, 2))
    )
    attributes = {"strides": [1, *strides, 1], "rates": [1, *rates, 1], "padding": data.draw(st.sampled_from(["SAME", "VALID"]))}  # fmt: skip
    check_gradients(numbers((2, *sizes, 3)), numbers((*kernel, 3), seed=1), attributes)


ATTRIBUTES = {"strides": [1, 2, 1, 1], "rates": [1, 1, 2, 1], "padding": "SAME"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int32, np.int8, np.uint8, np.int64])  # fmt: skip
def test_gradients_of_every_dtype(dtype: Any) -> None:
    check_gradients(numbers((2, 6, 5, 3), dtype), numbers((3, 2, 3), dtype, 1), ATTRIBUTES)


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_gradients_of_what_has_no_greatest(value: float) -> None:
    image = numbers((2, 6, 5, 3))
    image[0], image[1, 2:4] = value, value
    for padding in ("SAME", "VALID"):
        check_gradients(image, numbers((3, 2, 3), seed=1), {**ATTRIBUTES, "padding": padding})


def test_other_shapes_are_refused() -> None:
    image, filter = numbers((1, 4, 4, 2)), numbers((2, 2, 2))
    for name in ("Dilation2DBackpropInput", "Dilation2DBackpropFilter"):
        for arguments in (
            {"input": image, "filter": filter, "out_backprop": image[:, :3]},
            {"input": image, "filter": filter[..., :1], "out_backprop": image},
            {"input": image[0], "filter": filter, "out_backprop": image},
        ):
            check(name, **arguments, strides=[1, 1, 1, 1], rates=[1, 1, 1, 1], padding="SAME", refused=True)
