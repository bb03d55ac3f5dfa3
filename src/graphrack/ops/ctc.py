"""Connectionist temporal classification: the loss, and the edit distance that judges what is decoded.

Alex Graves, "Supervised Sequence Labelling with Recurrent Neural Networks" (2012), chapter 7. Inputs are
`[time, batch, classes]`; the last class is the blank unless an op says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrack.ops._arguments import vector
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.state import show


def checked_lengths(inputs: Array, sequence_length: Array) -> list[int]:
    """The lengths, where they fit the inputs."""
    if inputs.ndim != 3:
        raise ValueError(f"inputs must have shape [time, batch, classes], got {show(inputs.shape)}")
    steps, batch, _ = inputs.shape
    lengths = vector("sequence_length", sequence_length)
    if len(lengths) != batch:
        raise ValueError(f"sequence_length must have {batch} elements, one for each of the batch, got {len(lengths)}")
    for i, length in enumerate(lengths):
        if not 0 <= length <= steps:
            raise ValueError(f"sequence_length[{i}] must be in [0, {steps}], the number of time steps, got {length}")
    return lengths


# ---- Loss ----


def _labels_of(indices: Array, values: Array, batch: int) -> list[list[int]]:
    """The label sequences of a batch, from a sparse tensor's indices and values."""
    if indices.ndim != 2 or indices.shape[1] != 2:
        raise ValueError(f"labels_indices must have shape [count, 2], got {show(indices.shape)}")
    if values.shape != indices.shape[:1]:
        raise ValueError(f"labels_values must have one value for each index, got {show(values.shape)}")
    found: list[list[int]] = [[] for _ in range(batch)]
    for i, (b, label) in enumerate(zip(indices[:, 0].tolist(), values.tolist(), strict=True)):
        if not 0 <= b < batch:
            raise ValueError(f"labels_indices[{i}, 0] must be in [0, {batch}), the batch, got {b}")
        found[b].append(label)
    return found


def _target(labels: list[int], b: int, classes: int, collapse: bool) -> list[int]:
    """What a label sequence asks for: without what follows a blank, or repeats where they are collapsed."""
    if not labels:
        raise ValueError(f"the label sequence of batch item {b} is empty")
    found: list[int] = []
    ended = False
    for i, label in enumerate(labels):
        if i and collapse and label == labels[i - 1]:
            continue
        if label >= classes - 1:
            ended = True
        elif ended:
            raise ValueError(f"batch item {b} has a label after a blank: {labels}; blanks may stand at the end only")
        elif label < 0:
            raise ValueError(f"labels must be at least 0, got {labels} in batch item {b}")
        else:
            found.append(label)
    return found


def _loss(
    inputs: Array,
    labels_indices: Array,
    labels_values: Array,
    sequence_length: Array,
    collapse: bool,
    merge: bool,
    ignore_longer: bool,
    used: Sequence[int],
) -> tuple[Array, Array]:
    """The negative log likelihoods `[batch]` and, where it is used, their gradient by the inputs.

    The last class is the blank.
    """
    lengths = np.array(checked_lengths(inputs, sequence_length), np.int64)
    _, batch, classes = inputs.shape
    if not batch or not classes:
        raise ValueError(f"inputs must have a batch and classes, got shape {show(inputs.shape)}")
    labels = _labels_of(labels_indices, labels_values, batch)
    targets = [_target(found, b, classes, collapse) for b, found in enumerate(labels)]
    asked = np.array([len(found) for found in labels])
    if not ignore_longer and (asked > lengths).any():
        b = int(np.flatnonzero(asked > lengths)[0])
        raise ValueError(
            f"batch item {b} has {asked[b]} labels, but only {lengths[b]} time steps to output them; "
            "ignore_longer_outputs_than_inputs=True gives such items a loss of 0"
        )
    loss, gradient = np.zeros(batch, inputs.dtype), np.zeros(inputs.shape, inputs.dtype)
    able = np.flatnonzero((lengths > 0) & (asked <= lengths))
    if able.size:
        ways = _Ways(inputs[: lengths.max(), able].astype(np.float64), lengths[able], [targets[b] for b in able], merge)
        if _GRADIENT in used:
            loss[able], gradient[: lengths.max(), able] = ways.there_and_back()
        else:
            loss[able] = ways.there()
    return loss, gradient


