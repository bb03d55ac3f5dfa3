"""LSTM and GRU cells that are one op, whole sequences of them, and their gradients.

Shapes: `x` is `[batch, inputs]`, states are `[batch, cells]`, the weights `w` are `[inputs + cells, 4 * cells]` and the
bias `b` is `[4 * cells]`; the ops for whole sequences have a first axis of time. Gates along the second axis of `w`
stand in the order i, ci, f, o, in BlockLSTMV2 i, f, ci, o. `wci`, `wcf` and `wco`, of shape `[cells]`, weigh the
cell's state in the gates where `use_peephole` is set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import scalar
from graphrack.ops.blas import matmul
from graphrack.ops.math import sigmoid
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.state import show

_ICFO, _IFCO = (0, 1, 2, 3), (0, 2, 1, 3)


class _Peepholes(NamedTuple):
    wci: Array
    wcf: Array
    wco: Array


def _expect(name: str, value: Array, shape: tuple[int, ...]) -> None:
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {show(shape)}, got {show(value.shape)}")


def _gates(value: Array, order: tuple[int, ...]) -> tuple[Array, ...]:
    """The parts of i, ci, f and o, as views."""
    cells = value.shape[-1] // 4
    return tuple(value[..., k * cells : (k + 1) * cells] for k in order)


def _check_cell(x: Array, cs_prev: Array, h_prev: Array, w: Array, b: Array, peepholes: _Peepholes | None) -> None:
    """Raises `ValueError` unless shapes fit; `x` of one step."""
    if x.ndim != 2 or cs_prev.ndim != 2:
        raise ValueError(f"x and cs_prev must be matrices for a step, got {show(x.shape)} and {show(cs_prev.shape)}")
    batch, cells = x.shape[0], cs_prev.shape[1]
    _expect("cs_prev", cs_prev, (batch, cells))
    _expect("h_prev", h_prev, (batch, cells))
    _expect("w", w, (x.shape[1] + cells, 4 * cells))
    _expect("b", b, (4 * cells,))
    for name, value in peepholes._asdict().items() if peepholes else ():
        _expect(name, value, (cells,))


# ---- LSTM ----


def _lstm_step(
    gates: Array,
    cs_prev: Array,
    peepholes: _Peepholes | None,
    order: tuple[int, ...],
    forget_bias: float,
    cell_clip: float,
) -> tuple[Array, ...]:
    """From the sums that enter the gates to i, cs, f, o, ci, co, h."""
    gate_i, gate_ci, gate_f, gate_o = _gates(gates, order)
    if peepholes:
        gate_i = gate_i + cs_prev * peepholes.wci
        gate_f = gate_f + cs_prev * peepholes.wcf
    i, ci, f = sigmoid(gate_i), np.tanh(gate_ci), sigmoid(gate_f + forget_bias if forget_bias else gate_f)
    cs = ci * i + cs_prev * f
    if cell_clip > 0:
        cs = np.maximum(np.minimum(cs, cell_clip), -cell_clip)  # as `np.clip`, in a third of the time
    o = sigmoid(gate_o + cs * peepholes.wco if peepholes else gate_o)
    co = np.tanh(cs)
    return i, cs, f, o, ci, co, o * co


@specialized("LSTMBlockCell", outputs=7)
def LSTMBlockCell(*, T: DType, forget_bias: float = 1.0, cell_clip: float = 3.0, use_peephole: bool = False) -> Kernel:
    def cell(
        x: Array, cs_prev: Array, h_prev: Array, w: Array, wci: Array, wcf: Array, wco: Array, b: Array
    ) -> tuple[Array, ...]:
        peepholes = _Peepholes(wci, wcf, wco) if use_peephole else None
        _check_cell(x, cs_prev, h_prev, w, b, peepholes)
        gates = matmul(np.concatenate((x, h_prev), axis=1), w)
        gates += b
        return _lstm_step(gates, cs_prev, peepholes, _ICFO, forget_bias, cell_clip)

    return widened(T, cell)


def _sequence(order: tuple[int, ...], forget_bias: float, cell_clip: float, use_peephole: bool) -> Kernel:
    def block(
        seq_len_max: Array,
        x: Array,
        cs_prev: Array,
        h_prev: Array,
        w: Array,
        wci: Array,
        wcf: Array,
        wco: Array,
        b: Array,
    ) -> tuple[Array, ...]:
        steps = _steps(seq_len_max, x)
        peepholes = _Peepholes(wci, wcf, wco) if use_peephole else None
        _check_cell(_one_step(x), cs_prev, h_prev, w, b, peepholes)
        inputs, (batch, cells) = x.shape[2], cs_prev.shape
        # What comes from the inputs is one product for all steps.
        entering = matmul(x[:steps].reshape(-1, inputs), w[:inputs])
        entering += b
        if forget_bias:
            entering[:, order[2] * cells : (order[2] + 1) * cells] += forget_bias
        entering = _by_gate(entering.reshape(steps, batch, 4 * cells), order)
        recurrent = _by_gate(w[inputs:], order)
        gates = np.empty((steps, 4, batch, cells), x.dtype)
        states, activations, hidden = np.empty((3, steps, batch, cells), x.dtype)
        cs, h = cs_prev, h_prev
        wci_wcf = np.stack((wci, wcf))[:, None] if peepholes else None
        for t in range(steps):
            each = matmul(h, recurrent, gates[t])
            np.add(each, entering[t], each)
            i_f, o, ci = each[:2], each[2], each[3]
            if wci_wcf is not None:
                np.add(i_f, cs * wci_wcf, i_f)
            sigmoid(i_f, out=i_f)
            np.tanh(ci, ci)
            new = np.multiply(ci, each[0], states[t])
            np.add(new, cs * each[1], new)
            if cell_clip > 0:
                np.maximum(np.minimum(new, cell_clip, out=new), -cell_clip, out=new)
            if peepholes:
                np.add(o, new * wco, o)
            sigmoid(o, out=o)
            h = np.multiply(o, np.tanh(new, activations[t]), hidden[t])
            cs = new
        results = (gates[:, 0], states, gates[:, 1], gates[:, 2], gates[:, 3], activations, hidden)
        return tuple(_of_all_steps(result, len(x)) for result in results)

    return block


def _by_gate(values: Array, order: tuple[int, ...]) -> Array:
    """`[..., rows, 4 * cells]` as `[..., 4, rows, cells]`, the gates being i, f, o, ci."""
    i, ci, f, o = order
    parted = values.reshape(*values.shape[:-1], 4, values.shape[-1] // 4).swapaxes(-3, -2)
    return parted[..., (i, f, o, ci), :, :]


def _of_all_steps(values: Array, count: int) -> Array:
    """Zeros for the steps that were not run."""
    if len(values) == count:
        return np.ascontiguousarray(values)
    whole = np.zeros((count, *values.shape[1:]), values.dtype)
    whole[: len(values)] = values
    return whole


def _one_step(x: Array) -> Array:
    """What a step's input looks like, for checks; there may be no step."""
    if x.ndim != 3:
        raise ValueError(f"x must have shape [time, batch, inputs], got {show(x.shape)}")
    return np.broadcast_to(x.dtype.type(0), x.shape[1:])


