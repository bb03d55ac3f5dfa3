"""cuDNN's recurrent ops. TensorFlow runs them on GPUs only: Keras' layers with the same weights are the judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf2
from recording import Run, record

from graphrack.formats.dtypes import FLOAT, INT32, from_numpy
from graphrack.formats.protos import graph_pb2
from graphrack.ops import registry

UNITS, INPUTS, BATCH, STEPS = 3, 5, 4, 6
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
LENGTHS = [6, 2, 0, 5]


def kernel(name: str, **attributes: Any) -> Any:
    op = registry.lookup(name)
    assert op is not None
    given = {k: v.encode() if isinstance(v, str) else v for k, v in attributes.items()}
    bound = op.bind("node", {"T": FLOAT, "S": INT32, **given}, {})

    def run(*inputs: Any) -> Any:
        found = bound(*inputs)
        outputs = [found] if isinstance(found, np.ndarray) else found
        record(graph(name, given, inputs), [Run([f"op:{i}" for i in range(len(outputs))],
               {f"x{i}:0": value for i, value in enumerate(inputs)}, outputs)], 1e-5, 1e-5, name)  # fmt: skip
        return found

    return run


def graph(name: str, attributes: dict[str, Any], inputs: Sequence[Any]) -> bytes:
    """A GraphDef of that one op."""
    made = graph_pb2.GraphDef()
    for i, value in enumerate(inputs):
        placeholder = made.node.add(name=f"x{i}", op="Placeholder")
        placeholder.attr["dtype"].type = from_numpy(np.asarray(value).dtype).number
    node = made.node.add(name="op", op=name, input=[f"x{i}" for i in range(len(inputs))])
    for key, value in {"T": FLOAT, "S": INT32, **attributes}.items():
        kind = {bool: "b", int: "i", float: "f", bytes: "s"}.get(type(value), "type")
        setattr(node.attr[key], kind, value.number if kind == "type" else value)
    return made.SerializeToString()


def keras_layer(mode: str, weights: Sequence[Any], backwards: bool) -> Any:
    """One layer in one direction, with cuDNN's weights in Keras' order and layout."""
    gates = GATES[mode]
    made: dict[str, Any] = {"return_sequences": True, "return_state": True, "go_backwards": backwards}
    layer = {
        "lstm": lambda: tf2.keras.layers.LSTM(UNITS, **made),
        "gru": lambda: tf2.keras.layers.GRU(UNITS, reset_after=True, **made),
        "rnn_tanh": lambda: tf2.keras.layers.SimpleRNN(UNITS, activation="tanh", **made),
        "rnn_relu": lambda: tf2.keras.layers.SimpleRNN(UNITS, activation="relu", **made),
    }[mode]()
    matrices, biases = weights
    order = [1, 0, 2] if mode == "gru" else range(gates)  # Keras has the update gate first
    kernels = np.concatenate([matrices[k].T for k in order], axis=1)
    recurrent = np.concatenate([matrices[gates + k].T for k in order], axis=1)
    first = np.concatenate([biases[k] for k in order])
    second = np.concatenate([biases[gates + k] for k in order])
    layer.build((None, None, matrices[0].shape[1]))
    layer.set_weights([kernels, recurrent, np.stack((first, second)) if mode == "gru" else first + second])
    return layer


def run_by_keras(
    mode: str, x: Any, layers: list[list[Any]], h: Any, c: Any, lengths: list[int]
) -> tuple[Any, Any, Any]:
    """`[time, batch, outputs]` and the last states, one sequence of the batch after another."""
    hs, cs = np.array(h), np.array(c)
    out = np.zeros((STEPS, BATCH, UNITS * len(layers[0])), np.float32)
    for b, length in enumerate(lengths):
        sequence = x[:length, b][None]
        for number, directions in enumerate(layers):
            found = []
            for k, weights in enumerate(directions):
                place = number * len(directions) + k
                state = [h[place, b][None]] + ([c[place, b][None]] if mode == "lstm" else [])
                if length == 0:
                    found.append(np.zeros((1, 0, UNITS), np.float32))
                    continue
                result = keras_layer(mode, weights, k == 1)(sequence, initial_state=state)
                sequence_out = np.asarray(result[0])
                found.append(sequence_out[:, ::-1] if k else sequence_out)
                hs[place, b] = np.asarray(result[1])[0]
                if mode == "lstm":
                    cs[place, b] = np.asarray(result[2])[0]
            sequence = np.concatenate(found, axis=2)
        out[:length, b] = sequence[0]
    return out, hs, cs


def weights_of(mode: str, layers: int, directions: int) -> tuple[list[list[Any]], Any]:
    """Weights by layer and direction, and as cuDNN's vector: all matrices, then all biases."""
    rng = np.random.default_rng(layers + directions)
    found: list[list[Any]] = []
    for layer in range(layers):
        entering = directions * UNITS if layer else INPUTS
        shapes = [(UNITS, entering)] * GATES[mode] + [(UNITS, UNITS)] * GATES[mode]
        found.append([])
        for _ in range(directions):
            matrices = [(rng.normal(size=shape) * 0.5).astype(np.float32) for shape in shapes]
            biases = [(rng.normal(size=UNITS) * 0.5).astype(np.float32) for _ in shapes]
            found[-1].append((matrices, biases))
    flat = [w for layer in found for w in layer]
    vector = [v.ravel() for k in range(2) for w in flat for v in w[k]]
    return found, np.concatenate(vector)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("direction", ["unidirectional", "bidirectional"])