_LARGEST = 600.0
"""Numbers whose exponential, and that of their negative, are far from both ends of float64."""


_GRADIENT = 1
"""Its number among the outputs."""


class _Ways:
    """The ways of going through time that give the targets, of items that have a step and at most as many labels.

    All items go together, each with its target padded to the longest: a blank before every label and one after the
    last, which makes `2 * labels + 1` states. The way back is the way there of what is turned round, so that both are
    gone at once.
    """

    def __init__(self, logits: Array, lengths: Array, targets: list[list[int]], merge: bool):
        steps, batch, classes = logits.shape
        blank = classes - 1
        self.lengths = lengths
        self.sizes = sizes = np.array([2 * len(target) + 1 for target in targets])
        states = int(sizes.max())
        self.wanted = np.full((batch, states), blank)
        for b, target in enumerate(targets):
            self.wanted[b, 1 : sizes[b] : 2] = target
        self.state, self.step = np.arange(states), np.arange(steps)[:, None]
        self.item = np.arange(batch)[:, None]
        self.exists = self.state < sizes[:, None]
        self.blank, self.merge = blank, merge
        self.scores = logits - logits.max(axis=2, keepdims=True)
        self.scores -= np.log(np.exp(self.scores).sum(axis=2, keepdims=True))
        self.at = np.arange(0, self.scores.size, classes).reshape(steps, batch, 1) + self.wanted
        emitted = self.scores.take(self.at)
        # Every way has the product of these probabilities at least, and there are at most 3 ** steps ways.
        least = np.where(self.exists, emitted, 0.0).min(axis=2).sum(axis=0).min()
        self.in_range = bool(least > 1.1 * steps - _LARGEST)
        emitted = np.where(self.exists, emitted, -np.inf)
        self.emitted = np.exp(emitted) if self.in_range else emitted

    def _may(self, wanted: Array) -> tuple[Array, Array]:
        """Whether each state may follow on itself, and on the one before the last."""
        is_label = wanted != self.blank
        may_skip = np.zeros(wanted.shape, bool)  # to a label from the one before, over the blank between them
        may_skip[:, 2:] = is_label[:, 2:] & ~((wanted[:, 2:] == wanted[:, :-2]) & self.merge)
        return ~is_label | self.merge, may_skip

    def there(self) -> Array:
        """The losses."""
        along = _products if self.in_range else _logarithms
        ways = along(self.emitted, *self._may(self.wanted))
        item = self.item[:, 0]
        ends = ways[self.lengths - 1, item]
        last, other = ends[item, self.sizes - 1], ends[item, np.maximum(self.sizes - 2, 0)]
        if self.in_range:
            total = last + np.where(self.sizes > 1, other, 0.0)
            likelihood: Array = np.log(total, np.full(total.shape, -np.inf), where=total > 0)
        else:
            likelihood = np.logaddexp(last, np.where(self.sizes > 1, other, -np.inf))
        return -likelihood

    def there_and_back(self) -> tuple[Array, Array]:
        """The losses and their gradients."""
        emitted, batch = self.emitted, len(self.lengths)
        # Where each step's states are in what is turned round, and those of that in this.
        turned = np.maximum(self.sizes[:, None] - 1 - self.state, 0)
        there = np.maximum(self.lengths - 1 - self.step, 0)[:, :, None], self.item, turned
        may = self._may(np.concatenate((self.wanted, self.wanted[self.item, turned])))
        valid = self.exists & (self.step < self.lengths)[:, :, None]
        if self.in_range:
            ways = _products(np.concatenate((emitted, emitted[there] * self.exists), axis=1), *may)
            # Divided first: the product of two likelihoods may be too small for a float.
            after = np.divide(ways[:, batch:][there], emitted, np.zeros_like(emitted), where=valid)
            through = ways[:, :batch] * after
            total = through[0].sum(axis=1)
            possible = total > 0
            likelihood = np.log(total, np.full(batch, -np.inf), where=possible)
            shares = through / np.where(possible, total, 1.0)[:, None]
        else:
            mirrored = np.where(self.exists, emitted[there], -np.inf)
            ways = _logarithms(np.concatenate((emitted, mirrored), axis=1), *may)
            through = np.where(valid, ways[:, :batch] + ways[:, batch:][there] - emitted, -np.inf)
            likelihood = np.logaddexp.reduce(through[0], axis=1)
            shares = np.exp(through - np.where(np.isfinite(likelihood), likelihood, np.inf)[:, None])
        gradient = np.exp(self.scores)
        taken = np.bincount(self.at.reshape(-1), shares.reshape(-1), gradient.size)
        gradient -= taken.reshape(gradient.shape)
        gradient[self.step >= self.lengths] = 0
        return -likelihood, gradient


