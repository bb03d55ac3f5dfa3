"""Runs one graph several times by TensorFlow and by graphrack's kernels, each keeping its state.

Like the harness, graphrack's side evaluates nodes as they are, without a plan: what is tested is the
kernels and what they do to the state they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from comparing import compare
from ops.harness import REFUSALS, Refused
from recording import Refusal, Run, record
from tf_models import PLAIN

from graphrack.errors import UninitializedError
from graphrack.formats.dtypes import dtype_of
from graphrack.formats.protos import graph_pb2
from graphrack.formats.tensor import attr_value, tensor_from_proto
from graphrack.ops import registry
from graphrack.ops.runtime import Handle

VARIABLES = ("VariableV2", "Variable", "VarHandleOp", "TemporaryVariable")


class KernelState:
    """The `RunState` of runs one after another; `frozen` marks arrays that nobody may write into."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.nodes: dict[str, Any] = {}

    def read(self, handle: Handle) -> Any:
        if handle.key not in self.values:
            raise UninitializedError(f"variable {handle.name!r} has no value")
        return self.values[handle.key]

    def write(self, handle: Handle, value: Any) -> None:
        assert isinstance(value, np.ndarray), f"{handle.name}: {type(value)} is no array"
        assert handle.dtype is None or value.dtype == handle.dtype.numpy, f"{value.dtype} in {handle.dtype}"
        if value.base is None and value.flags.owndata:
            value.flags.writeable = False  # values are never written in place
        self.values[handle.key] = value

    def copy(self, handle: Handle, rows: Any) -> Any:
        return self.read(handle).copy()

    def has_value(self, handle: Handle) -> bool:
        return handle.key in self.values

    def forget(self, handle: Handle) -> None:
        self.values.pop(handle.key, None)

    def per_node(self, node_name: str, make: Callable[[], Any]) -> Any:
        if node_name not in self.nodes:
            self.nodes[node_name] = make()
        return self.nodes[node_name]


class Kernels:
    """A graph whose nodes are computed one by one, and the state they keep."""

    def __init__(self, data: bytes):
        graph = graph_pb2.GraphDef.FromString(data)
        self.nodes = {node.name: node for node in graph.node}
        self.state = KernelState()
        self.bound: dict[str, Any] = {}

    def run(self, fetches: list[str], feeds: dict[str, Any] | None = None) -> list[Any]:
        """One run: values of tensors (`name:0`), None for operations (`name`), which are run all the same."""
        values: dict[str, Any] = dict(feeds or {})
        done: set[str] = set()

        def value(reference: str, by_reference: bool = False) -> Any:
            name, _, output = reference.partition(":")
            key = f"{name}:{output or 0}"
            if key not in values:
                run(self.nodes[name])
            found = values[key]
            if isinstance(found, Handle) and self.nodes[name].op != "VarHandleOp" and not by_reference:
                return self.state.read(found)
            return found

        def run(node: graph_pb2.NodeDef) -> None:
            if node.name in done:
                return
            done.add(node.name)
            for source in node.input:
                if source.startswith("^"):
                    run(self.nodes[source[1:]])
            if node.op == "Const":
                values[f"{node.name}:0"] = tensor_from_proto(node.attr["value"].tensor)
                return
            if node.op in VARIABLES:
                dtype = dtype_of(node.attr["dtype"].type)
                values[f"{node.name}:0"] = Handle(node.name, node.name, dtype, attr_value(node.attr["shape"]))
                return
            if node.op == "NoOp":
                return
            op = registry.lookup(node.op)
            assert op is not None, f"op {node.op!r} is not registered"
            sources = [s for s in node.input if not s.startswith("^")]
            inputs = [value(s, i in op.ref_inputs) for i, s in enumerate(sources)]
            if node.name not in self.bound:
                attributes = {k: attr_value(v) for k, v in node.attr.items()}
                facts = {"input_count": len(inputs), "output_count": op.outputs}
                self.bound[node.name] = op.bind(node.name, attributes, facts)
            results = self.bound[node.name](*([self.state] if op.state else []), *inputs)
            if op.outputs == 1:
                results = (results,)
            elif op.outputs == 0:
                results = ()
            assert op.outputs == registry.MANY or len(results) == op.outputs
            for i, result in enumerate(results):
                values[f"{node.name}:{i}"] = result

        with np.errstate(all="ignore"):
            for name in fetches:
                if ":" not in name:
                    run(self.nodes[name])
            return [value(name) if ":" in name else None for name in fetches]


def sessions(
    build: Callable[[], Any],
    runs: int = 1,
    feeds: dict[str, Any] | None = None,
    prepare: tuple[str, ...] = (),
    rtol: float | None = None,
    atol: float | None = None,
) -> tuple[list[Any], list[Any]]:
    """What TensorFlow and graphrack give in consecutive runs of what `build` makes.

    Attributes:
        build: makes the graph; gives the tensors and operations to fetch.
        feeds: arrays by tensor name.
        prepare: operations that are run once before (initialisers).
        rtol, atol: bounds that the comparison will have, for what is recorded.

    Returns:
        TensorFlow's and graphrack's: for each run a list of values, or `Refused`.
    """
    feeds = feeds or {}
    with tf.Graph().as_default() as graph:
        fetches = build()
        fetches = list(fetches) if isinstance(fetches, (list, tuple)) else [fetches]
        data = graph.as_graph_def().SerializeToString()
        theirs: list[Any] = []
        with tf.Session(graph=graph, config=PLAIN) as session:
            session.run(list(prepare))
            for _ in range(runs):
                try:
                    theirs.append(session.run(fetches, feeds))
                except (tf.errors.OpError, ValueError) as error:
                    theirs.append(Refused(error))
    names = [f.name for f in fetches]
    prepared = [Run(prepare, {}, [None] * len(prepare))] if prepare else []
    record(data, [*prepared, *(Run(names, feeds, recorded(values)) for values in theirs)], rtol, atol)
    kernels = Kernels(data)
    kernels.run(list(prepare))
    ours: list[Any] = []
    for _ in range(runs):
        try:
            ours.append(kernels.run(names, feeds))
        except REFUSALS as error:
            ours.append(Refused(error))
    return theirs, ours


def recorded(values: Any) -> Any:
    """What a run gave, as it is recorded."""
    return Refusal(str(values.error)) if isinstance(values, Refused) else values


def check_sessions(
    build: Callable[[], Any],
    runs: int = 1,
    feeds: dict[str, Any] | None = None,
    prepare: tuple[str, ...] = (),
    *,
    rtol: float | None = None,
    atol: float | None = None,
    refused: bool = False,
    note: str = "",
) -> list[Any]:
    """Asserts that both give the same in each run, or that both refuse; gives TensorFlow's values."""
    theirs, ours = sessions(build, runs, feeds, prepare, rtol, atol)
    for i, (expected, found) in enumerate(zip(theirs, ours, strict=True)):
        where = f"{note} run {i}"
        assert isinstance(expected, Refused) is refused, f"{where}: TensorFlow {expected}"
        assert isinstance(found, Refused) is refused, f"{where}: graphrack {found}, TensorFlow {expected}"
        if not refused:
            for their, our in zip(expected, found, strict=True):
                if their is not None:
                    compare(our, their, rtol, atol, where)
    return theirs
