"""Graphs that several models share: equal bytes are indexed, decoded and planned once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from graphrack.formats.graph_files import ModelFile
from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef
from graphrack.graph.index import GraphIndex
from graphrack.graph.saver import Restored, SaverNodes, restored_by, saver_nodes

_T = TypeVar("_T")

# Plans of one graph: a caller that makes up ever new fetches must not fill the memory.
_MAX_KEPT = 512


class SharedGraph:
    """A graph, immutable from here on, and what has been worked out about it.

    Attributes:
        index: of the graph with its function calls inlined.
        meta_graph: what wraps it, or None.
        kept: whatever was worked out once for the graph (plans, predictions) by key.
    """

    def __init__(self, graph_def: GraphDef, meta_graph: MetaGraphDef | None):
        if graph_def.library.function:
            from graphrack.graph.functions import inline_functions

            graph_def = inline_functions(graph_def)
        self.index = GraphIndex(graph_def)
        self.meta_graph = meta_graph
        self.kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` gives, worked out once per key."""
        found = self.kept.get(key)
        if found is None:
            if len(self.kept) >= _MAX_KEPT:
                self.kept.clear()
            found = self.kept[key] = make()
        return found  # type: ignore[no-any-return]

    def memory(self) -> int:
        """Bytes of what `release` lets go of: constants that have been decoded."""
        return sum(getattr(value, "nbytes", 0) for value in list(self.index.constants.values()))

    def release(self) -> None:
        """Lets go of plans and decoded constants; they are made anew when needed."""
        self.kept.clear()
        self.index.constants.clear()

    @cached_property
    def saver(self) -> SaverNodes | None:
        """The nodes by which the graph saves and restores itself."""
        definition = self.meta_graph.saver_def if self.meta_graph is not None else None
        return saver_nodes(self.index, definition)

    @cached_property
    def restored(self) -> list[Restored]:
        """What the graph's own Saver restores."""
        return restored_by(self.index, self.saver) if self.saver is not None else []


_shared: WeakValueDictionary[tuple[str, tuple[str, ...]], SharedGraph] = WeakValueDictionary()
_lock = threading.Lock()


def shared_graph(file: ModelFile) -> SharedGraph:
    """The graph of a file, shared with every live model whose file has the same bytes."""
    tags = tuple(file.meta_graph.meta_info_def.tags) if file.meta_graph is not None else ()
    key = (file.digest, tags)
    found = _shared.get(key)
    if found is None:
        made = SharedGraph(file.graph_def, file.meta_graph)
        with _lock:
            found = _shared.setdefault(key, made)
    return found
