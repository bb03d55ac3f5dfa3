"""Saver: names of files, which checkpoints stay, and the state file, all judged by `tf.train.Saver`."""

from __future__ import annotations

import itertools
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_models import session

import graphrack as gr
from graphrack.formats.checkpoint_state import read_state

W = {"w": np.arange(3.0)}


def listing(folder: Path) -> list[str]:
    """All files below a folder, without the graphs, which mappings don't have."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".meta")


def states(folder: Path) -> dict[str, str]:
    """All state files below a folder, the folder's own path aside."""
    found = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("checkpoint") if p.is_file()}
    return {name: text.replace(str(folder), "FOLDER") for name, text in found.items()}


def names(folder: Path) -> list[str]:
    """The names of the checkpoints in a folder."""
    return sorted(p.name[: -len(".index")] for p in folder.glob("*.index"))


class Clock:
    """Time that goes by as a test says: for TensorFlow's Saver and ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 1_700_000_000.0
        monkeypatch.setattr("time.time", lambda: self.now)


SAVES = st.lists(
    st.tuples(st.sampled_from(["m", "other", "sub/m"]), st.none() | st.integers(0, 4), st.integers(0, 3)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25)
@given(
    saves=SAVES,
    keep=st.sampled_from([None, 0, 1, 2, 5]),
    hours=st.sampled_from([10_000, 1, 2.5]),
    relative=st.booleans(),
    counter=st.just(itertools.count()),
)
def test_the_same_saves_leave_the_same_files_and_state_as_tensorflows_saver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: Any, keep: Any, hours: float, relative: bool, counter: Any
) -> None:
    place = tmp_path / str(next(counter))
    for side in ("theirs", "ours"):
        (place / side / "sub").mkdir(parents=True)
    with session() as sess, pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        tf.get_variable("w", initializer=W["w"])
        sess.run(tf.global_variables_initializer())
        theirs = tf.train.Saver(max_to_keep=keep, keep_checkpoint_every_n_hours=hours)
        ours = gr.Saver(max_to_keep=keep, keep_checkpoint_every_n_hours=hours)
        for name, step, passing in saves:
            clock.now += passing * 1800.0
            paths = []
            for side, saver, source in (("theirs", theirs, sess), ("ours", ours, W)):
                patch.chdir(place / side)
                prefix = name if relative else str(place / side / name)
                paths.append(saver.save(source, prefix, global_step=step).replace(side, "side"))
            assert paths[0] == paths[1]
            assert listing(place / "ours") == listing(place / "theirs")
            assert states(place / "ours") == states(place / "theirs")


def test_relative_paths_can_be_asked_for_and_stay(tmp_path: Path) -> None:
    with session() as sess:
        tf.get_variable("w", initializer=W["w"])
        sess.run(tf.global_variables_initializer())
        (tmp_path / "theirs").mkdir()
        theirs = tf.train.Saver(save_relative_paths=True)
        ours = gr.Saver(save_relative_paths=True)
        for step in range(3):
            theirs.save(sess, str(tmp_path / "theirs" / "m"), global_step=step)
            ours.save(W, tmp_path / "ours" / "m", global_step=step)
    before = (tmp_path / "ours" / "checkpoint").read_text()
    assert before == (tmp_path / "theirs" / "checkpoint").read_text()
    (tmp_path / "ours").rename(tmp_path / "moved")
    assert gr.latest_checkpoint(tmp_path / "moved") == str(tmp_path / "moved" / "m-2")
    gr.Saver().save(W, tmp_path / "moved" / "m", global_step=3)
    assert '"m-3"' in (tmp_path / "moved" / "checkpoint").read_text()
    assert "/" not in (tmp_path / "moved" / "checkpoint").read_text()


def test_a_new_saver_goes_on_with_the_list_as_tensorflows_does_when_told_to(tmp_path: Path) -> None:
    with session() as sess:
        tf.get_variable("w", initializer=W["w"])
        sess.run(tf.global_variables_initializer())
        (tmp_path / "theirs").mkdir()
        for start in (0, 4, 8):
            theirs, ours = tf.train.Saver(max_to_keep=3), gr.Saver(max_to_keep=3)
            state = tf.train.get_checkpoint_state(str(tmp_path / "theirs"))
            theirs.recover_last_checkpoints(state.all_model_checkpoint_paths if state else [])
            for step in range(start, start + 4):
                theirs.save(sess, str(tmp_path / "theirs" / "m"), global_step=step)
                ours.save(W, tmp_path / "ours" / "m", global_step=step)
                assert listing(tmp_path / "ours") == listing(tmp_path / "theirs")
                ours_state = (tmp_path / "ours" / "checkpoint").read_text()
                assert ours_state.replace("/ours/", "/theirs/") == (tmp_path / "theirs" / "checkpoint").read_text()
    assert names(tmp_path / "ours") == ["m-10", "m-11", "m-9"]


def test_a_new_saver_that_keeps_fewer_removes_what_is_too_much(tmp_path: Path) -> None:
    for step in range(5):
        gr.Saver().save(W, tmp_path / "m", step)
    gr.Saver(max_to_keep=2).save(W, tmp_path / "m", 9)
    assert names(tmp_path) == ["m-4", "m-9"]
    assert read_state(tmp_path).paths == (str(tmp_path / "m-4"), str(tmp_path / "m-9"))


def test_checkpoints_kept_for_good_stay_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    saver = gr.Saver(max_to_keep=1, keep_checkpoint_every_n_hours=1)
    for step in range(4):
        clock.now += 3000
        saver.save(W, tmp_path / "m", step)
    # Saved at 50, 100, 150 and 200 minutes: the first after each full hour stays.
    assert names(tmp_path) == ["m-1", "m-2", "m-3"]
    gr.Saver(max_to_keep=1).save(W, tmp_path / "m", 9)
    assert "m-1" in names(tmp_path)
    assert "m-2" in names(tmp_path)


def test_only_the_files_of_a_checkpoint_are_removed(tmp_path: Path) -> None:
    others = [
        "m-1.txt", "m-1.index.txt", "m-1.data-00000-of-00001.bak", "m-1.data-0-of-1", "m-10.index", "xm-1.index",
        "m-1", "m-1.meta.json", "m_-1.meta", "m-1x.meta", "m-1.datas",
    ]  # fmt: skip
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    saver = gr.Saver(max_to_keep=1)
    saver.save(W, tmp_path / "m", 1)
    (tmp_path / "m-1.meta").write_bytes(b"graph")
    (tmp_path / "m-1.data-00001-of-00002").write_bytes(b"a shard")
    saver.save(W, tmp_path / "m", 2)
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == sorted([*others, "checkpoint", "m-2.index", "m-2.data-00000-of-00001"])
    assert all((tmp_path / name).read_bytes() == b"mine" for name in others)


def test_names_with_characters_that_patterns_have_are_names(tmp_path: Path) -> None:
    saver = gr.Saver(max_to_keep=1)
    for name in ("a[0]", "a.b", "a*", "a?"):
        gr.save_checkpoint(tmp_path / name.replace("*", "x").replace("?", "x").replace("[0]", "0"), W)
    for step in (1, 2):
        saver.save(W, tmp_path / "a[0]*", step)
    gr.Saver(max_to_keep=1).save(W, tmp_path / "a[0]*", 3)
    assert names(tmp_path) == ["a.b", "a0", "a[0]*-3", "ax"]


def test_checkpoints_of_other_names_stay_and_stay_listed(tmp_path: Path) -> None:
    for name in ("a", "b", "a-b", "a-1-2"):
        gr.Saver(max_to_keep=1).save(W, tmp_path / name)
    saver = gr.Saver(max_to_keep=1)
    for step in (1, 2):
        saver.save(W, tmp_path / "a", step)
    assert names(tmp_path) == ["a-1-2", "a-2", "a-b", "b"]
    assert [os.path.basename(p) for p in read_state(tmp_path).paths] == ["b", "a-b", "a-1-2", "a-2"]
    assert gr.latest_checkpoint(tmp_path) == str(tmp_path / "a-2")


def test_one_checkpoint_under_two_spellings_of_its_path_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saver = gr.Saver(max_to_keep=1)
    for prefix in ("m", str(tmp_path / "m"), "./m", Path("m")):
        saver.save(W, prefix)
        assert names(tmp_path) == ["m"]
        assert len(saver.last_checkpoints) == 1
    gr.Checkpoint("m").verify()


def test_a_checkpoint_that_was_removed_by_hand_is_not_listed_any_more(tmp_path: Path) -> None:
    saver = gr.Saver(max_to_keep=3)
    for step in range(3):
        saver.save(W, tmp_path / "m", step)
    for path in tmp_path.glob("m-1.*"):
        path.unlink()
    saver.save(W, tmp_path / "m", 3)
    assert names(tmp_path) == ["m-0", "m-2", "m-3"]
    assert [os.path.basename(p) for p in saver.last_checkpoints] == ["m-0", "m-2", "m-3"]


def test_two_savers_of_one_name_share_one_list(tmp_path: Path) -> None:
    savers = [gr.Saver(max_to_keep=3), gr.Saver(max_to_keep=3)]
    for step in range(8):
        savers[step % 2].save(W, tmp_path / "m", step)
    assert names(tmp_path) == ["m-5", "m-6", "m-7"]
    assert [os.path.basename(p) for p in read_state(tmp_path).paths] == ["m-5", "m-6", "m-7"]


def test_one_that_another_saved_anew_is_not_removed_as_the_old_one(tmp_path: Path) -> None:
    first, second = gr.Saver(max_to_keep=2), gr.Saver(max_to_keep=2)
    first.save(W, tmp_path / "m", 1)
    first.save(W, tmp_path / "m", 2)
    second.save({"w": 7.0}, tmp_path / "m", 1)
    first.save(W, tmp_path / "m", 3)
    assert names(tmp_path) == ["m-1", "m-3"]
    assert gr.Checkpoint(tmp_path / "m-1")["w"] == 7


def test_a_state_file_that_cant_be_understood_is_replaced(tmp_path: Path) -> None:
    saver = gr.Saver(max_to_keep=2)
    saver.save(W, tmp_path / "m", 1)
    (tmp_path / "checkpoint").write_bytes(b"\xff garbage")
    saver.save(W, tmp_path / "m", 2)
    assert [os.path.basename(p) for p in read_state(tmp_path).paths] == ["m-1", "m-2"]


def test_one_that_cant_be_removed_is_a_warning_and_the_save_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = gr.Saver(max_to_keep=1)
    saver.save(W, tmp_path / "m", 1)
    monkeypatch.setattr("graphrack.saving.remove", lambda path: None)
    with pytest.warns(RuntimeWarning, match=r"m-1 can't be removed: .*m-1\.index"):
        saver.save(W, tmp_path / "m", 2)
    assert gr.latest_checkpoint(tmp_path) == str(tmp_path / "m-2")


# The best


def best_of(metrics: list[float], keep: int, best: str) -> set[int]:
    """Which of some metrics' places are kept, told plainly: sort, not-a-number last, equals by age."""
    sign = -1 if best == "max" else 1
    order = sorted(
        range(len(metrics)), key=lambda i: (math.isnan(metrics[i]), 0 if math.isnan(metrics[i]) else sign * metrics[i])
    )
    return set(order[:keep] if keep else order)


