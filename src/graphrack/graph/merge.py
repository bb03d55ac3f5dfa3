"""Several graphs in one, each under a scope of its own; and tensors of them joined into new ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrack.errors import GraphError
from graphrack.formats.dtypes import DType, dtype_of
from graphrack.formats.protos.graph_pb2 import FunctionDefLibrary, GraphDef, NodeDef, VersionDef
from graphrack.formats.tensor import tensor_to_proto
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph.index import PLACEHOLDER_SHAPES_SINCE, PLACEHOLDERS
from graphrack.graph.names import TensorName
from graphrack.graph.scope import add_functions, needed_functions, scoped

__all__ = ["JOINS", "Join", "add_graph", "join", "merge_versions"]

_INT32, _INT64, _DOUBLE, _BOOL = 3, 9, 2, 10
_FLOATS = frozenset((1, 2, 14, 19))  # float, double, bfloat16, half


def add_graph(
    nodes: dict[str, NodeDef],
    library: FunctionDefLibrary,
    graph: GraphDef,
    scope: str,
    without: frozenset[str] | set[str] = frozenset(),
) -> None:
    """Adds a graph's nodes, under a scope, and the functions that they need."""
    kept = [node for node in graph.node if node.name not in without]
    functions = add_functions(library, needed_functions(kept, graph.library), scope)
    old = graph.versions.producer < PLACEHOLDER_SHAPES_SINCE
    for node in kept:
        made = scoped(node, scope, functions)
        if old and node.op in PLACEHOLDERS and "shape" in node.attr and not node.attr["shape"].shape.dim:
            # Such a graph knows nothing of this shape; among newer ones it would mean a scalar.
            made.attr["shape"].shape.unknown_rank = True
        nodes[made.name] = made


def merge_versions(into: VersionDef, other: VersionDef) -> None:
    """The versions of a graph that has nodes of both."""
    into.producer = max(into.producer, other.producer)
    into.min_consumer = max(into.min_consumer, other.min_consumer)
    into.bad_consumers.extend(v for v in other.bad_consumers if v not in into.bad_consumers)


class Join:
    """Makes the nodes that join tensors into one, all under its name."""

    def __init__(self, name: str, specs: Sequence[TensorSpec]):
        self.name = name
        self.specs = specs
        self.nodes: list[NodeDef] = []
        self.inputs = [text.removesuffix(":0") for text in (spec.name for spec in specs)]

    @property
    def dtype(self) -> DType:
        """That of the tensors."""
        return self.specs[0].dtype

    def add(self, op: str, name: str, inputs: Sequence[str], **types: int) -> str:
        """Adds a node with type attributes and gives its name; an empty `name` is the join's own."""
        full = f"{self.name}/{name}" if name else self.name
        node = NodeDef(name=full, op=op, input=inputs)
        for attr, number in types.items():
            node.attr[attr].type = number  # type: ignore[assignment]
        self.nodes.append(node)
        return full

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        """Adds a constant."""
        full = self.add("Const", name, [])
        proto = self.nodes[-1].attr["value"].tensor
        tensor_to_proto(value, None, proto)
        self.nodes[-1].attr["dtype"].type = proto.dtype
        return full

    def sum(self, name: str, inputs: Sequence[str], dtype: int) -> str:
        """Adds the sum of tensors of one type."""
        full = self.add("AddN", name, inputs, T=dtype)
        self.nodes[-1].attr["N"].i = len(inputs)
        return full


def _sum(join: Join) -> None:
    join.sum("", join.inputs, join.dtype.number)


def _mean(join: Join) -> None:
    total = join.sum("sum", join.inputs, join.dtype.number)
    count = join.constant("count", np.array(len(join.inputs), join.dtype.numpy))
    join.add("RealDiv", "", [total, count], T=join.dtype.number)


