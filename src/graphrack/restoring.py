"""Values into models: restoring checkpoints, initialising, and what loading leaves to the first use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from graphrack.checkpoint import Checkpoint
from graphrack.engines.interpreter.compiler import compile_plan
from graphrack.engines.interpreter.state import Access, Run
from graphrack.errors import GraphError, GraphrackError, UnknownName
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef, VariableDef
from graphrack.graph.names import TensorName, parse_tensor
from graphrack.matching import Select, Wanted, match

if TYPE_CHECKING:
    from graphrack.instance import Instance

Array = np.ndarray[Any, Any]


class _Source:
    """The checkpoint as a model's restore nodes see it: their names, translated to the checkpoint's.

    Where `all_of_it` is restored, what is no variable's (tables' entries) is there under its own name.
    """

    def __init__(self, checkpoint: Checkpoint, names: Mapping[str, str], all_of_it: bool):
        self._checkpoint = checkpoint
        self._names = names
        self._all_of_it = all_of_it

    def read_slice(self, name: str, spec: str = "") -> Array | None:
        source = self._names.get(name)
        if source is None and self._all_of_it and name in self._checkpoint:
            source = name
        return None if source is None else self._checkpoint.read_slice(source, spec)


def restore(
    instance: Instance,
    checkpoint: str | os.PathLike[str] | Checkpoint,
    select: Select,
    scope: str | None,
    rename: Mapping[str, str] | None,
    strict: bool,
) -> None:
    """What `Model.restore` does; all of it or nothing."""
    source = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    graph = instance.graph
    fitting = match(graph.index.variables, graph.restored, source, select, scope, rename, strict)
    _assign(instance, source, fitting, everything=select is None and scope is None)


def _assign(instance: Instance, checkpoint: Checkpoint, items: list[Wanted], *, everything: bool) -> None:
    graph, state = instance.graph, instance.state
    by_graph = [(item, item.by) for item in items if item.by is not None]
    direct = {item.variable.key: checkpoint.read_slice(item.source) for item in items if item.by is None}
    values: dict[str, Any] = {}
    with state.lock:
        # A Saver may have no variables, tables alone.
        if graph.saver is not None and (by_graph or (everything and not graph.restored)):
            # Where all is restored the restore op itself runs, which may do more than assign.
            whole = len(by_graph) == len(graph.restored)
            fetches: list[TensorName | str]
            fetches = [graph.saver.restore] if whole else [by.assign for _, by in by_graph]
            filename = graph.saver.filename
            plan = graph.once(("restore", tuple(fetches)), lambda: compile_plan(graph.index, fetches, (filename,)))
            token = checkpoint.prefix.encode()
            names = {by.key: item.source for item, by in by_graph}
            access = Access({token: _Source(checkpoint, names, whole)}, io=instance.access.io)
            access.check(plan)
            run = Run(state, dict(state.values), access)
            plan.run([np.array(token, object)], run.values, run)
            values = run.values
        state.values = {**(values or state.values), **direct}


def run_loader(instance: Instance) -> None:
    """What a loader would run: restore, then a SavedModel's init op with its assets fed.

    Where there is no init op, the initialisers of tables. One that fails (its file is no asset, say)
    leaves its table without entries: whoever asks that is told to initialize(), and told the reason then.
    """
    graph = instance.graph
    if instance.checkpoint is not None and (graph.index.variables or graph.saver is not None):
        restore(instance, instance.checkpoint, None, None, None, True)
    operation = _loader_op(graph.meta_graph) if instance.file.kind == "saved model" else None
    if operation is not None and parse_tensor(operation).op in graph.index.nodes:
        instance.execute([parse_tensor(operation).op], _assets(instance))
    else:
        _initialize_tables(instance)


def _assets(instance: Instance) -> dict[TensorName, Any]:
    """What a SavedModel's assets are fed to, and where they are.

    Raises:
        GraphError: the graph lacks what one is to be fed to.
    """
    found = {}
    for name, path in instance.file.assets.items():
        try:
            found[instance.graph.index.tensor(name)] = np.array(path.encode(), object)
        except UnknownName as error:
            raise GraphError(f"the SavedModel has its asset {path!r} fed to {name!r}: {error}") from None
    return found


def _loader_op(meta_graph: MetaGraphDef | None) -> str | None:
    """The op that a SavedModel's loader runs after restoring."""
    if meta_graph is None:
        return None
    signature = meta_graph.signature_def.get("__saved_model_init_op") if meta_graph.signature_def else None
    if signature is not None and "__saved_model_init_op" in signature.outputs:
        return str(signature.outputs["__saved_model_init_op"].name)
    for name in ("saved_model_main_op", "legacy_init_op"):
        if name in meta_graph.collection_def and meta_graph.collection_def[name].node_list.value:
            return str(meta_graph.collection_def[name].node_list.value[0])
    return None


def initialize(instance: Instance) -> None:
    """What `Model.initialize` does: each variable's initialiser, then the tables'."""
    graph = instance.graph
    operations = dict.fromkeys(_initializers(instance))
    if not operations and (graph.index.variables or not _table_initializers(instance)):
        raise GraphError(
            "the graph has no initialisers; give its variables values with restore(checkpoint), or assign to variables"
        )
    if operations:
        instance.execute(list(operations), {})
        instance.checkpoint = None  # its values have been replaced, whatever becomes of the tables
    for error in _initialize_tables(instance):
        raise error


def _table_initializers(instance: Instance) -> list[str]:
    meta_graph = instance.graph.meta_graph
    if meta_graph is None:  # a GraphDef, which has no collections
        from graphrack.graph.kept import table_initializers

        return table_initializers(instance.graph.index.nodes, instance.graph.index.nodes)
    if "table_initializer" not in meta_graph.collection_def:
        return []
    names = (parse_tensor(name).op for name in meta_graph.collection_def["table_initializer"].node_list.value)
    return [name for name in dict.fromkeys(names) if name in instance.graph.index.nodes]


def _initialize_tables(instance: Instance) -> list[GraphrackError]:
    """Runs the tables' initialisers, each for itself; gives the errors of those that failed."""
    errors = []
    for name in _table_initializers(instance):
        try:
            instance.execute([name], _assets(instance))
        except GraphrackError as error:
            errors.append(error)
    return errors


def _initializers(instance: Instance) -> list[str]:
    graph = instance.graph
    found: dict[str, str] = {}
    if graph.meta_graph is not None:
        for name in ("variables", "local_variables", "trainable_variables", "model_variables", "metric_variables"):
            if name in graph.meta_graph.collection_def:
                for value in graph.meta_graph.collection_def[name].bytes_list.value:
                    try:
                        definition = VariableDef.FromString(value)
                    except DecodeError:  # a variable of damaged bytes: its name tells, see below
                        continue
                    operation = parse_tensor(definition.initializer_name).op if definition.initializer_name else ""
                    if operation in graph.index.nodes:
                        found[parse_tensor(definition.variable_name).op] = operation
    for name in graph.index.variables:
        # In a GraphDef, which has no collections: the name that a variable gives its initialiser.
        if name not in found and f"{name}/Assign" in graph.index.nodes:
            found[name] = f"{name}/Assign"
    return list(found.values())
