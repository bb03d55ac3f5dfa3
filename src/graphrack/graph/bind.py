"""Tensors of a graph replaced, for all that take from them, by values, new placeholders or other tensors.

All replacements are made at once: a tensor that takes the place of another is the one that the graph had
before, so that `{x: y, y: x}` swaps two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from graphrack.errors import GraphError
from graphrack.formats.dtypes import DType
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.formats.tensor import shape_to_proto, tensor_to_proto
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph.function_names import unique
from graphrack.graph.gates import MERGES, NEXT_ITERATIONS, SWITCHES, Gates
from graphrack.graph.index import PLACEHOLDERS, REF_VARIABLES, RESOURCE_VARIABLES, output_count
from graphrack.graph.names import TensorName, parse_input

__all__ = ["Bound", "Replacement", "bind", "compatible_shapes"]

Replacement = np.ndarray[Any, Any] | TensorSpec | TensorName


class Bound(NamedTuple):
    """A graph with tensors replaced.

    Attributes:
        nodes: by name.
        moved: for each replaced tensor the one that now stands for it.
        placeholders: for each tensor that was replaced by a placeholder, this.
    """

    nodes: dict[str, NodeDef]
    moved: dict[TensorName, TensorName]
    placeholders: dict[TensorName, TensorSpec]


def bind(
    nodes: Mapping[str, NodeDef],
    replacements: Mapping[TensorName, tuple[DType, Replacement]],
    keep: Collection[str] = (),
) -> Bound:
    """The nodes with tensors replaced; none is changed.

    Nodes that only the replaced tensors needed go.

    Attributes:
        replacements: for each tensor its dtype and what takes its place: a value of that dtype, a placeholder
            of any name, dtype (other numbers are cast) and shape, or another tensor of the same dtype.
        keep: operations that stay even if nothing takes from them any more.

    Raises:
        GraphError: the graph would have a cycle, a name is taken, or a tensor lies in another loop or branch.
    """
    binder = _Binder(nodes, replacements)
    for tensor, (dtype, replacement) in replacements.items():
        if isinstance(replacement, TensorName):
            binder.by_tensor(tensor, replacement)
        elif isinstance(replacement, TensorSpec):
            binder.by_placeholder(tensor, dtype, replacement)
        else:
            binder.by_value(tensor, dtype, replacement)
    return binder.bound(frozenset(keep))


def compatible_shapes(one: tuple[int | None, ...] | None, other: tuple[int | None, ...] | None) -> bool:
    """Whether a tensor may have both shapes, as far as they are known."""
    if one is None or other is None:
        return True
    return len(one) == len(other) and all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


class _Binder:
    def __init__(self, nodes: Mapping[str, NodeDef], replaced: Mapping[TensorName, tuple[DType, Replacement]]):
        self._old = nodes
        self._nodes = dict(nodes)
        self._taken = set(nodes)
        self._gates = Gates(nodes)
        self._replaced = replaced
        # A tensor that takes another's place stays, whatever takes its own.
        self._targets = {r.op for _, r in replaced.values() if isinstance(r, TensorName)}
        self._moved: dict[TensorName, TensorName] = {}
        self._placeholders: dict[TensorName, TensorSpec] = {}
        self._controls: dict[str, str] = {}

    def by_value(self, tensor: TensorName, dtype: DType, value: np.ndarray[Any, Any]) -> None:
        made = NodeDef(op="Const")
        if self._in_place(tensor):
            made.name = tensor.op
            sources = list(self._old[tensor.op].input)
        else:
            made.name = unique(f"{tensor.op}_{tensor.output}", self._taken)
            sources = [_text(tensor)]
        if self._gates.of_input(str(tensor)):  # else it would belong to no branch and no loop
            made.input.extend(dict.fromkeys(self._after(text, made.name) for text in sources))
        made.attr["dtype"].type = dtype.number  # type: ignore[assignment]
        tensor_to_proto(value, dtype, made.attr["value"].tensor)
        self._nodes[made.name] = made
        self._moved[tensor] = TensorName(made.name, 0)

    def _after(self, text: str, name: str) -> str:
        """The control input that puts a node where an input would."""
        op, output = parse_input(text)
        source = self._old[op]
        if output < 0 or source.op not in SWITCHES:
            return f"^{op}"
        # A Switch itself runs whichever branch is taken: what takes its output tells.
        pivot = NodeDef(name=unique(f"{name}/input", self._taken), op="Identity", input=[text])
        pivot.attr["T"].CopyFrom(source.attr["T"])
        self._nodes[pivot.name] = pivot
        return f"^{pivot.name}"

    def by_placeholder(self, tensor: TensorName, dtype: DType, spec: TensorSpec) -> None:
        if self._gates.of_input(str(tensor)):
            raise GraphError(
                f"{str(tensor)!r} lies in a loop or branch, where no placeholder can stand; bind what that takes"
            )
        name = spec.name.removesuffix(":0") or tensor.op
        in_place = name == tensor.op and self._in_place(tensor)
        if name in self._taken and not in_place:
            raise GraphError(
                f"{str(tensor)!r} can't be bound to a new placeholder {name!r}: the graph has an operation of that"
                f" name; to bind it to that one, give the name ({name!r}), else another name"
            )
        self._taken.add(name)
        made = NodeDef(name=name, op="Placeholder")
        made.attr["dtype"].type = spec.dtype.number  # type: ignore[assignment]
        made.attr["shape"].shape.CopyFrom(shape_to_proto(spec.shape))
        self._nodes[name] = made
        self._placeholders[tensor] = TensorSpec(f"{name}:0", spec.dtype, spec.shape)
        self._moved[tensor] = TensorName(name, 0)
        if spec.dtype != dtype:
            cast = NodeDef(name=unique(f"{name}/Cast", self._taken), op="Cast", input=[name])
            cast.attr["SrcT"].type = spec.dtype.number  # type: ignore[assignment]
            cast.attr["DstT"].type = dtype.number  # type: ignore[assignment]
            self._nodes[cast.name] = cast
            self._moved[tensor] = TensorName(cast.name, 0)
        if not in_place and self._old[tensor.op].op in PLACEHOLDERS and tensor.op not in self._targets:
            self._controls[tensor.op] = name

    def by_tensor(self, tensor: TensorName, target: TensorName) -> None:
        if self._gates.of_input(str(tensor)) != self._gates.of_input(str(target)):
            raise GraphError(
                f"{str(tensor)!r} can't be bound to {str(target)!r}: they don't lie in the same loops and branches"
            )
        self._moved[tensor] = target

    def bound(self, keep: frozenset[str]) -> Bound:
        """The nodes in the end."""
        moved = {str(old): _text(new) for old, new in self._moved.items()}
        moved.update({old.op: _text(new) for old, new in self._moved.items() if old.output == 0})
        # What stands for a placeholder that is gone, for those that wait for it.
        waits = {f"^{old}": f"^{new}" for old, new in self._controls.items()}
        added = {name for name, node in self._nodes.items() if node is not self._old.get(name)}
        rewired: set[str] = set()
        for name, node in self._nodes.items():
            if name in added:
                continue
            inputs = [waits.get(t, t) if t.startswith("^") else moved.get(t, t) for t in node.input]
            if inputs != list(node.input):
                changed = NodeDef()
                changed.CopyFrom(node)
                del changed.input[:]
                changed.input.extend(inputs)
                self._nodes[name] = changed
                rewired.add(name)
        rewired |= {t.op for t in self._replaced}
        self._forget_shapes(rewired)
        self._drop_unneeded(keep)
        _check_cycles(self._nodes)
        return Bound(self._nodes, self._moved, self._placeholders)

    def _in_place(self, tensor: TensorName) -> bool:
        return tensor.op not in self._targets and output_count(self._old[tensor.op]) == 1

    def _forget_shapes(self, changed: set[str]) -> None:
        """Takes away the shapes that the graph states after what has been replaced: they were of the old tensors."""
        consumers = _consumers(self._nodes)
        seen = set(changed)
        stack = list(changed)
        while stack:
            for name in consumers.get(stack.pop(), ()):
                if name not in seen:
                    seen.add(name)
                    stack.append(name)
        for name in seen:
            node = self._nodes[name]
            if "_output_shapes" in node.attr:
                stripped = NodeDef()
                stripped.CopyFrom(node)
                del stripped.attr["_output_shapes"]
                self._nodes[name] = stripped

    def _drop_unneeded(self, keep: frozenset[str]) -> None:
        """Drops what only the replaced tensors were computed for."""
        consumers = {name: len(users) for name, users in _consumers(self._nodes).items()}
        stack = [t.op for t in self._replaced]
        for tensor in self._replaced:  # what a node took from before a constant was put in its place
            stack += [parse_input(text)[0] for text in self._old[tensor.op].input]
        own = {t.op for t in self._moved.values()} | {s.name.removesuffix(":0") for s in self._placeholders.values()}
        while stack:
            name = stack.pop()
            node = self._nodes.get(name)
            if node is None or consumers.get(name) or name in own or name in keep or name in self._targets:
                continue
            if node.op in REF_VARIABLES or node.op in RESOURCE_VARIABLES:
                continue
            del self._nodes[name]
            for source in {parse_input(text)[0] for text in node.input}:
                consumers[source] -= 1
                stack.append(source)


def _text(tensor: TensorName) -> str:
    return str(tensor) if tensor.output else tensor.op


def _consumers(nodes: Mapping[str, NodeDef]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in nodes.values():
        for text in node.input:
            found.setdefault(parse_input(text)[0], set()).add(node.name)
    return found


def _check_cycles(nodes: Mapping[str, NodeDef]) -> None:
    """Raises `GraphError` where nodes wait for each other, other than by a loop of TensorFlow's."""
    done: set[str] = set()
    path: set[str] = set()
    for root in nodes:
        stack = [root]
        while stack:
            name = stack[-1]
            if name in done or name in path:
                stack.pop()
                path.discard(name)
                done.add(name)
                continue
            path.add(name)
            node = nodes[name]
            for text in node.input:
                source = parse_input(text)[0]
                if source not in nodes or (node.op in MERGES and nodes[source].op in NEXT_ITERATIONS):
                    continue
                if source in path:
                    raise GraphError(
                        f"with these replacements {source!r} would need itself, through {name!r}: bind to tensors that"
                        " don't depend on what they replace"
                    )
                if source not in done:
                    stack.append(source)
