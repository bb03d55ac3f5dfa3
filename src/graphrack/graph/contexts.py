"""The contexts of TensorFlow 1's conds and loops, carried over to a graph made from another.

A MetaGraph lists them in the collections `cond_context` and `while_context`. graphrack reads control flow from the
nodes themselves; TensorFlow's Python code, which makes gradients through a graph that it has imported, needs these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.message import DecodeError

from graphrack.formats.protos.control_flow_pb2 import CondContextDef, ValuesDef, WhileContextDef
from graphrack.graph.names import TensorName, parse_tensor

Rename = Callable[[str], "str | None"]

CONTEXTS: dict[str, type[CondContextDef] | type[WhileContextDef]] = {
    "cond_context": CondContextDef,
    "while_context": WhileContextDef,
}
"""The collections, and what they list."""

_COND = ("pred_name", "pivot_name")
_WHILE = ("pivot_name", "pivot_for_pred_name", "pivot_for_body_name")


def carried_context(collection: str, data: bytes, rename: Rename, scope: str) -> bytes | None:
    """A context under its nodes' new names; None where it isn't whole any more, or for bytes that are none.

    Attributes:
        rename: from the old graph's names to the new one's.
        scope: what the names of contexts, and of loops' frames, come to lie under.
    """
    try:
        context = CONTEXTS[collection].FromString(data)
    except DecodeError:
        return None
    return context.SerializeToString() if _carry(context, rename, scope) else None


def _carry(context: Any, rename: Rename, scope: str) -> bool:
    """Renames in a context; False where it isn't whole any more, for then gradients through it would be wrong.

    Of a loop all that enters and leaves must be there, of conds and loops what tells whether their nodes run; other
    nodes may be gone.
    """
    is_loop = isinstance(context, WhileContextDef)
    for field in _WHILE if is_loop else _COND:
        found = _where_it_is(getattr(context, field), rename)
        if found is None:
            return False
        setattr(context, field, found)
    if is_loop:
        for names in (context.loop_enter_names, context.loop_exit_names):
            count = len(names)
            _replace(names, (_where_it_is(name, rename) for name in names))
            if len(names) < count:
                return False
        if context.maximum_iterations_name:
            context.maximum_iterations_name = rename(context.maximum_iterations_name) or ""
    if scope:
        context.context_name = f"{scope}/{context.context_name}"
    _carry_values(context.values_def, rename)
    for inner in context.nested_contexts:
        kind = inner.WhichOneof("ctxt")
        if kind is None or not _carry(getattr(inner, kind), rename, scope):
            return False
    return True


def _carry_values(values: ValuesDef, rename: Rename) -> None:
    outside = set(values.external_values)
    _replace(
        values.values,
        (rename(name) if name in outside else _where_it_is(name, rename) for name in values.values),
    )
    pairs = [(rename(key), _where_it_is(value, rename)) for key, value in values.external_values.items()]
    values.external_values.clear()
    for key, value in pairs:
        if key is not None and value is not None:
            values.external_values[key] = value


def _where_it_is(name: str, rename: Rename) -> str | None:
    """The new name of what lies in a context, but not of what replaces it from elsewhere."""
    if not name:
        return None
    if ":" not in name:
        return rename(name)
    tensor = parse_tensor(name)
    operation = rename(tensor.op)
    return None if operation is None else str(TensorName(operation, tensor.output))


def _replace(names: Any, found: Iterable[str | None]) -> None:
    kept = [name for name in found if name is not None]
    del names[:]
    names.extend(kept)
