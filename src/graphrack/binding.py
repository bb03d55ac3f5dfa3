"""Models made of one model's graph with tensors replaced, and of several models' graphs: bind and merge."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphrack.deriving import current_values, derived
from graphrack.engines.choice import Engine
from graphrack.engines.feeds import converter
from graphrack.engines.interpreter.functions import reaches
from graphrack.errors import FeedError, GraphError, UnknownName, closest
from graphrack.formats.dtypes import RESOURCE, UNKNOWN, VARIANT, DType, from_numpy
from graphrack.formats.graph_files import made_in_memory
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.formats.protos.metagraph_pb2 import MetaGraphDef
from graphrack.formats.tensor import shape_to_proto
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph import interface
from graphrack.graph.bind import Replacement, bind, compatible_shapes
from graphrack.graph.carry import Rename, carry, renamed_by, tensor_info
from graphrack.graph.index import PLACEHOLDERS, GraphIndex, variable_key
from graphrack.graph.merge import JOINS, add_graph, intersection, join, merge_versions, scoped_tensor
from graphrack.graph.names import TensorName, parse_input, parse_tensor
from graphrack.graph.saver import add_saver, only_for_saving
from graphrack.graph.scope import is_scope, needed_functions
from graphrack.tables import add_contents, by_key, tables_in_use

if TYPE_CHECKING:
    from graphrack.instance import Instance
    from graphrack.model import Model

Joins = Mapping[str, "str | tuple[str, Iterable[Any]]"]

_PREDICT = "tensorflow/serving/predict"
_INITS = ("saved_model_main_op", "legacy_init_op")


# Binding


def bound(model: Model, replacements: Mapping[Any, Any], scope: str) -> Model:
    """What `Model.bind` does."""
    if scope and not is_scope(scope):
        raise ValueError(f"scope {scope!r} is no name that TensorFlow allows: letters, digits and _ . \\ / > -")
    instance = model._instance
    index, old = instance.graph.whole_index, instance.graph.meta_graph
    targets = _replacements(instance, replacements)
    made = bind(index.nodes, targets, _named(old))
    file = instance.file

    result = MetaGraphDef()
    graph = result.graph_def
    graph.versions.CopyFrom(index.graph_def.versions)
    for name in list(made.nodes):
        graph.node.append(made.nodes.pop(name))
    graph.library.function.extend(needed_functions(graph.node, index.library))
    if old is not None and old.saver_def.restore_op_name:
        result.saver_def.CopyFrom(old.saver_def)
    names = {node.name for node in graph.node}
    placeholders = {s.name: s for s in made.placeholders.values()}

    def renamed(name: str) -> str | None:
        """The tensor that stands for a replaced one."""
        if ":" in name:
            tensor = made.moved.get(parse_tensor(name), parse_tensor(name))
            return str(tensor) if tensor.op in names else None
        return name if name in names else None

    def renamed_input(name: str) -> str | None:
        """The placeholder that stands for a replaced one: for a value or another tensor, none does."""
        tensor = parse_tensor(name)
        if tensor in targets:
            return made.placeholders[tensor].name if tensor in made.placeholders else None
        return renamed(name)

    carry(old, result, renamed, rename_input=renamed_input, replaced=placeholders)
    _fit_signatures(index, result, placeholders.values())
    assets = {found: path for name, path in file.assets.items() if (found := renamed(name)) is not None}
    made_file = made_in_memory(result, file, assets)
    values = current_values(instance)
    tables = by_key(instance, tables_in_use(instance))
    inner = derived(model.name, made_file, values, instance.engine, instance.access.io, tables)
    return inner if not scope else _together(model.name, [_Part(scope, inner)], {}, {}, "{}")


def _replacements(instance: Instance, given: Mapping[Any, Any]) -> dict[TensorName, tuple[DType, Replacement]]:
    index, graph = instance.graph.index, instance.graph
    inputs = interface.inputs(index, graph.meta_graph, graph.saver)
    found: dict[TensorName, tuple[DType, Replacement]] = {}
    for key, value in given.items():
        name = _name(key)
        spec = inputs.get(name)
        tensor = index.tensor(spec.name if spec is not None and name.partition(":")[0] not in index.nodes else name)
        if tensor in found:
            raise FeedError(f"{str(tensor)!r} is bound twice, under two of its names; bind it once")
        had = index.spec(tensor)
        found[tensor] = (had.dtype, _replacement(index, had, value))
    return found


def _replacement(index: GraphIndex, had: TensorSpec, value: Any) -> Replacement:
    if isinstance(value, TensorSpec):
        if not isinstance(value.dtype, DType):  # np.float64, "float64": whatever NumPy takes for a dtype
            try:
                value = value._replace(dtype=from_numpy(value.dtype))
            except (KeyError, TypeError):
                raise FeedError(f"{had.name!r} can't be bound to a placeholder of dtype {value.dtype!r}") from None
        if value.dtype in (UNKNOWN, RESOURCE, VARIANT):
            raise FeedError(f"{had.name!r} can't be bound to a placeholder of dtype {value.dtype}")
        if value.dtype != had.dtype and not (_castable(value.dtype) and _castable(had.dtype)):
            raise FeedError(
                f"{had.name!r} is {had.dtype}, and a placeholder of {value.dtype} can't be cast to that; bind a tensor"
            )
        name = value.name.removesuffix(":0")
        if name and not is_scope(name):
            raise FeedError(
                f"{had.name!r} can't be bound to a placeholder called {value.name!r}: no name of an operation"
            )
        return value
    if isinstance(value, (str, TensorName)):
        target = index.tensor(str(value))
        spec = index.spec(target)
        if UNKNOWN not in (spec.dtype, had.dtype) and spec.dtype != had.dtype:
            raise FeedError(f"{had.name!r} is {had.dtype}; it can't be bound to {spec.name!r}, which is {spec.dtype}")
        if not compatible_shapes(spec.shape, had.shape):
            raise FeedError(
                f"{had.name!r} has shape {_shown(had)}; it can't be bound to {spec.name!r}, which has {_shown(spec)}"
            )
        return target
    if had.dtype in (UNKNOWN, RESOURCE, VARIANT):
        raise FeedError(f"{had.name!r} is {had.dtype}; it can be bound to another tensor's name, but to no value")
    return np.asarray(converter(had)(value))


def _castable(dtype: DType) -> bool:
    return dtype.numpy.names is None and not dtype.numpy.hasobject


def _shown(spec: TensorSpec) -> str:
    return "?" if spec.shape is None else str(["?" if s is None else s for s in spec.shape]).replace("'", "")


def _name(item: Any) -> str:
    return item.name if isinstance(item, TensorSpec) else str(item)


def _named(meta_graph: MetaGraphDef | None) -> set[str]:
    """The operations that signatures give, collections list and the graph's Saver is."""
    found: set[str] = set()

    def note(name: str) -> str:
        found.add(name.partition(":")[0])
        return name

    if meta_graph is not None:
        carry(meta_graph, MetaGraphDef(), note, rename_input=lambda name: name, contexts=False)
        saver = meta_graph.saver_def
        found.update(n.partition(":")[0] for n in (saver.filename_tensor_name, saver.save_tensor_name) if n)
        found.add(saver.restore_op_name)
    return found


