"""What a model takes and gives: its signatures, collections and operations, and which output a call means."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from graphrack.errors import AmbiguousOutput, UnknownName, closest
from graphrack.formats.dtypes import DTYPES, UNKNOWN, dtype_of
from graphrack.formats.protos.metagraph_pb2 import CollectionDef, MetaGraphDef, TensorInfo, VariableDef
from graphrack.formats.tensor import attr_value, shape_from_proto
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph.index import PLACEHOLDERS, REF_VARIABLES, RESOURCE_VARIABLES, GraphIndex
from graphrack.graph.names import TensorName, parse_input
from graphrack.graph.prune import needed
from graphrack.graph.saver import SaverNodes

DEFAULT_SIGNATURE = "serving_default"

# What TensorFlow's own code puts into collections; a collection of any other name is the author's.
# fmt: off
_STANDARD_COLLECTIONS = frozenset((
    "variables", "trainable_variables", "model_variables", "local_variables", "global_variables",
    "moving_average_variables", "metric_variables", "trainable_resource_variables", "resources", "local_resources",
    "init_op", "local_init_op", "ready_op", "ready_for_local_init_op", "global_step", "global_step_read_op_cache",
    "table_initializer", "queue_runners", "summaries", "summary_op", "summary_writer", "merged_summary", "losses",
    "regularization_losses", "update_ops", "train_op", "savers", "saveable_objects", "activations", "weights",
    "biases", "asset_filepaths", "cond_context", "while_context", "model_size", "eval_step",
    "concatenated_variables", "saved_model_assets", "saved_model_main_op", "saved_model_train_op",
    "legacy_init_op", "ragged_tensor_dict", "batching_rewrite", "rank", "streaming_model_ports", "unbound_inputs",
    "iterators", "initializers", "local_initializers",
))
# fmt: on
# Signatures that a loader runs, not its user.
INIT_SIGNATURE = "__saved_model_init_op"
_INTERNAL_SIGNATURES = frozenset((INIT_SIGNATURE, "__saved_model_train_op"))

# fmt: off
_NO_PREDICTION = REF_VARIABLES | RESOURCE_VARIABLES | PLACEHOLDERS | frozenset((
    "Const", "NoOp", "Assign", "AssignAdd", "AssignSub", "Assert", "Print", "PrintV2", "Save", "SaveV2",
    "SaveSlices", "RestoreV2", "Restore", "RestoreSlice", "ShardedFilename", "MergeV2Checkpoints", "ScalarSummary",
    "HistogramSummary", "ImageSummary", "TensorSummary", "TensorSummaryV2", "MergeSummary", "AudioSummary",
    "AudioSummaryV2", "BroadcastGradientArgs", "ReadVariableOp", "IsVariableInitialized", "VarIsInitializedOp",
))
# fmt: on


class Signature(NamedTuple):
    """A named way to call a model: its inputs and outputs by their keys, and its method name."""

    name: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    method_name: str


class Operation(NamedTuple):
    """A node of a graph."""

    name: str
    type: str
    inputs: tuple[str, ...]
    control_inputs: tuple[str, ...]
    outputs: tuple[TensorSpec, ...]
    attributes: Mapping[str, Any]


class Operations(Mapping[str, Operation]):
    """A graph's operations by name, made when they are looked at."""

    def __init__(self, index: GraphIndex):
        self._index = index

    def __getitem__(self, name: str) -> Operation:
        node = self._index.node(name)
        inputs = [(text, parse_input(text)) for text in node.input]
        return Operation(
            name,
            node.op,
            tuple(f"{op}:{i}" for _, (op, i) in inputs if i >= 0),
            tuple(op for _, (op, i) in inputs if i < 0),
            tuple(self._index.outputs(node)),
            MappingProxyType({k: attr_value(v, self._index.contents) for k, v in node.attr.items()}),
        )

    def __contains__(self, name: object) -> bool:
        return name in self._index.nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self._index.nodes)

    def __len__(self) -> int:
        return len(self._index.nodes)

    def __repr__(self) -> str:
        return f"<{len(self)} operations>"


