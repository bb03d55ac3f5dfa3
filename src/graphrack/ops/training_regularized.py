"""The optimizers that draw weights to zero: apply ops of Ftrl, of proximal steps and of AdagradDA.

All take `l1` and `l2`, which say how strongly. Formulas are those of the kernels of TensorFlow's `training_ops.cc`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrack.ops.training import Array, Update, _less, applies


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
        new_accum = grad * grad
        new_accum += accum
        if float(power) == -0.5:
            root, change = np.sqrt(new_accum), np.sqrt(accum)
        else:
            root, change = new_accum**-power, accum**-power
        change = np.subtract(root, change, out=change) if var.ndim else root - change
        if shrinkage is not None and float(shrinkage):
            grad = grad + var.dtype.type(2) * shrinkage * var
        if multiply_linear_by_lr:
            change *= var
            linear = linear + grad * lr
            l1, l2 = l1 * lr, l2 * lr
        else:
            change /= lr
            change *= var
            linear = linear + grad
            root /= lr
        linear -= change
        if float(l2):
            root += var.dtype.type(2) * l2
        size = np.abs(linear)
        if not var.ndim:
            result = (np.copysign(l1, linear) - linear) / root if size > l1 else var.dtype.type(0)
            return result, new_accum, linear
        if float(l1):
            below = np.copysign(l1, linear)
            below -= linear
        else:
            below = np.negative(linear)
        kept = size > l1
        if b"\0" not in kept.tobytes():
            below /= root
            return below, new_accum, linear
        result = np.zeros(var.shape, var.dtype)
        return np.divide(below, root, out=result, where=kept), new_accum, linear

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
        squares = grad * grad
        squares += accum
        rates = lr / np.sqrt(squares)
        result = _less(var, grad * rates)
        if float(l1) > 0:
            result = _shrunk(result, rates * l1)
        if float(l2):
            rates *= l2
            rates += var.dtype.type(1)
            result /= rates
        return result, squares

    return update
