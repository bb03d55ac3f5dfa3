"""Graphs of the end-to-end collection by every engine: run, trained, initialised, restored by TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
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
from endtoend.harness import CASES, Saved, close, save_and_run

import graphrack as gr

# Of each kind one or two, in turn in TensorFlow 1's style and in TensorFlow 2's: variables of both sorts, loops, tables, state, strings, moving averages, random initialisers.
CHOSEN = [
    "linear_regression",
    "k_means",
    "evolution_in_variables",
    "decoder_step_with_a_cache",
    "object_detection_postprocessing",
    "dynamic_rnn_classifier",
    "stacked_gru_time_major",
    "character_rnn_that_keeps_its_state",
    "scan_fold_and_map",
    "deep_q_network_with_target",
    "examples_in_a_serving_signature",
    "counters_and_caches",
    "wide_linear_model_with_tables_by_hand",
    "bag_of_words_from_raw_text",
    "batch_norm_with_moving_averages",
    "moving_averages_of_weights",
    "lenet",
]
BY_OPENVINO = ("linear_regression", "batch_norm_with_moving_averages", "moving_averages_of_weights", "lenet")


def check(saved: Saved, case: Any, engine: str, folder: Path) -> None:
    """Asserts that an engine computes and trains as TensorFlow did, and that TensorFlow restores what it saves."""

    def same(found: Any, expected: Any, when: str) -> None:
        for name, ours, theirs in zip(saved.fetches, found, expected, strict=True):
            close(ours, theirs, f"{name} {when}", case)

    model = gr.load(f"{saved.prefix}.meta", engine=engine)
    for i, (feeds, expected) in enumerate(zip(saved.feeds, saved.before, strict=True)):
        same(model.run(saved.fetches, feeds), expected, f"before training, feeds {i}")
    if saved.train is not None:
        for i in range(saved.steps):
            model.run(saved.train, saved.feeds[i % len(saved.feeds)])
        for i, (feeds, expected) in enumerate(zip(saved.feeds, saved.after, strict=True)):
            same(model.run(saved.fetches, feeds), expected, f"after training, feeds {i}")
    for key, value in saved.trained.items():
        close(model.variables[key], value, f"variable {key}", case)
    if saved.trained:
        path = model.save(folder / engine / "model")
        with tf.Graph().as_default(), tf.Session() as sess:
            tf.train.import_meta_graph(path + ".meta").restore(sess, path)
            for variable in tf.global_variables():
                if variable.op.name in saved.trained:
                    np.testing.assert_array_equal(sess.run(variable), model.variables[variable.op.name])
    served = gr.load(saved.folder, engine=engine)
    outputs = served({f"in{i}": value for i, value in enumerate(saved.feeds[0].values())})
    names = [f"out{i}" for i in range(len(saved.fetches))]
    same([outputs[n] for n in names] if len(names) > 1 else [outputs], saved.before[0], "of the SavedModel")
    if saved.initial:
        fresh = gr.load(f"{saved.prefix}.meta", engine=engine)
        fresh.initialize()
        for key, value in saved.initial.items():
            found = np.asarray(fresh.variables[key])
            assert (found.dtype, found.shape) == (np.asarray(value).dtype, np.shape(value)), key


@pytest.mark.parametrize("name", CHOSEN)
def test_every_engine_runs_and_trains_it_as_tensorflow_does(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    saved = save_and_run(case, case.styles[CHOSEN.index(name) % len(case.styles)], tmp_path)
    for engine in ("numpy", "openvino", "tensorflow"):
        if engine != "openvino" or name in BY_OPENVINO:
            check(saved, case, engine, tmp_path)
