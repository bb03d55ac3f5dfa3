"""Names: `op`, `op:0`, `^op`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphrack as gr
from graphrack.graph.names import TensorName, parse_input, parse_tensor, scope_of

OPERATIONS = st.from_regex(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]{0,20}", fullmatch=True)


@given(OPERATIONS, st.integers(0, 999_999_999))
def test_what_is_written_is_read_again(op: str, output: int) -> None:
    name = TensorName(op, output)
    assert parse_tensor(str(name)) == name
    assert parse_tensor(op) == TensorName(op, 0)
    assert parse_input(str(name)) == name
    assert parse_input(op) == (op, 0)
    assert parse_input(f"^{op}") == (op, -1)


@pytest.mark.parametrize(
    "name", ["", ":", ":0", "x:", "x:a", "x:-1", "x:1:2", "^x", "x: 1", "x:9999999999", "x:²", "x:0\n"]
)
def test_what_is_no_tensor_s_name_is_refused_with_the_form_expected(name: str) -> None:
    with pytest.raises(gr.UnknownName, match=rf"^{re.escape(repr(name))} is no tensor name.*'x:0'"):
        parse_tensor(name)


@pytest.mark.parametrize("text", ["x:", "x:a", "x:-1", "x:²", "x:٣", "x:" + "1" * 5000])
def test_a_malformed_input_of_a_node_is_an_error_of_the_graph(text: str) -> None:
    with pytest.raises(gr.GraphError, match="malformed.*'op:0'"):
        parse_input(text)


@given(st.text(max_size=12))
def test_any_text_is_a_name_or_one_error(text: str) -> None:
    try:
        op, output = parse_tensor(text)
    except gr.UnknownName:
        return
    assert op
    assert output >= 0
    assert text in (op, f"{op}:{output}", f"{op}:{text.rpartition(':')[2]}")


def test_scopes_are_what_stands_before_the_last_slash() -> None:
    assert [scope_of(name) for name in ("a/b/c", "a/b", "a", "")] == ["a/b", "a", "", ""]
