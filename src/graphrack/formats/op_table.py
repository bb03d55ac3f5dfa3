"""TensorFlow's op definitions: what inputs, outputs and attributes each op has, with types and defaults.

The table is a file beside this module, made from TensorFlow's own registry by `tools/make_op_table.py`, and
read on first use. How an `OpDef` describes an argument (`ArgDef`):

    type                        one tensor of that type
    type_attr                   one tensor of the type that the attribute names
    number_attr + either        as many such tensors as the attribute says
    type_list_attr              one tensor for each type in the attribute's list
    is_ref                      the tensors are references to variables: their type numbers are 100 higher
"""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Iterable, Mapping

from graphrack.errors import GraphError
from graphrack.formats.protos.graph_pb2 import AttrValue, NodeDef, OpDef, OpList

__all__ = [
    "argument_types",
    "defaults",
    "input_is_ref",
    "input_types",
    "op_def",
    "op_names",
    "output_names",
    "output_types",
]

_TABLE = os.path.join(os.path.dirname(__file__), "op_table.binpb.z")
_REF = 100  # DT_FLOAT_REF is DT_FLOAT + 100, and so on

# A count that a node's attribute states is believed up to this; TensorFlow's own outputs are far fewer.
_MAX_COUNT = 1 << 20


@functools.cache
def _table() -> dict[str, OpDef]:
    with open(_TABLE, "rb") as file:
        ops = OpList.FromString(zlib.decompress(file.read()))
    return {op.name: op for op in ops.op}


def op_names() -> Iterable[str]:
    """The names of all ops, in order."""
    return _table().keys()


def op_def(name: str) -> OpDef | None:
    """The definition of an op (not to be changed); None where TensorFlow has none of that name."""
    return _table().get(name)


@functools.cache
def defaults(name: str) -> Mapping[str, AttrValue]:
    """The attributes of an op that have defaults, with these (not to be changed); empty for an unknown op."""
    op = op_def(name)
    return {a.name: a.default_value for a in op.attr if a.HasField("default_value")} if op is not None else {}


def argument_types(
    args: Iterable[OpDef.ArgDef], attrs: Mapping[str, AttrValue], op: str
) -> list[tuple[str, list[int]]]:
    """For each argument its name and the type numbers of its tensors, given a node's attributes.

    `op` is whose arguments they are: attributes that the node leaves out have its defaults. Raises
    `GraphError` for an attribute that has no value at all, or a number that cannot be one of tensors.
    """

    def attribute(name: str) -> AttrValue:
        if name in attrs:
            return attrs[name]
        value = defaults(op).get(name)
        if value is None:
            raise GraphError(f"a node of op {op!r} lacks its attribute {name!r}")
        return value

    found = []
    for arg in args:
        if arg.type_list_attr:
            types: list[int] = list(attribute(arg.type_list_attr).list.type)
        else:
            number = attribute(arg.type_attr).type if arg.type_attr else arg.type
            types = [number]
            if arg.number_attr:
                count = attribute(arg.number_attr).i
                if not 0 <= count <= _MAX_COUNT:
                    raise GraphError(f"a node of op {op!r} has {count} as its attribute {arg.number_attr!r}")
                types *= count
        found.append((arg.name, [t + _REF for t in types] if arg.is_ref else types))
    return found


def output_names(op: str | OpDef, attrs: Mapping[str, AttrValue]) -> list[tuple[str, int]]:
    """The op's output arguments in order, each with how many tensors it stands for in a node with `attrs`.

    Raises `GraphError` for an op that isn't known and what `argument_types` raises.
    """
    definition = _known(op)
    return [(n, len(types)) for n, types in argument_types(definition.output_arg, attrs, definition.name)]


def output_types(node: NodeDef) -> list[int] | None:
    """The type number of each output of a node, above 100 for references; None for an unknown op.

    0 stands for a type that the node's attributes leave open. Raises what `argument_types` raises.
    """
    op = op_def(node.op)
    if op is None:
        return None
    # Most ops have one output, of one tensor.
    if len(op.output_arg) == 1:
        arg = op.output_arg[0]
        if arg.type and not arg.number_attr:
            return [arg.type + _REF if arg.is_ref else arg.type]
    return [t for _, types in argument_types(op.output_arg, node.attr, node.op) for t in types]


def input_types(node: NodeDef) -> list[int] | None:
    """The type number that each data input of a node must have; as `output_types`."""
    op = op_def(node.op)
    if op is None:
        return None
    return [t for _, types in argument_types(op.input_arg, node.attr, node.op) for t in types]


def input_is_ref(op: str | OpDef, index: int, attrs: Mapping[str, AttrValue]) -> bool:
    """Whether data input `index` of such a node takes a reference to a variable.

    Raises `GraphError` for an op that isn't known, an input that it doesn't have, and what
    `argument_types` raises.
    """
    definition = _known(op)
    left = index
    for arg in definition.input_arg:
        ((_, types),) = argument_types([arg], attrs, definition.name)
        if left < len(types):
            return arg.is_ref
        left -= len(types)
    raise GraphError(f"a node of op {definition.name!r} has no input {index}")


def _known(op: str | OpDef) -> OpDef:
    if isinstance(op, OpDef):
        return op
    definition = op_def(op)
    if definition is None:
        raise GraphError(f"op {op!r} is not known: TensorFlow's registry has none of that name")
    return definition
