"""Opening a model: which file holds the graph, which checkpoint its values, whatever path is given.

    given                                    graph from                    values by convention from
    prefix `m`                               `m.meta`                      `m`
    `m.meta`                                 it                            `m`, where that checkpoint is
    folder with a `checkpoint` file          the latest checkpoint's .meta the latest checkpoint
    folder with `saved_model.pb` or .pbtxt   it                            its `variables/variables`
    any other file                           it, by its contents           nowhere, unless it is a SavedModel

A checkpoint is `m.index` with `m.data-?????-of-?????` (V2), or one file `m`, or shards `m-?????-of-?????`
(V1). Nothing here runs a graph or opens a checkpoint.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal
from weakref import WeakSet, WeakValueDictionary

import numpy as np

from graphrack.errors import CorruptFile, FileError
from graphrack.formats.checkpoint_names import SHARD, STATE_FILE, prefix_of, v1_files
from graphrack.formats.checkpoint_state import latest_checkpoint, read_state
from graphrack.formats.outline import Outline, filled, read_outline
from graphrack.formats.proto_files import (
    MAX_MESSAGE_BYTES,
    TABLE_MAGIC,
    GraphMessage,
    explain_missing,
    is_text,
    likely_kinds,
    parse_graph_message,
    read_bytes,
    read_file,
)
from graphrack.formats.protos import graph_pb2, metagraph_pb2
from graphrack.formats.saved_model import saved_meta_graph, saved_model_file

__all__ = ["ModelFile", "checkpoint_exists", "made_in_memory", "open_model_file", "read_graph_def", "read_meta_graph"]


Kind = Literal["meta graph", "graph def", "saved model"]


class Parsed:
    """The messages of a file. Files of equal bytes share them while they are in use.

    Attributes:
        digest: as a ModelFile's.
        contents: what long constants hold that say where their bytes lie; None where they are in the messages.
        part_of: what stays in memory with it, and is found by the next that opens the file.
    """

    __slots__ = ("__weakref__", "_whole", "contents", "digest", "graph_def", "message", "meta_graph", "part_of")

    def __init__(self, message: GraphMessage, digest: str, contents: np.ndarray[Any, Any] | None = None):
        self.message = message
        self.digest = digest
        self.contents = contents
        self.part_of: Parsed | None = None
        self._whole: Callable[[], Parsed | None] = lambda: None
        self.meta_graph = message if isinstance(message, metagraph_pb2.MetaGraphDef) else None
        if isinstance(message, graph_pb2.GraphDef):
            self.graph_def = message
        elif self.meta_graph is not None:
            self.graph_def = self.meta_graph.graph_def

    def whole(self) -> Parsed:
        """The messages with all that constants hold."""
        if self.contents is None:
            return self
        found = self._whole()
        if found is None:
            found = Parsed(filled(self.message, self.contents), self.digest)
            self._whole = weakref.ref(found)
        return found


# Messages take several times the room of their bytes, and once a graph's plans are made nobody looks at
# them: of small files the bytes are kept, and parsed again where they are needed again. (They are kept, and
# not read again, because the file may have been replaced.) The last few stay parsed.
_SMALL_BYTES = 1 << 20
# Enough to tell text from bytes, and kinds of messages.
_HEAD_BYTES = 1 << 13
_recent: deque[Parsed] = deque(maxlen=8)

# By digest and by the file's ending, which has a say in what the bytes are taken for.
_parsed: WeakValueDictionary[tuple[str, str], Parsed] = WeakValueDictionary()
_outlines: WeakSet[Parsed] = WeakSet()
_lock = threading.Lock()

_made = itertools.count(1)


def _parse(data: bytes, path: str, digest: str) -> Parsed:
    key = (digest, os.path.splitext(path)[1])
    found = _parsed.get(key)
    if found is None:
        found = _parsed.setdefault(key, Parsed(parse_graph_message(data, path), digest))
        _recent.append(found)
    return found


def _parse_outline(outline: Outline, path: str) -> Parsed:
    # Contents are compared with those of files that are in use: to compute their digest would take longer than
    # all the rest, and mostly there is nothing to compare with.
    digest = f"{hashlib.sha256(outline.data).hexdigest()}{os.path.splitext(path)[1]}+"
    with _lock:  # or two that open one file at the same time would each find nothing
        for known in _outlines:
            if known.digest.startswith(digest) and known.contents is not None and outline.holds(known.contents):
                return known
        parsed = Parsed(parse_graph_message(outline.data, path), f"{digest}{next(_made)}", outline.contents)
        _outlines.add(parsed)
    return parsed


def _read(path: str) -> bytes | Outline:
    """The bytes of a file; of a large one with long constants, its outline. Raises as `read_bytes`."""
    return read_file(path, lambda file: _read_open(path, file))


def _read_open(path: str, file: BinaryIO) -> bytes | Outline:
    size = os.fstat(file.fileno()).st_size
    if _SMALL_BYTES < size <= MAX_MESSAGE_BYTES:
        head = file.read(_HEAD_BYTES)
        outline = None if is_text(head) else read_outline(file, likely_kinds(head, path)[0])
        if outline is not None:
            return outline
        file.seek(0)
    return file.read()


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """A graph from a file, and what the file says or its place implies about values and assets."""

    kind: Kind
    path: str
    """The file that holds the graph; of one made in memory, the file of the graph that it was made from."""
    prefix: str | None
    """Of the checkpoint to restore from by convention; `None` where there is none."""
    assets: dict[str, str]
    """Tensor name to the absolute path of the file that a SavedModel's loader feeds it."""
    digest: str
    """Equal digests, equal graphs: SHA-256 of the graph file's bytes; of a file read as its outline, one more
    number, which this process alone knows."""
    tf_version: str | None
    """The version of TensorFlow that wrote the file; `None` where it isn't written."""
    tags: tuple[str, ...]
    """Of the MetaGraph."""
    _source: bytes | Parsed
    """The bytes of a small file, the messages of a large one."""

    def outline(self) -> Parsed:
        """The file's messages; if it is large, without what long constants hold, which is beside them.

        Look at them, but don't change them, and don't keep them longer than needed.
        """
        source = self._source
        return source if isinstance(source, Parsed) else _parse(source, self.path, self.digest)

    @property
    def contents(self) -> np.ndarray[Any, Any] | None:
        """The long constants' bytes that `outline` leaves out; they stay in memory with the file. None: nothing."""
        return self._source.contents if isinstance(self._source, Parsed) else None

    def parsed(self) -> Parsed:
        """The file's messages, whole: as `outline`, but much longer in the making where that leaves something out."""
        return self.outline().whole()

    @property
    def graph_def(self) -> graph_pb2.GraphDef:
        """The graph."""
        return self.parsed().graph_def

    @property
    def meta_graph(self) -> metagraph_pb2.MetaGraphDef | None:
        """What wraps the graph; `None` for a bare GraphDef."""
        return self.parsed().meta_graph