@pytest.mark.parametrize("mode", GATES)
def test_networks_give_what_keras_layers_give(mode: str, direction: str, layers: int) -> None:
    directions = 2 if direction == "bidirectional" else 1
    weights, params = weights_of(mode, layers, directions)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(STEPS, BATCH, INPUTS)).astype(np.float32)
    h = rng.normal(size=(layers * directions, BATCH, UNITS)).astype(np.float32)
    c = rng.normal(size=h.shape).astype(np.float32)
    input_c = c if mode == "lstm" else np.zeros((), np.float32)
    attributes: dict[str, Any] = {"rnn_mode": mode, "direction": direction, "is_training": False}

    def compare(found: Any, expected: Any) -> None:
        for ours, theirs in zip(found[: 3 if mode == "lstm" else 2], expected, strict=False):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        assert all(np.asarray(v).dtype == np.float32 for v in found[:4])

    expected = run_by_keras(mode, x, weights, h, c, [STEPS] * BATCH)
    compare(kernel("CudnnRNN", **attributes)(x, h, input_c, params), expected)
    compare(kernel("CudnnRNNV2", **attributes)(x, h, input_c, params), expected)
    ragged = run_by_keras(mode, x, weights, h, c, LENGTHS)
    lengths = np.array(LENGTHS, np.int32)
    compare(kernel("CudnnRNNV3", **attributes)(x, h, input_c, params, lengths), ragged)

    def turn(value: Any) -> Any:
        return value.swapaxes(0, 1) if value.ndim == 3 else value

    batch_major = kernel("CudnnRNNV3", **attributes, time_major=False)
    found = batch_major(turn(x), turn(h), turn(input_c), params, lengths)
    compare([turn(v) for v in found], ragged)


@pytest.mark.parametrize("mode", GATES)
def test_parameters_go_to_canonical_ones_and_back(mode: str) -> None:
    weights, params = weights_of(mode, 2, 2)
    sizes = [np.int32(2), np.int32(UNITS), np.int32(INPUTS)]
    attributes = {"rnn_mode": mode, "direction": "bidirectional"}
    count = 2 * 2 * 2 * GATES[mode]
    split = kernel("CudnnRNNParamsToCanonical", num_params=count, **attributes)(*map(np.asarray, sizes), params)
    flat = [w for layer in weights for w in layer]
    expected = [v for k in range(2) for w in flat for v in w[k]]
    assert len(split) == len(expected)
    for found, value in zip(split, expected, strict=True):
        np.testing.assert_array_equal(found, value)
    numbers = {"num_params_weights": count, "num_params_biases": count}
    again = kernel("CudnnRNNParamsToCanonicalV2", **numbers, **attributes)(*map(np.asarray, sizes), params)
    for one, other in zip(split, again, strict=True):
        np.testing.assert_array_equal(one, other)
    joined = kernel("CudnnRNNCanonicalToParams", num_params=count, **attributes)(*map(np.asarray, sizes), *split)
    np.testing.assert_array_equal(joined, params)
    joined = kernel("CudnnRNNCanonicalToParamsV2", **numbers, **attributes)(*map(np.asarray, sizes), *split)
    np.testing.assert_array_equal(joined, params)
    size = kernel("CudnnRNNParamsSize", **attributes)(*map(np.asarray, sizes))
    assert size.tolist() == [params.size]
    assert size.dtype == np.int32


