"""The recurrent ops of cuDNN, computed on the CPU: several layers, both directions, LSTM, GRU and plain cells.

All weights and biases are one vector, `params`. It holds the matrices of all layers and then the biases of all
layers; a bidirectional layer counts as two, the forward one first. Of one layer stand there:

    matrices      for each gate  [units, inputs] on the input, then for each gate  [units, outputs] on the last output;
                  with a projection then  [outputs, units]
    biases        for each gate  [units], then for each gate  [units] again: the gates' biases come twice

Gates stand in the order i, f, ci, o (LSTM), r, u, c (GRU); a plain cell has one. `outputs` is `num_proj`, or `units`
where there is no projection. (cuDNN's developer guide: cudnnRNNMode_t, cudnnGetRNNLinLayerMatrixParams.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import scalar, vector
from graphrack.ops.blas import matmul
from graphrack.ops.math import sigmoid
from graphrack.ops.precision import widened
from graphrack.ops.registry import MANY, Kernel, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.state import show

_GATES = {b"rnn_relu": 1, b"rnn_tanh": 1, b"lstm": 4, b"gru": 3}


class _Kind:
    """What the attributes say about a network.

    Attributes:
        gates: how many gates a cell has.
        directions: 1, or 2 for a bidirectional network.
        num_proj: the size that outputs are projected to; 0 for no projection.
    """

    def __init__(self, rnn_mode: bytes, input_mode: bytes, direction: bytes, num_proj: int = 0):
        if num_proj and rnn_mode != b"lstm":
            raise ValueError(f"num_proj is for LSTMs, got num_proj={num_proj} and rnn_mode {rnn_mode.decode()!r}")
        if num_proj < 0:
            raise ValueError(f"num_proj must be at least 0, got {num_proj}")
        self.mode = rnn_mode
        self.input_mode = input_mode
        self.gates = _GATES[rnn_mode]
        self.directions = 2 if direction == b"bidirectional" else 1
        self.num_proj = num_proj

    def layout(self, layers: int, units: int, inputs: int) -> _Layout:
        """The places of all weights. Raises `ValueError` where inputs don't go through weights at all."""
        if min(layers, units, inputs) < 1:
            raise ValueError(
                f"num_layers, num_units and input_size must be at least 1, got {layers}, {units} and {inputs}"
            )
        if self.num_proj > units:
            raise ValueError(f"num_proj must be at most num_units, got {self.num_proj} and {units}")
        if self.input_mode == b"skip_input" or (self.input_mode == b"auto_select" and inputs == units):
            raise ValueError(
                f"input_mode {self.input_mode.decode()!r} with {inputs} inputs and {units} units leaves out the "
                "first layer's weights, which is not supported; 'linear_input' is"
            )
        return _Layout(self, layers, units, inputs)


class _Layout:
    """Where the weights of each layer stand in `params`.

    Attributes:
        matrices: for each layer and direction the shapes of its matrices.
        biases: how many biases, of `units` each, a layer has.
        size: the length of `params`.
    """

    def __init__(self, kind: _Kind, layers: int, units: int, inputs: int):
        self.units = units
        self.outputs = kind.num_proj or units
        self.matrices: list[list[tuple[int, int]]] = []
        for layer in range(layers):
            entering = kind.directions * self.outputs if layer else inputs
            shapes = [(units, entering)] * kind.gates + [(units, self.outputs)] * kind.gates
            if kind.num_proj:
                shapes.append((kind.num_proj, units))
            self.matrices += [shapes] * kind.directions
        self.biases = 2 * kind.gates
        self.size = sum(a * b for shapes in self.matrices for a, b in shapes)
        self.size += len(self.matrices) * self.biases * units

    def split(self, params: Array) -> tuple[list[list[Array]], list[list[Array]]]:
        """The matrices and the biases of each layer, as views."""
        if params.ndim != 1 or params.size != self.size:
            raise ValueError(f"params must be a vector of {self.size} numbers, got shape {show(params.shape)}")
        start = 0
        matrices: list[list[Array]] = []
        for shapes in self.matrices:
            matrices.append([])
            for rows, columns in shapes:
                matrices[-1].append(params[start : start + rows * columns].reshape(rows, columns))
                start += rows * columns
        biases = params[start:].reshape(len(self.matrices), self.biases, self.units)
        return matrices, [list(found) for found in biases]