def read_graph_def(path: str | os.PathLike[str]) -> graph_pb2.GraphDef:
    """The graph in a file: that of a GraphDef, a MetaGraphDef, or a SavedModel with one MetaGraph.

    Raises `FileError` for a missing file and `CorruptFile` for one that holds no graph.
    """
    path = os.fspath(path)
    message = parse_graph_message(read_bytes(path), path)
    return message if isinstance(message, graph_pb2.GraphDef) else _meta_graph(message, path).graph_def


def read_meta_graph(path: str | os.PathLike[str]) -> metagraph_pb2.MetaGraphDef:
    """The MetaGraphDef in a file, or that of a SavedModel with one MetaGraph.

    Raises `FileError` for a missing file and `CorruptFile` for one that holds none.
    """
    path = os.fspath(path)
    message = parse_graph_message(read_bytes(path), path)
    if isinstance(message, graph_pb2.GraphDef):
        raise CorruptFile(f"{path!r} holds a bare GraphDef; a MetaGraphDef (a `.meta` file) was expected")
    return _meta_graph(message, path)


def _meta_graph(
    message: metagraph_pb2.MetaGraphDef | metagraph_pb2.SavedModel, path: str
) -> metagraph_pb2.MetaGraphDef:
    if isinstance(message, metagraph_pb2.MetaGraphDef):
        return message
    if len(message.meta_graphs) != 1:
        raise CorruptFile(
            f"{path!r} holds a SavedModel of {len(message.meta_graphs)} MetaGraphs; one was expected:"
            " read_saved_model(folder, tags) chooses among them"
        )
    return message.meta_graphs[0]