class Prediction(NamedTuple):
    """What a call of a model feeds and fetches.

    Attributes:
        inputs: names that a caller may use, to tensors.
        outputs: keys to tensors; a call with one output gives its value, with several a dict.
        source: where this comes from, for messages.
    """

    inputs: dict[str, TensorName]
    outputs: dict[str, TensorName]
    source: str


def signatures(meta_graph: MetaGraphDef | None) -> dict[str, Signature]:
    """The signatures that a caller may name."""
    if meta_graph is None:
        return {}
    found = {}
    for name in sorted(meta_graph.signature_def):
        if name in _INTERNAL_SIGNATURES:
            continue
        definition = meta_graph.signature_def[name]
        found[name] = Signature(
            name,
            {k: _spec(definition.inputs[k]) for k in sorted(definition.inputs)},
            {k: _spec(definition.outputs[k]) for k in sorted(definition.outputs)},
            definition.method_name,
        )
    return found


def _spec(info: TensorInfo) -> TensorSpec:
    name = info.name
    if not name and info.HasField("coo_sparse"):
        name = info.coo_sparse.values_tensor_name
    dtype = dtype_of(info.dtype) if info.dtype % 100 in DTYPES else UNKNOWN
    return TensorSpec(name, dtype, shape_from_proto(info.tensor_shape) if info.HasField("tensor_shape") else None)


def collections(index: GraphIndex, meta_graph: MetaGraphDef | None) -> dict[str, list[Any]]:
    """The graph's collections: of tensors their specs, of operations their names, of variables the
    variables' specs, else the plain values (numbers, bytes, messages)."""
    if meta_graph is None:
        return {}
    return {name: _items(index, meta_graph.collection_def[name]) for name in sorted(meta_graph.collection_def)}


def _items(index: GraphIndex, collection: CollectionDef) -> list[Any]:
    kind = collection.WhichOneof("kind")
    if kind == "node_list":
        return [_node_item(index, name) for name in collection.node_list.value]
    if kind == "bytes_list":
        return [_bytes_item(index, value) for value in collection.bytes_list.value]
    return [] if kind is None else list(getattr(collection, kind).value)


def _node_item(index: GraphIndex, name: str) -> Any:
    if ":" not in name:
        return name
    try:
        return index.spec(name)
    except UnknownName:
        return name  # a MetaGraph that was cut out of another may still list what it no longer has


def _bytes_item(index: GraphIndex, value: bytes) -> Any:
    try:
        name = VariableDef.FromString(value).variable_name.rpartition(":")[0]
    except Exception:  # not the bytes of a VariableDef: protobuf has no narrower class in all versions
        return value
    variable = index.variables.get(name)
    return value if variable is None else variable.spec


def predict(
    index: GraphIndex, meta_graph: MetaGraphDef | None, saver: SaverNodes | None, signature: str | None
) -> Prediction:
    """Which tensors a call means.

    The signature named; else `serving_default`, or the only one there is; else the one tensor that the
    author's collections hold; else the only operation that nothing consumes.

    Raises:
        UnknownName: no such signature.
        AmbiguousOutput: there is more than one candidate, or none.
    """
    known = signatures(meta_graph)
    if signature is not None:
        if signature not in known:
            raise UnknownName(f"the model has no signature {signature!r}{closest(signature, known)}")
        return _of_signature(index, known[signature])
    default = default_signature(known)
    if default is not None:
        return _of_signature(index, default)
    candidates = _collected(index, meta_graph)
    source = "its collections"
    if not candidates:
        candidates = _unconsumed(index, saver)
        source = "operations that nothing consumes"
    if len(candidates) != 1:
        hint = "name one with run('name:0', feeds)" + (", or a signature=" if known else "")
        if not candidates:
            raise AmbiguousOutput(f"nothing tells which output a call of the model means; {hint}")
        shown = ", ".join(repr(str(c)) for c in candidates[:20])
        more = f" and {len(candidates) - 20} more" if len(candidates) > 20 else ""
        also = f"; signatures: {', '.join(map(repr, known))}" if known else ""
        raise AmbiguousOutput(f"a call could mean several outputs, by {source}: {shown}{more}{also}; {hint}")
    return Prediction(_inputs_of(index, candidates[0]), {str(candidates[0]): candidates[0]}, source)


