"""What a graph's own Saver does: which variable gets which tensor of a checkpoint, by which nodes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, cast

from graphrack.errors import GraphError
from graphrack.formats.protos.graph_pb2 import DataType, GraphDef, NodeDef
from graphrack.formats.protos.metagraph_pb2 import SaverDef
from graphrack.formats.tensor import tensor_from_proto
from graphrack.graph.index import GraphIndex, Variable
from graphrack.graph.names import TensorName, parse_input, parse_tensor
from graphrack.graph.prune import needed

_ASSIGNS = frozenset(("Assign", "AssignVariableOp"))
_RESTORES = {"RestoreV2": (1, 2), "RestoreSlice": (1, 2), "Restore": (1, None)}


class SaverNodes(NamedTuple):
    """The nodes by which a graph saves and restores itself: SaverDef's three names, as tensors and ops."""

    filename: TensorName
    save: TensorName | None
    restore: str


class Restored(NamedTuple):
    """One assignment of a restore: `assign` gives `variable` the tensor `key`, or the slice `spec` of it.

    `reshaped` says that the graph reshapes the value first (a Saver made with `reshape=True`).
    """

    variable: Variable
    assign: str
    key: str
    spec: str
    reshaped: bool


def saver_nodes(index: GraphIndex, saver_def: SaverDef | None) -> SaverNodes | None:
    """The graph's Saver: what its SaverDef names, else the names that a Saver gives; None where it has none.

    Raises:
        GraphError: the SaverDef names nodes that the graph doesn't have.
    """
    if saver_def is not None and saver_def.restore_op_name:
        names = (saver_def.filename_tensor_name, saver_def.save_tensor_name, saver_def.restore_op_name)
        for name in names:
            if name and parse_tensor(name).op not in index.nodes:
                raise GraphError(
                    f"the SaverDef names {name!r}, which the graph doesn't have; the file's parts don't belong together"
                )
        save = parse_tensor(names[1]) if names[1] else None
        return SaverNodes(parse_tensor(names[0]), save, parse_tensor(names[2]).op)
    # A GraphDef carries no SaverDef; the Saver's default names are what freeze_graph goes by, too.
    if "save/restore_all" in index.nodes and "save/Const" in index.nodes:
        save = TensorName("save/control_dependency", 0)
        return SaverNodes(TensorName("save/Const", 0), save if save.op in index.nodes else None, "save/restore_all")
    return None


def restored_by(index: GraphIndex, nodes: SaverNodes) -> list[Restored]:
    """What the graph's restore op assigns, found by following its Assign nodes back to what they take."""
    found = []
    # One RestoreV2 has the names of all its outputs in one constant: decoded once.
    strings = functools.cache(lambda text: _strings(index, text))
    for node in needed(index, [nodes.restore], {nodes.filename}).order:
        if node.op not in _ASSIGNS or len(node.input) < 2:
            continue
        target = _through(index, node.input[0])
        source = _restore_source(index, node.input[1], strings)
        if target is not None and target.name in index.variables and source is not None:
            found.append(Restored(index.variables[target.name], node.name, *source))
    return found


def _through(index: GraphIndex, text: str) -> NodeDef | None:
    """The node behind identities."""
    node = index.nodes.get(parse_input(text)[0])
    while node is not None and node.op in ("Identity", "RefIdentity") and node.input:
        node = index.nodes.get(parse_input(node.input[0])[0])
    return node


def _restore_source(
    index: GraphIndex, text: str, strings: Callable[[str], list[str] | None]
) -> tuple[str, str, bool] | None:
    """The checkpoint's tensor name and slice behind an assigned value, through whatever reshapes it."""
    reshaped = False
    for _ in range(64):
        name, output = parse_input(text)
        node = index.nodes.get(name)
        if node is None or not node.input:
            return None
        if node.op in _RESTORES:
            names_at, specs_at = _RESTORES[node.op]
            if len(node.input) <= (specs_at or names_at):
                return None
            names = strings(node.input[names_at])
            specs = strings(node.input[specs_at]) if specs_at is not None else [""] * len(names or ())
            if names is None or specs is None or output >= min(len(names), len(specs)):
                return None
            return names[output], specs[output], reshaped
        reshaped = reshaped or node.op == "Reshape"
        text = node.input[0]
    return None


