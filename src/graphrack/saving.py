"""Models to files: what `Model.save` writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack.engines.interpreter.plan import uninitialized
from graphrack.engines.interpreter.state import Access
from graphrack.formats.bundle_writer import BundleWriter, merge_bundles
from graphrack.formats.checkpoint_names import exists, prefix_of
from graphrack.formats.checkpoint_state import read_state, write_state
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef
from graphrack.formats.safe_write import atomic_write
from graphrack.graph.saver import with_saver

if TYPE_CHECKING:
    from graphrack.instance import Instance


def save(instance: Instance, prefix: str | os.PathLike[str], global_step: Any) -> str:
    """What `Model.save` does; gives the prefix."""
    path = os.fspath(prefix)
    if global_step is not None:
        path = f"{path}-{int(np.asarray(global_step))}"
    save_values(instance, path)
    atomic_write(path + ".meta", meta_graph(instance).SerializeToString())
    _record(path)
    return path


def _record(path: str) -> None:
    """Makes a checkpoint the latest of its folder's state file, after those that are still there."""
    folder = os.path.dirname(path) or os.curdir
    state = read_state(folder)
    older = [p for p in state.paths if p != path and exists(prefix_of(p))] if state is not None else []
    write_state(folder, path, [*older, path], relative=state is not None and state.relative)


def save_values(instance: Instance, path: str) -> None:
    """Writes the variables' values as the checkpoint of a prefix, by the graph's own save nodes."""
    graph, state = instance.graph, instance.state
    saver = graph.saver
    if saver is not None and saver.save is not None:
        filename = {saver.filename: np.array(path.encode(errors="surrogateescape"), object)}
        (written,) = instance.execute([saver.save], filename, Access(write_prefix=path))
        name = os.fsdecode(written) if isinstance(written, bytes) else path
        if name != path and prefix_of(name) == path:
            # The shards of an old Saver, each written as a V2 checkpoint: they become those of one.
            count = int(name[-5:])
            merge_bundles([f"{path}-{i:05d}-of-{count:05d}" for i in range(count)], path)
        return
    values = state.values
    missing = [v for v in graph.index.variables.values() if v.key not in values]
    if missing:
        raise uninitialized(v.name for v in missing)
    with BundleWriter(path) as writer:
        for variable in sorted(graph.index.variables.values()):
            writer.add(variable.name, np.asarray(values[variable.key]))


def meta_graph(instance: Instance) -> MetaGraphDef:
    """The model's MetaGraph; a graph that has no Saver gets one, so that TensorFlow can restore it."""
    graph = instance.graph
    result = MetaGraphDef()
    if graph.meta_graph is not None:
        result.CopyFrom(graph.meta_graph)
    else:
        result.graph_def.CopyFrom(instance.file.graph_def)
    if not result.saver_def.restore_op_name:
        if graph.saver is not None:
            result.saver_def.filename_tensor_name = str(graph.saver.filename)
            result.saver_def.save_tensor_name = str(graph.saver.save or "")
            result.saver_def.restore_op_name = graph.saver.restore
            result.saver_def.version = result.saver_def.V2
        elif graph.index.variables:
            extended, definition = with_saver(result.graph_def, graph.index.variables.values())
            result.graph_def.CopyFrom(extended)
            result.saver_def.CopyFrom(definition)
    return result
