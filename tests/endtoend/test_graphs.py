"""Every graph of the collection: opened, run and trained by graphrack as by TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest
from endtoend import (  # noqa: F401  (each registers its graphs)
    attention,
    classic,
    detection,
    generative,
    recurrent,
    reinforcement,
    serving,
    text,
    training,
    vision,
)
from endtoend.harness import CASES, judge

import graphrack as gr
from graphrack.engines.interpreter.functions import has_op

# Graphs with an op that graphrack may lack: while it does, they must say so.
WAITING = {
    ("image_preprocessing_for_inference", "TF1"): "DecodePng",
    ("image_preprocessing_for_inference", "TF2"): "DecodePng",
    ("image_distortions_for_training", "TF1"): "SampleDistortedBoundingBoxV2",
    ("image_distortions_for_training", "TF2"): "SampleDistortedBoundingBoxV2",
    ("wide_and_deep_with_feature_columns", "TF1"): "SparseSegmentMeanGradV2",
    ("wide_linear_model_with_tables_by_hand", "TF1"): "SparseSegmentMeanGradV2",
}
LACKING = {pair: op for pair, op in WAITING.items() if not has_op(op)}
STYLES = [(name, style) for name, case in CASES.items() for style in case.styles]
RUNNING = [pair for pair in STYLES if pair not in LACKING]


@pytest.mark.parametrize(("name", "style"), LACKING, ids=["-".join(pair) for pair in LACKING])
def test_a_graph_of_ops_that_graphrack_lacks_is_one_error_that_names_them(
    name: str, style: str, tmp_path: Path
) -> None:
    with pytest.raises(gr.UnsupportedOp, match=LACKING[name, style]):
        judge(CASES[name], style, tmp_path)


@pytest.mark.parametrize(("name", "style"), RUNNING, ids=["-".join(pair) for pair in RUNNING])
def test_graphrack_runs_and_trains_it_as_tensorflow_does(name: str, style: str, tmp_path: Path) -> None:
    judge(CASES[name], style, tmp_path)