def _vote(join: Join) -> None:
    """The class (last axis) that most tensors give the greatest score.

    Of classes with as many votes it is the one with the greatest sum of scores, and of those the first.
    """
    last = join.constant("axis", np.array(-1, np.int32))
    begin, end, step = (join.constant(n, np.array([v], np.int32)) for n, v in (("begin", -1), ("end", 0), ("step", 1)))
    shape = join.add("Shape", "shape", join.inputs[:1], T=join.dtype.number, out_type=_INT32)
    classes = join.add("StridedSlice", "classes", [shape, begin, end, step], T=_INT32, Index=_INT32)
    join.nodes[-1].attr["end_mask"].i = 1
    join.nodes[-1].attr["shrink_axis_mask"].i = 1
    one, zero = (join.constant(n, np.array(v, np.int32)) for n, v in (("one", 1), ("zero", 0)))
    ballots, scores = [], []
    for i, text in enumerate(join.inputs):
        best = join.add("ArgMax", f"best_{i}", [text, last], T=join.dtype.number, Tidx=_INT32, output_type=_INT64)
        ballots.append(join.add("OneHot", f"ballot_{i}", [best, classes, one, zero], T=_INT32, TI=_INT64))
        join.nodes[-1].attr["axis"].i = -1
        # Summed as doubles: which of two classes wins should not depend on the order of the models.
        scores.append(join.add("Cast", f"scores_{i}", [text], SrcT=join.dtype.number, DstT=_DOUBLE))
    votes = join.sum("votes", ballots, _INT32)
    most = join.add("Max", "most", [votes, last], T=_INT32, Tidx=_INT32)
    join.nodes[-1].attr["keep_dims"].b = True
    tied = join.add("Equal", "tied", [votes, most], T=_INT32)
    total = join.sum("scores", scores, _DOUBLE)
    never = join.constant("never", np.array(-np.inf))
    among = join.add("SelectV2", "among", [tied, total, never], T=_DOUBLE)
    join.add("ArgMax", "", [among, last], T=_DOUBLE, Tidx=_INT32, output_type=_INT64)


JOINS: Mapping[str, Callable[[Join], None]] = {"mean": _mean, "sum": _sum, "vote": _vote}
"""How tensors may be joined."""


def join(name: str, how: str, specs: Sequence[TensorSpec]) -> tuple[list[NodeDef], TensorSpec]:
    """The nodes that join tensors into one called `name`, and this.

    Attributes:
        how: `mean` or `sum`, elementwise; or `vote`: tensors hold scores of classes along their last axis, and
            the joined one (int64, of one axis less) the class that most of them give the greatest score; of
            classes with as many votes, the one with the greatest sum of scores.

    Raises:
        GraphError: tensors of different dtypes or shapes, or of a dtype that can't be joined so.
    """
    if not specs:
        raise GraphError(f"join {name!r} names no tensors; name at least one")
    first = specs[0]
    shape = first.shape
    for spec in specs:
        if spec.dtype != first.dtype:
            raise GraphError(
                f"join {name!r}: {spec.name!r} is {spec.dtype} and {first.name!r} {first.dtype}; dtypes must agree"
            )
        shape = intersection(shape, spec.shape, f"join {name!r}: {spec.name!r}")
    numeric = first.dtype.numpy.kind in "iufc" or first.dtype.number in _FLOATS
    if not numeric or (how in ("mean", "vote") and first.dtype.number not in _FLOATS):
        needs = "numbers" if how == "sum" else "floating-point numbers"
        raise GraphError(f"join {name!r}: {how} needs {needs}; {first.name!r} is {first.dtype}")
    if how == "vote" and shape == ():
        raise GraphError(f"join {name!r}: vote needs scores of classes along the last axis; {first.name!r} is a scalar")
    made = Join(name, specs)
    JOINS[how](made)
    if how == "vote":
        return made.nodes, TensorSpec(f"{name}:0", dtype_of(_INT64), None if shape is None else shape[:-1])
    return made.nodes, TensorSpec(f"{name}:0", first.dtype, shape)


def intersection(
    one: tuple[int | None, ...] | None, other: tuple[int | None, ...] | None, what: str
) -> tuple[int | None, ...] | None:
    """The shape that is both; None stands for what isn't known. Raises `GraphError` where there is none."""
    if one is None or other is None:
        return other if one is None else one
    if len(one) != len(other) or any(None not in (a, b) and a != b for a, b in zip(one, other, strict=True)):
        raise GraphError(f"{what} has shape {list(other)}, and another one {list(one)}; their shapes must agree")
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))


def scoped_tensor(tensor: TensorName, scope: str) -> TensorName:
    """A tensor's name under a scope."""
    return TensorName(f"{scope}/{tensor.op}", tensor.output) if scope else tensor
