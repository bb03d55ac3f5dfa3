"""What OpenVINO ran of the tests, by the counts that they left in a folder: enough for the comparison to mean something.

`GRAPHRACK_RAN_BY_OPENVINO` names the folder; `tests/by_openvino.py` says what is in it.
"""

from __future__ import annotations

import os
from pathlib import Path

from by_openvino import Tally

from graphrack.engines.openvino.ops import RULES, _type_attributes
from graphrack.formats.dtypes import DTYPES, dtype_of
from graphrack.formats.op_table import op_def

TALLY = Tally.read(Path(os.environ["GRAPHRACK_RAN_BY_OPENVINO"]).absolute())


def dtypes(op: str) -> set[str]:
    """The dtypes of values that a node may have to be given to OpenVINO, by its rule and by TensorFlow's definition."""
    definition = op_def(op)
    assert definition is not None
    attributes = {a.name: a for a in definition.attr}
    names = ("Tidx",) if op == "Range" else _type_attributes(op)
    if not names:
        return {"bool"}
    allowed = set(attributes[names[0]].allowed_values.list.type) or set(DTYPES)
    return {dtype_of(number).name for number in RULES[op].types & allowed}


def test_every_op_that_openvino_is_given_ran_in_it_over_its_dtypes() -> None:
    ran = {(op, dtype) for key in TALLY.ops for op, *found in [key.split(" ")] for dtype in found[:1]}
    # An Identity is no node of a cluster, but another name of what it is given; a ShapeN is a Shape for each output.
    missing = {(op, dtype) for op in RULES.keys() - {"Identity", "ShapeN"} for dtype in dtypes(op)} - ran
    assert not missing, f"not run by OpenVINO in any test: {sorted(missing)}"


def test_a_good_part_of_the_cases_ran_in_it() -> None:
    """The others have dtypes that it isn't given, or are about what is refused."""
    counts = TALLY.counts
    assert counts["cases"] > 10_000, counts
    assert counts["with_clusters"] > 0.15 * counts["cases"], counts
    assert counts["nodes"] > 2 * counts["runs"] > 40_000, counts


def test_it_refuses_little_of_what_it_is_given() -> None:
    """Filters that a run brings, foremost: what a gradient of a convolution takes."""
    assert TALLY.counts["left"] < 0.05 * TALLY.counts["runs"], TALLY.refused.most_common(20)
