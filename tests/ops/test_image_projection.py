from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ops.harness import check
from ops.samples import ints

from graphrack.formats.dtypes import FLOAT
from graphrack.ops import registry

F = np.float32

TRANSFORMS = np.array(
    [
        [1, 0, 0, 0, 1, 0, 0, 0],
        [1, 0, 2.5, 0, 1, -1.25, 0, 0],
        [0.7, -0.7, 3, 0.7, 0.7, -2, 0, 0],
        [2, 0.1, -9, -0.2, 1.7, -7, 0.01, 0.02],
        [1, 0, 0, 0, 1, 0, -0.25, -0.125],
        [-1, 0, 40, 0, -1, 33, 0, 0],
    ],
    F,
)


@pytest.mark.parametrize("interpolation", ["NEAREST", "BILINEAR"])
@pytest.mark.parametrize("fill_mode", ["CONSTANT", "NEAREST", "REFLECT", "WRAP"])
@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.uint8, np.int32, np.int64]
)
def test_projections(dtype: Any, fill_mode: str, interpolation: str) -> None:
    images = (np.random.default_rng(0).random((6, 7, 9, 2)) * 100).astype(dtype)
    loose = {np.float16: 1e-2, ml_dtypes.bfloat16: 1e-1}.get(dtype, 1e-4)
    flags = {"interpolation": interpolation, "fill_mode": fill_mode, "rtol": loose, "atol": loose, "refused": False}
    for shape in (ints(7, 9), ints(4, 12)):
        given = {"images": images, "transforms": TRANSFORMS, "output_shape": shape}
        check("ImageProjectiveTransformV2", **given, **flags)
        check("ImageProjectiveTransformV3", **given, fill_value=F(3.5), **flags)
    one = {"images": images, "transforms": TRANSFORMS[2:3], "output_shape": ints(7, 9)}
    check("ImageProjectiveTransformV2", **one, **flags)
    tiny = {"images": images[:, :1, :1], "transforms": TRANSFORMS, "output_shape": ints(3, 3)}
    check("ImageProjectiveTransformV2", **tiny, **flags)


def test_projections_refuse_other_shapes() -> None:
    images = np.zeros((6, 3, 3, 1), F)
    given = {"images": images, "transforms": TRANSFORMS, "output_shape": ints(3, 3), "interpolation": "NEAREST"}
    for wrong in (
        {"images": images[0]},
        {"transforms": TRANSFORMS[:2]},
        {"transforms": TRANSFORMS[:, :7]},
        {"output_shape": ints(3)},
        {"output_shape": ints(0, 3)},
    ):
        check("ImageProjectiveTransformV2", **{**given, **wrong}, refused=True)


def test_projections_know_two_interpolations_and_four_fill_modes() -> None:
    # TensorFlow takes any other for one of them.
    op = registry.lookup("ImageProjectiveTransformV3")
    assert op is not None
    for wrong in ({"interpolation": b"CUBIC"}, {"interpolation": b"NEAREST", "fill_mode": b"NOWHERE"}):
        with pytest.raises(ValueError, match="must be"):
            op.bind("n", {"dtype": FLOAT, **wrong}, {})
