"""Large graph files, read without the contents of their constants, which go into one array beside the message.

Protocol buffers copy what they read, and give what they hold as another copy. Of a frozen graph, which is all
constants, that is most of what opening it takes. So the bytes of a large one are looked over first: where a
Const's `tensor_content` is long, it is copied into the array, aligned, and the message that is parsed says
instead where it lies there (`TensorProto.content_at`). Not a map of the file: contents aren't aligned in it, and
unlike checkpoints, graph files are often written in place.

Only what looks in all respects as TensorFlow writes it is taken out; a file in which nothing does, or whose bytes
are no message, has no outline, and is parsed as it is.
"""

from __future__ import annotations

import copy
import mmap
import re
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np

from graphrack.formats.coding import MalformedError, read_varint, varint
from graphrack.formats.dtypes import DTYPES
from graphrack.formats.protos import graph_pb2, metagraph_pb2
from graphrack.formats.tensor import can_lie_outside
from graphrack.formats.wire import Field, fields

__all__ = ["Outline", "filled", "read_outline"]

_Message = TypeVar("_Message", bound=graph_pb2.GraphDef | metagraph_pb2.MetaGraphDef | metagraph_pb2.SavedModel)

# Shorter contents stay in the message: taking one out takes some twenty microseconds.
_LEAST_BYTES = 1 << 14
# How an attribute begins that holds such a constant: a tag and a length in three bytes and more, a dtype, a shape, and
# again a tag and a length in three bytes and more.
_LONG_CONSTANT = re.compile(
    rb"\x42[\x80-\xff]{2,4}[\x01-\x7f]\x08.\x12[\x00-\x7f].{0,127}?\x22[\x80-\xff]{2,4}[\x01-\x7f]", re.DOTALL
)
_ALIGNMENT = 64
# At a time: what tells which bytes differ stays in the cache.
_COMPARED_BYTES = 1 << 18

# Field numbers.
_NODES, _GRAPH, _META_GRAPHS = 1, 2, 2
_NAME_OF_OP, _ATTRIBUTES, _KEY, _VALUE, _TENSOR = 2, 5, 1, 2, 8
_DTYPE, _CONTENT, _CONTENT_AT = 1, 4, graph_pb2.TensorProto.CONTENT_AT_FIELD_NUMBER


class Outline(NamedTuple):
    """A graph file's message without its long constants.

    Attributes:
        kind: what message it is, if it is what it was taken for.
        data: the message, as bytes.
        contents: those constants' bytes, one after another, each at a multiple of 64; not to be changed.
    """

    kind: type[Any]
    data: bytes
    contents: np.ndarray[Any, Any]

    def holds(self, contents: np.ndarray[Any, Any]) -> bool:
        """Whether its contents are these."""
        mine = self.contents
        step = _COMPARED_BYTES
        return mine.size == contents.size and all(
            np.array_equal(mine[at : at + step], contents[at : at + step]) for at in range(0, mine.size, step)
        )


def read_outline(file: BinaryIO, kind: type[Any]) -> Outline | None:
    """The outline of an open file that is taken to hold a message of that kind; None where it has none.

    Raises `OSError` where it can't be read to its end.
    """
    try:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # not every file system has maps
        return None
    cut = _Cut()
    with data:
        if _LONG_CONSTANT.search(data) is None:  # most graphs: to go through their nodes would take some milliseconds
            return None
        try:
            pieces = _around(data, kind, cut)
        except MalformedError:
            return None
    if not cut.places:
        return None
    # An array of its own: for a large one NumPy asks for large pages of memory, which are there much sooner.
    contents = np.empty(cut.size + _ALIGNMENT, np.uint8)
    contents = contents[-contents.ctypes.data % _ALIGNMENT :][: cut.size]
    end = 0
    for at, start, size in cut.places:
        contents[end:at] = 0
        end = at + size
        # Read, not copied from the map: a file that somebody cuts short now is an error, and not the end.
        file.seek(start)
        if file.readinto(contents[at:end]) != size:  # type: ignore[attr-defined]
            raise OSError("it has become shorter while it was read")
    contents.flags.writeable = False
    return Outline(kind, b"".join(pieces), contents)