@settings(max_examples=25)
@given(
    metrics=st.lists(st.sampled_from([0.1, 0.5, 0.5, 0.9, math.nan, math.inf, -math.inf, -3.0]), max_size=8),
    keep=st.integers(0, 3),
    best=st.sampled_from(["max", "min"]),
    restart=st.integers(1, 8),
    counter=st.just(itertools.count()),
)
def test_the_best_are_kept_over_restarts(
    tmp_path: Path, metrics: list[float], keep: int, best: str, restart: int, counter: Any
) -> None:
    folder = tmp_path / str(next(counter))
    folder.mkdir()
    saver = gr.Saver(max_to_keep=keep, best=best)
    for step, metric in enumerate(metrics):
        if step % restart == 0:
            saver = gr.Saver(max_to_keep=keep, best=best)
        path = saver.save({"w": float(step)}, folder / "m", step, metric=metric)
        kept = sorted(best_of(metrics[: step + 1], keep, best))
        assert names(folder) == [f"m-{i}" for i in kept]
        assert [os.path.basename(p) for p in saver.last_checkpoints] == [f"m-{i}" for i in kept]
        assert (path in saver.last_checkpoints) == (step in kept)
        assert gr.latest_checkpoint(folder) == str(folder / f"m-{kept[-1]}")
        assert [os.path.basename(p) for p in read_state(folder).paths] == [f"m-{i}" for i in kept]
    for name in names(folder):
        assert gr.Checkpoint(folder / name)["w"] == float(name[2:])


