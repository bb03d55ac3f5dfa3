"""The optimizers that draw weights to zero: apply ops of Ftrl, of proximal steps and of AdagradDA.

All take `l1` and `l2`, which say how strongly. Formulas are those of the kernels of TensorFlow's `training_ops.cc`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.ops.training import Array, Update, applies


def _shrunk(values: Array, threshold: Any) -> Array:
    """Each nearer to 0 by the threshold, and 0 if less than that away."""
    out: Array = np.abs(values)
    out -= threshold
    out = np.maximum(out, values.dtype.type(0))
    out *= np.sign(values)
    return out


@applies("AdagradDA", "var gradient_accumulator gradient_squared_accumulator; grad lr l1 l2 global_step")
def ApplyAdagradDA() -> Update:
    def update(
        var: Array, total: Array, squares: Array, grad: Array, lr: Any, l1: Any, l2: Any, global_step: Any
    ) -> tuple[Array, ...]:
        steps = var.dtype.type(global_step)
        total = total + grad
        squares = squares + grad * grad
        below = np.sqrt(squares)
        below += l2 * steps * lr
        above = _shrunk(total, l1 * steps) if l1 > 0 else total
        result = above * -lr
        result /= below
        return result, total, squares

    return update


def _ftrl(multiply_linear_by_lr: bool) -> Callable[..., tuple[Array, ...]]:
    def update(
        var: Array, accum: Array, linear: Array, grad: Array, lr: Any, l1: Any, l2: Any, shrinkage: Any, power: Any
    ) -> tuple[Array, ...]:
        two = var.dtype.type(2)
        new_accum = accum + grad * grad
        if power == var.dtype.type(-0.5):
            root, old_root = np.sqrt(new_accum), np.sqrt(accum)
        else:
            root, old_root = new_accum**-power, accum**-power
        old_root = root - old_root
        if shrinkage is not None:
            grad = grad + two * shrinkage * var
        if multiply_linear_by_lr:
            old_root *= var
            linear = linear + grad * lr
            l1, l2 = l1 * lr, l2 * lr
        else:
            old_root /= lr
            old_root *= var
            linear = linear + grad
            root /= lr
        linear -= old_root
        root += two * l2
        result = np.sign(linear)
        result *= l1
        result -= linear
        result /= root
        return np.where(np.abs(linear) > l1, result, var.dtype.type(0)), new_accum, linear

    return update


@applies("Ftrl", "var accum linear; grad lr l1 l2 lr_power")
def ApplyFtrl(*, multiply_linear_by_lr: bool = False) -> Update:
    step = _ftrl(multiply_linear_by_lr)

    def update(
        var: Array, accum: Array, linear: Array, grad: Array, lr: Any, l1: Any, l2: Any, lr_power: Any
    ) -> tuple[Array, ...]:
        return step(var, accum, linear, grad, lr, l1, l2, None, lr_power)

    return update


@applies("FtrlV2", "var accum linear; grad lr l1 l2 l2_shrinkage lr_power")
def ApplyFtrlV2(*, multiply_linear_by_lr: bool = False) -> Update:
    return _ftrl(multiply_linear_by_lr)


@applies("ProximalGradientDescent", "var; alpha l1 l2 grad")
def ApplyProximalGradientDescent() -> Update:
    def update(var: Array, alpha: Any, l1: Any, l2: Any, grad: Array) -> tuple[Array, ...]:
        result = var - grad * alpha
        if l1 > 0:
            result = _shrunk(result, alpha * l1)
        result /= var.dtype.type(1) + l2 * alpha
        return (result,)

    return update


@applies("ProximalAdagrad", "var accum; lr l1 l2 grad")
def ApplyProximalAdagrad() -> Update:
    def update(var: Array, accum: Array, lr: Any, l1: Any, l2: Any, grad: Array) -> tuple[Array, ...]:
        accum = accum + grad * grad
        rates = lr / np.sqrt(accum)
        result = var - grad * rates
        if l1 > 0:
            result = _shrunk(result, rates * l1)
        rates *= l2
        rates += var.dtype.type(1)
        result /= rates
        return result, accum

    return update
