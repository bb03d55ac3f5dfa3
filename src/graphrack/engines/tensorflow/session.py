"""A model's session of TensorFlow: its own graph, and copies of the model's variables and tables.

The model's variables and tables stay what counts. Before a run those that it needs and that were replaced since the
last one are loaded into the session: arrays are never written in place, so their identity tells. After a run that
ended well, what it may have changed comes back. After one that failed nobody knows what the session holds of that,
and it is loaded anew before its next use.

Runs that change nothing, and find all loaded, go on side by side; others are alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphrack.engines.interpreter.plan import Plan
from graphrack.engines.interpreter.state import Run
from graphrack.engines.tensorflow.failures import Translated
from graphrack.engines.tensorflow.library import imported, tensorflow
from graphrack.engines.tensorflow.turns import Turns
from graphrack.errors import GraphError, UnsupportedOp
from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.graph.index import REF_VARIABLES
from graphrack.graph.names import TensorName
from graphrack.ops._tables import StaticTable, table_of
from graphrack.ops._tables import Table as OurTable

if TYPE_CHECKING:
    from graphrack.engines.tensorflow.plan import TensorFlowPlan

_NOBODY_KNOWS = object()


class Place(NamedTuple):
    """Where the value of a variable, or a table, is found in TensorFlow's graph.

    Attributes:
        name: of its node; "" where only functions have one.
        label: what messages call it.
        op: its node's.
        dtype: of a variable, the number of its type.
        container, shared_name: what a resource is found by.
    """

    name: str
    label: str
    op: str
    dtype: int
    container: str
    shared_name: str


class Table(NamedTuple):
    """A table's place, and the plan of the interpreter that gives our own table of that name."""

    place: Place
    handle: Plan


class ValueOf(NamedTuple):
    """Something to fetch: the value of the variable of a key, rather than its handle."""

    key: str


