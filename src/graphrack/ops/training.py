"""The optimizers' apply ops: ApplyAdam and kin, for TF1 variables and resources, dense and sparse.

An optimizer is written once, as a function from a variable, its slots, hyperparameters and a gradient
to the new variable and slots. Its dense op takes all of them whole; its sparse op (an input `indices`
right after `grad`) takes the rows that the indices name, one after another where an index comes twice.
Both exist by reference (`ApplyMomentum`, `SparseApplyMomentum`) and by resource (`Resource` in front).

Formulas are those of the kernels of TensorFlow's `training_ops.cc`, written so that no array is
written in place and few are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrack.ops.registry import REGISTRY, Kernel, specialized
from graphrack.ops.runtime import Handle, RunState
from graphrack.ops.training_sparse import are_distinct, check_rows, put_rows, waves

Array = np.ndarray[Any, Any]
Update = Callable[..., tuple[Array, ...]]
"""From (variable, slots..., hyperparameters and gradient) to (variable, slots...), all new or unchanged: arrays of at
least one dimension. Hyperparameters are arrays of rank 0: of an array and one of these, NumPy's functions take half the
time that they take of an array and a scalar. Of two scalars (`x[()]`) they take a tenth."""

_BIG = 1 << 17  # from that many elements on, work is done in pieces
_PIECE = 1 << 14  # … of that many, whose arrays stay in the processor's cache


class _Made:
    """A function of attributes, with the signature of the one that it calls."""

    def __init__(self, make: Callable[..., Update], kernel: Callable[[Update, Any], Kernel]):
        self.__doc__, self.__code__ = make.__doc__, make.__code__
        self.__kwdefaults__ = make.__kwdefaults__
        self._make, self._kernel = make, kernel

    def __call__(self, **attributes: Any) -> Kernel:
        return self._kernel(self._make(**attributes), (self._make, *sorted(attributes.items())))


def applies(
    name: str, inputs: str, *, sparse: bool = True, by_reference: bool = True
) -> Callable[[Callable[..., Update]], Callable[..., Update]]:
    """Registers an optimizer's ops.

    Attributes:
        name: what its ops' names end with.
        inputs: names of the dense op's inputs: variable and slots, a semicolon, then the others.
        sparse, by_reference: whether TensorFlow has its sparse ops, its ops on references.
    """
    states, _, others = (part.split() for part in inputs.partition(";"))
    references = tuple(range(len(states)))

    def decorate(make: Callable[..., Update]) -> Callable[..., Update]:
        kernels: dict[str, Callable[[Update, Any], Kernel]] = {
            "Apply": lambda update, like: Dense(update, states, others, like),
        }
        if sparse:
            kernels["SparseApply"] = lambda update, _: _sparse(update, states, others)
        for prefix, kernel in kernels.items():
            made = _Made(make, kernel)
            if by_reference:
                specialized(prefix + name, state=True, writes=True, ref_inputs=references, ref_output=True)(made)
                REGISTRY[prefix + name].module = make.__module__
            specialized("Resource" + prefix + name, outputs=0, state=True, writes=True)(made)
            REGISTRY["Resource" + prefix + name].module = make.__module__
        return make

    return decorate


def _check(values: list[Any], states: list[str], inputs: Sequence[Any], scalars: Sequence[tuple[int, str]]) -> None:
    """Raises `ValueError` where slots have other shapes than the variable, or hyperparameters are no scalars."""
    shape = values[0].shape
    for value in values:
        if value.shape != shape:
            name = states[next(i for i, v in enumerate(values) if v is value)]
            raise ValueError(
                f"{states[0]} and {name} must have the same shape, found {list(shape)} and {list(value.shape)}"
            )
    for i, name in scalars:
        if inputs[i].ndim:
            raise ValueError(f"{name} must be a scalar, found shape {list(inputs[i].shape)}")


class Dense:
    """A kernel that applies an optimizer to a variable as a whole.

    Attributes:
        update: what it computes.
        like: the same for optimizers that do the same.
        states: how many variables it takes, and gives new values.
        place: which of the inputs after these is the gradient.
    """

    __slots__ = ("_scalars", "_states", "like", "place", "states", "update")

    def __init__(self, update: Update, states: list[str], others: list[str], like: Any):
        self.update = update
        self.like = like
        self.states = len(states)
        self.place = others.index("grad")
        self._states = states
        self._scalars = [(i, name) for i, name in enumerate(others) if i != self.place]

    def __call__(self, state: RunState, *inputs: Any) -> Handle:
        """Changes the variables; gives the first one's handle."""
        count, place = self.states, self.place
        handles = inputs[:count]
        values = [state.read(handle) for handle in handles]
        given = [value if value.__class__ is np.ndarray else np.asarray(value) for value in inputs[count:]]
        shape, grad = values[0].shape, given[place]
        for value in (*values[1:], grad):
            if value.shape != shape:
                _check(values, self._states, given, self._scalars)
                raise ValueError(f"var and grad must have the same shape, found {list(shape)} and {list(grad.shape)}")
        for value in given:
            if value.ndim and value is not grad:
                _check(values, self._states, given, self._scalars)
        if not shape:
            values, given[place] = [value.reshape(1) for value in values], grad.reshape(1)
        update = self.update
        results = update(*values, *given) if values[0].size < _BIG else _in_pieces(update, values, given, place)
        for handle, result in zip(handles, results, strict=True):
            state.write(handle, result if shape else result.reshape(()))
        return handles[0]  # type: ignore[no-any-return]


