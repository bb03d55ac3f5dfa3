"""StridedSlice, Slice, Split, Unpack against TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check
from ops.samples import sequence


@pytest.mark.parametrize("seed", range(8))
def test_strided_slice_of_random_masks_agrees(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(60):
        rank = int(random.integers(0, 5))
        shape = tuple(int(s) for s in random.integers(0, 5, rank))
        count = int(random.integers(0, rank + 3))
        index = random.choice([np.int32, np.int64, np.int16])
        check(
            "StridedSlice",
            input=sequence(shape),
            begin=random.integers(-5, 6, count).astype(index),
            end=random.integers(-5, 6, count).astype(index),
            strides=random.choice([-2, -1, 1, 1, 1, 2, 3], count).astype(index),
            begin_mask=int(random.integers(0, 32)) & int(random.integers(0, 32)),
            end_mask=int(random.integers(0, 32)) & int(random.integers(0, 32)),
            ellipsis_mask=int(random.choice([0, 0, 1, 2, 4, 8, 3])),
            new_axis_mask=int(random.choice([0, 0, 0, 1, 2, 4, 3, 6])),
            shrink_axis_mask=int(random.choice([0, 0, 0, 1, 2, 4, 3, 5])),
        )
