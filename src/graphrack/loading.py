"""From a path to a model."""

from __future__ import annotations

import os
from collections.abc import Iterable

from graphrack.checkpoint import Checkpoint
from graphrack.engines.choice import checked
from graphrack.formats.graph_files import open_model_file
from graphrack.graph.shared import shared_graph
from graphrack.instance import Instance
from graphrack.model import Model

_ALLOWED = frozenset(("io",))


def load(
    path: str | os.PathLike[str],
    *,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    tags: str | Iterable[str] | None = None,
    engine: str = "auto",
    precision: str = "f32",
    mapped: bool = True,
    name: str | None = None,
    allow: str | Iterable[str] = (),
) -> Model:
    """Opens a model: the graph, and where to take its variables' values from.

    Nothing of the graph runs and no tensor is read until the model is used; devices written in the
    graph are ignored. Nothing global is left behind.

    Attributes:
        path: a checkpoint's prefix that has a `.meta`, V2 or V1; a `.meta` file; a folder with a
            `checkpoint` state file (its latest checkpoint) or with a SavedModel; a GraphDef, `.pb` or `.pbtxt`.
        checkpoint: another checkpoint to take the values from: a prefix, or a `Checkpoint`.
        tags: which MetaGraph of a SavedModel, where there are several.
        engine: what runs it. `"numpy"`: the interpreter alone; `"auto"`: the interpreter, and OpenVINO for dense
            regions where that pays; `"openvino"`: as much as possible in OpenVINO, compiled at once.
            `"tensorflow"` runs all in a `tf.compat.v1` session of the model's own (`graphrack[tensorflow]`).
            `"auto"` turns to TensorFlow, where that is installed, for runs that need ops which graphrack lacks,
            and says so once (`FallbackWarning`).
        precision: what clusters that OpenVINO runs compute in: `"f32"`, or `"bf16"`, which keeps 8 bits of
            precision and is faster on processors that have it; on others, and in the interpreter, it
            changes nothing.
        mapped: map the values from the file (copy-on-write), or read them. A mapped file that another
            program truncates in place can kill the process; one that it replaces can't.
        name: for messages; the file's name if not given.
        allow: what the graph may do outside of the model: `{"io"}`, read and write files as its ops say, with the
            rights of this process. Otherwise such ops are refused before anything runs, other than the Saver's
            own and those on a SavedModel's assets.

    Raises:
        FileError: nothing is there, or it is a part of something; the message says what to open.
        CorruptFile, CorruptCheckpoint: a file's bytes are not what its format says.
        ValueError: an engine, a precision, or something to allow, that there isn't.
        MissingDependency: the engine is TensorFlow, which isn't installed.
    """
    chosen = checked(engine, precision)
    allowed = {allow} if isinstance(allow, str) else set(allow)
    if not allowed <= _ALLOWED:
        raise ValueError(f"allow={sorted(allowed - _ALLOWED)} doesn't exist; there is: {', '.join(sorted(_ALLOWED))}")
    if name is None:
        name = os.path.basename(os.path.abspath(path)).removesuffix(".meta")

    def opened() -> Instance:
        file = open_model_file(path, tags=tags)
        graph = shared_graph(file)
        values: Checkpoint | None = None
        source = checkpoint if checkpoint is not None else file.prefix
        if source is not None and graph.index.variables:
            values = source if isinstance(source, Checkpoint) else Checkpoint(source, mapped=mapped)
        return Instance(file, graph, values, chosen, "io" in allowed)

    return Model(opened(), name, opened)
