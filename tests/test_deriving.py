"""What models made from models keep of these: the engine, and what was permitted."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow.compat.v1 as tf
from fixture_paths import MODELS

import graphrack as gr

CUBIC = MODELS / "cubic" / "model_name"


def reading(tmp_path: Path, **options: object) -> gr.Model:
    """A model that gives what is in the file that it is fed the name of."""
    with tf.Graph().as_default() as graph:
        path = tf.placeholder(tf.string, [], name="path")
        tf.identity(tf.io.read_file(path), name="content")
        tf.io.write_graph(graph, str(tmp_path), "reading.pb", as_text=False)
    return gr.load(tmp_path / "reading.pb", **options)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "file").write_text("inside")
    return str(tmp_path / "file")


def test_what_is_frozen_or_bound_may_do_what_was_permitted_to_the_model_and_no_more(tmp_path: Path, file: str) -> None:
    allowed, refused = reading(tmp_path, allow={"io"}), reading(tmp_path)
    assert allowed.freeze("content")(path=file) == b"inside"
    assert allowed.bind({"path": file.encode()}).run("content") == b"inside"
    assert allowed.bind({"path": file.encode()}, scope="in").run("in/content") == b"inside"
    for made in (refused.freeze("content"), refused.bind({}), refused.bind({}, scope="in")):
        with pytest.raises(gr.PermissionDenied, match="ReadFile"):
            made(path=file)


def test_a_merged_model_may_do_what_was_permitted_to_each_that_could(tmp_path: Path, file: str) -> None:
    allowed, refused = reading(tmp_path, allow={"io"}), reading(tmp_path)
    assert gr.merge({"a": allowed, "b": allowed}).run("b/content", {"b/path": file}) == b"inside"
    assert gr.merge({"a": allowed, "b": gr.load(CUBIC)}).run("a/content", {"a/path": file}) == b"inside"
    for parts in ({"a": allowed, "b": refused}, {"a": refused, "b": gr.load(CUBIC, allow={"io"})}):
        with pytest.raises(gr.PermissionDenied, match="ReadFile"):
            gr.merge(parts).run("a/content", {"a/path": file})


@pytest.mark.parametrize("engine", ["auto", "numpy", "openvino", "tensorflow"])
def test_engine_and_precision_are_those_of_the_model_it_is_made_from(engine: str) -> None:
    model = gr.load(CUBIC, engine=engine, precision="bf16")
    for made in (
        model.freeze("activation_opt"),
        model.bind({}),
        model.bind({}, scope="s"),
        gr.merge({"a": model, "b": model}),
    ):
        assert made._instance.engine == (engine, "bf16")


def test_models_of_several_engines_are_merged_to_one_that_chooses_itself() -> None:
    models = {"a": gr.load(CUBIC, engine="numpy"), "b": gr.load(CUBIC, engine="openvino")}
    assert gr.merge(models)._instance.engine == ("auto", "f32")
