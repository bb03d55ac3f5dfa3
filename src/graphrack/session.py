"""Live TensorFlow sessions: restoring checkpoints into them, and saving them.

The only place where TensorFlow's objects are touched. TensorFlow is never imported here: whoever passes a session has
done that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from graphrack.checkpoint import Checkpoint
from graphrack.errors import (
    GraphError,
    RestoreError,
    UninitializedError,
    UnknownName,
    UnsupportedSource,
    closest,
)
from graphrack.formats.bundle_writer import BundleWriter
from graphrack.formats.dtypes import dtype_of
from graphrack.formats.safe_write import atomic_write
from graphrack.graph.index import Variable
from graphrack.graph.saver import Restored
from graphrack.matching import Select, match
from graphrack.saving import Names

# A collection of the graph's, which goes when it goes; TensorFlow exports none whose name is no text.
_ADDED = ("graphrack",)

_ASSIGNS = ("Assign", "AssignVariableOp")


def is_session(value: Any) -> bool:
    """Whether it is a `tf.compat.v1.Session` or one of its kind; imports nothing."""
    module = sys.modules.get("tensorflow.python.client.session")
    return module is not None and isinstance(value, module.SessionInterface)


def _tensorflow() -> Any:
    """`tf.compat.v1`, which is there because a session is."""
    return sys.modules["tensorflow"].compat.v1


def restore(
    session: Any,
    checkpoint: str | os.PathLike[str] | Checkpoint,
    *,
    select: Select = None,
    scope: str | None = None,
    rename: Mapping[str, str] | None = None,
    strict: bool = True,
) -> None:
    """Does for a live `tf.compat.v1.Session` what `Model.restore` does for a Model.

    For graphs built with TensorFlow, into which several checkpoints go. No `.meta` is needed and no `tf.train.Saver`;
    the graph doesn't grow, so it may be finalized: values go in by way of the variables' initialisers. (Where
    that can't be, and for tables, nodes are added once.) Everything is checked before anything is assigned, and one
    `session.run` assigns it.

    Args:
        session: the session whose variables get values.
        checkpoint: a prefix, or a `Checkpoint` (a view that selects, renames or averages, say).
        select: only these of the graph's variables: a glob, a list of names, or a predicate. Without it, the
            variables that a `tf.train.Saver` restores: all but local ones, and the tables.
        scope: the graph's variable `scope/w` is found under the checkpoint's name `w`.
        rename: checkpoint name to variable name.
        strict: a selected variable that the checkpoint lacks, or whose shape or dtype differs, is an error; otherwise
            it keeps its value.

    Raises:
        UnsupportedSource: it is no session.
        RestoreError: naming every variable that doesn't fit; nothing is changed.
        UnknownName: `select`, `scope` or `rename` name what isn't there.
        FileError, CorruptCheckpoint: the checkpoint can't be read.
        GraphError: nodes would have to be added to a graph that is finalized.
    """
    if not is_session(session):
        hint = "; a Model has restore() itself" if hasattr(session, "restore") else ""
        raise UnsupportedSource(f"a {type(session).__name__} is no tf.compat.v1.Session to restore into{hint}")
    source = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    graph = session.graph
    variables = _variables(graph)
    described = {name: _described(name, variable) for name, variable in variables.items()}
    restored = [_restored(described[_name(v)], v) for v in _globals(graph)]
    wanted = match(described, restored, source, select, scope, rename, strict)
    assignments = []
    if select is None and scope is None:
        assignments += _tables(graph, source, rename or {}, strict)
    for item in wanted:
        value = source.read_slice(item.source, item.by.spec if item.by is not None else "")
        assignments.append(_assignment(graph, variables[item.variable.name], value))
    _run(session, assignments)


class _Assignment(NamedTuple):
    """An operation that gives a variable or table its value, and what to feed it."""

    operation: Any
    feeds: list[tuple[Any, Any]]


def _run(session: Any, assignments: list[_Assignment]) -> None:
    """Runs them all at once; one after the other only those that share what they are fed by."""
    while assignments:
        feeds: dict[int, tuple[Any, Any]] = {}
        now, later = [], []
        for assignment in assignments:
            if any(id(tensor) in feeds for tensor, _ in assignment.feeds):
                later.append(assignment)
            else:
                now.append(assignment.operation)
                feeds |= {id(tensor): (tensor, value) for tensor, value in assignment.feeds}
        session.run(now, dict(feeds.values()))
        assignments = later


def _globals(graph: Any) -> list[Any]:
    found = {_name(v): v for v in graph.get_collection(_tensorflow().GraphKeys.GLOBAL_VARIABLES)}
    return list(found.values())


def _variables(graph: Any) -> dict[str, Any]:
    """All variables of a graph's collections by name."""
    keys = _tensorflow().GraphKeys
    local = graph.get_collection(keys.LOCAL_VARIABLES)
    return {_name(v): v for v in [*_globals(graph), *local]}


def _name(variable: Any) -> str:
    return str(variable.op.name)


def _described(name: str, variable: Any) -> Variable:
    shape = None if variable.shape.rank is None else tuple(variable.shape.as_list())
    number = variable.dtype.base_dtype.as_datatype_enum
    return Variable(name, name, dtype_of(number), shape, variable.op.type == "VarHandleOp")


def _restored(variable: Variable, live: Any) -> Restored:
    part = live._save_slice_info
    if part is None:
        return Restored(variable, "", variable.name, "", False)
    return Restored(variable, "", part.full_name, part.spec, False)


def _assignment(graph: Any, variable: Any, value: Any) -> _Assignment:
    initializer = variable.initializer
    if initializer is not None and initializer.type in _ASSIGNS:
        fed = initializer.inputs[1]
        if graph.is_feedable(fed) and fed.shape.is_compatible_with(value.shape):
            return _Assignment(initializer, [(fed, value)])

    def make() -> tuple[Any, Any]:
        tf = _tensorflow()
        placeholder = tf.placeholder(variable.dtype.base_dtype, variable.shape)
        if variable.op.type == "VarHandleOp":
            return placeholder, variable.assign(placeholder, read_value=False)
        # As TensorFlow's Saver has it: a variable without a fixed shape takes any.
        return placeholder, tf.assign(variable, placeholder, validate_shape=variable.shape.is_fully_defined()).op

    placeholder, operation = _added(graph, ("assign", _name(variable)), make)
    return _Assignment(operation, [(placeholder, value)])


def _tables(graph: Any, checkpoint: Checkpoint, rename: Mapping[str, str], strict: bool) -> list[_Assignment]:
    """What restores the graph's tables, and whatever else a Saver saves that is no variable."""
    tf = _tensorflow()
    sources = {target: source for source, target in rename.items()}
    found, missing = [], []
    for saveable in graph.get_collection(tf.GraphKeys.SAVEABLE_OBJECTS):
        names = [sources.get(spec.name, spec.name) for spec in saveable.specs]
        lacking = [name for name in names if name not in checkpoint]
        missing += lacking
        if lacking:
            continue

        def make(saveable: Any = saveable) -> tuple[list[Any], Any]:
            placeholders = [tf.placeholder(spec.dtype) for spec in saveable.specs]
            return placeholders, saveable.restore(placeholders, None)

        placeholders, operation = _added(graph, ("table", saveable.name), make)
        values = [checkpoint.read_slice(name) for name in names]
        found.append(_Assignment(operation, list(zip(placeholders, values, strict=True))))
    if missing and strict:
        raise RestoreError(
            f"checkpoint {checkpoint.prefix!r} lacks what tables of the graph are restored from: "
            f"{', '.join(map(repr, missing))}; nothing was restored: select= chooses variables, strict=False leaves "
            "out what isn't there"
        )
    return found


def _added(graph: Any, key: Any, make: Any) -> Any:
    """What was added to a graph, once. Raises `GraphError` where the graph is finalized."""
    kept = graph.get_collection_ref(_ADDED)
    if not kept:
        kept.append({})
    added: dict[Any, Any] = kept[0]
    if key not in added:
        if graph.finalized:
            raise GraphError(
                f"the session's graph is finalized, and nodes would have to be added to it for {key[0]} of "
                f"{key[1]!r}; do this once before finalizing it"
            )
        tf = _tensorflow()
        with graph.as_default(), tf.name_scope(""), graph.control_dependencies(None), tf.device(None):
            added[key] = make()
    return added[key]


# Saving


def save_session(session: Any, path: str, names: Names, max_to_keep: int, hours: float) -> None:
    """Writes the values of a session's variables, and its graph as TensorFlow's Saver does.

    A `tf.train.Saver` is added to the graph once; its save nodes say what is saved, graphrack writes it.

    Raises:
        GraphError: the graph has no variables, or is finalized and has not been saved before.
        UninitializedError: naming the variables without values.
        UnknownName: `names` has one that isn't there.
    """
    tf, graph = _tensorflow(), session.graph
    chosen = _chosen(graph, names)
    described = tuple((name, tuple(map(id, of if isinstance(of, list) else [of]))) for name, of in chosen.items())
    if not chosen:
        raise GraphError("the session's graph has no variables to save")
    saver = _added(
        graph,
        ("a Saver", "its variables", described, max_to_keep, hours),
        lambda: tf.train.Saver(chosen, max_to_keep=max_to_keep, keep_checkpoint_every_n_hours=min(hours, 3.4e38)),
    )
    definition = saver.as_saver_def()
    save = next(
        op for op in graph.get_tensor_by_name(definition.save_tensor_name).op.control_inputs if op.type == "SaveV2"
    )
    saved, specs, *values = _fetched(session, [save.inputs[1], save.inputs[2], *save.inputs[3:]])
    with BundleWriter(path) as writer:
        for name, spec, value in zip(saved.tolist(), specs.tolist(), values, strict=True):
            writer.add_slice(name.decode(), spec.decode(), np.asarray(value))
    with graph.as_default():
        message = saver.export_meta_graph().SerializeToString()
    atomic_write(path + ".meta", message)


def _chosen(graph: Any, names: Names) -> dict[str, Any]:
    """What to save by name: variables, lists of a whole's parts, and, where all is saved, tables."""
    tf = _tensorflow()
    parts: dict[str, list[Any]] = {}
    alone: dict[str, Any] = {}
    for variable in _globals(graph):
        part = variable._save_slice_info
        if part is None:
            alone[_name(variable)] = variable
        else:
            parts.setdefault(part.full_name, []).append(variable)
    if names is None:
        tables = {s.name: s for s in graph.get_collection(tf.GraphKeys.SAVEABLE_OBJECTS)}
        return {**alone, **parts, **tables}
    known = {**_variables(graph), **parts}
    found: dict[str, Any] = {}
    pairs = names.items() if isinstance(names, Mapping) else ((None, name) for name in names)
    for new, given in pairs:
        name = given if given in known else given.removesuffix(":0")
        if name not in known:
            raise UnknownName(f"names has {given!r}, which is no variable of the graph{closest(given, known)}")
        of, part = known[name], getattr(known[name], "_save_slice_info", None)
        if new is None and part is not None:  # a list names a part by the tensor that it is a part of
            found.setdefault(part.full_name, []).append(of)
        else:
            found[name if new is None else new] = of
    saved_as: dict[str, str] = {}
    for new, of in found.items():
        for variable in of if isinstance(of, list) else [of]:
            if saved_as.setdefault(_name(variable), new) != new:
                twice = f"{_name(variable)!r} twice, as {saved_as[_name(variable)]!r} and {new!r}"
                raise ValueError(f"names has variable {twice}")
    return found


def _fetched(session: Any, tensors: list[Any]) -> list[Any]:
    """The tensors' values of one run. Raises `UninitializedError`."""
    errors = _tensorflow().errors
    unset = (errors.FailedPreconditionError, errors.NotFoundError)
    try:
        found: list[Any] = session.run(tensors)
    except unset as e:
        missing = []
        for tensor in tensors:
            try:
                session.run(tensor)
            except unset:
                missing.append(tensor.op.inputs[0].op.name if tensor.op.type == "ReadVariableOp" else tensor.op.name)
        raise UninitializedError(
            f"variables of the session have no values: {', '.join(map(repr, missing)) or e.message}; run their "
            "initialisers, or restore a checkpoint"
        ) from e
    return found