# ---- Parameters ----


def _layout(kind: _Kind, num_layers: Array, num_units: Array, input_size: Array) -> _Layout:
    return kind.layout(
        scalar("num_layers", num_layers), scalar("num_units", num_units), scalar("input_size", input_size)
    )


@specialized("CudnnRNNParamsSize")
def CudnnRNNParamsSize(
    *,
    S: DType,
    rnn_mode: bytes = b"lstm",
    input_mode: bytes = b"linear_input",
    direction: bytes = b"unidirectional",
    num_proj: int = 0,
) -> Callable[..., Array]:
    kind = _Kind(rnn_mode, input_mode, direction, num_proj)

    def size(num_layers: Array, num_units: Array, input_size: Array) -> Array:
        return np.array([_layout(kind, num_layers, num_units, input_size).size], S.numpy)

    return size


def _to_canonical(kind: _Kind, num_weights: int, num_biases: int) -> Callable[..., list[Array]]:
    def split(num_layers: Array, num_units: Array, input_size: Array, params: Array) -> list[Array]:
        matrices, biases = _layout(kind, num_layers, num_units, input_size).split(params)
        found = [value for layer in matrices for value in layer], [value for layer in biases for value in layer]
        if (len(found[0]), len(found[1])) != (num_weights, num_biases):
            raise ValueError(
                f"there are {len(found[0])} weights and {len(found[1])} biases, the op expects {num_weights} and "
                f"{num_biases}"
            )
        return [*found[0], *found[1]]

    return split


@specialized("CudnnRNNParamsToCanonical", outputs=MANY)
def CudnnRNNParamsToCanonical(
    *,
    num_params: int,
    rnn_mode: bytes = b"lstm",
    input_mode: bytes = b"linear_input",
    direction: bytes = b"unidirectional",
) -> Callable[..., list[Array]]:
    return _to_canonical(_Kind(rnn_mode, input_mode, direction), num_params, num_params)


@specialized("CudnnRNNParamsToCanonicalV2", outputs=MANY)
def CudnnRNNParamsToCanonicalV2(
    *,
    num_params_weights: int,
    num_params_biases: int,
    rnn_mode: bytes = b"lstm",
    input_mode: bytes = b"linear_input",
    direction: bytes = b"unidirectional",
    num_proj: int = 0,
) -> Callable[..., list[Array]]:
    return _to_canonical(_Kind(rnn_mode, input_mode, direction, num_proj), num_params_weights, num_params_biases)


def _from_canonical(kind: _Kind, num_weights: int) -> Callable[..., Array]:
    def joined(num_layers: Array, num_units: Array, input_size: Array, *values: Array) -> Array:
        layout = _layout(kind, num_layers, num_units, input_size)
        weights, biases = values[:num_weights], values[num_weights:]
        shapes = [shape for layer in layout.matrices for shape in layer]
        _expect_shapes("weights", weights, shapes)
        _expect_shapes("biases", biases, [(layout.units,)] * (len(layout.matrices) * layout.biases))
        return np.concatenate([value.reshape(-1) for value in values])

    return joined


def _expect_shapes(name: str, values: Sequence[Array], shapes: Sequence[tuple[int, ...]]) -> None:
    if len(values) != len(shapes):
        raise ValueError(f"there must be {len(shapes)} {name}, got {len(values)}")
    for i, (value, shape) in enumerate(zip(values, shapes, strict=True)):
        if value.shape != shape:
            raise ValueError(f"{name}[{i}] must have shape {show(shape)}, got {show(value.shape)}")


@specialized("CudnnRNNCanonicalToParams")
def CudnnRNNCanonicalToParams(
    *,
    num_params: int,
    rnn_mode: bytes = b"lstm",
    input_mode: bytes = b"linear_input",
    direction: bytes = b"unidirectional",
) -> Callable[..., Array]:
    return _from_canonical(_Kind(rnn_mode, input_mode, direction), num_params)