def _steps(seq_len_max: Array, x: Array) -> int:
    steps = scalar("seq_len_max", seq_len_max)
    if x.ndim != 3:
        raise ValueError(f"x must have shape [time, batch, inputs], got {show(x.shape)}")
    if not 0 <= steps <= len(x):
        raise ValueError(f"seq_len_max must be in [0, {len(x)}], the number of time steps, got {steps}")
    return steps


@specialized("BlockLSTM", outputs=7)
def BlockLSTM(*, T: DType, forget_bias: float = 1.0, cell_clip: float = 3.0, use_peephole: bool = False) -> Kernel:
    return widened(T, _sequence(_ICFO, forget_bias, cell_clip, use_peephole))


@specialized("BlockLSTMV2", outputs=7)
def BlockLSTMV2(*, T: DType, cell_clip: float = 0.0, use_peephole: bool = False) -> Kernel:
    return widened(T, _sequence(_IFCO, 0.0, cell_clip, use_peephole))


class _Step(NamedTuple):
    """What a forward step left for its gradient."""

    i: Array
    cs: Array
    f: Array
    o: Array
    ci: Array
    co: Array


class _Factors(NamedTuple):
    """What gradients are multiplied by on their way back through a step, or through several.

    Attributes:
        o: from h to the sums that enter the gate o.
        cs: from h to the state.
        gates: from the state to the sums that enter the gates, `[..., 4, cells]`; of o nothing.
        before: from the state to the state before.
    """

    o: Array
    cs: Array
    gates: Array
    before: Array