class ModelSession:
    """A `tf.Graph` and a `tf.Session` of it, for one model.

    Raises `GraphError` where TensorFlow doesn't take the graph.
    """

    def __init__(self, graph_def: GraphDef):
        self._tf = tensorflow()
        self._graph, self._left_out = imported(graph_def)
        self._turns = Turns()
        self._variables: dict[str, _Variable] = {}
        self._tables: dict[str, _Table] = {}
        self._open()

    def _open(self) -> None:
        """A new session: nothing has a value in it."""
        config = self._tf.ConfigProto(allow_soft_placement=True)
        config.gpu_options.allow_growth = True
        self._session = self._tf.Session(graph=self._graph, config=config)
        self._loaded: dict[str, Any] = {}
        self._loaded_tables: dict[str, Any] = {}

    def run(self, plan: TensorFlowPlan, feeds: Sequence[Any], values: dict[str, Any], state: Run) -> list[Any]:
        """Runs a plan on the values of the model's variables; what it changes replaces them in `values`."""
        missing = [name for name in plan.names if name in self._left_out]
        if missing:
            shown = "; ".join(f"{name!r}: {self._left_out[name]}" for name in missing[:3])
            raise UnsupportedOp(
                f'TensorFlow doesn\'t take what this run needs of the graph: {shown}; engine="numpy" may'
            )
        if not plan.writes:
            with self._turns.shared():
                if self._is_loaded(plan, values, state):
                    return self._go(plan, feeds, values, state)
        with self._turns.alone():
            self._load(plan, values, state)
            if not plan.writes:
                return self._go(plan, feeds, values, state)
            self._loaded.update(dict.fromkeys(plan.written, _NOBODY_KNOWS))
            self._loaded_tables.update(dict.fromkeys(plan.filled, _NOBODY_KNOWS))
            results = self._go(plan, feeds, values, state)
            self._take_back(plan, values, state)
            return results

    # Running

    def _go(self, plan: TensorFlowPlan, feeds: Sequence[Any], values: Mapping[str, Any], state: Run) -> list[Any]:
        with self._translated(plan, values):
            fed = {self._tensor(name): value for name, value in zip(plan.feeds, feeds, strict=True)}
            for paths in self._run([self._tensor(name) for name in plan.files], fed):
                for path in np.asarray(paths, object).flat:
                    state.file_allowed(path, "a table")
            return [_own(result) for result in self._run([self._fetched(f) for f in plan.fetches], fed)]

    def _run(self, fetches: Sequence[Any], fed: Mapping[Any, Any]) -> list[Any]:
        return list(self._session.run(fetches, fed)) if fetches else []

    def _tensor(self, name: TensorName) -> Any:
        try:
            return self._graph.get_tensor_by_name(str(name))
        except KeyError:
            reason = self._left_out.get(name.op, "it has no such tensor")
            raise GraphError(f"TensorFlow doesn't have '{name}' in its graph: {reason}") from None

    def _fetched(self, name: TensorName | str | ValueOf) -> Any:
        if isinstance(name, ValueOf):
            return self._variables[name.key].read
        return self._graph.get_operation_by_name(name) if isinstance(name, str) else self._tensor(name)

    def _translated(self, plan: TensorFlowPlan, values: Mapping[str, Any]) -> Translated:
        lacking = [place.label for key, place in plan.variables.items() if key not in values]
        fetched = dict.fromkeys(f for f in plan.fetches if not isinstance(f, str) and f not in plan.feeds)
        return Translated(self._tf, lacking, plan.writes, list(fetched))

    # What the session holds

    def _is_loaded(self, plan: TensorFlowPlan, values: Mapping[str, Any], state: Run) -> bool:
        return (
            all(self._loaded.get(key) is values.get(key) for key in plan.variables)
            and all(self._loaded_tables.get(key) == _version(state.found(key)) for key in plan.tables)
            and all(f.key in self._variables for f in plan.fetches if isinstance(f, ValueOf))
        )

    def _load(self, plan: TensorFlowPlan, values: Mapping[str, Any], state: Run) -> None:
        """Brings what a plan needs, and the session doesn't have as it is now."""
        with self._graph.as_default(), self._graph.control_dependencies(None):
            for key, place in plan.variables.items():
                if key not in self._variables:
                    self._variables[key] = _Variable(self._tf, self._graph, place)
            for key, table in plan.tables.items():
                if key not in self._tables:
                    self._tables[key] = _Table(self._tf, self._graph, table.place)
        tables = {key: state.found(key) for key in plan.tables}
        if any(key in self._loaded and key not in values for key in plan.variables) or any(
            self._stale(key, table) for key, table in tables.items()
        ):
            self._session.close()  # a value can't be taken away from a variable, nor a static table filled anew
            self._open()
        feeds: dict[Any, Any] = {}
        operations = []
        for key in plan.variables:
            if key in values and self._loaded.get(key) is not values[key]:
                feeds[self._variables[key].fed] = np.asarray(values[key])
                operations.append(self._variables[key].assign)
        changed = {
            k: t for k, t in tables.items() if _version(t) is not None and self._loaded_tables.get(k) != _version(t)
        }
        versions = {}
        for key, table in changed.items():
            versions[key] = _version(table)
            keys, entries = table.export()
            feeds[self._tables[key].keys] = keys
            feeds[self._tables[key].values] = entries
            operations.append(self._tables[key].fill)
        if operations:
            with self._translated(plan, values):
                self._session.run(operations, feeds)
        self._loaded.update((key, values[key]) for key in plan.variables if key in values)
        self._loaded_tables.update(versions)

    def _stale(self, key: str, table: OurTable | None) -> bool:
        held = self._loaded_tables.get(key)
        if held is None or held == _version(table):
            return False
        return table is None or isinstance(table, StaticTable) or not table.changes

    def _take_back(self, plan: TensorFlowPlan, values: dict[str, Any], state: Run) -> None:
        """Puts what a run may have changed into the model's variables and tables."""
        held = {key: self._variables[key] for key in sorted(plan.written)}
        has = dict(zip(held, self._run([v.is_initialized for v in held.values()], {}), strict=True))
        wanted = [key for key in held if has[key]]
        filled = [key for key in sorted(plan.filled) if self._has_entries(key)]
        found, exported = self._session.run(
            ([held[key].read for key in wanted], [self._tables[key].export for key in filled])
        )
        ours = {key: self._our_table(plan, key, state) for key in filled}
        for key, value in zip(wanted, found, strict=True):
            values[key] = self._loaded[key] = _array(value, held[key].dtype)
        for key in held.keys() - set(wanted):
            values.pop(key, None)
            self._loaded.pop(key)
        for key, (keys, entries) in zip(filled, exported, strict=True):
            table = ours[key]
            if not isinstance(table, StaticTable) or not table.changes:
                table.replace(np.asarray(keys), np.asarray(entries))
            self._loaded_tables[key] = _version(table)
        for key in plan.filled - set(filled):
            self._loaded_tables.pop(key)

    def _has_entries(self, key: str) -> bool:
        try:
            self._session.run(self._tables[key].export)
        except self._tf.errors.FailedPreconditionError:  # a static table that no initialiser has filled
            return False
        return True

    @staticmethod
    def _our_table(plan: TensorFlowPlan, key: str, state: Run) -> OurTable:
        (handle,) = plan.tables[key].handle.run([], {}, state)
        return table_of(state, handle)