def _in_pieces(update: Update, values: list[Any], inputs: list[Any], place: int) -> tuple[Array, ...]:
    flat = [value.reshape(-1) for value in values]
    grad, before, after = inputs[place].reshape(-1), inputs[:place], inputs[place + 1 :]
    out = [np.empty_like(value) for value in flat]
    for start in range(0, grad.size, _PIECE):
        piece = slice(start, start + _PIECE)
        results = update(*[value[piece] for value in flat], *before, grad[piece], *after)
        for whole, result in zip(out, results, strict=True):
            whole[piece] = result
    return tuple(whole.reshape(value.shape) for whole, value in zip(out, values, strict=True))


def _sparse(update: Update, states: list[str], others: list[str]) -> Kernel:
    count, place = len(states), others.index("grad")
    scalars = [(i + (i > place), name) for i, name in enumerate(others) if i != place]  # indices come after grad

    def kernel(state: RunState, *inputs: Any) -> Handle:
        handles, inputs = inputs[:count], inputs[count:]
        values = [state.read(handle) for handle in handles]
        _check(values, states, inputs, scalars)
        shape, grad, indices = values[0].shape, inputs[place], inputs[place + 1]
        if not shape:
            raise ValueError("var must have at least one dimension for a sparse update, found a scalar")
        if indices.ndim != 1:
            raise ValueError(f"indices must be a vector, found shape {list(indices.shape)}")
        if grad.shape != (indices.size, *shape[1:]):
            raise ValueError(
                f"grad must have a row for each of {indices.size} indices, of the shape of var's rows "
                f"{list(shape[1:])}; found {list(grad.shape)}"
            )
        check_rows(indices, shape[0], "var")
        if not indices.size:
            return handles[0]  # type: ignore[no-any-return]
        del values
        out = [state.copy(handle, indices) for handle in handles]
        before, after = inputs[:place], inputs[place + 2 :]
        if are_distinct(indices):
            results = update(*[whole.take(indices, 0) for whole in out], *before, grad, *after)
            put_rows(out, indices, results)
        else:
            for wave in waves(indices):
                rows = indices[wave]
                results = update(*[whole.take(rows, 0) for whole in out], *before, grad[wave], *after)
                put_rows(out, rows, results)
        for handle, whole in zip(handles, out, strict=True):
            state.write(handle, whole)
        return handles[0]  # type: ignore[no-any-return]

    return kernel


def _moved(old: Array, new: Array, share: Array, out: Array | None = None) -> Array:
    """old + (new - old) * share, in `out` where that is given."""
    out = np.subtract(new, old, out)
    np.multiply(out, share, out)
    return np.add(out, old, out)


def _less(var: Array, step: Array) -> Array:
    """var - step, in the memory of `step`."""
    return np.subtract(var, step, step)


def _rest(share: Array) -> Array:
    """1 - share."""
    number = share[()]
    return np.asarray(number.dtype.type(1) - number)


# Gradient descent and momentum


@applies("GradientDescent", "var; alpha grad", sparse=False)
def ApplyGradientDescent() -> Update:
    def update(var: Array, alpha: Any, grad: Array) -> tuple[Array, ...]:
        step = grad * alpha
        return (_less(var, step),)

    return update