def _strings(index: GraphIndex, text: str) -> list[str] | None:
    node = _through(index, text)
    if node is None or node.op != "Const":
        return None
    values = tensor_from_proto(node.attr["value"].tensor).ravel()
    return [value.decode(errors="surrogateescape") for value in values] if values.dtype == object else None


def only_for_saving(index: GraphIndex, nodes: SaverNodes, keep: Iterable[str] = ()) -> set[str]:
    """The operations that nothing but the graph's own Saver needs; `keep` are needed, and what they need."""
    roots = [nodes.restore, *([nodes.save.op] if nodes.save is not None else ()), nodes.filename.op]
    saving = _upstream(index, roots)
    variables = set(index.variables)
    return saving - _upstream(index, [*variables, *keep, *(n for n in index.nodes if n not in saving)])


def _upstream(index: GraphIndex, names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    stack = [name for name in names if name in index.nodes]
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            sources = (parse_input(text)[0] for text in index.nodes[name].input)
            stack += [source for source in sources if source in index.nodes]
    return found


def with_saver(graph_def: GraphDef, variables: Iterable[Variable]) -> tuple[GraphDef, SaverDef]:
    """A copy of the graph with nodes that save and restore the variables: see `add_saver`."""
    result = GraphDef()
    result.CopyFrom(graph_def)
    return result, add_saver(result, variables)


def add_saver(
    result: GraphDef, variables: Iterable[Variable], slices: Mapping[str, tuple[str, str]] | None = None
) -> SaverDef:
    """Adds nodes to a graph that save and restore variables, as a `tf.train.Saver` does.

    The nodes lie under the first of the scopes `save`, `save_1`, … that is free. `slices` gives, for variables that
    are parts of a larger one, its name in a checkpoint and which part they are (`"10 4 0,5:0,4"`).
    """
    string = DataType.DT_STRING
    taken = {node.name.partition("/")[0] for node in result.node}
    scope = next(s for s in ("save", *(f"save_{i}" for i in range(1, len(taken) + 2))) if s not in taken)
    listed = list(variables)
    stored = [(slices or {}).get(v.name, (v.name, "")) for v in listed]

    def add(op: str, name: str, inputs: Iterable[str] = ()) -> NodeDef:
        return result.node.add(op=op, name=f"{scope}/{name}", input=inputs)

    def constant(name: str, values: list[bytes], scalar: bool = False) -> str:
        node = add("Const", name)
        node.attr["dtype"].type = string
        tensor = node.attr["value"].tensor
        tensor.dtype = string
        tensor.string_val.extend(values)
        if scalar:
            tensor.tensor_shape.SetInParent()
        else:
            tensor.tensor_shape.dim.add(size=len(values))
        return node.name

    types = [cast(DataType, v.dtype.number) for v in listed]
    filename = constant("Const", [b"model"], scalar=True)
    names = constant("SaveV2/tensor_names", [name.encode() for name, _ in stored])
    specs = constant("SaveV2/shape_and_slices", [spec.encode() for _, spec in stored])
    values = []
    for i, v in enumerate(listed):
        if v.is_resource:
            read = add("ReadVariableOp", f"{v.name}/Read", [v.name])
            read.attr["dtype"].type = types[i]
            values.append(read.name)
        else:
            values.append(v.name)
    save = add("SaveV2", "SaveV2", [filename, names, specs, *values])
    save.attr["dtypes"].list.type.extend(types)
    done = add("Identity", "control_dependency", [filename, f"^{save.name}"])
    done.attr["T"].type = string
    restore = add("RestoreV2", "RestoreV2", [filename, names, specs])
    restore.attr["dtypes"].list.type.extend(types)
    assigns = []
    for i, v in enumerate(listed):
        assign = add("AssignVariableOp" if v.is_resource else "Assign", f"Assign_{i}", [v.name, f"{restore.name}:{i}"])
        if v.is_resource:
            assign.attr["dtype"].type = types[i]
        else:
            assign.attr["T"].type = types[i]
            assign.attr["use_locking"].b = True
            assign.attr["validate_shape"].b = True
        assigns.append(assign.name)
    restore_all = add("NoOp", "restore_all", [f"^{a}" for a in assigns])
    return SaverDef(
        filename_tensor_name=f"{filename}:0",
        save_tensor_name=f"{done.name}:0",
        restore_op_name=restore_all.name,
        max_to_keep=5,
        keep_checkpoint_every_n_hours=10000.0,
        version=SaverDef.V2,
    )