class _Variable:
    """The nodes by which one variable of the session is given its value, and asked for it."""

    def __init__(self, tf: Any, graph: Any, place: Place):
        raw = tf.raw_ops
        self.dtype = tf.as_dtype(place.dtype)
        self.fed = tf.placeholder(self.dtype, None, "graphrack/fed")
        if place.op in REF_VARIABLES:
            held = graph.get_tensor_by_name(f"{place.name}:0")
            self.assign = raw.Assign(ref=held, value=self.fed, validate_shape=False).op
            self.is_initialized = raw.IsVariableInitialized(ref=held)
            self.read = raw.Identity(input=held)
            return
        if place.name:
            held = graph.get_tensor_by_name(f"{place.name}:0")
        else:
            held = raw.VarHandleOp(
                dtype=self.dtype,
                shape=tf.TensorShape(None),
                container=place.container,
                shared_name=place.shared_name,
            )
        self.assign = raw.AssignVariableOp(resource=held, value=self.fed)
        self.is_initialized = raw.VarIsInitializedOp(resource=held)
        self.read = raw.ReadVariableOp(resource=held, dtype=self.dtype)


class _Table:
    """The nodes by which one table of the session is filled, and asked for its entries."""

    def __init__(self, tf: Any, graph: Any, place: Place):
        raw, version = tf.raw_ops, "V2" if place.op.endswith("V2") else ""
        operation = graph.get_operation_by_name(place.name)
        held = operation.outputs[0]
        value_dtype = operation.get_attr("value_dtype")
        key_dtype = operation.get_attr("key_dtype")
        self.keys = tf.placeholder(key_dtype, None, "graphrack/keys")
        self.values = tf.placeholder(value_dtype, None, "graphrack/values")
        fill = "InitializeTable" if place.op.startswith("HashTable") else "LookupTableImport"
        self.fill = getattr(raw, fill + version)(table_handle=held, keys=self.keys, values=self.values)
        export = getattr(raw, "LookupTableExport" + version)
        self.export = tuple(export(table_handle=held, Tkeys=key_dtype, Tvalues=value_dtype))


def _version(table: OurTable | None) -> tuple[OurTable, int] | None:
    """What tells the entries of a table from those of another, or of another time; None for no entries at all."""
    return None if table is None or not table.changes else (table, table.changes)


def _own(result: Any) -> Any:
    """A result that nobody else holds: TensorFlow's may be the memory of a variable, or of a constant."""
    if isinstance(result, np.ndarray):
        return result.copy() if result.ndim else result[()]
    return result


def _array(value: Any, dtype: Any) -> np.ndarray[Any, Any]:
    return np.array(value, dtype=object if isinstance(value, bytes) else None)
