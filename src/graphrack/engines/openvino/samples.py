"""Batches run sample by sample: what the layers make of one sample stays in the processor's caches.

Of MobileNet's activations for 8 pictures (10 MB and more a layer) each layer reads from memory what the one before has
written there; those of one picture mostly fit into a core's cache. And where each core has a picture of its own, none
waits for the others at the end of each layer: 8 pictures take a fifth less so than as one batch (37 ms instead of 46
on 2 cores; one after the other on both cores 47). Networks of large matrices are the other way round: weights are read
for each sample. So both are tried.

It needs that no sample's results depend on another one's, nor on how many there are. That is told from the nodes: each
must be known to keep samples apart along the first dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from graphrack.engines.openvino import runtime
from graphrack.engines.openvino.compiled import ClusterProgram, Part, Source
from graphrack.engines.openvino.shapes import ELEMENTWISE, Shape

Array = np.ndarray[Any, Any]

_TRIES = 4
# So many times as fast as the other, a way needs no more tries.
_CLEAR = 2

# Those of the first operand that look at each sample alone, whatever their attributes; the others are shared.
_LAYERS = frozenset((
    "AvgPool", "Conv2D", "Conv3D", "DepthToSpace", "DepthwiseConv2dNative", "MaxPool", "ResizeBilinear",
    "ResizeNearestNeighbor", "SpaceToDepth",
))  # fmt: skip
_BATCH_NORMS = frozenset(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"))
_REDUCTIONS = frozenset(("Max", "Mean", "Min", "Prod", "Sum"))
_PADS = frozenset(("MirrorPad", "Pad", "PadV2"))


def batch_size(shapes: Sequence[Shape]) -> int:
    """The first dimension of the largest input: the number of samples, if there are any."""
    largest = max(shapes, key=math.prod, default=())
    return largest[0] if largest else 0


def are_apart(
    parts: Sequence[Part],
    constants: Mapping[str, Any],
    inputs: Sequence[str],
    outputs: Sequence[Source],
    shapes: Mapping[Source, Shape],
    count: int,
) -> bool:
    """Whether a cluster computes each of its outputs for each sample alone.

    Attributes:
        constants: by name.
        inputs: names of those whose first dimension is that of the samples.
        shapes: of all tensors, in a run on `count` samples.
    """
    batched = {Source(name, 0) for name in inputs}
    names = set(inputs)
    for part in parts:
        if any(source.name in names and source not in batched for source in part.inputs):
            return False  # a second output, of which nothing is known
        if not batched.isdisjoint(part.inputs):
            whole = Source(part.name, 0)
            if shapes[whole][:1] != (count,) or not _keeps_apart(part, constants, batched, shapes):
                return False
            batched.add(whole)
            names.add(part.name)
    return batched.issuperset(outputs)


def _keeps_apart(
    part: Part, constants: Mapping[str, Any], batched: set[Source], shapes: Mapping[Source, Shape]
) -> bool:
    first, *others = part.inputs
    rank = len(shapes[Source(part.name, 0)])

    if part.op in _BATCH_NORMS:
        return not part.attributes.get("is_training", True) and batched.isdisjoint(others)
    if part.op in ELEMENTWISE - {"ReverseV2"}:
        return all(_is_in_step(shapes[s], rank, s in batched) for s in part.inputs)
    if part.op in ("Concat", "ConcatV2"):
        values, axis = (others, first) if part.op == "Concat" else (part.inputs[:-1], part.inputs[-1])
        along = constants.get(axis.name)
        return along is not None and int(np.ravel(along)[0]) % rank != 0 and batched.issuperset(values)
    if first not in batched or not batched.isdisjoint(others):
        return False
    if part.op in _LAYERS:
        return True
    if part.op == "MatMul":
        return not part.attributes.get("transpose_a")
    if part.op == "Softmax":
        return rank > 1
    if part.op == "Squeeze":
        return _leaves_first(part.attributes.get("squeeze_dims", ()), shapes[first])
    rule = _BY_A_CONSTANT.get(part.op)
    if rule is None or others[0].name not in constants:
        return False
    return rule(np.asarray(constants[others[0].name]), shapes[first])


def _is_in_step(shape: Shape, rank: int, batched: bool) -> bool:
    """Whether an operand has its samples where the result has them, or is the same for all."""
    return len(shape) == rank if batched else len(shape) < rank or shape[0] == 1


def _leaves_first(axes: Any, shape: Shape) -> bool:
    """Whether axes are given, and the first isn't among them."""
    return bool(np.size(axes)) and all(int(axis) % len(shape) for axis in np.ravel(axes))


