"""What is in a model's tables, taken along to the models that are made from it.

A static table has an initialiser in the graph, which fills it anew. What a checkpoint, an initialiser or a run has put
into one that may change is known to the model alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack.formats.dtypes import from_numpy
from graphrack.formats.protos.graph_pb2 import GraphDef, NodeDef
from graphrack.formats.tensor import tensor_to_proto
from graphrack.graph.function_names import unique
from graphrack.instance import Instance

if TYPE_CHECKING:
    from graphrack.ops._tables import Table

__all__ = ["add_contents", "by_key", "tables_in_use"]

_OF_REFERENCES = frozenset(("MutableDenseHashTable", "MutableHashTable", "MutableHashTableOfTensors"))
_MUTABLE = _OF_REFERENCES | {f"{name}V2" for name in _OF_REFERENCES}


def tables_in_use(instance: Instance) -> dict[str, Table]:
    """A model's tables that may change and have entries, by their nodes' names."""
    if not instance.state.resources:
        return {}
    found = {}
    for node in instance.graph.index.nodes.values():
        table = instance.state.resources.get(_key(node)) if node.op in _MUTABLE else None
        if table is not None and len(table):
            found[node.name] = table
    return found


def by_key(instance: Instance, tables: Mapping[str, Table]) -> dict[str, Table]:
    """Tables under the keys that the model keeps them by, given by their nodes' names."""
    return {_key(instance.graph.index.nodes[name]): table for name, table in tables.items()}


def add_contents(graph: GraphDef, tables: Mapping[str, Table], initializers: Iterable[str]) -> list[str]:
    """Adds what fills tables with the entries that they have now; gives the operations that do.

    Attributes:
        tables: by the names that their nodes have in the graph; others are passed over.
        initializers: operations that fill tables, with what was in them once: that comes before. Nothing else does:
            what fills one table must not fill another anew.
    """
    made: list[str] = []
    taken = {node.name for node in graph.node}
    listed = set(initializers)
    earlier = [(node.input[0], node.name) for node in graph.node if node.name in listed and node.input]

    def constant(name: str, array: Any) -> NodeDef:
        node = graph.node.add(name=unique(name, taken), op="Const")
        tensor_to_proto(array, into=node.attr["value"].tensor)
        node.attr["dtype"].type = node.attr["value"].tensor.dtype
        return node

    def entries(name: str, array: Any, hidden: bool) -> str:
        if not hidden:
            return constant(name, array).name
        serialized = tensor_to_proto(array).SerializeToString()
        parsed = graph.node.add(name=unique(f"{name}/parsed", taken), op="ParseTensor")
        parsed.input.append(constant(name, np.array(serialized, object)).name)
        parsed.attr["out_type"].type = from_numpy(array.dtype).number  # type: ignore[assignment]
        return parsed.name

    for node in [node for node in graph.node if node.name in tables and node.op in _MUTABLE]:
        table = tables[node.name]
        keys, values = table.export()
        # A dense table imports rows, of which the op's shape function must not know.
        hidden = keys.ndim > 1
        name = unique(f"{node.name}/import", taken)
        sources = [entries(f"{name}/keys", keys, hidden), entries(f"{name}/values", values, hidden)]
        op = "LookupTableImport" if node.op in _OF_REFERENCES else "LookupTableImportV2"
        waits = [f"^{filling}" for table_node, filling in earlier if table_node == node.name]
        filled = graph.node.add(name=name, op=op, input=[node.name, *sources, *waits])
        filled.attr["Tin"].type = table.key_dtype.number  # type: ignore[assignment]
        filled.attr["Tout"].type = table.value_dtype.number  # type: ignore[assignment]
        made.append(name)
    return made


def _key(node: NodeDef) -> str:
    from graphrack.ops.lookup import table_key

    container, shared_name = (node.attr[a].s if a in node.attr else b"" for a in ("container", "shared_name"))
    return table_key(node.name, container, shared_name)