def _factors(step: _Step, cs_prev: Array, order: tuple[int, ...]) -> _Factors:
    i, _, f, o, ci, co = step
    gates = np.zeros((*i.shape[:-1], 4, i.shape[-1]), i.dtype)
    np.multiply(ci * i, 1 - i, gates[..., order[0], :])
    np.multiply(i, 1 - ci * ci, gates[..., order[1], :])
    np.multiply(cs_prev * f, 1 - f, gates[..., order[2], :])
    return _Factors(co * o * (1 - o), o * (1 - co * co), gates, f)


def _lstm_step_gradient(
    factors: _Factors, cs_grad: Array, h_grad: Array, peepholes: _Peepholes | None, order: tuple[int, ...]
) -> tuple[Array, Array]:
    """The gradients by the state before and by the sums that enter the gates.

    The clipping of the state has, as in TensorFlow, no part in it.
    """
    into_o = h_grad * factors.o
    into_cs = h_grad * factors.cs + cs_grad
    if peepholes:
        into_cs += into_o * peepholes.wco
    gates = into_cs[..., None, :] * factors.gates
    gates[..., order[3], :] = into_o
    before = into_cs * factors.before
    if peepholes:
        before += gates[..., order[0], :] * peepholes.wci + gates[..., order[2], :] * peepholes.wcf
    return before, gates.reshape(*into_o.shape[:-1], -1)


def _peephole_gradients(
    into: Array, cs_prev: Array, cs: Array, peepholes: _Peepholes | None, order: tuple[int, ...]
) -> tuple[Array, ...]:
    """The gradients by wci, wcf and wco, of all steps given; zeros where there are no peepholes."""
    into_i, _, into_f, into_o = _gates(into, order)
    if not peepholes:
        nothing = np.zeros(cs.shape[-1], cs.dtype)
        return nothing, nothing, nothing
    axes = tuple(range(cs.ndim - 1))
    return tuple((a * b).sum(axis=axes) for a, b in ((into_i, cs_prev), (into_f, cs_prev), (into_o, cs)))


@specialized("LSTMBlockCellGrad", outputs=5)
def LSTMBlockCellGrad(*, T: DType, use_peephole: bool) -> Kernel:
    def gradient(
        x: Array,
        cs_prev: Array,
        h_prev: Array,
        w: Array,
        wci: Array,
        wcf: Array,
        wco: Array,
        b: Array,
        i: Array,
        cs: Array,
        f: Array,
        o: Array,
        ci: Array,
        co: Array,
        cs_grad: Array,
        h_grad: Array,
    ) -> tuple[Array, ...]:
        peepholes = _Peepholes(wci, wcf, wco) if use_peephole else None
        _check_cell(x, cs_prev, h_prev, w, b, peepholes)
        step = _Step(i, cs, f, o, ci, co)
        for name, value in (*step._asdict().items(), ("cs_grad", cs_grad), ("h_grad", h_grad)):
            _expect(name, value, cs_prev.shape)
        before, into = _lstm_step_gradient(_factors(step, cs_prev, _ICFO), cs_grad, h_grad, peepholes, _ICFO)
        return (before, into, *_peephole_gradients(into, cs_prev, cs, peepholes, _ICFO))

    return widened(T, gradient)


def _sequence_gradient(order: tuple[int, ...], use_peephole: bool) -> Kernel:
    def gradient(
        seq_len_max: Array,
        x: Array,
        cs_prev: Array,
        h_prev: Array,
        w: Array,
        wci: Array,
        wcf: Array,
        wco: Array,
        b: Array,
        i: Array,
        cs: Array,
        f: Array,
        o: Array,
        ci: Array,
        co: Array,
        h: Array,
        cs_grad: Array,
        h_grad: Array,
    ) -> tuple[Array, ...]:
        steps = _steps(seq_len_max, x)
        peepholes = _Peepholes(wci, wcf, wco) if use_peephole else None
        _check_cell(_one_step(x), cs_prev, h_prev, w, b, peepholes)
        whole = (len(x), *cs_prev.shape)
        forward = {"i": i, "cs": cs, "f": f, "o": o, "ci": ci, "co": co}
        for name, value in {**forward, "h": h, "cs_grad": cs_grad, "h_grad": h_grad}.items():
            _expect(name, value, whole)
        inputs = x.shape[2]
        recurrent = np.ascontiguousarray(w[inputs:].T)
        into = np.zeros((steps, len(cs_prev), w.shape[1]), x.dtype)
        states = np.concatenate((cs_prev[None], cs[:steps]))
        before, h_before = np.zeros_like(cs_prev), np.zeros_like(h_prev)
        factors = _factors(_Step(*(value[:steps] for value in forward.values())), states[:-1], order)
        for t, here in zip(range(steps - 1, -1, -1), zip(*(part[::-1] for part in factors), strict=True), strict=True):
            before, into[t] = _lstm_step_gradient(
                _Factors(*here), cs_grad[t] + before, h_grad[t] + h_before, peepholes, order
            )
            h_before = matmul(into[t], recurrent)
        x_grad = np.zeros_like(x)
        x_grad[:steps] = matmul(into, w[:inputs].T)
        flat = into.reshape(-1, into.shape[2])
        hidden = np.concatenate((h_prev[None], h[:steps]))[:-1].reshape(-1, cs_prev.shape[1])
        w_grad = np.concatenate((matmul(x[:steps].reshape(-1, inputs).T, flat), matmul(hidden.T, flat)))
        peephole_grads = _peephole_gradients(into, states[:-1], states[1:], peepholes, order)
        return (x_grad, before, h_before, w_grad, *peephole_grads, flat.sum(axis=0))

    return gradient


