from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check

F = np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 5, 3), (2, 4, 5, 1), (0, 4, 5, 3)])
def test_the_first_contrast(shape: tuple[int, ...], dtype: Any) -> None:
    images = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    for factor in (0.0, 0.5, 2.0, -1.0):
        for low, high in ((0, 255), (20, 60)):
            given = {"contrast_factor": F(factor), "min_value": F(low), "max_value": F(high)}
            # TensorFlow refuses "AdjustContrast" in graphs of today: its formula is computed here.
            from graphrack.ops import registry

            op = registry.lookup("AdjustContrast")
            assert op is not None
            found = op.function(images, *given.values())
            wide = images.astype(np.float64)
            mean = wide.mean(axis=(-3, -2), keepdims=True)
            expected = np.clip((wide - mean) * factor + mean, low, high)
            assert found.dtype == F
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_the_second_contrast_without_limits_is_the_first() -> None:
    from graphrack.ops import registry

    images = np.random.default_rng(0).random((4, 5, 3)).astype(F)
    expected = check("AdjustContrastv2", images=images, contrast_factor=F(1.5), refused=False)
    op = registry.lookup("AdjustContrast")
    assert op is not None
    found = op.function(images, F(1.5), F(-np.inf), F(np.inf))
    np.testing.assert_allclose(found, expected[0], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="expected rank 3"):
        op.function(images[0], F(1), F(0), F(1))
    with pytest.raises(ValueError, match="expected a scalar"):
        op.function(images, np.ones(2, F), F(0), F(1))
