"""What a model has had compiled, and compiling it ahead of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack import _calls as calls
from graphrack.engines import fetches as fetching
from graphrack.errors import FeedError, OpError
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph import interface
from graphrack.graph.index import PLACEHOLDERS
from graphrack.graph.names import TensorName
from graphrack.graph.prune import needed

if TYPE_CHECKING:
    from graphrack.engines.openvino.compiled import ClusterProgram
    from graphrack.engines.openvino.executable import Executable
    from graphrack.instance import Instance

# What unknown sizes are taken for, in turn: what a network makes smaller must not end up empty.
_SIZES = (1, 16, 128)


def compiled_parts(instance: Instance) -> list[tuple[ClusterProgram, Executable]]:
    """What is compiled of a graph's plans: with this instance's variables, or for all instances."""
    found = [(program, part) for program in instance.graph.programs() for part in program.executables()]
    if not found:
        return found
    own = set(map(id, instance.state.values.values()))
    return [(program, part) for program, part in found if own.issuperset(map(id, part.weights))]


def warm(instance: Instance, feeds: Any, fetches: Any) -> None:
    """Compiles what a run needs, and runs it where that changes nothing; see `Model.warmup`."""
    from graphrack.engines.openvino import background

    instance.prepare()
    if feeds is not None:
        with background.waiting(sizes=True) as patience:
            _run(instance, feeds, fetches)
            if patience.made:
                _run(instance, feeds, fetches)
        return
    wanted = _wanted(instance, fetches)
    failure: OpError | None = None
    for size in _SIZES if any(None in (spec.shape or ())[1:] for spec in wanted.values()) else _SIZES[:1]:
        try:
            with background.waiting():
                _run(instance, {name: _made_up(spec, size) for name, spec in wanted.items()}, fetches)
            return
        except OpError as error:
            failure = error
    raise FeedError(f"no values that could be made up fit the graph; warmup takes feeds: {failure}") from failure


def _run(instance: Instance, feeds: Any, fetches: Any) -> None:
    graph, engine = instance.graph, instance.engine
    named = isinstance(feeds, Mapping)
    names, values = (tuple(feeds), feeds.values()) if named else ((), (feeds,))
    if fetches is None:
        call = calls.compile_call(graph, engine, None, not named, names)
    elif named:
        call = calls.compile_run(graph, engine, fetches, names)
    else:
        raise TypeError("a single value is for the one input of a call; with fetches, name it: {'x': value}")
    if not call.plan.writes:
        call.run(instance, values)


def _wanted(instance: Instance, fetches: Any) -> dict[str, TensorSpec]:
    """The inputs that a run needs, by the names that it takes them by."""
    graph = instance.graph
    index = graph.index
    if fetches is None:
        prediction = interface.predict(index, graph.meta_graph, graph.saver, None)
        return {key: index.spec(prediction.inputs[key]) for key in interface.required(index, prediction.inputs)}
    flat, _ = fetching.flatten(index, fetches)
    inputs = {n.name: TensorName(n.name, 0) for n in needed(index, flat, ()).order if n.op in PLACEHOLDERS}
    return {key: index.spec(inputs[key]) for key in interface.required(index, inputs)}


def _made_up(spec: TensorSpec, size: int) -> np.ndarray[Any, Any]:
    """Zeros, or empty texts, of a shape that fits: one of what the first dimension counts."""
    if spec.shape is None:
        raise FeedError(f"the graph doesn't tell the rank of {spec.name!r}; warmup takes feeds")
    shape = [known if known is not None else (size if i else 1) for i, known in enumerate(spec.shape)]
    if spec.dtype.is_string:
        return np.full(shape, b"", object)
    return np.zeros(shape, spec.dtype.numpy)
