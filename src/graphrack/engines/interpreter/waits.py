"""Control inputs that nothing depends on, and nodes that are waited for and otherwise of no use.

Training graphs are full of them: TensorFlow ties the gradients of a node's inputs together, so that each waits for all.
What has no effect but its result needn't be waited for; where nobody takes the result either, it needn't be computed,
as TensorFlow's own optimizer has it (`grappler/optimizers/dependency_optimizer.cc`): the gradient of what is fed, for
one, which often is the largest of a network's products. A node that waits for such a one waits for what has effects
behind it.

What reads a variable still comes before a write that waited for it by way of nodes that don't any more. Among nodes
that can run those that write come last (`order.py`), and that write waits for all with effects that the read comes
after: when these have run, nothing keeps the read from running before the write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from graphrack.engines.interpreter.plan import Fetch
from graphrack.engines.interpreter.sums import without_unneeded
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.prune import Needed
from graphrack.ops.registry import Op

Tensor = tuple[str, int]

# Whose effect is to fail.
_CHECKS = frozenset(("Assert", "CheckNumerics", "CheckNumericsV2", "EnsureShape"))
# What these give nobody has to wait for, though they look at the model's state.
_READS = frozenset(("ReadVariableOp", "VarHandleOp", "Variable", "VariableV2", "Const"))
_NOTHING: frozenset[str] = frozenset()


def without_idle_waits(
    work: Needed,
    fetches: Sequence[Fetch],
    fed: Collection[Tensor],
    ops: Mapping[str, Op],
    is_outermost: Callable[[str], bool],
) -> Needed:
    """The nodes that are needed, without control inputs that change nothing.

    Attributes:
        ops: by the names of ops.
        is_outermost: whether a node, by name, lies in no loop and no branch: others stay as they are.
    """
    if not work.controls:
        return work
    idle = {node.name for node in work.order if _is_idle(node, ops) and is_outermost(node.name)}

    # For each node what has effects and comes before all that waits for the node.
    behind: dict[str, frozenset[str]] = {}
    for node in work.order:
        name = node.name
        if name not in idle:
            behind[name] = frozenset((name,))
            continue
        sources = {op for op, i in work.inputs[name] if (op, i) not in fed}
        found = {behind[source] for source in sources.union(work.controls.get(name, ()))} - {_NOTHING}
        behind[name] = found.pop() if len(found) == 1 else _NOTHING.union(*found)

    waits = {name: _NOTHING.union(*[behind[other] for other in others]) for name, others in work.controls.items()}
    live = _live(work, fetches, fed, waits)
    controls = {}
    for name, others in work.controls.items():
        kept = waits[name] if name in idle else _NOTHING.union(*[{o} if o in live else behind[o] for o in others])
        if kept:
            controls[name] = sorted(kept)
    result = Needed()
    result.order, result.inputs, result.controls = work.order, work.inputs, controls
    return without_unneeded(result, fetches, fed)


def _is_idle(node: NodeDef, ops: Mapping[str, Op]) -> bool:
    """Whether a node has no effect but its result."""
    if node.op in _READS or node.op == "NoOp":
        return True
    op = ops.get(node.op)
    if op is None or not op.outputs or node.op in _CHECKS:
        return False
    return not (op.state or op.impure or op.writes or op.io or op.ref_inputs)


def _live(
    work: Needed, fetches: Sequence[Fetch], fed: Collection[Tensor], waits: Mapping[str, Collection[str]]
) -> set[str]:
    """Nodes whose result somebody takes, or that have effects."""
    stack = [f if isinstance(f, str) else f.op for f in fetches if isinstance(f, str) or f not in fed]
    found = set(stack)
    while stack:
        name = stack.pop()
        following = {op for op, i in work.inputs[name] if (op, i) not in fed}.union(waits.get(name, ())) - found
        found |= following
        stack += following
    return found
