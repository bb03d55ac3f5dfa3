"""Layers and cells as TensorFlow 1's `tf.layers` and `tf.nn.rnn_cell` wrote them into graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

Activation = Callable[[Any], Any] | None


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Fixed float32 data."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def uniform(*shape: int, seed: int = 0) -> np.ndarray:
    """Fixed float32 data from 0 to 1."""
    return np.random.default_rng([seed, *shape]).uniform(size=shape).astype(np.float32)


def integers(high: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Fixed int32 data below `high`."""
    return np.random.default_rng([seed, high, *shape]).integers(0, high, shape).astype(np.int32)


def one_hot(high: int, count: int, seed: int = 0) -> np.ndarray:
    """Fixed float32 one-hot rows."""
    return np.eye(high, dtype=np.float32)[integers(high, count, seed=seed)]


def conv(
    x: Any, filters: int, size: int = 3, *, strides: int = 1, padding: str = "SAME", dilations: int = 1,
    activation: Activation = tf.nn.relu, bias: bool = True, name: str = "conv",
) -> Any:  # fmt: skip
    with tf.variable_scope(None, name):
        kernel = tf.get_variable("kernel", [size, size, x.shape[-1], filters])
        y = tf.nn.conv2d(x, kernel, strides=strides, padding=padding, dilations=dilations)
        if bias:
            y = tf.nn.bias_add(y, tf.get_variable("bias", [filters], initializer=tf.zeros_initializer()))
        return y if activation is None else activation(y)


def depthwise(x: Any, size: int = 3, *, strides: int = 1, name: str = "depthwise") -> Any:
    with tf.variable_scope(None, name):
        kernel = tf.get_variable("depthwise_kernel", [size, size, x.shape[-1], 1])
        return tf.nn.depthwise_conv2d(x, kernel, [1, strides, strides, 1], "SAME")


def upsample(x: Any, filters: int, *, activation: Activation = tf.nn.relu, name: str = "conv_transpose") -> Any:
    """A transposed convolution that doubles height and width."""
    with tf.variable_scope(None, name):
        kernel = tf.get_variable("kernel", [4, 4, filters, x.shape[-1]])
        shape = tf.shape(x)
        y = tf.nn.conv2d_transpose(x, kernel, [shape[0], shape[1] * 2, shape[2] * 2, filters], [1, 2, 2, 1], "SAME")
        y.set_shape([None, None if x.shape[1] is None else 2 * x.shape[1], 2 * x.shape[2], filters])
        y = tf.nn.bias_add(y, tf.get_variable("bias", [filters], initializer=tf.zeros_initializer()))
        return y if activation is None else activation(y)


def dense(x: Any, units: int, activation: Activation = None, name: str = "dense") -> Any:
    with tf.variable_scope(None, name):
        kernel = tf.get_variable("kernel", [x.shape[-1], units])
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        y = tf.nn.bias_add(tf.matmul(x, kernel) if len(x.shape) == 2 else tf.tensordot(x, kernel, 1), bias)
        return y if activation is None else activation(y)


def flatten(x: Any) -> Any:
    size = int(np.prod([int(s) for s in x.shape[1:]]))
    return tf.reshape(x, [-1, size])


def batch_norm(x: Any, training: Any, *, momentum: float = 0.9, epsilon: float = 1e-3, name: str = "bn") -> Any:
    """`training` is a bool or a tensor; moving averages are updated by ops in UPDATE_OPS."""
    with tf.variable_scope(None, name):
        size = [x.shape[-1]]
        gamma = tf.get_variable("gamma", size, initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", size, initializer=tf.zeros_initializer())
        mean = tf.get_variable("moving_mean", size, initializer=tf.zeros_initializer(), trainable=False)
        variance = tf.get_variable("moving_variance", size, initializer=tf.ones_initializer(), trainable=False)

        def of_batch() -> Any:
            return tf.nn.fused_batch_norm(x, gamma, beta, epsilon=epsilon)

        def of_moving() -> Any:
            return tf.nn.fused_batch_norm(x, gamma, beta, mean, variance, epsilon, is_training=False)

        if isinstance(training, bool):
            y, batch_mean, batch_variance = of_batch() if training else of_moving()
            rate: Any = 1 - momentum if training else None
        else:
            y, batch_mean, batch_variance = tf.cond(training, of_batch, of_moving)
            rate = tf.cond(training, lambda: 1 - momentum, lambda: 0.0)
        if rate is not None:
            for kept, now in ((mean, batch_mean), (variance, batch_variance)):
                tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, tf.assign_sub(kept, (kept - now) * rate))
        return y


