"""The registry agrees with TensorFlow's op definitions, and every op in it is tested and on the page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graphrack.errors import GraphError
from graphrack.formats import op_table
from graphrack.ops import registry

ROOT = Path(__file__).parents[2]
OPS = registry.load_all()


@pytest.mark.parametrize("name", sorted(OPS))
def test_an_ops_keywords_and_outputs_are_those_of_its_definition(name: str) -> None:
    op, definition = OPS[name], op_table.op_def(name)
    assert definition is not None, "TensorFlow has no such op"
    attributes = {a.name for a in definition.attr}
    defaults = op_table.defaults(name)
    for keyword in op.keywords:
        if keyword not in registry.FACTS:
            assert keyword in attributes, f"{keyword} is no attribute of {name}: {sorted(attributes)}"
            assert (keyword in op.defaults) == (keyword in defaults), f"{keyword} has a default on one side only"
    several = any(a.number_attr or a.type_list_attr for a in definition.output_arg)
    assert op.outputs == (registry.MANY if several else len(definition.output_arg))
    references = [i for i, a in enumerate(definition.input_arg) if a.is_ref and a.type != 7]
    assert list(op.ref_inputs) == references


@pytest.mark.parametrize("name", sorted(n for n, o in OPS.items() if o.defaults))
def test_an_ops_defaults_are_those_of_its_definition(name: str) -> None:
    from graphrack.formats.tensor import attr_value

    for keyword, default in OPS[name].defaults.items():
        if keyword in registry.FACTS:
            continue
        expected = attr_value(op_table.defaults(name)[keyword])
        found = list(default) if isinstance(default, tuple) and isinstance(expected, list) else default
        if isinstance(expected, np.ndarray):
            assert np.array_equal(found, expected), keyword
        elif isinstance(expected, float):
            assert found == pytest.approx(expected, rel=1e-6)
        else:
            assert found == expected or (found is None and expected is not None), keyword


def test_every_op_has_a_case() -> None:
    tests = "\n".join(p.read_text() for p in (ROOT / "tests" / "ops").glob("*.py"))
    models = "\n".join(p.read_text() for p in (ROOT / "tests").glob("test_*.py"))
    missing = [n for n in OPS if f'"{n}"' not in tests and f".{n}(" not in tests and f".{n}(" not in models]
    assert not missing, f"ops without a test: {missing}"


def is_fresh(tool: str, made: str) -> bool:
    script = f"import sys; sys.path.insert(0, 'tools'); import {tool} as m; sys.exit({made})"
    return not subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode


def test_the_index_of_ops_is_fresh() -> None:
    assert is_fresh("make_op_index", "m.index() != m.INDEX.read_text()"), "run tools/make_op_index.py"


def test_the_page_of_ops_is_fresh() -> None:
    assert is_fresh("make_op_page", "m.page() != m.PAGE.read_text()"), "run tools/make_op_page.py"


def test_looking_up_an_op_imports_no_module_but_its_own_and_what_that_needs() -> None:
    script = """
import sys
from graphrack.ops import registry
for name in ("TensorArrayV3", "NoSuchOp", "MatMul"):
    registry.lookup(name)
print(*(m for m in sys.modules if m.startswith("graphrack.ops.")))
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"graphrack.ops.strings", "graphrack.ops.image", "graphrack.ops.lookup"} & set(run.stdout.split())


def test_registering_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'MatMul' is registered twice"):
        registry.op("MatMul")(lambda a, b: a)


def test_a_missing_attribute_is_one_clear_error() -> None:
    op = registry.lookup("Cast")
    assert op is not None
    with pytest.raises(GraphError, match=r"node 'n' \(Cast\) lacks its attribute 'SrcT'"):
        op.bind("n", {}, {})


def test_an_op_that_is_not_there_is_none() -> None:
    assert registry.lookup("NoSuchOp") is None