@applies("Momentum", "var accum; lr grad momentum")
def ApplyMomentum(*, use_nesterov: bool = False) -> Update:
    def update(var: Array, accum: Array, lr: Any, grad: Array, momentum: Any) -> tuple[Array, ...]:
        accum = accum * momentum
        np.add(accum, grad, accum)
        if use_nesterov:
            step = accum * momentum
            step += grad
            step *= lr
        else:
            step = accum * lr
        return _less(var, step), accum

    return update


@applies("KerasMomentum", "var accum; lr grad momentum", by_reference=False)
def ApplyKerasMomentum(*, use_nesterov: bool = False) -> Update:
    def update(var: Array, accum: Array, lr: Any, grad: Array, momentum: Any) -> tuple[Array, ...]:
        descent = grad * lr
        accum = accum * momentum
        accum -= descent
        if not use_nesterov:
            return var + accum, accum
        step = accum * momentum
        step -= descent
        step += var
        return step, accum

    return update


# Adam


_adam_last: tuple[Any, Any] = None, None
"""The numbers that Adam was given last, and what followed: all variables of a step have them in common."""


def _adam_rates(beta1_power: Array, beta2_power: Array, lr: Array, beta1: Array, beta2: Array) -> tuple[Array, ...]:
    """The learning rate corrected for moments that began as zero, 1 - beta1 and 1 - beta2."""
    global _adam_last
    numbers = beta1_power[()], beta2_power[()], lr[()], beta1[()], beta2[()]
    known, rates = _adam_last
    if numbers != known or lr.dtype != rates[0].dtype:
        power1, power2, rate, _, _ = numbers
        one = rate.dtype.type(1)
        rates = np.asarray(rate * np.sqrt(one - power2) / (one - power1)), _rest(beta1), _rest(beta2)
        _adam_last = numbers, rates
    return rates  # type: ignore[no-any-return]


@applies("Adam", "var m v; beta1_power beta2_power lr beta1 beta2 epsilon grad", sparse=False)
def ApplyAdam(*, use_nesterov: bool = False) -> Update:
    def update(
        var: Array, m: Array, v: Array, beta1_power: Any, beta2_power: Any, lr: Any, beta1: Any, beta2: Any,
        epsilon: Any, grad: Array,
    ) -> tuple[Array, ...]:  # fmt: skip
        alpha, rest1, rest2 = _adam_rates(beta1_power, beta2_power, lr, beta1, beta2)
        square = np.multiply(grad, grad)
        v = _moved(v, square, rest2, square)
        m = _moved(m, grad, rest1)
        step = np.sqrt(v)
        np.add(step, epsilon, step)
        if use_nesterov:
            ahead = m * beta1
            ahead += grad * rest1
            ahead *= alpha
        else:
            ahead = np.multiply(m, alpha)
        np.divide(ahead, step, ahead)
        return _less(var, ahead), m, v

    return update


@applies(
    "AdamWithAmsgrad",
    "var m v vhat; beta1_power beta2_power lr beta1 beta2 epsilon grad",
    sparse=False,
    by_reference=False,
)
def ApplyAdamWithAmsgrad() -> Update:
    def update(
        var: Array, m: Array, v: Array, vhat: Array, beta1_power: Any, beta2_power: Any, lr: Any, beta1: Any,
        beta2: Any, epsilon: Any, grad: Array,
    ) -> tuple[Array, ...]:  # fmt: skip
        alpha, rest1, rest2 = _adam_rates(beta1_power, beta2_power, lr, beta1, beta2)
        square = np.multiply(grad, grad)
        v = _moved(v, square, rest2, square)
        m = _moved(m, grad, rest1)
        vhat = np.maximum(vhat, v)
        step = np.sqrt(vhat)
        step += epsilon
        ahead = m * alpha
        ahead /= step
        return _less(var, ahead), m, v, vhat

    return update


@applies("AdaMax", "var m v; beta1_power lr beta1 beta2 epsilon grad", sparse=False)
def ApplyAdaMax() -> Update:
    def update(
        var: Array, m: Array, v: Array, beta1_power: Any, lr: Any, beta1: Any, beta2: Any, epsilon: Any, grad: Array
    ) -> tuple[Array, ...]:
        m = _moved(m, grad, _rest(beta1))
        v = np.maximum(v * beta2, np.abs(grad))
        step = m / (v + epsilon)
        step *= lr / _rest(beta1_power)
        return _less(var, step), m, v

    return update


