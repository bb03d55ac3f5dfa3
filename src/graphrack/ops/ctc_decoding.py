"""Decoders of connectionist temporal classification: the likeliest classes, and a beam search.

Alex Graves, "Supervised Sequence Labelling with Recurrent Neural Networks" (2012), chapter 7.4. Inputs are
`[time, batch, classes]`; the last class is the blank unless an op says otherwise.
"""

from __future__ import annotations

import math
from heapq import heapify, heappush, heapreplace
from math import exp, log1p

import numpy as np

from graphrack.ops.ctc import checked_lengths
from graphrack.ops.registry import MANY, op
from graphrack.ops.runtime import Array
from graphrack.ops.state import show

_Sparse = tuple[Array, Array, Array]

_FEW = 32  # classes that are looked at sooner one by one than by NumPy


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
    lengths = np.array(checked_lengths(inputs, sequence_length), np.int64)
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
    lengths = checked_lengths(inputs, sequence_length)
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
