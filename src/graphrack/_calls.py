"""What a caller's `run(...)` or call comes to: a plan, with what goes in and out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines import fetches as fetching
from graphrack.engines.choice import Engine
from graphrack.engines.feeds import converter
from graphrack.engines.interpreter.plan import Plan
from graphrack.engines.planning import AnyPlan, plan_for
from graphrack.errors import FeedError, UnknownName, closest
from graphrack.graph import interface
from graphrack.graph.index import GraphIndex
from graphrack.graph.interface import Prediction
from graphrack.graph.names import TensorName
from graphrack.graph.shared import SharedGraph
from graphrack.instance import Instance


class Call(NamedTuple):
    """A plan with what turns a caller's feeds into its own and its results into the caller's.

    Attributes:
        plan: shared by all calls of the same fetches and feeds, however they are spelled.
        converters: for each feed, in the caller's order.
        order: which of the caller's feeds each of the plan's is; None where the order is the same.
        pack: puts the results into the caller's nesting.
    """

    plan: AnyPlan
    converters: tuple[Callable[[Any], Any], ...]
    order: tuple[int, ...] | None
    pack: fetching.Pack

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """The constants that its plan holds."""
        return self.plan.arrays()

    def programs(self) -> list[Any]:
        """What its plan has had compiled."""
        return self.plan.programs() if isinstance(self.plan, Plan) else []

    def run(self, instance: Instance, values: Iterable[Any]) -> Any:
        """Runs it on an instance, given one value for each of the plan's feeds."""
        feeds = [convert(value) for convert, value in zip(self.converters, values, strict=True)]
        if self.order is not None:
            feeds = [feeds[i] for i in self.order]
        return self.pack(instance.state.execute(self.plan, feeds, instance.access))


def compile_run(graph: SharedGraph, engine: Engine, fetches: Any, names: Sequence[Any]) -> Call:
    """The call that `Model.run` makes of fetches and the names of its feeds."""
    index = graph.index
    flat, pack = fetching.flatten(index, fetches)
    return _planned(graph, engine, flat, [index.tensor(fetching.name_of(name)) for name in names], pack)


def compile_call(
    graph: SharedGraph, engine: Engine, signature: str | None, positional: bool, names: Sequence[str]
) -> Call:
    """The call that `Model.__call__` makes: of a signature, with one unnamed feed first or without."""
    index = graph.index
    prediction = graph.once(
        ("prediction", signature), lambda: interface.predict(index, graph.meta_graph, graph.saver, signature)
    )
    feeds = [_input(index, prediction, name) for name in names]
    if positional:
        feeds.insert(0, _only_input(index, prediction, feeds))
    missing = [k for k in interface.required(index, prediction.inputs) if prediction.inputs[k] not in feeds]
    if missing and set(feeds) <= set(prediction.inputs.values()):
        raise FeedError(
            f"a call by {prediction.source} takes {', '.join(map(repr, prediction.inputs))}; not fed: "
            f"{', '.join(map(repr, missing))}"
        )
    keys = tuple(prediction.outputs)
    return _planned(
        graph, engine, list(prediction.outputs.values()), feeds, _first if len(keys) == 1 else _by_key(keys)
    )


def _first(values: Sequence[Any]) -> Any:
    return values[0]


def _by_key(keys: tuple[str, ...]) -> fetching.Pack:
    return lambda values: dict(zip(keys, values, strict=True))


def _planned(
    graph: SharedGraph, engine: Engine, flat: Sequence[fetching.Fetch], feeds: Sequence[TensorName], pack: fetching.Pack
) -> Call:
    if len(set(feeds)) != len(feeds):
        twice = next(f for i, f in enumerate(feeds) if f in feeds[:i])
        raise FeedError(f"{str(twice)!r} is fed twice, under two of its names; feed it once")
    index = graph.index
    taken = tuple(sorted(feeds))
    plan = graph.once(("planned", engine, tuple(flat), taken), lambda: plan_for(graph, engine, flat, taken))
    order = tuple(feeds.index(f) for f in taken)
    same = order == tuple(range(len(order)))
    return Call(plan, tuple(converter(index.spec(f)) for f in feeds), None if same else order, pack)


def _input(index: GraphIndex, prediction: Prediction, name: str) -> TensorName:
    """The tensor that a caller means by an input's name: its key, or any tensor's name."""
    if name in prediction.inputs:
        return prediction.inputs[name]
    if name.partition(":")[0] in index.nodes:
        return index.tensor(name)
    # `m(x=50)` for a placeholder in a scope, where no other has the same last part.
    ending = [tensor for key, tensor in prediction.inputs.items() if key.rpartition("/")[2] == name]
    if len(ending) == 1:
        return ending[0]
    raise UnknownName(f"a call by {prediction.source} takes no input {name!r}{closest(name, prediction.inputs)}")


def _only_input(index: GraphIndex, prediction: Prediction, fed: Sequence[TensorName]) -> TensorName:
    unfed = {key: tensor for key, tensor in prediction.inputs.items() if tensor not in fed}
    needed = interface.required(index, unfed) or list(unfed)
    if len(needed) != 1:
        raise FeedError(
            f"an unnamed value is for the one input that needs one; a call by {prediction.source} takes {len(needed)}: "
            f"{', '.join(map(repr, needed)) or 'none'}; name it, as m(x=...)"
        )
    return unfed[needed[0]]
