from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from recording import Run, record

import graphrack as gr


def graph_of(folder: Path, build: Any) -> Path:
    with tf.Graph().as_default() as graph:
        build()
        path = folder / "graph.pb"
        path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def test_the_timestamp_is_now_at_each_run(tmp_path: Path) -> None:
    path = graph_of(tmp_path, lambda: tf.raw_ops.Timestamp(name="t"))
    record(path.read_bytes(), [Run(["t:0"], {}, [None])])
    model = gr.load(path)
    first, second = model.run("t:0"), model.run("t:0")
    assert first.dtype == np.float64
    assert time.time() - 60 < first < second <= time.time()