def open_model_file(path: str | os.PathLike[str], *, tags: str | Iterable[str] | None = None) -> ModelFile:
    """The graph behind any path that names a model, as the table at the top of this module says.

    `tags` chooses among a SavedModel's MetaGraphs. A path that is both a checkpoint's prefix and a folder is
    the prefix, unless it ends in a slash.

    Raises `FileError` (nothing there, or a file that is a part of something: the message says which and what
    to open instead; `tags` for what isn't a SavedModel), `CorruptFile`, and what `read_saved_model` raises.
    """
    path = os.fspath(path)
    file = _open(prefix_of(os.fsdecode(path) if isinstance(path, bytes) else path), tags)
    if tags is not None and file.kind != "saved model":
        raise FileError(
            f"{file.path!r} holds a {file.kind}; tags={tags!r} has no meaning for it: only SavedModels have tags"
        )
    return file


def _open(path: str, tags: str | Iterable[str] | None) -> ModelFile:
    # The commonest first: a prefix with its .meta takes two system calls here.
    if not path.endswith((".meta", ".pb", ".pbtxt", "/", os.sep)):
        data = _read_if_there(path + ".meta")
        if data is not None:
            return _from_data(path + ".meta", data, tags)
    if os.path.isdir(path):
        return _from_folder(path, tags)
    if os.path.isfile(path):
        return _from_file(path, tags)
    data = _read_if_there(path + ".meta")  # of a prefix such as `graph.pb`
    if data is not None:
        return _from_data(path + ".meta", data, tags)
    raise _values_alone(path) if checkpoint_exists(path) else explain_missing(path)


def checkpoint_exists(prefix: str) -> bool:
    """Whether a checkpoint of that prefix lies there, V2 or V1, or parts of a V1 one. Nothing of it is read."""
    if os.path.exists(prefix + ".index"):
        return True
    try:
        return bool(v1_files(prefix))
    except FileError:  # shards are missing: opening it will say which
        return True


def _read_if_there(path: str) -> bytes | Outline | None:
    try:
        with open(path, "rb") as file:
            return _read_open(path, file)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None
    except OSError as error:
        raise FileError(f"{path!r} cannot be read: {error}") from None


def _from_data(path: str, data: bytes | Outline, tags: str | Iterable[str] | None) -> ModelFile:
    """What a file's bytes hold, and the checkpoint that its name implies."""
    source: bytes | Parsed
    if isinstance(data, Outline):
        try:
            source = parsed = _parse_outline(data, path)
        except CorruptFile:
            parsed = None
        if parsed is None or not isinstance(parsed.message, data.kind):  # what all of the bytes are will tell
            return _from_data(path, read_bytes(path), tags)
        digest = parsed.digest
    else:
        digest = hashlib.sha256(data).hexdigest()
        parsed = _parse(data, path, digest)
        source = data if len(data) <= _SMALL_BYTES else parsed
    message = parsed.message
    if isinstance(message, metagraph_pb2.SavedModel):
        saved = saved_meta_graph(message, path, tags, digest)
        own = Parsed(saved.meta_graph, saved.digest, parsed.contents)
        own.part_of = parsed
        return _model_file("saved model", path, saved.prefix, saved.assets, saved.digest, own, own)
    prefix = path[: -len(".meta")] if path.endswith(".meta") else None
    if prefix is not None and not checkpoint_exists(prefix):
        prefix = None
    kind: Kind = "graph def" if parsed.meta_graph is None else "meta graph"
    return _model_file(kind, path, prefix, {}, digest, parsed, source)


def _model_file(
    kind: Kind,
    path: str,
    prefix: str | None,
    assets: dict[str, str],
    digest: str,
    parsed: Parsed,
    source: bytes | Parsed,
) -> ModelFile:
    info = parsed.meta_graph.meta_info_def if parsed.meta_graph is not None else None
    version = (info.tensorflow_version or None) if info is not None else None
    tags = tuple(info.tags) if info is not None else ()
    return ModelFile(kind, path, prefix, assets, digest, version, tags, source)


