from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from ops.channels import check_both_formats
from ops.harness import by_tensorflow, check
from ops.test_pool_grad import numbers, pools


def images(place: dict[str, Any], pool: str, dtype: Any = np.float32) -> dict[str, Any]:
    image = numbers(place["image"], dtype)
    (output,) = by_tensorflow(pool, {"input": image, **place["attributes"]})[2]
    return {"orig_input": image, "orig_output": output, "grad": numbers(place["image"], dtype, 1)}


@settings(max_examples=60, deadline=None)
@given(pools())
def test_second_derivative_of_max_pool(place: dict[str, Any]) -> None:
    arguments, attributes = images(place, "MaxPool"), place["attributes"]
    inputs = ("orig_input", "orig_output", "grad")
    check_both_formats("MaxPoolGradGrad", inputs, **arguments, **attributes, refused=False)
    ksize, strides = (np.array(attributes[key], np.int32) for key in ("ksize", "strides"))
    check("MaxPoolGradGradV2", **arguments, ksize=ksize, strides=strides, padding=attributes["padding"], refused=False)


@settings(max_examples=40, deadline=None)
@given(pools(3))
def test_second_derivative_of_max_pool_3d(place: dict[str, Any]) -> None:
    check_both_formats(
        "MaxPool3DGradGrad",
        ("orig_input", "orig_output", "grad"),
        **images(place, "MaxPool3D"),
        **place["attributes"],
        refused=False,
    )


PLACE = {"image": (2, 5, 4, 3), "attributes": {"ksize": [1, 2, 3, 1], "strides": [1, 2, 1, 1], "padding": "SAME"}}


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int32, np.uint8, np.int64]
)
def test_second_derivatives_of_every_dtype(dtype: Any) -> None:
    # TensorFlow pools no bfloat16 by windows that differ from their strides everywhere; the output is given.
    arguments = images(PLACE, "MaxPool")
    arguments = {key: value.astype(dtype) for key, value in arguments.items()}
    check("MaxPoolGradGrad", **arguments, **PLACE["attributes"], refused=False)


def test_windows_without_their_output_and_other_shapes() -> None:
    arguments = images(PLACE, "MaxPool")
    attributes = PLACE["attributes"]
    for change in (np.float32(1), np.float32(np.nan)):
        changed = {**arguments, "orig_output": arguments["orig_output"] + change}
        check("MaxPoolGradGrad", **changed, **attributes, refused=False)
    for key in arguments:
        check("MaxPoolGradGrad", **{**arguments, key: arguments[key][0]}, **attributes, refused=True)
    check("MaxPoolGradGrad", **{**arguments, "grad": arguments["orig_output"]}, **attributes, refused=True)