def layer_norm(x: Any, name: str = "layer_norm") -> Any:
    with tf.variable_scope(None, name):
        gamma = tf.get_variable("gamma", [x.shape[-1]], initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", [x.shape[-1]], initializer=tf.zeros_initializer())
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-6)


def minimize(optimizer: Any, loss: Any, **arguments: Any) -> Any:
    """A train step that also runs UPDATE_OPS, as the documentation of batch norms tells to."""
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        return optimizer.minimize(loss, name="train_step", **arguments)


def classified(logits: Any, labels: np.ndarray) -> tuple[Any, Any]:
    """A placeholder of labels, and the mean cross-entropy."""
    y = tf.placeholder(tf.int32, [None], name="labels")
    return y, tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))


class Cell:
    """What `tf.nn.dynamic_rnn` and its kin want of a cell: sizes, a first state, a step."""

    state_size: Any
    output_size: int

    def __init__(self, name: str, units: int):
        self.name = name
        self.units = self.output_size = self.state_size = units

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        make = lambda size: tf.zeros(tf.stack([batch_size, size]), dtype)
        state = tf.nest.map_structure(make, self.state_size)
        tf.nest.map_structure(lambda s, size: s.set_shape([None, size]), state, self.state_size)
        return state

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        with tf.variable_scope(scope or self.name, reuse=tf.AUTO_REUSE):
            return self.step(inputs, state)

    def step(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def project(self, x: Any, size: int, name: str, bias: float = 0.0) -> Any:
        kernel = tf.get_variable(f"{name}/kernel", [x.shape[-1], size])
        return tf.nn.bias_add(
            tf.matmul(x, kernel), tf.get_variable(f"{name}/bias", [size], initializer=tf.constant_initializer(bias))
        )


class LSTMCell(Cell):
    """BasicLSTMCell."""

    def __init__(self, units: int, name: str = "basic_lstm_cell"):
        super().__init__(name, units)
        self.state_size = (units, units)

    def step(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        c, h = state
        gates = self.project(tf.concat([inputs, h], 1), 4 * self.units, "gates")
        i, j, f, o = tf.split(gates, 4, axis=1)
        new_c = tf.add(c * tf.sigmoid(f + 1.0), tf.sigmoid(i) * tf.tanh(j))
        new_h = tf.tanh(new_c) * tf.sigmoid(o)
        return new_h, (new_c, new_h)


class GRUCell(Cell):
    """GRUCell."""

    def __init__(self, units: int, name: str = "gru_cell"):
        super().__init__(name, units)

    def step(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        gates = tf.sigmoid(self.project(tf.concat([inputs, state], 1), 2 * self.units, "gates", 1.0))
        r, u = tf.split(gates, 2, axis=1)
        c = tf.tanh(self.project(tf.concat([inputs, r * state], 1), self.units, "candidate"))
        new = u * state + (1 - u) * c
        return new, new


class Stacked(Cell):
    """MultiRNNCell."""

    def __init__(self, cells: list[Cell]):
        super().__init__("multi_rnn_cell", cells[-1].output_size)
        self.cells = cells
        self.state_size = tuple(cell.state_size for cell in cells)

    def step(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        states = []
        for i, (cell, old) in enumerate(zip(self.cells, state, strict=True)):
            with tf.variable_scope(f"cell_{i}"):
                inputs, new = cell(inputs, old)
            states.append(new)
        return inputs, tuple(states)
