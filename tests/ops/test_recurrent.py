"""LSTM and GRU cells, blocks of them and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import Refused, check

STEPS, BATCH, INPUTS, CELLS = 6, 4, 5, 3
TOLERANCES: dict[Any, dict[str, float]] = {
    np.float32: {"rtol": 1e-4, "atol": 1e-5},
    np.float16: {"rtol": 2e-2, "atol": 5e-3},
}

precisions = pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
peepholes = pytest.mark.parametrize("use_peephole", [False, True])


class Draw:
    """Numbers of one dtype."""

    def __init__(self, dtype: Any, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype

    def __call__(self, *shape: int) -> Any:
        return (self.rng.normal(size=shape) * 0.7).astype(self.dtype)

    def cell(self, inputs: int = INPUTS, cells: int = CELLS, batch: int = BATCH) -> dict[str, Any]:
        states = {"cs_prev": self(batch, cells), "h_prev": self(batch, cells)}
        weights = {"w": self(inputs + cells, 4 * cells), "b": self(4 * cells)}
        return {**states, **weights, "wci": self(cells), "wcf": self(cells), "wco": self(cells)}


@precisions
@peepholes
@pytest.mark.parametrize(("forget_bias", "cell_clip"), [(1.0, 3.0), (0.5, 0.4), (0.0, -1.0)])
def test_one_step_of_an_lstm_and_its_gradient(
    dtype: Any, use_peephole: bool, forget_bias: float, cell_clip: float
) -> None:
    draw = Draw(dtype)
    inputs = {"x": draw(BATCH, INPUTS), **draw.cell()}
    i, cs, f, o, ci, co, _ = check(
        "LSTMBlockCell",
        **inputs,
        use_peephole=use_peephole,
        forget_bias=forget_bias,
        cell_clip=cell_clip,
        **TOLERANCES[dtype],
    )
    forward = {"i": i, "cs": cs, "f": f, "o": o, "ci": ci, "co": co}
    grads = {"cs_grad": draw(BATCH, CELLS), "h_grad": draw(BATCH, CELLS)}
    check("LSTMBlockCellGrad", **inputs, **forward, **grads, use_peephole=use_peephole, **TOLERANCES[dtype])


@precisions
@peepholes
@pytest.mark.parametrize("seq_len_max", [STEPS, 4, 1, 0])
@pytest.mark.parametrize("op", ["BlockLSTM", "BlockLSTMV2"])
def test_a_sequence_of_lstm_steps_and_its_gradient(op: str, dtype: Any, use_peephole: bool, seq_len_max: int) -> None:
    draw = Draw(dtype)
    inputs = {"seq_len_max": np.int64(seq_len_max), "x": draw(STEPS, BATCH, INPUTS), **draw.cell()}
    attributes: dict[str, Any] = {"cell_clip": 0.9, "use_peephole": use_peephole}
    if op == "BlockLSTM":
        attributes["forget_bias"] = 0.3
    # Past seq_len_max TensorFlow leaves all but the states undefined.
    defined = None if seq_len_max == STEPS else [1, 6]
    results = check(op, **inputs, **attributes, outputs=defined, **TOLERANCES[dtype])
    names = ("i", "cs", "f", "o", "ci", "co", "h")
    forward = {
        n: np.where(np.arange(STEPS)[:, None, None] < seq_len_max, v, 0) for n, v in zip(names, results, strict=True)
    }
    grads = {"cs_grad": draw(STEPS, BATCH, CELLS), "h_grad": draw(STEPS, BATCH, CELLS)}
    gradient = {"BlockLSTM": "BlockLSTMGrad", "BlockLSTMV2": "BlockLSTMGradV2"}[op]
    check(gradient, **inputs, **forward, **grads, use_peephole=use_peephole, **TOLERANCES[dtype])


@pytest.mark.parametrize(("batch", "cells"), [(BATCH, CELLS), (1, 1), (7, 8)])
def test_one_step_of_a_gru_and_its_gradient(batch: int, cells: int) -> None:
    draw = Draw(np.float32)
    inputs = {
        "x": draw(batch, INPUTS),
        "h_prev": draw(batch, cells),
        "w_ru": draw(INPUTS + cells, 2 * cells),
        "w_c": draw(INPUTS + cells, cells),
        "b_ru": draw(2 * cells),
        "b_c": draw(cells),
    }
    r, u, c, _ = check("GRUBlockCell", **inputs, rtol=1e-4, atol=1e-6)
    check("GRUBlockCellGrad", **inputs, r=r, u=u, c=c, d_h=draw(batch, cells), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cs_prev", "h_prev", "w", "b", "x"])
@pytest.mark.parametrize("op", ["LSTMBlockCell", "BlockLSTM", "BlockLSTMV2"])
def test_shapes_that_do_not_fit_are_refused(op: str, name: str) -> None:
    draw = Draw(np.float32)
    inputs = {"x": draw(BATCH, INPUTS), **draw.cell()}
    if op != "LSTMBlockCell":
        inputs.update(x=draw(STEPS, BATCH, INPUTS), seq_len_max=np.int64(STEPS))
    inputs[name] = np.concatenate((inputs[name], inputs[name]), axis=-1)
    assert isinstance(check(op, **inputs, refused=True), Refused)


def test_a_gru_with_weights_of_another_size_is_refused() -> None:
    draw = Draw(np.float32)
    check(
        "GRUBlockCell",
        x=draw(2, 3),
        h_prev=draw(2, 4),
        w_ru=draw(7, 8),
        w_c=draw(7, 5),
        b_ru=draw(8),
        b_c=draw(4),
        refused=True,
    )


@pytest.mark.parametrize("seq_len_max", [-1, STEPS + 1])
def test_more_steps_than_there_are_are_refused(seq_len_max: int) -> None:
    from graphrack.formats.dtypes import FLOAT
    from graphrack.ops.recurrent import BlockLSTMV2

    draw = Draw(np.float32)
    cell = draw.cell()
    order = ("cs_prev", "h_prev", "w", "wci", "wcf", "wco", "b")
    with pytest.raises(ValueError, match=rf"seq_len_max must be in \[0, {STEPS}\].*got {seq_len_max}"):
        BlockLSTMV2(T=FLOAT)(np.array(seq_len_max), draw(STEPS, BATCH, INPUTS), *(cell[name] for name in order))
