"""Softmax, the losses made of it, and L2Loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops._arguments import are_within
from graphrack.ops.blas import dot
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

# NumPy's stubs know keepdims as a literal only.
_greatest: Kernel = np.maximum.reduce
_total: Kernel = np.add.reduce


def _exponentials(logits: Array) -> tuple[Array, Array]:
    """Logits less their row's largest, and the exponentials of that; the last axis is not empty."""
    shifted = logits - _greatest(logits, -1, None, None, True)
    return shifted, np.exp(shifted)


def _softmax(logits: Array, *, out: Array | None = None) -> Any:
    if logits.ndim < 1:
        raise ValueError("Softmax needs logits of rank 1 or more, found a scalar")
    if not logits.size:
        return logits
    result = np.subtract(logits, _greatest(logits, -1, None, None, True), out)
    np.exp(result, result)
    np.divide(result, _total(result, -1, None, None, True), result)
    return result


def _log_softmax(logits: Array) -> Any:
    if logits.ndim < 1:
        raise ValueError("LogSoftmax needs logits of rank 1 or more, found a scalar")
    if not logits.size:
        return logits
    shifted, exponentials = _exponentials(logits)
    shifted -= np.log(_total(exponentials, -1, None, None, True))
    return shifted


@specialized("Softmax", overwrites=(0,))
def Softmax(*, T: DType) -> Kernel:
    return widened(T, _softmax)


@specialized("LogSoftmax")
def LogSoftmax(*, T: DType) -> Kernel:
    return widened(T, _log_softmax)


def _cross_entropy(features: Array, labels: Array) -> tuple[Array, Array]:
    if features.shape != labels.shape:
        try:
            features, labels = np.broadcast_arrays(features, labels)
        except ValueError:
            raise ValueError(
                "SoftmaxCrossEntropyWithLogits needs logits and labels that broadcast, "
                f"found {features.shape} and {labels.shape}"
            ) from None
    if features.ndim != 2:
        raise ValueError(
            "SoftmaxCrossEntropyWithLogits needs logits and labels that broadcast to rank 2, "
            f"found shape {features.shape}"
        )
    if not features.size:
        return np.zeros(features.shape[0], features.dtype), np.zeros_like(features)
    shifted, softmax = _exponentials(features)
    total = _total(softmax, 1, None, None, True)
    loss = _total(labels * (np.log(total) - shifted), 1)
    softmax /= total
    softmax -= labels
    return loss, softmax


@specialized("SoftmaxCrossEntropyWithLogits", outputs=2)
def SoftmaxCrossEntropyWithLogits(*, T: DType) -> Kernel:
    return widened(T, _cross_entropy)


def _sparse_cross_entropy(features: Array, labels: Array, *, out: Array | None = None) -> tuple[Array, Array]:
    if features.ndim != 2 or labels.ndim != 1 or labels.shape[0] != features.shape[0]:
        raise ValueError(
            "SparseSoftmaxCrossEntropyWithLogits needs logits of shape [batch, classes] and labels of "
            f"shape [batch], found {features.shape} and {labels.shape}"
        )
    classes = features.shape[1]
    if not classes:
        raise ValueError(f"SparseSoftmaxCrossEntropyWithLogits needs at least one class, found {features.shape}")
    if not labels.size:
        return np.zeros(0, features.dtype), np.zeros_like(features)
    if not are_within(labels, classes):
        outside = (labels < 0) | (labels >= classes)
        raise ValueError(
            f"SparseSoftmaxCrossEntropyWithLogits has a label of {labels[outside][0]}, which is outside "
            f"the valid range [0, {classes})"
        )
    # The logits less their row's largest, and then the exponentials of that.
    greatest = np.maximum.reduce(features, axis=-1, keepdims=True)
    softmax = features - greatest if out is None else np.subtract(features, greatest, out)
    places = np.arange(0, softmax.size, classes)
    places += labels
    chosen = softmax.reshape(-1)[places]
    np.exp(softmax, softmax)
    total = np.add.reduce(softmax, axis=1, keepdims=True)
    loss = np.log(total[:, 0])
    loss -= chosen
    softmax /= total
    softmax.reshape(-1)[places] -= 1
    return loss, softmax


@specialized("SparseSoftmaxCrossEntropyWithLogits", outputs=2, overwrites=(0,))
def SparseSoftmaxCrossEntropyWithLogits(*, T: DType) -> Kernel:
    return widened(T, _sparse_cross_entropy)


def _l2_loss(t: Array) -> Any:
    flat = t.reshape(-1)
    return dot(flat, flat) / 2


@specialized("L2Loss")
def L2Loss(*, T: DType) -> Kernel:
    """Half the sum of squares: `sum(t ** 2) / 2`, a scalar."""
    return widened(T, _l2_loss)
