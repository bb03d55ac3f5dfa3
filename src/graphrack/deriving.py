"""Models made from models: frozen, bound, merged."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from graphrack.engines.choice import Engine
from graphrack.errors import UnknownName, UnsupportedOp, closest
from graphrack.formats.graph_files import ModelFile, made_in_memory
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph import interface
from graphrack.graph.carry import carry, renamed_by
from graphrack.graph.freeze import freeze
from graphrack.graph.function_names import unique
from graphrack.graph.names import TensorName, parse_tensor
from graphrack.graph.shared import SharedGraph, shared_graph
from graphrack.instance import Instance
from graphrack.tables import add_contents, tables_in_use

if TYPE_CHECKING:
    from graphrack.model import Model
    from graphrack.ops._tables import Table

__all__ = ["current_values", "derived", "frozen", "graph_names"]


def derived(
    name: str,
    file: ModelFile,
    values: Mapping[str, Any],
    engine: Engine,
    io: bool,
    tables: Mapping[str, Table] | None = None,
) -> Model:
    """A model of a graph that was made in memory, with its variables' values by key.

    Arrays are shared: they are never written in place, and each model replaces its own.

    Attributes:
        engine: what its runs use: that of the model it is made from.
        io: whether its ops may read and write files: what was permitted to the model it is made from, whose nodes
            these are.
        tables: by key; the model gets copies.
    """
    from graphrack.model import Model

    # As they are now: who opens it again gets them so.
    kept = {key: table.copied() for key, table in (tables or {}).items()}

    def opened() -> Instance:
        instance = Instance(file, shared_graph(file), None, engine, io)
        instance.state.values = dict(values)
        instance.state.resources.update((key, table.copied()) for key, table in kept.items())
        return instance

    return Model(opened(), name, opened)


def current_values(instance: Instance) -> dict[str, Any]:
    """A model's values as they are now, brought here first if loading left that to the first use."""
    try:
        instance.prepare()
    except UnsupportedOp:
        # What can't run here (a table's initialiser, say) comes after the values, and may run in TensorFlow.
        if instance.checkpoint is not None and not instance.state.values:
            raise
    return instance.state.values


def graph_names(graph: SharedGraph, outputs: Any) -> list[TensorName | str]:
    """The tensors and operations that outputs name: their names, outputs of signatures, or signatures.

    Raises:
        UnknownName: a name that is none of these.
    """
    index = graph.index
    listed = [outputs] if isinstance(outputs, (str, TensorSpec)) else list(outputs)
    if not listed:
        raise UnknownName("no outputs are named; name at least one tensor or operation to keep")
    signatures = interface.signatures(graph.meta_graph)
    default = interface.default_signature(signatures)
    by_key: dict[str, str] = {}
    for signature in (*([default] if default else []), *signatures.values()):
        for key, spec in signature.outputs.items():
            by_key.setdefault(key, spec.name)
    found: list[TensorName | str] = []
    for item in listed:
        name = item.name if isinstance(item, TensorSpec) else str(item)
        if ":" in name:
            found.append(index.tensor(name))
        elif name in index.nodes:
            found.append(name)
        elif name in by_key:
            found.append(index.tensor(by_key[name]))
        elif name in signatures:
            found.extend(index.tensor(spec.name) for spec in signatures[name].outputs.values())
        else:
            known: Iterable[str] = itertools.chain(by_key, signatures, index.nodes)
            raise UnknownName(f"the model has no tensor, operation or output {name!r}{closest(name, known)}")
    return found


def _folded(nodes: dict[str, NodeDef], outputs: list[TensorName | str]) -> dict[str, NodeDef]:
    from graphrack.folding import compute
    from graphrack.graph.fold import fold

    return fold(nodes, outputs, compute)


def frozen(model: Model, outputs: Any, fold: bool) -> Model:
    """What `Model.freeze` does."""
    instance = model._instance
    graph = instance.graph
    roots = graph_names(graph, outputs)
    old = graph.meta_graph
    ops = tuple(old.meta_info_def.stripped_op_list.op) if old is not None else ()
    result = MetaGraphDef()
    made = freeze(graph.whole_index, roots, current_values(instance), ops, result.graph_def, _folded if fold else None)
    graph_def = result.graph_def
    names = {node.name for node in graph_def.node}
    carry(old, result, renamed_by(lambda op: op if op in names else None), variables=False)
    # What a loader would run is what fills the tables, and nothing else.
    result.signature_def.pop(interface.INIT_SIGNATURE, None)
    for name in ("table_initializer", "saved_model_main_op", "legacy_init_op"):
        result.collection_def.pop(name, None)
    assets = {name: path for name, path in instance.file.assets.items() if parse_tensor(name).op in names}
    initializers = made.table_initializers + add_contents(graph_def, tables_in_use(instance), made.table_initializers)
    if initializers:
        result.collection_def["table_initializer"].node_list.value.extend(initializers)
        init = unique("init_tables", {node.name for node in graph_def.node})
        graph_def.node.add(name=init, op="NoOp", input=[f"^{n}" for n in initializers])
        result.collection_def["saved_model_main_op"].node_list.value.append(init)
    file = made_in_memory(result, instance.file, assets)
    return derived(model.name, file, {}, instance.engine, instance.access.io)
