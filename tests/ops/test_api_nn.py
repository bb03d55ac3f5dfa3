"""Every public function of `tf.nn`: programs that TensorFlow and graphrack run, gradients too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import Programs, agree
from ops.operands import FLOATS


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def integers(high: int, *shape: int, dtype: Any = np.int32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(0, high, shape).astype(dtype)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    return np.abs(numbers(*shape, seed=seed)) + np.float32(0.1)


nn = Programs(
    tf.nn,
    {
        "approx_min_k": "TensorFlow's CPU kernel takes the largest alone",
        "quantized_relu_x": "TensorFlow has no kernel of it",
        "conv3d_backprop_filter_v2": "the same function as conv3d_backprop_filter",
        "depthwise_conv2d_native_backprop_filter": "the same function as depthwise_conv2d_backprop_filter",
        "depthwise_conv2d_native_backprop_input": "the same function as depthwise_conv2d_backprop_input",
        "lrn": "the same function as local_response_normalization",
        "swish": "the same function as silu",
        "quantized_avg_pool": "its op has cases in test_quantized",
        "quantized_max_pool": "its op has cases in test_quantized",
        "quantized_conv2d": "its op has cases in test_quantized_products",
    },
)

# Elementwise, and along an axis

X = np.concatenate([numbers(3, 4) * 3, [[0, -0.0, 5.5, -7.5]], [[6, 20, -20, 1e-3]]]).astype(np.float32)
for name in ("relu", "relu6", "elu", "selu", "softplus", "softsign", "sigmoid", "tanh", "silu", "leaky_relu", "crelu"):
    nn(name, X, dtypes=FLOATS)
nn("leaky_relu", X, alpha=0.01)
nn("leaky_relu", integers(9, 5) - 4)
nn("crelu", X, axis=0)
nn("relu", integers(9, 5) - 4)
nn("relu6", integers(9, 5) * 3 - 6)
nn("silu", X, beta=2.0)
for name in ("softmax", "log_softmax"):
    nn(name, X, dtypes=FLOATS)
    for axis in (0, 1, -2):
        nn(name, numbers(2, 3, 4), axis=axis)
nn("l2_loss", X, dtypes=FLOATS)
for axis in (None, 0, -1, [0, 1]):
    nn("l2_normalize", X, axis)
nn("l2_normalize", X * np.float32(1e-8), 1, dtypes=FLOATS)
nn("l2_normalize", X.astype(np.complex64) * np.complex64(1 + 2j), 1, gradients=False)
nn("zero_fraction", np.maximum(X, 0), dtypes=FLOATS)
nn("zero_fraction", integers(2, 100))
nn("bias_add", numbers(2, 3, 4), numbers(4, seed=1), dtypes=FLOATS)
nn("bias_add", numbers(2, 3, 4, 2), numbers(3, seed=1), data_format="NCHW")
nn("bias_add", numbers(2, 3, 4), numbers(3, seed=1), data_format="NC..")
nn("bias_add", integers(9, 2, 3), integers(9, 3))
nn("xw_plus_b", numbers(2, 3), numbers(3, 4), numbers(4), dtypes=FLOATS)
nn("relu_layer", numbers(2, 3), numbers(3, 4), numbers(4), dtypes=FLOATS)
for k in (1, 3):
    nn("top_k", X, k, dtypes=FLOATS)
    nn("top_k", integers(5, 3, 6), k, sorted=False, use=lambda f, *a, **k: tf.reduce_sum(f(*a, **k)[0], -1))
nn("approx_max_k", X, 2, dtypes=("float32", "float16", "bfloat16"))
nn("in_top_k", positive(4, 5), np.array([0, 1, 4, 9], np.int32), 2)
for keep in (0.4, 1.0):
    nn("dropout", X, keep, seed=3)
nn("dropout", X, rate=0.3, seed=3, dtypes=FLOATS)
nn("dropout", X, rate=0.3, noise_shape=[5, 1], seed=3)
nn("dropout", X, rate=np.float32(0.3), seed=3)
nn("experimental.stateless_dropout", X, 0.3, seed=[1, 2])
nn(
    "experimental.general_dropout",
    X,
    0.3,
    lambda shape, dtype: tf.random.stateless_uniform(shape, [1, 2], dtype=dtype),
)

# Moments and normalisation

IMAGE = numbers(2, 5, 6, 4)
for axes in ([0], [0, 1, 2], [-1]):
    for keep in (True, False):
        nn("moments", IMAGE, axes, keepdims=keep)
        nn("weighted_moments", IMAGE, axes, positive(2, 5, 6, 1), keepdims=keep)
        nn("sufficient_statistics", IMAGE, axes, keepdims=keep)
nn("moments", IMAGE, [0, 1, 2], dtypes=FLOATS)
nn("moments", IMAGE, np.array([0, 2], np.int32), keepdims=True)
nn("sufficient_statistics", IMAGE, [0, 1], shift=np.float32(0.5))
nn("weighted_moments", IMAGE, [0, 1, 2], positive(4), dtypes=FLOATS[:3])
nn("normalize_moments", np.float32(5), numbers(3), positive(3) * 9, None)
nn("normalize_moments", np.float32(5), numbers(3), positive(3) * 9, numbers(3, seed=1))
nn("batch_normalization", IMAGE, numbers(4), positive(4), numbers(4, seed=1), numbers(4, seed=2), 1e-3, dtypes=FLOATS)
nn("batch_normalization", IMAGE, numbers(4), positive(4), None, None, 1e-3)
nn("batch_normalization", IMAGE, numbers(1, 1, 1, 4), positive(4), None, numbers(4), 0.1)
for scaled in (True, False):
    nn("batch_norm_with_global_normalization", IMAGE, numbers(4), positive(4), numbers(4), numbers(4), 1e-2, scaled)
for training in (True, False):
    moments = {} if training else {"mean": numbers(4), "variance": positive(4)}
    nn("fused_batch_norm", IMAGE, numbers(4), numbers(4, seed=1), **moments, is_training=training)
nn(
    "fused_batch_norm",
    IMAGE,
    numbers(4),
    numbers(4),
    numbers(4),
    positive(4),
    0.1,
    is_training=True,
    exponential_avg_factor=0.3,
)
nn("fused_batch_norm", numbers(2, 3, 4, 2, 3), numbers(3), numbers(3), data_format="NDHWC")
nn("fused_batch_norm", IMAGE.astype(np.float16), numbers(4), numbers(4, seed=1), rtol=2e-2)
nn("local_response_normalization", IMAGE, dtypes=("float32", "float16"))
nn("local_response_normalization", IMAGE, 2, 1.5, 0.3, 0.7)

# Losses

LOGITS, LABELS = numbers(4, 5) * 3, (lambda x: x / x.sum(-1, keepdims=True))(positive(4, 5))
for name in ("softmax_cross_entropy_with_logits", "softmax_cross_entropy_with_logits_v2"):
    nn(name, labels=LABELS, logits=LOGITS, dtypes=FLOATS)
    nn(name, labels=numbers(2, 3, 4) ** 2, logits=numbers(2, 3, 4), **{"dim" if name[-1] != "2" else "axis": 1})
nn("sparse_softmax_cross_entropy_with_logits", labels=integers(5, 4), logits=LOGITS, dtypes=FLOATS)
nn("sparse_softmax_cross_entropy_with_logits", labels=integers(4, 2, 3, dtype=np.int64), logits=numbers(2, 3, 4))
nn("sigmoid_cross_entropy_with_logits", labels=LABELS, logits=LOGITS, dtypes=FLOATS)
nn("weighted_cross_entropy_with_logits", labels=LABELS, logits=LOGITS, pos_weight=2.5, dtypes=FLOATS)
nn("log_poisson_loss", positive(4, 5) * 3, LOGITS, dtypes=FLOATS)
nn("log_poisson_loss", positive(4, 5) * 3, LOGITS, True, dtypes=FLOATS)
nn("compute_average_loss", numbers(6), sample_weight=positive(6), global_batch_size=12)
nn("compute_average_loss", numbers(6))
nn("scale_regularization_loss", numbers(3))

# Convolutions

FILTER = numbers(3, 2, 4, 6, seed=1)
for padding, outs in (("SAME", (3, 6)), ("VALID", (2, 5)), ([[0, 0], [1, 2], [0, 1], [0, 0]], (3, 6))):
    nn("conv2d", IMAGE, FILTER, [1, 2, 1, 1], padding)
    nn("conv2d_backprop_input", [2, 5, 6, 4], FILTER, numbers(2, *outs, 6), [1, 2, 1, 1], padding)
    nn("conv2d_backprop_filter", IMAGE, [3, 2, 4, 6], numbers(2, *outs, 6), [1, 2, 1, 1], padding)
nn("conv2d", IMAGE, FILTER, 1, "SAME", dtypes=FLOATS)
nn("conv2d", IMAGE, FILTER, 1, "VALID", dilations=[1, 2, 3, 1])
nn("conv2d", IMAGE, FILTER, [1, 1], "VALID", dilations=2)
nn("conv2d", IMAGE, numbers(3, 2, 2, 6), 1, "SAME", gradients=False)
nn("conv2d", IMAGE.transpose(0, 3, 1, 2).copy(), FILTER, 1, "SAME", data_format="NCHW")
for padding in ("SAME", "VALID"):
    nn("conv1d", numbers(2, 9, 3), numbers(3, 3, 4), 2, padding)
    nn("conv1d", numbers(2, 9, 3), numbers(3, 3, 4), 1, padding, dilations=2)
    nn(
        "conv3d",
        numbers(2, 4, 5, 6, 3),
        numbers(2, 3, 2, 3, 4),
        [1, 1, 2, 1, 1],
        padding,
        dtypes=FLOATS[:3] if padding == "SAME" else (),
    )
    nn("atrous_conv2d", IMAGE, FILTER, 2, padding)
    nn("atrous_conv2d", numbers(2, 7, 8, 4), FILTER, 3, padding)
    nn("depthwise_conv2d", IMAGE, numbers(3, 2, 4, 2), [1, 1, 1, 1], padding)
    nn("depthwise_conv2d", IMAGE, numbers(3, 2, 4, 2), [1, 1, 1, 1], padding, rate=[2, 2])
    nn("depthwise_conv2d_native", IMAGE, numbers(3, 2, 4, 2), [1, 2, 2, 1], padding)
    nn("separable_conv2d", IMAGE, numbers(3, 2, 4, 2), numbers(1, 1, 8, 3), [1, 1, 1, 1], padding)
    nn("separable_conv2d", IMAGE, numbers(3, 2, 4, 2), numbers(1, 1, 8, 3), [1, 1, 1, 1], padding, rate=[2, 2])
    nn("convolution", IMAGE, FILTER, padding)
    nn("convolution", IMAGE, FILTER, padding, strides=[2, 1])
    nn("convolution", numbers(2, 9, 3), numbers(3, 3, 4), padding, dilation_rate=[2])
    nn("convolution", numbers(2, 4, 5, 6, 3), numbers(2, 3, 2, 3, 4), padding, dilation_rate=[1, 2, 1])
    nn("dilation2d", IMAGE, numbers(3, 2, 4), [1, 2, 1, 1], [1, 1, 2, 1], padding)
    nn("erosion2d", IMAGE, numbers(3, 2, 4), [1, 2, 1, 1], [1, 1, 2, 1], padding)
nn(
    "conv2d_backprop_input",
    np.array([2, 5, 6, 4], np.int32),
    FILTER,
    numbers(2, 5, 6, 6),
    [1, 1, 1, 1],
    "SAME",
    dtypes=FLOATS,
)
nn("depthwise_conv2d", IMAGE, numbers(3, 2, 4, 2), [1, 1, 1, 1], "SAME", dtypes=FLOATS)
nn("depthwise_conv2d", IMAGE, numbers(3, 2, 4, 1), [1, 1, 1, 1], [[0, 0], [1, 1], [2, 0], [0, 0]])
nn("depthwise_conv2d_backprop_filter", IMAGE, [3, 2, 4, 2], numbers(2, 5, 6, 8), [1, 1, 1, 1], "SAME")
nn(
    "depthwise_conv2d_backprop_input",
    [2, 5, 6, 4],
    numbers(3, 2, 4, 2),
    numbers(2, 5, 6, 8),
    [1, 1, 1, 1],
    "SAME",
)
nn("conv3d_backprop_filter", numbers(2, 4, 5, 6, 3), [2, 3, 2, 3, 4], numbers(2, 4, 5, 6, 4), [1] * 5, "SAME")
nn("atrous_conv2d_transpose", numbers(2, 5, 6, 6), FILTER, [2, 5, 6, 4], 2, "SAME")
nn("conv1d_transpose", numbers(2, 5, 3), numbers(3, 4, 3), [2, 10, 4], 2)
nn("conv1d_transpose", numbers(2, 5, 3), numbers(3, 4, 3), [2, 11, 4], 2, "VALID")
nn("conv2d_transpose", numbers(2, 3, 3, 6), FILTER, [2, 6, 6, 4], [1, 2, 2, 1], dtypes=FLOATS)
nn("conv2d_transpose", numbers(2, 3, 3, 6), FILTER, np.array([2, 7, 7, 4], np.int32), 2, "VALID", hidden=False)
nn("conv2d_transpose", numbers(2, 3, 3, 6), FILTER, [2, 5, 4, 4], 1, "VALID")
nn("conv3d_transpose", numbers(2, 2, 3, 3, 4), numbers(2, 3, 2, 3, 4), [2, 4, 6, 6, 3], [1, 2, 2, 2, 1])
nn("conv_transpose", numbers(2, 3, 3, 6), FILTER, [2, 6, 6, 4], 2)
nn(
    "with_space_to_batch",
    IMAGE,
    [2, 2],
    "VALID",
    lambda x, n, p: tf.nn.avg_pool(x, [1, 2, 2, 1], 1, p),
    [2, 2],
)
nn(
    "with_space_to_batch",
    IMAGE,
    [2, 1],
    "SAME",
    lambda x, n, p: tf.nn.max_pool(x, [1, 2, 2, 1], 1, p),
    [2, 2],
)
nn("space_to_batch", numbers(2, 4, 6, 3), [[0, 2], [0, 0]], 2)
nn("space_to_depth", numbers(2, 4, 6, 3), 2, dtypes=FLOATS)
nn("depth_to_space", numbers(2, 2, 3, 12), 2, dtypes=FLOATS)

# Pooling

for padding in ("SAME", "VALID"):
    for name in ("avg_pool", "max_pool"):
        nn(name, IMAGE, [1, 2, 3, 1], [1, 2, 1, 1], padding, dtypes=FLOATS if padding == "SAME" else ())
        nn(f"{name}1d", numbers(2, 9, 3), 3, 2, padding)
        nn(f"{name}2d", IMAGE, 3, 2, padding)
        nn(f"{name}3d", numbers(2, 4, 5, 6, 3), [1, 2, 3, 2, 1], [1, 1, 2, 2, 1], padding)
        for shape in ((2, 9, 3), (2, 5, 6, 4), (2, 4, 5, 6, 3)):
            nn(f"{name}_v2", numbers(*shape), 2, 2, padding)
    for kind in ("AVG", "MAX"):
        nn("pool", IMAGE, [2, 3], kind, padding, strides=[2, 1])
        nn("pool", IMAGE, [2, 2], kind, "VALID", dilation_rate=[2, 1])
        nn("pool", numbers(2, 9, 3), [2], kind, padding)
    nn("max_pool_with_argmax", IMAGE, [1, 2, 3, 1], [1, 2, 1, 1], padding)
    nn("max_pool_with_argmax", IMAGE, [1, 2, 2, 1], [1, 1, 1, 1], padding, include_batch_in_index=True)
    nn("max_pool_with_argmax", IMAGE, [1, 2, 2, 1], [1, 2, 2, 1], padding, output_dtype=tf.int32, gradients=False)
nn("max_pool", IMAGE, [1, 2, 2, 1], [1, 1, 1, 1], [[0, 0], [1, 1], [0, 1], [0, 0]])
nn("max_pool", IMAGE, [1, 1, 1, 2], [1, 1, 1, 2], "VALID")
for overlapping in (True, False):
    ratio = [1.0, 1.44, 1.7, 1.0]
    nn("fractional_max_pool", numbers(2, 9, 8, 3), ratio, True, overlapping, deterministic=True, seed=5, seed2=7)
    nn("fractional_avg_pool", numbers(2, 9, 8, 3), ratio, False, overlapping, deterministic=True, seed=5, seed2=7)

# Embeddings and candidates

PARAMS, IDS = numbers(7, 3), integers(7, 2, 4, dtype=np.int64)
SHARDS = [numbers(4, 3), numbers(3, 3, seed=1)]
SPARSE = tf.SparseTensorValue(np.array([[0, 0], [0, 2], [2, 1], [3, 0]]), np.array([1, 3, 6, 0]), np.array([5, 3]))
WEIGHTS = SPARSE._replace(values=np.array([0.5, -1.0, 2.0, 1.0], np.float32))


nn("embedding_lookup", PARAMS, IDS, dtypes=FLOATS)
nn("embedding_lookup", PARAMS, IDS, max_norm=1.0)
for strategy in ("mod", "div"):
    nn("embedding_lookup", SHARDS, IDS, partition_strategy=strategy)
    nn(
        "embedding_lookup_sparse",
        SHARDS,
        SPARSE,
        WEIGHTS,
        combiner="sum",
        partition_strategy=strategy,
        hidden=False,
    )
for combiner in ("mean", "sqrtn", "sum"):
    nn("embedding_lookup_sparse", PARAMS, SPARSE, None, combiner=combiner, hidden=False)
    nn("embedding_lookup_sparse", PARAMS, SPARSE, WEIGHTS, combiner=combiner, max_norm=1.0, hidden=False)
    nn("safe_embedding_lookup_sparse", [PARAMS], SPARSE, WEIGHTS, combiner=combiner, hidden=False)
    nn("safe_embedding_lookup_sparse", [PARAMS], SPARSE, combiner=combiner, default_id=2, hidden=False)
TRUE = integers(20, 4, 2, dtype=np.int64)
SAMPLED = {"num_true": 2, "num_sampled": 6, "unique": True}
nn("all_candidate_sampler", TRUE, 2, 20, True, seed=3)
for name in ("uniform", "log_uniform", "learned_unigram"):
    for unique in (True, False):
        nn(f"{name}_candidate_sampler", TRUE, **{**SAMPLED, "unique": unique}, range_max=20, seed=3)
nn(
    "fixed_unigram_candidate_sampler",
    TRUE,
    **SAMPLED,
    range_max=20,
    unigrams=list(range(1, 21)),
    distortion=0.75,
    seed=3,
)
nn("compute_accidental_hits", TRUE, np.arange(20), 2)
WEIGHT, BIAS, INPUT = numbers(20, 3), numbers(20), numbers(4, 3, seed=1)
for name in ("nce_loss", "sampled_softmax_loss"):
    for hits in (True, False):
        seeded = lambda: None
        nn(
            name, WEIGHT, BIAS, TRUE, INPUT, 6, 20, num_true=2, remove_accidental_hits=hits,
            use=lambda f, w, b, t, i, *a, **k: f(
                w, b, t, i, *a, **k, sampled_values=tf.nn.log_uniform_candidate_sampler(t, 2, 6, True, 20, seed=5)
            ),
        )  # fmt: skip
    nn(name, WEIGHT, BIAS, TRUE[:, :1], INPUT, 6, 20)

# Sequences

TIMED, LENGTHS = numbers(6, 3, 5), np.array([6, 4, 5], np.int32)
SPARSE_LABELS = tf.SparseTensorValue(
    np.array([[0, 0], [0, 1], [1, 0], [2, 0], [2, 1]]), integers(3, 5) + 0, np.array([3, 2])
)


for merge in (True, False):
    nn("ctc_greedy_decoder", TIMED, LENGTHS, merge)
    nn("ctc_beam_search_decoder", TIMED, LENGTHS, 4, 2, merge)
nn("ctc_greedy_decoder", TIMED, LENGTHS, blank_index=0)
nn("ctc_beam_search_decoder_v2", TIMED, LENGTHS, 4, 2)
nn("ctc_loss", SPARSE_LABELS, TIMED, LENGTHS, hidden=False)
nn("ctc_loss", SPARSE_LABELS, TIMED, LENGTHS, True, False, hidden=False)
nn("ctc_loss", SPARSE_LABELS, TIMED.swapaxes(0, 1).copy(), LENGTHS, time_major=False, hidden=False)
DENSE, COUNTS = np.array([[1, 2, 2], [3, 1, 0], [4, 0, 0]], np.int32), np.array([3, 2, 1], np.int32)
nn("ctc_loss_v2", DENSE, TIMED, COUNTS, LENGTHS)
nn("ctc_loss_v2", DENSE, TIMED, COUNTS, LENGTHS, blank_index=-1)
nn("ctc_loss_v2", DENSE, TIMED.swapaxes(0, 1).copy(), COUNTS, LENGTHS, logits_time_major=False, blank_index=0)
nn(
    "ctc_loss_v2", DENSE, TIMED, COUNTS, LENGTHS, blank_index=0,
    use=lambda f, labels, *a, **k: f(labels, *a, **k, unique=tf.nn.ctc_unique_labels(labels)),
)  # fmt: skip
nn("ctc_loss_v2", SPARSE_LABELS, TIMED, None, LENGTHS, blank_index=-1, hidden=False)
nn("ctc_unique_labels", DENSE)
nn("collapse_repeated", np.array([[1, 1, 2, 2, 1], [3, 3, 3, 0, 0]], np.int32), np.array([5, 3], np.int32))


class Cell:
    """A recurrent cell made of tensors that are given."""

    def __init__(self, kernel: Any):
        self.kernel = kernel
        self.output_size = self.state_size = 4

    def make(self) -> Any:
        from tensorflow.python.keras.layers.legacy_rnn import rnn_cell_impl

        kernel = self.kernel

        class _Cell(rnn_cell_impl.RNNCell):  # type: ignore[misc]
            state_size = output_size = 4

            def call(self, inputs: Any, state: Any) -> Any:
                new = tf.tanh(tf.matmul(tf.concat([inputs, state], 1), kernel))
                return new * 2.0, new

        return _Cell()


def recurrent(function: Any, kernel: Any, *args: Any, **kwargs: Any) -> Any:
    return function(Cell(kernel).make(), *args, **kwargs)


KERNEL, SERIES = numbers(7, 4), numbers(2, 6, 3)
nn("dynamic_rnn", KERNEL, SERIES, dtype=tf.float32, use=recurrent)
nn("dynamic_rnn", KERNEL, SERIES, np.array([6, 3], np.int32), numbers(2, 4), use=recurrent)
nn(
    "dynamic_rnn",
    KERNEL,
    SERIES,
    np.array([0, 3], np.int64),
    numbers(2, 4),
    time_major=False,
    swap_memory=True,
    use=recurrent,
)
nn(
    "dynamic_rnn",
    KERNEL,
    numbers(6, 2, 3),
    np.array([5, 3], np.int32),
    dtype=tf.float32,
    time_major=True,
    use=recurrent,
)
nn(
    "bidirectional_dynamic_rnn", KERNEL, SERIES, np.array([6, 3], np.int32), dtype=tf.float32,
    use=lambda f, kernel, *a, **k: f(Cell(kernel).make(), Cell(kernel * 0.5).make(), *a, **k),
)  # fmt: skip
nn("static_rnn", KERNEL, [SERIES[:, i].copy() for i in range(3)], dtype=tf.float32, use=recurrent, hidden=False)
nn(
    "static_rnn",
    KERNEL,
    [SERIES[:, i].copy() for i in range(3)],
    numbers(2, 4),
    sequence_length=np.array([1, 3]),
    use=recurrent,
    hidden=False,
)
nn(
    "static_bidirectional_rnn", KERNEL, [SERIES[:, i].copy() for i in range(3)], dtype=tf.float32, hidden=False,
    use=lambda f, kernel, *a, **k: f(Cell(kernel).make(), Cell(kernel * 0.5).make(), *a, **k),
)  # fmt: skip


class _Saver:
    """Of `static_state_saving_rnn`: gives a state, takes the next one."""

    def __init__(self, state: Any):
        self.given, self.saved = state, []

    def state(self, name: str) -> Any:
        return self.given

    def save_state(self, name: str, value: Any) -> Any:
        self.saved.append(value)
        return tf.identity(value).op


nn(
    "static_state_saving_rnn", KERNEL, [SERIES[:, i].copy() for i in range(3)], numbers(2, 4), hidden=False,
    use=lambda f, kernel, inputs, state: f(Cell(kernel).make(), inputs, _Saver(state), "state"),
)  # fmt: skip


def raw(function: Any, kernel: Any, inputs: Any) -> Any:
    steps = tf.TensorArray(tf.float32, 6).unstack(tf.transpose(inputs, [1, 0, 2]))

    def loop(time: Any, output: Any, state: Any, loop_state: Any) -> Any:
        done = time >= tf.constant([6, 4])
        following = tf.cond(tf.reduce_all(done), lambda: tf.zeros([2, 3]), lambda: steps.read(time))
        following.set_shape([2, 3])
        return done, following, tf.zeros([2, 4]) if state is None else state, output, None

    outputs, state, _ = function(Cell(kernel).make(), loop)
    return outputs.stack(), state


nn("raw_rnn", KERNEL, SERIES, use=raw, hidden=False)


@pytest.mark.parametrize(("program", "options"), nn.parameters())
def test_tf_nn(program: Any, options: Any) -> None:
    agree(program, **options)


def test_every_function_of_tf_nn_is_here() -> None:
    assert nn.missing() == []
