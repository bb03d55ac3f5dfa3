"""Graphs that several models share: equal bytes are indexed, decoded and planned once."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from graphrack.formats.graph_files import ModelFile, Parsed
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef
from graphrack.graph.index import GraphIndex
from graphrack.graph.saver import Restored, SaverNodes, restored_by, saver_nodes

_T = TypeVar("_T")

# Plans of one graph: a caller that makes up ever new fetches must not fill the memory.
_MAX_KEPT = 512

# Indexes hold their graph's messages; the last few stay, for the next look.
_recent: deque[GraphIndex] = deque(maxlen=8)


class SharedGraph:
    """A graph, immutable from here on, and what has been worked out about it.

    Attributes:
        kept: whatever was worked out once for the graph (plans, predictions) by key. It must not refer to
            the graph's messages, which are let go of when nobody looks at them.
    """

    def __init__(self, file: ModelFile):
        self.kept: dict[Hashable, Any] = {}
        self._file = file
        self._index: Callable[[], GraphIndex | None] = lambda: None

    @property
    def index(self) -> GraphIndex:
        """Of the graph with its function calls inlined. Don't hold on to it.

        Its nodes are for looking: what long constants hold isn't in them, but `index.constant` has it.
        """
        found = self._index()
        if found is None:
            found = _indexed(self._file.outline())
            if self._file.contents is not None:  # which stay in memory with the file, and with nothing else
                self._index = lambda: found
            else:
                self._index = weakref.ref(found)
                _recent.append(found)
        return found

    @property
    def whole_index(self) -> GraphIndex:
        """The same of nodes that hold all there is, to make other graphs of. It may be made anew each time."""
        return self.index if self._file.contents is None else _indexed(self._file.parsed())

    @property
    def meta_graph(self) -> MetaGraphDef | None:
        """What wraps the graph, or None; the graph in it is for looking, as `index` is. Don't hold on to it."""
        return self._file.outline().meta_graph

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` gives, worked out once per key."""
        found = self.kept.get(key)
        if found is None:
            if len(self.kept) >= _MAX_KEPT:
                self.kept.clear()
            found = self.kept[key] = make()
        return found

    def memory(self) -> int:
        """Bytes of what `release` lets go of: the constants that plans hold."""
        stays = self._file.contents
        arrays = {id(a): a for kept in list(self.kept.values()) for a in getattr(kept, "arrays", tuple)()}
        return sum(a.nbytes for a in arrays.values() if stays is None or not np.may_share_memory(a, stays))

    def programs(self) -> list[Any]:
        """What plans have had compiled beyond themselves; see `Plan.programs`."""
        found = {id(p): p for kept in list(self.kept.values()) for p in getattr(kept, "programs", tuple)()}
        return list(found.values())

    def release(self) -> None:
        """Lets go of plans and decoded constants; they are made anew when needed."""
        self.kept.clear()
        index = self._index()
        if index is not None:
            index.constants.clear()

    @cached_property
    def saver(self) -> SaverNodes | None:
        """The nodes by which the graph saves and restores itself."""
        meta_graph = self.meta_graph
        definition = meta_graph.saver_def if meta_graph is not None else None
        return saver_nodes(self.index, definition)

    @cached_property
    def restored(self) -> list[Restored]:
        """What the graph's own Saver restores."""
        return restored_by(self.index, self.saver) if self.saver is not None else []


def _indexed(parsed: Parsed) -> GraphIndex:
    graph_def = parsed.graph_def
    if graph_def.library.function:
        from graphrack.graph.functions import inline_functions

        # Ops of other builds of TensorFlow bring their definitions along.
        meta_graph = parsed.meta_graph
        own = meta_graph.meta_info_def.stripped_op_list.op if meta_graph is not None else ()
        graph_def = inline_functions(graph_def, ops=own)
    return GraphIndex(graph_def, keeps=parsed, contents=parsed.contents)


_shared: WeakValueDictionary[tuple[str, tuple[str, ...]], SharedGraph] = WeakValueDictionary()
_lock = threading.Lock()


def shared_graph(file: ModelFile) -> SharedGraph:
    """The graph of a file, shared with every live model whose file has the same bytes."""
    key = (file.digest, file.tags)
    found = _shared.get(key)
    if found is None:
        made = SharedGraph(file)
        with _lock:
            found = _shared.setdefault(key, made)
    return found
