"""Every function of `tf.layers`, and the cells of `tf.nn.rnn_cell`: their graphs with variables, initialisers too.

The public names need Keras 2. TensorFlow still has the functions behind them, and those are what is run here; all but
that of batch normalisation, which the graphs of `tests/endtoend` have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import Programs, agree
from ops.operands import FLOATS
from tensorflow.python.keras.layers.legacy_rnn import rnn_cell_impl
from tensorflow.python.layers import layers as functions


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


class Functions:
    """The functions of `tf.layers`, without its classes."""


for _name in dir(functions):
    if _name[0].islower():
        setattr(Functions, _name, staticmethod(getattr(functions, _name)))

layers = Programs(Functions, {})
ROWS, SERIES, IMAGE, VOLUME = numbers(3, 5), numbers(2, 9, 3), numbers(2, 7, 8, 3), numbers(2, 4, 5, 6, 3)

layers("dense", ROWS, 4, dtypes=FLOATS)
layers("dense", SERIES, 4, activation=tf.nn.relu, use_bias=False)
layers(
    "dense", ROWS, 4, kernel_regularizer=lambda w: tf.nn.l2_loss(w), kernel_constraint=lambda w: tf.clip_by_norm(w, 1.0)
)
for initializer in (
    tf.truncated_normal_initializer(stddev=0.1, seed=3),
    tf.orthogonal_initializer(seed=3),
    tf.variance_scaling_initializer(2.0, "fan_out", "normal", seed=3),
    tf.glorot_normal_initializer(seed=3),
    tf.random_uniform_initializer(-1, 1, seed=3),
    tf.uniform_unit_scaling_initializer(seed=3),
    tf.initializers.identity(),
    tf.constant_initializer(0.3),
):
    layers("dense", ROWS, 5, kernel_initializer=initializer, bias_initializer=tf.ones_initializer(), rtol=1e-3)
for padding in ("same", "valid"):
    for strides, dilation in ((1, 1), (2, 1), (1, 2)):
        more = {"strides": strides, "dilation_rate": dilation, "padding": padding}
        layers("conv1d", SERIES, 4, 3, **more)
        layers("conv2d", IMAGE, 4, 3, **more)
        layers("separable_conv2d", IMAGE, 4, 3, depth_multiplier=2, **more)
        layers("separable_conv1d", SERIES, 4, 3, **more)
        if dilation == 1:
            layers("conv3d", VOLUME, 4, 2, **more)
            layers("conv2d_transpose", IMAGE, 4, 3, strides=strides, padding=padding)
            layers("conv3d_transpose", VOLUME, 4, 2, strides=strides, padding=padding)
    for kind in ("average", "max"):
        layers(f"{kind}_pooling1d", SERIES, 3, 2, padding)
        layers(f"{kind}_pooling2d", IMAGE, [3, 2], 2, padding)
        layers(f"{kind}_pooling3d", VOLUME, 2, [1, 2, 2], padding)
layers("conv2d", IMAGE, 4, [3, 2], activation=tf.nn.elu, bias_initializer=tf.ones_initializer())
layers("conv2d", IMAGE.transpose(0, 3, 1, 2).copy(), 4, 3, data_format="channels_first")
for training in (True, False):
    layers("dropout", ROWS, 0.4, seed=3, training=training)
layers("dropout", ROWS, 0.4, seed=3, training=np.bool_(True), hidden=False)
layers("dropout", ROWS, 0.4, seed=3, training=np.bool_(True), known=False)
layers("dropout", ROWS, 0.4, noise_shape=[3, 1], seed=3, training=True)
layers("flatten", VOLUME)
layers("flatten", ROWS)


class Cells:
    """The cells of `tf.nn.rnn_cell`."""

    BasicLSTMCell = rnn_cell_impl.BasicLSTMCell
    BasicRNNCell = rnn_cell_impl.BasicRNNCell
    DropoutWrapper = rnn_cell_impl.DropoutWrapper
    GRUCell = rnn_cell_impl.GRUCell
    LSTMCell = rnn_cell_impl.LSTMCell
    LSTMStateTuple = rnn_cell_impl.LSTMStateTuple
    MultiRNNCell = rnn_cell_impl.MultiRNNCell
    RNNCell = rnn_cell_impl.RNNCell
    ResidualWrapper = rnn_cell_impl.ResidualWrapper
    DeviceWrapper = rnn_cell_impl.DeviceWrapper


cells = Programs(
    Cells,
    {
        "RNNCell": "what cells inherit from",
        "LSTMStateTuple": "what LSTM cells give",
        "DeviceWrapper": "places ops",
    },
)
LENGTHS = np.array([9, 4], np.int32)


def unrolled(cell: Any, inputs: Any, lengths: Any, *args: Any, **kwargs: Any) -> Any:
    # One iteration at a time: else TensorFlow draws random numbers in the order in which threads come.
    return tf.nn.dynamic_rnn(cell(*args, **kwargs), inputs, lengths, dtype=tf.float32, parallel_iterations=1)


for name in ("BasicRNNCell", "GRUCell", "BasicLSTMCell", "LSTMCell"):
    cells(name, SERIES, LENGTHS, 4, use=unrolled)
    cells(name, SERIES, LENGTHS, 4, activation=tf.nn.relu, use=unrolled)
cells("BasicLSTMCell", SERIES, LENGTHS, 4, forget_bias=0.5, use=unrolled)
cells("LSTMCell", SERIES, LENGTHS, 4, use_peepholes=True, cell_clip=0.5, num_proj=3, proj_clip=0.4, use=unrolled)
cells("LSTMCell", SERIES, LENGTHS, 4, num_unit_shards=1, initializer=tf.random_uniform_initializer(-1, 1), use=unrolled)
for keep in ({"input_keep_prob": 0.6}, {"output_keep_prob": 0.6, "state_keep_prob": 0.7}):
    for again in (True, False):
        cells(
            "DropoutWrapper", SERIES, LENGTHS, seed=3, **keep, variational_recurrent=again, input_size=3,
            use=lambda f, x, n, **k: unrolled(lambda: f(rnn_cell_impl.GRUCell(4), dtype=tf.float32, **k), x, n),
        )  # fmt: skip
cells("MultiRNNCell", SERIES, LENGTHS, use=lambda f, x, n: unrolled(
    lambda: f([rnn_cell_impl.LSTMCell(4), rnn_cell_impl.GRUCell(3)]), x, n))  # fmt: skip
cells("ResidualWrapper", SERIES, LENGTHS, use=lambda f, x, n: unrolled(lambda: f(rnn_cell_impl.GRUCell(3)), x, n))

TABLES = {"layers": layers, "cells": cells}


@pytest.mark.parametrize(("program", "options"), [p for table in TABLES.values() for p in table.parameters()])
@pytest.mark.parametrize("resources", [False, True], ids=["references", "resources"])
def test_tf_layers_and_cells(program: Any, options: Any, resources: bool) -> None:
    enabled = tf.resource_variables_enabled()
    (tf.enable_resource_variables if resources else tf.disable_resource_variables)()
    try:
        agree(program, **options)
    finally:
        (tf.enable_resource_variables if enabled else tf.disable_resource_variables)()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_function_of_the_namespace_is_here(table: Programs) -> None:
    assert table.missing() == []
