"""What a fetch needs, given what is fed."""

from __future__ import annotations

import gc
import time

import pytest
from graph.graphs import graph, index
from hypothesis import given
from hypothesis import strategies as st

import graphrack as gr
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import TensorName, parse_input
from graphrack.graph.prune import needed, pruned


def names(look: GraphIndex, fetches: list[TensorName | str], fed: set[tuple[str, int]] | None = None) -> list[str]:
    return [node.name for node in needed(look, fetches, fed or set()).order]


def test_only_what_leads_to_the_fetch_is_needed_inputs_first() -> None:
    look = index("Placeholder x", "Neg a x", "Abs b a", "Neg unused x")
    assert names(look, [TensorName("b", 0)]) == ["x", "a", "b"]


def test_what_only_a_fed_tensor_needs_is_not_run() -> None:
    look = index("Placeholder x", "Neg a x", "Abs b a")
    assert names(look, [TensorName("b", 0)], {("a", 0)}) == ["b"]
    assert names(look, [TensorName("a", 0)], {("a", 0)}) == []


def test_an_operation_fetched_by_name_runs_though_its_output_is_fed() -> None:
    look = index("Placeholder x", "Neg a x")
    assert names(look, ["a"], {("a", 0)}) == ["x", "a"]


def test_another_output_of_a_fed_node_still_needs_it() -> None:
    look = index("Placeholder x", "Split s c x", "Neg first s:0", "Neg last s:2", c=0.0)
    fed = {("s", 0)}
    assert names(look, [TensorName("first", 0)], fed) == ["first"]
    assert names(look, [TensorName("last", 0)], fed) == ["x", "c", "s", "last"]


def test_control_inputs_are_waited_for_even_where_the_value_is_fed() -> None:
    look = index("Placeholder x", "NoOp before", "Neg a x ^before", "Neg b a ^a")
    found = needed(look, [TensorName("b", 0)], {("a", 0)})
    assert {node.name for node in found.order} == {"x", "before", "a", "b"}
    assert found.controls["b"] == ["a"]
    assert found.inputs["b"] == [("a", 0)]


@pytest.mark.parametrize(
    "lines", [["Neg a a"], ["Neg a b", "Neg b a"], ["Neg a b", "Neg b c ^a", "Neg c c2", "NoOp c2"]]
)
def test_cycles_are_errors_that_name_their_nodes(lines: list[str]) -> None:
    with pytest.raises(gr.GraphError, match="cycle through 'a'|cycle through 'b'"):
        names(index(*lines), [TensorName("a", 0)])


def test_a_cycle_that_a_feed_cuts_is_none() -> None:
    assert names(index("Neg a b", "Neg b a"), [TensorName("a", 0)], {("b", 0)}) == ["a"]


def test_a_cycle_that_nobody_fetches_is_none_of_this_run_s_business() -> None:
    assert names(index("Neg a b", "Neg b a", "NoOp c"), ["c"]) == ["c"]


def test_a_dangling_input_is_an_error_with_the_closest_name() -> None:
    look = index("Placeholder input", "Neg a inputs:0")
    with pytest.raises(gr.GraphError, match="'a' .Neg. takes 'inputs:0'.*closest: 'input'"):
        names(look, ["a"])
    with pytest.raises(gr.GraphError, match=r"takes '\^gone'"):
        names(index("NoOp a ^gone"), ["a"])


def test_loops_of_tensorflow_are_no_cycles() -> None:
    look = index("Enter enter c", "Merge merge enter next", "NextIteration next merge", "Exit exit merge", c=1.0)
    order = names(look, ["exit"])
    assert set(order) == {"c", "enter", "merge", "next", "exit"}
    assert order.index("merge") < order.index("next")


def test_deep_graphs_take_time_in_proportion_and_no_recursion() -> None:
    def seconds(count: int) -> float:
        look = index(*(f"Neg n{i} {f'n{i - 1}' if i else 'c'}" for i in range(count)), c=1.0)
        gc.disable()  # collecting takes time in proportion to all that other tests have left
        try:
            start = time.process_time()
            assert len(names(look, [f"n{count - 1}"])) == count + 1
            return time.process_time() - start
        finally:
            gc.enable()

    seconds(1000)
    assert seconds(50_000) < 25 * seconds(5_000) + 0.5


@st.composite
def acyclic(draw: st.DrawFn) -> list[str]:
    """Nodes that take what stands before them."""
    lines = ["Placeholder n0"]
    for i in range(1, draw(st.integers(1, 25))):
        inputs = draw(st.lists(st.integers(0, i - 1), min_size=1, max_size=3))
        controls = draw(st.lists(st.integers(0, i - 1), max_size=2))
        lines.append(f"AddN n{i} {' '.join(f'n{j}' for j in inputs)} {' '.join(f'^n{j}' for j in controls)}".strip())
    return draw(st.permutations(lines))


@given(acyclic(), st.data())
def test_the_order_is_complete_sound_and_minimal(lines: list[str], data: st.DataObject) -> None:
    look = GraphIndex(graph(*lines))
    count = len(lines)
    fetches: list[TensorName | str] = [
        TensorName(f"n{i}", 0) for i in data.draw(st.lists(st.integers(0, count - 1), min_size=1))
    ]
    fed = {(f"n{i}", 0) for i in data.draw(st.sets(st.integers(0, count - 1), max_size=4))}
    found = needed(look, fetches, fed)
    order = [node.name for node in found.order]
    assert len(set(order)) == len(order)
    place = {name: i for i, name in enumerate(order)}
    # Reachability, said once more in the plainest way.
    expected: set[str] = set()
    stack = [f.op for f in fetches if f not in fed]  # type: ignore[union-attr]
    while stack:
        name = stack.pop()
        if name in expected:
            continue
        expected.add(name)
        for text in look.nodes[name].input:
            source, output = parse_input(text)
            if output < 0 or (source, output) not in fed:
                stack.append(source)
                assert place[source] < place[name]
    assert set(order) == expected


def test_pruned_nodes_keep_the_graph_s_order() -> None:
    look = index("Neg b a", "Neg a x", "Placeholder x", "NoOp other")
    assert [node.name for node in pruned(look, ["b"])] == ["b", "a", "x"]
