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
import pytest
import tensorflow.compat.v1 as tf
from recording import Call, Refusal, Run, record_opened
from tf_models import PLAIN, session

import graphrack as gr

STYLES = ("TF1", "TF2")
"""References and dataflow control flow; resource variables and functional control flow."""

ODD = ("one", "none", "nan", "infinity")
"""Feeds that nobody thought of: a batch of one, an empty batch, no number and infinity among the numbers."""

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
    """A registered builder.

    Attributes:
        rtol, atol: how close graphrack must come.
        styles: in which of them TensorFlow can build it.
        freezes: whether it is a function of its feeds and variables: what it gives can be frozen.
        odd: which odd feeds mean anything to it, and don't make TensorFlow abort.
    """

    build: Callable[[], Graph]
    rtol: float
    atol: float
    styles: Sequence[str]
    freezes: bool = True
    odd: Sequence[str] = ODD


CASES: dict[str, Case] = {}


def graph(
    *,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    styles: Sequence[str] = STYLES,
    freezes: bool = True,
    odd: Sequence[str] = ODD,
) -> Callable[[Callable[[], Graph]], Callable[[], Graph]]:
    """Registers a builder under its own name."""

    def decorate(build: Callable[[], Graph]) -> Callable[[], Graph]:
        assert build.__name__ not in CASES, build.__name__
        CASES[build.__name__] = Case(build, rtol, atol, styles, freezes, odd)
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
    odd: Sequence[Run] = ()


def save_and_run(case: Case, name: str, folder: Path) -> Saved:
    """Has TensorFlow build, save, run and train a graph."""
    # Fused kernels have other ways with what is odd.
    with kept_open(case, name, folder) as (saved, sess), tf.Session(graph=sess.graph, config=PLAIN) as plain:
        plain.run([tf.local_variables_initializer(), tf.tables_initializer()])
        for variable in tf.global_variables() + tf.local_variables():
            variable.load(saved.trained[variable.op.name], plain)
        return saved._replace(odd=list(_odd_runs(plain, saved.feeds[0], saved.fetches, case.odd)))


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


