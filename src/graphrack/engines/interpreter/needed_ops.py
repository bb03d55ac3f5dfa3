"""The ops that a plan's nodes need, or what it lacks to be made, as one error."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphrack.engines.interpreter import control_flow, outside
from graphrack.engines.interpreter.functions import FUNCTION_OPS, PLANNED, Functions
from graphrack.engines.interpreter.plan import Fetch, missing_ops, unfed_placeholders
from graphrack.graph.index import PLACEHOLDERS, GraphIndex
from graphrack.graph.prune import Needed
from graphrack.ops import registry
from graphrack.ops.registry import Op


def ops_of(
    index: GraphIndex,
    work: Needed,
    fed: Collection[tuple[str, int]],
    fetches: Sequence[Fetch],
    functions: Functions,
) -> tuple[dict[str, Op], bool]:
    """The op of every node, and whether any calls functions, which are told which nodes reach outside of the process.

    Raises:
        UnsupportedOp: ops that are missing; all of them.
        FeedError: placeholders that aren't fed; all of them.
        GraphError: a node lacks inputs.
    """
    found: dict[str, Op] = {}
    missing: dict[str, list[str]] = {}
    unfed: list[str] = []
    calls = False
    for node in work.order:
        name = node.op
        count = len(work.inputs[node.name])
        if count < (least := control_flow.LEAST_INPUTS.get(name, 0)):
            raise control_flow.too_few_inputs(node, count, least)
        if name in found or name in PLANNED:
            if name in PLACEHOLDERS and name != "PlaceholderWithDefault" and (node.name, 0) not in fed:
                unfed.append(node.name)
        elif name in FUNCTION_OPS:
            calls = True
            functions.examine(node, missing)
        else:
            op = registry.lookup(name)
            if op is None:
                missing.setdefault(name, []).append(node.name)
            else:
                found[name] = op
                if op.ref_inputs and count <= max(op.ref_inputs):
                    raise control_flow.too_few_inputs(node, count, max(op.ref_inputs) + 1)
        if name in found and found[name].io:
            functions.reaching.setdefault(name, []).append(node.name)
    outside.check_pipelines(index, work.order, work.inputs, fed, fetches)
    if not outside.NEVER.keys().isdisjoint(missing):
        raise outside.refuse({name: missing[name] for name in missing if name in outside.NEVER})
    if missing:
        raise missing_ops(missing)
    if unfed:
        raise unfed_placeholders(unfed, fetches)
    return found, calls
