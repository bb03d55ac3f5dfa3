"""Connectionist temporal classification: the loss, both decoders, and the edit distance that judges them.

Alex Graves, "Supervised Sequence Labelling with Recurrent Neural Networks" (2012), chapter 7. Inputs are
`[time, batch, classes]`; the last class is the blank unless an op says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappush, heapreplace
from math import exp, log1p
from typing import Any

import numpy as np

from graphrack.ops._arguments import vector
from graphrack.ops.registry import MANY, op, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.state import show

_Sparse = tuple[Array, Array, Array]

_FEW = 32  # classes that are looked at sooner one by one than by NumPy


def _checked(inputs: Array, sequence_length: Array) -> list[int]:
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


def _sparse(paths: list[list[int]]) -> _Sparse:
    """Sequences of a batch as a sparse tensor: indices, values, dense shape."""
    values = np.array([label for path in paths for label in path], np.int64)
    longest = max(map(len, paths), default=0)
    indices, places, start = np.empty((len(values), 2), np.int64), np.arange(longest), 0
    for b, path in enumerate(paths):
        end = start + len(path)
        indices[start:end, 0], indices[start:end, 1] = b, places[: len(path)]
        start = end
    return indices, values, np.array([len(paths), longest], np.int64)


# ---- Greedy ----


@op("CTCGreedyDecoder", outputs=4)
def CTCGreedyDecoder(
    inputs: Array, sequence_length: Array, *, merge_repeated: bool = False, blank_index: int = -1
) -> tuple[Array, Array, Array, Array]:
    """The most likely class of every step; `log_probability` is minus the sum of their logits."""
    lengths = np.array(_checked(inputs, sequence_length), np.int64)
    steps, batch, classes = inputs.shape
    blank = blank_index if blank_index >= 0 else classes + blank_index
    if not 0 <= blank < classes:
        raise ValueError(f"blank_index must be in [{-classes}, {classes}), got {blank_index}")
    if not steps:
        return (*_sparse([[]] * batch), np.zeros((batch, 1), inputs.dtype))
    within = np.arange(steps)[:, None] < lengths
    best = inputs.argmax(axis=2)
    score = -np.where(within, inputs.max(axis=2), 0).sum(axis=0, dtype=inputs.dtype)[:, None]
    kept = within & (best != blank)
    if merge_repeated:
        kept[1:] &= best[1:] != best[:-1]
    paths = [best[kept[:, b], b].tolist() for b in range(batch)]
    return (*_sparse(paths), score)


# ---- Beam search ----


class _Beam:
    """A sequence of labels: the last one, and the beam that it prolongs.

    Attributes:
        total, blank, label: log probabilities of the paths to it so far: all, those that end with a blank, those
            that end with its last label. -inf for all of them where it is no leaf.
        old_total, old_blank: the same one step before.
    """

    __slots__ = ("blank", "children", "label", "last", "old_blank", "old_total", "parent", "total")

    def __init__(self, parent: _Beam | None, last: int):
        self.parent = parent
        self.last = last
        self.children: dict[int, _Beam] = {}
        self.total = self.blank = self.label = self.old_total = self.old_blank = -math.inf

    def path(self, merge_repeated: bool) -> list[int]:
        """The labels, first to last."""
        found = []
        beam, previous = self, -1
        while beam.parent is not None:
            if not merge_repeated or beam.last != previous:
                found.append(beam.last)
            previous, beam = beam.last, beam.parent
        return found[::-1]


_Leaf = tuple[float, int, _Beam]
_NONE = -math.inf


class _Search:
    """The search for one sequence; `leaves` is a heap of the beams, the least likely first.

    Of equally likely beams the one found last is dropped first: their numbers go down.
    """

    def __init__(self, width: int):
        self.width = width
        root = _Beam(None, -1)
        root.total = root.blank = 0.0
        self.leaves: list[_Leaf] = [(0.0, 0, root)]
        self._number = 0

    def best(self) -> list[_Beam]:
        """The beams, the most likely first."""
        return [beam for _, _, beam in sorted(self.leaves, reverse=True)]

    def step(self, scores: Array) -> None:
        """Goes on by one time step, whose log probabilities of the classes are given; the blank is the last."""
        *labels, blank = scores.tolist()
        number, leaves = self._number, []
        beams = self.best()
        for beam in beams:
            beam.old_total, beam.old_blank = beam.total, beam.blank
        for beam in beams:
            parent, last, label = beam.parent, beam.last, beam.label
            if parent is not None:
                if parent.total > _NONE:
                    before = parent.old_blank if last == parent.last else parent.old_total
                    if label < before:
                        label, before = before, label
                    if before > _NONE:  # log(exp(label) + exp(before))
                        label += log1p(exp(before - label))
                beam.label = label = label + labels[last]
            beam.blank = total = beam.old_total + blank
            if total < label:
                total, label = label, total
            if label > _NONE:
                total += log1p(exp(label - total))
            beam.total = total
            number -= 1
            leaves.append((total, number, beam))
        heapify(leaves)
        self.leaves, self._number = leaves, number
        likeliest = max(labels, default=_NONE)
        for beam in beams:
            # One without children grows only by a label that makes it likelier than the last of a full heap.
            if beam.children or len(leaves) < self.width or beam.old_total + likeliest > leaves[0][0]:
                self._grow(beam, labels, scores)

    def _grow(self, beam: _Beam, labels: list[float], scores: Array) -> None:
        """Adds the beams that prolong one by a label, as far as they are likely enough."""
        leaves, children, old = self.leaves, beam.children, beam.old_total
        room = self.width - len(leaves)
        floor = _NONE if room > 0 else leaves[0][0]
        if not old > floor:  # what prolongs it is less likely still
            return
        if len(labels) > _FEW:
            likely = np.flatnonzero(scores[:-1] + old > floor).tolist()
            candidates = [(i, labels[i]) for i in (sorted({*likely, *children}) if children else likely)]
        elif children:
            candidates = [(i, score) for i, score in enumerate(labels) if score + old > floor or i in children]
        else:
            candidates = [(i, score) for i, score in enumerate(labels) if score + old > floor]
        for last, score in candidates:
            child = children.get(last)
            if child is not None and child.total > _NONE:
                continue
            total = score + (beam.old_blank if last == beam.last else old)
            if not total > (_NONE if room > 0 else leaves[0][0]):
                if child is not None:  # one that was dropped in this very step isn't prolonged in it either
                    child.old_total = child.old_blank = _NONE
                continue
            if child is None:
                child = children[last] = _Beam(beam, last)
            child.blank = _NONE
            child.total = child.label = total
            self._number -= 1
            leaf = total, self._number, child
            if room > 0:
                room -= 1
                heappush(leaves, leaf)
            else:
                dropped = heapreplace(leaves, leaf)[2]
                dropped.total = dropped.blank = dropped.label = _NONE


@op("CTCBeamSearchDecoder", outputs=MANY)
def CTCBeamSearchDecoder(
    inputs: Array, sequence_length: Array, *, beam_width: int, top_paths: int, merge_repeated: bool = True
) -> list[Array]:
    """Prefix beam search: the `top_paths` likeliest label sequences of each of the batch."""
    lengths = _checked(inputs, sequence_length)
    if top_paths > beam_width:
        raise ValueError(f"top_paths must be at most beam_width, got {top_paths} and {beam_width}")
    batch = inputs.shape[1]
    if not inputs.shape[2]:
        raise ValueError(f"inputs must have the class of blanks at least, got shape {show(inputs.shape)}")
    wide = inputs.astype(np.float64)
    scores = wide - wide.max(axis=2, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=2, keepdims=True))
    paths: list[list[list[int]]] = [[] for _ in range(top_paths)]
    probabilities = np.empty((batch, top_paths), inputs.dtype)
    for b, length in enumerate(lengths):
        search = _Search(beam_width)
        for t in range(length):
            search.step(scores[t, b])
        if len(search.leaves) < top_paths:
            raise ValueError(f"top_paths is {top_paths}, but the search has only {len(search.leaves)} paths")
        for i, beam in enumerate(search.best()[:top_paths]):
            paths[i].append(beam.path(merge_repeated))
            probabilities[b, i] = beam.total
    decoded = [_sparse(batch_paths) for batch_paths in paths]
    return [*(d[0] for d in decoded), *(d[1] for d in decoded), *(d[2] for d in decoded), probabilities]


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
) -> tuple[Array, Array]:
    """The negative log likelihoods `[batch]` and their gradients by the inputs; the last class is the blank."""
    lengths = np.array(_checked(inputs, sequence_length), np.int64)
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
    used = np.flatnonzero((lengths > 0) & (asked <= lengths))
    if used.size:
        found = _forward_backward(
            inputs[: lengths.max(), used].astype(np.float64), lengths[used], [targets[b] for b in used], merge
        )
        loss[used] = found[0]
        gradient[: lengths.max(), used] = found[1]
    return loss, gradient


_LARGEST = 600.0
"""Numbers whose exponential, and that of their negative, are far from both ends of float64."""


def _forward_backward(logits: Array, lengths: Array, targets: list[list[int]], merge: bool) -> tuple[Array, Array]:
    """The losses and gradients of items that all have a step and at most as many labels as steps.

    All items go through time together, each with its target padded to the longest: a blank before every label and
    one after the last, which makes `2 * labels + 1` states. The way back is the way there of what is turned round,
    so that both are gone at once.
    """
    steps, batch, classes = logits.shape
    blank = classes - 1
    sizes = np.array([2 * len(target) + 1 for target in targets])
    states = int(sizes.max())
    wanted = np.full((batch, states), blank)
    for b, target in enumerate(targets):
        wanted[b, 1 : sizes[b] : 2] = target
    state, step, item = np.arange(states), np.arange(steps)[:, None], np.arange(batch)[:, None]
    # Where each step's states are in what is turned round, and those of that in this.
    turned = np.maximum(sizes[:, None] - 1 - state, 0)
    there = np.maximum(lengths - 1 - step, 0)[:, :, None], item, turned
    exists = state < sizes[:, None]
    both = np.concatenate((wanted, wanted[item, turned]))
    is_label = both != blank
    may_skip = np.zeros(both.shape, bool)  # to a label from the one before, over the blank between them
    may_skip[:, 2:] = is_label[:, 2:] & ~((both[:, 2:] == both[:, :-2]) & merge)
    may_stay = ~is_label | merge

    scores = logits - logits.max(axis=2, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=2, keepdims=True))
    at = np.arange(0, scores.size, classes).reshape(steps, batch, 1) + wanted
    emitted = scores.take(at)
    # Every way has the product of these probabilities at least, and there are at most 3 ** steps ways.
    least = np.where(exists, emitted, 0.0).min(axis=2).sum(axis=0).min()
    emitted = np.where(exists, emitted, -np.inf)
    valid = exists & (step < lengths)[:, :, None]
    if least > 1.1 * steps - _LARGEST:
        emitted = np.exp(emitted)
        ways = _products(emitted, emitted[there] * exists, may_stay, may_skip)
        through = ways[:, :batch] * ways[:, batch:][there]
        through = np.divide(through, emitted, np.zeros_like(through), where=valid)
        total = through[0].sum(axis=1)
        possible = total > 0
        likelihood = np.log(total, np.full(batch, -np.inf), where=possible)
        shares = through / np.where(possible, total, 1.0)[:, None]
    else:
        mirrored = np.where(exists, emitted[there], -np.inf)
        ways = _logarithms(np.concatenate((emitted, mirrored), axis=1), may_stay, may_skip)
        through = np.where(valid, ways[:, :batch] + ways[:, batch:][there] - emitted, -np.inf)
        likelihood = np.logaddexp.reduce(through[0], axis=1)
        shares = np.exp(through - np.where(np.isfinite(likelihood), likelihood, np.inf)[:, None])
    gradient = np.exp(scores)
    gradient -= np.bincount(at.reshape(-1), shares.reshape(-1), gradient.size).reshape(gradient.shape)
    gradient[step >= lengths] = 0
    return -likelihood, gradient


def _products(there: Array, back: Array, may_stay: Array, may_skip: Array) -> Array:
    """The probability of being in each state at each step, over all ways to it: `[steps, 2 * items, states]`.

    Each step's states are one vector, in which two that nothing is ever in stand before each item's first.

    Attributes:
        there, back: the probability of each step's output in each state, of all items: `[steps, items, states]`.
        may_stay, may_skip: whether a state may follow on itself, and on the one before the last.
    """
    steps, items, states = there.shape
    width = 2 * items * (states + 2)
    emitted = np.zeros((steps, 2 * items, states + 2))
    emitted[:, :items, 2:], emitted[:, items:, 2:] = there, back
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
) -> tuple[Array, Array]:
    return _loss(
        inputs,
        labels_indices,
        labels_values,
        sequence_length,
        preprocess_collapse_repeated,
        ctc_merge_repeated,
        ignore_longer_outputs_than_inputs,
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
    )
    return loss, np.roll(gradient, 1, axis=-1)


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
