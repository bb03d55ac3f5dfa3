"""Names in a graph: `op` an operation, `op:0` a tensor, `^op` a control input."""

from __future__ import annotations

import re
from typing import NamedTuple

from graphrack.errors import GraphError, UnknownName

_TENSOR = re.compile(r"^(?P<op>[^:^]+):(?P<index>[0-9]{1,9})\Z")


class TensorName(NamedTuple):
    """One output of one operation."""

    op: str
    output: int

    def __str__(self) -> str:
        return f"{self.op}:{self.output}"


def parse_tensor(name: str) -> TensorName:
    """`"op:1"` as (op, 1), and `"op"` as (op, 0). Raises `UnknownName` for what is no tensor's name."""
    op, colon, index = name.rpartition(":")
    if not colon:
        op, index = name, "0"
    # The pattern is for what users type; the graph's own inputs take the fast way (`parse_input`).
    if not _TENSOR.match(f"{op}:{index}"):
        raise UnknownName(f"{name!r} is no tensor name: expected 'operation' or 'operation:output', as 'x:0'")
    return TensorName(op, int(index))


def parse_input(text: str) -> tuple[str, int]:
    """A NodeDef's input as (operation, output index); the index is -1 for a control input."""
    if text[:1] == "^":
        return text[1:], -1
    op, colon, index = text.rpartition(":")
    if not colon:
        return text, 0
    if not (index.isascii() and index.isdigit() and len(index) < 10):
        raise GraphError(f"input {text!r} of a node is malformed: expected 'op', 'op:0' or '^op'")
    return op, int(index)


def scope_of(name: str) -> str:
    """The scope that a name lies in: `a/b` of `a/b/c`, empty at the top."""
    return name.rpartition("/")[0]