def _leaves_samples(target: Array, shape: Shape) -> bool:
    """Whether a reshape to a target, whatever the number of samples, changes only what each is like."""
    sizes = target.tolist()
    return len(sizes) > 0 and sizes[0] == -1 and math.prod(sizes[1:]) == math.prod(shape[1:])


_BY_A_CONSTANT: dict[str, Callable[[Array, Shape], bool]] = {
    **dict.fromkeys(_REDUCTIONS, _leaves_first),
    **dict.fromkeys(_PADS, lambda pads, shape: not pads[0].any()),
    "ExpandDims": lambda axis, shape: bool(int(axis.ravel()[0]) % (len(shape) + 1)),
    "Reshape": _leaves_samples,
    "Transpose": lambda order, shape: int(order[0]) == 0,
}
"""Whether an op keeps samples apart, by the value of its second input and the shape of its first."""


class Batch:
    """A cluster for one number of samples: run as a whole, or sample by sample, whichever is the faster.

    Attributes:
        whole: compiled for all samples at once.
        sample: compiled for one, of which several run at once.
        sliced: for each input whether its first dimension is that of the samples.
    """

    def __init__(self, whole: ClusterProgram, sample: ClusterProgram, sliced: Sequence[bool]):
        self.whole = whole
        self.sample = sample
        self.sliced = tuple(sliced)
        self._fastest = [math.inf, math.inf]
        self._left = 2 * _TRIES
        self._seconds = math.inf
        self._chosen: ClusterProgram | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether a run waits for nothing."""
        return (self._chosen or self.whole).is_compiled

    @property
    def failure(self) -> str:
        """Why OpenVINO can't run it, once that is known."""
        return (self._chosen or self.whole).failure

    def compile_soon(self) -> None:
        """Has what is missing compiled in the background."""
        for program in (self.whole, self.sample) if self._chosen is None else (self._chosen,):
            program.compile_soon()

    def run(self, arrays: Sequence[Array], weights: Sequence[Array]) -> list[Array] | None:
        """The outputs; None where they aren't to be had yet."""
        chosen = self._chosen
        if chosen is not None:
            return self._run(chosen, arrays, weights)
        if not (self.whole.is_compiled and self.sample.is_compiled):
            if not self.sample.is_compiled:
                self.sample.run(self._sample(arrays, 0), weights)  # has it compiled
            if self.sample.failure:
                self._choose(self.whole)
            return self.whole.run(arrays, weights)
        self._left -= 1
        way = self._left % 2
        start = perf_counter()
        results = self._run(self.sample if way else self.whole, arrays, weights)
        if results is not None:
            self._fastest[way] = min(self._fastest[way], perf_counter() - start)
            if self._left <= 0 or _CLEAR * min(self._fastest) < max(self._fastest) < math.inf:
                self._choose(self.sample if self._fastest[1] < self._fastest[0] else self.whole)
        return results

    def _run(self, program: ClusterProgram, arrays: Sequence[Array], weights: Sequence[Array]) -> list[Array] | None:
        if program is self.whole:
            return program.run(arrays, weights)
        my_turn = runtime.take_turn(self._seconds)  # as long as all of them take
        start = perf_counter()
        try:
            return self._run_samples(arrays, weights)
        finally:
            self._seconds = perf_counter() - start
            if my_turn:
                runtime.end_turn()

    def _choose(self, program: ClusterProgram) -> None:
        """Leaves all runs to one of the two, and lets go of the other."""
        self._chosen = program
        other = self.sample if program is self.whole else self.whole
        for compiled in other.executables():
            other.forget(compiled)

    def _run_samples(self, arrays: Sequence[Array], weights: Sequence[Array]) -> list[Array] | None:
        count = next(len(array) for array, sliced in zip(arrays, self.sliced, strict=True) if sliced)
        gathered: list[Array] = []

        def take(number: int, results: Sequence[Array]) -> None:
            if not gathered:
                gathered.extend(np.empty((count, *one.shape[1:]), one.dtype) for one in results)
            for whole, one in zip(gathered, results, strict=True):
                whole[number] = one[0]

        ran = self.sample.run_each([self._sample(arrays, i) for i in range(count)], weights, take)
        return gathered if ran else None

    def _sample(self, arrays: Sequence[Array], number: int) -> list[Array]:
        """The inputs of one sample."""
        return [
            array[number : number + 1] if sliced else array for array, sliced in zip(arrays, self.sliced, strict=True)
        ]