def _fit_signatures(old: GraphIndex, message: MetaGraphDef, placeholders: Iterable[TensorSpec]) -> None:
    """Takes from signatures the inputs that their outputs needed once, and adds new placeholders that they need."""
    nodes = {node.name: node for node in message.graph_def.node}
    for key, signature in message.signature_def.items():
        if key == interface.INIT_SIGNATURE:
            continue
        roots = [parse_input(info.name)[0] for info in signature.outputs.values() if info.name]
        needs, needed = _upstream(nodes, roots), _upstream(old.nodes, roots)
        for name in list(signature.inputs):
            op = parse_input(signature.inputs[name].name)[0] if signature.inputs[name].name else ""
            if op in needed and op not in needs:
                del signature.inputs[name]
        held = {info.name for info in signature.inputs.values()}
        for spec in placeholders:
            op = spec.name.removesuffix(":0")
            if op in needs and spec.name not in held:
                signature.inputs[op].CopyFrom(tensor_info(spec))


def _upstream(nodes: Mapping[str, NodeDef], names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    stack = [name for name in names if name in nodes]
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            sources = (parse_input(text)[0] for text in nodes[name].input)
            stack += [source for source in sources if source in nodes]
    return found


# Merging


class _Part(NamedTuple):
    """A model, and the scope that it comes to lie under."""

    scope: str
    model: Model


def merge(
    models: Mapping[str, Model],
    *,
    share: Mapping[str, Iterable[Any]] | None = None,
    join: Joins | None = None,
    name: str | None = None,
) -> Model:
    """One model of several, each under a scope of its own.

    Names can't clash: operations, variables, resources that are shared by name and loops' frames get the scope before
    their names, functions new names where two graphs mean different ones by one. Signatures come along as `scope/key`,
    collections with their items' new names, variables with their values; tables are filled with the entries that they
    have now. The merged model runs, restores, saves, freezes and exports as any other, but that its checkpoints hold no
    tables; it shares nothing with the given ones. It runs by the engine that they have in common, else by `auto`; it
    may read and write files where each model might whose graph could.

    Attributes:
        models: by scope.
        share: inputs to feed once: the name of a new placeholder to the tensors (`"a/x:0"`) that it replaces. Their
            dtypes must be equal; its shape is what theirs have in common.
        join: new outputs: a name to how tensors are joined and which, as `("mean", ["a/y:0", "b/y:0"])`, or only
            how, for what a call of each model gives. `mean` and `sum` are elementwise. `vote`: the tensors hold
            scores of classes along their last axis, and the output is the class (int64) that most of them give the
            greatest score; of classes with as many votes the one with the greatest sum, and then the first. With
            joins the merged model has a signature `serving_default` of them.
        name: the model's, for messages; the scopes' if not given.

    Raises:
        UnknownName: `share` or `join` names a tensor that no model has.
        FeedError: shared inputs differ in dtype or shape.
        GraphError: tensors can't be joined so.
        ValueError: a name is none that TensorFlow allows, or is taken; or a join that there isn't.
    """
    parts = [_Part(scope, model) for scope, model in models.items()]
    _check_scopes([part.scope for part in parts], [*(share or {}), *(join or {})])
    return _together(name or "+".join(models), parts, share or {}, join or {}, "{scope}/{}")


def _check_scopes(scopes: list[str], names: list[str]) -> None:
    if not scopes:
        raise ValueError("merge takes at least one model")
    for name in (*scopes, *names):
        if not is_scope(name):
            raise ValueError(f"{name!r} is no name that TensorFlow allows: letters, digits and _ . \\ / > -")
    taken: set[str] = set()
    for name in (*scopes, *names):
        if any(name == t or name.startswith(f"{t}/") or t.startswith(f"{name}/") for t in taken):
            raise ValueError(
                f"the names {[*scopes, *names]} of scopes, inputs and outputs must not contain one another"
            )
        taken.add(name)


def _together(name: str, parts: list[_Part], share: Mapping[str, Iterable[Any]], joins: Joins, keys: str) -> Model:
    """One model of several; `keys` is the form of their signatures' new keys."""
    result = MetaGraphDef()
    graph = result.graph_def
    nodes: dict[str, NodeDef] = {}
    slices: dict[str, tuple[str, str]] = {}
    values: dict[str, dict[str, Any]] = {}
    keep: set[str] = set()
    for scope, model in parts:
        shared = model._instance.graph
        index = shared.whole_index
        values[scope] = current_values(model._instance)
        named = _named_but_saver(shared.meta_graph)
        keep.update(f"{scope}/{op}" for op in named)
        saving: set[str] = set()
        if shared.saver is not None:
            saving = only_for_saving(index, shared.saver, named)
            for entry in shared.restored:
                if entry.spec:
                    slices[f"{scope}/{entry.variable.name}"] = (f"{scope}/{entry.key}", entry.spec)
        add_graph(nodes, graph.library, index.graph_def, scope, saving)
        merge_versions(graph.versions, index.graph_def.versions)

    inputs = _share(parts, share)
    for spec in inputs.values():
        nodes[spec.name] = _placeholder(spec)
    targets = {tensor: (spec.dtype, TensorName(spec.name, 0)) for tensor, spec in inputs.items()}
    made = bind(nodes, targets, keep - {t.op for t in targets if nodes[t.op].op in PLACEHOLDERS})
    nodes = made.nodes
    joined = []
    for key, what in joins.items():
        more, spec = _joined(parts, key, what)
        nodes.update((node.name, node) for node in more)
        joined.append(spec)
    for key in list(nodes):
        graph.node.append(nodes.pop(key))

    present = {node.name for node in graph.node}
    fed = {f"{spec.name}:0": spec._replace(name=f"{spec.name}:0") for spec in inputs.values()}
    init: list[str] = []
    assets: dict[str, str] = {}
    for scope, model in parts:
        instance = model._instance
        rename = _under(scope, present, made.moved)
        carry(
            instance.graph.meta_graph,
            result,
            rename,
            key=functools.partial(keys.format, scope=scope),
            replaced=fed,
            scope=scope,
        )
        init += _take_inits(result)
        assets.update((new, path) for old, path in instance.file.assets.items() if (new := rename(old)))
    tables = {f"{scope}/{k}": t for scope, model in parts for k, t in tables_in_use(model._instance).items()}
    if tables:  # what loads it runs the collection, or else the one operation
        initializers = result.collection_def["table_initializer"].node_list.value
        filled = add_contents(graph, tables, initializers)
        initializers.extend(filled)
    else:
        filled = []
    if init:
        init += filled
        operation = next(n for n in ("init", *(f"init_{i}" for i in range(1, 99))) if n not in present)
        graph.node.add(name=operation, op="NoOp", input=[f"^{n}" for n in init])
        result.collection_def["saved_model_main_op"].node_list.value.append(operation)
    if joined:
        _add_signature(result, joined)
    like = next((p.model for p in parts if p.model._instance.file.kind == "saved model"), parts[0].model)
    index = GraphIndex(graph)
    state = _values(parts, values, index)
    if index.variables:
        result.saver_def.CopyFrom(add_saver(graph, index.variables.values(), slices))
    file = made_in_memory(result, like._instance.file, assets)
    return derived(name, file, state, _common_engine(parts), _all_permitted(parts))


def _common_engine(parts: list[_Part]) -> Engine:
    """What all of the models are run by, in name and precision; the defaults where they differ."""
    engines = [part.model._instance.engine for part in parts]
    names, precisions = {e.name for e in engines}, {e.precision for e in engines}
    default = Engine()
    return Engine(
        names.pop() if len(names) == 1 else default.name,
        precisions.pop() if len(precisions) == 1 else default.precision,
    )


def _all_permitted(parts: list[_Part]) -> bool:
    """Whether the ops of the merged model may read and write files.

    A permission is the caller's word for one model's graph. So the merged model has it where each model either had
    it, or has no node that could make use of it: else the nodes of one would do what was permitted to another's.
    """
    able = [part.model._instance for part in parts if reaches(part.model._instance.graph.index)]
    return all(i.access.io for i in able) and any(part.model._instance.access.io for part in parts)


def _named_but_saver(meta_graph: MetaGraphDef | None) -> set[str]:
    if meta_graph is None:
        return set()
    bare = MetaGraphDef(collection_def=meta_graph.collection_def, signature_def=meta_graph.signature_def)
    return _named(bare)


def _under(scope: str, present: set[str], moved: Mapping[TensorName, TensorName]) -> Rename:
    plain = renamed_by(lambda op: f"{scope}/{op}" if f"{scope}/{op}" in present else None)

    def rename(name: str) -> str | None:
        if ":" in name:
            found = moved.get(scoped_tensor(parse_tensor(name), scope))
            if found is not None:
                return str(found)
        return plain(name)

    return rename


def _find(parts: list[_Part], item: Any) -> TensorSpec:
    """A tensor of one of the models, by its name in the merged graph."""
    name = _name(item)
    for scope, model in parts:
        if name.startswith(f"{scope}/"):
            index = model._instance.graph.index
            try:
                tensor = index.tensor(name.removeprefix(f"{scope}/"))
            except UnknownName as error:
                raise UnknownName(f"{name!r} is no tensor of the merged graph; in {scope!r}: {error}") from None
            return index.spec(tensor)._replace(name=str(scoped_tensor(tensor, scope)))
    scopes = [part.scope for part in parts]
    raise UnknownName(f"{name!r} lies in none of the merged models' scopes{closest(name, scopes)}")


def _share(parts: list[_Part], share: Mapping[str, Iterable[Any]]) -> dict[TensorName, TensorSpec]:
    """For each tensor that is replaced, the placeholder that replaces it."""
    found: dict[TensorName, TensorSpec] = {}
    for key, names in share.items():
        specs = [_find(parts, n) for n in ([names] if isinstance(names, (str, TensorSpec)) else names)]
        if not specs:
            raise FeedError(f"share names no tensors for {key!r}; name those that it replaces, as 'scope/x:0'")
        made = TensorSpec(key, specs[0].dtype, specs[0].shape)
        for spec in specs:
            if spec.dtype != made.dtype:
                raise FeedError(
                    f"{spec.name!r} is {spec.dtype} and {specs[0].name!r} {made.dtype}; they can't share {key!r}:"
                    " bind one of them to a placeholder of the other's dtype first"
                )
            try:
                made = made._replace(shape=intersection(made.shape, spec.shape, f"shared input {key!r}: {spec.name!r}"))
            except GraphError as error:
                raise FeedError(str(error)) from None
        for spec in specs:
            tensor = parse_tensor(spec.name)
            if tensor in found:
                raise FeedError(f"{spec.name!r} is shared twice; share it once")
            found[tensor] = made
        for spec in specs:
            found[parse_tensor(spec.name)] = made
    return found


def _placeholder(spec: TensorSpec) -> NodeDef:
    node = NodeDef(name=spec.name, op="Placeholder")
    node.attr["dtype"].type = spec.dtype.number  # type: ignore[assignment]
    node.attr["shape"].shape.CopyFrom(shape_to_proto(spec.shape))
    return node


def _joined(parts: list[_Part], key: str, what: Any) -> tuple[list[NodeDef], TensorSpec]:
    how, names = (what, None) if isinstance(what, str) else what
    if how not in JOINS:
        raise ValueError(f"join {key!r}: there is no {how!r}; there are: {', '.join(JOINS)}")
    if names is None:
        return join(key, how, [_prediction(part) for part in parts])
    return join(key, how, [_find(parts, n) for n in ([names] if isinstance(names, (str, TensorSpec)) else names)])


def _prediction(part: _Part) -> TensorSpec:
    """The one tensor that a call of a model gives."""
    graph = part.model._instance.graph
    with part.model._naming():
        outputs = interface.predict(graph.index, graph.meta_graph, graph.saver, None).outputs
    if len(outputs) != 1:
        raise ValueError(
            f"a call of {part.scope!r} gives {len(outputs)} outputs, {list(outputs)}; name the ones to join"
        )
    tensor = next(iter(outputs.values()))
    return graph.index.spec(tensor)._replace(name=str(scoped_tensor(tensor, part.scope)))


def _take_inits(message: MetaGraphDef) -> list[str]:
    """Takes a carried graph's loader op away and gives its name."""
    found = None
    if interface.INIT_SIGNATURE in message.signature_def:
        outputs = message.signature_def[interface.INIT_SIGNATURE].outputs
        found = outputs[interface.INIT_SIGNATURE].name if interface.INIT_SIGNATURE in outputs else None
        del message.signature_def[interface.INIT_SIGNATURE]
    for name in _INITS:
        if name in message.collection_def:
            listed = message.collection_def[name].node_list.value
            found = found or (listed[0] if listed else None)
            del message.collection_def[name]
    return [parse_tensor(found).op] if found else []


def _add_signature(message: MetaGraphDef, joined: list[TensorSpec]) -> None:
    """`serving_default`: the joined outputs, and the placeholders that they need."""
    index = GraphIndex(message.graph_def)
    needs = _upstream(index.nodes, [spec.name.removesuffix(":0") for spec in joined])
    signature = message.signature_def[interface.DEFAULT_SIGNATURE]
    signature.method_name = _PREDICT
    for spec in joined:
        signature.outputs[spec.name.removesuffix(":0")].CopyFrom(tensor_info(spec))
    for node in index.placeholders:
        if node.name in needs:
            signature.inputs[node.name].CopyFrom(tensor_info(index.spec(f"{node.name}:0")))


def _values(parts: list[_Part], values: Mapping[str, Mapping[str, Any]], index: GraphIndex) -> dict[str, Any]:
    """The variables' values under their new keys."""
    state = {}
    for scope, model in parts:
        for variable in model._instance.graph.index.variables.values():
            node = index.nodes.get(f"{scope}/{variable.name}")
            if node is not None and variable.key in values[scope]:
                state[variable_key(node)] = values[scope][variable.key]
    return state
