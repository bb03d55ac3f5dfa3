"""A plan that TensorFlow runs: one (fetches, feeds) of a graph, and what of the model's state it needs.

What a plan may do is settled here, before TensorFlow sees any of it: which ops it has, what of them reaches outside
of the process, which variables and tables it reads, which it may change. `session.py` runs it.
"""

from __future__ import annotations

import graphlib
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphrack.engines.interpreter import compiler, outside
from graphrack.engines.interpreter.control_flow import CONTROL_FLOW
from graphrack.engines.interpreter.functions import FILLED_BY_FILE, FUNCTION_OPS
from graphrack.engines.interpreter.plan import Fetch, missing_ops, unfed_placeholders
from graphrack.engines.interpreter.state import Run
from graphrack.engines.tensorflow.library import definition, tensorflow
from graphrack.engines.tensorflow.safety import kinds_of_access
from graphrack.engines.tensorflow.session import ModelSession, Place, Table, ValueOf
from graphrack.errors import FeedError, GraphError, PermissionDenied, UnsupportedOp
from graphrack.formats import op_table
from graphrack.formats.dtypes import RESOURCE
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import PLACEHOLDERS, REF_VARIABLES, RESOURCE_VARIABLES, GraphIndex, variable, variable_key
from graphrack.graph.names import TensorName
from graphrack.graph.prune import Needed, needed
from graphrack.graph.shared import SharedGraph
from graphrack.ops.runtime import Handle

_SESSION = Handle("\0\0a session of TensorFlow", "the model's session of TensorFlow")
_REF = 100  # what the type number of a reference has above that of its value

_VARIABLES = REF_VARIABLES | RESOURCE_VARIABLES
TABLES = frozenset(
    f"{name}{version}"
    for name in ("HashTable", "MutableHashTable", "MutableHashTableOfTensors", "MutableDenseHashTable")
    for version in ("", "V2")
)
_CHECKPOINTS = frozenset((
    "Save", "SaveSlices", "SaveV2", "Restore", "RestoreSlice", "RestoreV2", "MergeV2Checkpoints",
))  # fmt: skip

# Ops that take a handle or a reference and change nothing behind it.
_READ = frozenset((
    "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "ResourceStridedSlice", "VariableShape",
    "VarIsInitializedOp", "IsVariableInitialized", "DisableCopyOnRead", "LookupTableFind", "LookupTableFindV2",
    "LookupTableSize", "LookupTableSizeV2", "LookupTableExport", "LookupTableExportV2",
))  # fmt: skip
_PASS_ON = CONTROL_FLOW | {"Identity", "IdentityN", "RefIdentity", "RefSelect"}


class TensorFlowPlan:
    """One (fetches, feeds) of a graph that runs in the model's session of TensorFlow.

    Attributes:
        feeds, fetches: as given.
        writes: whether running it changes variables or tables.
        needs_state: always: the session is part of it.
        permission: what to tell a caller who has not permitted what some nodes do outside of the process; or "".
        variables: those that it may read or change, by key.
        written: keys of those that it may change.
        tables: the tables that it may ask or change, by key.
        filled: keys of those that it may change.
        files: tensors that hold names of files which tables are filled from.
    """

    needs_state = True

    def __init__(self, graph: SharedGraph, fetches: Sequence[Fetch], feeds: Sequence[TensorName]):
        index = graph.index
        self._graph = weakref.ref(graph)
        self.feeds = tuple(feeds)
        work = needed(index, fetches, frozenset(feeds))
        _refuse(index, work, self.feeds, fetches)
        self.permission = _permission(index, work)
        self.names = tuple(node.name for node in work.order)
        nodes = list(_everything(index, work))
        self.variables: dict[str, Place] = {}
        self.tables: dict[str, Table] = {}
        for place, key, in_graph in _places(nodes):
            if place.op in _VARIABLES:
                self.variables.setdefault(key, place)
            elif in_graph and key not in self.tables:
                handle = compiler.compile_plan(index, [TensorName(place.name, 0)], ())
                self.tables[key] = Table(place, handle)
        changed = _changed(index, work)
        self.written = frozenset(changed & self.variables.keys())
        self.filled = frozenset(changed & self.tables.keys())
        self.writes = bool(changed)
        self.files = tuple(TensorName(*work.inputs[node.name][1]) for node in work.order if node.op in FILLED_BY_FILE)
        # A variable's own handle means its value, as in the interpreter.
        self.fetches = tuple(
            ValueOf(variable_key(index.nodes[f.op]))
            if not isinstance(f, str) and index.nodes[f.op].op in RESOURCE_VARIABLES and f not in self.feeds
            else f
            for f in fetches
        )

    def run(self, feeds: Sequence[Any], values: dict[str, Any], state: Any) -> list[Any]:
        """Runs it once in the model's session; as `Plan.run`, and what it changes is in `values` afterwards.

        Raises:
            GraphError: TensorFlow doesn't take what the plan needs of the graph.
            FeedError: a feed doesn't fit what TensorFlow knows of the tensor.
            UninitializedError: variables or tables without values are read.
            OpError: an op failed; the message names its node.
        """
        assert isinstance(state, Run)
        graph = self._graph()
        assert graph is not None  # the model that runs holds it
        session = state.resource(_SESSION, lambda: ModelSession(graph.whole_index.graph_def))
        return session.run(self, feeds, values, state)

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """The constants that it holds: none."""
        return []


