"""Writes `src/graphrack/ops/index.py`: which module has which op.

python tools/make_op_index.py
"""

from __future__ import annotations

import re
import textwrap
from importlib import import_module
from pathlib import Path

from graphrack.ops import registry

INDEX = Path(__file__).parents[1] / "src" / "graphrack" / "ops" / "index.py"

_HEAD = '''\
"""Which module of this folder has which ops. Made by `tools/make_op_index.py`; a test fails where it is stale."""

MODULES = {
'''


def index() -> str:
    """The file's text."""
    registers = re.compile(r"^ *@?(op|specialized|register|applies)\(", re.MULTILINE)
    for path in INDEX.parent.glob("*.py"):
        if path.stem != "registry" and registers.search(path.read_text()):
            import_module(f"graphrack.ops.{path.stem}")
    found: dict[str, list[str]] = {}
    for name, op in registry.REGISTRY.items():
        found.setdefault(op.module.rpartition(".")[2], []).append(name)
    lines = [_HEAD]
    for module in sorted(found):
        names = textwrap.wrap(" ".join(sorted(found[module])), 110)
        lines += [f'    "{module}": """\n', *(f"        {line}\n" for line in names), '    """,\n']
    return "".join([*lines, "}\n"])


if __name__ == "__main__":
    INDEX.write_text(index())
    print(f"{INDEX}: {len(registry.REGISTRY)} ops")