def test_under_one_name_a_checkpoint_gives_way_only_to_a_better_one(tmp_path: Path) -> None:
    for step, metric in enumerate([0.5, 0.4, math.nan, 0.9, 0.9, 0.8]):
        gr.Saver(best="max").save({"w": step}, tmp_path / "best", metric=np.float32(metric))
    assert gr.Checkpoint(tmp_path / "best")["w"] == 3
    assert json.loads((tmp_path / "best.metrics.json").read_text()) == {"metrics": {"best": pytest.approx(0.9)}}


def test_the_metrics_file_is_json_whatever_the_metrics_are(tmp_path: Path) -> None:
    saver = gr.Saver(best="min")
    for step, metric in enumerate([math.nan, math.inf, -math.inf, 1]):
        saver.save(W, tmp_path / "m", step, metric=metric)

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    found = json.loads((tmp_path / "m.metrics.json").read_text(), parse_constant=refuse)
    assert found == {"metrics": {"m-0": "nan", "m-1": "inf", "m-2": "-inf", "m-3": 1.0}}


def test_checkpoints_without_a_metric_are_not_the_best_savers_to_remove(tmp_path: Path) -> None:
    for step in range(3):
        gr.Saver().save(W, tmp_path / "m", step)
    saver = gr.Saver(max_to_keep=1, best="max")
    for step in range(3, 6):
        saver.save(W, tmp_path / "m", step, metric=step)
    assert names(tmp_path) == ["m-0", "m-1", "m-2", "m-5"]
    assert [os.path.basename(p) for p in read_state(tmp_path).paths] == ["m-0", "m-1", "m-2", "m-5"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"metrics": {"m-1": "good"}}', '{"metrics": 3}', "\xff"])
def test_a_damaged_metrics_file_is_an_error_and_changes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.metrics.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(gr.CorruptFile, match=r"m\.metrics\.json .*mend it"):
        gr.Saver(best="max").save(W, tmp_path / "m", 1, metric=1.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.metrics.json"]


@pytest.mark.parametrize("metric", [None, "good", [1, 2]])
def test_a_best_saver_needs_a_number(tmp_path: Path, metric: Any) -> None:
    with pytest.raises(ValueError, match=r"needs a number for each checkpoint"):
        gr.Saver(best="max").save(W, tmp_path / "m", metric=metric)
    assert not list(tmp_path.iterdir())


def test_a_metric_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make it with best='max'"):
        gr.Saver().save(W, tmp_path / "m", metric=1.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_to_keep": -1}, "max_to_keep is -1"),
        ({"keep_checkpoint_every_n_hours": -1}, "every_n_hours is -1"),
        ({"keep_checkpoint_every_n_hours": math.nan}, "every_n_hours is nan"),
        ({"best": "highest"}, "best is 'highest'"),
        ({"names": "w"}, r"give a list of names, as \['w'\]"),
        ({"names": []}, "names is empty"),
        ({"names": {}}, "names is empty"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gr.Saver(**arguments)
