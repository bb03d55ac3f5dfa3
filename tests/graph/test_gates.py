"""What the running of nodes in TensorFlow 1's conds and loops depends on."""

from __future__ import annotations

import pytest
import tensorflow.compat.v1 as tf

from graphrack.formats.protos.graph_pb2 import GraphDef, NodeDef
from graphrack.graph.gates import Gates, in_order, through_identities
from graphrack.graph.names import parse_input


@pytest.fixture(scope="module")
def nodes() -> dict[str, NodeDef]:
    """A loop in a cond, with a cond in it."""
    tf.disable_control_flow_v2()
    with tf.Graph().as_default() as graph:
        p, x = tf.placeholder(tf.bool, [], name="p"), tf.placeholder(tf.float32, [], name="x")

        def loop() -> tf.Tensor:
            return tf.while_loop(lambda i: i < 9, lambda i: tf.cond(i < 4, lambda: i + 1.0, lambda: i * 2.0), [x])

        tf.add(tf.cond(p, loop, lambda: tf.constant(3.0)), 1.0, name="after")
    return {n.name: n for n in GraphDef.FromString(graph.as_graph_def().SerializeToString()).node}


def test_nodes_outside_and_after_have_no_gate(nodes: dict[str, NodeDef]) -> None:
    gates = Gates(nodes)
    assert gates.any
    assert all(not gates.of(name) for name in ("p", "x", "after", "after/y", "cond/Merge", "cond/Switch"))


def test_a_loop_in_a_branch_is_gated_by_both_and_its_exit_by_the_branch_alone(nodes: dict[str, NodeDef]) -> None:
    gates = Gates(nodes)
    outer = frozenset({("p:0", 1)})
    exits = [n for n in nodes if nodes[n].op == "Exit"]
    assert exits
    assert all(gates.of(n) == outer for n in exits)
    assert all(gates.of(n) > outer for n in nodes if nodes[n].op == "LoopCond")
    inner = [n for n in nodes if nodes[n].op == "Mul"]
    assert inner
    assert all(len(gates.of(n)) == 4 for n in inner)  # branch, frame, round of the loop, inner branch


def test_pivots_of_constants_are_the_control_inputs_to_keep(nodes: dict[str, NodeDef]) -> None:
    gates = Gates(nodes)
    for node in nodes.values():
        if node.op == "Const":
            assert gates.controls(node) == list(node.input)
    assert gates.controls(nodes["after"]) == []


def test_the_order_respects_all_but_loops(nodes: dict[str, NodeDef]) -> None:
    seen: set[str] = set()
    for node in in_order(nodes):
        for text in node.input:
            source = parse_input(text)[0]
            assert source in seen or nodes[source].op == "NextIteration"
        seen.add(node.name)
    assert seen == set(nodes)


def test_identities_are_seen_through(nodes: dict[str, NodeDef]) -> None:
    assert through_identities(nodes, ("cond/pred_id", 0)) == ("p", 0)
    assert through_identities(nodes, ("after", 0)) == ("after", 0)
