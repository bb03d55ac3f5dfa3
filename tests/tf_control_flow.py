"""Branches and loops as TensorFlow makes them, TF1's and TF2's, and what it says they give."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from recording import Run, record_opened
from tf_models import session

import graphrack as gr


@contextlib.contextmanager
def control_flow(v2: bool) -> Iterator[None]:
    """TF1's dataflow control flow, or TF2's functional one."""
    enabled = tf.control_flow_v2_enabled()
    (tf.enable_control_flow_v2 if v2 else tf.disable_control_flow_v2)()
    try:
        yield
    finally:
        (tf.enable_control_flow_v2 if enabled else tf.disable_control_flow_v2)()


def judge(
    tmp_path: Path, build: Callable[[], Any], feeds: list[dict[str, Any]], *, v2: bool, variables: bool = False
) -> gr.Model:
    """Builds, runs by TensorFlow for each of the feeds, in order; graphrack must give the same."""
    with control_flow(v2), session() as sess:
        fetches = build()
        names = [t.name for t in tf.nest.flatten(fetches)]
        sess.run(tf.global_variables_initializer())
        if variables:
            tf.train.Saver().save(sess, str(tmp_path / "m"))
        else:
            tf.train.export_meta_graph(str(tmp_path / "m.meta"), graph=sess.graph)
        expected = [sess.run(names, feed) for feed in feeds]
    runs = [Run(names, feed, values) for feed, values in zip(feeds, expected, strict=True)]
    record_opened(tmp_path / "m.meta", runs=runs, rtol=1e-5, atol=1e-6)
    model = gr.load(tmp_path / "m.meta")
    for feed, values in zip(feeds, expected, strict=True):
        for found, value, name in zip(model.run(names, feed), values, names, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6, err_msg=name)
            assert np.asarray(found).dtype == np.asarray(value).dtype, name
    return model


both = pytest.mark.parametrize("v2", [False, True], ids=["TF1", "TF2"])
"""Runs a test with either kind of control flow."""