def made_in_memory(
    message: metagraph_pb2.MetaGraphDef, like: ModelFile, assets: dict[str, str] | None = None
) -> ModelFile:
    """A graph that lies in no file, made from that of another. It stays in memory as long as the ModelFile.

    `message` must not change any more; `assets` are as in `ModelFile`.
    """
    # No other graph has this digest: graphs made in memory are not looked over for equal ones.
    digest = f"made in memory {next(_made)}"
    parsed = Parsed(message, digest)
    kind: Kind = "saved model" if like.kind == "saved model" else "meta graph"
    return _model_file(kind, like.path, None, assets or {}, digest, parsed, parsed)


def _from_file(path: str, tags: str | Iterable[str] | None) -> ModelFile:
    folder, name = os.path.split(path)
    if name == STATE_FILE:
        return _from_folder(folder or ".", tags)
    if name.endswith(".index"):
        raise _values_alone(path.removesuffix(".index"), f"{path!r} is the index of a checkpoint, no graph")
    shard = SHARD.fullmatch(path)
    if shard is not None:
        prefix = shard["prefix"].removesuffix(".data")
        what = "a shard of a checkpoint of version 1" if prefix == shard["prefix"] else "values of a checkpoint"
        raise _values_alone(prefix, f"{path!r} is {what}, no graph")
    data = _read(path)
    if isinstance(data, bytes) and data.endswith(TABLE_MAGIC):
        raise _values_alone(path)
    return _from_data(path, data, tags)


def _values_alone(prefix: str, found: str = "") -> FileError:
    """The error for a checkpoint, or a part of one, where a graph is needed."""
    if os.path.exists(prefix + ".meta"):
        return FileError(f"{found}; open its prefix: gr.load({prefix!r})")
    found = found or f"{prefix!r} is a checkpoint's prefix without a graph"
    return FileError(
        f"{found}, and {prefix + '.meta'!r} does not exist. Its values alone can be used by"
        f" gr.Checkpoint({prefix!r}); to run it give a graph:"
        f" gr.load('graph.pb', checkpoint={prefix!r}), a .pbtxt or another checkpoint's .meta will do as well"
    )


def _from_folder(folder: str, tags: str | Iterable[str] | None) -> ModelFile:
    path = saved_model_file(folder)
    if path is not None:
        return _from_data(path, _read(path), tags)
    if not os.path.isfile(os.path.join(folder, STATE_FILE)):
        raise _no_model_in(folder)
    prefix = latest_checkpoint(folder)
    if prefix is None:
        state = read_state(folder)
        named = f"names {state.latest!r} as the latest checkpoint, which is not there" if state else "is gone"
        raise FileError(f"the state file {os.path.join(folder, STATE_FILE)!r} {named}; give another's prefix")
    data = _read_if_there(prefix + ".meta")
    if data is not None:
        return _from_data(prefix + ".meta", data, tags)
    others = sorted(glob.glob(os.path.join(glob.escape(folder), "*.meta")))
    if others:
        raise FileError(
            f"the latest checkpoint in {folder!r} is {prefix!r}, which has no graph beside it"
            f" ({prefix + '.meta'!r} does not exist); another's may fit:"
            f" gr.load({others[-1]!r}, checkpoint={prefix!r})"
        )
    raise _values_alone(prefix)


def _no_model_in(folder: str) -> FileError:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        return FileError(f"{folder!r} cannot be read: {error}")
    hints = [os.path.join(folder, n) for n in names if saved_model_file(os.path.join(folder, n))]
    hints += [os.path.join(folder, n.removesuffix(".meta")) for n in names if n.endswith(".meta")]
    hints += [os.path.join(folder, n) for n in names if n.endswith((".pb", ".pbtxt"))]
    expected = "neither a `checkpoint` state file nor a saved_model.pb or .pbtxt"
    if hints:
        more = f" and {len(hints) - 5} more" if len(hints) > 5 else ""
        return FileError(
            f"the folder {folder!r} holds {expected}; these in it can be opened:"
            f" {', '.join(repr(h) for h in hints[:5])}{more}"
        )
    if "saved_model.cpb" in names:
        return FileError(
            f"the SavedModel in {folder!r} is split into chunks (saved_model.cpb), which cannot be read; save"
            " it without the option `experimental_image_format`"
        )
    found = f"it holds {', '.join(repr(n) for n in names[:5])}" if names else "it is empty"
    return FileError(f"the folder {folder!r} holds {expected}; {found}")