def _odd_runs(sess: Any, feeds: Mapping[str, Any], fetches: list[str], kinds: Sequence[str]) -> Iterator[Run]:
    """What TensorFlow makes of batches of one and of none, of what is no number, and of infinity.

    It stops after the first run that is refused: TensorFlow may have done a part of it.
    """
    batched = [key for key in feeds if (s := sess.graph.get_tensor_by_name(key).shape).rank and s[0] is None]

    def spoiled(value: Any, by: float) -> Any:
        array = np.array(value)
        if array.dtype.kind == "f" and array.size:
            array.flat[array.size // 2] = by
        return array

    for kind in kinds:
        if kind in ("one", "none"):
            change = {key: feeds[key][: kind == "one"] for key in batched}
        else:
            change = {key: spoiled(value, np.nan if kind == "nan" else -np.inf) for key, value in feeds.items()}
        fed = {**feeds, **change}
        try:
            yield Run(fetches, fed, sess.run(fetches, fed))
        except (tf.errors.OpError, ValueError) as error:
            if kind != "none":  # empty batches are refused by some of its convolutions, and taken by others
                yield Run(fetches, fed, Refusal(str(error)))
            return


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
    return judge_saved(save_and_run(case, name, folder), case)


def judge_saved(saved: Saved, case: Case) -> gr.Model:
    """As `judge`, of what TensorFlow has saved and run already."""
    record_saved(saved, case)

    def same(found: Sequence[Any], expected: Sequence[Any], when: str) -> None:
        for tensor, ours, theirs in zip(saved.fetches, found, expected, strict=True):
            close(ours, theirs, f"{tensor} {when}", case)

    model, dense = (gr.load(f"{saved.prefix}.meta", engine=engine) for engine in ("auto", "openvino"))
    for i, (one, expected) in enumerate(zip(saved.feeds, saved.before, strict=True)):
        same(model.run(saved.fetches, one), expected, f"before training, feeds {i}")
        same(dense.run(saved.fetches, one), expected, f"by OpenVINO, feeds {i}")
    if saved.train is not None:
        for i in range(saved.steps):
            model.run(saved.train, saved.feeds[i % len(saved.feeds)])
        for i, (one, expected) in enumerate(zip(saved.feeds, saved.after, strict=True)):
            same(model.run(saved.fetches, one), expected, f"after training, feeds {i}")
        changed = [key for key, value in saved.trained.items() if not np.array_equal(value, saved.initial[key])]
        assert changed, "training changed nothing"
    for key, value in saved.trained.items():
        close(model.variables[key], value, f"variable {key}", case)
    strange = gr.load(f"{saved.prefix}.meta")
    strange.variables.update(saved.trained)
    for i, run in enumerate(saved.odd):
        if isinstance(run.values, Refusal):
            with pytest.raises(gr.GraphrackError):
                strange.run(saved.fetches, run.feeds)
        else:
            same(strange.run(saved.fetches, run.feeds), run.values, f"with odd feeds {i}")

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


def record_saved(saved: Saved, case: Case) -> None:
    """Keeps what TensorFlow wrote and did, for a run without it."""
    bounds = {"rtol": case.rtol, "atol": case.atol}
    runs = [Run(saved.fetches, one, values) for one, values in zip(saved.feeds, saved.before, strict=True)]
    if saved.train is not None:
        turns = [saved.feeds[i % len(saved.feeds)] for i in range(saved.steps)]
        runs += [Run([saved.train], feeds, [None]) for feeds in turns]
        runs += [Run(saved.fetches, one, values) for one, values in zip(saved.feeds, saved.after, strict=True)]
    record_opened(
        saved.prefix.with_name("model.meta"), runs=runs, variables=saved.trained, initial=saved.initial, **bounds
    )
    inputs = {f"in{i}": value for i, value in enumerate(saved.feeds[0].values())}
    outputs = {f"out{i}": value for i, value in enumerate(saved.before[0])}
    record_opened(saved.folder, calls=[Call("serving_default", inputs, outputs)], **bounds)


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


def judge_derived(saved: Saved, case: Case, folder: Path) -> None:
    """Asserts that what is made of a graph computes as it does: frozen, saved back, exported.

    TensorFlow runs the frozen graph, and restores what graphrack saved.
    """
    path = f"{saved.prefix}.meta"

    def same(run: Callable[[Sequence[str], Any], Any], when: str) -> None:
        for i, (one, expected) in enumerate(zip(saved.feeds, saved.before, strict=True)):
            for name, ours, theirs in zip(saved.fetches, run(saved.fetches, one), expected, strict=True):
                close(ours, theirs, f"{name} {when}, feeds {i}", case)

    gr.load(path).save(folder / "again" / "model")
    with tf.Graph().as_default(), tf.Session() as sess:
        saver = tf.train.import_meta_graph(str(folder / "again" / "model.meta"))
        if saver is not None:
            saver.restore(sess, str(folder / "again" / "model"))
        sess.run(tf.tables_initializer())
        same(sess.run, "saved by graphrack, restored by TensorFlow")
    if case.freezes:
        frozen = gr.load(path).freeze(saved.fetches)
        left = [{k: v for k, v in one.items() if k.partition(":")[0] in frozen.operations} for one in saved.feeds]
        saved = saved._replace(feeds=left)  # what only the loss took is not there
        same(frozen.run, "frozen")
        frozen.export(folder / "frozen.pb")
        graph_def = tf.GraphDef.FromString((folder / "frozen.pb").read_bytes())
        kinds = ("InitializeTableV2", "LookupTableImportV2")
        tables = [node.name for node in graph_def.node if node.op in kinds]
        exported = gr.load(folder / "frozen.pb", engine="openvino")
        if tables:  # which nothing but their ops' names tells in a GraphDef
            exported.initialize()
        same(exported.run, "frozen, by OpenVINO")
        with tf.Graph().as_default(), tf.Session() as sess:
            tf.import_graph_def(graph_def, name="")
            sess.run(tables)
            same(sess.run, "frozen, by TensorFlow")
