"""Models to files: what `Model.save` writes, and `Saver` of a model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphrack.engines.interpreter.plan import uninitialized
from graphrack.engines.interpreter.state import Access
from graphrack.errors import FileError, UnknownName, closest
from graphrack.formats.bundle_writer import BundleWriter, merge_bundles
from graphrack.formats.checkpoint_names import exists, files_of, prefix_of
from graphrack.formats.checkpoint_state import record_checkpoint
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef, VariableDef
from graphrack.formats.safe_write import atomic_write, folder_lock, folder_of, remove, sync_folder
from graphrack.graph.index import Variable
from graphrack.graph.names import parse_tensor
from graphrack.graph.saver import add_saver, with_saver

if TYPE_CHECKING:
    from graphrack.instance import Instance

Names = Mapping[str, str] | Collection[str] | None
"""What to save: all, these variables, or variables under other names (saved name to variable name)."""


class Saved(NamedTuple):
    """A variable to save: under which name, and which part of the tensor of that name it is (empty: all)."""

    variable: Variable
    name: str
    spec: str


def save(instance: Instance, prefix: str | os.PathLike[str], global_step: Any) -> str:
    """What `Model.save` does; gives the prefix."""
    path = numbered(prefix, global_step)
    with whole_or_nothing(path):
        save_values(instance, path)
        atomic_write(path + ".meta", meta_graph(instance).SerializeToString())
        record_checkpoint(path)
    return path


def numbered(prefix: str | os.PathLike[str], global_step: Any) -> str:
    """The prefix of a step's checkpoint: `model-1000`; without a step, the prefix as it is.

    Raises:
        ValueError: the step is no integer.
    """
    path = os.fspath(prefix)
    if global_step is None:
        return path
    step = np.asarray(global_step)
    if step.dtype.kind not in "iu" or step.size != 1:
        raise ValueError(f"global_step is {global_step!r}; expected an integer, as 1000")
    return f"{path}-{int(step.reshape(()))}"


@contextlib.contextmanager
def whole_or_nothing(path: str) -> Iterator[None]:
    """Removes what was written of a checkpoint that wasn't there before, where the block fails.

    What was there is left to the writers, each of which replaces its file in one step.
    """
    before = None if exists(path) else set(files_of(path))
    try:
        yield
    except Exception:
        if before is not None and exists(path):
            with contextlib.suppress(FileError), folder_lock(folder_of(path)):
                remove_files(path, before)
        raise


def remove_files(path: str, keep: Collection[str] = ()) -> list[str]:
    """Removes a checkpoint's files and its graph's; gives those that can't be. The folder's lock is held."""
    files = [file for file in files_of(path) if file not in keep]
    for file in files:
        remove(file)
        if file.endswith(".index"):
            sync_folder(folder_of(path))  # no index may outlive its data
    return [file for file in files if os.path.lexists(file)]


def save_values(instance: Instance, path: str, names: Names = None) -> None:
    """Writes variables' values as the checkpoint of a prefix: by the graph's own save nodes, or those that `names` say.

    All values are those of one moment, whatever other threads run meanwhile.
    """
    graph, state = instance.graph, instance.state
    saver = graph.saver
    if names is None and saver is not None and saver.save is not None:
        filename = {saver.filename: np.array(path.encode(errors="surrogateescape"), object)}
        (written,) = instance.execute([saver.save], filename, Access(write_prefix=path))
        name = os.fsdecode(written) if isinstance(written, bytes) else path
        if name != path and prefix_of(name) == path:
            # The shards of an old Saver, each written as a V2 checkpoint: they become those of one.
            count = int(name[-5:])
            merge_bundles([f"{path}-{i:05d}-of-{count:05d}" for i in range(count)], path)
        return
    if names is None:
        chosen = [Saved(variable, variable.name, "") for variable in graph.index.variables.values()]
    else:
        chosen = named(instance, names)
    values = state.values
    missing = [saved.variable for saved in chosen if saved.variable.key not in values]
    if missing:
        raise uninitialized(v.name for v in missing)
    with BundleWriter(path) as writer:
        for saved in sorted(chosen, key=lambda s: (s.name.encode("utf-8", "surrogateescape"), s.variable.name)):
            writer.add_slice(saved.name, saved.spec, np.asarray(values[saved.variable.key]))


def named(instance: Instance, names: Mapping[str, str] | Collection[str]) -> list[Saved]:
    """The variables that `names` choose. A partitioned variable goes by the name of the whole, or by its parts'.

    Raises:
        UnknownName: one of the names is no variable's.
        ValueError: there are none, or one variable has two names.
    """
    variables = instance.graph.index.variables
    parts = _parts(instance.graph.meta_graph)
    wholes: dict[str, list[str]] = {}
    for part, (whole, _) in parts.items():
        if part in variables:
            wholes.setdefault(whole, []).append(part)
    found: dict[Saved, None] = {}
    pairs = names.items() if isinstance(names, Mapping) else ((None, name) for name in names)
    for new, given in pairs:
        name = given if given in variables else given.removesuffix(":0")
        if name in variables:
            # A list names a part by the tensor that it is a part of, as TensorFlow has it.
            saved, spec = (new, "") if new is not None else parts.get(name, (name, ""))
            found[Saved(variables[name], saved, spec)] = None
        elif name in wholes:
            for part in wholes[name]:
                found[Saved(variables[part], name if new is None else new, parts[part][1])] = None
        else:
            known = [*variables, *wholes]
            raise UnknownName(f"names has {given!r}, which is no variable of the model{closest(given, known)}")
    if not found:
        raise ValueError("names is empty: it chooses the variables to save; leave it out to save all")
    saved_as: dict[str, str] = {}
    for variable, name, _ in found:
        if saved_as.setdefault(variable.name, name) != name:
            raise ValueError(f"names has variable {variable.name!r} twice, as {saved_as[variable.name]!r} and {name!r}")
    return list(found)


def _parts(meta_graph: MetaGraphDef | None) -> dict[str, tuple[str, str]]:
    """The graph's parts of partitioned variables: name to the whole's name and which part it is."""
    found: dict[str, tuple[str, str]] = {}
    for collection in meta_graph.collection_def.values() if meta_graph is not None else ():
        for data in collection.bytes_list.value:
            try:
                definition = VariableDef.FromString(data)
            except Exception:  # a collection of other messages
                continue
            part = definition.save_slice_info_def
            if definition.variable_name and part.full_name:
                extents = ":".join(f"{o},{n}" for o, n in zip(part.var_offset, part.var_shape, strict=False))
                spec = " ".join([*map(str, part.full_shape), extents])
                found[parse_tensor(definition.variable_name).op] = (part.full_name, spec)
    return found


def meta_graph(instance: Instance) -> MetaGraphDef:
    """The model's MetaGraph; a graph that has no Saver gets one, so that TensorFlow can restore it."""
    graph = instance.graph
    result = MetaGraphDef()
    whole = instance.file.parsed()
    if whole.meta_graph is not None:
        result.CopyFrom(whole.meta_graph)
    else:
        result.graph_def.CopyFrom(whole.graph_def)
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


def meta_graph_of(instance: Instance, chosen: Iterable[Saved]) -> MetaGraphDef:
    """The model's MetaGraph with a Saver of these variables under these names."""
    result = meta_graph(instance)
    chosen = list(chosen)
    stored = {saved.variable.name: (saved.name, saved.spec) for saved in chosen}
    result.saver_def.CopyFrom(add_saver(result.graph_def, [saved.variable for saved in chosen], stored))
    return result
