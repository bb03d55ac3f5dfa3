from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf
from cli.commands import CUBIC, MODELS, call

import graphrack as gr

FIVE = [f"m{i}={MODELS}/digits_mlp_{i}/model_name" for i in range(5)]
SHARED = "x=" + ",".join(f"m{i}/x:0" for i in range(5))
DIGITS = np.random.default_rng(1).random((7, 64), np.float32)


def test_five_classifiers_become_one_file_with_one_input_and_a_vote(tmp_path: Path) -> None:
    out = tmp_path / "vote.pb"
    text = call("merge", *FIVE, "-o", out, "--share", SHARED, "--join", "digit=vote", "--join", "mean=mean").out
    assert text.startswith(f"{out}: ")
    each = [gr.load(f"{MODELS}/digits_mlp_{i}/model_name")(x=DIGITS) for i in range(5)]
    model = gr.load(out)
    assert list(model.inputs) == ["x"]
    digit, mean = model.run(["digit:0", "mean:0"], {"x:0": DIGITS})
    np.testing.assert_allclose(mean, np.mean(each, axis=0), atol=1e-6)
    ballots = np.eye(10)[np.argmax(each, axis=-1)].sum(axis=0)
    assert (np.take_along_axis(ballots, digit[:, None], 1)[:, 0] == ballots.max(axis=1)).all()
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.import_graph_def(tf.GraphDef.FromString(out.read_bytes()), name="")
        np.testing.assert_array_equal(sess.run("digit:0", {"x:0": DIGITS}), digit)


def test_joins_take_the_tensors_that_are_named(tmp_path: Path) -> None:
    out = tmp_path / "m.pb"
    join = "y=sum:m0/activation_opt:0,m1/activation_opt:0"
    call("merge", *FIVE[:2], "-o", out, "--share", "x=m0/x:0,m1/x:0", "--join", join)
    each = [gr.load(f"{MODELS}/digits_mlp_{i}/model_name")(x=DIGITS) for i in range(2)]
    np.testing.assert_allclose(gr.load(out).run("y:0", {"x:0": DIGITS}), sum(each), atol=1e-6)


def test_without_joins_a_pb_keeps_what_each_model_gives(tmp_path: Path) -> None:
    out = tmp_path / "m.pb"
    call("merge", f"a={CUBIC}", f"b={CUBIC}-20000", "-o", out, "--fold")
    feeds = {"a/x:0": 50, "b/x:0": 50}
    found = gr.load(out).run(["a/activation_opt:0", "b/activation_opt:0"], feeds)
    old = gr.load(CUBIC + ".meta", checkpoint=CUBIC + "-20000")
    np.testing.assert_allclose(found, [gr.load(CUBIC)(x=50), old(x=50)], rtol=1e-5)
    call("merge", f"a={CUBIC}", f"b={CUBIC}-20000", "-o", out, "--outputs", "b/activation_opt")
    assert list(gr.load(out).inputs) == ["b/x"]


def test_a_saved_model_and_a_meta_keep_the_variables(tmp_path: Path) -> None:
    for name in ("folder", "m.meta"):
        found = call(
            "merge", f"a={CUBIC}", f"b={CUBIC}", "-o", tmp_path / name, "--share", "x=a/x:0,b/x:0", "--json"
        ).json
        model = gr.load(tmp_path / name)
        assert found["variables"] == len(model.variables) == 28
        assert found["models"] == {"a": CUBIC, "b": CUBIC}
        assert found["bytes"] > 10_000
        assert model.run("b/activation_opt:0", {"x:0": 50}) == gr.load(CUBIC)(x=50)


def test_failures_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    out = tmp_path / "m.pb"
    two = [f"a={CUBIC}", f"b={CUBIC}"]
    assert "a/z" in call("merge", *two, "-o", out, "--share", "x=a/z:0", code=1).failure
    assert "no_model" in call("merge", f"a={tmp_path}/no_model", "-o", out, code=1).failure
    assert "there is no folder" in call("merge", *two, "-o", tmp_path / "no" / "m.pb", code=1).failure
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_understood_is_a_matter_of_usage(tmp_path: Path) -> None:
    two, out = [f"a={CUBIC}", f"b={CUBIC}"], tmp_path / "m.pb"
    for wrong in (
        ["--share", "x"],
        ["--join", "y=median"],
        ["--join", "y=mean", "--join", "y=sum"],
        ["--share", "a b=a/x:0,b/x:0"],
    ):
        assert "Error" in call("merge", *two, "-o", out, *wrong, code=2).err
    call("merge", *two, "-o", tmp_path / "folder", "--outputs", "a/activation_opt", code=2)
    call("merge", CUBIC, CUBIC, "-o", out, code=2)
    call("merge", *two, code=2)
    assert os.listdir(tmp_path) == []
