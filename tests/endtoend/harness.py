"""Whole graphs, as people write them, run and trained by TensorFlow and by graphrack.

A module of builders registers each with `@graph()`. `judge` has TensorFlow build and save one, both as a
checkpoint with its MetaGraph and as a SavedModel, run it, train it and run it again; graphrack opens what was
saved and does the same.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from tf_models import session

import graphrack as gr

STYLES = ("TF1", "TF2")
"""References and dataflow control flow; resource variables and functional control flow."""

Feeds = Mapping[Any, Any]


class Graph(NamedTuple):
    """What a builder leaves in TensorFlow's current graph.

    Attributes:
        feeds: placeholders to values; or several of these, one after the other.
        fetches: tensors to compare.
        train: an operation that is run `steps` times, with the feeds in turn.
    """

    feeds: Feeds | Sequence[Feeds]
    fetches: Sequence[Any]
    train: Any = None
    steps: int = 4


class Case(NamedTuple):
    """A registered builder, how close graphrack must come, and in which styles TensorFlow can build it."""

    build: Callable[[], Graph]
    rtol: float
    atol: float
    styles: Sequence[str]


CASES: dict[str, Case] = {}


def graph(
    *, rtol: float = 1e-4, atol: float = 1e-5, styles: Sequence[str] = STYLES
) -> Callable[[Callable[[], Graph]], Callable[[], Graph]]:
    """Registers a builder under its own name."""

    def decorate(build: Callable[[], Graph]) -> Callable[[], Graph]:
        assert build.__name__ not in CASES, build.__name__
        CASES[build.__name__] = Case(build, rtol, atol, styles)
        return build

    return decorate


@contextlib.contextmanager
def style(name: str, seed: int = 1) -> Iterator[Any]:
    """A session on a fresh graph, in which TensorFlow builds in one of the `STYLES`."""
    functional = tf.control_flow_v2_enabled()
    (tf.enable_control_flow_v2 if name == "TF2" else tf.disable_control_flow_v2)()
    try:
        with session(seed) as sess:  # which sees to it that its change of variables is undone
            if name == "TF2":
                tf.enable_resource_variables()
            yield sess
            tf.disable_resource_variables()
    finally:
        (tf.enable_control_flow_v2 if functional else tf.disable_control_flow_v2)()


class Saved(NamedTuple):
    """What TensorFlow saved of a graph, and what it computed: graphrack must give the same."""

    prefix: Path
    folder: Path
    feeds: list[dict[str, Any]]
    fetches: list[str]
    train: str | None
    steps: int
    before: list[list[Any]]
    after: list[list[Any]]
    initial: dict[str, Any]
    trained: dict[str, Any]


def save_and_run(case: Case, name: str, folder: Path) -> Saved:
    """Has TensorFlow build, save, run and train a graph."""
    with kept_open(case, name, folder) as (saved, _):
        return saved


@contextlib.contextmanager
def kept_open(case: Case, name: str, folder: Path) -> Iterator[tuple[Saved, Any]]:
    """As `save_and_run`; gives TensorFlow's session too, which may be used meanwhile."""
    with style(name) as sess:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # feature columns use what Keras has deprecated
            built = case.build()
        several = [built.feeds] if isinstance(built.feeds, Mapping) else list(built.feeds)
        feeds = [{key.name: value for key, value in one.items()} for one in several]
        # A resource variable's own name means its handle.
        fetches = [tf.convert_to_tensor(tensor).name for tensor in tf.nest.flatten(built.fetches)]
        variables = tf.global_variables() + tf.local_variables()
        sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        sess.run(tf.tables_initializer())

        def values() -> dict[str, Any]:
            return {v.op.name: value for v, value in zip(variables, sess.run(variables), strict=True)}

        initial = values()
        prefix = folder / "model"
        if variables:
            tf.train.Saver(variables).save(sess, str(prefix))
        else:
            tf.train.export_meta_graph(f"{prefix}.meta", graph=sess.graph)
        _save_saved_model(sess, folder / "saved_model", [*feeds[0]], fetches)
        before = [sess.run(fetches, one) for one in feeds]
        for i in range(built.steps if built.train is not None else 0):
            sess.run(built.train, feeds[i % len(feeds)])
        after = [sess.run(fetches, one) for one in feeds] if built.train is not None else []
        train = built.train.name if built.train is not None else None
        saved_model, trained = folder / "saved_model", values()
        yield Saved(prefix, saved_model, feeds, fetches, train, built.steps, before, after, initial, trained), sess


