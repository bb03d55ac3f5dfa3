"""Models to files of a form that the caller names: what `Model.export` writes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack.deriving import current_values
from graphrack.engines.interpreter.plan import uninitialized
from graphrack.errors import FileError, GraphError
from graphrack.formats.bundle_writer import BundleWriter
from graphrack.formats.coding import varint
from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.formats.protos.metagraph_pb2 import AssetFileDef, MetaGraphDef
from graphrack.formats.safe_write import (
    TemporaryFile,
    TemporaryFolder,
    atomic_write,
    folder_lock,
    folder_of,
    reporting,
    sweep,
    sync_folder,
)
from graphrack.graph import interface
from graphrack.graph.carry import tensor_info
from graphrack.graph.freeze import check_size
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import parse_input
from graphrack.graph.saver import with_saver
from graphrack.saving import meta_graph, save_values

if TYPE_CHECKING:
    from graphrack.instance import Instance
    from graphrack.model import Model

_PREDICT = "tensorflow/serving/predict"
_SERVE = "serve"
_OLD_RESTORES = frozenset(("Restore", "RestoreSlice"))


def export(model: Model, path: str | os.PathLike[str]) -> str:
    """What `Model.export` does."""
    target = os.fspath(path)
    instance = model._instance
    if target.endswith((".pb", ".pbtxt")):
        _graph_def(model.name, instance, target)
    elif target.endswith(".meta"):
        _meta_graph(instance, target)
    else:
        _saved_model(instance, target.rstrip("/" + os.sep) or target)
    return target


# GraphDef


def _graph_def(name: str, instance: Instance, path: str) -> None:
    variables = instance.graph.index.variables
    if variables:
        shown = ", ".join(map(repr, list(variables)[:3])) + (", …" if len(variables) > 3 else "")
        raise GraphError(
            f"model {name!r} has {len(variables)} variables ({shown}), and a GraphDef has no place for their"
            " values: export model.freeze(outputs), or export to a .meta file or a folder"
        )
    graph = instance.file.graph_def
    check_size(_size(graph), f"{path!r}")
    if path.endswith(".pbtxt"):
        from google.protobuf import text_format

        atomic_write(path, text_format.MessageToString(graph).encode())
        return
    folder = folder_of(path)
    with folder_lock(folder):
        sweep(folder, re.escape(os.path.basename(path)))
        with TemporaryFile(path) as file:
            for part in _parts(graph):
                file.write(part)
            file.flush(durable=True)
            file.place()
        sync_folder(folder)


def _size(graph: GraphDef) -> int:
    return sum(node.ByteSize() for node in graph.node) + graph.library.ByteSize()


def _parts(graph: GraphDef) -> Iterator[bytes]:
    """A graph's bytes piece by piece: all of them at once would take as much memory as the graph again."""
    tag = GraphDef.NODE_FIELD_NUMBER << 3 | 2
    for node in graph.node:
        data = node.SerializeToString()
        yield varint(tag) + varint(len(data))
        yield data
    rest = GraphDef()
    for field, value in graph.ListFields():
        if field.name != "node":
            if hasattr(value, "CopyFrom"):
                getattr(rest, field.name).CopyFrom(value)
            else:
                setattr(rest, field.name, value)
    yield rest.SerializeToString()


def _portable(message: MetaGraphDef) -> MetaGraphDef:
    """The message without the devices that it was made for."""
    for node in message.graph_def.node:
        node.ClearField("device")
    return message


# MetaGraph and checkpoint


def _meta_graph(instance: Instance, path: str) -> None:
    current_values(instance)
    message = _portable(meta_graph(instance))
    check_size(_size(message.graph_def), f"{path!r}")
    if instance.graph.index.variables:
        save_values(instance, path.removesuffix(".meta"))
    atomic_write(path, message.SerializeToString())


# SavedModel


def _saved_model(instance: Instance, folder: str) -> None:
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise FileError(f"{folder!r} is a file; name a folder for a SavedModel, or a .pb, .pbtxt or .meta file")
    if os.path.isdir(folder) and os.listdir(folder):
        raise FileError(f"the folder {folder!r} isn't empty: {sorted(os.listdir(folder))[:3]}; export to a new one")
    current_values(instance)
    with TemporaryFolder(folder) as temporary:
        with reporting(folder):
            _write_saved_model(instance, temporary.path)
        temporary.place()


