"""From what a run needs to a plan of the engine that was chosen, or of the one that can."""

from __future__ import annotations

import logging
import sys
import warnings
import weakref
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Union

from graphrack.engines.choice import Engine
from graphrack.engines.interpreter.compiler import compile_plan
from graphrack.engines.interpreter.plan import Fetch, Plan
from graphrack.errors import FallbackWarning, MissingDependency, UnsupportedOp
from graphrack.graph.names import TensorName
from graphrack.graph.shared import SharedGraph

if TYPE_CHECKING:
    from graphrack.engines.tensorflow.plan import TensorFlowPlan

AnyPlan = Union[Plan, "TensorFlowPlan"]

_log = logging.getLogger("graphrack")


def plan_for(graph: SharedGraph, engine: Engine, fetches: Sequence[Fetch], feeds: Sequence[TensorName]) -> AnyPlan:
    """The plan of what `fetches` need, given that `feeds` will be given.

    With `auto`, what graphrack has no ops for is run by TensorFlow where that is installed, which is said once for
    each graph, by a `FallbackWarning` and in the log `graphrack`.

    Raises:
        UnsupportedOp: ops that the engine lacks (with `auto`: all of them); every one of this plan.
        MissingDependency: the engine is TensorFlow, and that can't be imported.
        FeedError: placeholders that the fetches need and that are not fed; every one of them.
        GraphError: the graph contradicts itself.
    """
    if engine.name == "tensorflow":
        from graphrack.engines.tensorflow import plan as tensorflow

        return tensorflow.compile_plan(graph, fetches, feeds)
    try:
        larger = partial(_for_large, weakref.ref(graph), engine, fetches, feeds) if engine.name == "auto" else None
        return compile_plan(graph.index, fetches, feeds, engine, larger=larger)
    except UnsupportedOp as error:
        if engine.name != "auto":
            raise
        lacking = error
    from graphrack.engines.tensorflow import plan as tensorflow

    try:
        fallback = tensorflow.compile_plan(graph, fetches, feeds)
    except MissingDependency:
        raise lacking from None
    except UnsupportedOp as error:
        raise UnsupportedOp(f"{lacking} ({error})") from None
    graph.once("fallen back", lambda: _say(str(lacking)))
    return fallback


def _for_large(
    graph: weakref.ref[SharedGraph],
    engine: Engine,
    fetches: Sequence[Fetch],
    feeds: Sequence[TensorName],
    earlier: Plan,
) -> Plan | None:
    """The plan that takes an earlier one's place where values are large; None where the graph is gone."""
    found = graph()  # plans are kept by their graph, and don't hold on to it
    return compile_plan(found.index, fetches, feeds, engine, earlier=earlier) if found is not None else None


def _say(why: str) -> bool:
    lacking = why.partition("; fetch or feed")[0]
    text = (
        f'TensorFlow runs what graphrack can\'t: {lacking}; load(..., engine="tensorflow") chooses it without a warning'
    )
    _log.warning(text)
    warnings.warn(text, FallbackWarning, stacklevel=_callers())
    return True


def _callers() -> int:
    """How many calls up the program is that called graphrack."""
    frame, level = sys._getframe(2), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "graphrack":
        frame, level = frame.f_back, level + 1
    return level
