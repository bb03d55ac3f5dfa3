"""Batch and local response normalisation, with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import FLOAT, HALF, DType
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

_CHANNELS_FIRST = {b"NHWC": False, b"NDHWC": False, b"NCHW": True, b"NCDHW": True}


class _BatchNorm:
    """The attributes of one batch normalisation node, and what its forms share."""

    def __init__(self, op_name: str, data_format: bytes, epsilon: float, ranks: tuple[int, ...] = (4, 5)):
        if data_format not in _CHANNELS_FIRST:
            raise ValueError(f"{op_name}'s data_format is {data_format!r}, expected one of {[*_CHANNELS_FIRST]}")
        self.op_name = op_name
        self.ranks = (len(data_format),) if len(data_format) in ranks else ranks
        self.channels_first = _CHANNELS_FIRST[data_format]
        self.epsilon = np.float32(epsilon)

    def layout(self, x: Array) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """How many channels, the axes to reduce over, and the shape that broadcasts a value per channel."""
        if x.ndim not in self.ranks:
            raise ValueError(f"{self.op_name}'s x has shape {x.shape}, expected rank {self.ranks[0]}")
        axis = 1 if self.channels_first else x.ndim - 1
        axes = tuple(i for i in range(x.ndim) if i != axis)
        shape = tuple(n if i == axis else 1 for i, n in enumerate(x.shape)) if axis == 1 else (x.shape[axis],)
        return x.shape[axis], axes, shape

    def check(self, channels: int, **values: Array) -> None:
        for name, value in values.items():
            if value.shape != (channels,):
                raise ValueError(
                    f"{self.op_name}'s {name} has shape {value.shape}, expected one value per channel, {channels}"
                )

    def normalized(
        self,
        x: Array,
        shape: tuple[int, ...],
        mean: Array,
        variance: Array,
        scale: Array,
        offset: Array,
        out: Array | None = None,
    ) -> Array:
        """`(x - mean) / sqrt(variance + epsilon) * scale + offset` in float32, as one product and one sum."""
        factor = scale / np.sqrt(variance + self.epsilon)
        y = np.multiply(x, factor.reshape(shape), out, dtype=np.float32)
        y += (offset - mean * factor).reshape(shape)
        return y


def _moments(x: Array, axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and population variance over these axes."""
    mean = x.mean(axis=axes)
    centred = x - mean.reshape(shape)
    return mean, np.mean(np.square(centred, out=centred), axis=axes)


def _fused_batch_norm(
    op_name: str, T: DType, epsilon: float, factor: float, data_format: bytes, is_training: bool, reserves: int
) -> Kernel:
    """The kernel of all versions: y, batch_mean, batch_variance and `reserves` reserve spaces.

    Of what TensorFlow leaves in the reserve spaces, the moments that the gradient needs are given in
    every case; the third, which only its GPU kernels fill, is empty or zero, as its two kernels have it.
    """
    norm = _BatchNorm(op_name, data_format, epsilon, (4, 5) if reserves == 3 else (4,))
    narrow = None if T.number == FLOAT.number else T.numpy
    keep = np.float32(1 - factor)

    def finished(x: Array, y: Array, *moments: Array) -> tuple[Array, ...]:
        if narrow is not None:
            y = y.astype(narrow)
        if reserves == 2:
            return (y, *moments)
        return (y, *moments, np.zeros(() if T.number == HALF.number or x.ndim == 5 else (0,), np.float32))

    def infer(
        x: Array, scale: Array, offset: Array, mean: Array, variance: Array, *, out: Array | None = None
    ) -> tuple[Array, ...]:
        channels, _, shape = norm.layout(x)
        norm.check(channels, scale=scale, offset=offset, mean=mean, variance=variance)
        y = norm.normalized(x, shape, mean, variance, scale, offset, out)
        return finished(x, y, mean, variance, mean, variance)

    def train(
        x: Array, scale: Array, offset: Array, mean: Array, variance: Array, *, out: Array | None = None
    ) -> tuple[Array, ...]:
        channels, axes, shape = norm.layout(x)
        norm.check(channels, scale=scale, offset=offset)
        if factor != 1:
            norm.check(channels, mean=mean, variance=variance)
        wide = x if narrow is None else x.astype(np.float32)
        if not x.size:
            nothing, zero = np.full(channels, np.nan, np.float32), np.zeros(channels, np.float32)
            return finished(x, wide, nothing, nothing, zero, zero)
        batch_mean, batch_variance = _moments(wide, axes, shape)
        y = norm.normalized(wide, shape, batch_mean, batch_variance, scale, offset, out)
        count = x.size // channels
        # Bessel's correction is for what is averaged over batches, not for what normalises this one.
        running_mean, running_variance = batch_mean, batch_variance * np.float32(count / max(count - 1, 1))
        if factor != 1:
            running_mean = keep * mean + np.float32(factor) * running_mean
            running_variance = keep * variance + np.float32(factor) * running_variance
        return finished(x, y, running_mean, running_variance, batch_mean, batch_variance)

    return train if is_training else infer


