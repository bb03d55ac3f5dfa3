"""Clusters of random graphs: convex, and the interpreter's numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrack as gr
from graphrack.engines.openvino.clusters import find_clusters
from graphrack.formats.protos.graph_pb2 import GraphDef, NodeDef
from graphrack.graph.prune import Needed
from graphrack.ops import registry

Edges = list[list[int]]


@st.composite
def graphs(draw: Any) -> tuple[Edges, Edges, list[int | None]]:
    """Data inputs and control inputs of each node, earlier nodes all, and each node's color."""
    count = draw(st.integers(2, 14))
    earlier = [st.lists(st.integers(0, i - 1), max_size=3, unique=True) if i else st.just([]) for i in range(count)]
    data = [draw(earlier[i]) for i in range(count)]
    controls = [draw(earlier[i])[:1] if draw(st.integers(0, 4)) == 0 else [] for i in range(count)]
    colors = [draw(st.sampled_from([None, 1, 1, 1, 2])) for _ in range(count)]
    return data, controls, colors


def needed(data: Edges, controls: Edges) -> Needed:
    work = Needed()
    work.order = [NodeDef(name=f"n{i}", op="Relu") for i in range(len(data))]
    work.inputs = {f"n{i}": [(f"n{s}", 0) for s in sources] for i, sources in enumerate(data)}
    work.controls = {f"n{i}": [f"n{s}" for s in sources] for i, sources in enumerate(controls) if sources}
    return work


def reaches(data: Edges, controls: Edges) -> list[set[int]]:
    """For each node those that it comes after."""
    found: list[set[int]] = []
    for i in range(len(data)):
        sources = {*data[i], *controls[i]}
        found.append(sources.union(*(found[s] for s in sources)))
    return found


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_clusters_are_convex_of_one_color_and_cannot_be_joined(graph: tuple[Edges, Edges, list[int | None]]) -> None:
    data, controls, colors = graph
    work = needed(data, controls)
    found = find_clusters(work.order, work, (), {f"n{i}": c for i, c in enumerate(colors) if c is not None})
    members = [{int(node.name[1:]) for node in cluster.nodes} for cluster in found]
    assert sorted(i for one in members for i in one) == [i for i, c in enumerate(colors) if c is not None]
    before = reaches(data, controls)
    for one in members:
        assert len({colors[i] for i in one}) == 1
        for outside in set(range(len(data))) - one:
            comes_after = before[outside] & one
            comes_before = any(outside in before[i] for i in one)
            assert not (comes_after and comes_before), (one, outside)
    # As single items, they can be put in an order; no two neighbours could be one.
    group = {i: number for number, one in enumerate(members) for i in one}
    label = {i: group.get(i, len(members) + i) for i in range(len(data))}
    edges = {(label[s], label[i]) for i in range(len(data)) for s in (*data[i], *controls[i]) if label[s] != label[i]}

    def ordered(pairs: set[tuple[int, int]]) -> bool:
        left = {node for pair in pairs for node in pair}
        while left:
            free = {node for node in left if not any(b == node and a in left for a, b in pairs)}
            if not free:
                return False
            left -= free
        return True

    assert ordered(edges)
    for a, b in edges:
        if a < len(members) and b < len(members) and colors[min(members[a])] == colors[min(members[b])]:
            joined = {(a if x == b else x, a if y == b else y) for x, y in edges}
            assert not ordered({(x, y) for x, y in joined if x != y}), (members[a], members[b])


OPS = {"Relu": 1, "Tanh": 1, "Neg": 1, "AddV2": 2, "Mul": 2, "Maximum": 2, "Sigmoid": 1, "Cumsum": 1, "BesselI0e": 1}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_graphs_with_ops_that_openvino_lacks_give_the_interpreters_numbers(data: Any) -> None:
    graph = GraphDef()
    for name in ("x", "y"):
        node = graph.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = 1
        node.attr["shape"].shape.dim.add(size=-1)
        node.attr["shape"].shape.dim.add(size=3)
    axis = graph.node.add(name="axis", op="Const")
    axis.attr["dtype"].type = 3
    axis.attr["value"].tensor.dtype = 3
    axis.attr["value"].tensor.int_val.append(1)
    names = ["x", "y"]
    for i in range(data.draw(st.integers(3, 16))):
        op = data.draw(st.sampled_from(sorted(OPS)))
        assert registry.lookup(op) is not None
        inputs = [data.draw(st.sampled_from(names)) for _ in range(OPS[op])]
        node = graph.node.add(name=f"n{i}", op=op, input=[*inputs, "axis"] if op == "Cumsum" else inputs)
        node.attr["T"].type = 1
        if op == "Cumsum":
            node.attr["Tidx"].type = 3
        if data.draw(st.integers(0, 5)) == 0:
            node.input.append(f"^{data.draw(st.sampled_from(names))}")
        names.append(node.name)
    fetches = data.draw(st.lists(st.sampled_from(names[2:]), min_size=1, max_size=3, unique=True))
    rng = np.random.default_rng(0)
    feeds = {name: rng.uniform(0.5, 2, (4, 3)).astype(np.float32) for name in ("x", "y")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g.pb"
        path.write_bytes(graph.SerializeToString())
        slow, fast = gr.load(path, engine="numpy"), gr.load(path, engine="openvino")
        for one, other in zip(fast.run(fetches, feeds), slow.run(fetches, feeds), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