@specialized("CudnnRNNCanonicalToParamsV2")
def CudnnRNNCanonicalToParamsV2(
    *,
    num_params_weights: int,
    rnn_mode: bytes = b"lstm",
    input_mode: bytes = b"linear_input",
    direction: bytes = b"unidirectional",
    num_proj: int = 0,
) -> Callable[..., Array]:
    return _from_canonical(_Kind(rnn_mode, input_mode, direction, num_proj), num_params_weights)


# ---- Running ----

_State = tuple[Array, ...]


def _cell(kind: _Kind, matrices: list[Array], biases: list[Array]) -> tuple[Array, Array, Callable[..., _State]]:
    """One layer in one direction.

    Returns:
        the matrix `[inputs, gates * units]` and the bias that make of inputs what enters the gates, and the function
        that goes from that of one step and the states before to those after: `h`, for an LSTM `h` and `c`.
    """
    n = kind.gates
    units = len(matrices[0])
    entering = np.concatenate(matrices[:n]).T
    recurrent = np.ascontiguousarray(np.concatenate(matrices[n : 2 * n]).T)
    first, second = np.concatenate(biases[:n]), np.concatenate(biases[n:])

    def parts(gates: Array) -> tuple[Array, ...]:
        return tuple(gates[:, k * units : (k + 1) * units] for k in range(n))

    if kind.mode == b"lstm":
        projection = matrices[2 * n].T if kind.num_proj else None

        def lstm(gates: Array, h: Array, c: Array) -> _State:
            i, f, ci, o = parts(gates + matmul(h, recurrent))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(ci)
            h = sigmoid(o) * np.tanh(c)
            return (h if projection is None else matmul(h, projection)), c

        return entering, first + second, lstm
    if kind.mode == b"gru":

        def gru(gates: Array, h: Array) -> _State:
            r, u, c = parts(gates)
            from_r, from_u, from_c = parts(matmul(h, recurrent) + second)
            u = sigmoid(u + from_u)
            return ((1 - u) * np.tanh(c + sigmoid(r + from_r) * from_c) + u * h,)

        return entering, first, gru
    if kind.mode == b"rnn_tanh":
        return entering, first + second, lambda gates, h: (np.tanh(gates + matmul(h, recurrent)),)
    return entering, first + second, lambda gates, h: (np.maximum(gates + matmul(h, recurrent), 0),)


def _direction(
    x: Array, states: _State, lengths: Array | None, backward: bool, cell: tuple[Array, Array, Callable[..., _State]]
) -> tuple[Array, _State]:
    """The outputs `[time, batch, outputs]` of one layer in one direction, and the states after it."""
    weights, bias, step = cell
    steps, batch, inputs = x.shape
    gates = (matmul(x.reshape(-1, inputs), weights) + bias).reshape(steps, batch, weights.shape[1])
    out = np.zeros((steps, batch, states[0].shape[1]), x.dtype)
    for t in reversed(range(steps)) if backward else range(steps):
        after = step(gates[t], *states)
        if lengths is None:
            states, out[t] = after, after[0]
        else:  # past its end a sequence's states stay, and its outputs are zero
            goes_on = (t < lengths)[:, None]
            out[t] = np.where(goes_on, after[0], 0)
            states = tuple(np.where(goes_on, new, old) for new, old in zip(after, states, strict=True))
    return out, states