def _products(given: Array, may_stay: Array, may_skip: Array) -> Array:
    """The probability of being in each state at each step, over all ways to it: `[steps, items, states]`.

    Each step's states are one vector, in which two that nothing is ever in stand before each item's first.

    Attributes:
        given: the probability of each step's output in each state.
        may_stay, may_skip: whether a state may follow on itself, and on the one before the last: `[items, states]`.
    """
    steps, items, states = given.shape
    width = items * (states + 2)
    emitted = np.zeros((steps, items, states + 2))
    emitted[:, :, 2:] = given
    found = np.zeros(emitted.shape)
    found[0, :, 2:4] = emitted[0, :, 2:4]
    skips, stays = np.zeros((2, *emitted.shape[1:]))
    skips[:, 2:], stays[:, 2:] = may_skip, may_stay
    skip, stay = skips.reshape(width)[2:], None if may_stay.all() else stays.reshape(width)[2:]
    rows = found.reshape(steps, width)
    last, now_on, outputs = rows[:-1], rows[1:, 2:], emitted.reshape(steps, width)[1:, 2:]
    each = zip(last[:, 2:], last[:, 1:-1], last[:, :-2], now_on, outputs, strict=True)
    for before, one_before, two_before, now, output in each:
        np.multiply(two_before, skip, now)
        np.add(now, one_before, now)
        np.add(now, before if stay is None else before * stay, now)
        np.multiply(now, output, now)
    return found[:, :, 2:]


def _logarithms(emitted: Array, may_stay: Array, may_skip: Array) -> Array:
    """As `_products`, with logarithms of probabilities."""
    stays, skips = (np.where(may, 0.0, -np.inf) for may in (may_stay, may_skip))
    found = np.full(emitted.shape, -np.inf)
    found[0, :, :2] = emitted[0, :, :2]
    for t in range(1, len(emitted)):
        before = found[t - 1]
        total = before + stays
        total[:, 1:] = np.logaddexp(total[:, 1:], before[:, :-1])
        total[:, 2:] = np.logaddexp(total[:, 2:], before[:, :-2] + skips[:, 2:])
        np.add(total, emitted[t], out=found[t])
    return found


@op("CTCLoss", outputs=2)
def CTCLoss(
    inputs: Array,
    labels_indices: Array,
    labels_values: Array,
    sequence_length: Array,
    *,
    preprocess_collapse_repeated: bool = False,
    ctc_merge_repeated: bool = True,
    ignore_longer_outputs_than_inputs: bool = False,
    used_outputs: Sequence[int] = (0, _GRADIENT),
) -> tuple[Array, Array]:
    return _loss(
        inputs,
        labels_indices,
        labels_values,
        sequence_length,
        preprocess_collapse_repeated,
        ctc_merge_repeated,
        ignore_longer_outputs_than_inputs,
        used_outputs,
    )