def _write_saved_model(instance: Instance, folder: str) -> None:
    graph = instance.graph
    message = _portable(meta_graph(instance))
    if graph.index.variables:
        prefix = os.path.join(folder, "variables", "variables")
        os.mkdir(os.path.dirname(prefix))
        if any(node.op in _OLD_RESTORES for node in graph.index):
            _renew_saver(instance, message, prefix)
        else:
            save_values(instance, prefix)
    _add_assets(instance, message, folder)
    _add_signature(instance, message)
    _add_main_op(message)
    if not message.meta_info_def.tags:
        message.meta_info_def.tags.append(_SERVE)
    check_size(_size(message.graph_def), "the SavedModel's graph")
    # A SavedModel of schema version 1 (field 1) with this MetaGraph (field 2); the message itself would copy it.
    data = message.SerializeToString()
    atomic_write(os.path.join(folder, "saved_model.pb"), b"\x08\x01\x12" + varint(len(data)) + data)


def _renew_saver(instance: Instance, message: MetaGraphDef, prefix: str) -> None:
    """Gives the graph a Saver that reads checkpoints of version 2, and writes such a one."""
    variables = instance.graph.index.variables.values()
    extended, definition = with_saver(message.graph_def, variables)
    message.graph_def.CopyFrom(extended)
    message.saver_def.CopyFrom(definition)
    values = instance.state.values
    missing = [v.name for v in variables if v.key not in values]
    if missing:
        raise uninitialized(missing)
    with BundleWriter(prefix) as writer:
        for variable in sorted(variables):
            writer.add(variable.name, np.asarray(values[variable.key]))


def _add_assets(instance: Instance, message: MetaGraphDef, folder: str) -> None:
    assets = instance.file.assets
    if not assets:
        return
    if not message.asset_file_def:  # as in old SavedModels, which have them in a collection
        message.asset_file_def.extend(AssetFileDef(tensor_info={"name": name}) for name in assets)
    message.collection_def.pop("saved_model_assets", None)
    os.mkdir(os.path.join(folder, "assets"))
    taken: dict[str, str] = {}
    for asset in message.asset_file_def:
        source = assets.get(asset.tensor_info.name)
        if source is None:
            continue
        base, ending = os.path.splitext(os.path.basename(source))
        name, k = base + ending, 0
        while taken.get(name, source) != source:
            k += 1
            name = f"{base}_{k}{ending}"
        asset.filename = name
        if name not in taken:
            taken[name] = source
            target = os.path.join(folder, "assets", name)
            try:
                shutil.copyfile(source, target)
            except FileNotFoundError:
                raise FileError(f"the asset {source!r} of {asset.tensor_info.name!r} is not there any more") from None
            with open(target, "rb") as file:
                os.fsync(file.fileno())


def _add_signature(instance: Instance, message: MetaGraphDef) -> None:
    """A signature for a model without any: all that a call could mean, and the inputs that this needs."""
    graph = instance.graph
    if interface.signatures(message):
        return
    outputs = interface.outputs(graph.index, graph.meta_graph, graph.saver)
    if not outputs:
        return
    reached = _upstream(graph.index, [parse_input(spec.name)[0] for spec in outputs.values()])
    signature = message.signature_def[interface.DEFAULT_SIGNATURE]
    signature.method_name = _PREDICT
    for key, spec in outputs.items():
        signature.outputs[key].CopyFrom(tensor_info(spec))
    for node in graph.index.placeholders:
        if node.name in reached:
            signature.inputs[node.name].CopyFrom(tensor_info(graph.index.spec(f"{node.name}:0")))


def _upstream(index: GraphIndex, names: list[str]) -> set[str]:
    found: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name not in found and name in index.nodes:
            found.add(name)
            stack += [parse_input(text)[0] for text in index.nodes[name].input]
    return found


def _add_main_op(message: MetaGraphDef) -> None:
    """What fills the tables, for loaders to run, where only a collection tells of it."""
    collections: Any = message.collection_def
    if interface.INIT_SIGNATURE in message.signature_def or "table_initializer" not in collections:
        return
    if any(name in collections for name in ("saved_model_main_op", "legacy_init_op")):
        return
    names = {node.name for node in message.graph_def.node}
    initializers = [name for name in collections["table_initializer"].node_list.value if name in names]
    if initializers:
        name = "init_tables"
        while name in names:
            name += "_"
        message.graph_def.node.add(name=name, op="NoOp", input=[f"^{n}" for n in initializers])
        collections["saved_model_main_op"].node_list.value.append(name)
