"""What a graph says of itself: what it takes and gives, holds and is made of. Nothing of it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from graphrack.cli.checkpoint_facts import Facts, bytes_of, elements_of, total
from graphrack.cli.output import plain, text_of
from graphrack.errors import GraphrackError
from graphrack.formats.dtypes import DTYPES, dtype_of
from graphrack.formats.graph_files import ModelFile
from graphrack.formats.proto_files import is_text
from graphrack.formats.protos.graph_pb2 import FunctionDef, NodeDef
from graphrack.formats.tensor import shape_from_proto
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph import interface
from graphrack.graph.index import GraphIndex
from graphrack.graph.saver import saver_nodes

_T = TypeVar("_T")


def graph_facts(file: ModelFile, problems: list[str]) -> Facts:
    """A graph's facts; what contradicts itself in it is left out, and told in `problems`.

    Raises:
        GraphError: two nodes have one name.
    """
    index = GraphIndex(file.graph_def)
    meta = file.meta_graph

    def attempt(work: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return work()
        except GraphrackError as error:
            if str(error) not in problems:
                problems.append(str(error))
            return otherwise

    saver = attempt(lambda: saver_nodes(index, meta.saver_def if meta is not None else None), None)
    collections: dict[str, list[Any]] = attempt(lambda: interface.collections(index, meta), {})
    variables: list[Facts] = attempt(lambda: _variables(index, collections), [])
    signatures: list[Facts] = attempt(lambda: signature_facts(interface.signatures(meta)), [])
    numeric = [v for v in variables if v["bytes"] is not None]
    missing = lacking(index.ops, {f.signature.name for f in index.library.function})
    return {
        "file": file.path,
        "format": _format(file.path),
        "bytes": os.path.getsize(file.path),
        "tensorflow_version": file.tf_version,
        "producer": file.graph_def.versions.producer,
        "min_consumer": file.graph_def.versions.min_consumer,
        "tags": sorted(meta.meta_info_def.tags) if meta is not None else [],
        "nodes": len(index),
        "inputs": _keyed(attempt(lambda: interface.inputs(index, meta, saver), {})),
        "outputs": _keyed(attempt(lambda: interface.outputs(index, meta, saver), {})),
        "signatures": signatures,
        "collections": {name: [_item(i) for i in items] for name, items in collections.items()},
        "variables": variables,
        "totals": {
            "variables": len(variables),
            "parameters": total(numeric, "parameters"),
            "trainable_parameters": total([v for v in numeric if v["trainable"]], "parameters"),
            "bytes": total(numeric, "bytes"),
        },
        "constants": _constants(index),
        "ops": dict(sorted(index.ops.items(), key=lambda item: (-item[1], item[0]))),
        "missing_ops": missing,
        "functions": [_function(f) for f in index.library.function],
        "assets": dict(file.assets),
    }


def lacking(ops: Mapping[str, int], functions: Iterable[str]) -> dict[str, int]:
    """Those of the ops that graphrack lacks, with how often they stand in the graph."""
    from graphrack.engines.interpreter.functions import has_op

    known = set(functions)
    return {op: count for op, count in sorted(ops.items()) if op not in known and not has_op(op)}


def signature_facts(signatures: Mapping[str, interface.Signature]) -> list[Facts]:
    """Signatures with their inputs and outputs."""
    return [
        {"name": s.name, "method": s.method_name, "inputs": _keyed(s.inputs), "outputs": _keyed(s.outputs)}
        for s in signatures.values()
    ]


def spec_facts(spec: TensorSpec) -> Facts:
    """A tensor's name, dtype and shape."""
    return {"name": spec.name, "dtype": spec.dtype.name, "shape": None if spec.shape is None else list(spec.shape)}


def _keyed(specs: Mapping[str, TensorSpec]) -> list[Facts]:
    return [{"key": key, **spec_facts(spec)} for key, spec in specs.items()]


def _format(path: str) -> str:
    with open(path, "rb") as file:
        return "text" if is_text(file.read(8192)) else "binary"


def _variables(index: GraphIndex, collections: Mapping[str, list[Any]]) -> list[Facts]:
    trainable = {i.name for i in collections.get("trainable_variables", ()) if isinstance(i, TensorSpec)}
    found = []
    for variable in index.variables.values():
        elements = elements_of(variable.shape)
        found.append(
            {
                **spec_facts(variable.spec),
                "parameters": elements,
                "bytes": bytes_of(variable.dtype, elements),
                "trainable": variable.name in trainable,
                "resource": variable.is_resource,
            }
        )
    return found


def constant_size(node: NodeDef) -> tuple[int, int]:
    """A constant's elements, and the bytes that they take once decoded (none for strings)."""
    proto = node.attr["value"].tensor
    if proto.dtype % 100 not in DTYPES:
        return 0, 0
    try:
        elements = elements_of(shape_from_proto(proto.tensor_shape)) or 0
    except GraphrackError:
        return 0, 0
    return elements, elements * dtype_of(proto.dtype).itemsize


def _constants(index: GraphIndex) -> Facts:
    sizes = [constant_size(node) for node in index if node.op == "Const" and "value" in node.attr]
    return {"count": len(sizes), "elements": sum(e for e, _ in sizes), "bytes": sum(b for _, b in sizes)}


def _function(function: FunctionDef) -> Facts:
    signature = function.signature
    return {
        "name": signature.name,
        "inputs": len(signature.input_arg),
        "outputs": len(signature.output_arg),
        "nodes": len(function.node_def),
    }


def _item(item: Any) -> Any:
    """A collection's item: a tensor's or variable's spec, a name, a number; what isn't readable by its size."""
    if isinstance(item, TensorSpec):
        return spec_facts(item)
    if isinstance(item, bytes):
        text = text_of(item)
        return text if text is not None and plain(text) == text else {"bytes": len(item)}
    if isinstance(item, (str, int)):
        return item
    if isinstance(item, float):
        from graphrack.cli.output import json_of

        return json_of(item)
    return {"type": getattr(item, "type_url", type(item).__name__)}  # a message of a type of its own
