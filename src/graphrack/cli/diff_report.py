"""What `graphrack diff` prints for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from graphrack._display import shape as shape_text
from graphrack.cli.output import plain, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

Facts = dict[str, Any]

_COLOURS = {"added": "green", "gone": "red", "changed": "yellow", "reshaped": "yellow", "retyped": "yellow"}
_SIGNS = {"added": "+", "gone": "-"}


def show_difference(facts: Facts) -> None:
    """Prints what differs, and in how much nothing does."""
    parts: list[RenderableType] = []
    if facts["tensors"] is not None:
        parts += _tensors(facts["tensors"], facts["tolerance"])
    if facts["graph"] is not None:
        parts += _graph(facts["graph"])
    show(*parts)


def _heading(text: str) -> Any:
    from rich.text import Text

    return Text(text, "bold")


def _status(status: str) -> Any:
    from rich.text import Text

    return Text(status, _COLOURS[status])


def _tensors(tensors: Facts, tolerance: float) -> Iterable[RenderableType]:
    counts = tensors["counts"]
    shown = [f"{count:,} {status}" for status, count in counts.items() if count and status != "within_tolerance"]
    if counts["within_tolerance"]:
        shown.append(f"{counts['within_tolerance']:,} within {tolerance:g}")
    yield _heading(f"Tensors: {', '.join(shown) or 'none'}")
    if not tensors["changes"]:
        return
    numbers = ("different", "max abs", "relative", "cosine")
    rows = table("", "tensor", "dtype", "shape", *numbers, right=numbers)
    for change in tensors["changes"]:
        a, b = change["a"] or change["b"], change["b"] or change["a"]
        d = change["difference"]
        measures = ["", "", "", ""]
        if d is not None:
            share = f"{d['different']:,} of {d['elements']:,}"
            measures = [share, *(_number(d[key]) for key in ("max_abs", "relative"))]
            measures.append(_cosine(d["cosine"]))
        dtype = _from_to(a["dtype"], b["dtype"])
        shape = _from_to(shape_text(tuple(a["shape"])), shape_text(tuple(b["shape"])))
        rows.add_row(_status(change["status"]), plain(change["name"]), dtype, shape, *measures)
    yield rows


def _from_to(a: str, b: str) -> str:
    return a if a == b else f"{a} → {b}"


def _number(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def _cosine(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.6f}"


def _graph(graph: Facts) -> Iterable[RenderableType]:
    yield _heading(f"Nodes: {_counts(graph['nodes'], graph['equal_nodes'])}")
    if graph["nodes"]:
        yield _nodes(graph["nodes"])
    if graph["functions"] or graph["equal_functions"]:
        yield _heading(f"Functions: {_counts(graph['functions'], graph['equal_functions'])}")
    for function in graph["functions"]:
        rows = table("", "", "")
        rows.add_row(
            _status(function["status"]),
            plain(function["name"]),
            "signature or results" if function["signature"] else "",
        )
        yield rows
        if function["nodes"]:
            from rich.padding import Padding

            yield Padding(_nodes(function["nodes"]), (0, 0, 0, 2), expand=False)


def _counts(items: list[Facts], equal: int) -> str:
    found = [f"{equal:,} equal"] if equal else []
    for status in ("changed", "added", "gone"):
        count = sum(item["status"] == status for item in items)
        if count:
            found.append(f"{count:,} {status}")
    return ", ".join(found) or "none"


def _nodes(nodes: list[Facts]) -> RenderableType:
    rows = table("", "node", "what", "")
    for node in nodes:
        first = [_status(node["status"]), plain(node["name"])]
        for what, text in _changes(node):
            rows.add_row(*first, plain(what), plain(text))
            first = ["", ""]
    return rows


def _changes(node: Facts) -> Iterable[tuple[str, str]]:
    op = node["op"]
    if node["status"] != "changed":
        yield "op", op["b"] or op["a"]
        return
    if op is not None:
        yield "op", f"{op['a']} → {op['b']}"
    if node["inputs"] is not None:
        yield "inputs", f"{', '.join(node['inputs']['a']) or '(none)'} → {', '.join(node['inputs']['b']) or '(none)'}"
    if node["device"] is not None:
        yield "device", f"{node['device']['a'] or '(any)'} → {node['device']['b'] or '(any)'}"
    for key, pair in node["attributes"].items():
        yield key, _attribute(pair)


def _attribute(pair: Facts) -> str:
    a, b = (value if value is not None else "(absent)" for value in (pair["a"], pair["b"]))
    d = pair["difference"]
    text = f"{a} → {b}" if a != b else a
    if d is None:
        return text
    measures = [f"{d['different']:,} of {d['elements']:,} differ"]
    for key, name in (("max_abs", "max abs"), ("relative", "relative"), ("cosine", "cosine")):
        if d[key] is not None:
            measures.append(f"{name} {_cosine(d[key]) if key == 'cosine' else _number(d[key])}")
    return f"{text}: {', '.join(measures)}"
