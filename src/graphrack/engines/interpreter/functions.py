"""Ops whose bodies are functions of the graph's library: If, While, Case, For, and calls that were not inlined.

A function is compiled to a plan of its own, once for each set of attributes; the node's kernel runs that plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack.engines.interpreter.control_flow import CONTROL_FLOW
from graphrack.engines.interpreter.memory import Watch
from graphrack.engines.interpreter.plan import Fetch, Plan
from graphrack.errors import GraphError
from graphrack.formats.protos.graph_pb2 import FunctionDefLibrary, NameAttrList, NodeDef
from graphrack.graph.index import PLACEHOLDERS, REF_VARIABLES, RESOURCE_VARIABLES, GraphIndex
from graphrack.graph.names import TensorName, parse_tensor
from graphrack.graph.prune import needed
from graphrack.ops import registry
from graphrack.ops.registry import Kernel
from graphrack.ops.runtime import RunState

if TYPE_CHECKING:
    from graphrack.graph.functions import FunctionGraph, FunctionLibrary

FUNCTION_OPS: dict[str, tuple[str, ...]] = {
    "If": ("then_branch", "else_branch"),
    "StatelessIf": ("then_branch", "else_branch"),
    "While": ("cond", "body"),
    "StatelessWhile": ("cond", "body"),
    "Case": ("branches",),
    "StatelessCase": ("branches",),
    "For": ("body",),
    "PartitionedCall": ("f",),
    "StatefulPartitionedCall": ("f",),
}
"""Ops that run functions, and the attributes that name these."""

PLANNED = PLACEHOLDERS | REF_VARIABLES | RESOURCE_VARIABLES | CONTROL_FLOW | {"Const", "TemporaryVariable"}
"""Ops that the compiler itself turns into slots and steps."""


def has_op(name: str) -> bool:
    """Whether graphrack runs nodes of that op."""
    return name in PLANNED or name in FUNCTION_OPS or registry.lookup(name) is not None


def reaches(index: GraphIndex) -> bool:
    """Whether a node of a graph, or of a function of its library, might read or write files if it were permitted."""
    for name in index.ops:
        op = registry.lookup(name)
        if name in FILLED_BY_FILE or (op is not None and op.io) or (op is None and not has_op(name)):
            return True
    return False


FILLED_BY_FILE = frozenset(("InitializeTableFromTextFile", "InitializeTableFromTextFileV2"))
"""Ops that fill tables from files, whose names are looked at when they run: assets are permitted."""


CompileBody = Callable[[GraphIndex, Sequence[Fetch], Sequence[TensorName], "Functions", "Plan | None"], Plan]


class _Function:
    """One function, compiled when it is first called or when its callers are."""

    __slots__ = ("_compile", "plan")

    def __init__(self, compile_body: Callable[[], Plan]):
        self._compile = compile_body
        self.plan: Plan | None = None

    def __call__(self, arguments: Sequence[Any], state: RunState) -> Sequence[Any]:
        return self.ready().call(arguments, state)

    def ready(self) -> Plan:
        """What a call runs."""
        if self.plan is None:
            self.plan = self._compile()
        return self.plan


class Functions:
    """The functions that one plan runs.

    Attributes:
        writes: whether any of those examined so far changes variables or other resources.
        caller_writes: whether the plan does that runs them.
        reaching: nodes of the plan and of these functions that reach outside of the process, by op.
        site: goes before the names of nodes whose plan is being compiled: which calls led there, where that matters.
        watch: whether the plan, or one of a function, has met large values.
        may_have_more_clusters: whether one of them would, for large values.
    """

    def __init__(self, library: FunctionDefLibrary, compile_body: CompileBody, earlier: Functions | None = None):
        """`earlier`: those of the same plan as it was compiled before."""
        self.writes = False
        self.caller_writes = False
        self.reaching: dict[str, list[str]] = {}
        self.site = ""
        self.watch = Watch()
        self.may_have_more_clusters = False
        self._earlier = earlier
        self._functions = library
        self._compile_body = compile_body
        self._made: dict[tuple[bytes, str, str, str], _Function] = {}
        self._examined: set[bytes] = set()
        self._keeping: dict[str, bool] = {}

    @cached_property
    def _library(self) -> FunctionLibrary:
        from graphrack.graph.functions import FunctionLibrary

        return FunctionLibrary(self._functions)

    def forget_earlier(self) -> None:
        """Lets go of those that were compiled before."""
        self._earlier = None

    def plans(self) -> list[Plan]:
        """Those of the functions, as far as they are compiled."""
        return [function.plan for function in list(self._made.values()) if function.plan is not None]

    def examine(self, node: NodeDef, missing: dict[str, list[str]]) -> None:
        """Finds out what a node's functions do; adds the ops that graphrack lacks to `missing`."""
        for function in self._named(node):
            key = function.SerializeToString(deterministic=True)
            if key in self._examined:
                continue
            self._examined.add(key)
            for inner in self._library.graph(function.name, function.attr).graph_def.node:
                if inner.op in FUNCTION_OPS:
                    self.examine(inner, missing)
                    continue
                op = registry.lookup(inner.op)
                if op is not None:
                    self.writes = self.writes or op.writes
                    if op.io:
                        self.reaching.setdefault(inner.op, []).append(f"{function.name}/{inner.name}")
                elif inner.op not in PLANNED:
                    missing.setdefault(inner.op, []).append(f"{function.name}/{inner.name}")

    def kernel(self, node: NodeDef, used: Sequence[int]) -> Kernel:
        """What runs a node: a function of the run's state and the node's inputs, giving those outputs that are used.

        What a function computes only for other outputs isn't run.
        """
        named = self._named(node)
        if node.op in ("While", "StatelessWhile"):
            return self._loop(node, named[0], named[1], used)
        if node.op == "For":
            return _for(self._function(node, named[0]), used)
        functions = [self._function(node, f, used) for f in named]
        if node.op in ("If", "StatelessIf"):
            return _if(*functions)
        if node.op in ("Case", "StatelessCase"):
            return _case(functions)
        (function,) = functions
        return lambda state, *arguments: function(arguments, state)

    def _loop(self, node: NodeDef, cond: NameAttrList, body: NameAttrList, used: Sequence[int]) -> Kernel:
        """A While without the variables that neither its condition nor a used output depends on.

        A loop saved by `tf.while_loop` has lists among its variables for what its gradient takes; where only the loop
        itself is run, nobody takes them.
        """
        graph = self._library.graph(body.name, body.attr)
        kept = set(used) | self._arguments_needed(self._library.graph(cond.name, cond.attr), None)
        while True:
            more = kept | self._arguments_needed(graph, sorted(kept))
            if more == kept:
                break
            kept = more
        variables = sorted(kept)
        return _while(
            self._function(node, cond, None, variables),
            self._function(node, body, variables, variables),
            variables,
            [variables.index(i) for i in used],
        )

    @staticmethod
    def _arguments_needed(graph: FunctionGraph, outputs: Sequence[int] | None) -> set[int]:
        """Which arguments some outputs of a function depend on, and what it does for its effect."""
        inputs = {parse_tensor(name): i for i, name in enumerate(graph.inputs)}
        fetches = _fetches(graph, outputs)
        work = needed(GraphIndex(graph.graph_def), fetches, inputs)
        taken = {source for sources in work.inputs.values() for source in sources}
        taken.update(f for f in fetches if not isinstance(f, str))
        return {i for tensor, i in inputs.items() if tensor in taken}

    @staticmethod
    def _named(node: NodeDef) -> list[NameAttrList]:
        found: list[NameAttrList] = []
        for attribute in FUNCTION_OPS[node.op]:
            if attribute not in node.attr:
                raise GraphError(
                    f"node {node.name!r} ({node.op}) lacks its attribute {attribute!r}; the graph is incomplete"
                )
            value = node.attr[attribute]
            found += list(value.list.func) if attribute == "branches" else [value.func]
        return found

    def _function(
        self,
        node: NodeDef,
        function: NameAttrList,
        outputs: Sequence[int] | None = None,
        arguments: Sequence[int] | None = None,
    ) -> _Function:
        """A function that takes only some arguments and gives only some outputs: all, where None is given."""
        # A random op draws numbers of its own for each node that calls its function, as where calls are inlined.
        # Within the site of a function that calls itself, it is the same one all the way down.
        site = self.site
        if self._keeps(function) and f"/{function.name}/" not in site:
            site = f"{site}{node.name}/{function.name}/"
        key = (function.SerializeToString(deterministic=True), str(outputs), str(arguments), site)
        made = self._made.get(key)
        if made is None:

            def compile_body() -> Plan:
                graph = self._library.graph(function.name, function.attr)
                feeds = [parse_tensor(name) for name in graph.inputs]
                if arguments is not None:
                    feeds = [feeds[i] for i in arguments]
                before = self._earlier._made.get(key) if self._earlier is not None else None
                caller, self.site = self.site, site
                try:
                    index, plan = GraphIndex(graph.graph_def), before.plan if before is not None else None
                    return self._compile_body(index, _fetches(graph, outputs), feeds, self, plan)
                finally:
                    self.site = caller

            # One that calls itself finds itself here, and is compiled by then when it is called.
            made = self._made[key] = _Function(compile_body)
            made.plan = compile_body()
        return made

    def _keeps(self, function: NameAttrList) -> bool:
        """Whether a node of a function, or of one that it calls, keeps something from run to run."""
        found = self._keeping.get(function.name)
        if found is None:
            self._keeping[function.name] = False  # while its own calls are looked at
            nodes = self._library.graph(function.name, function.attr).graph_def.node
            ops = {op for op in (registry.lookup(node.op) for node in nodes) if op is not None}
            calls = (named for node in nodes if node.op in FUNCTION_OPS for named in self._named(node))
            found = self._keeping[function.name] = any("node_name" in op.keywords for op in ops) or any(
                self._keeps(named) for named in calls
            )
        return found


