"""A plan: what one (fetches, feeds) of a graph comes to, compiled once and run many times.

A plan holds no variables: it belongs to a graph, and models of the same graph share it. `compiler.py`
makes it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from operator import is_, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphrack.engines.interpreter import memory
from graphrack.engines.interpreter.control_flow import locate
from graphrack.engines.interpreter.often import Often
from graphrack.engines.interpreter.steps import DEAD, STATE_SLOT, Frame, Step
from graphrack.engines.interpreter.strips import Chain
from graphrack.errors import FeedError, GraphrackError, OpError, UninitializedError, UnsupportedOp
from graphrack.graph.names import TensorName
from graphrack.ops.runtime import Handle, RunState

if TYPE_CHECKING:
    from graphrack.engines.interpreter.functions import Functions
    from graphrack.engines.openvino.step import ClusterStep

Fetch = TensorName | str

_PRODUCTS = frozenset((
    "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv2D", "Conv3D", "DepthwiseConv2dNative",
    "Conv2DBackpropInput", "Conv3DBackpropInputV2", "MaxPool", "AvgPool",
))  # fmt: skip
"""Ops that take long enough for their plans to look, now and then, at how large values are."""


_TIMES_LARGE = 2

OWNERS: set[type] = set()
"""Classes, other libraries', of what owns the memory of one array and nobody else sees."""


class Read(NamedTuple):
    """A variable whose value a run takes when it starts."""

    slot: int
    key: str
    name: str


class Place(NamedTuple):
    """Where a step comes from: a node's name and op (names, since a plan outlives the graph's messages),
    and the slots of its inputs."""

    name: str
    op: str
    inputs: Sequence[int]