def filled(message: _Message, contents: np.ndarray[Any, Any]) -> _Message:
    """The message that an outline's is of, whole."""
    result = copy.deepcopy(message)
    graphs: Iterable[graph_pb2.GraphDef]
    if isinstance(result, metagraph_pb2.SavedModel):
        graphs = [meta_graph.graph_def for meta_graph in result.meta_graphs]
    else:
        graphs = [result.graph_def if isinstance(result, metagraph_pb2.MetaGraphDef) else result]
    for graph in graphs:
        for node in graph.node:
            if node.op != "Const" or "value" not in node.attr:
                continue
            tensor = node.attr["value"].tensor
            if tensor.HasField("content_at"):
                start = tensor.content_at.offset
                tensor.tensor_content = contents[start : start + tensor.content_at.size].tobytes()
                tensor.ClearField("content_at")
    return result


class _Cut:
    """What is taken out of a file's bytes: where it will be, where it is, how many bytes."""

    def __init__(self) -> None:
        self.places: list[tuple[int, int, int]] = []
        self.size = 0

    def take(self, start: int, end: int) -> bytes:
        """Takes these bytes; gives the field to be written instead."""
        at = -(-self.size // _ALIGNMENT) * _ALIGNMENT
        self.places.append((at, start, end - start))
        self.size = at + end - start
        place = graph_pb2.TensorProto.ContentAt(offset=at, size=end - start)
        return _field(_CONTENT_AT, [place.SerializeToString()])


def _around(data: mmap.mmap, kind: type[Any], cut: _Cut) -> list[bytes]:
    """The message's bytes, piece by piece."""
    path = {
        graph_pb2.GraphDef: (_NODES,),
        metagraph_pb2.MetaGraphDef: (_GRAPH, _NODES),
        metagraph_pb2.SavedModel: (_META_GRAPHS, _GRAPH, _NODES),
    }[kind]
    return _rewritten(data, 0, len(data), path, cut)


def _rewritten(data: mmap.mmap, at: int, end: int, path: tuple[int, ...], cut: _Cut) -> list[bytes]:
    """A message's bytes with those of its nodes that can be made shorter; `path` leads to these, by field."""
    pieces: list[bytes] = []
    kept = at  # from here on as they are
    for number, wire, start, first, last in _all_fields(data, at, end):
        if number != path[0] or wire != 2 or last - first < _LEAST_BYTES:
            continue
        inner = _rewritten(data, first, last, path[1:], cut) if len(path) > 1 else _shorter(data, first, last, cut)
        if inner is not None:
            pieces.append(data[kept:start])
            pieces.append(_field(number, inner))
            kept = last
    pieces.append(data[kept:end])
    return pieces


def _shorter(data: mmap.mmap, at: int, end: int, cut: _Cut) -> list[bytes] | None:
    """A Const's bytes without its contents; None where there is nothing to take out."""
    op, entries = b"", []
    for number, wire, start, first, last in _all_fields(data, at, end):
        if number == _NAME_OF_OP and wire == 2:
            op = data[first : min(last, first + 8)]
        elif number == _ATTRIBUTES and wire == 2 and (last - first >= _LEAST_BYTES or b"value" in data[first:last]):
            entries.append((start, first, last))
    if op != b"Const" or len(entries) != 1:
        return None
    entry, first, last = entries[0]
    parts = _all_fields(data, first, last)
    if [(p[0], p[1]) for p in parts] != [(_KEY, 2), (_VALUE, 2)] or data[parts[0][3] : parts[0][4]] != b"value":
        return None
    value = _all_fields(data, *parts[1][3:])
    if [(p[0], p[1]) for p in value] != [(_TENSOR, 2)]:
        return None
    _, _, _, tensor, after = value[0]
    held = _all_fields(data, tensor, after)
    contents = [field for field in held if field[0] == _CONTENT]
    types = [read_varint(data, f[3], f[4])[0] for f in held if f[0] == _DTYPE and f[1] == 0]
    if len(contents) != 1 or len(types) != 1 or any(field[0] == _CONTENT_AT for field in held):
        return None
    dtype = DTYPES.get(types[0])
    _, wire, start, content, behind = contents[0]
    if wire != 2 or behind - content < _LEAST_BYTES or dtype is None or not can_lie_outside(dtype):
        return None
    shorter = [data[tensor:start], cut.take(content, behind), data[behind:after]]
    return [
        data[at:entry],
        _field(_ATTRIBUTES, [data[first : parts[0][4]], _field(_VALUE, [_field(_TENSOR, shorter)])]),
        data[last:end],
    ]


def _all_fields(data: mmap.mmap, at: int, end: int) -> list[Field]:
    found = list(fields(data, at, end))
    if found and found[-1][4] > end:
        raise MalformedError("the last field ends beyond its message")
    return found


def _field(number: int, pieces: list[bytes]) -> bytes:
    """A field whose bytes are these."""
    return b"".join([varint(number << 3 | 2), varint(sum(map(len, pieces))), *pieces])
