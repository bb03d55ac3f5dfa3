"""The ops that a plan's nodes need, or what it lacks to be made, as one error; and a node's op bound to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from graphrack.engines.interpreter import control_flow, outside
from graphrack.engines.interpreter.functions import FUNCTION_OPS, PLANNED, Functions
from graphrack.engines.interpreter.plan import Fetch, missing_ops, unfed_placeholders
from graphrack.errors import GraphError, GraphrackError
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.formats.tensor import attr_value
from graphrack.graph.index import PLACEHOLDERS, GraphIndex
from graphrack.graph.prune import Needed
from graphrack.ops import registry
from graphrack.ops.registry import Kernel, Op


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


def bound(
    op: Op, node: NodeDef, input_count: int, index: GraphIndex, site: str, used_outputs: Sequence[int] = ()
) -> Kernel:
    """A node's kernel, bound to its attributes.

    Attributes:
        site: what the names of nodes that keep something begin with.
        used_outputs: those that anything takes.

    Raises:
        GraphError: it lacks attributes, or they don't fit its op.
    """
    if not op.keywords:
        return op.bind(site + node.name, {}, {})
    attributes = {k: attr_value(node.attr[k], index.contents) for k in op.keywords if k in node.attr}
    facts: dict[str, Any] = {"input_count": input_count, "used_outputs": used_outputs}
    if "output_count" in op.keywords:
        facts["output_count"] = index.output_count(node)
    try:
        return op.bind(site + node.name, attributes, facts)
    except GraphrackError:
        raise
    except Exception as error:  # of whatever class: the function is given attributes of wrong kinds
        raise GraphError(
            f"node {node.name!r} ({node.op}) can't be made of its attributes "
            f"({', '.join(f'{k}={v!r:.40}' for k, v in attributes.items())}): {error}"
        ) from error
