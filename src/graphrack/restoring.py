"""Values into models: restoring checkpoints, initialising, and what loading leaves to the first use."""

from __future__ import annotations

import fnmatch
import math
import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphrack.checkpoint import Checkpoint
from graphrack.engines.interpreter.compiler import compile_plan
from graphrack.engines.interpreter.state import Access, Run
from graphrack.errors import GraphError, GraphrackError, RestoreError, UnknownName, closest
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef, VariableDef
from graphrack.graph.index import Variable
from graphrack.graph.names import TensorName, parse_tensor
from graphrack.graph.saver import Restored
from graphrack.ops.state import compatible, show

if TYPE_CHECKING:
    from graphrack.instance import Instance

Select = str | Collection[str] | Callable[[str], bool] | None
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


class _Wanted(NamedTuple):
    """One variable to restore: from which name, and by which of the graph's nodes (None: by none)."""

    variable: Variable
    source: str
    by: Restored | None


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
    wanted = _wanted(instance, select, scope, rename, everything=select is None)
    problems: list[str] = []
    fitting: list[_Wanted] = []
    for item in wanted:
        problem = _problem(item, source)
        if problem is None:
            fitting.append(item)
        else:
            problems.append(problem)
    if problems and strict:
        raise RestoreError(
            f"checkpoint {source.prefix!r} doesn't fit {len(problems)} of {len(wanted)} variables: "
            f"{'; '.join(problems)}; nothing was restored: select=, scope= and rename= choose and map variables, "
            "strict=False leaves out what doesn't fit"
        )
    _assign(instance, source, fitting, everything=select is None and scope is None)


def _wanted(
    instance: Instance, select: Select, scope: str | None, rename: Mapping[str, str] | None, *, everything: bool
) -> list[_Wanted]:
    """The variables to restore, each with the checkpoint's name for it."""
    graph = instance.graph
    variables = graph.index.variables
    by_variable: dict[str, list[Restored]] = {}
    for entry in graph.restored:
        by_variable.setdefault(entry.variable.name, []).append(entry)
    chosen = _selected(variables, select)
    if everything and by_variable:
        # What the graph's own Saver leaves out (slots of another optimizer, say) stays as it is.
        chosen = [name for name in chosen if name in by_variable]
    new_names = {target: source for source, target in (rename or {}).items()}
    keys = {e.key for entries in by_variable.values() for e in entries}
    unknown = [target for target in new_names if target not in variables and target not in keys]
    if unknown:
        raise UnknownName(
            f"rename gives checkpoint names to variable names; the model has no variable {unknown[0]!r}"
            f"{closest(unknown[0], variables)}"
        )
    prefix = f"{scope.rstrip('/')}/" if scope else ""
    found = []
    for name in chosen:
        if not name.startswith(prefix):
            continue
        nodes: list[Restored | None] = [*by_variable.get(name, ())]
        for by in nodes or [None]:
            key = by.key if by is not None else name
            source = new_names.get(name) or new_names.get(key) or key.removeprefix(prefix)
            found.append(_Wanted(variables[name], source, by))
    if not found and (scope or select is not None):
        what = f"scope={scope!r}" if scope else f"select={select!r}"
        raise UnknownName(f"{what} chooses none of the model's variables{closest(scope or str(select), variables)}")
    return found


def _selected(variables: Mapping[str, Variable], select: Select) -> list[str]:
    if select is None:
        return list(variables)
    if callable(select):
        return [name for name in variables if select(name)]
    if isinstance(select, str):
        return [name for name in variables if fnmatch.fnmatchcase(name, select)]
    for name in select:
        if name not in variables:
            raise UnknownName(f"select names {name!r}, which is no variable of the model{closest(name, variables)}")
    chosen = set(select)
    return [name for name in variables if name in chosen]


def _problem(item: _Wanted, checkpoint: Checkpoint) -> str | None:
    """Why a variable can't be restored; None where it can."""
    variable, source = item.variable, item.source
    what = f"{variable.name!r}" + (f" (as {source!r})" if source != variable.name else "")
    if source not in checkpoint:
        return f"{what} is not in it{closest(source, checkpoint, 3)}"
    spec = checkpoint.spec(source)
    if spec.dtype != variable.dtype:
        return f"{what} is {spec.dtype} there, {variable.dtype} in the model"
    expected = variable.shape
    if item.by is not None and item.by.spec:
        expected = tuple(int(size) for size in item.by.spec.split()[:-1])
    shape = spec.shape or ()
    known = expected is not None and None not in expected
    # A Saver made with reshape=True restores any shape of as many elements.
    if not compatible(tuple(s or 0 for s in shape), expected) and not (
        item.by is not None and not item.by.spec and known and _reshapes(item, shape)
    ):
        return f"{what} has shape {show(shape)} there, {show(expected)} in the model"
    return None


def _reshapes(item: _Wanted, shape: tuple[int | None, ...]) -> bool:
    return (
        item.by is not None
        and item.by.reshaped
        and math.prod(s or 0 for s in shape) == math.prod(s or 0 for s in item.variable.shape or ())
    )


def _assign(instance: Instance, checkpoint: Checkpoint, items: list[_Wanted], *, everything: bool) -> None:
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
            access = Access({token: _Source(checkpoint, names, whole)})
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
    return {parse_tensor(name): np.array(path.encode(), object) for name, path in instance.file.assets.items()}


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
    if meta_graph is None or "table_initializer" not in meta_graph.collection_def:
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
                    definition = VariableDef.FromString(value)
                    operation = parse_tensor(definition.initializer_name).op if definition.initializer_name else ""
                    if operation in graph.index.nodes:
                        found[parse_tensor(definition.variable_name).op] = operation
    for name in graph.index.variables:
        # In a GraphDef, which has no collections: the name that a variable gives its initialiser.
        if name not in found and f"{name}/Assign" in graph.index.nodes:
            found[name] = f"{name}/Assign"
    return list(found.values())