@specialized("FusedBatchNorm", outputs=5, overwrites=(0,))
def FusedBatchNorm(
    *,
    epsilon: float = 0.0001,
    exponential_avg_factor: float = 1.0,
    data_format: bytes = b"NHWC",
    is_training: bool = True,
) -> Kernel:
    return _fused_batch_norm("FusedBatchNorm", FLOAT, epsilon, exponential_avg_factor, data_format, is_training, 2)


@specialized("FusedBatchNormV2", outputs=5, overwrites=(0,))
def FusedBatchNormV2(
    *,
    T: DType,
    epsilon: float = 0.0001,
    exponential_avg_factor: float = 1.0,
    data_format: bytes = b"NHWC",
    is_training: bool = True,
) -> Kernel:
    return _fused_batch_norm("FusedBatchNormV2", T, epsilon, exponential_avg_factor, data_format, is_training, 2)


@specialized("FusedBatchNormV3", outputs=6, overwrites=(0,))
def FusedBatchNormV3(
    *,
    T: DType,
    epsilon: float = 0.0001,
    exponential_avg_factor: float = 1.0,
    data_format: bytes = b"NHWC",
    is_training: bool = True,
) -> Kernel:
    return _fused_batch_norm("FusedBatchNormV3", T, epsilon, exponential_avg_factor, data_format, is_training, 3)


@specialized("_FusedBatchNormEx", outputs=6)
def _FusedBatchNormEx(
    *,
    T: DType,
    epsilon: float = 0.0001,
    exponential_avg_factor: float = 1.0,
    num_side_inputs: int = 0,
    activation_mode: bytes = b"Identity",
    data_format: bytes = b"NHWC",
    is_training: bool = True,
) -> Kernel:
    """FusedBatchNormV3, then the side input added, then an activation: what graph optimisers write."""
    if activation_mode not in (b"Identity", b"Relu"):
        raise ValueError(f"_FusedBatchNormEx's activation_mode is {activation_mode!r}, expected b'Identity' or b'Relu'")
    # In float32 up to the end: narrow types are rounded once.
    inner = _fused_batch_norm("_FusedBatchNormEx", FLOAT, epsilon, exponential_avg_factor, data_format, is_training, 3)

    def run(x: Array, scale: Array, offset: Array, mean: Array, variance: Array, *side_input: Array) -> Any:
        if len(side_input) != num_side_inputs or num_side_inputs > 1:
            raise ValueError(f"_FusedBatchNormEx has {len(side_input)} side inputs, num_side_inputs {num_side_inputs}")
        y, *rest = inner(x.astype(np.float32, copy=False), scale, offset, mean, variance)
        if side_input:
            if side_input[0].shape != y.shape:
                raise ValueError(
                    f"_FusedBatchNormEx's side_input has shape {side_input[0].shape}, expected x's, {y.shape}"
                )
            y = y + side_input[0].astype(np.float32, copy=False)
        if activation_mode == b"Relu":
            y = np.maximum(y, 0)
        return (y.astype(T.numpy, copy=False), *rest)

    return run


