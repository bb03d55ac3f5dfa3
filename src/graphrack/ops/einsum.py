"""Einsum: products of one or two tensors, summed over the labels that the output lacks.

An equation is taken apart once per node; what has to be done for operands of given ranks, once per
ranks. Products become matrix products over batches, which go to BLAS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrack.formats.dtypes import DType
from graphrack.ops.matmul import batch_matmul
from graphrack.ops.precision import widened
from graphrack.ops.registry import Kernel, specialized
from graphrack.ops.runtime import Array

ELLIPSIS = "..."

Labels = tuple[str, ...]
"""One label per dimension: a character, or `...2` for the third of an ellipsis, from the right."""


@specialized("Einsum")
def Einsum(*, equation: bytes, T: DType) -> Kernel:
    text = equation.decode()
    terms, result = _parsed(text)
    plans: dict[tuple[int, ...], tuple[list[Labels], Labels]] = {}

    def run(*inputs: Array) -> Any:
        if len(inputs) != len(terms):
            raise ValueError(f"equation {text!r} is for {len(terms)} inputs, got {len(inputs)}")
        ranks = tuple([x.ndim for x in inputs])
        if ranks not in plans:
            plans[ranks] = _labelled(text, terms, result, ranks)
        labels, wanted = plans[ranks]
        _check_sizes(text, inputs, labels)
        if len(inputs) == 1:
            return _arranged(*_reduced(inputs[0], labels[0], set(wanted)), wanted)
        return _product(inputs[0], inputs[1], labels[0], labels[1], wanted)

    return widened(T, run)


def _parsed(equation: str) -> tuple[list[list[str]], list[str]]:
    """Each input's subscripts and the output's, as lists of labels and `...`."""
    sides = equation.split("->")
    if len(sides) != 2:
        raise ValueError(f"equation must have exactly one '->', got {equation!r}")
    terms = [_subscripts(term) for term in sides[0].split(",")]
    if len(terms) > 2:
        raise ValueError(f"equation must be for 1 or 2 inputs, got {equation!r}")
    result = _subscripts(sides[1])
    unknown = set(result) - {ELLIPSIS}.union(*terms)
    if unknown:
        raise ValueError(f"the output of equation {equation!r} has labels that no input has: {sorted(unknown)}")
    return terms, result


def _subscripts(term: str) -> list[str]:
    before, dots, after = term.partition(ELLIPSIS)
    if ELLIPSIS in after:
        raise ValueError(f"subscripts must have at most one ellipsis, got {term!r}")
    return [*before, dots, *after] if dots else list(before)


def _labelled(
    equation: str, terms: Sequence[list[str]], result: list[str], ranks: Sequence[int]
) -> tuple[list[Labels], Labels]:
    """The labels of every dimension of the inputs and of the output, for inputs of these ranks."""
    hidden = []
    for i, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        named = sum(label != ELLIPSIS for label in term)
        if rank < named or (rank > named and ELLIPSIS not in term):
            raise ValueError(f"equation {equation!r} is for an input {i} of rank {named}, got {rank}")
        hidden.append(rank - named)
    most = max(hidden)
    if most and ELLIPSIS not in result:
        raise ValueError(f"the output of equation {equation!r} needs an ellipsis for {most} dimensions")

    def spelled(term: list[str], count: int) -> Labels:
        dots = [f"{ELLIPSIS}{i}" for i in reversed(range(count))]
        return tuple(name for label in term for name in (dots if label == ELLIPSIS else [label]))

    return [spelled(term, count) for term, count in zip(terms, hidden, strict=True)], spelled(result, most)


def _check_sizes(equation: str, inputs: Sequence[Array], labels: Sequence[Labels]) -> None:
    sizes: dict[str, int] = {}
    for x, names in zip(inputs, labels, strict=True):
        for label, size in zip(names, x.shape, strict=True):
            known = sizes.setdefault(label, size)
            if known == size or (label.startswith(ELLIPSIS) and 1 in (known, size)):
                continue
            shapes = " and ".join(str(x.shape) for x in inputs)
            raise ValueError(f"in equation {equation!r} label {label!r} is {known} and {size}, of {shapes}")


def _reduced(x: Array, labels: Labels, needed: set[str]) -> tuple[Array, Labels]:
    """The diagonals of repeated labels, summed over the labels that aren't needed."""
    unique = tuple(dict.fromkeys(labels))
    if len(unique) < len(labels):
        number = {label: i for i, label in enumerate(unique)}
        x = np.einsum(x, [number[label] for label in labels], list(number.values()))  # a view
    surplus = tuple(i for i, label in enumerate(unique) if label not in needed)
    if surplus:
        x = np.add.reduce(x, surplus, x.dtype)
    return x, tuple(label for label in unique if label in needed)


def _arranged(x: Array, labels: Labels, wanted: Labels) -> Array:
    """The tensor with its dimensions as wanted; repeated labels there make a diagonal."""
    unique = tuple(dict.fromkeys(wanted))
    x = np.transpose(x, [labels.index(label) for label in unique])
    if len(unique) == len(wanted):
        return x
    sizes = dict(zip(unique, x.shape, strict=True))
    out = np.zeros([sizes[label] for label in wanted], x.dtype)
    number = {label: i for i, label in enumerate(unique)}
    np.einsum(out, [number[label] for label in wanted], list(number.values()))[...] = x
    return out


def _product(a: Array, b: Array, a_labels: Labels, b_labels: Labels, wanted: Labels) -> Array:
    a, a_labels = _reduced(a, a_labels, {*b_labels, *wanted})
    b, b_labels = _reduced(b, b_labels, {*a_labels, *wanted})
    batch = [label for label in a_labels if label in b_labels and label in wanted]
    summed = [label for label in a_labels if label in b_labels and label not in wanted]
    rows = [label for label in a_labels if label not in b_labels]
    columns = [label for label in b_labels if label not in a_labels]
    a = np.transpose(a, [a_labels.index(label) for label in batch + rows + summed])
    b = np.transpose(b, [b_labels.index(label) for label in batch + summed + columns])
    first, second = len(batch), len(batch) + len(rows)
    inner = len(batch) + len(summed)
    sizes = a.shape[first:second] + b.shape[inner:]
    if summed:
        # Sizes are spelled out: -1 has no meaning where others are 0.
        a = a.reshape((*a.shape[:first], math.prod(a.shape[first:second]), math.prod(a.shape[second:])))
        b = b.reshape((*b.shape[:first], math.prod(b.shape[first:inner]), math.prod(b.shape[inner:])))
        product = batch_matmul(a, b)
        product = product.reshape(product.shape[:first] + sizes)
    else:
        ones, more = (1,) * len(rows), (1,) * len(columns)
        product = a.reshape(a.shape + more) * b.reshape(b.shape[:first] + ones + b.shape[first:])
    return _arranged(product, (*batch, *rows, *columns), wanted)