def _fetches(graph: FunctionGraph, outputs: Sequence[int] | None) -> list[Fetch]:
    """What a function's plan fetches: some of its outputs, or all, and what it runs for its effect."""
    names = graph.outputs if outputs is None else [graph.outputs[i] for i in outputs]
    return [*map(parse_tensor, names), *graph.control_outputs]


def _truth(value: Any) -> bool:
    """A condition as TensorFlow takes it: a scalar is true unless zero or empty text, a tensor unless empty."""
    if value.__class__ is np.bool_:
        return bool(value)
    array = np.asarray(value)
    if array.ndim:
        return array.size > 0
    return bool(array[()])


def _if(then_branch: _Function, else_branch: _Function) -> Kernel:
    def If(state: RunState, cond: Any, *arguments: Any) -> Sequence[Any]:
        return (then_branch if _truth(cond) else else_branch)(arguments, state)

    return If


def _while(cond: _Function, body: _Function, variables: Sequence[int], used: Sequence[int]) -> Kernel:
    """A loop over some of its node's inputs that gives some of these."""

    def While(state: RunState, *arguments: Any) -> list[Any]:
        go_on, iterate = cond.ready().repeated(state), body.ready().repeated(state)
        values: Sequence[Any] = [arguments[i] for i in variables]
        while _truth(go_on(values)[0]):
            values = iterate(values)
        return [values[i] for i in used]

    return While


def _case(branches: Sequence[_Function]) -> Kernel:
    def Case(state: RunState, branch_index: Any, *arguments: Any) -> Sequence[Any]:
        number = int(branch_index)
        return branches[number if 0 <= number < len(branches) else -1](arguments, state)

    return Case


def _for(body: _Function, used: Sequence[int]) -> Kernel:
    def For(state: RunState, start: Any, limit: Any, delta: Any, *arguments: Any) -> list[Any]:
        first, last, step = int(start), int(limit), int(delta)
        if step == 0 or (last - first) * step < 0:
            raise ValueError(f"a loop from {first} to {last} by {step} has no end; delta must lead from start to limit")
        values: Sequence[Any] = arguments
        for i in range(first, last, step):
            values = body([np.int32(i), *values], state)
        return [values[i] for i in used]

    return For