def _fused_batch_norm_grad(
    op_name: str, T: DType, epsilon: float, data_format: bytes, is_training: bool, ranks: tuple[int, ...]
) -> Kernel:
    """Gradients of `normalized` to x, scale and offset; of the moments too where they came from x."""
    norm = _BatchNorm(op_name, data_format, epsilon, ranks)

    def run(y_backprop: Array, x: Array, scale: Array, mean: Array, variance: Array, *_unused: Array) -> Any:
        channels, axes, shape = norm.layout(x)
        if y_backprop.shape != x.shape:
            raise ValueError(f"{op_name}'s y_backprop has shape {y_backprop.shape}, expected x's, {x.shape}")
        norm.check(channels, scale=scale, reserve_space_1=mean, reserve_space_2=variance)
        y_backprop, x = y_backprop.astype(np.float32, copy=False), x.astype(np.float32, copy=False)
        inverse = 1 / np.sqrt(variance + norm.epsilon)
        centred = x - mean.reshape(shape)
        offset_backprop = y_backprop.sum(axis=axes)
        product = (y_backprop * centred).sum(axis=axes)
        x_backprop = y_backprop
        if is_training and x.size:
            count = np.float32(x.size // channels)
            x_backprop = y_backprop - (offset_backprop / count).reshape(shape)
            x_backprop -= centred * (product * inverse * inverse / count).reshape(shape)
        x_backprop = (x_backprop * (scale * inverse).reshape(shape)).astype(T.numpy, copy=False)
        # Empty or zero: what TensorFlow's two kernels for this leave there.
        unused = np.zeros((0,) if T.number == HALF.number or x.ndim == 5 else (), np.float32)
        return x_backprop, product * inverse, offset_backprop, unused, unused

    return run


@specialized("FusedBatchNormGrad", outputs=5)
def FusedBatchNormGrad(*, epsilon: float = 0.0001, data_format: bytes = b"NHWC", is_training: bool = True) -> Kernel:
    return _fused_batch_norm_grad("FusedBatchNormGrad", FLOAT, epsilon, data_format, is_training, (4,))


@specialized("FusedBatchNormGradV2", outputs=5)
def FusedBatchNormGradV2(
    *, T: DType, epsilon: float = 0.0001, data_format: bytes = b"NHWC", is_training: bool = True
) -> Kernel:
    return _fused_batch_norm_grad("FusedBatchNormGradV2", T, epsilon, data_format, is_training, (4,))


@specialized("FusedBatchNormGradV3", outputs=5)
def FusedBatchNormGradV3(
    *, T: DType, epsilon: float = 0.0001, data_format: bytes = b"NHWC", is_training: bool = True
) -> Kernel:
    return _fused_batch_norm_grad("FusedBatchNormGradV3", T, epsilon, data_format, is_training, (4, 5))


@specialized("BatchNormWithGlobalNormalization")
def BatchNormWithGlobalNormalization(*, T: DType, variance_epsilon: float, scale_after_normalization: bool) -> Kernel:
    """The batch normalisation of GraphDefs before version 9."""

    def run(t: Array, m: Array, v: Array, beta: Array, gamma: Array) -> Any:
        if t.ndim != 4 or any(value.ndim != 1 for value in (m, v, beta, gamma)):
            raise ValueError(
                "BatchNormWithGlobalNormalization needs t of rank 4 and m, v, beta, gamma of rank 1, found "
                f"{t.shape}, {m.shape}, {v.shape}, {beta.shape}, {gamma.shape}"
            )
        inverse = 1 / np.sqrt(v + t.dtype.type(variance_epsilon))
        if scale_after_normalization:
            inverse = inverse * gamma
        return (t - m) * inverse + beta

    return widened(T, run)


@specialized("BatchNormWithGlobalNormalizationGrad", outputs=5)
def BatchNormWithGlobalNormalizationGrad(
    *, T: DType, variance_epsilon: float, scale_after_normalization: bool
) -> Kernel:
    def run(t: Array, m: Array, v: Array, gamma: Array, backprop: Array) -> Any:
        if t.ndim != 4 or backprop.shape != t.shape or any(value.ndim != 1 for value in (m, v, gamma)):
            raise ValueError(
                "BatchNormWithGlobalNormalizationGrad needs t of rank 4, backprop of its shape and m, v, gamma of "
                f"rank 1, found {t.shape}, {backprop.shape}, {m.shape}, {v.shape}, {gamma.shape}"
            )
        axes = (0, 1, 2)
        inverse = 1 / np.sqrt(v + t.dtype.type(variance_epsilon))
        scale = inverse * gamma if scale_after_normalization else inverse
        db = backprop.sum(axis=axes)
        product = (backprop * (t - m)).sum(axis=axes)
        dg = product * inverse if scale_after_normalization else np.zeros_like(db)
        return backprop * scale, -db * scale, product * scale * inverse * inverse * t.dtype.type(-0.5), db, dg

    return widened(T, run)


# Local response normalisation


def _window_sums(values: Array, radius: int) -> Array:
    """Sums over the last axis from `radius` before to `radius` after each element."""
    total = values.copy()
    for shift in range(1, min(radius, values.shape[-1] - 1) + 1):
        total[..., shift:] += values[..., :-shift]
        total[..., :-shift] += values[..., shift:]
    return total


def _check_image(op_name: str, **images: Array) -> None:
    for name, value in images.items():
        if value.ndim != 4:
            raise ValueError(f"{op_name}'s {name} has shape {value.shape}, expected rank 4")


@specialized("LRN")
def LRN(*, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5, T: DType = FLOAT) -> Kernel:
    """`input / (bias + alpha * sum of squares over neighbouring channels) ** beta`."""

    def run(input: Array) -> Any:
        _check_image("LRN", input=input)
        return input * np.power(_window_sums(np.square(input), depth_radius) * alpha + bias, -beta)

    return widened(T, run)


@specialized("LRNGrad")
def LRNGrad(
    *, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5, T: DType = FLOAT
) -> Kernel:
    def run(input_grads: Array, input_image: Array, output_image: Array) -> Any:
        _check_image("LRNGrad", input_grads=input_grads)
        if not input_grads.shape == input_image.shape == output_image.shape:
            raise ValueError(
                "LRNGrad needs its three inputs of one shape, found "
                f"{input_grads.shape}, {input_image.shape} and {output_image.shape}"
            )
        norm = _window_sums(np.square(input_image), depth_radius) * alpha + bias
        spread = _window_sums(input_grads * output_image / norm, depth_radius)
        return input_grads * np.power(norm, -beta) - input_image * spread * (2 * alpha * beta)

    return widened(T, run)
