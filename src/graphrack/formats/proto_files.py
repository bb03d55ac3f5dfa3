"""Files that hold one message: GraphDef, MetaGraphDef or SavedModel, binary or text, whatever their name.

Which message a binary file holds is not written in it: all three begin with a field 1 or 2, and protocol
buffers read each other's bytes more often than one would think. So the likeliest is parsed first (by the
file's name, or its first byte: only a SavedModel begins with a number) and believed only if its nodes have
names and ops as nodes do. A text file names its fields, and the first one tells.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn, TypeAlias, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from graphrack.errors import CorruptFile, FileError, closest
from graphrack.formats import table
from graphrack.formats.coding import MalformedError
from graphrack.formats.protos import graph_pb2, metagraph_pb2
from graphrack.formats.wire import fields

__all__ = [
    "MAX_MESSAGE_BYTES",
    "TABLE_MAGIC",
    "GraphMessage",
    "explain_missing",
    "is_text",
    "likely_kinds",
    "parse_graph_message",
    "read_bytes",
    "read_file",
    "seems_to_be",
]

_T = TypeVar("_T")
GraphMessage: TypeAlias = graph_pb2.GraphDef | metagraph_pb2.MetaGraphDef | metagraph_pb2.SavedModel

_GRAPH, _META, _SAVED = graph_pb2.GraphDef, metagraph_pb2.MetaGraphDef, metagraph_pb2.SavedModel
_EXPECTED = "a GraphDef, a MetaGraphDef or a SavedModel"

# Protocol buffers are limited to 2 GiB, TensorFlow's writers too.
MAX_MESSAGE_BYTES = (1 << 31) - 1

# ---------------------------------------------------------------------------------------------------------
# Bytes


def read_bytes(path: str) -> bytes:
    """The bytes of a file. Raises `FileError`, for a missing file with the nearest names in its folder."""
    return read_file(path, lambda file: file.read())


def read_file(path: str, read: Callable[[BinaryIO], _T]) -> _T:
    """What `read` makes of the open file. Raises as `read_bytes`."""
    try:
        with open(path, "rb") as file:
            return read(file)
    except (FileNotFoundError, NotADirectoryError):
        raise explain_missing(path) from None
    except IsADirectoryError:
        raise FileError(f"{path!r} is a folder; a file was expected") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise FileError(f"{path!r} cannot be read: {error}") from None


def explain_missing(path: str) -> FileError:
    """The error for a path that isn't there: the nearest names, or how much of the path exists."""
    folder, name = os.path.split(path.rstrip("/" + os.sep))
    while True:
        try:
            names = [entry.name for entry in os.scandir(folder or ".")]
            break
        except (OSError, ValueError):
            parent, missing = os.path.split(folder)
            if not missing:
                return FileError(f"{path!r} does not exist")
            folder, name = parent, missing
    return FileError(f"{path!r} does not exist: no {name!r} in folder {folder or '.'!r}{closest(name, names)}")


# ---------------------------------------------------------------------------------------------------------
# Messages


def parse_graph_message(data: bytes, path: str) -> GraphMessage:
    """The message that a graph file's bytes hold; `path` is what errors call it and, by its ending, a hint.

    Raises `CorruptFile`: empty, truncated or damaged bytes, a text with a mistake (line and column are
    named), or something else than a graph (what it seems to be is named).
    """
    if not data:
        raise CorruptFile(f"{path!r} is empty (0 bytes); {_EXPECTED} was expected")
    if is_text(data):
        return _parse_text(data, path)
    if len(data) > MAX_MESSAGE_BYTES:
        raise CorruptFile(f"{path!r} has {len(data)} bytes; a graph file has at most {MAX_MESSAGE_BYTES}")
    problem = ""
    for kind in likely_kinds(data, path):
        try:
            message = kind.FromString(data)
        except DecodeError as error:
            problem = problem or str(error).partition(": ")[2]
            continue
        if _plausible(message):
            return message
    _explain_bytes(data, path, problem)