def _network(kind: _Kind, x: Array, input_h: Array, input_c: Array, params: Array, lengths: Array | None) -> Any:
    """`output`, `output_h` and, for an LSTM, `output_c`; time comes first in `x`, layers first in the states."""
    if x.ndim != 3 or input_h.ndim != 3:
        raise ValueError(f"input and input_h must have rank 3, got {show(x.shape)} and {show(input_h.shape)}")
    batch = x.shape[1]
    layers, rest = divmod(len(input_h), kind.directions)
    is_lstm = kind.mode == b"lstm"
    if is_lstm and input_c.ndim != 3:
        raise ValueError(f"input_c must have rank 3, got {show(input_c.shape)}")
    units = input_c.shape[2] if is_lstm else input_h.shape[2]
    layout = kind.layout(layers, units, x.shape[2])
    states: list[tuple[str, Array, int]] = [("input_h", input_h, layout.outputs)]
    if is_lstm:
        states.append(("input_c", input_c, units))
    for name, value, size in states:
        if rest or value.shape != (len(input_h), batch, size):
            raise ValueError(
                f"{name} must have shape [layers * {kind.directions}, {batch}, {size}], got {show(value.shape)}"
            )
    matrices, biases = layout.split(params)
    ends: list[_State] = []
    for layer in range(layers):
        outs = []
        for direction in range(kind.directions):
            k = layer * kind.directions + direction
            start = tuple(value[k] for _, value, _ in states)
            out, end = _direction(x, start, lengths, direction == 1, _cell(kind, matrices[k], biases[k]))
            outs.append(out)
            ends.append(end)
        x = np.concatenate(outs, axis=2) if len(outs) > 1 else outs[0]
    return (x, *(np.stack(found) for found in zip(*ends, strict=True)))


def _run(kind: _Kind, T: DType, dropout: float, is_training: bool, time_major: bool = True) -> Kernel:
    if is_training and dropout:
        raise ValueError(
            f"dropout={dropout} while training is not supported: cuDNN's random numbers are its own; "
            "set is_training=False"
        )

    def turned(value: Array) -> Array:
        return value if time_major or value.ndim != 3 else value.swapaxes(0, 1)

    def run(input: Array, input_h: Array, input_c: Array, params: Array, *rest: Array) -> tuple[Array, ...]:
        x = turned(input)
        lengths = _lengths(x, *rest) if rest else None
        outputs = [turned(value) for value in _network(kind, x, turned(input_h), turned(input_c), params, lengths)]
        if len(outputs) == 2:  # no cell states
            outputs.append(np.zeros((), input.dtype))
        return (*outputs, np.zeros(0, input.dtype))

    return widened(T, run)


def _lengths(x: Array, sequence_lengths: Array) -> Array | None:
    found = vector("sequence_lengths", sequence_lengths)
    if x.ndim == 3 and len(found) != x.shape[1]:
        raise ValueError(f"sequence_lengths must have {x.shape[1]} elements, the batch, got {len(found)}")
    for i, length in enumerate(found):
        if not 0 <= length <= len(x):
            raise ValueError(f"sequence_lengths[{i}] must be in [0, {len(x)}], the number of time steps, got {length}")
    return None if min(found, default=0) == len(x) else np.array(found)


def _with_host_memory(kernel: Kernel) -> Kernel:
    """The kernel with one output more, which means something to cuDNN alone."""
    return lambda *inputs: (*kernel(*inputs), np.zeros(0, np.int8))


@specialized("CudnnRNN", outputs=4)
def CudnnRNN(
    *,
    T: DType,
    rnn_mode: bytes = b"lstm",
    input_mode: bytes = b"linear_input",
    direction: bytes = b"unidirectional",
    dropout: float = 0.0,
    is_training: bool = True,
) -> Kernel:
    return _run(_Kind(rnn_mode, input_mode, direction), T, dropout, is_training)


@specialized("CudnnRNNV2", outputs=5)
def CudnnRNNV2(
    *,
    T: DType,
    rnn_mode: bytes = b"lstm",
    input_mode: bytes = b"linear_input",
    direction: bytes = b"unidirectional",
    dropout: float = 0.0,
    is_training: bool = True,
) -> Kernel:
    return _with_host_memory(_run(_Kind(rnn_mode, input_mode, direction), T, dropout, is_training))


@specialized("CudnnRNNV3", outputs=5)
def CudnnRNNV3(
    *,
    T: DType,
    rnn_mode: bytes = b"lstm",
    input_mode: bytes = b"linear_input",
    direction: bytes = b"unidirectional",
    dropout: float = 0.0,
    num_proj: int = 0,
    is_training: bool = True,
    time_major: bool = True,
) -> Kernel:
    kind = _Kind(rnn_mode, input_mode, direction, num_proj)
    return _with_host_memory(_run(kind, T, dropout, is_training, time_major))