def _save_saved_model(sess: Any, folder: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    def infos(prefix: str, names: Sequence[str]) -> dict[str, Any]:
        tensors = [sess.graph.get_tensor_by_name(name) for name in names]
        return {f"{prefix}{i}": tf.saved_model.build_tensor_info(t) for i, t in enumerate(tensors)}

    builder = tf.saved_model.Builder(str(folder))
    builder.add_meta_graph_and_variables(
        sess,
        [tf.saved_model.SERVING],
        {"serving_default": tf.saved_model.build_signature_def(infos("in", inputs), infos("out", outputs), "predict")},
        main_op=tf.group(tf.tables_initializer(), tf.local_variables_initializer()),
        strip_default_attrs=True,
    )
    builder.save()


def judge(case: Case, name: str, folder: Path) -> gr.Model:
    """Asserts that graphrack computes what TensorFlow does, before, while and after training; gives the model."""
    saved = save_and_run(case, name, folder)

    def same(found: Sequence[Any], expected: Sequence[Any], when: str) -> None:
        for tensor, ours, theirs in zip(saved.fetches, found, expected, strict=True):
            close(ours, theirs, f"{tensor} {when}", case)

    model = gr.load(f"{saved.prefix}.meta")
    for i, (one, expected) in enumerate(zip(saved.feeds, saved.before, strict=True)):
        same(model.run(saved.fetches, one), expected, f"before training, feeds {i}")
    if saved.train is not None:
        for i in range(saved.steps):
            model.run(saved.train, saved.feeds[i % len(saved.feeds)])
        for i, (one, expected) in enumerate(zip(saved.feeds, saved.after, strict=True)):
            same(model.run(saved.fetches, one), expected, f"after training, feeds {i}")
        changed = [key for key, value in saved.trained.items() if not np.array_equal(value, saved.initial[key])]
        assert changed, "training changed nothing"
    for key, value in saved.trained.items():
        close(model.variables[key], value, f"variable {key}", case)

    served = gr.load(saved.folder)
    keyed = {f"in{i}": value for i, value in enumerate(saved.feeds[0].values())}
    outputs = served(keyed, signature="serving_default")
    names = [f"out{i}" for i in range(len(saved.fetches))]
    same([outputs[n] for n in names] if len(names) > 1 else [outputs], saved.before[0], "of the SavedModel")

    fresh = gr.load(f"{saved.prefix}.meta")
    if saved.initial:
        fresh.initialize()
    for key, value in saved.initial.items():
        close(fresh.variables[key], value, f"variable {key} by its initialiser", case)
    return model


def close(found: Any, expected: Any, what: str, case: Case) -> None:
    """Asserts equal dtype and shape, and values as close as the case asks for."""
    found, expected = np.asarray(found), np.asarray(expected)
    if isinstance(expected.flat[0] if expected.size else None, (bytes, str)):
        found, expected = found.astype(object), expected.astype(object)
    assert found.dtype == expected.dtype, f"{what}: {found.dtype}, TensorFlow's {expected.dtype}"
    assert found.shape == expected.shape, f"{what}: {found.shape}, TensorFlow's {expected.shape}"
    if expected.dtype.kind in "biuOSU":
        np.testing.assert_array_equal(found, expected, err_msg=what)
    else:
        np.testing.assert_allclose(found, expected, rtol=case.rtol, atol=case.atol, err_msg=what)
