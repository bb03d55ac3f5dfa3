"""What importing graphrack gives and costs."""

from __future__ import annotations

import subprocess
import sys

import graphrack


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_exported_names_are_exactly_the_listed_ones() -> None:
    public = {n for n, v in vars(graphrack).items() if not n.startswith("_") and type(v).__name__ != "module"}
    assert public == set(graphrack.__all__)
    assert sorted(graphrack.__all__) == graphrack.__all__


def test_importing_graphrack_imports_nothing_heavy() -> None:
    heavy = ("tensorflow", "openvino", "scipy", "typer", "rich", "pandas", "cramjam", "PIL", "google_crc32c")
    loaded = run("import graphrack, sys; print(' '.join(sys.modules))").split()
    assert not [name for name in loaded if name.partition(".")[0] in heavy]
    assert not [name for name in loaded if name.startswith("graphrack.ops.") and name.count(".") == 2
                and name.rpartition(".")[2] not in ("registry", "runtime", "state")]  # fmt: skip


def test_error_tree_in_the_docstring_is_the_real_one() -> None:
    import re

    from graphrack import errors

    text = errors.__doc__ or ""
    drawn = dict(re.findall(r"(?:├──|└──) (\w+)(?: \((.*?)\))?", text))
    classes = {n: c for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.GraphrackError)}
    assert set(drawn) == set(classes) - {"GraphrackError"}
    for name, bases in drawn.items():
        for base in filter(None, (b.strip() for b in (bases or "").split(","))):
            assert base in [c.__name__ for c in classes[name].__mro__], f"{name} is no {base}"
    assert sorted(errors.__all__) == errors.__all__


def test_package_runs_a_model_where_tensorflow_cannot_be_imported() -> None:
    code = """
import sys
for name in ("tensorflow", "openvino", "jax", "torch"):
    sys.modules[name] = None
import numpy as np, graphrack as gr
print(gr.load("examples/models/cubic/model_name")(x=50))
"""
    assert run(code)