def compile_plan(graph: SharedGraph, fetches: Sequence[Fetch], feeds: Sequence[TensorName]) -> TensorFlowPlan:
    """A plan for TensorFlow of what `fetches` need, given that `feeds` will be given.

    Raises:
        MissingDependency: TensorFlow can't be imported.
        UnsupportedOp: TensorFlow lacks ops, too; every one of this plan, and the nodes that use them.
        FeedError: placeholders that the fetches need and that are not fed, or input pipelines.
        PermissionDenied: the plan would do what graphrack never does.
        GraphError: the graph contradicts itself.
    """
    tensorflow()
    return TensorFlowPlan(graph, fetches, feeds)


# What a plan may not do


def _refuse(index: GraphIndex, work: Needed, feeds: Sequence[TensorName], fetches: Sequence[Fetch]) -> None:
    fed = frozenset(feeds)
    missing: dict[str, list[str]] = {}
    never: dict[str, list[str]] = {}
    pipelines: list[str] = []
    for name, node in _everything(index, work):
        if node.op in outside.NEVER:
            never.setdefault(node.op, []).append(name)
        elif definition(node.op) is None:
            missing.setdefault(node.op, []).append(name)
        elif node.op in _CHECKPOINTS:
            raise PermissionDenied(
                f"node {name!r} ({node.op}) would read or write checkpoints, which TensorFlow does unseen: restore "
                "values with restore(checkpoint), and save them with save(prefix)"
            )
        elif outside.is_pipeline(node.op) and name not in work.inputs:
            pipelines.append(f"{name!r} ({node.op})")
    if never:
        raise outside.refuse(never)
    outside.check_pipelines(index, work.order, work.inputs, fed, fetches)
    if pipelines:
        raise FeedError(f"input pipelines don't run here, and so {', '.join(pipelines[:3])} of its functions can't")
    recursive = _recursive_function(index, work)
    if recursive:
        raise UnsupportedOp(
            f'function {recursive!r} calls itself, which TensorFlow can\'t run; engine="numpy" can, where graphrack has'
            " all of its ops"
        )
    if missing:
        raise UnsupportedOp(f"TensorFlow lacks ops, too: {missing_ops(missing)}")
    unfed = [
        node.name
        for node in work.order
        if node.op in PLACEHOLDERS and node.op != "PlaceholderWithDefault" and (node.name, 0) not in fed
    ]
    if unfed:
        raise unfed_placeholders(unfed, fetches)


def _permission(index: GraphIndex, work: Needed) -> str:
    reaching: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    for name, node in _everything(index, work):
        kind = kinds_of_access(node, in_function=name not in work.inputs)
        if kind:
            reaching.setdefault(node.op, []).append(name)
            words[node.op] = kind
    return outside.permission(reaching, words)


# What it reads and changes


