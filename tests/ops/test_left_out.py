"""Every op of TensorFlow's is run, or left out for a reason that the page of ops tells."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import left_out_ops
import tensorflow.compat.v1 as tf  # noqa: F401  its registry is the judge's
from tensorflow.python.framework import op_def_registry

from graphrack.formats import op_table
from graphrack.ops import registry


def test_every_op_is_run_or_left_out_for_a_reason() -> None:
    unexplained = [n for n in op_table.op_names() if not left_out_ops.handled(n) and left_out_ops.family(n) is None]
    assert unexplained == []


def test_no_family_is_idle() -> None:
    found = left_out_ops.left_out(op_table.op_names())
    assert [family.heading for family, names in found.items() if not names] == []


def test_ops_without_a_kernel_for_processors_have_none() -> None:
    from tensorflow.python.framework import kernels

    registered = {k.op for k in kernels.get_all_registered_kernels().kernel if k.device_type == "CPU"}
    found = left_out_ops.left_out(op_table.op_names())
    without = next(names for family, names in found.items() if family.heading == "No kernel for processors")
    assert [n for n in without if n in registered] == []


def test_the_page_names_what_is_left_out_and_nothing_that_is_run() -> None:
    text = "\n".join(left_out_ops.page_lines())
    for name in ("PyFunc", "TPUReplicate", "OneShotIterator", "SdcaOptimizer"):
        assert name in text
    named = {name for names in left_out_ops.left_out(op_table.op_names()).values() for name in names}
    assert named.isdisjoint(registry.load_all())
    assert all(op_def_registry.get(name) is not None for name in named if not name.startswith("_"))
