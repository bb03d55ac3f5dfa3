"""One graph with its own variables: what a Model holds, and what a reload replaces as a whole."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphrack.engines.choice import NUMPY, Engine
from graphrack.engines.interpreter.state import Access, ModelState
from graphrack.engines.planning import plan_for
from graphrack.formats.graph_files import ModelFile
from graphrack.graph.names import TensorName
from graphrack.graph.shared import SharedGraph

if TYPE_CHECKING:
    from graphrack.checkpoint import Checkpoint


class Instance:
    """A graph with its own variables.

    Attributes:
        file: where the graph comes from.
        graph: shared with other instances of equal bytes.
        state: the variables and resources of this one alone.
        access: which files its runs may touch (a SavedModel's assets).
        engine: what its runs use.
        checkpoint: where its values come from when it is first used; None once they are here.
        prepared: whether what loading leaves to the first use has been done.
        preparing: held while that is done.
    """

    __slots__ = ("access", "checkpoint", "engine", "file", "graph", "prepared", "preparing", "state")

    def __init__(
        self,
        file: ModelFile,
        graph: SharedGraph,
        checkpoint: Checkpoint | None,
        engine: Engine = NUMPY,
        io: bool = False,
    ):
        self.file = file
        self.engine = engine
        self.graph = graph
        self.state = ModelState()
        self.access = Access(files=frozenset(file.assets.values()), io=io)
        self.checkpoint = checkpoint
        self.prepared = checkpoint is None and file.kind == "graph def"
        self.preparing = threading.RLock()

    def prepare(self) -> None:
        """What loading left to the first use: restores the values, runs what a loader would run."""
        with self.preparing:
            if not self.prepared:
                from graphrack.restoring import run_loader

                run_loader(self)
                self.checkpoint = None
                self.prepared = True

    def execute(
        self, fetches: Sequence[TensorName | str], feeds: Mapping[TensorName, Any], access: Access | None = None
    ) -> list[Any]:
        """Runs nodes that belong to loading, initialising or saving.

        What has an access of its own, which lets it write files, is run by the interpreter, whatever the engine.
        """
        graph, names = self.graph, tuple(feeds)
        engine = self.engine if access is None else NUMPY
        plan = graph.once(("plan", engine, tuple(fetches), names), lambda: plan_for(graph, engine, fetches, names))
        return self.state.execute(plan, list(feeds.values()), access or self.access)