def likely_kinds(data: bytes, path: str) -> tuple[type[GraphMessage], ...]:
    """What bytes that begin so, in a file of that name, may be, the likeliest first."""
    if data[0] == 0x08 or os.path.basename(path).startswith("saved_model."):
        return (_SAVED, _META, _GRAPH)
    return (_META, _GRAPH, _SAVED) if path.endswith(".meta") else (_GRAPH, _META, _SAVED)


# Anything but spaces and control characters: TensorFlow allows less, but what a wrong message shows here are
# lengths and field tags, which are control characters.
_WORD = re.compile(r"[^\x00-\x20\x7f]+").fullmatch


def _plausible(message: GraphMessage) -> bool:
    if isinstance(message, _SAVED):
        return len(message.meta_graphs) > 0 and all(_plausible(m) for m in message.meta_graphs)
    if isinstance(message, _META):
        return message.HasField("graph_def") and _plausible(message.graph_def)
    nodes = message.node
    count = len(nodes)
    if not count:
        known = message.HasField("versions") or message.HasField("library")
        return known and not len(UnknownFieldSet(message))
    return all(_WORD(nodes[i].name) is not None and _WORD(nodes[i].op) is not None for i in {0, count // 2, count - 1})


def _explain_bytes(data: bytes, path: str, problem: str) -> NoReturn:
    seems = seems_to_be(data)
    if seems:
        raise CorruptFile(f"{path!r} ({len(data)} bytes) is no graph file: it seems to be {seems}")
    cut = _cut_short(data)
    what = cut or (f"its bytes are damaged or of another kind ({problem})" if problem else "")
    raise CorruptFile(
        f"{path!r} ({len(data)} bytes) is no graph file, binary or text: {_EXPECTED} was expected"
        + (f"; {what}" if what else "")
    )


def _cut_short(data: bytes) -> str:
    """What to say if the message's last field is longer than the bytes that are left, else nothing."""
    try:
        for number, _, start, first, end in fields(data, 0, len(data)):
            if end > len(data) and number <= 8:  # no graph message has one above: these aren't lengths
                return (
                    f"the field that begins at byte {start} says that it has {end - first} bytes, but"
                    f" {len(data) - first} are left: the file seems cut short"
                )
    except MalformedError:
        pass
    return ""


# ---------------------------------------------------------------------------------------------------------
# Text

_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n\r\f") + b"\x7f"
_FIRST_FIELD = re.compile(r"(?:\s|#[^\n]*(?:\n|$))*([A-Za-z_]\w*)\s*[:{<\[]")
_TEXT_KINDS: dict[str, type[GraphMessage]] = {
    field.name: kind for kind in (_GRAPH, _META, _SAVED) for field in kind.DESCRIPTOR.fields
}
# Other texts that lie beside models, by their first field.
_OTHER_TEXTS = {
    "model_checkpoint_path": "the `checkpoint` state file of a folder; open the folder instead",
    "all_model_checkpoint_paths": "the `checkpoint` state file of a folder; open the folder instead",
    "item": "a label map of the object detection API",
    "model": "a pipeline configuration of the object detection API",
    "train_config": "a pipeline configuration of the object detection API",
    "op": "a list of op definitions",
    "version": "a Git LFS pointer or a list; the real file is elsewhere",
}


def is_text(data: bytes) -> bool:
    """Whether the bytes are text: UTF-8 without control characters.

    A binary graph has them: a node's `op` follows a byte 0x12, its name mostly one below 0x20.
    """
    head = data[:4096]
    if head.translate(None, _CONTROLS) != head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut in two where the head ends.
        return error.start >= len(head) - 3 and len(data) > len(head)
    return True


def _parse_text(data: bytes, path: str) -> GraphMessage:
    def fail(problem: str) -> NoReturn:
        raise CorruptFile(f"{path!r} ({len(data)} bytes of text) {problem}") from None

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(f"is not UTF-8 from byte {error.start} on; {_EXPECTED} was expected")
    first = _FIRST_FIELD.match(text)
    kind = _TEXT_KINDS.get(first[1]) if first else None
    if text.startswith("version https://git-lfs"):
        fail("is a Git LFS pointer: fetch the file that it stands for with `git lfs pull`")
    if kind is None:
        start = text.strip()[:40]
        known = first and _OTHER_TEXTS.get(first[1])
        seems = known or seems_to_be(data)
        fail(
            f"is no graph: it begins with {start!r}"
            + (f" and seems to be {seems}" if seems else f"; {_EXPECTED} as text was expected")
        )
    from google.protobuf import text_format

    message = kind()
    pool = _tensorflow_pool() if "[type.googleapis.com/" in text else None
    try:
        text_format.Parse(text, message, descriptor_pool=pool)
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        what = re.sub(r"^\d+:\d+\s*:\s*", "", str(error)).replace("graphrack.tf.", "")
        where = f"line {line}, column {column}: " if line else ""
        fail(f"is no {kind.DESCRIPTOR.name}: {where}{what}")
    except RecursionError:
        fail(f"is no {kind.DESCRIPTOR.name}: its messages are nested too deep")
    except (ValueError, TypeError, LookupError, OverflowError, DecodeError) as error:
        # What the text parser lets through of the values it sets: numbers out of range, bad escapes.
        fail(f"is no {kind.DESCRIPTOR.name}: {error}")
    if not _plausible(message):
        fail(f"reads as a {kind.DESCRIPTOR.name}, but holds no graph: nodes with names and ops were expected")
    return message


@functools.cache
def _tensorflow_pool() -> Any:
    """Our messages under TensorFlow's names, for texts that spell out an `Any` of one of its types.

    A pool of its own, so that it never meets TensorFlow's.
    """
    from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, wrappers_pb2

    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for module in (graph_pb2, metagraph_pb2):
        file = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        old, new = f".{file.package}.", ".tensorflow."
        stack: list[Message] = [file]
        while stack:
            message = stack.pop()
            for field, value in message.ListFields():
                if field.name == "type_name" and value.startswith(old):
                    message.type_name = new + value[len(old) :]  # type: ignore[attr-defined]
                elif field.message_type is not None and field.name != "options":
                    stack.extend(value)
        file.package = "tensorflow"
        pool.AddSerializedFile(file.SerializeToString())
    return pool


# ---------------------------------------------------------------------------------------------------------
# Other kinds of files

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (a Keras model or its weights): save it as a SavedModel"),
    (
        0,
        b"PK\x03\x04",
        "a zip archive (a `.keras` model, an `.npz`, a PyTorch file, a zipped SavedModel): unpack it, or save"
        " the model as a SavedModel",
    ),
    (4, b"TFL3", "a TensorFlow Lite model: open the SavedModel or graph that it was made of"),
    (0, b"\x1f\x8b", "a gzip archive: unpack it first"),
    (0, b"\xfd7zXZ", "an xz archive: unpack it first"),
    (0, b"BZh", "a bzip2 archive: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x80\x03", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"\x80\x05", "a Python pickle"),
    (0, b"\xff\xfe", "text in UTF-16: store it as UTF-8"),
    (0, b"\xfe\xff", "text in UTF-16: store it as UTF-8"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"{", "JSON"),
    (8, b'{"', "a safetensors file: values without a graph"),
)
# The last eight bytes of a table file: a checkpoint's index, or a checkpoint of version 1.
TABLE_MAGIC = table.MAGIC.to_bytes(8, "little")


def seems_to_be(data: bytes) -> str:
    """What bytes that hold no graph seem to be, and what to do with them; "" where that can't be told."""
    for at, magic, what in _MAGIC:
        if data.startswith(magic, at):
            return what
    if data.endswith(TABLE_MAGIC):
        return (
            "the index of a checkpoint, or a checkpoint of version 1: values without a graph. Give the"
            " checkpoint's prefix to gr.Checkpoint, or as `checkpoint=` beside a graph"
        )
    if _is_onnx(data):
        return "an ONNX model, which is no TensorFlow graph"
    return ""


def _is_onnx(data: bytes) -> bool:
    # ModelProto: ir_version (1, varint), producer_name (2, bytes), …, graph (7, bytes), opset_import (8)
    seen = set()
    try:
        for number, wire, *_ in itertools.islice(fields(data, 0, len(data)), 16):
            seen.add(number << 3 | wire)
    except MalformedError:
        pass
    return 0x08 in seen and 0x3A in seen and seen <= {0x08, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72}
