"""Nodes that compute what others do, or what nobody takes: left out of a plan.

What builds a graph asks for the same again and again: each feature column looks up the ids of a feature anew, each
optimizer makes a gradient of the loss of its own, and every gradient asks for shapes. Two nodes of one op and the same
attributes that take the same and wait for the same give the same, unless they draw random numbers or look at what may
change; so they are one. Where a node is only waited for, as the gradients that an optimizer doesn't apply, others wait
for what it would wait for instead.

TensorFlow does both before a session's first run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

from graphrack.engines.interpreter.control_flow import CONTROL_FLOW, MERGES
from graphrack.engines.interpreter.plan import Fetch
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import REF_VARIABLES
from graphrack.graph.prune import Needed
from graphrack.ops.registry import Op

Tensor = tuple[str, int]

_PASSES = frozenset(("Identity", "StopGradient", "PreventGradient", "Snapshot", "GuaranteeConst"))
# They are waited for because they fail.
_TELLS = frozenset(("CheckNumerics", "CheckNumericsV2", "EnsureShape"))
_REFERENCES = REF_VARIABLES | {"TemporaryVariable"}
_HANDS_ON_REFERENCES = CONTROL_FLOW | {"Identity", "RefIdentity"}
# Of a constant that it pays to compare with others.
_MOST_ELEMENTS = 64


def merge_duplicates(
    work: Needed,
    fed: Collection[Tensor],
    fetches: Sequence[Fetch],
    ops: Mapping[str, Op],
    outside: Callable[[str], bool],
    *,
    by_reference: bool,
) -> bool:
    """Makes nodes take what they need of the first of those that compute the same; gives whether any does now.

    Attributes:
        ops: of the nodes that kernels compute, by name of the op.
        outside: whether a node lies in no branch and no loop.
        by_reference: whether TF1 variables are read when an op takes their value.
    """
    merging = _Merging(work, fed, fetches, ops, outside, by_reference=by_reference)
    for node in work.order:
        merging.node(node)
    merging.take_anew()
    merging.pass_over_idle()
    return merging.changed


class _Merging:
    """One plan's nodes, looked at in an order.

    Attributes:
        changed: whether any node takes anything else than before.
    """

    def __init__(
        self,
        work: Needed,
        fed: Collection[Tensor],
        fetches: Sequence[Fetch],
        ops: Mapping[str, Op],
        outside: Callable[[str], bool],
        *,
        by_reference: bool,
    ):
        self.changed = False
        self._work = work
        self._ops = ops
        self._outside = outside
        self._by_reference = by_reference
        self._fed = fed
        self._fed_nodes = {name for name, _ in fed}
        self._fetched = {fetch if isinstance(fetch, str) else fetch.op for fetch in fetches}
        self._references: set[str] = set()  # nodes that give one
        self._readers: set[str] = set()  # nodes that take one
        self._seen: dict[Hashable, list[NodeDef]] = {}
        self._names: dict[str, str] = {}  # for a node the one that stands for it
        self._tensors: dict[Tensor, Tensor] = {}  # for what an Identity gives what it takes

    def node(self, node: NodeDef) -> None:
        """Finds out what stands for a node; all that it takes must have been looked at, but for loops' Merges."""
        name, work = node.name, self._work
        if self._names or self._tensors:
            self._take(name)
        inputs, controls = work.inputs[name], work.controls.get(name)
        if self._by_reference and self._reads(node, inputs):
            return
        if name in self._fed_nodes or name in self._fetched or not self._is_pure(node):
            return
        if node.op in _PASSES and len(inputs) == 1 and not controls and self._outside(name):
            self._tensors[name, 0] = inputs[0]
            return
        key = self._key(node, inputs, controls)
        if key is None:
            return
        others = self._seen.setdefault(key, [])
        for other in others:
            if node.op in ("Const", "NoOp") or _attributes_are_same(node, other):
                self._names[name] = other.name
                return
        others.append(node)

    def take_anew(self) -> None:
        """Makes loops' Merges, which come before what they take, take it from where it is now."""
        if self._names or self._tensors:
            for node in self._work.order:
                if node.op in MERGES:
                    self._take(node.name)

    def pass_over_idle(self) -> None:
        """Makes nodes wait for what others wait for that nobody takes anything of."""
        work, controls = self._work, self._work.controls
        if not controls:
            return
        taken = self._fetched | self._fed_nodes
        idle: dict[str, list[str]] = {}  # each with what others wait for instead of it
        for node in reversed(work.order):
            name = node.name
            if name not in taken and node.op not in _TELLS and self._is_pure(node) and self._outside(name):
                idle[name] = []
            else:
                taken.update([source[0] for source in work.inputs[name]])
        for node in work.order:
            name = node.name
            waits = controls.get(name, [])
            if not idle.keys().isdisjoint(waits):
                waits = [other for wait in waits for other in idle.get(wait, (wait,))]
                controls[name] = waits = list(dict.fromkeys(waits))
                self.changed = True
            if name in idle:
                sources = [source[0] for source in work.inputs[name] if source not in self._fed]
                sources = [other for source in sources for other in idle.get(source, (source,))]
                idle[name] = list(dict.fromkeys([*sources, *waits]))

    def _take(self, name: str) -> None:
        work, names, tensors = self._work, self._names, self._tensors
        inputs = work.inputs[name]
        for i, source in enumerate(inputs):
            if source in tensors:
                inputs[i] = tensors[source]
                self.changed = True
            elif source[0] in names:
                inputs[i] = names[source[0]], source[1]
                self.changed = True
        controls = work.controls.get(name)
        if controls is not None and not names.keys().isdisjoint(controls):
            work.controls[name] = list(dict.fromkeys([names.get(other, other) for other in controls]))
            self.changed = True

    def _reads(self, node: NodeDef, inputs: Sequence[Tensor]) -> bool:
        """Whether a node takes a reference to a variable, whose value it reads when it runs; or gives one."""
        takes = any(source[0] in self._references for source in inputs)
        if node.op in _REFERENCES or (takes and node.op in _HANDS_ON_REFERENCES):
            self._references.add(node.name)
            return True
        if takes:
            self._readers.add(node.name)
            op = self._ops.get(node.op)
            if op is not None and op.ref_output:
                self._references.add(node.name)
        return takes

    def _is_pure(self, node: NodeDef) -> bool:
        """Whether running a node twice gives the same and does nothing else."""
        if node.op in ("Const", "NoOp"):
            return True
        op = self._ops.get(node.op)
        return (
            op is not None
            and op.outputs != 0
            and not (op.state or op.impure or op.writes or op.io or op.ref_inputs)
            and "node_name" not in op.keywords
            and node.name not in self._references
            and node.name not in self._readers
        )

    @staticmethod
    def _key(node: NodeDef, inputs: Sequence[Tensor], controls: Sequence[str] | None) -> Hashable | None:
        """What nodes have in common that may give the same; None for one that is not compared."""
        waits = frozenset(controls) if controls else None
        if node.op != "Const":
            return node.op, tuple(inputs), waits
        value = node.attr["value"].tensor if "value" in node.attr else None
        # Not by its bytes: to count these, a message is written out, weights and all.
        if value is None or math.prod(dim.size for dim in value.tensor_shape.dim) > _MOST_ELEMENTS:
            return None
        return node.op, value.SerializeToString(), waits


def _attributes_are_same(node: NodeDef, other: NodeDef) -> bool:
    """Whether two nodes of one op compute in the same way; names with a `_` in front are notes about them."""
    keys = [key for key in node.attr if not key.startswith("_")]
    if len(keys) != sum(not key.startswith("_") for key in other.attr):
        return False
    return all(key in other.attr and node.attr[key] == other.attr[key] for key in keys)
