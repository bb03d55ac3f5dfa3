from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.session import check_sessions, sessions

DTYPES = [np.float32, np.float64, np.int32, np.int64]


def numbers(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    return (np.random.default_rng([*shape]).normal(size=shape) * 10).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("pseudo_random", [False, True])
@pytest.mark.parametrize("op", ["FractionalMaxPool", "FractionalAvgPool"])
def test_pools_draw_tensorflows_windows(op: str, pseudo_random: bool, overlapping: bool, dtype: Any) -> None:
    value = numbers((2, 13, 17, 3), dtype)

    def build() -> list[Any]:
        outputs: list[Any] = []
        for ratio in ([1, 1.44, 1.73, 1], [1, 1, 2, 1], [1, 2.3, 4.1, 1]):
            outputs += getattr(tf.raw_ops, op)(
                value=value,
                pooling_ratio=ratio,
                overlapping=overlapping,
                pseudo_random=pseudo_random,
                deterministic=True,
                seed=5,
                seed2=7,
            )
        return outputs

    check_sessions(build, runs=3, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("overlapping", [False, True])
def test_gradients(overlapping: bool, dtype: Any) -> None:
    rows, columns = np.array([0, 2, 3, 5, 6, 8]), np.array([0, 1, 3, 4, 7])
    value = np.random.default_rng(0).integers(0, 4, (2, 8, 7, 3)).astype(dtype)
    grad = numbers((2, 5, 4, 3), dtype)
    down, across = (list(zip(s[:-1], s[1:] + overlapping, strict=True)) for s in (rows, columns))
    pooled = np.stack([np.stack([value[:, r:e, c:f].max(axis=(1, 2)) for c, f in across], 1) for r, e in down], 1)
    check(
        "FractionalMaxPoolGrad",
        orig_input=value,
        orig_output=pooled,
        out_backprop=grad,
        row_pooling_sequence=rows,
        col_pooling_sequence=columns,
        overlapping=overlapping,
        refused=False,
    )
    check(
        "FractionalAvgPoolGrad",
        orig_input_tensor_shape=np.array(value.shape),
        out_backprop=grad,
        row_pooling_sequence=rows,
        col_pooling_sequence=columns,
        overlapping=overlapping,
        refused=False,
    )


@pytest.mark.parametrize("pseudo_random", [False, True])
def test_windows_differ_from_run_to_run_unless_they_are_to_stay(pseudo_random: bool) -> None:
    from ops.session import KernelState

    from graphrack.ops import registry

    op = registry.lookup("FractionalMaxPool")
    assert op is not None
    value = numbers((1, 50, 60, 1), np.float32)
    for deterministic in (False, True):
        attributes = {"pooling_ratio": [1.0, 1.44, 1.73, 1.0], "pseudo_random": pseudo_random}
        kernel = op.bind("n", {**attributes, "deterministic": deterministic}, {})
        state = KernelState()
        runs = [kernel(state, value) for _ in range(4)]
        for pooled, rows, columns in runs:
            assert pooled.shape == (1, 34, 34, 1)
            for sequence, size in ((rows, 50), (columns, 60)):
                assert (sequence[0], sequence[-1]) == (0, size)
                assert set(np.diff(sequence)) <= {1, 2}
        same = all((run[1] == runs[0][1]).all() for run in runs)
        assert same is deterministic


def test_pools_refuse_what_makes_no_sense() -> None:
    value = numbers((1, 4, 4, 1), np.float32)
    for op in (tf.raw_ops.FractionalMaxPool, tf.raw_ops.FractionalAvgPool):
        theirs, ours = sessions(
            lambda op=op: op(value=tf.placeholder_with_default(value[0], None), pooling_ratio=[1, 2, 2, 1], seed=1)
        )
        assert "refused" in repr(theirs[0])
        assert "refused" in repr(ours[0])