def _everything(index: GraphIndex, work: Needed) -> Iterator[tuple[str, NodeDef]]:
    """The plan's nodes, and those of the functions that they run; with names for messages."""
    functions = {function.signature.name: function for function in index.library.function}
    seen: set[str] = set()
    stack: list[tuple[str, Iterable[NodeDef]]] = [("", work.order)]
    while stack:
        label, nodes = stack.pop()
        for node in nodes:
            if not label or node.op not in functions:
                yield (f"{label}/{node.name}" if label else node.name), node
            for name in _functions_of(node):
                if name in functions and name not in seen:
                    seen.add(name)
                    stack.append((name, functions[name].node_def))


def _recursive_function(index: GraphIndex, work: Needed) -> str:
    """A function of the plan that calls itself, if by way of others; "" where none does."""
    bodies = {function.signature.name: function.node_def for function in index.library.function}
    calls: dict[str, set[str]] = {}
    stack = [name for node in work.order for name in _functions_of(node) if name in bodies]
    while stack:
        name = stack.pop()
        if name not in calls:
            calls[name] = {called for node in bodies[name] for called in _functions_of(node) if called in bodies}
            stack += calls[name]
    try:
        graphlib.TopologicalSorter(calls).prepare()
    except graphlib.CycleError as error:
        return str(error.args[1][0])
    return ""


def _functions_of(node: NodeDef) -> Iterator[str]:
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _places(nodes: Iterable[tuple[str, NodeDef]]) -> Iterator[tuple[Place, str, bool]]:
    for name, node in nodes:
        if node.op in _VARIABLES or node.op in TABLES:
            key = variable_key(node)
            dtype = variable(node).dtype.number if node.op in _VARIABLES else 0
            in_graph = name == node.name
            container, _, shared = key.partition("\0")
            yield Place(node.name if in_graph else "", name, node.op, dtype, container, shared), key, in_graph


def _changed(index: GraphIndex, work: Needed) -> set[str]:
    """Keys of the variables and tables that a run may change: those whose handles or references reach what does."""
    changing = [node for node in work.order if node.op not in _READ and node.op not in _PASS_ON]
    found: set[str] = set()
    bodies = _changing_functions(index, work)
    for node in changing:
        called = [name for name in _functions_of(node) if name in bodies]
        if node.op in FUNCTION_OPS and not called:
            continue
        types = op_table.input_types(node) or ()
        for source, number in zip(work.inputs[node.name], types, strict=False):
            if number > _REF or number == RESOURCE.number:
                found |= _roots(index, work, source[0])
        for name in called:
            found |= bodies[name]
    return found


def _roots(index: GraphIndex, work: Needed, start: str) -> set[str]:
    """Keys of the variables and tables whose handles or references a node may give."""
    found: set[str] = set()
    seen: set[str] = set()
    stack = [start]
    while stack:
        name = stack.pop()
        node = index.nodes[name]
        if name in seen or name not in work.inputs:
            continue
        seen.add(name)
        if node.op in _VARIABLES or node.op in TABLES:
            found.add(variable_key(node))
        elif node.op in _PASS_ON or any(number > _REF for number in op_table.output_types(node) or ()):
            stack += [source for source, _ in work.inputs[name]]
    return found


def _changing_functions(index: GraphIndex, work: Needed) -> Mapping[str, set[str]]:
    """The functions that change something behind a handle, each with the keys of what only it names."""
    bodies = {function.signature.name: function.node_def for function in index.library.function}
    calls = {name: {f for n in body for f in _functions_of(n) if f in bodies} for name, body in bodies.items()}
    changing = {
        name: {variable_key(n) for n in body if n.op in _VARIABLES or n.op in TABLES}
        for name, body in bodies.items()
        if any(_changes_by_handle(node) for node in body)
    }
    grown = True
    while grown:
        grown = False
        for name, called in calls.items():
            for other in called & changing.keys():
                more = changing[other] - changing.get(name, set())
                if more or name not in changing:
                    changing[name] = changing.get(name, set()) | more
                    grown = True
    return changing


def _changes_by_handle(node: NodeDef) -> bool:
    if node.op in _READ or node.op in _PASS_ON or node.op in FUNCTION_OPS:
        return False
    try:
        types = op_table.input_types(node) or ()
    except GraphError:  # attributes that the call fills in
        return True
    return any(number > _REF or number == RESOURCE.number for number in types)