@op("CTCLossV2", outputs=2)
def CTCLossV2(
    inputs: Array,
    labels_indices: Array,
    labels_values: Array,
    sequence_length: Array,
    *,
    preprocess_collapse_repeated: bool = False,
    ctc_merge_repeated: bool = True,
    ignore_longer_outputs_than_inputs: bool = False,
    used_outputs: Sequence[int] = (0, _GRADIENT),
) -> tuple[Array, Array]:
    """As CTCLoss, but class 0 is the blank."""
    if inputs.ndim == 3 and labels_values.size and labels_values.min() < 1:
        raise ValueError(f"labels must be at least 1, since 0 is the blank; got {labels_values.min()}")
    loss, gradient = _loss(
        np.roll(inputs, -1, axis=-1) if inputs.ndim else inputs,
        labels_indices,
        labels_values - 1,
        sequence_length,
        preprocess_collapse_repeated,
        ctc_merge_repeated,
        ignore_longer_outputs_than_inputs,
        used_outputs,
    )
    return loss, np.roll(gradient, 1, axis=-1) if _GRADIENT in used_outputs else gradient


# ---- Edit distance ----


@specialized("EditDistance")
def EditDistance(*, normalize: bool = True) -> Callable[..., Array]:
    """Levenshtein's distance between the sequences along the last axis of two sparse tensors."""

    def distances(
        hypothesis_indices: Array,
        hypothesis_values: Array,
        hypothesis_shape: Array,
        truth_indices: Array,
        truth_values: Array,
        truth_shape: Array,
    ) -> Array:
        hypothesis = _groups("hypothesis", hypothesis_indices, hypothesis_values, hypothesis_shape)
        truth = _groups("truth", truth_indices, truth_values, truth_shape)
        ranks = vector("hypothesis_shape", hypothesis_shape), vector("truth_shape", truth_shape)
        if len(ranks[0]) != len(ranks[1]):
            raise ValueError(f"hypothesis and truth must have one rank, got shapes {ranks[0]} and {ranks[1]}")
        shape = [max(sizes) for sizes in zip(ranks[0][:-1], ranks[1][:-1], strict=True)]
        out = np.zeros(shape, np.float32)
        for group in hypothesis.keys() | truth.keys():
            found, expected = hypothesis.get(group, []), truth.get(group, [])
            distance: float = _levenshtein(found, expected)
            if normalize:
                distance = distance / len(expected) if expected else math.inf
            out[group] = distance
        return out

    return distances


def _groups(name: str, indices: Array, values: Array, shape: Array) -> dict[tuple[int, ...], list[Any]]:
    """The sequences of a sparse tensor, by the index of all axes but the last."""
    dense = vector(f"{name}_shape", shape)
    if len(dense) < 2:
        raise ValueError(f"{name}_shape must have two sizes at least, got {dense}")
    if indices.ndim != 2 or indices.shape[1] != len(dense) or values.shape != indices.shape[:1]:
        raise ValueError(
            f"{name} must have indices of shape [count, {len(dense)}] and a value for each, got "
            f"{show(indices.shape)} and {show(values.shape)}"
        )
    found: dict[tuple[int, ...], list[Any]] = {}
    for i, (index, value) in enumerate(zip(indices.tolist(), values.tolist(), strict=True)):
        if not all(0 <= k < size for k, size in zip(index, dense, strict=True)):
            raise ValueError(f"{name}_indices[{i}] is {index}, which is not in a tensor of shape {dense}")
        found.setdefault(tuple(index[:-1]), []).append(value)
    return found


def _levenshtein(found: list[Any], expected: list[Any]) -> int:
    """How many insertions, deletions and replacements lead from one sequence to the other."""
    previous = list(range(len(expected) + 1))
    for i, item in enumerate(found, 1):
        row = [i]
        for j, other in enumerate(expected, 1):
            row.append(min(row[-1] + 1, previous[j] + 1, previous[j - 1] + (item != other)))
        previous = row
    return previous[-1]