class Plan:
    """One (fetches, feeds) of a graph, ready to run.

    Attributes:
        writes: whether running it changes variables or other resources.
        needs_state: whether any step looks at the model's state beyond `reads`.
        reads: variables whose values are taken when a run starts.
        permission: what to tell a caller who has not permitted what some nodes do outside of the process; or "".
        functions: what it calls.
        feeds: the fed tensors, in the order in which `run` takes their values.
    """

    __slots__ = (
        "_clusters",
        "_feed_slots",
        "_fetch_slots",
        "_fetches",
        "_in_order",
        "_instead",
        "_larger",
        "_places",
        "_results",
        "_shared",
        "_steps",
        "_template",
        "_times_large",
        "feeds",
        "functions",
        "needs_state",
        "permission",
        "reads",
        "writes",
    )

    def __init__(
        self,
        *,
        template: list[Any],
        steps: Sequence[Step],
        thrifty: Sequence[Step],
        watch: memory.Watch,
        places: Mapping[Step, Place],
        feeds: Sequence[TensorName],
        feed_slots: Sequence[int],
        fetches: Sequence[Fetch],
        fetch_slots: Sequence[int | None],
        constant_slots: Sequence[int],
        reads: Sequence[Read],
        writes: bool,
        needs_state: bool,
        functions: Functions,
        larger: Callable[[Plan], Plan | None] | None = None,
        permission: str = "",
    ):
        self.feeds = tuple(feeds)
        self.writes = writes
        self.needs_state = needs_state
        self.permission = permission
        self.reads = tuple(reads)
        self._template = template
        self._steps: Sequence[Step] = ()
        self._places = places
        products = any(place.op in _PRODUCTS for place in places.values())
        again = products or functions.may_have_more_clusters
        memory.alternate(self, steps, thrifty, watch, again=again, whole=functions.watch)
        self.functions = functions
        self._larger = larger
        self._instead: Plan | None = None
        self._times_large = 0
        self._clusters: tuple[Any, ...] = tuple(step for step in places if hasattr(step, "programs"))
        self._feed_slots = tuple(feed_slots)
        self._fetches = tuple(fetches)
        self._fetch_slots = tuple(fetch_slots)
        self._results = _values_of([slot for slot in fetch_slots if slot is not None])
        # A function's arguments are put into its frame in one go where their slots are the first ones.
        self._in_order = self._feed_slots == tuple(range(1, len(feed_slots) + 1))
        # A fetch may come out as the very array of a constant, a variable or a feed (by an Identity, say).
        arrays = (s for s in constant_slots if isinstance(template[s], np.ndarray) and template[s].ndim)
        shared = (*(r.slot for r in reads), *feed_slots, *arrays)
        # Of two slots at least it gives a tuple.
        self._shared = itemgetter(STATE_SLOT, STATE_SLOT, *shared)

    def run(self, feeds: Sequence[Any], values: dict[str, Any], state: RunState | None) -> list[Any]:
        """Runs it once.

        Attributes:
            feeds: one array for each of `feeds`, of the right dtype and shape.
            values: the model's variables by key.
            state: the run's state, where `needs_state`.

        Returns:
            for each fetch its value: of a tensor the array (a NumPy scalar, or `bytes`, where it has
            rank 0), of an operation None. Arrays are the caller's own.

        Raises:
            UninitializedError: variables without values are read.
            OpError: an op failed, or a fetched tensor lies in a branch that was not taken.
        """
        if self._instead is not None:
            return self._instead.run(feeds, values, state)
        frame: Frame = self._template.copy()
        frame[STATE_SLOT] = state
        for slot, value in zip(self._feed_slots, feeds, strict=True):
            frame[slot] = value
        try:
            for slot, key, _ in self.reads:
                frame[slot] = values[key]
        except KeyError:
            raise uninitialized(r.name for r in self.reads if r.key not in values) from None
        with np.errstate(all="ignore"):
            self._go(frame)
        if self._larger is not None and self.functions.watch.large:
            self._make_larger()
        return [self._result(frame, slot) for slot in self._fetch_slots]

    def call(self, arguments: Sequence[Any], state: RunState) -> Sequence[Any]:
        """Runs it as the body of a function: values go in and come out as they are.

        It is called inside a run, by a node; its variables are read where the body reads them.
        """
        frame: Frame = self._template.copy()
        frame[STATE_SLOT] = state
        count = len(self._feed_slots)
        if self._in_order and len(arguments) == count:
            frame[1 : count + 1] = arguments
        else:
            for slot, value in zip(self._feed_slots, arguments, strict=True):
                frame[slot] = value
        self._go(frame)
        return self._results(frame)

    def repeated(self, state: RunState) -> Callable[[Sequence[Any]], Sequence[Any]]:
        """What runs it again and again as the body of a loop: as `call`, in one frame, by one thread."""
        frame: Frame = self._template.copy()
        frame[STATE_SLOT] = state
        go, results, slots, end = self._go, self._results, self._feed_slots, len(self._feed_slots) + 1

        def once(arguments: Sequence[Any]) -> Sequence[Any]:
            frame[1:end] = arguments
            go(frame)
            return results(frame)

        def anywhere(arguments: Sequence[Any]) -> Sequence[Any]:
            for slot, value in zip(slots, arguments, strict=True):
                frame[slot] = value
            go(frame)
            return results(frame)

        return once if self._in_order else anywhere

    def _make_larger(self) -> None:
        """Has itself compiled anew for large values, when it has met them twice: who runs it once needn't wait."""
        from graphrack.engines.openvino import background

        self.functions.watch.large = False
        self._times_large += 1
        patience = background.patience()
        if self._times_large < _TIMES_LARGE and patience is None:
            return
        make, self._larger = self._larger, None
        made = make(self) if make is not None else None  # or another thread is at it
        if made is not None and (self.needs_state or not made.needs_state):
            self._instead = made
            if patience is not None:
                patience.made = True

    @property
    def now(self) -> Plan:
        """What runs: itself, or what was made of it for large values."""
        return self if self._instead is None else self._instead

    def _go(self, frame: Frame) -> None:
        step: Step | None = None
        try:
            for step in self._steps:
                step(frame)
        except GraphrackError:
            raise
        except Exception as error:
            if step is not None:
                locate(error, step)
            raise self._failure(frame, error) from error

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """The constants that it holds."""
        held = self._template if self._instead is None else [*self._template, *self._instead._template]
        return [value for value in held if isinstance(value, np.ndarray)]

    def _each(self) -> list[Step]:
        """The steps one by one, those too that run as one."""
        return [each for step in self._steps for each in (step.steps if isinstance(step, (Often, Chain)) else (step,))]

    def steps(self) -> list[tuple[Place | None, ClusterStep | None]]:
        """For each step where it comes from (None of what only lets go of values), and its cluster where it is one."""
        found = {id(place): cluster for cluster, place in self.clusters()}
        places = [self._places.get(step) for step in self._each()]
        return [(place, found.get(id(place))) for place in places]

    def clusters(self) -> list[tuple[ClusterStep, Place]]:
        """Its clusters, those in its loops too."""
        return [(step, self._places[step]) for step in self._clusters]

    def bodies(self) -> Sequence[Plan]:
        """The plans of functions that it calls, as far as they are compiled."""
        return self.functions.plans()

    def timed(self, note: Callable[[int, float], None]) -> Plan:
        """The same plan, which tells the number and the seconds of each step that has run."""

        def timing(number: int, step: Step) -> Step:
            def timed(frame: Frame) -> None:
                start = time.perf_counter()
                step(frame)
                note(number, time.perf_counter() - start)

            return timed

        other = copy.copy(self)
        other._larger = None
        steps = self._each()
        other._steps = tuple(timing(number, step) for number, step in enumerate(steps))
        other._places = {
            **self._places,
            **{t: self._places[s] for s, t in zip(steps, other._steps, strict=True) if s in self._places},
        }
        return other

    def programs(self) -> list[Any]:
        """What has been compiled for its clusters, as far as it has run (`openvino/compiled.py`)."""
        clusters = [step for plan in (self.now, *self.now.bodies()) for step in plan._clusters]
        return [program for step in clusters for program in list(step.programs.values())]

    def _result(self, frame: Frame, slot: int | None) -> Any:
        if slot is None:
            return None
        value = frame[slot]
        if isinstance(value, np.ndarray):
            if not value.ndim:
                return value[()]
            # What steps remember from run to run is read-only.
            is_view = value.base is not None and value.base.__class__ not in OWNERS
            held = self.writes or is_view or not value.flags.writeable
            if held or any(map(is_, self._shared(frame), repeat(value))):
                try:
                    return value.copy()
                except MemoryError as error:  # a constant may be one value, repeated in no memory at all
                    name = self._fetches[self._fetch_slots.index(slot)]
                    raise OpError(
                        f"tensor '{name}' of shape {list(value.shape)} doesn't fit into memory: {error}"
                    ) from None
        elif value is DEAD:
            name = self._fetches[self._fetch_slots.index(slot)]
            raise OpError(f"tensor '{name}' has no value: it lies in a branch that was not taken; fetch what merges it")
        return value

    def _failure(self, frame: Frame, error: Exception) -> OpError:
        """The error of an op, with the node's name, its op and what its inputs were."""
        text = str(error) or ("there isn't enough memory" if isinstance(error, MemoryError) else type(error).__name__)
        place = self._places.get(getattr(error, "graphrack_step", None))  # type: ignore[arg-type]
        if place is None:
            return OpError(f"a run failed: {text}")
        shown = ", ".join(_describe(frame[i]) for i in place.inputs if i != STATE_SLOT)
        return OpError(f"node {place.name!r} ({place.op}) failed: {text}; its inputs: {shown or 'none'}")


