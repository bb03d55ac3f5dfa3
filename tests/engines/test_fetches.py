"""Fetches: any nesting of names, flattened and put together again."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from graph.graphs import index
from hypothesis import given
from hypothesis import strategies as st

import graphrack as gr
from graphrack.engines.fetches import flatten, key
from graphrack.graph.names import TensorName


class Pair(NamedTuple):
    first: Any
    second: Any


LOOK = index("Placeholder x", "Neg a x", "Split s c x", "NoOp done", c=0.0)


def run(fetches: Any) -> Any:
    """What packing gives where every tensor's value is its name."""
    flat, pack = flatten(LOOK, fetches)
    return pack([str(f) if isinstance(f, TensorName) else None for f in flat])


@pytest.mark.parametrize(
    ("fetches", "expected"),
    [
        ("a:0", "a:0"),
        ("a", "a:0"),
        ("s", ("s:0", "s:1", "s:2")),
        ("s:1", "s:1"),
        ("done", None),
        ([], []),
        ({}, {}),
        (["a", ("x", {"k": "s:2", 1: ["done"]})], ["a:0", ("x:0", {"k": "s:2", 1: [None]})]),
        (Pair("a", ["x"]), Pair("a:0", ["x:0"])),
        (LOOK.spec("a"), "a:0"),
        ([LOOK.spec("x"), "a"], ["x:0", "a:0"]),
    ],
)
def test_results_have_the_nesting_of_the_fetches(fetches: Any, expected: Any) -> None:
    assert run(fetches) == expected
    assert type(run(fetches)) is type(expected)


@pytest.mark.parametrize("fetches", [None, 5, [None], {"a": 5}, {"a"}])
def test_what_is_no_name_is_a_type_error_that_shows_it(fetches: Any) -> None:
    with pytest.raises(TypeError, match="expected a tensor's or operation's name"):
        run(fetches)


@pytest.mark.parametrize("fetches", ["b", "b:0", ["a", {"k": "s:3"}], "", ":", "^a"])
def test_an_unknown_name_anywhere_is_an_error(fetches: Any) -> None:
    with pytest.raises(gr.UnknownName):
        run(fetches)


NESTED = st.recursive(
    st.sampled_from(["a", "a:0", "s", "s:1", "done", "x"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(NESTED, NESTED)
def test_keys_are_equal_for_equal_fetches_alone(one: Any, other: Any) -> None:
    assert hash(key(one)) == hash(key(one))
    same = one == other and run(one) == run(other)
    assert (key(one) == key(other)) == same or list(one) != list(other)


@given(NESTED)
def test_equal_keys_give_equal_nesting(fetches: Any) -> None:
    def shape(item: Any) -> Any:
        if isinstance(item, dict):
            return {k: shape(v) for k, v in item.items()}
        if isinstance(item, (list, tuple)):
            return type(item)(shape(v) for v in item)
        return {"s": ("s:0", "s:1", "s:2"), "done": None}.get(item, item if ":" in item else f"{item}:0")

    assert run(fetches) == shape(fetches)