@specialized("BlockLSTMGrad", outputs=8)
def BlockLSTMGrad(*, T: DType, use_peephole: bool) -> Kernel:
    return widened(T, _sequence_gradient(_ICFO, use_peephole))


@specialized("BlockLSTMGradV2", outputs=8)
def BlockLSTMGradV2(*, T: DType, use_peephole: bool) -> Kernel:
    return widened(T, _sequence_gradient(_IFCO, use_peephole))


# ---- GRU ----
#
# w_ru [inputs + cells, 2 * cells] and b_ru are of the reset and update gates, w_c and b_c of the new state.


def _check_gru(x: Array, h_prev: Array, w_ru: Array, w_c: Array, b_ru: Array, b_c: Array) -> None:
    if x.ndim != 2 or h_prev.ndim != 2:
        raise ValueError(f"x and h_prev must be matrices, got {show(x.shape)} and {show(h_prev.shape)}")
    cells = h_prev.shape[1]
    entering = x.shape[1] + cells
    _expect("h_prev", h_prev, (x.shape[0], cells))
    _expect("w_ru", w_ru, (entering, 2 * cells))
    _expect("w_c", w_c, (entering, cells))
    _expect("b_ru", b_ru, (2 * cells,))
    _expect("b_c", b_c, (cells,))


@specialized("GRUBlockCell", outputs=4)
def GRUBlockCell() -> Callable[..., tuple[Array, ...]]:
    def cell(x: Array, h_prev: Array, w_ru: Array, w_c: Array, b_ru: Array, b_c: Array) -> tuple[Array, ...]:
        _check_gru(x, h_prev, w_ru, w_c, b_ru, b_c)
        cells = h_prev.shape[1]
        ru = sigmoid(matmul(np.concatenate((x, h_prev), axis=1), w_ru) + b_ru)
        r, u = ru[:, :cells], ru[:, cells:]
        c = np.tanh(matmul(np.concatenate((x, h_prev * r), axis=1), w_c) + b_c)
        return r, u, c, u * h_prev + (1 - u) * c

    return cell


@specialized("GRUBlockCellGrad", outputs=4)
def GRUBlockCellGrad() -> Callable[..., tuple[Array, ...]]:
    def gradient(
        x: Array,
        h_prev: Array,
        w_ru: Array,
        w_c: Array,
        b_ru: Array,
        b_c: Array,
        r: Array,
        u: Array,
        c: Array,
        d_h: Array,
    ) -> tuple[Array, ...]:
        _check_gru(x, h_prev, w_ru, w_c, b_ru, b_c)
        for name, value in (("r", r), ("u", u), ("c", c), ("d_h", d_h)):
            _expect(name, value, h_prev.shape)
        inputs = x.shape[1]
        into_c = d_h * (1 - u) * (1 - c * c)
        by_c = matmul(into_c, w_c.T)
        reset = by_c[:, inputs:]
        into_ru = np.concatenate((reset * h_prev * r * (1 - r), d_h * (h_prev - c) * u * (1 - u)), axis=1)
        by_ru = matmul(into_ru, w_ru.T)
        d_x = by_ru[:, :inputs] + by_c[:, :inputs]
        return d_x, by_ru[:, inputs:] + reset * r + d_h * u, into_c, into_ru

    return gradient
