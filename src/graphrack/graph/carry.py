"""What wraps a graph, carried over to a graph made from it: signatures, collections, assets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from graphrack.formats import op_table
from graphrack.formats.dtypes import UNKNOWN
from graphrack.formats.protos.metagraph_pb2 import (
    AssetFileDef,
    CollectionDef,
    MetaGraphDef,
    SignatureDef,
    TensorInfo,
    VariableDef,
)
from graphrack.formats.tensor import shape_to_proto
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph.contexts import CONTEXTS, carried_context
from graphrack.graph.interface import INIT_SIGNATURE
from graphrack.graph.names import TensorName, parse_tensor

__all__ = ["Rename", "carry", "renamed_by", "tensor_info"]

Rename = Callable[[str], "str | None"]
"""The new name of a tensor or an operation, None for one that is gone."""

# Lists of messages that only TensorFlow's own Python code reads, of nodes that it would look for in vain; and of its
# tables, by names of which it makes tensors, and can't.
_LEFT_OUT = frozenset(("savers", "saved_model_train_op", "saveable_objects"))


def carry(
    old: MetaGraphDef | None,
    new: MetaGraphDef,
    rename: Rename,
    *,
    key: Callable[[str], str] = str,
    replaced: Mapping[str, TensorSpec] | None = None,
    rename_input: Rename | None = None,
    variables: bool = True,
    contexts: bool = True,
    scope: str = "",
) -> None:
    """Adds to a new MetaGraph what of the old one's wrapping still makes sense in its graph.

    A signature stays where all of its outputs do, with the inputs that are left. Of collections stay the
    tensors, operations and variables that do, and plain values.

    Attributes:
        rename: from the old graph's names to the new one's.
        key: the signatures' new keys.
        replaced: new tensors that have another dtype or shape than the old ones, by their names.
        rename_input: the same as `rename`, for signatures' inputs, where it differs.
        variables: whether the new graph has variables at all.
        contexts: whether to carry over those of conds and loops.
        scope: what names in checkpoints, and of conds and loops, come to lie under.
    """
    if old is None:
        return
    info, had = new.meta_info_def, old.meta_info_def
    if not info.tensorflow_version:
        info.tensorflow_version = had.tensorflow_version
        info.tensorflow_git_version = had.tensorflow_git_version
    info.tags.extend(tag for tag in had.tags if tag not in info.tags)
    known = {op.name for op in info.stripped_op_list.op}
    info.stripped_op_list.op.extend(
        op for op in had.stripped_op_list.op if op_table.op_def(op.name) is None and op.name not in known
    )
    for name, signature in old.signature_def.items():
        changed = _signature(signature, rename_input or rename, rename, replaced or {})
        if changed is not None:
            new.signature_def[name if name == INIT_SIGNATURE else key(name)].CopyFrom(changed)
    for name, collection in old.collection_def.items():
        if name not in _LEFT_OUT and (contexts or name not in CONTEXTS):
            _collection(name, collection, new, rename, variables, scope)
    for asset in old.asset_file_def:
        carried = _asset(asset, rename)
        if carried is not None:
            new.asset_file_def.append(carried)


def tensor_info(spec: TensorSpec) -> TensorInfo:
    """What a signature says of a tensor."""
    info = TensorInfo(name=spec.name, tensor_shape=shape_to_proto(spec.shape))
    if spec.dtype != UNKNOWN:
        info.dtype = spec.dtype.number  # type: ignore[assignment]
    return info


def _signature(
    old: SignatureDef, rename_input: Rename, rename_output: Rename, replaced: Mapping[str, TensorSpec]
) -> SignatureDef | None:
    result = SignatureDef(method_name=old.method_name)
    inputs = (result.inputs, old.inputs, rename_input, False)
    outputs = (result.outputs, old.outputs, rename_output, True)
    for mine, theirs, rename, needed in (inputs, outputs):
        for key, info in theirs.items():
            changed = _tensor_info(info, rename, replaced)
            if changed is not None:
                mine[key].CopyFrom(changed)
            elif needed:
                return None
    for key, default in old.defaults.items():
        if key in result.inputs:
            result.defaults[key].CopyFrom(default)
    return result


def _tensor_info(old: TensorInfo, rename: Rename, replaced: Mapping[str, TensorSpec]) -> TensorInfo | None:
    result = TensorInfo()
    result.CopyFrom(old)
    kind = old.WhichOneof("encoding")
    if kind == "coo_sparse":
        for field in ("values_tensor_name", "indices_tensor_name", "dense_shape_tensor_name"):
            name = rename(getattr(old.coo_sparse, field))
            if name is None:
                return None
            setattr(result.coo_sparse, field, name)
    elif kind == "composite_tensor":
        del result.composite_tensor.components[:]
        for part in old.composite_tensor.components:
            changed = _tensor_info(part, rename, replaced)
            if changed is None:
                return None
            result.composite_tensor.components.append(changed)
    else:
        name = rename(old.name)
        if name is None:
            return None
        result.name = name
        if name in replaced:
            result.CopyFrom(tensor_info(replaced[name]._replace(name=name)))
    return result


def _collection(name: str, old: CollectionDef, new: MetaGraphDef, rename: Rename, variables: bool, scope: str) -> None:
    kind = old.WhichOneof("kind")
    if kind is None:
        return
    held = new.collection_def[name].WhichOneof("kind") if name in new.collection_def else kind
    if held != kind:
        return  # two graphs mean different things by one name; what came first stays
    result = CollectionDef()
    values = getattr(result, kind).value
    if kind == "node_list":
        values.extend(found for found in map(rename, old.node_list.value) if found is not None)
    elif kind == "bytes_list":
        for value in old.bytes_list.value:
            if name in CONTEXTS:
                carried = carried_context(name, value, rename, scope)
            else:
                carried = _bytes(value, rename, variables, scope)
            if carried is not None:
                values.append(carried)
    elif kind == "any_list":
        values.extend(found for found in (_any(value, rename) for value in old.any_list.value) if found is not None)
    else:
        values.extend(getattr(old, kind).value)
    if values:
        getattr(new.collection_def[name], kind).value.extend(values)


def _bytes(value: bytes, rename: Rename, variables: bool, scope: str) -> bytes | None:
    """A collection's item: a variable under its new names, None where it is gone; anything else as it is."""
    try:
        definition = VariableDef.FromString(value)
    except DecodeError:
        return value
    if not definition.variable_name.endswith(":0") or not definition.initializer_name:
        return value
    name = rename(definition.variable_name)
    if name is None or not variables:
        return None
    definition.variable_name = name
    for field in ("initial_value_name", "initializer_name", "snapshot_name"):
        if getattr(definition, field):
            renamed = rename(getattr(definition, field))
            if renamed is None:
                return None
            setattr(definition, field, renamed)
    if scope and definition.HasField("save_slice_info_def"):
        definition.save_slice_info_def.full_name = f"{scope}/{definition.save_slice_info_def.full_name}"
    return definition.SerializeToString()


def _any(value: Any, rename: Rename) -> Any | None:
    """The same for a message of any type: of an asset, the tensor that is fed its path."""
    if not value.type_url.rpartition("/")[2].endswith("AssetFileDef"):
        return value
    asset = _asset(AssetFileDef.FromString(value.value), rename)
    return None if asset is None else type(value)(type_url=value.type_url, value=asset.SerializeToString())


def _asset(old: AssetFileDef, rename: Rename) -> AssetFileDef | None:
    name = rename(old.tensor_info.name)
    if name is None:
        return None
    result = AssetFileDef()
    result.CopyFrom(old)
    result.tensor_info.name = name
    return result


def renamed_by(operations: Callable[[str], str | None]) -> Rename:
    """What a renaming of operations means for the names of tensors, too."""

    def rename(name: str) -> str | None:
        if ":" not in name:
            return operations(name)
        tensor = parse_tensor(name)
        found = operations(tensor.op)
        return None if found is None else str(TensorName(found, tensor.output))

    return rename