def _values_of(slots: Sequence[int]) -> Callable[[Frame], Sequence[Any]]:
    """A function that gives the values of some slots of a frame."""
    if len(slots) > 1:
        return itemgetter(*slots)
    return lambda frame: [frame[slot] for slot in slots]


def uninitialized(names: Any) -> UninitializedError:
    """The error for variables without values."""
    listed = ", ".join(repr(n) for n in sorted(set(names)))
    return UninitializedError(
        f"variables have no values: {listed}; give them some with restore(checkpoint) or initialize()"
    )


def unfed_placeholders(names: Iterable[str], fetches: Iterable[Fetch]) -> FeedError:
    """The error for placeholders that a run needs."""
    return FeedError(
        f"placeholders must be fed: {', '.join(repr(f'{n}:0') for n in names)}; "
        f"fetching {', '.join(str(f) for f in fetches)} needs them"
    )


def missing_ops(missing: Mapping[str, Sequence[str]]) -> UnsupportedOp:
    """The error for ops that graphrack lacks, each with the nodes that use it."""
    parts = []
    for op, nodes in sorted(missing.items()):
        shown = ", ".join(repr(n) for n in nodes[:3])
        parts.append(f"{op} ({shown}{f' and {len(nodes) - 3} more' if len(nodes) > 3 else ''})")
    return UnsupportedOp(
        f"graphrack lacks {len(missing)} op{'s' if len(missing) > 1 else ''} that this run needs: {'; '.join(parts)}"
        "; fetch or feed tensors that don't need them, or feed what they compute; where TensorFlow is installed (pip"
        ' install "graphrack[tensorflow]"), load(..., engine="tensorflow") runs all that it has'
    )


def _describe(value: Any) -> str:
    if isinstance(value, Handle):
        return f"resource {value.name!r}"
    if isinstance(value, (np.ndarray, np.generic)):
        dtype = "string" if value.dtype == object else str(value.dtype)
        return f"{dtype}{list(value.shape)}"
    return type(value).__name__
