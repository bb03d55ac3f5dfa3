"""Writes `docs/ops.md`, the page of every op that graphrack runs.

    python tools/make_op_page.py

Types are those that TensorFlow's op definition allows; a note is the op function's own docstring, which says
what is left out or differs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import left_out_ops

from graphrack.engines.interpreter.functions import FUNCTION_OPS, PLANNED
from graphrack.formats import op_table
from graphrack.formats.dtypes import DTYPES
from graphrack.formats.protos.graph_pb2 import OpDef
from graphrack.ops import registry

PAGE = Path(__file__).parents[1] / "docs" / "ops.md"

# Run by the planner itself: they have no function.
_PLANNED = sorted(name for name in PLANNED | FUNCTION_OPS.keys() if op_table.op_def(name) is not None)

_HEAD = """# Ops

The {count} ops that graphrack runs, by the module of `src/graphrack/ops/` that has them. *Types* are what TensorFlow's
definition allows for each type attribute (empty where the op has none, `any` where nothing is ruled out); a note says
what differs. Each op is tested against TensorFlow over its types, shapes, attributes and bad input. What is left out is
at the end. This page is made by `tools/make_op_page.py`; a test fails where it is stale.
"""


def types(definition: OpDef) -> str:
    """The types that an op's type attributes allow."""
    parts = []
    for attribute in definition.attr:
        if attribute.type not in ("type", "list(type)"):
            continue
        allowed = [DTYPES[n].name for n in attribute.allowed_values.list.type if n in DTYPES]
        parts.append(f"{attribute.name}: {', '.join(allowed) if allowed else 'any'}")
    return "; ".join(parts)


def note(op: registry.Op) -> str:
    """The first paragraph of the op function's docstring."""
    text = inspect.getdoc(op.function) if getattr(op.function, "__code__", None) is not None else None
    return " ".join((text or "").split("\n\n")[0].split()).replace("|", "\\|")


def family(module: str) -> str:
    """The first sentence of a module's docstring."""
    text = (import_module(f"graphrack.ops.{module}").__doc__ or "").strip()
    return " ".join(text.split("\n\n")[0].split())


def page() -> str:
    """The page's text."""
    known = registry.load_all()
    by_module: dict[str, list[str]] = {}
    for name, op in known.items():
        by_module.setdefault(op.module.rpartition(".")[2], []).append(name)
    lines = [_HEAD.format(count=len(known.keys() | set(_PLANNED)))]
    lines += ["## The planner's own", "", *_table((n, op_table.op_def(n), "") for n in _PLANNED)]
    for module in sorted(by_module):
        rows = [(n, op_table.op_def(n), note(known[n])) for n in sorted(by_module[module])]
        lines += [f"## {module}", "", family(module), "", *_table(rows)]
    lines += left_out_ops.page_lines()
    return "\n".join(lines)


def _table(rows: Iterable[tuple[str, OpDef | None, str]]) -> list[str]:
    lines = ["| op | types | note |", "| --- | --- | --- |"]
    for name, definition, text in rows:
        lines.append(f"| {name} | {types(definition) if definition is not None else ''} | {text} |")
    return [*lines, ""]


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE}: {page().count(chr(10) + '| ')} rows")