def _of_signature(index: GraphIndex, signature: Signature) -> Prediction:
    return Prediction(
        {k: index.tensor(s.name) for k, s in signature.inputs.items()},
        {k: index.tensor(s.name) for k, s in signature.outputs.items()},
        f"signature {signature.name!r}",
    )


def _collected(index: GraphIndex, meta_graph: MetaGraphDef | None) -> list[TensorName]:
    found: dict[TensorName, None] = {}
    for name, items in sorted(meta_graph.collection_def.items()) if meta_graph is not None else ():
        if name not in _STANDARD_COLLECTIONS:
            for item in items.node_list.value:
                if ":" in item:
                    with contextlib.suppress(UnknownName):  # of a graph that this one was cut out of
                        found[index.tensor(item)] = None
    return list(found)


def _unconsumed(index: GraphIndex, saver: SaverNodes | None) -> list[TensorName]:
    """Outputs of operations that nothing takes and that depend on an input, if the graph has inputs."""
    saving: set[str] = set()
    if saver is not None:
        roots: list[TensorName | str] = [saver.restore] if saver.save is None else [saver.restore, saver.save]
        own = {
            *index.variables,
            *(name for n in index.variables for name in index.consumers[n] if name.endswith("/read")),
        }
        saving = {node.name for node in needed(index, roots, ()).order} - own
    fed = _downstream(index) if index.placeholders else None
    found = []
    for node in index:
        if index.consumers[node.name] or node.op in _NO_PREDICTION or node.name in saving:
            continue
        if (fed is None or node.name in fed) and index.output_count(node) != 0:
            found.append(TensorName(node.name, 0))
    return found


def _downstream(index: GraphIndex) -> set[str]:
    """The operations that an input has an influence on."""
    found = {node.name for node in index.placeholders}
    stack = list(found)
    while stack:
        for name in index.consumers[stack.pop()]:
            if name not in found:
                found.add(name)
                stack.append(name)
    return found


def _inputs_of(index: GraphIndex, output: TensorName) -> dict[str, TensorName]:
    """The placeholders that an output depends on."""
    return {
        node.name: TensorName(node.name, 0) for node in needed(index, [output], ()).order if node.op in PLACEHOLDERS
    }


def outputs(index: GraphIndex, meta_graph: MetaGraphDef | None, saver: SaverNodes | None) -> dict[str, TensorSpec]:
    """What a call gives, or what it could mean where there are several candidates."""
    chosen = default_signature(signatures(meta_graph))
    if chosen is not None:
        return dict(chosen.outputs)
    candidates = _collected(index, meta_graph) or _unconsumed(index, saver)
    return {t.op if t.output == 0 else str(t): index.spec(t) for t in candidates}


def required(index: GraphIndex, inputs: Mapping[str, TensorName]) -> list[str]:
    """Those of the inputs that have no default."""
    return [key for key, tensor in inputs.items() if index.nodes[tensor.op].op != "PlaceholderWithDefault"]


def inputs(index: GraphIndex, meta_graph: MetaGraphDef | None, saver: SaverNodes | None) -> dict[str, TensorSpec]:
    """The default signature's inputs by its keys, else the placeholders but the Saver's own."""
    chosen = default_signature(signatures(meta_graph))
    if chosen is not None:
        return dict(chosen.inputs)
    own = {node.name for node in needed(index, [saver.filename], ()).order} if saver is not None else set()
    return {n.name: index.spec(TensorName(n.name, 0)) for n in index.placeholders if n.name not in own}


def default_signature(known: Mapping[str, Signature]) -> Signature | None:
    """The signature that a call without a name means: `serving_default`, or the only one there is."""
    if DEFAULT_SIGNATURE in known:
        return known[DEFAULT_SIGNATURE]
    return next(iter(known.values())) if len(known) == 1 else None