# Adagrad, Adadelta, RMSProp


@applies("Adagrad", "var accum; lr grad")
def ApplyAdagrad(*, update_slots: bool = True) -> Update:
    def update(var: Array, accum: Array, lr: Any, grad: Array) -> tuple[Array, ...]:
        if update_slots:
            squares = grad * grad
            squares += accum
            accum = squares
        step = grad * lr
        np.divide(step, np.sqrt(accum), step)
        return _less(var, step), accum

    return update


@applies("AdagradV2", "var accum; lr epsilon grad")
def ApplyAdagradV2(*, update_slots: bool = True) -> Update:
    def update(var: Array, accum: Array, lr: Any, epsilon: Any, grad: Array) -> tuple[Array, ...]:
        if update_slots:
            accum = accum + grad * grad
        root = np.sqrt(accum)
        root += epsilon
        step = grad * lr
        step /= root
        return _less(var, step), accum

    return update


@applies("Adadelta", "var accum accum_update; lr rho epsilon grad")
def ApplyAdadelta() -> Update:
    def update(
        var: Array, accum: Array, accum_update: Array, lr: Any, rho: Any, epsilon: Any, grad: Array
    ) -> tuple[Array, ...]:
        rest = _rest(rho)
        accum = accum * rho
        accum += grad * grad * rest
        step = np.sqrt(accum_update + epsilon)
        step /= np.sqrt(accum + epsilon)
        step *= grad
        accum_update = accum_update * rho
        accum_update += step * step * rest
        step *= lr
        return _less(var, step), accum, accum_update

    return update


@applies("RMSProp", "var ms mom; lr rho momentum epsilon grad")
def ApplyRMSProp() -> Update:
    def update(
        var: Array, ms: Array, mom: Array, lr: Any, rho: Any, momentum: Any, epsilon: Any, grad: Array
    ) -> tuple[Array, ...]:
        square = grad * grad
        ms = _moved(ms, square, _rest(rho), square)
        below = ms + epsilon
        return _rms_step(var, mom, lr, momentum, grad, below, ms)

    return update


@applies("CenteredRMSProp", "var mg ms mom; lr rho momentum epsilon grad")
def ApplyCenteredRMSProp() -> Update:
    def update(
        var: Array, mg: Array, ms: Array, mom: Array, lr: Any, rho: Any, momentum: Any, epsilon: Any, grad: Array
    ) -> tuple[Array, ...]:
        rest = _rest(rho)
        square = grad * grad
        ms = _moved(ms, square, rest, square)
        mg = _moved(mg, grad, rest)
        below = ms - mg * mg
        below += epsilon
        return _rms_step(var, mom, lr, momentum, grad, below, mg, ms)

    return update


def _rms_step(
    var: Array, mom: Array, lr: Any, momentum: Any, grad: Array, square: Array, *slots: Array
) -> tuple[Array, ...]:
    np.sqrt(square, square)
    step = grad * lr
    np.divide(step, square, step)
    mom = mom * momentum
    np.add(mom, step, mom)
    return var - mom, *slots, mom


# Signs (Neural Optimizer Search)


@applies("AddSign", "var m; lr alpha sign_decay beta grad", sparse=False)
def ApplyAddSign() -> Update:
    def update(var: Array, m: Array, lr: Any, alpha: Any, sign_decay: Any, beta: Any, grad: Array) -> tuple[Array, ...]:
        m = _decayed(m, beta, grad)
        step = np.sign(grad)
        step *= np.sign(m)
        step *= sign_decay
        step += alpha
        step *= lr
        step *= grad
        return _less(var, step), m

    return update


@applies("PowerSign", "var m; lr logbase sign_decay beta grad", sparse=False)
def ApplyPowerSign() -> Update:
    def update(
        var: Array, m: Array, lr: Any, logbase: Any, sign_decay: Any, beta: Any, grad: Array
    ) -> tuple[Array, ...]:
        m = _decayed(m, beta, grad)
        step = np.sign(grad)
        step *= np.sign(m)
        step *= logbase * sign_decay
        step = np.exp(step) * lr
        step *= grad
        return _less(var, step), m

    return update


def _decayed(old: Array, beta: Any, grad: Array) -> Array:
    out: Array = old * beta
    out += grad * _rest(beta)
    return out