def test_a_projection_makes_smaller_outputs() -> None:
    rng = np.random.default_rng(0)
    projected, sizes = 2, [np.array(v, np.int32) for v in (1, UNITS, INPUTS)]
    attributes = {"rnn_mode": "lstm", "num_proj": projected}
    (size,) = kernel("CudnnRNNParamsSize", **attributes)(*sizes)
    assert size == 4 * UNITS * (INPUTS + projected) + projected * UNITS + 8 * UNITS
    params = rng.normal(size=size).astype(np.float32)
    split = kernel("CudnnRNNParamsToCanonicalV2", **attributes, num_params_weights=9, num_params_biases=8)(
        *sizes, params
    )
    x = rng.normal(size=(1, BATCH, INPUTS)).astype(np.float32)
    h, c = rng.normal(size=(1, BATCH, projected)), rng.normal(size=(1, BATCH, UNITS))
    run = kernel("CudnnRNNV3", **attributes, is_training=False)
    output, _, output_c, *_ = run(x, np.float32(h), np.float32(c), params, np.ones(BATCH, np.int32))
    sums = [x[0] @ split[k].T + h[0] @ split[4 + k].T + split[9 + k] + split[13 + k] for k in range(4)]
    i, f, o = (1 / (1 + np.exp(-sums[k])) for k in (0, 1, 3))
    cells = f * c[0] + i * np.tanh(sums[2])
    np.testing.assert_allclose(output_c[0], cells, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(output[0], (o * np.tanh(cells)) @ split[8].T, rtol=1e-4, atol=1e-5)


def test_what_is_wrong_is_named() -> None:
    x, h = np.zeros((STEPS, BATCH, INPUTS), np.float32), np.zeros((1, BATCH, UNITS), np.float32)
    size = 4 * UNITS * (INPUTS + UNITS) + 8 * UNITS
    params = np.zeros(size, np.float32)
    run = kernel("CudnnRNNV3", is_training=False)
    lengths = np.full(BATCH, STEPS, np.int32)
    with pytest.raises(ValueError, match=rf"params must be a vector of {size} numbers, got shape \[{size - 1}\]"):
        run(x, h, h, params[1:], lengths)
    with pytest.raises(ValueError, match=r"sequence_lengths\[0\] must be in \[0, 6\].*got 7"):
        run(x, h, h, params, lengths + 1)
    with pytest.raises(ValueError, match=r"input_c must have shape"):
        run(x, h, h[:, :2], params, lengths)
    with pytest.raises(ValueError, match=r"dropout=0\.5 while training"):
        kernel("CudnnRNN", dropout=0.5)
    with pytest.raises(ValueError, match="'skip_input'.*'linear_input'"):
        kernel("CudnnRNN", input_mode="skip_input")(x, h, h, params)
    with pytest.raises(ValueError, match="num_proj is for LSTMs"):
        kernel("CudnnRNNV3", rnn_mode="gru", num_proj=2)
    sizes = [np.array(v, np.int32) for v in (1, UNITS, INPUTS)]
    with pytest.raises(ValueError, match="8 weights and 8 biases, the op expects 6 and 6"):
        kernel("CudnnRNNParamsToCanonical", num_params=6)(*sizes, params)
    values = [np.zeros((INPUTS, UNITS), np.float32)] + [np.zeros(1, np.float32)] * 15
    with pytest.raises(ValueError, match=r"weights\[0\] must have shape \[3,5\], got \[5,3\]"):
        kernel("CudnnRNNCanonicalToParams", num_params=8)(*sizes, *values)
