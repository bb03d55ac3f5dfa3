"""TensorFlow itself: imported on first use, asked which ops it has, and a graph of ours made one of its own."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterable
from typing import Any

from graphrack.engines.tensorflow.failures import first_lines
from graphrack.errors import GraphError, MissingDependency
from graphrack.formats.protos.graph_pb2 import GraphDef, NodeDef
from graphrack.graph.freeze import check_size
from graphrack.graph.index import ANONYMOUS, RESOURCE_VARIABLES
from graphrack.graph.names import parse_input

_MISSING = (
    'engine="tensorflow" needs TensorFlow, which can\'t be imported here ({}); pip install "graphrack[tensorflow]"'
)

# Placement, and what was once inferred: both may name what is not there any more.
_DROPPED_ATTRIBUTES = ("_class", "_output_shapes")
_NODE = re.compile(r"\{\{node ([^}]+)\}\}|\{\{function_node [^}]+\}\}|[Nn]ode '([^']+)'")
_REMOVED = re.compile(r"Op (\w+) is not available in GraphDef version")
_MAX_LEFT_OUT = 200


def is_installed() -> bool:
    """Whether TensorFlow can be found; imports nothing."""
    try:
        return importlib.util.find_spec("tensorflow") is not None
    except (ImportError, ValueError):  # a module that was blocked, or one without a spec
        return False


def require_installed() -> None:
    """Raises `MissingDependency` where TensorFlow can't be found; imports nothing."""
    if not is_installed():
        raise MissingDependency(_MISSING.format("no module of that name"))


def tensorflow() -> Any:
    """`tf.compat.v1`. Raises `MissingDependency` where it can't be imported."""
    try:
        return importlib.import_module("tensorflow.compat.v1")
    except ImportError as error:
        raise MissingDependency(_MISSING.format(error)) from error


def definition(op: str) -> Any:
    """TensorFlow's OpDef, None for an op that it lacks."""
    return importlib.import_module("tensorflow.python.framework.op_def_registry").get(op)


def imported(graph_def: GraphDef) -> tuple[Any, dict[str, str]]:
    """A `tf.Graph` of a graph's nodes, and those that TensorFlow doesn't take, each with the reason.

    Devices and colocation are left out, and so is what takes something from a node that is.

    Raises:
        GraphError: TensorFlow takes none of it, or it is larger than 2 GB.
    """
    tf = tensorflow()
    check_size(graph_def.ByteSize(), "the graph that TensorFlow is to run")
    theirs = tf.GraphDef.FromString(_portable(graph_def).SerializeToString())
    left_out: dict[str, str] = {}
    for node in theirs.node:
        if definition(node.op) is None:
            left_out[node.name] = f"TensorFlow {tf.__version__} has no op {node.op}"
    while True:
        _leave_out(theirs, left_out)
        graph = tf.Graph()
        try:
            with graph.as_default():
                tf.import_graph_def(theirs, name="")
        except (ValueError, tf.errors.OpError) as error:
            text = str(error)
            names = {node.name for node in theirs.node}
            found = [name for match in _NODE.findall(text) for name in match if name in names][:1]
            removed = _REMOVED.search(text)
            if removed is not None:
                found = [node.name for node in theirs.node if node.op == removed[1]]
            if not found or len(left_out) > _MAX_LEFT_OUT:
                raise GraphError(f"TensorFlow {tf.__version__} doesn't take the graph: {first_lines(text)}") from error
            left_out.update(dict.fromkeys(found, first_lines(text)))
        else:
            return graph, left_out


def _leave_out(theirs: Any, left_out: dict[str, str]) -> None:
    """Takes nodes away, and all that needs them, with the reasons."""
    names = {node.name for node in theirs.node}
    taken_by: dict[str, list[str]] = {}
    for node in theirs.node:
        for text in node.input:
            source = parse_input(text)[0]
            taken_by.setdefault(source, []).append(node.name)
            if source not in names and source not in left_out:
                left_out[node.name] = f"it takes {text!r}, which the graph doesn't have"
    stack = list(left_out)
    while stack:
        source = stack.pop()
        for name in taken_by.get(source, ()):
            if name not in left_out:
                left_out[name] = f"it needs {source!r}: {left_out[source]}"
                stack.append(name)
    if not names.isdisjoint(left_out):
        kept = [node for node in theirs.node if node.name not in left_out]
        rest = type(theirs)()
        rest.CopyFrom(theirs)
        del rest.node[:]
        rest.node.extend(kept)
        theirs.CopyFrom(rest)


def _portable(graph_def: GraphDef) -> GraphDef:
    """The graph without devices, and with a name for each resource variable that has none to be found by."""
    result = GraphDef()
    result.CopyFrom(graph_def)
    groups: list[Iterable[NodeDef]] = [result.node, *(function.node_def for function in result.library.function)]
    for group in groups:
        for node in group:
            node.ClearField("device")
            for name in _DROPPED_ATTRIBUTES:
                node.attr.pop(name, None)
            if node.op in RESOURCE_VARIABLES and node.attr["shared_name"].s.decode("utf-8", "replace") in (
                "",
                ANONYMOUS,
            ):
                node.attr["shared_name"].s = node.name.encode("utf-8", "surrogateescape")
    return result
